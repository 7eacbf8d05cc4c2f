"""Waiting for a condition."""

import time
import urllib.error
import urllib.request
from collections.abc import Callable


def eventually[T](check: Callable[[], T], seconds: float = 30.0, pause: float = 0.1) -> T:
    """Call ``check`` until its result is true, or ``seconds`` have passed; returns the result."""
    deadline = time.monotonic() + seconds
    while not (found := check()) and time.monotonic() < deadline:
        time.sleep(pause)
    return found


def answers(url: str) -> bool:
    """Whether a local server answers there with a 2xx."""
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310 -- our own http address
            return True
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return False
    except OSError:
        return False
