"""The state machine of tests/unit/test_ledger_machine.py on a real DynamoDB API."""

import os
import time
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.ledger_machine import LedgerMachine
from tests.ledgers import create_table
from tests.world import World

#: Seconds that the long form takes at least; the short form is one round.
LONG_SECONDS = 400 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 0

ROUND = settings(max_examples=10, stateful_step_count=30)
LONG_ROUND = settings(max_examples=100, stateful_step_count=60)


@pytest.mark.timeout(3600)
def test_a_call_is_moved_at_most_once_whatever_happens(dynamodb: Any) -> None:
    class OnDynamoDB(LedgerMachine):
        def new_world(self) -> World:
            return World(dynamodb, create_table(dynamodb), drop=dynamodb.delete_table)

    ends = time.monotonic() + LONG_SECONDS
    while True:
        run_state_machine_as_test(OnDynamoDB, settings=LONG_ROUND if LONG_SECONDS else ROUND)
        if time.monotonic() > ends:
            break

    assert OnDynamoDB.posts > 0
    print(f"{OnDynamoDB.applied} rules, {OnDynamoDB.steps} steps, {OnDynamoDB.posts} POSTs")  # noqa: T201  with -s
