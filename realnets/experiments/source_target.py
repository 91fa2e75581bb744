"""R5: whether transfer works depends on how similar inputs and labels are, with the target held fixed while the source varies.

A small network is pretrained on one source after another and fine-tuned on a few pictures of one target, by one recipe. Sources move one
similarity at a time. The nearest has the target's own kind of pictures and labels (another half of the set). Of those that follow, some
have its pictures with other labels: names permuted among classes, classes merged into two, labels dealt out at random. Others have its
labels with other pictures: inverted, blurred, with blocks shuffled. The rest are other sets.

Claims tested for each target, each by one-sided 95 % intervals over seeds. Pretraining on the nearest source beats a random start. Random
labels, and each change of the pictures, cost accuracy. Permuted names cost nothing: with a fresh classifier they are the same task, and an
experiment that told them apart would be wrong (z). Over sources, what moves less does better: the rank correlation of displacement and
accuracy is negative, with displacements taken where the training loss of all runs on the target is the same. (After as many steps those of
good sources have moved farther, because they have learnt more.)
"""

from __future__ import annotations

from collections.abc import Iterator
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
from sim.experiments.claims import Claim, least_claim, z_claim
from sim.ranks import over_draws, rank_correlation
from sim.records import Cache

NAME = "source_target"
TITLE = "Accuracy and displacement over sources that differ in one similarity, the target held fixed"

_NEAREST = Pool(data="mnist", size=16, half=0)
_FARTHER_HALF = replace(_NEAREST, half=1)
_OTHERS = (Pool(data="digits", size=16), Pool(data="openmoji", size=16))
_PRETRAINING, _FINE_TUNING = Recipe(epochs=6, lr=0.05), Recipe(epochs=30, batch_size=16, lr=0.02)
_RANDOM = "random start"
_CHANGED_PICTURES = ("inverted", "blurred", "blocks shuffled")
_CHANGED_LABELS = ("permuted", "merged", "shuffled")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the experiment.

    Parameters
    ----------
    model : str
        As in `realnets.models.load`.
    nearest : Pool
        Whose pictures and labels are changed.
    others : tuple of Pool
        Further sources.
    targets : tuple of Pool
    n_source, n_train, n_test : int
        A source with fewer pictures gives all of them.
    pretraining, recipe : Recipe
        Of pretraining and of fine-tuning.
    seeds : int ≥ 3
    """

    model: str = "small-cnn"
    nearest: Pool = _NEAREST
    others: tuple[Pool, ...] = _OTHERS
    targets: tuple[Pool, ...] = (_FARTHER_HALF,)
    n_source: int = 1000
    n_train: int = 50
    n_test: int = 1000
    pretraining: Recipe = _PRETRAINING
    recipe: Recipe = _FINE_TUNING
    seeds: int = 3

    @classmethod
    def profile(cls, name: str) -> Config:
        """`"smoke"`, `"quick"`, `"standard"` or `"full"`."""
        if name == "smoke":
            few: dict[str, Any] = {"n_source": 30, "n_train": 16, "n_test": 32, "others": _OTHERS[:1]}
            return cls(**few, pretraining=Recipe(epochs=1), recipe=Recipe(epochs=1))
        if name == "quick":
            return cls()
        targets = (_FARTHER_HALF, *_OTHERS)
        long = cls(targets=targets, n_source=2000, n_test=700, pretraining=replace(_PRETRAINING, epochs=15), seeds=8)
        return long if name == "standard" else replace(long, model="resnet20", seeds=16)

    def on(self, model: str | None, data: str | None) -> Config:
        """The same with another network or target; the nearest source is the other half of the target's set."""
        changed = replace(self, model=model or self.model)
        if data is None:
            return changed
        nearest = replace(self.nearest, data=data)
        return replace(changed, nearest=nearest, targets=(replace(nearest, half=1),))

    def sources(self) -> tuple[Pool, ...]:
        """All of them, the nearest one first."""
        return (
            self.nearest,
            *(replace(self.nearest, labels=change) for change in _CHANGED_LABELS),
            *(replace(self.nearest, pictures=change) for change in _CHANGED_PICTURES),
            *self.others,
        )


