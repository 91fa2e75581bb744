"""Where a sum of exponentials over whole steps has its minima: intervals are divided until no change of sign of its slope can hide."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import array_api_compat as compat

from theory.arrays import Array, namespace, to_numpy

# Intervals of steps narrower than this share of their start are not divided any further; see `PretrainingCurve.turns`.
_FINEST = 2.0**-12
_BATCH = 2048


class SlopeSearch:
    """`D(k) = F(k + stride) − F(k)` at `k = phase, phase + stride, …`: sums of exponentials with positive bases."""

    def __init__(
        self, values: Array, lr: float, modes: Array, end: Array, *, sizes: Array, rounding: float, stride: int, phase: int
    ) -> None:
        """Eigenvalues and step size; `gᵢ` (n, p) and the limit of `L` (1, p); `‖gᵢ‖`; rounding in units of the sizes added up."""
        xp = namespace(modes)
        self.stride, self.phase = stride, phase
        x = lr * values
        # |1 − x| = 1 − min(x, 2 − x), and 2 − x is exact for x in [1, 2].
        near = xp.where(x > 1, 2 - x, x)
        self.at_once = near >= 1
        self.log_base = xp.log1p(-xp.where(self.at_once, xp.zeros_like(near), near))
        self.leaves = x if self.stride == 1 else x * (2 - x)  # 1 − q^stride, without cancellation
        signs = xp.where((x > 1) & (phase == 1), -xp.ones_like(x), xp.ones_like(x))
        modes = signs[:, None] * modes
        if modes.shape[1] > modes.shape[0] + 1:
            # Only inner products matter, and those of n + 1 vectors need n + 1 coordinates.
            triangle = xp.linalg.qr(xp.concat([end, modes]).T)[1].T
            end, modes = triangle[:1, :], triangle[1:, :]
        self.end, self.modes, self.sizes = end, modes, sizes
        self.rounding = rounding
        self.underflow = float(xp.finfo(end.dtype).smallest_normal) / float(xp.finfo(end.dtype).eps)
        self.known: dict[int, tuple[float, float, float, float, float]] = {}

    def minima(self, last: int) -> list[int]:
        """Steps where `D` goes from negative to positive, `D` evaluated at most at `last − 1`."""
        end = last - 1 - (last - 1 - self.phase) % self.stride
        if end < self.phase:
            return []
        # Before the first odd step nothing can have risen.
        found, fallen = [], self.phase - self.stride if self.phase else None
        for k in self._searched(end):
            sign = self._sign(k)
            if sign < 0:
                fallen = k
            elif sign > 0 and fallen is not None:
                found.append(self._first_not_falling(fallen, k))
                fallen = None
        return found

    def _searched(self, end: int) -> list[int]:
        """Steps from the phase to `end` between which, taken in turn, no change of sign is left to find."""
        grid, width = [self.phase], self.stride
        while grid[-1] < end:
            grid.append(min(end, self.phase + width))
            width *= 2
        points, cells = set(grid), list(pairwise(grid))
        self._evaluate(points)
        while cells := [cell for cell in cells if self._open(*cell)]:
            halves = [(a, a + (b - a) // (2 * self.stride) * self.stride, b) for a, b in cells]
            self._evaluate(middle for _, middle, _ in halves)
            points.update(middle for _, middle, _ in halves)
            cells = [half for a, middle, b in halves for half in ((a, middle), (middle, b))]
        return sorted(points)

    def _open(self, a: int, b: int) -> bool:
        """Whether the interval is to be divided."""
        if b - a <= self.stride:
            return False
        if self._sign(a) * self._sign(b) < 0:
            return True
        if b - a <= a * _FINEST:
            return False
        slope, step, both, step_terms, both_terms = self.known[a]
        later_slope, later_step, later_both, later_step_terms, later_both_terms = self.known[b]
        # D = −s·M; s and M differ within the interval from their values at its ends by at most what their terms lose over it.
        step_lost, both_lost = step_terms - later_step_terms, both_terms - later_both_terms
        from_a = step * both_lost + both * step_lost + step_lost * both_lost
        from_b = later_step * both_lost + later_both * step_lost + step_lost * both_lost
        floor = self.rounding * step_terms
        one_sign = abs(slope) > from_a + floor or abs(later_slope) > from_b + floor
        flat = abs(slope) + from_a <= floor
        return not (one_sign or flat)

    def _first_not_falling(self, falling: int, rising: int) -> int:
        while rising - falling > self.stride:
            middle = falling + (rising - falling) // (2 * self.stride) * self.stride
            self._evaluate([middle])
            if self._sign(middle) < 0:
                falling = middle
            else:
                rising = middle
        return rising

    def _sign(self, k: int) -> int:
        """Of `D(k)`; 0 within rounding."""
        # What has underflowed in part has no digits left, and its rounding is not in proportion.
        slope, floor = self.known[k][0], self.rounding * self.known[k][3] + self.underflow
        return 0 if abs(slope) <= floor else 1 if slope > 0 else -1

    def _evaluate(self, steps: Iterable[int]) -> None:
        """`D`, `‖s‖`, `‖M‖` and the sizes of their decaying terms added up; `s = L(k) − L(k + stride)`, `M = L(k) + L(k + stride)`."""
        wanted = sorted(set(steps) - self.known.keys())
        xp, device = namespace(self.modes), compat.device(self.modes)
        for low in range(0, len(wanted), _BATCH):
            batch = wanted[low : low + _BATCH]
            k = xp.asarray([float(step) for step in batch], dtype=self.modes.dtype, device=device)[:, None]
            left = xp.exp(k * self.log_base[None, :])
            left = xp.where(self.at_once[None, :] & (k > 0), xp.zeros_like(left), left)
            step, both = left * self.leaves, left * (2 - self.leaves)
            s, m = step @ self.modes, 2 * self.end + both @ self.modes
            rows = (
                -xp.sum(s * m, axis=1),
                xp.sqrt(xp.sum(s * s, axis=1)),
                xp.sqrt(xp.sum(m * m, axis=1)),
                step @ self.sizes,
                both @ self.sizes,
            )
            self.known.update(zip(batch, zip(*(to_numpy(row).tolist() for row in rows), strict=True), strict=True))
