#!/usr/bin/env python3
"""Holds Keyreel's format against `cryptography`'s, both ways.

    check.py open DIR          opens every object that `cargo run --example interop seal DIR` wrote
    check.py seal DIR COUNT    writes objects for `cargo run --example interop open DIR`

DIR/manifest.jsonl has a line for each object: file, DEK, plaintext's SHA-256, and for the wrapped
ones the private KEK. Every object is also tried with a flipped bit, which must not open.
"""

import functools
import hashlib
import io
import json
import os
import pathlib
import random
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization

import krc1
import open_sealed

EDGES = [0, 1, 15, 16, 17, 16367, 16368, 16383, 16384, 16385, 16400, 32767, 32768, 32769]


def main():
    command, directory = sys.argv[1], pathlib.Path(sys.argv[2])
    if command == "open":
        opened = sum(open_one(directory, json.loads(line)) for line in manifest(directory))
        print(f"opened {opened} objects")
    else:
        seal_all(directory, int(sys.argv[3]))


def manifest(directory):
    return (directory / "manifest.jsonl").read_text().splitlines()


def open_one(directory, entry):
    sealed = (directory / entry["file"]).read_bytes()
    dek = bytes.fromhex(entry["dek"])
    header = krc1.Header(io.BytesIO(sealed))
    if key := entry.get("rsa_pkcs8"):
        assert open_sealed.unwrap_rsa(header, rsa_key(key)) == dek, entry["file"]
    if seed := entry.get("hpke_seed"):
        assert open_sealed.unwrap_hpke(header, hpke_key(seed)) == dek, entry["file"]
    plaintext = open_bytes(sealed, dek)
    assert hashlib.sha256(plaintext).hexdigest() == entry["sha256"], entry["file"]

    at = random.randrange(len(sealed))
    flipped = bytearray(sealed)
    flipped[at] ^= 1 << random.randrange(8)
    try:
        open_bytes(bytes(flipped), dek)
    except (krc1.NotKrc1, InvalidTag, ValueError):
        return True
    raise AssertionError(f"{entry['file']}: byte {at} flipped, and it opened")


@functools.cache
def rsa_key(pkcs8):
    return serialization.load_der_private_key(bytes.fromhex(pkcs8), password=None)


@functools.cache
def hpke_key(seed):
    return open_sealed.hpke_key(bytes.fromhex(seed))


def open_bytes(sealed, dek):
    file, plaintext = io.BytesIO(sealed), bytearray()
    header = krc1.Header(file)
    header.verify(dek)
    krc1.open_body(file, header.identity_block, dek, plaintext.extend)
    return bytes(plaintext)


def seal_all(directory, count):
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / "manifest.jsonl", "w") as lines:
        for number in range(count):
            size = EDGES[number] if number < len(EDGES) else random.randrange(100_000)
            plaintext, dek = os.urandom(size), os.urandom(32)
            recipient = {
                "algorithm": random.choice(list(krc1.WRAPS.values())),
                "provider": "managed",
                "kek": "kek/1",
                "wrapped_dek": os.urandom(random.randrange(1, 1800)),
                "info": os.urandom(random.randrange(20)),
            }
            sealed = krc1.seal(
                plaintext,
                dek,
                os.urandom(16),
                "interop",
                f"r-{number}",
                "media",
                "audio/wav",
                number,
                [recipient] * random.randrange(1, 5),
            )
            name = f"{number}.krc"
            (directory / name).write_bytes(sealed)
            digest = hashlib.sha256(plaintext).hexdigest()
            entry = {"file": name, "dek": dek.hex(), "sha256": digest}
            lines.write(json.dumps(entry) + "\n")
    print(f"sealed {count} objects")


if __name__ == "__main__":
    main()
