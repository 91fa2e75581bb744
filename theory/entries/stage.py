"""Entries of one stage of training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp

from theory.definitions import cases, hidden, linear_model
from theory.definitions.linear_model import matrix
from theory.entries import modes, scales
from theory.formula import Case, Chain, Domain, Entry, Evidence, Tolerance, Values
from theory.numeric import stages
from theory.symbolic import displacement, inverse_norm, residual, steps_to_loss

_EXACT = Evidence(kind="exact", detail="gradient descent on the weights of a linear model, run literally")
_STAGE = "H = F Fᵀ regular or singular, any y, 0 < η < 2/λ_max, k = 0, 1, 2, … or to the end"
_RESIDUAL = Tolerance(kind="dtype", multiple=16, scale=scales.residual, scale_text="‖y‖ (1 + λ_max φ)")


def _call(twin: Callable[..., Any], case: Case) -> Values:
    return modes.flat(twin(modes.spectrum(case), modes.columns(case["labels"]), case["lr"], case["steps"]))


def _call_flow(twin: Callable[..., Any], case: Case) -> Values:
    return modes.flat(twin(modes.spectrum(case), modes.columns(case["labels"]), case["time"]))


def _closed_flow(chain: Chain, case: Case) -> Values:
    return modes.modewise(chain, {**case, "lr": case["time"], "steps": 0})


def _closed_displacement(chain: Chain, case: Case) -> Values:
    return [mp.sqrt(modes.summed(chain, case))]


def _closed_loss(chain: Chain, case: Case) -> Values:
    return [modes.summed(chain, case)]


def _call_norm(twin: Callable[..., Any], case: Case) -> Values:
    return [twin(modes.spectrum(case), modes.columns(case["labels"]))]


def _closed_norm(chain: Chain, case: Case) -> Values:
    values, vectors = modes.decomposed(matrix(case["features"]))
    C = vectors.T * matrix(case["labels"])
    total, size = mp.mpf(0), linear_model.norm(C)
    for i, value in enumerate(values):
        for column in range(C.cols):
            if value:
                total += modes.at(chain, "mode", value, 0, 0, C[i, column])
            elif abs(C[i, column]) > mp.mpf(10) ** (-mp.mp.dps // 2) * size:
                return [None]
    return [total]


def _call_steps(twin: Callable[..., Any], case: Case) -> Values:
    return [twin(modes.spectrum(case), modes.columns(case["labels"]), case["target_loss"], case["lr"])]


def _call_acceleration(twin: Callable[..., Any], case: Case) -> Values:
    y, left = modes.columns(case["labels"]), modes.columns(case["remaining"])
    return list(twin(modes.spectrum(case), y, left, case["target_loss"], case["lr"]))


def _closed_acceleration(chain: Chain, case: Case) -> Values:
    return [*_closed_steps(chain, {**case, "labels": case["remaining"]}), *_closed_steps(chain, case)]


def _closed_steps(chain: Chain, case: Case) -> Values:
    for steps in range(case["give_up"]):
        if modes.summed(chain, {**case, "steps": steps}) <= case["target_loss"]:
            return [steps]
    return [None]


ENTRIES = (
    Entry(
        name="residual",
        title="Residual after k steps",
        statement="y − u(k) = (I − ηH)^k y for the squared loss ½‖u − y‖² and u(0) = 0; y stands for labels less initial outputs.",
        derivation=residual.residual,
        closed_form=modes.modewise,
        twin=stages.residual,
        call=_call,
        definition=linear_model.residual,
        tolerance=_RESIDUAL,
        domain=Domain(description=_STAGE, draw=cases.stage, cases=9),
        evidence=_EXACT,
        source="Arora et al. 2019 (arXiv 1901.08584), section 4",
    ),
    Entry(
        name="flow_residual",
        title="Residual of gradient flow",
        statement="y − u(t) = exp(−tH) y, the limit of the residual for η → 0 at t = ηk.",
        derivation=residual.flow_residual,
        closed_form=_closed_flow,
        twin=stages.flow_residual,
        call=_call_flow,
        definition=hidden.flow_residual,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=scales.flow, scale_text="‖y‖ (1 + t λ_max)"),
        domain=Domain(description="H = F Fᵀ regular or singular, any y, t ≥ 0", draw=cases.flow_stage, cases=4),
        evidence=Evidence(kind="exact", detail="the differential equation, integrated literally"),
        source="Du et al. 2018 (arXiv 1810.02054), section 3",
    ),
    Entry(
        name="coefficients",
        title="Dual coefficients after k steps",
        statement="γ = φ_k(H) y: after k steps the outputs at x have moved by h(x)ᵀγ, the weights by Fᵀγ; to the end γ = H⁺y. "
        "Null vectors of H, which no h(x) sees, are left out.",
        derivation=residual.coefficients,
        closed_form=modes.modewise,
        twin=stages.coefficients,
        call=_call,
        definition=linear_model.coefficients,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=scales.coefficients, scale_text="‖y‖ φ (1 + λ_max φ)"),
        domain=Domain(description=f"{_STAGE}; y in the range of a singular H", draw=cases.stage_in_range, cases=9),
        evidence=_EXACT,
        source="The sum of the steps' residuals",
    ),
    Entry(
        name="displacement",
        title="Displacement after k steps",
        statement="‖W(k) − W(0)‖_F = √(yᵀ φ_k H φ_k y) = √(Σᵢ (vᵢᵀy)² (1 − (1 − ηλᵢ)^k)²/λᵢ); to the end √(yᵀH⁺y).",
        derivation=displacement.squared,
        closed_form=_closed_displacement,
        twin=stages.displacement,
        call=_call,
        definition=linear_model.displacement,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=scales.displacement, scale_text="‖y‖ √φ (1 + λ_max φ)"),
        domain=Domain(description=_STAGE, draw=cases.stage, cases=9),
        evidence=_EXACT,
        source="arXiv 1909.12031, weights stay close, at finite k; Arora et al. 2019, lemma 5.3, to the end",
    ),
    Entry(
        name="loss",
        title="Loss after k steps",
        statement="½‖(I − ηH)^k y‖² = ½ Σᵢ (vᵢᵀy)² (1 − ηλᵢ)^{2k}.",
        derivation=displacement.loss,
        closed_form=_closed_loss,
        twin=stages.loss,
        call=_call,
        definition=linear_model.loss,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=scales.loss, scale_text="½‖y‖² (1 + λ_max φ)"),
        domain=Domain(description=_STAGE, draw=cases.stage, cases=9),
        evidence=_EXACT,
        source="Half the squared residual",
    ),
    Entry(
        name="inverse_norm_squared",
        title="Norm of the least fit",
        statement="yᵀH⁻¹y: the least squared displacement of weights that fit y; undefined (infinite) when y leaves the range of H.",
        derivation=inverse_norm.chain,
        closed_form=_closed_norm,
        twin=stages.inverse_norm_squared,
        call=_call_norm,
        definition=linear_model.inverse_norm_squared,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=scales.inverse_norm, scale_text="‖y‖² κ(H)/λ⁺_min"),
        domain=Domain(description="H = F Fᵀ regular or singular, y inside or outside its range", draw=cases.least_fit, cases=12),
        evidence=Evidence(kind="exact", detail="the constrained least-norm problem, solved literally"),
        source="Arora et al. 2019 (arXiv 1901.08584), section 5",
    ),
    Entry(
        name="steps_to_loss",
        title="Steps to a loss",
        statement="min{k : ½‖(I − ηH)^k y‖² ≤ ε}; none when the part of y outside the range of H already exceeds ε.",
        derivation=steps_to_loss.chain,
        closed_form=_closed_steps,
        twin=stages.steps_to_loss,
        call=_call_steps,
        definition=linear_model.steps_to_loss,
        tolerance=Tolerance(kind="exact", multiple=0),
        domain=Domain(description="0 < η < 2/λ_max, ε > 0, here not equal to a loss on the way", draw=cases.losses, cases=12),
        evidence=_EXACT,
        source="The loss falls at every stable step",
    ),
    Entry(
        name="acceleration",
        title="Steps saved by pretraining",
        statement="Steps to a loss ε for ỹ, from the pretrained weights, and for y_Q, from scratch; in one mode pretraining saves "
        "log|c/c̃|/(−log|1 − ηλ|) of them.",
        derivation=steps_to_loss.acceleration,
        closed_form=_closed_acceleration,
        twin=stages.acceleration,
        call=_call_acceleration,
        definition=linear_model.acceleration,
        tolerance=Tolerance(kind="exact", multiple=0),
        domain=Domain(description="0 < η < 2/λ_max, ε > 0, here not equal to a loss on the way", draw=cases.accelerated, cases=8),
        evidence=_EXACT,
        source="arXiv 1909.12031, pretraining accelerates training, quantified",
    ),
)
"""In the order they are shown and checked."""
