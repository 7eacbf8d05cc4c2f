"""Recording the outcome: up to five attempts, and none that outlasts the invocation."""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from cold_transfer.action import Verdict
from cold_transfer.deadline import Deadline
from cold_transfer.errors import LedgerUnavailable
from cold_transfer.ledger.ledger import Claim, SettleFailed

#: Kept of the invocation's time for the settle, and for the answer after it: two attempts that
#: nothing answers take less.
SETTLE_SECONDS = 2.0

#: The pause before each attempt. All have to fail before a verdict goes unrecorded, or the
#: invocation's end has to come near; the client waits meanwhile.
PAUSES = (0, 0.05, 0.1, 0.2, 0.4)

#: How long an attempt is waited for, unless there is plenty of time.
ATTEMPT_SECONDS = 0.9

#: Kept of the settle's time for the answer, the log and the metrics.
ANSWER_SECONDS = 0.1

#: The longest that the usual client of AWS (``composition.USUAL``) takes to fail, looking up the
#: name included.
CALL_SECONDS = 14.0


class Ledger(Protocol):
    """What is used of ``ledger.Ledger``; see there."""

    def settle(self, claim: Claim, verdict: Verdict, *, urgent: bool = False) -> None: ...


class Probe(Protocol):
    """What is used of ``telemetry.Telemetry``; see there."""

    def count(self, metric: str) -> None: ...
    def error(self, message: str, **keys: object) -> None: ...


class Within(Protocol):
    """What is used of ``within``."""

    def __call__[T](self, seconds: float, work: Callable[[], T], /) -> T: ...


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(2 * len(PAUSES), "settle")


def within[T](seconds: float, work: Callable[[], T]) -> T:
    """Do ``work`` and wait for it, but no longer than ``seconds``.

    It goes on by itself then, perhaps in the middle of another invocation: only for what may be
    done late, and twice. A settle may: it is one write, on the attempt that it is of.

    Raises
    ------
    LedgerUnavailable
        It is not done yet.
    """
    try:
        return _threads().submit(work).result(seconds)
    except TimeoutError:
        raise LedgerUnavailable(f"DynamoDB: no answer in {seconds} s") from None


class Settling:
    """``pause`` and ``within`` are how time is spent: a test spends none."""

    def __init__(
        self, ledger: Ledger, probe: Probe, pause: Callable[[float], None], within: Within
    ) -> None:
        self._ledger = ledger
        self._probe = probe
        self._pause = pause
        self._within = within

    def settle(self, claim: Claim, verdict: Verdict, deadline: Deadline) -> None:
        """Record the verdict, or say that it could not be recorded: it is the truth all the same.

        The record then becomes unknown once its lease is over (not_sent, if nothing was marked),
        and a person has to look at it.

        Raises
        ------
        Settled, InProgress
            See ``Ledger.settle``.
        """
        reason = ""
        for number, pause in enumerate(PAUSES):
            if number:
                # Tried again here, not by botocore, whose pauses ignore when the invocation ends.
                if deadline.remaining() < pause + ATTEMPT_SECONDS + ANSWER_SECONDS:
                    break
                self._pause(pause)
            try:
                self._attempt(number, claim, verdict, deadline)
            except LedgerUnavailable as error:
                reason = str(error)
            except SettleFailed as error:
                reason = str(error)
                break
            else:
                return
        self._probe.count("SettleFailed")
        self._probe.error(
            "settle_failed",
            action_id=claim.action_id,
            outcome=verdict.outcome,
            cause=verdict.cause,
            reason=reason,
        )

    def _attempt(self, number: int, claim: Claim, verdict: Verdict, deadline: Deadline) -> None:
        # The usual client comes first, because it has a connection; the urgent one makes another.
        settle = functools.partial(self._ledger.settle, claim, verdict, urgent=number > 0)
        if not number and deadline.remaining() >= CALL_SECONDS + SETTLE_SECONDS:
            settle()
        else:
            self._within(ATTEMPT_SECONDS, settle)
