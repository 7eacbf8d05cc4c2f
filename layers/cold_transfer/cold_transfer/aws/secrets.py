"""Secrets from Secrets Manager: cached, parsed once, and served stale through a short outage."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from cold_transfer.aws.errors import reason
from cold_transfer.errors import SecretInvalid, SecretUnavailable

#: How long an expired value may still be used while Secrets Manager does not answer. A revoked
#: credential is accepted for at most the cache time plus this.
STALE_SECONDS = 900

#: How long after a failed fetch the stale value is used without another fetch. During an outage,
#: only one request in this time waits for Secrets Manager's time-out.
RETRY_SECONDS = 10


class SecretsManager(Protocol):
    """The part of boto3's client that is used."""

    def get_secret_value(self, *, SecretId: str) -> Mapping[str, Any]: ...  # noqa: N803  boto3's own


class CachedSecret[T]:
    """One secret, parsed.

    parse
        Turns the secret's text into the value; raises ``SecretInvalid``. A valid older value never
        replaces an invalid secret: it fails closed until it is fixed.
    max_age
        Seconds before a value is fetched again.
    """

    def __init__(
        self,
        manager: SecretsManager,
        name: str,
        parse: Callable[[str], T],
        max_age: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._manager = manager
        self._name = name
        self._parse = parse
        self._max_age = max_age
        self._clock = clock
        self._text: object = None
        self._value: T | None = None
        self._fetched_at = float("-inf")
        self._failed_at = float("-inf")

    def get(self) -> T:
        """The value, at most ``max_age`` seconds old (older only during an outage).

        Raises
        ------
        SecretUnavailable
            Secrets Manager did not answer, and no cached value is recent enough.
        SecretInvalid
            The secret does not have the documented form.
        """
        now = self._clock()
        # re-read an invalid secret soon: a fix must not have to wait for the cache to expire
        young = self._max_age if self._value is not None else RETRY_SECONDS
        if now - self._fetched_at < young:
            return self._parsed()
        if self._value is not None and now - self._failed_at < RETRY_SECONDS:
            return self._stale()
        return self.refresh()

    def refresh(self) -> T:
        """Fetch the value now. Raises as ``get`` does."""
        try:
            reply = self._manager.get_secret_value(SecretId=self._name)
            found = reply["SecretString"] if "SecretString" in reply else reply["SecretBinary"]
        except Exception as error:  # noqa: BLE001  credentials and garbled replies fail in other ways
            self._failed_at = self._clock()
            if self._value is None:
                raise SecretUnavailable(f"the secret {self._name}: {reason(error)}") from None
            return self._stale()
        self._text, self._value = found, None
        self._fetched_at = self._clock()
        self._failed_at = float("-inf")
        return self._parsed()

    def _parsed(self) -> T:
        if self._value is None:
            if not isinstance(self._text, str):
                raise SecretInvalid(
                    f"the secret {self._name} is stored as binary: store it as text (SecretString)"
                )
            self._value = self._parse(self._text)
        return self._value

    def _stale(self) -> T:
        if self._value is None or (
            self._clock() - self._fetched_at > self._max_age + STALE_SECONDS
        ):
            raise SecretUnavailable(
                f"the secret {self._name}: Secrets Manager has not answered for too long"
            )
        return self._value
