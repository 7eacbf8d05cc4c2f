"""Every interleaving of two invocations: with a fault if one hands over to the other once.

``make explore`` has no such limit.
"""

import pytest

from tests.explorer.systematic import SCENARIOS, Bounds, Scenario, every_run
from tests.explorer.trace import report

SHORT = (
    Bounds(faults=0, pauses=0),
    Bounds(faults=1, pauses=0, switches=1),
    Bounds(faults=0, pauses=1, switches=1),
)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_no_interleaving_breaks_a_rule(scenario: Scenario) -> None:
    for bounds in SHORT:
        for trace, broken in every_run(scenario, bounds):
            assert broken is None, report(scenario.name, trace, broken)
