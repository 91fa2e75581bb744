"""Entries of weight decay: filters, one stage from anywhere, and both stages for each anchor."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import mpmath as mp
import numpy as np

from theory.definitions import linear_methods, method_cases
from theory.definitions.linear_model import matrix
from theory.entries import methods, modes, scales, transfer
from theory.formula import Case, Chain, Domain, Entry, Evidence, Tolerance, Values
from theory.numeric import penalties
from theory.predict import predict
from theory.symbolic import decay, heavy_ball
from theory.symbolic import notation as s
from theory.symbolic.algebra import evaluate

_EXACT = Evidence(kind="exact", detail="the penalised loss of a linear model minimised step by step on its weights, literally")
_MODES = "λ ≥ 0, β ≥ 0, 0 ≤ μ < 1, η(λ + β) < 2(1 + μ), k = 0, 1, 2, … or to the end"
_STAGE = "H regular, any start and anchor, β ≥ 0, 0 ≤ μ < 1, η(λ_max + β) < 2(1 + μ), any k or to the end"
_TWO = "both stages on shared features, regular or singular, u(0) ≠ 0, β ≥ 0, 0 ≤ μ < 1, stable η, any k_P, k_Q, or to the end"


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


# Both stages ----------------------------------------------------------------------------------------------------------------------


def _call_transfer(twin: Callable[..., Any], case: Case) -> Values:
    outcome = transfer.predicted(partial(twin, initial_norm=case["initial_norm"]), case)
    outputs = [np.asarray(getattr(outcome, f"{name}_outputs")) for name in ("test", "source", "target")]
    residuals = [np.array(case[f"{name}_labels"]).reshape(u.shape) - u for name, u in zip(("source", "target"), outputs[1:], strict=True)]
    return [
        *modes.flat(outputs[0]),
        *modes.flat(residuals[0]),
        *modes.flat(residuals[1]),
        outcome.displacement,
        outcome.displacement_scratch,
    ]


class _Stages:
    """Both stages of a case at 50 digits: the weights by the chain's outputs, each stage's coefficients by the chain of one stage."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.F = {name: matrix(case[f"{name}_features"]) for name in ("source", "target", "test")}
        self.W_0 = matrix(case["start"])
        self.labels = {name: matrix(case[f"{name}_labels"]) for name in ("source", "target")}

    def coefficients(self, stage: str, y: Any, carried: Any) -> tuple[Any, Any]:
        """`γ` and `ω` of a stage, from labels less the anchor's outputs and what is carried; null vectors of `H` are left out."""
        case, F = self.case, self.F[stage]
        values, vectors = modes.decomposed(F)
        C, D = vectors.T * y, vectors.T * carried
        steps = (case["weight_decay"], case[f"{stage}_lr"], case[f"{stage}_steps"], case["momentum"])
        for i, value in enumerate(values):
            given = methods.on_mode(value, *steps)
            for column in range(C.cols):
                pair = {s.c: C[i, column], decay.carried: D[i, column]}
                C[i, column] = evaluate(decay.coefficients().results["mode"], given | pair) if value else mp.mpf(0)
        return vectors * C, methods.on_mode(0, *steps)[heavy_ball.alone]

    def symbols(self, **given: Any) -> dict[Any, Any]:
        """Values of the Gram blocks and weights that the chains of both stages speak of, seen from the test points."""
        F = self.F
        fixed = {
            s.F_x: F["test"],
            s.h_P: F["test"] * F["source"].T,
            s.h_Q: F["test"] * F["target"].T,
            s.H_P: F["source"] * F["source"].T,
            s.H_Q: F["target"] * F["target"].T,
            s.H_QP: F["target"] * F["source"].T,
            s.F_P: F["source"],
            s.F_Pt: F["source"].T,
            s.F_Q: F["target"],
            s.F_Qt: F["target"].T,
            decay.W_0: self.W_0,
            decay.W_0t: self.W_0.T,
        }
        return fixed | {getattr(decay, name): value for name, value in given.items()}


def _seen_from(symbols: dict[Any, Any], stages: _Stages, name: str) -> dict[Any, Any]:
    F = stages.F[name]
    return symbols | {s.F_x: F, s.h_P: F * stages.F["source"].T, s.h_Q: F * stages.F["target"].T}


def _trace(A: Any) -> Any:
    return mp.fsum(A[i, i] for i in range(A.rows))


