"""Recording the outcome: up to five attempts, none of which outlasts the invocation."""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from cold_transfer.action import Verdict
from cold_transfer.deadline import Deadline
from cold_transfer.errors import LedgerUnavailable
from cold_transfer.ledger.ledger import Claim, SettleFailed

#: Reserved from the invocation's time for the settle and the answer. Two attempts that time out
#: take less.
SETTLE_SECONDS = 2.0

#: The pause before each attempt, in seconds. The client waits meanwhile. A verdict goes unrecorded
#: only if all attempts fail or the invocation is about to end.
PAUSES = (0, 0.05, 0.1, 0.2, 0.4)

#: How long to wait for an attempt, unless there is plenty of time.
ATTEMPT_SECONDS = 0.9

#: Reserved from the settle's time for the answer, the log and the metrics.
ANSWER_SECONDS = 0.1

#: The longest that the usual DynamoDB client (``composition.USUAL``) takes to fail, name resolution
#: included.
CALL_SECONDS = 14.0


class Ledger(Protocol):
    """The part of ``ledger.ledger.Ledger`` that is used."""

    def settle(self, claim: Claim, verdict: Verdict, *, urgent: bool = False) -> None: ...


class Probe(Protocol):
    """The part of ``telemetry.Telemetry`` that is used."""

    def count(self, metric: str) -> None: ...
    def error(self, message: str, **keys: object) -> None: ...


class Within(Protocol):
    """The type of ``within``."""

    def __call__[T](self, seconds: float, work: Callable[[], T], /) -> T: ...


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(2 * len(PAUSES), "settle")


def within[T](seconds: float, work: Callable[[], T]) -> T:
    """Run ``work`` in a thread, and wait for it for up to ``seconds``.

    After that it continues in the background, perhaps during another invocation, so it must be safe
    to run late and twice. A settle is: it is one conditional write for its own attempt.

    Raises
    ------
    LedgerUnavailable
        It did not finish in time.
    """
    try:
        return _threads().submit(work).result(seconds)
    except TimeoutError:
        raise LedgerUnavailable(f"DynamoDB: no answer in {seconds} s") from None


class Settling:
    """Records verdicts; a test replaces ``pause`` and ``within`` so as not to wait."""

    def __init__(
        self, ledger: Ledger, probe: Probe, pause: Callable[[float], None], within: Within
    ) -> None:
        self._ledger = ledger
        self._probe = probe
        self._pause = pause
        self._within = within

    def settle(self, claim: Claim, verdict: Verdict, deadline: Deadline) -> None:
        """Record the verdict. If that fails, log and count it: the client gets the verdict anyway.

        The record then becomes unknown when its lease ends (not_sent, if it was not marked as
        sending), and a person has to look into it.

        Raises
        ------
        Settled, InProgress
            See ``Ledger.settle``.
        """
        reason = ""
        for number, pause in enumerate(PAUSES):
            if number:
                # Retried here rather than by botocore, whose back-off ignores the deadline.
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
        # The usual client goes first: its connection is open. The urgent one opens its own.
        settle = functools.partial(self._ledger.settle, claim, verdict, urgent=number > 0)
        if not number and deadline.remaining() >= CALL_SECONDS + SETTLE_SECONDS:
            settle()
        else:
            self._within(ATTEMPT_SECONDS, settle)
