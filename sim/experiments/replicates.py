"""One trained net of an experiment, with its predictions: computed once, kept, and shared between experiments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from sim.records import Cache
from sim.sweep import sweep
from sim.tasks import Task, problem_of
from sim.training import simulate_stages
from theory.outcome import TransferOutcome
from theory.predict import predict_stages
from theory.problem import Schedule


@dataclass(frozen=True, kw_only=True)
class NetSpec:
    """Everything one replicate depends on, beside the code."""

    task: Task
    width: int
    seed: int
    source_steps: tuple[int, ...]
    target_steps: int
    init_scale: float = 1.0
    antisymmetric: bool = True
    dtype: str = "float64"

    @property
    def steps(self) -> int:
        """Gradient steps the trained net takes."""
        forks = sum(k > 0 for k in self.source_steps)
        return self.source_steps[-1] + self.target_steps * (1 + forks)


@lru_cache(maxsize=64)
def predictions(task: Task, source_steps: tuple[int, ...], target_steps: int) -> tuple[TransferOutcome, ...]:
    """The infinite-width outcome for each length of pretraining."""
    return tuple(predict_stages(problem_of(task), Schedule(target_steps=target_steps), source_steps))


def replicates(specs: Sequence[NetSpec], cache: Cache, label: str) -> list[dict[str, Any]]:
    """The result of each spec, in order, from the cache or computed now and kept; with a progress bar on a terminal."""
    return sweep(train, specs, cache, label, weight=lambda s: s.steps * s.width, depends=lambda s: problem_of(s.task).content_hash)


def train(spec: NetSpec) -> dict[str, Any]:
    """One net: what it did, trained and with its kernel frozen, after each length of pretraining."""
    outcomes = simulate_stages(
        problem_of(spec.task),
        Schedule(target_steps=spec.target_steps),
        spec.source_steps,
        width=spec.width,
        init_scale=spec.init_scale,
        antisymmetric=spec.antisymmetric,
        seed=spec.seed,
        dtype=spec.dtype,
    )
    predicted = predictions(spec.task, spec.source_steps, spec.target_steps)
    return {"stages": [_stage(o, p) for o, p in zip(outcomes, predicted, strict=True)]}


def _stage(trained: TransferOutcome, predicted: TransferOutcome) -> dict[str, Any]:
    frozen = trained.frozen
    assert frozen is not None and predicted.test_outputs is not None
    scale = float(np.linalg.norm(predicted.test_outputs))

    def relative(a: TransferOutcome, b: TransferOutcome) -> list[float]:
        assert a.test_outputs is not None and b.test_outputs is not None
        return list(((a.test_outputs - b.test_outputs) / scale).ravel().tolist())

    return {
        "trained": trained.scalars(),
        "frozen": frozen.scalars(),
        # Vectors, because how two nets' gaps align cannot be recovered from their lengths later.
        "test_output_gap": {"sampling": relative(frozen, predicted), "drift": relative(trained, frozen)},
    }


def widths_by_seed(base: NetSpec, widths: Sequence[int], seeds: int) -> list[NetSpec]:
    """`base` at each width and seed, widths outermost."""
    return [replace(base, width=m, seed=s) for m in widths for s in range(seeds)]
