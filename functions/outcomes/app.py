"""Publishes every settled outcome to the event bus, from the ledger's stream.

At least once, and in order per action: a consumer tells repeats apart by ``detail.event_id``.
Nothing here adds to the time of an answer.
"""

import functools
import json
from typing import Any

from cold_transfer import composition, start_up
from cold_transfer.action import in_title_case
from cold_transfer.entrypoints.invocation import correlation_id
from cold_transfer.ledger.record import Record
from cold_transfer.ledger.view import of_record
from cold_transfer.telemetry import Telemetry

FUNCTION = "outcomes"
SOURCE = "plivo-cold-transfer"


class Publisher:
    """``events`` is an EventBridge client; ``bus`` the name of the bus."""

    def __init__(self, events: Any, bus: str, telemetry: Telemetry) -> None:  # noqa: ANN401
        self._events = events
        self._bus = bus
        self._telemetry = telemetry

    def __call__(self, event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401
        """Publish a batch; what fails is named, and the stream delivers from there again."""
        request_id = getattr(context, "aws_request_id", None)
        with self._telemetry.invocation(correlation_id(request_id)):
            for item in event["Records"]:
                entry = entry_of(item["dynamodb"], self._bus)
                if entry is None:
                    continue
                if not self._put(entry):
                    # from the first failure on: what is behind it must not overtake it
                    left = item["dynamodb"]["SequenceNumber"]
                    return {"batchItemFailures": [{"itemIdentifier": left}]}
        return {"batchItemFailures": []}

    def _put(self, entry: dict[str, Any]) -> bool:
        try:
            reply = self._events.put_events(Entries=[entry])
        except Exception as error:  # noqa: BLE001  any failure: the stream delivers it again
            self._telemetry.error("outcome not published", reason=type(error).__name__)
            return False
        if reply["FailedEntryCount"]:
            reason = reply["Entries"][0].get("ErrorCode", "")
            self._telemetry.error("outcome not published", reason=reason)
            return False
        return True


def entry_of(change: dict[str, Any], bus: str) -> dict[str, Any] | None:
    """The outcome event of one change of the table; None where no outcome was settled by it."""
    image = change.get("NewImage")
    if image is None:
        return None
    record = Record.from_item(image)
    if (
        record.outcome() is None
    ):  # open, a duplicate, a pointer, or of a state that is not known yet
        return None
    if "OldImage" in change:
        before = Record.from_item(change["OldImage"])
        if (before.state, before.attempt) == (record.state, record.attempt):
            return None
    detail = {
        # the same for every delivery of the same outcome; EventBridge's own id is not
        "event_id": f"{record.action_id}:{record.attempt}:{record.state}",
        "entry_point": record.entry_point,
        "client": record.client,
        "attempt": record.attempt,
        **of_record(record, record),
    }
    return {
        "Source": SOURCE,
        "DetailType": f"{in_title_case(record.action)} {in_title_case(str(record.state))}",
        "Detail": json.dumps(detail),
        "EventBusName": bus,
    }


@functools.cache
def _function() -> Publisher:
    return Publisher(
        composition.client("events"), composition.settings().event_bus_name, Telemetry(FUNCTION)
    )


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401  Lambda's own
    """Publish a batch of the ledger's stream; answers with partial batch failures."""
    return _function()(event, context)


start_up.finish(_function)  # nothing is fetched, nothing connected
