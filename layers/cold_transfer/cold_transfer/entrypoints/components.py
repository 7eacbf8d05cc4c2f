"""The composition root of the two entry points: ledger, secrets, Plivo, and the service on them.

Beside clients it makes one SSL context; it fetches nothing and connects to nothing.
"""

from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

from cold_transfer import composition
from cold_transfer.auth.clients import Clients
from cold_transfer.aws.secrets import CachedSecret
from cold_transfer.deadline import now_ms
from cold_transfer.ledger.ledger import Ledger
from cold_transfer.plivo import credentials
from cold_transfer.plivo.client import PlivoClient, PlivoCredentials
from cold_transfer.reader import Reader
from cold_transfer.service import ActionService
from cold_transfer.settings import Settings
from cold_transfer.telemetry import Telemetry


class Parts(NamedTuple):
    """What both entry points stand on."""

    settings: Settings
    telemetry: Telemetry
    ledger: Ledger
    service: ActionService
    reader: Reader
    clients: CachedSecret[Clients]


def parts(entry_point: str) -> Parts:
    """Everything that ``entry_point`` needs.

    Raises
    ------
    SettingsInvalid
        A variable of the environment is missing or out of its bounds.
    ValueError
        ``PLIVO_BASE_URL`` is not an address that credentials may be sent to.

    """
    chosen = composition.settings()
    telemetry = Telemetry(entry_point)
    manager = composition.client("secretsmanager")

    def secret[T](name: str, parse: Callable[[str], T]) -> CachedSecret[T]:
        return CachedSecret(manager, name, parse, chosen.secrets_cache_seconds)

    plivo_secret: CachedSecret[PlivoCredentials] = secret(
        chosen.plivo_secret_name, credentials.parse
    )
    ledger = composition.ledger(telemetry, composition.table_client(composition.URGENT))
    plivo = PlivoClient(chosen.plivo_base_url, aws_endpoint_url=chosen.aws_endpoint_url)
    plivo_host = urlsplit(chosen.plivo_base_url).hostname or "plivo"
    plivo_seconds = chosen.plivo_deadline_seconds
    return Parts(
        chosen,
        telemetry,
        ledger,
        ActionService(
            ledger,
            plivo,
            plivo_secret,
            telemetry,
            plivo_host=plivo_host,
            plivo_seconds=plivo_seconds,
            max_age=chosen.max_request_age_seconds * 1000,
            clock=now_ms,
        ),
        Reader(plivo, plivo_secret, telemetry, plivo_host=plivo_host, plivo_seconds=plivo_seconds),
        secret(chosen.clients_secret_name, Clients.parse),
    )
