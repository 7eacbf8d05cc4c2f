"""The deployed webhook answers as docs/openapi.json says, whatever it is asked.

Schemathesis makes the requests from the document: such as keep it, and such as break it, field by
field and at random. How many at random follows the profile of tests/conftest.py.
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

#: What is documented of an answer: its status, media type, headers and body.
CONFORMANCE = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]

#: Who has no credential gets one of these: of the function 401 and 413, else of the gateway.
REFUSALS = (400, 401, 403, 404, 405, 413, 415, 429)


#: Each takes a while: it goes through the API, into a function, and back.
fewer = settings(max_examples=max(1, settings().max_examples // 4))


def unsecured() -> dict[str, Any]:
    """The document without its credentials, which would be made up: the test has a valid one."""
    document = copy.deepcopy(DOCUMENT)
    for path in document["paths"].values():
        for operation in path.values():
            operation.pop("security")
    return document


strangers = schemathesis.openapi.from_dict(DOCUMENT)
clients = schemathesis.openapi.from_dict(unsecured())


def posts(deployment: Deployment) -> int:
    """How many actions Plivo got; what is read goes to Plivo too, and changes nothing there."""
    return sum(request.method == "POST" for request in deployment.plivo.received())


def base_url(deployment: Deployment) -> str:
    return deployment.url().partition("/v1/")[0]


@strangers.parametrize()
@fewer
def test_a_stranger_is_refused_as_documented_and_nothing_is_sent(
    case: "schemathesis.Case[Any]", deployment: Deployment
) -> None:
    sent = posts(deployment)

    answer = case.call(base_url=base_url(deployment))

    assert answer.status_code in REFUSALS
    case.validate_response(answer, checks=CONFORMANCE)
    assert posts(deployment) == sent


@clients.parametrize()
@fewer
def test_a_client_is_answered_as_documented(
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
