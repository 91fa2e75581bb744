"""Entries of averages over teachers: mean, variance, the 60° law, thresholds, and the phase diagram."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import mpmath as mp
import numpy as np

from theory.average import phase_diagram
from theory.definitions import average_case as literal
from theory.definitions.cases import eigenvalues
from theory.definitions.linear_model import matrix
from theory.entries import modes, scales
from theory.formula import Case, Chain, Domain, Entry, Evidence, Expression, Tolerance, Values
from theory.numeric import average_case
from theory.numeric.average_case import TeacherAverage
from theory.numeric.gram import relu_gram
from theory.numeric.spectrum import GramSpectrum, integral_filter
from theory.symbolic import average_case as derived
from theory.symbolic import filters, pretraining
from theory.symbolic import notation as s
from theory.symbolic.algebra import evaluate

_EXACT = Evidence(kind="exact", detail="moments of white noise, both stages of a linear model run literally on its components")
_BOTH = "H_P, H_Q and their cross blocks from shared features, regular or singular; 0 < η < 2/λ_max; any steps, or to the end"
_ANY = f"{_BOTH}; teachers of the learner's kernel or of another"
_SCALE = "(‖K_ρ‖^½ + ‖T φ‖ (‖K_P‖^½ + σ))², condition of both stages included"


# Twins --------------------------------------------------------------------------------------------------------------------------


def _averages(case: Case) -> list[TeacherAverage]:
    """Gradient energy, squared displacement and squared test error of a case, in float64."""
    F_P, F_Q, F_x = (np.array(case[f"{name}_features"]) for name in ("source", "target", "test"))
    G_P, G_Q, G_x = (np.array(case[f"{name}_teacher"]) for name in ("source", "target", "test"))
    P, Q = GramSpectrum.of(F_P @ F_P.T), GramSpectrum.of(F_Q @ F_Q.T)
    phi = integral_filter(Q.values, case["target_lr"], case["target_steps"])
    move = (phi * np.sqrt(Q.values))[:, None] * Q.vectors.T
    tune = F_x @ F_Q.T @ Q.apply(phi, np.eye(Q.size))
    H_QP = F_Q @ F_P.T
    pairs = [(H_QP, G_Q), (move @ H_QP, move @ G_Q), (F_x @ F_P.T - tune @ H_QP, G_x - tune @ G_Q)]
    lr, steps = case["source_lr"], case["source_steps"]
    return [TeacherAverage.of(P, T, lr, steps, scratch=G @ G.T, cross=G @ G_P.T, source=G_P @ G_P.T) for T, G in pairs]


def _call_labels(twin: Callable[..., Any], case: Case) -> Values:
    return [twin(average, case["angle"], case["variance"]) for average in _averages(case)]


def _call_angle(twin: Callable[..., Any], case: Case) -> Values:
    return [twin(average, case["variance"]) for average in _averages(case)]


def _call_noise(twin: Callable[..., Any], case: Case) -> Values:
    return [twin(average, case["angle"]) for average in _averages(case)]


def _call_end(twin: Callable[..., Any], case: Case) -> Values:
    F_P, F_Q = (np.array(case[f"{name}_features"]) for name in ("source", "target"))
    return [twin(GramSpectrum.of(F_P @ F_P.T), GramSpectrum.of(F_Q @ F_Q.T), F_Q @ F_P.T, case["angle"], case["variance"])]


def _call_phases(twin: Callable[..., Any], case: Case) -> Values:
    inputs = np.array(case["source_inputs"]), np.array(case["target_inputs"])
    return [v for row in twin(*inputs, case["similarities"], case["angles"], case["variance"]) for v in row]


# Closed forms -------------------------------------------------------------------------------------------------------------------


def _parts(chain: Chain, case: Case) -> Iterator[tuple[Any, Any]]:
    """`T`, and teacher features of `ρ`, for each quantity."""
    F_P, F_Q, F_x = (matrix(case[f"{name}_features"]) for name in ("source", "target", "test"))
    G_Q, G_x = matrix(case["target_teacher"]), matrix(case["test_teacher"])
    phi_Q = modes.filter_matrix(filters.integral(), F_Q, case["target_lr"], case["target_steps"])
    H_QP = F_Q * F_P.T
    blocks = {s.h_P: F_x * F_P.T, s.h_Q: F_x * F_Q.T, s.H_QP: H_QP, s.phi_Q: phi_Q, s.l_Q: G_Q, pretraining.l_T: G_x}
    yield H_QP, G_Q
    # What is left on Q moves the weights by F_Qᵀ φ(H_Q) times it.
    yield F_Q.T * phi_Q * H_QP, F_Q.T * phi_Q * G_Q
    yield evaluate(chain.results["transfer"], blocks), evaluate(chain.results["start"], blocks)


def _source_filter(case: Case) -> Any:
    return modes.filter_matrix(filters.integral(), matrix(case["source_features"]), case["source_lr"], case["source_steps"])


def _covariances(chain: Chain, case: Case, cosine: Any, variance: Any, pretrained: bool = True) -> list[Any]:
    """`Cov r` of each quantity."""
    G_P, phi_P = matrix(case["source_teacher"]), _source_filter(case)
    values = []
    for T, G in _parts(chain, case):
        A = T * phi_P if pretrained else mp.zeros(T.rows, T.cols)
        given: dict[Expression, Any] = {derived.G_r: G, derived.G_rt: G.T, derived.G_P: G_P, derived.G_Pt: G_P.T}
        given |= {derived.A: A, derived.A_t: A.T, derived.cosine: mp.mpf(cosine), derived.variance: mp.mpf(variance)}
        values.append(evaluate(chain.results["covariance"], given))
    return values


def _labelled(chain: Chain, case: Case) -> list[Any]:
    return _covariances(chain, case, mp.cos(case["angle"]), case["variance"])


def _trace(M: Any) -> Any:
    return mp.fsum(M[i, i] for i in range(M.rows))


def _closed_mean(chain: Chain, case: Case) -> Values:
    return [_trace(V) for V in _labelled(chain, case)]


def _closed_variance(chain: Chain, case: Case) -> Values:
    # The derivation's two components stand for any two: each by itself, and each pair.
    def share(own: Any, pair: Any) -> Any:
        return evaluate(chain.results["variance"], {derived.v_11: own, derived.v_12: pair, derived.v_22: mp.mpf(0)})

    zero = mp.mpf(0)
    return [
        mp.fsum(share(V[i, i], zero) if i == j else share(zero, V[i, j]) for i in range(V.rows) for j in range(i + 1))
        for V in _labelled(chain, case)
    ]


def _closed_ratio(chain: Chain, case: Case) -> Values:
    phi_P, F_P = _source_filter(case), matrix(case["source_features"])
    given: dict[Expression, Any] = {s.phi_P: phi_P, s.q_P: mp.eye(F_P.rows) - F_P * F_P.T * phi_P}
    given |= {derived.cosine: mp.cos(case["angle"]), derived.variance: mp.mpf(case["variance"])}
    values = []
    for T, G in _parts(chain, case):
        added = evaluate(chain.results["added"], given | {derived.T: T, derived.T_t: T.T})
        values.append(1 + _trace(added) / _trace(G * G.T))
    return values


def _traces(chain: Chain, case: Case) -> Iterator[dict[Expression, Any]]:
    """Traces of the four parts, from the covariance without pretraining, without noise, and without either teacher's share."""
    none = _covariances(chain, case, 0, 0, pretrained=False)
    carried, both, noisy = (_covariances(chain, case, cosine, variance) for cosine, variance in ((0, 0), (1, 0), (0, 1)))
    for start, base, with_cosine, with_noise in zip(none, carried, both, noisy, strict=True):
        yield {
            derived.carried: _trace(base - start),
            derived.overlap: _trace(base - with_cosine),
            derived.noise: _trace(with_noise - base),
        }


