"""The webhook function's answers are exactly those in docs/openapi.json.

The tests provoke every answer of every operation. Each must be documented, and each documented
status, problem and header must occur, except those that API Gateway answers with.
"""

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cold_transfer.action import Verdict
from cold_transfer.causes import Cause
from cold_transfer.entrypoints.problem import TYPE_PREFIX
from cold_transfer.plivo.response import Reading
from tests.support import builders, fakes
from tools import openapi

DOCUMENT = json.loads(
    (Path(__file__).parents[2] / "docs" / "openapi.json").read_text(encoding="utf-8")
)
KEY = {"Idempotency-Key": "key-1"}

#: The headers of every answer.
COMMON = {"Content-Type", "Cache-Control"}

#: By status: its problems (the empty string for an answer that is not a problem) and its headers.
type Answers = dict[str, tuple[set[str], set[str]]]


class Webhook:
    """Requests one operation in many ways, and keeps the answers."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.answers: list[fakes.HttpResponse] = []

    def post(self, system: fakes.System, **pieces: Any) -> fakes.HttpResponse:
        """One request for the action; parts that are not given are those of a valid request."""
        return self.get(system, builders.webhook_event(**{**self.valid, **pieces}))

    def with_and_without_key(self, system: Callable[[], fakes.System], **pieces: Any) -> None:
        self.post(system(), **pieces)
        self.post(system(), headers=builders.bearer(), **pieces)

    def get(self, system: fakes.System, event: dict[str, Any]) -> fakes.HttpResponse:
        self.answers.append(system.webhook(event))
        return self.answers[-1]

    @property
    def valid(self) -> dict[str, Any]:
        return {**builders.pieces_of(self.name), "headers": {**builders.bearer(), **KEY}}

    def found(self) -> Answers:
        found: Answers = {}
        for answer in self.answers:
            problems, headers = found.setdefault(str(answer.status), (set(), set()))
            problems.add(answer.cause if "type" in answer.body else "")
            headers |= answer.headers.keys() - COMMON
        return found


def documented(operation: dict[str, Any]) -> Answers:
    """The documented answers of an operation, without those of API Gateway itself."""
    found: Answers = {}
    for status, response in operation["responses"].items():
        (content,) = response["content"].items()
        problems = {""}
        if content[0] == "application/problem+json":
            kinds = content[1]["schema"]["allOf"][1]["properties"]["type"]
            names = [name for kind in kinds.get("anyOf", [kinds]) for name in kind.get("enum", [])]
            problems = {name.removeprefix(TYPE_PREFIX) for name in names}
        if problems:
            found[status] = (problems, set(response.get("headers", {})))
    return found


def verdicts() -> Iterator[Verdict]:
    """A verdict for each way in which a POST to Plivo may end."""
    for status in openapi.statuses(Cause.ACCEPTED):
        yield Verdict(Cause.ACCEPTED, fakes.API_ID, plivo_status=status)
    for status in openapi.statuses(Cause.REJECTED):
        yield Verdict(Cause.REJECTED, fakes.API_ID, "Invalid value.", status)
    yield Verdict(Cause.PLIVO_CREDENTIALS_REFUSED, plivo_status=403)
    yield Verdict(Cause.PLIVO_THROTTLED, plivo_status=429)
    yield Verdict(Cause.PLIVO_TIMED_OUT)
    yield Verdict(Cause.OUTCOME_UNKNOWN)
    yield Verdict(Cause.UNEXPECTED_STATUS, plivo_status=418)


def post_and_repeat(webhook: Webhook, system: fakes.System) -> None:
    """One request, repeated during and after it with the same key, another key and no key."""
    other = {**builders.bearer(), "Idempotency-Key": "key-2"}

    def meanwhile() -> None:
        system.plivo.before_answer = lambda: None
        webhook.post(system)
        if webhook.name == "cold_transfer":  # an action on a member would be sent again
            webhook.post(system, headers=other)
            webhook.post(system, headers=builders.bearer())

    system.plivo.before_answer = meanwhile
    webhook.post(system)
    for headers in ({**builders.bearer(), **KEY}, other, builders.bearer()):
        webhook.post(system, headers=headers)


def post_with_a_late_answer(webhook: Webhook, system: fakes.System) -> None:
    """Another key becomes a duplicate of an abandoned action, which Plivo then answers."""
    other = {**builders.bearer(), "Idempotency-Key": "key-2"}

    def meanwhile() -> None:
        system.plivo.before_answer = lambda: None
        system.clock.now += 60_000
        webhook.post(system, headers=other)

    system.plivo.before_answer = meanwhile
    webhook.post(system)
    webhook.post(system, headers=other)


def post_everything(webhook: Webhook) -> None:
    for verdict in verdicts():
        post_and_repeat(webhook, fakes.System(verdict))
        post_with_a_late_answer(webhook, fakes.System(verdict))
        webhook.with_and_without_key(functools.partial(fakes.System, verdict))

    killed = fakes.System(SystemExit("killed"))
    with pytest.raises(SystemExit):
        webhook.post(killed)
    killed.clock.now += 60_000
    webhook.post(killed)

    for broken in (unreachable, out_of_time, ledger_out, ledger_out_later, secrets_out):
        webhook.with_and_without_key(broken)
    body = webhook.valid["body"]
    webhook.with_and_without_key(
        fakes.System, body={**body, "requested_at": "2026-01-01T00:00:00Z"}
    )

    system = fakes.System()
    webhook.post(system)
    webhook.post(system, node_id=builders.PHLO_ID)  # other content with the same key

    refused = functools.partial(webhook.post, fakes.System())
    limited = builders.bearer(builders.LIMITED_TOKEN)
    refused(headers={})
    refused(headers=limited)
    refused(
        headers=limited,
        phlo_id=builders.LIMITED_PHLO_ID,
        body={**body, "action": "warm_transfer" if webhook.name == "cold_transfer" else "hold"},
    )
    refused(headers=builders.bearer(builders.KEYED_TOKEN))
    refused(body="{")
    refused(body={**body, "hue": "red"})
    refused(content_type="text/plain")
    refused(body="x" * 20_000)


def unreachable() -> fakes.System:
    system = fakes.System()
    system.plivo.unreachable = True
    return system


def out_of_time() -> fakes.System:
    system = fakes.System()
    system.context = builders.FakeLambdaContext(fixed_ms=100)
    return system


def ledger_out() -> fakes.System:
    system = fakes.System()
    system.table.out = set(range(9))
    return system


def ledger_out_later() -> fakes.System:
    system = fakes.System()
    system.table.out = {1}
    return system


def secrets_out() -> fakes.System:
    system = fakes.System()
    system.clients.get()  # the clients are cached, Plivo's credentials are not
    system.secrets.out = ClientError({"Error": {"Code": "X", "Message": ""}}, "GetSecretValue")
    return system


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("cold_transfer", builders.RESOURCE),
        ("hold", builders.MEMBER_RESOURCE),
    ],
)
def test_the_answers_to_an_action_are_the_documented_ones(name: str, path: str) -> None:
    webhook = Webhook(name)

    with fakes.emitted():
        post_everything(webhook)

    assert webhook.found() == documented(DOCUMENT["paths"][path]["post"])


def readings() -> Iterator[Reading]:
    """A reading for each way in which a GET from Plivo may end."""
    for status in openapi.statuses(Cause.ACCEPTED):
        yield Reading(status, {"api_id": fakes.API_ID})
    for cause, status in (
        *((Cause.READ_REJECTED, status) for status in openapi.statuses(Cause.READ_REJECTED)),
        (Cause.PLIVO_CREDENTIALS_REFUSED, 403),
        (Cause.PLIVO_THROTTLED, 429),
        (Cause.READ_FAILED, 500),
    ):
        failure = Verdict(cause, fakes.API_ID, "a text", status)
        yield Reading(status, failure=failure)
    for cause in (Cause.PLIVO_UNREACHABLE, Cause.READ_TIMED_OUT, Cause.OUT_OF_TIME):
        yield Reading(None, failure=Verdict(cause))


@pytest.mark.parametrize(
    ("path", "node_id"), [(builders.PHLO_RESOURCE, None), (builders.RESOURCE, builders.NODE_ID)]
)
def test_the_answers_to_a_read_are_the_documented_ones(path: str, node_id: str | None) -> None:
    webhook = Webhook()
    event = functools.partial(builders.read_event, node_id=node_id)

    with fakes.emitted():
        for reading in readings():
            system = fakes.System()
            system.plivo.readings = [reading]
            webhook.get(system, event())
        webhook.get(secrets_out(), event())
        get_refused(webhook, event)
        webhook.get(fakes.System(), event(headers=builders.bearer(builders.LIMITED_TOKEN)))
        webhook.get(fakes.System(), event("no-id"))

    assert webhook.found() == documented(DOCUMENT["paths"][path]["get"])


def test_the_answers_to_a_lookup_are_the_documented_ones() -> None:
    webhook, system = Webhook(), fakes.System()

    with fakes.emitted():
        action_id = system.post(key="key-1").headers["Action-Id"]
        event = functools.partial(builders.lookup_event, action_id)
        webhook.get(system, event())
        webhook.get(ledger_out(), event())
        get_refused(webhook, event)
        webhook.get(system, event(headers=builders.basic()))  # another client's

    path = builders.LOOKUP_RESOURCE
    assert webhook.found() == documented(DOCUMENT["paths"][path]["get"])


def get_refused(webhook: Webhook, event: Callable[..., dict[str, Any]]) -> None:
    system = fakes.System()
    webhook.get(system, event(headers={}))
    webhook.get(system, event() | {"body": "{}"})
    webhook.get(system, event() | {"body": "x" * 20_000})


SIGNATURE = ("webhook-id", "webhook-timestamp", "webhook-signature")


@pytest.mark.parametrize("header", ["Authorization", "Idempotency-Key", *SIGNATURE])
def test_a_documented_request_header_is_read(header: str) -> None:
    body = json.dumps(builders.FIELDS)
    given = builders.signed(body) if header in SIGNATURE else builders.bearer()

    with fakes.emitted():
        answer = fakes.System().post(body, headers={**given, header: "an invalid value"})

    assert answer.status in (401, 422)


def test_these_request_headers_are_the_documented_ones() -> None:
    schemes = DOCUMENT["components"]["securitySchemes"].values()
    for path in (builders.RESOURCE, builders.MEMBER_RESOURCE):
        parameters = DOCUMENT["paths"][path]["post"]["parameters"]
        assert [one["name"] for one in parameters if one["in"] == "header"] == ["Idempotency-Key"]
    assert {one["name"] for one in schemes if one["type"] == "apiKey"} == set(SIGNATURE)
    assert {one["scheme"] for one in schemes if one["type"] == "http"} == {"bearer", "basic"}
