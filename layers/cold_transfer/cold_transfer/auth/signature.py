"""Verification of signed requests: Standard Webhooks 1.0.0, symmetric (``v1``).

The specification is spec/standard-webhooks.md of
https://github.com/standard-webhooks/standard-webhooks. Its Python library is not used: on hostile
input it raises exceptions besides its own, it decodes the body before verifying it, and it accepts
``1e9`` as a timestamp.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

#: How far a timestamp may be from this clock, in either direction, in seconds (the specification's
#: libraries use the same 5 minutes). A captured request can be sent again within this time; it has
#: the same webhook-id, so it gets the stored answer.
TOLERANCE_SECONDS = 300

#: A sender that rotates its secret sends two signatures, and twice as many if it also signs
#: asymmetrically. Each further one lets a stranger cause another comparison per secret.
MAX_SIGNATURES = 16

# 16 of the longest signatures in use (v1a, Ed25519: 92 characters) take 1,487 characters.
_MAX_SIGNATURE_HEADER = 2048

# The characters of an idempotency key except the dot, which separates the signed parts: with dots
# in the id, one signature would be valid for several splits of the same text.
_WEBHOOK_ID = re.compile(r"[A-Za-z0-9_:-]{1,255}")

# Written out because \d, int() and float() accept digits of other scripts, signs, spaces or
# exponents. 11 digits last for 3,000 years.
_TIMESTAMP = re.compile(r"[1-9][0-9]{0,10}")

# One entry of the header. The value of a version other than v1 may be anything printable.
_VERSIONED = re.compile(r"([A-Za-z0-9]{1,16}),([!-~]+)")

# 32 bytes of SHA-256 are 43 characters of base64 and one of padding.
_V1_SIGNATURE = re.compile(r"[A-Za-z0-9+/]{43}=")

_SECRET_PREFIX = "whsec_"  # noqa: S105 - the public prefix of signing secrets, not a secret

# The specification's bounds for a symmetric secret, in bytes.
_MIN_SECRET, _MAX_SECRET = 24, 64


def signing_key(secret: str) -> bytes | None:
    """The key of a signing secret: the base64 after ``whsec_``, decoded.

    None unless it is canonical, padded standard base64 of 24 to 64 bytes.
    """
    if not secret.startswith(_SECRET_PREFIX):
        return None
    encoded = secret.removeprefix(_SECRET_PREFIX)
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None
    canonical = base64.b64encode(key).decode("ascii") == encoded
    return key if canonical and _MIN_SECRET <= len(key) <= _MAX_SECRET else None


def looks_like_signing_secret(text: str) -> bool:
    return text.startswith(_SECRET_PREFIX)


def is_signature_attempt(headers: Mapping[str, Sequence[str]]) -> bool:
    """Whether any header's name begins with ``webhook-``: then only the signature is considered.

    If a token counted as well, a request could carry a webhook-id that nobody has signed.
    """
    return any(name.startswith("webhook-") for name in headers)


def single_value(headers: Mapping[str, Sequence[str]], name: str) -> str | None:
    """The header's only value; None if it is missing, repeated or not text."""
    values = headers.get(name) or ()
    if len(values) != 1 or not isinstance(values[0], str):
        return None
    return values[0]


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """A well-formed, recent request with signatures that are not verified yet.

    content
        What is signed: ``id.timestamp.body``, with the raw bytes of the body.
    signatures
        The ``v1`` signatures in base64; at least one.
    """

    webhook_id: str
    timestamp: int
    content: bytes = field(repr=False)
    signatures: tuple[bytes, ...] = field(repr=False)

    @classmethod
    def read(
        cls, headers: Mapping[str, Sequence[str]], body: bytes, now: float
    ) -> "SignedMessage | None":
        """Read the three headers; None if any is missing, repeated, malformed or out of date.

        ``now`` is in epoch seconds. The headers are checked before the body is hashed, so that a
        request that cannot be valid costs little.
        """
        webhook_id = single_value(headers, "webhook-id")
        timestamp = single_value(headers, "webhook-timestamp")
        listed = single_value(headers, "webhook-signature")
        if webhook_id is None or timestamp is None or listed is None:
            return None
        if not _WEBHOOK_ID.fullmatch(webhook_id) or not _TIMESTAMP.fullmatch(timestamp):
            return None
        if abs(now - int(timestamp)) > TOLERANCE_SECONDS:
            return None
        signatures = _v1_signatures(listed)
        if not signatures:
            return None
        content = f"{webhook_id}.{timestamp}.".encode("ascii") + body
        return cls(webhook_id, int(timestamp), content, signatures)

    def is_signed_with(self, key: bytes) -> bool:
        """Whether one of the signatures is ``key``'s.

        The base64 texts are compared rather than the bytes: the last character has two unused
        bits, and only one of its four spellings is what a signer writes.
        """
        expected = base64.b64encode(hmac.digest(key, self.content, "sha256"))
        found = False
        for signature in self.signatures:
            # No early exit: the time must not reveal which signature matched.
            found |= hmac.compare_digest(expected, signature)
        return found


def _v1_signatures(listed: str) -> tuple[bytes, ...] | None:
    """The ``v1`` entries of a webhook-signature header; None if any entry is malformed."""
    if len(listed) > _MAX_SIGNATURE_HEADER:
        return None
    entries = [_VERSIONED.fullmatch(entry) for entry in listed.split(" ")]
    if len(entries) > MAX_SIGNATURES:
        return None
    signatures = []
    for entry in entries:
        if entry is None:
            return None
        version, value = entry.groups()
        if version != "v1":
            continue
        if not _V1_SIGNATURE.fullmatch(value):
            return None
        signatures.append(value.encode("ascii"))
    return tuple(signatures)
