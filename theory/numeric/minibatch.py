"""Minibatch gradient descent in the kernel regime, exact when the order of the batches is known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import array_api_compat as compat
import numpy as np

from theory.arrays import Array, namespace, scalar
from theory.errors import InvalidInput, UnstableStep


@dataclass(frozen=True, eq=False)
class MinibatchStage:
    """What a run over given batches leaves.

    Attributes
    ----------
    coefficients : array like the labels
        `γ`: a point `x` has moved by `h(x)ᵀγ`.
    residual : array like the labels
        `y − Hγ`.
    displacement : float
        `√(γᵀHγ)`.
    """

    coefficients: Array
    residual: Array
    displacement: float


def descend(H: Array, y: Array, batches: Iterable[Sequence[int]], lr: float, allow_unstable: bool = False) -> MinibatchStage:
    """Gradient descent over `batches`, one step each: `γ_B ← γ_B + η(y_B − H_{B,·}γ)`.

    The loss of a batch is the sum `½‖u_B − y_B‖²`, so one batch of all points is a plain gradient step; where a mean over the batch is
    meant, `lr` is to be divided by its size.

    Parameters
    ----------
    H : (n, n) array
    y : (n,) or (n, c) array
        Labels less initial outputs.
    batches : iterable of sequences of whole numbers
        Indices of the points in each batch, in order; each at most once in a batch.
    lr : float > 0
        Every step is stable, in that no error grows in the metric of the weights, for `η ≤ 2/max_B λ_max(H_BB)`; that is at least
        `2/λ_max(H)`.
    allow_unstable : bool
        Run larger steps.

    Raises
    ------
    InvalidInput
        For indices out of range or twice in one batch, an empty batch, or shapes that do not fit.
    UnstableStep
        For a step that some batch does not bear.
    """
    xp = namespace(H, y)
    n = y.shape[0]
    if tuple(H.shape) != (n, n):
        raise InvalidInput(f"the Gram matrix has shape {tuple(H.shape)}; ({n}, {n}) is needed for {n} labels")
    if isinstance(lr, bool) or not isinstance(lr, Real) or not 0 < lr < float("inf"):
        raise InvalidInput(f"lr is {lr!r}; a finite number above 0 is allowed")
    if not isinstance(batches, Iterable):
        raise InvalidInput(f"batches is {batches!r}; a list of batches, each of whole numbers, is allowed")
    order = [_checked(batch, n, number) for number, batch in enumerate(batches)]
    prepared: dict[tuple[int, ...], tuple[Array, Array, Array]] = {}
    for batch in dict.fromkeys(order):
        index = xp.asarray(batch, dtype=xp.int64, device=compat.device(H))
        columns = xp.take(H, index, axis=1)
        _check_step(xp.take(columns, index, axis=0), lr, batch, allow_unstable)
        member = np.zeros(n)
        member[list(batch)] = 1
        prepared[batch] = index, columns, xp.asarray(member, dtype=y.dtype, device=compat.device(y))
    gamma, r = xp.zeros_like(y), y
    for batch in order:
        index, columns, member = prepared[batch]
        gamma = gamma + lr * (member * r if y.ndim == 1 else member[:, None] * r)
        r = r - lr * (columns @ xp.take(r, index, axis=0))
    return MinibatchStage(gamma, r, max(0.0, scalar(xp.sum(gamma * (H @ gamma)))) ** 0.5)


def _checked(batch: Sequence[Any], n: int, number: int) -> tuple[int, ...]:
    indices = np.asarray(batch)
    if indices.ndim != 1 or indices.size == 0 or indices.dtype.kind not in "iu":
        raise InvalidInput(f"batch {number} is {batch!r}; one or more whole numbers from 0 to {n - 1} are allowed")
    wrong = indices[(indices < 0) | (indices >= n)]
    if wrong.size:
        raise InvalidInput(f"batch {number} holds the index {int(wrong[0])}; 0 to {n - 1} are allowed")
    values, counts = np.unique(indices, return_counts=True)
    if (counts > 1).any():
        raise InvalidInput(f"batch {number} holds the index {int(values[counts > 1][0])} more than once; each at most once is allowed")
    return tuple(indices.tolist())


def _check_step(block: Array, lr: float, batch: tuple[int, ...], allow_unstable: bool) -> None:
    xp = namespace(block)
    largest = scalar(xp.max(xp.linalg.eigvalsh((block + block.T) / 2)))
    if not allow_unstable and largest > 0 and lr > 2 / largest * (1 + 4 * float(xp.finfo(block.dtype).eps)):
        raise UnstableStep(
            f"lr = {lr:.6g} diverges on the batch {list(batch)[:8]}; at most 2/λ_max = {2 / largest:.6g} of its block is allowed "
            "(allow_unstable=True runs it all the same)"
        )
