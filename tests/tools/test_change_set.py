"""What is printed while a change set is executed, and when it fails."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from cold_transfer_cli.failures import OperatorError
from cold_transfer_cli.target import Aws
from local.progress import Progress
from tests.support import operating
from tools import change_set
from tools.change_set import Stack


def event(number: int, what: str, status: str, reason: str = "") -> dict[str, str]:
    return {
        "EventId": str(number),
        "LogicalResourceId": what,
        "ResourceStatus": status,
        **({"ResourceStatusReason": reason} if reason else {}),
    }


class CloudFormation:
    """A client for one stack; executing a change set adds ``events`` and leads to ``status``."""

    def __init__(self, status: str, *events: Mapping[str, str]) -> None:
        self.status = status
        self.later = list(events)
        self.events: list[Mapping[str, str]] = [event(0, "Old", "UPDATE_FAILED", "long ago")]

    def describe_change_set(self, **_: object) -> dict[str, Any]:
        return {"StackId": "arn:stack"}

    def describe_stacks(self, **_: object) -> dict[str, Any]:
        return {"Stacks": [{"StackId": "arn:stack", "StackStatus": self.status}]}

    def execute_change_set(self, **_: object) -> None:
        self.events = [*reversed(self.later), *self.events]  # newest first

    delete_stack = execute_change_set

    def get_paginator(self, name: str) -> "CloudFormation":
        assert name == "describe_stack_events"
        return self

    def paginate(self, **_: object) -> Iterator[dict[str, Any]]:
        yield {"StackEvents": self.events}


def stack(client: CloudFormation) -> Stack:
    session: Any = operating.Session(cloudformation=client)
    return Stack(Aws(session), "one")


FAILED = (
    event(1, "LedgerTable", "CREATE_COMPLETE"),
    event(2, "EventRule", "CREATE_IN_PROGRESS"),
    event(3, "EventRule", "CREATE_FAILED", "Event bus nowhere does not exist."),
    event(4, "Api", "CREATE_FAILED", "Resource creation cancelled"),
    event(5, "LedgerTable", "DELETE_COMPLETE"),
    event(6, "one", "ROLLBACK_COMPLETE"),
)


def test_a_failure_is_reported_with_its_original_reasons_only() -> None:
    client = CloudFormation("ROLLBACK_COMPLETE", *FAILED)

    with pytest.raises(OperatorError) as failed:
        stack(client).execute("arn:change-set", Progress(quiet=True))

    assert str(failed.value).splitlines() == [
        "It failed; the stack is now ROLLBACK_COMPLETE:",
        "  EventRule: Event bus nowhere does not exist.",
    ]


def test_each_finished_resource_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    client = CloudFormation("DELETE_COMPLETE", *FAILED)

    stack(client).delete(Progress())

    printed = capsys.readouterr()
    assert re.findall(r"\] (.+)", printed.out + printed.err) == [
        "LedgerTable: create complete",
        "EventRule: CREATE_FAILED",
        "Api: CREATE_FAILED",
        "LedgerTable: delete complete",
        "one: rollback complete",
    ]


def change(action: str, name: str, kind: str, replacement: str = "") -> dict[str, str]:
    return {
        "Action": action,
        "LogicalResourceId": name,
        "ResourceType": kind,
        **({"Replacement": replacement} if replacement else {}),
    }


def test_changes_are_listed_and_replacements_are_marked() -> None:
    shown = change_set.shown(
        [
            change("Modify", "LedgerTable", "AWS::DynamoDB::Table", "True"),
            change("Modify", "Api", "AWS::ApiGateway::RestApi", "False"),
            change("Modify", "EventRule", "AWS::Events::Rule", "Conditional"),
            change("Add", "Topic", "AWS::SNS::Topic"),
        ]
    )

    assert shown.splitlines() == [
        "It changes these resources:",
        "  Add     Topic                        SNS::Topic",
        "  Modify  Api                          ApiGateway::RestApi",
        "  Modify  EventRule                    Events::Rule  may be replaced",
        "  Modify  LedgerTable                  DynamoDB::Table  REPLACED",
    ]


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("ROLLBACK_COMPLETE", "Remove it with make destroy"),
        ("UPDATE_ROLLBACK_FAILED", "Continue the rollback"),
        ("UPDATE_IN_PROGRESS", "wait until that has ended"),
    ],
)
def test_a_stack_that_cannot_be_changed_is_refused(status: str, message: str) -> None:
    with pytest.raises(OperatorError, match=message):
        change_set.check_status("one", status)


@pytest.mark.parametrize(
    "status", ["CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"]
)
def test_a_stack_that_can_be_changed_is_not_refused(status: str) -> None:
    change_set.check_status("one", status)
