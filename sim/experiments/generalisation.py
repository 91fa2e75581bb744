"""Generalisation, three ways: the complexity measure and its Rademacher bound, the closed-form error on test points, and
cross-validation from training data alone, side by side.

Pairs of MNIST digits (500 target points, raw pixels) with a share of random labels from none to all, from scratch and pretrained on
the UCI digits of the same classes. Claims tested, for each pair and start. Over the shares of random labels, complexity measure,
closed-form squared error and generalised cross-validation each order the nets as their test error rate does: rank correlation at
least 0.95, its mean over draws of the data. The mean squared leave-one-out error is that of the refits on test points (a z-test over
draws; by exchangeability the expectations are equal). Where the bound is not vacuous, the loss it bounds is below it.

UCI digits → MNIST at 8 × 8 pixels: tasks that differ in how long, and on what share of random source labels, the net is pretrained.
Claims tested: over these tasks the mean over draws of each measure orders the nets as the mean of their test error does; one draw
alone does not tell that well, and the record says how well. And the bound over the number of target points.

Everything is of infinite width: no net is trained. Expected losses are those of the distribution the target sample comes from, so
test labels are random to the same share, which is averaged over exactly. The bound holds for all numbers of steps at once, and is
also taken at its best one. Draws of one pair share a thousand images, and all shares of random labels one draw: verdicts are not
independent of each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from sim.estimate import estimate
from sim.experiments.claims import Claim, frequency_claim, least_claim, z_claim
from sim.pairs import PairTask
from sim.ranks import Interval, over_draws, rank_correlation
from sim.records import Cache
from sim.sweep import sweep
from sim.tasks import DigitsTask
from theory.bounded_loss import ramp
from theory.generalisation import generalisation
from theory.numeric import stages
from theory.numeric.generalisation import (
    RademacherBound,
    complexity_measure,
    generalised_cross_validation,
    leave_one_out,
    rademacher_bound,
)
from theory.numeric.gram import relu_gram
from theory.numeric.spectrum import GramSpectrum
from theory.predict import GramBlocks, predict_stages
from theory.problem import Schedule

NAME = "generalisation"
TITLE = "Generalisation told from training data, three ways"

LEAST = 0.95
"""Rank correlation that is claimed."""

DELTA = 0.1
"""Probability with which a bound may fail."""

STARTS = ("from scratch", "pretrained")

WAYS = {
    "measure": "complexity measure √(2 ỹᵀH⁻¹ỹ/n)",
    "test_mse": "closed-form squared error on test points",
    "cross_validation": "generalised cross-validation",
}
"""What is held against the test error."""

Row = dict[str, Any]

_TARGET_STEPS = (0, 1, 2, 3, 5, 8, 12, 20, 50, None)
"""Steps on the target among which the bound is least."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the experiment; the standard profile has four to five times the draws, more pairs, and more target points.

    Parameters
    ----------
    pairs : tuple of two digits each
    shares : tuple of float in [0, 1]
        Shares of random labels.
    n_pair : int
        Target points of a pair.
    seeds : int ≥ 2
        Draws of the data of each pair.
    digits : tuple of DigitsTask
        Tasks whose pretraining is varied.
    source_steps, noises : tuples
        Lengths of pretraining (`None` for the end) and shares of random source labels.
    digit_seeds : int ≥ 2
        Draws of the data of these tasks.
    sizes : tuple of int
        Numbers of target points for the bound on the digits.
    dtype : "float64"
    """

    pairs: tuple[tuple[int, int], ...] = ((0, 1), (3, 8), (4, 9))
    shares: tuple[float, ...] = tuple(i / 10 for i in range(11))
    n_pair: int = 500
    seeds: int = 8
    digits: tuple[DigitsTask, ...] = (DigitsTask(n_test=4000), DigitsTask(labels="classes", n_test=4000))
    source_steps: tuple[int | None, ...] = (0, 1, 10, None)
    noises: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    digit_seeds: int = 24
    sizes: tuple[int, ...] = (100, 300, 1000)
    dtype: str = "float64"

    @classmethod
    def profile(cls, name: str) -> Config:
        """`"smoke"`, `"quick"`, `"standard"` or `"full"`."""
        if name == "smoke":
            small = DigitsTask(n_source=30, n_target=20, n_test=50)
            few: dict[str, Any] = {"pairs": ((3, 8),), "shares": (0.0, 0.5, 1.0), "n_pair": 40, "noises": (0.0, 1.0)}
            return cls(**few, digits=(small,), source_steps=(0, 5, None), seeds=3, digit_seeds=3, sizes=(20, 40))
        if name == "quick":
            return cls()
        sizes = (100, 300, 1000, 2000) if name == "standard" else (100, 300, 1000, 2000, 4000)
        many = 32 if name == "standard" else 100
        pairs = ((0, 1), (3, 8), (4, 9), (2, 7), (5, 6))
        return cls(pairs=pairs, seeds=many, digit_seeds=4 * many, sizes=sizes)


def run(config: Config, cache: Cache) -> dict[str, Any]:
    """Compute what is not in the cache yet and return the record's results, claims among them."""
    claims: list[Claim] = []
    cells: list[dict[str, Any]] = []
    ranks: list[dict[str, Any]] = []
    by_start: dict[str, list[Row]] = {start: [] for start in STARTS}
    wanted = [
        PairDraw(task=PairTask(digits=pair, n_target=config.n_pair, seed=s), shares=config.shares)
        for pair in config.pairs
        for s in range(config.seeds)
    ]
    done = sweep(drawn_pair, wanted, cache, f"{NAME}: pairs")
    for number, pair in enumerate(config.pairs):
        draws = done[number * config.seeds : (number + 1) * config.seeds]
        for start in STARTS:
            where = f"MNIST {pair[0]} / {pair[1]}, {start}"
            here = [draw[start] for draw in draws]
            cells += [{"task": where, "pair": list(pair), "start": start, **_cell(here, i)} for i in range(len(config.shares))]
            found = _rank_within(here, where)
            ranks += found
            claims += [c for rank in found for c in _rank_claims(rank)]
            claims += _leave_one_out_claims(here, where)
            by_start[start] += [row for draw in here for row in draw]
    for start, rows in by_start.items():
        claims += _bound_claims(rows, f"MNIST pairs, {start}")
    digits, digit_ranks, digit_seconds = _digits(config, cache)
    claims += [c for rank in digit_ranks for c in _rank_claims(rank)]
    sizes, every, size_seconds = _sizes(config, cache)
    claims += _bound_claims(every, "digits → MNIST, parity")
    return {
        "pairs": cells,
        "digits": digits,
        "sizes": sizes,
        "ranks": [*ranks, *digit_ranks],
        "claims": [c.to_dict() for c in claims],
        "seconds": sum(draw["seconds"] for draw in done) + digit_seconds + size_seconds,
    }


