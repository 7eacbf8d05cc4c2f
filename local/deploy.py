"""`sam deploy` of the built template against the emulator, and what the emulator needs besides."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from botocore.exceptions import ClientError
from samcli.yamlhelper import yaml_dump, yaml_parse  # type: ignore[import-untyped]  # ships no types

from local.credentials import secrets
from local.daemons import Daemon
from local.progress import Progress, StackFailed

STACK_NAME = "plivo-cold-transfer"
BUCKET = "plivo-cold-transfer-artifacts"


class Clients(Protocol):
    """What makes boto3 clients."""

    def client(self, service: str) -> Any: ...  # noqa: ANN401 -- one of many clients


@dataclass(frozen=True, slots=True)
class Deployed:
    """The deployed resources that people and tests ask for, by their physical names."""

    resources: Mapping[str, str]
    parameters: Mapping[str, str]
    stage: str
    log_groups: Mapping[str, str]

    @property
    def webhook_path(self) -> str:
        return f"{self._base}/v1/phlo/{{phlo_id}}/multi_party_call/{{node_id}}"

    @property
    def actions_path(self) -> str:
        return f"{self._base}/v1/actions"

    @property
    def _base(self) -> str:
        # The form that any resolver copes with; *.execute-api.localhost is one for browsers.
        return f"/restapis/{self.resources['Api']}/{self.stage}/_user_request_"


@dataclass(frozen=True, slots=True)
class Deployer:
    """Deploys to one emulator.

    session
        Its clients talk to the emulator, with all rights.
    environment
        What `sam deploy` runs in; AWS_ENDPOINT_URL in it names the emulator.
    """

    session: Clients
    folder: Path
    environment: Mapping[str, str]
    progress: Progress

    def prepare(self) -> None:
        """Make what has to be there before the stack: secrets, a bucket for its artifacts."""
        self.session.client("s3").create_bucket(Bucket=BUCKET)
        manager = self.session.client("secretsmanager")
        for name, text in secrets().items():
            manager.create_secret(Name=name, SecretString=text)

    def deploy(self, template: Path, parameters: Mapping[str, str]) -> Deployed:
        """Run `sam deploy`, its output in deploy.log, and finish what the emulator leaves undone.

        Raises
        ------
        StackFailed
            It failed; the message has the reasons that CloudFormation gave.
        """
        command = [str(Path(sys.executable).with_name("sam")), "deploy"]
        command += ["--template-file", str(without_code_deploy(template))]
        command += ["--stack-name", STACK_NAME, "--s3-bucket", BUCKET, "--no-progressbar"]
        command += ["--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset"]
        command += ["--no-fail-on-empty-changeset", "--parameter-overrides"]
        command += [f"{name}={value}" for name, value in parameters.items()]
        quiet = {**self.environment, "SAM_CLI_TELEMETRY": "0", "SAM_CLI_POLL_DELAY": "0.5"}
        task = Daemon(self.folder, "deploy")
        try:
            self.progress.run("deploying with sam deploy", task, command, quiet, self.folder)
        except StackFailed as failure:
            raise StackFailed("\n".join([str(failure), *self._reasons()])) from None
        deployed = self._look_up()
        self._unqualify_invoke_configs(deployed)
        self._unpin_aliases(deployed)
        self._put_gateway_responses(template, deployed)
        return deployed

    def _reasons(self) -> list[str]:
        stacks = self.session.client("cloudformation")
        try:
            events = stacks.describe_stack_events(StackName=STACK_NAME)["StackEvents"]
        except ClientError:
            return []  # it did not get as far as a stack
        return [
            f"  {event['LogicalResourceId']}: {event['ResourceStatusReason']}"
            for event in reversed(events)
            if event["ResourceStatus"].endswith("FAILED") and event.get("ResourceStatusReason")
        ]

    def _look_up(self) -> Deployed:
        stacks = self.session.client("cloudformation")
        listed = stacks.describe_stack_resources(StackName=STACK_NAME)["StackResources"]
        resources = {item["LogicalResourceId"]: item["PhysicalResourceId"] for item in listed}
        described = stacks.describe_stacks(StackName=STACK_NAME)["Stacks"][0]["Parameters"]
        parameters = {item["ParameterKey"]: item["ParameterValue"] for item in described}
        gateway = self.session.client("apigateway")
        stage = gateway.get_stages(restApiId=resources["Api"])["item"][0]["stageName"]
        functions = self.session.client("lambda")
        log_groups = {}
        for logical_id, name in resources.items():
            if logical_id.endswith("Function"):
                function = functions.get_function_configuration(FunctionName=name)
                given = function.get("LoggingConfig", {}).get("LogGroup")
                log_groups[logical_id] = given or f"/aws/lambda/{name}"
        return Deployed(resources, parameters, stage, log_groups)

    def _unqualify_invoke_configs(self, deployed: Deployed) -> None:
        """Give each function the settings that its duplicate has for asynchronous events.

        The emulator honours them on the function itself only; where there is a duplicate, SAM puts
        them on that.
        """
        client = self.session.client("lambda")
        for logical_id in deployed.log_groups:
            name = deployed.resources[logical_id]
            listed = client.list_function_event_invoke_configs(FunctionName=name)
            for config in listed["FunctionEventInvokeConfigs"]:
                if config["FunctionArn"].rpartition(":")[2] not in (name, "$LATEST"):
                    client.put_function_event_invoke_config(
                        FunctionName=name,
                        MaximumRetryAttempts=config["MaximumRetryAttempts"],
                        MaximumEventAgeInSeconds=config["MaximumEventAgeInSeconds"],
                        DestinationConfig=config["DestinationConfig"],
                    )

    def _unpin_aliases(self, deployed: Deployed) -> None:
        """Let each duplicate stand for the function as it is, not for the version just published.

        The emulator applies reserved concurrency to the function itself only, where AWS applies
        it to every version; and what a test changes about a function would not reach a version.
        """
        client = self.session.client("lambda")
        for logical_id in deployed.log_groups:
            name = deployed.resources[logical_id]
            for alias in client.list_aliases(FunctionName=name)["Aliases"]:
                client.update_alias(
                    FunctionName=name, Name=alias["Name"], FunctionVersion="$LATEST"
                )

    def _put_gateway_responses(self, template: Path, deployed: Deployed) -> None:
        """Make the API's own refusals what the template says.

        The emulator does not read them from the API's definition, where SAM puts them.
        """
        properties = yaml_parse(template.read_text())["Resources"]["Api"]["Properties"]
        client = self.session.client("apigateway")
        for kind, response in properties.get("GatewayResponses", {}).items():
            headers = response.get("ResponseParameters", {}).get("Headers", {})
            status = {"statusCode": str(response["StatusCode"])} if "StatusCode" in response else {}
            client.put_gateway_response(
                restApiId=deployed.resources["Api"],
                responseType=kind,
                responseParameters={
                    f"gatewayresponse.header.{name}": value for name, value in headers.items()
                },
                responseTemplates=response.get("ResponseTemplates", {}),
                **status,
            )
        # A stage serves the snapshot that a deployment took.
        client.create_deployment(restApiId=deployed.resources["Api"], stageName=deployed.stage)


def without_code_deploy(template: Path) -> Path:
    """The template itself, or beside it a copy without DeploymentPreference, if it has one.

    The emulator has no CodeDeploy and refuses a template that needs it.
    """
    text = template.read_text()
    if "DeploymentPreference" not in text:
        return template
    document = yaml_parse(text)
    globally = document.get("Globals", {}).get("Function", {})
    functions = [resource.get("Properties", {}) for resource in document["Resources"].values()]
    for properties in [globally, *functions]:
        properties.pop("DeploymentPreference", None)
    # Beside it, because the paths in it are relative; whole at once, because stacks start at once.
    copy = template.with_name("template-local.yaml")
    draft = copy.with_suffix(f".{os.getpid()}")
    draft.write_text(yaml_dump(document))
    return draft.replace(copy)
