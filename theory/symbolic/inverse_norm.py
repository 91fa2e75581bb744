"""`yᵀH⁻¹y` is the least squared norm of weights that fit `y`."""

from __future__ import annotations

from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.notation import F_P, GRAM_BLOCKS, H_P, W_0, F_Pt, between, c, lam, line, with_transpose

mu, mu_t = with_transpose("mu", 2, 1)
feature, w, extra = sp.symbols("f w delta", real=True)


@cache
def chain() -> Chain:
    """Least norm in the span of the features, by mode; any other fit is longer."""
    return Chain(
        title="Norm of the least fit",
        steps=(
            *line(
                (mu_t * F_P) * W_0 - mu_t * (F_P * W_0),
                ("weights Fᵀμ are orthogonal to any weights that F does not see", mu_t * 0, "expand"),
            ),
            *line(
                (mu_t * F_P) * (F_Pt * mu),
                ("so the least fit is W = Fᵀμ with Hμ = y, and its squared norm is μᵀHμ", mu_t * H_P * mu, "expand"),
            ),
            *line(feature * w, ("on a mode, a feature f = √λ: the weight w = c/√λ fits c", c)),
            *line(w**2, ("its square", c**2 / lam)),
            *line(w**2 + extra**2 - c**2 / lam, ("what a further weight, orthogonal to it, adds: never less than nothing", extra**2)),
        ),
        results={"mode": c**2 / lam},
        where={**GRAM_BLOCKS, feature: sp.sqrt(lam), w: c / sp.sqrt(lam)},
        ranges={extra: between(-2, 2)},
    )
