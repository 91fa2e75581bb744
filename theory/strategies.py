"""Hypothesis strategies for problems, nets and Gram matrices, to test bounds and kernels with; needs the extra `testing`.

A kernel of one's own, tested on inputs that are made to break it:

>>> import numpy as np
>>> from hypothesis import given, settings
>>> from theory.strategies import inputs
>>> def kernel(X, Z=None):
...     return np.exp(X @ (X if Z is None else Z).T)
>>> @settings(max_examples=20, database=None)
... @given(inputs(dimension=3, unit=True))
... def test_positive_semi_definite(X):
...     values = np.linalg.eigvalsh(kernel(X))
...     assert values[0] >= -1e-12 * values[-1]
>>> test_positive_semi_definite()

A bound of one's own goes the same way: draw `problems()`, `schedules()`, `widths()`, `init_scales()` and `seeds()`, compute both sides,
assert, and call `hypothesis.target` with their ratio, so that the search goes to where the bound is tightest.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from theory.errors import InvalidInput
from theory.formula import Case, Domain
from theory.problem import Schedule, TransferProblem

_ARRANGEMENTS = ("general", "general", "orthogonal", "duplicates", "opposite", "close")


def cases(domain: Domain) -> SearchStrategy[Case]:
    """Admissible cases of an entry or bound of the registry, as its `Domain` draws them, every choice made by Hypothesis."""
    return st.builds(domain.draw, st.randoms(use_true_random=False), st.integers(0, max(0, domain.cases - 1)))


def seeds() -> SearchStrategy[int]:
    """Seeds of random generators; they do not shrink towards anything."""
    return st.integers(0, 2**32 - 1)


def widths(smallest: int = 2, largest: int = 4096) -> SearchStrategy[int]:
    """Even widths, each power of two as likely as any other.

    Raises
    ------
    InvalidInput
        Unless `2 ≤ smallest ≤ largest`.
    """
    if not 2 <= smallest <= largest:
        raise InvalidInput(f"widths from {smallest} to {largest} were asked for; 2 ≤ smallest ≤ largest is allowed")
    exponents = st.floats(math.log2(smallest), math.log2(largest))
    return exponents.map(lambda e: min(max(2 * round(2 ** (e - 1)), smallest + smallest % 2), largest - largest % 2))


def init_scales(smallest: float = 2.0**-4, largest: float = 2.0**4) -> SearchStrategy[float]:
    """Standard deviations `κ` of the initial weights, uniform in the logarithm."""
    return st.floats(math.log2(smallest), math.log2(largest)).map(lambda e: 2.0**e)


@st.composite
def inputs(draw: Any, *, points: int | None = None, dimension: int | None = None, unit: bool = False, regular: bool = False) -> np.ndarray:
    """Matrices of inputs `(n, d)`, `n` from 1 to 6: in general position, orthogonal, with duplicates or opposite rows, nearly parallel.

    Parameters
    ----------
    points, dimension : int, optional
        Fix `n` or `d`.
    unit : bool
        Rows of norm 1; else norms from 1/8 to 8.
    regular : bool
        Leave out duplicates and opposite rows, whose Gram matrices may be singular.
    """
    n = draw(st.integers(1, 6)) if points is None else points
    d = draw(st.integers(2, 8)) if dimension is None else dimension
    allowed = [a for a in dict.fromkeys(_ARRANGEMENTS) if not (regular and a in ("duplicates", "opposite"))]
    how = draw(st.sampled_from(allowed))
    X = np.random.default_rng(draw(seeds())).standard_normal((n, d))
    if how == "orthogonal":
        X[: min(n, d)] = np.linalg.qr(X.T if n >= d else X[:d].T)[0].T[: min(n, d)]
    elif how in ("duplicates", "opposite") and n > 1:
        X[1] = X[0] if how == "duplicates" else -X[0]
    elif how == "close" and n > 1:
        X[1] = X[0] + 10.0 ** draw(st.floats(-6, -1)) * X[1]
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    if not unit:
        X *= 2.0 ** np.array(draw(st.lists(st.floats(-3, 3), min_size=n, max_size=n)))[:, None]
    return X


@st.composite
def gram_matrices(draw: Any, *, size: int | None = None, condition: float = 1e6) -> np.ndarray:
    """Symmetric positive definite matrices with eigenvalues over up to `condition`, of any orientation."""
    n = draw(st.integers(1, 6)) if size is None else size
    exponents = draw(st.lists(st.floats(0, 1), min_size=n, max_size=n))
    basis = np.linalg.qr(np.random.default_rng(draw(seeds())).standard_normal((n, n)))[0]
    H = (basis * condition ** -np.array(exponents)) @ basis.T
    return (H + H.T) / 2


@st.composite
def problems(
    draw: Any, *, outputs: int | None = None, tests: bool | None = None, unit: bool = False, regular: bool = False, labels: float = 4.0
) -> TransferProblem:
    """Problems with 1 to 6 source, target and test points in 2 to 8 dimensions; labels uniform, up to `labels`.

    Parameters
    ----------
    outputs : int, optional
        Fix the number of outputs; 1 gives labels `(n,)`.
    tests : bool, optional
        Whether there are test points.
    unit, regular
        As for `inputs`; points of different sets may coincide in any case.
    labels : float
    """
    d = draw(st.integers(2, 8))
    c = draw(st.integers(1, 3)) if outputs is None else outputs
    sets: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(3 if (draw(st.booleans()) if tests is None else tests) else 2):
        X = draw(inputs(dimension=d, unit=unit, regular=regular))
        if sets and draw(st.integers(0, 3)) == 0:
            X[0] = sets[0][0][0]
        y = np.random.default_rng(draw(seeds())).uniform(-labels, labels, len(X) if c == 1 else (len(X), c))
        sets.append((X, y))
    return TransferProblem(source=sets[0], target=sets[1], test=sets[2] if len(sets) == 3 else None)


@st.composite
def schedules(draw: Any, *, most_steps: int = 50, ends: bool = True) -> Schedule:
    """Schedules of plain gradient descent at `1/λ_max`: up to `most_steps` steps in each stage, or, with `ends`, to the end."""
    steps = st.integers(0, most_steps)
    either = st.one_of(steps, st.none()) if ends else steps
    return Schedule(source_steps=draw(either), target_steps=draw(either))
