"""Data rows as what they are, exact rationals, and the Gram matrix between them as balls.

Every float is a dyadic rational, so whether two rows are parallel, and the numbers an angle is made of, are decided exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from flint import arb, arb_mat, fmpq, fmpz, fmpz_mat

from theory.numeric.degeneracy import Direction, direction_of


@dataclass(frozen=True)
class ExactRows:
    """Rows `x = scale · direction` with `direction` a vector of whole numbers without common factor, and `scale > 0` rational.

    Two rows are parallel iff their directions are equal, opposite iff these are each other's negative.
    """

    directions: tuple[Direction, ...]
    scales: tuple[fmpq, ...]

    @classmethod
    def of(cls, X: np.ndarray) -> ExactRows:
        """The non-zero rows of `X`, (n, d), each entry taken at its exact value."""
        directions, scales = [], []
        for row in X.tolist():
            found = direction_of(row)
            assert found is not None  # no problem holds a row of zeros
            directions.append(found[0])
            scales.append(fmpq(found[1].numerator, found[1].denominator))
        return cls(tuple(directions), tuple(scales))

    def __len__(self) -> int:
        return len(self.directions)

    @cached_property
    def matrix(self) -> fmpz_mat:
        """Directions as the rows of a matrix of whole numbers."""
        return fmpz_mat([list(v) for v in self.directions])

    @cached_property
    def squares(self) -> list[fmpz]:
        """Squared norms of the directions."""
        return [fmpz(sum(c * c for c in v)) for v in self.directions]

    @property
    def trace(self) -> fmpq:
        """Trace of the Gram matrix, `Σ ‖x‖²/2`, exactly."""
        return sum((s * s * square for s, square in zip(self.scales, self.squares, strict=True)), fmpq(0)) / 2

    def chosen(self, indices: tuple[int, ...]) -> ExactRows:
        """The rows at `indices`."""
        return ExactRows(tuple(self.directions[i] for i in indices), tuple(self.scales[i] for i in indices))


def ball_gram(X: ExactRows, Z: ExactRows | None = None) -> arb_mat:
    """Gram matrix `H(x, z) = x·z (π − θ)/(2π)` in balls, each within a few units in the last place of the working precision.

    `π − θ = atan2(√(‖x‖²‖z‖² − (x·z)²), −x·z)`, and what stands under the root is a whole number, computed without
    rounding: nothing cancels at any angle. Parallel rows (root zero) and orthogonal ones give exact entries.

    Source: as `theory.numeric.gram.relu_gram`.
    """
    symmetric = Z is None
    other = X if Z is None else Z
    products = (X.matrix * other.matrix.transpose()).tolist()
    x_scales, z_scales = [arb(s) for s in X.scales], [arb(s) for s in other.scales]
    turn = 2 * arb.pi()
    H: list[list[arb]] = []
    for i, row in enumerate(products):
        out: list[arb] = []
        for j, dot in enumerate(row):
            if symmetric and j < i:
                out.append(H[j][i])
                continue
            crossed = X.squares[i] * other.squares[j] - dot * dot
            if dot == 0 or (crossed == 0 and dot < 0):
                out.append(arb(0))
                continue
            entry = arb(dot) / 2 if crossed == 0 else dot * arb.atan2(arb(crossed).sqrt(), arb(-dot)) / turn
            out.append(entry * (x_scales[i] * z_scales[j]))
        H.append(out)
    return arb_mat(H)
