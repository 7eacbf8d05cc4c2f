"""A raw socket server in place of Plivo, and the named faults that it can produce.

::

    with FaultServer(FAULTS["reset-after-post"]) as plivo:
        ...                       # let something send an action to plivo.url
        assert plivo.posts == 1   # what really arrived, counted by the receiver

Each request takes the next of the given faults, and the last one repeats. The server listens on
127.0.0.1 only, on a free port, over TLS if it is given a context.
"""

import contextlib
import json
import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from types import MappingProxyType, TracebackType
from typing import Any, Self

from cold_transfer.causes import Cause
from cold_transfer.plivo.client import PlivoClient

#: From the second request of a connection on, a fault sends another id instead: Plivo never repeats
#: one.
API_ID = "8c77b816-d621-4028-afc8-1aeab1d497a8"
ACCEPTED_BODY = b'{"api_id": "%s", "error": ""}' % API_ID.encode()
#: Long enough to see a drip outlive a deadline, short enough for a time-out per read never to act.
DRIP_SECONDS = 0.05
_LARGEST_REQUEST = 1_000_000


class Port(Enum):
    """What the address itself is like."""

    OPEN = "open"
    REFUSES = "refuses"  # bound, not listening
    SWALLOWS = "swallows"  # listening with a full queue: no SYN is answered
    NAMELESS = "nameless"  # a host name that does not resolve


@dataclass(frozen=True, slots=True)
class Received:
    """One complete request, as received."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of the header; fails if it came more than once."""
        values = [v for n, v in self.headers if n.lower() == name.lower()]
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0] if values else None


class Line:
    """One connection, at the server's end, and what a fault can do with it."""

    def __init__(self, sock: socket.socket, stopped: threading.Event) -> None:
        self.sock = sock
        self.stopped = stopped
        self.ended = False
        self.requests = 0

    def send(self, data: bytes) -> None:
        if self.requests > 1:
            data = data.replace(API_ID.encode(), f"{self.requests:08x}{API_ID[8:]}".encode())
        self.sock.sendall(data)

    def drip(self, data: bytes, every: float = DRIP_SECONDS) -> None:
        """One byte at a time, until the client hangs up or the server is stopped."""
        for byte in data:
            self.send(bytes([byte]))
            if self.stopped.wait(every):
                return

    def hang(self) -> None:
        """Send nothing until the client hangs up or the server is stopped."""
        self.sock.settimeout(0.05)
        while not self.stopped.is_set():
            with contextlib.suppress(TimeoutError, ssl.SSLWantReadError):
                if not self.sock.recv(4096):
                    return

    def close(self) -> None:
        self.ended = True
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def reset(self) -> None:
        """Close with a RST instead of a FIN."""
        self.ended = True
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def break_record(self) -> None:
        """Send a TLS record that cannot be decrypted, past the TLS layer."""
        with socket.socket(fileno=os.dup(self.sock.fileno())) as below:
            below.sendall(b"\x17\x03\x03\x00\x40" + bytes(64))


