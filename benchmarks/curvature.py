"""Curvature probes against their peers: leading eigenvalues, trace and spectral density, with their errors; and one product's cost.

Peers' numbers are not held to a tolerance, as they stop at errors of their own: the errors stand beside the times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.harness import Comparison, Entrant

Finish = Callable[[dict[str, np.ndarray], dict[str, dict[str, np.ndarray]], dict[str, list[float]]], dict[str, Any]]


PICTURES = 32


def tanh_data() -> dict[str, np.ndarray]:
    from benchmarks.curvature_nets import tanh_problem

    return tanh_problem()


def resnet_data() -> dict[str, np.ndarray]:
    from benchmarks.curvature_nets import resnet_problem

    return resnet_problem(PICTURES)


def top_tanh() -> Comparison:
    """Five leading eigenvalues, float64."""
    return Comparison(
        name="curvature_top_tanh",
        title="Five largest Hessian eigenvalues, tanh net 20-32-32-5 after training, 256 points, float64",
        note="Each at its default, and at a setting that reaches a relative error of 1e-5.",
        task="hessian_top",
        setting={"net": "tanh", "k": 5, "tol": 1e-5, "untimed": 1},
        data=tanh_data,
        entrants=(
            _ours(),
            _peer("PyHessian, default", "pyhessian", {"tol": 1e-3, "most": 100}),
            _peer("PyHessian, tol 1e-7", "pyhessian", {"tol": 1e-7, "most": 10_000}, most_rounds=3),
            _peer("curvlinops, ARPACK, tol 1e-3", "curvlinops", {"tol": 1e-3}),
            _peer("hessian-eigenthings, default", "hessian-eigenthings"),
            _peer("hessian-eigenthings, 40 steps", "hessian-eigenthings", {"most": 40}),
        ),
        rounds=7,
        finish=_top_errors,
    )


def top_resnet() -> Comparison:
    """Five leading eigenvalues of a convolutional net, float32."""
    return Comparison(
        name="curvature_top_resnet20",
        title=f"Five largest Hessian eigenvalues, ResNet-20 after 30 steps, {PICTURES} pictures, float32",
        note="The true eigenvalues are ARPACK's in float64. PyHessian's second setting is the one whose error is nearest to ptoq's.",
        task="hessian_top",
        setting={"net": "resnet20", "k": 5, "tol": 1e-4, "untimed": 0},
        data=resnet_data,
        entrants=(
            _ours(),
            _peer("PyHessian, default", "pyhessian", {"tol": 1e-3, "most": 100}),
            _peer("PyHessian, tol 1e-5", "pyhessian", {"tol": 1e-5, "most": 1_000}, target=2, most_rounds=1),
            _peer("curvlinops, ARPACK, tol 1e-2", "curvlinops", {"tol": 1e-2}),
            _peer("hessian-eigenthings, 40 steps", "hessian-eigenthings", {"most": 40}),
        ),
        rounds=3,
        finish=_top_errors,
    )


def trace() -> Comparison:
    """The trace at equal cost."""
    seeds = 60
    return Comparison(
        name="curvature_trace",
        title="Trace of the Hessian of the same tanh net, 100 products",
        note=f"Errors over {seeds} seeds; the share of them within one and two standard errors, where one is given, should be 68 and 95 %.",
        task="hessian_trace",
        setting={"net": "tanh", "products": 100, "seeds": seeds},
        data=tanh_data,
        entrants=(
            _ours(),
            _peer("PyHessian", "pyhessian"),
            *(_peer(f"curvlinops, {name}", "curvlinops", {"variant": name}) for name in ("Hutchinson", "Hutch++", "XTrace")),
            *(_peer(f"hessian-eigenthings, {name}", "hessian-eigenthings", {"variant": name}) for name in ("hutchinson", "hutch++")),
        ),
        rounds=7,
        finish=_trace_errors,
    )


def density() -> Comparison:
    """The spectral density at equal cost."""
    seeds = 9
    return Comparison(
        name="curvature_density",
        title="Spectral density of the Hessian of the same tanh net, 10 vectors of 100 Lanczos steps",
        note=f"Errors are Wasserstein-1 distances from all eigenvalues, over their span; medians over {seeds} seeds.",
        task="spectral_density",
        setting={"net": "tanh", "probes": 10, "steps": 100, "seeds": seeds},
        data=tanh_data,
        entrants=(
            _ours(),
            _peer("PyHessian", "pyhessian"),
            _peer("curvlinops", "curvlinops"),
            _peer("hessian-eigenthings", "hessian-eigenthings"),
        ),
        rounds=3,
        finish=_density_errors,
    )


def product(net: str) -> Comparison:
    """One Hessian-vector product."""
    repeats, data = (50, tanh_data) if net == "tanh" else (1, resnet_data)

    def other(name: str, variant: str, target: float) -> Entrant:
        return Entrant(name=name, script="curvature_ours.py", setting={"variant": variant}, target=target, compared=False)

    return Comparison(
        name=f"curvature_product_{net}",
        title=f"One Hessian-vector product, {'tanh net, float64' if net == 'tanh' else 'ResNet-20, float32'}, its graph kept",
        note="Ratios are to ptoq's product: a gradient is to be at least 0.33 of it, a bare second backward pass 0.91.",
        task="hessian_product",
        setting={"net": net, "variant": "product", "repeats": repeats},
        data=data,
        entrants=(
            _ours(),
            other("gradient", "gradient", 1 / 3),
            other("bare second backward pass", "bare", 1 / 1.1),
        ),
        rounds=15 if net == "tanh" else 7,
    )


def _ours() -> Entrant:
    return Entrant(name="ptoq", script="curvature_ours.py")


_SCRIPTS = {"pyhessian": "pyhessian_peer.py", "curvlinops": "curvlinops_peer.py", "hessian-eigenthings": "eigenthings_peer.py"}


def _peer(name: str, environment: str, setting: dict[str, Any] | None = None, **more: Any) -> Entrant:
    return Entrant(name=name, script=_SCRIPTS[environment], environment=environment, setting=setting or {}, compared=False, **more)


def _top_errors(data: dict[str, np.ndarray], outputs: dict[str, dict[str, np.ndarray]], seconds: dict[str, list[float]]) -> dict[str, Any]:
    truth = data["eigenvalues"][::-1][:5]
    return _report(
        "relative error", {name: {"worst of five": float(np.max(np.abs(found["values"] / truth - 1)))} for name, found in outputs.items()}
    )


def _trace_errors(
    data: dict[str, np.ndarray], outputs: dict[str, dict[str, np.ndarray]], seconds: dict[str, list[float]]
) -> dict[str, Any]:
    truth = float(data["eigenvalues"].sum())
    errors: dict[str, dict[str, float]] = {}
    for name, found in outputs.items():
        off = found["estimates"] - truth
        errors[name] = {"root mean square": float(np.sqrt(np.mean(off**2)) / truth)}
        if "errors" in found:
            z = np.abs(off) / found["errors"]
            errors[name] |= {"share within one standard error": float(np.mean(z < 1)), "within two": float(np.mean(z < 2))}
    return _report("relative error", errors)


def _density_errors(
    data: dict[str, np.ndarray], outputs: dict[str, dict[str, np.ndarray]], seconds: dict[str, list[float]]
) -> dict[str, Any]:
    errors = {}
    for name, found in outputs.items():
        pairs = [(found[f"nodes{seed}"], found[f"weights{seed}"]) for seed in range(len(found) // 2)]
        errors[name] = {"Wasserstein-1": float(np.median([wasserstein(*pair, data["eigenvalues"]) for pair in pairs]))}
    return _report("error", errors)


def _report(name: str, errors: dict[str, dict[str, float]]) -> dict[str, Any]:
    return {"largest_error": errors, "error_name": name, "error_note": ""}


def wasserstein(nodes: np.ndarray, weights: np.ndarray, eigenvalues: np.ndarray) -> float:
    """Wasserstein-1 distance `∫ |F − G|` of a quadrature from the eigenvalues, ascending, over their span."""
    order = np.argsort(nodes)
    steps = np.concatenate([[0.0], np.cumsum(weights[order])])
    at = np.sort(np.concatenate([nodes, eigenvalues]))
    found = steps[np.searchsorted(nodes[order], at[:-1], side="right")]
    true = np.searchsorted(eigenvalues, at[:-1], side="right") / len(eigenvalues)
    return float(np.abs(found - true) @ np.diff(at) / (eigenvalues[-1] - eigenvalues[0]))
