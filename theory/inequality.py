"""Check bounds: the derivation, and what is bounded against the bound, on drawn cases or on those Hypothesis drives to be tight."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from theory.checking import built, check, shown_case, told
from theory.errors import InvalidInput
from theory.formula import Bound, Case, CheckResult, Entry, Failure
from theory.symbolic.algebra import verify

# What float64 may add to either side of a tight bound: √eps of it.
_ROUNDING = math.sqrt(sys.float_info.epsilon)
# One-sided probability below which a count of failures refutes the promised frequency; the upper tail of |z| < 4.5.
_REFUTED = 3.4e-6


@dataclass
class _Tally:
    """What was seen so far."""

    cases: int = 0
    tried: int = 0
    least_slack: float = math.inf
    exceeded: int = 0
    failures: list[Failure] = field(default_factory=list)

    def add(self, bound: Bound, case: Case) -> float:
        """Evaluate a case and return its slack; a deterministic bound's violation raises `AssertionError`."""
        if bound.delta is not None:
            # Numbered here, not drawn: a search for tight cases must not search among the seeds.
            case = {**case, "seed": self.cases}
        self.cases += 1
        pairs = bound.pairs(bound.twin, case)
        # Cases with nothing to compare are none that a bound held in.
        self.tried += bool(pairs)
        slack = min((_slack(quantity, limit) for quantity, limit in pairs), default=math.inf)
        self.least_slack = min(self.least_slack, slack)
        if not slack >= -_ROUNDING:
            self.exceeded += 1
            if bound.delta is None:
                raise AssertionError(f"exceeded by {-slack:.3g} of the bound at {shown_case(case)}")
        return slack


def check_entry(entry: Entry | Bound) -> CheckResult:
    """Check a formula or a bound."""
    return check_bound(entry) if isinstance(entry, Bound) else check(entry)


def check_bound(bound: Bound) -> CheckResult:
    """Check the derivation of `bound` and its drawn cases; never raises for a fault in one of them."""
    return _checked(bound, _drawn)


def explore(bound: Bound, examples: int = 100) -> CheckResult:
    """Check `bound` on cases that Hypothesis draws, driven towards the tightest; needs the extra `testing`.

    Raises
    ------
    InvalidInput
        Without Hypothesis.
    """
    try:
        import hypothesis  # noqa: F401
    except ImportError:
        raise InvalidInput("Hypothesis is not installed; it comes with the extra: pip install 'ptoq[testing]'") from None
    return _checked(bound, lambda b, tally: _searched(b, tally, examples))


def _checked(bound: Bound, run: Any) -> CheckResult:
    started = time.perf_counter()
    failures: list[Failure] = []
    chain = built(bound, failures)
    if chain is not None:
        failures += verify(chain, bound.name)
    tally = _Tally()
    try:
        run(bound, tally)
    except AssertionError as error:
        failures.append(Failure(part="bound", name=bound.twin_name, message=str(error).split("\n")[0]))
    except Exception as error:
        failures.append(Failure(part="bound", name=bound.twin_name, message=told(error)))
    if tally.cases and not tally.tried and not failures:
        failures.append(Failure(part="domain", name=bound.name, message=f"none of {tally.cases} cases has anything to compare"))
    if bound.delta is not None and at_least(tally.exceeded, tally.tried, bound.delta) < _REFUTED:
        promised = f"{tally.exceeded} of {tally.tried} cases exceed it; at most a share of {bound.delta:g} may"
        failures.append(Failure(part="bound", name=bound.twin_name, message=promised))
    return CheckResult(
        name=bound.name,
        evidence=bound.evidence.kind,
        max_error=max(0.0, -tally.least_slack) if tally.cases and not math.isinf(tally.least_slack) else 0.0,
        steps=0 if chain is None else len(chain.steps),
        cases=tally.cases,
        seconds=time.perf_counter() - started,
        failures=tuple(failures),
        slack=tally.least_slack,
        exceeded=tally.exceeded,
    )


def _drawn(bound: Bound, tally: _Tally) -> None:
    for case in bound.domain.drawn(bound.name):
        tally.add(bound, case)


def _searched(bound: Bound, tally: _Tally, examples: int) -> None:
    from hypothesis import HealthCheck, Phase, given, settings, target

    from theory.strategies import cases

    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.target, Phase.shrink),
        report_multiple_bugs=False,
    )
    @given(cases(bound.domain))
    def run(case: Case) -> None:
        slack = tally.add(bound, case)
        if math.isfinite(slack):
            target(-slack)

    run()


def at_least(count: int, trials: int, share: float) -> float:
    """Probability of `count` or more successes among independent trials of the given probability."""
    if count == 0:
        return 1.0
    log_share, log_rest = math.log(share), math.log1p(-share)

    def term(k: int) -> float:
        ways = math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1)
        return math.exp(ways + k * log_share + (trials - k) * log_rest)

    return min(1.0, math.fsum(_until_small(term(k) for k in range(count, trials + 1))))


def _until_small(terms: Iterator[float]) -> Iterator[float]:
    """Terms up to where they no longer count; they fall once past their largest."""
    before = 0.0
    for number in terms:
        yield number
        if number < before and number < 1e-30:
            return
        before = number


def _slack(quantity: float, limit: float) -> float:
    """Share of the bound left free; a bound of 0 is kept by 0 alone, which leaves nothing to share."""
    if math.isnan(quantity) or math.isnan(limit):
        return -math.inf
    if math.isinf(limit) and limit > 0:
        return 1.0
    if limit == 0:
        return math.inf if quantity <= 0 else -math.inf
    return (limit - quantity) / abs(limit)
