"""Compare the parts of an entry: the derivation with itself, and its closed form, the twin and the definition with each other.

Three values are computed for every case: the definition and the derivation's closed form at 50 digits, the twin in float64. When one
disagrees with two that agree, that one is named.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import Any

import mpmath as mp

from theory.formula import Bound, Case, Chain, CheckResult, Entry, Failure, Values
from theory.symbolic.algebra import DIGITS, verify

# Digits carried while 50 are compared: room for the cancellations inside a definition.
_WORKING = DIGITS + 12
_EPS = sys.float_info.epsilon


def check(entry: Entry) -> CheckResult:
    """Check every part of `entry`; never raises for a fault in one of them."""
    started = time.perf_counter()
    failures: list[Failure] = []
    chain = built(entry, failures)
    if chain is not None:
        failures += verify(chain, entry.name)
    largest, cases = 0.0, 0
    try:
        for case in entry.domain.drawn(entry.name):
            cases += 1
            found, error = _compare(entry, chain, case)
            largest = max(largest, error)
            # One report for each part is enough to find it.
            failures += [f for f in found if all((f.part, f.name) != (g.part, g.name) for g in failures)]
    except Exception as error:
        failures.append(Failure(part="domain", name=entry.name, message=told(error)))
    return CheckResult(
        name=entry.name,
        evidence=entry.evidence.kind,
        max_error=largest,
        steps=0 if chain is None else len(chain.steps),
        cases=cases,
        seconds=time.perf_counter() - started,
        failures=tuple(failures),
    )


def built(entry: Entry | Bound, failures: list[Failure]) -> Chain | None:
    """The derivation; `None`, with a failure, if it cannot be built."""
    try:
        return entry.derivation()
    except Exception as error:
        failures.append(Failure(part="derivation", name=entry.name, message=told(error)))
        return None


def _compare(entry: Entry, chain: Chain | None, case: Case) -> tuple[list[Failure], float]:
    failures: list[Failure] = []
    definition = _attempt("definition", entry.definition.__name__, lambda: entry.definition(case), failures)
    closed = None if chain is None else _attempt("derivation", "closed form", lambda: entry.closed_form(chain, case), failures)
    twin = _attempt("twin", entry.twin_name, lambda: entry.call(entry.twin, case), failures)
    error = math.inf if twin is None or definition is None else _error(entry, case, twin, definition)
    if failures or definition is None or twin is None or closed is None:
        return failures, error
    allowed = entry.tolerance.multiple * _EPS
    twin_is_defined = error <= allowed
    twin_is_derived = _error(entry, case, twin, closed) <= allowed
    derived_is_defined = _error(entry, case, closed, definition) <= mp.mpf(10) ** -DIGITS
    if twin_is_defined and twin_is_derived and derived_is_defined:
        return [], error
    told = f"twin {_shown(twin)}, definition {_shown(definition)}, derivation {_shown(closed)} at {shown_case(case)}; {entry.tolerance}"
    if derived_is_defined:
        return [Failure(part="twin", name=entry.twin_name, message=told)], error
    if twin_is_defined and not twin_is_derived:
        return [Failure(part="derivation", name="closed form", message=told)], error
    if twin_is_derived and not twin_is_defined:
        return [Failure(part="definition", name=entry.definition.__name__, message=told)], error
    both = twin_is_defined and twin_is_derived
    reason = "definition and derivation differ within 50 digits" if both else "no two of them agree"
    return [Failure(part="entry", name=entry.name, message=f"{reason}: {told}")], error


def _attempt(part: str, name: str, compute: Callable[[], Values], failures: list[Failure]) -> Values | None:
    try:
        with mp.workdps(_WORKING):
            return compute()
    except Exception as error:
        failures.append(Failure(part=part, name=name, message=told(error)))
        return None


def _error(entry: Entry, case: Case, values: Values, reference: Values) -> float:
    """Largest distance in units of the tolerance's scale; infinite where shapes, undefined values or whole numbers differ."""
    if len(values) != len(reference):
        return math.inf
    scales = _scales(entry, case, reference)
    with mp.workdps(_WORKING):
        return max((_distance(v, r, s) for v, r, s in zip(values, reference, scales, strict=True)), default=0.0)


def _scales(entry: Entry, case: Case, reference: Values) -> list[Any]:
    if entry.tolerance.scale is None:
        return [1 if r is None else abs(r) for r in reference]
    scale = entry.tolerance.scale(case)
    return scale if isinstance(scale, list) else [scale] * len(reference)


def _distance(value: Any, reference: Any, scale: Any) -> float:
    discrete = (type(None), bool, int)
    if isinstance(value, discrete) or isinstance(reference, discrete):
        # None, truth values and counts have no rounding; a whole mpmath or float value may stand against an int.
        return 0.0 if value is reference or (value is not None and reference is not None and value == reference) else math.inf
    # A fault can make a root complex: that is a distance like any other.
    gap = abs(mp.mpmathify(value) - reference)
    if mp.isnan(gap):
        return math.inf
    if gap == 0:
        return 0.0
    return float(gap / scale) if scale else math.inf


def told(error: Exception) -> str:
    """An exception in words."""
    return f"{type(error).__name__}: {error}"


def _shown(values: Values) -> str:
    told = [mp.nstr(mp.mpmathify(v), 12) if isinstance(v, (float, mp.mpf, mp.mpc)) else str(v) for v in values[:6]]
    return f"[{', '.join(told)}{', …' if len(values) > 6 else ''}]"


def shown_case(case: Case) -> str:
    """The plain values of a case, in words."""
    return ", ".join(f"{name} = {value}" for name, value in case.items() if not isinstance(value, list)) or "the drawn case"
