"""`cold-transfer stop` stops an entry point, and `start` restores it completely."""

from collections.abc import Iterator
from contextlib import contextmanager

import boto3
import pytest
from botocore.exceptions import ClientError

from cold_transfer_cli.target import Aws, Target
from local.deploy import STACK_NAME
from local.emulator import REGION
from local.waiting import eventually
from tests.support import builders, operating
from tests.system.deployment import Deployment


@contextmanager
def stopped(deployment: Deployment, entry_point: str) -> Iterator[None]:
    session = boto3.Session("test", "test", region_name=REGION)
    target = Target.found(Aws(session, deployment.stack.endpoint_url), STACK_NAME)
    assert operating.run(target, "stop", entry_point).status == 0
    try:
        yield
    finally:
        assert operating.run(target, "start", entry_point).status == 0


def test_webhooks_are_refused_while_stopped_and_accepted_after_start(
    deployment: Deployment,
) -> None:
    fields = deployment.fields()
    with stopped(deployment, "webhook"):
        assert deployment.post(fields).status in (429, 500, 502, 503)
    assert deployment.posts(fields) == []

    assert deployment.post(fields).status == 201
    assert len(deployment.posts(fields)) == 1


def test_events_are_not_handled_while_stopped_and_are_after_start(
    deployment: Deployment,
) -> None:
    detail, later = deployment.detail(), deployment.detail()
    event = builders.eventbridge_event(detail)
    with stopped(deployment, "event"):
        with pytest.raises(ClientError, match="TooManyRequestsException"):
            deployment.invoke("EventFunction", event)
        deployment.put_event(detail)
    assert deployment.posts(detail) == []

    deployment.put_event(later)
    assert eventually(lambda: deployment.posts(later), 60)
    assert deployment.posts(detail) == []
