"""What is to be transferred, and how it is trained: the two inputs that every rung of the ladder shares."""

from __future__ import annotations

import hashlib
import math
import numbers
import operator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from theory.arrays import Array, as_float, namespace, to_numpy
from theory.errors import InvalidInput

if TYPE_CHECKING:
    from theory.numeric.spectrum import GramSpectrum

LabelledSet = tuple[Array, Array]
"""Inputs `(n, d)` (any trailing shape for CNNs) and labels `(n,)` or `(n, c)`."""


def labelled_set(pair: Any, name: str) -> LabelledSet:
    """Check one `(X, y)` pair and return it as floating-point arrays.

    Raises
    ------
    InvalidInput
        For anything but finite numbers in matching, non-empty shapes, or an all-zero row of a matrix of inputs.
    """
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise InvalidInput(f"{name} is {type(pair).__name__}; a pair (X, y) is allowed")
    X, y = as_float(pair[0], f"{name} X"), as_float(pair[1], f"{name} y")
    if X.ndim < 2 or 0 in X.shape:
        raise InvalidInput(f"{name} X has shape {tuple(X.shape)}; (n, d) with n, d ≥ 1 is allowed")
    if y.ndim not in (1, 2) or 0 in y.shape:
        raise InvalidInput(f"{name} y has shape {tuple(y.shape)}; (n,) or (n, c) with n, c ≥ 1 is allowed")
    if X.shape[0] != y.shape[0]:
        raise InvalidInput(f"{name} has {X.shape[0]} inputs and {y.shape[0]} labels; the numbers must be equal")
    try:
        xp = namespace(X, y)
    except InvalidInput as error:
        raise InvalidInput(f"{name}: {error}") from None
    top = float(xp.finfo(X.dtype).max)
    largest_label = float(to_numpy(xp.max(xp.abs(y))))
    if y.dtype != X.dtype and largest_label > top:
        raise InvalidInput(f"{name} y reaches {largest_label:.3g}; at most {top:.3g} is allowed for {X.dtype} inputs")
    if X.ndim == 2:
        largest = to_numpy(xp.max(xp.abs(X), axis=1))
        if not largest.all():
            row = int(largest.argmin())
            raise InvalidInput(
                f"{name} X row {row} is all zeros and has no direction; non-zero rows are allowed "
                "(drop it, or append a constant coordinate)"
            )
    return X, xp.astype(y, X.dtype) if y.dtype != X.dtype else y


@dataclass(frozen=True, kw_only=True, eq=False)
class TransferProblem:
    """A source `P`, a target `Q` and, optionally, labelled test points of the target.

    Parameters
    ----------
    source : pair of arrays, or None
        `(X_P, y_P)`, shapes `(n_P, d)` and `(n_P,)` or `(n_P, c)`; `None` where a pretrained model stands for it.
    target : pair of arrays
        `(X_Q, y_Q)`, shapes `(n_Q, d)` and `(n_Q,)` or `(n_Q, c)`.
    test : pair of arrays, optional
        `(X_T, y_T)`.

    Rows are used as they are: nothing is normalised. Two problems are equal when their contents are.

    Raises
    ------
    InvalidInput
        For NaN or infinite entries, mismatched lengths or dimensions, empty sets and all-zero input rows.
    """

    source: LabelledSet | None
    target: LabelledSet
    test: LabelledSet | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "target", labelled_set(self.target, "target"))
        for name in ("source", "test"):
            pair = getattr(self, name)
            if pair is None:
                continue
            X, y = labelled_set(pair, name)
            object.__setattr__(self, name, (X, y))
            if X.shape[1:] != self.target[0].shape[1:]:
                raise InvalidInput(
                    f"{name} inputs have shape (n, {_shape(X)}) and target inputs (n, {_shape(self.target[0])}); "
                    "the dimensions must be equal"
                )
            if y.shape[1:] != self.target[1].shape[1:]:
                raise InvalidInput(
                    f"{name} labels have shape {tuple(y.shape)} and target labels {tuple(self.target[1].shape)}; "
                    "the numbers of outputs must be equal"
                )
            try:
                namespace(X, self.target[0])
            except InvalidInput as error:
                raise InvalidInput(f"{name} and target: {error}") from None
            if X.dtype != self.target[0].dtype:
                raise InvalidInput(f"{name} inputs are {X.dtype} and target inputs {self.target[0].dtype}; one dtype is allowed")

    @property
    def n_outputs(self) -> int:
        """Number of label columns `c`; 1 for scalar labels."""
        y = self.target[1]
        return 1 if y.ndim == 1 else int(y.shape[1])

    @property
    def label_kind(self) -> str:
        """`"sign"` (scalar, all ±1), `"one-hot"`, or `"real"`: decides what an error rate means."""
        labels = [to_numpy(pair[1]) for pair in (self.target, self.test) if pair is not None]
        if all(y.ndim == 1 and (abs(y) == 1).all() for y in labels):
            return "sign"
        if all(y.ndim == 2 and y.shape[1] > 1 and ((y == 0) | (y == 1)).all() and (y.sum(axis=1) == 1).all() for y in labels):
            return "one-hot"
        return "real"

    @property
    def content_hash(self) -> str:
        """SHA-256 over every array's shape, dtype and values, in hexadecimal."""
        digest = hashlib.sha256()
        for pair in (self.source, self.target, self.test):
            for array in pair or ():
                host = to_numpy(array)
                digest.update(f"{host.shape}{host.dtype.str}".encode())
                digest.update(host.tobytes())
            digest.update(b"|")
        return digest.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TransferProblem) and self.content_hash == other.content_hash

    def __hash__(self) -> int:
        return hash(self.content_hash)

    def __repr__(self) -> str:
        sets = ((name, getattr(self, name)) for name in ("source", "target", "test"))
        return (
            f"TransferProblem({', '.join(f'{name}={None if p is None else (tuple(p[0].shape), tuple(p[1].shape))}' for name, p in sets)})"
        )


