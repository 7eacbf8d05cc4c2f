"""A function's handler, whose module ``app`` is on the import path: ``handler.py [FORM [TIMES]]``.

Without a form it serves; ``make`` makes so many actions, one unless told otherwise, and ends;
``without-ledger`` serves our webhook with a ledger that says yes to everything and keeps nothing.
"""

import importlib
import os
import sys
from typing import Any

from benchmarks.programs import loop, request

ACCEPTED = 201


def take_the_ledger_out() -> None:
    # The package itself, by its own seams; the peer has none of this.
    composition = importlib.import_module("cold_transfer.composition")
    claim: Any = importlib.import_module("cold_transfer.ledger.ledger").Claim
    now_ms = importlib.import_module("cold_transfer.deadline").now_ms

    class NoLedger:
        def __init__(self, *_: object) -> None:
            pass

        def claim(self, request: Any, _lease_until: int) -> Any:  # noqa: ANN401
            return claim(request.action_id(), "owner", 1, "", now_ms(), None)

        def deduplicate(self, _claim: object) -> None:
            pass

        def mark_sending(self, _claim: object, _lease_until: int) -> None:
            pass

        def settle(self, *_: object, **_options: object) -> None:
            pass

    composition.ledger = NoLedger  # type: ignore[attr-defined]  # what the root composes


def main(form: str, times: int) -> None:
    if form == "without-ledger":
        take_the_ledger_out()
    handler = importlib.import_module("app").handler
    events = request.events()

    def action() -> None:
        answer = handler(next(events), request.Context())
        if answer["statusCode"] != ACCEPTED:
            raise AssertionError(answer)

    if form == "make":
        for _ in range(times):
            action()
        os._exit(0)  # Lambda never takes an interpreter down
    else:
        loop.serve(action)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "", int(sys.argv[2]) if len(sys.argv) > 2 else 1)  # noqa: PLR2004  as the usage has it
