"""Theorem 2, weights stay close: how far fine-tuning moves them, over a range of tasks, and the bound with its error term.

Claims tested. Over tasks from near to far, on a sphere and on digits, displacements of frozen nets have slope 1 against the predicted ones
(z); the slope of trained nets is another by a drift that falls like `m^{-1/2}`. The prediction, in which nothing is fitted, explains at
least 95 % of the variance between tasks. On each task fine-tuning moves the weights less, or more, than training from scratch as theory
says. On small sets, trained until hardly anything is left: nets move farther than the theorem's first term `√(ỹᵀH_Q⁻¹ỹ)` even with their
own `H(W(0))` for `H`, which a frozen kernel never does; none moves farther than the bound whose error term is computed from the kernel
measured along its run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from sim.estimate import Estimate, estimate, fit_exponent
from sim.experiments.arms import task_label
from sim.experiments.bounded_runs import BoundedSpec, bounded, prepared
from sim.experiments.claims import Claim, exponent_claim, frequency_claim, least_claim, sign_claim, z_claim
from sim.experiments.replicates import NetSpec, predictions, replicates, widths_by_seed
from sim.ranks import over_draws
from sim.records import Cache
from sim.tasks import DigitsTask, SphereTask, problem_of
from theory.first_order_drift import first_order_drift
from theory.numeric import stages
from theory.numeric.gram import relu_gram
from theory.numeric.spectrum import GramSpectrum

NAME = "theorem_2"
TITLE = "Theorem 2: how far fine-tuning moves the weights, and the bound with its error term"

EXPLAINED = 0.95
"""Share of the variance between tasks that is claimed to be explained.

Chosen, not derived."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the experiment.

    Parameters
    ----------
    sphere : SphereTask
        Varied over `inputs` and `labels`.
    inputs, labels : tuple of float
        Similarities.
    digits : DigitsTask
        Varied over `noises`, and over `draws` draws of the data.
    noises : tuple of float
    draws : int
    widths : tuple of int, at least four
        Over the range of tasks; the last one for all but the rate.
    source_steps, target_steps : int
    small : tuple
        Tasks for the bound.
    small_widths : tuple of int
    small_steps : tuple of int
        Of both stages there.
    small_seeds : int ≥ 2
        Nets for each of these tasks and widths.
    seeds : int ≥ 2
        Nets for each task of the range and each width.
    dtype : "float64" or "float32"
        Of the nets over the range of tasks.
    """

    sphere: SphereTask
    digits: DigitsTask
    small: tuple[SphereTask | DigitsTask, ...]
    widths: tuple[int, ...] = (256, 512, 1024, 2048)
    inputs: tuple[float, ...] = (0.4, 0.8, 1.0)
    labels: tuple[float, ...] = (-0.5, 0.3, 0.9)
    noises: tuple[float, ...] = (0.0, 0.3, 0.6, 1.0)
    draws: int = 2
    source_steps: int = 20
    target_steps: int = 40
    small_widths: tuple[int, ...] = (64, 256, 1024)
    small_steps: tuple[int, int] = (20, 40)
    small_seeds: int = 16
    seeds: int = 8
    dtype: str = "float64"

    @classmethod
    def profile(cls, name: str) -> Config:
        """`"smoke"`, `"quick"`, `"standard"` or `"full"`."""
        sizes: dict[str, Any] = {"n_source": 60, "n_target": 20, "n_test": 8}
        few: dict[str, Any] = {"n_source": 16, "n_target": 8, "n_test": 4}
        small = (SphereTask(**few), DigitsTask(**few))
        if name == "smoke":
            sizes = {"n_source": 16, "n_target": 8, "n_test": 4}
            fewer: dict[str, Any] = {"inputs": (1.0,), "labels": (-0.9, 0.0, 0.9), "noises": (0.0, 0.5, 1.0), "draws": 1}
            steps: dict[str, Any] = {"source_steps": 8, "target_steps": 10, "small_steps": (4, 10), "small_widths": (64, 256)}
            widths = (64, 128, 256, 512)
            return cls(
                sphere=SphereTask(**sizes), digits=DigitsTask(**sizes), widths=widths, small=small, seeds=3, small_seeds=3, **fewer, **steps
            )
        if name == "quick":
            return cls(sphere=SphereTask(**sizes), digits=DigitsTask(**sizes), small=small, dtype="float32")
        return cls(
            sphere=SphereTask(**{**sizes, "n_target": 40}),
            digits=DigitsTask(**{**sizes, "n_target": 40}),
            small=(SphereTask(**few), SphereTask(**few, label_similarity=-0.5), DigitsTask(**few)),
            widths=tuple(2**e for e in range(8, 13 if name == "standard" else 17)),
            inputs=(0.4, 0.8, 0.9, 1.0),
            noises=(0.0, 0.25, 0.5, 0.75, 1.0),
            source_steps=50,
            target_steps=80,
            small_widths=tuple(4**e for e in range(3, 8 if name == "standard" else 9)),
            seeds=16 if name == "standard" else 32,
            dtype="float32",
        )

    def families(self) -> dict[str, list[SphereTask | DigitsTask]]:
        """The range of tasks on the sphere and on digits."""
        spheres = [replace(self.sphere, input_similarity=i, label_similarity=v) for i in self.inputs for v in self.labels]
        digits = [replace(self.digits, label_noise=v, seed=s) for v in self.noises for s in range(self.draws)]
        return {"sphere": list(spheres), task_label(self.digits): list(digits)}


def run(config: Config, cache: Cache) -> dict[str, Any]:
    """Train what is not in the cache yet and return the record's results, claims among them."""
    claims: list[Claim] = []
    cells: list[dict[str, Any]] = []
    fits: list[dict[str, Any]] = []
    families = config.families()
    specs = [spec for tasks in families.values() for task in tasks for spec in _specs(config, task)]
    trained = list(replicates(specs, cache, NAME))
    seconds = sum(net["seconds"] for net in trained)
    nets = iter(trained)
    for family, tasks in families.items():
        found = [_task(config, family, task, list(islice(nets, len(config.widths) * config.seeds))) for task in tasks]
        more, fit = _line(config, f"{family}, {len(tasks)} tasks", found)
        claims += more + [claim for each in found for claim in each["claims"]]
        fits.append({"task": family, "tasks": len(tasks), **fit})
        cells += [each["cell"] for each in found]
    bounds: list[dict[str, Any]] = []
    for task in config.small:
        more, rows, took = _bounded(config, task, cache)
        claims += more
        bounds += rows
        seconds += took
    return {"cells": cells, "fits": fits, "bounds": bounds, "claims": [c.to_dict() for c in claims], "seconds": seconds}


