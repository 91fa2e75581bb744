"""Launching the raw kernels on CuPy arrays. The only module that is imported for CuPy arrays alone, which then have loaded CuPy."""

from __future__ import annotations

import importlib
import math
from functools import cache
from typing import Any

from sim.cuda.sources import OPTIONS, source, type_option
from theory.arrays import Array

THREADS = 256

# Neurons that one thread sums in `relu_outputs`: 65,536 neurons on 256 samples are then 262,144 threads, enough for any card.
CHUNK = 64

# Partial sums that one thread adds: 65,536 neurons are two rounds, neither long enough for its latency to be seen.
GROUP = 32


def masked(Z: Array, a: Array, direction: Array) -> Array:
    """`sim.elementwise.masked`, all of one dtype."""
    cupy = _cupy()
    Z, a, direction = (cupy.ascontiguousarray(x) for x in (Z, a, direction))
    out = cupy.empty_like(Z)
    *_, m, n = Z.shape
    _launch("elementwise", "masked", Z, out.size, (Z, a, direction, out, math.prod(Z.shape[:-2]), m, n, a.shape[-1]))
    return out


def relu_outputs(Z: Array, a: Array) -> Array:
    """`sim.elementwise.relu_outputs`."""
    cupy = _cupy()
    Z, a = cupy.ascontiguousarray(Z), cupy.ascontiguousarray(a)
    *batch, m, n = Z.shape
    c, count, chunks = a.shape[-1], math.prod(batch), -(-m // CHUNK)
    partial = cupy.empty((count, chunks, n, c), dtype=cupy.float64)
    _launch("elementwise", "relu_outputs_partial", Z, count * chunks * n, (Z, a, partial, count, m, n, c, CHUNK))
    while chunks > 1:
        groups = -(-chunks // GROUP)
        out = cupy.empty((count, groups, n, c), dtype=cupy.float64)
        _launch("elementwise", "sum_groups", Z, out.size, (partial, out, count, chunks, n * c, GROUP))
        partial, chunks = out, groups
    return partial.reshape((*batch, n, c))


def relu_gram(inner: Array, u: Array, v: Array, norms: tuple[Array, Array], scales: tuple[Array, Array], symmetric: bool) -> Array:
    """The Gram function of `sim.cuda` from its parts; see gram.cu."""
    cupy = _cupy()
    arrays = tuple(cupy.ascontiguousarray(x) for x in (inner, u, v, *norms, *scales))
    H = cupy.empty_like(arrays[0])
    _launch("gram", "relu_gram", H, H.size, (*arrays, H, *H.shape, u.shape[1], cupy.int32(symmetric)))
    return H


def _launch(file: str, name: str, like: Array, items: int, arguments: tuple[Any, ...]) -> None:
    """Run a kernel with one thread for each of `items`; Python whole numbers travel as `long long`."""
    cupy = _cupy()
    kernel = _module(file, str(like.dtype)).get_function(name)
    kernel((-(-items // THREADS),), (THREADS,), tuple(cupy.int64(x) if type(x) is int else x for x in arguments))


@cache
def _module(file: str, dtype: str) -> Any:
    # CuPy keeps one compiled module for each device by itself.
    return _cupy().RawModule(code=source(file), options=(*OPTIONS, type_option(dtype)), backend="nvrtc")


def _cupy() -> Any:
    return importlib.import_module("cupy")
