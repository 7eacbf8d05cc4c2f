"""Plivo's Multi-Party Call API: at most one POST per action, and a verdict for every result.

Also the two GETs that Plivo's SDKs begin with.
"""

import base64
import json
import logging
import random
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import quote

from urllib3.connection import HTTPConnection, HTTPSConnection

from cold_transfer import __version__
from cold_transfer.action import Action, Verdict
from cold_transfer.causes import Cause
from cold_transfer.deadline import Deadline
from cold_transfer.errors import NotSent, OutOfTime, PlivoUnreachable
from cold_transfer.plivo.address import parse_address
from cold_transfer.plivo.exchange import Connection, Exchange, seconds_left
from cold_transfer.plivo.response import PlivoResponse, Reading

_BACK_OFF_SECONDS = (0.1, 0.3)  # before the second and the third attempt to connect

#: The most attempts at a GET, which is safe to repeat.
MOST_READS = 2

PHLO_PATH = "/v1/phlo/{phlo_id}"
NODE_PATH = f"{PHLO_PATH}/multi_party_call/{{node_id}}"
MEMBER_PATH = f"{NODE_PATH}/members/{{member_address}}"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PlivoCredentials:
    auth_id: str
    auth_token: str = field(repr=False)

    def authorization(self) -> str:
        pair = f"{self.auth_id}:{self.auth_token}".encode()
        return "Basic " + base64.b64encode(pair).decode("ascii")


def url_template(action: Action) -> str:
    """The path of ``action`` with placeholders for its ids and its address."""
    return NODE_PATH if action.name.dials else MEMBER_PATH


class Resource(NamedTuple):
    """What can be read: a PHLO, or one of its Multi-Party Call nodes."""

    phlo_id: str
    node_id: str = ""

    @property
    def url_template(self) -> str:
        return NODE_PATH if self.node_id else PHLO_PATH

    @property
    def path(self) -> str:
        return self.url_template.format(
            phlo_id=quote(self.phlo_id, safe=""), node_id=quote(self.node_id, safe="")
        )


