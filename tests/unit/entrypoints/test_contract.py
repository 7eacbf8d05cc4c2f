"""The contract: which requests are valid, and which fault is reported for the others."""

import dataclasses
import json
from collections.abc import Callable
from functools import partial

import pytest

from cold_transfer.action import Action, ActionName
from cold_transfer.entrypoints import contract
from cold_transfer.errors import ContractViolated, Fault
from tests.support.builders import (
    FIELDS,
    NODE_ID,
    PHLO_ID,
    TO,
    TRIGGER_SOURCE,
    detail,
    fields,
)

DIALLING = [name for name in ActionName if name.dials]
ON_MEMBER = [name for name in ActionName if not name.dials]

NOW_MS = 1_773_500_966_535  # 2026-03-14T15:09:26.535Z


def from_webhook(**changes: object) -> contract.Validated:
    """Validate the example as a webhook, with ``changes``; ids among them go into the path."""
    phlo_id = str(changes.pop("phlo_id", PHLO_ID))
    node_id = str(changes.pop("node_id", NODE_ID))
    return read(fields(**changes), phlo_id, node_id)


def read(
    body: dict[str, object],
    phlo_id: str = PHLO_ID,
    node_id: str = NODE_ID,
    *,
    is_form: bool = False,
) -> contract.Validated:
    path = {"phlo_id": phlo_id, "node_id": node_id}
    return contract.from_webhook(body, path, now_ms=NOW_MS, is_form=is_form)


def from_event(**changes: object) -> contract.Validated:
    """Validate the example as an event, with ``changes`` and the detail-type of their action."""
    (name,) = [it for it in DIALLING if it == changes.get("action")] or [ActionName.COLD_TRANSFER]
    return contract.from_event(name, detail(**changes), now_ms=NOW_MS)


def refused(action: Callable[[], object]) -> ContractViolated:
    with pytest.raises(ContractViolated) as caught:
        action()
    return caught.value


def faults_of(**changes: object) -> list[Fault]:
    """The faults of a webhook, after a check that an event has the same.

    Only the rule for ``action`` differs: an event's must be that of its detail-type.
    """
    found = refused(lambda: from_webhook(**changes)).faults
    of_event = refused(lambda: from_event(**changes)).faults
    rules = {(fault.field, fault.rule) for fault in of_event if fault.field != "action"}
    assert rules == {(fault.field, fault.rule) for fault in found if fault.field != "action"}
    assert {fault.field for fault in of_event} == {fault.field for fault in found}
    return found


def fault_of_form(**changes: object) -> Fault:
    """The one fault of a form."""
    given = fields(**changes)
    (fault,) = refused(lambda: read(given, is_form=True)).faults
    return fault


def test_both_entry_points_validate_the_example_alike() -> None:
    expected = contract.Validated(
        Action(PHLO_ID, NODE_ID, to="+14152225555", trigger_source="+14152223333", role="agent")
    )
    assert from_webhook() == expected
    assert from_event() == expected


def test_role_and_action_may_be_left_out() -> None:
    assert from_webhook(role=None, action=None).action.role == "agent"
    assert from_webhook(role="customer").action.role == "customer"


def test_the_input_is_not_modified() -> None:
    body, of_event = fields(role=None), detail(role=None)
    before = dict(body), dict(of_event)
    read(body)
    contract.from_event(ActionName.COLD_TRANSFER, of_event, now_ms=NOW_MS)
    assert (body, of_event) == before


