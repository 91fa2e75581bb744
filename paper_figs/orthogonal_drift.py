"""Figure: drift on orthogonal inputs. Does a trained net leave its frozen kernel by what theory says, at any width?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from paper_figs.drawing import PALETTE, new_figure, save
from paper_figs.powers import label_ends, power_axes, power_words

NAME = "orthogonal_drift"
NEEDS = "orthogonal_drift"
TITLE = "Drift on orthogonal inputs"
CAPTION = (
    "How much farther a trained net moves than with its kernel frozen, on inputs where theory gives the size of this, for a large and a "
    "small step size. The solid lines are exact at each width, with no free parameter; the dashed ones their leading order m^(−1/2). "
    "Right: the nets' mean over the exact one; 1 is agreement."
)

_MARKS = (("s", PALETTE[3]), ("o", PALETTE[0]), ("D", PALETTE[2]))


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """The drift against width with its exact size, and their ratio; returns the files written."""
    results = record["results"]
    figure, axes = new_figure(1, 2, (9.0, 3.9), width_ratios=[1.25, 1])
    left, right = axes[0]
    rows, ends = [], []
    widths = sorted({c["width"] for c in results["cells"]})
    power_axes(left, widths, room=0.6)
    for number, (fit, (marker, colour)) in enumerate(zip(results["fits"], _MARKS, strict=False)):
        here = [c for c in results["cells"] if c["rate"] == fit["rate"]]
        exact = [c["exact"] for c in here]
        left.plot(widths, exact, color="black")
        left.plot(widths, [c["leading"] for c in here], color="black", linestyle="--", linewidth=0.8)
        mark = {"color": colour, "marker": marker, "linestyle": "none"}
        for panel, sizes, places in ((left, [1.0] * len(here), widths), (right, exact, [w * 1.06 ** (2 * number - 1) for w in widths])):
            means = [c["drift"]["mean"] / s for c, s in zip(here, sizes, strict=True)]
            panel.errorbar(places, means, yerr=[2 * c["drift"]["standard_error"] / s for c, s in zip(here, sizes, strict=True)], **mark)
        ends.append((exact[-1], f"step size {fit['rate']:g}/λ\n{power_words(fit['fit'], -0.5)}", colour))
        rows += [{"rate": c["rate"], "width": c["width"], "exact": c["exact"], "leading": c["leading"], **c["drift"]} for c in here]
    label_ends(left, ends, widths[-1])
    left.set(ylabel="displacement over the frozen kernel's, less 1", title=f"{record['config']['inputs']} orthonormal inputs")
    power_axes(right, widths, room=0.05)
    right.set(yscale="linear", title="nets over theory", ylabel="measured / exact")
    right.axhline(1, color="black", linewidth=1.2)
    figure.suptitle(f"Points: {len(record['seeds'])} nets a width, ± 2 s.e.   Solid: exact theory.   Dashed: its leading order", fontsize=8)
    return save(figure, rows, folder, NAME)
