"""Nets on any array library, a GPU's above all: the step of `sim.blocked` through the array API.

A run makes no round trip to the host: losses, and which net has reached its end, stay on the device, and a net that has is held there, its
direction multiplied by zero. The host looks every `LOOK` steps, or at a recorded one, and sees the very step at which each net stopped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from sim.backend import Backend
from sim.descent import Observation
from sim.elementwise import masked, relu_outputs
from sim.tiles import in_tiles
from theory.arrays import Array, to_numpy

# Steps between two looks: at most so many are computed in vain after an end. Larger only where a step takes far less than a look.
LOOK = 64

# Largest array that a tile of neurons works with: 128 MiB in float64, beyond where larger products stop being faster.
TILE = 1 << 24


class DeviceNets:
    """`S` nets of one shape on a device.

    Parameters
    ----------
    backend : Backend
    W, a : (S, m, d), (S, m, c) arrays of that library, on its device
        Stages update `W` in place.
    gates : (S, m, d) array, optional
        Weights that decide which neurons are active, in place of `W`.
    keep : bool
        Whether pre-activations are kept between steps, or evaluated a second time.
    tile : int, optional
        Neurons at once, at most; `TILE` allows fewer. Less, with a warning, where memory runs out.
    sample_space : bool, optional
        By default where `n ≤ d`.
    """

    def __init__(
        self,
        backend: Backend,
        W: Array,
        a: Array,
        *,
        gates: Array | None = None,
        keep: bool = True,
        tile: int | None = None,
        sample_space: bool | None = None,
    ) -> None:
        self.backend, self.W, self.a, self.gates, self.keep = backend, W, a, gates, keep
        self.tile, self.sample_space = tile, sample_space
        self.scale = 1 / math.sqrt(W.shape[1])

    @property
    def count(self) -> int:
        """Number of nets."""
        return int(self.W.shape[0])

    def take(self, nets: Sequence[int]) -> DeviceNets:
        """A copy of some of the nets."""
        xp, every = self.backend.xp, len(nets) == self.count

        def some(x: Array) -> Array:
            return x if every else xp.stack([x[i, ...] for i in nets])

        W = xp.asarray(self.W, copy=True) if every else some(self.W)
        gates = None if self.gates is None else some(self.gates)
        return DeviceNets(self.backend, W, some(self.a), gates=gates, keep=self.keep, tile=self.tile, sample_space=self.sample_space)

    def load(self, x: np.ndarray) -> Array:
        """`x` on the device, in the dtype of the weights."""
        return self.backend.xp.asarray(np.array(x), dtype=self.W.dtype, device=self.backend.device)

    def outputs(self, X: np.ndarray) -> np.ndarray:
        """Outputs on `X` (n, d), as (S, n, c) float64 on the host."""
        XT = self.load(X).T
        return to_numpy(self.summed(len(X), lambda tile: (self.share(tile, self.W[:, tile, :], XT), None)))

    def rounding(self, X: np.ndarray) -> list[float]:
        """What rounding makes of each net's `‖u‖` on `X` where all terms of its sums cancel: `ε ‖m^{-1/2} Σ_r relu(w_r·X)‖`."""
        xp = self.backend.xp
        sums = DeviceNets(self.backend, self.W, xp.ones_like(self.a), gates=self.gates, tile=self.tile).outputs(X)
        return [float(xp.finfo(self.W.dtype).eps * np.linalg.norm(u)) for u in sums]

    def share(self, tile: slice, W: Array, XT: Array) -> Array:
        """What a tile of neurons with weights `W` adds to outputs on other inputs than those being trained on, (S, n, c) float64."""
        a, Z = self.a[:, tile, :], W @ XT
        return relu_outputs(Z, a) if self.gates is None else gated(Z, self.gates[:, tile, :] @ XT, a, self.backend)

    def stage(
        self, X: np.ndarray, y: np.ndarray, lr: float, *, start: Array | None, watch: Sequence[np.ndarray], keep: bool
    ) -> DeviceStage:
        """These nets on a training set; as `HostNets.stage`."""
        inside = len(X) <= X.shape[1] if self.sample_space is None else self.sample_space
        kind = SampleSpace if inside and self.keep and self.gates is None else WeightSpace
        return kind(self, X, y, lr, start, watch, keep)

    def summed(self, n: int, visit: Callable[[slice], tuple[Array, Callable[[], None] | None]]) -> Array:
        """Sum over tiles of the first that `visit` gives, times `1/√m`; the second is done once the tile's share is added.

        A visit thus changes nothing before all its arrays are there, and can be repeated on smaller tiles.
        """
        parts: list[Array] = []

        def one(tile: slice) -> None:
            part, finish = visit(tile)
            if finish is not None:
                finish()
            parts.append(part)

        self.tiles(n, one)
        total = parts[0]
        for part in parts[1:]:
            total += part
        return total * self.scale

    def tiles(self, n: int, visit: Callable[[slice], object]) -> None:
        """`visit` of each tile of neurons, for `n` samples."""
        S, m, d = self.W.shape
        size = max(1, min(self.tile or m, TILE // (S * max(n, d))))
        fitted = in_tiles(m, size, visit)
        if fitted < size:
            self.tile = fitted


def gated(Z: Array, gates: Array, a: Array, backend: Backend) -> Array:
    """Outputs of neurons that others' pre-activations switch on."""
    xp = backend.xp
    on = xp.where(gates > 0, Z, xp.zeros_like(Z))
    return xp.astype(xp.matmul(xp.matrix_transpose(on), a), xp.float64)


class DeviceStage:
    """What both spaces share; `sim.descent.Stage` says what it offers."""

    def __init__(
        self, nets: DeviceNets, X: np.ndarray, y: np.ndarray, lr: float, start: Array | None, watch: Sequence[np.ndarray], keep: bool
    ) -> None:
        self.nets, self.lr, self.xp = nets, lr, nets.backend.xp
        self.samples, self.X = X, nets.load(X)
        self.XT = self.xp.matrix_transpose(self.X)
        self.y = self.xp.asarray(np.array(y), dtype=self.xp.float64, device=nets.backend.device)
        self.watch = [self.xp.matrix_transpose(nets.load(x)) for x in watch]
        self.n = len(X)
        self._begin(start, keep)
        self._settle(self.advance(None))

    @property
    def count(self) -> int:
        """Number of nets."""
        return self.nets.count

    def squared(self) -> list[float]:
        """`‖u − y‖²` of each net now."""
        if self._seen is None:
            self._seen = [float(s) for s in to_numpy(self._squared)]
        return self._seen

    def outputs(self) -> np.ndarray:
        """Outputs now, on the host."""
        return to_numpy(self._u)

    def rounding(self) -> list[float]:
        """What rounding makes of each `‖u‖` where all terms of its sums cancel."""
        return self.nets.rounding(self.samples)

    def run(self, budget: Sequence[int], limit: Sequence[float], progress: Callable[[int], object] | None) -> list[int]:
        """Step each net until `budget` is used up, `‖u − y‖` is at most `limit`, or it is not finite; steps taken."""
        xp, device, taken = self.xp, self.nets.backend.device, [0] * self.count
        ends = xp.asarray(list(limit), dtype=xp.float64, device=device)
        while True:
            left = [b - t for b, t in zip(budget, taken, strict=True)]
            if not any(
                more > 0 and math.isfinite(s) and math.sqrt(s) > end for more, s, end in zip(left, self.squared(), limit, strict=True)
            ):
                return taken
            burst = min(LOOK, max(left))
            allowed = xp.asarray(left, dtype=xp.int64, device=device)
            steps = xp.zeros(self.count, dtype=xp.int64, device=device)
            for _ in range(burst):
                going = (steps < allowed) & xp.isfinite(self._squared) & (xp.sqrt(self._squared) > ends)
                steps = steps + xp.astype(going, xp.int64)
                held = xp.zeros_like(self._residual)
                direction = xp.where(going[:, None, None], self._residual * (-self.lr * self.nets.scale), held)
                self._settle(self.advance(direction))
            found = [int(k) for k in to_numpy(steps)]
            taken = [t + k for t, k in zip(taken, found, strict=True)]
            if progress is not None:
                progress(sum(found))

    def observe(self) -> list[Observation]:
        """Each net now."""
        squares = [self.xp.zeros(self.count, dtype=self.xp.float64, device=self.nets.backend.device)]

        def visit(tile: slice) -> None:
            _, difference = self.weights(tile)
            squares.append(self.xp.sum(difference * difference, axis=(1, 2), dtype=self.xp.float64))

        self.nets.tiles(self.n, visit)
        moved = to_numpy(sum(squares[1:], squares[0]))
        watched = [to_numpy(self._elsewhere(XT)) for XT in self.watch]
        return [Observation(math.sqrt(square), tuple(u[s] for u in watched)) for s, square in enumerate(moved)]

    def _elsewhere(self, XT: Array) -> Array:
        return self.nets.summed(XT.shape[1], lambda tile: (self.nets.share(tile, self.weights(tile)[0], XT), None))

    def _settle(self, u: Array) -> None:
        self._u, self._seen = u, None
        self._residual = u - self.y
        self._squared = self.xp.sum(self._residual * self._residual, axis=(1, 2))

    _seen: list[float] | None

    def _begin(self, start: Array | None, keep: bool) -> None:
        raise NotImplementedError

    def advance(self, direction: Array | None) -> Array:
        """Outputs (S, n, c) after a move along `direction`, unless `None`, which holds the scale already."""
        raise NotImplementedError

    def weights(self, tile: slice) -> tuple[Array, Array]:
        """A tile's weights now, and less those at the start."""
        raise NotImplementedError

    def sync(self) -> None:
        """Bring the nets' weights up to date."""


class WeightSpace(DeviceStage):
    """Weights updated at each step."""

    def _begin(self, start: Array | None, keep: bool) -> None:
        nets, xp = self.nets, self.xp
        self.start = xp.asarray(nets.W, copy=True) if start is None else start
        self.Z: Array | None = None
        if nets.keep:
            self.Z = xp.empty((*nets.W.shape[:2], self.n), dtype=nets.W.dtype, device=nets.backend.device)

    def advance(self, direction: Array | None) -> Array:
        """As `DeviceStage.advance`."""
        nets, fixed = self.nets, self.nets.gates

        def visit(tile: slice) -> tuple[Array, Callable[[], None]]:
            W, a = nets.W[:, tile, :], nets.a[:, tile, :]
            before: Array | None = None
            if direction is not None:
                before = self.Z[:, tile, :] if self.Z is not None else (W if fixed is None else fixed[:, tile, :]) @ self.XT
                W = W + masked(before, a, direction) @ self.X
            Z = W @ self.XT
            if fixed is None:
                part, kept = relu_outputs(Z, a), Z
            else:
                kept = before if before is not None else fixed[:, tile, :] @ self.XT
                part = gated(Z, kept, a, nets.backend)

            def finish() -> None:
                if direction is not None:
                    nets.W[:, tile, :] = W
                if self.Z is not None:
                    self.Z[:, tile, :] = kept

            return part, finish

        return nets.summed(self.n, visit)

    def weights(self, tile: slice) -> tuple[Array, Array]:
        """As `DeviceStage.weights`."""
        W = self.nets.W[:, tile, :]
        return W, W - self.start[:, tile, :]


class SampleSpace(DeviceStage):
    """Pre-activations updated through the Gram matrix, and the coefficients `S` of `W = W_s + S X` added up."""

    def _begin(self, start: Array | None, keep: bool) -> None:
        nets, xp = self.nets, self.xp
        self.gram = self.X @ self.XT
        shape = (*nets.W.shape[:2], self.n)
        self.Z = xp.empty(shape, dtype=nets.W.dtype, device=nets.backend.device)
        self.coefficients = xp.zeros(shape, dtype=nets.W.dtype, device=nets.backend.device)
        # Weights that are written only once need no copy of where they started.
        self.start = xp.asarray(nets.W, copy=True) if start is None and keep else start

    def advance(self, direction: Array | None) -> Array:
        """As `DeviceStage.advance`."""
        nets = self.nets

        def visit(tile: slice) -> tuple[Array, Callable[[], None]]:
            a = nets.a[:, tile, :]
            if direction is None:
                Z, total = nets.W[:, tile, :] @ self.XT, None
            else:
                Z = self.Z[:, tile, :]
                move = masked(Z, a, direction)
                Z, total = Z + move @ self.gram, self.coefficients[:, tile, :] + move
            part = relu_outputs(Z, a)

            def finish() -> None:
                self.Z[:, tile, :] = Z
                if total is not None:
                    self.coefficients[:, tile, :] = total

            return part, finish

        return nets.summed(self.n, visit)

    def weights(self, tile: slice) -> tuple[Array, Array]:
        """As `DeviceStage.weights`."""
        difference = self.coefficients[:, tile, :] @ self.X
        start = self.nets.W if self.start is None else self.start
        return start[:, tile, :] + difference, difference

    def sync(self) -> None:
        """Bring the nets' weights up to date."""

        def visit(tile: slice) -> None:
            self.nets.W[:, tile, :] = self.weights(tile)[0]

        self.nets.tiles(self.n, visit)
