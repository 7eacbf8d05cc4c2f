"""What a command works on: an AWS account or an emulator, and the stack deployed there."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from cold_transfer_cli.dead_letters import Invoked, Queue
from cold_transfer_cli.failures import OperatorError
from cold_transfer_cli.records import Records

STACK_NAME = "plivo-cold-transfer"
LOCAL = Path(".local") / "stack.json"

#: Short, because a person waits: without a network, a command must fail within seconds.
_PATIENCE = Config(
    connect_timeout=5, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 3}
)

#: One attempt: if Lambda's answer is lost, the ledger knows what happened. The functions' time-out
#: is 25 s.
_ONCE = Config(connect_timeout=5, read_timeout=40, retries={"total_max_attempts": 1})


@dataclass(frozen=True, slots=True)
class Aws:
    """An account and region.

    session
        A boto3 session.
    endpoint_url
        An emulator's; None for AWS itself.
    """

    session: Any
    endpoint_url: str | None = None

    @classmethod
    def of(cls, region: str | None = None, profile: str | None = None) -> "Aws":
        """The usual AWS settings, unless ``region`` or ``profile`` is given.

        ``AWS_ENDPOINT_URL`` is respected.
        """
        session = boto3.Session(profile_name=profile, region_name=region)
        return cls(session, os.environ.get("AWS_ENDPOINT_URL") or None)

    @classmethod
    def local(cls) -> "Aws":
        """The stack that `make up` started, in this folder or one above it.

        Raises
        ------
        OperatorError
            There is none.
        """
        here = Path.cwd()
        for folder in (here, *here.parents):
            if (folder / LOCAL).is_file():
                described = json.loads((folder / LOCAL).read_text())
                session = boto3.Session(
                    described["aws_access_key_id"],
                    described["aws_secret_access_key"],
                    region_name=described["aws_region"],
                )
                return cls(session, described["aws_endpoint_url"])
        raise OperatorError(
            f"There is no {LOCAL} here or in a folder above. Start a local stack: make up"
        )

    @property
    def region(self) -> str:
        return str(self.session.region_name)

    def client(self, service: str, config: Config = _PATIENCE) -> Any:  # noqa: ANN401  boto3 types its clients so
        """A boto3 client, by default with time-outs that suit a person who waits."""
        return self.session.client(service, endpoint_url=self.endpoint_url, config=config)

    def stack(self, name: str) -> dict[str, Any] | None:
        """CloudFormation's description of a stack; None if there is none."""
        try:
            found: dict[str, Any] = self.client("cloudformation").describe_stacks(StackName=name)
        except ClientError as error:
            if "does not exist" not in error.response["Error"].get("Message", ""):
                raise
            return None
        described: dict[str, Any] = found["Stacks"][0]
        return described

    def account(self) -> tuple[str, str]:
        """The account's id and the operator's name, the last part of the identity's ARN."""
        identity = self.client("sts").get_caller_identity()
        return str(identity["Account"]), str(identity["Arn"]).split(":")[-1].rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Target:
    """A deployed stack, with the outputs and parameters of its template by name."""

    aws: Aws
    name: str
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]

    @classmethod
    def found(cls, aws: Aws, name: str) -> "Target":
        """The stack of that name.

        Raises
        ------
        OperatorError
            There is none, or it is not one of this project's.
        """
        stack = aws.stack(name)
        if stack is None:
            raise OperatorError(
                f"There is no stack {name} in {aws.region}. Use --stack, --region or --profile to"
                " choose another."
            )
        outputs = {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", [])}
        parameters = {
            each["ParameterKey"]: each.get("ParameterValue", "")
            for each in stack.get("Parameters", [])
        }
        if "LedgerTableName" not in outputs:
            raise OperatorError(
                f"The stack {name} in {aws.region} ({stack['StackStatus']}) lacks the outputs of"
                " this project: it belongs to another project, or was never fully deployed."
            )
        return cls(aws, name, outputs, parameters)

    def records(self) -> Records:
        """The ledger's records."""
        return Records(self.aws.client("dynamodb"), self.outputs["LedgerTableName"])

    def queue(self) -> Queue:
        """The dead-letter queue."""
        return Queue(self.aws.client("sqs"), self.outputs["DeadLetterQueueUrl"])

    def api_url(self) -> str:
        """The API's base URL, up to `/v1`."""
        if self.aws.endpoint_url is None:
            return self.outputs["ActionsUrl"].partition("/v1/")[0]
        api, stage = self.outputs["ApiId"], self.outputs["ApiStage"]
        return f"{self.aws.endpoint_url}/restapis/{api}/{stage}/_user_request_"

    def invoke(self, function: str, event: Mapping[str, Any]) -> Invoked:
        """Invoke a function, named by its output, and wait for the result.

        Raises
        ------
        ClientError
            Lambda did not invoke it, for a reason other than throttling.
        """
        try:
            reply = self.aws.client("lambda", _ONCE).invoke(
                FunctionName=self.outputs[function], Payload=json.dumps(event).encode()
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "TooManyRequestsException":
                raise
            return Invoked(raised=True, text="not invoked: it is stopped or throttled")
        payload = json.loads(reply["Payload"].read() or "null")
        if "FunctionError" in reply:
            message = payload.get("errorMessage", "") if isinstance(payload, dict) else payload
            return Invoked(raised=True, text=str(message))
        return Invoked(raised=False, text=json.dumps(payload))
