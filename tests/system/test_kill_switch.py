"""Reserved concurrency 0 stops both entry points, and nothing else has to be undone afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from botocore.exceptions import ClientError

from local.waiting import eventually
from tests.support import builders
from tests.system.deployment import Deployment


@contextmanager
def switched_off(deployment: Deployment, function: str) -> Iterator[None]:
    name = deployment.name(function)
    deployment.aws("lambda").put_function_concurrency(
        FunctionName=name, ReservedConcurrentExecutions=0
    )
    try:
        yield
    finally:
        deployment.aws("lambda").delete_function_concurrency(FunctionName=name)


def test_the_webhook_is_refused_while_it_is_off_and_works_afterwards(
    deployment: Deployment,
) -> None:
    fields = deployment.fields()
    with switched_off(deployment, "WebhookFunction"):
        assert deployment.post(fields).status in (429, 500, 502, 503)
    assert deployment.posts(fields) == []

    assert deployment.post(fields).status == 201
    assert len(deployment.posts(fields)) == 1


def test_events_are_not_taken_while_the_event_entry_point_is_off_and_are_afterwards(
    deployment: Deployment,
) -> None:
    detail, later = deployment.detail(), deployment.detail()
    event = builders.eventbridge_event(detail)
    with switched_off(deployment, "EventFunction"):
        with pytest.raises(ClientError, match="TooManyRequestsException"):
            deployment.invoke("EventFunction", event)
        deployment.put_event(detail)
    assert deployment.posts(detail) == []

    deployment.put_event(later)
    assert eventually(lambda: deployment.posts(later), 60)
    assert deployment.posts(detail) == []
