"""ptoq on a GPU, and the card's own matrix-product rate: the tasks of `ours.py` through a backend.

With `backend="torch"` it runs on a CPU too, which is how it is tested without a card.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from serve import Work, serve, timed

import ptoq
from sim.backend import Backend, resolve_backend
from sim.device import DeviceNets
from sim.frozen import empirical_kernel as frozen_kernel
from sim.gram import relu_gram
from theory.arrays import to_numpy

# Large enough that a product is limited by arithmetic.
PRODUCT = 8192


def place(setting: dict[str, Any], data: dict[str, np.ndarray]) -> tuple[Backend, dict[str, Any], dict[str, str]]:
    """The backend, the arrays on its device, and the device's name for the report."""
    backend = resolve_backend(setting["backend"])
    arrays = {key: backend.xp.asarray(value, device=backend.device) for key, value in data.items()}
    return backend, arrays, {"device": backend.describe()}


def finished(step: Callable[[], Any]) -> Callable[[], None]:
    """`step`, and a number read back: a GPU runs behind, and has done the work once that is here."""

    def run() -> None:
        float(to_numpy(step()[0, 0]))

    return run


def gradient_step(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    """Steps of a stage on the device; the losses are read back once."""
    backend, arrays, notes = place(setting, data)

    def begin() -> Any:
        W = backend.xp.asarray(arrays["W"], copy=True)[None, ...]
        nets = DeviceNets(backend, W, arrays["a"][None, ...], sample_space=setting["sample_space"])
        return nets.stage(data["X"], data["y"], setting["lr"], start=arrays["W"][None, ...], watch=(), keep=False)

    def advance(stage: Any, steps: int) -> float:
        stage.run([steps], [-1.0], None)
        return float(stage.squared()[0]) / 2

    def measure() -> float:
        stage = begin()
        return timed(lambda: advance(stage, setting["steps"]), untimed=1) / setting["steps"]

    def check() -> dict[str, Any]:
        stage = begin()
        return {"losses": np.array([advance(stage, min(k, 1)) for k in range(setting["checked_steps"])])}

    return Work(measure=measure, check=check, notes=notes)


def product_rate(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    """Seconds that plain float32 matrix products of the same number of flops would take, from the best of five."""
    backend, _, notes = place(setting, {})
    size = setting.get("product", PRODUCT)
    A = backend.xp.ones((size, size), dtype=backend.xp.float32, device=backend.device)
    report: dict[str, Any] = {**notes, "GFLOP/s": 0.0}

    def measure() -> float:
        rate = 2 * size**3 / min(timed(finished(lambda: A @ A), untimed=1) for _ in range(5))
        report["GFLOP/s"] = max(report["GFLOP/s"], rate / 1e9)
        return float(4 * setting["n"] * setting["d"] * setting["width"] / rate)

    return Work(measure=measure, check=dict, notes=report)


def gram(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    _, arrays, notes = place(setting, data)
    return Work(
        measure=lambda: timed(finished(lambda: relu_gram(arrays["X"])), untimed=1),
        check=lambda: {"H": to_numpy(relu_gram(arrays["X"]))},
        notes=notes,
    )


def empirical_kernel(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    _, arrays, notes = place(setting, data)

    def kernel() -> Any:
        return frozen_kernel(arrays["W"], arrays["X"], a=arrays["a"])

    return Work(measure=lambda: timed(finished(kernel), untimed=1), check=lambda: {"H": to_numpy(kernel())}, notes=notes)


if __name__ == "__main__":
    tasks = {"gradient_step": gradient_step, "product_rate": product_rate, "gram": gram, "empirical_kernel": empirical_kernel}
    serve(tasks, lambda: {"ptoq": ptoq.__version__})
