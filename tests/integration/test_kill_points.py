"""Processes that are killed, frozen or cut off from DynamoDB at each step of an action.

Whatever happens, and in whatever order the request is repeated: Plivo receives at most one POST, an
action that may have been sent is never sent again, and each request ends in one state.
"""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import pytest

from cold_transfer.action import ActionName
from cold_transfer.causes import Cause
from cold_transfer.deadline import now_ms
from cold_transfer.settling import SETTLE_SECONDS
from tests.matrix.cells import DUPLICATE_IN_PROGRESS, IN_FLIGHT, accepted, answer, died
from tests.matrix.rows import Content
from tests.support.dynamodb_proxy import Network, between
from tests.support.fault_server import FaultServer
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

# The clocks stand still, so that a busy machine cannot make anything late. The window is a minute,
# so that LATER is inside it.
NOW = Conditions(policy=POLICY._replace(duplicate_window=60_000), clock_ms=now_ms())
LATER = replace(NOW, clock_offset_ms=AFTER_THE_LEASE_MS)

#: Each step at which a process is killed, and the state in which this leaves the record.
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
    """What a test runs on: addresses, a table, a server in place of Plivo, and the request."""

    place: Place
    plivo: FaultServer
    dynamodb: Any
    content: Content

    def job(self, conditions: Conditions = NOW, *, key: str = "", **how: Any) -> Job:
        return Job(self.place, self.content.entry_point, [self.event(key)], conditions, **how)

    def event(self, key: str = "") -> dict[str, Any]:
        return self.content.event(key=f"{self.content.key}{key}")

    def invoke(self, conditions: Conditions = NOW, *, key: str = "") -> str:
        """The answer to the request, from a new process."""
        return run(self.job(conditions, key=key)).text

    def states(self) -> list[str]:
        found = items(self.dynamodb, self.place.table)
        return sorted(i["state"]["S"] for i in found if i["pk"]["S"].startswith("K#"))


@pytest.fixture
def stage(entry_point: str, dynamodb: Any, endpoint_url: str, table: str) -> Iterator[Stage]:
    with FaultServer() as plivo:
        yield Stage(Place(endpoint_url, table, plivo.url), plivo, dynamodb, Content(entry_point))


@pytest.fixture
def on_member(stage: Stage) -> Stage:
    """With an action on a member, whose content has no window."""
    return replace(stage, content=replace(stage.content, action=ActionName.HOLD))


@each_entry_point
@each_step
def test_after_a_kill_the_same_request_is_sent_only_if_it_cannot_have_been(
    stage: Stage, step: str, entry_point: str
) -> None:
    run_killed(stage.job(kill=step))

    left = STEPS[step]
    assert stage.states() == ([left] if left else [])
    assert stage.plivo.posts == (step in SENT)

    at_once = stage.invoke()
    later = stage.invoke(LATER)

    expected = {
        "": (accepted(entry_point), accepted(entry_point, replayed=True), "accepted", 1),
        "claimed": (IN_FLIGHT[entry_point], accepted(entry_point), "accepted", 1),
        "sending": (IN_FLIGHT[entry_point], died(entry_point), "unknown", int(step in SENT)),
        "accepted": (*2 * (accepted(entry_point, replayed=True),), "accepted", 1),
    }[left]
    assert (at_once, later, *stage.states(), stage.plivo.posts) == expected
    assert stage.invoke(LATER) == (
        later if left == "sending" else accepted(entry_point, replayed=True)
    )
    assert stage.plivo.posts == expected[-1]


@each_entry_point
@pytest.mark.parametrize("step", [it for it in STEPS if not it.endswith("deduplicate")])
def test_after_a_kill_an_action_on_a_member_is_sent_once_for_each_key(
    on_member: Stage, step: str, entry_point: str
) -> None:
    stage = on_member
    run_killed(stage.job(kill=step))
    assert stage.plivo.posts == (step in SENT)

    other = stage.invoke(key="-2")
    later = stage.invoke(LATER)

    left = STEPS[step]
    assert other == accepted(entry_point)  # no window
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

    at_once = stage.invoke(key="-2")
    later = stage.invoke(LATER, key="-2")
    first = stage.invoke(LATER)

    another = accepted(entry_point, replayed=True, another=True)
    unlocked = step in ("start", "before claim", "after claim", "before deduplicate")
    left, busy = STEPS[step], DUPLICATE_IN_PROGRESS[entry_point]
    if unlocked:  # it left no content lock: the other key's request is sent
        assert (at_once, later) == (accepted(entry_point), accepted(entry_point, replayed=True))
        assert first == another
    elif left == "claimed":
        assert (at_once, later, first) == (busy, accepted(entry_point), another)
    elif left == "sending":
        assert (at_once, later) == (busy, died(entry_point, another=True))
        assert first == died(entry_point)
    else:
        assert (at_once, later, first) == (another, another, accepted(entry_point, replayed=True))
    assert stage.plivo.posts == (left != "sending" or step in SENT)
    end = "unknown" if left == "sending" else "accepted"
    assert stage.states() == sorted([end, "duplicate"])


