"""The width law at a fixed and at the best initial scale, with antisymmetric and with independent neurons.

With independent neurons a net starts from outputs of order `κ`, of which training leaves a part: `κ² N` of the squared gap, whatever the
width. Its drift has a mean `b/(κ√m)`. So the squared gap to the net's own frozen kernel, started from zero, is `κ² N + b²/(κ² m)`, least
at `κ* = (b²/(N m))^{1/4}`, where it is `2 b √N/√m`: the best scale falls like `m^{-1/4}`, and the gap there only like `m^{-1/4}`, for
antisymmetric neurons have no `N` and get `m^{-1/2}` at any fixed scale. What is left out, at `κ*`, is smaller by `1/(κ√m) ∝ m^{-1/4}`;
`N` and `b` are computed from the data alone.

Claims tested, on outputs on the training set. The best scale at the widest nets is the predicted one within ten per cent, and falls with
the exponent −1/4; so does the gap there; at a fixed scale the gap stays (exponent 0). Antisymmetric nets have no such floor: at a fixed
scale their whole gap to infinite width, sampling included, falls with −1/2. What is left of the initial outputs is `κ² N` (z). And the
sampling variance of antisymmetric nets is twice that of as many independent neurons (z): they have half as many to average over.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sim.estimate import Estimate, estimate, fit_exponent, jackknife
from sim.experiments.arms import task_label
from sim.experiments.claims import Claim, exponent_claim, gap_claim, z_claim
from sim.experiments.scratch_runs import DriftTheory, ScratchRun, data_of, expected_drift, setting, train
from sim.records import Cache
from sim.sweep import sweep
from sim.tasks import DigitsTask, SphereTask
from theory.numeric.initialisation import output_kernel
from theory.numeric.spectrum import residual_filter

NAME = "best_scale"
TITLE = "The best initial scale, and antisymmetric against independent neurons"

AGREEMENT = 0.1
"""Relative distance of the best scale of the widest nets from the predicted one that is claimed.

