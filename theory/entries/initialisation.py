"""Entries of what random initial weights do: covariance of the outputs, sampling error of the Gram matrix, and its rank."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import mpmath as mp
import numpy as np

from theory.definitions import cases, gates, random_start, rank, start_cases
from theory.definitions.linear_model import matrix
from theory.entries import modes, scales
from theory.formula import Case, Chain, Domain, Entry, Evidence, Tolerance, Values
from theory.numeric import degeneracy, gram_fluctuation, initialisation, vector_labels
from theory.symbolic import degeneracy as degeneracy_chain
from theory.symbolic import gram_fluctuation as fluctuation_chain
from theory.symbolic import output_kernel
from theory.symbolic import vector_labels as vector_chain
from theory.symbolic.algebra import evaluate
from theory.symbolic.notation import kappa, m, theta

_LITERAL = "all patterns of gates and signs, summed literally; and finite nets, by z"


def pair(x: Any, z: Any) -> tuple[Any, Any, Any, Any]:
    """Inner product, norms and angle of two rows, with digits to spare for the angle."""
    with mp.workdps(2 * mp.mp.dps + 20):
        inner = mp.fsum(mp.mpf(a) * b for a, b in zip(x, z, strict=True))
        norms = [mp.sqrt(mp.fsum(mp.mpf(a) ** 2 for a in v)) for v in (x, z)]
        return inner, *norms, mp.acos(min(max(inner / (norms[0] * norms[1]), mp.mpf(-1)), mp.mpf(1)))


# Outputs ------------------------------------------------------------------------------------------------------------------------


def _call_outputs(twin: Callable[..., Any], case: Case) -> Values:
    return modes.flat(case["kappa"] ** 2 * np.asarray(twin(np.array(case["X"]), np.array(case["Z"]))))


def _closed_outputs(chain: Chain, case: Case) -> Values:
    values = []
    for x in case["X"]:
        for z in case["Z"]:
            _, x_norm, z_norm, angle = pair(x, z)
            given = {output_kernel.x_norm: x_norm, output_kernel.z_norm: z_norm, theta: angle, kappa: mp.mpf(case["kappa"])}
            values.append(evaluate(chain.results["closed form"], given))
    return values


def _outputs_scale(case: Case) -> list[float]:
    return [case["kappa"] ** 2 * float(np.linalg.norm(x) * np.linalg.norm(z)) / 2 for x in case["X"] for z in case["Z"]]


# The Gram matrix's sampling error -----------------------------------------------------------------------------------------------


def _call_points(twin: Callable[..., Any], case: Case) -> Values:
    return modes.flat(twin(np.array(case["X"])))


def _pairwise(chain: Chain, name: str, rows: list[list[float]], **given: Any) -> Any:
    """A chain's result for every pair of rows, as a matrix."""
    n = len(rows)
    values = mp.matrix(n, n)
    for i in range(n):
        for j in range(n):
            inner, _, _, angle = pair(rows[i], rows[j])
            values[i, j] = evaluate(chain.results[name], {fluctuation_chain.inner: inner, theta: angle, **given.get("symbols", {})})
    return values


def _closed_entry(chain: Chain, case: Case) -> Values:
    return list(_pairwise(chain, "neuron", case["X"]))


def _largest(case: Case, power: int) -> float:
    return float(np.linalg.norm(np.array(case["X"]))) ** power


def _closed_matrix(chain: Chain, case: Case) -> Values:
    rows, n = case["X"], len(case["X"])
    pairs = [[pair(x, z) for z in rows] for x in rows]
    angle = {name: getattr(fluctuation_chain, name) for name in ("theta_12", "theta_13", "theta_23")}
    values = []
    for i in range(n):
        for j in range(n):
            total = mp.mpf(0)
            for k in range(n):
                given = {angle["theta_12"]: pairs[i][k][3], angle["theta_13"]: pairs[i][j][3], angle["theta_23"]: pairs[k][j][3]}
                both = [(mp.pi - pairs[a][b][3]) / (2 * mp.pi) for a, b in ((i, k), (k, j))]
                total += pairs[i][k][0] * pairs[k][j][0] * (evaluate(chain.results["triple"], given) - both[0] * both[1])
            values.append(total)
    return values


def _call_error(twin: Callable[..., Any], case: Case) -> Values:
    return [twin(np.array(case["X"]), case["width"], case["antisymmetric"])]


def _closed_error(chain: Chain, case: Case) -> Values:
    name = "antisymmetric" if case["antisymmetric"] else "independent"
    return [mp.fsum(_pairwise(chain, name, case["X"], symbols={m: mp.mpf(case["width"])}))]


def _error_scale(case: Case) -> float:
    return _largest(case, 4) / case["width"]


# Several outputs ----------------------------------------------------------------------------------------------------------------


