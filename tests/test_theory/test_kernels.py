"""Kernels of all activations: 4 ulp at every angle and norm, algebra by Hypothesis, depth against another's formula and real nets."""

from __future__ import annotations

import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from tests.helpers import assert_dtype_close, assert_exact, assert_z
from theory import GramBlocks, InvalidInput, Schedule, TransferProblem, predict, relu_gram
from theory.numeric.kernels import (
    NAMES,
    Correlated,
    Kernel,
    LeakyReLU,
    both_layers,
    deep,
    gram_function,
    kernel,
)
from theory.numeric.kernels.composed import next_layer
from theory.symbolic import arc_cosine, erf_kernel, gelu_kernel, monomial_kernel
from theory.symbolic.algebra import evaluate
from theory.symbolic.notation import theta

DTYPES = [np.float64, np.float32]
BITS = {np.float64: 22, np.float32: 8}
"""Of each entry, so that inner products of a few of them are exact: nothing is then excused as their rounding."""

KERNELS = {
    "relu": kernel("relu"),
    "leaky": kernel("leaky_relu", slope=0.25),
    "abs": kernel("leaky_relu", slope=-1.0),
    "step": kernel("arccos0"),
    "squared": kernel("arccos2"),
    "x": kernel("monomial", power=1),
    "x²": kernel("monomial"),
    "x³": kernel("monomial", power=3),
    "x⁴": kernel("monomial", power=4),
    "erf": kernel("erf"),
    "gelu": kernel("gelu"),
}
TRAINABLE = {name: k for name, k in KERNELS.items() if name != "step"}
HOMOGENEOUS = {name: k for name, k in TRAINABLE.items() if k.activation.homogeneous}
every = pytest.mark.parametrize("k", KERNELS.values(), ids=KERNELS)
trainable = pytest.mark.parametrize("k", TRAINABLE.values(), ids=TRAINABLE)


def at(k, kappa):
    """The kernel with another scale of the initial weights."""
    return Kernel(activation=k.activation, init_scale=kappa, depth=k.depth, trained_readout=k.trained_readout)


# ---- the derived closed forms at 300 digits (erf at κ = 1e60 cancels 240), from integers up to the angle


def _integers(x):
    ratios = [float(v).as_integer_ratio() for v in x]
    bits = max(d.bit_length() - 1 for _, d in ratios)
    return [n << (bits - d.bit_length() + 1) for n, d in ratios], bits


def geometry(x, z):
    """Squared norms, inner product and angle, to all digits whatever the angle."""
    (a, i), (b, j) = _integers(x), _integers(z)
    dot, xx, zz = (sum(p * q for p, q in zip(*pair, strict=True)) for pair in ((a, b), (a, a), (b, b)))
    angle = mp.atan2(mp.sqrt(mp.mpf(xx * zz - dot * dot)), mp.mpf(dot))
    return mp.ldexp(xx, -2 * i), mp.ldexp(zz, -2 * j), mp.ldexp(dot, -i - j), angle


def oracle(k, name, p, q, c, angle):
    """`dual` or `derivative dual` of the kernel's activation, from its derivation."""
    activation, s, t = k.activation, mp.sqrt(p), mp.sqrt(q)
    label = activation.name
    if label.startswith("monomial"):
        given = {monomial_kernel.s: s, monomial_kernel.t: t, monomial_kernel.rho: mp.cos(angle)}
        return evaluate(monomial_kernel.chain().results[f"{name} {activation.power}"], given)
    if label in ("erf", "GELU"):
        chain = (erf_kernel if label == "erf" else gelu_kernel).chain()
        expr = chain.results[name]
        for _ in range(3):
            expr = expr.xreplace(dict(chain.where))
        return evaluate(expr, {erf_kernel.p: p, erf_kernel.q: q, erf_kernel.c: c})
    build = arc_cosine.step if label.startswith("step") else arc_cosine.squared if label.startswith("squared") else arc_cosine.leaky
    slope = mp.mpf(getattr(activation, "slope", 0))
    return evaluate(build().results[name], {arc_cosine.s: s, arc_cosine.t: t, theta: angle, arc_cosine.slope: slope})


