"""Entries of both stages together: what transfers, what is left, what is forgotten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np

from theory.definitions import cases, hidden, linear_model
from theory.definitions.linear_model import matrix
from theory.entries import modes, scales
from theory.formula import Case, Chain, Domain, Entry, Evidence, Expression, Tolerance, Values
from theory.numeric import stages
from theory.numeric.gram import relu_gram
from theory.outcome import TransferOutcome
from theory.predict import GramBlocks, predict
from theory.problem import Schedule, TransferProblem
from theory.symbolic import best_scale, filters, fine_tuning, forgetting, gain, gradient_energy, transformed_labels
from theory.symbolic import notation as s
from theory.symbolic.algebra import evaluate

_EXACT = Evidence(kind="exact", detail="gradient descent on the weights of a linear model in both stages, run literally")
_TWO = "H_P, H_Q and their cross blocks from shared features, regular or singular; u(0) ≠ 0; stable η; any k_P, k_Q, or to the end"
_LEAST = "H regular, any labels and transformed labels"


# Transformed labels of the ReLU kernel ------------------------------------------------------------------------------------------


def _call_transformed(twin: Callable[..., Any], case: Case) -> Values:
    X_P, X_Q = np.array(case["source_inputs"]), np.array(case["target_inputs"])
    return modes.flat(twin(X_P, modes.columns(case["source_labels"]), X_Q, case["steps"], case["lr"]))


def _closed_transformed(chain: Chain, case: Case) -> Values:
    rows = [*case["source_inputs"], *case["target_inputs"]]
    n = len(case["source_inputs"])
    H = mp.matrix([[_relu(x, z) for z in rows] for x in rows])
    # A factor of H stands for the features that the filter is a function of.
    F_P = mp.cholesky(H)[0:n, :]
    given = {
        s.H_QP: H[n : len(rows), 0:n],
        s.phi_P: modes.filter_matrix(filters.integral(), F_P, case["lr"], case["steps"]),
        s.l_P: matrix(case["source_labels"]),
    }
    return modes.result(chain, "transformed", given)


def _relu(x: list[float], z: list[float]) -> Any:
    # The arc cosine of a row with itself keeps half the digits.
    with mp.workdps(2 * mp.mp.dps + 10):
        u, v = mp.matrix(x), mp.matrix(z)
        inner, size = (u.T * v)[0], mp.norm(u) * mp.norm(v)
        return inner * (mp.pi - mp.acos(min(inner / size, mp.mpf(1)))) / (2 * mp.pi)


def _transformed_scale(case: Case) -> float:
    X_P, X_Q = np.array(case["source_inputs"]), np.array(case["target_inputs"])
    values = np.linalg.eigvalsh(relu_gram(X_P))
    reach = 1 / values[0] if case["steps"] is None else min(case["lr"] * case["steps"], 2 / values[0])
    return float(np.linalg.norm(relu_gram(X_Q, X_P)) * reach * (1 + values[-1] * reach) * np.linalg.norm(case["source_labels"]))


# Both stages --------------------------------------------------------------------------------------------------------------------


def predicted(twin: Callable[..., Any], case: Case) -> TransferOutcome:
    """`predict` on the case's exact Gram blocks; the inputs are placeholders, the kernel never sees them."""
    F = {name: np.array(case[f"{name}_features"]) for name in ("source", "target", "test")}
    start = np.array(case["start"])
    labels = {name: np.array(case.get(f"{name}_labels", F[name] @ start)) for name in F}
    flat = {name: Y[:, 0] if Y.shape[1] == 1 else Y for name, Y in labels.items()}
    problem = TransferProblem(**{name: (np.ones((len(F[name]), 1)), flat[name]) for name in F})
    blocks = GramBlocks(
        source=F["source"] @ F["source"].T,
        target=F["target"] @ F["target"].T,
        target_source=F["target"] @ F["source"].T,
        test_source=F["test"] @ F["source"].T,
        test_target=F["test"] @ F["target"].T,
    )
    options = {name: case[name] for name in ("momentum", "weight_decay", "anchor") if name in case}
    schedule = Schedule(case["source_steps"], case["target_steps"], case["source_lr"], case["target_lr"], **options)
    outputs = tuple((F[name] @ start).reshape(flat[name].shape) for name in F)
    outcome: TransferOutcome = twin(problem, schedule, gram=blocks, initial_outputs=outputs)
    return outcome


