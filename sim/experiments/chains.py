"""Chains of stages: several sources before the target, what each stage forgets of the ones before, and cycling through all of them.

Nets are really trained, in turn, on spheres in different subspaces and on pairs of digit classes. Claims tested. In a chain that meets
each set once: the frozen kernel's mean is the prediction (z) for the displacement of every stage, the distance from the start, the
outputs on every set after every stage, projected on the predicted ones, and the forgetting of every earlier set; the trained net's
displacement of every stage is off by no more than the drift allows at that width, and it forgets where theory says so. In cycles: the
mean factor by which a sweep shrinks what is left on all sets together is the predicted one. (That of a single sweep tends to the spectral
radius of block Gauss-Seidel, but not steadily: on digits it falls below and rises to it where two modes change places, around the 15th
sweep, and a net's own kernel makes them do so a sweep earlier or later.) The drift of the outputs, once every set was trained on, closes
with the root of the width; at the end of many sweeps it is a share of next to nothing, and next orders are seen.

All claims of one arm are made of the same nets: verdicts are not independent of each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sim.chained_nets import ChainSpec, chain_net, joint_norm, summary, sweep_factor, theory_of
from sim.chained_tasks import ChainedTask, DigitSets, SphereSets, sets_of
from sim.estimate import Estimate, bias_and_spread, estimate, fit_exponent
from sim.experiments.claims import Claim, exponent_claim, gap_claim, sign_claim, z_claim
from sim.records import Cache
from sim.sweep import sweep

NAME = "chains"
TITLE = "Chains of stages: forgetting from one to the next, and cycling to the joint interpolant"

AGREEMENT = 0.02
"""Relative distance of the trained mean's displacement from the prediction that is claimed at width 16,384, as in `ladder`; it grows as
`m^{-1/2}` at lesser ones."""

FACTOR_AGREEMENT = 0.05
"""The same for the factor of a sweep, at every width."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """Sets, and the order in which they are trained on.

    Parameters
    ----------
    task : SphereSets or DigitSets
    sweeps : int ≥ 1
        Rounds through all sets in order; 1 is a chain.
    steps : int
        Of each stage.
    """

    task: ChainedTask
    sweeps: int = 1
    steps: int = 80

    @property
    def order(self) -> tuple[int, ...]:
        """The set of each stage."""
        return tuple(range(len(self.task.names()))) * self.sweeps

    @property
    def label(self) -> str:
        """In words."""
        return f"{self.task.label}, {'chain of' if self.sweeps == 1 else f'{self.sweeps} sweeps through'} {len(self.task.names())}"


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the experiment; the standard profile has wider nets, twice as many, and twice the sweeps.

    Parameters
    ----------
    routes : tuple of Route
    widths : tuple of int, at least four
        All but the exponents are tested at the last one.
    seeds : int ≥ 2
        Nets for each route and width.
    dtype : "float32" or "float64"
        Of the trained nets. Float32 will do where their drift is thousands of times the rounding: not after 16 sweeps through digits,
        which leave 4·10⁻⁷ of the labels, what float32 rounds by.
    """

    routes: tuple[Route, ...]
    widths: tuple[int, ...]
    seeds: int = 8
    dtype: str = "float32"

    @classmethod
    def profile(cls, name: str) -> Config:
        """`"smoke"`, `"quick"`, `"standard"` or `"full"`."""
        if name == "smoke":
            few = (
                Route(task=SphereSets(similarities=(0.5, 1.0), points=6), steps=15),
                Route(task=DigitSets(parts=(("digits", 0, 1), ("mnist", 2, 3)), points=6), sweeps=3, steps=15),
            )
            return cls(routes=few, widths=(64, 128, 256, 512), seeds=3)
        sweeps = 8 if name == "quick" else 16
        sphere, digits = SphereSets(similarities=(0.6, 0.9, 1.0), points=12), DigitSets(parts=DigitSets().parts[:3], points=12)
        routes = (
            Route(task=SphereSets()),
            Route(task=DigitSets()),
            Route(task=sphere, sweeps=sweeps, steps=40),
            Route(task=digits, sweeps=sweeps, steps=40),
        )
        if name == "quick":
            return cls(routes=routes, widths=(256, 512, 1024, 2048, 4096))
        if name == "standard":
            return cls(routes=routes, widths=(512, 1024, 2048, 4096, 8192, 16384), seeds=16, dtype="float64")
        return cls(routes=routes, widths=tuple(2**e for e in range(9, 18)), seeds=64, dtype="float64")


def run(config: Config, cache: Cache) -> dict[str, Any]:
    """Train what is not in the cache yet and return the record's results, claims among them."""
    specs = [
        ChainSpec(task=r.task, order=r.order, steps=r.steps, width=m, seed=s, dtype=config.dtype)
        for r in config.routes
        for m in config.widths
        for s in range(config.seeds)
    ]
    done = iter(sweep(chain_net, specs, cache, NAME, weight=lambda spec: spec.work, depends=_data))
    claims: list[Claim] = []
    routes, seconds = [], 0.0
    for route in config.routes:
        nets = {m: [next(done) for _ in range(config.seeds)] for m in config.widths}
        seconds += sum(net["seconds"] for here in nets.values() for net in here)
        theory = theory_of(route.task, route.order, route.steps)
        predicted, widest = summary(theory, theory, route.task), config.widths[-1]
        where = f"{route.label}, width {widest:,}"
        claims += (_chain_claims if route.sweeps == 1 else _cycle_claims)(route, predicted, nets[widest], where, widest)
        drifts = [bias_and_spread(np.array([net["drift"] for net in nets[m]]))[0] for m in config.widths]
        fit = fit_exponent(config.widths, drifts) if all(d.mean and d.standard_error for d in drifts) else None
        spread = f"{route.label}, widths {config.widths[0]:,} to {widest:,}"
        claims.append(
            exponent_claim("exponent in width: drift of the outputs on all sets after each of them, length of its mean", spread, fit, -0.5)
        )
        routes.append(
            {
                "label": route.label,
                "sets": route.task.names(),
                "order": route.order,
                "sweeps": route.sweeps,
                "predicted": predicted,
                "labels": [float(y @ y) / 2 for _, y in sets_of(route.task)],
                "joint_norm": joint_norm(route.task),
                "sweep_factor": sweep_factor(route.task, route.steps),
                **{rung: _means(nets[widest], rung) for rung in ("frozen", "trained")},
                "drift": [asdict(d) for d in drifts],
                "fit": fit and asdict(fit),
            }
        )
    return {"routes": routes, "claims": [c.to_dict() for c in claims], "seconds": seconds}


