"""The trace of one invocation: a subsegment of X-Ray, with one for each step of the work inside.

X-Ray's SDK describes errors and sends. The document is made here, of what the AWS X-Ray developer
guide ("segment documents") asks for, and is sent once, when the invocation ends: the recorder's own
way reads the trace header anew for every call and sends every subsegment by itself, which was half
of a sampled transfer's CPU time. An invocation that is killed leaves Lambda's segment only.
"""

import json
import os
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, Self

from aws_xray_sdk.core.models.throwable import Throwable  # type: ignore[import-untyped]  # has no types

type Safe = Callable[[Exception], Exception]

_to_json = json.JSONEncoder(separators=(",", ":")).encode


class Subsegment(dict[str, Any]):
    """A subsegment's document, begun now; it is what the SDK's emitter wants of an entity."""

    def __init__(self, name: str, start_time: float | None = None) -> None:
        super().__init__(id=os.urandom(8).hex(), name=name, start_time=start_time or time.time())

    def end(self, error: BaseException | None, at: TracebackType | None) -> None:
        """``error`` ended it, or None; it is described once, by the innermost subsegment."""
        self["end_time"] = time.time()
        if error is None:
            return
        self["fault"] = True
        described = getattr(error, "_cause_id", None)  # of the SDK's, once it is described
        self["cause"] = described or {
            "working_directory": os.getcwd(),  # noqa: PTH109  a text is wanted
            "exceptions": [Throwable(error, traceback.extract_tb(at)).to_dict()],
        }

    def answered(self, status: int) -> None:
        """HTTP's ``status``, and what X-Ray makes of it."""
        self["http"]["response"] = {"status": status}
        if status >= 500:  # noqa: PLR2004  RFC 9110, section 15
            self["fault"] = True
        elif status >= 400:  # noqa: PLR2004  RFC 9110, section 15
            self["error"] = True
            if status == 429:  # noqa: PLR2004  RFC 6585, section 4
                self["throttle"] = True

    def serialize(self) -> str:
        return _to_json(self)


class Daemon:
    """Lambda's X-Ray daemon; ``recorder`` is the SDK's, which knows the way to it."""

    def __init__(self, recorder: Any) -> None:  # noqa: ANN401  has no types
        self._recorder = recorder

    def sampled(self) -> tuple[str, str] | None:
        """The ids of the trace and of Lambda's segment, if this invocation is sampled.

        From the tracing header (AWS X-Ray developer guide) that Lambda puts into the environment.
        The SDK keeps the segment of the invocation before, where one trace has several.
        """
        header = os.environ.get("_X_AMZN_TRACE_ID", "")
        fields = dict(part.split("=", 1) for part in header.split(";") if "=" in part)
        if fields.get("Sampled") != "1" or "Root" not in fields or "Parent" not in fields:
            return None
        return fields["Root"], fields["Parent"]

    def send(self, subsegment: Subsegment) -> None:
        """By UDP; what cannot be sent is logged, and lost."""
        self._recorder.emitter.send_entity(subsegment)


class Trace:
    """The subsegment ``name`` while the context lasts; nothing at all if it is not sampled.

    daemon
        X-Ray's; None where nothing is traced.
    safe
        Gives what may be kept of an error, by X-Ray and by whoever catches it: that is raised on.
        Of what it gave before, itself.
    """

    def __init__(self, daemon: Daemon | None, name: str, safe: Safe) -> None:
        self._daemon = daemon
        self._safe = safe
        self._top: Subsegment | None = None
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
    def remote(self, host: str, url_template: str) -> Iterator[dict[str, int]]:
        """A subsegment for a call of ``POST url_template``; put ``status`` into what it gives."""
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
                subsegment["http"] = {"request": {"url": url_template, "method": "POST"}}
                if "status" in seen:
                    subsegment.answered(seen["status"])
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
            subsegment.end(safe, at)
        if safe is not None and safe is not error:
            raise safe from None


class _Step:
    """A class and no generator: a transfer has five steps, and each takes its time."""

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
