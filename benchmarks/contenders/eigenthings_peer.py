"""hessian-eigenthings: its Hessian operator, Lanczos with reorthogonalisation, trace estimators and Lanczos quadrature."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from hessian_eigenthings import HessianOperator, lanczos, spectral_density, supervised_loss
from hessian_eigenthings import trace as trace_of
from serve import Work, serve, timed
from torch.nn.functional import cross_entropy

from benchmarks.curvature_nets import load


def _operator(setting: dict[str, Any], data: dict[str, np.ndarray]) -> HessianOperator:
    net, x, y = load(setting, data)
    return HessianOperator(net, [(x, y)], supervised_loss(cross_entropy))


def top(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    H, notes = _operator(setting, data), {"products": 0}
    product = H.matvec

    def counted(vector: torch.Tensor) -> torch.Tensor:
        notes["products"] += 1
        return product(vector)

    H.matvec = counted

    def run() -> np.ndarray:
        notes["products"] = 0
        # Without `most` its default: 2 k steps.
        found = lanczos(H, k=setting["k"], max_iter=setting.get("most"), which="LA", seed=0)
        return np.sort(np.asarray(found.eigenvalues, dtype=float))[::-1]

    return Work(measure=lambda: timed(run, untimed=setting["untimed"]), check=lambda: {"values": run()}, notes=notes)


def trace(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    H = _operator(setting, data)

    def run(seed: int) -> float:
        return trace_of(H, num_matvecs=setting["products"], method=setting["variant"], seed=seed).estimate

    def check() -> dict[str, Any]:
        return {"estimates": np.array([run(seed) for seed in range(setting["seeds"])])}

    return Work(measure=lambda: timed(lambda: run(0), untimed=1), check=check)


def density(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    H = _operator(setting, data)

    def run(seed: int) -> tuple[np.ndarray, np.ndarray]:
        # Its vectors' seeds are `seed + run`: far enough apart that no two calls share any.
        found = spectral_density(H, num_runs=setting["probes"], lanczos_steps=setting["steps"], num_grid_points=2, seed=1000 * seed)
        return found.raw_eigenvalues.numpy().ravel(), found.raw_weights.numpy().ravel() / setting["probes"]

    def check() -> dict[str, Any]:
        found = [run(seed) for seed in range(setting["seeds"])]
        return {**{f"nodes{seed}": f[0] for seed, f in enumerate(found)}, **{f"weights{seed}": f[1] for seed, f in enumerate(found)}}

    return Work(measure=lambda: timed(lambda: run(0), untimed=1), check=check)


def versions() -> dict[str, str]:
    return {"hessian-eigenthings": version("hessian-eigenthings"), "torch": torch.__version__}


if __name__ == "__main__":
    serve({"hessian_top": top, "hessian_trace": trace, "spectral_density": density}, versions)
