"""The template as CloudFormation deploys it: SAM transformed, conditions evaluated."""

import functools
import os
import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from samcli.yamlhelper import yaml_parse  # type: ignore[import-untyped]  # ships no types
from samtranslator.translator.transform import (  # type: ignore[import-untyped]  # ships no types
    transform,
)

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "template.yaml").read_text(encoding="utf-8")
TEMPLATE: dict[str, Any] = yaml_parse(TEXT)
PARAMETERS: dict[str, dict[str, Any]] = TEMPLATE["Parameters"]
NO_VALUE = {"Ref": "AWS::NoValue"}


class _NoManagedPolicies:
    def load(self) -> dict[str, str]:
        return {}


@functools.cache
def _expanded(parameters: frozenset[tuple[str, str]]) -> dict[str, Any]:
    """The template after SAM's own transform, with placeholders for the code."""
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")  # the transform needs one
    template = deepcopy(TEMPLATE)
    template["Globals"]["Function"]["CodeUri"] = "s3://bucket/code"
    template["Resources"]["ColdTransferLayer"]["Properties"]["ContentUri"] = "s3://bucket/layer"
    made: dict[str, Any] = transform(template, dict(parameters), _NoManagedPolicies())
    return made


class Expanded:
    """The template for one stack; ``parameters`` are those that differ from their defaults."""

    def __init__(self, stack: str = "acme", **parameters: str) -> None:
        defaults = {name: str(it["Default"]) for name, it in PARAMETERS.items()}
        self.parameters = defaults | parameters
        self.values: dict[str, str] = self.parameters | {
            "AWS::StackName": stack,
            "AWS::StackId": f"arn:aws:cloudformation:us-east-1:1:stack/{stack}/{stack}-id",
            "AWS::Region": "us-east-1",
            "AWS::AccountId": "111122223333",
            "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com",
        }
        expanded = deepcopy(_expanded(frozenset(self.parameters.items())))
        self.template: dict[str, Any] = {
            "AWSTemplateFormatVersion": expanded["AWSTemplateFormatVersion"],
            "Parameters": {
                name: {**parameter, "Default": type(parameter["Default"])(self.parameters[name])}
                for name, parameter in expanded["Parameters"].items()
            },
            "Resources": self._included(expanded["Resources"]),
            "Outputs": self._included(expanded["Outputs"]),
        }
        self.resources: dict[str, dict[str, Any]] = self.template["Resources"]

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """The properties of the resources of a type, by logical id."""
        return {
            name: self.properties(name) for name, it in self.resources.items() if it["Type"] == kind
        }

    def properties(self, name: str) -> dict[str, Any]:
        """A resource's properties, with references resolved as far as possible."""
        found: dict[str, Any] = self.resolve(self.resources[name].get("Properties", {}))
        return found

    def variables(self, function: str) -> dict[str, str]:
        found: dict[str, str] = self.properties(function)["Environment"]["Variables"]
        return found

    @property
    def outputs(self) -> dict[str, str]:
        return {name: self.resolve(it["Value"]) for name, it in self.template["Outputs"].items()}

    def holds(self, condition: Any) -> bool:
        [(function, value)] = condition.items()
        decide: Mapping[str, Callable[[], bool]] = {
            "Condition": lambda: self.holds(TEMPLATE["Conditions"][value]),
            "Fn::Equals": lambda: self.resolve(value[0]) == self.resolve(value[1]),
            "Fn::Not": lambda: not self.holds(value[0]),
            "Fn::And": lambda: all(map(self.holds, value)),
        }
        return decide[function]()

    def _included(self, entries: dict[str, Any]) -> dict[str, Any]:
        """The entries whose condition holds."""
        return {
            name: self._decided({key: it for key, it in entry.items() if key != "Condition"})
            for name, entry in entries.items()
            if "Condition" not in entry or self.holds({"Condition": entry["Condition"]})
        }

    def _decided(self, value: Any) -> Any:
        """``value`` with every Fn::If evaluated."""
        if isinstance(value, dict):
            if "Fn::If" in value:
                condition, yes, no = value["Fn::If"]
                return self._decided(yes if self.holds({"Condition": condition}) else no)
            inside = {name: self._decided(it) for name, it in value.items()}
            return {name: it for name, it in inside.items() if it != NO_VALUE}
        if isinstance(value, list):
            return [it for it in map(self._decided, value) if it != NO_VALUE]
        return value

    def resolve(self, value: Any) -> Any:
        """``value`` with references resolved; those to resources become ``<id.name>``."""
        if isinstance(value, list):
            return [self.resolve(each) for each in value]
        if isinstance(value, dict):
            function = next(iter(value)) if len(value) == 1 else ""
            if function in self._functions:
                return self._functions[function](value[function])
            return {name: self.resolve(each) for name, each in value.items()}
        return value if isinstance(value, bool) else str(value)

    @property
    def _functions(self) -> Mapping[str, Callable[[Any], Any]]:
        return {
            "Ref": lambda name: self.values.get(name, f"<{name}>"),
            "Fn::GetAtt": lambda path: f"<{path if isinstance(path, str) else '.'.join(path)}>",
            "Fn::Sub": lambda it: self._substitute(*([it] if isinstance(it, str) else it)),
            "Fn::Split": lambda it: self.resolve(it[1]).split(it[0]),
            "Fn::Select": lambda it: self.resolve(it[1])[int(it[0])],
        }

    def _substitute(self, text: str, names: Mapping[str, Any] | None = None) -> str:
        known = self.values | self.resolve(names or {})
        return re.sub(r"\$\{([\w:.]+)\}", lambda m: known.get(m[1], f"<{m[1]}>"), text)
