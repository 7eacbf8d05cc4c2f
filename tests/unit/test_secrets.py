"""Secrets: cached, served stale through a short outage, and never replaced when they are wrong."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError
from aws_lambda_powertools.utilities.parameters.secrets import SecretsProvider
from botocore.exceptions import ClientError

from cold_transfer import credentials
from cold_transfer.errors import SecretInvalid, SecretUnavailable
from cold_transfer.plivo import PlivoCredentials
from cold_transfer.secrets import RETRY_SECONDS, STALE_SECONDS, CachedSecret
from tests import fakes

MAX_AGE = 300
OUTAGE = ClientError({"Error": {"Code": "InternalServiceError", "Message": "x"}}, "GetSecretValue")


def parse(text: str) -> str:
    if text.startswith("bad"):
        raise SecretInvalid("the secret is bad")
    return text.upper()


class Bench:
    """One cached secret, and a clock that stands still until it is moved."""

    def __init__(self, value: object = "one") -> None:
        self.now = 1_000_000.0
        self.manager = fakes.SecretsManager(self.clock, it=value)
        self.secret = CachedSecret(self.manager, "it", parse, MAX_AGE, self.clock)

    def clock(self) -> float:
        return self.now

    @property
    def fetches(self) -> int:
        return len(self.manager.fetched)


def test_a_secret_is_fetched_once_and_used_for_its_cache_time() -> None:
    bench = Bench()
    assert bench.fetches == 0

    assert bench.secret.get() == "ONE"
    bench.manager.values["it"] = "two"
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

    manager = fakes.SecretsManager(lambda: 0.0, it="one")
    secret = CachedSecret(manager, "it", counting, MAX_AGE, lambda: 0.0)
    for _ in range(3):
        secret.get()
    secret.refresh()

    assert parsed == ["one", "one"]


def test_a_refresh_does_not_wait_for_the_cache() -> None:
    bench = Bench()
    bench.secret.get()
    bench.manager.values["it"] = "two"

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


def test_during_an_outage_not_every_request_tries() -> None:
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


def test_the_outages_end_is_noticed_after_the_next_try() -> None:
    bench = Bench()
    bench.secret.get()
    bench.manager.out = OUTAGE
    bench.now += MAX_AGE
    bench.secret.get()
    bench.manager.out = None
    bench.manager.values["it"] = "two"
    bench.now += RETRY_SECONDS

    assert bench.secret.get() == "TWO"


def test_stale_has_a_bound() -> None:
    bench = Bench()
    bench.secret.get()
    bench.manager.out = OUTAGE
    bench.now += MAX_AGE + STALE_SECONDS
    assert bench.secret.get() == "ONE"

    bench.now += 1
    for attempt in (bench.secret.get, bench.secret.get, bench.secret.refresh):
        with pytest.raises(SecretUnavailable):
            attempt()


def test_a_fetch_of_the_same_text_makes_it_young_again() -> None:
    bench = Bench()
    bench.secret.get()
    bench.now += 10_000
    bench.secret.get()
    bench.manager.out = OUTAGE
    bench.now += MAX_AGE + STALE_SECONDS

    assert bench.secret.get() == "ONE"


def test_without_any_value_an_outage_is_said_without_the_errors_text() -> None:
    bench = Bench()
    bench.manager.out = OUTAGE

    with pytest.raises(SecretUnavailable, match=r"^the secret it: ClientError$") as raised:
        bench.secret.get()

    assert not isinstance(raised.value, SecretInvalid)
    bench.manager.out = None
    assert bench.secret.get() == "ONE"


@pytest.mark.parametrize("value", ["bad", b"binary", None, {"auth_id": "x"}])
def test_an_invalid_secret_fails_closed_though_a_valid_one_was_known(value: object) -> None:
    bench = Bench()
    bench.secret.get()
    bench.manager.values["it"] = value
    bench.now += MAX_AGE

    for attempt in (bench.secret.get, bench.secret.get, bench.secret.refresh):
        with pytest.raises(SecretInvalid):
            attempt()


@pytest.mark.parametrize("value", ["bad", b"binary"])
def test_an_invalid_secret_stays_invalid_through_an_outage(value: object) -> None:
    bench = Bench()
    bench.secret.get()
    bench.manager.values["it"] = value
    bench.now += MAX_AGE
    with pytest.raises(SecretInvalid):
        bench.secret.get()
    bench.manager.out = OUTAGE
    bench.now += MAX_AGE

    for _ in range(2):
        with pytest.raises(SecretUnavailable):
            bench.secret.get()


def test_a_mended_secret_does_not_wait_for_the_cache_and_nobody_can_hurry_it() -> None:
    bench = Bench("bad")
    with pytest.raises(SecretInvalid):
        bench.secret.get()
    bench.manager.values["it"] = "mended"
    for _ in range(RETRY_SECONDS - 1):  # requests all the while, which must not put it off
        bench.now += 1
        with pytest.raises(SecretInvalid):
            bench.secret.get()
    assert bench.fetches == 1

    bench.now += 1
    assert bench.secret.get() == "MENDED"
    assert bench.fetches == 2


def test_nor_can_anybody_where_the_secret_is_a_single_character() -> None:
    """Python has one object for it: that it was fetched anew does not show."""
    now = 1_000_000.0
    manager = fakes.SecretsManager(lambda: now, it="{")
    secret = CachedSecret(manager, "it", credentials.parse, MAX_AGE, lambda: now)
    for waited in (0, RETRY_SECONDS, 1, 1):
        now += waited
        with pytest.raises(SecretInvalid):
            secret.get()

    assert len(manager.fetched) == 2


class Client:
    """Secrets Manager's client, as far as Powertools goes."""

    def __init__(self, answer: Callable[[], str]) -> None:
        self.calls = 0
        self._answer = answer

    # boto3's name of the argument
    def get_secret_value(self, SecretId: str) -> dict[str, Any]:  # noqa: N803
        assert SecretId == "plivo"
        self.calls += 1
        return {"SecretString": self._answer()}


