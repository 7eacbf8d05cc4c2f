"""Who may ask: the clients of the clients secret, and which of them a request comes from.

The secret is one JSON document::

    {"clients": {"crm":  {"signing_secrets": ["whsec_…", "whsec_…"]},
                 "phlo": {"tokens": ["…"], "phlo_ids": ["…"], "actions": ["hold", "unhold"],
                          "require_key": true}}}

Every credential of a list is valid at the same time, so one is replaced by adding the new one
first. A document that breaks a rule is refused as a whole: a client that was left out silently, or
a right that was widened by a typing error, would be noticed by nobody.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, NoReturn

from cold_transfer.action import EVERY_ACTION, ActionName
from cold_transfer.auth.signature import (
    SignedMessage,
    is_signature_attempt,
    looks_like_signing_secret,
    signing_key,
    single_value,
)
from cold_transfer.aws import secret_document
from cold_transfer.errors import Unauthorized

# No colon: in Basic it ends the name (RFC 7617 section 2).
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")

# Visible ASCII: all that survives a header unchanged in every client. RFC 6750's b68 set is part
# of it; a token from another system's generator need not be made anew for a character more. 32
# characters of base64url hold 192 random bits; even of hex, 128.
_MIN_TOKEN = 32
_TOKEN = re.compile(rf"[!-~]{{{_MIN_TOKEN},512}}")

_PHLO_ID = re.compile(
    r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"  # a UUID, as Plivo's documentation has
    r"|[0-9A-Fa-f]{24}"  # the older form, as its SDKs' tests have
)

# RFC 9110 section 11.4: a scheme in any case, spaces, and for both schemes one word.
_AUTHORIZATION = re.compile(r"(bearer|basic) +([!-~]+)", re.IGNORECASE | re.ASCII)

# The longest there can be is Basic: base64 of a name of 64, a colon and a token of 512 characters
# is 772. Whatever is longer is not worth decoding.
_MAX_AUTHORIZATION = 1024

_MEMBERS = ("signing_secrets", "tokens", "phlo_ids", "actions", "require_key")

_SECRET = "the clients secret"  # noqa: S105  what messages call it

type _Entry = secret_document.Object


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
class _Credential:
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
        keys: Sequence[_Credential],
        bearer: Sequence[_Credential],
        basic: Sequence[_Credential],
    ) -> None:
        self._keys = keys
        self._bearer = bearer
        self._basic = basic

    @classmethod
    def parse(cls, secret: str) -> "Clients":
        """Read the clients secret.

        ``{"clients": {}}`` is valid and lets nobody in: so the last client can be shut out too.

        Raises
        ------
        SecretInvalid
            It is not of the documented form. The message names client, field and rule; no text of
            the secret but short names of clients stands in it or in the exception's context.
        """
        keys: list[_Credential] = []
        bearer: list[_Credential] = []
        basic: list[_Credential] = []
        owners: dict[bytes, str] = {}
        for name, entry in _entries(secret).items():
            where = _where(name)
            client = Client(
                name, _phlo_ids(where, entry), _actions(where, entry), _require_key(where, entry)
            )
            secrets = _signing_keys(where, entry)
            tokens = _tokens(where, entry)
            if not secrets and not tokens:
                _refuse(where, "has neither signing_secrets nor tokens")
            for credential in (*secrets, *tokens):
                # HMAC fills a key up with zeros: with and without them, it is one and the same.
                owner = owners.setdefault(credential.rstrip(b"\0"), name)
                if owner != name:
                    # Nobody could say whose request it is, nor revoke one without the other.
                    _refuse(where, f"has a credential that {_where(owner)} has too")
            keys += [_Credential(client, key) for key in secrets]
            bearer += [_Credential(client, _sha256(token)) for token in tokens]
            basic += [_Credential(client, _sha256(_user_pass(name, token))) for token in tokens]
        return cls(keys, bearer, basic)

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


def _whose(credentials: Sequence[_Credential], presented: bytes) -> Identity | None:
    """Digests are compared, so that all are of one length and no prefix of a token is any use.

    Basic's digest is of name and token together: an unknown client, a wrong token and another
    client's token are one and the same case, here and in the time it takes.
    """
    digest = _sha256(presented)
    client = None
    for credential in credentials:
        if hmac.compare_digest(credential.proof, digest):
            client = credential.client
    return Identity(client) if client is not None else None


def _entries(secret: str) -> dict[str, _Entry]:
    """The entry of each client by name: names and names of members are checked, not values."""
    document = secret_document.read(secret, _SECRET)
    named = secret_document.member(document, "clients", _SECRET)
    if len(document) > 1:
        _refuse("the document", 'has members beside "clients"')
    entries: dict[str, _Entry] = {}
    clients = secret_document.as_object(named, f"{_SECRET}: clients")
    for position, (name, value) in enumerate(clients.items(), start=1):
        # A name that breaks a rule is not quoted: it may be a credential in the wrong place.
        if not _NAME.fullmatch(name):
            rule = "must be 1 to 64 ASCII letters, digits, dots, underscores and hyphens"
            _refuse(f"the name of client {position}", rule)
        entries[name] = secret_document.as_object(value, f"{_SECRET}: {_where(name)}")
        if not entries[name].keys() <= set(_MEMBERS):
            _refuse(_where(name), f"has a member that is none of {', '.join(_MEMBERS)}")
    return entries


def _where(name: str) -> str:
    """Where a client's entry is. A name as long as a token is not quoted: it may be one."""
    return f"clients.{name}" if len(name) < _MIN_TOKEN else f"clients.({len(name)} characters)"


