"""Descent on a kernel that is only near `H`: what it may differ in from descent on `H`.

Vectors are written out in two coordinates where Cauchy's inequality is used: two are enough for it.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.notation import RANGES, at, between, c, eta, k, lam, line, matrix, with_transpose

# The recursion: the kernel H + E, the residual p + δ with p = q(k) y, and what q leaves of a length at most.
H, E, p, delta = matrix("H_S", 3, 3), matrix("E_j", 3, 3), matrix("p_j", 3, 1), matrix("delta_j", 3, 1)
contraction = sp.Symbol("c_max", positive=True)
epsilon, tau, size = sp.Symbol("epsilon", positive=True), sp.Symbol("tau", nonnegative=True), sp.Symbol("Y", positive=True)
gap = sp.Symbol("g", nonnegative=True)
envelope = (contraction + eta * epsilon) ** k * (tau + size) - contraction**k * size

a1, a2, b1, b2 = sp.symbols("a_1 a_2 b_1 b_2", real=True)

RANGES.update(
    {
        contraction: between(Fraction(1, 10), 1),
        epsilon: between(Fraction(1, 1000), Fraction(1, 2)),
        tau: between(0, 1),
        size: between(Fraction(1, 10), 3),
        gap: between(0, 2),
        **{s: between(-2, 2) for s in (a1, a2, b1, b2)},
    }
)

_CAUCHY = line(
    (a1 * b1 + a2 * b2) ** 2,
    ("Cauchy's inequality: what is missing is (a₁b₂ − a₂b₁)²", (a1**2 + a2**2) * (b1**2 + b2**2), "expand", "≤"),
)
_TRIANGLE = line(
    (a1 + b1) ** 2 + (a2 + b2) ** 2,
    ("multiply out", a1**2 + a2**2 + b1**2 + b2**2 + 2 * (a1 * b1 + a2 * b2), "expand"),
)


@cache
def residual() -> Chain:
    """`‖r(k) − q(k)y‖ ≤ (c + ηε)^k (τ + ‖y‖) − c^k ‖y‖`."""
    length, ahead = sp.Symbol("d_j", nonnegative=True), sp.Symbol("rho_j", nonnegative=True)
    ranges = {length: between(0, 2), ahead: between(0, 2)}
    step = contraction * length + eta * epsilon * (ahead + length)
    return Chain(
        title="Residual on a perturbed kernel",
        steps=(
            *line(
                (1 - eta * H - eta * E) * (p + delta) - (1 - eta * H) * p,
                ("r(k+1) − q(k+1)y for r(k) = p + δ, p = q(k)y", (1 - eta * H) * delta - eta * E * (p + delta), "expand"),
            ),
            *_TRIANGLE,
            *_CAUCHY,
            *line(
                step,
                (
                    "lengths add up at most: ‖(1 − ηH)δ‖ ≤ c d_j, ‖E(p + δ)‖ ≤ ε(ρ_j + d_j)",
                    (contraction + eta * epsilon) * length + eta * epsilon * ahead,
                    "expand",
                ),
            ),
            *line(
                (contraction + eta * epsilon) * envelope + eta * epsilon * contraction**k * size,
                ("solved by, as ρ_j ≤ c^j ‖y‖", envelope.subs(k, k + 1), "simplify"),
            ),
            *line(at(envelope, k, sp.Integer(0)), ("which starts from ‖r(0) − y‖ ≤ τ", tau, "evaluate")),
        ),
        results={"envelope": envelope.subs(k, k + 1)},
        ranges=ranges,
    )


@cache
def coefficients() -> Chain:
    """`‖g − φ_k y‖_H² ≤ min(λ_max σ², σv, v²/λ_min)`, and displacement² against `gᵀHg`."""
    r_0, r_k, y_0, p_k, s = (matrix(name, 3, 1) for name in ("r_0", "r_k", "y_0", "p_k", "s_E"))
    r_1, r_1t = with_transpose("r_1", 3, 1)
    r_2, r_2t = with_transpose("r_2", 3, 1)
    E_1, E_2, E_12, E_21 = (matrix(name, 3, 3) for name in ("E_11", "E_22", "E_12", "E_21"))
    v, w = sp.symbols("v w", real=True)
    e, s_1, s_2 = sp.symbols("epsilon_2 s_1 s_2", nonnegative=True)
    moved = (r_1t * (H + E_1) * r_1) + (r_1t * (H + E_12) * r_2) + (r_2t * (H + E_21) * r_1) + (r_2t * (H + E_2) * r_2)
    off = r_1t * E_1 * r_1 + r_1t * E_12 * r_2 + r_2t * E_21 * r_1 + r_2t * E_2 * r_2
    top, x = lam + gap, contraction + eta * epsilon
    return Chain(
        title="Coefficients and displacement on a perturbed kernel",
        steps=(
            *line(
                (r_0 - r_k - s) - (y_0 - p_k),
                ("H(g − γ): Hg = r(0) − r(k) − s with s = η Σ E r(j), Hγ = y − q(k)y", (r_0 - y_0) - (r_k - p_k) - s, "expand"),
            ),
            *line(
                lam * v**2,
                ("on a mode (g − γ)ᵀH(g − γ) is λv²; at most λ_max v²", top * v**2, "expand", "≤"),
            ),
            *line(
                w**2 / top,
                ("and w²/λ for w = λv; at most w²/λ_min", w**2 / lam, "simplify", "≤"),
            ),
            *_CAUCHY,
            *line(
                moved,
                ("displacement² for two steps, each r(j) standing for η r(j)", (r_1t + r_2t) * H * (r_1 + r_2) + off, "expand"),
            ),
            *line(
                e * s_1**2 + 2 * e * s_1 * s_2 + e * s_2**2,
                ("what is off is at most ε' times the lengths' products", e * (s_1 + s_2) ** 2, "expand"),
            ),
            *line(
                x * (eta * epsilon * k * x ** (k - 1)) + eta * epsilon * contraction**k,
                (
                    "in blocks: xʲ − cʲ ≤ ηε j xʲ⁻¹ for x = c + ηε, by induction, as xʲ⁺¹ − cʲ⁺¹ = x(xʲ − cʲ) + ηε cʲ and c ≤ x",
                    eta * epsilon * (k + 1) * x**k,
                    "numbers",
                    "≤",
                ),
            ),
        ),
        results={"spread": e * (s_1 + s_2) ** 2},
        ranges={v: between(-2, 2), w: between(-2, 2), e: between(0, 1), s_1: between(0, 2), s_2: between(0, 2)},
    )


@cache
def longest_path() -> Chain:
    """`η Σ_j ‖r(j)‖ ≤ (τ + ‖y‖)/(λ_min − ε)`."""
    base, later = sp.Symbol("x_e", positive=True), sp.Symbol("u_k", nonnegative=True)
    total = (1 - base**k) / (1 - base)
    margin = sp.Symbol("mu_e", positive=True)
    return Chain(
        title="The longest path",
        steps=(
            *line(
                (tau + size) * (1 - eta * (lam - epsilon)) ** k,
                ("‖r(k)‖ ≤ (1 − ηλ_min + ηε)^k (τ + ‖y‖), by residual_deviation and ‖q(k)y‖ ≤ (1 − ηλ_min)^k ‖y‖", (tau + size) * base**k),
            ),
            *line(total + base**k, ("summed over steps by induction: one more term", total.subs(k, k + 1))),
            *line(
                eta * (1 - later) / (eta * margin),
                ("(1 − x^k)/(1 − x) with 1 − x = ημ, μ = λ_min − ε, and u = x^k in [0, 1]; at most", 1 / margin, "simplify", "≤"),
            ),
        ),
        results={"path": 1 / margin},
        where={base: 1 - eta * (lam - epsilon)},
        ranges={later: between(0, 1), margin: between(0, 2), epsilon: between(0, Fraction(1, 10))},
    )


@cache
def least_fit() -> Chain:
    """`‖W(k) − W(0)‖² ≤ yᵀH⁻¹y`, mode by mode, for `ηλ ≤ 1`."""
    left = sp.Symbol("q", nonnegative=True)
    learnt = sp.Symbol("p_q", nonnegative=True)
    return Chain(
        title="The least fit bounds the displacement",
        steps=(
            *line(
                c**2 * (1 - left) ** 2 / lam,
                ("displacement² of a mode with q = (1 − ηλ)^k in [0, 1], q = 1/(1 + p)", c**2 * (learnt / (1 + learnt)) ** 2 / lam),
            ),
            *line(c**2 * (learnt / (1 + learnt)) ** 2 / lam, ("p/(1 + p) ≤ 1", c**2 / lam, "simplify", "≤")),
        ),
        results={"end": c**2 / lam},
        where={left: 1 / (1 + learnt)},
        ranges={learnt: between(0, 5)},
    )


@cache
def transfer() -> Chain:
    """The start of fine-tuning: `‖(y_Q − u_Q) − ỹ‖ ≤ ‖H_QP H_P^{-1/2}‖ Δ_P + ε S_P`, and squares round it."""
    H_QP, g, gamma, e_s, y_Q = matrix("H_QP", 3, 2), matrix("g_P", 2, 1), matrix("gamma_P", 2, 1), matrix("s_QP", 3, 1), matrix("y_Q", 3, 1)
    root = sp.symbols("h_1 h_2", positive=True)
    first, second = sp.Symbol("t", nonnegative=True), sp.Symbol("rho", nonnegative=True)
    reach = b1**2 / root[0] ** 2 + b2**2 / root[1] ** 2
    return Chain(
        title="From the source stage to the target stage",
        steps=(
            *line(
                (y_Q - (H_QP * g + e_s)) - (y_Q - H_QP * gamma),
                ("u_Q(W(P)) = H_QP g + s, s = η Σ E_QP r_P(j); ỹ = y_Q − H_QP γ", -H_QP * (g - gamma) - e_s, "expand"),
            ),
            *line(
                (b1 * a1 + b2 * a2) ** 2,
                (
                    "an output of H_QP on two modes: b/√λ times √λ v, by Cauchy's inequality",
                    reach * (root[0] ** 2 * a1**2 + root[1] ** 2 * a2**2),
                    "simplify",
                    "≤",
                ),
            ),
            *line(
                (second + first) ** 2 - second**2,
                ("energy, for a length off by t", first * (2 * second + first), "expand"),
            ),
            *line(second**2 - (second - first) ** 2, ("and below", first * (2 * second - first), "expand")),
        ),
        results={"energy": first * (2 * second + first)},
        ranges={root[0]: between(Fraction(1, 2), 2), root[1]: between(Fraction(1, 2), 2), first: between(0, 1), second: between(1, 2)},
    )
