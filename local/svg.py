"""The style of the pictures in docs/: SVG, readable in light and dark."""

from collections.abc import Iterable
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

PALETTE = ("#1f77b4", "#17a2b8", "#8c6bb1", "#e07b39", "#6b8e23", "#c2569b", "#7f7f7f", "#b8860b")

STYLE = """
  text { fill: #1f2328; font-size: 12px }
  .page { fill: #f6f8fa } .panel { fill: #ffffff; stroke: #d0d7de }
  .title { font-weight: 600; font-size: 14px } .head { font-weight: 600; font-size: 19px }
  .soft { fill: #57606a; font-size: 11.5px } .end { text-anchor: end } .mid { text-anchor: middle }
  .cell { font-size: 11px } .soft.cell { fill: #57606a }
  .grid { stroke: #d8dee4; stroke-width: 1 } .rule { stroke: #d0d7de; stroke-width: 1 }
  .line { fill: none; stroke-width: 1.8 }
  .ok { fill: #1a7f37 } .raised { fill: #cf222e } .untold { fill: #8c959f }
  .raised-box { fill: #ffebe9; stroke: #cf222e } .ok-box { fill: #f0faf2; stroke: #a9dab5 }
  .untold-box { fill: none; stroke: #d0d7de; stroke-dasharray: 3 3 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .page { fill: #010409 } .panel { fill: #0d1117; stroke: #30363d }
    .soft, .soft.cell { fill: #9da7b1 } .grid { stroke: #21262d } .rule { stroke: #30363d }
    .ok { fill: #3fb950 } .raised { fill: #f85149 } .untold { fill: #6e7681 }
    .raised-box { fill: #3a1416; stroke: #f85149 } .ok-box { fill: #0f2a17; stroke: #23562f }
    .untold-box { stroke: #30363d }
  }
"""


@dataclass(frozen=True, slots=True)
class Box:
    """Where something goes, in pixels."""

    x: float
    y: float
    width: float
    height: float


def document(width: float, height: float, title: str, caption: str, parts: Iterable[str]) -> str:
    """The whole picture: ``parts`` below a title and a caption."""
    family = "system-ui, -apple-system, 'Segoe UI', sans-serif"
    whole = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
            f'role="img" aria-label={quoteattr(title)} font-family="{family}">'
        ),
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{width:.0f}" height="{height:.0f}"/>',
        label(12, 26, title, "head"),
        label(12, 48, caption, "soft"),
        *parts,
        "</svg>",
        "",
    ]
    return "\n".join(whole)


def panel(box: Box, title: str) -> list[str]:
    """A frame with a title in it."""
    return [
        (
            f'<rect class="panel" x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}"'
            f' height="{box.height:.1f}" rx="6"/>'
        ),
        label(box.x + 12, box.y + 21, title, "title"),
    ]


def nice(top: float) -> float:
    """The least of 1, 2, 4, 5, 8, 10, 20, … that is not below ``top``; at least 1."""
    power = 1.0
    while True:
        for factor in (1, 2, 4, 5, 8):
            if factor * power >= top:
                return factor * power
        power *= 10


def label(x: float, y: float, text: str, kind: str = "") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'
