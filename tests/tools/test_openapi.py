"""The OpenAPI document has every answer that the webhook can give."""

import json
import re
from collections.abc import Iterator
from typing import Any

import fastjsonschema
import pytest
from samcli.yamlhelper import yaml_parse  # type: ignore[import-untyped]  # ships no types

from cold_transfer import errors
from cold_transfer.action import Answer, Verdict
from cold_transfer.causes import TABLE, Cause, Outcome, Resolution
from cold_transfer.entrypoints import problem
from cold_transfer.ledger import view
from cold_transfer.ledger.record import Record
from cold_transfer.plivo.response import Reading
from local.build import ROOT
from tools import openapi

DOCUMENT = json.loads(openapi.text())
NODE = "/v1/phlo/{phlo_id}/multi_party_call/{node_id}"
POST = DOCUMENT["paths"][NODE]["post"]
ON_MEMBER = DOCUMENT["paths"][f"{NODE}/members/{{member_address}}"]["post"]
READS = [DOCUMENT["paths"]["/v1/phlo/{phlo_id}"]["get"], DOCUMENT["paths"][NODE]["get"]]
GET = DOCUMENT["paths"]["/v1/actions/{action_id}"]["get"]


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for member in value.values():
            yield from references(member)
    elif isinstance(value, list):
        for member in value:
            yield from references(member)


def types(response: dict[str, Any]) -> list[str]:
    schema = response["content"]["application/problem+json"]["schema"]
    kinds = schema["allOf"][1]["properties"]["type"]
    return [name for kind in kinds.get("anyOf", [kinds]) for name in kind.get("enum", [])]


def test_the_stage_in_the_servers_url_is_the_templates() -> None:
    parameters = yaml_parse((ROOT / "template.yaml").read_text())["Parameters"]

    (server,) = DOCUMENT["servers"]
    assert server["variables"]["stage"]["default"] == parameters["DeploymentStage"]["Default"]


def test_every_path_of_the_template_is_documented() -> None:
    function = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]["WebhookFunction"]
    routes = [event["Properties"] for event in function["Properties"]["Events"].values()]

    assert {(route["Path"], route["Method"].lower()) for route in routes} == {
        (path, method) for path, operations in DOCUMENT["paths"].items() for method in operations
    }


def test_every_reference_resolves() -> None:
    found = set(references(DOCUMENT))
    assert found
    for reference in found:
        place = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


def conforms(response: dict[str, Any], operation: dict[str, Any]) -> None:
    """Fail unless the webhook's answer is in the document."""
    documented = operation["responses"][str(response["statusCode"])]
    media_type = response["headers"]["Content-Type"]
    schema = documented["content"][media_type]["schema"]
    validate = fastjsonschema.compile(
        {"allOf": [schema], "components": DOCUMENT["components"]}, use_default=False
    )
    validate(json.loads(response["body"]))
    undocumented = set(response["headers"]) - set(documented.get("headers", {}))
    assert undocumented <= {"Content-Type", "Cache-Control"}


