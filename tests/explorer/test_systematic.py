"""Every interleaving of two invocations, with one fault for the most telling pairs.

``make explore`` has one fault for every pair, and a pause beside it.
"""

import pytest

from tests.explorer.systematic import SCENARIOS, Bounds, Scenario, every_run
from tests.explorer.trace import report

CALM = Bounds(faults=0, pauses=0)
ONE_PAUSE = Bounds(faults=0, pauses=1, switches=1)
ONE_FAULT = Bounds(faults=1, pauses=0)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_no_interleaving_breaks_a_rule(scenario: Scenario) -> None:
    for bounds in (CALM, ONE_PAUSE, *[ONE_FAULT] * scenario.telling):
        for trace, broken in every_run(scenario, bounds):
            assert broken is None, report(scenario.name, trace, broken)
