"""Entries of weight decay: filters, and one stage from anywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np

from theory.definitions import linear_methods, method_cases
from theory.definitions.linear_model import matrix
from theory.entries import methods, modes, scales
from theory.formula import Case, Chain, Domain, Entry, Evidence, Tolerance, Values
from theory.numeric import penalties
from theory.symbolic import decay, heavy_ball
from theory.symbolic import notation as s
from theory.symbolic.algebra import evaluate

_EXACT = Evidence(kind="exact", detail="the penalised loss of a linear model minimised step by step on its weights, literally")
_MODES = "λ ≥ 0, β ≥ 0, 0 ≤ μ < 1, η(λ + β) < 2(1 + μ), k = 0, 1, 2, … or to the end"
_STAGE = "H regular, any start and anchor, β ≥ 0, 0 ≤ μ < 1, η(λ_max + β) < 2(1 + μ), any k or to the end"


# Filters --------------------------------------------------------------------------------------------------------------------------


def _call_filter(twin: Callable[..., Any], case: Case) -> Values:
    return modes.flat(twin(np.array(case["values"]), case["lr"], case["steps"], case["decay"], case["momentum"]))


def _closed_filter(chain: Chain, case: Case) -> Values:
    found = []
    for value in case["values"]:
        given = methods.on_mode(value, case["decay"], case["lr"], case["steps"], case["momentum"])
        if value == 0 and case["decay"] == 0:
            # Nothing pulls: the plain filters' zero mode.
            steps = (0, case["lr"], case["steps"], case["momentum"])
            moving = chain.results["mode"] == decay.phi
            found.append(methods.moved(heavy_ball.integral(), *steps) if moving else methods.left(heavy_ball.residual(), *steps))
            continue
        found.append(evaluate(chain.results["end" if case["steps"] is None else "mode"], given))
    return found


def _left_scale(case: Case) -> list[float]:
    steps = (case["lr"], case["steps"], case["momentum"])
    return [1 + methods.left_scale(v + case["decay"], *steps) for v in case["values"]]


def _moved_scale(case: Case) -> list[float]:
    return [methods.moved_scale(v + case["decay"], case["lr"], case["steps"], case["momentum"]) for v in case["values"]]


def _call_share(twin: Callable[..., Any], case: Case) -> Values:
    return [twin(case["lr"], case["steps"], case["decay"], case["momentum"])]


def _closed_share(chain: Chain, case: Case) -> Values:
    value = evaluate(chain.results["eigenvalue"], {heavy_ball.beta: mp.mpf(case["decay"])})
    return [methods.left(heavy_ball.residual(), value, case["lr"], case["steps"], case["momentum"])]


def _share_scale(case: Case) -> float:
    return methods.left_scale(case["decay"], case["lr"], case["steps"], case["momentum"])


# One stage ------------------------------------------------------------------------------------------------------------------------


def _called(twin: Callable[..., Any], case: Case, **more: float) -> Any:
    options = {"decay": case["decay"], "momentum": case["momentum"], **more}
    if not case["starts_at_anchor"]:
        options["carried"] = modes.columns(case["carried"])
    return twin(modes.spectrum(case), modes.columns(case["labels"]), case["lr"], case["steps"], **options)


def _call_stage(twin: Callable[..., Any], case: Case) -> Values:
    return modes.flat(_called(twin, case))


def _call_displacement(twin: Callable[..., Any], case: Case) -> Values:
    return modes.flat(_called(twin, case, distance=case["distance"]))


def _modewise(chain: Chain, case: Case) -> Any:
    """The chain's result on each mode, in the basis of the modes; and that basis."""
    F, Y, T = matrix(case["features"]), matrix(case["labels"]), matrix(case["carried"])
    _, vectors = modes.decomposed(F)
    C, D = vectors.T * Y, vectors.T * T
    name = "end" if case["steps"] is None and "end" in chain.results else "mode"
    for i, given in enumerate(methods.of_stage(case)):
        for column in range(Y.cols):
            C[i, column] = evaluate(chain.results[name], given | {s.c: C[i, column], decay.carried: D[i, column]})
    return C, vectors


def _closed_stage(chain: Chain, case: Case) -> Values:
    C, vectors = _modewise(chain, case)
    return list(vectors * C)


def _closed_loss(chain: Chain, case: Case) -> Values:
    C, _ = _modewise(chain, case)
    return [mp.fsum(v * v for v in C) / 2]


def _closed_displacement(chain: Chain, case: Case) -> Values:
    C, vectors = _modewise(decay.coefficients(), case)
    gamma, F, T = vectors * C, matrix(case["features"]), matrix(case["carried"])
    moved = F.T * gamma
    away = matrix(case["start"]) - matrix(case["anchor"])
    given = {
        decay.size: mp.fsum(v * v for v in away),
        decay.along: mp.fsum(g * t for g, t in zip(gamma, T, strict=True)),
        decay.moved: mp.fsum(v * v for v in moved),
        heavy_ball.alone: methods.of_stage(case)[0][heavy_ball.alone],
    }
    return [mp.sqrt(abs(evaluate(chain.results["squared"], given)))]


def _coefficient_scale(case: Case) -> float:
    return methods.size(case) * methods.reach(case) * methods.condition(case)


def _residual_scale(case: Case) -> float:
    return methods.size(case) * methods.condition(case)


def _loss_scale(case: Case) -> float:
    return methods.size(case) ** 2 / 2 * methods.condition(case) * methods.overshoot(case["momentum"])


def _displacement_scale(case: Case) -> float:
    return scales.norm(case["features"]) * _coefficient_scale(case) + case["distance"] * methods.overshoot(case["momentum"])


