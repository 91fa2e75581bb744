"""What of the target's gradient pretraining suppresses, and what other codings of the source labels could reach."""

from __future__ import annotations

from dataclasses import dataclass

from theory.arrays import Array
from theory.numeric import similarity, stages
from theory.numeric.gram import relu_gram
from theory.numeric.similarity import SuppressedMode
from theory.numeric.spectrum import GramSpectrum
from theory.predict import GramBlocks, vectors
from theory.problem import Schedule, TransferProblem, check_kinds


@dataclass(frozen=True, kw_only=True)
class LabelGains:
    """Gains of one source by how its labels are coded; `None` where the gain is undefined.

    Attributes
    ----------
    gain : float or None
        Of the labels as they are.
    best_scale : float or None
        Of their best multiple.
    best_linear : float or None
        Of their best linear map: the most that the source's inputs and label columns allow.
    """

    gain: float | None
    best_scale: float | None
    best_linear: float | None


def mode_suppression(
    problem: TransferProblem, schedule: Schedule | None = None, *, gram: GramBlocks | None = None, tolerance: float | None = None
) -> list[SuppressedMode]:
    """What pretraining multiplies the target's gradient energy by, eigenspace by eigenspace of `H_Q`, ascending (result i).

    Parameters
    ----------
    problem : TransferProblem with a source
    schedule : Schedule, optional
        Its source stage; to the end by default.
    gram : GramBlocks, optional
        Blocks that the outputs share; by default those of infinite width. Initial outputs are taken as zero.
    tolerance : float, optional
        Neighbouring eigenvalues within this share of `λ_max` count as one; see `theory.numeric.similarity.mode_suppression`.

    Raises
    ------
    InvalidInput, UnstableStep
        As for `predict`.
    """
    Q, y_Q, transformed = _transformed(problem, schedule, gram, "mode_suppression")
    return similarity.mode_suppression(Q, y_Q, y_Q - transformed, tolerance)


def label_gains(problem: TransferProblem, schedule: Schedule | None = None, *, gram: GramBlocks | None = None) -> LabelGains:
    """The gain, and its best values over multiples and over linear maps of the source labels (result l).

    Parameters and errors are those of `mode_suppression`.
    """
    Q, y_Q, transformed = _transformed(problem, schedule, gram, "label_gains")
    return LabelGains(
        gain=stages.transfer_gain(Q, y_Q, y_Q - transformed)[0],
        best_scale=stages.best_scale_gain(Q, y_Q, transformed),
        best_linear=similarity.best_linear_gain(Q, y_Q, transformed),
    )


def _transformed(
    problem: TransferProblem, schedule: Schedule | None, gram: GramBlocks | None, what: str
) -> tuple[GramSpectrum, Array, Array]:
    """Target spectrum, target labels and transformed labels."""
    schedule = Schedule() if schedule is None else schedule
    check_kinds(problem, schedule, what)
    vectors(problem)
    assert problem.source is not None
    gram = gram or GramBlocks.of(problem, relu_gram)
    P, Q = GramSpectrum.of(gram.source), GramSpectrum.of(gram.target)
    eta_P = schedule.with_rates(P, Q).source_lr
    assert eta_P is not None
    P.check_step(eta_P, schedule.source_steps, "source_lr", schedule.allow_unstable)
    return Q, problem.target[1], gram.target_source @ stages.coefficients(P, problem.source[1], eta_P, schedule.source_steps)