def _options(case: Case) -> dict[str, Any]:
    return {"readouts": case["readouts"], "antisymmetric": case["antisymmetric"]}


def _independent(case: Case) -> int:
    return case["width"] // 2 if case["antisymmetric"] else case["width"]


def _call_vector(twin: Callable[..., Any], case: Case) -> Values:
    return [twin(np.array(case["X"]), case["n_outputs"], case["width"], **_options(case))]


def _closed_vector(chain: Chain, case: Case) -> Values:
    total = mp.mpf(0)
    for x in case["X"]:
        for z in case["X"]:
            inner, _, _, angle = pair(x, z)
            given = {
                fluctuation_chain.inner: inner,
                fluctuation_chain.p: (mp.pi - angle) / (2 * mp.pi),
                vector_chain.outputs: case["n_outputs"],
                m: mp.mpf(_independent(case)),
            }
            total += evaluate(chain.results[case["readouts"]], given)
    return [total]


def _vector_scale(case: Case) -> float:
    return case["n_outputs"] ** 2 * _error_scale(case)


def _call_readout(twin: Callable[..., Any], case: Case) -> Values:
    return [twin(np.array(case["residual"]), case["width"], **_options(case))]


def _closed_readout(chain: Chain, case: Case) -> Values:
    if case["readouts"] == "orthogonal":
        return [mp.mpf(0)]
    E = matrix(case["residual"])
    M = E.T * E
    given = {m: mp.mpf(_independent(case))}
    pairs = combinations(range(M.rows), 2)
    return [mp.fsum(evaluate(chain.results["pair"], {**given, vector_chain.e_12: M[p, q]}) for p, q in pairs)]


def _readout_scale(case: Case) -> float:
    return scales.norm(case["residual"]) ** 4


# Rank ---------------------------------------------------------------------------------------------------------------------------


def _call_rank(twin: Callable[..., Any], case: Case) -> Values:
    return [twin(np.array(case["X"])).rank]


def _closed_rank(chain: Chain, case: Case) -> Values:
    """Counts from the rows as floats, which the cases keep well apart."""
    X = np.array([row for row in case["X"] if any(row)])
    units = X / np.linalg.norm(X, axis=1, keepdims=True)
    distinct: list[np.ndarray] = []
    for u in units:
        if all(np.linalg.norm(u - v) > 1e-6 for v in distinct):
            distinct.append(u)
    axes = [u for i, u in enumerate(distinct) if any(np.linalg.norm(u + v) < 1e-6 for v in distinct[:i])]
    span = int(np.linalg.matrix_rank(np.array(axes))) if axes else 0
    given = {degeneracy_chain.directions: len(distinct), degeneracy_chain.pairs: len(axes), degeneracy_chain.span: span}
    return [int(evaluate(chain.results["rank"], given))]


