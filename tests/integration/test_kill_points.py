"""Processes that are killed, frozen or cut off from DynamoDB at each step of an action.

Whatever happens, and in whatever order the request is repeated: Plivo receives one POST at most,
an action that may have been sent is never sent again, and each request has one end.
"""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from cold_transfer.action import ActionName
from cold_transfer.causes import Cause
from cold_transfer.deadline import now_ms
from cold_transfer.settling import SETTLE_SECONDS
from local.waiting import eventually
from tests.matrix.cells import accepted, answer, died
from tests.matrix.rows import Content
from tests.support.dynamodb_proxy import Network, between
from tests.support.fault_server import ACCEPTS, FAULTS, Fault, FaultServer
from tests.support.ledgers import POLICY, items
from tests.support.processes.environment import (
    AFTER_THE_LEASE_MS,
    ENTRY_POINTS,
    EVENT,
    WEBHOOK,
    Conditions,
    Environment,
    Place,
)
from tests.support.processes.workers import Job, run, run_killed, working

# Every process of these tests has its clock stand still: what is in time and what is late does not
# depend on how busy the machine is. One minute, so that LATER is in the window too.
NOW = Conditions(policy=POLICY._replace(duplicate_window=60_000), clock_ms=now_ms())
LATER = replace(NOW, clock_offset_ms=AFTER_THE_LEASE_MS)

#: Each step at which a process dies, and the state that this leaves.
STEPS = {
    "start": "",
    "before claim": "",
    "after claim": "claimed",
    "before deduplicate": "claimed",
    "after deduplicate": "claimed",
    "before connect": "claimed",
    "after connect": "claimed",
    "before mark_sending": "claimed",
    "after mark_sending": "sending",
    "before send": "sending",
    "after send": "sending",
    "before settle": "sending",
    "after settle": "accepted",
    "end": "accepted",
}
SENT = ("after send", "before settle", "after settle", "end")

each_entry_point = pytest.mark.parametrize("entry_point", ENTRY_POINTS)
each_step = pytest.mark.parametrize("step", STEPS)


@dataclass
class Stage:
    """Where a test plays: the addresses, and the server that counts."""

    place: Place
    plivo: FaultServer
    dynamodb: Any
    content: Content

    def job(self, conditions: Conditions = NOW, *, key: str = "", **how: Any) -> Job:
        return Job(self.place, self.content.entry_point, [self.event(key)], conditions, **how)

    def event(self, key: str = "") -> dict[str, Any]:
        return self.content.event(key=f"{self.content.key}{key}")

    def ask(self, conditions: Conditions = NOW, *, key: str = "") -> str:
        """The answer to the request, in a new process."""
        return run(self.job(conditions, key=key)).text

    def states(self) -> list[str]:
        found = items(self.dynamodb, self.place.table)
        return sorted(i["state"]["S"] for i in found if i["pk"]["S"].startswith("K#"))


@pytest.fixture
def stage(entry_point: str, dynamodb: Any, endpoint_url: str, table: str) -> Iterator[Stage]:
    with playing(entry_point, dynamodb, endpoint_url, table) as stage:
        yield stage


@pytest.fixture
def of_member(stage: Stage) -> Stage:
    """An action on a member, whose key alone counts."""
    return replace(stage, content=replace(stage.content, action=ActionName.HOLD))


@contextmanager
def playing(
    entry_point: str, dynamodb: Any, endpoint_url: str, table: str, *faults: Fault
) -> Iterator[Stage]:
    with FaultServer(*faults) as plivo:
        yield Stage(Place(endpoint_url, table, plivo.url), plivo, dynamodb, Content(entry_point))


def in_flight(entry_point: str) -> str:
    return {WEBHOOK: "409 in-progress", EVENT: "returns in flight"}[entry_point]


def duplicate(entry_point: str) -> str:
    in_the_way = "409 duplicate-in-progress of another"
    return {WEBHOOK: in_the_way, EVENT: "raises duplicate-in-progress"}[entry_point]


@each_entry_point
@each_step
def test_after_a_kill_the_same_request_is_sent_only_if_it_cannot_have_been(
    stage: Stage, step: str, entry_point: str
) -> None:
    run_killed(stage.job(kill=step))

    left = STEPS[step]
    assert stage.states() == ([left] if left else [])
    assert stage.plivo.posts == (step in SENT)

    at_once = stage.ask()
    later = stage.ask(LATER)

    expected = {
        "": (accepted(entry_point), accepted(entry_point, replayed=True), "accepted", 1),
        "claimed": (in_flight(entry_point), accepted(entry_point), "accepted", 1),
        "sending": (in_flight(entry_point), died(entry_point), "unknown", int(step in SENT)),
        "accepted": (*2 * (accepted(entry_point, replayed=True),), "accepted", 1),
    }[left]
    assert (at_once, later, *stage.states(), stage.plivo.posts) == expected
    assert stage.ask(LATER) == (
        later if left == "sending" else accepted(entry_point, replayed=True)
    )
    assert stage.plivo.posts == expected[-1]


