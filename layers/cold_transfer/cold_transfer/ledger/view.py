"""An action as shown to its client, to the operator, and in outcome events."""

from datetime import UTC, datetime
from typing import Any

from cold_transfer.ledger.record import Record


def of_record(record: Record, source: Record) -> dict[str, Any]:
    """The public view of an action.

    ``source`` is the record that its answer comes from; see ``record.answering``. Members without
    a value are None or empty; times are RFC 3339 with milliseconds.
    """
    outcome = source.outcome()
    verdict = source.verdict() if outcome is not None else None
    return {
        "action_id": record.action_id,
        "action": record.action,
        "reference": record.reference,
        "state": record.state,
        "outcome": outcome,
        "cause": verdict.cause if verdict else None,
        "status": verdict.status if verdict else None,
        "api_id": verdict.api_id if verdict else "",
        "error": verdict.error if verdict else "",
        "first_seen": timestamp(record.first_seen),
        "settled_at": timestamp(record.settled_at),
        "resolution": source.resolution,
        "resolved_at": timestamp(source.resolved_at),
        "duplicate_of": source.action_id if record.duplicate_of is not None else None,
    }


def timestamp(epoch_ms: int) -> str | None:
    if not epoch_ms:
        return None
    moment = datetime.fromtimestamp(epoch_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
