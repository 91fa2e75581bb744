"""How long to pretrain: transferability rises with pretraining, and falls where source labels are noisy or unlike the target's.

Claims tested, for each task. The change of gradient energy, displacement and test error from no pretraining to its best length, and
from there to the longest: the frozen kernel's mean is the prediction (z), and the trained net's has the predicted sign. Where the
theory puts the turn inside the range, nets turn there too: the frozen kernel by a z-test, the trained net within ten per cent in steps.

All claims of one task are made of the same nets, and all nets see one draw of the data: errors are those over nets, and the verdicts
are not independent of each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from sim.estimate import Estimate, estimate
from sim.experiments.arms import QUANTITIES, Arm, ArmsConfig, Cell, curve, measure
from sim.experiments.claims import Claim, gap_claim, sign_claim, z_claim
from sim.records import Cache
from sim.tasks import DigitsTask, SphereTask, problem_of
from theory.pretraining import pretraining_curves
from theory.problem import Schedule

NAME = "pretraining_stage"
TITLE = "Transferability over pretraining, and where it turns"

COMPARED = ("gradient_energy", "displacement", "test_mse", "forgetting")
"""Quantities of `arms.QUANTITIES`."""

TURNING = {"gradient_energy": "gradient_energy", "displacement": "squared_displacement", "test_mse": "squared_test_error"}
"""Quantities with a turn, and their names in `theory.pretraining`."""

TURN_AGREEMENT = math.log(1.1)
"""Distance of the trained net's turn from the predicted one that is claimed, in the logarithm of steps."""


class Config(ArmsConfig):
    """Settings of the experiment: its arms, by profile.

    The standard profile has twice the nets, twice as wide, a finer grid round the turn, and longer stages; the full one is in float64.
    """

    @classmethod
    def profile(cls, name: str) -> Config:
        """`"smoke"`, `"quick"`, `"standard"` or `"full"`."""
        if name == "smoke":
            small: dict[str, Any] = {"n_source": 20, "n_target": 10, "n_test": 40}
            few = (SphereTask(label_noise=1.0, **small), DigitsTask(label_noise=0.4, **small))
            return cls(arms=tuple(Arm(task=t, width=256, source_steps=(0, 1, 3, 10, 30), target_steps=20) for t in few), seeds=3)
        steps: tuple[int, ...] = (0, 1, 2, 3, 5, 8, 20, 60, 200)
        tasks = (SphereTask(label_noise=0.0), SphereTask(label_noise=1.0), DigitsTask(), DigitsTask(label_noise=0.4))
        if name == "quick":
            return cls(arms=tuple(Arm(task=t, width=4096, source_steps=steps, target_steps=60) for t in tasks), dtype="float32")
        if name == "standard":
            steps = (0, 1, 2, 3, 4, 6, 8, 12, 20, 60, 200, 500)
            arms = tuple(Arm(task=t, width=8192, source_steps=steps, target_steps=100) for t in tasks)
            return cls(arms=arms, seeds=16, dtype="float32")
        steps = (0, 1, 2, 3, 4, 6, 8, 12, 20, 35, 60, 100, 200, 500, 1500)
        return cls(arms=tuple(Arm(task=t, width=65536, source_steps=steps, target_steps=300) for t in tasks), seeds=32)


