"""The size of the drift on ordinary data, computed from the data alone, against trained nets.

Claims tested, for a sphere and for digits. After a few steps and after many, the displacement of trained nets over that of their own
frozen kernel is on the side of 1 that theory says, and its mean over nets is off by what theory says. The residual after training is
shifted against the frozen kernel's by the predicted length along the predicted direction. (Standard errors are of the nets and of the
directions that the prediction averages over; terms in `1/m` are in neither.)
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from sim.dynamics import BlockedNet, workers
from sim.estimate import Estimate, estimate
from sim.experiments.arms import task_label
from sim.experiments.claims import Claim, sign_claim, z_claim
from sim.networks import initial_net
from sim.records import Cache
from sim.sweep import sweep
from sim.tasks import DigitsTask, SphereTask, problem_of
from theory.first_order_drift import FirstOrderDrift, first_order_drift
from theory.numeric import stages
from theory.numeric.gram import relu_gram
from theory.numeric.spectrum import GramSpectrum

NAME = "drift_size"
TITLE = "Size of the drift of trained nets, computed from the data alone"


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the experiment; the standard profile has twice the nets, twice as wide, four times the steps, twice the directions.

    Parameters
    ----------
    tasks : tuple
        Of which the target set is trained on, from scratch.
    width : int
    seeds : int ≥ 2
        Nets for each task.
    steps : tuple of int, ascending
    directions : int
        In each hyperplane, for the prediction.
    init_scale : float
    dtype : "float64" or "float32"
    """

    tasks: tuple[SphereTask | DigitsTask, ...]
    width: int
    seeds: int = 16
    steps: tuple[int, ...] = (5, 50)
    directions: int = 512
    init_scale: float = 1.0
    dtype: str = "float64"

    @classmethod
    def profile(cls, name: str) -> Config:
        """`"smoke"`, `"quick"`, `"standard"` or `"full"`."""
        if name == "smoke":
            small: dict[str, Any] = {"n_source": 4, "n_target": 8, "n_test": 4}
            return cls(tasks=(SphereTask(**small), DigitsTask(**small)), width=256, seeds=4, steps=(3, 10), directions=16)
        tasks = (SphereTask(), DigitsTask(n_source=40, n_target=40, n_test=40))
        if name == "quick":
            return cls(tasks=tasks, width=8192)
        if name == "standard":
            return cls(tasks=tasks, width=16384, seeds=32, steps=(5, 50, 200), directions=1024)
        return cls(tasks=tasks, width=131072, seeds=64, steps=(5, 50, 300), directions=2048)


def run(config: Config, cache: Cache) -> dict[str, Any]:
    """Compute what is not in the cache yet and return the record's results, claims among them."""
    cells: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    claims: list[Claim] = []
    root = math.sqrt(config.width)
    steps = _shown(config.steps)
    wanted = [Theory(task=t, steps=k, init_scale=config.init_scale, directions=config.directions) for t in config.tasks for k in steps]
    known = sweep(expected_drift, wanted, cache, f"{NAME}: theory", weight=lambda each: each.steps, depends=_data)
    specs = [
        Net(task=t, width=config.width, seed=s, steps=tuple(steps), init_scale=config.init_scale, dtype=config.dtype)
        for t in config.tasks
        for s in range(config.seeds)
    ]
    nets = sweep(trained, specs, cache, NAME, depends=_data)
    for number, task in enumerate(config.tasks):
        each = known[number * len(steps) : (number + 1) * len(steps)]
        along = {k: _drift_of(found) for k, found in zip(steps, each, strict=True)}
        predicted = [along[k] for k in config.steps]
        here = nets[number * config.seeds : (number + 1) * config.seeds]
        drifts = [{k: ratio - 1 for k, ratio in zip(steps, net["ratios"], strict=True)} for net in here]
        shares = [_along(predicted[-1], np.array(net["shift"]) * root) for net in here]
        where = f"{task_label(task)}, {len(problem_of(task).target[0])} inputs, width {config.width:,}"
        curves.append(
            {
                "task": task_label(task),
                "steps": steps,
                "predicted": [along[k].displacement / root for k in steps],
                "measured": [asdict(estimate([d[k] for d in drifts])) for k in steps],
            }
        )
        for k, theory in zip(config.steps, predicted, strict=True):
            expected, at = theory.displacement / root, f"{k} steps"
            measured = _with_error([d[k] for d in drifts], theory.displacement_error / root)
            claims.append(sign_claim("displacement over the frozen kernel's, less 1: its sign", where, at, measured, expected))
            claims.append(z_claim("displacement over the frozen kernel's, less 1", where, at, measured, expected))
            cells.append({"task": task_label(task), "steps": k, "predicted": expected, "measured": asdict(measured)})
        words = "shift of the residual against the frozen kernel's, along the predicted one and in units of it"
        last = predicted[-1]
        error = float(np.linalg.norm(last.residual * last.residual_error) / (last.residual @ last.residual))
        claims.append(z_claim(words, where, f"{config.steps[-1]} steps", _with_error(shares, error), 1.0))
    seconds = sum(part["seconds"] for part in (*known, *nets))
    return {"cells": cells, "curves": curves, "claims": [c.to_dict() for c in claims], "seconds": seconds}


