"""The requests that `make run` sends, and what came of them."""

import base64
import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from standardwebhooks import Webhook

from local.credentials import CLIENTS
from local.stack import DETAIL_TYPE, Stack

PHLO_ID = "3f1c8a52-6d0e-4b7a-9c21-5e8d7f60a1b2"
NODE_ID = "9b2e4d71-0c5f-4e38-8a16-7d3f5b9c2e04"
ACTION = {"to": "+14152225555", "role": "agent", "trigger_source": "+14152223333"}
EVENT_ACTION = {
    "phlo_id": PHLO_ID,
    "node_id": NODE_ID,
    "to": "sip:agent123456789012@phone.plivo.com",
    "role": "customer",
    "trigger_source": "+14152224444",
}
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request to the webhook and its answer; ``milliseconds`` is what the sender waited."""

    url: str
    headers: Mapping[str, str]
    body: str
    status: int
    answer_headers: Mapping[str, str]
    answer: str
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Seen:
    """All that `make run` shows."""

    first: Exchange
    repeat: Exchange
    event: Mapping[str, Any]
    event_record: Mapping[str, Any] | None
    received: list[dict[str, Any]]
    metrics: list[dict[str, Any]]
    segments: list[dict[str, Any]]


def play(stack: Stack) -> Seen:
    """Send a webhook, the same again, and an event; wait until all of it shows, 30 s at most."""
    url = stack.webhook_url.format(phlo_id=PHLO_ID, node_id=NODE_ID)
    message_id = f"msg_{uuid.uuid4().hex}"
    first = _send_signed(url, message_id)
    repeat = _send_signed(url, message_id)

    description = stack.description
    event = {
        "Source": description["event_source"],
        "DetailType": DETAIL_TYPE,
        "Detail": json.dumps(EVENT_ACTION),
        "EventBusName": description["event_bus_name"],
    }
    stack.aws("events").put_events(Entries=[event])
    record = _wait_for(lambda: _settled_event(stack))
    metrics = _wait_for(lambda: _enough(_metrics(stack), _accepted, 2)) or _metrics(stack)
    segments = _wait_for(lambda: _enough(stack.traces(), _remote, 2)) or stack.traces()
    return Seen(first, repeat, event, record, stack.plivo_received(), metrics, segments)


def flatten(segment: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A segment and everything in it, with ``depth``."""
    found = [{**segment, "depth": 0}]
    for inner in segment.get("subsegments", []):
        found += [{**each, "depth": each["depth"] + 1} for each in flatten(inner)]
    return found


def _send_signed(url: str, message_id: str) -> Exchange:
    body = json.dumps(ACTION)
    now = datetime.now(UTC)
    secret = CLIENTS["crm"]["signing_secrets"][0]
    headers = {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, now, body),
    }
    request = urllib.request.Request(url, body.encode(), headers, method="POST")  # noqa: S310 -- our own http address
    begun = time.monotonic()
    try:
        answer = urllib.request.urlopen(request, timeout=PATIENCE_SECONDS)  # noqa: S310 -- our own http address
    except urllib.error.HTTPError as refusal:
        answer = refusal
    with answer:
        text = answer.read().decode()
        waited = (time.monotonic() - begun) * 1000
        got = {name.lower(): value for name, value in answer.headers.items()}
        return Exchange(url, headers, body, answer.status, got, text, waited)


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


def _remote(segment: Mapping[str, Any]) -> bool:
    return any(each.get("namespace") == "remote" for each in flatten(segment))


def _wait_for[T](ask: Callable[[], T | None]) -> T | None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := ask()) is None and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def masked(header: str, value: str) -> str:
    """A header as it may be shown: of a Basic credential the name, not the token."""
    if header.lower() != "authorization" or not value.startswith("Basic "):
        return value
    name = base64.b64decode(value.removeprefix("Basic ")).decode().partition(":")[0]
    return f"Basic {name}:{'*' * 8}"