def _shape(X: Array) -> str:
    return ", ".join(str(s) for s in X.shape[1:])


ANCHORS = ("zero", "initial", "start")
"""What weight decay can pull towards."""

LOSSES = ("squared", "cross-entropy")
"""Losses whose training has an exact recursion in output space."""


@dataclass(frozen=True)
class Schedule:
    """Gradient descent in the two stages.

    Parameters
    ----------
    source_steps, target_steps : int ≥ 0, optional
        `None` trains to the end: the limit in closed form, a small residual in a trained net.
    source_lr, target_lr : float > 0, optional
        `None` takes `1/λ_max` of the stage's infinite-width Gram matrix.
    snapshots : tuple of int, optional
        Steps of the target stage that the trajectory records, besides its start and end. When empty, 1, 2, 5,
        10, 20, … below `target_steps`.
    momentum : float in [0, 1)
        `μ` of heavy ball, `v ← μv + gradient`, `W ← W − ηv`; the buffer is empty at the start of each stage.
    weight_decay : float ≥ 0
        `β` of the penalty `½β‖W − anchor‖²` in both stages.
    anchor : "zero", "initial" or "start"
        What weight decay pulls towards: 0, as an optimiser's weight decay does; `W(0)` in both stages; or each stage's own start,
        `W(0)` on the source and `W(P)` on the target (L2-SP).
    loss : "squared" or "cross-entropy"
        `½‖u − y‖²`, or cross-entropy: the softmax's for labels `(n, c)` of probabilities, the logistic loss for `(n,)` of ±1. It has no
        closed form and no limit: both numbers of steps must be given.
    allow_unstable : bool
        Run a step size above the largest stable one, `2/λ_max` for plain descent, instead of raising; the outcome then has
        `stable=False`.

    Adaptive optimisers (Adam) have no place here: they divide each weight's gradient by a history of that weight, so their steps leave
    the span of the features and no recursion in output space follows them.

    Raises
    ------
    InvalidInput
        For a value outside these ranges.
    """

    source_steps: int | None = None
    target_steps: int | None = None
    source_lr: float | None = None
    target_lr: float | None = None
    snapshots: tuple[int, ...] = field(default=(), kw_only=True)
    momentum: float = field(default=0.0, kw_only=True)
    weight_decay: float = field(default=0.0, kw_only=True)
    anchor: str = field(default="zero", kw_only=True)
    loss: str = field(default="squared", kw_only=True)
    allow_unstable: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("source_steps", "target_steps"):
            steps = getattr(self, name)
            if steps is not None:
                object.__setattr__(self, name, whole(steps, name))
        for name in ("source_lr", "target_lr"):
            lr = getattr(self, name)
            if lr is not None:
                if isinstance(lr, bool) or not isinstance(lr, numbers.Real) or not 0 < float(lr) < math.inf:
                    raise InvalidInput(f"{name} is {lr!r}; a finite number above 0, or None for 1/λ_max, is allowed")
                object.__setattr__(self, name, float(lr))
        try:
            given = tuple(self.snapshots)
        except TypeError:
            raise InvalidInput(f"snapshots is {self.snapshots!r}; a tuple of whole numbers ≥ 0 is allowed") from None
        snapshots = tuple(sorted({whole(k, "a snapshot") for k in given}))
        if snapshots and self.target_steps is not None and snapshots[-1] > self.target_steps:
            raise InvalidInput(f"a snapshot at step {snapshots[-1]} was given; at most target_steps = {self.target_steps} is allowed")
        object.__setattr__(self, "snapshots", snapshots)
        for name, below, text in (("momentum", 1.0, "a number in [0, 1)"), ("weight_decay", math.inf, "a finite number ≥ 0")):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= float(value) < below:
                raise InvalidInput(f"{name} is {value!r}; {text} is allowed")
            object.__setattr__(self, name, float(value))
        for name, choices in (("anchor", ANCHORS), ("loss", LOSSES)):
            if getattr(self, name) not in choices:
                raise InvalidInput(f"{name} is {getattr(self, name)!r}; one of {', '.join(map(repr, choices))} is allowed")

    def require_plain(self, what: str) -> None:
        """Raise `InvalidInput` unless this is plain gradient descent on the squared loss, which is all that `what` covers."""
        for name, plain in (("momentum", 0.0), ("weight_decay", 0.0), ("loss", "squared")):
            if getattr(self, name) != plain:
                raise InvalidInput(
                    f"{name} is {getattr(self, name)!r}; {what} is for plain gradient descent: momentum=0, weight_decay=0 and "
                    "loss='squared' are allowed (predict takes the others)"
                )

    def recorded_steps(self) -> tuple[int, ...]:
        """Steps of the target stage, ascending from 0, that a trajectory records before its end."""
        if self.snapshots:
            steps = {0, *self.snapshots}
        else:
            limit = self.target_steps if self.target_steps is not None else 10_001
            steps = {0, *(m * 10**e for e in range(7) for m in (1, 2, 5) if m * 10**e < limit)}
        return tuple(sorted(k for k in steps if self.target_steps is None or k < self.target_steps))

    def with_rates(self, source: GramSpectrum | None, target: GramSpectrum) -> Schedule:
        """This schedule with `None` step sizes replaced by `1/λ_max` of the given spectra."""
        source_lr = self.source_lr if source is None else rate(self.source_lr, source)
        return replace(self, source_lr=source_lr, target_lr=rate(self.target_lr, target))


