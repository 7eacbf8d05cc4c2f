"""Calculates what a rate of actions needs of each service: the table in docs/throughput.md.

The numbers per action are those of ``tools.costs``. The limits are default quotas of us-east-1;
docs/throughput.md has the source of each.
"""

import math
from dataclasses import dataclass

from tools import costs, markers

#: Actions per second.
RATES = (1, 100, 10_000)

#: Partitions of the ledger's index, ``cold_transfer.ledger.SHARDS``.
SHARDS = 16
#: Defaults of the template.
STAGE_RATE_LIMIT, RECORD_DAYS, SECRETS_CACHE_SECONDS = 45, 15, 300
#: Size of an action's two items in the ledger, as measured for the costs.
ITEM_BYTES = 450 + 190
#: Calls to Secrets Manager per action: each environment of an entry point reads the two secrets
#: again when they are too old.
SECRET_CALLS = costs.ENTRY_POINT_SECONDS * costs.SECRETS / SECRETS_CACHE_SECONDS
#: Per action.
LOG_BYTES = costs.ENTRY_POINT_LOG + 2 * costs.LAMBDA_LOG + costs.ACCESS_LOG
#: How many new environments of one function Lambda starts per second.
SCALE_UP = 100


@dataclass(frozen=True, slots=True)
class Need:
    """How much of something one action per second takes.

    what
        The thing and its unit, as in the table.
    each
        How much one action per second takes.
    limit
        How much there is by default; None if there is no limit.
    """

    what: str
    each: float
    limit: float | None = None

    @property
    def enough_for(self) -> float | None:
        """How many actions per second the limit allows; None if there is no limit."""
        return None if self.limit is None else self.limit / self.each


NEEDS = (
    Need("POSTs to Plivo per second and account", 1, 300 / 5),
    Need("requests to the stage per second (`StageRateLimit`)", 1, STAGE_RATE_LIMIT),
    Need("requests to API Gateway per second", 1, 10_000),
    Need("concurrent environments of an entry point, 0.5 s each", costs.ENTRY_POINT_SECONDS, 1_000),
    Need("concurrent environments of the outcomes function", costs.OUTCOME_SECONDS, 1_000),
    Need("writes to a new ledger per second", costs.TABLE_WRITES, 4_000),
    Need("writes to the ledger per second", costs.TABLE_WRITES, 40_000),
    Need("writes to its index per second", costs.INDEX_WRITES, 40_000),
    Need("writes to one key of its index per second", costs.INDEX_WRITES / SHARDS, 1_000),
    Need("events put on the bus per second: the outcome", 1, 10_000),
    Need("the same through the event entry point: request and outcome", 2, 10_000),
    Need("calls to Secrets Manager per second", SECRET_CALLS, 10_000),
    Need("logs, MB per second", LOG_BYTES / 1e6),
    Need("size of the ledger over `RecordDays`, GB", ITEM_BYTES * 86_400 * RECORD_DAYS / 1e9),
)


def written() -> dict[str, str]:
    """The generated table of docs/throughput.md, by its name."""
    head = ["needed", *(f"{rate:,}/s" for rate in RATES)]
    rows = [[*head, "default limit", "enough for"]]
    for need in NEEDS:
        cells = [_cell(need, rate) for rate in RATES]
        limit = "" if need.limit is None else f"{need.limit:,.0f}"
        enough = "" if need.enough_for is None else f"{need.enough_for:,.0f}/s"
        rows.append([need.what, *cells, limit, enough])
    accounts = [f"{math.ceil(rate / NEEDS[0].limit):,}" for rate in RATES if NEEDS[0].limit]
    rows.append(["Plivo accounts, each with its own stack", *accounts, "1", ""])
    seconds = [f"{rate * costs.ENTRY_POINT_SECONDS / SCALE_UP:,.2g}" for rate in RATES]
    rows.append(["seconds until Lambda has scaled up", *seconds, "", ""])
    return {"needs": markers.of(rows)}


def _cell(need: Need, rate: int) -> str:
    """The number, in bold if it exceeds the limit."""
    value = need.each * rate
    text = f"{value:,.0f}" if value >= 10 else f"{value:.2g}"  # noqa: PLR2004 -- two digits
    return f"**{text}**" if need.limit is not None and value > need.limit else text
