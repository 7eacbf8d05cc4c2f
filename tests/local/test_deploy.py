"""What the local deploy changes about the template, and where it finds things afterwards."""

import re
from pathlib import Path

import pytest
from samcli.yamlhelper import yaml_parse  # type: ignore[import-untyped]  # ships no types

from local import credentials
from local.deploy import Deployed, without_code_deploy

TEMPLATE = """
Globals:
  Function:
    DeploymentPreference: {Type: AllAtOnce}
    Timeout: 25
Resources:
  WebhookFunction:
    Type: AWS::Serverless::Function
    Properties:
      AutoPublishAlias: live
      DeploymentPreference: {Type: Canary10Percent5Minutes}
      Role: !GetAtt WebhookRole.Arn
"""


def test_the_deployment_preference_is_dropped_and_nothing_else(tmp_path: Path) -> None:
    template = tmp_path / "template.yaml"
    template.write_text(TEMPLATE)
    changed = without_code_deploy(template)
    expected = yaml_parse(TEMPLATE)
    del expected["Globals"]["Function"]["DeploymentPreference"]
    del expected["Resources"]["WebhookFunction"]["Properties"]["DeploymentPreference"]
    assert yaml_parse(changed.read_text()) == expected
    assert changed.parent == template.parent  # paths in it are relative to its folder
    assert template.read_text() == TEMPLATE


def test_a_template_without_it_is_deployed_as_it_is(tmp_path: Path) -> None:
    template = tmp_path / "template.yaml"
    template.write_text("Resources: {}\n")
    assert without_code_deploy(template) == template


def test_the_webhook_path_has_its_two_placeholders() -> None:
    deployed = Deployed({"Api": "abc"}, {}, "live", {})
    assert deployed.webhook_path.startswith("/restapis/abc/live/")
    assert deployed.webhook_path.endswith("/v1/phlo/{phlo_id}/multi_party_call/{node_id}")


def test_the_local_credentials_have_the_documented_form() -> None:
    assert re.fullmatch(r"(M|S)A[A-Z0-9]{18}", credentials.PLIVO_AUTH_ID)
    tokens = [token for entry in credentials.CLIENTS.values() for token in entry.get("tokens", [])]
    assert len(set(tokens)) == 3
    assert all(len(token) >= 32 for token in tokens)


@pytest.mark.parametrize("name", [credentials.PLIVO_SECRET_NAME, credentials.CLIENTS_SECRET_NAME])
def test_the_secrets_are_made_under_the_names_that_the_template_expects(name: str) -> None:
    template = yaml_parse((Path(__file__).parents[2] / "template.yaml").read_text())
    assert name in credentials.secrets()
    assert name in {one.get("Default") for one in template["Parameters"].values()}
