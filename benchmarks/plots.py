"""Draws docs/performance.svg and docs/throughput.svg from the tables beside them: `make plots`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt  # type: ignore[import-not-found]  # it is in .venv-peers

from tools import markers

DOCS = Path(__file__).resolve().parents[1] / "docs"


def performance(axes: Any) -> list[str]:  # noqa: ANN401  matplotlib is not in the checks' environment
    """Each row that has a target: its median, from least to most, in multiples of the target."""
    text = (DOCS / "performance.md").read_text(encoding="utf-8")
    labels: list[str] = []
    for what, against, *figures, target, _ in markers.read(text, "make bench-docs", "table")[1:]:
        if "met" not in target.lower():
            continue
        _, most, verdict = target.split(maxsplit=2)
        median, least, longest = (float(figure) / float(most) for figure in figures)
        colour = "tab:green" if verdict == "met" else "tab:red"
        axes.hlines(len(labels), least, longest, color=colour)
        axes.scatter(median, len(labels), color=colour)
        labels.append(f"{what} / {against}" if against else what)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log", base=2)
    axes.set_xticks([0.25, 0.5, 1, 2], ["1/4", "1/2", "the target", "x 2"])
    axes.set_xlabel("median, from least to most, in multiples of the target")
    return labels


def throughput(axes: Any) -> list[str]:  # noqa: ANN401  as above
    """The percentiles of each kind of request, in milliseconds."""
    text = (DOCS / "throughput.md").read_text(encoding="utf-8")
    head, *rows = markers.read(text, "make load", "latency")
    times = [[float(figure) for figure in row[2:]] for row in rows]
    places = range(len(rows))
    axes.hlines(places, [each[0] for each in times], [each[-1] for each in times], color="silver")
    for name, column in zip(head[2:], zip(*times, strict=True), strict=True):
        axes.scatter(column, places, label=name)
    axes.set_xscale("log")
    axes.legend()
    axes.set_xlabel("milliseconds")
    return [row[0] for row in rows]


def draw(name: str, plot: Callable[[Any], list[str]]) -> None:
    figure, axes = plt.subplots(figsize=(10, 5), layout="constrained")
    labels = plot(axes)
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.4)
    figure.savefig(DOCS / f"{name}.svg", metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    # Text stays text, and the same table gives the same file.
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "plots"})
    draw("performance", performance)
    draw("throughput", throughput)
