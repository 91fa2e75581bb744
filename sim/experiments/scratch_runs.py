"""Nets trained on one set from their random start, with their frozen kernels and infinite width beside them at every recorded step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from sim.dynamics import BlockedNet
from sim.frozen import empirical_kernel
from sim.networks import initial_net
from sim.rng import generator
from sim.tasks import DigitsTask, SphereTask, problem_of
from theory.first_order_drift import first_order_drift
from theory.numeric import stages
from theory.numeric.gram import relu_gram
from theory.numeric.spectrum import GramSpectrum
from theory.threads import at_most_threads, workers


@dataclass(frozen=True, kw_only=True)
class ScratchRun:
    """Everything some nets that differ in their seeds alone depend on, beside the code.

    Parameters
    ----------
    task : SphereTask or DigitsTask
        Of which the target set is trained on, and the test set is looked at.
    width : int
    steps : tuple of int, ascending
        At least 1; recorded, the last is the end.
    first_seed, nets : int
        Seeds are `first_seed` and the `nets − 1` that follow.
    rate : float
        Step size in units of `1/λ_max`; above 2 the theory is unstable.
    own_rate : bool
        `λ_max` is that of the net's own frozen kernel, and not of the infinite-width Gram matrix.
    init_scale : float
        `κ`.
    antisymmetric : bool
    label_scale : float
        Factor on the labels.
    random_labels : bool
        Fair coin flips in place of the task's labels: nothing is harder to fit.
    compare : bool
        Whether to hold the nets against infinite width and their frozen kernels.
    dtype : "float64" or "float32"
    """

    task: SphereTask | DigitsTask
    width: int
    steps: tuple[int, ...]
    first_seed: int = 0
    nets: int = 1
    rate: float = 0.5
    own_rate: bool = False
    init_scale: float = 1.0
    antisymmetric: bool = True
    label_scale: float = 1.0
    random_labels: bool = False
    compare: bool = True
    dtype: str = "float64"

    @property
    def cost(self) -> float:
        """Relative time they take."""
        return float(self.nets * self.width * (2 + self.steps[-1]))


@dataclass(frozen=True, eq=False)
class Setting:
    """What all nets on one set have in common.

    Attributes
    ----------
    X, y : (n, d), (n,) arrays
    test : (n_T, d) array
    spectrum : GramSpectrum of the infinite-width Gram matrix
    cross : (n_T, n) array
        The infinite-width Gram function between test and training points.
    """

    X: np.ndarray
    y: np.ndarray
    test: np.ndarray
    spectrum: GramSpectrum
    cross: np.ndarray

    def lr(self, rate: float) -> float:
        """`rate/λ_max`."""
        return rate / self.spectrum.largest

    def displacement(self, rate: float, steps: int) -> float:
        """At infinite width."""
        return stages.displacement(self.spectrum, self.y, self.lr(rate), steps)

    def outputs(self, rate: float, steps: int) -> np.ndarray:
        """Infinite-width outputs from zero, on training points and then on test points."""
        gamma = stages.coefficients(self.spectrum, self.y, self.lr(rate), steps)
        return np.concatenate([self.y - stages.residual(self.spectrum, self.y, self.lr(rate), steps), self.cross @ gamma])


@lru_cache(maxsize=32)
def setting(task: SphereTask | DigitsTask, random_labels: bool = False, label_scale: float = 1.0) -> Setting:
    """The target set of a task, and what infinite width says on it."""
    problem = problem_of(task)
    X, y = problem.target
    assert problem.test is not None
    if random_labels:
        y = generator("random labels", task.seed).choice([-1.0, 1.0], len(X))
    test = problem.test[0]
    return Setting(X, label_scale * y, test, GramSpectrum.of(relu_gram(X)), relu_gram(test, X))


def data_of(run: ScratchRun | DriftTheory) -> str:
    """Hash of the data that a run only names."""
    return problem_of(run.task).content_hash


def train(run: ScratchRun) -> dict[str, Any]:
    """Train the nets.

    Returns
    -------
    dict
        `nets`, a list with for each net: `records`, one for each recorded step unless nothing is compared: `displacement` and `loss` of
        the net, `frozen_displacement` and `frozen_loss` of its own frozen kernel; and parts of the output gap to infinite width, each a
        pair of lists, on training and on test points, relative to the length of the infinite-width outputs there: `start`, what is left
        of the initial outputs; `sampling`, the rest of the gap of the frozen kernel; `drift`, net less frozen kernel. And `sharpness`, `η
        λ_max` of the net's kernel after the last step.
    """
    # One thread for all of it, asked for once: each question costs as much as a small net.
    with at_most_threads(1), workers() as run_map:
        return {"nets": [_train(run, run.first_seed + i, run_map) for i in range(run.nets)]}


def _train(run: ScratchRun, seed: int, run_map: Callable[..., Any]) -> dict[str, Any]:
    about = setting(run.task, run.random_labels, run.label_scale)
    X, y = about.X, about.y
    points, n = np.concatenate([X, about.test]), len(X)
    W, a = initial_net(run.width, X.shape[1], 1, init_scale=run.init_scale, antisymmetric=run.antisymmetric, seed=seed)
    own, cross = GramSpectrum.of(empirical_kernel(W, X)), empirical_kernel(W, about.test, X)
    lr = run.rate / own.largest if run.own_rate else about.lr(run.rate)
    dtype = np.dtype(run.dtype)
    seen: dict[int, np.ndarray] = {}
    start = BlockedNet(W, a, run_map).outputs(points)[:, 0]
    net = BlockedNet(W.astype(dtype), a.astype(dtype), run_map)
    fed = points.astype(dtype)

    def look(step: int, loss: float, end: bool) -> None:
        seen[step] = net.outputs(fed)[:, 0]

    descent = net.descend(fed[:n], y[:, None].astype(dtype), lr=lr, steps=run.steps[-1], record=run.steps, on_record=look)
    moved, loss = (dict(zip(descent.steps, values, strict=True)) for values in (descent.displacement, descent.loss))

    def outputs(spectrum: GramSpectrum, cross: np.ndarray, start: np.ndarray, k: int) -> np.ndarray:
        # At the training points through the residual: exact there even where the kernel is nearly singular.
        gamma = stages.coefficients(spectrum, y - start[:n], lr, k)
        return np.concatenate([y - stages.residual(spectrum, y - start[:n], lr, k), start[n:] + cross @ gamma])

    records, nothing = [], np.zeros(len(points))
    for k in run.steps if run.compare else ():
        predicted, frozen = outputs(about.spectrum, about.cross, nothing, k), outputs(own, cross, start, k)
        from_zero = outputs(own, cross, nothing, k)
        sizes = np.linalg.norm(predicted[:n]), np.linalg.norm(predicted[n:])

        def relative(gap: np.ndarray, sizes: tuple[Any, Any] = sizes) -> list[list[float]]:
            return [(part / size).tolist() for part, size in zip((gap[:n], gap[n:]), sizes, strict=True)]

        records.append(
            {
                "displacement": moved[k],
                "loss": loss[k],
                "frozen_displacement": stages.displacement(own, y - start[:n], lr, k),
                "frozen_loss": stages.loss(own, y - start[:n], lr, k),
                "start": relative(frozen - from_zero),
                "sampling": relative(from_zero - predicted),
                "drift": relative(seen[k] - frozen),
            }
        )
    sharpness = lr * GramSpectrum.of(empirical_kernel(net.W, fed[:n]).astype(np.float64)).largest
    return {"records": records, "sharpness": sharpness}


@dataclass(frozen=True, kw_only=True)
class DriftTheory:
    """A first-order prediction of the drift: fields as in `ScratchRun`, and the directions that it averages over."""

    task: SphereTask | DigitsTask
    steps: int
    rate: float = 0.5
    random_labels: bool = False
    directions: int = 64

    @property
    def cost(self) -> float:
        """Relative time it takes."""
        return float(self.steps)


def expected_drift(wanted: DriftTheory) -> dict[str, Any]:
    """`κ√m` times the first-order drift.

    Returns
    -------
    dict
        `displacement`: of `D/D_frozen − 1`, with its `displacement_error`; `outputs`: of the outputs on training points relative to the
        length of the infinite-width ones, a list, with `outputs_error`; `log_loss`: of the logarithm of the loss.
    """
    about = setting(wanted.task, wanted.random_labels)
    lr = about.lr(wanted.rate)
    drift = first_order_drift(about.X, about.y, lr, wanted.steps, directions=wanted.directions)
    size = np.linalg.norm(about.outputs(wanted.rate, wanted.steps)[: len(about.y)])
    left = stages.residual(about.spectrum, about.y, lr, wanted.steps)
    return {
        "displacement": drift.displacement,
        "displacement_error": drift.displacement_error,
        # The residual rises where outputs fall.
        "outputs": (-drift.residual / size).tolist(),
        "outputs_error": (drift.residual_error / size).tolist(),
        "log_loss": float(2 * (left @ drift.residual) / (left @ left)),
    }
