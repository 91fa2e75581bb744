"""Admissible cases of penalties and optimisers, drawn like those of `cases`: dyadic features and labels, step sizes that are not round."""

from __future__ import annotations

import math
from itertools import pairwise
from random import Random
from typing import Any

from theory.definitions.cases import STEP_SIZES, STEPS, Rows, dyadic, eigenvalues, features, gram_of, product, rows
from theory.definitions.cases import two_stages as plain_two_stages
from theory.formula import Case

MOMENTA = (0.5, 0.9, 0.0, 0.25, 0.75)
"""By index of the case."""

DECAYS = (0.5, 0.0, 0.125, 2.0)
"""`β` in units of the smallest eigenvalue's size, by index."""

ANCHORS = ("start", "initial", "zero")

FINITE_STEPS = (0, 1, 2, 7, 40, 3)


def _rate(rng: Random, index: int, largest: float, momentum: float) -> float:
    """A step size at a share of the bound `2(1 + μ)/(λ_max + β)`."""
    return STEP_SIZES[index % len(STEP_SIZES)] / 2 * rng.uniform(0.97, 0.999) * 2 * (1 + momentum) / largest


def heavy_ball_modes(rng: Random, index: int) -> Case:
    """Eigenvalues from 0 to the edge of stability: real roots, a double one (`μ = ¼` or 0), complex ones, negative ones."""
    momentum = (0.25, 0.5, 0.9, 0.0, 0.9375)[index % 5]
    lr = rng.choice((0.25, 0.5, 1.0, 2.0))
    root = math.sqrt(momentum)
    low, high = (1 - root) ** 2, (1 + root) ** 2
    scaled = [0.0, 2.0**-40, 2.0**-12, low * 0.5, (1 + momentum) * 0.9, 1.0, high * 0.999, (high + 2 * (1 + momentum)) / 2 * 0.9999]
    if root == 0.5:
        scaled += [0.25, 2.25]
    return {"values": [x / lr for x in scaled], "lr": lr, "steps": STEPS[index % len(STEPS)], "momentum": momentum}


def decayed_modes(rng: Random, index: int) -> Case:
    """As `heavy_ball_modes`, with a decay; the eigenvalues leave room for it."""
    case = heavy_ball_modes(rng, index)
    decay = (0.0, 2.0**-6, 0.25, 2.0**-20)[index % 4] / case["lr"]
    bound = 2 * (1 + case["momentum"]) / case["lr"]
    return {**case, "values": [v for v in case["values"] if v + decay < 0.9999 * bound], "decay": decay}


def shifted_modes(rng: Random, index: int) -> Case:
    """As `decayed_modes`, eigenvalues above 0; some so small that a difference of two filters would be rounding."""
    case = decayed_modes(rng, index)
    return {**case, "values": [v for v in case["values"] if v > 0]}


def varying(rng: Random, index: int) -> Case:
    """Eigenvalues from 0 to 2, and up to 24 step sizes, from hardly moving to the edge of stability."""
    count = (0, 1, 3, 24)[index % 4]
    size = (1.0, 2.0**-9, 1.0, 0.5)[index % 4]
    return {"values": [0.0, 2.0**-40, 2.0**-10, 0.5, 1.0, 2.0], "rates": [size * rng.uniform(0.01, 0.99) for _ in range(count)]}


def stable(rng: Random, index: int) -> Case:
    """Features, momentum, decay, and step sizes on both sides of `2(1 + μ)/(λ_max + β)`."""
    F = features(rng, 2, 2)
    momentum, largest = MOMENTA[index % len(MOMENTA)], eigenvalues(F)[-1]
    decay = DECAYS[index % len(DECAYS)] * largest
    factor = (0.5, 0.999999, 1.000001, 1.5)[index % 4]
    return {"features": F, "momentum": momentum, "decay": decay, "lr": factor * 2 * (1 + momentum) / (largest + decay)}


def penalised(rng: Random, index: int) -> Case:
    """One stage with a start that is not its anchor, or is; regular Gram matrix; with and without momentum, decay and an end."""
    n = 2 + index % 2
    F = features(rng, n, n + index % 2)
    c = 1 + index % 2
    momentum, values = MOMENTA[index % len(MOMENTA)], eigenvalues(F)
    decay = DECAYS[index % len(DECAYS)] * values[0]
    anchor = rows(rng, len(F[0]), c)
    away = [[0.0] * c for _ in anchor] if index % 3 == 2 else rows(rng, len(F[0]), c)
    start = [[a + b for a, b in zip(u, v, strict=True)] for u, v in zip(anchor, away, strict=True)]
    Y, outputs = rows(rng, n, c), product(F, anchor)
    return {
        "features": F,
        "given": Y,
        "labels": [[a - b for a, b in zip(u, v, strict=True)] for u, v in zip(Y, outputs, strict=True)],
        "start": start,
        "anchor": anchor,
        "carried": product(F, away),
        "distance": math.sqrt(math.fsum(v * v for row in away for v in row)),
        "starts_at_anchor": index % 3 == 2,
        "momentum": momentum,
        "decay": decay,
        "lr": _rate(rng, index, values[-1] + decay, momentum),
        "steps": STEPS[index % len(STEPS)],
    }


