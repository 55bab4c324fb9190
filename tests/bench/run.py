"""`make bench`: the speed table, every figure beside its peer in one run on one machine.

Starts nginx (plaintext, sendfile), rclone (`serve http` over `crypt`) and Keyreel on loopback, asks
each for the same ranges with wrk, and prints ratios. Everything it starts, it stops; nothing runs
longer than a few seconds a row. Results go to stdout as a table and to tests/artifacts/bench.json.
"""

import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = ROOT / "target/release/keyreel"
MIB = 1 << 20
SIZE = 64 * MIB
SECONDS = int(os.environ.get("BENCH_SECONDS", "5"))
CONNECTIONS = 16
THREADS = 1


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"error: {process.args[0]} ended with {process.returncode}")
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.05)
    raise SystemExit(f"error: {process.args[0]} does not listen on {port}")


@contextlib.contextmanager
def running(arguments: list, **kwargs):
    process = subprocess.Popen([str(a) for a in arguments], **kwargs)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def wave(path: pathlib.Path, size: int) -> None:
    """A stereo 16-bit WAV of exactly `size` bytes that does not compress."""
    data = size - 44
    with path.open("wb") as f:
        f.write(struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + data, b"WAVE", b"fmt ", 16, 1, 2,
                            48000, 192000, 4, 16, b"data", data))
        f.write(os.urandom(data))


LUA = """
local size, span = %d, %d
local seed = 0
function setup(thread) thread:set("id", seed); seed = seed + 1 end
function init() math.randomseed(4711 + id) end
function request()
  local first = math.random(0, size - span)
  return wrk.format("GET", nil, {["Range"] = "bytes=" .. first .. "-" .. (first + span - 1)%s})
end
"""


