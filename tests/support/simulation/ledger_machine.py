"""The ledger's state machine: what hypothesis may do to the world, in any order."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cold_transfer.action import Action, ActionName, ActionRequest, EntryPoint
from cold_transfer.causes import Resolution
from tests.support.builders import NODE_ID, PHLO_ID, TO, TRIGGER_SOURCE
from tests.support.simulation.world import SKEW_MS, VERDICTS, World

#: Of each shape, the first two are one content, written differently.
CONTENTS = (
    Action(PHLO_ID, NODE_ID, TO, TRIGGER_SOURCE),
    Action(PHLO_ID.upper(), NODE_ID, TO.removeprefix("+"), TRIGGER_SOURCE),
    Action(PHLO_ID, NODE_ID, "sip:desk@phone.plivo.com", TRIGGER_SOURCE),
    Action(PHLO_ID, NODE_ID, name=ActionName.HOLD, member_address=TO),
    Action(PHLO_ID, NODE_ID.upper(), name=ActionName.HOLD, member_address=TO.removeprefix("+")),
)
FAULTS = ("retried", "lost", "refused", "late", "twice")
MOST_ACTORS = 6
DAY_MS = 86_400_000

requests = st.builds(
    lambda content, entry_point, key, waited, delivery: ActionRequest(
        content, entry_point, "crm", key, waited=waited, delivery=delivery
    ),
    st.sampled_from(CONTENTS),
    st.sampled_from(EntryPoint),
    st.sampled_from("abc"),
    st.sampled_from((0, 0, 4_000, 28_000)),
    st.sampled_from(("", "1", "2")),
)
numbers = st.integers(min_value=0, max_value=1_000)
skews = st.sampled_from((0, 0, -SKEW_MS, SKEW_MS))
verdicts = st.sampled_from(tuple(VERDICTS))


class LedgerMachine(RuleBasedStateMachine):
    """``new_world`` is given by the tests: an empty table on some DynamoDB API."""

    applied = 0  # rules, by hypothesis, in all runs
    steps = 0  # of processes
    posts = 0

    def __init__(self) -> None:
        super().__init__()
        self.world = self.new_world()

    def new_world(self) -> World:
        raise NotImplementedError

    def _actor(self, number: int) -> Any:
        return self.world.actors[number % len(self.world.actors)]

    @precondition(lambda self: len(self.world.actors) < MOST_ACTORS)
    @rule(request=requests, skew=skews, secret=st.sampled_from((True, True, True, False)))
    def begin(self, request: ActionRequest, skew: int, secret: bool) -> None:  # noqa: FBT001  drawn
        self.world.begin(request, skew=skew, secret=secret)

    @precondition(lambda self: len(self.world.actors) < MOST_ACTORS)
    @rule(request=requests, verdict=verdicts)
    def begin_and_end(self, request: ActionRequest, verdict: str) -> None:
        self.world.run(self.world.begin(request), verdict)

    @precondition(lambda self: len(self.world.actors) < MOST_ACTORS)
    @rule(skew=skews)
    def begin_reconciler(self, skew: int) -> None:
        self.world.begin_reconciler(skew=skew)

    @precondition(lambda self: self.world.actors)
    @rule(number=numbers, verdict=verdicts, count=st.integers(min_value=1, max_value=4))
    def go_on(self, number: int, verdict: str, count: int) -> None:
        actor = self._actor(number)
        for _ in range(count):
            if actor.alive:
                self.world.step(actor, verdict)

    @precondition(lambda self: self.world.actors)
    @rule(number=numbers, fault=st.sampled_from(FAULTS))
    def fail(self, number: int, fault: str) -> None:
        self.world.step(self._actor(number), fault=fault)

    @precondition(lambda self: self.world.actors)
    @rule(number=numbers, verdict=verdicts)
    def go_on_to_the_end(self, number: int, verdict: str) -> None:
        self.world.run(self._actor(number), verdict)

    @precondition(lambda self: self.world.actors)
    @rule(number=numbers)
    def crash(self, number: int) -> None:
        self.world.kill(self._actor(number))

    @precondition(lambda self: self.world.late)
    @rule(number=numbers)
    def deliver(self, number: int) -> None:
        self.world.deliver(number % len(self.world.late))

    @rule(number=numbers, resolution=st.sampled_from(Resolution))
    def resolve(self, number: int, resolution: Resolution) -> None:
        self.world.resolve(number, resolution)

    @rule(seconds=st.sampled_from((0.2, 3, 6, 11, 23, 26, 37, 61, 122)))
    def time_passes(self, seconds: float) -> None:
        self.world.now += int(seconds * 1000)

    @rule()
    def records_end(self) -> None:
        """Sixteen days: nothing of today is still under way, and TTL has taken what is due."""
        for actor in list(self.world.actors):
            self.world.kill(actor)
        self.world.late.clear()
        self.world.now += 60_000
        self.world.reconcile()
        self.world.now += 16 * DAY_MS
        self.world.expire()

    @invariant()
    def holds(self) -> None:
        type(self).applied += 1
        self.world.check()

    def teardown(self) -> None:
        type(self).steps += self.world.steps
        type(self).posts += len(self.world.sent)
        try:
            self.world.end()
            self.world.check()
        finally:
            for actor in self.world.actors:  # some are left where a rule was broken
                actor.kill()
            self.world.drop()
