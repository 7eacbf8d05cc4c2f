"""The rules that no run may break.

They do not use the ledger's code: they are about the POSTs that were sent, the items in the table,
and the answers that clients got.
"""

from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING, Any

from cold_transfer.action import Action, ActionRequest, Answer, EntryPoint, Verdict
from cold_transfer.causes import Outcome, Resolution
from cold_transfer.deadline import Deadline
from cold_transfer.errors import InProgress, KeyReused, LedgerUnavailable, OutOfTime
from cold_transfer.ledger.ledger import LEASE_MARGIN_MS, ROUNDS
from cold_transfer.ledger.record import OPEN, Record, State
from cold_transfer.service import SEND_SECONDS
from cold_transfer.settling import SETTLE_SECONDS
from tests.explorer.actors import Call
from tests.explorer.processes import Attempt, Lookup, Process, Sent, canonical
from tests.support.ledgers import POLICY

if TYPE_CHECKING:
    from tests.explorer.world import World

RECORD_MS = POLICY.record_seconds * 1000

KEY = "one POST per key"
CONTENT = "one POST per content in its window"
LOST = "no request is lost"
REST = "no record stays open"
ANSWER = "no answer contradicts the record"
FORWARD = "records go forward only"
HOLDER = "only the holder of its content is sent"
FREE = "nothing is held up without a reason"
ALIVE = "no attempt is given up that may be alive"
AGE = "nothing old is sent"
TIME = "an attempt that began has time to end"
TOLD = "an abandoned attempt is reported"

#: The transitions allowed. None leads from sending or unknown back to claimed.
_FOLLOWS = {
    State.CLAIMED: {State.SENDING, State.NOT_SENT, State.DUPLICATE},
    State.SENDING: {State.ACCEPTED, State.REJECTED, State.UNKNOWN, State.NOT_SENT},
    State.UNKNOWN: {State.ACCEPTED, State.REJECTED, State.UNKNOWN, State.NOT_SENT},
    State.NOT_SENT: {State.CLAIMED},
}


#: The states that a settle writes, and those of them that need no verdict of Plivo's.
_SETTLED = frozenset({State.ACCEPTED, State.REJECTED, State.UNKNOWN, State.NOT_SENT})
_UNSAID = frozenset({State.UNKNOWN, State.NOT_SENT})

#: How often an attempt tries to record its verdict while there is time.
SETTLES = 5


class Broken(AssertionError):
    """A rule was broken: ``rule`` is one of the names above."""

    def __init__(self, rule: str, how: str) -> None:
        super().__init__(f"{rule}: {how}")
        self.rule = rule


def require(holds: object, rule: str, how: str) -> None:
    if not holds:
        raise Broken(rule, how)


