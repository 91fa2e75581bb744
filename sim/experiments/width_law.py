"""The width law: how fast each gap of the ladder closes as the net grows.

Claims tested. The sampling gap (frozen kernel − infinite width) has spread `∝ m^{-1/2}`; its mean is zero to that order (a bias
`∝ 1/m` is left, as for any function of a noisy matrix, which is why the spread is taken round the mean). The drift (trained
net − its own frozen kernel) has two parts. Its mean over nets is a bias `∝ m^{-1/2}` for ReLU (a neuron that a sample switches
off no longer feels that sample, so flips do not balance), not the `1/m` of smooth activations. Round this mean
it fluctuates from net to net like `m^{-3/4}`: a move of `δ ∝ m^{-1/2}` changes the outputs to second order through the share
`∝ δ` of neurons that flip, each by `δ/√m`, with independent signs: `√(m δ) δ/√m = δ^{3/2}`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sim.estimate import Estimate, bias_and_spread, estimate, fit_exponent, standard_deviation
from sim.experiments.arms import task_label
from sim.experiments.claims import Claim, exponent_claim
from sim.experiments.replicates import NetSpec, predictions, replicates, widths_by_seed
from sim.records import Cache
from sim.tasks import DigitsTask, SphereTask
from theory.outcome import TransferOutcome

NAME = "width_law"
TITLE = "How fast the sampling gap and the drift close with width"

GAPS = {
    ("displacement", "sampling", "spread"): ("sampling gap of the displacement, standard deviation over nets", -0.5),
    ("displacement", "drift", "bias"): ("drift of the displacement, mean over nets", -0.5),
    ("test_outputs", "sampling", "spread"): ("sampling gap of the test outputs, spread over nets", -0.5),
    ("test_outputs", "drift", "bias"): ("drift of the test outputs, length of its mean over nets", -0.5),
    ("test_outputs", "drift", "spread"): ("drift of the test outputs, fluctuation round its mean", -0.75),
}
"""What is fitted, by quantity, gap and part, in words, and the exponent claimed. Gaps are relative to the prediction."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the experiment; the standard profile has twice the nets and one doubling more of the width.

    Parameters
    ----------
    tasks : tuple
    widths : tuple of int, at least four
    seeds : int ≥ 2
        Nets for each task and width.
    source_steps, target_steps : int
    dtype : "float64" or "float32"
        Of the trained nets.
    """

    tasks: tuple[SphereTask | DigitsTask, ...]
    widths: tuple[int, ...]
    seeds: int = 8
    source_steps: int = 100
    target_steps: int = 100
    dtype: str = "float64"

    @classmethod
    def profile(cls, name: str) -> Config:
        """`"smoke"`, `"quick"`, `"standard"` or `"full"`."""
        if name == "smoke":
            tasks = (SphereTask(n_source=20, n_target=10, n_test=40), DigitsTask(n_source=30, n_target=20, n_test=50))
            return cls(tasks=tasks, widths=(128, 256, 512, 1024), seeds=4, source_steps=20, target_steps=20)
        tasks = (SphereTask(), DigitsTask())
        if name == "quick":
            # Measured on one net of each task at width 16,384: float32 changes its drift by at most two parts in ten thousand.
            return cls(tasks=tasks, widths=(512, 1024, 2048, 4096, 8192, 16384), dtype="float32")
        if name == "standard":
            return cls(tasks=tasks, widths=tuple(2**e for e in range(9, 16)), seeds=16, dtype="float32")
        return cls(tasks=tasks, widths=tuple(2**e for e in range(9, 19)), seeds=32, source_steps=500, target_steps=300)


def run(config: Config, cache: Cache) -> dict[str, Any]:
    """Train what is not in the cache yet and return the record's results, claims among them."""
    cells: list[dict[str, Any]] = []
    fits: list[dict[str, Any]] = []
    claims: list[Claim] = []
    seconds = 0.0
    for task in config.tasks:
        label = task_label(task)
        base = NetSpec(
            task=task, width=0, seed=0, source_steps=(config.source_steps,), target_steps=config.target_steps, dtype=config.dtype
        )
        nets = replicates(widths_by_seed(base, config.widths, config.seeds), cache, f"{NAME}: {label}")
        seconds += sum(net["seconds"] for net in nets)
        (predicted,) = predictions(task, base.source_steps, config.target_steps)
        for (quantity, gap, part), (words, rate) in GAPS.items():
            values: list[Estimate] = []
            for i, width in enumerate(config.widths):
                stages = [net["stages"][0] for net in nets[i * config.seeds : (i + 1) * config.seeds]]
                value = _size(stages, quantity, gap, part, predicted)
                values.append(value)
                cells.append({"task": label, "quantity": quantity, "gap": gap, "part": part, "width": width, "size": asdict(value)})
            fit = fit_exponent(config.widths, values) if all(v.mean != 0 and v.standard_error > 0 for v in values) else None
            fits.append({"task": label, "quantity": quantity, "gap": gap, "part": part, "claimed": rate, "fit": fit and asdict(fit)})
            where = f"{label}, widths {config.widths[0]:,} to {config.widths[-1]:,}"
            claims.append(exponent_claim(f"exponent in width: {words}", where, fit, rate))
    return {"cells": cells, "fits": fits, "claims": [c.to_dict() for c in claims], "seconds": seconds}


def _size(stages: Sequence[dict[str, Any]], quantity: str, gap: str, part: str, predicted: TransferOutcome) -> Estimate:
    """Relative size of one part of one gap at one width."""
    if quantity == "test_outputs":
        vectors = np.array([s["test_output_gap"][gap] for s in stages])
        return bias_and_spread(vectors)[0 if part == "bias" else 1]
    reference = predicted.scalars()[quantity]
    assert reference is not None
    upper, lower = ("trained", "frozen") if gap == "drift" else ("frozen", None)
    gaps = [(s[upper][quantity] - (s[lower][quantity] if lower else reference)) / reference for s in stages]
    return estimate(gaps) if part == "bias" else standard_deviation(gaps)
