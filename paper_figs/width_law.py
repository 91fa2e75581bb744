"""Figure: the width law. How fast does each gap between theory and net close?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from paper_figs.drawing import PALETTE, new_figure, save
from paper_figs.powers import label_ends, power_axes, power_series, power_words, sure

NAME = "width_law"
NEEDS = "width_law"
TITLE = "The width law"
CAPTION = (
    "Sampling (frozen kernel against infinite width) averages out like m^(−1/2). The drift of a trained net from its frozen kernel has two "
    "parts: a bias ∝ m^(−1/2), and a fluctuation from net to net ∝ m^(−3/4), which is the larger one at every width shown."
)

_SERIES = {
    ("test_outputs", "sampling", "spread"): ("test outputs: sampling", "o"),
    ("displacement", "sampling", "spread"): ("displacement: sampling", "v"),
    ("test_outputs", "drift", "spread"): ("test outputs: drift, fluctuation", "D"),
    ("test_outputs", "drift", "bias"): ("test outputs: drift, bias", "s"),
    ("displacement", "drift", "bias"): ("displacement: drift, bias", "^"),
}


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """Each part of each gap against width, with the claimed power law through it; returns the files written."""
    results = record["results"]
    tasks = list(dict.fromkeys(c["task"] for c in results["cells"]))
    figure, axes = new_figure(1, len(tasks), (4.4 * len(tasks), 4.2), sharey=True)
    rows = []
    for column, task in enumerate(tasks):
        panel = axes[0, column]
        ends = []
        for (key, (words, marker)), colour in zip(_SERIES.items(), PALETTE, strict=True):
            here = [c for c in results["cells"] if c["task"] == task and (c["quantity"], c["gap"], c["part"]) == key]
            (fit,) = (f for f in results["fits"] if f["task"] == task and (f["quantity"], f["gap"], f["part"]) == key)
            widths, sizes = [c["width"] for c in here], [c["size"] for c in here]
            end = power_series(panel, widths, sizes, fit["claimed"], {"color": colour, "marker": marker})
            ends.append((end, f"{words}\n{power_words(fit['fit'], fit['claimed'])}", colour))
            rows += [{"task": task, "quantity": key[0], "gap": key[1], "part": key[2], "width": c["width"], **c["size"]} for c in here]
        panel.set_title(task)
        power_axes(panel, widths)
        # Values that cannot be told from zero would stretch a logarithmic axis without end.
        panel.set_ylim(bottom=0.25 * min(abs(c["size"]["mean"]) for c in results["cells"] if sure(c["size"])))
        label_ends(panel, ends, widths[-1])
    axes[0, 0].set_ylabel("gap relative to the prediction")
    seeds = len(record["seeds"])
    figure.suptitle(
        f"Points: {seeds} nets a width, ± 2 s.e.; hollow: negative or under 2 s.e.   Lines: the claimed power.   Numbers: the fitted power",
        fontsize=8,
    )
    return save(figure, rows, folder, NAME)
