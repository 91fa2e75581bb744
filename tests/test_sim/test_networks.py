"""Initial nets: exact orthogonality, antisymmetry, scale, and widths that do not fit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.dynamics import BlockedNet
from sim.networks import initial_net
from tests.helpers import assert_exact, assert_z
from theory.errors import InvalidInput


@given(c=st.integers(1, 12), blocks=st.integers(1, 5), antisymmetric=st.booleans(), seed=st.integers(0, 10**6))
def test_readouts_are_signs_with_exactly_orthogonal_columns(c, blocks, antisymmetric, seed):
    width = blocks * 16 * (2 if antisymmetric else 1)
    _, a = initial_net(width, 3, c, antisymmetric=antisymmetric, seed=seed)
    assert set(np.unique(a)) <= {-1.0, 1.0}
    assert_exact(a.T @ a, width * np.eye(c), ulps=0)


@given(seed=st.integers(0, 10**6), c=st.integers(1, 3))
def test_antisymmetric_nets_hold_each_neuron_twice(seed, c):
    W, a = initial_net(64, 5, c, seed=seed)
    assert_exact(W[:32], W[32:], ulps=0)
    assert_exact(a[:32], -a[32:], ulps=0)


def test_antisymmetric_outputs_vanish_and_others_do_not():
    X = np.random.default_rng(0).standard_normal((7, 5))
    for antisymmetric, bound in ((True, 1e-13), (False, np.inf)):
        W, a = initial_net(1024, 5, 2, antisymmetric=antisymmetric)
        outputs = BlockedNet(W, a, map).outputs(X)
        assert np.abs(outputs).max() < bound
    assert np.abs(outputs).min() > 1e-3


def test_weights_have_the_stated_scale():
    W, _ = initial_net(4096, 8, 1, init_scale=3.0, antisymmetric=False)
    # E w² = 9; w² is independent from entry to entry.
    assert_z(W.ravel() ** 2, 9.0)
    assert_z(W.ravel(), 0.0)


def test_scale_and_outputs_leave_the_directions_as_they_were():
    W, _ = initial_net(64, 4, 1, seed=3)
    assert_exact(initial_net(64, 4, 1, init_scale=2.0, seed=3)[0], 2 * W, ulps=0)
    assert_exact(initial_net(64, 4, 8, seed=3)[0], W, ulps=0)
    assert not np.array_equal(initial_net(64, 4, 1, seed=4)[0], W)
    assert not np.isin(initial_net(128, 4, 1, seed=3)[0], W).any()  # nets of two widths share no neuron


@pytest.mark.parametrize(
    ("width", "c", "antisymmetric", "multiple"),
    [(0, 1, False, 1), (-2, 1, True, 2), (7, 1, True, 2), (40, 10, False, 16), (48, 10, True, 32), (2.0, 1, True, 2)],
)
def test_a_width_that_does_not_fit_is_refused_with_what_does(width, c, antisymmetric, multiple):
    with pytest.raises(InvalidInput, match=rf"width is {width}; a positive multiple of {multiple} is allowed"):
        initial_net(width, 3, c, antisymmetric=antisymmetric)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_that_is_not_positive_and_finite_is_refused(scale):
    with pytest.raises(InvalidInput, match="init_scale is"):
        initial_net(4, 3, 1, init_scale=scale)