ENTRIES = (
    Entry(
        name="output_kernel",
        title="Covariance of the initial outputs",
        statement="E[u(x) u(z)] = κ²Σ(x, z), Σ = ‖x‖‖z‖ (sin θ + (π − θ) cos θ)/(2π) = E[σ(w·x)σ(w·z)], w ~ N(0, I): exact at any width "
        "for independent neurons with random signs.",
        derivation=output_kernel.chain,
        closed_form=_closed_outputs,
        twin=initialisation.output_kernel,
        call=_call_outputs,
        definition=random_start.output_covariance,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=_outputs_scale, scale_text="κ²‖x‖‖z‖/2"),
        domain=Domain(description="x, z ≠ 0 of any norm and dimension, κ > 0", draw=cases.inputs, cases=2),
        evidence=Evidence(kind="monte-carlo", detail="mean square of the initial outputs of finite nets, by its z"),
        source="Cho and Saul 2009, arc-cosine kernel of degree 1, halved",
    ),
    Entry(
        name="gram_entry_variance",
        title="Variance of an entry of the Gram matrix",
        statement="One neuron's part of H(W(0))ᵢⱼ has variance (xᵢ·xⱼ)² p(1 − p), p = (π − θ)/(2π); the mean of m of them 1/m of it.",
        derivation=fluctuation_chain.entry_variance,
        closed_form=_closed_entry,
        twin=gram_fluctuation.gram_entry_variance,
        call=_call_points,
        definition=gates.entry_variance,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=lambda case: _largest(case, 4), scale_text="‖X‖⁴"),
        domain=Domain(description="rows of any norm; here three in two or three dimensions", draw=start_cases.points, cases=6),
        evidence=Evidence(kind="exact", detail="all patterns of one neuron's gates, with their solid angles"),
        source="A Bernoulli variable times x·z",
    ),
    Entry(
        name="expected_gram_error",
        title="Sampling error of the Gram matrix",
        statement="E‖H(W(0)) − H‖_F² = (1/m) Σᵢⱼ (xᵢ·xⱼ)² pᵢⱼ(1 − pᵢⱼ) for m independent neurons; twice that for antisymmetric nets.",
        derivation=fluctuation_chain.entry_variance,
        closed_form=_closed_error,
        twin=gram_fluctuation.expected_gram_error,
        call=_call_error,
        definition=gates.gram_error,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=_error_scale, scale_text="‖X‖⁴/m"),
        domain=Domain(description="any rows, m ≥ 1, even when antisymmetric", draw=start_cases.net, cases=8),
        evidence=Evidence(kind="monte-carlo", detail="squared distance of finite nets' H(W(0)) from H, by its z"),
        source="Independent neurons",
    ),
    Entry(
        name="gram_matrix_variance",
        title="Matrix variance of the Gram matrix",
        statement="E(A − H)² for one neuron's part A = D XXᵀ D: E[A²]ᵢⱼ = Σ_k Gᵢₖ Gₖⱼ Pᵢₖⱼ, P = ½ − (θᵢₖ + θₖⱼ + θᵢⱼ)/(4π) the probability "
        "that all three are active; = ½(HG + GH) − ¼G² + ½p∘G². That of H(W(0)) is a share 1/m of it.",
        derivation=fluctuation_chain.matrix_variance,
        closed_form=_closed_matrix,
        twin=gram_fluctuation.gram_matrix_variance,
        call=_call_points,
        definition=gates.matrix_variance,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=lambda case: _largest(case, 4), scale_text="‖X‖⁴"),
        domain=Domain(description="rows of any norm; here three in two or three dimensions", draw=start_cases.points, cases=6),
        evidence=Evidence(
            kind="monte-carlo", detail="mean of (H(W(0)) − H)² over finite nets, its trace and largest eigenvalue, by their z"
        ),
        source="Inclusion and exclusion, and w → −w",
    ),
    Entry(
        name="expected_vector_gram_error",
        title="Sampling error of the Gram matrix, several outputs",
        statement="E‖K − I_c⊗H‖² = (1/m) Σ G² [c p(1 − p) + c(c − 1) p] for independent signs, (1/m) Σ G² c² p(1 − p) for orthogonal "
        "columns.",
        derivation=vector_chain.gram_error,
        closed_form=_closed_vector,
        twin=vector_labels.expected_vector_gram_error,
        call=_call_vector,
        definition=gates.vector_gram_error,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=_vector_scale, scale_text="c²‖X‖⁴/m"),
        domain=Domain(
            description="c ≥ 1; readouts ±1, independent or aᵀa = m I; m neurons, or m/2 pairs", draw=start_cases.outputs, cases=8
        ),
        evidence=Evidence(kind="monte-carlo", detail="squared distance of finite nets' K from I ⊗ H, both kinds of readouts, by their z"),
        source="Independent neurons",
    ),
    Entry(
        name="readout_energy_variance",
        title="Gradient energy with several outputs",
        statement="‖∂L/∂X¹‖_F² = ‖U − Y‖_F² exactly for orthogonal sign columns; for independent signs that is its mean, and its variance "
        "is (2/m) Σ_{p≠q} (EᵀE)_pq², E = U − Y held fixed.",
        derivation=vector_chain.readout_energy,
        closed_form=_closed_readout,
        twin=vector_labels.readout_energy_variance,
        call=_call_readout,
        definition=gates.readout_energy_variance,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=_readout_scale, scale_text="‖E‖⁴"),
        domain=Domain(description="any residual of c ≥ 1 outputs; readouts as above", draw=start_cases.residuals, cases=6),
        evidence=Evidence(kind="exact", detail="all readouts of a few neurons, their gradients squared"),
        source="A quadratic form of independent signs",
    ),
    Entry(
        name="degeneracy",
        title="Rank of the ReLU Gram matrix, and why",
        statement="rank H = (distinct directions) − (opposite pairs − dimension of their span); so H is singular iff a row repeats "
        "another's direction (or is zero), or the rows x whose −x is there too are linearly dependent, as x 1{w·x > 0} + x 1{w·x < 0} = x.",
        derivation=degeneracy_chain.chain,
        closed_form=_closed_rank,
        twin=degeneracy.degeneracy,
        call=_call_rank,
        definition=rank.of_gram,
        tolerance=Tolerance(kind="exact", multiple=0),
        domain=Domain(description="any finite floats, taken as the rationals they are", draw=start_cases.degenerate, cases=6),
        evidence=Evidence(kind="exact", detail="rank of the 50-digit Gram matrix, its entries averaged over w"),
        source="The jump of a combination of features across a hyperplane w·x = 0",
    ),
)
"""In the order they are shown and checked."""
