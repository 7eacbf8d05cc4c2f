"""A replacement for `aws` in the documents' commands, made from boto3's models.

Version 2 of the AWS CLI is on no package index. Like the original, this refuses an unknown service,
operation or option. It never talks to AWS: without --endpoint-url and AWS_ENDPOINT_URL, it fails.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import boto3
import jmespath  # type: ignore[import-untyped]  # ships no types
from botocore import xform_name

#: Options whose name in the AWS CLI differs from the API's.
RENAMED = {("sns", "subscribe", "endpoint"): "notification_endpoint"}


def parsed(type_name: str, argument: str) -> int | str:
    if argument.startswith("file://"):
        return Path(argument.removeprefix("file://")).read_text()
    return int(argument) if type_name == "integer" else argument


def text(value: Any) -> str:
    """As ``--output text`` formats it."""
    return "\t".join(map(text, value)) if isinstance(value, list) else str(value)


def main() -> int:
    parser = argparse.ArgumentParser(prog="aws", allow_abbrev=False)
    parser.add_argument("--endpoint-url", default=os.environ.get("AWS_ENDPOINT_URL"))
    parser.add_argument("service")
    parser.add_argument("operation", type=lambda name: name.replace("-", "_"))
    command, arguments = parser.parse_known_args()
    if not command.endpoint_url:
        parser.error("this would have gone to AWS")
    client: Any = boto3.client(command.service, endpoint_url=command.endpoint_url)
    operation = client.meta.method_to_api_mapping[command.operation]
    model = client.meta.service_model.operation_model(operation)
    members = {
        RENAMED.get((command.service, command.operation, option), option): (name, shape)
        for name, shape in model.input_shape.members.items()
        for option in [xform_name(name)]
    }

    parser = argparse.ArgumentParser(prog=f"aws {command.service}", allow_abbrev=False)
    for option in members:
        parser.add_argument(f"--{option.replace('_', '-')}")
    parser.add_argument("--output", choices=["json", "text"], default="json")
    parser.add_argument("--query", type=jmespath.compile)
    parser.add_argument("--cli-binary-format", choices=["raw-in-base64-out"])
    if model.has_streaming_output:
        parser.add_argument("outfile", type=Path)
    options = vars(parser.parse_args(arguments))
    reply = getattr(client, command.operation)(
        **{
            name: parsed(shape.type_name, options[option])
            for option, (name, shape) in members.items()
            if options[option] is not None
        }
    )
    if model.has_streaming_output:
        options["outfile"].write_bytes(reply.pop("Payload").read())
    result = options["query"].search(reply) if options["query"] else reply
    as_json = options["output"] == "json"
    shown = json.dumps(result, indent=4, default=str) if as_json else text(result)
    sys.stdout.write(f"{shown}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
