#!/usr/bin/env python3
"""A Local Key Manager made of others' code: PyPI `mohawk` checks the signatures, PyPI `cryptography` decrypts. It has the
rules of Genesys Cloud's sample service: no payload hash, the path without the query, RSA-OAEP with SHA-1, 400 for an unknown
key pair, {"body": null} where RSA fails.

    lkm_mohawk.py           prints one line of JSON when it is ready; ends when its standard input does
"""

import base64
import json
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import mohawk
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

PATH = "/key-management/v1/decrypt"
# As the sample service makes them: a decimal number of about 39 digits.
CREDENTIAL = {"id": "third-party", "key": "981276345981276345981276345981276345981", "algorithm": "sha256"}
OAEP = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), label=None)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    pairs = {}

    def do_OPTIONS(self):
        self.body()
        if self.authenticated():
            self.answer(200, {"description": "decrypts keys", "methods": ["OPTIONS", "POST"]})

    def do_POST(self):
        body = self.body()
        if not self.authenticated():
            return
        try:
            request = json.loads(body)
            key, wrapped = self.pairs.get(request["keypairId"]), base64.b64decode(request["body"], validate=True)
        except (ValueError, KeyError):
            return self.answer(400, {"message": "Decrypt body and keypairId must be filled out", "code": 400})
        if key is None:
            return self.answer(400, {"message": "No key pair found with the id provided", "code": 400})
        try:
            self.answer(200, {"body": base64.b64encode(key.decrypt(wrapped, OAEP)).decode()})
        except ValueError:
            self.answer(200, {"body": None})

    def body(self):
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def authenticated(self):
        path = urlsplit(self.path).path
        if path != PATH:
            return self.answer(404, {"message": "Not Found", "status": 404})
        try:
            header = self.headers["authorization"]
            if header is None or 'hash="' in header or 'ext="' in header:
                raise mohawk.exc.MisComputedContentHash("the sample service knows neither hash nor ext")
            mohawk.Receiver(
                lambda _: CREDENTIAL,
                header,
                f"http://{self.headers['host']}{path}",
                self.command,
                accept_untrusted_content=True,
                # The sample service looks at neither.
                timestamp_skew_in_seconds=1 << 40,
                seen_nonce=lambda *_: False,
            )
            return True
        except mohawk.exc.HawkFail:
            return self.answer(401, {"message": "you are not authorized to this endpoint", "status": 401})

    def answer(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return False

    def log_message(self, *_):
        pass


def main():
    key = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    keypair_id = str(uuid.uuid4())
    Handler.pairs[keypair_id] = key
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    public, der = key.public_key(), serialization.Encoding.DER
    ready = {
        "url": f"http://127.0.0.1:{server.server_port}{PATH}",
        "apiId": CREDENTIAL["id"],
        "apiKey": CREDENTIAL["key"],
        "keypairId": keypair_id,
        # What is registered: PKCS #1 RSAPublicKey.
        "publicKey": base64.b64encode(public.public_bytes(der, serialization.PublicFormat.PKCS1)).decode(),
        "spkiHex": public.public_bytes(der, serialization.PublicFormat.SubjectPublicKeyInfo).hex(),
    }
    print(json.dumps(ready), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
