"""The width law: how fast each gap of the ladder closes as the net grows.

Claims tested. The sampling gap (frozen kernel − infinite width) has mean zero and spread `∝ m^{-1/2}`. The drift (trained
net − its own frozen kernel) is a bias that for ReLU shrinks like `m^{-1/2}` too, not like the `1/m` of smooth activations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sim.estimate import Estimate, estimate, fit_exponent, root_mean_square
from sim.experiments.claims import exponent_claim
from sim.experiments.ladder import Arm
from sim.experiments.replicates import NetSpec, predictions, replicates, widths_by_seed
from sim.records import Cache
from sim.tasks import DigitsTask, SphereTask
from theory.outcome import TransferOutcome

NAME = "width_law"
TITLE = "How fast the sampling gap and the drift close with width"

GAPS = {
    ("displacement", "sampling"): "sampling gap of the displacement (root mean square over nets)",
    ("displacement", "drift"): "drift of the displacement (mean over nets)",
    ("test_outputs", "sampling"): "sampling gap of the test outputs (root mean square over nets)",
    ("test_outputs", "drift"): "drift of the test outputs (root mean square over nets)",
}
"""What is fitted, by quantity and gap, relative to the prediction."""

RATE = -0.5
"""The exponent that is claimed of every gap."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the experiment.

    Parameters
    ----------
    tasks : tuple
    widths : tuple of int, at least four
    seeds : int ≥ 2
        Nets for each task and width.
    source_steps, target_steps : int
    """

    tasks: tuple[SphereTask | DigitsTask, ...]
    widths: tuple[int, ...]
    seeds: int = 8
    source_steps: int = 100
    target_steps: int = 100

    @classmethod
    def profile(cls, name: str) -> Config:
        """`"smoke"`, `"quick"`, `"standard"` or `"full"`."""
        if name == "smoke":
            tasks = (SphereTask(n_source=20, n_target=10, n_test=40), DigitsTask(n_source=30, n_target=20, n_test=50))
            return cls(tasks=tasks, widths=(128, 256, 512, 1024), seeds=4, source_steps=20, target_steps=20)
        tasks = (SphereTask(), DigitsTask())
        if name == "quick":
            return cls(tasks=tasks, widths=(512, 1024, 2048, 4096, 8192, 16384))
        widths = tuple(2**e for e in range(9, 17 if name == "standard" else 19))
        return cls(tasks=tasks, widths=widths, seeds=16 if name == "standard" else 32, source_steps=500, target_steps=300)


def run(config: Config, cache: Cache) -> dict[str, Any]:
    """Train what is not in the cache yet and return the record's results, claims among them."""
    cells, fits, claims, seconds = [], [], [], 0.0
    for task in config.tasks:
        label = Arm(task=task, width=0).label
        base = NetSpec(task=task, width=0, seed=0, source_steps=(config.source_steps,), target_steps=config.target_steps)
        nets = list(replicates(widths_by_seed(base, config.widths, config.seeds), cache, f"{NAME}: {label}"))
        seconds += sum(net["seconds"] for net in nets)
        (predicted,) = predictions(task, base.source_steps, config.target_steps)
        for (quantity, gap), words in GAPS.items():
            values: list[Estimate] = []
            for i, width in enumerate(config.widths):
                stages = [net["stages"][0] for net in nets[i * config.seeds : (i + 1) * config.seeds]]
                value = _summary(quantity, gap)([_relative(s, quantity, gap, predicted) for s in stages])
                values.append(value)
                cells.append({"task": label, "quantity": quantity, "gap": gap, "width": width, "relative_gap": asdict(value)})
            fit = fit_exponent(config.widths, values)
            fits.append({"task": label, "quantity": quantity, "gap": gap, **asdict(fit)})
            where = f"{label}, widths {config.widths[0]:,} to {config.widths[-1]:,}"
            claims.append(exponent_claim(f"exponent in width: {words}", where, fit, RATE))
    return {"cells": cells, "fits": fits, "claims": [c.to_dict() for c in claims], "seconds": seconds}


def _summary(quantity: str, gap: str) -> Callable[[Sequence[float]], Estimate]:
    """The drift of a scalar is a bias, whose mean is fitted; all else is a spread or a length."""
    return estimate if (quantity, gap) == ("displacement", "drift") else root_mean_square


def _relative(stage: dict[str, Any], quantity: str, gap: str, predicted: TransferOutcome) -> float:
    if quantity == "test_outputs":
        return float(stage["output_gap"][gap])
    reference = predicted.scalars()[quantity]
    assert reference is not None
    lower = stage["frozen"][quantity] if gap == "drift" else reference
    upper = stage["trained"][quantity] if gap == "drift" else stage["frozen"][quantity]
    return float(upper - lower) / reference