@pytest.mark.parametrize(
    "address",
    [
        "+14152225555",
        "14152225555",
        "1234567",
        "+123456789012345",
        "sip:agent123456789012345@phone.plivo.com",
        "sip:A.b_c+d-9@h",
        f"sip:{'u' * 64}@{'h' * 253}",
    ],
)
@pytest.mark.parametrize("name", ["to", "trigger_source"])
def test_an_address_is_kept_unchanged(name: str, address: str) -> None:
    assert getattr(from_webhook(**{name: address}).action, name) == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "+",
        "123456",
        "+1234567890123456",
        "+0415222555",
        "0415222555",
        "++14152225555",
        "+1 415 222 5555",
        "+14152225555\n",
        "\n+14152225555",
        "+14152225555 ",
        "+14152225555\x00",
        "+\u0661\u0664\u0661\u0665\u0665\u0665\u0665\u0660\u0661\u0662\u0663",  # Arabic digits
        "+1\uff14152225555",  # a full-width digit
        "+14152225555,+14152226666",
        "+14152225555<+14152226666",
        "tel:+14152225555",
        "SIP:agent@phone.plivo.com",
        "sip:agent@",
        "sip:@phone.plivo.com",
        "sip:agent@phone.plivo.com\n",
        "sip:agent@phone.plivo.com:5060",
        "sip:agent@phone.plivo.com;transport=tls",
        "sip:ag ent@phone.plivo.com",
        "sip:ag\u00e9nt@phone.plivo.com",
        f"sip:{'u' * 65}@h",
        f"sip:u@{'h' * 254}",
        14152225555,
        True,
        ["+14152225555"],
        {"number": "+14152225555"},
    ],
)
@pytest.mark.parametrize("name", ["to", "trigger_source"])
def test_anything_else_is_not_an_address(name: str, address: object) -> None:
    assert [fault.field for fault in faults_of(**{name: address})] == [name]


@pytest.mark.parametrize("value", [PHLO_ID, PHLO_ID.upper(), "5f0c9d3ab1e24c7788d06e1f"])
def test_an_id_is_a_uuid_or_24_hexadecimal_digits(value: str) -> None:
    action = from_webhook(phlo_id=value, node_id=value).action
    assert (action.phlo_id, action.node_id) == (value, value)
    assert from_event(phlo_id=value, node_id=value).action == action


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        "..",
        PHLO_ID + "\n",
        PHLO_ID + "/members",
        PHLO_ID.replace("-", ""),
        "{" + PHLO_ID + "}",
        "5f0c9d3ab1e24c7788d06e1",
        "5f0c9d3ab1e24c7788d06e1\u0661",
    ],
)
def test_anything_else_is_not_an_id(value: str) -> None:
    found = faults_of(phlo_id=value, node_id=value)
    assert [fault.field for fault in found] == ["phlo_id", "node_id"]
    assert found[0].rule == "must be a UUID or 24 hexadecimal digits"


@pytest.mark.parametrize("change", [str.upper, str.lower, str.title])
def test_ids_in_the_body_may_repeat_those_of_the_path_in_any_case(
    change: Callable[[str], str],
) -> None:
    for given in (detail(), detail(phlo_id=change(PHLO_ID), node_id=change(NODE_ID))):
        for path in ((PHLO_ID, NODE_ID), (change(PHLO_ID), change(NODE_ID))):
            action = read(given, *path).action
            assert (action.phlo_id, action.node_id) == path


@pytest.mark.parametrize("name", ["phlo_id", "node_id"])
@pytest.mark.parametrize(
    ("value", "finding"),
    [
        ("5f0c9d3ab1e24c7788d06e1f", "is not the {} in the path"),
        ("", "is not a value; {} may be left out"),
        (None, "is not a value; {} may be left out"),
        (5, "is not a string; {} must be a string, in quotes"),
    ],
)
def test_an_id_in_the_body_that_differs_from_the_path_is_a_fault(
    name: str, value: object, finding: str
) -> None:
    given = {**detail(), name: value}
    error = refused(lambda: read(given))
    assert [fault.field for fault in error.faults] == [name]
    assert error.faults[0].shown == f"{json.dumps(value)} {finding.format(name)}"


def test_an_event_needs_the_ids() -> None:
    error = refused(lambda: from_event(phlo_id=None, node_id=None))
    assert [fault.field for fault in error.faults] == ["phlo_id", "node_id"]
    assert "missing" in error.faults[0].rule


def test_every_fault_is_named_in_one_answer() -> None:
    found = faults_of(to="+1 415", trigger_source=None, role="boss", action="hold", caller_id="x")
    names = [fault.field for fault in found]
    assert names == ["to", "trigger_source", "role", "action", "caller_id"]


def test_a_fault_has_the_rule_and_quotes_the_value_to_its_sender_only() -> None:
    (fault,) = faults_of(to="+1 415")
    assert fault.rule == "must be an E.164 number or a SIP endpoint"
    assert fault.detail() == (
        '"+1 415" is neither an E.164 number such as +14155550123 '
        "nor a SIP endpoint such as sip:agent123@phone.plivo.com"
    )


