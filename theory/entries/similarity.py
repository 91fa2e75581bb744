"""Entries of where pretraining helps on the target's spectrum, and of what the best relabelling of the source could reach."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import mpmath as mp

from theory.definitions import cases, start_cases
from theory.definitions import similarity as definition
from theory.definitions.linear_model import matrix
from theory.entries import modes, scales
from theory.formula import Case, Chain, Domain, Entry, Evidence, Tolerance, Values
from theory.numeric import similarity
from theory.symbolic import best_linear, suppression
from theory.symbolic.algebra import evaluate


def _call_modes(twin: Callable[..., Any], case: Case) -> Values:
    found = twin(modes.spectrum(case), modes.columns(case["labels"]), modes.columns(case["remaining"]))
    return [mode.factor for mode in found]


def _closed_modes(chain: Chain, case: Case) -> Values:
    values, vectors = modes.decomposed(matrix(case["features"]))
    energies = []
    for name in ("remaining", "labels"):
        C = vectors.T * matrix(case[name])
        energies.append([mp.fsum(C[i, k] ** 2 for k in range(C.cols)) for i in range(C.rows)])
    factors, start = [], 0
    for end in range(1, len(values) + 1):
        if end == len(values) or values[end] - values[start] > mp.mpf(10) ** (-mp.mp.dps // 2) * values[-1]:
            given = [mp.fsum(e[start:end]) for e in energies]
            factors.append(evaluate(chain.results["factor"], {suppression.pretrained: given[0], suppression.scratch: given[1]}))
            start = end
    return factors


def _modes_scale(case: Case) -> float:
    # A rotation of the eigenvectors by δ moves energies by ‖y‖²δ; the factor divides by the least of them.
    size = max(scales.norm(case["labels"]), scales.norm(case["remaining"])) ** 2
    least = min(float(mp.fsum(v * v for v in P)) for P in definition.projected(case, "labels"))
    values = sorted(set(cases.eigenvalues(case["features"])))
    gaps = [b - a for a, b in pairwise(values) if b - a > 1e-9 * values[-1]]
    return size / least * (1 + size / least) * (1 + values[-1] / min(gaps))


def _call_linear(twin: Callable[..., Any], case: Case) -> Values:
    return [twin(modes.spectrum(case), modes.columns(case["labels"]), modes.columns(case["transformed"]))]


def _products(case: Case) -> tuple[Any, Any, Any]:
    """`A`, `B` and `C` of the normal equations in the `H⁻¹` inner product."""
    F, Y, T = (matrix(case[name]) for name in ("features", "labels", "transformed"))
    inverse = mp.inverse(F * F.T)
    return Y.T * inverse * Y, T.T * inverse * Y, T.T * inverse * T


def _closed_linear(chain: Chain, case: Case) -> Values:
    A, B, C = _products(case)
    explained = B.T * mp.inverse(C) * B
    squared = mp.fsum(explained[i, i] for i in range(A.rows)) / mp.fsum(A[i, i] for i in range(A.rows))
    return [evaluate(chain.results["gain"], {best_linear.squared: squared})]


def _linear_scale(case: Case) -> float:
    # d√(1 − R²) = dR²/(2√(1 − R²)); least squares carries the condition of the columns, twice.
    A, B, C = _products(case)
    explained = B.T * mp.inverse(C) * B
    left = 1 - float(mp.fsum(explained[i, i] for i in range(A.rows)) / mp.fsum(A[i, i] for i in range(A.rows)))
    columns = sorted(float(v) for v in mp.eigsy(C, eigvals_only=True))
    return scales.spread(case) * columns[-1] / columns[0] / left**0.5


ENTRIES = (
    Entry(
        name="mode_suppression",
        title="Suppression of the gradient by mode",
        statement="Pretraining multiplies the gradient energy in an eigenspace of H_Q by Σ (vᵢᵀỹ)²/Σ (vᵢᵀy_Q)², over its eigenvectors; "
        "the loss and ‖∂L/∂W‖² of the mode by the same, at every step of fine-tuning.",
        derivation=suppression.chain,
        closed_form=_closed_modes,
        twin=similarity.mode_suppression,
        call=_call_modes,
        definition=definition.mode_suppression,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=_modes_scale, scale_text="(‖y‖²/min energy)² λ_max/gap"),
        domain=Domain(
            description="H_Q with distinct or repeated eigenvalues; undefined where y_Q has no part in the eigenspace",
            draw=start_cases.suppressed,
            cases=8,
        ),
        evidence=Evidence(kind="exact", detail="gradients of a linear model, projected by polynomials in H"),
        source="arXiv 1909.12031, suppression of the principal component; the residual mode by mode",
    ),
    Entry(
        name="best_linear_gain",
        title="Gain at the best linear map of the source labels",
        statement="max_M G(y_P M) = 1 − √(1 − R²), R² = tr BᵀC⁻¹B / tr A the squared multiple correlation of y_Q with the transformed "
        "label columns T in the H_Q⁻¹ inner product: A = ⟨y_Q, y_Q⟩, B = ⟨T, y_Q⟩, C = ⟨T, T⟩.",
        derivation=best_linear.chain,
        closed_form=_closed_linear,
        twin=similarity.best_linear_gain,
        call=_call_linear,
        definition=definition.best_linear_gain,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=_linear_scale, scale_text="κ(H) κ(C)/√(1 − R²)"),
        domain=Domain(description="H_Q regular; any numbers of source and target labels", draw=start_cases.relabelled, cases=8),
        evidence=Evidence(kind="exact", detail="weights and map of the labels found together, by Lagrange's conditions"),
        source="Least squares in the map",
    ),
)
"""In the order they are shown and checked."""
