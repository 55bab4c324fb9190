#!/usr/bin/env python3
"""Opens a sealed recording without Keyreel: PyPI `cryptography` (50 or newer) is all it needs.

    open_sealed.py FILE --dek-hex HEX              with the DEK itself
    open_sealed.py FILE --rsa-key KEY.pem          with the private KEK of an RSA-OAEP wrap
    open_sealed.py FILE --hpke-seed-hex HEX        with the KEM seed of an HPKE wrap
    open_sealed.py FILE --mlkem-key KEY.pem        the same, from the private half that `keyreel recovery new` writes

With --key-record FILE, the key record that a re-wrap left beside the file (`….key.<generation>`, the highest) stands for the
file's own header. Plaintext goes to stdout. Exit status 0 means that all of it was verified; with any other, what
came out is a true beginning and no more.
"""

import argparse
import base64
import hashlib
import pathlib
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.bindings._rust import openssl as rust_openssl
from cryptography.hazmat.primitives import hashes, hpke, serialization
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, padding

import krc1


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("file")
    arguments.add_argument("--key-record", type=pathlib.Path)
    key = arguments.add_mutually_exclusive_group(required=True)
    key.add_argument("--dek-hex")
    key.add_argument("--rsa-key", help="PEM file")
    key.add_argument("--hpke-seed-hex")
    key.add_argument("--mlkem-key", type=pathlib.Path, help="PEM file")
    arguments = arguments.parse_args()

    with open(arguments.file, "rb") as file:
        try:
            record = arguments.key_record and arguments.key_record.read_bytes()
            header = krc1.Header(file, record)
            dek = find_dek(arguments, header)
            header.verify(dek)
            krc1.open_body(file, header.identity_block, dek, sys.stdout.buffer.write)
        except (krc1.NotKrc1, InvalidTag, ValueError) as error:
            sys.exit(f"{arguments.file}: does not open: {str(error) or type(error).__name__}")


def find_dek(arguments, header):
    if arguments.dek_hex:
        return bytes.fromhex(arguments.dek_hex)
    if arguments.rsa_key:
        with open(arguments.rsa_key, "rb") as pem:
            key = serialization.load_pem_private_key(pem.read(), password=None)
        return unwrap_rsa(header, key)
    if arguments.mlkem_key:
        lines = arguments.mlkem_key.read_text().splitlines()
        return unwrap_hpke(header, hpke_key(base64.b64decode("".join(line for line in lines if not line.startswith("-----")))))
    return unwrap_hpke(header, hpke_key(bytes.fromhex(arguments.hpke_seed_hex)))


def unwrap_rsa(header, key):
    digests = {"rsa-oaep-sha256": hashes.SHA256(), "rsa-oaep-sha1": hashes.SHA1()}
    for recipient in header.recipients:
        if digest := digests.get(recipient["algorithm"]):
            oaep = padding.OAEP(padding.MGF1(digest), digest, label=None)
            try:
                return key.decrypt(recipient["wrapped_dek"], oaep)
            except ValueError:
                continue
    raise krc1.NotKrc1("this key opens none of its wrapped DEKs")


def hpke_key(seed):
    # The KEM's private key is a seed: SHAKE-256 stretches it to ML-KEM's seed and the P-384 scalar
    # (draft-irtf-cfrg-concrete-hybrid-kems).
    stretched = hashlib.shake_256(seed).digest(64 + 48)
    pq = mlkem.MLKEM1024PrivateKey.from_seed_bytes(stretched[:64])
    scalar = int.from_bytes(stretched[64:], "big")
    traditional = ec.derive_private_key(scalar, ec.SECP384R1())
    return hpke.MLKEM1024P384PrivateKey(pq, traditional)


def unwrap_hpke(header, key):
    suite = hpke.Suite(hpke.KEM.MLKEM1024_P384, hpke.KDF.HKDF_SHA512, hpke.AEAD.AES_256_GCM)
    context = krc1.wrap_context(header.tenant, header.recording)
    for recipient in header.recipients:
        if recipient["algorithm"] == "hpke-mlkem1024-p384":
            # The library's public call has no `aad` yet; this is the one that its own tests use.
            try:
                return rust_openssl.hpke._decrypt_with_aad(
                    suite, recipient["wrapped_dek"], key, b"keyreel/v1 wrap", context
                )
            except InvalidTag:
                continue
    raise krc1.NotKrc1("this key opens none of its wrapped DEKs")


if __name__ == "__main__":
    main()
