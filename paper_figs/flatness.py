"""Figure: flatness. Is the minimum that fine-tuning ends in flatter than that of a random start, at the same training loss?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from paper_figs.drawing import PRETRAINED, RANDOM, legend_above, new_figure, points, save
from sim.estimate import estimate

NAME = "flatness"
NEEDS = "flatness"
TITLE = "Real networks: flatness at equal training loss"
CAPTION = (
    "Both starts trained to one training loss. Left: spectral density of the Hessian (first seed, band ± 2 s.e. over probes). Then the "
    "loss along a filter-normalised random line, and on the straight way from the start, over seeds. Right: three measures of curvature, "
    "pretrained over random; only the last does not depend on the scale of filters, which batch norm makes meaningless."
)

_STARTS = {"pretrained": PRETRAINED, "random": RANDOM}
_MEASURES = {"top": "leading\neigenvalue", "trace": "trace", "filter_curvature": "along filter-\nnormalised lines"}


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """A row of panels for each task; returns the files written."""
    cells = record["results"]["cells"]
    tasks = list(dict.fromkeys(cell["task"] for cell in cells))
    figure, axes = new_figure(len(tasks), 4, (12.0, 3.0 * len(tasks)), width_ratios=[1, 1, 1, 0.8])
    rows: list[dict[str, Any]] = []
    for line, task in zip(axes, tasks, strict=True):
        runs = {start: [c for c in cells if (c["task"], c["start"]) == (task, start)] for start in _STARTS}
        for start, mark in _STARTS.items():
            _density(line[0], runs[start], mark)
            for panel, name in zip(line[1:3], ("line", "way"), strict=True):
                _curve(panel, runs[start], name, mark)
        line[0].set(xlabel="eigenvalue", ylabel="spectral density", yscale="log", title=task)
        line[1].set(xlabel="along a random line", ylabel="training loss", yscale="log")
        line[2].set(xlabel="from the start (0) to the minimum (1)", ylabel="training loss")
        rows += [{"task": task, **row} for row in _ratios(line[3], runs)]
    handles, labels = axes[0, 1].get_legend_handles_labels()
    legend_above(figure, handles, [f"{name} ({len(record['seeds'])} seeds, ± 2 s.e.)" for name in labels])
    return save(figure, rows, folder, NAME)


def _density(panel: Axes, runs: Sequence[dict[str, Any]], mark: dict[str, Any]) -> None:
    for run in runs:
        if "density" in run:
            at, density, error = (np.array(run["density"][name], dtype=float) for name in ("at", "density", "standard_error"))
            panel.plot(at, density, color=mark["color"], linewidth=1.2)
            least = density.max() * 1e-6
            panel.fill_between(at, np.maximum(density - 2 * error, least), density + 2 * error, color=mark["color"], alpha=0.2, linewidth=0)
            panel.set_ylim(bottom=least)


def _curve(panel: Axes, runs: Sequence[dict[str, Any]], name: str, mark: dict[str, Any]) -> None:
    values = np.array([run[name]["loss"] for run in runs], dtype=float)
    points(
        panel, runs[0][name]["at"], [asdict(estimate(column.tolist())) for column in values.T], {**mark, "markersize": 3, "linestyle": "-"}
    )


def _ratios(panel: Axes, runs: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    rows = []
    for place, measure in enumerate(_MEASURES):
        a, b = ([run[measure] for run in runs[start]] for start in _STARTS)
        for start, values in zip(_STARTS, (a, b), strict=True):
            found = estimate(values)
            rows.append({"start": start, "measure": measure, "mean": found.mean, "standard_error": found.standard_error})
        if min(*a, *b) > 0:
            logs = estimate(np.log(np.divide(a, b)).tolist())
            middle, error = np.exp(logs.mean), 2 * logs.standard_error
            bars = [[middle - middle * np.exp(-error)], [middle * np.exp(error) - middle]]
            panel.errorbar([place], [middle], yerr=bars, color="0.2", marker="o")
        else:
            panel.text(place, 1, "not\npositive", ha="center", va="center", fontsize=7)
    panel.axhline(1, color="0.6", linewidth=0.8)
    panel.set(yscale="log", ylabel="pretrained / random", xlim=(-0.6, len(_MEASURES) - 0.4))
    panel.set_xticks(range(len(_MEASURES)), list(_MEASURES.values()), fontsize=7)
    panel.set_yticks([0.1, 0.3, 1, 3], ["0.1", "0.3", "1", "3"])
    panel.minorticks_off()
    return rows
