"""Figure: forgetting. How does the loss on the source go, step by step, while the target is trained on?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from paper_figs.drawing import FROZEN, PALETTE, TRAINED, new_figure, points, save

NAME = "forgetting"
NEEDS = "forgetting"
TITLE = "Forgetting along fine-tuning"
CAPTION = (
    "Rise of the loss on the source while the target is trained on, after short, medium and long pretraining (columns). Lines: theory; "
    "open: frozen kernel; filled: trained nets. After short pretraining fine-tuning may lower the loss on the source, since it goes on "
    "with what pretraining had begun."
)


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """One panel for each family of tasks and length of pretraining, a line for each similarity; returns the files written."""
    cells, curves = record["results"]["cells"], record["results"]["curves"]
    families = list(dict.fromkeys(c["family"] for c in cells))
    lengths = record["config"]["source_steps"]
    figure, axes = new_figure(len(families), len(lengths), (3.3 * len(lengths), 3.1 * len(families)))
    for row, family in zip(axes, families, strict=True):
        tasks = list(dict.fromkeys(c["task"] for c in cells if c["family"] == family))
        for panel, k in zip(row, lengths, strict=True):
            panel.axhline(0, color="0.6", linewidth=0.8)
            for i, task in enumerate(tasks):
                colour = (*PALETTE, "#000000")[i % 6]
                here = [c for c in cells if (c["family"], c["task"], c["source_steps"]) == (family, task, k)]
                (curve,) = (c for c in curves if (c["family"], c["task"], c["source_steps"]) == (family, task, k))
                panel.plot(curve["target_steps"], curve["predicted"], color=colour, linewidth=1.2, label=task)
                for rung, mark in (("frozen", FROZEN), ("trained", TRAINED)):
                    steps = [c["target_steps"] for c in here]
                    points(panel, steps, [c[rung] for c in here], {**mark, "color": colour, "label": None, "markersize": 4})
            panel.set(xscale="log", title=f"{family}, {k} pretraining steps", xlabel="fine-tuning steps")
        row[0].set_ylabel("rise of the loss on the source")
        row[-1].legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1))
    config = record["config"]
    nets = f"mean of {len(record['seeds'])}, width {config['width']:,}, ± 2 s.e."
    figure.suptitle(f"Lines: theory.   Hollow: frozen kernel, filled: trained nets ({nets})", fontsize=8)
    names = ("family", "task", "source_steps", "target_steps", "predicted")
    parts = [(rung, part) for rung in ("frozen", "trained") for part in ("mean", "standard_error", "n")]
    rows = [{**{n: c[n] for n in names}, **{f"{rung}_{part}": c[rung][part] for rung, part in parts}} for c in cells]
    return save(figure, rows, folder, NAME)
