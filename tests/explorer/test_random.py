"""Random runs break no rule of ``invariants``.

This is the short form, on the table in memory; ``make explore`` is the long one.
"""

import pytest

from tests.explorer.draw import explore
from tests.explorer.trace import in_memory, report

RUNS = 2_500


@pytest.mark.timeout(600)
def test_random_runs_break_no_rule() -> None:
    posts = 0
    for seed in range(RUNS):
        world = in_memory()
        trace, broken = explore(seed, world)
        assert broken is None, report(f"seed {seed}", trace, broken)
        posts += len(world.sent)
    assert posts > RUNS


def test_a_seed_always_makes_the_same_run() -> None:
    first, second = ([explore(seed, in_memory())[0] for seed in range(20)] for _ in range(2))
    assert first == second
