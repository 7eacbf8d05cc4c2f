"""docs/integrations/infrastructure-as-code.md: the packaged template in CDK and Terraform.

The tests use a separate emulator. CDK is installed from npm. The Terraform test is skipped unless
Terraform can find its AWS provider (TF_CLI_ARGS_init="-plugin-dir=FOLDER" can name its folder).
"""

import json
import os
import shutil
import subprocess
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from samcli.yamlhelper import yaml_parse  # type: ignore[import-untyped]  # ships no types

from local import daemons
from local.build import build
from local.credentials import secrets
from local.emulator import REGION, clean_environment, start_emulator
from local.progress import Progress
from local.simulator import Simulator

pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "integrations" / "infrastructure-as-code.md"
SAMPLES = PAGE.parent
BUCKET = "artifacts"
STACK = "plivo-cold-transfer"

#: What CDK adds to every stack that needs its bootstrap stack.
OF_CDK = {"BootstrapVersion", "CheckBootstrapVersion", "CDKMetadata"}

#: The emulator has no host names for buckets, and no account behind its credentials.
EMULATED = """
provider "aws" {
  region                      = "us-east-1"
  s3_use_path_style           = true
  skip_requesting_account_id  = true
}

resource "aws_cloudformation_stack" "cold_transfer" {
  template_url = "https://s3.amazonaws.com/${var.bucket}/${aws_s3_object.template.key}"
  parameters = {
    AwsEndpointUrl = "ENDPOINT"
    PlivoBaseUrl   = "PLIVO"
    Architecture   = "x86_64"
  }
}
"""


