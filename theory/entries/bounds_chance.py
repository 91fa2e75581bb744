"""Bounds over the random start, and what they give together: hold with a stated probability."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any

import mpmath as mp
import numpy as np

from theory.bounds import chance, generalisation, guarantee, initial_kernel
from theory.bounds.initial_kernel import operator_norm
from theory.definitions import network, problems
from theory.entries.bounds_run import Pairs
from theory.formula import Bound, Case, Domain, Evidence
from theory.numeric.gram import relu_gram
from theory.numeric.gram_fluctuation import expected_gram_error, gram_matrix_variance
from theory.problem import Schedule
from theory.symbolic import chance as derived
from theory.symbolic import generalisation_at_width
from theory.symbolic import guarantee as guaranteed

DELTA = 0.1
"""The probability with which a case of these bounds may fail."""

# Wider nets take too long to train here; `sim` trains one at a documented problem's least width.
_WIDEST = 1 << 13

_ALWAYS = Evidence(kind="exact", detail="the exact tail probability against the promised one")


def _frequency(what: str) -> Evidence:
    return Evidence(kind="frequency", detail=f"{what}, counted over many random starts")


# Tails ---------------------------------------------------------------------------------------------------------------------


def _draw_tail(rng: Random, index: int) -> Case:
    return {"p": rng.choice((2.0 ** rng.uniform(-12, -1), 0.5)), "trials": rng.randint(1, 400), "delta": 10 ** rng.uniform(-4, -0.1)}


def _tail(twin: Callable[..., Any], case: Case) -> Pairs:
    """The probability of more successes than that share of the trials, as the exact binomial sum, against `δ`."""
    share = twin(case["p"], case["trials"], case["delta"])
    with mp.workdps(30):
        p, m = mp.mpf(case["p"]), case["trials"]
        # A share that is whole but for rounding is not exceeded by that number.
        least = math.floor(share * m * (1 + 1e-12)) + 1
        tail = mp.fsum(mp.binomial(m, k) * p**k * (1 - p) ** (m - k) for k in range(least, m + 1))
    return [(float(tail), case["delta"])]


# The kernel at W(0) --------------------------------------------------------------------------------------------------------


def _draw_start(rng: Random, index: int) -> Case:
    n, d = rng.randint(1, 5), rng.randint(1, 6)
    X = problems.unit_inputs(rng, n, d) * np.array([2.0 ** rng.uniform(-1, 1) for _ in range(n)])[:, None]
    return {"X": X.tolist(), "neurons": int(2 ** rng.uniform(0, 9)), "share": rng.uniform(0.1, 0.9), "radius": 2.0 ** rng.uniform(-6, 0)}


def _draw_ball(rng: Random, index: int) -> Case:
    return {**_draw_start(rng, index), "seed": rng.getrandbits(32), "moved": 0.0 if index % 2 else rng.uniform(0, 1)}


def _start(case: Case, neurons: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, Gram matrix and that of neurons drawn for the case's seed."""
    X = np.array(case["X"])
    m = case["neurons"] if neurons is None else neurons
    W = np.random.default_rng(np.random.SeedSequence([case["seed"], m])).standard_normal((m, X.shape[1]))
    return X, relu_gram(X), W


def _gap(X: np.ndarray, H: np.ndarray, W: np.ndarray) -> np.ndarray:
    active = (W @ X.T > 0).astype(float)
    return active.T @ active / len(W) * (X @ X.T) - H


def _bernstein(twin: Callable[..., Any], case: Case) -> Pairs:
    """`‖H(W(0)) − H‖` of drawn neurons, from the exact matrix variance."""
    X, H, W = _start(case)
    largest = max(operator_norm(X @ X.T), operator_norm(H))
    return [(operator_norm(_gap(X, H, W)), twin(operator_norm(gram_matrix_variance(X)), largest, len(X), len(W), DELTA))]


def _mean(twin: Callable[..., Any], case: Case) -> Pairs:
    """`‖H(W(0)) − H‖_F` of drawn neurons, from the exact second moment."""
    X, H, W = _start(case)
    change = float(np.linalg.norm(X @ X.T))
    return [(float(np.linalg.norm(_gap(X, H, W))), twin(expected_gram_error(X, 1), change, len(W), DELTA))]


