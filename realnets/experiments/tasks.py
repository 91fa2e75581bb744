"""A target with two starts to train it from: what the experiments on flatness, smoothness and gradients have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from realnets import models
from realnets.experiments.cells import cells
from realnets.experiments.fine_tuned import FineTuned, pictures_seen
from realnets.experiments.pools import Pool, hash_of
from realnets.experiments.sources import SOURCE_RECIPE, Source, pretrain_all
from realnets.train import Recipe
from sim.records import Cache


@dataclass(frozen=True, kw_only=True)
class TwoStarts:
    """A target, a network, and its pretrained and its random start.

    Parameters
    ----------
    model : str
        As in `realnets.models.load`.
    target : Pool
    n_train, n_test : int
    recipe : Recipe
    source : Pool, optional
        What the pretrained start is pretrained on; by default it has its own weights, such as ImageNet's.
    n_source : int
    pretraining : Recipe
        Used where there is a source.
    """

    model: str
    target: Pool
    n_train: int
    n_test: int
    recipe: Recipe
    source: Pool | None = None
    n_source: int = 1000
    pretraining: Recipe = SOURCE_RECIPE

    @property
    def label(self) -> str:
        """In words."""
        source = "ImageNet" if self.source is None else self.source.label
        return f"{self.model}, {source} → {self.target.label}, {self.n_train} pictures of {self.target.size} px"

    @property
    def pools(self) -> list[Pool]:
        """Where its pictures come from."""
        return [self.target, *([] if self.source is None else [self.source])]

    def sources(self, seeds: int) -> list[Source]:
        """What is pretrained for it."""
        if self.source is None:
            return []
        return [Source(model=self.model, pool=self.source, n=self.n_source, recipe=self.pretraining, seed=seed) for seed in range(seeds)]

    def runs(self, seeds: int) -> Iterator[FineTuned]:
        """Both starts, seed by seed: pretrained first."""
        sources = dict(enumerate(self.sources(seeds)))
        for seed in range(seeds):
            for start in models.STARTS:
                yield FineTuned(
                    model=self.model, target=self.target, n_train=self.n_train, n_test=self.n_test, start=start,
                    source=sources.get(seed) if start == "pretrained" else None, seed=seed, recipe=self.recipe,
                )  # fmt: skip

    def tiny(self) -> TwoStarts:
        """The same in a second: too small to conclude."""
        short: dict[str, Any] = {"recipe": replace(self.recipe, epochs=1), "pretraining": replace(self.pretraining, epochs=1)}
        return replace(self, n_source=30, n_train=16, n_test=16, **short)

    def on(self, model: str | None, data: str | None) -> TwoStarts:
        """The same with another network, with its own pretrained weights, or another target."""
        changed = self if data is None else replace(self, target=replace(self.target, data=data))
        return changed if model is None else replace(changed, model=model, source=None)


def both_starts(
    name: str,
    tasks: Sequence[TwoStarts],
    seeds: int,
    spec_of: Callable[[FineTuned], Any],
    compute: Callable[[Any, str, Callable[[int], Any]], dict[str, Any]],
    cache: Cache,
    device: str,
) -> dict[str, Any]:
    """Both starts of every task for every seed, from the cache or computed now: the part of a record that experiments on them share.

    Parameters
    ----------
    name : str
        Of the experiment.
    spec_of : callable
        What a cell depends on, with the run as its field `run`.
    compute : callable
        As in `realnets.experiments.cells`.

    Returns
    -------
    dict of `cells`, each with `task`, `start` and `seed`; `attribution`; and `seconds`.
    """
    pools = [pool for task in tasks for pool in task.pools]
    pretrained = pretrain_all([source for task in tasks for source in task.sources(seeds)], cache, device, name)
    runs = [(task.label, run) for task in tasks for run in task.runs(seeds)]
    specs = [spec_of(run) for _, run in runs]
    results = cells(
        specs, compute, cache, name, work=lambda spec: pictures_seen(spec.run), unit="picture", device=device, data=hash_of(pools)
    )
    found = [{"task": label, "start": run.start, "seed": run.seed, **result} for (label, run), result in zip(runs, results, strict=True)]
    return {
        "cells": found,
        "attribution": sorted({pool.load().source for pool in pools}),
        "seconds": sum(cell["seconds"] for cell in [*found, *pretrained]),
    }


DIGITS = TwoStarts(
    model="small-cnn",
    source=Pool(data="mnist", size=16),
    target=Pool(data="digits", size=16),
    n_train=100,
    n_test=1000,
    recipe=Recipe(epochs=40, batch_size=25, lr=0.02),
)
"""A small network from MNIST to UCI digits: seconds a run."""

EMOJI = TwoStarts(
    model="efficientnet-lite0",
    target=Pool(data="openmoji", size=64),
    n_train=100,
    n_test=700,
    recipe=Recipe(epochs=30, batch_size=25, lr=0.01),
)
"""EfficientNet-Lite0 from ImageNet to eight groups of OpenMoji."""

IMAGES = TwoStarts(
    model="resnet50",
    target=Pool(data="openmoji", size=224),
    n_train=600,
    n_test=700,
    recipe=Recipe(epochs=30, batch_size=32, lr=0.01),
)
"""ResNet-50 at full size: a GPU's work. `--data` takes any other target."""