def test_the_fault_of_a_missing_field_has_its_rule() -> None:
    (fault,) = faults_of(to=None)
    assert fault.detail() == "is missing; it must be an E.164 number or a SIP endpoint"


@pytest.mark.parametrize("name", ["role", "action", "requested_at"])
@pytest.mark.parametrize("value", ["", "null", 1, [], {}])
def test_an_optional_field_must_be_valid_if_present(name: str, value: object) -> None:
    assert [fault.field for fault in faults_of(**{name: value})] == [name]


@pytest.mark.parametrize("name", ["role", "action", "requested_at"])
@pytest.mark.parametrize("value", ["", None])
def test_the_fault_of_an_empty_optional_field_says_that_it_may_be_left_out(
    name: str, value: object
) -> None:
    given = {**fields(), name: value}
    error = refused(lambda: read(given))
    (fault,) = error.faults
    assert fault.rule == "may be left out, but must not be null or empty"
    assert fault.shown == f"{json.dumps(value)} is not a value; {name} may be left out"


def test_the_fault_of_a_null_required_field_has_its_rule() -> None:
    given = {**fields(), "to": None}
    error = refused(lambda: read(given))
    (fault,) = error.faults
    assert fault.rule == "must be an E.164 number or a SIP endpoint"
    assert fault.shown == "null is not a string; to must be an E.164 number or a SIP endpoint"


@pytest.mark.parametrize("name", ["to", "trigger_source", "role", "action", "requested_at"])
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (14155550123, "14155550123"),
        (1.5, "1.5"),
        (True, "true"),
        (["+14155550123"], "an array"),
        ({}, "an object"),
    ],
)
def test_a_value_that_is_not_a_string_is_a_fault(name: str, value: object, shown: str) -> None:
    (fault,) = faults_of(**{name: value})
    assert fault.rule == "must be a string, in quotes"
    assert fault.shown == f"{shown} is not a string; {name} must be a string, in quotes"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("to", " 14152225555"),
        ("to", " 1 415"),
        ("trigger_source", "sip:a b@phone.plivo.com"),
        ("requested_at", "2026-03-14T16:09:26 01:00"),
    ],
)
def test_a_plus_lost_in_a_form_gets_a_hint(name: str, value: str) -> None:
    fault = fault_of_form(**{name: value})
    assert "%2B" in fault.rule
    assert "%2B" in fault.detail()
    (elsewhere,) = faults_of(**{name: value})
    assert "%2B" not in elsewhere.rule + elsewhere.detail()


def test_a_space_elsewhere_gets_no_hint_about_forms() -> None:
    assert "%2B" not in fault_of_form(to="+1 415 222 5555").detail()


@pytest.mark.parametrize("name", DIALLING)
def test_an_action_that_dials_has_the_fields_of_the_cold_transfer(name: ActionName) -> None:
    expected = Action(PHLO_ID, NODE_ID, TO, TRIGGER_SOURCE, "customer", name)
    assert from_webhook(action=name.value, role="customer").action == expected
    assert from_event(action=name.value, role="customer").action == expected
    assert contract.from_event(name, detail(action=None), now_ms=NOW_MS).action.name is name


def on_member(body: object, address: str = TRIGGER_SOURCE, **path: str) -> contract.Validated:
    path = {"phlo_id": PHLO_ID, "node_id": NODE_ID, "member_address": address, **path}
    return contract.from_webhook(body, path, now_ms=NOW_MS)  # type: ignore[arg-type]  # a dict


def member_detail(**changes: object) -> dict[str, object]:
    given = {"phlo_id": PHLO_ID, "node_id": NODE_ID, "member_address": TRIGGER_SOURCE, **changes}
    return {name: value for name, value in given.items() if value is not None}


@pytest.mark.parametrize("name", ON_MEMBER)
@pytest.mark.parametrize("address", [TRIGGER_SOURCE, "14152223333", "sip:a.b+c@phone.plivo.com"])
def test_an_action_on_a_member_has_its_address(name: ActionName, address: str) -> None:
    expected = Action(PHLO_ID, NODE_ID, name=name, member_address=address)
    assert on_member({"action": name.value}, address).action == expected
    given = member_detail(member_address=address)
    assert contract.from_event(name, given, now_ms=NOW_MS).action == expected
    given["action"] = name.value
    assert contract.from_event(name, given, now_ms=NOW_MS).action == expected


