"""Figure: sources and targets. What does changing one similarity cost, and does what moves less do better?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from paper_figs.drawing import PRETRAINED, RANDOM, new_figure, save

NAME = "source_target"
NEEDS = "source_target"
TITLE = "Real networks: one target, many sources"
CAPTION = (
    "A small network pretrained on each source and fine-tuned on a few pictures of one target. Left: test accuracy; sources differ from "
    "the nearest one (the other half of the target's set) in their labels, their pictures, or altogether. Permuted names are the same "
    "task, and cost nothing. Right: the less the weights have moved when the training loss is the same for all, the better."
)


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """Two panels for each target; returns the files written."""
    summary = record["results"]["summary"]
    targets = list(dict.fromkeys(row["target"] for row in summary))
    sources = list(dict.fromkeys(row["source"] for row in summary))
    figure, axes = new_figure(len(targets), 2, (9.5, 0.32 * len(sources) * len(targets) + 1.0), width_ratios=[1.2, 1])
    for (left, right), target in zip(axes, targets, strict=True):
        here = [row for row in summary if row["target"] == target]
        for place, row in enumerate(here):
            mark = {**(RANDOM if row["source"] == "random start" else PRETRAINED), "label": None}
            accuracy, moved = row["accuracy"], row["moved_at_equal_loss"]
            bars = {"xerr": 200 * accuracy["standard_error"]}
            left.errorbar([100 * accuracy["mean"]], [place], **bars, **mark)
            right.errorbar([100 * accuracy["mean"]], [moved["mean"]], yerr=2 * moved["standard_error"], **bars, **mark)
        left.set_yticks(range(len(here)), [row["source"] for row in here])
        left.invert_yaxis()
        left.set(xlabel="test accuracy, %", title=f"target {target}, {record['config']['n_train']} pictures")
        right.set(xlabel="test accuracy, %", ylabel="‖W − W₀‖ at equal loss", title=f"at training loss {here[0]['equal_loss']:.2g}")
    figure.suptitle(f"Means of {len(record['seeds'])} seeds, ± 2 s.e.   ▲ random start", fontsize=8)
    names = ("accuracy", "loss", "displacement", "moved_at_equal_loss")
    rows = [
        {"target": r["target"], "source": r["source"], **{f"{n}_{k}": r[n][k] for n in names for k in ("mean", "standard_error")}}
        for r in summary
    ]
    return save(figure, rows, folder, NAME)