def run(config: Config, cache: Cache, device: str = "cpu") -> dict[str, Any]:
    """Train what is not in the cache yet and return the record's results, claims among them."""
    pools = config.sources()
    sources = [_source(config, pool, seed) for pool in pools for seed in range(config.seeds)]
    pretrained = pretrain_all(sources, cache, device, NAME)
    specs = [
        FineTuned(
            model=config.model, target=target, n_train=config.n_train, n_test=config.n_test, recipe=config.recipe, seed=seed,
            start="random" if pool is None else "pretrained", source=None if pool is None else _source(config, pool, seed),
        )
        for target in config.targets
        for pool in (None, *pools)
        for seed in range(config.seeds)
    ]  # fmt: skip
    data = hash_of([*config.targets, *pools])
    results = list(cells(specs, trainer(cache, device), cache, NAME, work=pictures_seen, unit="picture", device=device, data=data))
    found = [
        {
            "target": spec.target.label,
            "source": _RANDOM if spec.source is None else spec.source.pool.label,
            "seed": spec.seed,
            **result,
        }
        for spec, result in zip(specs, results, strict=True)
    ]
    labels = [_RANDOM, *(pool.label for pool in pools)]
    claims: list[Claim] = []
    summary: list[dict[str, Any]] = []
    for target in config.targets:
        here = [cell for cell in found if cell["target"] == target.label]
        level = common_loss(here)
        for cell in here:
            cell["moved_at_equal_loss"] = moved_at_loss(cell, level)
        table = {
            name: {source: np.array([read(cell) for cell in here if cell["source"] == source]) for source in labels}
            for name, read in _READ.items()
        }
        claims += _claims(config, target, table)
        for source in labels:
            about = {"target": target.label, "source": source, "equal_loss": level}
            summary.append({**about, **{name: asdict(estimate(values[source].tolist())) for name, values in table.items()}})
    return {
        "cells": found,
        "summary": summary,
        "sources": [{"source": s.pool.label, "seed": s.seed, **about} for s, about in zip(sources, pretrained, strict=True)],
        "attribution": sorted({pool.load().source for pool in (*pools, *config.targets)}),
        "claims": [c.to_dict() for c in claims],
        "seconds": sum(c["seconds"] for c in [*found, *pretrained]),
    }


_READ: dict[str, Any] = {
    "accuracy": lambda cell: cell["test"]["accuracy"],
    "loss": lambda cell: cell["test"]["loss"],
    "displacement": lambda cell: cell["displacement"],
    "moved_at_equal_loss": lambda cell: cell["moved_at_equal_loss"],
}


def _source(config: Config, pool: Pool, seed: int) -> Source:
    n = min(config.n_source, len(pool.load()))
    return Source(model=config.model, pool=pool, n=n, recipe=config.pretraining, seed=seed)


def _claims(config: Config, target: Pool, table: dict[str, dict[str, np.ndarray]]) -> Iterator[Claim]:
    accuracy, moved = table["accuracy"], table["moved_at_equal_loss"]
    nearest = config.nearest.label
    where, at = f"{config.model}, target {target.label}, {config.n_train} pictures", f"{config.seeds} seeds"
    if target.data == config.nearest.data:
        gap = accuracy[nearest] - accuracy[_RANDOM]
        yield above("test accuracy after the nearest source, less a random start's", where, at, estimate(gap.tolist()), 0.0)
        for changed in [replace(config.nearest, labels="shuffled"), *(replace(config.nearest, pictures=c) for c in _CHANGED_PICTURES)]:
            gap = accuracy[nearest] - accuracy[changed.label]
            yield above("test accuracy after the nearest source, less a changed one's", where, changed.label, estimate(gap.tolist()), 0.0)
    permuted = replace(config.nearest, labels="permuted").label
    gap = accuracy[nearest] - accuracy[permuted]
    yield z_claim("test accuracy after the source, less that with permuted class names", where, at, estimate(gap.tolist()), 0.0)
    sources = [source for source in accuracy if source != _RANDOM]

    def correlation(seeds: np.ndarray) -> float:
        pair = [[float(values[source][seeds].mean()) for source in sources] for values in (moved, accuracy)]
        # Nothing is ordered where nothing differs.
        return 0.0 if any(len(set(values)) == 1 for values in pair) else -rank_correlation(*pair)

    found = over_draws(correlation, config.seeds, f"{NAME} {target.label}")
    words = "rank correlation over sources, displacement at equal training loss and test accuracy, with the sign turned"
    yield least_claim(words, where, f"{len(sources)} sources", found, 0.0)
