"""Random runs: a seed always makes the same run.

Each run first draws its own probabilities, so that some concentrate on what others never meet: the
kinds and rate of faults, wrong clocks, the contents and keys that are requested.
"""

import itertools
from collections.abc import Callable, Iterator
from random import Random

from cold_transfer.ledger.record import OPEN, State
from tests.explorer.invariants import Broken
from tests.explorer.trace import (
    CLIENT,
    NAMELESS,
    Ask,
    Days,
    Deliver,
    End,
    Expire,
    Go,
    Jump,
    Kill,
    Look,
    Named,
    Reconcile,
    Resolve,
    Rewrite,
    Run,
    Step,
    Wait,
)
from tests.explorer.world import FAULTS, LONGEST_AGE_MS, MAX_AGE_MS, VERDICTS
from tests.support.ledgers import POLICY

_CLOCKS = ((0,), (0,), (0,), (0, -1_000, 1_000), (0, 60_000, -60_000), (0, 0, 130_000))
#: The first content of each is requested most.
_CONTENTS = (
    *4 * (("desk",),),
    *2 * (("desk", "the same desk", "another"),),
    ("desk", "warm"),
    ("desk", "hold"),
    ("hold",),
    ("hold", "the same hold", "unhold"),
)
_VERSIONS = ((1,), (1,), (1,), (1,), (1, 2), (1, 3))
_SOON = (200, 1_000, 3_000, 4_000, 6_000)
_LATER = (11_000, 23_000, 26_000, 37_000, 61_000, 122_000)
_DAYS = (2, 15, 16)
_MOST_ALIVE = 3
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Draw:
    """Draws the steps of one run, depending on the state of ``world``."""

    def __init__(self, seed: int, world: Named) -> None:
        self._random = random = Random(seed)  # noqa: S311  reproducible, not secret
        self._world = world
        self._names = (f"{letter}{number or ''}" for number in range(9) for letter in _LETTERS)
        self._alive: list[str] = []
        self._current = ""
        self._asked: list[Ask] = []
        self._planned: list[Callable[[], Step | None]] = []
        self._requests = random.randint(2, 7)
        self._length = random.randint(15, 60)
        # the probabilities of this run
        self._keys = ("key-1", "key-2", "key-3")[: random.choice((1, 2, 2, 3, 3, 3))]
        self._events = random.choice((0.0, 0.0, 0.5, 1.0))
        self._own_ids = random.choice((0.0, 0.5, 1.0))
        self._odd = random.choice((0.0, 0.0, 0.0, 0.3))
        self._contents = random.choice(_CONTENTS)
        self._max_age = random.choice((MAX_AGE_MS, MAX_AGE_MS, LONGEST_AGE_MS))
        self._late = random.choice((0.0, 0.3, 0.6))
        self._at_once = random.choice((0.0, 0.4, 0.8))
        self._fault_rate = random.choice((0.0, 0.05, 0.15, 0.4))
        self._faults = random.sample(tuple(FAULTS)[1:], random.randint(1, 4))
        self._verdicts = random.choices(tuple(VERDICTS), (8, 1, 3, 5, 1), k=3)
        self._clocks = random.choice(_CLOCKS)
        self._versions = random.choice(_VERSIONS)
        self._bursts = random.choice((0.5, 0.8, 0.95))
        self._waits = random.choice((_SOON, _SOON + _LATER, _SOON + _LATER))
        days = random.random() < 0.2
        self._weights = {
            self._go: random.choice((5.0, 20.0)),
            self._ask: 5.0,
            self._run: random.choice((0.0, 2.0, 5.0)),
            self._wait: random.choice((0.5, 2.0, 4.0)),
            self._deliver: random.choice((1.0, 4.0)),
            self._kill: random.choice((0.0, 0.0, 0.5, 1.0)),
            self._look: random.choice((0.0, 0.5, 1.0)),
            self._reconcile: random.choice((0.0, 0.5, 1.0)),
            self._jump: 1.0 if len(self._clocks) > 1 else 0.0,
            self._days: 0.5 if days else 0.0,
            self._expire: 1.0 if days else 0.1,
            self._rewrite: 2.0 if len(self._versions) > 1 else 0.0,
            self._resolve: 2.0 if "unknown" in self._verdicts else 0.0,
        }

    def steps(self) -> Iterator[Step]:
        """Apply each step before taking the next one, which depends on it."""
        kinds, weights = tuple(self._weights), tuple(itertools.accumulate(self._weights.values()))
        for _ in range(self._length):
            self._alive = [name for name in self._alive if self._world.alive(name)]
            if not self._alive and not self._requests:
                break
            if self._planned:
                kind = self._planned.pop()
            else:
                kind = self._random.choices(kinds, cum_weights=weights)[0]
            step = kind()
            if step is not None:
                yield step
        yield End(reconciled=self._random.random() < 0.5)

    # --- steps ---------------------------------------------------------------------------------

    def _ask(self) -> Step | None:
        if not self._requests or len(self._alive) >= _MOST_ALIVE:
            return None
        self._requests -= 1
        random = self._random
        key = random.choice(self._keys)
        event = ""
        if random.random() < self._events:
            event = random.choice(("event-1", "event-1", "event-2", NAMELESS))
            key = "" if random.random() < self._own_ids and event != NAMELESS else key
        self._current = self._name()
        if random.random() < self._at_once:
            self._planned = [self._run_current]
        elif random.random() < self._at_once:  # up to its POST, or nearly, and frozen there
            wait = [self._wait] if random.random() < 0.5 else []
            self._planned = [*wait, *[self._go_current] * random.randint(3, 5)]
        ask = Ask(
            self._current,
            key,
            self._contents[0] if random.random() < 0.7 else random.choice(self._contents),
            event,
            CLIENT if not self._oddly() else "crm",
            waited=self._waited(),
            asked=random.choice((1_000, 30_000, 61_000)) if self._oddly() else None,
            archive=event not in ("", NAMELESS) and self._oddly(),
            clock=random.choice(self._clocks),
            version=random.choice(self._versions),
            left=random.choice((2_500, 6_000)) if self._oddly() else 25_000,
            max_age=self._max_age,
            secret=not self._oddly(),
        )
        self._asked.append(ask)
        return ask

    def _waited(self) -> int:
        """How long it waited for a function: not at all, or since shortly before a window's end."""
        random = self._random
        if random.random() > self._late:
            return 0
        ends = [-moment for moment in self._moments()]
        back = [ago + random.randint(0, 1) for ago in ends if 0 < ago < self._max_age]
        return random.choice((4_000, 28_000, *back, *back))

    def _oddly(self) -> bool:
        return self._random.random() < self._odd

    def _go(self) -> Step | None:
        if not self._alive:
            return self._ask()
        if self._current not in self._alive or self._random.random() > self._bursts:
            self._current = self._random.choice(self._alive)
        fault = "none"
        if self._random.random() < self._fault_rate:
            fault = self._random.choice(self._faults)
        return Go(self._current, fault, self._random.choice(self._verdicts))

    def _run(self) -> Step | None:
        if not self._alive:
            return None
        return Run(self._random.choice(self._alive), self._random.choice(self._verdicts))

    def _go_current(self) -> Step:
        return Go(self._current)

    def _run_current(self) -> Step:
        return Run(self._current, self._random.choice(self._verdicts))

    def _kill(self) -> Step | None:
        return Kill(self._random.choice(self._alive)) if self._alive else None

    def _deliver(self) -> Step | None:
        late = len(self._world.late)
        return Deliver(self._random.randrange(late)) if late else None

    def _look(self) -> Step:
        return Look(self._name(), *self._any_action(), self._random.choice(self._clocks))

    def _reconcile(self) -> Step:
        return Reconcile(self._name(), self._random.choice(self._clocks))

    def _jump(self) -> Step | None:
        if not self._alive:
            return None
        return Jump(self._random.choice(self._alive), self._random.choice(self._clocks))

    def _days(self) -> Step:
        return Days(self._random.choice(_DAYS))

    def _expire(self) -> Step:
        return Expire(self._random.choice((None, 0, 1)))

    def _rewrite(self) -> Step:
        return Rewrite(*self._any_action())

    def _resolve(self) -> Step | None:
        action = self._any_action(State.UNKNOWN)
        return Resolve(*action, happened=self._random.random() < 0.3) if action[0] else None

    def _any_action(self, *states: State) -> tuple[str, str]:
        """Key and event of a request, in one of ``states`` if there is one."""
        known = self._world.invariants.known
        found = [("", "")] if states else [(self._keys[0], "")]
        for ask in self._asked:
            record = known.get(ask.request(0).action_id())
            if record is not None and (not states or record.state in states):
                found.append((ask.key, ask.event))
        return self._random.choice(found[1:] or found)

    def _wait(self) -> Step | None:
        moments = [moment for moment in self._moments() if moment > 0]
        if moments and self._random.random() < 0.4:
            return Wait(self._random.choice(moments) + self._random.randint(0, 1))
        return Wait(self._random.choice(self._waits))

    def _moments(self) -> list[int]:
        """Milliseconds until each lease or window ends; negative if it has ended."""
        now = self._world.now
        found = []
        for record in self._world.invariants.known.values():
            if record.state in OPEN:
                found.append(record.lease_until - now)
            elif record.state is State.ACCEPTED:
                found.append(record.settled_at + POLICY.duplicate_window - now)
            elif record.state is State.UNKNOWN:
                found.append(record.settled_at + POLICY.unknown_window - now)
        return found

    def _name(self) -> str:
        name = next(self._names)
        self._alive.append(name)
        return name


def explore(seed: int, world: Named) -> tuple[list[Step], Broken | None]:
    """The steps of this seed's run, up to the first rule that it breaks."""
    trace: list[Step] = []
    try:
        for step in Draw(seed, world).steps():
            trace.append(step)
            step.apply(world)
    except Broken as broken:
        return trace, broken
    finally:
        world.drop()
    return trace, None
