"""What an approximation proves: enclosures of solutions, quadratic forms, eigenvalues and powers, from residuals alone.

Vectors and matrices are exact here; what rounding does to them is the business of ball arithmetic.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.notation import GRAM_BLOCKS, H_P, between, lam, line, matrix, with_transpose

solution, solution_t = with_transpose("s", 2, 1)
guess, guess_t = with_transpose("x", 2, 1)
gap = sp.Symbol("g", nonnegative=True)
w = sp.Symbol("w", real=True)
# ε = p/(1 + p) runs through [0, 1) as p runs through the numbers from 0 on.
p = sp.Symbol("p", nonnegative=True)
epsilon = p / (1 + p)

_RANGES = {gap: between(0, 2), w: between(-2, 2), p: between(0, 5)}


@cache
def energy() -> Chain:
    """`0 ≤ bᵀA⁻¹b − (2bᵀx − xᵀAx) ≤ ‖b − Ax‖²/λ_min`."""
    b_x = solution_t * H_P * guess + guess_t * H_P * solution
    return Chain(
        title="A quadratic form in the inverse, from an approximate solution",
        steps=(
            *line(
                solution_t * H_P * solution - (b_x - guess_t * H_P * guess),
                (
                    "with b = A s: what 2bᵀx − xᵀAx is short of, (s − x)ᵀA(s − x) ≥ 0",
                    (solution_t - guess_t) * H_P * (solution - guess),
                    "expand",
                ),
            ),
            *line(H_P * solution - H_P * guess, ("the residual b − Ax is A(s − x)", H_P * (solution - guess), "expand")),
            *line(
                w**2 / (lam + gap),
                ("on a mode λe² = w²/λ, with w = λe that of the residual; at most w²/λ_min", w**2 / lam, "simplify", "≤"),
            ),
        ),
        results={"remainder": w**2 / lam},
        where=GRAM_BLOCKS,
        ranges=_RANGES,
    )


@cache
def solve() -> Chain:
    """`‖A⁻¹b − x‖ ≤ ‖b − Ax‖/λ_min`."""
    return Chain(
        title="The distance of an approximate solution",
        steps=(
            *line(H_P * solution - H_P * guess, ("the residual b − Ax is A(s − x)", H_P * (solution - guess), "expand")),
            *line(
                (w / (lam + gap)) ** 2,
                ("on a mode e = w/λ; squared, at most w²/λ_min²", w**2 / lam**2, "simplify", "≤"),
            ),
        ),
        results={"distance": w**2 / lam**2},
        where=GRAM_BLOCKS,
        ranges=_RANGES,
    )


@cache
def inverse() -> Chain:
    """`‖A⁻¹ − R‖ ≤ ‖E‖‖R‖/(1 − ‖E‖)` for `E = I − RA`, `‖E‖ < 1`."""
    R, E = matrix("R", 2, 2), matrix("E_A", 2, 2)
    size, slack = sp.symbols("rho d", nonnegative=True)
    return Chain(
        title="The distance of an approximate inverse",
        steps=(
            *line(solution - R * (H_P * solution), ("for b = A s: A⁻¹b − Rb is E s", E * solution, "expand")),
            *line(
                epsilon * (size - slack) / (1 - epsilon),
                (
                    "‖s‖ ≤ ‖Rb‖ + ‖Es‖, so that ‖s‖ = (ρ − d)/(1 − ε) with ρ = ‖Rb‖, d ≥ 0; ‖Es‖ ≤ ε‖s‖",
                    epsilon * size / (1 - epsilon),
                    "simplify",
                    "≤",
                ),
            ),
        ),
        results={"distance": epsilon * size / (1 - epsilon)},
        where={**GRAM_BLOCKS, E: 1 - R * H_P},
        ranges={**_RANGES, size: between(0, 2), slack: between(0, 1)},
    )


@cache
def largest() -> Chain:
    """`s > λ_max` if `sI − M`, scaled to unit diagonal, is `I + F` with `|F|t < t` for some `t > 0`; Rayleigh quotients are below."""
    x_1, x_2 = sp.symbols("x_1 x_2", real=True)
    t_1, t_2, f = sp.symbols("t_1 t_2 f", positive=True)
    positive = between(Fraction(1, 10), 3)
    return Chain(
        title="The largest eigenvalue from both sides",
        steps=(
            *line(
                lam * x_1**2 + (lam + gap) * x_2**2,
                ("vᵀMv on two modes, the second leading", (lam + gap) * (x_1**2 + x_2**2), "expand", "≤"),
            ),
            *line(
                2 * f * x_1 * x_2,
                (
                    "a pair of entries of F against what stands on the diagonal: short by f(x₁t₂ − x₂t₁)²/(t₁t₂)",
                    f * (x_1**2 * t_2 / t_1 + x_2**2 * t_1 / t_2),
                    "simplify",
                    "≤",
                ),
            ),
            *line(
                x_1**2 * (epsilon * t_1) / t_1,
                ("the sum of these is xᵢ²(|F|t)ᵢ/tᵢ, with (|F|t)ᵢ = εtᵢ, ε < 1: xᵀ(I + F)x stays positive", x_1**2, "simplify", "≤"),
            ),
        ),
        results={"diagonal": x_1**2},
        ranges={**_RANGES, x_1: between(-2, 2), x_2: between(-2, 2), t_1: positive, t_2: positive, f: positive},
    )


@cache
def squaring() -> Chain:
    """`‖Y² − P²‖ ≤ e(2 + e)` for `‖Y − P‖ ≤ e`, `‖P‖ ≤ 1`; and `φ` from the squares."""
    P, D = matrix("P", 2, 2), matrix("D", 2, 2)
    e, size = sp.Symbol("e", nonnegative=True), sp.Symbol("n_P", nonnegative=True)
    q_m, q_n = sp.symbols("q_m q_n", real=True)
    return Chain(
        title="Powers by squaring, with the norm of the error",
        steps=(
            *line((P + D) * (P + D) - P * P, ("Y = P + D", (P + D) * D + D * P, "expand")),
            *line(
                (size + e) * e + e * size,
                ("norms: ‖Y‖ ≤ ‖P‖ + e", e * (2 * size + e), "expand"),
                ("‖P‖ = 1/(1 + p) ≤ 1", e * (2 + e), "simplify", "≤"),
            ),
            *line(
                (1 - q_m * q_n) / lam,
                ("φ = (1 − q)/λ: that of m + n steps by those of m and of n", (1 - q_m) / lam + q_m * (1 - q_n) / lam, "expand"),
            ),
            *line((1 - q_m**2) / lam, ("and for n = m", (1 + q_m) * (1 - q_m) / lam, "expand")),
        ),
        results={"error": e * (2 + e)},
        where={size: 1 / (1 + p)},
        ranges={**_RANGES, e: between(0, 1), q_m: between(-1, 1), q_n: between(-1, 1)},
    )
