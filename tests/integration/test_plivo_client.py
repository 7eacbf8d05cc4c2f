"""The Plivo client against a real socket server, over plain HTTP on loopback."""

import base64
import io
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import plivo as plivo_sdk  # type: ignore[import-untyped]  # the SDK has no types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cold_transfer import __version__
from cold_transfer.action import Action, ActionName, Verdict
from cold_transfer.causes import Cause, Outcome
from cold_transfer.deadline import Deadline
from cold_transfer.errors import PlivoUnreachable
from cold_transfer.plivo.client import PlivoClient, PlivoCredentials
from cold_transfer.plivo.exchange import MOST_ANSWERS
from tests.support.fault_server import (
    ACCEPTED_BODY,
    ACCEPTS,
    API_ID,
    FAULTS,
    Fault,
    FaultServer,
    Line,
    accepts,
    chunks,
    drips,
    framed,
    http_answer,
    leaves_unknown,
    plivo_text,
    rejects,
    says,
    talking,
    then,
    unexpected,
)

PHLO = "e564a84a-7910-4447-b16f-65c541dd552c"
NODE = "5cf0e1b2c3d4e5f60718293a"
ACTION = Action(PHLO, NODE, to="+14152225555", trigger_source="+14152223333")
CREDENTIALS = PlivoCredentials("MAXXXXXXXXXXXXXXXXXX", "a token that nobody may see")
SHORT = 0.6
PLAIN = {name: fault for name, fault in FAULTS.items() if not fault.tls}
DELIVERED = {name: fault for name, fault in PLAIN.items() if fault.posts}


def post(client: PlivoClient, seconds: float = 5.0, action: Action = ACTION) -> Verdict:
    return client.send(action, CREDENTIALS, Deadline.after(seconds))


def outcome_of(*faults: Fault, seconds: float = 5.0) -> Verdict:
    with talking(*faults) as (_, client):
        return post(client, seconds)


@pytest.mark.parametrize("fault", PLAIN.values(), ids=PLAIN.keys())
def test_each_fault_has_its_verdict_and_at_most_one_post(fault: Fault) -> None:
    with talking(fault) as (plivo, client):
        began = time.monotonic()
        verdict = post(client, SHORT if fault.slow else 10.0)
        took = time.monotonic() - began

    assert (verdict.cause, verdict.status) == (fault.cause, fault.status)
    assert verdict.plivo_status == fault.plivo_status
    assert verdict.retry_after == fault.retry_after
    assert plivo.posts == len(plivo.requests) == fault.posts
    if fault.slow:
        assert took < 3 * SHORT


@pytest.mark.parametrize("fault", DELIVERED.values(), ids=DELIVERED.keys())
def test_after_any_fault_the_next_action_gets_the_verdict_of_its_own_answer(fault: Fault) -> None:
    with talking(fault, rejects(404)) as (plivo, client):
        post(client, SHORT if fault.slow else 10.0)
        verdict = post(client)

    assert (verdict.cause, verdict.status) == (Cause.REJECTED, 404)
    assert plivo.posts == 2


def test_the_request_is_that_of_plivos_example() -> None:
    with talking(ACCEPTS) as (plivo, client):
        verdict = post(client)

    [request] = plivo.requests
    assert request.method == "POST"
    assert request.target == f"/v1/phlo/{PHLO}/multi_party_call/{NODE}"
    assert json.loads(request.body) == {
        "action": "cold_transfer",
        "to": "+14152225555",
        "role": "agent",
        "trigger_source": "+14152223333",
    }
    basic = base64.b64encode(b"MAXXXXXXXXXXXXXXXXXX:a token that nobody may see").decode()
    assert {name.lower(): value for name, value in request.headers} == {
        "host": f"127.0.0.1:{plivo.port}",
        "authorization": f"Basic {basic}",
        "content-type": "application/json",
        "content-length": str(len(request.body)),
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": f"plivo-cold-transfer/{__version__}",
    }
    assert verdict == Verdict(Cause.ACCEPTED, API_ID, "", plivo_status=201)


