"""The report of `make run`: what happened, and what went wrong."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from rich.bar import Bar
from rich.console import Console, Group, RenderableType
from rich.highlighter import JSONHighlighter
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from local.demo import Seen, flatten, is_remote, masked
from local.sender import Exchange

SHOWN_HEADERS = ("host", "authorization", "content-type", "user-agent")
SHORTEST_BAR = 1 / 40

_json = JSONHighlighter()


def show(seen: Seen, console: Console) -> None:
    """Print the report."""
    first, retry = seen.first, seen.retry
    parts: Mapping[str, Iterable[RenderableType]] = {
        "The client crm requests an action with a signed webhook": (
            _request("POST", urlsplit(first.url).path.partition("_user_request_")[2]),
            _headers(first.headers),
            _json(first.body),
            *_answer(first, "action-id"),
        ),
        "It sends the same webhook again, as after a time-out": _answer(
            retry, "action-id", "idempotency-replayed"
        ),
        "An event on the bus requests another action": (
            Text(f"{seen.event['Source']} · {seen.event['DetailType']}"),
            _json(seen.event["Detail"]),
            _record(seen.event_record),
        ),
        f"Plivo received {len(seen.received)} requests, for 3 that were sent to the stack": (
            part for request in seen.received for part in _received(request)
        ),
        "Metrics (CloudWatch, namespace PlivoColdTransfer)": (_metrics(seen.metrics),),
        "Traces (X-Ray)": _traces(seen.segments),
    }
    for number, (title, shown) in enumerate(parts.items(), 1):
        console.print(Rule(f"{number}  {title}", align="left"))
        console.print(Padding(Group(*shown), (0, 0, 1, 3)))


def faults(seen: Seen) -> list[str]:
    """What went wrong; empty if everything worked."""
    accepted = seen.first.status in (200, 201, 202) and _plivo_error(seen.first.answer) == ""
    replayed = seen.retry.answer_headers.get("idempotency-replayed") == "true"
    state = (seen.event_record or {}).get("state")
    counted = sum("ActionAccepted" in line for line in seen.metrics)
    remote = any(is_remote(part) for segment in seen.segments for part in flatten(segment))
    checks = {
        f"the webhook got {seen.first.status}: {seen.first.answer[:200]}": accepted,
        "the second webhook was not answered from the ledger": replayed
        and seen.retry.answer == seen.first.answer,
        f"the event's action is {state or 'not in the ledger'}, not accepted": state == "accepted",
        f"Plivo received {len(seen.received)} requests, not 2": len(seen.received) == 2,  # noqa: PLR2004 -- as the text says
        f"the metric ActionAccepted was counted {counted} times, not 2": counted == 2,  # noqa: PLR2004 -- as the text says
        "no trace has a subsegment for Plivo": remote,
    }
    return [text for text, passed in checks.items() if not passed]


def _request(method: str, path: str) -> Text:
    return Text(f"{method} {path}", style="bold")


def _headers(headers: Mapping[str, str]) -> Table:
    table = Table.grid(padding=(0, 1))
    for name, value in headers.items():
        table.add_row(f"{name}:", Text(value, overflow="fold"))
    return table


def _some(headers: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    return {name: headers[name] for name in names if name in headers}


def _answer(exchange: Exchange, *names: str) -> Iterator[RenderableType]:
    yield Text(f"→ {exchange.status} after {exchange.milliseconds:.0f} ms")
    yield _headers(_some(exchange.answer_headers, names))
    yield _json(exchange.answer)


def _record(record: Mapping[str, Any] | None) -> Text:
    if record is None:
        return Text("→ nothing in the ledger")
    return Text(
        f"→ {record.get('state')}, api_id {record.get('api_id') or '(none)'}, from the ledger"
    )


def _received(request: Mapping[str, Any]) -> Iterator[RenderableType]:
    yield _request(request["method"], request["path"])
    shown = _some(request["headers"], SHOWN_HEADERS)
    yield _headers({name: masked(name, value) for name, value in shown.items()})
    yield _json(request["body"])
    yield Text(f"→ {request['status']}")


def _metrics(lines: Iterable[Mapping[str, Any]]) -> Table:
    values: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for line in lines:
        for group in line["_aws"]["CloudWatchMetrics"]:
            for metric in group["Metrics"]:
                value = line.get(metric["Name"], 0)
                key = (str(line.get("function", "-")), metric["Name"], metric.get("Unit", ""))
                values[key] += value if isinstance(value, list) else [value]
    table = Table.grid(padding=(0, 2))
    for (function, name, unit), numbers in sorted(values.items()):
        if unit == "Milliseconds":
            text = ", ".join(f"{number:.1f}" for number in numbers) + " ms"
        else:
            text = f"{sum(numbers):.0f}"
        table.add_row(function, name, text)
    return table


def _traces(segments: Iterable[Mapping[str, Any]]) -> Iterator[RenderableType]:
    traces: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for segment in segments:
        traces[str(segment.get("trace_id"))] += flatten(segment)
    for trace_id, parts in traces.items():
        if any(map(is_remote, parts)):
            yield Text(trace_id)
            yield Text(_annotations(parts))
            yield _timeline(parts)


def _timeline(parts: list[dict[str, Any]]) -> Table:
    done = [part for part in parts if "end_time" in part]
    parents = {part["id"] for part in done}
    begun = min(part["start_time"] for part in done)
    whole = max(max(part["end_time"] for part in done) - begun, 0.001)
    table = Table.grid(padding=(0, 1))
    table.add_column(min_width=34, no_wrap=True)
    table.add_column()
    table.add_column(min_width=10, justify="right")
    for part in sorted(done, key=lambda part: (part["start_time"], -part["end_time"])):
        start, took = part["start_time"] - begun, part["end_time"] - part["start_time"]
        # A subsegment is sent inside its parent, or by itself with its parent's id.
        depth = part["depth"] or int(part.get("parent_id") in parents)
        name = "  " * depth + part["name"] + (" (Plivo)" if is_remote(part) else "")
        bar = Bar(whole, start, start + max(took, whole * SHORTEST_BAR))
        table.add_row(Text(name), bar, f"{took * 1000:.1f} ms")
    return table


def _annotations(parts: Iterable[Mapping[str, Any]]) -> str:
    found: dict[str, Any] = {}
    for part in parts:
        found |= part.get("annotations", {})
    return "  ".join(f"{name}={value}" for name, value in found.items() if name != "Service")


def _plivo_error(text: str) -> object:
    try:
        return json.loads(text).get("error")
    except (ValueError, AttributeError):
        return None
