"""Finite two-layer ReLU nets, trained here by hand with decay and with momentum, against `predict` at infinite width."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ptoq import Schedule, TransferProblem, predict, relu_gram, simulate
from sim.networks import initial_net
from tests.helpers import assert_z
from theory import InvalidInput

# Two gaps are no sampling: drift, about c/(κ√m), and the bias of a square, about n/m. At these sizes each is below half a standard
# error of so few nets.
WIDTH, SCALE, SEEDS, DECAY = 8192, 20.0, 12, 0.05


def labelled(n, seed, angle, d=8):
    """Points on the sphere, labelled by a linear teacher."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    teachers = np.random.default_rng(1).normal(size=(2, d))
    return X, X @ (np.cos(angle) * teachers[0] + np.sin(angle) * teachers[1])


PROBLEM = TransferProblem(source=labelled(9, 2, 0.0), target=labelled(6, 3, 1.0))


def train(W, a, X, y, anchor, lr, schedule, steps):
    """Steps on the first layer, every neuron by its own activity; the velocity starts at zero."""
    velocity, scale = np.zeros_like(W), 1 / np.sqrt(len(W))
    for _ in range(steps):
        Z = X @ W.T
        r = np.maximum(Z, 0) @ a * scale - y
        gradient = ((r[:, None] * (Z > 0)).T @ X) * (scale * a[:, None])
        velocity = schedule.momentum * velocity + gradient + schedule.weight_decay * (W - anchor)
        W = W - lr * velocity
    return W


def measured(schedule, outcome):
    """Squared displacement in fine-tuning, and the outputs' component along the target labels, one of each a net."""
    (X_P, y_P), (X_Q, y_Q) = PROBLEM.source, PROBLEM.target
    squares, along = [], []
    for seed in range(SEEDS):
        W_0, a = initial_net(WIDTH, X_P.shape[1], 1, init_scale=SCALE, seed=seed)
        a = a[:, 0]
        zero = np.zeros_like(W_0)
        anchor_P = zero if schedule.anchor == "zero" else W_0
        W_P = train(W_0, a, X_P, y_P, anchor_P, outcome.source_lr, schedule, schedule.source_steps)
        anchor_Q = {"zero": zero, "initial": W_0, "start": W_P}[schedule.anchor]
        W_Q = train(W_P, a, X_Q, y_Q, anchor_Q, outcome.target_lr, schedule, schedule.target_steps)
        squares.append(np.sum((W_Q - W_P) ** 2))
        along.append(y_Q @ (np.maximum(X_Q @ W_Q.T, 0) @ a) / np.sqrt(WIDTH))
    return np.array(squares), np.array(along)


def left_after(schedule):
    """What pretraining leaves to learn on the target."""
    return PROBLEM.target[1] - predict(PROBLEM, replace(schedule, target_steps=0)).target_outputs


def test_displacement_under_decay_towards_the_own_start():
    """To the end for all these steps can tell: it is `ỹᵀ(H + β)⁻¹H(H + β)⁻¹ỹ`, and the penalised norm `ỹᵀ(H + β)⁻¹ỹ` must fail."""
    schedule = Schedule(60, 60, weight_decay=DECAY, anchor="start")
    outcome = predict(PROBLEM, schedule)
    squares, _ = measured(schedule, outcome)
    assert_z(squares, outcome.displacement**2)
    H, left = relu_gram(PROBLEM.target[0]), left_after(schedule)
    naive = left @ np.linalg.solve(H + DECAY * np.eye(len(H)), left)
    with pytest.raises(AssertionError, match="z = "):
        assert_z(squares, naive)


def test_displacement_under_decay_towards_the_initial_weights():
    """Decay takes back what pretraining moved: far more than decay towards the own start does, which must fail."""
    schedule = Schedule(60, 20, weight_decay=DECAY, anchor="initial")
    outcome = predict(PROBLEM, schedule)
    squares, along = measured(schedule, outcome)
    assert_z(squares, outcome.displacement**2)
    assert_z(along, PROBLEM.target[1] @ outcome.target_outputs)
    with pytest.raises(AssertionError, match="z = "):
        assert_z(squares, predict(PROBLEM, replace(schedule, anchor="start")).displacement ** 2)


def test_outputs_under_decay_towards_zero():
    """The gates of a ReLU net do not see a common factor: the initial weights shrink to a third, and the outputs keep to the kernel."""
    schedule = Schedule(20, 10, weight_decay=DECAY)
    outcome = predict(PROBLEM, schedule)
    shrunk = (1 - DECAY * outcome.source_lr) ** 20 * (1 - DECAY * outcome.target_lr) ** 10
    assert 0.2 < shrunk < 0.4
    _, along = measured(schedule, outcome)
    assert_z(along, PROBLEM.target[1] @ outcome.target_outputs)


def test_displacement_with_momentum():
    schedule = Schedule(12, 6, momentum=0.7)
    outcome = predict(PROBLEM, schedule)
    squares, _ = measured(schedule, outcome)
    assert_z(squares, outcome.displacement**2)
    # As many plain steps go less far: with momentum left out the test fails.
    with pytest.raises(AssertionError, match="z = "):
        assert_z(squares, predict(PROBLEM, Schedule(12, 6)).displacement ** 2)


@pytest.mark.parametrize(
    "change", [{"momentum": 0.9}, {"weight_decay": 0.1}, {"weight_decay": 0.1, "anchor": "start"}, {"loss": "cross-entropy"}]
)
def test_simulate_says_that_it_trains_plain_descent_only(change):
    name = next(iter(change))
    with pytest.raises(
        InvalidInput, match=rf"{name} is .*; simulate is for plain gradient descent: .* are allowed \(predict takes the others\)"
    ):
        simulate(PROBLEM, Schedule(3, 3, **change), width=64)
    # An anchor alone pulls nothing.
    assert simulate(PROBLEM, Schedule(3, 3, anchor="start"), width=64).stable
