"""The matrix as a table."""

from collections.abc import Iterator, Sequence

from cold_transfer.action import in_title_case
from tests.matrix.cells import SITUATIONS, Cell
from tests.matrix.rows import ACTIONS
from tests.support.processes.environment import ENTRY_POINTS
from tools import markers

HEAD = """# The fault matrix

What each row of the table of outcomes leads to, for a cold transfer, which dials, and for hold, an
action on a member, at both entry points, in four situations. Every cell was played with the real
function, ledger, service and Plivo client, against a DynamoDB API and a server that fails as the
row says and counts what it received. `python -m tests.matrix` plays all of them again and writes
this page. `make test` plays them too, except variants of a response that only the Plivo client
tells apart, and of hold one row of each kind. It fails if a cell differs from this page.

A cell reads: POSTs that Plivo received · recorded state · answer.

- **first**: the request comes once.
- **again**: the same request again, in another Lambda environment, after the first was answered.
- **50 at once**: 50 environments get it at the same moment. "Per attempt" means that an attempt
  proved that nothing was executed, so the next one may send.
- **again after a kill**: SIGKILL after Plivo has answered and before that is recorded; if the row
  ends earlier, at its last step. The request comes again at once, and again when the killed
  invocation's lease is over; at the event entry point the reconcile function ran in between.
  `tests/integration/test_kill_points.py` kills at every other step. "-": there is nothing to kill.

At the event entry point "raises" means that the event is in the dead-letter queue. The last three
rows of a table are about a second request beside a first one; the answers are the second's. The
content of a hold has no window: under another key it is another request, and is sent.
"""


def page(cells: Sequence[Cell]) -> str:
    """The whole page."""
    return "\n".join([HEAD, *_sections(cells)])


def _sections(cells: Sequence[Cell]) -> Iterator[str]:
    columns = ["row", *SITUATIONS]
    for action in ACTIONS:
        for entry_point in ENTRY_POINTS:
            shown: dict[str, list[str]] = {}
            for cell in cells:
                if (cell.action, cell.entry_point) == (action, entry_point):
                    shown.setdefault(cell.row, []).append(cell.shown)
            rows = [[row, *line] for row, line in shown.items()]
            table = markers.of([columns, *rows], left=len(columns))
            yield f"## {heading(action, entry_point)}\n\n{table}\n"


def heading(action: str, entry_point: str) -> str:
    return f"{in_title_case(action).capitalize()}, {entry_point}"
