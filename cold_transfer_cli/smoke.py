"""Checks of a deployed stack that do not act on a call."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import NamedTuple

from cold_transfer.action import NO_ACTION
from cold_transfer.masking import masked
from cold_transfer_cli.dead_letters import Invoked
from cold_transfer_cli.target import Target

#: The stack's output with each function's name.
FUNCTIONS = {
    "webhook": "WebhookFunctionName",
    "event": "EventFunctionName",
    "reconcile": "ReconcileFunctionName",
    "outcomes": "OutcomesFunctionName",
}


class Check(NamedTuple):
    """The result of one check; ``text`` is its line for the operator."""

    passed: bool
    text: str


def checks(on: Target, patience: float) -> Iterator[Check]:
    """Every check, as soon as it is done.

    patience
        How many seconds to wait for the API: a new one's host name takes time to resolve.
    """
    status, cause = _without_credential(f"{on.api_url()}/v1/actions/{NO_ACTION}", patience)
    # This answer proves that the function could read the clients secret.
    yield Check(
        cause == "unauthorized",
        f"webhook: a request without a credential gets {f'{status} ' if status else ''}{cause}",
    )
    for name, output in FUNCTIONS.items():
        yield _self_check(name, on.invoke(output, {"self_check": True}))


def _self_check(function: str, invoked: Invoked) -> Check:
    try:
        report = {} if invoked.raised else json.loads(invoked.text)
        passed, checked, failed = report["ok"] is True, report["checked"], report["failed"]
        shown = "; ".join(f"{what}: {why}" for what, why in failed.items()) or ", ".join(checked)
    except (AttributeError, KeyError, TypeError):
        return Check(passed=False, text=f"{function} function: no report: {invoked.shown()}")
    return Check(passed, f"{function} function: {masked(shown)}")


def _without_credential(url: str, patience: float) -> tuple[int, str]:
    """The answer's status and problem type; 0 and the reason if there is no answer."""
    until = time.monotonic() + patience
    while True:
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310  the stack's own address
                return answer.status, "no problem"
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, _problem(refusal.read())
        except OSError as error:
            if time.monotonic() > until:
                return 0, f"no answer ({error})"
        time.sleep(2)


def _problem(text: bytes) -> str:
    try:
        return str(json.loads(text)["type"]).rpartition(":")[2]
    except (ValueError, KeyError, TypeError):
        return "and no problem+json"
