"""Entries of what decides whether pretraining turns: root count, late trend, source noise, each mode's part, each source point's part."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import mpmath as mp
import numpy as np

from theory.definitions import cases
from theory.definitions import stage_theory as literal
from theory.definitions.linear_model import matrix
from theory.definitions.pretraining import QUANTITIES
from theory.entries import modes, pretraining, scales
from theory.formula import Case, Chain, Domain, Entry, Evidence, Expression, Tolerance, Values
from theory.numeric import source_size, turning
from theory.symbolic import notation as s
from theory.symbolic import stage_theory as symbolic
from theory.symbolic.algebra import evaluate
from theory.symbolic.pretraining import curve as symbolic_curve
from theory.symbolic.pretraining import end, g_1, g_2, q_1, q_2, rho

_EXACT = Evidence(kind="exact", detail="gradient descent on the weights of a linear model in both stages, run literally at every k")
_SMOOTH = "H_P regular, cross blocks from shared features; u(0) ≠ 0; 0 < η ≤ 1/λ_max; any k_Q ≥ 1"
_FORM = "F(k) = ‖ρ_∞ + Σᵢ qᵢ^k gᵢ‖², qᵢ = 1 − ηλᵢ, gᵢ = T vᵢ vᵢᵀy_P/λᵢ, ρ_∞ = ρ − Σ gᵢ"
_SOURCE = "arXiv 1909.12031 finds that transferability rises and then falls; this is what the kernel regime says of it"


# Twins --------------------------------------------------------------------------------------------------------------------------


def _call_bound(twin: Callable[..., Any], case: Case) -> Values:
    bound = twin(pretraining.chosen(case))
    return [bound.sign_changes, bound.turns]


def _call_one(twin: Callable[..., Any], case: Case) -> Values:
    return [twin(pretraining.chosen(case))]


def _call_mean(twin: Callable[..., Any], case: Case) -> Values:
    return [twin(curve, case["variance"])(case["source_steps"]) for curve in pretraining.curves(case)]


def _call_window(twin: Callable[..., Any], case: Case) -> Values:
    return list(twin(pretraining.chosen(case), case["last"]))


def _call_contributions(twin: Callable[..., Any], case: Case) -> Values:
    parts = twin(pretraining.chosen(case), case["source_steps"])
    return [value for each in (parts.shares, parts.changes, parts.slopes, parts.best_alone) for value in modes.flat(each)]


def _call_points(twin: Callable[..., Any], case: Case) -> Values:
    F_P, F_Q = (np.array(case[f"{name}_features"]) for name in ("source", "target"))
    blocks = F_P @ F_P.T, F_Q @ F_P.T
    return [*modes.flat(twin(*blocks, F_Q @ F_Q.T)), *modes.flat(twin(*blocks))]


# Closed forms -------------------------------------------------------------------------------------------------------------------


def _ends(case: Case) -> list[tuple[Any, Any, list[Any], list[Any]]]:
    """Weight, `ρ`, and each mode's `g` and `q`, of every component of the case's quantity."""
    found = []
    curve = symbolic_curve()
    for weight, start, each in pretraining.chosen_parts(curve, case).components():
        carried = [evaluate(curve.results["carried"], mode) for mode in each]
        found.append((weight, start, carried, [1 - mp.mpf(case["source_lr"]) * mode[s.lam] for mode in each]))
    return found


def _terms(chain: Chain, case: Case) -> list[tuple[Any, Any]]:
    """Bases and coefficients of `F(k + 1) − F(k)`, slowest first."""
    components = _ends(case)
    q = components[0][3]

    def coefficient(name: str, i: int, j: int) -> Any:
        def given(start: Any, g: list[Any]) -> dict[Expression, Any]:
            return {end: start - mp.fsum(g), g_1: g[i], q_1: q[i], g_2: g[j], q_2: q[j]}

        return mp.fsum(weight * evaluate(chain.results[name], given(start, g)) for weight, start, g, _ in components)

    found = []
    for i in range(len(q)):
        found += [(q[i], coefficient("single", i, i)), (q[i] ** 2, coefficient("square", i, i))]
        found += [(q[i] * q[j], coefficient("pair", i, j)) for j in range(i)]
    return sorted(found, key=lambda term: -term[0])


def _closed_bound(chain: Chain, case: Case) -> Values:
    sums, total = [], mp.mpf(0)
    for _, coefficient in _terms(chain, case):
        total += coefficient
        sums.append(total)
    changes = sum(a * b < 0 for a, b in pairwise(sums))
    return [changes, (changes + 1) // 2 if total < 0 else changes // 2]


def _closed_trend(chain: Chain, case: Case) -> Values:
    return [int(mp.sign(_terms(chain, case)[0][1]))]


def _closed_certain(chain: Chain, case: Case) -> Values:
    first = pretraining.summed(chain, pretraining.chosen_parts(chain, case), case, 0, "change")
    return [bool(first < 0 and _closed_trend(chain, case)[0] > 0)]


def _closed_mean(chain: Chain, case: Case) -> Values:
    columns = len(case["source_labels"][0])
    curve, noise = pretraining.closed_curve(chain, case), pretraining.closed_noise(chain, case)
    return [value + columns * share for value, share in zip(curve, noise, strict=True)]


def _closed_window(chain: Chain, case: Case) -> Values:
    chosen, columns, unit = QUANTITIES.index(case["quantity"]), len(case["source_labels"][0]), {**case, "variance": 1}
    run: dict[int | None, tuple[Any, Any]] = {}
    for k in (*range(case["last"] + 1), None):
        at = {**unit, "source_steps": k}
        run[k] = pretraining.closed_curve(chain, at)[chosen], columns * pretraining.closed_noise(chain, at)[chosen]

    def fraction(name: str, k: int | None) -> Any:
        (F, N), (F_end, N_end) = run[k], run[None]
        given = {symbolic.f_0: run[0][0], symbolic.f_k: F, symbolic.f_end: F_end, symbolic.n_k: N, symbolic.n_left: N_end - N}
        return evaluate(chain.results[name], given)

    steps = range(1, case["last"] + 1)
    return [
        max(min(fraction("low", k) for k in steps), mp.mpf(0)),
        max(max(fraction("high", k) for k in (*steps, None)), mp.mpf(0)),
    ]


def _closed_contributions(chain: Chain, case: Case) -> Values:
    components, steps = _ends(case), case["source_steps"]
    shares = [mp.mpf(1) if steps is None else 1 - q**steps for q in components[0][3]]

    def total(name: str, i: int) -> Any:
        return mp.fsum(
            weight
            * evaluate(
                chain.results[name],
                {
                    rho: start,
                    symbolic.left: start - mp.fsum(a * b for a, b in zip(shares, g, strict=True)),
                    g_1: g[i],
                    symbolic.s_1: shares[i],
                },
            )
            for weight, start, g, _ in components
        )

    count = range(len(shares))
    best = [min(max(-total("first", i) / total("curvature", i), mp.mpf(0)), mp.mpf(1)) for i in count]
    return [*shares, *(total("contribution", i) for i in count), *(total("slope", i) for i in count), *best]


def _metrics(F_Q: Any) -> list[Any]:
    """Square roots of `H_Q⁻¹` and of the identity, as what is applied to rows of the target."""
    values, vectors = modes.decomposed(F_Q)
    return [mp.diag([1 / mp.sqrt(v) for v in values]) * vectors.T, mp.eye(F_Q.rows)]


def _closed_explained(chain: Chain, case: Case) -> Values:
    F_P, F_Q = matrix(case["source_features"]), matrix(case["target_features"])
    found = []
    for root in _metrics(F_Q):
        total = mp.mpf(0)
        for j in range(F_P.rows):
            new, before = F_P[j, :], F_P[:j, :]
            # What the points before leave of the new one: its features less their part in the span.
            rest = new - (new * before.T) * mp.inverse(before * before.T) * before if j else new
            seen = root * F_Q * rest.T
            given = {symbolic.schur: (rest * rest.T)[0]}
            total += mp.fsum(evaluate(chain.results["more"], {**given, symbolic.fresh: value}) for value in seen)
            found.append(total)
    return found


def _closed_noise(chain: Chain, case: Case) -> Values:
    F_P, F_Q = matrix(case["source_features"]), matrix(case["target_features"])
    found = []
    for root in _metrics(F_Q):
        for j in range(1, F_P.rows + 1):
            first = F_P[:j, :]
            A = root * F_Q * first.T * mp.inverse(first * first.T)
            found.append(mp.fsum(evaluate(chain.results["noise"], {symbolic.variance: mp.mpf(1), symbolic.carried: value}) for value in A))
    return found


# Tolerances ---------------------------------------------------------------------------------------------------------------------


def _sizes(case: Case, steps: int | None) -> tuple[float, float]:
    """Sizes, condition included, of the case's quantity without pretraining and of what pretraining adds, before they are squared."""
    return pretraining.roots(case, pretraining.source_labels(case), steps)[QUANTITIES.index(case["quantity"])]


