"""Entries of infinitely many samples: what they learn and transfer, eigenspace by eigenspace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np

from theory.definitions import sphere as literal
from theory.entries import modes
from theory.errors import InvalidInput
from theory.formula import Case, Chain, Domain, Entry, Evidence, Tolerance, Values
from theory.numeric import population
from theory.symbolic import notation as s
from theory.symbolic import population as symbolic
from theory.symbolic.algebra import evaluate

_LEARNT = "degrees 0, 1, 2, one of them out of reach every third time; 0 < ηnλ_max < 2, k = 0, 1, 2, … or to the end"


def _energies(given: dict[str, Any], other: dict[str, Any] | None = None, real: Any = float) -> list[Any]:
    """Mean products of two teachers, or mean squares of one, by degree."""
    other = given if other is None else other
    w, v = ([[real(x) for x in each[name]] for each in (given, other)] for name in ("linear", "square"))

    def dot(a: list[Any], b: list[Any]) -> Any:
        return sum((x * y for x, y in zip(a, b, strict=True)), real(0))

    square = 2 * dot(*v) ** 2 / 15 - 2 * dot(v[0], v[0]) * dot(v[1], v[1]) / 45
    return [real(given["constant"]) * real(other["constant"]), dot(*w) / 3, square]


def _transfer(case: Case) -> population.PopulationTransfer:
    return population.PopulationTransfer(
        np.array(case["eigenvalues"]),
        np.array(_energies(case["source"])),
        np.array(_energies(case["target"])),
        np.array(_energies(case["source"], case["target"])),
    )


def _call_error(twin: Callable[..., Any], case: Case) -> Values:
    return [twin(np.array(_energies(case["target"])), np.array(case["eigenvalues"]), case["samples"], case["lr"], case["steps"])]


def _call_flow(twin: Callable[..., Any], case: Case) -> Values:
    return [twin(np.array(_energies(case["target"])), np.array(case["eigenvalues"]), case["samples"], case["time"])]


def _call_remaining(twin: Callable[..., Any], case: Case) -> Values:
    return modes.flat(twin(_transfer(case), case["samples"], case["lr"], case["steps"]))


def _call_gain(twin: Callable[..., Any], case: Case) -> Values:
    return [twin(_transfer(case), case["samples"], case["lr"], case["steps"])[0]]


def _call_curve(twin: Callable[..., Any], case: Case) -> Values:
    squared = twin(_transfer(case), case["samples"], case["lr"])(case["steps"])
    try:
        return [squared, twin(_transfer(case), case["samples"], case["lr"], displacement=True)(case["steps"])]
    except InvalidInput:
        return [squared, None]


def _given(case: Case, value: float) -> dict[Any, Any]:
    return {s.lam: mp.mpf(value), s.eta: mp.mpf(case["lr"]), s.k: case["steps"], symbolic.n: mp.mpf(case["samples"])}


def _closed_error(chain: Chain, case: Case) -> Values:
    total = mp.mpf(0)
    for value, energy in zip(case["eigenvalues"], _energies(case["target"], real=mp.mpf), strict=True):
        name = "floor" if value == 0 else "end" if case["steps"] is None else "mode"
        total += evaluate(chain.results[name], {**_given(case, value), s.c: mp.sqrt(energy)})
    return [total]


def _closed_flow(chain: Chain, case: Case) -> Values:
    return [
        mp.fsum(
            evaluate(chain.results["flow"], {**_given(case, value), s.t: mp.mpf(case["time"]), s.c: mp.sqrt(energy)})
            for value, energy in zip(case["eigenvalues"], _energies(case["target"], real=mp.mpf), strict=True)
        )
    ]


def _by_eigenspace(chain: Chain, case: Case, name: str, source: bool = True) -> list[Any]:
    """A result of `transfer`, by degree; `None` for weights where the eigenvalue is 0."""
    pairs = ((case["source"], case["source"]), (case["target"], case["target"]), (case["source"], case["target"]))
    energies = (_energies(first, second, real=mp.mpf) for first, second in pairs)
    found: list[Any] = []
    for value, own, wanted, cross in zip(case["eigenvalues"], *energies, strict=True):
        share = mp.mpf(0)
        if source and value:
            share = mp.mpf(1) if case["steps"] is None else evaluate(chain.results["share"], _given(case, value))
        symbols = {symbolic.source: own, symbolic.target: wanted, symbolic.cross: cross}
        if name == "weights" and not value:
            found.append(None)
        else:
            found.append(evaluate(chain.results[name], {**symbols, symbolic.share: share, s.lam: mp.mpf(value)}))
    return found


def _closed_remaining(chain: Chain, case: Case) -> Values:
    return _by_eigenspace(chain, case, "remaining")


def _closed_gain(chain: Chain, case: Case) -> Values:
    left, scratch = (_by_eigenspace(chain, case, "weights", source) for source in (True, False))
    if None in left:
        return [None]
    return [evaluate(chain.results["gain"], {symbolic.left: mp.fsum(left), symbolic.scratch: mp.fsum(scratch)})]


def _closed_curve(chain: Chain, case: Case) -> Values:
    weights = _by_eigenspace(chain, case, "weights")
    return [mp.fsum(_closed_remaining(chain, case)), None if None in weights else mp.fsum(weights)]


def _size(case: Case) -> float:
    return float(sum(_energies(case["target"])) + sum(_energies(case["source"])))


def _over_eigenvalues(case: Case) -> float:
    both = np.array(_energies(case["target"])) + np.array(_energies(case["source"]))
    values = np.array(case["eigenvalues"])
    return float(np.sum(both[values > 0] / values[values > 0]))


def _gain_scale(case: Case) -> list[float]:
    values = np.array(case["eigenvalues"])
    if not np.all(values > 0):
        return [1.0]
    return [_over_eigenvalues(case) / float(np.sum(np.array(_energies(case["target"])) / values))]


_TRAINED = Evidence(kind="exact", detail="gradient descent on the mean over the sphere, run literally on weights of a linear model")
_POPULATION = Domain(description=_LEARNT, draw=literal.population, cases=6)

ENTRIES = (
    Entry(
        name="population_error",
        title="Error from infinitely many samples",
        statement="n → ∞ at fixed ηn: mean squared error Σ ‖f_ℓ‖² (1 − ηnλ_ℓ)^{2k} on fresh points; to the end the floor Σ_{λ_ℓ = 0} "
        "‖f_ℓ‖², for "
        "uniform inputs on the sphere and H all odd degrees from 3 on.",
        derivation=symbolic.error,
        closed_form=_closed_error,
        twin=population.population_error,
        call=_call_error,
        definition=literal.population_error,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=_size, scale_text="Σ ‖f_ℓ‖²"),
        domain=_POPULATION,
        evidence=Evidence(
            kind="monte-carlo", detail="kernel regression on finite samples of the sphere, its exact error extrapolated in 1/n"
        ),
        source="Bordelon, Canatar and Pehlevan 2020, the limit of many samples",
    ),
    Entry(
        name="population_flow_error",
        title="Error of gradient flow from infinitely many samples",
        statement="Σ ‖f_ℓ‖² e^{−2nλ_ℓ t}.",
        derivation=symbolic.error,
        closed_form=_closed_flow,
        twin=population.population_flow_error,
        call=_call_flow,
        definition=literal.population_flow_error,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=_size, scale_text="Σ ‖f_ℓ‖²"),
        domain=Domain(description="degrees 0, 1, 2, t ≥ 0", draw=literal.population, cases=3),
        evidence=Evidence(kind="exact", detail="the differential equation of the weights, integrated literally"),
        source="The limit of small steps",
    ),
    Entry(
        name="population_remaining",
        title="What infinitely many source samples leave to learn",
        statement="‖f_{Q,ℓ} − s_ℓ f_{P,ℓ}‖² = ‖f_{Q,ℓ}‖² − 2 s_ℓ ⟨f_{P,ℓ}, f_{Q,ℓ}⟩ + s_ℓ² ‖f_{P,ℓ}‖², s_ℓ = 1 − (1 − ηnλ_ℓ)^k; least "
        "where s_ℓ is the "
        "ratio ⟨f_P, f_Q⟩/‖f_P‖².",
        derivation=symbolic.transfer,
        closed_form=_closed_remaining,
        twin=population.PopulationTransfer.remaining,
        call=_call_remaining,
        definition=literal.population_remaining,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=_size, scale_text="Σ ‖f_P‖² + ‖f_Q‖²"),
        domain=_POPULATION,
        evidence=Evidence(
            kind="monte-carlo", detail="a kernel machine trained on finite source samples, against the target teacher, extrapolated in 1/n"
        ),
        source="The transformed labels, one eigenspace at a time",
    ),
    Entry(
        name="population_gain",
        title="Gain from infinitely many samples",
        statement="1 − √(Σ ‖f̃_ℓ‖²/λ_ℓ / Σ ‖f_{Q,ℓ}‖²/λ_ℓ); undefined where the target has energy at λ_ℓ = 0.",
        derivation=symbolic.transfer,
        closed_form=_closed_gain,
        twin=population.PopulationTransfer.gain,
        call=_call_gain,
        definition=literal.population_gain,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=_gain_scale, scale_text="Σ (‖f_P‖² + ‖f_Q‖²)/λ over Σ ‖f_Q‖²/λ"),
        domain=_POPULATION,
        evidence=_TRAINED,
        source="The gain, one eigenspace at a time",
    ),
    Entry(
        name="population_curve",
        title="Transfer from infinitely many samples over source steps",
        statement="Σ_ℓ ‖f_{Q,ℓ} − s_ℓ(k) f_{P,ℓ}‖², and the squared displacement Σ_ℓ of these over λ_ℓ, as curves with turns and a best k.",
        derivation=symbolic.transfer,
        closed_form=_closed_curve,
        twin=population.PopulationTransfer.curve,
        call=_call_curve,
        definition=literal.population_curve,
        tolerance=Tolerance(
            kind="dtype",
            multiple=16,
            scale=lambda case: [_size(case), _over_eigenvalues(case)],
            scale_text="Σ ‖f_P‖² + ‖f_Q‖², each over λ for the second",
        ),
        domain=_POPULATION,
        evidence=_TRAINED,
        source="The sum over eigenspaces",
    ),
)
"""In the order they are shown and checked."""