@each_entry_point
@pytest.mark.parametrize("step", [it for it in STEPS if not it.endswith("deduplicate")])
def test_after_a_kill_an_action_on_a_member_is_sent_once_for_each_key(
    of_member: Stage, step: str, entry_point: str
) -> None:
    stage = of_member
    run_killed(stage.job(kill=step))
    assert stage.plivo.posts == (step in SENT)

    other = stage.ask(key="-2")
    later = stage.ask(LATER)

    left = STEPS[step]
    assert other == accepted(entry_point)  # its content stands in nobody's way
    assert later == {
        "sending": died(entry_point),
        "accepted": accepted(entry_point, replayed=True),
    }.get(left, accepted(entry_point))
    assert stage.states() == ["accepted", "unknown" if left == "sending" else "accepted"]
    assert stage.plivo.posts == 1 + (left != "sending" or step in SENT)


@each_entry_point
@each_step
def test_after_a_kill_the_same_action_under_another_key_does_not_double_it(
    stage: Stage, step: str, entry_point: str
) -> None:
    run_killed(stage.job(kill=step))

    at_once = stage.ask(key="-2")
    later = stage.ask(LATER, key="-2")
    first = stage.ask(LATER)

    another = accepted(entry_point, replayed=True, another=True)
    unlocked = step in ("start", "before claim", "after claim", "before deduplicate")
    left = STEPS[step]
    if unlocked:  # nobody can know of it yet: the other key is the action
        assert (at_once, later) == (accepted(entry_point), accepted(entry_point, replayed=True))
        assert first == another
    elif left == "claimed":
        assert (at_once, later, first) == (duplicate(entry_point), accepted(entry_point), another)
    elif left == "sending":
        assert (at_once, later) == (duplicate(entry_point), died(entry_point, another=True))
        assert first == died(entry_point)
    else:
        assert (at_once, later, first) == (another, another, accepted(entry_point, replayed=True))
    assert stage.plivo.posts == (left != "sending" or step in SENT)
    end = "unknown" if left == "sending" else "accepted"
    assert stage.states() == sorted([end, "duplicate"])


@pytest.mark.parametrize(
    "entry_point", [WEBHOOK]
)  # the reconciler does not look at the entry point
@each_step
def test_after_a_kill_the_reconciler_finds_what_nobody_repeats(
    stage: Stage, step: str, entry_point: str
) -> None:
    run_killed(stage.job(kill=step))

    with closing(Environment(stage.place, entry_point, NOW, client=stage.dynamodb)) as early:
        assert early.reconcile() == []
    with closing(Environment(stage.place, entry_point, LATER, client=stage.dynamodb)) as late:
        settled = late.reconcile()
        assert late.reconcile() == []

    found = {"claimed": ["not_sent"], "sending": ["unknown"]}.get(STEPS[step], [])
    assert settled == found
    assert stage.states() == (found or ([STEPS[step]] if STEPS[step] else []))
    assert stage.plivo.posts == (step in SENT)


@each_entry_point
def test_killed_while_plivo_has_the_post_and_says_nothing(
    dynamodb: Any, endpoint_url: str, table: str, entry_point: str
) -> None:
    hanging = FAULTS["read-timeout"]
    with playing(entry_point, dynamodb, endpoint_url, table, hanging, ACCEPTS) as stage:
        with working(stage.job()) as worker:
            until(lambda: stage.plivo.posts == 1)
            worker.kill()
            assert worker.killed()

        assert stage.ask() == in_flight(entry_point)
        assert stage.ask(key="-2") == duplicate(entry_point)
        assert stage.ask(LATER) == died(entry_point)
        assert stage.ask(LATER, key="-2") == died(entry_point, another=True)
        assert stage.states() == ["duplicate", "unknown"]
        assert stage.plivo.posts == 1


# DynamoDB's replies

CALLS = ("claim", "deduplicate", "mark_sending", "settle")


