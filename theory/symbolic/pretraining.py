"""Gradient energy, squared displacement and squared test error over source steps: one sum of exponentials, its steps and its noise."""

from __future__ import annotations

from functools import cache

import sympy as sp

from theory.formula import Chain, Step
from theory.symbolic import displacement, filters
from theory.symbolic.fine_tuning import remaining
from theory.symbolic.notation import (
    F_Q,
    GRAM_BLOCKS,
    H_QP,
    F_Pt,
    F_Qt,
    F_x,
    angle,
    at,
    between,
    c,
    eta,
    h_P,
    h_Q,
    k,
    l_P,
    l_Q,
    lam,
    line,
    matrix,
    phi_P,
    phi_Q,
)

l_T = matrix("y_T", 1, 1)

b = sp.Symbol("b", real=True)
"""A component of `T v`: what a mode of the source carries over."""

rho, g_1, g_2, q_1, q_2 = sp.symbols("rho g_1 g_2 q_1 q_2", real=True)
end, tail, gone = sp.symbols("e d s", real=True)
variance = sp.Symbol("v", positive=True)
xi_11, xi_12, xi_22, a_1, a_2 = sp.symbols("E_11 E_12 E_22 a_1 a_2", real=True)

carried = b * c / lam
left = carried * filters.q
start = l_T - h_Q * phi_Q * l_Q
transfer = h_P - h_Q * phi_Q * H_QP
value = end**2 + 2 * end * tail + tail**2
exponentials = end**2 + 2 * end * g_1 * q_1 + 2 * end * g_2 * q_2 + g_1**2 * q_1**2 + 2 * g_1 * g_2 * q_1 * q_2 + g_2**2 * q_2**2
change = -gone * (2 * (end + tail) - gone)
rise = variance * (b * (1 - filters.q) / lam) ** 2

WHERE = {
    **GRAM_BLOCKS,
    displacement.phi: filters.phi,
    end: rho - g_1 - g_2,
    tail: q_1 * g_1 + q_2 * g_2,
    xi_11: variance,
    xi_22: variance,
    xi_12: sp.Integer(0),
}
RANGES = {
    **filters.SHRINK_RANGE,
    **{s: between(-2, 2) for s in (b, rho, g_1, g_2, gone, a_1, a_2)},
    **{s: between(-1, 1) for s in (q_1, q_2)},
    variance: between(0, 2),
}


def left_over() -> tuple[Step, ...]:
    """What is left of each quantity, affine in what the source has learnt: `ρ − T φ(H_P) y_P`."""
    after = l_Q - F_Q * F_Pt * phi_P * l_P
    return (
        *line(l_Q - F_Q * (F_Pt * (phi_P * l_P)), ("gradient energy: labels less outputs on Q, ρ = y_Q and T = H_QP", remaining, "expand")),
        *line(l_T - F_x * (F_Qt * (phi_Q * l_Q)), ("test error without pretraining: ρ = y_T − h_Q φ(H_Q) y_Q", start, "expand")),
        *line(
            F_x * F_Pt - F_x * F_Qt * phi_Q * F_Q * F_Pt,
            ("what of the source reaches a test point, fine-tuning included: T = h_P − h_Q φ(H_Q) H_QP", transfer, "expand"),
        ),
        *line(
            l_T - F_x * (F_Pt * (phi_P * l_P) + F_Qt * (phi_Q * after)),
            ("test error: weights after both stages, seen at x, leave ρ − T φ(H_P) y_P", start - transfer * phi_P * l_P, "expand"),
        ),
        *line(
            lam * (displacement.phi * c) ** 2,
            ("displacement: each mode c of what is left on Q, with φ = (1 − q)/λ, moves the weights by this, squared", displacement.moved),
        ),
        *line(
            sp.Limit(c**2 * (1 - filters.shrink**k) ** 2 / lam, k, sp.oo),
            ("displacement to the end: the metric H_Q⁻¹, with |1 − ηλ| = 1/(1 + μ)", c**2 / lam, "evaluate"),
        ),
    )


