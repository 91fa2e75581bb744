"""One net through both stages, its kernel measured along the run: what it moved, and how far that measurement lets it move at most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sim.frozen import frozen_gram
from sim.networks import initial_net
from sim.records import Cache
from sim.sweep import sweep
from sim.tasks import Task, problem_of
from theory.bounds.transfer import PerturbedTransfer
from theory.definitions import network
from theory.numeric import stages
from theory.problem import Schedule, TransferProblem


@dataclass(frozen=True, kw_only=True)
class BoundedSpec:
    """Everything that a measured run depends on, beside the code; an antisymmetric net with `κ = 1`, scalar labels only."""

    task: Task
    width: int
    seed: int
    source_steps: int
    target_steps: int


def bounded(specs: Sequence[BoundedSpec], cache: Cache, label: str) -> list[dict[str, Any]]:
    """`measured` of each spec, from the cache or computed now and kept."""
    return sweep(measured, specs, cache, label, weight=_work, depends=_data)


@lru_cache(maxsize=16)
def prepared(task: Task, source_steps: int, target_steps: int) -> PerturbedTransfer:
    """The task without its test points under the default step sizes, ready to be bounded."""
    whole = problem_of(task)
    problem = TransferProblem(source=whole.source, target=whole.target)
    return PerturbedTransfer(problem, Schedule(source_steps=source_steps, target_steps=target_steps))


def measured(spec: BoundedSpec) -> dict[str, Any]:
    """One net.

    Returns
    -------
    dict of `"displacement"`, `‖W(Q) − W(P)‖_F`; `"own_first"`, the first term of the theorem with the net's own `H(W(0))` for `H`, which
    the same net with that kernel frozen cannot exceed; `"longest"`, the bound from the kernel along the run's residuals; `"kernel_error"`,
    how far the kernel on the target is from `H_Q` along them.
    """
    theory = prepared(spec.task, spec.source_steps, spec.target_steps)
    W, a = initial_net(spec.width, theory.problem.target[0].shape[1], 1, seed=spec.seed)
    net = network.run(theory.problem, theory.schedule, W, a[:, 0])
    _, along = network.kernel_errors(theory.problem, theory.schedule, theory.gram, W, a[:, 0], net)
    own = PerturbedTransfer(theory.problem, theory.schedule, gram=frozen_gram(theory.problem, W, a))
    square = stages.inverse_norm_squared(own.Q, own.remaining)
    assert square is not None
    return {
        "displacement": net.displacement,
        "own_first": math.sqrt(square),
        "longest": theory.bounds(along).displacement.high,
        "kernel_error": along.target,
    }


def _work(spec: BoundedSpec) -> float:
    return (500.0 + spec.width) * (spec.source_steps + spec.target_steps)


def _data(spec: BoundedSpec) -> str:
    return problem_of(spec.task).content_hash
