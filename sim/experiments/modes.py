"""Eigenspaces of the target's Gram matrix, and what a residual has in each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.experiments.equiangular import EquiangularTask
from sim.tasks import Task, problem_of
from theory.numeric import stages
from theory.numeric.gram import relu_gram
from theory.numeric.similarity import SuppressedMode, mode_suppression
from theory.numeric.spectrum import GramSpectrum


@dataclass(frozen=True, eq=False)
class Mode:
    """One eigenspace of `H_Q`, or several.

    Attributes
    ----------
    name : str
    value : float
        Its eigenvalue; the mean of several.
    multiplicity : int
    scratch, predicted : float
        Energies `Σ (vᵢᵀy_Q)²` and `Σ (vᵢᵀỹ)²`.
    basis : (n_Q, multiplicity) array
    remaining : (n_Q,) array
        `ỹ`.
    """

    name: str
    value: float
    multiplicity: int
    scratch: float
    predicted: float
    basis: np.ndarray
    remaining: np.ndarray

    @property
    def factor(self) -> float:
        """What pretraining multiplies the energy by."""
        return self.predicted / self.scratch

    @property
    def length(self) -> float:
        """Of `ỹ` in the eigenspace."""
        return math.sqrt(self.predicted)

    def energies(self, residuals: np.ndarray) -> np.ndarray:
        """`Σ (vᵢᵀr)²` of each row."""
        return np.asarray(np.sum((residuals @ self.basis) ** 2, axis=1))

    def along(self, residuals: np.ndarray) -> np.ndarray:
        """Component of each row along the part of `ỹ` in the eigenspace: linear in the residual, so that spread between nets is no bias."""
        return np.asarray(residuals @ self.basis @ (self.basis.T @ self.remaining) / self.length)


def modes(task: Task | EquiangularTask, source_steps: int, leading: int) -> list[Mode]:
    """The `leading` eigenspaces of largest eigenvalue, equal eigenvalues together, then all the rest as one, if there is any.

    Step sizes are `1/λ_max` of the infinite width.
    """
    problem = problem_of(task)
    assert problem.source is not None
    (X_P, y_P), (X_Q, y_Q) = problem.source, problem.target
    P, Q = GramSpectrum.of(relu_gram(X_P)), GramSpectrum.of(relu_gram(X_Q))
    remaining = y_Q - relu_gram(X_Q, X_P) @ stages.coefficients(P, y_P, 1 / P.largest, source_steps)
    groups = mode_suppression(Q, y_Q, remaining)
    # Groups ascend in the eigenvalue, and so do eigenvectors.
    ends = np.cumsum([group.multiplicity for group in groups])
    found = [
        Mode(_named(rank, group), group.value, group.multiplicity, group.scratch, group.pretrained, _columns(Q, end, group), remaining)
        for rank, (group, end) in enumerate(zip(reversed(groups), reversed(ends.tolist()), strict=True))
    ]
    rest = found[leading:]
    return found[:leading] + ([_together(rest)] if rest else [])


def _columns(spectrum: GramSpectrum, end: int, group: SuppressedMode) -> np.ndarray:
    return np.asarray(spectrum.vectors[:, end - group.multiplicity : end])


def _named(rank: int, group: SuppressedMode) -> str:
    name = "the principal component" if rank == 0 else f"mode {rank + 1}"
    return name if group.multiplicity == 1 else f"{name} ({group.multiplicity}-fold)"


def _together(parts: list[Mode]) -> Mode:
    sums: dict[str, Any] = {name: sum(getattr(part, name) for part in parts) for name in ("multiplicity", "scratch", "predicted")}
    value = sum(part.value * part.multiplicity for part in parts) / sums["multiplicity"]
    return Mode("all other modes", value, basis=np.hstack([part.basis for part in parts]), remaining=parts[0].remaining, **sums)
