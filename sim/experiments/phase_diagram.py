"""The phase diagram of transfer: where it helps and where it hurts, over the similarity of inputs and of labels.

Claims tested, for given labels and for Gaussian teachers, on the sphere and on digits. With given labels the frozen kernel's gain is the
predicted one at every point of the plane (z), the trained net's lies within two hundredths of it and has its sign. On average over
Gaussian teachers what pretraining saves is predicted too. The frozen kernel puts the boundary between help and harm at the predicted
angle (z); for Gaussian teachers that is 60° to the end of training whatever the inputs, and beyond it by as much as theory says where
stages are shorter. Training moves the boundary by less than three degrees.

Each net with Gaussian teachers has its own; the frozen kernel is tried on many, and the trained net adds its drift on one of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from sim.dials import DATA, TEACHERS, DialTask
from sim.estimate import Estimate, estimate, jackknife
from sim.experiments.claims import Claim, gap_claim, sign_claim, z_claim
from sim.experiments.phase_runs import PhaseRun, data_of, infinite_width, train
from sim.records import Cache
from sim.sweep import sweep
from theory.average import average_case
from theory.numeric.average_case import TeacherAverage
from theory.problem import Schedule

NAME = "phase_diagram"
TITLE = "Where transfer helps and where it hurts: similarity of inputs and of labels"

GAIN = 0.02
"""Distance of the trained net's gain from the predicted one that is claimed.

Chosen, not derived, as is `DEGREES`: drift allows something of order `1/√m` of the displacements whose ratio the gain is, 0.03 at width
1,024.
"""

DEGREES = 3.0
"""How far the trained net's boundary is claimed to lie from its frozen kernel's, at most."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the experiment.

    Parameters
    ----------
    tasks : tuple of DialTask
        Their dials are turned.
    similarities : tuple of float
        Of inputs, at which nets are trained.
    angles : tuple of float, ascending
        Between labels, in degrees.
    width : int
    seeds : int ≥ 3
        Nets for each task and similarity.
    steps : int
        Of either stage.
    teachers : int
        Gaussian teachers for each net's frozen kernel.
    grid : int
        Points of the theory's map along either axis.
    dtype : "float64" or "float32"
        Of the trained nets.
    """

    tasks: tuple[DialTask, ...]
    similarities: tuple[float, ...]
    angles: tuple[float, ...] = (0.0, 30.0, 50.0, 70.0, 90.0, 120.0)
    width: int
    seeds: int = 12
    steps: int = 40
    teachers: int = 32
    grid: int = 25
    dtype: str = "float32"

    @classmethod
    def profile(cls, name: str) -> Config:
        """`"smoke"`, `"quick"`, `"standard"` or `"full"`."""
        if name == "smoke":
            small = [DialTask(data=d, teacher=t, n_source=12, n_target=6, n_test=1) for d in DATA for t in TEACHERS]
            angles = (0.0, 45.0, 75.0, 120.0)
            return cls(tasks=tuple(small), similarities=(1.0,), angles=angles, width=256, seeds=4, steps=10, teachers=8, grid=5)
        tasks = [DialTask(data=d, teacher=t, n_test=1) for d in DATA for t in TEACHERS]
        if name == "quick":
            return cls(tasks=tuple(tasks), similarities=(0.4, 1.0), width=1024)
        larger = [replace(t, n_source=120, n_target=40) for t in tasks]
        wide, seeds = (4096, 16) if name == "standard" else (16384, 32)
        many = (0.0, 20.0, 40.0, 50.0, 60.0, 70.0, 80.0, 100.0, 140.0, 180.0)
        few = many if name == "full" else (0.0, 30.0, 50.0, 60.0, 70.0, 90.0, 135.0)
        similarities = (0.2, 0.4, 0.6, 0.8, 1.0) if name == "full" else (0.3, 0.65, 1.0)
        return cls(tasks=tuple(larger), similarities=similarities, angles=few, width=wide, seeds=seeds, steps=60, teachers=64, grid=49)


def run(config: Config, cache: Cache) -> dict[str, Any]:
    """Train what is not in the cache yet and return the record's results, claims among them."""
    cells: list[dict[str, Any]] = []
    boundaries: list[dict[str, Any]] = []
    claims: list[Claim] = []
    places = [(task, replace(task, input_similarity=c)) for task in config.tasks for c in config.similarities]
    runs = [_run(config, at, seed) for _, at in places for seed in range(config.seeds)]
    nets = sweep(train, runs, cache, NAME, depends=data_of)
    for number, (task, at) in enumerate(places):
        here = nets[number * config.seeds : (number + 1) * config.seeds]
        point = _gaussian(config, at, here) if task.teacher == "gaussian" else _given(config, at, here)
        about = {"task": task.label, "similarity": at.input_similarity}
        for angle, predicted, frozen, trained in zip(config.angles, point.predicted, point.frozen.T, point.trained.T, strict=True):
            values = {"frozen": asdict(estimate(frozen.tolist())), "trained": asdict(estimate(trained.tolist()))}
            cells.append({**about, "angle": angle, "predicted": predicted, **values})
        found = {
            name: None if edge is None else asdict(edge) for name, edge in zip(("frozen", "trained", "moved"), point.edges, strict=True)
        }
        boundaries.append({**about, "predicted": point.edge, **found})
        claims += _claims(config, at, point)
    maps = [_map(config, task) for task in config.tasks]
    seconds = sum(net["seconds"] for net in nets)
    return {"cells": cells, "boundaries": boundaries, "maps": maps, "claims": [c.to_dict() for c in claims], "seconds": seconds}


