"""`predict` without an eigendecomposition: Cholesky, Lanczos and conjugate gradients, for problems too large for one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import array_api_compat as compat
import numpy as np

from theory.arrays import Array, namespace, scalar
from theory.errors import InvalidInput, NotConverged
from theory.numeric.kernels.named import check_cross
from theory.numeric.solvers.cholesky import CholeskyFactor, SingularGram
from theory.numeric.solvers.conjugate_gradients import conjugate_gradients
from theory.numeric.solvers.lanczos import Descent, descent, lanczos, largest_eigenvalue
from theory.numeric.solvers.operators import Dense, Operator, Progress, Tiled, assemble, cross_times, is_relu
from theory.numeric.solvers.plan import preconditioner_rank
from theory.numeric.solvers.preconditioner import LowRank
from theory.numeric.spectrum import GramSpectrum, Steps
from theory.outcome import Trajectory, TransferOutcome
from theory.predict import GramBlocks, test_scores
from theory.problem import Schedule, TransferProblem, rate
from theory.residuals import Residuals
from theory.rules import SquaredLoss

# Rows of each set on which a Gram function is checked.
_SEEN = 512


class GramSource(Protocol):
    """Where Gram matrices between the sets `source`, `target` and `test` come from."""

    def operator(self, name: str, held: bool) -> Operator:
        """The matrix within a set; `held` in memory, and then the caller's own to overwrite."""

    def cross(self, rows: str, columns: str, V: Array) -> Array:
        """The block between two sets times `V` (n', c)."""


@dataclass(frozen=True, eq=False)
class FromKernel:
    """Evaluated when needed, and let go after."""

    kernel: Callable[..., Array]
    inputs: dict[str, Array]

    @classmethod
    def of(cls, problem: TransferProblem, kernel: Callable[..., Array]) -> FromKernel:
        """The matrices of `kernel` on the inputs of a problem; `InvalidInput` where they cannot be those of a Gram function."""
        sets = {"source": problem.source, "target": problem.target, "test": problem.test}
        inputs = {name: pair[0] for name, pair in sets.items() if pair is not None}
        if not is_relu(kernel):
            # Tiles of one triangle are all that is made later: whether they belong together is seen on the first rows.
            some = {name: X[: min(_SEEN, X.shape[0]), :] for name, X in inputs.items()}
            within = {name: kernel(some[name]) for name in ("source", "target")}
            for name, block in within.items():
                _check_symmetric(block, name)
            check_cross(kernel(some["target"], some["source"]), within["target"], within["source"])
        return cls(kernel, inputs)

    def operator(self, name: str, held: bool) -> Operator:
        """See `GramSource`."""
        X = self.inputs[name]
        return Dense(assemble(self.kernel, X)) if held else Tiled(self.kernel, X)

    def cross(self, rows: str, columns: str, V: Array) -> Array:
        """See `GramSource`."""
        return cross_times(self.kernel, self.inputs[rows], self.inputs[columns], V)


@dataclass(frozen=True, eq=False)
class FromBlocks:
    """Given as blocks, which are never written to."""

    gram: GramBlocks

    def operator(self, name: str, held: bool) -> Operator:
        """See `GramSource`."""
        H = getattr(self.gram, name)
        _check_symmetric(H, name)
        return Dense(np.array(H) if held and isinstance(H, np.ndarray) else H)

    def cross(self, rows: str, columns: str, V: Array) -> Array:
        """See `GramSource`."""
        if (rows, columns) == ("source", "target"):
            return self.gram.target_source.T @ V
        return getattr(self.gram, f"{rows}_{columns}") @ V


