"""Entries of the quantities over source steps: the curve, its first step, its turns, its least value, and source noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import mpmath as mp
import numpy as np

from theory.definitions import cases
from theory.definitions import pretraining as literal
from theory.definitions.linear_model import matrix
from theory.entries import modes, scales
from theory.formula import Case, Chain, Domain, Entry, Evidence, Expression, Tolerance, Values
from theory.numeric import turning
from theory.numeric.spectrum import GramSpectrum, integral_filter
from theory.symbolic import filters, pretraining
from theory.symbolic import notation as s
from theory.symbolic.algebra import evaluate

_EXACT = Evidence(kind="exact", detail="gradient descent on the weights of a linear model in both stages, run literally at every k")
_BOTH = "H_P, H_Q and their cross blocks from shared features, regular or singular; u(0) ≠ 0; 0 < η < 2/λ_max; any k_Q, or to the end"
_FORM = "F(k) = ‖ρ − Σᵢ (1 − (1 − ηλᵢ)^k) gᵢ‖², gᵢ = T vᵢ vᵢᵀy_P/λᵢ, λᵢ, vᵢ of H_P"


# Twins --------------------------------------------------------------------------------------------------------------------------


def _starts_and_transfers(case: Case) -> list[tuple[np.ndarray, np.ndarray]]:
    """`ρ` and `T` of each quantity, the metric taken in, in float64."""
    F_P, F_Q, F_x = (np.array(case[f"{name}_features"]) for name in ("source", "target", "test"))
    start = np.array(case["start"])
    y_Q, y_T = np.array(case["target_labels"]) - F_Q @ start, np.array(case["test_labels"]) - F_x @ start
    Q = GramSpectrum.of(F_Q @ F_Q.T)
    phi = integral_filter(Q.values, case["target_lr"], case["target_steps"])
    move = (phi * np.sqrt(Q.values))[:, None] * Q.vectors.T
    tune = F_x @ F_Q.T @ Q.apply(phi, np.eye(Q.size))
    H_QP = F_Q @ F_P.T
    return [(y_Q, H_QP), (move @ y_Q, move @ H_QP), (y_T - tune @ y_Q, F_x @ F_P.T - tune @ H_QP)]


def _source(case: Case) -> tuple[GramSpectrum, np.ndarray]:
    F = np.array(case["source_features"])
    return GramSpectrum.of(F @ F.T), np.array(case["source_labels"]) - F @ np.array(case["start"])


def curves(case: Case, build: Callable[..., Any] = turning.PretrainingCurve.of) -> list[Any]:
    """The twin's curves of the three quantities."""
    spectrum, y = _source(case)
    # One column as a vector, so that both forms are used.
    y = y[:, 0] if y.shape[1] == 1 else y
    return [build(spectrum, case["source_lr"], y, rho.reshape(-1, *y.shape[1:]), T) for rho, T in _starts_and_transfers(case)]


def chosen(case: Case) -> Any:
    """The curve of the case's quantity."""
    return curves(case)[literal.QUANTITIES.index(case["quantity"])]


def _call_curve(twin: Callable[..., Any], case: Case) -> Values:
    return [curve(case["source_steps"]) for curve in curves(case, twin)]


def _call_slope(twin: Callable[..., Any], case: Case) -> Values:
    return [twin(curve) for curve in curves(case)]


def _call_turns(twin: Callable[..., Any], case: Case) -> Values:
    return list(twin(chosen(case), case["last"]))


def _call_best(twin: Callable[..., Any], case: Case) -> Values:
    return [twin(chosen(case), case["last"])]


def _call_noise(twin: Callable[..., Any], case: Case) -> Values:
    spectrum, _ = _source(case)
    return [twin(spectrum, T, case["variance"], case["source_lr"], case["source_steps"]) for _, T in _starts_and_transfers(case)]