@pytest.mark.parametrize("member", ["+14152223333", "14152223333", "sip:A.b+c@Phone.Plivo.com"])
@pytest.mark.parametrize("name", ActionName)
def test_a_request_is_the_one_that_plivos_sdk_sends(name: ActionName, member: str) -> None:
    to, trigger_source = "+14152225555", member
    action = (
        Action(PHLO, NODE, to, trigger_source, name=name)
        if name.dials
        else Action(PHLO, NODE, name=name, member_address=member)
    )
    with talking(ACCEPTS, ACCEPTS) as (plivo, client):
        post(client, action=action)
        sdk = plivo_python(plivo.url)
        if name.dials:
            getattr(sdk, name)(trigger_source, to, "agent")
        else:
            getattr(sdk.member(member), name)()
        sdk.client.session.close()

    ours, theirs = plivo.requests
    assert ours.method == theirs.method
    assert ours.target == theirs.target.removesuffix("/")
    assert json.loads(ours.body) == json.loads(theirs.body)


def plivo_python(url: str) -> Any:
    """A Multi-Party Call of plivo-python, as it is after its two GETs."""
    client = plivo_sdk.phlo.RestClient(CREDENTIALS.auth_id, "its token")
    client.phlo_base_uri = f"{url}/v1"
    node = {"phlo_id": PHLO, "node_id": NODE, "node_type": "multi_party_call"}
    return plivo_sdk.resources.nodes.MultiPartyCall(client, node)


def test_a_sip_address_and_a_role_are_sent_unchanged() -> None:
    action = Action(PHLO, NODE, "sip:Agent.1@Phone.Plivo.com", "14152223333", "customer")
    with talking(ACCEPTS) as (plivo, client):
        post(client, action=action)

    body = json.loads(plivo.requests[0].body)
    assert body["to"] == "sip:Agent.1@Phone.Plivo.com"
    assert body["trigger_source"] == "14152223333"
    assert body["role"] == "customer"


def test_a_path_prefix_of_the_base_url_is_kept() -> None:
    with FaultServer(ACCEPTS) as plivo, closing(PlivoClient(plivo.url + "/proxy/")) as client:
        post(client)

    assert plivo.requests[0].target == f"/proxy/v1/phlo/{PHLO}/multi_party_call/{NODE}"


def test_the_token_is_in_no_repr() -> None:
    assert CREDENTIALS.auth_token not in repr(CREDENTIALS)


# Plivo's answers


def test_numbers_and_sip_users_in_plivos_text_are_masked() -> None:
    text = "Invalid value +14152225555 provided for to. sip:agent77@phone.plivo.com, 12345 left"
    verdict = outcome_of(rejects(400, plivo_text(text)))

    assert verdict.error == (
        "Invalid value *** provided for to. sip:***@phone.plivo.com, 12345 left"
    )
    assert verdict.api_id == API_ID


@pytest.mark.parametrize("number", ["+14155550123", "+1 415-555-0123", "(415) 555-0123"])
@pytest.mark.parametrize("status", [201, 400, 401, 429])
def test_a_number_in_an_api_id_is_masked(status: int, number: str) -> None:
    body = plivo_text("" if status == 201 else "no", f"call {number}")
    verdict = outcome_of(Fault(Cause.ACCEPTED, status, says(http_answer(status, body))))

    assert verdict.api_id.startswith("call")
    assert not any(character.isdigit() for character in verdict.api_id)


def test_api_ids_that_look_the_same_when_masked_are_not_taken_for_copies() -> None:
    first, second = (
        accepts(201, plivo_text("", number)) for number in ("14155550123", "14155550124")
    )
    with talking(first, second) as (_, client):
        assert [post(client).api_id for _ in range(2)] == ["***********"] * 2
        assert client.handshakes == 1