def run(config: Config, cache: Cache) -> dict[str, Any]:
    """Train what is not in the cache yet and return the record's results, claims among them."""
    cells: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    claims: list[Claim] = []
    seconds = 0.0
    for arm in config.arms:
        measured, took = measure(arm, config.seeds, config.dtype, cache, NAME, COMPARED)
        seconds += took
        cells += [cell.to_dict(arm) for cell in measured]
        curves = pretraining_curves(problem_of(arm.task), Schedule(target_steps=arm.target_steps))
        for quantity, name in TURNING.items():
            here = [cell for cell in measured if cell.quantity == quantity]
            claims += _claims(arm, quantity, here)
            exact = curves[name]
            # (Squares have their least value where the quantity itself has.)
            turns.append(
                {
                    "task": arm.label,
                    "quantity": quantity,
                    "turns": exact.turns(arm.source_steps[-1]),
                    "best": exact.best(arm.source_steps[-1]),
                    "first_step_helps": exact.initial_slope() < 0,
                }
            )
        claims += _forgetting(arm, [cell for cell in measured if cell.quantity == "forgetting"])
    drawn = {arm.label: curve(arm, COMPARED) for arm in config.arms}
    return {"cells": cells, "curves": drawn, "turns": turns, "claims": [c.to_dict() for c in claims], "seconds": seconds}


def _claims(arm: Arm, quantity: str, cells: list[Cell]) -> Iterator[Claim]:
    where, words = f"{arm.label}, width {arm.width:,}", QUANTITIES[quantity]
    predicted = [cell.predicted for cell in cells]
    best = min(range(len(cells) - 1), key=predicted.__getitem__)

    def change(values: Sequence[Sequence[float]], first: int, second: int) -> list[float]:
        # Of each net: what nets differ in from the start cancels.
        return [after - before for before, after in zip(values[first], values[second], strict=True)]

    frozen, trained = [c.frozen_values for c in cells], [c.trained_values for c in cells]
    for first, second in ((0, best), (best, len(cells) - 1)):
        if first == second:
            continue
        at = f"{arm.source_steps[first]} to {arm.source_steps[second]} source steps"
        expected = predicted[second] - predicted[first]
        yield z_claim(f"frozen kernel: change of the {words}", where, at, estimate(change(frozen, first, second)), expected)
        yield sign_claim(f"trained net: change of the {words}", where, at, estimate(change(trained, first, second)), expected)

    turn = _turn(arm.source_steps, predicted)
    if turn is not None:
        at = f"{arm.source_steps[best]} source steps"
        named = f"turn of the {words}, log(1 + steps)"
        yield z_claim(f"frozen kernel: {named}", where, at, _turns(arm.source_steps, frozen), turn)
        yield gap_claim(f"trained net: {named}", where, at, _turns(arm.source_steps, trained), turn, TURN_AGREEMENT, relative=False)


def _forgetting(arm: Arm, cells: list[Cell]) -> Iterator[Claim]:
    where, words = f"{arm.label}, width {arm.width:,}", QUANTITIES["forgetting"]
    for cell in cells[1:]:
        at = f"{cell.source_steps} source steps"
        yield z_claim(f"frozen kernel: {words}", where, at, cell.frozen, cell.predicted)
        yield sign_claim(f"trained net: {words}", where, at, cell.trained, cell.predicted)


def _turns(steps: Sequence[int], values: Sequence[Sequence[float]]) -> Estimate:
    """Where each net turns; a net that does not turn inside the range turns at that end of it."""
    located = []
    for net in zip(*values, strict=True):
        inside = _turn(steps, net)
        located.append(math.log1p(steps[0] if net[0] < net[-1] else steps[-1]) if inside is None else inside)
    return estimate(located)


def _turn(steps: Sequence[int], values: Sequence[float]) -> float | None:
    """`log(1 + k)` at the least value, by a parabola through the least point and its neighbours; `None` at either end.

    The same estimator for theory and nets: what the grid and the parabola distort, they distort alike.
    """
    i = min(range(len(values)), key=values.__getitem__)
    if i in (0, len(values) - 1):
        return None
    (x0, x1, x2), (y0, y1, y2) = (math.log1p(k) for k in steps[i - 1 : i + 2]), values[i - 1 : i + 2]
    left, right = (y1 - y0) / (x1 - x0), (y2 - y1) / (x2 - x1)
    curvature = (right - left) / (x2 - x0)
    return (x0 + x1) / 2 - left / (2 * curvature)
