"""Metrics, traces and logs of the deployed stack, and what must never be in them."""

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from local import credentials
from local.waiting import eventually
from tests.support import builders
from tests.system.deployment import FAILING, FUNCTIONS, Deployment, HttpResponse

#: Namespace, entry point, metric name.
Metric = tuple[str, str, str]

METRICS = {
    "webhook": {
        "ActionAccepted",
        "ActionRejected",
        "ActionNotSent",
        "ActionUnknown",
        "ActionReplayed",
        "RequestInvalid",
        "RequestUnauthorized",
        "RequestStale",
        "PlivoCredentialsRefused",
        "PlivoThrottled",
        "PlivoLatency",
        "ColdStart",
    },
    "event": {
        "ActionAccepted",
        "ActionRejected",
        "ActionNotSent",
        "ActionUnknown",
        "ActionReplayed",
        "RequestInvalid",
        "RequestStale",
        "PlivoCredentialsRefused",
        "PlivoThrottled",
        "PlivoLatency",
        "ColdStart",
    },
    "reconcile": {"ActionUnknown", "ActionNotSent", "ColdStart"},
    "outcomes": {"ColdStart"},
}
#: Metrics that AWS emits, from the user guides of the services.
OF_AWS = {
    "AWS/Lambda": {
        "Invocations",
        "Errors",
        "Throttles",
        "Duration",
        "ConcurrentExecutions",
        "IteratorAge",
        "AsyncEventsDropped",
        "AsyncEventAge",
        "DestinationDeliveryFailures",
    },
    "AWS/SQS": {"ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"},
    "AWS/Events": {"FailedInvocations", "InvocationsFailedToBeSentToDlq", "InvocationsSentToDlq"},
    "AWS/ApiGateway": {"Count", "4XXError", "5XXError", "Latency", "IntegrationLatency"},
    "AWS/DynamoDB": {
        "ThrottledRequests",
        "SystemErrors",
        "UserErrors",
        "ReadThrottleEvents",
        "WriteThrottleEvents",
    },
}
#: A problem's members that may quote a field, since only the client that sent it sees them.
MAY_QUOTE = ("detail", "error", "errors")
UNITS = {"PlivoLatency": "Milliseconds"}


def emitted(deployment: Deployment) -> Iterator[tuple[Metric, str]]:
    """Every metric with its unit, read from the EMF log lines as CloudWatch does."""
    for function in FUNCTIONS:
        for line in deployment.metrics(function):
            for directive in line["_aws"]["CloudWatchMetrics"]:
                assert directive["Dimensions"] == [["service", "function"]]
                assert line["service"] == "plivo-cold-transfer"
                for metric in directive["Metrics"]:
                    assert all(isinstance(value, float | int) for value in line[metric["Name"]])
                    full_name = (directive["Namespace"], line["function"], metric["Name"])
                    yield full_name, metric["Unit"]


