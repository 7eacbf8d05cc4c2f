"""The reconciler settles abandoned attempts, reports them, and retries what it could not settle."""

from collections.abc import Callable

import pytest

from cold_transfer.action import Verdict
from cold_transfer.causes import Cause
from cold_transfer.errors import LedgerUnavailable
from cold_transfer.telemetry import Telemetry
from tests.support import builders, fakes
from tests.support.ledgers import ledger_on

SCHEDULED = {"id": "5c1d4b0e-8a53-4ad3-b5f7-1a7c6f0f2f11", "detail-type": "Scheduled Event"}


class Reconciling:
    """The reconciler on the table of a system with abandoned attempts."""

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

    def died_while_sending(self, key: str) -> None:
        self._died(key, lambda: None)

    def died_while_connecting(self, key: str) -> None:
        def killed() -> None:
            raise SystemExit("killed")

        self._died(key, killed)

    def _died(self, key: str, before_connect: Callable[[], None]) -> None:
        self.system.plivo.before_connect = before_connect
        # each to another number: the same action would be in progress
        body = builders.fields(to=f"+141522255{len(self.system.table.items):02}")
        with pytest.raises(SystemExit):
            self.system.post(body, key=key)


def test_what_died_while_sending_becomes_unknown_and_what_died_before_not_sent() -> None:
    bench = Reconciling()
    bench.died_while_sending("key-1")
    bench.died_while_connecting("key-2")
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
def test_what_calls_it_does_not_matter(event: object) -> None:
    bench = Reconciling()
    bench.died_while_sending("key-1")
    bench.system.clock.now += 60_000

    assert bench.run(event) == {"settled": 1, "failed": 0}


def test_what_is_alive_is_left_alone() -> None:
    bench = Reconciling()
    bench.died_while_sending("key-1")

    assert bench.run() == {"settled": 0, "failed": 0}
    assert bench.system.table.states() == ["sending"]


def test_what_is_settled_is_left_alone() -> None:
    bench = Reconciling()
    bench.system.plivo.script = [fakes.ACCEPTED]
    bench.system.post()
    bench.system.clock.now += 60_000

    assert bench.run() == {"settled": 0, "failed": 0}
    assert bench.system.table.states() == ["accepted"]


def test_one_that_cannot_be_settled_does_not_keep_the_others_and_fails_the_run() -> None:
    bench = Reconciling()
    bench.died_while_sending("key-1")
    bench.died_while_sending("key-2")
    bench.system.clock.now += 60_000
    table = bench.system.table
    nominated_by = next(
        number
        for number in range(16)
        if any(
            item.get("open") == {"S": "0123456789abcdef"[number]} for item in table.items.values()
        )
    )
    table.out = {len(table.calls) + nominated_by + 1}  # the read of the first one

    with fakes.emitted() as output, pytest.raises(LedgerUnavailable):
        bench.run()

    assert sorted(table.states()) == ["sending", "unknown"]
    assert output.counted()["LedgerUnavailable"] == 1
    assert "UnknownUnresolved" not in output.counted()  # ReconcileSilent takes it for a whole run
    assert bench.run() == {"settled": 1, "failed": 0}


def test_an_index_that_cannot_be_read_fails_the_run_and_is_counted() -> None:
    bench = Reconciling()
    bench.system.table.out = {0}

    with fakes.emitted() as output, pytest.raises(LedgerUnavailable):
        bench.run()

    assert output.counted()["LedgerUnavailable"] == 1


def test_every_run_counts_the_unknown_outcomes_that_wait_for_a_person() -> None:
    bench = Reconciling()
    bench.system.plivo.script = [Verdict(Cause.PLIVO_TIMED_OUT)]
    counted = []
    for number in range(3):
        with fakes.emitted() as output:
            bench.run()
        counted.append(output.counted()["UnknownUnresolved"])
        bench.system.post(builders.fields(to=f"+1415222556{number}"))

    assert counted == [0, 1, 2]


def test_it_stops_in_time_and_leaves_the_rest_for_the_next_run() -> None:
    bench = Reconciling(remaining_ms=9_999)
    bench.died_while_sending("key-1")
    bench.system.clock.now += 60_000

    with fakes.emitted() as output:
        assert bench.run() == {"settled": 0, "failed": 0}

    assert [line["level"] for line in output.logs()] == ["WARN"]
    assert bench.system.table.states() == ["sending"]