# Pairs with random labels -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class PairDraw:
    """One draw of a pair, and the shares of random labels."""

    task: PairTask
    shares: tuple[float, ...]


def drawn_pair(drawn: PairDraw) -> dict[str, Any]:
    """`pair_draw` of one draw."""
    return pair_draw(drawn.task, drawn.shares)


def pair_draw(task: PairTask, shares: Sequence[float]) -> dict[str, list[Row]]:
    """For each start, a row of numbers for each share of random labels, all from one decomposition."""
    problem = task.problem()
    assert problem.source is not None and problem.test is not None
    (X_P, y_P), (X_Q, _), (X_T, y_T) = problem.source, problem.target, problem.test
    target = GramSpectrum.of(relu_gram(X_Q))
    test_target = relu_gram(X_T, X_Q)
    source = GramSpectrum.of(relu_gram(X_P))
    alpha = stages.coefficients(source, y_P, 1 / source.largest, None)
    transformed = {
        "from scratch": (np.zeros(len(X_Q)), np.zeros(len(X_T))),
        "pretrained": (relu_gram(X_Q, X_P) @ alpha, relu_gram(X_T, X_P) @ alpha),
    }
    refits = _Refits(target, test_target)
    rows: dict[str, list[Row]] = {start: [] for start in STARTS}
    for share in shares:
        labels = replace(task, random_share=share).target_labels()
        for start, (on_target, on_test) in transformed.items():
            remaining = labels - on_target
            outputs = on_test + test_target @ stages.coefficients(target, remaining, 1, None)
            rows[start].append(
                {
                    "share": share,
                    **_three_ways(target, remaining),
                    **_errors(outputs, y_T, share),
                    **_bounds(target, labels, remaining, on_test, test_target, y_T, share),
                    "leave_one_out_gap": refits.gap(remaining, outputs, y_T, share),
                }
            )
    return rows