# Closed forms -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Parts:
    """One quantity: weights of its components, `ρ`, and for each mode of `H_P` with `λ > 0` that `λ`, `T v` and `vᵀy_P`."""

    weights: list[Any]
    rho: Any
    modes: list[tuple[Any, Any, Any]]

    def components(self) -> Iterator[tuple[Any, Any, list[dict[Expression, Any]]]]:
        """Weight, `ρ`, and each mode's `λ`, `b` and `c`, of every component and label column."""
        for i, weight in enumerate(self.weights):
            for column in range(self.rho.cols):
                yield (
                    weight,
                    self.rho[i, column],
                    [{s.lam: value, pretraining.b: b[i], s.c: c[column]} for value, b, c in self.modes],
                )


def quantity_parts(chain: Chain, case: Case) -> list[Parts]:
    """The three quantities, in the order of `literal.QUANTITIES`."""
    F_P, F_Q, F_x = (matrix(case[f"{name}_features"]) for name in ("source", "target", "test"))
    l_P, l_Q, l_T = (
        matrix(case[f"{name}_labels"]) - matrix(case[f"{name}_features"]) * matrix(case["start"]) for name in ("source", "target", "test")
    )
    lr, steps = case["target_lr"], case["target_steps"]
    blocks = {
        s.h_P: F_x * F_P.T,
        s.h_Q: F_x * F_Q.T,
        s.H_QP: F_Q * F_P.T,
        s.phi_Q: modes.filter_matrix(filters.integral(), F_Q, lr, steps),
        s.l_Q: l_Q,
        pretraining.l_T: l_T,
    }
    values_Q, V_Q = modes.decomposed(F_Q)
    name = "metric end" if steps is None else "metric"
    metric = [modes.at(chain, name, value, lr, steps or 0) for value in values_Q]
    values, V = modes.decomposed(F_P)

    def made(weights: list[Any], rho: Any, T: Any) -> Parts:
        b, c = T * V, V.T * l_P
        return Parts(weights=weights, rho=rho, modes=[(v, b[:, i], c[i, :]) for i, v in enumerate(values) if v])

    test_start, test_transfer = (evaluate(chain.results[key], blocks) for key in ("start", "transfer"))
    return [
        made([mp.mpf(1)] * F_Q.rows, l_Q, blocks[s.H_QP]),
        made(metric, V_Q.T * l_Q, V_Q.T * blocks[s.H_QP]),
        made([mp.mpf(1)] * F_x.rows, test_start, test_transfer),
    ]


def summed(chain: Chain, parts: Parts, case: Case, steps: int | None, name: str) -> Any:
    """The result `name`, `value` or `change` of a component, summed over components."""
    given = {s.eta: mp.mpf(case["source_lr"]), s.k: steps}
    total = mp.mpf(0)
    for weight, rho, each in parts.components():
        symbols = {pretraining.end: rho - mp.fsum(evaluate(chain.results["carried"], mode) for mode in each), pretraining.tail: mp.mpf(0)}
        if steps is not None:
            symbols[pretraining.tail] = mp.fsum(evaluate(chain.results["left"], mode | given) for mode in each)
        if name == "change":
            symbols[pretraining.gone] = mp.fsum(evaluate(chain.results["gone"], mode | given) for mode in each)
        total += weight * evaluate(chain.results[name], symbols)
    return total


def closed_curve(chain: Chain, case: Case) -> Values:
    """The three quantities after the case's source steps."""
    return [summed(chain, parts, case, case["source_steps"], "value") for parts in quantity_parts(chain, case)]


def _closed_slope(chain: Chain, case: Case) -> Values:
    return [summed(chain, parts, case, 0, "change") for parts in quantity_parts(chain, case)]


def chosen_parts(chain: Chain, case: Case) -> Parts:
    """Those of the case's quantity."""
    return quantity_parts(chain, case)[literal.QUANTITIES.index(case["quantity"])]


