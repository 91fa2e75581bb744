"""`H⁻¹Y` by preconditioned conjugate gradients: `H` only multiplies, so it need not be held."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from theory.arrays import Array, namespace, scalar, to_numpy
from theory.errors import NotConverged
from theory.numeric.solvers.operators import Operator, Progress


class Preconditioner(Protocol):
    """Something near `H` that is easily solved with."""

    def solve(self, V: Array) -> Array:
        """`P⁻¹ V`."""


@dataclass(frozen=True, eq=False)
class Solution:
    """What conjugate gradients found.

    Attributes
    ----------
    x : (n, c) array, near `H⁻¹Y`
    residual : (n, c) array, `Y − H x`, taken anew at the end
    relative_residual : float, the largest of a column
    iterations : int, products with `H`
    """

    x: Array
    residual: Array
    relative_residual: float
    iterations: int


def conjugate_gradients(
    operator: Operator,
    Y: Array,
    *,
    preconditioner: Preconditioner | None = None,
    rtol: float | None = None,
    max_iterations: int = 1000,
    progress: Progress | None = None,
) -> Solution:
    """Solve `H X = Y`, all columns sharing each product with `H`.

    Parameters
    ----------
    operator : Operator
        Of size `n`.
    Y : (n, c) array
    preconditioner : optional
        Such as `LowRank`.
    rtol : float, optional
        Largest `‖y − H x‖/‖y‖` of a column; `√eps/16` when absent.
    max_iterations : int
        Products with `H` after which it gives up.

    Raises
    ------
    NotConverged
        With the residual reached: after `max_iterations`, or where it no longer falls, as for labels outside the range of a singular `H`.

    Notes
    -----
    `yᵀH⁻¹y = yᵀx + xᵀr + rᵀH⁻¹r` with `r = y − Hx`, and outputs `h(x)ᵀH⁻¹y` are off by at most `√K(x, x) √(rᵀH⁻¹r)`:
    `rᵀH⁻¹r ≤ ‖r‖²/λ_min`.

    Source: Hestenes and Stiefel 1952; Saad, *Iterative Methods for Sparse Linear Systems*, algorithm 9.1.
    """
    xp = namespace(operator.like, Y)
    eps = float(xp.finfo(Y.dtype).eps)
    rtol = eps**0.5 / 16 if rtol is None else rtol
    size = _norms(Y)
    size = xp.where(size > 0, size, xp.ones_like(size))
    x, residual = xp.zeros_like(Y), Y
    taken, reached = 0, math.inf
    # Rounding drives the recursion's residual away from the true one: it starts again from that, until the two agree.
    while True:
        before = reached
        x, taken = _cycle(operator, x, residual, size, rtol, preconditioner, taken, max_iterations, progress)
        residual = Y - operator.times(x)
        taken += 1
        reached = scalar(xp.max(_norms(residual) / size))
        if reached <= rtol:
            return Solution(x, residual, reached, taken)
        if taken >= max_iterations or not reached < before / 2:
            why = "" if taken >= max_iterations else ", where it no longer falls: is Y in the range of H?"
            raise NotConverged(
                f"conjugate gradients left a relative residual of {reached:.3g} after {taken} products with a matrix of {operator.size} "
                f"points; {rtol:.3g} was asked for{why}"
            )


def _cycle(
    operator: Operator,
    x: Array,
    residual: Array,
    size: Array,
    rtol: float,
    preconditioner: Preconditioner | None,
    taken: int,
    max_iterations: int,
    progress: Progress | None,
) -> tuple[Array, int]:
    """Iterations until the recursion's own residual is small, stops falling, or the products are used up."""
    xp = namespace(residual)

    def solved(v: Array) -> Array:
        return v if preconditioner is None else preconditioner.solve(v)

    def over(a: Array, b: Array) -> Array:
        """`a/b`, and 0 in columns that are done."""
        return xp.where(b > 0, a / xp.where(b > 0, b, xp.ones_like(b)), xp.zeros_like(a))

    z = solved(residual)
    direction, energy = z, xp.sum(residual * z, axis=0)
    first = best = scalar(xp.max(_norms(residual) / size))
    since = 0
    while taken < max_iterations:
        done = _norms(residual) / size <= rtol / 2
        if bool(xp.all(done)) or since > 100:
            break
        product = operator.times(direction)
        taken += 1
        step = over(energy, xp.sum(direction * product, axis=0))
        step = xp.where(done, xp.zeros_like(step), step)
        x, residual = x + step * direction, residual - step * product
        z = solved(residual)
        following = xp.sum(residual * z, axis=0)
        direction, energy = z + over(following, energy) * direction, following
        now = float(to_numpy(xp.max(_norms(residual) / size)))
        best, since = (now, 0) if now < best * 0.9 else (best, since + 1)
        if progress is not None and first > rtol:
            progress("conjugate gradients", min(1.0, max(0.0, math.log(first / best) / math.log(first / rtol))))
    return x, taken


def _norms(Y: Array) -> Array:
    """Of columns; (c,)."""
    xp = namespace(Y)
    return xp.sqrt(xp.sum(Y * Y, axis=0))
