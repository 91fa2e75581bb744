"""ptoq itself, through its public functions, and this machine's own matrix-product rate."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from serve import Work, serve, timed

import ptoq
from benchmarks import inputs
from sim.dynamics import BlockedNet, workers
from sim.frozen import empirical_kernel as frozen_kernel
from sim.machine import matrix_product_rate


def gradient_step(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    """One step of `BlockedNet.descend`, after the first, which brings threads and caches back, and before the last, which also measures."""
    X, y, W, a = (data[key] for key in ("X", "y", "W", "a"))

    def descend(steps: int, **more: Any) -> Any:
        with workers() as run:
            net = BlockedNet(W.copy(), a, run, sample_space=setting.get("sample_space"))
            return net.descend(X, y, lr=setting["lr"], steps=steps, **more)

    def measure() -> float:
        ends: list[float] = []
        descend(setting["steps"] + 2, progress=lambda _: ends.append(time.perf_counter()))
        return (ends[-2] - ends[0]) / setting["steps"]

    def check() -> dict[str, Any]:
        checked = range(setting["checked_steps"])
        return {"losses": np.array(descend(checked[-1], record=checked).loss)}

    return Work(measure=measure, check=check)


def run_of_steps(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    """All of one call of `descend`."""
    X, y, W, a = inputs.training_set(setting["n"], setting["d"], setting["width"]).values()

    def measure() -> float:
        start = W.copy()
        with workers() as run:
            return timed(lambda: BlockedNet(start, a, run).descend(X, y, lr=0.1, steps=setting["steps"]))

    return Work(measure=measure, check=dict)


def step_on_grid(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    return gradient_step({**setting, "lr": 0.1}, inputs.training_set(setting["n"], setting["d"], setting["width"]))


def product_rate(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    """Seconds that plain float32 matrix products of the same number of flops would take: two of them a step."""
    flops = 4 * setting["n"] * setting["d"] * setting["width"]
    notes = {"GFLOP/s": 0.0}

    def measure() -> float:
        rate = matrix_product_rate()
        notes["GFLOP/s"] = max(rate, notes["GFLOP/s"])
        return flops / rate / 1e9

    return Work(measure=measure, check=dict, notes=notes)


def gram(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    X = data["X"] if data else inputs.sphere(setting["n"], setting["d"])
    return Work(measure=lambda: timed(lambda: ptoq.relu_gram(X), untimed=1), check=lambda: {"H": ptoq.relu_gram(X)})


def empirical_kernel(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    X, W, a = (data[key] for key in ("X", "W", "a"))

    def kernel() -> np.ndarray:
        return frozen_kernel(W, X, a=a)

    return Work(measure=lambda: timed(kernel, untimed=1), check=lambda: {"H": kernel()})


def certify(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    """The whole certificate, in processor seconds."""
    task = ptoq.TransferProblem(source=(data["X_P"], data["y_P"]), target=(data["X_Q"], data["y_Q"]))

    def certificate() -> ptoq.Certificate:
        return ptoq.certify(task, radius=setting["radius"])

    def check() -> dict[str, Any]:
        result = certificate()
        assert result.gain is not None and result.lambda_min is not None and float(result.gain.rad()) <= setting["radius"]
        return {"gain": np.array([float(result.gain.mid())]), "lambda_min": np.array([float(result.lambda_min.mid())])}

    return Work(measure=lambda: timed(certificate, clock=time.process_time), check=check)


def predict(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    """Prediction of a transfer between `n` and `n` points, both stages to their ends: one decomposition each."""
    sets = inputs.transfer(setting["n"], setting["d"])
    task = ptoq.TransferProblem(source=(sets["X_P"], sets["y_P"]), target=(sets["X_Q"], sets["y_Q"]))
    few = ptoq.TransferProblem(source=(sets["X_P"][:9], sets["y_P"][:9]), target=(sets["X_Q"][:9], sets["y_Q"][:9]))

    def measure() -> float:
        # What is imported at the first call, and threads that have gone to sleep.
        ptoq.predict(few)
        return timed(lambda: ptoq.predict(task))

    return Work(measure=measure, check=dict)


def versions() -> dict[str, str]:
    return {"ptoq": ptoq.__version__, "numpy": np.__version__}


TASKS = {
    "gradient_step": gradient_step,
    "step_on_grid": step_on_grid,
    "run_of_steps": run_of_steps,
    "product_rate": product_rate,
    "gram": gram,
    "empirical_kernel": empirical_kernel,
    "certify": certify,
    "predict": predict,
}

if __name__ == "__main__":
    serve(TASKS, versions)