@dataclass(frozen=True, eq=False)
class _Point:
    """One task at one similarity: a prediction for each angle, (nets, angles) arrays, and in degrees where they change sign.

    `edges` are the frozen kernel's, the trained net's, and their difference.
    """

    quantity: str
    predicted: list[float]
    frozen: np.ndarray
    trained: np.ndarray
    edge: float | None
    edges: tuple[Estimate | None, ...]


def _edges(frozen: np.ndarray, trained: np.ndarray, edge: Callable[[np.ndarray], float | None]) -> tuple[Estimate | None, ...]:
    """Where each rung changes sign, and how far apart that is, with jackknife errors over nets."""

    def moved(both: np.ndarray) -> float | None:
        first, second = edge(both[:, 0]), edge(both[:, 1])
        return None if first is None or second is None else second - first

    return jackknife(frozen, edge), jackknife(trained, edge), jackknife(np.stack([frozen, trained], axis=1), moved)


def _run(config: Config, task: DialTask, seed: int) -> PhaseRun:
    return PhaseRun(
        task=task,
        angles=config.angles,
        width=config.width,
        seed=seed,
        source_steps=config.steps,
        target_steps=config.steps,
        teachers=config.teachers if task.teacher == "gaussian" else 1,
        dtype=config.dtype,
    )


def _given(config: Config, task: DialTask, nets: Sequence[dict[str, Any]]) -> _Point:
    scratch, after = infinite_width(task, config.steps, config.steps).displacements(task.sets(), config.angles)
    predicted = [1 - d / scratch for d in after]
    frozen, trained = (np.array([[1 - d / net[rung][0] for d in net[rung][1:]] for net in nets]) for rung in ("frozen", "trained"))

    def edge(gains: np.ndarray) -> float | None:
        return first_change(config.angles, gains.mean(axis=0).tolist())

    return _Point("gain", predicted, frozen, trained, first_change(config.angles, predicted), _edges(frozen, trained, edge))


def _gaussian(config: Config, task: DialTask, nets: Sequence[dict[str, Any]]) -> _Point:
    average = _average(config, task)
    scratch = average.mean(math.pi / 2) / _ratio(average, 90.0)
    predicted = [1 - _ratio(average, angle) for angle in config.angles]
    squares = np.array([net["squares"] for net in nets])
    drift = np.square([net["trained"] for net in nets]) - np.square([net["frozen"] for net in nets])
    frozen, trained = ((values[:, :1] - values[:, 1:]) / scratch for values in (squares, squares + drift))
    cosines = np.cos(np.radians(config.angles))

    def edge(shares: np.ndarray) -> float | None:
        # The mean over teachers is linear in cos φ.
        slope, level = np.polyfit(cosines, shares.mean(axis=0), 1)
        return math.degrees(math.acos(-level / slope)) if abs(level) < abs(slope) else None

    threshold = average.threshold_angle()
    return _Point(
        "share of the mean squared displacement that pretraining saves",
        predicted,
        frozen,
        trained,
        None if threshold is None else math.degrees(threshold),
        _edges(frozen, trained, edge),
    )


def _average(config: Config, task: DialTask) -> TeacherAverage:
    sets = task.sets()
    return average_case(sets.X_P, sets.X_Q, schedule=Schedule(config.steps, config.steps))["squared_displacement"]


def _ratio(average: TeacherAverage, angle: float) -> float:
    ratio = average.ratio(math.radians(angle))
    assert ratio is not None
    return ratio


def _claims(config: Config, task: DialTask, point: _Point) -> Iterator[Claim]:
    where = f"{task.label}, input similarity {task.input_similarity:g}, width {config.width:,}"
    for angle, predicted, frozen, trained in zip(config.angles, point.predicted, point.frozen.T, point.trained.T, strict=True):
        at, net = f"label angle {angle:g}°", estimate(trained.tolist())
        yield z_claim(f"frozen kernel: {point.quantity}", where, at, estimate(frozen.tolist()), predicted)
        if task.teacher == "given":
            yield gap_claim(f"trained net: {point.quantity}", where, at, net, predicted, GAIN, relative=False)
        yield sign_claim(f"trained net: sign of the {point.quantity}", where, at, net, predicted)
    frozen_edge, _, moved = point.edges
    words = "label angle at which transfer stops to help, in degrees"
    if point.edge is not None and frozen_edge is not None:
        yield z_claim(f"frozen kernel: {words}", where, "", frozen_edge, point.edge)
    if moved is not None:
        yield gap_claim(f"trained net less frozen kernel: {words}", where, "", moved, 0.0, DEGREES, relative=False)


def first_change(angles: Sequence[float], values: Sequence[float]) -> float | None:
    """Where values first fall from above zero to below, by straight lines between the angles; `None` where they do not."""
    for (a, u), (b, v) in zip(zip(angles, values, strict=True), zip(angles[1:], values[1:], strict=True), strict=False):
        if u > 0 >= v:
            return a + (b - a) * u / (u - v)
    return None


def _map(config: Config, task: DialTask) -> dict[str, Any]:
    """The theory over the whole plane: rows are similarities."""
    similarities = [i / (config.grid - 1) for i in range(config.grid)]
    angles = [180 * i / (config.grid - 1) for i in range(config.grid)]
    rows, edges = [], []
    for c in similarities:
        at = replace(task, input_similarity=c)
        if task.teacher == "gaussian":
            average = _average(config, at)
            rows.append([1 - _ratio(average, angle) for angle in angles])
            edge = average.threshold_angle()
            edges.append(None if edge is None else math.degrees(edge))
        else:
            scratch, after = infinite_width(at, config.steps, config.steps).displacements(at.sets(), angles)
            rows.append([1 - d / scratch for d in after])
            edges.append(first_change(angles, rows[-1]))
    return {"task": task.label, "similarities": similarities, "angles": angles, "values": rows, "edges": edges}
