"""What a door reads of an invocation, which a test or a local run may leave out."""

import re
import uuid
from typing import Any

from cold_transfer.deadline import Deadline

_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def deadline_of(context: Any, default_seconds: float) -> Deadline:  # noqa: ANN401  Lambda's own
    """When the invocation ends; ``default_seconds`` from now outside Lambda."""
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    return Deadline.after(remaining() / 1000 if remaining is not None else default_seconds)


def correlation_id(given: object) -> str:
    """The UUID by which AWS knows the request or event; a new one where none was given.

    It stands in every log line. EventBridge and API Gateway give UUIDs; whatever else somebody
    puts there when invoking the function directly may be a number or a token.
    """
    return given if isinstance(given, str) and _UUID.fullmatch(given) else str(uuid.uuid4())
