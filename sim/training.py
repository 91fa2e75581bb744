"""The top of the two-layer ladder: a finite net, really trained, with its frozen-kernel rung beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from numbers import Real

import numpy as np
import psutil

from sim.backend import resolve_backend
from sim.dynamics import BlockedNet, Descent, workers
from sim.frozen import frozen_gram, frozen_gram_bytes
from sim.networks import check_width, initial_net
from theory.arrays import to_numpy
from theory.errors import InvalidInput
from theory.numeric.gram import relu_gram
from theory.numeric.spectrum import GramSpectrum
from theory.outcome import Trajectory, TransferOutcome
from theory.predict import predict_stages, test_scores, vectors
from theory.problem import Schedule, TransferProblem, check_kinds, whole

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
    backend : "auto" or "numpy"
    dtype : "float64" or "float32"
        Of the training; the frozen rung is always float64.
    rtol, max_steps
        Where a stage is to be trained to its end: until `‖u − y‖ ≤ rtol·‖y‖`, in at most `max_steps`.
    memory : "byte", "bit" or "recompute", optional
        How the activity of neurons is kept between steps; by default what fits.
    threads : int, optional
        Threads over blocks of neurons; by default all cores.
    progress : callable, optional
        Called with 1 after each gradient step.

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
    resolve_backend(backend)
    check_kinds(problem, schedule, "simulate")
    vectors(problem)
    check_width(width, problem.n_outputs, antisymmetric)
    if dtype not in DTYPES:
        raise InvalidInput(f"dtype is {dtype!r}; one of {', '.join(map(repr, DTYPES))} is allowed")
    if not isinstance(rtol, Real) or not 0 < rtol < 1:
        raise InvalidInput(f"rtol is {rtol!r}; a number between 0 and 1 is allowed")
    if whole(max_steps, "max_steps") < 1:
        raise InvalidInput(f"max_steps is {max_steps!r}; at least 1 is allowed")
    if threads is not None and whole(threads, "threads") < 1:
        raise InvalidInput(f"threads is {threads!r}; at least 1, or None for all cores, is allowed")
    seed = whole(seed, "seed")
    _check_ascending(source_steps)
    problem = _on_host(problem)
    _check_memory(width, problem)
    assert problem.source is not None
    P, Q = GramSpectrum.of(relu_gram(problem.source[0])), GramSpectrum.of(relu_gram(problem.target[0]))
    schedule = schedule.with_rates(P, Q)
    assert schedule.source_lr is not None and schedule.target_lr is not None
    stable = P.check_step(schedule.source_lr, source_steps[-1], "source_lr", schedule.allow_unstable)
    stable &= Q.check_step(schedule.target_lr, schedule.target_steps, "target_lr", schedule.allow_unstable)

    settings = _Settings(memory, rtol, max_steps, threads, progress, stable)
    W, a = initial_net(width, problem.source[0].shape[1], problem.n_outputs, init_scale=init_scale, antisymmetric=antisymmetric, seed=seed)
    # First, because a step size that the net's own kernel does not bear is refused here, before anything is trained.
    frozen = _frozen(problem, schedule, source_steps, W, a, settings)
    trained = _Run(problem, schedule, W.astype(dtype), a.astype(dtype), None, settings).outcomes(source_steps)
    # What only a Gram matrix can tell, a trained net has from its own frozen kernel.
    return [
        replace(t, gain=f.gain, gain_reason=f.gain_reason, source_rank=f.source_rank, target_rank=f.target_rank, frozen=f)
        for t, f in zip(trained, frozen, strict=True)
    ]


@dataclass(frozen=True)
class _Settings:
    """How a run is carried out, as `simulate` was asked."""

    memory: str | None
    rtol: float
    max_steps: int
    threads: int | None
    progress: Callable[[int], object] | None
    stable: bool


def _check_memory(width: int, problem: TransferProblem) -> None:
    """Refuse a net whose weights alone do not fit: `W(0)`, the net trained on the source, its fork and that one's start."""
    need = 8 * width * (4 * problem.target[0].shape[1] + 2 * problem.n_outputs)
    available = psutil.virtual_memory().available
    if need > available:
        raise InvalidInput(
            f"width is {width}: its weights take about {need / 2**30:.1f} GiB; {available / 2**30:.1f} GiB are free, enough for a width of "
            f"about {width * available // need}"
        )


def _check_ascending(source_steps: Sequence[int | None]) -> None:
    if not source_steps:
        raise InvalidInput("source_steps is empty; at least one number of steps is needed")
    order = [float("inf") if k is None else whole(k, "source_steps") for k in source_steps]
    if any(a >= b for a, b in pairwise(order)):
        raise InvalidInput(f"source_steps are {list(source_steps)}; strictly ascending numbers, None (to the end) last, are allowed")


def _on_host(problem: TransferProblem) -> TransferProblem:
    def convert(pair: tuple | None) -> tuple | None:
        return None if pair is None else tuple(to_numpy(x).astype(np.float64) for x in pair)

    target = convert(problem.target)
    assert target is not None
    return TransferProblem(source=convert(problem.source), target=target, test=convert(problem.test))


