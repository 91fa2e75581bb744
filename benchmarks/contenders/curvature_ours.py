"""ptoq's curvature probes, through their public functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from serve import Work, serve, timed
from torch.nn.functional import cross_entropy

import ptoq
from benchmarks.curvature_nets import load
from realnets.probes.hessian_top import HessianTop, hessian_top
from realnets.probes.hessian_trace import HessianTrace, hessian_trace
from realnets.probes.hvp import hessian_operator
from realnets.probes.spectral_density import SpectralDensity, spectral_density


def top(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    net, x, y = load(setting, data)
    notes: dict[str, Any] = {}

    def run() -> HessianTop:
        found = hessian_top(net, cross_entropy, [(x, y)], k=setting["k"], tol=setting["tol"])
        notes["products"] = found.products
        return found

    return Work(measure=lambda: timed(run, untimed=setting["untimed"]), check=lambda: {"values": run().values}, notes=notes)


def trace(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    net, x, y = load(setting, data)

    def run(seed: int) -> HessianTrace:
        return hessian_trace(net, cross_entropy, [(x, y)], setting["products"], seed=seed)

    def check() -> dict[str, Any]:
        found = [run(seed) for seed in range(setting["seeds"])]
        return {"estimates": np.array([f.mean for f in found]), "errors": np.array([f.standard_error for f in found])}

    return Work(measure=lambda: timed(lambda: run(0), untimed=1), check=check)


def density(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    net, x, y = load(setting, data)

    def run(seed: int) -> SpectralDensity:
        return spectral_density(net, cross_entropy, [(x, y)], probes=setting["probes"], steps=setting["steps"], seed=seed)

    def check() -> dict[str, Any]:
        found = [run(seed) for seed in range(setting["seeds"])]
        return {
            **{f"nodes{seed}": f.nodes for seed, f in enumerate(found)},
            **{f"weights{seed}": f.weights for seed, f in enumerate(found)},
        }

    return Work(measure=lambda: timed(lambda: run(0), untimed=1), check=check)


def product(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    """One product, its graph kept; or what it is held against: a gradient, or a second backward pass with nothing round it."""
    net, x, y = load(setting, data)
    weights = list(net.parameters())
    parts = [torch.ones_like(w) for w in weights]
    vector = torch.cat([part.reshape(-1) for part in parts])
    untimed, repeats = 1, setting["repeats"]

    def measure() -> float:
        if setting["variant"] == "gradient":
            return timed(lambda: torch.autograd.grad(cross_entropy(net(x), y), weights), repeats, untimed)
        if setting["variant"] == "bare":
            gradient = torch.autograd.grad(cross_entropy(net(x), y), weights, create_graph=True)
            return timed(lambda: torch.autograd.grad(gradient, weights, parts, retain_graph=True), repeats, untimed)
        with hessian_operator(net, cross_entropy, [(x, y)]) as H:
            return timed(lambda: H(vector), repeats, untimed)

    return Work(measure=measure, check=dict)


def versions() -> dict[str, str]:
    return {"ptoq": ptoq.__version__, "torch": torch.__version__}


if __name__ == "__main__":
    serve({"hessian_top": top, "hessian_trace": trace, "spectral_density": density, "hessian_product": product}, versions)
