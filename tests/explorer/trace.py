"""What may happen in the world, as steps: a run is a list of them, and can be repeated.

A step that has nothing to act on does nothing, so that any part of a trace is a trace too.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from cold_transfer.action import Action, ActionName, ActionRequest, EntryPoint
from cold_transfer.causes import Resolution
from cold_transfer.ledger.record import State
from tests.explorer.actors import Actor, Call
from tests.explorer.invariants import Broken
from tests.explorer.world import INVOCATION_MS, MAX_AGE_MS, World
from tests.support.builders import NODE_ID, PHLO_ID, TO, TRIGGER_SOURCE
from tests.support.fake_dynamodb import FakeDynamoDB

DAY_MS = 86_400_000

NAMELESS = "nameless"

#: The client. Its first two keys in these tests are in the same partition of an index.
CLIENT = "contact-centre"

#: ``the same …`` is the content before it, written differently.
CONTENTS = {
    "desk": Action(PHLO_ID, NODE_ID, TO, TRIGGER_SOURCE),
    "the same desk": Action(PHLO_ID.upper(), NODE_ID, TO.removeprefix("+"), TRIGGER_SOURCE),
    "another": Action(PHLO_ID, NODE_ID, "sip:desk@phone.plivo.com", TRIGGER_SOURCE),
    "warm": Action(PHLO_ID, NODE_ID, TO, TRIGGER_SOURCE, name=ActionName.WARM_TRANSFER),
    # on a member of the call: only the key counts
    "hold": Action(PHLO_ID, NODE_ID, name=ActionName.HOLD, member_address=TO),
    "the same hold": Action(
        PHLO_ID, NODE_ID.upper(), name=ActionName.HOLD, member_address=TO.removeprefix("+")
    ),
    "unhold": Action(PHLO_ID, NODE_ID, name=ActionName.UNHOLD, member_address=TO),
}


_STAYS = (None, State.DUPLICATE, State.NOT_SENT)


class Step:
    """Something that happens; its repr has only the fields that differ from their defaults."""

    def apply(self, world: "Named") -> None:
        raise NotImplementedError

    def __repr__(self) -> str:
        fields = dataclasses.fields(self)  # type: ignore[arg-type]  # every step is a dataclass
        shown = [
            repr(value) if field.default is dataclasses.MISSING else f"{field.name}={value!r}"
            for field in fields
            if (value := getattr(self, field.name)) != field.default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


@dataclass(frozen=True, repr=False)
class Ask(Step):
    """A request arrives, and an invocation called ``name`` handles it.

    event
        The id of the EventBridge event; ``NAMELESS`` for one without, empty for a webhook.
    asked
        How long before now its ``requested_at`` is, in milliseconds, if it has one.
    archive
        Whether an archive of the bus replays the event.
    clock
        The error of its wall clock, in milliseconds.
    """

    name: str
    key: str = "key-1"
    content: str = "desk"
    event: str = ""
    client: str = CLIENT
    waited: int = 0
    asked: int | None = None
    archive: bool = False
    clock: int = 0
    version: int = 1
    left: int = INVOCATION_MS
    max_age: int = MAX_AGE_MS
    secret: bool = True

    def request(self, now: int) -> ActionRequest:
        return ActionRequest(
            CONTENTS[self.content],
            EntryPoint.EVENT if self.event else EntryPoint.WEBHOOK,
            self.client,
            self.key or self.event,
            None if self.asked is None else now - self.asked,
            self.waited,
            self.event if self.event != NAMELESS else "",
            from_archive=self.archive,
        )

    def apply(self, world: "Named") -> None:
        if self.name not in world.named:
            world.named[self.name] = world.begin(
                self.request(world.now),
                skew=self.clock,
                version=self.version,
                left_ms=self.left,
                max_age=self.max_age,
                secret=self.secret,
            )


@dataclass(frozen=True, repr=False)
class Look(Step):
    """A client looks up a request; the fields are those of ``Ask``."""

    name: str
    key: str = "key-1"
    event: str = ""
    clock: int = 0

    def apply(self, world: "Named") -> None:
        if self.name not in world.named:
            request = Ask(self.name, self.key, event=self.event).request(world.now)
            world.named[self.name] = world.begin_lookup(request.action_id(), skew=self.clock)


@dataclass(frozen=True, repr=False)
class Reconcile(Step):
    """The reconciler starts."""

    name: str
    clock: int = 0

    def apply(self, world: "Named") -> None:
        if self.name not in world.named:
            world.named[self.name] = world.begin_reconciler(skew=self.clock)


@dataclass(frozen=True, repr=False)
class Go(Step):
    """The invocation gets what it waits for, and runs up to its next wish."""

    name: str
    fault: str = "none"
    verdict: str = "accepted"

    def apply(self, world: "Named") -> None:
        actor = world.alive(self.name)
        if actor is not None:
            world.step(actor, self.verdict, self.fault)


@dataclass(frozen=True, repr=False)
class Run(Step):
    """The invocation runs to its end without faults."""

    name: str
    verdict: str = "accepted"

    def apply(self, world: "Named") -> None:
        actor = world.alive(self.name)
        if actor is not None:
            world.run(actor, self.verdict)


@dataclass(frozen=True, repr=False)
class Kill(Step):
    name: str

    def apply(self, world: "Named") -> None:
        actor = world.alive(self.name)
        if actor is not None:
            world.kill(actor)


@dataclass(frozen=True, repr=False)
class Jump(Step):
    """The error of the invocation's wall clock changes."""

    name: str
    clock: int

    def apply(self, world: "Named") -> None:
        actor = world.alive(self.name)
        if actor is not None:
            world.jump(actor, self.clock)


