"""The two GETs that Plivo's SDKs begin with: passed on to Plivo, within the client's rights."""

import functools
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cold_transfer.action import Verdict
from cold_transfer.causes import Cause
from cold_transfer.plivo.client import Resource
from cold_transfer.plivo.response import Reading
from tests.support import builders, fakes

OF_PHLO = Resource(builders.PHLO_ID)
OF_NODE = Resource(builders.PHLO_ID, builders.NODE_ID)
PHLO = {
    "api_id": fakes.API_ID,
    "phlo_id": builders.PHLO_ID,
    "name": "Café",
    "created_on": "2020-08-01 09:05:11.846982+00:00",
}
THROTTLED = Reading(
    429, failure=Verdict(Cause.PLIVO_THROTTLED, plivo_status=429, plivo_retry_after=7)
)
UNREADABLE = Reading(500, failure=Verdict(Cause.READ_FAILED, plivo_status=500))


@pytest.fixture
def system() -> fakes.System:
    return fakes.System()


def resources(system: fakes.System) -> list[Resource]:
    return [resource for resource, _ in system.plivo.asked]


@pytest.mark.parametrize(
    ("node_id", "resource"), [(None, OF_PHLO), (builders.NODE_ID, OF_NODE)], ids=["phlo", "node"]
)
def test_plivos_status_and_json_are_returned(
    system: fakes.System, node_id: str | None, resource: Resource
) -> None:
    system.plivo.readings = [Reading(202, PHLO)]

    answer = system.webhook(builders.read_event(node_id=node_id))

    assert (answer.status, answer.body) == (202, PHLO)
    assert list(answer.body) == list(PHLO)
    assert answer.headers == {"Content-Type": "application/json", "Cache-Control": "no-store"}
    assert resources(system) == [resource]
    assert system.table.calls == []


@pytest.mark.parametrize("node_id", [None, builders.NODE_ID])
def test_a_query_string_is_ignored(system: fakes.System, node_id: str | None) -> None:
    query = [("phlo_id", builders.PHLO_ID), ("x", "y")]

    assert system.webhook(builders.read_event(node_id=node_id, query=query)).status == 200


@pytest.mark.parametrize(
    "credential", [builders.bearer, builders.basic, functools.partial(builders.signed, "")]
)
def test_every_kind_of_credential_may_read(
    system: fakes.System, credential: Callable[[], dict[str, str]]
) -> None:
    assert system.webhook(builders.read_event(headers=credential())).status == 200


def test_a_read_without_a_credential_is_a_401(system: fakes.System) -> None:
    answer = system.webhook(builders.read_event(headers={}))

    assert (answer.status, answer.cause) == (401, "unauthorized")
    assert resources(system) == []


def test_a_client_may_read_its_own_phlos_only(system: fakes.System) -> None:
    limited = builders.bearer(builders.LIMITED_TOKEN)

    own = system.webhook(builders.read_event(builders.LIMITED_PHLO_ID.upper(), headers=limited))
    other = system.webhook(builders.read_event(headers=limited))

    assert own.status == 200
    assert (other.status, other.cause) == (403, "phlo-not-allowed")
    assert resources(system) == [Resource(builders.LIMITED_PHLO_ID.upper())]


def test_a_read_needs_no_right_to_an_action(system: fakes.System) -> None:
    entry = {"tokens": [builders.PHLO_TOKEN], "actions": ["hold"]}
    system.secrets.values["clients"] = json.dumps({"clients": {"phlo": entry}})

    assert system.webhook(builders.read_event(node_id=builders.NODE_ID)).status == 200


@pytest.mark.parametrize(
    ("pieces", "named"),
    [
        ({"phlo_id": "x"}, ["phlo_id"]),
        ({"phlo_id": builders.PHLO_ID + "\n"}, ["phlo_id"]),
        ({"node_id": "x"}, ["node_id"]),
        ({"node_id": ""}, ["node_id"]),
        ({"phlo_id": "", "node_id": "../members"}, ["phlo_id", "node_id"]),
    ],
)
def test_an_invalid_id_is_a_422(
    system: fakes.System, pieces: dict[str, Any], named: list[str]
) -> None:
    answer = system.webhook(builders.read_event(**pieces))

    assert (answer.status, answer.cause) == (422, "fields-invalid")
    assert answer.named() == named
    assert resources(system) == []


def test_a_read_with_a_body_is_refused(system: fakes.System) -> None:
    event = builders.read_event() | {"body": json.dumps(builders.fields())}

    assert system.webhook(event).cause == "body-malformed"


@pytest.mark.parametrize(
    ("verdict", "retry_after"),
    [
        (Verdict(Cause.READ_REJECTED, error="no such PHLO", plivo_status=404), None),
        (Verdict(Cause.PLIVO_CREDENTIALS_REFUSED, plivo_status=403), None),
        (Verdict(Cause.PLIVO_THROTTLED, plivo_status=429, plivo_retry_after=7), "7"),
        (Verdict(Cause.PLIVO_UNREACHABLE), "2"),
        (Verdict(Cause.READ_FAILED, plivo_status=500), None),
        (Verdict(Cause.READ_TIMED_OUT), None),
    ],
    ids=lambda value: str(getattr(value, "cause", value)),
)
def test_a_failed_read_is_a_problem_with_plivos_text(
    system: fakes.System, verdict: Verdict, retry_after: str | None
) -> None:
    system.plivo.readings = [Reading(verdict.plivo_status, failure=verdict)]
    request_id = str(uuid.uuid4())

    answer = system.webhook(builders.read_event(request_id=request_id))

    assert (answer.status, answer.cause) == (verdict.status, verdict.cause)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers.get("Retry-After") == retry_after
    assert "Action-Id" not in answer.headers
    assert answer.body["instance"] == f"urn:uuid:{request_id}"
    assert answer.body["error"] == (verdict.error or answer.body["detail"])
    assert verdict.error in answer.body["detail"]


