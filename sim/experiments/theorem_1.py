"""Theorem 1, improved Lipschitzness: the gradient at the start of fine-tuning, its terms in `κ` made explicit.

Claims tested, for a sphere and for digits, over lengths of pretraining. From random starts, whose initial outputs are not zero, the
gradient energy of frozen nets at `W(P)` has the mean `‖ỹ‖² + κ² tr S`, and the squared gradient in the weights `ỹᵀH_Qỹ + κ² tr H_Q S`, for
every `κ` (z); from zero outputs, without the terms in `κ` (of the energy, that is tested in `ladder`). Trained nets are within two per cent
of what their own frozen kernel leaves. The error `ε` of the theorem is then the drift of `r̃(k) = y_Q − u_Q(W(P))`: its mean over nets
has a length that falls like `1/√m` at fixed `κ`, and like `1/κ` at fixed width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sim.estimate import Estimate, bias_and_spread, estimate, fit_exponent
from sim.experiments.arms import task_label
from sim.experiments.claims import Claim, exponent_claim, gap_claim, z_claim
from sim.experiments.pretrained import PretrainedSpec, pretrained
from sim.records import Cache
from sim.tasks import DigitsTask, SphereTask, problem_of
from theory.numeric import stages
from theory.numeric.gram import relu_gram
from theory.numeric.initialisation import output_kernel, start_covariance, start_moments
from theory.numeric.spectrum import GramSpectrum

NAME = "theorem_1"
TITLE = "Theorem 1: the gradient at the start of fine-tuning, terms in κ and drift included"

QUANTITIES = {"energy": "gradient energy ‖∂L_Q/∂X¹‖²", "gradient": "squared gradient ‖∂L_Q/∂W‖²"}
"""What is measured at `W(P)`, in words."""

AGREEMENT = 0.02
"""Distance of trained nets from their own frozen kernel that is claimed, in units of the prediction.

