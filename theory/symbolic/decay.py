"""Decay `½β‖W − A‖²`: filters at `λ + β`, a start that is carried, and both stages for each anchor.

`p` and `ω` stand for what the method, with or without momentum, leaves at `λ + β` and at `β`; `theory.symbolic.heavy_ball` derives them.
"""

from __future__ import annotations

from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.heavy_ball import RANGES, alone, beta, left, mu
from theory.symbolic.notation import (
    F_P,
    F_Q,
    H_P,
    H_Q,
    H_QP,
    F_Pt,
    F_Qt,
    F_x,
    c,
    eta,
    h_P,
    h_Q,
    lam,
    line,
    matrix,
    with_transpose,
)

carried = sp.Symbol("t", real=True)
# ν_D = ‖W_s − A‖², ν_W = γᵀHγ, τ = γᵀt.
size, moved, along = sp.symbols("nu_D nu_W tau", real=True)
phi = (1 - left) / (lam + beta)
psi = (alone - left) / lam

WHERE = {H_P: F_P * F_Pt, H_Q: F_Q * F_Qt, H_QP: F_Q * F_Pt, h_P: F_x * F_Pt, h_Q: F_x * F_Qt}

# Both stages: weights at the start, source coefficients, target coefficients, and what each stage remembers of the anchor's distance.
W_0, W_0t = with_transpose("W_beta", 3, 1)
alpha, alpha_t = with_transpose("alpha_beta", 2, 1)
gamma, gamma_t = with_transpose("gamma_beta", 3, 1)
kept_P, kept_Q = sp.symbols("omega_P omega_Q", real=True)
shape_ranges = {**RANGES, kept_P: RANGES[alone], kept_Q: RANGES[alone], carried: RANGES[alone]}


@cache
def residual_filter() -> Chain:
    """`(β + λp)/(λ + β)`; to the end `β/(λ + β)`."""
    share = (beta + lam * left) / (lam + beta)
    return Chain(
        title="Residual filter of decay",
        steps=(
            *line(
                c - eta * (lam * c - 1 + beta * c),
                ("one step on the coefficient of a mode, anchor at 0: the curvature is λ + β", (1 - eta * (lam + beta)) * c + eta),
            ),
            *line(
                (1 - eta * (lam + beta)) * phi + eta,
                ("plain steps: (1 − p)/(λ + β) goes on with p ← (1 − η(λ + β))p", (1 - (1 - eta * (lam + beta)) * left) / (lam + beta)),
            ),
            *line(1 - lam * phi, ("what is left of the label", share)),
            *line(left + beta * phi, ("written without a difference", share)),
            *line(sp.Subs(share, left, 0), ("to the end p → 0", beta / (lam + beta), "evaluate")),
        ),
        results={"mode": share, "end": beta / (lam + beta)},
        ranges=shape_ranges,
    )


@cache
def integral_filter() -> Chain:
    """`(1 − p)/(λ + β)`; to the end `1/(λ + β)`."""
    return Chain(
        title="Integral filter of decay",
        steps=(
            *line(
                c - eta * (lam * c - 1 + beta * c),
                ("one step on the coefficient of a mode, anchor at 0", (1 - eta * (lam + beta)) * c + eta),
            ),
            *line(
                (1 + mu - eta * (lam + beta)) * phi - mu * (1 - c) / (lam + beta) + eta,
                ("with momentum, from p and the p before, c", (1 - ((1 + mu - eta * (lam + beta)) * left - mu * c)) / (lam + beta)),
            ),
            *line(1 / (lam + beta) - left / (lam + beta), ("what has moved", phi)),
            *line(sp.Subs(phi, left, 0), ("to the end p → 0", 1 / (lam + beta), "evaluate")),
        ),
        results={"mode": phi, "end": 1 / (lam + beta)},
        ranges=shape_ranges,
    )


@cache
def share() -> Chain:
    """Outside the span of the features only decay acts."""
    return Chain(
        title="What is left of the distance from the anchor",
        steps=(
            *line(
                alone * c - (mu * (alone - left) * -c + eta * beta * alone * c),
                (
                    "a direction that no feature sees: the recursion of a mode with λ = 0, the step before at p c",
                    ((1 + mu - eta * beta) * alone - mu * left) * c,
                ),
            ),
            *line(sp.Subs(lam + beta, lam, 0), ("so ω_k is what a method leaves of a mode at", beta, "evaluate")),
        ),
        results={"eigenvalue": beta},
        ranges=shape_ranges,
    )


