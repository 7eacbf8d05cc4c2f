"""Traces that broke a rule once, as the explorer found and shrank them."""

import pytest

from tests.explorer.trace import (
    Ask,
    Days,
    End,
    Expire,
    Go,
    Run,
    Step,
    Wait,
    in_memory,
    play,
    told,
)

FINDINGS: dict[str, tuple[Step, ...]] = {
    # one POST per content in its window
    "a failed action hides the window of the one before it": (
        Ask("a"),
        Run("a"),
        Wait(5_001),
        Ask("b", "key-2"),
        Run("b", "throttled"),
        Ask("c", "key-3", waited=4_000),
        Run("c"),
    ),
    "so does one that was rejected, for a key that was told to wait": (
        Ask("c", "key-3"),
        Run("c"),
        Ask("d"),
        Wait(5_001),
        Ask("e", "key-2"),
        Run("e", "rejected"),
        Run("d"),
    ),
    "and an earlier attempt of the same key": (
        Ask("a"),
        Run("a", "unknown"),
        Wait(120_001),
        Ask("b", "key-2"),
        Run("b", "throttled"),
        Ask("c", "key-2", waited=4_000),
        Run("c"),
    ),
    # no answer contradicts the record
    "a duplicate of a duplicate is in progress for ever": (
        Ask("a"),
        *[Go("a")] * 4,
        Wait(37_000),
        Ask("b", "key-2"),
        Run("b"),
        Run("a", "throttled"),
        Ask("c", "key-3"),
        Run("c"),
        Ask("d"),
        Run("d"),
        End(),
    ),
    "a lookup of a duplicate whose first is gone knows nothing": (
        Ask("a"),
        Run("a"),
        Ask("b", "key-2"),
        Run("b"),
        Days(15),
        Expire(1),
        End(),
    ),
    "a duplicate whose reply was lost is told that nothing was sent": (
        Ask("a"),
        Run("a"),
        Ask("b", "key-2"),
        *[Go("b")] * 3,
        Go("b", "lost"),
        Run("b"),
    ),
    # no request is lost
    "an event of another version's record returns quietly": (
        Ask("a", "", event="event-1"),
        Run("a", "throttled"),
        Ask("b", "", event="event-1", version=3),
        Run("b"),
    ),
    "an exception that is none of botocore's hides what Plivo said": (
        Ask("a"),
        *[Go("a")] * 5,
        Go("a", "broken"),
        Run("a"),
    ),
    # one POST per content in its window
    "a retry that arrived earlier is measured by the record": (
        Ask("a"),
        Run("a"),
        Wait(6_000),
        Ask("b", "key-2", secret=False),
        Run("b"),
        Ask("c", "key-2", waited=4_000),
        Run("c"),
    ),
}


@pytest.mark.parametrize("trace", FINDINGS.values(), ids=FINDINGS.keys())
def test_what_was_found_once_does_not_happen_again(trace: tuple[Step, ...]) -> None:
    broken = play(trace, in_memory())

    assert broken is None, f"{broken}\n{told(trace)}"
