"""What tests of the ledger share: its table, its requests, and a clock that stands still."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cold_transfer.action import Action, ActionRequest, Answer, EntryPoint, Settled
from cold_transfer.ledger.ledger import Ledger, LedgerPolicy
from cold_transfer.ledger.record import Record
from cold_transfer.ledger.table import Table
from tests.support.builders import NODE_ID, PHLO_ID, TO, TRIGGER_SOURCE
from tests.support.fake_dynamodb import INDEXES

#: The template's defaults.
POLICY = LedgerPolicy(duplicate_window=5_000, unknown_window=120_000, record_seconds=15 * 86_400)

NOW_MS = 1_773_500_966_535
LEASE_MS = 25_000

ACTION = Action(PHLO_ID, NODE_ID, TO, TRIGGER_SOURCE)


@dataclass
class Clock:
    """A wall clock in epoch milliseconds that only a test moves."""

    now: int = NOW_MS

    def __call__(self) -> int:
        return self.now


def request_of(  # noqa: PLR0913  each piece of a request can be another one
    key: str = "key-1",
    action: Action = ACTION,
    *,
    entry_point: EntryPoint = EntryPoint.WEBHOOK,
    client: str = "crm",
    requested_at: int | None = None,
    waited: int = 0,
    delivery: str = "",
) -> ActionRequest:
    return ActionRequest(action, entry_point, client, key, requested_at, waited, delivery)


def ledger_on(  # noqa: PLR0913  each piece of a ledger can be another one
    client: Any,
    table: str,
    clock: Callable[[], int],
    abandoned: Callable[[Record], None] = lambda _: None,
    *,
    urgent: Any = None,
    policy: LedgerPolicy = POLICY,
    **options: Any,
) -> Ledger:
    """The ledger on a table, through any client; ``urgent`` is another client for it."""
    return Ledger(
        Table(client, table),
        policy,
        clock,
        urgent=None if urgent is None else Table(urgent, table),
        abandoned=abandoned,
        **options,
    )


def answer_of(step: Callable[..., object], *arguments: object) -> Answer:
    """The answer with which ``step`` ends an attempt."""
    try:
        step(*arguments)
    except Settled as settled:
        return settled.answer
    raise AssertionError("the attempt continues")


def create_table(client: Any) -> str:
    """Create a table for one test; returns its name."""
    name = f"ledger-{secrets.token_hex(6)}"
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "open", "AttributeType": "S"},
            {"AttributeName": "lease_until", "AttributeType": "N"},
            {"AttributeName": "unresolved", "AttributeType": "S"},
            {"AttributeName": "settled_at", "AttributeType": "N"},
        ],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": name,
                "KeySchema": [
                    {"AttributeName": hashed, "KeyType": "HASH"},
                    {"AttributeName": ranged, "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
            for name, (hashed, ranged) in INDEXES.items()
        ],
    )
    while client.describe_table(TableName=name)["Table"]["TableStatus"] != "ACTIVE":
        time.sleep(0.01)
    return name


def items(client: Any, table: str) -> list[dict[str, Any]]:
    """Every item of the table, in the form of DynamoDB's API."""
    found: list[dict[str, Any]] = []
    start: dict[str, Any] = {}
    while True:
        page = client.scan(TableName=table, ConsistentRead=True, **start)
        found += page["Items"]
        if "LastEvaluatedKey" not in page:
            return found
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def records(client: Any, table: str) -> dict[str, Record]:
    """Every K item of the table, by Action-Id."""
    found = [Record.from_item(i) for i in items(client, table) if i["pk"]["S"].startswith("K#")]
    return {record.action_id: record for record in found}