@cache
def coefficients() -> Chain:
    """`γ = φ y − ψ t` on a mode, and the step in weights that it comes from."""
    away = matrix("D_beta", 3, 1)
    label = matrix("y_A", 3, 1)
    mode = phi * c - psi * carried
    return Chain(
        title="Coefficients under decay",
        steps=(
            *line(
                (alone * away + F_Qt * gamma)
                - eta * (F_Qt * (F_Q * (alone * away + F_Qt * gamma) - label) + beta * (alone * away + F_Qt * gamma)),
                (
                    "one step from W − A = ω D + Fᵀγ: it stays of that form, ω ← (1 − ηβ)ω, γ ← γ − η((H + β)γ + ω F D − y)",
                    (1 - eta * beta) * alone * away
                    + F_Qt * (gamma - eta * (F_Q * F_Qt * gamma + beta * gamma + alone * F_Q * away - label)),
                    "expand",
                ),
            ),
            *line(
                (1 - eta * (lam + beta)) * mode - eta * alone * carried + eta * c,
                (
                    "on a mode, y = c and F D = t: φ and ψ go on with p ← (1 − η(λ + β))p, ω ← (1 − ηβ)ω",
                    (1 - (1 - eta * (lam + beta)) * left) / (lam + beta) * c
                    - ((1 - eta * beta) * alone - (1 - eta * (lam + beta)) * left) / lam * carried,
                ),
            ),
            *line(c * phi - carried * psi, ("so the coefficient is", mode)),
        ),
        results={"mode": mode},
        where=WHERE,
        ranges=shape_ranges,
    )


@cache
def residual() -> Chain:
    """`p (y − t) + βφ y` on a mode."""
    mode = left * (c - carried) + beta * phi * c
    return Chain(
        title="Residual under decay",
        steps=(
            *line(
                c - (alone * carried + lam * (phi * c - psi * carried)),
                (
                    "labels less outputs: the share of the carried output and what the coefficients add",
                    (1 - lam * phi) * c - left * carried,
                ),
                ("1 − λφ = p + βφ", mode),
            ),
            *line(sp.Subs(mode, left, 0), ("to the end p → 0, wherever the stage started", beta * c / (lam + beta), "evaluate")),
        ),
        results={"mode": mode, "end": beta * c / (lam + beta)},
        ranges=shape_ranges,
    )


@cache
def displacement() -> Chain:
    """`‖W − W_s‖² = γᵀHγ − 2(1 − ω)γᵀt + (1 − ω)²‖D‖²`."""
    away, away_t = with_transpose("D_s", 3, 1)
    squared = moved - 2 * (1 - alone) * along + (1 - alone) ** 2 * size
    coefficient = phi * c
    return Chain(
        title="Displacement under decay",
        steps=(
            *line(
                (alone * away_t + gamma_t * F_Q - away_t) * (alone * away + F_Qt * gamma - away),
                (
                    "W − W_s = Fᵀγ − (1 − ω) D, squared",
                    gamma_t * F_Q * F_Qt * gamma
                    - (1 - alone) * (gamma_t * F_Q * away + away_t * F_Qt * gamma)
                    + (1 - alone) ** 2 * away_t * away,
                    "expand",
                ),
            ),
            *line(
                moved - (1 - alone) * (along + along) + (1 - alone) ** 2 * size,
                ("both cross terms are γᵀt; with γᵀHγ and ‖D‖²", squared),
            ),
            *line(
                sp.Subs(lam * coefficient**2, left, 0),
                ("own start, to the end, on a mode: c²λ/(λ + β)², not c²/(λ + β)", c**2 * lam / (lam + beta) ** 2, "evaluate"),
            ),
        ),
        results={"squared": squared},
        where=WHERE,
        ranges={**shape_ranges, size: RANGES[alone], moved: RANGES[alone], along: RANGES[alone]},
    )


