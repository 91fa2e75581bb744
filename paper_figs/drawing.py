"""What all figures share: marks, style, and files that are the same bytes whenever the record is the same."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

STYLE = Path(__file__).with_name("ptoq.mplstyle")

# Okabe and Ito 2008: told apart with any colour vision; the marks differ in shape and filling too.
THEORY: dict[str, Any] = {"color": "#000000", "linestyle": "-", "label": "theory, infinite width"}
FROZEN: dict[str, Any] = {
    "color": "#0072B2",
    "marker": "o",
    "markerfacecolor": "white",
    "linestyle": "none",
    "label": "frozen kernel H(W(0))",
}
TRAINED: dict[str, Any] = {"color": "#D55E00", "marker": "s", "linestyle": "none", "label": "trained net"}
PRETRAINED: dict[str, Any] = {"color": "#009E73", "marker": "D", "linestyle": "none", "label": "pretrained network"}
RANDOM: dict[str, Any] = {"color": "#CC79A7", "marker": "^", "linestyle": "none", "label": "random start"}
PALETTE = ("#0072B2", "#56B4E9", "#009E73", "#D55E00", "#CC79A7")


def new_figure(rows: int, columns: int, size: tuple[float, float], **grid: Any) -> tuple[Figure, Any]:
    """A figure in the project's style with a `rows` × `columns` array of axes."""
    plt.style.use(["default", STYLE])
    return plt.subplots(rows, columns, figsize=size, squeeze=False, **grid)


def points(axes: Axes, x: Sequence[float], estimates: Sequence[dict[str, float]], mark: dict[str, Any], scale: float = 1.0) -> None:
    """Means with bars of two standard errors."""
    axes.errorbar(x, [scale * e["mean"] for e in estimates], yerr=[2 * scale * e["standard_error"] for e in estimates], **mark)


def steps_axis(axes: Axes, last: float) -> None:
    """Pretraining steps on a logarithmic axis that holds 0."""
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xlim(-0.3, 1.5 * last)
    axes.set_xticks([0, 1, *(10**e for e in range(1, 7) if 10**e < 0.4 * last), last])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("pretraining steps on the source")


def legend_above(figure: Figure, handles: Sequence[Any], labels: Sequence[str], **settings: Any) -> None:
    """One legend above a figure, in as many columns as its width has room for."""
    # An entry takes its words, at about a sixteenth of an inch a letter, its handle and the space to the next.
    room = figure.get_figwidth() / (max(map(len, labels)) / 16 + 0.55)
    figure.legend(handles, labels, loc="outside upper center", ncols=max(1, min(len(labels), int(room))), **settings)


def legend_of_rungs(figure: Figure, axes: Axes, seeds: int) -> None:
    """One legend above a figure whose panels all hold theory, frozen kernel and trained net."""
    handles, labels = axes.get_legend_handles_labels()
    names = [*labels[:1], *(f"{name} (mean of {seeds}, ± 2 s.e.)" for name in labels[1:])]
    figure.legend(handles, names, loc="outside upper center", ncols=3)


def rung_rows(cells: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Cells of a record as rows of the plotted-numbers file."""
    names = ("task", "width", "quantity", "source_steps", "predicted")
    parts = [(rung, part) for rung in ("frozen", "trained") for part in ("mean", "standard_error", "n")]
    return [{**{n: c[n] for n in names}, **{f"{rung}_{part}": c[rung][part] for rung, part in parts}} for c in cells]


def save(figure: Figure, rows: list[dict[str, Any]], folder: Path, name: str) -> list[Path]:
    """Write `name.png`, `name.svg` and the plotted numbers as `name.csv`; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{suffix}" for suffix in ("png", "svg", "csv")]
    # Software versions and dates would change the bytes of an unchanged picture.
    figure.savefig(paths[0], metadata={"Software": None})
    figure.savefig(paths[1], metadata={"Date": None, "Creator": None})
    plt.close(figure)
    with paths[2].open("w", newline="", encoding="utf-8") as file:
        columns = list(dict.fromkeys(name for row in rows for name in row))
        writer = csv.DictWriter(file, fieldnames=columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return paths
