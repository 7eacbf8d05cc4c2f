"""The in-memory table against two DynamoDBs: the same calls, the same replies."""

from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.fake_dynamodb import FakeDynamoDB
from tests.support.ledgers import create_table
from tests.support.simulation.ledger_machine import LedgerMachine
from tests.support.simulation.world import World

#: How many rounds with each.
ROUNDS = {"dynamodb": 8, "moto": 4}


class Both:
    """Makes each call of both, and compares what they say."""

    def __init__(self, real: Any, table: str) -> None:
        self._real = real
        self._fake = FakeDynamoDB()
        self._table = table
        self.compared = 0

    def __getattr__(self, operation: str) -> Any:
        def call(**arguments: Any) -> Any:
            said = [_said(client, operation, arguments) for client in (self._real, self._fake)]
            assert _comparable(said[0]) == _comparable(said[1]), (operation, arguments)
            self.compared += 1
            if isinstance(said[0], ClientError):
                raise said[0]
            return said[0]

        return call


def _said(client: Any, operation: str, arguments: dict[str, Any]) -> Any:
    try:
        return getattr(client, operation)(**arguments)
    except ClientError as error:
        return error


def _comparable(said: Any) -> Any:
    if isinstance(said, ClientError):
        return said.response["Error"]["Code"], said.response.get("Item")
    said = {name: said.get(name) for name in ("Attributes", "Item", "Items")}
    if said["Items"] is not None:
        said["Items"] = sorted(said["Items"], key=lambda item: item["pk"]["S"])
    return said


@pytest.mark.parametrize("api", ROUNDS)
def test_the_ledger_cannot_tell_them_apart(request: pytest.FixtureRequest, api: str) -> None:
    client: Any = request.getfixturevalue(api)
    compared = 0

    class Compared(LedgerMachine):
        def new_world(self) -> World:
            table = create_table(client)
            self.both = Both(client, table)
            return World(self.both, table, drop=client.delete_table)

        def teardown(self) -> None:
            nonlocal compared
            super().teardown()
            compared += self.both.compared

    rounds = settings(max_examples=ROUNDS[api], stateful_step_count=25)
    run_state_machine_as_test(Compared, settings=rounds)

    assert compared > 60 * ROUNDS[api]
