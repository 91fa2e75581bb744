"""Figure: generalisation, three ways. Do training data tell the test error, and where does the bound say anything?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from paper_figs.drawing import PALETTE, legend_above, new_figure, save

NAME = "generalisation"
NEEDS = "generalisation"
TITLE = "Generalisation, three ways"
CAPTION = (
    "Top: over the share of random labels, from none (lower left) to all (upper right), complexity measure, closed-form squared error and "
    "cross-validation from training data alone rise with the test error rate. Below: the Rademacher bound at its best number of steps and "
    "the loss it bounds; above 1 it says nothing. Right: sources of different noise and pretraining, ordered by the measure."
)

_WAYS = {
    "measure": "complexity measure √(2 ỹᵀH⁻¹ỹ/n)",
    "test_mse": "closed form: squared error on test points",
    "cross_validation": "cross-validation, training data alone",
}
_PAIR_COLOURS = (PALETTE[0], PALETTE[2], PALETTE[3], PALETTE[4], PALETTE[1])
_FACES = {"from scratch": "white", "pretrained": None}
_TASK_MARKS = {"parity": ("o", PALETTE[0]), "classes": ("s", PALETTE[3])}


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """Each way against the test error, the bound over random labels and over sample size, tasks in order; returns the files written."""
    results = record["results"]
    figure, axes = new_figure(2, 3, (10.4, 6.6))
    for panel, (way, words) in zip(axes[0], _WAYS.items(), strict=True):
        _against_error(panel, results, way)
        panel.set(title=words, xlabel="test error rate, true labels (%)")
    axes[0, 0].set_ylabel("mean over draws")
    _bound_over_shares(axes[1, 0], results["pairs"])
    _bound_over_sizes(axes[1, 1], results["sizes"])
    _order_of_tasks(axes[1, 2], results)
    seeds = len(record["seeds"])
    handles, labels = axes[0, 0].get_legend_handles_labels()
    legend_above(figure, handles, labels, title=f"MNIST digits, means of {seeds} draws ± 2 s.e.")
    return save(figure, _rows(results), folder, NAME)


def _pairs(results: dict[str, Any]) -> list[list[int]]:
    return list({tuple(c["pair"]): c["pair"] for c in results["pairs"]}.values())


def _bars(panel: Axes, x: Sequence[float], estimates: Sequence[dict[str, float]], **mark: Any) -> None:
    panel.errorbar(x, [e["mean"] for e in estimates], yerr=[2 * e["standard_error"] for e in estimates], **mark)


def _against_error(panel: Axes, results: dict[str, Any], way: str) -> None:
    for pair, colour in zip(_pairs(results), _PAIR_COLOURS, strict=False):
        for start, face in _FACES.items():
            here = [c for c in results["pairs"] if c["pair"] == pair and c["start"] == start]
            x = [100 * c["test_error"]["mean"] for c in here]
            mark: dict[str, Any] = {"color": colour, "linestyle": "none", "marker": "o", "markerfacecolor": face or colour}
            _bars(panel, x, [c[way] for c in here], label=f"{pair[0]} / {pair[1]}, {start}", **mark)
            if way == "cross_validation":
                mark |= {"marker": "^", "markersize": 3.5}
                _bars(panel, x, [c["leave_one_out"] for c in here], **mark)
    lowest = min((r for r in results["ranks"] if r["way"] == way and r["of"] == "draws"), key=lambda r: r["value"])
    note = f"rank correlation in a draw ≥ {lowest['value']:.3f}"
    if way == "cross_validation":
        note = f"● generalised   ▲ leave-one-out\n{note} (●)"
    panel.text(0.97, 0.05, note, transform=panel.transAxes, ha="right", fontsize=7.5)
    panel.set_ylim(bottom=0)


def _vacuous(panel: Axes, room: float, x: float) -> None:
    """Shade what is above 1, and leave room above the curves."""
    top = max(room * panel.get_ylim()[1], 1.1)
    panel.axhspan(1, top, color="0.93", zorder=0)
    panel.axhline(1, color="0.4", linewidth=0.8)
    panel.set_ylim(0, top)
    panel.text(x, 0.97, "vacuous", transform=panel.transAxes, ha="left", va="top", fontsize=7.5, color="0.35")


def _bound_over_shares(panel: Axes, cells: list[dict[str, Any]]) -> None:
    pair = cells[0]["pair"]
    for start, face in _FACES.items():
        here = [c for c in cells if c["pair"] == pair and c["start"] == start]
        share = [100 * c["share"] for c in here]
        mark = {"color": _PAIR_COLOURS[0], "markerfacecolor": face or _PAIR_COLOURS[0]}
        _bars(panel, share, [c["best_bound"] for c in here], marker="o", linestyle="-", label=f"bound, {start}", **mark)
        _bars(panel, share, [c["best_loss"] for c in here], marker="v", linestyle=":", label=f"loss, {start}", **mark)
    panel.set(
        title=f"bound on the loss, {pair[0]} / {pair[1]}, best steps", xlabel="random labels (%)", ylabel="expected loss min(1, |f − y|)"
    )
    _vacuous(panel, 1.0, 0.02)
    panel.legend(loc="lower right", fontsize=7)


def _bound_over_sizes(panel: Axes, cells: list[dict[str, Any]]) -> None:
    for start, face in _FACES.items():
        here = [c for c in cells if c["start"] == start]
        sizes = [c["n_target"] for c in here]
        for name, colour, words in (("best", PALETTE[0], "best steps"), ("end", PALETTE[3], "to the end")):
            mark = {"color": colour, "markerfacecolor": face or colour}
            _bars(panel, sizes, [c[f"{name}_bound"] for c in here], marker="o", linestyle="-", label=f"bound, {words}, {start}", **mark)
            _bars(panel, sizes, [c[f"{name}_loss"] for c in here], marker="v", linestyle=":", **mark)
    panel.set(title="bound on the loss, digits → MNIST, parity", xlabel="target points (▼ the loss itself)", xscale="log")
    panel.set_xticks(sizes, [f"{n:,}" for n in sizes])
    panel.minorticks_off()
    _vacuous(panel, 1.7, 0.02)
    panel.legend(loc="upper right", fontsize=7)


def _order_of_tasks(panel: Axes, results: dict[str, Any]) -> None:
    for task in dict.fromkeys(c["task"] for c in results["digits"]):
        kind = task.rsplit(" ", 1)[1]
        marker, colour = _TASK_MARKS[kind]
        here = [c for c in results["digits"] if c["task"] == task]
        (rank,) = (r for r in results["ranks"] if r["task"] == task and r["way"] == "measure")
        words = f"{kind}: rank correlation {rank['value']:.3f}\n(in one draw {rank['within_draws']['mean']:.2f})"
        panel.plot(
            [c["test_mse"]["mean"] for c in here],
            [c["measure"]["mean"] for c in here],
            marker,
            color=colour,
            markerfacecolor="white",
            label=words,
        )
    panel.set(title="digits → MNIST, order of sources", xlabel="squared test error", ylabel="complexity measure")
    panel.xaxis.set_major_locator(MaxNLocator(5))
    panel.legend(loc="lower right", fontsize=7)


def _rows(results: dict[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for part, keys in (("pairs", ("task", "share")), ("digits", ("task", "noise", "source_steps")), ("sizes", ("n_target", "start"))):
        for cell in results[part]:
            row: dict[str, Any] = {"part": part, **{key: cell[key] for key in keys}}
            for name, value in cell.items():
                if isinstance(value, dict):
                    row |= {name: value["mean"], f"{name}_standard_error": value["standard_error"]}
            rows.append(row)
    return rows
