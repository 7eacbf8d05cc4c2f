"""A Plivo simulator on loopback: `python -m local.simulator --port N`, or ``Simulator()``.

It answers as in Plivo's documentation, fails for certain numbers (``simulator_rules``), and keeps
track of the calls (``simulator_calls``). It has further paths, all with JSON:

    GET /_received       all requests, oldest first; ?since=N: those after number N; DELETE clears
                         the list
    GET /_calls          the calls and their changes; ?since=N: those after change N; &wait=SECONDS:
                         waits for one
    POST /_calls         makes a call with a customer and an agent; ``phlo_id`` and ``node_id`` are
                         from the body or new
    PUT, DELETE /_strict  turns the refusal of unknown calls and members on or off
"""

import argparse
import base64
import contextlib
import hmac
import json
import signal
import socket
import struct
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from local import simulator_rules
from local.credentials import PLIVO_AUTH_ID, PLIVO_AUTH_TOKEN
from local.simulator_calls import Calls, now
from local.simulator_rules import Reply

#: Plivo's limit per account: requests, seconds.
RATE = (300, 5.0)
HANG_SECONDS = 30.0
DRIP_SECONDS = 0.5
REQUESTS_KEPT = 50_000


@dataclass(frozen=True, slots=True)
class Received:
    """One request as received, and the decision about it.

    sequence
        Its number, starting at 1; clearing the list does not reset it.
    at
        RFC 3339, UTC.
    action
        The one in the body, or empty.
    status
        The answer's status; if ``manner`` is not "whole", the one intended.
    """

    sequence: int
    at: str
    method: str
    path: str
    action: str
    headers: dict[str, str]
    body: str
    status: int
    manner: str


