"""The in-memory table against two DynamoDBs: the same calls, the same replies.

The calls are those of the explorer's runs, so that its rules are held on the real ones too.
"""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.explorer.draw import explore
from tests.explorer.trace import Named, told
from tests.support.fake_dynamodb import FakeDynamoDB
from tests.support.ledgers import create_table

#: How many runs with each.
RUNS = {"dynamodb": 20, "moto": 8}


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


@pytest.mark.parametrize("api", RUNS)
def test_the_ledger_cannot_tell_them_apart(request: pytest.FixtureRequest, api: str) -> None:
    client: Any = request.getfixturevalue(api)
    compared = 0
    for seed in range(RUNS[api]):
        table = create_table(client)
        both = Both(client, table)
        trace, broken = explore(seed, Named(both, table, client.delete_table))
        assert broken is None, f"{broken}\n{told(trace)}"
        compared += both.compared

    assert compared > 30 * RUNS[api]
