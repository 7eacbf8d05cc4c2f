"""Calculates what 1,000 actions and a month cost: the tables in docs/costs.md.

All prices are list prices of us-east-1 in US dollars, without free tiers and discounts.
docs/costs.md has the source of each number.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from samcli.yamlhelper import yaml_parse  # type: ignore[import-untyped]  # ships no types

from local.build import ROOT
from tools import markers

MILLION, GB, HOURS = 1_000_000, 1_000_000_000, 730
MINUTES = HOURS * 60

#: List prices, per unit.
PRICES = {
    "API Gateway REST request": 3.50 / MILLION,
    "Lambda request": 0.20 / MILLION,
    "Lambda GB-second, arm64": 0.0000133334,
    "DynamoDB write unit": 0.625 / MILLION,
    "DynamoDB read unit": 0.125 / MILLION,
    "EventBridge custom event": 1.00 / MILLION,
    "X-Ray trace": 5.00 / MILLION,
    "Secrets Manager call": 0.05 / 10_000,
    "logs, GB ingested": 0.50,
    "metric, month": 0.30,
    "alarm on one metric, month": 0.10,
    "dashboard, month": 3.00,
    "secret, month": 0.40,
    "KMS key, month": 1.00,
}

# --- one accepted action ------------------------------------------------------------------------

#: Claim, deduplicate, mark sending, settle; each item is below 1 kB (450 and 190 bytes).
TABLE_WRITES = 4
#: The sparse index: put by the claim, moved by mark sending (a delete and a put), deleted by the
#: settle.
INDEX_WRITES = 4
#: Assumed. 0.07 s were measured locally, with a simulator that answers immediately; the rest allows
#: for Plivo and TLS.
ENTRY_POINT_SECONDS = 0.5
ENTRY_POINT_GB = 1.0
#: The mean, measured locally with one outcome per invocation.
OUTCOME_SECONDS = 0.02
OUTCOME_GB = 0.5
#: Bytes of log. Measured: what a function writes, plus 26 bytes that CloudWatch adds to each line.
#: Calculated: Lambda's own lines per invocation (start, end, report), and the access log.
ENTRY_POINT_LOG, LAMBDA_LOG, ACCESS_LOG = 930, 450, 500
#: One of the entry point, which includes the gateway, and one of the outcomes function.
TRACES = 2
#: In a new execution environment, or in one whose secrets are older than SecretsCacheSeconds.
SECRET_CALLS = 2

# --- a month ------------------------------------------------------------------------------------

#: Our metrics times functions: as many as a minute of mixed traffic had on a local stack. A metric
#: is charged for each hour in which it has a value; this assumes all hours.
OWN_METRICS = 18
SECRETS = 2
#: The reconcile function: seconds and GB of a run, and its queries of 16 partitions of each of the
#: two indexes, half a read unit each.
RECONCILE_SECONDS, RECONCILE_GB, RECONCILE_READS = 0.1, 0.5, 16


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a bill.

    what
        Its name in the table.
    count
        How many units.
    price
        The price of a unit, by its name in ``PRICES``.
    """

    what: str
    count: float
    price: str

    @property
    def dollars(self) -> float:
        return self.count * PRICES[self.price]


def per_thousand(entry_point: str, *, quiet: bool) -> list[Item]:
    """What 1,000 accepted actions through one entry point use.

    quiet
        Whether actions are rare, so that each one reads the secrets and is traced. Otherwise there
        are ten per second, of which X-Ray's default rule traces one and 5 % of the others.
    """
    traced = 1.0 if quiet else (1 + 0.05 * 9) / 10
    entry = (
        Item("the request at API Gateway", 1, "API Gateway REST request")
        if entry_point == "webhook"
        else Item("the event on the bus", 1, "EventBridge custom event")
    )
    logged = ENTRY_POINT_LOG + 2 * LAMBDA_LOG + (ACCESS_LOG if entry_point == "webhook" else 0)
    each = [
        entry,
        Item("two invocations: entry point and outcomes", 2, "Lambda request"),
        Item(
            "their time",
            ENTRY_POINT_SECONDS * ENTRY_POINT_GB + OUTCOME_SECONDS * OUTCOME_GB,
            "Lambda GB-second, arm64",
        ),
        Item("writes of the ledger", TABLE_WRITES, "DynamoDB write unit"),
        Item("writes of its index", INDEX_WRITES, "DynamoDB write unit"),
        Item("the outcome event", 1, "EventBridge custom event"),
        Item("logs", logged / GB, "logs, GB ingested"),
        Item("traces", TRACES * traced, "X-Ray trace"),
        Item("reading the secrets", SECRET_CALLS if quiet else 0, "Secrets Manager call"),
    ]
    return [Item(item.what, item.count * 1000, item.price) for item in each]


