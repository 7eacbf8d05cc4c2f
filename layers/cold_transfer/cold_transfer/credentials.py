"""The Plivo secret: ``{"auth_id": "MA…", "auth_token": "…"}``."""

import json
import re

from cold_transfer.errors import SecretInvalid
from cold_transfer.plivo import PlivoCredentials

# RFC 7617, section 2: a colon would end the user-id, and control characters are not allowed.
# Plivo documents no form for the token, so that no more than this is asked of either.
_AUTH_ID = re.compile(r"[!-9;-~]{1,128}")
_AUTH_TOKEN = re.compile(r"[!-~]{1,256}")


def parse(secret: str) -> PlivoCredentials:
    """Read the secret.

    Raises
    ------
    SecretInvalid
        It is not of the documented form; the message names the field, never a value.

    """
    try:
        document = json.loads(secret)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise SecretInvalid('the Plivo secret is not JSON like {"auth_id": …, "auth_token": …}')
    for name, pattern in (("auth_id", _AUTH_ID), ("auth_token", _AUTH_TOKEN)):
        value = document.get(name)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            rule = "must be a string of printable ASCII characters without spaces"
            raise SecretInvalid(f"the Plivo secret: {name} {rule}")
    return PlivoCredentials(document["auth_id"], document["auth_token"])