def exact_values(k, kappa, X, Z):
    """For each pair `(x, z)` of rows: dual, derivative's dual and Gram entry, each with its natural scale `√(K(x, x) K(z, z))`."""
    columns = {"dual": [], "derivative_dual": [], "gram": []}
    with mp.workdps(300):
        scale = mp.mpf(kappa) ** 2
        for x, z in zip(X, Z, strict=True):
            xx, zz, dot, angle = geometry(x, z)
            here, there = (xx * scale, xx * scale, xx * scale, mp.mpf(0)), (zz * scale, zz * scale, zz * scale, mp.mpf(0))
            both = (xx * scale, zz * scale, dot * scale, angle)
            for name, method in (("dual", "dual"), ("derivative dual", "derivative_dual")):
                if k.activation.name.startswith("step") and method != "dual":
                    continue
                value, own = oracle(k, name, *both), oracle(k, name, *here) * oracle(k, name, *there)
                columns[method].append((value, mp.sqrt(own)))
            if columns["derivative_dual"]:
                value, own = columns["derivative_dual"][-1]
                columns["gram"].append((dot * value, mp.sqrt(xx * zz) * own))
    return columns


def assert_four_ulp(k, kappa, X, Z):
    kappa = float(X.dtype.type(kappa))
    built = at(k, kappa)
    for method, column in exact_values(k, kappa, X, Z).items():
        if column:
            got = np.ascontiguousarray(np.diagonal(getattr(built, method)(X, Z)))
            want, scale = (np.array(c, dtype=object) for c in zip(*column, strict=True))
            assert_exact(got, want, 4, scale=scale.astype(float))


def pairs(dtype, d, seed, n=10):
    """Rows of few bits: nearly parallel, nearly opposite, nearly orthogonal, at angles down to a bit, and exactly so; also, in the first
    plane, at angles far below the eps of the dtype.
    """
    rng, size = np.random.default_rng(seed), 2.0 ** BITS[dtype]
    left, right = [], []
    for e in np.linspace(0, BITS[dtype] + 1, n):
        for sign in (1, -1):
            x = rng.integers(-size, size, size=d).astype(float)
            x[0] = x[0] or 1
            tilt = np.round(rng.normal(size=d) * size * 2.0**-e)
            across = np.zeros(d)
            across[:2] = -x[1], x[0]
            first, second = np.zeros(d), np.zeros(d)
            first[0], second[0] = rng.integers(1, size), sign * rng.integers(1, size)
            second[1] = 2.0 ** -round(2 * e) * rng.integers(1, size)
            left += [x, x, x, first]
            right += [sign * x * rng.choice([0.5, 1, 2]) + tilt, sign * rng.choice([1, 2, 4]) * x, across + tilt, second]
    X, Z = np.array(left), np.array(right)
    whole = (np.abs(X).max(axis=1) > 0) & (np.abs(Z).max(axis=1) > 0)
    return (X[whole] / size).astype(dtype), (Z[whole] / size).astype(dtype)


@every
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("d", "kappa"), [(2, 0.3), (3, 1.0), (8, 7.0)])
def test_four_ulp_at_every_angle(k, dtype, d, kappa):
    assert_four_ulp(k, kappa, *pairs(dtype, d, seed=d))


@pytest.mark.parametrize("name", ["erf", "gelu"])
@pytest.mark.parametrize("kappa", [1e-150, 1e-6, 40.0, 1e4, 1e9, 1e60])
def test_four_ulp_at_every_scale_of_the_weights(name, kappa):
    # At 1e9 the kernel changes within an angle of 1e-9: the angle itself must have all its digits.
    X, Z = pairs(np.float64, 3, seed=11, n=6)
    assert_four_ulp(KERNELS[name], kappa, X, Z)


@trainable
@pytest.mark.parametrize("exponents", [(60, 60), (-60, -60), (200, -200)])
def test_norms_of_any_size(k, exponents):
    # Below 2^300 for x⁴, whose dual has eighth powers in it: beyond is refused, not wrong.
    degree = max(k.activation.degree, 1)
    X, Z = pairs(np.float64, 3, seed=2, n=3)
    left, right = (2.0 ** round(e / degree) for e in exponents)
    assert_four_ulp(k, 1.0, X * left, Z * right)