def _three_ways(target: GramSpectrum, remaining: np.ndarray) -> Row:
    """What training data alone tell."""
    return {
        "measure": complexity_measure(target, remaining, 1, None),
        "cross_validation": generalised_cross_validation(target, remaining, 1, None),
        "leave_one_out": float(np.mean(leave_one_out(target, remaining) ** 2)),
    }


def _errors(outputs: np.ndarray, labels: np.ndarray, share: float) -> Row:
    """Test errors: rate and square against the true labels, and square where labels are random to the same share."""
    return {
        "test_error": float(np.mean(outputs * labels <= 0)),
        "test_mse_true": float(np.mean((outputs - labels) ** 2)),
        "test_mse": _expected((outputs - labels) ** 2, (outputs + labels) ** 2, share),
    }


def _expected(right: np.ndarray, flipped: np.ndarray, share: float) -> float:
    """Mean over points and over labels of which a share is replaced by a fair coin."""
    return float((1 - share / 2) * np.mean(right) + share / 2 * np.mean(flipped))


def _bounds(
    target: GramSpectrum,
    labels: np.ndarray,
    remaining: np.ndarray,
    on_test: np.ndarray,
    test_target: np.ndarray,
    y_T: np.ndarray,
    share: float,
) -> Row:
    """The bound to the end and at its best number of steps, each beside the expected loss there."""
    lr = 1 / target.largest
    bounds: dict[int | None, RademacherBound] = {
        k: rademacher_bound(target, labels, remaining, lr, k, DELTA, ramp if k is None else None) for k in _TARGET_STEPS
    }
    best = min(bounds, key=lambda k: bounds[k].total)
    row: Row = {"best_steps": best, "best_terms": [bounds[best].training, bounds[best].complexity, bounds[best].confidence]}
    for name, k in (("end", None), ("best", best)):
        outputs = on_test + test_target @ stages.coefficients(target, remaining, lr, k)
        row[f"{name}_bound"] = bounds[k].total
        row[f"{name}_loss"] = _expected(ramp(outputs, y_T), ramp(outputs, -y_T), share)
    return row


class _Refits:
    """The nets trained to the end on all points but one, on the test points, without a refit."""

    def __init__(self, target: GramSpectrum, test_target: np.ndarray) -> None:
        self.target = target
        # What a unit of a point's leave-one-out error takes from the test outputs when the point is left out.
        self.change = test_target @ target.apply(1 / target.values, np.eye(target.size))

    def gap(self, remaining: np.ndarray, outputs: np.ndarray, labels: np.ndarray, share: float) -> float:
        """Mean squared leave-one-out error, less the mean squared error of the same refits on the test points.

        The point left out and a test point are exchangeable: the expectation over draws is zero.
        """
        errors = leave_one_out(self.target, remaining)
        refitted = outputs[:, None] - self.change * errors[None, :]
        y = labels[:, None]
        return float(np.mean(errors**2)) - _expected((refitted - y) ** 2, (refitted + y) ** 2, share)


_MEANS = (
    "measure", "cross_validation", "leave_one_out", "test_error", "test_mse", "test_mse_true",
    "end_bound", "end_loss", "best_bound", "best_loss",
)  # fmt: skip


def _cell(draws: Sequence[Sequence[Row]], index: int) -> Row:
    """Means over draws at one share of random labels."""
    rows = [draw[index] for draw in draws]
    counts = {f"{name}_vacuous": sum(row[f"{name}_bound"] >= 1 for row in rows) for name in ("end", "best")}
    terms = np.mean([row["best_terms"] for row in rows], axis=0).tolist()
    means = {name: asdict(estimate([row[name] for row in rows])) for name in _MEANS}
    return {"share": rows[0]["share"], **means, **counts, "best_steps": [row["best_steps"] for row in rows], "best_terms": terms}


