"""New credentials authenticate their client, and are never repeated."""

import json
from datetime import UTC, datetime

from standardwebhooks import Webhook

from cold_transfer.auth import clients_secret
from cold_transfer_cli import clients

BODY = "{}"


def test_new_credentials_authenticate_their_client() -> None:
    entries: clients.Entries = {}
    made = clients.fresh([*clients.CREDENTIALS])
    clients.adding("crm", made, [], ["*"])(entries)
    now = datetime.now(UTC)
    signature = Webhook(made["signing_secrets"]).sign("msg-1", now, BODY)
    signed = {
        "webhook-id": ["msg-1"],
        "webhook-timestamp": [str(int(now.timestamp()))],
        "webhook-signature": [signature],
    }

    parsed = clients_secret.parse(json.dumps({"clients": entries}))

    for headers in (signed, {"authorization": [f"Bearer {made['tokens']}"]}):
        identity = parsed.authenticate(headers, BODY.encode(), now.timestamp())
        assert identity.client.name == "crm"


def test_no_credential_is_generated_twice() -> None:
    made = [clients.fresh([*clients.CREDENTIALS]) for _ in range(100)]

    for kind in clients.CREDENTIALS:
        assert len({one[kind] for one in made}) == 100
