"""How many digits the float64 path loses, told by certified numbers, against the conditioning of the Gram matrices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from theory.arrays import Array, to_numpy
from theory.certified.certificate import Certificate, certify
from theory.numeric.gram import relu_gram
from theory.numeric.spectrum import GramSpectrum
from theory.numeric.stages import transformed_labels
from theory.outcome import TransferOutcome
from theory.predict import predict, vectors
from theory.problem import Schedule, TransferProblem

if TYPE_CHECKING:
    from flint import arb

_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, kw_only=True)
class DigitsLost:
    """Float64 against certified numbers, for one problem.

    Attributes
    ----------
    condition_source, condition_target : float
        `λ_max/λ_min` of `H_P` and `H_Q`, certified; infinite for singular matrices.
    lost : dict of str to float, or None
        For each number `log10(|float64 − true|/(eps · size))`, at least 0, with the size that the certificate's radius is
        relative to (`theory.certified.certify`): 0 is full precision, 15.7 none at all; the worst of the transformed labels. `None`
        where one side has no value.
    ranks, exact_ranks : pairs of int
        Of `H_P` and `H_Q`: as `GramSpectrum` decides in float64, and in truth.
    certificate : Certificate
    outcome : TransferOutcome
    """

    condition_source: float
    condition_target: float
    lost: dict[str, float | None]
    ranks: tuple[int, int]
    exact_ranks: tuple[int, int]
    certificate: Certificate
    outcome: TransferOutcome

    @property
    def expected(self) -> float:
        """`log10` of the larger condition number: what an error of one rounding in the Gram matrices costs, to first order.

        On the target, `αᵀδHα ≤ cond(H_Q) eps yᵀH_Q⁻¹y` for `α = H_Q⁻¹y`. What is wrong on the source, `δα = H_P⁻¹δH α`, reaches
        the target in the `H_Q⁻¹` norm as at most `√(δαᵀH_Pδα) ≤ cond(H_P) eps √(y_PᵀH_P⁻¹y_P)`: condition numbers do not multiply.
        """
        return math.log10(max(self.condition_source, self.condition_target))

    @property
    def worst(self) -> float:
        """Most digits lost by any number that both sides have."""
        return max((lost for lost in self.lost.values() if lost is not None), default=0.0)


def digits_lost(problem: TransferProblem, schedule: Schedule | None = None) -> DigitsLost:
    """Compare `theory.predict.predict` and `GramSpectrum` with `certify` on a float64 problem.

    Raises
    ------
    InvalidInput, UnstableStep
        As the two do.
    """
    certificate, outcome = certify(problem, schedule), predict(problem, schedule)
    assert problem.source is not None
    X_P, X_Q = vectors(problem)
    source, target = GramSpectrum.of(relu_gram(X_P)), GramSpectrum.of(relu_gram(X_Q))
    values: dict[str, float | None] = {
        "source_lambda_min": source.smallest,
        "source_lambda_max": source.largest,
        "lambda_min": target.smallest,
        "lambda_max": target.largest,
        **{name: value for name, value in outcome.scalars().items() if hasattr(certificate, name)},
    }
    transformed = transformed_labels(X_P, problem.source[1], X_Q, outcome.source_steps, outcome.source_lr)
    return DigitsLost(
        condition_source=_condition(certificate.source_lambda_max, certificate.source_lambda_min),
        condition_target=_condition(certificate.lambda_max, certificate.lambda_min),
        lost={
            **{name: _lost(getattr(certificate, name), certificate.sizes[name], value) for name, value in values.items()},
            "transformed_labels": _lost_of_labels(certificate, transformed),
        },
        ranks=(source.rank, target.rank),
        exact_ranks=(certificate.source_rank, certificate.target_rank),
        certificate=certificate,
        outcome=outcome,
    )


def nearly_parallel_problem(angle: float, *, n: int = 8, d: int = 6, seed: int = 0) -> TransferProblem:
    """Source and target of `n` random unit rows each, of which two enclose `angle` but have labels of their own.

    `λ_min` of both Gram matrices is about `angle/2π`: one parameter takes the conditioning from 10 to beyond float64.
    """
    rng = np.random.default_rng(seed)

    def labelled() -> tuple[np.ndarray, np.ndarray]:
        X = rng.standard_normal((n, d))
        X /= np.linalg.norm(X, axis=1, keepdims=True)
        across = X[1] - (X[1] @ X[0]) * X[0]
        X[1] = math.cos(angle) * X[0] + math.sin(angle) * across / np.linalg.norm(across)
        return X, rng.standard_normal(n)

    return TransferProblem(source=labelled(), target=labelled())


def _condition(largest: arb | None, smallest: arb | None) -> float:
    return math.inf if largest is None or smallest is None or not smallest > 0 else float(largest / smallest)


def _lost(ball: arb | None, size: arb, value: float | None) -> float | None:
    if ball is None or value is None:
        return None
    error = (ball - value).abs_upper()
    if error == 0:
        return 0.0
    return math.log10(max(1.0, float(error / size) / _EPS)) if size > 0 else math.inf


def _lost_of_labels(certificate: Certificate, transformed: Array) -> float | None:
    if certificate.transformed_labels is None:
        return None
    size = certificate.sizes["transformed_labels"]
    flat = [e for row in certificate.transformed_labels for e in (row if isinstance(row, tuple) else (row,))]
    values = to_numpy(transformed).ravel().tolist()
    return max(_lost(ball, size, value) or 0.0 for ball, value in zip(flat, values, strict=True))
