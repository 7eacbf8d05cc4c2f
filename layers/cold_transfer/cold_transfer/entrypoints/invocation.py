"""Reads an invocation's event and context, parts of which a local run may leave out."""

import re
import uuid
from typing import Any

from cold_transfer.deadline import Deadline

#: The longest plausible wait for a function: the maximum of MaxRequestAgeSeconds, for a redriven
#: event. An older time is ignored, as in a sample event.
LONGEST_WAIT_MS = 300_000

_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def deadline_of(context: Any, default_seconds: float) -> Deadline:  # noqa: ANN401  Lambda's own
    """When the invocation ends; outside Lambda, ``default_seconds`` from now."""
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    return Deadline.after(remaining() / 1000 if remaining is not None else default_seconds)


def waited(taken_at: object, now_ms: int) -> int:
    """Milliseconds since the gateway or the bus took the request.

    ``taken_at`` is the event's own time, in epoch milliseconds; 0 if it is not plausible.
    """
    if not isinstance(taken_at, int) or not 0 <= now_ms - taken_at <= LONGEST_WAIT_MS:
        return 0
    return now_ms - taken_at


def member(event: object, *path: str) -> object:
    """The event's nested member at ``path``; None for an event of another shape."""
    found = event
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def correlation_id(given: object) -> str:
    """AWS's UUID of the request or event; a new one if there is none.

    It is in every log line. EventBridge and API Gateway give UUIDs; anything else comes from a
    direct invocation, and may be a number or a token.
    """
    return given if isinstance(given, str) and _UUID.fullmatch(given) else str(uuid.uuid4())


def self_checked(event: object, function: str) -> dict[str, Any] | None:
    """The self-check's report for the event ``{"self_check": true}``; None for any other.

    Only a direct invocation can have that shape: API Gateway, EventBridge and streams wrap what
    others send in members of their own.
    """
    if event != {"self_check": True}:
        return None
    from cold_transfer.entrypoints import self_check  # noqa: PLC0415  not needed at start-up

    return self_check.report(function)
