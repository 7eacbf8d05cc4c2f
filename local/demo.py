"""The requests that `make run` sends, and their results."""

import base64
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import urllib3

from local.sender import NODE_ID, PHLO_ID, Exchange, entry_of, headers_of, post
from local.stack import Stack
from local.waiting import eventually

ACTION = {"to": "+14152225555", "role": "agent", "trigger_source": "+14152223333"}
EVENT_ACTION = {
    "phlo_id": PHLO_ID,
    "node_id": NODE_ID,
    "to": "sip:agent123456789012@phone.plivo.com",
    "role": "customer",
    "trigger_source": "+14152224444",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything that `make run` shows.

    event
        The entry of PutEvents.
    event_record
        The event's record in the ledger, as plain values; None if it was not settled in time.
    received
        What the Plivo simulator received (``simulator.Received`` as JSON).
    metrics
        The functions' log lines with metrics (EMF).
    segments
        X-Ray documents.
    """

    first: Exchange
    retry: Exchange
    event: Mapping[str, Any]
    event_record: Mapping[str, Any] | None
    received: list[dict[str, Any]]
    metrics: list[dict[str, Any]]
    segments: list[dict[str, Any]]


def play(stack: Stack) -> Seen:
    """Send a webhook, its retry and an event, and collect the results.

    Waits up to 30 s for each of the event's record, the metrics and the traces.
    """
    url = stack.webhook_url.format(phlo_id=PHLO_ID, node_id=NODE_ID)
    key, body = f"msg_{uuid.uuid4().hex}", json.dumps(ACTION)
    with urllib3.PoolManager() as http:
        first, retry = (post(http, url, headers_of("crm", key, body), body) for _ in range(2))
    event = entry_of(EVENT_ACTION, stack.description)
    stack.aws("events").put_events(Entries=[event])
    record = eventually(lambda: _settled_event(stack))
    metrics = eventually(lambda: _enough(_metrics(stack), _accepted, 2)) or _metrics(stack)
    segments = eventually(lambda: _enough(stack.traces(), _calls_plivo, 2)) or stack.traces()
    return Seen(first, retry, event, record, stack.plivo_received(), metrics, segments)


def flatten(segment: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A segment and its subsegments, each with its ``depth``."""
    found = [{**segment, "depth": 0}]
    for inner in segment.get("subsegments", []):
        found += [{**each, "depth": each["depth"] + 1} for each in flatten(inner)]
    return found


def is_remote(part: Mapping[str, Any]) -> bool:
    """Whether a segment or subsegment is itself a call to Plivo."""
    return part.get("namespace") == "remote"


def _settled_event(stack: Stack) -> dict[str, Any] | None:
    items = stack.aws("dynamodb").scan(TableName=stack.description["ledger_table"])["Items"]
    for item in items:
        plain = {name: next(iter(value.values())) for name, value in item.items()}
        if plain.get("entry_point") == "event" and plain.get("state") not in ("claimed", "sending"):
            return plain
    return None


def _metrics(stack: Stack) -> list[dict[str, Any]]:
    """The lines in the functions' logs that CloudWatch turns into metrics (EMF)."""
    return [
        json.loads(line)
        for function in ("WebhookFunction", "EventFunction")
        for line in stack.log_lines(function)
        if line.startswith("{") and '"_aws"' in line
    ]


def _enough[T](found: list[T], which: Callable[[T], bool], count: int) -> list[T] | None:
    return found if sum(map(which, found)) >= count else None


def _accepted(line: Mapping[str, Any]) -> bool:
    return "ActionAccepted" in line


def _calls_plivo(segment: Mapping[str, Any]) -> bool:
    return any(map(is_remote, flatten(segment)))


def masked(header: str, value: str) -> str:
    """The value of a header, safe to show: of a Basic credential, only the name."""
    if header.lower() != "authorization" or not value.startswith("Basic "):
        return value
    name = base64.b64decode(value.removeprefix("Basic ")).decode().partition(":")[0]
    return f"Basic {name}:{'*' * 8}"
