"""No function leaks a number, a SIP user, a credential or a body.

The tests drive both entry points through every outcome, with hostile input in every part of a
request. They capture the whole output of a function: what it prints and logs, metrics and traces,
errors and return values, the ledger's items and the outcome events. Then they search all of it for
each sensitive value.
"""

import base64
import functools
import json
import traceback
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote, urlencode

import pytest
from botocore.exceptions import ClientError

from cold_transfer.action import Action, ActionName, Verdict
from cold_transfer.causes import Cause
from cold_transfer.deadline import Deadline
from cold_transfer.errors import ColdTransferError
from cold_transfer.plivo.client import PlivoCredentials
from cold_transfer.plivo.response import PlivoResponse
from cold_transfer.telemetry import Telemetry, Unexpected
from tests.functions.test_outcomes import Bus
from tests.support import builders, fakes

UNKNOWN_TOKEN = "stranger-token-0123456789-abcdefghijkl"
SIP = "sip:zq-secret-agent@phone.plivo.com"
INJECTED = "zqinjected"
HUGE = "zqhuge" * 700

#: Values put into every part of a request.
HOSTILE = {
    "number": "+442079460999",
    "number without plus": "442079460999",
    "sip": SIP,
    "token": UNKNOWN_TOKEN,
    "clients own token": builders.PHLO_TOKEN,
    "line breaks": f'{INJECTED}\r\n{{"level":"CRITICAL","message":"{INJECTED}"}}\r\n',
    "control characters": f"\x1b[2J\x00\x07{INJECTED}\u2028\u202e\x85",
    "huge": HUGE,
    "other digits": "\uff0b\uff14\uff14\uff12\uff10\uff17\uff19\uff14\uff16\uff10",
}

CREDENTIALS = (
    builders.PHLO_TOKEN,
    builders.SDK_TOKEN,
    builders.LIMITED_TOKEN,
    builders.KEYED_TOKEN,
    builders.CRM_SIGNING_SECRET,
    builders.CRM_SIGNING_SECRET.removeprefix("whsec_"),
    base64.b64decode(builders.CRM_SIGNING_SECRET.removeprefix("whsec_")).decode(),
    fakes.AUTH_TOKEN,
    builders.basic()["Authorization"].removeprefix("Basic "),
    PlivoCredentials(fakes.AUTH_ID, fakes.AUTH_TOKEN).authorization().removeprefix("Basic "),
)

#: No output may contain any of these, in any encoding.
SENSITIVE = (
    *CREDENTIALS,
    UNKNOWN_TOKEN,
    "14152225555",
    "14152223333",
    "442079460999",
    "zq-secret-agent",
    INJECTED,
    "zqhuge",
    HOSTILE["other digits"],
)

#: A reference is stored and logged as it is, and a token has the form of a reference.
ALLOWED = ("reference", builders.PHLO_TOKEN)

FORM = "application/x-www-form-urlencoded"