class PlivoClient:
    """Posts actions and reads resources over one kept-alive connection. Not thread-safe.

    It uses urllib3's bare connection: retries and redirects are features of urllib3's pool, so
    neither can happen. ``connect`` and ``send`` are separate steps because a failed handshake and
    a TLS error after the request raise the same exception, and only the first proves that nothing
    was sent.

    connect_seconds
        The longest that one attempt to connect may take, TCP and TLS together. Name resolution is
        not included: the resolver's settings bound it.
    idle_seconds
        A connection idle for longer is replaced. Measured with ``clock``, a wall clock: the
        monotonic clock may stop while a Lambda environment is frozen.
    handshakes
        How many connections were made.

    Raises
    ------
    ValueError
        The address is invalid (see ``parse_address``), or the context does not verify servers.
    """

    def __init__(  # noqa: PLR0913  keyword-only, each for a test or a deployment
        self,
        base_url: str,
        *,
        ssl_context: ssl.SSLContext | None = None,
        aws_endpoint_url: str = "",
        connect_seconds: float = 2.0,
        idle_seconds: float = 10.0,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._address = parse_address(base_url, aws_endpoint_url)
        self._context = None
        if self._address.tls:
            # Once per client: loading the CA bundle costs as much as a hundred requests.
            self._context = ssl_context or _default_context()
            if (
                self._context.verify_mode is not ssl.CERT_REQUIRED
                or not self._context.check_hostname
                or self._context.minimum_version < ssl.TLSVersion.TLSv1_2
            ):
                raise ValueError("ssl_context must verify certificate and host, and need TLS 1.2")
        self._connect_seconds = connect_seconds
        self._idle_seconds = idle_seconds
        self._clock = clock
        self._sleep = sleep
        self._connection: Connection | None = None
        self._last_used = 0.0
        self.handshakes = 0

    def connect(self, deadline: Deadline) -> None:
        """Make sure that there is a live connection. Sends nothing of a request.

        Makes up to three attempts within the deadline, but only one if the certificate is invalid:
        the next attempt would get the same one.

        Raises
        ------
        PlivoUnreachable
            No attempt succeeded.
        """
        if self._is_live():
            return
        self.close()
        for attempt in range(1 + len(_BACK_OFF_SECONDS)):
            if attempt:
                jitter = random.uniform(0.5, 1)  # noqa: S311  spreads load, guards nothing
                pause = _BACK_OFF_SECONDS[attempt - 1] * jitter
                if pause >= deadline.remaining():
                    break
                self._sleep(pause)
            try:
                sock = self._open(attempt, deadline.within(self._connect_seconds))
            except ssl.SSLCertVerificationError as error:
                _log.warning("Plivo's certificate was refused: %s", error.verify_message)
                break
            except OSError as error:
                _log.warning("no connection to Plivo: %s", type(error).__name__)
                continue
            self._connection, self._last_used = Connection(sock, set()), self._clock()
            self.handshakes += 1
            return
        raise PlivoUnreachable("could not connect in time, or the certificate is invalid")

    def send(self, action: Action, credentials: PlivoCredentials, deadline: Deadline) -> Verdict:
        """POST the action once, and return the verdict by the deadline.

        Before anything is sent, a connection that has closed since ``connect``, or that has
        unread data, is replaced. No network or server error is raised.
        """
        body = json.dumps(_fields(action)).encode("ascii")
        try:
            response = self._exchange("POST", _path(action), credentials, deadline, body)
        except NotSent as error:
            return Verdict(error.cause)
        addresses = (action.to, action.trigger_source, action.member_address)
        return response.verdict((*addresses, *_private(credentials)), self._clock())

    def read(
        self, resource: Resource, credentials: PlivoCredentials, deadline: Deadline
    ) -> Reading:
        """GET the resource, with one retry if the answer cannot be used."""
        reading = Reading(None)
        for _ in range(MOST_READS):
            try:
                response = self._exchange("GET", resource.path, credentials, deadline)
            except NotSent as error:
                return Reading(None, failure=Verdict(error.cause))
            reading = response.reading(_private(credentials), self._clock())
            if reading.failure is None or reading.failure.cause is not Cause.READ_FAILED:
                break
        return reading

    def _exchange(
        self,
        method: str,
        path: str,
        credentials: PlivoCredentials,
        deadline: Deadline,
        body: bytes | None = None,
    ) -> PlivoResponse:
        """Send one request, once. Raises ``NotSent`` if nothing was sent."""
        headers = {
            "Authorization": credentials.authorization(),
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": f"plivo-cold-transfer/{__version__}",
        }
        kind = HTTPSConnection if self._address.tls else HTTPConnection
        exchange = Exchange(kind(self._address.host, self._address.port), deadline)
        exchange.prepare(method, self._address.path + path, headers, body)
        # Last, so that unread bytes on the connection are noticed before the request is written.
        self.connect(deadline)
        # From here on, an exchange that fails in any way leaves no connection.
        connection, self._connection = self._connection, None
        assert connection is not None  # noqa: S101  connect() has made it
        try:
            response = exchange.run(connection)
        finally:
            if exchange.may_go_on():
                self._connection, self._last_used = connection, self._clock()
            else:
                connection.sock.close()
        if response is None:
            raise OutOfTime("the deadline has passed")
        return response

    def close(self) -> None:
        """Close the connection, if any; the next ``connect`` makes a new one."""
        if self._connection is not None:
            self._connection.sock.close()
            self._connection = None

    def _is_live(self) -> bool:
        if self._connection is None:
            return False
        idle = self._clock() - self._last_used
        return 0 <= idle < self._idle_seconds and _is_quiet(self._connection.sock)

    def _open(self, attempt: int, deadline: Deadline) -> socket.socket:
        """A new socket with TLS established. Raises OSError, also when the deadline has passed.

        urllib3's ``connect`` gives each address, and then the handshake, the whole time-out again:
        a name with three unreachable addresses would exceed the deadline.
        """
        host, port = self._address.host, self._address.port
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        # An address that drops packets uses up an attempt: the next one starts with another.
        start = attempt % len(found)
        failure: OSError = TimeoutError()
        for family, kind, protocol, _, address in found[start:] + found[:start]:
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.settimeout(seconds_left(deadline))
                sock.connect(address)
                if self._context is not None:
                    sock.settimeout(seconds_left(deadline))
                    sock = self._context.wrap_socket(sock, server_hostname=host)
            except OSError as error:
                sock.close()
                failure = error
            else:
                return sock
        raise failure


def _private(credentials: PlivoCredentials) -> tuple[str, ...]:
    """The parts of the credentials that no text may contain."""
    return credentials.auth_token, credentials.authorization().removeprefix("Basic ")


def _path(action: Action) -> str:
    return url_template(action).format(
        phlo_id=quote(action.phlo_id, safe=""),
        node_id=quote(action.node_id, safe=""),
        member_address=quote(action.member_address, safe="+:@"),  # as Plivo's SDKs leave them
    )


def _fields(action: Action) -> dict[str, str]:
    if not action.name.dials:
        return {"action": action.name}
    return {
        "action": action.name,
        "to": action.to,
        "role": action.role,
        "trigger_source": action.trigger_source,
    }


def _is_quiet(sock: socket.socket) -> bool:
    """Whether there is nothing to read: no data, no end of stream, no reset.

    Reads instead of polling: TLS 1.3 session tickets make a healthy new connection readable, and a
    bad connection looks quiet if its data has been decrypted already.
    """
    sock.setblocking(False)  # noqa: FBT003  the next exchange sets a time-out
    try:
        sock.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        pass
    return False


def _default_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
