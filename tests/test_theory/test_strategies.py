"""The strategies that users test their own kernels and bounds with: what they draw, and that they find what is wrong."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, find, given, settings, target
from hypothesis.errors import NoSuchExample

import theory.strategies
from theory import InvalidInput, relu_gram
from theory.numeric.spectrum import GramSpectrum
from theory.numeric.stages import displacement, inverse_norm_squared
from theory.predict import predict
from theory.problem import Schedule
from theory.registry import BOUNDS, ENTRIES
from theory.strategies import cases, gram_matrices, init_scales, inputs, problems, schedules, seeds, widths

QUIETLY = settings(max_examples=400, database=None, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
SOME = settings(QUIETLY, max_examples=60)


def test_the_worked_examples_run():
    found = doctest.testmod(theory.strategies)
    assert found.attempted >= 6
    assert found.failed == 0


@SOME
@given(inputs(points=3, dimension=4, unit=True))
def test_unit_inputs_have_norm_one(X):
    assert X.shape == (3, 4)
    assert np.all(np.abs(np.linalg.norm(X, axis=1) - 1) <= 4 * np.finfo(float).eps)


@SOME
@given(inputs(regular=True))
def test_regular_inputs_have_no_duplicates_and_no_opposites(X):
    U = X / np.linalg.norm(X, axis=1, keepdims=True)
    cosines = np.abs(U @ U.T) - np.eye(len(X))
    assert np.all(cosines[np.triu_indices(len(X), 1)] < 1 - 1e-14) or len(X) == 1


@pytest.mark.parametrize(
    "special",
    [
        lambda X: len(X) > 1 and np.array_equal(X[0] / np.linalg.norm(X[0]), X[1] / np.linalg.norm(X[1])),
        lambda X: len(X) > 1 and np.array_equal(X[0] / np.linalg.norm(X[0]), -X[1] / np.linalg.norm(X[1])),
        lambda X: len(X) > 1 and abs(X[0] @ X[1]) < 1e-12,
        lambda X: len(X) > X.shape[1],
    ],
    ids=["duplicates", "opposite", "orthogonal", "more points than dimensions"],
)
def test_inputs_that_break_kernels_are_among_those_drawn(special):
    assert special(find(inputs(unit=True), special, settings=QUIETLY))


def test_a_kernel_that_is_not_positive_is_found():
    def distances(X, Z=None):
        return np.linalg.norm(X[:, None] - (X if Z is None else Z)[None], axis=2)

    @SOME
    @given(inputs(unit=True))
    def positive(X):
        assert np.linalg.eigvalsh(distances(X))[0] >= -1e-9

    with pytest.raises(AssertionError):
        positive()


def test_a_bound_that_is_false_is_found_and_a_true_one_is_not():
    """`displacement² ≤ yᵀH⁻¹y` holds up to `1/λ_max`, not up to `2/λ_max`."""

    def excess(H, largest):
        spectrum = GramSpectrum.of(H)
        y = np.ones(len(H))
        moved = displacement(spectrum, y, largest / spectrum.largest, 1)
        return moved**2 / inverse_norm_squared(spectrum, y)

    @SOME
    @given(gram_matrices())
    def holds(H):
        ratio = excess(H, 1.0)
        target(ratio)
        assert ratio <= 1 + 1e-9

    holds()
    assert excess(find(gram_matrices(), lambda H: excess(H, 1.9) > 1.001, settings=QUIETLY), 1.9) > 1.001
    with pytest.raises(NoSuchExample):
        find(gram_matrices(), lambda H: excess(H, 1.0) > 1.001, settings=QUIETLY)


@SOME
@given(gram_matrices(condition=1e4))
def test_gram_matrices_are_positive_within_their_condition(H):
    values = np.linalg.eigvalsh(H)
    assert values[-1] <= 1 + 1e-12
    assert values[0] >= 1e-4 * (1 - 1e-9)


@SOME
@given(problems(outputs=2, tests=True, labels=0.5), schedules(most_steps=5))
def test_problems_and_schedules_can_be_predicted(problem, schedule):
    assert problem.n_outputs == 2
    assert problem.test is not None
    assert max(np.abs(y).max() for _, y in (problem.source, problem.target)) <= 0.5
    assert schedule.source_steps is None or schedule.source_steps <= 5
    assert math.isfinite(predict(problem, schedule).displacement)


@SOME
@given(schedules(ends=False))
def test_schedules_without_ends_have_none(schedule):
    assert isinstance(schedule, Schedule)
    assert None not in (schedule.source_steps, schedule.target_steps)


@SOME
@given(widths(6, 100), init_scales(0.5, 2.0), seeds())
def test_widths_are_even_and_scales_in_range(width, scale, seed):
    assert width % 2 == 0 and 6 <= width <= 100
    assert 0.5 <= scale <= 2
    assert 0 <= seed < 2**32


def test_widths_out_of_range_are_refused():
    for smallest, largest in ((0, 10), (10, 4)):
        with pytest.raises(InvalidInput, match="smallest ≤ largest"):
            widths(smallest, largest)


@pytest.mark.parametrize("entry", [*ENTRIES[:3], *BOUNDS[:3]], ids=lambda e: e.name)
def test_cases_of_the_registry_are_drawn_by_hypothesis(entry):
    @settings(SOME, max_examples=5)
    @given(cases(entry.domain))
    def drawn(case):
        assert case

    drawn()


def test_relu_passes_what_the_worked_example_asks():
    @SOME
    @given(inputs())
    def positive(X):
        values = np.linalg.eigvalsh(relu_gram(X))
        assert values[0] >= -1e-12 * values[-1]

    positive()
