"""Problems with two dials: each dial turns what it says, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.dials import DATA, TEACHERS, DialTask
from sim.tasks import DigitsTask, SphereTask
from tests.helpers import assert_dtype_close, assert_exact, assert_z
from theory.errors import InvalidInput
from theory.numeric.gram import relu_gram

SMALL = {"n_source": 9, "n_target": 7, "n_test": 5}


@given(c=st.floats(0, 1), data=st.sampled_from(DATA))
def test_inner_products_within_a_set_stay_and_those_across_are_multiplied(c, data):
    same, turned = (DialTask(data=data, input_similarity=x, **SMALL).sets() for x in (1.0, c))
    assert_dtype_close(turned.X_P @ turned.X_P.T, same.X_P @ same.X_P.T, 1.0, scale=1.0)
    for name in ("X_Q", "X_T"):
        assert_exact(getattr(turned, name), getattr(same, name), ulps=0)
        assert_dtype_close(turned.X_P @ getattr(turned, name).T, c * (same.X_P @ getattr(same, name).T), 1.0, scale=1.0)


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("teacher", TEACHERS)
def test_no_dial_turns_what_belongs_to_the_target(data, teacher):
    base = DialTask(data=data, teacher=teacher, **SMALL)
    problem, other = base.problem(), replace(base, input_similarity=0.3, label_angle=100.0).problem()
    for name in ("target", "test"):
        for a, b in zip(getattr(problem, name), getattr(other, name), strict=True):
            assert_exact(a, b, ulps=0)
    assert not np.array_equal(problem.source[1], other.source[1])


def test_without_turning_they_are_the_tasks_they_are_made_of():
    sphere = DialTask(**SMALL).problem()
    plain = SphereTask(input_similarity=1.0, label_similarity=1.0, label_noise=0.0, **SMALL).problem()
    digits, whole = DialTask(data="digits", **SMALL).problem(), DigitsTask(**SMALL).problem()
    for made, given_ in ((sphere, plain), (digits, whole)):
        for name in ("source", "target", "test"):
            X, y = getattr(given_, name)
            assert_exact(getattr(made, name)[0][:, : X.shape[1]], np.hstack([X, 0 * X])[:, : X.shape[1]], ulps=0)
            assert_exact(getattr(made, name)[1], y, ulps=0)


def test_the_second_digit_labels_are_orthogonal_to_the_first_and_as_long():
    sets = DialTask(data="digits", n_source=50, n_target=5, n_test=5).sets()
    f, g = sets.f_P, sets.g_P
    assert_dtype_close(f @ g, 0.0, 1.0, scale=50.0)
    assert_dtype_close(g @ g, f @ f, 1.0, scale=50.0)
    for angle in (0.0, 40.0, 90.0, 180.0):
        y = sets.source_labels(angle)
        assert_dtype_close(y @ f / (f @ f), np.cos(np.radians(angle)), 1.0, scale=1.0)
        assert_dtype_close(y @ y, f @ f, 1.0, scale=50.0)


@pytest.mark.parametrize("data", DATA)
def test_gaussian_teachers_have_the_covariance_of_the_turned_inputs(data):
    draws = [
        DialTask(data=data, teacher="gaussian", input_similarity=0.6, teacher_seed=s, n_source=2, n_target=1, n_test=1) for s in range(4000)
    ]
    sets = [task.sets() for task in draws]
    f_P, g_P, f_Q = (np.array([getattr(s, name) for s in sets]) for name in ("f_P", "g_P", "f_Q"))
    H_QP, H_P = relu_gram(sets[0].X_Q, sets[0].X_P), relu_gram(sets[0].X_P)
    assert_z(f_Q[:, 0] * f_P[:, 1], float(H_QP[0, 1]))
    for teacher in (f_P, g_P):
        assert_z(teacher[:, 0] * teacher[:, 1], float(H_P[0, 1]))
        assert_z(teacher[:, 0] ** 2, float(H_P[0, 0]))
    assert_z(f_P[:, 0] * g_P[:, 0], 0.0)
    assert_z(f_Q[:, 0] * g_P[:, 0], 0.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": "faces"}, "data is 'faces'; one of 'sphere', 'digits'"),
        ({"teacher": "noise"}, "teacher is 'noise'; one of 'given', 'gaussian'"),
        ({"input_similarity": 1.1}, r"input_similarity is 1.1; a number in \[0, 1\]"),
        ({"input_similarity": True}, "input_similarity is True"),
        ({"label_angle": float("nan")}, r"label_angle is nan; a number in \[0, 180\]"),
        ({"label_angle": 181}, "label_angle is 181"),
        ({"teacher_seed": -1}, "teacher_seed is -1; a whole number ≥ 0"),
        ({"dimension": 2}, "dimension is 2"),
        ({"data": "digits", "n_source": 1798}, "1798 source"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(InvalidInput, match=message):
        DialTask(**settings)
