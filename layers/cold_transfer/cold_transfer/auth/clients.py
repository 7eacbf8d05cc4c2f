"""Clients, their rights, and the authentication of a request."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cold_transfer.action import EVERY_ACTION, ActionName
from cold_transfer.auth.signature import (
    SignedMessage,
    is_signature_attempt,
    single_value,
)
from cold_transfer.errors import Unauthorized

# RFC 9110 section 11.4: a scheme in any case, spaces, and for both schemes one word.
_AUTHORIZATION = re.compile(r"(bearer|basic) +([!-~]+)", re.IGNORECASE | re.ASCII)

# The longest valid value is Basic with 772 characters of base64: a name of 64, a colon and a token
# of 512.
_MAX_AUTHORIZATION = 1024


class Client(NamedTuple):
    """A system that sends requests.

    phlo_ids
        The PHLOs it may use, in lower case; None means all.
    actions
        The actions it may request; ``*`` means all.
    require_key
        Whether a request without an idempotency key is refused.
    """

    name: str
    phlo_ids: frozenset[str] | None = None
    actions: frozenset[str] = frozenset({ActionName.COLD_TRANSFER})
    require_key: bool = False

    def may_use(self, phlo_id: str) -> bool:
        return self.phlo_ids is None or phlo_id.lower() in self.phlo_ids

    def may_request(self, name: ActionName) -> bool:
        return not self.actions.isdisjoint((name, EVERY_ACTION))


class Identity(NamedTuple):
    """Who a request comes from.

    webhook_id
        Set if the request was signed: the signature covers it, and it is the idempotency key.
    signed_at
        When it was signed, in epoch milliseconds; set with ``webhook_id``.
    """

    client: Client
    webhook_id: str | None = None
    signed_at: int | None = None


@dataclass(frozen=True, slots=True)
class Credential:
    """One credential and its client.

    proof
        The signing key, or the SHA-256 of what Bearer or Basic has to present.
    """

    client: Client
    proof: bytes = field(repr=False)


class Clients:
    """All clients; finds the one that a request comes from.

    A request is always compared with every credential of its kind, each in constant time, so that
    the time reveals neither which one matched nor its position. Secrets Manager's limit for a
    secret (65,536 bytes) bounds their number.
    """

    def __init__(
        self,
        keys: Sequence[Credential],
        bearer: Sequence[Credential],
        basic: Sequence[Credential],
    ) -> None:
        self._keys = keys
        self._bearer = bearer
        self._basic = basic

    def authenticate(
        self, headers: Mapping[str, Sequence[str]], body: bytes, now: float
    ) -> Identity:
        """Find the client that sent a request.

        Parameters
        ----------
        headers
            All values of each header, by case-folded name.
        body
            The raw body, its size already checked.
        now
            Epoch seconds.

        Raises
        ------
        Unauthorized
            There is no valid credential. The message is the same for every reason.
        """
        if is_signature_attempt(headers):
            identity = self._by_signature(headers, body, now)
        else:
            identity = self._by_authorization(headers)
        if identity is None:
            # Raised in one place, outside any except clause: neither the message nor the
            # exception's context can carry input or a hint of what was wrong.
            raise Unauthorized("no valid credential")
        return identity

    def _by_signature(
        self, headers: Mapping[str, Sequence[str]], body: bytes, now: float
    ) -> Identity | None:
        message = SignedMessage.read(headers, body, now)
        if message is None:
            return None
        client = None
        for credential in self._keys:
            if message.is_signed_with(credential.proof):
                client = credential.client
        if client is None:
            return None
        return Identity(client, message.webhook_id, message.timestamp * 1000)

    def _by_authorization(self, headers: Mapping[str, Sequence[str]]) -> Identity | None:
        value = single_value(headers, "authorization")
        if value is None or len(value) > _MAX_AUTHORIZATION:
            return None
        parts = _AUTHORIZATION.fullmatch(value)
        if parts is None:
            return None
        scheme, presented = parts.groups()
        if scheme.lower() == "bearer":
            return _whose(self._bearer, presented.encode("ascii"))
        try:
            user_pass = base64.b64decode(presented, validate=True)
        except (binascii.Error, ValueError):
            return None
        return _whose(self._basic, user_pass)


def _whose(credentials: Sequence[Credential], presented: bytes) -> Identity | None:
    """Compare digests: they have one length, so a prefix of a token reveals nothing.

    Basic's digest covers name and token together, so that an unknown client, a wrong token and
    another client's token are the same case and take the same time.
    """
    proof = digest(presented)
    client = None
    for credential in credentials:
        if hmac.compare_digest(credential.proof, proof):
            client = credential.client
    return Identity(client) if client is not None else None


def digest(presented: bytes) -> bytes:
    """The proof of a token, or of a name and a token."""
    # A fast hash is enough: a token is long and random, not a password that a person chose.
    return hashlib.sha256(presented).digest()
