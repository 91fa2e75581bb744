"""R6: transferability rises, then falls, with pretraining.

A small network is pretrained on one set; its state after each of several epochs is fine-tuned on a few pictures of another, by one recipe,
with and without label noise in pretraining. Each seed draws its own source pictures, random start, target pictures and classifier. The
state at epoch 0 is the random start.

Claims tested, each by one-sided 95 % intervals over seeds. Pretraining helps: the best number of epochs, one or more, beats none. More is
not always better: the best number of epochs beats the last. The best number is chosen on the other seeds, so that it is not chosen by the
number that it is then judged by. And label noise in pretraining costs accuracy at the end of it. The theory of two-layer nets
(`pretraining_stage`) has all of this in closed form; here it is seen, or not, in a network that learns features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from realnets.experiments.cells import cells
from realnets.experiments.fine_tuned import FineTuned, common_loss, moved_at_loss, pictures_seen, trainer
from realnets.experiments.intervals import above
from realnets.experiments.pools import Pool, hash_of
from realnets.experiments.sources import Source, pretrain_all
from realnets.train import Recipe
from sim.estimate import estimate
from sim.experiments.claims import Claim
from sim.records import Cache

NAME = "pretraining_epochs"
TITLE = "Transferability over epochs of pretraining, with and without label noise"

_SOURCE, _TARGET = Pool(data="mnist", size=16), Pool(data="digits", size=16)
_PRETRAINING, _FINE_TUNING = Recipe(epochs=12, lr=0.05, schedule="constant"), Recipe(epochs=30, batch_size=16, lr=0.02)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the experiment.

    Parameters
    ----------
    model : str
        As in `realnets.models.load`.
    source, target : Pool
    noises : tuple of float
        Shares of the source's labels that are dealt out at random; one experiment each.
    n_source, n_train, n_test : int
    pretraining, recipe : Recipe
        Of pretraining and of fine-tuning.
    epochs : tuple of int, ascending from 0
        After which a state is fine-tuned; the last one is pretraining's end.
    seeds : int ≥ 3
    """

    model: str = "small-cnn"
    source: Pool = _SOURCE
    target: Pool = _TARGET
    noises: tuple[float, ...] = (0.0, 0.6)
    n_source: int = 1000
    n_train: int = 50
    n_test: int = 1000
    pretraining: Recipe = _PRETRAINING
    recipe: Recipe = _FINE_TUNING
    epochs: tuple[int, ...] = (0, 1, 2, 4, 8, 12)
    seeds: int = 3

    @classmethod
    def profile(cls, name: str) -> Config:
        """`"smoke"`, `"quick"`, `"standard"` or `"full"`."""
        if name == "smoke":
            few: dict[str, Any] = {"n_source": 40, "n_train": 16, "n_test": 32, "noises": (0.5,)}
            return cls(**few, pretraining=Recipe(epochs=2), recipe=Recipe(epochs=1), epochs=(0, 1, 2), seeds=3)
        if name == "quick":
            return cls()
        long = cls(
            n_source=2000,
            pretraining=replace(_PRETRAINING, epochs=40),
            noises=(0.0, 0.3, 0.6, 0.9),
            epochs=(0, 1, 2, 3, 5, 8, 13, 20, 40),
            seeds=6,
        )
        return long if name == "standard" else replace(long, model="resnet20", n_source=5000, seeds=16)

    def on(self, model: str | None, data: str | None) -> Config:
        """The same with another network or target."""
        target = self.target if data is None else replace(self.target, data=data)
        return replace(self, target=target, model=model or self.model)


def run(config: Config, cache: Cache, device: str = "cpu") -> dict[str, Any]:
    """Train what is not in the cache yet and return the record's results, claims among them."""
    sources = {
        (noise, seed): Source(
            model=config.model, pool=replace(config.source, label_noise=noise), n=config.n_source, recipe=config.pretraining, seed=seed
        )
        for noise in config.noises
        for seed in range(config.seeds)
    }
    pretrained = pretrain_all(sources.values(), cache, device, NAME)
    shared: dict[str, Any] = {"model": config.model, "target": config.target, "n_train": config.n_train, "n_test": config.n_test}
    specs = [
        FineTuned(**shared, start="pretrained", source=source, epoch=epoch, seed=seed, recipe=config.recipe)
        for (_, seed), source in sources.items()
        for epoch in config.epochs
    ]
    data = hash_of([config.target, *(source.pool for source in sources.values())])
    results = list(cells(specs, trainer(cache, device), cache, NAME, work=pictures_seen, unit="picture", device=device, data=data))
    found = [
        {"noise": spec.source.pool.label_noise if spec.source else None, "epoch": spec.epoch, "seed": spec.seed, **result}
        for spec, result in zip(specs, results, strict=True)
    ]
    level = common_loss(found)
    for cell in found:
        cell["moved_at_equal_loss"] = moved_at_loss(cell, level)
    claims: list[Claim] = []
    summary: list[dict[str, Any]] = []
    accuracies = {
        noise: np.array([[_of(found, noise, epoch, seed)["test"]["accuracy"] for epoch in config.epochs] for seed in range(config.seeds)])
        for noise in config.noises
    }
    where = f"{config.model}, {config.source.label} → {config.target.label}, {config.n_train} pictures"
    for noise, table in accuracies.items():
        here = f"{where}, {100 * noise:g} % source label noise"
        chosen = [1 + i for i in best_of_others(table[:, 1:])]
        best = table[np.arange(len(table)), chosen]
        at = f"best after {' or '.join(str(config.epochs[i]) for i in sorted(set(chosen)))} of {config.epochs[-1]} epochs"
        claims.append(above("test accuracy, best epoch less no pretraining", here, at, estimate((best - table[:, 0]).tolist()), 0.0))
        claims.append(above("test accuracy, best epoch less the last", here, at, estimate((best - table[:, -1]).tolist()), 0.0))
        for i, epoch in enumerate(config.epochs):
            runs = [_of(found, noise, epoch, seed) for seed in range(config.seeds)]
            about = {"noise": noise, "epoch": epoch}
            moved = {name: asdict(estimate([run[name] for run in runs])) for name in ("displacement", "moved_at_equal_loss")}
            summary.append({**about, "accuracy": asdict(estimate(table[:, i].tolist())), **moved})
    clean, noisy = accuracies[config.noises[0]][:, -1], accuracies[config.noises[-1]][:, -1]
    if len(config.noises) > 1:
        words = (
            f"test accuracy after all of pretraining, {100 * config.noises[0]:g} % less {100 * config.noises[-1]:g} % source label noise"
        )
        claims.append(above(words, where, f"{config.epochs[-1]} epochs", estimate((clean - noisy).tolist()), 0.0))
    return {
        "cells": found,
        "summary": summary,
        "equal_loss": level,
        "sources": [
            {"noise": noise, "seed": seed, **about} for (noise, seed), about in zip(sources, pretrained, strict=True)
        ],
        "attribution": sorted({config.source.load().source, config.target.load().source}),
        "claims": [c.to_dict() for c in claims],
        "seconds": sum(c["seconds"] for c in [*found, *pretrained]),
    }  # fmt: skip


def best_of_others(table: np.ndarray) -> list[int]:
    """For each row of (seeds, places), the place at which the mean of the other rows is largest, the first of several."""
    others = table.sum(axis=0) - table
    return [int(i) for i in others.argmax(axis=1)]


def _of(found: Sequence[dict[str, Any]], noise: float, epoch: int, seed: int) -> dict[str, Any]:
    (cell,) = (c for c in found if (c["noise"], c["epoch"], c["seed"]) == (noise, epoch, seed))
    return cell