def _symbols(case: Case) -> dict[Expression, Any]:
    """Values of every matrix symbol of the two-stage derivations: Gram blocks, filters, labels less initial outputs."""
    F_P, F_Q, F_x = (matrix(case[f"{name}_features"]) for name in ("source", "target", "test"))
    W_0, residual, integral = matrix(case["start"]), filters.residual(), filters.integral()
    stage_P, stage_Q = (case["source_lr"], case["source_steps"]), (case["target_lr"], case["target_steps"])
    return {
        s.H_P: F_P * F_P.T,
        s.H_Q: F_Q * F_Q.T,
        s.H_QP: F_Q * F_P.T,
        s.H_PQ: F_P * F_Q.T,
        s.h_P: F_x * F_P.T,
        s.h_Q: F_x * F_Q.T,
        s.phi_P: modes.filter_matrix(integral, F_P, *stage_P),
        s.phi_Q: modes.filter_matrix(integral, F_Q, *stage_Q),
        s.q_P: modes.filter_matrix(residual, F_P, *stage_P),
        s.q_Q: modes.filter_matrix(residual, F_Q, *stage_Q),
        s.l_P: matrix(case["source_labels"]) - F_P * W_0,
        s.l_Q: matrix(case["target_labels"]) - F_Q * W_0,
        fine_tuning.start: F_x * W_0,
    }


def _value(chain: Chain, name: str, symbols: dict[Expression, Any]) -> Any:
    return evaluate(chain.results[name], symbols)


def _call_residual(twin: Callable[..., Any], case: Case) -> Values:
    outputs = np.asarray(predicted(twin, case).target_outputs)
    return modes.flat(np.array(case["target_labels"]).reshape(outputs.shape) - outputs)


def _closed_residual(chain: Chain, case: Case) -> Values:
    return modes.result(chain, "residual", _symbols(case))


def _residual_scale(case: Case) -> float:
    _, left, _ = scales.two_stages(case)
    return left * scales.condition(case["target_features"], case["target_lr"], case["target_steps"])


def _call_displacement(twin: Callable[..., Any], case: Case) -> Values:
    return [predicted(twin, case).displacement]


def _closed_displacement(chain: Chain, case: Case) -> Values:
    symbols = _symbols(case)
    gamma = _value(chain, "coefficients", symbols)
    squares = _value(chain, "squared", symbols | {fine_tuning.gamma: gamma, fine_tuning.gamma_t: gamma.T})
    return [mp.sqrt(mp.fsum(squares[i, i] for i in range(squares.rows)))]


def _displacement_scale(case: Case) -> float:
    return scales.norm(case["target_features"]) * scales.two_stages(case)[2]


def _call_anywhere(twin: Callable[..., Any], case: Case) -> Values:
    return modes.flat(predicted(twin, case).test_outputs)


def _closed_anywhere(chain: Chain, case: Case) -> Values:
    return modes.result(chain, "outputs", _symbols(case))


def _anywhere_scale(case: Case) -> float:
    alpha, _, gamma = scales.two_stages(case)
    weights = scales.norm(case["start"]) + scales.norm(case["source_features"]) * alpha + scales.norm(case["target_features"]) * gamma
    return scales.norm(case["test_features"]) * weights


def _call_forgetting(twin: Callable[..., Any], case: Case) -> Values:
    outcome = predicted(twin, case)
    outputs = np.asarray(outcome.source_outputs)
    return [*modes.flat(np.array(case["source_labels"]).reshape(outputs.shape) - outputs), outcome.forgetting]


def _closed_forgetting(chain: Chain, case: Case) -> Values:
    symbols = _symbols(case)
    final = _value(chain, "residual", symbols)
    before = symbols[s.q_P] * symbols[s.l_P]
    pairs = zip(before, before - final, strict=True)
    rise = mp.fsum(_value(chain, "rise", {forgetting.before: a, forgetting.change: b}) for a, b in pairs)
    return [*final, rise]


def _forgetting_scale(case: Case) -> list[float]:
    alpha, _, gamma = scales.two_stages(case)
    F_P = scales.norm(case["source_features"])
    outputs = F_P * (scales.norm(case["start"]) + F_P * alpha + scales.norm(case["target_features"]) * gamma) + scales.norm(
        case["source_labels"]
    )
    count = len(case["source_labels"]) * len(case["source_labels"][0])
    return [outputs] * count + [outputs**2]


def _call_energy(twin: Callable[..., Any], case: Case) -> Values:
    return [predicted(twin, case).gradient_energy]


def _closed_energy(chain: Chain, case: Case) -> Values:
    left = _value(chain, "remaining", _symbols(case))
    return [mp.fsum(_value(chain, "per point", {gradient_energy.residual: r}) for r in left)]


def _energy_scale(case: Case) -> float:
    return scales.two_stages(case)[1] ** 2


# Gain ---------------------------------------------------------------------------------------------------------------------------


def _call_gain(twin: Callable[..., Any], case: Case) -> Values:
    return [twin(modes.spectrum(case), modes.columns(case["labels"]), modes.columns(case["remaining"]))[0]]


def _least(chain: Chain, case: Case, labels: str) -> Any:
    return modes.summed(chain, {**case, "steps": 0}, labels)


