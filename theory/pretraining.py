"""How long to pretrain: gradient energy, displacement and test error as functions of the source steps (result g)."""

from __future__ import annotations

from theory.arrays import Array, namespace
from theory.errors import InvalidInput
from theory.numeric.gram import relu_gram
from theory.numeric.spectrum import GramSpectrum, integral_filter
from theory.numeric.turning import PretrainingCurve
from theory.predict import GramBlocks, vectors
from theory.problem import Schedule, TransferProblem, check_kinds


def pretraining_curves(
    problem: TransferProblem, schedule: Schedule | None = None, *, gram: GramBlocks | None = None
) -> dict[str, PretrainingCurve]:
    """Curves over source steps `k`, to be called, or asked for their turns and their best `k`.

    Parameters
    ----------
    problem : TransferProblem with a source
    schedule : Schedule, optional
        Its `source_steps` is ignored: that is the curves' argument.
    gram : GramBlocks, optional
        Gram matrices whose blocks the outputs share; by default those of infinite width. Initial outputs are taken as zero.

    Returns
    -------
    dict
        `"gradient_energy"`; `"squared_displacement"`, over the target stage; with test points also `"squared_test_error"`, summed
        over them.

        Of each curve: `turns(last)` and `best(last)`; `turn_bound()`, how often it can turn; `late_trend()` and `turn_is_certain()`,
        whether it must; `noise_window(last)` and `with_source_noise(variance)`, what noise on source labels does; `contributions(k)`,
        which modes of the source help and which harm.

    Raises
    ------
    InvalidInput, UnstableStep
        As for `predict`.
    """
    schedule = Schedule() if schedule is None else schedule
    check_kinds(problem, schedule, "pretraining_curves")
    vectors(problem)
    assert problem.source is not None
    gram = gram or GramBlocks.of(problem, relu_gram)
    if gram.target.shape[0] != problem.target[0].shape[0]:
        raise InvalidInput(
            f"the target Gram block has {gram.target.shape[0]} rows and the target {problem.target[0].shape[0]} points; equal is needed"
        )
    P, Q = GramSpectrum.of(gram.source), GramSpectrum.of(gram.target)
    schedule = schedule.with_rates(P, Q)
    eta_P, eta_Q = schedule.source_lr, schedule.target_lr
    assert eta_P is not None and eta_Q is not None
    P.check_step(eta_P, None, "source_lr")
    Q.check_step(eta_Q, schedule.target_steps, "target_lr")
    xp = namespace(gram.target)
    y_P, y_Q = problem.source[1], problem.target[1]
    phi = integral_filter(Q.values, eta_Q, schedule.target_steps)

    def curve(start: Array, transfer: Array) -> PretrainingCurve:
        return PretrainingCurve.of(P, eta_P, y_P, start, transfer)

    # ‖W(Q) − W(P)‖² = ‖√H φ(H) r‖² with r what is left to learn.
    move = (phi * xp.sqrt(Q.values))[:, None] * Q.vectors.T
    curves = {"gradient_energy": curve(y_Q, gram.target_source), "squared_displacement": curve(move @ y_Q, move @ gram.target_source)}
    if problem.test is not None:
        assert gram.test_source is not None and gram.test_target is not None
        tune = (gram.test_target @ Q.vectors) @ (phi[:, None] * Q.vectors.T)
        curves["squared_test_error"] = curve(problem.test[1] - tune @ y_Q, gram.test_source - tune @ gram.target_source)
    return curves