@pytest.mark.parametrize("slope", [-3.0, -0.5, 0.01, 1.0, 4.0])
def test_four_ulp_at_other_slopes(slope):
    assert_four_ulp(kernel("leaky_relu", slope=slope), 1.0, *pairs(np.float64, 2, seed=5, n=6))


@pytest.mark.parametrize("power", [5, 6])
def test_four_ulp_at_higher_powers(power):
    """Against the Hermite expansion, whose coefficient of `ρ^k` is `k! (p choose k)² ((p − k − 1)!!)²`."""
    X, Z = pairs(np.float64, 3, seed=3, n=6)

    def series(q, x):
        odd = [mp.fac2(q - k - 1) if q > k else mp.mpf(1) for k in range(q + 1)]
        return mp.fsum(mp.factorial(k) * (mp.binomial(q, k) * odd[k]) ** 2 * x**k for k in range(q % 2, q + 1, 2))

    k = kernel("monomial", power=power)
    dual, gram = k.dual(X, Z), k.gram(X, Z)
    with mp.workdps(60):
        for i, x in enumerate(X.tolist()):
            for j, z in enumerate(Z.tolist()):
                xx, zz, xz = (mp.fsum(mp.mpf(a) * mp.mpf(b) for a, b in zip(u, v, strict=True)) for u, v in ((x, x), (z, z), (x, z)))
                size = mp.sqrt(xx * zz)
                true = series(power, xz / size) * size**power, power**2 * xz * series(power - 1, xz / size) * size ** (power - 1)
                scale = series(power, 1) * size**power, power**2 * series(power - 1, 1) * size**power
                for value, exact, natural in zip((dual[i, j], gram[i, j]), true, scale, strict=True):
                    assert_exact(float(value), exact, ulps=4, scale=float(natural))


# ---- algebra


@st.composite
def rows(draw, max_n=6, max_d=5):
    """Random rows, some repeated, reversed, nearly so, and some zero."""
    n, d = draw(st.integers(1, max_n)), draw(st.integers(1, max_d))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    X = rng.normal(size=(n, d)) * 10.0 ** draw(st.integers(-3, 2))
    for i in range(1, n):
        how = draw(st.sampled_from(["new", "new", "same", "opposite", "near", "zero"]))
        if how == "zero":
            X[i] = 0
        elif how != "new":
            X[i] = X[draw(st.integers(0, i - 1))] * (-1 if how == "opposite" else 1)
        if how == "near":
            X[i] += np.abs(X[i]).max() * rng.normal(size=d) * 10.0 ** draw(st.integers(-17, -1))
    return X


nets = st.builds(
    lambda name, kappa, depth, readout: Kernel(
        activation=TRAINABLE[name].activation, init_scale=kappa, depth=depth, weight_variance=1.5, trained_readout=readout
    ),
    st.sampled_from(list(TRAINABLE)),
    st.sampled_from([0.3, 1.0, 5.0]),
    st.sampled_from([1, 1, 2, 3]),
    st.booleans(),
)


@given(rows(), nets)
@settings(max_examples=150)
def test_symmetric_and_positive_semi_definite(X, net):
    try:
        matrices = net.gram(X), net.dual(X), net.derivative_dual(X)
    except InvalidInput as error:
        # Three layers of x⁴ are of degree 64.
        if "overflow" not in str(error):
            raise
        reject()
    for H in matrices:
        assert np.array_equal(H, H.T)
        values = np.linalg.eigvalsh(H)
        assert_dtype_close(np.minimum(values, 0), np.zeros_like(values), 2**-16, scale=max(values[-1], 0.0))


@given(rows(), nets)
@settings(max_examples=100)
def test_one_set_is_the_same_as_two_equal_ones(X, net):
    for method in ("gram", "dual", "derivative_dual"):
        one, two = getattr(net, method)(X), getattr(net, method)(X, X.copy())
        assert_dtype_close(two, one, 2**-16, scale=np.abs(one).max())
    assert np.array_equal(net(X), net.gram(X))