def _closed_turns(chain: Chain, case: Case) -> Values:
    parts, last = chosen_parts(chain, case), case["last"]
    changes = [summed(chain, parts, case, k, "change") for k in range(last + 1)]
    if case["source_lr"] * max(value for value, _, _ in parts.modes) > 1:
        # Over two steps: the sum of two changes. Before step 1 there is only one step.
        return [
            k
            for k in range(1, last)
            if changes[k - 1] < 0 <= changes[k] and (k == 1 or changes[k - 2] + changes[k - 1] < 0) and changes[k] + changes[k + 1] >= 0
        ]
    return [k for k in range(1, last) if changes[k - 1] < 0 <= changes[k]]


def _closed_best(chain: Chain, case: Case) -> Values:
    parts = chosen_parts(chain, case)
    values = [summed(chain, parts, case, k, "value") for k in range(case["last"] + 1)]
    return [None if summed(chain, parts, case, None, "value") < min(values) else values.index(min(values))]


def closed_noise(chain: Chain, case: Case) -> Values:
    """What noise adds to them, per label column."""
    name = "end" if case["source_steps"] is None else "mode"
    given = {s.eta: mp.mpf(case["source_lr"]), s.k: case["source_steps"], pretraining.variance: mp.mpf(case["variance"])}
    totals = []
    for parts in quantity_parts(chain, case):
        pairs = ((weight, {s.lam: value, pretraining.b: b[i]}) for i, weight in enumerate(parts.weights) for value, b, _ in parts.modes)
        totals.append(mp.fsum(weight * evaluate(chain.results[name], mode | given) for weight, mode in pairs))
    return totals


# Tolerances ---------------------------------------------------------------------------------------------------------------------


def roots(case: Case, labels: float, steps: int | None) -> list[tuple[float, float]]:
    """Sizes, condition included, of what each quantity is the square of: without pretraining, and what pretraining adds."""
    F_P, F_Q, F_x = (case[f"{name}_features"] for name in ("source", "target", "test"))
    start = scales.norm(case["start"])
    lr = case["source_lr"]
    weights = scales.norm(F_P) * scales.reach(F_P, lr, steps) * scales.condition(F_P, lr, steps) * labels
    y_Q = scales.norm(case["target_labels"]) + scales.norm(F_Q) * start
    y_T = scales.norm(case["test_labels"]) + scales.norm(F_x) * start
    # Per unit of what is left on Q: how far the weights move for it.
    moved = (
        scales.norm(F_Q)
        * scales.reach(F_Q, case["target_lr"], case["target_steps"])
        * scales.condition(F_Q, case["target_lr"], case["target_steps"])
    )
    return [
        (y_Q, scales.norm(F_Q) * weights),
        (moved * y_Q, moved * scales.norm(F_Q) * weights),
        (y_T + scales.norm(F_x) * moved * y_Q, scales.norm(F_x) * (1 + moved * scales.norm(F_Q)) * weights),
    ]


def source_labels(case: Case) -> float:
    """Size of the source labels less initial outputs."""
    return scales.norm(case["source_labels"]) + scales.norm(case["source_features"]) * scales.norm(case["start"])


def _curve_scale(case: Case) -> list[float]:
    return [(rho + moved) ** 2 for rho, moved in roots(case, source_labels(case), case["source_steps"])]


def _slope_scale(case: Case) -> list[float]:
    return [moved * (2 * rho + moved) for rho, moved in roots(case, source_labels(case), 1)]


def _noise_scale(case: Case) -> list[float]:
    labels = math.sqrt(case["variance"] * len(case["source_features"]))
    return [moved**2 for _, moved in roots(case, labels, case["source_steps"])]