@pytest.mark.parametrize(
    "error",
    [
        errors.BodyTooLarge("the body is longer than 10240 bytes"),
        errors.Unauthorized(),
        errors.MediaTypeUnsupported("the media type is none"),
        errors.BodyMalformed("the body is empty"),
        errors.ContractViolated([errors.Fault("to", "is missing")]),
        errors.PhloNotAllowed("not this PHLO"),
        errors.ActionNotAllowed("not this action"),
        errors.KeyRequired("there is no Idempotency-Key"),
        errors.KeyReused("a" * 64),
        errors.InProgress("a" * 64, 2),
        errors.InProgress("a" * 64, 2, "b" * 64),
        errors.OutOfTime("too little time"),
        errors.LedgerUnavailable("no answer"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_refusal_of_the_webhook_is_documented(error: errors.ColdTransferError) -> None:
    answer = problem.of_error(error, "a-request-id")
    conforms(answer, POST)
    if error.cause is not Cause.DUPLICATE_IN_PROGRESS:
        conforms(answer, ON_MEMBER)


@pytest.mark.parametrize("operation", READS, ids=["phlo", "node"])
def test_what_a_read_answers_is_documented(operation: dict[str, Any]) -> None:
    for status in (200, 201, 202):
        conforms(problem.of_reading(Reading(status, {"api_id": "x"}), "a-request-id"), operation)
    for cause in openapi.READ_CAUSES:
        for status in openapi.statuses(cause):
            reading = Reading(status, failure=Verdict(cause, "an-id", "a text", status))
            conforms(problem.of_reading(reading, "a-request-id"), operation)


def test_a_refused_lookup_is_documented() -> None:
    refusals = (
        errors.ActionNotFound("none"),
        errors.Unauthorized(),
        errors.BodyMalformed("a GET must not have a body"),
    )
    for error in refusals:
        conforms(problem.of_error(error, "a-request-id"), GET)


@pytest.mark.parametrize("cause", [cause for cause in Cause if TABLE[cause].outcome])
def test_an_outcome_is_documented_under_each_of_its_statuses(cause: Cause) -> None:
    for status in openapi.statuses(cause):
        error = "" if cause is Cause.ACCEPTED else "Invalid value provided for to."
        verdict = Verdict(cause, "an-id", error, status)
        assert verdict.status == status
        answer = Answer("a" * 64, verdict, replayed=True, duplicate_of="b" * 64)
        if verdict.outcome is Outcome.UNKNOWN:
            answer = answer._replace(resolution=Resolution.HAPPENED)
        conforms(problem.without_key(problem.of_answer(answer)), POST)
        if cause is not Cause.DUPLICATE_IN_PROGRESS:
            replayed = verdict.outcome is not Outcome.NOT_SENT
            alone = answer._replace(duplicate_of=None, replayed=replayed)
            conforms(problem.of_answer(alone), ON_MEMBER)


@pytest.mark.parametrize(
    "state", ["claimed", "accepted", "unknown", "duplicate", "of a newer version"]
)
def test_a_record_is_documented(state: str) -> None:
    item = {
        "pk": {"S": "K#" + "a" * 64},
        "state": {"S": state},
        "first_seen": {"N": "1773500966535"},
    }
    if state == "duplicate":
        item["duplicate_of"] = {"S": "b" * 64}
    record = Record.from_item(item)
    conforms(problem.response(200, view.of_record(record, record), {}), GET)


def test_no_cause_is_left_out() -> None:
    causes = {*openapi.ACTION_CAUSES, *openapi.READ_CAUSES, *openapi.LOOKUP_CAUSES}
    assert causes == set(Cause)


@pytest.mark.parametrize(
    ("operation", "cause"),
    [
        *((POST, cause) for cause in openapi.ACTION_CAUSES),
        *((ON_MEMBER, cause) for cause in openapi.MEMBER_CAUSES),
        *((operation, cause) for operation in READS for cause in openapi.READ_CAUSES),
        *((GET, cause) for cause in openapi.LOOKUP_CAUSES),
    ],
)
def test_every_cause_is_documented_under_each_of_its_statuses(
    operation: dict[str, Any], cause: Cause
) -> None:
    for status in openapi.statuses(cause):
        response = operation["responses"][str(status)]
        if cause == Cause.ACCEPTED:
            assert "application/json" in response["content"]
        else:
            assert f"urn:problem-type:cold-transfer:{cause}" in types(response)
            assert TABLE[cause].advice in response["description"]


def test_a_lookup_documents_its_refusals() -> None:
    assert set(GET["responses"]) >= {"200", "401", "404", "503"}
    assert "urn:problem-type:cold-transfer:action-not-found" in types(GET["responses"]["404"])


def test_answers_that_ask_for_a_retry_have_a_retry_after() -> None:
    for status in ("409", "429", "503"):
        assert "Retry-After" in POST["responses"][status]["headers"]


@pytest.mark.parametrize(
    ("operation", "of_action", "required"),
    [
        (POST, ["to", "trigger_source", "role"], ["to", "trigger_source"]),
        (ON_MEMBER, ["member_address"], ["action"]),
    ],
    ids=["node", "member"],
)
def test_both_media_types_carry_the_fields_of_the_contract(
    operation: dict[str, Any], of_action: list[str], required: list[str]
) -> None:
    content = operation["requestBody"]["content"]
    assert set(content) == {"application/json", "application/x-www-form-urlencoded"}
    (reference,) = {media["schema"]["$ref"] for media in content.values()}
    fields = DOCUMENT["components"]["schemas"][reference.rpartition("/")[2]]
    common = ["phlo_id", "node_id", "action", "requested_at", "reference"]
    assert set(fields["properties"]) == {*common, *of_action}
    assert fields["required"] == required
    assert fields["additionalProperties"] is False


def test_the_ids_of_the_path_are_those_of_the_contract() -> None:
    pattern = DOCUMENT["components"]["schemas"]["Id"]["pattern"]
    assert re.search(pattern, "5f0c9d3ab1e24c7788d06e1f")
    assert not re.search(pattern, "5f0c9d3ab1e24c7788d06e1")


def test_the_schemas_texts_for_faults_are_not_in_the_document() -> None:
    assert "x-rule" not in openapi.text()
    assert "x-fault" not in openapi.text()
