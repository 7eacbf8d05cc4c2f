"""The state machine of tests/unit/ledger/test_state_machine.py on a real DynamoDB API."""

import os
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.ledgers import create_table
from tests.support.simulation.ledger_machine import LedgerMachine
from tests.support.simulation.world import World

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"

#: The short form is one round; the long form goes on until it has done so much.
LEAST_RULES = 100_000 if LONG else 1
ROUND = settings(max_examples=100 if LONG else 10, stateful_step_count=60 if LONG else 30)


@pytest.mark.timeout(7200)
def test_a_call_is_moved_at_most_once_whatever_happens(dynamodb: Any) -> None:
    class OnDynamoDB(LedgerMachine):
        def new_world(self) -> World:
            return World(dynamodb, create_table(dynamodb), drop=dynamodb.delete_table)

    while OnDynamoDB.applied < LEAST_RULES:
        run_state_machine_as_test(OnDynamoDB, settings=ROUND)

    assert OnDynamoDB.posts > 0
    print(f"{OnDynamoDB.applied} rules, {OnDynamoDB.steps} steps, {OnDynamoDB.posts} POSTs")  # noqa: T201  with -s
