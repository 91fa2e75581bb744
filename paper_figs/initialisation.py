"""Figure: random initial weights. Do they do at finite width what the exact formulas say?"""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

from paper_figs.drawing import PALETTE, THEORY, new_figure, save
from paper_figs.powers import label_ends, thousands

NAME = "initialisation"
NEEDS = "initialisation"
TITLE = "Random initial weights"
CAPTION = (
    "Nothing is trained here. Left: the distance of a finite net's Gram matrix from the infinite width's, against its exact mean square. "
    "Middle: the gradient energy on the target after pretraining from a random start, its mean over starts and its standard deviation, "
    "against the initial scale. Right: everything measured, over what the exact formulas give; 1 is agreement."
)

_MARKS = (("o", PALETTE[0]), ("s", PALETTE[3]), ("D", PALETTE[2]), ("^", PALETTE[4]))


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """Distances over width, energies over the initial scale, and all means over their predictions; returns the files written."""
    results = record["results"]
    marks = {fit["task"]: mark for fit, mark in zip(results["fits"], _MARKS, strict=False)}
    figure, axes = new_figure(1, 3, (11.4, 4.6), width_ratios=[0.9, 1, 0.75])
    rows = _distances(axes[0, 0], record["config"]["widths"], results["fits"], marks)
    rows += _starts(axes[0, 1], results["starts"], marks)
    rows += _ratios(axes[0, 2], record["claims"], marks)
    batches = len(record["seeds"])
    nets = {name: batches * record["config"][f"{name}_nets"] for name in ("gram", "start")}
    figure.suptitle(
        f"Lines: theory.   Points: {nets['gram']:,} nets a width for Gram matrices, {nets['start']:,} random starts, ± 2 s.e.", fontsize=8
    )
    return save(figure, rows, folder, NAME)


def _distances(panel: Axes, widths: list[int], fits: list[dict[str, Any]], marks: dict[str, tuple[str, str]]) -> list[dict[str, Any]]:
    rows = []
    for fit in fits:
        marker, colour = marks[fit["task"]]
        predicted = [math.sqrt(s) for s in fit["expected_squares"]]
        found = [_root(s) for s in fit["squares"]]
        panel.plot(widths, predicted, **{**THEORY, "label": None})
        panel.errorbar(
            widths, [f["mean"] for f in found], yerr=[2 * f["standard_error"] for f in found], color=colour, marker=marker, linestyle="none"
        )
        above = fit["expected_squares"][0] == max(f["expected_squares"][0] for f in fits)
        at = 1 if above else len(widths) - 2
        power = f"{fit['fit']['slope']:.3f} ± {fit['fit']['standard_error']:.3f}".replace("-", "−")
        panel.annotate(
            f"{fit['task']}\npower {power}",
            (widths[at], predicted[at]),
            xytext=(6, 6) if above else (-6, -6),
            textcoords="offset points",
            ha="left" if above else "right",
            va="bottom" if above else "top",
            color=colour,
            fontsize=7.5,
        )
        rows += [
            {"part": "distance", "task": fit["task"], "at": w, "predicted": p, **f}
            for w, p, f in zip(widths, predicted, found, strict=True)
        ]
    panel.set(
        xscale="log", yscale="log", xlabel="width m", ylabel="root mean square of ‖H(W(0)) − H‖", title="sampling error of the Gram matrix"
    )
    panel.set_xticks(widths)
    thousands(panel.xaxis)
    panel.xaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter("{x:g}")
    panel.yaxis.set_minor_formatter(NullFormatter())
    return rows


