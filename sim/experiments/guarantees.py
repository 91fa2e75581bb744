"""Bounds against nets: what a width guarantees, what a measured kernel implies, and what happens.

A problem whose guarantee needs no great width: few points, well spread, small labels. `n` orthonormal source inputs, target inputs
turned by an angle out of their span, equal labels. Nets of the least width for which the guarantee gives the displacement within the
tolerance, and of lesser widths, are trained in both stages; their kernel is measured along the run, slopes along each step included.
Three intervals for the same number, from the width (a priori), from the kernel's norms and from the kernel along the run's residuals
(a posteriori), are held against what the net does; the last two at every width, with no exception allowed.

Besides, every bound of the registry that holds with a probability is tried on many random starts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from random import Random
from typing import Any

import numpy as np
from tqdm import tqdm

from sim.estimate import estimate
from sim.experiments.arms import task_label
from sim.experiments.claims import Claim, frequency_claim
from sim.records import Cache
from sim.tasks import DigitsTask, problem_of
from theory import registry
from theory.bounds.guarantee import Guarantee, guarantee, least_width
from theory.bounds.transfer import Band, ErrorBounds, KernelErrors, PerturbedTransfer
from theory.definitions import network
from theory.errors import DoesNotApply
from theory.formula import Bound
from theory.numeric.gram import relu_gram
from theory.numeric.spectrum import GramSpectrum
from theory.problem import Schedule, TransferProblem

NAME = "guarantees"
TITLE = "What a width guarantees, what a measured kernel implies, and what nets do"

QUANTITIES = {
    "displacement": "displacement ‖W(Q) − W(P)‖",
    "gradient_energy": "gradient energy ‖∂L_Q/∂X¹‖²",
    "target_loss": "target loss after fine-tuning",
    "source_loss": "source loss after fine-tuning",
}
"""What lies in a band, by field of `ErrorBounds`."""

KINDS = {"norm": "from the kernel's norms", "residual": "from the kernel along the residuals"}
"""How the kernel is measured."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the experiment.

    Parameters
    ----------
    points : int
        `n`, of source and of target; inputs have dimension `2n`.
    angle : float
        Of each target input to its source input, in radians.
    label : float
        `|y|`; signs alternate.
    steps : int
        Of each stage.
    tolerance : float
        Share of displacement and of `‖u_Q − y_Q‖` that the guarantee is to give.
    delta : float
        Probability with which the guarantee may fail.
    widths : tuple of int
        Lesser widths.
    seeds : int ≥ 2
        Nets of each width.
    starts, trained : int
        Random starts on which each bound with a probability is tried, and for bounds on trained nets.
    digits : bool
        Whether to ask for the least width on digits as well, where no net of it can be trained.
    dtype : str
        Only "float64".
    """

    points: int = 4
    angle: float = 0.6
    label: float = 0.5
    steps: int = 30
    tolerance: float = 0.1
    delta: float = 0.05
    widths: tuple[int, ...] = (256, 2048, 16384, 131072)
    seeds: int = 8
    starts: int = 2000
    trained: int = 60
    digits: bool = True
    dtype: str = "float64"

    @classmethod
    def profile(cls, name: str) -> Config:
        """`"smoke"`, `"quick"`, `"standard"` or `"full"`."""
        if name == "smoke":
            return cls(points=2, label=0.1, steps=6, tolerance=0.5, widths=(64, 256), seeds=3, starts=60, trained=12, digits=False)
        if name == "quick":
            return cls()
        return cls(seeds=32 if name == "standard" else 128, starts=20_000, trained=400)

    def problem(self) -> TransferProblem:
        """The problem."""
        axes = np.eye(2 * self.points)
        X_P = axes[: self.points]
        X_Q = math.cos(self.angle) * X_P + math.sin(self.angle) * axes[self.points :]
        y = self.label * (-1.0) ** np.arange(self.points)
        return TransferProblem(source=(X_P, y), target=(X_Q, y))


def run(config: Config, cache: Cache) -> dict[str, Any]:
    """Train what is not in the cache yet and return the record's results, claims among them."""
    problem, schedule = config.problem(), Schedule(source_steps=config.steps, target_steps=config.steps)
    found = least_width(problem, schedule, delta=config.delta, wanted=config.tolerance)
    where = f"{config.points} + {config.points} points, labels ±{config.label:g}, δ = {config.delta:g}"
    cells, claims, seconds = [], [], 0.0
    widths = (*(w for w in config.widths if w < found.width), found.width)
    jobs = [(width, seed) for width in widths for seed in range(config.seeds)]
    nets: dict[int, list[dict[str, Any]]] = {width: [] for width in widths}
    for width, seed in tqdm(jobs, desc=NAME, unit="net", disable=None, leave=False):
        settings = {"experiment": NAME, "width": width, "seed": seed, **_shape(config)}
        net = cache.computed(settings, __name__, partial(_measured, problem, schedule, width, seed))
        nets[width].append(net)
        seconds += net["seconds"]
    for width in widths:
        promised = _promised(problem, schedule, width, config.delta)
        cells.append(_cell(width, nets[width], promised))
        claims += _claims(nets[width], promised, where, width)
    frequencies, spent = _frequencies(config, cache)
    claims += frequencies
    least = least_width(problem, schedule, delta=config.delta, wanted=math.inf)
    return {
        "least_width": found.width,
        "least_width_to_apply": least.width,
        "predicted": {name: getattr(found.bounds, name).predicted for name in QUANTITIES},
        "cells": cells,
        "slack": _slack(found, cells[-1]),
        "digits": _on_digits() if config.digits else [],
        "claims": [c.to_dict() for c in claims],
        "seconds": seconds + spent,
    }


