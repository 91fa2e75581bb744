"""A positive definite matrix of balls, its inverse within a proven distance, and what follows from an approximate solution."""

from __future__ import annotations

from dataclasses import dataclass

from flint import arb, arb_mat

from theory.certified.balls import identity, inner, norm, up_to, widened
from theory.certified.eigenvalues import largest_eigenvalue


@dataclass(frozen=True)
class Inverse:
    """Approximate inverse `R` of a symmetric positive definite matrix `A`.

    Attributes
    ----------
    matrix : `A`, in balls
    approximate : `R`, exact
    smallest : ball that holds `λ_min(A)`
    """

    matrix: arb_mat
    approximate: arb_mat
    smallest: arb

    @classmethod
    def of(cls, A: arb_mat) -> Inverse | None:
        """`None` if the working precision does not prove `A` regular, which must be known to be positive semi-definite.

        With `E = I − RA` and `‖E‖ < 1`, `A⁻¹ = (I − E)⁻¹R` exists and `‖A⁻¹ − R‖ ≤ ‖E‖‖R‖/(1 − ‖E‖)`. The symmetric part
        of `R` is no farther, and `λ_max(A⁻¹)` is within that distance of its largest eigenvalue (Weyl).
        """
        one = identity(A.nrows())
        try:
            R = A.mid().solve(one, algorithm="approx").mid()
        except ZeroDivisionError:
            return None
        excess = norm(one - R * A)
        if not excess < 1:
            return None
        distance = (excess * norm(R) / (1 - excess)).upper()
        largest = largest_eigenvalue(((R + R.transpose()) / 2).mid())
        if largest is None:
            return None
        largest += arb(0, distance)
        return cls(A, R, 1 / largest) if largest > 0 else None

    def solve(self, b: arb_mat) -> arb_mat:
        """`A⁻¹b`, (n, c) → (n, c): `‖A⁻¹b − x‖ ≤ ‖b − Ax‖/λ_min` for any `x`."""
        x = (self.approximate * b).mid()
        return widened(x, (norm(b - self.matrix * x) / self.smallest).upper())

    def energy(self, b: arb_mat) -> arb:
        """`bᵀA⁻¹b`, summed over columns.

        `bᵀA⁻¹b = 2bᵀx − xᵀAx + rᵀA⁻¹r` with `r = b − Ax`, for any `x`; the last term lies in `[0, ‖r‖²/λ_min]`, so the
        error of `x` enters squared.
        """
        x = (self.approximate * b).mid()
        Ax = self.matrix * x
        remainder = up_to(norm(b - Ax) ** 2 / self.smallest)
        return 2 * inner(b, x) - inner(x, Ax) + remainder