def _phlo_ids(where: str, entry: _Entry) -> frozenset[str] | None:
    # An empty list is refused: it may be meant as "all" as well as "none". A client that may
    # use no PHLO has no entry.
    ids = _strings(where, entry, "phlo_ids")
    for position, phlo_id in enumerate(ids):
        if not _PHLO_ID.fullmatch(phlo_id):
            _refuse(f"{where}.phlo_ids[{position}]", "must be a UUID or 24 hex digits")
    return frozenset(phlo_id.lower() for phlo_id in ids) or None


def _actions(where: str, entry: _Entry) -> frozenset[str]:
    names = _strings(where, entry, "actions")
    for position, name in enumerate(names):
        if name not in ActionName and names != [EVERY_ACTION]:
            _refuse(f"{where}.actions[{position}]", "must be an action's name; for all, * alone")
    # who was let in for one thing must not be able to hang up calls
    return frozenset(names or [ActionName.COLD_TRANSFER])


def _require_key(where: str, entry: _Entry) -> bool:
    value = entry.get("require_key", False)
    if not isinstance(value, bool):
        _refuse(f"{where}.require_key", "must be true or false, or be left out")
    return value


def _signing_keys(where: str, entry: _Entry) -> list[bytes]:
    keys = []
    for position, secret in enumerate(_strings(where, entry, "signing_secrets")):
        key = signing_key(secret)
        if key is None:
            _refuse(
                f"{where}.signing_secrets[{position}]",
                "must be whsec_ and the base64 of 24 to 64 bytes",
            )
        keys.append(key)
    return keys


def _tokens(where: str, entry: _Entry) -> list[bytes]:
    tokens = []
    for position, token in enumerate(_strings(where, entry, "tokens")):
        place = f"{where}.tokens[{position}]"
        if not _TOKEN.fullmatch(token):
            _refuse(place, "must be 32 to 512 visible ASCII characters without a space")
        if looks_like_signing_secret(token):
            # A token travels with every request, a signing secret never does.
            _refuse(place, "is a signing secret; it belongs in signing_secrets")
        tokens.append(token.encode("ascii"))
    return tokens


def _strings(where: str, entry: _Entry, member: str) -> list[str]:
    """The list under ``member`` of a client's entry; empty only if there is no such member."""
    if member not in entry:
        return []
    values = entry[member]
    if not isinstance(values, list) or not values:
        _refuse(f"{where}.{member}", "must be a list that is not empty, or be left out")
    strings = [value for value in values if isinstance(value, str)]
    if len(strings) != len(values):
        _refuse(f"{where}.{member}", "must hold nothing but strings")
    return strings


def _refuse(where: str, rule: str) -> NoReturn:
    secret_document.refuse(f"{_SECRET}: {where}", rule)


def _user_pass(name: str, token: bytes) -> bytes:
    return name.encode("ascii") + b":" + token


def _sha256(data: bytes) -> bytes:
    # Plain and fast, as it may be: a token is long and random, not a word somebody chose.
    return hashlib.sha256(data).digest()
