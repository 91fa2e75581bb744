"""Where on the target's spectrum pretraining helps, and what the best relabelling of the source could reach."""

from __future__ import annotations

from dataclasses import dataclass

from theory.arrays import Array, namespace, scalar, to_numpy
from theory.errors import InvalidInput
from theory.numeric.spectrum import GramSpectrum
from theory.numeric.stages import inverse_norm_squared, mode_energy

# Eigenvalues closer than this many rounding errors of the decomposition have no eigenvectors of their own.
_APART = 16


@dataclass(frozen=True, kw_only=True)
class SuppressedMode:
    """One eigenspace of the target's Gram matrix, with and without pretraining.

    Attributes
    ----------
    value : float
        Its eigenvalue `λ`; the mean where several are equal but for rounding.
    multiplicity : int
    scratch, pretrained : float
        Gradient energy `Σ (vᵢᵀy_Q)²` and `Σ (vᵢᵀỹ)²` in it.
    """

    value: float
    multiplicity: int
    scratch: float
    pretrained: float

    @property
    def factor(self) -> float | None:
        """What pretraining multiplies the energy by; `None` where there is none to multiply."""
        return self.pretrained / self.scratch if self.scratch > 0 else None


def mode_suppression(spectrum: GramSpectrum, y_target: Array, remaining: Array, tolerance: float | None = None) -> list[SuppressedMode]:
    """What pretraining multiplies the gradient energy by, in each eigenspace of `H_Q`: `Σ (vᵢᵀỹ)² / Σ (vᵢᵀy_Q)²`.

    The same factor applies to the loss and to `‖∂L/∂W‖²` of the mode, whose energies carry `½` and `λ`, and it stays while fine-tuning
    goes on: both runs lose `(1 − ηλ)²` a step.

    Parameters
    ----------
    spectrum : GramSpectrum of `H_Q`
    y_target, remaining : (n_Q,) or (n_Q, c) arrays
        What training from scratch, and what fine-tuning, has to learn.
    tolerance : float, optional
        Neighbouring eigenvalues within this share of `λ_max` count as one, since rounding alone chooses their eigenvectors; by default
        16 n eps.

    Returns
    -------
    list of SuppressedMode, ascending in `λ`

    Raises
    ------
    InvalidInput
        For labels of different shapes, or of another number than the spectrum's, or a negative tolerance.

    Source: arXiv 1909.12031, section 4.2, which measures it; the ratio follows from the residual mode by mode.
    """
    if tuple(y_target.shape) != tuple(remaining.shape):
        raise InvalidInput(f"y_target has shape {tuple(y_target.shape)} and remaining {tuple(remaining.shape)}; they must be equal")
    if y_target.ndim not in (1, 2) or y_target.shape[0] != spectrum.size:
        raise InvalidInput(f"labels have shape {tuple(y_target.shape)}; ({spectrum.size},) or ({spectrum.size}, c) is allowed")
    eps = float(namespace(spectrum.values).finfo(spectrum.values.dtype).eps)
    tolerance = _APART * spectrum.size * eps if tolerance is None else tolerance
    if not tolerance >= 0:
        raise InvalidInput(f"tolerance is {tolerance!r}; a number ≥ 0 is allowed")
    values = to_numpy(spectrum.values).tolist()
    scratch, pretrained = (to_numpy(mode_energy(spectrum, y)).tolist() for y in (y_target, remaining))
    groups: list[list[int]] = []
    for i, value in enumerate(values):
        if groups and value - values[groups[-1][-1]] <= tolerance * values[-1]:
            groups[-1].append(i)
        else:
            groups.append([i])
    return [
        SuppressedMode(
            value=sum(values[i] for i in group) / len(group),
            multiplicity=len(group),
            scratch=sum(scratch[i] for i in group),
            pretrained=sum(pretrained[i] for i in group),
        )
        for group in groups
    ]


def best_linear_gain(spectrum: GramSpectrum, y_target: Array, transformed: Array) -> float | None:
    """Gain under the best linear map of the source labels, `1 − √(1 − R²)`, in the `H_Q⁻¹` inner product.

    `R²` is the squared multiple correlation of `y_Q` with the columns of `transformed`; without a map of the labels the gain depends on
    how they are coded. At least `best_scale_gain`, at most 1.

    Parameters
    ----------
    spectrum : GramSpectrum of `H_Q`
    y_target : (n_Q,) or (n_Q, c) array
        Several columns are each fitted, and their squares added.
    transformed : (n_Q,) or (n_Q, c_P) array
        Transformed labels, a column for each source label.

    Returns
    -------
    float, or `None` where `y_target` or a transformed column leaves the range of a singular `H_Q`, or `y_target` is zero.

    Raises
    ------
    InvalidInput
        For different numbers of rows.
    """
    xp = namespace(spectrum.values)
    Y, T = (y if y.ndim == 2 else y[:, None] for y in (y_target, transformed))
    if Y.shape[0] != T.shape[0] or Y.shape[0] != spectrum.size:
        raise InvalidInput(f"y_target, transformed and H_Q have {Y.shape[0]}, {T.shape[0]} and {spectrum.size} rows; they must be equal")
    total = inverse_norm_squared(spectrum, Y)
    inside = all(inverse_norm_squared(spectrum, T[:, k]) is not None for k in range(T.shape[1]))
    if total is None or total == 0 or not inside:
        return None
    positive = spectrum.values > 0
    root = xp.sqrt(xp.where(positive, spectrum.values, xp.ones_like(spectrum.values)))
    weight = xp.where(positive, 1 / root, xp.zeros_like(root))[:, None]
    # In these coordinates the inner product is the plain one, and the best map is least squares.
    y, t = weight * spectrum.project(Y), weight * spectrum.project(T)
    size = xp.sqrt(xp.sum(t * t, axis=0))
    # Columns of length 1: their units say nothing about which of them depend on each other.
    t = t / xp.where(size > 0, size, xp.ones_like(size))[None, :]
    U, s, _ = xp.linalg.svd(t, full_matrices=False)
    kept = s > max(T.shape) * float(xp.finfo(s.dtype).eps) * scalar(xp.max(s))
    coefficients = xp.where(kept[:, None], U.T @ y, xp.zeros_like(U.T @ y))
    # The norm of what the best map leaves: 1 − R² itself would cancel for nearly dependent labels.
    left = y - U @ coefficients
    return 1 - min(1.0, scalar(xp.sum(left * left)) / total) ** 0.5
