"""Publishes every outcome and every resolution on the event bus, from the ledger's stream.

At least once, and in order for each action. A consumer recognises a redelivered event by
``detail.event_id``. No client waits for this.
"""

import functools
import json
from typing import Any

from cold_transfer import composition, start_up
from cold_transfer.action import in_title_case
from cold_transfer.entrypoints.invocation import correlation_id, self_checked
from cold_transfer.ledger.record import Record
from cold_transfer.ledger.view import of_record
from cold_transfer.masking import masked
from cold_transfer.telemetry import Telemetry

FUNCTION = "outcomes"

#: Takes the place of the state when an unknown outcome has been resolved.
RESOLVED = "resolved"


class Publisher:
    """Publishes through the EventBridge client ``events``, with ``source``, on ``bus``."""

    def __init__(self, events: Any, source: str, bus: str, telemetry: Telemetry) -> None:  # noqa: ANN401
        self._events = events
        self._where = {"Source": source, "EventBusName": bus}
        self._telemetry = telemetry

    def __call__(self, event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401
        """Publish a batch; after a failure, Lambda redelivers from the returned position."""
        request_id = getattr(context, "aws_request_id", None)
        with self._telemetry.invocation(correlation_id(request_id)):
            report = self_checked(event, FUNCTION)
            if report is not None:
                return report
            for item in event["Records"]:
                entry = entry_of(item["dynamodb"])
                if entry is None:
                    continue
                if not self._put({**self._where, **entry}):
                    # stop at the first failure, so that later records do not overtake it
                    left = item["dynamodb"]["SequenceNumber"]
                    return {"batchItemFailures": [{"itemIdentifier": left}]}
        return {"batchItemFailures": []}

    def _put(self, entry: dict[str, Any]) -> bool:
        try:
            reply = self._events.put_events(Entries=[entry])
        except Exception as error:  # noqa: BLE001  after any failure, Lambda redelivers
            reason = type(error).__name__
        else:
            if not reply["FailedEntryCount"]:
                return True
            reason = reply["Entries"][0].get("ErrorCode", "")
        self._telemetry.count("OutcomeNotPublished")
        self._telemetry.error("outcome not published", reason=reason)
        return False


def entry_of(change: dict[str, Any]) -> dict[str, str] | None:
    """The event for one change of the table; None if it neither settles nor resolves an action."""
    image = change.get("NewImage")
    if image is None:
        return None
    record = Record.from_item(image)
    if record.outcome() is None:  # open, a duplicate, a content lock, or of an unknown state
        return None
    before = Record.from_item(change["OldImage"]) if "OldImage" in change else None
    what, of_person = str(record.state), {}
    if before is not None and (before.state, before.attempt) == (record.state, record.attempt):
        if record.resolution is None or before.resolution is not None:
            return None
        what = RESOLVED
        of_person = {"resolved_by": record.resolved_by, "note": masked(record.note)}
    detail = {
        # the same for every delivery of an outcome, which EventBridge's own id is not
        "event_id": f"{record.action_id}:{record.attempt}:{what}",
        "entry_point": record.entry_point,
        "client": record.client,
        "attempt": record.attempt,
        **of_record(record, record),
        **of_person,
    }
    detail_type = f"{in_title_case(record.action)} {in_title_case(what)}"
    return {"DetailType": detail_type, "Detail": json.dumps(detail)}


@functools.cache
def _function() -> Publisher:
    chosen = composition.settings()
    return Publisher(
        composition.client("events"),
        chosen.outcome_source,
        chosen.event_bus_name,
        Telemetry(FUNCTION),
    )


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401  Lambda's own
    """Publish a batch of the ledger's stream; answers with partial batch failures."""
    return _function()(event, context)


start_up.finish(_function)  # makes no calls and no connections
