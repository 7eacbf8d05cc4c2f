"""What of a foreign text may be answered, stored and logged."""

import re

LONGEST_TEXT = 500

# \d takes the digits of every script here, on purpose: an echoed number is one in any of them.
_NUMBER = re.compile(r"\d{7,}")
# Bounded, so that a text made of "sip:sip:sip:…" costs no more than its length. The user part of
# a transfer has 64 characters at most (transfer.schema.json).
_SIP_USER = re.compile(r"(sips?(?::|%3a))[^@%\s]{1,256}(@|%40)", re.IGNORECASE)
_SIP_ADDRESS = re.compile(r"sips?:([^@]+)@.*", re.IGNORECASE | re.DOTALL)
_SHORT_USER = 4


def masked(text: str, *private: str) -> str:
    """The text without numbers and SIP users, on one line, in at most 500 characters.

    Digit runs of 7 or more become as many ``*``; the user part of a SIP address and every value
    of ``private``, with or without its host, becomes ``***``. Characters that do not print
    (control characters, line separators, direction marks, lone surrogates) become spaces.
    """
    if not text:
        return ""
    text = inert(text)
    for value in private:
        text = _without(value, text)
    text = _SIP_USER.sub(r"\1***\2", text)
    text = _NUMBER.sub(lambda run: "*" * len(run.group()), text)
    return text[:LONGEST_TEXT]


def inert(text: str) -> str:
    """The text with every character that does not print replaced by a space."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " for c in text)


def _without(value: str, text: str) -> str:
    if not value:
        return text
    text = re.sub(re.escape(value), "***", text, flags=re.IGNORECASE)
    address = _SIP_ADDRESS.fullmatch(value)
    if address is None:
        return text
    user = re.escape(address[1])
    if len(address[1]) < _SHORT_USER:
        # A user called "a" must not blacken every word with an a in it.
        user = rf"(?<![^\W_]){user}(?![^\W_])"
    return re.sub(user, "***", text, flags=re.IGNORECASE)
