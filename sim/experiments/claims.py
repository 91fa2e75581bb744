"""A claim of an experiment and whether it held: the rows of the verdict table."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from sim.estimate import Z_LIMIT, Estimate, Exponent
from sim.ranks import Interval


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One row.

    Attributes
    ----------
    claim : str
        What is claimed, in words.
    where : str
        Task and width it was tested on.
    at : str
        The point within that, such as the length of pretraining; may be empty.
    predicted : float
    measured, standard_error : float or None
        `None` where nothing could be fitted.
    statistic : str
        "z", "relative gap", "gap", "z from 0", "exponent z", "at least" or "frequency": the rule that decided, with its `value` and
        the `limit` for it.
    value, limit : float
    verdict : str
        "held", "failed", or "undecided" where the data could not have told.
    detectable : float or None
        The power of a z-test: the least true gap it would reveal half of the time.
    origin : "ptoq" or "paper"
        Whose claim it is. One of the paper's about real networks that fails is a finding; one of this project's is a fault.
    """

    claim: str
    where: str
    at: str = ""
    predicted: float
    measured: float | None
    standard_error: float | None
    statistic: str
    value: float | None
    limit: float
    verdict: str
    detectable: float | None = None
    origin: str = "ptoq"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; an infinite statistic becomes a string."""
        return {k: (str(v) if isinstance(v, float) and math.isinf(v) else v) for k, v in asdict(self).items()}


def z_claim(claim: str, where: str, at: str, measured: Estimate, predicted: float) -> Claim:
    """`measured` has expectation `predicted`: |z| below the limit."""
    z = measured.z(predicted)
    about = _about(claim, where, at, measured, predicted)
    return Claim(**about, statistic="z", value=z, limit=Z_LIMIT, verdict=_verdict(abs(z) < Z_LIMIT), detectable=measured.detectable)


def gap_claim(claim: str, where: str, at: str, measured: Estimate, predicted: float, limit: float, relative: bool = True) -> Claim:
    """`measured` lies within `limit` of `predicted`, relative to it or absolutely: all of its mean ± 2 standard errors does.

    Failed if all of that is outside, undecided if the limit is inside it: the data cannot have told.
    """
    unit = abs(predicted) if relative else 1
    gap, error = (measured.mean - predicted) / unit, 2 * measured.standard_error / unit
    verdict = "held" if abs(gap) + error <= limit else "failed" if abs(gap) - error > limit else "undecided"
    about = _about(claim, where, at, measured, predicted)
    return Claim(**about, statistic="relative gap" if relative else "gap", value=gap, limit=limit, verdict=verdict)


def sign_claim(claim: str, where: str, at: str, measured: Estimate, predicted: float) -> Claim:
    """`measured` has the sign of `predicted`: its z against zero is beyond the limit; undecided between the limits."""
    z = measured.z(0.0)
    verdict = _verdict(z * predicted > 0) if abs(z) > Z_LIMIT else "undecided"
    about = _about(claim, where, at, measured, predicted)
    return Claim(**about, statistic="z from 0", value=z, limit=Z_LIMIT, verdict=verdict, detectable=measured.detectable)


RIVALS = (0.0, -0.5, -0.75, -1.0)
"""Exponents that a claimed one has to be told from before it counts as held."""


def exponent_claim(claim: str, where: str, measured: Exponent | None, predicted: float) -> Claim:
    """The fitted exponent is `predicted`: |z| below the limit, and beyond it from every rival.

    Undecided where there is nothing to fit (`None`), or where the exponent is so uncertain that it fits a rival as well.
    """
    about: dict[str, Any] = {"claim": claim, "where": where, "predicted": predicted, "statistic": "exponent z", "limit": Z_LIMIT}
    if measured is None:
        return Claim(**about, measured=None, standard_error=None, value=None, verdict="undecided")
    z = measured.z(predicted)
    verdict = _verdict(abs(z) < Z_LIMIT)
    if verdict == "held" and any(abs(measured.z(rival)) < Z_LIMIT for rival in RIVALS if rival != predicted):
        verdict = "undecided"
    error = measured.standard_error
    return Claim(**about, measured=measured.slope, standard_error=error, value=z, verdict=verdict, detectable=measured.detectable)


def least_claim(claim: str, where: str, at: str, measured: Interval, least: float) -> Claim:
    """`measured` is at least `least`: its whole interval is; failed if all of it is below, undecided between."""
    verdict = "held" if measured.low >= least else "failed" if measured.high < least else "undecided"
    about: dict[str, Any] = {"claim": claim, "where": where, "at": at, "predicted": least, "measured": measured.value}
    return Claim(**about, standard_error=None, statistic="at least", value=measured.low, limit=least, verdict=verdict)


def frequency_claim(claim: str, where: str, at: str, happened: int, tried: int, rate: float) -> Claim:
    """Something happens in a share of at most `rate` of independent trials: the share is no more than that.

    Failed if such a count has a chance below that of `|z|` beyond the limit, undecided between, or where nothing was tried.
    """
    about: dict[str, Any] = {"claim": claim, "where": where, "at": at, "predicted": rate, "statistic": "frequency", "limit": rate}
    if not tried:
        return Claim(**about, measured=None, standard_error=None, value=None, verdict="undecided")
    share = happened / tried
    verdict = "held" if share <= rate else "failed" if _binomial_tail(happened, tried, rate) < _TAIL else "undecided"
    return Claim(**about, measured=share, standard_error=None, value=share, verdict=verdict)


_TAIL = math.erfc(Z_LIMIT / math.sqrt(2)) / 2
"""Chance of a normal variable beyond the limit."""


def _binomial_tail(happened: int, tried: int, rate: float) -> float:
    """Chance of at least `happened` in `tried` at `rate`."""
    from scipy.special import bdtrc

    return float(bdtrc(happened - 1, tried, rate))


def _about(claim: str, where: str, at: str, measured: Estimate, predicted: float) -> dict[str, Any]:
    """What all claims on a mean hold."""
    return {
        "claim": claim,
        "where": where,
        "at": at,
        "predicted": predicted,
        "measured": measured.mean,
        "standard_error": measured.standard_error,
    }


def _verdict(held: bool) -> str:
    return "held" if held else "failed"
