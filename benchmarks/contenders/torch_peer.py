"""torch: a gradient step by autograd and by torch.compile, and the empirical kernel by torch.func."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from serve import Work, serve, timed


def gradient_step(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    """Each in the fastest form found: neurons as rows, and for torch.compile the whole step, gradient and update, in one graph."""
    X, y, W0, a = (torch.from_numpy(data[key]).to(setting["device"]) for key in ("X", "y", "W", "a"))
    XT, yT, aT = X.T.contiguous(), y.T, a.T
    scale, lr = len(W0) ** -0.5, setting["lr"]

    def loss_of(W: torch.Tensor) -> torch.Tensor:
        return 0.5 * ((aT @ torch.relu(W @ XT) * scale - yT) ** 2).sum()

    gradient_and_loss = torch.func.grad_and_value(loss_of)

    def whole_step(W: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        gradient, loss = gradient_and_loss(W)
        return W - lr * gradient, loss

    one_graph = torch.compile(whole_step)
    state: dict[str, torch.Tensor] = {}

    def compiled() -> float:
        with torch.no_grad():
            state["W"], loss = one_graph(state["W"])
        return float(loss)

    def autograd() -> float:
        loss = loss_of(state["W"])
        (gradient,) = torch.autograd.grad(loss, state["W"])
        with torch.no_grad():
            state["W"].sub_(gradient, alpha=lr)
        return float(loss.detach())

    is_compiled = setting["variant"] == "compile"
    step: Callable[[], float] = compiled if is_compiled else autograd

    def begin() -> None:
        state["W"] = W0.clone().requires_grad_(not is_compiled)

    def check() -> dict[str, Any]:
        begin()
        return {"losses": np.array([step() for _ in range(setting["checked_steps"])])}

    def measure() -> float:
        begin()
        return timed(step, repeats=setting["steps"], untimed=1)

    return Work(measure=measure, check=check)


def empirical_kernel(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    """Jacobians of all points at once, then their products: what torch's own tutorial calls Jacobian contraction."""
    X, W, a = (torch.from_numpy(data[key]).to(setting["device"]) for key in ("X", "W", "a"))
    scale = len(W) ** -0.5

    def output(weights: torch.Tensor, point: torch.Tensor) -> torch.Tensor:
        return torch.relu(weights @ point) @ a[:, 0] * scale

    jacobians = torch.func.vmap(torch.func.jacrev(output), (None, 0))

    def kernel() -> torch.Tensor:
        J = jacobians(W, X).flatten(1)
        return (J @ J.T).cpu()

    return Work(measure=lambda: timed(kernel, untimed=1), check=lambda: {"H": kernel().numpy()})


def versions() -> dict[str, str]:
    on_gpu = torch.cuda.is_available()
    return {
        "torch": torch.__version__,
        **({"device": torch.cuda.get_device_name()} if on_gpu else {"threads": str(torch.get_num_threads())}),
    }


if __name__ == "__main__":
    serve({"gradient_step": gradient_step, "empirical_kernel": empirical_kernel}, versions)
