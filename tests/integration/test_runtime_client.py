"""The artifact under AWS's own runtime client, at every log level that can be set in Lambda.

The client sets the root logger's level, and Lambda drops the lines below it. At every level, no
credential and no number is logged, and the alarms' metrics and the line of an unknown outcome still
reach CloudWatch.
"""

import base64
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from cold_transfer.plivo.client import PlivoCredentials
from local.build import ROOT
from local.credentials import CLIENTS, PLIVO_AUTH_ID, PLIVO_AUTH_TOKEN, secrets
from tests.functions.test_nothing_leaks import spellings
from tests.support.fault_server import ACCEPTS, FAULTS, FaultServer
from tests.support.ledgers import LEASE_MS, Clock, items, ledger_on, request_of
from tests.support.log_filter import LEVELS, is_rfc_3339, level_of, passes
from tests.support.runtime_api import Environment, Result, Written

#: The frame type of a line of level INFO; that of DEBUG is lower.
LEAST_FRAME = 0xA55A000E

AWS_SECRET, AWS_SESSION = "aws-secret-of-the-role-0001", "aws-session-token-of-the-role-0001"

#: Lambda's log settings, and Powertools' variables.
ALL_SETTINGS = [
    pytest.param(
        {"AWS_LAMBDA_LOG_FORMAT": log_format, "AWS_LAMBDA_LOG_LEVEL": level, **more},
        id=f"{log_format}-{level}",
    )
    for level in LEVELS
    for log_format, more in (
        ("JSON", {}),
        ("Text", {"POWERTOOLS_LOG_LEVEL": level, "POWERTOOLS_LOGGER_SAMPLE_RATE": "1"}),
    )
]
#: The most detailed settings, and those that drop most lines.
EXTREMES = [
    pytest.param(
        {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": level, "POWERTOOLS_DEBUG": "1"},
        id=level,
    )
    for level in ("TRACE", "FATAL")
]

#: Each sample, and Plivo's fault for it: one answer of every kind, and three unknown outcomes.
WEBHOOKS = {
    "accepted": ACCEPTS,
    "plivo-rejected": FAULTS["rejected-400"],
    "plivo-throttled": FAULTS["throttled-429"],
    "plivo-unknown": FAULTS["plivo-500"],
    "plivo-closes": FAULTS["closed-after-post"],
    "plivo-cut": FAULTS["body-cut"],
}
REFUSED = {"unauthorized": 401, "fields-invalid": 422, "forbidden": 403, "malformed": 400}
EVENTS = {
    "accepted": ACCEPTS,
    "plivo-rejected": FAULTS["rejected-400"],
    "plivo-throttled": FAULTS["throttled-429"],
    "plivo-unknown": FAULTS["plivo-500"],
}


def sample(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((ROOT / "events" / f"{name}.json").read_text("utf-8"))
    return event


def private() -> set[str]:
    """Credentials of every kind, and the numbers in the samples."""
    found = {
        PLIVO_AUTH_TOKEN,
        PlivoCredentials(PLIVO_AUTH_ID, PLIVO_AUTH_TOKEN).authorization().removeprefix("Basic "),
        AWS_SECRET,
        AWS_SESSION,
        "14152223333",
        "14152225555",
        "5550100",
    }
    for client in CLIENTS.values():
        found.update(client.get("tokens", ()))
        for secret in client.get("signing_secrets", ()):
            raw = secret.removeprefix("whsec_")
            found |= {raw, base64.b64decode(raw).decode()}
    token = sample("webhook-unauthorized")["multiValueHeaders"]["Authorization"][0]
    return found | {token.removeprefix("Bearer ")}


@pytest.fixture(scope="module")
def secret_names(aws: Any) -> dict[str, str]:
    """Creates the local stack's secrets under other names; the variables that name them."""
    texts = secrets("runtime")
    for name, text in texts.items():
        aws("secretsmanager").create_secret(Name=name, SecretString=text)
    plivo, clients = texts
    return {"PLIVO_SECRET_NAME": plivo, "CLIENTS_SECRET_NAME": clients}


@pytest.fixture
def environment(
    build: Path, endpoint_url: str, table: str, secret_names: Mapping[str, str], tmp_path: Path
) -> Callable[..., Environment]:
    """Makes an environment of a function, on the test's table."""

    def made(function: str, settings: Mapping[str, str], plivo_url: str = "") -> Environment:
        folder = tmp_path / function
        folder.mkdir()
        variables = {
            "AWS_ENDPOINT_URL": endpoint_url,
            "AWS_SECRET_ACCESS_KEY": AWS_SECRET,
            "AWS_SESSION_TOKEN": AWS_SESSION,
            "LEDGER_TABLE": table,
            "EVENT_BUS_NAME": "default",
            "PLIVO_BASE_URL": plivo_url or "https://phlorunner.plivo.com",
        }
        return Environment(build, function, folder, {**variables, **secret_names, **settings})

    return made


def metrics(lines: list[str]) -> Counter[str]:
    """The counts that CloudWatch would extract from these lines."""
    counted: Counter[str] = Counter()
    for line in map(json.loads, lines):
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", ()):
            for metric in directive["Metrics"]:
                if metric["Unit"] == "Count":
                    counted[metric["Name"]] += int(sum(line[metric["Name"]]))
    return counted


def assert_nothing_leaks(written: Written) -> None:
    assert [
        value for value in private() for spelling in spellings(value) if spelling in written.text
    ] == []
    assert [text for kind, text in written.runtime if kind < LEAST_FRAME] == []


def arrived(written: Written, settings: Mapping[str, str]) -> list[str]:
    """The lines that Lambda sends to CloudWatch; asserts that it can read the level of each."""
    lines = written.stdout.splitlines()
    for line in lines:
        fields = json.loads(line)
        assert fields["level"] in LEVELS, line
        assert is_rfc_3339(fields["timestamp"]), line
        assert level_of(line) == fields["level"]
    chosen = settings["AWS_LAMBDA_LOG_FORMAT"], settings["AWS_LAMBDA_LOG_LEVEL"]
    return [line for line in lines if passes(line, *chosen)]


def messages(lines: list[str]) -> list[str]:
    return [line["message"] for line in map(json.loads, lines) if "_aws" not in line]


def statuses(results: list[Result]) -> list[int]:
    return [result.payload["statusCode"] for result in results]


@pytest.mark.parametrize("settings", ALL_SETTINGS)
def test_the_webhook_keeps_its_secrets_and_its_alarms_at_every_level(
    environment: Callable[..., Environment], settings: dict[str, str]
) -> None:
    with (
        FaultServer(*WEBHOOKS.values()) as plivo,
        environment("Webhook", settings, plivo.url) as running,
    ):
        results = [running.invoke(sample(f"webhook-{name}")) for name in (*WEBHOOKS, *REFUSED)]
        assert plivo.posts == len(WEBHOOKS)

    expected = [fault.status for fault in WEBHOOKS.values()]
    assert statuses(results) == [*expected, *REFUSED.values()]
    written = running.written()
    assert_nothing_leaks(written)
    assert written.stderr == ""
    said = messages(written.stdout.splitlines())
    assert said[0] == "action accepted"
    assert said[-len(REFUSED) :] == ["request refused"] * len(REFUSED)
    kept = arrived(written, settings)
    assert messages(kept).count("action unknown") == 3
    assert metrics(kept) == {
        "ColdStart": 1,
        "ActionAccepted": 1,
        "ActionRejected": 1,
        "ActionNotSent": 1,
        "PlivoThrottled": 1,
        "ActionUnknown": 3,
        "RequestUnauthorized": 1,
        "RequestInvalid": 3,
        "RequestWithoutKey": 6,
    }


@pytest.mark.parametrize("settings", EXTREMES)
def test_the_event_function_keeps_its_secrets_and_its_alarms(
    environment: Callable[..., Environment], settings: dict[str, str]
) -> None:
    with (
        FaultServer(*EVENTS.values()) as plivo,
        environment("Event", settings, plivo.url) as running,
    ):
        results = [running.invoke(sample(f"event-{name}")) for name in (*EVENTS, "fields-invalid")]
        assert plivo.posts == len(EVENTS)

    assert [result.raised for result in results] == [False, True, True, True, True]
    written = running.written()
    assert_nothing_leaks(written)
    assert "ActionFailed" in written.text
    kept = arrived(written, settings)
    assert messages(kept).count("action unknown") == 1
    assert metrics(kept) == {
        "ColdStart": 1,
        "ActionAccepted": 1,
        "ActionRejected": 1,
        "ActionNotSent": 1,
        "PlivoThrottled": 1,
        "ActionUnknown": 1,
        "RequestInvalid": 1,
    }


@pytest.mark.parametrize("settings", EXTREMES)
def test_an_abandoned_attempt_is_logged_and_its_outcome_is_published(
    environment: Callable[..., Environment], dynamodb: Any, table: str, settings: dict[str, str]
) -> None:
    clock = Clock(int(time.time() * 1000) - 10 * LEASE_MS)
    ledger = ledger_on(dynamodb, table, clock)
    claim = ledger.claim(request_of(), clock.now + LEASE_MS)
    ledger.deduplicate(claim)
    ledger.mark_sending(claim, clock.now + LEASE_MS)

    with environment("Reconcile", settings) as reconcile:
        found = reconcile.invoke({"id": "5c1d4b0e-8a53-4ad3-b5f7-1a7c6f0f2f11"})
    changes = [
        {"eventSource": "aws:dynamodb", "dynamodb": {"NewImage": item, "SequenceNumber": str(n)}}
        for n, item in enumerate(items(dynamodb, table))
    ]
    with environment("Outcomes", settings) as outcomes:
        published = outcomes.invoke({"Records": changes})

    assert found == Result(raised=False, payload={"settled": 1, "failed": 0})
    assert published == Result(raised=False, payload={"batchItemFailures": []})
    assert_nothing_leaks(outcomes.written())
    assert metrics(arrived(outcomes.written(), settings)) == {"ColdStart": 1}
    assert_nothing_leaks(reconcile.written())
    kept = arrived(reconcile.written(), settings)
    assert messages(kept) == ["action unknown: its attempt was abandoned"]
    assert metrics(kept) == {"ColdStart": 1, "ActionUnknown": 1, "UnknownUnresolved": 1}
