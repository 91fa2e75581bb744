"""Activations by quadrature: within their own error of closed forms, and refused where they do not converge."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import assert_dtype_close, assert_z
from theory import InvalidInput, NotConverged, TransferProblem, predict
from theory.numeric.kernels import Correlated, Quadrature, both_layers, deep, kernel
from theory.numeric.kernels.quadrature import gaussian_product
from theory.numeric.pairs import scaled_pair

special = pytest.importorskip("scipy.special")


def density(x):
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


CLOSED = {
    "relu": (kernel("relu"), lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(x.dtype)),
    "leaky": (kernel("leaky_relu", slope=-0.5), lambda x: np.where(x > 0, x, -x / 2), lambda x: np.where(x > 0, 1, x.dtype.type(-0.5))),
    "squared": (kernel("arccos2"), lambda x: np.maximum(x, 0) ** 2, lambda x: 2 * np.maximum(x, 0)),
    "cube": (kernel("monomial", power=3), lambda x: x**3, lambda x: 3 * x**2),
    "erf": (kernel("erf"), special.erf, lambda x: 2 / math.sqrt(math.pi) * np.exp(-x * x)),
    "gelu": (kernel("gelu"), lambda x: x * special.ndtr(x), lambda x: special.ndtr(x) + x * density(x)),
}
"""A closed form, and the same as functions."""


def pair_of(X, Z, kappa=1.0):
    rows, others = scaled_pair(X, Z)
    return Correlated.of(rows, others, kappa, exact=True)[0]


@st.composite
def row_pairs(draw):
    """Rows at every angle, exactly and nearly parallel and opposite among them, with norms from 0.05 to 3."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    d = draw(st.integers(1, 4))
    X = rng.normal(size=(2, d))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    turn = 10.0 ** draw(st.integers(-16, 0))
    Z = np.concatenate([X * draw(st.sampled_from([1, -1])) + turn * rng.normal(size=(2, d)), X[:1], -X[:1]])
    return X * draw(st.floats(0.05, 3)), Z * draw(st.floats(0.05, 3))


@given(st.sampled_from(list(CLOSED)), row_pairs())
@settings(max_examples=60)
def test_within_its_own_error_of_the_closed_form(name, rows):
    closed, function, derivative = CLOSED[name]
    pair = pair_of(*rows)
    for g, method in ((function, "dual"), (derivative, "derivative_dual")):
        value, error = gaussian_product(g, pair, tolerance=1e-10)
        want = getattr(closed, method)(*rows)
        own = [np.sqrt(np.diagonal(getattr(closed, method)(r))) for r in rows]
        scale = own[0][:, None] * own[1][None, :]
        assert np.all(error <= 1e-10 * scale * (1 + 1e-6))
        # The error that is told bounds the one that is made, but for the rounding of some thousand terms.
        assert np.all(np.abs(value - want) <= error + 2**8 * np.finfo(float).eps * scale)


@pytest.mark.parametrize("name", CLOSED)
def test_gram_of_a_function_is_that_of_its_closed_form(name):
    closed, function, derivative = CLOSED[name]
    given = kernel(function, derivative=derivative, init_scale=1.0)
    X = np.random.default_rng(1).normal(size=(4, 3))
    X[3] = 2 * X[0]
    for here, there in ((closed, given), (both_layers(closed), both_layers(given)), (deep(closed, 2), deep(given, 2))):
        H = here(X)
        # The tolerance is 1e-10; a second layer passes on what the first is off.
        assert_dtype_close(there(X), H, 2**-4, scale=np.abs(H).max())
        assert np.array_equal(there(X), there(X).T)


@pytest.mark.parametrize("name", ["relu", "leaky", "squared"])
def test_the_gap_of_the_outputs_keeps_its_digits(name):
    closed, function, _ = CLOSED[name]
    turns = 10.0 ** np.arange(-12.0, 1.0)
    pair = pair_of(np.array([[1.0, 0.0]]), np.stack([np.cos(turns), np.sin(turns)], axis=1))
    want = closed.activation.output_apart(pair, pair.cosine)
    # From 5e-25 to 1. Below the tolerance 1e-10 an angle, its root, is right to 1e-10; `1 − ρ'` would have left 1e-8 of it.
    assert_dtype_close(Quadrature(function).output_apart(pair, pair.cosine), want, 2**-6, scale=want + 1e-10)


