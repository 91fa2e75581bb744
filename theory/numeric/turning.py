"""Why transferability rises and then falls with pretraining (result g): the curve over source steps, and its turn.

Gradient energy, squared displacement and squared test error after `k` source steps are all of one form,
`F(k) = ‖ρ − Σᵢ (1 − (1 − ηλᵢ)^k) gᵢ‖²_M` with `λᵢ, vᵢ` the eigenpairs of `H_P`, `gᵢ = T vᵢ vᵢᵀy_P/λᵢ`, and `ρ`, `T` and the metric
`M` depending on the quantity. Between its start and its limit such a sum of exponentials can turn, more than once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from theory.arrays import Array, namespace, scalar
from theory.errors import InvalidInput
from theory.numeric.spectrum import GramSpectrum, Steps, integral_filter, residual_filter


@dataclass(frozen=True)
class PretrainingCurve:
    """`F(k) = ‖ρ − Σᵢ (1 − (1 − ηλᵢ)^k) gᵢ‖²`, the metric taken into `ρ` and `g`.

    Attributes
    ----------
    spectrum : GramSpectrum of `H_P`
    lr : float, source step size
    start : (p, c) array
        `ρ`: the value at `k = 0`.
    modes : (n_P, p, c) array
        `gᵢ`, zero where `λᵢ = 0`.
    """

    spectrum: GramSpectrum
    lr: float
    start: Array
    modes: Array

    @classmethod
    def of(cls, spectrum: GramSpectrum, lr: float, y_source: Array, start: Array, transfer: Array) -> PretrainingCurve:
        """From source labels `y_P` ((n_P,) or (n_P, c)), `ρ` ((p,) or (p, c)) and the map `T` ((p, n_P)).

        With `T = H_QP` and `ρ = y_Q` the curve is the gradient energy; with `H_Q^{-1/2}` before both, the squared
        displacement to the end; with `T = H_TP − H_TQ φ(H_Q) H_QP` and `ρ = y_T − H_TQ φ(H_Q) y_Q` the squared test error.
        """
        xp = namespace(spectrum.values)
        spectrum.check_step(lr, 0, "lr")
        columns = xp.reshape(y_source, (y_source.shape[0], -1))
        weights = integral_filter(spectrum.values, lr, None)[:, None] * spectrum.project(columns)
        directions = (transfer @ spectrum.vectors).T
        return cls(spectrum, lr, xp.reshape(start, (start.shape[0], -1)), directions[:, :, None] * weights[:, None, :])

    def __call__(self, steps: Steps) -> float:
        """`F(k)`; `None` for the limit."""
        xp = namespace(self.start)
        learnt = 1 - residual_filter(self.spectrum.values, self.lr, steps)
        left = self.start - xp.sum(learnt[:, None, None] * self.modes, axis=0)
        return scalar(xp.sum(left * left))

    def turns(self, last: int) -> list[int]:
        """Steps in `(0, last)` at which `F` has a local minimum, ascending.

        Searched on a grid with ratio 1.02, on which each exponential changes by at most one per cent of its range from
        point to point, and refined to single steps.

        Raises
        ------
        InvalidInput
            If `last < 1`.
        """
        if last < 1:
            raise InvalidInput(f"last is {last}; at least 1 is allowed")
        grid = sorted({0, last, *(min(last, math.ceil(1.02**i)) for i in range(int(math.log(last) / math.log(1.02)) + 2))})
        values = [self(k) for k in grid]
        found = []
        for i in range(1, len(grid) - 1):
            if values[i] < values[i - 1] and values[i] <= values[i + 1]:
                found.append(min(range(grid[i - 1], grid[i + 1] + 1), key=self))
        return sorted(set(found))

    def best(self, last: int) -> int | None:
        """The step up to `last` with the least `F`; `None` where the limit is lower still."""
        candidate = min([0, *self.turns(last), last], key=self)
        return None if self(None) < self(candidate) else candidate

    def initial_slope(self) -> float:
        """`F(1) − F(0)`: whether the first step of pretraining helps.

        A difference, not a derivative: at `η = 1/λ_max` the top mode is learnt in one step.
        """
        return self(1) - self(0)


def source_noise_energy(spectrum: GramSpectrum, transfer: Array, variance: float, lr: float, steps: Steps) -> float:
    """Expected rise of `F(k)` through independent noise of the given variance on source labels: `σ² Σᵢ (1 − qᵢ^k)² ‖T vᵢ‖²/λᵢ²`.

    It grows with `k`, and so forces a turn above a threshold.
    """
    xp = namespace(spectrum.values)
    phi = integral_filter(spectrum.values, lr, steps)
    phi = xp.where(spectrum.values > 0, phi, xp.zeros_like(phi))
    directions = transfer @ spectrum.vectors
    return variance * scalar(xp.sum((directions * phi[None, :]) ** 2))