def _specs(config: Config, task: SphereTask | DigitsTask) -> list[NetSpec]:
    base = NetSpec(task=task, width=0, seed=0, source_steps=(config.source_steps,), target_steps=config.target_steps, dtype=config.dtype)
    return widths_by_seed(base, config.widths, config.seeds)


def _task(config: Config, family: str, task: SphereTask | DigitsTask, nets: list[dict[str, Any]]) -> dict[str, Any]:
    """Nets on one task of the range, relative to what training from scratch is predicted to move."""
    (predicted,) = predictions(task, (config.source_steps,), config.target_steps)
    assert predicted.displacement is not None and predicted.displacement_scratch is not None
    scale, expected = predicted.displacement_scratch, predicted.displacement / predicted.displacement_scratch
    states = [net["stages"][0] for net in nets]
    moved = {
        rung: np.reshape([s[rung]["displacement"] / scale for s in states], (len(config.widths), config.seeds))
        for rung in ("frozen", "trained")
    }
    apart = [(s["trained"]["displacement"] - s["trained"]["displacement_scratch"]) / scale for s in states[-config.seeds :]]
    dials = ("input_similarity", "label_similarity") if isinstance(task, SphereTask) else ("label_noise", "seed")
    dial = {name: getattr(task, name) for name in dials}
    words = "trained net: displacement of fine-tuning, less that from scratch, over the predicted latter"
    at = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in dial.items())
    claim = sign_claim(words, f"{family}, width {config.widths[-1]:,}", at, estimate(apart), expected - 1)
    cell = {"task": family, "dial": dial, "predicted": expected, "first_term": _first_term(task, config) / scale}
    widest = {rung: asdict(estimate(values[-1].tolist())) for rung, values in moved.items()}
    return {"moved": moved, "expected": expected, "claims": [claim], "cell": {**cell, **widest}}


def _first_term(task: SphereTask | DigitsTask, config: Config) -> float:
    """`√(ỹᵀH_Q⁻¹ỹ)`."""
    problem = problem_of(task)
    assert problem.source is not None
    (X_P, y_P), (X_Q, y_Q) = problem.source, problem.target
    transformed = stages.transformed_labels(X_P, y_P, X_Q, config.source_steps)
    square = stages.inverse_norm_squared(GramSpectrum.of(relu_gram(X_Q)), y_Q - transformed)
    assert square is not None
    return math.sqrt(square)


