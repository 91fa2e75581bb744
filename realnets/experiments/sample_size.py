"""R1: a pretrained network generalises better than a randomly started one, and its weights move less.

Both start with the same fresh head, see the same minibatches of the same pictures under the same schedule, and end at a training
accuracy near one. Their training losses then still differ by a factor of a few, the pretrained one's being the higher; some
of its smaller movement is due to that. Plain SGD with momentum and without weight decay, because the claim is about how far
gradient descent moves the weights: Adam's steps have the size of its learning rate whatever is left to learn, and decay moves
weights by itself. Batch norm is re-estimated on the training set for both, so that the two differ in their weights alone.

Claims tested, at the largest sample, each by the near end of a one-sided 95 % interval over seeds; it has failed where the far end refutes
it, and is undecided between. The pretrained network is at least eight points ahead in test accuracy on pictures like those that it was
pretrained on, and ahead on digits. Its weights move less in total, also where the training losses of both are the same, and in most layers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from realnets import models
from realnets.experiments.cells import cells
from realnets.experiments.fine_tuned import FineTuned, common_loss, moved_at_loss, pictures_seen, trainer
from realnets.experiments.intervals import above, ratio_below_one
from realnets.experiments.pools import Pool, hash_of
from realnets.train import Recipe
from sim.estimate import estimate
from sim.experiments.claims import Claim
from sim.records import Cache

NAME = "sample_size"
TITLE = "Accuracy and displacement, pretrained against random start, over sample sizes"

AHEAD = {"openmoji": 0.08, "mnist": 0.01}
"""Claimed difference of the test accuracies at the largest sample, by data set, for others none but its sign: digits are far from
ImageNet, and easy. Chosen, not derived."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A data set with its sample sizes.

    Parameters
    ----------
    name : str
        As in `realnets.data.load`.
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
    model : str
        As in `realnets.models.load`, with weights of its own.
    size : int
        Pixels a side.
    seeds : int ≥ 2
        Each draws its own split, head, random start and order of minibatches.
    recipe : Recipe
    least_steps : int
        Small samples train for more epochs than the recipe's, up to this many steps.
    """

    targets: tuple[Target, ...]
    model: str = "efficientnet-lite0"
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
        digits = Target(name="mnist", sizes=(50, 100, 200, 400), n_test=1000)
        if name == "standard":
            return cls(targets=(emoji, digits), seeds=4)
        long = Recipe(epochs=20, batch_size=32, lr=0.01)
        return cls(targets=(emoji, digits), model="resnet50", size=224, seeds=16, recipe=long, least_steps=180)

    def on(self, model: str | None, data: str | None) -> Config:
        """The same with another network or target."""
        targets = self.targets if data is None else (replace(self.targets[0], name=data),)
        return replace(self, targets=targets, model=model or self.model)


def run(config: Config, cache: Cache, device: str = "cpu") -> dict[str, Any]:
    """Train what is not in the cache yet and return the record's results, claims among them."""
    found: list[dict[str, Any]] = []
    claims: list[Claim] = []
    sources = []
    for target in config.targets:
        pool = Pool(data=target.name, size=config.size)
        sources.append(pool.load().source)
        specs = [
            FineTuned(
                model=config.model,
                target=pool,
                n_train=n,
                n_test=target.n_test,
                start=start,
                seed=seed,
                recipe=_recipe(config, n),
            )
            for n in target.sizes
            for start in models.STARTS
            for seed in range(config.seeds)
        ]
        results = cells(specs, trainer(cache, device), cache, NAME, work=pictures_seen, unit="picture", device=device, data=hash_of([pool]))
        mine = [
            {"target": target.name, "n_train": spec.n_train, "start": spec.start, "seed": spec.seed, **result}
            for spec, result in zip(specs, results, strict=True)
        ]
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


def _claims(runs: list[dict[str, Any]], target: Target, config: Config) -> list[Claim]:
    pretrained, random = _by_start(runs).values()
    where = f"{config.model}, {target.name}, {config.size} px, batch norm {config.recipe.batch_norm}"
    at = f"{target.sizes[-1]} pictures, {config.seeds} seeds"
    gap = estimate([p["test"]["accuracy"] - r["test"]["accuracy"] for p, r in zip(pretrained, random, strict=True)])
    moved = [[run["displacement"] for run in runs] for runs in (pretrained, random)]
    level = common_loss(runs)
    level_moved = [[moved_at_loss(run, level) for run in runs] for runs in (pretrained, random)]
    share = estimate([np.mean([p["layers"][n] < r["layers"][n] for n in p["layers"]]) for p, r in zip(pretrained, random, strict=True)])
    return [
        above("lead of the pretrained network in test accuracy", where, at, gap, AHEAD.get(target.name, 0.0)),
        ratio_below_one("displacement of the weights, pretrained over random", where, at, *moved),
        ratio_below_one("displacement of the weights at equal training loss, pretrained over random", where, at, *level_moved),
        above("share of the layers that move less in the pretrained network", where, at, share, 0.5),
    ]


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
