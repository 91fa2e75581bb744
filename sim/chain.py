"""A chain of stages really trained: a finite net through source₁ → source₂ → … → target, with its frozen kernel's chain beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from sim.dynamics import BlockedNet, workers
from sim.frozen import empirical_kernel
from sim.networks import initial_net
from theory.chain import ChainGram, Stage, predict_chain
from theory.errors import InvalidInput
from theory.numeric.gram import relu_gram
from theory.numeric.spectrum import GramSpectrum


@dataclass(frozen=True, kw_only=True, eq=False)
class ChainRun:
    """What a chain did, stage by stage.

    Attributes
    ----------
    displacement : (s,) array
        `‖W_s − W_{s−1}‖_F` of each stage.
    total : (s,) array
        `‖W_s − W_0‖_F` after each stage.
    outputs : tuple of (s, n_a) arrays
        Outputs on each set after each stage.
    """

    displacement: np.ndarray
    total: np.ndarray
    outputs: tuple[np.ndarray, ...]


def rates(sets: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[float]:
    """`1/λ_max` of each set's infinite-width Gram matrix: one step size for all rungs."""
    return [1 / GramSpectrum.of(relu_gram(X)).largest for X, _ in sets]


def predicted_chain(stages: Sequence[Stage], gram: Callable[[np.ndarray, np.ndarray | None], np.ndarray] = relu_gram) -> ChainRun:
    """The chain in the kernel regime.

    Parameters
    ----------
    stages : sequence of Stage with scalar labels
    gram : callable
        `(X, Z)`, `Z` possibly `None`, to a Gram block: infinite width by default.
    """
    sets = _sets(stages)
    points = np.concatenate([X for X, _ in sets])
    H = gram(points, None)
    rows = _rows(sets)
    blocks = ChainGram(
        within=tuple(H[r, r] for r in rows),
        cross=tuple(tuple(H[r, q] for q in rows[:a]) for a, r in enumerate(rows)),
        test=tuple(H[:, r] for r in rows),
    )
    # All points as test points: their outputs after every stage.
    outcome = predict_chain(stages, (points, np.zeros(len(points))), gram=blocks)
    assert outcome.test_outputs is not None
    after = np.array(outcome.test_outputs)
    return ChainRun(
        displacement=np.array(outcome.displacement), total=np.array(outcome.total_displacement), outputs=tuple(after[:, r] for r in rows)
    )


def simulate_chain(
    stages: Sequence[Stage],
    *,
    width: int,
    init_scale: float = 1.0,
    seed: int = 0,
    dtype: str = "float64",
    progress: Callable[[int], object] | None = None,
) -> tuple[ChainRun, ChainRun]:
    """An antisymmetric two-layer ReLU net through all stages, and the chain of its kernel frozen at `W(0)`.

    Parameters
    ----------
    stages : sequence of Stage
        With scalar labels, whole numbers of steps and, where a step size is left open, `1/λ_max` of the infinite-width Gram matrix.
    width : int, even
    init_scale : float > 0
    seed : int ≥ 0
    dtype : "float64" or "float32"
        Of the training.
    progress : callable, optional
        Called with 1 after each gradient step.

    Returns
    -------
    The trained net's run, and that of its frozen kernel.

    Raises
    ------
    InvalidInput
        For a stage without a number of steps, vector labels, or a width that does not fit.
    UnstableStep
        For a step size that the net's own kernel does not bear.
    """
    sets = _sets(stages)
    lr = rates(sets)
    order = [_index(sets, stage) for stage in stages]
    stages = [replace(stage, lr=lr[a]) if stage.lr is None else stage for stage, a in zip(stages, order, strict=True)]
    W, a = initial_net(width, sets[0][0].shape[1], 1, init_scale=init_scale, seed=seed)
    frozen = predicted_chain(stages, lambda X, Z: empirical_kernel(W, X, Z))
    cast = [(X.astype(dtype), y.reshape(-1, 1).astype(dtype)) for X, y in sets]
    moved, total, seen = [], [], []
    with workers() as run:
        start = W.astype(dtype)
        net = BlockedNet(start.copy(), a.astype(dtype), run)
        for stage, b in zip(stages, order, strict=True):
            assert stage.lr is not None
            descent = net.descend(*cast[b], lr=stage.lr, steps=stage.steps, progress=progress)
            moved.append(descent.displacement[-1])
            total.append(net.displacement(start))
            seen.append([net.outputs(X)[:, 0] for X, _ in cast])
    outputs = tuple(np.array([after[b] for after in seen], dtype=np.float64) for b in range(len(sets)))
    return ChainRun(displacement=np.array(moved), total=np.array(total), outputs=outputs), frozen


def _sets(stages: Sequence[Stage]) -> list[tuple[np.ndarray, np.ndarray]]:
    """The different sets, as they are first met."""
    sets: list[tuple[np.ndarray, np.ndarray]] = []
    for i, stage in enumerate(stages):
        if stage.steps is None:
            raise InvalidInput(f"stage {i} has steps {stage.steps}; a number of steps is needed where a net is trained")
        if stage.y.ndim != 1:
            raise InvalidInput(f"stage {i} has labels of shape {tuple(stage.y.shape)}; (n,) is allowed here")
        if not any(stage.X is X and stage.y is y for X, y in sets):
            sets.append((stage.X, stage.y))
    if not sets:
        raise InvalidInput("stages is empty; at least one stage is needed")
    return sets


def _index(sets: Sequence[tuple[np.ndarray, np.ndarray]], stage: Stage) -> int:
    return next(b for b, (X, y) in enumerate(sets) if X is stage.X and y is stage.y)


def _rows(sets: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[slice]:
    ends = np.cumsum([0, *(len(X) for X, _ in sets)]).tolist()
    return [slice(low, high) for low, high in pairwise(ends)]


def left_over(run: ChainRun, labels: Sequence[np.ndarray]) -> np.ndarray:
    """`‖y − u‖` over all sets together after each stage, (s,)."""
    return np.sqrt(sum(((y - u) ** 2).sum(axis=1) for u, y in zip(run.outputs, labels, strict=True)))


def losses(run: ChainRun, labels: Sequence[np.ndarray]) -> np.ndarray:
    """`½‖y − u‖²` on each set after each stage, (s, sets)."""
    return np.stack([((y - u) ** 2).sum(axis=1) / 2 for u, y in zip(run.outputs, labels, strict=True)], axis=1)
