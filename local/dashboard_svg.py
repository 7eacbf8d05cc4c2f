"""Draws the body of a CloudWatch dashboard as one SVG, readable in light and dark."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from local.insights import Row
from local.measurements import Axis, Series
from local.svg import PALETTE, Box, document, label, nice, panel

WIDTH = 1200
COLUMN = WIDTH / 24  # a dashboard is 24 columns wide
ROW = 38
HEAD = 62
GAP = 5
LETTER = 6.6  # the width of a letter of the small text, roughly
CELL = 6.8  # of a table's text
ROW_OF_TABLE = 19


@dataclass(frozen=True, slots=True)
class Slot:
    """Which of how many bars that stand side by side, and on what height each."""

    place: int
    count: int
    floor: list[float]


@dataclass(frozen=True, slots=True)
class Sources:
    """What the widgets show: a function each of the widget's properties."""

    axis: Axis
    series: Callable[[Mapping[str, Any]], list[Series]]
    rows: Callable[[str], list[Row]]
    alarms: Callable[[Sequence[str]], list[tuple[str, str]]]


def draw(body: Mapping[str, Any], sources: Sources, title: str, caption: str) -> str:
    """The whole dashboard, each widget where its coordinates say."""
    height = HEAD + ROW * max(widget["y"] + widget["height"] for widget in body["widgets"]) + GAP
    parts = (part for widget in body["widgets"] for part in _widget(widget, sources))
    return document(WIDTH, height, title, caption, parts)


def _widget(widget: Mapping[str, Any], sources: Sources) -> Iterator[str]:
    properties = widget["properties"]
    box = Box(
        widget["x"] * COLUMN + GAP,
        HEAD + widget["y"] * ROW + GAP,
        widget["width"] * COLUMN - 2 * GAP,
        widget["height"] * ROW - 2 * GAP,
    )
    if widget["type"] == "text":
        yield label(box.x + 4, box.y + 21, properties["markdown"].lstrip("# "), "head")
        return
    yield from panel(box, properties["title"])
    inner = Box(box.x + 12, box.y + 32, box.width - 24, box.height - 40)
    match widget["type"]:
        case "alarm":
            close = Box(inner.x, inner.y - 3, inner.width, inner.height + 7)
            yield from _alarms(sources.alarms(properties["alarms"]), close)
        case "metric":
            shown = sources.series(properties)
            if all(each.empty for each in shown):
                ours = any(not metric[0].startswith("AWS/") for metric in properties["metrics"])
                yield _nothing(inner, "none in this run" if ours else "AWS alone measures this")
                return
            form = "bars" if properties["stat"] == "Sum" else "lines"
            form = "stacked" if properties.get("stacked") else form
            yield from _chart(shown, inner, sources.axis, form)
        case "log":
            yield from _table(sources.rows(properties["query"]), inner)
        case other:
            raise ValueError(f"a widget of the type {other} is not known here")


