"""Who may ask, and which client a request comes from."""

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

# The longest there can be is Basic: base64 of a name of 64, a colon and a token of 512 characters
# is 772. Whatever is longer is not worth decoding.
_MAX_AUTHORIZATION = 1024


class Client(NamedTuple):
    """A system that asks.

    phlo_ids
        The PHLOs it may use, in lower case; None means all.
    actions
        The actions it may ask for; ``*`` among them means all.
    require_key
        Whether a request without an idempotency key is refused.
    """

    name: str
    phlo_ids: frozenset[str] | None = None
    actions: frozenset[str] = frozenset({ActionName.COLD_TRANSFER})
    require_key: bool = False

    def may_use(self, phlo_id: str) -> bool:
        return self.phlo_ids is None or phlo_id.lower() in self.phlo_ids

    def may_ask_for(self, name: ActionName) -> bool:
        return not self.actions.isdisjoint((name, EVERY_ACTION))


class Identity(NamedTuple):
    """Who a request comes from.

    webhook_id
        Set when the request was signed: it is then covered by the signature, and is its key.
    signed_at
        When it was signed, in epoch milliseconds; set with ``webhook_id``.
    """

    client: Client
    webhook_id: str | None = None
    signed_at: int | None = None


@dataclass(frozen=True, slots=True)
class Credential:
    """One credential and whose it is.

    proof
        The key of a signature, or the SHA-256 of what Bearer or Basic have to present.
    """

    client: Client
    proof: bytes = field(repr=False)


class Clients:
    """All clients, ready to tell whose request one is.

    A request is compared with every credential of its kind, always all of them, each in constant
    time: neither which one matched nor how many clients there are before it shows in the time. The
    number is bounded by the secret's own size (65,536 bytes in Secrets Manager).
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
        """Tell whose request it is.

        ``headers`` has case-folded names, each with all its values; ``body`` is the raw body, its
        size already bounded; ``now`` is in epoch seconds.

        Raises
        ------
        Unauthorized
            There is no valid credential, for whatever reason: always the same message.
        """
        if is_signature_attempt(headers):
            identity = self._by_signature(headers, body, now)
        else:
            identity = self._by_authorization(headers)
        if identity is None:
            # Raised in one place, outside of any except clause: nothing of the input and no hint
            # of what was wrong can travel in the message or in the exception's context.
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
    """Digests are compared, so that all are of one length and no prefix of a token is any use.

    Basic's digest is of name and token together: an unknown client, a wrong token and another
    client's token are one and the same case, here and in the time it takes.
    """
    proof = digest(presented)
    client = None
    for credential in credentials:
        if hmac.compare_digest(credential.proof, proof):
            client = credential.client
    return Identity(client) if client is not None else None


def digest(presented: bytes) -> bytes:
    """The proof of a token, or of a name and a token."""
    # Plain and fast, as it may be: a token is long and random, not a word somebody chose.
    return hashlib.sha256(presented).digest()
