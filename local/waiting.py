"""Waiting for a condition."""

import time
import urllib.error
import urllib.request
from collections.abc import Callable


def eventually[T](ask: Callable[[], T], seconds: float = 30.0, pause: float = 0.1) -> T:
    """The first true result of ``ask``, or the last one after the time."""
    deadline = time.monotonic() + seconds
    while not (found := ask()) and time.monotonic() < deadline:
        time.sleep(pause)
    return found


def answers(url: str) -> bool:
    """Whether a server of ours answers there, and with a 2xx."""
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310 -- our own http address
            return True
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return False
    except OSError:
        return False
