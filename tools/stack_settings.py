"""The settings of a deployment: samconfig.toml, and the template's parameters and their bounds."""

import argparse
import re
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samcli.yamlhelper import yaml_parse  # type: ignore[import-untyped]  # ships no types

from cold_transfer_cli.failures import OperatorError

#: Longer ones leave too little for the names that are made from it.
_STACK_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,48}")


@dataclass(frozen=True, slots=True)
class SamConfig:
    """One environment of samconfig.toml, as `sam deploy --config-env` reads it."""

    stack_name: str
    region: str | None
    profile: str | None
    parameters: Mapping[str, str]

    @classmethod
    def read(cls, file: Path, environment: str) -> "SamConfig":
        """Read the environment from samconfig.toml.

        Raises
        ------
        OperatorError
            The file has no such environment, or it or its parameters cannot be parsed.
        """
        try:
            tables = tomllib.loads(file.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise OperatorError(f"{file.name} is not valid TOML: {error}.") from None
        if environment not in tables:
            raise OperatorError(f"{file.name} has no environment {environment}.")
        found: dict[str, Any] = {}
        for command in ("global", "deploy"):
            found |= tables[environment].get(command, {}).get("parameters", {})
        overrides = found.get("parameter_overrides", [])
        try:
            words = shlex.split(overrides) if isinstance(overrides, str) else overrides
        except ValueError as error:
            raise OperatorError(f"{file.name}, parameter_overrides: {error}.") from None
        return cls(
            str(found.get("stack_name", "")),
            found.get("region"),
            found.get("profile"),
            assignments(words, file.name),
        )


def assignments(words: list[str], where: str) -> dict[str, str]:
    """The values by name of words like ``NAME=VALUE``; ``where`` they are from, for the error.

    Raises
    ------
    OperatorError
        A word has no equals sign.
    """
    for word in words:
        if "=" not in word:
            raise OperatorError(f"{where}: {word} does not have the form NAME=VALUE.")
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def check_name(stack_name: str) -> None:
    """Check that a stack can have this name.

    Raises
    ------
    OperatorError
        It cannot.
    """
    if not _STACK_NAME.fullmatch(stack_name):
        raise OperatorError(
            f"{stack_name!r} cannot be the name of a stack: up to 49 letters, digits and hyphens,"
            " a letter first."
        )


class Template:
    """The parameters of a template, and the rules between them."""

    def __init__(self, file: Path) -> None:
        document = yaml_parse(file.read_text(encoding="utf-8"))
        self._parameters: dict[str, dict[str, Any]] = document["Parameters"]
        self._rules: dict[str, dict[str, Any]] = document["Rules"]

    def values(self, *layers: Mapping[str, str]) -> dict[str, str]:
        """Every parameter's value: from the last of ``layers`` that has it, or its default."""
        found = {name: str(one["Default"]) for name, one in self._parameters.items()}
        for layer in layers:
            found |= layer
        return found

    def fault(self, name: str, value: str) -> str | None:
        """Why a parameter cannot have this value; None if it can."""
        bounds = self._parameters.get(name)
        if bounds is None:
            return f"{name} is not a parameter of the template."
        allowed = [str(each) for each in bounds.get("AllowedValues", [])]
        if allowed and value not in allowed:
            return f"{name} must be one of {', '.join(allowed)}."
        if bounds["Type"] == "Number" and not _within(bounds, value):
            low, high = bounds.get("MinValue", "any"), bounds.get("MaxValue", "any")
            return f"{name} must be an integer from {low} to {high}."
        if "AllowedPattern" in bounds and not re.fullmatch(bounds["AllowedPattern"], value):
            return f"{name} must be {bounds['ConstraintDescription'].rstrip('.')}."
        return None

    def faults(self, values: Mapping[str, str]) -> list[str]:
        """Everything that CloudFormation would refuse in these parameters."""
        found = [fault for name in values if (fault := self.fault(name, values[name]))]
        if found:
            return found
        return [
            assertion["AssertDescription"]
            for rule in self._rules.values()
            if _holds(rule["RuleCondition"], values)
            for assertion in rule["Assertions"]
            if not _holds(assertion["Assert"], values)
        ]


def _within(bounds: Mapping[str, Any], value: str) -> bool:
    if not re.fullmatch("[0-9]{1,9}", value):
        return False
    low, high = bounds.get("MinValue", 0), bounds.get("MaxValue", 10**9)
    return bool(low <= int(value) <= high)


def _holds(function: Mapping[str, Any], values: Mapping[str, str]) -> bool:
    """Evaluate a rule's condition. Knows only the functions that the template uses there."""
    ((name, operands),) = function.items()
    if name == "Fn::Not":
        return not _holds(operands[0], values)
    if name == "Fn::Equals":
        left, right = (
            values[operand["Ref"]] if isinstance(operand, Mapping) else str(operand)
            for operand in operands
        )
        return left == right
    raise NotImplementedError(name)


def parser_for(prog: str, description: str) -> argparse.ArgumentParser:
    """A command line with the options for the stack."""
    made = argparse.ArgumentParser(prog=prog, description=description, allow_abbrev=False)
    made.add_argument("--stack", help="the stack's name (default: from samconfig.toml)")
    made.add_argument(
        "--config-env",
        default="default",
        help="the environment of samconfig.toml (default: %(default)s)",
    )
    made.add_argument("--region", help="the AWS region")
    made.add_argument("--profile", help="the AWS profile to use")
    return made