def test_float32_and_every_array_library(xp_case):
    X = np.random.default_rng(2).normal(size=(3, 2))
    for dtype in (np.float64, np.float32):
        # Written with operators alone, it works in any library.
        k = kernel(lambda x: x / (1 + x * x), derivative=lambda x: (1 - x * x) / (1 + x * x) ** 2, tolerance=1e-6)
        want = k(X.astype(dtype))
        assert want.dtype == dtype
        assert_dtype_close(k(xp_case.load(X.astype(dtype))), xp_case.load(want), 2**2, scale=np.abs(want).max())


def test_kinks_away_from_zero_are_split_when_named():
    def clipped(x):
        return np.clip(x, -1, 1)

    def slope(x):
        return (np.abs(x) < 1).astype(x.dtype)

    rng = np.random.default_rng(3)
    X = np.array([[1.0, 0.0], [0.6, 0.8], [1.0, 1e-9], [-1.2, 0.5]])
    named = kernel(clipped, derivative=slope, kinks=(-1.0, 1.0), tolerance=1e-8)
    H, S = named.derivative_dual(X), named.dual(X)
    # One net of a million neurons: each entry is the mean of as many independent products.
    W = rng.normal(size=(1_000_000, 2))
    for i, j in ((0, 1), (0, 3), (1, 3)):
        u, v = W @ X[i], W @ X[j]
        assert_z(clipped(u) * clipped(v), float(S[i, j]))
        assert_z(slope(u) * slope(v), float(H[i, j]))
    # 2Φ(1) − 1, and the same for a row turned by 1e-9, less than 1e-8 of it.
    inside = math.erf(1 / math.sqrt(2))
    assert_dtype_close(np.array([H[0, 0], H[0, 2]]), np.full(2, inside), 1, scale=1.0)
    with pytest.raises(NotConverged, match=r"clipped, dual of its derivative: .*name the kinks") as caught:
        kernel(clipped, derivative=slope, tolerance=1e-8).derivative_dual(X)
    assert "1e-08 is allowed" in str(caught.value)


def test_the_error_is_told_and_falls_with_the_tolerance():
    pair = pair_of(np.eye(2), np.array([[0.6, 0.8]]))
    errors = [float(np.max(gaussian_product(np.tanh, pair, tolerance=t).error)) for t in (1e-3, 1e-7, 1e-12)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-12
    assert errors[0] < 1e-3


@pytest.mark.parametrize("what", ["steep", "growing"])
def test_what_does_not_converge_is_refused(what):
    X = np.eye(2)
    # A jump in all but name at 1e-5 of the input's scale; growth that outruns the normal density.
    function = {"steep": lambda x: np.tanh(1e5 * (x - 0.3)), "growing": lambda x: np.exp(np.minimum(x * x, 600.0) / 3)}[what]
    with pytest.raises(NotConverged, match=r"of the kernel's scale off at .* is allowed"):
        kernel(function).dual(X)


def test_a_user_activation_predicts():
    rng = np.random.default_rng(5)
    X, Y = rng.normal(size=(6, 2)), rng.normal(size=(4, 2))
    problem = TransferProblem(source=(X, X[:, 0]), target=(Y, Y[:, 0]))
    swish = kernel(lambda x: x / (1 + np.exp(-x)), derivative=lambda x: (1 + np.exp(-x) * (1 + x)) / (1 + np.exp(-x)) ** 2, label="swish")
    outcome = predict(problem, kernel=swish)
    assert outcome.gain is not None and outcome.gain > 0
    assert swish.name == "swish"


def test_a_function_without_derivative_has_a_dual_only():
    k = kernel(np.tanh)
    assert k.dual(np.eye(2)).shape == (2, 2)
    with pytest.raises(InvalidInput, match=r"tanh was given without its derivative; derivative=… is needed"):
        k(np.eye(2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"derivative": 3}, r"derivative is 3; a function"),
        ({"kinks": (math.nan,)}, r"kinks are \(nan,\); a tuple of finite numbers"),
        ({"tolerance": 0.0}, r"tolerance is 0.0; a number in \(0, 1\)"),
        ({"tolerance": 1}, r"tolerance is 1"),
        ({"slope": 1}, r"options .*'slope'"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(InvalidInput, match=message):
        kernel(np.tanh, **options)
    with pytest.raises(InvalidInput, match=r"function is None"):
        Quadrature(None)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x[..., 0], r"the activation turned float64 of shape .* elementwise function"),
        (lambda x: x.astype(np.float32), r"into float32"),
        (np.log, r"what the activation returned.* is nan"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning", "ignore:divide by zero:RuntimeWarning")
def test_what_is_no_activation_is_refused(function, message):
    with pytest.raises(InvalidInput, match=message):
        kernel(function).dual(np.eye(2))
