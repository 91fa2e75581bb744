"""Training on orthogonal inputs from first principles: every neuron followed step by step, means over them by quadrature."""

from __future__ import annotations

from random import Random
from typing import Any

import mpmath as mp

from theory.definitions.cases import dyadic
from theory.formula import Case, Values


def run(case: Case) -> Values:
    """Outputs and displacement after k steps on orthogonal inputs: the path of a pre-activation under a gradient step, from every start
    and with either sign, with outputs as integrals over the starts, between those at which a gate switches.
    """
    m, kappa, lr = mp.mpf(case["width"]), mp.mpf(case["init_scale"]), mp.mpf(case["lr"])
    outputs, squared = [], mp.mpf(0)
    for norm, label in zip(case["norms"], case["labels"], strict=True):
        size, tau = mp.mpf(norm), kappa * mp.mpf(norm)
        residuals: list[Any] = []
        # A gate switches for starts at the sums of the pushes so far.
        edges = [mp.mpf(0)]

        def path(start: Any, sign: int, size: Any = size, residuals: list[Any] = residuals) -> Any:
            for left in residuals:
                if start > 0:
                    start = start + lr * sign / mp.sqrt(m) * left * size**2
            return start

        def mean(function: Any, tau: Any = tau, edges: list[Any] = edges) -> Any:
            points = [*edges, *(edges[-1] + f * tau for f in (2, 6, 18))]
            return mp.quad(lambda s: mp.npdf(s, 0, tau) * function(s), points, method="gauss-legendre")

        def output(mean: Any = mean, path: Any = path) -> Any:
            return mp.sqrt(m) / 2 * mean(lambda s: sum(a * max(path(s, a), mp.mpf(0)) for a in (-1, 1)))

        u = mp.mpf(0)
        for _ in range(case["steps"]):
            residuals.append(label - u)
            edges.append(edges[-1] + lr / mp.sqrt(m) * abs(label - u) * size**2)
            u = output()
        outputs.append(u)
        moved = mean(lambda s, path=path: sum((path(s, a) - s) ** 2 for a in (-1, 1)))
        squared += m / 2 * moved / size**2
    return [*outputs, mp.sqrt(squared)]


def relative_drift(case: Case) -> Values:
    """√m times the displacement to the end over the frozen kernel's, less 1, at a width of 10^120: every step's outputs from the mean
    positive parts of normal variables, the squared displacement from the starts that switch off at each step.
    """
    with mp.workdps(3 * mp.mp.dps + 20):
        m, kappa, lr = mp.mpf(10) ** 120, mp.mpf(case["init_scale"]), mp.mpf(case["lr"])
        squared = frozen = mp.mpf(0)
        for norm, label in zip(case["norms"], case["labels"], strict=True):
            size, tau, y = mp.mpf(norm), kappa * mp.mpf(norm), abs(mp.mpf(label))
            pushed, off = mp.mpf(0), mp.mpf(0)
            for _ in range(4000):
                left = y - mp.sqrt(m) / 2 * (_positive_part(pushed, tau, 0) - _positive_part(-pushed, tau, pushed))
                if left < y * mp.mpf(10) ** -125:
                    break
                further = pushed + lr / mp.sqrt(m) * left * size**2
                off += further**2 * (mp.ncdf(further / tau) - mp.ncdf(pushed / tau))
                pushed = further
            active = pushed**2 * (mp.mpf(1) / 2 + mp.ncdf(-pushed / tau))
            squared += m / 2 * (active + off) / size**2
            frozen += 2 * y**2 / size**2
        return [(mp.sqrt(squared / frozen) - 1) * mp.sqrt(m / case["width"])]


def _positive_part(shift: Any, tau: Any, lowest: Any) -> Any:
    """Mean of `s + shift` over `s > lowest`, `s ~ N(0, τ²)`."""
    return tau * mp.npdf(lowest / tau) + shift * mp.ncdf(-lowest / tau)


def draw(rng: Random, index: int) -> Case:
    """One or two orthogonal inputs, a width at which many neurons switch off, or few; step sizes up to `1/λ_max`."""
    count = 1 + index % 2
    norms = [rng.choice((0.875, 1.0, 1.25)) for _ in range(count)]
    return {
        "norms": norms,
        "labels": [2 * dyadic(rng) for _ in norms],
        "lr": 2 / max(norms) ** 2 * (0.999, 0.5, 0.75)[index % 3],
        "steps": (1, 2, 2, 0)[index % 4],
        "width": (4, 64, 16, 1)[index % 4],
        "init_scale": rng.choice((0.25, 1.0)),
    }
