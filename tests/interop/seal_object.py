#!/usr/bin/env python3
"""Seals a file as KRC1 without Keyreel: PyPI `cryptography` (50 or newer) is all it needs.

    seal_object.py FILE SEALED --dek-hex HEX --tenant T --recording R
                   [--part media] [--content-type audio/wav] [--rsa-key PUBLIC.pem --kek kek/1]

Without --rsa-key the recipient's wrapped DEK is zeros: such an object opens with the DEK alone.
"""

import argparse
import os
import time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

import krc1


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("file")
    arguments.add_argument("sealed")
    arguments.add_argument("--dek-hex", required=True)
    arguments.add_argument("--tenant", required=True)
    arguments.add_argument("--recording", required=True)
    arguments.add_argument("--part", default="media")
    arguments.add_argument("--content-type", default="audio/wav")
    arguments.add_argument("--rsa-key", help="PEM file of the public KEK")
    arguments.add_argument("--kek", default="kek/1")
    arguments = arguments.parse_args()

    dek = bytes.fromhex(arguments.dek_hex)
    wrapped = bytes(384)
    if arguments.rsa_key:
        with open(arguments.rsa_key, "rb") as pem:
            key = serialization.load_pem_public_key(pem.read())
        digest = hashes.SHA256()
        wrapped = key.encrypt(dek, padding.OAEP(padding.MGF1(digest), digest, label=None))
    recipient = {
        "algorithm": "rsa-oaep-sha256",
        "provider": "managed",
        "kek": arguments.kek,
        "wrapped_dek": wrapped,
        "info": b"",
    }
    with open(arguments.file, "rb") as file:
        plaintext = file.read()
    sealed = krc1.seal(
        plaintext,
        dek,
        os.urandom(16),
        arguments.tenant,
        arguments.recording,
        arguments.part,
        arguments.content_type,
        time.time_ns() // 1_000_000,
        [recipient],
    )
    with open(arguments.sealed, "wb") as file:
        file.write(sealed)


if __name__ == "__main__":
    main()
