"""The masked step and the outputs, in every array library, with and without a batch of nets."""

from __future__ import annotations

import numpy as np
import pytest

from sim.elementwise import masked, relu_outputs
from tests.helpers import assert_dtype_close, assert_exact
from theory.arrays import to_numpy

DTYPES = [np.float64, np.float32]


def net(batch, c, dtype, m=50, n=7):
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((*batch, m, n))
    Z[..., ::4, 1] = 0  # at the kink a neuron is not active
    return Z.astype(dtype), rng.choice([-1.0, 1.0], size=(*batch, m, c)).astype(dtype), rng.standard_normal((*batch, n, c))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
@pytest.mark.parametrize("c", [1, 4])
def test_against_the_definition_neuron_by_neuron(xp_case, batch, c, dtype):
    Z, a, direction = net(batch, c, dtype)
    u = relu_outputs(xp_case.load(Z), xp_case.load(a))
    M = masked(*(xp_case.load(x) for x in (Z, a, direction)))
    want_u, want_M = np.zeros((*batch, 7, c)), np.zeros(Z.shape)
    for at in np.ndindex(*Z.shape):
        if Z[at] > 0:
            *b, r, i = at
            want_u[(*b, i)] += a[(*b, r)].astype(float) * Z[at]
            want_M[at] = a[(*b, r)].astype(float) @ direction[(*b, i)]
    assert_dtype_close(u, xp_case.load(want_u), 2**-8 if dtype == np.float64 else 2**8, scale=np.abs(Z).sum(-2).max())
    assert_exact(M, xp_case.load(want_M.astype(dtype)), c + 2, scale=np.abs(direction).sum(-1).max())


def test_outputs_show_a_nan(xp_case):
    Z, a, _ = net((2,), 3, np.float64)
    Z[1, 4, 5] = np.nan
    u = to_numpy(relu_outputs(xp_case.load(Z), xp_case.load(a)))
    assert np.argwhere(np.isnan(u)).tolist() == [[1, 5, p] for p in range(3)]


def test_the_masked_step_is_the_gradient_of_the_outputs(xp_case):
    # Central differences of uᵀ direction in Z, exact for a function that is linear between kinks.
    Z, a, direction = net((), 3, np.float64)
    Z[Z == 0] = 0.5
    M = masked(*(xp_case.load(x) for x in (Z, a, direction)))
    step = 1e-4  # below every |Z|, so that no kink is passed
    assert np.abs(Z).min() > step
    slopes = np.empty_like(Z)
    for at in np.ndindex(*Z.shape):
        up, down = Z.copy(), Z.copy()
        up[at] += step
        down[at] -= step
        slopes[at] = np.sum((relu_outputs(up, a) - relu_outputs(down, a)) * direction) / (2 * step)
    assert_dtype_close(M, xp_case.load(slopes), 1, scale=100.0)
