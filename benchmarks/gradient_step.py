"""One full-batch gradient step of the two-layer net against torch autograd and torch.compile, in one run.

n = 256, d = 32, width 65,536, float32. Every contender does the same work: outputs, loss gradient and weight update, the peers in the
fastest form found. Times are medians over interleaved rounds of four steps, the first of them not timed, so that a busy machine
slows all of them; ratios are taken round by round.

    python benchmarks/gradient_step.py [--rounds 15] [--out benchmarks/results/gradient_step.json]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from sim.dynamics import BlockedNet, _Stage, workers
from sim.machine import matrix_product_rate
from sim.networks import initial_net
from sim.records import provenance, write_json

N, D, WIDTH = 256, 32, 65_536


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, D)).astype(np.float32)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    W, a = initial_net(WIDTH, D, 1)
    return X, rng.standard_normal((N, 1)).astype(np.float32), W.astype(np.float32), a.astype(np.float32)


def torch_step(compiled: bool) -> Callable[[], float]:
    """Each peer in the fastest form found: neurons as rows, and for torch.compile the whole step, gradient and update, in one graph."""
    X, y, W, a = map(torch.from_numpy, data())
    XT, yT, aT = X.T.contiguous(), y.T, a.T

    def loss_of(weights: torch.Tensor) -> torch.Tensor:
        return 0.5 * ((aT @ torch.relu(weights @ XT) / WIDTH**0.5 - yT) ** 2).sum()

    if compiled:
        gradient_and_loss = torch.func.grad_and_value(loss_of)

        def whole_step(weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            gradient, loss = gradient_and_loss(weights)
            return weights - 0.1 * gradient, loss

        one_graph, state = torch.compile(whole_step), {"W": W}

        def compiled_step() -> float:
            with torch.no_grad():
                state["W"], loss = one_graph(state["W"])
            return float(loss)

        return compiled_step
    W.requires_grad_(True)

    def step() -> float:
        loss = loss_of(W)
        (gradient,) = torch.autograd.grad(loss, W)
        with torch.no_grad():
            W.sub_(gradient, alpha=0.1)
        return float(loss.detach())

    return step


def measure(rounds: int) -> dict[str, list[float]]:
    """Seconds a step for each contender, by round, after a check that all of them train alike."""
    X, y, W, a = data()
    net = BlockedNet(W, a, map)
    stage = _Stage(net, X)
    state = {"u": stage.advance(None)}

    def ours() -> float:
        residual = state["u"] - y
        state["u"] = stage.advance(residual * -0.1)
        return float(np.vdot(residual, residual)) / 2

    def timed(name: str, step: Callable[[], float]) -> tuple[float, float]:
        if name != "ptoq":
            return clock(step)
        # Only here: the limit of one BLAS thread a worker must not slow the peers down.
        with workers() as net._run:
            return clock(step)

    contenders = {"ptoq": ours, "torch autograd": torch_step(False), "torch.compile": torch_step(True)}
    warm = {name: [timed(name, step)[1] for _ in range(3)] for name, step in contenders.items()}
    for name, losses in warm.items():
        # dtype class: float32 sums over 65,536 neurons.
        same = np.allclose(losses, warm["ptoq"], rtol=float(np.finfo(np.float32).eps) ** 0.5)
        assert same, f"{name} trains differently: {losses}, {warm['ptoq']}"
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, step in contenders.items():
            times[name].append(timed(name, step)[0])
    return times


def clock(step: Callable[[], float]) -> tuple[float, float]:
    """Seconds a step, over three in a row after one that brings threads and caches back, and the first step's loss."""
    loss = step()
    started = time.perf_counter()
    for _ in range(3):
        step()
    return (time.perf_counter() - started) / 3, loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/gradient_step.json"))
    options = parser.parse_args()
    rate = matrix_product_rate()
    times = measure(options.rounds)
    rows = {}
    for name, seconds in times.items():
        ratios = [s / o for s, o in zip(seconds, times["ptoq"], strict=True)]
        rows[name] = {
            "milliseconds": {"median": 1e3 * statistics.median(seconds), "min": 1e3 * min(seconds), "max": 1e3 * max(seconds)},
            "times_slower_than_ptoq": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
        }
        ms, ratio = rows[name]["milliseconds"], rows[name]["times_slower_than_ptoq"]
        spread = f"({ms['min']:.1f} to {ms['max']:.1f})"
        print(f"{name:16s} {ms['median']:8.1f} ms {spread:20s} × {ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})")
    flops = 4 * N * D * WIDTH
    share = flops / statistics.median(times["ptoq"]) / 1e9 / rate
    print(f"ptoq: {100 * share:.0f} % of this machine's float32 matrix-product rate, {rate:.0f} GFLOP/s")
    setting = {"n": N, "d": D, "width": WIDTH, "dtype": "float32", "rounds": options.rounds, "torch": torch.__version__}
    write_json(options.out, {"benchmark": "gradient_step", "setting": setting, "results": rows, "provenance": provenance(gflops=rate)})


if __name__ == "__main__":
    main()
