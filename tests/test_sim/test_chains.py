"""Chains of stages: the runner against what it must reduce to, and claims that a wrong theory fails."""

import numpy as np
import pytest

import ptoq
from sim.chain import left_over, losses, predicted_chain, rates, simulate_chain
from sim.chained_nets import ChainSpec, chain_net, joint_norm, stages_of, summary, sweep_factor, theory_of
from sim.chained_tasks import DigitSets, SphereSets, sets_of
from sim.experiments.chains import Route, _chain_claims, _cycle_claims
from sim.tasks import SphereTask
from tests.helpers import assert_dtype_close, assert_exact
from theory.chain import Stage, predict_chain
from theory.errors import InvalidInput
from theory.numeric.chains import sweep_matrix
from theory.numeric.gram import relu_gram

SPHERE = SphereSets(similarities=(0.6, 1.0), points=8)


def test_two_stages_are_what_simulate_does():
    problem = SphereTask(n_source=12, n_target=8, n_test=2).problem()
    outcome = ptoq.simulate(problem, ptoq.Schedule(source_steps=15, target_steps=10), width=256, seed=3, threads=1)
    trained, frozen = simulate_chain([Stage(*problem.source, 15), Stage(*problem.target, 10)], width=256, seed=3)
    for run, theirs in ((trained, outcome), (frozen, outcome.frozen)):
        assert_dtype_close(np.float64(run.displacement[1]), theirs.displacement, 1e-4, scale=1.0)
        assert_dtype_close(run.outputs[0][1], theirs.source_outputs, 1e-4, scale=1.0)
        assert_dtype_close(run.outputs[1][1], theirs.target_outputs, 1e-4, scale=1.0)


def test_a_set_that_is_met_again_is_one_set():
    stages = stages_of(SPHERE, (0, 1, 0), 10)
    trained, frozen = simulate_chain(stages, width=128)
    assert len(trained.outputs) == len(frozen.outputs) == 2
    assert trained.outputs[0].shape == (3, 8)


def test_infinite_width_is_predict_chain():
    stages = stages_of(SPHERE, (0, 1, 0), 20)
    run, outcome = predicted_chain(stages), predict_chain(stages)
    labels = [y for _, y in sets_of(SPHERE)]
    assert_exact(run.total, np.array(outcome.total_displacement), 64)
    assert_dtype_close(losses(run, labels), np.array(outcome.losses[1:]), 1e-3, scale=1.0)
    assert_dtype_close(left_over(run, labels)[-1:] ** 2 / 2, np.array([sum(outcome.losses[-1])]), 1e-3, scale=1.0)


def test_cycling_ends_at_the_joint_interpolant_at_the_rate_of_the_sweep():
    run = theory_of(SPHERE, (0, 1) * 60, 40)
    sets = sets_of(SPHERE)
    left = left_over(run, [y for _, y in sets])
    assert_dtype_close(np.float64(run.total[-1]), joint_norm(SPHERE), 10, scale=1.0)
    E = sweep_matrix(relu_gram(np.concatenate([X for X, _ in sets])), [len(y) for _, y in sets], rates(sets), [40, 40])
    r = np.concatenate([y for _, y in sets])
    for after in left[1:20:2]:
        r = E @ r
        assert_dtype_close(np.float64(after), np.linalg.norm(r), 1e-2, scale=1.0)
    # In the end by the spectral radius, which no norm of a sweep falls below.
    assert sweep_factor(SPHERE, 40) <= np.linalg.norm(E, ord=2)
    many = np.linalg.matrix_power(E / sweep_factor(SPHERE, 40), 400)
    assert 1e-3 < np.linalg.norm(many) < 1e3


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([], "stages is empty"),
        ([Stage(np.eye(2), np.ones(2))], "stage 0 has steps None"),
        ([Stage(np.eye(2), np.ones((2, 1)), 3)], r"labels of shape \(2, 1\)"),
    ],
)
def test_what_cannot_be_run_is_refused(stages, message):
    with pytest.raises(InvalidInput, match=message):
        simulate_chain(stages, width=16)


def test_digit_sets_are_checked():
    with pytest.raises(InvalidInput, match="two different classes"):
        DigitSets(parts=(("digits", 1, 1),))
    with pytest.raises(InvalidInput, match="points is 900"):
        DigitSets(points=900).sets()


def verdicts(claims):
    found = {}
    for c in claims:
        found.setdefault(c.claim, set()).add(c.verdict)
    return found


def test_claims_hold_for_nets_and_fail_for_a_wrong_theory():
    """Planted errors: stages predicted as if each started from scratch, and a sweep that shrinks what is left twice as fast."""
    route = Route(task=SPHERE, steps=20)
    nets = [chain_net(ChainSpec(task=SPHERE, order=route.order, steps=20, width=2048, seed=s, dtype="float64")) for s in range(8)]
    theory = theory_of(SPHERE, route.order, 20)
    right = summary(theory, theory, SPHERE)
    held = verdicts(_chain_claims(route, right, nets, "", 2048))
    assert all(v == {"held"} for v in held.values())
    alone = theory_of(SPHERE, (1,), 20)
    wrong = {**right, "displacement": [right["displacement"][0], float(alone.displacement[0])]}
    failed = verdicts(_chain_claims(route, wrong, nets, "", 2048))
    assert "failed" in failed["frozen kernel: displacement of a stage"]
    cycle = Route(task=SPHERE, sweeps=2, steps=20)
    nets = [chain_net(ChainSpec(task=SPHERE, order=cycle.order, steps=20, width=2048, seed=s, dtype="float64")) for s in range(8)]
    theory = theory_of(SPHERE, cycle.order, 20)
    right = summary(theory, theory, SPHERE)
    assert all(v == {"held"} for v in verdicts(_cycle_claims(cycle, right, nets, "", 2048)).values())
    faster = {**right, "left": [*right["left"][:-1], right["left"][-1] / 2]}
    failed = verdicts(_cycle_claims(cycle, faster, nets, "", 2048))
    for rung in ("frozen kernel", "trained net"):
        assert failed[f"{rung}: factor by which a sweep shrinks what is left on all sets, geometric mean"] == {"failed"}