@cache
def own_start() -> Chain:
    """Decay towards the stage's own start, seen at any point."""
    outputs = F_x * W_0 + h_P * alpha + h_Q * gamma
    return Chain(
        title="Both stages, decay towards each stage's own start",
        steps=(
            *line(
                F_x * (W_0 + F_Pt * alpha + F_Qt * gamma),
                ("nothing is carried: each stage adds its coefficients", outputs, "expand"),
            ),
            *line(
                (gamma_t * F_Q) * (F_Qt * gamma), ("the target stage moves the weights by Fᵀγ; squared", gamma_t * H_Q * gamma, "expand")
            ),
        ),
        results={"outputs": outputs, "squared": gamma_t * H_Q * gamma},
        where=WHERE,
        ranges=shape_ranges,
    )


@cache
def towards_initial() -> Chain:
    """Decay towards `W(0)` in both stages: on `Q` what was learned on `P` fades."""
    outputs = F_x * W_0 + kept_Q * h_P * alpha + h_Q * gamma
    squared = (
        (1 - kept_Q) ** 2 * alpha_t * H_P * alpha
        + gamma_t * H_Q * gamma
        - (1 - kept_Q) * (gamma_t * H_QP * alpha + alpha_t * F_P * F_Qt * gamma)
    )
    return Chain(
        title="Both stages, decay towards the initial weights",
        steps=(
            *line(
                F_x * (W_0 + kept_Q * (F_Pt * alpha) + F_Qt * gamma),
                ("D = W(P) − W(0) = F_Pᵀα is carried", outputs, "expand"),
            ),
            *line(F_Q * (F_Pt * alpha), ("seen on Q it is what pretraining put there", H_QP * alpha, "expand")),
            *line(
                ((kept_Q - 1) * alpha_t * F_P + gamma_t * F_Q) * ((kept_Q - 1) * F_Pt * alpha + F_Qt * gamma),
                ("W(Q) − W(P), squared", squared, "expand"),
            ),
            *line(
                outputs - kept_Q * h_P * alpha,
                ("to the end ω = 0: what pretraining added is erased", F_x * W_0 + h_Q * gamma, "expand"),
            ),
        ),
        results={"outputs": outputs, "squared": squared, "carried": H_QP * alpha},
        where=WHERE,
        ranges=shape_ranges,
    )


@cache
def towards_zero() -> Chain:
    """Decay towards 0 in both stages, for a model whose outputs at 0 are 0: the start itself shrinks."""
    pretrained = kept_P * W_0 + F_Pt * alpha
    pretrained_t = kept_P * W_0t + alpha_t * F_P
    outputs = kept_Q * kept_P * F_x * W_0 + kept_Q * h_P * alpha + h_Q * gamma
    size = kept_P**2 * W_0t * W_0 + kept_P * (W_0t * F_Pt * alpha + alpha_t * F_P * W_0) + alpha_t * H_P * alpha
    carried_Q = kept_P * F_Q * W_0 + H_QP * alpha
    moved = (kept_Q - 1) * pretrained + F_Qt * gamma
    moved_t = (kept_Q - 1) * pretrained_t + gamma_t * F_Q
    return Chain(
        title="Both stages, decay towards zero",
        steps=(
            *line(
                F_x * (kept_Q * pretrained + F_Qt * gamma),
                ("W(P) = ω_P W(0) + F_Pᵀα is carried, all of it", outputs, "expand"),
            ),
            *line(F_Q * pretrained, ("seen on Q: all outputs there", carried_Q, "expand")),
            *line(pretrained_t * pretrained, ("its size", size, "expand")),
            *line(
                moved_t * moved,
                (
                    "W(Q) − W(P) = F_Qᵀγ − (1 − ω_Q) W(P), squared",
                    (1 - kept_Q) ** 2 * pretrained_t * pretrained
                    + gamma_t * H_Q * gamma
                    - (1 - kept_Q) * (gamma_t * F_Q * pretrained + pretrained_t * F_Qt * gamma),
                    "expand",
                ),
            ),
            *line(
                outputs - (kept_Q * kept_P - 1) * F_x * W_0,
                (
                    "outputs differ from those of decay towards W(0) by the shrunk initial ones only, which are 0 for u(0) = 0",
                    F_x * W_0 + kept_Q * h_P * alpha + h_Q * gamma,
                    "expand",
                ),
            ),
        ),
        results={"outputs": outputs, "carried": carried_Q, "size": size},
        where=WHERE,
        ranges=shape_ranges,
    )
