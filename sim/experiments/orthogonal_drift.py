"""The drift of trained nets from their frozen kernel on orthogonal inputs, where theory gives its size, step size included.

Claims tested, for a large and a small step size. The displacement of trained nets over that of their own frozen kernel has the mean over
nets that the exact theory of orthogonal inputs gives, at every width, however far from the frozen kernel; and its excess over 1 falls
like `m^{-1/2}`. The size is no fit: a third for small steps of what one big step gives.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from sim.dynamics import BlockedNet, workers
from sim.estimate import Estimate, estimate, fit_exponent
from sim.experiments.claims import Claim, exponent_claim, z_claim
from sim.networks import initial_net
from sim.records import Cache
from sim.rng import generator
from sim.sweep import sweep
from theory.numeric import stages
from theory.numeric.drift import orthogonal_run, relative_drift
from theory.numeric.spectrum import GramSpectrum

NAME = "orthogonal_drift"
TITLE = "Drift of trained nets on orthogonal inputs, against its exact size"

BATCH = 8
"""Nets that are computed, and kept, together."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the experiment; the standard profile has twice the nets, and two doublings more of the width.

    Parameters
    ----------
    widths : tuple of int, at least four, even
    seeds : int ≥ 2
        Nets at each width.
    inputs : int
        Number of orthonormal inputs.
    rates : tuple of float in (0, 1)
        Step sizes in units of `1/λ`.
    residual : float
        Share of the labels that training leaves.
    init_scale : float
    dtype : "float64" or "float32"
    """

    widths: tuple[int, ...]
    seeds: int = 32
    inputs: int = 8
    rates: tuple[float, ...] = (0.9, 0.2)
    residual: float = 1e-4
    init_scale: float = 1.0
    dtype: str = "float64"

    @classmethod
    def profile(cls, name: str) -> Config:
        """`"smoke"`, `"quick"`, `"standard"` or `"full"`."""
        if name == "smoke":
            return cls(widths=(64, 128, 256, 512), seeds=8, inputs=4)
        if name == "quick":
            return cls(widths=tuple(2**e for e in range(8, 15)))
        return cls(widths=tuple(2**e for e in range(8, 17 if name == "standard" else 19)), seeds=64 if name == "standard" else 128)

    def steps(self, rate: float) -> int:
        """Steps after which a frozen kernel leaves `residual` of the labels."""
        return math.ceil(math.log(self.residual) / math.log1p(-rate))


def run(config: Config, cache: Cache) -> dict[str, Any]:
    """Train what is not in the cache yet and return the record's results, claims among them."""
    _, y = problem(config.inputs)
    ones, spectrum = np.ones(config.inputs), GramSpectrum.of(np.eye(config.inputs) / 2)
    cells: list[dict[str, Any]] = []
    fits: list[dict[str, Any]] = []
    claims: list[Claim] = []
    batches = [range(i, min(i + BATCH, config.seeds)) for i in range(0, config.seeds, BATCH)]
    wanted = [
        Nets(
            inputs=config.inputs,
            lr=2 * rate,
            steps=config.steps(rate),
            width=m,
            init_scale=config.init_scale,
            dtype=config.dtype,
            seeds=tuple(batch),
        )
        for rate in config.rates
        for m in config.widths
        for batch in batches
    ]
    done = sweep(drifted, wanted, cache, NAME, weight=lambda nets: nets.width * nets.steps * len(nets.seeds))
    found = iter(done)
    for rate in config.rates:
        drifts: list[Estimate] = []
        where = f"{config.inputs} orthonormal inputs, step size {rate:g}/λ"
        lr, steps = 2 * rate, config.steps(rate)
        for m in config.widths:
            ratios = [ratio for _ in batches for ratio in next(found)["ratios"]]
            exact = orthogonal_run(ones, y, lr, steps, width=m, init_scale=config.init_scale).displacement
            frozen = stages.displacement(spectrum, y, lr, steps)
            drift = estimate([r - 1 for r in ratios])
            drifts.append(drift)
            claims.append(z_claim("displacement over the frozen kernel's, less 1", where, f"width {m:,}", drift, exact / frozen - 1))
            leading = relative_drift(ones, y, lr, width=m, init_scale=config.init_scale)
            cells.append({"rate": rate, "width": m, "drift": asdict(drift), "exact": exact / frozen - 1, "leading": leading})
        fit = fit_exponent(config.widths, drifts)
        fits.append({"rate": rate, "fit": asdict(fit)})
        widths = f"{where}, widths {config.widths[0]:,} to {config.widths[-1]:,}"
        claims.append(exponent_claim("exponent in width: drift of the displacement, mean over nets", widths, fit, -0.5))
    return {"cells": cells, "fits": fits, "claims": [c.to_dict() for c in claims], "seconds": sum(each["seconds"] for each in done)}


@dataclass(frozen=True, kw_only=True)
class Nets:
    """A few nets of one width: they take milliseconds each where they are narrow."""

    inputs: int
    lr: float
    steps: int
    width: int
    init_scale: float
    dtype: str
    seeds: tuple[int, ...]


@lru_cache(maxsize=4)
def problem(inputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal inputs, and labels of different sizes."""
    rng = generator("orthogonal drift", inputs)
    X = np.linalg.qr(rng.standard_normal((inputs, inputs)))[0]
    return X, rng.choice([-1.0, 1.0], inputs) * rng.uniform(0.5, 1.5, inputs)


def drifted(nets: Nets) -> dict[str, Any]:
    """Displacement of each trained net over that of its own frozen kernel."""
    with workers() as map_in_order:
        return {"ratios": [_ratio(nets, seed, map_in_order) for seed in nets.seeds]}


def _ratio(nets: Nets, seed: int, map_in_order: Callable) -> float:
    X, y = problem(nets.inputs)
    W, a = initial_net(nets.width, X.shape[1], 1, init_scale=nets.init_scale, seed=seed)
    active = (W @ X.T > 0).astype(np.float64)
    frozen = stages.displacement(GramSpectrum.of((X @ X.T) * (active.T @ active) / nets.width), y, nets.lr, nets.steps)
    dtype = np.dtype(nets.dtype)
    net = BlockedNet(W.astype(dtype), a.astype(dtype), map_in_order)
    trained = net.descend(X.astype(dtype), y[:, None].astype(dtype), lr=nets.lr, steps=nets.steps)
    return trained.displacement[-1] / frozen
