"""Figure: cost over size, from `bench.json`, with its plotted numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.cost import FITTED
from paper_figs.drawing import PALETTE, new_figure, save

NAMES = {"width": "width m", "n": "points n", "d": "dimension d", "steps": "steps"}


def draw(report: dict[str, Any], folder: Path) -> list[Path]:
    """One panel an axis: medians with their range, and the stated order through the last of them; returns the files written."""
    axes_run = [axis for axis in report["cost"] if axis["status"] == "ran"]
    if not axes_run:
        return []
    columns = 4
    lines = -(-len(axes_run) // columns)
    figure, axes = new_figure(lines, columns, (10.0, 2.7 * lines))
    rows = []
    for spot, axis in zip(axes.flat, axes_run, strict=False):
        sizes = [point["size"] for point in axis["points"]]
        times = [point["seconds"] for point in axis["points"]]
        medians = [t["median"] for t in times]
        bars = [[t["median"] - t["min"] for t in times], [t["max"] - t["median"] for t in times]]
        spot.errorbar(
            sizes,
            medians,
            yerr=bars,
            color=PALETTE[0],
            marker="o",
            linestyle="none",
            label=f"measured (median, range); exponents over the largest {FITTED} sizes",
        )
        stated = [medians[-1] * (size / sizes[-1]) ** axis["stated_exponent"] for size in sizes]
        spot.plot(sizes, stated, color="#000000", linestyle="-", label="stated order, through the largest size")
        kind = axis["name"].split(",")[0] + (", d ≥ n" if axis["stated_exponent"] == 0 else "")
        fitted = axis["exponent"]["median"]
        spot.set(
            xscale="log",
            yscale="log",
            xlabel=NAMES[axis["vary"]],
            title=f"{kind}\nexponent {fitted:.2f}, stated {axis['stated_exponent']:g}",
        )
        spot.set_xticks(sizes, [f"{size:,}" for size in sizes])
        low, high = spot.get_ylim()
        # Where the cost stays, its noise should not fill the panel.
        middle = (low * high) ** 0.5
        spot.set_ylim(min(low, middle / 3.2), max(high, middle * 3.2))
        spot.tick_params(axis="x", labelrotation=45)
        spot.minorticks_off()
        rows += [
            {
                "axis": axis["name"],
                axis["vary"]: s,
                "seconds_median": t["median"],
                "seconds_min": t["min"],
                "seconds_max": t["max"],
                "stated": e,
            }
            for s, t, e in zip(sizes, times, stated, strict=True)
        ]
    for line in axes:
        line[0].set_ylabel("seconds")
    for spot in axes.flat[len(axes_run) :]:
        spot.set_axis_off()
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
    return save(figure, rows, folder, "cost")
