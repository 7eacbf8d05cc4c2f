"""The console's model of what happens in the stack: requests, actions, what Plivo received."""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self
from urllib.parse import unquote

from local.console import stack_access
from local.console.stack_access import IN_PROGRESS, OUTCOMES, Invocation
from local.demo import masked

#: The most requests that are kept of one action: the first one and the latest ones.
REQUESTS_KEPT = 200
#: The fields by which a POST that Plivo received is matched to a request.
CONTENT = ("phlo_id", "node_id", "member_address", "action", "to", "role", "trigger_source")

_SHOWN = (
    *("number", "at", "entry_point", "client", "key", "action_id", "duplicate_of"),
    *("correlation_id", "status", "outcome", "cause", "replayed", "answer"),
)

_PATH = re.compile(
    r"/v1/phlo/(?P<phlo_id>[^/?]+)/multi_party_call/(?P<node_id>[^/?]+)"
    r"(?:/members/(?P<member_address>[^/?]+))?/?"
)


@dataclass(frozen=True, slots=True)
class Received:
    """One POST that the simulator received; ``at`` in epoch seconds."""

    at: float
    content: Mapping[str, str]
    entry: Mapping[str, Any]

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Self | None:
        """Read an entry of the simulator's list; None if it does not request an action."""
        place = _PATH.fullmatch(entry["path"])
        if place is None or entry["method"] != "POST":
            return None
        try:
            fields = json.loads(entry["body"])
        except ValueError:
            fields = {}
        ids = {name: unquote(value) for name, value in place.groupdict("").items()}
        given = {**(fields if isinstance(fields, dict) else {}), **ids}
        content = {name: str(given[name]) for name in CONTENT if given.get(name)}
        return cls(datetime.fromisoformat(entry["at"]).timestamp(), content, entry)

    def is_of(self, fields: Mapping[str, str]) -> bool:
        """Whether it is the POST of a request with these fields."""
        return self.content == {name: fields[name] for name in CONTENT if fields.get(name)}

    def shown(self) -> dict[str, Any]:
        entry = self.entry
        headers = {name: masked(name, value) for name, value in entry["headers"].items()}
        names = ("at", "method", "path", "action", "body", "status", "manner")
        return {**{name: entry[name] for name in names}, "headers": headers}


@dataclass(slots=True, eq=False)
class Request:
    """One request for an action.

    at
        When it was sent, in epoch seconds.
    fields
        Its fields if the console sent it; empty if another program did.
    answer
        The webhook's answer as it was sent; for an event, PutEvents' answer.
    answered_at
        Epoch seconds; for an event, when its invocation was seen. 0 while it is in progress.
    done
        Set once the outcome is known.
    """

    number: int
    at: float
    entry_point: str
    client: str
    action: "Action"
    fields: Mapping[str, str] = field(default_factory=dict)
    key: str = ""
    action_id: str = ""
    duplicate_of: str = ""
    correlation_id: str = ""
    status: int | None = None
    outcome: str = ""
    cause: str = ""
    replayed: bool = False
    answer: Mapping[str, Any] = field(default_factory=dict)
    answered_at: float = 0.0
    invocation: Invocation | None = None
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def kind(self, attempt: int) -> str:
        """What kind of request it was, such as a replay; ``attempt`` is its number if it was one.

        One of open, first, attempt N, replay, duplicate, in progress and refused.
        """
        if not self.answered_at:
            return "open"
        if self.duplicate_of:
            return "duplicate"
        if self.replayed:
            return "replay"
        if self.cause in IN_PROGRESS:
            return "in progress"
        if self.outcome in OUTCOMES:
            return "first" if attempt == 1 else f"attempt {attempt}"
        return "refused"

    def shown(self, kind: str) -> dict[str, Any]:
        seen = self.invocation or Invocation("", self.entry_point)
        return {
            **{name: getattr(self, name) for name in _SHOWN},
            "kind": kind,
            "own": bool(self.fields),
            "steps": seen.steps,
            "milliseconds": seen.milliseconds,
            "trace_id": seen.trace_id,
            "fault": seen.fault,
            "lines": seen.lines,
        }