@pytest.mark.parametrize("entry_point", [WEBHOOK])  # which the reconciler does not read
@each_step
def test_after_a_kill_the_reconciler_settles_a_request_that_is_not_repeated(
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


# DynamoDB's replies

NONE: frozenset[int] = frozenset()


def since(number: int) -> frozenset[int]:
    return frozenset(range(number, 20))


#: The DynamoDB calls of one action (claim, deduplicate, mark sending, settle) that are made without
#: a reply, those that are not made, and the state in which this leaves the record.
CUTS = {
    "no reply from deduplicate on": (since(1), NONE, "not_sent"),
    "no call from deduplicate on": (NONE, since(1), "claimed"),
    "no reply from mark sending on": (since(2), NONE, "not_sent"),
    "no call from mark sending on": (NONE, since(2), "claimed"),
    "no reply to mark sending, no call after it": (frozenset({2}), since(3), "sending"),
}


@each_entry_point
@pytest.mark.parametrize(("lost", "refused", "left"), CUTS.values(), ids=CUTS)
def test_an_attempt_that_can_neither_mark_nor_release_its_claim_sends_nothing(
    stage: Stage, lost: frozenset[int], refused: frozenset[int], left: str, entry_point: str
) -> None:
    network = Network(lost=lost, refused=refused)
    with between(stage.place.dynamodb_url, network):
        place = replace(stage.place, dynamodb_url=network.url)
        with closing(Environment(place, entry_point, NOW)) as environment:
            reply = environment.invoke(stage.event())

    assert reply.text == answer(entry_point, Cause.DEPENDENCY_UNAVAILABLE, 503)
    assert stage.states() == [left]
    assert stage.plivo.posts == 0

    later = stage.invoke(LATER)

    unknown = left == "sending"
    assert later == (died(entry_point) if unknown else accepted(entry_point))
    assert stage.states() == ["unknown" if unknown else "accepted"]
    assert stage.plivo.posts == (not unknown)


# Frozen processes

#: A connection that has not been used for longer is not used again.
IDLE_MS = 10_000
#: Enough to reach the step on a busy machine; 3 s of it are reserved for the POST and the settle.
SHORT = replace(NOW, timeout_ms=8_000)


@each_entry_point
@pytest.mark.parametrize("step", ["after mark_sending", "before send"])
def test_frozen_before_the_post_and_settled_as_abandoned_it_still_sends_once_when_it_wakes(
    stage: Stage, step: str, entry_point: str
) -> None:
    with working(stage.job(freeze=step)) as worker:
        worker.wait_until_frozen()
        others = [stage.invoke(), stage.invoke(LATER), stage.invoke(LATER, key="-2")]
        assert stage.states() == ["duplicate", "unknown"]
        worker.wake()
        own = worker.reply().text

    assert others == [IN_FLIGHT[entry_point], died(entry_point), died(entry_point, another=True)]
    assert own == accepted(entry_point)  # only this attempt may correct the record
    assert stage.invoke(LATER) == accepted(entry_point, replayed=True)
    assert stage.states() == ["accepted", "duplicate"]
    assert stage.plivo.posts == 1


@each_entry_point
@pytest.mark.parametrize("step", ["after mark_sending", "before send"])
def test_frozen_before_the_post_until_the_invocation_has_no_time_left_it_sends_nothing(
    stage: Stage, step: str, entry_point: str
) -> None:
    with working(stage.job(SHORT, freeze=step)) as worker:
        worker.wait_until_frozen()
        time.sleep(SHORT.timeout_ms / 1000 - SETTLE_SECONDS)  # counted from its start
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
        other = stage.invoke(LATER)
        worker.wake()
        own = worker.reply().text

    assert (other, own) == (accepted(entry_point), accepted(entry_point, replayed=True))
    assert stage.states() == ["accepted"]
    assert stage.plivo.posts == 1


@each_entry_point
@pytest.mark.parametrize("step", ["after claim", "after connect", "after mark_sending"])
def test_a_frozen_action_on_a_member_is_sent_once_for_each_key(
    on_member: Stage, step: str, entry_point: str
) -> None:
    stage = on_member
    with working(stage.job(freeze=step)) as worker:
        worker.wait_until_frozen()
        others = [stage.invoke(), stage.invoke(key="-2"), stage.invoke(LATER)]
        worker.wake()
        own = worker.reply().text

    marked = step == "after mark_sending"
    later = died(entry_point) if marked else accepted(entry_point)
    assert others == [IN_FLIGHT[entry_point], accepted(entry_point), later]
    assert own == accepted(entry_point, replayed=not marked)
    assert stage.invoke(LATER) == accepted(entry_point, replayed=True)
    assert stage.states() == ["accepted", "accepted"]
    assert stage.plivo.posts == 2


@each_entry_point
@pytest.mark.parametrize("step", ["after connect", "after mark_sending", "before send"])
def test_a_connection_that_died_while_it_was_frozen_is_replaced_before_the_post(
    stage: Stage, step: str, entry_point: str
) -> None:
    with working(stage.job(freeze=step)) as worker:
        worker.wait_until_frozen()
        stage.plivo.wait_for_connection()
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
