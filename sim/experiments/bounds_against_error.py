"""Bounds against the observed error on ordinary data: never exceeded, and how loose.

Spheres and digits, both stages, nets from narrow to wide. A posteriori: the kernel is measured along each net's run, in norm and along
the run's residuals, and what it implies, which holds at any width without exception, is held against what the net did: displacement,
gradient energy, losses, and outputs on all sets. The bounds' ratio to the error says how loose they are. A priori: the width from which
one can know beforehand, with probability 1 − δ; no net of that width can be trained here, at all lesser ones nothing is promised.
(`guarantees` has a problem for which it can.)
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sim.estimate import estimate
from sim.experiments.arms import task_label
from sim.experiments.claims import Claim, frequency_claim
from sim.measured_bounds import DISTANCES, KINDS, measured_bounds, outside
from sim.records import Cache
from sim.sweep import sweep
from sim.tasks import DigitsTask, SphereTask, problem_of
from theory.bounds.guarantee import least_width
from theory.errors import DoesNotApply
from theory.outcome import TransferOutcome
from theory.predict import predict
from theory.problem import Schedule

NAME = "bounds_against_error"
TITLE = "Bounds against the observed error, on spheres and digits"

CONFIDENCE = 0.95
"""Of the interval for the share of nets that exceed a bound."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the experiment; the standard profile has four times the nets and wider ones.

    Parameters
    ----------
    tasks : tuple
        With scalar labels and test points.
    widths : tuple of int
    steps : int
        Of each stage.
    seeds : int ≥ 2
        Nets for each task and width.
    tolerance, delta : float
        Share of displacement and outputs within which, and probability at least 1 − δ with which, the least width is to keep a net.
    a_priori : bool
        Whether to ask for the least widths.
    dtype : "float64"
    """

    tasks: tuple[SphereTask | DigitsTask, ...]
    widths: tuple[int, ...] = (256, 1024, 4096, 16384)
    steps: int = 10
    seeds: int = 8
    tolerance: float = 0.1
    delta: float = 0.05
    a_priori: bool = True
    dtype: str = "float64"

    @classmethod
    def profile(cls, name: str) -> Config:
        """`"smoke"`, `"quick"`, `"standard"` or `"full"`."""
        if name == "smoke":
            few: dict[str, Any] = {"n_source": 4, "n_target": 3, "n_test": 2}
            return cls(tasks=(SphereTask(**few), DigitsTask(**few)), widths=(64, 256), steps=4, seeds=3, a_priori=False)
        sizes: dict[str, Any] = {"n_source": 24, "n_target": 16, "n_test": 10}
        tasks = (SphereTask(**sizes), DigitsTask(**sizes))
        if name == "quick":
            return cls(tasks=tasks)
        wide = (256, 1024, 4096, 16384, 32768) if name == "standard" else (256, 1024, 4096, 16384, 65536, 262144)
        return cls(tasks=tasks, widths=wide, seeds=32 if name == "standard" else 128)


@dataclass(frozen=True, kw_only=True)
class Net:
    """One net."""

    task: SphereTask | DigitsTask
    steps: int
    width: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The least width for which a task is kept within `share`, or, where it is `None`, for which anything is promised."""

    task: SphereTask | DigitsTask
    steps: int
    delta: float
    share: float | None


def run(config: Config, cache: Cache) -> dict[str, Any]:
    """Train what is not in the cache yet and return the record's results, claims among them."""
    nets = [Net(task=t, steps=config.steps, width=m, seed=s) for t in config.tasks for m in config.widths for s in range(config.seeds)]
    asked = [Asked(task=t, steps=config.steps, delta=config.delta, share=s) for t in config.tasks for s in (None, config.tolerance)]
    done = sweep(net_result, nets, cache, f"{NAME}: nets", weight=lambda net: net.width, depends=_data)
    widths = sweep(least, asked if config.a_priori else [], cache, f"{NAME}: least widths", depends=_data)
    claims: list[Claim] = []
    tasks: list[dict[str, Any]] = []
    results = iter(done)
    for i, task in enumerate(config.tasks):
        theory, where = predict(problem_of(task), _schedule(config.steps)), f"{task_label(task)}, {config.steps} + {config.steps} steps"
        cells = []
        for width in config.widths:
            here = [next(results) for _ in range(config.seeds)]
            cells.append(_cell(width, here, theory))
            for kind, words in KINDS.items():
                count = sum(outside(net, kind) for net in here)
                claims.append(frequency_claim(f"nets outside what follows {words}", where, f"width {width:,}", count, len(here), 0.0))
        applies, within = (row["width"] for row in widths[2 * i : 2 * i + 2]) if widths else (None, None)
        tasks.append(
            {
                "task": task_label(task),
                "scales": _scales(task, theory),
                "cells": cells,
                "least_width_to_apply": applies,
                "least_width": within,
                "outside": {kind: _share(cells, kind) for kind in KINDS},
            }
        )
    seconds = sum(result["seconds"] for result in (*done, *widths))
    return {"tasks": tasks, "claims": [c.to_dict() for c in claims], "seconds": seconds}