def _closed_angle(chain: Chain, case: Case) -> Values:
    values: Values = []
    for traces in _traces(chain, case):
        against, overlap = traces[derived.carried] + case["variance"] * traces[derived.noise], traces[derived.overlap]
        helps = overlap > 0 and against < overlap
        values.append(mp.acos(evaluate(chain.results["cosine"], traces | {derived.variance: mp.mpf(case["variance"])})) if helps else None)
    return values


def _closed_noise(chain: Chain, case: Case) -> Values:
    cosine = mp.cos(case["angle"])
    values: Values = []
    for traces in _traces(chain, case):
        helps = cosine * traces[derived.overlap] > traces[derived.carried]
        values.append(evaluate(chain.results["noise"], traces | {derived.cosine: cosine}) if helps else None)
    return values


def _end(chain: Chain, H_P: Any, H_Q: Any, H_QP: Any, angle: float, variance: float) -> Any:
    given = {s.H_P: H_P, s.H_Q: H_Q, s.H_QP: H_QP, s.H_PQ: H_QP.T, derived.cosine: mp.cos(angle), derived.variance: mp.mpf(variance)}
    return _trace(evaluate(chain.results["value"], given))


def _closed_end(chain: Chain, case: Case) -> Values:
    F_P, F_Q = (matrix(case[f"{name}_features"]) for name in ("source", "target"))
    return [_end(chain, F_P * F_P.T, F_Q * F_Q.T, F_Q * F_P.T, case["angle"], case["variance"])]