class Invariants:
    """Checks everything that happens in ``world``; raises ``Broken``.

    known
        Every record in the table.
    owners
        A name for every owner, made of its invocation and the number of its claim.
    clocks
        The errors of all clocks so far.
    """

    def __init__(self, world: "World") -> None:
        self.known: dict[str, Record] = {}
        self.owners: dict[str, str] = {}
        self.clocks = {0}
        self._world = world
        self._holders: dict[str, str] = {}
        self._makers: dict[str, Attempt] = {}  # whose claim made the record
        self._claimants: dict[str, Attempt] = {}  # by owner
        self._rewritten: dict[str, Record] = {}  # as they were before
        self._gone: dict[str, Record] = {}  # that TTL took
        self._history: dict[str, set[Verdict]] = {}
        self._reported: dict[Hashable, bool] = {}

    @property
    def spread(self) -> int:
        """The most by which two clocks differ."""
        return max(self.clocks) - min(self.clocks)

    def memory(self) -> Hashable:
        """What later checks depend on, apart from the table."""
        return (
            frozenset((name, maker.ordinal) for name, maker in self._makers.items()),
            frozenset((name, frozenset(said)) for name, said in self._history.items()),
            frozenset(self._reported.items()),
            frozenset(self._rewritten),
            frozenset(self._gone),
            frozenset(self.clocks),
        )

    # --- processes -----------------------------------------------------------------------------

    def wished(self, process: Process, call: Call) -> None:
        """``process`` is about to make ``call``."""
        if not isinstance(process, Attempt):
            return
        process.settles += call.writes in _SETTLED
        if call.writes == State.CLAIMED:
            if not process.owners:
                left = process.deadline - self._world.now
                enough = left > (SETTLE_SECONDS + SEND_SECONDS) * 1000
                require(enough, TIME, f"claimed {left} ms before the invocation ends")
            item = call.arguments.get("Item") or call.arguments["ExpressionAttributeValues"]
            owner = (item.get("owner") or item[":owner"])["S"]
            if owner not in self.owners:
                self.owners[owner] = f"<{process.ordinal}.{len(process.owners)}>"
            process.owners.add(owner)
            self._claimants[owner] = process
        elif call.writes == State.SENDING:
            process.age = self._world.now + process.clock - min(self._asked(process))

    def calls(self, process: Process) -> None:
        """A call of ``process`` arrives at the table: note what it finds there."""
        if not isinstance(process, Attempt):
            return
        own = self.known.get(process.action_id)
        for part in filter(None, map(self.known.get, self._chain(process.action_id))):
            if part.state is None or part.owner not in process.owners:
                process.busy |= self._is_at_work(part)
        self._look_around(process)
        process.meets = (
            own is not None
            and own.state in OPEN
            and own.owner not in process.owners
            and own.delivery == process.request.delivery != ""
        )
        process.met |= process.meets

    def _look_around(self, process: Attempt) -> None:
        """Note which actions with its content block ``process``, and which do not."""
        if not process.dials:
            return
        own = self.known.get(process.action_id)
        first_seen = process.at if own is None else min(process.at, own.first_seen)
        for sent in self._world.sent:
            if (
                sent.attempt.content == process.content
                and sent.number not in process.cleared
                and not self._blocks(sent, first_seen)
            ):
                process.cleared.add(sent.number)
        for other in self.known.values():
            if (
                other.action_id != process.action_id
                # of whatever version: the lock may have been another's
                and self._makers[other.action_id].content[0] == process.content[0]
            ):
                process.busy |= self._is_at_work(other)
                if self._may_block(other, first_seen):
                    process.reasons.add(other.action_id)

    def ended(self, process: Process, result: object, *, killed: bool) -> None:
        require(set(process.fenced) <= set(process.told), TOLD, f"not told: {process.fenced}")
        if isinstance(process, Lookup):
            self._looked_up(process, result, killed=killed)
        elif not isinstance(process, Attempt):
            fine = killed or isinstance(result, (list, LedgerUnavailable))
            require(fine, LOST, f"the reconciler ended with {result!r}")
        elif not killed:
            self._attempted(process, result)
        else:  # Lambda reports an event whose invocation died
            self._ends(process, reported=True)

    def _attempted(self, attempt: Attempt, result: object) -> None:
        late = attempt.sent and attempt.left_ms >= SETTLE_SECONDS * 1000
        in_time = not late or attempt.waited_ms <= attempt.left_ms
        require(in_time, TIME, f"answered after {attempt.waited_ms} of {attempt.left_ms} ms")
        quiet = False
        if isinstance(result, Answer):
            self._answered(attempt, result)
        else:
            known = (InProgress, KeyReused, OutOfTime, LedgerUnavailable)
            require(isinstance(result, known), LOST, f"ended with {result!r}")
            require(not attempt.executed, ANSWER, "sent, and the client is told nothing of it")
        own = self.known.get(attempt.action_id)
        left_open = own and own.state in OPEN and own.owner in attempt.owners
        if "SettleFailed" in attempt.counted:
            self._unsettled(attempt)
        elif not attempt.unheard:
            require(not left_open, REST, f"ended, and its record is {own and own.state}")
        if isinstance(result, KeyReused):
            maker = self._makers.get(attempt.action_id)
            differs = maker is None or maker.content != attempt.content
            require(differs, ANSWER, "the same content is told to be another")
        if isinstance(result, InProgress):
            require(not attempt.calm, ANSWER, "told to be in progress, and nothing is")
            held_up = attempt.busy or attempt.refused >= ROUNDS
            require(held_up, FREE, "told to be in progress, and nothing was")
            # another version's key may be that of other content, which this one cannot tell
            same = self._makers[attempt.action_id].version == attempt.version
            of_member = same and not attempt.dials and result.duplicate_of
            require(not of_member, FREE, "an action on a member waits for another")
            quiet = attempt.request.entry_point is EntryPoint.EVENT and result.same_delivery
            require(attempt.met or not quiet, LOST, "an event returned, and nobody is at it")
            again = attempt.meets and result.duplicate_of is None
            require(
                result.same_delivery or not again, ANSWER, "the same event is told to be another"
            )
        self._ends(attempt, reported=not quiet)

    def _ends(self, attempt: Attempt, *, reported: bool) -> None:
        if attempt.request.entry_point is EntryPoint.EVENT:
            delivery = attempt.action_id, attempt.request.delivery
            self._reported[delivery] = self._reported.get(delivery, False) or reported

    def _unsettled(self, attempt: Attempt) -> None:
        """The attempt gave up recording its verdict."""
        if not attempt.unheard:
            own = self.known.get(attempt.action_id)
            own_settled = own and own.owner in attempt.owners and own.state in _SETTLED
            require(not own_settled, ANSWER, "recorded, and reported as if it was not")
            return
        left = attempt.deadline - self._world.now
        tried = attempt.settles >= SETTLES or left < 1_500
        require(
            tried, ANSWER, f"given up recording it after {attempt.settles}, with {left} ms left"
        )

    # --- answers -------------------------------------------------------------------------------

    def _answered(self, attempt: Attempt, answer: Answer) -> None:
        verdict, outcome = answer.verdict, answer.verdict.outcome
        own = self.known.get(attempt.action_id)
        require(answer.action_id == attempt.action_id, ANSWER, "of another request")
        if answer.replayed:
            require(not attempt.executed, ANSWER, "sent, and answered as a replay")
            self._replayed(attempt, answer)
        elif attempt.sent:
            require(verdict == attempt.sent[-1].verdict, ANSWER, f"not what Plivo said: {verdict}")
        else:
            require(outcome is Outcome.NOT_SENT, ANSWER, f"{outcome}, and nothing was sent")
        if own is None or own.owner not in attempt.owners or own.attempt != attempt.number:
            return
        if own.state is None:  # what another version made of it
            return
        if own.state is State.DUPLICATE:
            could_know = not attempt.unheard
            require(answer.duplicate_of or not could_know, ANSWER, f"{outcome}, of a duplicate")
        elif "SettleFailed" not in attempt.counted:
            require(own.outcome() is outcome, ANSWER, f"{outcome}, but {own.state}")
            # another was faster: with the same outcome, and a cause of its own
            faster = not attempt.sent or own.resolution is not None
            same = own.verdict() == verdict
            require(same or faster, ANSWER, f"{verdict}, but {own.verdict()}")

    def _replayed(self, attempt: Attempt, answer: Answer) -> None:
        chain = self._chain(attempt.action_id)
        first = answer.duplicate_of
        require(first is None or first in chain, ANSWER, "a duplicate of another")
        again = answer.verdict.outcome is not Outcome.NOT_SENT or first or attempt.number
        waits = answer.retry_after is not None and first is not None
        require(not waits, ANSWER, "a duplicate, which is never sent, is told to try again")
        maker = self._makers[attempt.action_id]
        same = maker.content == attempt.content or maker.version != attempt.version
        require(same, ANSWER, "that of other content")
        require(maker.key == attempt.key, ANSWER, "that of another request")
        again = again or maker.version != attempt.version
        require(again, FREE, "not sent, and not sent when it is asked for again")
        self._said(answer.verdict, chain)

    def _looked_up(self, lookup: Lookup, result: object, *, killed: bool) -> None:
        if killed or isinstance(result, LedgerUnavailable):
            return
        if result is None:
            gone = not lookup.existed or lookup.action_id not in self.known
            require(gone, ANSWER, "not known")
            return
        if not isinstance(result, tuple):
            raise Broken(LOST, f"a lookup ended with {result!r}")
        record, answer = result
        require(record.action_id == lookup.action_id, ANSWER, "of another request")
        chain = self._chain(record.action_id)
        require(answer.action_id in chain, ANSWER, "what another request led to")
        if answer.outcome() is not None:
            self._said(answer.verdict(), chain)

    def _said(self, verdict: Verdict, chain: list[str]) -> None:
        """A client got ``verdict`` for a request; it must come from one of ``chain``."""
        outcome = verdict.outcome
        known = any(verdict in self._history.get(part, ()) for part in chain)
        end = self.known.get(chain[-1])
        if end is None or end.duplicate_of:  # TTL took it, or there is no end
            known = known or outcome is Outcome.UNKNOWN
        elif end.state is None:  # only another version knows what it means
            over = end.lease_until < self._world.now + self.spread
            known = known or (over and outcome is Outcome.UNKNOWN)
        require(known, ANSWER, f"{verdict} was never recorded")

    def agree(self, answer: object, found: object) -> None:
        """An answer and a lookup of one request must agree if nothing happened in between."""
        if not isinstance(answer, Answer) or not isinstance(found, tuple):
            raise Broken(ANSWER, f"{answer!r} and {found!r}, and nothing stood in the way")
        require(found[1].outcome() is not None, ANSWER, f"answered, and shown {found[1].state}")
        said, shown = answer.verdict, found[1].verdict()
        require(said == shown, ANSWER, f"answered {said}, shown {shown}")
        resolved = answer.resolution == found[1].resolution
        require(resolved or not answer.replayed, ANSWER, f"resolved: {found[1].resolution}")

    def went_out(self, answer: object) -> None:
        """A new request that nothing blocks must be sent."""
        sent = isinstance(answer, Answer) and not answer.replayed
        require(sent, FREE, f"a new request, and every window over: {answer!r}")

    # --- Plivo ---------------------------------------------------------------------------------

    def sends(self, attempt: Attempt, action: Action, token: str, patience: Deadline) -> None:
        """``attempt`` is about to POST."""
        require(action == attempt.request.action, ANSWER, "other content is sent")
        left = patience.remaining()
        require(left > SEND_SECONDS - 0.001, TIME, f"a POST with {left} s for its answer")
        refused = {sent.token for sent in attempt.sent}
        require(token not in refused, KEY, "refused credentials are tried again")

    def posted(self, sent: Sent) -> None:
        attempt = sent.attempt
        own = self.known.get(attempt.action_id)
        marked = {State.SENDING, State.UNKNOWN, None} if attempt.sent else {State.SENDING}
        is_own = own is not None and own.state in marked and own.owner in attempt.owners
        require(is_own, FORWARD, f"a POST while {own and own.state}")
        for earlier in self._world.sent:
            if earlier.proven_not_executed or self._world.now - earlier.at > RECORD_MS:
                continue
            before = earlier.attempt
            require(before.key != attempt.key, KEY, "a second POST")
            if attempt.dials and before.content == attempt.content:
                how = f"a second POST {self._world.now - earlier.at} ms after the first"
                require(earlier.number in attempt.cleared, CONTENT, how)
        for other in self.known.values():
            is_other = other.action_id != attempt.action_id
            if attempt.dials and other.state is State.SENDING and is_other:
                rival = self._makers[other.action_id].content == attempt.content
                require(not rival, CONTENT, "two on their way")

    def _blocks(self, sent: Sent, first_seen: int) -> bool:
        """Whether this POST must block another request with its content, first seen then."""
        record = self.known.get(sent.attempt.action_id)
        if record is not None and record.state is None:
            record = self._rewritten[record.action_id]
            if record.state in OPEN:
                record = record._replace(state=State.UNKNOWN, settled_at=record.lease_until)
        if record is None:
            return self._world.now - sent.at <= RECORD_MS
        if record.state is State.ACCEPTED:
            return first_seen - record.settled_at <= POLICY.duplicate_window - 2 * self.spread
        if record.state is State.UNKNOWN:
            if record.resolution is Resolution.DID_NOT_HAPPEN:
                return False
            return first_seen - record.settled_at <= POLICY.unknown_window - 2 * self.spread
        return record.state not in (State.REJECTED, State.NOT_SENT)

    def _may_block(self, record: Record, first_seen: int) -> bool:
        """Whether a settled action may block another with its content, first seen then."""
        if record.state is State.ACCEPTED:
            window = POLICY.duplicate_window
        elif record.state is State.UNKNOWN:
            if record.resolution is Resolution.DID_NOT_HAPPEN:
                return False
            window = POLICY.unknown_window
        elif record.state is None:  # of another version
            record = record.as_unknown()
            window = POLICY.unknown_window
        else:
            return False
        return first_seen - record.settled_at <= window + 2 * self.spread

    @staticmethod
    def _is_at_work(record: Record) -> bool:
        """Whether an attempt holds the record, or may hold it."""
        return record.state in OPEN or (record.state is None and record.lease_until > 0)

    # --- the table -----------------------------------------------------------------------------

    def written(
        self, process: Process, call: Call, item: Any, *, at_once: bool, heard: bool
    ) -> None:
        """``call`` of ``process`` has written ``item``.

        at_once
            Whether ``process`` still waits for the call: it is not a late one.
        heard
            Whether ``process`` gets the reply.
        """
        if call.pk.startswith("C#"):
            assert isinstance(process, Attempt)
            require(process.dials, FREE, "an action on a member holds its content")
            self._holders[call.pk] = item["action"]["S"]
            return
        after = Record.from_item(item)
        is_open = after.state in OPEN
        require(("open" in item) == is_open, REST, f"{after.state}, and in the index or not")
        require(("ttl" in item) != is_open, REST, f"{after.state}, and for TTL to take or not")
        waits = after.state is State.UNKNOWN and after.resolution is None
        require(("unresolved" in item) == waits, REST, f"{after.state}, and to resolve or not")
        before = self.known.get(after.action_id)
        self.known[after.action_id] = after
        end = self.known.get(self._chain(after.action_id)[-1], after)
        require(not end.duplicate_of or end.duplicate_of not in self.known, ANSWER, "a loop")
        self._remember(after)
        own = isinstance(process, Attempt) and after.owner in process.owners
        if before is None:
            require(after.state is State.CLAIMED, FORWARD, f"nothing -> {after.state}")
            assert isinstance(process, Attempt)
            self._makers[after.action_id] = process
        else:
            self._check_change(before, after)
        if after.state is State.CLAIMED:
            self._check_claim(process, before, after)
        if after.state is State.SENDING:
            assert isinstance(process, Attempt)
            self._check_mark(process, after)
        if after.state is State.DUPLICATE:
            assert isinstance(process, Attempt)
            reason = after.duplicate_of in process.reasons
            require(reason, FREE, "a duplicate of what does not stand in its way")
        if before is not None and before.state in OPEN and not own:
            self._check_fence(before, after)
            if heard:
                process.fenced.append((after.action_id, after.attempt))
        if own and at_once:
            assert isinstance(process, Attempt)
            process.number = after.attempt
        self._check_outcome(after)
        if at_once and isinstance(process, Attempt):
            self._look_around(process)  # this call may have settled an abandoned attempt

    def rewritten(self, item: Any) -> None:
        """Another version gave the record a state that this one does not know."""
        record = Record.from_item(item)
        self._rewritten[record.action_id] = self.known[record.action_id]
        self.known[record.action_id] = record

    def resolved(self, item: Any) -> None:
        """A person tried to resolve the record."""
        record = Record.from_item(item)
        self.known[record.action_id] = record

    def expired(self, item: Any) -> None:
        """TTL is about to delete the item."""
        if item["pk"]["S"].startswith("C#"):
            self._holders.pop(item["pk"]["S"], None)
            return
        record = Record.from_item(item)
        require(record.state not in OPEN, REST, f"TTL takes what is {record.state}")
        self._gone[record.action_id] = self.known.pop(record.action_id)
        for sent in self._world.sent:
            old = self._world.now - sent.at > RECORD_MS or sent.proven_not_executed
            mine = sent.attempt.action_id == record.action_id
            require(old or not mine, KEY, "the record of a POST is gone")

    def open_questions(self) -> Iterator[tuple[ActionRequest, int]]:
        """Each request that has a record, and the version of the code that made it."""
        for action_id in sorted(self.known):
            maker = self._makers[action_id]
            yield maker.request, maker.version

    def contents(self) -> list[ActionRequest]:
        """A new request for each content so far."""
        actions = [maker.request.action for maker in self._makers.values()]
        asked = {canonical(action): action for action in actions}
        return [
            ActionRequest(action, EntryPoint.WEBHOOK, "crm", f"new-{number}")
            for number, action in enumerate(asked.values())
        ]

    def at_rest(self) -> None:
        """No invocation runs, and the reconciler or a retry has been at each request."""
        for record in self.known.values():
            require(record.state not in OPEN, REST, f"left {record.state}")
        for delivery, reported in self._reported.items():
            require(reported, LOST, f"nobody reported {delivery}")

    def _check_change(self, before: Record, after: Record) -> None:
        allowed = _FOLLOWS.get(before.state, set()) if before.state else set()
        require(after.state in allowed, FORWARD, f"{before.state} -> {after.state}")
        require(after.fingerprint == before.fingerprint, FORWARD, "other content")
        require(after.first_seen <= before.first_seen, FORWARD, "first seen later")
        if before.requested_at is not None:
            asked = after.requested_at
            require(asked is not None and asked <= before.requested_at, FORWARD, "asked for later")
        if before.state is State.UNKNOWN:
            same = (after.owner, after.attempt) == (before.owner, before.attempt)
            require(same, FORWARD, "unknown is corrected by another")

    def _check_claim(self, process: Process, before: Record | None, after: Record) -> None:
        if before is not None:
            same = before.fingerprint_version == process.version
            require(same, FORWARD, "another version's record is claimed")
            new = after.attempt > before.attempt and after.owner != before.owner
            require(new, FORWARD, "the attempt has no number and owner of its own")
        assert isinstance(process, Attempt)
        maker = self._makers[after.action_id]
        same = maker.content == process.content or maker.version != process.version
        require(same, FORWARD, "claimed for other content")
        require(maker.key == process.key, FORWARD, "claimed for another request")
        require(after.resolution is None, FORWARD, "resolved, before it was sent")
        asked = process.request.requested_at
        known = asked is None or (after.requested_at or asked + 1) <= asked
        require(known, FORWARD, "it is forgotten when it was asked for")

    def _check_mark(self, process: Attempt, after: Record) -> None:
        age = process.age
        require(age <= process.max_age + self.spread, AGE, f"to be sent after {age} ms")
        require(not process.request.from_archive, AGE, "an archive's replay is to be sent")
        if process.dials:
            holder = self._holders.get(f"C#{after.fingerprint}")
            require(holder == after.action_id, HOLDER, "marked by one that does not hold it")

    def _check_fence(self, before: Record, after: Record) -> None:
        over = before.lease_until < after.settled_at
        require(over, ALIVE, f"given up {before.lease_until - after.settled_at} ms too early")
        ends = self._claimants[before.owner].deadline
        if before.state is State.SENDING:
            ends += LEASE_MARGIN_MS
        left = ends - self._world.now
        require(left <= 2 * self.spread, ALIVE, f"given up {left} ms too early")

    def _check_outcome(self, after: Record) -> None:
        sent = [s for s in self._world.sent if s.attempt.action_id == after.action_id]
        if after.outcome() is not None:
            verdict = after.verdict()
            said = verdict in [one.verdict for one in sent]
            # without a verdict of Plivo's, only the cause is recorded
            own = after.state in _UNSAID and verdict == Verdict(verdict.cause)
            require(said or own, ANSWER, f"recorded, and never said: {verdict}")
        if after.state in (State.CLAIMED, State.NOT_SENT, State.DUPLICATE):
            for one in sent:
                old = self._world.now - one.at > RECORD_MS or one.proven_not_executed
                require(old, KEY, f"sent, and recorded as {after.state}")

    def _remember(self, record: Record) -> None:
        if record.outcome() is not None:
            self._history.setdefault(record.action_id, set()).add(record.verdict())

    def _asked(self, attempt: Attempt) -> Iterator[int]:
        """The times from which the age of the request may count."""
        yield attempt.at
        own = self.known.get(attempt.action_id)
        if own is not None:
            yield own.first_seen
        for at in (attempt.request.requested_at, own and own.requested_at):
            if at is not None:
                yield at

    def _chain(self, action_id: str) -> list[str]:
        """The request, the one that it is or was a duplicate of, and so on."""
        chain: list[str] = []
        following: str | None = action_id
        while following is not None and following not in chain:
            chain.append(following)
            record = self.known.get(following) or self._gone.get(following)
            following = record.duplicate_of if record else None
        return chain
