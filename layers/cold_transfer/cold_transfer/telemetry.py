"""Logs, metrics and traces of one function. The only module that uses Powertools.

It is given names, causes, ids and numbers only, never an address, a credential or a body;
``tests/functions/test_nothing_leaks.py`` searches the output for them.

No log level set for the function, in Lambda's console or by a variable, makes another package log
below INFO, or drops a metric or the line of an unknown outcome:
``tests/integration/test_runtime_client.py``.
"""

import functools
import json
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from types import MappingProxyType

from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter
from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import (
    AmazonCloudWatchEMFProvider,
)

from cold_transfer.action import ActionRequest, Answer, Settled
from cold_transfer.causes import Cause, Outcome
from cold_transfer.errors import (
    ColdTransferError,
    DependencyUnavailable,
    KeyReused,
    LedgerUnavailable,
    RequestRefused,
    SecretInvalid,
    SecretUnavailable,
    Unauthorized,
)
from cold_transfer.ledger.record import Record
from cold_transfer.plivo.response import Reading
from cold_transfer.tracing import Daemon, Trace

#: The default for ``service``, the metrics' dimension and the log's member.
SERVICE = "plivo-cold-transfer"
NAMESPACE = "PlivoColdTransfer"

_OF_OUTCOME = MappingProxyType(
    {
        Outcome.ACCEPTED: "ActionAccepted",
        Outcome.REJECTED: "ActionRejected",
        Outcome.NOT_SENT: "ActionNotSent",
        Outcome.UNKNOWN: "ActionUnknown",
    }
)

#: Counted in addition to the outcome, because a person has to act on these.
_OF_CAUSE = MappingProxyType(
    {
        Cause.PLIVO_CREDENTIALS_REFUSED: "PlivoCredentialsRefused",
        Cause.PLIVO_THROTTLED: "PlivoThrottled",
        Cause.TOO_OLD: "RequestStale",
    }
)

#: The first class that matches counts.
_OF_ERROR = (
    (Unauthorized, "RequestUnauthorized"),
    (RequestRefused, "RequestInvalid"),
    (KeyReused, "RequestInvalid"),
    (SecretInvalid, "SecretInvalid"),
    (SecretUnavailable, "SecretUnavailable"),
    (LedgerUnavailable, "LedgerUnavailable"),
)


#: In every log line and in the metrics' metadata, once known.
_ABOUT_THE_REQUEST = ("method", "client", "action", "reference")

#: Lambda's names of the levels that Python calls differently. Lambda's filter treats unknown names
#: as INFO (AWS Lambda Developer Guide, "Log-level filtering").
_LEVELS = MappingProxyType({"WARNING": "WARN", "CRITICAL": "FATAL"})

#: Made once; json.dumps would make one for every line.
_to_json = json.JSONEncoder(separators=(",", ":"), default=str).encode

#: The package's logger, so that its other modules' lines get the same form and correlation id.
_log = logging.getLogger("cold_transfer")

# Lambda's log level sets the root logger's, and at DEBUG botocore logs requests and responses
# including secrets. This overrides the level of every logger.
logging.disable(logging.DEBUG)


class Unexpected(Exception):
    """A fault of this system: the original error's class and place, without its text."""


