"""The Plivo client over TLS: which servers it trusts, and every fault over a TLS connection."""

import datetime as dt
import socket
import ssl
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
import trustme

from cold_transfer.action import Action, Verdict
from cold_transfer.causes import Cause, Outcome
from cold_transfer.deadline import Deadline
from cold_transfer.plivo.client import PlivoClient, PlivoCredentials
from tests.support.fault_server import ACCEPTS, FAULTS, Fault, FaultServer

ACTION = Action("e564a84a-7910-4447-b16f-65c541dd552c", "a" * 24, "14152225555", "14152223333")
CREDENTIALS = PlivoCredentials("MAXXXXXXXXXXXXXXXXXX", "token")
SHORT = 0.6
UNREACHABLE = Verdict(Cause.PLIVO_UNREACHABLE)
# These three never get as far as TLS.
OVER_TLS = {
    name: fault
    for name, fault in FAULTS.items()
    if name not in ("name-not-found", "connection-refused", "connect-timeout")
}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@contextmanager
def talking(
    authority: trustme.CA, *faults: Fault, server: ssl.SSLContext | None = None
) -> Iterator[tuple[FaultServer, PlivoClient]]:
    server = server or server_context(authority.issue_cert("localhost"))
    with (
        FaultServer(*faults, tls=server) as plivo,
        closing(PlivoClient(plivo.url, ssl_context=trusting(authority))) as client,
    ):
        yield plivo, client


def post(client: PlivoClient, seconds: float = 5.0, action: Action = ACTION) -> Verdict:
    return client.send(action, CREDENTIALS, Deadline.after(seconds))


@pytest.mark.parametrize("fault", OVER_TLS.values(), ids=OVER_TLS.keys())
def test_each_fault_has_its_verdict_and_at_most_one_post(
    authority: trustme.CA, fault: Fault
) -> None:
    with talking(authority, fault) as (plivo, client):
        verdict = post(client, SHORT if fault.slow else 10.0)

    assert (verdict.cause, verdict.status) == (fault.cause, fault.status)
    assert verdict.plivo_status == fault.plivo_status
    assert plivo.posts == len(plivo.requests) == fault.posts


def test_a_hundred_actions_need_one_handshake(authority: trustme.CA) -> None:
    with talking(authority, ACCEPTS) as (plivo, client):
        outcomes = {post(client).outcome for _ in range(100)}

        assert outcomes == {Outcome.ACCEPTED}
        assert plivo.posts == 100
        assert plivo.connections == client.handshakes == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_head_and_body_leave_in_one_record(authority: trustme.CA, version: ssl.TLSVersion) -> None:
    # A process that is stopped between two writes would send the second whenever it wakes.
    server = server_context(authority.issue_cert("localhost"))
    server.minimum_version = server.maximum_version = version
    address = f"sip:{'u' * 64}@{'h' * 253}"
    largest = Action(ACTION.phlo_id, ACTION.node_id, address, address, "customer")
    with talking(authority, ACCEPTS, server=server) as (plivo, client):
        for action in (ACTION, largest):
            assert post(client, action=action).outcome is Outcome.ACCEPTED

        assert plivo.reads == plivo.posts == 2


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_connection_made_ahead_is_the_one_that_is_used(
    authority: trustme.CA, version: ssl.TLSVersion
) -> None:
    # Under TLS 1.3 the server's session tickets are waiting to be read by then: judged by
    # readability alone, the connection would look dead and cost a second handshake.
    server = server_context(authority.issue_cert("localhost"))
    server.minimum_version = server.maximum_version = version
    with talking(authority, ACCEPTS, server=server) as (plivo, client):
        for _ in range(20):
            client.close()
            client.connect(Deadline.after(5))
            client.connect(Deadline.after(5))
            assert post(client).outcome is Outcome.ACCEPTED

        assert client.handshakes == plivo.connections == 20


def test_a_connection_that_the_server_closed_while_idle_is_replaced_before_sending(
    authority: trustme.CA,
) -> None:
    with talking(authority, ACCEPTS) as (plivo, client):
        post(client)
        plivo.hang_up()
        verdict = post(client)

        assert verdict.outcome is Outcome.ACCEPTED
        assert client.handshakes == plivo.posts == 2


def _expired(authority: trustme.CA) -> ssl.SSLContext:
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    return server_context(authority.issue_cert("localhost", not_after=yesterday))


def _of_another_host(authority: trustme.CA) -> ssl.SSLContext:
    return server_context(authority.issue_cert("plivo.example"))


def _of_another_authority(_: trustme.CA) -> ssl.SSLContext:
    return server_context(trustme.CA().issue_cert("localhost"))


@pytest.mark.parametrize("certificate", [_expired, _of_another_host, _of_another_authority])
def test_a_server_with_an_invalid_certificate_gets_one_connection_and_no_request(
    authority: trustme.CA, certificate: object
) -> None:
    assert callable(certificate)
    with talking(authority, ACCEPTS, server=certificate(authority)) as (plivo, client):
        assert post(client) == UNREACHABLE
        assert client.handshakes == 0

    assert plivo.bytes_read == 0
    assert plivo.connections == 1


def test_a_certificate_that_the_systems_authorities_did_not_sign_is_refused(
    authority: trustme.CA,
) -> None:
    server = server_context(authority.issue_cert("localhost"))
    with (
        FaultServer(ACCEPTS, tls=server) as plivo,
        closing(PlivoClient(plivo.url)) as client,
    ):
        assert post(client) == UNREACHABLE

    assert plivo.bytes_read == 0


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_a_server_that_offers_only_old_tls_gets_nothing(
    authority: trustme.CA, version: ssl.TLSVersion
) -> None:
    server = _only(version, server_context(authority.issue_cert("localhost")))
    with talking(authority, ACCEPTS, server=server) as (plivo, client):
        # The control: a client that allows old TLS can connect to this server.
        lax = _only(version, trusting(authority))
        with (
            FaultServer(ACCEPTS, tls=server) as control,
            lax.wrap_socket(_socket(control.port), server_hostname="localhost") as tls,
        ):
            assert tls.version() in ("TLSv1", "TLSv1.1")

        assert post(client) == UNREACHABLE

    assert plivo.bytes_read == 0


def test_a_context_that_verifies_less_is_refused(authority: trustme.CA) -> None:
    no_host, no_certificate = trusting(authority), trusting(authority)
    no_host.check_hostname = False
    no_certificate.check_hostname = False
    no_certificate.verify_mode = ssl.CERT_NONE
    old = _only(ssl.TLSVersion.TLSv1, trusting(authority))

    for context in (no_host, no_certificate, old):
        with pytest.raises(ValueError, match="must verify"):
            PlivoClient("https://localhost", ssl_context=context)


def _only(version: ssl.TLSVersion, context: ssl.SSLContext) -> ssl.SSLContext:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    context.set_ciphers("DEFAULT@SECLEVEL=0")  # OpenSSL 3 offers no old TLS above level 0
    return context


def _socket(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)
