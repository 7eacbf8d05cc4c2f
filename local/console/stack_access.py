"""What the console knows of the stack that it shows: names, addresses, credentials, forms of data.

Everything that another version of the system may name in another way is here, and nowhere else in
the console.
"""

import base64
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import boto3

from local.build import ROOT

sys.path.insert(0, str(ROOT / "layers" / "cold_transfer"))

from cold_transfer.causes import TABLE, Cause
from cold_transfer.transfer import Door
from local.credentials import PLIVO_AUTH_ID, PLIVO_AUTH_TOKEN
from local.deploy import STACK_NAME
from local.records import transfer_id

CALL_ACTIONS = ("cold_transfer", "warm_transfer", "call")
MEMBER_ACTIONS = ("abort_transfer", "resume_call", "voicemail_drop", "hangup", "hold", "unhold")
ENTRY_POINTS = ("webhook", "event")
IN_PROGRESS = ("in-progress", "duplicate-in-progress")
OUTCOMES = ("accepted", "rejected", "not_sent", "unknown")

#: The answer's headers that are looked at.
ACTION_ID = "transfer-id"
DUPLICATE_OF = "duplicate-of"
REPLAYED = "idempotency-replayed"

MASKED = "*" * 8
_STEPS = {"point": "deduplicate", "mark": "mark sending"}
_NEVER_ASKED = ("transfer-not-found",)  # of a look-up


@dataclass(slots=True)
class Invocation:
    """What the trace and the log of one invocation of an entry point say together.

    replayed
        None as long as its log is not there.
    started, ended
        Epoch seconds; 0 as long as its trace is not there.
    lines
        Of its log, as they are.
    """

    trace_id: str
    entry_point: str
    client: str = ""
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
    def asked(self) -> bool:
        """Whether it was a request for an action, and no look at one."""
        return bool(self.steps or self.cause or self.fault) and self.cause not in _NEVER_ASKED

    @property
    def milliseconds(self) -> float | None:
        return round((self.ended - self.started) * 1000, 1) if self.ended else None

    def posts(self) -> list[tuple[float, float]]:
        """When each POST to Plivo began and ended, in epoch seconds."""
        return [
            (
                self.started + step["at_ms"] / 1000,
                self.started + (step["at_ms"] + step["ms"]) / 1000,
            )
            for step in self.steps
            if step["post"]
        ]

    def take(self, line: str) -> None:
        """Note what a line of the log says; ``trace_of`` told that it is one of this invocation."""
        said = json.loads(line)
        self.lines.append(line)
        self.correlation_id = said.get("correlation_id") or self.correlation_id
        self.client = said.get("caller") or self.client
        self.cause = said.get("cause") or self.cause
        if "replayed" in said:  # the line of an answer
            self.action_id = said["transfer_id"]
            self.outcome = said["message"].partition(" ")[2]
            self.status = said["status"]
            self.replayed = said["replayed"]
            self.duplicate_of = said.get("duplicate_of") or ""


