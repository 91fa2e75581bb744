"""One stage of training in balls: its Gram matrix, eigenvalues and what gradient descent on it makes of labels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from flint import arb, arb_mat, fmpq

from theory.certified.balls import Near, column_matrix, from_rationals, inner, length, rational, root, rows_of
from theory.certified.eigenvalues import largest_eigenvalue
from theory.certified.filters import Squarings
from theory.certified.inverse import Inverse
from theory.certified.rank import Span
from theory.certified.rows import ExactRows, ball_gram
from theory.errors import UnstableStep


@dataclass(frozen=True)
class ExactSet:
    """A labelled set as exact rationals: what no precision changes.

    Attributes
    ----------
    rows : inputs
    labels : (n, c), exact
    y : the same as a matrix
    span : how the rows' features depend on each other
    """

    rows: ExactRows
    labels: list[list[fmpq]]
    y: arb_mat
    span: Span

    @classmethod
    def of(cls, X: np.ndarray, y: np.ndarray) -> ExactSet:
        """From host arrays, (n, d) and (n,) or (n, c)."""
        rows = ExactRows.of(X)
        labels = [[rational(v) for v in row] for row in y.reshape(len(y), -1).tolist()]
        return cls(rows, labels, column_matrix(y), Span.of(rows))

    @cached_property
    def fit(self) -> list[list[fmpq]]:
        """Labels of the basis rows under the least-squares fit, exactly."""
        return self.span.projected(self.labels)

    @cached_property
    def misfit(self) -> list[list[fmpq]]:
        """What of the labels lies outside the range of the Gram matrix, exactly."""
        fitted = self.span.spread(self.fit)
        return [[a - b for a, b in zip(*pair, strict=True)] for pair in zip(self.labels, fitted, strict=True)]


class Stage:
    """A labelled set's Gram matrix at the current working precision; what cannot be proven at it is `None`."""

    def __init__(self, data: ExactSet, steps: int | None, lr: float | None, lr_name: str) -> None:
        """`lr=None` stands for `1/λ_max`; raises `UnstableStep` for one that is proven to have no limit, or to diverge."""
        self.data, self.steps = data, steps
        self.gram = ball_gram(data.rows)
        self.largest = largest_eigenvalue(self.gram)
        basis = data.span.basis
        within = self.gram if data.span.full else arb_mat([[self.gram[i, j] for j in basis] for i in basis])
        self.inverse = Inverse.of(within)
        """Of the Gram matrix of the basis rows, which is regular."""
        self.lr = None if self.largest is None else 1 / self.largest if lr is None else _stable(arb(lr), self, lr_name)

    @property
    def smallest(self) -> arb | None:
        """`λ_min`: exactly zero when the features are dependent."""
        if not self.data.span.full:
            return arb(0)
        return None if self.inverse is None else self.inverse.smallest

    @cached_property
    def squarings(self) -> Squarings | None:
        """For a finite number of steps."""
        if self.steps is None or self.lr is None:
            return None
        return Squarings.of(self.gram, self.lr, self.steps)

    def transfer(self, others: ExactRows) -> arb_mat | None:
        """What training on this set's own labels makes of outputs at other points: `H(others, ·) φ_k(H) y`."""
        rows, span = self.data.rows, self.data.span
        if self.steps is None:
            if self.inverse is None or self.lr is None:
                return None
            coefficients = self.inverse.solve(from_rationals(self.data.fit))
            return ball_gram(others, rows if span.full else rows.chosen(span.basis)) * coefficients
        if self.squarings is None:
            return None
        return ball_gram(others, rows) * self.squarings.apply(Near.of(self.data.y))[1].balls()

    def energy(self, transformed: arb_mat | None) -> arb | None:
        """`(y − t)ᵀH⁺(y − t)` for `t` (none: zero) in the range of the Gram matrix; `yᵀH⁻¹y` where `y` is in it too."""
        if self.inverse is None:
            return None
        z = from_rationals(self.data.fit)
        if transformed is not None:
            z -= rows_of(transformed, self.data.span.basis)
        return self.inverse.energy(z)

    def trained(self, transformed: arb_mat | None) -> tuple[arb | None, arb | None]:
        """Displacement `‖W(k) − W(0)‖` and what is left, `‖q_k(H)(y − t)‖`, after this stage's steps."""
        if self.steps is None:
            # As t lies in the range, what is left is what of y does not.
            energy = self.energy(transformed)
            left = length(arb(v) for row in self.data.misfit for v in row)
            return (None if energy is None else root(energy)), left
        if self.squarings is None:
            return None, None
        remaining = self.data.y if transformed is None else self.data.y - transformed
        q, phi = self.squarings.apply(Near.of(remaining))
        coefficients = phi.balls()
        return root(inner(coefficients, self.gram * coefficients)), length(q.balls().entries())


def _stable(lr: arb, stage: Stage, name: str) -> arb | None:
    """`lr` if it is proven to be stable, `None` if neither that nor the contrary is."""
    assert stage.largest is not None
    reach = lr * stage.largest
    bound = f"2/λ_max = {float((2 / stage.largest).mid()):.6g}"
    if reach > 2:
        raise UnstableStep(f"{name} = {float(lr):.6g} diverges; at most {bound} is allowed: nothing is certified of unstable training")
    if stage.steps is None:
        if reach >= 2:
            raise UnstableStep(f"{name} = {float(lr):.6g} has no limit to train to; below {bound} is allowed")
        return lr if reach < 2 else None
    return lr if reach <= 2 else None
