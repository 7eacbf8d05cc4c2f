"""Several keys of one content: what the second and the third one find of those before them."""

import pytest

from cold_transfer.action import Answer
from cold_transfer.errors import InProgress
from cold_transfer.ledger.record import State
from tests.support.fake_dynamodb import FakeDynamoDB
from tests.support.ledgers import POLICY, request_of
from tests.support.simulation.actors import Actor, Connect, Post
from tests.support.simulation.world import World

FIRST, SECOND, THIRD = (request_of(f"key-{number}") for number in (1, 2, 3))


@pytest.fixture
def world() -> World:
    return World(FakeDynamoDB(), "ledger")


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