def flat(segment: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield segment
    for inner in segment.get("subsegments", ()):
        yield from flat(inner)


def line_of(deployment: Deployment, function: str, action_id: str) -> dict[str, Any]:
    lines = eventually(lambda: deployment.lines(function, action_id=action_id))
    return lines[0]


def test_an_action_is_one_log_line_with_its_outcome(deployment: Deployment) -> None:
    answer = deployment.post(deployment.fields())
    line = line_of(deployment, "WebhookFunction", answer.action_id)

    members = {name: line[name] for name in ("message", "level", "function", "client", "status")}
    assert members == {
        "message": "action accepted",
        "level": "INFO",
        "function": "webhook",
        "client": "phlo",
        "status": 201,
    }
    assert line["api_id"] == answer.body["api_id"]
    assert line["replayed"] is False


def test_the_log_line_of_a_refusal_is_found_by_the_problems_instance(
    deployment: Deployment,
) -> None:
    answer = deployment.post(deployment.fields(role="boss"))
    request_id = answer.body["instance"].removeprefix("urn:uuid:")

    (line,) = eventually(lambda: deployment.lines("WebhookFunction", correlation_id=request_id))
    assert (line["message"], line["cause"]) == ("request refused", "fields-invalid")
    assert "boss" not in json.dumps(line)


@pytest.mark.parametrize(("digits", "status"), [("201", 201), ("500", 500), ("001", None)])
def test_a_trace_shows_each_step_and_plivo_as_a_remote_call(
    deployment: Deployment, digits: str, status: int | None
) -> None:
    answer = deployment.post(deployment.fields(to=FAILING + digits))
    line = line_of(deployment, "WebhookFunction", answer.action_id)

    def complete_trace() -> list[Mapping[str, Any]]:
        segments = deployment.segments(line["xray_trace_id"])
        parts = [part for segment in segments for part in flat(segment)]
        return parts if any(part["name"] == "## webhook" for part in parts) else []

    parts = {part["name"]: part for part in eventually(complete_trace)}
    assert {"claim", "deduplicate", "connect", "mark sending", "127.0.0.1", "settle"} < parts.keys()
    remote = parts["127.0.0.1"]
    assert remote["namespace"] == "remote"
    assert remote["http"]["request"] == {
        "url": "/v1/phlo/{phlo_id}/multi_party_call/{node_id}",
        "method": "POST",
    }
    assert remote["http"].get("response", {}).get("status") == status
    assert remote.get("fault", False) == (status != 201)
    annotations = parts["## webhook"]["annotations"]
    assert (annotations["function"], annotations["client"]) == ("webhook", "phlo")
    assert annotations["outcome"] == ("accepted" if digits == "201" else "unknown")
    order = ["claim", "deduplicate", "connect", "mark sending", "127.0.0.1", "settle"]
    starts = [parts[name]["start_time"] for name in order]
    assert starts == sorted(starts)


@pytest.mark.parametrize("entry_point", ["webhook", "event"])
def test_a_stale_request_is_counted(deployment: Deployment, entry_point: str) -> None:
    function, old = f"{entry_point.title()}Function", datetime.now(UTC) - timedelta(minutes=5)
    before = deployment.count(function, "RequestStale")
    if entry_point == "webhook":
        deployment.post(deployment.fields(requested_at=old.isoformat()))
    else:
        deployment.invoke(function, builders.eventbridge_event(deployment.detail(), at=old))

    assert eventually(lambda: deployment.count(function, "RequestStale") == before + 1)


def test_a_members_number_is_only_in_the_parts_of_a_problem_that_may_quote_it(
    deployment: Deployment,
) -> None:
    """The last test searches logs, traces and records for these numbers, too."""

    def post(number: str, name: str = "hold", **options: Any) -> HttpResponse:
        url = f"{deployment.url()}/members/{number}"
        return deployment.post({"action": name}, url=url, **options)

    limited = builders.bearer(builders.LIMITED_TOKEN)
    numbers = [deployment.number() for _ in range(8)]
    for digits in ("400", "500"):
        deployment.private.add((FAILING + digits).removeprefix("+"))
    answers = [
        post(numbers[0]),
        post(quote(numbers[1], safe=""), name="hangup", key=str(uuid.uuid4())),
        post(FAILING + "400"),
        post(FAILING + "500"),
        post(numbers[2], headers={}),
        post(numbers[3], headers=limited),
        post(numbers[4], name="park"),
        post(numbers[5] + "000000000"),
        deployment.request("GET", f"{deployment.url()}/members/{numbers[6]}", None, {}),
    ]
    detail = builders.detail_of("hold", member_address=deployment.number())
    results = [
        deployment.invoke("EventFunction", builders.eventbridge_event(detail, detail_type=words))
        for words in ("Hold Requested", "Unhold Requested", "Park Requested")
    ]

    assert [answer.status for answer in answers] == [201, 201, 400, 502, 401, 403, 422, 422, 404]
    assert [result.error is None for result in results] == [True, False, False]
    for answer in answers:
        others = {name: value for name, value in answer.body.items() if name not in MAY_QUOTE}
        assert not any(number.removeprefix("+") in str(others) for number in numbers)


def test_hostile_values_are_refused(deployment: Deployment) -> None:
    marker = f"forged-{uuid.uuid4().hex}"
    deployment.private.add(marker)
    hostile = f'+1\n{{"level":"ERROR","message":"{marker}"}}\r\u2028\x1b[31m{marker}'
    answers = [
        deployment.post(deployment.fields(to=hostile)),
        deployment.post(deployment.fields(role=hostile * 20)),
        deployment.post(deployment.fields(**{hostile: "x"})),
        deployment.post(deployment.fields(), key="k" * 300),
        deployment.post(deployment.fields(), builders.bearer(marker * 3)),
        deployment.post(deployment.fields(), {**builders.basic(marker, marker * 3)}),
    ]

    assert [answer.status for answer in answers] == [422, 422, 422, 422, 401, 401]


def watched(deployment: Deployment) -> Iterator[tuple[str, str, str, dict[str, str]]]:
    """Alarm, namespace, metric and dimensions of everything that the deployed alarms watch."""
    prefix = f"{deployment.stack.deployed.outputs['OutcomeSource']}-"
    found = deployment.aws("cloudwatch").describe_alarms(AlarmNamePrefix=prefix)
    for alarm in found["MetricAlarms"]:
        for stat in [one.get("MetricStat", {}) for one in alarm.get("Metrics", ())] or [{}]:
            metric = stat.get("Metric", alarm)
            if "MetricName" in metric:
                values = {one["Name"]: one["Value"] for one in metric["Dimensions"]}
                yield alarm["AlarmName"], metric["Namespace"], metric["MetricName"], values


def test_every_alarm_watches_a_metric_that_exists(after_all_others: Deployment) -> None:
    """One of ours was emitted in this session; one of AWS's belongs to a deployed resource."""
    deployment = after_all_others
    ours = {metric for metric, _ in emitted(deployment)}
    physical = deployment.stack.deployed.resources.values()
    deployed = {name.rpartition("/")[2] for name in physical} | set(physical)
    dangling = []
    for alarm, namespace, metric, values in watched(deployment):
        if namespace == "PlivoColdTransfer":
            assert values.pop("service") == "plivo-cold-transfer"
            exists = (namespace, values.pop("function"), metric) in ours and not values
        else:
            exists = metric in OF_AWS[namespace] and deployed.issuperset(values.values())
        if not exists:
            dangling.append((alarm, namespace, metric, values))

    assert dangling == []
    assert {alarm for alarm, *_ in watched(deployment)}


def test_metrics_have_the_documented_names_units_and_dimensions(
    after_all_others: Deployment,
) -> None:
    found = dict(emitted(after_all_others))

    assert {namespace for namespace, _, _ in found} == {"PlivoColdTransfer"}
    for function, names in METRICS.items():
        missing = names - {name for _, of, name in found if of == function}
        assert not missing, (function, missing)
    for (_, _, name), unit in found.items():
        assert unit == UNITS.get(name, "Count"), name


def test_every_line_of_every_function_has_a_correlation_id(after_all_others: Deployment) -> None:
    # Written by the runtime: START, END and REPORT, tracebacks, the end of a killed process.
    runtime = re.compile(
        r"(START|END|REPORT) RequestId: |Worker process died|$"
        r"|Traceback |\s|cold_transfer\.errors\.|During handling |The above exception "
    )
    others = []
    for function in FUNCTIONS:
        for text in after_all_others.stack.log_lines(function):
            # A line of print() or of a library has no correlation id.
            line = json.loads(text) if text.startswith("{") else {}
            ours = line.get("service") == "plivo-cold-transfer"
            identified = "_aws" in line or line.get("correlation_id")
            if not runtime.match(text) and not (ours and identified):
                others.append((function, text))

    assert others == []


def private_values(deployment: Deployment) -> set[str]:
    """Everything secret or personal in the session: numbers, users, tokens, signing secrets."""
    texts = set(deployment.private)
    texts |= {builders.TO.removeprefix("+1"), builders.TRIGGER_SOURCE.removeprefix("+1")}
    texts.add(FAILING.removeprefix("+1"))
    for client in credentials.CLIENTS.values():
        texts |= set(client.get("tokens", ())) | set(client.get("signing_secrets", ()))
    texts |= {credentials.PLIVO_AUTH_TOKEN, credentials.PLIVO_AUTH_ID}
    texts |= {value.partition(" ")[2] for value in builders.basic().values()}
    return texts


@pytest.mark.timeout(300)  # it searches everything that the session wrote for thousands of values
def test_nothing_private_is_in_any_log_trace_record_metric_or_outcome(
    after_all_others: Deployment,
) -> None:
    deployment = after_all_others
    groups = deployment.aws("logs").describe_log_groups()["logGroups"]
    places: dict[str, str] = {}
    for group in groups:
        pages = deployment.aws("logs").get_paginator("filter_log_events")
        found = pages.paginate(logGroupName=group["logGroupName"])
        texts = [event["message"] for page in found for event in page["events"]]
        places[group["logGroupName"]] = "\n".join(texts)
    places["traces"] = deployment.stack.traces_file.read_text()
    places["ledger"] = json.dumps(deployment.records())
    deployment.outcomes_of("")
    places["outcome events"] = json.dumps(deployment.outcomes)

    assert len(places["traces"]) > 100_000
    assert len(deployment.outcomes) > 20
    private = private_values(deployment)
    leaks = {(place, it) for place, text in places.items() for it in private if it in text}
    assert leaks == set()
    assert "v1," not in places[deployment.stack.deployed.log_groups["WebhookFunction"]]
