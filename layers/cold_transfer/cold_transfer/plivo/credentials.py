"""The Plivo secret: ``{"auth_id": "MA…", "auth_token": "…"}``."""

import re

from cold_transfer.aws import secret_document
from cold_transfer.plivo.client import PlivoCredentials

_SECRET = "the Plivo secret"  # noqa: S105  what messages call it

# RFC 7617, section 2: a colon would end the user-id, and control characters are not allowed.
# Plivo does not document the form of either, so nothing more is checked.
_AUTH_ID = re.compile(r"[!-9;-~]{1,128}")
_AUTH_TOKEN = re.compile(r"[!-~]{1,256}")


def parse(secret: str) -> PlivoCredentials:
    """Read the secret.

    Raises
    ------
    SecretInvalid
        It does not have the documented form; the message names the field, never a value.
    """
    document = secret_document.read(secret, _SECRET)
    return PlivoCredentials(
        _string(document, "auth_id", _AUTH_ID, "1 to 128 ASCII characters, no space, no colon"),
        _string(document, "auth_token", _AUTH_TOKEN, "1 to 256 ASCII characters, no space"),
    )


def _string(
    document: secret_document.Object, name: str, pattern: re.Pattern[str], form: str
) -> str:
    value = secret_document.member(document, name, _SECRET)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        secret_document.refuse(f"{_SECRET}: {name}", f"must be a string of {form}, no line break")
    return value
