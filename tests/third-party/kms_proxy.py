"""AWS KMS for tests, made of others' code: moto keeps the keys, botocore checks every signature. The proxy before them does
what moto does not: it refuses with keys that are disabled or pending deletion (moto decrypts with them), it makes data key
pairs (moto has none) from PyPI `cryptography` and moto's Encrypt, it records requests, and it injects faults.

    kms_proxy.py            prints one line of JSON when it is ready; ends when its standard input does

    POST /_proxy/faults     {"action": "Decrypt", "*" or null (no more faults), "fault": F, "times": 1}; F is one of
                            "exception:<Name>[:<status>]" "throttle:<seconds>" "status:<status>" "html" "hang" "cut" "endless"
    GET  /_proxy/requests   what was asked since the last time
    POST /_proxy/moto       {"call": "disable_key", "arguments": {…}}: boto3's KMS client against moto
"""

import base64
import hmac
import json
import logging
import socket
import sys
import threading
import time
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import botocore.exceptions
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from moto.server import ThreadedMotoServer

REGION = "eu-central-1"
CREDENTIALS = Credentials("AKIAKEYREELTESTS0000", "a-secret-that-must-be-in-no-log/0123456789")
CONTENT_TYPE = "application/x-amz-json-1.1"


class Kms:
    """moto, and the one key of the tests."""

    def __init__(self):
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self.server.start()
        host, port = self.server.get_host_and_port()
        self.client = boto3.client(
            "kms",
            region_name=REGION,
            endpoint_url=f"http://{host}:{port}",
            aws_access_key_id=CREDENTIALS.access_key,
            aws_secret_access_key=CREDENTIALS.secret_key,
        )
        key = self.client.create_key(Description="Keyreel's tests")["KeyMetadata"]
        self.arn = key["Arn"]
        self.client.create_alias(AliasName="alias/keyreel", TargetKeyId=key["KeyId"])
        self.alias_arn = self.arn.replace(f"key/{key['KeyId']}", "alias/keyreel")

    def perform(self, action, request):
        """The answer to an action, as moto or what it lacks gives it."""
        if action == "DescribeKey":
            metadata = self.client.describe_key(KeyId=request["KeyId"])["KeyMetadata"]
            return {"KeyMetadata": json.loads(json.dumps(metadata, default=str))}
        context = request.get("EncryptionContext", {})
        state = self.client.describe_key(KeyId=request["KeyId"])["KeyMetadata"]["KeyState"]
        if state == "Disabled":
            raise Refused("DisabledException")
        if state != "Enabled":
            raise Refused("KMSInvalidStateException")
        if action == "Encrypt":
            plaintext = base64.b64decode(request["Plaintext"], validate=True)
            if len(plaintext) > 4096:
                raise Refused("ValidationException")
            answer = self.client.encrypt(KeyId=request["KeyId"], Plaintext=plaintext, EncryptionContext=context)
            return {"KeyId": answer["KeyId"], "CiphertextBlob": text(answer["CiphertextBlob"])}
        if action == "Decrypt":
            blob = base64.b64decode(request["CiphertextBlob"], validate=True)
            answer = self.client.decrypt(KeyId=request["KeyId"], CiphertextBlob=blob, EncryptionContext=context)
            return {"KeyId": answer["KeyId"], "Plaintext": text(answer["Plaintext"])}
        if action == "GenerateDataKeyPairWithoutPlaintext":
            if request["KeyPairSpec"] != "RSA_3072":
                raise Refused("ValidationException")
            pair = rsa.generate_private_key(public_exponent=65537, key_size=3072)
            private = pair.private_bytes(
                serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            public = pair.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            sealed = self.client.encrypt(KeyId=request["KeyId"], Plaintext=private, EncryptionContext=context)
            return {
                "KeyId": sealed["KeyId"],
                "KeyPairSpec": "RSA_3072",
                "PublicKey": text(public),
                "PrivateKeyCiphertextBlob": text(sealed["CiphertextBlob"]),
            }
        raise Refused("UnknownOperationException")


class Refused(Exception):
    """An error as KMS has it."""

    def __init__(self, kind, status=400):
        super().__init__(kind)
        self.kind, self.status = kind, status


def text(data):
    return base64.b64encode(data).decode()


def check_signature(method, path, headers, body):
    """Computes the Authorization header again, with botocore. Raises what KMS would answer."""
    given = headers.get("authorization")
    date = headers.get("x-amz-date")
    if not given or not date:
        raise Refused("MissingAuthenticationTokenException")
    fields = dict(part.strip().split("=", 1) for part in given.removeprefix("AWS4-HMAC-SHA256 ").split(","))
    signed = fields["SignedHeaders"].split(";")
    if not fields["Credential"].startswith(CREDENTIALS.access_key + "/"):
        raise Refused("UnrecognizedClientException")
    for name in headers:
        if (name.startswith("x-amz-") or name in ("host", "content-type")) and name not in signed:
            raise Refused("InvalidSignatureException")
    at = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    if abs(time.time() - at.timestamp()) > 300:
        raise Refused("InvalidSignatureException")
    request = AWSRequest(
        method=method,
        url=f"http://{headers['host']}{path}",
        data=body,
        headers={name: headers[name] for name in signed},
    )
    request.context["timestamp"] = date
    signer = SigV4Auth(CREDENTIALS, "kms", REGION)
    to_sign = signer.string_to_sign(request, signer.canonical_request(request))
    signer._inject_signature_to_request(request, signer.signature(to_sign, request))
    ours = dict(part.strip().split("=", 1) for part in request.headers["Authorization"].removeprefix("AWS4-HMAC-SHA256 ").split(","))
    if ours["Credential"] != fields["Credential"] or not hmac.compare_digest(ours["Signature"], fields["Signature"]):
        raise Refused("InvalidSignatureException")


class Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    kms, faults, requests, lock = None, [], [], threading.Lock()

    def do_GET(self):
        if self.path == "/_proxy/requests":
            with self.lock:
                taken, Proxy.requests = Proxy.requests, []
            return self.answer(200, taken)
        return self.answer(404, {})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path == "/_proxy/faults":
            fault = json.loads(body)
            with self.lock:
                if fault["action"]:
                    Proxy.faults.append(fault)
                else:
                    Proxy.faults.clear()
            return self.answer(200, {})
        if self.path == "/_proxy/moto":
            asked = json.loads(body)
            answer = getattr(self.kms.client, asked["call"])(**asked["arguments"])
            return self.answer(200, json.loads(json.dumps(answer, default=str)))
        return self.ask(body)

    def ask(self, body):
        headers = {name.lower(): value for name, value in self.headers.items()}
        action = headers.get("x-amz-target", "").removeprefix("TrentService.")
        record = {"action": action, "headers": sorted(headers), "signature": "invalid"}
        try:
            check_signature(self.command, self.path, headers, body)
            record["signature"] = "valid"
            request = json.loads(body)
            record["keyId"] = request.get("KeyId")
            record["context"] = request.get("EncryptionContext")
            record["plaintextBytes"] = len(base64.b64decode(request.get("Plaintext", "")))
            self.remember(record)
            fault = self.fault(action)
            if fault:
                return self.fail(fault)
            return self.answer(200, self.kms.perform(action, request))
        except Refused as refused:
            if record["signature"] == "invalid":
                self.remember(record)
            return self.refuse(refused.kind, refused.status)
        except botocore.exceptions.ClientError as error:
            return self.refuse(error.response["Error"]["Code"], 400)

    def remember(self, record):
        with self.lock:
            Proxy.requests.append(record)

    def fault(self, action):
        with self.lock:
            for fault in Proxy.faults:
                if fault["action"] in (action, "*"):
                    fault["times"] = fault.get("times", 1) - 1
                    if fault["times"] <= 0:
                        Proxy.faults.remove(fault)
                    return fault["fault"]
        return None

    def fail(self, fault):
        kind, _, rest = fault.partition(":")
        if kind == "exception":
            name, _, status = rest.partition(":")
            return self.refuse(name, int(status or 400))
        if kind == "throttle":
            return self.refuse("ThrottlingException", 400, {"Retry-After": rest})
        if kind == "status":
            return self.send(int(rest), "text/html", b"<html><body>a proxy's own page</body></html>", {})
        if kind == "html":
            return self.send(200, "text/html", b"<html><body>Welcome</body></html>", {})
        if kind == "hang":
            time.sleep(30)
        if kind == "endless":
            self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1\r\n\r\n")
            try:
                while True:
                    self.wfile.write(b'{"Plaintext":"' + b"A" * 65536)
            except OSError:
                pass
        if kind == "cut":
            self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n{\"KeyId\":")
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # whoever asked has gone already

    def refuse(self, kind, status, headers=None):
        body = json.dumps({"__type": kind, "message": "said by the key service"}).encode()
        self.send(status, CONTENT_TYPE, body, {"x-amzn-ErrorType": kind, **(headers or {})})

    def answer(self, status, body):
        self.send(status, CONTENT_TYPE, json.dumps(body).encode(), {})

    def send(self, status, content_type, body, headers):
        self.send_response(status)
        for name, value in {"content-type": content_type, "content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *arguments):
        pass


def main():
    Proxy.kms = Kms()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ready = {
        "url": f"http://127.0.0.1:{server.server_address[1]}",
        "region": REGION,
        "keyArn": Proxy.kms.arn,
        "aliasArn": Proxy.kms.alias_arn,
        "accessKeyId": CREDENTIALS.access_key,
        "secretAccessKey": CREDENTIALS.secret_key,
    }
    print(json.dumps(ready), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
