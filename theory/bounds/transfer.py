"""A posteriori: what a net whose kernel stays within `ε` of `H` may differ in from the prediction, in both stages."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any

import numpy as np

from theory.arrays import Array, to_numpy
from theory.bounds.perturbed import Decay, PerturbedStage, times
from theory.errors import InvalidInput
from theory.numeric import stages
from theory.numeric.gram import relu_gram
from theory.numeric.spectrum import GramSpectrum
from theory.predict import GramBlocks, vectors
from theory.problem import Schedule, TransferProblem, check_kinds


@dataclass(frozen=True, kw_only=True)
class KernelErrors:
    """How far a net's kernel is from `H` along a run, block by block; each at every step, `inf` where nothing is known.

    `Z_S(j)` are the gradients of the outputs on `S` at step `j`, `Z̃_S(j)` the slopes of the outputs along that step, with
    `u_S(j + 1) − u_S(j) = Z̃_S(j) (W(j + 1) − W(j))`. In every norm `‖E‖` below it is enough that `‖E r‖ ≤ ε ‖r‖` for the
    run's own residual `r` (moments: `|r(j)ᵀE r(l)| ≤ ε ‖r(j)‖ ‖r(l)‖`). Training the target from scratch is another run: what
    `ErrorBounds` says of it asks for `target` and `target_moments` to hold over that run too.

    Attributes
    ----------
    source : float
        `‖Z̃_P Z_Pᵀ − H_P‖` over the source stage.
    target : float
        `‖Z̃_Q Z_Qᵀ − H_Q‖` over the target stage.
    target_source : float
        `‖Z̃_Q Z_Pᵀ − H_QP‖` over the source stage.
    source_target : float
        `‖Z̃_P Z_Qᵀ − H_PQ‖` over the target stage.
    source_moments, target_moments : float
        `‖Z_S(j) Z_S(l)ᵀ − H_S‖` between any two steps of the stage on `S`.
    test_source, test_target : float
        The same on test points, over the source and over the target stage.
    """

    source: float
    target: float
    target_source: float
    source_target: float
    source_moments: float
    target_moments: float
    test_source: float = math.inf
    test_target: float = math.inf

    def __post_init__(self) -> None:
        for item in fields(self):
            value: Any = getattr(self, item.name)
            if not isinstance(value, Real) or isinstance(value, bool) or not float(value) >= 0:
                raise InvalidInput(f"the kernel error {item.name} is {value!r}; a number ≥ 0 is allowed")
            object.__setattr__(self, item.name, float(value))

    @classmethod
    def uniform(cls, epsilon: float) -> KernelErrors:
        """`ε` in every block: `‖Z̃_A(j) Z_B(l)ᵀ − H_AB‖ ≤ ε` for all point sets and all moments of both stages."""
        return cls(**{item.name: epsilon for item in fields(cls)})


@dataclass(frozen=True, kw_only=True)
class Band:
    """A predicted number, and the interval in which the net's own must lie."""

    predicted: float
    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    @property
    def error(self) -> float:
        """The farther end's distance from the prediction."""
        return max(self.predicted - self.low, self.high - self.predicted)


@dataclass(frozen=True, kw_only=True)
class ErrorBounds:
    """Where a net must lie, for given kernel errors.

    Attributes
    ----------
    gradient_energy : Band
        `‖u_Q − y_Q‖²` at the start of fine-tuning (theorem 1).
    displacement, displacement_scratch : Band
        `‖W(Q) − W(P)‖_F` (theorem 2), and the same of a run from `W(0)`, over which the kernel errors must hold as well.
    measured_gain : Band or None
        `1 − displacement/displacement_scratch`, of those two runs; `None` where there is nothing to learn from scratch.
    target_loss, source_loss : Band
        After fine-tuning.
    target_outputs, source_outputs, test_outputs : float
        Euclidean distance of all outputs on a set from the predicted ones, after fine-tuning; `inf` without test points.
    source_path, target_path, scratch_path : float
        `η Σ_j ‖r(j)‖` of each stage is at most this.
    """

    gradient_energy: Band
    displacement: Band
    displacement_scratch: Band
    measured_gain: Band | None
    target_loss: Band
    source_loss: Band
    target_outputs: float
    source_outputs: float
    test_outputs: float
    source_path: float
    target_path: float
    scratch_path: float


