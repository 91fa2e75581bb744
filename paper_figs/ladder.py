"""Figure: the ladder. Does the theory, without a free parameter, say what a trained net does after pretraining?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from paper_figs.drawing import FROZEN, THEORY, TRAINED, legend_of_rungs, new_figure, points, rung_rows, save, steps_axis

NAME = "ladder"
NEEDS = "ladder"
TITLE = "The ladder"
CAPTION = (
    "The line is the infinite-width prediction, with no free parameter. Circles: nets with their kernel frozen at W(0); they scatter "
    "round the line. Squares: the same nets, really trained; what separates them from the circles is the drift of the kernel. The "
    "strips show the distance from theory in per cent."
)

_PANELS = (("gradient_energy", "gradient energy"), ("displacement", "displacement"), ("error", "test error"))


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """Values over pretraining for each task, and under each its distance from theory; returns the files written."""
    cells, curves = record["results"]["cells"], record["results"]["curves"]
    tasks = list(curves)
    figure, axes = new_figure(6, len(tasks), (2.75 * len(tasks), 8.6), sharex="col", height_ratios=[3, 1.5] * 3)
    rows = []
    for column, task in enumerate(tasks):
        curve = curves[task]
        for panel, (quantity, words) in enumerate(_PANELS):
            if quantity == "error":
                quantity, words = ("test_error", "test error rate") if "test_error" in curve else ("test_mse", "mean squared test error")
            here = sorted((c for c in cells if c["task"] == task and c["quantity"] == quantity), key=lambda c: c["source_steps"])
            steps = [c["source_steps"] for c in here]
            top, gap = axes[2 * panel, column], axes[2 * panel + 1, column]
            top.plot(curve["source_steps"], curve[quantity], **THEORY)
            points(top, steps, [c["frozen"] for c in here], FROZEN)
            points(top, steps, [c["trained"] for c in here], TRAINED)
            top.set_ylabel(words)
            gap.axhline(0, color=THEORY["color"], linewidth=THEORY.get("linewidth", 1.2))
            for rung, mark, shift in (("frozen", FROZEN, 0.93), ("trained", TRAINED, 1.07)):
                relative = [_gap(c, rung) for c in here]
                points(gap, [shift * k if k else shift - 1 for k in steps], relative, mark)
            gap.set_ylabel("gap, %")
            if panel == 0:
                top.set_title(f"{task}\n(width {here[0]['width']:,})")
            if panel == 2:
                steps_axis(gap, steps[-1])
            rows += rung_rows(here)
    legend_of_rungs(figure, axes[0, 0], len(record["seeds"]))
    return save(figure, rows, folder, NAME)


def _gap(cell: dict[str, Any], rung: str) -> dict[str, float]:
    reference = cell["predicted"]
    scale = 100 / abs(reference) if reference else 0.0
    return {"mean": scale * (cell[rung]["mean"] - reference), "standard_error": scale * cell[rung]["standard_error"]}
