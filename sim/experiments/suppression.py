"""Suppression of the gradient's principal component: what pretraining leaves of it, eigenspace by eigenspace of `H_Q`.

Claims tested, over lengths of pretraining. The part of the gradient `y_Q − u_Q(W(P))` in an eigenspace, along the predicted `ỹ`, has the
predicted length over frozen nets (z; the energy, a square, is too large by the nets' variance, of order `1/m`). Of trained nets the energy
`Σ (vᵢᵀ(y_Q − u_Q))²` is the predicted one, within 5 % of what it is from scratch, `Σ (vᵢᵀy_Q)²`, or of what it is predicted to be where
pretraining raises it. Where theory has the principal component suppressed more than all the rest, or less, trained nets do so.

Eigenspaces are those of the `leading` largest eigenvalues, equal ones together, and all that is left as one. Beside a sphere and digits
there is a target of equiangular points, whose Gram matrix has two eigenvalues: the principal one, and one that is repeated.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sim.estimate import estimate
from sim.experiments.arms import task_label
from sim.experiments.claims import Claim, gap_claim, sign_claim, z_claim
from sim.experiments.equiangular import EquiangularTask
from sim.experiments.modes import Mode, modes
from sim.experiments.pretrained import PretrainedSpec, pretrained
from sim.records import Cache
from sim.tasks import DigitsTask, SphereTask

NAME = "suppression"
TITLE = "Suppression of the principal component by pretraining"

AGREEMENT = 0.05
"""Distance of the trained nets' energy from the predicted one that is claimed, in units of the larger of this and that from scratch.

Chosen, not derived."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the experiment.

    Parameters
    ----------
    tasks : tuple
    source_steps : tuple of int, ascending
        Lengths of pretraining.
    width : int
    leading : int
        Eigenspaces with claims of their own.
    seeds : int ≥ 2
        Nets for each task.
    dtype : "float64" or "float32"
        Of the trained nets.
    """

    tasks: tuple[SphereTask | DigitsTask | EquiangularTask, ...]
    source_steps: tuple[int, ...] = (1, 10, 50)
    width: int = 4096
    leading: int = 4
    seeds: int = 16
    dtype: str = "float64"

    @classmethod
    def profile(cls, name: str) -> Config:
        """`"smoke"`, `"quick"`, `"standard"` or `"full"`."""
        if name == "smoke":
            small: dict[str, Any] = {"n_source": 20, "n_target": 10, "n_test": 4}
            few = EquiangularTask(n_source=20, n_target=6)
            return cls(tasks=(SphereTask(**small), DigitsTask(**small), few), source_steps=(1, 5), width=512, seeds=4)
        tasks = (SphereTask(), DigitsTask(n_source=80, n_target=40, n_test=40), EquiangularTask())
        if name == "quick":
            return cls(tasks=tasks, dtype="float32")
        wide = 16384 if name == "standard" else 65536
        return cls(tasks=tasks, source_steps=(1, 3, 10, 30, 100, 300), width=wide, leading=8, seeds=16 if name == "standard" else 64)


def run(config: Config, cache: Cache) -> dict[str, Any]:
    """Train what is not in the cache yet and return the record's results, claims among them."""
    claims: list[Claim] = []
    cells: list[dict[str, Any]] = []
    shared: dict[str, Any] = {"width": config.width, "source_steps": config.source_steps, "dtype": config.dtype}
    specs = [PretrainedSpec(task=task, seed=seed, **shared) for task in config.tasks for seed in range(config.seeds)]
    nets = pretrained(specs, cache, NAME)
    for i, task in enumerate(config.tasks):
        here = nets[i * config.seeds : (i + 1) * config.seeds]
        for index, k in enumerate(config.source_steps):
            more, rows = _after(config, task, k, [{rung: net[rung][index]["residual"] for rung in ("frozen", "trained")} for net in here])
            claims += more
            cells += rows
    return {"cells": cells, "claims": [c.to_dict() for c in claims], "seconds": sum(net["seconds"] for net in nets)}


def _after(
    config: Config, task: SphereTask | DigitsTask | EquiangularTask, steps: int, nets: list[dict[str, list[float]]]
) -> tuple[list[Claim], list[dict[str, Any]]]:
    """All eigenspaces after one length of pretraining."""
    label = task.label if isinstance(task, EquiangularTask) else task_label(task)
    where, at = f"{label}, width {config.width:,}", f"{steps} source steps"
    left = {rung: np.array([net[rung] for net in nets]) for rung in ("frozen", "trained")}
    claims: list[Claim] = []
    cells: list[dict[str, Any]] = []
    parts = modes(task, steps, config.leading)
    for part in parts:
        factor = {rung: (part.energies(values) / part.scratch).tolist() for rung, values in left.items()}
        length = estimate(part.along(left["frozen"]).tolist())
        claims.append(z_claim(f"frozen kernel: gradient left in {part.name}, along the predicted one", where, at, length, part.length))
        words = f"trained net: gradient energy left in {part.name}, over that from scratch or predicted, whichever is larger"
        unit = max(1.0, part.factor)
        share = estimate([value / unit for value in factor["trained"]])
        claims.append(gap_claim(words, where, at, share, part.factor / unit, AGREEMENT, relative=False))
        cells.append(
            {
                "task": label,
                "source_steps": steps,
                "mode": part.name,
                "value": part.value,
                "multiplicity": part.multiplicity,
                "scratch": part.scratch,
                "predicted": part.factor,
                **{rung: asdict(estimate(values)) for rung, values in factor.items()},
            }
        )
    claims.append(_against_the_rest(where, at, parts, left["trained"]))
    return claims, cells


def _against_the_rest(where: str, at: str, parts: list[Mode], left: np.ndarray) -> Claim:
    """How much more pretraining takes of the principal component than of all the rest, in the logarithm of the factors."""
    first, others = parts[0], parts[1:]
    scratch = sum(part.scratch for part in others)
    rest = np.sum([part.energies(left) for part in others], axis=0) / scratch
    logs = np.log(first.energies(left) / first.scratch) - np.log(rest)
    predicted = math.log(first.factor) - math.log(sum(part.predicted for part in others) / scratch)
    words = "trained net: log of the share left of the principal component, less that of the rest"
    return sign_claim(words, where, at, estimate(logs.tolist()), predicted)
