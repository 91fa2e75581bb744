"""What decides whether pretraining turns: Laguerre's rule, the slowest mode, source noise, each mode's part, each source point's part."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import sympy as sp

from theory.formula import Chain, Step
from theory.symbolic import pretraining
from theory.symbolic.notation import between, line, t
from theory.symbolic.pretraining import end, g_1, g_2, q_1, q_2, rho

w = sp.Symbol("w", positive=True)
w_1, step_2, step_3 = sp.symbols("w_1 d_2 d_3", positive=True)
w_2, w_3, turn = sp.symbols("w_2 w_3 w_0", positive=True)
a_1, a_2, a_3 = sp.symbols("a_1 a_2 a_3", real=True)
s_1, s_2 = sp.symbols("s_1 s_2", real=True)
left = sp.Symbol("L", real=True)
slow = sp.Symbol("x", positive=True)
helps, late = sp.symbols("delta epsilon", positive=True)
f_0, f_k, f_end, lowest = sp.symbols("F_0 F_k F_end F_min", real=True)
n_k, n_left = sp.symbols("N_k R_k", positive=True)
variance = sp.Symbol("v", positive=True)
size = sp.Symbol("n", positive=True)
h_QP, h_new, h_Q, fresh, carried = sp.symbols("h_QP c h_Q f A", real=True)
h_P, schur = sp.symbols("h_P z", positive=True)
x_1, x_2 = sp.symbols("x_1 x_2", real=True)
ratio = sp.Symbol("y", positive=True)
corner = sp.Symbol("h_x", real=True)
link = sp.Symbol("b", real=True)
phi = sp.Symbol("phi", positive=True)
ff_QQ, ff_QP, ff_PP, gg_PP, fg, xi = sp.symbols("E_QQ E_QP E_PP E_gg E_fg E_xi", real=True)

single = -2 * (1 - q_1) * end * g_1
square = -(1 - q_1**2) * g_1**2
pair = -2 * (1 - q_1 * q_2) * g_1 * g_2
contribution = -s_1 * g_1 * (rho + left)
slope = -2 * g_1 * left

RANGES = {
    **pretraining.RANGES,
    **{s: between(Fraction(1, 10), 1) for s in (w_1, step_2, step_3, slow, n_k, n_left, helps, late, size, schur)},
    **{s: between(-2, 2) for s in (a_1, a_2, a_3, left, f_0, f_k, f_end, h_QP, h_new, link)},
    **{s: between(0, 1) for s in (s_1, s_2, q_1, q_2, x_1, x_2, ratio)},
    end: between(-2, 2),
    h_P: between(Fraction(1, 2), 2),
    h_Q: between(0, 2),
    turn: between(0, 2),
    w: between(0, 2),
    variance: between(0, 2),
    phi: between(0, 3),
}


def terms() -> tuple[Step, ...]:
    """The difference `F(k + 1) − F(k)` of two modes as a sum of exponentials."""
    x, y = x_1, x_2
    now = end**2 + 2 * end * (g_1 * x + g_2 * y) + (g_1 * x + g_2 * y) ** 2
    then = now.subs({x: q_1 * x, y: q_2 * y}, simultaneous=True)
    swap = {q_1: q_2, g_1: g_2}
    return line(
        then - now,
        (
            "F(k + 1) − F(k) with x = q^k: each term loses 1 − b of itself, b the base q_i or q_i q_j",
            single * x + single.subs(swap) * y + square * x**2 + square.subs(swap) * y**2 + pair * x * y,
            "expand",
        ),
    )


def coefficients() -> tuple[Step, ...]:
    """The coefficient of each base."""
    x, y = x_1, x_2
    swap = {q_1: q_2, g_1: g_2}
    whole = single * x + single.subs(swap) * y + square * x**2 + square.subs(swap) * y**2 + pair * x * y
    return (
        *line(sp.Derivative(whole, x).subs({}), ("of x", single + 2 * square * x + pair * y, "evaluate")),
        *line(sp.Subs(single + 2 * square * x + pair * y, (x, y), (0, 0)), ("base q_1: at x = 0", single, "evaluate")),
        *line(sp.Derivative(whole, (x, 2)) / 2, ("base q_1²", square, "evaluate")),
        *line(sp.Derivative(whole, x, y), ("base q_1 q_2, both orders", pair, "evaluate")),
    )


@cache
def turn_bound() -> Chain:
    """Laguerre's rule: partial sums of the coefficients, and one sign change less with every derivative."""
    exponentials = [sp.exp(-v * t) for v in (w_1, w_2, w_3)]
    M_1, M_2, M_3 = a_1, a_1 + a_2, a_1 + a_2 + a_3
    by_parts = M_1 * (exponentials[0] - exponentials[1]) + M_2 * (exponentials[1] - exponentials[2]) + M_3 * exponentials[2]
    weighed = t * (
        M_1 * sp.Integral(sp.exp(-w * t), (w, w_1, w_2))
        + M_2 * sp.Integral(sp.exp(-w * t), (w, w_2, w_3))
        + M_3 * sp.Integral(sp.exp(-w * t), (w, w_3, sp.oo))
    )
    return Chain(
        title="How often a quantity can turn",
        steps=(
            *terms(),
            *coefficients(),
            *line(
                a_1 * exponentials[0] + a_2 * exponentials[1] + a_3 * exponentials[2],
                ("summation by parts, w = −log b ascending: differences of neighbours weighed by partial sums", by_parts, "expand"),
                ("each difference is an integral: D(t)/t = ∫ M(w) e^{−wt} dw, M the partial sums up to w", weighed, "evaluate"),
            ),
            *line(
                sp.Derivative(sp.exp(turn * t) * (a_1 * sp.exp(-w * t)), t),
                (
                    "Rolle: e^{w_0 t} D/t has at most one zero more than its derivative, whose M(w)(w_0 − w) has one sign change less "
                    "if w_0 is one of M's; without sign changes there is no zero",
                    (turn - w) * sp.exp(turn * t) * (a_1 * sp.exp(-w * t)),
                    "evaluate",
                ),
            ),
            *line(
                sp.Limit(by_parts, t, 0),
                ("at t = 0 the last partial sum: it says whether F falls at first, and the parity", M_3, "evaluate"),
            ),
        ),
        results={"single": single, "square": square, "pair": pair},
        where={w_2: w_1 + step_2, w_3: w_1 + step_2 + step_3},
        ranges=RANGES,
    )


