"""How a fault speaks of what a stranger sent.

It has two readers: the log and the dead letters, which must not get a value, and the sender, who
needs to see it. Field names are input too: a number or a token may stand where a name should.
"""

import json
import re
from collections.abc import Sequence

from cold_transfer.errors import ContractViolated, Fault

#: A body of 10 kB holds thousands of faulty fields; nobody reads more than these.
MAX_REPORTED = 20

#: Replaces, in the log, a field name that might be a value.
UNKNOWN_NAME = "(unknown)"

_SHOWN_CHARACTERS = 80
_DIGITS_OF_A_NUMBER = 7
#: Shorter than the shortest token (32 characters), so that no token passes as a name.
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,31}")


def safe_name(name: str) -> str:
    """``name`` if it can only be a field's name, else ``(unknown)``."""
    digits = sum(character.isdigit() for character in name)
    if _NAME.fullmatch(name) and digits < _DIGITS_OF_A_NUMBER:
        return name
    return UNKNOWN_NAME


def quoted(value: object) -> str:
    """``value`` as JSON in at most 80 printable ASCII characters; objects and arrays by kind."""
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
    """The fault of a field that should not be there, or not twice."""
    return Fault(safe_name(name), finding, f"{quoted(name)} {finding}", name[:_SHOWN_CHARACTERS])


def violation(faults: Sequence[Fault]) -> ContractViolated:
    """The error that names ``faults``: 20 of them, and how many more there are."""
    reported = list(faults[:MAX_REPORTED])
    if more := len(faults) - len(reported):
        reported.append(Fault("(more)", f"{more} more faults are not listed"))
    return ContractViolated(reported)