def per_month() -> list[Item]:
    """What a stack uses in a month, apart from its actions."""
    return [
        Item("metrics that alarms watch", alarmed(), "alarm on one metric, month"),
        Item("our own metrics", OWN_METRICS, "metric, month"),
        Item("the dashboard", 1, "dashboard, month"),
        Item("the key of the alarm topics", 1, "KMS key, month"),
        Item("the two secrets", SECRETS, "secret, month"),
        Item("invocations of the reconcile function", MINUTES, "Lambda request"),
        Item("their time", MINUTES * RECONCILE_SECONDS * RECONCILE_GB, "Lambda GB-second, arm64"),
        Item("their reads", MINUTES * RECONCILE_READS, "DynamoDB read unit"),
        Item("their logs", MINUTES * LAMBDA_LOG / GB, "logs, GB ingested"),
        Item("their traces", MINUTES, "X-Ray trace"),
    ]


def alarmed() -> int:
    """The number of metrics that the alarms of a default deployment watch, once per alarm."""
    resources = yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))["Resources"]
    alarms = [
        each["Properties"].get("Metrics", [{"MetricStat": each}])
        for each in resources.values()
        if each["Type"] == "AWS::CloudWatch::Alarm"
        and each.get("Condition") != "WatchesConcurrency"
    ]
    return sum("MetricStat" in metric for metrics in alarms for metric in metrics)


def total(items: Iterable[Item]) -> float:
    return sum(item.dollars for item in items)


def tables() -> dict[str, str]:
    """The generated tables of docs/costs.md, by their names."""
    cases = {
        f"{entry_point}, {'quiet' if quiet else 'busy'}": per_thousand(entry_point, quiet=quiet)
        for entry_point in ("webhook", "event")
        for quiet in (True, False)
    }
    lines = list(zip(*cases.values(), strict=True))
    month = per_month()
    return {
        "actions": markers.of(
            [
                ["per 1,000 accepted actions", *cases],
                *(
                    [
                        " / ".join(dict.fromkeys(item.what for item in line)),
                        *(f"{item.dollars:.4f}" for item in line),
                    ]
                    for line in lines
                ),
                ["**US dollars**", *(f"**{total(case):.3f}**" for case in cases.values())],
            ]
        ),
        "month": markers.of(
            [
                ["per month", "how many", "US dollars"],
                *([item.what, _number(item), f"{item.dollars:.2f}"] for item in month),
                ["**total**", "", f"**{total(month):.2f}**"],
            ]
        ),
        "prices": markers.of(
            [
                ["list price", "US dollars"],
                *([name, _price(price)] for name, price in PRICES.items()),
            ]
        ),
    }


def summary() -> str:
    """The sentence in the README that has the two figures."""
    quiet, busy = (total(per_thousand("webhook", quiet=quiet)) for quiet in (True, False))
    cents = f"{busy * 100:.0f} to {quiet * 100:.0f} US cents per 1,000 accepted webhooks"
    return f"{cents} and {total(per_month()):.0f} dollars a month"


def _number(item: Item) -> str:
    return f"{item.count:,.0f}" if item.count >= 1 else f"{item.count:.3f}"


def _price(price: float) -> str:
    return f"{price * MILLION:,.4g} per million" if price < 0.01 else f"{price:.2f}"  # noqa: PLR2004 -- less than a cent