def slowest() -> tuple[Step, ...]:
    """The slowest term of the difference."""
    x = slow
    swap = {q_1: q_2, g_1: g_2}
    whole = single * x + single.subs(swap) * x * ratio + square * x**2 + square.subs(swap) * (x * ratio) ** 2 + pair * x**2 * ratio
    return (
        *line(
            whole / x,
            (
                "F(k + 1) − F(k) over x = q_1^k, the slowest mode's; y = (q_2/q_1)^k",
                single + single.subs(swap) * ratio + square * x + square.subs(swap) * x * ratio**2 + pair * x * ratio,
                "expand",
            ),
        ),
        *line(
            sp.Limit(
                sp.Limit(single + single.subs(swap) * ratio + square * x + square.subs(swap) * x * ratio**2 + pair * x * ratio, x, 0),
                ratio,
                0,
            ),
            ("late: both vanish, and the sign is that of −g_1·e, e = ρ_∞", single, "evaluate"),
        ),
    )


@cache
def late_trend() -> Chain:
    """Late, `F` has the trend of its slowest mode."""
    return Chain(
        title="Whether a quantity at last rises",
        steps=(*terms(), *coefficients(), *slowest()),
        results={"single": single, "square": square, "pair": pair},
        ranges=RANGES,
    )


@cache
def certain() -> Chain:
    """A first step that helps and a rise at last: the least value is inside."""
    first = pretraining.step()
    return Chain(
        title="A turn that is certain",
        steps=(
            *first.steps,
            *coefficients(),
            *slowest(),
            *line(f_0 - helps, ("the first step helps: F(1) = F(0) − δ is below the start", f_0, "simplify", "≤")),
            *line(f_end - late, ("F rises to its limit: at some k it is below it by ε", f_end, "simplify", "≤")),
        ),
        results={**first.results, "single": single, "square": square, "pair": pair},
        where=first.where,
        ranges={**first.ranges, **RANGES},
    )


