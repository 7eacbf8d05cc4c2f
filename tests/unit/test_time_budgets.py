"""The time-outs of the AWS clients, against the time that the service keeps for them."""

from typing import Any

import pytest
from botocore.config import Config

from cold_transfer.composition import URGENT, USUAL
from cold_transfer.service import (
    CALL_SECONDS,
    SETTLE_PAUSES,
    SETTLE_SECONDS,
    URGENT_CALL_SECONDS,
)


def longest(config: Config) -> float:
    """Seconds after which a client has given up, if each attempt hangs as long as it can.

    Before its n-th repeat botocore's standard mode pauses for up to 2^(n-1) seconds.
    """
    given: Any = config
    attempts: int = given.retries["total_max_attempts"]
    each: float = given.connect_timeout + given.read_timeout
    return attempts * each + float(sum(2**repeat for repeat in range(attempts - 1)))


def test_the_usual_client_has_given_up_in_its_time() -> None:
    assert longest(USUAL) == pytest.approx(CALL_SECONDS)


def test_the_urgent_client_has_given_up_in_its_time() -> None:
    assert longest(URGENT) == pytest.approx(URGENT_CALL_SECONDS)


def test_two_urgent_tries_to_settle_fit_into_what_is_kept_for_them() -> None:
    assert 2 * URGENT_CALL_SECONDS + SETTLE_PAUSES[0] < SETTLE_SECONDS