def _closed_phases(chain: Chain, case: Case) -> Values:
    X_P, X_Q = case["source_inputs"], case["target_inputs"]
    H_P, H_Q = _gram(X_P, X_P, 1), _gram(X_Q, X_Q, 1)
    values: Values = []
    for similarity in case["similarities"]:
        H_QP = _gram(X_Q, X_P, similarity)
        values += [_end(chain, H_P, H_Q, H_QP, angle, case["variance"]) / H_Q.rows for angle in case["angles"]]
    return values


def _gram(X: list[list[float]], Z: list[list[float]], similarity: float) -> Any:
    """The ReLU Gram matrix with inner products multiplied by the similarity."""
    # The arc cosine of a row with itself keeps half the digits.
    with mp.workdps(2 * mp.mp.dps + 10):
        H = mp.matrix(len(X), len(Z))
        for i, x in enumerate(X):
            for j, z in enumerate(Z):
                u, v = mp.matrix(x), mp.matrix(z)
                inner, size = similarity * (u.T * v)[0], mp.norm(u) * mp.norm(v)
                H[i, j] = inner * (mp.pi - mp.acos(min(inner / size, mp.mpf(1)))) / (2 * mp.pi)
        return H


# Tolerances ---------------------------------------------------------------------------------------------------------------------


def _sizes(case: Case) -> list[tuple[float, float, float]]:
    """Sizes of `ρ`, and of what pretraining brings of teachers and of noise, for each quantity; condition included."""
    F_P, F_Q, F_x = (case[f"{name}_features"] for name in ("source", "target", "test"))
    G_P, G_Q, G_x = (scales.norm(case[f"{name}_teacher"]) for name in ("source", "target", "test"))
    lr, steps = case["source_lr"], case["source_steps"]
    reach = scales.norm(F_P) * scales.reach(F_P, lr, steps) * scales.condition(F_P, lr, steps)
    lr, steps = case["target_lr"], case["target_steps"]
    moved = scales.norm(F_Q) * scales.reach(F_Q, lr, steps) * scales.condition(F_Q, lr, steps)
    rho = (G_Q, moved * G_Q, G_x + scales.norm(F_x) * moved * G_Q)
    T = (scales.norm(F_Q), moved * scales.norm(F_Q), scales.norm(F_x) * (1 + moved * scales.norm(F_Q)))
    noise = math.sqrt(len(case["source_features"]))
    return [(r, t * reach * G_P, t * reach * noise) for r, t in zip(rho, T, strict=True)]


def _mean_scale(case: Case) -> list[float]:
    return [(rho + brought + math.sqrt(case["variance"]) * noise) ** 2 for rho, brought, noise in _sizes(case)]


def _variance_scale(case: Case) -> list[float]:
    return [2 * size**2 for size in _mean_scale(case)]


