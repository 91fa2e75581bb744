"""Nets under one schedule: the source run, and a fine-tuning run from each of its checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.blocked import HostNets
from sim.descent import Descent, Event, descend
from sim.device import DeviceNets
from theory.outcome import Trajectory, TransferOutcome
from theory.predict import test_scores
from theory.problem import Schedule, TransferProblem

Nets = HostNets | DeviceNets


@dataclass(frozen=True)
class Limits:
    """When a stage that is to be trained to its end stops, and who is told of steps."""

    rtol: float
    max_steps: int
    progress: Callable[[int], object] | None


@dataclass(frozen=True)
class _Tuned:
    """One net after fine-tuning."""

    descent: Descent
    test: np.ndarray | None


class Run:
    """A batch of nets from `W(0)` through a schedule.

    Parameters
    ----------
    problem : TransferProblem of float64 NumPy arrays
    schedule : Schedule
        With its step sizes.
    nets : HostNets or DeviceNets
        At `W(0)`, which no run changes; with `gates` the rung is the frozen one.
    """

    def __init__(self, problem: TransferProblem, schedule: Schedule, nets: Nets, limits: Limits, stable: bool) -> None:
        self.problem, self.schedule, self.nets, self.limits, self.stable = problem, schedule, nets, limits, stable
        self.dtype = str(nets.W.dtype).rpartition(".")[2]
        sets = {name: getattr(problem, name) for name in ("source", "target", "test")}
        self.sets = {
            name: (pair[0].astype(self.dtype), pair[1].reshape(len(pair[1]), -1)) for name, pair in sets.items() if pair is not None
        }

    def outcomes(self, source_steps: Sequence[int | None]) -> list[list[TransferOutcome]]:
        """For each net, one outcome for each length of pretraining."""
        results: list[dict[int | None, TransferOutcome]] = [{} for _ in range(self.nets.count)]
        finite = [k for k in source_steps if k is not None]
        scratch = self._fine_tune(self.nets, range(self.nets.count))
        nets = self.nets.take(range(self.nets.count))

        def fork(events: list[Event]) -> None:
            late = [e.net for e in events if e.step > 0]
            tuned = dict(zip(late, self._fine_tune(nets, late), strict=True)) if late else {}
            for e in events:
                outcome = self._outcome(e, tuned.get(e.net, scratch[e.net]), scratch[e.net])
                results[e.net].update({k: outcome for k, now in ((e.step, e.step in finite), (None, e.end)) if now})

        # A checkpoint that is to be forked may lie beyond the end.
        self._descend(nets, self.nets.W, "source", source_steps[-1], finite, at_least=max(finite, default=0), on_record=fork)
        return [[found[k] for k in source_steps] for found in results]

    def _descend(
        self, nets: Nets, start: Any, name: str, steps: int | None, record: Sequence[int], watch: Sequence[str] = (), **more: Any
    ) -> list[Descent]:
        X, y = self.sets[name]
        lr = self._lr(name)
        stage = nets.stage(X, y, lr, start=start, watch=[self.sets[other][0] for other in watch], keep=True)
        return descend(
            stage,
            lr=lr,
            steps=steps,
            threshold=self.limits.rtol * float(np.linalg.norm(y)),
            rtol=self.limits.rtol,
            max_steps=self.limits.max_steps,
            record=record,
            progress=self.limits.progress,
            **more,
        )

    def _lr(self, name: str) -> float:
        lr = self.schedule.source_lr if name == "source" else self.schedule.target_lr
        assert lr is not None
        return lr

    def _fine_tune(self, nets: Nets, which: Sequence[int]) -> list[_Tuned]:
        tuned = nets.take(which)
        # No copy of where it starts: the net that is forked stays as it is for so long.
        start = nets.W if len(which) == nets.count else None
        steps = self.schedule.target_steps
        descents = self._descend(tuned, start, "target", steps, self.schedule.recorded_steps(), ("source",))
        tests: Sequence[np.ndarray | None] = [None] * len(which)
        if "test" in self.sets:
            tests = list(tuned.outputs(self.sets["test"][0]))
        return [_Tuned(descent, test) for descent, test in zip(descents, tests, strict=True)]

    def _shaped(self, outputs: np.ndarray, name: str) -> np.ndarray:
        return outputs.reshape(getattr(self.problem, name)[1].shape)

    def _outcome(self, event: Event, tuned: _Tuned, scratch: _Tuned) -> TransferOutcome:
        descent, from_scratch = tuned.descent, scratch.descent
        losses = [_half_square(u - self.sets["source"][1]) for (u,) in descent.watched]
        tests = {}
        if tuned.test is not None and scratch.test is not None:
            tests = test_scores(self.problem, self._shaped(tuned.test, "test"), self._shaped(scratch.test, "test"))
        return TransferOutcome(
            rung="trained" if self.nets.gates is None else "frozen",
            gradient_energy=2 * descent.loss[0],
            gradient_energy_scratch=2 * from_scratch.loss[0],
            displacement=descent.displacement[-1],
            displacement_scratch=from_scratch.displacement[-1],
            gain=None,
            gain_reason="the Gram matrix was too large to be formed",
            target_loss=descent.loss[-1],
            target_loss_scratch=from_scratch.loss[-1],
            source_loss_pretrained=event.loss,
            source_loss=losses[-1],
            source_outputs=self._shaped(descent.watched[-1][0], "source"),
            target_outputs=self._shaped(descent.outputs, "target"),
            pretrained_target_outputs=self._shaped(descent.initial_outputs, "target"),
            trajectory=_trajectory(descent, tuple(losses)),
            trajectory_scratch=_trajectory(from_scratch, None),
            source_steps=event.step,
            target_steps=descent.steps[-1],
            source_lr=self.schedule.source_lr,
            target_lr=self._lr("target"),
            stable=self.stable,
            **tests,
        )


def _half_square(residual: np.ndarray) -> float:
    flat = residual.ravel()
    return float(flat @ flat) / 2


def _trajectory(descent: Descent, source_loss: tuple[float, ...] | None) -> Trajectory:
    steps = tuple(map(float, descent.steps))
    return Trajectory(steps=steps, loss=descent.loss, displacement=descent.displacement, source_loss=source_loss)
