"""What an action costs with 1,000 and with 100,000 recorded before it."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from itertools import batched
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.row import Row, interleaved
from benchmarks.warm import Bench

FEW, MANY = 1_000, 100_000

#: What counts as flat: the median time may differ by this factor, which is the emulator's noise.
FLAT = 1.1

#: Many short turns rather than a few long ones, so that a busy moment affects both sizes alike.
_TURNS, _CALLS = 40, 15

_BATCH = 25  # the most that DynamoDB takes at once

type Item = Mapping[str, Mapping[str, str]]


def measure(bench: Bench) -> None:
    """Time of an action, what it asks the table for, and the emulator's own time for one put.

    Each table is filled with copies of one real action's items under other keys. Both exist at the
    same time, and one function for each works on them in turn.
    """
    servers = bench.servers
    tables = {size: f"ledger-{size:06}" for size in (FEW, MANY)}
    asked: dict[int, list[float]] = {size: [] for size in tables}
    with ExitStack() as stack:
        measures: dict[str, Callable[[], float]] = {}
        for size, table in tables.items():
            servers.create_ledger(table)
            worker = stack.enter_context(
                bench.function(table, bench.webhook, variables={"LEDGER_TABLE": table})
            )
            worker.run(1)
            _fill(servers.dynamodb, table, size)

            def action(size: int = size, run: Callable[[int], Any] = worker.run) -> float:
                servers.forget()
                wall: float = run(_CALLS).wall
                asked[size].append(sum(each.size for each in servers.aws.exchanges) / _CALLS)
                return wall

            measures[f"an action at {size:,}"] = action
            measures[f"a bare put at {size:,}"] = partial(_put, servers.dynamodb, table, _CALLS)
        values = interleaved(measures, _TURNS)
    for name, found in values.items():
        bench.table.figures[f"wall clock µs, {name}"] = found
    grown = f"{FEW:,} → {MANY:,} recorded actions"
    for what, target in (("an action", FLAT), ("a bare put", None)):
        few, many = values[f"{what} at {FEW:,}"], values[f"{what} at {MANY:,}"]
        shows = f"{median(many) / 1000:.1f} ms / {median(few) / 1000:.1f} ms"
        name = "time of an action" if target else "the emulator's own time of a put"
        bench.table.rows.append(
            Row.ratio(f"{name}, {grown}", "", many, few, target=target, shows=shows)
        )
    shows = f"{median(asked[MANY]):.0f} B / {median(asked[FEW]):.0f} B an action"
    name = f"bytes to and from DynamoDB, {grown}"
    bench.table.rows.append(Row.ratio(name, "", asked[MANY], asked[FEW], target=1.01, shows=shows))


def _put(dynamodb: Any, table: str, calls: int) -> float:  # noqa: ANN401  as boto3 makes it
    """Microseconds of one conditional put of a new item, without any code of ours."""
    begun = perf_counter()
    for _ in range(calls):
        dynamodb.put_item(
            TableName=table,
            Item={"pk": {"S": f"P#{secrets.token_hex(32)}"}},
            ConditionExpression="attribute_not_exists(pk)",
        )
    return (perf_counter() - begun) / calls * 1e6


def _fill(dynamodb: Any, table: str, actions: int) -> None:  # noqa: ANN401  as boto3 makes it
    patterns: list[Item] = dynamodb.scan(TableName=table)["Items"]
    for items in batched(_copies(patterns, actions), _BATCH, strict=False):
        puts = [{"PutRequest": {"Item": item}} for item in items]
        left = dynamodb.batch_write_item(RequestItems={table: puts})["UnprocessedItems"]
        if left:
            raise AssertionError(left)


def _copies(patterns: list[Item], count: int) -> Iterator[Item]:
    for _ in range(count):
        for item in patterns:
            kind = item["pk"]["S"].partition("#")[0]
            yield {**item, "pk": {"S": f"{kind}#{secrets.token_hex(32)}"}}
