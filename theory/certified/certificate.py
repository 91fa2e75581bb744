"""Certified numbers of a transfer: what the closed forms give for exactly the floats of a problem, each in a ball that holds it."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from theory.arrays import to_numpy
from theory.errors import InvalidInput
from theory.predict import vectors
from theory.problem import Schedule, TransferProblem, check_kinds, whole

if TYPE_CHECKING:
    from flint import arb

_LEAST_PRECISION = 64
_GUARD_BITS = 64
"""Bits beyond those of the radius at the first try: enough up to a condition number of about 1e10."""

_TITLES = {
    "source_lambda_min": "λ_min(H_P)",
    "source_lambda_max": "λ_max(H_P)",
    "lambda_min": "λ_min(H_Q)",
    "lambda_max": "λ_max(H_Q)",
    "gradient_energy": "‖ỹ‖²",
    "gradient_energy_scratch": "‖y_Q‖²",
    "inverse_norm_squared": "ỹᵀ H_Q⁻¹ ỹ",
    "inverse_norm_squared_scratch": "y_Qᵀ H_Q⁻¹ y_Q",
    "displacement": "‖W(Q) − W(P)‖",
    "displacement_scratch": "‖W(Q) − W(0)‖ from scratch",
    "gain": "gain",
    "target_loss": "loss on Q",
    "target_loss_scratch": "loss on Q from scratch",
    "generalisation_bound": "bound on the expected loss",
    "generalisation_bound_scratch": "the bound from scratch",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Certificate:
    """Arb balls (`flint.arb`), each proven to contain its number; `None` where none is, with the reason in `reasons`.

    Attributes
    ----------
    source_lambda_min, source_lambda_max, lambda_min, lambda_max
        Extreme eigenvalues of `H_P` and of `H_Q`; the smallest is exactly 0 for a singular matrix.
    transformed_labels : tuple of balls, or of tuples of balls for labels (n, c)
        `y_{P→Q}(k)`; `None` where not proven.
    gradient_energy, gradient_energy_scratch
        `‖ỹ‖²` with `ỹ = y_Q − y_{P→Q}(k)`, and `‖y_Q‖²`.
    inverse_norm_squared, inverse_norm_squared_scratch
        `ỹᵀH_Q⁻¹ỹ` and `y_QᵀH_Q⁻¹y_Q`; `None` where infinite.
    displacement, displacement_scratch
        How far the weights move on the target under the schedule; to the end `√(ỹᵀH_Q⁺ỹ)`, which bounds it at every step.
    gain
        `1 − √(ỹᵀH_Q⁻¹ỹ / y_QᵀH_Q⁻¹y_Q)`, the target stage to its end.
    target_loss, target_loss_scratch
        `½‖q_k(H_Q)ỹ‖²`, after the schedule's steps on the target.
    generalisation_bound, generalisation_bound_scratch
        `‖q_k(H_Q)ỹ‖/√n + 2B√(tr H_Q)/n + 3√(log(2B(B + 1)/δ)/(2n))`, `B = max(1, ⌈displacement⌉)`: on the expected loss, with
        probability `1 − δ`, for one output, a loss in [0, 1], 1-Lipschitz in the output and zero at the label, and target points
        drawn independently. The middle term is `√2 B/√n` for rows of unit norm.
    source_rank, target_rank : int
        Ranks of the Gram matrices, exactly.
    source_steps, target_steps : int or None
        Steps of the schedule; `None` for the end.
    radius, delta : float
        As asked for.
    precision : int
        Bits of the last computation.
    status : "certified", "partly certified" or "not certified"
        The first if every ball is there and as narrow as asked.
    reasons : mapping of names to text
        Why a ball is missing, or wider than asked.
    notes : tuple of text
        What else a reader must know.
    """

    source_lambda_min: arb | None
    source_lambda_max: arb | None
    lambda_min: arb | None
    lambda_max: arb | None
    transformed_labels: tuple[Any, ...] | None
    gradient_energy: arb | None
    gradient_energy_scratch: arb | None
    inverse_norm_squared: arb | None
    inverse_norm_squared_scratch: arb | None
    displacement: arb | None
    displacement_scratch: arb | None
    gain: arb | None
    target_loss: arb | None
    target_loss_scratch: arb | None
    generalisation_bound: arb | None
    generalisation_bound_scratch: arb | None
    source_rank: int
    target_rank: int
    source_steps: int | None
    target_steps: int | None
    radius: float
    delta: float
    precision: int
    sizes: Mapping[str, arb] = field(repr=False)
    """What the radius of each ball is relative to."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        """How much was asked for and is proven."""
        if not self.reasons:
            return "certified"
        return "partly certified" if any(ball is not None for _, ball in self.balls()) else "not certified"

    def balls(self) -> Iterator[tuple[str, arb | None]]:
        """Every number by name, the transformed labels aside."""
        for name in _TITLES:
            yield name, getattr(self, name)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary; balls as decimal strings `"mid ± rad"`, rounded outwards."""
        digits = int(self.precision * math.log10(2)) + 2
        labels = self.transformed_labels
        plain = ("source_rank", "target_rank", "source_steps", "target_steps", "radius", "delta", "precision", "status")
        return {
            **{name: None if ball is None else decimal(ball, digits) for name, ball in self.balls()},
            "transformed_labels": None if labels is None else _nested(labels, lambda ball: decimal(ball, digits)),
            **{name: getattr(self, name) for name in plain},
            "reasons": dict(self.reasons),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        """A table of what is certified, and why what is not is not."""
        digits = max(1, math.ceil(-math.log10(self.radius))) + 3
        width = max(map(len, _TITLES.values()))
        ranks = f"rank {self.source_rank} of H_P, {self.target_rank} of H_Q"
        lines = [f"{self.status}: radius {self.radius:g}, {self.precision} bits, {ranks}"]
        for name, ball in self.balls():
            shown = "" if ball is None else decimal(ball, digits)
            lines.append(f"  {_TITLES[name]:{width}s}  {'; '.join(filter(None, (shown, self.reasons.get(name))))}")
        if "transformed_labels" in self.reasons:
            lines.append(f"  {'y_{P→Q}':{width}s}  {self.reasons['transformed_labels']}")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.precision, self.radius, str(self.gain)))


