"""A wide net's neurons, merged where they cannot be told apart: the same run from far fewer.

A neuron farther from every point's hyperplane than any neuron ever moves keeps its side of all of them. Neurons on the same sides, with the
same readout, then move alike, and their outputs and kernel are those of so many copies of their mean: which lies on the same sides, since
these are convex. Nothing is approximated but rounding; counts of neurons are the same whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from theory.bounds.initial_kernel import neuron_movement, operator_norm
from theory.bounds.transfer import KernelErrors, PerturbedTransfer
from theory.definitions import network
from theory.problem import Schedule

_GROWTH = 1.2


@dataclass(frozen=True, eq=False)
class Condensed:
    """A net whose row `r` stands for `copies[r]` equal neurons.

    Attributes
    ----------
    W : (p, d) array
    a : (p,) array
    copies : (p,) int array
    """

    W: np.ndarray
    a: np.ndarray
    copies: np.ndarray


def condensed(W: np.ndarray, a: np.ndarray, X: np.ndarray, reach: float) -> Condensed:
    """Neurons with `|w_r·x| > reach ‖x‖` for every row `x` of `X` merged by sides and readout; the others as they are.

    Parameters
    ----------
    W, a : (m, d), (m,) arrays
    X : (n, d) array
    reach : float ≥ 0
        At least as far as any neuron moves.
    """
    Z = W @ X.T
    near = (np.abs(Z) <= reach * np.linalg.norm(X, axis=1)).any(axis=1)
    far = ~near
    if not far.any():
        return Condensed(W, a, np.ones(len(W), dtype=np.int64))
    sides = np.packbits(np.hstack([Z[far] > 0, a[far, None] > 0]), axis=1)
    words = np.zeros((len(sides), -(-sides.shape[1] // 8) * 8), dtype=np.uint8)
    words[:, : sides.shape[1]] = sides
    keys = words.view(np.uint64) if words.shape[1] > 8 else words.view(np.uint64)[:, 0]
    _, first, kind, copies = np.unique(keys, axis=0, return_index=True, return_inverse=True, return_counts=True)
    kind = kind.reshape(-1)
    means = np.stack([np.bincount(kind, weights=column) for column in W[far].T], axis=1) / copies[:, None]
    return Condensed(
        np.concatenate([means, W[near]]),
        np.concatenate([a[far][first], a[near]]),
        np.concatenate([copies, np.ones(int(near.sum()), dtype=copies.dtype)]),
    )


def measured_run(
    prepared: PerturbedTransfer, W: np.ndarray, a: np.ndarray
) -> tuple[network.NetRun, tuple[KernelErrors, KernelErrors], np.ndarray]:
    """`network.run` and `network.kernel_errors` of a net, and its counts of neurons active at pairs of points at the start.

    Parameters
    ----------
    prepared : PerturbedTransfer
        Problem, schedule with whole numbers of steps, and Gram blocks.
    W, a : (m, d), (m,) arrays

    Returns
    -------
    NetRun (its `W` that of the merged net), the kernel errors in both ways, and (n, n) counts over source, target and test points.
    """
    problem, schedule = prepared.problem, prepared.schedule
    assert problem.source is not None
    X = np.concatenate([pair[0] for pair in (problem.source, problem.target, problem.test) if pair is not None])
    norms = [operator_norm(problem.source[0]), operator_norm(problem.target[0])]
    ideal = [decay.perturbed(0.0).path for decay in (prepared.decay_P, prepared.decay_Q)]
    reach = _GROWTH * neuron_movement(norms, ideal, len(W))
    while True:
        small = condensed(W, a, X, reach)
        net = network.run(problem, schedule, small.W, small.a, small.copies)
        # By induction over steps: while this bound was within reach nothing far had changed sides, so the bound is that of the whole net.
        moved = neuron_movement(norms, _paths(schedule, net), len(W))
        if moved <= reach or len(small.W) == len(W):
            break
        reach = _GROWTH * moved
    errors = network.kernel_errors(problem, schedule, prepared.gram, small.W, small.a, net, small.copies)
    active = (small.W @ X.T > 0).astype(np.float64)
    return net, errors, (active * small.copies[:, None]).T @ active


def _paths(schedule: Schedule, net: network.NetRun) -> list[float]:
    """`η Σ_j ‖r(j)‖` of both stages."""
    assert schedule.source_lr is not None and schedule.target_lr is not None
    stages = ((schedule.source_lr, net.source_residuals), (schedule.target_lr, net.target_residuals))
    return [lr * float(np.linalg.norm(residuals, axis=1).sum()) for lr, residuals in stages]
