"""Put an event on the local bus: ``python -m local.put_event events/event-accepted.json``.

It always goes to the stack of `make up`, whatever AWS_ENDPOINT_URL is.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from local import running
from local.progress import StackFailed


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m local.put_event", description=__doc__)
    parser.add_argument("file", type=Path, help="an event, such as those in events/")
    file: Path = parser.parse_args(arguments).file
    try:
        print(f"event {_put(_entry(file))} is on the bus")
    except (StackFailed, OSError, BotoCoreError, ClientError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _entry(file: Path) -> dict[str, str]:
    """The entry of PutEvents for the event in ``file``, without the bus."""
    try:
        event = json.loads(file.read_text())
        return {
            "Source": event["source"],
            "DetailType": event["detail-type"],
            "Detail": json.dumps(event["detail"]),
        }
    except (ValueError, KeyError, TypeError):
        raise StackFailed(
            f"{file} is not a JSON object with source, detail-type and detail: see events/"
        ) from None


def _put(entry: dict[str, str]) -> str:
    """Put the entry on the bus; returns the event's id."""
    stack = running.description()
    session = boto3.Session(
        stack["aws_access_key_id"], stack["aws_secret_access_key"], region_name=stack["aws_region"]
    )
    bus: Any = session.client("events", endpoint_url=stack["aws_endpoint_url"])
    put = bus.put_events(Entries=[{**entry, "EventBusName": stack["event_bus_name"]}])["Entries"][0]
    if "EventId" not in put:
        raise StackFailed(f"the bus refused the event: {put['ErrorMessage']}")
    return str(put["EventId"])


if __name__ == "__main__":
    sys.exit(main())
