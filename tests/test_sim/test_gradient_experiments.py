"""The experiments on suppression and on the loss along the gradient: exact where they must be, and a wrong constant fails."""

from dataclasses import replace

import numpy as np
import pytest

from sim.experiments import along_gradient, suppression
from sim.experiments.equiangular import EquiangularTask
from sim.experiments.gradient_excess import ExcessTheory, expected_excess, wide_excess
from sim.experiments.gradient_lines import POINTS, LineSpec, line, predicted
from sim.experiments.modes import modes
from sim.networks import initial_net
from sim.records import Cache
from sim.tasks import SphereTask, problem_of
from tests.helpers import assert_dtype_close
from theory.errors import InvalidInput
from theory.numeric import landscape
from theory.numeric.spectrum import GramSpectrum

TASK = SphereTask(n_source=30, n_target=15, n_test=4)
MODES = replace(suppression.Config.profile("quick"), tasks=(TASK, EquiangularTask(n_source=20, n_target=6)), source_steps=(5,), width=1024)
LINES = replace(
    along_gradient.Config.profile("quick"), tasks=(TASK,), widths=(128, 256, 512, 1024), source_steps=10, steps=(0, 5), dtype="float64"
)


def verdicts(module, config, cache):
    return [(c["claim"], c["verdict"]) for c in module.run(config, cache)["claims"]]


def of(found, words):
    return {verdict for claim, verdict in found if words in claim}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return Cache(tmp_path_factory.mktemp("cache"))


def test_equiangular_points_have_a_principal_component_of_ones_and_one_more_eigenvalue():
    task = EquiangularTask(n_source=20, n_target=6)
    y_Q = problem_of(task).target[1]
    principal, others = modes(task, 5, 4)
    assert (principal.multiplicity, others.multiplicity) == (1, 5)
    assert_dtype_close(np.abs(principal.basis[:, 0]), np.full(6, 6**-0.5), 1e-3, scale=1.0)
    assert principal.scratch + others.scratch == pytest.approx(float(y_Q @ y_Q), rel=1e-12)
    assert principal.scratch == pytest.approx(6 * y_Q.mean() ** 2, rel=1e-9)
    with pytest.raises(InvalidInput, match=r"cosine is 1; a number in \[0, 1\)"):
        EquiangularTask(cosine=1)


def test_leading_modes_and_all_the_rest_make_up_the_whole():
    remaining = modes(TASK, 5, 15)
    parts = modes(TASK, 5, 3)
    assert [part.name for part in parts] == ["the principal component", "mode 2", "mode 3", "all other modes"]
    assert [part.value for part in parts[:3]] == sorted((part.value for part in parts[:3]), reverse=True)
    assert sum(part.predicted for part in parts) == pytest.approx(sum(part.predicted for part in remaining), rel=1e-12)
    rest = parts[-1]
    assert rest.along(rest.remaining[None, :])[0] == pytest.approx(rest.length, rel=1e-12)
    assert rest.energies(rest.remaining[None, :])[0] == pytest.approx(rest.predicted, rel=1e-12)


def test_suppression_holds_and_a_factor_of_two_fails(cache, monkeypatch):
    found = verdicts(suppression, MODES, cache)
    assert "failed" not in {verdict for _, verdict in found}
    assert MODES.seeds == suppression.Config.profile("quick").seeds
    exact = suppression.modes
    monkeypatch.setattr(suppression, "modes", lambda *args: [replace(part, predicted=2 * part.predicted) for part in exact(*args)])
    found = verdicts(suppression, MODES, cache)
    assert "failed" in of(found, "frozen kernel: gradient left")
    assert "failed" in of(found, "trained net: gradient energy left")


def test_suppression_of_the_wrong_mode_fails(cache, monkeypatch):
    """Eigenspaces in the opposite order: the least in place of the principal component."""
    exact = suppression.modes

    def reversed_spaces(*args):
        parts = exact(*args)
        return [replace(part, basis=other.basis) for part, other in zip(parts, reversed(parts), strict=True)]

    monkeypatch.setattr(suppression, "modes", reversed_spaces)
    assert "failed" in of(verdicts(suppression, MODES, cache), "frozen kernel: gradient left in the principal component")


