"""Figure: theorem 1. Is the gradient at the start of fine-tuning what its terms in κ say, and how fast does what is left close?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from paper_figs.drawing import PALETTE, new_figure, points, save
from paper_figs.powers import label_ends, power_words

NAME = "theorem_1"
NEEDS = "theorem_1"
TITLE = "Theorem 1: the gradient at the start of fine-tuning"
CAPTION = (
    "Left: gradient energy (above) and squared gradient in the weights (below) on the target over the length of pretraining, from random "
    "starts at several initial scales κ. Lines are theory, with ‖ỹ‖² and ỹᵀH_Qỹ alone as the lowest, dashed; the gap between them is the "
    "theorem's error in κ, made explicit. Right: its error in the width, the drift of what pretraining leaves, falls like 1/(κ√m)."
)

_COLOURS = (PALETTE[0], PALETTE[2], PALETTE[4], PALETTE[1], PALETTE[3])
_WORDS = {"energy": "gradient energy ‖∂L_Q/∂X¹‖²", "gradient": "squared gradient ‖∂L_Q/∂W‖²"}
_MARKS = (("o", PALETTE[0]), ("s", PALETTE[3]), ("D", PALETTE[2]))


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """Both quantities over pretraining for each task, and the drift over width and scale; returns the files written."""
    results = record["results"]
    tasks = [curve["task"] for curve in results["curves"]]
    figure, axes = new_figure(2, len(tasks) + 1, (3.7 * (len(tasks) + 1), 6.6))
    rows: list[dict[str, Any]] = []
    for column, curve in enumerate(results["curves"]):
        for row, quantity in enumerate(_WORDS):
            here = [c for c in results["cells"] if c["task"] == curve["task"] and c["quantity"] == quantity]
            rows += _over_pretraining(axes[row, column], curve, quantity, here)
        axes[0, column].set_title(f"{curve['task']}, width {record['config']['start_width']:,}")
        axes[1, column].set_xlabel("pretraining steps on the source")
    for row, quantity in enumerate(_WORDS):
        axes[row, 0].set_ylabel(_WORDS[quantity])
    for row, axis in enumerate(("width", "κ")):
        rows += _drift(axes[row, -1], [d for d in results["drifts"] if d["axis"] == axis], tasks)
    nets = f"mean of {record['config']['starts']} starts"
    figure.suptitle(f"Lines: theory.   Hollow: frozen kernel, filled: trained nets ({nets}, ± 2 s.e.)", fontsize=8)
    return save(figure, rows, folder, NAME)


def _over_pretraining(panel: Axes, curve: dict[str, Any], quantity: str, cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    ends, rows = [], []
    scales = list(dict.fromkeys(cell["scale"] for cell in cells))
    for line in curve[quantity]:
        zero = line["scale"] == 0
        colour = "black" if zero else _COLOURS[scales.index(line["scale"]) % len(_COLOURS)]
        panel.plot(curve["source_steps"], line["mean"], color=colour, linestyle="--" if zero else "-", linewidth=1.1)
        ends.append((line["mean"][-1], f"κ = {line['scale']:g}", colour))
    for scale in scales:
        colour = _COLOURS[scales.index(scale) % len(_COLOURS)]
        here = [cell for cell in cells if cell["scale"] == scale]
        for rung, face, shift in (("frozen", "white", 0.93), ("trained", colour, 1.07)):
            mark: dict[str, Any] = {"color": colour, "marker": "o", "markersize": 4, "markerfacecolor": face, "linestyle": "none"}
            points(panel, [shift * cell["source_steps"] for cell in here], [cell[rung] for cell in here], mark)
        rows += [
            {
                "part": quantity,
                "task": cell["task"],
                "scale": scale,
                "at": cell["source_steps"],
                "predicted": cell["predicted"],
                **{f"{rung}_{name}": cell[rung][name] for rung in ("frozen", "trained") for name in ("mean", "standard_error", "n")},
            }
            for cell in here
        ]
    last = curve["source_steps"][-1]
    shown = sorted({cell["source_steps"] for cell in cells})
    panel.set(xscale="log", xlim=(0.8 * shown[0], 2.6 * last))
    panel.set_xticks(shown, [f"{k:g}" for k in shown])
    panel.minorticks_off()
    panel.set_ylim(0, 1.12 * max(max(c["frozen"]["mean"], c["trained"]["mean"], c["predicted"]) for c in cells))
    label_ends(panel, ends, last, gap=0.06, beyond=1.15)
    return rows


def _drift(panel: Axes, drifts: list[dict[str, Any]], tasks: list[str]) -> list[dict[str, Any]]:
    rows = []
    for drift in drifts:
        marker, colour = _MARKS[tasks.index(drift["task"])]
        places, sizes = drift["places"], [100 * size["mean"] for size in drift["sizes"]]
        bars = [200 * size["standard_error"] for size in drift["sizes"]]
        lows = [min(bar, 0.9 * size) for bar, size in zip(bars, sizes, strict=True)]
        words = f"{drift['task']}\npower {power_words(drift['fit'], drift['claimed'])}"
        panel.errorbar(places, sizes, yerr=[lows, bars], color=colour, marker=marker, linestyle="none", label=words)
        if drift["fit"]:
            fitted = drift["fit"]
            middle = (places[0] * places[-1]) ** 0.5
            through = 100 * fitted["prefactor"] * middle ** fitted["slope"]
            ends = [places[0], places[-1]]
            panel.plot(ends, [through * (x / middle) ** drift["claimed"] for x in ends], color=colour, linewidth=0.9, alpha=0.7)
        rows += [
            {"part": f"drift over {drift['axis']}", "task": drift["task"], "at": place, **{f"trained_{k}": v for k, v in size.items()}}
            for place, size in zip(places, drift["sizes"], strict=True)
        ]
    axis, held = drifts[0]["axis"], drifts[0]["held"]
    panel.set(xscale="log", yscale="log", xlabel="width m" if axis == "width" else "initial scale κ", title=f"drift, {held}")
    panel.set_ylabel("length of the mean drift of r̃, % of ‖ỹ‖")
    panel.set_xticks(drifts[0]["places"], [f"{x:,g}" for x in drifts[0]["places"]])
    panel.minorticks_off()
    panel.yaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter("{x:g}")
    panel.yaxis.set_minor_formatter(NullFormatter())
    panel.legend(fontsize=7)
    return rows
