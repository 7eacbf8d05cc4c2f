"""Every interleaving of two invocations with one fault, or with one pause.

Nothing is random here: every possible choice is made once. What an invocation does with Plivo
affects no other one, so only the calls of DynamoDB are put in every order.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from tests.explorer.actors import Call, Connect, Wish
from tests.explorer.invariants import Broken
from tests.explorer.states import state_of
from tests.explorer.trace import (
    Ask,
    Deliver,
    End,
    Go,
    Kill,
    Reconcile,
    Run,
    Step,
    Wait,
    in_memory,
)

#: Of ``world.FAULTS``, those that differ where time stands still.
WRITE_FAULTS = ("retried", "lost", "refused", "late", "twice", "foreign")


#: More switches than any run has.
MANY = 1_000


@dataclass(frozen=True)
class Scenario:
    """Two invocations, ``a`` and ``b``, and what happened before.

    verdicts
        Plivo's verdict on each.
    telling
        Whether the short form plays it with one fault, too.
    """

    name: str
    first: Ask
    second: Ask | Reconcile
    before: tuple[Step, ...] = ()
    verdicts: tuple[str, str] = ("accepted", "accepted")
    telling: bool = False


@dataclass(frozen=True)
class Bounds:
    """How much may happen in a run.

    pauses
        How often time passes until every lease has expired.
    switches
        How often a run may switch to the other invocation before the current one ends.
    """

    faults: int = 1
    pauses: int = 1
    switches: int = MANY


#: What is played of each scenario in the long form. With a fault and a pause, the invocations take
#: turns three times at most.
LONG = (
    Bounds(faults=1, pauses=0),
    Bounds(faults=0, pauses=1),
    Bounds(faults=1, pauses=1, switches=2),
)

PAUSE = Wait(37_000)

_ONE = Ask("a")
_THROTTLED = (Ask("p"), Run("p", verdict="throttled"))
_ACCEPTED = (Ask("p"), Run("p"), Wait(6_000))
_MARKED = (Ask("p"), *[Go("p")] * 4, Kill("p"))
_CLAIMED = (Ask("p"), *[Go("p")] * 2, Kill("p"))

_PROVEN = (*[Ask("p"), *[Go("p")] * 4], PAUSE, Ask("q", "key-2"), Run("q"), Run("p", "throttled"))

SCENARIOS = (
    Scenario("one key twice", _ONE, Ask("b"), telling=True),
    Scenario("one key twice, refused at first", _ONE, Ask("b"), verdicts=("throttled", "accepted")),
    Scenario("two keys", _ONE, Ask("b", "key-2"), telling=True),
    Scenario(
        "two keys, the first throttled", _ONE, Ask("b", "key-2"), (), ("throttled", "accepted")
    ),
    Scenario("two keys, the first unknown", _ONE, Ask("b", "key-2"), (), ("unknown", "accepted")),
    Scenario("two keys of a member", Ask("a", content="hold"), Ask("b", "key-2", "hold")),
    Scenario(
        "one key of a member twice",
        Ask("a", content="hold"),
        Ask("b", content="hold"),
        telling=True,
    ),
    Scenario("two entry points", _ONE, Ask("b", "", event="event-1")),
    Scenario(
        "an event twice", Ask("a", "", event="event-1"), Ask("b", "", event="event-1"), telling=True
    ),
    Scenario("an event with a key twice", Ask("a", event="event-1"), Ask("b", event="event-1")),
    Scenario("two events, one key", Ask("a", event="event-1"), Ask("b", event="event-2")),
    Scenario("a retry twice", _ONE, Ask("b"), _THROTTLED, telling=True),
    Scenario("a retry twice, and a fast clock", _ONE, Ask("b", clock=60_000), _THROTTLED),
    Scenario("a retry and another key", _ONE, Ask("b", "key-2"), _THROTTLED),
    Scenario("a retry and a fast clock", _ONE, Ask("b", "key-2", clock=60_000), _THROTTLED),
    Scenario("two keys and a fast clock", _ONE, Ask("b", "key-2", clock=60_000)),
    Scenario("one key and a fast clock", _ONE, Ask("b", clock=60_000)),
    Scenario(
        "after the window, and in it",
        Ask("a", "key-2"),
        Ask("b", "key-3", waited=4_000),
        _ACCEPTED,
        ("throttled", "accepted"),
    ),
    Scenario("the first of two was not sent", Ask("a", "key-3"), Ask("b"), _PROVEN),
    Scenario("a retry and the reconciler", _ONE, Reconcile("b"), (*_MARKED, PAUSE), telling=True),
    Scenario("the reconciler's clock is fast", _ONE, Reconcile("b", clock=60_000)),
    Scenario("two versions, one key", _ONE, Ask("b", version=2)),
    Scenario("two versions, two keys", _ONE, Ask("b", "key-2", version=2)),
    Scenario("after a kill, two keys", _ONE, Ask("b", "key-2"), (*_MARKED, PAUSE)),
    Scenario("after a kill, one key", _ONE, Ask("b"), (*_CLAIMED, PAUSE)),
)


class Choices:
    """Enumerates the choices of all runs, depth first."""

    def __init__(self) -> None:
        self._made: list[list[int]] = []  # what was chosen, and of how many
        self._at = 0

    @property
    def new(self) -> bool:
        """Whether this run has diverged from the one before it."""
        return self._at == len(self._made)

    def choose(self, count: int) -> int:
        if self._at == len(self._made):
            self._made.append([0, count])
        choice = self._made[self._at][0]
        self._at += 1
        return choice

    def more(self) -> bool:
        """Go back to the start for the next run; whether there is one."""
        self._at = 0
        while self._made:
            self._made[-1][0] += 1
            if self._made[-1][0] < self._made[-1][1]:
                return True
            self._made.pop()
        return False


def every_run(scenario: Scenario, bounds: Bounds) -> Iterator[tuple[list[Step], Broken | None]]:
    """The steps of each run, up to the first rule that it breaks.

    A run that reaches the state of an earlier run ends there: the rest has been played.
    """
    choices, seen = Choices(), set[Hashable]()
    while True:
        yield _Run(scenario, bounds, choices, seen).play()
        if not choices.more():
            return


class _Run:
    def __init__(
        self, scenario: Scenario, bounds: Bounds, choices: Choices, seen: set[Hashable]
    ) -> None:
        self._world = in_memory()
        self._world.remembers = True
        self._seen = seen
        self._scenario = scenario
        self._verdicts = dict(zip("ab", scenario.verdicts, strict=True))
        self._choices = choices
        self._faults = bounds.faults
        self._pauses = bounds.pauses
        self._switches = bounds.switches
        self._current = ""
        self._trace: list[Step] = []

    def play(self) -> tuple[list[Step], Broken | None]:
        scenario = self._scenario
        try:
            for step in (*scenario.before, scenario.first):
                self._do(step)
            if isinstance(scenario.second, Ask):
                self._do(scenario.second)
            while moves := self._moves():
                move = moves[self._choices.choose(len(moves))]
                self._account(move)
                self._do(move)
                self._go_on_alone()
                if self._was_here():
                    return self._trace, None
            self._do(End(reconciled=len(self._trace) % 2 == 0))
        except Broken as broken:
            return self._trace, broken
        finally:
            self._world.drop()
        return self._trace, None

    def _was_here(self) -> bool:
        """Whether another run was in this state, with the same bounds left."""
        if not self._choices.new:
            return False
        current = self._current if self._switches < MANY else ""
        left = self._faults, self._pauses, self._switches, current
        here = hash((left, state_of(self._world)))
        known = here in self._seen
        self._seen.add(here)
        return known

    def _do(self, step: Step) -> None:
        self._trace.append(step)
        step.apply(self._world)

    def _moves(self) -> list[Step]:
        """What may happen next; nothing when both have ended."""
        alive = [name for name in "ab" if self._world.alive(name)]
        if not alive:
            return []
        if self._current in alive and not self._switches:
            alive = [self._current]
        moves: list[Step] = []
        for name in alive:
            moves.append(Go(name))
            if self._faults:
                moves += [Go(name, fault) for fault in self._possible_faults(name)]
                moves.append(Kill(name))
        if isinstance(self._scenario.second, Reconcile) and "b" not in self._world.named:
            moves.append(self._scenario.second)  # what it finds depends on when it begins
        if self._pauses:
            moves.append(PAUSE)
        if self._world.late:
            moves.append(Deliver())
        return moves

    def _possible_faults(self, name: str) -> tuple[str, ...]:
        actor = self._world.alive(name)
        assert actor is not None
        assert isinstance(actor.wish, Call)
        return WRITE_FAULTS if actor.wish.is_write else ("refused",)

    def _account(self, move: Step) -> None:
        if isinstance(move, Wait):
            self._pauses -= 1
        elif isinstance(move, (Go, Kill)):
            bounded = self._switches < MANY
            if bounded and self._world.alive(self._current) and self._current != move.name:
                self._switches -= 1
            self._current = move.name
            self._faults -= isinstance(move, Kill) or move.fault != "none"

    def _go_on_alone(self) -> None:
        """Run what no other invocation can notice: Plivo, and queries of the index."""
        for name in "ab":
            while (actor := self._world.alive(name)) and not self._concerns_others(actor.wish):
                fails = isinstance(actor.wish, Connect) and self._faults and self._choices.choose(2)
                if fails:
                    self._faults -= 1
                self._do(Go(name, "refused" if fails else "none", self._verdicts[name]))

    @staticmethod
    def _concerns_others(wish: Wish | None) -> bool:
        return isinstance(wish, Call) and wish.operation != "query"
