"""The two-layer ReLU net itself, trained literally in both stages, and how far its kernel is from `H` on the way.

`W: (m, d)`, `a: (m,)`, outputs `m^{-1/2} Σ_r a_r max(w_r·x, 0)`; plain gradient descent on `½‖u − y‖²`. Neurons meet only in the
outputs: once the residuals of a run are known, each neuron's path can be run again by itself, and the kernel is summed over chunks of them.

Everywhere `copies` may be given, an (m,) array of whole numbers: row `r` then stands for that many neurons equal to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from theory.arrays import to_numpy
from theory.bounds.initial_kernel import operator_norm
from theory.bounds.transfer import KernelErrors
from theory.errors import InvalidInput
from theory.predict import GramBlocks
from theory.problem import Schedule, TransferProblem

_CHUNK = 1 << 15


@dataclass(frozen=True, kw_only=True, eq=False)
class NetRun:
    """What a net did.

    Attributes
    ----------
    source_residuals, target_residuals : (k_P, n_P), (k_Q, n_Q) arrays
        `r(j)` before each step.
    source_displacement, displacement : float
        `‖W(P) − W(0)‖_F` and `‖W(Q) − W(P)‖_F`.
    farthest : float
        How far the neuron that moved most was ever from its start.
    gradient_energy : float
        `‖u_Q − y_Q‖²` at the start of fine-tuning.
    source_outputs, target_outputs, test_outputs : array or None
        After both stages.
    W : (m, d) array
        After both stages.
    """

    source_residuals: np.ndarray
    target_residuals: np.ndarray
    source_displacement: float
    displacement: float
    farthest: float
    gradient_energy: float
    source_outputs: np.ndarray
    target_outputs: np.ndarray
    test_outputs: np.ndarray | None
    W: np.ndarray


def initial(width: int, dimension: int, init_scale: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`W(0)` and signs of an antisymmetric net."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, width, dimension]))
    half = init_scale * rng.standard_normal((width // 2, dimension))
    return np.concatenate([half, half]), np.concatenate([np.ones(width // 2), -np.ones(width // 2)])


def outputs(W: np.ndarray, a: np.ndarray, X: np.ndarray, copies: np.ndarray | None = None) -> np.ndarray:
    """`u` on the rows of `X`."""
    return (a if copies is None else copies * a) @ np.maximum(W @ X.T, 0) / math.sqrt(_width(W, copies))


def run(problem: TransferProblem, schedule: Schedule, W: np.ndarray, a: np.ndarray, copies: np.ndarray | None = None) -> NetRun:
    """Train on the source, then on the target; `schedule` holds whole numbers of steps and step sizes."""
    (X_P, y_P), (X_Q, y_Q), test = _sets(problem)
    W_0, W = W, W.copy()
    source, far_P = _descend(W, a, X_P, y_P, *_stage(schedule, "source"), W_0, copies)
    W_P = W.copy()
    start = y_Q - outputs(W, a, X_Q, copies)
    target, far_Q = _descend(W, a, X_Q, y_Q, *_stage(schedule, "target"), W_0, copies)
    return NetRun(
        source_residuals=source,
        target_residuals=target,
        source_displacement=_distance(W_P, W_0, copies),
        displacement=_distance(W, W_P, copies),
        farthest=max(far_P, far_Q),
        gradient_energy=float(start @ start),
        source_outputs=outputs(W, a, X_P, copies),
        target_outputs=outputs(W, a, X_Q, copies),
        test_outputs=None if test is None else outputs(W, a, test, copies),
        W=W,
    )


def kernel_errors(
    problem: TransferProblem,
    schedule: Schedule,
    gram: GramBlocks,
    W: np.ndarray,
    a: np.ndarray,
    net: NetRun,
    copies: np.ndarray | None = None,
) -> tuple[KernelErrors, KernelErrors]:
    """What `KernelErrors` holds, measured along the run `net` from `W`, `a`: kernels between all pairs of its steps, slopes included.

    Once in operator norm, and once as the smaller `‖E r(j)‖/‖r(j)‖` and `|r(j)ᵀE r(l)|/(‖r(j)‖‖r(l)‖)`, which is all the bounds need.
    """
    (X_P, _), (X_Q, _), test = _sets(problem)
    stages = {"source": (X_P, net.source_residuals), "target": (X_Q, net.target_residuals)}
    other = {"source": X_Q, "target": X_P}
    H = {key: to_numpy(block) for key, block in vars(gram).items() if block is not None}
    width, sums = _width(W, copies), dict[str, np.ndarray]()
    for low in range(0, len(W), _CHUNK):
        rows = slice(low, low + _CHUNK)
        weights, signs = W[rows].copy(), a[rows]
        number = np.ones(len(weights)) if copies is None else copies[rows]
        for stage, (X, residuals) in stages.items():
            lr = _stage(schedule, stage)[1]
            gates = np.empty((len(residuals), len(X), len(weights)), dtype=np.float32)
            for j, r in enumerate(residuals):
                before = weights.copy()
                gates[j] = (weights @ X.T > 0).T
                weights += lr / math.sqrt(width) * signs[:, None] * ((gates[j].T * r) @ X)
                for name, points in (("own", X), ("other", other[stage]), ("test", test)):
                    if points is not None:
                        counts = _slopes(before @ points.T, weights @ points.T).T @ (number * gates[j]).T
                        total = sums.setdefault(f"{stage} {name}", np.zeros((len(residuals), *counts.shape)))
                        total[j] += counts
            flat = gates.reshape(-1, len(weights))
            # Whole numbers below 2²⁴, exact in float32.
            sums[f"{stage} moments"] = sums.get(f"{stage} moments", 0) + ((number * flat).astype(flat.dtype) @ flat.T).astype(np.float64)

    def block(key: str, points: np.ndarray, stage: str, block: np.ndarray) -> tuple[float, float]:
        X, residuals = stages[stage]
        errors = [count / width * (points @ X.T) - block for count in sums.get(key, ())]
        along = max((_along(E, r) for E, r in zip(errors, residuals, strict=True)), default=0.0)
        return max(map(operator_norm, errors), default=0.0), along

    def moments(stage: str) -> tuple[float, float]:
        X, residuals = stages[stage]
        k, n = len(residuals), len(X)
        errors = sums[f"{stage} moments"].reshape(k, n, k, n) / width * (X @ X.T)[:, None] - H[stage][:, None]
        units = residuals / np.linalg.norm(residuals, axis=1, keepdims=True).clip(np.finfo(float).tiny)
        along = float(np.abs(np.einsum("ip,ipjq,jq->ij", units, errors, units)).max(initial=0.0))
        return max((operator_norm(errors[i, :, j]) for i in range(k) for j in range(i, k)), default=0.0), along

    measured = {
        "source": block("source own", X_P, "source", H["source"]),
        "target": block("target own", X_Q, "target", H["target"]),
        "target_source": block("source other", X_Q, "source", H["target_source"]),
        "source_target": block("target other", X_P, "target", H["target_source"].T),
        "source_moments": moments("source"),
        "target_moments": moments("target"),
    }
    if test is not None:
        measured |= {f"test_{s}": block(f"{s} test", test, s, H[f"test_{s}"]) for s in stages}
    norms, along = ({name: pair[i] for name, pair in measured.items()} for i in (0, 1))
    return KernelErrors(**norms), KernelErrors(**along)


def _descend(
    W: np.ndarray, a: np.ndarray, X: np.ndarray, y: np.ndarray, steps: int, lr: float, start: np.ndarray, copies: np.ndarray | None
) -> tuple[np.ndarray, float]:
    """Move `W` in place; the residuals before each step, and how far any neuron was from `start`."""
    residuals, farthest = np.empty((steps, len(y))), 0.0
    for j in range(steps):
        active = W @ X.T > 0
        residuals[j] = y - outputs(W, a, X, copies)
        W += lr / math.sqrt(_width(W, copies)) * a[:, None] * ((active * residuals[j]) @ X)
        farthest = max(farthest, float(np.linalg.norm(W - start, axis=1).max()))
    return residuals, farthest


def _width(W: np.ndarray, copies: np.ndarray | None) -> int:
    return len(W) if copies is None else int(copies.sum())


def _distance(W: np.ndarray, start: np.ndarray, copies: np.ndarray | None) -> float:
    return float(np.linalg.norm((W - start) if copies is None else (W - start) * np.sqrt(copies)[:, None]))


def _slopes(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """`(σ(z') − σ(z))/(z' − z)`, in [0, 1]; the gate where nothing moved."""
    change = after - before
    moved = change != 0
    secant = (np.maximum(after, 0) - np.maximum(before, 0)) / np.where(moved, change, 1)
    # Equal gates have slopes 0 and 1; the quotient would round.
    same = (before > 0) == (after > 0)
    return np.where(same | ~moved, before > 0, np.clip(secant, 0, 1))


def _sets(problem: TransferProblem) -> tuple:
    assert problem.source is not None
    if problem.n_outputs > 1:
        raise InvalidInput(f"labels have {problem.n_outputs} columns; scalar labels (n,) are allowed here")
    pairs = [tuple(to_numpy(x).astype(np.float64) for x in pair) for pair in (problem.source, problem.target)]
    flat = [(X, y.reshape(-1)) for X, y in pairs]
    return (*flat, None if problem.test is None else to_numpy(problem.test[0]).astype(np.float64))


def _stage(schedule: Schedule, stage: str) -> tuple[int, float]:
    steps, lr = getattr(schedule, f"{stage}_steps"), getattr(schedule, f"{stage}_lr")
    if steps is None or lr is None:
        raise InvalidInput(f"{stage}_steps is {steps} and {stage}_lr {lr}; a number of steps and a step size are needed to run a net")
    return steps, lr


def _along(E: np.ndarray, r: np.ndarray) -> float:
    """`‖E r‖/‖r‖`; 0 where there is no residual left."""
    size = float(np.linalg.norm(r))
    return float(np.linalg.norm(E @ r)) / size if size else 0.0
