"""A small world in which actions are sent: processes, one table, one Plivo, one clock.

It watches while it runs. The rules it holds everybody to are written without the ledger's help:
in terms of POSTs that went out, and of the items that stand in the table.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError, ReadTimeoutError

from cold_transfer.action import Action, ActionRequest, Answer, Verdict
from cold_transfer.causes import Cause, Outcome, Resolution
from cold_transfer.deadline import Deadline
from cold_transfer.entrypoints.components import compose
from cold_transfer.errors import (
    InProgress,
    KeyReused,
    LedgerUnavailable,
    OutOfTime,
    PlivoUnreachable,
    SecretUnavailable,
)
from cold_transfer.ledger.ledger import Ledger
from cold_transfer.ledger.record import OPEN, Record, State
from cold_transfer.plivo.client import PlivoCredentials, Resource
from cold_transfer.plivo.response import Reading
from cold_transfer_cli.records import Records
from tests.support import fakes
from tests.support.ledgers import NOW_MS, POLICY, items, ledger_on, records
from tests.support.simulation.actors import Actor, Call, Connect, Post, SteppedClient

INVOCATION_MS = 25_000
RECORD_MS = POLICY.record_seconds * 1000

#: How far a machine's clock may be off, either way.
SKEW_MS = 1_000

VERDICTS = {
    "accepted": Verdict(Cause.ACCEPTED, plivo_status=201),
    "rejected": Verdict(Cause.REJECTED, error="not deployed", plivo_status=404),
    "unknown": Verdict(Cause.PLIVO_TIMED_OUT),
    "throttled": Verdict(Cause.PLIVO_THROTTLED, plivo_status=429, plivo_retry_after=5),
    "refused": Verdict(Cause.PLIVO_CREDENTIALS_REFUSED, plivo_status=401),
}

#: What may follow what; the two states that may have reached Plivo lead nowhere back.
_FOLLOWS = {
    None: {State.CLAIMED},
    State.CLAIMED: {State.SENDING, State.NOT_SENT, State.DUPLICATE},
    State.SENDING: {State.ACCEPTED, State.REJECTED, State.UNKNOWN, State.NOT_SENT},
    State.UNKNOWN: {State.ACCEPTED, State.REJECTED, State.UNKNOWN, State.NOT_SENT},
    State.NOT_SENT: {State.CLAIMED},
    State.ACCEPTED: set[State](),
    State.REJECTED: set[State](),
    State.DUPLICATE: set[State](),
}


@dataclass
class Sent:
    """One POST that Plivo received."""

    number: int
    attempt: "Attempt"
    at: int
    verdict: Verdict | None = None
    answered_at: int = 0

    @property
    def proven_not_executed(self) -> bool:
        return self.verdict is not None and self.verdict.outcome is Outcome.NOT_SENT


@dataclass
class Attempt:
    """One invocation for one request, which arrived ``at`` and may have waited for it."""

    request: ActionRequest
    at: int
    sent: list[Sent] = field(default_factory=list)


class World:
    """``client`` is a DynamoDB client, or something that answers like one; ``table`` is its own."""

    def __init__(
        self, client: Any, table: str, drop: Callable[..., object] = lambda **_: None
    ) -> None:
        self.now = NOW_MS
        self.sent: list[Sent] = []
        self.late: list[Call] = []
        self.actors: list[Actor] = []
        self._probe = fakes.Probe()
        self.counted = self._probe.counted
        self.steps = 0
        self.denied: set[str] = set()
        self._client = client
        self._table = table
        self._drop = drop
        self._attempts: dict[int, Attempt] = {}
        self._owners = 0

    # --- processes -----------------------------------------------------------------------------

    def begin(
        self,
        request: ActionRequest,
        *,
        skew: int = 0,
        secret: bool = True,
        left_ms: int = INVOCATION_MS,
        max_age: int = 60_000,
    ) -> Actor:
        """An invocation that takes up ``request``, up to its first call."""
        attempt = Attempt(request, self.now - request.waited)
        deadline = Deadline((self.now + left_ms) / 1000, lambda: self.now / 1000)
        credentials = fakes.Credentials()
        credentials.latest = fakes.NEW
        if not secret:
            credentials.known = SecretUnavailable("out of reach")

        def work(actor: Actor) -> object:
            plivo: Any = _Plivo(self, actor, attempt)  # which nobody reads from
            made = compose(
                fakes.settings(max_request_age_seconds=max_age // 1000),
                self._probe,
                self._ledger(SteppedClient(actor), skew),
                fakes.SecretsManager(),
                plivo=plivo,
                credentials=credentials,
                timing=fakes.at_once(lambda: self.now + skew),
            )
            return made.service.perform(request, deadline)

        actor = Actor(work)
        self._attempts[id(actor)] = attempt
        self.actors.append(actor)
        self._look_at(actor)
        return actor

    def begin_reconciler(self, *, skew: int = 0) -> Actor:
        def work(actor: Actor) -> object:
            ledger = self._ledger(SteppedClient(actor), skew)
            return [ledger.settle_overdue(found) for found in ledger.overdue()]

        actor = Actor(work)
        self.actors.append(actor)
        self._look_at(actor)
        return actor

    def reconcile(self) -> None:
        """A whole run at once."""
        ledger = self._ledger(self._client, 0)
        for found in ledger.overdue():
            ledger.settle_overdue(found)

    def run(self, actor: Actor, verdict: str = "accepted") -> object:
        """Let it go on to its end, with nothing in its way; what it returned or raised."""
        while actor.alive:
            self.step(actor, verdict)
        return actor.result

    def until(self, actor: Actor, wish: type, verdict: str = "accepted") -> None:
        """Let it go on to its next wish of this type, or to its end."""
        while actor.alive and not isinstance(actor.wish, wish):
            self.step(actor, verdict)

    def step(self, actor: Actor, verdict: str = "accepted", fault: str = "none") -> None:
        """Let ``actor`` have its wish.

        fault
            What befalls a call of DynamoDB: ``retried`` (made, the reply lost, still to be made
            again by botocore), ``lost`` (made, the reply lost), ``refused`` (not made), ``late``
            (not made yet; the client gives up), ``twice`` (made, and delivered again later).
        """
        wish = actor.wish
        if isinstance(wish, Connect):
            actor.answer(None if fault == "none" else PlivoUnreachable("no connection"))
        elif isinstance(wish, Post):
            self._judge(actor, self.sent[wish.number], verdict)
        elif isinstance(wish, Call):
            self._meet(actor, wish, fault)
        self._look_at(actor)

    def deliver(self, number: int) -> None:
        """A write that the network held back, or held twice, arrives; nobody hears the reply."""
        self._made(self.late.pop(number))

    def kill(self, actor: Actor) -> None:
        actor.kill()
        self._look_at(actor)

    def resolve(self, number: int, resolution: Resolution) -> None:
        """A person says of one of the unknown outcomes what became of it, rightly or not."""
        unknown = [each for each in self.records().values() if each.state is State.UNKNOWN]
        waiting = [each for each in unknown if each.resolution is None]
        if not waiting:
            return
        chosen = waiting[number % len(waiting)]
        known = Records(self._client, self._table).resolve(
            chosen.action_id, resolution, "a person", self.now
        )
        assert known is not None
        assert known.own == chosen._replace(
            resolution=resolution, resolved_by="a person", resolved_at=self.now
        )
        if resolution is Resolution.DID_NOT_HAPPEN:
            self.denied.add(chosen.action_id)

    def expire(self) -> None:
        """TTL takes everything that is due."""
        for item in self._client.scan(TableName=self._table, ConsistentRead=True)["Items"]:
            if "ttl" in item and int(item["ttl"]["N"]) * 1000 < self.now:
                self._client.delete_item(TableName=self._table, Key={"pk": item["pk"]})

    def end(self) -> None:
        """Every process dies where it stands; after a minute nothing is open any more."""
        for actor in list(self.actors):
            self.kill(actor)
        self.now += 60_000
        self.reconcile()
        for record in self.records().values():
            assert record.state in set(State) - OPEN, f"left {record.state}"
        assert list(self._ledger(self._client, 0).overdue()) == []

    def records(self) -> dict[str, Record]:
        return records(self._client, self._table)

    def drop(self) -> None:
        """The table is not needed any more."""
        self._drop(TableName=self._table)

    # --- what Plivo saw ------------------------------------------------------------------------

    def post(self, actor: Actor, attempt: Attempt) -> Verdict:
        sent = Sent(len(self.sent), attempt, self.now)
        self._check_post(sent)
        self.sent.append(sent)
        attempt.sent.append(sent)
        verdict: Verdict = actor.ask(Post(sent.number))
        return verdict

    def _check_post(self, sent: Sent) -> None:
        request = sent.attempt.request
        known = self.records()
        own = known[request.action_id()]
        content = request.action.fingerprint()
        assert own.state is State.SENDING, f"a POST while {own.state}"
        assert own.first_seen <= sent.attempt.at + SKEW_MS, "first seen after it arrived"
        for other in known.values():
            if other.fingerprint == content and other.action_id != own.action_id:
                dials = request.action.name.dials
                assert not dials or other.state is not State.SENDING, "two of one content at once"
        for earlier in self.sent:
            if earlier.proven_not_executed or self.now - earlier.at > RECORD_MS:
                continue
            before = earlier.attempt.request
            assert before.action_id() != own.action_id, "a second POST for one key"
            if request.action.name.dials and before.action.fingerprint() == content:
                self._check_window(earlier, min(sent.attempt.at, own.first_seen))

    def _check_window(self, earlier: Sent, arrived: int) -> None:
        if earlier.attempt.request.action_id() in self.denied:
            return
        if earlier.verdict is not None and earlier.verdict.outcome is Outcome.REJECTED:
            return
        if earlier.verdict is not None and earlier.verdict.outcome is Outcome.ACCEPTED:
            passed, window = arrived - earlier.answered_at, POLICY.duplicate_window
        else:
            passed, window = arrived - earlier.at, POLICY.unknown_window
        assert passed > window - 2 * SKEW_MS, f"a second POST for one content after {passed} ms"

    # --- what DynamoDB saw ---------------------------------------------------------------------

    def _meet(self, actor: Actor, call: Call, fault: str) -> None:
        if fault == "late" and call.is_write:
            self.late.append(call)
        elif fault == "twice" and call.is_write:
            self.late.append(call)
            actor.answer(self._made(call))
            return
        elif fault in ("lost", "retried"):
            self._made(call)
            if fault == "retried":
                return  # the wish stands: botocore makes the same call once more
        elif fault == "none":
            actor.answer(self._made(call))
            return
        actor.answer(ReadTimeoutError(endpoint_url="dynamodb"))

    def _made(self, call: Call) -> object:
        """Make the call; its reply, or the error that it is answered with."""
        key = call.arguments.get("Key") or call.arguments.get("Item")
        before = self._record(key["pk"]["S"]) if key and call.is_write else None
        try:
            reply: object = getattr(self._client, call.operation)(**call.arguments)
        except ClientError as error:
            return error
        if key and call.is_write and key["pk"]["S"].startswith("K#"):
            self._check_write(before, self._record(key["pk"]["S"]))
        return reply

    def _record(self, pk: str) -> Record | None:
        reply = self._client.get_item(
            TableName=self._table, Key={"pk": {"S": pk}}, ConsistentRead=True
        )
        return Record.from_item(reply["Item"]) if "Item" in reply else None

    def _check_write(self, before: Record | None, after: Record | None) -> None:
        assert after is not None
        follows = _FOLLOWS[before.state if before else None]
        assert after.state in follows, f"{before and before.state} -> {after.state}"
        if before is None:
            return
        assert after.fingerprint == before.fingerprint
        assert after.first_seen <= before.first_seen
        if before.state is State.UNKNOWN:
            assert (after.owner, after.attempt) == (before.owner, before.attempt)

    def check(self) -> None:
        """What holds at any time."""
        known = self.records()
        for sent in self.sent:
            record = known.get(sent.attempt.request.action_id())
            if record is None:
                assert self.now - sent.at > RECORD_MS, "the record of a POST is gone"
            elif not sent.proven_not_executed and self.now - sent.at <= RECORD_MS:
                assert record.state in {
                    State.SENDING,
                    State.ACCEPTED,
                    State.REJECTED,
                    State.UNKNOWN,
                }, f"sent, and recorded as {record.state}"
        for record in known.values():
            self._check_record(record, known)
        for item in items(self._client, self._table):
            waits = item.get("state") == {"S": State.UNKNOWN} and "resolution" not in item
            assert ("unresolved" in item) == waits, item

    def _check_record(self, record: Record, known: dict[str, Record]) -> None:
        if record.state in (State.ACCEPTED, State.REJECTED):
            outcomes = {
                (f"api-{sent.number}", State(sent.verdict.outcome))
                for sent in self.sent
                if sent.verdict and sent.attempt.request.action_id() == record.action_id
            }
            assert (record.api_id, record.state) in outcomes
        seen = {record.action_id}
        while record.duplicate_of in known:
            assert record.duplicate_of not in seen, "a chain without an end"
            seen.add(record.duplicate_of)
            record = known[record.duplicate_of]

    # --- what clients hear ---------------------------------------------------------------------

    def _judge(self, actor: Actor, sent: Sent, kind: str) -> None:
        sent.verdict = VERDICTS[kind]._replace(api_id=f"api-{sent.number}")
        sent.answered_at = self.now
        actor.answer(sent.verdict)

    def _look_at(self, actor: Actor) -> None:
        self.steps += 1
        if actor.alive:
            return
        self.actors.remove(actor)
        attempt = self._attempts.pop(id(actor), None)
        if isinstance(actor.result, AssertionError):
            raise actor.result
        if attempt is None:
            assert actor.result is None or isinstance(actor.result, (list, LedgerUnavailable))
        elif isinstance(actor.result, Answer):
            self._check_answer(attempt, actor.result)
        elif actor.result is not None:
            quiet = (InProgress, KeyReused, OutOfTime, LedgerUnavailable)
            assert isinstance(actor.result, quiet), repr(actor.result)
            proven = all(sent.proven_not_executed for sent in attempt.sent)
            assert proven, "sent, and the client is told that nothing was"
            if isinstance(actor.result, InProgress) and actor.result.same_delivery:
                self._check_reported(attempt.request)

    def _check_reported(self, request: ActionRequest) -> None:
        """An event that returns without an outcome is reported by an attempt of its own."""
        record = self.records()[request.action_id()]
        assert record.state in OPEN, "nobody is at it, and nobody is told"
        assert record.lease_until >= self.now - SKEW_MS
        assert record.delivery == request.delivery != ""

    def _check_answer(self, attempt: Attempt, answer: Answer) -> None:
        assert answer.action_id == attempt.request.action_id()
        own = [sent for sent in attempt.sent if not sent.proven_not_executed]
        if not answer.replayed:
            if own:
                assert answer.verdict == own[-1].verdict
            else:
                assert answer.verdict.outcome is Outcome.NOT_SENT
            return
        assert own == []
        if answer.verdict.outcome in (Outcome.ACCEPTED, Outcome.REJECTED):
            content = attempt.request.action.fingerprint()
            assert answer.verdict.api_id in {
                f"api-{sent.number}"
                for sent in self.sent
                if sent.attempt.request.action.fingerprint() == content
            }

    def _ledger(self, client: Any, skew: int) -> Ledger:
        def owner() -> str:
            self._owners += 1
            return f"owner-{self._owners}"

        return ledger_on(client, self._table, lambda: self.now + skew, new_owner=owner)


class _Plivo:
    """Counts; the test decides what it answers."""

    def __init__(self, world: World, actor: Actor, attempt: Attempt) -> None:
        self._world = world
        self._actor = actor
        self._attempt = attempt

    def connect(self, deadline: Deadline) -> None:
        if deadline.remaining() <= 0:
            raise PlivoUnreachable("no connection")
        self._actor.ask(Connect())

    def send(self, action: Action, _: PlivoCredentials, deadline: Deadline) -> Verdict:
        assert action == self._attempt.request.action
        if deadline.remaining() <= 0:
            return Verdict(Cause.OUT_OF_TIME)
        return self._world.post(self._actor, self._attempt)

    def read(self, resource: Resource, _: PlivoCredentials, deadline: Deadline) -> Reading:
        raise AssertionError(f"nothing is read here: {resource}, {deadline}")
