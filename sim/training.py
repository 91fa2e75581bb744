"""The top of the two-layer ladder: a finite net, really trained, with its frozen-kernel rung beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from itertools import pairwise
from numbers import Real
from typing import Any

import numpy as np

from sim.backend import Backend, resolve_backend
from sim.blocked import HostNets
from sim.device import DeviceNets
from sim.frozen import frozen_gram, frozen_gram_bytes
from sim.networks import check_width, initial_net
from sim.plan import Plan, check_memory, plan
from sim.stages import Limits, Run
from theory.arrays import to_numpy
from theory.errors import InvalidInput
from theory.host_memory import free_host_memory
from theory.numeric.gram import relu_gram
from theory.numeric.spectrum import GramSpectrum
from theory.outcome import TransferOutcome
from theory.predict import GramBlocks, predict_stages, vectors
from theory.problem import Schedule, TransferProblem, check_kinds, whole
from theory.threads import workers

DTYPES = ("float64", "float32")


def simulate(
    problem: TransferProblem,
    schedule: Schedule | None = None,
    *,
    width: int = 16384,
    init_scale: float = 1.0,
    antisymmetric: bool = True,
    seed: int = 0,
    backend: str = "auto",
    dtype: str = "float64",
    rtol: float = 1e-3,
    max_steps: int = 100_000,
    memory: str | None = None,
    threads: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> TransferOutcome:
    """Train a two-layer ReLU net on the source, then on the target, and measure what `predict` predicts.

    Parameters
    ----------
    problem, schedule
        As for `predict`; step sizes left open are `1/λ_max` of the infinite-width Gram matrix, the same on each rung.
    width : int
        Number of neurons, all counted; even when antisymmetric.
    init_scale : float
        `κ > 0`, the standard deviation of the initial weights.
    antisymmetric : bool
        Neurons in pairs with opposite readouts, so that the initial outputs are zero.
    seed : int ≥ 0
        Of weights and readouts.
    backend : "auto", "numpy", "cupy" or "torch"
    dtype : "float64" or "float32"
        Of the training; the frozen rung is always float64.
    rtol, max_steps
        Where a stage is to be trained to its end: until `‖u − y‖ ≤ rtol·‖y‖`, in at most `max_steps`.
    memory : "byte", "bit" or "recompute", optional
        How the activity of neurons is kept between steps; by default what fits. A GPU keeps pre-activations, or recomputes.
    threads : int, optional
        Threads over blocks of neurons, on NumPy; by default all cores.
    progress : callable, optional
        Called with numbers of gradient steps as they are taken: with 1 after each on NumPy, less often on a device.

    Returns
    -------
    TransferOutcome
        With `rung="trained"`; `.frozen` is the same net with its kernel frozen at `W(0)`.

    Raises
    ------
    InvalidInput, UnstableStep
        For anything out of range.
    NotConverged
        If a stage that was to be trained to its end did not get there.
    """
    schedule = schedule or Schedule()
    return simulate_stages(
        problem,
        schedule,
        (schedule.source_steps,),
        width=width,
        init_scale=init_scale,
        antisymmetric=antisymmetric,
        seed=seed,
        backend=backend,
        dtype=dtype,
        rtol=rtol,
        max_steps=max_steps,
        memory=memory,
        threads=threads,
        progress=progress,
    )[0]


def simulate_stages(
    problem: TransferProblem,
    schedule: Schedule,
    source_steps: Sequence[int | None],
    *,
    width: int = 16384,
    init_scale: float = 1.0,
    antisymmetric: bool = True,
    seed: int = 0,
    backend: str = "auto",
    dtype: str = "float64",
    rtol: float = 1e-3,
    max_steps: int = 100_000,
    memory: str | None = None,
    threads: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> list[TransferOutcome]:
    """`simulate` for several lengths of pretraining at once: one source run, fine-tuned from each of `source_steps`.

    Parameters
    ----------
    source_steps : sequence of int or None
        Strictly ascending, `None` (to the end) last; `schedule.source_steps` is ignored.

    Other parameters, results and errors are those of `simulate`.
    """
    return simulate_seeds(
        problem,
        schedule,
        source_steps,
        [seed],
        width=width,
        init_scale=init_scale,
        antisymmetric=antisymmetric,
        backend=backend,
        dtype=dtype,
        rtol=rtol,
        max_steps=max_steps,
        memory=memory,
        threads=threads,
        progress=progress,
    )[0]


def simulate_seeds(
    problem: TransferProblem,
    schedule: Schedule,
    source_steps: Sequence[int | None],
    seeds: Sequence[int],
    *,
    width: int = 16384,
    init_scale: float = 1.0,
    antisymmetric: bool = True,
    backend: str = "auto",
    dtype: str = "float64",
    rtol: float = 1e-3,
    max_steps: int = 100_000,
    memory: str | None = None,
    threads: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> list[list[TransferOutcome]]:
    """`simulate_stages` for several nets, trained in one batch: it pays for nets so small that a step is mostly Python, and on a GPU.

    Parameters
    ----------
    seeds : sequence of int ≥ 0
        One net for each.

    Returns
    -------
    For each seed what `simulate_stages` gives for it, equal but for rounding; a stage trained to its end ends at the same step.

    Other parameters and errors are those of `simulate_stages`; one net's error ends the batch.
    """
    chosen = resolve_backend(backend)
    check_kinds(problem, schedule, "simulate")
    vectors(problem)
    check_width(width, problem.n_outputs, antisymmetric)
    check_memory(memory)
    if dtype not in DTYPES:
        raise InvalidInput(f"dtype is {dtype!r}; one of {', '.join(map(repr, DTYPES))} is allowed")
    if not isinstance(rtol, Real) or not 0 < rtol < 1:
        raise InvalidInput(f"rtol is {rtol!r}; a number between 0 and 1 is allowed")
    if whole(max_steps, "max_steps") < 1:
        raise InvalidInput(f"max_steps is {max_steps!r}; at least 1 is allowed")
    if threads is not None and whole(threads, "threads") < 1:
        raise InvalidInput(f"threads is {threads!r}; at least 1, or None for all cores, is allowed")
    numbers = [whole(seed, "seed") for seed in seeds]
    if not numbers:
        raise InvalidInput("seeds is empty; at least one seed is needed")
    _check_ascending(source_steps)
    problem = _on_host(problem)
    how = plan(problem, width, len(numbers), np.dtype(dtype).itemsize, memory, chosen)
    assert problem.source is not None
    P, Q = GramSpectrum.of(relu_gram(problem.source[0])), GramSpectrum.of(relu_gram(problem.target[0]))
    schedule = schedule.with_rates(P, Q)
    assert schedule.source_lr is not None and schedule.target_lr is not None
    stable = P.check_step(schedule.source_lr, source_steps[-1], "source_lr", schedule.allow_unstable)
    stable &= Q.check_step(schedule.target_lr, schedule.target_steps, "target_lr", schedule.allow_unstable)

    c, d = problem.n_outputs, problem.source[0].shape[1]
    limits = Limits(rtol, max_steps, progress)
    silent = replace(limits, progress=None)
    W, a = np.empty((len(numbers), width, d), dtype=dtype), np.empty((len(numbers), width, c), dtype=dtype)
    try:
        with chosen.guarded():
            frozen = []
            for i, seed in enumerate(numbers):
                drawn, signs = initial_net(width, d, c, init_scale=init_scale, antisymmetric=antisymmetric, seed=seed)
                # First, because a step size that the net's own kernel does not bear is refused here, before anything is trained.
                frozen.append(_frozen(problem, schedule, source_steps, (drawn, signs), chosen, how, threads, (silent, stable)))
                W[i], a[i] = drawn, signs
                del drawn
        with chosen.guarded(), workers(threads) as run_map:
            trained = Run(problem, schedule, _nets(chosen, W, a, run_map, how), limits, stable).outcomes(source_steps)
    except chosen.out_of_memory() as error:
        raise InvalidInput(
            f"{chosen.describe()} ran out of memory with {len(numbers)} nets of width {width}: they take about {how.need / 2**30:.1f} GiB, "
            f"and {chosen.free_memory() / 2**30:.1f} GiB are free; a smaller width is needed, or memory='recompute'"
        ) from error
    # What only a Gram matrix can tell, a trained net has from its own frozen kernel.
    return [
        [
            replace(t, gain=f.gain, gain_reason=f.gain_reason, source_rank=f.source_rank, target_rank=f.target_rank, frozen=f)
            for t, f in zip(*stages, strict=True)
        ]
        for stages in zip(trained, frozen, strict=True)
    ]


def _nets(backend: Backend, W: np.ndarray, a: np.ndarray, run_map: Callable[..., Any], how: Plan) -> HostNets | DeviceNets:
    if backend.name == "numpy":
        return HostNets(W, a, run_map, memory=how.memory, sample_space=how.sample_space)
    W, a = (backend.xp.asarray(x, device=backend.device) for x in (W, a))
    return DeviceNets(backend, W, a, keep=how.memory != "recompute", sample_space=how.sample_space)


def _check_ascending(source_steps: Sequence[int | None]) -> None:
    if not source_steps:
        raise InvalidInput("source_steps is empty; at least one number of steps is needed")
    order = [float("inf") if k is None else whole(k, "source_steps") for k in source_steps]
    if any(a >= b for a, b in pairwise(order)):
        raise InvalidInput(f"source_steps are {list(source_steps)}; strictly ascending numbers, None (to the end) last, are allowed")


def _on_host(problem: TransferProblem) -> TransferProblem:
    return _converted(problem, lambda x: to_numpy(x).astype(np.float64))


def _converted(problem: TransferProblem, convert: Callable[[Any], Any]) -> TransferProblem:
    source, target, test = (None if p is None else (convert(p[0]), convert(p[1])) for p in (problem.source, problem.target, problem.test))
    assert target is not None
    return TransferProblem(source=source, target=target, test=test)


def _frozen(
    problem: TransferProblem,
    schedule: Schedule,
    source_steps: Sequence[int | None],
    net: tuple[np.ndarray, np.ndarray],
    backend: Backend,
    how: Plan,
    threads: int | None,
    run: tuple[Limits, bool],
) -> list[TransferOutcome]:
    """The frozen rung of one net in closed form; step by step where its Gram matrix does not fit in half the free memory."""
    W, a = net
    available = min(free_host_memory(), backend.free_memory())
    with workers(threads) as run_map:
        nets = _nets(backend, W[None], a[None], run_map, how)
        if frozen_gram_bytes(problem) > available / 2:
            nets.gates = nets.W
            return Run(problem, schedule, nets, *run).outcomes(source_steps)[0]
        sets = [pair for pair in (problem.source, problem.target, problem.test) if pair is not None]
        starts = tuple(nets.outputs(X)[0].reshape(y.shape) for X, y in sets)
    if isinstance(nets, DeviceNets):
        gram = frozen_gram(_converted(problem, nets.load), nets.W[0, ...], nets.a[0, ...])
        gram = GramBlocks(**{f.name: None if (block := getattr(gram, f.name)) is None else to_numpy(block) for f in fields(gram)})
    else:
        gram = frozen_gram(problem, W, a)
    # A finite net's λ_max may exceed the infinite-width one a little: its own stability is reported, not imposed.
    schedule = replace(schedule, allow_unstable=True)
    return predict_stages(problem, schedule, source_steps, gram=gram, initial_outputs=starts, rung="frozen")
