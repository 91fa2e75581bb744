"""Figure: the phase diagram. Where does transfer help and where does it hurt, and do nets agree?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm

from paper_figs.drawing import new_figure, save

NAME = "phase_diagram"
NEEDS = "phase_diagram"
TITLE = "The phase diagram of transfer"
CAPTION = (
    "Gain over the angle between source and target labels and the similarity of inputs. Colours are theory, the black line where transfer "
    "stops to help. Marks are trained nets, in the same colours: up where they gain, down where they lose, a cross where they do not say. "
    "Orange bars: where nets put the boundary (± 2 s.e.). Right: on average over Gaussian teachers; the dashed line is the 60° law, "
    "whatever the inputs."
)


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """Maps with nets on them, one for each task; returns the files written."""
    results = record["results"]
    columns = 2
    lines = -(-len(results["maps"]) // columns)
    figure, axes = new_figure(lines, columns, (10.5, 3.7 * lines))
    rows: list[dict[str, Any]] = []
    for panel, shown in zip(axes.ravel(), results["maps"], strict=False):
        cells = [c for c in results["cells"] if c["task"] == shown["task"]]
        gaussian = "Gaussian" in shown["task"]
        colours = _map(panel, shown, "squared displacement saved, mean" if gaussian else "gain")
        if gaussian:
            panel.axvline(60, color="black", linestyle="--", linewidth=0.8)
        for cell in cells:
            net = cell["trained"]
            sure = abs(net["mean"]) > 2 * net["standard_error"]
            marker = ("^" if net["mean"] > 0 else "v") if sure else "X"
            where = [cell["angle"]], [cell["similarity"]]
            panel.scatter(*where, c=[net["mean"]], marker=marker, s=60, edgecolors="black", linewidths=0.6, clip_on=False, **colours)
            about = {k: cell[k] for k in ("task", "similarity", "angle", "predicted")}
            parts = [(rung, part) for rung in ("frozen", "trained") for part in ("mean", "standard_error")]
            rows.append({**about, **{f"{rung}_{part}": cell[rung][part] for rung, part in parts}})
        for edge in (b for b in results["boundaries"] if b["task"] == shown["task"] and b["trained"] is not None):
            place, error = edge["trained"]["mean"], 2 * edge["trained"]["standard_error"]
            panel.errorbar(
                [place], [edge["similarity"]], xerr=[error], color="#E69F00", marker="|", markersize=12, capsize=3, clip_on=False
            )
    config = record["config"]
    nets = f"{len(record['seeds'])} trained nets of width {config['width']:,}"
    figure.suptitle(
        f"Colours, black lines: theory.   Marks: {nets}, mean; ▲ above 0, ▼ below, ✕ within 2 s.e.   Orange: their boundary, ± 2 s.e.",
        fontsize=8,
    )
    return save(figure, rows, folder, NAME)


def _map(panel: Axes, shown: dict[str, Any], words: str) -> dict[str, Any]:
    """The theory's colours and boundary; returns what the nets' colours need."""
    values = np.array(shown["values"])
    colours: dict[str, Any] = {"norm": TwoSlopeNorm(0.0, min(values.min(), -1e-6), max(values.max(), 1e-6)), "cmap": "RdBu"}
    mesh = panel.pcolormesh(shown["angles"], shown["similarities"], values, shading="gouraud", rasterized=True, **colours)
    edges = [(e, s) for e, s in zip(shown["edges"], shown["similarities"], strict=True) if e is not None]
    panel.plot([e for e, _ in edges], [s for _, s in edges], color="black", linewidth=1.5)
    panel.set(xlabel="label angle φ, degrees", ylabel="input similarity c", title=shown["task"])
    panel.set(xlim=(0, 180), ylim=(0, 1.05), xticks=range(0, 181, 30))
    panel.figure.colorbar(mesh, ax=panel).set_label(words)
    return colours
