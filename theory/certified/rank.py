"""The exact rank of a ReLU Gram matrix, and every row's feature as a combination of independent ones.

The feature of a row is `φ(x) = x 1{w·x ≥ 0}`, a function of `w`, and `H(x, z) = E φ(x)·φ(z)`. So

- parallel rows depend on each other: `φ(sx) = sφ(x)` for `s > 0`;
- `φ(x) − φ(−x) = x`, whatever `w`: opposite pairs are dependent as soon as the vectors of the pairs are;
- nothing else depends. Across the hyperplane `x⊥`, `Σ c_x φ(x)` jumps by `(c_x + c_{−x}) x`. If the sum vanishes, then `c_x = 0`
  for a row without opposite and `c_{−x} = −c_x` for pairs, and what remains is `Σ c_x x = 0` over pairs.

Hence `rank H = (directions) − (pairs) + rank(vectors of the pairs)`, a question about whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

from flint import fmpq, fmpq_mat, fmpz_mat

from theory.certified.rows import ExactRows
from theory.numeric.degeneracy import Direction, opposite_pairs


@dataclass(frozen=True)
class Span:
    """Features `φ(x_i) = Σ_k C_ik φ(x_basis[k])` with rational `C`, the features of the basis independent.

    Attributes
    ----------
    basis : tuple of int
        Rows with independent features; as many as the rank of the Gram matrix.
    combinations : tuple of mappings
        Row `i` of `C` by its entries that are not zero, `{k: C_ik}`.
    """

    basis: tuple[int, ...]
    combinations: tuple[dict[int, fmpq], ...]

    @classmethod
    def of(cls, rows: ExactRows) -> Span:
        """Decide it, exactly."""
        first: dict[Direction, int] = {}
        for i, direction in enumerate(rows.directions):
            first.setdefault(direction, i)
        dropped = _dependent_opposites(rows, first)
        basis = tuple(i for i in first.values() if i not in dropped)
        place = {i: k for k, i in enumerate(basis)}
        combinations = []
        for direction, scale in zip(rows.directions, rows.scales, strict=True):
            start = first[direction]
            # In units of whole directions; `scale` of the row over that of the basis row turns them into features.
            parts = dropped.get(start, {start: fmpq(1)})
            combinations.append({place[j]: share * scale / rows.scales[j] for j, share in parts.items()})
        return cls(basis, tuple(combinations))

    @property
    def rank(self) -> int:
        """Rank of the Gram matrix."""
        return len(self.basis)

    @property
    def full(self) -> bool:
        """Whether the Gram matrix is regular."""
        return self.rank == len(self.combinations)

    def outside(self, y: list[list[fmpq]]) -> int | None:
        """First row of labels `y` (n, c) that no function of the span takes on beside the rows before it; `None` if all fit."""
        for i, parts in enumerate(self.combinations):
            fitted = [sum((share * y[self.basis[k]][j] for k, share in parts.items()), fmpq(0)) for j in range(len(y[i]))]
            if fitted != y[i]:
                return i
        return None

    def projected(self, y: list[list[fmpq]]) -> list[list[fmpq]]:
        """`(CᵀC)⁻¹Cᵀy`: the labels of the basis rows under the least-squares fit, which is where gradient descent ends."""
        if self.full:
            return y
        r, c = self.rank, len(y[0])
        normal = [[fmpq(0)] * r for _ in range(r)]
        right = [[fmpq(0)] * c for _ in range(r)]
        for parts, labels in zip(self.combinations, y, strict=True):
            for k, share in parts.items():
                for other, more in parts.items():
                    normal[k][other] += share * more
                for j, label in enumerate(labels):
                    right[k][j] += share * label
        if all(len(parts) == 1 for parts in self.combinations):  # parallel rows only: CᵀC is diagonal
            return [[value / normal[k][k] for value in right[k]] for k in range(r)]
        solved: list[list[fmpq]] = fmpq_mat(normal).solve(fmpq_mat(right)).tolist()
        return solved

    def spread(self, z: list[list[fmpq]]) -> list[list[fmpq]]:
        """`C z`: what labels `z` of the basis rows mean for all rows."""
        columns = range(len(z[0]))
        return [[sum((share * z[k][j] for k, share in parts.items()), fmpq(0)) for j in columns] for parts in self.combinations]


def _dependent_opposites(rows: ExactRows, first: dict[Direction, int]) -> dict[int, dict[int, fmpq]]:
    """Rows `−a` whose feature follows from others because `a = Σ t_i a_i` over pairs before it, with that combination."""
    pairs = [(i, j) for _, i, j in opposite_pairs(first)]
    if not pairs:
        return {}
    # Columns are the vectors of the pairs: the reduced form has a unit column for an independent one, and in the column of a
    # dependent one its shares of those.
    vectors = fmpz_mat([list(rows.directions[i]) for i, _ in pairs]).transpose()
    reduced, denominator, rank = vectors.rref()
    if rank == len(pairs):
        return {}
    table = reduced.tolist()
    independent = [next(j for j, value in enumerate(table[row]) if value != 0) for row in range(rank)]
    dropped = {}
    for j, (plus, minus) in enumerate(pairs):
        if j in independent:
            continue
        parts = {plus: fmpq(1)}
        for row, i in enumerate(independent):
            share = fmpq(table[row][j], denominator)
            if share != 0:
                # φ(−a) = φ(a) − a, and a_i = φ(a_i) − φ(−a_i).
                parts[pairs[i][0]], parts[pairs[i][1]] = -share, share
        dropped[minus] = parts
    return dropped
