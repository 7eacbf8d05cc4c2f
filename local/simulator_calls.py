"""The Plivo simulator's Multi-Party Calls: their members and a feed of changes."""

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

#: The most calls, members of a call and changes that are kept. The oldest are dropped.
CALLS = 500
MEMBERS = 20
CHANGES = 5_000
LONGEST_WAIT_SECONDS = 10.0

type Step = tuple[str, str]


def now() -> str:
    """RFC 3339, UTC, with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Params:
    """Plivo's parameters of one action, on a call or on one of its members."""

    phlo_id: str
    node_id: str
    action: str
    to: str = ""
    role: str = ""
    trigger_source: str = ""
    member_address: str = ""

    @property
    def named(self) -> str:
        """The member that the action is for."""
        return self.member_address or self.trigger_source


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the feed.

    action
        The action that caused it; empty for a call made by POST /_calls.
    change
        opened, joined, left, on_hold, off_hold, talk_begun, talk_over or ended.
    address
        The member's; empty if it concerns the whole call.
    """

    sequence: int
    at: str
    call_id: int
    action: str
    change: str
    address: str


@dataclass(slots=True)
class Member:
    address: str
    role: str
    joined_at: str
    on_hold: bool = False


@dataclass(slots=True)
class Call:
    """One run of a PHLO's Multi-Party Call node. ``join`` and ``act`` are generators of changes.

    private_talk
        The agent who began a warm transfer and the agent dialled, while they talk in private.
    changed
        The sequence number of its last change.
    """

    call_id: int
    phlo_id: str
    node_id: str
    members: dict[str, Member] = field(default_factory=dict)
    private_talk: tuple[str, str] | None = None
    changed: int = 0

    @property
    def state(self) -> str:
        return "live" if self.members else "ended"

    def is_on(self, phlo_id: str, node_id: str) -> bool:
        ours, theirs = (self.phlo_id, self.node_id), (phlo_id, node_id)
        return [one.lower() for one in ours] == [one.lower() for one in theirs]

    def shown(self) -> dict[str, Any]:
        """The call as JSON values."""
        members = [asdict(member) for member in self.members.values()]
        return {**asdict(self), "members": members, "state": self.state}

    def join(self, address: str, role: str) -> Iterator[Step]:
        """Add a member; if there are too many, the first one leaves."""
        if len(self.members) >= MEMBERS:
            yield from self._leave(next(iter(self.members)))
        self.members[address] = Member(address, role, now())
        yield "joined", address

    def act(self, params: Params) -> Iterator[Step]:
        """Apply an action. The member that it is for must be on the call, unless it is ``call``."""
        match params.action:
            case "cold_transfer":
                yield from self._leave(params.named)
                yield from self.join(params.to, params.role)
            case "warm_transfer":
                yield from self.join(params.to, params.role)
                self.private_talk = (params.named, params.to)
                yield "talk_begun", ""
                yield from self._hold_customers(on_hold=True)
            case "call":
                yield from self.join(params.to, params.role)
            case "abort_transfer" if self.private_talk and params.named == self.private_talk[0]:
                yield from self._leave(self.private_talk[1])
            case "resume_call" if self.private_talk and params.named in self.private_talk:
                yield from self._end_talk()
            case "hold" | "unhold":
                yield from self._hold(self.members[params.named], on_hold=params.action == "hold")
            case "hangup" | "voicemail_drop":
                yield from self._leave(params.named)
        if not self.members:
            yield "ended", ""

    def _leave(self, address: str) -> Iterator[Step]:
        del self.members[address]
        yield "left", address
        if self.private_talk and address in self.private_talk:
            yield from self._end_talk()

    def _end_talk(self) -> Iterator[Step]:
        self.private_talk = None
        yield "talk_over", ""
        yield from self._hold_customers(on_hold=False)

    def _hold_customers(self, *, on_hold: bool) -> Iterator[Step]:
        for member in self.members.values():
            if member.role == "customer" and member.address not in (self.private_talk or ()):
                yield from self._hold(member, on_hold=on_hold)

    def _hold(self, member: Member, *, on_hold: bool) -> Iterator[Step]:
        if member.on_hold != on_hold:
            member.on_hold = on_hold
            yield "on_hold" if on_hold else "off_hold", member.address


class Calls:
    """All calls, and the feed of their changes. Safe to use from several threads."""

    def __init__(self) -> None:
        self._calls: dict[int, Call] = {}
        self._changes: deque[Change] = deque(maxlen=CHANGES)
        self._opened = 0
        self._sequence = 0
        self._changed = threading.Condition()

    def make(self, phlo_id: str, node_id: str) -> dict[str, Any]:
        """Make a new call with a customer and an agent, who have invented addresses."""
        with self._changed:
            call = self._open(phlo_id, node_id, "")
            number = call.call_id % 10_000
            for role, area in (("customer", "+1555020"), ("agent", "+1555030")):
                self._note(call, "", call.join(f"{area}{number:04d}", role))
            return call.shown()

    def act(self, params: Params, *, strict: bool) -> str:
        """Apply the action to the node's latest live call with the named member.

        For ``call``, ``trigger_source`` is a caller id and need not be a member. If the member is
        on no call, it depends on ``strict``. If it is set, the action is refused. Otherwise an
        action that dials opens a call with that agent, and any other changes nothing.

        Returns
        -------
        str
            Empty, or for a refusal the name of the parameter that is unknown.
        """
        with self._changed:
            live = [
                call
                for call in reversed(self._calls.values())
                if call.members and call.is_on(params.phlo_id, params.node_id)
            ]
            having = [call for call in live if params.named in call.members]
            if params.action == "call":
                having += live
            if having:
                call = having[0]
            elif strict:
                if not live:
                    return "node_id"
                return "member_address" if params.member_address else "trigger_source"
            elif params.member_address:
                return ""
            else:
                call = self._open(params.phlo_id, params.node_id, params.action)
                if params.action != "call":
                    self._note(call, params.action, call.join(params.named, "agent"))
            self._note(call, params.action, call.act(params))
            return ""

    def seen(self, since: int = 0, wait: float = 0.0) -> dict[str, Any]:
        """The calls that changed after change number ``since``, and the changes, oldest first.

        Waits up to ``wait`` seconds for a change. A ``since`` in the future is an earlier
        simulator's, so everything counts as new.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._sequence != since, min(wait, LONGEST_WAIT_SECONDS))
            if since > self._sequence:
                since = 0
            return {
                "sequence": self._sequence,
                "calls": [call.shown() for call in self._calls.values() if call.changed > since],
                "changes": [asdict(one) for one in self._changes if one.sequence > since],
            }

    def _open(self, phlo_id: str, node_id: str, action: str) -> Call:
        self._opened += 1
        call = self._calls[self._opened] = Call(self._opened, phlo_id, node_id)
        if len(self._calls) > CALLS:
            del self._calls[next(iter(self._calls))]
        self._note(call, action, iter([("opened", "")]))
        return call

    def _note(self, call: Call, action: str, steps: Iterator[Step]) -> None:
        for change, address in steps:
            self._sequence += 1
            call.changed = self._sequence
            self._changes.append(
                Change(self._sequence, now(), call.call_id, action, change, address)
            )
        self._changed.notify_all()
