"""What a rung of the ladder answers: one vocabulary for prediction, frozen kernel, trained net and CNN."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from theory.arrays import Array, namespace, scalar, to_numpy


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """Fine-tuning seen at recorded steps.

    Attributes
    ----------
    steps : tuple of float
        Ascending from 0; `inf` stands for the limit.
    loss : tuple of float
        `½‖u_Q − y_Q‖²`, or the cross-entropy, at each.
    displacement : tuple of float or None
        `‖W − W(P)‖_F` at each; `None` where the outcome's is.
    source_loss : tuple of float, optional
        The forgetting curve: loss on the source at each. `None` where fine-tuning started from `W(0)`, or nobody looked.
    """

    steps: tuple[float, ...]
    loss: tuple[float, ...]
    displacement: tuple[float | None, ...]
    source_loss: tuple[float, ...] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class TransferOutcome:
    """The result of pretraining on `P` and fine-tuning on `Q`; `*_scratch` is the target stage run from `W(0)`.

    Attributes
    ----------
    rung : str
        `"infinite"` (theory), `"frozen"` (a net's own kernel at `W(0)`) or `"trained"`.
    gradient_energy, gradient_energy_scratch : float
        `‖∂L_Q/∂X¹‖_F² = ‖u_Q − y_Q‖²` (for cross-entropy `‖softmax u_Q − y_Q‖²`) at the start of fine-tuning, and at `W(0)`.
    displacement, displacement_scratch : float or None
        `‖W(Q) − W(P)‖_F`, and the distance the same target schedule moves from `W(0)`. `None` with `displacement_reason` where decay
        towards zero shrinks a `W(0)` whose norm is not given.
    gain : float or None
        Predicted `1 − √(ỹᵀH_Q⁻¹ỹ / y_Qᵀ H_Q⁻¹ y_Q)` from this rung's kernel, the target stage always to its end and without decay; a
        trained net carries that of its own frozen kernel. `None` with `gain_reason` where it is undefined.
    target_loss, target_loss_scratch : float
        `½‖u_Q − y_Q‖²`, or the cross-entropy, after fine-tuning; a penalty is not counted.
    source_loss_pretrained, source_loss : float or None
        The same on the source, before and after fine-tuning.
    source_outputs, target_outputs, test_outputs, test_outputs_scratch : array or None
        Outputs after fine-tuning, shaped like the labels.
    pretrained_target_outputs : array or None
        `u_Q` at `W(P)`, where fine-tuning starts.
    test_error, test_error_scratch : float or None
        Error rate on the test points: by sign for ±1 labels, by argmax for one-hot ones, `None` for real ones.
    test_mse, test_mse_scratch : float or None
        Mean over test points of `‖f(x) − y‖²`.
    trajectory, trajectory_scratch : Trajectory
    source_rank, target_rank : int or None
        Numerical ranks of the Gram matrices.
    source_steps, target_steps : int or None
        Steps taken; `None` for the limit.
    source_lr, target_lr : float
        Step sizes used.
    stable : bool
        Whether both step sizes were at most the largest stable one, `2/λ_max` for plain descent.
    solver : str or None
        How a prediction solved with its Gram matrices; see `predict`. `solver_reason` says what it left `None`, and why it was not another.
    frozen : TransferOutcome or None
        For a trained net, the rung below it: the same net with its kernel frozen at `W(0)`.
    """

    rung: str
    gradient_energy: float
    gradient_energy_scratch: float
    displacement: float | None
    displacement_scratch: float | None
    displacement_reason: str | None = None
    gain: float | None
    gain_reason: str | None = None
    target_loss: float
    target_loss_scratch: float
    source_loss_pretrained: float | None = None
    source_loss: float | None = None
    source_outputs: Array | None = None
    target_outputs: Array | None = None
    test_outputs: Array | None = None
    test_outputs_scratch: Array | None = None
    pretrained_target_outputs: Array | None = None
    test_error: float | None = None
    test_error_scratch: float | None = None
    test_mse: float | None = None
    test_mse_scratch: float | None = None
    trajectory: Trajectory
    trajectory_scratch: Trajectory
    source_rank: int | None = None
    target_rank: int | None = None
    source_steps: int | None = None
    target_steps: int | None = None
    source_lr: float | None = None
    target_lr: float
    stable: bool = True
    solver: str | None = None
    solver_reason: str | None = None
    frozen: TransferOutcome | None = None

    @property
    def measured_gain(self) -> float | None:
        """`1 − displacement/displacement_scratch`; `None` where scratch does not move, or a displacement is `None`."""
        if self.displacement is None or not self.displacement_scratch:
            return None
        return 1 - self.displacement / self.displacement_scratch

    @property
    def forgetting(self) -> float | None:
        """Rise of the source loss through fine-tuning; negative where fine-tuning helps the source."""
        if self.source_loss is None or self.source_loss_pretrained is None:
            return None
        return self.source_loss - self.source_loss_pretrained

    def scalars(self) -> dict[str, float | None]:
        """Every number of the outcome by name; what a record stores and a comparison subtracts."""
        names = (
            "gradient_energy gradient_energy_scratch displacement displacement_scratch gain measured_gain target_loss target_loss_scratch "
            "source_loss_pretrained source_loss forgetting test_error test_error_scratch test_mse test_mse_scratch"
        )
        return {name: getattr(self, name) for name in names.split()}

    def to_dict(self, arrays: bool = False) -> dict[str, Any]:
        """A JSON-ready dictionary; `arrays=True` includes the outputs as nested lists."""
        out: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name == "frozen":
                value = None if value is None else value.to_dict(arrays)
            elif isinstance(value, Trajectory):
                value = {
                    "steps": [None if math.isinf(k) else k for k in value.steps],
                    "loss": list(value.loss),
                    "displacement": list(value.displacement),
                    "source_loss": None if value.source_loss is None else list(value.source_loss),
                }
            elif value is not None and hasattr(value, "shape"):
                if not arrays:
                    continue
                value = to_numpy(value).tolist()
            out[item.name] = value
        return out | {"measured_gain": self.measured_gain, "forgetting": self.forgetting}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TransferOutcome) and self.to_dict(arrays=True) == other.to_dict(arrays=True)

    def __hash__(self) -> int:
        return hash((self.rung, self.displacement, self.gradient_energy, self.target_loss))

    def __sub__(self, other: TransferOutcome) -> OutcomeGap:
        """The gap between two rungs, number by number."""
        if not isinstance(other, TransferOutcome):
            return NotImplemented
        mine, theirs = self.scalars(), other.scalars()
        gaps = {name: None if a is None or (b := theirs[name]) is None else a - b for name, a in mine.items()}
        return OutcomeGap(absolute=gaps, reference=theirs)


@dataclass(frozen=True, kw_only=True)
class OutcomeGap:
    """Difference of two outcomes: `absolute[name]`, `relative(name)`; `None` where either side has no value."""

    absolute: dict[str, float | None]
    reference: dict[str, float | None]

    def relative(self, name: str) -> float | None:
        """`absolute[name]` over the magnitude of the value subtracted; `None` where that is zero."""
        gap, base = self.absolute[name], self.reference[name]
        return gap / abs(base) if gap is not None and base else None


def error_rate(kind: str, outputs: Array, labels: Array) -> float | None:
    """Share of test points misclassified; `kind` is `TransferProblem.label_kind`. An output of exactly 0 counts as wrong."""
    xp = namespace(outputs, labels)
    if kind == "sign":
        wrong = outputs * labels <= 0
    elif kind == "one-hot":
        wrong = xp.argmax(outputs, axis=1) != xp.argmax(labels, axis=1)
    else:
        return None
    return scalar(xp.mean(xp.astype(wrong, xp.float64)))


def mean_squared_error(outputs: Array, labels: Array) -> float:
    """Mean over rows of `‖f(x) − y‖²`."""
    xp = namespace(outputs, labels)
    return scalar(xp.sum((outputs - labels) ** 2)) / labels.shape[0]
