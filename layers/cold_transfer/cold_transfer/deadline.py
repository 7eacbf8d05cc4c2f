"""Deadlines, and the current time."""

import time
from collections.abc import Callable


class Deadline:
    """A point in time, ``at``, in seconds of the clock ``now``."""

    def __init__(self, at: float, now: Callable[[], float] = time.monotonic) -> None:
        self._at = at
        self._now = now

    @classmethod
    def after(cls, seconds: float, now: Callable[[], float] = time.monotonic) -> "Deadline":
        return cls(now() + seconds, now)

    def remaining(self) -> float:
        """Seconds left; negative once the deadline has passed."""
        return self._at - self._now()

    def earlier(self, seconds: float) -> "Deadline":
        """A deadline ``seconds`` before this one."""
        return Deadline(self._at - seconds, self._now)

    def within(self, seconds: float) -> "Deadline":
        """The earlier of this deadline and ``seconds`` from now."""
        return Deadline(min(self._at, self._now() + seconds), self._now)


def now_ms() -> int:
    """Now, in epoch milliseconds."""
    return time.time_ns() // 1_000_000