def _entries(twin: Callable[..., Any], case: Case) -> Pairs:
    """Each entry of `|H(W(0)) − H|` of drawn neurons, as one case."""
    X, H, W = _start(case)
    gap, bound = np.abs(_gap(X, H, W)), twin(X, len(W), DELTA)
    return [(float(max(0.0, g - 1e-15)), float(b)) for g, b in zip(gap.ravel(), bound.ravel(), strict=True)]


def _initial(twin: Callable[..., Any], case: Case) -> Pairs:
    """`‖H(W(0)) − H‖` of drawn neurons."""
    X, H, W = _start(case)
    return [(operator_norm(_gap(X, H, W)), twin(X, len(W), DELTA))]


def _least_eigenvalue(twin: Callable[..., Any], case: Case) -> Pairs:
    """`(1 − ε)λ_min(H)` against `λ_min(H(W(0)))` of as many drawn neurons as are asked for."""
    X, H, _ = _start(case)
    least, share = float(np.linalg.eigvalsh(H)[0]), case["share"]
    if least < 0.02 * operator_norm(H):
        return []
    neurons = twin(least, operator_norm(X), len(X), share, DELTA)
    _, _, W = _start(case, neurons)
    return [((1 - share) * least, float(np.linalg.eigvalsh(_gap(X, H, W) + H)[0]))]


def _reach(twin: Callable[..., Any], case: Case) -> Pairs:
    """Share of drawn neurons with `|w·x| ≤ R‖x‖`, at the point where it is largest."""
    X, _, W = _start(case)
    inside = np.abs(W @ X.T) <= case["radius"] * np.linalg.norm(X, axis=1)
    return [(float(inside.mean(axis=0).max()), twin(case["radius"], 1.0, len(W), len(X), DELTA))]


# Guarantees ----------------------------------------------------------------------------------------------------------------


def _draw_guarantee(rng: Random, index: int) -> Case:
    return {
        "problem": problems.spread_problem(rng, points=2),
        "schedule": problems.schedule(rng, most=8),
        "init_scale": 2.0 ** rng.uniform(-1, 1),
        "wider": 2.0 ** rng.uniform(0, 2),
    }


def _guaranteed(case: Case, find: Callable[..., guarantee.Guarantee]) -> tuple[guarantee.Guarantee, network.NetRun, Schedule] | None:
    """A guarantee at or above the least width, and a net of that width and the case's seed trained literally."""
    problem, schedule, kappa = case["problem"], case["schedule"], case["init_scale"]
    least = guarantee.least_width(problem, schedule, init_scale=kappa, delta=DELTA, wanted=math.inf)
    width = int(2 * math.ceil(least.width * case["wider"] / 2))
    if width > _WIDEST:
        return None
    found = find(problem, schedule, width=width, init_scale=kappa, delta=DELTA)
    X_P, X_Q = problem.source[0], problem.target[0]
    rates = Schedule(
        source_steps=schedule.source_steps,
        target_steps=schedule.target_steps,
        source_lr=1 / float(np.linalg.eigvalsh(relu_gram(X_P))[-1]),
        target_lr=1 / float(np.linalg.eigvalsh(relu_gram(X_Q))[-1]),
    )
    W, a = network.initial(width, X_P.shape[1], kappa, case["seed"])
    return found, network.run(problem, rates, W, a), rates


def _guarantee(twin: Callable[..., Any], case: Case) -> Pairs:
    """A net of at least the least width, trained literally: movement of its neurons, gradient energy, displacement, losses."""
    trained = _guaranteed(case, twin)
    if trained is None:
        return []
    found, net, _ = trained
    problem, bounds = case["problem"], found.bounds
    left_Q, left_P = net.target_outputs - problem.target[1], net.source_outputs - problem.source[1]
    # Where nothing is left to learn the net still moves by rounding.
    pairs = [(max(0.0, net.farthest - 1e-13), found.radius)]
    for value, band in (
        (net.gradient_energy, bounds.gradient_energy),
        (max(0.0, net.displacement - 1e-13), bounds.displacement),
        (float(left_Q @ left_Q) / 2, bounds.target_loss),
        (float(left_P @ left_P) / 2, bounds.source_loss),
    ):
        pairs.append((max(0.0, value - 1e-25), band.high))
        pairs.append((band.low, value + 1e-25))
    return pairs


