"""Smoothness of the loss along the gradient, exact in the kernel regime (result j).

With `r` the residual and `H` the Gram matrix, a gradient step of size `η` changes the outputs by `ηHr`; the loss
is a parabola in `η`, and the gradient's change needs one more power of `H`.
"""

from __future__ import annotations

from theory.arrays import Array, namespace, scalar
from theory.errors import InvalidInput
from theory.numeric.spectrum import GramSpectrum
from theory.numeric.stages import mode_energy


def _moment(spectrum: GramSpectrum, r: Array, power: int) -> float:
    """`rᵀ H^power r`."""
    xp = namespace(spectrum.values)
    return scalar(xp.sum(mode_energy(spectrum, r) * spectrum.values**power))


def loss_along_gradient(spectrum: GramSpectrum, r: Array, lr: float) -> float:
    """`L(η) = ½(r·r − 2η rᵀHr + η² rᵀH²r)`: the loss one step of size `η` ahead."""
    # As a sum of squares it cannot come out negative.
    xp = namespace(spectrum.values)
    return scalar(xp.sum(mode_energy(spectrum, r) * (1 - lr * spectrum.values) ** 2)) / 2


def loss_range_along_gradient(spectrum: GramSpectrum, r: Array, low: float, high: float) -> tuple[float, float]:
    """Least and largest loss over step sizes in `[low, high]`, `low ≤ high`.

    Raises
    ------
    InvalidInput
        If `low > high`.
    """
    if not low <= high:
        raise InvalidInput(f"step sizes from {low} to {high} were given; low ≤ high is allowed")
    candidates = [loss_along_gradient(spectrum, r, lr) for lr in (low, high)]
    curvature = _moment(spectrum, r, 2)
    lowest = min(candidates)
    if curvature > 0:
        vertex = _moment(spectrum, r, 1) / curvature
        if low < vertex < high:
            lowest = loss_along_gradient(spectrum, r, vertex)
    return lowest, max(candidates)


def gradient_norm(spectrum: GramSpectrum, r: Array) -> float:
    """`‖∂L/∂W‖_F = √(rᵀHr)`."""
    return _moment(spectrum, r, 1) ** 0.5


def gradient_change(spectrum: GramSpectrum, r: Array, lr: float) -> float:
    """`‖∇L(W − η∇L) − ∇L(W)‖_F = η√(rᵀH³r)`."""
    return abs(lr) * _moment(spectrum, r, 3) ** 0.5


def effective_smoothness(spectrum: GramSpectrum, r: Array) -> float | None:
    """`√(rᵀH³r / rᵀHr)`, the gradient's change per distance along itself; `None` where the gradient is zero.

    Between the least and the largest eigenvalue of `H`.
    """
    gradient = _moment(spectrum, r, 1)
    return (_moment(spectrum, r, 3) / gradient) ** 0.5 if gradient > 0 else None