Chosen, not derived; the drift itself is held to its rates."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the experiment.

    Parameters
    ----------
    tasks : tuple
    source_steps : tuple of int, ascending
        Lengths of pretraining.
    scales : tuple of float
        `κ` of random starts.
    starts, start_width : int
        How many random starts, and their width.
    widths : tuple of int, at least four
        For the drift, at the scale `width_scale`.
    width_scale : float
    drift_scales : tuple of float, at least four
        `κ` for the drift, at the width `scale_width`.
    scale_width : int
    seeds : int ≥ 3
        Nets at each width and scale for the drift.
    dtype : "float64" or "float32"
        Of the trained nets.
    """

    tasks: tuple[SphereTask | DigitsTask, ...]
    source_steps: tuple[int, ...] = (1, 10, 50)
    scales: tuple[float, ...] = (0.5, 1.0, 2.0)
    starts: int = 48
    start_width: int = 1024
    widths: tuple[int, ...] = (512, 1024, 2048, 4096)
    width_scale: float = 0.5
    drift_scales: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0)
    scale_width: int = 2048
    seeds: int = 16
    dtype: str = "float64"

    @classmethod
    def profile(cls, name: str) -> Config:
        """`"smoke"`, `"quick"`, `"standard"` or `"full"`."""
        if name == "smoke":
            small: dict[str, Any] = {"n_source": 20, "n_target": 10, "n_test": 4}
            tasks = (SphereTask(**small), DigitsTask(**small))
            narrow: dict[str, Any] = {"widths": (128, 256, 512, 1024), "start_width": 128, "scale_width": 256}
            return cls(tasks=tasks, source_steps=(1, 5), scales=(0.5, 1.0), starts=8, seeds=4, **narrow)
        tasks = (SphereTask(), DigitsTask(n_source=60, n_target=40, n_test=40))
        if name == "quick":
            return cls(tasks=tasks, dtype="float32")
        steps, last = (1, 3, 10, 30, 100), 15 if name == "standard" else 18
        return cls(
            tasks=tasks,
            source_steps=steps,
            scales=(0.25, 0.5, 1.0, 1.5, 2.0),
            starts=128 if name == "standard" else 512,
            start_width=2048,
            widths=tuple(2**e for e in range(10, last)),
            scale_width=8192,
            seeds=16 if name == "standard" else 64,
        )


@dataclass(frozen=True, eq=False)
class _Theory:
    """One task after one length of pretraining: what is left, its covariance at `κ = 1`, and `H_Q`."""

    remaining: np.ndarray
    covariance: np.ndarray
    target: np.ndarray

    def mean(self, quantity: str, scale: float) -> float:
        """Mean of a quantity of `QUANTITIES` over random starts, exact at any width; over starts from zero for `κ = 0`."""
        weight = self.target if quantity == "gradient" else np.eye(len(self.remaining))
        if scale == 0:
            return float(self.remaining @ weight @ self.remaining)
        return start_moments(self.remaining, self.covariance, init_scale=scale, weight=weight).mean


def run(config: Config, cache: Cache) -> dict[str, Any]:
    """Train what is not in the cache yet and return the record's results, claims among them."""
    claims: list[Claim] = []
    cells: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    drifts: list[dict[str, Any]] = []
    seconds = 0.0
    for task in config.tasks:
        theory = dict(zip(config.source_steps, _theories(task, config.source_steps), strict=True))
        random = _specs(config, task, [(config.start_width, s) for s in config.scales], config.starts, antisymmetric=False)
        over_widths = _specs(config, task, [(m, config.width_scale) for m in config.widths], config.seeds)
        over_scales = _specs(config, task, [(config.scale_width, s) for s in config.drift_scales], config.seeds)
        nets = pretrained([*random, *over_widths, *over_scales], cache, f"{NAME}: {task_label(task)}")
        seconds += sum(net["seconds"] for net in nets)
        here = nets[: len(random)]
        for i, scale in enumerate(config.scales):
            more, rows = _at_scale(config, task, theory, scale, here[i * config.starts : (i + 1) * config.starts])
            claims += more
            cells += rows
        widest = nets[len(random) : len(random) + len(over_widths)][-config.seeds :]
        claims += _from_zero(config, task, theory, widest)
        curves.append(_curves(config, task))
        sets = (
            ("width", config.widths, f"κ = {config.width_scale:g}", -0.5, nets[len(random) : len(random) + len(over_widths)]),
            ("κ", config.drift_scales, f"width {config.scale_width:,}", -1.0, nets[len(random) + len(over_widths) :]),
        )
        for axis, places, held, rate, found in sets:
            claim, row = _drift(config, task, theory, (axis, places, held, rate), found)
            claims.append(claim)
            drifts.append(row)
    return {"cells": cells, "curves": curves, "drifts": drifts, "claims": [c.to_dict() for c in claims], "seconds": seconds}


def _specs(
    config: Config, task: SphereTask | DigitsTask, places: Sequence[tuple[int, float]], nets: int, antisymmetric: bool = True
) -> list[PretrainedSpec]:
    """Nets at each width and scale, places outermost."""
    shared: dict[str, Any] = {"task": task, "source_steps": config.source_steps, "antisymmetric": antisymmetric, "dtype": config.dtype}
    return [PretrainedSpec(width=m, init_scale=scale, seed=seed, **shared) for m, scale in places for seed in range(nets)]


def _theories(task: SphereTask | DigitsTask, source_steps: Sequence[int]) -> list[_Theory]:
    problem = problem_of(task)
    assert problem.source is not None
    (X_P, y_P), (X_Q, y_Q) = problem.source, problem.target
    P, H_QP, H_Q = GramSpectrum.of(relu_gram(X_P)), relu_gram(X_Q, X_P), relu_gram(X_Q)
    blocks = output_kernel(X_P), output_kernel(X_Q, X_P), output_kernel(X_Q)
    found = []
    for k in source_steps:
        A = H_QP @ stages.coefficients(P, np.eye(P.size), 1 / P.largest, k)
        found.append(_Theory(y_Q - A @ y_P, start_covariance(*blocks, A), H_Q))
    return found


def _value(net: dict[str, Any], rung: str, index: int, quantity: str) -> float:
    state = net[rung][index]
    return float(state["gradient"]) if quantity == "gradient" else float(np.sum(np.square(state["residual"])))