def test_a_token_that_the_answer_repeats_is_masked() -> None:
    verdict = outcome_of(rejects(400, plivo_text(f"refused: {CREDENTIALS.auth_token}")))

    assert verdict.error == "refused: ***"


@pytest.mark.parametrize("error", [b'""', b"null"])
def test_an_empty_error_is_none(error: bytes) -> None:
    fault = Fault(Cause.ACCEPTED, 200, says(http_answer(200, b'{"api_id":"a","error":%s}' % error)))

    assert outcome_of(fault).outcome is Outcome.ACCEPTED


def test_an_absent_error_is_none() -> None:
    fault = Fault(Cause.ACCEPTED, 200, says(http_answer(200, b'{"api_id":"a"}')))

    assert outcome_of(fault).outcome is Outcome.ACCEPTED


def test_the_text_of_refused_credentials_is_kept_for_the_operator() -> None:
    fault = Fault(
        Cause.PLIVO_CREDENTIALS_REFUSED, 502, says(http_answer(403, plivo_text("not verified")))
    )

    assert outcome_of(fault).error == "not verified"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("1", 1),
        ("0", 1),
        ("29", 29),
        ("86400", 30),
        ("9" * 18, 30),
        ("9" * 5000, 5),
        ("-3", 5),
        ("1.5", 5),
        ("soon", 5),
        ("\xb2", 5),
        ("", 5),
        (formatdate(1_000_010, usegmt=True), 10),
        (formatdate(999_000, usegmt=True), 1),
        ("Mon, 99 Foo 2026 00:00:00 GMT", 5),
    ],
)
def test_retry_after_is_read_and_bounded(header: str, seconds: int) -> None:
    fault = Fault(Cause.PLIVO_THROTTLED, 503, says(http_answer(429, b"", {"Retry-After": header})))
    with talking(fault, clock=lambda: 1_000_000.0) as (_, client):
        assert post(client).retry_after == seconds


def test_without_retry_after_it_is_five_seconds() -> None:
    fault = Fault(Cause.PLIVO_THROTTLED, 503, says(http_answer(429)))

    assert outcome_of(fault).retry_after == 5


@pytest.fixture(scope="module")
def plivo() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@given(
    st.one_of(
        st.binary(max_size=300),
        st.builds(
            lambda status, headers, body: (
                b"HTTP/1.1 %d x\r\n" % status + b"".join(headers) + b"\r\n" + body
            ),
            st.integers(0, 1100) | st.sampled_from([200, 201, 400, 401, 429]),
            st.lists(
                st.sampled_from(
                    [
                        b"Content-Length: 5\r\n",
                        b"Content-Length: 5, 6\r\n",
                        b"Content-Length: -1\r\n",
                        b"Transfer-Encoding: chunked\r\n",
                        b"Content-Encoding: gzip\r\n",
                        b"Content-Type: multipart/mixed; boundary=x\r\n",
                        b"Connection: keep-alive\r\n",
                        b" folded\r\n",
                        b"\xff\xfe: \x00\r\n",
                        b"Retry-After: 5\r\n",
                    ]
                ),
                max_size=4,
            ),
            st.binary(max_size=80)
            | st.sampled_from(
                [
                    b"-5\r\n",
                    b"-1\r\nabc",
                    b"5;x\r\nhello\r\n0\r\n\r\n",
                    ACCEPTED_BODY,
                    b'{"a":1e999}',
                ]
            ),
        ),
    )
)
@settings(max_examples=300, deadline=None, database=None)
def test_every_answer_gets_a_verdict(plivo: FaultServer, data: bytes) -> None:
    with closing(PlivoClient(plivo.url)) as client:
        plivo.then(Fault(Cause.OUTCOME_UNKNOWN, 502, then(says(data), Line.close)))
        before = plivo.posts
        verdict = post(client)

    assert verdict.outcome in Outcome
    assert verdict.outcome is not Outcome.NOT_SENT or verdict.plivo_status in (401, 403, 429)
    assert verdict.outcome is not Outcome.ACCEPTED or b"api_id" in data
    assert plivo.posts == before + 1
    assert verdict.error.isprintable()


