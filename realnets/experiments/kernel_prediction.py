"""R7: the tangent kernel at the starting weights predicts the training of a real network, as far as its own reading says.

Sixty-four pictures, half of each of two categories, labels ±1, one output from a fresh head, initial outputs kept. Full-batch
gradient descent on `½‖f − y‖²` with the fixed step `0.5/λ_max` of each network's own kernel. Batch-norm statistics are part of
the network that is linearised: frozen pretrained, or re-estimated on the 64 pictures at the start; either way they then stay.

Claims tested. The displacement is within five per cent of the prediction, over every seed and step up to which the reading
says valid; the reading looks at the starting point only. For the pretrained network with its own statistics it is valid for
at least one step at which something is predicted (the first step is exact whatever the network, and does not count). The
randomly started network leaves the five per cent by step 5, and the reading says so beforehand. The pretrained network with
re-estimated statistics stands between: which part of the contrast is the weights', which the statistics'.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from realnets import data
from realnets.experiments.cells import cells
from realnets.experiments.linearised import Arm, Linearised, lineariser
from realnets.kernel_regime import TOLERANCE
from sim.estimate import estimate
from sim.experiments.claims import Claim
from sim.records import Cache

NAME = "kernel_prediction"
TITLE = "A real network's training predicted by its tangent kernel"

BREAKDOWN_STEP = 5
"""The step by which a random start is claimed to have left the prediction."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the experiment.

    Parameters
    ----------
    arms : tuple of Arm
    pictures : int
        Even.
    groups : pair of str
        Categories labelled +1 and −1.
    size : int
        Pixels a side.
    seeds : int ≥ 2
        Each draws its own pictures, head and random start.
    """

    arms: tuple[Arm, ...]
    pictures: int = 64
    groups: tuple[str, str] = ("animals", "food")
    size: int = 64
    seeds: int = 3

    @classmethod
    def profile(cls, name: str) -> Config:
        """`"smoke"`, `"quick"`, `"standard"` or `"full"`."""
        steps = {"smoke": (3, 2, 2), "quick": (60, 12, 12), "standard": (200, 60, 60), "full": (500, 100, 100)}[name]
        starts = (("pretrained", "frozen"), ("pretrained", "re-estimated"), ("random", "re-estimated"))
        arms = tuple(Arm(start=s, batch_norm=b, steps=k) for (s, b), k in zip(starts, steps, strict=True))
        if name == "smoke":
            return cls(arms=(arms[0], arms[2]), pictures=6, seeds=2)
        return cls(arms=arms, pictures=128 if name == "full" else 64, seeds={"quick": 3, "standard": 8, "full": 16}[name])


def run(config: Config, cache: Cache, device: str = "cpu") -> dict[str, Any]:
    """Compute what is not in the cache yet and return the record's results, claims among them."""
    pool = data.openmoji(config.groups, config.size)
    specs = [
        Linearised(arm=arm, pictures=config.pictures, groups=config.groups, size=config.size, seed=seed)
        for arm in config.arms
        for seed in range(config.seeds)
    ]

    results = cells(
        specs, lineariser(pool, device), cache, NAME, work=lambda s: s.arm.steps + 1, unit="step", device=device, data=pool.content_hash
    )
    found = [{**asdict(spec), "label": spec.arm.label, **result} for spec, result in zip(specs, results, strict=True)]
    where = f"{config.pictures} pictures, {config.groups[0]} against {config.groups[1]}"
    by_arm = [(arm, [c for c in found if c["label"] == arm.label]) for arm in config.arms]
    claims = [claim for arm, runs in by_arm for claim in _claims(arm, runs, where)]
    return {
        "cells": found,
        "summary": [_summary(arm, runs) for arm, runs in by_arm],
        "attribution": pool.source,
        "claims": [c.to_dict() for c in claims],
        "seconds": sum(c["seconds"] for c in found),
    }


def relative_gap(cell: dict[str, Any], step: int) -> float:
    """Displacement, `predicted/measured − 1` after `step ≥ 1` steps."""
    return float(cell["predicted"]["displacement"][step] / cell["measured"]["displacement"][step] - 1)