@given(rows(), st.sampled_from(list(HOMOGENEOUS)), st.floats(1e-2, 1e2), st.floats(1e-2, 1e2))
@settings(max_examples=100)
def test_homogeneous_in_rows_and_in_the_scale_of_the_weights(X, name, factor, kappa):
    k = HOMOGENEOUS[name]
    p = k.activation.degree
    own = np.sqrt(np.diagonal(k.dual(X)))
    assert_dtype_close(k.dual(X * factor, X) / factor**p, k.dual(X, X.copy()), 2**-16, scale=own[:, None] * own[None, :])
    assert_dtype_close(at(k, kappa).dual(X) / kappa ** (2 * p), k.dual(X), 2**-16, scale=own[:, None] * own[None, :])
    own = np.sqrt(np.diagonal(k.gram(X)))
    # The tangent kernel of a homogeneous activation keeps κ^(2p − 2): nothing at degree 1.
    assert_dtype_close(at(k, kappa).gram(X) / kappa ** (2 * p - 2), k.gram(X), 2**-16, scale=own[:, None] * own[None, :])


@trainable
def test_the_derivative_of_the_dual_is_the_dual_of_the_derivative(k):
    """Price's theorem in floating point, by a difference at two angles; unit variances."""
    angles = np.linspace(0.05, 3.1, 40)
    X = np.array([[1.0, 0.0]])

    def dual(angle):
        return k.dual(X, np.stack([np.cos(angle), np.sin(angle)], axis=1))[0]

    h = 1e-4
    slope = (dual(angles + h) - dual(angles - h)) / (np.cos(angles + h) - np.cos(angles - h))
    want = k.derivative_dual(X, np.stack([np.cos(angles), np.sin(angles)], axis=1))[0]
    # h² times a fourth derivative, against √eps: the two are 1e-8 and 1.5e-8.
    assert_dtype_close(slope, want, 2**4, scale=float(k.derivative_dual(X)[0, 0]) / np.sin(angles).clip(0.05))


@every
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_array_library(xp_case, k, dtype):
    X = np.random.default_rng(1).normal(size=(5, 3))
    X = np.concatenate([X, -X[:2], X[:2] * 2 + 1e-6, np.zeros((1, 3))]).astype(dtype)
    methods = ("dual",) if k is KERNELS["step"] else ("gram", "dual", "derivative_dual")
    for method in methods:
        function = getattr(k, method)
        for arguments in ((X,), (X, X[:4].copy())):
            want = function(*arguments)
            assert want.dtype == dtype
            assert_dtype_close(function(*(xp_case.load(a) for a in arguments)), xp_case.load(want), 2**-6, scale=np.abs(want).max())
    if k is not KERNELS["step"]:
        # A power of a power of a power leaves the range of float32.
        net = both_layers(deep(k, 3 if k.activation.degree < 3 else 2))
        assert_dtype_close(net(xp_case.load(X)), xp_case.load(net(X)), 2**-4, scale=np.abs(net(X)).max())


def test_relu_is_the_public_relu_gram():
    X = np.random.default_rng(0).normal(size=(6, 4))
    for k in (kernel("relu"), kernel("arccos1", init_scale=3.0), deep(kernel("relu"), 1), kernel("leaky_relu", slope=0.0)):
        assert np.array_equal(k(X), relu_gram(X))
    # The general way, which other activations take, gives the same.
    last = kernel("relu")._last(X, None, with_tangent=True)
    assert_exact(last.tangent_kernel(), relu_gram(X), 4, scale=np.linalg.norm(X, axis=1)[:, None] * np.linalg.norm(X, axis=1) / 2)


def test_a_zero_row():
    X = np.array([[0.0, 0.0], [1.0, 2.0]])
    for k in TRAINABLE.values():
        for depth in (1, 2):
            H, S = deep(k, depth)(X), deep(k, depth).dual(X)
            assert not H[0].any() and not S[0].any()
            assert H[1, 1] > 0 and S[1, 1] > 0
    # At the jump, the mean of both sides.
    assert_exact(KERNELS["step"].dual(X), np.array([[0.25, 0.25], [0.25, 0.5]]), 0)


# ---- readout and depth


