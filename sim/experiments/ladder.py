"""The ladder: infinite-width prediction, frozen kernel and trained net, side by side over pretraining.

Claims tested, for each task and length of pretraining. The frozen net's mean is the prediction (a z-test of the
sampling gap, which has mean zero). The trained net's mean lies within two per cent of the prediction in gradient energy
and displacement, and within 1.5 points in test error, at the stated width (the drift is a bias of order `m^{-1/2}`, so a
z-test against infinite width would reject a true theory).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from sim.estimate import Estimate, estimate
from sim.experiments.claims import Claim, gap_claim, z_claim
from sim.experiments.replicates import NetSpec, predictions, replicates, widths_by_seed
from sim.records import Cache
from sim.tasks import DigitsTask, SphereTask

NAME = "ladder"
TITLE = "Prediction, frozen kernel and trained net over pretraining"

QUANTITIES = {
    "gradient_energy": "gradient energy ‖∂L_Q/∂X¹‖²",
    "displacement": "displacement ‖W(Q) − W(P)‖",
    "source_loss": "source loss after fine-tuning",
    "test_mse": "mean squared test error",
    "test_error": "test error rate",
}
"""What is compared, by field of `TransferOutcome`."""

AGREEMENT = 0.02
"""Relative distance of the trained mean from the prediction that is claimed for gradient energy and displacement."""

ERROR_POINTS = 0.015
"""Distance of the trained mean's test error rate from the prediction that is claimed."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One task at one width."""

    task: SphereTask | DigitsTask
    width: int
    source_steps: tuple[int, ...] = (0, 2, 20, 500)
    target_steps: int = 300

    @property
    def label(self) -> str:
        """The task's name with its kind of labels."""
        return self.task.name if isinstance(self.task, SphereTask) else f"{self.task.name} → MNIST, {self.task.labels}"


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the experiment.

    Parameters
    ----------
    arms : tuple of Arm
    seeds : int ≥ 2
        Nets for each arm.
    """

    arms: tuple[Arm, ...]
    seeds: int = 8

    @classmethod
    def profile(cls, name: str) -> Config:
        """`"smoke"`, `"quick"`, `"standard"` or `"full"`."""
        if name == "smoke":
            small = DigitsTask(n_source=30, n_target=20, n_test=50)
            steps: dict[str, Any] = {"source_steps": (0, 5, 20), "target_steps": 20}
            arms = (Arm(task=SphereTask(n_source=20, n_target=10, n_test=40), width=512, **steps), Arm(task=small, width=512, **steps))
            return cls(arms=arms, seeds=3)
        sphere, classes = SphereTask(), DigitsTask(labels="classes", n_source=100, n_target=50, n_test=300)
        if name == "quick":
            return cls(arms=(Arm(task=sphere, width=16384), Arm(task=DigitsTask(), width=16384), Arm(task=classes, width=8192)))
        fine = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500)
        wide = 16384 if name == "standard" else 65536
        seeds = 16 if name == "standard" else 32
        return cls(
            arms=(
                Arm(task=sphere, width=wide, source_steps=fine),
                Arm(task=DigitsTask(), width=wide, source_steps=fine),
                Arm(task=DigitsTask(labels="classes"), width=wide, source_steps=fine),
            ),
            seeds=seeds,
        )


def run(config: Config, cache: Cache) -> dict[str, Any]:
    """Train what is not in the cache yet and return the record's results, claims among them."""
    cells: list[dict[str, Any]] = []
    claims: list[Claim] = []
    seconds = 0.0
    for arm in config.arms:
        base = NetSpec(task=arm.task, width=arm.width, seed=0, source_steps=arm.source_steps, target_steps=arm.target_steps)
        nets = list(replicates(widths_by_seed(base, [arm.width], config.seeds), cache, f"{NAME}: {arm.label}"))
        seconds += sum(net["seconds"] for net in nets)
        for index, predicted in enumerate(predictions(arm.task, arm.source_steps, arm.target_steps)):
            stages = [net["stages"][index] for net in nets]
            for quantity in QUANTITIES:
                reference = predicted.scalars()[quantity]
                if reference is None:
                    continue
                frozen = estimate([s["frozen"][quantity] for s in stages])
                trained = estimate([s["trained"][quantity] for s in stages])
                drift = estimate([s["trained"][quantity] - s["frozen"][quantity] for s in stages])
                steps = arm.source_steps[index]
                cells.append(
                    {
                        "task": arm.label,
                        "width": arm.width,
                        "source_steps": steps,
                        "quantity": quantity,
                        "predicted": reference,
                        "frozen": asdict(frozen),
                        "trained": asdict(trained),
                        "drift": asdict(drift),
                    }
                )
                claims += _claims(arm, steps, quantity, reference, frozen, trained)
    curves = {arm.label: _curve(arm) for arm in config.arms}
    return {"cells": cells, "curves": curves, "claims": [c.to_dict() for c in claims], "seconds": seconds}


def _claims(arm: Arm, steps: int, quantity: str, predicted: float, frozen: Estimate, trained: Estimate) -> Iterator[Claim]:
    if steps == 0 and quantity == "gradient_energy":
        return  # ‖y_Q‖² for every antisymmetric net: nothing is tested
    where, at = f"{arm.label}, width {arm.width:,}", f"{steps} source steps"
    yield z_claim(f"frozen kernel: {QUANTITIES[quantity]}", where, at, frozen, predicted)
    if quantity in ("gradient_energy", "displacement"):
        yield gap_claim(f"trained net: {QUANTITIES[quantity]}", where, at, trained, predicted, AGREEMENT)
    elif quantity == "test_error":
        yield gap_claim(f"trained net: {QUANTITIES[quantity]}", where, at, trained, predicted, ERROR_POINTS, relative=False)


def _curve(arm: Arm) -> dict[str, list[float | None]]:
    """The prediction on a fine grid of source steps, for the figure's lines."""
    last = arm.source_steps[-1]
    grid = sorted({0, last, *(round(last ** (i / 40)) for i in range(41))})
    outcomes = [p.scalars() for p in predictions(arm.task, tuple(grid), arm.target_steps)]
    known = [q for q in QUANTITIES if outcomes[0][q] is not None]
    return {"source_steps": [float(k) for k in grid], **{q: [o[q] for o in outcomes] for q in known}}
