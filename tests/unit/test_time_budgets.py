"""The time-outs of the AWS clients, against the time that the service keeps for them."""

import threading
import time
from typing import Any

import pytest
from botocore.config import Config

from cold_transfer.composition import URGENT, USUAL
from cold_transfer.errors import LedgerUnavailable
from cold_transfer.ledger.ledger import SettleFailed
from cold_transfer.service import (
    ANSWER_SECONDS,
    CALL_SECONDS,
    SETTLE_PAUSES,
    SETTLE_SECONDS,
    SETTLE_TRY_SECONDS,
    within,
)

#: Of a name server that does not answer, by the template's RES_OPTIONS.
LOOK_UP_SECONDS = 2.0


def longest(config: Config) -> float:
    """Seconds after which a client has given up, if each attempt hangs as long as it can.

    Before its n-th repeat botocore's standard mode pauses for up to 2^(n-1) seconds.
    """
    given: Any = config
    attempts: int = given.retries["total_max_attempts"]
    each: float = given.connect_timeout + given.read_timeout
    return attempts * each + float(sum(2**repeat for repeat in range(attempts - 1)))


def test_the_usual_client_has_given_up_in_its_time() -> None:
    assert longest(USUAL) + LOOK_UP_SECONDS == pytest.approx(CALL_SECONDS)


def test_the_urgent_client_may_use_a_whole_try() -> None:
    assert longest(URGENT) == pytest.approx(SETTLE_TRY_SECONDS)


def test_two_tries_to_settle_fit_into_what_is_kept_for_them() -> None:
    tries = 2 * SETTLE_TRY_SECONDS + SETTLE_PAUSES[0]

    assert tries + ANSWER_SECONDS < SETTLE_SECONDS


def test_what_hangs_is_waited_for_no_longer_than_agreed_and_goes_on() -> None:
    released, done = threading.Event(), threading.Event()

    def hang() -> None:
        released.wait(10)
        done.set()

    with pytest.raises(LedgerUnavailable):
        within(0.01, hang)

    assert not done.is_set()
    released.set()
    assert done.wait(10)


def test_what_is_done_in_time_has_its_own_end() -> None:
    def fail() -> None:
        raise SettleFailed("somebody else's")

    within(10, lambda: time.sleep(0))
    with pytest.raises(SettleFailed, match="somebody"):
        within(10, fail)
