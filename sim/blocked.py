"""Nets on NumPy, stepped in blocks of neurons that stay in cache.

One visit to a block applies the update of step `k` and evaluates the outputs of step `k + 1`, while the block's arrays sit in cache; at a
recorded step it also measures how far the block has moved and what it adds to outputs elsewhere. Two ways to step:

weight space  Weights are updated, by two products with the inputs a step, `4nd` flops a neuron. All that lives between two visits, beside
              the weights, is which neuron is active on which sample: a byte each, a bit each, or nothing, the activity then being
              evaluated a second time.
sample space  A step moves weights within the span of the inputs, `W = W_s + S X`, so pre-activations follow `Z ← Z + M G`, `G = X Xᵀ`,
              and `S ← S + M`: one product, `2n²` flops a neuron, and two more passes over (m, n) arrays. Weights are formed when
              somebody looks.

Blocks run on threads with one BLAS thread each, and are summed in order: the thread count changes no result.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sim.blocks import Block, block_rows, flipped, outputs_of, relu_outputs, sample_space_pays, squared_norms
from sim.descent import Observation
from theory.threads import cores

# Tasks a core: enough that threads that are disturbed leave work to the others.
TASKS = 2


class HostNets:
    """`S` nets of one shape, on NumPy.

    Parameters
    ----------
    W : (S, m, d) array
        First-layer weights; stages update them in place.
    a : (S, m, c) array
        Readouts, ±1, same dtype.
    run : callable
        Ordered map from `workers`.
    gates : (S, m, d) array, optional
        Weights that decide which neurons are active, in place of `W`.
    memory : "byte", "bit" or "recompute"
        How the activity is kept between steps in weight space.
    block : int, optional
        Neurons a block, by default by `block_rows`.
    sample_space : bool, optional
        By default what is cheaper.
    """

    def __init__(
        self,
        W: np.ndarray,
        a: np.ndarray,
        run: Callable[..., Any],
        *,
        gates: np.ndarray | None = None,
        memory: str = "byte",
        block: int | None = None,
        sample_space: bool | None = None,
    ) -> None:
        self.W, self.a, self.gates, self.memory, self.run = W, a, gates, memory, run
        self.block, self.sample_space = block, sample_space
        self.scale = 1 / math.sqrt(W.shape[1])
        self.tasks = TASKS * cores()

    @property
    def count(self) -> int:
        """Number of nets."""
        return len(self.W)

    def take(self, nets: Sequence[int]) -> HostNets:
        """A copy of some of the nets."""
        some = list(nets)
        gates = None if self.gates is None else self.gates if len(some) == len(self.W) else self.gates[some]
        a = self.a if len(some) == len(self.W) else self.a[some]
        return HostNets(self.W[some], a, self.run, gates=gates, memory=self.memory, block=self.block, sample_space=self.sample_space)

    def outputs(self, X: np.ndarray) -> np.ndarray:
        """Outputs on `X` (n, d), as (S, n, c) float64."""
        XT = np.ascontiguousarray(X.T)

        def visit(block: Block) -> np.ndarray:
            gates = None if self.gates is None else self.gates[block.key]
            return outputs_of(self.W[block.key], self.a[block.key], XT, gates)

        return self.summed(self.blocks(len(X)), visit)

    def rounding(self, X: np.ndarray) -> list[float]:
        """What rounding makes of each net's `‖u‖` on `X` where all terms of its sums cancel: `ε ‖m^{-1/2} Σ_r relu(w_r·X)‖`."""
        sums = HostNets(self.W, np.ones_like(self.a), self.run, gates=self.gates, block=self.block).outputs(X)
        return [float(np.finfo(self.W.dtype).eps * np.linalg.norm(u)) for u in sums]

    def displacement(self, start: np.ndarray) -> list[float]:
        """`‖W − start‖_F` of each net."""
        blocks, squares = self.blocks(self.W.shape[2]), np.zeros(len(self.W))
        for block, part in zip(blocks, self.each(blocks, lambda at: squared_norms(self.W[at.key] - start[at.key])), strict=True):
            squares[block.nets] += part
        return [math.sqrt(square) for square in squares]

    def stage(
        self, X: np.ndarray, y: np.ndarray, lr: float, *, start: np.ndarray | None, watch: Sequence[np.ndarray], keep: bool
    ) -> HostStage:
        """These nets on a training set.

        Parameters
        ----------
        start : (S, m, d) array, optional
            The nets' present weights, in an array that will not change: spares a copy.
        watch : sequence of (n', d) arrays
            Inputs whose outputs are wanted at recorded steps.
        keep : bool
            Whether the weights will be synchronised before the end.
        """
        pays = sample_space_pays(*X.shape) if self.sample_space is None else self.sample_space
        kind = SampleSpace if pays and self.gates is None else WeightSpace
        return kind(self, X, y, lr, start, watch, keep)

    def blocks(self, n: int) -> list[Block]:
        """The blocks to visit for `n` samples."""
        S, m, d = self.W.shape
        rows = self.block or block_rows(n, d, self.W.itemsize)
        together = rows // m
        if together > 1:
            return [Block(slice(i, min(i + together, S)), slice(0, m)) for i in range(0, S, together)]
        return [Block(slice(s, s + 1), slice(i, min(i + rows, m))) for s in range(S) for i in range(0, m, rows)]

    def each(self, blocks: list[Block], visit: Callable[[Block], Any]) -> list[Any]:
        """`visit` of each block, in order."""
        # A thread for a single block would only cost the handing over; so would one task a block.
        if len(blocks) == 1:
            return [visit(blocks[0])]
        size = -(-len(blocks) // self.tasks)
        tasks = [blocks[i : i + size] for i in range(0, len(blocks), size)]
        return [part for parts in self.run(lambda task: [visit(block) for block in task], tasks) for part in parts]

    def summed(self, blocks: list[Block], visit: Callable[[Block], np.ndarray]) -> np.ndarray:
        """Outputs (S, n, c) from each block's share, (s, c, n)."""
        return self.total(blocks, self.each(blocks, visit))

    def total(self, blocks: list[Block], parts: Sequence[np.ndarray]) -> np.ndarray:
        """As `summed`, of parts computed before."""
        if len(parts) == 1:
            return np.multiply(parts[0], self.scale, dtype=np.float64).transpose(0, 2, 1)
        # In float64 whatever the dtype: a float32 sum over many blocks of cancelling terms would lose digits.
        total = np.zeros((self.count, *parts[0].shape[1:]))
        for block, part in zip(blocks, parts, strict=True):
            total[block.nets] += part
        total *= self.scale
        return total.transpose(0, 2, 1)


class HostStage:
    """What both spaces share: the residual, when to stop, and what was noted on the way. `sim.descent.Stage` says what it offers."""

    def __init__(
        self, nets: HostNets, X: np.ndarray, y: np.ndarray, lr: float, start: np.ndarray | None, watch: Sequence[np.ndarray], keep: bool
    ) -> None:
        self.nets, self.X, self.y, self.lr = nets, X, y, lr
        self.XT = np.ascontiguousarray(X.T)
        self.watch = [np.ascontiguousarray(x.T) for x in watch]
        self.blocks = nets.blocks(len(X))
        self.start = self._kept(start, keep)
        self.workspace = threading.local()
        self.noted: list[Observation] | None = None
        self._move(None, note=True)

    @property
    def count(self) -> int:
        """Number of nets."""
        return self.nets.count

    def squared(self) -> list[float]:
        """`‖u − y‖²` of each net now."""
        return self._squared

    def outputs(self) -> np.ndarray:
        """Outputs now."""
        return self._u

    def rounding(self) -> list[float]:
        """What rounding makes of each `‖u‖` where all terms of its sums cancel."""
        return self.nets.rounding(self.X)

    def run(self, budget: Sequence[int], limit: Sequence[float], progress: Callable[[int], object] | None) -> list[int]:
        """Step each net until `budget` is used up, `‖u − y‖` is at most `limit`, or it is not finite; steps taken."""
        taken = [0] * self.count
        while True:
            moving = [
                t < b and math.isfinite(s) and math.sqrt(s) > end for t, b, s, end in zip(taken, budget, self._squared, limit, strict=True)
            ]
            if not any(moving):
                return taken
            direction = self._residual * -self.lr
            if False in moving:
                direction[[not m for m in moving]] = 0
            taken = [t + m for t, m in zip(taken, moving, strict=True)]
            self._move(direction, note=any(m and t == b for m, t, b in zip(moving, taken, budget, strict=True)))
            if progress is not None:
                progress(sum(moving))

    def observe(self) -> list[Observation]:
        """Each net now; from the step that led here, if that was known to be one to record."""
        if self.noted is None:
            self.noted = self._observations(self.nets.each(self.blocks, self.look))
        return self.noted

    def _move(self, direction: np.ndarray | None, note: bool) -> None:
        advance = self.step(direction)

        def visit(block: Block) -> tuple[np.ndarray, Any]:
            return advance(block), self.look(block)

        parts = self.nets.each(self.blocks, visit if note else advance)
        self.noted = None
        if note:
            self.noted = self._observations([look for _, look in parts])
            parts = [part for part, _ in parts]
        self._u = self.nets.total(self.blocks, parts)
        self._residual = self._u - self.y
        self._squared = [float(np.vdot(r, r)) for r in self._residual]

    def _observations(self, looks: Sequence[Any]) -> list[Observation]:
        moved = np.zeros(self.count)
        for block, (squares, _) in zip(self.blocks, looks, strict=True):
            moved[block.nets] += squares
        watched = [self.nets.total(self.blocks, [look[1][i] for look in looks]) for i in range(len(self.watch))]
        return [Observation(math.sqrt(square), tuple(u[s] for u in watched)) for s, square in enumerate(moved)]

    def look(self, block: Block) -> tuple[np.ndarray, list[np.ndarray]]:
        """A block's share of the squared displacements (s,), and of the outputs on each watched set."""
        W, difference = self.weights(block)
        gates = None if self.nets.gates is None else self.nets.gates[block.key]
        return squared_norms(difference), [outputs_of(W, self.nets.a[block.key], XT, gates) for XT in self.watch]

    def buffer(self, block: Block, name: str, columns: int) -> np.ndarray:
        """This thread's working array of a name, (s, r, columns): the same memory at each call."""
        held: dict[Any, np.ndarray] = self.workspace.__dict__
        key = name, block.shape
        if key not in held:
            held[key] = np.empty((*block.shape, columns), dtype=self.X.dtype)
        return held[key]

    def _kept(self, start: np.ndarray | None, keep: bool) -> np.ndarray | None:
        raise NotImplementedError

    def step(self, direction: np.ndarray | None) -> Callable[[Block], np.ndarray]:
        """A visit that moves a block along `direction` (S, n, c), unless `None`, and gives its share of the outputs after."""
        raise NotImplementedError

    def weights(self, block: Block) -> tuple[np.ndarray, np.ndarray]:
        """A block's weights now, and less those at the start."""
        raise NotImplementedError

    def sync(self) -> None:
        """Bring the nets' weights up to date."""


class WeightSpace(HostStage):
    """Weights updated at each step, `w_r += a_r m^{-1/2} Σ_i direction_i x_i` over the neuron's active samples."""

    def _kept(self, start: np.ndarray | None, keep: bool) -> np.ndarray:
        S, m, n = *self.nets.a.shape[:2], len(self.X)
        self.active: np.ndarray | None = None
        # A readout multiplies bytes of activity at a fraction of what it costs to multiply gradients, unless those have few columns.
        self.signed = self.nets.memory == "byte" and self.nets.a.shape[2] == 1 and self.nets.gates is None and self.X.shape[1] >= 64
        self.signs = self.nets.a.astype(np.int8) if self.signed else None
        if self.nets.memory == "byte":
            self.active = np.empty((S, m, n), dtype=np.bool_)
        elif self.nets.memory == "bit":
            self.active = np.empty((S, m, -(-n // 8)), dtype=np.uint8)
        self.fresh = True
        return self.nets.W.copy() if start is None else start

    def step(self, direction: np.ndarray | None) -> Callable[[Block], np.ndarray]:
        """As `HostStage.step`."""
        nets = self.nets
        scalar = nets.a.shape[2] == 1
        n, d = self.X.shape
        along: np.ndarray | None = None
        if direction is not None and scalar:
            along = (direction * nets.scale * self.X).astype(self.X.dtype)
        elif direction is not None:
            along = np.ascontiguousarray(flipped(direction * nets.scale), dtype=self.X.dtype)
        fresh, self.fresh = self.fresh, False

        def visit(block: Block) -> np.ndarray:
            W, a = nets.W[block.key], nets.a[block.key]
            Z, F = (self.buffer(block, name, n) for name in "ZF")
            if along is not None:
                G = self.buffer(block, "G", d)
                self._load(block, F)
                if scalar:
                    np.matmul(F, along[block.nets], out=G)
                    if not self.signed:
                        G *= a
                else:
                    np.multiply(F, np.matmul(a, along[block.nets], out=Z), out=F)
                    np.matmul(F, self.X, out=G)
                W += G
            np.matmul(W, self.XT, out=Z)
            if nets.gates is None:
                if self.active is not None:
                    self._store(block, Z)
                return relu_outputs(a, W, self.XT, Z)
            if fresh and self.active is not None:
                self._store(block, np.matmul(nets.gates[block.key], self.XT, out=F))
            self._load(block, F)
            Z *= F
            return np.matmul(flipped(a), Z)

        return visit

    def weights(self, block: Block) -> tuple[np.ndarray, np.ndarray]:
        """A block's weights now, and less those at the start."""
        assert self.start is not None
        W = self.nets.W[block.key]
        return W, W - self.start[block.key]

    def _store(self, block: Block, Z: np.ndarray) -> None:
        assert self.active is not None
        if self.nets.memory == "byte":
            active = self.active[block.key]
            np.greater(Z, 0, out=active)
            if self.signs is not None:
                np.multiply(active.view(np.int8), self.signs[block.key], out=active.view(np.int8))
        else:
            self.active[block.key] = np.packbits(Z > 0, axis=2)

    def _load(self, block: Block, F: np.ndarray) -> None:
        """Write the activity of the current step into `F` as 0 and 1, or, where `signed`, as 0 and the readout."""
        if self.nets.memory == "byte":
            assert self.active is not None
            active = self.active[block.key]
            F[...] = active.view(np.int8) if self.signed else active
        elif self.nets.memory == "bit":
            assert self.active is not None
            F[...] = np.unpackbits(self.active[block.key], axis=2, count=F.shape[2])
        else:
            weights = self.nets.W if self.nets.gates is None else self.nets.gates
            np.matmul(weights[block.key], self.XT, out=F)
            np.greater(F, 0, out=F)


class SampleSpace(HostStage):
    """Pre-activations updated through the Gram matrix, and the coefficients `S` of `W = W_s + S X` added up."""

    def _kept(self, start: np.ndarray | None, keep: bool) -> np.ndarray | None:
        S, m, n = *self.nets.a.shape[:2], len(self.X)
        self.gram = self.X @ self.XT
        self.signs = self.nets.a.astype(np.int8) if self.nets.a.shape[2] == 1 else None
        self.Z, self.coefficients = np.empty((S, m, n), dtype=self.X.dtype), np.zeros((S, m, n), dtype=self.X.dtype)
        # Weights that are written only once need no copy of where they started.
        return self.nets.W.copy() if start is None and keep else start

    def step(self, direction: np.ndarray | None) -> Callable[[Block], np.ndarray]:
        """As `HostStage.step`."""
        nets, n = self.nets, len(self.X)
        along = None if direction is None else np.ascontiguousarray(flipped(direction * nets.scale), dtype=self.X.dtype)
        signs = self.signs

        def visit(block: Block) -> np.ndarray:
            a, Z = nets.a[block.key], self.Z[block.key]
            F, T = (self.buffer(block, name, n) for name in "FT")
            if along is None:
                np.matmul(nets.W[block.key], self.XT, out=Z)
            else:
                active = np.greater(Z, 0)
                if signs is None:
                    F[...] = active
                    F *= np.matmul(a, along[block.nets], out=T)
                else:
                    F[...] = np.multiply(active.view(np.int8), signs[block.key])
                    F *= along[block.nets]
                self.coefficients[block.key] += F
                Z += np.matmul(F, self.gram, out=T)
            np.abs(Z, out=T)
            total = np.matmul(flipped(a), T)
            total += np.matmul(flipped(a), Z)
            total *= 0.5
            return total

        return visit

    def weights(self, block: Block) -> tuple[np.ndarray, np.ndarray]:
        """A block's weights now, and less those at the start."""
        difference = np.matmul(self.coefficients[block.key], self.X)
        start = self.nets.W if self.start is None else self.start
        return start[block.key] + difference, difference

    def sync(self) -> None:
        """Bring the nets' weights up to date."""

        def visit(block: Block) -> None:
            self.nets.W[block.key] = self.weights(block)[0]

        self.nets.each(self.blocks, visit)
