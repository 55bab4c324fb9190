#!/usr/bin/env python3
"""Opens a sealed recording without Keyreel, by an RSA private key: of a Local Key Manager, or a recovery key.

    recover.py SEALED --key KEY.pem [--key MORE.pem …] [--key-record RECORD] --output FILE

RECORD is what a re-wrap left beside the file, `SEALED.key.<generation>`: of several, the highest.

Needs the `openssl` command (3 or newer), which unwraps the recording's key, and PyPI `cryptography` (50 or newer), which
opens the recording. Nothing of Keyreel's: docs/format.md says what is read here. FILE is written only if every byte of the
recording was verified.
"""

import argparse
import io
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

from cryptography.cobblestone import Cobblestone256Decryptor
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

MAGIC = b"\x89KRC\r\n\x1a\n"
FIELDS = {1: "tenant", 2: "recording", 3: "part", 4: "content type", 5: "created"}
# The wrap algorithms of RSA keys, by their number in a header: RSA-OAEP with this digest.
DIGESTS = {0x0001: "sha256", 0x0010: "sha1"}


class Unopened(Exception):
    """Why a file does not open."""


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("sealed", type=pathlib.Path)
    arguments.add_argument("--key", action="append", required=True, help="an RSA private key, PEM; may be repeated")
    arguments.add_argument("--key-record", type=pathlib.Path, help="stands for the header of the file")
    arguments.add_argument("--output", type=pathlib.Path, required=True)
    arguments = arguments.parse_args()
    try:
        recover(arguments.sealed, arguments.key, arguments.key_record, arguments.output)
    except (Unopened, InvalidTag, OSError, struct.error) as error:
        sys.exit(f"{arguments.sealed}: {str(error) or 'it was changed, or cut short'}")


def recover(sealed, keys, key_record, output):
    with sealed.open("rb") as file:
        slot = read_slot(file)
        if key_record:
            record = key_record.read_bytes()
            # The same object's: it begins with the same identity block, whose length `parse` tells.
            if parse(record)[0] != parse(slot)[0] or record[:32] != slot[:32]:
                raise Unopened(f"{key_record} is the key record of another file")
            slot = record
        names, identity_length, recipients = parse(slot)
        dek = next(filter(None, (unwrap(slot, *recipient, keys) for recipient in recipients)), None)
        if dek is None:
            wanted = ", ".join(sorted({f"{kek} of {provider}" for _, provider, kek, _ in recipients}))
            raise Unopened(f"none of these keys opens it: it was sealed for {wanted}")
        # The body is bound to the first part of the header, and encrypted under a key of its own.
        decryptor = Cobblestone256Decryptor(expand(dek, b"keyreel/v1 body", 32), slot[:identity_length])
        with tempfile.NamedTemporaryFile(dir=output.parent, delete=False) as plain:
            try:
                while piece := file.read(1 << 20):
                    plain.write(decryptor.update(piece))
                plain.write(decryptor.finalize())
            except BaseException:
                os.unlink(plain.name)
                raise
    os.replace(plain.name, output)
    print(f"{output}: {names['content type']}, {names['part']} of recording {names['recording']} of {names['tenant']}")


def read_slot(file):
    """The header: a multiple of 4096 bytes at the beginning of the file."""
    start = file.read(16)
    if len(start) < 16 or start[:8] != MAGIC:
        raise Unopened("it is no sealed recording")
    version, body_suite, header_suite, length = struct.unpack(">HBBI", start[8:])
    if (version, body_suite, header_suite) != (1, 1, 1) or length % 4096 or not 4096 <= length <= 65536:
        raise Unopened("it is of a version that this script does not know")
    return start + file.read(length - 16)


def parse(slot):
    """Names, length of the identity block, and (algorithm, provider, KEK, wrapped DEK) of each recipient."""
    reader = io.BytesIO(slot)
    reader.seek(32)

    def number(form):
        return struct.unpack(form, reader.read(struct.calcsize(form)))[0]

    names = {}
    while (kind := number(">H")) != 0xFF:
        names[FIELDS.get(kind)] = reader.read(number(">H")).decode(errors="replace")
    number(">H")
    identity_length = reader.tell()
    number(">HI")  # The key block's length; its generation is in the same read.
    recipients = []
    for _ in range(number(">B")):
        algorithm = number(">H")
        provider, kek = (reader.read(number(">B")).decode() for _ in range(2))
        wrapped, _info = (reader.read(number(">H")) for _ in range(2))
        recipients.append((algorithm, provider, kek, wrapped))
    return names, identity_length, recipients


def unwrap(slot, algorithm, _provider, _kek, wrapped, keys):
    """The DEK, if one of the keys opens it and it is the one that the header was authenticated with."""
    digest = DIGESTS.get(algorithm)
    for key in keys if digest else []:
        dek = openssl_oaep(key, digest, wrapped)
        if dek and len(dek) == 32 and authentic(slot, dek):
            return dek
    return None


def openssl_oaep(key, digest, wrapped):
    command = ["openssl", "pkeyutl", "-decrypt", "-inkey", key]
    options = ["rsa_padding_mode:oaep", f"rsa_oaep_md:{digest}", f"rsa_mgf1_md:{digest}"]
    for option in options:
        command += ["-pkeyopt", option]
    run = subprocess.run(command, input=wrapped, capture_output=True, check=False)
    return run.stdout if run.returncode == 0 else None


def authentic(slot, dek):
    mac = hmac.HMAC(expand(dek, b"keyreel/v1 header", 64), hashes.SHA512())
    mac.update(slot[:-64])
    try:
        mac.verify(slot[-64:])
        return True
    except InvalidSignature:
        return False


def expand(dek, label, length):
    return HKDFExpand(hashes.SHA512(), length, label).derive(dek)


if __name__ == "__main__":
    main()
