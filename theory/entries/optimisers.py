"""Entries of linear methods besides plain descent: heavy ball, varying steps, minibatches in a known order."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np

from theory.definitions import linear_methods, linear_model, method_cases
from theory.definitions.cases import eigenvalues
from theory.entries import methods, modes, scales
from theory.formula import Case, Chain, Domain, Entry, Evidence, Tolerance, Values
from theory.numeric import minibatch, optimisers, stability
from theory.symbolic import heavy_ball, varying_steps
from theory.symbolic import minibatch as minibatch_chain
from theory.symbolic.algebra import evaluate
from theory.symbolic.notation import eta, lam

_EXACT = Evidence(kind="exact", detail="the method's steps on the weights of a linear model, run literally")
_HEAVY = "λ ≥ 0, 0 ≤ μ < 1, 0 < ηλ < 2(1 + μ), k = 0, 1, 2, … or to the end"


def _call(twin: Callable[..., Any], case: Case) -> Values:
    return modes.flat(twin(np.array(case["values"]), case["lr"], case["steps"], case["momentum"]))


def _closed_left(chain: Chain, case: Case) -> Values:
    return [methods.left(chain, mp.mpf(v), case["lr"], case["steps"], case["momentum"]) for v in case["values"]]


def _closed_moved(chain: Chain, case: Case) -> Values:
    return [methods.moved(chain, v, case["lr"], case["steps"], case["momentum"]) for v in case["values"]]


def _left_scale(case: Case) -> list[float]:
    return [methods.left_scale(v, case["lr"], case["steps"], case["momentum"]) for v in case["values"]]


def _moved_scale(case: Case) -> list[float]:
    return [methods.moved_scale(v, case["lr"], case["steps"], case["momentum"]) for v in case["values"]]


def _call_difference(twin: Callable[..., Any], case: Case) -> Values:
    return modes.flat(twin(np.array(case["values"]), case["decay"], case["lr"], case["steps"], case["momentum"]))


def _closed_difference(chain: Chain, case: Case) -> Values:
    steps = (case["decay"], case["lr"], case["steps"], case["momentum"])
    return [evaluate(chain.results["mode"], methods.on_mode(v, *steps)) for v in case["values"]]


def _difference_scale(case: Case) -> list[float]:
    lr, steps, momentum = case["lr"], case["steps"], case["momentum"]
    if steps is None:
        return [1 / v for v in case["values"]]
    first = methods.start_of_motion(lr, steps, momentum)
    return [first * (1 + methods.left_scale(v + case["decay"], lr, steps, momentum)) for v in case["values"]]


def _call_varying(twin: Callable[..., Any], case: Case) -> Values:
    return modes.flat(twin(np.array(case["values"]), case["rates"]))


def _product(value: Any, rates: list[float]) -> Any:
    left, chain = mp.mpf(1), varying_steps.residual()
    for lr in rates:
        left = evaluate(chain.results["next"], {varying_steps.left: left, eta: mp.mpf(lr), lam: mp.mpf(value)})
    return left


def _closed_product(chain: Chain, case: Case) -> Values:
    found = []
    for value in case["values"]:
        left = mp.mpf(1)
        for lr in case["rates"]:
            left = evaluate(chain.results["next"], {varying_steps.left: left, eta: mp.mpf(lr), lam: mp.mpf(value)})
        found.append(left)
    return found


def _closed_sum(chain: Chain, case: Case) -> Values:
    found = []
    for value in case["values"]:
        if value:
            found.append(evaluate(chain.results["mode"], {varying_steps.left: _product(value, case["rates"]), lam: mp.mpf(value)}))
            continue
        total = mp.mpf(0)
        for lr in case["rates"]:
            total = evaluate(chain.results["zero mode"], {varying_steps.moved: total, eta: mp.mpf(lr)})
        found.append(total)
    return found


def _product_scale(case: Case) -> list[float]:
    # An eps in each ηλ, where the factors are not small.
    return [math.prod(abs(1 - lr * v) + lr * v for lr in case["rates"]) * (1 + len(case["rates"])) for v in case["values"]]


def _sum_scale(case: Case) -> list[float]:
    return [math.fsum(case["rates"]) * (1 + len(case["rates"]))] * len(case["values"])


def _call_stable(twin: Callable[..., Any], case: Case) -> Values:
    return [case["lr"] <= twin(modes.spectrum(case), momentum=case["momentum"], decay=case["decay"])]


def _closed_stable(chain: Chain, case: Case) -> Values:
    values, _ = modes.decomposed(linear_model.matrix(case["features"]))
    given = {lam: max(values), heavy_ball.beta: mp.mpf(case["decay"]), heavy_ball.mu: mp.mpf(case["momentum"])}
    return [bool(case["lr"] <= evaluate(chain.results["bound"], given))]


def _call_minibatch(twin: Callable[..., Any], case: Case) -> Values:
    F = np.array(case["features"])
    found = twin(F @ F.T, modes.columns(case["labels"]), case["batches"], case["lr"])
    return [*modes.flat(found.coefficients), *modes.flat(found.residual), found.displacement]


def _closed_minibatch(chain: Chain, case: Case) -> Values:
    F, Y = linear_model.matrix(case["features"]), linear_model.matrix(case["labels"])
    H, gamma, r = F * F.T, mp.zeros(Y.rows, Y.cols), Y
    n = Y.rows
    for batch in case["batches"]:
        picks = mp.zeros(len(batch), n)
        for row, point in enumerate(batch):
            picks[row, point] = 1
        given = {
            minibatch_chain.picks: picks,
            minibatch_chain.picks_t: picks.T,
            minibatch_chain.H: H,
            minibatch_chain.gamma: gamma,
            minibatch_chain.residual: r,
            eta: mp.mpf(case["lr"]),
        }
        gamma, r = evaluate(chain.results["coefficients"], given), evaluate(chain.results["residual"], given)
    square = evaluate(chain.results["squared"], {minibatch_chain.gamma: gamma, minibatch_chain.gamma_t: gamma.T, minibatch_chain.H: H})
    return [*gamma, *r, mp.sqrt(mp.fsum(square[i, i] for i in range(square.rows)))]


def _minibatch_scale(case: Case) -> list[float]:
    # Every step adds at most η times a residual, which no step makes longer by more than the condition of the metric of the weights.
    F, count = case["features"], len(case["batches"])
    y, steps = scales.norm(case["labels"]), 1 + count
    numbers = len(case["labels"]) * len(case["labels"][0])
    size = scales.norm(F) / math.sqrt(eigenvalues(F)[0])
    reach = case["lr"] * steps
    return [y * size * reach] * numbers + [y * size * steps] * numbers + [y * size * reach * scales.norm(F)]


ENTRIES = (
    Entry(
        name="heavy_ball_residual_filter",
        title="Residual filter of heavy ball",
        statement="p_{k+1} = (1 + μ − ηλ)p_k − μp_{k−1}, p_0 = 1, p_1 = 1 − ηλ: what momentum μ, its buffer empty at first, leaves of an "
        "error; p_k = (z^{k+1}(1 − w) − w^{k+1}(1 − z))/(z − w) by the roots z, w of z² − (1 + μ − ηλ)z + μ.",
        derivation=heavy_ball.residual,
        closed_form=_closed_left,
        twin=optimisers.heavy_ball_residual_filter,
        call=_call,
        definition=linear_methods.heavy_ball_residual_filter,
        tolerance=Tolerance(kind="dtype", multiple=8, scale=_left_scale, scale_text="ϱ^k (1 + k)(1 + ηλ min(k, 1/|z − w|)), ϱ = max|z|"),
        domain=Domain(description=_HEAVY, draw=method_cases.heavy_ball_modes, cases=10),
        evidence=_EXACT,
        source="Polyak 1964",
    ),
    Entry(
        name="heavy_ball_integral_filter",
        title="Integral filter of heavy ball",
        statement="(1 − p_k(λ))/λ, at λ = 0: η(k − μ(1 − μ^k)/(1 − μ))/(1 − μ); to the end 1/λ, and 0 where λ = 0 (pseudo-inverse).",
        derivation=heavy_ball.integral,
        closed_form=_closed_moved,
        twin=optimisers.heavy_ball_integral_filter,
        call=_call,
        definition=linear_methods.heavy_ball_integral_filter,
        tolerance=Tolerance(
            kind="dtype", multiple=8, scale=_moved_scale, scale_text="(φ_k(0) for kηλ < max(1 − μ, 1/k), else (1 + scale of p_k)/λ)"
        ),
        domain=Domain(description=_HEAVY, draw=method_cases.heavy_ball_modes, cases=10),
        evidence=_EXACT,
        source="The sum of the velocities",
    ),
    Entry(
        name="difference_filter",
        title="Filter of a carried start",
        statement="ψ_k(λ) = (p_k(β) − p_k(λ + β))/λ: how the coefficients answer an output that the start of a stage carries over and "
        "decay only forgets; without decay the integral filter, to the end 0.",
        derivation=heavy_ball.difference,
        closed_form=_closed_difference,
        twin=optimisers.difference_filter,
        call=_call_difference,
        definition=linear_methods.difference_filter,
        tolerance=Tolerance(kind="dtype", multiple=4, scale=_difference_scale, scale_text="φ_k(0) (1 + scale of p_k(λ + β))"),
        domain=Domain(
            description="λ > 0, β ≥ 0, 0 ≤ μ < 1, η(λ + β) < 2(1 + μ), any k or to the end", draw=method_cases.shifted_modes, cases=10
        ),
        evidence=_EXACT,
        source="The weights outside the span of the features obey the recursion at λ = 0",
    ),
    Entry(
        name="varying_residual_filter",
        title="Residual filter of varying steps",
        statement="Π_j (1 − η_j λ): what steps of sizes η_0, η_1, … leave of an error.",
        derivation=varying_steps.residual,
        closed_form=_closed_product,
        twin=optimisers.varying_residual_filter,
        call=_call_varying,
        definition=linear_methods.varying_residual_filter,
        tolerance=Tolerance(kind="dtype", multiple=2, scale=_product_scale, scale_text="(1 + k) Π (|1 − ηλ| + ηλ)"),
        domain=Domain(description="λ ≥ 0, 0 < η_j ≤ 2/λ", draw=method_cases.varying, cases=8),
        evidence=_EXACT,
        source="The recursion r ← (I − η_j H) r",
    ),
    Entry(
        name="varying_integral_filter",
        title="Integral filter of varying steps",
        statement="Σ_j η_j Π_{i<j} (1 − η_i λ) = (1 − Π_j (1 − η_j λ))/λ, Σ_j η_j at λ = 0.",
        derivation=varying_steps.integral,
        closed_form=_closed_sum,
        twin=optimisers.varying_integral_filter,
        call=_call_varying,
        definition=linear_methods.varying_integral_filter,
        tolerance=Tolerance(kind="dtype", multiple=2, scale=_sum_scale, scale_text="(1 + k) Σ η_j"),
        domain=Domain(description="λ ≥ 0, 0 < η_j ≤ 2/λ", draw=method_cases.varying, cases=8),
        evidence=_EXACT,
        source="The sum of the steps' residuals",
    ),
    Entry(
        name="stable_momentum_step",
        title="Stable step sizes with momentum and decay",
        statement="Heavy ball on H with decay β is bounded iff η ≤ 2(1 + μ)/(λ_max + β).",
        derivation=heavy_ball.stability,
        closed_form=_closed_stable,
        twin=stability.largest_stable_step,
        call=_call_stable,
        definition=linear_methods.stable_momentum_step,
        tolerance=Tolerance(kind="exact", multiple=0),
        domain=Domain(description="η > 0, β ≥ 0, 0 ≤ μ < 1, here not within 1e-7 of the bound", draw=method_cases.stable, cases=8),
        evidence=_EXACT,
        source="Polyak 1964: both roots within the unit circle",
    ),
    Entry(
        name="minibatch",
        title="Minibatches in a known order",
        statement="γ_B ← γ_B + η r_B, r ← r − η H_{·B} r_B over the batches B in order, r = y at first: coefficients, residual y − Hγ and "
        "displacement √(γᵀHγ).",
        derivation=minibatch_chain.chain,
        closed_form=_closed_minibatch,
        twin=minibatch.descend,
        call=_call_minibatch,
        definition=linear_methods.minibatch,
        tolerance=Tolerance(
            kind="dtype", multiple=2, scale=_minibatch_scale, scale_text="‖y‖ ‖F‖/√λ⁺_min (1 + k), times η and ‖F‖ where they enter"
        ),
        domain=Domain(description="any batches, 0 < η < 2/λ_max", draw=method_cases.minibatches, cases=8),
        evidence=_EXACT,
        source="The gradient of a batch lies in the span of its features",
    ),
)
"""In the order they are shown and checked."""