@dataclass(frozen=True)
class Account:
    """An emulated account with the two secrets and a bucket, and a simulator of Plivo."""

    endpoint_url: str
    plivo_url: str
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """Selects this account, and keeps the person's settings of npm and Terraform."""
        set_for_tools = {
            name: value
            for name, value in os.environ.items()
            if name.upper().startswith(("NPM_", "NODE_", "TF_"))
        }
        clean = clean_environment(self.folder) | {"AWS_ENDPOINT_URL": self.endpoint_url}
        return clean | set_for_tools

    @property
    def parameters(self) -> dict[str, str]:
        return {
            "AwsEndpointUrl": self.endpoint_url,
            "PlivoBaseUrl": self.plivo_url,
            "Architecture": "x86_64",
        }

    def client(self, service: str) -> Any:
        session: Any = boto3.Session("test", "test", region_name=REGION)
        return session.client(service, endpoint_url=self.endpoint_url)

    def run(
        self, *command: str, cwd: Path, check: bool = True, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(  # noqa: S603  commands of ours
            command,
            cwd=cwd,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def outputs(self) -> dict[str, str]:
        (stack,) = self.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
        return {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}

    def self_check(self) -> Any:
        """The webhook function's report on secrets, ledger and Plivo."""
        reply = self.client("lambda").invoke(
            FunctionName=self.outputs()["WebhookFunctionName"], Payload=b'{"self_check": true}'
        )
        return json.load(reply["Payload"])

    def delete(self) -> None:
        client = self.client("cloudformation")
        client.delete_stack(StackName=STACK)
        client.get_waiter("stack_delete_complete").wait(StackName=STACK)


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    folder = tmp_path_factory.mktemp("account")
    (folder / "tmp").mkdir()
    try:
        with Simulator() as plivo:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)  # as in the conftest
                endpoint = start_emulator(folder, trace_port=9, auth=False, usual_port=False)
            made = Account(endpoint, plivo.base_url, folder)
            made.client("s3").create_bucket(Bucket=BUCKET)
            for name, text in secrets(STACK).items():
                made.client("secretsmanager").create_secret(Name=name, SecretString=text)
            yield made
    finally:
        daemons.stop(daemons.found_in(folder))


@pytest.fixture(scope="module")
def packaged(account: Account) -> Path:
    """The template that the page's command writes."""
    build(Progress())
    (command,) = [line for line in PAGE.read_text().splitlines() if "sam package" in line[:30]]
    sam, *words = command.replace("$BUCKET", BUCKET).replace('"', "").split()
    assert sam == ".venv/bin/sam"
    assert words[-1] == ".aws-sam/packaged.yaml"
    written = account.folder / "packaged.yaml"
    account.run("sam", *words[:-1], str(written), cwd=ROOT)
    return written


def parts(template: Mapping[str, Any]) -> dict[str, Any]:
    """A template without what CDK adds, with each DependsOn sorted."""
    sections = {
        section: {name: it for name, it in entries.items() if name not in OF_CDK}
        for section, entries in template.items()
        if isinstance(entries, dict)
    }
    for resource in sections["Resources"].values():
        if isinstance(resource.get("DependsOn"), list):
            resource["DependsOn"] = sorted(resource["DependsOn"])
    return sections


def test_the_packaged_template_has_no_merge_key_and_no_local_path(packaged: Path) -> None:
    text = packaged.read_text()
    resources = yaml_parse(text)["Resources"]
    archives = [
        resource["Properties"].get("CodeUri") or resource["Properties"]["ContentUri"]
        for resource in resources.values()
        if resource["Type"] in ("AWS::Serverless::Function", "AWS::Serverless::LayerVersion")
    ]

    assert "<<" not in text
    assert len(archives) == 5
    assert all(archive.startswith(f"s3://{BUCKET}/") for archive in archives)


@pytest.fixture(scope="module")
def synthesised(account: Account, packaged: Path) -> Path:
    """The template that the CDK app makes of the packaged one."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("Node.js is not installed")
    folder = account.folder / "cdk"
    shutil.copytree(SAMPLES / "cdk", folder)
    home = os.environ.get("HOME", str(folder))  # where npm has its settings
    install = [npm, "install", "--no-audit", "--no-fund"]
    done = account.run(*install, cwd=folder, check=False, HOME=home)
    if done.returncode:
        pytest.skip(f"aws-cdk-lib cannot be installed: {done.stderr[-200:]}")
    account.run("node", "app.mjs", cwd=folder, PACKAGED=str(packaged), CDK_OUTDIR="out")
    return folder / "out" / f"{STACK}.template.json"


def test_cdk_changes_only_what_the_app_overrides(packaged: Path, synthesised: Path) -> None:
    included = parts(yaml_parse(packaged.read_text()))

    made = parts(json.loads(synthesised.read_text()))

    assert made["Parameters"]["MaxRequestAgeSeconds"].pop("Default") == 30
    del included["Parameters"]["MaxRequestAgeSeconds"]["Default"]
    assert made["Outputs"].pop("Pager")["Value"] == {"Ref": "PagerTopic"}
    assert made == included


def test_the_template_from_cdk_can_be_deployed(account: Account, synthesised: Path) -> None:
    bootstrapped = {"Name": "/cdk-bootstrap/hnb659fds/version", "Type": "String", "Value": "21"}
    account.client("ssm").put_parameter(**bootstrapped)
    account.client("s3").upload_file(str(synthesised), BUCKET, synthesised.name)
    client = account.client("cloudformation")
    client.create_stack(
        StackName=STACK,
        TemplateURL=f"https://s3.amazonaws.com/{BUCKET}/{synthesised.name}",
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        Parameters=[
            {"ParameterKey": name, "ParameterValue": value}
            for name, value in account.parameters.items()
        ],
    )
    client.get_waiter("stack_create_complete").wait(
        StackName=STACK, WaiterConfig={"Delay": 2, "MaxAttempts": 60}
    )

    try:
        assert account.outputs()["Pager"] == account.outputs()["PagerTopicArn"]
        assert account.self_check()["ok"] is True
    finally:
        account.delete()


@pytest.fixture(scope="module")
def terraform(account: Account) -> Path:
    """The initialised sample, with the overrides that the emulator needs."""
    command = shutil.which("terraform")
    if command is None:
        pytest.skip("Terraform is not installed")
    folder = account.folder / "terraform"
    shutil.copytree(SAMPLES / "terraform", folder)
    emulated = EMULATED.replace("ENDPOINT", account.endpoint_url).replace(
        "PLIVO", account.plivo_url
    )
    (folder / "emulated_override.tf").write_text(emulated)
    done = account.run(command, "init", "-input=false", "-no-color", cwd=folder, check=False)
    if done.returncode:
        pytest.skip(f"Terraform's AWS provider cannot be found: {done.stderr[-200:]}")
    return folder


def test_terraform_deploys_the_stack(account: Account, packaged: Path, terraform: Path) -> None:
    values = {"packaged": str(packaged), "bucket": BUCKET, "alarm_email": "oncall@example.com"}
    variables = [word for name, value in values.items() for word in ("-var", f"{name}={value}")]
    account.run("terraform", "validate", "-no-color", cwd=terraform)

    account.run("terraform", "apply", "-auto-approve", "-no-color", *variables, cwd=terraform)

    try:
        url = account.run("terraform", "output", "-raw", "webhook_url", cwd=terraform).stdout
        assert url == account.outputs()["WebhookUrl"]
        assert account.self_check()["ok"] is True
    finally:
        account.run("terraform", "destroy", "-auto-approve", "-no-color", *variables, cwd=terraform)
