"""R1: a pretrained network generalises better than a randomly started one, and its weights move less.

Both start with the same fresh head, see the same minibatches of the same pictures under the same schedule, and end at a training
accuracy near one. Their training losses then still differ by a factor of a few, the pretrained one's being the higher; some
of its smaller movement is due to that. Plain SGD with momentum and without weight decay, because the claim is about how far
gradient descent moves the weights: Adam's steps have the size of its learning rate whatever is left to learn, and decay moves
weights by itself. Batch norm is re-estimated on the training set for both, so that the two differ in their weights alone.

Claims tested, at the largest sample, each by the near end of a one-sided 95 % interval over seeds; it has failed where the far
end refutes it, and is undecided between. The pretrained network is at
least eight points ahead in test accuracy. Its weights move less in total, and in most layers.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from scipy.special import stdtrit

from realnets import data, models
from realnets.experiments.cells import cells
from realnets.experiments.fine_tuned import FineTuned, pictures_seen, trainer
from realnets.train import Recipe
from sim.estimate import Estimate, estimate
from sim.experiments.claims import Claim
from sim.records import Cache

NAME = "sample_size"
TITLE = "Accuracy and displacement, pretrained against random start, over sample sizes"

AHEAD = {"openmoji": 0.08, "mnist": 0.01}
"""Claimed difference of the test accuracies at the largest sample, by data set: digits are far from ImageNet, and easy."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A data set with its sample sizes.

    Parameters
    ----------
    name : str
        One of `realnets.data.DATASETS`.
    sizes : tuple of int
        Ascending.
    n_test : int
    """

    name: str
    sizes: tuple[int, ...]
    n_test: int


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the experiment.

    Parameters
    ----------
    targets : tuple of Target
    size : int
        Pixels a side.
    seeds : int ≥ 2
        Each draws its own split, head, random start and order of minibatches.
    recipe : Recipe
    least_steps : int
        Small samples train for more epochs than the recipe's, up to this many steps.
    """

    targets: tuple[Target, ...]
    size: int = 64
    seeds: int = 3
    recipe: Recipe = field(default_factory=lambda: Recipe(epochs=10, batch_size=32, lr=0.01))
    least_steps: int = 90

    @classmethod
    def profile(cls, name: str) -> Config:
        """`"smoke"`, `"quick"`, `"standard"` or `"full"`."""
        if name == "smoke":
            return cls(targets=(Target(name="openmoji", sizes=(32,), n_test=32),), seeds=2, recipe=Recipe(epochs=1, lr=0.01), least_steps=1)
        if name == "quick":
            return cls(targets=(Target(name="openmoji", sizes=(100, 600), n_test=700),), least_steps=60)
        emoji = Target(name="openmoji", sizes=(50, 100, 200, 400, 600), n_test=700)
        digits = Target(name="mnist", sizes=(50, 100, 200, 500, 1000), n_test=2000)
        size, seeds = (64, 8) if name == "standard" else (224, 16)
        return cls(targets=(emoji, digits), size=size, seeds=seeds, recipe=Recipe(epochs=20, batch_size=32, lr=0.01), least_steps=180)


def run(config: Config, cache: Cache, device: str = "cpu") -> dict[str, Any]:
    """Train what is not in the cache yet and return the record's results, claims among them."""
    found: list[dict[str, Any]] = []
    claims: list[Claim] = []
    sources = []
    for target in config.targets:
        pool = data.load(target.name, config.size)
        sources.append(pool.source)
        specs = [
            FineTuned(
                target=target.name,
                n_train=n,
                n_test=target.n_test,
                size=config.size,
                start=start,
                seed=seed,
                recipe=_recipe(config, n),
            )
            for n in target.sizes
            for start in models.STARTS
            for seed in range(config.seeds)
        ]
        results = cells(
            specs, trainer(pool, cache, device), cache, NAME, work=pictures_seen, unit="picture", device=device, data=pool.content_hash
        )
        mine = [{**asdict(spec), **result} for spec, result in zip(specs, results, strict=True)]
        found += mine
        claims += _claims([c for c in mine if c["n_train"] == target.sizes[-1]], target, config)
    return {
        "cells": found,
        "summary": _summary(config, found),
        "attribution": sources,
        "claims": [c.to_dict() for c in claims],
        "seconds": sum(c["seconds"] for c in found),
    }


