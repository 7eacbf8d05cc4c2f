"""The table in memory against two DynamoDB APIs: the same calls get the same replies.

The calls are those of the explorer's runs, so that its rules are checked on these APIs too.
"""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.explorer.draw import explore
from tests.explorer.trace import Named, told
from tests.support.fake_dynamodb import FakeDynamoDB
from tests.support.ledgers import create_table

#: The number of runs on each.
RUNS = {"dynamodb": 20, "moto": 8}


class Both:
    """Makes each call on both, and compares the replies."""

    def __init__(self, real: Any, table: str) -> None:
        self._real = real
        self._fake = FakeDynamoDB()
        self._table = table
        self.compared = 0

    def __getattr__(self, operation: str) -> Any:
        def call(**arguments: Any) -> Any:
            replies = [_reply(client, operation, arguments) for client in (self._real, self._fake)]
            assert _comparable(replies[0]) == _comparable(replies[1]), (operation, arguments)
            self.compared += 1
            if isinstance(replies[0], ClientError):
                raise replies[0]
            return replies[0]

        return call


def _reply(client: Any, operation: str, arguments: dict[str, Any]) -> Any:
    try:
        return getattr(client, operation)(**arguments)
    except ClientError as error:
        return error


def _comparable(reply: Any) -> Any:
    if isinstance(reply, ClientError):
        return reply.response["Error"]["Code"], reply.response.get("Item")
    reply = {name: reply.get(name) for name in ("Attributes", "Item", "Items")}
    if reply["Items"] is not None:
        reply["Items"] = sorted(reply["Items"], key=lambda item: item["pk"]["S"])
    return reply


@pytest.mark.parametrize("api", RUNS)
def test_the_fake_replies_like_the_api(request: pytest.FixtureRequest, api: str) -> None:
    client: Any = request.getfixturevalue(api)
    compared = 0
    for seed in range(RUNS[api]):
        table = create_table(client)
        both = Both(client, table)
        trace, broken = explore(seed, Named(both, table, client.delete_table))
        assert broken is None, f"{broken}\n{told(trace)}"
        compared += both.compared

    assert compared > 30 * RUNS[api]
