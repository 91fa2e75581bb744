"""What the bounds on a run come to: how long its path is, and how large the loss on new points."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

from theory.bounded_loss import ramp
from theory.bounds import generalisation, perturbed
from theory.bounds.guarantee import guarantee, least_width
from theory.bounds.transfer import PerturbedTransfer
from theory.definitions import network
from theory.entries.bounds_chance import DELTA
from theory.entries.bounds_run import Pairs, draw_recursion, recursion
from theory.formula import Bound, Case, Domain, Evidence
from theory.problem import Schedule, TransferProblem
from theory.symbolic import generalisation_at_width, perturbed_run


def _draw_path(rng: Random, index: int) -> Case:
    """As for `perturbed_stage`, `H` regular, `η ≤ 1/λ_max` and the error below `λ_min`."""
    while True:
        case = draw_recursion(rng, 3 * index + 1)
        values = np.linalg.eigvalsh(np.array(case["H"]))
        if values[0] > 1e-3 * values[-1]:
            share = rng.uniform(0, 0.95)
            return {**case, "lr": rng.uniform(0.05, 1) / float(values[-1]), "kernel_error": share * float(values[0])}


def _path(twin: Callable[..., Any], case: Case) -> Pairs:
    """The length of the path of the recursion run literally, with perturbations of the allowed size that are chosen to hurt."""
    smallest = float(np.linalg.eigvalsh(np.array(case["H"]))[0])
    size = float(np.linalg.norm(case["y"]))
    return [(recursion(case)["path"], twin(smallest, case["kernel_error"], case["start_error"], size))]


def _draw_sample(rng: Random, index: int) -> Case:
    """A population of three orthonormal target points, a sample from it, and a source near it."""
    return {
        "size": rng.randint(2, 30),
        "similarity": rng.uniform(0, 1),
        "labels": [rng.uniform(-0.1, 0.1) for _ in range(3)],
        "steps": rng.randint(0, 3),
    }


def _expected_loss(twin: Callable[..., Any], case: Case) -> Pairs:
    """A sample with repetitions, a net of the least width trained on source and sample literally: its mean loss min(1, |f − y|) over the
    whole population.
    """
    axes, y = np.eye(6), np.array(case["labels"])
    population = case["similarity"] * axes[:3] + math.sqrt(1 - case["similarity"] ** 2) * axes[3:]
    drawn = np.random.default_rng(np.random.SeedSequence([case["seed"], case["size"]])).integers(0, 3, case["size"])
    problem = TransferProblem(source=(axes[:3], y), target=(population[drawn], y[drawn]))
    schedule = PerturbedTransfer(problem, Schedule(source_steps=case["steps"], target_steps=case["steps"])).schedule
    width = least_width(problem, schedule, delta=DELTA / 2, wanted=math.inf).width
    promised = guarantee(problem, schedule, width=width, delta=DELTA / 2)
    W, a = network.initial(width, 6, 1.0, case["seed"])
    net = network.run(problem, schedule, W, a)
    return [(float(ramp(network.outputs(net.W, a, population), y).mean()), twin(problem, promised, delta=DELTA / 2).total)]


BOUNDS = (
    Bound(
        name="longest_path",
        title="The longest path",
        statement="η Σ_j ‖r(j)‖ ≤ (τ + ‖y‖)/(λ_min − ε) for η ≤ 1/λ_max and ε < λ_min, however many steps; with neuron_movement no "
        "neuron moves farther than ‖X‖ (τ + ‖y‖)/(√m (λ_min − ε)).",
        derivation=perturbed_run.longest_path,
        twin=perturbed.longest_path,
        pairs=_path,
        domain=Domain(description="H regular, 0 < η ≤ 1/λ_max, 0 ≤ ε < λ_min", draw=_draw_path, cases=30),
        evidence=Evidence(kind="exact", detail="what is bounded is computed literally, case by case"),
        source="Du et al. 2018 (arXiv 1810.02054), lemma 3.3",
    ),
    Bound(
        name="generalisation_at_width",
        title="Theorem 3 at finite width",
        statement="Expected loss ≤ ‖u_Q − y_Q‖/√n + 2 ((B/n)√(tr H(W(0))) + C f) + 3√(log(4B(B+1)C(C+1)/δ)/(2n)), B and C whole numbers "
        "above the guaranteed displacement and √m R, f the share of neurons within C/√m; with probability at least 1 − δ besides the "
        "guarantee's.",
        derivation=generalisation_at_width.chain,
        twin=generalisation.generalisation_bound,
        pairs=_expected_loss,
        domain=Domain(description="samples of 2 to 30 from three orthonormal points, the least width", draw=_draw_sample, cases=8),
        evidence=Evidence(
            kind="none",
            detail="vacuous at widths that can be trained; its parts guarantee, net_complexity, flipped_share and rademacher_bound "
            "have their own",
        ),
        delta=DELTA,
        source="arXiv 1909.12031, improved generalisation; Mohri, Rostamizadeh & Talwalkar 2018, theorem 3.3",
    ),
)
"""In the order they build on each other."""
