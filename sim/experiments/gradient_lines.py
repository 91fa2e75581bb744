"""The loss along the gradient of one net at some steps of fine-tuning: the trained net's own, and that of its frozen kernel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.dynamics import BlockedNet, workers
from sim.frozen import frozen_gram
from sim.networks import initial_net
from sim.records import Cache
from sim.sweep import sweep
from sim.tasks import Task, problem_of
from theory.numeric import landscape, stages
from theory.numeric.gram import relu_gram
from theory.numeric.spectrum import GramSpectrum
from theory.problem import TransferProblem

POINTS = 33
"""Step sizes at which a trained net's loss is evaluated, from 0 on; odd, so that the middle is one of them."""

STARTS = ("pretrained", "scratch")


@dataclass(frozen=True, kw_only=True)
class LineSpec:
    """Everything that the lines of one antisymmetric net with `κ = 1` depend on, beside the code; scalar labels only.

    Parameters
    ----------
    task : Task
    width, seed : int
    source_steps : int
    steps : tuple of int, ascending
        Of the target stage, after which the loss along the gradient is taken.
    rate, reach : float
        Step size of training, and the largest along the gradient, in units of `1/λ_max` of the infinite width's Gram matrices.
    dtype : "float64" or "float32"
        Of the training; the lines are in float64.
    """

    task: Task
    width: int
    seed: int
    source_steps: int
    steps: tuple[int, ...]
    rate: float
    reach: float
    dtype: str = "float64"


def lines(specs: Sequence[LineSpec], cache: Cache, label: str) -> list[dict[str, Any]]:
    """`measured` of each spec, from the cache or computed now and kept."""
    return sweep(measured, specs, cache, label, weight=_work, depends=_data)


def predicted(spec: LineSpec) -> dict[str, list[dict[str, Any]]]:
    """What `measured` holds for a rung, at infinite width; width and seed do not matter."""
    problem = problem_of(spec.task)
    assert problem.source is not None
    (X_P, y_P), (X_Q, y_Q) = problem.source, problem.target
    P, Q = GramSpectrum.of(relu_gram(X_P)), GramSpectrum.of(relu_gram(X_Q))
    transformed = relu_gram(X_Q, X_P) @ stages.coefficients(P, y_P, spec.rate / P.largest, spec.source_steps)
    return _linear(Q, y_Q - transformed, y_Q, spec, Q.largest)


def measured(spec: LineSpec) -> dict[str, Any]:
    """One net from both starts.

    Returns
    -------
    dict of rungs `"trained"` and `"frozen"`, of starts `"pretrained"` and `"scratch"`, of lists over `spec.steps`: `"loss"` along the
    gradient at `POINTS` step sizes from 0 to `reach/λ_max`, `"range"` of it there, `"gradient"`, `‖∂L/∂W‖_F`, `"change"`, that of the
    gradient over one training step, and `"smoothness"`, the change over the length of the step.
    """
    whole = problem_of(spec.task)
    assert whole.source is not None
    (X_P, y_P), (X_Q, y_Q) = whole.source, whole.target
    largest_P, largest = GramSpectrum.of(relu_gram(X_P)).largest, GramSpectrum.of(relu_gram(X_Q)).largest
    W, a = initial_net(spec.width, X_P.shape[1], 1, seed=spec.seed)
    gram = frozen_gram(TransferProblem(source=whole.source, target=whole.target), W, a)
    P, lr_P = GramSpectrum.of(gram.source), spec.rate / largest_P
    left = y_Q - gram.target_source @ stages.coefficients(P, y_P, lr_P, spec.source_steps)
    frozen = _linear(GramSpectrum.of(gram.target), left, y_Q, spec, largest)
    dtype, trained = np.dtype(spec.dtype), {}
    signs = a.astype(dtype)
    with workers(1) as run_map:
        pretrained = BlockedNet(W.astype(dtype), signs, run_map)
        pretrained.descend(X_P.astype(dtype), y_P[:, None].astype(dtype), lr=lr_P, steps=spec.source_steps)
        for start, weights in zip(STARTS, (pretrained.W, W.astype(dtype)), strict=True):
            net = BlockedNet(weights, signs, run_map)
            found: list[dict[str, Any]] = []

            def look(_step: int, _loss: float, _end: bool, net: BlockedNet = net, found: list[dict[str, Any]] = found) -> None:
                found.append(line(net.W.astype(np.float64), a[:, 0], X_Q, y_Q, spec.rate / largest, spec.reach / largest))

            last = spec.steps[-1]
            net.descend(
                X_Q.astype(dtype), y_Q[:, None].astype(dtype), lr=spec.rate / largest, steps=last, record=spec.steps, on_record=look
            )
            trained[start] = found
    return {"trained": trained, "frozen": frozen}


