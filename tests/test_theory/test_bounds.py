"""Bounds: that they hold is the registry's to check; here that they say what they should, where they apply, and that faults are found."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from random import Random

import mpmath as mp
import numpy as np
import pytest
from flint import arb
from scipy.stats import binom

from tests.helpers import assert_exact
from theory import InvalidInput
from theory.bounds import chance, initial_kernel, metric, perturbed, transfer
from theory.bounds.generalisation import generalisation_bound, net_complexity
from theory.bounds.guarantee import guarantee, least_width
from theory.bounds.transfer import Band, KernelErrors, error_bounds
from theory.certified.balls import inner, to_floats
from theory.certified.inverse import Inverse
from theory.definitions import network, problems
from theory.errors import DoesNotApply
from theory.formula import Domain
from theory.inequality import at_least, check_bound, explore
from theory.numeric.gram import relu_gram
from theory.numeric.spectrum import GramSpectrum
from theory.predict import predict
from theory.problem import Schedule, TransferProblem
from theory.registry import BOUNDS, get


@pytest.mark.parametrize("bound", BOUNDS, ids=lambda b: b.name)
def test_every_bound_holds_on_drawn_cases(bound):
    result = check_bound(bound)
    assert result.passed, "\n".join(str(f) for f in result.failures)
    assert result.cases == bound.domain.cases
    assert result.steps >= 2


@pytest.mark.parametrize("bound", [b for b in BOUNDS if b.name != "guarantee"], ids=lambda b: b.name)
def test_every_bound_holds_where_the_search_drives_it(bound):
    result = explore(bound, 60)
    assert result.passed, "\n".join(str(f) for f in result.failures)
    assert result.cases >= 60
    assert result.slack is not None and math.isfinite(result.slack)


def test_the_guarantee_holds_where_the_search_drives_it():
    result = explore(get("guarantee"), 10)
    assert result.passed, "\n".join(str(f) for f in result.failures)


# Planted faults --------------------------------------------------------------------------------------------------------------


def smaller(function, factor):
    """The bound, less than it should be."""
    return lambda *args, **options: factor * function(*args, **options)


def stage_without_start(*args, **options):
    return perturbed.perturbed_stage(*args, **{**options, "start_error": 0.0})


def errors_of_the_source_only(problem, schedule, errors):
    return transfer.error_bounds(problem, schedule, replace(errors, target_source=0.0))


def guarantee_without_flips(problem, schedule, **options):
    found = guarantee(problem, schedule, **options)
    return replace(found, radius=found.radius / 100)


FAULTS = {
    "gain_from_energies": lambda ratio, condition: metric.gain_range(ratio, condition**0.9),
    "longest_path": smaller(perturbed.longest_path, 0.5),
    "generalisation_at_width": lambda problem, promised, delta: replace(
        generalisation_bound(problem, promised, delta=delta), training=0.0, complexity=0.0, flips=0.0, confidence=0.0
    ),
    "residual_deviation": smaller(perturbed.residual_deviation, 0.9),
    "perturbed_stage": stage_without_start,
    "a_posteriori": errors_of_the_source_only,
    "neuron_movement": smaller(initial_kernel.neuron_movement, 0.5),
    "kernel_change": smaller(initial_kernel.kernel_change, 0.5),
    "least_fit": lambda spectrum, y: float(np.sum((spectrum.vectors.T @ y) ** 2 / spectrum.largest)),
    "most_successes": lambda p, trials, delta: p,
    "bernstein_deviation": smaller(chance.bernstein_deviation, 0.1),
    "deviation_of_mean": smaller(chance.deviation_of_mean, 0.2),
    "entrywise_deviation": smaller(initial_kernel.entrywise_deviation, 0.4),
    "initial_deviation": smaller(initial_kernel.initial_deviation, 0.2),
    "least_eigenvalue_width": lambda smallest, norm, points, share, delta: points,
    "flipped_share": lambda radius, scale, *rest: initial_kernel.flip_probability(radius, scale),
    "guarantee": guarantee_without_flips,
    "energy_enclosure": lambda inverse, b: (
        2 * inner(b, inverse.approximate * b) - inner(inverse.approximate * b, inverse.matrix * (inverse.approximate * b))
    ),
    "solution_enclosure": lambda inverse, b: inverse.approximate * b,
    "inverse_enclosure": lambda A: Inverse.of(A.mid()),
    "largest_eigenvalue_enclosure": lambda M: arb(float(np.linalg.eigvalsh(to_floats(M))[-1])),
    "squaring_error": lambda squarings, y: tuple(replace(near, error=arb(0)) for near in squarings.apply(y)),
    "net_complexity": lambda trace, B, C, flipped, n: net_complexity(trace, B / 2, C, flipped, n),
}


@pytest.mark.parametrize("name", [b.name for b in BOUNDS])
def test_a_bound_that_is_too_small_is_found(name):
    bound = get(name)
    faulty = replace(bound, twin=functools.wraps(bound.twin)(FAULTS[name]))
    result = check_bound(faulty)
    assert {f.part for f in result.failures} == {"bound"}
    assert {f.name for f in result.failures} == {bound.twin_name}


def test_a_case_that_cannot_be_evaluated_is_a_failure_by_name():
    def broken(*_):
        raise ZeroDivisionError("nothing to divide by")

    bound = get("kernel_change")
    result = check_bound(replace(bound, twin=functools.wraps(bound.twin)(broken)))
    assert "ZeroDivisionError" in str(result.failures[0])


def test_a_bound_of_which_no_case_can_be_compared_is_not_passed():
    bound = get("least_eigenvalue_width")
    result = check_bound(replace(bound, pairs=functools.wraps(bound.pairs)(lambda *_: [])))
    assert "none of 60 cases" in str(result.failures[0])


def test_frequencies_are_refuted_only_when_chance_cannot_explain_them():
    assert_exact(at_least(3, 20, 0.1), float(binom.sf(2, 20, 0.1)), ulps=64)
    assert at_least(0, 20, 0.1) == 1
    bound = get("flipped_share")
    domain = Domain(description="one point", draw=lambda rng, index: {**bound.domain.draw(rng, index), "neurons": 3}, cases=40)
    assert check_bound(replace(bound, domain=domain)).passed


# Tails -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [1e-6, 0.01, 0.3, 0.5])
@pytest.mark.parametrize("trials", [1, 30, 10**6, 10**12])
def test_largest_share_solves_its_equation(p, trials):
    f = chance.most_successes(p, trials, 0.05)
    assert p <= f <= 1
    if f < 1:
        with mp.workdps(30):
            goal = mp.log(20) / trials
            kl = f * mp.log(mp.mpf(f) / p) + (1 - mp.mpf(f)) * mp.log((1 - mp.mpf(f)) / (1 - mp.mpf(p)))
            # Near p, where kl is flat, its root is only as good as the square of what kl resolves.
            slope = abs(mp.log(mp.mpf(f) * (1 - p) / (p * (1 - mp.mpf(f)))))
            assert abs(kl - goal) <= 1e-13 * f * slope + 1e-12 * goal


def test_of_nothing_nothing_succeeds():
    assert chance.most_successes(0.0, 10, 0.1) == 0


@pytest.mark.parametrize("delta", [0, 1, -0.1, 2, math.nan, "small", True])
def test_delta_outside_its_range_is_refused(delta):
    with pytest.raises(InvalidInput, match="delta is"):
        chance.most_successes(0.1, 10, delta)
    problem = problems.problem(Random(0))
    with pytest.raises(InvalidInput, match="delta is"):
        guarantee(problem, width=1000, delta=delta)


@pytest.mark.parametrize("trials", [0, -1, 1.5])
def test_tails_need_a_number_of_trials(trials):
    for call in (
        lambda: chance.most_successes(0.1, trials, 0.1),
        lambda: chance.bernstein_deviation(1.0, 1.0, 2, trials, 0.1),
        lambda: chance.deviation_of_mean(1.0, 1.0, trials, 0.1),
    ):
        with pytest.raises(InvalidInput, match="independent trials"):
            call()


def test_hoeffding_and_bernstein_are_wider():
    for p, trials in ((0.5, 100), (0.01, 1000)):
        log = math.log(1 / 0.05)
        assert chance.most_successes(p, trials, 0.05) <= p + math.sqrt(log / (2 * trials))
        assert chance.most_successes(p, trials, 0.05) <= p + math.sqrt(2 * p * log / trials) + log / trials


# A perturbed stage -------------------------------------------------------------------------------------------------------------


def _spectrum(seed=0, n=4):
    F = np.random.default_rng(seed).standard_normal((n, n))
    return GramSpectrum.of(F @ F.T), np.random.default_rng(seed + 1).standard_normal(n)


def test_without_error_nothing_differs():
    spectrum, y = _spectrum()
    for steps in (0, 3, 5000, None):
        stage = perturbed.perturbed_stage(spectrum, y, 1 / spectrum.largest, steps, kernel_error=0.0)
        assert stage.residual == 0
        # What is left of the blocks is their rounding.
        assert stage.coefficients <= 1e-5 * stage.ideal
        assert stage.shortest <= stage.ideal <= stage.longest


def test_blocks_bound_what_single_steps_give(monkeypatch):
    spectrum, y = _spectrum()
    options = {"kernel_error": 1e-3 * spectrum.smallest, "start_error": 0.01}
    exact = perturbed.perturbed_stage(spectrum, y, 1 / spectrum.largest, 1000, **options)
    monkeypatch.setattr(perturbed, "_SINGLY", 8)
    blocks = perturbed.perturbed_stage(spectrum, y, 1 / spectrum.largest, 1000, **options)
    for name in ("residual", "path", "coefficients", "longest"):
        assert getattr(exact, name) <= getattr(blocks, name) * (1 + 1e-12)
        assert getattr(blocks, name) <= 1.2 * getattr(exact, name)


def test_many_steps_approach_the_end():
    spectrum, y = _spectrum()
    options = {"kernel_error": 0.1 * spectrum.smallest}
    long = perturbed.perturbed_stage(spectrum, y, 1 / spectrum.largest, 10**7, **options)
    end = perturbed.perturbed_stage(spectrum, y, 1 / spectrum.largest, None, **options)
    assert long.residual <= 1e-12
    assert long.path <= end.path * (1 + 1e-9) <= 1.05 * long.path


def test_an_error_above_the_least_eigenvalue_promises_no_end_but_every_finite_step():
    spectrum, y = _spectrum()
    error = 2 * spectrum.smallest
    with pytest.raises(InvalidInput, match="training to the end is covered for errors below"):
        perturbed.perturbed_stage(spectrum, y, 1 / spectrum.largest, None, kernel_error=error)
    assert math.isfinite(perturbed.perturbed_stage(spectrum, y, 1 / spectrum.largest, 20, kernel_error=error).longest)
    # Growth beyond floats promises nothing, and says so by infinity rather than a wrong number.
    far = perturbed.perturbed_stage(spectrum, y, 1 / spectrum.largest, 10**9, kernel_error=error)
    assert far.residual == math.inf and far.longest == math.inf and far.shortest == 0


@pytest.mark.parametrize("name", ["kernel_error", "moments_error", "start_error"])
@pytest.mark.parametrize("value", [-1e-9, math.nan])
def test_errors_must_be_numbers_from_zero(name, value):
    spectrum, y = _spectrum()
    with pytest.raises(InvalidInput, match=name):
        perturbed.perturbed_stage(spectrum, y, 0.1 / spectrum.largest, 3, **{"kernel_error": 0.0, name: value})


@pytest.mark.parametrize(("name", "value"), [("steps", -1), ("steps", 2.5), ("lr", -1.0), ("lr", math.inf)])
def test_steps_and_their_size_must_be_possible(name, value):
    spectrum, y = _spectrum()
    options = {"lr": 0.1 / spectrum.largest, "steps": 3, name: value}
    with pytest.raises(InvalidInput, match=f"{name} is {value}"):
        perturbed.perturbed_stage(spectrum, y, options["lr"], options["steps"], kernel_error=0.1)


@pytest.mark.parametrize("steps", [3, 5000, 10**6])
@pytest.mark.parametrize("kernel_error", [5.0, math.inf])
@pytest.mark.parametrize("lr", [1.0, 2.0])
def test_where_there_is_nothing_to_learn_nothing_moves(steps, kernel_error, lr):
    """At any error, growth beyond floats included; at lr = 2 a step learns all of it."""
    spectrum = GramSpectrum(np.array([0.5, 0.5]), np.eye(2), 0.0)
    stage = perturbed.perturbed_stage(spectrum, np.zeros(2), lr, steps, kernel_error=kernel_error)
    assert (stage.residual, stage.path, stage.coefficients, stage.longest) == (0, 0, 0, 0)


def test_fast_decay_with_a_large_error_is_no_growth():
    """`(c + ηε)/c` to the power `k` overflows here, `c + ηε < 1` does not."""
    spectrum = GramSpectrum(np.array([1.0]), np.eye(1), 0.0)
    stage = perturbed.perturbed_stage(spectrum, np.ones(1), 0.999, 5000, kernel_error=0.9)
    assert stage.residual < 1e-200
    assert stage.path == pytest.approx(0.999 / (0.999 - 0.999 * 0.9), rel=1e-12)
    assert perturbed.residual_deviation(0.5, 1.0, 0.5, 0.0, 1.0, 5000) == 1


@pytest.mark.parametrize("eigenvalue", [1e-3, 1e-9, 1e-13])
@pytest.mark.parametrize("error", [0.5, 1e-9])
def test_slow_modes_keep_their_digits(eigenvalue, error):
    """One mode alone reaches the envelope: against its sums at 60 digits, after as many steps as the mode needs."""
    spectrum = GramSpectrum(np.array([eigenvalue, 1.0]), np.eye(2), 0.0)
    steps = int(3 / eigenvalue)
    stage = perturbed.perturbed_stage(spectrum, np.array([1.0, 0.0]), 1.0, steps, kernel_error=error * eigenvalue)
    with mp.workdps(60):
        c = 1 - mp.mpf(eigenvalue)
        x = c + mp.mpf(error * eigenvalue)
        residual, path = x**steps - c**steps, (x**steps - 1) / (x - 1)
        assert_exact(stage.residual, float(residual), ulps=4096)
        assert_exact(stage.path, float(path), ulps=4096)
        shift = path - (c**steps - 1) / (c - 1)
        left = residual + error * eigenvalue * path
        least = mp.sqrt(min(shift**2, shift * left, left**2 / eigenvalue))
    # Sums of blocks exceed it by a share at most, and fall below by no more than rounding.
    assert float(least) * (1 - 1e-12) <= stage.coefficients <= 1.1 * float(least)


# A posteriori ----------------------------------------------------------------------------------------------------------------


def test_predictions_of_the_bands_are_those_of_predict():
    for seed in range(6):
        problem = problems.problem(Random(seed), tests=True)
        schedule = Schedule(source_steps=5, target_steps=9)
        outcome, bounds = predict(problem, schedule), error_bounds(problem, schedule, 1e-3)
        for name in ("gradient_energy", "displacement", "displacement_scratch", "measured_gain", "target_loss", "source_loss"):
            band = getattr(bounds, name)
            assert_exact(band.predicted, getattr(outcome, name), ulps=256, scale=1.0)
            assert band.predicted in band


def test_bands_shrink_with_the_error_in_proportion():
    problem = problems.problem(Random(3), tests=True)
    schedule = Schedule(source_steps=5, target_steps=9)
    wide, narrow = (error_bounds(problem, schedule, e) for e in (1e-6, 1e-8))
    for name in ("gradient_energy", "displacement", "target_loss", "source_loss"):
        ratio = getattr(wide, name).error / getattr(narrow, name).error
        # Displacement has a term in √ε of the coefficients' deviation; no quantity falls more slowly than √ε.
        assert 9 <= ratio <= 110, name
    assert 90 <= wide.test_outputs / narrow.test_outputs <= 110


def test_what_is_not_known_promises_nothing():
    problem = problems.problem(Random(3), tests=True)
    errors = KernelErrors(source=0.01, target=0.01, target_source=0.01, source_target=math.inf, source_moments=0.01, target_moments=0.01)
    bounds = error_bounds(problem, Schedule(source_steps=5, target_steps=9), errors)
    assert bounds.source_outputs == math.inf and bounds.test_outputs == math.inf
    assert math.isfinite(bounds.displacement.high)


def test_growth_beyond_floats_is_infinite_and_never_nan():
    axes = np.eye(4)
    apart = TransferProblem(source=(axes[:2], np.ones(2)), target=(axes[2:], np.ones(2)))
    shared = TransferProblem(source=(axes[:2], np.ones(2)), target=(axes[1:3], np.ones(2)))
    none = KernelErrors(source=1.5, target=0.1, target_source=0.0, source_target=0.0, source_moments=0.1, target_moments=0.1)
    for problem, schedule, errors in (
        (apart, Schedule(source_steps=4000, target_steps=4000), 1.5),
        (shared, Schedule(source_steps=4000, target_steps=10), none),
        # A residual whose square overflows.
        (shared, Schedule(source_steps=10, target_steps=2400), 0.6),
    ):
        bounds = error_bounds(problem, schedule, errors)
        assert bounds.target_loss.high == math.inf and bounds.target_loss.low == 0
        for value in vars(bounds).values():
            assert not any(map(math.isnan, vars(value).values() if isinstance(value, Band) else [value]))


def test_any_real_number_is_an_error():
    problem = problems.problem(Random(3))
    schedule = Schedule(source_steps=2, target_steps=2)
    assert error_bounds(problem, schedule, np.float32(0.25)) == error_bounds(problem, schedule, 0.25)
    with pytest.raises(InvalidInput, match="bool"):
        error_bounds(problem, schedule, True)


def test_nothing_to_learn_has_no_gain():
    problem = problems.problem(Random(3))
    zero = TransferProblem(source=problem.source, target=(problem.target[0], 0 * problem.target[1]))
    assert error_bounds(zero, Schedule(source_steps=0, target_steps=3), 0.01).measured_gain is None


def test_bad_kernel_errors_are_refused():
    problem = problems.problem(Random(3))
    with pytest.raises(InvalidInput, match="a number ≥ 0"):
        error_bounds(problem, None, -0.1)
    with pytest.raises(InvalidInput, match="KernelErrors or a number"):
        error_bounds(problem, None, "small")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="source_moments"):
        KernelErrors(source=0.0, target=0.0, target_source=0.0, source_target=0.0, source_moments=math.nan, target_moments=0.0)


def test_along_residuals_is_never_more_than_the_norm():
    problem = problems.problem(Random(5), tests=True)
    prepared = transfer.PerturbedTransfer(problem, Schedule(source_steps=6, target_steps=6))
    W, a = network.initial(64, problem.target[0].shape[1], 1.0, 0)
    run = network.run(problem, prepared.schedule, W, a)
    norms, along = network.kernel_errors(problem, prepared.schedule, prepared.gram, W, a, run)
    for name in vars(norms):
        assert getattr(along, name) <= getattr(norms, name) * (1 + 1e-12), name


def test_kernels_in_chunks_are_those_in_one(monkeypatch):
    problem = problems.problem(Random(5), tests=True)
    prepared = transfer.PerturbedTransfer(problem, Schedule(source_steps=4, target_steps=5))
    W, a = network.initial(256, problem.target[0].shape[1], 0.3, 0)
    run = network.run(problem, prepared.schedule, W, a)
    whole = network.kernel_errors(problem, prepared.schedule, prepared.gram, W, a, run)
    monkeypatch.setattr(network, "_CHUNK", 100)
    for chunked, once in zip(network.kernel_errors(problem, prepared.schedule, prepared.gram, W, a, run), whole, strict=True):
        for name, value in vars(once).items():
            assert_exact(getattr(chunked, name), value, ulps=64, scale=1.0)


# A priori --------------------------------------------------------------------------------------------------------------------


def spread(seed=0):
    return problems.spread_problem(Random(seed), points=2)


def test_least_width_is_where_the_guarantee_begins():
    problem = spread()
    found = least_width(problem, wanted=0.2)
    assert found.bounds.displacement.error <= 0.2 * found.bounds.displacement.predicted
    assert guarantee(problem, width=found.width).bounds == found.bounds
    # Bisection leaves a part in a thousand.
    narrower = 2 * (found.width * 99 // 200)
    assert guarantee(problem, width=narrower).bounds.displacement.error > 0.2 * found.bounds.displacement.predicted


def test_a_width_below_the_guarantee_is_told_the_least():
    problem = spread()
    needed = least_width(problem, wanted=math.inf).width
    with pytest.raises(DoesNotApply, match=rf"does not apply: needs m ≥ {needed:,}"):
        guarantee(problem, width=2 * (needed // 4))


def test_smaller_labels_and_larger_scales_need_less_width():
    problem = spread()
    (X_P, y_P), (X_Q, y_Q) = problem.source, problem.target
    smaller_labels = TransferProblem(source=(X_P, y_P / 8), target=(X_Q, y_Q / 8))
    assert least_width(smaller_labels).width < least_width(problem).width
    # (κ, y) trains as κ × (1, y/κ): the same width for the same ratio.
    scaled = TransferProblem(source=(X_P, 4 * y_P), target=(X_Q, 4 * y_Q))
    assert abs(least_width(scaled, init_scale=4.0).width - least_width(problem).width) <= 0.002 * least_width(problem).width


def test_what_cannot_be_guaranteed_is_refused():
    problem = spread()
    X_P, y_P = problem.source
    twice = TransferProblem(source=(np.concatenate([X_P, X_P]), np.concatenate([y_P, y_P])), target=problem.target)
    with pytest.raises(DoesNotApply, match="no width"):
        least_width(twice)
    with pytest.raises(InvalidInput, match="even number"):
        guarantee(problem, width=1001)
    with pytest.raises(InvalidInput, match="init_scale"):
        guarantee(problem, width=1000, init_scale=0)
    for wanted in (-1.0, "half", True, math.nan):
        with pytest.raises(InvalidInput, match="wanted"):
            least_width(problem, wanted=wanted)
    vectors = TransferProblem(source=(X_P, np.stack([y_P, y_P], 1)), target=(problem.target[0], np.stack([problem.target[1]] * 2, 1)))
    with pytest.raises(InvalidInput, match="2 columns"):
        guarantee(vectors, width=1000)


def test_least_eigenvalue_width_refuses_singular_matrices():
    with pytest.raises(InvalidInput, match="singular"):
        initial_kernel.least_eigenvalue_width(0.0, 1.0, 3, 0.5, 0.1)
    with pytest.raises(InvalidInput, match="share"):
        initial_kernel.least_eigenvalue_width(0.1, 1.0, 3, 1.0, 0.1)


def test_reach_of_turning_needs_numbers():
    with pytest.raises(InvalidInput, match="radius"):
        initial_kernel.flip_probability(-1.0, 1.0)
    assert initial_kernel.flip_probability(0.0, 1.0) == 0
    assert initial_kernel.flip_probability(1e-3, 2.0) <= math.sqrt(2 / math.pi) * 1e-3 / 2


# Generalisation --------------------------------------------------------------------------------------------------------------


def test_generalisation_at_width_approaches_the_kernel_regime():
    rng = np.random.default_rng(0)
    X = np.linalg.qr(rng.standard_normal((64, 64)))[0]
    problem = TransferProblem(source=(X[:8], 0.1 * np.ones(8)), target=(X[8:40], 0.05 * np.ones(32)))
    schedule = Schedule(source_steps=10, target_steps=10)
    widths = [1 << e for e in (24, 40, 56)]
    found = [generalisation_bound(problem, guarantee(problem, schedule, width=w)) for w in widths]
    flips = [f.flips for f in found]
    assert flips[0] > flips[1] > flips[2]
    # The class of nets with the gates of W(0): (B/n)√(n/2), twice.
    assert found[-1].complexity == pytest.approx(2 * math.sqrt(1 / 64), rel=1e-4)
    assert found[-1].total == sum((found[-1].training, found[-1].complexity, found[-1].flips, found[-1].confidence))
    assert found[-1].vacuous == (found[-1].total >= 1)


def test_long_inputs_are_refused_by_the_generalisation_bound():
    problem = spread()
    longer = TransferProblem(source=problem.source, target=(2 * problem.target[0], problem.target[1]))
    found = least_width(problem, wanted=math.inf)
    with pytest.raises(InvalidInput, match="norm 2"):
        generalisation_bound(longer, found)


def test_bands_contain_by_their_ends():
    band = Band(predicted=1.0, low=0.5, high=2.0)
    assert 0.5 in band and 2.0 in band and 2.1 not in band
    assert band.error == 1.0


def test_explicit_constants_beat_the_power_law_by_far():
    """On 30 + 30 unit inputs of dimension 20: from `n⁶/(λ⁴δ³)` to what the chain with its constants needs."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 20))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    y = np.sign(rng.standard_normal(60))
    problem = TransferProblem(source=(X[:30], y[:30]), target=(X[30:], y[30:]))
    found = least_width(problem, delta=0.1, wanted=math.inf)
    smallest = min(float(np.linalg.eigvalsh(relu_gram(part))[0]) for part in (X[:30], X[30:]))
    assert found.width < 30**6 / (smallest**4 * 0.1**3) / 100
