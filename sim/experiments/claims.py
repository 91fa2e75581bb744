"""A claim of an experiment and whether it held: the rows of the verdict table."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from sim.estimate import Z_LIMIT, Estimate, Exponent


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One row.

    Attributes
    ----------
    claim : str
        What is claimed, in words.
    where : str
        Task and size it was tested on.
    predicted, measured : float
    standard_error : float or None
        Of `measured`.
    statistic : str
        "z", "gap" or "exponent": the rule that decided, with its `value` and the `limit` it had to keep within.
    value, limit : float
    held : bool
    """

    claim: str
    where: str
    predicted: float
    measured: float
    standard_error: float | None
    statistic: str
    value: float
    limit: float
    held: bool

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; an infinite statistic becomes the string "inf"."""
        return {k: ("inf" if isinstance(v, float) and math.isinf(v) else v) for k, v in asdict(self).items()}


def z_claim(claim: str, where: str, measured: Estimate, predicted: float) -> Claim:
    """`measured` has expectation `predicted`: |z| below the limit."""
    z = measured.z(predicted)
    return Claim(
        claim=claim,
        where=where,
        predicted=predicted,
        measured=measured.mean,
        standard_error=measured.standard_error,
        statistic="z",
        value=z,
        limit=Z_LIMIT,
        held=abs(z) < Z_LIMIT,
    )


def gap_claim(claim: str, where: str, measured: Estimate, predicted: float, limit: float, relative: bool = True) -> Claim:
    """`measured` lies within `limit` of `predicted`, relative to it or absolutely."""
    gap = (measured.mean - predicted) / (abs(predicted) if relative else 1)
    return Claim(
        claim=claim,
        where=where,
        predicted=predicted,
        measured=measured.mean,
        standard_error=measured.standard_error,
        statistic="relative gap" if relative else "gap",
        value=gap,
        limit=limit,
        held=abs(gap) <= limit,
    )


def exponent_claim(claim: str, where: str, measured: Exponent, predicted: float) -> Claim:
    """The fitted exponent is `predicted`, and is told apart from 0: |z| against the one below the limit, against the other above."""
    z = measured.z(predicted)
    return Claim(
        claim=claim,
        where=where,
        predicted=predicted,
        measured=measured.slope,
        standard_error=measured.standard_error,
        statistic="exponent z",
        value=z,
        limit=Z_LIMIT,
        held=abs(z) < Z_LIMIT and abs(measured.z(0.0)) > Z_LIMIT,
    )
