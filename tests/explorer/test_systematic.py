"""Every interleaving of two invocations, with one fault for the most telling pairs.

``make explore`` has one fault for every pair, and a pause beside it.
"""

import pytest

from tests.explorer.systematic import SCENARIOS, Bounds, Scenario, every_run
from tests.explorer.trace import report

CALM = Bounds(faults=0, pauses=0)
ONE_PAUSE = Bounds(faults=0, pauses=1, switches=1)
ONE_FAULT = Bounds(faults=1, pauses=0)

TELLING = frozenset(
    {
        "one key twice",
        "two keys",
        "an event twice",
        "a retry twice",
        "a repeat and the reconciler",
        "one key of a member twice",
    }
)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_no_interleaving_breaks_a_rule(scenario: Scenario) -> None:
    for bounds in (CALM, ONE_PAUSE, *[ONE_FAULT] * (scenario.name in TELLING)):
        for trace, broken in every_run(scenario, bounds):
            assert broken is None, report(scenario.name, trace, broken)


def test_the_telling_pairs_are_there() -> None:
    assert {scenario.name for scenario in SCENARIOS} >= TELLING
