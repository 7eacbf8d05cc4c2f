"""One request's way from claim to verdict: ledger.claim -> plivo.send -> ledger.settle."""

import functools
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Protocol

from cold_transfer.action import Action, ActionRequest, Answer, Verdict
from cold_transfer.causes import Cause, Outcome
from cold_transfer.deadline import Deadline
from cold_transfer.errors import LedgerUnavailable, OutOfTime, SecretInvalid, SecretUnavailable
from cold_transfer.ledger.ledger import LEASE_MARGIN_MS, Claim, Clock, SettleFailed
from cold_transfer.plivo.client import PlivoCredentials, url_template

#: Kept of the invocation's time for the settle, and for the answer after it: two tries that nothing
#: answers take less.
SETTLE_SECONDS = 2.0

#: Pauses between the tries to settle. Five tries have to fail before a verdict goes unrecorded,
#: or the invocation's end has to come near; the client waits meanwhile.
SETTLE_PAUSES = (0.05, 0.1, 0.2, 0.4)

#: How long a try to settle is waited for, unless there is plenty of time.
SETTLE_TRY_SECONDS = 0.9

#: Kept of the settle's time for the answer, the log and the metrics.
ANSWER_SECONDS = 0.1

#: The longest that the usual client of AWS (``composition.USUAL``) takes to fail, looking up the
#: name included.
CALL_SECONDS = 14.0

#: Less time than this is no attempt: a new TLS connection and one answer need about half of it.
SEND_SECONDS = 1.0

#: Plivo's 401, read to the end of its head; its 403 is about the account, not the token.
_REFRESHABLE = (Cause.PLIVO_CREDENTIALS_REFUSED, 401)


class Ledger(Protocol):
    """What is used of ``ledger.Ledger``; see there."""

    def claim(self, request: ActionRequest, lease_until: int) -> Claim | Answer: ...
    def deduplicate(self, claim: Claim) -> Answer | None: ...
    def mark_sending(self, claim: Claim, lease_until: int) -> Answer | None: ...
    def settle(self, claim: Claim, verdict: Verdict, *, urgent: bool = False) -> Answer | None: ...


class Plivo(Protocol):
    """What is used of ``plivo.PlivoClient``; see there."""

    def connect(self, deadline: Deadline) -> Verdict | None: ...
    def send(
        self, action: Action, credentials: PlivoCredentials, deadline: Deadline
    ) -> Verdict: ...


class Credentials(Protocol):
    """What is used of ``secrets.CachedSecret``; see there."""

    def get(self) -> PlivoCredentials: ...
    def refresh(self) -> PlivoCredentials: ...


class Probe(Protocol):
    """What is used of ``telemetry.Telemetry``; see there."""

    def step(self, name: str) -> AbstractContextManager[None]: ...
    def remote(self, host: str, url_template: str) -> AbstractContextManager[dict[str, int]]: ...
    def milliseconds(self, metric: str, value: float) -> None: ...
    def count(self, metric: str) -> None: ...
    def error(self, message: str, **keys: object) -> None: ...


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(2 * (len(SETTLE_PAUSES) + 1), "settle")


class Within(Protocol):
    """What is used of ``within``."""

    def __call__[T](self, seconds: float, work: Callable[[], T], /) -> T: ...


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


