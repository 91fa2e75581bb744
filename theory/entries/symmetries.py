"""Entries of exact statements that cost nothing: the initial scale, a target inside the source, sources that teach nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np

from theory.definitions import cases, relu_net, similarity, start_cases
from theory.definitions.linear_model import half_square, matrix
from theory.entries import modes, scales, transfer
from theory.formula import Case, Chain, Domain, Entry, Evidence, Tolerance, Values
from theory.numeric import symmetries
from theory.predict import predict
from theory.problem import Schedule, TransferProblem
from theory.symbolic import filters
from theory.symbolic import notation as s
from theory.symbolic import symmetries as chains
from theory.symbolic.algebra import evaluate

_CARRIES = {0: chains.ratio, 1: chains.distance, 2: chains.energy}


def _call_scale(twin: Callable[..., Any], case: Case) -> Values:
    unit = {name: float(value) for name, value in relu_net.at_unit_scale(case).items()}
    return list(twin(unit, case["kappa"]).values())


def _closed_scale(chain: Chain, case: Case) -> Values:
    values = []
    for name, value in relu_net.at_unit_scale(case).items():
        degree = symmetries.DEGREES[name]
        values.append(evaluate(chain.results[str(degree)], {_CARRIES[degree]: value, s.kappa: mp.mpf(case["kappa"])}))
    return values


def _call_inside(twin: Callable[..., Any], case: Case) -> Values:
    outcome = transfer.predicted(twin, case)
    return [outcome.gradient_energy, outcome.gain]


def _closed_inside(chain: Chain, case: Case) -> Values:
    F_P, n = matrix(case["source_features"]), len(case["source_features"])
    chosen = mp.matrix([[int(i == k) for k in range(n)] for i in case["chosen"]])
    q = modes.filter_matrix(filters.residual(), F_P, case["source_lr"], case["source_steps"])
    y = matrix(case["source_labels"]) - F_P * matrix(case["start"])
    left = evaluate(chain.results["remaining"], {chains.chosen: chosen, s.q_P: q, s.l_P: y})
    if case["source_steps"] is None:
        return [2 * half_square(left), evaluate(chain.results["gain"], {})]
    # Before the end, the gain is that of what is left.
    inverse = mp.inverse(chosen * (F_P * F_P.T) * chosen.T)
    norms = [mp.sqrt(mp.fsum((r.T * inverse * r)[k, k] for k in range(r.cols))) for r in (left, chosen * y)]
    return [2 * half_square(left), 1 - norms[0] / norms[1]]


def _inside_scale(case: Case) -> list[float]:
    F_P, F_Q = case["source_features"], case["target_features"]
    y = scales.norm(case["source_labels"]) + scales.norm(F_P) * scales.norm(case["start"])
    y_Q = float(np.linalg.norm(np.array(case["target_labels"]) - np.array(F_Q) @ np.array(case["start"])))
    values = cases.eigenvalues(F_Q)
    size = y * scales.condition(F_P, case["source_lr"], case["source_steps"])
    return [size**2, size / y_Q * values[-1] / values[0]]


def _call_nothing(twin: Callable[..., Any], case: Case) -> Values:
    sets = {name: (np.array(case[f"{name}_inputs"]), np.array(case[f"{name}_labels"])[:, 0]) for name in ("source", "target")}
    schedule = Schedule(case["source_steps"], case["target_steps"], case["source_lr"], case["target_lr"])
    outcome = twin(TransferProblem(**sets), schedule)
    return [outcome.gradient_energy, outcome.measured_gain]


def _closed_nothing(chain: Chain, case: Case) -> Values:
    left = [evaluate(chain.results["remaining"], {chains.label: mp.mpf(row[0])}) for row in case["target_labels"]]
    return [mp.fsum(v * v for v in left), evaluate(chain.results["gain"], {})]


ENTRIES = (
    Entry(
        name="at_scale",
        title="Initial scale",
        statement="(κ, y, η) trains as κ × (1, y/κ, η), step by step, of a real ReLU net at any width: outputs and distances carry κ, "
        "losses and energies κ², gains nothing.",
        derivation=chains.scale,
        closed_form=_closed_scale,
        twin=symmetries.at_scale,
        call=_call_scale,
        definition=relu_net.at_scale,
        tolerance=Tolerance(kind="exact", multiple=4),
        domain=Domain(description="κ > 0; any net, data, step sizes and numbers of steps", draw=start_cases.tiny_net, cases=6),
        evidence=Evidence(kind="exact", detail="a ReLU net trained literally at both scales, gates and all"),
        source="ReLU is homogeneous of degree 1",
    ),
    Entry(
        name="target_inside_source",
        title="A target inside the source",
        statement="X_Q ⊂ X_P with equal labels: ỹ(k) is the source residual q_P(k) y_P on those points; to the end ỹ = 0 and G = 1.",
        derivation=chains.subset,
        closed_form=_closed_inside,
        twin=predict,
        call=_call_inside,
        definition=similarity.inside,
        tolerance=Tolerance(
            kind="dtype", multiple=64, scale=_inside_scale, scale_text="‖y‖² (1 + λ_max φ)²; for the gain ‖y_P‖/‖y_Q‖ (1 + λ_max φ) κ(H_Q)"
        ),
        domain=Domain(description="H_P regular, u(0) ≠ 0, stable η; any k_P, or to the end", draw=start_cases.inside, cases=8),
        evidence=Evidence(kind="exact", detail="gradient descent of a linear model on the source, and least-norm fits"),
        source="F_Q is made of rows of F_P",
    ),
    Entry(
        name="nothing_transfers",
        title="Sources that teach nothing",
        statement="Source inputs orthogonal to the target's, or y_P = 0 with u(0) = 0: H_QP φ y_P = 0, ỹ = y_Q and G = 0, of a real ReLU "
        "net too, at any width and after any number of steps.",
        derivation=chains.nothing,
        closed_form=_closed_nothing,
        twin=predict,
        call=_call_nothing,
        definition=relu_net.nothing_transfers,
        tolerance=Tolerance(kind="exact", multiple=8),
        domain=Domain(description="u(0) = 0; orthogonal inputs, or source labels of zero", draw=start_cases.nothing_shared, cases=6),
        evidence=Evidence(kind="exact", detail="an antisymmetric ReLU net trained literally on both stages"),
        source="A step on P moves weights along the inputs of P only",
    ),
)
"""In the order they are shown and checked."""
