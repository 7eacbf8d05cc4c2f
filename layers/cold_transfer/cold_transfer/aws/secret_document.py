"""The JSON object that a secret's text holds: read in one way for both secrets.

Secrets are typed, pasted and edited by hand, so each usual mistake has a sentence of its own that
says what to do about it. Every sentence is ours or the JSON parser's, with at most a position: no
character of the secret stands in it, nor in the exception's context.
"""

import functools
import json
import re
from typing import NoReturn

from cold_transfer.errors import SecretInvalid

type Object = dict[str, object]

#: What word processors and chats make of quotes.
_TYPOGRAPHIC_QUOTES = re.compile("[\u00ab\u00bb\u2018-\u201f]")


def read(text: str, secret: str) -> Object:
    """Read the object in ``text``; messages call the secret ``secret``.

    Raises
    ------
    SecretInvalid
        There is none, or one in it has two members of the same name.
    """
    if not text.strip():
        refuse(secret, "is empty")
    if text.startswith("\ufeff"):
        refuse(secret, "begins with a byte order mark: save it as UTF-8 without one")
    document: object = None
    fault = None
    # The refusal follows after the handlers: JSONDecodeError carries the whole text, and would go
    # along in the context of an exception that was raised inside one.
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
    """Return ``value`` if it is an object; otherwise say of ``what`` what it is instead."""
    if not isinstance(value, dict):
        if _holds_json(value):
            _refuse_nested(what)
        refuse(what, "must be a JSON object")
    return value


def member(document: Object, name: str, secret: str) -> object:
    """Return what a top-level member holds, and refuse the document if it has no such member."""
    if name not in document:
        # The console's key/value form makes a text of what is pasted into one of its two boxes.
        if any(map(_holds_json, [*document, *document.values()])):
            _refuse_nested(f"{secret}: a key or value")
        refuse(f"{secret}: {name}", "is missing")
    return document[name]


def refuse(what: str, fault: str) -> NoReturn:
    raise SecretInvalid(f"{what} {fault}")


def _refuse_nested(what: str) -> NoReturn:
    refuse(what, "is a text that holds JSON: paste the JSON document itself, as plain text")


def _holds_json(value: object) -> bool:
    return isinstance(value, str) and value.lstrip().startswith(("{", "["))


def _hint(text: str, said: str) -> str:
    if _TYPOGRAPHIC_QUOTES.search(text):
        return 'it has typographic quotes; JSON takes " only'
    # "Invalid control character at", "Unterminated string starting at", the position being said;
    # the pure Python parser quotes a character after a colon
    return "not JSON: " + re.sub(r"( starting)? at$|: .*", "", said)


def _object(secret: str, pairs: list[tuple[str, object]]) -> Object:
    """One JSON object, whose members must differ: of two, json.loads would drop the first."""
    members = dict(pairs)
    if len(members) != len(pairs):
        refuse(f"{secret}: an object in it", "has two members of the same name")
    return members