class PerturbedTransfer:
    """A problem, a schedule and their spectra, ready to be bounded for any kernel errors.

    Parameters
    ----------
    problem : TransferProblem with a source
    schedule : Schedule of plain gradient descent
    gram : GramBlocks that the outputs share, optional
        Those of the infinite-width ReLU net by default.
    initial_outputs : tuple of arrays, optional
        `(u_P(0), u_Q(0))`, shaped like the labels; zero by default.

    Raises
    ------
    InvalidInput, UnstableStep
        As for `predict`.
    """

    def __init__(
        self,
        problem: TransferProblem,
        schedule: Schedule | None = None,
        *,
        gram: GramBlocks | None = None,
        initial_outputs: tuple[Array, ...] | None = None,
    ) -> None:
        schedule = Schedule() if schedule is None else schedule
        check_kinds(problem, schedule)
        vectors(problem)
        assert problem.source is not None
        self.problem, self.gram = problem, gram or GramBlocks.of(problem, relu_gram)
        self.P, self.Q = GramSpectrum.of(self.gram.source), GramSpectrum.of(self.gram.target)
        self.schedule = schedule.with_rates(self.P, self.Q)
        self.y_P, self.y_Q = problem.source[1], problem.target[1]
        if initial_outputs is not None:
            self.y_P, self.y_Q = self.y_P - initial_outputs[0], self.y_Q - initial_outputs[1]
        assert self.schedule.source_lr is not None and self.schedule.target_lr is not None
        self.lr_P, self.lr_Q = self.schedule.source_lr, self.schedule.target_lr
        alpha = stages.coefficients(self.P, self.y_P, self.lr_P, self.schedule.source_steps)
        self.remaining = self.y_Q - self.gram.target_source @ alpha
        gamma = stages.coefficients(self.Q, self.remaining, self.lr_Q, self.schedule.target_steps)
        source_residual = stages.residual(self.P, self.y_P, self.lr_P, self.schedule.source_steps)
        self.final_source = _norm(source_residual - self.gram.target_source.T @ gamma)
        self.final_target = _norm(stages.residual(self.Q, self.remaining, self.lr_Q, self.schedule.target_steps))
        self.decay_P = Decay(self.P, self.y_P, self.lr_P, self.schedule.source_steps)
        self.decay_Q = Decay(self.Q, self.remaining, self.lr_Q, self.schedule.target_steps)
        self.decay_scratch = Decay(self.Q, self.y_Q, self.lr_Q, self.schedule.target_steps)
        self.reach_QP = _reach(self.gram.target_source, self.P)
        self.reach_PQ = _reach(self.gram.target_source.T, self.Q)
        tests = self.gram.test_source, self.gram.test_target
        self.reach_T = (math.inf, math.inf) if tests[0] is None else (_reach(tests[0], self.P), _reach(tests[1], self.Q))

    def source_stage(self, errors: KernelErrors) -> PerturbedStage:
        """The source stage."""
        return self.decay_P.perturbed(errors.source, errors.source_moments)

    def target_stage(self, errors: KernelErrors, start_error: float | None) -> PerturbedStage:
        """The target stage from a start that far from `ỹ`; from scratch for `None`."""
        decay = self.decay_scratch if start_error is None else self.decay_Q
        return decay.perturbed(errors.target, errors.target_moments, start_error or 0.0)

    def start_error(self, errors: KernelErrors, source: PerturbedStage) -> float:
        """`‖(y_Q − u_Q(W(P))) − ỹ‖` is at most `‖H_QP H_P^{-1/2}‖ Δ_P + ε_QP S_P`."""
        return times(self.reach_QP, source.coefficients) + times(errors.target_source, source.path)

    def bounds(self, errors: KernelErrors) -> ErrorBounds:
        """All quantities.

        Raises
        ------
        InvalidInput
            Where a stage is to be trained to its end and the kernel error is too large for that to be promised.
        """
        source = self.source_stage(errors)
        apart = self.start_error(errors, source)
        target, scratch = self.target_stage(errors, apart), self.target_stage(errors, None)
        left = _norm(self.remaining)
        source_apart = source.residual + times(self.reach_PQ, target.coefficients) + times(errors.source_target, target.path)
        on_tests = [
            times(reach, stage.coefficients) + times(error, stage.path)
            for reach, stage, error in zip(self.reach_T, (source, target), (errors.test_source, errors.test_target), strict=True)
        ]
        moved, moved_scratch = _moved(target), _moved(scratch)
        return ErrorBounds(
            gradient_energy=_square(left, apart, 1.0),
            displacement=moved,
            displacement_scratch=moved_scratch,
            measured_gain=_gain(moved, moved_scratch),
            target_loss=_square(self.final_target, target.residual, 0.5),
            source_loss=_square(self.final_source, source_apart, 0.5),
            target_outputs=target.residual,
            source_outputs=source_apart,
            test_outputs=sum(on_tests) if self.gram.test_source is not None else math.inf,
            source_path=source.path,
            target_path=target.path,
            scratch_path=scratch.path,
        )


