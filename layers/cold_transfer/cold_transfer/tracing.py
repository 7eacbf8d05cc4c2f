"""The trace of one invocation: a subsegment of X-Ray, with one for each step of the work inside.

They are made as entities of X-Ray's SDK, and sent together when the invocation ends. The recorder's
own way reads the trace header anew for every call and sends every subsegment by itself: that was
half of a sampled transfer's CPU time. An invocation that is killed leaves Lambda's segment only.
"""

import os
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, NamedTuple, Self

from aws_xray_sdk.core.models.subsegment import Subsegment  # type: ignore[import-untyped]  # has no types

type Safe = Callable[[Exception], Exception]


class Trace:
    """The subsegment ``name`` while the context lasts; nothing at all if it is not sampled.

    recorder
        X-Ray's, which knows the trace, and sends; None where nothing is traced.
    safe
        Gives what may be kept of an error, by X-Ray and by whoever catches it: that is raised on.
        Of what it gave before, itself.
    """

    def __init__(self, recorder: Any, name: str, safe: Safe) -> None:  # noqa: ANN401  has no types
        self._recorder = recorder
        self._safe = safe
        self._top: Any = None
        segment = recorder.current_segment() if recorder is not None else None
        if segment is not None and segment.sampled:
            self._top = Subsegment(name, "local", segment)
            self._top.parent_id = segment.id

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        try:
            self._end(self._top, error, at)
        finally:
            if self._top is not None:
                self._recorder.emitter.send_entity(self._top)

    def annotate(self, name: str, value: str) -> None:
        if self._top is not None:
            self._top.put_annotation(name, value)

    def step(self, name: str) -> AbstractContextManager[None]:
        """A subsegment for one step of the work."""
        return _Step(self, name)

    @contextmanager
    def remote(self, host: str, url_template: str) -> Iterator[dict[str, int]]:
        """A subsegment for a call of ``POST url_template``; put ``status`` into what it gives."""
        seen: dict[str, int] = {}
        if self._top is None:
            yield seen
            return
        subsegment = self._begin(host, "remote")
        subsegment.put_http_meta("url", url_template)
        subsegment.put_http_meta("method", "POST")
        failure: Exception | None = None
        try:
            yield seen
        except Exception as error:
            failure = error
            raise
        finally:
            subsegment.put_http_meta("status", seen.get("status"))
            self._end(subsegment, failure, failure.__traceback__ if failure else None)

    def end_step(
        self, name: str, start: float, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if error is None:
            if self._top is not None:
                self._top.subsegments.append(_Done(name, start, time.time()))
            return
        subsegment = self._begin(name, "local") if self._top is not None else None
        if subsegment is not None:
            subsegment.start_time = start
        self._end(subsegment, error, at)

    def _begin(self, name: str, namespace: str) -> Any:  # noqa: ANN401  the SDK has no types
        subsegment = Subsegment(name, namespace, self._top.parent_segment)
        self._top.add_subsegment(subsegment)
        return subsegment

    def _end(
        self,
        subsegment: Any,  # noqa: ANN401  the SDK has no types
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        safe = self._safe(error) if isinstance(error, Exception) else error
        if subsegment is not None:
            if safe is not None:
                subsegment.add_exception(safe, traceback.extract_tb(at))
            subsegment.close()
        if safe is not None and safe is not error:
            raise safe from None


class _Step:
    """A class and no generator, and an entity of the SDK only if there is an error to be kept.

    A transfer has five steps, and each took as long as to read and check its whole request.
    """

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


class _Done(NamedTuple):
    """A step that went well, as X-Ray's document has it inside of its subsegment."""

    name: str
    start: float
    end: float

    def to_dict(self) -> dict[str, str | float]:
        return {
            "id": os.urandom(8).hex(),
            "name": self.name,
            "start_time": self.start,
            "end_time": self.end,
        }
