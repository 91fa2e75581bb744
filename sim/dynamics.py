"""Full-batch gradient descent on the first layer, blocked over width.

One visit to a block of neurons applies the update of step `k` and evaluates the outputs of step `k + 1`, while the
block's weights sit in cache. All that lives between two visits, beside the weights, is which neuron is active on
which sample: a byte each, a bit each, or nothing, the activity then being evaluated a second time.
Blocks run on threads with one BLAS thread each, and are summed in order: the thread count changes no result.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
from threadpoolctl import threadpool_limits

from theory.errors import InvalidInput, NotConverged, UnstableStep

MEMORY_MODES = ("byte", "bit", "recompute")

# Neurons a block: with d, n in the tens to hundreds a block's activations fit the second-level cache. Tuned on
# two cores over 128 … 2,048; flat between 512 and 2,048.
BLOCK = 1024


_blas: dict[str, Any] = {"users": 0, "limit": None}
_blas_lock = threading.Lock()


@contextmanager
def workers(threads: int | None = None) -> Iterator[Callable]:
    """An ordered `map` over `threads` threads (all available cores when `None`), each with one BLAS thread."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = threads or available
    with _single_threaded_blas():
        if count == 1:
            yield map
            return
        with ThreadPoolExecutor(count) as pool:
            yield pool.map


@contextmanager
def _single_threaded_blas() -> Iterator[None]:
    """One BLAS thread while anybody is inside: the limit belongs to the process, so the last one to leave lifts it."""
    with _blas_lock:
        if _blas["users"] == 0:
            _blas["limit"] = threadpool_limits(1, user_api="blas")
        _blas["users"] += 1
    try:
        yield
    finally:
        with _blas_lock:
            _blas["users"] -= 1
            if _blas["users"] == 0:
                _blas["limit"].restore_original_limits()


def choose_memory(width: int, n_samples: int) -> str:
    """The fastest mode whose activity record takes at most a quarter of the memory that is free now."""
    budget = psutil.virtual_memory().available / 4
    for mode, size in (("byte", width * n_samples), ("bit", width * n_samples / 8)):
        if size <= budget:
            return mode
    return "recompute"


@dataclass(frozen=True)
class Descent:
    """What one stage of gradient descent saw.

    Attributes
    ----------
    outputs : (n, c) array, outputs at the end
    steps : tuple of int, recorded steps, the last one taken among them
    loss, displacement : tuple of float, at the recorded steps
    """

    outputs: np.ndarray
    steps: tuple[int, ...]
    loss: tuple[float, ...]
    displacement: tuple[float, ...]


