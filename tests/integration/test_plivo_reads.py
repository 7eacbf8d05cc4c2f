"""The Plivo client's GETs against a real socket server: unlike a POST, they may be repeated."""

import json
import time

import pytest

from cold_transfer import __version__
from cold_transfer.action import Action
from cold_transfer.causes import Cause
from cold_transfer.deadline import Deadline
from cold_transfer.plivo.client import MOST_READS, PlivoClient, PlivoCredentials, Resource
from cold_transfer.plivo.response import Reading
from tests.support.fault_server import (
    ACCEPTS,
    FAULTS,
    Fault,
    Line,
    accepts,
    http_answer,
    leaves_unknown,
    plivo_text,
    rejects,
    says,
    talking,
)

PHLO = "e564a84a-7910-4447-b16f-65c541dd552c"
NODE = "5cf0e1b2c3d4e5f60718293a"
OF_NODE = Resource(PHLO, NODE)
CREDENTIALS = PlivoCredentials("MAXXXXXXXXXXXXXXXXXX", "a token that nobody may see")
SHORT = 0.6
PLAIN = {name: fault for name, fault in FAULTS.items() if not fault.tls}

#: A node, as in Plivo's documentation.
FOUND = {
    "api_id": "36989807-a76f-4555-84d1-9dfdccca7a80",
    "node_id": NODE,
    "phlo_id": PHLO,
    "name": "Multi-Party Call_1",
    "node_type": "multi_party_call",
    "created_on": "2020-08-01 09:05:11.846982+00:00",
}
FINDS = accepts(200, json.dumps(FOUND).encode())

#: The causes of a GET whose names differ from those of a POST.
CAUSES = {
    Cause.REJECTED: Cause.READ_REJECTED,
    Cause.PLIVO_TIMED_OUT: Cause.READ_TIMED_OUT,
    Cause.OUTCOME_UNKNOWN: Cause.READ_FAILED,
    Cause.UNEXPECTED_STATUS: Cause.READ_FAILED,
}


def read(client: PlivoClient, seconds: float = 5.0, resource: Resource = OF_NODE) -> Reading:
    return client.read(resource, CREDENTIALS, Deadline.after(seconds))


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        (Resource(PHLO), f"/v1/phlo/{PHLO}"),
        (OF_NODE, f"/v1/phlo/{PHLO}/multi_party_call/{NODE}"),
    ],
)
def test_plivos_status_and_json_are_returned(resource: Resource, path: str) -> None:
    with talking(FINDS) as (plivo, client):
        reading = read(client, resource=resource)

    assert reading == Reading(200, FOUND)
    (request,) = plivo.requests
    assert (request.method, request.target, request.body) == ("GET", path, b"")
    assert {name.lower(): value for name, value in request.headers} == {
        "host": f"127.0.0.1:{plivo.port}",
        "authorization": CREDENTIALS.authorization(),
        "content-type": "application/json",
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": f"plivo-cold-transfer/{__version__}",
    }


@pytest.mark.parametrize("fault", PLAIN.values(), ids=PLAIN.keys())
def test_each_fault_leads_to_json_or_to_a_cause_of_a_read(fault: Fault) -> None:
    with talking(fault) as (plivo, client):
        began = time.monotonic()
        reading = read(client, SHORT if fault.slow else 10.0)
        took = time.monotonic() - began

    if reading.failure is None:
        assert reading.plivo_status in (200, 201, 202)
        assert reading.body
    else:
        assert reading.body == {}
        assert reading.failure.cause == CAUSES.get(fault.cause, fault.cause)
        assert reading.failure.status == fault.status
        assert reading.failure.retry_after == fault.retry_after
    again = reading.failure is not None and reading.failure.cause is Cause.READ_FAILED
    assert len(plivo.requests) <= (MOST_READS if again and not fault.slow else 1)
    if fault.slow:
        assert took < 3 * SHORT


@pytest.mark.parametrize(
    "fault",
    [
        leaves_unknown(500, says(http_answer(500, b"{}"))),
        leaves_unknown(200, says(http_answer(200, b"<html>"))),
        leaves_unknown(502, Line.close),
        leaves_unknown(502, Line.reset),
    ],
    ids=["500", "not json", "closed", "reset"],
)
def test_a_read_without_a_usable_answer_is_repeated_once(fault: Fault) -> None:
    with talking(fault, FINDS) as (plivo, client):
        assert read(client) == Reading(200, FOUND)

    assert len(plivo.requests) == 2


def test_a_read_that_used_up_its_time_is_not_repeated() -> None:
    with talking(leaves_unknown(504, Line.hang, slow=True), FINDS) as (plivo, client):
        reading = read(client, SHORT)

    assert reading.failure is not None
    assert (reading.failure.cause, reading.failure.status) == (Cause.READ_TIMED_OUT, 504)
    assert len(plivo.requests) == 1


def test_a_refused_read_is_not_repeated_and_its_text_is_masked() -> None:
    text = plivo_text(f"no such node for +1 (415) 555-0123, {CREDENTIALS.auth_token}")
    with talking(rejects(404, text), FINDS) as (plivo, client):
        reading = read(client)

    assert reading.failure is not None
    assert (reading.failure.cause, reading.failure.status) == (Cause.READ_REJECTED, 404)
    assert reading.failure.error == "no such node for +* (***) ***-****, ***"
    assert len(plivo.requests) == 1


def test_reads_and_actions_share_a_connection_and_each_gets_its_own_answer() -> None:
    action = Action(PHLO, NODE, to="+14152225555", trigger_source="+14152223333")
    other = accepts(200, json.dumps({**FOUND, "api_id": "another"}).encode())
    with talking(FINDS, ACCEPTS, other) as (plivo, client):
        assert read(client).body == FOUND
        assert client.send(action, CREDENTIALS, Deadline.after(5.0)).cause is Cause.ACCEPTED
        assert read(client).body["api_id"] == "another"

    assert plivo.connections == client.handshakes == 1
    assert [request.method for request in plivo.requests] == ["GET", "POST", "GET"]


def test_a_copy_of_a_reads_answer_is_not_taken_for_that_of_an_action() -> None:
    action = Action(PHLO, NODE, to="+14152225555", trigger_source="+14152223333")
    with talking(FINDS, FINDS) as (_, client):
        read(client)
        verdict = client.send(action, CREDENTIALS, Deadline.after(5.0))

    assert verdict.cause is Cause.OUTCOME_UNKNOWN
