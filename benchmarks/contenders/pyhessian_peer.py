"""PyHessian: power iteration with deflation, Hutchinson's estimator, stochastic Lanczos quadrature.

Its `density` calls `torch.eig`, which torch has removed: `torch.linalg.eigh` stands in for it. Its random vectors have the default
dtype, which is set to the net's. A single batch is given as such, so that it keeps the graph. Its trace is kept from stopping on a small
change (`tol=0`).
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from pyhessian import hessian as pyhessian
from serve import Work, serve, timed
from torch.nn.functional import cross_entropy

from benchmarks.curvature_nets import load


def _eig(matrix: torch.Tensor, eigenvectors: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    values, vectors = torch.linalg.eigh(matrix)
    return torch.stack([values, torch.zeros_like(values)], dim=1), vectors


torch.eig = _eig


class Hessian:
    """Made anew for each run, so that its graph's cost counts; counts products."""

    def __init__(self, setting: dict[str, Any], data: dict[str, np.ndarray]) -> None:
        self.net, self.x, self.y = load(setting, data)
        torch.set_default_dtype(self.x.dtype)
        self.products = 0
        # `pyhessian.hessian` is the class, which hides the module of that name.
        module = sys.modules["pyhessian.hessian"]
        product = module.hessian_vector_product

        def counted(*arguments: Any) -> Any:
            self.products += 1
            return product(*arguments)

        module.hessian_vector_product = counted

    def __call__(self) -> Any:
        """A new one, its gradient's graph built."""
        # The gradient's graph hangs on the weights: without this, each run would add to it.
        self.net.zero_grad(set_to_none=True)
        self.products = 0
        return pyhessian(self.net, cross_entropy, data=(self.x, self.y), cuda=False)


def top(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    hessian, notes = Hessian(setting, data), {}

    def run() -> list[float]:
        torch.manual_seed(0)
        values, _ = hessian().eigenvalues(maxIter=setting["most"], tol=setting["tol"], top_n=setting["k"])
        notes["products"] = hessian.products
        return values

    return Work(measure=lambda: timed(run, untimed=setting["untimed"]), check=lambda: {"values": np.array(run())}, notes=notes)


def trace(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    hessian = Hessian(setting, data)

    def run(seed: int) -> list[float]:
        torch.manual_seed(seed)
        return hessian().trace(maxIter=setting["products"], tol=0.0)

    def check() -> dict[str, Any]:
        return {"estimates": np.array([np.mean(run(seed)) for seed in range(setting["seeds"])])}

    return Work(measure=lambda: timed(lambda: run(0), untimed=1), check=check)


def density(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    hessian = Hessian(setting, data)

    def run(seed: int) -> tuple[np.ndarray, np.ndarray]:
        torch.manual_seed(seed)
        nodes, weights = hessian().density(iter=setting["steps"], n_v=setting["probes"])
        return np.ravel(nodes), np.ravel(weights) / setting["probes"]

    def check() -> dict[str, Any]:
        found = [run(seed) for seed in range(setting["seeds"])]
        return {**{f"nodes{seed}": f[0] for seed, f in enumerate(found)}, **{f"weights{seed}": f[1] for seed, f in enumerate(found)}}

    return Work(measure=lambda: timed(lambda: run(0), untimed=1), check=check)


def versions() -> dict[str, str]:
    return {"PyHessian": version("pyhessian"), "torch": torch.__version__}


if __name__ == "__main__":
    serve({"hessian_top": top, "hessian_trace": trace, "spectral_density": density}, versions)