def _net_complexity(twin: Callable[..., Any], case: Case) -> Pairs:
    """Of nets within reach of a drawn start and near another within that reach, `W(P)`, those that go farthest along each sign pattern's
    gradient, averaged over all patterns: a lower estimate of the empirical Rademacher complexity, which is a supremum.
    """
    X, _, W = _start(case)
    X = X / np.linalg.norm(X, axis=1).max()
    n, m = len(X), len(W)
    a = np.where(np.arange(m) % 2, 1.0, -1.0)
    C = math.sqrt(m) * case["radius"]
    B = case["share"] * C
    # W(P): every neuron somewhere within reach, and room for it to go on in any direction.
    away = np.random.default_rng(case["seed"]).standard_normal(W.shape)
    W_P = W + case["moved"] * case["radius"] * away / np.linalg.norm(away, axis=1, keepdims=True)
    room = (1 - case["moved"]) * case["radius"]
    active = (W_P @ X.T > 0).astype(float)
    best = []
    for pattern in range(2**n):
        signs = np.array([1.0 if pattern >> i & 1 else -1.0 for i in range(n)])
        step = a[:, None] * ((active * signs) @ X) / math.sqrt(m)
        size = float(np.linalg.norm(step))
        step = step * (B / size) if size else step
        # No neuron beyond its reach.
        rows = np.linalg.norm(step, axis=1, keepdims=True)
        step = step * np.minimum(1, room / np.maximum(rows, 1e-300))
        here = signs @ (np.maximum((W_P + step) @ X.T, 0).T @ a) / math.sqrt(m)
        stay = signs @ (np.maximum(W_P @ X.T, 0).T @ a) / math.sqrt(m)
        best.append(max(here, stay) / n)
    reach = float((np.abs(W @ X.T) <= case["radius"] * np.linalg.norm(X, axis=1)).mean())
    trace = float(((W @ X.T > 0).mean(axis=0) * (X**2).sum(axis=1)).sum())
    return [(float(np.mean(best)), twin(trace, B, C, reach, n))]


_ANY_START = "any inputs; from 1 to 500 independent neurons; δ = 0.1"

