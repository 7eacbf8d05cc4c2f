"""Several keys of one content: what the second and the third one find of those before them."""

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


def fails(world: World, manner: str, key: str = "key-2") -> None:
    """An attempt that takes the content over and is not executed."""
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
def test_attempts_that_fail_in_between_do_not_hide_what_went_out(
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
        fails(world, manner, f"key-between-{number}")
    posts = len(world.sent)

    again = world.begin(THIRD, max_age=600_000)
    world.run(again)

    assert answer(again).duplicate_of == FIRST.action_id()
    assert len(world.sent) == posts


def test_an_attempt_that_fails_does_not_make_the_window_longer(world: World) -> None:
    world.run(world.begin(FIRST))
    world.now += POLICY.duplicate_window + 1
    fails(world, "unreachable")

    world.run(world.begin(THIRD))

    assert len(world.sent) == 2


def test_a_failed_attempt_of_the_same_key_does_not_hide_what_went_out_before_it(
    world: World,
) -> None:
    first = world.begin(FIRST)
    world.until(first, Post)
    world.run(world.begin(THIRD))
    world.run(first)
    world.now += POLICY.duplicate_window + 1
    fails(world, "unreachable")
    fails(world, "unreachable")

    again = world.begin(THIRD)
    world.run(again)

    assert answer(again).duplicate_of == FIRST.action_id()


def test_what_went_out_is_remembered_behind_an_unknown_one_that_was_not_sent_after_all(
    world: World,
) -> None:
    """The settle of the unknown one comes when others have taken the content over from it."""
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
    fails(world, "unreachable", "key-4")
    world.run(frozen, "throttled")
    assert state_of(world, "key-2") is State.NOT_SENT

    again = world.begin(THIRD, max_age=600_000)
    world.run(again)

    assert answer(again).duplicate_of == FIRST.action_id()


def test_a_delivery_that_arrived_earlier_brings_its_key_into_the_window_again(
    world: World,
) -> None:
    world.run(world.begin(FIRST))
    world.now += POLICY.duplicate_window + 1
    fails(world, "unreachable", "key-2")
    world.now += 2_000

    waited = world.begin(request_of("key-2", waited=4_000))
    world.run(waited)

    assert answer(waited).duplicate_of == FIRST.action_id()
    assert len(world.sent) == 1


def looked_up(world: World, table: FakeDynamoDB, request: ActionRequest) -> dict[str, Any]:
    found = ledger_on(table, "ledger", lambda: world.now).look(request.action_id())
    assert found is not None
    return of_record(*found)


def bound_to_one_that_is_bound_itself(world: World) -> None:
    """key-2 repeats key-1, which was proven not sent and then bound to key-3."""
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
def test_a_duplicate_of_a_duplicate_is_told_what_became_of_the_last(
    world: World, table: FakeDynamoDB, later: int
) -> None:
    bound_to_one_that_is_bound_itself(world)
    world.now += later

    for request in (FIRST, SECOND):
        again = world.begin(request)
        world.run(again)

        assert answer(again).verdict.outcome is Outcome.ACCEPTED
        assert answer(again).duplicate_of == THIRD.action_id()
        told = looked_up(world, table, request)
        assert told["outcome"] == "accepted"
        assert told["api_id"] == answer(again).verdict.api_id
        assert told["duplicate_of"] == answer(again).duplicate_of


def test_a_content_lock_of_a_duplicate_of_a_duplicate_counts_as_one_of_the_last(
    world: World, table: FakeDynamoDB
) -> None:
    bound_to_one_that_is_bound_itself(world)
    (pointer,) = (item for pk, item in table.items.items() if pk.startswith("C#"))
    # a write of key-2's attempt that was long on its way
    pointer |= {"action": {"S": SECOND.action_id()}, "owner": {"S": "an earlier attempt"}}

    fourth = world.begin(request_of("key-4"))
    world.run(fourth)

    assert answer(fourth).duplicate_of == THIRD.action_id()


def cut(table: FakeDynamoDB) -> None:
    """TTL took the last of the chain."""
    del table.items[f"K#{THIRD.action_id()}"]


def closed(table: FakeDynamoDB) -> None:
    """What no attempt writes: a chain without an end."""
    table.items[f"K#{FIRST.action_id()}"]["duplicate_of"] = {"S": SECOND.action_id()}


@pytest.mark.parametrize("broken", [cut, closed])
def test_a_chain_without_an_end_is_an_unknown_outcome_to_answer_and_lookup_alike(
    world: World, table: FakeDynamoDB, broken: Any
) -> None:
    bound_to_one_that_is_bound_itself(world)
    broken(table)
    world.invariants.known = world.records()
    world.now += 1_000

    again = world.begin(SECOND)
    world.run(again)
    told = looked_up(world, table, SECOND)

    verdict = answer(again).verdict
    assert verdict.outcome is Outcome.UNKNOWN
    assert (told["outcome"], told["cause"], told["status"]) == ("unknown", verdict.cause, 502)
    assert told["duplicate_of"] == answer(again).duplicate_of


def test_a_chain_without_an_end_does_not_get_in_the_way(world: World, table: FakeDynamoDB) -> None:
    bound_to_one_that_is_bound_itself(world)
    closed(table)
    (pointer,) = (item for pk, item in table.items.items() if pk.startswith("C#"))
    pointer |= {"action": {"S": SECOND.action_id()}, "owner": {"S": "an earlier attempt"}}
    world.now += POLICY.duplicate_window + 1

    fourth = world.begin(request_of("key-4"))
    world.run(fourth)

    assert not answer(fourth).replayed