def test_where_no_neuron_switches_a_line_is_the_frozen_kernels():
    """Weights so large that a step turns no gate; antisymmetric, so that outputs are zero all the same."""
    X, y = problem_of(TASK).target
    W, a = initial_net(256, X.shape[1], 1, init_scale=2.0**40, seed=1)
    active = (W @ X.T > 0).astype(float)
    K = GramSpectrum.of((X @ X.T) * (active.T @ active) / 256)
    # Outputs are differences of numbers of the size of the weights: what rounding leaves of them is no part of the comparison.
    lr, reach, W = 0.5 / K.largest, 2 / K.largest, W * 2.0**-24
    found = line(W, a[:, 0], X, y, lr, reach)
    low, high = landscape.loss_range_along_gradient(K, y, 0.0, reach)
    expected = {
        "range": high - low,
        "gradient": landscape.gradient_norm(K, y),
        "change": landscape.gradient_change(K, y, lr),
        "smoothness": landscape.effective_smoothness(K, y),
    }
    for name, value in expected.items():
        assert_dtype_close(np.float64(found[name]), value, 1.0, scale=value)
    losses = [landscape.loss_along_gradient(K, y, size) for size in np.linspace(0, reach, POINTS)]
    assert_dtype_close(np.array(found["loss"]), np.array(losses), 1.0, scale=losses[0])


def test_the_loss_along_the_gradient_starts_downhill_at_the_squared_gradient():
    X, y = problem_of(TASK).target
    W, a = initial_net(64, X.shape[1], 1, antisymmetric=False, seed=2)
    tiny = 1e-7
    found = line(W, a[:, 0], X, y, tiny, tiny * (POINTS - 1))
    slope = (found["loss"][0] - found["loss"][1]) / tiny
    assert slope == pytest.approx(found["gradient"] ** 2, rel=1e-5)


def test_lines_hold_and_wrong_powers_of_the_kernel_fail(cache, monkeypatch):
    found = verdicts(along_gradient, LINES, cache)
    assert of(found, "frozen kernel: ") == {"held"}
    assert "failed" not in of(found, "trained net")
    assert of(found, "√m times the excess") == {"held"}
    assert LINES.seeds == along_gradient.Config.profile("quick").seeds

    def one_power_less(spectrum, r, lr):
        """`rᵀH²r` in place of `rᵀH³r`, brought to the same units by `λ_max`."""
        return lr * (spectrum.largest * landscape._moment(spectrum, r, 2)) ** 0.5

    base = LineSpec(task=TASK, width=128, seed=0, source_steps=10, steps=(0, 5), rate=LINES.rate, reach=LINES.reach)
    monkeypatch.setattr(landscape, "gradient_change", one_power_less)
    wrong = predicted(base)
    monkeypatch.setattr(along_gradient, "predicted", lambda _: wrong)
    found = verdicts(along_gradient, LINES, cache)
    assert "failed" in of(found, "frozen kernel: change of the gradient")
    assert "failed" in of(found, "frozen kernel: effective smoothness")
    assert of(found, "frozen kernel: range") == {"held"}


def test_the_excess_at_large_width_is_the_first_order_one_and_a_half_of_it_fails(cache, monkeypatch):
    whole = expected_excess(ExcessTheory(task=TASK, steps=(0, 5), rate=LINES.rate))
    # Late in training switches are most of the change.
    assert whole["excess"][1] > 3 * whole["excess"][0] > 0
    half = {**whole, "excess": [value / 2 for value in whole["excess"]]}
    monkeypatch.setattr(along_gradient, "expected_excesses", lambda *_: [half])
    config = replace(LINES, widths=(512, 1024, 2048, 4096), seeds=16)
    assert "failed" in of(verdicts(along_gradient, config, cache), "√m times the excess")
    monkeypatch.undo()
    assert of(verdicts(along_gradient, config, cache), "√m times the excess") == {"held"}


def test_an_excess_with_two_orders_is_taken_to_its_first():
    widths = np.array([64, 256, 1024, 4096])
    spread = np.random.default_rng(0).normal(size=(4, 16))
    spread -= spread.mean(axis=1, keepdims=True)
    frozen = np.full((4, 16), 2.0)
    relative = (3 / np.sqrt(widths) + 5 / widths)[:, None] * (1 + 0.1 * spread)
    found = wide_excess(widths, frozen * (1 + relative), frozen)
    assert found.mean == pytest.approx(3, rel=1e-9)
    assert 0 < found.standard_error < 0.3
    assert found.n == 16
