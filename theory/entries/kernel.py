"""Entries of the ReLU Gram function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np

from theory.definitions import cases, gaussian
from theory.formula import Case, Chain, Domain, Entry, Evidence, Tolerance, Values
from theory.numeric.gram import relu_gram
from theory.symbolic import near_parallel
from theory.symbolic import relu_gram as derivation
from theory.symbolic.algebra import evaluate
from theory.symbolic.notation import theta

_SOURCE = "Cho and Saul 2009, arc-cosine kernel of degree 0; Du et al. 2018 (arXiv 1810.02054), eq. (3)"


def _call(twin: Callable[..., Any], case: Case) -> Values:
    return np.asarray(twin(np.array(case["X"]), np.array(case["Z"]))).ravel().tolist()


def _size(case: Case) -> list[float]:
    return [float(np.linalg.norm(x) * np.linalg.norm(z)) / 2 for x in case["X"] for z in case["Z"]]


def _tolerance(multiple: float) -> Tolerance:
    return Tolerance(kind="dtype", multiple=multiple, scale=_size, scale_text="‖x‖‖z‖/2")


def _pairs(case: Case) -> list[tuple[Any, Any, Any, Any]]:
    """Inner product, norms and angle of each pair, with digits to spare for the angle's cancellation."""
    pairs = []
    with mp.workdps(mp.mp.dps + 40):
        for x in case["X"]:
            for z in case["Z"]:
                inner = mp.fsum(mp.mpf(a) * b for a, b in zip(x, z, strict=True))
                norms = [mp.sqrt(mp.fsum(mp.mpf(a) ** 2 for a in v)) for v in (x, z)]
                cosine = inner / (norms[0] * norms[1])
                pairs.append((inner, *norms, mp.acos(min(max(cosine, mp.mpf(-1)), mp.mpf(1)))))
    return pairs


def _closed(chain: Chain, case: Case) -> Values:
    return [evaluate(chain.results["closed form"], {derivation.inner: inner, theta: angle}) for inner, _, _, angle in _pairs(case)]


def _closed_limits(chain: Chain, case: Case) -> Values:
    values = []
    for inner, x_norm, z_norm, angle in _pairs(case):
        given = {derivation.x_norm: x_norm, derivation.z_norm: z_norm}
        orthogonal = inner == 0
        values.append(mp.mpf(0) if orthogonal else evaluate(chain.results["parallel" if angle < 1 else "opposite"], given))
    return values


def _closed_near(chain: Chain, case: Case) -> Values:
    values = []
    with mp.workdps(mp.mp.dps + 20):
        for x in case["X"]:
            for z in case["Z"]:
                u, v = (mp.matrix(a) / mp.norm(mp.matrix(a)) for a in (x, z))
                inner = mp.fsum(mp.mpf(a) * b for a, b in zip(x, z, strict=True))
                given = {near_parallel.inner: inner, near_parallel.apart: mp.norm(u - v), near_parallel.together: mp.norm(u + v)}
                values.append(evaluate(chain.results["closed form"], given))
    return values


ENTRIES = (
    Entry(
        name="relu_gram",
        title="ReLU Gram function",
        statement="H(x, z) = E[x·z 1{w·x ≥ 0} 1{w·z ≥ 0}] = x·z (π − θ)/(2π), w ~ N(0, κ²I), θ the angle of x and z; the same for every κ.",
        derivation=derivation.chain,
        closed_form=_closed,
        twin=relu_gram,
        call=_call,
        definition=gaussian.gram,
        tolerance=_tolerance(8),
        domain=Domain(description="x, z ≠ 0 of any norm and dimension, κ > 0", draw=cases.inputs, cases=6),
        evidence=Evidence(kind="monte-carlo", detail="mean of H(W(0)) over finite nets against H, by its z"),
        source=_SOURCE,
    ),
    Entry(
        name="relu_gram_limits",
        title="ReLU Gram function at parallel, opposite and orthogonal inputs",
        statement="H(x, a x) = a‖x‖²/2 for a > 0, so H(x, x) = ‖x‖²/2; H(x, −a x) = 0; H(x, z) = 0 for x·z = 0.",
        derivation=derivation.limits,
        closed_form=_closed_limits,
        twin=relu_gram,
        call=_call,
        definition=gaussian.gram,
        tolerance=_tolerance(4),
        domain=Domain(description="x ≠ 0, and its exact multiples and perpendiculars", draw=cases.special_inputs, cases=4),
        evidence=Evidence(kind="exact", detail="the Gaussian expectation by quadrature"),
        source=_SOURCE,
    ),
    Entry(
        name="relu_gram_near_parallel",
        title="ReLU Gram function near parallel and opposite inputs",
        statement="θ = 2 atan2(‖u − v‖, ‖u + v‖) for unit vectors u, v, so H = x·z atan2(‖u + v‖, ‖u − v‖)/π, without a cancellation.",
        derivation=near_parallel.chain,
        closed_form=_closed_near,
        twin=relu_gram,
        call=_call,
        definition=gaussian.gram,
        tolerance=_tolerance(8),
        domain=Domain(description="0 < θ < π, here 1e-9 to 0.3 from either end", draw=cases.near_parallel, cases=4),
        evidence=Evidence(kind="exact", detail="the Gaussian expectation by quadrature"),
        source="Kahan, How futile are mindless assessments of roundoff, 2006, section 12",
    ),
)
"""In the order they are shown and checked."""
