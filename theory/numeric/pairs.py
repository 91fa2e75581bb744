"""Norms, inner products and angles of pairs of rows, without a cancellation at any angle and without overflow at any norm."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import array_api_compat as compat
import numpy as np

from theory.arrays import Array, as_float, namespace
from theory.errors import InvalidInput

# Above this |cosine| the angle comes from the difference of the unit vectors, below it from the inner product.
# An error d in the cosine moves the ReLU kernel by (1/2 + |cos|/(2 pi sin)) d, which stays below d only for
# sin > 1/pi, that is |cos| < 0.948: up to there the inner product's own rounding is all there is to lose.
DIRECT = 0.8

# Pairs handled at once by the difference path: bounds its working memory to a few times this many numbers.
CHUNK = 1 << 22

# Numbers of NumPy rows whose squares are summed at once: they and their slices fit the second-level cache.
_CACHED = 1 << 15


@dataclass(frozen=True, eq=False)
class ScaledRows:
    """Rows times a power of two that brings them near 1.

    Attributes
    ----------
    rows : (n, d) array
        The rows over `scale`; nothing is rounded.
    scale : (n,) array of powers of two
    norm : (n,) array
        Norms of the scaled rows, to the last digit; 1 for an all-zero row.
    excess : (n,) array
        What rounding took from them: the norms are `norm (1 + excess)`, to about twice the digits.
    size : (n,) array
        As `norm`, but 0 for an all-zero row.
    """

    rows: Array
    scale: Array
    norm: Array
    excess: Array
    size: Array

    @classmethod
    def of(cls, X: Array) -> ScaledRows:
        """Scale the rows of `X`."""
        xp = namespace(X)
        largest = xp.max(xp.abs(X), axis=1)
        largest = xp.where(largest > 0, largest, xp.ones_like(largest))
        two = xp.asarray(2.0, dtype=X.dtype, device=compat.device(X))
        # The logarithm of numbers next to the largest rounds up to the exponent that overflows.
        scale = xp.pow(two, xp.clip(xp.floor(xp.log2(largest)), None, math.frexp(float(xp.finfo(X.dtype).max))[1] - 1.0))
        scaled = X / scale[:, None]
        square, rest = _sum_of_squares_in_cache(scaled) if isinstance(scaled, np.ndarray) else _sum_of_squares(scaled)
        size = xp.sqrt(square)
        norm = xp.where(size > 0, size, xp.ones_like(size))
        root, lost = two_product(size, size)
        return cls(scaled, scale, norm, ((square - root) - lost + rest) / (2 * norm**2), size)

    @property
    def units(self) -> Array:
        """The rows as unit vectors."""
        return self.rows / self.norm[:, None]


def scaled_pair(X: Array, Z: Array | None) -> tuple[ScaledRows, ScaledRows]:
    """Both sets of rows, checked and scaled; the same object twice when `Z` is absent or `X` itself.

    Raises
    ------
    InvalidInput
        For input that is not two-dimensional and finite, or does not match in width and dtype.
    """
    X = _rows(X, "X")
    if Z is None or Z is X:
        scaled = ScaledRows.of(X)
        return scaled, scaled
    Z = _rows(Z, "Z")
    namespace(X, Z)
    if X.shape[1] != Z.shape[1]:
        raise InvalidInput(f"X has {X.shape[1]} columns and Z has {Z.shape[1]}; they must be equal")
    if X.dtype != Z.dtype:
        raise InvalidInput(f"X is {X.dtype} and Z is {Z.dtype}; one dtype is allowed")
    return ScaledRows.of(X), ScaledRows.of(Z)


def inner_and_cosine(X: ScaledRows, Z: ScaledRows) -> tuple[Array, Array]:
    """Inner products of the scaled rows, and what cosine they say."""
    xp = namespace(X.rows)
    inner = X.rows @ Z.rows.T
    return inner, xp.clip(inner / (X.norm[:, None] * Z.norm[None, :]), -1.0, 1.0)


def near_parallel(X: ScaledRows, Z: ScaledRows, cosine: Array, exact: bool = False) -> Iterator[tuple[slice, Array, Array]]:
    """The pairs whose inner product does not determine the angle well, a block of rows at a time.

    Yields
    ------
    block : slice of the rows of `X`
    near : mask of those rows, where `|cosine|` is above `DIRECT`
    gap : for each of these pairs `1 − |cos θ| = ‖u ∓ v‖²/2`, from the difference of the unit vectors `u` and `v`

    Notes
    -----
    Rounded unit vectors leave an error of an eps in `θ`. With `exact=True` it is an eps of `θ` itself: what `Z`'s row has across
    `X`'s comes from `x − g z`, `g = ‖x‖/‖z‖`, its products carried to twice the digits. It takes about three times as long; only
    a function that changes within an angle far below 1 needs it.

    Source: Kahan, "How futile are mindless assessments of roundoff", 2006, §12; Dekker 1971 for the products.
    """
    xp = namespace(cosine)
    n_rows, n_columns = cosine.shape
    step = max(1, CHUNK // X.rows.shape[1] // n_columns)
    U, V = (X.rows, Z.rows) if exact else (X.units, Z.units)
    for start in range(0, n_rows, step):
        block = slice(start, min(start + step, n_rows))
        near = xp.abs(cosine[block, :]) > DIRECT
        i, j = xp.nonzero(near)
        if i.shape[0] == 0:
            continue
        sign = xp.sign(cosine[block, :][near])
        u, v = xp.take(U, i + start, axis=0), xp.take(V, j, axis=0)
        if not exact:
            yield block, near, xp.sum((u - sign[:, None] * v) ** 2, axis=1) / 2
            continue
        norm = xp.take(X.norm, i + start)
        factor = (sign * norm / xp.take(Z.norm, j))[:, None]
        product, rest = two_product(factor, v)
        apart = (u - product) - rest
        # `g` is rounded: what it leaves along `x` is taken out.
        across = apart - (xp.sum(apart * u, axis=1) / norm**2)[:, None] * u
        squared_sine = xp.sum(across * across, axis=1) / norm**2
        yield block, near, squared_sine / (1 + xp.sqrt(1 - xp.clip(squared_sine, 0.0, 1.0)))


def two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """`a b` as the rounded product and what it leaves, exactly (Dekker 1971)."""
    xp = namespace(b)
    splitter = 2.0 ** ((1 - math.frexp(float(xp.finfo(b.dtype).eps))[1] + 2) // 2) + 1
    a_high, b_high = (splitter * x - (splitter * x - x) for x in (a, b))
    a_low, b_low = a - a_high, b - b_high
    product = a * b
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def powers(X: ScaledRows, factor: float, degree: int) -> tuple[Array, Array]:
    """`(factor · norm)^degree` for scaled rows, 0 for an all-zero row: rounded, and what rounding took, relative to it."""
    xp = namespace(X.rows)
    base, base_rest = two_product(xp.asarray(factor, dtype=X.rows.dtype, device=compat.device(X.rows)), X.size)
    base_rest = base_rest + base * X.excess
    high, low = xp.ones_like(base), xp.zeros_like(base)
    for _ in range(degree):
        product, lost = two_product(high, base)
        high, low = product, lost + (high * base_rest + low * base)
    total = high + low
    return total, (low - (total - high)) / xp.where(total > 0, total, xp.ones_like(total))


def times_scales(M: Array, X: ScaledRows, Z: ScaledRows, degree: int) -> Array:
    """`M` times the `degree`-th powers of the rows' scales, symmetric to the last bit when `X` is `Z`.

    Raises
    ------
    InvalidInput
        If the result leaves the range of the dtype.
    """
    xp = namespace(M)
    if not bool(xp.all(xp.isfinite(M))) or _overflows(M, X.scale, Z.scale, degree):
        largest = [float(xp.max(xp.abs(S.rows * S.scale[:, None]))) for S in (X, Z)]
        raise InvalidInput(f"inner products overflow {M.dtype}: the largest entries are {largest[0]:.3g} and {largest[1]:.3g}")
    left, right = X.scale[:, None], Z.scale[None, :]
    outer = left * right if degree else M
    within = xp.isfinite(outer) & (outer > 0)
    for _ in range(degree):
        # Where the product leaves the range, both are large or both are small: one at a time, M passes no bound that it need not.
        M = M * outer if bool(xp.all(within)) else xp.where(within, M * outer, M * left * right)
    # BLAS may round the two triangles differently.
    return (M + M.T) / 2 if X is Z else M


def check_underflow(K: Array, X: ScaledRows) -> None:
    """Raise `InvalidInput` where the kernel of a non-zero row of `X` with itself, on the diagonal of `K`, is below the normal range."""
    xp = namespace(K)
    lost = (xp.linalg.diagonal(K) < float(xp.finfo(K.dtype).smallest_normal)) & (X.size > 0)
    if bool(xp.any(lost)):
        row = int(xp.argmax(xp.astype(lost, xp.int8)))
        largest = float(X.scale[row]) * float(xp.max(xp.abs(X.rows[row, :])))
        raise InvalidInput(
            f"K(x, x) of row {row}, whose entries reach {largest:.3g}, is {float(K[row, row]):.3g}, below the range of {K.dtype}; larger "
            "inputs, or a larger init_scale or weight_variance, are allowed"
        )


def _rows(X: Array, name: str) -> Array:
    X = as_float(X, name)
    if X.ndim != 2 or 0 in X.shape:
        raise InvalidInput(f"{name} has shape {tuple(X.shape)}; (n, d) with n, d ≥ 1 is allowed")
    return X


def _sum_of_squares(X: Array) -> tuple[Array, Array]:
    """Row sums of squares in twice the digits, as a number and a small rest, in any memory order: halving, with two-sums."""
    xp = namespace(X)
    terms, rest = two_product(X, X)
    while terms.shape[1] > 1:
        half = terms.shape[1] // 2
        a, b = terms[:, :half], terms[:, half : 2 * half]
        total = a + b
        back = total - a
        # Knuth's two-sum: what the addition rounded away.
        lost = rest[:, :half] + rest[:, half : 2 * half] + ((a - (total - back)) + (b - back))
        odd = terms.shape[1] % 2
        terms = xp.concat([total, terms[:, 2 * half :]], axis=1) if odd else total
        rest = xp.concat([lost, rest[:, 2 * half :]], axis=1) if odd else lost
    total = terms[:, 0] + rest[:, 0]
    return total, rest[:, 0] - (total - terms[:, 0])


def _sum_of_squares_in_cache(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`_sum_of_squares` of NumPy rows whose entries are at most 2, a few rows at a time; ten times as fast on wide rows.

    Source: Ozaki, Ogita, Oishi, Rump, "Error-free transformations of matrix multiplication", Numer. Algorithms 59, 2012, for the slices.
    """
    n, d = X.shape
    total, rest = np.empty((2, n), dtype=X.dtype)
    step = max(1, _CACHED // d)
    for start in range(0, n, step):
        rows = slice(start, start + step)
        # In C order whatever that of X: its order changes no sum.
        x = np.ascontiguousarray(X[rows], dtype=np.float64)
        if X.dtype == np.float32:
            # Products of float32 are exact in float64, which has more than twice its digits.
            high = np.sum(x * x, axis=1)
            low = np.zeros_like(high)
        else:
            high, low = _sliced(x)
        total[rows] = high
        rest[rows] = (high - total[rows]) + low
    return total, rest


def _sliced(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row sums of squares of float64 in twice the digits: from slices so short that sums of their products round nothing."""

    def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.einsum("ij,ij->i", a, b)

    # d products of slices, each within 4 and a multiple of 2^(−2·bits), fill a double.
    bits = (51 - math.ceil(math.log2(x.shape[1]))) // 2
    slices, left = [], x
    for k in (1, 2, 3):
        anchor = 1.5 * 2.0 ** (52 - k * bits)
        slices.append((left + anchor) - anchor)
        left = left - slices[-1]
    a, b, c = slices
    # What the slices leave, and products below the third order: these alone are rounded.
    last = dot(left, x + (x - left)) + 2 * dot(b, c) + dot(c, c)
    high, low = dot(a, a), np.zeros(len(x))
    for part in (2 * dot(a, b), dot(b, b) + 2 * dot(a, c), last):
        # Each part is smaller than what it is added to, as the fast two-sum needs.
        both = high + part
        low = low + (part - (both - high))
        high = both
    total = high + low
    return total, low - (total - high)


def _overflows(M: Array, x_scale: Array, z_scale: Array, degree: int) -> bool:
    """Whether `M` times a power of the outer product of two rows of powers of two leaves the range, told without leaving it."""
    xp = namespace(M)
    top = float(xp.finfo(M.dtype).max)
    largest = float(xp.max(xp.abs(M)))
    widest = degree * (math.log2(float(xp.max(x_scale))) + math.log2(float(xp.max(z_scale))))
    if largest == 0 or math.log2(largest) + widest < math.log2(top) - 1:
        return False
    exponent = degree * (xp.log2(x_scale)[:, None] + xp.log2(z_scale)[None, :])
    limit = math.frexp(top)[1] - 1.0
    two = xp.asarray(2.0, dtype=M.dtype, device=compat.device(M))
    room = top / xp.pow(two, xp.clip(exponent, 0.0, limit))
    return bool(xp.any((exponent > limit) | (xp.abs(M) > room)))