def loss_gap(cell: dict[str, Any], step: int) -> float:
    """Predicted less measured loss after `step` steps, as a share of the loss at the start."""
    return float((cell["predicted"]["loss"][step] - cell["measured"]["loss"][step]) / cell["measured"]["loss"][0])


def _claims(arm: Arm, runs: list[dict[str, Any]], where: str) -> list[Claim]:
    reached = [c["valid_to"] for c in runs]
    where = f"{where}; {arm.label}"
    span = f"{min(reached)}" if min(reached) == max(reached) else f"{min(reached)}…{max(reached)}"
    at = f"valid to step {span} of {arm.steps}, {len(runs)} seeds"
    if arm.start == "pretrained" and arm.batch_norm == "frozen":
        return [*(_agreement(q, runs, where, at) for q in ("displacement", "loss")), _reach(reached, where, at)]
    return [_breakdown(arm, runs, where, at)] if arm.start == "random" else []


def _agreement(quantity: str, runs: list[dict[str, Any]], where: str, at: str) -> Claim:
    """Prediction over measurement at the last valid step of each seed; decided by the worst valid step of any.

    The loss falls towards zero, where no relative gap stays small: its gap is a share of the loss at the start.
    """
    relative = quantity == "displacement"
    gap = relative_gap if relative else loss_gap
    worst = max((gap(c, k) for c in runs for k in range(1, c["valid_to"] + 1)), key=abs, default=None)
    if any(c["valid_to"] == 0 for c in runs):
        ends = None
    elif relative:
        ends = 1.0, estimate([1 / (1 + gap(c, c["valid_to"])) for c in runs])
    else:
        shares = {who: [c[who]["loss"][c["valid_to"]] / c[who]["loss"][0] for c in runs] for who in ("predicted", "measured")}
        ends = estimate(shares["predicted"]).mean, estimate(shares["measured"])
    subject = "displacement, measured over predicted," if relative else "loss, as a share of that at the start,"
    return Claim(
        claim=f"{subject} wherever the reading says valid",
        where=where,
        at=at,
        predicted=ends[0] if ends else 1.0,
        measured=ends[1].mean if ends else None,
        standard_error=ends[1].standard_error if ends else None,
        statistic="relative gap at the worst step" if relative else "gap at the worst step",
        value=worst,
        limit=TOLERANCE,
        verdict="undecided" if worst is None or ends is None else "held" if abs(worst) <= TOLERANCE else "failed",
    )


def _reach(reached: list[int], where: str, at: str) -> Claim:
    mean = estimate(reached)
    return Claim(
        claim="valid steps according to the reading, at least 2 for every seed",
        where=where,
        at=at,
        predicted=2.0,
        measured=mean.mean,
        standard_error=mean.standard_error,
        statistic="fewest, at least",
        value=float(min(reached)),
        limit=2.0,
        verdict="held" if min(reached) >= 2 else "failed",
    )


def _breakdown(arm: Arm, runs: list[dict[str, Any]], where: str, at: str) -> Claim:
    step = min(BREAKDOWN_STEP, arm.steps)
    gaps = [relative_gap(c, step) for c in runs]
    ratio = estimate([1 / (1 + g) for g in gaps])
    least = min(gaps, key=abs)
    return Claim(
        claim=f"the reading announces that the displacement has left the prediction by step {step}, for every seed",
        where=where,
        at=at,
        predicted=1.0,
        measured=ratio.mean,
        standard_error=ratio.standard_error,
        statistic="relative gap beyond",
        value=least,
        limit=TOLERANCE,
        verdict="held" if abs(least) > TOLERANCE and max(c["valid_to"] for c in runs) < step else "failed",
    )


def _summary(arm: Arm, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Gaps of each quantity over the steps, mean and standard error over seeds; how far the readings go."""

    def over_seeds(gap: Callable[[dict[str, Any], int], float]) -> list[dict[str, float]]:
        # From step 1: at the start both displacements are zero.
        values = [estimate([gap(c, k) for c in runs]) for k in range(1, arm.steps + 1)]
        return [{"step": k, "mean": v.mean, "standard_error": v.standard_error} for k, v in enumerate(values, start=1)]

    gaps = {"displacement": over_seeds(relative_gap), "loss": over_seeds(loss_gap)}
    return {"label": arm.label, "valid_to": [c["valid_to"] for c in runs], "gaps": gaps}