@cache
def mean_curve() -> Chain:
    """One more component for each mode, at right angles to all others, carries the noise."""
    share = sp.Symbol("p", real=True)
    noise = pretraining.noise()
    return Chain(
        title="The mean quantity under source noise",
        steps=(
            *pretraining.curve().steps,
            *pretraining.noise_on_modes(),
            *line(
                (rho - share * g_1) ** 2 + (0 - share * sp.sqrt(variance * size)) ** 2,
                (
                    "a component that starts at 0 and whose mode ends at √(σ² ‖T v‖²/λ²) adds the share (1 − q^k)² of the noise",
                    (rho - share * g_1) ** 2 + share**2 * variance * size,
                    "expand",
                ),
            ),
        ),
        results={**pretraining.curve().results, **noise.results},
        where=pretraining.WHERE,
        ranges={**pretraining.RANGES, **RANGES, share: between(0, 1)},
    )


@cache
def noise_window() -> Chain:
    """At which variances a finite number of steps is best."""
    low, high = (f_k - f_end) / n_left, (f_0 - f_k) / n_k
    noise = pretraining.noise()
    x = x_1
    beats_end = (f_k + variance * n_k) - (f_end + variance * (n_k + n_left))
    beats_start = (f_k + variance * n_k) - f_0
    return Chain(
        title="Source noise at which stopping is best",
        steps=(
            *pretraining.curve().steps,
            *pretraining.noise_on_modes(),
            *line(
                size * (1 - (1 - x) ** 2),
                ("N(∞) − N(k), a mode with x = q^k and n = ‖T v‖²/λ²: not negative for 0 ≤ q ≤ 1", size * x * (2 - x), "expand"),
            ),
            *line(
                beats_end,
                ("F + σ²N at k less at the end, R = N(∞) − N(k)", (f_k - f_end) - variance * n_left, "expand"),
                ("negative iff σ² > (F(k) − F(∞))/R: k beats the end", n_left * (low - variance)),
            ),
            *line(
                beats_start,
                ("and less at the start: negative iff σ² < (F(0) − F(k))/N: k beats the start", n_k * (variance - high)),
            ),
            *line(sp.Subs(beats_end, variance, low), ("at the first fraction k and the end tie", sp.Integer(0), "evaluate")),
            *line(
                variance + beats_end / n_left,
                ("affine in σ², so its zero from any σ²; the least over k is where some k begins to beat the end", low, "expand"),
            ),
            *line(
                variance - beats_start / n_k,
                ("likewise; the largest over k is where none beats the start any more", high, "expand"),
            ),
        ),
        results={**pretraining.curve().results, **noise.results, "low": low, "high": high},
        where=pretraining.WHERE,
        ranges={**pretraining.RANGES, **RANGES},
    )


