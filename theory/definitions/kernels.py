"""Duals of activations from first principles: given one input, the mean over the other in one dimension; then an integral over the one.

No angle, no Hermite polynomial and no integration by parts: these are the closed forms' own routes. A step of the mean in one dimension is
the definition of the activation and the table of normal integrals `E[1{v > 0}]`, `E[v₊]`, `E[v₊²]`, `E[Φ(v)]`, `E[erf(v)]`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import mpmath as mp

from theory.definitions.gaussian import dot
from theory.formula import Case, Values

Conditional = Callable[[Any, Any], Any]
"""`E[g(v)]` for `v` of mean `μ` and standard deviation `τ`."""


def _step_mean(mean: Any, deviation: Any) -> Any:
    return mp.ncdf(mean / deviation)


def _ramp_mean(mean: Any, deviation: Any) -> Any:
    z = mean / deviation
    return mean * mp.ncdf(z) + deviation * mp.npdf(z)


def _square_mean(mean: Any, deviation: Any) -> Any:
    z = mean / deviation
    return (mean**2 + deviation**2) * mp.ncdf(z) + mean * deviation * mp.npdf(z)


def _erf_mean(mean: Any, deviation: Any) -> Any:
    return mp.erf(mean / mp.sqrt(1 + 2 * deviation**2))


def _erf_slope_mean(mean: Any, deviation: Any) -> Any:
    wide = 1 + 2 * deviation**2
    return 2 / mp.sqrt(mp.pi * wide) * mp.exp(-(mean**2) / wide)


def _gelu_mean(mean: Any, deviation: Any) -> Any:
    # E[v Φ(v)], the derivative of E[Φ(v)] in the mean included by parts in one dimension.
    wide = mp.sqrt(1 + deviation**2)
    return mean * mp.ncdf(mean / wide) + deviation**2 / wide * mp.npdf(mean / wide)


def _gelu_slope_mean(mean: Any, deviation: Any) -> Any:
    wide = mp.sqrt(1 + deviation**2)
    return mp.ncdf(mean / wide) + mean / wide**3 * mp.npdf(mean / wide)


def pair_moments(x: Sequence[float], z: Sequence[float], kappa: float) -> tuple[Any, Any, Any]:
    """Variances of `w·x` and `w·z`, and their covariance, for `w ~ N(0, κ²I)`."""
    scale = mp.mpf(kappa) ** 2
    return scale * dot(x, x), scale * dot(z, z), scale * dot(x, z)


def smooth_product(function: Callable[[Any], Any], conditional: Conditional, p: Any, q: Any, c: Any) -> Any:
    """`E[g(u) g(v)]` of an entire `g` by the trapezoidal rule over `u`, whose error falls as `exp(−2π²/h²)` in the step."""
    deviation = mp.sqrt(q - c**2 / p)
    wide = mp.sqrt(p)
    # The conditional mean varies over 1/s: the step must resolve it as well as the density.
    digits = mp.mp.dps * mp.log(10)
    step = mp.pi * mp.sqrt(2 / digits) / mp.sqrt(1 + 2 * p) / mp.mpf("1.3")
    count = int(mp.ceil(mp.sqrt(2 * digits) / step))
    total = mp.fsum(
        function(wide * k * step) * conditional(c / wide * k * step, deviation) * mp.exp(-((k * step) ** 2) / 2)
        for k in range(-count, count + 1)
    )
    return total * step / mp.sqrt(2 * mp.pi)


def half_product(function: Callable[[Any], Any], conditional: Conditional, p: Any, q: Any, c: Any) -> Any:
    """`E[g(u) 1{u > 0} g(v)]` for `g` smooth on either side of 0, by the trapezoidal rule in `x`, `u = s exp(x − exp(−x))`."""
    deviation, wide = mp.sqrt(q - c**2 / p), mp.sqrt(p)
    # The steeper the conditional mean in u, the narrower the strip in which it is analytic and small.
    step = mp.pi**2 / (mp.mp.dps * mp.log(10)) / (3 + abs(c) / (wide * deviation)) ** mp.mpf("0.75")
    low, high = (int(mp.ceil(v / step)) for v in (5, 3))
    terms = []
    for k in range(-low, high + 1):
        inward = mp.exp(-k * step)
        w = mp.exp(k * step - inward)
        terms.append(function(wide * w) * conditional(c / wide * w, deviation) * mp.exp(-w * w / 2) * w * (1 + inward))
    return mp.fsum(terms) * step / mp.sqrt(2 * mp.pi)


def _mirrored(conditional: Conditional) -> Conditional:
    """The conditional mean at `−u`."""
    return lambda mean, deviation: conditional(-mean, deviation)


def leaky(case: Case) -> Values:
    """E[σ(u) σ(v)] and E[σ'(u) σ'(v)] for σ(x) = x or a x: the mean over v given u is (1 − a) E[v₊] + a E[v], and the integral over u is
    done on either side of the kink by quadrature.
    """
    a = mp.mpf(case["slope"])

    def mean(mu: Any, tau: Any) -> Any:
        return (1 - a) * _ramp_mean(mu, tau) + a * mu

    def slope_mean(mu: Any, tau: Any) -> Any:
        return (1 - a) * _step_mean(mu, tau) + a

    values = []
    for function, conditional, power in ((lambda u: u, mean, 1), (lambda u: mp.mpf(1), slope_mean, 0)):
        for p, q, c in pairs(case):
            right = half_product(function, conditional, p, q, c)
            left = half_product(function, _mirrored(conditional), p, q, c)
            values.append(right + a * (-1) ** power * left)
    return values


def leaky_dual(case: Case) -> Values:
    """E[σ(u) σ(v)] for σ(x) = x or a x: the first half of `leaky`."""
    values = leaky(case)
    return values[: len(values) // 2]


def step(case: Case) -> Values:
    """P(u > 0, v > 0): the normal probability of v > 0 given u, integrated over u > 0 by quadrature."""
    return [half_product(lambda u: mp.mpf(1), _step_mean, p, q, c) for p, q, c in pairs(case)]


def squared(case: Case) -> Values:
    """E[u₊² v₊²] and 4 E[u₊ v₊]: E[v₊²] and E[v₊] given u, integrated over u > 0 by quadrature."""
    duals = [half_product(lambda u: u * u, _square_mean, p, q, c) for p, q, c in pairs(case)]
    return duals + [half_product(lambda u: 2 * u, lambda mu, tau: 2 * _ramp_mean(mu, tau), p, q, c) for p, q, c in pairs(case)]


def monomial(case: Case) -> Values:
    """E[uⁿ vⁿ] and n² E[uⁿ⁻¹ vⁿ⁻¹] by Wick's theorem, literally: the sum over all pairings of the product of the pairs' covariances."""
    n = case["power"]
    return [_wick(n, *moments) for moments in pairs(case)] + [n**2 * _wick(n - 1, *moments) for moments in pairs(case)]


def erf(case: Case) -> Values:
    """E[σ(u) σ(v)] and E[σ'(u) σ'(v)] for σ = erf: means over v given u, summed over u by the trapezoidal rule."""
    duals = [smooth_product(mp.erf, _erf_mean, p, q, c) for p, q, c in pairs(case)]
    return duals + [smooth_product(_erf_slope, _erf_slope_mean, p, q, c) for p, q, c in pairs(case)]


def erf_change(case: Case) -> Values:
    """dE[σ(u) σ(v)]/dc for σ = erf: the expectation, by the trapezoidal rule, at `c + ih`; its imaginary part over `h`."""
    # Its square is below the digits asked for. mpmath's erf rounds both parts as the larger one: what it divides needs digits to spare.
    h = mp.mpf(10) ** (-mp.mp.dps // 2)
    with mp.workdps(3 * mp.mp.dps // 2):
        return [mp.im(smooth_product(mp.erf, _erf_mean, p, q, mp.mpc(c, h))) / h for p, q, c in pairs(case)]


def gelu(case: Case) -> Values:
    """E[σ(u) σ(v)] and E[σ'(u) σ'(v)] for σ(x) = x Φ(x): means over v given u, summed over u by the trapezoidal rule."""
    duals = [smooth_product(lambda u: u * mp.ncdf(u), _gelu_mean, p, q, c) for p, q, c in pairs(case)]
    return duals + [smooth_product(lambda u: mp.ncdf(u) + u * mp.npdf(u), _gelu_slope_mean, p, q, c) for p, q, c in pairs(case)]


def both_layers(case: Case) -> Values:
    """Mean of ∂f/∂w(x)·∂f/∂w(z) + ∂f/∂a(x) ∂f/∂a(z) of one neuron a erf(w·x): x·z E[σ'σ'] + E[σσ], by the trapezoidal rule."""
    duals = erf(case)
    half = len(duals) // 2
    inner = [dot(x, z) for x in case["X"] for z in case["Z"]]
    return [i * slope + dual for i, dual, slope in zip(inner, duals[:half], duals[half:], strict=True)]


def deep(case: Case) -> Values:
    """Sum over the layers whose weights are trained: what a layer's inputs correlate times the mean slopes of all layers above it
    (Arora et al. 2019, eq. (9)), every expectation for erf by the trapezoidal rule, the covariances layer by layer.
    """
    gain, values = mp.mpf(case["weight_variance"]), []
    for x in case["X"]:
        for z in case["Z"]:
            p, q, c = pair_moments(x, z, case["init_scale"])
            inputs, slopes = [dot(x, z)], []
            for _ in range(case["depth"]):
                slopes.append(smooth_product(_erf_slope, _erf_slope_mean, p, q, c))
                inputs.append(smooth_product(mp.erf, _erf_mean, p, q, c))
                p, q, c = gain * _erf_energy(p), gain * _erf_energy(q), gain * inputs[-1]
            total = inputs[-1] if case["trained_readout"] else mp.mpf(0)
            for layer in range(case["depth"]):
                # A factor c for the layer's own weights, unless they are the first, and one for each layer above it.
                total += inputs[layer] * mp.fprod(slopes[layer:]) * gain ** (case["depth"] - max(layer, 1))
            values.append(total)
    return values


def _erf_slope(u: Any) -> Any:
    return 2 / mp.sqrt(mp.pi) * mp.exp(-u * u)


def _erf_energy(p: Any) -> Any:
    """`E[erf(u)²]`."""
    return smooth_product(lambda u: mp.erf(u) ** 2, lambda mu, tau: mp.mpf(1), p, p, mp.mpf(0))


def pairs(case: Case) -> Iterator[tuple[Any, Any, Any]]:
    """`pair_moments` of every row of `X` with every row of `Z`."""
    for x in case["X"]:
        for z in case["Z"]:
            yield pair_moments(x, z, case["init_scale"])


def _wick(n: int, p: Any, q: Any, c: Any) -> Any:
    factors = ("u",) * n + ("v",) * n
    covariance = {("u", "u"): p, ("v", "v"): q, ("u", "v"): c, ("v", "u"): c}

    def pairings(left: tuple[str, ...]) -> Any:
        if not left:
            return mp.mpf(1)
        first, rest = left[0], left[1:]
        return mp.fsum(covariance[first, other] * pairings(rest[:k] + rest[k + 1 :]) for k, other in enumerate(rest))

    return pairings(factors)
