"""One task at one width, over several lengths of pretraining: the three rungs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sim.estimate import Estimate, estimate
from sim.experiments.replicates import NetSpec, predictions, replicates, widths_by_seed
from sim.records import Cache
from sim.tasks import DigitsTask, SphereTask

QUANTITIES = {
    "gradient_energy": "gradient energy ‖∂L_Q/∂X¹‖²",
    "displacement": "displacement ‖W(Q) − W(P)‖",
    "source_loss": "source loss after fine-tuning",
    "test_mse": "mean squared test error",
    "test_error": "test error rate",
    "forgetting": "forgetting (rise of the source loss through fine-tuning)",
}
"""What is compared, by field of `TransferOutcome`."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One task at one width.

    Parameters
    ----------
    task : SphereTask or DigitsTask
    width : int
    source_steps : tuple of int
        Lengths of pretraining that are fine-tuned from, ascending.
    target_steps : int
    """

    task: SphereTask | DigitsTask
    width: int
    source_steps: tuple[int, ...] = (0, 2, 20, 500)
    target_steps: int = 300

    @property
    def label(self) -> str:
        """The task in words."""
        return task_label(self.task)


@dataclass(frozen=True, kw_only=True)
class ArmsConfig:
    """Settings of an experiment made of arms; each adds its profiles.

    Parameters
    ----------
    arms : tuple of Arm
    seeds : int ≥ 2
        Nets for each arm.
    dtype : "float64" or "float32"
        Of the trained nets; the quick profile takes the second, whose error is far below the spread between nets in all
        that is compared (not in a target loss near zero).
    """

    arms: tuple[Arm, ...]
    seeds: int = 8
    dtype: str = "float64"


def task_label(task: SphereTask | DigitsTask) -> str:
    """A task in words: its data, its labels, and the share of noise if that is not the default."""
    if isinstance(task, SphereTask):
        return "sphere" if task.label_noise == SphereTask.label_noise else f"sphere, label noise {task.label_noise:g}"
    noise = f", {100 * task.label_noise:g} % noise" if task.label_noise else ""
    return f"digits → MNIST, {task.labels}{noise}"


@dataclass(frozen=True)
class Cell:
    """One quantity after one length of pretraining: the prediction, and the values of every net."""

    quantity: str
    source_steps: int
    predicted: float
    frozen_values: tuple[float, ...]
    trained_values: tuple[float, ...]

    @property
    def frozen(self) -> Estimate:
        """Mean over nets of the frozen rung."""
        return estimate(self.frozen_values)

    @property
    def trained(self) -> Estimate:
        """Mean over nets of the trained rung."""
        return estimate(self.trained_values)

    def to_dict(self, arm: Arm) -> dict[str, Any]:
        """As a record keeps it."""
        drift = estimate([t - f for t, f in zip(self.trained_values, self.frozen_values, strict=True)])
        return {
            "task": arm.label,
            "width": arm.width,
            "source_steps": self.source_steps,
            "quantity": self.quantity,
            "predicted": self.predicted,
            "frozen": asdict(self.frozen),
            "trained": asdict(self.trained),
            "drift": asdict(drift),
        }


def measure(arm: Arm, seeds: int, dtype: str, cache: Cache, experiment: str, quantities: Sequence[str]) -> tuple[list[Cell], float]:
    """Cells of an arm, quantities in order within each length of pretraining, and the seconds its nets took."""
    base = NetSpec(task=arm.task, width=arm.width, seed=0, source_steps=arm.source_steps, target_steps=arm.target_steps, dtype=dtype)
    nets = replicates(widths_by_seed(base, [arm.width], seeds), cache, f"{experiment}: {arm.label}")
    cells = []
    for index, predicted in enumerate(predictions(arm.task, arm.source_steps, arm.target_steps)):
        stages = [net["stages"][index] for net in nets]
        for quantity in quantities:
            reference = predicted.scalars()[quantity]
            if reference is not None:
                values = (tuple(s[rung][quantity] for s in stages) for rung in ("frozen", "trained"))
                cells.append(Cell(quantity, arm.source_steps[index], reference, *values))
    return cells, sum(net["seconds"] for net in nets)


def curve(arm: Arm, quantities: Sequence[str]) -> dict[str, list[float | None]]:
    """The prediction on a fine grid of source steps, for a figure's lines."""
    last = arm.source_steps[-1]
    grid = sorted({0, last, *(round(last ** (i / 60)) for i in range(61))})
    outcomes = [p.scalars() for p in predictions(arm.task, tuple(grid), arm.target_steps)]
    known = [q for q in quantities if outcomes[0][q] is not None]
    return {"source_steps": [float(k) for k in grid], **{q: [o[q] for o in outcomes] for q in known}}
