"""Where and how fast the kernel regime breaks down: small widths, large steps, late training.

Three sweeps, each from where the theory holds to where it does not. A net's displacement and test outputs are held against infinite width
(what a user gets wrong, sampling included), its displacement and loss against its own frozen kernel (what training does to the kernel).
For each error the place is located at which it passes 2, 5 and 10 per cent, over nets.

Claims tested. First-order drift, computed from the data alone, foretells the onset: where the mean drift passes a level, the predicted
drift is within a quarter of it: the displacement's in width, the loss's in training time (in time the displacement's drift changes its
sign, where no relative size means anything, and is compared at the end only). In step sizes the place itself is within five per cent of
the predicted one, or of the stability bound `2/λ_max` if the drift does not reach the level before. Beyond that bound the frozen kernel
diverges and the net does not: it moves until its own kernel bears the step (`η λ_max < 2`). Late training does not add to the error of
the displacement: at the end it is what first-order theory gives at the last step it is asked for, within a quarter; relative errors of
the loss pass every level much earlier, for a small change of the kernel acts at every step.

Labels are fair coin flips for widths and training times, so that they are hard to fit, and the task's own for step sizes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sim.estimate import Estimate, estimate, jackknife
from sim.experiments.arms import task_label
from sim.experiments.claims import Claim, gap_claim, sign_claim
from sim.experiments.scratch_runs import DriftTheory, ScratchRun, data_of, expected_drift, setting, train
from sim.records import Cache
from sim.sweep import sweep
from sim.tasks import DigitsTask, SphereTask

NAME = "breakdown"
TITLE = "Where the kernel regime breaks down: small width, large step, late training"

LEVELS = (0.02, 0.05, 0.1)
"""Relative errors whose places are sought."""

DRIFT = 0.25
"""Relative distance of the first-order drift from a level, where the drift of nets passes it, that is claimed.

Chosen, not derived: room for the next order, which grows with the level; at 10 % it is not small."""

STEP = 0.05
"""Relative distance of a step size at which nets pass a level from the predicted one that is claimed.

Chosen, not derived: about the distance of the rates that are tried near the stability bound."""

BOUND = 2.0
"""Stable step sizes are below this over `λ_max`."""

WHOLE = ("displacement against infinite width", "test outputs against infinite width")
DRIFTS = ("displacement against the frozen kernel", "logarithm of the loss against the frozen kernel's")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the experiment.

    Parameters
    ----------
    tasks : tuple
        Of which the target set is trained on, from scratch.
    widths : tuple of int, descending
    width_steps : int
        Steps of size `1/λ_max` at each width.
    rates : tuple of float, ascending
        Step sizes in units of `1/λ_max` of the net's own kernel, below and above 2.
    rate_width, rate_steps, late_rate_steps : int
        Width; steps at which errors are compared; steps after which a net has to have found weights that bear the step size.
    predicted_rates : int
        How many of the largest stable rates first-order theory is asked for.
    times : tuple of int, ascending
        Steps of size `1/λ_max`.
    time_width : int
    predicted_time : int
        The last of `times` that first-order theory is asked for.
    seeds : int ≥ 3
        Nets at each width, step size and so on.
    directions : int
        For the predicted drift.
    dtype : "float64"
    """

    tasks: tuple[SphereTask | DigitsTask, ...]
    widths: tuple[int, ...] = (4096, 2048, 1024, 512, 256, 128, 64, 32)
    width_steps: int = 60
    rates: tuple[float, ...] = (0.1, 0.3, 1.0, 1.5, 1.7, 1.8, 1.9, 1.95, 2.05, 2.2, 2.5, 3.0, 4.0)
    rate_width: int = 1024
    rate_steps: int = 40
    late_rate_steps: int = 200
    predicted_rates: int = 4
    times: tuple[int, ...] = (1, 2, 4, 8, 15, 27, 48, 81, 243, 729, 2187)
    time_width: int = 512
    predicted_time: int = 81
    seeds: int = 8
    directions: int = 32
    dtype: str = "float64"

    @classmethod
    def profile(cls, name: str) -> Config:
        """`"smoke"`, `"quick"`, `"standard"` or `"full"`."""
        if name == "smoke":
            small: dict[str, Any] = {"n_source": 1, "n_target": 5, "n_test": 8}
            return cls(
                tasks=(SphereTask(**small), DigitsTask(**small)),
                widths=(512, 128, 32),
                width_steps=8,
                rates=(1.0, 1.6, 1.9, 2.5),
                rate_width=2048,
                rate_steps=8,
                late_rate_steps=30,
                predicted_rates=2,
                times=(1, 3, 9, 27),
                time_width=256,
                predicted_time=27,
                seeds=4,
                directions=8,
            )
        sets: dict[str, Any] = {"n_source": 1, "n_target": 16, "n_test": 40}
        if name == "quick":
            return cls(tasks=(SphereTask(**sets), DigitsTask(**sets)))
        sets["n_target"] = 30
        long = name == "full"
        return cls(
            tasks=(SphereTask(**sets), DigitsTask(**sets)),
            widths=tuple(2**e for e in range(17 if long else 14, 4, -1)),
            width_steps=150,
            rates=(
                0.1,
                0.3,
                1.0,
                1.3,
                1.5,
                1.6,
                1.7,
                1.75,
                1.8,
                1.85,
                1.9,
                1.93,
                1.96,
                1.98,
                2.02,
                2.05,
                2.1,
                2.2,
                2.4,
                2.7,
                3.0,
                3.5,
                4.0,
            ),
            rate_width=2048,
            rate_steps=60,
            late_rate_steps=600,
            predicted_rates=10,
            times=(1, 2, 3, 5, 9, 15, 27, 48, 81, 140, 243, 729, 2187, 6561, *((19683, 59049, 100_000) if long else (20_000,))),
            time_width=4096 if long else 1024,
            predicted_time=243,
            seeds=32 if long else 16,
            directions=256 if long else 64,
        )


