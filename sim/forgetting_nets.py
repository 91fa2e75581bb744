"""One net's forgetting along fine-tuning, after several lengths of pretraining: trained, with its kernel frozen, and in theory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sim.tasks import Task, problem_of
from sim.training import simulate_stages
from theory.outcome import TransferOutcome
from theory.predict import predict_stages
from theory.problem import Schedule


@dataclass(frozen=True, kw_only=True)
class ForgettingSpec:
    """Everything that one net depends on, beside the code.

    Parameters
    ----------
    task : Task
    source_steps : tuple of int ≥ 1, ascending
        Lengths of pretraining.
    target_steps : tuple of int ≥ 1, ascending
        At which the loss on the source is looked at; training ends with the last.
    width, seed : int
    dtype : str
    """

    task: Task
    source_steps: tuple[int, ...]
    target_steps: tuple[int, ...]
    width: int
    seed: int
    dtype: str

    @property
    def work(self) -> float:
        """Multiplications, up to a factor."""
        X, Z = problem_of(self.task).source[0], problem_of(self.task).target[0]  # type: ignore[index]
        return self.width * (self.source_steps[-1] * X.size + self.target_steps[-1] * Z.size * (1 + len(self.source_steps)))


def forgetting_net(spec: ForgettingSpec) -> dict[str, Any]:
    """`trained` and `frozen`: rise of the loss on the source, a row for each length of pretraining and a column for each step looked at."""
    schedule = Schedule(target_steps=spec.target_steps[-1], snapshots=spec.target_steps)
    trained = simulate_stages(problem_of(spec.task), schedule, spec.source_steps, width=spec.width, seed=spec.seed, dtype=spec.dtype)
    frozen = [outcome.frozen for outcome in trained]
    return {
        "trained": [forgotten(outcome, spec.target_steps) for outcome in trained],
        "frozen": [forgotten(outcome, spec.target_steps) for outcome in frozen if outcome is not None],
    }


def predicted_forgetting(task: Task, source_steps: Sequence[int], target_steps: Sequence[int]) -> list[list[float]]:
    """What theory says of it, rows and columns as in `forgetting_net`."""
    schedule = Schedule(target_steps=target_steps[-1], snapshots=tuple(target_steps))
    return [forgotten(outcome, target_steps) for outcome in predict_stages(problem_of(task), schedule, source_steps)]


def forgotten(outcome: TransferOutcome, steps: Sequence[int]) -> list[float]:
    """Rise of the loss on the source since the end of pretraining, after each of `steps`."""
    path, before = outcome.trajectory, outcome.source_loss_pretrained
    assert path is not None and path.source_loss is not None and before is not None
    seen = dict(zip(path.steps, path.source_loss, strict=True))
    return [seen[float(k)] - before for k in steps]
