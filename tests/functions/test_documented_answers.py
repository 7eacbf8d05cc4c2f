"""What the webhook answers is what docs/openapi.json has: no more, and no less.

Every operation is asked for everything that can become of it. Each answer must be documented, and
each documented status, problem and header must have been met, but for those of API Gateway.
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

#: What every answer has.
PLAIN = {"Content-Type", "Cache-Control"}

#: Of a status: the problems that the function answers with it (the empty one is no problem), and
#: the headers.
type Answers = dict[str, tuple[set[str], set[str]]]


class Webhook:
    """Asks for one operation, and keeps what each request was answered."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.answers: list[fakes.HttpResponse] = []

    def ask(self, system: fakes.System, **pieces: Any) -> fakes.HttpResponse:
        """One request for the action; pieces that are not given are those of a good one."""
        return self.get(system, builders.webhook_event(**{**self.good, **pieces}))

    def both(self, system: Callable[[], fakes.System], **pieces: Any) -> None:
        """A request with a key, and one without."""
        self.ask(system(), **pieces)
        self.ask(system(), headers=builders.bearer(), **pieces)

    def get(self, system: fakes.System, event: dict[str, Any]) -> fakes.HttpResponse:
        self.answers.append(system.webhook(event))
        return self.answers[-1]

    @property
    def good(self) -> dict[str, Any]:
        return {**builders.pieces_of(self.name), "headers": {**builders.bearer(), **KEY}}

    def met(self) -> Answers:
        found: Answers = {}
        for answer in self.answers:
            problems, headers = found.setdefault(str(answer.status), (set(), set()))
            problems.add(answer.cause if "type" in answer.body else "")
            headers |= answer.headers.keys() - PLAIN
        return found


def documented(operation: dict[str, Any]) -> Answers:
    """The same of an operation of the document, without what API Gateway answers by itself."""
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


def outcomes() -> Iterator[Verdict]:
    """What Plivo can make of an action."""
    for status in openapi.statuses(Cause.ACCEPTED):
        yield Verdict(Cause.ACCEPTED, fakes.API_ID, plivo_status=status)
    for status in openapi.statuses(Cause.REJECTED):
        yield Verdict(Cause.REJECTED, fakes.API_ID, "Invalid value.", status)
    yield Verdict(Cause.PLIVO_CREDENTIALS_REFUSED, plivo_status=403)
    yield Verdict(Cause.PLIVO_THROTTLED, plivo_status=429)
    yield Verdict(Cause.PLIVO_TIMED_OUT)
    yield Verdict(Cause.OUTCOME_UNKNOWN)
    yield Verdict(Cause.UNEXPECTED_STATUS, plivo_status=418)


def ask_and_retry(webhook: Webhook, system: fakes.System) -> None:
    """The request; while it is under way and after it, again, under another key, under none."""
    other = {**builders.bearer(), "Idempotency-Key": "key-2"}

    def meanwhile() -> None:
        system.plivo.before_answer = lambda: None
        webhook.ask(system)
        if webhook.name == "cold_transfer":  # an action on a member would be sent
            webhook.ask(system, headers=other)
            webhook.ask(system, headers=builders.bearer())

    system.plivo.before_answer = meanwhile
    webhook.ask(system)
    for headers in ({**builders.bearer(), **KEY}, other, builders.bearer()):
        webhook.ask(system, headers=headers)


def ask_before_a_late_answer(webhook: Webhook, system: fakes.System) -> None:
    """Another key becomes a duplicate of what is taken for abandoned; then Plivo answers it."""
    other = {**builders.bearer(), "Idempotency-Key": "key-2"}

    def meanwhile() -> None:
        system.plivo.before_answer = lambda: None
        system.clock.now += 60_000
        webhook.ask(system, headers=other)

    system.plivo.before_answer = meanwhile
    webhook.ask(system)
    webhook.ask(system, headers=other)


def ask_for_everything(webhook: Webhook) -> None:
    for verdict in outcomes():
        ask_and_retry(webhook, fakes.System(verdict))
        ask_before_a_late_answer(webhook, fakes.System(verdict))
        webhook.both(functools.partial(fakes.System, verdict))

    killed = fakes.System(SystemExit("killed"))
    with pytest.raises(SystemExit):
        webhook.ask(killed)
    killed.clock.now += 60_000
    webhook.ask(killed)

    for broken in (unreachable, out_of_time, ledger_out, ledger_out_later, secrets_out):
        webhook.both(broken)
    body = webhook.good["body"]
    webhook.both(fakes.System, body={**body, "requested_at": "2026-01-01T00:00:00Z"})

    system = fakes.System()
    webhook.ask(system)
    webhook.ask(system, node_id=builders.PHLO_ID)  # the key's second content

    refused = functools.partial(webhook.ask, fakes.System())
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
    system.clients.get()  # the clients are known, Plivo's credentials are not
    system.secrets.out = ClientError({"Error": {"Code": "X", "Message": ""}}, "GetSecretValue")
    return system


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("cold_transfer", builders.RESOURCE),
        ("hold", builders.MEMBER_RESOURCE),
    ],
)
def test_an_action_is_answered_in_all_documented_ways_and_no_other(name: str, path: str) -> None:
    webhook = Webhook(name)

    with fakes.emitted():
        ask_for_everything(webhook)

    assert webhook.met() == documented(DOCUMENT["paths"][path]["post"])


def readings() -> Iterator[Reading]:
    """What can become of a GET."""
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
def test_a_read_is_answered_in_all_documented_ways_and_no_other(
    path: str, node_id: str | None
) -> None:
    webhook = Webhook()
    event = functools.partial(builders.read_event, node_id=node_id)

    with fakes.emitted():
        for reading in readings():
            system = fakes.System()
            system.plivo.readings = [reading]
            webhook.get(system, event())
        webhook.get(secrets_out(), event())
        refuse_what_reads(webhook, event)
        webhook.get(fakes.System(), event(headers=builders.bearer(builders.LIMITED_TOKEN)))
        webhook.get(fakes.System(), event("no-id"))

    assert webhook.met() == documented(DOCUMENT["paths"][path]["get"])


def test_a_lookup_is_answered_in_all_documented_ways_and_no_other() -> None:
    webhook, system = Webhook(), fakes.System()

    with fakes.emitted():
        action_id = system.post(key="key-1").headers["Action-Id"]
        event = functools.partial(builders.lookup_event, action_id)
        webhook.get(system, event())
        webhook.get(ledger_out(), event())
        refuse_what_reads(webhook, event)
        webhook.get(system, event(headers=builders.basic()))  # another client's

    path = builders.LOOKUP_RESOURCE
    assert webhook.met() == documented(DOCUMENT["paths"][path]["get"])


def refuse_what_reads(webhook: Webhook, event: Callable[..., dict[str, Any]]) -> None:
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
        answer = fakes.System().post(body, headers={**given, header: "no such value"})

    assert answer.status in (401, 422)


def test_the_document_has_these_request_headers() -> None:
    schemes = DOCUMENT["components"]["securitySchemes"].values()
    for path in (builders.RESOURCE, builders.MEMBER_RESOURCE):
        parameters = DOCUMENT["paths"][path]["post"]["parameters"]
        assert [one["name"] for one in parameters if one["in"] == "header"] == ["Idempotency-Key"]
    assert {one["name"] for one in schemes if one["type"] == "apiKey"} == set(SIGNATURE)
    assert {one["scheme"] for one in schemes if one["type"] == "http"} == {"bearer", "basic"}
