"""The ladder: infinite-width prediction, frozen kernel and trained net, side by side over pretraining.

Claims tested, for each task and length of pretraining. The frozen net's mean is the prediction (a z-test of the
sampling gap, which has mean zero). The trained net's mean lies within two per cent of the prediction in gradient energy
and displacement, and within 1.5 points in test error, at the stated width (the drift is a bias of order `m^{-1/2}`, so a
z-test against infinite width would reject a true theory). How small a gap each z-test could have seen is in the record; whether
pretraining makes the predicted difference, net by net, is tested in `pretraining_stage`.

All claims of one task are made of the same nets, and all nets see one draw of the data: errors are those over nets, and the verdicts
are not independent of each other. The frozen mean itself has a bias `∝ 1/m`, below what eight nets can see at these widths.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sim.experiments.arms import QUANTITIES, Arm, ArmsConfig, Cell, curve, measure
from sim.experiments.claims import Claim, gap_claim, z_claim
from sim.records import Cache
from sim.tasks import DigitsTask, SphereTask

NAME = "ladder"
TITLE = "Prediction, frozen kernel and trained net over pretraining"

COMPARED = ("gradient_energy", "displacement", "source_loss", "test_mse", "test_error")
"""Quantities of `arms.QUANTITIES`."""

AGREEMENT = 0.02
"""Relative distance of the trained mean from the prediction that is claimed for gradient energy and displacement.

Chosen, not derived."""

ERROR_POINTS = 0.015
"""Distance of the trained mean's test error rate from the prediction that is claimed."""


class Config(ArmsConfig):
    """Settings of the experiment: its arms, by profile.

    The standard profile has twice the nets, more points and longer stages on digits, wide nets for the classes too, and one more length
    of pretraining; the full one is in float64, four times as wide.
    """

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
            short: dict[str, Any] = {"source_steps": (0, 2, 20, 200), "target_steps": 150}
            narrower = Arm(task=classes, width=8192, **short)
            wide = (Arm(task=t, width=16384, **short) for t in (sphere, DigitsTask(n_source=200)))
            return cls(arms=(*wide, narrower), dtype="float32")
        if name == "standard":
            longer: dict[str, Any] = {"source_steps": (0, 2, 20, 100, 500), "target_steps": 200}
            return cls(arms=tuple(Arm(task=t, width=16384, **longer) for t in (sphere, DigitsTask(), classes)), seeds=16, dtype="float32")
        fine = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500)
        tasks = (sphere, DigitsTask(), DigitsTask(labels="classes"))
        return cls(arms=tuple(Arm(task=t, width=65536, source_steps=fine) for t in tasks), seeds=32)


def run(config: Config, cache: Cache) -> dict[str, Any]:
    """Train what is not in the cache yet and return the record's results, claims among them."""
    cells: list[dict[str, Any]] = []
    claims: list[Claim] = []
    seconds = 0.0
    for arm in config.arms:
        measured, took = measure(arm, config.seeds, config.dtype, cache, NAME, COMPARED)
        seconds += took
        for cell in measured:
            cells.append(cell.to_dict(arm))
            claims += _claims(arm, cell)
    curves = {arm.label: curve(arm, COMPARED) for arm in config.arms}
    return {"cells": cells, "curves": curves, "claims": [c.to_dict() for c in claims], "seconds": seconds}


def _claims(arm: Arm, cell: Cell) -> Iterator[Claim]:
    if cell.source_steps == 0 and cell.quantity == "gradient_energy":
        return  # ‖y_Q‖² for every antisymmetric net: nothing is tested
    where, at = f"{arm.label}, width {arm.width:,}", f"{cell.source_steps} source steps"
    words = QUANTITIES[cell.quantity]
    yield z_claim(f"frozen kernel: {words}", where, at, cell.frozen, cell.predicted)
    if cell.quantity in ("gradient_energy", "displacement"):
        yield gap_claim(f"trained net: {words}", where, at, cell.trained, cell.predicted, AGREEMENT)
    elif cell.quantity == "test_error":
        yield gap_claim(f"trained net: {words}", where, at, cell.trained, cell.predicted, ERROR_POINTS, relative=False)