def net_result(net: Net) -> dict[str, Any]:
    """One net against what its kernel implies."""
    return measured_bounds(problem_of(net.task), _schedule(net.steps), net.width, net.seed)


def least(asked: Asked) -> dict[str, Any]:
    """The least width; `None` where none up to 2⁸⁰ is enough."""
    wanted = math.inf if asked.share is None else asked.share
    try:
        found = least_width(problem_of(asked.task), _schedule(asked.steps), delta=asked.delta, wanted=wanted)
    except DoesNotApply:
        return {"width": None}
    return {"width": found.width}


def _schedule(steps: int) -> Schedule:
    return Schedule(source_steps=steps, target_steps=steps)


def _data(item: Net | Asked) -> str:
    return problem_of(item.task).content_hash


def _scales(task: SphereTask | DigitsTask, theory: TransferOutcome) -> dict[str, float]:
    """What an error is a share of: the predicted displacement, and the lengths of the labels."""
    problem = problem_of(task)
    assert problem.source is not None and problem.test is not None
    labels = {"source_outputs": problem.source[1], "target_outputs": problem.target[1], "test_outputs": problem.test[1]}
    assert theory.displacement is not None
    return {"displacement": theory.displacement, **{name: float(np.linalg.norm(y)) for name, y in labels.items()}}


def _cell(width: int, nets: list[dict[str, Any]], theory: TransferOutcome) -> dict[str, Any]:
    """One width: errors, bounds on them of both kinds, and what a bound is over the error of the same net; means over nets."""
    assert theory.displacement is not None
    errors = {"displacement": [net["apart"] for net in nets], **{name: [net["distances"][name] for net in nets] for name in DISTANCES}}
    bounds = {kind: _bounds([net["kinds"][kind] for net in nets], theory.displacement) for kind in KINDS}
    return {
        "width": width,
        "errors": {name: asdict(estimate(values)) for name, values in errors.items()},
        "bounds": {kind: {name: asdict(estimate(values)) for name, values in found.items()} for kind, found in bounds.items()},
        # Of geometric means: the error of the displacement may be near zero in one net.
        "looseness": {
            kind: {name: math.exp(float(np.mean(np.log(values) - np.log(errors[name])))) for name, values in found.items()}
            for kind, found in bounds.items()
        },
        "outside": {kind: sum(outside(net, kind) for net in nets) for kind in KINDS},
        "nets": len(nets),
    }


def _bounds(implied: list[dict[str, Any]], displacement: float) -> dict[str, list[float]]:
    """Of each net, how far it may be from the prediction."""
    ends = [one["bands"]["displacement"] for one in implied]
    moved = [max(displacement - low, high - displacement) for low, high in ends]
    return {"displacement": moved, **{name: [one["distances"][name] for one in implied] for name in DISTANCES}}


def _share(cells: list[dict[str, Any]], kind: str) -> dict[str, float]:
    """Nets outside, over all widths, and the upper end of the one-sided interval for their share (Clopper and Pearson 1934)."""
    from scipy.special import betaincinv

    count, tried = sum(c["outside"][kind] for c in cells), sum(c["nets"] for c in cells)
    upper = 1.0 if count == tried else float(betaincinv(count + 1, tried - count, CONFIDENCE))
    return {"count": count, "tried": tried, "upper": upper}
