"""The trace of one invocation: an X-Ray subsegment that contains one for each step of the work.

The document follows the AWS X-Ray developer guide ("segment documents") and is sent to the daemon
by UDP ("sending segment documents to the X-Ray daemon"), once, when the invocation ends. X-Ray's
SDK, which gets security fixes only, parses the trace header for every call and sends every
subsegment by itself; that was half of a sampled action's CPU time. An invocation that is killed
leaves Lambda's segment only.
"""

import json
import logging
import os
import socket
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, Self

from cold_transfer.causes import TABLE
from cold_transfer.errors import ColdTransferError

type Safe = Callable[[Exception], Exception | None]

#: What Powertools reads as true in its variables.
_TRUE = ("1", "true", "t", "yes", "y", "on")

#: The status of what ended without one.
_FAULT = 500

_HEADER = b'{"format":"json","version":1}\n'

_log = logging.getLogger(__name__)
_to_json = json.JSONEncoder(separators=(",", ":")).encode


class Subsegment(dict[str, Any]):
    """A subsegment's document; it begins now unless ``start_time`` (epoch seconds) is given."""

    def __init__(self, name: str, start_time: float | None = None) -> None:
        super().__init__(id=_new_id(), name=name, start_time=start_time or time.time())

    def mark(self, status: int) -> None:
        """Set X-Ray's flags for an HTTP ``status``."""
        if status >= 500:  # noqa: PLR2004  RFC 9110, section 15
            self["fault"] = True
        elif status >= 400:  # noqa: PLR2004  RFC 9110, section 15
            self["error"] = True
            if status == 429:  # noqa: PLR2004  RFC 6585, section 4
                self["throttle"] = True


class Daemon:
    """Lambda's X-Ray daemon at ``host`` and ``port``."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._socket: socket.socket | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Daemon | None":
        """The daemon of ``environment``; None if there is none or tracing is disabled.

        Lambda sets ``AWS_XRAY_DAEMON_ADDRESS``. Powertools' variable disables tracing here too.
        """
        host, _, port = environment.get("AWS_XRAY_DAEMON_ADDRESS", "").rpartition(":")
        off = environment.get("POWERTOOLS_TRACE_DISABLED", "").lower() in _TRUE
        return cls(host, int(port)) if host and port.isdecimal() and not off else None

    def sampled(self) -> tuple[str, str] | None:
        """The ids of the trace and of Lambda's segment, if this invocation is sampled.

        From the tracing header (AWS X-Ray developer guide) that Lambda sets in the environment.
        """
        header = os.environ.get("_X_AMZN_TRACE_ID", "")
        fields = dict(part.split("=", 1) for part in header.split(";") if "=" in part)
        if fields.get("Sampled") != "1" or "Root" not in fields or "Parent" not in fields:
            return None
        return fields["Root"], fields["Parent"]

    def send(self, subsegment: Subsegment) -> None:
        """Send by UDP without waiting. A failure is logged, and the trace is lost."""
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                self._socket.settimeout(0)
            self._socket.sendto(_HEADER + _to_json(subsegment).encode(), self._address)
        except Exception as error:  # noqa: BLE001  a trace must not cost an answer
            _log.warning("the trace was not sent: %s", type(error).__name__)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()


class Trace:
    """The subsegment ``name`` for the duration of the context; nothing if it is not sampled.

    daemon
        None if nothing is traced.
    safe
        Returns an error that is safe to keep and is raised instead of the original: the error
        itself if it is safe already, None if it is not a failure.
    """

    def __init__(self, daemon: Daemon | None, name: str, safe: Safe) -> None:
        self._daemon = daemon
        self._safe = safe
        self._top: Subsegment | None = None
        self._last_described: tuple[BaseException | None, str] = (None, "")
        ids = daemon.sampled() if daemon is not None else None
        if ids is not None:
            self._top = Subsegment(name)
            self._top |= {
                "trace_id": ids[0],
                "parent_id": ids[1],
                "type": "subsegment",
                "annotations": {},
                "subsegments": [],
            }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        try:
            self._end(self._top, error, at)
        finally:
            if self._top is not None and self._daemon is not None:
                self._daemon.send(self._top)

    def annotate(self, name: str, value: str) -> None:
        if self._top is not None:
            self._top["annotations"][name] = value

    def step(self, name: str) -> AbstractContextManager[None]:
        """A subsegment for one step of the work."""
        return _Step(self, name)

    @contextmanager
    def remote(
        self, host: str, url_template: str, method: str = "POST"
    ) -> Iterator[dict[str, int]]:
        """A subsegment for an HTTP request; set ``status`` in the dictionary that it yields."""
        seen: dict[str, int] = {}
        start, failure = time.time(), None
        try:
            yield seen
        except Exception as error:
            failure = error
            raise
        finally:
            subsegment = self._inner(host, start)
            if subsegment is not None:
                subsegment["namespace"] = "remote"
                subsegment["http"] = {"request": {"url": url_template, "method": method}}
                if "status" in seen:
                    subsegment["http"]["response"] = {"status": seen["status"]}
                subsegment.mark(seen.get("status", _FAULT))
            self._end(subsegment, failure, failure.__traceback__ if failure else None)

    def end_step(
        self, name: str, start: float, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._end(self._inner(name, start), error, at)

    def _inner(self, name: str, start: float) -> Subsegment | None:
        if self._top is None:
            return None
        subsegment = Subsegment(name, start)
        self._top["subsegments"].append(subsegment)
        return subsegment

    def _end(
        self,
        subsegment: Subsegment | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        safe = self._safe(error) if isinstance(error, Exception) else error
        if subsegment is not None:
            subsegment["end_time"] = time.time()
            if safe is not None:
                # an invocation that raises is a fault, even if the request was at fault
                subsegment.mark(_FAULT if subsegment is self._top else _status(safe))
                subsegment["cause"] = self._cause(safe, at)
        if safe is not None and safe is not error:
            raise safe from None

    def _cause(self, error: BaseException, at: TracebackType | None) -> dict[str, Any] | str:
        """The description of ``error`` in the innermost subsegment; in outer ones, its id."""
        described_error, description = self._last_described
        if error is described_error:
            return description
        self._last_described = (error, _new_id())
        stack = [
            {"path": os.path.basename(path), "line": line, "label": function}  # noqa: PTH119  pure string operation
            for path, line, function, _ in traceback.extract_tb(at)
        ]
        described = {
            "id": self._last_described[1],
            "type": type(error).__name__,
            "message": str(error),
            "remote": False,
            "stack": stack,
        }
        return {"working_directory": os.getcwd(), "exceptions": [described]}  # noqa: PTH109  must be a string


def _status(error: BaseException) -> int:
    """The status that the webhook answers with for ``error``."""
    return TABLE[error.cause].status if isinstance(error, ColdTransferError) else _FAULT


def _new_id() -> str:
    return os.urandom(8).hex()


class _Step:
    """A class rather than a generator: an action has five steps, and a generator is slower."""

    __slots__ = ("_name", "_start", "_trace")

    def __init__(self, trace: Trace, name: str) -> None:
        self._trace = trace
        self._name = name
        self._start = 0.0

    def __enter__(self) -> None:
        self._start = time.time()

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._trace.end_step(self._name, self._start, error, at)
