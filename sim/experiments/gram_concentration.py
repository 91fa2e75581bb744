"""How near the Gram matrix of random initial weights is to the infinite width's: exact second moments, and bounds with a probability.

Claims tested, for a sphere and for digits. At every width the squared distance of `H(W(0))` from `H` has the mean of the formula, for
independent neurons and for antisymmetric pairs (double); at one width also along the direction where the matrix variance is largest, and
with several outputs for either kind of readouts. The distance falls like `m^{-1/2}`. Three bounds that hold with probability `1 − δ` are
exceeded in a share of at most `δ` of the nets: every entry within its Chernoff bound at once, the operator norm within the matrix
Bernstein (or bounded-difference) bound, and `λ_min(H(W(0)))` above what matrix Chernoff leaves of `λ_min(H)`, where that is anything.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sim.estimate import estimate, fit_exponent
from sim.experiments.arms import task_label
from sim.experiments.claims import Claim, exponent_claim, frequency_claim, z_claim
from sim.experiments.initial_grams import GramSpec, concentrated, directed
from sim.records import Cache
from sim.sweep import sweep
from sim.tasks import DigitsTask, SphereTask, problem_of
from theory.numeric.gram import relu_gram
from theory.numeric.gram_fluctuation import expected_gram_error, gram_matrix_variance
from theory.numeric.spectrum import GramSpectrum
from theory.numeric.vector_labels import expected_vector_gram_error

NAME = "gram_concentration"
TITLE = "Sampling error of the Gram matrix of random weights, its exact size and its bounds"

BOUNDS = {
    "entries": "an entry of |H(W(0)) − H| beyond its bound",
    "operator": "‖H(W(0)) − H‖ beyond its bound",
    "least": "λ_min(H(W(0))) below its bound",
}
"""What may happen with probability `δ`."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the experiment.

    Parameters
    ----------
    tasks : tuple
        Of which the target inputs are used.
    widths : tuple of int, at least four, multiples of 4
    seeds : int
        Nets at each width.
    delta : float
        Probability with which each bound may be exceeded.
    outputs : int
        Of the nets with several, at the second width.
    dtype : "float64"
    """

    tasks: tuple[SphereTask | DigitsTask, ...]
    widths: tuple[int, ...]
    seeds: int = 256
    delta: float = 0.05
    outputs: int = 3
    dtype: str = "float64"

    @classmethod
    def profile(cls, name: str) -> Config:
        """`"smoke"`, `"quick"`, `"standard"` or `"full"`."""
        if name == "smoke":
            small: dict[str, Any] = {"n_source": 8, "n_target": 10, "n_test": 4}
            return cls(tasks=(SphereTask(**small), DigitsTask(**small)), widths=(64, 128, 256, 512), seeds=24)
        tasks = (SphereTask(), DigitsTask(n_source=80, n_target=40, n_test=40))
        if name == "quick":
            return cls(tasks=tasks, widths=(64, 256, 1024, 4096))
        return cls(tasks=tasks, widths=tuple(2**e for e in range(6, 15 if name == "standard" else 18)), seeds=1024)


def run(config: Config, cache: Cache) -> dict[str, Any]:
    """Draw what is not in the cache yet and return the record's results, claims among them."""
    specs = [
        GramSpec(task=task, width=m, nets=config.seeds, delta=config.delta, outputs=config.outputs)
        for task in config.tasks
        for m in config.widths
    ]
    found = sweep(concentrated, specs, cache, NAME, weight=_work, depends=_data)
    several = specs[1 :: len(config.widths)]
    beside = sweep(directed, several, cache, f"{NAME}: several outputs", weight=_work, depends=_data)
    claims: list[Claim] = []
    cells: list[dict[str, Any]] = []
    fits: list[dict[str, Any]] = []
    for i, task in enumerate(config.tasks):
        rows = range(i * len(config.widths), (i + 1) * len(config.widths))
        for row in rows:
            more, cell = _at_width(specs[row], found[row])
            claims += more
            cells.append(cell)
        claims += _directed(several[i], beside[i])
        fit = fit_exponent(config.widths, [estimate(np.sqrt(found[row]["plain"]).tolist()) for row in rows])
        fits.append({"task": task_label(task), "fit": asdict(fit)})
        where = f"{task_label(task)}, widths {config.widths[0]:,} to {config.widths[-1]:,}"
        claims.append(exponent_claim("exponent in width: distance of H(W(0)) from H", where, fit, -0.5))
    seconds = sum(each["seconds"] for each in (*found, *beside))
    return {"cells": cells, "fits": fits, "claims": [c.to_dict() for c in claims], "seconds": seconds}


def _at_width(spec: GramSpec, found: dict[str, Any]) -> tuple[list[Claim], dict[str, Any]]:
    X, m = problem_of(spec.task).target[0], spec.width
    where, at = f"{task_label(spec.task)}, {len(X)} inputs", f"width {m:,}"
    expected = {
        "plain": ("independent neurons", expected_gram_error(X, m)),
        "pairs": ("antisymmetric pairs", expected_gram_error(X, m, antisymmetric=True)),
    }
    claims = [
        z_claim(f"squared distance of H(W(0)) from H: {words}", where, at, estimate(found[name]), value)
        for name, (words, value) in expected.items()
    ]
    bounds = found["bounds"]
    broken = {"entries": sum(e > 1 for e in found["entries"]), "operator": sum(d > bounds["operator"] for d in found["operator"])}
    if bounds["least"] is not None:
        broken["least"] = sum(value < bounds["least"] for value in found["least"])
    for name, count in broken.items():
        claims.append(frequency_claim(f"nets with {BOUNDS[name]}", where, at, count, spec.nets, spec.delta))
    cell = {
        "task": task_label(spec.task),
        "width": m,
        **{name: {"expected": expected[name][1], "measured": asdict(estimate(found[name]))} for name in expected},
        # What a share δ of the nets exceeds, beside what theory says at most that share does.
        "quantiles": {
            "entries": float(np.quantile(found["entries"], 1 - spec.delta)),
            "operator": float(np.quantile(found["operator"], 1 - spec.delta)),
            "least": float(np.quantile(found["least"], spec.delta)),
        },
        "bounds": bounds,
        "broken": {name: count / spec.nets for name, count in broken.items()},
        "smallest": GramSpectrum.of(relu_gram(X)).smallest,
    }
    return claims, cell


def _directed(spec: GramSpec, found: dict[str, Any]) -> list[Claim]:
    X, m, c = problem_of(spec.task).target[0], spec.width, spec.outputs
    V = gram_matrix_variance(X)
    top = np.linalg.eigh(V)[1][:, -1]
    expected = {
        "direction": ("along its largest matrix variance", float(top @ V @ top) / m),
        "orthogonal": (f"{c} outputs, orthogonal readouts", expected_vector_gram_error(X, c, m)),
        "independent": (f"{c} outputs, independent readouts", expected_vector_gram_error(X, c, m, readouts="independent")),
    }
    where = f"{task_label(spec.task)}, {len(X)} inputs"
    return [
        z_claim(f"squared distance of H(W(0)) from H: {words}", where, f"width {m:,}", estimate(found[name]), value)
        for name, (words, value) in expected.items()
    ]


def _work(spec: GramSpec) -> float:
    # Bounds on entries take as long at every width.
    return spec.nets * (300.0 + spec.width)


def _data(spec: GramSpec) -> str:
    return problem_of(spec.task).content_hash