def _on_digits() -> list[dict[str, Any]]:
    """Least widths for which the guarantee applies to digits → MNIST at δ = 0.1, beside the power law `n⁶/(λ⁴δ³)` of Du et al. 2018."""
    task, delta = DigitsTask(), 0.1
    whole = problem_of(task)
    problem = TransferProblem(source=whole.source, target=whole.target)
    assert problem.source is not None
    smallest = GramSpectrum.of(relu_gram(problem.source[0])).smallest
    power_law = task.n_source**6 / (smallest**4 * delta**3)
    rows = []
    for steps in (20, 500, None):
        found = least_width(problem, Schedule(source_steps=steps, target_steps=steps), delta=delta, wanted=math.inf)
        rows.append({"task": task_label(task), "steps": steps, "width": found.width, "power_law": power_law})
    return rows


def _shape(config: Config) -> dict[str, Any]:
    return {name: getattr(config, name) for name in ("points", "angle", "label", "steps")}


def _measured(problem: TransferProblem, schedule: Schedule, width: int, seed: int) -> dict[str, Any]:
    """One net: what it did, its kernel errors of both kinds and the bands they imply."""
    prepared = PerturbedTransfer(problem, schedule)
    W, a = network.initial(width, problem.target[0].shape[1], 1.0, seed)
    net = network.run(problem, prepared.schedule, W, a)
    both = network.kernel_errors(problem, prepared.schedule, prepared.gram, W, a, net)
    left_Q, left_P = net.target_outputs - problem.target[1], net.source_outputs - problem.source[1]  # type: ignore[index]
    X = np.concatenate([problem.source[0], problem.target[0]])  # type: ignore[index]
    active = (W @ X.T > 0).astype(np.float32)
    at_start = (active.T @ active).astype(np.float64) / width * (X @ X.T) - relu_gram(X)
    return {
        "displacement": net.displacement,
        "gradient_energy": net.gradient_energy,
        "target_loss": float(left_Q @ left_Q) / 2,
        "source_loss": float(left_P @ left_P) / 2,
        "farthest": net.farthest,
        "apart": abs(net.displacement - prepared.decay_Q.ideal),
        "initial": float(np.linalg.norm(at_start, ord=2)),
        "kinds": {
            kind: {"errors": _known(errors), "bands": _bands(prepared.bounds(errors))} for kind, errors in zip(KINDS, both, strict=True)
        },
    }


def _known(errors: KernelErrors) -> dict[str, float]:
    return {name: value for name, value in asdict(errors).items() if math.isfinite(value)}


def _bands(bounds: ErrorBounds) -> dict[str, list[float]]:
    return {name: [getattr(bounds, name).low, getattr(bounds, name).high] for name in QUANTITIES}


def _promised(problem: TransferProblem, schedule: Schedule, width: int, delta: float) -> Guarantee | None:
    try:
        return guarantee(problem, schedule, width=width, delta=delta)
    except DoesNotApply:
        return None


def _cell(width: int, nets: list[dict[str, Any]], promised: Guarantee | None) -> dict[str, Any]:
    """One width: the mean of each number over nets, with its standard error; bands as half-widths."""

    def mean(values: Iterable[float]) -> dict[str, Any]:
        return asdict(estimate(list(values)))

    measured = {
        kind: {
            "source_error": mean(net["kinds"][kind]["errors"]["source"] for net in nets),
            "bands": {name: mean(_half(net["kinds"][kind]["bands"][name]) for net in nets) for name in QUANTITIES},
        }
        for kind in KINDS
    }
    guaranteed = promised and {
        "source_error": promised.errors.source,
        "bands": {name: _half([band.low, band.high]) for name, band in _all_bands(promised.bounds)},
    }
    return {
        "width": width,
        "values": {name: mean(net[name] for net in nets) for name in (*QUANTITIES, "farthest", "initial", "apart")},
        "guaranteed": guaranteed,
        "measured": measured,
    }


