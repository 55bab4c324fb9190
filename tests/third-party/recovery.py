#!/usr/bin/env python3
"""Recovery without Keyreel: examples/recovery/recover.py, `openssl` and PyPI `cryptography` open what Keyreel sealed for a
Local Key Manager and for a recovery key; of an ML-KEM recovery key, tests/interop/open_sealed.py does. The sealed files come
from the API of a demo that is stopped before they are opened.

    recovery.py KEYREEL             the program; prints one line a case and the counts
"""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).parent.parent.parent
RECOVER = ROOT / "examples/recovery/recover.py"
OPEN_SEALED = ROOT / "tests/interop/open_sealed.py"
KEYREEL = sys.argv[1]
TENANT = "riverside-insurance"


@contextlib.contextmanager
def demo(data, log):
    command = [KEYREEL, "demo", "--data", data, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        yield json.loads(server.stdout.readline())
    finally:
        server.terminate()
        server.wait(30)


def request(ready, path, data=None, kind="application/octet-stream", method=None):
    [tenant] = [tenant for tenant in ready["tenants"] if tenant["id"] == TENANT]
    headers = {"authorization": f"Bearer {tenant['admin_token']}", "content-type": kind}
    asked = urllib.request.Request(ready["url"].rstrip("/") + path, data=data, headers=headers, method=method)
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return answer.read()


def wave(frames):
    """A WAV that no other is like."""
    data = os.urandom(frames * 2)
    head = b"fmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data" + len(data).to_bytes(4, "little")
    return b"RIFF" + (4 + len(head) + len(data)).to_bytes(4, "little") + b"WAVE" + head + data


def ask(ready, path, body=None, method=None):
    """JSON in, JSON out."""
    data = None if body is None else json.dumps(body).encode()
    return json.loads(request(ready, path, data, "application/json", method))


def take_in(ready, plain):
    path = "/api/v1/conversations/7f0f3c1e-52f0-4b6e-9a5e-3d7f5e1f0a01/recordings?media=call&contentType=audio/wav"
    return json.loads(request(ready, path, plain))["id"]


def forms(ready, recording):
    """The sealed file with its header of today, as it lies in the store, and its key record if it has one."""
    found = {}
    for form in ("file", "stored", "key-record"):
        try:
            found[form] = request(ready, f"/api/v1/recordings/{recording}/sealed?form={form}")
        except urllib.error.HTTPError as error:
            assert (error.code, form) == (404, "key-record"), (error.code, form)
    return found


def move(ready):
    """Runs a re-wrap to its end."""
    status = ask(ready, f"/api/v1/tenants/{TENANT}/keys/rewrap", {"perSecond": 1000})
    while status["state"] == "running":
        time.sleep(0.2)
        status = ask(ready, f"/api/v1/tenants/{TENANT}/keys/rewrap")
    assert (status["state"], status["failed"]) == ("done", 0) and status["done"] > 0, status


def set_recovery_key(ready, folder, algorithm):
    """Made offline; Keyreel gets the public half. The private one."""
    command = [KEYREEL, "recovery", "new", "--algorithm", algorithm, "--out", folder / "offline"]
    made = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    body = {"publicKey": pathlib.Path(made["publicKey"]).read_text()}
    status = ask(ready, f"/api/v1/tenants/{TENANT}/keys/recovery", body, "PUT")
    assert status["key"]["id"] == made["id"], status
    return pathlib.Path(made["privateKey"])


def with_recovery_keys(ready, folder, older):
    """Sealed forms and plaintext by the private half that opens them: an RSA key that an older recording follows to, then
    ML-KEM in its place."""
    rsa = set_recovery_key(ready, folder, "rsa-3072")
    recording, plain = older
    new = wave(20_000)
    taken_in = take_in(ready, new)
    move(ready)
    by_rsa = [(forms(ready, taken_in), new), (forms(ready, recording), plain)]
    mlkem = set_recovery_key(ready, folder, "mlkem1024-p384")
    new = wave(20_001)
    return (rsa, by_rsa), (mlkem, [(forms(ready, take_in(ready, new)), new)])


def rewrap(ready, folder):
    """A new pair in the Local Key Manager, and every recording moved to it. The private key of that pair alone."""
    data = ready["services"]["lkm"]["data"]
    made = subprocess.run([KEYREEL, "lkm", "rotate", "--data", data], capture_output=True, text=True, check=True)
    pair = json.loads(made.stdout)
    [configuration] = ask(ready, "/api/v2/recording/keyconfigurations")["entities"]
    key = {"configId": configuration["id"], "publicKey": pair["publicKey"], "keypairId": pair["keypairId"]}
    ask(ready, "/api/v2/recording/localkeys", key)
    move(ready)
    return export(folder, data, pair["keypairId"])


def export(folder, data, pair):
    key = folder / f"{pair}.pem"
    command = [KEYREEL, "lkm", "export-pair", pair, "--data", data, "--output", key]
    subprocess.run(command, check=True, capture_output=True)
    return key


def gather(folder):
    """Sealed files and what is in them, the private keys, and the same after a re-wrap; the demo is over when this returns."""
    sealed, rewrapped = {}, {}
    with open(folder / "demo.log", "w") as log, demo(folder / "data", log) as ready:
        for frames in (1, 8192, 300_000):
            plain = wave(frames)
            made = take_in(ready, plain)
            sealed[f"{frames} frames"] = (request(ready, f"/api/v1/recordings/{made}/sealed"), plain)
            rewrapped[made] = plain
        samples = {}
        for file in (ROOT / "examples/quickstart" / TENANT).glob("*.json"):
            if not file.name.endswith(".transcript.json"):
                [media] = [other for other in file.parent.glob(f"{file.stem}.*") if other.suffix != ".json"]
                samples[json.loads(file.read_text())["recordingId"]] = media
        assert samples
        for recording, media in samples.items():
            sealed[media.name] = (request(ready, f"/api/v1/recordings/{recording}/sealed"), media.read_bytes())
            rewrapped[recording] = media.read_bytes()
        data = ready["services"]["lkm"]["data"]
        listing = subprocess.run([KEYREEL, "lkm", "pairs", "--data", data], capture_output=True, text=True, check=True)
        keys = [export(folder, data, json.loads(line)["keypairId"]) for line in listing.stdout.splitlines()]
        new = rewrap(ready, folder)
        after = {recording: (list(forms(ready, recording).values()), plain) for recording, plain in rewrapped.items()}
        recovery = with_recovery_keys(ready, folder, next(iter(rewrapped.items())))
    return sealed, keys, after, new, recovery


def recover(folder, sealed, keys, record=None):
    file, output = folder / "sealed.krc", folder / "plain"
    file.write_bytes(sealed)
    output.unlink(missing_ok=True)
    # Without Keyreel in sight, its folder least of all.
    command = [sys.executable, RECOVER, file, "--output", output]
    for key in keys:
        command += ["--key", key]
    if record:
        (folder / "sealed.krc.key").write_bytes(record)
        command += ["--key-record", folder / "sealed.krc.key"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    return run, output.read_bytes() if output.exists() else None


def open_sealed(folder, sealed, key):
    file = folder / "sealed.krc"
    file.write_bytes(sealed)
    command = [sys.executable, OPEN_SEALED, file, "--mlkem-key", key]
    run = subprocess.run(command, capture_output=True, check=False, cwd=folder)
    return run, run.stdout


def cases(folder):
    sealed, keys, after, new, ((rsa, by_rsa), (mlkem, by_mlkem)) = gather(folder)
    # The private half is gone from the disk: what opens is the exported key alone.
    subprocess.run(["rm", "-rf", folder / "data"], check=True)
    assert len(keys) >= 1

    for name, (file, plain) in sealed.items():
        def opens(file=file, plain=plain):
            run, found = recover(folder, file, keys)
            assert run.returncode == 0, run.stderr
            assert found == plain

        yield f"{name} opens to what was sealed", opens

    for recording, ((file, stored, record), plain) in after.items():
        def opens(file=file, stored=stored, record=record, plain=plain):
            # With the new key alone: the API's file as it is, the store's with its key record.
            for sealed_file, beside in ((file, None), (stored, record), (file, record)):
                run, found = recover(folder, sealed_file, [new], beside)
                assert run.returncode == 0, run.stderr
                assert found == plain
            run, found = recover(folder, stored, [new])
            assert run.returncode == 1 and found is None and "none of these keys" in run.stderr, run.stderr
            # Nothing of the body was touched.
            assert stored[4096:] == file[4096:]

        yield f"{recording} opens after a re-wrap with the new key", opens

    def mixed():
        (_, stored, _), (_, _, record) = (parts for parts, _ in list(after.values())[:2])
        run, found = recover(folder, stored, [new, *keys], record)
        assert run.returncode == 1 and found is None and "another file" in run.stderr, run.stderr
        [(_, stored, record), _] = next(iter(after.values()))
        for at in (40, len(record) // 2, len(record) - 1):
            bad = bytearray(record)
            bad[at] ^= 1
            run, found = recover(folder, stored, [new, *keys], bytes(bad))
            assert run.returncode != 0 and found is None, at

    yield "another's key record, or a changed one, opens nothing", mixed

    def recovered():
        for found, plain in by_rsa:
            ways = [(found["file"], None)]
            if "key-record" in found:
                ways.append((found["stored"], found["key-record"]))
            for sealed_file, record in ways:
                run, opened = recover(folder, sealed_file, [rsa], record)
                assert run.returncode == 0, run.stderr
                assert opened == plain
        assert any("key-record" in found for found, _ in by_rsa)
        for found, _ in by_mlkem:
            run, opened = recover(folder, found["file"], [rsa])
            assert run.returncode == 1 and opened is None and "none of these keys" in run.stderr, run.stderr

    yield "the recovery key alone opens what was sealed for it, and nothing from after it was replaced", recovered

    def recovered_by_mlkem():
        for found, plain in by_mlkem:
            run, opened = open_sealed(folder, found["file"], mlkem)
            assert run.returncode == 0, run.stderr
            assert opened == plain
        for found, _ in by_rsa:
            run, opened = open_sealed(folder, found["file"], mlkem)
            assert run.returncode == 1 and not opened, run.stderr

    yield "so does an ML-KEM recovery key", recovered_by_mlkem

    file, _ = next(iter(sealed.values()))

    def foreign():
        other = folder / "other.pem"
        command = ["openssl", "genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072", "-out", other]
        subprocess.run(command, check=True, capture_output=True)
        run, found = recover(folder, file, [other])
        assert run.returncode == 1 and found is None and "none of these keys" in run.stderr, run.stderr

    yield "another key does not open it", foreign

    def changed():
        for at in (40, 200, 4000, 4096, len(file) - 1):
            bad = bytearray(file)
            bad[at] ^= 1
            run, found = recover(folder, bytes(bad), keys)
            assert run.returncode != 0 and found is None, at
        for end in (0, 15, 4095, 4096, len(file) - 1):
            run, found = recover(folder, file[:end], keys)
            assert run.returncode != 0 and found is None, end

    yield "a changed or shortened file does not open", changed


def main():
    passed = failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        try:
            for name, case in cases(folder):
                try:
                    case()
                    passed += 1
                    print(f"ok   {name}")
                except Exception:
                    failed += 1
                    print(f"FAIL {name}\n{traceback.format_exc()}")
        except Exception:
            failed += 1
            log = folder / "demo.log"
            print(traceback.format_exc(), log.read_text() if log.exists() else "")
    print(f"# pass {passed}\n# fail {failed}")
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
