"""What random initial weights do at finite width, against the exact formulas: nothing is trained, so many nets can be drawn.

Claims tested. Initial outputs have covariance `κ²Σ`. After pretraining from such a start through the infinite width's kernel, gradient
energy, squared gradient and squared displacement on the target have the means of theorem 1 at any width, and the gradient energy the
variance, which differs from that of Gaussian outputs by a term in `1/m`; with a net's own frozen kernel in place of the infinite width's,
the mean over signs holds net by net. (How near that kernel is to the infinite width's is tested in `gram_concentration`, nets that are
trained in `theorem_1`.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from sim.estimate import Estimate, estimate
from sim.experiments.arms import task_label
from sim.experiments.claims import Claim, z_claim
from sim.networks import initial_net
from sim.records import Cache
from sim.rng import generator
from sim.sweep import sweep
from sim.tasks import DigitsTask, SphereTask, problem_of
from theory.numeric import stages
from theory.numeric.gram import relu_gram
from theory.numeric.gram_fluctuation import inner_products
from theory.numeric.initialisation import output_kernel, start_covariance, start_moments
from theory.numeric.spectrum import GramSpectrum, integral_filter

NAME = "initialisation"
TITLE = "Random initial weights: their outputs, and what a random start leaves"

SCALES = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
"""Initial scales at which random starts are recorded, as multiples of `κ`: outputs are proportional to it."""

NARROW = 2
"""Width at which one output's square is far from that of a Gaussian variable."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the experiment; the standard profile has four times the draws, and eight times the neurons.

    Parameters
    ----------
    tasks : tuple
    width : int
        Narrow, as terms in `1/m` are largest there.
    seeds : int ≥ 2
        Batches of nets, each with seeds of its own.
    start_nets, kernel_nets : int
        Nets in a batch: for random starts, and for those with their own kernel frozen.
    neurons : int
        Single neurons from which the fourth moment in the variance is estimated.
    init_scale : float
    source_steps, target_steps : int
    dtype : "float64"
    """

    tasks: tuple[SphereTask | DigitsTask, ...]
    width: int = 64
    seeds: int = 16
    start_nets: int = 256
    kernel_nets: int = 16
    neurons: int = 1 << 18
    init_scale: float = 1.0
    source_steps: int = 100
    target_steps: int = 100
    dtype: str = "float64"

    @classmethod
    def profile(cls, name: str) -> Config:
        """`"smoke"`, `"quick"`, `"standard"` or `"full"`."""
        if name == "smoke":
            small: dict[str, Any] = {"n_source": 20, "n_target": 10, "n_test": 40}
            tasks = (SphereTask(**small), DigitsTask(**small))
            return cls(tasks=tasks, seeds=4, start_nets=32, kernel_nets=6, neurons=1 << 13)
        tasks = (SphereTask(), DigitsTask(n_source=80, n_target=40, n_test=40))
        if name == "quick":
            return cls(tasks=tasks)
        return cls(tasks=tasks, seeds=64 if name == "standard" else 256, neurons=1 << 21)


def run(config: Config, cache: Cache) -> dict[str, Any]:
    """Compute what is not in the cache yet and return the record's results, claims among them."""
    whole = replace(config, tasks=())
    parts = [Part(name=name, task=task, config=whole) for task in config.tasks for name in _PARTS]
    done = sweep(examined, parts, cache, NAME, depends=lambda part: problem_of(part.task).content_hash)
    shown: dict[str, list[dict[str, Any]]] = {"starts": []}
    for found in done:
        for name, rows in found["rows"].items():
            shown[name] += rows
    claims = [claim for found in done for claim in found["claims"]]
    return {**shown, "claims": claims, "seconds": sum(found["seconds"] for found in done)}


@dataclass(frozen=True, kw_only=True)
class Part:
    """One of `_PARTS` for one task; `config` without tasks."""

    name: str
    task: SphereTask | DigitsTask
    config: Config


def examined(part: Part) -> dict[str, Any]:
    """The claims and the figure's rows of one part."""
    claims, rows = _PARTS[part.name](part.config, part.task)
    return {"claims": [c.to_dict() for c in claims], "rows": rows}


