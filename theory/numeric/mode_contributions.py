"""Which modes of the source help and which harm: a quantity over source steps, divided among them."""

from __future__ import annotations

from dataclasses import dataclass

from theory.arrays import Array, namespace


@dataclass(frozen=True, eq=False)
class ModeContributions:
    """What each mode of the source does to `F = ‖ρ − Σᵢ sᵢ gᵢ‖²`, `sᵢ = 1 − qᵢ^k` the share of the mode that is learnt.

    Attributes
    ----------
    eigenvalues : (n_P,) array
        `λᵢ`, ascending: the last mode is learnt first.
    shares : (n_P,) array
        `sᵢ`.
    changes : (n_P,) array
        `−sᵢ gᵢ·(ρ + L)`, `L = ρ − Σ sⱼgⱼ` what is left: below 0 where the mode helps. They add up to `F(k) − F(0)`, and each is the
        mean, over all orders in which modes could be learnt, of what this one changes when its turn comes (the Shapley value).
    slopes : (n_P,) array
        `∂F/∂sᵢ = −2 gᵢ·L`: below 0 where more of the mode would help now.
    best_alone : (n_P,) array
        Share in [0, 1] at which `F` is least if this mode alone is learnt, `ρ·gᵢ/‖gᵢ‖²`: 0 for modes that had better not be learnt.
    """

    eigenvalues: Array
    shares: Array
    changes: Array
    slopes: Array
    best_alone: Array

    @classmethod
    def of(cls, eigenvalues: Array, shares: Array, modes: Array, start: Array, left: Array) -> ModeContributions:
        """From `gᵢ` (n_P, p, c), `ρ` and `L` (p, c)."""
        xp = namespace(modes)
        g = xp.reshape(modes, (modes.shape[0], -1))
        rho, L = xp.reshape(start, (-1,)), xp.reshape(left, (-1,))
        size, fit = xp.sum(g * g, axis=1), g @ rho
        there = size > 0
        alone = xp.where(there, fit / xp.where(there, size, xp.ones_like(size)), xp.zeros_like(size))
        return cls(eigenvalues, shares, -shares * (g @ (rho + L)), -2 * (g @ L), xp.clip(alone, 0.0, 1.0))
