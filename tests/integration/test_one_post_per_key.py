"""Nine actions, what Plivo and the ledger may do to them, and repeats at once: one POST per key.

The matrix plays every fault with the cold transfer; this plays some with every action.
"""

import contextlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any

import pytest

from cold_transfer.action import ActionName
from tests.support import builders
from tests.support.fault_server import ACCEPTS, FAULTS, Fault, FaultServer
from tests.support.ledgers import create_table, records
from tests.support.processes.environment import (
    CALM,
    WEBHOOK,
    Conditions,
    Environment,
    Outage,
    Place,
)

RIVALS = 6

#: What happens, and what is recorded of it.
CASES: Mapping[str, tuple[Fault, Conditions, str]] = MappingProxyType(
    {
        "accepted": (ACCEPTS, CALM, "accepted"),
        "rejected": (FAULTS["rejected-404"], CALM, "rejected"),
        "a lost answer": (FAULTS["reset-after-post"], CALM, "unknown"),
        "throttled": (FAULTS["throttled-429"], CALM, "not_sent"),
        "no reply to the mark": (
            ACCEPTS,
            Conditions(outage=Outage("mark_sending", executed=True)),
            "not_sent",
        ),
        "no reply to the settle": (
            ACCEPTS,
            Conditions(outage=Outage("settle", executed=True)),
            "accepted",
        ),
    }
)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ActionName)
def test_simultaneous_requests_with_one_key_are_one_post(
    dynamodb: Any, endpoint_url: str, name: ActionName, case: str
) -> None:
    fault, conditions, state = CASES[case]
    headers = {**builders.bearer(), "Idempotency-Key": "key-1"}
    event = builders.webhook_event(headers=headers, **builders.pieces_of(name))
    table = create_table(dynamodb)
    with FaultServer(fault) as plivo, contextlib.ExitStack() as opened:
        place = Place(endpoint_url, table, plivo.url)
        environments = [
            Environment(place, WEBHOOK, conditions, client=dynamodb) for _ in range(RIVALS)
        ]
        for environment in environments:
            opened.callback(environment.close)
        with ThreadPoolExecutor(RIVALS) as pool:
            list(pool.map(lambda environment: environment.invoke(event), environments))

    (record,) = records(dynamodb, table).values()
    # each attempt that proves that nothing was executed lets the next one send
    sent = record.attempt * fault.posts if case == "throttled" else int(state != "not_sent")
    assert (record.state, record.action, plivo.posts) == (state, name, sent)
    assert {json.loads(request.body)["action"] for request in plivo.requests} <= {name}