def _rank_within(draws: Sequence[Sequence[Row]], where: str) -> list[Row]:
    """Rank correlation over shares, within each draw and over all draws at once."""
    found = []
    for way in WAYS:
        error = [[row["test_error"] for row in draw] for draw in draws]
        values = [[row[way] for row in draw] for draw in draws]
        each = np.array([rank_correlation(v, e) for v, e in zip(values, error, strict=True)])
        pooled = rank_correlation(np.ravel(values).tolist(), np.ravel(error).tolist())
        interval = over_draws(partial(_mean_of, each), len(each), f"{where} {way}")
        found.append({"task": where, "way": way, "against": "test error", "of": "draws", **asdict(interval), "pooled": pooled})
    return found


def _mean_of(values: np.ndarray, chosen: np.ndarray) -> float:
    return float(values[chosen].mean())


def _rank_of_means(a: np.ndarray, b: np.ndarray, chosen: np.ndarray) -> float:
    return rank_correlation(a[chosen].mean(axis=0), b[chosen].mean(axis=0))


def _rank_claims(rank: Row) -> Iterator[Claim]:
    interval = Interval(rank["value"], rank["low"], rank["high"], rank["n"])
    at = f"mean over {rank['n']} draws" if rank["of"] == "draws" else f"means of {rank['n']} draws"
    yield least_claim(f"{WAYS[rank['way']]} orders as the {rank['against']} does, rank correlation", rank["task"], at, interval, LEAST)


def _leave_one_out_claims(draws: Sequence[Sequence[Row]], where: str) -> Iterator[Claim]:
    for rows in zip(*draws, strict=True):
        gap = estimate([row["leave_one_out_gap"] for row in rows])
        yield z_claim("leave-one-out less test error of the refits", where, f"{100 * rows[0]['share']:g} % random labels", gap, 0.0)


def _bound_claims(rows: Sequence[Row], where: str) -> Iterator[Claim]:
    for name, words in (("end", "trained to the end"), ("best", "at the best number of steps")):
        telling = [row for row in rows if row[f"{name}_bound"] < 1]
        broken = sum(row[f"{name}_loss"] > row[f"{name}_bound"] for row in telling)
        at = f"{len(telling)} of {len(rows)} bounds are below 1, the others are vacuous"
        yield frequency_claim(f"expected loss above its bound, {words}", where, at, broken, len(telling), DELTA)


# Digits -----------------------------------------------------------------------------------------------------------------------

_AGAINST = {"measure": "test_mse", "test_mse": "test_error", "cross_validation": "test_mse"}
"""What each way is held against: the rates of similar tasks differ by less than 4,000 test points tell."""


@dataclass(frozen=True, kw_only=True)
class DigitDraw:
    """One draw of the digits, lengths of pretraining and shares of random source labels."""

    task: DigitsTask
    source_steps: tuple[int | None, ...]
    noises: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class SizeDraw:
    """One draw of the digits, of one size."""

    task: DigitsTask


def _digits(config: Config, cache: Cache) -> tuple[list[Row], list[Row], float]:
    """Cells and rank correlations over lengths of pretraining and shares of random source labels, and the seconds they took."""
    cells: list[Row] = []
    ranks: list[Row] = []
    wanted = [
        DigitDraw(task=replace(task, seed=s), source_steps=config.source_steps, noises=config.noises)
        for task in config.digits
        for s in range(config.digit_seeds)
    ]
    done = sweep(drawn_digits, wanted, cache, f"{NAME}: digits")
    for number, task in enumerate(config.digits):
        label = f"digits → MNIST, {task.labels}"
        draws = [draw["rows"] for draw in done[number * config.digit_seeds : (number + 1) * config.digit_seeds]]
        for i, row in enumerate(draws[0]):
            names = ("measure", "cross_validation", "leave_one_out", "test_mse", "test_error")
            means = {name: asdict(estimate([draw[i][name] for draw in draws])) for name in names}
            cells.append({"task": label, "noise": row["noise"], "source_steps": row["source_steps"], **means})
        for way, against in _AGAINST.items():
            a, b = (np.array([[row[name] for row in draw] for draw in draws]) for name in (way, against))
            interval = over_draws(partial(_rank_of_means, a, b), len(draws), f"{label} {way}")
            within = asdict(estimate([rank_correlation(x, y) for x, y in zip(a, b, strict=True)]))
            words = {"test_mse": "squared test error", "test_error": "test error"}[against]
            ranks.append({"task": label, "way": way, "against": words, "of": "means", **asdict(interval), "within_draws": within})
    return cells, ranks, sum(draw["seconds"] for draw in done)


