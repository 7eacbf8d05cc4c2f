"""The files in events/ have the form that AWS sends, and each shows the case in its name."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cold_transfer import errors
from cold_transfer.action import ActionName, ActionRequest
from cold_transfer.auth.clients import Client, Identity
from cold_transfer.causes import Cause
from cold_transfer.entrypoints import body, event_request, webhook_request
from tests.support import builders

EVENTS = Path(__file__).parents[2] / "events"
NOW_MS = 1_773_500_966_535

#: The result of parsing each file: None for a valid request, or the cause of its refusal. Samples
#: that are refused in another step (credentials, permissions, age, Plivo) are valid requests.
WEBHOOKS: dict[str, Cause | None] = {
    "abort-transfer": None,
    "accepted": None,
    "base64": None,
    "basic": None,
    "call": None,
    "compressed": Cause.MEDIA_TYPE_UNSUPPORTED,
    "fields-doubled": Cause.FIELDS_INVALID,
    "fields-invalid": Cause.FIELDS_INVALID,
    "fields-not-strings": Cause.FIELDS_INVALID,
    "forbidden": None,
    "forbidden-action": None,
    "form": None,
    "form-plus": Cause.FIELDS_INVALID,
    "hangup": None,
    "hold": None,
    "key-required": Cause.KEY_REQUIRED,
    "malformed": Cause.BODY_MALFORMED,
    "media-type": Cause.MEDIA_TYPE_UNSUPPORTED,
    "member-invalid": Cause.FIELDS_INVALID,
    "plivo-closes": None,
    "plivo-credentials": None,
    "plivo-cut": None,
    "plivo-error": None,
    "plivo-hangs": None,
    "plivo-redirect": None,
    "plivo-rejected": None,
    "plivo-throttled": None,
    "plivo-unknown": None,
    "query-string": Cause.FIELDS_INVALID,
    "reference": None,
    "replay": None,
    "resume-call": None,
    "sip": None,
    "too-large": Cause.BODY_TOO_LARGE,
    "too-old": None,
    "unauthorized": None,
    "unhold": None,
    "voicemail-drop": None,
    "warm-transfer": None,
}
READS = ("get-phlo", "get-node")
LOOKUPS = ("get-action", "get-action-not-found", "get-with-body")
EVENT_ENTRY_POINT: dict[str, Cause | None] = {
    "accepted": None,
    "fields-invalid": Cause.FIELDS_INVALID,
    "hold": None,
    "not-an-object": Cause.BODY_MALFORMED,
    "plivo-rejected": None,
    "plivo-throttled": None,
    "plivo-unknown": None,
    "replay": None,
    "sip": None,
    "too-old": None,
    "traced": None,
    "unknown-type": Cause.FIELDS_INVALID,
    "warm-transfer": None,
}


def load(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))
    return event


def webhook(case: str) -> ActionRequest:
    event = load(f"webhook-{case}")
    raw = body.read_raw(event["body"], event["isBase64Encoded"])
    headers = webhook_request.headers_of(event)
    client = Client("phlo", require_key=case == "key-required")
    return webhook_request.request_of(event, headers, raw, Identity(client))


def event_entry_point(case: str) -> ActionRequest:
    event = load(f"event-{case}")
    return event_request.request_of(event, builders.EVENT_SOURCE, now_ms=NOW_MS)


def check(read: Callable[[], ActionRequest], cause: Cause | None) -> None:
    if cause is None:
        read()
        return
    with pytest.raises(errors.RequestRefused) as refused:
        read()
    assert refused.value.cause == cause


def test_every_file_is_listed_here_and_in_the_readme() -> None:
    found = {path.stem for path in EVENTS.glob("*.json")}
    webhooks = {f"webhook-{case}" for case in (*WEBHOOKS, *LOOKUPS, *READS)}
    assert found == webhooks | {f"event-{case}" for case in EVENT_ENTRY_POINT}
    first, second = (EVENTS / "README.md").read_text(encoding="utf-8").split("## Event:")
    row = re.compile(r"^\| ([a-z0-9-]+) \|", re.MULTILINE)
    assert sorted(row.findall(first)) == sorted(["file", *WEBHOOKS, *LOOKUPS, *READS])
    assert sorted(row.findall(second)) == sorted(["file", *EVENT_ENTRY_POINT])


@pytest.mark.parametrize("case", WEBHOOKS)
def test_a_webhook_sample_shows_its_case(case: str) -> None:
    check(lambda: webhook(case), WEBHOOKS[case])


@pytest.mark.parametrize("case", EVENT_ENTRY_POINT)
def test_an_event_sample_shows_its_case(case: str) -> None:
    check(lambda: event_entry_point(case), EVENT_ENTRY_POINT[case])


def test_the_samples_with_invalid_fields_have_exactly_these() -> None:
    with pytest.raises(errors.ContractViolated) as refused:
        webhook("fields-invalid")
    names = [fault.field for fault in refused.value.faults]
    assert names == ["to", "trigger_source", "role", "caller_id"]
    with pytest.raises(errors.ContractViolated) as refused:
        event_entry_point("fields-invalid")
    names = [fault.field for fault in refused.value.faults]
    assert names == ["node_id", "to", "trigger_source", "role", "caller_id"]
    with pytest.raises(errors.ContractViolated) as refused:
        webhook("fields-not-strings")
    assert [fault.field for fault in refused.value.faults] == ["to", "role"]
    with pytest.raises(errors.ContractViolated) as refused:
        webhook("member-invalid")
    assert [fault.field for fault in refused.value.faults] == ["member_address"]
    with pytest.raises(errors.ContractViolated) as refused:
        event_entry_point("unknown-type")
    assert "detail-type" in [fault.field for fault in refused.value.faults]


def shape(value: object) -> object:
    """The keys of an object, recursively, without those whose content differs from file to file."""
    if not isinstance(value, dict):
        return type(value) if value is None else "value"
    free = ("headers", "multiValueHeaders", "body", "detail")
    return {key: "free" if key in free else shape(member) for key, member in value.items()}


@pytest.mark.parametrize("case", [*WEBHOOKS, *LOOKUPS, *READS])
def test_a_webhook_sample_has_the_shape_of_a_proxy_event(case: str) -> None:
    event = load(f"webhook-{case}")
    query = [("role", "customer")] if case == "query-string" else []
    path: dict[str, str] = event["pathParameters"]
    if case in LOOKUPS:
        built = builders.lookup_event("0" * 64)
    elif case in READS:
        built = builders.read_event(path["phlo_id"], path.get("node_id"))
    else:
        member = path.get("member_address")
        built = builders.webhook_event(
            query=query, base64_encoded=case == "base64", member_address=member
        )
    assert shape(event) == shape(built)
    assert event["resource"] == built["resource"]
    assert event["httpMethod"] == built["httpMethod"]
    assert event["path"] == event["resource"].format(**event["pathParameters"])
    assert event["headers"] == {name: v[-1] for name, v in event["multiValueHeaders"].items()}


@pytest.mark.parametrize("case", EVENT_ENTRY_POINT)
def test_an_event_sample_has_the_shape_of_an_event(case: str) -> None:
    event = load(f"event-{case}")
    built = builders.eventbridge_event()
    if case != "too-old":
        del built["time"]  # a fixed time would make every sample too old
    assert event.keys() == built.keys()
    free = dict.fromkeys(("id", "detail-type", "detail", "time"), "")
    assert event | free == built | free


def test_no_two_samples_have_the_same_id() -> None:
    ids = [
        event["requestContext"]["requestId"] if "requestContext" in event else event["id"]
        for event in (load(path.stem) for path in EVENTS.glob("*.json"))
    ]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", ActionName)
def test_each_action_has_a_sample_that_requests_it(name: ActionName) -> None:
    case = "accepted" if name is ActionName.COLD_TRANSFER else name.replace("_", "-")
    assert webhook(case).action.name is name
    if case in EVENT_ENTRY_POINT:
        assert event_entry_point(case).action.name is name


def test_the_lookup_sample_looks_up_the_replayed_action() -> None:
    request, replayed = webhook("replay"), load("webhook-replay")
    assert replayed["headers"]["Authorization"] == f"Bearer {builders.PHLO_TOKEN}"
    lookup = load("webhook-get-action")
    assert lookup["pathParameters"] == {"action_id": request.action_id()}
    assert lookup["headers"]["Authorization"] == f"Bearer {builders.PHLO_TOKEN}"


def test_the_samples_of_credentials_keys_and_age_show_their_case() -> None:
    def authorization(case: str) -> str:
        value: str = load(f"webhook-{case}")["headers"]["Authorization"]
        return value

    known = {
        builders.bearer()["Authorization"],
        builders.bearer(builders.LIMITED_TOKEN)["Authorization"],
        builders.bearer(builders.KEYED_TOKEN)["Authorization"],
        builders.basic()["Authorization"],
    }
    assert authorization("unauthorized") not in known
    assert authorization("forbidden") == f"Bearer {builders.LIMITED_TOKEN}"
    assert authorization("basic") == builders.basic()["Authorization"]
    assert webhook("forbidden").action.phlo_id != builders.LIMITED_PHLO_ID
    assert authorization("forbidden-action") == f"Bearer {builders.LIMITED_TOKEN}"
    forbidden = webhook("forbidden-action").action
    assert forbidden.phlo_id == builders.LIMITED_PHLO_ID
    assert forbidden.name is not ActionName.COLD_TRANSFER
    assert authorization("key-required") == f"Bearer {builders.KEYED_TOKEN}"
    assert "Idempotency-Key" not in load("webhook-key-required")["headers"]
    assert webhook("reference").reference == event_entry_point("warm-transfer").reference != ""
    requested_at = webhook("too-old").requested_at
    assert requested_at is not None
    assert requested_at < NOW_MS - 3_600_000
    assert load("event-too-old")["time"] < "2026-01-02"
    assert load("webhook-query-string")["queryStringParameters"] == {"role": "customer"}


@pytest.mark.parametrize("path", sorted(EVENTS.glob("*-plivo-*.json")), ids=lambda path: path.stem)
def test_the_samples_of_plivos_failures_have_the_number_that_causes_it(path: Path) -> None:
    entry_point, _, case = path.stem.partition("-")
    digits = {
        "rejected": "400",
        "credentials": "401",
        "throttled": "429",
        "unknown": "500",
        "redirect": "301",
        "hangs": "000",
        "closes": "001",
        "error": "002",
        "cut": "003",
    }
    request = webhook(case) if entry_point == "webhook" else event_entry_point(case)
    assert request.action.to == f"+15550100{digits[case.removeprefix('plivo-')]}"
