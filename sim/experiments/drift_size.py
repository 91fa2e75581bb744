"""The size of the drift on ordinary data, computed from the data alone, against trained nets.

Claims tested, for a sphere and for digits. After a few steps and after many, the displacement of trained nets over that of their own
frozen kernel is on the side of 1 that theory says, and its mean over nets is off by what theory says. The residual after training is
shifted against the frozen kernel's by the predicted length along the predicted direction. (Standard errors are of the nets and of the
directions that the prediction averages over; terms in `1/m` are in neither.)
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from sim.dynamics import BlockedNet, workers
from sim.estimate import Estimate, estimate
from sim.experiments.arms import task_label
from sim.experiments.claims import Claim, sign_claim, z_claim
from sim.networks import initial_net
from sim.records import Cache
from sim.tasks import DigitsTask, SphereTask, problem_of
from theory.first_order_drift import FirstOrderDrift, first_order_drift
from theory.numeric import stages
from theory.numeric.gram import relu_gram
from theory.numeric.spectrum import GramSpectrum

NAME = "drift_size"
TITLE = "Size of the drift of trained nets, computed from the data alone"


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the experiment.

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
        wide = 32768 if name == "standard" else 131072
        return cls(tasks=tasks, width=wide, seeds=32 if name == "standard" else 64, steps=(5, 50, 300), directions=2048)


def run(config: Config, cache: Cache) -> dict[str, Any]:
    """Train the nets and return the record's results, claims among them; none takes long enough to be kept in the cache."""
    started = time.perf_counter()
    cells: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    claims: list[Claim] = []
    root = math.sqrt(config.width)
    # disable=None: the bar vanishes where there is no terminal.
    with tqdm(total=len(config.tasks) * config.seeds, desc=NAME, unit="net", disable=None, leave=False) as bar:
        for task in config.tasks:
            X, y = problem_of(task).target
            lr = 1 / GramSpectrum.of(relu_gram(X)).largest
            steps = _shown(config.steps)
            options: dict[str, Any] = {"init_scale": config.init_scale, "directions": config.directions}
            along = {k: first_order_drift(X, y, lr, k, **options) for k in steps}
            predicted = [along[k] for k in config.steps]
            drifts, shares = [], []
            for seed in range(config.seeds):
                ratios, shift = _net(config, X, y, lr, steps, seed)
                drifts.append({k: r - 1 for k, r in ratios.items()})
                shares.append(_along(predicted[-1], shift * root))
                bar.update(1)
            where = f"{task_label(task)}, {len(X)} inputs, width {config.width:,}"
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
    return {"cells": cells, "curves": curves, "claims": [c.to_dict() for c in claims], "seconds": time.perf_counter() - started}


def _shown(steps: tuple[int, ...]) -> list[int]:
    """All the numbers of steps to record: the claimed ones, and some spread evenly on a logarithmic axis."""
    return sorted({*steps, *(round(steps[-1] ** (i / 8)) for i in range(9))})


def _with_error(values: list[float], error: float) -> Estimate:
    """Mean over nets, the prediction's own standard error added to its."""
    found = estimate(values)
    return Estimate(found.mean, math.hypot(found.standard_error, error), found.n)


def _along(theory: FirstOrderDrift, shift: np.ndarray) -> float:
    return float(shift @ theory.residual / (theory.residual @ theory.residual))


def _net(config: Config, X: np.ndarray, y: np.ndarray, lr: float, steps: list[int], seed: int) -> tuple[dict[int, float], np.ndarray]:
    """Displacement of one trained net over its own frozen kernel's at every number of steps, and the residual's shift at the last."""
    W, a = initial_net(config.width, X.shape[1], 1, init_scale=config.init_scale, seed=seed)
    active = (W @ X.T > 0).astype(np.float64)
    frozen = GramSpectrum.of((X @ X.T) * (active.T @ active) / config.width)
    dtype = np.dtype(config.dtype)
    with workers() as map_in_order:
        net = BlockedNet(W.astype(dtype), a.astype(dtype), map_in_order)
        trained = net.descend(X.astype(dtype), y[:, None].astype(dtype), lr=lr, steps=steps[-1], record=steps)
    moved = dict(zip(trained.steps, trained.displacement, strict=True))
    ratios = {k: moved[k] / stages.displacement(frozen, y, lr, k) for k in steps}
    return ratios, y - trained.outputs[:, 0] - stages.residual(frozen, y, lr, steps[-1])
