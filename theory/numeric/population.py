"""Learning and transfer from infinitely many samples: errors by eigenspace, where each is learnt on its own.

With `n → ∞` samples `H/n` becomes the operator of the kernel on the inputs' distribution, of eigenvalues `λ_ℓ`: in `k` steps of size `η`
the part of a teacher in eigenspace `ℓ` shrinks by `(1 − ηnλ_ℓ)^k`, on fresh points as on the samples. What matters is `ηn`, held fixed.
The part of eigenvalue 0 stays for ever: a floor that no number of samples, no source and no schedule goes below. (At finite `n`, too, what
is learnt lies in the span of the kernel, so the error is never below the floor; what lies in it acts as noise on the labels.)

Energies and eigenvalues are those of `theory.numeric.sphere`, or of any operator. Energy whose eigenvalue is not known (degrees beyond the
last) can stand as one more term of eigenvalue 0, which bounds errors from above, or be left out, which bounds them from below.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import array_api_compat as compat

from theory.arrays import Array, as_float, namespace, scalar
from theory.errors import InvalidInput, UnstableStep
from theory.numeric.spectrum import GramSpectrum, Steps, flow_residual_filter, residual_filter
from theory.numeric.turning import PretrainingCurve


def population_error(energies: Array, eigenvalues: Array, samples: float, lr: float, steps: Steps) -> float:
    """Mean squared error on fresh points after `k` steps, `n → ∞`: `Σ ‖f_ℓ‖² (1 − ηnλ_ℓ)^{2k}`; to the end the floor, `Σ_{λ_ℓ = 0} ‖f_ℓ‖²`.

    Parameters
    ----------
    energies, eigenvalues : (L,) arrays
        `‖f_ℓ‖²` and `λ_ℓ`, none negative.
    samples, lr : float
        `n` and `η`, of which only the product matters, `ηnλ_max ≤ 2`.
    steps : int or None
        `None` for the end.

    Raises
    ------
    InvalidInput
        For arrays that do not fit together or hold negative numbers, or numbers out of range.
    UnstableStep
        For `ηnλ_max > 2`, or at 2 for the end.
    """
    energies, eigenvalues = _by_eigenspace(eigenvalues, energies=energies)
    left = _left(eigenvalues, samples, lr, steps)
    return scalar(namespace(left).sum(energies * left**2))


def population_flow_error(energies: Array, eigenvalues: Array, samples: float, time: float) -> float:
    """As `population_error` for gradient flow: `Σ ‖f_ℓ‖² e^{−2nλ_ℓ t}`.

    Raises
    ------
    InvalidInput
        As `population_error`; also for a time that is negative or infinite.
    """
    energies, eigenvalues = _by_eigenspace(eigenvalues, energies=energies)
    _check_samples(samples)
    if not 0 <= time < math.inf:
        raise InvalidInput(f"time is {time}; 0 or more is allowed, and a finite number")
    left = flow_residual_filter(float(samples) * eigenvalues, float(time))
    return scalar(namespace(left).sum(energies * left**2))


@dataclass(frozen=True, eq=False)
class PopulationTransfer:
    """A source teacher and a target teacher by eigenspace, on one distribution of inputs.

    Parameters
    ----------
    eigenvalues : (L,) array
        `λ_ℓ ≥ 0`.
    source, target : (L,) arrays
        `‖f_{P,ℓ}‖²` and `‖f_{Q,ℓ}‖²`.
    cross : (L,) array
        `⟨f_{P,ℓ}, f_{Q,ℓ}⟩`; for two zonal teachers `c_ℓ c'_ℓ P_ℓ(w·w')`.

    Raises
    ------
    InvalidInput
        For arrays that do not fit together, negative energies, or a cross energy above the geometric mean of the two.
    """

    eigenvalues: Array
    source: Array
    target: Array
    cross: Array

    def __post_init__(self) -> None:
        source, target, eigenvalues = _by_eigenspace(self.eigenvalues, source=self.source, target=self.target)
        cross = as_float(self.cross, "cross")
        xp = namespace(eigenvalues, cross)
        if cross.shape != eigenvalues.shape:
            raise InvalidInput(f"cross has shape {tuple(cross.shape)}; that of the eigenvalues, {tuple(eigenvalues.shape)}, is allowed")
        # Rounding in the three energies.
        above = xp.abs(cross) - xp.sqrt(source * target) * (1 + 1e-6)
        if bool(xp.any(above > 1e-12 * (source + target))):
            at = int(scalar(xp.argmax(above)))
            most = scalar(xp.sqrt(source * target)[at])
            raise InvalidInput(f"cross[{at}] is {scalar(cross[at]):.6g}; at most √(source · target) = {most:.6g} is allowed")
        for name, value in (("eigenvalues", eigenvalues), ("source", source), ("target", target), ("cross", cross)):
            object.__setattr__(self, name, value)

    def remaining(self, samples: float, lr: float, steps: Steps) -> Array:
        """What `k` steps on `n → ∞` source samples leave to be learnt, by eigenspace.

        `‖f_{Q,ℓ} − s_ℓ f_{P,ℓ}‖²`, `s_ℓ = 1 − (1 − ηnλ_ℓ)^k`.

        Raises
        ------
        InvalidInput, UnstableStep
            As `population_error`.
        """
        share = 1 - _left(self.eigenvalues, samples, lr, steps)
        return self.target - 2 * share * self.cross + share**2 * self.source

    def gain(self, samples: float, lr: float, steps: Steps) -> tuple[float | None, str | None]:
        """`1 − √(Σ ‖f̃_ℓ‖²/λ_ℓ / Σ ‖f_{Q,ℓ}‖²/λ_ℓ)`, the gain as the target sample grows too, and `None`; or `None` and the reason.

        A target with energy where `λ_ℓ = 0` is out of reach of any weights; a target of zero has nothing to gain.

        Raises
        ------
        InvalidInput, UnstableStep
            As `population_error`.
        """
        xp = namespace(self.target)
        reached = self.eigenvalues > 0
        out_of_reach = scalar(xp.sum(xp.where(reached, xp.zeros_like(self.target), self.target)))
        if out_of_reach > 0:
            return None, f"energy {out_of_reach:.3g} of the target lies where the kernel's eigenvalue is 0: no weights fit it"
        inverse = xp.where(
            reached, 1 / xp.where(reached, self.eigenvalues, xp.ones_like(self.eigenvalues)), xp.zeros_like(self.eigenvalues)
        )
        scratch = scalar(xp.sum(self.target * inverse))
        if scratch == 0:
            return None, "the target is zero: there is nothing to learn"
        left = scalar(xp.sum(self.remaining(samples, lr, steps) * inverse))
        return 1 - (max(left, 0.0) / scratch) ** 0.5, None

    def curve(self, samples: float, lr: float, *, displacement: bool = False) -> PretrainingCurve:
        """`Σ ‖f̃_ℓ(k)‖²` over source steps `k`, with its turns and its best `k`; for the displacement each term over `λ_ℓ`.

        Eigenspaces do not mix: each falls, and rises again after its share `⟨f_P, f_Q⟩/‖f_P‖²` is learnt, where that is below 1. With
        infinitely many samples noise on source labels has no part in it.

        Raises
        ------
        InvalidInput
            For numbers out of range, or a displacement where source or target have energy at `λ_ℓ = 0`.
        UnstableStep
            For `ηnλ_max ≥ 2`.
        """
        _check_samples(samples)
        # (A NumPy scalar would turn arrays of other libraries into its own.)
        samples, lr = float(samples), float(lr)
        xp, zeros = namespace(self.target), namespace(self.target).zeros_like(self.target)
        order = xp.argsort(self.eigenvalues)
        values, source, target, cross = (xp.take(a, order) for a in (self.eigenvalues, self.source, self.target, self.cross))
        if displacement and bool(xp.any((values == 0) & (source + target > 0))):
            raise InvalidInput(
                "source or target have energy where the eigenvalue is 0, which no weights fit; the displacement needs none there"
            )
        weight = 1 / xp.where(values > 0, values, xp.ones_like(values)) if displacement else xp.ones_like(values)
        # Two coordinates hold both teachers' parts in an eigenspace: along the source's, and across it.
        length = xp.sqrt(source)
        along = xp.where(source > 0, cross / xp.where(source > 0, length, xp.ones_like(length)), zeros)
        across = target - along**2
        start = xp.concat([xp.sqrt(weight) * along, xp.sqrt(weight * xp.where(across > 0, across, zeros))])
        n, device = values.shape[0], compat.device(values)
        one = xp.eye(n, dtype=values.dtype, device=device)
        transfer = xp.concat([(xp.sqrt(weight) * length * samples * values)[:, None] * one, xp.zeros_like(one)])
        spectrum = GramSpectrum(samples * values, one, 0.0)
        curve = PretrainingCurve.of(spectrum, lr, xp.ones_like(values), start, transfer)
        return replace(curve, noise=zeros)


def _left(eigenvalues: Array, samples: float, lr: float, steps: Steps) -> Array:
    _check_samples(samples)
    if not lr > 0:
        raise InvalidInput(f"lr is {lr}; a number above 0 is allowed")
    if steps is not None and steps < 0:
        raise InvalidInput(f"steps is {steps}; 0 or more, or None, is allowed")
    largest = samples * scalar(namespace(eigenvalues).max(eigenvalues))
    if lr * largest > 2 or (steps is None and lr * largest >= 2):
        raise UnstableStep(f"lr = {lr:.6g} diverges; at most 2/(nλ_max) = {2 / largest:.6g} is allowed, and less to the end")
    return residual_filter(float(samples) * eigenvalues, float(lr), steps)


def _check_samples(samples: float) -> None:
    if not 0 < samples < math.inf:
        raise InvalidInput(f"samples is {samples}; a number above 0 is allowed, and a finite one")


def _by_eigenspace(eigenvalues: Array, **energies: Array) -> list[Array]:
    """The energies, then the eigenvalues, as arrays of one length without negative numbers."""
    found = {name: as_float(value, name) for name, value in (*energies.items(), ("eigenvalues", eigenvalues))}
    shape = tuple(found["eigenvalues"].shape)
    for name, value in found.items():
        if value.ndim != 1 or tuple(value.shape) != shape or shape[0] == 0:
            raise InvalidInput(f"{name} has shape {tuple(value.shape)} and eigenvalues {shape}; (L,) with L ≥ 1 is allowed for all")
        least = scalar(namespace(value).min(value))
        if least < 0:
            raise InvalidInput(f"{name} holds {least:.6g}; 0 or more is allowed")
    return list(found.values())