class Echo(fakes.Plivo):
    """A Plivo whose response repeats the whole request; parsed as the real client does."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status

    def send(self, action: Action, credentials: PlivoCredentials, deadline: Deadline) -> Verdict:
        super().send(action, credentials, deadline)
        basic = credentials.authorization().removeprefix("Basic ")
        addresses = (action.to, action.trigger_source, action.member_address)
        private = (*addresses, credentials.auth_token, basic)
        text = (
            " ".join(private)
            + f" {quote(action.to or action.member_address)} and 442079460999 of {SIP}\r\n"
        )
        body = {"api_id": f"{fakes.API_ID} {text}", "error": text}
        return PlivoResponse(self.status, head_read=True, body=body).verdict(private, 0.0)


class Captured:
    """The captured output of the functions."""

    def __init__(self) -> None:
        self.systems: list[fakes.System] = []
        self.results: list[str] = []
        self.answers: list[tuple[dict[str, Any], fakes.HttpResponse]] = []
        self.raised: list[BaseException] = []

    def system(self, *script: Verdict | BaseException, **settings: Any) -> fakes.System:
        system = fakes.System(*script, **{"event_actions": frozenset({"*"}), **settings})
        self.systems.append(system)
        return system

    def webhook(self, system: fakes.System, event: dict[str, Any]) -> None:
        try:
            self.answers.append((event, system.webhook(event)))
        except Unexpected as error:
            self._note(error)

    def event(self, system: fakes.System, event: dict[str, Any]) -> None:
        try:
            self.results.append(json.dumps(system.event(event)))
        except (ColdTransferError, Unexpected) as error:
            self._note(error)

    def _note(self, error: Exception) -> None:
        self.raised.append(error)
        self.results.append("".join(traceback.format_exception(error)))
        self.results.append(f"{error!r} {error.args} {vars(error).keys()}")

    def everything(self, output: fakes.Emitted) -> Iterator[tuple[str, str]]:
        """Each kind of output, and its text."""
        yield "stdout", output.stdout.getvalue()
        yield "stderr", output.stderr.getvalue()
        yield "logs of other packages", output.others.getvalue()
        for result in self.results:
            yield "raised or returned", result
        for system in self.systems:
            yield "trace", system.xray.document()
            yield "ledger", json.dumps(system.table.items, ensure_ascii=False)
            bus = Bus()
            telemetry = Telemetry("outcomes", fakes.Xray())
            publisher = fakes.entry_point("outcomes").Publisher(bus, "a-stack", "a-bus", telemetry)
            publisher({"Records": system.table.stream}, None)
            yield "outcome events", json.dumps(bus.entries)


def spellings(value: str) -> set[str]:
    """The value as text, in JSON, in a URL, in base64 and in hex."""
    return {
        value,
        json.dumps(value)[1:-1],
        quote(value, safe=""),
        base64.b64encode(value.encode()).decode().rstrip("="),
        value.encode().hex(),
    }


def assert_nothing_leaked(captured: Captured, output: fakes.Emitted) -> None:
    found = list(captured.everything(output))
    for value in SENSITIVE:
        for spelling in spellings(value):
            for place, text in found:
                assert spelling not in text, f"{value[:60]!r} in {place}"
    for line in output.stdout.getvalue().split("\n"):
        assert len(line) < 4_000
        assert line == "" or isinstance(json.loads(line), dict)
        assert line.isprintable()


def assert_no_answer_quotes(captured: Captured) -> None:
    for _, answer in captured.answers:
        for value in SENSITIVE:
            assert value not in answer.text


def requests_with(value: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """A webhook for each part that can have the value."""
    event = builders.webhook_event
    names = (
        "to",
        "trigger_source",
        "role",
        "action",
        "requested_at",
        "reference",
        "phlo_id",
        "hue",
    )
    for name in names:
        if (name, value) == ALLOWED:
            continue
        yield f"field {name}", event(builders.fields(**{name: value}))
        form = urlencode({**builders.FIELDS, name: value})
        yield f"form field {name}", event(form, content_type=FORM)
    for name in ("action", "requested_at", "member_address", "hue"):
        fields = {"action": "hold", name: value}
        yield f"member's field {name}", event(fields, member_address=builders.TRIGGER_SOURCE)
    for path in (value, quote(value), quote(value, safe="")):
        yield "member_address", event({"action": "hold"}, member_address=path)
    yield "nested", event(builders.fields(to={value: [value]}, role=[value]))
    yield "field name", event(builders.fields(**{value: value}))
    yield "form field name", event(urlencode({value: value}), content_type=FORM)
    repeated = f"{{{json.dumps(value)}: 1, {json.dumps(value)}: 2}}"
    yield "repeated field", event(repeated)
    yield "body", event(value)
    yield "body in JSON", event(json.dumps(value))
    yield "body, cut", event(json.dumps({"to": value})[:-1])
    yield "form without =", event(value, content_type=FORM)
    yield "body as base64", {**event(), "body": value, "isBase64Encoded": True}
    yield "phlo_id", event(phlo_id=value)
    yield "node_id", event(node_id=value)
    yield "query", event(query=[("to", value), (value, "x")])
    yield "content type", event(content_type=value)
    yield "charset", event(content_type=f"application/json; charset={value}")
    bearer = builders.bearer()
    yield "key", event(headers={**bearer, "Idempotency-Key": value})
    yield "quoted key", event(headers={**bearer, "Idempotency-Key": f'"{value}"'})
    yield "bearer", event(headers={"Authorization": f"Bearer {value}"})
    yield "scheme", event(headers={"Authorization": f"{value} x"})
    yield "basic name", event(headers=builders.basic(name=value))
    yield "basic token", event(headers=builders.basic(token=value))
    yield "basic, raw", event(headers={"Authorization": f"Basic {value}"})
    signed = builders.signed(json.dumps(builders.FIELDS))
    for name in signed:
        yield name, event(headers={**signed, name: value})
    yield "webhook header", event(headers={**bearer, f"webhook-{value}": value})
    for name in ("User-Agent", "X-Forwarded-For", "X-Amzn-Trace-Id", "Host", value):
        yield f"header {name[:20]}", event(headers={**bearer, name: value})
    yield "request id", event(request_id=value, headers={})
    yield "action id", builders.lookup_event(value)
    yield "PHLO to read", builders.read_event(value)
    yield "node to read", builders.read_event(builders.PHLO_ID, value)
    yield "query of a read", builders.read_event(query=[(value, value)])
    yield "action id without a credential", builders.lookup_event(value, headers={})


def events_with(value: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """An event for each part that can have the value."""
    names = ("to", "trigger_source", "role", "action", "requested_at", "reference", "node_id")
    for name in (*names, "idempotency_key", "hue", value):
        if (name, value) == ALLOWED:
            continue
        yield f"detail {name[:20]}", builders.eventbridge_event(builders.detail(**{name: value}))
    for name in ("member_address", "action", "node_id", "hue"):
        detail = builders.detail_of("hold", **{name: value})
        yield f"member's {name}", builders.eventbridge_event(detail, detail_type="Hold Requested")
    yield "nested", builders.eventbridge_event(builders.detail(to={value: [value]}))
    for name in ("id", "time", "source", "detail-type", "account", "region", "detail", value):
        yield name[:20], {**builders.eventbridge_event(), name: value}
    yield "id and detail", {**builders.eventbridge_event({value: value}), "id": value}


@pytest.mark.parametrize("kind", HOSTILE)
def test_no_hostile_value_in_a_webhook_leaks(kind: str) -> None:
    captured = Captured()
    with fakes.emitted() as output:
        for _, event in requests_with(HOSTILE[kind]):
            captured.webhook(captured.system(), event)

    assert_nothing_leaked(captured, output)
    assert captured.raised == []
    for event, answer in captured.answers:
        assert answer.status < 500
        # an answer may quote the client's own request, but never its credential
        sent = {**event, "headers": {}, "multiValueHeaders": {}}
        key = event["multiValueHeaders"].get("Idempotency-Key")
        own = json.dumps([sent, key], ensure_ascii=False)
        for value in SENSITIVE:
            assert value not in answer.text or value in own or quote(value) in own, kind
            assert value not in str(answer.body.get("instance")), kind
        assert len(answer.text) < 10_000
        for name, text in answer.headers.items():
            assert (name + text).isprintable()
            assert (name + text).isascii()


@pytest.mark.parametrize("kind", HOSTILE)
def test_no_hostile_value_in_an_event_leaks(kind: str) -> None:
    captured = Captured()
    with fakes.emitted() as output:
        for _, event in events_with(HOSTILE[kind]):
            captured.event(captured.system(), event)

    assert_nothing_leaked(captured, output)
    assert all(isinstance(error, ColdTransferError) for error in captured.raised)


@pytest.mark.parametrize("addresses", [("+14152225555", "+14152223333"), (SIP, "14152223333")])
@pytest.mark.parametrize(
    "status", [200, 201, 299, 301, 400, 401, 403, 404, 408, 409, 422, 429, 500, 502]
)
def test_nothing_that_plivos_response_repeats_leaks(
    status: int, addresses: tuple[str, str]
) -> None:
    captured = Captured()
    to, trigger_source = addresses
    fields = {"to": to, "trigger_source": trigger_source}
    with fakes.emitted() as output:
        system = captured.system(plivo=Echo(status))
        for key in ("key-1", "key-1", "key-2"):
            headers = {**builders.bearer(), "Idempotency-Key": key}
            captured.webhook(system, builders.webhook_event(fields, headers=headers))
        for action_id in [pk[2:] for pk in system.table.items if pk.startswith("K#")]:
            captured.webhook(system, builders.lookup_event(action_id))
        captured.event(system, builders.eventbridge_event(builders.detail(**fields)))
        for address in addresses:
            member = builders.webhook_event({"action": "hold"}, member_address=address)
            captured.webhook(system, member)
            detail = builders.detail_of("hangup", member_address=address)
            captured.event(
                system, builders.eventbridge_event(detail, detail_type="Hangup Requested")
            )

    assert_nothing_leaked(captured, output)
    assert_no_answer_quotes(captured)


@pytest.mark.parametrize("call", range(4))
def test_nothing_that_a_failing_ledger_quotes_leaks(call: int) -> None:
    captured = Captured()
    with fakes.emitted() as output:
        for entry_point in ("webhook", "event"):
            system = captured.system()
            message = f"item {builders.TO} {fakes.AUTH_TOKEN} {INJECTED}"
            response: Any = {"Error": {"Code": "ValidationException", "Message": message}}
            system.table.failure = ClientError(response, "UpdateItem")
            system.table.out = set(range(call, call + 6))
            if entry_point == "webhook":
                captured.webhook(system, builders.webhook_event())
                captured.webhook(system, builders.webhook_event(**builders.pieces_of("hold")))
            else:
                captured.event(system, builders.eventbridge_event())

    assert_nothing_leaked(captured, output)
    assert "ValidationException" in output.text


@pytest.mark.parametrize("secret", ["plivo", "clients"])
@pytest.mark.parametrize(
    "value",
    [
        f'{{"auth_id": "MA", "auth_token": "{fakes.AUTH_TOKEN} "}}',
        f'{{"clients": {{"{builders.PHLO_TOKEN}\\n": {{}}}}}}',
        f'{{"clients": {{"crm": {{"tokens": ["{builders.PHLO_TOKEN}", "short"]}}}}}}',
        f"{fakes.AUTH_TOKEN}{UNKNOWN_TOKEN}",
        f'{{"clients": {{"crm": {{"signing_secrets": ["{builders.CRM_SIGNING_SECRET}x"]}}}}}}',
        None,
    ],
)
def test_nothing_of_an_invalid_secret_leaks(secret: str, value: str | None) -> None:
    captured = Captured()
    with fakes.emitted() as output:
        system = captured.system()
        if value is None:
            message = f"{fakes.AUTH_TOKEN} {UNKNOWN_TOKEN}"
            system.secrets.out = ClientError(
                {"Error": {"Code": "InternalServiceError", "Message": message}}, "GetSecretValue"
            )
        else:
            system.secrets.values[secret] = value
        captured.webhook(system, builders.webhook_event())
        captured.event(system, builders.eventbridge_event())

    assert_nothing_leaked(captured, output)
    assert_no_answer_quotes(captured)


@pytest.mark.parametrize("kind", [RuntimeError, ValueError, KeyError, OSError])
def test_nothing_that_an_unexpected_error_quotes_leaks(kind: type[Exception]) -> None:
    captured = Captured()
    text = f"{builders.TO} {SIP} {fakes.AUTH_TOKEN} {INJECTED}"
    with fakes.emitted() as output:
        captured.webhook(captured.system(kind(text)), builders.webhook_event())
        captured.event(captured.system(kind(text)), builders.eventbridge_event())
        held = builders.webhook_event(**builders.pieces_of("hold"))
        captured.webhook(captured.system(kind(text)), held)

    assert_nothing_leaked(captured, output)
    assert [type(error) for error in captured.raised] == [Unexpected] * 3
    assert kind.__name__ in str(captured.raised[0])


def test_nothing_leaks_from_accepted_repeated_and_concurrent_requests() -> None:
    captured = Captured()
    body = json.dumps(builders.FIELDS)
    with fakes.emitted() as output:
        for verdict in (fakes.ACCEPTED, Verdict(Cause.PLIVO_TIMED_OUT)):
            system = captured.system(verdict)

            def rival(system: fakes.System = system) -> None:
                system.plivo.before_answer = lambda: None
                captured.webhook(system, builders.webhook_event())
                captured.event(system, builders.eventbridge_event())

            system.plivo.before_answer = rival
            for headers in (
                builders.signed(body, webhook_id="msg_1"),
                builders.signed(body, webhook_id="msg_1"),
                builders.basic(),
                builders.bearer(builders.LIMITED_TOKEN),
            ):
                captured.webhook(system, builders.webhook_event(body, headers=headers))
                held = builders.pieces_of("hold") | {"headers": headers}
                captured.webhook(system, builders.webhook_event(**held))
                system.clock.now += 2_000
            captured.event(system, builders.eventbridge_event())

    assert_nothing_leaked(captured, output)
    assert {answer.status for _, answer in captured.answers} >= {201, 409, 403, 504}
    assert_no_answer_quotes(captured)


ON_MEMBER = [name for name in ActionName if not name.dials]
VERDICTS = (
    *(Verdict(cause, fakes.API_ID) for cause in (Cause.ACCEPTED, Cause.REJECTED)),
    *(Verdict(cause) for cause in (Cause.PLIVO_TIMED_OUT, Cause.PLIVO_THROTTLED)),
)


class MemberRequests:
    """Sends requests for the action ``name`` on the member at ``address``."""

    def __init__(self, captured: Captured, name: str, address: str) -> None:
        self._captured = captured
        self._body = {"action": name}
        self._address = address

    def webhook(self, system: fakes.System, **pieces: Any) -> None:
        """Two requests: with the address in the path as SDKs send it, and percent-encoded."""
        key = {**builders.bearer(), "Idempotency-Key": "key-1"}
        for path in (self._address, quote(self._address, safe="")):
            given = {"body": self._body, "member_address": path, "headers": key, **pieces}
            self._captured.webhook(system, builders.webhook_event(**given))

    def event(self, system: fakes.System, event_id: str | None = None) -> None:
        detail = {**builders.detail_of("hold", member_address=self._address), **self._body}
        detail_type = builders.detail_type_of(self._body["action"])
        event = builders.eventbridge_event(detail, detail_type=detail_type, event_id=event_id)
        self._captured.event(system, event)

    def both(self, system: fakes.System, **pieces: Any) -> None:
        self.webhook(system, **pieces)
        self.event(system)

    def assert_no_answer_has_the_address(self) -> None:
        for _, answer in self._captured.answers:
            assert self._address not in str(answer.body.get("instance"))
            if answer.status != 422:  # a 422 may quote the client's own field
                assert self._address not in unquote(answer.text + str(answer.headers))


with_each_address = pytest.mark.parametrize("address", [builders.TRIGGER_SOURCE, SIP])


@pytest.mark.parametrize("name", [*ON_MEMBER, "park"])
@with_each_address
def test_no_members_address_leaks_however_its_action_ends(name: str, address: str) -> None:
    captured = Captured()
    requests = MemberRequests(captured, name, address)
    limited = builders.bearer(builders.LIMITED_TOKEN)
    keyed = builders.bearer(builders.KEYED_TOKEN)

    with fakes.emitted() as output:
        for verdict in VERDICTS:
            system = captured.system(verdict)
            for _ in range(2):
                requests.both(system)
            for action_id in [pk[2:] for pk in system.table.items if pk.startswith("K#")]:
                captured.webhook(system, builders.lookup_event(action_id))
        for headers in ({}, limited, keyed):
            requests.both(captured.system(), headers=headers)
        requests.both(captured.system(), headers=limited, phlo_id=builders.LIMITED_PHLO_ID)
        requests.both(captured.system(), body={"action": name, "to": address})
        requests.both(captured.system(), content_type="text/plain")
        requests.both(captured.system(event_actions=frozenset()))
        requests.both(captured.system(event_phlo_ids=frozenset({builders.LIMITED_PHLO_ID})))
        out_of_time = captured.system()
        out_of_time.context = builders.FakeLambdaContext(fixed_ms=100)
        requests.both(out_of_time)

    assert_nothing_leaked(captured, output)
    requests.assert_no_answer_has_the_address()


@pytest.mark.parametrize("name", ON_MEMBER)
@with_each_address
def test_no_members_address_leaks_from_an_abandoned_attempt(name: str, address: str) -> None:
    captured = Captured()
    requests = MemberRequests(captured, name, address)
    system = captured.system(SystemExit("killed"))
    sends = (requests.webhook, functools.partial(requests.event, event_id="event-1"))

    with fakes.emitted() as output:
        for send in sends:
            with pytest.raises(SystemExit):
                send(system)
        system.clock.now += 60_000
        for send in sends:
            send(system)

    assert [each["state"]["S"] for each in system.table.items.values()] == ["unknown"] * 2
    assert_nothing_leaked(captured, output)
    requests.assert_no_answer_has_the_address()


def test_no_repr_has_an_address_or_a_credential() -> None:
    action = Action(
        builders.PHLO_ID, builders.NODE_ID, builders.TO, SIP, member_address=builders.TRIGGER_SOURCE
    )
    credentials = PlivoCredentials(fakes.AUTH_ID, fakes.AUTH_TOKEN)

    for value in SENSITIVE:
        assert value not in f"{action!r} {action} {credentials!r} {credentials}"