def _frozen(
    problem: TransferProblem, schedule: Schedule, source_steps: Sequence[int | None], W: np.ndarray, a: np.ndarray, settings: _Settings
) -> list[TransferOutcome]:
    """The frozen rung in closed form; step by step where its Gram matrix does not fit in half the free memory."""
    if frozen_gram_bytes(problem) > psutil.virtual_memory().available / 2:
        return _Run(problem, schedule, W, a, W, replace(settings, progress=None)).outcomes(source_steps)
    gram = frozen_gram(problem, W, a)
    with workers(settings.threads) as run_map:
        net = BlockedNet(W, a, run_map)
        starts = [
            net.outputs(pair[0]).reshape(pair[1].shape) for pair in (problem.source, problem.target, problem.test) if pair is not None
        ]
    # A finite net's λ_max may exceed the infinite-width one a little: its own stability is reported, not imposed.
    schedule = replace(schedule, allow_unstable=True)
    return predict_stages(problem, schedule, source_steps, gram=gram, initial_outputs=tuple(starts), rung="frozen")


class _Run:
    """One net under one schedule: the source run, and a fine-tuning run from each of its checkpoints."""

    def __init__(
        self,
        problem: TransferProblem,
        schedule: Schedule,
        W: np.ndarray,
        a: np.ndarray,
        gates: np.ndarray | None,
        settings: _Settings,
    ) -> None:
        self.problem, self.schedule, self.W, self.a, self.gates, self.settings = problem, schedule, W, a, gates, settings
        self.sets: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for name in ("source", "target", "test"):
            pair = getattr(problem, name)
            if pair is not None:
                X, y = pair
                self.sets[name] = (X.astype(W.dtype), y.reshape(len(y), -1))

    def outcomes(self, source_steps: Sequence[int | None]) -> list[TransferOutcome]:
        """One outcome for each length of pretraining."""
        results: dict[int | None, TransferOutcome] = {}
        finite = [k for k in source_steps if k is not None]
        with workers(self.settings.threads) as run:
            scratch, scratch_net = self._fine_tune(run, self.W)
            test_scratch = self._outputs(scratch_net, "test")
            net = self._net(run, self.W.copy())

            def fork(step: int, loss: float, end: bool) -> None:
                descent, tuned = (scratch, scratch_net) if step == 0 else self._fine_tune(run, net.W)
                outcome = self._outcome(step, loss, descent, tuned, scratch, test_scratch)
                results.update({k: outcome for k, now in ((step, step in finite), (None, end)) if now})

            self._descend(net, "source", source_steps[-1], finite, fork)
        return [results[k] for k in source_steps]

    def _descend(
        self,
        net: BlockedNet,
        stage: str,
        steps: int | None,
        record: Sequence[int],
        on_record: Callable[[int, float, bool], None] | None = None,
    ) -> Descent:
        X, y = self.sets[stage]
        return net.descend(
            X,
            y,
            lr=self._lr(stage),
            steps=steps,
            rtol=self.settings.rtol,
            max_steps=self.settings.max_steps,
            # A checkpoint that is to be forked may lie beyond the end; a point of a trajectory there is not worth the steps.
            at_least=max(record, default=0) if on_record else 0,
            record=record,
            on_record=on_record,
            progress=self.settings.progress,
        )

    def _lr(self, stage: str) -> float:
        lr = self.schedule.source_lr if stage == "source" else self.schedule.target_lr
        assert lr is not None
        return lr

    def _net(self, run: Callable, W: np.ndarray) -> BlockedNet:
        return BlockedNet(W, self.a, run, gates=self.gates, memory=self.settings.memory)

    def _fine_tune(self, run: Callable, W: np.ndarray) -> tuple[Descent, BlockedNet]:
        net = self._net(run, W.copy())
        return self._descend(net, "target", self.schedule.target_steps, self.schedule.recorded_steps()), net

    def _outputs(self, net: BlockedNet, name: str) -> np.ndarray | None:
        if name not in self.sets:
            return None
        return net.outputs(self.sets[name][0]).reshape(getattr(self.problem, name)[1].shape)

    def _outcome(
        self, step: int, source_loss: float, descent: Descent, tuned: BlockedNet, scratch: Descent, test_scratch: np.ndarray | None
    ) -> TransferOutcome:
        source_outputs, test_outputs = self._outputs(tuned, "source"), self._outputs(tuned, "test")
        assert source_outputs is not None
        residual = source_outputs.ravel() - self.sets["source"][1].ravel()
        tests = {} if test_outputs is None or test_scratch is None else test_scores(self.problem, test_outputs, test_scratch)
        return TransferOutcome(
            rung="trained" if self.gates is None else "frozen",
            gradient_energy=2 * descent.loss[0],
            gradient_energy_scratch=2 * scratch.loss[0],
            displacement=descent.displacement[-1],
            displacement_scratch=scratch.displacement[-1],
            gain=None,
            gain_reason="the Gram matrix was too large to be formed",
            target_loss=descent.loss[-1],
            target_loss_scratch=scratch.loss[-1],
            source_loss_pretrained=source_loss,
            source_loss=float(residual @ residual) / 2,
            source_outputs=source_outputs,
            target_outputs=descent.outputs.reshape(self.problem.target[1].shape),
            trajectory=_trajectory(descent),
            trajectory_scratch=_trajectory(scratch),
            source_steps=step,
            target_steps=descent.steps[-1],
            source_lr=self.schedule.source_lr,
            target_lr=self._lr("target"),
            stable=self.settings.stable,
            **tests,
        )


def _trajectory(descent: Descent) -> Trajectory:
    return Trajectory(steps=tuple(map(float, descent.steps)), loss=descent.loss, displacement=descent.displacement)
