"""One net after pretraining, before any fine-tuning: what it leaves on the target, trained and with its kernel frozen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.dynamics import BlockedNet, workers
from sim.experiments.equiangular import EquiangularTask
from sim.frozen import frozen_gram
from sim.networks import initial_net
from sim.records import Cache
from sim.sweep import sweep
from sim.tasks import Task, problem_of
from theory.numeric import stages
from theory.numeric.gram import relu_gram
from theory.numeric.spectrum import GramSpectrum
from theory.problem import TransferProblem


@dataclass(frozen=True, kw_only=True)
class PretrainedSpec:
    """Everything that a net after pretraining depends on, beside the code; scalar labels only.

    Parameters
    ----------
    task : Task or EquiangularTask
    width, seed : int
    source_steps : tuple of int, ascending
        Lengths of pretraining; the step size is `1/λ_max` of the infinite width's `H_P`.
    init_scale : float
    antisymmetric : bool
    dtype : "float64" or "float32"
        Of the trained net; the frozen one is in float64.
    """

    task: Task | EquiangularTask
    width: int
    seed: int
    source_steps: tuple[int, ...]
    init_scale: float = 1.0
    antisymmetric: bool = True
    dtype: str = "float64"


def pretrained(specs: Sequence[PretrainedSpec], cache: Cache, label: str) -> list[dict[str, Any]]:
    """`measured` of each spec, from the cache or computed now and kept."""
    return sweep(measured, specs, cache, label, weight=_work, depends=_data)


def measured(spec: PretrainedSpec) -> dict[str, Any]:
    """One net at each length of pretraining, trained and frozen.

    Returns
    -------
    dict of `"scratch"`, `y_Q − u_Q(W(0))`, and for each rung, `"trained"` and `"frozen"`, a list over lengths of `{"residual": y_Q − u_Q,
    "gradient": ‖∂L_Q/∂W‖²}`, both at `W(P)`.
    """
    whole = problem_of(spec.task)
    assert whole.source is not None
    (X_P, y_P), (X_Q, y_Q) = whole.source, whole.target
    lr = 1 / GramSpectrum.of(relu_gram(X_P)).largest
    W, a = initial_net(spec.width, X_P.shape[1], 1, init_scale=spec.init_scale, antisymmetric=spec.antisymmetric, seed=spec.seed)
    gram = frozen_gram(TransferProblem(source=whole.source, target=whole.target), W, a)
    P = GramSpectrum.of(gram.source)
    dtype = np.dtype(spec.dtype)
    trained: list[dict[str, Any]] = []
    # One thread: it is nets that are spread over cores.
    with workers(1) as run_map:
        net = BlockedNet(W, a, run_map)
        start_P, start_Q = net.outputs(X_P)[:, 0], net.outputs(X_Q)[:, 0]
        frozen = []
        for k in spec.source_steps:
            left = y_Q - start_Q - gram.target_source @ stages.coefficients(P, y_P - start_P, lr, k)
            frozen.append({"residual": left.tolist(), "gradient": float(left @ gram.target @ left)})
        net = BlockedNet(W.astype(dtype), a.astype(dtype), run_map)
        inputs = X_Q.astype(dtype)

        def look(_step: int, _loss: float, _end: bool) -> None:
            left = y_Q - net.outputs(inputs)[:, 0]
            trained.append({"residual": left.tolist(), "gradient": squared_gradient(net.W, inputs, left)})

        last = spec.source_steps[-1]
        net.descend(X_P.astype(dtype), y_P[:, None].astype(dtype), lr=lr, steps=last, record=spec.source_steps, on_record=look)
    return {"scratch": (y_Q - start_Q).tolist(), "trained": trained, "frozen": frozen}


def squared_gradient(W: np.ndarray, X: np.ndarray, residual: np.ndarray) -> float:
    """`‖∂L/∂W‖_F²` of a net with one output, whose readouts are ±1: `(1/m) Σ_r ‖Σ_i r_i 1{w_r·x_i > 0} x_i‖²`."""
    pulls = (W @ X.T > 0) @ (residual[:, None] * X.astype(np.float64))
    return float(np.sum(pulls**2)) / len(W)


def _work(spec: PretrainedSpec) -> float:
    # The first visit, the frozen kernel and the end cost about as much as some steps.
    return spec.width * (10.0 + spec.source_steps[-1])


def _data(spec: PretrainedSpec) -> str:
    return problem_of(spec.task).content_hash
