"""Kernel machines on finite samples of the sphere: what they have learnt, degree by degree and without a test set.

The outputs after `k` steps are `u(x) = Σᵢ γᵢ H(x, xᵢ)`; their part of degree `ℓ` is `λ_ℓ N_ℓ Σᵢ γᵢ P_ℓ(x·xᵢ)`, so that inner products
over the whole sphere with it, and with a zonal teacher, are finite sums over the sample. No error of a test sample is left in the mean
squared error, only that of leaving out degrees so high that the kernel hardly has them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sim.datasets import unit_rows
from sim.rng import generator
from theory.errors import InvalidInput
from theory.numeric import stages
from theory.numeric.gram import relu_gram
from theory.numeric.population import PopulationTransfer
from theory.numeric.spectrum import GramSpectrum, Steps
from theory.numeric.sphere import ZonalExpansion, legendre, tangent_eigenvalues, with_constant, zonal_expansion

TEACHERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "linear": lambda t: t,
    "quadratic": lambda t: t**2,
    "linear+quadratic": lambda t: t + t**2,
    "sign": np.sign,
    "tanh": lambda t: np.tanh(3 * t),
    "relu": lambda t: np.maximum(t, 0),
}
"""Functions of `w·x`; each is divided by its root mean square."""


@dataclass(frozen=True, kw_only=True)
class SphereSource:
    """A source teacher and a target teacher on uniform inputs.

    Parameters
    ----------
    dimension : int
    source, target : names in `TEACHERS`
    angle : float
        Between the teachers' directions.
    constant : float
        A constant coordinate that the kernel sees beside the inputs; 0 for none.
    last : int
        The highest degree counted.

    Raises
    ------
    InvalidInput
        For an unknown teacher.
    """

    dimension: int
    source: str
    target: str
    angle: float = 0.0
    constant: float = 0.0
    last: int = 30

    def __post_init__(self) -> None:
        for name in (self.source, self.target):
            if name not in TEACHERS:
                raise InvalidInput(f"the teacher is {name!r}; one of {', '.join(map(repr, TEACHERS))} is allowed")

    @property
    def label(self) -> str:
        """In words."""
        teachers = self.source if self.source == self.target and not self.angle else f"{self.source} → {self.target}, {self.angle:.3g} rad"
        return f"sphere in {self.dimension} dimensions, {teachers}" + (f", constant {self.constant:g}" if self.constant else "")

    def transfer(self) -> PopulationTransfer:
        """Both teachers by degree, the target's energy beyond the last degree as one more eigenspace that is not learnt."""
        P, Q = _expansion(self.source, self.dimension, self.last), _expansion(self.target, self.dimension, self.last)
        return PopulationTransfer(
            np.append(_eigenvalues(self.dimension, self.last, self.constant), 0.0),
            np.append(P.energies / P.mean_square, 0.0),
            np.append(Q.energies, Q.beyond) / Q.mean_square,
            np.append(P.cross_energies(Q, math.cos(self.angle)) / math.sqrt(P.mean_square * Q.mean_square), 0.0),
        )

    @property
    def floor(self) -> float:
        """Target energy in degrees that the kernel does not have: odd ones from 3 on, none with a constant coordinate."""
        if self.constant:
            return 0.0
        teacher, Q = TEACHERS[self.target], _expansion(self.target, self.dimension, self.last)
        odd = zonal_expansion(lambda t: (teacher(t) - teacher(-t)) / 2, self.dimension, 1)
        return float((odd.mean_square - odd.energies[1]) / Q.mean_square)


@lru_cache(maxsize=32)
def _expansion(teacher: str, dimension: int, last: int) -> ZonalExpansion:
    return zonal_expansion(TEACHERS[teacher], dimension, last)


@lru_cache(maxsize=32)
def _eigenvalues(dimension: int, last: int, constant: float) -> np.ndarray:
    if not constant:
        return tangent_eigenvalues(dimension, last)
    return zonal_expansion(with_constant(lambda t: t * np.arccos(-t) / (2 * math.pi), 1.0, constant), dimension, last).eigenvalues


