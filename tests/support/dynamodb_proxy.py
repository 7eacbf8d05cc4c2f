"""A proxy in front of a DynamoDB API that loses, doubles or holds back chosen requests."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.support.serving import serving

type _Reply = tuple[int, bytes, dict[str, str]]  # status, body, headers

#: The headers that show that a reply is DynamoDB's and complete.
_OWN_HEADERS = ("x-amz-crc32", "x-amzn-requestid")


@dataclass
class Network:
    """What happens to the requests, by their number from 0; all others pass.

    lost
        Forwarded; the connection is closed instead of a reply.
    refused
        Not forwarded; the connection is closed.
    doubled
        Forwarded twice, answered with the first reply.
    held
        Not forwarded until ``release``; the connection is closed.
    url
        The endpoint for clients.
    target
        Host and port of the API behind.
    operations
        The operations requested so far, in order.
    """

    lost: frozenset[int] = frozenset()
    refused: frozenset[int] = frozenset()
    doubled: frozenset[int] = frozenset()
    held: frozenset[int] = frozenset()
    url: str = ""
    target: str = ""
    operations: list[str] = field(default_factory=list)
    _waiting: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def release(self) -> None:
        """Forward the requests that were held, in order."""
        while self._waiting:
            self._forward(*self._waiting.pop(0))

    def pass_on(self, headers: dict[str, str], body: bytes) -> _Reply | None:
        """The reply for the client, or None to close the connection."""
        with self._lock:
            number = len(self.operations)
            self.operations.append(headers["X-Amz-Target"].partition(".")[2])
        if number in self.held:
            self._waiting.append((headers, body))
            return None
        if number in self.refused:
            return None
        reply = self._forward(headers, body)
        if number in self.doubled:
            self._forward(headers, body)
        return None if number in self.lost else reply

    def _forward(self, headers: dict[str, str], body: bytes) -> _Reply:
        with closing(http.client.HTTPConnection(self.target, timeout=10)) as connection:
            connection.request("POST", "/", body, headers)
            response = connection.getresponse()
            given = {name: response.headers.get(name) for name in _OWN_HEADERS}
            known = {name: value for name, value in given.items() if value is not None}
            return response.status, response.read(), known


@contextmanager
def between(endpoint_url: str, found: Network) -> Iterator[None]:
    """Put ``found`` before ``endpoint_url``."""
    found.target = urlsplit(endpoint_url).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            reply = found.pass_on(dict(self.headers), body)
            if reply is None:
                self.close_connection = True
                return
            status, content, own_headers = reply
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(content)))
            for name, value in own_headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None: ...

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None: ...

    with serving(Server(("127.0.0.1", 0), Handler)) as server:
        found.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield
