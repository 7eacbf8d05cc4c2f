"""The clients secret: which clients there are, and what each may do.

One JSON document::

    {"clients": {"crm":  {"signing_secrets": ["whsec_…", "whsec_…"]},
                 "phlo": {"tokens": ["…"], "phlo_ids": ["…"], "actions": ["hold", "unhold"],
                          "require_key": true}}}

All credentials of a list are valid at once: to rotate one, add the new one first. A document that
breaks a rule is refused as a whole, because a client silently left out, or a right widened by a
typing error, would go unnoticed.
"""

import re
from typing import NoReturn

from cold_transfer.action import EVERY_ACTION, ActionName
from cold_transfer.auth.clients import Client, Clients, Credential, digest
from cold_transfer.auth.signature import looks_like_signing_secret, signing_key
from cold_transfer.aws import secret_document

# No colon: in Basic it ends the name (RFC 7617 section 2).
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")

# Visible ASCII: what every HTTP client sends unchanged in a header. It includes RFC 6750's b64token
# set, so tokens issued by another system can be used as they are. 32 characters hold 192 random
# bits in base64url and 128 in hex.
_MIN_TOKEN = 32
_TOKEN = re.compile(rf"[!-~]{{{_MIN_TOKEN},512}}")

_PHLO_ID = re.compile(
    r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"  # a UUID, as in Plivo's documentation
    r"|[0-9A-Fa-f]{24}"  # the older form, as in the tests of Plivo's SDKs
)

_MEMBERS = ("signing_secrets", "tokens", "phlo_ids", "actions", "require_key")

_SECRET = "the clients secret"  # noqa: S105  what messages call it

type _Entry = secret_document.Object


def parse(secret: str) -> Clients:
    """Read the clients secret.

    ``{"clients": {}}`` is valid and admits no client, so that the last client can be removed too.

    Raises
    ------
    SecretInvalid
        It does not have the documented form. The message names client, field and rule. Neither the
        message nor the exception's context has any other text of the secret.
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
            # HMAC pads a key with zeros: with and without them, it is the same key.
            owner = owners.setdefault(credential.rstrip(b"\0"), name)
            if owner != name:
                # Requests could not be attributed, nor one client revoked without the other.
                _refuse(where, f"shares a credential with {_where(owner)}; give each its own")
        keys += [Credential(client, key) for key in secrets]
        bearer += [Credential(client, digest(token)) for token in tokens]
        basic += [Credential(client, digest(_user_pass(name, token))) for token in tokens]
    return Clients(keys, bearer, basic)


def _entries(secret: str) -> dict[str, _Entry]:
    """Each client's entry, by name. Checks the names of clients and members, not the values."""
    document = secret_document.read(secret, _SECRET)
    named = secret_document.member(document, "clients", _SECRET)
    if len(document) > 1:
        _refuse("the document", 'has members besides "clients"; remove them')
    entries: dict[str, _Entry] = {}
    clients = secret_document.as_object(named, f"{_SECRET}: clients")
    for position, (name, value) in enumerate(clients.items(), start=1):
        # An invalid name is not quoted: it may be a misplaced credential.
        if not _NAME.fullmatch(name):
            rule = "must be 1 to 64 ASCII letters, digits, dots, underscores and hyphens"
            _refuse(f"the name of client {position}", rule)
        entries[name] = secret_document.as_object(value, f"{_SECRET}: {_where(name)}")
        if not entries[name].keys() <= set(_MEMBERS):
            _refuse(_where(name), f"has an unknown member; allowed are {', '.join(_MEMBERS)}")
    return entries


def _where(name: str) -> str:
    """The path of a client's entry. A name as long as a token is not quoted: it may be one."""
    return f"clients.{name}" if len(name) < _MIN_TOKEN else f"clients.({len(name)} characters)"


def _phlo_ids(where: str, entry: _Entry) -> frozenset[str] | None:
    # _strings refuses an empty list: it could mean "all" or "none".
    ids = _strings(where, entry, "phlo_ids")
    for position, phlo_id in enumerate(ids):
        if not _PHLO_ID.fullmatch(phlo_id):
            _refuse(f"{where}.phlo_ids[{position}]", "must be a UUID or 24 hex digits")
    return frozenset(phlo_id.lower() for phlo_id in ids) or None


def _actions(where: str, entry: _Entry) -> frozenset[str]:
    names = _strings(where, entry, "actions")
    for position, name in enumerate(names):
        if name not in ActionName and names != [EVERY_ACTION]:
            _refuse(f"{where}.actions[{position}]", 'must be an action; for all actions use ["*"]')
    # a client added for transfers must not be able to hang up calls
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
                "must be whsec_ followed by 24 to 64 bytes in base64",
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
            # A token is sent with every request, a signing secret never is.
            _refuse(place, "is a signing secret; move it to signing_secrets")
        tokens.append(token.encode("ascii"))
    return tokens


def _strings(where: str, entry: _Entry, member: str) -> list[str]:
    """The list that an entry has as ``member``; empty only if it has no such member."""
    if member not in entry:
        return []
    values = entry[member]
    if not isinstance(values, list) or not values:
        _refuse(f"{where}.{member}", "must be a non-empty list, or be left out")
    strings = [value for value in values if isinstance(value, str)]
    if len(strings) != len(values):
        _refuse(f"{where}.{member}", "must contain only strings")
    return strings


def _refuse(where: str, rule: str) -> NoReturn:
    secret_document.refuse(f"{_SECRET}: {where}", rule)


def _user_pass(name: str, token: bytes) -> bytes:
    return name.encode("ascii") + b":" + token