BOUNDS = (
    Bound(
        name="most_successes",
        title="Largest share of successes",
        statement="Of m independent trials of probability p more than a share f succeed with probability at most δ, kl(f‖p) = log(1/δ)/m.",
        derivation=derived.most_successes,
        twin=chance.most_successes,
        pairs=_tail,
        domain=Domain(description="0 < p ≤ ½, m ≥ 1, 0 < δ < 1", draw=_draw_tail, cases=40),
        evidence=_ALWAYS,
        source="Chernoff 1952; Hoeffding 1963",
    ),
    Bound(
        name="bernstein_deviation",
        title="A net's kernel at W(0), by matrix Bernstein",
        statement="‖H(W(0)) − H‖ ≤ t with probability at least 1 − δ, m t²/2 = log(2n/δ)(v + bt/3), v = ‖E A² − H²‖ exactly, "
        "b = max(‖XXᵀ‖, ‖H‖).",
        derivation=derived.bernstein,
        twin=chance.bernstein_deviation,
        pairs=_bernstein,
        domain=Domain(description=_ANY_START, draw=_draw_start, cases=80),
        evidence=_frequency("‖H(W(0)) − H‖ against the bound"),
        delta=DELTA,
        source="Tropp 2012 (arXiv 1004.4389), theorem 1.4",
    ),
    Bound(
        name="deviation_of_mean",
        title="A net's kernel at W(0), by its second moment",
        statement="‖H(W(0)) − H‖_F ≤ √(V/m) + b√(log(1/δ)/(2m)) with probability at least 1 − δ, V = Σ (xᵢ·xⱼ)² p(1 − p), b = ‖XXᵀ‖_F.",
        derivation=derived.deviation_of_mean,
        twin=chance.deviation_of_mean,
        pairs=_mean,
        domain=Domain(description=_ANY_START, draw=_draw_start, cases=80),
        evidence=_frequency("‖H(W(0)) − H‖_F against the bound"),
        delta=DELTA,
        source="Jensen; McDiarmid 1989",
    ),
    Bound(
        name="entrywise_deviation",
        title="A net's kernel at W(0), entry by entry",
        statement="|H(W(0)) − H|ᵢⱼ ≤ |xᵢ·xⱼ| max(f₊ − p, p − f₋) for all entries at once with probability at least 1 − δ, "
        "kl(f±‖p) = log(2N/δ)/m.",
        derivation=derived.most_successes,
        twin=initial_kernel.entrywise_deviation,
        pairs=_entries,
        domain=Domain(description=_ANY_START, draw=_draw_start, cases=80),
        evidence=_frequency("every entry against its bound"),
        delta=DELTA,
        source="Chernoff 1952, over N pairs that are not orthogonal",
    ),
    Bound(
        name="initial_deviation",
        title="A net's kernel at W(0)",
        statement="‖H(W(0)) − H‖ ≤ min(bernstein_deviation, deviation_of_mean) with probability at least 1 − δ.",
        derivation=derived.bernstein,
        twin=initial_kernel.initial_deviation,
        pairs=_initial,
        domain=Domain(description=_ANY_START, draw=_draw_start, cases=80),
        evidence=_frequency("‖H(W(0)) − H‖ against the bound"),
        delta=DELTA,
        source="The two, one chosen before W(0) is drawn",
    ),
    Bound(
        name="least_eigenvalue_width",
        title="Width that keeps the least eigenvalue",
        statement="λ_min(H(W(0))) ≥ (1 − ε)λ with probability at least 1 − δ for m ≥ ‖X‖² log(n/δ)/(λ(ε + (1 − ε) log(1 − ε))).",
        derivation=derived.least_eigenvalue,
        twin=initial_kernel.least_eigenvalue_width,
        pairs=_least_eigenvalue,
        domain=Domain(description="λ_min at least 2 % of λ_max; 0 < ε < 1; δ = 0.1", draw=_draw_start, cases=60),
        evidence=_frequency("(1 − ε)λ_min(H) against λ_min(H(W(0)))"),
        delta=DELTA,
        source="Tropp 2012 (arXiv 1004.4389), theorem 1.1",
    ),
    Bound(
        name="flipped_share",
        title="Neurons within reach of turning",
        statement="At each of n points at most a share f of neurons has |w_r(0)·x| ≤ R‖x‖, with probability at least 1 − δ: "
        "kl(f‖p) = log(n/δ)/m, p = erf(R/(κ√2)) ≤ √(2/π)R/κ.",
        derivation=derived.flip_probability,
        twin=initial_kernel.flipped_share,
        pairs=_reach,
        domain=Domain(description=_ANY_START, draw=_draw_start, cases=80),
        evidence=_frequency("the share counted at W(0) against the bound"),
        delta=DELTA,
        source="Du et al. 2018 (arXiv 1810.02054), lemma 3.2, by Chernoff's bound in place of Markov's",
    ),
    Bound(
        name="guarantee",
        title="What a width guarantees",
        statement="If Φ(R) = (‖X_P‖ S_P(R) + ‖X_Q‖ S_Q(R))/√m ≤ R, with S the paths on a kernel within ε(R) = ε(0) + 2f(R)‖|XXᵀ|‖ of H, "
        "then with probability at least 1 − δ no neuron moves farther than R and all of a_posteriori holds with ε(R), however W(P) came "
        "about.",
        derivation=guaranteed.chain,
        twin=guarantee.guarantee,
        pairs=_guarantee,
        domain=Domain(
            description="few, well spread points, small labels; at least the least width; δ = 0.1", draw=_draw_guarantee, cases=12
        ),
        evidence=_frequency("movement, gradient energy, displacement and losses of trained nets against the guarantee"),
        delta=DELTA,
        source="arXiv 1909.12031, theorems 1 and 2; the argument of Du et al. 2018 (arXiv 1810.02054), with every constant",
    ),
    Bound(
        name="net_complexity",
        title="Rademacher complexity of nets near W(P)",
        statement="Nets within B of W(P), no neuron farther than C/√m from W(0), have empirical Rademacher complexity at most "
        "(B/n)√(tr H(W(0))) + C f, f the share of neurons within reach.",
        derivation=generalisation_at_width.chain,
        twin=generalisation.net_complexity,
        pairs=_net_complexity,
        domain=Domain(description="any inputs of norm at most 1, B, C; any W(P) within C/√m of W(0)", draw=_draw_ball, cases=30),
        evidence=Evidence(kind="exact", detail="a lower estimate of the complexity, over all sign patterns, never exceeds it"),
        source="arXiv 1909.12031, improved generalisation; Arora et al. 2019 (arXiv 1901.08584), lemma 5.4, sharper",
    ),
)
"""In the order they build on each other."""