class StackAccess:
    """One running stack.

    description
        What `.local/stack.json` holds.
    simulator
        Whether the Plivo of the stack is its simulator; another one is left alone.
    """

    def __init__(self, description: Mapping[str, Any], *, simulator: bool) -> None:
        self._description = description
        self.simulator = simulator
        self.clients: Mapping[str, Mapping[str, str]] = description["callers"]
        self.plivo_base_url: str = description["plivo_base_url"]
        self.aws_endpoint_url: str = description["aws_endpoint_url"]
        self.aws_region: str = description["aws_region"]
        self.event_source: str = description["event_source"]
        self.log_groups: Mapping[str, str] = description["log_groups"]
        self.dead_letter_queue_url: str = description["dead_letter_queue_url"]
        self.outcomes_pattern = {"source": [STACK_NAME]}
        self.event_bus: str = description["event_bus_name"]

    def aws(self, service: str) -> Any:  # noqa: ANN401  one of many clients; boto3 types it so too
        # A session each: clients are made in several threads at once.
        make: Any = boto3.Session().client
        return make(
            service,
            self.aws_region,
            endpoint_url=self.aws_endpoint_url,
            aws_access_key_id=self._description["aws_access_key_id"],
            aws_secret_access_key=self._description["aws_secret_access_key"],
        )

    def url(self, fields: Mapping[str, str]) -> str:
        ids = {name: quote(fields[name], safe="") for name in ("phlo_id", "node_id")}
        url: str = self._description["webhook_url"].format(**ids)
        if fields["action"] in MEMBER_ACTIONS:
            url += f"/members/{quote(fields['member_address'], safe='')}"
        return url

    def event(self, action: str, detail: Mapping[str, str]) -> dict[str, str]:
        """One entry of PutEvents."""
        return {
            "Source": self.event_source,
            "DetailType": f"{action.replace('_', ' ').title()} Requested",
            "Detail": json.dumps(detail),
            "EventBusName": self.event_bus,
        }

    def key_kind(self, entry_point: str, client: str) -> str:
        signed = entry_point == "webhook" and "signing_secret" in self.clients[client]
        return "webhook-id" if signed else "idempotency-key"

    def in_stack_json(self, client: str) -> tuple[str, ...]:
        """Where `.local/stack.json` has the client's credential."""
        (kind,) = self.clients[client]
        return ("callers", client, kind)

    def action_id(self, entry_point: str, client: str, kind: str, key: str) -> str:
        """The Action-Id that the ledger gives a client's key."""
        return transfer_id(Door(entry_point), client, kind, key)

    def record_key(self, action_id: str) -> tuple[str, dict[str, Any]]:
        """The ledger's table, and the key of the record in it."""
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


def masked(header: str, value: str) -> str:
    """A header as it may be shown: of a credential its kind and name."""
    if header.lower() == "webhook-signature":
        return f"v1,{MASKED}"
    if header.lower() != "authorization":
        return value
    kind, _, rest = value.partition(" ")
    if kind != "Basic":
        return f"{kind} {MASKED}"
    name = base64.b64decode(rest).decode(errors="replace").partition(":")[0]
    return f"{kind} {name}:{MASKED}"


def read_segment(segment: Mapping[str, Any]) -> Invocation | None:
    """What a trace says of an invocation; None if it is not one of an entry point."""
    notes = segment.get("annotations", {})
    entry_point = notes.get("door")
    if entry_point not in ENTRY_POINTS:
        return None
    started = segment["start_time"]
    return Invocation(
        trace_id=segment["trace_id"],
        entry_point=entry_point,
        client=notes.get("caller", ""),
        outcome=notes.get("outcome", ""),
        cause=notes.get("cause", ""),
        started=started,
        ended=segment["end_time"],
        fault=_fault(segment),
        steps=[_step(each, started) for each in segment.get("subsegments", [])],
    )


def trace_of(line: str) -> str:
    """The trace that a structured line of the log belongs to; empty for any other line."""
    try:
        said = json.loads(line)
    except ValueError:
        return ""
    return str(said.get("xray_trace_id", "")) if isinstance(said, dict) else ""


def outcome_of(cause: str) -> str:
    """The outcome that an answer of this cause tells; empty if it tells none of its own."""
    if cause not in Cause or cause in IN_PROGRESS:
        return ""
    return str(TABLE[Cause(cause)].outcome or "")


def read_outcome(event: Mapping[str, Any]) -> tuple[str, str]:
    """The Action-Id that an outcome event is about, and the action's name."""
    kind = str(event["detail-type"]).lower()
    for outcome in (*OUTCOMES, "resolved"):
        kind = kind.removesuffix(" " + outcome.replace("_", " "))
    return str(event["detail"]["transfer_id"]), kind.replace(" ", "_")


def read_record(item: Mapping[str, Any]) -> dict[str, Any]:
    """The record as the ledger has it, in plain values; times are in epoch milliseconds."""
    return {
        name: int(value["N"]) if "N" in value else next(iter(value.values()))
        for name, value in item.items()
    }


def duplicate_of(record: Mapping[str, Any]) -> str:
    return str(record.get("alias_of") or "")


def _step(segment: Mapping[str, Any], started: float) -> dict[str, Any]:
    http = segment.get("http", {})
    post = segment.get("namespace") == "remote" and http.get("request", {}).get("method") == "POST"
    name = segment["name"]
    return {
        "name": "POST" if post else _STEPS.get(name, name.replace("_", " ")),
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
