"""IAM policy documents as sets of grants: one action on one resource each."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Grant(NamedTuple):
    action: str
    resource: str


def grants(document: Mapping[str, Any]) -> Iterator[Grant]:
    for statement in document["Statement"]:
        yield from _grants_of(statement)


def document_without(document: Mapping[str, Any], left_out: Grant) -> dict[str, Any]:
    """The document without one grant; each other grant becomes a separate statement."""
    statements = [
        {**_frame(statement), "Action": grant.action, "Resource": grant.resource}
        for statement in document["Statement"]
        for grant in _grants_of(statement)
        if grant != left_out
    ]
    if left_out not in set(grants(document)):
        raise ValueError(f"{left_out} is not granted")
    return {"Version": document["Version"], "Statement": statements}


def _grants_of(statement: Mapping[str, Any]) -> Iterator[Grant]:
    assert statement["Effect"] == "Allow"
    for action in _listed(statement["Action"]):
        for resource in _listed(statement["Resource"]):
            yield Grant(action, resource)


def _frame(statement: Mapping[str, Any]) -> dict[str, Any]:
    return {name: statement[name] for name in ("Effect", "Condition") if name in statement}


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
