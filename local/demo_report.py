"""What `make run` ends with: a picture of what happened, and what is wrong with it."""

import json
import os
import sys
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from local.demo import Exchange, Seen, flatten, masked

WIDTH = 96
BAR = 40
SHOWN_HEADERS = ("host", "authorization", "content-type", "user-agent")


def draw(seen: Seen) -> str:
    """The whole picture, with colours if the output is a terminal that wants them."""
    first, repeat = seen.first, seen.repeat
    lines = [
        *_title(1, "A webhook asks for an action, signed by the client crm"),
        *_request(first),
        *_answer(first, "action-id"),
        *_title(2, "The sender repeats it, as senders do after a time-out"),
        *_answer(repeat, "action-id", "idempotency-replayed"),
        *_title(3, "An event on the bus asks for another"),
        f"   {seen.event['Source']} · {seen.event['DetailType']}",
        *_json(seen.event["Detail"]),
        *_record(seen.event_record),
        *_title(4, f"What Plivo received: {len(seen.received)} requests for 3 that came in"),
        *(line for request in seen.received for line in _received(request)),
        *_title(5, "Metrics (CloudWatch, namespace PlivoColdTransfer)"),
        *_metrics(seen.metrics),
        *_title(6, "Traces (X-Ray)"),
        *_traces(seen.segments),
    ]
    return "\n".join(lines)


def faults(seen: Seen) -> list[str]:
    """What is not as it should be; empty when the run did what it is for."""
    accepted = seen.first.status in (200, 201, 202) and _plivo_error(seen.first.answer) == ""
    replayed = seen.repeat.answer_headers.get("idempotency-replayed") == "true"
    state = (seen.event_record or {}).get("state")
    counted = sum("ActionAccepted" in line for line in seen.metrics)
    remote = any(_remote(part) for segment in seen.segments for part in flatten(segment))
    checks = {
        f"the webhook was answered {seen.first.status}: {seen.first.answer[:200]}": accepted,
        "the repeated webhook was not answered from the ledger": replayed
        and seen.repeat.answer == seen.first.answer,
        f"the event's action is {state or 'not in the ledger'}, not accepted": state == "accepted",
        f"Plivo received {len(seen.received)} requests, not 2": len(seen.received) == 2,  # noqa: PLR2004 -- as the text says
        f"the metric ActionAccepted was counted {counted} times, not 2": counted == 2,  # noqa: PLR2004 -- as the text says
        "no trace has a subsegment for Plivo": remote,
    }
    return [text for text, well in checks.items() if not well]


def _title(number: int, text: str) -> list[str]:
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return ["", f"\033[1m{number}  {text}\033[0m" if coloured else f"{number}  {text}"]


def _request(exchange: Exchange) -> list[str]:
    path = urlsplit(exchange.url).path.partition("_user_request_")[2]
    headers = [f"   {name}: {value}" for name, value in exchange.headers.items()]
    return [*_place("POST", path), *headers, *_json(exchange.body)]


def _place(method: str, path: str) -> list[str]:
    """Method and path, on two lines: the two ids alone are most of a line."""
    phlo, _, node = path.partition("/multi_party_call")
    return [f"   {method} {phlo}", f"        /multi_party_call{node}"]


def _answer(exchange: Exchange, *names: str) -> list[str]:
    shown = [
        f"      {name}: {exchange.answer_headers[name]}"
        for name in names
        if name in exchange.answer_headers
    ]
    return [
        f"   → {exchange.status} after {exchange.milliseconds:.0f} ms",
        *shown,
        *_json(exchange.answer, 6),
    ]


def _record(record: Mapping[str, Any] | None) -> list[str]:
    if record is None:
        return ["   → nothing in the ledger"]
    return [
        f"   → {record.get('state')}  api_id {record.get('api_id') or '(none)'}  (from the ledger)"
    ]


def _received(request: Mapping[str, Any]) -> list[str]:
    headers = request["headers"]
    shown = [
        f"     {name}: {masked(name, headers[name])}" for name in SHOWN_HEADERS if name in headers
    ]
    return [
        *_place(request["method"], request["path"]),
        *shown,
        *_json(request["body"], 5),
        f"     → {request['status']}",
    ]


def _metrics(lines: Iterable[Mapping[str, Any]]) -> list[str]:
    values: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for line in lines:
        for group in line["_aws"]["CloudWatchMetrics"]:
            for metric in group["Metrics"]:
                value = line.get(metric["Name"], 0)
                key = (str(line.get("entry_point", "-")), metric["Name"], metric.get("Unit", ""))
                values[key] += value if isinstance(value, list) else [value]
    shown = []
    for (entry_point, name, unit), numbers in sorted(values.items()):
        if unit == "Milliseconds":
            text = ", ".join(f"{number:.1f}" for number in numbers) + " ms"
        else:
            text = f"{sum(numbers):.0f}"
        shown.append(f"   {entry_point:<9}{name:<26}{text}")
    return shown or ["   none"]


def _traces(segments: Iterable[Mapping[str, Any]]) -> list[str]:
    traces: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for segment in segments:
        traces[str(segment.get("trace_id"))] += flatten(segment)
    lines: list[str] = []
    for trace_id, parts in traces.items():
        if any(map(_remote, parts)):
            lines += [f"   {trace_id}", f"   {_annotations(parts)}", *_timeline(parts)]
    return lines or ["   none"]


def _timeline(parts: list[dict[str, Any]]) -> list[str]:
    done = [part for part in parts if "end_time" in part]
    parents = {part["id"] for part in done}
    begun = min(part["start_time"] for part in done)
    whole = max(max(part["end_time"] for part in done) - begun, 0.001)
    lines = []
    for part in sorted(done, key=lambda part: (part["start_time"], -part["end_time"])):
        start = round((part["start_time"] - begun) / whole * BAR)
        length = max(1, round((part["end_time"] - part["start_time"]) / whole * BAR))
        bar = (" " * min(start, BAR - 1) + "█" * length)[:BAR]
        # A subsegment may have come inside its parent or by itself, with its parent's id.
        depth = part["depth"] or int(part.get("parent_id") in parents)
        name = "  " * depth + part["name"] + (" (Plivo)" if _remote(part) else "")
        took = (part["end_time"] - part["start_time"]) * 1000
        lines.append(f"   {name[:34]:<35}│{bar:<{BAR}}│{took:8.1f} ms")
    return lines


def _annotations(parts: Iterable[Mapping[str, Any]]) -> str:
    found: dict[str, Any] = {}
    for part in parts:
        found |= part.get("annotations", {})
    return "  ".join(f"{name}={value}" for name, value in found.items() if name != "Service")


def _json(text: str, indent: int = 3) -> list[str]:
    """The text, wrapped between the members of an object."""
    margin = " " * indent
    lines = textwrap.wrap(
        text.replace('": ', '":\N{NO-BREAK SPACE}'),
        WIDTH,
        initial_indent=margin,
        subsequent_indent=margin + " ",
        break_on_hyphens=False,
    )
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def _remote(part: Mapping[str, Any]) -> bool:
    return part.get("namespace") == "remote"


def _plivo_error(text: str) -> object:
    try:
        return json.loads(text).get("error")
    except (ValueError, AttributeError):
        return None
