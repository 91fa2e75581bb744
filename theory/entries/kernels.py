"""Entries of the kernels of other activations, of a trained readout, of depth, and of quadrature."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import mpmath as mp
import numpy as np

from theory.definitions import cases
from theory.definitions import kernels as definitions
from theory.formula import Case, Chain, Domain, Entry, Evidence, Tolerance, Values
from theory.numeric.kernels import Correlated, Kernel, both_layers, deep, kernel
from theory.numeric.kernels.quadrature import gaussian_product
from theory.symbolic import arc_cosine, deep_kernel, erf_kernel, gelu_kernel, monomial_kernel
from theory.symbolic.algebra import evaluate
from theory.symbolic.notation import theta

_QUADRATURE = Evidence(kind="exact", detail="the Gaussian expectations by quadrature")
_SCALES = (1.0, 0.5, 2.0)


def _inputs(name: str, **options: Any) -> Callable[[Random, int], Case]:
    """One row and one or two others of any norm, a scale of the weights, and the kernel's name and options."""

    def draw(rng: Random, index: int) -> Case:
        d = 2 + index % 3
        X = [[2.0 ** (0, 1, -2)[index % 3] * v for v in row] for row in cases.rows(rng, 1, d)]
        picked = {key: values[index % len(values)] for key, values in options.items()}
        while True:
            Z = cases.rows(rng, 1, d)
            # Parallel rows have a closed form of their own, and no conditional distribution.
            if abs(_cosine(X[0], Z[0])) < 0.99:
                return {"X": X, "Z": Z, "name": name, "init_scale": _SCALES[index % len(_SCALES)], **picked}

    return draw


def _cosine(x: list[float], z: list[float]) -> float:
    return float(np.dot(x, z) / (np.linalg.norm(x) * np.linalg.norm(z)))


def _of(case: Case) -> Kernel:
    return kernel(case["name"], init_scale=case["init_scale"], **{key: case[key] for key in ("slope", "power") if key in case})


def _arrays(case: Case) -> tuple[np.ndarray, np.ndarray]:
    return np.array(case["X"]), np.array(case["Z"])


def _call(*methods: str) -> Callable[[Callable[..., Any], Case], Values]:
    """The named methods of the kernel that the twin builds, one after the other."""

    def call(twin: Callable[..., Any], case: Case) -> Values:
        built = twin(case["name"], init_scale=case["init_scale"], **{key: case[key] for key in ("slope", "power") if key in case})
        return [v for method in methods for v in np.asarray(getattr(built, method)(*_arrays(case))).ravel().tolist()]

    return call


_duals = _call("dual", "derivative_dual")


def _scale(*methods: str) -> Callable[[Case], list[float]]:
    """`√(K(x, x) K(z, z))` for each value."""

    def scale(case: Case) -> list[float]:
        X, Z = _arrays(case)
        sizes = []
        for method in methods:
            own = [np.sqrt(np.diagonal(getattr(_of(case), method)(rows))) for rows in (X, Z)]
            sizes += np.outer(*own).ravel().tolist()
        return sizes

    return scale


def _tolerance(multiple: float, *methods: str) -> Tolerance:
    return Tolerance(kind="dtype", multiple=multiple, scale=_scale(*methods), scale_text="√(K(x, x) K(z, z))")


def _angles(chain: Chain, case: Case, *names: str) -> Values:
    """Results in standard deviations and the angle."""
    values = []
    for name in names:
        for p, q, c in definitions.pairs(case):
            given = {arc_cosine.s: mp.sqrt(p), arc_cosine.t: mp.sqrt(q), theta: mp.acos(c / mp.sqrt(p * q))}
            values.append(evaluate(chain.results[name], {**given, arc_cosine.slope: mp.mpf(case.get("slope", 0))}))
    return values


def _covariances(chain: Chain, case: Case, *names: str) -> Values:
    """Results in variances and the covariance."""
    symbols = (erf_kernel.p, erf_kernel.q, erf_kernel.c)
    values = []
    for name in names:
        for moments in definitions.pairs(case):
            given = dict(zip(symbols, moments, strict=True))
            expr = chain.results[name]
            for _ in range(3):
                expr = expr.xreplace(dict(chain.where))
            values.append(evaluate(expr, given))
    return values


