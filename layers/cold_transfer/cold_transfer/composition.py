"""The composition root: the components that every function needs.

``entrypoints.components`` has those of the two entry points. Building them makes clients but no
calls and no connections, so it may run at init.
"""

import functools
import os
from typing import TYPE_CHECKING, Any

import boto3
from botocore import handlers
from botocore.config import Config

from cold_transfer.deadline import now_ms
from cold_transfer.ledger.ledger import Ledger, LedgerPolicy
from cold_transfer.ledger.table import Table
from cold_transfer.settings import Settings
from cold_transfer.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Callable

# botocore's own User-Agent takes an eighth of every call's CPU, and so does its parameter
# validation; mypy and DynamoDB check the arguments anyway.
_COMMON = Config(
    user_agent=f"plivo-cold-transfer Boto3/{boto3.__version__}", parameter_validation=False
)

#: botocore's defaults give up on a table that does not answer after 10 attempts and 25 s. A live
#: call cannot wait that long, and the invocation must still be running then. These are three
#: attempts with pauses of up to 1 s and 2 s: 12 s at most, plus 2 s for a silent name server.
USUAL = _COMMON.merge(
    Config(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 3})
)

#: For a settle that failed with the usual client: one attempt on its own connection. The service
#: does the retries.
URGENT = _COMMON.merge(
    Config(
        connect_timeout=0.3, read_timeout=0.6, retries={"mode": "standard", "total_max_attempts": 1}
    )
)


def client(service: str, config: Config = USUAL) -> Any:  # noqa: ANN401  boto3 makes its classes at run time
    """A client with time-outs that fit an invocation; region and endpoint as in the environment."""
    make: Callable[..., Any] = boto3.client  # its overloads ask for a literal
    return make(service, region_name=os.environ.get("AWS_REGION"), config=config)


#: The events and handlers by which botocore adds headers that DynamoDB ignores: for Lambda's
#: recursion detection, which covers S3, SNS and SQS, and the attempt's number. Together they take
#: 7 % of a call's CPU.
_UNREAD = (
    ("before-call", handlers.add_recursion_detection_header),
    ("request-created", handlers.add_retry_headers),
)


def table_client(config: Config = USUAL) -> Any:  # noqa: ANN401  boto3 makes its classes at run time
    """A client for the ledger's table, without headers that DynamoDB does not read."""
    made = client("dynamodb", config)
    for event, handler in _UNREAD:
        made.meta.events.unregister(event, handler)
    return made


@functools.cache
def settings() -> Settings:
    return Settings.from_environment(os.environ)


def ledger(telemetry: Telemetry, urgent: Any = None) -> Ledger:  # noqa: ANN401  boto3's class
    """The ledger; ``urgent`` is the DynamoDB client for a settle that failed before, if any."""
    chosen = settings()
    name = chosen.ledger_table
    return Ledger(
        Table(table_client(), name),
        LedgerPolicy(
            duplicate_window=chosen.duplicate_window_seconds * 1000,
            unknown_window=chosen.unknown_window_seconds * 1000,
            record_seconds=chosen.record_days * 86_400,
        ),
        now_ms,
        urgent=Table(urgent, name) if urgent is not None else None,
        abandoned=telemetry.abandoned,
    )