def _stage_entry(name: str, title: str, statement: str, derivation: Callable[[], Chain], twin: Any, definition: Any, **more: Any) -> Entry:
    return Entry(
        name=name,
        title=title,
        statement=statement,
        derivation=derivation,
        twin=twin,
        definition=definition,
        domain=Domain(description=_STAGE, draw=method_cases.penalised, cases=8),
        evidence=_EXACT,
        source="Li, Grandvalet and Davoine 2018 (arXiv 1802.01483), the penalty; the recursion of the penalised loss",
        **more,
    )


def _filter_entry(name: str, title: str, statement: str, derivation: Callable[[], Chain], twin: Any, definition: Any, scale: Any) -> Entry:
    return Entry(
        name=name,
        title=title,
        statement=statement,
        derivation=derivation,
        closed_form=_closed_filter,
        twin=twin,
        call=_call_filter,
        definition=definition,
        tolerance=Tolerance(kind="dtype", multiple=8, scale=scale, scale_text="that of the filter of heavy ball at λ + β"),
        domain=Domain(description=_MODES, draw=method_cases.decayed_modes, cases=10),
        evidence=_EXACT,
        source="The recursion of the penalised loss, λ + β in place of λ",
    )


ENTRIES = (
    _filter_entry(
        "decayed_residual_filter",
        "Residual filter of decay",
        "(β + λp_k(λ + β))/(λ + β) = p_k + β(1 − p_k)/(λ + β): the share of an error that ½β‖W − W_s‖² leaves; to the end β/(λ + β).",
        decay.residual_filter,
        penalties.decayed_residual_filter,
        linear_methods.decayed_residual_filter,
        _left_scale,
    ),
    _filter_entry(
        "decayed_integral_filter",
        "Integral filter of decay",
        "(1 − p_k(λ + β))/(λ + β): the coefficient of a unit label under ½β‖W − W_s‖²; to the end 1/(λ + β).",
        decay.integral_filter,
        penalties.decayed_integral_filter,
        linear_methods.decayed_integral_filter,
        _moved_scale,
    ),
    Entry(
        name="remembered",
        title="What is left of the distance from the anchor",
        statement="ω_k = p_k(β), (1 − ηβ)^k without momentum: a direction of the weights that no feature sees is only forgotten.",
        derivation=decay.share,
        closed_form=_closed_share,
        twin=penalties.remembered,
        call=_call_share,
        definition=linear_methods.remembered,
        tolerance=Tolerance(kind="dtype", multiple=8, scale=_share_scale, scale_text="that of p_k at β"),
        domain=Domain(description="β ≥ 0, 0 ≤ μ < 1, ηβ < 2(1 + μ), any k or to the end", draw=method_cases.decayed_modes, cases=10),
        evidence=_EXACT,
        source="The recursion of the penalised loss where the gradient of the loss has no component",
    ),
    _stage_entry(
        "penalised_coefficients",
        "Dual coefficients under decay",
        "W − A = ω_k(W_s − A) + Zγ_k, γ_k = (H + β)⁻¹(I − p_k(H + β))y − H⁻¹(ω_k − p_k(H + β))t; y labels less the anchor's outputs, "
        "t = Zᵀ(W_s − A) the start's outputs less the anchor's.",
        decay.coefficients,
        penalties.coefficients,
        linear_methods.penalised_coefficients,
        call=_call_stage,
        closed_form=_closed_stage,
        tolerance=Tolerance(
            kind="dtype", multiple=2, scale=_coefficient_scale, scale_text="(‖y‖ + ‖t‖) φ (1 + (λ_max + β)φ)(1 + 2/(1 − μ))"
        ),
    ),
    _stage_entry(
        "penalised_residual",
        "Residual under decay",
        "y − u(k) = p_k(H + β)(y − t) + β(H + β)⁻¹(I − p_k(H + β))y; to the end β(H + β)⁻¹y, wherever the stage started.",
        decay.residual,
        penalties.residual,
        linear_methods.penalised_residual,
        call=_call_stage,
        closed_form=_closed_stage,
        tolerance=Tolerance(kind="dtype", multiple=2, scale=_residual_scale, scale_text="(‖y‖ + ‖t‖)(1 + (λ_max + β)φ)(1 + 2/(1 − μ))"),
    ),
    _stage_entry(
        "penalised_loss",
        "Loss under decay",
        "½‖y − u(k)‖², the penalty not counted.",
        decay.residual,
        penalties.loss,
        linear_methods.penalised_loss,
        call=_call_stage,
        closed_form=_closed_loss,
        tolerance=Tolerance(kind="dtype", multiple=2, scale=_loss_scale, scale_text="½(‖y‖ + ‖t‖)²(1 + (λ_max + β)φ)(1 + 2/(1 − μ))²"),
    ),
    _stage_entry(
        "penalised_displacement",
        "Displacement under decay",
        "‖W(k) − W_s‖² = γᵀHγ − 2(1 − ω_k)γᵀt + (1 − ω_k)²‖W_s − A‖²; from the anchor γᵀHγ, to the end yᵀ(H + β)⁻¹H(H + β)⁻¹y and not "
        "yᵀ(H + β)⁻¹y.",
        decay.displacement,
        penalties.displacement,
        linear_methods.penalised_displacement,
        call=_call_displacement,
        closed_form=_closed_displacement,
        tolerance=Tolerance(kind="dtype", multiple=2, scale=_displacement_scale, scale_text="‖F‖ ‖γ‖ + ‖W_s − A‖, condition included"),
    ),
)
"""In the order they are shown and checked."""