class Iterative:
    """A problem solved by `solver`, one of `cholesky`, `lanczos` and `conjugate-gradients`.

    Parameters
    ----------
    problem : TransferProblem
    grams : GramSource
    residuals : Residuals
    solver : str
    fallback : bool
        Whether conjugate gradients may stand in where Cholesky finds a matrix singular.
    progress : callable, optional
    """

    def __init__(
        self,
        problem: TransferProblem,
        grams: GramSource,
        residuals: Residuals,
        solver: str,
        fallback: bool,
        progress: Progress | None,
    ) -> None:
        self.problem, self.grams, self.residuals = problem, grams, residuals
        self.solver, self.fallback, self.progress = solver, fallback, progress

    def outcome(self, schedule: Schedule, rung: str) -> TransferOutcome:
        """Pretraining and fine-tuning by plain gradient descent.

        Raises
        ------
        InvalidInput, UnstableStep, NotConverged, SingularGram
            As `predict` says.
        """
        rule, sets = SquaredLoss(), self.residuals
        y_P, y_Q = (_columns(y) for y in (sets.y_P, sets.y_Q))
        c = y_P.shape[1]
        xp = namespace(y_P)
        k_P, k_Q = schedule.source_steps, schedule.target_steps

        source = _Stage(self, "source", schedule.source_lr, "source_lr", k_P, schedule.allow_unstable)
        if k_P is None:
            alpha, left_P = source.to_end(y_P)
        else:
            (found,) = source.descend([y_P], (k_P,))
            alpha, left_P = found.coefficients, found.residual
        source.release()

        remaining = y_Q - self.grams.cross("target", "source", alpha)
        target = _Stage(self, "target", schedule.target_lr, "target_lr", k_Q, schedule.allow_unstable)
        # Without snapshots asked for, training to the end is seen at its two ends only: the rest would cost Lanczos steps.
        recorded = schedule.recorded_steps() if k_Q is not None or schedule.snapshots else (0,)
        finite = recorded if k_Q is None else (*recorded, k_Q)
        runs = target.descend([remaining, y_Q], finite)
        losses, moved = [list(run.loss) for run in runs], [list(run.displacement) for run in runs]
        ends = [(run.coefficients, run.residual) for run in runs]
        gain, gain_reason = None, None
        try:
            both, left = target.to_end(xp.concat([remaining, y_Q], axis=1))
        except (SingularGram, NotConverged) as error:
            if k_Q is None:
                raise
            gain_reason = f"{error}; solver='eigh' says whether the labels are in its range"
        else:
            energies = []
            for i, y in enumerate((remaining, y_Q)):
                x, r = both[:, i * c : (i + 1) * c], left[:, i * c : (i + 1) * c]
                # yᵀH⁻¹y up to rᵀH⁻¹r.
                energies.append(max(0.0, scalar(xp.sum(y * x) + xp.sum(x * r))))
                if k_Q is None:
                    losses[i].append(_square(r) / 2)
                    moved[i].append(math.sqrt(max(0.0, scalar(xp.sum(x * (y - r))))))
                    ends[i] = x, r
            if energies[1] == 0:
                gain_reason = "the target labels equal the initial outputs: there is nothing to learn from scratch"
            else:
                gain = 1 - math.sqrt(energies[0] / energies[1])
        target.release()

        # The way back to the source, at all recorded steps at once: one visit to the block between the sets.
        gammas = [*runs[0].path, ends[0][0]] if k_Q is None else list(runs[0].path)
        back = self.grams.cross("source", "target", xp.concat(gammas, axis=1))
        on_source = [left_P - back[:, i * c : (i + 1) * c] for i in range(len(gammas))]
        forgotten = tuple(_square(r) / 2 for r in on_source)
        steps = tuple(float(k) for k in finite) + ((math.inf,) if k_Q is None else ())

        def shaped(u: Array) -> Array:
            return sets.like_labels(u[:, 0] if sets.y_P.ndim == 1 else u)

        start = [_columns(u) for u in sets.start]
        tests = {}
        if self.problem.test is not None:
            gamma, scratch = (end[0] for end in ends)
            on_test = self.grams.cross("test", "target", xp.concat([gamma, scratch], axis=1))
            pretrained = start[2] + self.grams.cross("test", "source", alpha)
            tests = test_scores(self.problem, shaped(pretrained + on_test[:, :c]), shaped(start[2] + on_test[:, c:]))
        reason = "; ".join(dict.fromkeys([*source.notes, *target.notes])) or None
        return TransferOutcome(
            rung=rung,
            gradient_energy=_square(remaining),
            gradient_energy_scratch=_square(y_Q),
            displacement=moved[0][-1],
            displacement_scratch=moved[1][-1],
            gain=gain,
            gain_reason=gain_reason,
            target_loss=losses[0][-1],
            target_loss_scratch=losses[1][-1],
            source_loss_pretrained=rule.loss(y_P, left_P),
            source_loss=forgotten[-1],
            source_outputs=shaped(start[0] + y_P - on_source[-1]),
            target_outputs=shaped(start[1] + y_Q - ends[0][1]),
            pretrained_target_outputs=shaped(start[1] + y_Q - remaining),
            trajectory=Trajectory(steps=steps, loss=tuple(losses[0]), displacement=tuple(moved[0]), source_loss=forgotten),
            trajectory_scratch=Trajectory(steps=steps, loss=tuple(losses[1]), displacement=tuple(moved[1])),
            source_rank=source.rank,
            target_rank=target.rank,
            source_steps=k_P,
            target_steps=k_Q,
            source_lr=source.lr,
            target_lr=target.lr,
            stable=True,
            solver=self.solver,
            solver_reason=reason,
            **tests,
        )


