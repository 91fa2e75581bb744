"""Tasks: the dials do what they say, and only that."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ptoq
from sim.datasets import bundled, centred_unit_rows, pooled
from sim.rng import generator
from sim.tasks import _TEACHERS, DigitsTask, SphereTask, problem_of
from tests.helpers import assert_dtype_close, assert_exact, assert_z
from theory.errors import InvalidInput


@given(s=st.floats(0, 1), seed=st.integers(0, 100))
def test_input_similarity_is_the_cosine_between_the_subspaces(s, seed):
    problem = SphereTask(dimension=3, n_source=12, n_target=9, n_test=2, input_similarity=s, seed=seed).problem()
    X_P, X_Q = problem.source[0], problem.target[0]
    assert_dtype_close(np.linalg.norm(X_P, axis=1), np.ones(12), 1e-6, scale=1.0)
    cosines = np.linalg.svd(np.linalg.qr(X_P.T)[0][:, :3].T @ np.linalg.qr(X_Q.T)[0][:, :3], compute_uv=False)
    assert_dtype_close(cosines, np.full(3, s), 1.0, scale=1.0)


@pytest.mark.parametrize("name", list(_TEACHERS))
def test_teachers_are_orthonormal(name):
    X = np.random.default_rng(1).standard_normal((100_000, 6))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    f, g = (t(X) for t in _TEACHERS[name](generator("test"), 6))
    assert_z(f * f, 1.0)
    assert_z(g * g, 1.0)
    assert_z(f * g, 0.0)


@pytest.mark.parametrize("name", list(_TEACHERS))
def test_teachers_have_no_part_that_the_kernel_cannot_learn(name):
    """Odd degrees above 1 vanish from the kernel; the odd part of a learnable teacher is linear."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((5000, 5))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    for teacher in _TEACHERS[name](generator("test"), 5):
        odd = (teacher(X) - teacher(-X)) / 2
        assert_dtype_close(X @ np.linalg.lstsq(X, odd, rcond=None)[0], odd, 1e-4, scale=1.0)


def test_each_dial_leaves_the_other_draws_alone():
    base, noisy, other, far = (
        SphereTask(**kw).problem()
        for kw in ({"label_noise": 0.0}, {"label_noise": 1.0}, {"label_similarity": 0.0}, {"label_noise": 0.0, "input_similarity": 0.5})
    )
    for problem in (noisy, other, far):
        assert_exact(problem.target[0], base.target[0], ulps=0)
        assert_exact(problem.target[1], base.target[1], ulps=0)
    assert_exact(noisy.source[0], base.source[0], ulps=0)
    assert_z(noisy.source[1] - base.source[1], 0.0)
    assert np.std(noisy.source[1] - base.source[1]) > 0.5
    assert not np.array_equal(other.source[1], base.source[1])
    assert_exact(far.source[1], base.source[1], ulps=0)


def test_equal_inputs_and_labels_transfer_all_there_is_in_the_limit_of_samples():
    gains = [
        ptoq.predict(
            SphereTask(dimension=3, input_similarity=1.0, label_similarity=1.0, label_noise=0.0, n_source=n, n_target=30).problem()
        ).gain
        for n in (20, 80, 320)
    ]
    assert gains == sorted(gains)
    assert gains[-1] > 0.8


@given(seed=st.integers(0, 50))
def test_digits_are_drawn_without_overlap(seed):
    problem = DigitsTask(n_source=20, n_target=30, n_test=60, seed=seed).problem()
    rows = {row.tobytes() for row in np.concatenate([problem.target[0], problem.test[0]])}
    assert len(rows) == 90
    assert problem.label_kind == "sign"


def test_digits_with_classes_are_one_hot_and_balanced_enough():
    problem = DigitsTask(labels="classes").problem()
    assert problem.label_kind == "one-hot"
    assert problem.source[1].shape == (300, 10)
    assert problem.test[1].sum(axis=0).min() > 50


def test_the_same_task_is_the_same_problem():
    assert DigitsTask().problem() == DigitsTask().problem()
    assert DigitsTask(seed=1).problem() != DigitsTask().problem()
    assert problem_of(SphereTask()) is problem_of(SphereTask())


def test_bundled_sets_are_centred_unit_rows():
    for name, n in (("digits", 1797), ("mnist-parity", 5000)):
        X, y = bundled(name)
        assert X.shape == (n, 64)
        assert len(y) == n
        assert_dtype_close(np.linalg.norm(X, axis=1), np.ones(n), 1e-6, scale=1.0)
    images = np.arange(2 * 64, dtype=float).reshape(2, 8, 8)
    rows = centred_unit_rows(images)
    assert_exact(rows[0], -rows[1], ulps=4)


@given(size=st.sampled_from([1, 4, 5, 8, 20]), margin=st.integers(0, 8), seed=st.integers(0, 99))
def test_pooling_keeps_the_mean_and_constants(size, margin, seed):
    images = np.random.default_rng(seed).random((3, 28, 28))
    small = pooled(images, size=size, margin=margin)
    inner = images[:, margin : 28 - margin, margin : 28 - margin]
    assert_dtype_close(small.mean(axis=(1, 2)), inner.mean(axis=(1, 2)), 1e-6, scale=1.0)
    assert_dtype_close(pooled(np.ones((1, 28, 28)), size, margin), np.ones((1, size, size)), 1e-6, scale=1.0)


@pytest.mark.parametrize(
    ("task", "settings", "message"),
    [
        (SphereTask, {"dimension": 2}, "dimension is 2; a whole number ≥ 3"),
        (SphereTask, {"n_source": 0}, "n_source is 0"),
        (SphereTask, {"input_similarity": 1.5}, r"input_similarity is 1.5; a number in \[0, 1\]"),
        (SphereTask, {"label_similarity": -2.0}, "label_similarity is -2.0"),
        (SphereTask, {"label_noise": float("inf")}, "label_noise is inf"),
        (SphereTask, {"label_noise": float("nan")}, "label_noise is nan"),
        (SphereTask, {"label_noise": "a"}, "label_noise is 'a'"),
        (SphereTask, {"seed": -1}, "seed is -1"),
        (DigitsTask, {"seed": 1.5}, "seed is 1.5"),
        (DigitsTask, {"label_noise": 2}, "label_noise is 2"),
        (SphereTask, {"teacher": "sign"}, "teacher is 'sign'; one of 'linear"),
        (DigitsTask, {"labels": "colour"}, "labels is 'colour'"),
        (DigitsTask, {"n_source": 1798}, "1798 source"),
        (DigitsTask, {"n_target": 4500, "n_test": 501}, r"4500 \+ 501"),
    ],
)
def test_settings_out_of_range_are_refused(task, settings, message):
    with pytest.raises(InvalidInput, match=message):
        task(**settings)
