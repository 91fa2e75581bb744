"""One minibatch step in weights is a step of the batch's coefficients."""

from __future__ import annotations

from functools import cache

from theory.formula import Chain
from theory.symbolic.notation import F_Q, F_Qt, eta, line, matrix, with_transpose

# F_Q holds all points; E picks the rows of the batch.
picks, picks_t = with_transpose("E_b", 2, 3)
gamma, gamma_t = with_transpose("gamma_b", 3, 1)
labels = matrix("y_b", 3, 1)
H = matrix("H_b", 3, 3)
residual = matrix("r_b", 3, 1)


@cache
def chain() -> Chain:
    """The step of the coefficients, of the residual, and the displacement."""
    step = gamma + eta * picks_t * picks * residual
    left = residual - eta * H * picks_t * picks * residual
    r = labels - H * gamma
    return Chain(
        title="A minibatch step",
        steps=(
            *line(
                F_Qt * gamma - eta * (F_Qt * picks_t) * (picks * F_Q * (F_Qt * gamma) - picks * labels),
                (
                    "gradient step on the batch's features E F: the weights stay in the span, γ ← γ + η EᵀE r, r = y − Hγ",
                    F_Qt * (gamma + eta * picks_t * picks * r),
                    "expand",
                ),
            ),
            *line(gamma + eta * picks_t * (picks * residual), ("coefficients: only the batch's change", step, "expand")),
            *line(
                labels - H * (gamma + eta * picks_t * picks * r),
                ("residual: all points' change", r - eta * H * picks_t * picks * r, "expand"),
            ),
            *line(residual - eta * (H * picks_t) * (picks * residual), ("that is", left, "expand")),
            *line((gamma_t * F_Q) * (F_Qt * gamma), ("displacement, squared", gamma_t * H * gamma, "expand")),
        ),
        results={"coefficients": step, "residual": left, "squared": gamma_t * H * gamma},
        where={H: F_Q * F_Qt},
    )