# Time


def test_a_dripped_answer_is_cut_off_at_the_deadline() -> None:
    body = drips(http_answer(201, headers={"Content-Length": "60"}), b" " * 60)  # 3 s
    began = time.monotonic()
    verdict = outcome_of(leaves_unknown(201, body, slow=True), seconds=SHORT)

    assert verdict.status == 504
    assert SHORT * 0.8 < time.monotonic() - began < 3 * SHORT


def test_a_slow_but_timely_answer_is_accepted() -> None:
    drip = drips(http_answer(201, headers={"Content-Length": "15"}), b'{"api_id": "a"}')
    slow = Fault(Cause.ACCEPTED, 201, drip)

    assert outcome_of(slow).outcome is Outcome.ACCEPTED


def test_nothing_is_sent_if_the_process_is_frozen_past_the_deadline_just_before_the_write() -> None:
    elapsed = 0.0
    frozen_seconds = 0.0

    def wall_clock() -> float:  # the client reads it when the request is ready to be written
        nonlocal elapsed
        elapsed += frozen_seconds
        return 1_000_000.0

    with talking(ACCEPTS, clock=wall_clock) as (plivo, client):
        client.connect(Deadline.after(5))
        frozen_seconds = 0.6
        verdict = client.send(ACTION, CREDENTIALS, Deadline(0.5, lambda: elapsed))

        assert (verdict.cause, verdict.outcome) == (Cause.OUT_OF_TIME, Outcome.NOT_SENT)
        assert plivo.bytes_read == 0


def test_there_are_three_attempts_to_connect_with_growing_pauses() -> None:
    pauses: list[float] = []
    with (
        talking(FAULTS["connection-refused"], sleep=pauses.append) as (_, client),
        pytest.raises(PlivoUnreachable),
    ):
        client.connect(Deadline.after(5))

    first, second = pauses
    assert 0.05 <= first <= 0.1
    assert 0.15 <= second <= 0.3


def test_no_attempt_begins_beyond_the_deadline() -> None:
    pauses: list[float] = []
    with (
        talking(FAULTS["connection-refused"], sleep=pauses.append) as (_, client),
        pytest.raises(PlivoUnreachable),
    ):
        client.connect(Deadline.after(0.04))

    assert pauses == []


def test_a_connection_that_comes_up_late_is_used() -> None:
    with FaultServer(FAULTS["connection-refused"]) as plivo:

        def now_it_listens(_: float) -> None:
            plivo.listen()

        plivo.then(ACCEPTS)
        with closing(PlivoClient(plivo.url, sleep=now_it_listens)) as client:
            verdict = post(client)

    assert verdict.outcome is Outcome.ACCEPTED
    assert plivo.posts == 1


def test_each_attempt_to_connect_has_a_time_limit() -> None:
    with talking(FAULTS["connect-timeout"], connect_seconds=0.2) as (_, client):
        began = time.monotonic()
        with pytest.raises(PlivoUnreachable):
            client.connect(Deadline.after(30))

    assert 0.6 <= time.monotonic() - began < 3


# The kept connection


def test_one_connection_is_used_for_all_actions() -> None:
    with talking(ACCEPTS) as (plivo, client):
        verdicts = {post(client).outcome for _ in range(20)}

        assert verdicts == {Outcome.ACCEPTED}
        assert client.handshakes == plivo.connections == 1
        assert plivo.posts == 20


def test_connecting_sends_nothing_and_is_not_repeated_by_sending() -> None:
    with talking(ACCEPTS) as (plivo, client):
        client.connect(Deadline.after(5))
        assert plivo.bytes_read == 0
        client.connect(Deadline.after(5))
        post(client)

        assert client.handshakes == 1


END_OF_CONNECTION = {"closed": FaultServer.hang_up, "reset": FaultServer.reset_all}
each_end_of_connection = pytest.mark.parametrize(
    "ends", END_OF_CONNECTION.values(), ids=END_OF_CONNECTION
)