REFUSED = Reading(401, failure=Verdict(Cause.PLIVO_CREDENTIALS_REFUSED, plivo_status=401))


def test_after_plivos_401_a_new_token_is_used(system: fakes.System) -> None:
    system.webhook(builders.read_event())
    new = {"auth_id": fakes.AUTH_ID, "auth_token": "the-new-token-of-the-account"}
    system.secrets.values["plivo"] = json.dumps(new)
    system.plivo.readings = [REFUSED, Reading(200, PHLO)]

    answer = system.webhook(builders.read_event())

    assert (answer.status, answer.body) == (200, PHLO)
    tokens = [credentials.auth_token for _, credentials in system.plivo.asked]
    assert tokens == [fakes.AUTH_TOKEN, fakes.AUTH_TOKEN, "the-new-token-of-the-account"]


def test_after_plivos_401_the_same_token_is_not_used_again(system: fakes.System) -> None:
    system.plivo.readings = [REFUSED]

    answer = system.webhook(builders.read_event())

    assert (answer.status, answer.cause) == (502, "plivo-credentials-refused")
    assert len(resources(system)) == 1


def test_plivos_401_is_returned_if_secrets_manager_is_unavailable(system: fakes.System) -> None:
    system.webhook(builders.read_event())
    system.secrets.out = ClientError({"Error": {"Code": "X", "Message": ""}}, "GetSecretValue")
    system.plivo.readings = [REFUSED]

    assert system.webhook(builders.read_event()).cause == "plivo-credentials-refused"


def test_without_the_plivo_secret_nothing_is_sent(system: fakes.System) -> None:
    system.webhook(builders.lookup_event("0" * 64))  # the clients secret is cached
    system.secrets.out = ClientError({"Error": {"Code": "X", "Message": ""}}, "GetSecretValue")

    answer = system.webhook(builders.read_event())

    assert (answer.status, answer.cause) == (503, "dependency-unavailable")
    assert resources(system) == []


def test_a_read_leaves_time_for_the_answer(system: fakes.System) -> None:
    system.context = builders.FakeLambdaContext(fixed_ms=3_000)

    system.webhook(builders.read_event())

    assert system.plivo.patience[0] == pytest.approx(2.5, abs=0.1)


def test_a_read_is_logged_and_traced_as_one(system: fakes.System) -> None:
    system.plivo.readings = [Reading(200, PHLO), UNREADABLE, THROTTLED]

    with fakes.emitted() as output:
        for node_id in (None, builders.NODE_ID, None):
            system.webhook(builders.read_event(node_id=node_id))

    assert [(line["message"], line["plivo_status"]) for line in output.logs()] == [
        ("read", 200),
        ("read failed", 500),
        ("read failed", 429),
    ]
    assert output.counted() == {"ColdStart": 1, "PlivoThrottled": 1}
    remotes = [each for each in system.xray.subsegments() if each.get("namespace") == "remote"]
    assert [remote["http"]["request"] for remote in remotes] == [
        {"url": "/v1/phlo/{phlo_id}", "method": "GET"},
        {"url": "/v1/phlo/{phlo_id}/multi_party_call/{node_id}", "method": "GET"},
        {"url": "/v1/phlo/{phlo_id}", "method": "GET"},
    ]
    assert builders.PHLO_ID not in output.text + system.xray.document()


@pytest.mark.parametrize(
    "event",
    [
        builders.read_event(),
        builders.read_event(headers={}),
        builders.read_event(headers=builders.bearer(builders.LIMITED_TOKEN)),
        builders.read_event("no-id"),
        builders.lookup_event("0" * 64),
    ],
    ids=["read", "no credential", "not its PHLO", "no id", "lookup"],
)
def test_log_and_trace_distinguish_a_get_from_an_action(
    system: fakes.System, event: dict[str, Any]
) -> None:
    with fakes.emitted() as output:
        system.webhook(event)
        system.webhook(builders.webhook_event(headers={}))

    *reads, action = output.logs()
    assert {line["method"] for line in reads} == {"GET"}
    assert "method" not in action
    of_read, of_action = (sent["annotations"] for sent in system.xray.sent)
    assert of_read["method"] == "GET"
    assert "method" not in of_action


@pytest.mark.parametrize("pieces", [{"httpMethod": "POST"}, {"httpMethod": None}])
def test_another_method_is_not_a_read(system: fakes.System, pieces: dict[str, Any]) -> None:
    answer = system.webhook(builders.read_event(node_id=builders.NODE_ID) | pieces)

    assert answer.cause == "media-type-unsupported"
    assert resources(system) == []
