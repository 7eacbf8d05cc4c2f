"""What the measured programs talk to, over TLS on loopback: Plivo, AWS, and an X-Ray daemon.

The servers run in this process and the programs in others, so that no figure includes a server's
CPU. The servers record the requests.
"""

import fcntl
import json
import os
import shutil
import socket
import socketserver
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import boto3
import botocore
import trustme
import urllib3
from samcli.yamlhelper import yaml_parse  # type: ignore[import-untyped]  # ships no types

from local import daemons
from local.build import ROOT, STATE
from local.emulator import REGION, start_emulator
from local.stack import OWNER

IDEMPOTENCY_TABLE = "idempotency"
LEDGER_TABLE = "ledger"

AUTH_ID = "MABENCHMARKACCOUNT00"
AUTH_TOKEN = "benchmark-token"  # noqa: S105  made up
CLIENT_TOKEN = "benchmark-token-not-a-secret-000001"  # noqa: S105  made up
_SECRETS = {
    "plivo": {"auth_id": AUTH_ID, "auth_token": AUTH_TOKEN},
    "clients": {"clients": {"bench": {"tokens": [CLIENT_TOKEN]}}},
}
_NOT_PASSED_ON = {"host", "connection", "content-length", "transfer-encoding"}
#: What DynamoDB and Secrets Manager answer with; the emulator adds a dozen of a browser's.
_ANSWERED = {"server", "date", "content-type", "x-amzn-requestid", "x-amz-crc32"}


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer, as the server saw them.

    begun, ended
        Of one clock for all servers, in seconds.
    size
        Bytes of both bodies.
    """

    operation: str
    begun: float
    ended: float
    size: int


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes


type Handler = Callable[[str, dict[str, str], bytes], Reply]


def waits_in_a_row(exchanges: Iterable[Exchange]) -> int:
    """The number of exchanges in sequence; concurrent ones count once."""
    waits, busy_until = 0, float("-inf")
    for exchange in sorted(exchanges, key=lambda each: each.begun):
        if exchange.begun >= busy_until:
            waits += 1
        busy_until = max(busy_until, exchange.ended)
    return waits


class TlsServer(socketserver.ThreadingTCPServer):
    """HTTP/1.1 with kept connections; ``handshakes`` and ``exchanges`` are what it saw."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, context: ssl.SSLContext, answer: Handler) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.answer = answer
        self.handshakes = 0
        self.exchanges: list[Exchange] = []

    @property
    def url(self) -> str:
        return f"https://localhost:{self.server_address[1]}"

    def get_request(self) -> tuple[socket.socket, Any]:
        accepted = super().get_request()  # of a TLS socket: with its handshake
        self.handshakes += 1
        return accepted

    def handle_error(self, *_: object) -> None:
        """A program that ends leaves its connections as they are."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: TlsServer

    def do_POST(self) -> None:
        begun = time.perf_counter()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        reply = self.server.answer(self.path, dict(self.headers), body)
        lines = [f"HTTP/1.1 {reply.status} -", f"Content-Length: {len(reply.body)}"]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        if self.close_connection:
            lines.append("Connection: close")  # or the client would try this connection once more
        operation = self.headers.get("X-Amz-Target", "POST").rpartition(".")[2]
        exchange = Exchange(operation, begun, time.perf_counter(), len(body) + len(reply.body))
        # recorded before it is sent: who has the answer may ask at once what was recorded
        self.server.exchanges.append(exchange)
        self.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1") + reply.body)

    def log_message(self, *_: object) -> None:
        pass


class TraceSink:
    """Takes the segments of an X-Ray daemon's port, and counts them."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.segments = 0

    def serve(self) -> None:
        """Until ``close``."""
        while True:
            datagram = self._socket.recv(65_536)
            if not datagram:
                return
            self.segments += 1

    def close(self) -> None:
        host, _, port = self.address.partition(":")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"", (host, int(port)))  # closing alone wakes nobody


