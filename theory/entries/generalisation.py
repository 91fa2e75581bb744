"""Entries of generalisation: the Rademacher bound and its measure, and cross-validation."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any

import mpmath as mp
import numpy as np

from theory.definitions import cases
from theory.definitions import generalisation as definitions
from theory.definitions.linear_model import matrix, norm
from theory.entries import modes, scales
from theory.formula import Case, Chain, Domain, Entry, Evidence, Tolerance, Values
from theory.numeric import generalisation as numeric
from theory.symbolic import cross_validation, displacement, rademacher
from theory.symbolic.algebra import evaluate

_STAGE = "H = F Fᵀ regular or singular, any y, 0 < η < 2/λ_max, k = 0, 1, 2, … or to the end"


# Cases ------------------------------------------------------------------------------------------------------------------------


def _ball(rng: Random, index: int) -> Case:
    """Features, and the radius of a ball of weights."""
    return {**cases.stage(rng, index), "radius": rng.choice((0.5, 1.0, 3.0, 7.0))}


def _bounded(rng: Random, index: int) -> Case:
    """Unit rows (features of squared norm ½, exact in float64), labels in [−1, 1], what remains of them, and δ."""
    n, p = 2 + index % 3, 4 + index % 2
    while True:
        F = [[0.0] * p for _ in range(n)]
        for row in F:
            for column in rng.sample(range(p), 2):
                row[column] = rng.choice((-0.5, 0.5))
        values = np.linalg.eigvalsh(np.array(F) @ np.array(F).T)
        if values[0] > 0.02 * values[-1]:
            break
    labels = cases.rows(rng, n, 1)
    size = (0.5, 2.0, 4.0)[index % 3]
    remaining = [[y[0] - cases.dyadic(rng, size)] for y in labels] if index % 4 else labels
    lr = cases.step_size(rng, F, cases.STEP_SIZES[index % len(cases.STEP_SIZES)])
    chosen = {"lr": lr, "steps": cases.STEPS[index % len(cases.STEPS)], "delta": rng.choice((0.01, 0.1, 0.5))}
    return {"features": F, "labels": labels, "remaining": remaining, **chosen}


def _any_stage(rng: Random, index: int) -> Case:
    """As `cases.stage`, with regular and singular Gram matrices both to the end and at finite steps."""
    return {**cases.stage(rng, index), "steps": (None, 3, None, 0, 1, 40, None, 7)[index % 8]}


def _points(rng: Random, index: int) -> Case:
    """As `cases.stage`; every fourth time a row twice, with two labels, and a third row that they do not span."""
    case = cases.stage(rng, index)
    if index % 4 == 3:
        F = cases.features(rng, 2, 2 + index % 3)
        return {**case, "features": [F[0], F[0], F[1]], "labels": cases.rows(rng, 3, 1), "rank": 2}
    return case


# Closed forms -----------------------------------------------------------------------------------------------------------------


def _call_staged(twin: Callable[..., Any], case: Case) -> Values:
    return [twin(modes.spectrum(case), modes.columns(case["labels"]), case["lr"], case["steps"])]


def _closed_measure(chain: Chain, case: Case) -> Values:
    moved = mp.sqrt(modes.summed(chain, case))
    return [evaluate(chain.results["measure"], {rademacher.D: moved, rademacher.n: mp.mpf(len(case["features"]))})]


def _call_complexity(twin: Callable[..., Any], case: Case) -> Values:
    return [twin(modes.spectrum(case), case["radius"])]


def _closed_complexity(chain: Chain, case: Case) -> Values:
    F = matrix(case["features"])
    given = {rademacher.B: mp.mpf(case["radius"]), rademacher.n: mp.mpf(F.rows), rademacher.trace: norm(F) ** 2}
    return [evaluate(chain.results["complexity"], given)]


def _call_bound(twin: Callable[..., Any], case: Case) -> Values:
    spectrum, labels, remaining = modes.spectrum(case), modes.columns(case["labels"]), modes.columns(case["remaining"])
    found = twin(spectrum, labels, remaining, case["lr"], case["steps"], case["delta"])
    return [found.training, found.complexity, found.confidence, found.radius, found.vacuous]


def _closed_bound(chain: Chain, case: Case) -> Values:
    n = len(case["features"])
    moved = mp.sqrt(modes.summed(displacement.squared(), case, "remaining"))
    radius = max(1, int(mp.ceil(moved)))
    given = {
        rademacher.n: mp.mpf(n),
        rademacher.B: mp.mpf(radius),
        rademacher.delta: mp.mpf(case["delta"]),
        rademacher.norm: mp.sqrt(2 * modes.summed(displacement.loss(), case, "remaining")),
    }
    terms = [evaluate(chain.results[name], given) for name in ("training", "complexity", "confidence")]
    return [*terms, radius, bool(mp.fsum(terms) >= 1)]


def _bound_scale(case: Case) -> list[float]:
    """Of the training term the residual's scale; the others are functions of whole numbers."""
    n = len(case["features"])
    inner = {**case, "labels": case["remaining"]}
    confidence = 3 * math.sqrt(math.log(2 / case["delta"]) / (2 * n)) + 1
    return [scales.residual(inner) / math.sqrt(n), math.sqrt(2 / n) * (1 + scales.displacement(inner)), confidence, 1.0, 1.0]


