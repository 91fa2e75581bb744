"""Figure: the width law. How fast does each gap between theory and net close?"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from paper_figs.drawing import PALETTE, new_figure, save

NAME = "width_law"
NEEDS = "width_law"
TITLE = "The width law"
CAPTION = (
    "Sampling (frozen kernel against infinite width) averages out like m^(−1/2). The drift of a trained net from its frozen kernel has two "
    "parts: a bias ∝ m^(−1/2), and a fluctuation from net to net ∝ m^(−3/4), which is the larger one at every width shown."
)

_SERIES = {
    ("test_outputs", "sampling", "spread"): ("test outputs: sampling", "o"),
    ("displacement", "sampling", "spread"): ("displacement: sampling", "v"),
    ("test_outputs", "drift", "spread"): ("test outputs: drift, fluctuation", "D"),
    ("test_outputs", "drift", "bias"): ("test outputs: drift, bias", "s"),
    ("displacement", "drift", "bias"): ("displacement: drift, bias", "^"),
}


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """Each part of each gap against width, with the claimed power law through it; returns the files written."""
    results = record["results"]
    tasks = list(dict.fromkeys(c["task"] for c in results["cells"]))
    figure, axes = new_figure(1, len(tasks), (4.4 * len(tasks), 4.2), sharey=True)
    rows = []
    for column, task in enumerate(tasks):
        panel = axes[0, column]
        ends = []
        for (key, (words, marker)), colour in zip(_SERIES.items(), PALETTE, strict=True):
            here = [c for c in results["cells"] if c["task"] == task and (c["quantity"], c["gap"], c["part"]) == key]
            (fit,) = (f for f in results["fits"] if f["task"] == task and (f["quantity"], f["gap"], f["part"]) == key)
            ends.append(_series(panel, here, fit, words, marker, colour))
            rows += [{"task": task, "quantity": key[0], "gap": key[1], "part": key[2], "width": c["width"], **c["size"]} for c in here]
        panel.set(xscale="log", yscale="log", title=task, xlabel="width m")
        widths = sorted({c["width"] for c in results["cells"]})
        panel.set_xlim(widths[0] / 1.4, widths[-1] * (widths[-1] / widths[0]) ** 0.75)
        panel.set_xticks(widths[:: max(1, len(widths) // 3)])
        panel.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.yaxis.set_major_locator(LogLocator(10))
        # Values that cannot be told from zero would stretch a logarithmic axis without end.
        panel.set_ylim(bottom=0.25 * min(abs(c["size"]["mean"]) for c in results["cells"] if _sure(c)))
        _label_ends(panel, ends, widths[-1])
    axes[0, 0].set_ylabel("gap relative to the prediction")
    seeds = len(record["seeds"])
    figure.suptitle(
        f"Points: {seeds} nets a width, ± 2 s.e.; hollow: negative or under 2 s.e.   Lines: the claimed power.   Numbers: the fitted power",
        fontsize=8,
    )
    return save(figure, rows, folder, NAME)


def _series(panel: Axes, here: list[dict[str, Any]], fit: dict[str, Any], words: str, marker: str, colour: str) -> tuple[float, str, str]:
    shown = [c for c in here if c["size"]["mean"] != 0]
    for cell in shown:
        mean, error = cell["size"]["mean"], cell["size"]["standard_error"]
        size = abs(mean)
        # A bar down to zero has no end on a logarithmic axis.
        low = min(2 * error, 0.9 * size)
        face = colour if _sure(cell) else "white"
        panel.errorbar(
            [cell["width"]], [size], yerr=[[low], [2 * error]], color=colour, marker=marker, markerfacecolor=face, linestyle="none"
        )
    weights = [(abs(c["size"]["mean"]) / c["size"]["standard_error"]) ** 2 for c in shown]
    total = sum(weights)
    centre = sum(w * math.log(c["width"]) for w, c in zip(weights, shown, strict=True)) / total
    level = sum(w * math.log(abs(c["size"]["mean"])) for w, c in zip(weights, shown, strict=True)) / total
    ends = [here[0]["width"], here[-1]["width"]]
    line = [math.exp(level + fit["claimed"] * (math.log(m) - centre)) for m in ends]
    panel.plot(ends, line, color=colour, linewidth=0.9, alpha=0.7)
    found = fit["fit"]
    power = "not fitted" if found is None else f"{found['slope']:.2f} ± {found['standard_error']:.2f}".replace("-", "−")
    return line[-1], f"{words}\n{power} (claim {fit['claimed']:g})".replace("-0", "−0"), colour


def _sure(cell: dict[str, Any]) -> bool:
    return bool(cell["size"]["mean"] > 2 * cell["size"]["standard_error"])


def _label_ends(panel: Axes, ends: list[tuple[float, str, str]], width: float) -> None:
    """Labels at the right end of each line, moved apart where lines end close together."""
    panel.figure.canvas.draw()
    gap = 0.085
    placed = -math.inf
    for y, text, colour in sorted(ends):
        _, at = panel.transAxes.inverted().transform(panel.transData.transform((width, y)))
        placed = max(at, placed + gap)
        x, _ = panel.transAxes.inverted().transform(panel.transData.transform((width * 1.25, y)))
        panel.text(x, placed, text, color=colour, fontsize=7, va="center", transform=panel.transAxes)
