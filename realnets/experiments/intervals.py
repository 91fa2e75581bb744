"""Claims of the paper decided by an interval over seeds: held where its near end satisfies them, failed where its far end refutes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import stdtrit

from sim.estimate import Estimate, estimate
from sim.experiments.claims import Claim


def bound(x: Estimate, side: int) -> float:
    """End of the one-sided 95 % interval by Student's t, the lower for `side = −1`."""
    return x.mean + side * float(stdtrit(x.n - 1, 0.95)) * x.standard_error


def above(claim: str, where: str, at: str, measured: Estimate, limit: float) -> Claim:
    """The expectation of `measured` is above `limit`."""
    verdict = _verdict(bound(measured, -1) > limit, bound(measured, 1) < limit)
    return Claim(
        claim=claim, where=where, at=at, predicted=limit, measured=measured.mean, standard_error=measured.standard_error,
        statistic="lower end of the 95 % interval, above", value=bound(measured, -1), limit=limit, verdict=verdict, origin="paper",
    )  # fmt: skip


def below(claim: str, where: str, at: str, measured: Estimate, limit: float) -> Claim:
    """The expectation of `measured` is below `limit`."""
    verdict = _verdict(bound(measured, 1) < limit, bound(measured, -1) > limit)
    return Claim(
        claim=claim, where=where, at=at, predicted=limit, measured=measured.mean, standard_error=measured.standard_error,
        statistic="upper end of the 95 % interval, below", value=bound(measured, 1), limit=limit, verdict=verdict, origin="paper",
    )  # fmt: skip


def ratio_below_one(claim: str, where: str, at: str, a: Sequence[float], b: Sequence[float]) -> Claim:
    """`a` is below `b`, paired by seed: the ratio's mean logarithm is below zero, so that the two may change places.

    Undecided, with nothing measured, where a value is not positive.
    """
    about: dict[str, Any] = {"claim": claim, "where": where, "at": at, "predicted": 1.0, "limit": 1.0, "origin": "paper"}
    about["statistic"] = "upper end of the 95 % interval, below"
    if min(*a, *b) <= 0:
        return Claim(**about, measured=None, standard_error=None, value=None, verdict="undecided")
    logs = estimate(np.log(np.asarray(a, dtype=float) / np.asarray(b, dtype=float)).tolist())
    ratio, high, low = math.exp(logs.mean), bound(logs, 1), bound(logs, -1)
    verdict = _verdict(high < 0, low > 0)
    return Claim(**about, measured=ratio, standard_error=ratio * logs.standard_error, value=math.exp(high), verdict=verdict)


def _verdict(held: bool, failed: bool) -> str:
    return "held" if held else "failed" if failed else "undecided"
