"""Plivo's nine actions through both functions: what is sent, to whom it is allowed, how often."""

import json
from typing import Any

import pytest

from cold_transfer.action import Action, ActionName, Verdict
from cold_transfer.causes import Cause
from cold_transfer.errors import ActionNotAllowed, ContractViolated
from tests.functions.test_outcomes import Bus, publish
from tests.support import builders, fakes

NAMES = list(ActionName)
DIALLING = [name for name in NAMES if name.dials]
ON_MEMBER = [name for name in NAMES if not name.dials]

MEMBER = builders.TRIGGER_SOURCE
UNKNOWN = Verdict(Cause.PLIVO_TIMED_OUT)


@pytest.fixture
def system() -> fakes.System:
    return fakes.System(event_actions=frozenset({"*"}))


def action_of(name: ActionName) -> Action:
    """The action in the builders' request for ``name``."""
    if name.dials:
        content: dict[str, Any] = {"to": builders.TO, "trigger_source": builders.TRIGGER_SOURCE}
    else:
        content = {"member_address": MEMBER}
    return Action(builders.PHLO_ID, builders.NODE_ID, name=name, **content)


def event_of(name: ActionName, **changes: object) -> dict[str, Any]:
    return builders.eventbridge_event(
        builders.detail_of(name, **changes), detail_type=builders.detail_type_of(name)
    )


@pytest.mark.parametrize("name", NAMES)
def test_each_action_is_sent_from_a_webhook_and_recorded(
    system: fakes.System, name: ActionName
) -> None:
    answer = system.ask(name)

    assert answer.status == 201
    assert answer.body == {"api_id": fakes.API_ID, "error": ""}
    assert [action for action, _ in system.plivo.sent] == [action_of(name)]
    found = system.webhook(builders.lookup_event(answer.headers["Action-Id"]))
    assert found.body["action"] == name
    assert found.body["outcome"] == "accepted"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("named", [True, False])
def test_each_action_is_sent_from_an_event(name: ActionName, *, named: bool) -> None:
    system = fakes.System(event_actions=frozenset({"*"}))

    answer = system.event(event_of(name, action=name if named else None))

    assert answer["outcome"] == "accepted"
    assert [action for action, _ in system.plivo.sent] == [action_of(name)]


@pytest.mark.parametrize(
    "detail_type",
    ["Mute Requested", "cold_transfer Requested", "Cold Transfer", "", None, ["Hold Requested"]],
)
def test_an_unknown_detail_type_is_raised(system: fakes.System, detail_type: Any) -> None:
    with pytest.raises(ContractViolated) as raised:
        system.event({**event_of(ActionName.COLD_TRANSFER), "detail-type": detail_type})

    assert [fault.field for fault in raised.value.faults] == ["detail-type"]


@pytest.mark.parametrize(
    ("in_the_path", "address"),
    [
        ("+14152223333", "+14152223333"),
        ("%2B14152223333", "+14152223333"),
        ("14152223333", "14152223333"),
        ("sip:a.b+c@phone.plivo.com", "sip:a.b+c@phone.plivo.com"),
        ("sip%3Aa.b%2bc%40phone.plivo.com", "sip:a.b+c@phone.plivo.com"),
    ],
)
def test_a_members_address_may_be_percent_encoded(
    system: fakes.System, in_the_path: str, address: str
) -> None:
    answer = system.post({"action": "hold"}, member_address=in_the_path)

    assert answer.status == 201
    ((action, _),) = system.plivo.sent
    assert action.member_address == address


@pytest.mark.parametrize(
    "in_the_path",
    [
        "",
        "%",
        "%2",
        "%252B14152223333",
        "%0A14152223333",
        "%FF",
        "+1415222333%33%0A",
        "a",
        "..%2F..",
    ],
)
def test_an_invalid_members_address_is_a_422(system: fakes.System, in_the_path: str) -> None:
    answer = system.post({"action": "hold"}, member_address=in_the_path)

    assert answer.status == 422
    assert answer.named() == ["member_address"]
    assert system.plivo.sent == []


@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded"])
def test_an_action_on_a_member_may_be_json_or_a_form(
    system: fakes.System, content_type: str
) -> None:
    body = '{"action": "unhold"}' if content_type.endswith("json") else "action=unhold"

    answer = system.post(body, member_address=MEMBER, content_type=content_type)

    assert answer.status == 201
    assert [action for action, _ in system.plivo.sent] == [action_of(ActionName.UNHOLD)]


