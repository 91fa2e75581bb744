"""Figure: chains of stages. What does each stage forget of the ones before, and how fast does cycling agree with joint training?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from paper_figs.drawing import FROZEN, PALETTE, THEORY, TRAINED, legend_of_rungs, new_figure, points, save

NAME = "chains"
NEEDS = "chains"
TITLE = "Chains of stages, and cycling"
CAPTION = (
    "Above: the loss on each set, over a chain that trains on one after the other; its own stage brings it to next to nothing, later ones "
    "raise it again, or lower it where they help. Below: what is left on all sets together when a net cycles through them; it shrinks as "
    "predicted at every sweep, in the end by the factor of block Gauss-Seidel (dotted), down to the joint interpolant."
)


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """Losses after each stage of the chains, and what sweeps leave; returns the files written."""
    routes = record["results"]["routes"]
    chains, cycles = [r for r in routes if r["sweeps"] == 1], [r for r in routes if r["sweeps"] > 1]
    figure, axes = new_figure(2, max(len(chains), len(cycles)), (4.6 * max(len(chains), len(cycles)), 6.6))
    rows: list[dict[str, Any]] = []
    widest = record["config"]["widths"][-1]
    for panel, route in zip(axes[0], chains, strict=False):
        rows += _losses(panel, route)
        panel.set_title(f"{route['label']}, width {widest:,}")
    for panel, route in zip(axes[1], cycles, strict=False):
        rows += _left(panel, route)
        panel.set_title(f"{route['label']}, width {widest:,}")
    for panel in [*axes[0, len(chains) :], *axes[1, len(cycles) :]]:
        panel.set_visible(False)
    legend_of_rungs(figure, axes[1, 0], len(record["seeds"]))
    return save(figure, rows, folder, NAME)


def _estimates(found: dict[str, Any], *at: int) -> dict[str, float]:
    mean, error = found["mean"], found["standard_error"]
    for i in at:
        mean, error = mean[i], error[i]
    return {"mean": mean, "standard_error": error}


def _losses(panel: Axes, route: dict[str, Any]) -> list[dict[str, Any]]:
    rows, stages = [], list(range(len(route["order"]) + 1))
    for a, name in enumerate(route["sets"]):
        colour = (*PALETTE, "#000000")[a % 6]
        predicted = [route["labels"][a], *(row[a] for row in route["predicted"]["losses"])]
        panel.plot(stages, predicted, color=colour, linewidth=1.2, label=name)
        for rung, mark in (("frozen", FROZEN), ("trained", TRAINED)):
            here = [_estimates(route[rung]["losses"], s, a) for s in range(len(route["order"]))]
            points(panel, stages[1:], here, {**mark, "color": colour, "label": None})
            rows += [{"route": route["label"], "set": name, "stage": s + 1, "rung": rung, **e} for s, e in enumerate(here)]
        rows += [{"route": route["label"], "set": name, "stage": s, "rung": "theory", "mean": v} for s, v in enumerate(predicted)]
    panel.set(xlabel="stage", ylabel="loss ½‖u − y‖² on each set", ylim=(0, None))
    panel.set_xticks(stages, ["start", *(route["sets"][a] for a in route["order"])], fontsize=7)
    panel.legend(fontsize=7, title="loss on", title_fontsize=7)
    return rows


def _left(panel: Axes, route: dict[str, Any]) -> list[dict[str, Any]]:
    sets, rows = len(route["sets"]), []
    at = list(range(sets - 1, len(route["order"]), sets))
    sweeps = list(range(1, len(at) + 1))
    predicted = [route["predicted"]["left"][s] for s in at]
    panel.plot(sweeps, predicted, **THEORY)
    for rung, mark in (("frozen", FROZEN), ("trained", TRAINED)):
        here = [_estimates(route[rung]["left"], s) for s in at]
        points(panel, sweeps, here, mark)
        rows += [{"route": route["label"], "sweep": k, "rung": rung, **e} for k, e in zip(sweeps, here, strict=True)]
    rows += [{"route": route["label"], "sweep": k, "rung": "theory", "mean": v} for k, v in zip(sweeps, predicted, strict=True)]
    factor = route["sweep_factor"]
    panel.plot(sweeps, [predicted[-1] * factor ** (k - sweeps[-1]) for k in sweeps], color="0.5", linestyle=":", linewidth=1.2)
    panel.text(0.97, 0.93, f"dotted: {factor:.3f} a sweep", transform=panel.transAxes, fontsize=7, ha="right", color="0.35")
    panel.set(yscale="log", xlabel="sweeps through all sets", ylabel="‖y − u‖ on all sets together")
    return rows