def _mean_scale(case: Case) -> list[float]:
    noise = math.sqrt(case["variance"] * len(case["source_features"]) * len(case["source_labels"][0]))
    with_noise = pretraining.roots(case, noise, case["source_steps"])
    without = pretraining.roots(case, pretraining.source_labels(case), case["source_steps"])
    return [(start + moved) ** 2 + extra**2 for (start, moved), (_, extra) in zip(without, with_noise, strict=True)]


def _window_scale(case: Case) -> list[float]:
    start, moved = _sizes(case, None)
    whole = (start + moved) ** 2
    # Both fractions divide by noise: by what is left of it after the last step, and by what the first step adds.
    curve = pretraining.chosen(case)
    columns = len(case["source_labels"][0])
    left = (1 - curve.lr * curve.spectrum.values) ** case["last"]
    after_last, after_first = curve.noise * left * (2 - left), curve.noise * (curve.lr * curve.spectrum.values) ** 2
    return [whole / (columns * float(np.sum(noise))) for noise in (after_last, after_first)]


def _contributions_scale(case: Case) -> list[float]:
    n = len(case["source_features"])
    steps = case["source_steps"]
    share = scales.condition(case["source_features"], case["source_lr"], steps)
    start, moved = _sizes(case, None)
    gap = modes.spectrum({"features": case["source_features"]}).values
    # Single modes are as sharp as the gaps between eigenvalues.
    apart = float(1 + gap[-1] / np.min(np.diff(gap)))
    size = (start + moved) ** 2 * apart
    sizes = np.sum(pretraining.chosen(case).modes ** 2, axis=(1, 2))
    return [share] * n + [size] * (2 * n) + [apart * moved * (start + moved) / float(v) for v in sizes]


