"""A random start after pretraining: the covariance of what it leaves on the target, and moments of the energies that follow."""

from __future__ import annotations

from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.notation import between, kappa, line, m, matrix, whole, with_transpose

# The activations of the neurons on P and on Q, as features whose products are the covariances: Σ_PP = U_P U_Pᵀ and so on.
U_P, U_Pt = with_transpose("U_P", 2, 3)
U_Q, U_Qt = with_transpose("U_Q", 3, 3)
A, At = with_transpose("A", 3, 2)
S_PP, S_QP, S_PQ, S_QQ = matrix("Sigma_PP", 2, 2), matrix("Sigma_QP", 3, 2), matrix("Sigma_PQ", 2, 3), matrix("Sigma_QQ", 3, 3)
given_P, given_Q = matrix("Y_P", 2, 1), matrix("Y_Q", 3, 1)
u_P, u_Q = matrix("u_P", 2, 1), matrix("u_Q", 3, 1)

# r̃ᵀMr̃ in coordinates: L Lᵀ = S, LᵀML = diag(μ) in the right basis, b = LᵀMỹ there.
L, Lt = with_transpose("L", 3, 3)
M_half, M_half_t = with_transpose("N", 3, 3)
S, M = matrix("S", 3, 3), matrix("M", 3, 3)
left, left_t = with_transpose("y~", 3, 1)
g, gt = with_transpose("g", 3, 1)

normal = sp.Symbol("z", real=True)
mu, b = sp.Symbol("mu", positive=True), sp.Symbol("b", real=True)
odd_moment, second_moment, fourth_moment = sp.symbols("m_1 m_2 m_4", real=True)
density = sp.exp(-(normal**2) / 2) / sp.sqrt(2 * sp.pi)

# The finite width: sums over neurons of one neuron's moments.
fourth, trace, square, linear = sp.symbols("q T Q V", positive=True)
covariance = S_QQ - A * S_PQ - S_QP * At + A * S_PP * At


@cache
def start_covariance() -> Chain:
    """The initial outputs enter what is left by a fixed matrix; their covariance follows."""
    return Chain(
        title="What a random start leaves on the target",
        steps=(
            *line(
                given_Q - u_Q - A * (given_P - u_P),
                (
                    "r̃ = y_Q − u_Q − A(y_P − u_P), A = H_QP φ_k(H_P): labels and start apart",
                    given_Q - A * given_P - (u_Q - A * u_P),
                    "expand",
                ),
            ),
            *line(
                (U_Q - A * U_P) * (U_Qt - U_Pt * At),
                ("v = u_Q − A u_P = (U_Q − A U_P) ω, E ωωᵀ = I: E vvᵀ, multiplied out", covariance, "expand"),
            ),
        ),
        results={"covariance": covariance},
        where={S_PP: U_P * U_Pt, S_QP: U_Q * U_Pt, S_PQ: U_P * U_Qt, S_QQ: U_Q * U_Qt},
    )


def _expected(power: int) -> sp.Expr:
    return sp.Integral(normal**power * density, (normal, -sp.oo, sp.oo))


@cache
def gaussian_moments() -> Chain:
    """A quadratic form of a Gaussian vector, coordinate by coordinate."""
    mean, variance = kappa**2 * mu, 4 * kappa**2 * b**2 + 2 * kappa**4 * mu**2
    return Chain(
        title="Energies after a random start",
        steps=(
            *line(
                (left_t - kappa * gt * Lt) * M * (left - kappa * L * g),
                (
                    "r̃ = ỹ − κLg, g standard normal: a constant, a linear and a quadratic part",
                    left_t * M * left - kappa * left_t * M * L * g - kappa * gt * Lt * M * left + kappa**2 * gt * Lt * M * L * g,
                    "expand",
                ),
            ),
            *line((left_t * M * L) * (Lt * M * left), ("b = LᵀMỹ: ‖b‖² = ỹᵀMSMỹ", left_t * M * S * M * left, "expand")),
            *line(
                (M_half_t * L) * (Lt * M_half),
                ("M = NNᵀ: LᵀML has the non-zero spectrum μ of NᵀSN, so tr MS = Σμ, tr (MS)² = Σμ²", M_half_t * S * M_half, "expand"),
            ),
            *line(_expected(2), ("second moment of a standard normal", sp.Integer(1), "evaluate")),
            *line(_expected(4), ("fourth moment; odd ones vanish", sp.Integer(3), "evaluate")),
            *line(
                kappa**2 * mu * second_moment - 2 * kappa * b * odd_moment,
                ("a coordinate, κ²μz² − 2κbz: its mean", mean),
            ),
            *line(
                kappa**4 * mu**2 * fourth_moment - 4 * kappa**3 * mu * b * odd_moment + 4 * kappa**2 * b**2 * second_moment - mean**2,
                ("its mean square less the squared mean; coordinates are independent, so variances add", variance),
            ),
        ),
        results={"mean": mean, "variance": variance},
        where={
            S: L * Lt,
            M: M_half * M_half_t,
            odd_moment: sp.Integer(0),
            second_moment: sp.Integer(1),
            fourth_moment: sp.Integer(3),
        },
        ranges={mu: between(0, 2), b: between(-2, 2)},
    )


@cache
def finite_width() -> Chain:
    """`‖v‖²` of `m` independent neurons with random signs: which neurons meet in a product of four."""
    pairs = (m * fourth + m * (m - 1) * (trace**2 + 2 * square)) / m**2
    spread = linear + 2 * square + (fourth - trace**2 - 2 * square) / m
    return Chain(
        title="Gradient energy after a random start, at width m",
        steps=(
            *line(
                m * (m - 1) * (trace**2 + 2 * square) / m**2 + m * fourth / m**2,
                (
                    "E(v·v)², v = m^{-1/2} Σ a_r z_r: all four neurons the same, m times q = E(z·z)²; or two pairs, m(m − 1) times: "
                    "T² if each pair is a product, Q = tr C² for the two crossed ways; T = tr C, C = E zzᵀ",
                    pairs,
                ),
            ),
            *line(
                linear + (pairs - trace**2),
                (
                    "variance: V = 4ỹᵀCỹ of −2ỹ·v, which is odd in the signs and does not correlate with v·v, whose mean is T",
                    spread,
                ),
            ),
            *line(sp.Limit(spread, m, sp.oo), ("m → ∞: as for Gaussian outputs", linear + 2 * square, "evaluate")),
        ),
        results={"variance": spread},
        ranges={
            fourth: between(0, 3),
            trace: between(0, 2),
            square: between(0, 2),
            linear: between(0, 2),
            m: whole(2, 64),
        },
    )
