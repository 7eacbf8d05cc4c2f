"""`make bench`: what the built artifact costs, as ratios against peers measured in the same run."""

import json
import os
import resource
import socketserver
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import trustme

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".aws-sam" / "build"
LAYER = BUILD / "ColdTransferLayer" / "python"
APP = BUILD / "WebhookFunction" / "app.py"

START_UPS = 11
ROUNDS = 9
CALLS = 200

#: What each start-up runs; composing is what Lambda does at init.
PROGRAMS = {
    "bare runtime": "pass",
    "import urllib3": "import urllib3",
    "webhook function": "import app",
}

DEPLOYED = {
    "AWS_LAMBDA_FUNCTION_NAME": "bench",
    "AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "LEDGER_TABLE": "table",
    "PLIVO_BASE_URL": "https://phlorunner.plivo.com",
    "PLIVO_SECRET_NAME": "plivo",
    "CALLERS_SECRET_NAME": "callers",
    "EVENT_SOURCE": "plivo-cold-transfer.caller",
}


def interpreter() -> str:
    """Python 3.13 without the virtual environment, whose packages the artifact must not see."""
    return str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}")


def start_up(program: str) -> float:
    """CPU milliseconds of one fresh process; it writes no bytecode, as in Lambda."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(  # noqa: S603  our own programs
        [interpreter(), "-s", "-B", "-c", program],
        env={**DEPLOYED, "PYTHONPATH": os.pathsep.join([str(APP.parent), str(LAYER)])},
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def start_ups() -> dict[str, list[float]]:
    """Each program in turn, so that a change of the machine's speed meets all of them."""
    measured: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for number in range(START_UPS + 1):
        for name, program in PROGRAMS.items():
            cost = start_up(program)
            if number:  # the first one fills the page cache
                measured[name].append(cost)
    return measured


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"api_id": "8c77b816-d621-4028-afc8-1aeab1d497a8", "error": ""}'
        self.wfile.write(
            b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )

    def log_message(self, *_: object) -> None:
        pass


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.socket = context.wrap_socket(self.socket, server_side=True)


@contextmanager
def plivo(folder: Path) -> Iterator[tuple[int, Path]]:
    """A TLS server on loopback that accepts every transfer: its port, and its CA's certificate."""
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    ca_file = folder / "ca.pem"
    ca.cert_pem.write_to_path(str(ca_file))
    server = Server(context)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1], ca_file
    finally:
        server.shutdown()
        server.server_close()


def warm() -> list[tuple[float, float]]:
    """CPU microseconds of (a warm transfer, a bare urllib3 POST), per round."""
    with tempfile.TemporaryDirectory() as name, plivo(Path(name)) as (port, ca_file):
        out = Path(name) / "out.json"
        arguments = [str(APP), str(port), str(ca_file), str(ROUNDS), str(CALLS), str(out)]
        subprocess.run(  # noqa: S603  our own program
            [interpreter(), "-s", "-B", str(ROOT / "benchmarks" / "handler.py"), *arguments],
            env={**DEPLOYED, "PYTHONPATH": str(LAYER)},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return [(mine, peer) for mine, peer in json.loads(out.read_text())]


def row(name: str, values: list[float], unit: str) -> str:
    middle = statistics.median(values)
    return f"  {name:<44}{middle:>9.1f}{min(values):>9.1f}{max(values):>9.1f}  {unit}"


def main() -> None:
    print("start-up of a fresh process, CPU                 median      min      max")
    measured = start_ups()
    for name, values in measured.items():
        print(row(name, values, "ms"))
    bare = measured["bare runtime"]
    ratios = [
        (mine - nothing) / (peer - nothing)
        for mine, peer, nothing in zip(
            measured["webhook function"], measured["import urllib3"], bare, strict=True
        )
    ]
    print(row("webhook function / import urllib3", ratios, "x"))
    print(
        f"\nwarm, CPU per call, {ROUNDS} rounds of {CALLS}                median      min      max"
    )
    rounds = warm()
    print(row("a transfer (ledger taken out)", [mine for mine, _ in rounds], "µs"))
    print(row("a bare urllib3 keep-alive TLS POST", [peer for _, peer in rounds], "µs"))
    print(row("transfer / POST", [mine / peer for mine, peer in rounds], "x"))


if __name__ == "__main__":
    main()
