"""The ledger: one DynamoDB record per key. It guarantees that an action is sent at most once.

A request is claimed, deduplicated, marked as sending, sent and settled::

    claim         K#<action id>  absent | not_sent -> claimed
    deduplicate   C#<content>    the one action with this content that may be in progress
    mark sending  K              claimed -> sending: the fence; not confirmed, no POST
    settle        K              sending -> accepted | rejected | unknown, or not_sent on proof

If a step returns, the attempt continues. To end it, a step raises ``Settled`` with the answer that
the request already has, or another error that says why there is none.

Every write is a conditional write of one item. Each attempt has a random owner, so that an attempt
whose reply was lost recognises its own write in the item that a failed condition returns
(``ReturnValuesOnConditionCheckFailure=ALL_OLD``). A claim takes over from a specific owner. If the
network delivers it twice, the second delivery finds another owner and cannot revive an attempt that
was fenced in between.

No record ever goes from sending or unknown back to claimed. Only TTL deletes records, and no
condition reads the TTL.
"""

import secrets
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from cold_transfer.action import FINGERPRINT_VERSION, ActionRequest, Answer, Settled, Verdict
from cold_transfer.causes import Cause
from cold_transfer.errors import InProgress, KeyReused
from cold_transfer.ledger.record import OPEN, Item, Record, State, answering
from cold_transfer.ledger.table import Table, Value

#: How long the lease of a record in state sending outlasts its invocation. Covers clock skew
#: between two machines, and a last write still in transit.
LEASE_MARGIN_MS = 10_000

#: The most rounds of a decision; each further round means that the item changed in between. The
#: rival that changed it made progress, so running out of rounds means "in progress".
ROUNDS = 4

#: How many earlier actions with the same content the content lock remembers: the last one that was
#: sent, and, if its outcome is unknown and may prove to be "did not happen", those before it.
REMEMBERED = 4

#: The partitions of each sparse index, so that one does not hold all open actions of a busy stack.
SHARDS = tuple("0123456789abcdef")

_RETRY_SOON = 1
_RETRY_LATER = 5


class Clock(Protocol):
    def __call__(self) -> int:
        """Now, in epoch milliseconds."""


class Claim(NamedTuple):
    """One attempt's right to send one request."""

    action_id: str
    owner: str
    attempt: int
    fingerprint: str
    first_seen: int
    requested_at: int | None
    delivery: str = ""


class LedgerPolicy(NamedTuple):
    """The ledger's windows and retention.

    duplicate_window, unknown_window
        Milliseconds for which the same content under another key is a duplicate, after the action
        was accepted or became unknown.
    record_seconds
        How long a settled record is kept.
    """

    duplicate_window: int
    unknown_window: int
    record_seconds: int


class SettleFailed(Exception):
    """The record could not be settled; the reconciler will make it unknown."""