class ActionService:
    """Sends each request at most once, and records what became of it.

    plivo_host
        The name of the remote subsegment.
    plivo_seconds
        The longest time for connecting, and again for the POST and its answer; both shrink to
        what the invocation has left.
    max_age
        Milliseconds after which a request is not sent any more.
    """

    def __init__(  # noqa: PLR0913  a composition root calls it, once
        self,
        ledger: Ledger,
        plivo: Plivo,
        credentials: Credentials,
        probe: Probe,
        *,
        plivo_host: str,
        plivo_seconds: float,
        max_age: int,
        clock: Clock,
        stopwatch: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
        within: Within = within,
    ) -> None:
        self._ledger = ledger
        self._plivo = plivo
        self._credentials = credentials
        self._probe = probe
        self._plivo_host = plivo_host
        self._plivo_seconds = plivo_seconds
        self._max_age = max_age
        self._clock = clock
        self._stopwatch = stopwatch
        self._pause = pause
        self._within = within

    def perform(self, request: ActionRequest, deadline: Deadline) -> Answer:
        """Send the action, or find out what became of it before.

        Parameters
        ----------
        deadline
            When the invocation ends.

        Raises
        ------
        KeyReused, InProgress
            See ``Ledger.claim`` and ``Ledger.point``.
        OutOfTime, LedgerUnavailable
            Nothing was claimed, and nothing was sent.

        """
        if not self._enough(deadline):
            raise OutOfTime("the invocation has too little time left to begin an action")
        with self._probe.step("claim"):
            claim = self._ledger.claim(request, self._lease(deadline))
        if isinstance(claim, Answer):
            return claim
        try:
            return self._attempt(request, claim, deadline)
        except LedgerUnavailable as error:  # before the POST: _send answers for itself
            self._probe.error("ledger unavailable", reason=str(error))
            self._probe.count("LedgerUnavailable")
            verdict = Verdict(Cause.DEPENDENCY_UNAVAILABLE)
            return self._not_sent(claim, verdict, deadline)

    def _attempt(  # noqa: PLR0911  one return for each way in which a request can end here
        self, request: ActionRequest, claim: Claim, deadline: Deadline
    ) -> Answer:
        if self._is_too_old(claim, request):
            return self._not_sent(claim, Verdict(Cause.TOO_OLD), deadline)
        if request.action.name.dials:
            with self._probe.step("deduplicate"):
                answer = self._ledger.deduplicate(claim)
            if answer is not None:
                return answer
        try:
            credentials = self._credentials.get()
        except SecretUnavailable as error:
            self._secret_unavailable(error)
            verdict = Verdict(Cause.DEPENDENCY_UNAVAILABLE)
            return self._not_sent(claim, verdict, deadline)
        with self._probe.step("connect"):
            unreachable = self._plivo.connect(self._patience(deadline))
        if unreachable is not None:
            return self._not_sent(claim, unreachable, deadline)
        if self._is_too_old(claim, request):
            return self._not_sent(claim, Verdict(Cause.TOO_OLD), deadline)
        with self._probe.step("mark sending"):
            answer = self._ledger.mark_sending(claim, self._lease(deadline) + LEASE_MARGIN_MS)
        if answer is not None:
            return answer
        # The mark may have taken its time. What is sent from here on must have ended before the
        # lease has, which it does if the invocation is alive.
        if not self._enough(deadline):
            verdict = Verdict(Cause.OUT_OF_TIME)
            return self._not_sent(claim, verdict, deadline)
        verdict = self._send(request.action, credentials, deadline)
        with self._probe.step("settle"):
            return self._settle(claim, verdict, deadline)

    def _send(self, action: Action, credentials: PlivoCredentials, deadline: Deadline) -> Verdict:
        patience = self._patience(deadline)
        verdict = self._post(action, credentials, patience)
        if (verdict.cause, verdict.plivo_status) != _REFRESHABLE:
            return verdict
        if deadline.remaining() < SETTLE_SECONDS + CALL_SECONDS:
            return verdict
        # 401 proves that nothing was executed. The token may have been rotated a moment ago: one
        # more try, if Secrets Manager really has another one.
        try:
            fresh = self._credentials.refresh()
        except SecretUnavailable as error:
            self._secret_unavailable(error)
            return verdict
        enough = min(SEND_SECONDS, self._plivo_seconds / 2)
        if fresh == credentials or patience.remaining() < enough:
            return verdict
        return self._post(action, fresh, patience)

    def _post(self, action: Action, credentials: PlivoCredentials, patience: Deadline) -> Verdict:
        started = self._stopwatch()
        with self._probe.remote(self._plivo_host, url_template(action)) as seen:
            verdict = self._plivo.send(action, credentials, patience)
            if verdict.plivo_status is not None:
                seen["status"] = verdict.plivo_status
        self._probe.milliseconds("PlivoLatency", (self._stopwatch() - started) * 1000)
        return verdict

    def _not_sent(self, claim: Claim, verdict: Verdict, deadline: Deadline) -> Answer:
        """Release the claim: provably nothing was sent by it."""
        if verdict.outcome is not Outcome.NOT_SENT:
            raise AssertionError(f"{verdict.cause} does not prove that nothing was sent")
        return self._settle(claim, verdict, deadline)

    def _settle(self, claim: Claim, verdict: Verdict, deadline: Deadline) -> Answer:
        own = Answer(claim.action_id, verdict)
        try:
            return self._settle_in_time(claim, verdict, deadline) or own
        except (LedgerUnavailable, SettleFailed) as error:
            # The answer is the truth all the same; the record becomes unknown (or not_sent, if
            # nothing was marked) by its lease, and somebody has to look at it.
            self._probe.count("SettleFailed")
            self._probe.error(
                "settle_failed",
                action_id=claim.action_id,
                outcome=verdict.outcome,
                cause=verdict.cause,
                reason=str(error),
            )
            return own

    def _settle_in_time(self, claim: Claim, verdict: Verdict, deadline: Deadline) -> Answer | None:
        # Tried again here, not by botocore: its pauses do not know when the invocation ends. The
        # usual client comes first, because it has a connection; the urgent one makes another.
        plenty = deadline.remaining() >= CALL_SECONDS + SETTLE_SECONDS
        for number, pause in enumerate((*SETTLE_PAUSES, math.inf)):
            settle = functools.partial(self._ledger.settle, claim, verdict, urgent=number > 0)
            try:
                return (
                    settle() if plenty and not number else self._within(SETTLE_TRY_SECONDS, settle)
                )
            except LedgerUnavailable:
                if deadline.remaining() < pause + SETTLE_TRY_SECONDS + ANSWER_SECONDS:
                    raise
                self._pause(pause)
        raise AssertionError("the last pause is endless")

    def _secret_unavailable(self, error: SecretUnavailable) -> None:
        # an invalid one is nothing that waiting mends: its alarm is for a person
        invalid = isinstance(error, SecretInvalid)
        self._probe.count("SecretInvalid" if invalid else "SecretUnavailable")
        self._probe.error("secret unavailable", reason=str(error))

    def _is_too_old(self, claim: Claim, request: ActionRequest) -> bool:
        asked = claim.first_seen if claim.requested_at is None else claim.requested_at
        age = self._clock() - min(claim.first_seen, asked)
        return request.from_archive or age > self._max_age

    def _lease(self, deadline: Deadline) -> int:
        return self._clock() + int(deadline.remaining() * 1000)

    def _patience(self, deadline: Deadline) -> Deadline:
        return deadline.earlier(SETTLE_SECONDS).within(self._plivo_seconds)

    @staticmethod
    def _enough(deadline: Deadline) -> bool:
        return deadline.remaining() > SETTLE_SECONDS + SEND_SECONDS