def _scratch(case: Case) -> list[float]:
    return [float(np.trace(average.scratch)) for average in _averages(case)]


def _ratio_scale(case: Case) -> list[float]:
    return [(size / start) * (1 + size / start) for size, start in zip(_mean_scale(case), _scratch(case), strict=True)]


def _angle_scale(case: Case) -> list[float]:
    """`d φ = d cos/sin`, and the error of the cosine is that of its numerator and denominator."""
    values = []
    for average, (rho, brought, noise) in zip(_averages(case), _sizes(case), strict=True):
        overlap = abs(float(np.trace(average.overlap)))
        against = float(np.trace(average.carried)) + case["variance"] * float(np.trace(average.noise))
        error = (brought * (rho + brought) + case["variance"] * noise**2) / overlap * (1 + against / overlap) if overlap else 1.0
        sine = math.sqrt(max(1 - min(against / overlap, 1.0) ** 2, 1e-6)) if overlap else 1.0
        values.append(1 + error / sine)
    return values


def _noise_scale(case: Case) -> list[float]:
    values = []
    for average, (rho, brought, noise) in zip(_averages(case), _sizes(case), strict=True):
        total = float(np.trace(average.noise))
        margin = abs(float(np.trace(average.overlap))) + float(np.trace(average.carried))
        values.append((brought * (rho + brought) / total + margin * noise**2 / total**2) if total else 1.0)
    return values


def _end_scale(case: Case) -> float:
    spread = scales.spread({"features": case["source_features"]}) * scales.spread({"features": case["target_features"]})
    return spread * (1 + case["variance"] / eigenvalues(case["source_features"])[0]) * len(case["target_features"])


def _phases_scale(case: Case) -> float:
    values = [np.linalg.eigvalsh(relu_gram(np.array(case[f"{name}_inputs"]))) for name in ("source", "target")]
    return float(np.prod([v[-1] / v[0] for v in values]) * (1 + case["variance"] / values[0][0]))


def _dtype(scale: Callable[[Case], Any], text: str) -> Tolerance:
    return Tolerance(kind="dtype", multiple=16, scale=scale, scale_text=text)


def _domain(description: str, draw: Callable[..., Case], cases: int) -> Domain:
    return Domain(description=description, draw=draw, cases=cases)


