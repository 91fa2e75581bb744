"""neural-tangents: the infinite-width Gram matrix and the empirical kernel, of the first layer alone, jitted, in float64."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax._src import source_info_util
from jax.interpreters import ad
from serve import Work, serve, timed

# Names that this release of JAX no longer has there: without them structured derivatives, the fastest implementation, cannot run.
ad.source_info_util, ad.config = source_info_util, jax.config
jax.config.update("jax_enable_x64", True)

import neural_tangents as nt  # noqa: E402 - after the settings
from neural_tangents import stax  # noqa: E402


def gram(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    """First layer only: the kernel of both layers less that of the second, times `d`."""
    X = jnp.asarray(data["X"])
    _, _, kernel = stax.serial(stax.Dense(1), stax.Relu(), stax.Dense(1))

    @jax.jit
    def first_layer(points: Any) -> Any:
        both = kernel(points, None, ("ntk", "nngp"))
        return points.shape[1] * (both.ntk - both.nngp)

    return Work(
        measure=lambda: timed(lambda: first_layer(X).block_until_ready(), untimed=1), check=lambda: {"H": np.asarray(first_layer(X))}
    )


def empirical_kernel(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    """The package's own kernel function in the named implementation.

    Weights as columns and one point at a time (`vmap_axes=0`) are the fastest form found for each of them; weights as rows make structured
    derivatives 60 times slower.
    """
    X, V, a = jnp.asarray(data["X"]), jnp.asarray(np.ascontiguousarray(data["W"].T)), jnp.asarray(data["a"])
    scale = len(a) ** -0.5

    def net(weights: Any, points: Any) -> Any:
        return jax.nn.relu(points @ weights) @ a * scale

    implementation = nt.NtkImplementation[setting["implementation"]]
    kernel = jax.jit(nt.empirical_ntk_fn(net, trace_axes=(-1,), vmap_axes=0, implementation=implementation))
    return Work(
        measure=lambda: timed(lambda: kernel(X, None, V).block_until_ready(), untimed=1),
        check=lambda: {"H": np.asarray(kernel(X, None, V))},
    )


def versions() -> dict[str, str]:
    return {"neural-tangents": nt.__version__, "jax": jax.__version__, "device": jax.devices()[0].device_kind}


if __name__ == "__main__":
    serve({"gram": gram, "empirical_kernel": empirical_kernel}, versions)
