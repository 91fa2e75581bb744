"""Training on the source and then on the target, against training on both at once; all stages to their end.

Both leave the weights of least displacement that fit: sequential training those nearest to `W(P)` that fit `Q`, joint training those
nearest to `W(0)`, which are also those nearest to `W(P)`, that fit both.
"""

from __future__ import annotations

from dataclasses import dataclass

import array_api_compat as compat

from theory.arrays import Array, namespace, scalar
from theory.errors import InvalidInput
from theory.numeric.spectrum import GramSpectrum, integral_filter
from theory.numeric.stages import coefficients, inverse_norm_squared


def _inverse_root(spectrum: GramSpectrum) -> Array:
    """`Λ^{+½} Vᵀ`, whose product with its transpose is `H⁺`."""
    xp = namespace(spectrum.values)
    return xp.sqrt(integral_filter(spectrum.values, 1.0, None))[:, None] * spectrum.vectors.T


def squared_canonical_correlations(P: GramSpectrum, Q: GramSpectrum, H_QP: Array) -> Array:
    """Squared cosines of the angles between the spans of the tangent features of two sets, largest first.

    The squared singular values of `H_Q^{+½} H_QP H_P^{+½}`, in [0, 1]; `min(n_P, n_Q)` of them, zeros included.

    Source: Hotelling 1936, "Relations between two sets of variates".
    """
    xp = namespace(H_QP)
    values = xp.linalg.svdvals(_inverse_root(Q) @ H_QP @ _inverse_root(P).T)
    return xp.clip(values * values, 0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class SequentialJoint:
    """Squared displacements of both ways to train on a source and a target.

    Attributes
    ----------
    source : float
        `B_P² = y_PᵀH_P⁻¹y_P`, of the source stage.
    sequential : float
        `ỹᵀH_Q⁻¹ỹ = ‖W(Q) − W(P)‖²`: the nearest weights to `W(P)` that fit the target.
    joint : float
        `ỹᵀS⁻¹ỹ = B_joint² − B_P² = ‖W(joint) − W(P)‖²`, `S = H_Q − H_QP H_P⁻¹ H_PQ`: the nearest that fit the source as well.
    repair : float
        `joint − sequential = uᵀT⁻¹u ≥ 0`, without cancellation: `u = H_PQ H_Q⁻¹ ỹ` is what fine-tuning changes on the source, and
        `T = H_P − H_PQ H_Q⁻¹ H_QP`. Zero if and only if fine-tuning forgets nothing.
    """

    source: float
    sequential: float
    joint: float
    repair: float

    @property
    def ratio(self) -> float | None:
        """How many times farther from `W(P)` the joint fit is than the sequential one, at least 1; `None` where nothing moves."""
        return (self.joint / self.sequential) ** 0.5 if self.sequential > 0 else None


def sequential_and_joint(P: GramSpectrum, Q: GramSpectrum, H_QP: Array, y_P: Array, y_Q: Array) -> SequentialJoint:
    """Compare the two; `joint` is at most `sequential/(1 − c²)`, `c²` the largest squared canonical correlation of the sets.

    Parameters
    ----------
    P, Q : GramSpectrum
        Of the source and target Gram matrices, regular.
    H_QP : (n_Q, n_P) array
    y_P, y_Q : (n_P,), (n_Q,) or (n_P, c), (n_Q, c) arrays
        Labels less initial outputs.

    Raises
    ------
    InvalidInput
        If a Gram matrix, or that of both sets together, is singular: there may be no weights that fit both.

    Source: Schur complement and Woodbury's identity.
    """
    for name, spectrum in (("source", P), ("target", Q)):
        if spectrum.rank < spectrum.size:
            raise InvalidInput(f"the {name} Gram matrix has rank {spectrum.rank} of {spectrum.size}; a regular one is allowed")
    xp = namespace(H_QP)
    largest = scalar(xp.max(squared_canonical_correlations(P, Q, H_QP)))
    # What rounding of either Gram matrix does to a cosine between whitened sets.
    if 1 - largest <= P.cutoff / P.smallest + Q.cutoff / Q.smallest:
        raise InvalidInput(
            f"the Gram matrix of both sets together is singular: their largest squared canonical correlation is {largest:.15g}; below 1, "
            "for sets that share no direction, is allowed"
        )
    remaining = y_Q - H_QP @ coefficients(P, y_P, 1.0, None)
    source, sequential = inverse_norm_squared(P, y_P), inverse_norm_squared(Q, remaining)
    cross = _inverse_root(Q) @ H_QP
    H_P = P.apply(P.values, xp.eye(P.size, dtype=cross.dtype, device=compat.device(cross)))
    beyond = H_P - cross.T @ cross
    schur = GramSpectrum.of((beyond + beyond.T) / 2)
    repair = inverse_norm_squared(schur, H_QP.T @ coefficients(Q, remaining, 1.0, None))
    assert source is not None and sequential is not None and repair is not None
    return SequentialJoint(source=source, sequential=sequential, joint=sequential + repair, repair=repair)
