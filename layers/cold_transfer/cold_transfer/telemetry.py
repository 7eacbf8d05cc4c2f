"""Logs, metrics and traces of one door: what knows Powertools.

Nothing that is passed in here may hold an address, a credential or a body: names, causes, ids and
numbers only. ``tests/unit/test_nothing_leaks.py`` searches what comes out.
"""

import json
import logging
import os
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import MappingProxyType
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.filters import SuppressFilter
from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import (
    AmazonCloudWatchEMFProvider,
)

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
from cold_transfer.record import Record
from cold_transfer.tracing import Daemon, Trace
from cold_transfer.transfer import Answer

SERVICE = "plivo-cold-transfer"
NAMESPACE = "PlivoColdTransfer"

_OF_OUTCOME = MappingProxyType(
    {
        Outcome.ACCEPTED: "TransferAccepted",
        Outcome.REJECTED: "TransferRejected",
        Outcome.NOT_SENT: "TransferNotSent",
        Outcome.UNKNOWN: "TransferUnknown",
    }
)

#: Counted beside the outcome, because somebody has to do something about these.
_OF_CAUSE = MappingProxyType(
    {
        Cause.PLIVO_CREDENTIALS_REFUSED: "PlivoCredentialsRefused",
        Cause.PLIVO_THROTTLED: "PlivoThrottled",
        Cause.TOO_OLD: "RequestStale",
    }
)

#: The first class that fits counts.
_OF_ERROR = (
    (Unauthorized, "RequestUnauthorized"),
    (RequestRefused, "RequestInvalid"),
    (KeyReused, "RequestInvalid"),
    (SecretInvalid, "SecretInvalid"),
    (SecretUnavailable, "SecretUnavailable"),
    (LedgerUnavailable, "LedgerUnavailable"),
)


#: Made once: json.dumps makes one for every line.
_to_json = json.JSONEncoder(separators=(",", ":"), default=str).encode


class Unexpected(Exception):
    """A fault of this system. Names the error's class and place; its text may quote a value."""


class Telemetry:
    """What a door says about itself.

    door
        The metrics' dimension beside ``service``: webhook, event, reconcile or outcomes.
    xray
        The daemon; the one that the environment names unless one is given.
    """

    def __init__(self, door: str, xray: Daemon | None = None) -> None:
        self._door = door
        # location would name this module in every line; a message is a text, and is not to be read
        # as JSON first
        self._logger = Logger(
            service=SERVICE, location=None, json_serializer=_to_json, json_deserializer=str
        )
        _give_form_to_package_logs(self._logger.registered_handler)
        # The provider itself, not Metrics: that class keeps its metrics in a class attribute, so
        # that two doors in one process (tests, a local run) would share them.
        self._metrics = AmazonCloudWatchEMFProvider(
            namespace=NAMESPACE,
            service=SERVICE,
            default_dimensions={"service": SERVICE, "door": door},
        )
        self._xray = xray or Daemon.of(os.environ)
        self._trace = Trace(None, door, self._without_text)  # until there is an invocation
        self._cold = True

    @contextmanager
    def invocation(self, correlation_id: str) -> Iterator[None]:
        """One invocation: its correlation id in every line, its metrics flushed, its segment."""
        # here, not once: a second door in this process has the same logger, by its name
        self._logger.append_keys(door=self._door)
        self._logger.set_correlation_id(correlation_id)
        if self._cold:
            self._cold = False
            self.count("ColdStart")
        outer = self._trace
        try:
            with Trace(self._xray, f"## {self._door}", self._without_text) as self._trace:
                self._trace.annotate("door", self._door)
                yield
        finally:
            self._trace = outer
            if self._metrics.metric_set:
                self._metrics.flush_metrics()
            self._metrics.metadata_set.clear()
            self._logger.remove_keys(["caller"])

    def remote(self, host: str, url_template: str) -> AbstractContextManager[dict[str, int]]:
        """A subsegment for a call of ``POST url_template``; put ``status`` into what it gives."""
        return self._trace.remote(host, url_template)

    def step(self, name: str) -> AbstractContextManager[None]:
        """A subsegment for one step of the work."""
        return self._trace.step(name)

    def _without_text(self, error: Exception) -> Exception:
        """``error`` itself if X-Ray and Lambda may keep it, else the place where it was raised."""
        if isinstance(error, (ColdTransferError, Unexpected)):
            return error
        frames = traceback.extract_tb(error.__traceback__)
        where = [f"{frame.filename}:{frame.lineno}" for frame in frames[-8:]]
        self.error("unexpected error", type=type(error).__name__, where=where)
        return Unexpected(f"{type(error).__name__} at {where[-1]}")

    def annotate(self, **annotations: str) -> None:
        """Annotate the current trace; the caller's name also becomes metadata of the metrics."""
        for name, value in annotations.items():
            self._trace.annotate(name, value)
        if "caller" in annotations:
            self._logger.append_keys(caller=annotations["caller"])
            # metadata, not a dimension: every value of a dimension is a metric that is paid for
            self._metrics.metadata_set["caller"] = annotations["caller"]

    def answered(self, answer: Answer) -> None:
        """Count and log what a request led to."""
        verdict = answer.verdict
        if answer.replayed:
            self.count("TransferReplayed")
        else:
            self.count(_OF_OUTCOME[verdict.outcome])
            if verdict.cause in _OF_CAUSE:
                self.count(_OF_CAUSE[verdict.cause])
        self.annotate(outcome=verdict.outcome, cause=verdict.cause)
        self.info(
            f"transfer {verdict.outcome}",
            transfer_id=answer.transfer_id,
            cause=verdict.cause,
            status=verdict.status,
            plivo_status=verdict.plivo_status,
            api_id=verdict.api_id,
            replayed=answer.replayed,
            duplicate_of=answer.duplicate_of,
        )

    def found_dead(self, record: Record) -> None:
        """Count and log a request whose attempt died."""
        outcome = record.outcome()
        if outcome is not None:
            self.count(_OF_OUTCOME[outcome])
        self.warning(
            f"transfer {outcome}: its attempt died",
            transfer_id=record.transfer_id,
            cause=record.cause,
            caller=record.caller,
            of_door=record.door,
        )

    def refused(self, error: ColdTransferError) -> None:
        """Count and log a request that ended without a verdict."""
        for kind, metric in _OF_ERROR:
            if isinstance(error, kind):
                self.count(metric)
                break
        self.annotate(cause=error.cause)
        log = self.error if isinstance(error, DependencyUnavailable) else self.info
        log("request refused", cause=error.cause, reason=str(error))

    def count(self, metric: str) -> None:
        self._metrics.add_metric(metric, "Count", 1)

    def milliseconds(self, metric: str, value: float) -> None:
        self._metrics.add_metric(metric, "Milliseconds", value)

    def info(self, message: str, **keys: Any) -> None:  # noqa: ANN401  whatever JSON can hold
        self._logger.info(message, **keys)

    def warning(self, message: str, **keys: Any) -> None:  # noqa: ANN401  whatever JSON can hold
        self._logger.warning(message, **keys)

    def error(self, message: str, **keys: Any) -> None:  # noqa: ANN401  whatever JSON can hold
        self._logger.error(message, **keys)


def _give_form_to_package_logs(handler: logging.Handler) -> None:
    """What other modules of this package log is a line like any other, correlation id included."""
    package = logging.getLogger("cold_transfer")
    if handler not in package.handlers:
        package.addHandler(handler)
    for other in logging.getLogger().handlers:  # Lambda's own, which would say it again
        other.addFilter(SuppressFilter(package.name))
