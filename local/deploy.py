"""Deploys the built template to the emulator with `sam deploy`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from samcli.yamlhelper import yaml_parse  # type: ignore[import-untyped]  # ships no types

from local.build import SAM
from local.credentials import secrets
from local.daemons import Daemon
from local.progress import Progress, StackFailed

STACK_NAME = "plivo-cold-transfer"
BUCKET = "plivo-cold-transfer-artifacts"


@dataclass(frozen=True, slots=True)
class Deployed:
    """A deployed stack.

    resources
        Physical ids by logical id.
    parameters, outputs
        By name.
    stage
        The name of the API's stage.
    log_groups
        The log groups' names by the function's logical id.
    """

    resources: Mapping[str, str]
    parameters: Mapping[str, str]
    outputs: Mapping[str, str]
    stage: str
    log_groups: Mapping[str, str]

    @property
    def webhook_path(self) -> str:
        """The emulator's path of the webhook, with the placeholders {phlo_id} and {node_id}."""
        return f"{self._base}/v1/phlo/{{phlo_id}}/multi_party_call/{{node_id}}"

    @property
    def actions_path(self) -> str:
        """The emulator's path of lookups, to be followed by a slash and an Action-Id."""
        return f"{self._base}/v1/actions"

    @property
    def _base(self) -> str:
        # Any resolver can resolve this form; *.execute-api.localhost works in browsers only.
        return f"/restapis/{self.resources['Api']}/{self.stage}/_user_request_"


@dataclass(frozen=True, slots=True)
class Deployer:
    """Deploys to one emulator.

    aws
        Makes a boto3 client of the emulator, by the service's name.
    folder
        Where `sam deploy` runs, and writes its log.
    environment
        The environment of `sam deploy`, with the emulator as AWS_ENDPOINT_URL.
    stack_name
        Unique among the stacks of one emulator.
    """

    aws: Callable[[str], Any]
    folder: Path
    environment: Mapping[str, str]
    progress: Progress
    stack_name: str = STACK_NAME

    def prepare(self) -> None:
        """Create what the stack needs: its secrets and a bucket for its artifacts."""
        self.aws("s3").create_bucket(Bucket=BUCKET)
        manager = self.aws("secretsmanager")
        for name, text in secrets(self.stack_name).items():
            manager.create_secret(Name=name, SecretString=text)

    def deploy(self, template: Path, parameters: Mapping[str, str]) -> Deployed:
        """Run `sam deploy`, with its output in deploy.log, and set the gateway responses.

        template
            As built by `sam build`.

        Raises
        ------
        StackFailed
            It failed; the message has CloudFormation's reasons.
        """
        command = [SAM, "deploy", "--template-file", str(template)]
        command += ["--stack-name", self.stack_name, "--s3-bucket", BUCKET, "--no-progressbar"]
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
        self._put_gateway_responses(template, deployed)
        return deployed

    def _reasons(self) -> list[str]:
        stacks = self.aws("cloudformation")
        try:
            events = stacks.describe_stack_events(StackName=self.stack_name)["StackEvents"]
        except ClientError:
            return []  # it failed before there was a stack
        return [
            f"  {event['LogicalResourceId']}: {event['ResourceStatusReason']}"
            for event in reversed(events)
            if event["ResourceStatus"].endswith("FAILED") and event.get("ResourceStatusReason")
        ]

    def _look_up(self) -> Deployed:
        stacks = self.aws("cloudformation")
        listed = stacks.describe_stack_resources(StackName=self.stack_name)["StackResources"]
        resources = {item["LogicalResourceId"]: item["PhysicalResourceId"] for item in listed}
        (described,) = stacks.describe_stacks(StackName=self.stack_name)["Stacks"]
        parameters = {it["ParameterKey"]: it["ParameterValue"] for it in described["Parameters"]}
        outputs = {it["OutputKey"]: it["OutputValue"] for it in described["Outputs"]}
        stages = self.aws("apigateway").get_stages(restApiId=resources["Api"])["item"]
        functions = self.aws("lambda")
        log_groups = {}
        for logical_id, name in resources.items():
            if logical_id.endswith("Function"):
                function = functions.get_function_configuration(FunctionName=name)
                given = function.get("LoggingConfig", {}).get("LogGroup")
                log_groups[logical_id] = given or f"/aws/lambda/{name}"
        return Deployed(resources, parameters, outputs, stages[0]["stageName"], log_groups)

    def _put_gateway_responses(self, template: Path, deployed: Deployed) -> None:
        """Set the template's gateway responses.

        SAM puts them into the API's definition, where the emulator does not read them.
        """
        properties = yaml_parse(template.read_text())["Resources"]["Api"]["Properties"]
        client = self.aws("apigateway")
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
        # A stage serves the snapshot taken by a deployment.
        client.create_deployment(restApiId=deployed.resources["Api"], stageName=deployed.stage)
