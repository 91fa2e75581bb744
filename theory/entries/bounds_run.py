"""Bounds on a run whose kernel is only near `H`: deterministic, at any width."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np

from theory.bounds import initial_kernel, perturbed, transfer
from theory.definitions import network, problems
from theory.formula import Bound, Case, Domain, Evidence
from theory.numeric import stages
from theory.numeric.spectrum import GramSpectrum
from theory.symbolic import perturbed_run, slopes

Pairs = list[tuple[float, float]]

_ALWAYS = Evidence(
    kind="exact", detail="what is bounded is computed literally, case by case; the search drives cases to where it is tightest"
)


# A recursion with a kernel of the caller's choice ------------------------------------------------------------------------------


def draw_recursion(rng: Random, index: int) -> Case:
    """A Gram matrix, labels, a step size, and a perturbation of its kernel at every step."""
    n = rng.randint(1, 4)
    generator = np.random.default_rng(rng.getrandbits(32))
    # Singular now and then, for more than one point.
    F = generator.standard_normal((n, n + rng.randint(-1 if n > 1 else 0, 2)))
    H = F @ F.T
    values, vectors = np.linalg.eigh(H)
    top = float(values[-1])
    y = generator.standard_normal(n)
    if index % 3 == 0:
        # The slowest mode alone, pushed against itself, is where the bound is reached.
        y = vectors[:, 0]
    # Beyond 1024 steps they are taken in blocks; the error there is one that the least eigenvalue bears.
    long = index % 10 == 4
    return {
        "H": H.tolist(),
        "y": y.tolist(),
        "lr": rng.uniform(0.05, 1.9) / top,
        "steps": rng.randint(1100, 1500) if long else rng.choice((0, 1, 2, 3, 5, 8, 20)),
        "kernel_error": max(float(values[0]), 1e-3 * top) * 0.9 if long else top * 2.0 ** rng.uniform(-12, 0),
        "start_error": rng.choice((0.0, rng.uniform(0, 0.5))),
        "adversary": rng.choice(("against", "along", "random")),
        "perturbation": rng.getrandbits(32),
    }


def recursion(case: Case) -> dict[str, Any]:
    """Residuals of `r ← (I − ηH − ηE) r` with `‖E r‖ = ε‖r‖` at every step, its direction chosen to hurt, and those with `E = 0`."""
    H, y, lr, eps = np.array(case["H"]), np.array(case["y"]), case["lr"], case["kernel_error"]
    generator = np.random.default_rng(case["perturbation"])

    def direction(ideal: np.ndarray, r: np.ndarray) -> np.ndarray:
        # E r along −q(k)y adds to what is left, along it takes away.
        v = {"against": -ideal, "along": ideal, "random": generator.standard_normal(len(y))}[case["adversary"]]
        size = np.linalg.norm(v)
        return v / size * np.linalg.norm(r) if size else np.zeros_like(v)

    r, ideal, g, gamma = y * (1 + case["start_error"] / np.linalg.norm(y)), y, np.zeros_like(y), np.zeros_like(y)
    path = 0.0
    for _ in range(case["steps"]):
        g, gamma, path = g + lr * r, gamma + lr * ideal, path + lr * float(np.linalg.norm(r))
        r, ideal = r - lr * (H @ r) - lr * eps * direction(ideal, r), ideal - lr * (H @ ideal)
    return {"H": H, "apart": float(np.linalg.norm(r - ideal)), "path": path, "g": g, "gamma": gamma}


def _perturbed(twin: Callable[..., Any], case: Case) -> Pairs:
    """The recursion run literally with perturbations of the allowed size, chosen to hurt: how far its residual, the length of its path and
    its coefficients come out from those without.
    """
    run, options = recursion(case), {key: case[key] for key in ("kernel_error", "start_error")}
    bound = twin(GramSpectrum.of(run["H"]), np.array(case["y"]), case["lr"], case["steps"], **options)
    apart = run["g"] - run["gamma"]
    return [
        (run["apart"], bound.residual),
        (run["path"], bound.path),
        (math.sqrt(max(0.0, float(apart @ run["H"] @ apart))), bound.coefficients),
    ]


def _simple(twin: Callable[..., Any], case: Case) -> Pairs:
    """As for `perturbed_stage`, the residual alone, from the size of `y` and the contraction."""
    run = recursion(case)
    c = float(np.abs(1 - case["lr"] * np.linalg.eigvalsh(run["H"])).max())
    size = float(np.linalg.norm(case["y"]))
    return [(run["apart"], twin(c, case["lr"], case["kernel_error"], case["start_error"], size, case["steps"]))]


# The least fit -------------------------------------------------------------------------------------------------------------


def _draw_fit(rng: Random, index: int) -> Case:
    n = rng.randint(1, 4)
    generator = np.random.default_rng(rng.getrandbits(32))
    F = generator.standard_normal((n, n + rng.randint(0, 2)))
    return {
        "H": (F @ F.T).tolist(),
        "y": generator.standard_normal(n).tolist(),
        "steps": rng.choice((0, 1, 2, 3, 5, 8, 20)),
        "share": rng.uniform(0.01, 1),
    }


def _fit(twin: Callable[..., Any], case: Case) -> Pairs:
    """Displacement by running descent on the weights of a linear model, squared, at a step size up to `1/λ_max`."""
    H, y = np.array(case["H"]), np.array(case["y"])
    values, vectors = np.linalg.eigh(H)
    F = vectors * np.sqrt(values)
    w = np.zeros(len(y))
    for _ in range(case["steps"]):
        w = w + case["share"] / values[-1] * F.T @ (y - F @ w)
    return [(float(w @ w), twin(GramSpectrum.of(H), y))]


# Real nets -----------------------------------------------------------------------------------------------------------------


def _draw_net(rng: Random, index: int) -> Case:
    """A problem, a schedule and a net of any width."""
    problem = problems.problem(rng, tests=index % 2 == 0)
    prepared = transfer.PerturbedTransfer(problem, problems.schedule(rng))
    # 1/λ_max itself, or any other stable step size.
    shares = (1.0, 1.0) if index % 4 == 0 else (rng.uniform(0.05, 1.9), rng.uniform(0.05, 1.9))
    return {
        "problem": problem,
        "schedule": replace(prepared.schedule, source_lr=shares[0] * prepared.lr_P, target_lr=shares[1] * prepared.lr_Q),
        "width": problems.width(rng),
        "init_scale": 2.0 ** rng.uniform(-3, 3),
        "net": rng.getrandbits(32),
        "along": index % 3 == 1,
    }


def _net(case: Case) -> tuple[np.ndarray, np.ndarray, network.NetRun]:
    W, a = network.initial(case["width"], case["problem"].target[0].shape[1], case["init_scale"], case["net"])
    return W, a, network.run(case["problem"], case["schedule"], W, a)


def _transfer(twin: Callable[..., Any], case: Case) -> Pairs:
    """A net trained literally in both stages; its kernel errors are measured along the run, in operator norm or along its residuals.
    How far its gradient energy, displacement, losses and outputs are from the prediction; and, with the errors of a run on the target
    from scratch as well, how far that run's displacement and the gain are.
    """
    problem, schedule = case["problem"], case["schedule"]
    W, a, net = _net(case)
    prepared = transfer.PerturbedTransfer(problem, schedule)
    errors = network.kernel_errors(problem, schedule, prepared.gram, W, a, net)[case["along"]]
    bounds = twin(problem, schedule, errors)
    pairs = [_distance(net.gradient_energy, bounds.gradient_energy), _distance(net.displacement, bounds.displacement)]
    left = net.target_outputs - problem.target[1]
    pairs.append(_distance(float(left @ left) / 2, bounds.target_loss))
    left = net.source_outputs - problem.source[1]
    pairs.append(_distance(float(left @ left) / 2, bounds.source_loss))
    alpha = stages.coefficients(prepared.P, prepared.y_P, prepared.lr_P, schedule.source_steps)
    gamma = stages.coefficients(prepared.Q, prepared.remaining, prepared.lr_Q, schedule.target_steps)
    gram = prepared.gram
    pairs.append((_far(net.target_outputs - gram.target_source @ alpha - gram.target @ gamma), bounds.target_outputs))
    pairs.append((_far(net.source_outputs - gram.source @ alpha - gram.target_source.T @ gamma), bounds.source_outputs))
    if net.test_outputs is not None:
        pairs.append((_far(net.test_outputs - gram.test_source @ alpha - gram.test_target @ gamma), bounds.test_outputs))
    at_once = replace(schedule, source_steps=0)
    scratch = network.run(problem, at_once, W, a)
    alone = network.kernel_errors(problem, at_once, prepared.gram, W, a, scratch)[case["along"]]
    larger = {name: max(getattr(errors, name), getattr(alone, name)) for name in ("target", "target_moments")}
    both = twin(problem, schedule, replace(errors, **larger))
    pairs.append(_distance(scratch.displacement, both.displacement_scratch))
    if both.measured_gain is not None and scratch.displacement > 0:
        pairs.append(_distance(1 - net.displacement / scratch.displacement, both.measured_gain))
    # Outputs of a net that did not move differ from zero by rounding.
    return [(max(0.0, quantity - 1e-13), limit) for quantity, limit in pairs]


def _movement(twin: Callable[..., Any], case: Case) -> Pairs:
    """How far the neuron that moved most, in a net trained literally, was ever from its start."""
    problem, schedule = case["problem"], case["schedule"]
    _, _, net = _net(case)
    paths = [
        schedule.source_lr * np.linalg.norm(net.source_residuals, axis=1).sum(),
        schedule.target_lr * np.linalg.norm(net.target_residuals, axis=1).sum(),
    ]
    norms = [initial_kernel.operator_norm(problem.source[0]), initial_kernel.operator_norm(problem.target[0])]
    return [(net.farthest, twin(norms, paths, case["width"]))]


def _draw_slopes(rng: Random, index: int) -> Case:
    d = rng.randint(1, 4)
    return {
        "X": problems.unit_inputs(rng, rng.randint(1, 4), d),
        "Z": None if index % 3 == 0 else problems.unit_inputs(rng, rng.randint(1, 4), d),
        "neurons": rng.randint(1, 30),
        "radius": 2.0 ** rng.uniform(-4, 1),
        "net": rng.getrandbits(32),
        "all": index % 2 == 0,
    }


def _slopes(twin: Callable[..., Any], case: Case) -> Pairs:
    """Slopes in [0, 1] put at will where `|w·x| ≤ R`, all turned or at random: the norm of what that changes in the kernel, with the
    share of neurons within reach counted.
    """
    generator = np.random.default_rng(case["net"])
    X, Z, m = case["X"], case["Z"], case["neurons"]
    W = generator.standard_normal((m, X.shape[1]))

    def turned(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        pre = W @ points.T
        gate, reach = pre > 0, np.abs(pre) <= case["radius"]
        at_will = ~gate if case["all"] else generator.uniform(0, 1, gate.shape)
        return gate.astype(float), np.where(reach, at_will, gate).astype(float), float(reach.mean(axis=0).max())

    gate_x, slope_x, f_x = turned(X)
    gate_z, slope_z, f_z = (gate_x, slope_x, f_x) if Z is None else turned(Z)
    change = (slope_x.T @ slope_z - gate_x.T @ gate_z) / m * (X @ (X if Z is None else Z).T)
    return [(float(np.linalg.norm(change, ord=2)), twin(X, Z, max(f_x, f_z)))]


def _distance(value: float, band: transfer.Band) -> tuple[float, float]:
    """How far a value is from the prediction, on its side, and how far it may be."""
    room = band.high - band.predicted if value >= band.predicted else band.predicted - band.low
    return abs(value - band.predicted), room


def _far(x: np.ndarray) -> float:
    return float(np.linalg.norm(x))


_NETS = "any problem, width and κ, steps of up to 1.9/λ_max; the kernel errors are those of the run"

BOUNDS = (
    Bound(
        name="residual_deviation",
        title="Descent on a perturbed kernel, from the size of the labels",
        statement="If r(k+1) = (I − ηH − ηE_k) r(k) with ‖E_k r(k)‖ ≤ ε‖r(k)‖ and ‖r(0) − y‖ ≤ τ, then "
        "‖r(k) − q(k)y‖ ≤ (c + ηε)^k (τ + ‖y‖) − c^k ‖y‖, c = max|1 − ηλᵢ|.",
        derivation=perturbed_run.residual,
        twin=perturbed.residual_deviation,
        pairs=_simple,
        domain=Domain(description="0 < η < 2/λ_max, ε ≥ 0, τ ≥ 0, k = 0, 1, 2, …", draw=draw_recursion, cases=30),
        evidence=_ALWAYS,
        source="The recursion, by the triangle inequality; Arora et al. 2019 (arXiv 1901.08584), section 4, has it with O(·)",
    ),
    Bound(
        name="perturbed_stage",
        title="Descent on a perturbed kernel, mode by mode",
        statement="With d_{j+1} = (c + ηε) d_j + ηε‖q(j)y‖, d_0 = τ: ‖r(k) − q(k)y‖ ≤ d_k, η Σ‖r(j)‖ ≤ S = η Σ (‖q(j)y‖ + d_j), and for "
        "g = η Σ r(j): ‖g − φ_k y‖_H² ≤ min(λ_max σ², σv, v²/λ_min) with σ = η Σ d_j, v = τ + d_k + εS; displacement² = gᵀHg ± ε'S².",
        derivation=perturbed_run.coefficients,
        twin=perturbed.perturbed_stage,
        pairs=_perturbed,
        domain=Domain(description="0 < η < 2/λ_max, ε ≥ 0, τ ≥ 0, k = 0, 1, 2, …", draw=draw_recursion, cases=30),
        evidence=_ALWAYS,
        source="The recursion, by the triangle and Cauchy's inequality",
    ),
    Bound(
        name="least_fit",
        title="Weights move no farther than the least fit",
        statement="‖W(k) − W(0)‖² ≤ yᵀH⁻¹y for η ≤ 1/λ_max, at every step.",
        derivation=perturbed_run.least_fit,
        twin=stages.inverse_norm_squared,
        pairs=_fit,
        domain=Domain(description="H regular, 0 < η ≤ 1/λ_max", draw=_draw_fit, cases=20),
        evidence=_ALWAYS,
        source="arXiv 1909.12031, weights stay close",
    ),
    Bound(
        name="a_posteriori",
        title="Where a net must lie whose kernel stays near H",
        statement="If every block of the kernel stays within ε of H along the run, slopes along each step included, then ‖u_Q − y_Q‖ at "
        "the start of fine-tuning is within ‖H_QP H_P^{-1/2}‖ Δ_P + ε S_P of ‖ỹ‖, and displacement, losses and outputs within what "
        "perturbed_stage gives from there. Deterministic, at any width.",
        derivation=perturbed_run.transfer,
        twin=transfer.error_bounds,
        pairs=_transfer,
        domain=Domain(description=_NETS, draw=_draw_net, cases=24),
        evidence=_ALWAYS,
        source="arXiv 1909.12031, theorems 1 and 2, with a measured ε in place of their O(·)",
    ),
    Bound(
        name="neuron_movement",
        title="How far a neuron moves",
        statement="‖w_r(k) − w_r(0)‖ ≤ (‖X_P‖ η Σ‖r_P(j)‖ + ‖X_Q‖ η Σ‖r_Q(j)‖)/√m for every neuron, in operator norms.",
        derivation=slopes.movement,
        twin=initial_kernel.neuron_movement,
        pairs=_movement,
        domain=Domain(description=_NETS, draw=_draw_net, cases=16),
        evidence=_ALWAYS,
        source="Du et al. 2018 (arXiv 1810.02054), lemma 3.3, with the operator norm of the inputs in place of √n",
    ),
    Bound(
        name="kernel_change",
        title="What neurons within reach can change in the kernel",
        statement="Slopes in [0, 1] that differ from the gates at W(0) only where |w_r(0)·x| ≤ R‖x‖, a share f of neurons at most at each "
        "point, change a block by at most 2f ‖|X_A X_Bᵀ|‖ in operator norm; within one set with f in place of 2f on the diagonal.",
        derivation=slopes.kernel_change,
        twin=initial_kernel.kernel_change,
        pairs=_slopes,
        domain=Domain(description="any inputs, weights, radius, and slopes in [0, 1] within reach", draw=_draw_slopes, cases=30),
        evidence=_ALWAYS,
        source="Du et al. 2018 (arXiv 1810.02054), lemma 3.2, for slopes and blocks, uniformly over the ball",
    ),
)
"""In the order they build on each other."""