def _closed_leave_one_out(chain: Chain, case: Case) -> Values:
    Y = matrix(case["labels"])
    values, V = modes.decomposed(matrix(case["features"]))
    C = V.T * Y
    errors: Values = []
    for i in range(Y.rows):
        outside = mp.fsum(V[i, j] ** 2 for j, value in enumerate(values) if not value)
        spanned = outside > mp.mpf(10) ** (-mp.mp.dps // 2)
        for p in range(Y.cols):
            terms = [(V[i, j] * C[j, p], V[i, j] ** 2, value) for j, value in enumerate(values)]
            if spanned:
                sums = [mp.fsum(term[m] for term in terms if not term[2]) for m in (0, 1)]
                given = dict(zip((cross_validation.free, cross_validation.leverage), sums, strict=True))
            else:
                sums = [mp.fsum(term[m] / term[2] for term in terms if term[2]) for m in (0, 1)]
                given = dict(zip((cross_validation.gamma, cross_validation.omega), sums, strict=True))
            errors.append(evaluate(chain.results["zero mode" if spanned else "regular"], given))
    return errors


def _leave_one_out_scale(case: Case) -> float:
    """`‖y‖ κ(H)²`, over the eigenvalues that are not zero; repeated points may leave some beyond the features' number."""
    values = np.linalg.eigvalsh(np.array(cases.gram_of(case["features"])))
    kappa = values[-1] / values[-case["rank"]]
    return float(scales.norm(case["labels"]) * kappa**2)


def _closed_generalised(chain: Chain, case: Case) -> Values:
    Y = matrix(case["labels"])
    values, V = modes.decomposed(matrix(case["features"]))
    C = V.T * Y
    energy = trace = mp.mpf(0)
    for j, value in enumerate(values):
        if case["steps"] is None:
            if value and 0 in values:
                continue
            prefix = "end " if value else "zero "
        else:
            prefix = "" if value else "zero "
        trace += modes.at(chain, f"{prefix}trace", value, case["lr"], case["steps"] or 0)
        energy += mp.fsum(modes.at(chain, f"{prefix}residual", value, case["lr"], case["steps"] or 0, C[j, p]) ** 2 for p in range(Y.cols))
    given = {cross_validation.n: mp.mpf(Y.rows), cross_validation.energy: energy, cross_validation.trace: trace}
    return [evaluate(chain.results["score"], given)]


def _generalised_scale(case: Case) -> float:
    """`n‖y‖² (1 + n/|T|)/T² κ_k`: `T = Σ q/max|q|`, `κ_k` what an eps in H does to the ratios of `q`."""
    values = np.linalg.eigvalsh(np.array(cases.gram_of(case["features"])))
    kappa = 1 + values[-1] / cases.eigenvalues(case["features"])[0]
    n, steps = len(values), case["steps"]
    if case["rank"] < n and steps is None:
        weights = np.ones(n - case["rank"])
    elif steps is None:
        weights = values[0] / values
    else:
        shrink = 1 - case["lr"] * values
        slowest = float(np.abs(shrink).max())
        weights, kappa = (shrink / slowest) ** steps, 1 + steps * case["lr"] * values[-1] / slowest
    total = abs(float(weights.sum()))
    return float(n * scales.norm(case["labels"]) ** 2 * (1 + n / total) / total**2 * kappa)


ENTRIES = (
    Entry(
        name="complexity_measure",
        title="Complexity measure of generalisation",
        statement="√2 ‖W(k) − W(0)‖_F/√n, to the end √(2 yᵀH⁺y/n): the leading term of the Rademacher bound; ỹ for y in fine-tuning.",
        derivation=rademacher.measure,
        closed_form=_closed_measure,
        twin=numeric.complexity_measure,
        call=_call_staged,
        definition=definitions.complexity_measure,
        tolerance=Tolerance(
            kind="dtype", multiple=16, scale=lambda case: 1.5 * scales.displacement(case), scale_text="√(2/n) ‖y‖ √φ (1 + λ_max φ)"
        ),
        domain=Domain(description=_STAGE, draw=_any_stage, cases=8),
        evidence=Evidence(kind="exact", detail="gradient descent on the weights of a linear model, run literally"),
        source="Arora et al. 2019 (arXiv 1901.08584), theorem 5.1; arXiv 1909.12031, improved generalisation, with ỹ",
    ),
    Entry(
        name="rademacher_complexity",
        title="Rademacher complexity of a ball of weights",
        statement="R̂ = E_ξ sup{(1/n) Σᵢ ξᵢ zᵢ·v : ‖v‖ ≤ B} ≤ (B/n) √(tr H), ξᵢ = ±1 independent, H = (zᵢ·zⱼ); B/√(2n) for unit rows.",
        derivation=rademacher.complexity_of_a_ball,
        closed_form=_closed_complexity,
        twin=numeric.rademacher_complexity,
        call=_call_complexity,
        definition=definitions.rademacher_complexity,
        tolerance=Tolerance(
            kind="dtype",
            multiple=16,
            scale=lambda case: case["radius"] / len(case["features"]) * scales.norm(case["features"]),
            scale_text="(B/n) √(tr H)",
        ),
        domain=Domain(description="H = F Fᵀ regular or singular, B > 0", draw=_ball, cases=6),
        evidence=Evidence(kind="exact", detail="the root mean square over all choices of signs, which Jensen's inequality compares with"),
        source="Bartlett and Mendelson 2002, lemma 22",
    ),
    Entry(
        name="rademacher_bound",
        title="Rademacher bound of the kernel regime",
        statement="L_D ≤ ‖q_Q(k)ỹ‖/√n + √2 B/√n + 3√(log(2B(B+1)/δ)/(2n)) with probability 1 − δ, for every k at once: B = max(1, ⌈D⌉), "
        "D = ‖W(Q) − W(P)‖_F, n = n_Q, loss in [0, 1], 1-Lipschitz, zero at the label.",
        derivation=rademacher.bound,
        closed_form=_closed_bound,
        twin=numeric.rademacher_bound,
        call=_call_bound,
        definition=definitions.rademacher_bound,
        tolerance=Tolerance(
            kind="dtype",
            multiple=16,
            scale=_bound_scale,
            scale_text="‖ỹ‖ (1 + λ_max φ)/√n; √(2/n) (1 + D); 1 + confidence",
        ),
        domain=Domain(description="unit rows, |y| ≤ 1, one output, source sample independent of the target's", draw=_bounded, cases=9),
        evidence=Evidence(kind="frequency", detail="how often the expected loss, over draws of MNIST pairs and digits, exceeds the bound"),
        source="arXiv 1909.12031, improved generalisation; Mohri, Rostamizadeh and Talwalkar 2018, theorem 3.3",
    ),
    Entry(
        name="leave_one_out",
        title="Leave-one-out errors",
        statement="yᵢ − f₍₋ᵢ₎(xᵢ) = (H⁻¹y)ᵢ/(H⁻¹)ᵢᵢ, f₍₋ᵢ₎ trained to the end without point i; for singular H with null projection P, "
        "(Py)ᵢ/Pᵢᵢ where Pᵢᵢ > 0, and (H⁺y)ᵢ/(H⁺)ᵢᵢ elsewhere; ỹ for y in fine-tuning.",
        derivation=cross_validation.leave_one_out,
        closed_form=_closed_leave_one_out,
        twin=numeric.leave_one_out,
        call=lambda twin, case: modes.flat(twin(modes.spectrum(case), modes.columns(case["labels"]))),
        definition=definitions.leave_one_out,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=_leave_one_out_scale, scale_text="‖y‖ κ(H)²"),
        domain=Domain(description="H = F Fᵀ regular or singular, repeated points included, any y", draw=_points, cases=8),
        evidence=Evidence(
            kind="monte-carlo",
            detail="the mean over draws of the data of their squares, against the squared error on test points of the same refits",
        ),
        source="Allen 1974; Golub, Heath and Wahba 1979",
    ),
    Entry(
        name="generalised_cross_validation",
        title="Generalised cross-validation",
        statement="(‖q y‖²/n)/(tr q/n)², q = (I − ηH)^k; to the end (1/n) yᵀH⁻²y/(tr H⁻¹/n)², the limit of ridge regression for a "
        "vanishing penalty (not of k → ∞, which is n (v₁ᵀy)²); for singular H, q projects on its null space; ỹ for y in fine-tuning.",
        derivation=cross_validation.generalised,
        closed_form=_closed_generalised,
        twin=numeric.generalised_cross_validation,
        call=_call_staged,
        definition=definitions.generalised_cross_validation,
        tolerance=Tolerance(kind="dtype", multiple=32, scale=_generalised_scale, scale_text="n ‖y‖² (1 + n/|T|)/T² κ_k, T = Σ q/max|q|"),
        domain=Domain(description=_STAGE, draw=_any_stage, cases=12),
        evidence=Evidence(
            kind="exact", detail="refits of rotated data with one point left out; at k steps the smoother, built column by column"
        ),
        source="Golub, Heath and Wahba 1979; Craven and Wahba 1979",
    ),
)
"""In the order they build on each other."""
