"""Figure: the kernel's prediction for a real network. Does the tangent kernel at the start say what training will do, and how long?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from paper_figs.drawing import PALETTE, THEORY, new_figure, save

NAME = "kernel_prediction"
NEEDS = "kernel_prediction"
TITLE = "Real networks: training predicted from the start"
CAPTION = (
    "Full-batch gradient descent on 64 pictures, one colour a seed. Lines: the prediction from the empirical tangent kernel at the "
    "starting weights. Points: the network, really trained. Dotted: the step up to which the validity reading, which looks at the start "
    "only, trusts the prediction. The ImageNet network with its own batch-norm statistics follows; with re-estimated statistics it leaves "
    "the prediction, and a random start leaves it at once: part of the contrast is the statistics', not the weights'."
)


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """Loss, displacement and their gap over training steps for each network; returns the files written."""
    cells = record["results"]["cells"]
    labels = list(dict.fromkeys(c["label"] for c in cells))
    figure, axes = new_figure(3, len(labels), (2.9 * len(labels), 6.4), sharex="col", height_ratios=[2, 2, 1.4])
    rows = []
    for column, label in enumerate(labels):
        loss, moved, gap = axes[:, column]
        for cell, colour in zip((c for c in cells if c["label"] == label), PALETTE, strict=False):
            predicted, measured = cell["predicted"], cell["measured"]
            steps = list(range(len(measured["loss"])))
            mark = {"color": colour, "marker": "D", "markersize": 2.5, "linestyle": "none"}
            start = measured["loss"][0]
            loss.plot(steps, [v / start for v in predicted["loss"]], color=colour)
            loss.plot(steps, [v / start for v in measured["loss"]], **mark)
            moved.plot(steps, predicted["displacement"], color=colour)
            moved.plot(steps, measured["displacement"], **mark)
            # Both displacements are zero at the start.
            gaps = [100 * (p / m - 1) for p, m in zip(predicted["displacement"][1:], measured["displacement"][1:], strict=True)]
            gap.plot(steps[1:], gaps, **{**mark, "linestyle": "-", "linewidth": 0.7})
            for spot in (loss, moved, gap):
                spot.axvline(cell["valid_to"], color=colour, linestyle=":", linewidth=1)
            rows += [
                {
                    "network": label,
                    "seed": cell["seed"],
                    "step": k,
                    "valid": k <= cell["valid_to"],
                    **{f"{who}_{what}": cell[who][what][k] for who in ("predicted", "measured") for what in ("loss", "displacement")},
                }
                for k in steps
            ]
        gap.axhspan(-5, 5, color=THEORY["color"], alpha=0.08, linewidth=0)
        gap.axhline(0, color=THEORY["color"], linewidth=0.8)
        loss.set_title(label.replace(", ", "\n", 1))
        gap.set_xlabel("training step")
    axes[0, 0].set_ylabel("loss, share of that at the start")
    axes[1, 0].set_ylabel("displacement ‖W − W₀‖")
    axes[2, 0].set_ylabel("displacement:\npredicted/measured − 1, %")
    figure.suptitle("Lines: predicted from the start.   Points: trained.   Dotted: trusted up to here.   Band: ± 5 %", fontsize=8)
    return save(figure, rows, folder, NAME)
