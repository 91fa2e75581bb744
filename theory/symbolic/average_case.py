"""Transfer on average over teachers `f, g ~ GP(0, K)`, `y_P = cos φ f + sin φ g + σ ξ`, `y_Q = f`: mean, variance, and the 60° law."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import sympy as sp

from theory.formula import Chain, Step
from theory.symbolic import pretraining
from theory.symbolic.notation import (
    F_Q,
    H_P,
    H_PQ,
    H_Q,
    H_QP,
    F_Pt,
    F_x,
    at,
    between,
    h_Q,
    lam,
    line,
    matrix,
    phi_P,
    phi_Q,
    q_P,
    with_transpose,
)

# Teachers are G w with w white, K = G Gᵀ: G_r gives ρ, what is left without pretraining, and G_P the values on the source.
G_r, G_rt = with_transpose("G_rho", 3, 3)
G_P, G_Pt = with_transpose("G_P", 2, 3)
A, A_t = with_transpose("A_phi", 3, 2)
w, w_other, xi = matrix("w_f", 3, 1), matrix("w_g", 3, 1), matrix("xi_P", 2, 1)
cosine, correlation = sp.symbols("c rho", real=True)
below = sp.Symbol("delta", positive=True)
sine = sp.Symbol("s", real=True)
sine_squared, variance = sp.symbols("s_2 v", nonnegative=True)
T, T_t = with_transpose("T_rho", 3, 2)
mode = sp.Symbol("b^2", nonnegative=True)
doubt = sp.Symbol("mu_q", positive=True)
left_share = 1 / (1 + doubt)
scratch, overlap, carried, noise = sp.symbols("S O C N", positive=True)
b_1, b_2, b_3, e_11, e_12, e_22 = sp.symbols("b_1 b_2 b_3 E_11 E_12 E_22", real=True)
v_11, v_12, v_22 = sp.symbols("V_11 V_12 V_22", real=True)
E_1111, E_1122, E_2222 = sp.symbols("E_1111 E_1122 E_2222", positive=True)

cov_scratch = G_r * G_rt
cov_overlap = G_r * G_Pt * A_t + A * G_P * G_rt
cov_carried = A * G_P * G_Pt * A_t
cov_noise = A * A_t
covariance = cov_scratch - cosine * cov_overlap + cov_carried + variance * cov_noise
square_variance = 2 * (v_11**2 + 2 * v_12**2 + v_22**2)

WHERE = {
    **pretraining.WHERE,
    sine_squared: 1 - cosine**2,
    e_11: sp.Integer(1),
    e_22: sp.Integer(1),
    e_12: sp.Integer(0),
    E_1111: sp.Integer(3),
    E_2222: sp.Integer(3),
    E_1122: sp.Integer(1),
    v_11: b_1**2,
    v_12: b_1 * b_2,
    v_22: b_2**2 + b_3**2,
}
RANGES = {
    **pretraining.RANGES,
    cosine: between(-1, 1),
    variance: between(0, 2),
    **{s: between(-2, 2) for s in (b_1, b_2, b_3, sine)},
    **{s: between(0, 3) for s in (scratch, overlap, carried, noise, mode, doubt)},
}


def _covariance() -> tuple[Step, ...]:
    """From what is left, affine in the labels, to its covariance."""
    return (
        *pretraining.left_over(),
        *line(
            G_r * w - A * (cosine * (G_P * w) + sine * (G_P * w_other) + xi),
            (
                "with A = T φ(H_P), white w, w' and noise ξ: what each of the three brings",
                (G_r - cosine * A * G_P) * w - sine * A * G_P * w_other - A * xi,
                "expand",
            ),
        ),
        *line(
            b_1**2 * e_11 + 2 * b_1 * b_2 * e_12 + b_2**2 * e_22,
            ("mean of (b₁w₁ + b₂w₂)², E_ij = E w_i w_j = δ_ij: so the covariance of B w is B Bᵀ", b_1**2 + b_2**2),
        ),
        *line(
            (G_r - cosine * A * G_P) * (G_rt - cosine * G_Pt * A_t) + sine_squared * A * G_P * G_Pt * A_t + variance * A * A_t,
            ("the three are independent; cos² + sin² = 1", covariance, "expand"),
        ),
    )


@cache
def mean() -> Chain:
    """`Cov r = K_ρ − cos φ (X Aᵀ + A Xᵀ) + A K_P Aᵀ + σ² A Aᵀ`, whose trace is `E ‖r‖²`."""
    return Chain(
        title="Average over teachers",
        steps=_covariance(),
        results={"start": pretraining.start, "transfer": pretraining.transfer, "covariance": covariance},
        where=WHERE,
        ranges=RANGES,
    )


@cache
def spread() -> Chain:
    """`Var ‖r‖² = 2 ‖Cov r‖_F²`, shown for `r = (b₁w₁, b₂w₁ + b₃w₂)`."""
    squares = b_1**4 * E_1111 + 2 * b_1**2 * (b_2**2 * E_1111 + b_3**2 * E_1122)
    squares += b_2**4 * E_1111 + 6 * b_2**2 * b_3**2 * E_1122 + b_3**4 * E_2222
    return Chain(
        title="Variance over teachers",
        steps=(
            *_covariance(),
            *line(
                squares - (b_1**2 + b_2**2 + b_3**2) ** 2,
                (
                    "mean of (r₁² + r₂²)², odd moments 0, fourth moments of white w 3 and 1, less the squared mean; V = Cov r",
                    square_variance,
                    "expand",
                ),
            ),
        ),
        results={
            "start": pretraining.start,
            "transfer": pretraining.transfer,
            "covariance": covariance,
            "variance": square_variance,
        },
        where=WHERE,
        ranges=RANGES,
    )


@cache
def threshold() -> Chain:
    """The angle, and the variance of label noise, at which `E ‖r‖²` is what it is without pretraining."""
    angle_cosine = (carried + variance * noise) / overlap
    most_noise = (cosine * overlap - carried) / noise
    average = scratch - cosine * overlap + carried + variance * noise
    return Chain(
        title="Where transfer stops to help on average",
        steps=(
            *_covariance(),
            *line(
                (average + cosine * overlap - scratch) / overlap,
                ("traces S, O, C, N of the parts; E‖r‖² = S solved for cos φ, larger cosines help", angle_cosine),
            ),
            *line(at(average, cosine, angle_cosine), ("there pretraining changes nothing on average", scratch, "evaluate")),
            *line(
                (scratch - (average - variance * noise)) / noise,
                ("for a given angle solved for σ², less noise helps", most_noise),
            ),
            *line(at(average, variance, most_noise), ("there neither", scratch, "evaluate")),
        ),
        results={
            "start": pretraining.start,
            "transfer": pretraining.transfer,
            "covariance": covariance,
            "cosine": angle_cosine,
            "noise": most_noise,
        },
        where=WHERE,
        ranges=RANGES,
    )


@cache
def law() -> Chain:
    """Teachers of the learner's own kernel: what pretraining adds is `(1 − 2 cos φ) T φ Tᵀ − T φ q Tᵀ + σ² T φ² Tᵀ`."""
    added = (1 - 2 * cosine) * T * phi_P * T_t - T * phi_P * q_P * T_t + variance * T * phi_P * phi_P * T_t
    return Chain(
        title="The 60° law",
        steps=(
            *pretraining.left_over(),
            *line(F_Q * F_Pt, ("K = H, gradient energy and displacement: Cov(ρ, f_P) of ρ = f_Q is T = H_QP", H_QP, "expand")),
            *line(
                (F_x - h_Q * phi_Q * F_Q) * F_Pt,
                ("test error: that of ρ = f_T − h_Q φ(H_Q) f_Q is T too", pretraining.transfer, "expand"),
            ),
            *line(
                T * phi_P * H_P * phi_P * T_t - cosine * (T * phi_P * T_t + T * phi_P * T_t) + variance * T * phi_P * phi_P * T_t,
                ("carried, overlap and noise with A = T φ, X = T; Hφ = I − q", added, "expand"),
            ),
            *line(at(1 - 2 * cosine, cosine, sp.Rational(1, 2)), ("to the end q = 0: no change at 60°", sp.Integer(0), "evaluate")),
            *line(sp.acos(sp.Rational(1, 2)), ("in radians", sp.pi / 3)),
            *line(
                -mode * left_share * (1 - left_share) / lam,
                ("before the end −φq adds this on a mode, φ = (1 − q)/λ and η ≤ 1/λ: it helps beyond 60°", sp.Integer(0), "expand", "≤"),
            ),
        ),
        results={"start": pretraining.start, "transfer": pretraining.transfer, "added": added},
        where=WHERE,
        ranges=RANGES,
    )


