"""Figure: bounds against the observed error. How far may a net be from the prediction, and how far is it?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from paper_figs.drawing import PALETTE, TRAINED, new_figure, points, save

NAME = "bounds_against_error"
NEEDS = "bounds_against_error"
TITLE = "Bounds against the observed error"
CAPTION = (
    "How far nets are from the prediction (squares), and how far their own kernel, measured along the run, allows them to be (lines): in "
    "the norm of its error, and only along the run's residuals. No net was outside. Above 100 % a bound says nothing. Each panel names how "
    "many times larger than the error the better bound is at the widest net, and from which width on one could have known beforehand."
)

_PANELS = {
    "displacement": "displacement",
    "target_outputs": "target outputs",
    "source_outputs": "source outputs",
    "test_outputs": "test outputs",
}
_KINDS = {
    "norm": ("allowed by the kernel's norms", {"color": PALETTE[4], "marker": "v", "markersize": 6, "markerfacecolor": "white"}),
    "residual": ("allowed along the residuals", {"color": PALETTE[2], "marker": "D", "markersize": 4}),
}


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """One panel for each task and quantity; returns the files written."""
    tasks = record["results"]["tasks"]
    figure, axes = new_figure(len(tasks), len(_PANELS), (3.0 * len(_PANELS), 3.0 * len(tasks)), sharey="row")
    rows: list[dict[str, Any]] = []
    for row, task in zip(axes, tasks, strict=True):
        cells, widths = task["cells"], [c["width"] for c in task["cells"]]
        for panel, (name, words) in zip(row, _PANELS.items(), strict=True):
            scale = 100 / task["scales"][name]
            for kind, (label, mark) in _KINDS.items():
                values = [scale * c["bounds"][kind][name]["mean"] for c in cells]
                panel.plot(widths, values, linewidth=0.9, label=label, **mark)
                rows += [_row(task, name, kind, m, v) for m, v in zip(widths, values, strict=True)]
            points(panel, widths, [c["errors"][name] for c in cells], {**TRAINED, "label": "trained nets"}, scale=scale)
            rows += [_row(task, name, "error", c["width"], scale * c["errors"][name]["mean"]) for c in cells]
            panel.axhline(100, color="0.6", linewidth=0.8)
            panel.set(xscale="log", yscale="log", xlabel="width m", title=words)
            loose = cells[-1]["looseness"]["residual"][name]
            panel.text(
                0.96, 0.95, f"bound {loose:.3g} × error at m = {widths[-1]:,}", transform=panel.transAxes, ha="right", va="top", fontsize=7
            )
        row[0].set_ylabel(f"{task['task']}\ndistance from the prediction, %")
        if task["least_width_to_apply"]:
            known = f"known beforehand\nfrom m = {task['least_width_to_apply']:,}"
            row[0].text(0.04, 0.04, known, transform=row[0].transAxes, fontsize=7, color="0.35")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    labels[-1] = f"trained nets (mean of {len(record['seeds'])}, ± 2 s.e.)"
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return save(figure, rows, folder, NAME)


def _row(task: dict[str, Any], name: str, series: str, width: int, percent: float) -> dict[str, Any]:
    return {"task": task["task"], "quantity": name, "series": series, "width": width, "percent": percent}
