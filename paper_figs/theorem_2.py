"""Figure: theorem 2. Do weights move as far in fine-tuning as predicted, and is what a finite net moves ever beyond the bound?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from paper_figs.drawing import PALETTE, new_figure, save
from paper_figs.powers import thousands

NAME = "theorem_2"
NEEDS = "theorem_2"
TITLE = "Theorem 2: weights stay close"
CAPTION = (
    "Left: how far fine-tuning moves the weights of trained nets against the prediction, over tasks from near to far; 1 is what training "
    "from scratch is predicted to move, so that to the right of it pretraining does harm. Nothing is fitted. Right: on small sets trained "
    "until hardly anything is left, by how much displacements exceed the theorem's first term √(ỹᵀH⁻¹ỹ), with the net's own kernel at the "
    "start for H (which a frozen kernel cannot exceed); and by how much the bound does whose error term is computed from the kernel "
    "measured along the run. No net was beyond it."
)

_MARKS = (("o", PALETTE[0]), ("s", PALETTE[3]), ("D", PALETTE[2]))


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """Measured against predicted displacements over tasks, and bounds over width; returns the files written."""
    results = record["results"]
    figure, axes = new_figure(1, 2, (9.6, 4.4))
    rows = _scatter(axes[0, 0], results["cells"], results["fits"], record["config"]["widths"][-1])
    rows += _bounds(axes[0, 1], results["bounds"])
    config = record["config"]
    figure.suptitle(
        f"Black: as predicted.   Points: means of {config['seeds']} nets a task (left) and {config['small_seeds']} (right), ± 2 s.e.",
        fontsize=8,
    )
    return save(figure, rows, folder, NAME)


def _scatter(panel: Axes, cells: list[dict[str, Any]], fits: list[dict[str, Any]], width: int) -> list[dict[str, Any]]:
    rows = []
    for number, fit in enumerate(fits):
        marker, colour = _MARKS[number]
        here = [cell for cell in cells if cell["task"] == fit["task"]]
        slope, share = fit["slopes"]["trained"], fit["explained"]
        words = (
            f"{fit['task']}: slope {slope['mean']:.3f} ± {slope['standard_error']:.3f},\n"
            f"{100 * share['value']:.1f} % explained ({100 * share['low']:.1f} to {100 * share['high']:.1f})"
        )
        panel.errorbar(
            [cell["predicted"] for cell in here],
            [cell["trained"]["mean"] for cell in here],
            yerr=[2 * cell["trained"]["standard_error"] for cell in here],
            color=colour,
            marker=marker,
            linestyle="none",
            label=words,
        )
        for cell in here:
            trained = {name: cell["trained"][name] for name in ("mean", "standard_error", "n")}
            rows.append({"part": "task", "task": cell["task"], **cell["dial"], "predicted": cell["predicted"], **trained})
    sizes = [cell["predicted"] for cell in cells]
    ends = [0.9 * min(sizes), 1.06 * max(sizes)]
    panel.plot(ends, ends, color="black", linewidth=1.2)
    for line in (panel.axvline, panel.axhline):
        line(1, color="0.6", linewidth=0.8, linestyle=":")
    panel.set(xlabel="predicted displacement, in units of that from scratch", ylabel="trained nets' displacement, same units")
    panel.set_title(f"{len(cells)} tasks, width {width:,}")
    panel.legend(fontsize=7, loc="upper left")
    return rows


def _bounds(panel: Axes, bounds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    tasks = list(dict.fromkeys(each["task"] for each in bounds))
    for number, task in enumerate(tasks):
        marker, colour = _MARKS[number]
        here = [each for each in bounds if each["task"] == task]
        # Apart from each other, as they would lie on top of each other.
        widths = [each["width"] * (0.94 + 0.12 * number / max(1, len(tasks) - 1)) for each in here]
        over = [100 * each["over_own"]["mean"] for each in here]
        bars = [200 * each["over_own"]["standard_error"] for each in here]
        # A bar down to zero has no end on a logarithmic axis.
        lows = [min(bar, 0.9 * abs(o)) for bar, o in zip(bars, over, strict=True)]
        panel.errorbar(widths, over, yerr=[lows, bars], color=colour, marker=marker, linestyle="none", label=f"{task}: nets")
        beyond = [100 * (each["bound"]["mean"] - 1) for each in here]
        panel.plot(widths, beyond, color=colour, linewidth=1.1, label=f"{task}: bound, mean")
        for each in here:
            about = {"part": "bound", "task": task, "width": each["width"], "predicted": each["prediction"], "bound": each["bound"]["mean"]}
            rows.append({**about, **{n: each["over_own"][n] for n in ("mean", "standard_error", "n")}, "exceeding": each["exceeding"]})
    panel.set(xscale="log", yscale="log", xlabel="width m", ylabel="beyond the first term, %", title="first term, and bound with its error")
    shown = sorted({each["width"] for each in bounds})
    panel.set_xticks(shown)
    thousands(panel.xaxis)
    panel.xaxis.minorticks_off()
    panel.yaxis.set_major_formatter("{x:g}")
    panel.yaxis.set_minor_formatter(NullFormatter())
    panel.legend(fontsize=7)
    return rows