Chosen, not derived: with `κ⁴ = b²/(N m)`, a theory that is off by a half in `b²` or in `N` is off by 11 per cent or more.
"""

NEAR = 2
"""Scales to either side of the least gap that a parabola is laid through."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the experiment.

    Parameters
    ----------
    tasks : tuple
        Of which the target set is trained on, from scratch.
    widths : tuple of int, at least four
    scales : int ≥ 5, odd
        Initial scales at each width, by factors of √2 round the predicted best one.
    seeds : int ≥ 3
        Nets for each task, width and scale; the same at every scale.
    steps : int
    rate : float
        Step size in units of `1/λ_max`.
    pair_width, pairs : int
        Width and number of nets of either kind whose sampling variances are compared.
    directions : int
        For the predicted drift.
    dtype : "float64" or "float32"
        Of the trained nets.
    """

    tasks: tuple[SphereTask | DigitsTask, ...]
    widths: tuple[int, ...]
    scales: int = 7
    seeds: int = 16
    steps: int = 10
    rate: float = 0.5
    pair_width: int = 1024
    pairs: int = 200
    directions: int = 256
    dtype: str = "float32"

    @classmethod
    def profile(cls, name: str) -> Config:
        """`"smoke"`, `"quick"`, `"standard"` or `"full"`."""
        if name == "smoke":
            small: dict[str, Any] = {"n_source": 1, "n_target": 8, "n_test": 1}
            tasks = (SphereTask(**small), DigitsTask(**small))
            widths = (64, 128, 256, 512)
            return cls(tasks=tasks, widths=widths, scales=5, seeds=4, steps=5, pair_width=128, pairs=16, directions=16)
        set_size: dict[str, Any] = {"n_source": 1, "n_target": 20, "n_test": 1}
        tasks = (SphereTask(**set_size), DigitsTask(**set_size))
        if name == "quick":
            return cls(tasks=tasks, widths=(256, 512, 1024, 2048, 4096))
        widths = tuple(2**e for e in range(8, 15 if name == "standard" else 18))
        return cls(tasks=tasks, widths=widths, scales=9, seeds=32 if name == "standard" else 64, pairs=1000, directions=1024)


@dataclass(frozen=True)
class Theory:
    """The two constants of a task, relative to the squared length of the outputs, and the error of the second.

    Attributes
    ----------
    start : float
        `N`.
    drift : float
        `b`.
    drift_error : float
    """

    start: float
    drift: float
    drift_error: float

    def best(self, width: int) -> float:
        """`κ* = (b²/(N m))^{1/4}`."""
        return float((self.drift**2 / (self.start * width)) ** 0.25)

    def square(self, scale: float, width: int) -> float:
        """`κ² N + b²/(κ² m)`."""
        return scale**2 * self.start + self.drift**2 / (scale**2 * width)


def run(config: Config, cache: Cache) -> dict[str, Any]:
    """Train what is not in the cache yet and return the record's results, claims among them."""
    cells: list[dict[str, Any]] = []
    fits: list[dict[str, Any]] = []
    theories: list[dict[str, Any]] = []
    claims: list[Claim] = []
    wanted = [DriftTheory(task=t, steps=config.steps, rate=config.rate, directions=config.directions) for t in config.tasks]
    drifts = sweep(expected_drift, wanted, cache, f"{NAME}: theory", depends=data_of)
    seconds = sum(each["seconds"] for each in drifts)
    for task, drift in zip(config.tasks, drifts, strict=True):
        label, theory = task_label(task), _theory(config, task, drift)
        factors = [2 ** ((i - config.scales // 2) / 2) for i in range(config.scales)]
        apart = [_run(config, task, m, theory.best(m) * f, False) for m in config.widths for f in factors]
        fixed = [_run(config, task, m, 1.0, pairs) for pairs in (False, True) for m in config.widths]
        kinds = [_run(config, task, config.pair_width, 1.0, pairs, steps=1, nets=config.pairs) for pairs in (False, True)]
        groups = sweep(train, [*apart, *fixed, *kinds], cache, f"{NAME}: {label}", weight=lambda run: run.cost, depends=data_of)
        seconds += sum(group["seconds"] for group in groups)
        nets = [group["nets"] for group in groups]
        # (widths, scales, seeds), (widths, seeds) twice and (kinds, nets)
        squares = np.array([[_square(net, "start", "drift") for net in group] for group in nets[: len(apart)]])
        squares = squares.reshape(len(config.widths), config.scales, config.seeds)
        alone, paired = (nets[len(apart) + i * len(config.widths) :][: len(config.widths)] for i in range(2))
        kept = [np.array([_square(net, "start", "drift") for net in group]) for group in alone]
        # Against infinite width: round its mean the drift alone falls like m^{-3/4}, which would hide a power.
        whole = [np.array([_square(net, "sampling", "drift") for net in group]) for group in paired]
        sampled = np.array([[_square(net, "sampling") for net in group] for group in nets[-2:]])
        found = [_best(config, theory.best(m), squares[i]) for i, m in enumerate(config.widths)]
        for i, m in enumerate(config.widths):
            for j, factor in enumerate(factors):
                scale = theory.best(m) * factor
                gap = asdict(estimate(squares[i, j].tolist()))
                cells.append({"task": label, "width": m, "scale": scale, "predicted": theory.square(scale, m), "square": gap})
        series = {
            "best scale": ([each[0] for each in found], -0.25, [theory.best(m) for m in config.widths]),
            "gap at the best scale": ([each[1] for each in found], -0.25, [theory.square(theory.best(m), m) ** 0.5 for m in config.widths]),
            "gap at κ = 1, independent neurons": ([_root(row) for row in kept], 0.0, [theory.square(1.0, m) ** 0.5 for m in config.widths]),
            "gap to infinite width at κ = 1, antisymmetric neurons": ([_root(row) for row in whole], -0.5, None),
        }
        where = f"{label}, widths {config.widths[0]:,} to {config.widths[-1]:,}"
        for words, (values, rate, predicted) in series.items():
            sure = [v for v in values if v is not None]
            fit = fit_exponent(config.widths, sure) if len(sure) == len(config.widths) else None
            sizes = [None if v is None else asdict(v) for v in values]
            fits.append(
                {"task": label, "series": words, "claimed": rate, "predicted": predicted, "sizes": sizes, "fit": fit and asdict(fit)}
            )
            claims.append(exponent_claim(f"exponent in width: {words}", where, fit, rate))
        widest = f"{label}, width {config.widths[-1]:,}"
        if found[-1][0] is not None:
            claims.append(gap_claim("best initial scale", widest, "", found[-1][0], theory.best(config.widths[-1]), AGREEMENT))
        left = estimate([_square(net, "start") for net in alone[-1]])
        claims.append(z_claim("what training leaves of the initial outputs, κ = 1: its squared length", widest, "", left, theory.start))
        ratio = jackknife(sampled.T, lambda both: float(both[:, 1].mean() / both[:, 0].mean()))
        assert ratio is not None
        here = f"{label}, width {config.pair_width:,}"
        claims.append(z_claim("sampling variance of outputs, antisymmetric over independent neurons", here, "1 step", ratio, 2.0))
        constants = {"start": theory.start, "drift": theory.drift, "drift_error": theory.drift_error}
        theories.append({"task": label, **constants, "ratio": asdict(ratio)})
    return {"cells": cells, "fits": fits, "theory": theories, "claims": [c.to_dict() for c in claims], "seconds": seconds}


def _run(
    config: Config, task: SphereTask | DigitsTask, width: int, scale: float, antisymmetric: bool, *, steps: int = 0, nets: int = 0
) -> ScratchRun:
    return ScratchRun(
        task=task,
        width=width,
        steps=(steps or config.steps,),
        nets=nets or config.seeds,
        rate=config.rate,
        init_scale=scale,
        antisymmetric=antisymmetric,
        dtype=config.dtype,
    )


def _theory(config: Config, task: SphereTask | DigitsTask, drift: dict[str, Any]) -> Theory:
    about = setting(task)
    H = about.spectrum
    left = (H.vectors * residual_filter(H.values, about.lr(config.rate), config.steps)) @ H.vectors.T
    size = float(np.sum(about.outputs(config.rate, config.steps)[: len(about.y)] ** 2))
    b, error = np.array(drift["outputs"]), np.array(drift["outputs_error"])
    length = float(np.linalg.norm(b))
    return Theory(float(np.trace(left @ output_kernel(about.X) @ left)) / size, length, float(np.linalg.norm(b * error)) / length)


def _square(net: dict[str, Any], *parts: str) -> float:
    """Squared relative length of the sum of parts of the gap on the training points."""
    return float(np.sum(np.sum([net["records"][0][part][0] for part in parts], axis=0) ** 2))


def _root(squares: np.ndarray) -> Estimate | None:
    return jackknife(squares, lambda x: math.sqrt(x.mean()))


def _best(config: Config, middle: float, squares: np.ndarray) -> tuple[Estimate | None, Estimate | None]:
    """Best scale and root mean square gap there of nets at one width, from a (scales, seeds) array of squared gaps."""

    def vertex(nets: np.ndarray) -> tuple[float, float] | None:
        return least(nets.mean(axis=0))

    def scale(nets: np.ndarray) -> float | None:
        found = vertex(nets)
        return None if found is None else middle * 2 ** ((found[0] - config.scales // 2) / 2)

    def gap(nets: np.ndarray) -> float | None:
        found = vertex(nets)
        return None if found is None else math.sqrt(found[1])

    return jackknife(squares.T, scale), jackknife(squares.T, gap)


def least(values: Sequence[float] | np.ndarray) -> tuple[float, float] | None:
    """Place (in units of the index) and height of the minimum of positive values; `None` where the least is at an end.

    By a parabola through the logarithms of the least value and `NEAR` to either side, as many on both sides: `log(A + B cosh 2x)`, which
    the theory draws over the logarithm of the scale, is even about its minimum.
    """
    logs = np.log(values)
    i = int(np.argmin(logs))
    reach = min(NEAR, i, len(logs) - 1 - i)
    if reach == 0:
        return None
    x = np.arange(-reach, reach + 1)
    curvature, slope, level = np.polyfit(x, logs[i - reach : i + reach + 1], 2)
    return i - slope / (2 * curvature), math.exp(level - slope**2 / (4 * curvature))
