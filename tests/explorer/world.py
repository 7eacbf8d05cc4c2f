"""A small world in which requests are sent: processes, one table, one Plivo, one clock.

A test runs the processes one step at a time, and decides how each call of DynamoDB fails.
``invariants`` checks everything that happens.
"""

import itertools
from collections.abc import Callable, Iterable
from typing import Any

from botocore.exceptions import ClientError, ReadTimeoutError
from botocore.parsers import ResponseParserError

from cold_transfer.action import Action, ActionRequest, Verdict
from cold_transfer.causes import Cause, Resolution
from cold_transfer.deadline import Deadline
from cold_transfer.entrypoints.components import compose
from cold_transfer.errors import PlivoUnreachable, SecretUnavailable
from cold_transfer.ledger.ledger import Ledger
from cold_transfer.ledger.record import Record
from cold_transfer.plivo.client import PlivoCredentials, Resource
from cold_transfer.plivo.response import Reading
from cold_transfer.service import Timing
from cold_transfer.settling import CALL_SECONDS
from cold_transfer_cli.records import Records
from tests.explorer.actors import Actor, Call, Connect, Post, Refresh, SteppedClient, Wish
from tests.explorer.invariants import Invariants
from tests.explorer.processes import Attempt, Lookup, Process, Sent
from tests.explorer.states import written
from tests.explorer.versions import Translated
from tests.support import fakes
from tests.support.ledgers import NOW_MS, POLICY, ledger_on, records

INVOCATION_MS = 25_000

#: MaxRequestAgeSeconds: the default, and the largest value.
MAX_AGE_MS = 60_000
LONGEST_AGE_MS = 300_000

VERDICTS = {
    "accepted": Verdict(Cause.ACCEPTED, plivo_status=201),
    "rejected": Verdict(Cause.REJECTED, error="not deployed", plivo_status=404),
    "unknown": Verdict(Cause.PLIVO_TIMED_OUT),
    "throttled": Verdict(Cause.PLIVO_THROTTLED, plivo_status=429, plivo_retry_after=5),
    "refused": Verdict(Cause.PLIVO_CREDENTIALS_REFUSED, plivo_status=401),
}

#: What may happen to a call of DynamoDB.
FAULTS = {
    "none": "made, and answered",
    "retried": "made; the reply is lost, and botocore will make the same call once more",
    "lost": "made; the reply is lost for good",
    "refused": "not made",
    "late": "given up, and made when it is delivered",
    "hung": "late, and given up only when the client's time-out is over",
    "twice": "made and answered, and made again when it is delivered",
    "foreign": "not made; something else, such as a proxy, replies",
    "garbled": "made; the reply cannot be read",
    "broken": "not made; raises an exception that is not botocore's",
}


