"""Cross-entropy: its gradient and curvature in the outputs, the exact recursion in output space, and the step at which it descends."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.heavy_ball import beta, mu
from theory.symbolic.notation import F_P, H_P, F_Pt, between, eta, lam, line, matrix, with_transpose

f_1, f_2, f_3, f = sp.symbols("f_1 f_2 f_3 f", real=True)
y_1, y_2, y_3 = sp.symbols("Y_1 Y_2 Y_3", positive=True)
total = sp.exp(f_1) + sp.exp(f_2) + sp.exp(f_3)
log_total = sp.log(total)

start, carried = matrix("f_A", 2, 1), matrix("t_f", 2, 1)
alpha, alpha_t = with_transpose("alpha_f", 2, 1)
slope = matrix("s_f", 2, 1)
share = sp.Symbol("omega", real=True)

odds, low, spread = sp.symbols("s m w", positive=True)
mean = sp.Symbol("E", real=True)
probability = sp.Symbol("p", positive=True)
step, previous, excess = sp.symbols("Delta d delta", real=True)
curvature = sp.Symbol("L", positive=True)

RANGES = {
    **{v: between(-2, 2) for v in (f_1, f_2, f_3, f, mean, step, previous)},
    **{v: between(0, 1) for v in (y_1, y_2, y_3, probability, mu)},
    **{v: between(Fraction(1, 5), 2) for v in (odds, low, spread, beta, curvature)},
    share: between(-1, 1),
    excess: between(Fraction(-1, 2), Fraction(1, 2)),
}


def _loss(outputs: sp.Expr) -> sp.Expr:
    return y_1 * (outputs - f_1) + y_2 * (outputs - f_2) + y_3 * (outputs - f_3)


@cache
def loss() -> Chain:
    """The loss of a point, three classes; and of a label ±1."""
    softmax = [sp.exp(v) / total for v in (f_1, f_2, f_3)]
    binary = sp.log(1 + sp.exp(-f))
    return Chain(
        title="Cross-entropy",
        steps=(
            *line(
                -(y_1 * sp.log(softmax[0]) + y_2 * sp.log(softmax[1]) + y_3 * sp.log(softmax[2])),
                ("−Σ Y log softmax f: log of a quotient", _loss(log_total), "numbers"),
            ),
            *line(sp.log(total / sp.exp(f_1)), ("for each class", log_total - f_1, "numbers")),
            *line(
                -sp.log(sp.exp(f / 2) / (sp.exp(f / 2) + sp.exp(-f / 2))),
                ("label 1, outputs (f/2, −f/2); −1 by symmetry: f is the margin y f", binary, "numbers"),
            ),
            *line(
                sp.exp(f / 2) / (sp.exp(f / 2) + sp.exp(-f / 2)) * (1 + sp.exp(-f)),
                ("since the probability is 1/(1 + e^{−f})", sp.Integer(1)),
            ),
        ),
        results={"classes": _loss(log_total), "sign": binary},
        ranges=RANGES,
    )


@cache
def gradient() -> Chain:
    """`softmax f − Y` for labels that add up to 1."""
    value = _loss(log_total)
    first = sp.exp(f_1) / total * (y_1 + y_2 + y_3) - y_1
    binary = -1 / (1 + sp.exp(f))
    return Chain(
        title="Gradient of the cross-entropy",
        steps=(
            *line(
                sp.Derivative(value, f_1),
                ("derivative by the first output", first, "evaluate"),
            ),
            *line(sp.Subs(first, y_3, 1 - y_1 - y_2), ("probabilities add up to 1: softmax f − Y", sp.exp(f_1) / total - y_1, "evaluate")),
            *line(sp.Derivative(sp.log(1 + sp.exp(-f)), f), ("labels ±1, f the margin", binary, "evaluate")),
        ),
        results={"classes": sp.exp(f_1) / total - y_1, "sign": binary},
        ranges=RANGES,
    )


@cache
def descent() -> Chain:
    """`α ← α − η(softmax f − Y + βα)`, `f = f_A + ω t + Hα`, displacement² `tr αᵀHα`."""
    moved = alpha - eta * (slope + beta * alpha)
    outputs = start + share * carried + H_P * alpha
    away = matrix("D_f", 3, 1)
    return Chain(
        title="Gradient descent on the cross-entropy, in output space",
        steps=(
            *line(
                (share * away + F_Pt * alpha) - eta * (F_Pt * slope + beta * (share * away + F_Pt * alpha)),
                (
                    "one step from W − A = ω D + Fᵀα, s = softmax f − Y the gradient in the outputs: it stays of that form",
                    (1 - eta * beta) * share * away + F_Pt * moved,
                    "expand",
                ),
            ),
            *line(alpha - eta * slope - eta * beta * alpha, ("coefficients", moved, "expand")),
            *line(start + F_P * (share * away + F_Pt * alpha), ("outputs, t = F D", start + share * F_P * away + H_P * alpha, "expand")),
            *line(start + share * carried + F_P * F_Pt * alpha, ("that is", outputs, "expand")),
            *line((alpha_t * F_P) * (F_Pt * alpha), ("displacement from an anchor at the start, squared", alpha_t * H_P * alpha, "expand")),
        ),
        results={"coefficients": moved, "outputs": outputs, "squared": alpha_t * H_P * alpha},
        where={H_P: F_P * F_Pt},
        ranges=RANGES,
    )


@cache
def stability() -> Chain:
    """The largest curvature of the loss in an output, and the step up to which loss plus kinetic term never rises."""
    # An output between the least, m, and the largest, m + w: m + w/(1 + s).
    value = low + spread / (1 + odds)
    high = low + spread
    bound = 2 * (1 - mu) / (lam / 2 + beta)
    binary = 2 * (1 - mu) / (lam / 4 + beta)
    ahead = (mu * previous - step) / eta * step + curvature / 2 * step**2
    kinetic = mu / (2 * eta)
    change = -(1 / eta - curvature / 2 - mu / eta) * step**2
    return Chain(
        title="Stable step of the cross-entropy",
        steps=(
            *line(
                value**2,
                (
                    "vᵀ(diag p − ppᵀ)v is the variance of v under p; a value between m and M: (M − v)(v − m) ≥ 0",
                    (low + high) * value - low * high,
                    "simplify",
                    "≤",
                ),
            ),
            *line(
                (low + high) * mean - low * high - mean**2,
                ("so the variance is at most, E the mean of v", (high - low) ** 2 / 4, "expand", "≤"),
            ),
            *line(
                (f_1 - f_2) ** 2 / 4, ("and that at most half the square of v: ‖diag p − ppᵀ‖ ≤ ½", (f_1**2 + f_2**2) / 2, "expand", "≤")
            ),
            *line(probability * (1 - probability), ("two outputs ±f/2: the curvature in f", sp.Rational(1, 4), "expand", "≤")),
            *line(
                probability * f**2 + (1 - probability) * f**2 - (probability * f - (1 - probability) * f) ** 2,
                ("two classes and v = (f, −f), ‖v‖² = 2f²: the variance", 4 * probability * (1 - probability) * f**2),
            ),
            *line(
                sp.Subs(4 * probability * (1 - probability) * f**2, probability, sp.Rational(1, 2)),
                ("is half of ‖v‖² where they are undecided: the bound is attained", f**2, "evaluate"),
            ),
            *line(
                ahead,
                (
                    "a step Δ = −ηg + μd changes a loss of curvature at most L by at most gΔ + ½LΔ², with g = (μd − Δ)/η",
                    mu / eta * previous * step - (1 / eta - curvature / 2) * step**2,
                ),
                (
                    "2dΔ ≤ d² + Δ²",
                    kinetic * (previous**2 + step**2) - (1 / eta - curvature / 2) * step**2,
                    "numbers",
                    "≤",
                ),
            ),
            *line(
                kinetic * (previous**2 + step**2 - 2 * previous * step), ("their difference is a square", kinetic * (previous - step) ** 2)
            ),
            *line(
                kinetic * (previous**2 + step**2) - (1 / eta - curvature / 2) * step**2 + kinetic * (step**2 - previous**2),
                ("so loss plus μ/(2η) times the last step squared changes by at most", change),
            ),
            *line(
                sp.Subs(1 / eta - curvature / 2 - mu / eta, eta, 2 * (1 - mu) / curvature * (1 + excess)),
                ("at η = 2(1 − μ)/L·(1 + δ) the factor changes sign at δ = 0", -curvature * excess / (2 * (1 + excess)), "evaluate"),
            ),
            *line(sp.Subs(2 * (1 - mu) / curvature, curvature, lam / 2 + beta), ("softmax: L = λ_max/2 + β", bound, "evaluate")),
            *line(sp.Subs(2 * (1 - mu) / curvature, curvature, lam / 4 + beta), ("labels ±1: L = λ_max/4 + β", binary, "evaluate")),
        ),
        results={"classes": bound, "sign": binary},
        ranges=RANGES,
    )
