"""Generalisation of a transfer told from its training data alone, three ways: complexity measure, bound and cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from theory.arrays import namespace, scalar
from theory.errors import InvalidInput
from theory.numeric import stages
from theory.numeric.generalisation import (
    RademacherBound,
    complexity_measure,
    generalised_cross_validation,
    leave_one_out,
    rademacher_bound,
)
from theory.numeric.gram import relu_gram
from theory.numeric.spectrum import GramSpectrum, Steps
from theory.predict import GramBlocks
from theory.problem import Schedule, TransferProblem, check_kinds


@dataclass(frozen=True, kw_only=True)
class Generalisation:
    """What training data say of the error on new points, after one length of pretraining.

    Attributes
    ----------
    source_steps : int or None
    measure : float
        `√2 ‖W(Q) − W(P)‖/√n_Q`: orders tasks, has no unit.
    bound : RademacherBound or None
        On the expected loss `min(1, |f − y|)`; read `bound.vacuous` first. `None` where its assumptions do not hold.
    bound_reason : str or None
        Which assumption does not.
    cross_validation : float or None
        Generalised cross-validation, an estimate of the mean squared test error; `None` where it says nothing.
    leave_one_out : float or None
        Mean squared leave-one-out error; `None` unless the target stage runs to its end.
    """

    source_steps: Steps
    measure: float
    bound: RademacherBound | None
    bound_reason: str | None
    cross_validation: float | None
    leave_one_out: float | None


def generalisation(
    problem: TransferProblem,
    schedule: Schedule | None = None,
    source_steps: Sequence[Steps] | None = None,
    *,
    delta: float = 0.1,
    gram: GramBlocks | None = None,
) -> list[Generalisation]:
    """Measure, bound and cross-validation for each length of pretraining; the problem's test points are not looked at.

    Parameters
    ----------
    problem : TransferProblem
        Without a source: training from scratch.
    schedule : Schedule, optional
    source_steps : sequence, optional
        Lengths of pretraining; by default the schedule's own.
    delta : float in (0, 1)
        Probability with which each bound may fail.
    gram : GramBlocks, optional
        Gram matrices whose blocks the outputs share; by default those of infinite width. Initial outputs are taken as zero.

    Raises
    ------
    InvalidInput, UnstableStep
        As for `predict`; for `delta` outside (0, 1).
    """
    schedule = Schedule() if schedule is None else schedule
    check_kinds(problem, schedule)
    if not 0 < delta < 1:
        raise InvalidInput(f"delta is {delta!r}; a number in (0, 1) is allowed")
    X_Q, y_Q = problem.target
    H_Q = relu_gram(X_Q) if gram is None else gram.target
    if H_Q.shape[0] != X_Q.shape[0]:
        raise InvalidInput(f"the target Gram block has {H_Q.shape[0]} rows and the target {X_Q.shape[0]} points; equal is needed")
    Q = GramSpectrum.of(H_Q)
    P = None
    if problem.source is not None:
        P = GramSpectrum.of(relu_gram(problem.source[0]) if gram is None else gram.source)
        cross = relu_gram(X_Q, problem.source[0]) if gram is None else gram.target_source
    schedule = schedule.with_rates(P, Q)
    lr, steps = schedule.target_lr, schedule.target_steps
    assert lr is not None
    Q.check_step(lr, steps, "target_lr")
    found = []
    for k in (schedule.source_steps,) if source_steps is None else source_steps:
        remaining = y_Q
        if P is not None and problem.source is not None:
            assert schedule.source_lr is not None
            P.check_step(schedule.source_lr, k, "source_lr")
            remaining = y_Q - cross @ stages.coefficients(P, problem.source[1], schedule.source_lr, k)
        bound, reason = None, None
        try:
            bound = rademacher_bound(Q, y_Q, remaining, lr, steps, delta)
        except InvalidInput as error:
            reason = str(error)
        errors = None if steps is not None else leave_one_out(Q, remaining)
        found.append(
            Generalisation(
                source_steps=k,
                measure=complexity_measure(Q, remaining, lr, steps),
                bound=bound,
                bound_reason=reason,
                cross_validation=generalised_cross_validation(Q, remaining, lr, steps),
                leave_one_out=None if errors is None else scalar(namespace(errors).sum(errors * errors)) / Q.size,
            )
        )
    return found