class Ledger:
    """The rules of the ledger, on one table.

    urgent
        The same table through a client with shorter time-outs, for a settle that failed before.
    abandoned
        Called with each record that this ledger settles because its attempt was abandoned.

    Every method raises ``LedgerUnavailable`` if DynamoDB cannot be reached: see ``Table``.
    """

    def __init__(  # noqa: PLR0913  a composition root calls it, once
        self,
        table: Table,
        policy: LedgerPolicy,
        clock: Clock,
        *,
        urgent: Table | None = None,
        abandoned: Callable[[Record], None] = lambda _: None,
        new_owner: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self._table = table
        self._urgent = urgent or table
        self._policy = policy
        self._clock = clock
        self._abandoned = abandoned
        # random for every attempt: asynchronous retries share a Lambda request id
        self._new_owner = new_owner

    def claim(self, request: ActionRequest, lease_until: int) -> Claim:
        """Claim ``request`` until ``lease_until`` (epoch ms).

        Raises
        ------
        Settled
            With the answer that the request already has.
        KeyReused
            The key was used for other content.
        InProgress
            Another attempt at this request is in progress, or rivals were faster in every round.
        """
        claim = Claim(
            request.action_id(),
            self._new_owner(),
            1,
            request.action.fingerprint(),
            # so that a request that waited for a function still counts as a duplicate
            self._clock() - request.waited,
            request.requested_at,
            request.delivery,
        )
        before: Record | None = None
        for _ in range(ROUNDS):
            done, item = (
                self._claim_first(claim, request, lease_until)
                if before is None
                else self._claim_again(claim, before, request, lease_until)
            )
            if done or _is_own(item, claim, State.CLAIMED):
                return claim
            before = self._present(item, claim)
            if before is None:  # TTL deleted it
                continue
            if not _may_be_claimed(before):
                raise self._stop(before, claim)
            claim = claim._replace(
                owner=self._new_owner(),
                attempt=before.attempt + 1,
                first_seen=min(claim.first_seen, before.first_seen),
                requested_at=_earlier(claim.requested_at, before.requested_at),
            )
        raise InProgress(claim.action_id, _RETRY_SOON)

    def deduplicate(self, claim: Claim) -> None:
        """Make ``claim`` the only action with its content, or yield to the one that is.

        Raises
        ------
        Settled
            With the answer of the other key's action: this request is now permanently its
            duplicate. Or with the request's own answer, if the claim was fenced.
        InProgress
            Another key's action with this content is in progress, or rivals were faster in every
            round: this request is now not_sent. Or another attempt took the request over.
        """
        rival: str | None = None
        seen: Item | None = None
        last: tuple[str, ...] = ()
        for _ in range(ROUNDS):
            done, seen = self._take_content_lock(claim, seen, last)
            if done or (seen is not None and seen["owner"]["S"] == claim.owner):
                return
            rival = str(seen["action"]["S"]) if seen is not None else None
            other, last = self._in_the_way(claim, seen)
            if other is None:
                continue
            if other.state in (State.ACCEPTED, State.UNKNOWN):
                raise self._record_duplicate(claim, other)
            raise self._step_aside(claim, other.action_id, self._wait_for(other))
        raise self._step_aside(claim, rival, _RETRY_SOON)

    def mark_sending(self, claim: Claim, lease_until: int) -> None:
        """Claimed -> sending, until ``lease_until`` (epoch ms): the last write before the POST.

        Nothing may be sent before this returns.

        Raises
        ------
        Settled
            With the request's answer: this attempt took too long and was fenced.
        InProgress
            Another attempt took the request over, or its record is gone.
        """
        done, item = self._table.update_if(
            f"K#{claim.action_id}",
            "SET #state = :sending, #lease_until = :lease",
            "#owner = :owner AND #state = :claimed",
            sending=State.SENDING,
            claimed=State.CLAIMED,
            owner=claim.owner,
            lease=lease_until,
        )
        if not done and not _is_own(item, claim, State.SENDING):
            raise self._overtaken(item, claim)

    def settle(self, claim: Claim, verdict: Verdict, *, urgent: bool = False) -> None:
        """Record the verdict; ``urgent`` uses the other client, which has its own connections.

        ``not_sent`` guarantees that nothing was executed. It is the only verdict that allows
        another attempt.

        Raises
        ------
        Settled
            Nothing was sent, and the request has this answer: it became a duplicate of another
            key's action, or the next attempt took it over.
        SettleFailed
            It was sent, but the record belongs to another attempt.
        InProgress
            Nothing was sent, and another attempt is in progress.
        """
        outcome = State(verdict.outcome)
        # Only the same owner may correct an unknown that the reconciler has written meanwhile.
        states = "#state IN (:sending, :unknown)"
        if outcome is State.NOT_SENT:
            states = "#state IN (:sending, :unknown, :claimed)"
        if outcome is State.UNKNOWN:  # otherwise a resolved one would be listed again
            states += " AND attribute_not_exists(#resolution)"
        optional = {
            "plivo_status": verdict.plivo_status,
            "plivo_retry_after": verdict.plivo_retry_after,
            "unresolved": claim.action_id[0] if outcome is State.UNKNOWN else None,
        }
        given = {name: value for name, value in optional.items() if value is not None}
        absent = [f"#{name}" for name in optional if name not in given]
        now = self._clock()
        done, item = (self._urgent if urgent else self._table).update_if(
            f"K#{claim.action_id}",
            "SET #state = :state, #settled_at = :now, #ttl = :ttl, #cause = :cause,"
            " #api_id = :api_id, #error = :error"
            + "".join(f", #{name} = :{name}" for name in given)
            + f" REMOVE {', '.join(['#open', '#lease_until', *absent])}",
            f"#owner = :owner AND {states}",
            state=outcome,
            sending=State.SENDING,
            unknown=State.UNKNOWN,
            claimed=State.CLAIMED,
            owner=claim.owner,
            now=now,
            ttl=self._ttl(now),
            cause=verdict.cause,
            api_id=verdict.api_id,
            error=verdict.error,
            **given,
        )
        if done or _is_own(item, claim, outcome):
            return
        if outcome is State.NOT_SENT:
            raise self._overtaken(item, claim)
        state = Record.from_item(item).state if item is not None else None
        raise SettleFailed(f"{claim.action_id}: {outcome} not recorded, found {state}")

    def look(self, action_id: str) -> tuple[Record, Record] | None:
        """Look up an action: its own record, and the record that its answer comes from.

        The two differ only for a duplicate. A record whose lease is over is settled first.

        Returns
        -------
        tuple[Record, Record] | None
            None if there is no such action.
        """
        record = self._read(action_id)
        return None if record is None else (record, answering(record, self._read))

    def overdue(self) -> Iterator[str]:
        """Action-Ids of open records whose lease is over, from an eventually consistent index."""
        return self._nominated(
            "open-index", "#open = :shard AND #lease_until < :now", now=self._clock()
        )

    def unresolved(self) -> Iterator[str]:
        """Action-Ids of unresolved unknown outcomes, from an eventually consistent index."""
        return self._nominated("unresolved-index", "#unresolved = :shard")

    def settle_overdue(self, action_id: str) -> Record | None:
        """Settle the request if its attempt was abandoned: sending -> unknown, claimed -> not_sent.

        Returns
        -------
        Record | None
            The record as settled by this call; None if it was not overdue.
        """
        record = self._get(action_id)
        if record is None or not record.lease_is_over(self._clock()):
            return None
        done, settled = self._settle_abandoned(record)
        return settled if done else None

    # --- claims --------------------------------------------------------------------------------

    def _claim_first(
        self, claim: Claim, request: ActionRequest, lease_until: int
    ) -> tuple[bool, Item | None]:
        """Create the record, if there is none."""
        item: dict[str, Value] = {
            "pk": f"K#{claim.action_id}",
            "action_id": claim.action_id,
            "action": request.action.name,
            "state": State.CLAIMED,
            "owner": claim.owner,
            "attempt": claim.attempt,
            "lease_until": lease_until,
            "open": claim.action_id[0],
            "fp": claim.fingerprint,
            "fp_version": FINGERPRINT_VERSION,
            "first_seen": claim.first_seen,
            "client": request.client,
            "entry_point": request.entry_point,
        }
        if claim.requested_at is not None:
            item["requested_at"] = claim.requested_at
        if claim.delivery:
            item["delivery"] = claim.delivery
        if request.reference:
            item["reference"] = request.reference
        return self._table.put_if(item, _ABSENT)

    def _claim_again(
        self, claim: Claim, before: Record, request: ActionRequest, lease_until: int
    ) -> tuple[bool, Item | None]:
        """Take over from ``before``, which is not_sent; only a claim changes that state."""
        requested_at = claim.requested_at
        return self._table.update_if(
            f"K#{claim.action_id}",
            "SET #state = :claimed, #owner = :owner, #attempt = :attempt, #lease_until = :lease,"
            " #open = :open, #first_seen = :seen, #client = :client, #entry_point = :entry_point"
            + ("" if requested_at is None else ", #requested_at = :requested_at")
            + (", #reference = :reference" if request.reference else "")
            + (", #delivery = :delivery REMOVE" if claim.delivery else " REMOVE #delivery,")
            + " #settled_at, #cause, #plivo_status, #plivo_retry_after, #api_id, #error, #ttl,"
            " #resolution, #resolved_by, #resolved_at, #note",
            # and the state: another version may have changed it under the same owner
            "#owner = :before AND #state = :not_sent",
            claimed=State.CLAIMED,
            not_sent=State.NOT_SENT,
            owner=claim.owner,
            before=before.owner,
            attempt=claim.attempt,
            lease=lease_until,
            open=claim.action_id[0],
            seen=claim.first_seen,
            client=request.client,
            entry_point=request.entry_point,
            requested_at=requested_at,
            delivery=claim.delivery,
            reference=request.reference,
        )

    # --- decisions -----------------------------------------------------------------------------

    def _present(self, item: Item | None, claim: Claim) -> Record | None:
        """The record that ``claim`` found under its key, settled if its lease is over."""
        if item is None:
            return None
        found = Record.from_item(item)
        # A fingerprint of another version cannot be compared. Its record counts as the same
        # request, which is the safe side: nothing is sent.
        if (
            found.fingerprint_version == FINGERPRINT_VERSION
            and found.fingerprint != claim.fingerprint
        ):
            raise KeyReused(found.action_id)
        return self._settled_if_over(found)

    def _stop(self, record: Record, claim: Claim) -> Settled | InProgress:
        """Why ``claim`` has to stop at ``record``, which belongs to another attempt."""
        end = answering(record, self._read)
        first = end.action_id if record.duplicate_of is not None else None
        if end.outcome() is None:
            alive = end.state in OPEN and not end.lease_is_over(self._clock())
            return InProgress(
                record.action_id,
                self._wait_for(end),
                duplicate_of=first,
                same_delivery=alive
                and first is None
                and bool(claim.delivery)
                and end.delivery == claim.delivery,
            )
        return Settled(
            Answer(
                record.action_id,
                end.verdict(),
                replayed=True,
                duplicate_of=first,
                resolution=end.resolution,
            )
        )

    def _overtaken(self, item: Item | None, claim: Claim) -> Settled | InProgress:
        """Why a claim has to stop that no longer holds its request's record."""
        record = self._present(item, claim)
        if record is None:
            return InProgress(claim.action_id, _RETRY_SOON)
        return self._stop(record, claim)

    def _in_the_way(self, claim: Claim, lock: Item | None) -> tuple[Record | None, tuple[str, ...]]:
        """The other key's action that ``claim`` has to yield to, if there is one.

        Otherwise the Action-Ids to remember: those sent, or possibly sent, whose window may still
        include a request first seen earlier than this one.
        """
        if lock is None:
            return None, ()
        known = (str(lock["action"]["S"]), *_last_of(lock))
        for place, action_id in enumerate(known, 1):
            found = self.look(action_id)
            # for a duplicate, its first action counts; if that is this request, it was not sent
            if found is None or found[1].action_id == claim.action_id:
                continue
            other = found[1]
            if other.nothing_happened():
                continue
            if not self._is_past(other, claim.first_seen):
                return other, ()
            # It was sent after the windows of those before it had ended. If it was accepted, they
            # no longer matter; if it is unknown, it may prove not to have happened.
            before = known[place:] if other.state is State.UNKNOWN else ()
            return None, (other.action_id, *before)[:REMEMBERED]
        return None, ()

    def _step_aside(self, claim: Claim, rival: str | None, retry_after: int) -> InProgress:
        self.settle(claim, Verdict(Cause.DUPLICATE_IN_PROGRESS))
        return InProgress(claim.action_id, retry_after, duplicate_of=rival)

    def _is_past(self, other: Record, first_seen: int) -> bool:
        """Whether the window of ``other``, if it was or may have been sent, had ended by then."""
        if other.state is State.ACCEPTED:
            return first_seen - other.settled_at > self._policy.duplicate_window
        if other.state is State.UNKNOWN:
            return first_seen - other.settled_at > self._policy.unknown_window
        return False

    def _read(self, action_id: str) -> Record | None:
        return self._settled_if_over(self._get(action_id))

    def _settled_if_over(self, record: Record | None) -> Record | None:
        """The record, settled first if it is open and its lease is over.

        A record whose state this version does not know becomes unknown when its lease is over.
        """
        for _ in range(ROUNDS):
            now = self._clock()
            if record is not None and record.state is None and record.lease_until < now:
                return record.as_unknown()
            if record is None or not record.lease_is_over(now):
                return record
            record = self._settle_abandoned(record)[1]
        return record

    def _settle_abandoned(self, record: Record) -> tuple[bool, Record | None]:
        sending = record.state is State.SENDING
        verdict = Verdict(Cause.ABANDONED if sending else Cause.OUT_OF_TIME)
        now = self._clock()
        done, item = self._table.update_if(
            f"K#{record.action_id}",
            "SET #state = :state, #settled_at = :now, #ttl = :ttl, #cause = :cause"
            + (", #unresolved = :shard" if sending else "")
            + " REMOVE #open, #lease_until",
            "#owner = :owner AND #state = :seen",
            "ALL_NEW",
            shard=record.action_id[0],
            state=State(verdict.outcome),
            now=now,
            ttl=self._ttl(now),
            cause=verdict.cause,
            owner=record.owner,
            seen=record.state,
        )
        settled = Record.from_item(item) if item is not None else None
        if settled is None:
            return False, None
        # Settling an abandoned attempt has no owner token. If the reply is lost, the timestamp
        # identifies our write. Two rivals in the same millisecond count it twice, which is better
        # than not at all.
        own = (record.owner, State(verdict.outcome), now)
        if done or (settled.owner, settled.state, settled.settled_at) == own:
            self._abandoned(settled)
            return True, settled
        return False, settled

    def _record_duplicate(self, claim: Claim, first: Record) -> Settled | InProgress:
        now = self._clock()
        done, item = self._table.update_if(
            f"K#{claim.action_id}",
            "SET #state = :duplicate, #duplicate_of = :first, #settled_at = :now, #ttl = :ttl"
            " REMOVE #open, #lease_until",
            "#owner = :owner AND #state = :claimed",
            duplicate=State.DUPLICATE,
            first=first.action_id,
            now=now,
            ttl=self._ttl(now),
            owner=claim.owner,
            claimed=State.CLAIMED,
        )
        if not done:
            return self._overtaken(item, claim)
        return Settled(
            Answer(
                claim.action_id,
                first.verdict(),
                replayed=True,
                duplicate_of=first.action_id,
                resolution=first.resolution,
            )
        )

    def _wait_for(self, record: Record) -> int:
        """Seconds after which to ask again about ``record``, which is open."""
        # Most actions take well under a second; an abandoned one is settled when its lease ends.
        left = (record.lease_until - self._clock()) // 1000 + 1
        return max(_RETRY_SOON, min(_RETRY_LATER, left))

    def _ttl(self, now: int) -> int:
        return now // 1000 + self._policy.record_seconds

    def _get(self, action_id: str) -> Record | None:
        item = self._table.get(f"K#{action_id}")
        return Record.from_item(item) if item is not None else None

    def _nominated(self, index: str, condition: str, **values: int) -> Iterator[str]:
        """Action-Ids in a sparse index; ``condition`` selects from the partition ``:shard``."""
        for shard in SHARDS:
            for pk in self._table.query(index, condition, shard=shard, **values):
                yield pk.removeprefix("K#")

    def _take_content_lock(
        self, claim: Claim, seen: Item | None, last: tuple[str, ...]
    ) -> tuple[bool, Item | None]:
        """Give the claim the content lock if it is still as ``seen`` (None: absent).

        ``last`` is the Action-Ids for the lock to remember.
        """
        item: dict[str, Value] = {
            "pk": f"C#{claim.fingerprint}",
            "action": claim.action_id,
            "owner": claim.owner,
            "ttl": self._ttl(self._clock()),
        }
        if last:
            item["last"] = " ".join(last)
        if seen is None:
            return self._table.put_if(item, _ABSENT)
        return self._table.put_if(item, "#owner = :before", before=str(seen["owner"]["S"]))


_ABSENT = "attribute_not_exists(pk)"


def _is_own(item: Item | None, claim: Claim, state: State) -> bool:
    """Whether ``item`` shows that the claim's own write to ``state`` succeeded."""
    if item is None:
        return False
    found = Record.from_item(item)
    return found.owner == claim.owner and found.state is state


def _earlier(one: int | None, other: int | None) -> int | None:
    return min((at for at in (one, other) if at is not None), default=None)


def _may_be_claimed(record: Record) -> bool:
    return record.state is State.NOT_SENT and record.fingerprint_version == FINGERPRINT_VERSION


def _last_of(lock: Item) -> list[str]:
    return str(lock["last"]["S"]).split() if "last" in lock else []
