"""Evaluate a derivation's results on a case, mode by mode or as matrices, at the working precision of mpmath."""

from __future__ import annotations

from typing import Any

import mpmath as mp
import numpy as np

from theory.definitions.linear_model import matrix
from theory.formula import Case, Chain, Expression, Values
from theory.numeric.spectrum import GramSpectrum
from theory.symbolic.algebra import evaluate
from theory.symbolic.notation import c as c_symbol
from theory.symbolic.notation import eta, k, lam, t


def spectrum(case: Case) -> GramSpectrum:
    """The float64 spectrum of `F Fᵀ`, which is exact for the cases drawn."""
    F = np.array(case["features"])
    return GramSpectrum.of(F @ F.T)


def columns(rows: list[list[float]]) -> np.ndarray:
    """Labels as the twins take them: `(n,)` for one column, else `(n, c)`."""
    Y = np.array(rows)
    return Y[:, 0] if Y.shape[1] == 1 else Y


def flat(x: Any) -> Values:
    """Entries of an array or a number, as a list."""
    return np.asarray(x).ravel().tolist()


def decomposed(F: Any) -> tuple[list[Any], Any]:
    """Eigenvalues, ascending, and eigenvectors of `F Fᵀ`; what is zero but for rounding is zero."""
    values, vectors = mp.eigsy(F * F.T)
    cutoff = mp.mpf(10) ** (-mp.mp.dps // 2) * max(values)
    return [v if v > cutoff else mp.mpf(0) for v in values], vectors


def on_mode(chain: Chain, value: Any, lr: Any, steps: int | None, coefficient: Any = 1) -> Any:
    """The result of `chain` for one mode: `mode`, `zero mode`, or to the `end`."""
    zero = value == 0
    if steps is None:
        if "end" in chain.results and not zero:
            return at(chain, "end", value, lr, 0, coefficient)
        if not zero or "zero mode" not in chain.results:
            return mp.mpf(0)
        expr = chain.results["zero mode"]
        # A zero mode that would grow for ever has no part in the limit: the pseudo-inverse.
        return mp.mpf(0) if k in expr.free_symbols else at(chain, "zero mode", value, lr, 0, coefficient)
    name = "zero mode" if zero and "zero mode" in chain.results else "mode"
    return at(chain, name, value, lr, steps, coefficient)


def at(chain: Chain, name: str, value: Any, lr: Any, steps: int, coefficient: Any = 1) -> Any:
    """A named result at an eigenvalue, a step size, a number of steps and a coefficient."""
    given = {lam: mp.mpf(value), eta: mp.mpf(lr), k: steps, c_symbol: mp.mpf(coefficient), t: mp.mpf(lr)}
    return evaluate(chain.results[name], given)


def modewise(chain: Chain, case: Case) -> Values:
    """Each mode's coefficient transformed by the chain, back in the basis of the points."""
    Y = matrix(case["labels"])
    values, vectors = decomposed(matrix(case["features"]))
    C = vectors.T * Y
    for i, value in enumerate(values):
        for column in range(Y.cols):
            C[i, column] = on_mode(chain, value, case["lr"], case["steps"], C[i, column])
    return list(vectors * C)


def summed(chain: Chain, case: Case, labels: str = "labels") -> Any:
    """The chain's result summed over modes and label columns."""
    Y = matrix(case[labels])
    values, vectors = decomposed(matrix(case["features"]))
    C = vectors.T * Y
    return mp.fsum(
        on_mode(chain, value, case["lr"], case["steps"], C[i, column]) for i, value in enumerate(values) for column in range(Y.cols)
    )


def filter_matrix(chain: Chain, F: Any, lr: Any, steps: int | None) -> Any:
    """`f(F Fᵀ)` for the filter that `chain` derives."""
    values, vectors = decomposed(F)
    return vectors * mp.diag([on_mode(chain, value, lr, steps) for value in values]) * vectors.T


def result(chain: Chain, name: str, values: dict[Expression, Any]) -> Values:
    """A named result for given symbols, flattened."""
    value = evaluate(chain.results[name], values)
    return list(value) if isinstance(value, mp.matrix) else [value]
