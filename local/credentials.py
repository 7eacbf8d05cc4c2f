"""Credentials of the local stack. They work nowhere else, so they are not secret."""

import json
from typing import Any

PLIVO_AUTH_ID = "MALOCALPLIVOACCOUNT0"
PLIVO_AUTH_TOKEN = "local-plivo-token-not-a-secret"  # noqa: S105 -- as its text says

#: ``limited`` may use one PHLO and request cold transfers only; ``keyed`` must send a key. The
#: others have no such limits.
CLIENTS: dict[str, dict[str, Any]] = {
    "crm": {
        "signing_secrets": ["whsec_bG9jYWwtc3RhY2stY3JtLXNpZ25pbmctc2VjcmV0ISE="],
        "actions": ["*"],
    },
    "phlo": {"tokens": ["local-phlo-token-not-a-secret-0001"], "actions": ["*"]},
    "MALOCALSDKCLIENT0001": {
        "tokens": ["local-sdk-token-not-a-secret-0000001"],
        "actions": ["*"],
    },
    "limited": {
        "tokens": ["local-limited-token-not-a-secret-01"],
        "phlo_ids": ["00000000-0000-4000-8000-00000000beef"],
    },
    "keyed": {
        "tokens": ["local-keyed-token-not-a-secret-0001"],
        "actions": ["*"],
        "require_key": True,
    },
}


def secrets(stack: str) -> dict[str, str]:
    """The texts of the two secrets that a stack of this name needs, by name: Plivo's, clients'."""
    plivo = {"auth_id": PLIVO_AUTH_ID, "auth_token": PLIVO_AUTH_TOKEN}
    return {
        f"{stack}/plivo": json.dumps(plivo),
        f"{stack}/clients": json.dumps({"clients": CLIENTS}),
    }
