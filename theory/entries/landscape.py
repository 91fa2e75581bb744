"""Entries of the loss along the gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp

from theory.definitions import cases, linear_model
from theory.definitions.linear_model import matrix
from theory.entries import modes, scales
from theory.formula import Case, Chain, Domain, Entry, Evidence, Tolerance, Values
from theory.numeric import landscape
from theory.symbolic import smoothness
from theory.symbolic.algebra import evaluate
from theory.symbolic.notation import eta

_EXACT = Evidence(kind="exact", detail="a gradient step on the weights of a linear model, taken literally")
_DOMAIN = Domain(description="H = F Fᵀ regular or singular, any residual r with rᵀHr > 0, any step size η", draw=cases.stage, cases=6)
_SOURCE = "Santurkar et al. 2018 (arXiv 1805.11604) for the measures; here exact for the tangent kernel"


def _with_step(twin: Callable[..., Any], case: Case) -> Values:
    return [twin(modes.spectrum(case), modes.columns(case["labels"]), case["lr"])]


def _without_step(twin: Callable[..., Any], case: Case) -> Values:
    return [twin(modes.spectrum(case), modes.columns(case["labels"]))]


def _with_interval(twin: Callable[..., Any], case: Case) -> Values:
    return list(twin(modes.spectrum(case), modes.columns(case["labels"]), case["low"], case["high"]))


def _summed(chain: Chain, case: Case) -> Any:
    return modes.summed(chain, {**case, "steps": 0})


def _closed_loss(chain: Chain, case: Case) -> Values:
    return [_summed(chain, case)]


def _closed_root(chain: Chain, case: Case) -> Values:
    return [mp.sqrt(_summed(chain, case))]


def _moments(case: Case) -> dict[Any, Any]:
    F, Y = matrix(case["features"]), matrix(case["labels"])
    moments, image = {}, Y
    for symbol in (smoothness.s_0, smoothness.s_1, smoothness.s_2, smoothness.s_3):
        moments[symbol] = mp.fsum(a * b for a, b in zip(Y, image, strict=True))
        image = F * (F.T * image)
    return moments


def _closed_range(chain: Chain, case: Case) -> Values:
    moments, low, high = _moments(case), mp.mpf(case["low"]), mp.mpf(case["high"])
    ends = [evaluate(chain.results["ahead"], moments | {eta: lr}) for lr in (low, high)]
    slopes = [evaluate(chain.results["slope"], moments | {eta: lr}) for lr in (low, high)]
    least = evaluate(chain.results["least"], moments) if slopes[0] < 0 < slopes[1] else min(ends)
    return [least, max(ends)]


def _closed_smoothness(chain: Chain, case: Case) -> Values:
    return [evaluate(chain.results["smoothness"], _moments(case))]


def _range_scale(case: Case) -> float:
    return scales.along_gradient(case, max(abs(case["low"]), abs(case["high"])))


def _smoothness_scale(case: Case) -> float:
    size = scales.norm(case["labels"]) ** 2
    largest = cases.eigenvalues(case["features"])[-1]
    first, third = scales.moment(case, 1), scales.moment(case, 3)
    return (third / first) ** 0.5 * (largest**3 * size / third + largest * size / first)


ENTRIES = (
    Entry(
        name="loss_along_gradient",
        title="Loss along the gradient",
        statement="L(W − η∇L) = ½(r·r − 2η rᵀHr + η² rᵀH²r), r the residual.",
        derivation=smoothness.loss_along_gradient,
        closed_form=_closed_loss,
        twin=landscape.loss_along_gradient,
        call=_with_step,
        definition=linear_model.loss_along_gradient,
        tolerance=Tolerance(
            kind="dtype", multiple=16, scale=lambda case: scales.along_gradient(case, case["lr"]), scale_text="½‖r‖² (1 + |η| λ_max)²"
        ),
        domain=_DOMAIN,
        evidence=_EXACT,
        source=_SOURCE,
    ),
    Entry(
        name="loss_range_along_gradient",
        title="Range of the loss along the gradient",
        statement="Least and largest loss over step sizes in [low, high]: at an end, or at the vertex η = rᵀHr / rᵀH²r.",
        derivation=smoothness.loss_range,
        closed_form=_closed_range,
        twin=landscape.loss_range_along_gradient,
        call=_with_interval,
        definition=linear_model.loss_range_along_gradient,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=_range_scale, scale_text="½‖r‖² (1 + |η| λ_max)² at the larger end"),
        domain=Domain(description="low ≤ high, H and r as for the loss along the gradient", draw=cases.interval, cases=8),
        evidence=_EXACT,
        source=_SOURCE,
    ),
    Entry(
        name="gradient_norm",
        title="Gradient norm",
        statement="‖∂L/∂W‖_F = √(rᵀHr).",
        derivation=smoothness.gradient_norm,
        closed_form=_closed_root,
        twin=landscape.gradient_norm,
        call=_without_step,
        definition=linear_model.gradient_norm,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=lambda case: scales.root_moment(case, 1), scale_text="λ_max ‖r‖²/√(rᵀHr)"),
        domain=_DOMAIN,
        evidence=_EXACT,
        source="arXiv 1909.12031, improved Lipschitzness, for the weights in place of the activations",
    ),
    Entry(
        name="gradient_change",
        title="Change of the gradient",
        statement="‖∇L(W − η∇L) − ∇L(W)‖_F = |η| √(rᵀH³r).",
        derivation=smoothness.gradient_change,
        closed_form=_closed_root,
        twin=landscape.gradient_change,
        call=_with_step,
        definition=linear_model.gradient_change,
        tolerance=Tolerance(
            kind="dtype",
            multiple=16,
            scale=lambda case: abs(case["lr"]) * scales.root_moment(case, 3),
            scale_text="|η| λ_max³ ‖r‖²/√(rᵀH³r)",
        ),
        domain=_DOMAIN,
        evidence=_EXACT,
        source=_SOURCE,
    ),
    Entry(
        name="effective_smoothness",
        title="Effective smoothness",
        statement="√(rᵀH³r / rᵀHr): the gradient's change per distance along itself, between λ_min and λ_max.",
        derivation=smoothness.effective_smoothness,
        closed_form=_closed_smoothness,
        twin=landscape.effective_smoothness,
        call=_without_step,
        definition=linear_model.effective_smoothness,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=_smoothness_scale, scale_text="s (λ_max³‖r‖²/rᵀH³r + λ_max‖r‖²/rᵀHr)"),
        domain=_DOMAIN,
        evidence=_EXACT,
        source=_SOURCE,
    ),
)
"""In the order they are shown and checked."""