@each_entry_point
@pytest.mark.parametrize("how", ["lost", "refused"])
@pytest.mark.parametrize("number", range(len(CALLS)), ids=CALLS)
def test_one_reply_lost_is_made_good_by_the_clients_own_retry(
    stage: Stage, number: int, how: str, entry_point: str
) -> None:
    hit = frozenset({number})
    line = Network(lost=hit) if how == "lost" else Network(refused=hit)
    with between(stage.place.dynamodb_url, line):
        place = replace(stage.place, dynamodb_url=line.url)
        with closing(
            Environment(place, entry_point, replace(NOW, dynamodb_attempts=3))
        ) as environment:
            reply = environment.invoke(stage.event())

        assert len(line.operations) == len(CALLS) + 1

    assert reply.text == accepted(entry_point)
    assert reply.metrics["SettleFailed"] == 0
    assert stage.states() == ["accepted"]
    assert stage.plivo.posts == 1


@dataclass(frozen=True)
class Cut:
    """Which calls of one action DynamoDB executes without a reply, and which it never sees.

    cause, left, end
        What the attempt answers, what it leaves in the ledger, and what a repeat makes of it when
        the lease is over.
    """

    lost: frozenset[int]
    refused: frozenset[int]
    cause: Cause | None
    left: str
    end: str


def since(number: int) -> frozenset[int]:
    return frozenset(range(number, 20))


ONLY: frozenset[int] = frozenset()
CUTS = {
    "claim lost": Cut(frozenset({0}), ONLY, None, "claimed", "accepted"),
    "claim refused": Cut(ONLY, frozenset({0}), None, "", "accepted"),
    "point lost": Cut(frozenset({1}), ONLY, Cause.DEPENDENCY_UNAVAILABLE, "not_sent", "accepted"),
    "point refused": Cut(
        ONLY, frozenset({1}), Cause.DEPENDENCY_UNAVAILABLE, "not_sent", "accepted"
    ),
    "mark lost": Cut(frozenset({2}), ONLY, Cause.DEPENDENCY_UNAVAILABLE, "not_sent", "accepted"),
    "mark refused": Cut(ONLY, frozenset({2}), Cause.DEPENDENCY_UNAVAILABLE, "not_sent", "accepted"),
    "settle lost": Cut(frozenset({3}), ONLY, Cause.ACCEPTED, "accepted", "accepted"),
    "settle refused": Cut(ONLY, frozenset({3}), Cause.ACCEPTED, "accepted", "accepted"),
    "all refused from the settle on": Cut(ONLY, since(3), Cause.ACCEPTED, "sending", "unknown"),
    "all lost from the point on": Cut(
        since(1), ONLY, Cause.DEPENDENCY_UNAVAILABLE, "not_sent", "accepted"
    ),
    "all refused from the point on": Cut(
        ONLY, since(1), Cause.DEPENDENCY_UNAVAILABLE, "claimed", "accepted"
    ),
    "all lost from the mark on": Cut(
        since(2), ONLY, Cause.DEPENDENCY_UNAVAILABLE, "not_sent", "accepted"
    ),
    "all refused from the mark on": Cut(
        ONLY, since(2), Cause.DEPENDENCY_UNAVAILABLE, "claimed", "accepted"
    ),
    "mark lost, all refused after it": Cut(
        frozenset({2}), since(3), Cause.DEPENDENCY_UNAVAILABLE, "sending", "unknown"
    ),
}


@each_entry_point
@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS.keys())
def test_a_call_without_a_reply_never_leads_to_a_second_post(
    stage: Stage, cut: Cut, entry_point: str
) -> None:
    line = Network(lost=cut.lost, refused=cut.refused)
    with between(stage.place.dynamodb_url, line):
        place = replace(stage.place, dynamodb_url=line.url)
        with closing(Environment(place, entry_point, NOW)) as environment:
            reply = environment.invoke(stage.event())

    cause = cut.cause or Cause.DEPENDENCY_UNAVAILABLE
    status = 201 if cause is Cause.ACCEPTED else 503
    assert reply.text == answer(entry_point, cause, status, raised=cut.cause is None)
    assert stage.states() == ([cut.left] if cut.left else [])
    sent = stage.plivo.posts
    assert sent == (cause is Cause.ACCEPTED)

    with closing(
        Environment(stage.place, entry_point, LATER, client=stage.dynamodb)
    ) as environment:
        later = environment.invoke(stage.event()).text

    assert later == (
        died(entry_point)
        if cut.end == "unknown"
        else accepted(entry_point, replayed=cut.left == "accepted")
    )
    assert stage.states() == [cut.end]
    assert stage.plivo.posts == (sent if cut.end == "unknown" else 1)


# Frozen processes

#: A connection that has not been used for longer is not used again.
IDLE_MS = 10_000
#: Time enough to come to the step on a busy machine: of these, 3 s are for the POST and the settle.
SHORT = replace(NOW, timeout_ms=8_000)


