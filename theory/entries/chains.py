"""Entries of chains of stages, of sweeps through sets, and of sequential against joint training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np

from theory.chain import ChainGram, Stage, predict_chain
from theory.definitions import chains as literal
from theory.definitions.cases import eigenvalues
from theory.definitions.linear_model import matrix
from theory.entries import modes, scales
from theory.formula import Case, Chain, Domain, Entry, Evidence, Expression, Tolerance, Values
from theory.numeric import chains, joint
from theory.numeric.spectrum import GramSpectrum
from theory.symbolic import chains as derived
from theory.symbolic import filters
from theory.symbolic import joint as derived_joint
from theory.symbolic import notation as s
from theory.symbolic.algebra import evaluate

_EXACT = Evidence(kind="exact", detail="gradient descent on the weights of a linear model in every stage, run literally")
_CHAIN = "Gram blocks from shared features, regular or singular; u(0) = 0; 0 < η < 2/λ_max; any steps, or to the end; sets met again"
_PAIR = "H_P and H_Q regular, any cross block"


def _spectra(case: Case) -> tuple[list[GramSpectrum], list[list[np.ndarray]], list[np.ndarray]]:
    """Spectra, blocks below the diagonal and labels of the sets, in float64; products of the cases' features are exact."""
    F = [np.array(rows) for rows in case["sets"]]
    cross = [[X @ Z.T for Z in F[:a]] for a, X in enumerate(F)]
    labels = [modes.columns(rows) for rows in case.get("labels", [])]
    return [GramSpectrum.of(X @ X.T) for X in F], cross, labels


# Chains -------------------------------------------------------------------------------------------------------------------------


def _call_recursion(twin: Callable[..., Any], case: Case) -> Values:
    spectra, cross, labels = _spectra(case)
    results = twin(spectra, cross, labels, case["order"], case["lr"], case["steps"])
    return [v for r in results for array in (r.remaining, *r.residuals) for v in modes.flat(array)]


def _call_displacement(twin: Callable[..., Any], case: Case) -> Values:
    spectra, cross, labels = _spectra(case)
    results = chains.run_chain(spectra, cross, labels, case["order"], case["lr"], case["steps"])
    gammas = [r.coefficients for r in results]
    return [twin(spectra, cross, case["order"][:i], gammas[:i]) for i in range(1, len(gammas) + 1)]


def _call_outputs(twin: Callable[..., Any], case: Case) -> Values:
    F = [np.array(rows) for rows in case["sets"]]
    test = np.array(case["test_features"])
    # Inputs are placeholders: the kernel is given.
    pairs = [(np.ones((len(X), 1)), modes.columns(rows)) for X, rows in zip(F, case["labels"], strict=True)]
    plan = [Stage(pairs[a][0], pairs[a][1], k, lr) for a, k, lr in zip(case["order"], case["steps"], case["lr"], strict=True)]
    gram = ChainGram(
        within=tuple(X @ X.T for X in F),
        cross=tuple(tuple(X @ Z.T for Z in F[:a]) for a, X in enumerate(F)),
        test=tuple(test @ X.T for X in F),
    )
    outcome = twin(plan, (np.ones((len(test), 1)), np.zeros((len(test), *pairs[0][1].shape[1:]))), gram=gram)
    return [*(v for u in outcome.test_outputs for v in modes.flat(u)), *outcome.forgetting(0)]


def _closed_stages(chain: Chain, case: Case) -> list[tuple[Any, Any]]:
    """`ỹ_s` and `γ_s` of each stage, the derivation's recursion used with at most two stages before."""
    F, Y = [matrix(rows) for rows in case["sets"]], [matrix(rows) for rows in case["labels"]]
    stages: list[tuple[Any, Any]] = []
    for i, a in enumerate(case["order"]):
        given = _before(F, Y, case["order"], [gamma for _, gamma in stages], a)
        given[derived.phi_s] = modes.filter_matrix(filters.integral(), F[a], case["lr"][i], case["steps"][i])
        stages.append((evaluate(chain.results["remaining"], given), evaluate(chain.results["coefficients"], given)))
    return stages


