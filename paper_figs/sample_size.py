"""Figure: sample size. Does a pretrained network generalise better, and do its weights move less?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from paper_figs.drawing import PRETRAINED, RANDOM, new_figure, points, save
from sim.estimate import estimate

NAME = "sample_size"
NEEDS = "sample_size"
TITLE = "Real networks: accuracy and movement over sample size"
CAPTION = (
    "EfficientNet-Lite0 fine-tuned on pictures, from ImageNet weights and from a random start, with the same head, minibatches and "
    "schedule. Pretrained weights give the better test accuracy and move less in total; layer by layer they move much less in the "
    "early layers and more in the last ones."
)

_STARTS = {"pretrained": PRETRAINED, "random": RANDOM}


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """Test accuracy and displacement over sample size, and displacement by layer at the largest; returns the files written."""
    results = record["results"]
    targets = list(dict.fromkeys(s["target"] for s in results["summary"]))
    figure, axes = new_figure(len(targets), 3, (9.2, 3.0 * len(targets)), width_ratios=[1, 1, 1.7])
    rows = []
    for line, target in enumerate(targets):
        for start, mark in _STARTS.items():
            here = [s for s in results["summary"] if s["target"] == target and s["start"] == start]
            sizes = [s["n_train"] for s in here]
            points(axes[line, 0], sizes, [s["test_accuracy"] for s in here], {**mark, "linestyle": ":"}, scale=100)
            points(axes[line, 1], sizes, [s["displacement"] for s in here], {**mark, "linestyle": ":"})
            cells = [c for c in results["cells"] if c["target"] == target and c["start"] == start and c["n_train"] == sizes[-1]]
            # Convolutions and the classifier; the scales and shifts of batch norm between them move little and would blur the picture.
            layers = [name for name in cells[0]["layers"] if "bn" not in name]
            moved = [[c["layers"][name] for c in cells] for name in layers]
            points(axes[line, 2], range(1, len(layers) + 1), [asdict(estimate(m)) for m in moved], {**mark, "markersize": 3})
            rows += [{"target": target, "start": start, **_row(s)} for s in here]
            rows += [
                {"target": target, "start": start, "n_train": sizes[-1], "layer": name, "layer_displacement_rms": sum(values) / len(values)}
                for name, values in zip(layers, moved, strict=True)
            ]
        axes[line, 0].set(title=target, ylabel="test accuracy, %")
        axes[line, 1].set(ylabel="displacement ‖W − W₀‖")
        axes[line, 2].set(
            yscale="log", ylabel="‖W − W₀‖ / √numel", title=f"by layer, {sizes[-1]} pictures", xlabel="layer, input to output"
        )
        for spot in axes[line, :2]:
            spot.set(xscale="log", xlabel="training pictures")
            spot.set_xticks(sizes, [str(n) for n in sizes])
            spot.minorticks_off()
            spot.set_ylim(bottom=0)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    seeds = len(record["seeds"])
    figure.legend(handles, [f"{name} (mean of {seeds}, ± 2 s.e.)" for name in labels], loc="outside upper center", ncols=2)
    return save(figure, rows, folder, NAME)


def _row(summary: dict[str, Any]) -> dict[str, Any]:
    parts = ("test_accuracy", "train_loss", "displacement")
    return {"n_train": summary["n_train"], **{f"{p}_{k}": summary[p][k] for p in parts for k in ("mean", "standard_error")}}