ENTRIES = (
    Entry(
        name="average_squares",
        title="Average over teachers",
        statement="Gradient energy, squared displacement and squared test error are ‖r‖², r = ρ − T φ(H_P) y_P. For y_Q = f, "
        "y_P = cos φ f + sin φ g + σξ, teachers of covariance K: E ‖r‖² = tr(K_ρ − cos φ (X Aᵀ + A Xᵀ) + A K_P Aᵀ + σ² A Aᵀ), "
        "X = Cov(ρ, f_P), A = T φ(H_P).",
        derivation=derived.mean,
        closed_form=_closed_mean,
        twin=TeacherAverage.mean,
        call=_call_labels,
        definition=literal.mean,
        tolerance=_dtype(_mean_scale, _SCALE),
        domain=_domain(_ANY, literal.draw, 6),
        evidence=_EXACT,
        source="Covariance of a linear function of Gaussian labels",
    ),
    Entry(
        name="average_variance",
        title="Variance over teachers",
        statement="Var ‖r‖² = 2 ‖Cov r‖_F² over teachers and noise, r Gaussian of mean zero.",
        derivation=derived.spread,
        closed_form=_closed_variance,
        twin=TeacherAverage.variance,
        call=_call_labels,
        definition=literal.variance,
        tolerance=_dtype(_variance_scale, f"2 {_SCALE}, squared"),
        domain=_domain(_ANY, literal.draw, 6),
        evidence=_EXACT,
        source="Isserlis 1918",
    ),
    Entry(
        name="sixty_degree_law",
        title="The 60° law",
        statement="Teachers of the learner's kernel: E ‖r‖²/tr K_ρ = 1 − [(2 cos φ − 1) tr TφTᵀ + tr TφqTᵀ − σ² tr Tφ²Tᵀ]/tr K_ρ. To the "
        "end of the source stage q = 0: noise-free, transfer helps on average iff φ < 60°, whatever the inputs and the target stage; "
        "before its end, for η ≤ 1/λ_max, beyond 60° too.",
        derivation=derived.law,
        closed_form=_closed_ratio,
        twin=TeacherAverage.ratio,
        call=_call_labels,
        definition=literal.ratio,
        tolerance=_dtype(_ratio_scale, f"x (1 + x), x = {_SCALE}, over tr K_ρ"),
        domain=_domain(f"{_BOTH}; a target stage of at least one step", literal.draw_moving, 6),
        evidence=_EXACT,
        source="K = H: overlap and what is carried differ only by what is left to learn on the source",
    ),
    Entry(
        name="threshold_angle",
        title="Angle below which transfer helps on average",
        statement="cos φ* = (tr A K_P Aᵀ + σ² tr A Aᵀ)/tr(X Aᵀ + A Xᵀ): helps for smaller angles; none up to 90° if that is not below 1.",
        derivation=derived.threshold,
        closed_form=_closed_angle,
        twin=TeacherAverage.threshold_angle,
        call=_call_angle,
        definition=literal.threshold_angle,
        tolerance=_dtype(_angle_scale, "1 + d cos φ*/sin φ*, by the sizes and condition of numerator and denominator"),
        domain=_domain(_ANY, literal.draw_threshold, 6),
        evidence=_EXACT,
        source="The average is affine in cos φ",
    ),
    Entry(
        name="threshold_noise",
        title="Label noise at which transfer stops to help on average",
        statement="σ*² = (cos φ tr(X Aᵀ + A Xᵀ) − tr A K_P Aᵀ)/tr A Aᵀ: helps below; undefined where it does not help without noise.",
        derivation=derived.threshold,
        closed_form=_closed_noise,
        twin=TeacherAverage.threshold_noise,
        call=_call_noise,
        definition=literal.threshold_noise,
        tolerance=_dtype(_noise_scale, "sizes and condition of numerator and denominator"),
        domain=_domain(_ANY, literal.draw_threshold, 6),
        evidence=_EXACT,
        source="The average is affine in σ²",
    ),
    Entry(
        name="expected_displacement",
        title="Expected squared displacement to the end",
        statement="E ỹᵀH_Q⁻¹ỹ = n_Q − (2 cos φ − 1) C + σ² tr(H_Q⁻¹AAᵀ), C = tr(H_Q⁻¹H_QP H_P⁻¹H_PQ) the sum of squared canonical "
        "correlations.",
        derivation=derived.to_the_end,
        closed_form=_closed_end,
        twin=average_case.expected_displacement,
        call=_call_end,
        definition=literal.displacement_to_the_end,
        tolerance=_dtype(_end_scale, "n_Q κ(H_P) κ(H_Q) (1 + σ²/λ_min(H_P))"),
        domain=_domain("H_P and H_Q regular, any cross block; both stages to the end", literal.draw_end, 6),
        evidence=_EXACT,
        source="The average to the end, teachers of the learner's kernel",
    ),
    Entry(
        name="phase_diagram",
        title="Phase diagram of transfer",
        statement="E ỹᵀH_Q⁻¹ỹ/n_Q over input similarity c and label angle φ: source inputs turned out of the target's space, "
        "x ↦ (c x, √(1 − c²) x), multiply inner products across by c. Below 1 iff φ < 60° (noise-free), for every c > 0.",
        derivation=derived.to_the_end,
        closed_form=_closed_phases,
        twin=phase_diagram,
        call=_call_phases,
        definition=literal.phases,
        tolerance=_dtype(_phases_scale, "κ(H_P) κ(H_Q) (1 + σ²/λ_min(H_P))"),
        domain=_domain("ReLU kernel; 0 ≤ c ≤ 1, 0 ≤ φ ≤ π, regular Gram matrices", literal.draw_phases, 2),
        evidence=Evidence(kind="exact", detail="least-norm fits over Gram matrices by quadrature"),
        source="The expected displacement to the end, over its value from scratch",
    ),
)
"""In the order they are shown and checked."""
