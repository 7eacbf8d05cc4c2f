"""What an entry point reads of an invocation, which a test or a local run may leave out."""

import re
import uuid
from typing import Any

from cold_transfer.deadline import Deadline

#: The longest that a request may have waited for a function and still be sent: the maximum of
#: MaxRequestAgeSeconds, for an event that is redriven. Anything older is ignored: a sample event.
LONGEST_WAIT_MS = 300_000

_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def deadline_of(context: Any, default_seconds: float) -> Deadline:  # noqa: ANN401  Lambda's own
    """When the invocation ends; ``default_seconds`` from now outside Lambda."""
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    return Deadline.after(remaining() / 1000 if remaining is not None else default_seconds)


def waited(taken_at: object, now_ms: int) -> int:
    """Milliseconds since the gateway or the bus took the request.

    ``taken_at`` is what it says itself, in epoch milliseconds; 0 for what cannot be.
    """
    if not isinstance(taken_at, int) or not 0 <= now_ms - taken_at <= LONGEST_WAIT_MS:
        return 0
    return now_ms - taken_at


def member(event: object, *path: str) -> object:
    """What the event has under the names of ``path``; None for an event of another shape."""
    found = event
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def correlation_id(given: object) -> str:
    """The UUID by which AWS knows the request or event; a new one where none was given.

    It is in every log line. EventBridge and API Gateway give UUIDs; anything else, from a direct
    invocation, may be a number or a token.
    """
    return given if isinstance(given, str) and _UUID.fullmatch(given) else str(uuid.uuid4())


def self_checked(event: object, function: str) -> dict[str, Any] | None:
    """The report that ``{"self_check": true}`` asks for, and nothing else does; else None.

    Only a direct invocation can have that shape: API Gateway, EventBridge and a stream put what
    others say into members of their own.
    """
    if event != {"self_check": True}:
        return None
    from cold_transfer.entrypoints import self_check  # noqa: PLC0415  no part of a start

    return self_check.report(function)
