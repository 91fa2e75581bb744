"""The drift of trained nets from their frozen kernel on orthogonal inputs, where theory gives its size, step size included.

Claims tested, for a large and a small step size. The displacement of trained nets over that of their own frozen kernel has the mean over
nets that the exact theory of orthogonal inputs gives, at every width, however far from the frozen kernel; and its excess over 1 falls
like `m^{-1/2}`. The size is no fit: a third for small steps of what one big step gives.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from sim.dynamics import BlockedNet, workers
from sim.estimate import Estimate, estimate, fit_exponent
from sim.experiments.claims import Claim, exponent_claim, z_claim
from sim.networks import initial_net
from sim.records import Cache
from sim.rng import generator
from theory.numeric import stages
from theory.numeric.drift import orthogonal_run, relative_drift
from theory.numeric.spectrum import GramSpectrum

NAME = "orthogonal_drift"
TITLE = "Drift of trained nets on orthogonal inputs, against its exact size"


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the experiment.

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
    """Train the nets and return the record's results, claims among them; none takes long enough to be kept in the cache."""
    started = time.perf_counter()
    rng = generator("orthogonal drift", config.inputs)
    X = np.linalg.qr(rng.standard_normal((config.inputs, config.inputs)))[0]
    y = rng.choice([-1.0, 1.0], config.inputs) * rng.uniform(0.5, 1.5, config.inputs)
    cells: list[dict[str, Any]] = []
    fits: list[dict[str, Any]] = []
    claims: list[Claim] = []
    # disable=None: the bar vanishes where there is no terminal.
    with tqdm(total=len(config.rates) * len(config.widths) * config.seeds, desc=NAME, unit="net", disable=None, leave=False) as bar:
        for rate in config.rates:
            drifts: list[Estimate] = []
            where = f"{config.inputs} orthonormal inputs, step size {rate:g}/λ"
            lr, steps = 2 * rate, config.steps(rate)
            for m in config.widths:
                ratios = []
                for seed in range(config.seeds):
                    ratios.append(_ratio(config, X, y, lr, steps, m, seed))
                    bar.update(1)
                ones = np.ones(config.inputs)
                exact = orthogonal_run(ones, y, lr, steps, width=m, init_scale=config.init_scale).displacement
                frozen = stages.displacement(GramSpectrum.of(np.eye(config.inputs) / 2), y, lr, steps)
                drift = estimate([r - 1 for r in ratios])
                drifts.append(drift)
                claims.append(z_claim("displacement over the frozen kernel's, less 1", where, f"width {m:,}", drift, exact / frozen - 1))
                leading = relative_drift(ones, y, lr, width=m, init_scale=config.init_scale)
                cells.append({"rate": rate, "width": m, "drift": asdict(drift), "exact": exact / frozen - 1, "leading": leading})
            fit = fit_exponent(config.widths, drifts)
            fits.append({"rate": rate, "fit": asdict(fit)})
            widths = f"{where}, widths {config.widths[0]:,} to {config.widths[-1]:,}"
            claims.append(exponent_claim("exponent in width: drift of the displacement, mean over nets", widths, fit, -0.5))
    return {"cells": cells, "fits": fits, "claims": [c.to_dict() for c in claims], "seconds": time.perf_counter() - started}


def _ratio(config: Config, X: np.ndarray, y: np.ndarray, lr: float, steps: int, m: int, seed: int) -> float:
    """Displacement of one trained net over that of its own frozen kernel."""
    W, a = initial_net(m, X.shape[1], 1, init_scale=config.init_scale, seed=seed)
    active = (W @ X.T > 0).astype(np.float64)
    frozen = stages.displacement(GramSpectrum.of((X @ X.T) * (active.T @ active) / m), y, lr, steps)
    dtype = np.dtype(config.dtype)
    with workers() as map_in_order:
        net = BlockedNet(W.astype(dtype), a.astype(dtype), map_in_order)
        trained = net.descend(X.astype(dtype), y[:, None].astype(dtype), lr=lr, steps=steps)
    return trained.displacement[-1] / frozen