@dataclass(frozen=True, eq=False)
class Curve:
    """One error over one sweep, from where the theory holds on.

    Attributes
    ----------
    x : tuple of float
    nets : (seeds, len(x)) array
        The error of each net, signed or not.
    predicted : tuple of (float or None)
        First-order drift; `None` where it was not asked for.
    root : bool
        Whether the error over nets is the root of the mean square; else it is the mean's absolute value.
    """

    sweep: str
    quantity: str
    x: tuple[float, ...]
    nets: np.ndarray
    predicted: tuple[float | None, ...]
    root: bool

    def errors(self, nets: np.ndarray) -> list[float]:
        """Over nets, at each place."""
        return list(np.sqrt(np.mean(nets**2, axis=0)) if self.root else np.abs(nets.mean(axis=0)))

    def passes(self, level: float) -> Estimate | None:
        """Where nets pass `level`, with its jackknife error."""
        return jackknife(self.nets, lambda nets: crossing(self.x, self.errors(nets), level))

    def expected(self, level: float) -> float | None:
        """Where the prediction does, or has from the start (`None`); for step sizes the stability bound if it does not before."""
        known = [(x, abs(p)) for x, p in zip(self.x, self.predicted, strict=True) if p is not None]
        if not known or known[0][1] >= level:
            return None
        place = crossing([x for x, _ in known], [p for _, p in known], level)
        return BOUND if place is None and self.sweep == "step size" else place

    def drift_at(self, place: float) -> float | None:
        """The prediction's absolute value at a place, by the same straight lines; `None` beyond what was asked for."""
        known = sorted((math.log(x), math.log(abs(p))) for x, p in zip(self.x, self.predicted, strict=True) if p)
        if not known or not known[0][0] <= math.log(place) <= known[-1][0]:
            return None
        return math.exp(float(np.interp(math.log(place), [x for x, _ in known], [p for _, p in known])))

    def to_dict(self, task: str) -> dict[str, Any]:
        """As a record keeps it."""
        sizes = [asdict(estimate(column.tolist())) for column in self.nets.T]
        thresholds = []
        for level in LEVELS:
            place = self.passes(level)
            thresholds.append({"level": level, "place": place and asdict(place), "predicted": self.expected(level)})
        about: dict[str, Any] = {"task": task, "sweep": self.sweep, "quantity": self.quantity, "x": list(self.x)}
        return {**about, "error": self.errors(self.nets), "nets": sizes, "predicted": list(self.predicted), "thresholds": thresholds}