ENTRIES = (
    Entry(
        name="pretraining_curve",
        title="A quantity over source steps",
        statement=f"{_FORM}: gradient energy for ρ = y_Q, T = H_QP; squared displacement for these times √H_Q φ(H_Q); squared test error "
        "for ρ = y_T − H_TQ φ(H_Q) y_Q, T = H_TP − H_TQ φ(H_Q) H_QP.",
        derivation=pretraining.curve,
        closed_form=closed_curve,
        twin=turning.PretrainingCurve.of,
        call=_call_curve,
        definition=literal.curve,
        tolerance=Tolerance(
            kind="dtype", multiple=16, scale=_curve_scale, scale_text="(‖ρ‖ + ‖T‖ ‖α‖)², condition of both stages included"
        ),
        domain=Domain(description=f"{_BOTH}; k = 0, 1, 2, … or to the end", draw=cases.pretraining, cases=8),
        evidence=_EXACT,
        source="The transformed labels at k steps, in each quantity's square",
    ),
    Entry(
        name="pretraining_initial_slope",
        title="What the first source step changes",
        statement=f"F(1) − F(0) = −s·(2ρ − s), s = η T y_P, for {_FORM}; for small η this is −2η ρᵀT y_P.",
        derivation=pretraining.step,
        closed_form=_closed_slope,
        twin=turning.PretrainingCurve.initial_slope,
        call=_call_slope,
        definition=literal.initial_slope,
        tolerance=Tolerance(
            kind="dtype", multiple=16, scale=_slope_scale, scale_text="‖s‖ (2‖ρ‖ + ‖s‖), condition of both stages included"
        ),
        domain=Domain(description=f"{_BOTH}; η from 10⁻⁹/λ_max", draw=cases.barely_pretrained, cases=8),
        evidence=_EXACT,
        source="The difference of two squares",
    ),
    Entry(
        name="pretraining_turns",
        title="Turns over source steps",
        statement=f"All k in (0, last) with F(k) < F(k − 1) and F(k) ≤ F(k + 1), for {_FORM}; for η > 1/λ_max, where F zigzags, also "
        "among k ± 2. Sign changes of F(k + 1) − F(k) = −s·(2L(k) − s), s = Σᵢ ηλᵢ qᵢ^k gᵢ.",
        derivation=pretraining.step,
        closed_form=_closed_turns,
        twin=turning.PretrainingCurve.turns,
        call=_call_turns,
        definition=literal.turns,
        tolerance=Tolerance(kind="exact", multiple=0),
        domain=Domain(description=f"{_BOTH}; here a few target steps, with and without turns", draw=cases.turning, cases=8),
        evidence=_EXACT,
        source="A sum of exponentials can turn more than once",
    ),
    Entry(
        name="pretraining_best",
        title="Best number of source steps",
        statement=f"The least k up to last at which F is least, none when the limit is lower, for {_FORM}: a turn or an end.",
        derivation=pretraining.step,
        closed_form=_closed_best,
        twin=turning.PretrainingCurve.best,
        call=_call_best,
        definition=literal.best,
        tolerance=Tolerance(kind="exact", multiple=0),
        domain=Domain(description=f"{_BOTH}; here a few target steps, with and without turns", draw=cases.turning, cases=8),
        evidence=_EXACT,
        source="The least of the turns and the ends",
    ),
    Entry(
        name="source_noise_energy",
        title="Source noise in a quantity",
        statement="E F with noise σ² on source labels exceeds F without it by σ² Σᵢ (1 − qᵢ^k)² ‖T vᵢ‖²/λᵢ², qᵢ = 1 − ηλᵢ, for each "
        "label column.",
        derivation=pretraining.noise,
        closed_form=closed_noise,
        twin=turning.source_noise_energy,
        call=_call_noise,
        definition=literal.source_noise,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=_noise_scale, scale_text="σ² n_P (‖T‖ φ)², condition of both stages included"),
        domain=Domain(description=f"{_BOTH}; σ² ≥ 0; k = 0, 1, 2, … or to the end", draw=cases.barely_pretrained, cases=8),
        evidence=Evidence(kind="exact", detail="linearity: both stages run literally for noise at one source point at a time"),
        source="Labels enter the trained weights linearly",
    ),
)
"""In the order they are shown and checked."""