def test_a_trained_readout_adds_the_dual_at_its_own_scale():
    X = np.random.default_rng(3).normal(size=(4, 3))
    for name, k in TRAINABLE.items():
        for kappa in (0.5, 3.0):
            there = at(k, kappa)
            assert np.array_equal(both_layers(there)(X), there(X) + there.dual(X))
            # H + κ²Σ with Σ at κ = 1, as written for the ReLU, is right at degree 1 and nowhere else.
            gap = np.abs(both_layers(there)(X) - there(X) - kappa**2 * k.dual(X)).max() / np.abs(there.dual(X)).max()
            assert (gap < 1e-14) == (k.activation.homogeneous and k.activation.degree == 1), name


def arora(X, Z, depth):
    """Arora et al. 2019, eqs. (7)–(9), for the ReLU, line by line: `c_σ = 2`, all weights `N(0, 1)`, readout trained and scaled by √2."""
    sizes = np.linalg.norm(X, axis=1)[:, None] * np.linalg.norm(Z, axis=1)[None, :]
    S = X @ Z.T
    total = S.copy()
    for _ in range(depth):
        angle = np.arccos(np.clip(S / sizes, -1, 1))
        slope = (math.pi - angle) / math.pi
        S = sizes * (np.sin(angle) + (math.pi - angle) * np.cos(angle)) / math.pi
        total = total * slope + S
    return total


@pytest.mark.parametrize("depth", [1, 2, 3, 7])
def test_deep_relu_is_half_the_kernel_of_arora_et_al(depth):
    rng = np.random.default_rng(depth)
    X, Z = rng.normal(size=(5, 4)), rng.normal(size=(3, 4)) * 3
    net = both_layers(deep(kernel("relu"), depth, weight_variance=2.0))
    want = arora(X, Z, depth)
    assert_dtype_close(2 * net(X, Z), want, 2**-20, scale=np.abs(want).max())


@trainable
def test_depth_one_is_two_layers(k):
    X, Z = np.random.default_rng(0).normal(size=(2, 4, 3))
    assert deep(k, 1) == k
    for method in ("gram", "dual", "derivative_dual"):
        assert np.array_equal(getattr(deep(k, 1, weight_variance=3.0), method)(X, Z), getattr(k, method)(X, Z))


@pytest.mark.parametrize("name", ["relu", "leaky", "abs", "squared", "x³"])
def test_a_deep_kernel_keeps_its_digits_near_parallel_inputs(name):
    """Each layer's `1 − ρ` from the layer before's, not from `ρ`: at 60 digits the same recursion, on the derived closed forms."""
    k, depth = HOMOGENEOUS[name], 3
    turn = 2.0**-24
    X, Z = np.array([[1.0, 0.0]]), np.array([[1.0, turn]])
    got = deep(k, depth).derivative_dual(X, Z)
    with mp.workdps(80):
        p, q, c, angle = geometry(X[0], Z[0])
        for _ in range(depth - 1):
            zero = mp.mpf(0)
            own = [oracle(k, "dual", v, v, v, zero) for v in (p, q)]
            c = oracle(k, "dual", p, q, c, angle)
            p, q = own
            angle = mp.acos(c / mp.sqrt(p * q))
        want = oracle(k, "derivative dual", p, q, c, angle)
        scale = mp.sqrt(oracle(k, "derivative dual", p, p, p, mp.mpf(0)) * oracle(k, "derivative dual", q, q, q, mp.mpf(0)))
    assert_exact(got, np.array([[want]], dtype=object), 32, scale=float(scale))


def test_deep_norms_of_any_size_at_degree_one():
    X = np.random.default_rng(4).normal(size=(4, 3))
    net = both_layers(deep(kernel("leaky_relu"), 3))
    sizes = np.array([2.0**500, 2.0**-500, 1.0, 2.0**10])
    scales = sizes[:, None] * sizes[None, :]
    assert_exact(net(X * sizes[:, None]), net(X) * scales, 0)
    with pytest.raises(InvalidInput, match=r"overflow float64.*largest entries"):
        deep(kernel("monomial", power=3), 4)(X * 1e30)