def wrk(url: str, span: int, tmp: pathlib.Path, headers: dict | None = None) -> dict:
    """Random ranges of `span` bytes; returns bytes and requests per second, latencies in ms."""
    extra = "".join(f', ["{k}"] = "{v}"' for k, v in (headers or {}).items())
    script = tmp / f"range-{span}.lua"
    script.write_text(LUA % (SIZE, span, extra))
    out = subprocess.run(
        ["wrk", "-t", str(THREADS), "-c", str(CONNECTIONS), "-d", f"{SECONDS}s", "--latency",
         "-s", str(script), url], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in out:
        raise SystemExit(f"error: {url.split('/')[2]} answered errors:\n{out}")
    requests = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", out)
    scale = {"us": 0.001, "ms": 1, "s": 1000}[p99[2]]
    return {"requests": requests, "bytes": requests * span, "p99_ms": float(p99[1]) * scale}


def best(measure, rounds: int = 3) -> dict:
    """The median of three, by throughput: peers are measured in turn, so drift hits all alike."""
    results = sorted((measure() for _ in range(rounds)), key=lambda r: r["requests"])
    return results[len(results) // 2]


def api(url: str, token: str, path: str, method: str = "GET", body: bytes | None = None) -> dict:
    request = urllib.request.Request(url + path, method=method, data=body, headers={
        "Authorization": f"Bearer {token}", "Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def first_byte(port: int, path: str, span: int, headers: dict | None = None, tls=None) -> float:
    """Milliseconds from the request to the first byte of the body, on a warm connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    started = time.perf_counter()
    connection.request("GET", path, headers={"Range": f"bytes=0-{span - 1}", **(headers or {})})
    answer = connection.getresponse()
    answer.read(1)
    elapsed = (time.perf_counter() - started) * 1000
    if answer.status != 206:
        raise SystemExit(f"error: {answer.status} instead of 206")
    answer.read()
    connection.close()
    return elapsed


def paced(port: int, path: str, rate: int, seconds: int) -> list[float]:
    """First-byte times at a fixed rate, open loop: late answers do not slow the asking."""
    results, lock = [], threading.Lock()

    def one() -> None:
        value = first_byte(port, path, 65536)
        with lock:
            results.append(value)

    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        started, asked = time.perf_counter(), []
        for i in range(rate * seconds):
            delay = started + i / rate - time.perf_counter()
            if delay > 0:
                time.sleep(delay)
            asked.append(pool.submit(one))
    for each in asked:
        each.result()
    return results


def percentile(values: list[float], p: float) -> float:
    return values[min(len(values) - 1, int(len(values) * p))]


def main() -> None:
    for tool in ("nginx", "rclone", "wrk", "openssl"):
        if not shutil.which(tool):
            sys.exit(f"error: {tool} is missing: run tests/setup bench")
    rows = []

    def row(what, value, target, note=""):
        rows.append({"what": what, "value": value, "target": target, "note": note})
        print(f"{what:<44} {value:>12}   target {target:<12} {note}", flush=True)

    with tempfile.TemporaryDirectory(prefix="keyreel-bench-") as name, contextlib.ExitStack() as stack:
        tmp = pathlib.Path(name)
        tmp.chmod(0o755)
        plain = tmp / "plain"
        plain.mkdir(mode=0o755)
        wave(plain / "call.wav", SIZE)
        cold = tmp / "cold"
        cold.mkdir()
        for i in range(100):
            wave(cold / f"cold-{i:03}.wav", 160_044)

        # The peers.
        nginx_port, nginx_tls = free_port(), free_port()
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                        "-nodes", "-keyout", tmp / "key.pem", "-out", tmp / "cert.pem", "-days", "2",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
                       check=True, capture_output=True)
        (tmp / "nginx.conf").write_text(f"""
            daemon off; worker_processes 2; pid {tmp}/nginx.pid; error_log {tmp}/nginx.log;
            events {{ worker_connections 1024; }}
            http {{
              access_log off; sendfile on; keepalive_requests 1000000;
              client_body_temp_path {tmp}/b; proxy_temp_path {tmp}/p; fastcgi_temp_path {tmp}/f;
              uwsgi_temp_path {tmp}/u; scgi_temp_path {tmp}/s;
              server {{ listen 127.0.0.1:{nginx_port}; root {plain}; }}
              server {{ listen 127.0.0.1:{nginx_tls} ssl; root {plain}; ssl_protocols TLSv1.3;
                        ssl_certificate {tmp}/cert.pem; ssl_certificate_key {tmp}/key.pem; }}
            }}""")
        nginx = stack.enter_context(running(["nginx", "-p", tmp, "-c", tmp / "nginx.conf"]))
        obscured = subprocess.run(["rclone", "obscure", "bench"], capture_output=True, text=True, check=True).stdout.strip()
        (tmp / "rclone.conf").write_text(
            f"[c]\ntype = crypt\nremote = {tmp}/crypt\nfilename_encryption = off\n"
            f"directory_name_encryption = false\nsuffix = none\npassword = {obscured}\n")
        subprocess.run(["rclone", "--config", tmp / "rclone.conf", "copy", plain, "c:"], check=True)
        rclone_port = free_port()
        rclone = stack.enter_context(running(
            ["rclone", "--config", tmp / "rclone.conf", "serve", "http", "c:", "--addr", f"127.0.0.1:{rclone_port}"],
            stderr=subprocess.DEVNULL))

        # Keyreel, plain and with TLS.
        port, admin, tls_port = free_port(), free_port(), free_port()
        data = tmp / "data"
        demo = stack.enter_context(running(
            [BIN, "demo", "--data", data, "--listen", f"127.0.0.1:{port}", "--admin-listen", f"127.0.0.1:{admin}"],
            stdout=subprocess.PIPE, stderr=(tmp / "keyreel.log").open("w"), text=True))
        ready = json.loads(demo.stdout.readline())
        tenant = next(t for t in ready["tenants"] if t["policy"] == "compatible")
        config = data / "keyreel.toml"
        started = time.perf_counter()
        subprocess.run([BIN, "import", "--config", config, "--tenant", tenant["id"], plain], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        import_seconds = time.perf_counter() - started
        subprocess.run([BIN, "import", "--config", config, "--tenant", tenant["id"], cold], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        url, token = ready["url"].rstrip("/"), tenant["agent_token"]
        entities, page = [], "/api/v1/recordings?limit=200"
        while page:
            answer = api(url, token, page)
            entities += answer["entities"]
            page = answer["nextUri"]
        # The samples are minutes long; ours are the 64 MiB one and a hundred of a second.
        big = max(entities, key=lambda e: e["durationMs"] if e["contentType"].startswith("audio/wav") else 0)
        colds = [e for e in entities if e["durationMs"] < 1000]
        media = api(url, token, f"/api/v1/recordings/{big['id']}/playback", "POST", b"{}")["mediaUri"]

        for p, process in ((nginx_port, nginx), (rclone_port, rclone), (port, demo)):
            wait_for(p, process)
        ours, peer = url + media, f"http://127.0.0.1:{nginx_port}/call.wav"
        check = urllib.request.Request(ours, headers={"Range": "bytes=1000000-1099999"})
        with urllib.request.urlopen(check) as answer, (plain / "call.wav").open("rb") as f:
            f.seek(1_000_000)
            assert answer.read() == f.read(100_000), "the stream differs from the plaintext"

        for span, label, target in ((MIB, "hot ranges, 1 MiB, plain HTTP", "0.6 x nginx"),
                                    (65536, "small ranges, 64 KiB", "0.7 x nginx")):
            theirs = best(lambda: wrk(peer, span, tmp))
            mine = best(lambda: wrk(ours, span, tmp))
            row(label, f"{mine['bytes'] / theirs['bytes']:.2f} x", target,
                f"{mine['bytes'] / 1e6:,.0f} against {theirs['bytes'] / 1e6:,.0f} MB/s, "
                f"{mine['requests']:,.0f} against {theirs['requests']:,.0f} requests/s")
            if span == MIB:
                other = best(lambda: wrk(f"http://127.0.0.1:{rclone_port}/call.wav", span, tmp), 1)
                row("the same against rclone crypt", f"{mine['bytes'] / other['bytes']:.1f} x", "20 x rclone",
                    f"{other['bytes'] / 1e6:,.0f} MB/s")

        # TLS on both sides.
        tls_config = tmp / "tls.toml"
        text = config.read_text()
        tls_config.write_text(tls_text(text, data, tls_port, free_port(), tmp))
        tls = stack.enter_context(running([BIN, "serve", "--config", tls_config], stdout=subprocess.DEVNULL,
                                          stderr=(tmp / "keyreel-tls.log").open("w")))
        wait_for(tls_port, tls)
        theirs = best(lambda: wrk(f"https://127.0.0.1:{nginx_tls}/call.wav", MIB, tmp))
        mine = best(lambda: wrk(f"https://127.0.0.1:{tls_port}{media}", MIB, tmp))
        row("hot ranges, 1 MiB, TLS 1.3", f"{mine['bytes'] / theirs['bytes']:.2f} x", "0.9 x nginx",
            f"{mine['bytes'] / 1e6:,.0f} against {theirs['bytes'] / 1e6:,.0f} MB/s")

        # A second each in turn: what else the machine does hits both, and neither loads the other.
        warm = [], []
        for _ in range(8):
            warm[0].extend(paced(nginx_port, "/call.wav", 200, 1))
            warm[1].extend(paced(port, media, 200, 1))
        warm = [sorted(times) for times in warm]
        row("first byte, DEK cached, p99 at 200/s", f"{percentile(warm[1], .99) / percentile(warm[0], .99):.2f} x",
            "1.5 x nginx", f"{percentile(warm[1], .99):.2f} against {percentile(warm[0], .99):.2f} ms")

        times = []
        for entity in colds:
            uri = api(url, token, f"/api/v1/recordings/{entity['id']}/playback", "POST", b"{}")["mediaUri"]
            times.append(first_byte(port, uri, 65536))
        times.sort()
        row("first byte, cold, managed key, p50", f"{statistics.median(times):.2f} ms", "4 ms",
            f"{len(times)} recordings, p90 {percentile(times, .9):.2f} ms")

        row("import 64 MiB: decode, seal, store, verify", f"{SIZE / 1e6 / import_seconds:,.0f} MB/s", "-",
            "whole command, start included")

        start = time.perf_counter()
        port2 = free_port()
        (tmp / "start.toml").write_text(plain_text(text, data, port2, free_port()))
        with running([BIN, "serve", "--config", tmp / "start.toml"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            while True:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port2}/", timeout=5) as answer:
                        if answer.status == 200:
                            break
                except OSError:
                    time.sleep(0.002)
            row("start: serve to the first 200", f"{(time.perf_counter() - start) * 1000:.0f} ms", "300 ms")

    speed = subprocess.run(["openssl", "speed", "-elapsed", "-seconds", "3", "-bytes", "16384", "-evp", "aes-256-gcm"],
                           capture_output=True, text=True, check=True).stdout
    openssl = float(re.search(r"(?i)aes-256-gcm\s+([\d.]+)k", speed)[1]) * 1000
    seal = json.loads(bench("keyreel-format", "seal").strip().splitlines()[-1])
    row("seal, one core", f"{seal['bytes_per_second'] / openssl:.2f} x", "0.7 x openssl",
        f"{seal['bytes_per_second'] / 1e6:,.0f} against {openssl / 1e6:,.0f} MB/s at 16 KiB")
    out = bench("keyreel-sandbox", "unwrap")
    for line in re.finditer(r"(\S+): direct (\S+), through the plugin (\S+) .* costs (\S+) p50", out):
        row(f"what the sandbox costs, {line[1]}", line[4], "60 µs p50", f"{line[3]} through the plugin, {line[2]} direct")
    out = bench("keyreel-library", "catalogue", "1000000")
    for line in re.finditer(r"(?m)^(.{32}) p50 +([\d.]+) ms +p99 +([\d.]+) ms", out):
        what = line[1].strip()
        target = "-" if what.startswith(("append_audit", "credential")) else "20 ms"
        row(f"a big library: {what}, p99", f"{line[3]} ms", target, f"1,000,000 recordings, p50 {line[2]} ms")

    artifacts = ROOT / "tests/artifacts"
    artifacts.mkdir(exist_ok=True)
    (artifacts / "bench.json").write_text(json.dumps(rows, indent=1) + "\n")


def bench(package: str, name: str, *arguments: str) -> str:
    """What one of the crates' own benches prints."""
    # `-p keyreel` gives the dependencies the program's features: nothing is compiled twice.
    return subprocess.run(["cargo", "bench", "--locked", "-q", "-p", package, "-p", "keyreel", "--bench", name, "--", *arguments],
                          cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


def plain_text(text: str, data: pathlib.Path, port: int, admin: int) -> str:
    """The demo's configuration, at other addresses; relative paths made absolute."""
    text = re.sub(r'(?m)^listen = .*$', f'listen = "127.0.0.1:{port}"', text)
    text = re.sub(r'(?m)^admin_listen = .*$', f'admin_listen = "127.0.0.1:{admin}"', text)
    return re.sub(r'(?m)^(\w+ = ")(?=\./)\./', rf'\g<1>{data}/', text)


def tls_text(text: str, data: pathlib.Path, port: int, admin: int, tmp: pathlib.Path) -> str:
    return plain_text(text, data, port, admin) + (
        f'\n[tls]\ncertificate_file = "{tmp}/cert.pem"\nkey_file = "{tmp}/key.pem"\n')


if __name__ == "__main__":
    main()
