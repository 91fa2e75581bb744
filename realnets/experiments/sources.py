"""Pretrained networks of an experiment's own: trained once, one state kept an epoch, shared between experiments."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from realnets import models
from realnets.experiments.pools import Pool, tensors
from realnets.train import Recipe, epoch_file, evaluate, train
from sim.records import Cache

SOURCE_RECIPE = Recipe(epochs=8, batch_size=32, lr=0.05)
"""What small networks are pretrained by, unless an experiment says otherwise: their training accuracy ends near one on digits."""


_SEEDS_APART = 1_000_003
"""Between the seeds of a source's network and of a target's.

With one seed both would get the same classifier: pretraining would have fitted the features to the very classifier that fine-tuning starts
from, and the order of class names would seem to matter, by ten points of accuracy on digits.
"""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A network and what it is pretrained on, from a random start.

    Parameters
    ----------
    model : str
        As in `realnets.models.load`.
    pool : Pool
    n : int
        Pictures drawn from the pool.
    recipe : Recipe
    seed : int ≥ 0
        Of the draw, the random start and the order of minibatches.
    """

    model: str
    pool: Pool
    n: int
    recipe: Recipe = SOURCE_RECIPE
    seed: int = 0


@dataclass(frozen=True)
class Pretrained:
    """What pretraining has left.

    Attributes
    ----------
    folder : Path
        Of the states; `epoch_file(folder, epoch)` is the file of one.
    summary : dict
        `loss_by_epoch`, the last state's `train` loss and accuracy, and the `seconds` it took.
    """

    folder: Path
    summary: dict[str, Any]


def pretrain(source: Source, cache: Cache, device: str, progress: Callable[[int], Any]) -> Pretrained:
    """Train the network, unless that was done before; an interrupted run goes on from its checkpoint."""
    about = {**asdict(source), "device": device, "data": source.pool.load().content_hash, "torch": torch.__version__}
    key = cache.key(about, __name__)
    folder = cache.folder / "sources" / key
    summary = cache.get(key)
    if summary is None or not all(epoch_file(folder, epoch).exists() for epoch in range(source.recipe.epochs + 1)):
        started = time.perf_counter()
        pictures = source.pool.draw(source.n, source.seed)
        model = models.load(source.model, len(pictures.classes), start="random", seed=source.seed + _SEEDS_APART)
        model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        inputs, labels = tensors(pictures, model)
        checkpoint = folder / "checkpoint.pt"
        rows = train(model, inputs, labels, source.recipe, source.seed, checkpoint=checkpoint, keep_epochs=folder, progress=progress)
        reached = evaluate(model, inputs, labels)
        summary = {"loss_by_epoch": [row["loss"] for row in rows], "train": reached, "seconds": time.perf_counter() - started}
        cache.put(key, summary)
        checkpoint.unlink(missing_ok=True)
    return Pretrained(folder, summary)


def pretrain_all(sources: Iterable[Source], cache: Cache, device: str, label: str) -> list[dict[str, Any]]:
    """Summaries of all of them, with a progress bar on a terminal."""
    wanted = list(sources)
    with tqdm(total=sum(s.recipe.epochs * s.n for s in wanted), desc=f"{label}: sources", unit="picture", disable=None, leave=False) as bar:
        summaries = []
        for source in wanted:
            done = bar.n
            summaries.append(pretrain(source, cache, device, bar.update).summary)
            bar.update(done + source.recipe.epochs * source.n - bar.n)
    return summaries