class World:
    """``client`` is a DynamoDB client or a fake; no other world may use ``table``.

    remembers
        Whether it keeps what ``states.state_of`` needs.
    """

    def __init__(
        self, client: Any, table: str, drop: Callable[..., object] = lambda **_: None
    ) -> None:
        self.now = NOW_MS
        self.remembers = False
        self.sent: list[Sent] = []
        self.late: list[tuple[Call, Process]] = []
        self.actors: list[Actor] = []
        self.counted: list[str] = []
        self.steps = 0
        self.invariants = Invariants(self)
        self._client = client
        self._table = table
        self._drop = drop
        self._processes: dict[Actor, Process] = {}
        self._ordinals = itertools.count()

    # --- processes -----------------------------------------------------------------------------

    def begin(  # noqa: PLR0913  what may differ between invocations
        self,
        request: ActionRequest,
        *,
        skew: int = 0,
        secret: bool = True,
        left_ms: int = INVOCATION_MS,
        max_age: int = MAX_AGE_MS,
        version: int = 1,
        calm: bool = False,
    ) -> Actor:
        """An invocation that takes up ``request``, up to its first call."""
        attempt = Attempt(
            ordinal=next(self._ordinals),
            clock=skew,
            version=version,
            deadline=self.now + left_ms,
            request=request,
            at=self.now - request.waited,
            max_age=max_age,
            calm=calm,
        )

        def work(actor: Actor) -> object:
            probe = fakes.Probe()
            attempt.counted = probe.counted
            made = compose(
                fakes.settings(max_request_age_seconds=max_age // 1000),
                probe,
                self._ledger(SteppedClient(actor), attempt),
                fakes.SecretsManager(),
                plivo=_Plivo(self, actor, attempt),
                credentials=_Secret(actor, there=secret),
                timing=Timing(
                    clock=lambda: self.now + attempt.clock,
                    stopwatch=lambda: 0.0,
                    pause=lambda seconds: self._waits(attempt, int(seconds * 1000)),
                    within=lambda seconds, work: self._within(attempt, seconds, work),
                ),
            )
            deadline = Deadline(attempt.deadline / 1000, lambda: self.now / 1000)
            return made.service.perform(request, deadline)

        return self._start(attempt, work)

    def begin_reconciler(self, *, skew: int = 0) -> Actor:
        process = Process(next(self._ordinals), skew)

        def work(actor: Actor) -> object:
            ledger = self._ledger(SteppedClient(actor), process)
            return [ledger.settle_overdue(found) for found in ledger.overdue()]

        return self._start(process, work)

    def begin_lookup(self, action_id: str, *, skew: int = 0) -> Actor:
        existed = action_id in self.invariants.known
        process = Lookup(next(self._ordinals), skew, action_id=action_id, existed=existed)

        def work(actor: Actor) -> object:
            return self._ledger(SteppedClient(actor), process).look(action_id)

        return self._start(process, work)

    def reconcile(self) -> None:
        """A whole run at once."""
        self.run(self.begin_reconciler())

    def run(self, actor: Actor, verdict: str = "accepted") -> object:
        """Run it to its end without faults; what it returned or raised."""
        while actor.alive:
            self.step(actor, verdict)
        return actor.result

    def until(self, actor: Actor, wish: type, verdict: str = "accepted") -> None:
        """Run it to its next wish of this type, or to its end."""
        while actor.alive and not isinstance(actor.wish, wish):
            self.step(actor, verdict)

    def step(self, actor: Actor, verdict: str = "accepted", fault: str = "none") -> None:
        """Grant the wish of ``actor``, with one of ``FAULTS``."""
        wish = actor.wish
        process = self._processes[actor]
        if isinstance(wish, Connect):
            self._answer(actor, None if fault == "none" else PlivoUnreachable("no connection"))
        elif isinstance(wish, Refresh):
            self._refresh(actor, process, fault)
        elif isinstance(wish, Post):
            self._judge(actor, self.sent[wish.number], verdict)
        elif isinstance(wish, Call):
            self._meet(actor, process, wish, fault)
        self._look_at(actor, wish)

    def deliver(self, number: int) -> None:
        """A write that was delayed or doubled arrives; its reply is lost."""
        self._made(*self.late.pop(number), at_once=False)

    def kill(self, actor: Actor) -> None:
        actor.kill()
        self._look_at(actor)

    def abandon(self) -> None:
        """Kill every invocation, drop the late calls, and let each lease expire."""
        for actor in list(self.actors):
            self.kill(actor)
        self.late.clear()
        self.now += MAX_AGE_MS + 1 + 2 * self.invariants.spread

    def jump(self, actor: Actor, clock: int) -> None:
        """Its wall clock is off by ``clock`` milliseconds from now on."""
        self._processes[actor].clock = clock
        self.invariants.clocks.add(clock)

    def expire(self, number: int | None = None) -> None:
        """TTL deletes the items that are due: all, or only the one with this number."""
        due = [item for item in self.items() if "ttl" in item and _ttl_ms(item) < self.now]
        due.sort(key=lambda item: str(item["pk"]["S"]))
        if number is not None:
            due = due[number : number + 1]
        for item in due:
            self.invariants.expired(item)
            self._client.delete_item(TableName=self._table, Key={"pk": item["pk"]})

    def rewrite(self, action_id: str, state: str) -> None:
        """Another version of the code gives a record a state that this one does not know."""
        self._client.update_item(
            TableName=self._table,
            Key={"pk": {"S": f"K#{action_id}"}},
            UpdateExpression="SET #state = :state",
            ConditionExpression="#action_id = :action_id",
            ExpressionAttributeNames={"#state": "state", "#action_id": "action_id"},
            ExpressionAttributeValues={
                ":state": {"S": state},
                ":action_id": {"S": action_id},
            },
        )
        self.invariants.rewritten(self._item(f"K#{action_id}"))

    def resolve(self, action_id: str, resolution: Resolution) -> None:
        """A person writes down what became of an unknown outcome."""
        Records(self._client, self._table).resolve(action_id, resolution, "a person", self.now)
        if action_id in self.invariants.known:
            self.invariants.resolved(self._item(f"K#{action_id}"))

    def end(self, *, reconciled: bool = True) -> None:
        """Kill every process; then each request must get a final outcome.

        Once every window is over, a new request for each content must be sent.

        reconciled
            Whether the reconciler runs before all requests are retried.
        """
        while self.late:
            self.deliver(0)
        self.abandon()
        if reconciled:
            self.reconcile()
            self.invariants.at_rest()
        for request, version in self.invariants.open_questions():
            answer = self.run(self.begin(request, version=version, calm=True))
            found = self.run(self.begin_lookup(request.action_id()))
            self.invariants.agree(answer, found)
        self.invariants.at_rest()
        self.now += POLICY.unknown_window + 1 + 2 * self.invariants.spread
        for request in self.invariants.contents():
            self.invariants.went_out(self.run(self.begin(request, calm=True)))

    def drop(self) -> None:
        """The table is not needed any more."""
        for actor in list(self.actors):  # some still run if a rule was broken
            actor.kill()
        self._drop(TableName=self._table)

    def items(self) -> list[Any]:
        """All that is in the table."""
        items: list[Any] = self._client.scan(TableName=self._table, ConsistentRead=True)["Items"]
        return items

    def at_work(self) -> Iterable[tuple[Actor, Process]]:
        """Every actor that has not ended."""
        return self._processes.items()

    def records(self) -> dict[str, Record]:
        return records(self._client, self._table)

    def _start(self, process: Process, work: Callable[[Actor], object]) -> Actor:
        self.invariants.clocks.add(process.clock)
        actor = Actor(work)
        self._processes[actor] = process
        self.actors.append(actor)
        self._look_at(actor)
        return actor

    def _answer(self, actor: Actor, reply: object) -> None:
        if self.remembers:
            said = written(reply, self.invariants.owners)
            actor.heard = hash((actor.heard, self.now, said))
        actor.answer(reply)

    def _look_at(self, actor: Actor, before: Wish | None = None) -> None:
        self.steps += 1
        process = self._processes[actor]
        if actor.alive:
            if isinstance(actor.wish, Call) and actor.wish is not before:
                self.invariants.wished(process, actor.wish)
            return
        self.actors.remove(actor)
        del self._processes[actor]
        self.counted += process.counted
        if isinstance(actor.result, AssertionError):
            raise actor.result
        self.invariants.ended(process, actor.result, killed=actor.killed)

    def _ledger(self, client: Any, process: Process) -> Ledger:
        if process.version != 1:
            client = Translated(client, process.version)
        return ledger_on(
            client,
            self._table,
            lambda: self.now + process.clock,
            lambda record: process.told.append((record.action_id, record.attempt)),
        )

    # --- time ----------------------------------------------------------------------------------

    def _waits(self, process: Process, milliseconds: int) -> None:
        self.now += milliseconds
        if isinstance(process, Attempt):
            process.waited_ms += milliseconds

    def _within[T](self, process: Process, seconds: float, work: Callable[[], T]) -> T:
        usual, process.patience_ms = process.patience_ms, int(seconds * 1000)
        try:
            return work()
        finally:
            process.patience_ms = usual

    # --- Plivo ---------------------------------------------------------------------------------

    def post(self, actor: Actor, attempt: Attempt, token: str) -> Verdict:
        sent = Sent(len(self.sent), attempt, self.now, token)
        self.invariants.posted(sent)
        self.sent.append(sent)
        attempt.sent.append(sent)
        verdict: Verdict = actor.ask(Post(sent.number))
        return verdict

    def _judge(self, actor: Actor, sent: Sent, kind: str) -> None:
        sent.verdict = VERDICTS[kind]._replace(api_id=f"api-{sent.number}")
        sent.attempt.left_ms = sent.attempt.deadline - self.now
        sent.attempt.waited_ms = sent.attempt.settles = 0
        self._answer(actor, sent.verdict)

    def _refresh(self, actor: Actor, process: Process, fault: str) -> None:
        if fault == "hung":
            self._waits(process, int(CALL_SECONDS * 1000))
        if fault in ("none", "twice"):
            self._answer(actor, "new" if fault == "none" else "old")
        else:
            self._answer(actor, SecretUnavailable("out of reach"))

    # --- DynamoDB ------------------------------------------------------------------------------

    def _meet(self, actor: Actor, process: Process, call: Call, fault: str) -> None:
        process.unheard = fault not in ("none", "twice")
        if fault == "hung":
            self._waits(process, process.patience_ms)
        if fault in ("late", "hung", "twice") and call.is_write:
            self.late.append((call, process))
        reply: object = None
        if fault in ("none", "twice", "retried", "lost", "garbled"):
            reply = self._made(call, process, heard=fault in ("none", "twice"))
            if fault == "retried":
                return  # the actor still waits for the same call
        if fault == "foreign":
            reply = {}
        elif fault == "garbled":
            reply = ResponseParserError()
        elif fault == "broken":
            reply = RuntimeError("of the process's credentials")
        elif fault not in ("none", "twice"):
            reply = ReadTimeoutError(endpoint_url="dynamodb")
        self._answer(actor, reply)

    def _made(
        self, call: Call, process: Process, *, at_once: bool = True, heard: bool = False
    ) -> object:
        """Make the call; its reply, or the error that it is answered with."""
        if at_once:
            self.invariants.calls(process)
        try:
            reply: object = getattr(self._client, call.operation)(**call.arguments)
        except ClientError as error:
            if isinstance(process, Attempt):
                process.refused += at_once
            return error
        if call.is_write:
            item = self._item(call.pk)
            self.invariants.written(process, call, item, at_once=at_once, heard=heard)
        return reply

    def _item(self, pk: str) -> Any:
        key = {"pk": {"S": pk}}
        return self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)["Item"]


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

    def send(self, action: Action, credentials: PlivoCredentials, deadline: Deadline) -> Verdict:
        self._world.invariants.sends(self._attempt, action, credentials.auth_token, deadline)
        return self._world.post(self._actor, self._attempt, credentials.auth_token)

    def read(self, resource: Resource, _: PlivoCredentials, deadline: Deadline) -> Reading:
        raise AssertionError(f"nothing is read here: {resource}, {deadline}")


class _Secret:
    def __init__(self, actor: Actor, *, there: bool) -> None:
        self._actor = actor
        self._there = there

    def get(self) -> PlivoCredentials:
        if not self._there:
            raise SecretUnavailable("out of reach")
        return PlivoCredentials("MAXXXXXXXXXXXXXXXXXX", "old")

    def refresh(self) -> PlivoCredentials:
        return PlivoCredentials("MAXXXXXXXXXXXXXXXXXX", self._actor.ask(Refresh()))


def _ttl_ms(item: Any) -> int:
    return int(item["ttl"]["N"]) * 1000
