"""A change to a stack: prepared with `sam deploy`, shown, executed and followed."""

import json
import os
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cold_transfer_cli.failures import OperatorError
from cold_transfer_cli.target import Aws
from local.build import ROOT, SAM, STATE
from local.daemons import Daemon
from local.progress import Progress, StackFailed

_PAUSE_SECONDS = 2.0

#: States in which CloudFormation accepts no change, with what to do about each.
_BLOCKED = {
    "ROLLBACK_COMPLETE": "its first deployment failed. Remove it with make destroy",
    "ROLLBACK_FAILED": "its first deployment failed. Remove it with make destroy",
    "CREATE_FAILED": "its first deployment failed. Remove it with make destroy",
    "DELETE_FAILED": "it was not deleted completely. Run make destroy again",
    "UPDATE_ROLLBACK_FAILED": "an update failed. Continue the rollback in the AWS console",
}


class Stack:
    """A stack, which may not exist yet."""

    def __init__(self, aws: Aws, name: str) -> None:
        self._client = aws.client("cloudformation")
        self._aws = aws
        self.name = name

    def described(self) -> dict[str, Any] | None:
        """CloudFormation's description; None if there is no stack, or only an empty one."""
        found = self._aws.stack(self.name)
        empty = found is not None and found["StackStatus"] == "REVIEW_IN_PROGRESS"
        return None if empty else found

    def prepare(
        self, template: Path, environment: str, parameters: Mapping[str, str], progress: Progress
    ) -> str | None:
        """Upload the build and create a change set; returns its ARN, or None if nothing changes.

        Parameters
        ----------
        template
            As built by `sam build`.
        environment
            The environment of samconfig.toml.
        parameters
            Those to set; all others keep their values.

        Raises
        ------
        OperatorError
            `sam deploy` failed; the message has the end of its output.
        """
        STATE.mkdir(exist_ok=True)
        # A separate folder each time: two stacks may be deployed from one checkout at once.
        with tempfile.TemporaryDirectory(prefix="deploy-", dir=STATE) as folder:
            command = self._sam_deploy(template, environment)
            if parameters:
                given = Path(folder) / "parameters.yaml"
                given.write_text(json.dumps(dict(parameters)))  # JSON is YAML
                command += ["--parameter-overrides", f"file://{given}"]
            task = Daemon(Path(folder), "change-set")
            quiet = {**os.environ, "SAM_CLI_TELEMETRY": "0"}
            try:
                progress.run("uploading, and comparing with the stack", task, command, quiet, ROOT)
            except StackFailed as failure:
                raise OperatorError(str(failure)) from None
            output = [line for line in task.log.read_text().splitlines() if line.startswith("{")]
        change_set: str | None = json.loads(output[-1]).get("changeset_id")
        return change_set

    def _sam_deploy(self, template: Path, environment: str) -> list[str]:
        command = [SAM, "deploy", "--output", "json"]
        command += ["--template-file", str(template), "--stack-name", self.name]
        command += ["--config-file", str(ROOT / "samconfig.toml"), "--config-env", environment]
        command += ["--region", self._aws.region, "--no-execute-changeset"]
        command += ["--no-confirm-changeset", "--no-fail-on-empty-changeset"]
        if self._aws.session.profile_name != "default":
            command += ["--profile", self._aws.session.profile_name]
        return command

    def changes(self, change_set: str) -> list[dict[str, Any]]:
        """What a change set changes: CloudFormation's ``ResourceChange`` of each resource."""
        pages = self._client.get_paginator("describe_change_set").paginate(ChangeSetName=change_set)
        return [each["ResourceChange"] for page in pages for each in page["Changes"]]

    def discard(self, change_set: str) -> None:
        """Delete a change set, and the empty stack that was created for it, if any."""
        self._client.delete_change_set(ChangeSetName=change_set)
        if self.described() is None:
            self._client.delete_stack(StackName=self.name)

    def execute(self, change_set: str, progress: Progress) -> None:
        """Execute a change set, and show its progress until it is finished.

        Raises
        ------
        OperatorError
            It failed; the message has CloudFormation's reasons.
        """
        seen = {event["EventId"] for event in self._events(self.name)}
        described = self._client.describe_change_set(ChangeSetName=change_set)
        self._client.execute_change_set(ChangeSetName=change_set)
        self._follow(described["StackId"], seen, progress)

    def delete(self, progress: Progress) -> None:
        """Delete the stack, and show the progress until it is deleted.

        Raises
        ------
        OperatorError
            It failed; the message has CloudFormation's reasons.
        """
        described = self._client.describe_stacks(StackName=self.name)["Stacks"][0]
        stack_id = described["StackId"]
        seen = {event["EventId"] for event in self._events(stack_id)}
        self._client.delete_stack(StackName=self.name)
        self._follow(stack_id, seen, progress)

    def retained(self) -> list[tuple[str, str]]:
        """Kind and physical id of each resource that outlives the stack."""
        template = self._client.get_template(StackName=self.name, TemplateStage="Processed")
        resources = template["TemplateBody"]["Resources"]
        pages = self._client.get_paginator("list_stack_resources").paginate(StackName=self.name)
        return [
            (each["ResourceType"], each["PhysicalResourceId"])
            for page in pages
            for each in page["StackResourceSummaries"]
            if resources.get(each["LogicalResourceId"], {})
            .get("DeletionPolicy", "")
            .startswith("Retain")
            and each["ResourceStatus"] != "DELETE_COMPLETE"
        ]

    def _follow(self, stack_id: str, seen: set[str], progress: Progress) -> None:
        """Report each finished resource until the stack is finished.

        Raises
        ------
        OperatorError
            It failed; the message has the reasons.
        """
        reasons: list[str] = []
        while True:
            stack = self._client.describe_stacks(StackName=stack_id)["Stacks"][0]
            for event in reversed([*self._events(stack_id)]):
                if event["EventId"] not in seen:
                    seen.add(event["EventId"])
                    reasons += _report(event, progress)
            status = stack["StackStatus"]
            if not status.endswith("_IN_PROGRESS"):
                break
            time.sleep(_PAUSE_SECONDS)
        if status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "DELETE_COMPLETE"):
            raise OperatorError("\n".join([f"It failed; the stack is now {status}:", *reasons]))

    def _events(self, stack_id: str) -> Iterator[dict[str, Any]]:
        """Newest first."""
        pages = self._client.get_paginator("describe_stack_events").paginate(StackName=stack_id)
        for page in pages:
            yield from page["StackEvents"]


