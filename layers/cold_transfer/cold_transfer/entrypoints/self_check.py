"""A function's check of what it needs, with its own role and from its own network.

All checks run at once, so that one invocation reports everything that is wrong. No action is sent,
and Plivo gets no byte of a request. The outcomes function puts an event on the bus that is not an
outcome.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cold_transfer import composition
from cold_transfer.action import NO_ACTION
from cold_transfer.auth import clients_secret
from cold_transfer.aws.errors import reason
from cold_transfer.aws.secrets import CachedSecret
from cold_transfer.deadline import Deadline
from cold_transfer.errors import ColdTransferError
from cold_transfer.plivo import credentials
from cold_transfer.plivo.client import PlivoClient
from cold_transfer.settings import Settings
from cold_transfer.telemetry import Telemetry

CONNECT_SECONDS = 10.0

type Check = Callable[[], object]


class CheckFailed(Exception):
    """What went wrong; safe to show."""


def report(function: str) -> dict[str, Any]:
    """``{"ok": …, "checked": [names], "failed": {name: reason}}``, without a secret in it."""
    checks = dict(_checks(function))
    with ThreadPoolExecutor(len(checks)) as pool:
        reasons = zip(checks, pool.map(_reason, checks.values()), strict=True)
        failed = {name: found for name, found in reasons if found is not None}
    return {"ok": not failed, "checked": list(checks), "failed": failed}


def _checks(function: str) -> Iterator[tuple[str, Check]]:
    """The checks of ``function``. Built first: making boto3 clients is not thread-safe."""
    settings = composition.settings()
    if function in ("webhook", "event"):
        manager = composition.client("secretsmanager")
        # not the function's own objects, which use cached values during an outage
        yield (
            "the Plivo secret",
            CachedSecret(manager, settings.plivo_secret_name, credentials.parse, 1).refresh,
        )
        if function == "webhook":
            yield (
                "the clients secret",
                CachedSecret(
                    manager, settings.clients_secret_name, clients_secret.parse, 1
                ).refresh,
            )
        plivo = PlivoClient(settings.plivo_base_url, aws_endpoint_url=settings.aws_endpoint_url)
        yield "a connection to Plivo", lambda: _connect(plivo)
    if function == "outcomes":
        bus = composition.client("events")
        yield "the event bus", lambda: _publish(bus, settings)
    else:
        ledger = composition.ledger(Telemetry(function))
        yield "the ledger", lambda: ledger.look(NO_ACTION)
    if function == "reconcile":
        yield "the index of open actions", lambda: next(ledger.overdue(), None)
        yield "the index of unresolved outcomes", lambda: next(ledger.unresolved(), None)


def _publish(bus: Any, settings: Settings) -> None:  # noqa: ANN401  boto3's
    """Put an event with its own source, which consumers of outcome events do not get."""
    entry = {
        "Source": f"{settings.outcome_source}.self-check",
        "DetailType": "Self Check",
        "Detail": "{}",
        "EventBusName": settings.event_bus_name,
    }
    reply = bus.put_events(Entries=[entry])
    if reply["FailedEntryCount"]:
        raise CheckFailed(reply["Entries"][0]["ErrorCode"])


def _connect(plivo: PlivoClient) -> None:
    plivo.connect(Deadline.after(CONNECT_SECONDS))
    plivo.close()


def _reason(check: Check) -> str | None:
    try:
        check()
    except (CheckFailed, ColdTransferError) as error:
        return str(error)
    except Exception as error:  # noqa: BLE001  the report shows any failure
        return reason(error)  # without its text, which may quote a secret
    return None