class Simulator:
    """The server, which runs for the duration of the context.

    Parameters
    ----------
    port
        0 for any free port; ``base_url`` has the port.
    rate
        How many requests in how many seconds are allowed before a 429.
    strict
        Whether an action on an unknown call or member is refused. Plivo does not document whether
        it does that.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        auth: tuple[str, str] = (PLIVO_AUTH_ID, PLIVO_AUTH_TOKEN),
        rate: tuple[int, float] = RATE,
        strict: bool = False,
    ) -> None:
        self.strict = strict
        self.calls = Calls()
        self._received: deque[Received] = deque(maxlen=REQUESTS_KEPT)
        self._sequence = 0
        self._recent: deque[float] = deque()
        self._lock = threading.Lock()
        self._rate = rate
        self._authorization = b"Basic " + base64.b64encode(":".join(auth).encode())
        self.stopping = threading.Event()
        self._server = _Server(self, port)
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()  # ends answers that hang or drip
        self._server.shutdown()
        self._server.server_close()

    def received(self, since: int = 0) -> list[Received]:
        """The requests after number ``since``, oldest first."""
        with self._lock:
            new = min(self._sequence - since, len(self._received))
            return list(self._received)[-new:] if new > 0 else []

    def forget(self) -> None:
        """Clear the list of received requests."""
        with self._lock:
            self._received.clear()

    def decide(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        """Choose the answer to a request, apply its action, and record the request.

        headers
            With names in lower case.
        """
        fields = simulator_rules.fields_of(body)
        reply = self._reply(method, path, headers, fields)
        with self._lock:
            self._sequence += 1
            self._received.append(
                Received(
                    self._sequence,
                    now(),
                    method,
                    path,
                    str((fields or {}).get("action", "")),
                    headers,
                    body.decode("utf-8", errors="replace"),
                    int(reply.status),
                    reply.manner,
                )
            )
        return reply

    def _reply(
        self, method: str, path: str, headers: dict[str, str], fields: Mapping[str, object] | None
    ) -> Reply:
        given = headers.get("authorization", "").encode("utf-8", errors="replace")
        if not hmac.compare_digest(given, self._authorization):
            return simulator_rules.unauthorized()
        if not self._within_rate():
            return simulator_rules.throttled()
        return simulator_rules.reply_to(method, path, fields, self.calls, strict=self.strict)

    def _within_rate(self) -> bool:
        requests, seconds = self._rate
        at = time.monotonic()
        with self._lock:
            while self._recent and self._recent[0] <= at - seconds:
                self._recent.popleft()
            if len(self._recent) >= requests:
                return False
            self._recent.append(at)
        return True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, simulator: Simulator, port: int) -> None:
        self.simulator = simulator
        super().__init__(("127.0.0.1", port), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Print a traceback, unless the client closed the connection."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # as passed in


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body may be two writes: avoid a delayed ACK's 40 ms
    wbufsize = -1
    timeout = 60.0

    def _serve(self) -> None:
        length = self.headers.get("Content-Length", "0")
        body = self.rfile.read(int(length)) if length.isdecimal() else b""
        url = urlsplit(self.path)
        match url.path, self.command:
            case "/_received", _:
                self._show_received(dict(parse_qsl(url.query)))
            case "/_calls", "POST":
                self._make_call(simulator_rules.fields_of(body) or {})
            case "/_calls", _:
                self._show_calls(dict(parse_qsl(url.query)))
            case "/_strict", _:
                self._set_strict()
            case _:
                headers = {name.lower(): value for name, value in self.headers.items()}
                self._deliver(self.server.simulator.decide(self.command, self.path, headers, body))

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = _serve  # noqa: N815 -- http.server's names

    def _show_received(self, query: Mapping[str, str]) -> None:
        simulator = self.server.simulator
        since = _whole_numbers(query, "since")
        if since is None:
            self._show({"error": "since must be an integer"}, HTTPStatus.BAD_REQUEST)
            return
        shown = [asdict(request) for request in simulator.received(*since)]
        if self.command == "DELETE":
            simulator.forget()
        self._show(shown)

    def _make_call(self, wanted: Mapping[str, object]) -> None:
        ids = (str(wanted.get(name) or uuid.uuid4()) for name in ("phlo_id", "node_id"))
        self._show(self.server.simulator.calls.make(*ids), HTTPStatus.CREATED)

    def _show_calls(self, query: Mapping[str, str]) -> None:
        numbers = _whole_numbers(query, "since", "wait")
        if numbers is None:
            self._show({"error": "since and wait must be integers"}, HTTPStatus.BAD_REQUEST)
        else:
            self._show(self.server.simulator.calls.seen(*numbers))

    def _set_strict(self) -> None:
        simulator = self.server.simulator
        if self.command in ("PUT", "DELETE"):
            simulator.strict = self.command == "PUT"
        self._show({"strict": simulator.strict})

    def _show(self, value: object, status: int = HTTPStatus.OK) -> None:
        self._write(Reply(status, json.dumps(value).encode()))

    def _deliver(self, reply: Reply) -> None:
        self.close_connection = self.close_connection or reply.manner != "whole"
        match reply.manner:
            case "whole":
                self._write(reply)
            case "hang":
                self.server.simulator.stopping.wait(HANG_SECONDS)
            case "cut":
                self._write(reply, stop_at=len(reply.body) // 2)
            case "drip":
                self._write(reply, stop_at=0)
                for byte in reply.body:
                    if self.server.simulator.stopping.wait(DRIP_SECONDS):
                        break
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
            case "reset":
                # SO_LINGER with zero seconds: close() sends RST instead of FIN.
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.connection.close()

    def _write(self, reply: Reply, stop_at: int | None = None) -> None:
        self.send_response(reply.status)
        headers = {"Content-Type": "application/json", **reply.headers}
        headers["Content-Length"] = str(len(reply.body))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body[:stop_at])
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- http.server's name
        """Nothing: /_received has more than an access log would."""


def _whole_numbers(query: Mapping[str, str], *names: str) -> list[int] | None:
    """The values of ``names``, 0 if not given; None if one is not an integer."""
    try:
        return [int(query.get(name, "0")) for name in names]
    except ValueError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description="A Plivo simulator on loopback.")
    parser.add_argument("--port", type=int, default=0, help="default: any free port")
    parser.add_argument("--strict", action="store_true", help="refuse unknown calls and members")
    options = parser.parse_args()
    done = threading.Event()

    def finish(_number: int, _frame: FrameType | None) -> None:
        done.set()

    signal.signal(signal.SIGTERM, finish)
    with (
        Simulator(options.port, strict=options.strict) as simulator,
        contextlib.suppress(KeyboardInterrupt),
    ):
        sys.stdout.write(f"Plivo simulator on {simulator.base_url}\n")
        sys.stdout.flush()
        done.wait()


if __name__ == "__main__":
    main()