@each_end_of_connection
def test_a_connection_that_the_server_ended_while_idle_is_replaced_before_sending(
    ends: Callable[[FaultServer], None],
) -> None:
    with talking(ACCEPTS) as (plivo, client):
        post(client)
        ends(plivo)
        verdict = post(client)

        assert verdict.outcome is Outcome.ACCEPTED
        assert client.handshakes == plivo.connections == 2
        assert plivo.posts == 2


@each_end_of_connection
def test_a_connection_that_the_server_ended_between_connect_and_send_is_replaced(
    ends: Callable[[FaultServer], None],
) -> None:
    with talking(ACCEPTS) as (plivo, client):
        client.connect(Deadline.after(5))
        plivo.wait_for_connection()
        ends(plivo)
        verdict = post(client)

        assert verdict.outcome is Outcome.ACCEPTED
        assert client.handshakes == plivo.connections == 2
        assert plivo.posts == 1


def test_a_server_that_is_gone_when_sending_is_unreachable_and_not_unknown() -> None:
    with talking(ACCEPTS, sleep=lambda _: None) as (plivo, client):
        post(client)
        plivo.deafen()
        verdict = post(client)

        assert (verdict.cause, verdict.outcome) == (Cause.PLIVO_UNREACHABLE, Outcome.NOT_SENT)
        assert plivo.posts == 1


def test_a_connection_with_unread_bytes_is_replaced() -> None:
    chatty = Fault(Cause.ACCEPTED, 201, then(ACCEPTS.answer, lambda line: line.drip(b"HTTP/1.1")))
    with talking(chatty, rejects(404)) as (plivo, client):
        post(client)
        time.sleep(0.1)
        verdict = post(client)

        assert verdict.status == 404
        assert plivo.posts == client.handshakes == 2