def test_an_action_on_a_member_has_no_default_name() -> None:
    (fault,) = refused(lambda: on_member({})).faults
    assert fault.field == "action"
    assert fault.detail() == (
        "is missing; it must be abort_transfer, resume_call, voicemail_drop, hangup, hold or unhold"
    )


@pytest.mark.parametrize("name", [*DIALLING, "mute", "", None, 5, "HANGUP"])
def test_no_other_action_is_valid_on_a_member(name: object) -> None:
    (fault,) = refused(lambda: on_member({"action": name})).faults
    assert fault.field == "action"


@pytest.mark.parametrize("name", ON_MEMBER)
def test_an_action_on_a_member_is_not_valid_on_the_node(name: ActionName) -> None:
    (fault,) = refused(lambda: from_webhook(action=name.value)).faults
    assert fault.field == "action"
    assert "the other actions are for one member, whose address ends the path" in fault.detail()


@pytest.mark.parametrize("name", ["to", "trigger_source", "role"])
def test_an_action_on_a_member_has_none_of_the_fields_of_a_transfer(name: str) -> None:
    given = {"action": "hold", name: FIELDS[name]}
    (fault,) = refused(lambda: on_member(given)).faults
    assert fault.field == name
    assert fault.detail() == (
        f'"{name}" is not a field of an action; '
        "the fields are phlo_id, node_id, member_address, action, requested_at, reference"
    )


@pytest.mark.parametrize(
    "address", ["", "4155550123 ", "tel:+14155550123", "sip:a@b;c", "+0123456"]
)
def test_the_address_in_the_path_must_be_valid(address: str) -> None:
    (fault,) = refused(lambda: on_member({"action": "hold"}, address)).faults
    assert fault.field == "member_address"
    assert fault.rule == "must be an E.164 number or a SIP endpoint"
    given = member_detail(member_address=address)
    error = refused(lambda: contract.from_event(ActionName.HOLD, given, now_ms=NOW_MS))
    assert [each.field for each in error.faults] == ["member_address"]


def test_the_body_may_repeat_the_address_of_the_path_unchanged() -> None:
    given = {"action": "hold", "member_address": TRIGGER_SOURCE}
    assert on_member(given) == on_member({"action": "hold"})
    for other in ("14152223333", "sip:a@phone.plivo.com", "", None, 5):
        body = {**given, "member_address": other}
        (fault,) = refused(partial(on_member, body)).faults
        assert fault.field == "member_address"


def test_a_plus_lost_in_a_repeated_address_gets_the_hint() -> None:
    given = {"action": "hold", "member_address": TRIGGER_SOURCE.replace("+", " ")}
    path = {"phlo_id": PHLO_ID, "node_id": NODE_ID, "member_address": TRIGGER_SOURCE}
    (fault,) = refused(
        lambda: contract.from_webhook(given, path, now_ms=NOW_MS, is_form=True)
    ).faults
    assert "%2B" in fault.detail()


@pytest.mark.parametrize("name", ActionName)
@pytest.mark.parametrize("given", [*ActionName, "", None, 5])
def test_the_action_in_a_detail_must_be_that_of_the_detail_type(
    name: ActionName, given: object
) -> None:
    document = {**(detail() if name.dials else member_detail()), "action": given}
    if given == name:
        assert contract.from_event(name, document, now_ms=NOW_MS).action.name is name
        return
    (fault,) = refused(lambda: contract.from_event(name, document, now_ms=NOW_MS)).faults
    assert fault.field == "action"
    assert fault.rule == "must be the action of the detail-type, or be left out"


def test_the_fault_of_an_unknown_field_lists_the_fields_of_its_entry_point() -> None:
    common = "phlo_id, node_id, to, trigger_source, role, action, requested_at, reference"
    for entry_point, known in ((from_webhook, common), (from_event, f"{common}, idempotency_key")):
        (fault,) = refused(partial(entry_point, callback_url="https://example.com")).faults
        assert fault.field == "callback_url"
        assert fault.detail() == (
            f'"callback_url" is not a field of an action; the fields are {known}'
        )