type Act = Callable[[Line], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """One way for a request to Plivo to end, and the verdict that it must lead to.

    cause, status
        The expected verdict: its row in ``causes.TABLE``, and the status that the webhook answers.
    answer
        What the server does once it has read a request.
    greet
        What it does to a new connection, before TLS and before reading anything.
    plivo_status
        The status that the client reads, if any.
    posts
        How many POSTs one attempt delivers.
    tls
        Exists over TLS only.
    slow
        Ends when the client's own time is over: give it a short deadline.
    """

    cause: Cause
    status: int
    answer: Act = Line.close
    greet: Act | None = None
    plivo_status: int | None = None
    posts: int = 1
    port: Port = Port.OPEN
    tls: bool = False
    slow: bool = False
    retry_after: int | None = None


class FaultServer:
    """See the module. ``posts``, ``requests`` and ``connections`` may be read at any time."""

    def __init__(self, *faults: Fault, tls: ssl.SSLContext | None = None) -> None:
        self._faults = list(faults) or [ACCEPTS]
        self._tls = tls
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._stopped = threading.Event()
        self._lines: list[Line] = []
        self._threads: list[threading.Thread] = []
        self._fillers: list[socket.socket] = []
        self.requests: list[Received] = []
        self.connections = 0
        self.bytes_read = 0  # of requests, not of handshakes
        self.reads = 0  # that it took; over TLS one for each record
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        if self._faults[0].port is Port.NAMELESS:
            return f"https://nowhere.invalid:{self.port}"
        return f"https://localhost:{self.port}" if self._tls else f"http://127.0.0.1:{self.port}"

    @property
    def posts(self) -> int:
        return sum(request.method == "POST" for request in self.requests)

    def then(self, *faults: Fault) -> None:
        """From the next request on, these."""
        with self._lock:
            self._faults = list(faults)

    def listen(self) -> None:
        """Begin to accept connections, if the server did not from the start."""
        self._listener.listen(128)
        self._start(self._accept, "listener")

    def wait_for_connection(self, count: int = 1) -> None:
        """Wait until so many are accepted: a client is connected before that."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.connections >= count, timeout=5)

    def deafen(self) -> None:
        """Refuse new connections, and close those that are open."""
        self._stop_listening()
        self.hang_up()

    def hang_up(self) -> None:
        """Close all open connections, as a server does with idle ones."""
        with self._lock:
            lines, threads = list(self._lines), list(self._threads)
        for line in lines:
            with contextlib.suppress(OSError):
                line.sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            if thread.name == "line":
                thread.join(5)

    def reset_all(self) -> None:
        """Reset all open connections, as a balancer does with those that it has forgotten."""
        with self._lock:
            lines, threads = list(self._lines), list(self._threads)
        for line in lines:
            # SO_LINGER applies when the last descriptor closes: the serving thread's, woken up here
            line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with contextlib.suppress(OSError):
                line.sock.shutdown(socket.SHUT_RD)
        for thread in threads:
            if thread.name == "line":
                thread.join(5)

    def __enter__(self) -> Self:
        port = self._faults[0].port
        if port is Port.OPEN:
            self.listen()
        elif port is Port.SWALLOWS:
            self._listener.listen(0)
            self._fill()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._stop_listening()
        for filler in self._fillers:
            filler.close()
        self.hang_up()
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive(), "a connection of the fault server does not end"

    def _stop_listening(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._listener.close()

    def _fill(self) -> None:
        for _ in range(16):
            filler = socket.socket()
            filler.settimeout(0.2)
            self._fillers.append(filler)
            try:
                filler.connect(("127.0.0.1", self.port))
            except TimeoutError:
                return
        raise AssertionError("the queue of the listener does not fill up")

    def _start(self, work: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=work, name=name, daemon=True)
        with self._lock:
            thread.start()  # under the lock: only a started thread in the list can be joined
            self._threads.append(thread)

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            line = Line(sock, self._stopped)
            with self._changed:
                self.connections += 1
                self._lines.append(line)
                self._start(partial(self._serve, line), "line")
                self._changed.notify_all()

    def _serve(self, line: Line) -> None:
        with contextlib.suppress(OSError):
            self._talk(line)
        with self._lock:
            self._lines.remove(line)
        line.close()

    def _talk(self, line: Line) -> None:
        with self._lock:
            greet = self._faults[0].greet
        if greet is not None:
            greet(line)
        if self._tls is not None and not line.ended:
            line.sock = self._tls.wrap_socket(line.sock, server_side=True)
        while not line.ended and not self._stopped.is_set():
            request = self._read(line)
            if request is None:
                return
            line.requests += 1
            with self._lock:
                self.requests.append(request)
                fault = self._faults.pop(0) if len(self._faults) > 1 else self._faults[0]
            fault.answer(line)

    def _read(self, line: Line) -> Received | None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._recv(line, data)
            if not data or len(data) > _LARGEST_REQUEST:
                return None
        head, _, body = data.partition(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = tuple((n, v.strip()) for n, _, v in (h.partition(":") for h in rest))
        length = next((int(v) for n, v in headers if n.lower() == "content-length"), 0)
        while len(body) < length:
            body += self._recv(line, body)
        return Received(method, target, headers, body)

    def _recv(self, line: Line, before: bytes) -> bytes:
        data = line.sock.recv(65_536)
        self.bytes_read += len(data)
        self.reads += bool(data)
        if before and not data:
            raise ConnectionError("the request was cut")
        return data


def http_answer(
    status: int | str, body: bytes = b"", headers: Mapping[str, str] = MappingProxyType({})
) -> bytes:
    """The bytes of a whole answer; Content-Length is the body's unless it is given."""
    fields = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    return framed(*(f"{n}: {v}" for n, v in fields.items()), status=status, body=body)


def framed(
    *headers: str, status: int | str = 201, body: bytes = b"", version: str = "HTTP/1.1"
) -> bytes:
    """The bytes of an answer that has these lines for headers, and no others."""
    return "\r\n".join([f"{version} {status} x", *headers, "", ""]).encode("latin-1") + body


def chunks(*parts: bytes) -> bytes:
    """A chunked body but for its last line, before which trailers may stand."""
    return b"".join(b"%x;a=b\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n"


def says(data: bytes) -> Act:
    """The bytes; the connection stays open."""
    return lambda line: line.send(data)


def then(*acts: Act) -> Act:
    def act(line: Line) -> None:
        for one in acts:
            one(line)

    return act


def drips(quick: bytes, slow: bytes) -> Act:
    return then(says(quick), lambda line: line.drip(slow))


def repeats(data: bytes) -> Act:
    """The bytes again and again, until the client hangs up or the server is stopped."""

    def act(line: Line) -> None:
        while not line.stopped.wait(DRIP_SECONDS):
            line.send(data)

    return act


def plivo_text(error: object, api_id: object = API_ID) -> bytes:
    return json.dumps({"api_id": api_id, "error": error}).encode()


def accepts(status: int = 201, body: bytes = ACCEPTED_BODY) -> Fault:
    return Fault(Cause.ACCEPTED, status, says(http_answer(status, body)), plivo_status=status)


def rejects(status: int, body: bytes | None = None) -> Fault:
    body = plivo_text("to is a mandatory param.") if body is None else body
    return Fault(Cause.REJECTED, status, says(http_answer(status, body)), plivo_status=status)


def leaves_unknown(status: int, act: Act, *, slow: bool = False) -> Fault:
    """An answer with this status of Plivo's that leaves the outcome unknown."""
    cause, answered = (Cause.PLIVO_TIMED_OUT, 504) if slow else (Cause.OUTCOME_UNKNOWN, 502)
    return Fault(cause, answered, act, plivo_status=status, slow=slow)


def unexpected(status: int, act: Act | None = None) -> Fault:
    return Fault(
        Cause.UNEXPECTED_STATUS, 502, act or says(http_answer(status, b"{}")), plivo_status=status
    )


def unreachable(**how: Port | Act | bool) -> Fault:
    return Fault(Cause.PLIVO_UNREACHABLE, 503, posts=0, retry_after=2, **how)  # type: ignore[arg-type]  # checked by Fault's own fields


def accepts_as(sent: bytes, *, closes: bool) -> Fault:
    act = then(says(sent), Line.close) if closes else says(sent)
    return Fault(Cause.ACCEPTED, 201, act, plivo_status=201)


ACCEPTS = accepts()
_HEAD = http_answer(201, headers={"Content-Length": "1000"})
_CHUNKED = "Transfer-Encoding: chunked"
_LENGTH = f"Content-Length: {len(ACCEPTED_BODY)}"
_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
_MOVED = {"Location": "/v1/elsewhere"}


def _faults() -> Iterator[tuple[str, Fault]]:
    for status in (200, 201, 202):
        yield f"accepted-{status}", accepts(status)
    yield (
        "accepted-after-100-continue",
        Fault(
            Cause.ACCEPTED,
            201,
            then(says(b"HTTP/1.1 100 Continue\r\n\r\n"), ACCEPTS.answer),
            plivo_status=201,
        ),
    )
    yield (
        "accepted-and-closed",
        Fault(
            Cause.ACCEPTED,
            201,
            then(says(http_answer(201, ACCEPTED_BODY, {"Connection": "close"})), Line.close),
            plivo_status=201,
        ),
    )
    yield (
        "accepted-after-interim-answers",
        Fault(
            Cause.ACCEPTED,
            201,
            then(
                says(b"HTTP/1.1 102 Processing\r\n\r\n" + _HINTS),
                says(b"HTTP/1.1 199 x\r\nRetry-After: 9\r\n\r\n"),
                ACCEPTS.answer,
            ),
            plivo_status=201,
        ),
    )
    for status in (400, 404, 405, 409, 422):
        yield f"rejected-{status}", rejects(status)
    yield "rejected-not-json", rejects(404, b"<html>no such page</html>")
    yield (
        "rejected-body-cut",
        Fault(
            Cause.REJECTED,
            400,
            then(says(http_answer(400, b"{", {"Content-Length": "50"})), Line.close),
            plivo_status=400,
        ),
    )
    yield (
        "rejected-body-dripped",
        Fault(
            Cause.REJECTED,
            400,
            drips(http_answer(400, headers={"Content-Length": "1000"}), b"x" * 1000),
            plivo_status=400,
            slow=True,
        ),
    )
    yield (
        "error-in-200",
        Fault(
            Cause.REJECTED,
            422,
            says(http_answer(200, plivo_text("no such member"))),
            plivo_status=200,
        ),
    )
    for status in (401, 403):
        yield (
            f"credentials-{status}",
            Fault(
                Cause.PLIVO_CREDENTIALS_REFUSED,
                502,
                says(http_answer(status, b"no entry")),
                plivo_status=status,
            ),
        )
    yield (
        "throttled-429",
        Fault(
            Cause.PLIVO_THROTTLED,
            503,
            says(http_answer(429, b"{}", {"Retry-After": "7"})),
            plivo_status=429,
            retry_after=7,
        ),
    )

    yield "name-not-found", unreachable(port=Port.NAMELESS)
    yield "connection-refused", unreachable(port=Port.REFUSES)
    yield "connect-timeout", unreachable(port=Port.SWALLOWS, slow=True)
    yield "handshake-closed", unreachable(greet=Line.close, tls=True)
    yield "handshake-reset", unreachable(greet=Line.reset, tls=True)
    yield "handshake-garbled", unreachable(greet=then(says(http_answer(400)), Line.close), tls=True)
    yield "handshake-hangs", unreachable(greet=Line.hang, tls=True, slow=True)

    yield "read-timeout", Fault(Cause.PLIVO_TIMED_OUT, 504, Line.hang, slow=True)
    yield (
        "status-line-dripped",
        Fault(Cause.PLIVO_TIMED_OUT, 504, drips(b"", b"HTTP/1.1 201 " + b"x" * 1000), slow=True),
    )
    yield (
        "headers-dripped",
        leaves_unknown(201, drips(b"HTTP/1.1 201 Created\r\n", b"X-Slow: 1\r\n" * 100), slow=True),
    )
    yield (
        "rejected-headers-dripped",
        Fault(
            Cause.PLIVO_TIMED_OUT,
            504,
            drips(b"HTTP/1.1 400 Bad Request\r\n", b"X-Slow: 1\r\n" * 100),
            plivo_status=400,
            slow=True,
        ),
    )
    yield (
        "endless-100-continue",
        Fault(
            Cause.OUTCOME_UNKNOWN,
            502,
            then(says(b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000), Line.hang),
        ),
    )
    yield (
        "interim-answers-endless",
        Fault(Cause.OUTCOME_UNKNOWN, 502, then(says(_HINTS * 10_000), Line.hang)),
    )
    yield (
        "interim-answers-forever",
        Fault(Cause.PLIVO_TIMED_OUT, 504, repeats(_HINTS), slow=True),
    )
    yield (
        "interim-answer-and-closed",
        Fault(Cause.OUTCOME_UNKNOWN, 502, then(says(_HINTS), Line.close)),
    )
    yield (
        "interim-answer-malformed",
        Fault(
            Cause.OUTCOME_UNKNOWN,
            502,
            then(says(b"HTTP/1.1 103 x\r\nno header\r\n\r\n"), ACCEPTS.answer),
        ),
    )
    yield (
        "answered-twice",
        Fault(
            Cause.OUTCOME_UNKNOWN,
            502,
            says(http_answer(404, plivo_text("no such node")) + http_answer(201, ACCEPTED_BODY)),
        ),
    )
    yield "body-dripped", leaves_unknown(201, drips(_HEAD, b" " * 1000), slow=True)
    yield (
        "body-chunks-dripped",
        leaves_unknown(
            201,
            drips(
                b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n" * 200
            ),
            slow=True,
        ),
    )
    yield "closed-after-post", Fault(Cause.OUTCOME_UNKNOWN, 502, Line.close)
    yield "reset-after-post", Fault(Cause.OUTCOME_UNKNOWN, 502, Line.reset)
    yield (
        "tls-record-broken",
        Fault(Cause.OUTCOME_UNKNOWN, 502, then(Line.break_record, Line.hang), tls=True),
    )
    yield "body-cut", leaves_unknown(201, then(says(_HEAD + b'{"api_id":'), Line.close))
    yield "body-reset", leaves_unknown(201, then(says(_HEAD + b"{"), Line.reset))
    yield (
        "garbage-status-line",
        Fault(Cause.OUTCOME_UNKNOWN, 502, then(says(b"220 smtp ready\r\n\r\n"), Line.close)),
    )
    yield (
        "malformed-headers",
        leaves_unknown(
            201, says(b"HTTP/1.1 201 Created\r\nnot a header +14152225555\r\n\r\n" + ACCEPTED_BODY)
        ),
    )
    for status in (301, 302, 303, 307, 308):
        yield (
            f"redirect-{status}",
            leaves_unknown(status, says(http_answer(status, headers=_MOVED))),
        )
    for status in (500, 502, 503, 504):
        yield (
            f"plivo-{status}",
            leaves_unknown(status, says(http_answer(status, plivo_text("internal")))),
        )
    for name, body in {
        "empty": b"",
        "html": b"<html></html>",
        "array": b"[]",
        "utf-16": '{"api_id": "a"}'.encode("utf-16"),
        "deep": b"[" * 60_000,
        "without-api-id": b'{"error": ""}',
        "with-empty-api-id": plivo_text("", ""),
        "with-number-api-id": plivo_text("", 7),
        "with-object-error": plivo_text({"code": 1}),
        "with-false-error": plivo_text(False),  # noqa: FBT003  a JSON value, not a switch
        "too-long": plivo_text("") + b" " * 70_000,
        "endless": plivo_text("") + b" " * 5_000_000,
    }.items():
        yield f"acknowledged-{name}", leaves_unknown(201, says(http_answer(201, body)))
    for status in (206, 402, 408, 418, 600, 999):
        yield f"unexpected-{status}", unexpected(status)
    yield "unexpected-204", unexpected(204, says(framed(status=204)))
    yield "unexpected-101", unexpected(101, says(b"HTTP/1.1 101 Switching\r\n\r\n"))


def _framings() -> Iterator[tuple[str, Fault]]:
    """Ways to state where an answer ends, clear and unclear ones."""
    whole, half = ACCEPTED_BODY, len(ACCEPTED_BODY) // 2
    in_chunks = framed(_CHUNKED, body=chunks(whole[:half], whole[half:]))
    for name, sent in {
        "chunks": in_chunks + b"\r\n",
        "chunks-with-trailers": in_chunks + b"X-Checksum: 1\r\nX-Other: 2\r\n\r\n",
        "folded-headers": framed("X-A: a", " b", _LENGTH.replace(" ", "\r\n "), body=whole),
    }.items():
        yield f"accepted-as-{name}", accepts_as(sent, closes=False)
    for name, sent in {
        "http-1.0": framed(_LENGTH, body=whole, version="HTTP/1.0"),
        "http-1.0-until-closed": framed(body=whole, version="HTTP/1.0"),
        "until-closed": framed("Connection: close", body=whole),
    }.items():
        yield f"accepted-as-{name}", accepts_as(sent, closes=True)
    for name, sent in {
        "two-lengths": framed(_LENGTH, "Content-Length: 7", body=whole),
        "a-list-of-lengths": framed(f"{_LENGTH}, {len(whole)}", body=whole),
        "a-signed-length": framed(_LENGTH.replace(": ", ": +"), body=whole),
        "length-and-chunks": framed(_LENGTH, _CHUNKED, body=chunks(whole) + b"\r\n"),
        "chunks-in-http-1.0": framed(_CHUNKED, body=chunks(whole) + b"\r\n", version="HTTP/1.0"),
        "another-coding": framed("Transfer-Encoding: gzip, chunked", body=chunks(whole) + b"\r\n"),
        "chunks-cut": framed(_CHUNKED, body=chunks(whole).removesuffix(b"0\r\n")),
    }.items():
        yield f"acknowledged-with-{name}", leaves_unknown(201, then(says(sent), Line.close))
    yield (
        "acknowledged-with-trailers-dripped",
        leaves_unknown(
            201, drips(framed(_CHUNKED, body=chunks(whole)), b"X-Slow: 1\r\n" * 100), slow=True
        ),
    )


#: Every row of the table of outcomes that is Plivo's or the network's, by name.
FAULTS: Mapping[str, Fault] = MappingProxyType({**dict(_faults()), **dict(_framings())})


@contextlib.contextmanager
def talking(*faults: Fault, **options: Any) -> Iterator[tuple[FaultServer, PlivoClient]]:
    """A server with these faults, and a client that posts there; ``options`` are the client's."""
    with (
        FaultServer(*faults) as plivo,
        contextlib.closing(PlivoClient(plivo.url, **options)) as client,
    ):
        yield plivo, client
