"""When the ReLU Gram matrix is singular, and by how much: read off the inputs, without rounding.

Two causes, and no others: rows that are positive multiples of each other give proportional features, and opposite rows give features that
add up to the row itself, `x 1{w·x > 0} + x 1{w·x < 0} = x`, so that as many of these sums as are linearly dependent are lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from theory.arrays import Array, as_float, to_numpy
from theory.errors import InvalidInput

_Direction = tuple[Fraction, ...]


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
    rows: dict[_Direction, list[int]] = {}
    zeros = 0
    for i, row in enumerate(to_numpy(X).tolist()):
        direction = _direction(row)
        if direction is None:
            zeros += 1
        else:
            rows.setdefault(direction, []).append(i)
    opposites, axes = [], []
    for direction, indices in rows.items():
        opposite = rows.get(tuple(-v for v in direction))
        if opposite is not None and indices[0] < opposite[0]:
            opposites.append((indices[0], opposite[0]))
            axes.append(direction)
    return Degeneracy(
        size=int(X.shape[0]),
        zeros=zeros,
        duplicates=tuple(tuple(group) for group in rows.values() if len(group) > 1),
        opposites=tuple(opposites),
        span=_rank(axes),
    )


def _direction(row: Sequence[float]) -> _Direction | None:
    """The row divided by the magnitude of its first non-zero entry, exactly; `None` for a row of zeros."""
    first = next((abs(v) for v in row if v), None)
    if first is None:
        return None
    unit = Fraction(first)
    return tuple(Fraction(v) / unit for v in row)


def _rank(rows: Sequence[_Direction]) -> int:
    """Rank of a matrix of rationals, by elimination."""
    pivots: list[tuple[int, list[Fraction]]] = []
    for given in rows:
        row = list(given)
        for column, pivot in pivots:
            factor = row[column]
            if factor:
                row = [a - factor * b for a, b in zip(row, pivot, strict=True)]
        lead = next((k for k, v in enumerate(row) if v), None)
        if lead is not None:
            pivots.append((lead, [v / row[lead] for v in row]))
        if len(pivots) == len(given):
            break
    return len(pivots)


def _listed(groups: Sequence[Sequence[int]], limit: int = 4) -> str:
    shown = [" and ".join(map(str, group[:limit])) for group in groups[:limit]]
    return ", ".join(shown) + (", …" if len(groups) > limit or any(len(g) > limit for g in groups) else "")