def test_members_of_an_event_that_begin_with_an_underscore_are_ignored() -> None:
    traced = {"_datadog": {"x-datadog-trace-id": "1"}, "_": None, "__x": [1], "_to": "+1"}
    assert from_event(**traced) == from_event()
    error = refused(lambda: from_event(**traced, x_=1, to="1"))
    assert [fault.field for fault in error.faults] == ["to", "x_"]


def test_members_of_a_webhook_that_begin_with_an_underscore_are_unknown_fields() -> None:
    error = refused(lambda: from_webhook(_datadog={}))
    assert [fault.field for fault in error.faults] == ["_datadog"]


@pytest.mark.parametrize(
    "name",
    [
        "+14155550123",
        "1-415-555-0123",
        "n14155550123",
        "local-phlo-token-not-a-secret-0001",
        "a\nb",
        "\u202egnp",
        "",
        "x" * 5000,
    ],
)
def test_a_field_name_that_might_be_a_value_is_shown_to_its_sender_only(name: str) -> None:
    error = refused(lambda: from_webhook(**{name: "x"}))
    (fault,) = error.faults
    assert fault.field == "(unknown)"
    assert str(error) == "(unknown): is not a field of an action"
    assert fault.shown.startswith(json.dumps(name)[:60])
    assert fault.shown.isascii()
    assert fault.shown.isprintable()
    assert len(fault.shown) < 250


def test_a_long_value_is_cut() -> None:
    (fault,) = faults_of(to="9" * 5000)
    assert fault.detail().startswith('"' + "9" * 70)
    assert "9" * 81 not in fault.detail()


def test_more_than_20_faults_are_counted_only() -> None:
    error = refused(lambda: from_webhook(**{f"f{i}": 1 for i in range(500)}))
    assert len(error.faults) == 21
    assert error.faults[-1].detail() == "480 more faults are not listed"


def test_no_value_is_in_the_text_for_the_log() -> None:
    secret = "4155550123"
    error = refused(
        lambda: read(
            {
                "to": f"tel:{secret}",
                "trigger_source": [secret],
                "role": secret,
                "action": secret,
                "requested_at": secret,
                "phlo_id": f"{secret}1",
                secret: secret,
            },
            secret,
            secret,
        )
    )
    assert len(error.faults) == 9
    assert secret not in str(error)
    assert secret not in repr(error)
    assert secret not in repr(error.faults)


@pytest.mark.parametrize(
    ("text", "epoch_ms"),
    [
        ("2026-03-14T15:09:26Z", 1_773_500_966_000),
        ("2026-03-14t15:09:26z", 1_773_500_966_000),
        ("2026-03-14T15:09:26.535Z", 1_773_500_966_535),
        ("2026-03-14T15:09:26.5359Z", 1_773_500_966_535),
        ("2026-03-14T15:09:26.123456789Z", 1_773_500_966_123),
        ("2026-03-14T16:39:26+01:30", 1_773_500_966_000),
        ("2026-03-14T10:09:26-05:00", 1_773_500_966_000),
        ("2026-03-14T15:09:56.535Z", NOW_MS + 30_000),
        ("0001-01-01T00:00:00+23:59", -62_135_683_140_000),
    ],
)
def test_requested_at_is_read_to_the_millisecond(text: str, epoch_ms: int) -> None:
    assert from_webhook(requested_at=text).requested_at == epoch_ms
    assert from_event(requested_at=text).requested_at == epoch_ms


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-14T15:09:26",
        "2026-03-14 15:09:26Z",
        "2026-03-14",
        "20260314T150926Z",
        "2026-W11-6T15:09:26Z",
        "2026-03-14T15:09Z",
        "2026-03-14T15:09:26.Z",
        "2026-03-14T15:09:26+0100",
        "2026-03-14T15:09:26+24:00",
        "2026-03-14T15:09:60Z",
        "2026-03-14T24:00:00Z",
        "2026-02-30T15:09:26Z",
        "0000-01-01T00:00:00Z",
        "2026-03-14T15:09:26Z\n",
        "\u0662026-03-14T15:09:26Z",
        "1773500966",
    ],
)
def test_any_other_form_of_time_is_a_fault(text: str) -> None:
    (fault,) = faults_of(requested_at=text)
    assert fault.field == "requested_at"
    assert fault.rule == "must be an RFC 3339 time with an offset"