@pytest.mark.parametrize("name", ["relu", "erf", "gelu", "arccos2"])
def test_finite_nets_have_this_kernel_in_the_mean(name):
    """Two hidden layers and the readout, differentiated by hand, over 64 nets; width 300 leaves a bias below the standard error."""
    rng = np.random.default_rng(8)
    # One pair, so that one z is taken for each kernel.
    x, z = np.array([0.8, -0.3, 0.5]), np.array([0.2, 0.9, 0.6])
    kappa, c, m = 0.7, 1.3, 300
    sigma, slope = _numpy_activation(name)
    values = []
    for _ in range(64):
        W, V = kappa * rng.normal(size=(m, 3)), rng.normal(size=(m, m)) * math.sqrt(c / m)
        a = rng.choice([-1.0, 1.0], size=m) / math.sqrt(m)
        h = [W @ v for v in (x, z)]
        g = [V @ sigma(u) for u in h]
        outer = [a * slope(u) for u in g]
        inner = [(V.T @ o) * slope(u) for o, u in zip(outer, h, strict=True)]
        of_readout = sigma(g[0]) @ sigma(g[1]) / m
        of_second = (outer[0] @ outer[1]) * (sigma(h[0]) @ sigma(h[1])) * c / m
        of_first = (inner[0] @ inner[1]) * (x @ z)
        values.append(of_readout + of_second + of_first)
    net = both_layers(deep(kernel(name, init_scale=kappa), 2, weight_variance=c))
    assert_z(np.array(values), float(net(x[None, :], z[None, :])[0, 0]))


def _numpy_activation(name):
    special = pytest.importorskip("scipy.special")
    normal = lambda u: np.exp(-u * u / 2) / math.sqrt(2 * math.pi)  # noqa: E731
    return {
        "relu": (lambda u: np.maximum(u, 0), lambda u: (u > 0).astype(float)),
        "erf": (special.erf, lambda u: 2 / math.sqrt(math.pi) * np.exp(-u * u)),
        "gelu": (lambda u: u * special.ndtr(u), lambda u: special.ndtr(u) + u * normal(u)),
        "arccos2": (lambda u: np.maximum(u, 0) ** 2, lambda u: 2 * np.maximum(u, 0)),
    }[name]


def test_one_layer_without_its_tangent():
    s = np.ones((1, 1))
    pair = Correlated(s=s, t=s, cosine=0 * s, apart=s, together=s)
    following, tangent = next_layer(LeakyReLU(0.0), pair, None, 2.0)
    assert tangent is None
    # Orthogonal inputs of variance 1 meet the next layer with variance c/2 = 1 and correlation 1/π.
    assert_exact(following.cosine, np.full((1, 1), 1 / math.pi), 2)
    assert_exact(following.s, s, 1)


# ---- what is refused


