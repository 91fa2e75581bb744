"""One network trained on a sample of pictures, and what it has come to: computed once, kept, and shared between experiments."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from realnets import data, models
from realnets.probes import displacement
from realnets.train import Recipe, evaluate, train
from sim.records import Cache


@dataclass(frozen=True, kw_only=True)
class FineTuned:
    """Everything a trained network depends on, beside the code and the pictures there are.

    Parameters
    ----------
    target : str
        One of `realnets.data.DATASETS`.
    n_train, n_test : int
    size : int
        Pixels a side.
    start : "pretrained" or "random"
    seed : int ≥ 0
        Of the split, the head, the random start and the order of minibatches.
    recipe : Recipe
    """

    target: str
    n_train: int
    n_test: int
    size: int
    start: str
    seed: int
    recipe: Recipe


def pictures_seen(spec: FineTuned) -> int:
    """Pictures that pass through the network in training."""
    return spec.recipe.epochs * spec.n_train


def trainer(pool: data.Pictures, cache: Cache, device: str) -> Callable[[FineTuned, str, Callable[[int], Any]], dict[str, Any]]:
    """What trains one network on pictures of `pool`; it keeps checkpoint and metrics beside the cache, under the cell's key."""

    def compute(spec: FineTuned, key: str, progress: Callable[[int], Any]) -> dict[str, Any]:
        started = time.perf_counter()
        split = data.split(pool, spec.n_train, spec.n_test, spec.seed)
        inputs, labels = data.as_input(split.train.images, device), torch.as_tensor(split.train.labels, device=device)
        model = models.build(spec.start, len(pool.classes), spec.seed)
        before = {name: w.detach().clone() for name, w in model.named_parameters()}
        model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        checkpoint = cache.folder / "checkpoints" / f"{key}.pt"
        rows = train(
            model,
            inputs,
            labels,
            spec.recipe,
            spec.seed,
            checkpoint=checkpoint,
            metrics=cache.folder / "metrics" / f"{key}.jsonl",
            progress=progress,
        )
        moved = displacement(before, model)
        result = {
            "train": evaluate(model, inputs, labels),
            "test": evaluate(model, data.as_input(split.test.images, device), torch.as_tensor(split.test.labels, device=device)),
            "loss_by_epoch": [row["loss"] for row in rows],
            "displacement": moved.total.norm,
            "displacement_rms": moved.total.rms,
            "layers": {name: m.rms for name, m in moved.layers.items()},
            # Batch norm makes the scale of a layer's weights meaningless: what it moved by may be read against this.
            "layers_at_start": {
                name: m.rms for name, m in displacement({k: torch.zeros_like(w) for k, w in before.items()}, before).layers.items()
            },
            "seconds": time.perf_counter() - started,
        }
        checkpoint.unlink(missing_ok=True)
        return result

    return compute
