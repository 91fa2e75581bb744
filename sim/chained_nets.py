"""One net through a chain of stages, beside its frozen kernel and the theory: what an experiment keeps of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from sim.chain import ChainRun, left_over, losses, predicted_chain, rates, simulate_chain
from sim.chained_tasks import ChainedTask, sets_of
from theory.chain import Stage
from theory.numeric.chains import sweep_matrix
from theory.numeric.gram import relu_gram
from theory.numeric.spectrum import GramSpectrum
from theory.numeric.stages import inverse_norm_squared


@dataclass(frozen=True, kw_only=True)
class ChainSpec:
    """Everything that one net depends on, beside the code.

    Parameters
    ----------
    task : SphereSets or DigitSets
    order : tuple of int
        The set of each stage.
    steps : int
        Of each stage.
    width, seed : int
    dtype : str
    """

    task: ChainedTask
    order: tuple[int, ...]
    steps: int
    width: int
    seed: int
    dtype: str

    @property
    def work(self) -> float:
        """Multiplications, up to a factor."""
        X = sets_of(self.task)[0][0]
        return len(self.order) * self.steps * self.width * X.size


def stages_of(task: ChainedTask, order: tuple[int, ...], steps: int) -> list[Stage]:
    """The stages, with their step sizes."""
    sets = sets_of(task)
    lr = rates(sets)
    return [Stage(*sets[a], steps, lr[a]) for a in order]


@lru_cache(maxsize=32)
def theory_of(task: ChainedTask, order: tuple[int, ...], steps: int) -> ChainRun:
    """The infinite-width chain."""
    return predicted_chain(stages_of(task, order, steps))


def chain_net(spec: ChainSpec) -> dict[str, Any]:
    """One net.

    Returns
    -------
    dict of `frozen` and `trained`, each with `summary`'s numbers, and `drift`: outputs on all sets once each was trained on, trained less
    frozen, over the length of the predicted ones.
    """
    theory = theory_of(spec.task, spec.order, spec.steps)
    trained, frozen = simulate_chain(stages_of(spec.task, spec.order, spec.steps), width=spec.width, seed=spec.seed, dtype=spec.dtype)
    once = len(theory.outputs) - 1
    found, own, expected = (np.concatenate([u[once] for u in run.outputs]) for run in (trained, frozen, theory))
    return {
        "frozen": summary(frozen, theory, spec.task),
        "trained": summary(trained, theory, spec.task),
        "drift": ((found - own) / np.linalg.norm(expected)).tolist(),
    }


def summary(run: ChainRun, theory: ChainRun, task: ChainedTask) -> dict[str, Any]:
    """Numbers of one rung.

    Returns
    -------
    dict of `displacement` and `total` of each stage; `losses[s][a]` on each set; `shares[s][a]`, outputs projected on the predicted ones
    and in units of them (0 where nothing is predicted); and `left`, what is left to learn on all sets together.
    """
    labels = [y for _, y in sets_of(task)]
    inner = [[float(u @ v) for u, v in zip(us, vs, strict=True)] for us, vs in zip(run.outputs, theory.outputs, strict=True)]
    size = [[float(v @ v) for v in vs] for vs in theory.outputs]
    shares = [[i / s if s else 0.0 for i, s in zip(*pair, strict=True)] for pair in zip(inner, size, strict=True)]
    return {
        "displacement": run.displacement.tolist(),
        "total": run.total.tolist(),
        "losses": losses(run, labels).tolist(),
        "shares": np.array(shares).T.tolist(),
        "left": left_over(run, labels).tolist(),
    }


def joint_norm(task: ChainedTask) -> float | None:
    """`√(yᵀH⁻¹y)` of all sets together: how far the joint interpolant is from the start; `None` where there is none."""
    sets = sets_of(task)
    spectrum = GramSpectrum.of(relu_gram(np.concatenate([X for X, _ in sets])))
    square = inverse_norm_squared(spectrum, np.concatenate([y for _, y in sets]))
    return None if square is None else math.sqrt(square)


def sweep_factor(task: ChainedTask, steps: int) -> float:
    """The factor by which one sweep through all sets shrinks what is left on them in the end: the spectral radius of `sweep_matrix`."""
    sets = sets_of(task)
    H = relu_gram(np.concatenate([X for X, _ in sets]))
    E = sweep_matrix(H, [len(y) for _, y in sets], rates(sets), [steps] * len(sets))
    return float(np.abs(np.linalg.eigvals(E)).max())
