"""The AWS clients of the functions: what they send."""

from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders

from cold_transfer import composition

TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


class Raw:
    """The body of a reply, as botocore reads it."""

    def stream(self, **_: Any) -> list[bytes]:
        return [b"{}"]


def sent(client: Any) -> AWSPreparedRequest:
    """The request that ``client`` sends to read an item."""
    requests: list[AWSPreparedRequest] = []

    def take(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        requests.append(request)
        return AWSResponse(request.url, 200, HTTPHeaders(), Raw())

    client.meta.events.register("before-send", take)
    client.get_item(TableName="ledger", Key={"pk": {"S": "K#0"}})
    (request,) = requests
    return request


@pytest.fixture(autouse=True)
def in_lambda(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "eu-central-1",
        "AWS_LAMBDA_FUNCTION_NAME": "webhook",
        "_X_AMZN_TRACE_ID": TRACE,
    }.items():
        monkeypatch.setenv(name, value)


def test_a_call_to_the_table_is_signed_and_has_only_the_headers_that_dynamodb_reads() -> None:
    names = {name.lower() for name in sent(composition.table_client()).headers}

    assert names == {
        "authorization",
        "content-length",
        "content-type",
        "host",
        "user-agent",
        "x-amz-date",
        "x-amz-target",
    }


def test_other_clients_send_the_header_that_lambdas_recursion_detection_needs() -> None:
    headers = sent(composition.client("dynamodb")).headers

    assert headers["X-Amzn-Trace-Id"] == TRACE.encode()
