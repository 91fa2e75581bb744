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
from dataclasses import asdict, dataclass, replace
from random import Random
from typing import Any

import numpy as np

from sim.estimate import estimate
from sim.experiments.arms import task_label
from sim.experiments.claims import Claim, frequency_claim
from sim.measured_bounds import BANDS, KINDS, bands, half, inside, measured_bounds, outside
from sim.records import Cache
from sim.sweep import sweep
from sim.tasks import DigitsTask, problem_of
from theory import registry
from theory.bounds.guarantee import Guarantee, guarantee, least_width
from theory.errors import DoesNotApply
from theory.numeric.gram import relu_gram
from theory.numeric.spectrum import GramSpectrum
from theory.problem import Schedule, TransferProblem

NAME = "guarantees"
TITLE = "What a width guarantees, what a measured kernel implies, and what nets do"


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Few points, well spread: `points` orthonormal source inputs, target inputs turned by `angle` out of their span, labels `±label`."""

    points: int
    angle: float
    label: float

    def problem(self) -> TransferProblem:
        """The problem."""
        axes = np.eye(2 * self.points)
        X_P = axes[: self.points]
        X_Q = math.cos(self.angle) * X_P + math.sin(self.angle) * axes[self.points :]
        y = self.label * (-1.0) ** np.arange(self.points)
        return TransferProblem(source=(X_P, y), target=(X_Q, y))


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the experiment; the standard profile has four times the nets and seven to ten times the starts.

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

    @property
    def spread(self) -> Spread:
        """The problem's dials."""
        return Spread(points=self.points, angle=self.angle, label=self.label)


@dataclass(frozen=True, kw_only=True)
class Net:
    """One net."""

    spread: Spread
    steps: int
    width: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Tries:
    """A part of the random starts on which a bound of the registry is tried."""

    bound: str
    first: int
    number: int


@dataclass(frozen=True, kw_only=True)
class OnDigits:
    """Steps of each stage (`None` to the end) for which the least width on digits is asked for."""

    steps: int | None


def run(config: Config, cache: Cache) -> dict[str, Any]:
    """Train what is not in the cache yet and return the record's results, claims among them."""
    problem, schedule = config.spread.problem(), Schedule(source_steps=config.steps, target_steps=config.steps)
    found = least_width(problem, schedule, delta=config.delta, wanted=config.tolerance)
    where = f"{config.points} + {config.points} points, labels ±{config.label:g}, δ = {config.delta:g}"
    cells, claims = [], []
    widths = (*(w for w in config.widths if w < found.width), found.width)
    jobs = [Net(spread=config.spread, steps=config.steps, width=w, seed=s) for w in widths for s in range(config.seeds)]
    done = sweep(net_result, jobs, cache, f"{NAME}: nets", weight=lambda net: math.sqrt(net.width))
    nets = {w: [result for job, result in zip(jobs, done, strict=True) if job.width == w] for w in widths}
    least_on_digits = sweep(digits_width, [OnDigits(steps=k) for k in _DIGIT_STEPS], cache, f"{NAME}: digits") if config.digits else []
    for width in widths:
        promised = _promised(problem, schedule, width, config.delta)
        cells.append(_cell(width, nets[width], promised))
        claims += _claims(nets[width], promised, where, width)
    frequencies, spent = _frequencies(config, cache)
    claims += frequencies
    seconds = spent + sum(result["seconds"] for result in (*done, *least_on_digits))
    least = least_width(problem, schedule, delta=config.delta, wanted=math.inf)
    return {
        "least_width": found.width,
        "least_width_to_apply": least.width,
        "predicted": {name: getattr(found.bounds, name).predicted for name in BANDS},
        "cells": cells,
        "slack": _slack(found, cells[-1]),
        "digits": [{name: row[name] for name in ("task", "steps", "width", "power_law")} for row in least_on_digits],
        "claims": [c.to_dict() for c in claims],
        "seconds": seconds,
    }


def net_result(net: Net) -> dict[str, Any]:
    """One net against what its kernel implies."""
    return measured_bounds(net.spread.problem(), Schedule(source_steps=net.steps, target_steps=net.steps), net.width, net.seed)


_DIGIT_STEPS = (None, 500, 20)