def _before(F: list[Any], Y: list[Any], order: list[int], gammas: list[Any], a: int) -> dict[Expression, Any]:
    """Symbols of the first two stages as they are seen on set `a`; a stage that is not there yet has coefficients zero."""
    given: dict[Expression, Any] = {derived.l_s: Y[a]}
    for j, (block, gamma) in enumerate(((derived.H_s1, derived.gamma_1), (derived.H_s2, derived.gamma_2))):
        b = order[j]
        given[block] = F[a] * F[b].T
        given[gamma] = gammas[j] if j < len(gammas) else mp.zeros(F[b].rows, Y[b].cols)
    return given


def _left(chain: Chain, case: Case, gammas: list[Any], a: int) -> Any:
    """What all stages so far leave on set `a`."""
    F, Y = [matrix(rows) for rows in case["sets"]], [matrix(rows) for rows in case["labels"]]
    given = _before(F, Y, case["order"], gammas[:2], a)
    third = case["order"][2]
    given[derived.H_s] = F[a] * F[third].T
    given[derived.gamma_s] = gammas[2] if len(gammas) > 2 else mp.zeros(F[third].rows, Y[third].cols)
    return evaluate(chain.results["after"], given)


def _closed_recursion(chain: Chain, case: Case) -> Values:
    stages = _closed_stages(chain, case)
    gammas = [gamma for _, gamma in stages]
    values: Values = []
    for i, (remaining, _) in enumerate(stages):
        values += list(remaining)
        for a in range(len(case["sets"])):
            values += list(_left(chain, case, gammas[: i + 1], a))
    return values


def _closed_displacement(chain: Chain, case: Case) -> Values:
    F = [matrix(rows) for rows in case["sets"]]
    gammas = [gamma for _, gamma in _closed_stages(derived.recursion(), case)]
    totals = []
    for count in range(1, len(gammas) + 1):
        square = mp.mpf(0)
        for i in range(count):
            for j in range(count):
                block = F[case["order"][i]] * F[case["order"][j]].T
                if i == j:
                    given = {derived.gamma_s: gammas[i], derived.gamma_st: gammas[i].T, derived.H_s: block}
                else:
                    given = {derived.gamma_1t: gammas[i].T, derived.H_12: block, derived.gamma_2: gammas[j]}
                product = evaluate(chain.results["stage" if i == j else "pair"], given)
                square += mp.fsum(product[k, k] for k in range(product.rows))
        totals.append(mp.sqrt(square))
    return totals


def _closed_outputs(chain: Chain, case: Case) -> Values:
    F, Y, F_x = [matrix(rows) for rows in case["sets"]], [matrix(rows) for rows in case["labels"]], matrix(case["test_features"])
    gammas = [gamma for _, gamma in _closed_stages(chain, case)]
    values: Values = []
    for count in range(1, 4):
        given: dict[Expression, Any] = {}
        triples = ((derived.h_1, derived.gamma_1), (derived.h_2, derived.gamma_2), (derived.h_s, derived.gamma_s))
        for j, (rows, gamma) in enumerate(triples):
            b = case["order"][j]
            given[rows] = F_x * F[b].T
            given[gamma] = gammas[j] if j < count else mp.zeros(F[b].rows, Y[b].cols)
        values += list(evaluate(chain.results["outputs"], given))
    losses = [mp.fsum(v * v for v in _left(chain, case, gammas[:count], 0)) / 2 for count in range(1, 4)]
    return [*values, *(loss - losses[0] for loss in losses[1:])]


def _weights_scale(case: Case) -> float:
    """Size, condition included, of the weights after the chain."""
    weights = 0.0
    for a, lr, steps in zip(case["order"], case["lr"], case["steps"], strict=True):
        F = case["sets"][a]
        left = scales.norm(case["labels"][a]) + scales.norm(F) * weights
        weights += scales.norm(F) * scales.reach(F, lr, steps) * scales.condition(F, lr, steps) * left
    return weights


