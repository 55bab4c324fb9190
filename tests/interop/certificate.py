"""Checks a certificate of destruction with PyPI `cryptography` alone: a DSSE envelope, Ed25519.

certificate.py FILE PUBLIC_KEY_BASE64
"""

import base64
import json
import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

envelope = json.load(open(sys.argv[1]))
kind = envelope["payloadType"].encode()
payload = base64.b64decode(envelope["payload"])
text = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
key = Ed25519PublicKey.from_public_bytes(base64.b64decode(sys.argv[2]))
key.verify(base64.b64decode(envelope["signatures"][0]["sig"]), text)
print(json.dumps(json.loads(payload)))
