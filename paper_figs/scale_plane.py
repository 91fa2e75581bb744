"""Figure: the plane of initial scale and width. Does one number, κ√m, say how far a net is from its kernel?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from paper_figs.drawing import PALETTE, legend_above, new_figure, save
from paper_figs.powers import power_words, sure, thousands

NAME = "scale_plane"
NEEDS = "scale_plane"
TITLE = "The plane of initial scale and width"
CAPTION = (
    "How much farther trained nets move than with their kernel frozen, over initial scale and width. Left: the plane; along the dashed "
    "lines κ√m is the same, and so is the drift. Right: all widths on one curve in κ√m, for the displacement and for the test outputs. The "
    "solid line is first-order theory, computed from the data alone; below κ√m ≈ 8 the drift saturates. Points under two standard errors "
    "are left out on the right."
)

_MARKS = (("o", PALETTE[0]), ("s", PALETTE[3]), ("D", PALETTE[2]), ("^", PALETTE[4]), ("v", PALETTE[1]))


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """The plane and both collapses for each task; returns the files written."""
    results = record["results"]
    tasks = [t["task"] for t in results["theory"]]
    figure, axes = new_figure(len(tasks), 3, (11.0, 3.4 * len(tasks)), width_ratios=[0.9, 1, 1])
    for row, theory in zip(axes, results["theory"], strict=True):
        here = [c for c in results["cells"] if c["task"] == theory["task"]]
        _plane(row[0], [c for c in here if c["quantity"] == "displacement"], theory["task"])
        for panel, quantity in zip(row[1:], ("displacement", "test outputs"), strict=True):
            (fit,) = (f["fit"] for f in results["fits"] if f["task"] == theory["task"] and f["quantity"] == quantity)
            _collapse(panel, [c for c in here if c["quantity"] == quantity], quantity)
            panel.set_title(f"{quantity}, power {power_words(fit, -1.0)}", fontsize=8)
        products = sorted({c["product"] for c in here})
        row[1].plot(products, [abs(theory["displacement"]) / s for s in products], color="black", linewidth=1.2)
    handles, labels = axes[0, 1].get_legend_handles_labels()
    handles += [Line2D([], [], color="black", linewidth=1.2), Line2D([], [], color="0.6", linestyle="--", linewidth=0.7)]
    words = [*(f"{label} (mean of {len(record['seeds'])}, ± 2 s.e.)" for label in labels), "theory, first order", "equal κ√m"]
    legend_above(figure, handles, words)
    rows = [{**{k: c[k] for k in ("task", "quantity", "width", "product", "scale")}, **c["drift"]} for c in results["cells"]]
    return save(figure, rows, folder, NAME)


def _plane(panel: Axes, cells: list[dict[str, Any]], task: str) -> None:
    sizes = np.array([max(c["drift"]["mean"], 0.0) for c in cells])
    norm = LogNorm(max(sizes.min(), 1e-2 * sizes.max()), sizes.max(), clip=True)
    points = panel.scatter([c["width"] for c in cells], [c["scale"] for c in cells], c=sizes, norm=norm, cmap="viridis", s=70, marker="s")
    widths = sorted({c["width"] for c in cells})
    ends = np.array([widths[0] / 1.6, widths[-1] * 1.6])
    for product in sorted({c["product"] for c in cells}):
        panel.plot(ends, product / np.sqrt(ends), color="0.6", linestyle="--", linewidth=0.7, zorder=0)
    panel.set(xscale="log", yscale="log", xlabel="width m", ylabel="initial scale κ", title=task)
    panel.set_xticks(widths)
    thousands(panel.xaxis)
    panel.xaxis.set_minor_locator(NullLocator())
    bar = panel.figure.colorbar(points, ax=panel)
    bar.set_label("drift of the displacement")


def _collapse(panel: Axes, cells: list[dict[str, Any]], quantity: str) -> None:
    for (marker, colour), width in zip(_MARKS, sorted({c["width"] for c in cells}), strict=False):
        here = [c for c in cells if c["width"] == width and sure(c["drift"])]
        means, errors = ([c["drift"][part] for c in here] for part in ("mean", "standard_error"))
        low = [min(2 * e, 0.9 * m) for m, e in zip(means, errors, strict=True)]
        bars = [low, [2 * e for e in errors]]
        mark: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": "none", "label": f"width {width:,}"}
        panel.errorbar([c["product"] for c in here], means, yerr=bars, **mark)
    panel.set(xscale="log", yscale="log", xlabel="κ√m", ylabel=f"drift of the {quantity}, relative")
