"""The time-outs of the AWS clients, against the time that the service keeps for them."""

from typing import Any

import pytest
from botocore.config import Config

from cold_transfer.composition import PATIENT, SETTLING
from cold_transfer.service import (
    FETCH_SECONDS,
    SETTLE_PAUSES,
    SETTLE_SECONDS,
    SETTLE_TRY_SECONDS,
)

LONGEST_PAUSE = 1.0  # of botocore's standard mode before its second attempt


def longest(config: Config) -> float:
    """Seconds after which a client has given up, if each attempt hangs as long as it can."""
    given: Any = config
    attempts: int = given.retries["total_max_attempts"]
    assert attempts <= 2  # the pauses grow after that
    each: float = given.connect_timeout + given.read_timeout
    return attempts * each + (attempts - 1) * LONGEST_PAUSE


def test_one_try_to_settle_ends_in_its_time() -> None:
    assert longest(SETTLING) == pytest.approx(SETTLE_TRY_SECONDS)


def test_two_tries_to_settle_fit_into_what_is_kept_for_them() -> None:
    assert 2 * SETTLE_TRY_SECONDS + SETTLE_PAUSES[0] < SETTLE_SECONDS


def test_a_secret_is_there_or_given_up_in_its_time() -> None:
    assert longest(PATIENT) == pytest.approx(FETCH_SECONDS)
