"""The local stack's credentials have the form of real ones."""

import re

from local import credentials


def test_the_local_credentials_have_the_documented_form() -> None:
    assert re.fullmatch(r"(M|S)A[A-Z0-9]{18}", credentials.PLIVO_AUTH_ID)
    tokens = [token for entry in credentials.CLIENTS.values() for token in entry.get("tokens", [])]
    assert len(set(tokens)) == 4
    assert all(len(token) >= 32 for token in tokens)