@cache
def contributions() -> Chain:
    """`F` as a quadratic form in the shares, divided among modes."""
    F = (rho - s_1 * g_1 - s_2 * g_2) ** 2
    nothing, both = {s_1: 0, s_2: 0}, {s_1: s_1, s_2: s_2}
    first_order = F.subs(s_2, 0) - F.subs(nothing)
    second_order = F.subs(both) - F.subs(s_1, 0)
    swap = {s_1: s_2, g_1: g_2}
    return Chain(
        title="What each mode contributes",
        steps=(
            *pretraining.curve().steps,
            *line(
                (first_order + second_order) / 2,
                (
                    "what mode 1 changes, mean over both orders in which two modes are learnt; L = ρ − s_1g_1 − s_2g_2",
                    contribution,
                    "expand",
                ),
            ),
            *line(
                contribution + contribution.subs(swap),
                ("all modes together change F by F(s) − F(0)", F - rho**2, "expand"),
            ),
            *line(sp.Derivative(F, s_1), ("∂F/∂s_1", slope.subs(left, rho - s_1 * g_1 - s_2 * g_2), "evaluate")),
            *line(slope.subs(left, rho - s_1 * g_1 - s_2 * g_2), ("with L for what is left", slope, "expand")),
            *line(
                sp.Subs(sp.Derivative((rho - s_1 * g_1) ** 2, s_1), s_1, 0),
                ("mode 1 alone: slope at no share", -2 * rho * g_1, "evaluate"),
            ),
            *line(
                sp.Derivative((rho - s_1 * g_1) ** 2, (s_1, 2)),
                ("and curvature: least at s = ρ·g/‖g‖², or at the nearer end of [0, 1]", 2 * g_1**2, "evaluate"),
            ),
        ),
        results={
            **pretraining.curve().results,
            "contribution": contribution,
            "slope": slope,
            "first": -2 * rho * g_1,
            "curvature": 2 * g_1**2,
        },
        where={**pretraining.WHERE, left: rho - s_1 * g_1 - s_2 * g_2},
        ranges={**pretraining.RANGES, **RANGES},
    )


@cache
def source_points() -> Chain:
    """One more source point: the Schur complement; and the mean over teachers."""
    K = sp.Matrix([[h_P, link], [link, corner]])
    across = sp.Matrix([[h_QP, h_new]])
    before = h_QP * carried
    more = fresh**2 / schur
    trained = (
        ff_QQ
        - 2 * carried * (sp.cos(phi) * ff_QP + sp.sin(phi) * fg)
        + carried**2 * (sp.cos(phi) ** 2 * ff_PP + 2 * sp.cos(phi) * sp.sin(phi) * fg + sp.sin(phi) ** 2 * gg_PP + variance * xi)
    )
    return Chain(
        title="What one more source point explains",
        steps=(
            *line(
                (across * K.inv() * across.T)[0],
                (
                    "H_QP H_P⁻¹ H_PQ with one more point, of which the others leave z = h_x − b²/h_P, and f = c − A b of what it sees of Q",
                    before + more,
                ),
            ),
            *line((before + more) - before, ("what it explains", more)),
            *line(before, ("so the sum never falls: z > 0 for a point the others do not determine", before + more, "identity", "≤")),
            *line(
                (across * K.inv() * K.inv() * across.T)[0],
                (
                    "‖A‖² of the larger A = H_QP H_P⁻¹: the first point's part changes, so that this may fall",
                    (carried - fresh * link / (h_P * schur)) ** 2 + (fresh / schur) ** 2,
                ),
            ),
            *line(
                trained,
                (
                    "mean square of f_Q − A y_P over f, g ~ GP(0, H), y_P = cos φ f + sin φ g + σξ; E = the covariances",
                    h_Q - (2 * sp.cos(phi) - 1) * before + variance * carried**2,
                ),
            ),
            *line(
                h_Q - (2 * sp.cos(phi) - 1) * before + variance * carried**2 - (h_Q - (2 * sp.cos(phi) - 1) * before),
                ("of which noise", variance * carried**2, "expand"),
            ),
        ),
        results={"more": more, "noise": variance * carried**2},
        where={
            carried: h_QP / h_P,
            fresh: h_new - h_QP * link / h_P,
            corner: schur + link**2 / h_P,
            ff_QQ: h_Q,
            ff_QP: h_QP,
            ff_PP: h_P,
            gg_PP: h_P,
            fg: sp.Integer(0),
            xi: sp.Integer(1),
        },
        ranges=RANGES,
    )
