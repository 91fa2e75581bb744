"""What the kernel regime rules out: transfer through a fresh output head, and flatter minima after pretraining.

Claims tested. A net is trained on the source and its head replaced by new random signs: what pretraining adds to the outputs on the target
has the predicted size at the widest nets and vanishes like `m^{-1/2}`, and so does the gain. The kernel does not make up for it: on
target points it changes with pretraining by `m^{-3/4}`, each of the share `∝ m^{-1/2}` of neurons that flip by `1/m` and either way
(`√(m·m^{-1/2})/m`). Trained on the target with the old head, from pretrained and from initial weights, nets end in minima whose kernels,
and so whose Hessians, differ in the mean by a bias `∝ m^{-1/2}` (a neuron that a sample switches off no longer feels it, so flips do not
balance on what is trained on) and by a fluctuation `∝ m^{-3/4}`: equally flat in the limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from sim.dynamics import BlockedNet, workers
from sim.estimate import Estimate, bias_and_spread, estimate, fit_exponent
from sim.experiments.arms import task_label
from sim.experiments.claims import Claim, exponent_claim, gap_claim, z_claim
from sim.frozen import frozen_gram
from sim.networks import initial_net
from sim.records import Cache
from sim.rng import generator
from sim.sweep import sweep
from sim.tasks import DigitsTask, SphereTask, Task, problem_of
from theory.numeric import stages
from theory.numeric.gram import relu_gram
from theory.numeric.ruled_out import fresh_head_energy
from theory.numeric.spectrum import GramSpectrum
from theory.problem import TransferProblem

NAME = "fresh_head"
TITLE = "A fresh output head sees no transfer, and minima are equally flat"

HEADS = 64
"""Fresh heads for each net: they cost little beside its training."""

FLATNESS = 0.01
"""Relative difference of the largest Hessian eigenvalues that the widest nets may have."""

RATES = {
    "outputs": ("what pretraining adds to the outputs of a fresh head, root mean square", -0.5),
    "gain": ("gain through a fresh head, standard deviation over heads", -0.5),
    "pretrained kernel": ("change of the target kernel through pretraining, fluctuation over nets", -0.75),
    "minima, bias": ("kernels of pretrained less other minima, length of the mean over nets", -0.5),
    "minima, spread": ("kernels of pretrained less other minima, fluctuation round the mean", -0.75),
}
"""What is fitted, in words, and the exponent claimed. Outputs are relative to the target labels, kernels to the infinite-width one."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the experiment; the standard profile has twice the nets, wider ones, more points and twice the steps.

    Parameters
    ----------
    tasks : tuple
    widths : tuple of int, at least four
    seeds : int ≥ 3
        Nets for each task and width.
    steps : int
        Gradient steps of every stage.
    dtype : "float64" or "float32"
        Of the nets.
    """

    tasks: tuple[SphereTask | DigitsTask, ...]
    widths: tuple[int, ...]
    seeds: int = 8
    steps: int = 50
    dtype: str = "float64"

    @classmethod
    def profile(cls, name: str) -> Config:
        """`"smoke"`, `"quick"`, `"standard"` or `"full"`."""
        if name == "smoke":
            return cls(tasks=(SphereTask(n_source=20, n_target=10, n_test=1),), widths=(128, 256, 512, 1024), steps=10)
        if name == "quick":
            tasks = (SphereTask(n_test=1), DigitsTask(n_source=80, n_target=40, n_test=1))
            return cls(tasks=tasks, widths=(256, 512, 1024, 2048, 4096, 8192))
        if name == "standard":
            tasks = (SphereTask(n_test=1), DigitsTask(n_source=80, n_target=60, n_test=1))
            return cls(tasks=tasks, widths=tuple(2**e for e in range(8, 15)), seeds=16, steps=100)
        tasks = (SphereTask(n_test=1), DigitsTask(n_target=60, n_test=1))
        return cls(tasks=tasks, widths=tuple(2**e for e in range(8, 18)), seeds=32, steps=200)


def run(config: Config, cache: Cache) -> dict[str, Any]:
    """Train what is not in the cache yet and return the record's results, claims among them."""
    cells: list[dict[str, Any]] = []
    fits: list[dict[str, Any]] = []
    claims: list[Claim] = []
    flatness: list[dict[str, Any]] = []
    theory: list[dict[str, Any]] = []
    seconds = 0.0
    for task in config.tasks:
        label = task_label(task)
        specs = [
            Net(task=task, width=width, seed=seed, steps=config.steps, dtype=config.dtype)
            for width in config.widths
            for seed in range(config.seeds)
        ]
        nets = sweep(
            trained,
            specs,
            cache,
            f"{NAME}: {label}",
            weight=lambda net: net.width,
            depends=lambda net: problem_of(net.task).content_hash,
        )
        seconds += sum(net["seconds"] for net in nets)
        by_width = [nets[i * config.seeds : (i + 1) * config.seeds] for i in range(len(config.widths))]
        sizes = [_sizes(here) for here in by_width]
        where = f"{label}, widths {config.widths[0]:,} to {config.widths[-1]:,}"
        for quantity, (words, rate) in RATES.items():
            values = [size[quantity] for size in sizes]
            cells += [
                {"task": label, "quantity": quantity, "width": width, "size": asdict(value)}
                for width, value in zip(config.widths, values, strict=True)
            ]
            fit = fit_exponent(config.widths, values) if all(v.mean != 0 and v.standard_error > 0 for v in values) else None
            fits.append({"task": label, "quantity": quantity, "claimed": rate, "fit": fit and asdict(fit)})
            claims.append(exponent_claim(f"exponent in width: {words}", where, fit, rate))
        claims += _widest(task, label, config, by_width[-1])
        for width, here in zip(config.widths, by_width, strict=True):
            apart = estimate([net["largest"][0] - net["largest"][1] for net in here])
            flatness.append({"task": label, "width": width, "apart": asdict(apart)})
        theory.append({"task": label, "width_times_energy": _predicted(task, config.steps), "old_head": _old_head(task, config.steps)})
    shown = {"cells": cells, "fits": fits, "flatness": flatness, "theory": theory}
    return {**shown, "claims": [c.to_dict() for c in claims], "seconds": seconds}