def run(config: Config, cache: Cache) -> dict[str, Any]:
    """Train what is not in the cache yet and return the record's results, claims among them."""
    curves: list[dict[str, Any]] = []
    claims: list[Claim] = []
    beyond: list[dict[str, Any]] = []
    plans = [_plan(config, task) for task in config.tasks]
    wanted = [each for plan in plans for each in plan.theory.values()]
    expected = sweep(expected_drift, wanted, cache, f"{NAME}: theory", weight=lambda each: each.cost, depends=data_of)
    runs = [run for plan in plans for run in (*plan.widths, *plan.rates, *plan.late, *plan.times)]
    groups = sweep(train, runs, cache, NAME, weight=lambda run: run.cost, depends=data_of)
    seconds = sum(part["seconds"] for part in (*expected, *groups))
    answers, trained = iter(expected), (group["nets"] for group in groups)
    for task, plan in zip(config.tasks, plans, strict=True):
        label = task_label(task)
        known = {place: next(answers) for place in plan.theory}
        widths, rates, late = ([next(trained) for _ in part] for part in (plan.widths, plan.rates, plan.late))
        times = [net for _ in plan.times for net in next(trained)]
        made = [
            *_over_widths(config, task, widths, known),
            *_over_rates(config, rates, known),
            *_over_times(config, task, times, known),
        ]
        curves += [curve.to_dict(label) for curve in made]
        for curve in made:
            claims += _onset(config, label, curve)
        claims += _late(config, label, made[-2])
        for rate, group in zip([r for r in config.rates if r > BOUND], late, strict=True):
            sharpness = estimate([net["sharpness"] for net in group])
            where = f"{label}, width {config.rate_width:,}"
            words = f"{BOUND:g} less η λ_max of the net's kernel after {config.late_rate_steps:,} steps"
            spare = Estimate(BOUND - sharpness.mean, sharpness.standard_error, sharpness.n)
            claims.append(sign_claim(words, where, f"step size {rate:g}/λ_max", spare, 1.0))
            beyond.append({"task": label, "rate": rate, "sharpness": asdict(sharpness)})
    return {"curves": curves, "beyond": beyond, "claims": [c.to_dict() for c in claims], "seconds": seconds}


@dataclass(frozen=True)
class _Plan:
    """The nets of the three sweeps, those beyond the stability bound once more for longer, and the predictions to ask for."""

    widths: list[ScratchRun]
    rates: list[ScratchRun]
    late: list[ScratchRun]
    times: list[ScratchRun]
    theory: dict[tuple[str, float], DriftTheory]


def _plan(config: Config, task: SphereTask | DigitsTask) -> _Plan:
    common: dict[str, Any] = {"task": task, "dtype": config.dtype}
    hard: dict[str, Any] = {"rate": 1.0, "random_labels": True}
    at_rate: dict[str, Any] = {**common, "nets": config.seeds, "width": config.rate_width, "own_rate": True}
    ask: dict[str, Any] = {"task": task, "directions": config.directions}
    theory = {("width", 0.0): DriftTheory(**ask, **hard, steps=config.width_steps)}
    for rate in [r for r in config.rates if r < BOUND][-config.predicted_rates :]:
        theory["step size", rate] = DriftTheory(**ask, rate=rate, steps=config.rate_steps)
    for k in config.times:
        if k <= config.predicted_time:
            theory["time", float(k)] = DriftTheory(**ask, **hard, steps=k)
    return _Plan(
        widths=[ScratchRun(**common, **hard, nets=config.seeds, width=m, steps=(config.width_steps,)) for m in config.widths],
        rates=[ScratchRun(**at_rate, rate=r, steps=(config.rate_steps,)) for r in config.rates],
        # The frozen kernel diverges there: after enough steps beyond any number.
        late=[ScratchRun(**at_rate, rate=r, steps=(config.late_rate_steps,), compare=False) for r in config.rates if r > BOUND],
        # One by one: they take the longest.
        times=[ScratchRun(**common, **hard, width=config.time_width, steps=config.times, first_seed=i) for i in range(config.seeds)],
        theory=theory,
    )


Known = dict[tuple[str, float], dict[str, Any]]


def _against_infinite_width(net: dict[str, Any], displacement: float, index: int = 0) -> tuple[float, float]:
    """Relative error of the displacement, and length of the relative error of the test outputs."""
    record = net["records"][index]
    outputs = np.sum([record[part][1] for part in ("start", "sampling", "drift")], axis=0)
    return record["displacement"] / displacement - 1, float(np.linalg.norm(outputs))


def _own(record: dict[str, Any]) -> float:
    """Displacement over that of the net's own frozen kernel, less 1."""
    return float(record["displacement"] / record["frozen_displacement"] - 1)


