"""The figures as one SVG, readable in light and dark."""

from collections.abc import Iterator, Sequence
from math import log2
from statistics import median
from xml.sax.saxutils import quoteattr

from benchmarks.row import Row, Table
from local import svg

WIDTH = 980
_LABELS = 485  # where the plots begin
_PLOT = 370
_LINE = 24
_HEAD = 54

#: The plot of targets goes from a quarter of the target to four times the target.
_OCTAVES = 2

_STYLE = """
  text { fill: #1f2328; font-size: 12.5px } .page { fill: #ffffff }
  .title { font-weight: 600; font-size: 15px } .soft { fill: #57606a; font-size: 11.5px }
  .end { text-anchor: end } .mid { text-anchor: middle }
  .grid { stroke: #d8dee4 } .target { stroke: #57606a; stroke-width: 1.5 }
  .met { fill: #1a7f37; stroke: #1a7f37 } .missed { fill: #cf222e; stroke: #cf222e }
  .ours { fill: #1f77b4 } .peer { fill: #8c959f }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .page { fill: #0d1117 } .soft { fill: #9da7b1 }
    .grid { stroke: #21262d } .target { stroke: #9da7b1 }
    .met { fill: #3fb950; stroke: #3fb950 } .missed { fill: #f85149; stroke: #f85149 }
    .ours { fill: #58a6ff } .peer { fill: #6e7681 }
  }
"""

type Bars = Sequence[tuple[str, str, str]]  # label, the table's figure, class

START_UPS: Bars = (
    ("bare interpreter", "bare interpreter", "peer"),
    ("the layer's boto3, two clients, urllib3", "trimmed boto3", "peer"),
    ("boto3 as pip leaves it, two clients, urllib3", "boto3", "peer"),
    ("webhook", "webhook", "ours"),
    ("event", "event", "ours"),
    ("the usual stack", "usual", "peer"),
)
CALLS: Bars = (
    ("raw TLS socket, POST", "socket", "peer"),
    ("chilkat2, POST", "chilkat2", "peer"),
    ("urllib3, POST", "urllib3", "peer"),
    ("plivo-python, POST", "plivo", "peer"),
    ("webhook, ledger taken out", "action", "ours"),
    ("webhook, everything on", "everything on, ours", "ours"),
    ("the usual stack, everything on", "everything on, usual", "peer"),
)


def draw(table: Table) -> str:
    """Each target's row against its target; start-up and warm calls in bars."""
    parts: list[str] = []
    y = 0.0
    rows = [row for row in table.rows if row.target is not None and not row.missing]
    sections = [
        (_targets(rows, y + _HEAD), len(rows), "Median against its target (bar: min to max)"),
    ]
    for title, prefix, bars in (
        ("Start-up, CPU ms", "start-up CPU ms, ", START_UPS),
        ("A warm call, CPU µs", "warm CPU µs, ", CALLS),
    ):
        y += _HEAD + _LINE * sections[-1][1] + 14
        known = [
            (label, median(table.figures[prefix + name]), kind)
            for label, name, kind in bars
            if prefix + name in table.figures
        ]
        sections.append((_bars(known, y + _HEAD), len(known), title))
    y = 0.0
    for shapes, lines, title in sections:
        parts.append(svg.label(16, y + 30, title, "title"))
        parts += shapes
        y += _HEAD + _LINE * lines + 14
    family = "system-ui, -apple-system, 'Segoe UI', sans-serif"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y:.0f}" role="img" '
        f'aria-label={quoteattr("What make bench measured")} font-family="{family}">'
    )
    page = f'<rect class="page" width="{WIDTH}" height="{y:.0f}"/>'
    return "\n".join([head, f"<style>{_STYLE}</style>", page, *parts, "</svg>", ""])


def _targets(rows: Sequence[Row], top: float) -> Iterator[str]:
    bottom = top + _LINE * len(rows)
    for octave in range(-_OCTAVES, _OCTAVES + 1):
        x = _x(2.0**octave)
        yield _line(x, top - 6, x, bottom, "target" if octave == 0 else "grid")
        label = "target" if octave == 0 else f"{2.0**octave:g} x"
        yield svg.label(x, top - 10, label, "soft mid")
    for place, row in enumerate(rows):
        if row.target is None:
            continue
        y = top + _LINE * place + _LINE / 2
        low, middle, high = (
            _x(value / row.target) for value in (min(row.values), row.median, max(row.values))
        )
        kind = "met" if row.met else "missed"
        yield svg.label(16, y + 4, row.what + (f" / {row.against}" if row.against else ""))
        yield f'<g class="{kind}">{_line(low, y, high, y, kind)}'
        yield f'<circle cx="{middle:.1f}" cy="{y:.1f}" r="4.5"/></g>'
        mark = "✓" if row.met else "✗"
        yield svg.label(WIDTH - 16, y + 4, f"{row.median:.3g} of {row.target:g} {mark}", "soft end")


def _bars(bars: Sequence[tuple[str, float, str]], top: float) -> Iterator[str]:
    most = max((value for _, value, _ in bars), default=1.0)
    for place, (label, value, kind) in enumerate(bars):
        y = top + _LINE * place
        width = value / most * _PLOT
        yield svg.label(16, y + _LINE / 2 + 4, label)
        yield (
            f'<rect class="{kind}" x="{_LABELS}" y="{y + 4:.1f}" width="{width:.1f}"'
            f' height="{_LINE - 8}" rx="2"/>'
        )
        yield svg.label(_LABELS + width + 8, y + _LINE / 2 + 4, f"{value:,.0f}", "soft")


def _x(of_target: float) -> float:
    octave = max(-_OCTAVES, min(_OCTAVES, log2(of_target)))
    return _LABELS + (octave + _OCTAVES) / (2 * _OCTAVES) * _PLOT


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
