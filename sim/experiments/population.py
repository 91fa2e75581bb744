"""Infinitely many samples: what is learnt and transferred degree by degree on the sphere, and the floor that no sample goes below.

Claims tested, on kernel machines (no nets) trained on finite samples of uniform inputs, their errors integrated over the whole sphere
exactly. At a fixed step size times `n`, a sample of `n` has a bias `c/n + O(1/n²)` against the prediction for `n → ∞`; so twice the mean
error at the largest size less that at half of it has that prediction for its expectation, but for `O(1/n²)`: a z-test.
The bias itself falls with exponent −1. Eigenvalues of `H/n` have the predicted values and multiplicities (z, in the same way). The error
is summed over the degrees that the kernel is said to have, and so cannot go below the floor; that it is the error is tried on fresh points
(z). With a constant coordinate the same teacher is learnt below the floor.

The sizes of one seed are nested samples; the numbers of steps of one draw are not independent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sim.estimate import estimate, fit_exponent
from sim.experiments.claims import Claim, exponent_claim, sign_claim, z_claim
from sim.finite_samples import FRESH, SphereSource, draw, learn
from sim.records import Cache
from sim.sweep import sweep
from theory.numeric.sphere import multiplicity

NAME = "population"
TITLE = "Infinitely many samples, the floor and the sphere's eigenvalues"

CLEAR = 6.0
"""Standard errors by which a bias stands out well enough for its exponent in `n`."""

FLOOR_SEEN = 0.01
"""A floor below this share of the target's energy is not claimed as one."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the experiment; the standard profile has twice the tasks and three times the draws.

    Parameters
    ----------
    tasks : tuple of SphereSource
    sizes : tuple of int, at least four, each twice the one before
    steps : tuple of int
    rate : float
        Step size in units of `1/(n λ_max)`.
    seeds : int ≥ 3
        Draws for each task.
    dtype : "float64"
    """

    tasks: tuple[SphereSource, ...]
    sizes: tuple[int, ...] = (64, 128, 256, 512)
    steps: tuple[int, ...] = (1, 2, 4, 8, 16)
    rate: float = 0.5
    seeds: int = 64
    dtype: str = "float64"

    @classmethod
    def profile(cls, name: str) -> Config:
        """`"smoke"`, `"quick"`, `"standard"` or `"full"`."""
        sign = SphereSource(dimension=3, source="sign", target="sign", last=20)
        above = SphereSource(dimension=3, source="sign", target="sign", constant=1.0)
        mixed = SphereSource(dimension=4, source="linear+quadratic", target="relu", angle=0.5, last=20)
        if name == "smoke":
            return cls(tasks=(sign, above, mixed), sizes=(16, 32, 64, 128), seeds=12)
        if name == "quick":
            return cls(tasks=(sign, above, mixed))
        relu = SphereSource(dimension=5, source="relu", target="relu", last=20)
        more = (
            SphereSource(dimension=3, source="tanh", target="tanh"),
            SphereSource(dimension=8, source="relu", target="linear+quadratic", last=16),
        )
        if name == "standard":
            return cls(tasks=(sign, relu, above, mixed, *more), seeds=200)
        return cls(tasks=(sign, relu, above, mixed, *more), sizes=(128, 256, 512, 1024, 2048, 4096), seeds=400)


def run(config: Config, cache: Cache) -> dict[str, Any]:
    """Draw and train what is not in the cache yet and return the record's results, claims among them."""
    claims: list[Claim] = []
    cells: list[dict[str, Any]] = []
    spectra: list[dict[str, Any]] = []
    floors: list[dict[str, Any]] = []
    seconds = 0.0
    wanted = [
        Draw(task=task, sizes=config.sizes, steps=config.steps, rate=config.rate, seed=seed)
        for task in config.tasks
        for seed in range(config.seeds)
    ]
    drawn = sweep(learnt, wanted, cache, NAME)
    for number, task in enumerate(config.tasks):
        draws = drawn[number * config.seeds : (number + 1) * config.seeds]
        seconds += sum(each["seconds"] for each in draws)
        transfer = task.transfer()
        largest = float(transfer.eigenvalues.max())
        predicted = [float(np.sum(transfer.remaining(1.0, config.rate / largest, k))) for k in config.steps]
        # (seeds, sizes, steps) and (seeds, sizes, blocks)
        errors = np.array([[size["errors"] for size in each["sizes"]] for each in draws])
        values = np.array([[size["eigenvalues"] for size in each["sizes"]] for each in draws])
        claims += _error_claims(config, task, errors, predicted)
        fresh = np.array([each["sizes"][-1]["fresh"] for each in draws])
        claims += _fresh_claims(config, task, errors[:, -1], fresh)
        claims += _floor_claims(config, task, errors)
        degrees, multiplicities = _blocks(task)
        for i, (degree, count) in enumerate(zip(degrees, multiplicities, strict=True)):
            value = float(transfer.eigenvalues[degree])
            where = f"{task.label}, n = {config.sizes[-2]} and {config.sizes[-1]}"
            at = f"degree {degree}, {count} eigenvalues"
            claims.append(
                z_claim("mean eigenvalue of H/n, extrapolated in 1/n", where, at, estimate(_extrapolated(values[:, :, i])), value)
            )
            found = [asdict(estimate(values[:, s, i].tolist())) for s in range(len(config.sizes))]
            spectra.append({"task": task.label, "degree": degree, "multiplicity": count, "predicted": value, "measured": found})
        for s, n in enumerate(config.sizes):
            for i, k in enumerate(config.steps):
                measured = asdict(estimate(errors[:, s, i].tolist()))
                cells.append({"task": task.label, "n": n, "steps": k, "predicted": predicted[i], "floor": task.floor, "error": measured})
        floors.append({"task": task.label, "floor": task.floor, "without_constant": _without_constant(task).floor})
    return {"cells": cells, "floors": floors, "eigenvalues": spectra, "claims": [c.to_dict() for c in claims], "seconds": seconds}


