"""Transfer problems with two dials on any inputs: how alike source and target inputs are, and how alike their labels.

The dial of inputs is that of `theory.average.phase_diagram`: every source input is turned out of the target's space by one angle,
`x ↦ (c x, √(1 − c²) x)` against `z ↦ (z, 0)`. Within each set nothing changes; across sets inner products are multiplied by `c`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from sim.rng import generator
from sim.tasks import DigitsTask, SphereTask
from theory.errors import InvalidInput
from theory.numeric.gram import relu_gram
from theory.problem import TransferProblem
from theory.ranges import check_count, check_number

DATA = ("sphere", "digits")
TEACHERS = ("given", "gaussian")


@dataclass(frozen=True, kw_only=True)
class DialTask:
    """Source labels `cos φ f + sin φ g` on turned inputs, target labels `f`.

    Parameters
    ----------
    data : "sphere" or "digits"
        Inputs of `SphereTask`, or UCI digits → MNIST.
    teacher : "given" or "gaussian"
        Given labels: the sphere's orthonormal teachers; for digits `f` is the parity, and `g` whether the digit is 5 or more, made
        orthogonal to `f` on the source points and as long. Gaussian: `f` and `g` are drawn from the Gaussian process whose covariance is
        the learner's own Gram function, on the turned inputs; that is what averages over teachers are about.
    dimension : int ≥ 3
        Of the sphere; both data sets then lie in twice their own dimension.
    n_source, n_target, n_test : int ≥ 1
    input_similarity : float in [0, 1]
        `c`.
    label_angle : float in [0, 180]
        `φ`, in degrees.
    seed : int ≥ 0
        Of the inputs, and of the sphere's given teachers.
    teacher_seed : int ≥ 0
        Of Gaussian teachers. A target's labels are the same whatever the dials.

    Raises
    ------
    InvalidInput
        For a value outside these ranges.
    """

    data: str = "sphere"
    teacher: str = "given"
    dimension: int = 8
    n_source: int = 40
    n_target: int = 20
    n_test: int = 40
    input_similarity: float = 1.0
    label_angle: float = 0.0
    seed: int = 0
    teacher_seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (("data", DATA), ("teacher", TEACHERS)):
            if getattr(self, name) not in allowed:
                raise InvalidInput(f"{name} is {getattr(self, name)!r}; one of {', '.join(map(repr, allowed))} is allowed")
        check_count("teacher_seed", self.teacher_seed, 0)
        for name, high in (("input_similarity", 1), ("label_angle", 180)):
            check_number(name, getattr(self, name), 0, high)
        self._base()  # which checks all else

    @property
    def label(self) -> str:
        """The task in words, without its dials."""
        data = "sphere" if self.data == "sphere" else "digits → MNIST"
        return f"{data}, {'Gaussian teachers' if self.teacher == 'gaussian' else 'given labels'}"

    def sets(self) -> DialSets:
        """Inputs and both teachers; all but the angle of the labels."""
        (X_P, f_P), (X_Q, f_Q), (X_T, f_T), g_P = _given(self._base())
        c = float(self.input_similarity)
        X_P = np.hstack([c * X_P, math.sqrt(1 - c * c) * X_P])
        X_Q, X_T = (np.hstack([X, np.zeros_like(X)]) for X in (X_Q, X_T))
        if self.teacher == "given":
            return DialSets(X_P, X_Q, X_T, f_P, g_P, f_Q, f_T)
        n_Q, n_T = len(X_Q), len(X_T)
        root = _root(replace(self, label_angle=0.0, teacher_seed=0))
        f, g = (generator(f"gaussian {which}", self.teacher_seed).standard_normal(len(root)) for which in "fg")
        f_all, g_all = root @ f, root @ g
        return DialSets(X_P, X_Q, X_T, f_all[n_Q + n_T :], g_all[n_Q + n_T :], f_all[:n_Q], f_all[n_Q : n_Q + n_T])

    def problem(self) -> TransferProblem:
        """The problem these dials describe; the same dials give the same problem."""
        sets = self.sets()
        return TransferProblem(
            source=(sets.X_P, sets.source_labels(self.label_angle)), target=(sets.X_Q, sets.f_Q), test=(sets.X_T, sets.f_T)
        )

    def _base(self) -> SphereTask | DigitsTask:
        sizes: dict[str, Any] = {"n_source": self.n_source, "n_target": self.n_target, "n_test": self.n_test, "seed": self.seed}
        if self.data == "digits":
            return DigitsTask(**sizes)
        return SphereTask(dimension=self.dimension, input_similarity=1.0, label_similarity=1.0, label_noise=0.0, **sizes)


@dataclass(frozen=True, eq=False)
class DialSets:
    """Inputs `X` of source, target and test; teachers `f` and `g` on them where they are needed."""

    X_P: np.ndarray
    X_Q: np.ndarray
    X_T: np.ndarray
    f_P: np.ndarray
    g_P: np.ndarray
    f_Q: np.ndarray
    f_T: np.ndarray

    def source_labels(self, angle: float) -> np.ndarray:
        """`cos φ f + sin φ g` on the source, `φ` in degrees."""
        phi = math.radians(angle)
        return np.asarray(math.cos(phi) * self.f_P + math.sin(phi) * self.g_P)


_Set = tuple[np.ndarray, np.ndarray]


@lru_cache(maxsize=16)
def _root(task: DialTask) -> np.ndarray:
    """Cholesky factor of the Gaussian teachers' covariance on target, test and source points.

    Source points come last: turning them leaves target and test labels as they are.
    """
    sets = replace(task, teacher="given").sets()
    return np.asarray(np.linalg.cholesky(relu_gram(np.concatenate([sets.X_Q, sets.X_T, sets.X_P]))))


@lru_cache(maxsize=16)
def _given(base: SphereTask | DigitsTask) -> tuple[_Set, _Set, _Set, np.ndarray]:
    """Source, target and test with the labels `f`, inputs unturned, and `g` on the source."""
    problem = base.problem()
    assert problem.source is not None and problem.test is not None
    sets = [problem.source, problem.target, problem.test]
    if isinstance(base, SphereTask):
        other = SphereTask(**{**vars(base), "label_similarity": 0.0}).problem()
        assert other.source is not None
        source, target, test = ((X[:, : base.dimension], y) for X, y in sets)
        return source, target, test, other.source[1]
    classes = DigitsTask(**{**vars(base), "labels": "classes"}).problem()
    assert classes.source is not None
    f = problem.source[1]
    g = np.where(np.argmax(classes.source[1], axis=1) >= 5, 1.0, -1.0)
    g = g - (g @ f) / (f @ f) * f
    return problem.source, problem.target, problem.test, g * (np.linalg.norm(f) / np.linalg.norm(g))
