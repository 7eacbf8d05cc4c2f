"""The composition root of the two entry points: ledger, secrets, Plivo and service.

It makes clients and one SSL context, but no calls and no connections.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from cold_transfer import composition, reader, service
from cold_transfer.auth import clients_secret
from cold_transfer.auth.clients import Clients
from cold_transfer.aws.secrets import CachedSecret, SecretsManager
from cold_transfer.ledger.ledger import Ledger
from cold_transfer.plivo import credentials as plivo_secret
from cold_transfer.plivo.client import PlivoClient
from cold_transfer.reader import Reader
from cold_transfer.service import ActionService, Credentials, Timing
from cold_transfer.settings import Settings
from cold_transfer.telemetry import Telemetry


class Plivo(service.Plivo, reader.Plivo, Protocol):
    """The part of ``plivo.client.PlivoClient`` that is used."""


class Components(NamedTuple):
    """What both entry points are made of."""

    settings: Settings
    telemetry: Telemetry
    ledger: Ledger
    service: ActionService
    reader: Reader
    clients: CachedSecret[Clients]


def deployed(entry_point: str) -> Components:
    """The components of ``entry_point``, from the environment.

    Raises
    ------
    SettingsInvalid
        An environment variable is missing or out of bounds.
    ValueError
        ``PLIVO_BASE_URL`` is not an address that credentials may be sent to.
    """
    telemetry = Telemetry(entry_point)
    urgent = composition.table_client(composition.URGENT)
    return compose(
        composition.settings(),
        telemetry,
        composition.ledger(telemetry, urgent),
        composition.client("secretsmanager"),
    )


def compose(  # noqa: PLR0913  a test may replace each of them
    settings: Settings,
    telemetry: Telemetry,
    ledger: Ledger,
    manager: SecretsManager,
    *,
    plivo: Plivo | None = None,
    credentials: Credentials | None = None,
    timing: Timing | None = None,
) -> Components:
    """Put an entry point together.

    manager
        The Secrets Manager client.
    plivo, credentials, timing
        Made from the settings unless given.
    """

    def secret[T](name: str, parse: Callable[[str], T]) -> CachedSecret[T]:
        return CachedSecret(manager, name, parse, settings.secrets_cache_seconds)

    chosen = plivo or PlivoClient(
        settings.plivo_base_url, aws_endpoint_url=settings.aws_endpoint_url
    )
    known = credentials or secret(settings.plivo_secret_name, plivo_secret.parse)
    host = urlsplit(settings.plivo_base_url).hostname or "plivo"
    seconds = settings.plivo_deadline_seconds
    return Components(
        settings,
        telemetry,
        ledger,
        ActionService(
            ledger,
            chosen,
            known,
            telemetry,
            plivo_host=host,
            plivo_seconds=seconds,
            max_age=settings.max_request_age_seconds * 1000,
            timing=timing or Timing(),
        ),
        Reader(chosen, known, telemetry, plivo_host=host, plivo_seconds=seconds),
        secret(settings.clients_secret_name, clients_secret.parse),
    )
