"""Figure: gradient spectrum. Does pretraining suppress the gradient, and its principal component more than the rest?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from paper_figs.drawing import PRETRAINED, RANDOM, legend_above, new_figure, points, save
from sim.estimate import estimate

NAME = "gradient_spectrum"
NEEDS = "gradient_spectrum"
TITLE = "Real networks: the gradient by layer and on leading singular vectors"
CAPTION = (
    "Left: the gradient at each layer's output at the start of training, input to output. Middle: the share of it that lies on the leading "
    "left singular vector of the layer's weight matrix, in units of what a gradient without a preference would have (line). Right: both "
    "principal components along training, as means over layers."
)

_STARTS = {"pretrained": PRETRAINED, "random": RANDOM}


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """A row of panels for each task; returns the files written."""
    results = record["results"]
    tasks = list(dict.fromkeys(row["task"] for row in results["summary"]))
    figure, axes = new_figure(len(tasks), 4, (12.0, 2.9 * len(tasks)), width_ratios=[1.3, 1.3, 1, 1])
    rows: list[dict[str, Any]] = []
    for line, task in zip(axes, tasks, strict=True):
        for start, mark in _STARTS.items():
            first = [c["along"][0] for c in results["cells"] if (c["task"], c["start"]) == (task, start)]
            layers = list(first[0]["norm"])
            small = {**mark, "markersize": 3}
            for panel, measure in zip(line[:2], ("norm", "output_share"), strict=True):
                found = [estimate([row[measure][layer] for row in first]) for layer in layers]
                points(panel, range(1, len(layers) + 1), [asdict(f) for f in found], small)
                rows += [
                    {"task": task, "start": start, "layer": layer, "measure": measure, "mean": f.mean, "standard_error": f.standard_error}
                    for layer, f in zip(layers, found, strict=True)
                ]
            here = [row for row in results["summary"] if (row["task"], row["start"]) == (task, start)]
            for panel, measure in zip(line[2:], ("output_component", "weight_component"), strict=True):
                points(panel, [row["step"] for row in here], [row[measure] for row in here], {**mark, "linestyle": ":"})
                rows += [
                    {
                        "task": task,
                        "start": start,
                        "step": r["step"],
                        "measure": measure,
                        **{k: r[measure][k] for k in ("mean", "standard_error")},
                    }
                    for r in here
                ]
        line[0].set(yscale="log", xlabel="layer, input to output", ylabel="‖∂L/∂X‖ at the start", title=task)
        line[1].axhline(1, color="0.6", linewidth=0.8)
        line[1].set(yscale="log", xlabel="layer, input to output", ylabel="share on u₁ / isotropic")
        for panel, words in zip(line[2:], ("‖u₁ᵀ ∂L/∂X‖", "|u₁ᵀ (∂L/∂W) v₁|"), strict=True):
            panel.set(xscale="symlog", yscale="log", xlabel="training steps", ylabel=words, xlim=(-0.2, 1.4 * here[-1]["step"]))
            panel.set_xticks([row["step"] for row in here])
            panel.xaxis.set_major_formatter("{x:g}")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    legend_above(figure, handles, [f"{label} ({len(record['seeds'])} seeds, ± 2 s.e.)" for label in labels])
    names = ("task", "start", "layer", "step", "measure", "mean", "standard_error")
    return save(figure, [{name: row.get(name, "") for name in names} for row in rows], folder, NAME)
