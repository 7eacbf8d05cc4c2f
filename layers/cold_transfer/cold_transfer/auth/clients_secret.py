"""The clients secret: who may ask, and for what.

It is one JSON document::

    {"clients": {"crm":  {"signing_secrets": ["whsec_…", "whsec_…"]},
                 "phlo": {"tokens": ["…"], "phlo_ids": ["…"], "actions": ["hold", "unhold"],
                          "require_key": true}}}

Every credential of a list is valid at the same time, so one is replaced by adding the new one
first. A document that breaks a rule is refused as a whole: a client that was left out silently, or
a right that was widened by a typing error, would be noticed by nobody.
"""

import re
from typing import NoReturn

from cold_transfer.action import EVERY_ACTION, ActionName
from cold_transfer.auth.clients import Client, Clients, Credential, digest
from cold_transfer.auth.signature import looks_like_signing_secret, signing_key
from cold_transfer.aws import secret_document

# No colon: in Basic it ends the name (RFC 7617 section 2).
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")

# Visible ASCII: all that survives a header unchanged in every client. RFC 6750's b68 set is part
# of it, so that tokens issued by another system can be used as they are. 32
# characters of base64url hold 192 random bits; even of hex, 128.
_MIN_TOKEN = 32
_TOKEN = re.compile(rf"[!-~]{{{_MIN_TOKEN},512}}")

_PHLO_ID = re.compile(
    r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"  # a UUID, as Plivo's documentation has
    r"|[0-9A-Fa-f]{24}"  # the older form, as its SDKs' tests have
)

_MEMBERS = ("signing_secrets", "tokens", "phlo_ids", "actions", "require_key")

_SECRET = "the clients secret"  # noqa: S105  what messages call it

type _Entry = secret_document.Object


def parse(secret: str) -> Clients:
    """Read the clients secret.

    ``{"clients": {}}`` is valid and lets nobody in: so the last client can be shut out too.

    Raises
    ------
    SecretInvalid
        It is not of the documented form. The message names client, field and rule; no text of
        the secret but short names of clients stands in it or in the exception's context.
    """
    keys: list[Credential] = []
    bearer: list[Credential] = []
    basic: list[Credential] = []
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
        keys += [Credential(client, key) for key in secrets]
        bearer += [Credential(client, digest(token)) for token in tokens]
        basic += [Credential(client, digest(_user_pass(name, token))) for token in tokens]
    return Clients(keys, bearer, basic)


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
