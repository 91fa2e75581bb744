"""Figure: the best initial scale. Does the gap have its least value where theory says, and how does it fall with width?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from paper_figs.drawing import PALETTE, new_figure, save
from paper_figs.powers import label_ends, power_axes, power_series, power_words

NAME = "best_scale"
NEEDS = "best_scale"
TITLE = "The best initial scale"
CAPTION = (
    "Nets with independent neurons start from outputs of order κ, and drift from their kernel by 1/(κ√m): in between lies a best scale. "
    "Left: the gap to the net's own kernel over the scale, lines κ²N + b²/(κ²m) from the data alone. Right: the best scale falls like "
    "m^(−1/4) and so does the gap there; at κ = 1 it stays, and with antisymmetric neurons, which start from zero, all of the gap to "
    "infinite width falls like m^(−1/2)."
)

_COLOURS = (*PALETTE, "#E69F00", "#000000", "#999999", "#F0E442", "#882255")


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """Gap over scale, and best scale and gaps over width, for each task; returns the files written."""
    results = record["results"]
    tasks = [t["task"] for t in results["theory"]]
    figure, axes = new_figure(len(tasks), 2, (10.0, 3.8 * len(tasks)), width_ratios=[1, 1.1])
    rows: list[dict[str, Any]] = []
    for (left, right), theory in zip(axes, results["theory"], strict=True):
        _gaps(left, [c for c in results["cells"] if c["task"] == theory["task"]], theory)
        rows += [
            {"task": c["task"], "series": "gap", "width": c["width"], "scale": c["scale"], "predicted": c["predicted"], **c["square"]}
            for c in results["cells"]
            if c["task"] == theory["task"]
        ]
        ends = []
        for fit, colour, marker in zip((f for f in results["fits"] if f["task"] == theory["task"]), PALETTE, "osD^v", strict=False):
            known = [(m, s) for m, s in zip(record["config"]["widths"], fit["sizes"], strict=True) if s is not None]
            widths, sizes = [m for m, _ in known], [s for _, s in known]
            rows += [{"task": theory["task"], "series": fit["series"], "width": m, **s} for m, s in known]
            if known:
                end = power_series(right, widths, sizes, fit["claimed"], {"color": colour, "marker": marker})
                ends.append((end, f"{fit['series']}\n{power_words(fit['fit'], fit['claimed'])}", colour))
            if fit["predicted"] is not None:
                right.plot(record["config"]["widths"], fit["predicted"], color="black", linewidth=0.8, linestyle="--")
        power_axes(right, record["config"]["widths"], room=1.1)
        label_ends(right, ends, record["config"]["widths"][-1])
        right.set(ylabel="best κ, and relative gaps", title="solid: claimed power; dashed: theory")
    axes[0, 0].legend(fontsize=7)
    figure.suptitle(
        f"Points: {len(record['seeds'])} trained nets each, ± 2 s.e.   Lines on the left: theory, no free parameter", fontsize=8
    )
    return save(figure, rows, folder, NAME)


def _gaps(panel: Axes, cells: list[dict[str, Any]], theory: dict[str, Any]) -> None:
    for width, colour in zip(sorted({c["width"] for c in cells}), _COLOURS, strict=False):
        here = [c for c in cells if c["width"] == width]
        scales, means = [c["scale"] for c in here], [c["square"]["mean"] for c in here]
        bars = [2 * c["square"]["standard_error"] for c in here]
        low = [min(bar, 0.9 * mean) for bar, mean in zip(bars, means, strict=True)]
        panel.errorbar(scales, means, yerr=[low, bars], color=colour, marker="o", linestyle="none")
        fine = np.geomspace(scales[0], scales[-1], 50)
        curve = fine**2 * theory["start"] + theory["drift"] ** 2 / (fine**2 * width)
        panel.plot(fine, curve, color=colour, linewidth=1, label=f"m = {width:,}")
    panel.set(xscale="log", yscale="log", xlabel="initial scale κ", ylabel="squared gap, relative", title=theory["task"])
    panel.xaxis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0)))
    panel.xaxis.set_major_formatter("{x:g}")
    panel.xaxis.set_minor_formatter(NullFormatter())
