"""Figure: suppression. What does pretraining leave of the target's gradient, eigenspace by eigenspace?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from paper_figs.drawing import PALETTE, legend_above, new_figure, save

NAME = "suppression"
NEEDS = "suppression"
TITLE = "Suppression of the principal component"
CAPTION = (
    "The gradient energy on the target that pretraining leaves in each eigenspace of H_Q, over what it is from scratch: below 1 it is "
    "suppressed. Bars are theory; eigenspaces in the order of their eigenvalues, the principal component first, the small ones together. "
    "Nets have some energy wherever theory has almost none: their spread from net to net, of order 1/m."
)

_COLOURS = (PALETTE[1], PALETTE[0], PALETTE[2], PALETTE[3], PALETTE[4], "#000000")


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """The factors of all eigenspaces for each task and length of pretraining; returns the files written."""
    cells = record["results"]["cells"]
    tasks = list(dict.fromkeys(cell["task"] for cell in cells))
    figure, axes = new_figure(1, len(tasks), (3.7 * len(tasks), 4.2))
    for panel, task in zip(axes[0], tasks, strict=True):
        _panel(panel, [cell for cell in cells if cell["task"] == task])
        panel.set_title(f"{task}, width {record['config']['width']:,}")
    axes[0, 0].set_ylabel("gradient energy left by pretraining / from scratch")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    dot: dict[str, Any] = {"marker": "o", "markersize": 3.5, "linestyle": "none", "color": "0.3"}
    handles += [Line2D([], [], color="0.3", linewidth=1.8), Line2D([], [], markerfacecolor="white", **dot), Line2D([], [], **dot)]
    labels += ["theory", *(f"{rung} (mean of {len(record['seeds'])}, ± 2 s.e.)" for rung in ("frozen kernel", "trained net"))]
    legend_above(figure, handles, labels)
    names = ("task", "source_steps", "mode", "value", "multiplicity", "predicted")
    rows = [
        {
            **{name: cell[name] for name in names},
            **{f"{rung}_{part}": cell[rung][part] for rung in ("frozen", "trained") for part in ("mean", "standard_error", "n")},
        }
        for cell in cells
    ]
    return save(figure, rows, folder, NAME)


def _panel(panel: Axes, cells: list[dict[str, Any]]) -> None:
    modes = list(dict.fromkeys(cell["mode"] for cell in cells))
    lengths = list(dict.fromkeys(cell["source_steps"] for cell in cells))
    for number, steps in enumerate(lengths):
        colour = _COLOURS[number % len(_COLOURS)]
        at = 0.7 * ((number + 0.5) / len(lengths) - 0.5)
        half = 0.34 / len(lengths)
        here = [cell for cell in cells if cell["source_steps"] == steps]
        places = [modes.index(cell["mode"]) + at for cell in here]
        words = f"{steps:,} source step{'s' if steps > 1 else ''}"
        panel.hlines(
            [c["predicted"] for c in here], [p - half for p in places], [p + half for p in places], color=colour, linewidth=1.8, label=words
        )
        for rung, face, shift in (("frozen", "white", -half / 2), ("trained", colour, half / 2)):
            found = [cell[rung] for cell in here]
            # A bar down to zero has no end on a logarithmic axis.
            lows = [min(2 * f["standard_error"], 0.9 * f["mean"]) for f in found]
            panel.errorbar(
                [p + shift for p in places],
                [f["mean"] for f in found],
                yerr=[lows, [2 * f["standard_error"] for f in found]],
                color=colour,
                marker="o",
                markersize=2.5,
                markerfacecolor=face,
                linestyle="none",
            )
    panel.axhline(1, color="0.5", linewidth=0.8)
    panel.set_yscale("log")
    names = [
        mode.replace("the principal component", "principal").replace("all other modes", "all\nother").replace(" (", "\n(") for mode in modes
    ]
    if len(modes) > 4:
        names = [name.replace("mode ", "") for name in names]
        panel.set_xlabel("mode, by eigenvalue")
    panel.set_xticks(range(len(modes)), names, fontsize=7.5)
    panel.grid(axis="x", visible=False)
