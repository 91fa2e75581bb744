"""Entries of the sphere: multiplicities and eigenvalues by degree."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np

from theory.definitions import sphere as literal
from theory.entries import modes
from theory.formula import Case, Chain, Domain, Entry, Evidence, Tolerance, Values
from theory.numeric import sphere
from theory.symbolic import sphere as symbolic
from theory.symbolic import sphere_energy
from theory.symbolic.algebra import evaluate

# Eigenvalues --------------------------------------------------------------------------------------------------------------------


def _call_multiplicity(twin: Callable[..., Any], case: Case) -> Values:
    return [twin(case["dimension"], case["degree"])]


def _call_legendre(twin: Callable[..., Any], case: Case) -> Values:
    return modes.flat(twin(case["dimension"], case["last"], np.array(case["cosines"])))


def _call_step(twin: Callable[..., Any], case: Case) -> Values:
    return modes.flat(twin(case["dimension"], case["last"]))


def _call_eigenvalues(twin: Callable[..., Any], case: Case) -> Values:
    return modes.flat(twin(case["dimension"], case["last"], case["norm"]))


def _call_trace(twin: Callable[..., Any], case: Case) -> Values:
    return [twin(case["dimension"], case["last"], case["norm"])]


def _call_floor(twin: Callable[..., Any], case: Case) -> Values:
    return [twin(case["dimension"])]


def _call_appended(twin: Callable[..., Any], case: Case) -> Values:
    return modes.flat(twin(lambda t: t * np.arccos(-t) / (2 * math.pi), case["norm"], case["constant"])(np.array(case["cosines"])))


def _call_zonal(twin: Callable[..., Any], case: Case) -> Values:
    return modes.flat(twin(np.polynomial.Polynomial(case["powers"]), case["dimension"], case["last"]).eigenvalues)


def _closed_multiplicity(chain: Chain, case: Case) -> Values:
    value = evaluate(chain.results["count"], {symbolic.d: mp.mpf(case["dimension"]), symbolic.ell: mp.mpf(case["degree"])})
    return [int(mp.nint(value))]


def _closed_legendre(chain: Chain, case: Case) -> Values:
    def at(degree: int, t: float) -> Any:
        return evaluate(chain.results["value"], {symbolic.d: mp.mpf(case["dimension"]), symbolic.ell: degree, symbolic.cosine: mp.mpf(t)})

    # The terms of degree 0 on the circle hold Γ(0)/Γ(0).
    return [at(degree, t) if degree else mp.mpf(1) for degree in range(case["last"] + 1) for t in case["cosines"]]


def _mu(chain: Chain, dimension: int, degree: int) -> Any:
    """Eigenvalue of the step kernel."""
    if degree % 2:
        return evaluate(chain.results["odd"], {symbolic.d: mp.mpf(dimension), symbolic.half: degree // 2})
    return evaluate(chain.results["even" if degree else "zero"], {})


def _closed_step(chain: Chain, case: Case) -> Values:
    return [_mu(chain, case["dimension"], degree) for degree in range(case["last"] + 1)]


def _closed_tangent(chain: Chain, case: Case) -> Values:
    d, found = case["dimension"], []
    for degree in range(case["last"] + 1):
        given = {symbolic.d: mp.mpf(d), symbolic.ell: mp.mpf(degree), symbolic.mu_above: _mu(symbolic.step(), d, degree + 1)}
        if degree:
            given[symbolic.mu_below] = _mu(symbolic.step(), d, degree - 1)
        found.append(mp.mpf(case["norm"]) ** 2 * evaluate(chain.results["mixed" if degree else "zero degree"], given))
    return found


def _closed_trace(chain: Chain, case: Case) -> Values:
    left = evaluate(chain.results["trace"], {symbolic.r: mp.mpf(case["norm"])})
    values = _closed_tangent(symbolic.tangent_kernel(), case)
    for degree, value in enumerate(values):
        count = {"dimension": case["dimension"], "degree": degree}
        left -= value * (_closed_multiplicity(symbolic.multiplicity(), count)[0] if degree else 1)
    return [left]


def _closed_floor(chain: Chain, case: Case) -> Values:
    return [evaluate(chain.results["floor"], {symbolic.d: mp.mpf(case["dimension"])})]


def _closed_relu(chain: Chain, case: Case) -> Values:
    d, found = case["dimension"], []
    for degree in range(case["last"] + 1):
        given = {symbolic.d: mp.mpf(d), symbolic.ell: mp.mpf(degree), symbolic.mu_0: _mu(symbolic.step(), d, 1)}
        if degree >= 2:
            given[symbolic.s_below] = mp.sqrt(_mu(symbolic.step(), d, degree - 1))
        name = ("relu zero", "one")[degree] if degree < 2 else "relu even"
        # Odd degrees from 3 on: the even degree below has coefficient 0.
        found.append(mp.mpf(case["norm"]) ** 2 * evaluate(chain.results[name], given))
    return found


def _closed_appended(chain: Chain, case: Case) -> Values:
    found = []
    for t in case["cosines"]:
        given = {symbolic.r: mp.mpf(case["norm"]), symbolic.b: mp.mpf(case["constant"]), symbolic.rho: mp.mpf(t)}
        rho = evaluate(chain.results["cosine"], given)
        found.append(evaluate(chain.results["value"], {**given, symbolic.kernel: rho * (mp.pi - mp.acos(rho)) / (2 * mp.pi)}))
    return found


def _closed_zonal(chain: Chain, case: Case) -> Values:
    def monomial(degree: int, power: int) -> Any:
        if power < degree or (power - degree) % 2:
            return mp.mpf(0)
        given = {symbolic.d: mp.mpf(case["dimension"]), symbolic.ell: mp.mpf(degree), symbolic.more: mp.mpf((power - degree) // 2)}
        return evaluate(chain.results["monomial"], given)

    degrees = range(case["last"] + 1)
    return [mp.fsum(mp.mpf(a) * monomial(degree, power) for power, a in enumerate(case["powers"])) for degree in degrees]


def _sum_of_powers(case: Case) -> float:
    return sum(abs(a) for a in case["powers"])


def _appended_scale(case: Case) -> list[float]:
    # An arccosine loses half of its digits next to 1 and −1; H's own share of that is the sine.
    return [case["norm"] ** 2 + case["constant"] ** 2] * len(case["cosines"])


_QUADRATURE = Evidence(kind="exact", detail="the operator applied to polynomials, by quadrature that is exact or converged to 50 digits")
_DOMAIN = Domain(description="d ≥ 2, degrees from 0 to 8", draw=literal.eigenvalue_case, cases=4)
_EIGENVALUES = Tolerance(kind="dtype", multiple=4, scale=lambda case: case["norm"] ** 2, scale_text="k(1) = r²")

ENTRIES = (
    Entry(
        name="sphere_multiplicity",
        title="Multiplicity of a degree on the sphere",
        statement="N_ℓ = C(ℓ + d − 1, d − 1) − C(ℓ + d − 3, d − 1): dimension of the spherical harmonics of degree ℓ on S^{d−1}.",
        derivation=symbolic.multiplicity,
        closed_form=_closed_multiplicity,
        twin=sphere.multiplicity,
        call=_call_multiplicity,
        definition=literal.multiplicity,
        tolerance=Tolerance(kind="exact", multiple=0),
        domain=Domain(description="d ≥ 2, ℓ ≥ 1; for ℓ = 0 it is 1", draw=literal.degrees, cases=8),
        evidence=Evidence(kind="exact", detail="harmonic polynomials, counted by elimination"),
        source="Müller 1966, Spherical harmonics",
    ),
    Entry(
        name="sphere_legendre",
        title="Legendre polynomials of any dimension",
        statement="P_ℓ(t) = Σ_j (−1)^j C(ℓ, j) (ℓ + d − 2)_j/((d − 1)/2)_j ((1 − t)/2)^j, orthogonal over the cosine of two uniform "
        "points on "
        "S^{d−1}, 1 at 1; E P_ℓ² = 1/N_ℓ.",
        derivation=symbolic.polynomial,
        closed_form=_closed_legendre,
        twin=sphere.legendre,
        call=_call_legendre,
        definition=literal.legendre,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=lambda case: 1.0, scale_text="|P_ℓ| ≤ 1"),
        domain=Domain(description="d ≥ 2, degrees from 0 to 8, cosines from −1 to 1", draw=literal.cosines, cases=4),
        evidence=_QUADRATURE,
        source="Müller 1966, Spherical harmonics",
    ),
    Entry(
        name="sphere_step_eigenvalues",
        title="Eigenvalues of the step kernel on the sphere",
        statement="Of (π − θ)/(2π), uniform inputs on S^{d−1}: μ_0 = ¼, μ_ℓ = (Γ(d/2)Γ(ℓ/2)/(2πΓ((ℓ + d)/2)))² for odd ℓ, else 0.",
        derivation=symbolic.step,
        closed_form=_closed_step,
        twin=sphere.step_eigenvalues,
        call=_call_step,
        definition=literal.step_eigenvalues,
        tolerance=_EIGENVALUES,
        domain=_DOMAIN,
        evidence=_QUADRATURE,
        source="Bach 2017, Breaking the curse of dimensionality with convex neural networks, appendix D",
    ),
    Entry(
        name="sphere_tangent_eigenvalues",
        title="Eigenvalues of the tangent kernel on the sphere",
        statement="Of r² cos θ (π − θ)/(2π): r² times λ_ℓ = ℓ/(2ℓ + d − 2) μ_{ℓ−1} + (ℓ + d − 2)/(2ℓ + d − 2) μ_{ℓ+1}, λ_0 = μ_1, λ_1 = "
        "1/(4d), μ those of "
        "the step kernel: every odd degree from 3 on is 0, and no source and no number of samples teaches it.",
        derivation=symbolic.tangent_kernel,
        closed_form=_closed_tangent,
        twin=sphere.tangent_eigenvalues,
        call=_call_eigenvalues,
        definition=literal.tangent_eigenvalues,
        tolerance=_EIGENVALUES,
        domain=_DOMAIN,
        evidence=Evidence(
            kind="monte-carlo", detail="eigenvalues of H/n of finite samples, extrapolated in 1/n, with their multiplicities"
        ),
        source="Bietti and Mairal 2019, On the inductive bias of neural tangent kernels",
    ),
    Entry(
        name="sphere_trace",
        title="Trace of the tangent kernel by degree",
        statement="Σ_ℓ N_ℓ λ_ℓ = r²/2, the kernel at equal inputs; so r²/2 − Σ_{ℓ ≤ L} N_ℓ λ_ℓ is what lies in degrees above L.",
        derivation=sphere_energy.trace,
        closed_form=_closed_trace,
        twin=sphere.trace_beyond,
        call=_call_trace,
        definition=literal.trace_beyond,
        tolerance=_EIGENVALUES,
        domain=_DOMAIN,
        evidence=_QUADRATURE,
        source="Mercer 1909",
    ),
    Entry(
        name="sign_floor",
        title="Floor of a sign teacher",
        statement="Of sgn(w·x), uniform inputs on S^{d−1}, 1 − d Γ(d/2)²/(π Γ((d + 1)/2)²) of the energy 1 lies in the odd degrees from 3 "
        "on, where H has no eigenvalue: ¼ for d = 3.",
        derivation=sphere_energy.sign_floor,
        closed_form=_closed_floor,
        twin=sphere.sign_floor,
        call=_call_floor,
        definition=literal.sign_floor,
        tolerance=Tolerance(kind="dtype", multiple=4, scale=lambda case: 1.0, scale_text="E sgn² = 1"),
        domain=Domain(description="d ≥ 2", draw=literal.dimension, cases=4),
        evidence=Evidence(kind="exact", detail="least squares in the degrees the kernel has, over the angle, by converged quadrature"),
        source="The energy of the linear part",
    ),
    Entry(
        name="sphere_relu_eigenvalues",
        title="Eigenvalues of the ReLU dual on the sphere",
        statement="Of r² (sin θ + (π − θ) cos θ)/(2π): r² times d μ_1, 1/(4d), and d μ_{ℓ−1}/(ℓ + d − 1)² for even ℓ ≥ 2; every odd "
        "degree from 3 "
        "on is 0.",
        derivation=symbolic.relu,
        closed_form=_closed_relu,
        twin=sphere.relu_eigenvalues,
        call=_call_eigenvalues,
        definition=literal.relu_eigenvalues,
        tolerance=_EIGENVALUES,
        domain=_DOMAIN,
        evidence=_QUADRATURE,
        source="Bach 2017, appendix D",
    ),
    Entry(
        name="sphere_constant_coordinate",
        title="A constant coordinate",
        statement="Between (r x, b) and (r x', b), x·x' = t, a kernel homogeneous of degree 1 in each is (r² + b²) k((r² t + b²)/(r² + "
        "b²)). For H and the "
        "ReLU dual, b ≠ 0 makes every eigenvalue positive: the floor is gone.",
        derivation=symbolic.constant,
        closed_form=_closed_appended,
        twin=sphere.with_constant,
        call=_call_appended,
        definition=literal.constant_coordinate,
        tolerance=Tolerance(kind="dtype", multiple=8, scale=_appended_scale, scale_text="r² + b²"),
        domain=Domain(description="r > 0, any b, cosines from −1 to 1", draw=literal.appended, cases=4),
        evidence=Evidence(kind="exact", detail="the Gaussian expectation for the larger inputs, by quadrature"),
        source="Bietti and Mairal 2019, section 3.2, on bias terms",
    ),
    Entry(
        name="zonal_expansion",
        title="Eigenvalues of any zonal kernel",
        statement="λ_ℓ = E[k(t) P_ℓ(t)] (Funk and Hecke), t the cosine of two uniform points; for k = t^n, n = ℓ + 2j: n! Γ(d/2)/(2^n "
        "j! Γ((n + ℓ + d)/2)).",
        derivation=symbolic.zonal,
        closed_form=_closed_zonal,
        twin=sphere.zonal_expansion,
        call=_call_zonal,
        definition=literal.zonal_eigenvalues,
        tolerance=Tolerance(kind="dtype", multiple=8, scale=_sum_of_powers, scale_text="Σ |a_n|, k = Σ a_n t^n"),
        domain=Domain(description="polynomials of degree 5, d = 2 and 3", draw=literal.polynomial_kernel, cases=4),
        evidence=_QUADRATURE,
        source="Funk 1916; Hecke 1918",
    ),
)
"""In the order they are shown and checked."""
