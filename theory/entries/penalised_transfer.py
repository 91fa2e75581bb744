"""Entries of weight decay in both stages, for each anchor."""

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
from theory.predict import predict
from theory.symbolic import decay, heavy_ball
from theory.symbolic import notation as s
from theory.symbolic.algebra import evaluate

_EXACT = Evidence(kind="exact", detail="the penalised loss of a linear model minimised step by step on its weights, literally")
_TWO = "both stages on shared features, regular or singular, u(0) ≠ 0, β ≥ 0, 0 ≤ μ < 1, stable η, any k_P, k_Q, or to the end"


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


ENTRIES = (
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
