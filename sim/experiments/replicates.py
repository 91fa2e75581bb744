"""One trained net of an experiment, with its predictions: computed once, kept, and shared between experiments."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from tqdm import tqdm

from sim.records import Cache
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


def replicates(specs: Sequence[NetSpec], cache: Cache, label: str) -> Iterator[dict[str, Any]]:
    """The result of each spec, in order, from the cache or computed now and kept; with a progress bar on a terminal."""
    keys = [cache.key({**asdict(s), "data": problem_of(s.task).content_hash}, __name__) for s in specs]
    # disable=None: the bar vanishes where there is no terminal.
    with tqdm(total=sum(s.steps for s in specs), desc=label, unit="step", disable=None, leave=False) as bar:
        for spec, key in zip(specs, keys, strict=True):
            bar.set_postfix_str(f"width {spec.width}, seed {spec.seed}")
            result = cache.get(key)
            if result is None:
                result = _train(spec, bar.update)
                cache.put(key, result)
            else:
                bar.update(spec.steps)
            yield result


def _train(spec: NetSpec, progress: Callable[[int], Any]) -> dict[str, Any]:
    started = time.perf_counter()
    schedule = Schedule(target_steps=spec.target_steps)
    outcomes = simulate_stages(
        problem_of(spec.task),
        schedule,
        spec.source_steps,
        width=spec.width,
        init_scale=spec.init_scale,
        antisymmetric=spec.antisymmetric,
        seed=spec.seed,
        dtype=spec.dtype,
        progress=progress,
    )
    predicted = predictions(spec.task, spec.source_steps, spec.target_steps)
    stages = [_stage(o, p) for o, p in zip(outcomes, predicted, strict=True)]
    return {"stages": stages, "seconds": time.perf_counter() - started}


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
