"""R2: fine-tuning a pretrained network ends in a flatter minimum than training from a random start.

Both starts are trained by SGD until the training loss, in evaluation mode with statistics measured on the training set, has fallen to one
level: at a lower loss cross-entropy is flatter whatever the start. There the Hessian of the training loss is measured: its leading
eigenvalues, its trace, its spectral density, and its curvature along filter-normalised random directions. Batch norm makes the scale of a
filter meaningless, and with it eigenvalues and trace; the last measure does not depend on it. Beside these, the loss along a random line,
and on the way from the start to the minimum.

Claims tested, by one-sided 95 % intervals over seeds, paired: each of the three is smaller after pretraining.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from realnets.batchnorm import prepare
from realnets.experiments.fine_tuned import FineTuned, Setup, set_up
from realnets.experiments.intervals import ratio_below_one
from realnets.experiments.pools import tensors
from realnets.experiments.tasks import DIGITS, EMOJI, IMAGES, TwoStarts, both_starts
from realnets.probes.displacement import displacement
from realnets.probes.filter_curvature import filter_curvature
from realnets.probes.hessian_top import hessian_top
from realnets.probes.hessian_trace import hessian_trace
from realnets.probes.interpolation import interpolation
from realnets.probes.landscape import landscape
from realnets.probes.spectral_density import spectral_density
from realnets.train import LOSSES, evaluate, train
from realnets.train.run import steps_of
from sim.estimate import estimate
from sim.experiments.claims import Claim
from sim.records import Cache
from theory.errors import NotConverged

NAME = "flatness"
TITLE = "Flatness at the minima of equal training loss, pretrained against random start"

MEASURES = {
    "top": "leading eigenvalue of the Hessian",
    "trace": "trace of the Hessian",
    "filter_curvature": "curvature along filter-normalised directions",
}
"""What is claimed to be smaller."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is spent on the Hessian.

    Parameters
    ----------
    eigenvalues : int
    tol : float
        Relative accuracy of the leading ones.
    products : int
        Hessian-vector products for the trace.
    directions : int
        Filter-normalised ones.
    probes, steps : int
        Of the spectral density, which the first seed alone is asked for.
    points : int
        Of a line.
    batch : int
        Pictures that pass through the network at once.
    """

    eigenvalues: int = 3
    tol: float = 1e-3
    products: int = 40
    directions: int = 20
    probes: int = 4
    steps: int = 40
    points: int = 21
    batch: int = 50


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the experiment.

    Parameters
    ----------
    tasks : tuple of TwoStarts
        Whose recipes go on until the level is reached, or to their end.
    level : float
        Training loss at which minima are compared.
    effort : Effort
    seeds : int ≥ 2
    """

    tasks: tuple[TwoStarts, ...]
    level: float = 0.1
    effort: Effort = Effort()
    seeds: int = 3

    @classmethod
    def profile(cls, name: str) -> Config:
        """`"smoke"`, `"quick"`, `"standard"` or `"full"`."""
        # A learning rate that falls to zero might never let the loss fall to the level.
        tasks = [replace(task, recipe=replace(task.recipe, schedule="constant", epochs=60)) for task in (DIGITS, EMOJI, IMAGES)]
        if name == "smoke":
            little = Effort(eigenvalues=1, tol=0.3, products=8, directions=2, probes=3, steps=3, points=3)
            return cls(tasks=(tasks[0].tiny(),), level=10.0, effort=little, seeds=2)
        if name == "quick":
            return cls(tasks=(tasks[0],))
        if name == "standard":
            # A product of EfficientNet-Lite0's takes a second or two on 2 cores.
            less = Effort(tol=1e-2, products=30, directions=16, probes=3, steps=30)
            return cls(tasks=(tasks[0], tasks[1]), seeds=3, effort=less)
        much = Effort(eigenvalues=10, products=100, directions=50, probes=10, steps=100, points=51)
        return cls(tasks=(tasks[1], tasks[2]), seeds=8, effort=much)

    def on(self, model: str | None, data: str | None) -> Config:
        """The last task alone, with another network or target."""
        return replace(self, tasks=(self.tasks[-1].on(model, data),))


@dataclass(frozen=True, kw_only=True)
class Minimum:
    """A run to the level, and what is spent on its end."""

    run: FineTuned
    level: float
    effort: Effort


class _Reached(Exception):
    """The training loss has fallen to the level."""


def run(config: Config, cache: Cache, device: str = "cpu") -> dict[str, Any]:
    """Train what is not in the cache yet and return the record's results, claims among them."""

    def spec_of(run: FineTuned) -> Minimum:
        return Minimum(run=run, level=config.level, effort=config.effort)

    shared = both_starts(NAME, config.tasks, config.seeds, spec_of, _minimum(cache, device), cache, device)
    found = shared["cells"]
    claims = [claim for task in config.tasks for claim in _claims(config, task.label, [c for c in found if c["task"] == task.label])]
    return {**shared, "summary": _summary(found), "claims": [c.to_dict() for c in claims]}


