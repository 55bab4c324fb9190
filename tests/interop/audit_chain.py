"""Verifies an export of the audit log (`keyreel audit export`) without Keyreel: the chain of hashes,
and the signed end (`keyreel audit checkpoint`) under the public key (`keyreel audit key`).

    audit_chain.py EXPORT.jsonl PUBLIC_KEY_BASE64 CHECKPOINT_JSON
"""

import base64
import hashlib
import json
import struct
import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def row_hash(before: bytes, row: dict) -> bytes:
    out = b"keyreel/v1 audit\0" + before + struct.pack(">QQ", row["seq"], row["atMs"])
    for name in ("id", "action", "tenant", "subject", "recording", "outcome", "fields"):
        value = row[name]
        if value is None:
            out += b"\0"
        else:
            text = value.encode()
            out += b"\1" + struct.pack(">I", len(text)) + text
    return hashlib.sha256(out).digest()


def main() -> None:
    path, public_key, checkpoint = sys.argv[1:]
    head = json.loads(checkpoint)
    signed = (b"keyreel/v1 audit head\0" + struct.pack(">QQ", head["seq"], head["atMs"])
              + bytes.fromhex(head["hash"]))
    Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key)).verify(
        base64.b64decode(head["signature"]), signed)
    before, seq = bytes(32), 0
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            seq += 1
            before = row_hash(before, row)
            if row["seq"] != seq or row["hash"] != before.hex():
                sys.exit(f"error: event {seq} does not follow from the one before it")
            if seq == head["seq"] and head["hash"] != row["hash"]:
                sys.exit(f"error: event {seq} is not the one that was signed")
    if seq < head["seq"]:
        sys.exit(f"error: the export ends with event {seq}, the log with {head['seq']}")
    print(f"{seq} events, signed")


if __name__ == "__main__":
    main()