def _shown(steps: tuple[int, ...]) -> list[int]:
    """All the numbers of steps to record: the claimed ones, and some spread evenly on a logarithmic axis."""
    return sorted({*steps, *(round(steps[-1] ** (i / 8)) for i in range(9))})


def _with_error(values: list[float], error: float) -> Estimate:
    """Mean over nets, the prediction's own standard error added to its."""
    found = estimate(values)
    return Estimate(found.mean, math.hypot(found.standard_error, error), found.n)


def _along(theory: FirstOrderDrift, shift: np.ndarray) -> float:
    return float(shift @ theory.residual / (theory.residual @ theory.residual))


@dataclass(frozen=True, kw_only=True)
class Theory:
    """A prediction: `init_scale` and `directions` as in `Config`."""

    task: SphereTask | DigitsTask
    steps: int
    init_scale: float
    directions: int


@dataclass(frozen=True, kw_only=True)
class Net:
    """A net, and the steps at which it is looked at."""

    task: SphereTask | DigitsTask
    width: int
    seed: int
    steps: tuple[int, ...]
    init_scale: float
    dtype: str


def _data(part: Theory | Net) -> str:
    return problem_of(part.task).content_hash


def _training_set(task: SphereTask | DigitsTask) -> tuple[np.ndarray, np.ndarray, float]:
    """Inputs, labels and step size."""
    X, y = problem_of(task).target
    return X, y, 1 / GramSpectrum.of(relu_gram(X)).largest


def expected_drift(wanted: Theory) -> dict[str, Any]:
    """The fields of `FirstOrderDrift`."""
    X, y, lr = _training_set(wanted.task)
    found = first_order_drift(X, y, lr, wanted.steps, init_scale=wanted.init_scale, directions=wanted.directions)
    return {name: np.asarray(value).tolist() for name, value in vars(found).items()}


def _drift_of(found: dict[str, Any]) -> FirstOrderDrift:
    values: dict[str, Any] = {field.name: found[field.name] for field in fields(FirstOrderDrift)}
    arrays = {name: np.array(value) for name, value in values.items() if isinstance(value, list)}
    return FirstOrderDrift(**{**values, **arrays})


def trained(spec: Net) -> dict[str, Any]:
    """Displacement of one trained net over its own frozen kernel's at every number of steps, and the residual's shift at the last."""
    X, y, lr = _training_set(spec.task)
    W, a = initial_net(spec.width, X.shape[1], 1, init_scale=spec.init_scale, seed=spec.seed)
    active = (W @ X.T > 0).astype(np.float64)
    frozen = GramSpectrum.of((X @ X.T) * (active.T @ active) / spec.width)
    dtype, steps = np.dtype(spec.dtype), spec.steps
    with workers() as map_in_order:
        net = BlockedNet(W.astype(dtype), a.astype(dtype), map_in_order)
        run = net.descend(X.astype(dtype), y[:, None].astype(dtype), lr=lr, steps=steps[-1], record=steps)
    moved = dict(zip(run.steps, run.displacement, strict=True))
    ratios = [moved[k] / stages.displacement(frozen, y, lr, k) for k in steps]
    shift = y - run.outputs[:, 0] - stages.residual(frozen, y, lr, steps[-1])
    return {"ratios": ratios, "shift": shift.tolist()}
