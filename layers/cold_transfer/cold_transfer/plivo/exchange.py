"""One request over one connection: sent in one write, read up to a deadline and a maximum size.

urllib3 builds the request and reads the answer, but with ``_Wire`` as its socket and ``_Response``
as http.client's response, for the sake of four guarantees:

- One deadline for the whole exchange. urllib3 has a time-out per read, which a server that sends a
  byte now and then can extend forever.
- One write. http.client writes the head, then the body; a process stopped in between would send
  the rest whenever it resumes.
- Interim answers are skipped. http.client skips only 100, and takes a 103 for the answer.
- Bytes after the answer are noticed. http.client drops those that it has read ahead.
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
#: A connection is replaced after this many answers, because it remembers all their api_ids.
MOST_ANSWERS = 1_000
_LARGEST_ANSWER = 2 * LARGEST_BODY  # head and body, interim answers included
_LENGTH = re.compile(r"\s*[0-9]{1,18}\s*", re.ASCII)
_HTTP_1_1 = 11  # as http.client has it

_log = logging.getLogger(__name__)


class Connection(NamedTuple):
    """A connected socket, and the api_ids of all answers received on it."""

    sock: socket.socket
    answered: set[str]


class Exchange:
    """One request, and what was read of its answer by the deadline.

    In HTTP/1.1 only the order shows which request an answer belongs to. An answer is out of step,
    and proves nothing, if

    - more bytes follow it, or
    - the connection has had an answer with its api_id before. A connection is kept only after an
      answer with an api_id, so every complete copy of an earlier answer is recognised.

    The client checks for unread bytes before the request is written, and replaces the connection.
    Not detected: an answer to no request that is not a copy, arrives during the exchange, and has
    nothing after it yet. How fast an answer arrives proves nothing.

    http
        urllib3's connection to the host, not connected. It cannot be used again.
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
        http.sock = self._wire  # it has every method of a socket that is used
        http.response_class = self._respond  # type: ignore[assignment]  # only called

    def prepare(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> None:
        """Build the request. Sends nothing."""
        self._http.request(method, path, body, headers, preload_content=False, decode_content=False)

    def run(self, connection: Connection) -> PlivoResponse | None:
        """Send the request once, and read the answer. No network or server error is raised.

        None if the deadline had passed: nothing was sent. The clock is read immediately before the
        only write. A process stopped between the two sends its whole request late.
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
        except Exception as error:  # noqa: BLE001  the POST may be sent: every case needs a verdict
            self._timed_out = isinstance(error, (TimeoutError, urllib3.exceptions.TimeoutError))
            name = type(error.__cause__ or error).__name__
            _log.warning("Plivo's answer was not read completely: %s", name)
        return self._plivo_response(connection.answered)

    def may_go_on(self) -> bool:
        """Whether the connection can carry another request.

        Only after a complete answer in step, with an expected status and an api_id.
        """
        return self._may_go_on

    def _plivo_response(self, answered: set[str]) -> PlivoResponse:
        status = self._response.status if self._response else None
        response = PlivoResponse(
            status if isinstance(status, int) else None,  # http.client begins with "UNKNOWN"
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
    """http.client's socket: collects the request, and gives what to read the answer from.

    request
        What has been written.
    incoming
        What the answer is read from; set before reading.
    """

    incoming: "_Incoming"

    def __init__(self) -> None:
        self.request = b""

    def sendall(self, data: bytes) -> None:
        self.request += data

    def makefile(self, _mode: str) -> "_Incoming":
        return self.incoming

    def settimeout(self, _seconds: float | None) -> None:
        """Nothing to do: the deadline applies."""

    def close(self) -> None:
        """Nothing to do: the client closes the connection after checking for further bytes."""


class _Response(http.client.HTTPResponse):
    def begin(self) -> None:
        super().begin()
        _check_headers(self.msg)
        lengths = self.msg.get_all("Content-Length", [])
        codings = self.msg.get_all("Transfer-Encoding", [])
        # In any other case, two readers may disagree where it ends (RFC 9112 section 6.3).
        if codings:
            clear = self.chunked and len(codings) == 1 and not lengths and self.version == _HTTP_1_1
        else:
            clear = len(lengths) <= 1 and all(_LENGTH.fullmatch(value) for value in lengths)
        if not clear:
            raise http.client.HTTPException("unclear length")

    def _read_status(self) -> tuple[str, int, str]:
        """The status line of the final answer; skips interim ones (RFC 9110 section 15.2).

        A 101 is final: the connection uses another protocol from there on.
        """
        while True:
            line: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]  # no stub
            if line[1] // 100 != 1 or line[1] == http.HTTPStatus.SWITCHING_PROTOCOLS:
                return line
            _check_headers(http.client.parse_headers(self.fp))


class _Incoming(io.BufferedReader):
    """The incoming bytes. Ignores http.client's close, as further bytes are checked after that."""

    def has_more(self) -> bool:
        """Whether there is something to read. Does not wait."""
        self.raw.waits = False  # type: ignore[attr-defined]  # a _Reader
        try:
            return bool(self.peek(1))
        except OSError:
            return False

    def close(self) -> None:
        pass


class _Reader(io.RawIOBase):
    """Reads until the deadline. A slow server would extend a time-out per read forever."""

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
    """The seconds left. Raises TimeoutError once the deadline has passed."""
    remaining = deadline.remaining()
    if remaining <= 0:
        raise TimeoutError
    return remaining


def _check_headers(headers: http.client.HTTPMessage) -> None:
    # Otherwise urllib3 would go on, and log what it could not parse: perhaps a phone number.
    if headers.defects or headers.get_payload():
        raise http.client.HTTPException("malformed headers")


def _read(response: urllib3.HTTPResponse) -> bytes:
    body = response.read(LARGEST_BODY + 1)
    # Read on only if the length is not known, or not reached.
    while response.length_remaining != 0 and (chunk := response.read(LARGEST_BODY + 1 - len(body))):
        body += chunk
    if len(body) > LARGEST_BODY:
        raise http.client.HTTPException("the body is too long")
    return body
