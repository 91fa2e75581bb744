"""What pretraining multiplies the gradient energy of a mode by, and that the factor belongs to the eigenspace."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic import filters
from theory.symbolic.notation import angle, between, c, lam, line

left = sp.Symbol("d", real=True)
first, second, first_scratch, second_scratch = sp.symbols("d_1 d_2 c_1 c_2", real=True)
pretrained, scratch = sp.symbols("E E_0", positive=True)


def _turned(u: sp.Expr, v: sp.Expr) -> sp.Expr:
    """Energy of two coefficients after a rotation of their eigenvectors."""
    return (sp.cos(angle) * u + sp.sin(angle) * v) ** 2 + (sp.cos(angle) * v - sp.sin(angle) * u) ** 2


@cache
def chain() -> Chain:
    """The ratio on a mode at any step, in three readings; a rotation of equal eigenvectors."""
    ratio = left**2 / c**2
    return Chain(
        title="Suppression by mode",
        steps=(
            *filters.residual_induction(),
            *line(
                (left * filters.q) ** 2 / (c * filters.q) ** 2,
                ("gradient energy of a mode after k target steps, d = vᵀỹ against c = vᵀy_Q: (1 − ηλ)^{2k} cancels", ratio),
            ),
            *line(lam * left**2 / (lam * c**2), ("the gradient in the weights carries λ as well, which cancels too", ratio)),
            *line(
                _turned(first, second) / _turned(first_scratch, second_scratch),
                (
                    "equal eigenvalues: a rotation of their eigenvectors leaves the sums E = Σ d² and E₀ = Σ c², and their ratio",
                    pretrained / scratch,
                ),
            ),
        ),
        results={"factor": pretrained / scratch},
        where={pretrained: first**2 + second**2, scratch: first_scratch**2 + second_scratch**2},
        ranges={
            left: between(Fraction(1, 4), 2),
            c: between(Fraction(1, 4), 2),
            **{symbol: between(Fraction(1, 4), 2) for symbol in (first, second, first_scratch, second_scratch)},
        },
    )
