"""The hashes of an action and of a key must not change.

During a deployment two versions of the code run at once, and records outlive both: with a changed
hash, a call could be moved twice. Change a vector only together with ``FINGERPRINT_VERSION``.
"""

import dataclasses
from typing import Any

import pytest

from cold_transfer.action import (
    FINGERPRINT_VERSION,
    Action,
    ActionName,
    ActionRequest,
    EntryPoint,
)
from cold_transfer.entrypoints.contract import ON_MEMBER, ON_NODE, Shape

NUMBERS = Action(
    "3f1c8a52-6d0e-4b7a-9c21-5e8d7f60a1b2",
    "9b2e4d71-0c5f-4e38-8a16-7d3f5b9c2e04",
    "+14152225555",
    "+14152223333",
)
SIP = Action(
    "3f1c8a52-6d0e-4b7a-9c21-5e8d7f60a1b2",
    "5f0d2b1c9e8a7d6c5b4a3f2e",
    "sip:Desk.2123456789012@Phone.Plivo.com",
    "14152223333",
    "customer",
)
HOLD = Action(
    NUMBERS.phlo_id,
    NUMBERS.node_id,
    name=ActionName.HOLD,
    member_address="+14152223333",
)


def test_these_vectors_belong_to_the_current_version() -> None:
    assert FINGERPRINT_VERSION == 1


@pytest.mark.parametrize(
    ("action", "fingerprint"),
    [
        (NUMBERS, "5de56b72b609db5cb7154ca12870b3bbbb63499f85d26efa75d239f4998e844c"),
        (SIP, "c27fb16f7e4eb51fb9ab36fd9256fba4ef90359b84b306e9d2469bd05c4c5c33"),
        (HOLD, "533a26fff1c9ee65ad4af28d5b4381d2f32ddcf00a7df5121dda1778598668ab"),
    ],
    ids=["numbers", "sip", "member"],
)
def test_the_fingerprint_of_an_action_does_not_change(action: Action, fingerprint: str) -> None:
    assert action.fingerprint() == fingerprint


@pytest.mark.parametrize(
    ("entry_point", "client", "key", "action_id"),
    [
        (
            EntryPoint.WEBHOOK,
            "crm",
            "msg_2b1c",
            "4ef84ae1806f8a223c625cc2b925e561d43cea85346aae901e5500aed7a477f2",
        ),
        (
            EntryPoint.WEBHOOK,
            "phlo",
            "call-77",
            "6332a1924747589c7974421e9ad3217a026ccd68f849441671c617c2c5f28334",
        ),
        (
            EntryPoint.EVENT,
            "plivo-cold-transfer.client",
            "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
            "17d3874c02dae6a92f4e6249ae19067e091dfaa56e8bc9833673dc535c618a1d",
        ),
    ],
)
def test_the_action_id_of_a_key_does_not_change(
    entry_point: EntryPoint, client: str, key: str, action_id: str
) -> None:
    assert ActionRequest(NUMBERS, entry_point, client, key).action_id() == action_id


@pytest.mark.parametrize(
    "same",
    [
        {"to": "14152225555"},
        {"trigger_source": "14152223333"},
        {"phlo_id": NUMBERS.phlo_id.upper()},
        {"node_id": NUMBERS.node_id.upper()},
        {"role": "agent"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_spelling_is_the_same_action(same: dict[str, Any]) -> None:
    assert dataclasses.replace(NUMBERS, **same).fingerprint() == NUMBERS.fingerprint()


def test_another_spelling_of_a_member_is_the_same_action() -> None:
    changes: list[dict[str, Any]] = [
        {"member_address": "14152223333"},
        {"node_id": HOLD.node_id.upper()},
    ]
    for same in changes:
        assert dataclasses.replace(HOLD, **same).fingerprint() == HOLD.fingerprint()


@pytest.mark.parametrize("name", [name for name in ActionName if not name.dials])
def test_the_member_is_part_of_the_fingerprint(name: ActionName) -> None:
    one = dataclasses.replace(HOLD, name=name)
    other = dataclasses.replace(one, member_address="+14152225555")

    assert one.fingerprint() != other.fingerprint()


def test_the_name_is_part_of_the_fingerprint() -> None:
    one = dataclasses.replace(NUMBERS, member_address=NUMBERS.trigger_source)

    assert len({dataclasses.replace(one, name=name).fingerprint() for name in ActionName}) == 9


def test_the_actions_that_dial_are_listed_first_and_the_cold_transfer_before_them() -> None:
    assert [name for name in ActionName if name.dials] == list(ActionName)[:3]
    assert next(iter(ActionName)) is ActionName.COLD_TRANSFER
    assert [*ActionName] == [*contract_names(ON_NODE), *contract_names(ON_MEMBER)]


def contract_names(shape: Shape) -> list[str]:
    names: list[str] = shape.schema["properties"]["action"]["enum"]
    return names


def test_the_host_of_a_sip_address_is_case_insensitive() -> None:
    other = dataclasses.replace(SIP, to="sip:Desk.2123456789012@phone.PLIVO.com")

    assert other.fingerprint() == SIP.fingerprint()


def test_the_user_of_a_sip_address_is_case_sensitive() -> None:
    other = dataclasses.replace(SIP, to="sip:desk.2123456789012@Phone.Plivo.com")

    assert other.fingerprint() != SIP.fingerprint()


@pytest.mark.parametrize(
    "other",
    [
        {"to": "+14152225556"},
        {"trigger_source": "+14152223334"},
        {"phlo_id": "00000000-0000-4000-8000-000000000001"},
        {"node_id": "00000000-0000-4000-8000-000000000001"},
        {"role": "customer"},
        {"to": NUMBERS.trigger_source, "trigger_source": NUMBERS.to},
    ],
    ids=["to", "trigger_source", "phlo_id", "node_id", "role", "swapped"],
)
def test_every_field_is_part_of_the_fingerprint(other: dict[str, Any]) -> None:
    assert dataclasses.replace(NUMBERS, **other).fingerprint() != NUMBERS.fingerprint()


def test_entry_point_client_and_key_are_separate_parts_of_the_action_id() -> None:
    requests = [
        ActionRequest(NUMBERS, EntryPoint.WEBHOOK, "crm", "1"),
        ActionRequest(NUMBERS, EntryPoint.EVENT, "crm", "1"),
        ActionRequest(NUMBERS, EntryPoint.WEBHOOK, "crm2", "1"),
        ActionRequest(NUMBERS, EntryPoint.WEBHOOK, "crm", "2"),
        ActionRequest(NUMBERS, EntryPoint.WEBHOOK, "crm", "21"),
    ]

    assert len({request.action_id() for request in requests}) == len(requests)


def test_the_content_is_not_part_of_the_action_id() -> None:
    ids = {
        ActionRequest(action, EntryPoint.WEBHOOK, "crm", "1").action_id()
        for action in (NUMBERS, SIP)
    }

    assert len(ids) == 1
