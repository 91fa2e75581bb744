"""A chain of stages, source₁ → source₂ → … → target, in the kernel regime: one recursion over Gram blocks.

A chain trains on sets `0 … p − 1`, any of them any number of times. Each set has its `GramSpectrum`, its labels less initial
outputs, and a Gram block with every set before it: `cross[a][b]` is `(n_a, n_b)` for `b < a`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import array_api_compat as compat

from theory.arrays import Array, namespace, scalar
from theory.errors import InvalidInput
from theory.numeric import stages
from theory.numeric.joint import squared_canonical_correlations
from theory.numeric.spectrum import GramSpectrum, Steps, integral_filter, residual_filter


@dataclass(frozen=True, kw_only=True, eq=False)
class StageResult:
    """What one stage of a chain found, did and left.

    Attributes
    ----------
    remaining : array like the set's labels
        `ỹ_s`, what all stages before leave to learn.
    coefficients : array of the same shape
        `γ_s = φ_k(H_s) ỹ_s`: the stage moves the weights by the sum of the set's tangent features times these.
    residuals : tuple of arrays, one for each set
        Labels less outputs after the stage.
    """

    remaining: Array
    coefficients: Array
    residuals: tuple[Array, ...]


def block(cross: Sequence[Sequence[Array]], a: int, b: int) -> Array:
    """Gram block `H_ab` between two different sets, from the blocks below the diagonal."""
    return cross[a][b] if b < a else cross[b][a].T


def run_chain(
    spectra: Sequence[GramSpectrum],
    cross: Sequence[Sequence[Array]],
    labels: Sequence[Array],
    order: Sequence[int],
    lr: Sequence[float],
    steps: Sequence[Steps],
) -> list[StageResult]:
    """`ỹ_s = y_s − Σ_{j<s} H_sj γ_j`, `γ_s = φ_k(H_s) ỹ_s`, stage by stage, and what is left on every set after each.

    Parameters
    ----------
    spectra, cross, labels
        The sets, as the module says.
    order : sequence of int
        The set that each stage trains on.
    lr, steps : sequences as long as `order`
        Step size and number of steps of each stage.

    Source: the weights move by `F_sᵀγ_s` in stage `s`; on every set they move the outputs by `H_·s γ_s`.
    """
    left = list(labels)
    results = []
    for s, eta, k in zip(order, lr, steps, strict=True):
        remaining = left[s]
        gamma = stages.coefficients(spectra[s], remaining, eta, k)
        left = [
            stages.residual(spectra[s], remaining, eta, k) if b == s else left[b] - block(cross, b, s) @ gamma for b in range(len(left))
        ]
        results.append(StageResult(remaining=remaining, coefficients=gamma, residuals=tuple(left)))
    return results


def total_displacement(
    spectra: Sequence[GramSpectrum], cross: Sequence[Sequence[Array]], order: Sequence[int], coefficients: Sequence[Array]
) -> float:
    """`‖W − W(0)‖_F = √(Σ_ij γᵢᵀ H_ij γ_j)` after the stages whose sets and coefficients are given.

    Stages on one set add their coefficients up first. Opposite moves cancel: the error is relative to the sum of the stages' own
    displacements.
    """
    total: dict[int, Array] = {}
    for s, gamma in zip(order, coefficients, strict=True):
        total[s] = total[s] + gamma if s in total else gamma
    if not total:
        return 0.0
    square = 0.0
    for a, alpha in total.items():
        xp = namespace(alpha)
        square += scalar(xp.sum(alpha * spectra[a].apply(spectra[a].values, alpha)))
        square += 2 * sum(scalar(xp.sum(alpha * (block(cross, a, b) @ beta))) for b, beta in total.items() if b < a)
    return float(max(square, 0.0) ** 0.5)


def sweep_matrix(H: Array, sizes: Sequence[int], lr: Sequence[float], steps: Sequence[Steps]) -> Array:
    """`E` with which one sweep through all sets multiplies the residuals of all of them: `r ← E r`.

    To the end it is the error matrix of block Gauss-Seidel, `I − H L⁻¹` with `L` the block lower triangle of `H`: sweeps converge
    to the weights of joint training, by a factor of its spectral radius a sweep.

    Parameters
    ----------
    H : (N, N) array
        Gram matrix of all points of all sets, in order.
    sizes : sequence of int
        Points of each set; they add up to `N`.
    lr, steps : sequences as long as `sizes`

    Raises
    ------
    InvalidInput
        For sizes that are not those of the sets of `H`, or other than one step size and number of steps for each.

    Source: Young 1971, "Iterative solution of large linear systems", chapter 14 (block methods).
    """
    xp = namespace(H)
    if not sizes or min(sizes) < 1 or sum(sizes) != H.shape[0]:
        raise InvalidInput(f"sizes are {list(sizes)}; whole numbers ≥ 1 that add up to the {H.shape[0]} rows of H are allowed")
    E = xp.eye(H.shape[0], dtype=H.dtype, device=compat.device(H))
    if not len(sizes) == len(lr) == len(steps):
        raise InvalidInput(f"{len(lr)} step sizes and {len(steps)} numbers of steps were given for {len(sizes)} sets; one each is allowed")
    start = 0
    for size, eta, k in zip(sizes, lr, steps, strict=True):
        rows = slice(start, start + size)
        spectrum = GramSpectrum.of(H[rows, rows])
        here = E[rows, :]
        gamma = spectrum.apply(integral_filter(spectrum.values, eta, k), here)
        moved = E - H[:, rows] @ gamma
        kept = spectrum.apply(residual_filter(spectrum.values, eta, k), here)
        E = xp.concat([moved[:start, :], kept, moved[start + size :, :]], axis=0)
        start += size
    return E


def alternating_rate(P: GramSpectrum, Q: GramSpectrum, H_QP: Array) -> float:
    """Factor by which each round of training on `P` to the end, then on `Q` to the end, shrinks what is left on `P`.

    It is the largest squared canonical correlation of the two sets' tangent features: 0 for sets that do not interact, 1 for sets
    that share a direction, which never agree on conflicting labels.

    Source: two blocks of Gauss-Seidel; the residual on `P` is multiplied by `H_PQ H_Q⁺ H_QP H_P⁺`.
    """
    correlations = squared_canonical_correlations(P, Q, H_QP)
    return scalar(namespace(correlations).max(correlations))
