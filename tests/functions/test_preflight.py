"""The preflight check: says what a new version cannot do, and never moves a call to find out."""

import io
import json
from typing import Any

import pytest

from cold_transfer.action import Verdict
from cold_transfer.causes import Cause
from cold_transfer.errors import LedgerUnavailable, SecretInvalid
from cold_transfer.telemetry import Telemetry
from tests.support import fakes

app = fakes.entry_point("preflight")

CODE_DEPLOY = {"DeploymentId": "d-ABCDEF123", "LifecycleEventHookExecutionId": "execution-1"}


class Checking:
    """The check with made-up findings; ``reports`` is what CodeDeploy heard."""

    def __init__(self, **failures: Exception) -> None:
        self.ran: list[str] = []
        self.reports: list[tuple[str, str, str]] = []
        checks = {name: self._check(name, failures.get(name)) for name in ("secret", "ledger")}
        telemetry = Telemetry("preflight", fakes.Xray())
        self._preflight = app.Preflight(checks, self._report, telemetry)

    def ask(self, event: dict[str, Any]) -> dict[str, Any]:
        said: dict[str, Any] = self._preflight(event, None)
        return said

    def _report(self, deployment: str, execution: str, status: str) -> None:
        self.reports.append((deployment, execution, status))

    def _check(self, name: str, failure: Exception | None) -> Any:
        def check() -> None:
            self.ran.append(name)
            if failure is not None:
                raise failure

        return check


class Functions:
    """Lambda's Invoke, with one answer."""

    def __init__(self, payload: object, *, raised: bool = False) -> None:
        self._payload = payload
        self._raised = raised
        self.asked: list[tuple[str, Any]] = []

    def invoke(self, **call: Any) -> dict[str, Any]:
        self.asked.append((call["FunctionName"], json.loads(call["Payload"])))
        reply = {"Payload": io.BytesIO(json.dumps(self._payload).encode())}
        return {**reply, "FunctionError": "Unhandled"} if self._raised else reply


class Plivo:
    def __init__(self, verdict: Verdict | None) -> None:
        self._verdict = verdict
        self.calls: list[str] = []

    def connect(self, _: object) -> Verdict | None:
        self.calls.append("connect")
        return self._verdict

    def close(self) -> None:
        self.calls.append("close")


def test_codedeploy_hears_that_a_version_works_that_passes_everything() -> None:
    checking = Checking()

    said = checking.ask(CODE_DEPLOY)

    assert said == {"ok": True, "checked": ["secret", "ledger"], "failed": {}}
    assert checking.reports == [("d-ABCDEF123", "execution-1", "Succeeded")]


def test_one_failure_fails_the_deployment_and_the_other_checks_run_all_the_same() -> None:
    checking = Checking(secret=SecretInvalid("the Plivo secret: auth_id must be a string"))

    with fakes.emitted() as output:
        said = checking.ask(CODE_DEPLOY)

    assert checking.ran == ["secret", "ledger"]
    assert said["failed"] == {"secret": "the Plivo secret: auth_id must be a string"}
    assert checking.reports == [("d-ABCDEF123", "execution-1", "Failed")]
    [failed] = [line for line in output.logs() if line["level"] == "ERROR"]
    assert (failed["check"], failed["reason"]) == ("secret", said["failed"]["secret"])


def test_a_person_gets_the_answer_and_codedeploy_is_left_alone() -> None:
    checking = Checking(ledger=LedgerUnavailable("ReadTimeoutError"))

    said = checking.ask({"check": True})

    assert (said["ok"], said["failed"]) == (False, {"ledger": "ReadTimeoutError"})
    assert checking.reports == []


def test_what_an_unforeseen_error_says_is_kept_to_itself() -> None:
    checking = Checking(secret=ValueError("whsec_hunter2"))

    with fakes.emitted() as output:
        said = checking.ask({"check": True})

    assert said["failed"] == {"secret": "ValueError"}
    assert "hunter2" not in json.dumps(output.logs())


def test_a_webhook_version_that_refuses_a_stranger_works() -> None:
    functions = Functions({"statusCode": 401, "body": ""})

    app.webhook_refuses_strangers(functions, "arn:webhook:7")

    # Without a credential there is nothing that could be sent.
    assert functions.asked == [("arn:webhook:7", {"multiValueHeaders": {}})]


@pytest.mark.parametrize(
    ("functions", "reason"),
    [
        (Functions({"statusCode": 503}), "answered 503"),
        (Functions({"statusCode": 200}), "answered 200"),
        (Functions({"errorType": "SettingsInvalid"}, raised=True), "raised SettingsInvalid"),
    ],
)
def test_a_webhook_version_that_does_anything_else_does_not(
    functions: Functions, reason: str
) -> None:
    with pytest.raises(app.CheckFailed, match=reason):
        app.webhook_refuses_strangers(functions, "arn:webhook:7")


def test_an_event_version_that_refuses_an_empty_event_works() -> None:
    refusal = {"errorType": "ContractViolated", "errorMessage": "detail-type: must be Cold …"}
    functions = Functions(refusal, raised=True)

    app.event_entry_point_refuses_nothing_at_all(functions, "arn:event:7")

    assert functions.asked == [("arn:event:7", {})]


@pytest.mark.parametrize(
    ("functions", "reason"),
    [
        (Functions(None), "took an empty event"),
        (Functions({"errorType": "ImportError", "errorMessage": "x"}, raised=True), "ImportError"),
    ],
)
def test_an_event_version_that_does_anything_else_does_not(
    functions: Functions, reason: str
) -> None:
    with pytest.raises(app.CheckFailed, match=reason):
        app.event_entry_point_refuses_nothing_at_all(functions, "arn:event:7")


def test_plivo_is_connected_to_and_sent_nothing() -> None:
    plivo = Plivo(None)

    app.plivo_takes_connections(plivo)

    assert plivo.calls == ["connect", "close"]


def test_a_plivo_out_of_reach_fails_the_check() -> None:
    unreachable = Verdict(Cause.PLIVO_UNREACHABLE)

    with pytest.raises(app.CheckFailed, match="no connection to Plivo"):
        app.plivo_takes_connections(Plivo(unreachable))