def error_bounds(
    problem: TransferProblem,
    schedule: Schedule | None,
    errors: KernelErrors | float,
    *,
    gram: GramBlocks | None = None,
    initial_outputs: tuple[Array, ...] | None = None,
) -> ErrorBounds:
    """Where a net must lie whose kernel stays within `errors` of `H` along its run; deterministic, at any width.

    Parameters
    ----------
    problem, schedule, gram, initial_outputs
        As for `PerturbedTransfer`.
    errors : KernelErrors, or one number for all blocks

    Returns
    -------
    ErrorBounds

    Raises
    ------
    InvalidInput
        For values out of range, and where a stage runs to its end and the kernel error is too large for that to be promised.
    """
    if isinstance(errors, Real) and not isinstance(errors, bool):
        errors = KernelErrors.uniform(float(errors))
    if not isinstance(errors, KernelErrors):
        raise InvalidInput(f"errors is a {type(errors).__name__}; KernelErrors or a number is allowed")
    return PerturbedTransfer(problem, schedule, gram=gram, initial_outputs=initial_outputs).bounds(errors)


def _norm(x: Array) -> float:
    return float(np.linalg.norm(to_numpy(x)))


def _reach(block: Array, spectrum: GramSpectrum) -> float:
    """`‖B H^{-1/2}‖`, the rows of `B` in the range of `H`: how far outputs elsewhere move for coefficients of unit norm `√(vᵀHv)`."""
    values, vectors = to_numpy(spectrum.values), to_numpy(spectrum.vectors)
    kept = values > 0
    return float(np.linalg.norm(to_numpy(block) @ vectors[:, kept] / np.sqrt(values[kept]), ord=2)) if kept.any() else 0.0


def _square(size: float, apart: float, factor: float) -> Band:
    low, high = max(0.0, size - apart), size + apart
    # Products, as a power raises where it overflows.
    return Band(predicted=factor * size * size, low=factor * low * low, high=factor * high * high)


def _moved(stage: PerturbedStage) -> Band:
    return Band(predicted=stage.ideal, low=stage.shortest, high=stage.longest)


def _gain(moved: Band, scratch: Band) -> Band | None:
    if not scratch.predicted:
        return None
    low = 1 - moved.high / scratch.low if scratch.low else -math.inf
    high = 1 - moved.low / scratch.high
    return Band(predicted=1 - moved.predicted / scratch.predicted, low=low, high=high)
