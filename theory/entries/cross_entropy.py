"""Entries of the cross-entropy: loss, gradient, the exact recursion in output space, and its largest stable step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np

from theory.definitions import cross_entropy as literal
from theory.definitions import linear_model, method_cases
from theory.definitions.cases import eigenvalues
from theory.definitions.linear_model import matrix
from theory.entries import modes, scales
from theory.formula import Case, Chain, Domain, Entry, Evidence, Tolerance, Values
from theory.numeric import cross_entropy, stability
from theory.symbolic import cross_entropy as s
from theory.symbolic.algebra import evaluate
from theory.symbolic.heavy_ball import beta, mu
from theory.symbolic.notation import H_P, eta, lam

_LABELS = "labels (n,) of ±1, or (n, c) of probabilities"
_CLASSES = ((s.f_1, s.y_1), (s.f_2, s.y_2), (s.f_3, s.y_3))


def _call(twin: Callable[..., Any], case: Case) -> Values:
    return modes.flat(twin(modes.columns(case["outputs"]), modes.columns(case["labels"])))


def _point(outputs: Any, labels: Any) -> dict[Any, Any]:
    """A point of at most three classes as the chain's symbols; a class that is not there has no probability, and no label."""
    far = -(mp.mpf(10) ** 6)
    padded = [*outputs, far, far][:3], [*labels, mp.mpf(0), mp.mpf(0)][:3]
    return {symbol: value for (f, y), u, v in zip(_CLASSES, *padded, strict=True) for symbol, value in ((f, u), (y, v))}


def _closed_loss(chain: Chain, case: Case) -> Values:
    U, Y = matrix(case["outputs"]), matrix(case["labels"])
    total = mp.mpf(0)
    for i in range(U.rows):
        if U.cols == 1:
            total += evaluate(chain.results["sign"], {s.f: U[i, 0] * Y[i, 0]})
        else:
            total += evaluate(chain.results["classes"], _point(U[i, :], Y[i, :]))
    return [total]


def _slopes(chain: Chain, U: Any, Y: Any) -> Any:
    S = mp.zeros(U.rows, U.cols)
    for i in range(U.rows):
        if U.cols == 1:
            S[i, 0] = Y[i, 0] * evaluate(chain.results["sign"], {s.f: U[i, 0] * Y[i, 0]})
            continue
        for k in range(U.cols):
            # The chain tells the first class: each in turn is put first.
            order = [k, *(j for j in range(U.cols) if j != k)]
            S[i, k] = evaluate(chain.results["classes"], _point([U[i, j] for j in order], [Y[i, j] for j in order]))
    return S


def _closed_gradient(chain: Chain, case: Case) -> Values:
    return list(_slopes(chain, matrix(case["outputs"]), matrix(case["labels"])))


def _loss_scale(case: Case) -> float:
    return 1 + 2 * float(np.abs(np.array(case["outputs"])).sum())


def _gradient_scale(case: Case) -> float:
    return 1 + 2 * float(np.abs(np.array(case["outputs"])).max())


def _call_descent(twin: Callable[..., Any], case: Case) -> Values:
    F = np.array(case["features"])
    found = twin(
        F @ F.T,
        modes.columns(case["labels"]),
        case["lr"],
        [case["steps"]],
        start=modes.columns((F @ np.array(case["start"])).tolist()),
        momentum=case["momentum"],
        decay=case["decay"],
        carried=modes.columns(case["carried"]),
        distance=case["distance"],
    )
    return [*modes.flat(found.outputs), found.loss[-1], found.displacement[-1]]


def _closed_descent(chain: Chain, case: Case) -> Values:
    """Coefficients step by step by the chain; with momentum the difference of two steps is added."""
    F, Y, t = matrix(case["features"]), matrix(case["labels"]), matrix(case["carried"])
    anchor = F * matrix(case["anchor"])
    decay, momentum, lr = mp.mpf(case["decay"]), mp.mpf(case["momentum"]), mp.mpf(case["lr"])
    alpha, share = mp.zeros(Y.rows, Y.cols), mp.mpf(1)
    before, share_before = alpha, share
    known = {H_P: F * F.T, s.carried: t, s.start: anchor, beta: decay, eta: lr}

    def outputs() -> Any:
        return evaluate(chain.results["outputs"], known | {s.alpha: alpha, s.share: share})

    for _ in range(case["steps"]):
        slope = _slopes(s.gradient(), outputs(), Y)
        stepped = evaluate(chain.results["coefficients"], known | {s.alpha: alpha, s.slope: slope})
        shrunk = (1 - lr * decay) * share
        alpha, before = stepped + momentum * (alpha - before), alpha
        share, share_before = shrunk + momentum * (share - share_before), share
    moved = evaluate(chain.results["squared"], {H_P: F * F.T, s.alpha: alpha, s.alpha_t: alpha.T})
    forgotten = 1 - share
    square = (
        mp.fsum(moved[i, i] for i in range(moved.rows))
        - 2 * forgotten * mp.fsum(a * b for a, b in zip(alpha, t, strict=True))
        + forgotten**2 * mp.mpf(linear_model.norm(matrix(case["start"]) - matrix(case["anchor"]))) ** 2
    )
    U = outputs()
    loss = _closed_loss(s.loss(), {**case, "outputs": U.tolist()})
    return [*U, *loss, mp.sqrt(abs(square))]