def _starts(panel: Axes, starts: list[dict[str, Any]], marks: dict[str, tuple[str, str]]) -> list[dict[str, Any]]:
    rows, ends = [], []
    for start in starts:
        marker, colour = marks[start["task"]]
        curve, cells = start["curve"], start["cells"]
        scales = [c["scale"] for c in cells]
        deviations = [_root(c["variance"]) for c in cells]
        panel.plot(curve["scale"], curve["energy"], **{**THEORY, "label": None})
        panel.plot(curve["scale"], [math.sqrt(v) for v in curve["variance"]], color="black", linestyle="--")
        for found, face in (([c["energy"] for c in cells], colour), (deviations, "white")):
            bars = [2 * f["standard_error"] for f in found]
            panel.errorbar(
                scales, [f["mean"] for f in found], yerr=bars, color=colour, marker=marker, markerfacecolor=face, linestyle="none"
            )
        for height, words in ((curve["energy"][-1], "mean"), (math.sqrt(curve["variance"][-1]), "s.d.")):
            ends.append((height, f"{start['task']}\n{words}", colour))
        rows += [
            {"part": part, "task": start["task"], "at": scale, "predicted": curve[part][_nearest(curve["scale"], scale)], **c[part]}
            for part in ("energy", "variance")
            for scale, c in zip(scales, cells, strict=True)
        ]
    panel.set(yscale="log", xlabel="initial scale κ", ylabel="gradient energy over random starts")
    panel.set_title(f"what a random start leaves, width {starts[0]['width']:,}")
    panel.set_xlim(0, 1.7 * scales[-1])
    panel.set_xticks([0, *(c["scale"] for c in starts[0]["cells"])][::2])
    panel.set_ylim(bottom=0.6 * math.sqrt(min(s["cells"][0]["variance"]["mean"] for s in starts)))
    panel.yaxis.set_major_formatter("{x:g}")
    label_ends(panel, ends, scales[-1], beyond=1.05)
    return rows


def _ratios(panel: Axes, claims: list[dict[str, Any]], marks: dict[str, tuple[str, str]]) -> list[dict[str, Any]]:
    """One line a claim on a mean, under its heading; what theory gives as 0 is relative already and shown from 1."""
    means = [c for c in claims if c["statistic"] == "z"]
    groups: dict[str, list[str]] = {}
    for claim in means:
        heading, _, words = claim["claim"].partition(": ")
        groups.setdefault(heading, [])
        if words not in groups[heading]:
            groups[heading].append(words)
    rows, ticks, labels, place = [], [], [], 0.0
    for heading, entries in groups.items():
        panel.text(
            -0.02, place, heading, transform=panel.get_yaxis_transform(), ha="right", va="center", fontsize=7, color="0.4", style="italic"
        )
        for words in entries:
            place += 1
            ticks.append(place)
            labels.append(textwrap.fill(words, 40))
            for claim in (c for c in means if c["claim"] == f"{heading}: {words}"):
                task = next(t for t in marks if claim["where"].startswith(f"{t}, "))
                marker, colour = marks[task]
                scale, shift = claim["predicted"] or 1.0, 0.0 if claim["predicted"] else 1.0
                ratio, bar = claim["measured"] / scale + shift, 2 * claim["standard_error"] / scale
                at = place + 0.16 * (2 * list(marks).index(task) - len(marks) + 1)
                panel.errorbar([ratio], [at], xerr=[bar], color=colour, marker=marker, markersize=3.5, linestyle="none")
                rows.append({"part": claim["claim"], "task": task, "predicted": claim["predicted"], "mean": claim["measured"]})
                rows[-1]["standard_error"] = claim["standard_error"]
        place += 1.15
    panel.axvline(1, color="black", linewidth=1.2)
    panel.set_yticks(ticks, labels, fontsize=7)
    panel.set(ylim=(place - 0.3, -0.7), xlabel="measured / predicted", title="everything measured")
    panel.grid(axis="y", visible=False)
    return rows


def _root(square: dict[str, Any]) -> dict[str, float]:
    """The root of a mean, with its standard error."""
    root = math.sqrt(square["mean"])
    return {"mean": root, "standard_error": square["standard_error"] / (2 * root), "n": square["n"]}


def _nearest(scales: list[float], scale: float) -> int:
    return min(range(len(scales)), key=lambda i: abs(scales[i] - scale))
