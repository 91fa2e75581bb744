"""The ReLU Gram function: its algebra by Hypothesis, its accuracy against exact integers and 60 digits."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers import assert_dtype_close, assert_exact
from theory import InvalidInput, relu_gram
from theory.numeric import gram_tiles
from theory.numeric import pairs as pairs_module
from theory.numeric.pairs import DIRECT as _DIRECT

DTYPES = [np.float64, np.float32]


@st.composite
def rows(draw, max_n=8, max_d=8, scale=True):
    """Random rows, some repeated, some reversed, some nearly so: what a kernel finds hard."""
    n, d = draw(st.integers(1, max_n)), draw(st.integers(1, max_d))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    X = rng.normal(size=(n, d))
    for i in range(1, n):
        how = draw(st.sampled_from(["new", "new", "same", "opposite", "near", "near opposite"]))
        if how != "new":
            X[i] = X[draw(st.integers(0, i - 1))] * (-1 if "opposite" in how else 1)
        if how.startswith("near"):
            X[i] += rng.normal(size=d) * 10.0 ** draw(st.integers(-17, -1))
    if scale:
        X *= 10.0 ** draw(st.integers(-30, 30))
    return X


# ---- algebra


@given(rows())
def test_symmetric_and_diagonal(X):
    H = relu_gram(X)
    assert np.array_equal(H, H.T)
    # ‖x‖²/2, as exactly as a sum of d squares is.
    with mpmath.workdps(60):
        half = np.array([sum(mpmath.mpf(float(v)) ** 2 for v in x) / 2 for x in X], dtype=object)
    assert_exact(np.diagonal(H), half, X.shape[1] + 1)


@given(rows())
def test_positive_semi_definite(X):
    values = np.linalg.eigvalsh(relu_gram(X))
    top = max(values[-1], 0.0)
    assert_dtype_close(np.minimum(values, 0), np.zeros_like(values), 2**-20, scale=top)


@given(rows(), st.integers(-100, 100), st.integers(-100, 100))
def test_homogeneous_exactly_for_powers_of_two(X, s, t):
    assert np.array_equal(relu_gram(X * 2.0**s, X * 2.0**t), relu_gram(X, X.copy()) * 2.0 ** (s + t))
    assert np.array_equal(relu_gram(X * 2.0**s), relu_gram(X) * 2.0 ** (2 * s))


@given(rows(), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_homogeneous_in_either_argument(X, s, t):
    norms = np.linalg.norm(X, axis=1)
    assert_dtype_close(relu_gram(X * s, X * t), s * t * relu_gram(X, X.copy()), 1, scale=s * t * norms[:, None] * norms[None, :])


@given(rows(), st.randoms(use_true_random=False))
def test_rows_may_come_in_any_order(X, random):
    order = list(range(len(X)))
    random.shuffle(order)
    norms = np.linalg.norm(X[order], axis=1)
    # BLAS may sum another row in another order, so not bit for bit.
    assert_exact(relu_gram(X[order]), relu_gram(X)[np.ix_(order, order)], 8 + X.shape[1], scale=norms[:, None] * norms[None, :] / 2)


@given(rows(), rows())
def test_arguments_may_be_swapped(X, Z):
    d = min(X.shape[1], Z.shape[1])
    X, Z = X[:, :d], Z[:, :d]
    size = np.linalg.norm(X, axis=1)[:, None] * np.linalg.norm(Z, axis=1)[None, :]
    assert_exact(relu_gram(Z, X).T, relu_gram(X, Z), 8 + d, scale=size / 2)


@given(rows(max_n=1), st.integers(-60, 60))
def test_parallel_and_opposite_rows_are_exact(x, s):
    x = np.abs(x)
    assert np.array_equal(relu_gram(x, x * 2.0**s), relu_gram(x) * 2.0**s)
    opposite = relu_gram(x, -x * 2.0**s)
    assert np.array_equal(opposite, np.zeros((1, 1)))
    assert np.count_nonzero(relu_gram(np.concatenate([x, -x]))) == 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_by_hand(dtype):
    X = np.array([[1, 0], [0, 2], [1, 1], [-3, 0]], dtype=dtype)
    want = np.array([[0.5, 0, 0.375, 0], [0, 2, 0.75, 0], [0.375, 0.75, 1, -0.375], [0, 0, -0.375, 4.5]], dtype=dtype)
    norms = np.linalg.norm(X, axis=1)
    assert_exact(relu_gram(X), want, 4, scale=norms[:, None] * norms[None, :] / 2)


# ---- accuracy: 4 ulp of ‖x‖‖x'‖/2 beside the rounding that the inner product itself commits


def _integers(x):
    """The floats of `x` as whole multiples of one power of two, exactly."""
    ratios = [float(v).as_integer_ratio() for v in x]
    bits = max(d.bit_length() - 1 for _, d in ratios)
    return [n << (bits - d.bit_length() + 1) for n, d in ratios], bits


def exact_pair(x, z):
    """`(x·z, ‖x‖‖z‖, H(x, z))` to 60 digits: integers up to the square root, so no angle is too small."""
    (a, p), (b, q) = _integers(x), _integers(z)
    dot = sum(i * j for i, j in zip(a, b, strict=True))
    square = sum(i * i for i in a) * sum(j * j for j in b)
    with mpmath.workdps(60):
        scale = mpmath.ldexp(1, -(p + q))
        # π − θ from its tangent: |x × z| by Lagrange's identity, without cancellation in integers.
        beyond = mpmath.atan2(mpmath.sqrt(mpmath.mpf(square - dot * dot)), mpmath.mpf(-dot))
        return dot * scale, mpmath.sqrt(mpmath.mpf(square)) * scale, dot * scale * beyond / (2 * mpmath.pi)


def _to_power_of_two(X):
    return X / 2.0 ** np.floor(np.log2(np.abs(X).max(axis=1, keepdims=True))).astype(X.dtype)


def assert_four_ulp(X, Z, load=lambda x: x):
    """Check `relu_gram` on the pairs `(X[i], Z[i])`, in the array library that `load` loads into."""
    dtype = X.dtype
    H = np.diagonal(np.asarray(relu_gram(load(X), load(Z))))
    A, B = _to_power_of_two(X), _to_power_of_two(Z)  # rounds nothing, and the product below cannot overflow
    product = np.diagonal(np.asarray(load(A) @ load(B).T))
    exact = [exact_pair(x, z) for x, z in zip(X, Z, strict=True)]
    scaled = [exact_pair(a, b) for a, b in zip(A, B, strict=True)]
    with mpmath.workdps(60):
        # The stated allowance: the error measured in this very product x·x', no worst-case bound.
        own = [abs(mpmath.mpf(float(f)) - e[0]) / e[1] * t[1] for f, e, t in zip(product, scaled, exact, strict=True)]
        excess = [max(abs(mpmath.mpf(float(h)) - t[2]) - o, 0) for h, t, o in zip(H, exact, own, strict=True)]
    scale = np.array([float(t[1] / 2) for t in exact])
    assert_exact(np.array([float(e) for e in excess], dtype=dtype), np.zeros(len(X), dtype=dtype), 4, scale=scale)


def angles(dtype):
    """Log-spaced from both ends down to the subnormals, even between, dense about the switch of formulas and about π/2."""
    smallest = math.log10(float(np.finfo(dtype).smallest_subnormal))
    ends = 10.0 ** np.linspace(smallest, -0.5, 40)
    switch = np.concatenate(
        [np.arccos(s * (_DIRECT + np.linspace(-1, 1, 21) * w)) for s in (1, -1) for w in (1e-2, 1e-6, 4 * np.finfo(dtype).eps)]
    )
    middle = np.concatenate([np.linspace(0, np.pi, 40), np.pi / 2 + np.array([-1e-3, -1e-8, 0, 1e-8, 1e-3])])
    return ends, switch, middle


def pairs(dtype, d, seed):
    """Pairs of rows at every angle, in the first plane (where the smallest angles survive rounding) and in random ones."""
    rng = np.random.default_rng(seed)
    ends, switch, middle = angles(dtype)
    theta = np.concatenate([ends, switch, middle])
    X, Z = np.zeros((len(ends), d)), np.zeros((len(ends), d))
    X[:, 0], Z[:, 0], Z[:, 1] = 1 + rng.random(len(ends)), 1 + rng.random(len(ends)), ends
    Q = np.linalg.qr(rng.normal(size=(len(theta), d, 2)))[0]
    size = 1 + rng.random((2, len(theta), 1))
    U = Q[:, :, 0] * size[0]
    V = (Q[:, :, 0] * np.cos(theta)[:, None] + Q[:, :, 1] * np.sin(theta)[:, None]) * size[1]
    opposite = -Q[: len(ends), :, 0] + Q[: len(ends), :, 1] * ends[:, None]
    left = np.concatenate([X, X, U, U[: len(ends)]]).astype(dtype)
    right = np.concatenate([Z, Z * np.array([-1] + [1] * (d - 1)), V, opposite]).astype(dtype)
    return left, right


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("d", [2, 3, 8, 64, 784])
def test_four_ulp_at_every_angle(dtype, d):
    for seed in range(3 if d < 100 else 1):
        assert_four_ulp(*pairs(dtype, d, seed))


@pytest.mark.parametrize("dtype", DTYPES)
def test_four_ulp_in_torch(dtype):
    torch = pytest.importorskip("torch")
    for d in (2, 8, 64):
        assert_four_ulp(*pairs(dtype, d, 7), load=lambda x: torch.asarray(np.array(x)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_four_ulp_of_positive_rows(dtype):
    # As pixels are: no cancellation in the sum, norms that are sums of like terms.
    rng = np.random.default_rng(3)
    X = rng.random((60, 784))
    Z = X + rng.random((60, 784)) * 10.0 ** np.linspace(-18, 1, 60)[:, None]
    assert_four_ulp(X.astype(dtype), Z.astype(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cosine", [-0.79, 0.79, -0.999999])
def test_four_ulp_whatever_the_memory_order(dtype, cosine):
    # DataFrame.to_numpy() is column-major, where NumPy sums a row's squares one after the other.
    rng = np.random.default_rng(3)
    X, Y = rng.normal(size=(2, 16, 12288))
    Y -= X * ((X * Y).sum(1) / (X * X).sum(1))[:, None]
    Y *= (np.linalg.norm(X, axis=1) / np.linalg.norm(Y, axis=1))[:, None]
    Z = cosine * X + (1 - cosine**2) ** 0.5 * Y
    assert_four_ulp(X.astype(dtype), Z.astype(dtype), load=np.asfortranarray)


@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 3, 8]), st.sampled_from(DTYPES), st.floats(-17, 0.5), st.booleans())
def test_four_ulp_at_random(seed, d, dtype, exponent, opposite):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(4, d))
    Z = X * (-1 if opposite else 1) * (0.5 + rng.random((4, 1))) + rng.normal(size=(4, d)) * 10.0**exponent
    assert_four_ulp(X.astype(dtype), Z.astype(dtype))


@pytest.mark.parametrize(("dtype", "sizes"), [(np.float64, (1e150, 1e-150, 1e-3)), (np.float32, (1e15, 1e-15, 1e-3))])
def test_four_ulp_at_huge_and_tiny_norms(dtype, sizes):
    X, Z = pairs(np.float64, 3, 5)
    some = slice(None, None, 4)
    for s in sizes:
        for t in (s, 1 / s):
            assert_four_ulp((X[some] * s).astype(dtype), (Z[some] * t).astype(dtype))


def test_norms_of_very_different_size_in_one_matrix():
    X = np.array([[3.0, 4.0], [4.0, -3.0], [6.0, 8.0]])
    sizes = np.array([1e150, 1e-150, 1.0])
    H, one = relu_gram(X * sizes[:, None]), relu_gram(X)
    assert_exact(H, one * sizes[:, None] * sizes[None, :], 8, scale=50 * sizes[:, None] * sizes[None, :])
    assert H[0, 0] > 1e300
    assert 0 < H[1, 1] < 1e-298


# ---- edges


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_next_to_the_largest_are_no_zeros(xp_case, dtype):
    # Their logarithm to base 2 rounds to an exponent that is out of range.
    largest = np.finfo(dtype).max
    X, Z = np.array([[largest, 0], [0, -largest]], dtype=dtype), np.array([[1 / largest, 0], [1 / largest, -1 / largest]], dtype=dtype)
    want = np.array([[0.5, 0.375], [0, 0.375]], dtype=dtype)
    assert_exact(relu_gram(xp_case.load(X), xp_case.load(Z)), xp_case.load(want), 16, scale=1.0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("d", [1, 2, 5, 100, 1000, 40_000])
@pytest.mark.parametrize("order", ["C", "F"])
def test_squared_norms_have_twice_the_digits(dtype, d, order):
    rng = np.random.default_rng(d)
    X = rng.normal(size=(3, d)) * 10.0 ** (np.array([[0], [-12], [0]]) * rng.random((3, d)))
    X = _to_power_of_two(X.astype(dtype))
    X[2] = np.nextafter(dtype(2), dtype(0))
    eps = Fraction(float(np.finfo(dtype).eps))
    for found in (pairs_module._sum_of_squares_in_cache(np.array(X, order=order)), pairs_module._sum_of_squares(np.array(X, order=order))):
        for x, total, rest in zip(X, *found, strict=True):
            exact = sum(Fraction(float(v)) ** 2 for v in x)
            assert abs(Fraction(float(total)) - exact) <= eps * exact * Fraction(51, 100)
            # Two roundings of the rest, and those of sums of d of the least slices.
            assert abs(Fraction(float(total)) + Fraction(float(rest)) - exact) <= (16 + d // 16) * eps**2 * exact


def test_a_zero_row_gives_zeros():
    X = np.array([[0.0, 0.0], [1.0, 2.0]])
    assert np.array_equal(relu_gram(X), np.array([[0, 0], [0, 2.5]]))
    assert np.array_equal(relu_gram(X, np.zeros((3, 2))), np.zeros((2, 3)))


@pytest.mark.parametrize(("dtype", "size"), [(np.float64, 1e200), (np.float32, 1e30)])
def test_overflow_is_an_error_that_says_how_large(dtype, size):
    X = np.array([[1, 2], [size, 1]], dtype=dtype)
    with pytest.raises(InvalidInput, match=rf"overflow {np.dtype(dtype)}.*{size:.3g}".replace("+", r"\+")):
        relu_gram(X)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("other", [False, True])
def test_blocks_of_rows_change_nothing(monkeypatch, dtype, other):
    X = np.random.default_rng(0).normal(size=(40, 3)).astype(dtype)
    X[20:] = X[:20] * -1.5
    X[3] = 0
    Z = X[::-1].copy() if other else None
    whole = relu_gram(X, Z)
    # Tiles of 7 leave a rest; pieces of two pairs leave others; no path may be told from another but by what BLAS rounds.
    monkeypatch.setattr(gram_tiles, "TILE", 7)
    monkeypatch.setattr(gram_tiles, "_CHUNK", 6)
    tiled = relu_gram(X, Z)
    monkeypatch.setattr(gram_tiles, "in_range", lambda *sides: False)
    monkeypatch.setattr("theory.numeric.pairs.CHUNK", 40 * 3 * 7)
    norms = np.linalg.norm(X, axis=1)
    scale = norms[:, None] * norms[None, :: -1 if other else 1]
    for found in (tiled, relu_gram(X, Z)):
        assert_exact(found, whole, 4, scale=np.maximum(scale, np.finfo(dtype).tiny))
        assert other or np.array_equal(found, found.T)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_change_nothing(monkeypatch, threads):
    X = np.random.default_rng(0).normal(size=(900, 4))
    X[500:] = X[:400] * 2
    monkeypatch.setattr("theory.threads.available_threads", lambda: threads)
    H = relu_gram(X)
    assert np.array_equal(H, H.T)
    monkeypatch.setattr(gram_tiles, "_SMALL", math.inf)
    assert np.array_equal(relu_gram(X), H)


def test_four_ulp_across_tiles(monkeypatch):
    monkeypatch.setattr(gram_tiles, "TILE", 16)
    assert_four_ulp(*pairs(np.float64, 8, 11))


def test_a_tile_that_is_mirrored_wrongly_is_seen(monkeypatch):
    X = np.random.default_rng(0).normal(size=(40, 3))
    want = relu_gram(X, X.copy())
    monkeypatch.setattr(gram_tiles, "TILE", 16)
    tile = gram_tiles.relu_tile
    monkeypatch.setattr(gram_tiles, "relu_tile", lambda *at: tile(*at)[::-1] if at[2] != at[3] else tile(*at))
    with pytest.raises(AssertionError):
        assert_dtype_close(relu_gram(X), want, 1, scale=1)


@pytest.mark.parametrize(
    ("X", "given"),
    [
        (np.array([[1.0, np.nan]]), r"X\[0, 1\] is nan"),
        (np.array([[1.0, 1.0], [-np.inf, 1.0]]), r"X\[1, 0\] is -inf"),
        (np.ones(3), r"\(3,\)"),
        (np.float64(2.0), r"\(\)"),
        (3.0, r"\(\)"),
        ([], r"\(0,\)"),
        (np.ones((0, 3)), r"\(0, 3\)"),
        (np.ones((3, 0)), r"\(3, 0\)"),
        (np.ones((2, 2, 2)), r"\(2, 2, 2\)"),
        (np.ones((2, 2), dtype=complex), "complex128"),
        (np.array([["a", "b"]]), "<U1"),
        ([["a", "b"]], "<U1"),
        (np.array([[1, None]]), "object"),
        (np.array([["2020-01-01"]], dtype="M8[D]"), r"datetime64"),
        ([[1.0, 2.0], [3.0]], "rectangular"),
        (None, "NoneType"),
        ({"a": 1}, "dict"),
        ("abc", "<U3"),
    ],
)
def test_bad_rows_are_refused_with_the_value_and_what_is_allowed(X, given):
    for call in (lambda: relu_gram(X), lambda: relu_gram(X, np.ones((2, 2)))):
        with pytest.raises(InvalidInput, match=rf"{given}.*allowed|X is not a rectangular array") as caught:
            call()
        assert isinstance(caught.value, ValueError)
    if X is not None:
        with pytest.raises(InvalidInput, match=r"Z.*(allowed|rectangular)"):
            relu_gram(np.ones((2, 2)), X)


def test_widths_must_agree():
    with pytest.raises(InvalidInput, match=r"2 columns and Z has 3"):
        relu_gram(np.ones((4, 2)), np.ones((4, 3)))
