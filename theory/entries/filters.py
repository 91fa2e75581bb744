"""Entries of the filters: functions of one eigenvalue, and how they act on labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np

from theory.definitions import cases, hidden, linear_model, scalar
from theory.entries import modes, scales
from theory.formula import Case, Chain, Domain, Entry, Evidence, Tolerance, Values
from theory.numeric import spectrum, stages
from theory.symbolic import eigenbasis, filters, flow, stability
from theory.symbolic.algebra import evaluate
from theory.symbolic.notation import c, eta, lam

_EXACT = Evidence(kind="exact", detail="the recursion, or the differential equation, run literally")
_MODES = Domain(description="λ ≥ 0, 0 < η < 2/λ, k = 0, 1, 2, … or to the end", draw=cases.modes, cases=8)
_FLOW = Domain(description="λ ≥ 0, t ≥ 0", draw=cases.flow_modes, cases=4)


def _call(twin: Callable[..., Any], case: Case) -> Values:
    return modes.flat(twin(np.array(case["values"]), case["lr"], case["steps"]))


def _call_flow(twin: Callable[..., Any], case: Case) -> Values:
    return modes.flat(twin(np.array(case["values"]), case["time"]))


def _closed(chain: Chain, case: Case) -> Values:
    return [modes.on_mode(chain, mp.mpf(value), case["lr"], case["steps"]) for value in case["values"]]


def _closed_flow(chain: Chain, case: Case) -> Values:
    return [modes.at(chain, "zero mode" if value == 0 else "mode", value, case["time"], 0) for value in case["values"]]


def _residual_scale(case: Case) -> list[float]:
    return [_left(case, value) for value in case["values"]]


def _left(case: Case, value: float) -> float:
    x, k = case["lr"] * value, case["steps"]
    if k is None:
        return 1.0
    return abs(1 - x) ** k + (k * x * abs(1 - x) ** (k - 1) if k else 0.0)


def _integral_scale(case: Case) -> list[float]:
    k, lr = case["steps"], case["lr"]
    scale = []
    for value in case["values"]:
        if k is None:
            scale.append(1 / value if value else 1.0)
        elif lr * value < 0.5:
            scale.append(lr * k)
        else:
            scale.append((1 + _left(case, value)) / value)
    return scale


def _flow_scale(case: Case) -> list[float]:
    return [math.exp(-case["time"] * v) * (1 + case["time"] * v) for v in case["values"]]


def _call_apply(twin: Callable[..., Any], case: Case) -> Values:
    return modes.flat(twin(modes.spectrum(case), np.array(case["filter"]), modes.columns(case["labels"])))


def _closed_apply(chain: Chain, case: Case) -> Values:
    Y = linear_model.matrix(case["labels"])
    _, vectors = modes.decomposed(linear_model.matrix(case["features"]))
    C = vectors.T * Y
    for i, g in enumerate(case["filter"]):
        for column in range(Y.cols):
            C[i, column] = evaluate(chain.results["mode"], {eigenbasis.gain: mp.mpf(g), c: C[i, column]})
    return list(vectors * C)


def _call_energy(twin: Callable[..., Any], case: Case) -> Values:
    return modes.flat(twin(modes.spectrum(case), modes.columns(case["labels"])))


def _closed_energy(chain: Chain, case: Case) -> Values:
    Y = linear_model.matrix(case["labels"])
    _, vectors = modes.decomposed(linear_model.matrix(case["features"]))
    C = vectors.T * Y
    return [mp.fsum(evaluate(chain.results["mode"], {c: C[i, column]}) for column in range(Y.cols)) for i in range(Y.rows)]


def _call_stable(twin: Callable[..., Any], case: Case) -> Values:
    return [twin(modes.spectrum(case), case["lr"], 1, "lr", True)]


def _closed_stable(chain: Chain, case: Case) -> Values:
    values, _ = modes.decomposed(linear_model.matrix(case["features"]))
    return [bool(evaluate(chain.results["margin"], {eta: mp.mpf(case["lr"]), lam: max(values)}) >= 0)]


ENTRIES = (
    Entry(
        name="residual_filter",
        title="Residual filter",
        statement="q_k(λ) = (1 − ηλ)^k: the share of an error along an eigenvector that k steps leave; to the end 0, and 1 where λ = 0.",
        derivation=filters.residual,
        closed_form=_closed,
        twin=spectrum.residual_filter,
        call=_call,
        definition=scalar.residual_filter,
        tolerance=Tolerance(kind="dtype", multiple=8, scale=_residual_scale, scale_text="(|1 − ηλ|^k + kηλ|1 − ηλ|^(k−1))"),
        domain=_MODES,
        evidence=_EXACT,
        source="The recursion r(k + 1) = (I − ηH) r(k)",
    ),
    Entry(
        name="integral_filter",
        title="Integral filter",
        statement="φ_k(λ) = η Σ_{j<k} (1 − ηλ)^j = (1 − (1 − ηλ)^k)/λ, φ_k(0) = ηk; to the end 1/λ, and 0 where λ = 0 (pseudo-inverse).",
        derivation=filters.integral,
        closed_form=_closed,
        twin=spectrum.integral_filter,
        call=_call,
        definition=scalar.integral_filter,
        tolerance=Tolerance(kind="dtype", multiple=8, scale=_integral_scale, scale_text="(ηk for ηλ < ½, else (1 + k-step condition)/λ)"),
        domain=_MODES,
        evidence=_EXACT,
        source="The sum of the geometric series",
    ),
    Entry(
        name="flow_residual_filter",
        title="Residual filter of gradient flow",
        statement="q(t, λ) = exp(−tλ), the limit of q_k for η → 0 at t = ηk.",
        derivation=flow.residual,
        closed_form=_closed_flow,
        twin=spectrum.flow_residual_filter,
        call=_call_flow,
        definition=scalar.flow_residual_filter,
        tolerance=Tolerance(kind="dtype", multiple=4, scale=_flow_scale, scale_text="exp(−tλ)(1 + tλ)"),
        domain=_FLOW,
        evidence=_EXACT,
        source="dr/dt = −H r",
    ),
    Entry(
        name="flow_integral_filter",
        title="Integral filter of gradient flow",
        statement="φ(t, λ) = ∫₀ᵗ exp(−sλ) ds = (1 − exp(−tλ))/λ, φ(t, 0) = t.",
        derivation=flow.integral,
        closed_form=_closed_flow,
        twin=spectrum.flow_integral_filter,
        call=_call_flow,
        definition=scalar.flow_integral_filter,
        tolerance=Tolerance(kind="exact", multiple=6),
        domain=_FLOW,
        evidence=_EXACT,
        source="The integral of dr/dt = −H r",
    ),
    Entry(
        name="spectral_filter",
        title="Functions of a Gram matrix",
        statement="f(H) y = V diag(f(λ)) Vᵀ y for H = V diag(λ) Vᵀ: every filter acts mode by mode.",
        derivation=eigenbasis.spectral_filter,
        closed_form=_closed_apply,
        twin=spectrum.GramSpectrum.apply,
        call=_call_apply,
        definition=hidden.spectral_filter,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=scales.eigenvectors, scale_text="‖y‖ max|g| λ_max/gap"),
        domain=Domain(description="H symmetric; here eigenvalues apart, so that each has one filter value", draw=cases.separated, cases=6),
        evidence=Evidence(kind="exact", detail="projectors as polynomials in H"),
        source="The spectral theorem; Sylvester's formula",
    ),
    Entry(
        name="mode_energy",
        title="Energy by mode",
        statement="(vᵢᵀ y)² for each eigenvector of H, summed over the columns of y; the energies add up to ‖y‖².",
        derivation=eigenbasis.mode_energy,
        closed_form=_closed_energy,
        twin=stages.mode_energy,
        call=_call_energy,
        definition=hidden.mode_energy,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=scales.energy, scale_text="‖y‖² λ_max/gap"),
        domain=Domain(description="H symmetric with eigenvalues apart", draw=cases.separated, cases=6),
        evidence=Evidence(kind="exact", detail="quadratic forms of projectors as polynomials in H"),
        source="Parseval's identity",
    ),
    Entry(
        name="stable_step",
        title="Stable step sizes",
        statement="Gradient descent on H does not diverge iff η ≤ 2/λ_max: a step removes c² ηλ(2 − ηλ) of a mode's energy.",
        derivation=stability.chain,
        closed_form=_closed_stable,
        twin=spectrum.GramSpectrum.check_step,
        call=_call_stable,
        definition=linear_model.stable_step,
        tolerance=Tolerance(kind="exact", multiple=0),
        domain=Domain(description="η > 0, here not within 1e-7 of the bound, where rounding decides", draw=cases.stability, cases=8),
        evidence=_EXACT,
        source="|1 − ηλ| ≤ 1",
    ),
)
"""In the order they are shown and checked."""
