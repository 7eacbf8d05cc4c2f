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

from local.build import DESCRIPTION


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m local.put_event", description=__doc__)
    parser.add_argument("file", type=Path, help="an event, such as those in events/")
    asked = parser.parse_args(arguments)
    try:
        stack = json.loads(DESCRIPTION.read_text())
        event = json.loads(asked.file.read_text())
        entry: Any = {
            "EventBusName": stack["event_bus_name"],
            "Source": event["source"],
            "DetailType": event["detail-type"],
            "Detail": json.dumps(event["detail"]),
        }
    except FileNotFoundError as missing:
        hint = "; start a stack with: make up" if missing.filename == str(DESCRIPTION) else ""
        sys.stderr.write(f"there is no {missing.filename}{hint}\n")
        return 1
    session = boto3.Session(
        stack["aws_access_key_id"], stack["aws_secret_access_key"], region_name=stack["aws_region"]
    )
    bus = session.client("events", endpoint_url=stack["aws_endpoint_url"])
    print(f"event {bus.put_events(Entries=[entry])['Entries'][0]['EventId']} is on the bus")
    return 0


if __name__ == "__main__":
    sys.exit(main())
