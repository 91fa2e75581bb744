"""The middle rung: the kernel that a finite net has at `W(0)`, from its own weights."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import array_api_compat as compat
import numpy as np

from sim.tiles import in_tiles
from theory.arrays import Array, as_float, namespace, to_numpy
from theory.errors import InvalidInput
from theory.predict import GramBlocks
from theory.problem import TransferProblem
from theory.threads import one_blas_thread, workers

# Neurons a block on NumPy: fewer cost the products more, many more leave a thread idle at the end.
BLOCK = 1024

# Up to here a float32 sum of zeros and ±1 is a whole number without rounding, in any order.
EXACT = 1 << 24

# Pre-activations held at once on a device: 128 MiB in float64, beyond where larger products stop being faster.
DEVICE_TILE = 1 << 24


def empirical_kernel(W: Array, X: Array, Z: Array | None = None, a: Array | None = None) -> Array:
    """Tangent kernel of the first layer at `W`: `K[(i,p),(j,q)] = x_i·z_j (1/m) Σ_r a_rp a_rq 1{w_r·x_i > 0} 1{w_r·z_j > 0}`.

    Parameters
    ----------
    W : (m, d) array
        First-layer weights of the ReLU net.
    X, Z : (n, d), (n', d) arrays
        Inputs, same library and dtype; `Z` is taken as `X` when absent, and the result is then exactly symmetric.
    a : (m, c) array, optional
        Readouts, ±1. With one column, or none given, they leave the kernel as they square to 1.

    Returns
    -------
    (n c, n' c) array, points major, of the library, dtype and device of `W`.

    Raises
    ------
    InvalidInput
        For shapes or dtypes that do not match, numbers that are not finite, readouts other than ±1.

    Notes
    -----
    The sums over neurons are counts: whole numbers, without rounding, whatever the number of threads. NumPy arrays take
    blocks of neurons on threads; other libraries take tiles of them, smaller ones where their memory is full.

    Source: Du et al. 2018 (arXiv 1810.02054), eq. (3), before the limit of infinite width.
    """
    W, X = _matrix(W, "W"), _matrix(X, "X")
    others = None if Z is None or Z is X else _matrix(Z, "Z")
    for name, rows in (("X", X), ("Z", others)):
        if rows is not None and (rows.shape[1] != W.shape[1] or rows.dtype != W.dtype):
            raise InvalidInput(f"{name} has {rows.shape[1]} columns of {rows.dtype}, W has {W.shape[1]} of {W.dtype}; the same are allowed")
    products = _Products.of(_readouts(a, W), W)
    # Also round the small product: BLAS threads wait actively for a while after it, on cores that the next call's own threads need.
    with one_blas_thread():
        if others is None:
            return products.kernel(_counts(W, X, None, products.signs)[0], _inner(X, X), W.shape[0])
        return products.kernel(_counts(W, others, X, products.signs, own=False)[1], _inner(X, others), W.shape[0])


def frozen_gram(problem: TransferProblem, W: Array, a: Array) -> GramBlocks:
    """`empirical_kernel` at `W` between the sets of a problem.

    Parameters
    ----------
    problem : TransferProblem of floating-point arrays of one library, with a source.
    W, a : (m, d), (m, c) arrays of that library

    Returns
    -------
    GramBlocks, with coupled blocks (points major) when `c > 1`.
    """
    assert problem.source is not None
    xp = namespace(W)
    n_P = problem.source[0].shape[0]
    train = xp.concat([problem.source[0], problem.target[0]])
    test = None if problem.test is None else problem.test[0]
    products = _Products.of(a, W)
    own, cross = _counts(W, train, test, products.signs)
    inner = _inner(train, train)
    P, Q = slice(0, n_P), slice(n_P, None)

    def block(counts: Array, inner: Array, rows: slice, columns: slice) -> Array:
        return products.kernel(counts[:, rows, columns], inner[rows, columns], W.shape[0])

    tests = {}
    if test is not None:
        beside = _inner(test, train)
        tests = {"test_source": block(cross, beside, slice(None), P), "test_target": block(cross, beside, slice(None), Q)}
    return GramBlocks(source=block(own, inner, P, P), target=block(own, inner, Q, Q), target_source=block(own, inner, Q, P), **tests)


def frozen_gram_bytes(problem: TransferProblem) -> int:
    """Peak memory of `frozen_gram` and of the two decompositions that use it, in bytes."""
    assert problem.source is not None
    n_P, n_Q, c = len(problem.source[0]), len(problem.target[0]), problem.n_outputs
    n_T = 0 if problem.test is None else len(problem.test[0])
    return 8 * c * c * (3 * (n_P + n_Q + n_T) * (n_P + n_Q) + 4 * max(n_P, n_Q) ** 2)


@dataclass(frozen=True, eq=False)
class _Products:
    """Products `a_p ∘ a_q` of readouts, each distinct one once: of randomised Hadamard columns most coincide.

    Attributes
    ----------
    signs : sequence of (1, m) float32 arrays of ±1; the first is `None`, for all ones
    place : (c, c) tuples of (index into `signs`, ±1)
    """

    signs: Sequence[Array | None]
    place: Sequence[Sequence[tuple[int, int]]]

    @classmethod
    def of(cls, a: Array | None, W: Array) -> _Products:
        c = 1 if a is None else a.shape[1]
        if a is None or c == 1:
            return cls((None,), (((0, 1),),))
        positive = to_numpy(a) > 0
        found: dict[bytes, int] = {np.packbits(np.ones(len(positive), dtype=bool)).tobytes(): 0}
        signs: list[Array | None] = [None]
        place = [[(0, 1)] * c for _ in range(c)]
        xp = namespace(W)
        for p, q in combinations(range(c), 2):
            same = positive[:, p] == positive[:, q]
            factor = 1 if same[0] else -1
            same = same == same[0]
            index = found.setdefault(np.packbits(same).tobytes(), len(signs))
            if index == len(signs):
                signs.append(xp.asarray(np.where(same, 1, -1).astype(np.float32)[None], device=compat.device(W)))
            place[p][q] = place[q][p] = (index, factor)
        return cls(signs, place)

    def kernel(self, counts: Array, inner: Array, neurons: int) -> Array:
        """The kernel of `len(signs)` matrices of counts and the inner products, coupled when there are several readouts."""
        xp, c = namespace(counts), len(self.place)
        weight = inner / neurons
        if c == 1:
            return xp.astype(counts[0, ...], weight.dtype) * weight
        K = xp.empty((weight.shape[0], c, weight.shape[1], c), dtype=weight.dtype, device=compat.device(weight))
        for p, q in product(range(c), repeat=2):
            index, factor = self.place[p][q]
            K[:, p, :, q] = xp.astype(counts[index, ...], weight.dtype) * (factor * weight)
        return xp.reshape(K, (weight.shape[0] * c, weight.shape[1] * c))


def _counts(
    W: Array, columns: Array, rows: Array | None, signs: Sequence[Array | None], *, own: bool = True
) -> tuple[Array | None, Array | None]:
    """Signed counts of the neurons active on both of two points, for each of `signs`.

    Returns
    -------
    (k, n, n) array between the `columns` themselves (`None` unless `own`), and (k, n', n) array between `rows` and `columns`.
    """
    xp, device = namespace(W), compat.device(W)
    n, m = columns.shape[0], W.shape[0]
    points = columns if rows is None else xp.concat([columns, rows])
    # Beyond EXACT neurons the sum over tiles, though not a tile's own, needs more digits.
    dtype = xp.float32 if m <= EXACT else xp.float64
    shapes = [n if own else None, None if rows is None else rows.shape[0]]
    totals = [None if s is None else xp.zeros((len(signs), s, n), dtype=dtype, device=device) for s in shapes]

    def parts(active: Array, tile: slice) -> Iterator[tuple[Array, Array]]:
        """Where to add what, for a tile of neurons; a product of a matrix with itself costs NumPy half as much."""
        left = active[:n, :]
        for k, sign in enumerate(signs):
            signed = left if sign is None else left * sign[:, tile]
            for total, right in zip(totals, (left, active[n:, :]), strict=True):
                if total is not None:
                    yield total[k, ...], right @ signed.T

    if isinstance(W, np.ndarray):
        _threaded(W, points, parts)
    else:

        def visit(tile: slice) -> None:
            active = xp.astype(points @ W[tile, :].T > 0, xp.float32)
            # All of a tile's parts before any is added, so that a tile that does not fit has changed nothing.
            for total, part in list(parts(active, tile)):
                total += part

        in_tiles(m, min(EXACT, max(1, DEVICE_TILE // points.shape[0])), visit)
    return totals[0], totals[1]


def _threaded(W: np.ndarray, points: np.ndarray, parts: Callable[[np.ndarray, slice], Iterator[tuple[np.ndarray, np.ndarray]]]) -> None:
    lock, local = threading.Lock(), threading.local()

    def visit(tile: slice) -> None:
        if not hasattr(local, "Z"):
            local.Z, local.active = (np.empty((len(points), BLOCK), dtype=t) for t in (W.dtype, np.float32))
        Z, active = (buffer[:, : tile.stop - tile.start] for buffer in (local.Z, local.active))
        np.greater(np.matmul(points, W[tile].T, out=Z), 0, out=active)
        for total, part in parts(active, tile):
            # Whole numbers: the order in which threads come changes nothing.
            with lock:
                total += part

    with workers() as run:
        for _ in run(visit, [slice(i, min(i + BLOCK, len(W))) for i in range(0, len(W), BLOCK)]):
            pass


def _inner(X: Array, Z: Array) -> Array:
    inner = X @ Z.T
    return (inner + inner.T) / 2 if X is Z else inner


def _matrix(X: Array, name: str) -> Array:
    X = as_float(X, name)
    if X.ndim != 2 or 0 in X.shape:
        raise InvalidInput(f"{name} has shape {tuple(X.shape)}; two dimensions, neither empty, are allowed")
    return X


def _readouts(a: Array | None, W: Array) -> Array | None:
    if a is None:
        return None
    a = _matrix(a, "a")
    xp = namespace(W, a)
    if a.shape[0] != W.shape[0]:
        raise InvalidInput(f"a has {a.shape[0]} rows and W has {W.shape[0]}; they must be equal")
    if not bool(xp.all(xp.abs(a) == 1)):
        raise InvalidInput("a holds readouts other than ±1, which alone are allowed")
    return a
