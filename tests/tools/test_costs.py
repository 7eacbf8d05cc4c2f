"""The figures in docs/costs.md follow from the constants, and the constants from the code."""

from collections.abc import Callable
from typing import Any

import pytest

from cold_transfer.action import Verdict
from cold_transfer.causes import Cause
from local.build import ROOT
from tests.support.fake_dynamodb import FakeDynamoDB
from tests.support.ledgers import LEASE_MS, NOW_MS, Clock, ledger_on, request_of
from tools import costs

INDEXED = ("open", "lease_until")


class CountingDynamoDB(FakeDynamoDB):
    """Counts what DynamoDB bills: each write, each entry added to or removed from the index."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.index_writes = 0
        self.reads = 0

    def update_item(self, **call: Any) -> dict[str, Any]:
        return self._counted(
            call["Key"]["pk"]["S"], lambda: super(CountingDynamoDB, self).update_item(**call)
        )

    def put_item(self, **call: Any) -> dict[str, Any]:
        return self._counted(
            call["Item"]["pk"]["S"], lambda: super(CountingDynamoDB, self).put_item(**call)
        )

    def get_item(self, **call: Any) -> dict[str, Any]:
        self.reads += 1
        return super().get_item(**call)

    def _counted(self, pk: str, write: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        before = _entry(self.items.get(pk))
        self.writes += 1
        answer = write()
        after = _entry(self.items.get(pk))
        if before != after:  # a changed key is a delete and a put
            self.index_writes += (before is not None) + (after is not None)
        return answer


def _entry(item: dict[str, Any] | None) -> tuple[str, ...] | None:
    if item is None or not all(name in item for name in INDEXED):
        return None
    return tuple(str(item[name]) for name in INDEXED)


def test_an_accepted_action_takes_the_assumed_writes_and_reads() -> None:
    table = CountingDynamoDB()
    ledger = ledger_on(table, "ledger", Clock())

    claim = ledger.claim(request_of(), NOW_MS + LEASE_MS)
    ledger.deduplicate(claim)
    ledger.mark_sending(claim, NOW_MS + LEASE_MS + 10_000)
    ledger.settle(claim, Verdict(Cause.ACCEPTED, plivo_status=201, api_id="a" * 36))

    counted = (table.writes, table.index_writes, table.reads)
    assert counted == (costs.TABLE_WRITES, costs.INDEX_WRITES, 0)


def test_every_item_of_the_ledger_fits_in_one_write_unit() -> None:
    table = FakeDynamoDB()
    ledger = ledger_on(table, "ledger", Clock())
    claim = ledger.claim(request_of(key="k" * 255, client="c" * 64), NOW_MS + LEASE_MS)
    ledger.deduplicate(claim)
    ledger.mark_sending(claim, NOW_MS + LEASE_MS)
    ledger.settle(claim, Verdict(Cause.ACCEPTED, plivo_status=201, api_id="a" * 36))

    sizes = [
        sum(len(name) + len(str(next(iter(value.values())))) for name, value in item.items())
        for item in table.items.values()
    ]

    assert len(sizes) == 2
    assert max(sizes) < 1000


def test_the_readme_has_the_same_sums() -> None:
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())

    assert costs.summary() in readme


def test_the_sum_equals_one_calculated_by_hand() -> None:
    # 3.5 + 0.4 + 0.51 x 13.3334 + 8 x 0.625 + 1 + 2.33 x 0.5 + 10 + 10, in thousandths
    quiet = 0.0035 + 0.0004 + 0.0068000 + 0.005 + 0.001 + 0.001165 + 0.010 + 0.010

    assert costs.total(costs.per_thousand("webhook", quiet=True)) == pytest.approx(quiet, abs=1e-5)


def test_traffic_makes_traces_and_secrets_cheaper_and_nothing_more_expensive() -> None:
    for entry_point in ("webhook", "event"):
        quiet, busy = (costs.per_thousand(entry_point, quiet=each) for each in (True, False))

        cheaper = {
            one.what for one, other in zip(quiet, busy, strict=True) if other.dollars < one.dollars
        }
        dearer = {
            one.what for one, other in zip(quiet, busy, strict=True) if other.dollars > one.dollars
        }

        assert cheaper == {"traces", "reading the secrets"}
        assert dearer == set()
