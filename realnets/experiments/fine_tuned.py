"""One network trained on a sample of pictures, and what it has come to: computed once, kept, and shared between experiments."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from realnets import data, models
from realnets.experiments.pools import Pool, tensors
from realnets.experiments.sources import Source, pretrain
from realnets.experiments.watch import Watch
from realnets.probes.displacement import displacement
from realnets.train import Recipe, epoch_file, evaluate, train
from realnets.train.run import steps_of
from sim.records import Cache
from theory.errors import InvalidInput


@dataclass(frozen=True, kw_only=True)
class FineTuned:
    """Everything a trained network depends on, beside the code and the pictures there are.

    Parameters
    ----------
    model : str
        As in `realnets.models.load`.
    target : Pool
    n_train, n_test : int
    start : "pretrained" or "random"
    source : Source, optional
        What the pretrained start was pretrained on; by default its own weights, such as ImageNet's.
    epoch : int, optional
        Of the source, after which its state is taken; the last one by default.
    seed : int ≥ 0
        Of the split, the classifier, the random start and the order of minibatches.
    recipe : Recipe
    """

    model: str
    target: Pool
    n_train: int
    n_test: int
    start: str
    source: Source | None = None
    epoch: int | None = None
    seed: int
    recipe: Recipe

    def __post_init__(self) -> None:
        if self.source is not None and (self.start != "pretrained" or self.source.model != self.model):
            raise InvalidInput(
                f"a source of {self.source.model!r} was given for a {self.start} start of {self.model!r}; "
                "a pretrained start of the same network is allowed"
            )


@dataclass(frozen=True)
class Setup:
    """A network before it is fine-tuned, and its pictures.

    Attributes
    ----------
    model : Module
    inputs, labels : tensors
        The training set.
    split : Split
    """

    model: nn.Module
    inputs: Tensor
    labels: Tensor
    split: data.Split


def set_up(spec: FineTuned, cache: Cache, device: str) -> Setup:
    """Draw the pictures and load the network, on `device`; its source is trained first if that was not done before (`pretrain_all`)."""
    pool = spec.target.load()
    split = data.split(pool, spec.n_train, spec.n_test, spec.seed)
    weights = None
    if spec.source is not None:
        epoch = spec.source.recipe.epochs if spec.epoch is None else spec.epoch
        weights = epoch_file(pretrain(spec.source, cache, device, lambda pictures: None).folder, epoch)
    model = models.load(spec.model, len(pool.classes), start=spec.start, weights=weights, seed=spec.seed)
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Setup(model, *tensors(split.train, model), split)


def fine_tune(
    spec: FineTuned,
    setup: Setup,
    cache: Cache,
    key: str,
    progress: Callable[[int], Any],
    *,
    measure: Callable[[nn.Module], dict[str, Any]] | None = None,
    steps: Collection[int] | None = None,
) -> dict[str, Any]:
    """Train the network of `setup` in place, with checkpoint and metrics beside the cache under `key`; what it has come to.

    Parameters
    ----------
    measure : callable, optional
        What to measure of the network along the way, beside how far it has moved.
    steps : collection of int, optional
        At which to measure; by default at the start of every epoch and at the end.
    """
    before = {name: w.detach().clone() for name, w in setup.model.named_parameters()}
    checkpoint = cache.folder / "checkpoints" / f"{key}.pt"

    def look(model: nn.Module) -> dict[str, Any]:
        return {"displacement": displacement(before, model).total.norm, **({} if measure is None else measure(model))}

    watch = Watch(cache.folder / "watched" / f"{key}.json", look, None if steps is None else frozenset(steps))
    rows = train(
        setup.model,
        setup.inputs,
        setup.labels,
        spec.recipe,
        spec.seed,
        checkpoint=checkpoint,
        metrics=cache.folder / "metrics" / f"{key}.jsonl",
        progress=progress,
        callback=watch,
        every=steps_of(spec.n_train, spec.recipe) if steps is None else 1,
    )
    moved = displacement(before, setup.model)
    result = {
        "train": evaluate(setup.model, setup.inputs, setup.labels),
        "test": evaluate(setup.model, *tensors(setup.split.test, setup.model)),
        "loss_by_epoch": [row["loss"] for row in rows],
        "along": watch.rows(),
        "displacement": moved.total.norm,
        "displacement_rms": moved.total.rms,
        "layers": {name: m.rms for name, m in moved.layers.items()},
        # Batch norm makes the scale of a layer's weights meaningless: what it moved by may be read against this.
        "layers_at_start": {
            name: m.rms for name, m in displacement({k: torch.zeros_like(w) for k, w in before.items()}, before).layers.items()
        },
    }
    checkpoint.unlink(missing_ok=True)
    return result


def pictures_seen(spec: FineTuned) -> int:
    """Pictures that pass through the network in training."""
    return spec.recipe.epochs * spec.n_train


def trainer(cache: Cache, device: str) -> Callable[[FineTuned, str, Callable[[int], Any]], dict[str, Any]]:
    """What computes one cell: a network fine-tuned, and what it has come to."""

    def compute(spec: FineTuned, key: str, progress: Callable[[int], Any]) -> dict[str, Any]:
        started = time.perf_counter()
        result = fine_tune(spec, set_up(spec, cache, device), cache, key, progress)
        return {**result, "seconds": time.perf_counter() - started}

    return compute


def moved_at_loss(result: dict[str, Any], level: float) -> float:
    """How far a network had moved when its training loss, averaged over an epoch, first fell to `level`.

    Between epochs by straight lines in the logarithm of the loss; the end's displacement if it did not fall so far. Displacements after as
    many steps compare networks that have learnt more with ones that have learnt less.
    """
    losses, moved = result["loss_by_epoch"], [row["displacement"] for row in result["along"]][1:]
    for i, loss in enumerate(losses):
        if loss <= level:
            if i == 0:
                return float(moved[0])
            share = (math.log(losses[i - 1]) - math.log(level)) / (math.log(losses[i - 1]) - math.log(max(loss, 1e-300)))
            return float(moved[i - 1] + share * (moved[i] - moved[i - 1]))
    return float(moved[-1])


def common_loss(results: Iterable[dict[str, Any]]) -> float:
    """The least training loss, averaged over an epoch, that all of them fell to."""
    return max(min(result["loss_by_epoch"]) for result in results)
