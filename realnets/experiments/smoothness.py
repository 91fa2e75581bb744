"""R3: along fine-tuning the loss is smoother from a pretrained start than from a random one.

At several steps of training: the loss on the training set along its own gradient, at a few multiples of the learning rate. Its range, the
change of the gradient, and that change over the length of the step, the effective smoothness (Santurkar et al. 2018). Batch norm normalises
the set by itself, as in training, and gradients pass through its statistics.

Claims tested, by one-sided 95 % intervals over seeds, paired, of the geometric mean over the steps looked at: each of the three is smaller
from the pretrained start. In two-layer nets of the kernel regime the same quantities are closed forms (`along_gradient`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from realnets.experiments.fine_tuned import FineTuned, fine_tune, set_up
from realnets.experiments.intervals import ratio_below_one
from realnets.experiments.tasks import DIGITS, EMOJI, IMAGES, TwoStarts, both_starts
from realnets.probes.smoothness import loss_along_gradient
from realnets.train import LOSSES
from sim.estimate import estimate
from sim.experiments.claims import Claim
from sim.records import Cache

NAME = "smoothness"
TITLE = "Smoothness of the loss along training, pretrained against random start"

MEASURES = {
    "range": "range of the loss along the gradient",
    "change": "change of the gradient over the step",
    "smoothness": "effective smoothness",
}
"""What is claimed to be smaller: range and change at the largest step size, smoothness over all."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the experiment.

    Parameters
    ----------
    tasks : tuple of TwoStarts
    steps : tuple of int, ascending from 0
        Of training, at which to look; beyond the end of a run they are left out.
    multiples : tuple of float, ascending
        Step sizes along the gradient, in units of the recipe's learning rate.
    seeds : int ≥ 2
    """

    tasks: tuple[TwoStarts, ...]
    steps: tuple[int, ...] = (0, 1, 2, 5, 10, 20, 40, 80)
    multiples: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    seeds: int = 3

    @classmethod
    def profile(cls, name: str) -> Config:
        """`"smoke"`, `"quick"`, `"standard"` or `"full"`."""
        if name == "smoke":
            return cls(tasks=(DIGITS.tiny(),), steps=(0, 1), multiples=(1.0, 2.0), seeds=2)
        if name == "quick":
            return cls(tasks=(DIGITS,))
        if name == "standard":
            return cls(tasks=(DIGITS, EMOJI), seeds=4)
        return cls(tasks=(EMOJI, IMAGES), seeds=8, multiples=(0.25, 0.5, 1.0, 2.0, 4.0, 8.0))

    def on(self, model: str | None, data: str | None) -> Config:
        """The last task alone, with another network or target."""
        return replace(self, tasks=(self.tasks[-1].on(model, data),))


@dataclass(frozen=True, kw_only=True)
class Looked:
    """A run, and where to look."""

    run: FineTuned
    steps: tuple[int, ...]
    multiples: tuple[float, ...]


def run(config: Config, cache: Cache, device: str = "cpu") -> dict[str, Any]:
    """Train what is not in the cache yet and return the record's results, claims among them."""

    def spec_of(run: FineTuned) -> Looked:
        return Looked(run=run, steps=config.steps, multiples=config.multiples)

    shared = both_starts(NAME, config.tasks, config.seeds, spec_of, _looked(cache, device), cache, device)
    found = shared["cells"]
    claims = [claim for task in config.tasks for claim in _claims(config, task.label, [c for c in found if c["task"] == task.label])]
    return {**shared, "summary": _summary(found), "claims": [c.to_dict() for c in claims]}


def _looked(cache: Cache, device: str) -> Callable[[Looked, str, Callable[[int], Any]], dict[str, Any]]:
    def compute(spec: Looked, key: str, progress: Callable[[int], Any]) -> dict[str, Any]:
        started = time.perf_counter()
        setup = set_up(spec.run, cache, device)
        recipe = spec.run.recipe

        def measure(model: nn.Module) -> dict[str, Any]:
            sizes = [recipe.lr * multiple for multiple in spec.multiples]
            line = loss_along_gradient(model, LOSSES[recipe.loss], [(setup.inputs, setup.labels)], sizes, batch_norm=recipe.batch_norm)
            return {
                **line.row(),
                "range": line.loss_range,
                "change": float(line.gradient_change[-1]),
                "smoothness": line.effective_smoothness,
            }

        result = fine_tune(spec.run, setup, cache, key, progress, measure=measure, steps=spec.steps)
        return {**result, "seconds": time.perf_counter() - started}

    return compute


def _claims(config: Config, label: str, found: list[dict[str, Any]]) -> Iterator[Claim]:
    pretrained, random = ([c for c in found if c["start"] == start] for start in ("pretrained", "random"))
    steps = [row["step"] for row in found[0]["along"]]
    at = f"steps {steps[0]} to {steps[-1]}, {config.seeds} seeds"
    for measure, words in MEASURES.items():
        pair = [[float(np.exp(np.mean(np.log([row[measure] for row in c["along"]])))) for c in runs] for runs in (pretrained, random)]
        yield ratio_below_one(f"{words}, mean over steps, pretrained over random", label, at, *pair)


def _summary(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for task, start in dict.fromkeys((c["task"], c["start"]) for c in found):
        runs = [c for c in found if (c["task"], c["start"]) == (task, start)]
        for i, row in enumerate(runs[0]["along"]):
            numbers = {name: asdict(estimate([run["along"][i][name] for run in runs])) for name in (*MEASURES, "centre", "gradient_norm")}
            rows.append({"task": task, "start": start, "step": row["step"], **numbers})
    return rows
