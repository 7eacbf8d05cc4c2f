"""One request over one connection: sent once, read until a deadline and up to a size."""

import http.client
import io
import logging
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import urllib3.exceptions
from urllib3.connection import HTTPConnection

from cold_transfer.deadline import Deadline
from cold_transfer.plivo_answer import EXPECTED, PlivoAnswer

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

LARGEST_BODY = 65_536
_LARGEST_ANSWER = 2 * LARGEST_BODY  # head and body, interim answers included

_log = logging.getLogger(__name__)


class Exchange:
    """One request on one connection, and what was read of its answer by the deadline."""

    def __init__(self, connection: HTTPConnection, deadline: Deadline) -> None:
        self._connection = connection
        self._deadline = deadline
        self._response: _Response | None = None
        self._head_read = False
        self._retry_after = ""
        self._body: bytes | None = None
        self._timed_out = False

    def run(self, path: str, headers: Mapping[str, str], body: bytes) -> None:
        """Send the request, once, and read. Nothing that a network or a server does is raised."""
        connection = self._connection
        connection.response_class = self._respond  # type: ignore[assignment]  # called, only
        try:
            connection.timeout = seconds_left(self._deadline)
            connection.request(
                "POST", path, body, headers, preload_content=False, decode_content=False
            )
            connection.timeout = seconds_left(self._deadline)
            response = connection.getresponse()
            self._head_read = True
            self._retry_after = response.headers.get("Retry-After", "")
            self._body = _read(response)
        except Exception as error:  # noqa: BLE001  the POST may be out: every end needs a verdict
            self._timed_out = isinstance(error, (TimeoutError, urllib3.exceptions.TimeoutError))
            name = type(error.__cause__ or error).__name__
            _log.warning("Plivo's answer was not read to its end: %s", name)

    def answer(self) -> PlivoAnswer:
        return PlivoAnswer(
            self._status(), self._head_read, self._retry_after, self._body, self._timed_out
        )

    def may_go_on(self) -> bool:
        """Whether the connection can carry another request.

        Only after an expected status with its body read to the end. After others something may
        still be due: a 103 is followed by the real answer, which must not pass for the next
        request's.
        """
        ended = self._response is not None and self._response.isclosed()
        return ended and self._body is not None and self._status() in EXPECTED

    def abandon(self) -> None:
        """Close what is left of the answer, and the connection."""
        if self._response is not None:
            self._response.close()
        self._connection.close()

    def _status(self) -> int | None:
        status = self._response.status if self._response else None
        return status if isinstance(status, int) else None  # before, http.client's "UNKNOWN"

    def _respond(
        self, sock: socket.socket, debuglevel: int = 0, method: str | None = None
    ) -> "_Response":
        view: Any = _View(sock, self._deadline)
        self._response = _Response(view, debuglevel, method)
        return self._response


class _Response(http.client.HTTPResponse):
    def begin(self) -> None:
        super().begin()
        # Else urllib3 would go on, and log what it could not parse: perhaps somebody's number.
        if self.msg.defects or self.msg.get_payload():
            raise http.client.HTTPException("malformed headers")


class _View:
    """All that http.client wants of a socket, with a deadline on every read."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._sock, self._deadline))


class _Reader(io.RawIOBase):
    """Reads until the deadline, which a time-out per read is not: a dripping server resets it."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._deadline = deadline
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int | None:
        self._sock.settimeout(seconds_left(self._deadline))
        count = self._raw.readinto(buffer)
        self._read += count or 0
        if self._read > _LARGEST_ANSWER:
            raise http.client.HTTPException("the answer is too long")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


def seconds_left(deadline: Deadline) -> float:
    """The seconds left. Raises TimeoutError if there are none."""
    remaining = deadline.remaining()
    if remaining <= 0:
        raise TimeoutError
    return remaining


def _read(response: urllib3.HTTPResponse) -> bytes:
    body = response.read(LARGEST_BODY + 1)
    # A body of a known length has ended with its last byte; asking for more is for the others.
    while response.length_remaining != 0 and (chunk := response.read(LARGEST_BODY + 1 - len(body))):
        body += chunk
    if len(body) > LARGEST_BODY:
        raise http.client.HTTPException("the body is too long")
    return body
