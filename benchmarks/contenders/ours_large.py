"""ptoq at sizes that must be reachable: a wide net, an exact solve, and a solve whose matrix is never held."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from serve import Work, serve, timed

import ptoq
from benchmarks import inputs
from benchmarks.cost import exponent
from sim.backend import resolve_backend
from sim.gram import relu_gram as fused_gram
from theory.numeric.solvers import LowRank, Tiled, conjugate_gradients
from theory.numeric.solvers.plan import preconditioner_rank


def simulate(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    """A whole simulated transfer: source, target, target from scratch, and the frozen kernel beside them."""
    n, steps = setting["n"], setting["steps"]
    X, y = inputs.sphere(2 * n, setting["d"]), np.random.default_rng(1).standard_normal(2 * n)
    task = ptoq.TransferProblem(source=(X[:n], y[:n]), target=(X[n:], y[n:]))
    schedule = ptoq.Schedule(source_steps=steps, target_steps=steps)
    notes: dict[str, Any] = {}

    def once() -> None:
        outcome = ptoq.simulate(task, schedule, width=setting["width"], dtype=setting["dtype"])
        assert outcome.frozen is not None
        notes["loss on the target, before and after fine-tuning"] = [outcome.trajectory.loss[0], outcome.target_loss]
        notes["after, by the frozen kernel"] = outcome.frozen.target_loss

    return Work(measure=lambda: timed(once), check=dict, notes=notes)


def predict(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    """An exact prediction, both stages to their ends, by the solver named in the setting."""
    n_P, n_Q = setting["source"], setting["target"]
    X, rng = inputs.sphere(n_P + n_Q, setting["d"]), np.random.default_rng(1)
    y = np.sin(3 * X[:, 0]) + 0.1 * rng.standard_normal(n_P + n_Q)
    task = ptoq.TransferProblem(source=(X[:n_P], y[:n_P]), target=(X[n_P:], y[n_P:]))
    notes: dict[str, Any] = {}

    def once() -> None:
        outcome = ptoq.predict(task, solver=setting["solver"])
        notes["solver"], notes["gain"] = outcome.solver, outcome.gain

    return Work(measure=lambda: timed(once), check=dict, notes=notes)


def matrix_free(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    """Rate of tiles at full size, and products that smaller problems took: the time of a solve is their extrapolation, and says so.

    `measure` returns the seconds of one product at full size, `n²` over the measured rate.
    """
    n, d, trials = setting["n"], setting["d"], setting["trials"]
    points = inputs.sphere(n, d)
    labels = (np.sin(3 * points[:, 0]) + 0.1 * np.random.default_rng(1).standard_normal(n))[:, None]
    backend = resolve_backend(setting["backend"])
    X, Y = (backend.xp.asarray(v, device=backend.device) for v in (points, labels))
    kernel = fused_gram if backend.name == "cupy" else ptoq.relu_gram
    notes: dict[str, Any] = {"device": backend.describe()}

    def measure() -> float:
        rate = Tiled(kernel, X).tile_rate(Y)
        products = []
        for size in trials:
            operator = Tiled(kernel, X[:size, :])
            preconditioner = LowRank.of(operator, preconditioner_rank(size))
            products.append(conjugate_gradients(operator, Y[:size, :], preconditioner=preconditioner).iterations)
        # Fewer products at a larger size are luck of the preconditioner: no more than that is assumed to last.
        growth = max(0.0, exponent(trials, products))
        needed = math.ceil(products[-1] * (n / trials[-1]) ** growth)
        notes["million entries a second, measured at full size"] = rate / 1e6
        notes[f"products to solve at {', '.join(map(str, trials))} points, measured"] = products
        notes["products at full size, extrapolated"] = needed
        notes["hours to solve, extrapolated"] = needed * n**2 / rate / 3600
        return n**2 / rate

    return Work(measure=measure, check=dict, notes=notes)


if __name__ == "__main__":
    serve({"simulate": simulate, "predict": predict, "matrix_free": matrix_free}, lambda: {"ptoq": ptoq.__version__})
