"""Settles abandoned attempts every minute, and counts the unresolved unknown outcomes.

sending -> unknown, claimed -> not_sent. A retry does the same immediately; this function is for
requests that are never retried.
"""

import functools
from collections.abc import Iterator
from typing import Any

from cold_transfer import composition, start_up
from cold_transfer.entrypoints.invocation import (
    correlation_id,
    deadline_of,
    member,
    self_checked,
)
from cold_transfer.errors import LedgerUnavailable
from cold_transfer.ledger.ledger import Ledger
from cold_transfer.telemetry import Telemetry

FUNCTION = "reconcile"

#: A run stops when this much of the invocation is left; the next run finds the rest.
RESERVE_SECONDS = 10.0


class Reconciler:
    def __init__(self, ledger: Ledger, telemetry: Telemetry, timeout_seconds: float) -> None:
        self._ledger = ledger
        self._telemetry = telemetry
        self._timeout_seconds = timeout_seconds

    def __call__(self, event: object, context: Any) -> dict[str, Any]:  # noqa: ANN401
        """Settle what is overdue; returns how many records were settled, and how many failed.

        Raises
        ------
        LedgerUnavailable
            Some records could not be read or settled; the next run tries again.
        """
        deadline = deadline_of(context, self._timeout_seconds)
        settled = failed = 0
        with self._telemetry.invocation(correlation_id(member(event, "id"))):
            report = self_checked(event, FUNCTION)
            if report is not None:
                return report
            for action_id in self._read(self._ledger.overdue()):
                if deadline.remaining() < RESERVE_SECONDS:
                    self._telemetry.warning("more overdue records than one run can settle")
                    break
                try:
                    settled += self._ledger.settle_overdue(action_id) is not None
                except LedgerUnavailable as error:
                    failed += 1
                    self._telemetry.refused(error)
            if failed:
                raise LedgerUnavailable(f"{failed} overdue records could not be settled")
            # last, because an alarm takes this metric as proof of a completed run
            self._telemetry.count(
                "UnknownUnresolved", sum(1 for _ in self._read(self._ledger.unresolved()))
            )
        return {"settled": settled, "failed": failed}

    def _read(self, nominated: Iterator[str]) -> Iterator[str]:
        try:
            yield from nominated
        except LedgerUnavailable as error:
            self._telemetry.refused(error)
            raise


@functools.cache
def _function() -> Reconciler:
    telemetry = Telemetry(FUNCTION)
    timeout = composition.settings().function_timeout_seconds
    return Reconciler(composition.ledger(telemetry), telemetry, timeout)


def handler(event: object, context: Any) -> dict[str, Any]:  # noqa: ANN401  Lambda's own
    """Run once. The schedule's event is used for its id only."""
    return _function()(event, context)


start_up.finish(_function)  # makes no calls and no connections