def _alarms(alarms: Sequence[tuple[str, str]], box: Box) -> Iterator[str]:
    columns = 5
    width, height = box.width / columns, box.height / -(-len(alarms) // columns)
    for place, (name, state) in enumerate(alarms):
        x, y = box.x + place % columns * width, box.y + place // columns * height
        kind, mark = {"ALARM": ("raised", "▲"), "OK": ("ok", "✓")}.get(state, ("untold", "·"))
        yield (
            f'<rect class="{kind}-box" x="{x:.1f}" y="{y:.1f}" width="{width - 8:.1f}"'
            f' height="{height - 3:.1f}" rx="4"/>'
        )
        yield label(x + 8, y + height / 2 + 3, mark, kind)
        yield label(x + 24, y + height / 2 + 3, name)


def _table(rows: Sequence[Row], box: Box) -> Iterator[str]:
    if not rows:
        yield _nothing(box, "nothing in this run")
        return
    fit = int(box.height // ROW_OF_TABLE) - 1
    shown = rows if len(rows) <= fit else rows[: fit - 1]
    columns = [name for name in rows[0] if any(row[name] != "" for row in rows)]
    texts = {name: [_cell(row[name]) for row in shown] for name in columns}
    wanted = [max(map(len, [name, *texts[name]])) * CELL + 8 for name in columns]
    x = box.x
    for name, width in zip(columns, _fitted(wanted, box.width), strict=True):
        letters = int((width - 3) / CELL)
        yield label(x, box.y + 12, _cut(name, letters), "soft cell")
        for place, text in enumerate(texts[name], 2):
            yield label(x, box.y + place * ROW_OF_TABLE - 7, _cut(text, letters), "cell")
        x += width
    for place in range(1, len(shown) + 1):
        y = box.y + place * ROW_OF_TABLE - 2
        yield f'<path class="rule" d="M{box.x:.1f} {y:.1f}h{box.width:.1f}"/>'
    if len(shown) < len(rows):
        rest = f"and {len(rows) - len(shown)} more"
        yield label(box.x, box.y + (len(shown) + 2) * ROW_OF_TABLE - 7, rest, "soft")


def _fitted(wanted: Sequence[float], room: float) -> list[float]:
    """The widths, the longest ones cut to the same; or all wider, where there is room."""
    spare = room - sum(wanted)
    if spare >= 0:
        return [width + spare / len(wanted) for width in wanted]
    most = room / len(wanted)
    for _ in wanted:  # what the narrow ones leave, the wide ones share
        narrow = [width for width in wanted if width <= most]
        most = (room - sum(narrow)) / (len(wanted) - len(narrow))
    return [min(width, most) for width in wanted]


def _chart(shown: Sequence[Series], box: Box, axis: Axis, form: str) -> Iterator[str]:
    full = list(_coloured(shown))
    silent = len(shown) - len(full)
    legend = list(_legend(full, silent, box))
    lines = 1 + max(line for line, _, _ in legend)
    tops = {
        right: nice(max(_heights([each for each, _ in full if each.right == right], form)))
        for right in {each.right for each, _ in full}
    }
    margin = 68 if True in tops else 44
    plot = Box(box.x + 34, box.y + 4, box.width - margin, box.height - 24 - 17 * lines)
    yield from _axes(plot, axis, tops)
    floor = [0.0] * axis.bins
    for place, (each, paint) in enumerate(full):
        top = tops[each.right]
        match form:
            case "stacked":
                yield from _bars(each, paint, plot, top, Slot(0, 1, floor))
            case "bars":
                yield from _bars(each, paint, plot, top, Slot(place, len(full), [0.0] * axis.bins))
            case _:
                yield from _line(each, paint, plot, top)
    for line, x, (text, paint) in legend:
        y = box.y + box.height - 17 * (lines - 1 - line) - 2
        if paint:
            yield f'<rect {paint} x="{x:.1f}" y="{y - 9:.1f}" width="10" height="10" rx="2"/>'
        yield label(x + (14 if paint else 0), y, text, "soft")


def _bars(one: Series, paint: str, plot: Box, top: float, slot: Slot) -> Iterator[str]:
    """A bar for each value, on the slot's floor, which grows by it."""
    step = plot.width / len(one.values)
    width = (step - 3) / slot.count
    for place, value in enumerate(one.values):
        if value:
            x = plot.x + place * step + 1.5 + slot.place * width
            y = _y(plot, slot.floor[place] + value, top)
            slot.floor[place] += value
            yield (
                f'<rect {paint} x="{x:.1f}" y="{y:.1f}" width="{width:.1f}"'
                f' height="{value / top * plot.height:.1f}"/>'
            )


def _line(one: Series, paint: str, plot: Box, top: float) -> Iterator[str]:
    step = plot.width / len(one.values)
    dots = [
        (plot.x + (place + 0.5) * step, _y(plot, value, top))
        for place, value in enumerate(one.values)
        if value is not None
    ]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in dots)
    yield f'<path class="line" {paint.replace("fill", "stroke")} d="M{path}"/>'
    yield from (f'<circle {paint} cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>' for x, y in dots)


def _axes(plot: Box, axis: Axis, tops: Mapping[bool, float]) -> Iterator[str]:
    for part in (0, 0.5, 1):
        y = plot.y + plot.height * (1 - part)
        yield f'<path class="grid" d="M{plot.x:.1f} {y:.1f}h{plot.width:.1f}"/>'
        for right, top in tops.items():
            x, side = (plot.x + plot.width + 6, "soft") if right else (plot.x - 6, "soft end")
            yield label(x, y + 4, f"{top * part:g}", side)
    for place in range(0, axis.bins + 1, max(1, round(axis.bins / 4))):
        x = plot.x + plot.width * place / axis.bins
        text = f"{place * axis.seconds:.0f} s"
        side = "soft mid" if place else "soft"  # the first would meet the 0 of the other axis
        yield label(x, plot.y + plot.height + 15, text, side)


def _legend(
    full: Sequence[tuple[Series, str]], silent: int, box: Box
) -> Iterator[tuple[int, float, tuple[str, str]]]:
    items = [(each.label, paint) for each, paint in full]
    if silent:
        items.append((f"and {silent} without data", ""))
    line, x = 0, box.x
    for text, paint in items:
        width = len(text) * LETTER + 28
        if x > box.x and x + width > box.x + box.width + 14:
            line, x = line + 1, box.x
        yield line, x, (text, paint)
        x += width


def _heights(shown: Sequence[Series], form: str) -> list[float]:
    columns = zip(*(each.values for each in shown), strict=True)
    numbers = [[value for value in column if value is not None] for column in columns]
    return [sum(column) if form == "stacked" else max(column) for column in numbers if column]


def _y(plot: Box, value: float, top: float) -> float:
    return plot.y + plot.height * (1 - value / top)


def _coloured(shown: Sequence[Series]) -> Iterator[tuple[Series, str]]:
    """What has data, with its paint; a colour that comes again (the other entry point) is paler."""
    used = set()
    for place, one in enumerate(shown):
        colour = one.colour or PALETTE[place % len(PALETTE)]
        if not one.empty:
            paler = ' fill-opacity="0.55"' if colour in used else ""
            yield one, f'fill="{colour}"{paler}'
        used.add(colour)


def _cell(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: max(letters - 1, 1)] + "…"


def _nothing(box: Box, text: str) -> str:
    return label(box.x + box.width / 2, box.y + box.height / 2, text, "soft mid")