def _points_scale(case: Case) -> list[float]:
    kappa, n = scales.spread({"features": case["source_features"]}), len(case["source_features"])
    F_Q = case["target_features"]
    return [kappa * scales.spread({"features": F_Q}) ** 2 * len(F_Q)] * n + [kappa * scales.norm(F_Q) ** 2] * n


def _points_noise_scale(case: Case) -> list[float]:
    smallest = cases.eigenvalues(case["source_features"])[0]
    return [value * scales.spread({"features": case["source_features"]}) / smallest for value in _points_scale(case)]


_DOMAIN = Domain(description=f"{_SMOOTH}; with and without turns", draw=cases.smooth_turning, cases=5)
_NESTED = Domain(description="H_P and H_Q regular, cross blocks from shared features", draw=cases.nested_sources, cases=6)

ENTRIES = (
    Entry(
        name="pretraining_turn_bound",
        title="How often a quantity can turn",
        statement=f"{_FORM}: F(k + 1) − F(k) changes its sign at most as often as the partial sums of the coefficients "
        "−2(1 − qᵢ) gᵢ·ρ_∞ of qᵢ and −(1 − qᵢqⱼ) gᵢ·gⱼ of qᵢqⱼ, slowest first, and as often but for an even number; "
        "every other change is a turn.",
        derivation=symbolic.turn_bound,
        closed_form=_closed_bound,
        twin=turning.PretrainingCurve.turn_bound,
        call=_call_bound,
        definition=literal.turn_bound,
        tolerance=Tolerance(kind="exact", multiple=0),
        domain=_DOMAIN,
        evidence=_EXACT,
        source="Laguerre's rule; Jameson 2006, Counting zeros of generalised polynomials",
    ),
    Entry(
        name="pretraining_late_trend",
        title="Whether a quantity at last rises",
        statement=f"{_FORM}: late, F(k + 1) − F(k) has the sign of −g₁·ρ_∞, mode 1 the slowest: F rises to its limit iff g₁·ρ_∞ < 0.",
        derivation=symbolic.late_trend,
        closed_form=_closed_trend,
        twin=turning.PretrainingCurve.late_trend,
        call=_call_one,
        definition=literal.late_trend,
        tolerance=Tolerance(kind="exact", multiple=0),
        domain=_DOMAIN,
        evidence=_EXACT,
        source=_SOURCE,
    ),
    Entry(
        name="pretraining_turn_is_certain",
        title="A turn that is certain",
        statement=f"{_FORM}: F(1) < F(0) and a late rise suffice for min F < min(F(0), F(∞)); neither is necessary.",
        derivation=symbolic.certain,
        closed_form=_closed_certain,
        twin=turning.PretrainingCurve.turn_is_certain,
        call=_call_one,
        definition=literal.turn_is_certain,
        tolerance=Tolerance(kind="exact", multiple=0),
        domain=_DOMAIN,
        evidence=_EXACT,
        source=_SOURCE,
    ),
    Entry(
        name="pretraining_mean_curve",
        title="The mean quantity under source noise",
        statement=f"{_FORM}: E F with noise σ² on each of c columns of source labels is F + c σ² N, N = Σ (1 − qᵢ^k)² ‖T vᵢ‖²/λᵢ²: again a "
        "curve of this form, with one more component for each mode.",
        derivation=symbolic.mean_curve,
        closed_form=_closed_mean,
        twin=turning.PretrainingCurve.with_source_noise,
        call=_call_mean,
        definition=literal.mean_curve,
        tolerance=Tolerance(
            kind="dtype", multiple=16, scale=_mean_scale, scale_text="(‖ρ‖ + ‖T‖‖α‖)² + c σ² n_P (‖T‖φ)², condition of both stages included"
        ),
        domain=Domain(description="as pretraining_curve; σ² ≥ 0", draw=cases.barely_pretrained, cases=6),
        evidence=_EXACT,
        source="Labels enter the trained weights linearly",
    ),
    Entry(
        name="pretraining_noise_window",
        title="Source noise at which stopping is best",
        statement=f"{_FORM}; some 0 < k < ∞ has the least mean F + c σ² N iff low < σ² < high, low = min_k (F(k) − F(∞))/"
        "(c (N(∞) − N(k))), high = max_k (F(0) − F(k))/(c N(k)), neither below 0: noise forces a turn above a threshold, and above another "
        "makes no pretraining best.",
        derivation=symbolic.noise_window,
        closed_form=_closed_window,
        twin=turning.PretrainingCurve.noise_window,
        call=_call_window,
        definition=literal.noise_window,
        tolerance=Tolerance(
            kind="dtype",
            multiple=16,
            scale=_window_scale,
            scale_text="(‖ρ‖ + ‖T‖‖α‖)² over the noise left after the last step, or added by the first",
        ),
        domain=_DOMAIN,
        evidence=_EXACT,
        source=_SOURCE,
    ),
    Entry(
        name="pretraining_contributions",
        title="What each mode of the source contributes",
        statement="F = ‖ρ − Σᵢ sᵢgᵢ‖², sᵢ = 1 − qᵢ^k, L what is left: mode i changes F by −sᵢ gᵢ·(ρ + L), the mean over all orders of "
        "learning modes, and in sum F(k) − F(0); the slope in sᵢ is −2 gᵢ·L; alone, its best share is ρ·gᵢ/‖gᵢ‖², within [0, 1].",
        derivation=symbolic.contributions,
        closed_form=_closed_contributions,
        twin=turning.PretrainingCurve.contributions,
        call=_call_contributions,
        definition=literal.contributions,
        tolerance=Tolerance(
            kind="dtype", multiple=16, scale=_contributions_scale, scale_text="(‖ρ‖ + ‖T‖‖α‖)² λ_max/gap; for best shares over ‖gᵢ‖²"
        ),
        domain=Domain(
            description=_SMOOTH, draw=lambda rng, i: {**cases.smooth_turning(rng, i), "source_steps": (1, None, 3, 7)[i % 4]}, cases=4
        ),
        evidence=_EXACT,
        source="Shapley 1953, A value for n-person games, for a quadratic form",
    ),
    Entry(
        name="explained_by_source_points",
        title="What each source point explains",
        statement="C_j = tr(M H_QP H_P⁻¹ H_PQ) of the first j source points, M = H_Q⁻¹ or I: over teachers f, g ~ GP(0, H), y_Q = f, "
        "y_P = cos φ f + sin φ g + σξ, squared displacement or gradient energy is on average tr(M H_Q) − (2 cos φ − 1) C_j + σ² V_j. "
        "C_j never falls in j.",
        derivation=symbolic.source_points,
        closed_form=_closed_explained,
        twin=source_size.explained_by_source_points,
        call=_call_points,
        definition=literal.explained,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=_points_scale, scale_text="κ(H_P) κ(H_Q)² n_Q, or κ(H_P) tr H_Q"),
        domain=_NESTED,
        evidence=Evidence(kind="exact", detail="both stages run to the end for teachers that are one weight each, whose sum is the mean"),
        source="The Schur complement of a block matrix",
    ),
    Entry(
        name="noise_by_source_points",
        title="What the noise of source labels costs",
        statement="V_j = tr(M A Aᵀ), A = H_QP H_P⁻¹ of the first j source points, M = H_Q⁻¹ or I: the mean of squared displacement or "
        "gradient energy through noise of variance 1 on source labels, trained to the end. It may rise or fall in j.",
        derivation=symbolic.source_points,
        closed_form=_closed_noise,
        twin=source_size.noise_by_source_points,
        call=_call_points,
        definition=literal.noise_by_points,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=_points_noise_scale, scale_text="the scale of C_j times κ(H_P)/λ_min(H_P)"),
        domain=_NESTED,
        evidence=Evidence(kind="exact", detail="both stages run to the end for a label of one at one source point at a time"),
        source="Labels enter the trained weights linearly",
    ),
)
"""In the order they are shown and checked."""
