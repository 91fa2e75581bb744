"""Figure: the breakdown of the kernel regime. Where do width, step size and time leave it, and does theory foretell it?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from paper_figs.drawing import PALETTE, new_figure, save

NAME = "breakdown"
NEEDS = "breakdown"
TITLE = "The breakdown of the kernel regime"
CAPTION = (
    "Errors of the theory over width, step size and training time; dotted lines mark 2, 5 and 10 per cent, ticks on them where nets pass "
    "(± 2 s.e.). Black: first-order drift, computed from the data alone. Beyond 2/λ the frozen kernel diverges and its error is complete, "
    "while the net finds weights that bear the step. Late training leaves displacement and test outputs alone; the loss goes first."
)

_MARKS = {
    "displacement against infinite width": ("o", PALETTE[1]),
    "test outputs against infinite width": ("D", PALETTE[2]),
    "displacement against the frozen kernel": ("s", PALETTE[3]),
    "logarithm of the loss against the frozen kernel's": ("^", PALETTE[4]),
}
LEAST = 5e-4
"""Errors below this, among them those that are zero by construction at the first step, are not shown."""

_WIDTHS = {"step size": "rate_width", "time": "time_width"}
"""Where the settings hold the width of a sweep."""

_AXES = {"width": "width m", "step size": "step size over 1/λ_max", "time": "training steps"}


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """Every error over every sweep, for each task; returns the files written."""
    curves = record["results"]["curves"]
    tasks = list(dict.fromkeys(c["task"] for c in curves))
    figure, axes = new_figure(len(tasks), len(_AXES), (11.5, 3.5 * len(tasks)))
    rows: list[dict[str, Any]] = []
    config = record["config"]
    held = {"width": f"{config['width_steps']} steps", **{s: f"m = {config[k]:,}" for s, k in _WIDTHS.items()}}
    for line, task in zip(axes, tasks, strict=True):
        for panel, (sweep, words) in zip(line, _AXES.items(), strict=True):
            here = [c for c in curves if c["task"] == task and c["sweep"] == sweep]
            for curve in here:
                _curve(panel, curve)
                known = zip(curve["x"], curve["error"], curve["predicted"], curve["nets"], strict=True)
                about = {k: curve[k] for k in ("task", "sweep", "quantity")}
                rows += [{**about, "x": x, "error": e, "predicted": p, **net} for x, e, p, net in known]
            for level in sorted({t["level"] for c in here for t in c["thresholds"]}):
                panel.axhline(level, color="0.6", linestyle=":", linewidth=0.8)
            scale = "linear" if sweep == "step size" else "log"
            panel.set(xscale=scale, yscale="log", xlabel=words, ylabel="relative error", title=f"{task}, by {sweep} ({held[sweep]})")
            panel.set_ylim(bottom=LEAST)
            if sweep == "step size":
                panel.axvline(2, color="0.6", linewidth=0.8)
    handles, labels = _legend(axes)
    handles.append(Line2D([], [], color="0.4", marker="|", markersize=9, linewidth=0.8))
    labels.append(f"where the mean of {config['seeds']} nets passes a level, ± 2 s.e.")
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return save(figure, rows, folder, NAME)


def _curve(panel: Axes, curve: dict[str, Any]) -> None:
    marker, colour = _MARKS[curve["quantity"]]
    shown = [(x, e) for x, e in zip(curve["x"], curve["error"], strict=True) if e > LEAST]
    mark: dict[str, Any] = {"color": colour, "marker": marker, "linewidth": 0.8, "label": curve["quantity"]}
    panel.plot([x for x, _ in shown], [e for _, e in shown], **mark)
    known = [(x, abs(p)) for x, p in zip(curve["x"], curve["predicted"], strict=True) if p is not None and abs(p) > LEAST]
    if known:
        panel.plot([x for x, _ in known], [p for _, p in known], color="black", linewidth=1.2, label="first-order drift")
    for threshold in curve["thresholds"]:
        if threshold["place"] is not None:
            place = threshold["place"]
            # On a logarithmic axis a bar that reaches zero has no end.
            bar = [[min(2 * place["standard_error"], 0.9 * place["mean"])], [2 * place["standard_error"]]]
            panel.errorbar([place["mean"]], [threshold["level"]], xerr=bar, color=colour, marker="|", markersize=9)


def _legend(axes: Any) -> tuple[list[Any], list[str]]:
    found: dict[str, Any] = {}
    for panel in axes.ravel():
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return list(found.values()), list(found)