def _widest(task: Task, label: str, config: Config, nets: Sequence[dict[str, Any]]) -> Iterator[Claim]:
    where = f"{label}, width {config.widths[-1]:,}"
    energy = estimate([config.widths[-1] * net["energy"] for net in nets])
    yield z_claim(
        "width times the energy that pretraining adds to the outputs of a fresh head", where, "", energy, _predicted(task, config.steps)
    )
    gap = estimate([net["largest"][0] - net["largest"][1] for net in nets])
    words = "largest Hessian eigenvalue, pretrained less other minimum, relative to infinite width"
    yield gap_claim(words, where, "", gap, 0.0, FLATNESS, relative=False)


def _predicted(task: Task, steps: int) -> float:
    """`m E ‖u'‖²` over the labels' squared norm."""
    source, target = _sets(task)
    P = GramSpectrum.of(relu_gram(source[0]))
    alpha = stages.coefficients(P, source[1], 1 / P.largest, steps)
    return float(np.sum(fresh_head_energy(source[0], alpha, target[0])) / np.sum(target[1] ** 2))


def _old_head(task: Task, steps: int) -> float:
    """What pretraining adds to the outputs of the head it was done with, over the labels' norm, at infinite width."""
    source, target = _sets(task)
    P = GramSpectrum.of(relu_gram(source[0]))
    alpha = stages.coefficients(P, source[1], 1 / P.largest, steps)
    return float(np.linalg.norm(relu_gram(target[0], source[0]) @ alpha) / np.linalg.norm(target[1]))


def _sizes(nets: Sequence[dict[str, Any]]) -> dict[str, Estimate]:
    """Each quantity of `RATES` over the nets of one width."""
    changed = bias_and_spread(np.array([net["pretrained kernel"] for net in nets]))
    minima = bias_and_spread(np.array([net["minima"] for net in nets]))
    return {
        "outputs": estimate([net["energy"] ** 0.5 for net in nets]),
        "gain": estimate([net["gain"] for net in nets]),
        "pretrained kernel": changed[1],
        "minima, bias": minima[0],
        "minima, spread": minima[1],
    }


@dataclass(frozen=True, kw_only=True)
class Net:
    """One net: `steps` and `dtype` as in `Config`."""

    task: SphereTask | DigitsTask
    width: int
    seed: int
    steps: int
    dtype: str


@lru_cache(maxsize=16)
def _sets(task: Task) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    problem = problem_of(task)
    assert problem.source is not None
    return problem.source, problem.target


def trained(spec: Net) -> dict[str, Any]:
    """What one net shows of each quantity of `RATES`, and the largest Hessian eigenvalues of both its minima."""
    with workers() as run_map:
        return _train(spec, run_map)


def _train(spec: Net, run_map: Callable) -> dict[str, Any]:
    width, seed, dtype = spec.width, spec.seed, spec.dtype
    (X_P, y_P), (X_Q, y_Q) = _sets(spec.task)
    P, Q = GramSpectrum.of(relu_gram(X_P)), GramSpectrum.of(relu_gram(X_Q))
    start, a = (part.astype(dtype) for part in initial_net(width, X_P.shape[1], 1, seed=seed))

    def descended(W: np.ndarray, X: np.ndarray, y: np.ndarray, spectrum: GramSpectrum) -> np.ndarray:
        net = BlockedNet(W.copy(), a, run_map)
        net.descend(X.astype(dtype), y[:, None], lr=1 / spectrum.largest, steps=spec.steps)
        return net.W

    pretrained = descended(start, X_P, y_P, P)
    heads = generator("fresh heads", width, seed).choice([-1.0, 1.0], size=(width, HEADS)).astype(dtype)
    # The new head's outputs at W(0) are noise whatever the source: only what pretraining adds is compared.
    before, after = (BlockedNet(W, heads, run_map).outputs(X_Q.astype(dtype)) for W in (start, pretrained))
    added = after - before
    gains = [stages.transfer_gain(Q, y_Q, y_Q - added[:, h])[0] for h in range(HEADS)]

    def kernel(W: np.ndarray) -> np.ndarray:
        # Only the target's block is wanted; any source will do.
        return np.asarray(frozen_gram(TransferProblem(source=(X_Q[:1], y_Q[:1]), target=(X_Q, y_Q)), W.astype(np.float64), a).target)

    tuned, other = descended(pretrained, X_Q, y_Q, Q), descended(start, X_Q, y_Q, Q)
    H_tuned, H_other = kernel(tuned), kernel(other)
    upper, size = np.triu_indices(len(X_Q)), float(np.linalg.norm(Q.values))
    return {
        "energy": float(np.mean(np.sum(added**2, axis=0)) / np.sum(y_Q**2)),
        "gain": float(np.std([g for g in gains if g is not None], ddof=1)),
        "pretrained kernel": ((kernel(pretrained) - kernel(start))[upper] / size).tolist(),
        "minima": ((H_tuned - H_other)[upper] / size).tolist(),
        "largest": [float(np.linalg.eigvalsh(H)[-1] / Q.largest) for H in (H_tuned, H_other)],
    }
