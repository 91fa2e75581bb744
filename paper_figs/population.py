"""Figure: infinitely many samples. Do finite samples come to what theory says, and stop at its floor?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from paper_figs.drawing import PALETTE, THEORY, new_figure, points, save
from paper_figs.powers import label_ends

NAME = "population"
NEEDS = "population"
TITLE = "Infinitely many samples"
CAPTION = (
    "Top: the error on the whole sphere over training steps, for growing samples (light to dark), comes to the line for infinitely many; "
    "where the kernel lacks degrees of the target, no sample goes below the floor, while with a constant coordinate the same target is "
    "learnt below it. Middle: the error less that limit against 1/n; straight lines into 0 are a bias c/n. Bottom: likewise the largest "
    "eigenvalues of H/n over their limits, by degree (× multiplicity)."
)

_SIZES = ("#9ecae1", "#6baed6", "#4292c6", "#2171b5", "#08519c", "#08306b")
_MARKS = ("o", "s", "D", "^", "v", "P")
_COLOURS = (*PALETTE, "#000000")


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """Errors over steps, their bias and that of eigenvalues over 1/n, a column for each task; returns the files written."""
    results = record["results"]
    tasks = list(dict.fromkeys(c["task"] for c in results["cells"]))
    figure, axes = new_figure(3, len(tasks), (3.4 * len(tasks), 8.4), height_ratios=[1.15, 1, 1])
    for column, task in enumerate(tasks):
        cells = [c for c in results["cells"] if c["task"] == task]
        sizes = sorted({c["n"] for c in cells})
        (floor,) = (f for f in results["floors"] if f["task"] == task)
        _errors(axes[0, column], cells, sizes, floor)
        axes[0, column].set_title(task.replace("dimensions, ", "dimensions,\n"))
        _bias(axes[1, column], cells, sizes)
        _eigenvalues(axes[2, column], [e for e in results["eigenvalues"] if e["task"] == task], sizes)
    for row, words in enumerate(("mean squared error", "error less its limit", "eigenvalue of H/n over its limit")):
        axes[row, 0].set_ylabel(words)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=len(labels), title=f"Points: means of {len(record['seeds'])} samples, ± 2 s.e."
    )
    return save(figure, _rows(results), folder, NAME)


def _errors(panel: Axes, cells: list[dict[str, Any]], sizes: list[int], floor: dict[str, Any]) -> None:
    limit = sorted({(c["steps"], c["predicted"]) for c in cells})
    steps = [k for k, _ in limit]
    panel.plot(steps, [value for _, value in limit], **{**THEORY, "label": "theory, n → ∞"})
    for place, n in enumerate(sizes):
        here = sorted((c for c in cells if c["n"] == n), key=lambda c: c["steps"])
        shift = 1.025 ** (2 * place - len(sizes) + 1)
        mark = {"color": _SIZES[place], "marker": _MARKS[place], "linestyle": "none", "label": f"n = {n:,}"}
        points(panel, [shift * k for k in steps], [c["error"] for c in here], mark)
    panel.set(xscale="log", xlabel="training steps")
    panel.set_xticks(steps, [f"{k:,}" for k in steps])
    panel.minorticks_off()
    panel.set_ylim(bottom=0)
    lifted = floor["floor"] != floor["without_constant"]
    for key, words in (("floor", "floor"), ("without_constant", "floor without the constant")) if lifted else (("floor", "floor"),):
        # A floor that the axis cannot show is none to speak of.
        if floor[key] > 0.01 * panel.get_ylim()[1]:
            panel.axhline(floor[key], color="0.35", linestyle="--" if key == "floor" else ":", linewidth=1)
            above = floor[key] < 0.1 * panel.get_ylim()[1]
            panel.annotate(
                f"{words}, {floor[key]:.2g}",
                (steps[0], floor[key]),
                xytext=(0, 2 if above else -3),
                textcoords="offset points",
                va="bottom" if above else "top",
                fontsize=7.5,
                color="0.3",
            )


def _bias(panel: Axes, cells: list[dict[str, Any]], sizes: list[int]) -> None:
    panel.axhline(0, color="black", linewidth=1.2)
    ends = []
    for place, k in enumerate(sorted({c["steps"] for c in cells})):
        here = [next(c for c in cells if (c["n"], c["steps"]) == (n, k)) for n in sizes]
        gaps = [{**c["error"], "mean": c["error"]["mean"] - c["predicted"]} for c in here]
        ends.append(_over_size(panel, sizes, gaps, place, f"{k} step" + "s" * (k > 1)))
    _size_axis(panel, sizes, ends)


def _eigenvalues(panel: Axes, found: list[dict[str, Any]], sizes: list[int]) -> None:
    panel.axhline(1, color="black", linewidth=1.2)
    ends = []
    for place, each in enumerate(found):
        ratios = [{part: m[part] / each["predicted"] for part in ("mean", "standard_error")} for m in each["measured"]]
        ends.append(_over_size(panel, sizes, ratios, place, f"degree {each['degree']} (× {each['multiplicity']})", limit=1.0))
    _size_axis(panel, sizes, ends)


def _over_size(
    panel: Axes, sizes: Sequence[int], means: Sequence[dict[str, float]], place: int, words: str, limit: float = 0.0
) -> tuple[float, str, str]:
    """Points over 1/n, and the line `limit + c/n` through them, `c` by weighted least squares; the label of its end."""
    x = [1 / n for n in sizes]
    colour = _COLOURS[place]
    points(panel, x, means, {"color": colour, "marker": _MARKS[place], "linestyle": "none"})
    weights = [1 / m["standard_error"] ** 2 for m in means]
    c = sum(w * a * (m["mean"] - limit) for w, a, m in zip(weights, x, means, strict=True)) / sum(
        w * a * a for w, a in zip(weights, x, strict=True)
    )
    panel.plot([0, x[0]], [limit, limit + c * x[0]], color=colour, linewidth=0.9, alpha=0.7)
    return limit + c * x[0], words, colour


def _size_axis(panel: Axes, sizes: Sequence[int], ends: list[tuple[float, str, str]]) -> None:
    """1/n on a linear axis, marked with n."""
    panel.set_xlim(-0.04 / sizes[0], 1.45 / sizes[0])
    shown = [n for n in sizes if n <= 8 * sizes[0]]
    panel.set_xticks([0, *(1 / n for n in shown)], ["∞", *(f"{n:,}" for n in shown)])
    panel.set_xlabel("sample size n, as 1/n")
    label_ends(panel, ends, 1 / sizes[0], gap=0.065, beyond=1.06)


def _rows(results: dict[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for c in results["cells"]:
        rows.append({"part": "error", **{k: c[k] for k in ("task", "n", "steps", "predicted", "floor")}, **c["error"]})
    sizes = sorted({c["n"] for c in results["cells"]})
    for each in results["eigenvalues"]:
        about = {k: each[k] for k in ("task", "degree", "multiplicity", "predicted")}
        rows += [{"part": "eigenvalue", **about, "n": n, **m} for n, m in zip(sizes, each["measured"], strict=True)]
    return rows
