"""Gradient descent from one recorded step to the next: the loop that all backends share.

A `Stage` knows how to step a batch of nets, on whatever device; here is decided when each net stops, what is recorded of it, and what is
an error. Between two events nobody asks the device anything, so that it need not wait for its host.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from theory.errors import NotConverged, UnstableStep


@dataclass(frozen=True)
class Descent:
    """What one stage of gradient descent saw.

    Attributes
    ----------
    outputs : (n, c) array, outputs at the end
    steps : tuple of int, recorded steps, the last one taken among them
    loss, displacement : tuple of float, at the recorded steps
    initial_outputs : (n, c) array, outputs at the start
    watched : tuple of tuples of arrays
        At each recorded step, outputs on the sets that were to be watched.
    """

    outputs: np.ndarray
    steps: tuple[int, ...]
    loss: tuple[float, ...]
    displacement: tuple[float, ...]
    initial_outputs: np.ndarray
    watched: tuple[tuple[np.ndarray, ...], ...]


@dataclass(frozen=True)
class Observation:
    """A net at a recorded step: `‖W − W_s‖_F`, and outputs (n', c) on the watched sets."""

    displacement: float
    watched: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Event:
    """A recorded step of one net of the batch: `end` says whether it is the end of its stage."""

    net: int
    step: int
    loss: float
    end: bool


class Stage(Protocol):
    """A batch of nets on one training set, with one step size."""

    @property
    def count(self) -> int:
        """Number of nets."""

    def squared(self) -> list[float]:
        """`‖u − y‖²` of each net now."""

    def rounding(self) -> list[float]:
        """What rounding makes of each `‖u‖` where all terms of its sums cancel."""

    def run(self, budget: Sequence[int], limit: Sequence[float], progress: Callable[[int], object] | None) -> list[int]:
        """Step each net until `budget` is used up, `‖u − y‖` is at most `limit`, or it is not finite; steps taken."""

    def observe(self) -> list[Observation]:
        """Each net now."""

    def outputs(self) -> np.ndarray:
        """Outputs now, (S, n, c) float64 on the host."""

    def sync(self) -> None:
        """Bring the nets' weights up to date."""


@dataclass
class _Net:
    """Where one net is."""

    threshold: float
    step: int = 0
    ended: bool = False
    done: bool = False
    seen: list[tuple[int, float, Observation]] = field(default_factory=list)


def descend(
    stage: Stage,
    *,
    lr: float,
    steps: int | None,
    threshold: float,
    rtol: float,
    max_steps: int,
    at_least: int = 0,
    record: Sequence[int] = (),
    on_record: Callable[[list[Event]], None] | None = None,
    progress: Callable[[int], object] | None = None,
) -> list[Descent]:
    """Train every net of `stage`, each as if it were alone.

    Parameters
    ----------
    lr : float
        The stage's step size, for messages.
    steps : int or None
        `None` trains each net until `‖u − y‖ ≤ threshold`.
    threshold, rtol : float
        `rtol·‖y‖`; where that is zero, `rtol` times the size of the outputs that are to be unlearnt, and no less than what rounding
        makes of none.
    max_steps, at_least, record
        As for `BlockedNet.descend`.
    on_record : callable, optional
        Called when every net stands at a recorded step or its end, with these events; `Stage.sync` has been called.
    progress : callable, optional
        Called with numbers of steps taken, over all nets.

    Raises
    ------
    NotConverged, UnstableStep
        As soon as one net has no end, or overflows.
    """
    recorded = sorted(set(record))
    first = stage.outputs()
    nets = [_Net(end) for end in _ends(stage, threshold, steps, rtol)]
    while True:
        arrived = [_arrive(i, net, stage.squared()[i], lr, steps, recorded) for i, net in enumerate(nets)]
        events = [event for event in arrived if event is not None]
        if events:
            seen = stage.observe()
            for event in events:
                nets[event.net].seen.append((event.step, event.loss, seen[event.net]))
            if on_record is not None:
                stage.sync()
                on_record(events)
        for net, squared in zip(nets, stage.squared(), strict=True):
            net.done |= net.ended and (steps is not None or net.step >= at_least)
            if not net.ended and steps is None and net.step == max_steps:
                raise NotConverged(
                    f"‖u − y‖ is {math.sqrt(squared):.3g} after {max_steps} steps of size {lr:.6g}; at most rtol·‖y‖ = {net.threshold:.3g} "
                    "was asked for (raise max_steps or rtol, or give a number of steps)"
                )
        if all(net.done for net in nets):
            break
        limits = [-1.0 if steps is not None or net.ended else net.threshold for net in nets]
        budget = [0 if net.done else _next_stop(net, steps, max_steps, at_least, recorded) - net.step for net in nets]
        for net, taken in zip(nets, stage.run(budget, limits, progress), strict=True):
            net.step += taken
    stage.sync()
    return [_descent(*each) for each in zip(stage.outputs(), nets, first, strict=True)]


def _ends(stage: Stage, threshold: float, steps: int | None, rtol: float) -> list[float]:
    """Where each net ends: at `threshold`, unless y = 0."""
    if steps is not None or threshold > 0:
        return [threshold] * stage.count
    # Nothing sets the scale of y = 0 but the outputs that are to be unlearnt; those of an antisymmetric W(0) are rounding errors of zero.
    return [max(rtol * math.sqrt(s), floor) for s, floor in zip(stage.squared(), stage.rounding(), strict=True)]


def _arrive(index: int, net: _Net, squared: float, lr: float, steps: int | None, recorded: list[int]) -> Event | None:
    """What is to be recorded of a net that has just come to a stop."""
    if net.done:
        return None
    if not math.isfinite(squared):
        raise UnstableStep(f"the outputs overflowed at step {net.step} with step size {lr:.6g}; a smaller one is needed")
    end = not net.ended and (net.step == steps if steps is not None else math.sqrt(squared) <= net.threshold)
    net.ended |= end
    return Event(index, net.step, squared / 2, end) if end or net.step in recorded else None


def _next_stop(net: _Net, steps: int | None, max_steps: int, at_least: int, recorded: list[int]) -> int:
    last = steps if steps is not None else at_least if net.ended else max_steps
    return min([k for k in recorded if k > net.step] + [last])


def _descent(outputs: np.ndarray, net: _Net, first: np.ndarray) -> Descent:
    steps, loss, seen = zip(*net.seen, strict=True)
    return Descent(outputs, steps, loss, tuple(o.displacement for o in seen), first, tuple(o.watched for o in seen))
