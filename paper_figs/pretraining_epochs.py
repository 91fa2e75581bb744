"""Figure: epochs of pretraining. Does transferability rise, and then fall?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from paper_figs.drawing import PALETTE, legend_above, new_figure, points, save

NAME = "pretraining_epochs"
NEEDS = "pretraining_epochs"
TITLE = "Real networks: transferability over epochs of pretraining"
CAPTION = (
    "A small network's state after each of several epochs of pretraining, fine-tuned on a few pictures of another set, for several shares "
    "of noise in the source's labels: test accuracy, and how far fine-tuning had moved the weights when the training loss was the same for "
    "all. Epoch 0 is the random start."
)


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """Accuracy and displacement over epochs, a line for each share of noise; returns the files written."""
    summary = record["results"]["summary"]
    noises = list(dict.fromkeys(row["noise"] for row in summary))
    figure, axes = new_figure(1, 2, (8.0, 3.2))
    for i, noise in enumerate(noises):
        here = [row for row in summary if row["noise"] == noise]
        mark = {
            "color": (*PALETTE, "#000000")[i % 6],
            "marker": "osD^vP"[i % 6],
            "linestyle": ":",
            "label": f"{100 * noise:g} % label noise",
        }
        epochs = [row["epoch"] for row in here]
        points(axes[0, 0], epochs, [row["accuracy"] for row in here], mark, scale=100)
        points(axes[0, 1], epochs, [row["moved_at_equal_loss"] for row in here], mark)
    for panel, words in zip(
        axes[0], ("test accuracy on the target, %", f"‖W − W₀‖ at training loss {record['results']['equal_loss']:.2g}"), strict=True
    ):
        panel.set(xscale="symlog", xlabel="epochs of pretraining", ylabel=words, xlim=(-0.2, 1.3 * max(epochs)))
        panel.set_xticks(epochs, [str(epoch) for epoch in epochs])
        panel.minorticks_off()
    handles, labels = axes[0, 0].get_legend_handles_labels()
    legend_above(figure, handles, [f"{label} (mean of {len(record['seeds'])}, ± 2 s.e.)" for label in labels])
    names = ("accuracy", "displacement", "moved_at_equal_loss")
    rows = [
        {"noise": r["noise"], "epoch": r["epoch"], **{f"{n}_{k}": r[n][k] for n in names for k in ("mean", "standard_error")}}
        for r in summary
    ]
    return save(figure, rows, folder, NAME)
