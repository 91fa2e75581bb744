"""The stage experiment: its estimator of a turn, and the theory it is held against."""

import math

import numpy as np
import pytest

import ptoq
from sim.experiments.arms import Arm, Cell
from sim.experiments.pretraining_stage import _claims, _turn
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
            "squared_displacement": outcome.displacement**2,
            "squared_test_error": outcome.test_mse * len(problem.test[0]),
        }
        for name, value in expected.items():
            assert_dtype_close(np.float64(curves[name](k)), value, 1e-2, scale=max(value, 1.0))


def test_without_test_points_there_is_no_test_curve_and_coupled_blocks_are_refused():
    problem = SphereTask(n_source=10, n_target=5).problem()
    problem = ptoq.TransferProblem(source=problem.source, target=problem.target)
    assert set(pretraining_curves(problem)) == {"gradient_energy", "squared_displacement"}
    H = GramBlocks(source=np.eye(20), target=np.eye(10), target_source=np.zeros((10, 20)))
    with pytest.raises(InvalidInput, match="has 10 rows and the target 5 points"):
        pretraining_curves(problem, gram=H)
    with pytest.raises(InvalidInput, match="int and int were given"):
        pretraining_curves(5, 3)


def test_noise_on_source_labels_brings_the_turn_forward():
    best = [pretraining_curves(SphereTask(label_noise=s).problem())["squared_displacement"].best(2000) for s in (0.0, 0.3, 1.0, 3.0)]
    assert best[0] is None
    assert all(later is not None for later in best[2:])
    assert best[2] > best[3]


def cells(trained):
    """A turn at log(1 + k) = log 3 in theory and frozen nets; trained nets as given."""
    steps = (0, 1, 2, 5, 20)
    truth = [(math.log1p(k) - math.log(3)) ** 2 + 1 for k in steps]
    noise = np.random.default_rng(0).standard_normal((5, 8)) * 1e-3
    frozen = [tuple(v + e for e in row) for v, row in zip(truth, noise, strict=True)]
    return steps, [Cell("displacement", k, v, f, t) for k, v, f, t in zip(steps, truth, frozen, trained(truth, noise), strict=True)]


def verdicts_of(trained):
    steps, made = cells(trained)
    found = _claims(Arm(task=SphereTask(), width=64, source_steps=steps), "displacement", made)
    return {f"{c.claim.split(':')[0]}: {'turn' if 'turn' in c.claim else c.at}": c.verdict for c in found}


def test_nets_that_follow_the_theory_hold_every_claim():
    verdicts = verdicts_of(lambda truth, noise: [tuple(v - e for e in row) for v, row in zip(truth, noise, strict=True)])
    assert len(verdicts) == 6
    assert set(verdicts.values()) == {"held"}


def test_nets_that_never_fall_fail_the_fall_and_the_turn():
    """The rise at the end alone must not pass for a turn, and no claim may be left out."""
    verdicts = verdicts_of(lambda truth, noise: [tuple(1 + 0.5 * i + e for e in row) for i, row in enumerate(noise)])
    assert len(verdicts) == 6
    assert verdicts["trained net: turn"] == "failed"
    assert verdicts["trained net: 0 to 2 source steps"] == "failed"
    assert verdicts["trained net: 2 to 20 source steps"] == "held"


def test_the_turn_of_a_parabola_is_its_vertex():
    steps = (0, 1, 3, 7, 20)
    vertex = math.log1p(5)
    values = [(math.log1p(k) - vertex) ** 2 + 1 for k in steps]
    assert abs(_turn(steps, values) - vertex) < 1e-12
    assert _turn(steps, list(steps)) is None
    assert _turn(steps, [-k for k in steps]) is None
