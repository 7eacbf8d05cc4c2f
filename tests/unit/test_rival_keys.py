"""Several keys with the same content: which earlier action a later request is a duplicate of."""

from typing import Any

import pytest

from cold_transfer.action import ActionRequest, Answer
from cold_transfer.causes import Outcome
from cold_transfer.errors import InProgress
from cold_transfer.ledger.record import State
from cold_transfer.ledger.view import of_record
from tests.explorer.actors import Actor, Connect, Post
from tests.explorer.world import INVOCATION_MS, World
from tests.support.fake_dynamodb import FakeDynamoDB
from tests.support.ledgers import POLICY, ledger_on, request_of

FIRST, SECOND, THIRD = (request_of(f"key-{number}") for number in (1, 2, 3))
DAY_MS = 86_400_000


@pytest.fixture
def table() -> FakeDynamoDB:
    return FakeDynamoDB()


@pytest.fixture
def world(table: FakeDynamoDB) -> World:
    return World(table, "ledger")


def answer(actor: Actor) -> Answer:
    assert isinstance(actor.result, Answer)
    return actor.result


def state_of(world: World, key: str) -> State | None:
    return world.records()[request_of(key).action_id()].state


def fail(world: World, manner: str, key: str = "key-2") -> None:
    """Run an attempt that takes the content lock over and ends without having been executed."""
    actor = world.begin(request_of(key))
    world.until(actor, Connect)
    world.step(actor, fault="refused" if manner == "unreachable" else "none")
    world.run(actor, manner)
    assert state_of(world, key) in (State.NOT_SENT, State.REJECTED)


@pytest.mark.parametrize("failures", [1, 2, 3])
@pytest.mark.parametrize("manner", ["unreachable", "throttled", "rejected"])
@pytest.mark.parametrize(
    ("verdict", "window"),
    [("accepted", POLICY.duplicate_window), ("unknown", POLICY.unknown_window)],
)
def test_failed_attempts_in_between_do_not_hide_an_action_that_was_sent(
    world: World, verdict: str, window: int, manner: str, failures: int
) -> None:
    first = world.begin(FIRST)
    world.until(first, Post)
    double_click = world.begin(THIRD)
    world.run(double_click)
    assert isinstance(double_click.result, InProgress)
    world.run(first, verdict)
    world.now += window + 1
    for number in range(failures):
        fail(world, manner, f"key-between-{number}")
    posts = len(world.sent)

    again = world.begin(THIRD, max_age=600_000)
    world.run(again)

    assert answer(again).duplicate_of == FIRST.action_id()
    assert len(world.sent) == posts


def test_a_failed_attempt_does_not_extend_the_window(world: World) -> None:
    world.run(world.begin(FIRST))
    world.now += POLICY.duplicate_window + 1
    fail(world, "unreachable")

    world.run(world.begin(THIRD))

    assert len(world.sent) == 2


def test_failed_attempts_with_one_key_do_not_hide_an_action_that_was_sent_before(
    world: World,
) -> None:
    first = world.begin(FIRST)
    world.until(first, Post)
    world.run(world.begin(THIRD))
    world.run(first)
    world.now += POLICY.duplicate_window + 1
    fail(world, "unreachable")
    fail(world, "unreachable")

    again = world.begin(THIRD)
    world.run(again)

    assert answer(again).duplicate_of == FIRST.action_id()


def test_an_action_sent_before_an_unknown_one_that_proves_not_sent_is_remembered(
    world: World,
) -> None:
    """The unknown one is corrected after another attempt has taken the content lock over."""
    first = world.begin(FIRST)
    world.until(first, Post)
    world.run(world.begin(THIRD))
    world.run(first, "accepted")
    world.now += POLICY.duplicate_window + 1
    frozen = world.begin(SECOND)
    world.until(frozen, Post)
    world.now += 36_000
    world.reconcile()
    world.now += POLICY.unknown_window + 1
    fail(world, "unreachable", "key-4")
    world.run(frozen, "throttled")
    assert state_of(world, "key-2") is State.NOT_SENT

    again = world.begin(THIRD, max_age=600_000)
    world.run(again)

    assert answer(again).duplicate_of == FIRST.action_id()