def _recipe(config: Config, n: int) -> Recipe:
    """The recipe with enough epochs for the least number of steps on `n` pictures."""
    steps_an_epoch = max(1, n // config.recipe.batch_size)
    return Recipe(**{**asdict(config.recipe), "epochs": max(config.recipe.epochs, -(-config.least_steps // steps_an_epoch))})


def _by_start(runs: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    return {start: sorted((c for c in runs if c["start"] == start), key=lambda c: c["seed"]) for start in models.STARTS}


def bound(x: Estimate, side: int) -> float:
    """End of the one-sided 95 % interval by Student's t, the lower for `side = −1`."""
    return x.mean + side * float(stdtrit(x.n - 1, 0.95)) * x.standard_error


def _claims(runs: list[dict[str, Any]], target: Target, config: Config) -> list[Claim]:
    pretrained, random = _by_start(runs).values()
    where = f"{target.name}, {config.size} px, batch norm {config.recipe.batch_norm}"
    at = f"{target.sizes[-1]} pictures, {config.seeds} seeds"
    margin = AHEAD[target.name]
    gap = estimate([p["test"]["accuracy"] - r["test"]["accuracy"] for p, r in zip(pretrained, random, strict=True)])
    # Ratios are averaged as logarithms, so that the two starts may change places.
    log_ratio = estimate([math.log(p["displacement"] / r["displacement"]) for p, r in zip(pretrained, random, strict=True)])
    ratio = math.exp(log_ratio.mean)
    share = estimate([np.mean([p["layers"][n] < r["layers"][n] for n in p["layers"]]) for p, r in zip(pretrained, random, strict=True)])
    return [
        Claim(
            claim="lead of the pretrained network in test accuracy",
            where=where,
            at=at,
            predicted=margin,
            measured=gap.mean,
            standard_error=gap.standard_error,
            statistic="lower end of the 95 % interval, at least",
            value=bound(gap, -1),
            limit=margin,
            verdict=_verdict(bound(gap, -1) >= margin, bound(gap, 1) < margin),
        ),
        Claim(
            claim="displacement of the weights, pretrained over random",
            where=where,
            at=at,
            predicted=1.0,
            measured=ratio,
            standard_error=ratio * log_ratio.standard_error,
            statistic="upper end of the 95 % interval, below",
            value=math.exp(bound(log_ratio, 1)),
            limit=1.0,
            verdict=_verdict(bound(log_ratio, 1) < 0, bound(log_ratio, -1) >= 0),
        ),
        Claim(
            claim="share of the layers that move less in the pretrained network",
            where=where,
            at=at,
            predicted=0.5,
            measured=share.mean,
            standard_error=share.standard_error,
            statistic="lower end of the 95 % interval, above",
            value=bound(share, -1),
            limit=0.5,
            verdict=_verdict(bound(share, -1) > 0.5, bound(share, 1) <= 0.5),
        ),
    ]


def _verdict(held: bool, failed: bool) -> str:
    """Undecided where the interval holds the limit: too few seeds to tell."""
    return "held" if held else "failed" if failed else "undecided"


def _summary(config: Config, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means and standard errors over seeds of each start at each size."""
    rows = []
    for target in config.targets:
        for n in target.sizes:
            runs = [c for c in found if c["target"] == target.name and c["n_train"] == n]
            for start, mine in _by_start(runs).items():
                values = {
                    "test_accuracy": [c["test"]["accuracy"] for c in mine],
                    "train_accuracy": [c["train"]["accuracy"] for c in mine],
                    "train_loss": [c["train"]["loss"] for c in mine],
                    "displacement": [c["displacement"] for c in mine],
                    "displacement_rms": [c["displacement_rms"] for c in mine],
                }
                rows.append({"target": target.name, "n_train": n, "start": start, **{k: asdict(estimate(v)) for k, v in values.items()}})
    return rows