def _data(spec: ChainSpec) -> list[float]:
    """What tells one set of data from another of the same dials."""
    return [float(np.sum(np.arange(1, X.size + 1) * X.ravel())) for X, _ in sets_of(spec.task)]


def _over_nets(nets: Sequence[dict[str, Any]], rung: str, pick: Callable[[dict[str, Any]], float]) -> Estimate:
    return estimate([pick(net[rung]) for net in nets])


def _entry(name: str, *at: int) -> Callable[[dict[str, Any]], float]:
    """Picks a number of a rung."""

    def pick(rung: dict[str, Any]) -> float:
        value = rung[name]
        for i in at:
            value = value[i]
        return float(value)

    return pick


def _means(nets: Sequence[dict[str, Any]], rung: str) -> dict[str, Any]:
    """Mean and standard error over nets, element by element."""
    found = {}
    for name in ("displacement", "total", "losses", "left"):
        values = np.array([net[rung][name] for net in nets])
        error = values.std(axis=0, ddof=1) / math.sqrt(len(values))
        found[name] = {"mean": values.mean(axis=0).tolist(), "standard_error": error.tolist()}
    return found


def _limit(width: int) -> float:
    return AGREEMENT * math.sqrt(16384 / width)


_UNSEEN = 0.05
"""Outputs below this share of the labels' length are not projected on: next to nothing is predicted."""


def _chain_claims(route: Route, predicted: dict[str, Any], nets: list[dict[str, Any]], where: str, width: int) -> Iterator[Claim]:
    names, stages = route.task.names(), range(len(route.order))
    limit = _limit(width)
    for s in stages:
        at = f"stage {s + 1}, {names[s]}"
        value = predicted["displacement"][s]
        yield z_claim("frozen kernel: displacement of a stage", where, at, _over_nets(nets, "frozen", _entry("displacement", s)), value)
        moved = _over_nets(nets, "trained", _entry("displacement", s))
        yield gap_claim("trained net: displacement of a stage", where, at, moved, value, limit)
    total = predicted["total"][-1]
    yield z_claim("frozen kernel: distance from the start", where, "at the end", _over_nets(nets, "frozen", _entry("total", -1)), total)
    yield gap_claim(
        "trained net: distance from the start", where, "at the end", _over_nets(nets, "trained", _entry("total", -1)), total, limit
    )
    outputs = [[float(np.linalg.norm(u)) for u in us] for us in theory_of(route.task, route.order, route.steps).outputs]
    sizes = [float(np.linalg.norm(y)) for _, y in sets_of(route.task)]
    for s in stages:
        for a, name in enumerate(names):
            if outputs[a][s] < _UNSEEN * sizes[a]:
                continue
            share = _over_nets(nets, "frozen", _entry("shares", s, a))
            yield z_claim("frozen kernel: outputs along the predicted ones", where, f"{name} after stage {s + 1}", share, 1.0)
    for a, name in enumerate(names[:-1]):

        def forgotten(rung: dict[str, Any], a: int = a) -> float:
            return rung["losses"][-1][a] - rung["losses"][a][a]

        expected, at = forgotten(predicted), f"{name}, from its own stage to the end"
        yield z_claim("frozen kernel: forgetting", where, at, _over_nets(nets, "frozen", forgotten), expected)
        yield sign_claim("trained net: forgetting", where, at, _over_nets(nets, "trained", forgotten), expected)


def _cycle_claims(route: Route, predicted: dict[str, Any], nets: list[dict[str, Any]], where: str, width: int) -> Iterator[Claim]:
    sets = len(route.task.names())

    def factor(rung: dict[str, Any]) -> float:
        return float((rung["left"][-1] / rung["left"][sets - 1]) ** (1 / (route.sweeps - 1)))

    at, expected = f"sweeps 2 to {route.sweeps}", factor(predicted)
    words = "factor by which a sweep shrinks what is left on all sets, geometric mean"
    yield z_claim(f"frozen kernel: {words}", where, at, _over_nets(nets, "frozen", factor), expected)
    yield gap_claim(f"trained net: {words}", where, at, _over_nets(nets, "trained", factor), expected, FACTOR_AGREEMENT)
    total, at = predicted["total"][-1], f"after sweep {route.sweeps}"
    yield z_claim("frozen kernel: distance from the start", where, at, _over_nets(nets, "frozen", _entry("total", -1)), total)
    yield gap_claim(
        "trained net: distance from the start", where, at, _over_nets(nets, "trained", _entry("total", -1)), total, _limit(width)
    )
