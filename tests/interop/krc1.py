"""KRC1 in Python, on PyPI `cryptography` (50 or newer) and nothing of Keyreel's.

Written from docs/format.md, so that a recording can be opened without the program that sealed it,
and so that the program is held against something that is not itself. Used by open_sealed.py,
seal_object.py and check.py.
"""

import io
import struct

from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

MAGIC = b"\x89KRC\r\n\x1a\n"
TENANT, RECORDING, PART, CONTENT_TYPE, CREATED, END = 1, 2, 3, 4, 5, 0xFF
WRAPS = {1: "rsa-oaep-sha256", 2: "hpke-mlkem1024-p384", 16: "rsa-oaep-sha1"}


class NotKrc1(Exception):
    """The bytes break a rule of the format, or do not authenticate."""


def expand(dek, label, length):
    return HKDFExpand(hashes.SHA512(), length, label).derive(dek)


def header_mac(dek):
    return hmac.HMAC(expand(dek, b"keyreel/v1 header", 64), hashes.SHA512())


def wrap_context(tenant, recording):
    """HPKE's aad: u16 length, tenant, u16 length, recording."""
    names = [tenant.encode(), recording.encode()]
    return b"".join(struct.pack(">H", len(name)) + name for name in names)


class Header:
    """The header slot at the start of `file`, or the key record (bytes) that stands for it.

    The file is left at the body.
    """

    def __init__(self, file, key_record=None):
        if key_record is None:
            start = file.read(16)
            slot_len = self._slot_len(start)
            self.slot = start + file.read(slot_len - 16)
            if len(self.slot) != slot_len:
                raise NotKrc1("the slot is cut short")
        else:
            self.slot = key_record
            file.seek(self._slot_len(key_record))
        self._parse(io.BytesIO(self.slot[:-64]), padded=key_record is None)

    @staticmethod
    def _slot_len(start):
        if len(start) < 16 or start[:8] != MAGIC:
            raise NotKrc1("no magic")
        version, body_suite, header_suite, slot_len = struct.unpack(">HBBI", start[8:16])
        if (version, body_suite, header_suite) != (1, 1, 1):
            raise NotKrc1("unknown version or suite")
        if slot_len % 4096 or not 4096 <= slot_len <= 65536:
            raise NotKrc1("slot length")
        return slot_len

    def _parse(self, slot, padded):
        def take(length):
            value = slot.read(length)
            if len(value) != length:
                raise NotKrc1("the header ends early")
            return value

        def number(form):
            return struct.unpack(">" + form, take(struct.calcsize(">" + form)))[0]

        take(16)
        self.object_id = take(16)
        self.fields = {}
        for expected in (TENANT, RECORDING, PART, CONTENT_TYPE, CREATED, END):
            if number("H") != expected:
                raise NotKrc1("a field is missing, unknown or out of order")
            self.fields[expected] = take(number("H"))
        if len(self.fields[CREATED]) != 8 or self.fields[END]:
            raise NotKrc1("a field has the wrong length")
        self.tenant = self.fields[TENANT].decode()
        self.recording = self.fields[RECORDING].decode()
        self.identity_block = self.slot[: slot.tell()]

        key_block_len = number("H")
        key_block_end = slot.tell() + key_block_len
        self.generation = number("I")
        count = number("B")
        if not 1 <= count <= 4:
            raise NotKrc1("one to four recipients")
        self.recipients = []
        for _ in range(count):
            recipient = {"algorithm": WRAPS.get(number("H"))}
            recipient["provider"] = take(number("B")).decode()
            recipient["kek"] = take(number("B")).decode()
            recipient["wrapped_dek"] = take(number("H"))
            recipient["info"] = take(number("H"))
            self.recipients.append(recipient)
        rest = slot.read()
        if slot.tell() != key_block_end + len(rest) or any(rest) or (rest and not padded):
            raise NotKrc1("key block length or padding")

    def verify(self, dek):
        mac = header_mac(dek)
        mac.update(self.slot[:-64])
        try:
            mac.verify(self.slot[-64:])
        except InvalidSignature:
            raise NotKrc1("the header's MAC is wrong: not this DEK, or a changed header") from None


def open_body(file, identity_block, dek, write):
    """Gives verified plaintext to `write`. It is complete only if this returns."""
    body_key = expand(dek, b"keyreel/v1 body", 32)
    decryptor = Cobblestone256Decryptor(body_key, identity_block)
    while piece := file.read(1 << 20):
        write(decryptor.update(piece))
    write(decryptor.finalize())


def seal(plaintext, dek, object_id, tenant, recording, part, content_type, created_ms, recipients):
    """A whole sealed object. `recipients` are dicts as in Header.recipients."""
    codes = {name: code for code, name in WRAPS.items()}
    key_block = struct.pack(">IB", 0, len(recipients))
    for recipient in recipients:
        key_block += struct.pack(">H", codes[recipient["algorithm"]])
        for name in (recipient["provider"].encode(), recipient["kek"].encode()):
            key_block += struct.pack(">B", len(name)) + name
        for value in (recipient["wrapped_dek"], recipient["info"]):
            key_block += struct.pack(">H", len(value)) + value
    key_block = struct.pack(">H", len(key_block)) + key_block

    fields = [
        (TENANT, tenant.encode()),
        (RECORDING, recording.encode()),
        (PART, part.encode()),
        (CONTENT_TYPE, content_type.encode()),
        (CREATED, struct.pack(">Q", created_ms)),
        (END, b""),
    ]
    names = b"".join(struct.pack(">HH", kind, len(value)) + value for kind, value in fields)
    used = 16 + 16 + len(names) + len(key_block) + 64
    slot_len = -(-used // 4096) * 4096
    identity_block = MAGIC + struct.pack(">HBBI", 1, 1, 1, slot_len) + object_id + names
    covered = (identity_block + key_block).ljust(slot_len - 64, b"\0")
    mac = header_mac(dek)
    mac.update(covered)

    encryptor = Cobblestone256Encryptor(expand(dek, b"keyreel/v1 body", 32), identity_block)
    body = encryptor.update(plaintext) + encryptor.finalize()
    return covered + mac.finalize() + body
