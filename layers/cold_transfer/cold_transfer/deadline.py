"""A point in time after which an attempt must not go on."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Deadline:
    """``at`` is on the clock that ``now`` reads, in seconds; the default is ``time.monotonic``."""

    at: float
    now: Callable[[], float] = field(default=time.monotonic, repr=False, compare=False)

    @classmethod
    def after(cls, seconds: float, now: Callable[[], float] = time.monotonic) -> "Deadline":
        return cls(now() + seconds, now)

    def remaining(self) -> float:
        """Seconds left; negative when it is over."""
        return self.at - self.now()

    def earlier(self, seconds: float) -> "Deadline":
        """The deadline that lies ``seconds`` before this one."""
        return Deadline(self.at - seconds, self.now)

    def within(self, seconds: float) -> "Deadline":
        """The earlier of this deadline and ``seconds`` from now."""
        return Deadline(min(self.at, self.now() + seconds), self.now)


def now_ms() -> int:
    """Now, in epoch milliseconds."""
    return time.time_ns() // 1_000_000