class Telemetry:
    """The logs, metrics and traces of one function.

    function
        The metrics' dimension besides ``service``: webhook, event, reconcile or outcomes.
    xray
        The X-Ray daemon; by default, the environment's.
    """

    def __init__(self, function: str, xray: Daemon | None = None) -> None:
        self._function = function
        self._form = _form()
        # The provider rather than Metrics, whose class attribute would be shared by two entry
        # points in one process (tests, a local run).
        self._metrics = AmazonCloudWatchEMFProvider(
            namespace=NAMESPACE,
            service=_service(),
            default_dimensions={"service": _service(), "function": function},
        )
        self._xray = xray or Daemon.of(os.environ)
        self._trace = Trace(None, function, self._without_text)  # until there is an invocation
        self._cold = True

    @contextmanager
    def invocation(self, correlation_id: str) -> Iterator[None]:
        """One invocation: sets the correlation id, traces it, and flushes its metrics."""
        # every time: another entry point in this process shares the formatter
        self._form.append_keys(function=self._function, correlation_id=correlation_id)
        # without these, Lambda's filter treats a line of metrics as INFO; it never drops FATAL
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._metrics.metadata_set.update(level="FATAL", timestamp=now)
        if self._cold:
            self._cold = False
            self.count("ColdStart")
        outer = self._trace
        try:
            with Trace(self._xray, f"## {self._function}", self._without_text) as self._trace:
                self._trace.annotate("function", self._function)
                yield
        finally:
            self._trace = outer
            if self._metrics.metric_set:
                self._metrics.flush_metrics()
            self._metrics.metadata_set.clear()
            self._form.remove_keys(_ABOUT_THE_REQUEST)

    def remote(
        self, host: str, url_template: str, method: str = "POST"
    ) -> AbstractContextManager[dict[str, int]]:
        """A subsegment for an HTTP request; set ``status`` in the dictionary that it yields."""
        return self._trace.remote(host, url_template, method)

    def step(self, name: str) -> AbstractContextManager[None]:
        """A subsegment for one step of the work."""
        return self._trace.step(name)

    def _without_text(self, error: Exception) -> Exception | None:
        """``error`` if its text is safe to keep, otherwise ``Unexpected`` with its class and place.

        None if it is not a failure.
        """
        if isinstance(error, Settled):
            return None
        if isinstance(error, (ColdTransferError, Unexpected)):
            return error
        frames = traceback.extract_tb(error.__traceback__)
        where = [f"{frame.filename}:{frame.lineno}" for frame in frames[-8:]]
        self.error("unexpected error", type=type(error).__name__, where=where)
        return Unexpected(f"{type(error).__name__} at {where[-1]}")

    def annotate(self, **annotations: str) -> None:
        """Annotate the trace; add what is about the request to the log and the metrics too."""
        for name, value in annotations.items():
            self._trace.annotate(name, value)
            if name in _ABOUT_THE_REQUEST:
                self._form.append_keys(**{name: value})
                # metadata, not a dimension: each value of a dimension is billed as a metric
                self._metrics.metadata_set[name] = value

    def annotate_request(self, request: ActionRequest) -> None:
        """Add the request's client, action and reference to everything that follows."""
        self.annotate(client=request.client, action=request.action.name)
        if request.reference:
            self.annotate(reference=request.reference)

    def answered(self, answer: Answer) -> None:
        """Count and log the answer to a request."""
        verdict = answer.verdict
        if answer.replayed:
            self.count("ActionReplayed")
        else:
            self.count(_OF_OUTCOME[verdict.outcome])
            if verdict.cause in _OF_CAUSE:
                self.count(_OF_CAUSE[verdict.cause])
        self.annotate(outcome=verdict.outcome, cause=verdict.cause)
        # a person has to check the call, unless that has been done
        urgent = verdict.outcome is Outcome.UNKNOWN and answer.resolution is None
        log = self.critical if urgent else self.info
        log(
            f"action {verdict.outcome}",
            action_id=answer.action_id,
            cause=verdict.cause,
            status=verdict.status,
            plivo_status=verdict.plivo_status,
            api_id=verdict.api_id,
            replayed=answer.replayed,
            duplicate_of=answer.duplicate_of,
            resolution=answer.resolution,
        )

    def read(self, reading: Reading) -> None:
        """Count and log the result of a GET."""
        failure = reading.failure
        if failure is None:
            self.info("read", plivo_status=reading.plivo_status)
            return
        if failure.cause in _OF_CAUSE:
            self.count(_OF_CAUSE[failure.cause])
        self.annotate(cause=failure.cause)
        self.info("read failed", cause=failure.cause, plivo_status=reading.plivo_status)

    def abandoned(self, record: Record) -> None:
        """Count and log a request whose attempt was abandoned."""
        outcome = record.outcome()
        if outcome is not None:
            self.count(_OF_OUTCOME[outcome])
        log = self.critical if outcome is Outcome.UNKNOWN else self.warning
        log(
            f"action {outcome}: its attempt was abandoned",
            action_id=record.action_id,
            action=record.action,
            reference=record.reference or None,
            cause=record.cause,
            client=record.client,
            of_entry_point=record.entry_point,
        )

    def refused(self, error: ColdTransferError) -> None:
        """Count and log a request that ended without a verdict."""
        self._count_kind(error)
        self.annotate(cause=error.cause)
        log = self.error if isinstance(error, DependencyUnavailable) else self.info
        log("request refused", cause=error.cause, reason=str(error))

    def unavailable(self, error: DependencyUnavailable) -> None:
        """Count and log why an action cannot be sent; its verdict follows."""
        self._count_kind(error)
        self.error("dependency unavailable", reason=str(error))

    def _count_kind(self, error: ColdTransferError) -> None:
        for kind, metric in _OF_ERROR:
            if isinstance(error, kind):
                self.count(metric)
                break

    def count(self, metric: str, number: int = 1) -> None:
        self._metrics.add_metric(metric, "Count", number)

    def milliseconds(self, metric: str, value: float) -> None:
        self._metrics.add_metric(metric, "Milliseconds", value)

    def info(self, message: str, **keys: object) -> None:
        _log.info(message, extra=keys)

    def warning(self, message: str, **keys: object) -> None:
        _log.warning(message, extra=keys)

    def error(self, message: str, **keys: object) -> None:
        _log.error(message, extra=keys)

    def critical(self, message: str, **keys: object) -> None:
        """Log what a person has to see: no setting of Lambda's filter drops it."""
        _log.critical(message, extra=keys)


@functools.cache
def _form() -> LambdaPowertoolsFormatter:
    """The formatter of this package's log lines. The first call installs it, writing to stdout.

    Powertools' own Logger would take its level from the environment.
    """
    form = LambdaPowertoolsFormatter(
        json_serializer=_line,
        json_deserializer=str,  # messages are not to be parsed as JSON
        use_rfc3339=True,
        utc=True,
        service=_service(),
        location=None,  # would be this module in every line
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(form)
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)
    _log.propagate = False  # Lambda's own handler would log it again
    return form


def _service() -> str:
    """The stack's name, from Powertools' variable."""
    return os.environ.get("POWERTOOLS_SERVICE_NAME") or SERVICE


def _line(fields: Mapping[str, object]) -> str:
    level = str(fields["level"])
    return _to_json({**fields, "level": _LEVELS.get(level, level)})
