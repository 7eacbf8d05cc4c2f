"""The guards of one attempt, each at the point where it counts: between two steps."""

import pytest

from cold_transfer.action import Answer
from cold_transfer.causes import Cause
from cold_transfer.errors import OutOfTime
from cold_transfer.ledger.record import State
from tests.explorer.actors import Actor, Call, Connect, Post
from tests.explorer.world import INVOCATION_MS, World
from tests.support.fake_dynamodb import FakeDynamoDB
from tests.support.ledgers import NOW_MS, request_of

#: To settle, while there is time.
TRIES = 5


@pytest.fixture
def world() -> World:
    return World(FakeDynamoDB(), "ledger")


def state_of(world: World, key: str = "key-1") -> State | None:
    return world.records()[request_of(key).action_id()].state


def cause_of(actor: Actor) -> Cause:
    assert isinstance(actor.result, Answer)
    return actor.result.verdict.cause


def before_mark(world: World, key: str = "key-1") -> Actor:
    """An attempt that is connected and whose next call is the mark."""
    actor = world.begin(request_of(key))
    world.until(actor, Connect)
    world.step(actor)
    return actor


def test_an_attempt_with_nothing_in_its_way_posts_once(world: World) -> None:
    world.run(world.begin(request_of()))

    assert len(world.sent) == 1
    assert state_of(world) is State.ACCEPTED


def test_the_record_says_sending_before_the_post_is_out(world: World) -> None:
    actor = world.begin(request_of())
    world.until(actor, Post)

    assert state_of(world) is State.SENDING
    world.kill(actor)


def test_nothing_is_posted_when_the_mark_is_refused(world: World) -> None:
    actor = before_mark(world)
    world.now += INVOCATION_MS + 1
    world.reconcile()

    world.run(actor)

    assert world.sent == []
    assert state_of(world) is State.NOT_SENT


@pytest.mark.parametrize("fault", ["refused", "lost", "late"])
def test_nothing_is_posted_when_the_mark_is_not_confirmed(world: World, fault: str) -> None:
    actor = before_mark(world)

    world.step(actor, fault=fault)
    world.run(actor)
    while world.late:
        world.deliver(0)

    assert world.sent == []
    assert cause_of(actor) is Cause.DEPENDENCY_UNAVAILABLE
    assert state_of(world) is State.NOT_SENT


def test_a_mark_that_botocore_repeated_is_confirmed(world: World) -> None:
    actor = before_mark(world)

    world.step(actor, fault="retried")
    world.run(actor)

    assert len(world.sent) == 1
    assert cause_of(actor) is Cause.ACCEPTED


@pytest.mark.parametrize("position", range(4))
def test_any_write_that_botocore_repeated_is_ones_own(world: World, position: int) -> None:
    actor = world.begin(request_of())
    written = 0
    while actor.alive:
        if isinstance(actor.wish, Call):
            if written == position:
                world.step(actor, fault="retried")
            written += 1
        world.step(actor)

    assert written == 4  # and nothing had to be read to find out
    assert len(world.sent) == 1
    assert cause_of(actor) is Cause.ACCEPTED
    assert world.counted == []


def test_a_bind_that_botocore_repeated_is_ones_own(world: World) -> None:
    world.run(world.begin(request_of("key-1")))
    actor = world.begin(request_of("key-2"))
    for _ in range(3):  # claim, point, read
        world.step(actor)

    world.step(actor, fault="retried")
    world.run(actor)

    assert isinstance(actor.result, Answer)
    assert actor.result.duplicate_of == request_of("key-1").action_id()
    assert state_of(world, "key-2") is State.DUPLICATE


def test_nothing_is_posted_when_the_mark_took_the_time_away(world: World) -> None:
    actor = before_mark(world)

    world.step(actor, fault="retried")
    world.now += INVOCATION_MS - 2_500
    world.run(actor)

    assert world.sent == []
    assert cause_of(actor) is Cause.OUT_OF_TIME
    assert state_of(world) is State.NOT_SENT


def test_nothing_is_claimed_without_time_for_it(world: World) -> None:
    actor = world.begin(request_of(), left_ms=3_000)

    assert isinstance(actor.result, OutOfTime)
    assert world.records() == {}


def test_nothing_is_sent_a_minute_after_it_was_first_seen(world: World) -> None:
    world.run(world.begin(request_of()), "throttled")
    world.now += 60_001

    actor = world.begin(request_of())
    world.run(actor)

    assert cause_of(actor) is Cause.TOO_OLD
    assert len(world.sent) == 1
    assert state_of(world) is State.NOT_SENT


def test_a_minute_is_not_too_old(world: World) -> None:
    world.run(world.begin(request_of()), "throttled")
    world.now += 60_000

    actor = world.begin(request_of())
    world.run(actor)

    assert cause_of(actor) is Cause.ACCEPTED


def test_nothing_is_sent_a_minute_after_it_was_asked_for(world: World) -> None:
    actor = world.begin(request_of(requested_at=NOW_MS - 60_001))
    world.run(actor)

    assert cause_of(actor) is Cause.TOO_OLD
    assert world.sent == []


