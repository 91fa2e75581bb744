"""The experiment on fresh heads and equal flatness: its claims can fail, its nets come back from the cache."""

from dataclasses import replace

import numpy as np
import pytest

from sim.experiments import fresh_head, run_experiment
from sim.networks import initial_net
from sim.records import Cache
from sim.tasks import SphereTask, problem_of
from tests.helpers import lasting
from theory.numeric import stages
from theory.numeric.gram import relu_gram
from theory.numeric.ruled_out import fresh_head_energy
from theory.numeric.spectrum import GramSpectrum

SMOKE = fresh_head.Config.profile("smoke")


def verdicts(results):
    return {c["claim"]: c["verdict"] for c in results["claims"]}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return Cache(tmp_path_factory.mktemp("cache"))


def test_no_claim_fails_and_the_energy_is_the_predicted_one(cache):
    results = fresh_head.run(SMOKE, cache)
    found = verdicts(results)
    assert "failed" not in found.values()
    assert found["width times the energy that pretraining adds to the outputs of a fresh head"] == "held"
    assert len(results["cells"]) == len(fresh_head.RATES) * len(SMOKE.widths)


def test_the_old_head_in_place_of_a_fresh_one_fails(cache, tmp_path, monkeypatch):
    """With the head that was pretrained outputs do not vanish: both claims on it must fail."""

    def old_signs(purpose, width, seed):
        a = initial_net(width, 16, 1, seed=seed)[1]

        class Old:
            def choice(self, _, size):
                return np.repeat(a, size[1], axis=1)

        return Old()

    monkeypatch.setattr(fresh_head, "generator", old_signs)
    found = verdicts(fresh_head.run(SMOKE, Cache(tmp_path)))
    assert found["exponent in width: what pretraining adds to the outputs of a fresh head, root mean square"] == "failed"
    assert found["width times the energy that pretraining adds to the outputs of a fresh head"] == "failed"


def test_a_wrong_prediction_fails(cache, monkeypatch):
    monkeypatch.setattr(fresh_head, "fresh_head_energy", lambda *args: 2 * fresh_head_energy(*args))
    assert verdicts(fresh_head.run(SMOKE, cache))["width times the energy that pretraining adds to the outputs of a fresh head"] == "failed"


def test_the_prediction_is_relative_to_the_labels():
    task = SMOKE.tasks[0]
    (X_P, y_P), (X_Q, y_Q) = problem_of(task).source, problem_of(task).target
    P = GramSpectrum.of(relu_gram(X_P))
    energy = fresh_head_energy(X_P, stages.coefficients(P, y_P, 1 / P.largest, 10), X_Q).sum()
    assert fresh_head._predicted(task, 10) == pytest.approx(energy / (y_Q @ y_Q), rel=1e-12)


def test_nets_come_back_from_the_cache(cache, tmp_path, monkeypatch):
    first = run_experiment("fresh_head", "smoke", tmp_path / "a", cache=cache)
    monkeypatch.setattr(fresh_head, "_train", lambda *_: pytest.fail("trained again"))
    again = run_experiment("fresh_head", "smoke", tmp_path / "b", cache=cache)
    assert lasting(again) == lasting(first)


def test_other_settings_are_other_nets(cache, monkeypatch):
    monkeypatch.setattr(fresh_head, "_train", lambda *_: pytest.fail("trained"))
    fresh_head.run(SMOKE, cache)
    for other in (replace(SMOKE, steps=11), replace(SMOKE, tasks=(SphereTask(n_source=20, n_target=10, n_test=1, seed=1),))):
        with pytest.raises(pytest.fail.Exception, match="trained"):
            fresh_head.run(other, cache)