def check_kinds(problem: Any, schedule: Any, what: str = "this") -> None:
    """Raise `InvalidInput` unless the two are what their names say, and the schedule is of plain gradient descent, which `what` is for."""
    if not isinstance(problem, TransferProblem) or not isinstance(schedule, Schedule):
        given = f"{type(problem).__name__} and {type(schedule).__name__}"
        raise InvalidInput(f"{given} were given; a TransferProblem and a Schedule are allowed")
    schedule.require_plain(what)


def rate(lr: float | None, spectrum: GramSpectrum) -> float:
    """`lr` itself, or `1/λ_max` when it is `None` (1 for a zero matrix, where no step moves anything)."""
    if lr is not None:
        return lr
    lr = 1 / spectrum.largest if spectrum.largest > 0 else 1.0
    if math.isinf(lr):
        raise InvalidInput(
            f"λ_max of the Gram matrix is {spectrum.largest:.3g}, too small for a step size 1/λ_max; larger inputs are needed"
        )
    return lr


_MOST_STEPS = 10**30  # far beyond any run, and within float32


def whole(value: Any, name: str) -> int:
    """`value` as a non-negative int; `InvalidInput` for anything else."""
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = -1
    if number < 0:
        raise InvalidInput(f"{name} is {value!r}; a whole number ≥ 0 is allowed")
    if number > _MOST_STEPS:
        raise InvalidInput(f"{name} is about 2^{number.bit_length()}; at most {_MOST_STEPS:.0e} is allowed")
    return number