def _recursion_scale(case: Case) -> float:
    return max(scales.norm(case["labels"][a]) for a in case["order"]) + max(map(scales.norm, case["sets"])) * _weights_scale(case)


def _outputs_scale(case: Case) -> list[float]:
    count = 3 * len(case["test_features"]) * len(case["labels"][0][0])
    return [scales.norm(case["test_features"]) * _weights_scale(case)] * count + [_recursion_scale(case) ** 2] * 2


# Sweeps -------------------------------------------------------------------------------------------------------------------------


def _call_sweep(twin: Callable[..., Any], case: Case) -> Values:
    F = np.concatenate([np.array(rows) for rows in case["sets"]])
    return modes.flat(twin(F @ F.T, [len(rows) for rows in case["sets"]], case["lr"], case["steps"]))


def _closed_sweep(chain: Chain, case: Case) -> Values:
    F_P, F_Q = (matrix(rows) for rows in case["sets"])
    n = F_P.rows + F_Q.rows
    given: dict[Expression, Any] = {s.H_QP: F_Q * F_P.T, s.H_PQ: F_P * F_Q.T}
    given |= {s.l_P: mp.eye(n)[0 : F_P.rows, :], s.l_Q: mp.eye(n)[F_P.rows : n, :]}
    for i, (F, q, phi) in enumerate(((F_P, s.q_P, s.phi_P), (F_Q, s.q_Q, s.phi_Q))):
        stage = case["lr"][i], case["steps"][i]
        given |= {q: modes.filter_matrix(filters.residual(), F, *stage), phi: modes.filter_matrix(filters.integral(), F, *stage)}
    return [*evaluate(chain.results["first"], given), *evaluate(chain.results["second"], given)]


def _sweep_scale(case: Case) -> float:
    size = 1.0
    for F, lr, steps in zip(case["sets"], case["lr"], case["steps"], strict=True):
        largest = max(map(scales.norm, case["sets"]))
        size *= 1 + largest**2 * scales.reach(F, lr, steps) * scales.condition(F, lr, steps)
    return size


def _pair_of(case: Case) -> tuple[GramSpectrum, GramSpectrum, np.ndarray]:
    (P, Q), cross, _ = _spectra(case)
    return P, Q, cross[1][0]


def _round(case: Case) -> dict[Expression, Any]:
    F_P, F_Q = (matrix(rows) for rows in case["sets"])
    return {s.H_P: F_P * F_P.T, s.H_Q: F_Q * F_Q.T, s.H_QP: F_Q * F_P.T, s.H_PQ: F_P * F_Q.T}


def _call_alternating(twin: Callable[..., Any], case: Case) -> Values:
    return [twin(*_pair_of(case))]


def _closed_alternating(chain: Chain, case: Case) -> Values:
    there_and_back = evaluate(chain.results["round"], _round(case) | {s.l_P: mp.eye(len(case["sets"][0]))})
    # On the mode with the largest eigenvalue ρ² the factor is ρ² itself.
    largest = max(mp.re(v) for v in mp.eig(there_and_back, left=False, right=False))
    return [evaluate(chain.results["factor"], {derived.cosine: mp.sqrt(largest), s.c: mp.mpf(1)})]


def _call_canonical(twin: Callable[..., Any], case: Case) -> Values:
    return modes.flat(twin(*_pair_of(case)))


def _closed_canonical(chain: Chain, case: Case) -> Values:
    values = mp.eig(evaluate(chain.results["there and back"], _round(case)), left=False, right=False)
    return sorted((mp.re(v) for v in values), reverse=True)


def _conditions(case: Case) -> float:
    return float(np.prod([scales.spread({"features": F}) for F in case["sets"]]))


