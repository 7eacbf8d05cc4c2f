"""One request over one connection: sent in one write, read until a deadline and up to a size.

urllib3 forms the request and reads the answer, but it gets ``_Wire`` for a socket and ``_Response``
for http.client's response, because four promises are kept where those two meet:

- One deadline for the whole exchange. urllib3 has a time-out per read, which a server that sends a
  byte now and then outlives.
- One write. http.client writes the head, then the body; a process that is stopped in between would
  send the rest whenever it wakes.
- Interim answers. http.client skips 100 only, and takes a 103 for the answer.
- Bytes after the answer. http.client drops those that it has read already, unseen.
"""

import http.client
import io
import logging
import re
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import urllib3.exceptions
from urllib3.connection import HTTPConnection

from cold_transfer.deadline import Deadline
from cold_transfer.plivo.response import EXPECTED, PlivoResponse, json_object

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

LARGEST_BODY = 65_536
#: After so many answers a connection is replaced: the api_ids of all of them are remembered.
MOST_ANSWERS = 1_000
_LARGEST_ANSWER = 2 * LARGEST_BODY  # head and body, interim answers included
_LENGTH = re.compile(r"\s*[0-9]{1,18}\s*", re.ASCII)
_HTTP_1_1 = 11  # as http.client has it

_log = logging.getLogger(__name__)


class Connection(NamedTuple):
    """A connected socket, and the api_id of every answer that came over it."""

    sock: socket.socket
    answered: set[str]


class Exchange:
    """One request, and what was read of its answer by the deadline.

    HTTP/1.1 does not say which request an answer belongs to; only the order does. An answer is out
    of step, and proves nothing, if

    - more bytes are there when it has been read to its end, or
    - its api_id is one that the connection has answered before. A connection is kept only after an
      answer with an api_id, so that every whole copy of an earlier answer is recognised.

    Bytes that wait before the request is written are the client's matter, which replaces the
    connection. Not detected: an answer that belongs to no request, is no copy, arrives during the
    exchange and has nothing behind it yet. How fast an answer came proves nothing.

    http
        urllib3's connection to the host, not connected. It is used up.
    """

    def __init__(self, http: HTTPConnection, deadline: Deadline) -> None:
        self._http = http
        self._deadline = deadline
        self._wire = _Wire()
        self._response: _Response | None = None
        self._head_read = False
        self._retry_after = ""
        self._body: bytes | None = None
        self._timed_out = False
        self._more = False
        self._may_go_on = False
        http.sock = self._wire  # it has all that is used of a socket
        http.response_class = self._respond  # type: ignore[assignment]  # called, only

    def prepare(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> None:
        """Form the request. Sends nothing."""
        self._http.request(method, path, body, headers, preload_content=False, decode_content=False)

    def run(self, connection: Connection) -> PlivoResponse | None:
        """Send the request, once, and read. Nothing that a network or a server does is raised.

        None if the deadline was over: nothing was sent. The clock is read immediately before the
        one write. A process that is stopped between these two sends its whole request late.
        """
        sock = connection.sock
        incoming = self._wire.incoming = _Incoming(_Reader(sock, self._deadline))
        remaining = self._deadline.remaining()
        if remaining <= 0:
            return None
        try:
            sock.settimeout(remaining)
            sock.sendall(self._wire.request)  # fits into any socket's buffer and one TLS record
            response = self._http.getresponse()
            self._head_read = True
            self._retry_after = response.headers.get("Retry-After", "")
            self._body = _read(response)
            self._more = incoming.has_more()
        except Exception as error:  # noqa: BLE001  the POST may be out: every end needs a verdict
            self._timed_out = isinstance(error, (TimeoutError, urllib3.exceptions.TimeoutError))
            name = type(error.__cause__ or error).__name__
            _log.warning("Plivo's answer was not read to its end: %s", name)
        return self._plivo_response(connection.answered)

    def may_go_on(self) -> bool:
        """Whether the connection can carry another request.

        Only after a whole answer of an expected status, with an api_id, that is not out of step.
        """
        return self._may_go_on

    def _plivo_response(self, answered: set[str]) -> PlivoResponse:
        status = self._response.status if self._response else None
        response = PlivoResponse(
            status if isinstance(status, int) else None,  # before, http.client's "UNKNOWN"
            self._head_read,
            self._retry_after,
            json_object(self._body),
            self._timed_out,
        )
        api_id = response.api_id()
        if self._more or api_id in answered:
            _log.warning("Plivo's answer may be another request's")
            return response._replace(out_of_step=True)
        if api_id and status in EXPECTED and self._response and not self._response.will_close:
            answered.add(api_id)
            self._may_go_on = len(answered) < MOST_ANSWERS
        return response

    def _respond(self, wire: Any, debuglevel: int = 0, method: str | None = None) -> "_Response":  # noqa: ANN401  a _Wire, which the stubs do not take for a socket
        self._response = _Response(wire, debuglevel, method)
        return self._response


class _Wire:
    """What http.client has for a socket: holds the request back, and reads what it is given.

    request
        What has been written.
    incoming
        Where the answer is read from; set before it is.
    """

    incoming: "_Incoming"

    def __init__(self) -> None:
        self.request = b""

    def sendall(self, data: bytes) -> None:
        self.request += data

    def makefile(self, _mode: str) -> "_Incoming":
        return self.incoming

    def settimeout(self, _seconds: float | None) -> None:
        """The deadline counts."""

    def close(self) -> None:
        """The client closes the connection, once it has looked at what follows the answer."""


class _Response(http.client.HTTPResponse):
    def begin(self) -> None:
        super().begin()
        _check_headers(self.msg)
        lengths = self.msg.get_all("Content-Length", [])
        codings = self.msg.get_all("Transfer-Encoding", [])
        # Of anything else two readers may see two ends (RFC 9112 section 6.3).
        if codings:
            clear = self.chunked and len(codings) == 1 and not lengths and self.version == _HTTP_1_1
        else:
            clear = len(lengths) <= 1 and all(_LENGTH.fullmatch(value) for value in lengths)
        if not clear:
            raise http.client.HTTPException("unclear length")

    def _read_status(self) -> tuple[str, int, str]:
        """The first status line that is not of an interim answer (RFC 9110 section 15.2).

        After a 101 the connection speaks another protocol: there is no other answer to wait for.
        """
        while True:
            line: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]  # no stub
            if line[1] // 100 != 1 or line[1] == http.HTTPStatus.SWITCHING_PROTOCOLS:
                return line
            _check_headers(http.client.parse_headers(self.fp))