def _closed_gain(chain: Chain, case: Case) -> Values:
    given = {gain.left: _least(chain, case, "remaining"), gain.yy: _least(chain, case, "labels")}
    return [_value(chain, "gain", given)]


def _inner_products(case: Case) -> tuple[Any, Any, Any]:
    """`‖y‖²`, `⟨y, t⟩`, `‖t‖²` in the `H⁻¹` inner product, of labels and transformed labels."""
    F, y, t = matrix(case["features"]), matrix(case["labels"]), matrix(case["transformed"])
    inverse = mp.inverse(F * F.T)

    def product(u: Any, v: Any) -> Any:
        return mp.fsum(a * b for a, b in zip(u, inverse * v, strict=True))

    return product(y, y), product(y, t), product(t, t)


def _call_negative(twin: Callable[..., Any], case: Case) -> Values:
    value = _call_gain(twin, case)[0]
    return [(1 - value) ** 2 - 1, value < 0]


def _closed_negative(chain: Chain, case: Case) -> Values:
    yy, yt, tt = _inner_products(case)
    excess = _value(chain, "excess", {gain.yy: yy, gain.yt: yt, gain.tt: tt})
    return [excess, bool(excess > 0)]


def _negative_scale(case: Case) -> float:
    return scales.gain(case) ** 2


def _call_best(twin: Callable[..., Any], case: Case) -> Values:
    return [twin(modes.spectrum(case), modes.columns(case["labels"]), modes.columns(case["transformed"]))]


def _closed_best(chain: Chain, case: Case) -> Values:
    yy, yt, tt = _inner_products(case)
    return [_value(chain, "gain", {best_scale.yy: yy, best_scale.yt: yt, best_scale.tt: tt})]


def _best_scale(case: Case) -> float:
    # d(√(1 − cos²)) = cos d(cos)/√(1 − cos²); the inner product is a difference of squares of these sizes.
    yy, yt, tt = (float(v) for v in _inner_products(case))
    return scales.spread(case) * (yy + tt) / (yy * tt) ** 0.5 / (1 - yt**2 / (yy * tt)) ** 0.5


def _two_stages(count: int) -> Domain:
    return Domain(description=_TWO, draw=cases.two_stages, cases=count)


def _least_fit(count: int) -> Domain:
    return Domain(description=_LEAST, draw=cases.labels_and_transformed, cases=count)


