"""The fault matrix: each row of the table of outcomes, at both entry points, in four situations.

The cells are played a few at a time, because many of them wait; each test reads one result.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cold_transfer.action import ActionName
from cold_transfer.causes import Cause
from tests.matrix.cells import SITUATIONS, Cell, Plan, plans
from tests.matrix.report import heading
from tests.matrix.rows import ON_MEMBER, RIVAL_ROWS, ROWS, VARIANTS
from tests.support.fault_server import FAULTS
from tests.support.tls import Authority

AT_A_TIME = 4
PAGE = Path(__file__).parents[2] / "docs" / "fault-matrix.md"
PLAYED = [row for row in (*ROWS, *RIVAL_ROWS) if row not in VARIANTS]
PLANS = [
    *plans([ActionName.COLD_TRANSFER], PLAYED),
    *plans([ActionName.HOLD], ON_MEMBER),
]

# a test waits for its cell and those before it, perhaps on a busy machine
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def played(
    request: pytest.FixtureRequest,
    dynamodb: Any,
    endpoint_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Mapping[Plan, "Future[Cell]"]]:
    """The cells of the selected tests, as futures."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    wanted: set[Any] = {
        item.callspec.params["plan"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
        if "plan" in item.callspec.params
    }
    pool = ThreadPoolExecutor(AT_A_TIME)
    try:
        yield {
            plan: pool.submit(plan.play, dynamodb, endpoint_url, authority)
            for plan in PLANS
            if plan in wanted
        }
    finally:
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("plan", PLANS, ids=[plan.name for plan in PLANS])
def test_a_cell_has_the_expected_posts_record_and_answer(
    plan: Plan, played: "Mapping[Plan, Future[Cell]]"
) -> None:
    cell = played[plan].result(timeout=540)

    assert not cell.wrong, cell


@pytest.mark.parametrize("plan", PLANS, ids=[plan.name for plan in PLANS])
def test_the_published_matrix_shows_the_result(
    plan: Plan, played: "Mapping[Plan, Future[Cell]]"
) -> None:
    cell = played[plan].result(timeout=540)
    title = heading(plan.action, plan.entry_point)
    section = PAGE.read_text(encoding="utf-8").partition(f"## {title}\n")[2]
    line = next(t for t in section.splitlines() if t.startswith(f"| {plan.row.name} |"))
    published = dict(zip(["row", *SITUATIONS], line.strip("| ").split(" | "), strict=True))

    assert published[plan.situation] == cell.shown


def test_every_fault_of_the_server_is_a_row() -> None:
    assert {row.name for row in ROWS} >= set(FAULTS)


def test_every_cause_that_a_request_can_end_with_is_a_row() -> None:
    met = {row.cause for row in PLAYED}
    # of a second request, of lookups and of reads
    others = {
        Cause.ABANDONED,
        Cause.IN_PROGRESS,
        Cause.DUPLICATE_IN_PROGRESS,
        Cause.ACTION_NOT_FOUND,
        Cause.READ_REJECTED,
        Cause.READ_FAILED,
        Cause.READ_TIMED_OUT,
        Cause.KEY_REQUIRED,  # see tests/functions/test_keys.py
    }

    assert met | others == set(Cause)