def _all_bands(bounds: ErrorBounds) -> list[tuple[str, Band]]:
    return [(name, getattr(bounds, name)) for name in QUANTITIES]


def _half(band: list[float]) -> float:
    return (band[1] - band[0]) / 2


def _claims(nets: list[dict[str, Any]], promised: Guarantee | None, where: str, width: int) -> list[Claim]:
    at, claims = f"width {width:,}", []
    for kind, words in KINDS.items():
        outside = sum(not all(_inside(net[name], net["kinds"][kind]["bands"][name]) for name in QUANTITIES) for net in nets)
        claims.append(frequency_claim(f"nets outside what follows {words}", where, at, outside, len(nets), 0.0))
    if promised is not None:
        bands = _bands(promised.bounds)
        outside = sum(
            not (all(_inside(net[name], bands[name]) for name in QUANTITIES) and net["farthest"] <= promised.radius) for net in nets
        )
        claims.append(frequency_claim("nets outside what the width guarantees", where, at, outside, len(nets), promised.delta))
    return claims


def _inside(value: float, band: list[float]) -> bool:
    # Losses near zero are squares of rounding errors.
    return band[0] - 1e-25 <= value <= band[1] + 1e-25


def _slack(found: Guarantee, cell: dict[str, Any]) -> list[dict[str, Any]]:
    """From the guarantee to what nets do, each step by what it is larger than the next; all for the displacement or what it rests on."""
    values, norm, along = cell["values"], cell["measured"]["norm"], cell["measured"]["residual"]
    half = _half([found.bounds.displacement.low, found.bounds.displacement.high])
    return [
        {"what": "neurons' movement: bound over farthest neuron", "bound": found.radius, "measured": values["farthest"]["mean"]},
        {"what": "‖H(W(0)) − H‖: bound over norm", "bound": found.initial, "measured": values["initial"]["mean"]},
        {"what": "kernel error on the source: bound over norm", "bound": found.errors.source, "measured": norm["source_error"]["mean"]},
        {
            "what": "kernel error on the source: norm over its size along residuals",
            "bound": norm["source_error"]["mean"],
            "measured": along["source_error"]["mean"],
        },
        {"what": "displacement: guaranteed over that from norms", "bound": half, "measured": norm["bands"]["displacement"]["mean"]},
        {
            "what": "displacement: from norms over that along residuals",
            "bound": norm["bands"]["displacement"]["mean"],
            "measured": along["bands"]["displacement"]["mean"],
        },
        {
            "what": "displacement: along residuals over the nets' own distance",
            "bound": along["bands"]["displacement"]["mean"],
            "measured": values["apart"]["mean"],
        },
    ]


def _frequencies(config: Config, cache: Cache) -> tuple[list[Claim], float]:
    """Every bound of the registry that holds with a probability, tried on random starts of cases drawn anew for each."""
    claims, seconds = [], 0.0
    for bound in (b for b in registry.BOUNDS if b.delta is not None):
        assert bound.delta is not None
        tries = config.trained if bound.name in _TRAINED else config.starts
        counted = cache.computed({"experiment": NAME, "bound": bound.name, "tries": tries}, __name__, partial(_counted, bound, tries))
        seconds += counted["seconds"]
        what = f"starts that exceed the bound {bound.name}"
        claims.append(
            frequency_claim(what, bound.domain.description, f"{tries:,} starts", counted["exceeded"], counted["tried"], bound.delta)
        )
    return claims, seconds


_TRAINED = ("guarantee",)
"""Bounds whose cases train a net."""


def _counted(bound: Bound, tries: int) -> dict[str, Any]:
    exceeded = tried = 0
    for number in range(tries):
        # Seeds apart from those of `theory check`, which number from 0.
        case = {**bound.domain.draw(Random(f"{NAME}/{bound.name}/{number}"), number), "seed": 1_000_000 + number}
        pairs = bound.pairs(bound.twin, case)
        tried += bool(pairs)
        exceeded += any(not quantity <= limit * (1 + 1e-12) for quantity, limit in pairs)
    return {"exceeded": exceeded, "tried": tried}
