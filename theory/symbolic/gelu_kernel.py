"""Dual of GELU, `σ(x) = x Φ(x)`, and of its derivative `Φ(x) + x φ(x)`: Gaussian integration by parts (Stein's lemma)."""

from __future__ import annotations

from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.erf_kernel import COVARIANCE, RANGES, c, gaussian_integral, p, q
from theory.symbolic.notation import at, between, line

both, densities = sp.symbols("A B", positive=True)
noisy = sp.Symbol("D", positive=True)
first, cross, second, product, square = sp.symbols("E_1 E_2 E_3 E_4 E_5", real=True)
_DELTA = sp.Symbol("delta", positive=True)


@cache
def chain() -> Chain:
    """Five expectations by Stein's lemma, each a linear equation in itself; the two duals from them."""
    size = (1 + p) * (1 + q)
    D = size - c**2
    where = {
        noisy: D,
        both: sp.Rational(1, 4) + sp.asin(c / sp.sqrt(size)) / (2 * sp.pi),
        densities: 1 / (2 * sp.pi * sp.sqrt(D)),
        first: c * densities / (1 + p),
        second: c * densities / (1 + q),
        cross: q * densities - c**2 * densities / (1 + p),
        product: c * densities / noisy,
        square: densities * (q * (1 + p) - c**2) / noisy,
    }
    dual = c * both + densities * (p * q + c**2 * (1 - p * q) / size)
    derivative = both + c * densities * (1 / (1 + p) + 1 / (1 + q) + 1 / noisy)
    return Chain(
        title="Dual of GELU",
        steps=(
            *gaussian_integral(),
            *line(COVARIANCE.det() * (COVARIANCE.inv() + sp.eye(2)).det(), ("B = E[φ(u) φ(v)] is 1/(2π √(det Λ det(Λ⁻¹ + I)))", noisy)),
            *line(sp.Derivative(where[both], c), ("A = E[Φ(u) Φ(v)]: Price's theorem, dA/dc = B", where[densities], "evaluate")),
            *line(at(where[both], c, 0), ("and independent, A = ¼", sp.Rational(1, 4), "evaluate")),
            *line(
                -p * first + c * densities,
                ("E₁ = E[u φ(u) Φ(v)] = p E[φ'(u) Φ(v)] + c E[φ(u) φ(v)], φ' = −u φ", first),
            ),
            *line(-q * second + c * densities, ("E₃ = E[v φ(v) Φ(u)], the same with u and v exchanged", second)),
            *line(-c * first + q * densities, ("E₂ = E[v φ(u) Φ(v)] = c E[φ'(u) Φ(v)] + q E[φ(u) φ(v)]", cross)),
            *line(
                p * cross + c * both + c * second,
                ("E[u · v Φ(u) Φ(v)] = p E₂ + c (A + E₃)", dual, "simplify"),
            ),
            *line(-p * product + c * (densities - square), ("E₄ = E[u v φ(u) φ(v)] = −p E₄ + c (B − E₅)", product)),
            *line(q * (densities - square) - c * product, ("E₅ = E[v² φ(u) φ(v)] = q (B − E₅) − c E₄", square)),
            *line(both + first + second + product, ("E[(Φ + uφ)(u) (Φ + vφ)(v)] = A + E₁ + E₃ + E₄", derivative)),
            *line(sp.Derivative(_spelled(dual, where), c), ("Price's theorem: d E[σσ]/dc = E[σ'σ']", derivative, "evaluate")),
        ),
        results={"dual": dual, "derivative dual": derivative},
        where=where,
        ranges={**RANGES, _DELTA: between(1, 3)},
    )


def _spelled(expr: sp.Expr, where: dict[sp.Expr, sp.Expr]) -> sp.Expr:
    """Abbreviations written out: a derivative must see the `c` in them."""
    for _ in range(3):
        expr = expr.xreplace(where)
    return expr
