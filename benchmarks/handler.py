"""CPU of a warm transfer against a bare urllib3 POST, in one process with the built layer.

Run by ``python -m benchmarks`` with the layer on PYTHONPATH, outside any virtual environment:
``python handler.py APP PORT CA ROUNDS CALLS OUT``. The ledger is taken out: it is a network away,
and its cost is boto3's.
"""

import importlib.util
import json
import ssl
import sys
import time
from pathlib import Path
from typing import Any

import urllib3

from cold_transfer import composition
from cold_transfer.callers import Callers
from cold_transfer.credentials import parse
from cold_transfer.deadline import now_ms
from cold_transfer.ledger import Claim
from cold_transfer.plivo import PlivoClient
from cold_transfer.secrets import CachedSecret
from cold_transfer.service import TransferService
from cold_transfer.settings import Settings
from cold_transfer.telemetry import Telemetry
from cold_transfer.transfer import TransferRequest, Verdict

TOKEN = "benchmark-token-not-a-secret-000001"  # noqa: S105  made up
PLIVO = json.dumps({"auth_id": "MABENCHMARKACCOUNT00", "auth_token": "benchmark-token"})
CALLERS = json.dumps({"callers": {"bench": {"tokens": [TOKEN]}}})
PHLO_ID = "3f1c8a52-6d0e-4b7a-9c21-5e8d7f60a1b2"
NODE_ID = "9b2e4d71-0c5f-4e38-8a16-7d3f5b9c2e04"
FIELDS = {"action": "cold_transfer", "to": "+14152225555", "role": "agent"}
BODY = json.dumps({**FIELDS, "trigger_source": "+14152223333"})


class NoLedger:
    """Every request is new, and nothing is kept."""

    def claim(self, request: TransferRequest, lease_until: int) -> Claim:  # noqa: ARG002
        return Claim(request.transfer_id(), "owner", 1, "", now_ms(), None)

    def point(self, claim: Claim) -> None:
        pass

    def mark(self, claim: Claim, lease_until: int) -> None:
        pass

    def settle(self, claim: Claim, verdict: Verdict) -> None:
        pass


class Texts:
    """Secrets Manager without the network."""

    def __init__(self, texts: dict[str, str]) -> None:
        self._texts = texts

    def get(self, name: str, *, max_age: int | None = None, force_fetch: bool = False) -> str:  # noqa: ARG002
        return self._texts[name]


def webhook(app: Path, base_url: str, context: ssl.SSLContext) -> Any:  # noqa: ANN401
    """The door as deployed, on a real Plivo client."""
    spec = importlib.util.spec_from_file_location("app", app)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(app)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    settings = Settings("table", base_url, "plivo", "callers", "source")
    telemetry = Telemetry("webhook")
    provider = Texts({"plivo": PLIVO, "callers": CALLERS})
    service = TransferService(
        NoLedger(),
        PlivoClient(base_url, ssl_context=context),
        CachedSecret(provider, "plivo", parse, 300),
        telemetry,
        plivo_host="localhost",
        plivo_seconds=10,
        max_age=60_000,
        clock=now_ms,
    )
    ledger: Any = None
    callers = CachedSecret(provider, "callers", Callers.parse, 300)
    return module.Webhook(composition.Parts(settings, telemetry, ledger, service, callers))


def event() -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    return {
        "resource": "/v1/phlo/{phlo_id}/multi_party_call/{node_id}",
        "httpMethod": "POST",
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "pathParameters": {"phlo_id": PHLO_ID, "node_id": NODE_ID},
        "requestContext": {"requestId": "5b2b7a1e-7d4b-4f6a-8a34-0d3f1a1c9e55"},
        "body": BODY,
        "isBase64Encoded": False,
    }


def main(arguments: list[str]) -> None:
    app, port, ca, rounds, calls, out = arguments
    base_url = f"https://localhost:{port}"
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    door = webhook(Path(app), base_url, context)
    pool = urllib3.HTTPSConnectionPool("localhost", int(port), ssl_context=context)
    url = f"/v1/phlo/{PHLO_ID}/multi_party_call/{NODE_ID}"
    headers = urllib3.make_headers(basic_auth="a:b") | {"Content-Type": "application/json"}
    request = event()

    def transfer() -> None:
        if door(request, None)["statusCode"] != 201:  # noqa: PLR2004  what the peer answers
            raise AssertionError

    def post() -> None:
        answer = pool.request(
            "POST", url, body=BODY, headers=headers, retries=False, redirect=False
        )
        if answer.status != 201:  # noqa: PLR2004  what the peer answers
            raise AssertionError

    def cpu(action: Any) -> float:  # noqa: ANN401  one of the two above
        started = time.process_time()
        for _ in range(int(calls)):
            action()
        return (time.process_time() - started) / int(calls) * 1e6

    cpu(transfer), cpu(post)  # warm
    measured = [(cpu(transfer), cpu(post)) for _ in range(int(rounds))]
    Path(out).write_text(json.dumps(measured))


if __name__ == "__main__":
    main(sys.argv[1:])
