"""Blocks of neurons: how large, how to step them, and what one adds to the outputs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

# Bytes of a block's working arrays. On two cores with 2 MiB of second-level cache each it is flat from 1.5 to 3 MiB, worse on both
# sides; powers of two of neurons are up to 5 % faster than what lies between.
BLOCK_BYTES = 5 << 19

# What a step costs beside its matrix products, in sample space more than in weight space: passes over the two (m, n) arrays, as columns
# of a product. Measured on two cores; see `sample_space_pays`.
PASSES = 96


def sample_space_pays(n: int, d: int) -> bool:
    """Whether stepping `n` samples of dimension `d` is cheaper in sample space: `2n² + 2n·PASSES < 4nd` flops a neuron."""
    return n + PASSES < 2 * d


def block_rows(n: int, d: int, itemsize: int) -> int:
    """Neurons a block: the power of two, 64 at least, whose activations, activity, weights and gradients take up to `BLOCK_BYTES`."""
    return max(64, 1 << (BLOCK_BYTES // (itemsize * 2 * (n + d))).bit_length() >> 1)


@dataclass(frozen=True)
class Block:
    """Neurons that are visited together: some of one net, or all of several."""

    nets: slice
    rows: slice

    @cached_property
    def key(self) -> tuple[slice, slice]:
        """Index into arrays of shape (S, m, …)."""
        return self.nets, self.rows

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Numbers of nets and of neurons of each."""
        return self.nets.stop - self.nets.start, self.rows.stop - self.rows.start


def outputs_of(W: np.ndarray, a: np.ndarray, XT: np.ndarray, gates: np.ndarray | None = None) -> np.ndarray:
    """A block's share (s, c, n) of the outputs on other inputs than those being trained on."""
    Z = np.matmul(W, XT)
    if gates is None:
        return relu_outputs(a, W, XT, Z)
    Z *= np.matmul(gates, XT) > 0
    return np.matmul(flipped(a), Z)


def relu_outputs(a: np.ndarray, W: np.ndarray, XT: np.ndarray, Z: np.ndarray) -> np.ndarray:
    """`aᵀ relu(Z)` for `Z = W Xᵀ`, which is overwritten, as `½(aᵀ|Z| + (aᵀW)Xᵀ)`: NumPy's `abs` is three times as fast as its `maximum`."""
    np.abs(Z, out=Z)
    total = np.matmul(flipped(a), Z)
    total += np.matmul(np.matmul(flipped(a), W), XT)
    total *= 0.5
    return total


def squared_norms(arrays: np.ndarray) -> np.ndarray:
    """Squared Frobenius norm of each net's part, (s,) float64."""
    return np.array([float(np.vdot(one, one)) for one in arrays])


def flipped(a: np.ndarray) -> np.ndarray:
    """Each net's transpose."""
    return a.transpose(0, 2, 1)
