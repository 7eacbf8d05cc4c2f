"""Whatever happens, in whatever order: a call is moved at most once, and no request is lost.

On the in-memory table, for volume; tests/integration/test_state_machine.py does the same on a
real DynamoDB API. HYPOTHESIS_PROFILE=long is the long form.
"""

import os

import pytest
from hypothesis.stateful import run_state_machine_as_test

from tests.support.fake_dynamodb import FakeDynamoDB
from tests.support.simulation.ledger_machine import LedgerMachine
from tests.support.simulation.world import World

LEAST_STEPS = 100_000 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 1_000


@pytest.mark.timeout(3600)
def test_a_call_is_moved_at_most_once_whatever_happens() -> None:
    class InMemory(LedgerMachine):
        def new_world(self) -> World:
            return World(FakeDynamoDB(page_size=2), "ledger")

    run_state_machine_as_test(InMemory)

    print(f"{InMemory.applied} rules, {InMemory.steps} steps, {InMemory.posts} POSTs")  # noqa: T201  with -s
    assert InMemory.posts > 0
    assert InMemory.applied > LEAST_STEPS