@dataclass(frozen=True, repr=False)
class Deliver(Step):
    """A late call arrives at the table, or a doubled one once more."""

    number: int = 0

    def apply(self, world: "Named") -> None:
        if self.number < len(world.late):
            world.deliver(self.number)


@dataclass(frozen=True, repr=False)
class Wait(Step):
    """Time passes; to the invocations this is a freeze."""

    milliseconds: int

    def apply(self, world: "Named") -> None:
        world.now += self.milliseconds


@dataclass(frozen=True, repr=False)
class Days(Step):
    """Days pass: every invocation has ended, and the reconciler has run."""

    days: int

    def apply(self, world: "Named") -> None:
        world.abandon()
        world.reconcile()
        world.now += self.days * DAY_MS + 1


@dataclass(frozen=True, repr=False)
class Expire(Step):
    """TTL deletes the items that are due, or one of them."""

    number: int | None = None

    def apply(self, world: "Named") -> None:
        world.expire(self.number)


@dataclass(frozen=True, repr=False)
class Rewrite(Step):
    """Another version of the code gives a record a state that this one does not know.

    Not to a duplicate or a not_sent record: every version has to claim that first, under another
    owner, and the condition of this version's claim is the owner.
    """

    key: str = "key-1"
    event: str = ""

    def apply(self, world: "Named") -> None:
        action_id = Ask("", self.key, event=self.event).request(world.now).action_id()
        record = world.invariants.known.get(action_id)
        if record is not None and record.state not in _STAYS:
            world.rewrite(action_id, "archived")


@dataclass(frozen=True, repr=False)
class Resolve(Step):
    """A person resolves an unknown outcome; ``key`` and ``event`` are as in ``Ask``."""

    key: str = "key-1"
    event: str = ""
    happened: bool = False

    def apply(self, world: "Named") -> None:
        action_id = Ask("", self.key, event=self.event).request(world.now).action_id()
        found = Resolution.HAPPENED if self.happened else Resolution.DID_NOT_HAPPEN
        world.resolve(action_id, found)


@dataclass(frozen=True, repr=False)
class End(Step):
    """Every invocation is killed, and each request must get a final outcome."""

    reconciled: bool = True

    def apply(self, world: "Named") -> None:
        world.end(reconciled=self.reconciled)


type Trace = Sequence[Step]


class Named(World):
    """A world whose invocations have names."""

    def __init__(self, client: object, table: str, drop: Callable[..., object]) -> None:
        super().__init__(client, table, drop)
        self.named: dict[str, Actor] = {}

    def alive(self, name: str) -> Actor | None:
        actor = self.named.get(name)
        return actor if actor is not None and actor.alive else None


def in_memory() -> Named:
    return Named(FakeDynamoDB(page_size=1), "ledger", lambda **_: None)


def play(trace: Iterable[Step], world: Named) -> Broken | None:
    """Play the trace in ``world``; the first rule that it breaks."""
    try:
        for step in trace:
            step.apply(world)
    except Broken as broken:
        return broken
    finally:
        world.drop()
    return None


def shrink(trace: Trace, rule: str) -> list[Step]:
    """A short trace that still breaks ``rule``: steps and field values are dropped greedily."""

    def breaks(tried: Trace) -> bool:
        broken = play(tried, in_memory())
        return broken is not None and broken.rule == rule

    found = list(trace)
    size = len(found) // 2
    while size:
        at = 0
        while at < len(found):
            tried = found[:at] + found[at + size :]
            if breaks(tried):
                found = tried
            else:
                at += size
        size //= 2
    changed = True
    while changed:
        changed = False
        for at, step in enumerate(found):
            for plainer in _plainer(step):
                tried = [*found[:at], *([plainer] if plainer else []), *found[at + 1 :]]
                if breaks(tried):
                    found, changed = tried, True
                    break
            if changed:
                break
    return found


def _plainer(step: Step) -> Iterable[Step | None]:
    """The step left out (None), or with one field at its default."""
    yield None
    for field in dataclasses.fields(step):  # type: ignore[arg-type]  # every step is a dataclass
        default = field.default
        if default is not dataclasses.MISSING and getattr(step, field.name) != default:
            yield dataclasses.replace(step, **{field.name: default})  # type: ignore[type-var]  # as above


def told(trace: Trace) -> str:
    """The trace as Python source, with the call that each step makes."""
    world = in_memory()
    lines = []
    try:
        for step in trace:
            actor = world.alive(getattr(step, "name", ""))
            wish = actor.wish if actor is not None else None
            what = type(wish).__name__.lower() if wish is not None else ""
            if isinstance(wish, Call):
                what = wish.writes or "read"
            lines.append(f"    {step!r},{f'  # {what}' if what else ''}")
            step.apply(world)
    except Broken as broken:
        lines.append(f"    # broken: {broken}")
    finally:
        world.drop()
    return "\n".join(lines)


def report(source: str, trace: Trace, broken: Broken) -> str:
    """The rule that was broken, and a short trace that breaks it."""
    return f"{broken}\nby {source}, in few steps:\n{told(shrink(trace, broken.rule))}"