def digits_width(asked: OnDigits) -> dict[str, Any]:
    """Least width for which the guarantee applies to digits → MNIST at δ = 0.1, beside the power law `n⁶/(λ⁴δ³)` of Du et al. 2018."""
    task, delta = DigitsTask(), 0.1
    problem = replace(problem_of(task), test=None)
    assert problem.source is not None
    smallest = GramSpectrum.of(relu_gram(problem.source[0])).smallest
    found = least_width(problem, Schedule(source_steps=asked.steps, target_steps=asked.steps), delta=delta, wanted=math.inf)
    power_law = task.n_source**6 / (smallest**4 * delta**3)
    return {"task": task_label(task), "steps": asked.steps, "width": found.width, "power_law": power_law}


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
            "bands": {name: mean(half(net["kinds"][kind]["bands"][name]) for net in nets) for name in BANDS},
        }
        for kind in KINDS
    }
    guaranteed = promised and {
        "source_error": promised.errors.source,
        "bands": {name: half(band) for name, band in bands(promised.bounds).items()},
    }
    return {
        "width": width,
        "values": {name: mean(net[name] for net in nets) for name in (*BANDS, "farthest", "initial", "apart")},
        "guaranteed": guaranteed,
        "measured": measured,
    }


def _claims(nets: list[dict[str, Any]], promised: Guarantee | None, where: str, width: int) -> list[Claim]:
    at, claims = f"width {width:,}", []
    for kind, words in KINDS.items():
        count = sum(outside(net, kind) for net in nets)
        claims.append(frequency_claim(f"nets outside what follows {words}", where, at, count, len(nets), 0.0))
    if promised is not None:
        given = bands(promised.bounds)
        count = sum(net["farthest"] > promised.radius or not all(inside(net[name], given[name]) for name in BANDS) for net in nets)
        claims.append(frequency_claim("nets outside what the width guarantees", where, at, count, len(nets), promised.delta))
    return claims


def _slack(found: Guarantee, cell: dict[str, Any]) -> list[dict[str, Any]]:
    """From the guarantee to what nets do, each step by what it is larger than the next; all for the displacement or what it rests on."""
    values, norm, along = cell["values"], cell["measured"]["norm"], cell["measured"]["residual"]
    promised = half(bands(found.bounds)["displacement"])
    return [
        {"what": "neurons' movement: bound over farthest neuron", "bound": found.radius, "measured": values["farthest"]["mean"]},
        {"what": "‖H(W(0)) − H‖: bound over norm", "bound": found.initial, "measured": values["initial"]["mean"]},
        {"what": "kernel error on the source: bound over norm", "bound": found.errors.source, "measured": norm["source_error"]["mean"]},
        {
            "what": "kernel error on the source: norm over its size along residuals",
            "bound": norm["source_error"]["mean"],
            "measured": along["source_error"]["mean"],
        },
        {"what": "displacement: guaranteed over that from norms", "bound": promised, "measured": norm["bands"]["displacement"]["mean"]},
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
    bounds = {bound.name: bound for bound in registry.BOUNDS if bound.delta is not None}
    tries = {name: config.trained if name in _TRAINED else config.starts for name in bounds}
    parts = [
        Tries(bound=name, first=first, number=min(size, total - first))
        for name, total in tries.items()
        for size in (_PART_TRAINED if name in _TRAINED else _PART,)
        for first in range(0, total, size)
    ]
    done = sweep(counted, parts, cache, f"{NAME}: starts", weight=lambda part: part.number * (100 if part.bound in _TRAINED else 1))
    claims = []
    for name, bound in bounds.items():
        assert bound.delta is not None
        here = [result for part, result in zip(parts, done, strict=True) if part.bound == name]
        exceeded, tried = (sum(result[key] for result in here) for key in ("exceeded", "tried"))
        what, at = f"starts that exceed the bound {name}", f"{tries[name]:,} starts"
        claims.append(frequency_claim(what, bound.domain.description, at, exceeded, tried, bound.delta))
    return claims, sum(result["seconds"] for result in done)


_TRAINED = ("guarantee", "generalisation_at_width")
"""Bounds whose cases train a net."""

_PART, _PART_TRAINED = 1000, 10
"""Tries that one part of the sweep makes."""


def counted(part: Tries) -> dict[str, Any]:
    """How many of the starts that were tried exceed the bound."""
    (bound,) = (b for b in registry.BOUNDS if b.name == part.bound)
    exceeded = tried = 0
    for number in range(part.first, part.first + part.number):
        # Seeds apart from those of `theory check`, which number from 0.
        case = {**bound.domain.draw(Random(f"{NAME}/{bound.name}/{number}"), number), "seed": 1_000_000 + number}
        pairs = bound.pairs(bound.twin, case)
        tried += bool(pairs)
        exceeded += any(not quantity <= limit * (1 + 1e-12) for quantity, limit in pairs)
    return {"exceeded": exceeded, "tried": tried}