def _closed_transfer(anchor: str, chain: Chain, case: Case) -> Values:
    """Outputs and displacement by the chain; the source stage, like one from scratch, needs only that of one stage."""
    stages = _Stages(case)
    F, W_0 = stages.F, stages.W_0
    outputs = {name: F[name] * W_0 for name in F}
    nothing = {name: mp.zeros(Y.rows, Y.cols) for name, Y in stages.labels.items()}
    zero = anchor == "zero"

    def from_start(stage: str) -> tuple[Any, Any]:
        Y = stages.labels[stage]
        return stages.coefficients(stage, Y, outputs[stage]) if zero else stages.coefficients(stage, Y - outputs[stage], nothing[stage])

    alpha, kept_P = from_start("source")
    before = stages.symbols(alpha=alpha, alpha_t=alpha.T, kept_P=kept_P)
    if anchor == "start":
        y, carried = stages.labels["target"] - outputs["target"] - F["target"] * (F["source"].T * alpha), nothing["target"]
    else:
        carried = evaluate(chain.results["carried"], before)
        y = stages.labels["target"] - (outputs["target"] if anchor == "initial" else nothing["target"])
    gamma, kept_Q = stages.coefficients("target", y, carried)
    symbols = before | {decay.gamma: gamma, decay.gamma_t: gamma.T, decay.kept_Q: kept_Q}
    seen = {name: evaluate(chain.results["outputs"], _seen_from(symbols, stages, name)) for name in ("test", "source", "target")}
    scratch, kept = from_start("target")
    moved_scratch = _trace(scratch.T * (F["target"] * F["target"].T) * scratch)
    if zero:
        size = _trace(evaluate(chain.results["size"], symbols))
        square = _moved(gamma, F["target"], carried, kept_Q, size)
        moved_scratch = _moved(scratch, F["target"], outputs["target"], kept, mp.fsum(v * v for v in W_0))
    else:
        square = _trace(evaluate(chain.results["squared"], symbols))
    return [
        *seen["test"],
        *(stages.labels["source"] - seen["source"]),
        *(stages.labels["target"] - seen["target"]),
        mp.sqrt(abs(square)),
        mp.sqrt(abs(moved_scratch)),
    ]


def _moved(gamma: Any, F: Any, carried: Any, kept: Any, size: Any) -> Any:
    """Squared displacement by the chain of one stage."""
    given = {
        decay.moved: _trace(gamma.T * (F * F.T) * gamma),
        decay.along: mp.fsum(g * t for g, t in zip(gamma, carried, strict=True)),
        decay.size: size,
        heavy_ball.alone: kept,
    }
    return evaluate(decay.displacement().results["squared"], given)


def _transfer_scale(case: Case) -> list[float]:
    beta, momentum = case["weight_decay"], case["momentum"]
    W, sizes = scales.norm(case["start"]), {}
    for name in ("source", "target"):
        F = case[f"{name}_features"]
        stage = {"features": F, "decay": beta, "momentum": momentum, "lr": case[f"{name}_lr"], "steps": case[f"{name}_steps"]}
        singular = len(F) > len(F[0])
        reach = methods.reach(stage)
        if singular and stage["steps"] is not None:
            reach = methods.start_of_motion(stage["lr"], stage["steps"], momentum)
        weights = scales.norm(F) * reach * methods.condition(stage) * (scales.norm(case[f"{name}_labels"]) + scales.norm(F) * W)
        sizes[name] = W = W + weights
    counts = {name: len(case[f"{name}_features"]) * len(case["source_labels"][0]) for name in ("test", "source", "target")}
    outputs = [scales.norm(case[f"{name}_features"]) * W for name in ("test", "source", "target")]
    residuals = [u + scales.norm(case[f"{name}_labels"]) for name, u in zip(("source", "target"), outputs[1:], strict=True)]
    return [
        *[outputs[0]] * counts["test"],
        *[residuals[0]] * counts["source"],
        *[residuals[1]] * counts["target"],
        W,
        W,
    ]


def _both_stages(anchor: str, name: str, title: str, statement: str, derivation: Callable[[], Chain]) -> Entry:
    return Entry(
        name=name,
        title=title,
        statement=statement,
        derivation=derivation,
        closed_form=partial(_closed_transfer, anchor),
        twin=predict,
        call=_call_transfer,
        definition=linear_methods.penalised_transfer,
        tolerance=Tolerance(
            kind="dtype", multiple=1, scale=_transfer_scale, scale_text="‖F‖ ‖W‖, or ‖W‖, condition of both stages included"
        ),
        domain=Domain(description=_TWO, draw=method_cases.anchored(anchor), cases=4),
        evidence=_EXACT,
        source="The weights after both stages",
    )


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
    _both_stages(
        "start",
        "decay_towards_own_start",
        "Both stages with decay towards each one's own start",
        "½β‖W − W(0)‖² on P, ½β‖W − W(P)‖² on Q (L2-SP): f = f_0 + h_Pᵀα + h_Qᵀγ, α = (H_P + β)⁻¹(I − p)y_P, γ = (H_Q + β)⁻¹(I − p)ỹ, "
        "‖W(Q) − W(P)‖² = γᵀH_Qγ.",
        decay.own_start,
    ),
    _both_stages(
        "initial",
        "decay_towards_initial",
        "Both stages with decay towards the initial weights",
        "½β‖W − W(0)‖² in both stages: f = f_0 + ω h_Pᵀα + h_Qᵀγ, γ = (H_Q + β)⁻¹(I − p)y_Q − H_Q⁻¹(ω − p)H_QPα, "
        "‖W(Q) − W(P)‖² = (1 − ω)²αᵀH_Pα + γᵀH_Qγ − 2(1 − ω)γᵀH_QPα: to the end pretraining is erased.",
        decay.towards_initial,
    ),
    _both_stages(
        "zero",
        "decay_towards_zero",
        "Both stages with decay towards zero",
        "½β‖W‖² in both stages of a frozen model, whose outputs at 0 are 0: f = ω_Qω_P f_0 + ω_Q h_Pᵀα + h_Qᵀγ, and the weights move by "
        "(1 − ω_Q)W(P) besides, W(P) = ω_P W(0) + Zα, whose norm grows as √m: outputs have an infinite-width limit, displacement has none.",
        decay.towards_zero,
    ),
)
"""In the order they are shown and checked."""