class _Stage:
    """The Gram matrix of one set while it is in use."""

    def __init__(self, whole: Iterative, name: str, lr: float | None, lr_name: str, steps: Steps, allow_unstable: bool) -> None:
        self.whole, self.name = whole, name
        self.rank: int | None = None
        self.notes: list[str] = []
        self.operator: Operator | None = whole.grams.operator(name, held=whole.solver != "conjugate-gradients")
        like = self.operator.like
        xp = namespace(like)
        self.largest = largest_eigenvalue(self.operator, progress=self._progress())
        top = xp.asarray([self.largest], dtype=like.dtype, device=compat.device(like))
        one_mode = GramSpectrum(top, xp.ones_like(top)[:, None], 0.0)
        self.lr = rate(lr, one_mode)
        if not one_mode.check_step(self.lr, steps, lr_name, allow_unstable):
            raise InvalidInput(
                f"{lr_name} is {self.lr:.6g}, above 2/λ_max = {2 / self.largest:.6g}, and the solver {whole.solver}; solver='eigh' is "
                "allowed with unstable steps"
            )

    def descend(self, starts: list[Array], steps: Sequence[int]) -> list[Descent]:
        """`steps` of descent from each of `starts`, which share every product with the matrix."""
        assert self.operator is not None
        if max(steps) == 0:
            many = len(steps)
            still = [namespace(Y).zeros_like(Y) for Y in starts]
            return [
                Descent(zero, Y, (_square(Y) / 2,) * many, (0.0,) * many, (zero,) * many, 0) for zero, Y in zip(still, starts, strict=True)
            ]
        together = namespace(starts[0]).concat(starts, axis=1)
        spaces = lanczos(self.operator, together, self.lr, max(steps), progress=self._progress())
        c = starts[0].shape[1]
        return [descent(spaces[i * c : (i + 1) * c], self.lr, steps) for i in range(len(starts))]

    def to_end(self, Y: Array) -> tuple[Array, Array]:
        """`H⁻¹Y` and `Y − H H⁻¹Y`. A held matrix may be overwritten: nothing else can be asked after."""
        operator, self.operator = self.operator, None
        assert operator is not None
        if isinstance(operator, Dense) and self.whole.solver != "conjugate-gradients":
            try:
                factor = CholeskyFactor.of(operator.H, self.largest, self._progress())
                x, _ = factor.solve(Y)
            except SingularGram as error:
                if not self.whole.fallback:
                    raise SingularGram(f"the {self.name}: {error}") from None
                del operator
                self.notes.append(f"conjugate gradients in place of Cholesky on the {self.name}: {error}")
            else:
                self.rank = factor.size
                return x, Y - factor.times(x)
            operator = self.whole.grams.operator(self.name, held=False)
        self.notes.append("conjugate gradients do not tell the rank")
        preconditioner = LowRank.of(operator, preconditioner_rank(operator.size), progress=self._progress())
        found = conjugate_gradients(operator, Y, preconditioner=preconditioner, progress=self._progress())
        return found.x, found.residual

    def release(self) -> None:
        """Let the matrix go before the next one comes."""
        self.operator = None
        if self.rank is None and not self.notes:
            self.notes.append("Lanczos does not tell the rank")

    def _progress(self) -> Progress | None:
        return None if self.whole.progress is None else self._say

    def _say(self, what: str, share: float) -> None:
        if self.whole.progress is not None:
            self.whole.progress(f"{self.name}: {what}", share)


def _check_symmetric(H: Array, name: str) -> None:
    """Raise `InvalidInput` for a matrix that is not; by rows, so that no second one is held."""
    xp = namespace(H)
    n, step = int(H.shape[0]), 512
    skew = size = 0.0
    for start in range(0, n, step):
        rows = H[start : min(start + step, n), :]
        skew = max(skew, scalar(xp.max(xp.abs(rows - H[:, start : min(start + step, n)].T))))
        size = max(size, scalar(xp.max(xp.abs(rows))))
    if skew > float(xp.finfo(H.dtype).eps) ** 0.5 * size:
        raise InvalidInput(f"the {name} Gram matrix is not symmetric: |H − Hᵀ| reaches {skew:.3g} with entries up to {size:.3g}")


def _columns(y: Array) -> Array:
    return y[:, None] if y.ndim == 1 else y


def _square(y: Array) -> float:
    return scalar(namespace(y).sum(y * y))