def _seeds(config: Config, nets: int) -> Iterator[int]:
    """Seeds of all batches' nets."""
    for batch in range(config.seeds):
        yield from range(batch * nets, (batch + 1) * nets)


def _active(W: np.ndarray, X: np.ndarray) -> np.ndarray:
    return (W @ X.T > 0).astype(np.float64)


@dataclass(frozen=True, eq=False)
class _Kernel:
    """Both stages' Gram blocks, and what is left on the target by one or another start."""

    source: np.ndarray
    target: np.ndarray
    target_source: np.ndarray

    @classmethod
    def of(cls, H: np.ndarray, n_P: int) -> _Kernel:
        return cls(H[:n_P, :n_P], H[n_P:, n_P:], H[n_P:, :n_P])

    def transfer(self, steps: int, lr: float) -> np.ndarray:
        """`A = H_QP φ_k(H_P)`."""
        P = GramSpectrum.of(self.source)
        return self.target_source @ stages.coefficients(P, np.eye(P.size), lr, steps)


def _starts(config: Config, task: SphereTask | DigitsTask) -> tuple[list[Claim], dict[str, list[dict[str, Any]]]]:
    """Outputs of random starts, and what they leave on the target through the infinite width's kernel."""
    problem, m, kappa = problem_of(task), config.width, config.init_scale
    assert problem.source is not None
    (X_P, y_P), (X_Q, y_Q) = problem.source, problem.target
    X, n_P = np.concatenate([X_P, X_Q]), len(X_P)
    kernel, sigma = _Kernel.of(relu_gram(X), n_P), output_kernel(X)
    A = kernel.transfer(config.source_steps, 1 / GramSpectrum.of(kernel.source).largest)
    S = start_covariance(sigma[:n_P, :n_P], sigma[n_P:, :n_P], sigma[n_P:, n_P:], A)
    remaining = y_Q - A @ y_P
    Q = GramSpectrum.of(kernel.target)
    phi = integral_filter(Q.values, 1 / Q.largest, config.target_steps)
    weights = {
        "gradient energy ‖r̃‖²": np.eye(Q.size),
        "squared gradient r̃ᵀH_Q r̃": kernel.target,
        "squared displacement": Q.apply(phi * phi * Q.values, np.eye(Q.size)),
    }
    outputs = np.array([_outputs(m, X, kappa, seed) for seed in _seeds(config, config.start_nets)])
    where = f"{task_label(task)}, width {m:,}, κ = {kappa:g}"
    size = kappa**2 * float(np.trace(sigma))
    claims = [z_claim("initial outputs: sum of squares", where, "", estimate(np.sum(outputs**2, axis=1)), size)]
    top = np.linalg.eigh(sigma)[1][:, -1]
    largest = kappa**2 * float(top @ sigma @ top)
    claims.append(z_claim("initial outputs: along the top eigenvector of Σ", where, "", estimate((outputs @ top) ** 2), largest))
    left = remaining - (outputs[:, n_P:] - outputs[:, :n_P] @ A.T)
    fourth = _fourth_moment(config, task, X, n_P, A)
    for words, M in weights.items():
        energies = np.einsum("si,ij,sj->s", left, M, left)
        predicted = start_moments(remaining, S, init_scale=kappa, weight=M)
        claims.append(z_claim(f"mean over random starts: {words}", where, "", estimate(energies), predicted.mean))
        if words.startswith("gradient energy"):
            predicted = start_moments(remaining, S, init_scale=kappa, width=m, fourth_moment=fourth)
            claims.append(z_claim(f"variance over random starts: {words}", where, "", _variance(energies), predicted.variance))
    claims.append(_narrow(config, task, X_Q[:1]))
    row: dict[str, Any] = {"task": task_label(task), "width": m, "without": float(np.sum(remaining**2)), "cells": []}
    for s in SCALES:
        energies = np.sum((remaining - s * (remaining - left)) ** 2, axis=1)
        moments = {"energy": asdict(estimate(energies)), "variance": asdict(_variance(energies))}
        row["cells"].append({"scale": kappa * s, **moments})
    scales = [kappa * SCALES[-1] * i / 60 for i in range(1, 61)]
    along = [start_moments(remaining, S, init_scale=s, width=m, fourth_moment=fourth) for s in scales]
    row["curve"] = {"scale": scales, "energy": [each.mean for each in along], "variance": [each.variance for each in along]}
    return claims, {"starts": [row]}


