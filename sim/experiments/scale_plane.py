"""The plane of initial scale and width: one number, `κ√m`, says how far a net is from its kernel.

With `w = κv` and `s = κ√m` a net is `u(x) = s · (1/m) Σ_r a_r relu(v_r·x)` and a gradient step moves `v_r` by `(η/s) a_r Σ_j (y_j − u_j)
1{v_r·x_j > 0} x_j`: neither `κ` nor `m` is left, but for `v_r ~ N(0, I)` being `m` draws. So where the mean over neurons decides, all
that is relative depends on `κ√m` alone; draws add fluctuations, and `O(1/m)` to the means.

Claims tested. At equal `κ√m` the drift of the displacement from its frozen kernel, in the mean over nets, is the same at every width (z
of the difference to the widest nets), and so is the length of the mean drift of the test outputs. From `κ√m = 16` on the drift falls with
the exponent −1; at the largest `κ√m` but one it has the size that first-order theory computes from the data alone (z), at the least it is
smaller than that: it saturates. And `(κ, y, η)` trains as `κ × (1, y/κ, η)`, bit for bit where `κ` is a power of two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import numpy as np

from sim.estimate import Estimate, bias_and_spread, estimate, fit_exponent
from sim.experiments.arms import task_label
from sim.experiments.claims import Claim, exponent_claim, gap_claim, sign_claim, z_claim
from sim.experiments.scratch_runs import DriftTheory, ScratchRun, data_of, expected_drift, train
from sim.records import Cache
from sim.sweep import sweep
from sim.tasks import DigitsTask, SphereTask

NAME = "scale_plane"
TITLE = "The plane of initial scale and width, and its one variable κ√m"

LAZY = 16.0
"""Least `κ√m` at which the drift is claimed to fall like `1/(κ√m)`."""

SCALES = (0.125, 8.0)
"""Initial scales at which the scaling symmetry is checked: powers of two, which no rounding sees."""

QUANTITIES = {"displacement": "drift of the displacement, mean over nets", "test outputs": "drift of the test outputs, length of its mean"}


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the experiment.

    Parameters
    ----------
    tasks : tuple
        Of which the target set is trained on, from scratch.
    widths : tuple of int, ascending
    products : tuple of float, ascending
        Values of `κ√m`; at least four of `LAZY` or more.
    seeds : int ≥ 3
        Antisymmetric nets at each point of the plane.
    steps : int
    rate : float
        Step size in units of `1/λ_max`.
    directions : int
        For the predicted drift.
    dtype : "float64" or "float32"
        Of the trained nets.
    """

    tasks: tuple[SphereTask | DigitsTask, ...]
    widths: tuple[int, ...] = (256, 1024, 4096)
    products: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
    seeds: int = 16
    steps: int = 50
    rate: float = 0.5
    directions: int = 256
    dtype: str = "float32"

    @classmethod
    def profile(cls, name: str) -> Config:
        """`"smoke"`, `"quick"`, `"standard"` or `"full"`."""
        if name == "smoke":
            small: dict[str, Any] = {"n_source": 1, "n_target": 8, "n_test": 10}
            tasks = (SphereTask(**small), DigitsTask(**small))
            return cls(tasks=tasks, widths=(64, 256), products=(2.0, 16.0, 32.0, 64.0, 128.0), seeds=4, steps=10, directions=16)
        sets: dict[str, Any] = {"n_source": 1, "n_target": 20, "n_test": 40}
        tasks = (SphereTask(**sets), DigitsTask(**sets))
        if name == "quick":
            return cls(tasks=tasks)
        products = tuple(2.0**e for e in range(-1, 8))
        if name == "standard":
            return cls(tasks=tasks, products=products, seeds=32, directions=2048)
        return cls(tasks=tasks, widths=(256, 1024, 4096, 16384, 65536), products=(*products, 256.0, 512.0), seeds=64, directions=2048)


def run(config: Config, cache: Cache) -> dict[str, Any]:
    """Train what is not in the cache yet and return the record's results, claims among them."""
    cells: list[dict[str, Any]] = []
    claims: list[Claim] = []
    fits: list[dict[str, Any]] = []
    theory = []
    wanted = [DriftTheory(task=t, steps=config.steps, rate=config.rate, directions=config.directions) for t in config.tasks]
    drifts = sweep(expected_drift, wanted, cache, f"{NAME}: theory", depends=data_of)
    seconds = sum(each["seconds"] for each in drifts)
    for task, drift in zip(config.tasks, drifts, strict=True):
        label = task_label(task)
        plane = [_run(config, task, m, s / math.sqrt(m)) for s in config.products for m in config.widths]
        mirrored = list(chain.from_iterable(_mirrored(config, task, scale) for scale in SCALES))
        groups = sweep(train, [*plane, *mirrored], cache, f"{NAME}: {label}", weight=lambda run: run.cost, depends=data_of)
        seconds += sum(group["seconds"] for group in groups)
        found = {(run.width, s): _drifts(group["nets"]) for (run, s), group in zip(_places(config, plane), groups, strict=False)}
        cells += [
            {"task": label, "width": m, "product": s, "scale": s / math.sqrt(m), "quantity": quantity, "drift": asdict(value)}
            for (m, s), values in found.items()
            for quantity, value in values.items()
        ]
        claims += _collapse(config, label, found)
        widest, lazy = config.widths[-1], [s for s in config.products if s >= LAZY]
        for quantity, words in QUANTITIES.items():
            values = [found[widest, s][quantity] for s in lazy]
            fit = fit_exponent(lazy, values) if all(v.mean != 0 and v.standard_error > 0 for v in values) else None
            fits.append({"task": label, "quantity": quantity, "fit": fit and asdict(fit)})
            where = f"{label}, width {widest:,}, κ√m from {lazy[0]:g} to {lazy[-1]:g}"
            claims.append(exponent_claim(f"exponent in κ√m: {words}", where, fit, -1.0))
        claims += _sizes(config, label, drift, found)
        claims += _symmetry(config, label, groups[len(plane) :])
        theory.append({"task": label, "displacement": drift["displacement"], "error": drift["displacement_error"]})
    return {"cells": cells, "fits": fits, "theory": theory, "claims": [c.to_dict() for c in claims], "seconds": seconds}