def _monomials(chain: Chain, case: Case) -> Values:
    values = []
    for name in ("dual", "derivative dual"):
        for p, q, c in definitions.pairs(case):
            given = {monomial_kernel.s: mp.sqrt(p), monomial_kernel.t: mp.sqrt(q), monomial_kernel.rho: c / mp.sqrt(p * q)}
            values.append(evaluate(chain.results[f"{name} {case['power']}"], given))
    return values


# Trained readout and depth, on erf: not homogeneous, so that every κ and every factor shows.


def _both_closed(chain: Chain, case: Case) -> Values:
    duals = _covariances(erf_kernel.chain(), case, "dual")
    slopes = _covariances(erf_kernel.chain(), case, "derivative dual")
    inner = [mp.fdot(x, z) for x in case["X"] for z in case["Z"]]
    symbols = deep_kernel.inner, deep_kernel.dual, deep_kernel.slope
    return [evaluate(chain.results["both layers"], dict(zip(symbols, v, strict=True))) for v in zip(inner, duals, slopes, strict=True)]


def _both_call(twin: Callable[..., Any], case: Case) -> Values:
    return np.asarray(twin(_of(case))(*_arrays(case))).ravel().tolist()


def _both_scale(case: Case) -> list[float]:
    X, Z = _arrays(case)
    own = [np.sqrt(np.diagonal(_of(case).gram(rows)) + np.diagonal(_of(case).dual(rows))) for rows in (X, Z)]
    return np.outer(*own).ravel().tolist()


def _deep_inputs(rng: Random, index: int) -> Case:
    case = _inputs("erf")(rng, index)
    return {
        **case,
        "depth": (2, 1, 3)[index % 3],
        "weight_variance": (1.5, 1.0, 0.75)[index % 3],
        "trained_readout": index % 2 == 0,
    }


def _deep_kernel(twin: Callable[..., Any], case: Case) -> Kernel:
    made: Kernel = twin(_of(case), case["depth"], case["weight_variance"])
    return both_layers(made) if case["trained_readout"] else made


def _deep_call(twin: Callable[..., Any], case: Case) -> Values:
    return np.asarray(_deep_kernel(twin, case)(*_arrays(case))).ravel().tolist()


def _deep_scale(case: Case) -> list[float]:
    own = [np.sqrt(np.diagonal(_deep_kernel(deep, case)(rows))) for rows in _arrays(case)]
    return (case["depth"] * np.outer(*own)).ravel().tolist()


def _deep_closed(chain: Chain, case: Case) -> Values:
    """The recursion, one layer of it as derived, on erf's derived duals."""
    erf = erf_kernel.chain().results
    symbols = (erf_kernel.p, erf_kernel.q, erf_kernel.c)
    values = []
    for x in case["X"]:
        for z in case["Z"]:
            moments, tangent = definitions.pair_moments(x, z, case["init_scale"]), mp.fdot(x, z)
            given: dict[Any, Any] = {}
            for _ in range(case["depth"]):
                tangent = evaluate(chain.results["tangent"], given) if given else tangent
                dual, slope = (evaluate(erf[name], dict(zip(symbols, moments, strict=True))) for name in ("dual", "derivative dual"))
                p, q, _c = moments
                energies = [evaluate(erf["dual"], dict(zip(symbols, (v, v, v), strict=True))) for v in (p, q)]
                given = {
                    deep_kernel.gain: mp.mpf(case["weight_variance"]),
                    deep_kernel.dual: dual,
                    deep_kernel.slope: slope,
                    deep_kernel.tangent: tangent,
                }
                moments = tuple(evaluate(chain.results["covariance"], {**given, deep_kernel.dual: v}) for v in (*energies, dual))
            values.append(evaluate(chain.results["readout trained" if case["trained_readout"] else "readout fixed"], given))
    return values


# Quadrature, on a function whose dual is known: the leaky ReLU.


def _quadrature_call(twin: Callable[..., Any], case: Case) -> Values:
    s, t, cosine = (np.array([[float(v)]]) for v in _deviations(case))
    pair = Correlated(s=s, t=t, cosine=cosine, apart=1 - cosine, together=1 + cosine)
    return twin(lambda x: np.where(x > 0, x, case["slope"] * x), pair).value.ravel().tolist()


def _deviations(case: Case) -> tuple[Any, Any, Any]:
    p, q, c = next(iter(definitions.pairs(case)))
    return mp.sqrt(p), mp.sqrt(q), c / mp.sqrt(p * q)


