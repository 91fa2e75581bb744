"""Tangent kernels of nets with a trained readout and with several hidden layers, from sums over neurons."""

from __future__ import annotations

from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.notation import at, between, line, m, whole

neuron = sp.Symbol("i", integer=True)
sign_bit = sp.Symbol("b", integer=True)
readout = sp.Symbol("a", real=True)
gain = sp.Symbol("c", positive=True)
kappa = sp.Symbol("kappa", positive=True)
inner, dual, slope, tangent = sp.symbols("s Sigma dSigma T", real=True)
lower_dual, lower_slope = sp.symbols("Sigma_1 dSigma_1", real=True)
flat = sp.Symbol("Sigma_0", real=True)

_RANGES = {
    gain: between(0, 3),
    **{x: between(-2, 2) for x in (inner, dual, slope, tangent, lower_dual, lower_slope, flat)},
    sign_bit: whole(0, 1),
}


@cache
def both_layers() -> Chain:
    """Gradients of `f = m^{-1/2} Σ a σ(w·x)` in `w` and in `a`; what `κ` does to each for a homogeneous `σ`."""
    total = inner * slope + dual
    return Chain(
        title="Both layers trained",
        steps=(
            *line(
                sp.Sum((readout / sp.sqrt(m)) ** 2 * inner * slope, (neuron, 1, m)),
                ("∂f/∂w_i(x)·∂f/∂w_i(z) has mean (a/√m)² x·z E[σ'(w·x) σ'(w·z)]", readout**2 * inner * slope, "evaluate"),
                ("a = ±1", inner * slope),
            ),
            *line(
                sp.Sum(dual / m, (neuron, 1, m)),
                ("∂f/∂a_i(x) ∂f/∂a_i(z) = σ(w_i·x) σ(w_i·z)/m: the dual at this κ, whatever σ", dual, "evaluate"),
            ),
            *line(inner * slope + sp.Sum(dual / m, (neuron, 1, m)), ("their sum", total, "evaluate")),
            *line(
                at(total, dual, kappa**2 * flat),
                (
                    "homogeneous of degree 1: Σ is κ² times Σ at 1, E[σ'σ'] is the same at every κ",
                    inner * slope + kappa**2 * flat,
                    "evaluate",
                ),
            ),
        ),
        results={"both layers": total},
        where={readout: (-1) ** sign_bit},
        ranges=_RANGES,
    )


@cache
def chain() -> Chain:
    """One layer of the recursion, the readout's two cases, and two layers unrolled."""
    covariance = gain * dual
    following = gain * (dual + slope * tangent)
    return Chain(
        title="Tangent kernel of a deep net",
        steps=(
            *line(
                sp.Sum((sp.sqrt(gain) / sp.sqrt(m)) ** 2 * dual, (neuron, 1, m)),
                ("E[h' h'] of h' = √(c/m) Σ W σ(h), W ~ N(0, 1) independent: the next covariance", covariance, "evaluate"),
            ),
            *line(
                sp.Sum(gain / m * dual, (neuron, 1, m)) + sp.Sum(gain / m * slope * tangent, (neuron, 1, m)),
                ("∂h'/∂W is √(c/m) σ(h); through h, mean of W² is 1: the next tangent kernel", following, "evaluate"),
            ),
            *line(
                sp.Sum((readout / sp.sqrt(m)) ** 2 * slope * tangent, (neuron, 1, m)),
                ("readout m^{-1/2} Σ a σ(h), a = ±1 fixed", slope * tangent, "evaluate"),
            ),
            *line(slope * tangent + sp.Sum(dual / m, (neuron, 1, m)), ("readout trained as well", slope * tangent + dual, "evaluate")),
            *line(at(slope * tangent, tangent, inner), ("one hidden layer: T = x·z", inner * slope, "evaluate")),
            *line(
                slope * gain * (lower_dual + lower_slope * inner),
                (
                    "two hidden layers: what each layer's weights add, times the slopes above it",
                    gain * slope * lower_dual + gain * slope * lower_slope * inner,
                    "expand",
                ),
            ),
        ),
        results={
            "covariance": covariance,
            "tangent": following,
            "readout fixed": slope * tangent,
            "readout trained": slope * tangent + dual,
        },
        where={readout: (-1) ** sign_bit},
        ranges=_RANGES,
    )
