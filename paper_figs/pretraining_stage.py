"""Figure: the pretraining stage. Does transferability rise and then fall with pretraining, and does theory know when?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from paper_figs.drawing import FROZEN, THEORY, TRAINED, legend_of_rungs, new_figure, points, rung_rows, save, steps_axis

NAME = "pretraining_stage"
NEEDS = "pretraining_stage"
TITLE = "The pretraining stage"
CAPTION = (
    "With clean, similar source labels more pretraining is always better (first column). With noisy or dissimilar ones transferability "
    "rises and then falls; the dotted line is the best length of pretraining according to theory, and the nets turn there."
)

_PANELS = {
    "gradient_energy": "gradient energy",
    "displacement": "displacement",
    "test_mse": "mean squared\ntest error",
    "forgetting": "forgetting",
}


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """Each quantity over pretraining for each task, the predicted turn marked; returns the files written."""
    results = record["results"]
    tasks = list(results["curves"])
    figure, axes = new_figure(len(_PANELS), len(tasks), (2.5 * len(tasks), 8.2), sharex=True)
    rows = []
    for column, task in enumerate(tasks):
        curve = results["curves"][task]
        for panel, (quantity, words) in enumerate(_PANELS.items()):
            here = sorted((c for c in results["cells"] if c["task"] == task and c["quantity"] == quantity), key=lambda c: c["source_steps"])
            steps = [c["source_steps"] for c in here]
            spot = axes[panel, column]
            spot.plot(curve["source_steps"], curve[quantity], **THEORY)
            points(spot, steps, [c["frozen"] for c in here], FROZEN)
            points(spot, steps, [c["trained"] for c in here], TRAINED)
            for turn in (t for t in results["turns"] if t["task"] == task and t["quantity"] == quantity):
                _mark_turn(spot, turn)
            if column == 0:
                spot.set_ylabel(words)
            rows += rung_rows(here)
        width = next(c["width"] for c in results["cells"] if c["task"] == task)
        axes[0, column].set_title(f"{task.replace(', ', chr(10), 1)}\nwidth {width:,}", pad=14)
        steps_axis(axes[-1, column], steps[-1])
    legend_of_rungs(figure, axes[0, 0], len(record["seeds"]))
    return save(figure, rows, folder, NAME)


def _mark_turn(spot: Axes, turn: dict[str, Any]) -> None:
    """A line at the predicted best length of pretraining, where one exists inside the range."""
    best = turn["best"]
    if best not in turn["turns"]:
        spot.text(1.0, 1.01, "no turn", transform=spot.transAxes, ha="right", va="bottom", fontsize=7, color="0.4")
        return
    spot.axvline(best, color="0.45", linestyle=":", linewidth=1)
    spot.text(1.0, 1.01, f"best after {best} steps", transform=spot.transAxes, ha="right", va="bottom", fontsize=7, color="0.3")