def _error_claims(config: Config, task: SphereSource, errors: np.ndarray, predicted: Sequence[float]) -> Iterator[Claim]:
    where = f"{task.label}, n = {config.sizes[-2]} and {config.sizes[-1]}"
    for i, k in enumerate(config.steps):
        words = "mean squared error, extrapolated in 1/n"
        yield z_claim(words, where, f"{k} steps", estimate(_extrapolated(errors[:, :, i])), predicted[i])
    # Terms of order 1/n² grow with the steps: the fewest at which the bias stands out at every size, else those where it does most.
    gaps = errors - np.array(predicted)
    scores = np.min(np.abs(gaps.mean(axis=0)) / gaps.std(axis=0, ddof=1), axis=0) * len(gaps) ** 0.5
    clearest = int(np.argmax(scores >= CLEAR)) if np.any(scores >= CLEAR) else int(np.argmax(scores))
    values = [estimate(gaps[:, s, clearest].tolist()) for s in range(len(config.sizes))]
    where = f"{task.label}, {config.steps[clearest]} steps, n = {config.sizes[0]} to {config.sizes[-1]}"
    one_sign = len({value.mean > 0 for value in values}) == 1
    yield exponent_claim(
        "exponent in n: error less its value at n → ∞", where, fit_exponent(config.sizes, values) if one_sign else None, -1.0
    )


def _fresh_claims(config: Config, task: SphereSource, errors: np.ndarray, fresh: np.ndarray) -> Iterator[Claim]:
    """That the sum over degrees is the error: were a degree learnt that the kernel is said to lack, fresh points would show less.

    With it goes the floor, which that sum cannot go below.
    """
    where = f"{task.label}, n = {config.sizes[-1]}"
    for i, k in enumerate(config.steps):
        gaps = estimate((fresh[:, i] - errors[:, i]).tolist())
        yield z_claim("mean squared error on fresh points less that summed over degrees", where, f"{k} steps", gaps, 0.0)


def _floor_claims(config: Config, task: SphereSource, errors: np.ndarray) -> Iterator[Claim]:
    without = _without_constant(task)
    if without.floor < FLOOR_SEEN or not task.constant:
        return
    transfer = task.transfer()
    k = config.steps[-1]
    expected = float(np.sum(transfer.remaining(1.0, config.rate / float(transfer.eigenvalues.max()), k))) - without.floor
    gaps = [float(v) - without.floor for v in errors[:, -1, -1]]
    yield sign_claim(
        "error less the floor without a constant coordinate",
        f"{task.label}, n = {config.sizes[-1]}",
        f"{k} steps",
        estimate(gaps),
        expected,
    )


def _without_constant(task: SphereSource) -> SphereSource:
    return SphereSource(**{**asdict(task), "constant": 0.0})


def _extrapolated(values: np.ndarray) -> list[float]:
    """Of each draw, twice the value at the largest size less that at half of it: no bias of order `1/n` is left in the mean."""
    return [float(v) for v in 2 * values[:, -1] - values[:, -2]]


def _blocks(task: SphereSource) -> tuple[list[int], list[int]]:
    """The three degrees of the largest eigenvalues, and their multiplicities."""
    order = np.argsort(-task.transfer().eigenvalues)[:3]
    degrees = [int(degree) for degree in order]
    return degrees, [multiplicity(task.dimension, degree) for degree in degrees]


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Nested samples of one seed, and how they are learnt: `sizes`, `steps` and `rate` as in `Config`."""

    task: SphereSource
    sizes: tuple[int, ...]
    steps: tuple[int, ...]
    rate: float
    seed: int


def learnt(drawn: Draw) -> dict[str, Any]:
    """What is learnt from the samples of one seed, the largest of them tried on new points as well."""
    _, blocks = _blocks(drawn.task)
    new, samples = draw(drawn.task, (FRESH,), 1_000_000 + drawn.seed)[0], draw(drawn.task, drawn.sizes, drawn.seed)
    return {"sizes": [asdict(learn(drawn.task, X, drawn.rate, drawn.steps, blocks, new if X is samples[-1] else None)) for X in samples]}
