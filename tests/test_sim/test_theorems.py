"""The experiments on theorems 1 and 2: their nets are those that `simulate` trains, theory holds, and a wrong constant fails."""

import math
from dataclasses import replace

import numpy as np
import pytest

import ptoq
from sim.experiments import theorem_1, theorem_2
from sim.experiments.pretrained import PretrainedSpec, measured, squared_gradient
from sim.experiments.replicates import predictions
from sim.records import Cache
from sim.tasks import SphereTask, problem_of
from tests.helpers import assert_dtype_close
from theory.numeric.initialisation import Moments, start_moments

TASK = SphereTask(n_source=20, n_target=10, n_test=4)
QUICK_1 = theorem_1.Config.profile("quick")
FIRST = replace(
    QUICK_1,
    tasks=(SphereTask(n_source=40, n_target=20, n_test=4),),
    source_steps=(1, 10),
    scales=(1.0, 2.0),
    start_width=256,
    widths=(64, 128, 256, 512),
    scale_width=128,
    seeds=3,
)
SECOND = replace(
    theorem_2.Config.profile("quick"),
    inputs=(1.0,),
    noises=(0.0,),
    widths=(64, 128, 256, 512),
    source_steps=10,
    target_steps=20,
    small_widths=(64, 256),
    small_seeds=4,
)


def verdicts(module, config, cache):
    return [(c["claim"], c["verdict"]) for c in module.run(config, cache)["claims"]]


def of(found, words):
    return {verdict for claim, verdict in found if words in claim}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return Cache(tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("antisymmetric", [True, False])
def test_what_is_left_after_pretraining_is_what_simulate_sees(antisymmetric):
    net = measured(PretrainedSpec(task=TASK, width=128, seed=3, source_steps=(0, 7), antisymmetric=antisymmetric))
    for index, steps in enumerate((0, 7)):
        outcome = ptoq.simulate(problem_of(TASK), ptoq.Schedule(steps, 0), width=128, seed=3, antisymmetric=antisymmetric)
        for rung, expected in (("trained", outcome.gradient_energy), ("frozen", outcome.frozen.gradient_energy)):
            assert_dtype_close(np.float64(np.sum(np.square(net[rung][index]["residual"]))), expected, 1e-3, scale=expected)
    assert net["trained"][0]["residual"] == pytest.approx(net["scratch"], rel=1e-12)
    assert net["trained"][0]["gradient"] == pytest.approx(net["frozen"][0]["gradient"], rel=1e-12)


def test_the_squared_gradient_is_that_of_the_loss():
    rng = np.random.default_rng(0)
    W, X, y, a = rng.standard_normal((6, 3)), rng.standard_normal((4, 3)), rng.standard_normal(4), np.array([1, -1] * 3)
    loss = lambda V: np.sum((y - a @ np.maximum(V @ X.T, 0) / math.sqrt(6)) ** 2) / 2  # noqa: E731
    step, gradient = 1e-6, np.zeros_like(W)
    for index in np.ndindex(W.shape):
        there = np.zeros_like(W)
        there[index] = step
        gradient[index] = (loss(W + there) - loss(W - there)) / (2 * step)
    left = y - a @ np.maximum(W @ X.T, 0) / math.sqrt(6)
    assert_dtype_close(np.float64(squared_gradient(W, X, left)), np.sum(gradient**2), 1.0, scale=np.sum(gradient**2))


def test_theorem_1_holds(cache):
    found = verdicts(theorem_1, FIRST, cache)
    assert of(found, "frozen kernel") == {"held"}


@pytest.mark.parametrize(
    "fault",
    [
        lambda r, S, *, init_scale, weight: Moments(float(r @ weight @ r), 1.0),  # the term in κ² missing
        lambda r, S, *, init_scale, weight: start_moments(r, S, init_scale=2 * init_scale, weight=weight),  # κ for κ²: 4 of it
        lambda r, S, *, init_scale, weight: start_moments(r, np.trace(S) / len(S) * S, init_scale=init_scale, weight=weight),
    ],
)
def test_theorem_1_with_a_wrong_term_in_kappa_fails_at_the_quick_number_of_starts(fault, cache, monkeypatch):
    assert FIRST.starts == QUICK_1.starts
    monkeypatch.setattr(theorem_1, "start_moments", fault)
    assert "failed" in of(verdicts(theorem_1, FIRST, cache), "frozen kernel: gradient energy")


def test_theorem_1_companion_with_the_wrong_metric_fails(cache, monkeypatch):
    """The gradient energy in place of the squared gradient in the weights."""
    exact = theorem_1._Theory.mean
    monkeypatch.setattr(theorem_1._Theory, "mean", lambda self, quantity, scale: exact(self, "energy", scale))
    assert "failed" in of(verdicts(theorem_1, FIRST, cache), "frozen kernel: squared gradient")


def test_theorem_2_holds(cache):
    found = verdicts(theorem_2, SECOND, cache)
    assert "failed" not in {verdict for _, verdict in found}
    assert of(found, "frozen kernel: slope") == {"held"}
    assert of(found, "beyond the bound") == {"held"}


def test_theorem_2_with_a_wrong_constant_fails(cache, monkeypatch):
    def doubled(*args):
        return [replace(p, displacement=math.sqrt(2) * p.displacement) for p in predictions(*args)]

    monkeypatch.setattr(theorem_2, "predictions", doubled)
    found = verdicts(theorem_2, SECOND, cache)
    assert "failed" in of(found, "frozen kernel: slope")
    assert "failed" in of(found, "share of the variance")


def test_theorem_2_without_its_error_term_fails(cache, monkeypatch):
    """The first term alone is no bound on a finite net."""
    exact = theorem_2.bounded
    monkeypatch.setattr(theorem_2, "bounded", lambda *args: [{**net, "longest": net["own_first"]} for net in exact(*args)])
    assert "failed" in of(verdicts(theorem_2, SECOND, cache), "beyond the bound")