@cache
def to_the_end() -> Chain:
    """`E ỹᵀH_Q⁻¹ỹ = n_Q − (2 cos φ − 1) C + σ² tr(H_Q⁻¹AAᵀ)`; free symbols, since inverses of regular matrices are all that is used."""
    reach, reach_t = H_QP * H_P**-1, H_P**-1 * H_PQ
    value = 1 - (2 * cosine - 1) * H_Q**-1 * H_QP * H_P**-1 * H_PQ + variance * H_Q**-1 * H_QP * H_P**-1 * H_P**-1 * H_PQ
    share = 1 - (2 * cosine - 1) * correlation**2
    return Chain(
        title="Expected displacement to the end",
        steps=(
            *line(
                H_Q**-1 * (H_Q - cosine * (H_QP * reach_t + reach * H_PQ) + reach * H_P * reach_t + variance * reach * reach_t),
                ("H_Q⁻¹ Cov ỹ with A = H_QP H_P⁻¹; its trace is E ỹᵀH_Q⁻¹ỹ", value, "expand"),
            ),
            *line(
                1 - cosine * (correlation**2 + correlation**2) + correlation**2,
                ("along a pair of canonical directions the three are 1, ρ² and ρ²: n_Q − (2 cos φ − 1) Σ ρ² in all", share),
            ),
            *line(at(share, cosine, sp.Rational(1, 2)), ("at 60° transfer neither helps nor hurts", sp.Integer(1), "evaluate")),
            *line(
                at(share, cosine, (1 + below) / 2),
                ("for cos φ = (1 + δ)/2 > ½", 1 - below * correlation**2, "evaluate"),
                ("it helps, in every direction", sp.Integer(1), "expand", "≤"),
            ),
            *line(
                sp.Integer(1),
                ("for cos φ = (1 − δ)/2 < ½ it hurts", 1 - (2 * (1 - below) / 2 - 1) * correlation**2, "expand", "≤"),
            ),
        ),
        results={"value": value, "share": share},
        ranges={
            cosine: between(-1, 1),
            correlation: between(-1, 1),
            variance: between(0, 2),
            below: between(0, Fraction(1, 1)),
        },
    )