class BlockedNet:
    """A two-layer ReLU net whose weights are read and updated block by block.

    Parameters
    ----------
    W : (m, d) array
        First-layer weights; `descend` updates them in place.
    a : (m, c) array
        Readouts, ±1, same dtype.
    run : callable
        Ordered map from `workers`.
    gates : (m, d) array, optional
        Weights that decide which neurons are active, in place of `W`: with `gates = W(0)` the net is linear in `W`,
        and its kernel frozen.
    memory : "byte", "bit" or "recompute", optional
        How the activity is kept between steps; by default what fits.
    """

    def __init__(
        self,
        W: np.ndarray,
        a: np.ndarray,
        run: Callable,
        *,
        gates: np.ndarray | None = None,
        memory: str | None = None,
        block: int = BLOCK,
    ) -> None:
        if memory is not None and memory not in MEMORY_MODES:
            raise InvalidInput(f"memory is {memory!r}; one of {', '.join(map(repr, MEMORY_MODES))} is allowed")
        self.W, self.a, self.gates, self.memory = W, a, gates, memory
        self._run = run
        self._blocks = [slice(i, min(i + block, len(W))) for i in range(0, len(W), block)]
        self._scratch = threading.local()
        self._scale = 1 / math.sqrt(len(W))

    def outputs(self, X: np.ndarray) -> np.ndarray:
        """Outputs on `X` (n, d), as (n, c) float64."""
        XT = np.ascontiguousarray(X.T)

        def visit(rows: slice) -> np.ndarray:
            W, a = self.W[rows], self.a[rows]
            Z = W @ XT
            if self.gates is None:
                return _relu_outputs(a, W, XT, Z)
            Z *= self.gates[rows] @ XT > 0
            return a.T @ Z

        return self._sum(visit).T

    def displacement(self, start: np.ndarray) -> float:
        """`‖W − start‖_F`."""

        def visit(rows: slice) -> float:
            difference = self.W[rows] - start[rows]
            return float(np.vdot(difference, difference))

        return math.sqrt(sum(self._run(visit, self._blocks)))

    def descend(
        self,
        X: np.ndarray,
        y: np.ndarray,
        *,
        lr: float,
        steps: int | None,
        rtol: float = 1e-3,
        max_steps: int = 100_000,
        at_least: int = 0,
        record: Sequence[int] = (),
        on_record: Callable[[int, float, bool], None] | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> Descent:
        """Gradient descent on `½‖u − y‖²`, in place.

        Parameters
        ----------
        X, y : (n, d), (n, c) arrays
        lr : float
            Step size.
        steps : int or None
            `None` trains until `‖u − y‖ ≤ rtol ‖y‖`.
        at_least : int
            Where `steps` is `None`: go on until this step even if the end came before it.
        record : sequence of int
            Steps at which loss and displacement are recorded, besides the last.
        on_record : callable, optional
            Called with (step, loss, whether this is the end) at each recorded step, when the weights are those of that step.
        progress : callable, optional
            Called with 1 after each step.

        Raises
        ------
        NotConverged
            If `max_steps` were not enough for `steps=None`.
        UnstableStep
            If the outputs overflow.
        """
        stage = _Stage(self, X)
        threshold = rtol * float(np.linalg.norm(y)) if steps is None else 0.0
        start, recorded, seen = self.W.copy(), set(record), []
        u = stage.advance(None)
        k, ended = 0, False
        while True:
            residual = u - y
            loss = float(np.vdot(residual, residual)) / 2
            if not math.isfinite(loss):
                raise UnstableStep(f"the outputs overflowed at step {k} with step size {lr:.6g}; a smaller one is needed")
            if steps is None and k == 0 and threshold == 0:
                # Nothing sets the scale of y = 0 but the outputs that are to be unlearnt.
                threshold = rtol * math.sqrt(2 * loss)
            end = not ended and (k == steps if steps is not None else math.sqrt(2 * loss) <= threshold)
            ended |= end
            if end or k in recorded:
                seen.append((k, loss, self.displacement(start)))
                if on_record is not None:
                    on_record(k, loss, end)
            if ended and (steps is not None or k >= at_least):
                return Descent(u, *zip(*seen, strict=True))
            if not ended and steps is None and k == max_steps:
                raise NotConverged(
                    f"‖u − y‖ is {math.sqrt(2 * loss):.3g} after {max_steps} steps of size {lr:.6g}; at most rtol·‖y‖ = {threshold:.3g} "
                    "was asked for (raise max_steps or rtol, or give a number of steps)"
                )
            u = stage.advance(residual * -lr)
            k += 1
            if progress is not None:
                progress(1)

    def _sum(self, visit: Callable) -> np.ndarray:
        # In float64 whatever the dtype: a float32 sum over many blocks of cancelling terms would lose digits.
        total = sum(np.asarray(part, dtype=np.float64) for part in self._run(visit, self._blocks))
        return np.asarray(total) * self._scale


def _relu_outputs(a: np.ndarray, W: np.ndarray, XT: np.ndarray, Z: np.ndarray) -> np.ndarray:
    """`aᵀ relu(Z)` for `Z = W Xᵀ`, which is overwritten, as `½(aᵀ|Z| + (aᵀW)Xᵀ)`: NumPy's `abs` is three times as fast as its `maximum`."""
    np.abs(Z, out=Z)
    total = a.T @ Z
    total += (a.T @ W) @ XT
    total *= 0.5
    return total


class _Stage:
    """One training set under one net: the working arrays and the activity kept between steps."""

    def __init__(self, net: BlockedNet, X: np.ndarray) -> None:
        self.net, self.X, self.XT = net, X, np.ascontiguousarray(X.T)
        m, n = len(net.W), len(X)
        self.memory = net.memory or choose_memory(m, n)
        self.active: np.ndarray | None = None
        if self.memory == "byte":
            self.active = np.empty((m, n), dtype=np.bool_)
        elif self.memory == "bit":
            self.active = np.empty((m, -(-n // 8)), dtype=np.uint8)
        self.fresh = True
        self.workspace = threading.local()

    def advance(self, direction: np.ndarray | None) -> np.ndarray:
        """Move each weight by `a_r m^{-1/2} Σ_i direction_i x_i` over its active samples (unless `None`); outputs (n, c) after."""
        net = self.net
        scalar = net.a.shape[1] == 1
        if direction is None:
            step = None
        elif scalar:
            step = (direction * net._scale * self.X).astype(self.X.dtype)
        else:
            step = np.ascontiguousarray((direction * net._scale).T, dtype=self.X.dtype)

        def visit(rows: slice) -> np.ndarray:
            W, a = net.W[rows], net.a[rows]
            Z, F, G = self._arrays(len(W))
            if step is not None:
                self._load(rows, F)
                if scalar:
                    np.matmul(F, step, out=G)
                    G *= a
                else:
                    np.multiply(F, np.matmul(a, step, out=Z), out=F)
                    np.matmul(F, self.X, out=G)
                W += G
            np.matmul(W, self.XT, out=Z)
            if net.gates is None:
                if self.active is not None:
                    self._store(rows, Z)
                return _relu_outputs(a, W, self.XT, Z)
            if self.fresh and self.active is not None:
                self._store(rows, np.matmul(net.gates[rows], self.XT, out=F))
            self._load(rows, F)
            Z *= F
            return a.T @ Z

        u = net._sum(visit).T
        self.fresh = False
        return u

    def _arrays(self, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """This thread's buffers for pre-activations, activity as numbers, and gradients."""
        local = self.workspace
        if not hasattr(local, "Z") or len(local.Z) < rows:
            n, d = self.X.shape
            local.Z, local.F = (np.empty((rows, n), dtype=self.X.dtype) for _ in range(2))
            local.G = np.empty((rows, d), dtype=self.X.dtype)
        return local.Z[:rows], local.F[:rows], local.G[:rows]

    def _store(self, rows: slice, Z: np.ndarray) -> None:
        assert self.active is not None
        if self.memory == "byte":
            np.greater(Z, 0, out=self.active[rows])
        else:
            self.active[rows] = np.packbits(Z > 0, axis=1)

    def _load(self, rows: slice, F: np.ndarray) -> None:
        """Write the activity of the current step into `F` as 0 and 1."""
        if self.memory == "byte":
            assert self.active is not None
            F[...] = self.active[rows]
        elif self.memory == "bit":
            assert self.active is not None
            F[...] = np.unpackbits(self.active[rows], axis=1, count=F.shape[1])
        else:
            weights = self.net.W if self.net.gates is None else self.net.gates
            np.matmul(weights[rows], self.XT, out=F)
            np.greater(F, 0, out=F)