@dataclass(frozen=True, slots=True)
class Servers:
    """They run until ``running`` ends.

    roots
        A file with as many root certificates as a system has, and the one of these servers.
    dynamodb
        A client of the emulator itself, past what is recorded.
    """

    plivo: TlsServer
    aws: TlsServer
    traces: TraceSink
    roots: Path
    dynamodb: Any

    def environment(self) -> dict[str, str]:
        """What leads a function, ours or the peer's, to these servers."""
        return {
            "PLIVO_BASE_URL": self.plivo.url,
            "AWS_ENDPOINT_URL": self.aws.url,
            "AWS_CA_BUNDLE": str(self.roots),
            "SSL_CERT_FILE": str(self.roots),
            "AWS_XRAY_DAEMON_ADDRESS": self.traces.address,
            "LEDGER_TABLE": LEDGER_TABLE,
            "IDEMPOTENCY_TABLE": IDEMPOTENCY_TABLE,
        }

    def forget(self) -> None:
        """Count and record from here on."""
        for server in (self.plivo, self.aws):
            server.handshakes = 0
            server.exchanges.clear()

    def create_ledger(self, table: str) -> None:
        """Create a table as the template has it."""
        template = yaml_parse((ROOT / "template.yaml").read_text())
        wanted = template["Resources"]["LedgerTable"]["Properties"]
        parts = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
        self.dynamodb.create_table(TableName=table, **{part: wanted[part] for part in parts})

    def exchanges(self) -> list[Exchange]:
        """Of both servers, in order."""
        both = [*self.plivo.exchanges, *self.aws.exchanges]
        return sorted(both, key=lambda each: each.begun)


@contextmanager
def running() -> Iterator[Servers]:
    """Start them, with empty tables and both secrets.

    Raises
    ------
    StackFailed
        The emulator did not start.
    """
    folder = STATE / "stacks" / f"{os.getpid()}-bench"
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    roots = folder / "roots.pem"
    usual = Path(botocore.__file__).with_name("cacert.pem").read_bytes()
    roots.write_bytes(usual + b"\n" + ca.cert_pem.bytes())
    traces = TraceSink()
    with (folder / OWNER).open("w") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)  # until then `make down` leaves the folder alone
        try:
            emulator = start_emulator(
                folder,
                trace_port=int(traces.address.partition(":")[2]),
                auth=False,
                usual_port=False,
            )
            session = boto3.Session("test", "test", region_name=REGION)
            dynamodb = session.client("dynamodb", endpoint_url=emulator)
            _create_idempotency_table(dynamodb)
            secrets = session.client("secretsmanager", endpoint_url=emulator)
            for name, value in _SECRETS.items():
                secrets.create_secret(Name=name, SecretString=json.dumps(value))
            plivo = TlsServer(context, _accept)
            aws = TlsServer(context, _passed_on_to(emulator))
            for serve in (plivo.serve_forever, aws.serve_forever, traces.serve):
                threading.Thread(target=serve, daemon=True).start()
            servers = Servers(plivo, aws, traces, roots, dynamodb)
            servers.create_ledger(LEDGER_TABLE)
            yield servers
            for server in (plivo, aws):
                server.shutdown()
                server.server_close()
            traces.close()
        finally:
            daemons.stop(daemons.found_in(folder))
            shutil.rmtree(folder, ignore_errors=True)


def _create_idempotency_table(dynamodb: Any) -> None:  # noqa: ANN401  as boto3 makes it
    """As Powertools' documentation has it."""
    dynamodb.create_table(
        TableName=IDEMPOTENCY_TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )


def _accept(_path: str, _headers: Mapping[str, str], _body: bytes) -> Reply:
    body = b'{"api_id": "%s", "error": ""}' % str(uuid.uuid4()).encode()
    return Reply(201, {"Content-Type": "application/json"}, body)


def _passed_on_to(emulator: str) -> Handler:
    pool = urllib3.PoolManager(maxsize=8)

    def answer(path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        asked = {k: v for k, v in headers.items() if k.lower() not in _NOT_PASSED_ON}
        reply = pool.request("POST", emulator + path, body=body, headers=asked, retries=False)
        answered = {k: v for k, v in reply.headers.items() if k.lower() in _ANSWERED}
        return Reply(reply.status, answered, reply.data)

    return answer
