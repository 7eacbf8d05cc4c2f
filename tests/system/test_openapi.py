"""The deployed webhook answers every request as docs/openapi.json says.

Schemathesis makes valid and invalid requests from the document, field by field and at random. The
profile in tests/conftest.py says how many.
"""

import copy
import json
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import settings
from schemathesis.specs.openapi import checks

from tests.support import builders
from tests.system.deployment import FAILING, Deployment

DOCUMENT: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "docs" / "openapi.json").read_text(encoding="utf-8")
)

#: What the document says about an answer: its status, media type, headers and body.
CONFORMANCE = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]

#: Without a credential: 401 and 413 come from the function, the others from API Gateway.
REFUSALS = (400, 401, 403, 404, 405, 413, 415, 429)


#: Each example is a request to the deployed function, so there are fewer.
fewer = settings(max_examples=max(1, settings().max_examples // 4))


def unsecured() -> dict[str, Any]:
    """The document without security: the test adds a valid credential, Schemathesis would not."""
    document = copy.deepcopy(DOCUMENT)
    for path in document["paths"].values():
        for operation in path.values():
            operation.pop("security")
    return document


unauthenticated = schemathesis.openapi.from_dict(DOCUMENT)
authenticated = schemathesis.openapi.from_dict(unsecured())


def posts(deployment: Deployment) -> int:
    """How many actions Plivo received; reads are GETs."""
    return sum(request.method == "POST" for request in deployment.plivo.received())


def base_url(deployment: Deployment) -> str:
    return deployment.url().partition("/v1/")[0]


@unauthenticated.parametrize()
@fewer
def test_a_request_without_a_credential_is_refused_as_documented(
    case: "schemathesis.Case[Any]", deployment: Deployment
) -> None:
    sent = posts(deployment)

    answer = case.call(base_url=base_url(deployment))

    assert answer.status_code in REFUSALS
    case.validate_response(answer, checks=CONFORMANCE)
    assert posts(deployment) == sent


@authenticated.parametrize()
@fewer
def test_a_clients_request_is_answered_as_documented(
    case: "schemathesis.Case[Any]", deployment: Deployment
) -> None:
    sent = posts(deployment)

    answer = case.call(base_url=base_url(deployment), headers=builders.bearer())

    case.validate_response(answer, checks=CONFORMANCE)
    if FAILING not in str(case.body):
        assert answer.status_code < 500
    accepted = answer.status_code in (200, 201, 202) and case.method == "POST"
    replayed = "idempotency-replayed" in answer.headers
    assert posts(deployment) == sent + (1 if accepted and not replayed else 0)