# Joint training -----------------------------------------------------------------------------------------------------------------


def _call_joint(twin: Callable[..., Any], case: Case) -> Values:
    P, Q, H_QP = _pair_of(case)
    found = twin(P, Q, H_QP, *(modes.columns(rows) for rows in case["labels"]))
    return [found.source, found.sequential, found.joint, found.repair]


def _closed_joint(chain: Chain, case: Case) -> Values:
    blocks = _round(case)
    y_P, y_Q = (matrix(rows) for rows in case["labels"])
    inverse = mp.inverse(blocks[s.H_P])
    left = y_Q - blocks[s.H_QP] * (inverse * y_P)
    given = blocks | {
        derived_joint.left: left,
        derived_joint.left_t: left.T,
        derived_joint.S: blocks[s.H_Q] - blocks[s.H_QP] * inverse * blocks[s.H_PQ],
        derived_joint.T: blocks[s.H_P] - blocks[s.H_PQ] * mp.inverse(blocks[s.H_Q]) * blocks[s.H_QP],
        derived_joint.row_P: y_P.T,
        s.l_P: y_P,
    }
    source, moved, extra, repair = (
        mp.fsum(value[i, i] for i in range(value.rows))
        for value in (evaluate(chain.results[name], given) for name in ("source", "sequential", "joint", "repair"))
    )
    return [source, moved, extra, repair]


def _joint_scale(case: Case) -> float:
    F_P, F_Q = case["sets"]
    both = [*F_P, *F_Q]
    size = scales.norm(case["labels"][0]) ** 2 + scales.norm(case["labels"][1]) ** 2
    return size / eigenvalues(both)[0] * scales.spread({"features": both}) ** 2


def _exactly(words: str) -> Evidence:
    return Evidence(kind="exact", detail=words)


