"""The drift to first order in `1/(κ√m)`: against the closed form of orthogonal inputs, a step by hand, and trained nets."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sim.experiments.drift_size import Net, _along, trained
from sim.tasks import SphereTask
from tests.helpers import assert_dtype_close, assert_exact, assert_z
from theory import InvalidInput, UnstableStep, relu_gram
from theory.first_order_drift import first_order_drift
from theory.numeric.drift import orthogonal_run, relative_drift


@pytest.mark.parametrize("rate", [0.9, 0.3])
def test_orthogonal_inputs_have_a_closed_form(rate):
    y = np.array([1.0, -0.5, 0.8])
    steps = math.ceil(math.log(1e-9) / math.log1p(-rate))  # to the end
    found = first_order_drift(np.eye(3), y, 2 * rate, steps, directions=512)
    assert_z((found.displacement, found.displacement_error), relative_drift(np.ones(3), y, 2 * rate, width=1))
    assert found.displacement_error < 0.002 * found.displacement
    width = 10**10
    shift = y - np.array(orthogonal_run(np.ones(3), y, 2 * rate, 3, width=width).outputs) - y * (1 - rate) ** 3
    few = first_order_drift(np.eye(3), y, 2 * rate, 3, directions=512)
    for value, error, exact in zip(few.residual, few.residual_error, shift * math.sqrt(width), strict=True):
        assert_z((value, error), exact)
        assert error < 0.01 * abs(value)


def test_the_first_step_by_hand():
    # One step of a pair of inputs: E over the gate of the other of D⁻|D⁻| − D⁺|D⁺|, D⁺ = D⁻ + ηy‖x‖², on each hyperplane.
    X, y, lr = np.array([[1.0, 0.0], [0.6, 0.8]]), np.array([1.0, -0.7]), 0.4
    found = first_order_drift(X, y, lr, 1, directions=512)
    for j, i in ((0, 1), (1, 0)):
        terms = []
        for gate in (0.0, 1.0):
            across = lr * y[i] * 0.6 * gate
            along = across + lr * y[j]
            terms.append(across * abs(across) - along * abs(along))
        expected = -np.mean(terms) / (4 * math.sqrt(2 * math.pi))
        assert_z((found.residual[j], found.residual_error[j]), expected)
        assert found.residual_error[j] < 0.05 * abs(expected)
    # Displacement after one step is that of frozen gates: no gate has switched before the step was made.
    assert_dtype_close(np.asarray(found.displacement), 0.0, 1, 1.0)


def test_the_first_change_of_the_gradient_by_hand():
    # Orthogonal inputs, λ = ½. A neuron pulled down switches off if at most ηy away: it loses y where the frozen gate has ηy/2, and an
    # output falls short by what the neuron would have gone below zero.
    y, lr = np.array([1.0, -0.7, 0.4]), 0.9
    found = first_order_drift(np.eye(3), y, lr, 1, directions=512)
    expected = sum(abs(y) ** 3) * lr * (0.5 - lr**2 / 4) / math.sqrt(2 * math.pi)
    assert_z((found.gradient_change[0], found.gradient_change_error[0]), expected)
    assert found.gradient_change_error[0] < 0.01 * expected
    assert_exact(found.frozen_gradient_change, np.array([lr**2 * (y @ y) / 8]), 8)


def test_scale_and_labels():
    X = np.random.default_rng(0).normal(size=(5, 3))
    y, lr = X[:, 0] + 0.3, 0.5 / np.linalg.eigvalsh(relu_gram(X))[-1]
    one = first_order_drift(X, y, lr, 6, directions=8)
    scaled = first_order_drift(X, 4 * y, lr, 6, directions=8, init_scale=4.0)
    assert_exact(np.asarray(scaled.displacement), one.displacement, 16)
    assert_exact(scaled.residual, 4 * one.residual, 64, np.abs(scaled.residual).max())
    assert_exact(scaled.gradient_change, 16 * one.gradient_change, 64, np.abs(scaled.gradient_change).max())
    assert_exact(scaled.frozen_gradient_change, 16 * one.frozen_gradient_change, 64)
    again = first_order_drift(X, y, lr, 6, directions=8)
    assert again.displacement == one.displacement
    assert first_order_drift(X, y, lr, 6, directions=8, seed=1).displacement != one.displacement


def test_more_directions_are_more_certain():
    X = np.random.default_rng(0).normal(size=(6, 4))
    y, lr = np.random.default_rng(1).normal(size=6), 1 / np.linalg.eigvalsh(relu_gram(X))[-1]
    few, many = (first_order_drift(X, y, lr, 10, directions=n) for n in (32, 4096))
    assert many.displacement_error < few.displacement_error / 4
    assert_z((few.displacement, math.hypot(few.displacement_error, many.displacement_error)), many.displacement)


def test_trained_nets_drift_as_computed():
    task, width = SphereTask(n_source=4, n_target=8, n_test=4, dimension=4), 4096
    X, y = task.problem().target
    lr = 1 / np.linalg.eigvalsh(relu_gram(X))[-1]
    theory = first_order_drift(X, y, lr, 30, directions=2048)
    nets = [trained(Net(task=task, width=width, seed=seed, steps=(30,), init_scale=1.0, dtype="float64")) for seed in range(24)]
    found = [(net["ratios"][0], np.array(net["shift"])) for net in nets]
    root = math.sqrt(width)
    assert_z(np.array([(ratio - 1) * root for ratio, _ in found]), theory.displacement)
    assert_z(np.array([_along(theory, shift * root) for _, shift in found]), 1.0)
    # What is found is well away from no drift at all.
    with pytest.raises(AssertionError, match="z = "):
        assert_z(np.array([ratio - 1 for ratio, _ in found]), 0.0)


def test_array_libraries(xp_case):
    X, y = np.random.default_rng(0).normal(size=(4, 3)), np.ones(4)
    assert first_order_drift(xp_case.load(X), xp_case.load(y), 0.1, 2, directions=8).displacement == pytest.approx(
        first_order_drift(X, y, 0.1, 2, directions=8).displacement, abs=0.0, rel=0.0
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.ones(2)}, r"X and y have shapes \(2,\) and \(2,\); \(n, d\) and \(n,\) are allowed"),
        ({"y": np.ones((2, 1))}, r"X and y have shapes \(2, 2\) and \(2, 1\)"),
        ({"y": np.zeros(2)}, r"all labels are zero"),
        ({"X": np.array([[1.0, 0.0], [0.0, 0.0]])}, r"X row 1 is all zeros; non-zero rows are allowed"),
        ({"steps": 0}, r"steps is 0; a whole number ≥ 1"),
        ({"directions": 3}, r"directions is 3; a whole number ≥ 8"),
        ({"seed": -1}, r"seed is -1; a whole number ≥ 0"),
        ({"lr": -0.1}, r"lr is -0.1; a finite number above 0"),
        ({"init_scale": math.inf}, r"init_scale is inf; a finite number above 0"),
    ],
)
def test_what_is_refused_says_what_is_allowed(change, message):
    arguments = {"X": np.eye(2), "y": np.ones(2), "lr": 0.1, "steps": 2, **change}
    with pytest.raises(InvalidInput, match=message):
        first_order_drift(**arguments)


def test_an_unstable_step_is_refused():
    with pytest.raises(UnstableStep, match=r"lr = 5 diverges; at most 2/λ_max = 4 is allowed"):
        first_order_drift(np.eye(2), np.ones(2), 5.0, 2)