def _descent_scale(case: Case) -> list[float]:
    # The step is not expansive in the metric of the weights: rounding adds up, seen through the features.
    F, k = scales.norm(case["features"]), 1 + case["steps"]
    values = eigenvalues(case["features"])
    spread = (values[-1] / values[0]) ** 0.5 / (1 - case["momentum"])
    start = F * (scales.norm(case["start"]) + scales.norm(case["anchor"]))
    n = len(case["labels"])
    outputs = (start + F**2 * case["lr"] * k * n) * k * spread
    return [outputs] * (n * len(case["labels"][0])) + [outputs * n, outputs / values[0] ** 0.5]


def _call_stable(twin: Callable[..., Any], case: Case) -> Values:
    outputs = len(case["labels"][0])
    options = {"momentum": case["momentum"], "decay": case["decay"], "loss": "cross-entropy", "outputs": outputs}
    return [twin(modes.spectrum(case), **options)]


def _closed_stable(chain: Chain, case: Case) -> Values:
    values, _ = modes.decomposed(matrix(case["features"]))
    name = "sign" if len(case["labels"][0]) == 1 else "classes"
    return [evaluate(chain.results[name], {lam: max(values), beta: mp.mpf(case["decay"]), mu: mp.mpf(case["momentum"])})]


ENTRIES = (
    Entry(
        name="cross_entropy_loss",
        title="Cross-entropy",
        statement="−Σᵢ Yᵢ · log softmax(fᵢ), or Σᵢ log(1 + exp(−yᵢfᵢ)) for labels ±1, the cross-entropy of the outputs (f/2, −f/2).",
        derivation=s.loss,
        closed_form=_closed_loss,
        twin=cross_entropy.loss,
        call=_call,
        definition=literal.loss,
        tolerance=Tolerance(kind="dtype", multiple=2, scale=_loss_scale, scale_text="(1 + 2 Σ|f|)"),
        domain=Domain(description=_LABELS + ", any outputs", draw=method_cases.logits, cases=9),
        evidence=Evidence(kind="exact", detail="logarithms of probabilities, literally"),
        source="The definition",
    ),
    Entry(
        name="cross_entropy_gradient",
        title="Gradient of the cross-entropy",
        statement="softmax(f) − Y, or −y/(1 + exp(yf)) for labels ±1; its squared norm is the gradient energy.",
        derivation=s.gradient,
        closed_form=_closed_gradient,
        twin=cross_entropy.gradient,
        call=_call,
        definition=literal.gradient,
        tolerance=Tolerance(kind="dtype", multiple=2, scale=_gradient_scale, scale_text="(1 + 2 max|f|)"),
        domain=Domain(description=_LABELS + ", any outputs", draw=method_cases.logits, cases=9),
        evidence=Evidence(kind="exact", detail="differences of the loss"),
        source="The derivative of log Σ exp",
    ),
    Entry(
        name="cross_entropy_descent",
        title="Gradient descent on the cross-entropy",
        statement="f_k = f_A + ω_k t + Hα_k, α_{k+1} = α_k − η(softmax f_k − Y + βα_k), exact at every step size; displacement² = tr(αᵀHα) "
        "from the anchor. With momentum both α and ω carry velocities. No closed form, and no limit without decay.",
        derivation=s.descent,
        closed_form=_closed_descent,
        twin=cross_entropy.descend,
        call=_call_descent,
        definition=literal.descent,
        tolerance=Tolerance(kind="dtype", multiple=1, scale=_descent_scale, scale_text="(‖f_0‖ + ‖F‖²ηkn) k √κ(H)/(1 − μ)"),
        domain=Domain(description=_LABELS + ", any start and anchor, stable η", draw=method_cases.cross_entropy, cases=9),
        evidence=Evidence(kind="exact", detail="gradient descent on the weights of a linear model, run literally"),
        source="The gradient in the weights is Zᵀ(softmax f − Y)",
    ),
    Entry(
        name="stable_cross_entropy_step",
        title="Stable step sizes of the cross-entropy",
        statement="η ≤ 2(1 − μ)/(λ_max/2 + β) for the softmax, 2(1 − μ)/(λ_max/4 + β) for labels ±1: loss plus penalty plus μ/(2η) times "
        "the last step squared never rises, because ‖diag p − ppᵀ‖ ≤ ½, attained by two undecided classes.",
        derivation=s.stability,
        closed_form=_closed_stable,
        twin=stability.largest_stable_step,
        call=_call_stable,
        definition=literal.stable_step,
        tolerance=Tolerance(kind="exact", multiple=8),
        domain=Domain(description="β ≥ 0, 0 ≤ μ < 1; the definition takes two undecided classes", draw=method_cases.undecided, cases=6),
        evidence=Evidence(kind="exact", detail="the Hessian by differences of the gradient where the bound is attained"),
        source="Böhning 1992 (the bound ½); Zavriev and Kostyuk 1993 (momentum)",
    ),
)
"""In the order they are shown and checked."""