def _minimum(cache: Cache, device: str) -> Callable[[Minimum, str, Callable[[int], Any]], dict[str, Any]]:
    def compute(spec: Minimum, key: str, progress: Callable[[int], Any]) -> dict[str, Any]:
        started = time.perf_counter()
        setup = set_up(spec.run, cache, device)
        prepare(setup.model, setup.inputs, spec.run.recipe.batch_norm)
        before = {name: value.detach().clone() for name, value in setup.model.state_dict().items()}
        epochs = _to_level(spec, setup, cache, key, progress)
        result = {
            "epochs": epochs,
            "train": evaluate(setup.model, setup.inputs, setup.labels),
            "test": evaluate(setup.model, *tensors(setup.split.test, setup.model)),
            "displacement": displacement(before, setup.model).total.norm,
            **measured(spec, setup.model, setup.inputs, setup.labels, before),
        }
        return {**result, "seconds": time.perf_counter() - started}

    return compute


def _to_level(spec: Minimum, setup: Setup, cache: Cache, key: str, progress: Callable[[int], Any]) -> int:
    """Train to the level, looked at after every epoch; how many epochs it took."""
    recipe, n = spec.run.recipe, spec.run.n_train
    passed = 0

    def look(step: int, model: nn.Module) -> None:
        nonlocal passed
        passed = step // steps_of(n, recipe)
        prepare(model, setup.inputs, recipe.batch_norm)
        if evaluate(model, setup.inputs, setup.labels, recipe.loss)["loss"] <= spec.level:
            raise _Reached

    checkpoint = cache.folder / "checkpoints" / f"{key}.pt"
    try:
        train(
            setup.model, setup.inputs, setup.labels, recipe, spec.run.seed,
            checkpoint=checkpoint, progress=progress, callback=look, every=steps_of(n, recipe),
        )  # fmt: skip
    except _Reached:
        prepare(setup.model, setup.inputs, recipe.batch_norm)
    loss = evaluate(setup.model, setup.inputs, setup.labels, recipe.loss)["loss"]
    if loss > spec.level:
        raise NotConverged(
            f"the training loss is {loss:.3g} after {recipe.epochs} epochs; a higher level than {spec.level:g}, or more epochs, is needed"
        )
    checkpoint.unlink(missing_ok=True)
    return passed


def measured(spec: Minimum, model: nn.Module, inputs: Tensor, labels: Tensor, before: dict[str, Tensor]) -> dict[str, Any]:
    """Everything about the minimum that `model` is at, JSON-ready; `before` is the state it started from."""
    effort, loss = spec.effort, LOSSES[spec.run.recipe.loss]
    batches = list(zip(torch.split(inputs, effort.batch), torch.split(labels, effort.batch), strict=True))
    top = hessian_top(model, loss, batches, k=effort.eigenvalues, tol=effort.tol)
    trace = hessian_trace(model, loss, batches, effort.products)
    curvature = filter_curvature(model, loss, batches, effort.directions)
    policy = spec.run.recipe.batch_norm
    line = landscape(model, loss, batches, points=effort.points, batch_norm=policy, seed=spec.run.seed)
    back = interpolation(model, before, loss, batches, points=effort.points, batch_norm=policy)
    found: dict[str, Any] = {
        "top": float(top.values[0]),
        "eigenvalues": top.values.tolist(),
        "residuals": top.residuals.tolist(),
        "trace": trace.mean,
        "trace_error": trace.standard_error,
        "filter_curvature": curvature.mean,
        "filter_curvature_error": curvature.standard_error,
        "line": _finite({"at": line.coordinates, "loss": line.losses}),
        "way": _finite({"at": 1 - back.coordinates[::-1], "loss": back.losses[::-1]}),
        "barrier": back.barrier,
    }
    if spec.run.seed == 0:
        density = spectral_density(model, loss, batches, probes=effort.probes, steps=effort.steps)
        found["density"] = _finite({"at": density.grid, "density": density.density, "standard_error": density.standard_error})
    return found


def _finite(curves: dict[str, np.ndarray]) -> dict[str, list[float | None]]:
    return {name: [float(v) if np.isfinite(v) else None for v in values] for name, values in curves.items()}


def _claims(config: Config, label: str, found: list[dict[str, Any]]) -> Iterator[Claim]:
    pretrained, random = ([c for c in found if c["start"] == start] for start in ("pretrained", "random"))
    at = f"training loss {config.level:g}, {config.seeds} seeds"
    for measure, words in MEASURES.items():
        pair = [[c[measure] for c in runs] for runs in (pretrained, random)]
        yield ratio_below_one(f"{words}, pretrained over random", label, at, *pair)


def _summary(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for task, start in dict.fromkeys((c["task"], c["start"]) for c in found):
        runs = [c for c in found if (c["task"], c["start"]) == (task, start)]
        numbers = {name: [c[name] for c in runs] for name in (*MEASURES, "displacement", "barrier", "epochs")}
        numbers |= {f"{part}_{name}": [c[part][name] for c in runs] for part in ("train", "test") for name in ("loss", "accuracy")}
        rows.append({"task": task, "start": start, **{name: asdict(estimate(values)) for name, values in numbers.items()}})
    return rows
