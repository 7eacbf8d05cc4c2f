"""Play the whole fault matrix, print it, and write docs/fault-matrix.md.

Exits with 1, and writes nothing, if a cell is not as it must be.
"""

import logging
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from local import daemons
from local.emulator import start_emulator
from tests.matrix.cells import Cell, plans
from tests.matrix.report import page
from tests.support.processes.environment import dynamodb_client
from tests.support.tls import Authority

PAGE = Path(__file__).parents[2] / "docs" / "fault-matrix.md"
AT_A_TIME = 4


def play(folder: Path) -> list[Cell]:
    """Every cell, in the order of the table."""
    (folder / "tmp").mkdir()
    try:
        url = start_emulator(folder, trace_port=9, auth=False, usual_port=False)
        client, authority = dynamodb_client(url), Authority(folder)
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            return list(pool.map(lambda plan: plan.play(client, url, authority), plans()))
    finally:
        daemons.stop(daemons.found_in(folder))


def main() -> int:
    # what the Plivo client warns of is what the rows are about
    logging.getLogger("cold_transfer").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        cells = play(Path(folder))
    text = page(cells)
    sys.stdout.write(text)
    wrong = [cell for cell in cells if cell.wrong]
    for cell in wrong:
        place = f"{cell.action} | {cell.row} | {cell.entry_point} | {cell.situation}"
        sys.stderr.write(f"{place}: {'; '.join(cell.wrong)}\n")
    if not wrong:
        PAGE.write_text(text, encoding="utf-8")
    sys.stderr.write(f"{len(cells)} cells, {len(wrong)} of them wrong\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
