"""Predict a transfer before it happens: the closed forms put together, for whatever Gram matrix is given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import Any

import numpy as np

from theory.arrays import Array, as_float, namespace, scalar, to_numpy
from theory.errors import InvalidInput
from theory.numeric import stages
from theory.numeric.kernels.named import GramFunction, check_cross, gram_function
from theory.numeric.solvers.operators import Progress
from theory.numeric.solvers.plan import Sizes, choose, free_memory
from theory.numeric.spectrum import GramSpectrum, Steps
from theory.outcome import Trajectory, TransferOutcome, error_rate, mean_squared_error
from theory.problem import Schedule, TransferProblem
from theory.residuals import Residuals
from theory.rules import Stage, Start, check_shrinking, rule_of

_SHRINKS = (
    "decay towards zero shrinks W(0) itself, whose norm grows with the width without bound; give initial_norm, or anchor='initial', "
    "which has the same outputs where the initial ones are zero"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class GramBlocks:
    """Gram matrix between the point sets of a problem, block by block.

    A block between sets of `n` and `n'` points is `(n, n')` when the `c` outputs share it and do not interact, or
    `(n·c, n'·c)`, points major, when they do (a finite net with vector labels, a CNN).

    Attributes
    ----------
    source, target : symmetric blocks within `P` and within `Q`
    target_source : rows `Q`, columns `P`
    test_source, test_target : rows test points, when the problem has any
    """

    source: Array
    target: Array
    target_source: Array
    test_source: Array | None = None
    test_target: Array | None = None

    def __post_init__(self) -> None:
        for item in fields(self):
            block = getattr(self, item.name)
            if block is not None:
                object.__setattr__(self, item.name, as_float(block, f"the Gram block {item.name}"))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GramBlocks):
            return NotImplemented
        pairs = [(getattr(self, item.name), getattr(other, item.name)) for item in fields(self)]
        return all(a is b or (a is not None and b is not None and np.array_equal(to_numpy(a), to_numpy(b))) for a, b in pairs)

    __hash__ = None  # type: ignore[assignment]

    def coupled(self, problem: TransferProblem) -> bool:
        """Whether outputs interact in these blocks."""
        n_Q, c = problem.target[0].shape[0], problem.n_outputs
        return bool(c > 1 and self.target.ndim == 2 and self.target.shape[0] == n_Q * c)

    def check(self, problem: TransferProblem) -> None:
        """Raise `InvalidInput` unless every block has the shape that `problem`, which has a source, needs."""
        assert problem.source is not None
        c = problem.n_outputs if self.coupled(problem) else 1
        n_P, n_Q = problem.source[0].shape[0] * c, problem.target[0].shape[0] * c
        n_T = None if problem.test is None else problem.test[0].shape[0] * c
        expected = {
            "source": (n_P, n_P),
            "target": (n_Q, n_Q),
            "target_source": (n_Q, n_P),
            "test_source": (n_T, n_P),
            "test_target": (n_T, n_Q),
        }
        for name, shape in expected.items():
            block = getattr(self, name)
            if name.startswith("test") and n_T is None:
                continue
            given = None if block is None else tuple(block.shape)
            if given != shape:
                raise InvalidInput(f"the Gram block {name} has shape {given}; {shape} is needed for this problem")

    @classmethod
    def of(cls, problem: TransferProblem, kernel: GramFunction) -> GramBlocks:
        """Evaluate `kernel` between the sets of `problem`."""
        X_P, X_Q = vectors(problem)
        X_T = None if problem.test is None else problem.test[0]
        return cls(
            source=kernel(X_P),
            target=kernel(X_Q),
            target_source=kernel(X_Q, X_P),
            test_source=None if X_T is None else kernel(X_T, X_P),
            test_target=None if X_T is None else kernel(X_T, X_Q),
        )


def vectors(problem: TransferProblem) -> tuple[Array, Array]:
    """Source and target inputs of a problem of vectors; `InvalidInput` if it has no source or its inputs are not (n, d)."""
    if problem.source is None:
        raise InvalidInput("the problem has source=None; a pair (X, y) is needed here (only a pretrained CNN can stand for a source)")
    X_P, X_Q = problem.source[0], problem.target[0]
    if X_Q.ndim != 2:
        raise InvalidInput(f"inputs have shape {tuple(X_Q.shape)}; (n, d) is allowed here")
    return X_P, X_Q


def predict(
    problem: TransferProblem,
    schedule: Schedule | None = None,
    *,
    kernel: str | GramFunction = "relu",
    gram: GramBlocks | None = None,
    initial_outputs: tuple[Array, ...] | None = None,
    initial_norm: float | None = None,
    rung: str = "infinite",
    solver: str = "auto",
    progress: Progress | None = None,
) -> TransferOutcome:
    """Outcome of pretraining and fine-tuning in the kernel regime, exact at every step.

    Parameters
    ----------
    problem, schedule
        What is transferred, and how; the default schedule trains both stages to their end by plain gradient descent. Momentum, weight
        decay towards each anchor and cross-entropy are as exact; see `theory.numeric.optimisers`, `.penalties` and `.cross_entropy`.
    kernel : str, Kernel or callable
        A name that `theory.numeric.kernels.kernel` knows, such as `"relu"`; a `Kernel`; or a Gram function `(X, Z=None)` of the user's own.
        Ignored when `gram` is given.
    gram : GramBlocks, optional
        Gram matrices computed elsewhere: a finite net's, or a CNN's.
    initial_outputs : tuple of arrays, optional
        `(u_P(0), u_Q(0))`, and `u_T(0)` when the problem has test points, shaped like the labels; zero by default.
    initial_norm : float, optional
        `‖W(0)‖_F`, which displacement takes under decay towards zero; without it that displacement is `None` (at infinite width it is
        infinite).
    rung : str
        The name the outcome carries.
    solver : "auto", "eigh", "cholesky", "lanczos" or "conjugate-gradients"
        How Gram matrices are solved with. `eigh` decomposes them and gives everything. The others are for larger problems, and for plain
        gradient descent: `cholesky` trains to the end in the memory of one matrix; `lanczos` takes numbers of steps, and needs one matrix
        too; `conjugate-gradients`, with Lanczos for numbers of steps, holds none. `auto` estimates the memory and takes `eigh` where it
        fits comfortably, else the first of them that fits. What a solver does not give is `None`, with `solver_reason`; to the end, it
        sees the trajectory at its two ends unless snapshots are asked for.
    progress : callable, optional
        Told `(what, share done)` while a problem is solved without `eigh`.

    Raises
    ------
    InvalidInput, UnstableStep
        For a problem without source, an unknown kernel, mismatched blocks, an unstable step size; for cross-entropy without numbers of
        steps or of labels that are no classes; for decay towards zero under a kernel that depends on the scale of `W(0)`; for a
        singular Gram matrix with `cholesky`.
    TooLarge
        For a problem that does not fit in the free memory, with the numbers.
    NotConverged
        From Lanczos or conjugate gradients, with the error reached.

    Source: arXiv 1909.12031 for the transformed labels; each plain stage is the geometric series of `r ← (I − ηH) r`.
    """
    if schedule is None:
        schedule = Schedule()
    steps = (schedule.source_steps,) if isinstance(schedule, Schedule) else (None,)
    return predict_stages(
        problem,
        schedule,
        steps,
        kernel=kernel,
        gram=gram,
        initial_outputs=initial_outputs,
        initial_norm=initial_norm,
        rung=rung,
        solver=solver,
        progress=progress,
    )[0]


def predict_stages(
    problem: TransferProblem,
    schedule: Schedule,
    source_steps: Sequence[Steps],
    *,
    kernel: str | GramFunction = "relu",
    gram: GramBlocks | None = None,
    initial_outputs: tuple[Array, ...] | None = None,
    initial_norm: float | None = None,
    rung: str = "infinite",
    solver: str = "auto",
    progress: Progress | None = None,
) -> list[TransferOutcome]:
    """`predict` for several lengths of pretraining at once: the Gram matrices are decomposed only once.

    `schedule.source_steps` is ignored; all else is as for `predict`.
    """
    if not isinstance(problem, TransferProblem):
        raise InvalidInput(f"problem is a {type(problem).__name__}; a TransferProblem is allowed")
    if not isinstance(schedule, Schedule):
        raise InvalidInput(f"schedule is {schedule!r}; a Schedule or None is allowed")
    if not isinstance(gram, GramBlocks | None):
        raise InvalidInput(f"gram is a {type(gram).__name__}; GramBlocks or None is allowed")
    if gram is None or problem.source is None:
        vectors(problem)
    if initial_norm is not None and not (isinstance(initial_norm, Real) and 0 <= initial_norm < math.inf):
        raise InvalidInput(f"initial_norm is {initial_norm!r}; a finite number ≥ 0, or None, is allowed")
    function = gram_function(kernel if gram is None else "relu")
    if gram is None:
        if schedule.weight_decay and schedule.anchor == "zero":
            check_shrinking(kernel)
    else:
        gram.check(problem)
    coupled = gram is not None and gram.coupled(problem)
    chosen = _solver(solver, problem, schedule, source_steps, coupled)
    sets = Residuals.of(problem, initial_outputs, coupled)
    if chosen != "eigh":
        from theory.large import FromBlocks, FromKernel, Iterative

        grams = FromKernel.of(problem, function) if gram is None else FromBlocks(gram)
        solved = Iterative(problem, grams, sets, chosen, fallback=solver == "auto", progress=progress)
        return [solved.outcome(replace(schedule, source_steps=k), rung) for k in source_steps]
    blocks = GramBlocks.of(problem, function) if gram is None else gram
    prepared = _Kernelised(problem, blocks, sets, initial_norm)
    if gram is None:
        check_cross(blocks.target_source, blocks.target, blocks.source)
    return [prepared.outcome(replace(schedule, source_steps=k), rung) for k in source_steps]


def _solver(solver: str, problem: TransferProblem, schedule: Schedule, source_steps: Sequence[Steps], coupled: bool) -> str:
    """The solver to use; see `theory.numeric.solvers.plan`."""
    assert problem.source is not None
    y, X = problem.target[1], problem.target[0]
    c = problem.n_outputs
    times = c if coupled else 1
    n_P, n_Q, n_T = (0 if pair is None else int(pair[0].shape[0]) * times for pair in (problem.source, problem.target, problem.test))
    sizes = Sizes(
        source=n_P,
        target=n_Q,
        test=n_T,
        outputs=1 if coupled else c,
        width=math.prod(X.shape[1:]),
        itemsize=4 if y.dtype == namespace(y).float32 else 8,
        recorded=len(schedule.recorded_steps()) if schedule.target_steps is not None or schedule.snapshots else 1,
        host=isinstance(X, np.ndarray),
    )
    finite = schedule.target_steps is not None or bool(schedule.snapshots) or any(k is not None for k in source_steps)
    plain = schedule.momentum == 0 and schedule.weight_decay == 0 and schedule.loss == "squared"
    return choose(solver, sizes, finite=finite, plain=plain, free=free_memory(X))


class _Kernelised:
    """A problem with its Gram spectra, labels flattened to match coupled outputs."""

    def __init__(self, problem: TransferProblem, gram: GramBlocks, sets: Residuals, initial_norm: float | None) -> None:
        self.problem, self.gram, self.initial_norm = problem, gram, initial_norm
        self.P, self.Q = GramSpectrum.of(gram.source), GramSpectrum.of(gram.target)
        self.start, self.given, self._like_labels = sets.start, sets.given, sets.like_labels
        self.y_P, self.y_Q = sets.y_P, sets.y_Q

    def outcome(self, schedule: Schedule, rung: str) -> TransferOutcome:
        assert self.problem.source is not None
        schedule = schedule.with_rates(self.P, self.Q)
        k_P, k_Q = schedule.source_steps, schedule.target_steps
        eta_P, eta_Q = schedule.source_lr, schedule.target_lr
        assert eta_P is not None and eta_Q is not None
        rule = rule_of(schedule, self.problem.source[1], self.problem.target[1])
        stable = rule.check(self.P, eta_P, k_P, "source_lr", schedule.allow_unstable)
        stable &= rule.check(self.Q, eta_Q, k_Q, "target_lr", schedule.allow_unstable)

        # Without decay there is nothing to be pulled towards.
        anchor = schedule.anchor if schedule.weight_decay else "start"
        Y_P, Y_Q = self.given[0], self.given[1]
        norm, zero = self.initial_norm, anchor == "zero"
        source = rule.run(self.gram.source, self.P, Start(Y_P, self.y_P, Y_P if zero else None), eta_P, (k_P,))
        alpha, kept_P = source.coefficients, source.remembered
        # W(P) = ω_P W(0) + Zα for decay towards zero, W(0) + Zα else.
        carried_over = self.gram.target_source @ alpha
        remaining = self.y_Q - carried_over if kept_P == 1 else Y_Q - kept_P * self.start[1] - carried_over
        target_anchor = {"start": None, "initial": self.y_Q, "zero": Y_Q}[anchor]
        steps: tuple[Steps, ...] = (*schedule.recorded_steps(), k_Q)
        target = rule.run(
            self.gram.target, self.Q, Start(Y_Q, remaining, target_anchor, self._distance(anchor, alpha, kept_P)), eta_Q, steps, path=True
        )
        scratch = rule.run(self.gram.target, self.Q, Start(Y_Q, self.y_Q, Y_Q if zero else None, norm), eta_Q, steps)

        # After fine-tuning W = a W(0) + b Z_P α + Z_Q γ, with a = 1 but for decay towards zero.
        b, a = target.remembered, target.remembered * kept_P if zero else 1.0
        pretrained = self.y_P + (1 - kept_P) * self.start[0] - source.residual

        def source_residual(gamma: Array, b: float) -> Array:
            kept = source.residual + (1 - b) * pretrained + (kept_P - (b * kept_P if zero else 1.0)) * self.start[0]
            return kept - self.gram.target_source.T @ gamma

        *on_the_way, final_source_residual = (source_residual(gamma, kept) for gamma, kept in target.path)
        source_loss = rule.loss(Y_P, final_source_residual)
        forgotten = (*(rule.loss(Y_P, r) for r in on_the_way), source_loss)
        if schedule.loss == "squared":
            gain, reason = stages.transfer_gain(self.Q, self.y_Q, remaining)
        else:
            gain, reason = None, "cross-entropy has no end to fine-tune to: the gain is of the squared loss"
        return TransferOutcome(
            rung=rung,
            gradient_energy=rule.gradient_energy(Y_Q, remaining),
            gradient_energy_scratch=rule.gradient_energy(Y_Q, self.y_Q),
            displacement=target.displacement[-1],
            displacement_scratch=scratch.displacement[-1],
            displacement_reason=_SHRINKS if zero and norm is None and k_Q != 0 else None,
            gain=gain,
            gain_reason=reason,
            target_loss=target.loss[-1],
            target_loss_scratch=scratch.loss[-1],
            source_loss_pretrained=rule.loss(Y_P, source.residual),
            source_loss=source_loss,
            source_outputs=self._like_labels(self.start[0] + self.y_P - final_source_residual),
            target_outputs=self._like_labels(self.start[1] + self.y_Q - target.residual),
            pretrained_target_outputs=self._like_labels(Y_Q - remaining),
            trajectory=_trajectory(steps, target, forgotten),
            trajectory_scratch=_trajectory(steps, scratch),
            source_rank=self.P.rank,
            target_rank=self.Q.rank,
            source_steps=k_P,
            target_steps=k_Q,
            source_lr=eta_P,
            target_lr=eta_Q,
            stable=stable,
            solver="eigh",
            **self._test(a, b, alpha, target.coefficients, scratch),
        )

    def _distance(self, anchor: str, alpha: Array, kept: float) -> float | None:
        """`‖W(P) − A‖_F`; `None` where it takes a norm of `W(0)` that is not given."""
        xp = namespace(alpha)
        square = scalar(xp.sum(alpha * (self.gram.source @ alpha)))
        if anchor == "zero":
            if self.initial_norm is None:
                return None
            # Z_Pᵀ W(0) are the initial outputs: the frozen model is homogeneous in its weights.
            square += (kept * self.initial_norm) ** 2 + 2 * kept * scalar(xp.sum(self.start[0] * alpha))
        return math.sqrt(max(0.0, square))

    def _test(self, a: float, b: float, alpha: Array, gamma: Array, scratch: Stage) -> dict[str, Any]:
        if self.problem.test is None:
            return {}
        outputs = a * self.start[2] + b * (self.gram.test_source @ alpha) + self.gram.test_target @ gamma
        from_scratch = scratch.remembered * self.start[2] + self.gram.test_target @ scratch.coefficients
        return test_scores(self.problem, self._like_labels(outputs), self._like_labels(from_scratch))


def _trajectory(steps: Sequence[Steps], stage: Stage, source_loss: tuple[float, ...] | None = None) -> Trajectory:
    taken = tuple(math.inf if k is None else float(k) for k in steps)
    return Trajectory(steps=taken, loss=stage.loss, displacement=stage.displacement, source_loss=source_loss)


def test_scores(problem: TransferProblem, outputs: Array, outputs_scratch: Array) -> dict[str, Any]:
    """The test fields of an outcome, from outputs on the problem's test points after fine-tuning and from scratch."""
    assert problem.test is not None
    labels, kind = problem.test[1], problem.label_kind
    return {
        "test_outputs": outputs,
        "test_outputs_scratch": outputs_scratch,
        "test_error": error_rate(kind, outputs, labels),
        "test_error_scratch": error_rate(kind, outputs_scratch, labels),
        "test_mse": mean_squared_error(outputs, labels),
        "test_mse_scratch": mean_squared_error(outputs_scratch, labels),
    }