def test_the_age_is_looked_at_again_after_connecting(world: World) -> None:
    actor = world.begin(request_of(requested_at=NOW_MS - 50_000))
    world.until(actor, Connect)
    world.now += 10_001

    world.run(actor)

    assert cause_of(actor) is Cause.TOO_OLD
    assert world.sent == []


def test_an_old_request_that_was_answered_is_answered_again(world: World) -> None:
    world.run(world.begin(request_of()))
    world.now += 3_600_000

    actor = world.begin(request_of())
    world.run(actor)

    assert cause_of(actor) is Cause.ACCEPTED
    assert len(world.sent) == 1


def test_a_plivo_out_of_reach_releases_the_key(world: World) -> None:
    actor = world.begin(request_of())
    world.until(actor, Connect)
    world.step(actor, fault="refused")
    world.run(actor)

    assert cause_of(actor) is Cause.PLIVO_UNREACHABLE
    assert state_of(world) is State.NOT_SENT


def test_a_secret_out_of_reach_releases_the_key(world: World) -> None:
    actor = world.begin(request_of(), secret=False)
    world.run(actor)

    assert cause_of(actor) is Cause.DEPENDENCY_UNAVAILABLE
    assert state_of(world) is State.NOT_SENT


def test_an_unknown_outcome_keeps_the_key(world: World) -> None:
    world.run(world.begin(request_of()), "unknown")
    actor = world.begin(request_of())
    world.run(actor)

    assert len(world.sent) == 1
    assert cause_of(actor) is Cause.PLIVO_TIMED_OUT


def test_refused_credentials_are_tried_again_with_the_new_ones(world: World) -> None:
    actor = world.begin(request_of())
    world.until(actor, Post)
    world.step(actor, "refused")
    world.run(actor, "accepted")

    assert len(world.sent) == 2
    assert cause_of(actor) is Cause.ACCEPTED


@pytest.mark.parametrize("left_ms", [900, 0, -500])
def test_refused_credentials_are_not_tried_again_without_time_for_it(
    world: World, left_ms: int
) -> None:
    actor = world.begin(request_of())
    world.until(actor, Post)
    world.now += 10_000 - left_ms  # of the longest time for one exchange
    world.step(actor, "refused")
    world.run(actor)

    assert len(world.sent) == 1
    assert cause_of(actor) is Cause.PLIVO_CREDENTIALS_REFUSED


@pytest.mark.parametrize("fault", ["refused", "lost", "late"])
def test_the_truth_is_answered_when_the_settle_fails(world: World, fault: str) -> None:
    actor = world.begin(request_of())
    world.until(actor, Post)
    world.step(actor)
    assert isinstance(actor.wish, Call)

    for _ in range(TRIES):
        world.step(actor, fault=fault)

    assert cause_of(actor) is Cause.ACCEPTED
    assert world.counted == ["SettleFailed"]


@pytest.mark.parametrize("fault", ["refused", "lost", "late"])
def test_a_settle_that_fails_once_is_tried_again(world: World, fault: str) -> None:
    actor = world.begin(request_of())
    world.until(actor, Post)
    world.step(actor)

    world.step(actor, fault=fault)
    world.run(actor)
    while world.late:
        world.deliver(0)

    assert cause_of(actor) is Cause.ACCEPTED
    assert world.counted == []
    assert state_of(world) is State.ACCEPTED


def test_a_settle_is_not_tried_again_when_the_invocation_is_about_to_end(world: World) -> None:
    actor = world.begin(request_of())
    world.until(actor, Post)
    world.step(actor)
    world.now += INVOCATION_MS - 1_000

    world.step(actor, fault="refused")

    assert cause_of(actor) is Cause.ACCEPTED
    assert world.counted == ["SettleFailed"]


def test_a_failed_settle_is_found_as_unknown_and_not_sent_again(world: World) -> None:
    actor = world.begin(request_of())
    world.until(actor, Post)
    world.step(actor)
    for _ in range(TRIES):
        world.step(actor, fault="refused")
    world.now += INVOCATION_MS + 10_001
    world.reconcile()

    world.run(world.begin(request_of()))

    assert len(world.sent) == 1
    assert state_of(world) is State.UNKNOWN


def test_the_lease_of_a_post_outlasts_its_invocation_by_ten_seconds(world: World) -> None:
    actor = world.begin(request_of())
    world.until(actor, Post)
    world.now += INVOCATION_MS + 10_000
    world.reconcile()

    assert state_of(world) is State.SENDING
    world.now += 1
    world.reconcile()
    assert state_of(world) is State.UNKNOWN
    world.kill(actor)


@pytest.mark.parametrize("stop", [Call, Connect, Post])
def test_wherever_an_attempt_dies_its_key_is_found(world: World, stop: type) -> None:
    actor = world.begin(request_of())
    world.step(actor)
    world.until(actor, stop)
    world.kill(actor)
    world.now += INVOCATION_MS + 10_001

    world.reconcile()

    assert state_of(world) is (State.UNKNOWN if stop is Post else State.NOT_SENT)


def test_a_double_click_is_sent_once(world: World) -> None:
    first = world.begin(request_of("key-1"))
    second = world.begin(request_of("key-2"))
    while first.alive or second.alive:
        for actor in (first, second):
            if actor.alive:
                world.step(actor)

    assert len(world.sent) == 1
