"""The path of one request: claim, deduplicate, connect, mark sending, send, settle."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from cold_transfer import settling
from cold_transfer.action import Action, ActionRequest, Answer, Settled, Verdict
from cold_transfer.causes import Cause
from cold_transfer.deadline import Deadline, now_ms
from cold_transfer.errors import (
    DependencyUnavailable,
    NotSent,
    OutOfTime,
    SecretUnavailable,
    TooOld,
)
from cold_transfer.ledger.ledger import LEASE_MARGIN_MS, Claim, Clock
from cold_transfer.plivo.client import PlivoCredentials, url_template
from cold_transfer.settling import CALL_SECONDS, SETTLE_SECONDS, Settling, Within

#: The least time for an attempt. A new TLS connection and one answer need about half of it.
SEND_SECONDS = 1.0

#: Plivo's 401, its headers read completely. A 403 is about the account, not the token.
_REFRESHABLE = (Cause.PLIVO_CREDENTIALS_REFUSED, 401)


class Ledger(settling.Ledger, Protocol):
    """The part of ``ledger.ledger.Ledger`` that is used."""

    def claim(self, request: ActionRequest, lease_until: int) -> Claim: ...
    def deduplicate(self, claim: Claim) -> None: ...
    def mark_sending(self, claim: Claim, lease_until: int) -> None: ...


class Plivo(Protocol):
    """The part of ``plivo.client.PlivoClient`` that is used."""

    def connect(self, deadline: Deadline) -> None: ...
    def send(
        self, action: Action, credentials: PlivoCredentials, deadline: Deadline
    ) -> Verdict: ...


class Credentials(Protocol):
    """The part of ``aws.secrets.CachedSecret`` that is used."""

    def get(self) -> PlivoCredentials: ...
    def refresh(self) -> PlivoCredentials: ...


class Probe(settling.Probe, Protocol):
    """The part of ``telemetry.Telemetry`` that is used."""

    def step(self, name: str) -> AbstractContextManager[None]: ...
    def remote(self, host: str, url_template: str) -> AbstractContextManager[dict[str, int]]: ...
    def milliseconds(self, metric: str, value: float) -> None: ...
    def unavailable(self, error: DependencyUnavailable) -> None: ...


class Timing(NamedTuple):
    """The clocks, and how to wait.

    clock
        Epoch milliseconds.
    stopwatch
        Seconds, monotonic.
    """

    clock: Clock = now_ms
    stopwatch: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    within: Within = settling.within


class ActionService:
    """Sends each request at most once, and records the outcome.

    plivo_host
        The name of the remote X-Ray subsegment.
    plivo_seconds
        The longest time for connecting, and again for the POST and its answer; both are limited to
        what is left of the invocation.
    max_age
        Milliseconds after which a request is no longer sent.
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
        timing: Timing,
    ) -> None:
        self._ledger = ledger
        self._plivo = plivo
        self._credentials = credentials
        self._probe = probe
        self._plivo_host = plivo_host
        self._plivo_seconds = plivo_seconds
        self._max_age = max_age
        self._timing = timing
        self._settling = Settling(ledger, probe, timing.pause, timing.within)

    def perform(self, request: ActionRequest, deadline: Deadline) -> Answer:
        """Send the action, or return the answer that the request already has.

        A step before the send may raise ``Settled``, if the request already has its answer, or
        ``NotSent``, which is then recorded. Either way nothing is sent.

        Parameters
        ----------
        request
            A validated request of a client with the necessary rights.
        deadline
            When the invocation ends.

        Raises
        ------
        KeyReused, InProgress
            See ``Ledger.claim`` and ``Ledger.deduplicate``.
        OutOfTime, LedgerUnavailable
            Nothing was claimed, and nothing was sent.
        """
        self._check_time(deadline)
        try:
            with self._probe.step("claim"):
                claim = self._ledger.claim(request, self._lease(deadline))
            try:
                self._check_age(claim, request)
                if request.action.name.dials:
                    with self._probe.step("deduplicate"):
                        self._ledger.deduplicate(claim)
                credentials = self._credentials.get()
                with self._probe.step("connect"):
                    self._plivo.connect(self._patience(deadline))
                self._check_age(claim, request)
                with self._probe.step("mark sending"):
                    self._ledger.mark_sending(claim, self._lease(deadline) + LEASE_MARGIN_MS)
                # That write may have been slow. Whatever is sent from here on must end before the
                # lease does, which holds if the invocation still has time.
                self._check_time(deadline)
            except NotSent as error:
                if isinstance(error, DependencyUnavailable):
                    self._probe.unavailable(error)
                verdict = Verdict(error.cause)
            else:
                verdict = self._send(request.action, credentials, deadline)
            with self._probe.step("settle"):
                self._settling.settle(claim, verdict, deadline)
        except Settled as settled:
            return settled.answer
        return Answer(claim.action_id, verdict)

    def _send(self, action: Action, credentials: PlivoCredentials, deadline: Deadline) -> Verdict:
        patience = self._patience(deadline)
        verdict = self._post(action, credentials, patience)
        if (verdict.cause, verdict.plivo_status) != _REFRESHABLE:
            return verdict
        if deadline.remaining() < SETTLE_SECONDS + CALL_SECONDS:
            return verdict
        # A 401 proves that nothing was executed. The token may just have been rotated: try once
        # more if Secrets Manager has another one.
        try:
            fresh = self._credentials.refresh()
        except SecretUnavailable as error:
            self._probe.unavailable(error)
            return verdict
        enough = min(SEND_SECONDS, self._plivo_seconds / 2)
        if fresh == credentials or patience.remaining() < enough:
            return verdict
        return self._post(action, fresh, patience)

    def _post(self, action: Action, credentials: PlivoCredentials, patience: Deadline) -> Verdict:
        started = self._timing.stopwatch()
        with self._probe.remote(self._plivo_host, url_template(action)) as seen:
            verdict = self._plivo.send(action, credentials, patience)
            if verdict.plivo_status is not None:
                seen["status"] = verdict.plivo_status
        seconds = self._timing.stopwatch() - started
        self._probe.milliseconds("PlivoLatency", seconds * 1000)
        return verdict

    def _check_age(self, claim: Claim, request: ActionRequest) -> None:
        requested_at = claim.first_seen if claim.requested_at is None else claim.requested_at
        age = self._timing.clock() - min(claim.first_seen, requested_at)
        if request.from_archive or age > self._max_age:
            raise TooOld("the request is too old to be sent")

    def _lease(self, deadline: Deadline) -> int:
        return self._timing.clock() + int(deadline.remaining() * 1000)

    def _patience(self, deadline: Deadline) -> Deadline:
        return deadline.earlier(SETTLE_SECONDS).within(self._plivo_seconds)

    @staticmethod
    def _check_time(deadline: Deadline) -> None:
        if deadline.remaining() <= SETTLE_SECONDS + SEND_SECONDS:
            raise OutOfTime("the invocation does not have enough time left to send an action")
