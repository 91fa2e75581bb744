"""Does transfer help on average? Gradient energy, displacement and test error over teachers, and the phase diagram."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real

from theory.arrays import Array, as_float, namespace
from theory.errors import InvalidInput
from theory.numeric.average_case import TeacherAverage
from theory.numeric.kernels.named import GramFunction, gram_function
from theory.numeric.spectrum import GramSpectrum, integral_filter
from theory.problem import Schedule


def average_case(
    X_P: Array,
    X_Q: Array,
    X_T: Array | None = None,
    schedule: Schedule | None = None,
    *,
    kernel: str | GramFunction = "relu",
    teacher: str | GramFunction | None = None,
) -> dict[str, TeacherAverage]:
    """Mean and variance over teachers of what pretraining leaves, for given inputs.

    Parameters
    ----------
    X_P, X_Q, X_T : (n, d) arrays
        Source, target and, optionally, test inputs.
    schedule : Schedule, optional
        By default both stages are trained to their end.
    kernel : str, Kernel or callable
        The learner's, as for `predict`.
    teacher : str, Kernel or callable, optional
        Covariance function of the teachers; the learner's kernel by default.

    Returns
    -------
    dict
        `"gradient_energy"`; `"squared_displacement"`, over the target stage; with test points also `"squared_test_error"`, summed
        over them.

    Raises
    ------
    InvalidInput, UnstableStep
        For malformed inputs, an unstable step size that the schedule does not allow, or a run that overflows.
    """
    schedule = Schedule() if schedule is None else schedule
    if not isinstance(schedule, Schedule):
        raise InvalidInput(f"schedule is {schedule!r}; a Schedule or None is allowed")
    schedule.require_plain("average_case")
    X_P, X_Q = as_float(X_P, "X_P"), as_float(X_Q, "X_Q")
    H = gram_function(kernel)
    K = H if teacher is None else gram_function(teacher)
    P, Q = GramSpectrum.of(H(X_P)), GramSpectrum.of(H(X_Q))
    schedule = schedule.with_rates(P, Q)
    eta_P, eta_Q = schedule.source_lr, schedule.target_lr
    assert eta_P is not None and eta_Q is not None
    for spectrum, eta, k, name in (
        (P, eta_P, schedule.source_steps, "source_lr"),
        (Q, eta_Q, schedule.target_steps, "target_lr"),
    ):
        spectrum.check_step(eta, k, name, schedule.allow_unstable)
        spectrum.check_growth(eta, k, name)
    xp = namespace(X_P, X_Q)
    H_QP, K_P, K_Q, K_QP = H(X_Q, X_P), K(X_P), K(X_Q), K(X_Q, X_P)
    phi = integral_filter(Q.values, eta_Q, schedule.target_steps)

    def average(transfer: Array, scratch: Array, cross: Array) -> TeacherAverage:
        return TeacherAverage.of(P, transfer, eta_P, schedule.source_steps, scratch=scratch, cross=cross, source=K_P)

    # ‖W(Q) − W(P)‖² = ‖√H φ(H) r‖² with r what is left to learn.
    move = (Q.vectors * (phi * xp.sqrt(Q.values))[None, :]) @ Q.vectors.T
    averages = {
        "gradient_energy": average(H_QP, K_Q, K_QP),
        "squared_displacement": average(move @ H_QP, move @ K_Q @ move.T, move @ K_QP),
    }
    if X_T is not None:
        X_T = as_float(X_T, "X_T")
        tune = (H(X_T, X_Q) @ Q.vectors) @ (xp.where(Q.values > 0, phi, xp.zeros_like(phi))[:, None] * Q.vectors.T)
        half = tune @ K(X_T, X_Q).T
        averages["squared_test_error"] = average(
            H(X_T, X_P) - tune @ H_QP, K(X_T) - half - half.T + tune @ K_Q @ tune.T, K(X_T, X_P) - tune @ K_QP
        )
    return averages


def phase_diagram(
    X_P: Array,
    X_Q: Array,
    similarities: Sequence[float],
    angles: Sequence[float],
    noise_variance: float = 0.0,
    *,
    kernel: str | GramFunction = "relu",
) -> list[list[float]]:
    """Expected squared displacement to the end over its value from scratch; below 1 where transfer helps on average.

    Rows are input similarities, columns label angles. For input similarity `c` every source input is turned out of the target's space
    by the same angle, `x ↦ (c x, √(1 − c²) x)` against `z ↦ (z, 0)`: inner products within each set stay, those across are multiplied
    by `c`. Without noise each column of an angle below 60° is below 1 and each beyond above it, whatever `c > 0`: input similarity says
    how much transfer does, label similarity whether it helps.

    Parameters
    ----------
    X_P, X_Q : (n, d) arrays
    similarities : numbers in [0, 1]
    angles : numbers in [0, π]
        Between source and target labels, in radians.
    noise_variance : float ≥ 0
        Of the source labels' noise.
    kernel : str, Kernel or callable
        Of learner and teachers, as for `predict`.

    Raises
    ------
    InvalidInput
        For a value outside these ranges, or malformed inputs.
    """
    X_P, X_Q = as_float(X_P, "X_P"), as_float(X_Q, "X_Q")
    xp = namespace(X_P, X_Q)
    Z = xp.concat([X_Q, xp.zeros_like(X_Q)], axis=1)
    rows: list[list[float]] = []
    for c in similarities:
        if isinstance(c, bool) or not isinstance(c, Real) or not 0 <= c <= 1:
            raise InvalidInput(f"a similarity is {c!r}; numbers in [0, 1] are allowed")
        X = xp.concat([float(c) * X_P, math.sqrt(1 - float(c) ** 2) * X_P], axis=1)
        average = average_case(X, Z, kernel=kernel)["squared_displacement"]
        ratios = [average.ratio(angle, noise_variance) for angle in angles]
        if None in ratios:
            raise InvalidInput("the target Gram matrix is zero; one that can learn something is allowed")
        rows.append([r for r in ratios if r is not None])
    return rows