def test_a_step_has_no_tangent_kernel():
    X = np.eye(2)
    for k in (kernel("arccos0"), both_layers(kernel("arccos0")), deep(kernel("arccos0"), 2)):
        for call in (k, k.gram, k.derivative_dual):
            with pytest.raises(InvalidInput, match=r"derivative is a delta.*no tangent kernel"):
                call(X)
        assert k.dual(X).shape == (2, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kernel("gleu"), r"'gleu'; did you mean gelu\?.*allowed"),
        (lambda: kernel(3), r"activation is 3;.*allowed"),
        (lambda: kernel("erf", slope=0.1), r"options \['slope'\].*'erf'"),
        (lambda: kernel(np.tanh, slope=0.1), r"options \['slope'\].*tanh"),
        (lambda: kernel(np.tanh, kinks=5), r"kinks are 5; a tuple of finite numbers is allowed"),
        (lambda: kernel("monomial", power=0), r"power is 0; a whole number from 1 to 20 is allowed"),
        (lambda: kernel("monomial", power=2.0), r"power is 2.0"),
        (lambda: kernel("leaky_relu", slope=math.inf), r"slope is inf; a finite number is allowed"),
        (lambda: kernel("relu", init_scale=0.0), r"init_scale is 0.0; a finite number above 0 is allowed"),
        (lambda: kernel("relu", init_scale=math.nan), r"init_scale is nan"),
        (lambda: deep(kernel("relu"), 0), r"depth is 0; a whole number"),
        (lambda: deep(kernel("relu"), 2, weight_variance=-1.0), r"weight_variance is -1.0"),
        (lambda: Kernel(activation="relu"), r"activation is 'relu'"),
        (lambda: both_layers("relu"), r"kernel is 'relu'; a Kernel is allowed"),
        (lambda: deep("relu", 2), r"kernel is 'relu'; a Kernel is allowed"),
        (
            lambda: kernel("erf")(np.full((2, 2), 1e-170)),
            r"K\(x, x\) of row 0, whose entries reach 1e-170, is 0, below the range of float64",
        ),
        (lambda: relu_gram(np.array([[1.0, 1.0], [0.0, 1e-170]])), r"K\(x, x\) of row 1.*below the range of float64"),
        (lambda: deep(kernel("relu"), 1100)(np.ones((1, 2))), r"K\(x, x\) of row 0, whose entries reach 1, is 0, below the range"),
        (lambda: kernel("monomial", init_scale=1e-300)(np.ones((1, 2))), r"larger init_scale.*are allowed"),
        (lambda: gram_function("rbf"), r"kernel is 'rbf';.*'relu'.*allowed"),
        (lambda: gram_function(None), r"kernel is None;.*allowed"),
        (lambda: kernel("erf")(np.ones((2, 2)), np.ones((2, 3))), r"2 columns and Z has 3"),
        (lambda: kernel("gelu").dual(np.array([[1.0, np.nan]])), r"X\[0, 1\] is nan"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(InvalidInput, match=message):
        call()


def test_a_kernel_within_range_of_inputs_whose_product_is_not():
    # Far out x·x E[σ'(u)²] = ‖x‖² (4/π)/√(1 + 4‖x‖²) of erf goes as ‖x‖, and off the diagonal the kernel stays near 1.
    size = 1e160
    H = kernel("erf")(size * np.array([[3.0, 4.0], [4.0, 3.0]]))
    assert_dtype_close(H / size, 10 / math.pi * np.eye(2), 1, scale=5.0)


def test_numbers_of_numpy_leave_the_dtype_alone():
    X = np.array([[1.0, 2.0], [0.5, -1.0]], dtype=np.float32)
    for built in (
        kernel("leaky_relu", slope=np.float64(0.25)),
        kernel("monomial", power=np.int64(3)),
        deep(kernel("relu", init_scale=np.float32(0.5)), np.int64(3), np.float64(2)),
    ):
        assert built(X).dtype == np.float32


# ---- in predictions


def problem():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(7, 3)), rng.normal(size=(5, 3))
    return TransferProblem(source=(X, rng.normal(size=7)), target=(Y, rng.normal(size=5)), test=(X[:2] + 0.1, np.ones(2)))


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("arccos0", "monomial")])
def test_predict_takes_a_name_a_kernel_and_a_function(name):
    by_name = predict(problem(), Schedule(5, 5), kernel=name)
    k = kernel(name)
    assert by_name == predict(problem(), Schedule(5, 5), kernel=k)
    assert by_name == predict(problem(), Schedule(5, 5), kernel=lambda X, Z=None: k(X, Z))
    assert by_name == predict(problem(), Schedule(5, 5), gram=GramBlocks.of(problem(), k))


def test_predict_tells_kernels_apart():
    gains = [predict(problem(), kernel=k).gain for k in (kernel("erf"), kernel("erf", init_scale=3.0), deep(kernel("erf"), 2))]
    assert len(set(gains)) == 3


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda X, Z=None: X @ (X if Z is None else Z).T - 9 * np.eye(len(X), len(X if Z is None else Z)), r"indefinite: λ_min = -"),
        (lambda X, Z=None: np.triu(np.ones((len(X), len(X if Z is None else Z)))), r"not symmetric"),
        (lambda X, Z=None: np.full((len(X), len(X if Z is None else Z)), np.nan), r"Gram function <lambda> returned\[0, 0\] is nan"),
        (lambda X, Z=None: np.ones((3, 3)), r"shape \(3, 3\) for 7 and 7 rows; \(7, 7\) is allowed"),
        (lambda X, Z=None: "no", r"Gram function <lambda> returned"),
        (lambda X, Z=None: X @ X.T if Z is None else 5 * X @ Z.T, r"indefinite: target point \d and source point \d have K\(x, z\) ="),
        (lambda X, Z=None: X @ X.T if Z is None else (X @ Z.T).T, r"shape \(7, 5\) for 5 and 7 rows"),
    ],
)
def test_a_gram_function_that_is_none_is_refused(function, message):
    with pytest.raises(InvalidInput, match=message):
        predict(problem(), kernel=function)
