"""Merged nets against the literal ones, bounds that must be able to fail, and forgetting along the way."""

from dataclasses import asdict, fields

import numpy as np
import pytest

import ptoq
from sim.condensed import condensed, measured_run
from sim.estimate import estimate
from sim.experiments import bounds_against_error, forgetting
from sim.experiments.guarantees import Spread
from sim.forgetting_nets import ForgettingSpec, forgetting_net, forgotten, predicted_forgetting
from sim.measured_bounds import KINDS, measured_bounds, outside
from sim.records import Cache
from sim.tasks import SphereTask
from tests.helpers import assert_dtype_close
from theory.bounds.transfer import KernelErrors, PerturbedTransfer
from theory.definitions import network
from theory.problem import Schedule

SPREAD = Spread(points=2, angle=0.6, label=0.3).problem()
SHORT = Schedule(source_steps=3, target_steps=3, source_lr=1.0, target_lr=1.0)


@pytest.mark.parametrize("width", [64, 2048, 20_000])
def test_a_merged_net_runs_and_counts_as_the_whole_one(width):
    prepared = PerturbedTransfer(SPREAD, SHORT)
    W, a = network.initial(width, 4, 1.0, 7)
    net, errors, counts = measured_run(prepared, W, a)
    whole = network.run(SPREAD, prepared.schedule, W, a)
    X = np.concatenate([SPREAD.source[0], SPREAD.target[0]])
    active = (W @ X.T > 0).astype(float)
    assert np.array_equal(counts, active.T @ active)
    if width > 10_000:
        assert len(net.W) < width / 4
    for name in ("source_displacement", "displacement", "farthest", "gradient_energy"):
        assert_dtype_close(np.float64(getattr(net, name)), getattr(whole, name), 1e-4, scale=1.0)
    assert_dtype_close(net.target_residuals, whole.target_residuals, 1e-4, scale=1.0)
    literal = network.kernel_errors(SPREAD, prepared.schedule, prepared.gram, W, a, whole)
    for mine, theirs in zip(errors, literal, strict=True):
        for item in fields(KernelErrors):
            value = getattr(theirs, item.name)
            if np.isfinite(value):
                assert_dtype_close(np.float64(getattr(mine, item.name)), value, 1e-2, scale=1.0)


def test_merging_neurons_that_do_turn_is_not_the_same_net():
    """The test above can fail: merged without regard to how far they move, counts along the run are others."""
    W, a = network.initial(400, 4, 0.05, 0)
    small = condensed(W, a, np.concatenate([SPREAD.source[0], SPREAD.target[0]]), 0.0)
    assert len(small.W) < len(W)
    assert int(small.copies.sum()) == len(W)
    merged, whole = (network.run(SPREAD, SHORT, *net) for net in ((small.W, small.a, small.copies), (W, a)))
    assert abs(merged.displacement / whole.displacement - 1) > 1e-3
    net, _, _ = measured_run(PerturbedTransfer(SPREAD, SHORT), W, a)
    assert_dtype_close(np.float64(net.displacement), whole.displacement, 1e-4, scale=1.0)


def test_a_net_is_inside_its_bounds_and_one_that_moved_more_is_not():
    problem = SphereTask(n_source=6, n_target=4, n_test=3).problem()
    net = measured_bounds(problem, Schedule(source_steps=4, target_steps=4), 512, 0)
    for kind in KINDS:
        assert not outside(net, kind)
        assert outside({**net, "displacement": 1.001 * net["kinds"][kind]["bands"]["displacement"][1]}, kind)
        for name, bound in net["kinds"][kind]["distances"].items():
            assert net["distances"][name] < bound
            assert outside({**net, "distances": {**net["distances"], name: 1.001 * bound}}, kind)


def test_nets_outside_fail_the_experiment(monkeypatch, tmp_path):
    config = bounds_against_error.Config.profile("smoke")
    assert {c["verdict"] for c in bounds_against_error.run(config, Cache(tmp_path))["claims"]} == {"held"}
    monkeypatch.setattr(bounds_against_error, "outside", lambda net, kind: kind == "residual")
    found = bounds_against_error.run(config, Cache(tmp_path))
    assert {c["verdict"] for c in found["claims"] if "residuals" in c["claim"]} == {"failed"}
    assert {t["outside"]["residual"]["upper"] for t in found["tasks"]} == {1.0}


def test_forgetting_on_the_way_ends_in_that_of_the_outcome():
    task = SphereTask(n_source=12, n_target=8, n_test=2)
    theory = predicted_forgetting(task, (2, 9), (1, 4, 7))
    for row, k in zip(theory, (2, 9), strict=True):
        outcome = ptoq.predict(task.problem(), Schedule(source_steps=k, target_steps=7, snapshots=(1, 4)))
        assert_dtype_close(np.float64(row[-1]), outcome.forgetting, 1e-6, scale=1.0)
        assert_dtype_close(np.array(row), np.array(forgotten(outcome, (1, 4, 7))), 1e-6, scale=1.0)
        shorter = ptoq.predict(task.problem(), Schedule(source_steps=k, target_steps=4))
        assert_dtype_close(np.float64(row[1]), shorter.forgetting, 1e-6, scale=1.0)


def test_forgetting_holds_for_nets_and_fails_for_another_source_label():
    task = SphereTask(n_source=20, n_target=12, n_test=2, label_similarity=0.9)
    nets = [
        forgetting_net(ForgettingSpec(task=task, source_steps=(20,), target_steps=(2, 10), width=1024, seed=s, dtype="float64"))
        for s in range(8)
    ]
    rungs = {rung: [net[rung][0][0] for net in nets] for rung in ("frozen", "trained")}
    right = predicted_forgetting(task, (20,), (2, 10))[0][0]
    assert {c.verdict for c in forgetting._claims("", "", "", rungs, right)} == {"held"}
    wrong = predicted_forgetting(SphereTask(n_source=20, n_target=12, n_test=2, label_similarity=-0.9), (20,), (2, 10))[0][0]
    assert next(forgetting._claims("", "", "", rungs, wrong)).verdict == "failed"
    assert asdict(estimate(rungs["trained"]))["mean"] > 0
