from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from realnets import ntk
from realnets.kernel_regime import TOLERANCE, Reading, descend, predict, valid_to, validity
from realnets.train import TrainingDiverged
from tests.helpers import assert_dtype_close
from theory.errors import InvalidInput, UnstableStep
from theory.numeric.spectrum import GramSpectrum

STEPS = 40


def _problem(net, x, seed=0):
    y = np.random.default_rng(seed).choice([-1.0, 1.0], size=ntk.outputs(net, x).shape)
    kernel = ntk.empirical_ntk(net, x)
    return y, kernel, 0.5 / GramSpectrum.of(kernel).largest


@pytest.mark.parametrize("outputs", [1, 2])
def test_prediction_is_literally_the_linearised_networks_training(tiny, small_images, explicit_jacobian, outputs):
    """`f₀ + J(W − W₀)` trained by gradient descent in weight space; no kernel, no spectrum."""
    x, _ = small_images
    net = tiny(outputs=outputs)
    y, kernel, lr = _problem(net, x)
    predicted = predict(kernel, ntk.outputs(net, x), y, lr, STEPS)
    J, initial = explicit_jacobian(net, x), ntk.outputs(net, x).ravel()
    moved, losses, distances = np.zeros(J.shape[1]), [], []
    for _ in range(STEPS + 1):
        residual = initial + J @ moved - y.ravel()
        losses.append(residual @ residual / 2)
        distances.append(np.linalg.norm(moved))
        moved = moved - lr * J.T @ residual
    assert_dtype_close(np.array(predicted.loss), np.array(losses), 1, losses[0])
    assert_dtype_close(np.array(predicted.displacement), np.array(distances), 1, distances[-1])


def test_a_linear_model_is_predicted_to_the_end_and_read_as_valid(small_images):
    x, _ = small_images
    net = nn.Sequential(nn.Flatten(), nn.Linear(108, 1)).double().eval()
    with torch.no_grad():
        net[1].weight.copy_(torch.randn(1, 108, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))
    y, kernel, lr = _problem(net, x)
    predicted, measured = predict(kernel, ntk.outputs(net, x), y, lr, 200), descend(net, x, y, lr, 200)
    assert_dtype_close(np.array(measured.loss), np.array(predicted.loss), 1, predicted.loss[0])
    assert_dtype_close(np.array(measured.displacement), np.array(predicted.displacement), 1, predicted.displacement[-1])
    readings = validity(net, x, kernel, y, lr, [1, 10, 200])
    assert valid_to(readings) == 200
    assert_dtype_close(np.array([r.deviation for r in readings]), np.zeros(3), 1, 1.0)


def test_first_step_is_exact_and_a_large_step_is_not(tiny, small_images):
    """The kernel is that of the weights: one step's displacement is `η‖Jᵀr‖` for any network."""
    x, _ = small_images
    net = tiny(outputs=1)
    y, kernel, lr = _problem(net, x)
    predicted, measured = predict(kernel, ntk.outputs(net, x), y, lr, STEPS), descend(net, x, y, lr, STEPS)
    assert measured.displacement[0] == predicted.displacement[0] == 0
    assert_dtype_close(np.float64(measured.displacement[1]), predicted.displacement[1], 1, predicted.displacement[1])
    assert abs(measured.displacement[STEPS] / predicted.displacement[STEPS] - 1) > np.finfo(float).eps ** 0.5


class _Curved(nn.Module):
    """`f = w + ½ φ w²`, one weight: every number of the reading is known in closed form."""

    def __init__(self, curvature: float) -> None:
        super().__init__()
        self.weight, self.curvature = nn.Parameter(torch.zeros(1, 1, dtype=torch.float64)), curvature

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        w = self.weight * torch.ones_like(x)
        return w + self.curvature * w**2 / 2


@pytest.mark.parametrize("curvature", [0.04, -0.04, 0.3, 1.0])
def test_reading_of_a_curved_model(curvature):
    x, y = torch.ones(1, 1, dtype=torch.float64), np.ones((1, 1))
    net = _Curved(curvature).eval()
    kernel = ntk.empirical_ntk(net, x)
    readings = validity(net, x, kernel, y, 0.5, [1, 2, 30])
    for reading in readings:
        moved = 1 - 0.5**reading.step
        assert_dtype_close(np.float64(reading.deviation), abs(curvature) * moved / 2, 1, 1.0)
        assert_dtype_close(np.float64(reading.stretch), curvature * moved / 2, 1, 1.0)
        assert reading.valid == (abs(curvature) * moved / 2 <= TOLERANCE)
    # To the end the true model sits where f = 1: by the reading's own account −ρ of the way off, to first order in φ.
    if readings[-1].valid:
        w = descend(net, x, y, 0.5, 200).displacement[-1]
        assert abs(w - 1 + readings[-1].stretch) < curvature**2


def test_valid_to_stops_at_the_first_failure():
    def reading(step, valid):
        return Reading(step=step, deviation=0.0, stretch=0.0, detour=0.0, valid=valid)

    assert valid_to([reading(4, True), reading(1, True), reading(2, True), reading(3, False)]) == 2
    assert valid_to([reading(1, False), reading(2, True)]) == 0


def test_descent_leaves_the_model_alone(tiny, small_images):
    x, _ = small_images
    net = tiny(outputs=1)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    descend(net, x, np.ones((12, 1)), 1e-3, 3)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_bad_input(tiny, small_images):
    x, _ = small_images
    net = tiny(outputs=1)
    y, kernel, lr = _problem(net, x)
    with pytest.raises(UnstableStep, match=r"lr = .* diverges"):
        predict(kernel, ntk.outputs(net, x), y, 5 * lr, 3)
    with pytest.raises(InvalidInput, match=r"labels have shape \(12,\); that of the outputs, \(12, 1\)"):
        descend(net, x, y[:, 0], lr, 3)
    with pytest.raises(TrainingDiverged, match=r"the loss is (nan|inf) after \d+ steps"):
        descend(net, x, 1e200 * y, 1e200, 50)


class SlowMode(nn.Module):
    """Outputs `10 w₁` and `w₂ + 20 w₁²`: what the kernel does not see lies in its slow mode."""

    def __init__(self):
        super().__init__()
        self.fast, self.slow = nn.Parameter(torch.zeros(1, dtype=torch.float64)), nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, x):
        return x[:, :1] * 10 * self.fast + x[:, 1:] * (self.slow + 20 * self.fast**2)


def test_a_small_deviation_in_a_slow_mode_is_not_read_as_valid():
    """It is a fifth of the outputs and orthogonal to the way gone, yet the weights end more than twice as far as predicted."""
    model, x, y = SlowMode().eval(), torch.eye(2, dtype=torch.float64), np.array([[1.0], [0.0]])
    K = np.diag([100.0, 1.0])
    lr = 0.5 / 100
    predicted, measured = predict(K, np.zeros((2, 1)), y, lr, 1000), descend(model, x, y, lr, 1000)
    assert measured.displacement[-1] / predicted.displacement[-1] > 2
    (reading,) = validity(model, x, K, y, lr, [1000])
    assert reading.deviation**2 < 0.05
    assert abs(reading.stretch) < 1e-9
    assert not reading.valid
