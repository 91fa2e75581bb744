"""Figure: bounds. How much of what a bound leaves open do nets use, and where does the rest sit?"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from paper_figs.drawing import PALETTE, TRAINED, new_figure, save
from paper_figs.powers import label_ends, thousands

NAME = "guarantees"
NEEDS = "guarantees"
TITLE = "Bounds, a priori and a posteriori"
CAPTION = (
    "How far the displacement of a fine-tuned net may be from the prediction, as half the width of a band, and how far it is. A priori: "
    "from the width alone, with probability 1 − δ; left of the dotted line nothing is guaranteed. A posteriori: from the kernel measured "
    "along the run, deterministic, at any width. No net was outside. Right: the factors between the guarantee and what nets do (together: "
    "their product), and how loose the bounds are that the first of them rests on."
)

_SERIES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("guaranteed", "guaranteed by the width", {"color": PALETTE[0], "marker": "o"}),
    ("norm", "measured kernel: its norms", {"color": PALETTE[4], "marker": "v", "markersize": 7, "markerfacecolor": "white"}),
    ("residual", "measured kernel: along residuals", {"color": PALETTE[2], "marker": "D", "markersize": 3}),
)


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """Half-widths of the bands against width, and the account of the slack; returns the files written."""
    results = record["results"]
    figure, axes = new_figure(1, 2, (10.6, 4.3), gridspec_kw={"width_ratios": [1.35, 1]})
    left, right = axes[0]
    predicted = results["predicted"]["displacement"]
    widths = [c["width"] for c in results["cells"]]
    rows, ends = [], []
    for key, words, mark in _SERIES:
        shown = [(c["width"], 100 * half / predicted) for c in results["cells"] if (half := _half(c, key)) is not None]
        left.plot(*zip(*shown, strict=True), linewidth=0.9, **mark)
        ends.append((shown[-1][1], words, mark["color"]))
        rows += [{"series": key, "width": width, "percent": value} for width, value in shown]
    apart = [(c["width"], c["values"]["apart"]) for c in results["cells"]]
    left.errorbar(
        widths,
        [100 * a["mean"] / predicted for _, a in apart],
        # A bar down to zero has no end on a logarithmic axis.
        yerr=[
            [100 * min(2 * a["standard_error"], 0.9 * a["mean"]) / predicted for _, a in apart],
            [200 * a["standard_error"] / predicted for _, a in apart],
        ],
        **{**TRAINED, "label": None},
    )
    ends.append(
        (
            100 * apart[-1][1]["mean"] / predicted,
            f"trained nets' own distance\n(mean of {len(record['seeds'])}, ± 2 s.e.)",
            TRAINED["color"],
        )
    )
    rows += [{"series": "apart", "width": w, "percent": 100 * a["mean"] / predicted} for w, a in apart]
    left.set(yscale="log", ylabel="distance from the predicted displacement, %")
    _width_axis(left, widths)
    least = results["least_width_to_apply"]
    left.axvline(least, color="0.4", linestyle=":", linewidth=1)
    left.annotate(
        f"guarantee applies\nfrom m = {least:,}",
        (least, 0.02),
        xytext=(-4, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        fontsize=7,
        color="0.3",
        ha="right",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )
    left.axhline(100, color="0.6", linewidth=0.8)
    left.annotate("vacuous above", (0.99, 100), xycoords=("axes fraction", "data"), fontsize=7, color="0.4", ha="right", va="bottom")
    left.set_ylim(top=max(250, 1.4 * max(row["percent"] for row in rows)))
    label_ends(left, ends, widths[-1], gap=0.05, beyond=1.35)
    left.set_title(f"{record['config']['points']} + {record['config']['points']} points, labels ±{record['config']['label']:g}")
    rows += _account(right, results["slack"], results["least_width"])
    return save(figure, rows, folder, NAME)


def _half(cell: dict[str, Any], key: str) -> float | None:
    if key == "guaranteed":
        return cell["guaranteed"] and cell["guaranteed"]["bands"]["displacement"]
    return cell["measured"][key]["bands"]["displacement"]["mean"]


def _width_axis(panel: Axes, widths: list[int]) -> None:
    panel.set(xscale="log", xlabel="width m")
    # Room for the labels at the ends of the lines.
    panel.set_xlim(widths[0] / 1.8, widths[-1] * (widths[-1] / widths[0]) ** 0.55)
    panel.xaxis.set_major_locator(LogLocator(10))
    panel.yaxis.set_major_locator(LogLocator(10))
    panel.yaxis.set_major_formatter("{x:g}")
    panel.yaxis.set_minor_formatter(NullFormatter())
    thousands(panel.xaxis)


def _account(panel: Axes, slack: list[dict[str, Any]], width: int) -> list[dict[str, Any]]:
    """One bar a factor, its words above it: first those that multiply to the whole, then what bounds on the kernel lose."""
    whole = [s for s in slack if s["what"].startswith("displacement: ")]
    product = math.prod(_factor(s) for s in whole)
    place = 0.0
    for heading, items, colour in (
        (f"displacement, together × {product:.3g}", whole, PALETTE[0]),
        ("bounds that the guarantee rests on", [s for s in slack if s not in whole], "0.6"),
    ):
        panel.text(1.0, place, f" {heading}", fontsize=7.5, va="center", weight="bold", color="0.25")
        for item in items:
            place += 1
            factor = _factor(item)
            panel.barh(place, factor - 1, left=1, height=0.34, color=colour)
            panel.text(1.0, place - 0.24, f" {item['what'].removeprefix('displacement: ')}", fontsize=7, va="bottom")
            panel.text(max(factor, 1), place, f" × {factor:.3g}", fontsize=7, va="center")
        place += 1.1
    panel.set(xscale="log", xlabel="how many times larger", yticks=[], title=f"where the slack sits, m = {width:,}")
    panel.set_xlim(1, 2.5 * max(_factor(s) for s in slack))
    panel.set_ylim(place - 0.6, -0.7)
    panel.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.grid(visible=False)
    return [{"series": item["what"], "width": width, "factor": _factor(item)} for item in slack]


def _factor(item: dict[str, Any]) -> float:
    return item["bound"] / item["measured"] if item["measured"] else math.nan