def certify(
    problem: TransferProblem,
    schedule: Schedule | None = None,
    *,
    radius: float = 1e-12,
    delta: float = 0.05,
    max_precision: int = 4096,
) -> Certificate:
    """Numbers of a transfer in the kernel regime, each in a ball proven to contain it.

    The floats of the problem are taken as exact, and nothing is assumed of float64 arithmetic: approximations come from it, proofs
    from ball arithmetic. The precision is doubled until every ball is narrow enough.

    Parameters
    ----------
    problem : TransferProblem
        With a source, inputs (n, d); initial outputs are zero.
    schedule : Schedule, optional
        By default both stages are trained to their end. A step size left out is `1/λ_max`, the real number.
    radius : float in (0, 1)
        Largest radius, relative: to the number itself, and for what is a difference (`ỹ` and all that is made of it) to the numbers
        it is the difference of; for the gain to 1.
    delta : float in (0, 1)
        Probability with which the bound on the expected loss may fail.
    max_precision : int ≥ 64
        Bits at which to give up. What is then missing or too wide is told in `reasons`.

    Raises
    ------
    InvalidInput, UnstableStep
        For a problem without source or of other than vectors, arguments out of range, or a step size above `2/λ_max`.

    Notes
    -----
    Singular Gram matrices are no obstacle: whether one is singular is decided exactly (`theory.certified.rank`), and what depends on
    it is eliminated exactly. Labels outside the range of `H_Q` have no finite `yᵀH_Q⁻¹y`: the reason is given.
    """
    from theory.certified.balls import working_precision
    from theory.certified.numbers import Numbers
    from theory.certified.stage import ExactSet

    schedule = Schedule() if schedule is None else schedule
    check_kinds(problem, schedule, "certify")
    radius, delta = _share(radius, "radius"), _share(delta, "delta")
    max_precision = whole(max_precision, "max_precision")
    if max_precision < _LEAST_PRECISION:
        raise InvalidInput(f"max_precision is {max_precision}; at least {_LEAST_PRECISION} bits are allowed")
    vectors(problem)
    assert problem.source is not None
    source, target = (ExactSet.of(*map(to_numpy, pair)) for pair in (problem.source, problem.target))

    bits = min(max_precision, _GUARD_BITS + _LEAST_PRECISION * math.ceil(-math.log2(radius) / _LEAST_PRECISION))
    while True:
        with working_precision(bits):
            found = Numbers.of(source, target, schedule, delta)
            too_wide = found.too_wide(radius)
        if not too_wide or bits == max_precision:
            break
        bits = min(2 * bits, max_precision)

    reasons = {name: f"not certified, because {reason}" for name, reason in found.undefined.items()}
    for name, reached in too_wide.items():
        reasons[name] = (
            f"not certified, because {bits} bits prove nothing of it (max_precision={max_precision})"
            if reached is None
            else f"wider than asked: {bits} bits reach a radius of {reached:.1g} (max_precision={max_precision})"
        )
    columns = found.transformed
    shaped = None
    if columns is not None:
        rows = columns.tolist()
        shaped = tuple(row[0] for row in rows) if problem.target[1].ndim == 1 else tuple(map(tuple, rows))
    return Certificate(
        **{name: found.balls.get(name) for name in _TITLES},
        transformed_labels=shaped,
        source_rank=source.span.rank,
        target_rank=target.span.rank,
        source_steps=schedule.source_steps,
        target_steps=schedule.target_steps,
        radius=radius,
        delta=delta,
        precision=bits,
        sizes=found.sizes,
        reasons=reasons,
        notes=found.notes,
    )


def decimal(ball: arb, digits: int) -> str:
    """`"mid ± rad"` with `digits` digits, rounded outwards; `"mid"` alone is exact."""
    text: str = ball.str(digits)
    if not text.startswith("["):
        return text
    middle, _, spread = text[1:-1].partition("+/- ")
    return f"{middle.strip() or '0'} ± {spread}"


def _nested(labels: tuple[Any, ...], shown: Callable[[arb], str]) -> list[Any]:
    return [_nested(entry, shown) if isinstance(entry, tuple) else shown(entry) for entry in labels]


def _share(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < float(value) < 1:
        raise InvalidInput(f"{name} is {value!r}; a number in (0, 1) is allowed")
    return float(value)
