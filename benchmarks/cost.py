"""What a step, a Gram matrix and a prediction cost as their sizes grow, and the exponents that fit the largest sizes."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Contender, Environments, NotRun, summary

# Sizes that the exponent is fitted on: the largest ones, where the leading term is nearest to being all of the cost.
FITTED = 3
ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One size that grows while the others stay.

    Attributes
    ----------
    name, task, vary, order : str
        `order` is the cost as the documentation states it.
    exponent : float
        What `order` says of this size.
    sizes : tuple of int, ascending
    fixed : dict
        The other sizes.
    """

    name: str
    task: str
    vary: str
    order: str
    exponent: float
    sizes: tuple[int, ...]
    fixed: dict[str, int]


_STEP, _GRAM, _SOLVE = "m n d a step", "n² d", "n³"

AXES = (
    Axis(
        name="gradient step, width", task="step_on_grid", vary="width", order=_STEP, exponent=1,
        sizes=(4096, 8192, 16384, 32768, 65536, 131072), fixed={"n": 256, "d": 64, "steps": 4},
    ),
    Axis(
        name="gradient step, points", task="step_on_grid", vary="n", order=_STEP, exponent=1,
        sizes=(64, 128, 256, 512, 1024, 2048), fixed={"d": 64, "width": 16384, "steps": 4},
    ),
    Axis(
        name="gradient step, dimension", task="step_on_grid", vary="d", order=_STEP, exponent=1,
        sizes=(32, 64, 128, 256, 512, 1024), fixed={"n": 2048, "width": 4096, "steps": 3},
    ),
    Axis(
        name="gradient step, dimension ≥ points", task="step_on_grid", vary="d", order="m n² a step", exponent=0,
        sizes=(512, 1024, 2048, 4096), fixed={"n": 256, "width": 8192, "steps": 4},
    ),
    Axis(
        name="gradient steps, number", task="run_of_steps", vary="steps", order=_STEP, exponent=1,
        sizes=(2, 4, 8, 16, 32, 64), fixed={"n": 256, "d": 64, "width": 16384},
    ),
    Axis(
        name="Gram matrix, points", task="gram", vary="n", order=_GRAM, exponent=2,
        sizes=(500, 1000, 2000, 4000, 8000, 16000), fixed={"d": 100},
    ),
    Axis(
        name="Gram matrix, dimension", task="gram", vary="d", order=_GRAM, exponent=1,
        sizes=(64, 256, 1024, 4096, 16384), fixed={"n": 2000},
    ),
    Axis(
        name="prediction, points", task="predict", vary="n", order=_SOLVE, exponent=3,
        sizes=(250, 500, 1000, 2000, 4000), fixed={"d": 50},
    ),
)  # fmt: skip


def measure(
    python_of: Environments, say: Callable[[str], object], axes: Sequence[Axis] = AXES, rounds: int = ROUNDS
) -> list[dict[str, Any]]:
    """Seconds at each size of each axis, in interleaved rounds, with the fitted exponents; JSON-ready."""
    return [_axis(axis, python_of, say, rounds) for axis in axes]


def _axis(axis: Axis, python_of: Environments, say: Callable[[str], object], rounds: int) -> dict[str, Any]:
    known = {"name": axis.name, "vary": axis.vary, "fixed": axis.fixed, "order": axis.order, "stated_exponent": axis.exponent}
    seconds: list[list[float]] = [[] for _ in axis.sizes]
    with tempfile.TemporaryDirectory(prefix="ptoq-bench-") as name:
        folder = Path(name)
        np.savez(folder / "inputs.npz")
        try:
            contender = Contender(python_of("main"), "ours.py", folder)
        except NotRun as error:
            return {**known, "status": "not run", "reason": str(error)}
        try:
            for _ in range(rounds):
                for size, values in zip(axis.sizes, seconds, strict=True):
                    setting = {**axis.fixed, axis.vary: size}
                    contender.ask(do="prepare", task=axis.task, setting=setting, data=str(folder / "inputs.npz"))
                    values.append(contender.ask(do="measure")["seconds"])
        except NotRun as error:
            return {**known, "status": "not run", "reason": str(error)}
        finally:
            contender.close()
    fits = [exponent(axis.sizes[-FITTED:], [values[k] for values in seconds[-FITTED:]]) for k in range(rounds)]
    say(f"  {axis.name}: exponent {summary(fits)['median']:.2f}, stated {axis.exponent:g}")
    rows = [{"size": size, "seconds": summary(values)} for size, values in zip(axis.sizes, seconds, strict=True)]
    return {**known, "status": "ran", "points": rows, "exponent": summary(fits)}


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Slope of log seconds over log size, by least squares."""
    slope, _ = np.polyfit([math.log(s) for s in sizes], [math.log(t) for t in seconds], 1)
    return float(slope)
