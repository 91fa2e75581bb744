"""Finite samples of the sphere: errors without a test set, and the experiment made of them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from sim.experiments.population import Config, _error_claims, _floor_claims, _fresh_claims, run
from sim.finite_samples import TEACHERS, SphereSource, _series, draw, learn
from sim.records import Cache
from tests.helpers import assert_dtype_close, assert_z
from theory.errors import InvalidInput
from theory.numeric.gram import relu_gram
from theory.numeric.sphere import legendre, zonal_expansion


@pytest.mark.parametrize("constant", [0.0, 1.0])
def test_errors_over_the_sphere_are_those_of_a_test_sample(constant):
    """Gradient descent on 20 points, written out, and its mean squared error on 100,000 fresh ones."""
    task = SphereSource(dimension=4, source="linear+quadratic", target="relu", angle=0.6, constant=constant, last=30)
    X, rate, k = draw(task, (20,), seed=3)[0], 0.7, 9
    (error,) = learn(task, X, rate, (k,)).errors
    directions = np.array([[1, 0, 0, 0], [math.cos(0.6), math.sin(0.6), 0, 0]])

    def normalised(name, t):
        return TEACHERS[name](t) / math.sqrt(zonal_expansion(TEACHERS[name], 4, 0).mean_square)

    def appended(points):
        return np.hstack([points, np.full((len(points), 1), constant)])

    H, lr, alpha = relu_gram(appended(X)), rate / (20 * task.transfer().eigenvalues.max()), np.zeros(20)
    for _ in range(k):
        alpha += lr * (normalised("linear+quadratic", X @ directions[0]) - H @ alpha)
    fresh = draw(task, (100_000,), seed=4)[0]
    left = normalised("relu", fresh @ directions[1]) - relu_gram(appended(fresh), appended(X)) @ alpha
    assert_z(left**2, error)


def test_a_sum_of_polynomials_by_clenshaw_is_the_sum():
    rng = np.random.default_rng(0)
    for dimension in (2, 3, 9):
        t, weights = rng.uniform(-1, 1, (4, 5)), rng.normal(size=11)
        assert_dtype_close(_series(dimension, weights, t), np.tensordot(weights, legendre(dimension, 10, t), axes=1), 1e-5, scale=10.0)


def test_smaller_samples_are_the_first_points_of_larger_ones():
    task = SphereSource(dimension=3, source="sign", target="sign")
    small, large = draw(task, (5, 9), seed=0)
    assert np.array_equal(small, large[:5])
    assert not np.array_equal(small, draw(task, (5,), seed=1)[0])
    assert_dtype_close(np.sum(large**2, axis=1), np.ones(9), 1e-6, scale=1.0)


def test_no_draw_is_below_the_floor_and_a_constant_coordinate_goes_there():
    task = SphereSource(dimension=3, source="sign", target="sign", last=20)
    assert abs(task.floor - 0.25) < 1e-12
    for seed in range(5):
        assert min(learn(task, draw(task, (60,), seed)[0], 0.5, (0, 3, 100, None)).errors) > task.floor
    above = dataclasses.replace(task, constant=1.0)
    assert above.floor < 0.05
    assert min(learn(above, draw(above, (400,), 0)[0], 0.5, (16, 30)).errors) < task.floor


def test_claims_hold_for_errors_with_a_bias_and_fail_for_others():
    task = SphereSource(dimension=3, source="sign", target="sign", last=20)
    config = Config(tasks=(task,), steps=(4,), seeds=40)
    noise = np.random.default_rng(0).normal(size=(40, 4, 1))
    bias = 1 / np.array(config.sizes)[None, :, None]

    def verdicts(errors):
        return [c.verdict for c in (*_error_claims(config, task, errors, [0.3]), *_floor_claims(config, task, errors))]

    assert verdicts(0.3 + bias * (1 + 0.1 * noise)) == ["held", "held"]
    assert verdicts(0.31 + bias * (1 + 0.1 * noise))[0] == "failed"
    assert verdicts(0.3 + bias**0.5 * (1 + 0.1 * noise))[1] == "failed"


def test_a_degree_that_is_learnt_but_not_summed_shows_on_fresh_points():
    task = SphereSource(dimension=3, source="sign", target="sign", last=20)
    config = Config(tasks=(task,), steps=(4,), seeds=40)
    noise = np.random.default_rng(0).normal(size=(2, 40, 1))
    errors = 0.3 + 0.001 * noise[0]
    (held,) = _fresh_claims(config, task, errors, errors + 0.01 * noise[1])
    (failed,) = _fresh_claims(config, task, errors, errors - 0.02 + 0.01 * noise[1])
    assert (held.verdict, failed.verdict) == ("held", "failed")
    # With a constant coordinate the kernel learns what without it would be the floor: forgotten in the sum, it shows.
    lifted = dataclasses.replace(task, constant=1.0)
    gaps = []
    for seed in range(8):
        X, new = draw(lifted, (200,), seed)[0], draw(lifted, (4000,), 100 + seed)[0]
        learnt = learn(lifted, X, 0.5, (30,), fresh=new)
        gaps.append(learnt.fresh[0] - learnt.errors[0])
    assert_z(gaps, 0.0)
    assert learnt.errors[0] < task.floor - 0.02


def test_even_degrees_beyond_the_last_are_no_floor():
    assert SphereSource(dimension=5, source="relu", target="relu", last=4).floor < 1e-12
    assert 0 < SphereSource(dimension=3, source="tanh", target="tanh").floor < 0.25


def test_draws_come_back_from_the_cache(tmp_path, monkeypatch):
    config = Config(tasks=(SphereSource(dimension=3, source="relu", target="relu", last=8),), sizes=(8, 16, 32, 64), steps=(1, 3), seeds=4)
    first = run(config, Cache(tmp_path))
    monkeypatch.setattr("sim.experiments.population.learn", lambda *_: pytest.fail("trained again"))
    assert run(config, Cache(tmp_path)) == first


def test_an_unknown_teacher_is_refused():
    with pytest.raises(InvalidInput, match="the teacher is 'sine'; one of 'linear', 'quadratic'"):
        SphereSource(dimension=3, source="relu", target="sine")