@pytest.mark.parametrize("text", ["2026-03-14T15:09:56.536Z", "9999-12-31T23:59:59-23:59"])
def test_a_time_in_the_future_is_a_fault(text: str) -> None:
    (fault,) = faults_of(requested_at=text)
    assert fault.detail() == f'"{text}" is more than 30 seconds in the future'


def test_an_invalid_time_is_named_with_the_other_faults() -> None:
    found = faults_of(to="x", requested_at="2026-02-30T15:09:26Z")
    assert [fault.field for fault in found] == ["to", "requested_at"]


@pytest.mark.parametrize("name", [ActionName.COLD_TRANSFER, ActionName.HOLD])
@pytest.mark.parametrize(
    "reference", ["a", "x" * 64, "INC/2026/00417#2", "123456", "123456-789012", "a.b_c:d/e#f-g"]
)
def test_a_reference_is_kept_beside_the_action(name: ActionName, reference: str) -> None:
    given = (detail if name.dials else member_detail)(reference=reference)
    given["action"] = name.value
    validated = contract.from_event(name, given, now_ms=NOW_MS)
    assert validated.reference == reference
    assert "reference" not in {field.name for field in dataclasses.fields(validated.action)}
    path = {key: str(given.pop(key)) for key in ("phlo_id", "node_id")}
    path |= {} if name.dials else {"member_address": str(given.pop("member_address"))}
    assert contract.from_webhook(given, path, now_ms=NOW_MS) == validated


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "x" * 65,
        "a b",
        "1234567",
        "call-14155550123",
        "+415555",
        "a\n",
        "a@b",
        "\u0661\u0662",
        "sip:a@phone.plivo.com",
        None,
        5,
    ],
)
def test_anything_else_is_not_a_reference(reference: object) -> None:
    given = {**detail(), "reference": reference}
    error = refused(lambda: contract.from_event(ActionName.COLD_TRANSFER, given, now_ms=NOW_MS))
    (fault,) = error.faults
    assert fault.field == "reference"
    assert str(reference) not in fault.rule or reference in ("", None, 5)


def test_an_event_may_have_its_own_key() -> None:
    assert from_event(idempotency_key="ticket-8812:1").idempotency_key == "ticket-8812:1"
    assert from_event().idempotency_key is None


@pytest.mark.parametrize("key", ["", "a b", "a" * 256, "k\n", '"k"', "\u0661", 5])
def test_a_malformed_key_of_an_event_is_a_fault(key: object) -> None:
    error = refused(lambda: from_event(idempotency_key=key))
    assert [fault.field for fault in error.faults] == ["idempotency_key"]


@pytest.mark.parametrize("key", ["k", "not a key", 5])
def test_a_key_in_a_webhooks_body_gets_a_hint_to_the_header(key: object) -> None:
    (fault,) = refused(lambda: from_webhook(idempotency_key=key)).faults
    assert fault.field == "idempotency_key"
    assert "Idempotency-Key" in fault.detail()


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"),
        ('"8e03978e-40d5-43dd-bc93-6894a57f9324"', "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ("A" * 255, "A" * 255),
        ("a.b_c:d-e", "a.b_c:d-e"),
    ],
)
def test_a_key_is_taken_without_its_quotes(value: str, key: str) -> None:
    assert contract.check_key(value) == key


@pytest.mark.parametrize(
    "value",
    [
        "",
        '"',
        '""',
        '""k""',
        '"k',
        'k"',
        " k",
        "a b",
        "a/b",
        "k\n",
        '"k\n"',
        "a,b",
        "A" * 256,
        "\u00e9",
        "\u0661",
    ],
)
def test_a_malformed_key_is_a_fault_of_the_header(value: str) -> None:
    error = refused(lambda: contract.check_key(value))
    assert [fault.field for fault in error.faults] == ["Idempotency-Key"]
    assert error.faults[0].shown.startswith(json.dumps(value)[:70])
    assert str(error) == "Idempotency-Key: must be 1 to 255 of the characters A-Z a-z 0-9 . _ : -"
