"""How `make deploy` reads samconfig.toml, and checks parameters against the template."""

from pathlib import Path

import pytest
from samcli.yamlhelper import yaml_parse  # type: ignore[import-untyped]  # ships no types

from cold_transfer_cli.failures import OperatorError
from tools.stack_settings import SamConfig, Template, check_name

ROOT = Path(__file__).parents[2]
TEMPLATE = Template(ROOT / "template.yaml")


@pytest.mark.parametrize(
    "overrides",
    ["\"A=1 B='two words'\"", '["A=1", "B=two words"]'],
    ids=["as a string", "as a list"],
)
def test_an_environment_is_read_as_sam_reads_it(tmp_path: Path, overrides: str) -> None:
    file = tmp_path / "samconfig.toml"
    file.write_text(
        f"""
        [one.global.parameters]
        stack_name = "first"
        region = "eu-west-1"
        [one.deploy.parameters]
        region = "eu-central-1"
        parameter_overrides = {overrides}
        """
    )

    config = SamConfig.read(file, "one")

    assert config == SamConfig("first", "eu-central-1", None, {"A": "1", "B": "two words"})


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[one", "samconfig.toml is not valid TOML: "),
        ("[other]", "samconfig.toml has no environment one."),
        (
            '[one.deploy.parameters]\nparameter_overrides = "A=\'open"',
            "samconfig.toml, parameter_overrides: No closing quotation.",
        ),
        (
            '[one.deploy.parameters]\nparameter_overrides = "A"',
            "samconfig.toml: A does not have the form NAME=VALUE.",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_the_reason(
    tmp_path: Path, text: str, fault: str
) -> None:
    file = tmp_path / "samconfig.toml"
    file.write_text(text)

    with pytest.raises(OperatorError) as refused:
        SamConfig.read(file, "one")

    assert str(refused.value).startswith(fault)


@pytest.mark.parametrize("environment", ["default", "local", "prod"])
def test_the_projects_own_environments_are_valid(environment: str) -> None:
    config = SamConfig.read(ROOT / "samconfig.toml", environment)

    assert config.stack_name
    assert TEMPLATE.faults(TEMPLATE.values(config.parameters)) == []


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"Nothing": "1"}, "Nothing is not a parameter of the template."),
        ({"AlarmEmail": "nobody"}, "AlarmEmail must be empty, or one e-mail address."),
        ({"Architecture": "sparc"}, "Architecture must be one of arm64, x86_64."),
        ({"LogRetentionDays": "2"}, "LogRetentionDays must be one of 1, 3, "),
        (
            {"PlivoDeadlineSeconds": "16"},
            "PlivoDeadlineSeconds must be an integer from 1 to 15.",
        ),
        (
            {"PlivoDeadlineSeconds": "0"},
            "PlivoDeadlineSeconds must be an integer from 1 to 15.",
        ),
        (
            {"PlivoDeadlineSeconds": "ten"},
            "PlivoDeadlineSeconds must be an integer from 1 to 15.",
        ),
        (
            {"EventSource": "aws.mine"},
            "EventSource must be empty, or an event source that does not",
        ),
        ({"SubnetIds": "subnet-1"}, "SubnetIds needs SecurityGroupIds."),
        ({"SecurityGroupIds": "sg-1"}, "SecurityGroupIds has no effect without SubnetIds."),
        (
            {"PlivoSecretName": "one", "ClientsSecretName": "one"},
            "PlivoSecretName and ClientsSecretName must name two different secrets.",
        ),
        (
            {"ApiGatewayLogRole": "none", "AccessLogClass": "INFREQUENT_ACCESS"},
            "AccessLogClass has no effect when ApiGatewayLogRole is none.",
        ),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, dict) else "",
)
def test_what_cloudformation_would_refuse_is_reported_before_deploying(
    given: dict[str, str], fault: str
) -> None:
    (found,) = TEMPLATE.faults(TEMPLATE.values(given))

    assert found.startswith(fault)


def test_every_rule_of_the_template_can_be_evaluated() -> None:
    """Condition and assertion of each: a rule could use a function that is not implemented."""
    rules = yaml_parse((ROOT / "template.yaml").read_text())["Rules"]
    expected = {each["AssertDescription"] for rule in rules.values() for each in rule["Assertions"]}
    broken = {
        "SubnetIds": "subnet-1",
        "PlivoSecretName": "one",
        "ClientsSecretName": "one",
        "ApiGatewayLogRole": "none",
        "AccessLogClass": "INFREQUENT_ACCESS",
    }
    found = set(TEMPLATE.faults(TEMPLATE.values(broken)))
    found |= set(TEMPLATE.faults(TEMPLATE.values({"SecurityGroupIds": "sg-1"})))

    assert found == expected


@pytest.mark.parametrize("name", ["", "1st", "a_b", "a" * 50, "-a"])
def test_an_invalid_stack_name_is_refused(name: str) -> None:
    with pytest.raises(OperatorError, match="cannot be the name of a stack"):
        check_name(name)
