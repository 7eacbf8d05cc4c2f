"""What the console knows about its stack: names, addresses, credentials, formats.

Only this module depends on names that another version of the system may change.
"""

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import boto3

from cold_transfer.action import ActionName, EntryPoint, in_title_case
from cold_transfer.causes import TABLE, Cause, Outcome
from cold_transfer_cli.records import action_id
from local.credentials import PLIVO_AUTH_ID, PLIVO_AUTH_TOKEN
from local.deploy import STACK_NAME

CALL_ACTIONS = tuple(str(name) for name in ActionName if name.dials)
MEMBER_ACTIONS = tuple(str(name) for name in ActionName if not name.dials)
ENTRY_POINTS = tuple(map(str, EntryPoint))
OUTCOMES = tuple(map(str, Outcome))
IN_PROGRESS = (Cause.IN_PROGRESS, Cause.DUPLICATE_IN_PROGRESS)

#: The answer's headers that the console reads, in lower case.
ACTION_ID = "action-id"
DUPLICATE_OF = "duplicate-of"
REPLAYED = "idempotency-replayed"

MASKED = "*" * 8


@dataclass(slots=True)
class Invocation:
    """One invocation of an entry point, as its trace and its log describe it.

    replayed
        None until its log has arrived.
    started, ended
        Epoch seconds; 0 until its trace has arrived.
    lines
        The lines of its log, unchanged.
    """

    trace_id: str
    entry_point: str
    method: str = ""
    client: str = ""
    action: str = ""
    correlation_id: str = ""
    action_id: str = ""
    duplicate_of: str = ""
    outcome: str = ""
    cause: str = ""
    status: int | None = None
    replayed: bool | None = None
    started: float = 0.0
    ended: float = 0.0
    fault: str = ""
    steps: list[dict[str, Any]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    @property
    def requests_action(self) -> bool:
        """Whether it was a request for an action; a GET reads."""
        claimed = any(step["name"] == "claim" for step in self.steps)
        return (claimed or bool(self.cause or self.fault)) and self.method != "GET"

    @property
    def milliseconds(self) -> float | None:
        return round((self.ended - self.started) * 1000, 1) if self.ended else None

    def posts(self) -> list[tuple[float, float]]:
        """The beginning and end of each POST to Plivo, in epoch seconds."""
        return [
            (
                self.started + step["at_ms"] / 1000,
                self.started + (step["at_ms"] + step["ms"]) / 1000,
            )
            for step in self.steps
            if step["post"]
        ]

    def take(self, line: str) -> None:
        """Read a line of its log, which ``trace_of`` has attributed to its trace."""
        logged = json.loads(line)
        self.lines.append(line)
        for name in ("correlation_id", "method", "client", "action", "cause"):
            setattr(self, name, logged.get(name) or getattr(self, name))
        if "replayed" in logged:  # the line of an answer
            self.action_id = logged["action_id"]
            self.outcome = logged["message"].partition(" ")[2]
            self.status = logged["status"]
            self.replayed = logged["replayed"]
            self.duplicate_of = logged.get("duplicate_of") or ""


class StackAccess:
    """One running stack.

    description
        The content of `.local/stack.json`.
    simulator
        Whether the stack's Plivo is its simulator. The console sends nothing to any other Plivo.
    """

    def __init__(self, description: Mapping[str, Any], *, simulator: bool) -> None:
        self._description = description
        self.simulator = simulator
        self.clients: Mapping[str, Mapping[str, str]] = description["clients"]
        self.plivo_base_url: str = description["plivo_base_url"]
        self.aws_endpoint_url: str = description["aws_endpoint_url"]
        self.aws_region: str = description["aws_region"]
        self.event_source: str = description["event_source"]
        self.log_groups: Mapping[str, str] = description["log_groups"]
        self.dead_letter_queue_url: str = description["dead_letter_queue_url"]
        self.outcomes_pattern = {"source": [STACK_NAME]}
        self.event_bus: str = description["event_bus_name"]

    def aws(self, service: str) -> Any:  # noqa: ANN401  one of many clients; boto3 types it so too
        # A session for each client: several threads make clients at once.
        make: Any = boto3.Session().client
        return make(
            service,
            self.aws_region,
            endpoint_url=self.aws_endpoint_url,
            aws_access_key_id=self._description["aws_access_key_id"],
            aws_secret_access_key=self._description["aws_secret_access_key"],
        )

    def url(self, fields: Mapping[str, str]) -> str:
        """The webhook's URL for an action with these ``fields``."""
        ids = {name: quote(fields[name], safe="") for name in ("phlo_id", "node_id")}
        url: str = self._description["webhook_url"].format(**ids)
        if fields["action"] in MEMBER_ACTIONS:
            url += f"/members/{quote(fields['member_address'], safe='')}"
        return url

    def event(self, action: str, detail: Mapping[str, str]) -> dict[str, str]:
        """One entry of PutEvents."""
        return {
            "Source": self.event_source,
            "DetailType": f"{in_title_case(action)} Requested",
            "Detail": json.dumps(detail),
            "EventBusName": self.event_bus,
        }

    def in_stack_json(self, client: str) -> tuple[str, ...]:
        """The path to the client's credential in `.local/stack.json`; its last name is the kind."""
        (kind,) = self.clients[client]
        return ("clients", client, kind)

    def action_id(self, entry_point: str, client: str, key: str) -> str:
        """The Action-Id that the ledger gives a client's key."""
        return action_id(EntryPoint(entry_point), client, key)

    def record_key(self, action_id: str) -> tuple[str, dict[str, Any]]:
        """The ledger's table, and the primary key of the record in it."""
        return self._description["ledger_table"], {"pk": {"S": f"K#{action_id}"}}

    @property
    def secrets(self) -> list[str]:
        """Every text that must not leave the console, the longest first."""
        plain = {
            PLIVO_AUTH_TOKEN,
            *(value for one in self.clients.values() for value in one.values()),
        }
        pairs = [f"{PLIVO_AUTH_ID}:{PLIVO_AUTH_TOKEN}"]
        pairs += [f"{name}:{one['token']}" for name, one in self.clients.items() if "token" in one]
        encoded = {base64.b64encode(pair.encode()).decode() for pair in pairs}
        return sorted(plain | encoded, key=len, reverse=True)


def read_segment(segment: Mapping[str, Any]) -> Invocation | None:
    """The invocation that a segment describes; None if it is not an entry point's."""
    notes = segment.get("annotations", {})
    entry_point = notes.get("function")
    if entry_point not in ENTRY_POINTS:
        return None
    started = segment["start_time"]
    return Invocation(
        trace_id=segment["trace_id"],
        entry_point=entry_point,
        method=notes.get("method", ""),
        client=notes.get("client", ""),
        action=notes.get("action", ""),
        outcome=notes.get("outcome", ""),
        cause=notes.get("cause", ""),
        started=started,
        ended=segment["end_time"],
        fault=_fault(segment),
        steps=[_step(each, started) for each in segment.get("subsegments", [])],
    )


def trace_of(line: str) -> str:
    """The trace id in a JSON line of a log; empty for any other line."""
    try:
        logged = json.loads(line)
    except ValueError:
        return ""
    return str(logged.get("xray_trace_id", "")) if isinstance(logged, dict) else ""


def outcome_of(cause: str) -> str:
    """The outcome of a cause; empty if the request has no outcome of its own, or not yet."""
    if cause not in Cause or cause in IN_PROGRESS:
        return ""
    return str(TABLE[Cause(cause)].outcome or "")


def read_outcome(event: Mapping[str, Any]) -> tuple[str, str]:
    """The Action-Id and the action's name in an outcome event."""
    return event["detail"]["action_id"], event["detail"]["action"]


def read_record(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item of the ledger as plain values; times are in epoch milliseconds."""
    return {
        name: int(value["N"]) if "N" in value else next(iter(value.values()))
        for name, value in item.items()
    }


def duplicate_of(record: Mapping[str, Any]) -> str:
    return str(record.get("duplicate_of") or "")


def _step(segment: Mapping[str, Any], started: float) -> dict[str, Any]:
    http = segment.get("http", {})
    post = segment.get("namespace") == "remote" and http.get("request", {}).get("method") == "POST"
    name = segment["name"]
    return {
        "name": "POST" if post else name.replace("_", " "),
        "at_ms": round((segment["start_time"] - started) * 1000, 1),
        "ms": round((segment["end_time"] - segment["start_time"]) * 1000, 1),
        "post": post,
        "status": http.get("response", {}).get("status"),
        "fault": _fault(segment),
    }


def _fault(segment: Mapping[str, Any]) -> str:
    cause = segment.get("cause")
    described: Iterable[Mapping[str, Any]] = cause["exceptions"] if isinstance(cause, dict) else ()
    texts = [f"{each['type']}: {each['message']}" for each in described]
    return texts[0] if texts else ("failed" if segment.get("fault") else "")