@dataclass(slots=True, eq=False)
class Action:
    """One action, with every request for it: the first one, replays, duplicates and retries.

    version
        The store's version when it last changed.
    request_count
        How many requests there were, including those that are no longer kept.
    action_ids
        The Action-Ids of all its requests.
    records
        The ledger's records, by Action-Id.
    """

    number: int
    name: str = ""
    version: int = 0
    request_count: int = 0
    requests: list[Request] = field(default_factory=list)
    action_ids: list[str] = field(default_factory=list)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    events: list[Mapping[str, Any]] = field(default_factory=list)

    def add(self, request: Request) -> Request | None:
        """Add a request; returns the one that is dropped to make room, if any."""
        self.request_count += 1
        self.requests.append(request)
        self.requests.sort(key=lambda each: each.at)
        return self.requests.pop(1) if len(self.requests) > REQUESTS_KEPT else None

    def join(self, other: "Action") -> None:
        """Take over everything that ``other`` has."""
        count = self.request_count + other.request_count
        for request in other.requests:
            request.action = self
            self.add(request)
        self.request_count = count
        self.name = self.name or other.name
        self.action_ids += [one for one in other.action_ids if one not in self.action_ids]
        self.records |= other.records
        self.received += other.received
        self.events += other.events

    def kinds(self) -> list[tuple[str, Request]]:
        """Each request with its kind, oldest first."""
        found, attempt = [], 1
        for request in self.requests:
            kind = request.kind(attempt)
            attempt += kind in ("first", f"attempt {attempt}")
            found.append((kind, request))
        return found

    @property
    def root_id(self) -> str:
        """The first action's id, which the duplicates refer to."""
        pointed = [one.duplicate_of for one in self.requests]
        pointed += [stack_access.duplicate_of(record) for record in self.records.values()]
        return next(filter(None, [*pointed, *self.action_ids]), "")

    @property
    def record(self) -> dict[str, Any]:
        return self.records.get(self.root_id, {})

    @property
    def outcome(self) -> str:
        """The recorded outcome; otherwise that of the last attempt, ``open`` or ``refused``."""
        state = self.record.get("state", "")
        if state in OUTCOMES:
            return str(state)
        own = [one for one in self.requests if one.outcome in OUTCOMES and not one.replayed]
        if own:
            return own[-1].outcome
        waiting = not all(one.answered_at for one in self.requests)
        return "open" if state or waiting or self.events else "refused"

    @property
    def cause(self) -> str:
        if self.record.get("cause"):
            return str(self.record["cause"])
        return next((one.cause for one in reversed(self.requests) if one.cause), "")

    @property
    def attempt(self) -> Invocation | None:
        """The last invocation that posted; if none did, the last invocation."""
        invocations = [one.invocation for one in self.requests if one.invocation is not None]
        posted = [one for one in invocations if one.posts()]
        return next(reversed(posted or invocations), None)

    @property
    def sent(self) -> int:
        """How many POSTs were made for it, according to the traces or the simulator."""
        traced = sum(len(one.invocation.posts()) for one in self.requests if one.invocation)
        return max(traced, len(self.received))

    def is_one_of(self, filters: Mapping[str, str]) -> bool:
        """Whether it matches ``filters``: outcome, entry_point and client, each optional."""
        outcome = filters.get("outcome")
        if outcome and outcome != self.outcome:
            return False
        return all(
            any(getattr(request, name) == wanted for request in self.requests)
            for name in ("entry_point", "client")
            if (wanted := filters.get(name))
        )

    def summary(self) -> dict[str, Any]:
        """The action in the page's list, as JSON values."""
        kinds = [kind for kind, _ in self.kinds()]
        attempt = self.attempt
        return {
            "number": self.number,
            "version": self.version,
            "at": self.requests[0].at if self.requests else None,
            "name": self.name,
            "outcome": self.outcome,
            "cause": self.cause,
            "entry_points": sorted({one.entry_point for one in self.requests}),
            "clients": sorted({one.client for one in self.requests}),
            "own": any(one.fields for one in self.requests),
            "request_count": self.request_count,
            "sent": self.sent,
            "replays": kinds.count("replay"),
            "duplicates": kinds.count("duplicate"),
            "milliseconds": attempt.milliseconds if attempt else None,
        }

    def detail(self, shown: int) -> dict[str, Any]:
        """The action in full, with its first request and up to ``shown`` of the latest ones."""
        kinds = self.kinds()
        latest = [*kinds[:1], *kinds[1:][-shown:]]
        attempt = self.attempt or Invocation("", "")
        return {
            **self.summary(),
            "action_id": self.root_id,
            "steps": attempt.steps,
            "trace_id": attempt.trace_id,
            "record": self.record,
            "requests": [request.shown(kind) for kind, request in latest],
            "more": len(kinds) - len(latest),
            "received": [one.shown() for one in self.received],
            "events": self.events,
        }