def modes() -> tuple[Step, ...]:
    """`φ_k` on a mode of the source, and the square of what is left as a sum of exponentials."""
    return (
        *line(
            sp.Limit(b * c * (1 - filters.shrink**k) / lam, k, sp.oo),
            ("a mode to the end, c = vᵀy_P and b a component of T v: g = bc/λ", carried, "evaluate"),
        ),
        *line(carried - b * (filters.phi * c), ("what k steps still leave of it: q_k g", left)),
        *line(
            (rho - (1 - q_1) * g_1 - (1 - q_2) * g_2) ** 2,
            ("two modes; e = ρ − Σ g to the end and d = Σ q g on the way there: square", value, "expand"),
            ("multiply out: exponentials with bases q and products of two q", exponentials, "expand"),
        ),
    )


@cache
def curve() -> Chain:
    """`F(k) = ‖e + Σᵢ qᵢ^k gᵢ‖²`, `e = ρ − Σᵢ gᵢ`, for each of the three quantities."""
    return Chain(
        title="A quantity over source steps",
        steps=(*left_over(), *modes()),
        results={
            "start": start,
            "transfer": transfer,
            "metric": displacement.moved,
            "metric end": c**2 / lam,
            "carried": carried,
            "left": left,
            "value": value,
        },
        where=WHERE,
        ranges=RANGES,
    )


@cache
def step() -> Chain:
    """`F(k + 1) − F(k) = −s (2(e + d) − s)`: its sign says where `F` turns, its value at `k = 0` whether pretraining helps at first."""
    first = eta * b * c
    return Chain(
        title="What one source step changes",
        steps=(
            *left_over(),
            *modes(),
            *line(left - left.subs(k, k + 1), ("what step k + 1 takes of a mode: ηλ q_k g = η q_k bc", first * filters.q)),
            *line(
                (end + tail - gone) ** 2 - (end + tail) ** 2,
                ("change of the square when s goes: no difference of squares is left", change, "expand"),
            ),
            *line(at(first * filters.q, k, 0), ("the first step takes s = η T y_P", first, "evaluate")),
            *line(
                sp.Limit(-first * (2 * rho - first) / eta, eta, 0),
                ("per η, for small η, with e + d = ρ at the start: −2 ρᵀT y_P", -2 * rho * b * c, "evaluate"),
            ),
        ),
        results={**curve().results, "gone": first * filters.q, "change": change},
        where=WHERE,
        ranges=RANGES,
    )


def noise_on_modes() -> tuple[Step, ...]:
    """Independent noise on labels is independent noise on modes, and what it adds to a square."""
    return (
        *line(
            sp.cos(angle) ** 2 * xi_11 + 2 * sp.cos(angle) * sp.sin(angle) * xi_12 + sp.sin(angle) ** 2 * xi_22,
            ("noise along an eigenvector (cos ω, sin ω), E_ij = E ξ_i ξ_j = σ² δ_ij: as large as on a label", variance),
        ),
        *line(
            -sp.cos(angle) * sp.sin(angle) * xi_11
            + (sp.cos(angle) ** 2 - sp.sin(angle) ** 2) * xi_12
            + sp.cos(angle) * sp.sin(angle) * xi_22,
            ("and along two of them uncorrelated", sp.Integer(0)),
        ),
        *line(
            end**2 + a_1**2 * xi_11 + 2 * a_1 * a_2 * xi_12 + a_2**2 * xi_22 - end**2,
            (
                "mean of (e − a₁ξ₁ − a₂ξ₂)² less e², ξ of mean 0: the modes' noise adds up, cross terms vanish",
                variance * a_1**2 + variance * a_2**2,
                "expand",
            ),
        ),
        *line(variance * (b * filters.phi) ** 2, ("on a mode a = b φ_k, φ_k = (1 − q)/λ", rise)),
        *line(
            sp.Limit(variance * (b * (1 - filters.shrink**k) / lam) ** 2, k, sp.oo),
            ("to the end, with |1 − ηλ| = 1/(1 + μ)", variance * b**2 / lam**2, "evaluate"),
        ),
    )


@cache
def noise() -> Chain:
    """`σ² Σᵢ (1 − qᵢ^k)² ‖T vᵢ‖²/λᵢ²`: what noise on labels adds to the quantity."""
    return Chain(
        title="Source noise in a quantity",
        steps=(*left_over(), *noise_on_modes()),
        results={
            "start": start,
            "transfer": transfer,
            "metric": displacement.moved,
            "metric end": c**2 / lam,
            "mode": rise,
            "end": variance * b**2 / lam**2,
        },
        where=WHERE,
        ranges=RANGES,
    )