def line(W: np.ndarray, a: np.ndarray, X: np.ndarray, y: np.ndarray, lr: float, reach: float) -> dict[str, Any]:
    """Loss along the gradient of the net `W`, `a` (±1) with one output, and the gradient's change over a step of size `lr`."""
    Z, scale = W @ X.T, 1 / math.sqrt(len(W))

    def residual(step_size: float) -> np.ndarray:
        return np.asarray(y - scale * (a @ np.maximum(Z + step_size * along, 0)))

    def descent(gates: np.ndarray, left: np.ndarray) -> np.ndarray:
        # The readouts' signs are left out: they change no norm.
        return np.asarray(scale * ((gates * left) @ X))

    along = np.zeros_like(Z)
    direction = descent(Z > 0, residual(0.0))
    along = (a[:, None] * direction) @ X.T
    losses = [float(np.sum(residual(size) ** 2)) / 2 for size in np.linspace(0, reach, POINTS)]
    after = descent(Z + lr * along > 0, residual(lr))
    size, change = float(np.linalg.norm(direction)), float(np.linalg.norm(after - direction))
    return _state(losses, max(losses) - _least(losses), size, change, lr)


def _least(losses: Sequence[float]) -> float:
    """Of a parabola through the least point and its neighbours, which a frozen kernel's loss is; the least point at an end."""
    i = min(range(len(losses)), key=losses.__getitem__)
    if i in (0, len(losses) - 1):
        return losses[i]
    before, here, after = losses[i - 1 : i + 2]
    return here - (after - before) ** 2 / (8 * (after - 2 * here + before))


def _linear(
    spectrum: GramSpectrum, remaining: np.ndarray, labels: np.ndarray, spec: LineSpec, largest: float
) -> dict[str, list[dict[str, Any]]]:
    """Both starts on a frozen kernel: `ỹ` and the labels are what they have to learn."""
    found: dict[str, list[dict[str, Any]]] = {}
    lr, reach = spec.rate / largest, spec.reach / largest
    for start, y in zip(STARTS, (remaining, labels), strict=True):
        found[start] = []
        for k in spec.steps:
            r = stages.residual(spectrum, y, lr, k)
            losses = [landscape.loss_along_gradient(spectrum, r, size) for size in np.linspace(0, reach, POINTS).tolist()]
            low, high = landscape.loss_range_along_gradient(spectrum, r, 0.0, reach)
            size, change = landscape.gradient_norm(spectrum, r), landscape.gradient_change(spectrum, r, lr)
            found[start].append(_state(losses, high - low, size, change, lr))
    return found


def _state(losses: list[float], span: float, gradient: float, change: float, lr: float) -> dict[str, Any]:
    return {"loss": losses, "range": span, "gradient": gradient, "change": change, "smoothness": change / (lr * gradient)}


def _work(spec: LineSpec) -> float:
    # A line costs about as much as some forty steps.
    return spec.width * (spec.source_steps + 2 * spec.steps[-1] + 80.0 * len(spec.steps))


def _data(spec: LineSpec) -> str:
    return problem_of(spec.task).content_hash
