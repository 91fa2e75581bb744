"""A net that does not start from zero outputs: what theorem 1 says of it, its terms in κ included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import array_api_compat as compat

from theory.arrays import Array, namespace
from theory.numeric import stages
from theory.numeric.gram import relu_gram
from theory.numeric.initialisation import Moments, output_kernel, start_covariance, start_moments
from theory.numeric.spectrum import GramSpectrum, integral_filter
from theory.predict import GramBlocks, vectors
from theory.problem import Schedule, TransferProblem, check_kinds


@dataclass(frozen=True, kw_only=True)
class RandomStart:
    """Means and variances over random starts, after pretraining and from scratch.

    Attributes
    ----------
    gradient_energy, gradient_energy_scratch : Moments
        `‖∂L_Q/∂X¹‖²` at the start of fine-tuning.
    squared_gradient, squared_gradient_scratch : Moments
        `‖∂L_Q/∂W‖²` there.
    squared_displacement, squared_displacement_scratch : Moments
        `‖W(Q) − W(P)‖²` over the target stage.
    """

    gradient_energy: Moments
    gradient_energy_scratch: Moments
    squared_gradient: Moments
    squared_gradient_scratch: Moments
    squared_displacement: Moments
    squared_displacement_scratch: Moments


def random_start(problem: TransferProblem, schedule: Schedule | None = None, *, init_scale: float = 1.0) -> RandomStart:
    """Theorem 1 with its terms in `κ`, for a net of infinite width whose initial outputs are random (`antisymmetric=False`).

    Parameters
    ----------
    problem : TransferProblem with a source
    schedule : Schedule, optional
        Both stages to their end by default.
    init_scale : float > 0
        `κ`.

    Returns
    -------
    RandomStart
        Means are exact at every width for the kernel of infinite width; variances are those of the limit.

    Raises
    ------
    InvalidInput, UnstableStep
        As for `predict`; a singular target Gram matrix with the target stage to its end is no error: what leaves its range does not
        move the weights.

    Source: arXiv 1909.12031, theorem 1.
    """
    schedule = Schedule() if schedule is None else schedule
    check_kinds(problem, schedule, "random_start")
    X_P, X_Q = vectors(problem)
    assert problem.source is not None
    gram = GramBlocks.of(problem, relu_gram)
    P, Q = GramSpectrum.of(gram.source), GramSpectrum.of(gram.target)
    schedule = schedule.with_rates(P, Q)
    eta_P, eta_Q = schedule.source_lr, schedule.target_lr
    assert eta_P is not None and eta_Q is not None
    P.check_step(eta_P, schedule.source_steps, "source_lr", schedule.allow_unstable)
    Q.check_step(eta_Q, schedule.target_steps, "target_lr", schedule.allow_unstable)
    transfer = gram.target_source @ stages.coefficients(P, _identity(P), eta_P, schedule.source_steps)
    y_P, y_Q = problem.source[1], problem.target[1]
    sigma = output_kernel(X_Q)
    covariance = start_covariance(output_kernel(X_P), output_kernel(X_Q, X_P), sigma, transfer)
    phi = integral_filter(Q.values, eta_Q, schedule.target_steps)
    weights = {
        "gradient_energy": None,
        "squared_gradient": gram.target,
        "squared_displacement": Q.apply(phi * phi * Q.values, _identity(Q)),
    }
    found: dict[str, Any] = {}
    for name, weight in weights.items():
        found[name] = start_moments(y_Q - transfer @ y_P, covariance, init_scale=init_scale, weight=weight)
        found[f"{name}_scratch"] = start_moments(y_Q, sigma, init_scale=init_scale, weight=weight)
    return RandomStart(**found)


def _identity(spectrum: GramSpectrum) -> Array:
    values = spectrum.values
    return namespace(values).eye(spectrum.size, dtype=values.dtype, device=compat.device(values))
