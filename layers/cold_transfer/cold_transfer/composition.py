"""The composition root: what a function is made of, built once and cached.

Building makes clients and one SSL context; it fetches nothing and connects to nothing, so that it
may run at init and be part of a snapshot.
"""

import functools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

from cold_transfer import credentials
from cold_transfer.callers import Callers
from cold_transfer.deadline import now_ms
from cold_transfer.ledger import Ledger, LedgerPolicy
from cold_transfer.plivo import PlivoClient
from cold_transfer.secrets import CachedSecret
from cold_transfer.service import TransferService
from cold_transfer.settings import Settings
from cold_transfer.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Callable

    from cold_transfer.plivo import PlivoCredentials

# Building botocore's own User-Agent anew takes an eighth of every call's CPU, and so does checking
# arguments that the type checker and DynamoDB check anyway.
_COMMON = Config(
    user_agent=f"plivo-cold-transfer Boto3/{boto3.__version__}", parameter_validation=False
)

#: botocore's defaults took 25 s and 10 attempts to give up on a table that does not answer; a live
#: call does not wait that long, and the invocation has to outlive its ledger. 12 s at most: three
#: attempts, with pauses of up to 1 s and 2 s between them.
USUAL = _COMMON.merge(
    Config(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 3})
)

#: For the settle when little time is left: one attempt of 0.9 s at most. The service tries again.
URGENT = _COMMON.merge(
    Config(
        connect_timeout=0.3, read_timeout=0.6, retries={"mode": "standard", "total_max_attempts": 1}
    )
)


@dataclass(frozen=True, slots=True)
class Parts:
    """What both doors stand on."""

    settings: Settings
    telemetry: Telemetry
    ledger: Ledger
    service: TransferService
    callers: CachedSecret[Callers]


def client(service: str, config: Config = USUAL) -> Any:  # noqa: ANN401  boto3 makes its classes at run time
    """A client with time-outs that fit an invocation; region and address are the environment's."""
    make: Callable[..., Any] = boto3.client  # its overloads ask for a literal
    return make(service, region_name=os.environ.get("AWS_REGION"), config=config)


@functools.cache
def settings() -> Settings:
    return Settings.from_environment(os.environ)


def ledger(telemetry: Telemetry, urgent: Any = None) -> Ledger:  # noqa: ANN401  boto3's class
    """The ledger; ``urgent`` is the client for a settle in a hurry, if attempts are made."""
    chosen = settings()
    return Ledger(
        client("dynamodb"),
        chosen.ledger_table,
        LedgerPolicy(
            duplicate_window=chosen.duplicate_window_seconds * 1000,
            unknown_window=chosen.unknown_window_seconds * 1000,
            record_seconds=chosen.record_days * 86_400,
        ),
        now_ms,
        urgent=urgent,
        found_dead=telemetry.found_dead,
    )


def parts(door: str) -> Parts:
    """Everything that ``door`` needs.

    Raises
    ------
    SettingsInvalid
        A variable of the environment is missing or out of its bounds.
    ValueError
        ``PLIVO_BASE_URL`` is not an address that credentials may be sent to.

    """
    # Imported here: the reconciler and the publisher of outcomes read no secrets
    from aws_lambda_powertools.utilities.parameters.secrets import SecretsProvider  # noqa: PLC0415

    chosen = settings()
    telemetry = Telemetry(door)
    provider = SecretsProvider(boto3_client=client("secretsmanager"))

    def secret[T](name: str, parse: "Callable[[str], T]") -> CachedSecret[T]:
        return CachedSecret(provider, name, parse, chosen.secrets_cache_seconds)

    plivo_secret: CachedSecret[PlivoCredentials] = secret(
        chosen.plivo_secret_name, credentials.parse
    )
    book = ledger(telemetry, client("dynamodb", URGENT))
    return Parts(
        chosen,
        telemetry,
        book,
        TransferService(
            book,
            PlivoClient(chosen.plivo_base_url, aws_endpoint_url=chosen.aws_endpoint_url),
            plivo_secret,
            telemetry,
            plivo_host=urlsplit(chosen.plivo_base_url).hostname or "plivo",
            plivo_seconds=chosen.plivo_deadline_seconds,
            max_age=chosen.max_request_age_seconds * 1000,
            clock=now_ms,
        ),
        secret(chosen.callers_secret_name, Callers.parse),
    )
