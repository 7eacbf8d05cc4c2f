"""Secrets from Secrets Manager: cached, parsed once, and served stale through a short outage."""

import time
from collections.abc import Callable
from typing import Any, Protocol

from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError

from cold_transfer.errors import SecretInvalid, SecretUnavailable

#: How long a value is still used after its cache time while Secrets Manager does not answer.
#: It bounds how long a revoked credential can outlive its revocation: cache time plus this.
STALE_SECONDS = 900

#: How long after a failed fetch the stale value is served without trying again: an outage costs
#: one request in this time the client's time-outs, not every request.
RETRY_SECONDS = 10


class SecretsProvider(Protocol):
    """What is used of Powertools' ``SecretsProvider``."""

    def get(
        self, name: str, *, max_age: int | None = None, force_fetch: bool = False
    ) -> str | bytes | dict[Any, Any] | None:
        """Raise ``GetParameterError`` when the value cannot be had."""


class CachedSecret[T]:
    """One secret, parsed.

    parse
        Turns the secret's text into the value; raises ``SecretInvalid``. An invalid secret is
        never replaced by an older valid one: it fails closed until it is mended.
    max_age
        Seconds for which a value is used before it is fetched again.
    """

    def __init__(
        self,
        provider: SecretsProvider,
        name: str,
        parse: Callable[[str], T],
        max_age: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._provider = provider
        self._name = name
        self._parse = parse
        self._max_age = max_age
        self._clock = clock
        self._fetched: object = None
        self._value: T | None = None
        self._fetched_at = 0.0
        self._failed_at = float("-inf")

    def get(self) -> T:
        """The value, at most ``max_age`` seconds old (longer only while the service is out).

        Raises
        ------
        SecretUnavailable
            Secrets Manager gave none, and no value young enough is at hand.
        SecretInvalid
            It gave one that is not of the documented form.
        """
        if self._clock() - self._failed_at < RETRY_SECONDS and self._value is not None:
            return self._stale()
        # an invalid secret is looked at anew soon: its mending must not wait for the cache
        invalid = self._fetched is not None and self._value is None
        return self._fetch(force=invalid and self._clock() - self._fetched_at >= RETRY_SECONDS)

    def refresh(self) -> T:
        """The value as it is in Secrets Manager now; raises as ``get`` does."""
        return self._fetch(force=True)

    def _fetch(self, *, force: bool) -> T:
        try:
            text = self._provider.get(self._name, max_age=self._max_age, force_fetch=force)
        except GetParameterError as error:
            self._failed_at = self._clock()
            # the cause's class only: its text quotes the request
            reason = type(error.__cause__ or error.__context__ or error).__name__
            if self._value is None:
                raise SecretUnavailable(f"the secret {self._name}: {reason}") from None
            return self._stale()
        if force or text is not self._fetched:
            # Powertools hands out the same object while it is cached: this one was fetched now
            # (and Python has but one object for all texts of one same character)
            self._fetched, self._value = text, None
            self._fetched_at = self._clock()
        if self._value is None:
            if not isinstance(text, str):
                raise SecretInvalid(f"the secret {self._name} is not stored as text")
            self._value = self._parse(text)
        self._failed_at = float("-inf")
        return self._value

    def _stale(self) -> T:
        if self._value is None or (
            self._clock() - self._fetched_at > self._max_age + STALE_SECONDS
        ):
            raise SecretUnavailable(
                f"the secret {self._name}: Secrets Manager has not answered for too long"
            )
        return self._value