# --- rights -------------------------------------------------------------------------------------


def set_client(system: fakes.System, **members: object) -> None:
    """Give the client ``phlo`` its token and these members in the clients secret."""
    entry = {"tokens": [builders.PHLO_TOKEN], **members}
    system.secrets.values["clients"] = json.dumps({"clients": {"phlo": entry}})


@pytest.mark.parametrize("name", NAMES)
def test_a_client_without_a_list_of_actions_may_request_the_cold_transfer_only(
    system: fakes.System, name: ActionName
) -> None:
    set_client(system)

    answer = system.ask(name)

    if name is ActionName.COLD_TRANSFER:
        assert answer.status == 201
        return
    assert (answer.status, answer.cause) == (403, "action-not-allowed")
    assert system.plivo.sent == []
    assert system.table.calls == []


def test_rights_to_actions_are_checked_on_replays_too(system: fakes.System) -> None:
    assert system.ask("hold", key="key-1").status == 201
    set_client(system, actions=["unhold"])
    system.clients.refresh()

    assert system.ask("hold", key="key-1").cause == "action-not-allowed"


def test_an_action_that_is_not_allowed_is_counted_as_an_invalid_request(
    system: fakes.System,
) -> None:
    set_client(system)

    with fakes.emitted() as output:
        system.ask("hangup")

    assert output.counted() == {"ColdStart": 1, "RequestInvalid": 1}
    assert output.logs()[0]["cause"] == "action-not-allowed"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"cold_transfer"}),
        ({"event_actions": frozenset({"hold", "unhold"})}, {"hold", "unhold"}),
        ({"event_actions": frozenset({"*"})}, set(NAMES)),
    ],
)
def test_events_may_request_the_actions_in_event_actions_only(
    name: ActionName, changes: dict[str, Any], expected: set[str]
) -> None:
    system = fakes.System(**changes)

    if name in expected:
        assert system.event(event_of(name))["outcome"] == "accepted"
        return
    with pytest.raises(ActionNotAllowed, match="this action is not in EventActions"):
        system.event(event_of(name))
    assert system.plivo.sent == []
    assert system.table.calls == []


# --- at most once -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("verdict", [fakes.ACCEPTED, UNKNOWN], ids=["accepted", "unknown"])
def test_a_key_is_posted_once(name: ActionName, verdict: Verdict) -> None:
    system = fakes.System(verdict)

    first = system.ask(name, key="key-1")
    again = system.ask(name, key="key-1")

    assert again.headers["Idempotency-Replayed"] == "true"
    assert (again.status, again.body) == (first.status, first.body)
    assert len(system.plivo.sent) == 1


@pytest.mark.parametrize("name", NAMES)
def test_the_same_key_while_it_is_being_sent_is_in_progress(
    system: fakes.System, name: ActionName
) -> None:
    rivals: list[fakes.HttpResponse] = []
    system.plivo.before_answer = lambda: rivals.append(system.ask(name, key="key-1"))

    system.ask(name, key="key-1")

    assert [rival.cause for rival in rivals] == ["in-progress"]
    assert len(system.plivo.sent) == 1


@pytest.mark.parametrize(("first", "second"), [("hold", "unhold"), ("cold_transfer", "call")])
def test_a_key_used_for_another_action_is_refused(
    system: fakes.System, first: str, second: str
) -> None:
    system.ask(first, key="key-1")

    answer = system.ask(second, key="key-1")

    assert (answer.status, answer.cause) == (422, "key-reused")
    assert len(system.plivo.sent) == 1


@pytest.mark.parametrize("name", DIALLING)
def test_the_window_applies_to_actions_that_dial(system: fakes.System, name: ActionName) -> None:
    first = system.ask(name, key="key-1")

    other = system.ask(name, key="key-2")

    assert other.headers["Duplicate-Of"] == first.headers["Action-Id"]
    assert len(system.plivo.sent) == 1


def test_different_actions_that_dial_are_not_duplicates(system: fakes.System) -> None:
    for name in DIALLING:
        assert system.ask(name).status == 201

    assert len(system.plivo.sent) == 3