def _line(config: Config, tasks: str, found: Sequence[dict[str, Any]]) -> tuple[list[Claim], dict[str, Any]]:
    """Slope of measured on predicted displacements over tasks, net by net, and the share of the variance that predictions explain."""
    predicted = np.array([each["expected"] for each in found])
    centred = predicted - predicted.mean()
    # (tasks, widths, nets)
    measured = {rung: np.array([each["moved"][rung] for each in found]) for rung in ("frozen", "trained")}
    slopes = {rung: np.tensordot(centred, values, 1) / (centred @ centred) for rung, values in measured.items()}
    drifts = [estimate(row.tolist()) for row in slopes["trained"] - slopes["frozen"]]

    def explained(nets: np.ndarray) -> float:
        values = measured["trained"][:, -1, nets]
        left = np.sum((values - predicted[:, None]) ** 2)
        return float(1 - left / np.sum((values - values.mean(axis=0)) ** 2))

    where = f"{tasks}, width {config.widths[-1]:,}"
    share = over_draws(explained, config.seeds, f"{NAME} {where}")
    widest: dict[str, Estimate] = {rung: estimate(values[-1].tolist()) for rung, values in slopes.items()}
    fit = fit_exponent(config.widths, drifts) if all(d.mean != 0 and d.standard_error > 0 for d in drifts) else None
    over = f"{tasks}, widths {config.widths[0]:,} to {config.widths[-1]:,}"
    claims = [
        z_claim("frozen kernel: slope of displacement on prediction, over tasks", where, "", widest["frozen"], 1.0),
        exponent_claim("exponent in width: drift of the slope of displacement on prediction", over, fit, -0.5),
        least_claim("trained net: share of the variance between tasks that the prediction explains", where, "", share, EXPLAINED),
    ]
    shown = {rung: asdict(slope) for rung, slope in widest.items()}
    return claims, {"slopes": shown, "drifts": [asdict(d) for d in drifts], "fit": fit and asdict(fit), "explained": asdict(share)}


def _bounded(config: Config, task: SphereTask | DigitsTask, cache: Cache) -> tuple[list[Claim], list[dict[str, Any]], float]:
    """Nets on a small task against the theorem's first term, and against the bound with its error term."""
    source_steps, target_steps = config.small_steps
    theory = prepared(task, source_steps, target_steps)
    square = stages.inverse_norm_squared(theory.Q, theory.remaining)
    from_scratch = stages.inverse_norm_squared(theory.Q, theory.problem.target[1])
    assert square is not None and from_scratch is not None
    first = math.sqrt(square)
    specs = [
        BoundedSpec(task=task, width=m, seed=seed, source_steps=source_steps, target_steps=target_steps)
        for m in config.small_widths
        for seed in range(config.small_seeds)
    ]
    nets = bounded(specs, cache, f"{NAME}: bound, {task_label(task)}")
    # Of a start of its own that has ỹ to learn: its sign is what is claimed.
    drift = first_order_drift(theory.problem.target[0], theory.remaining, theory.lr_Q, target_steps).displacement
    where = f"{_named(task)}, {len(theory.problem.target[0])} inputs"
    claims, rows = [], []
    for i, m in enumerate(config.small_widths):
        here, at = nets[i * config.small_seeds : (i + 1) * config.small_seeds], f"width {m:,}"
        over = [net["displacement"] / first for net in here]
        beyond = sum(net["displacement"] > net["longest"] for net in here)
        own = estimate([net["displacement"] / net["own_first"] - 1 for net in here])
        claims.append(sign_claim("displacement over the first term of the net's own kernel, less 1", where, at, own, drift / math.sqrt(m)))
        claims.append(frequency_claim("nets beyond the bound with its error term", where, at, beyond, len(here), 0.0))
        rows.append(
            {
                "task": _named(task),
                "width": m,
                "over": asdict(estimate(over)),
                "over_own": asdict(own),
                "exceeding": sum(o > 1 for o in over) / len(over),
                "bound": asdict(estimate([net["longest"] / first for net in here])),
                "least_room": min(net["longest"] / net["displacement"] for net in here),
                "kernel_error": asdict(estimate([net["kernel_error"] for net in here])),
                "prediction": theory.decay_Q.ideal / first,
                "scratch": math.sqrt(from_scratch) / first,
            }
        )
    return claims, rows, sum(net["seconds"] for net in nets)


def _named(task: SphereTask | DigitsTask) -> str:
    """A small task in words: its label similarity too, where that is not the default."""
    if isinstance(task, SphereTask) and task.label_similarity != SphereTask.label_similarity:
        return f"{task_label(task)}, label similarity {task.label_similarity:g}"
    return task_label(task)
