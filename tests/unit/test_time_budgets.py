"""The time-outs of the AWS clients fit into the time that the service reserves for them."""

import threading
import time
from typing import Any

import pytest
from botocore.config import Config

from cold_transfer.composition import URGENT, USUAL
from cold_transfer.errors import LedgerUnavailable
from cold_transfer.ledger.ledger import SettleFailed
from cold_transfer.settling import (
    ANSWER_SECONDS,
    ATTEMPT_SECONDS,
    CALL_SECONDS,
    PAUSES,
    SETTLE_SECONDS,
    within,
)

#: How long a name server that does not answer takes, by the template's RES_OPTIONS.
LOOK_UP_SECONDS = 2.0


def longest(config: Config) -> float:
    """Seconds until a client gives up if every attempt hangs until it times out.

    Before the n-th retry, botocore's standard mode pauses for up to 2^(n-1) seconds.
    """
    given: Any = config
    attempts: int = given.retries["total_max_attempts"]
    each: float = given.connect_timeout + given.read_timeout
    return attempts * each + float(sum(2**retry for retry in range(attempts - 1)))


def test_the_usual_client_gives_up_within_its_time() -> None:
    assert longest(USUAL) + LOOK_UP_SECONDS == pytest.approx(CALL_SECONDS)


def test_the_urgent_client_gives_up_within_one_attempt() -> None:
    assert longest(URGENT) == pytest.approx(ATTEMPT_SECONDS)


def test_two_attempts_to_settle_fit_into_the_time_reserved_for_them() -> None:
    attempts = 2 * ATTEMPT_SECONDS + PAUSES[1]

    assert attempts + ANSWER_SECONDS < SETTLE_SECONDS


def test_within_stops_waiting_in_time_while_the_work_continues() -> None:
    released, done = threading.Event(), threading.Event()

    def hang() -> None:
        released.wait(10)
        done.set()

    with pytest.raises(LedgerUnavailable):
        within(0.01, hang)

    assert not done.is_set()
    released.set()
    assert done.wait(10)


def test_within_raises_what_the_work_raises() -> None:
    def fail() -> None:
        raise SettleFailed("another attempt's")

    within(10, lambda: time.sleep(0))
    with pytest.raises(SettleFailed, match="another"):
        within(10, fail)
