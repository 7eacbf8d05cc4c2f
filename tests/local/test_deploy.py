"""Where the local deploy finds things, and what it makes before."""

import re
from pathlib import Path

from samcli.yamlhelper import yaml_parse  # type: ignore[import-untyped]  # ships no types

from local import credentials
from local.deploy import Deployed


def test_the_webhook_path_has_its_two_placeholders() -> None:
    deployed = Deployed({"Api": "abc"}, {}, {}, "live", {})
    assert deployed.webhook_path.startswith("/restapis/abc/live/")
    assert deployed.webhook_path.endswith("/v1/phlo/{phlo_id}/multi_party_call/{node_id}")


def test_the_local_credentials_have_the_documented_form() -> None:
    assert re.fullmatch(r"(M|S)A[A-Z0-9]{18}", credentials.PLIVO_AUTH_ID)
    tokens = [token for entry in credentials.CLIENTS.values() for token in entry.get("tokens", [])]
    assert len(set(tokens)) == 4
    assert all(len(token) >= 32 for token in tokens)


def test_the_secrets_are_made_under_the_names_that_the_template_expects() -> None:
    template = yaml_parse((Path(__file__).parents[2] / "template.yaml").read_text())
    variables = template["Globals"]["Function"]["Environment"]["Variables"]
    chosen = [variables[name]["Fn::If"] for name in ("PLIVO_SECRET_NAME", "CLIENTS_SECRET_NAME")]
    expected = [default["Fn::Sub"].replace("${AWS::StackName}", "a") for _, _, default in chosen]

    assert list(credentials.secrets("a")) == expected