def _over_widths(config: Config, task: SphereTask | DigitsTask, groups: list[list[dict[str, Any]]], known: Known) -> Iterator[Curve]:
    displacement = setting(task, True).displacement(1.0, config.width_steps)
    whole = np.array([[_against_infinite_width(net, displacement) for net in nets] for nets in groups])
    x, drift = tuple(float(m) for m in config.widths), known["width", 0.0]["displacement"]
    for i, quantity in enumerate(WHOLE):
        yield Curve("width", quantity, x, whole[:, :, i].T, (None,) * len(x), True)
    own = np.array([[_own(net["records"][0]) for net in nets] for nets in groups])
    yield Curve("width", DRIFTS[0], x, own.T, tuple(drift / math.sqrt(m) for m in x), False)


def _over_rates(config: Config, groups: list[list[dict[str, Any]]], known: Known) -> Iterator[Curve]:
    own = np.array([[_own(net["records"][0]) for net in nets] for nets in groups])
    found = [known.get(("step size", rate)) for rate in config.rates]
    predicted = tuple(None if each is None else each["displacement"] / math.sqrt(config.rate_width) for each in found)
    yield Curve("step size", DRIFTS[0], config.rates, own.T, predicted, True)


def _over_times(config: Config, task: SphereTask | DigitsTask, nets: list[dict[str, Any]], known: Known) -> Iterator[Curve]:
    x, about = tuple(float(k) for k in config.times), setting(task, True)
    displacements = [about.displacement(1.0, k) for k in config.times]
    whole = np.array([[_against_infinite_width(net, d, i) for net in nets] for i, d in enumerate(displacements)])
    for i, quantity in enumerate(WHOLE):
        yield Curve("time", quantity, x, whole[:, :, i].T, (None,) * len(x), True)
    found, root = [known.get(("time", float(k))) for k in config.times], math.sqrt(config.time_width)
    own = np.array([[_own(record) for record in net["records"]] for net in nets])
    yield Curve("time", DRIFTS[0], x, own, tuple(None if f is None else f["displacement"] / root for f in found), False)
    # Below rounding a loss says nothing.
    seen = [i for i, k in enumerate(config.times) if k <= config.predicted_time]
    losses = np.array([[math.log(net["records"][i]["loss"] / net["records"][i]["frozen_loss"]) for i in seen] for net in nets])
    yield Curve("time", DRIFTS[1], tuple(x[i] for i in seen), losses, tuple(f["log_loss"] / root for f in found if f is not None), False)


def _onset(config: Config, label: str, curve: Curve) -> Iterator[Claim]:
    """Where nets pass each level against where they are predicted to, for the curves with a prediction."""
    if all(p is None for p in curve.predicted) or (curve.sweep, curve.quantity) == ("time", DRIFTS[0]):
        return
    setups = {"width": config.width_steps, "step size": config.rate_width, "time": config.time_width}
    unit = "steps" if curve.sweep == "width" else "width"
    where = f"{label}, {curve.sweep}, {unit} {setups[curve.sweep]:,}"
    for level in LEVELS:
        place = curve.passes(level)
        if place is None:
            continue
        at = f"{100 * level:g} %"
        if curve.sweep == "step size":
            expected = curve.expected(level)
            if expected is not None:
                words = f"step size over 1/λ_max at which the error passes a level: {curve.quantity}"
                yield gap_claim(words, where, at, place, expected, STEP)
            continue
        drift = curve.drift_at(place.mean)
        if drift is not None:
            # What the uncertainty of the place makes of the predicted drift there.
            ends = [curve.drift_at(place.mean + s * place.standard_error) for s in (-1, 1) if place.mean + s * place.standard_error > 0]
            there = Estimate(drift, max((abs(end - drift) for end in ends if end is not None), default=0.0), place.n)
            yield gap_claim(f"first-order drift where nets pass a level: {curve.quantity}", where, at, there, level, DRIFT)


def _late(config: Config, label: str, curve: Curve) -> Iterator[Claim]:
    last = [p for p in curve.predicted if p is not None][-1]
    where = f"{label}, width {config.time_width:,}"
    at = f"{config.times[-1]:,} steps"
    yield gap_claim("drift of the displacement at the end of late training", where, at, estimate(curve.nets[:, -1].tolist()), last, DRIFT)


def crossing(x: Sequence[float], errors: Sequence[float], level: float) -> float | None:
    """Where errors first pass `level`, by straight lines in logarithms; `None` where they do not, or have from the start."""
    for i in range(1, len(x)):
        if errors[i - 1] < level <= errors[i]:
            low, high = math.log(max(errors[i - 1], 1e-300)), math.log(errors[i])
            share = (math.log(level) - low) / (high - low)
            return math.exp(math.log(x[i - 1]) + share * (math.log(x[i]) - math.log(x[i - 1])))
    return None
