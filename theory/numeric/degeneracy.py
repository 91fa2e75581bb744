"""When the ReLU Gram matrix is singular, and by how much: read off the inputs, without rounding.

Two causes, and no others: rows that are positive multiples of each other give proportional features, and opposite rows give features that
add up to the row itself, `x 1{w·x > 0} + x 1{w·x < 0} = x`, so that as many of these sums as are linearly dependent are lost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from theory.arrays import Array, as_float, to_numpy
from theory.errors import InvalidInput

Direction = tuple[int, ...]
"""Whole numbers without a common factor."""


@dataclass(frozen=True, kw_only=True)
class Degeneracy:
    """Why the ReLU Gram matrix of `size` inputs has the rank it has.

    Attributes
    ----------
    size : int
        Number of rows.
    zeros : int
        Rows of zeros.
    duplicates : tuple of tuples of int
        Groups of two or more rows that are positive multiples of each other.
    opposites : tuple of pairs of int
        One pair of rows for each direction that occurs with its opposite.
    span : int
        Dimension that the directions of `opposites` span.
    """

    size: int
    zeros: int
    duplicates: tuple[tuple[int, ...], ...]
    opposites: tuple[tuple[int, int], ...]
    span: int

    @property
    def directions(self) -> int:
        """Number of distinct directions among the non-zero rows."""
        return self.size - self.zeros - sum(len(group) - 1 for group in self.duplicates)

    @property
    def rank(self) -> int:
        """Directions, less the opposite pairs beyond the dimension of their span."""
        return self.directions - (len(self.opposites) - self.span)

    def __str__(self) -> str:
        """The rank and its causes in words."""
        causes = []
        if self.zeros:
            causes.append(f"{self.zeros} of zeros")
        if self.duplicates:
            repeated = sum(len(group) - 1 for group in self.duplicates)
            causes.append(f"{repeated} that repeat the direction of another (rows {_listed(self.duplicates)})")
        if len(self.opposites) > self.span:
            causes.append(f"{len(self.opposites)} opposite pairs (rows {_listed(self.opposites)}) that span {self.span} dimensions")
        return f"rank {self.rank} of {self.size}" + (f": {'; '.join(causes)}" if causes else "")


def degeneracy(X: Array) -> Degeneracy:
    """Duplicates, opposite pairs and rank of the ReLU Gram matrix of `X`, by exact rational arithmetic on its entries.

    Parameters
    ----------
    X : (n, d) array
        What its floats are, exactly: rows that only nearly repeat a direction (normalised copies, say) count as distinct, and their
        Gram matrix is regular, with an eigenvalue that rounding may hide.

    Raises
    ------
    InvalidInput
        For input that is not two-dimensional and finite.

    Source: Du et al. 2018 (arXiv 1810.02054), theorem 3.1, gives regularity without parallel inputs; the rest is in the derivation.
    """
    X = as_float(X, "X")
    if X.ndim != 2 or 0 in X.shape:
        raise InvalidInput(f"X has shape {tuple(X.shape)}; (n, d) with n, d ≥ 1 is allowed")
    rows: dict[Direction, list[int]] = {}
    zeros = 0
    for i, row in enumerate(to_numpy(X).tolist()):
        found = direction_of(row)
        if found is None:
            zeros += 1
        else:
            rows.setdefault(found[0], []).append(i)
    opposites = opposite_pairs({direction: indices[0] for direction, indices in rows.items()})
    return Degeneracy(
        size=int(X.shape[0]),
        zeros=zeros,
        duplicates=tuple(tuple(group) for group in rows.values() if len(group) > 1),
        opposites=tuple((i, j) for _, i, j in opposites),
        span=_rank([axis for axis, _, _ in opposites]),
    )


def direction_of(row: Sequence[float]) -> tuple[Direction, Fraction] | None:
    """The direction of a row and the positive number to multiply it by, both exactly; `None` for a row of zeros."""
    ratios = [float(v).as_integer_ratio() for v in row]
    below = max(denominator for _, denominator in ratios)  # powers of two: the largest is a common one
    whole = [numerator * (below // denominator) for numerator, denominator in ratios]
    divisor = math.gcd(*whole)
    if divisor == 0:
        return None
    return tuple(w // divisor for w in whole), Fraction(divisor, below)


def opposite_pairs(first: Mapping[Direction, int]) -> list[tuple[Direction, int, int]]:
    """Each direction that occurs with its opposite, once, and the row of either, the earlier first; `first` tells a direction's row."""
    found = []
    for direction, i in first.items():
        j = first.get(tuple(-v for v in direction))
        if j is not None and i < j:
            found.append((direction, i, j))
    return found


def _rank(rows: Sequence[Direction]) -> int:
    """Rank of a matrix of whole numbers, by elimination without fractions: every entry stays a minor of it (Bareiss 1968)."""
    pivots: list[tuple[int, list[int]]] = []
    for given in rows:
        row, last = list(given), 1
        for column, pivot in pivots:
            head, factor = pivot[column], row[column]
            row = [(head * a - factor * b) // last for a, b in zip(row, pivot, strict=True)]
            last = head
        lead = next((k for k, v in enumerate(row) if v), None)
        if lead is not None:
            pivots.append((lead, row))
        if len(pivots) == len(given):
            break
    return len(pivots)


def _listed(groups: Sequence[Sequence[int]], limit: int = 4) -> str:
    shown = [" and ".join(map(str, group[:limit])) for group in groups[:limit]]
    return ", ".join(shown) + (", …" if len(groups) > limit or any(len(g) > limit for g in groups) else "")
