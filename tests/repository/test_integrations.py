"""The samples in docs/integrations pass cfn-lint, and agree with the template."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import lint  # type: ignore[import-untyped]  # ships no types
from cfnlint.config import ManualArgs  # type: ignore[import-untyped]  # ships no types
from samcli.yamlhelper import yaml_parse  # type: ignore[import-untyped]  # ships no types

from tests.repository.expanded import PARAMETERS, TEMPLATE, Expanded

SAMPLES = Path(__file__).parents[2] / "docs" / "integrations"
TEMPLATES = sorted(SAMPLES.glob("*.yaml"))
STACK = Expanded("acme")


def resources(sample: str) -> dict[str, Any]:
    """The resources of a sample, with references resolved for a stack named acme."""
    stack = Expanded("acme")
    stack.values["StackName"] = "acme"
    read = yaml_parse((SAMPLES / sample).read_text(encoding="utf-8"))
    found: dict[str, Any] = stack.resolve(read["Resources"])
    return found


def statements(policy: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The statements of a policy for AWS services, by the service's name."""
    return {
        each["Principal"]["Service"]: each
        for each in policy["Statement"]
        if isinstance(each["Principal"], dict) and "Service" in each["Principal"]
    }


@pytest.fixture(scope="module")
def key_policy() -> dict[str, dict[str, Any]]:
    return statements(resources("data-key.yaml")["DataKey"]["Properties"]["KeyPolicy"])


def test_every_sample_is_linted() -> None:
    assert [path.name for path in TEMPLATES] == ["data-key.yaml", "egress.yaml", "slack.yaml"]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_cloudformation_finds_nothing_in_a_sample(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # so that .cfnlintrc is not read

    found = lint(
        template.read_text(encoding="utf-8"),
        config=ManualArgs(regions=["us-east-1", "eu-west-1"], include_checks=["I"]),
    )

    assert [str(match) for match in found] == []


def test_the_data_key_lets_cloudwatch_publish_as_the_stacks_own_key_does(
    key_policy: dict[str, dict[str, Any]],
) -> None:
    own = statements(STACK.properties("AlarmKey")["KeyPolicy"])["cloudwatch.amazonaws.com"]
    wanted = {name: own[name] for name in ("Action", "Condition")}

    assert {name: key_policy["cloudwatch.amazonaws.com"][name] for name in wanted} == wanted


def test_the_data_key_fits_the_names_of_the_log_groups(
    key_policy: dict[str, dict[str, Any]],
) -> None:
    condition = key_policy["logs.us-east-1.amazonaws.com"]["Condition"]
    groups = STACK.of_type("AWS::Logs::LogGroup")

    # a name that CloudFormation generates begins with the stack's name
    assert groups
    assert all("LogGroupName" not in properties for properties in groups.values())
    assert condition == {
        "ArnLike": {
            "kms:EncryptionContext:aws:logs:arn": (
                "arn:aws:logs:us-east-1:111122223333:log-group:acme-*"
            )
        }
    }


def test_the_data_key_admits_the_services_that_write_to_what_it_encrypts_and_no_other(
    key_policy: dict[str, dict[str, Any]],
) -> None:
    writers = {
        service
        for kind in ("AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy")
        for properties in STACK.of_type(kind).values()
        for service in statements(properties["PolicyDocument"])
    }

    assert set(key_policy) == writers | {"logs.us-east-1.amazonaws.com"}
    for service in writers:
        assert key_policy[service]["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]


@pytest.mark.parametrize("sample", ["data-key.yaml", "egress.yaml", "slack.yaml"])
def test_outputs_are_parameters_of_the_stack_and_parameters_are_its_outputs(sample: str) -> None:
    """So that values can be passed between them by name."""
    read = yaml_parse((SAMPLES / sample).read_text(encoding="utf-8"))
    own = {"PublicAddress", "StackName", "Cidr", "SlackWorkspaceId", "SlackChannelId"}

    assert set(read.get("Outputs", {})) <= set(PARAMETERS) | own
    assert set(read.get("Parameters", {})) <= set(TEMPLATE["Outputs"]) | own


def test_terraform_and_cdk_use_names_of_the_template() -> None:
    terraform = (SAMPLES / "terraform" / "main.tf").read_text(encoding="utf-8")
    block = re.findall(r"parameters = \{(.*?)\}", terraform, re.DOTALL)[0]
    cdk = (SAMPLES / "cdk" / "app.mjs").read_text(encoding="utf-8")

    assert set(re.findall(r"^ *(\w+) +=", block, re.MULTILINE)) <= set(PARAMETERS)
    assert set(re.findall(r'outputs\["(\w+)"\]', terraform)) <= set(TEMPLATE["Outputs"])
    assert set(re.findall(r'getParameter\("(\w+)"\)', cdk)) <= set(PARAMETERS)
    assert set(re.findall(r'getResource\("(\w+)"\)', cdk)) <= set(TEMPLATE["Resources"])
    assert json.loads((SAMPLES / "cdk" / "package.json").read_text())["private"]