def _entry(
    name: str, title: str, statement: str, derivation: Callable[[], Chain], closed: Callable[[Chain, Case], Values], **parts: Any
) -> Entry:
    return Entry(
        name=name,
        title=title,
        statement=statement,
        derivation=derivation,
        closed_form=closed,
        **{"twin": kernel, "call": _duals, "evidence": _QUADRATURE, "tolerance": _tolerance(8, "dual", "derivative_dual"), **parts},
    )


_PAIR = "u = w·x and v = w·z for w ~ N(0, κ²I), so s = κ‖x‖, t = κ‖z‖"

ENTRIES = (
    _entry(
        "leaky_relu_kernel",
        "Duals of the leaky ReLU",
        "E[σ(u) σ(v)] = s t ((1 − a)²(sin θ + (π − θ) cos θ)/(2π) + a cos θ), E[σ'(u) σ'(v)] = (1 − a)²(π − θ)/(2π) + a; " + _PAIR,
        arc_cosine.leaky,
        lambda chain, case: _angles(chain, case, "dual", "derivative dual"),
        definition=definitions.leaky,
        domain=Domain(description="x, z ≠ 0, any slope a (0: ReLU)", draw=_inputs("leaky_relu", slope=(0.0, 0.25, -0.5)), cases=3),
        source="Cho and Saul 2009, arc-cosine kernel of degree 1 (half of it)",
    ),
    _entry(
        "step_kernel",
        "Dual of the step",
        "E[1{u > 0} 1{v > 0}] = (π − θ)/(2π); its derivative is a delta, so there is no tangent kernel. " + _PAIR,
        arc_cosine.step,
        lambda chain, case: _angles(chain, case, "dual"),
        call=_call("dual"),
        definition=definitions.step,
        tolerance=_tolerance(8, "dual"),
        domain=Domain(description="x, z ≠ 0", draw=_inputs("arccos0"), cases=3),
        source="Cho and Saul 2009, arc-cosine kernel of degree 0 (half of it)",
    ),
    _entry(
        "squared_relu_kernel",
        "Duals of the squared ReLU",
        "E[u₊² v₊²] = s² t² (3 sin θ cos θ + (π − θ)(1 + 2 cos²θ))/(2π), E[2u₊ 2v₊] = 4 s t (sin θ + (π − θ) cos θ)/(2π); " + _PAIR,
        arc_cosine.squared,
        lambda chain, case: _angles(chain, case, "dual", "derivative dual"),
        definition=definitions.squared,
        domain=Domain(description="x, z ≠ 0", draw=_inputs("arccos2"), cases=3),
        source="Cho and Saul 2009, arc-cosine kernel of degree 2 (half of it)",
    ),
    _entry(
        "monomial_kernel",
        "Duals of monomials",
        "E[uⁿ vⁿ] = (s t)ⁿ times ρ, 1 + 2ρ², 9ρ + 6ρ³, 9 + 72ρ² + 24ρ⁴ for n = 1 … 4; E[σ'(u) σ'(v)] = n² E[uⁿ⁻¹ vⁿ⁻¹]; " + _PAIR,
        monomial_kernel.chain,
        _monomials,
        definition=definitions.monomial,
        domain=Domain(description="any x, z; powers 1 to 4", draw=_inputs("monomial", power=(1, 2, 3, 4)), cases=4),
        evidence=Evidence(kind="exact", detail="the sum over all pairings (Wick)"),
        source="Isserlis 1918",
    ),
    _entry(
        "erf_kernel",
        "Duals of erf",
        "E[σ(u) σ(v)] = (2/π) arcsin(2c/√((1 + 2p)(1 + 2q))), E[σ'(u) σ'(v)] = (4/π)/√((1 + 2p)(1 + 2q) − 4c²), p = κ²‖x‖², q = κ²‖z‖², "
        "c = κ² x·z; both depend on κ.",
        erf_kernel.chain,
        lambda chain, case: _covariances(chain, case, "dual", "derivative dual"),
        definition=definitions.erf,
        domain=Domain(description="any x, z, κ > 0", draw=_inputs("erf"), cases=3),
        source="Williams 1997, Computing with infinite networks",
    ),
    _entry(
        "gelu_kernel",
        "Duals of GELU",
        "E[σ(u) σ(v)] = cA + B(pq + c²(1 − pq)/((1 + p)(1 + q))), E[σ'(u) σ'(v)] = A + cB(1/(1 + p) + 1/(1 + q) + 1/D), "
        "A = ¼ + arcsin(c/√((1 + p)(1 + q)))/(2π), B = 1/(2π√D), D = (1 + p)(1 + q) − c²; p, q, c as for erf.",
        gelu_kernel.chain,
        lambda chain, case: _covariances(chain, case, "dual", "derivative dual"),
        definition=definitions.gelu,
        domain=Domain(description="any x, z, κ > 0", draw=_inputs("gelu"), cases=3),
        source="derived here; the dual is that of Tsuchida et al. 2021",
    ),
    _entry(
        "dual_derivative",
        "Price's theorem",
        "dE[σ(u) σ(v)]/dc = E[σ'(u) σ'(v)] with c = E[u v] at fixed variances; used for every pair of duals, checked here on erf.",
        erf_kernel.price,
        lambda chain, case: _covariances(chain, case, "derivative dual"),
        twin=Kernel.derivative_dual,
        call=lambda twin, case: np.asarray(twin(_of(case), *_arrays(case))).ravel().tolist(),
        definition=definitions.erf_change,
        tolerance=_tolerance(8, "derivative_dual"),
        domain=Domain(description="any x, z, κ > 0", draw=_inputs("erf"), cases=2),
        evidence=Evidence(kind="exact", detail="the difference quotient of an expectation by quadrature"),
        source="Price 1958",
    ),
    _entry(
        "both_layers_kernel",
        "Tangent kernel with the readout trained",
        "x·z E[σ'(u) σ'(v)] + E[σ(u) σ(v)], both at the κ of the first layer: H + κ²Σ with Σ at κ = 1 for a ReLU, and only for a σ that is "
        "homogeneous of degree 1; checked on erf.",
        deep_kernel.both_layers,
        _both_closed,
        twin=both_layers,
        call=_both_call,
        definition=definitions.both_layers,
        tolerance=Tolerance(kind="dtype", multiple=8, scale=_both_scale, scale_text="√(K(x, x) K(z, z))"),
        domain=Domain(description="any x, z, κ > 0", draw=_inputs("erf"), cases=3),
        source="Jacot et al. 2018, two layers",
    ),
    _entry(
        "deep_kernel",
        "Tangent kernel of a deep net",
        "Λ ← c E[σ(u) σ(v)], T ← c (E[σ(u) σ(v)] + E[σ'(u) σ'(v)] T), u, v ~ N(0, Λ), from Λ = κ² x·z, T = x·z, L − 1 times; then "
        "E[σ'(u) σ'(v)] T, plus E[σ(u) σ(v)] with the readout trained. For c = 2, κ = 1 and a ReLU, half the kernel of Arora et al. 2019.",
        deep_kernel.chain,
        _deep_closed,
        twin=deep,
        call=_deep_call,
        definition=definitions.deep,
        tolerance=Tolerance(kind="dtype", multiple=16, scale=_deep_scale, scale_text="L √(K(x, x) K(z, z))"),
        domain=Domain(description="any x, z, κ > 0, c > 0, L ≥ 1", draw=_deep_inputs, cases=3),
        evidence=Evidence(kind="exact", detail="the sum over layers, every expectation by quadrature"),
        source="Jacot et al. 2018; Arora et al. 2019 (arXiv 1904.11955), eq. (9)",
    ),
    _entry(
        "gaussian_quadrature",
        "Gaussian expectations by wedges",
        "u = s r sin(β − φ), v = t r sin φ on the wedges of opening β = π − θ (one sign) and θ (two signs); for the leaky ReLU "
        "E[σ(u) σ(v)] = s t ((1 + a²)(sin θ + β cos θ) − 2a (sin θ − θ cos θ))/(2π).",
        arc_cosine.wedges,
        lambda chain, case: _angles(chain, case, "dual"),
        twin=gaussian_product,
        call=_quadrature_call,
        definition=definitions.leaky_dual,
        tolerance=Tolerance(kind="dtype", multiple=64, scale=_scale("dual"), scale_text="√(K(x, x) K(z, z))"),
        domain=Domain(description="s, t > 0", draw=_inputs("leaky_relu", slope=(0.25, -0.5, 0.0)), cases=2),
        source="polar coordinates",
    ),
)
"""In the order they build on each other."""
