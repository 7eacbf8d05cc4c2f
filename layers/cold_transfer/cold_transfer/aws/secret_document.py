"""Reads the JSON object in a secret's text, for both secrets.

Secrets are typed, pasted and edited by hand, so each common mistake has its own message that says
what to do. No character of the secret appears in a message or in an exception's context; the most
that a message gives is a position.
"""

import functools
import json
import re
from typing import NoReturn

from cold_transfer.errors import SecretInvalid

type Object = dict[str, object]

#: What word processors and chats turn quotes into.
_TYPOGRAPHIC_QUOTES = re.compile("[\u00ab\u00bb\u2018-\u201f]")


def read(text: str, secret: str) -> Object:
    """Read the object in ``text``; ``secret`` is the secret's name in messages.

    Raises
    ------
    SecretInvalid
        ``text`` is not a JSON object, or an object in it has two members of the same name.
    """
    if not text.strip():
        refuse(secret, "is empty")
    if text.startswith("\ufeff"):
        refuse(secret, "begins with a byte order mark: save it as UTF-8 without BOM")
    document: object = None
    fault = None
    # Raised after the handlers, not in them: JSONDecodeError holds the whole text, and would be
    # the context of the new exception.
    try:
        document = json.loads(text, object_pairs_hook=functools.partial(_object, secret))
    except json.JSONDecodeError as error:
        fault = f"cannot be parsed, near character {error.pos + 1} ({_hint(text, error.msg)})"
    except RecursionError:
        fault = "cannot be parsed: it is nested too deeply"
    except ValueError:
        fault = "cannot be parsed: a number in it has too many digits"
    if fault:
        refuse(secret, fault)
    return as_object(document, secret)


def as_object(value: object, what: str) -> Object:
    """Return ``value`` if it is an object; otherwise raise ``SecretInvalid`` about ``what``."""
    if not isinstance(value, dict):
        if _holds_json(value):
            _refuse_nested(what)
        refuse(what, "must be a JSON object")
    return value


def member(document: Object, name: str, secret: str) -> object:
    """Return a top-level member; raise ``SecretInvalid`` if there is none."""
    if name not in document:
        # The AWS console's key/value form turns a pasted document into a string.
        if any(map(_holds_json, [*document, *document.values()])):
            _refuse_nested(f"{secret}: a key or value")
        refuse(f"{secret}: {name}", "is missing")
    return document[name]


def refuse(what: str, fault: str) -> NoReturn:
    raise SecretInvalid(f"{what} {fault}")


def _refuse_nested(what: str) -> NoReturn:
    refuse(what, "is a string that contains JSON: store the JSON document itself, as plain text")


def _holds_json(value: object) -> bool:
    return isinstance(value, str) and value.lstrip().startswith(("{", "["))


def _hint(text: str, said: str) -> str:
    if _TYPOGRAPHIC_QUOTES.search(text):
        return 'it has typographic quotes; use "'
    # Cuts "at" off "Invalid control character at", as the position is given already, and what
    # follows a colon: there the pure Python parser quotes a character.
    return "not JSON: " + re.sub(r"( starting)? at$|: .*", "", said)


def _object(secret: str, pairs: list[tuple[str, object]]) -> Object:
    """A JSON object whose names are unique: of two equal ones, json.loads drops the first."""
    members = dict(pairs)
    if len(members) != len(pairs):
        refuse(f"{secret}: an object in it", "has two members of the same name")
    return members