def _narrow(config: Config, task: SphereTask | DigitsTask, x: np.ndarray) -> Claim:
    """The square of one output, for which the term in `1/m` is large and its fourth moment known: `E σ(w·x)⁴ = 3‖x‖⁴/2`."""
    squares = np.array([_outputs(NARROW, x, config.init_scale, seed)[0] ** 2 for seed in _seeds(config, config.start_nets)])
    fourth = 1.5 * float(np.sum(x**2)) ** 2
    predicted = start_moments(np.zeros(1), output_kernel(x), init_scale=config.init_scale, width=NARROW, fourth_moment=fourth)
    where = f"{task_label(task)}, width {NARROW}, κ = {config.init_scale:g}"
    return z_claim("variance over random starts: square of one output", where, "", _variance(squares), predicted.variance)


def _outputs(m: int, X: np.ndarray, kappa: float, seed: int) -> np.ndarray:
    W, a = initial_net(m, X.shape[1], 1, init_scale=kappa, antisymmetric=False, seed=seed)
    return (a[:, 0] @ np.maximum(W @ X.T, 0)) / np.sqrt(m)


def _fourth_moment(config: Config, task: SphereTask | DigitsTask, X: np.ndarray, n_P: int, A: np.ndarray) -> float:
    """The fourth moment of one neuron, estimated from many; it enters variances over `m`, and so does its error."""
    squares = []
    for block in range(0, config.neurons, 1 << 13):
        w = generator(f"single neurons {task.name}", block).standard_normal((min(1 << 13, config.neurons - block), X.shape[1]))
        activations = np.maximum(w @ X.T, 0)
        squares.append(np.sum((activations[:, n_P:] - activations[:, :n_P] @ A.T) ** 2, axis=1))
    return float(np.mean(np.concatenate(squares) ** 2))


def _variance(values: np.ndarray) -> Estimate:
    """Sample variance with the standard error of a mean of squares."""
    squares = (values - values.mean()) ** 2 * len(values) / (len(values) - 1)
    return estimate(squares)


def _own_kernel(config: Config, task: SphereTask | DigitsTask) -> tuple[list[Claim], dict[str, list[dict[str, Any]]]]:
    """Gradient energy through each net's own frozen kernel, less its mean over the readouts' signs, which the formula gives net by net."""
    problem, m, kappa = problem_of(task), config.width, config.init_scale
    assert problem.source is not None
    (X_P, y_P), (X_Q, y_Q) = problem.source, problem.target
    X, n_P = np.concatenate([X_P, X_Q]), len(X_P)
    G, lr = inner_products(X), 1 / GramSpectrum.of(relu_gram(X_P)).largest
    gaps, means = [], []
    for seed in _seeds(config, config.kernel_nets):
        W, a = initial_net(m, X.shape[1], 1, init_scale=kappa, antisymmetric=False, seed=seed)
        Z = np.maximum(W @ X.T, 0)
        D = (Z > 0).astype(np.float64)
        A = _Kernel.of(G * (D.T @ D) / m, n_P).transfer(config.source_steps, lr)
        sigma, u = Z.T @ Z / m / kappa**2, (a[:, 0] @ Z) / np.sqrt(m)
        S = start_covariance(sigma[:n_P, :n_P], sigma[n_P:, :n_P], sigma[n_P:, n_P:], A)
        mean = start_moments(y_Q - A @ y_P, S, init_scale=kappa).mean
        gaps.append(float(np.sum((y_Q - u[n_P:] - A @ (y_P - u[:n_P])) ** 2)) - mean)
        means.append(mean)
    where, scale = f"{task_label(task)}, width {m:,}, κ = {kappa:g}", float(np.mean(means))
    words = "frozen kernel: gradient energy after a random start, less its mean over signs (relative)"
    return [z_claim(words, where, "", estimate([g / scale for g in gaps]), 0.0)], {}


_PARTS = {"starts": _starts, "own kernel": _own_kernel}
