"""Cached secrets: fetched again after a time, served stale through a short outage, or refused."""

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from botocore.parsers import ResponseParserError

from cold_transfer.aws.secrets import RETRY_SECONDS, STALE_SECONDS, CachedSecret
from cold_transfer.errors import SecretInvalid, SecretUnavailable
from tests.support import fakes

MAX_AGE = 300
OUTAGE = ClientError({"Error": {"Code": "InternalServiceError", "Message": "x"}}, "GetSecretValue")


def parse(text: str) -> str:
    if text.startswith("bad"):
        raise SecretInvalid("the secret is bad")
    return text.upper()


class Bench:
    """One cached secret, and a clock that only the test moves."""

    def __init__(self, value: object = "one") -> None:
        self.now = 1_000_000.0
        self.manager = fakes.SecretsManager(name=value)
        self.secret = CachedSecret(self.manager, "name", parse, MAX_AGE, self.clock)

    def clock(self) -> float:
        return self.now

    @property
    def fetches(self) -> int:
        return len(self.manager.fetched)


def test_a_secret_is_fetched_once_and_used_for_its_cache_time() -> None:
    bench = Bench()
    assert bench.fetches == 0

    assert bench.secret.get() == "ONE"
    bench.manager.values["name"] = "two"
    bench.now += MAX_AGE - 1
    assert bench.secret.get() == "ONE"
    assert bench.fetches == 1

    bench.now += 1
    assert bench.secret.get() == "TWO"
    assert bench.fetches == 2


def test_it_is_parsed_once_for_each_fetch() -> None:
    parsed: list[str] = []

    def counting(text: str) -> str:
        parsed.append(text)
        return text

    manager = fakes.SecretsManager(name="one")
    secret = CachedSecret(manager, "name", counting, MAX_AGE, lambda: 0.0)
    for _ in range(3):
        secret.get()
    secret.refresh()

    assert parsed == ["one", "one"]


def test_a_refresh_does_not_wait_for_the_cache() -> None:
    bench = Bench()
    bench.secret.get()
    bench.manager.values["name"] = "two"

    assert bench.secret.refresh() == "TWO"
    assert bench.secret.get() == "TWO"
    assert bench.fetches == 2


def test_a_stale_value_is_served_through_an_outage() -> None:
    bench = Bench()
    bench.secret.get()
    bench.manager.out = OUTAGE
    bench.now += MAX_AGE + 1

    assert bench.secret.get() == "ONE"
    assert bench.secret.refresh() == "ONE"


def test_during_an_outage_a_fetch_is_tried_only_now_and_then() -> None:
    bench = Bench()
    bench.secret.get()
    bench.manager.out = OUTAGE
    bench.now += MAX_AGE
    for _ in range(5):
        bench.secret.get()
    assert bench.fetches == 2

    bench.now += RETRY_SECONDS
    bench.secret.get()
    assert bench.fetches == 3


def test_after_an_outage_the_next_fetch_gets_the_new_value() -> None:
    bench = Bench()
    bench.secret.get()
    bench.manager.out = OUTAGE
    bench.now += MAX_AGE
    bench.secret.get()
    bench.manager.out = None
    bench.manager.values["name"] = "two"
    bench.now += RETRY_SECONDS

    assert bench.secret.get() == "TWO"


def test_a_stale_value_is_served_for_a_limited_time() -> None:
    bench = Bench()
    bench.secret.get()
    bench.manager.out = OUTAGE
    bench.now += MAX_AGE + STALE_SECONDS
    assert bench.secret.get() == "ONE"

    bench.now += 1
    for attempt in (bench.secret.get, bench.secret.get, bench.secret.refresh):
        with pytest.raises(SecretUnavailable):
            attempt()


def test_a_fetch_of_the_same_text_renews_its_age() -> None:
    bench = Bench()
    bench.secret.get()
    bench.now += 10_000
    bench.secret.get()
    bench.manager.out = OUTAGE
    bench.now += MAX_AGE + STALE_SECONDS

    assert bench.secret.get() == "ONE"


def test_an_outage_before_the_first_value_is_reported_without_the_errors_text() -> None:
    bench = Bench()
    bench.manager.out = OUTAGE

    with pytest.raises(
        SecretUnavailable, match=r"^the secret name: InternalServiceError$"
    ) as raised:
        bench.secret.get()

    assert not isinstance(raised.value, SecretInvalid)
    bench.manager.out = None
    assert bench.secret.get() == "ONE"


@pytest.mark.parametrize("value", ["bad", b"binary", None, {"auth_id": "x"}])
def test_an_invalid_secret_is_refused_although_a_valid_one_was_cached(value: object) -> None:
    bench = Bench()
    bench.secret.get()
    bench.manager.values["name"] = value
    bench.now += MAX_AGE

    for attempt in (bench.secret.get, bench.secret.get, bench.secret.refresh):
        with pytest.raises(SecretInvalid):
            attempt()


def test_a_binary_secret_is_reported_as_binary() -> None:
    bench = Bench(b"binary")

    with pytest.raises(
        SecretInvalid, match=r"^the secret name is stored as binary: .*SecretString"
    ):
        bench.secret.get()


@pytest.mark.parametrize("value", ["bad", b"binary"])
def test_an_invalid_secret_stays_invalid_through_an_outage(value: object) -> None:
    bench = Bench()
    bench.secret.get()
    bench.manager.values["name"] = value
    bench.now += MAX_AGE
    with pytest.raises(SecretInvalid):
        bench.secret.get()
    bench.manager.out = OUTAGE
    bench.now += MAX_AGE

    for _ in range(2):
        with pytest.raises(SecretUnavailable):
            bench.secret.get()


def test_an_invalid_secret_is_fetched_again_after_a_fixed_time_despite_requests() -> None:
    bench = Bench("bad")
    with pytest.raises(SecretInvalid):
        bench.secret.get()
    bench.manager.values["name"] = "fixed"
    for _ in range(RETRY_SECONDS - 1):  # requests meanwhile must not postpone it
        bench.now += 1
        with pytest.raises(SecretInvalid):
            bench.secret.get()
    assert bench.fetches == 1

    bench.now += 1
    assert bench.secret.get() == "FIXED"
    assert bench.fetches == 2


def test_a_reply_without_a_secret_does_not_replace_the_cached_value() -> None:
    bench = Bench()
    bench.secret.get()
    bench.manager.empty = True
    bench.now += MAX_AGE

    assert [bench.secret.get() for _ in range(3)] == ["ONE"] * 3
    assert bench.fetches == 2


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ReadTimeoutError(endpoint_url="https://secretsmanager.invalid"), "ReadTimeoutError"),
        (ResponseParserError("<html>s3cr3t-text"), "ResponseParserError"),
        (RuntimeError("the refreshed credentials are still expired"), "RuntimeError"),
    ],
)
def test_a_failure_is_reported_by_its_kind(error: Exception, kind: str) -> None:
    bench = Bench()
    bench.manager.out = error

    with pytest.raises(SecretUnavailable, match=rf"^the secret name: {kind}$"):
        bench.secret.get()
