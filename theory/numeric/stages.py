"""Pretraining and fine-tuning in the kernel regime, exact at every step.

Each function takes Gram matrices (or their `GramSpectrum`) and targets, and does not ask where the Gram matrix
comes from: infinite width, a finite net's frozen `H(W(0))`, or a CNN's empirical tangent kernel.
Throughout, `y` stands for labels less initial outputs; `y: (n,)` or `(n, c)`, columns independent.
"""

from __future__ import annotations

import math

from theory.arrays import Array, namespace, scalar, to_numpy
from theory.errors import InvalidInput
from theory.numeric.gram import relu_gram
from theory.numeric.spectrum import GramSpectrum, Steps, flow_residual_filter, integral_filter, residual_filter


def coefficients(spectrum: GramSpectrum, y: Array, lr: float, steps: Steps) -> Array:
    """Dual coefficients `γ = φ_k(H) y`: after `k` steps a point `x` has moved by `h(x)ᵀ γ`."""
    xp = namespace(spectrum.values)
    phi = integral_filter(spectrum.values, lr, steps)
    # The rows h(x) have no component along null vectors; ηk would only multiply the rounding there.
    return spectrum.apply(xp.where(spectrum.values > 0, phi, xp.zeros_like(phi)), y)


def residual(spectrum: GramSpectrum, y: Array, lr: float, steps: Steps) -> Array:
    """`y − u(k) = (I − ηH)^k y`."""
    return spectrum.apply(residual_filter(spectrum.values, lr, steps), y)


def flow_residual(spectrum: GramSpectrum, y: Array, time: float) -> Array:
    """`y − u(t) = exp(−tH) y`, the limit of `residual` for `η → 0` at `t = ηk`."""
    return spectrum.apply(flow_residual_filter(spectrum.values, time), y)


def displacement(spectrum: GramSpectrum, y: Array, lr: float, steps: Steps) -> float:
    """`‖W(k) − W(0)‖_F = √(yᵀ φ_k H φ_k y)`, a sum over eigenmodes of `(vᵢᵀy)² (1 − (1 − ηλᵢ)^k)²/λᵢ`.

    At most `√(yᵀ H⁻¹ y)`, and monotone in `k`, only for `η ≤ 1/λ_max`.
    """
    xp = namespace(spectrum.values)
    phi = integral_filter(spectrum.values, lr, steps)
    return scalar(xp.sqrt(xp.sum(mode_energy(spectrum, y) * phi * phi * spectrum.values)))


def loss(spectrum: GramSpectrum, y: Array, lr: float, steps: Steps) -> float:
    """`½‖(I − ηH)^k y‖²`."""
    xp = namespace(spectrum.values)
    q = residual_filter(spectrum.values, lr, steps)
    return scalar(xp.sum(mode_energy(spectrum, y) * q * q)) / 2


def mode_energy(spectrum: GramSpectrum, y: Array) -> Array:
    """`(vᵢᵀ y)²` for each eigenvector, summed over the columns of `y`; shape (n,)."""
    xp = namespace(spectrum.values)
    projected = spectrum.project(y)
    return projected * projected if projected.ndim == 1 else xp.sum(projected * projected, axis=1)


def inverse_norm_squared(spectrum: GramSpectrum, y: Array, size: float = 0.0) -> float | None:
    """`yᵀ H⁻¹ y`, or `None` when `y` leaves the range of a singular `H` and the value is infinite.

    `size` is the squared norm of whatever `y` is a difference of, where that is larger than its own: what `y` has
    outside the range is then held against that.
    """
    xp = namespace(spectrum.values)
    energy = mode_energy(spectrum, y)
    positive = spectrum.values > 0
    outside = scalar(xp.sum(xp.where(positive, xp.zeros_like(energy), energy)))
    # Energies are squares: eps of the energy is √eps of the length, far above the n·eps that rounding leaves outside.
    if outside > float(xp.finfo(energy.dtype).eps) * max(scalar(xp.sum(energy)), size):
        return None
    divisor = xp.where(positive, spectrum.values, xp.ones_like(energy))
    return scalar(xp.sum(xp.where(positive, energy / divisor, xp.zeros_like(energy))))


def steps_to_loss(spectrum: GramSpectrum, y: Array, target_loss: float, lr: float) -> int | None:
    """Least `k` with `½‖(I − ηH)^k y‖² ≤ target_loss`; `None` if no number of steps gets there.

    For `0 < η < 2/λ_max` the loss never rises, so bisection finds the least `k`.
    """
    if not lr > 0:
        raise InvalidInput(f"lr is {lr}; a number above 0 is allowed")
    if math.isnan(target_loss):
        raise InvalidInput(f"target_loss is {target_loss}; a number is allowed")
    spectrum.check_step(lr, None, "lr")
    # The loss itself reaches zero by underflow, and too early: near there its logarithm decides.
    resolved = target_loss > 1e10 * float(namespace(spectrum.values).finfo(spectrum.values.dtype).smallest_normal)
    goal = math.log(2 * target_loss) if target_loss > 0 else -math.inf

    def reached(steps: Steps) -> bool:
        return loss(spectrum, y, lr, steps) <= target_loss if resolved else _log_energy(spectrum, y, lr, steps) <= goal

    if not reached(None):
        return None
    low, high = -1, 0
    while not reached(high):
        low, high = high, max(1, 2 * high)
        if high > 1 << 62:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def acceleration(spectrum: GramSpectrum, y_target: Array, remaining: Array, target_loss: float, lr: float) -> tuple[int | None, int | None]:
    """Steps to a loss from the pretrained weights and from scratch; `None` where no number of steps gets there.

    In one mode pretraining saves `log|c/c̃| / (−log|1 − ηλ|)` steps, `c` and `c̃` the components of `y_Q` and `ỹ`.

    Parameters
    ----------
    y_target, remaining : (n_Q,) or (n_Q, c) arrays
        `y_Q` and `ỹ`.
    target_loss, lr
        As for `steps_to_loss`.
    """
    return steps_to_loss(spectrum, remaining, target_loss, lr), steps_to_loss(spectrum, y_target, target_loss, lr)


