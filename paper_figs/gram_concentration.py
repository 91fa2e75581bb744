"""Figure: concentration of the Gram matrix. How far is that of random weights from the infinite width's, and what do bounds promise?"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

from paper_figs.drawing import PALETTE, new_figure, save
from paper_figs.powers import thousands

NAME = "gram_concentration"
NEEDS = "gram_concentration"
TITLE = "Concentration of the Gram matrix at the start"
CAPTION = (
    "Left: root mean square distance of a finite net's Gram matrix from the infinite width's; the lines are exact, the upper of each pair "
    "for antisymmetric nets. Middle and right: what 19 in 20 nets stay within, the norm of the distance and the least eigenvalue, "
    "against the bounds that hold with that probability."
)

_MARKS = (("o", PALETTE[0]), ("s", PALETTE[3]), ("D", PALETTE[2]), ("^", PALETTE[4]))


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """Distances, norms and least eigenvalues over width, each against its theory; returns the files written."""
    cells = record["results"]["cells"]
    tasks = list(dict.fromkeys(cell["task"] for cell in cells))
    figure, axes = new_figure(1, 3, (11.0, 3.9))
    rows: list[dict[str, Any]] = []
    for number, task in enumerate(tasks):
        marker, colour = _MARKS[number]
        mark: dict[str, Any] = {"color": colour, "marker": marker}
        here = [cell for cell in cells if cell["task"] == task]
        _distances(axes[0, 0], here, mark, task)
        _norms(axes[0, 1], here, mark, task)
        _least(axes[0, 2], here, mark, task)
        for cell in here:
            measured = {f"{kind}_{part}": value for kind in ("plain", "pairs") for part, value in cell[kind]["measured"].items()}
            expected = {f"{kind}_expected": cell[kind]["expected"] for kind in ("plain", "pairs")}
            quantiles = {f"{name}_quantile": value for name, value in cell["quantiles"].items()}
            bounds = {f"{name}_bound": value for name, value in cell["bounds"].items()}
            rows.append({"task": task, "width": cell["width"], **expected, **measured, **quantiles, **bounds})
    share = 100 * (1 - record["config"]["delta"])
    axes[0, 0].set(ylabel="root mean square of ‖H(W(0)) − H‖_F", title="sampling error")
    axes[0, 1].set(ylabel=f"‖H(W(0)) − H‖, {share:g} % of nets are below", title="operator norm and its bound")
    axes[0, 2].set(ylabel=f"λ_min(H(W(0)))/λ_min(H), {share:g} % are above", title="least eigenvalue and its bound")
    for panel in axes[0]:
        _width_axis(panel, sorted({cell["width"] for cell in cells}))
    for panel in axes[0, :2]:
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_formatter(NullFormatter())
    axes[0, 2].axhline(1, color="0.6", linewidth=0.8)
    axes[0, 2].set_ylim(0, 1.1)
    for panel, place in zip(axes[0], ("lower left", "upper right", "lower left"), strict=True):
        panel.legend(fontsize=7, loc=place)
    # Room for four lines of legend under lines that fall.
    axes[0, 0].set_ylim(bottom=axes[0, 0].get_ylim()[0] / 1.6)
    figure.suptitle(f"Lines: theory.   Points: {len(record['seeds']):,} nets at each width, ± 2 s.e. of the mean", fontsize=8)
    return save(figure, rows, folder, NAME)


def _distances(panel: Axes, cells: list[dict[str, Any]], mark: dict[str, Any], task: str) -> None:
    widths = [cell["width"] for cell in cells]
    for kind, face in (("plain", mark["color"]), ("pairs", "white")):
        panel.plot(widths, [math.sqrt(cell[kind]["expected"]) for cell in cells], color="black", linewidth=1.1)
        roots = [math.sqrt(cell[kind]["measured"]["mean"]) for cell in cells]
        bars = [cell[kind]["measured"]["standard_error"] / root for cell, root in zip(cells, roots, strict=True)]
        words = "independent neurons" if kind == "plain" else "antisymmetric pairs"
        panel.errorbar(widths, roots, yerr=bars, markerfacecolor=face, linestyle="none", label=f"{task}: {words}", **mark)


def _norms(panel: Axes, cells: list[dict[str, Any]], mark: dict[str, Any], task: str) -> None:
    widths = [cell["width"] for cell in cells]
    panel.plot(widths, [cell["quantiles"]["operator"] for cell in cells], linestyle="none", label=f"{task}: nets", **mark)
    panel.plot(widths, [cell["bounds"]["operator"] for cell in cells], color=mark["color"], linewidth=1.1, label=f"{task}: bound")


def _least(panel: Axes, cells: list[dict[str, Any]], mark: dict[str, Any], task: str) -> None:
    widths = [cell["width"] for cell in cells]
    nets = [cell["quantiles"]["least"] / cell["smallest"] for cell in cells]
    panel.plot(widths, nets, linestyle="none", label=f"{task}: nets", **mark)
    promised = [(cell["width"], cell["bounds"]["least"] / cell["smallest"]) for cell in cells if cell["bounds"]["least"] is not None]
    if promised:
        single: dict[str, Any] = {"marker": "_"} if len(promised) == 1 else {}
        panel.plot(*zip(*promised, strict=True), color=mark["color"], linewidth=1.1, label=f"{task}: bound", **single)


def _width_axis(panel: Axes, widths: list[int]) -> None:
    panel.set(xscale="log", xlabel="width m")
    panel.set_xticks(widths[:: max(1, len(widths) // 4)])
    thousands(panel.xaxis)
    panel.xaxis.set_minor_locator(NullLocator())
