"""R4: pretraining suppresses the gradient at the start of fine-tuning, and its principal component more than the rest.

At several steps of training the gradient of the loss on the training set is taken apart: its norm at each layer's output, and its part on
the leading singular vector of the layer's weight matrix. That has two readings: the gradient at the output on the left singular vector, and
that of the weights on the mode, `u₁ᵀ (∂L/∂W) v₁`. Each is measured as such, and as a share of the whole, in units of the share that a
gradient would have that points nowhere in particular. Batch norm has the statistics of the training set.

Claims tested, by one-sided 95 % intervals over seeds, paired, of means over layers, at the start of training and over all steps
looked at. From the pretrained start norms are smaller; the principal component is smaller, in each reading; and its share is smaller, in
each reading: it is suppressed more than the rest. (In the kernel regime of two-layer nets suppression of every mode is a closed form; on
digits the principal component is not suppressed: `suppression`.)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from realnets.batchnorm import prepare
from realnets.experiments.fine_tuned import FineTuned, fine_tune, set_up
from realnets.experiments.intervals import ratio_below_one
from realnets.experiments.tasks import DIGITS, EMOJI, IMAGES, TwoStarts, both_starts
from realnets.probes.gradient_spectrum import gradient_spectrum
from realnets.train import LOSSES
from sim.estimate import estimate
from sim.experiments.claims import Claim
from sim.records import Cache

NAME = "gradient_spectrum"
TITLE = "The gradient by layer and on leading singular vectors, pretrained against random start"

MEASURES = {
    "norm": "gradient at the layers' outputs",
    "output_component": "principal component of the gradient at the outputs",
    "weight_component": "principal component of the weights' gradient",
    "output_share": "share of the principal component, at the outputs",
    "weight_share": "share of the principal component, of the weights' modes",
}
"""What is claimed to be smaller, each by layer."""

BATCH = 50
"""Pictures that pass through the network at once."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the experiment.

    Parameters
    ----------
    tasks : tuple of TwoStarts
    steps : tuple of int, ascending from 0
        Of training, at which to look.
    seeds : int ≥ 2
    """

    tasks: tuple[TwoStarts, ...]
    steps: tuple[int, ...] = (0, 2, 10, 40)
    seeds: int = 3

    @classmethod
    def profile(cls, name: str) -> Config:
        """`"smoke"`, `"quick"`, `"standard"` or `"full"`."""
        if name == "smoke":
            return cls(tasks=(DIGITS.tiny(),), steps=(0, 1), seeds=2)
        if name == "quick":
            return cls(tasks=(DIGITS,))
        if name == "standard":
            return cls(tasks=(DIGITS, EMOJI), seeds=4)
        return cls(tasks=(EMOJI, IMAGES), seeds=8, steps=(0, 2, 10, 40, 200))

    def on(self, model: str | None, data: str | None) -> Config:
        """The last task alone, with another network or target."""
        return replace(self, tasks=(self.tasks[-1].on(model, data),))


@dataclass(frozen=True, kw_only=True)
class Looked:
    """A run, and where to look."""

    run: FineTuned
    steps: tuple[int, ...]


def run(config: Config, cache: Cache, device: str = "cpu") -> dict[str, Any]:
    """Train what is not in the cache yet and return the record's results, claims among them."""

    def spec_of(run: FineTuned) -> Looked:
        return Looked(run=run, steps=config.steps)

    shared = both_starts(NAME, config.tasks, config.seeds, spec_of, _looked(cache, device), cache, device)
    found = shared["cells"]
    claims = [claim for task in config.tasks for claim in _claims(config, task.label, [c for c in found if c["task"] == task.label])]
    return {**shared, "summary": _summary(found), "claims": [c.to_dict() for c in claims]}


def _looked(cache: Cache, device: str) -> Callable[[Looked, str, Callable[[int], Any]], dict[str, Any]]:
    def compute(spec: Looked, key: str, progress: Callable[[int], Any]) -> dict[str, Any]:
        started = time.perf_counter()
        setup = set_up(spec.run, cache, device)
        recipe = spec.run.recipe
        batches = list(zip(torch.split(setup.inputs, BATCH), torch.split(setup.labels, BATCH), strict=True))

        def measure(model: nn.Module) -> dict[str, Any]:
            prepare(model, setup.inputs, recipe.batch_norm)
            spectrum = gradient_spectrum(model, LOSSES[recipe.loss], batches)
            row: dict[str, Any] = {"loss": spectrum.loss, **{name: {} for name in MEASURES}}
            for name, block in spectrum.blocks.items():
                if block.modes is None:
                    continue
                output, weight = block.modes.activation, block.modes.weight
                row["norm"][name] = block.norm
                row["output_component"][name], row["weight_component"][name] = (float(np.sqrt(m.values[0])) for m in (output, weight))
                row["output_share"][name], row["weight_share"][name] = output.relative_share(1), weight.relative_share(1)
            return row

        result = fine_tune(spec.run, setup, cache, key, progress, measure=measure, steps=spec.steps)
        return {**result, "seconds": time.perf_counter() - started}

    return compute


def over_layers(row: dict[str, Any], measure: str) -> float:
    """Mean over the layers in which there is a gradient: of shares, whose expectation is 1 without a preference; geometric of lengths."""
    values = [value for value in row[measure].values() if value is not None]
    if measure.endswith("share"):
        return float(np.mean(values))
    return float(np.exp(np.mean(np.log(values)))) if all(values) else 0.0


def _claims(config: Config, label: str, found: list[dict[str, Any]]) -> Iterator[Claim]:
    starts = [[c for c in found if c["start"] == start] for start in ("pretrained", "random")]
    for measure, words in MEASURES.items():
        first = [[over_layers(c["along"][0], measure) for c in runs] for runs in starts]
        yield ratio_below_one(f"{words}, pretrained over random", label, f"at the start, {config.seeds} seeds", *first)
        steps = [row["step"] for row in found[0]["along"]]
        mean = [[float(np.exp(np.mean(np.log([over_layers(row, measure) for row in c["along"]])))) for c in runs] for runs in starts]
        at = f"mean over steps {steps[0]} to {steps[-1]}, {config.seeds} seeds"
        yield ratio_below_one(f"{words}, pretrained over random", label, at, *mean)


def _summary(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for task, start in dict.fromkeys((c["task"], c["start"]) for c in found):
        runs = [c for c in found if (c["task"], c["start"]) == (task, start)]
        for i, row in enumerate(runs[0]["along"]):
            numbers = {name: asdict(estimate([over_layers(run["along"][i], name) for run in runs])) for name in MEASURES}
            rows.append({"task": task, "start": start, "step": row["step"], **numbers})
    return rows
