"""Bounds that tie the two metrics in which a source is near its target."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any

import mpmath as mp
import numpy as np

from theory.bounds import metric
from theory.formula import Bound, Case, Domain, Evidence
from theory.symbolic import metrics

Pairs = list[tuple[float, float]]


def _draw(rng: Random, index: int) -> Case:
    """A Gram matrix of any condition up to 10⁴, and labels; now and then those for which an end of the interval is reached."""
    n = rng.randint(1, 4)
    generator = np.random.default_rng(rng.getrandbits(32))
    basis = np.linalg.qr(generator.standard_normal((n, n)))[0]
    values = 2.0 ** np.array(sorted(rng.uniform(-6, 6) for _ in range(n)))
    y, left = generator.standard_normal(n), generator.standard_normal(n)
    if index % 3 == 1:
        y, left = basis[:, -1], rng.uniform(0.1, 2) * basis[:, 0]
    elif index % 3 == 2:
        y, left = basis[:, 0], rng.uniform(0.1, 2) * basis[:, -1]
    return {"basis": basis.tolist(), "values": values.tolist(), "y": y.tolist(), "left": left.tolist()}


def _gain(twin: Callable[..., Any], case: Case) -> Pairs:
    """The gain by solving `H_Q w = ỹ` and `H_Q w = y_Q` at 30 digits, above the low end and below the high end of the interval that
    the norms of `ỹ` and `y_Q` give.
    """
    with mp.workdps(30):
        V, y, left = (mp.matrix(case[name]) for name in ("basis", "y", "left"))
        H = V * mp.diag([mp.mpf(v) for v in case["values"]]) * V.T
        moved, scratch = ((b.T * mp.lu_solve(H, b))[0] for b in (left, y))
        distance = float(mp.sqrt(moved / scratch))
    ratio = math.fsum(v * v for v in case["left"]) / math.fsum(v * v for v in case["y"])
    low, high = twin(ratio, max(case["values"]) / min(case["values"]))
    # 1 − G on both sides: gains themselves may be next to zero.
    return [(distance, 1 - low), (1 - high, distance)]


BOUNDS = (
    Bound(
        name="gain_from_energies",
        title="The gain, from gradient energies alone",
        statement="With r = ‖ỹ‖²/‖y_Q‖² and κ = λ_max/λ_min of H_Q: 1 − √(κ r) ≤ G ≤ 1 − √(r/κ). Nearness of y_{P→Q} to y_Q in the "
        "Euclidean metric (theorem 1) and in that of H_Q⁻¹ (theorems 2 and 3) agree up to the condition of H_Q.",
        derivation=metrics.gain_range,
        twin=metric.gain_range,
        pairs=_gain,
        domain=Domain(description="H_Q regular, any y_Q ≠ 0 and ỹ", draw=_draw, cases=30),
        evidence=Evidence(
            kind="exact", detail="what is bounded is computed literally, case by case; the search drives cases to where it is tightest"
        ),
        source="arXiv 1909.12031, feasibility of transfer; the bounds on a Rayleigh quotient",
    ),
)
"""In the order they build on each other."""
