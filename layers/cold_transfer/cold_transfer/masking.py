"""Masks numbers and credentials in texts, so that they may be answered, stored and logged."""

import functools
import re

LONGEST_TEXT = 500

_UUID = r"(?<![^\W_])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![^\W_])"
_YEAR, _MONTH = "(?:19|20)[0-9]{2}", "(?:0[1-9]|1[0-2])"
_DAY, _SHORT_DAY = "(?:0[1-9]|[12][0-9]|3[01])", "(?:0?[1-9]|[12][0-9]|3[01])"
_DATE = f"(?:{_YEAR}-{_MONTH}-{_DAY}|{_SHORT_DAY}/{_SHORT_DAY}/{_YEAR})"
_TIME = (
    r"(?:[01]?[0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:[.,][0-9]{1,9})?)?"
    r"(?:Z|[+-][0-9]{2}:?[0-9]{2})?"
)
#: Not part of a number: a UUID, and a date or time without further digits joined to it.
_KEPT = rf"(?:{_UUID}|(?<![\w+./-])(?:{_DATE}(?:[T ]{_TIME})?|{_TIME})(?![-./]?\d))"
#: What people write between the digits of one number: up to four blanks, hyphens, dots or brackets
#: of any script, but nothing that separates numbers in lists, times and JSON.
_JOINT = r"""[^\w,;:=&"'<>{}\[\]|*]{0,4}"""
_DIGIT = re.compile(r"\d")
# Bounded, so that "sip:sip:sip:…" takes linear time. The user part of an address has at most 64
# characters (entrypoints/definitions.json).
_SIP_USER = re.compile(r"(sips?(?::|%3a))[^@%\s]{1,256}(@|%40)", re.IGNORECASE)
_SIP_ADDRESS = re.compile(r"sips?:([^@]+)@.*", re.IGNORECASE | re.DOTALL)
_SHORT_USER = 4


def masked(text: str, *private: str) -> str:
    """The text without numbers and SIP users, on one line of at most 500 characters.

    A number is a run of 7 or more digits, with or without hyphens, blanks, dots or brackets in
    between: ``+1 (415) 555-0123`` becomes ``+* (***) ***-****``. So does a list of shorter numbers
    separated only by such characters. UUIDs, dates and times stay.

    The user part of a SIP address, and every value of ``private`` with or without its plus sign or
    host, becomes ``***``, even inside a UUID. Non-printing characters (control characters, line
    separators, direction marks, lone surrogates) become spaces.
    """
    if not text:
        return ""
    text = inert(text)
    for value in private:
        text = _without(value, text)
    text = _SIP_USER.sub(r"\1***\2", text)
    text = _kept_or_number().sub(_starred, text)
    return text[:LONGEST_TEXT]


@functools.cache
def _kept_or_number() -> re.Pattern[str]:
    """Compiled on first use: compiling takes longer than importing this module."""
    # \d deliberately matches the digits of every script.
    return re.compile(rf"({_KEPT})|\d(?:{_JOINT}(?!{_KEPT})\d){{6,}}", re.IGNORECASE)


def inert(text: str) -> str:
    """The text with a space in place of every non-printing character."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " for c in text)


def _starred(found: re.Match[str]) -> str:
    return found[1] or _DIGIT.sub("*", found[0])


def _without(value: str, text: str) -> str:
    if not value:
        return text
    bare = value.removeprefix("+")
    if bare.isdecimal() and bare not in text:
        return text  # compiling a pattern for each new number would cost more than the rest
    text = re.sub(rf"\+?{re.escape(bare)}", "***", text, flags=re.IGNORECASE)
    address = _SIP_ADDRESS.fullmatch(value)
    if address is None:
        return text
    user = re.escape(address[1])
    if len(address[1]) < _SHORT_USER:
        # A user called "a" must not mask every "a" in the text.
        user = rf"(?<![^\W_]){user}(?![^\W_])"
    return re.sub(user, "***", text, flags=re.IGNORECASE)
