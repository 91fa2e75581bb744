"""Entries of what the kernel theory rules out: transfer through a fresh head, and flatter minima."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np

from theory.definitions import ruled_out as literal
from theory.entries import modes, scales
from theory.formula import Case, Chain, Domain, Entry, Evidence, Expression, Tolerance, Values
from theory.numeric import ruled_out
from theory.symbolic import flatness, fresh_head
from theory.symbolic.algebra import evaluate
from theory.symbolic.notation import m as width


def _call_fresh(twin: Callable[..., Any], case: Case) -> Values:
    return modes.flat(twin(np.array(case["source_inputs"]), modes.columns(case["coefficients"]), np.array(case["target_inputs"])))


def _angle(u: list[float], v: list[float]) -> Any:
    # The arc cosine of a row with itself keeps half the digits.
    with mp.workdps(2 * mp.mp.dps + 10):
        x, z = mp.matrix(u), mp.matrix(v)
        return mp.acos(max(min((x.T * z)[0] / (mp.norm(x) * mp.norm(z)), mp.mpf(1)), mp.mpf(-1)))


def _closed_fresh(chain: Chain, case: Case) -> Values:
    X, alpha = case["source_inputs"], case["coefficients"]
    values: Values = []
    for x in case["target_inputs"]:

        def three(p: int, q: int, x: list[float] = x) -> Any:
            pairs = ((fresh_head.theta_12, x, X[p]), (fresh_head.theta_13, x, X[q]), (fresh_head.theta_23, X[p], X[q]))
            return evaluate(chain.results["three"], {symbol: _angle(u, v) for symbol, u, v in pairs})

        total = mp.mpf(0)
        for column in range(len(alpha[0])):
            z = [mp.mpf(row[column]) * mp.fdot(x, z) for row, z in zip(alpha, X, strict=True)]
            # The derivation's two source points stand for any two: squares once, then each pair's cross term.
            for p in range(len(X)):
                total += _square(chain, z[p], mp.mpf(0), three(p, p), mp.mpf(0))
                total += mp.fsum(
                    _square(chain, z[p], z[q], three(p, p), three(p, q), three(q, q))
                    - _square(chain, z[p], mp.mpf(0), three(p, p), mp.mpf(0))
                    - _square(chain, z[q], mp.mpf(0), three(q, q), mp.mpf(0))
                    for q in range(p)
                )
        # m times the value per width.
        values.append(evaluate(chain.results["per width"], {fresh_head.square: total, width: mp.mpf(7)}) * 7)
    return values


def _square(chain: Chain, z_1: Any, z_2: Any, T_11: Any, T_12: Any, T_22: Any = 0) -> Any:
    given: dict[Expression, Any] = {fresh_head.z_1: z_1, fresh_head.z_2: z_2}
    return evaluate(chain.results["mean square"], given | {fresh_head.T_11: T_11, fresh_head.T_12: T_12, fresh_head.T_22: mp.mpf(T_22)})


def _fresh_scale(case: Case) -> list[float]:
    inner = np.abs(np.array(case["source_inputs"])) @ np.abs(np.array(case["target_inputs"])).T
    return [float(v) for v in (np.abs(np.array(case["coefficients"])).sum(axis=1) @ inner) ** 2]


def _call_hessian(twin: Callable[..., Any], case: Case) -> Values:
    return modes.flat(twin(np.array(case["weights"]), modes.columns(case["readouts"]), np.array(case["inputs"])))


def _closed_hessian(chain: Chain, case: Case) -> Values:
    W, a, X = case["weights"], case["readouts"], case["inputs"]
    rows = []
    for k in range(len(a[0])):
        for x in X:
            row = []
            for w, signs in zip(W, a, strict=True):
                given = {flatness.readout: mp.mpf(signs[k]), flatness.gate: int(mp.fdot(w, x) > 0)}
                row += [evaluate(chain.results["derivative"], given | {flatness.x_1: mp.mpf(v)}) / mp.sqrt(len(W)) for v in x]
            rows.append(row)
    Z = mp.matrix(rows)
    H = evaluate(chain.results["gram"], {flatness.K: mp.matrix([[_products(chain, u, v) for v in rows] for u in rows])})
    assert (H.rows, H.cols) == (Z.rows, Z.rows)
    return sorted(mp.eigsy(H, eigvals_only=True))


def _products(chain: Chain, u: list[Any], v: list[Any]) -> Any:
    return mp.fsum(evaluate(chain.results["hessian"], {flatness.z_1: a, flatness.z_2: b}) for a, b in zip(u, v, strict=True))


def _hessian_scale(case: Case) -> float:
    return scales.norm(case["inputs"]) ** 2 * len(case["readouts"][0])


ENTRIES = (
    Entry(
        name="fresh_head",
        title="A fresh output head",
        statement="m E u'(x)² = Σ_pq α_p α_q (x_p·x)(x_q·x) (½ − (θ_xp + θ_xq + θ_pq)/(4π)) and E u' = 0 for what pretraining with "
        "coefficients α adds to the outputs of a head of new independent signs: ỹ → y_Q and G → 0 like m^{-1/2}. What "
        "pretraining does for new classes needs the kernel to change.",
        derivation=fresh_head.chain,
        closed_form=_closed_fresh,
        twin=ruled_out.fresh_head_energy,
        call=_call_fresh,
        definition=literal.fresh_head,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=_fresh_scale, scale_text="(Σ |α_p| |x_p|·|x|)²"),
        domain=Domain(description="non-zero rows, any coefficients, a linearised pretraining stage", draw=literal.draw_fresh, cases=4),
        evidence=Evidence(
            kind="rate", detail="outputs and gain of trained nets with fresh heads, and the change of their kernel, against width"
        ),
        source="Independence of the signs; three half-spaces by inclusion and exclusion",
    ),
    Entry(
        name="equal_flatness",
        title="Equal flatness",
        statement="The Hessian of ½‖u(W) − y‖² of a two-layer ReLU net is ZᵀZ almost everywhere, Z = ∂u/∂W; its non-zero eigenvalues "
        "are those of the Gram matrix ZZᵀ = H(W), whatever y. H(W(Q)) → H from either start, so flatter minima need the kernel to "
        "change.",
        derivation=flatness.chain,
        closed_form=_closed_hessian,
        twin=ruled_out.hessian_eigenvalues,
        call=_call_hessian,
        definition=literal.hessian,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=_hessian_scale, scale_text="c ‖X‖²"),
        domain=Domain(description="any weights, inputs off the kinks, one or more outputs", draw=literal.draw_net, cases=4),
        evidence=Evidence(kind="rate", detail="difference of the kernels after fine-tuning and after training from scratch, against width"),
        source="The Gauss-Newton matrix of a piecewise linear model",
    ),
)
"""In the order they are shown and checked."""