ENTRIES = (
    Entry(
        name="transformed_labels",
        title="Transformed labels",
        statement="y_{P→Q}(k) = H_QP φ_k(H_P) y_P: what a net trained for k steps on P outputs on Q; to the end H_QP H_P⁺ y_P.",
        derivation=transformed_labels.chain,
        closed_form=_closed_transformed,
        twin=stages.transformed_labels,
        call=_call_transformed,
        definition=hidden.transformed_labels,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=_transformed_scale, scale_text="‖H_QP‖ ‖y_P‖ φ (1 + λ_max φ)"),
        domain=Domain(
            description="non-zero rows, u(0) = 0, 0 < η < 2/λ_max(H_P), k = 0, 1, 2, … or to the end", draw=cases.transfer, cases=4
        ),
        evidence=_EXACT,
        source="arXiv 1909.12031, the labels transformed from P to Q; finite k by the geometric series",
    ),
    Entry(
        name="gradient_energy",
        title="Gradient energy at the start of fine-tuning",
        statement="‖∂L_Q/∂X¹‖_F² = ‖u_Q − y_Q‖² = ‖ỹ(k_P)‖², ỹ(k) = y_Q − H_QP φ_k(H_P) y_P, X¹ the hidden activations, a_r = ±1.",
        derivation=gradient_energy.chain,
        closed_form=_closed_energy,
        twin=predict,
        call=_call_energy,
        definition=hidden.gradient_energy,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=_energy_scale, scale_text="(‖y_Q‖ + ‖H_QP‖ ‖α‖)², condition included"),
        domain=_two_stages(6),
        evidence=Evidence(kind="monte-carlo", detail="frozen finite nets against the infinite width, by the z of the sampling gap"),
        source="arXiv 1909.12031, improved Lipschitzness",
    ),
    Entry(
        name="fine_tuning",
        title="Residual after fine-tuning",
        statement="y_Q − u_Q = q_Q(k_Q) ỹ(k_P), ỹ(k) = y_Q − u_Q(0) − H_QP φ_k(H_P)(y_P − u_P(0)).",
        derivation=fine_tuning.residual,
        closed_form=_closed_residual,
        twin=predict,
        call=_call_residual,
        definition=linear_model.fine_tuning_residual,
        tolerance=Tolerance(
            kind="dtype", multiple=16, scale=_residual_scale, scale_text="‖ỹ‖ (1 + λ_max φ_Q), condition of pretraining included"
        ),
        domain=_two_stages(8),
        evidence=_EXACT,
        source="arXiv 1909.12031; the second stage is the first with ỹ for y",
    ),
    Entry(
        name="fine_tuning_displacement",
        title="Displacement in fine-tuning",
        statement="‖W(Q) − W(P)‖_F = √(ỹᵀ φ(H_Q) H_Q φ(H_Q) ỹ); to the end √(ỹᵀH_Q⁺ỹ).",
        derivation=fine_tuning.displacement,
        closed_form=_closed_displacement,
        twin=predict,
        call=_call_displacement,
        definition=linear_model.fine_tuning_displacement,
        tolerance=Tolerance(
            kind="dtype", multiple=16, scale=_displacement_scale, scale_text="‖F_Q‖ ‖γ‖, condition of both stages included"
        ),
        domain=_two_stages(8),
        evidence=Evidence(kind="rate", detail="gap of trained finite nets against width"),
        source="arXiv 1909.12031, weights stay close",
    ),
    Entry(
        name="outputs_anywhere",
        title="Outputs at any point after both stages",
        statement="f(x) = f_0(x) + h_P(x)ᵀ φ(H_P) y_P + h_Q(x)ᵀ φ(H_Q) ỹ(k_P), labels less initial outputs.",
        derivation=fine_tuning.anywhere,
        closed_form=_closed_anywhere,
        twin=predict,
        call=_call_anywhere,
        definition=linear_model.outputs_anywhere,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=_anywhere_scale, scale_text="‖F_x‖ ‖W‖, condition of both stages included"),
        domain=_two_stages(8),
        evidence=_EXACT,
        source="The weights after both stages",
    ),
    Entry(
        name="forgetting",
        title="Forgetting",
        statement="y_P − u_P = q_P y_P − H_PQ φ(H_Q) ỹ after fine-tuning; the rise of ½‖y_P − u_P‖² can be negative.",
        derivation=forgetting.chain,
        closed_form=_closed_forgetting,
        twin=predict,
        call=_call_forgetting,
        definition=linear_model.forgetting,
        tolerance=Tolerance(
            kind="dtype", multiple=16, scale=_forgetting_scale, scale_text="‖F_P‖ ‖W‖ (squared for the loss), condition included"
        ),
        domain=_two_stages(8),
        evidence=_EXACT,
        source="The weights after both stages, seen on P",
    ),
    Entry(
        name="transfer_gain",
        title="Transfer gain",
        statement="G = 1 − √(ỹᵀH_Q⁻¹ỹ / y_QᵀH_Q⁻¹y_Q): 1 perfect transfer, 0 none, negative when the weights then move farther.",
        derivation=gain.chain,
        closed_form=_closed_gain,
        twin=stages.transfer_gain,
        call=_call_gain,
        definition=linear_model.transfer_gain,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=scales.gain, scale_text="κ(H) (1 + √κ ‖ỹ‖/‖y‖)"),
        domain=_least_fit(8),
        evidence=Evidence(kind="exact", detail="the two least-norm problems, solved literally"),
        source="arXiv 1909.12031, weights stay close, as a ratio",
    ),
    Entry(
        name="negative_transfer",
        title="Negative transfer",
        statement="G < 0 iff ‖y_{P→Q}‖² > 2⟨y_Q, y_{P→Q}⟩ in the H_Q⁻¹ product; (1 − G)² − 1 = (‖y_{P→Q}‖² − 2⟨y_Q, y_{P→Q}⟩)/‖y_Q‖².",
        derivation=gain.negative,
        closed_form=_closed_negative,
        twin=stages.transfer_gain,
        call=_call_negative,
        definition=linear_model.negative_transfer,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=_negative_scale, scale_text="(κ(H) (1 + √κ ‖ỹ‖/‖y‖))²"),
        domain=_least_fit(8),
        evidence=Evidence(kind="exact", detail="the two least-norm problems, solved literally"),
        source="Expanding ‖y_Q − y_{P→Q}‖²",
    ),
    Entry(
        name="best_scale_gain",
        title="Gain at the best scale",
        statement="max_s G(s y_P) = 1 − √(1 − cos²), cos² = ⟨y_Q, y_{P→Q}⟩²/(‖y_Q‖²‖y_{P→Q}‖²) in the H_Q⁻¹ inner product.",
        derivation=best_scale.chain,
        closed_form=_closed_best,
        twin=stages.best_scale_gain,
        call=_call_best,
        definition=linear_model.best_scale_gain,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=_best_scale, scale_text="κ(H) (A + C)/√(AC) / √(1 − cos²)"),
        domain=_least_fit(8),
        evidence=Evidence(kind="exact", detail="the least over the scale of the least-norm problem, solved literally"),
        source="Least squares in the scale",
    ),
)
"""In the order they are shown and checked."""
