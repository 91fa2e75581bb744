"""A target whose Gram matrix has a principal eigenvector that is known, and one more eigenvalue that is repeated."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sim.datasets import unit_rows
from sim.rng import generator
from theory.errors import InvalidInput
from theory.problem import TransferProblem
from theory.ranges import check_count, check_number


@dataclass(frozen=True, kw_only=True)
class EquiangularTask:
    """Target points with the same angle between any two: their Gram matrix has a principal eigenvector of ones, and one more eigenvalue.

    Source points are near the target points, and so are their labels.

    Parameters
    ----------
    n_source, n_target : int ≥ 2
    cosine : float in [0, 1)
        Between any two target points.
    spread : float ≥ 0
        Norm of what source points are away from target points, before they are normalised.
    label_noise : float ≥ 0
        Standard deviation of the source labels' noise.
    seed : int ≥ 0

    Raises
    ------
    InvalidInput
        For a value outside these ranges.
    """

    name: str = "equiangular"
    n_source: int = 60
    n_target: int = 20
    cosine: float = 0.5
    spread: float = 0.5
    label_noise: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        check_count("seed", self.seed, 0)
        for name in ("n_source", "n_target"):
            check_count(name, getattr(self, name), 2)
        if isinstance(self.cosine, bool) or not isinstance(self.cosine, (int, float)) or not 0 <= self.cosine < 1:
            raise InvalidInput(f"cosine is {self.cosine!r}; a number in [0, 1) is allowed")
        for name in ("spread", "label_noise"):
            check_number(name, getattr(self, name), 0)

    @property
    def label(self) -> str:
        """In words."""
        return "equiangular points"

    def problem(self) -> TransferProblem:
        """The problem these settings describe; the same settings give the same problem."""
        n = self.n_target
        rng = generator("equiangular", n, self.n_source, self.seed)
        points = np.hstack([np.full((n, 1), math.sqrt(self.cosine)), math.sqrt(1 - self.cosine) * np.eye(n)])
        # A mean, which is the principal component, and as much beside it.
        labels = 1 + rng.standard_normal(n)
        which = np.arange(self.n_source) % n
        away = self.spread * unit_rows(rng.standard_normal((self.n_source, n + 1)))
        noisy = labels[which] + self.label_noise * rng.standard_normal(self.n_source)
        return TransferProblem(source=(unit_rows(points[which] + away), noisy), target=(points, labels))
