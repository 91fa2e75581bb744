"""How often a sum of exponentials can turn: Laguerre's rule, and its first term.

For `D(x) = Σⱼ aⱼ bⱼ^x` with `1 > b₁ ≥ b₂ ≥ … ≥ 0`, the number of zeros in `x > 0`, each with its multiplicity, is at most the number of
sign changes in the partial sums `a₁, a₁ + a₂, …, Σ aⱼ`, slowest term first, and differs from it by an even number where `D(0) ≠ 0`. (It
is the number of sign changes of `M` in `D(x)/x = ∫ M(w) e^{−wx} dw`, which the Laplace transform does not increase.)

Source: Laguerre 1883, "Sur la théorie des équations numériques"; Jameson 2006, "Counting zeros of generalised polynomials".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_NEVER = -1


@dataclass(frozen=True)
class TurnBound:
    """What Laguerre's rule says of a curve over source steps.

    Attributes
    ----------
    sign_changes : int
        Of the partial sums. `F(k + 1) − F(k)` changes its sign at most as often over `k = 0, 1, …`, and as often but for an even
        number.
    turns : int
        How many local minima that leaves: every other change is one from falling to rising.
    """

    sign_changes: int
    turns: int


@dataclass(frozen=True)
class ExponentialSum:
    """`D(k) = Σⱼ aⱼ bⱼ^k`, slowest term first, with what rounding may have done to each `aⱼ`.

    Attributes
    ----------
    log_bases : (m,) array, descending; −inf for a base of 0
    coefficients, rounding : (m,) arrays
    resolution : (m,) array
        How far apart logarithms may be and yet belong to one base, but for rounding.
    """

    log_bases: np.ndarray
    coefficients: np.ndarray
    rounding: np.ndarray
    resolution: np.ndarray

    @classmethod
    def of_differences(cls, x: np.ndarray, modes: np.ndarray, end: np.ndarray, *, eps: float, apart: float) -> ExponentialSum:
        """`F(k + 1) − F(k)` for `F(k) = ‖e + Σᵢ (1 − xᵢ)^k gᵢ‖²`: terms `−2xᵢ e·gᵢ` and `−(1 − qᵢqⱼ) gᵢ·gⱼ`, `qᵢ = 1 − xᵢ`.

        Parameters
        ----------
        x : (n,) array in [0, 1]
            `ηλᵢ`; above 1 by rounding only.
        modes, end : (n, p) and (p,) arrays
            `gᵢ` and `e`.
        eps : float, rounding unit of what they were computed in
        apart : float
            Values of `x` closer than this are not told apart.
        """
        x = np.minimum(x, 1.0)
        i, j = np.triu_indices(x.shape[0])
        # 1 − qᵢqⱼ = xᵢ + xⱼ − xᵢxⱼ, without cancellation; each pair of different modes stands in the square twice.
        twice, leave = np.where(i == j, 1.0, 2.0), x[i] + x[j] * (1 - x[i])
        sizes = np.linalg.norm(modes, axis=1)
        whole, unit = float(np.linalg.norm(end)) + 2 * float(sizes.sum()), eps * (modes.shape[1] + x.shape[0])
        with np.errstate(divide="ignore"):
            log_q = np.log1p(-x)
        # (A base of 0 is one of its own, however near another's `x` is.)
        near = 4 * apart / np.where(x < 1, 1 - x, 1.0)
        log_bases = np.concatenate([log_q, log_q[i] + log_q[j]])
        coefficients = np.concatenate([-2 * x * (modes @ end), -twice * leave * (modes @ modes.T)[i, j]])
        rounding = unit * np.concatenate([2 * x * sizes * whole, twice * leave * sizes[i] * sizes[j]])
        resolution = np.concatenate([near, near[i] + near[j]])
        # Slowest first; modes that are not there at all have no sign to change.
        kept = np.nonzero(rounding)[0]
        order = kept[np.argsort(-log_bases[kept], kind="stable")]
        return cls(log_bases[order], coefficients[order], rounding[order], resolution[order])

    def turn_bound(self) -> TurnBound:
        """Sign changes of the partial sums; where one is within rounding of zero, the sign that gives most."""
        sums, error = np.cumsum(self.coefficients), self._error_of_sums()
        up, down = _NEVER, _NEVER
        for total, uncertain in zip(sums.tolist(), (np.abs(sums) <= error).tolist(), strict=True):
            before_up, before_down = up, down
            # From nothing counted yet, a first sign is no change.
            if uncertain or total > 0:
                up = max(before_up, before_down + 1, 0)
            if uncertain or total < 0:
                down = max(before_down, before_up + 1, 0)
            if not uncertain:
                up, down = (up, _NEVER) if total > 0 else (_NEVER, down)
        changes = max(up, down, 0)
        # D(0) is the last sum. Falling at first, the first change is a turn.
        rises_at_first = bool(sums.size) and sums[-1] > error[-1]
        return TurnBound(changes, changes // 2 if rises_at_first else (changes + 1) // 2)

    def late_sign(self) -> int:
        """Sign of `D(k)` for all large `k`: that of the slowest term that is not zero, terms of one base taken together; 0 if none."""
        start = 0
        while start < self.coefficients.size:
            stop = start + 1
            while stop < self.coefficients.size and self._one_base(stop - 1, stop):
                stop += 1
            total, error = self.coefficients[start:stop].sum(), self.rounding[start:stop].sum()
            if abs(total) > error:
                return 1 if total > 0 else -1
            start = stop
        return 0

    def _one_base(self, first: int, second: int) -> bool:
        if np.isneginf(self.log_bases[second]):
            return bool(np.isneginf(self.log_bases[first]))
        return bool(self.log_bases[first] - self.log_bases[second] <= self.resolution[first])

    def _error_of_sums(self) -> np.ndarray:
        """Rounding of the terms, and of adding them up."""
        adding = np.finfo(float).eps * np.arange(1, self.coefficients.size + 1) * np.cumsum(np.abs(self.coefficients))
        return np.cumsum(self.rounding) + adding
