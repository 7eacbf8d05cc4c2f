"""What 1,000 actions cost, and a month.

Everything is US dollars, list prices of us-east-1, without free tiers and discounts. docs/costs.md
says where each number is from, and holds these tables (`make generate`).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from samcli.yamlhelper import yaml_parse  # type: ignore[import-untyped]  # ships no types

from local.build import ROOT

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
    "logs, GB taken in": 0.50,
    "metric, month": 0.30,
    "alarm on one metric, month": 0.10,
    "dashboard, month": 3.00,
    "secret, month": 0.40,
    "KMS key, month": 1.00,
}

# --- one accepted action ------------------------------------------------------------------------

#: Claim, deduplicate, mark sending, settle; each item is below 1 kB (450 and 190 bytes).
TABLE_WRITES = 4
#: The sparse index: put at the claim, moved at the mark (a delete and a put), deleted at the end.
INDEX_WRITES = 4
#: Assumed. 0.07 s were measured locally, with a simulator that answers at once; the rest is what
#: Plivo may take, and TLS on the way to it.
ENTRY_POINT_SECONDS = 0.5
ENTRY_POINT_GB = 1.0
#: Measured locally, the mean, one outcome an invocation.
OUTCOME_SECONDS = 0.02
OUTCOME_GB = 0.5
#: Bytes of log. Measured: what a function writes, with 26 bytes that CloudWatch adds to each line.
#: Calculated: Lambda's own lines of an invocation (start, end, report), and the access log.
ENTRY_POINT_LOG, LAMBDA_LOG, ACCESS_LOG = 930, 450, 500
#: The entry point's, with the gateway in it, and that of the outcome's publisher.
TRACES = 2
#: A fresh execution environment, or one whose secrets are older than SecretsCacheSeconds.
SECRET_CALLS = 2

# --- a month ------------------------------------------------------------------------------------

#: Our metrics times functions, in a month in which each of these came once an hour: as many as a
#: minute of mixed traffic had on a local stack.
OWN_METRICS = 18
SECRETS = 2
#: The reconciler: seconds and GB of a run, and its queries of 16 partitions of each index, half a
#: unit each.
RECONCILE_SECONDS, RECONCILE_GB, RECONCILE_READS = 0.1, 0.5, 16


@dataclass(frozen=True, slots=True)
class Item:
    """``count`` of what ``price`` is for."""

    what: str
    count: float
    price: str

    @property
    def dollars(self) -> float:
        return self.count * PRICES[self.price]


def per_thousand(entry_point: str, *, quiet: bool) -> list[Item]:
    """What 1,000 accepted actions take, through one entry point.

    quiet
        Few come: each finds secrets that are too old, and each is traced. Else ten come in a
        second, of which X-Ray's default rule takes one and 5 % of the others.
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
        Item("logs", logged / GB, "logs, GB taken in"),
        Item("traces", TRACES * traced, "X-Ray trace"),
        Item("reading the secrets", SECRET_CALLS if quiet else 0, "Secrets Manager call"),
    ]
    return [Item(item.what, item.count * 1000, item.price) for item in each]


def per_month() -> list[Item]:
    """What a stack takes in a month in which it is ready for actions."""
    return [
        Item("metrics that alarms watch", alarmed(), "alarm on one metric, month"),
        Item("our own metrics", OWN_METRICS, "metric, month"),
        Item("the dashboard", 1, "dashboard, month"),
        Item("the key of the alarm topics", 1, "KMS key, month"),
        Item("the two secrets", SECRETS, "secret, month"),
        Item("invocations of the reconcile function", MINUTES, "Lambda request"),
        Item("their time", MINUTES * RECONCILE_SECONDS * RECONCILE_GB, "Lambda GB-second, arm64"),
        Item("their reads", MINUTES * RECONCILE_READS, "DynamoDB read unit"),
        Item("their logs", MINUTES * LAMBDA_LOG / GB, "logs, GB taken in"),
        Item("their traces", MINUTES, "X-Ray trace"),
    ]


def alarmed() -> int:
    """Metrics that the alarms of a default deployment watch; one that two watch counts twice."""
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
    """The tables of docs/costs.md, by their names."""
    cases = [
        per_thousand(entry_point, quiet=quiet)
        for entry_point in ("webhook", "event")
        for quiet in (True, False)
    ]
    names = "webhook, quiet | webhook, busy | event, quiet | event, busy"
    head = f"| per 1,000 accepted actions | {names} |\n|---|--:|--:|--:|--:|"
    rows = [
        f"| {' / '.join(dict.fromkeys(item.what for item in line))} | "
        + " | ".join(f"{item.dollars:.4f}" for item in line)
        + " |"
        for line in zip(*cases, strict=True)
    ]
    sums = " | ".join(f"**{total(case):.3f}**" for case in cases)
    month = per_month()
    return {
        "actions": "\n".join([head, *rows, f"| **US dollars** | {sums} |"]),
        "month": "\n".join(
            [
                "| per month | how many | US dollars |\n|---|--:|--:|",
                *(f"| {item.what} | {_number(item)} | {item.dollars:.2f} |" for item in month),
                f"| **total** | | **{total(month):.2f}** |",
            ]
        ),
        "prices": "\n".join(
            [
                "| list price | US dollars |\n|---|--:|",
                *(f"| {name} | {_price(price)} |" for name, price in PRICES.items()),
            ]
        ),
    }


def summary() -> str:
    """The two figures in the README."""
    quiet, busy = (total(per_thousand("webhook", quiet=quiet)) for quiet in (True, False))
    cents = f"{busy * 100:.0f} to {quiet * 100:.0f} US cents per 1,000 accepted webhooks"
    return f"{cents} and {total(per_month()):.0f} dollars a month"


def _number(item: Item) -> str:
    return f"{item.count:,.0f}" if item.count >= 1 else f"{item.count:.3f}"


def _price(price: float) -> str:
    return f"{price * MILLION:,.4g} per million" if price < 0.01 else f"{price:.2f}"  # noqa: PLR2004 -- less than a cent
