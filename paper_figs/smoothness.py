"""Figure: smoothness. Along training, is the loss smoother from a pretrained start?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from paper_figs.drawing import PRETRAINED, RANDOM, legend_above, new_figure, points, save

NAME = "smoothness"
NEEDS = "smoothness"
TITLE = "Real networks: smoothness of the loss along training"
CAPTION = (
    "The training loss along its own gradient at several steps of training, out to a few multiples of the learning rate: its range, the "
    "change of the gradient, and that change over the length of the step, from ImageNet or source weights and from a random start."
)

_STARTS = {"pretrained": PRETRAINED, "random": RANDOM}
_MEASURES = {
    "range": "range of the loss",
    "change": "change of the gradient",
    "smoothness": "effective smoothness",
    "centre": "training loss",
}


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """A row of panels for each task; returns the files written."""
    summary = record["results"]["summary"]
    tasks = list(dict.fromkeys(row["task"] for row in summary))
    figure, axes = new_figure(len(tasks), len(_MEASURES), (11.0, 2.8 * len(tasks)))
    for line, task in zip(axes, tasks, strict=True):
        for panel, (measure, words) in zip(line, _MEASURES.items(), strict=True):
            for start, mark in _STARTS.items():
                here = [row for row in summary if (row["task"], row["start"]) == (task, start)]
                steps = [row["step"] for row in here]
                points(panel, steps, [row[measure] for row in here], {**mark, "linestyle": ":"})
            panel.set(xscale="symlog", yscale="log", xlabel="training steps", ylabel=words, xlim=(-0.2, 1.4 * steps[-1]))
            panel.set_xticks([s for s in steps if s in (0, 1, 2, 5, 10, 20, 40, steps[-1])])
            panel.xaxis.set_major_formatter("{x:g}")
            panel.tick_params(axis="x", labelsize=7)
        line[0].set_title(task)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    legend_above(figure, handles, [f"{label} (mean of {len(record['seeds'])}, ± 2 s.e.)" for label in labels])
    names = [*_MEASURES, "gradient_norm"]
    rows = [
        {**{k: r[k] for k in ("task", "start", "step")}, **{f"{n}_{k}": r[n][k] for n in names for k in ("mean", "standard_error")}}
        for r in summary
    ]
    return save(figure, rows, folder, NAME)
