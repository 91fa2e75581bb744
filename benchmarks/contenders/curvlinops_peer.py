"""curvlinops: its Hessian operator with SciPy's ARPACK, its trace estimators, its Lanczos quadrature.

Its check that model and data are deterministic, which costs more than the work here, is switched off.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from curvlinops import HessianLinearOperator, hutchinson_trace, hutchpp_trace, xtrace
from curvlinops.papyan2020traces.spectrum import fast_lanczos
from scipy.sparse.linalg import LinearOperator, eigsh
from serve import Work, serve, timed
from torch import nn

from benchmarks.curvature_nets import load

TRACES = {"Hutchinson": hutchinson_trace, "Hutch++": hutchpp_trace, "XTrace": xtrace}


def _operator(setting: dict[str, Any], data: dict[str, np.ndarray]) -> HessianLinearOperator:
    net, x, y = load(setting, data)
    return HessianLinearOperator(net, nn.CrossEntropyLoss(), list(net.parameters()), [(x, y)], check_deterministic=False)


def top(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    H, notes = _operator(setting, data), {"products": 0}
    numpy_H = H.to_scipy()
    start = np.random.default_rng(0).standard_normal(H.shape[0])

    def product(vector: np.ndarray) -> np.ndarray:
        notes["products"] += 1
        return numpy_H @ vector.ravel()

    def run() -> np.ndarray:
        notes["products"] = 0
        counted = LinearOperator(H.shape, matvec=product, dtype=np.float64)
        return np.sort(eigsh(counted, setting["k"], which="LA", tol=setting["tol"], v0=start, return_eigenvectors=False))[::-1]

    return Work(measure=lambda: timed(run, untimed=setting["untimed"]), check=lambda: {"values": run()}, notes=notes)


def trace(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    H, estimate = _operator(setting, data), TRACES[setting["variant"]]
    products = setting["products"] // 3 * 3 if setting["variant"] == "Hutch++" else setting["products"]

    def run(seed: int) -> float:
        torch.manual_seed(seed)
        return float(estimate(H, products))

    def check() -> dict[str, Any]:
        return {"estimates": np.array([run(seed) for seed in range(setting["seeds"])])}

    return Work(measure=lambda: timed(lambda: run(0), untimed=1), check=check)


def density(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    H = _operator(setting, data)

    def run(seed: int) -> tuple[np.ndarray, np.ndarray]:
        torch.manual_seed(seed)
        found = [fast_lanczos(H, setting["steps"]) for _ in range(setting["probes"])]
        nodes = np.concatenate([nodes.numpy() for nodes, _ in found])
        return nodes, np.concatenate([vectors[0].numpy() ** 2 for _, vectors in found]) / setting["probes"]

    def check() -> dict[str, Any]:
        found = [run(seed) for seed in range(setting["seeds"])]
        return {**{f"nodes{seed}": f[0] for seed, f in enumerate(found)}, **{f"weights{seed}": f[1] for seed, f in enumerate(found)}}

    return Work(measure=lambda: timed(lambda: run(0), untimed=1), check=check)


def versions() -> dict[str, str]:
    return {"curvlinops": version("curvlinops-for-pytorch"), "torch": torch.__version__}


if __name__ == "__main__":
    serve({"hessian_top": top, "hessian_trace": trace, "spectral_density": density}, versions)
