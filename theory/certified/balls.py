"""Arb balls and matrices of them: in from exact floats, out as rigorous norms.

A ball `mid ± rad` holds a real number for certain. Operations round outwards, so what is computed from balls that hold
their numbers holds its own. Elementwise balls grow with every product, though; where a chain of products is long, a `Near`
carries one bound of the norm of the error instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from flint import arb, arb_mat, ctx, fmpq


@contextmanager
def working_precision(bits: int) -> Iterator[None]:
    """Compute with `bits` bits inside, and leave the caller's precision as it was."""
    before = ctx.prec
    ctx.prec = bits
    try:
        yield
    finally:
        ctx.prec = before


def rational(x: float) -> fmpq:
    """The exact value of a finite float."""
    return fmpq(*float(x).as_integer_ratio())


def column_matrix(y: np.ndarray) -> arb_mat:
    """`y`, (n,) or (n, c), as an exact (n, c) matrix."""
    return arb_mat([[arb(float(v)) for v in row] for row in y.reshape(y.shape[0], -1)])


def from_rationals(rows: Iterable[Iterable[fmpq]]) -> arb_mat:
    """Balls round rational entries."""
    return arb_mat([[arb(v) for v in row] for row in rows])


def identity(n: int) -> arb_mat:
    """The exact `n × n` identity."""
    return arb_mat([[int(i == j) for j in range(n)] for i in range(n)])


def rows_of(M: arb_mat, indices: Iterable[int]) -> arb_mat:
    """The rows of `M` at `indices`."""
    table = M.tolist()
    return arb_mat([table[i] for i in indices])


def root(x: arb) -> arb:
    """Square root of a number that is not negative, though the ball that holds it may reach below zero."""
    if not x.is_finite():
        return arb.nan()
    low, high = x.lower(), x.upper()
    return x.sqrt() if low > 0 else arb(0).union(high.sqrt()) if high > 0 else arb(0)


def length(entries: Iterable[arb]) -> arb:
    """Ball that holds the Euclidean norm of numbers held by `entries`."""
    total = arb(0)
    for e in entries:
        total += e * e
    return root(total)


def norm(M: arb_mat) -> arb:
    """Exact upper bound of the Frobenius norm, hence of the spectral norm, of every matrix in `M`."""
    total = arb(0)
    for e in M.entries():
        size = e.abs_upper()
        total += size * size
    return total.sqrt().upper()


def inner(A: arb_mat, B: arb_mat) -> arb:
    """`Σ_ij A_ij B_ij`."""
    total = arb(0)
    for a, b in zip(A.entries(), B.entries(), strict=True):
        total += a * b
    return total


def widened(M: arb_mat, error: arb) -> arb_mat:
    """`M` with `error` added to the radius of every entry."""
    around = arb(0, error)
    return arb_mat([[e + around for e in row] for row in M.tolist()])


def up_to(bound: arb) -> arb:
    """The ball over `[0, bound]`."""
    return arb(0).union(bound.upper())


def exponent(M: arb_mat) -> int:
    """Least `k`, within one, with all of `|M| ≤ 2^k`."""
    largest = max(e.abs_upper() for e in M.entries())
    if largest == 0:
        return 0
    mantissa, power = largest.mid().man_exp()
    return int(mantissa).bit_length() + int(power)


def to_floats(M: arb_mat) -> np.ndarray:
    """Midpoints as float64: an approximation, never part of a proof."""
    return np.array([float(e.mid()) for e in M.entries()]).reshape(M.nrows(), M.ncols())


@dataclass(frozen=True)
class Near:
    """A real matrix known to lie within `error` of the exact matrix `mid`: in the Frobenius norm, hence in the spectral one."""

    mid: arb_mat
    error: arb

    @classmethod
    def of(cls, M: arb_mat, error: arb | int = 0) -> Near:
        """From a matrix of balls, of which something within `error` is known."""
        radii = arb(0)
        for e in M.entries():
            radius = e.rad()
            radii += radius * radius
        return cls(M.mid(), (radii.sqrt() + error).upper())

    def balls(self) -> arb_mat:
        """The same as a matrix of balls."""
        return widened(self.mid, self.error)