def test_powertools_provider_does_what_the_fake_one_does() -> None:
    client: Any = Client(lambda: json.dumps({"auth_id": "MA", "auth_token": "t"}))
    secret = CachedSecret(SecretsProvider(boto3_client=client), "plivo", credentials.parse, MAX_AGE)

    assert secret.get() == secret.get() == PlivoCredentials("MA", "t")
    assert client.calls == 1
    secret.refresh()
    assert client.calls == 2


def test_powertools_failures_are_named_by_their_cause() -> None:
    def fail() -> str:
        raise OUTAGE

    client: Any = Client(fail)
    secret = CachedSecret(SecretsProvider(boto3_client=client), "plivo", credentials.parse, MAX_AGE)

    with pytest.raises(SecretUnavailable, match="ClientError"):
        secret.get()
    assert issubclass(GetParameterError, Exception)


@pytest.mark.parametrize(
    ("secret", "named"),
    [
        ("", "JSON"),
        ("[]", "JSON"),
        ("s3cr3t-text", "JSON"),
        ("[" * 100_000, "JSON"),
        ('{"auth_token": "s3cr3t-text"}', "auth_id"),
        ('{"auth_id": "MA:1", "auth_token": "s3cr3t-text"}', "auth_id"),
        ('{"auth_id": 7, "auth_token": "s3cr3t-text"}', "auth_id"),
        ('{"auth_id": "MA1"}', "auth_token"),
        ('{"auth_id": "MA1", "auth_token": ""}', "auth_token"),
        ('{"auth_id": "MA1", "auth_token": "s3cr3t-text\\n"}', "auth_token"),
        ('{"auth_id": "MA1", "auth_token": "s3cr3t-text\\u00e9"}', "auth_token"),
    ],
)
def test_a_malformed_plivo_secret_is_named_by_its_field_and_not_quoted(
    secret: str, named: str
) -> None:
    with pytest.raises(SecretInvalid, match=named) as raised:
        credentials.parse(secret)

    error: BaseException | None = raised.value
    while error is not None:
        assert "s3cr3t" not in f"{error} {vars(error)}"
        error = error.__cause__ or error.__context__


def test_a_plivo_secret_may_have_members_more() -> None:
    secret = '{"auth_id": "MA1", "auth_token": "t:t", "note": 1}'

    assert credentials.parse(secret) == PlivoCredentials("MA1", "t:t")
