"""Figure: a fresh head. Does a new head see what pretraining did, and are pretrained minima flatter?"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from paper_figs.drawing import PALETTE, new_figure, save
from paper_figs.powers import label_ends, power_axes, power_series, power_words, sure, thousands

NAME = "fresh_head"
NEEDS = "fresh_head"
TITLE = "A fresh head, and the flatness of minima"
CAPTION = (
    "Left: what pretraining adds to the outputs of a new random head vanishes like m^(−1/2), at the size that theory gives (black line), "
    "while through the old head it stays (dashed). Middle: the kernel does not make up for it; its change through pretraining, and its "
    "difference between pretrained minima and others, vanish too. Right: the largest Hessian eigenvalues of both kinds of minima agree."
)

_HEAD = {
    "outputs": ("added to outputs", "o", PALETTE[0]),
    "gain": ("gain, s.d. over heads", "v", PALETTE[4]),
}
_KERNEL = {
    "pretrained kernel": ("change, fluctuation", "D", PALETTE[2]),
    "minima, spread": ("minima, fluctuation", "^", PALETTE[1]),
    "minima, bias": ("minima, bias", "s", PALETTE[3]),
}


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """Each quantity against width with the claimed power, a row of panels for each task; returns the files written."""
    results = record["results"]
    figure, axes = new_figure(len(results["theory"]), 3, (11.2, 3.3 * len(results["theory"]) + 0.3), width_ratios=[1.2, 1.2, 0.75])
    rows: list[dict[str, Any]] = []
    for theory, (head, kernel, flatness) in zip(results["theory"], axes, strict=True):
        task = theory["task"]
        here = {q: [c for c in results["cells"] if (c["task"], c["quantity"]) == (task, q)] for q in (*_HEAD, *_KERNEL)}
        widths = [c["width"] for c in here["outputs"]]
        size = math.sqrt(theory["width_times_energy"] / widths[0])
        for panel, series, words in ((head, _HEAD, "new head"), (kernel, _KERNEL, "target kernel")):
            power_axes(panel, widths, room=1.0)
            ends = []
            for quantity, (name, marker, colour) in series.items():
                (fit,) = (f for f in results["fits"] if (f["task"], f["quantity"]) == (task, quantity))
                mark = {"color": colour, "marker": marker}
                exact = size if quantity == "outputs" else None
                end = power_series(panel, widths, [c["size"] for c in here[quantity]], fit["claimed"], mark, theory=exact)
                ends.append((end, f"{name}\n{power_words(fit['fit'], fit['claimed'])}", colour))
            if panel is head:
                head.plot([widths[0], widths[-1]], [theory["old_head"]] * 2, color="black", linestyle="--")
                ends.append((theory["old_head"], "through the old head\n(theory, any width)", "black"))
            _bottom(panel, [c["size"] for q in series for c in here[q]])
            label_ends(panel, ends, widths[-1], gap=0.12)
            panel.set_title(f"{task}: {words}")
        head.set_ylabel("relative to the target labels")
        kernel.set_ylabel("relative to ‖H‖")
        apart = [f for f in results["flatness"] if f["task"] == task]
        _flatness(flatness, apart)
        rows += [
            {
                "task": task,
                "quantity": q,
                "width": c["width"],
                **c["size"],
                "predicted": size * (c["width"] / widths[0]) ** -0.5 if q == "outputs" else "",
            }
            for q, cells in here.items()
            for c in cells
        ]
        rows += [{"task": task, "quantity": "largest eigenvalue", "width": f["width"], **f["apart"]} for f in apart]
    seeds = len(record["seeds"])
    figure.suptitle(
        f"Points: {seeds} nets a width, ± 2 s.e.; hollow: under 2 s.e.   Black: theory.   Coloured: the claimed power; numbers: the fit",
        fontsize=8,
    )
    return save(figure, rows, folder, NAME)


def _bottom(panel: Axes, sizes: list[dict[str, float]]) -> None:
    """Values that cannot be told from zero would stretch a logarithmic axis without end."""
    panel.set_ylim(bottom=0.4 * min(abs(s["mean"]) for s in sizes if sure(s)))


def _flatness(panel: Axes, cells: list[dict[str, Any]]) -> None:
    widths = [c["width"] for c in cells]
    panel.axhline(0, color="black", linewidth=1.2)
    mean, error = ([100 * c["apart"][part] for c in cells] for part in ("mean", "standard_error"))
    panel.errorbar(widths, mean, yerr=[2 * e for e in error], color=PALETTE[3], marker="s", linestyle="none")
    panel.set(xscale="log", xlabel="width m", ylabel="pretrained less other, %", title="largest eigenvalue")
    panel.set_xlim(widths[0] / 1.4, widths[-1] * 1.4)
    panel.set_xticks(widths[:: max(1, len(widths) // 3)])
    thousands(panel.xaxis)
    panel.minorticks_off()
