"""Full-batch gradient descent on the first layer of one net, on NumPy: `BlockedNet`, the plain way in to `sim.blocked`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sim.blocked import HostNets
from sim.descent import Descent, Event, descend
from sim.plan import MEMORY_MODES, check_memory
from theory.host_memory import free_host_memory
from theory.threads import workers

__all__ = ["MEMORY_MODES", "BlockedNet", "Descent", "choose_memory", "workers"]


def choose_memory(width: int, n_samples: int) -> str:
    """The fastest mode whose activity record takes at most a quarter of the memory that is free now."""
    budget = free_host_memory() / 4
    for mode, size in (("byte", width * n_samples), ("bit", width * n_samples / 8)):
        if size <= budget:
            return mode
    return "recompute"


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
        How the activity is kept between steps in weight space; by default what fits.
    block : int, optional
        Neurons a block; by default as many as stay in cache.
    sample_space : bool, optional
        Whether to step in sample space, by default where that is cheaper (`sim.blocked.sample_space_pays`): equal but for rounding.
    """

    def __init__(
        self,
        W: np.ndarray,
        a: np.ndarray,
        run: Callable,
        *,
        gates: np.ndarray | None = None,
        memory: str | None = None,
        block: int | None = None,
        sample_space: bool | None = None,
    ) -> None:
        check_memory(memory)
        self.W, self.a, self.gates, self.memory = W, a, gates, memory
        self._nets = HostNets(W[None], a[None], run, gates=None if gates is None else gates[None], block=block, sample_space=sample_space)

    def outputs(self, X: np.ndarray) -> np.ndarray:
        """Outputs on `X` (n, d), as (n, c) float64."""
        return self._nets.outputs(X)[0]

    def displacement(self, start: np.ndarray) -> float:
        """`‖W − start‖_F`."""
        return self._nets.displacement(start[None])[0]

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
        watch: Sequence[np.ndarray] = (),
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
        watch : sequence of (n', d) arrays
            Inputs whose outputs are recorded too.

        Raises
        ------
        NotConverged
            If `max_steps` were not enough for `steps=None`.
        UnstableStep
            If the outputs overflow.
        """
        self._nets.memory = self.memory or choose_memory(len(self.W), len(X))
        stage = self._nets.stage(X, y, lr, start=None, watch=watch, keep=on_record is not None)

        def told(events: list[Event]) -> None:
            assert on_record is not None
            on_record(events[0].step, events[0].loss, events[0].end)

        return descend(
            stage,
            lr=lr,
            steps=steps,
            threshold=rtol * float(np.linalg.norm(y)),
            rtol=rtol,
            max_steps=max_steps,
            at_least=at_least,
            record=record,
            on_record=None if on_record is None else told,
            progress=progress,
        )[0]
