"""What is compared with whom, on what, and how many times faster it is to be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import curvature, inputs
from benchmarks.accuracy import largest_errors
from benchmarks.harness import Comparison, Entrant

# The dtype class of tolerances.
_SINGLE, _DOUBLE = (float(np.finfo(dtype).eps) ** 0.5 for dtype in (np.float32, np.float64))


def gradient_step(d: int, gpu: bool) -> Comparison:
    """One full-batch step, float32: outputs, loss gradient and update of the weights."""
    n, width = 256, 65_536
    product = _ours(gpu, "float32 matrix products of as many flops", task="product_rate", target=_share(d, gpu))
    return Comparison(
        name=f"gradient_step_d{d}",
        title=f"Gradient step, float32, n = {n}, width {width:,}, d = {d}",
        note="The ratio to the matrix products is the share of the machine's own float32 rate that a step of 4ndm flops reaches.",
        task="gradient_step",
        # In weight space, whose flops these are: sample space takes fewer, and would make the share look larger.
        setting={
            **{
                "n": n,
                "d": d,
                "width": width,
                "dtype": "float32",
                "lr": 0.1,
                "steps": 20 if gpu else 5,
                "checked_steps": 4,
                "sample_space": False,
            },
            **_device(gpu),
        },
        data=lambda: inputs.training_set(n, d, width),
        entrants=(_ours(gpu), *_step_contenders(n, d, gpu), product),
        tolerance={"losses": _SINGLE},
    )


def _step_contenders(n: int, d: int, gpu: bool) -> tuple[Entrant, ...]:
    if n <= d:
        return (_ours(gpu, "ptoq, in sample space", setting={"sample_space": True}),)
    if d > 32:
        return ()
    return (
        Entrant(name="torch autograd", script="torch_peer.py", setting={"variant": "autograd"}, target=5),
        Entrant(name="JAX, jitted", script="jax_peer.py", environment="jax-gpu" if gpu else "jax", target=4),
        Entrant(name="torch.compile", script="torch_peer.py", setting={"variant": "compile"}, target=2.5),
    )


def _share(d: int, gpu: bool) -> float | None:
    # At d = 32 the elementwise part, which no product hides, is as large as the products.
    return 0.5 if gpu else 0.7 if d >= 128 else None


def gram(gpu: bool) -> Comparison:
    """The infinite-width Gram matrix."""
    n, d = 4_000, 100

    def finish(data: dict[str, np.ndarray], outputs: dict[str, dict[str, np.ndarray]], seconds: dict[str, list[float]]) -> dict[str, Any]:
        return {"largest_error": largest_errors(data["X"], {name: found["H"] for name, found in outputs.items()})}

    return Comparison(
        name="gram",
        title=f"Gram matrix at infinite width, float64, n = {n:,}, d = {d}",
        task="gram",
        setting={"n": n, "d": d, "dtype": "float64", **_device(gpu)},
        data=lambda: inputs.gram_points(n, d),
        entrants=(
            _ours(gpu),
            Entrant(name="plain NumPy", script="plain_peer.py", target=2),
            Entrant(name="neural-tangents, jitted", script="neural_tangents_peer.py", environment=_tangents(gpu), target=3.5),
        ),
        tolerance={"H": _DOUBLE},
        finish=finish,
    )


def empirical_kernel(gpu: bool) -> Comparison:
    """The tangent kernel of a finite net, first layer only."""
    n, d, width = 256, 100, 8_192

    def tangents(implementation: str, name: str, most_rounds: int | None = None) -> Entrant:
        return Entrant(
            name=f"neural-tangents, {name}",
            script="neural_tangents_peer.py",
            environment=_tangents(gpu),
            setting={"implementation": implementation},
            target=2,
            group="neural-tangents",
            most_rounds=most_rounds,
        )

    return Comparison(
        name="empirical_kernel",
        title=f"Empirical kernel of the two-layer net, float64, n = {n}, width {width:,}, d = {d}",
        task="empirical_kernel",
        setting={"n": n, "d": d, "width": width, "dtype": "float64", **_device(gpu)},
        data=lambda: inputs.training_set(n, d, width, "float64"),
        entrants=(
            _ours(gpu),
            tangents("STRUCTURED_DERIVATIVES", "structured derivatives"),
            tangents("JACOBIAN_CONTRACTION", "Jacobian contraction", 3),
            tangents("NTK_VECTOR_PRODUCTS", "kernel-vector products", 1),
            Entrant(name="torch.func Jacobians", script="torch_peer.py", target=50, most_rounds=5),
        ),
        tolerance={"H": _DOUBLE},
    )


def certify() -> Comparison:
    """Proven numbers of a transfer, in processor seconds."""
    points, d, radius = 200, 15, 1e-12
    return Comparison(
        name="certify",
        title=f"Certificate of {points} + {points} points, d = {d}, gain to {radius:g}; processor seconds",
        task="certify",
        setting={"points": points, "d": d, "radius": radius},
        data=lambda: inputs.transfer(points, d),
        entrants=(
            _ours(False),
            Entrant(name="arb_mat.solve, the gain alone", script="arb_peer.py", setting={"variant": "gain"}),
            Entrant(name="acb_mat.eig, eigenvalues of one matrix", script="arb_peer.py", setting={"variant": "eig"}, most_rounds=1),
        ),
        tolerance={"gain": _DOUBLE, "lambda_min": _DOUBLE},
        rounds=5,
    )


def _ours(gpu: bool, name: str = "ptoq", **more: Any) -> Entrant:
    return Entrant(name=name, script="ours_gpu.py" if gpu else "ours.py", **more)


def _device(gpu: bool) -> dict[str, str]:
    return {"device": "cuda", "backend": "cupy"} if gpu else {"device": "cpu", "backend": "numpy"}


def _tangents(gpu: bool) -> str:
    return "neural-tangents-gpu" if gpu else "neural-tangents"


COMPARISONS: dict[str, Callable[[bool], Comparison]] = {
    "gradient_step_d32": lambda gpu: gradient_step(32, gpu),
    "gradient_step_d128": lambda gpu: gradient_step(128, gpu),
    "gradient_step_d256": lambda gpu: gradient_step(256, gpu),
    "gram": gram,
    "empirical_kernel": empirical_kernel,
    "certify": lambda gpu: certify(),
    "curvature_product_tanh": lambda gpu: curvature.product("tanh"),
    "curvature_product_resnet20": lambda gpu: curvature.product("resnet20"),
    "curvature_top_tanh": lambda gpu: curvature.top_tanh(),
    "curvature_top_resnet20": lambda gpu: curvature.top_resnet(),
    "curvature_trace": lambda gpu: curvature.trace(),
    "curvature_density": lambda gpu: curvature.density(),
}

ON_A_GPU = tuple(name for name in COMPARISONS if name != "certify" and not name.startswith("curvature"))
"""Those that a card has a part in."""
