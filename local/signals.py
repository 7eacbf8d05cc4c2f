"""Turns signals into SystemExit, so that every ``finally`` and ``__exit__`` runs."""

import signal
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def leave_on_signals() -> None:
    """Raise SystemExit on the first signal; later ones do not interrupt the clean-up."""

    def leave(number: int, _frame: FrameType | None) -> None:
        for each in STOPPING:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    for number in STOPPING:
        signal.signal(number, leave)
