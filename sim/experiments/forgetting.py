"""Forgetting along fine-tuning: over target steps, lengths of pretraining, and the similarity of source and target.

The loss on the source while the target is trained on: spheres whose subspaces are turned against each other, and digits whose source
labels are noisy to a share. Claims tested. The rise of the loss, over the steps on the way: the frozen kernel's mean is the prediction
(z), the trained net's has the predicted sign, negative ones among them, where fine-tuning goes on with what a short pretraining began. The
change of the rise from one similarity to the next, of nets with the same start: likewise. (Its value at the end, for longer
pretraining, is `pretraining_stage`'s.)

All claims of one task are made of the same nets: verdicts are not independent of each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from sim.estimate import estimate
from sim.experiments.claims import Claim, sign_claim, z_claim
from sim.forgetting_nets import ForgettingSpec, forgetting_net, predicted_forgetting
from sim.records import Cache
from sim.sweep import sweep
from sim.tasks import DigitsTask, SphereTask, problem_of

NAME = "forgetting"
TITLE = "Forgetting along fine-tuning, over pretraining and similarity"

WORDS = "rise of the source loss"


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the experiment; the standard profile has nets eight times as wide, twice as many, and more similarities and lengths.

    Parameters
    ----------
    families : tuple of tuples of tasks
        Each from the least similar to the most similar.
    width : int
    seeds : int ≥ 2
        Nets for each task; nets of one seed start alike in all tasks of a family.
    source_steps : tuple of int ≥ 1, ascending
    target_steps : tuple of int ≥ 1, ascending
        At which the source loss is looked at.
    dtype : "float32" or "float64"
        Of the trained nets.
    """

    families: tuple[tuple[SphereTask | DigitsTask, ...], ...]
    width: int
    seeds: int = 8
    source_steps: tuple[int, ...] = (2, 20, 200)
    target_steps: tuple[int, ...] = (1, 3, 10, 30, 100)
    dtype: str = "float32"

    @classmethod
    def profile(cls, name: str) -> Config:
        """`"smoke"`, `"quick"`, `"standard"` or `"full"`."""
        if name == "smoke":
            few: dict[str, Any] = {"n_source": 16, "n_target": 12, "n_test": 2}
            families = _families((0.3, 0.9), (0.5, 0.0), few)
            return cls(families=families, width=256, seeds=3, source_steps=(2, 10), target_steps=(1, 5, 10))
        sizes: dict[str, Any] = {"n_source": 60, "n_target": 40, "n_test": 2}
        if name == "quick":
            return cls(families=_families((0.3, 0.6, 0.9), (0.8, 0.4, 0.0), sizes), width=2048)
        families = _families((0.3, 0.5, 0.7, 0.9, 1.0), (1.0, 0.8, 0.6, 0.4, 0.2, 0.0), sizes)
        many: dict[str, Any] = {"source_steps": (2, 5, 20, 60, 200), "target_steps": (1, 3, 10, 30, 100, 200)}
        return cls(families=families, width=8192 if name == "standard" else 65536, seeds=16 if name == "standard" else 64, **many)


def _families(
    cosines: tuple[float, ...], shares: tuple[float, ...], sizes: dict[str, Any]
) -> tuple[tuple[SphereTask | DigitsTask, ...], ...]:
    spheres = tuple(SphereTask(input_similarity=c, **sizes) for c in cosines)
    return spheres, tuple(DigitsTask(label_noise=share, **sizes) for share in shares)


def family_label(task: SphereTask | DigitsTask) -> str:
    """What a family of tasks is made of."""
    return "sphere" if isinstance(task, SphereTask) else "digits → MNIST"


def task_name(task: SphereTask | DigitsTask) -> str:
    """Where in its family a task is."""
    if isinstance(task, SphereTask):
        return f"cosine of subspaces {task.input_similarity:g}"
    return f"{100 * task.label_noise:g} % noisy source labels"


def run(config: Config, cache: Cache) -> dict[str, Any]:
    """Train what is not in the cache yet and return the record's results, claims among them."""
    k_P, k_Q = config.source_steps, config.target_steps
    specs = [
        ForgettingSpec(task=task, source_steps=k_P, target_steps=k_Q, width=config.width, seed=seed, dtype=config.dtype)
        for family in config.families
        for task in family
        for seed in range(config.seeds)
    ]
    done = sweep(forgetting_net, specs, cache, NAME, weight=lambda spec: spec.work, depends=lambda spec: problem_of(spec.task).content_hash)
    results = iter(done)
    grid = _grid(k_Q[-1])
    claims: list[Claim] = []
    cells: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    for family in config.families:
        nets = [[next(results) for _ in range(config.seeds)] for _ in family]
        predicted = [predicted_forgetting(task, k_P, k_Q) for task in family]
        where = f"{family_label(family[0])}, width {config.width:,}"
        for task, here, theory in zip(family, nets, predicted, strict=True):
            about = {"family": family_label(task), "task": task_name(task)}
            for i, k in enumerate(k_P):
                for j, steps in enumerate(k_Q):
                    rungs = {rung: [net[rung][i][j] for net in here] for rung in ("frozen", "trained")}
                    means = {rung: asdict(estimate(values)) for rung, values in rungs.items()}
                    cells.append({**about, "source_steps": k, "target_steps": steps, "predicted": theory[i][j], **means})
                    if steps != k_Q[-1]:
                        claims += _claims(WORDS, f"{where}, {task_name(task)}", f"{k} source, {steps} target steps", rungs, theory[i][j])
            fine = predicted_forgetting(task, k_P, grid)
            curves += [{**about, "source_steps": k, "target_steps": grid, "predicted": row} for k, row in zip(k_P, fine, strict=True)]
        for low in range(len(family) - 1):
            for i, k in enumerate(k_P):
                change = {
                    rung: [b[rung][i][-1] - a[rung][i][-1] for a, b in zip(nets[low], nets[low + 1], strict=True)]
                    for rung in ("frozen", "trained")
                }
                at = f"{task_name(family[low])} to {task_name(family[low + 1])}, {k} source steps"
                claims += _claims(
                    f"change of the {WORDS} with similarity", where, at, change, predicted[low + 1][i][-1] - predicted[low][i][-1]
                )
    return {
        "cells": cells,
        "curves": curves,
        "claims": [c.to_dict() for c in claims],
        "seconds": sum(result["seconds"] for result in done),
    }


def _claims(words: str, where: str, at: str, rungs: dict[str, list[float]], predicted: float) -> Iterator[Claim]:
    yield z_claim(f"frozen kernel: {words}", where, at, estimate(rungs["frozen"]), predicted)
    yield sign_claim(f"trained net: {words}", where, at, estimate(rungs["trained"]), predicted)


def _grid(last: int) -> list[int]:
    """Steps for the figure's lines."""
    return sorted({round(last ** (i / 30)) for i in range(31)})
