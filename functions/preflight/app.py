"""Before a new version of the entry points gets traffic: whether it can work, without moving a call.

CodeDeploy calls this with a deployment to report on; a person with ``{"check": true}``. Everything
is tried, so that one report names all that is wrong.
"""

import functools
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import boto3
from botocore.config import Config

from cold_transfer import composition, start_up
from cold_transfer.auth.clients import Clients
from cold_transfer.aws.secrets import CachedSecret
from cold_transfer.deadline import Deadline
from cold_transfer.entrypoints.invocation import correlation_id
from cold_transfer.errors import ColdTransferError
from cold_transfer.plivo import credentials
from cold_transfer.plivo.client import PlivoClient
from cold_transfer.telemetry import Telemetry

FUNCTION = "preflight"
NO_ACTION = "0" * 64  # an Action-Id that no request has
CONNECT_SECONDS = 5.0

# A new version starts cold. One attempt: CodeDeploy asks once, and a person can ask again.
_CONFIG = Config(connect_timeout=2, read_timeout=8, retries={"total_max_attempts": 1})

type Check = Callable[[], object]


class CheckFailed(Exception):
    """What was found instead of what should be; safe to log."""


class Preflight:
    """Runs every check, and reports.

    checks
        By name; a check passes unless it raises.
    report
        Takes CodeDeploy's two ids and "Succeeded" or "Failed".
    """

    def __init__(
        self,
        checks: Mapping[str, Check],
        report: Callable[[str, str, str], object],
        telemetry: Telemetry,
    ) -> None:
        self._checks = checks
        self._report = report
        self._telemetry = telemetry

    def __call__(self, event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401
        """Say ``{"ok": …, "checked": [names], "failed": {name: reason}}``."""
        with self._telemetry.invocation(correlation_id(getattr(context, "aws_request_id", None))):
            failed = {}
            for name, check in self._checks.items():
                reason = _reason(check)
                if reason is None:
                    self._telemetry.info("check passed", check=name)
                else:
                    self._telemetry.error("check failed", check=name, reason=reason)
                    failed[name] = reason
            if "LifecycleEventHookExecutionId" in event:
                self._report(
                    event["DeploymentId"],
                    event["LifecycleEventHookExecutionId"],
                    "Failed" if failed else "Succeeded",
                )
        return {"ok": not failed, "checked": list(self._checks), "failed": failed}


def _reason(check: Check) -> str | None:
    try:
        check()
    except (CheckFailed, ColdTransferError) as error:
        return str(error)
    except Exception as error:  # noqa: BLE001  whatever it is, it is what the report is for
        return type(error).__name__  # its text may quote what must not be logged
    return None


def plivo_takes_connections(client: PlivoClient) -> None:
    """TCP and TLS, and not a byte of a request."""
    if client.connect(Deadline.after(CONNECT_SECONDS)) is not None:
        raise CheckFailed("no connection to Plivo")
    client.close()


def webhook_refuses_strangers(functions: Any, version: str) -> None:  # noqa: ANN401  boto3's
    """To answer 401, a version must have started and read the clients secret by its own right."""
    reply = functions.invoke(FunctionName=version, Payload=b'{"multiValueHeaders": {}}')
    answer = json.loads(reply["Payload"].read())
    if "FunctionError" in reply:
        raise CheckFailed(f"raised {answer.get('errorType')}")
    if answer.get("statusCode") != 401:  # noqa: PLR2004  clearer than a name for it
        raise CheckFailed(f"answered {answer.get('statusCode')} to a request without a credential")


def event_entry_point_refuses_nothing_at_all(functions: Any, version: str) -> None:  # noqa: ANN401  boto3's
    """To find an empty event faulty, a version must have started and read its settings."""
    reply = functions.invoke(FunctionName=version, Payload=b"{}")
    said = json.loads(reply["Payload"].read())
    if "FunctionError" not in reply:
        raise CheckFailed("took an empty event for a request")
    if "detail-type: must be" not in str(said.get("errorMessage")):
        raise CheckFailed(f"raised {said.get('errorType')} for an empty event")


@functools.cache
def _function() -> Preflight:
    chosen = composition.settings()
    telemetry = Telemetry(FUNCTION)
    functions = boto3.client("lambda", config=_CONFIG)
    manager = composition.client("secretsmanager")
    plivo = PlivoClient(chosen.plivo_base_url, aws_endpoint_url=chosen.aws_endpoint_url)
    ledger = composition.ledger(telemetry)
    versions = os.environ["NEW_WEBHOOK_VERSION"], os.environ["NEW_EVENT_VERSION"]

    def read(name: str, parse: Callable[[str], object]) -> object:
        # new each time: what an earlier check read would be served through an outage
        return CachedSecret(manager, name, parse, 1).refresh()

    def report(deployment: str, execution: str, status: str) -> None:
        boto3.client("codedeploy", config=_CONFIG).put_lifecycle_event_hook_execution_status(
            deploymentId=deployment,
            lifecycleEventHookExecutionId=execution,
            status=status,
        )

    return Preflight(
        {
            "the Plivo secret is there and valid": lambda: read(
                chosen.plivo_secret_name, credentials.parse
            ),
            "the clients secret is there and valid": lambda: read(
                chosen.clients_secret_name, Clients.parse
            ),
            "the ledger answers": lambda: ledger.look(NO_ACTION),
            "Plivo takes connections": lambda: plivo_takes_connections(plivo),
            "the new webhook entry point works": lambda: webhook_refuses_strangers(
                functions, versions[0]
            ),
            "the new event entry point works": lambda: event_entry_point_refuses_nothing_at_all(
                functions, versions[1]
            ),
        },
        report,
        telemetry,
    )


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401  Lambda's own
    """Check, and report to CodeDeploy if it was CodeDeploy that asked."""
    return _function()(event, context)


start_up.finish(_function)  # nothing is fetched, nothing connected