def drawn_digits(drawn: DigitDraw) -> dict[str, list[Row]]:
    """What is told of each task of one draw, and what its test points say."""
    task, rows = drawn.task, list[Row]()
    gram = GramBlocks.of(task.problem(), relu_gram)
    for noise in drawn.noises:
        problem = replace(task, label_noise=noise).problem()
        # Without pretraining, noise on the source makes no other task.
        steps = [k for k in drawn.source_steps if k != 0 or noise == drawn.noises[0]]
        told = generalisation(problem, Schedule(), steps, delta=DELTA, gram=gram)
        for known, outcome in zip(told, predict_stages(problem, Schedule(), steps, gram=gram), strict=True):
            rows.append(
                {
                    "noise": noise,
                    "source_steps": known.source_steps,
                    "measure": known.measure,
                    "cross_validation": known.cross_validation,
                    "leave_one_out": known.leave_one_out,
                    "test_mse": outcome.test_mse,
                    "test_error": outcome.test_error,
                }
            )
    return {"rows": rows}


def _sizes(config: Config, cache: Cache) -> tuple[list[Row], list[Row], float]:
    """The bound over the number of target points: cells, the rows of all draws, and the seconds they took."""
    cells: list[Row] = []
    every: list[Row] = []
    first = config.digits[0]
    wanted = [
        SizeDraw(task=replace(first, n_target=size, n_test=min(first.n_test, 5000 - size), seed=s))
        for size in config.sizes
        for s in range(config.seeds)
    ]
    done = sweep(drawn_size, wanted, cache, f"{NAME}: sizes", weight=lambda draw: draw.task.n_target**2)
    for number, size in enumerate(config.sizes):
        draws = done[number * config.seeds : (number + 1) * config.seeds]
        for start in STARTS:
            rows = [draw[start] for draw in draws]
            every += rows
            means = {name: asdict(estimate([row[name] for row in rows])) for name in ("end_bound", "end_loss", "best_bound", "best_loss")}
            counts = {f"{name}_vacuous": sum(row[f"{name}_bound"] >= 1 for row in rows) for name in ("end", "best")}
            terms = np.mean([row["best_terms"] for row in rows], axis=0).tolist()
            cells.append(
                {"n_target": size, "start": start, **means, **counts, "best_terms": terms, "best_steps": [r["best_steps"] for r in rows]}
            )
    return cells, every, sum(draw["seconds"] for draw in done)


def drawn_size(drawn: SizeDraw) -> dict[str, Row]:
    """For each start, the bounds and what they bound."""
    problem = drawn.task.problem()
    assert problem.source is not None and problem.test is not None
    (X_P, y_P), (X_Q, y_Q), (X_T, y_T) = problem.source, problem.target, problem.test
    target, test_target = GramSpectrum.of(relu_gram(X_Q)), relu_gram(X_T, X_Q)
    source = GramSpectrum.of(relu_gram(X_P))
    alpha = stages.coefficients(source, y_P, 1 / source.largest, None)
    on_target, on_test = relu_gram(X_Q, X_P) @ alpha, relu_gram(X_T, X_P) @ alpha
    return {
        "from scratch": _bounds(target, y_Q, y_Q, 0 * on_test, test_target, y_T, 0.0),
        "pretrained": _bounds(target, y_Q, y_Q - on_target, on_test, test_target, y_T, 0.0),
    }