ENTRIES = (
    Entry(
        name="chain_recursion",
        title="A chain of stages",
        statement="ỹ_s = y_s − Σ_{j<s} H_sj γ_j, γ_s = φ_k(H_s) ỹ_s: what is left on a set before its stage, and on every set after.",
        derivation=derived.recursion,
        closed_form=_closed_recursion,
        twin=chains.run_chain,
        call=_call_recursion,
        definition=literal.recursion,
        tolerance=Tolerance(
            kind="dtype", multiple=16, scale=_recursion_scale, scale_text="‖y‖ + ‖F‖ ‖W‖, condition of all stages included"
        ),
        domain=Domain(description=_CHAIN, draw=literal.draw_chain, cases=6),
        evidence=_EXACT,
        source="Each stage is the first with ỹ for y",
    ),
    Entry(
        name="chain_displacement",
        title="Displacement after a chain of stages",
        statement="‖W_s − W_0‖_F = √(Σ_ij γᵢᵀ H_ij γ_j) over all stages up to s; a stage alone moves the weights by √(γ_sᵀ H_s γ_s).",
        derivation=derived.displacement,
        closed_form=_closed_displacement,
        twin=chains.total_displacement,
        call=_call_displacement,
        definition=literal.displacement,
        # The square loses the digits of what cancels in it.
        tolerance=Tolerance(kind="dtype", multiple=16, scale=_weights_scale, scale_text="Σ ‖F_s‖ ‖γ_s‖, condition of all stages included"),
        domain=Domain(description=_CHAIN, draw=literal.draw_chain, cases=6),
        evidence=_EXACT,
        source="The weights move by F_sᵀγ_s in stage s",
    ),
    Entry(
        name="chain_outputs",
        title="Outputs and forgetting in a chain of stages",
        statement="f_s(x) = Σ_{j≤s} h_j(x)ᵀ γ_j; the loss on the first set may rise or fall over each later stage.",
        derivation=derived.recursion,
        closed_form=_closed_outputs,
        twin=predict_chain,
        call=_call_outputs,
        definition=literal.outputs,
        tolerance=Tolerance(
            kind="dtype", multiple=16, scale=_outputs_scale, scale_text="‖F_x‖ ‖W‖, and the square of ‖y‖ + ‖F‖ ‖W‖ for losses"
        ),
        domain=Domain(description=_CHAIN, draw=literal.draw_chain, cases=6),
        evidence=_EXACT,
        source="The weights after each stage",
    ),
    Entry(
        name="sweep_matrix",
        title="A sweep through all sets",
        statement="r ← E r, for two sets r_P' = q_P r_P − H_PQ φ_Q (r_Q − H_QP φ_P r_P) and r_Q' = q_Q (r_Q − H_QP φ_P r_P); to the end "
        "E = I − H L⁻¹, L the block lower triangle (Gauss-Seidel), and sweeps converge to joint training.",
        derivation=derived.sweep,
        closed_form=_closed_sweep,
        twin=chains.sweep_matrix,
        call=_call_sweep,
        definition=literal.sweep,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=_sweep_scale, scale_text="Π (1 + ‖F‖² φ (1 + λ_max φ))"),
        domain=Domain(description=_CHAIN, draw=literal.draw_sweep, cases=6),
        evidence=_EXACT,
        source="Block Gauss-Seidel (Young 1971, chapter 14)",
    ),
    Entry(
        name="canonical_correlations",
        title="Squared canonical correlations of two sets",
        statement="Eigenvalues of H_PQ H_Q⁻¹ H_QP H_P⁻¹: squared cosines of the angles between the weights that either set can move.",
        derivation=derived_joint.canonical,
        closed_form=_closed_canonical,
        twin=joint.squared_canonical_correlations,
        call=_call_canonical,
        definition=literal.canonical,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=_conditions, scale_text="κ(H_P) κ(H_Q)"),
        domain=Domain(description=_PAIR, draw=literal.draw_pair, cases=4),
        evidence=_exactly("cosines between orthonormal bases of both spans"),
        source="Hotelling 1936",
    ),
    Entry(
        name="alternating_rate",
        title="Rate of alternating training",
        statement="Each round of P to the end, then Q to the end, multiplies what is left on P by H_PQ H_Q⁻¹ H_QP H_P⁻¹; its largest "
        "eigenvalue is the largest squared canonical correlation, at most 1.",
        derivation=derived.alternating,
        closed_form=_closed_alternating,
        twin=chains.alternating_rate,
        call=_call_alternating,
        definition=literal.alternating,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=_conditions, scale_text="κ(H_P) κ(H_Q)"),
        domain=Domain(description=_PAIR, draw=literal.draw_pair, cases=4),
        evidence=_exactly("a round of gradient descent to the end on each set, run literally for every label"),
        source="Gauss-Seidel with two blocks",
    ),
    Entry(
        name="sequential_joint",
        title="Sequential against joint training",
        statement="ỹᵀH_Q⁻¹ỹ ≤ ỹᵀ(H_Q − H_QP H_P⁻¹ H_PQ)⁻¹ỹ = B_joint² − B_P², B² = yᵀH⁻¹y: from W(P) the joint fit is at least as "
        "far as the sequential one; the excess uᵀT⁻¹u, u = H_PQ H_Q⁻¹ ỹ, T = H_P − H_PQ H_Q⁻¹ H_QP, is zero iff "
        "fine-tuning forgets nothing.",
        derivation=derived_joint.chain,
        closed_form=_closed_joint,
        twin=joint.sequential_and_joint,
        call=_call_joint,
        definition=literal.joint,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=_joint_scale, scale_text="(‖y_P‖² + ‖y_Q‖²) κ(H)²/λ_min(H), H of both sets"),
        domain=Domain(description="The Gram matrix of both sets together regular, any labels", draw=literal.draw_pair, cases=6),
        evidence=_exactly("the shortest weights that fit both sets, solved literally, and both stages of a linear model run to the end"),
        source="Schur complement and Woodbury's identity",
    ),
)
"""In the order they are shown and checked."""
