"""The stage experiment: its estimator of a turn, and the theory it is held against."""

import math

import numpy as np
import pytest

import ptoq
from sim.experiments.pretraining_stage import _turn
from sim.tasks import DigitsTask, SphereTask
from tests.helpers import assert_dtype_close
from theory.errors import InvalidInput
from theory.predict import GramBlocks
from theory.pretraining import pretraining_curves


@pytest.mark.parametrize("task", [SphereTask(n_test=30), DigitsTask(labels="classes", n_source=30, n_target=20, n_test=30)])
@pytest.mark.parametrize("target_steps", [0, 7, None])
def test_curves_are_what_predict_says_at_every_step(task, target_steps):
    problem = task.problem()
    curves = pretraining_curves(problem, ptoq.Schedule(target_steps=target_steps))
    for k in (0, 1, 5, 60, None):
        outcome = ptoq.predict(problem, ptoq.Schedule(k, target_steps))
        expected = {
            "gradient_energy": outcome.gradient_energy,
            "displacement": outcome.displacement**2,
            "test_error": outcome.test_mse * len(problem.test[0]),
        }
        for name, value in expected.items():
            assert_dtype_close(np.float64(curves[name](k)), value, 1e-2, scale=max(value, 1.0))


def test_without_test_points_there_is_no_test_curve_and_coupled_blocks_are_refused():
    problem = SphereTask(n_source=10, n_target=5).problem()
    problem = ptoq.TransferProblem(source=problem.source, target=problem.target)
    assert set(pretraining_curves(problem)) == {"gradient_energy", "displacement"}
    H = GramBlocks(source=np.eye(20), target=np.eye(10), target_source=np.zeros((10, 20)))
    with pytest.raises(InvalidInput, match="has 10 rows and the target 5 points"):
        pretraining_curves(problem, gram=H)


def test_noise_on_source_labels_brings_the_turn_forward():
    best = [pretraining_curves(SphereTask(label_noise=s).problem())["displacement"].best(2000) for s in (0.0, 0.3, 1.0, 3.0)]
    assert best[0] is None
    assert all(later is not None for later in best[2:])
    assert best[2] > best[3]


def test_the_turn_of_a_parabola_is_its_vertex():
    steps = (0, 1, 3, 7, 20)
    vertex = math.log1p(5)
    values = [(math.log1p(k) - vertex) ** 2 + 1 for k in steps]
    assert abs(_turn(steps, values) - vertex) < 1e-12
    assert _turn(steps, list(steps)) is None
    assert _turn(steps, [-k for k in steps]) is None