@pytest.mark.parametrize("verdict", [fakes.ACCEPTED, UNKNOWN], ids=["accepted", "unknown"])
def test_hold_unhold_hold_under_three_keys_are_three_posts(verdict: Verdict) -> None:
    system = fakes.System(verdict)

    for number, name in enumerate(["hold", "unhold", "hold"]):
        answer = system.ask(name, key=f"key-{number}")
        assert "Duplicate-Of" not in answer.headers

    assert [action.name for action, _ in system.plivo.sent] == ["hold", "unhold", "hold"]


@pytest.mark.parametrize("name", ON_MEMBER)
def test_an_action_on_a_member_takes_no_lock_on_its_content(
    system: fakes.System, name: ActionName
) -> None:
    rivals: list[fakes.HttpResponse] = []

    def rival() -> None:
        system.plivo.before_answer = lambda: None
        rivals.append(system.ask(name, key="key-2"))

    system.plivo.before_answer = rival

    assert system.ask(name, key="key-1").status == 201
    assert [each.status for each in rivals] == [201]
    assert [pk for pk in system.table.items if not pk.startswith("K#")] == []
    assert "deduplicate" not in system.table.calls


# --- logs, metrics, traces, events --------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_outcome_event_is_named_after_the_action(
    system: fakes.System, name: ActionName
) -> None:
    system.ask(name)
    bus = Bus()

    publish(bus, system.table.stream)

    (entry,) = bus.entries
    assert entry["DetailType"] == f"{name.replace('_', ' ').title()} Accepted"
    assert bus.details()[0]["action"] == name


@pytest.mark.parametrize("name", NAMES)
def test_the_action_is_in_the_log_the_metrics_and_the_trace(
    system: fakes.System, name: ActionName
) -> None:
    with fakes.emitted() as output:
        system.ask(name)
        system.post({})

    done, refused = output.logs()
    assert done["action"] == name
    assert "action" not in refused
    assert [line.get("action") for line in output.metrics()] == [name, None]
    dimensions = [each["Dimensions"] for each in output.metrics()[0]["_aws"]["CloudWatchMetrics"]]
    assert "action" not in json.dumps(dimensions)
    top, *steps = system.xray.subsegments()
    assert top["annotations"]["action"] == name
    (remote,) = [step for step in steps if step.get("namespace") == "remote"]
    node = "/v1/phlo/{phlo_id}/multi_party_call/{node_id}"
    member = f"{node}/members/{{member_address}}"
    assert remote["http"]["request"]["url"] == (node if name.dials else member)


@pytest.mark.parametrize("name", ["cold_transfer", "hold"])
def test_the_reference_is_in_lookup_log_trace_and_outcome_event_and_not_at_plivo(
    system: fakes.System, name: str
) -> None:
    with fakes.emitted() as output:
        answer = system.post(**builders.pieces_of(name, reference="ticket-8812"))
        system.ask(name, key="key-2")

    found = system.webhook(builders.lookup_event(answer.headers["Action-Id"]))
    assert found.body["reference"] == "ticket-8812"
    assert [line.get("reference") for line in output.logs()] == ["ticket-8812", None]
    assert system.xray.subsegments()[0]["annotations"]["reference"] == "ticket-8812"
    bus = Bus()
    publish(bus, system.table.stream)
    assert bus.details()[0]["reference"] == "ticket-8812"
    assert "ticket-8812" not in str(system.plivo.sent)


def test_a_retry_may_have_another_reference() -> None:
    system = fakes.System(Verdict(Cause.PLIVO_THROTTLED), fakes.ACCEPTED)

    first = system.post(builders.fields(reference="one"), key="key-1")
    again = system.post(builders.fields(reference="two"), key="key-1")
    replay = system.post(key="key-1")

    assert (first.status, again.status, replay.status) == (503, 201, 201)
    found = system.webhook(builders.lookup_event(again.headers["Action-Id"]))
    assert found.body["reference"] == "two"


def test_an_abandoned_attempt_is_logged_with_its_action_and_its_reference() -> None:
    system = fakes.System(SystemExit("killed"))
    with pytest.raises(SystemExit):
        system.post(**builders.pieces_of("hold", reference="ticket-8812"), key="key-1")
    system.clock.now += 60_000

    with fakes.emitted() as output:
        system.ask("hold", key="key-1")

    abandoned = output.logs()[0]
    assert (abandoned["action"], abandoned["reference"]) == ("hold", "ticket-8812")
