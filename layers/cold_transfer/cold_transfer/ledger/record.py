"""A K item of the ledger: the record of one request."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from cold_transfer.action import Verdict
from cold_transfer.causes import Cause, Outcome, Resolution

#: An attribute as DynamoDB's API has it: {"S": text} or {"N": digits}.
Attribute = Mapping[str, Any]
Item = Mapping[str, Attribute]


class State(StrEnum):
    """The state of a request. The values are stored, and outlive a version of the code."""

    CLAIMED = "claimed"
    SENDING = "sending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"
    DUPLICATE = "duplicate"


#: States that the attempt itself can still change.
OPEN = frozenset({State.CLAIMED, State.SENDING})

#: How many links of a chain of duplicates are followed. Even two are rare; the bound guards
#: against a loop, which no attempt writes.
LONGEST_CHAIN = 8

#: For a cause that a newer version wrote and this one does not know: what it counts as.
_CAUSE_OF = {
    State.ACCEPTED: Cause.ACCEPTED,
    State.REJECTED: Cause.REJECTED,
    State.UNKNOWN: Cause.OUTCOME_UNKNOWN,
    State.NOT_SENT: Cause.DEPENDENCY_UNAVAILABLE,
}


class Record(NamedTuple):
    """One K item.

    state
        None if a newer version wrote a state that this one does not know: such a record counts as
        existing, and its request is never sent. See ``as_unknown``.
    lease_until, first_seen, settled_at, requested_at, resolved_at
        Epoch milliseconds.
    attempt
        How often the request was claimed; with ``owner`` it identifies one attempt.
    action
        The action's name, as text: a newer version may know more names.
    delivery, reference
        See ``ActionRequest``; of the latest attempt, and of the latest with a reference.
    """

    action_id: str
    action: str
    state: State | None
    owner: str
    attempt: int
    fingerprint: str
    fingerprint_version: int
    first_seen: int
    lease_until: int
    settled_at: int
    requested_at: int | None
    delivery: str
    reference: str
    client: str
    entry_point: str
    duplicate_of: str | None
    cause: str
    plivo_status: int | None
    plivo_retry_after: int | None
    api_id: str
    error: str
    resolution: Resolution | None
    resolved_by: str
    resolved_at: int
    note: str

    @classmethod
    def from_item(cls, item: Item) -> "Record":
        def text(name: str) -> str:
            return str(item[name]["S"]) if name in item else ""

        def number(name: str) -> int | None:
            return int(item[name]["N"]) if name in item else None

        state, resolution = text("state"), text("resolution")
        return cls(
            action_id=text("pk").removeprefix("K#"),
            action=text("action"),
            state=State(state) if state in State else None,
            owner=text("owner"),
            attempt=number("attempt") or 0,
            fingerprint=text("fp"),
            fingerprint_version=number("fp_version") or 0,
            first_seen=number("first_seen") or 0,
            lease_until=number("lease_until") or 0,
            settled_at=number("settled_at") or 0,
            requested_at=number("requested_at"),
            delivery=text("delivery"),
            reference=text("reference"),
            client=text("client"),
            entry_point=text("entry_point"),
            duplicate_of=text("duplicate_of") or None,
            cause=text("cause"),
            plivo_status=number("plivo_status"),
            plivo_retry_after=number("plivo_retry_after"),
            api_id=text("api_id"),
            error=text("error"),
            resolution=Resolution(resolution) if resolution in Resolution else None,
            resolved_by=text("resolved_by"),
            resolved_at=number("resolved_at") or 0,
            note=text("note"),
        )

    def lease_is_over(self, now: int) -> bool:
        """Whether the record is open and its attempt must have ended by ``now`` (epoch ms)."""
        return self.state in OPEN and self.lease_until < now

    def as_unknown(self) -> "Record":
        """The record with an unknown outcome, settled when it was last known to be open."""
        return self._replace(
            state=State.UNKNOWN,
            cause=Cause.OUTCOME_UNKNOWN,
            plivo_retry_after=None,
            settled_at=max(self.first_seen, self.lease_until, self.settled_at),
        )

    def nothing_happened(self) -> bool:
        """Whether it changed nothing at Plivo, according to Plivo, the attempt or a person."""
        if self.state is State.UNKNOWN:
            return self.resolution is Resolution.DID_NOT_HAPPEN
        return self.state in (State.NOT_SENT, State.REJECTED)

    def outcome(self) -> Outcome | None:
        """The outcome; None if the record is open, a duplicate or in a state not known here."""
        return Outcome(self.state) if self.state in _CAUSE_OF else None

    def verdict(self) -> Verdict:
        """The verdict as first answered. Only for a record with an outcome."""
        if self.state not in _CAUSE_OF:
            raise AssertionError(f"a record in state {self.state} has no verdict")
        return Verdict(
            Cause(self.cause) if self.cause in Cause else _CAUSE_OF[self.state],
            self.api_id,
            self.error,
            self.plivo_status,
            self.plivo_retry_after,
        )


def answering(record: Record, get: Callable[[str], Record | None]) -> Record:
    """The record that the answer of ``record`` comes from; ``get`` reads one by its Action-Id.

    This is the record itself, or for a duplicate the end of its chain: the first action may have
    become a duplicate itself after it was not sent. If the end is gone, or there is none, it counts
    as an unknown outcome of long ago.
    """
    for _ in range(LONGEST_CHAIN):
        if record.duplicate_of is None:
            return record
        record = get(record.duplicate_of) or _gone(record.duplicate_of)
    return _gone(record.action_id)


def _gone(action_id: str) -> Record:
    return Record.from_item({"pk": {"S": f"K#{action_id}"}}).as_unknown()
