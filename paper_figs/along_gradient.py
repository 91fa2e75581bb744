"""Figure: the loss along the gradient. Is the landscape that a net sees on its way the predicted one, after pretraining and without?"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from paper_figs.drawing import PRETRAINED, RANDOM, new_figure, points, save
from paper_figs.powers import label_ends

NAME = "along_gradient"
NEEDS = "along_gradient"
TITLE = "The loss along the gradient"
CAPTION = (
    "Left: the loss along the gradient at the start of fine-tuning and from scratch; lines are theory, points trained nets. Middle: the "
    "effective smoothness over training. Trained nets follow theory (solid) until the steep modes are learnt; then the gradient changes "
    "mostly because neurons switch, which a frozen kernel leaves out and first-order theory has (dashed, from scratch). Right: that "
    "excess, of the squared change of the gradient over one step, falls like 1/√m (green lines, through the widest nets); from scratch "
    "its size is computed from the data alone (black)."
)

_STARTS = {"pretrained": {**PRETRAINED, "label": "pretrained"}, "scratch": {**RANDOM, "label": "from scratch"}}
_SHOWN = 4
"""Every fourth point of a line is drawn."""


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """Lines, smoothness and excess for each task; returns the files written."""
    results, config = record["results"], record["config"]
    tasks = list(dict.fromkeys(cell["task"] for cell in results["cells"]))
    figure, axes = new_figure(len(tasks), 3, (11.0, 3.3 * len(tasks)))
    rows: list[dict[str, Any]] = []
    for row, task in enumerate(tasks):
        mine = {name: [each for each in results[name] if each["task"] == task] for name in ("cells", "curves", "drifts")}
        rows += _lines(axes[row, 0], mine["curves"], results["sizes"], config["steps"][0])
        rows += _smoothness(axes[row, 1], mine["cells"], mine["drifts"], config["widths"][-1])
        rows += _excess(axes[row, 2], mine["drifts"], config["widths"])
        axes[row, 0].set_title(f"{task}, width {config['widths'][-1]:,}")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    words = [f"trained nets, {label} (mean of {len(record['seeds'])}, ± 2 s.e.)" for label in labels]
    handles.append(Line2D([], [], color="black", linewidth=1.1))
    figure.legend(handles, [*words, "theory (middle: in colour; dashed: with neurons that switch)"], loc="outside upper center", ncols=3)
    return save(figure, rows, folder, NAME)


def _lines(panel: Axes, curves: list[dict[str, Any]], sizes: list[float], step: int) -> list[dict[str, Any]]:
    rows = []
    for curve in (c for c in curves if c["step"] == step):
        mark = _STARTS[curve["start"]]
        panel.plot(sizes, curve["predicted"], color="black", linewidth=1.1)
        points(panel, sizes[::_SHOWN], curve["trained"][::_SHOWN], mark)
        rows += [
            {"part": "line", "task": curve["task"], "start": curve["start"], "at": size, "predicted": expected, **found}
            for size, expected, found in zip(sizes[::_SHOWN], curve["predicted"][::_SHOWN], curve["trained"][::_SHOWN], strict=True)
        ]
    panel.set(xlabel="step along the gradient, in units of 1/λ_max", ylabel=f"loss ahead, after {step} steps")
    panel.set_ylim(bottom=0)
    return rows


def _smoothness(panel: Axes, cells: list[dict[str, Any]], drifts: list[dict[str, Any]], width: int) -> list[dict[str, Any]]:
    rows = []
    for start, mark in _STARTS.items():
        here = [cell for cell in cells if cell["start"] == start]
        steps, found = [cell["step"] for cell in here], [cell["smoothness"] for cell in here]
        panel.plot(steps, [f["predicted"] for f in found], color=mark["color"], linewidth=1.1)
        known = {d["step"]: d["predicted"] for d in drifts if d["start"] == start and "predicted" in d}
        with_switches = [
            f["predicted"] * math.sqrt(1 + known[k] / math.sqrt(width)) for k, f in zip(steps, found, strict=True) if k in known
        ]
        if with_switches:
            panel.plot([k for k in steps if k in known], with_switches, color=mark["color"], linewidth=1.1, linestyle="--")
        points(panel, steps, [f["trained"] for f in found], mark)
        rows += [
            {"part": "smoothness", "task": cell["task"], "start": start, "at": cell["step"], "predicted": f["predicted"], **f["trained"]}
            for cell, f in zip(here, found, strict=True)
        ]
    steps = sorted({cell["step"] for cell in cells})
    panel.set_xscale("symlog", linthresh=1)
    panel.set(xlim=(-0.3, 1.5 * steps[-1]), xlabel="training steps on the target", ylabel="effective smoothness")
    panel.set_xticks(steps, [f"{k:,}" for k in steps])
    panel.set_yscale("log")
    panel.yaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter("{x:g}")
    panel.yaxis.set_minor_formatter(NullFormatter())
    return rows


def _excess(panel: Axes, drifts: list[dict[str, Any]], widths: list[int]) -> list[dict[str, Any]]:
    rows, ends = [], []
    for drift in drifts:
        mark = _STARTS[drift["start"]]
        shown = [(w, 100 * s["mean"], 200 * s["standard_error"]) for w, s in zip(widths, drift["sizes"], strict=True) if s["mean"] > 0]
        if not shown:
            continue
        at, sizes, bars = (list(column) for column in zip(*shown, strict=True))
        lows = [min(bar, 0.9 * size) for bar, size in zip(bars, sizes, strict=True)]
        panel.errorbar(at, sizes, yerr=[lows, bars], **{**mark, "markersize": 4})
        if "predicted" in drift:
            panel.plot([at[0], at[-1]], [100 * drift["predicted"] / math.sqrt(w) for w in (at[0], at[-1])], color="black", linewidth=1.1)
        else:
            panel.plot([at[0], at[-1]], [sizes[-1] * (w / at[-1]) ** -0.5 for w in (at[0], at[-1])], color=mark["color"], linewidth=0.9)
        if drift["start"] == "scratch":
            ends.append((sizes[-1], f"{drift['step']:,} steps", "0.3"))
        first_order = {m: drift["predicted"] / math.sqrt(m) if "predicted" in drift else None for m in widths}
        rows += [
            {
                "part": "excess",
                "task": drift["task"],
                "start": drift["start"],
                "steps": drift["step"],
                "at": w,
                "predicted": first_order[w],
                **size,
            }
            for w, size in zip(widths, drift["sizes"], strict=True)
        ]
    panel.set(
        xscale="log", yscale="log", xlabel="width m", ylabel="excess of the squared change, %", xlim=(0.8 * widths[0], 2.2 * widths[-1])
    )
    panel.set_xticks(widths[:: max(1, len(widths) // 4)], [f"{w:,}" for w in widths[:: max(1, len(widths) // 4)]])
    panel.minorticks_off()
    panel.yaxis.set_major_formatter("{x:g}")
    label_ends(panel, ends, widths[-1], gap=0.06, beyond=1.15)
    return rows
