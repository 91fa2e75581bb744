"""Figure: random initial weights. Do they do at finite width what the exact formulas say?"""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from paper_figs.drawing import PALETTE, THEORY, new_figure, save
from paper_figs.powers import label_ends

NAME = "initialisation"
NEEDS = "initialisation"
TITLE = "Random initial weights"
CAPTION = (
    "Nothing is trained here. Left: the gradient energy on the target after pretraining from a random start, its mean over starts and its "
    "standard deviation, against the initial scale. Right: everything measured, over what the exact formulas give; 1 is agreement."
)

_MARKS = (("o", PALETTE[0]), ("s", PALETTE[3]), ("D", PALETTE[2]), ("^", PALETTE[4]))


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """Energies over the initial scale, and all means over their predictions; returns the files written."""
    starts = record["results"]["starts"]
    marks = {start["task"]: mark for start, mark in zip(starts, _MARKS, strict=False)}
    figure, axes = new_figure(1, 2, (8.6, 4.2), width_ratios=[1, 0.75])
    rows = _starts(axes[0, 0], starts, marks)
    rows += _ratios(axes[0, 1], record["claims"], marks)
    nets = len(record["seeds"]) * record["config"]["start_nets"]
    figure.suptitle(f"Lines: theory.   Points: {nets:,} random starts, ± 2 s.e.", fontsize=8)
    return save(figure, rows, folder, NAME)


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
