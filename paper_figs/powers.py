"""Power laws in width: points on logarithmic axes, the claimed power through them, and labels at the ends of lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator


def thousands(axis: Any) -> None:
    """Numbers in full on a logarithmic axis, with thousands set apart."""
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axis.set_minor_formatter(NullFormatter())


def power_axes(panel: Axes, widths: Sequence[int], room: float = 0.75) -> None:
    """Logarithmic axes over widths; `room` for labels at the right, as a share of the axis."""
    panel.set(xscale="log", yscale="log", xlabel="width m")
    panel.set_xlim(widths[0] / 1.4, widths[-1] * (widths[-1] / widths[0]) ** room)
    panel.set_xticks(widths[:: max(1, len(widths) // 3)])
    thousands(panel.xaxis)
    # Subdivisions of decades mean nothing between powers of two.
    panel.xaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_locator(LogLocator(10))


def power_series(
    panel: Axes, widths: Sequence[int], sizes: Sequence[dict[str, float]], claimed: float, mark: dict[str, Any], theory: float | None = None
) -> float:
    """Points with bars of two standard errors and a line of the claimed power; returns where the line ends.

    The line goes through the points, or where theory gives the size too, through `theory` at the first width. Points that are negative or
    cannot be told from zero are hollow.
    """
    shown = [(w, s) for w, s in zip(widths, sizes, strict=True) if s["mean"] != 0]
    for width, size in shown:
        length, error = abs(size["mean"]), size["standard_error"]
        # A bar down to zero has no end on a logarithmic axis.
        low = min(2 * error, 0.9 * length)
        face = mark["color"] if sure(size) else "white"
        panel.errorbar([width], [length], yerr=[[low], [2 * error]], markerfacecolor=face, linestyle="none", **mark)
    ends = [widths[0], widths[-1]]
    if theory is not None:
        line = [theory * (m / ends[0]) ** claimed for m in ends]
        panel.plot(ends, line, color="black", linewidth=1.2)
        return line[-1]
    weights = [(abs(s["mean"]) / s["standard_error"]) ** 2 for _, s in shown]
    total = sum(weights)
    centre = sum(w * math.log(width) for w, (width, _) in zip(weights, shown, strict=True)) / total
    level = sum(w * math.log(abs(s["mean"])) for w, (_, s) in zip(weights, shown, strict=True)) / total
    line = [math.exp(level + claimed * (math.log(m) - centre)) for m in ends]
    panel.plot(ends, line, color=mark["color"], linewidth=0.9, alpha=0.7)
    return line[-1]


def power_words(found: dict[str, float] | None, claimed: float) -> str:
    """The fitted power with its standard error, and the claimed one."""
    if found is None:
        return f"not fitted (claim {claimed:g})".replace("-", "−")
    digits = 2 if found["standard_error"] >= 0.005 else 3
    return f"{found['slope']:.{digits}f} ± {found['standard_error']:.{digits}f} (claim {claimed:g})".replace("-", "−")


def sure(size: dict[str, float]) -> bool:
    """Whether a size stands out from zero by two standard errors."""
    return bool(size["mean"] > 2 * size["standard_error"])


def label_ends(panel: Axes, ends: Sequence[tuple[float, str, str]], width: float, gap: float = 0.085, beyond: float = 1.25) -> None:
    """Labels `(height, words, colour)` at the right end of each line, moved apart by `gap` of the axis where lines end close together.

    They begin at `beyond` times the last width.
    """
    panel.figure.canvas.draw()
    placed = -math.inf
    for y, text, colour in sorted(ends):
        _, at = panel.transAxes.inverted().transform(panel.transData.transform((width, y)))
        placed = max(at, placed + gap)
        x, _ = panel.transAxes.inverted().transform(panel.transData.transform((width * beyond, y)))
        panel.text(x, placed, text, color=colour, fontsize=7, va="center", transform=panel.transAxes)
