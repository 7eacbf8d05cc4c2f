"""Signals become an ordinary way out, so that every ``finally`` and ``__exit__`` runs."""

import signal
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def leave_on_signals() -> None:
    """From now on the first of them raises SystemExit; later ones do not disturb the clean-up."""

    def leave(number: int, _frame: FrameType | None) -> None:
        for each in STOPPING:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    for number in STOPPING:
        signal.signal(number, leave)
