"""Figure: the size of the drift. Do the data alone tell by how much, and to which side, a trained net leaves its frozen kernel?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from paper_figs.drawing import PALETTE, THEORY, TRAINED, new_figure, points, save

NAME = "drift_size"
NEEDS = "drift_size"
TITLE = "The size of the drift"
CAPTION = (
    "How much farther a trained net has moved than with its kernel frozen. The line is computed from the data alone, to first order in "
    "1/√m: nets move less at first and more later, by as much as it says. Right: what the nets do over what is predicted, for this and "
    "for the residual's shift along the predicted one; 1 is agreement, but for terms in 1/m."
)

_MARKS = (("o", PALETTE[0]), ("s", PALETTE[3]), ("D", PALETTE[2]))


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """The drift over steps with its prediction for each task, and the ratios of both; returns the files written."""
    curves = record["results"]["curves"]
    columns = len(curves) + 1
    figure, axes = new_figure(1, columns, (3.5 * columns, 3.7), width_ratios=[1] * len(curves) + [0.8])
    rows: list[dict[str, Any]] = []
    for panel, curve in zip(axes[0], curves, strict=False):
        steps = curve["steps"]
        panel.axhline(0, color="0.6", linewidth=0.8)
        panel.plot(steps, [100 * p for p in curve["predicted"]], **{**THEORY, "label": "theory, from the data alone"})
        points(panel, steps, curve["measured"], TRAINED, scale=100)
        panel.set(xscale="log", xlabel="training steps", title=f"{curve['task']}, width {record['config']['width']:,}")
        shown = sorted({1, *record["config"]["steps"]})
        panel.set_xticks(shown, [f"{k:,}" for k in shown])
        panel.minorticks_off()
        rows += [
            {"task": curve["task"], "steps": k, "predicted": p, **m}
            for k, p, m in zip(steps, curve["predicted"], curve["measured"], strict=True)
        ]
    axes[0, 0].set_ylabel("displacement over the frozen kernel's, less 1, %")
    rows += _ratios(axes[0, -1], record["claims"], [c["task"] for c in curves])
    handles, labels = axes[0, 0].get_legend_handles_labels()
    labels = [labels[0], f"trained nets (mean of {len(record['seeds'])}, ± 2 s.e.)"]
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
    return save(figure, rows, folder, NAME)


def _ratios(panel: Axes, claims: list[dict[str, Any]], tasks: list[str]) -> list[dict[str, Any]]:
    means = [c for c in claims if c["statistic"] == "z"]
    places = list(dict.fromkeys((c["claim"], c["at"]) for c in means))
    rows: list[dict[str, Any]] = []
    for claim in means:
        task = next(t for t in tasks if claim["where"].startswith(f"{t}, "))
        marker, colour = _MARKS[tasks.index(task)]
        at = places.index((claim["claim"], claim["at"])) + 0.12 * (2 * tasks.index(task) - len(tasks) + 1)
        first = task not in {row["task"] for row in rows}
        panel.errorbar(
            [claim["measured"] / claim["predicted"]],
            [at],
            xerr=[2 * claim["standard_error"] / abs(claim["predicted"])],
            color=colour,
            marker=marker,
            linestyle="none",
            label=task if first else None,
        )
        rows.append({"task": task, "claim": claim["claim"], "at": claim["at"], "predicted": claim["predicted"], "mean": claim["measured"]})
        rows[-1]["standard_error"] = claim["standard_error"]
    panel.axvline(1, color="black", linewidth=1.2)
    names = [f"{'displacement' if words.startswith('displacement') else 'residual'}\n{at}" for words, at in places]
    panel.set_yticks(range(len(places)), names)
    panel.set(ylim=(len(places) - 0.2, -0.5), xlabel="measured / predicted", title="nets over theory")
    panel.legend(loc="lower left", fontsize=7, frameon=True, framealpha=1, edgecolor="none")
    panel.grid(axis="y", visible=False)
    return rows
