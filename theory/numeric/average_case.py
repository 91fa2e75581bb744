"""Transfer on average over teachers: labels drawn from Gaussian processes instead of given.

Teachers `f` and `g` are independent draws from a Gaussian process with kernel `K`; source labels are `cos φ f + sin φ g + σ ξ`, target
and test labels `f`, and initial outputs zero. Gradient energy, squared displacement and squared test error are `‖ρ − T φ(H_P) y_P‖²`
with `ρ` linear in target and test labels (see `theory.pretraining`), so their mean and variance are traces.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real

from theory.arrays import Array, namespace, scalar
from theory.errors import InvalidInput
from theory.numeric.joint import squared_canonical_correlations
from theory.numeric.spectrum import GramSpectrum, Steps, integral_filter


@dataclass(frozen=True, kw_only=True, eq=False)
class TeacherAverage:
    """A quantity `‖r‖²` over teachers, `r` Gaussian of mean zero: `Cov r = scratch − cos φ overlap + carried + σ² noise`.

    Attributes
    ----------
    scratch : (p, p) array
        Covariance of `ρ`, what is left without pretraining.
    overlap : (p, p) array
        `X Aᵀ + A Xᵀ`, `X = Cov(ρ, f_P)` and `A = T φ(H_P)`: what pretraining brings of the target's teacher.
    carried : (p, p) array
        `A K_P Aᵀ`: all it brings.
    noise : (p, p) array
        `A Aᵀ`: what it brings of each unit of label noise.
    """

    scratch: Array
    overlap: Array
    carried: Array
    noise: Array

    @classmethod
    def of(
        cls, spectrum: GramSpectrum, transfer: Array, lr: float, steps: Steps, *, scratch: Array, cross: Array, source: Array
    ) -> TeacherAverage:
        """From the source's learner and the teachers' covariances.

        Parameters
        ----------
        spectrum : GramSpectrum of `H_P`
        transfer : (p, n_P) array
            `T`; like every row of the kernel it has no component along null vectors of `H_P`.
        lr, steps
            Of the source stage.
        scratch : (p, p) array, `Cov ρ`
        cross : (p, n_P) array, `Cov(ρ, f_P)`
        source : (n_P, n_P) array, `Cov f_P`
        """
        xp = namespace(transfer)
        phi = integral_filter(spectrum.values, lr, steps)
        phi = xp.where(spectrum.values > 0, phi, xp.zeros_like(phi))
        A = ((transfer @ spectrum.vectors) * phi[None, :]) @ spectrum.vectors.T
        half = cross @ A.T
        return cls(scratch=scratch, overlap=half + half.T, carried=A @ source @ A.T, noise=A @ A.T)

    def mean(self, angle: float, noise_variance: float = 0.0) -> float:
        """`E ‖r‖² = tr Cov r`.

        Parameters
        ----------
        angle : float
            `φ` between source and target labels, in radians, 0 to π.
        noise_variance : float ≥ 0
            `σ²`, on source labels.
        """
        return scalar(namespace(self.scratch).linalg.trace(self._covariance(angle, noise_variance)))

    def variance(self, angle: float, noise_variance: float = 0.0) -> float:
        """`Var ‖r‖² = 2 ‖Cov r‖_F²`, over teachers and noise."""
        V = self._covariance(angle, noise_variance)
        return 2 * scalar(namespace(V).sum(V * V))

    def ratio(self, angle: float, noise_variance: float = 0.0) -> float | None:
        """`E ‖r‖²` over its value without pretraining, below 1 where transfer helps on average; `None` where that is zero."""
        scratch = self._traces()[0]
        return self.mean(angle, noise_variance) / scratch if scratch > 0 else None

    def threshold_angle(self, noise_variance: float = 0.0) -> float | None:
        """The angle, at most π/2, below which transfer helps on average: `cos φ* = (tr carried + σ² tr noise)/tr overlap`.

        To the end, without noise, and for teachers of the learner's own kernel it is π/3 whatever the inputs, and larger for
        unfinished pretraining with `η ≤ 1/λ_max`. `None` where no angle up to π/2 helps.
        """
        _, overlap, carried, noise = self._traces()
        against = carried + _noise(noise_variance) * noise
        if overlap <= 0 or against >= overlap:
            return None
        return math.acos(against / overlap)

    def threshold_noise(self, angle: float) -> float | None:
        """The variance `σ²` of label noise at which transfer stops to help on average; `None` where it does not help without noise."""
        _, overlap, carried, noise = self._traces()
        margin = math.cos(_angle(angle)) * overlap - carried
        return margin / noise if margin > 0 else None

    def _covariance(self, angle: float, noise_variance: float) -> Array:
        return self.scratch - math.cos(_angle(angle)) * self.overlap + self.carried + _noise(noise_variance) * self.noise

    def _traces(self) -> tuple[float, float, float, float]:
        trace = namespace(self.scratch).linalg.trace
        scratch, overlap, carried, noise = (scalar(trace(M)) for M in (self.scratch, self.overlap, self.carried, self.noise))
        return scratch, overlap, carried, noise


def expected_displacement(P: GramSpectrum, Q: GramSpectrum, H_QP: Array, angle: float, noise_variance: float = 0.0) -> float:
    """`E ỹᵀH_Q⁺ỹ = n − (2 cos φ − 1) C + σ² N`: the squared displacement to the end, teachers of the learner's own kernel.

    `n` is the rank of `H_Q` (the value without pretraining), `C` the sum of squared canonical correlations, from 0 to `min(n_P, n_Q)`,
    and `N = tr(H_Q⁺AAᵀ)` with `A = H_QP H_P⁺`.

    Parameters
    ----------
    P, Q : GramSpectrum
    H_QP : (n_Q, n_P) array
    angle : float in [0, π]
        Between source and target labels.
    noise_variance : float ≥ 0
        Of the source labels' noise.
    """
    C, N = _overlap_and_noise(P, Q, H_QP)
    return Q.rank - (2 * math.cos(_angle(angle)) - 1) * C + _noise(noise_variance) * N


def _overlap_and_noise(P: GramSpectrum, Q: GramSpectrum, H_QP: Array) -> tuple[float, float]:
    xp = namespace(H_QP)
    # ‖Λ_Q^{+½} V_Qᵀ H_QP V_P Λ_P⁺‖².
    root, inverse = xp.sqrt(integral_filter(Q.values, 1.0, None)), integral_filter(P.values, 1.0, None)
    reach = root[:, None] * (Q.vectors.T @ H_QP @ P.vectors) * inverse[None, :]
    return scalar(xp.sum(squared_canonical_correlations(P, Q, H_QP))), scalar(xp.sum(reach * reach))


def _angle(value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value <= math.pi:
        raise InvalidInput(f"angle is {value!r}; a number of radians in [0, π] is allowed")
    return float(value)


def _noise(value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value < math.inf:
        raise InvalidInput(f"noise_variance is {value!r}; a finite number ≥ 0 is allowed")
    return float(value)
