"""Builds the texts of field faults.

A fault has two texts: one for the log and the dead letters, which must not contain a value, and one
for the sender, which quotes it. Field names are input too: a name may be a misplaced number or
token.
"""

import json
import re
from collections.abc import Sequence

from cold_transfer.errors import ContractViolated, Fault

#: A body of 10 kB can have thousands of faulty fields; nobody reads more than these.
MAX_REPORTED = 20

#: Replaces, in the log, a field name that might be a value.
UNKNOWN_NAME = "(unknown)"

_SHOWN_CHARACTERS = 80
_DIGITS_OF_A_NUMBER = 7
#: Shorter than the shortest token (32 characters), so that no token passes as a name.
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,31}")


def safe_name(name: str) -> str:
    """``name`` if it cannot be a number or a token, otherwise ``(unknown)``."""
    digits = sum(character.isdigit() for character in name)
    if _NAME.fullmatch(name) and digits < _DIGITS_OF_A_NUMBER:
        return name
    return UNKNOWN_NAME


def quoted(value: object) -> str:
    """``value`` as JSON in at most 80 ASCII characters; an object or array by its kind only."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, str):
        value = value[:_SHOWN_CHARACTERS]
    text = json.dumps(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."


def about_value(name: str, value: object, rule: str, finding: str) -> Fault:
    """The fault of a known field whose value is wrong."""
    return Fault(name, rule, f"{quoted(value)} {finding}")


def about_name(name: str, finding: str) -> Fault:
    """The fault of a field that is not allowed, or occurs twice."""
    return Fault(safe_name(name), finding, f"{quoted(name)} {finding}", name[:_SHOWN_CHARACTERS])


def violation(faults: Sequence[Fault]) -> ContractViolated:
    """The error for ``faults``: lists 20, and counts the others."""
    reported = list(faults[:MAX_REPORTED])
    if more := len(faults) - len(reported):
        reported.append(Fault("(more)", f"{more} more faults are not listed"))
    return ContractViolated(reported)
