"""One net at one input similarity, pretrained and fine-tuned at every angle between labels, with its frozen kernel beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sim.dials import DialSets, DialTask
from sim.dynamics import BlockedNet
from sim.frozen import empirical_kernel
from sim.networks import initial_net
from theory.numeric import stages
from theory.numeric.gram import relu_gram
from theory.numeric.spectrum import GramSpectrum, integral_filter
from theory.threads import at_most_threads, workers


@dataclass(frozen=True, kw_only=True)
class PhaseRun:
    """Everything one net depends on, beside the code.

    Parameters
    ----------
    task : DialTask
        Its angle is not used. Each net has Gaussian teachers of its own, with the net's seed for theirs.
    angles : tuple of float
        Between source and target labels, in degrees.
    width, seed : int
    source_steps, target_steps : int
        Of size `1/λ_max` of the infinite-width Gram matrices.
    teachers : int
        Gaussian teachers that the frozen kernel is tried on; the net itself is trained on the first.
    dtype : "float64" or "float32"
    """

    task: DialTask
    angles: tuple[float, ...]
    width: int
    seed: int
    source_steps: int
    target_steps: int
    teachers: int = 1
    dtype: str = "float64"


@dataclass(frozen=True, eq=False)
class Stages:
    """Linear maps of the kernel regime for one pair of Gram matrices.

    Attributes
    ----------
    transfer : (n_Q, n_P) array
        `H_QP φ(H_P)`: from source labels to what a pretrained net outputs on the target.
    move : (n_Q, n_Q) array
        `√H_Q φ(H_Q)`: from what is left to learn to a vector as long as the displacement.
    """

    transfer: np.ndarray
    move: np.ndarray

    @classmethod
    def of(cls, H_P: np.ndarray, H_Q: np.ndarray, H_QP: np.ndarray, rates: tuple[float, float], steps: tuple[int, int]) -> Stages:
        """From the blocks of a Gram matrix, and step sizes and numbers of steps of both stages."""
        P, Q = GramSpectrum.of(H_P), GramSpectrum.of(H_Q)
        phi = integral_filter(Q.values, rates[1], steps[1])
        move = (Q.vectors * (phi * np.sqrt(np.maximum(Q.values, 0)))) @ Q.vectors.T
        return cls(H_QP @ stages.coefficients(P, np.eye(len(H_P)), rates[0], steps[0]), move)

    def displacements(self, sets: DialSets, angles: Sequence[float]) -> tuple[float, list[float]]:
        """Displacement in the target stage from scratch, and after pretraining at each angle."""
        scratch = float(np.linalg.norm(self.move @ sets.f_Q))
        return scratch, [float(np.linalg.norm(self.move @ (sets.f_Q - self.transfer @ sets.source_labels(a)))) for a in angles]


def infinite_width(task: DialTask, source_steps: int, target_steps: int) -> Stages:
    """The maps at infinite width."""
    sets = task.sets()
    H_P, H_Q = relu_gram(sets.X_P), relu_gram(sets.X_Q)
    return Stages.of(H_P, H_Q, relu_gram(sets.X_Q, sets.X_P), _rates(H_P, H_Q), (source_steps, target_steps))


def data_of(run: PhaseRun) -> str:
    """Hash of the data that a run only names."""
    return run.task.problem().content_hash


def train(run: PhaseRun) -> dict[str, Any]:
    """Train one net at every angle.

    Returns
    -------
    dict
        `trained`, `frozen`: displacements in the target stage, from scratch first and then at every angle; with Gaussian teachers
        `squares`, the squares of the frozen ones in the mean over `teachers` teachers.
    """
    # One thread for all of it, asked for once: each question costs as much as a small net.
    with at_most_threads(1), workers() as run_map:
        return _train(run, run_map)


def _train(run: PhaseRun, run_map: Callable[..., Any]) -> dict[str, Any]:
    gaussian = run.task.teacher == "gaussian"
    task = replace(run.task, teacher_seed=run.seed * run.teachers) if gaussian else run.task
    sets = task.sets()
    rates = _rates(relu_gram(sets.X_P), relu_gram(sets.X_Q))
    W, a = initial_net(run.width, sets.X_P.shape[1], 1, seed=run.seed)
    own = Stages.of(
        empirical_kernel(W, sets.X_P),
        empirical_kernel(W, sets.X_Q),
        empirical_kernel(W, sets.X_Q, sets.X_P),
        rates,
        (run.source_steps, run.target_steps),
    )
    scratch, after = own.displacements(sets, run.angles)
    result: dict[str, Any] = {"trained": _trained(run, sets, rates, W, a, run_map), "frozen": [scratch, *after]}
    if gaussian:
        squares = np.zeros(1 + len(run.angles))
        for number in range(run.teachers):
            teacher = replace(task, teacher_seed=task.teacher_seed + number).sets()
            scratch, after = own.displacements(teacher, run.angles)
            squares += np.square([scratch, *after])
        result["squares"] = (squares / run.teachers).tolist()
    return result


def _trained(
    run: PhaseRun, sets: DialSets, rates: tuple[float, float], W: np.ndarray, a: np.ndarray, run_map: Callable[..., Any]
) -> list[float]:
    dtype = np.dtype(run.dtype)
    X_P, X_Q, f_Q, start, signs = (part.astype(dtype) for part in (sets.X_P, sets.X_Q, sets.f_Q[:, None], W, a))

    def tuned(weights: np.ndarray) -> float:
        net = BlockedNet(weights, signs, run_map)
        return net.descend(X_Q, f_Q, lr=rates[1], steps=run.target_steps).displacement[-1]

    found = [tuned(start.copy())]
    for angle in run.angles:
        net = BlockedNet(start.copy(), signs, run_map)
        net.descend(X_P, sets.source_labels(angle)[:, None].astype(dtype), lr=rates[0], steps=run.source_steps)
        found.append(tuned(net.W))
    return found


def _rates(H_P: np.ndarray, H_Q: np.ndarray) -> tuple[float, float]:
    return 1 / GramSpectrum.of(H_P).largest, 1 / GramSpectrum.of(H_Q).largest
