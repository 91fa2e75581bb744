"""`q_k(H) y` and `φ_k(H) y` for a finite number of steps, by repeated squaring with one bound of the error's norm.

For a stable step size `‖I − ηH‖ ≤ 1`. If `‖P̂ − P‖ ≤ e` and `‖P‖ ≤ 1`, then `‖P̂² − P²‖ ≤ e(2 + e)`: errors double from squaring to
squaring, in step with `k`, where the radii of elementwise balls would grow with a power of `n`.
"""

from __future__ import annotations

from dataclasses import dataclass

from flint import arb, arb_mat

from theory.certified.balls import Near, identity, norm


@dataclass(frozen=True)
class Squarings:
    """`(I − ηH)^(2^j)` for every `2^j` up to a number of steps `k`.

    `H` must be positive semi-definite with `ηλ_max ≤ 2`.
    """

    steps: int
    lr: arb
    powers: tuple[Near, ...]

    @classmethod
    def of(cls, H: arb_mat, lr: arb, steps: int) -> Squarings:
        """Square as often as `steps` has binary digits."""
        powers = [Near.of(identity(H.nrows()) - H * lr)] if steps else []
        for _ in range(steps.bit_length() - 1):
            P = powers[-1]
            powers.append(Near.of(P.mid * P.mid, P.error * (2 + P.error)))
        return cls(steps, lr, tuple(powers))

    def apply(self, y: Near) -> tuple[Near, Near]:
        """`q_k(H) y` and `φ_k(H) y`.

        By `q_{m+n} = q_n q_m` and `φ_{m+n} = φ_m + φ_n q_m` over the binary digits of `k`, with
        `φ_{2^j} = η (I + P_{j−1}) ⋯ (I + P_0)`, `P_i = (I − ηH)^(2^i)`.
        """
        q, phi = y, Near(y.mid * 0, arb(0))
        for j, P in enumerate(self.powers):
            if not self.steps >> j & 1:
                continue
            part = q
            for lower in self.powers[:j]:
                moved = _times(lower, part)
                part = Near.of(part.mid + moved.mid, part.error + moved.error)
            part = Near.of(part.mid * self.lr, part.error * self.lr)
            phi = Near.of(phi.mid + part.mid, phi.error + part.error)
            q = _times(P, q)
        return q, phi


def _times(P: Near, v: Near) -> Near:
    """`P v` for `‖P‖ ≤ 1`."""
    return Near.of(P.mid * v.mid, P.error * norm(v.mid) + v.error)
