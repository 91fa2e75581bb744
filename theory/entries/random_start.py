"""Entries of the start's part in theorem 1: what random initial outputs leave on the target, and moments of the energies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np

from theory.definitions import cases, random_start, start_cases
from theory.definitions.linear_model import matrix
from theory.entries import modes, scales
from theory.entries.initialisation import pair
from theory.formula import Case, Chain, Domain, Entry, Evidence, Tolerance, Values
from theory.numeric import initialisation, stages
from theory.numeric.spectrum import GramSpectrum, integral_filter
from theory.symbolic import filters, output_kernel
from theory.symbolic import random_start as start_chain
from theory.symbolic.algebra import evaluate
from theory.symbolic.notation import kappa, m, theta


def _blocks(case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    X_P, X_Q = np.array(case["source_inputs"]), np.array(case["target_inputs"])
    return tuple(initialisation.output_kernel(*pair) for pair in ((X_P,), (X_Q, X_P), (X_Q,)))


def _exact_blocks(case: Case) -> dict[Any, Any]:
    """The same at the working precision."""
    n = len(case["source_inputs"])
    rows = [*case["source_inputs"], *case["target_inputs"]]
    result = output_kernel.chain().results["closed form"]
    S = mp.matrix(len(rows), len(rows))
    for i, x in enumerate(rows):
        for j, z in enumerate(rows):
            _, x_norm, z_norm, angle = pair(x, z)
            S[i, j] = evaluate(result, {output_kernel.x_norm: x_norm, output_kernel.z_norm: z_norm, theta: angle, kappa: mp.mpf(1)})
    P, Q = slice(0, n), slice(n, len(rows))
    return {start_chain.S_PP: S[P, P], start_chain.S_QP: S[Q, P], start_chain.S_PQ: S[P, Q], start_chain.S_QQ: S[Q, Q]}


def _exact_covariance(case: Case, transfer: Any) -> Any:
    given = {**_exact_blocks(case), start_chain.A: transfer, start_chain.At: transfer.T}
    return evaluate(start_chain.start_covariance().results["covariance"], given)


def _call_covariance(twin: Callable[..., Any], case: Case) -> Values:
    return modes.flat(twin(*_blocks(case), np.array(case["transfer"])))


def _closed_covariance(chain: Chain, case: Case) -> Values:
    transfer = matrix(case["transfer"])
    given = {**_exact_blocks(case), start_chain.A: transfer, start_chain.At: transfer.T}
    return modes.result(chain, "covariance", given)


def _sizes(case: Case, transfer: Any) -> float:
    """`(‖σ_Q‖ + ‖A‖‖σ_P‖)²`, the terms of which `S` is made."""
    return (scales.norm(case["target_inputs"]) + scales.norm(transfer) * scales.norm(case["source_inputs"])) ** 2


def _covariance_scale(case: Case) -> float:
    return _sizes(case, case["transfer"])


def _call_finite(twin: Callable[..., Any], case: Case) -> Values:
    covariance = initialisation.start_covariance(*_blocks(case), np.array(case["transfer"]))
    fourth = float(random_start.fourth_moment(case))
    remaining = np.array(case["remaining"])[:, 0]
    moments = twin(remaining, covariance, init_scale=case["kappa"], width=case["width"], fourth_moment=fourth)
    return [moments.mean, moments.variance]


def _closed_finite(chain: Chain, case: Case) -> Values:
    S, y = _exact_covariance(case, matrix(case["transfer"])), matrix(case["remaining"])
    square_scale = mp.mpf(case["kappa"]) ** 2
    trace = square_scale * mp.fsum(S[i, i] for i in range(S.rows))
    given = {
        start_chain.linear: 4 * square_scale * (y.T * S * y)[0],
        start_chain.trace: trace,
        start_chain.square: square_scale**2 * mp.fsum(v * v for v in S),
        start_chain.fourth: square_scale**2 * random_start.fourth_moment(case),
        m: mp.mpf(case["width"]),
    }
    return [mp.fsum(v * v for v in y) + trace, evaluate(chain.results["variance"], given)]


def _finite_scale(case: Case) -> list[float]:
    size = scales.norm(case["remaining"]) ** 2 + case["kappa"] ** 2 * _sizes(case, case["transfer"])
    return [size, size**2]


def _call_start(twin: Callable[..., Any], case: Case) -> Values:
    F_P, F_Q = np.array(case["source_features"]), np.array(case["target_features"])
    P, Q = GramSpectrum.of(F_P @ F_P.T), GramSpectrum.of(F_Q @ F_Q.T)
    cross = F_Q @ F_P.T
    transfer = cross @ stages.coefficients(P, np.eye(P.size), case["source_lr"], case["source_steps"])
    remaining = np.array(case["target_labels"])[:, 0] - transfer @ np.array(case["source_labels"])[:, 0]
    covariance = initialisation.start_covariance(*_blocks(case), transfer)
    phi = integral_filter(Q.values, case["target_lr"], case["target_steps"])
    values: Values = []
    for weight in (None, F_Q @ F_Q.T, Q.apply(phi * phi * Q.values, np.eye(Q.size))):
        moments = twin(remaining, covariance, init_scale=case["kappa"], weight=weight)
        values += [moments.mean, moments.variance]
    return values


def _closed_start(chain: Chain, case: Case) -> Values:
    F_P, F_Q = matrix(case["source_features"]), matrix(case["target_features"])
    phi = {}
    for name, F in (("source", F_P), ("target", F_Q)):
        phi[name] = modes.filter_matrix(filters.integral(), F, case[f"{name}_lr"], case[f"{name}_steps"])
    transfer = F_Q * F_P.T * phi["source"]
    y = matrix(case["target_labels"]) - transfer * matrix(case["source_labels"])
    L, H_Q = mp.cholesky(_exact_covariance(case, transfer)), F_Q * F_Q.T
    values: Values = []
    for M in (mp.eye(F_Q.rows), H_Q, phi["target"] * H_Q * phi["target"]):
        mu, basis = mp.eigsy(L.T * M * L)
        b = basis.T * (L.T * (M * y))
        given = [{start_chain.mu: value, start_chain.b: b[i], kappa: mp.mpf(case["kappa"])} for i, value in enumerate(mu)]
        totals = {name: mp.fsum(evaluate(chain.results[name], g) for g in given) for name in ("mean", "variance")}
        values += [(y.T * M * y)[0] + totals["mean"], totals["variance"]]
    return values


def _start_scale(case: Case) -> list[float]:
    F_P, F_Q = case["source_features"], case["target_features"]
    reach = scales.reach(F_P, case["source_lr"], case["source_steps"])
    condition = scales.condition(F_P, case["source_lr"], case["source_steps"])
    transfer = scales.norm(F_Q) * scales.norm(F_P) * reach * condition
    inputs = scales.norm(case["target_inputs"]) + transfer * scales.norm(case["source_inputs"])
    left = scales.norm(case["target_labels"]) + transfer * scales.norm(case["source_labels"])
    size = (left + case["kappa"] * inputs) ** 2
    largest = cases.eigenvalues(F_Q)[-1]
    moved = scales.reach(F_Q, case["target_lr"], case["target_steps"]) * scales.condition(F_Q, case["target_lr"], case["target_steps"])
    found: list[float] = []
    for factor in (1.0, largest, moved**2 * largest):
        found += [size * factor, (size * factor) ** 2]
    return found


ENTRIES = (
    Entry(
        name="start_covariance",
        title="What a random start leaves on the target",
        statement="r̃ = ỹ − (u_Q − A u_P), A = H_QP φ_k(H_P); cov(u_Q − A u_P) = κ²S, S = Σ_QQ − A Σ_PQ − Σ_QP Aᵀ + A Σ_PP Aᵀ, at "
        "any width.",
        derivation=start_chain.start_covariance,
        closed_form=_closed_covariance,
        twin=initialisation.start_covariance,
        call=_call_covariance,
        definition=random_start.start_covariance,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=_covariance_scale, scale_text="(‖X_Q‖ + ‖A‖‖X_P‖)²"),
        domain=Domain(description="any inputs and any A; random signs, independent neurons", draw=start_cases.transferred, cases=3),
        evidence=Evidence(kind="exact", detail="one neuron's second moments, integrated over its direction"),
        source="arXiv 1909.12031, theorem 1, its term in κ made explicit",
    ),
    Entry(
        name="start_moments",
        title="Gradient energy, gradient and displacement after a random start",
        statement="E r̃ᵀMr̃ = ỹᵀMỹ + κ² tr MS, Var = 4κ² ỹᵀMSMỹ + 2κ⁴ tr (MS)², m → ∞; M = I for ‖∂L/∂X¹‖², H_Q for ‖∂L/∂W‖², "
        "φ_k H_Q φ_k for ‖W(k) − W(P)‖².",
        derivation=start_chain.gaussian_moments,
        closed_form=_closed_start,
        twin=initialisation.start_moments,
        call=_call_start,
        definition=random_start.outcomes,
        tolerance=Tolerance(
            kind="dtype",
            multiple=16,
            scale=_start_scale,
            scale_text="(‖y_Q‖ + ‖A‖‖y_P‖ + κ(‖X_Q‖ + ‖A‖‖X_P‖))² ‖M‖, squared for a variance, conditions included",
        ),
        domain=Domain(
            description="Gaussian u(0) of covariance κ²Σ; stable η; any k_P, k_Q, or to the end", draw=start_cases.random_start, cases=6
        ),
        evidence=Evidence(kind="monte-carlo", detail="nets with random starts: means by their z, the standard deviation by its z"),
        source="arXiv 1909.12031, theorem 1, its term in κ made explicit",
    ),
    Entry(
        name="start_moments_at_width",
        title="Gradient energy after a random start, at width m",
        statement="E‖r̃‖² = ‖ỹ‖² + κ² tr S exactly; Var = 4κ² ỹᵀSỹ + 2κ⁴ tr S² + (κ⁴/m)(q − (tr S)² − 2 tr S²), q = E‖z‖⁴ of one neuron's "
        "z = σ(wᵀX_Q) − Aσ(wᵀX_P): all but the last term is exact at any width, A that of the infinite width.",
        derivation=start_chain.finite_width,
        closed_form=_closed_finite,
        twin=initialisation.start_moments,
        call=_call_finite,
        definition=random_start.finite_width,
        tolerance=Tolerance(
            kind="dtype", multiple=16, scale=_finite_scale, scale_text="‖ỹ‖² + κ²(‖X_Q‖ + ‖A‖‖X_P‖)², squared for the variance"
        ),
        domain=Domain(description="any m ≥ 1, random signs, independent neurons, one output", draw=start_cases.finite, cases=3),
        evidence=Evidence(kind="monte-carlo", detail="narrow nets with random starts: the standard deviation by its z"),
        source="Fourth moments of a sum of independent terms",
    ),
)
"""In the order they are shown and checked."""
