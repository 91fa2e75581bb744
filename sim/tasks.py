"""Transfer problems with dials: the sphere, where everything can be turned, and real digits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sim.datasets import bundled, unit_rows
from sim.rng import generator
from theory.errors import InvalidInput
from theory.problem import TransferProblem
from theory.ranges import check_count, check_number

Teacher = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class SphereTask:
    """Uniform inputs on a sphere, and teachers that this kernel can learn.

    Target inputs are uniform on the unit sphere of a `dimension`-dimensional subspace of `R^(2·dimension)`. Source inputs
    are uniform on that of a subspace at one angle to it, whose cosine is `input_similarity`: 1 is the same
    distribution, at 0 the subspaces are orthogonal and nothing can transfer. With orthonormal teachers `f` and `g` of the
    latent position, source labels are `cos φ f + sin φ g + noise`, `cos φ = label_similarity`, and target labels `f`.

    Parameters
    ----------
    dimension : int ≥ 3
    n_source, n_target, n_test : int ≥ 1
    input_similarity : float in [0, 1]
    label_similarity : float in [−1, 1]
    label_noise : float ≥ 0
        Standard deviation of Gaussian noise on source labels; teachers have variance 1.
    teacher : "linear+quadratic" or "relu"
        A sign or tanh teacher would be partly unlearnable: this kernel has no odd degree above 1 on the sphere. A ReLU
        teacher has none either.
    seed : int ≥ 0

    Raises
    ------
    InvalidInput
        For a value outside these ranges.
    """

    name: str = "sphere"
    dimension: int = 8
    n_source: int = 80
    n_target: int = 40
    n_test: int = 400
    input_similarity: float = 0.9
    label_similarity: float = 0.9
    label_noise: float = 0.1
    teacher: str = "linear+quadratic"
    seed: int = 0

    def __post_init__(self) -> None:
        check_count("dimension", self.dimension, 3)
        check_count("seed", self.seed, 0)
        for name in ("n_source", "n_target", "n_test"):
            check_count(name, getattr(self, name), 1)
        for name, low, high in (("input_similarity", 0, 1), ("label_similarity", -1, 1), ("label_noise", 0, math.inf)):
            check_number(name, getattr(self, name), low, high)
        if self.teacher not in _TEACHERS:
            raise InvalidInput(f"teacher is {self.teacher!r}; one of {', '.join(map(repr, _TEACHERS))} is allowed")

    def problem(self) -> TransferProblem:
        """The problem these dials describe; the same dials give the same problem."""

        # One stream for each ingredient: turning one dial leaves all the others' draws as they were.
        def stream(purpose: str) -> np.random.Generator:
            return generator(f"sphere {purpose}", self.seed)

        d, c = self.dimension, self.input_similarity
        f, g = _TEACHERS[self.teacher](stream("teacher"), d)
        latent = {name: unit_rows(stream(name).standard_normal((n, d))) for name, n in self._sizes().items()}
        target, source, test = latent["target"], latent["source"], latent["test"]
        y_source = self.label_similarity * f(source) + math.sqrt(1 - self.label_similarity**2) * g(source)
        y_source = y_source + self.label_noise * stream("noise").standard_normal(self.n_source)
        nothing = np.zeros_like
        return TransferProblem(
            source=(np.hstack([c * source, math.sqrt(1 - c * c) * source]), y_source),
            target=(np.hstack([target, nothing(target)]), f(target)),
            test=(np.hstack([test, nothing(test)]), f(test)),
        )

    def _sizes(self) -> dict[str, int]:
        return {"source": self.n_source, "target": self.n_target, "test": self.n_test}


@dataclass(frozen=True, kw_only=True)
class DigitsTask:
    """UCI digits → MNIST-5k, both 8 × 8 pixels, centred alike, unit rows.

    Parameters
    ----------
    labels : "parity" (±1) or "classes" (one-hot)
    label_noise : float in [0, 1]
        Share of source labels that are drawn anew, from all classes alike.
    n_source, n_target, n_test : int ≥ 1
        Drawn without replacement; test points are MNIST digits that are not target points.
    seed : int ≥ 0
        Of the draw.

    Raises
    ------
    InvalidInput
        For other labels, or more points than there are (1,797 and 5,000).
    """

    name: str = "digits"
    labels: str = "parity"
    label_noise: float = 0.0
    n_source: int = 300
    n_target: int = 100
    n_test: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        check_count("seed", self.seed, 0)
        if self.labels not in ("parity", "classes"):
            raise InvalidInput(f"labels is {self.labels!r}; 'parity' or 'classes' is allowed")
        check_number("label_noise", self.label_noise, 0, 1)
        for name in ("n_source", "n_target", "n_test"):
            check_count(name, getattr(self, name), 1)
        if self.n_source > 1797 or self.n_target + self.n_test > 5000:
            raise InvalidInput(
                f"{self.n_source} source and {self.n_target} + {self.n_test} target and test points were asked for; "
                "at most 1797 and 5000 are allowed"
            )

    def problem(self) -> TransferProblem:
        """The problem these settings describe; the same settings give the same problem."""
        suffix = "-parity" if self.labels == "parity" else ""
        (X_P, y_P), (X_Q, y_Q) = bundled(f"digits{suffix}"), bundled(f"mnist{suffix}")
        i = generator("digits source", self.seed).permutation(len(X_P))[: self.n_source]
        order = generator("digits target", self.seed).permutation(len(X_Q))
        j, t = order[: self.n_target], order[self.n_target : self.n_target + self.n_test]
        noise = generator("digits noise", self.seed)
        # Both draws are made for every point, so that more noise only adds to the labels that change.
        redrawn, others = noise.random(len(i)) < self.label_noise, noise.integers(len(y_P), size=len(i))
        y_source = y_P[np.where(redrawn, others, i)]
        return TransferProblem(source=(X_P[i], y_source), target=(X_Q[j], y_Q[j]), test=(X_Q[t], y_Q[t]))


Task = SphereTask | DigitsTask


@lru_cache(maxsize=16)
def problem_of(task: Task) -> TransferProblem:
    """`task.problem()`, made once."""
    return task.problem()


def _linear_quadratic(rng: np.random.Generator, d: int) -> tuple[Teacher, Teacher]:
    """Two orthonormal teachers, half of the variance of each in degree 1 and half in degree 2 of the sphere."""
    directions = np.linalg.qr(rng.standard_normal((d, 2)))[0].T
    forms: list[np.ndarray] = []
    for _ in range(2):
        A = rng.standard_normal((d, d))
        A = (A + A.T) / 2
        A -= np.trace(A) / d * np.eye(d)
        for B in forms:
            A -= np.sum(A * B) * B
        forms.append(A / np.linalg.norm(A))

    def teacher(b: np.ndarray, A: np.ndarray) -> Teacher:
        # E (b·x)² = 1/d and, for a traceless symmetric A of norm 1, E (xᵀAx)² = 2/(d(d + 2)).
        return lambda X: math.sqrt(d / 2) * (X @ b) + math.sqrt(d * (d + 2) / 4) * np.einsum("ni,ij,nj->n", X, A, X)

    return teacher(directions[0], forms[0]), teacher(directions[1], forms[1])


def _relu(rng: np.random.Generator, d: int, neurons: int = 8) -> tuple[Teacher, Teacher]:
    """Two orthonormal teachers, each a sum of `2·neurons` ReLU neurons with random directions."""
    V = unit_rows(rng.standard_normal((2 * neurons, d)))
    cosine = np.clip(V @ V.T, -1, 1)
    angle = np.arccos(cosine)
    # E relu(v·x) relu(v'·x) on the unit sphere: the Gaussian value over E‖w‖² = d.
    gram = (np.sin(angle) + (np.pi - angle) * cosine) / (2 * np.pi * d)
    f, g = rng.standard_normal((2, 2 * neurons))
    f /= math.sqrt(f @ gram @ f)
    g -= (g @ gram @ f) * f
    g /= math.sqrt(g @ gram @ g)

    def teacher(c: np.ndarray) -> Teacher:
        return lambda X: np.maximum(X @ V.T, 0) @ c

    return teacher(f), teacher(g)


_TEACHERS = {"linear+quadratic": _linear_quadratic, "relu": _relu}