def test_a_retry_that_arrived_within_the_window_is_a_duplicate(
    world: World,
) -> None:
    world.run(world.begin(FIRST))
    world.now += POLICY.duplicate_window + 1
    fail(world, "unreachable", "key-2")
    world.now += 2_000

    waited = world.begin(request_of("key-2", waited=4_000))
    world.run(waited)

    assert answer(waited).duplicate_of == FIRST.action_id()
    assert len(world.sent) == 1


def looked_up(world: World, table: FakeDynamoDB, request: ActionRequest) -> dict[str, Any]:
    found = ledger_on(table, "ledger", lambda: world.now).look(request.action_id())
    assert found is not None
    return of_record(*found)


def make_a_duplicate_of_a_duplicate(world: World) -> None:
    """key-2 is a duplicate of key-1, which proved to be not_sent and became one of key-3."""
    frozen = world.begin(FIRST)
    world.until(frozen, Post)
    world.now += INVOCATION_MS + 10_001
    world.reconcile()
    world.run(world.begin(SECOND))
    assert state_of(world, "key-2") is State.DUPLICATE
    world.run(frozen, "throttled")
    assert state_of(world, "key-1") is State.NOT_SENT
    world.run(world.begin(THIRD), "accepted")
    world.run(world.begin(FIRST))
    assert state_of(world, "key-1") is State.DUPLICATE


@pytest.mark.parametrize("later", [0, 3_600_000, DAY_MS, 14 * DAY_MS])
def test_a_duplicate_of_a_duplicate_has_the_last_actions_answer(
    world: World, table: FakeDynamoDB, later: int
) -> None:
    make_a_duplicate_of_a_duplicate(world)
    world.now += later

    for request in (FIRST, SECOND):
        again = world.begin(request)
        world.run(again)

        assert answer(again).verdict.outcome is Outcome.ACCEPTED
        assert answer(again).duplicate_of == THIRD.action_id()
        found = looked_up(world, table, request)
        assert found["outcome"] == "accepted"
        assert found["api_id"] == answer(again).verdict.api_id
        assert found["duplicate_of"] == answer(again).duplicate_of


def test_a_content_lock_that_names_a_duplicate_of_a_duplicate_leads_to_the_last_action(
    world: World, table: FakeDynamoDB
) -> None:
    make_a_duplicate_of_a_duplicate(world)
    (lock,) = (item for pk, item in table.items.items() if pk.startswith("C#"))
    # as if a delayed write of key-2's attempt arrived now
    lock |= {"action": {"S": SECOND.action_id()}, "owner": {"S": "an earlier attempt"}}

    fourth = world.begin(request_of("key-4"))
    world.run(fourth)

    assert answer(fourth).duplicate_of == THIRD.action_id()


def delete_the_end(table: FakeDynamoDB) -> None:
    """TTL deletes the last action of the chain."""
    del table.items[f"K#{THIRD.action_id()}"]


def close_the_loop(table: FakeDynamoDB) -> None:
    """Two records that name each other, which no attempt writes."""
    table.items[f"K#{FIRST.action_id()}"]["duplicate_of"] = {"S": SECOND.action_id()}


@pytest.mark.parametrize("break_chain", [delete_the_end, close_the_loop])
def test_a_chain_without_an_end_is_unknown_to_replay_and_lookup(
    world: World, table: FakeDynamoDB, break_chain: Any
) -> None:
    make_a_duplicate_of_a_duplicate(world)
    break_chain(table)
    world.invariants.known = world.records()
    world.now += 1_000

    again = world.begin(SECOND)
    world.run(again)
    found = looked_up(world, table, SECOND)

    verdict = answer(again).verdict
    assert verdict.outcome is Outcome.UNKNOWN
    assert (found["outcome"], found["cause"], found["status"]) == ("unknown", verdict.cause, 502)
    assert found["duplicate_of"] == answer(again).duplicate_of


def test_a_chain_without_an_end_does_not_block_a_new_action(
    world: World, table: FakeDynamoDB
) -> None:
    make_a_duplicate_of_a_duplicate(world)
    close_the_loop(table)
    (lock,) = (item for pk, item in table.items.items() if pk.startswith("C#"))
    lock |= {"action": {"S": SECOND.action_id()}, "owner": {"S": "an earlier attempt"}}
    world.now += POLICY.duplicate_window + 1

    fourth = world.begin(request_of("key-4"))
    world.run(fourth)

    assert not answer(fourth).replayed