def check_status(name: str, status: str) -> None:
    """Check that the stack can be changed now.

    Raises
    ------
    OperatorError
        It cannot; the message gives the reason, and what to do.
    """
    if status in _BLOCKED:
        raise OperatorError(f"The stack {name} is {status}: {_BLOCKED[status]}.")
    if status.endswith("_IN_PROGRESS"):
        raise OperatorError(f"The stack {name} is {status}: wait until that has ended.")


def shown(changes: list[dict[str, Any]]) -> str:
    """A change set's changes, one per line; only their number if all are new resources."""
    if all(change["Action"] == "Add" for change in changes):
        kinds = Counter(change["ResourceType"].removeprefix("AWS::") for change in changes)
        listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        return textwrap.fill(f"It creates {len(changes)} resources: {listed}.", width=100)
    rows = []
    for change in changes:
        replaced = {"True": "  REPLACED", "Conditional": "  may be replaced"}
        note = replaced.get(change.get("Replacement", ""), "")
        rows.append(
            f"  {change['Action']:<7} {change['LogicalResourceId']:<28}"
            f" {change['ResourceType'].removeprefix('AWS::')}{note}"
        )
    return "\n".join(["It changes these resources:", *sorted(rows)])


def _report(event: dict[str, Any], progress: Progress) -> list[str]:
    """Show a finished resource; returns the reason if it failed."""
    what, status = event["LogicalResourceId"], event["ResourceStatus"]
    reason = event.get("ResourceStatusReason", "")
    if status.endswith("_FAILED"):
        progress.say(f"{what}: {status}")
        return [] if "cancelled" in reason else [f"  {what}: {reason}"]
    if status.endswith("_COMPLETE"):
        progress.say(f"{what}: {status.lower().replace('_', ' ')}")
    return []