def minibatches(rng: Random, index: int) -> Case:
    """Features, labels and a few epochs of batches in random order; one batch of all points every third time."""
    n = 3 + index % 2
    F = features(rng, n, n if index % 2 else n - 1)
    order: list[list[int]] = []
    for _ in range(3):
        points = rng.sample(range(n), n)
        size = n if index % 3 == 2 else 1 + index % 2
        order += [points[i : i + size] for i in range(0, n, size)]
    lr = rng.uniform(0.3, 0.99) * 2 / max(eigenvalues(F)[-1], max(gram_of(F)[i][i] for i in range(n)))
    return {"features": F, "labels": rows(rng, n, 1 + index % 2), "batches": order[: (0, 1, 6, 12)[index % 4]], "lr": lr}


def penalised_transfer(rng: Random, index: int) -> dict[str, Any]:
    """Two stages with one momentum, one decay and one anchor; labels of both, and test features."""
    case = dict(plain_two_stages(rng, index))
    momentum = (0.0, 0.5, 0.9)[index % 3]
    lower = min(eigenvalues(case["source_features"])[0], eigenvalues(case["target_features"])[0])
    decay = (0.5, 0.125, 2.0, 0.0)[index % 4] * lower
    for name in ("source", "target"):
        largest = eigenvalues(case[f"{name}_features"])[-1] + decay
        case[f"{name}_lr"] = _rate(rng, index + (name == "target"), largest, momentum)
    norm = math.sqrt(math.fsum(v * v for row in case["start"] for v in row))
    return {**case, "momentum": momentum, "weight_decay": decay, "initial_norm": norm}


def anchored(anchor: str) -> Any:
    """Sampler of `penalised_transfer` cases with the given anchor."""

    def draw(rng: Random, index: int) -> Case:
        return {**penalised_transfer(rng, index), "anchor": anchor}

    return draw


def logits(rng: Random, index: int) -> Case:
    """Outputs from undecided to as good as certain, right and wrong, for labels ±1 and for two or three classes, one-hot or soft."""
    n, c = 3, (1, 2, 3)[index % 3]
    size = (1.0, 8.0, 40.0)[index // 3 % 3]
    return {"outputs": [[size * dyadic(rng) for _ in range(c)] for _ in range(n)], "labels": class_labels(rng, n, c, index % 5 == 4)}


def class_labels(rng: Random, n: int, c: int, soft: bool = False) -> Rows:
    """One column of ±1, or rows of one-hot, or soft, probabilities."""
    if c == 1:
        return [[float(rng.choice((-1, 1)))] for _ in range(n)]
    if soft:
        cuts = [sorted([0, *(rng.randint(0, 16) for _ in range(c - 1)), 16]) for _ in range(n)]
        return [[(b - a) / 16 for a, b in pairwise(row)] for row in cuts]
    return [[1.0 if k == chosen else 0.0 for k in range(c)] for chosen in (rng.randrange(c) for _ in range(n))]


def cross_entropy(rng: Random, index: int) -> Case:
    """A stage of cross-entropy for labels ±1 and for two or three classes, with and without momentum, decay and an anchor elsewhere."""
    n, c = 2 + index % 2, (1, 2, 3)[index % 3]
    F = features(rng, n, n)
    momentum = (0.0, 0.5, 0.9)[index % 3] if index % 2 else 0.0
    largest = eigenvalues(F)[-1]
    decay = (0.0, 0.125)[index // 2 % 2] * largest
    anchor = rows(rng, n, c)
    away = rows(rng, n, c) if index % 4 == 3 else [[0.0] * c for _ in range(n)]
    curvature = largest / (4 if c == 1 else 2) + decay
    return {
        "features": F,
        "labels": class_labels(rng, n, c, index % 5 == 4),
        "start": [[a + b for a, b in zip(u, v, strict=True)] for u, v in zip(anchor, away, strict=True)],
        "anchor": anchor,
        "carried": product(F, away),
        "distance": math.sqrt(math.fsum(v * v for row in away for v in row)),
        "momentum": momentum,
        "decay": decay,
        "lr": rng.uniform(0.5, 0.99) * 2 * (1 - momentum) / curvature,
        "steps": FINITE_STEPS[index % len(FINITE_STEPS)],
    }


def undecided(rng: Random, index: int) -> Case:
    """Features and labels of two classes, as ±1 or as one-hot rows; momentum and decay."""
    F = features(rng, 2, 2)
    return {
        "features": F,
        "labels": class_labels(rng, 2, 1 + index % 2),
        "momentum": MOMENTA[index % len(MOMENTA)],
        "decay": DECAYS[index % len(DECAYS)] * eigenvalues(F)[0],
    }
