"""The reconcile function settles abandoned attempts, reports them, and retries after a failure."""

from collections.abc import Callable

import pytest

from cold_transfer.action import Verdict
from cold_transfer.causes import Cause
from cold_transfer.errors import LedgerUnavailable
from cold_transfer.telemetry import Telemetry
from tests.support import builders, fakes
from tests.support.ledgers import ledger_on

SCHEDULED = {"id": "5c1d4b0e-8a53-4ad3-b5f7-1a7c6f0f2f11", "detail-type": "Scheduled Event"}


class Bench:
    """The reconcile function, on the ledger of a system whose attempts are killed."""

    def __init__(self, *, remaining_ms: int = 25_000) -> None:
        self.system = fakes.System(SystemExit("killed"))
        self.context = builders.FakeLambdaContext(fixed_ms=remaining_ms)
        self.xray = fakes.Xray()
        telemetry = Telemetry("reconcile", self.xray)
        ledger = ledger_on(self.system.table, "ledger", self.system.clock, telemetry.abandoned)
        self._run = fakes.entry_point("reconcile").Reconciler(ledger, telemetry, 25.0)

    def run(self, event: object = SCHEDULED) -> dict[str, int]:
        settled: dict[str, int] = self._run(event, self.context)
        return settled

    def abandon_while_sending(self, key: str) -> None:
        self._abandon(key, lambda: None)

    def abandon_while_connecting(self, key: str) -> None:
        def killed() -> None:
            raise SystemExit("killed")

        self._abandon(key, killed)

    def _abandon(self, key: str, before_connect: Callable[[], None]) -> None:
        self.system.plivo.before_connect = before_connect
        # each to a different number, so that none is a duplicate of one in progress
        body = builders.fields(to=f"+141522255{len(self.system.table.items):02}")
        with pytest.raises(SystemExit):
            self.system.post(body, key=key)


def test_an_attempt_abandoned_while_sending_becomes_unknown_and_one_before_it_not_sent() -> None:
    bench = Bench()
    bench.abandon_while_sending("key-1")
    bench.abandon_while_connecting("key-2")
    bench.system.clock.now += 60_000

    with fakes.emitted() as output:
        assert bench.run() == {"settled": 2, "failed": 0}

    assert sorted(bench.system.table.states()) == ["not_sent", "unknown"]
    assert output.counted() == {
        "ColdStart": 1,
        "ActionUnknown": 1,
        "ActionNotSent": 1,
        "UnknownUnresolved": 1,
    }
    logs = output.logs()
    assert {line["cause"]: line["level"] for line in logs} == {
        "abandoned": "FATAL",
        "out-of-time": "WARN",
    }
    for line in logs:
        assert (line["client"], line["of_entry_point"], line["function"]) == (
            "phlo",
            "webhook",
            "reconcile",
        )
        assert line["correlation_id"] == SCHEDULED["id"]
        assert f"K#{line['action_id']}" in bench.system.table.items
    assert bench.run() == {"settled": 0, "failed": 0}


@pytest.mark.parametrize("event", builders.NO_EVENTS)
def test_the_event_does_not_matter(event: object) -> None:
    bench = Bench()
    bench.abandon_while_sending("key-1")
    bench.system.clock.now += 60_000

    assert bench.run(event) == {"settled": 1, "failed": 0}


def test_an_attempt_within_its_lease_is_left_alone() -> None:
    bench = Bench()
    bench.abandon_while_sending("key-1")

    assert bench.run() == {"settled": 0, "failed": 0}
    assert bench.system.table.states() == ["sending"]


def test_a_settled_record_is_left_alone() -> None:
    bench = Bench()
    bench.system.plivo.script = [fakes.ACCEPTED]
    bench.system.post()
    bench.system.clock.now += 60_000

    assert bench.run() == {"settled": 0, "failed": 0}
    assert bench.system.table.states() == ["accepted"]


def test_a_failure_to_settle_one_does_not_stop_the_others_but_fails_the_run() -> None:
    bench = Bench()
    bench.abandon_while_sending("key-1")
    bench.abandon_while_sending("key-2")
    bench.system.clock.now += 60_000
    table = bench.system.table
    shard = next(
        number
        for number in range(16)
        if any(
            item.get("open") == {"S": "0123456789abcdef"[number]} for item in table.items.values()
        )
    )
    table.out = {len(table.calls) + shard + 1}  # the read of the first record

    with fakes.emitted() as output, pytest.raises(LedgerUnavailable):
        bench.run()

    assert sorted(table.states()) == ["sending", "unknown"]
    assert output.counted()["LedgerUnavailable"] == 1
    assert (
        "UnknownUnresolved" not in output.counted()
    )  # to the alarm ReconcileSilent, it means a complete run
    assert bench.run() == {"settled": 1, "failed": 0}


def test_an_unreadable_index_fails_the_run_and_is_counted() -> None:
    bench = Bench()
    bench.system.table.out = {0}

    with fakes.emitted() as output, pytest.raises(LedgerUnavailable):
        bench.run()

    assert output.counted()["LedgerUnavailable"] == 1


def test_every_run_counts_the_unknown_outcomes_without_a_resolution() -> None:
    bench = Bench()
    bench.system.plivo.script = [Verdict(Cause.PLIVO_TIMED_OUT)]
    counted = []
    for number in range(3):
        with fakes.emitted() as output:
            bench.run()
        counted.append(output.counted()["UnknownUnresolved"])
        bench.system.post(builders.fields(to=f"+1415222556{number}"))

    assert counted == [0, 1, 2]


def test_it_stops_in_time_and_leaves_the_rest_for_the_next_run() -> None:
    bench = Bench(remaining_ms=9_999)
    bench.abandon_while_sending("key-1")
    bench.system.clock.now += 60_000

    with fakes.emitted() as output:
        assert bench.run() == {"settled": 0, "failed": 0}

    assert [line["level"] for line in output.logs()] == ["WARN"]
    assert bench.system.table.states() == ["sending"]