def _run(config: Config, task: SphereTask | DigitsTask, width: int, scale: float, labels: float = 1.0, nets: int = 0) -> ScratchRun:
    return ScratchRun(
        task=task,
        width=width,
        steps=(config.steps,),
        nets=nets or config.seeds,
        rate=config.rate,
        init_scale=scale,
        label_scale=labels,
        dtype=config.dtype,
    )


def _mirrored(config: Config, task: SphereTask | DigitsTask, scale: float) -> tuple[ScratchRun, ScratchRun]:
    """The same nets at a scale `κ`, and at scale 1 with labels divided by it."""
    width = config.widths[0]
    return _run(config, task, width, scale, nets=4), _run(config, task, width, 1.0, 1 / scale, nets=4)


def _places(config: Config, plane: list[ScratchRun]) -> Iterator[tuple[ScratchRun, float]]:
    for i, run in enumerate(plane):
        yield run, config.products[i // len(config.widths)]


def _drifts(nets: list[dict[str, Any]]) -> dict[str, Estimate]:
    """Each of `QUANTITIES` over nets."""
    records = [net["records"][0] for net in nets]
    return {
        "displacement": estimate([r["displacement"] / r["frozen_displacement"] - 1 for r in records]),
        "test outputs": bias_and_spread(np.array([r["drift"][1] for r in records]))[0],
    }


def _collapse(config: Config, label: str, found: dict[tuple[int, float], dict[str, Estimate]]) -> Iterator[Claim]:
    widest = config.widths[-1]
    for quantity, words in QUANTITIES.items():
        for s in config.products:
            for m in config.widths[:-1]:
                narrow, wide = found[m, s][quantity], found[widest, s][quantity]
                if narrow.mean == 0 or wide.mean == 0:
                    continue  # a length that cannot be told from the spread
                apart = Estimate(narrow.mean - wide.mean, math.hypot(narrow.standard_error, wide.standard_error), min(narrow.n, wide.n))
                yield z_claim(f"{words}: width {m:,} less width {widest:,}", label, f"κ√m = {s:g}", apart, 0.0)


def _sizes(config: Config, label: str, drift: dict[str, Any], found: dict[tuple[int, float], dict[str, Estimate]]) -> Iterator[Claim]:
    """At the largest product but one, whose drift stands out more from the spread; and at the least."""
    where = f"{label}, width {config.widths[-1]:,}"
    constant, error = drift["displacement"], drift["displacement_error"]
    for s in (config.products[-2], config.products[0]):
        here = found[config.widths[-1], s]["displacement"]
        measured = Estimate(s * here.mean, math.hypot(s * here.standard_error, error), here.n)
        if s == config.products[-2]:
            yield z_claim("κ√m times the drift of the displacement", where, f"κ√m = {s:g}", measured, constant)
        else:
            less = Estimate(measured.mean / constant - 1, measured.standard_error / abs(constant), here.n)
            yield sign_claim("drift of the displacement over its first-order size, less 1", where, f"κ√m = {s:g}", less, -1.0)


def _symmetry(config: Config, label: str, groups: list[dict[str, Any]]) -> Iterator[Claim]:
    for i, scale in enumerate(SCALES):
        at_scale, at_one = (groups[2 * i + j]["nets"] for j in (0, 1))
        for name, degree in (("displacement", 1), ("loss", 2)):
            pairs = zip(at_scale, at_one, strict=True)
            gaps = [a["records"][0][name] / (scale**degree * b["records"][0][name]) - 1 for a, b in pairs]
            worst = max(gaps, key=abs)
            words = f"{name} of (κ, y, η) over that of κ × (1, y/κ, η), less 1: the largest of {len(gaps)} nets"
            where = f"{label}, width {config.widths[0]:,}"
            yield gap_claim(words, where, f"κ = {scale:g}", Estimate(worst, 0.0, len(gaps)), 0.0, 0.0, relative=False)
