"""JAX: one gradient step of the two-layer net, jitted."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from serve import Work, serve, timed

# Full float32 products: on a GPU the default may round the factors to ten bits.
jax.config.update("jax_default_matmul_precision", "highest")


def gradient_step(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    """The whole step in one graph, neurons as rows, the weights' buffer handed over: the fastest form found."""
    XT, yT, aT = (jnp.asarray(np.ascontiguousarray(data[key].T)) for key in ("X", "y", "a"))
    scale, lr, steps = len(data["W"]) ** -0.5, setting["lr"], setting["steps"]

    def loss_of(W: Any) -> Any:
        return 0.5 * jnp.sum((aT @ jax.nn.relu(W @ XT) * scale - yT) ** 2)

    def whole_step(W: Any) -> tuple[Any, Any]:
        loss, gradient = jax.value_and_grad(loss_of)(W)
        return W - lr * gradient, loss

    # Donating the buffer is the faster way with one release of JAX and the slower one with another.
    state: dict[str, Any] = {}

    def begin() -> None:
        state["W"] = jnp.asarray(data["W"])

    def measure_form(step: Any) -> float:
        begin()

        def once() -> None:
            state["W"], state["loss"] = step(state["W"])
            state["loss"].block_until_ready()

        seconds = timed(once, repeats=steps, untimed=1)
        state["W"].block_until_ready()
        return seconds

    forms = {"donated": jax.jit(whole_step, donate_argnums=0), "not donated": jax.jit(whole_step)}
    best = min(forms, key=lambda name: min(measure_form(forms[name]) for _ in range(4)))

    def check() -> dict[str, Any]:
        begin()
        losses = []
        for _ in range(setting["checked_steps"]):
            state["W"], loss = forms[best](state["W"])
            losses.append(float(loss))
        return {"losses": np.array(losses)}

    return Work(measure=lambda: measure_form(forms[best]), check=check, notes={"form": f"weights' buffer {best}"})


def versions() -> dict[str, str]:
    return {"jax": jax.__version__, "device": jax.devices()[0].device_kind}


if __name__ == "__main__":
    serve({"gradient_step": gradient_step}, versions)