@dataclass(frozen=True)
class Learnt:
    """One draw of `n` points.

    Attributes
    ----------
    errors : tuple of float
        Mean squared distance to the target teacher over the whole sphere, after each number of steps.
    fresh : tuple of float
        The same on `FRESH` new points, where nothing is known of degrees.
    eigenvalues : tuple of float
        Means of the eigenvalues of `H/n` over blocks as large as the multiplicities, largest first.
    """

    errors: tuple[float, ...]
    fresh: tuple[float, ...]
    eigenvalues: tuple[float, ...]


FRESH = 1000
"""New points on which an error summed over degrees is tried."""


def draw(task: SphereSource, sizes: Sequence[int], seed: int) -> list[np.ndarray]:
    """Uniform points, the smaller samples the first of the larger ones."""
    normal = generator("finite samples", task.dimension, seed).standard_normal((max(sizes), task.dimension))
    points = unit_rows(normal)
    return [points[:n] for n in sizes]


def learn(
    task: SphereSource, X: np.ndarray, rate: float, steps: Sequence[Steps], blocks: Sequence[int] = (), fresh: np.ndarray | None = None
) -> Learnt:
    """Gradient descent on the labels of the source teacher at the points `X`, with step size `rate/(n λ_max)`, from outputs of zero.

    Parameters
    ----------
    task : SphereSource
    X : (n, dimension) array of unit rows
    rate : float
        In units of one over `n` times the operator's largest eigenvalue.
    steps : sequence of int or None
    blocks : sequence of int
        Sizes of the blocks of eigenvalues to average over.
    fresh : (n', dimension) array, optional
        New points to measure the error on as well.
    """
    n, d = X.shape
    transfer = task.transfer()
    eigenvalues = transfer.eigenvalues[:-1]
    inputs = _seen(task, X)
    spectrum = GramSpectrum.of(relu_gram(inputs))
    P, Q = _expansion(task.source, d, task.last), _expansion(task.target, d, task.last)
    w_P, w_Q = np.eye(d)[0], math.cos(task.angle) * np.eye(d)[0] + math.sin(task.angle) * np.eye(d)[1]
    labels = TEACHERS[task.source](X @ w_P) / math.sqrt(P.mean_square)
    lr = rate / (n * float(eigenvalues.max()))
    gammas = np.stack([stages.coefficients(spectrum, labels, lr, k) for k in steps], axis=1)
    counts = P.multiplicities
    # ⟨f_Q, u⟩ = Σ_ℓ λ_ℓ Σᵢ γᵢ f_{Q,ℓ}(xᵢ) and ‖u‖² = Σ_ℓ λ_ℓ² N_ℓ γᵀP_ℓγ.
    target_parts = (Q.coefficients * np.sqrt(counts) * eigenvalues) @ legendre(d, task.last, X @ w_Q) / math.sqrt(Q.mean_square)
    iterated = _series(d, eigenvalues**2 * counts, X @ X.T)
    errors = 1 - 2 * target_parts @ gammas + np.sum(gammas * (iterated @ gammas), axis=0)
    on_fresh: list[float] = []
    if fresh is not None:
        outputs = relu_gram(_seen(task, fresh), inputs) @ gammas
        wanted = TEACHERS[task.target](fresh @ w_Q) / math.sqrt(Q.mean_square)
        on_fresh = np.mean((wanted[:, None] - outputs) ** 2, axis=0).tolist()
    ordered, means, first = spectrum.values[::-1] / n, [], 0
    for size in blocks:
        means.append(float(ordered[first : first + size].mean()))
        first += size
    return Learnt(tuple(errors.tolist()), tuple(on_fresh), tuple(means))


def _seen(task: SphereSource, X: np.ndarray) -> np.ndarray:
    """Inputs as the kernel sees them."""
    return np.hstack([X, np.full((len(X), 1), task.constant)]) if task.constant else X


def _series(dimension: int, weights: np.ndarray, t: np.ndarray) -> np.ndarray:
    """`Σ_ℓ w_ℓ P_ℓ(t)` by Clenshaw's recurrence: three arrays like `t` at a time, where the polynomials themselves would fill many."""
    ahead, here = np.zeros_like(t), np.zeros_like(t)
    for degree in range(weights.shape[0] - 1, 0, -1):
        up, down = (2 * degree + dimension - 2) / (degree + dimension - 2), (degree + 1) / (degree + dimension - 1)
        ahead, here = here, weights[degree] + up * t * here - down * ahead
    return weights[0] + t * here - ahead / (dimension - 1)