def _at_scale(
    config: Config, task: SphereTask | DigitsTask, theory: dict[int, _Theory], scale: float, nets: list[dict[str, Any]]
) -> tuple[list[Claim], list[dict[str, Any]]]:
    """Random starts of one scale against the means with their terms in `κ`."""
    where, claims, cells = f"{task_label(task)}, width {config.start_width:,}, random start", [], []
    for index, (k, at_k) in enumerate(theory.items()):
        for quantity, words in QUANTITIES.items():
            predicted, at = at_k.mean(quantity, scale), f"κ = {scale:g}, {k} source steps"
            frozen, trained = ([_value(net, rung, index, quantity) for net in nets] for rung in ("frozen", "trained"))
            drift = estimate([(t - f) / predicted for t, f in zip(trained, frozen, strict=True)])
            claims.append(z_claim(f"frozen kernel: {words}", where, at, estimate(frozen), predicted))
            words = f"trained net: {words}, less its own frozen kernel's (in units of the prediction)"
            claims.append(gap_claim(words, where, at, drift, 0.0, AGREEMENT, relative=False))
            rungs = {"frozen": asdict(estimate(frozen)), "trained": asdict(estimate(trained)), "drift": asdict(drift)}
            about = {"task": task_label(task), "scale": scale, "source_steps": k, "quantity": quantity}
            cells.append({**about, "predicted": predicted, "without": at_k.mean(quantity, 0), **rungs})
    return claims, cells


def _from_zero(config: Config, task: SphereTask | DigitsTask, theory: dict[int, _Theory], nets: list[dict[str, Any]]) -> list[Claim]:
    """The squared gradient of antisymmetric nets, which start from zero outputs."""
    where, words = f"{task_label(task)}, width {config.widths[-1]:,}, zero start", QUANTITIES["gradient"]
    return [
        z_claim(
            f"frozen kernel: {words}",
            where,
            f"{k} source steps",
            estimate([_value(net, "frozen", index, "gradient") for net in nets]),
            at_k.mean("gradient", 0),
        )
        for index, (k, at_k) in enumerate(theory.items())
    ]


def _drift(
    config: Config,
    task: SphereTask | DigitsTask,
    theory: dict[int, _Theory],
    axis: tuple[str, Sequence[float], str, float],
    nets: list[dict[str, Any]],
) -> tuple[Claim, dict[str, Any]]:
    """Length of the mean drift of `r̃` after the longest pretraining, relative to `‖ỹ‖`, along one axis."""
    name, places, held, rate = axis
    size = float(np.linalg.norm(theory[config.source_steps[-1]].remaining))
    values: list[Estimate] = []
    for i in range(len(places)):
        vectors = [
            (np.array(net["trained"][-1]["residual"]) - np.array(net["frozen"][-1]["residual"])) / size
            for net in nets[i * config.seeds : (i + 1) * config.seeds]
        ]
        values.append(bias_and_spread(np.array(vectors))[0])
    fit = fit_exponent(places, values) if all(v.mean > 0 and v.standard_error > 0 for v in values) else None
    where = f"{task_label(task)}, {held}, {config.source_steps[-1]} source steps"
    words = f"exponent in {name}: drift of what pretraining leaves, length of its mean over nets"
    row = {"task": task_label(task), "axis": name, "held": held, "places": list(places), "claimed": rate}
    return exponent_claim(words, where, fit, rate), {**row, "sizes": [asdict(v) for v in values], "fit": fit and asdict(fit)}


def _curves(config: Config, task: SphereTask | DigitsTask) -> dict[str, Any]:
    """The predictions on a fine grid of source steps, for every scale and for a start from zero outputs."""
    last = config.source_steps[-1]
    grid = sorted({*config.source_steps, *(round(last ** (i / 40)) for i in range(41))})
    along = _theories(task, grid)
    means = {q: [{"scale": s, "mean": [each.mean(q, s) for each in along]} for s in (0.0, *config.scales)] for q in QUANTITIES}
    return {"task": task_label(task), "source_steps": grid, **means}