@each_entry_point
@pytest.mark.parametrize("step", ["after mark_sending", "before send"])
def test_frozen_before_the_post_and_given_up_by_others_it_sends_once_when_it_wakes(
    stage: Stage, step: str, entry_point: str
) -> None:
    with working(stage.job(freeze=step)) as worker:
        worker.wait_until_frozen()
        others = [stage.ask(), stage.ask(LATER), stage.ask(LATER, key="-2")]
        assert stage.states() == ["duplicate", "unknown"]
        worker.wake()
        own = worker.reply().text

    assert others == [in_flight(entry_point), died(entry_point), died(entry_point, another=True)]
    assert own == accepted(
        entry_point
    )  # it knows better, and is the one that may correct the record
    assert stage.ask(LATER) == accepted(entry_point, replayed=True)
    assert stage.states() == ["accepted", "duplicate"]
    assert stage.plivo.posts == 1


@each_entry_point
@pytest.mark.parametrize("step", ["after mark_sending", "before send"])
def test_frozen_before_the_post_until_its_time_is_over_it_sends_nothing(
    stage: Stage, step: str, entry_point: str
) -> None:
    with working(stage.job(SHORT, freeze=step)) as worker:
        worker.wait_until_frozen()
        time.sleep(SHORT.timeout_ms / 1000 - SETTLE_SECONDS)  # since it began, and more
        worker.wake()
        own = worker.reply().text

    raised = "raises not_sent: out-of-time"
    assert own == (raised if entry_point == EVENT else "503 out-of-time")
    assert stage.states() == ["not_sent"]
    assert stage.plivo.posts == 0


@each_entry_point
@pytest.mark.parametrize(
    "step", ["after claim", "after deduplicate", "after connect", "before mark_sending"]
)
def test_frozen_before_the_mark_and_taken_over_it_does_not_send_when_it_wakes(
    stage: Stage, step: str, entry_point: str
) -> None:
    with working(stage.job(freeze=step)) as worker:
        worker.wait_until_frozen()
        other = stage.ask(LATER)
        worker.wake()
        own = worker.reply().text

    assert (other, own) == (accepted(entry_point), accepted(entry_point, replayed=True))
    assert stage.states() == ["accepted"]
    assert stage.plivo.posts == 1


@each_entry_point
@pytest.mark.parametrize("step", ["after claim", "after connect", "after mark_sending"])
def test_an_action_on_a_member_that_is_frozen_is_sent_once_for_each_key(
    of_member: Stage, step: str, entry_point: str
) -> None:
    stage = of_member
    with working(stage.job(freeze=step)) as worker:
        worker.wait_until_frozen()
        others = [stage.ask(), stage.ask(key="-2"), stage.ask(LATER)]
        worker.wake()
        own = worker.reply().text

    marked = step == "after mark_sending"
    given_up = died(entry_point) if marked else accepted(entry_point)
    assert others == [in_flight(entry_point), accepted(entry_point), given_up]
    assert own == accepted(entry_point, replayed=not marked)
    assert stage.ask(LATER) == accepted(entry_point, replayed=True)
    assert stage.states() == ["accepted", "accepted"]
    assert stage.plivo.posts == 2


@each_entry_point
@pytest.mark.parametrize("step", ["after connect", "after mark_sending", "before send"])
def test_a_connection_that_died_while_it_was_frozen_is_replaced_before_the_post(
    stage: Stage, step: str, entry_point: str
) -> None:
    with working(stage.job(freeze=step)) as worker:
        worker.wait_until_frozen()
        assert eventually(lambda: stage.plivo.connections == 1)  # the server has taken it, too
        stage.plivo.hang_up()
        worker.wake()
        own = worker.reply().text

    assert own == accepted(entry_point)
    assert stage.states() == ["accepted"]
    assert (stage.plivo.posts, stage.plivo.connections) == (1, 2)


@each_entry_point
@pytest.mark.parametrize("ends", ["dead socket", "idle too long"])
def test_an_environment_frozen_between_two_requests_sends_the_second_once(
    stage: Stage, ends: str, entry_point: str
) -> None:
    events = [stage.event(), stage.content.event(key="another-one", to="+14152226666")]
    hangs_up = ends == "dead socket"
    slept_ms = 0 if hangs_up else IDLE_MS + 1
    job = replace(stage.job(freeze="between"), events=events, slept_ms=slept_ms)
    with working(job) as worker:
        first = worker.reply().text
        worker.wait_until_frozen()
        if hangs_up:
            stage.plivo.hang_up()
        worker.wake()
        second = worker.reply().text

    assert first == second == accepted(entry_point)
    assert stage.states() == ["accepted", "accepted"]
    assert (stage.plivo.posts, stage.plivo.connections) == (2, 2)


def until(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
