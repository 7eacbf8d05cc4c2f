"""`aws` for the documents' commands: boto3's own models say what the real one would take.

Version 2 of the AWS CLI is on no package index. What it would refuse is refused here too: another
service, operation or option than there is. A command that names no address would go to AWS itself,
as AWS_ENDPOINT_URL means nothing to a CLI before 2.13: it goes to STAND_IN_FOR_AWS, or fails.
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

#: Options that the AWS CLI calls by another name than the API's member.
RENAMED = {("sns", "subscribe", "endpoint"): "notification_endpoint"}


def value(type_name: str, word: str) -> int | str:
    if word.startswith("file://"):
        return Path(word.removeprefix("file://")).read_text()
    return int(word) if type_name == "integer" else word


def text(found: Any) -> str:
    """As ``--output text`` shows it."""
    return "\t".join(map(text, found)) if isinstance(found, list) else str(found)


def main() -> int:
    parser = argparse.ArgumentParser(prog="aws", allow_abbrev=False)
    parser.add_argument("--endpoint-url", default=os.environ.get("STAND_IN_FOR_AWS"))
    parser.add_argument("service")
    parser.add_argument("operation", type=lambda word: word.replace("-", "_"))
    asked, words = parser.parse_known_args()
    if not asked.endpoint_url:
        parser.error("this would have gone to AWS")
    client: Any = boto3.client(asked.service, endpoint_url=asked.endpoint_url)
    operation = client.meta.method_to_api_mapping[asked.operation]
    model = client.meta.service_model.operation_model(operation)
    members = {
        RENAMED.get((asked.service, asked.operation, option), option): (name, shape)
        for name, shape in model.input_shape.members.items()
        for option in [xform_name(name)]
    }

    own = argparse.ArgumentParser(prog=f"aws {asked.service}", allow_abbrev=False)
    for option in members:
        own.add_argument(f"--{option.replace('_', '-')}")
    own.add_argument("--output", choices=["json", "text"], default="json")
    own.add_argument("--query", type=jmespath.compile)
    own.add_argument("--cli-binary-format", choices=["raw-in-base64-out"])
    if model.has_streaming_output:
        own.add_argument("outfile", type=Path)
    given = vars(own.parse_args(words))
    reply = getattr(client, asked.operation)(
        **{
            name: value(shape.type_name, given[option])
            for option, (name, shape) in members.items()
            if given[option] is not None
        }
    )
    if model.has_streaming_output:
        given["outfile"].write_bytes(reply.pop("Payload").read())
    found = given["query"].search(reply) if given["query"] else reply
    shown = text(found) if given["output"] == "text" else json.dumps(found, indent=4, default=str)
    sys.stdout.write(f"{shown}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
