"""The expanded template passes cfn-lint for each way to deploy it, with no finding ignored."""

import json
from pathlib import Path

import pytest
from cfnlint.api import lint  # type: ignore[import-untyped]  # ships no types
from cfnlint.config import ManualArgs  # type: ignore[import-untyped]  # ships no types

from tests.repository.expanded import ROOT, Expanded
from tools.stack_settings import Template

KEY = "arn:aws:kms:eu-west-1:111122223333:key/0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f"
WAYS = {
    "defaults": {},
    "own names": {
        "PlivoSecretName": "plivo/token",
        "ClientsSecretName": "plivo/clients",
        "EventSource": "crm",
        "RunbookUrl": "https://wiki.example.com/runbook",
    },
    "own bus": {"EventBusName": "calls", "EventActions": "*", "EventPhloIds": "a" * 24},
    "own keys": {"SecretsKmsKeyArn": KEY, "DataKmsKeyArn": KEY},
    "VPC": {
        "SubnetIds": "subnet-0a1b2c3d,subnet-0a1b2c3e",
        "SecurityGroupIds": "sg-0a1b2c3d",
        "ReservedConcurrency": "10",
    },
    "guarded API": {"AllowedCidrs": "192.0.2.0/24", "WafRateLimit": "2000"},
    "existing log role": {
        "ApiGatewayLogRole": "existing",
        "AccessLogClass": "INFREQUENT_ACCESS",
        "AlarmEmail": "all@example.com",
        "PagerEmail": "pager@example.com",
        "LedgerDeletionProtection": "true",
    },
    "no access log": {"ApiGatewayLogRole": "none", "LogRetentionDays": "90"},
    "local": {"AwsEndpointUrl": "http://127.0.0.1:4566", "Architecture": "x86_64"},
}


@pytest.mark.parametrize("way", WAYS)
def test_cloudformation_finds_no_error(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # so that .cfnlintrc is not read
    stack = Expanded(**WAYS[way])
    for resource in stack.resources.values():
        resource.pop("Metadata", None)  # it lists the checks that cfn-lint ignores

    found = lint(
        json.dumps(stack.template),
        config=ManualArgs(regions=["us-east-1"], ignore_checks=["I", "W"]),
    )

    assert [str(match) for match in found] == []


@pytest.mark.parametrize("way", WAYS)
def test_its_parameters_are_allowed(way: str) -> None:
    template = Template(ROOT / "template.yaml")

    assert template.faults(template.values(WAYS[way])) == []