def test_a_protocol_that_the_server_switched_to_is_not_read_as_the_next_answer() -> None:
    first: list[Line] = []

    def switch(line: Line) -> None:
        first.append(line)
        line.send(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")

    def answer_both(line: Line) -> None:
        if line in first:
            line.send(http_answer(201, ACCEPTED_BODY))
        line.send(http_answer(404, plivo_text("no such node")))

    with talking(unexpected(101, switch), replace(rejects(404), answer=answer_both)) as (_, client):
        assert post(client).outcome is Outcome.UNKNOWN
        assert post(client).outcome is Outcome.REJECTED


NOTHING_KNOWN = Verdict(Cause.OUTCOME_UNKNOWN)

#: Answers with the api_id of the first request of a connection.
COPIED = {
    "accepted": http_answer(201, ACCEPTED_BODY),
    "rejected": http_answer(404, plivo_text("no such node")),
    "an error in a 2xx": http_answer(200, plivo_text("no such member")),
    "credentials refused": http_answer(401, plivo_text("no")),
    "throttled": http_answer(429, plivo_text("later")),
    "in other blanks": http_answer(201, b'{ "api_id" : " %s " }' % API_ID.encode()),
}


@pytest.mark.parametrize("between", [0, 3])
@pytest.mark.parametrize("copy", COPIED.values(), ids=COPIED)
def test_a_copy_of_an_earlier_answer_is_not_taken_for_the_next_answer(
    copy: bytes, between: int
) -> None:
    earlier = Fault(Cause.ACCEPTED, 201, says(copy))
    stray = Fault(Cause.OUTCOME_UNKNOWN, 502, lambda line: line.sock.sendall(copy))
    with talking(earlier, *[ACCEPTS] * between, stray, rejects(404)) as (plivo, client):
        for _ in range(1 + between):
            assert post(client).outcome is not Outcome.UNKNOWN
        assert client.handshakes == 1
        assert post(client) == NOTHING_KNOWN
        assert post(client).outcome is Outcome.REJECTED

        assert client.handshakes == 2
        assert plivo.posts == 3 + between


@pytest.mark.parametrize(
    "body",
    [b"{}", b"<html></html>", plivo_text("no", ""), plivo_text("no", 7)],
    ids=["none", "not JSON", "empty", "not a text"],
)
@pytest.mark.parametrize("status", [401, 404, 429])
def test_a_connection_is_replaced_after_an_answer_without_an_api_id(
    status: int, body: bytes
) -> None:
    nameless = Fault(Cause.REJECTED, status, says(http_answer(status, body)))
    with talking(nameless, ACCEPTS) as (_, client):
        post(client)

        assert post(client).outcome is Outcome.ACCEPTED
        assert client.handshakes == 2


def test_a_connection_is_replaced_after_its_last_remembered_api_id() -> None:
    with talking(ACCEPTS) as (plivo, client):
        for _ in range(MOST_ANSWERS + 1):
            assert post(client).outcome is Outcome.ACCEPTED

        assert client.handshakes == plivo.connections == 2


@pytest.mark.parametrize(
    "surplus", [b"\r\n", b"\0", ACCEPTED_BODY, http_answer(201, ACCEPTED_BODY), b" " * 40_000]
)
@pytest.mark.parametrize(
    "answer",
    [
        http_answer(201, ACCEPTED_BODY),
        http_answer(404, plivo_text("no such node")),
        http_answer(401),
        http_answer(429),
        framed("Transfer-Encoding: chunked", body=chunks(ACCEPTED_BODY) + b"\r\n"),
        http_answer(201, ACCEPTED_BODY + b" " * 20_000),  # more than is read at once
    ],
    ids=["accepted", "rejected", "credentials", "throttled", "chunked", "long"],
)
def test_an_answer_followed_by_more_bytes_proves_nothing(answer: bytes, surplus: bytes) -> None:
    fault = Fault(Cause.OUTCOME_UNKNOWN, 502, says(answer + surplus))
    with talking(fault, rejects(404)) as (_, client):
        assert post(client) == NOTHING_KNOWN
        assert post(client).outcome is Outcome.REJECTED


@pytest.mark.parametrize("later", [10.0, 3600.0, -5.0])
def test_a_connection_idle_for_too_long_by_the_wall_clock_is_not_used_again(later: float) -> None:
    clock = {"at": 1_000_000.0}
    with talking(ACCEPTS, clock=lambda: clock["at"], idle_seconds=10.0) as (plivo, client):
        post(client)
        clock["at"] += 9.9
        post(client)
        assert client.handshakes == 1
        clock["at"] += later
        post(client)

        assert client.handshakes == plivo.connections == 2


def test_a_closed_client_connects_again() -> None:
    with talking(ACCEPTS) as (_, client):
        post(client)
        client.close()
        post(client)

        assert client.handshakes == 2


# What is logged


@pytest.fixture
def everything_logged() -> Iterator[io.StringIO]:
    """What the package and urllib3 log, at every level.

    Not through the root logger: a ``Telemetry`` that another test made stops the package's lines
    from reaching it.
    """
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    loggers = [logging.getLogger(name) for name in ("cold_transfer", "urllib3")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    yield text
    for logger, level in zip(loggers, levels, strict=True):
        logger.removeHandler(handler)
        logger.setLevel(level)


@pytest.mark.parametrize(
    "name", ["malformed-headers", "reset-after-post", "connection-refused", "body-cut"]
)
def test_logs_name_the_failure_but_nothing_private(
    name: str, everything_logged: io.StringIO
) -> None:
    outcome_of(FAULTS[name])

    assert everything_logged.getvalue()
    for private in (PHLO, NODE, "4152225555", "4152223333", CREDENTIALS.auth_token):
        assert private not in everything_logged.getvalue()


def test_the_registry_has_a_fault_for_every_status_of_the_table() -> None:
    named = {fault.plivo_status for fault in FAULTS.values()}

    assert {200, 201, 202, 400, 401, 403, 404, 405, 408, 409, 422, 429, 500} <= named
