#!/usr/bin/env python3
"""`keyreel lkm`, used from outside: clients of others' code (PyPI `mohawk`, npm `hawk`) decrypt, and what must be refused is.

    lkm_clients.py KEYREEL          the program; prints one line a case and the counts
"""

import base64
import contextlib
import json
import logging
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request

import mohawk
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

HERE = pathlib.Path(__file__).parent
JSON = "application/json"
KEYREEL = sys.argv[1]
DIGESTS = {"oaep-sha256": hashes.SHA256(), "oaep-sha1": hashes.SHA1()}


def lkm(*arguments):
    """The JSON that `keyreel lkm …` prints."""
    run = subprocess.run([KEYREEL, "lkm", *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"keyreel lkm {arguments}: {run.stderr}"
    return [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]


def wrap(pair):
    """What Keyreel sends for a fresh key, and the key."""
    public = serialization.load_der_public_key(base64.b64decode(pair["publicKey"]))
    digest, dek = DIGESTS[pair["padding"]], os.urandom(32)
    wrapped = public.encrypt(dek, padding.OAEP(padding.MGF1(digest), digest, label=None))
    body = {"keypairId": pair["keypairId"], "body": base64.b64encode(wrapped).decode()}
    return body, base64.b64encode(dek).decode()


class Client:
    """Asks with mohawk's signatures."""

    def __init__(self, url, api_id, api_key):
        self.url = url
        self.credentials = {"id": api_id, "key": api_key, "algorithm": "sha256"}

    def sign(self, body, url=None, method="POST", hashed=True, **more):
        content = {"content": body, "content_type": JSON} if hashed else {}
        return mohawk.Sender(
            more.pop("credentials", self.credentials), url or self.url, method,
            always_hash_content=hashed, **content, **more,
        )

    def send(self, sender, body, url=None, method="POST", **more):
        """Status, JSON, and headers of an answer."""
        headers = {"authorization": sender.request_header, "content-type": JSON, "purecloud-user-id": "user-1", **more}
        request = urllib.request.Request(url or self.url, data=body, headers=headers, method=method)
        try:
            answer = urllib.request.urlopen(request, timeout=20)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            text = answer.read()
        return answer.status, json.loads(text), answer.headers, text

    def ask(self, request, **more):
        body = json.dumps(request).encode()
        status, answer, *_ = self.send(self.sign(body, **more), body)
        return status, answer


class Cases:
    """Each method is one."""

    def __init__(self, data, pair, client):
        self.data, self.pair, self.client = data, pair, client

    def a_hashed_body_is_accepted_and_the_answer_is_signed(self):
        request, expected = wrap(self.pair)
        body = json.dumps(request).encode()
        sender = self.client.sign(body)
        status, answer, headers, text = self.client.send(sender, body)
        assert (status, answer) == (200, {"body": expected}), answer
        sender.accept_response(headers["server-authorization"], content=text, content_type=headers["content-type"])
        try:
            sender.accept_response(headers["server-authorization"], content=b"{}", content_type=JSON)
        except mohawk.exc.MisComputedContentHash:
            return
        raise AssertionError("a changed answer was believed")

    def the_sample_services_client_is_accepted(self):
        request, expected = wrap(self.pair)
        assert self.client.ask(request, hashed=False) == (200, {"body": expected})

    def a_query_is_sent_and_need_not_be_signed(self):
        request, expected = wrap(self.pair)
        body, url = json.dumps(request).encode(), self.client.url + "?a=b"
        for signed in (url, self.client.url):
            status, answer, *_ = self.client.send(self.client.sign(body, url=signed), body, url=url)
            assert (status, answer) == (200, {"body": expected}), answer

    def a_replay_is_refused(self):
        request, _ = wrap(self.pair)
        body = json.dumps(request).encode()
        sender = self.client.sign(body)
        assert self.client.send(sender, body)[0] == 200
        for _ in range(2):
            status, answer, *_ = self.client.send(sender, body)
            assert (status, answer["code"]) == (401, "replayed"), answer

    def a_stale_timestamp_is_refused(self):
        request, _ = wrap(self.pair)
        for skew in (-90, 90):
            status, answer = self.client.ask(request, _timestamp=int(time.time()) + skew)
            assert (status, answer["code"]) == (401, "stale-timestamp"), answer

    def a_changed_body_is_refused(self):
        request, _ = wrap(self.pair)
        other, _ = wrap(self.pair)
        sender = self.client.sign(json.dumps(request).encode())
        assert self.client.send(sender, json.dumps(other).encode())[0] == 401

    def a_wrong_key_is_refused(self):
        request, _ = wrap(self.pair)
        for wrong in ({"key": "guess"}, {"id": "nobody"}):
            status, answer = self.client.ask(request, credentials={**self.client.credentials, **wrong})
            assert (status, answer["code"]) == (401, "unauthorized"), answer

    def another_method_and_host_are_refused(self):
        request, _ = wrap(self.pair)
        body = json.dumps(request).encode()
        assert self.client.send(self.client.sign(body, method="PUT"), body)[0] == 401
        elsewhere = self.client.sign(body, url=self.client.url.replace("127.0.0.1", "localhost"))
        assert self.client.send(elsewhere, body)[0] == 401

    def what_is_signed_for_another_host_is_refused(self):
        request, _ = wrap(self.pair)
        body = json.dumps(request).encode()
        port = urllib.parse.urlsplit(self.client.url).port
        for host, expected in (("evil.example", 421), ("localhost", 200)):
            sender = self.client.sign(body, url=self.client.url.replace("127.0.0.1", host))
            status, answer, *_ = self.client.send(sender, body, host=f"{host}:{port}")
            assert status == expected, answer

    def an_unknown_pair_is_refused(self):
        request, _ = wrap(self.pair)
        status, answer = self.client.ask({**request, "keypairId": "00000000-0000-4000-8000-000000000000"})
        assert (status, answer["code"]) == (404, "unknown-key-pair"), answer

    def pkcs1_is_refused_in_words(self):
        request, _ = wrap(self.pair)
        body, url = json.dumps(request).encode(), self.client.url + "?decryptType=pkcs1"
        status, answer, *_ = self.client.send(self.client.sign(body, url=url), body, url=url)
        assert (status, answer["code"]) == (400, "decrypt-type"), answer

    def what_does_not_open_is_refused(self):
        request, _ = wrap(self.pair)
        for wrapped in (b"", os.urandom(384), os.urandom(383)):
            changed = {**request, "body": base64.b64encode(wrapped).decode()}
            status, answer = self.client.ask(changed)
            assert (status, answer["code"]) == (422, "does-not-open"), answer

    def options_describes_it(self):
        sender = self.client.sign(b"", method="OPTIONS", hashed=False)
        status, answer, *_ = self.client.send(sender, None, method="OPTIONS")
        assert status == 200 and answer["service"], answer

    def rotation_keeps_old_pairs(self):
        before = lkm("pairs", "--data", self.data)
        [newer] = lkm("rotate", "--data", self.data)
        assert newer["padding"] == before[-1]["padding"]
        for pair in (newer, self.pair):
            request, expected = wrap(pair)
            assert self.client.ask(request) == (200, {"body": expected})
        assert len(lkm("pairs", "--data", self.data)) == len(before) + 1

    def a_disabled_pair_decrypts_nothing_until_it_is_enabled(self):
        [pair] = lkm("add-pair", "--padding", "oaep-sha1", "--data", self.data)
        request, expected = wrap(pair)
        assert self.client.ask(request) == (200, {"body": expected})
        lkm("disable-pair", pair["keypairId"], "--data", self.data)
        assert self.client.ask(request)[0] == 409
        lkm("enable-pair", pair["keypairId"], "--data", self.data)
        assert self.client.ask(request) == (200, {"body": expected})

    def credentials_come_and_go(self):
        request, expected = wrap(self.pair)
        [made] = lkm("credential", "add", "--data", self.data)
        other = Client(self.client.url, made["apiId"], made["apiKey"])
        assert other.ask(request) == (200, {"body": expected})
        lkm("credential", "remove", made["apiId"], "--data", self.data)
        assert other.ask(request)[0] == 401

    def npm_hawk_agrees(self):
        request, expected = wrap(self.pair)
        asked = {
            "url": self.client.url, "id": self.client.credentials["id"], "key": self.client.credentials["key"],
            "request": request, "expected": expected,
        }
        run = subprocess.run(
            ["node", HERE / "hawk/client.mjs", json.dumps(asked)], capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stdout + run.stderr
        lines = run.stdout.splitlines()
        assert len(lines) == 10, lines
        for line in lines:
            print(f"     npm hawk: {line}")

    def zz_the_log_hangs_together_and_names_who_asked(self):
        [report] = lkm("verify-log", "--data", self.data)
        log = pathlib.Path(self.data, "decrypts.log")
        entries = [json.loads(line) for line in log.read_text().splitlines()]
        assert report["lines"] == len(entries) and report["torn"] == 0, report
        outcomes = {entry["outcome"] for entry in entries}
        assert outcomes == {"ok", "unknown-key-pair", "decrypt-type", "does-not-open", "key-pair-disabled"}, outcomes
        assert any(entry["user"] == "user-1" and entry["outcome"] == "ok" for entry in entries)
        program_log = pathlib.Path(f"{self.data}.log").read_text()
        assert "a replay was refused" in program_log
        for text in (log.read_text(), program_log):
            assert self.client.credentials["key"] not in text


@contextlib.contextmanager
def serving(data):
    command = [KEYREEL, "lkm", "serve", "--data", data, "--listen", "127.0.0.1:0"]
    with open(f"{data}.log", "w") as log:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        ready = json.loads(server.stdout.readline())
        # What was signed before it started is refused, and these clients do not ask again.
        time.sleep(1)
        yield ready
    finally:
        server.terminate()
        assert server.wait(20) == 0


def main():
    # It warns at each answer that answers have no nonce.
    logging.getLogger("mohawk").setLevel(logging.ERROR)
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        data = f"{folder}/lkm"
        [made] = lkm("init", "--data", data)
        with serving(data) as ready:
            client = Client(ready["decrypt_url"], made["apiId"], made["apiKey"])
            cases = Cases(data, made, client)
            for name in sorted(vars(Cases)):
                if name.startswith("_"):
                    continue
                try:
                    getattr(cases, name)()
                    passed += 1
                    print(f"ok   {name.removeprefix('zz_').replace('_', ' ')}")
                except Exception:
                    failed += 1
                    print(f"FAIL {name.replace('_', ' ')}\n{traceback.format_exc()}")
    print(f"# pass {passed}\n# fail {failed}")
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