def _log_energy(spectrum: GramSpectrum, y: Array, lr: float, steps: Steps) -> float:
    """`log ‖q_k y‖²`; `−∞` only where every component is exactly zero."""
    terms = []
    for value, energy in zip(to_numpy(spectrum.values).tolist(), to_numpy(mode_energy(spectrum, y)).tolist(), strict=True):
        shrink = 1 - lr * value
        if energy == 0 or (steps is None and value > 0) or (steps and shrink == 0):
            continue
        rate = math.log1p(-lr * value) if shrink > 0.5 else math.log(abs(shrink)) if shrink else 0.0
        terms.append(math.log(energy) + 2 * rate * (steps or 0))
    if not terms:
        return -math.inf
    largest = max(terms)
    return largest + math.log(math.fsum(math.exp(t - largest) for t in terms))


def transfer_gain(spectrum: GramSpectrum, y_target: Array, remaining: Array) -> tuple[float | None, str | None]:
    """Gain `1 − √(ỹᵀ H_Q⁻¹ ỹ / y_Qᵀ H_Q⁻¹ y_Q)` and, when it is undefined, the reason.

    1 is perfect transfer, 0 none, negative means that pretraining makes the weights move farther.

    Parameters
    ----------
    y_target : (n_Q,) or (n_Q, c) array
        What training from scratch has to learn.
    remaining : array of the same shape
        `ỹ`, what pretraining leaves to learn.
    """
    from_scratch = inverse_norm_squared(spectrum, y_target)
    if from_scratch is None:
        return None, f"the target labels leave the range of the target Gram matrix (rank {spectrum.rank} of {spectrum.size})"
    if from_scratch == 0:
        return None, "the target labels equal the initial outputs: there is nothing to learn from scratch"
    # What is left of a perfect transfer is rounding of y_target, with no reason to stay in the range.
    transferred = inverse_norm_squared(spectrum, remaining, scalar(namespace(y_target).sum(y_target * y_target)))
    if transferred is None:
        return (
            None,
            f"what pretraining leaves to learn leaves the range of the target Gram matrix (rank {spectrum.rank} of {spectrum.size})",
        )
    return 1 - (transferred / from_scratch) ** 0.5, None


def best_scale_gain(spectrum: GramSpectrum, y_target: Array, transformed: Array) -> float | None:
    """Gain under the best rescaling of the source labels, `1 − √(1 − cos²)`, in the `H_Q⁻¹` inner product.

    `G` itself depends on the scale of `y_P`; this is its largest value over `s ↦ s·y_P`. `None` where `G` is.
    """
    yy, tt = inverse_norm_squared(spectrum, y_target), inverse_norm_squared(spectrum, transformed)
    if yy is None or tt is None or yy == 0:
        return None
    if tt == 0:
        return 0.0
    both = inverse_norm_squared(spectrum, y_target + transformed, yy + tt)
    scale = 0.0 if both is None else (both - yy - tt) / (2 * tt)
    # The norm of what the best multiple leaves: 1 − cos² itself would cancel for nearly parallel labels.
    left = inverse_norm_squared(spectrum, y_target - scale * transformed, scalar(namespace(y_target).sum(y_target * y_target)))
    return None if left is None else 1 - min(1.0, left / yy) ** 0.5


def transformed_labels(X_P: Array, y_P: Array, X_Q: Array, steps: Steps = None, lr: float | None = None) -> Array:
    """Transformed labels `y_{P→Q}(k) = H_QP φ_k(H_P) y_P`: what a source-trained net outputs on the target.

    Parameters
    ----------
    X_P, y_P : (n_P, d), (n_P,) or (n_P, c) arrays
        Source data; initial outputs are taken as zero.
    X_Q : (n_Q, d) array
        Target inputs.
    steps : int, optional
        Gradient steps on the source; `None` for the limit `H_QP H_P⁺ y_P`.
    lr : float, optional
        Step size; `None` for `1/λ_max(H_P)`.

    Returns
    -------
    (n_Q,) or (n_Q, c) array.

    Raises
    ------
    InvalidInput, UnstableStep
        For malformed data, negative steps, or `lr` above `2/λ_max`.

    Source: arXiv 1909.12031, the labels transformed from `P` to `Q`; finite `k` by the geometric series.
    """
    from theory.problem import Schedule, labelled_set, rate

    X_P, y_P = labelled_set((X_P, y_P), "source")
    schedule = Schedule(source_steps=steps, source_lr=lr)
    spectrum = GramSpectrum.of(relu_gram(X_P))
    lr = rate(lr, spectrum)
    spectrum.check_step(lr, schedule.source_steps, "lr")
    return relu_gram(X_Q, X_P) @ coefficients(spectrum, y_P, lr, steps)