class _Incoming(io.BufferedReader):
    """What arrives. http.client closes it at the answer's end; what follows is looked at yet."""

    def has_more(self) -> bool:
        """Whether something is there to be read. Does not wait."""
        self.raw.waits = False  # type: ignore[attr-defined]  # a _Reader
        try:
            return bool(self.peek(1))
        except OSError:
            return False

    def close(self) -> None:
        pass


class _Reader(io.RawIOBase):
    """Reads until the deadline, which a time-out per read is not: a dripping server resets it."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline
        self._read = 0
        self.waits = True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        self._sock.settimeout(seconds_left(self._deadline) if self.waits else 0)
        count = self._sock.recv_into(buffer)
        self._read += count
        if self.waits and self._read > _LARGEST_ANSWER:
            raise http.client.HTTPException("the answer is too long")
        return count


def seconds_left(deadline: Deadline) -> float:
    """The seconds left. Raises TimeoutError if there are none."""
    remaining = deadline.remaining()
    if remaining <= 0:
        raise TimeoutError
    return remaining


def _check_headers(headers: http.client.HTTPMessage) -> None:
    # Else urllib3 would go on, and log what it could not parse: perhaps a phone number.
    if headers.defects or headers.get_payload():
        raise http.client.HTTPException("malformed headers")


def _read(response: urllib3.HTTPResponse) -> bytes:
    body = response.read(LARGEST_BODY + 1)
    # A body of a known length has ended with its last byte; asking for more is for the others.
    while response.length_remaining != 0 and (chunk := response.read(LARGEST_BODY + 1 - len(body))):
        body += chunk
    if len(body) > LARGEST_BODY:
        raise http.client.HTTPException("the body is too long")
    return body
