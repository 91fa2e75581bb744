"""The experiments on random initial weights and on the drift of orthogonal inputs can fail, and hold where theory is right."""

from dataclasses import replace

import pytest

from sim.execution import execution
from sim.experiments import initialisation, orthogonal_drift
from sim.records import Cache
from sim.tasks import SphereTask
from theory.numeric import drift
from theory.numeric.gram import relu_gram

SMALL = replace(
    initialisation.Config.profile("smoke"),
    tasks=(SphereTask(n_source=8, n_target=4, n_test=4, dimension=3),),
    width=16,
    seeds=8,
    start_nets=256,
    source_steps=5,
    target_steps=5,
)


def verdicts(module, config, tmp_path):
    # In this process, where a planted fault is seen.
    with execution(jobs=1):
        claims = module.run(config, Cache(tmp_path))["claims"]
    return {(c["claim"], c["at"]): c["verdict"] for c in claims}


def test_theory_holds(tmp_path):
    found = verdicts(initialisation, SMALL, tmp_path)
    assert len(found) == 8
    assert set(found.values()) == {"held"}


@pytest.mark.parametrize(
    ("name", "fault", "words"),
    [
        ("output_kernel", lambda X, Z=None: relu_gram(X, Z), "initial outputs: along"),
        ("start_covariance", lambda P, QP, Q, A: Q, "gradient energy ‖r̃‖²"),
    ],
)
def test_a_wrong_formula_fails(name, fault, words, tmp_path, monkeypatch):
    monkeypatch.setattr(initialisation, name, fault)
    found = verdicts(initialisation, SMALL, tmp_path)
    assert any(verdict == "failed" for (claim, _), verdict in found.items() if words in claim)


def test_the_gaussian_limit_is_told_from_a_narrow_net(tmp_path, monkeypatch):
    exact = initialisation.start_moments

    def limit(*args, width=None, fourth_moment=None, **options):
        return exact(*args, **options)

    monkeypatch.setattr(initialisation, "start_moments", limit)
    found = verdicts(initialisation, replace(SMALL, start_nets=2048, kernel_nets=2), tmp_path)
    assert found["variance over random starts: square of one output", ""] == "failed"


def test_the_drift_has_its_size_and_its_exponent(tmp_path, monkeypatch):
    config = replace(orthogonal_drift.Config.profile("smoke"), widths=(128, 512, 2048, 8192), seeds=24, rates=(0.5,))
    found = verdicts(orthogonal_drift, config, tmp_path)
    assert set(found.values()) == {"held"}
    exact = drift.orthogonal_run
    # As if gates never closed: no drift at all.
    monkeypatch.setattr(orthogonal_drift, "orthogonal_run", lambda *args, init_scale, **options: exact(*args, init_scale=1e9, **options))
    assert "failed" in verdicts(orthogonal_drift, config, tmp_path).values()


def test_steps_leave_the_share_of_the_labels_that_is_asked_for():
    config = orthogonal_drift.Config.profile("quick")
    for rate in config.rates:
        steps = config.steps(rate)
        assert (1 - rate) ** steps <= config.residual < (1 - rate) ** (steps - 1)
