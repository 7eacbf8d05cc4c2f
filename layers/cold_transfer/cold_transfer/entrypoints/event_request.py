"""Turns an event from EventBridge into a request."""

import hashlib
from collections.abc import Mapping
from typing import Any

from cold_transfer.action import Action, ActionName, ActionRequest, EntryPoint, in_title_case
from cold_transfer.entrypoints import contract, field_faults
from cold_transfer.entrypoints.invocation import waited
from cold_transfer.errors import BodyMalformed, ContractViolated, Fault

#: The action of each detail-type.
DETAIL_TYPES = {f"{in_title_case(name)} Requested": name for name in ActionName}


def request_of(event: object, source: str, *, now_ms: int) -> ActionRequest:
    """Validate the event; ``source`` is the only source accepted, ``now_ms`` epoch milliseconds.

    Raises
    ------
    BodyMalformed
        The event is not an object, or its detail is not and nothing else is wrong.
    ContractViolated
        With every faulty field of the event and of its detail.
    """
    if not isinstance(event, dict):
        raise BodyMalformed("the event is not an object")
    found: list[Fault] = []
    if event.get("source") != source:
        found.append(Fault("source", "must be the EventSource of this stack"))
    detail_type = event.get("detail-type")
    name = DETAIL_TYPES.get(detail_type) if isinstance(detail_type, str) else None
    if name is None:
        rule = "must be an action followed by Requested, such as Cold Transfer Requested"
        found.append(Fault("detail-type", rule))
    sent_at = _time(event, now_ms, found)
    key: str | None = None
    validated: contract.Validated | None = None
    try:
        validated = contract.from_event(
            name or ActionName.COLD_TRANSFER, event.get("detail"), now_ms=now_ms
        )
    except ContractViolated as error:
        found += error.faults
    except BodyMalformed as error:
        if not found:
            raise
        found.append(Fault("detail", str(error)))
    else:
        key = _key(validated.idempotency_key, event.get("id"), found)
    if found or validated is None or key is None:
        raise field_faults.violation(found)
    times = [moment for moment in (sent_at, validated.requested_at) if moment is not None]
    return ActionRequest(
        validated.action,
        EntryPoint.EVENT,
        source,
        key,
        min(times, default=None),
        # the time, set by the bus unless the producer sets it, is in whole seconds: take their end
        waited=waited(None if sent_at is None else min(now_ms, sent_at + 999), now_ms),
        delivery=_delivery(validated.action, event.get("id")),
        from_archive="replay-name" in event,
        reference=validated.reference,
    )


def _key(own: str | None, event_id: object, found: list[Fault]) -> str | None:
    if own is not None:
        return own
    try:
        return contract.check_key(event_id if isinstance(event_id, str) else "")
    except ContractViolated:
        found.append(Fault("id", "must be the id that EventBridge gave the event"))
        return None


def _delivery(action: Action, event_id: object) -> str:
    if not isinstance(event_id, str):
        return ""
    # An event made by hand may have a phone number as its id. Hashed with the PHLO's ids, which the
    # ledger does not store, it cannot be found by trial.
    content = f"{action.phlo_id.lower()} {action.node_id.lower()} {event_id}"
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


def _time(event: Mapping[str, Any], now_ms: int, found: list[Fault]) -> int | None:
    """The event's time (epoch ms); None, meaning now, for an event without one."""
    if "time" not in event:
        return None
    value = event["time"]
    sent_at = contract.epoch_ms(value) if isinstance(value, str) else None
    if sent_at is None:
        found.append(Fault("time", "must be a time such as 2026-01-31T09:30:00Z"))
    elif contract.lies_ahead(sent_at, now_ms):
        found.append(Fault("time", "must not be in the future"))
    return sent_at
