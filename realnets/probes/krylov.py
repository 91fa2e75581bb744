"""Orthonormal bases of Krylov spaces, and the Rayleigh–Ritz values in them, with full reorthogonalisation.

A basis `Q` (rows) grows one product at a time from a queue of candidate vectors `c_a`, so that always `H Q = Q B + Σ_a c_a ρ_aᵀ` with
`c_a ⟂ Q`: the Ritz pair `(θ, Q s)` of `B` has the residual `Σ_a c_a (ρ_aᵀ s)`. One candidate is Lanczos, several are block
Lanczos; Ritz vectors with the same candidates are a thick restart, and a random candidate with `ρ = 0` leaves an invariant subspace.

Source: Freund 2000 (band Lanczos); Wu and Simon 2000 (thick restart); Giraud et al. 2005 (twice is enough).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

BLOCK = 32
COLUMNS = 1 << 17
"""Entries of a row that are held in float64 at a time, where the rows are not."""

NOTHING = 64
"""Units of rounding of `‖H‖` below which a candidate is rounding error."""


class Basis:
    """Orthonormal rows of one dtype; sums over their entries are taken in float64."""

    def __init__(self, size: int, dtype: torch.dtype, device: torch.device) -> None:
        self._size, self._dtype, self._device = size, dtype, device
        self._blocks: list[Tensor] = []
        self.count = 0

    def append(self, row: Tensor) -> None:
        """Add a unit vector that is orthogonal to the rows."""
        if self.count == BLOCK * len(self._blocks):
            self._blocks.append(torch.empty(min(BLOCK, self._size), self._size, dtype=self._dtype, device=self._device))
        self._blocks[-1][self.count % BLOCK] = row
        self.count += 1

    def row(self, index: int) -> Tensor:
        """Row `index`, (p,)."""
        return self._blocks[index // BLOCK][index % BLOCK]

    def _parts(self) -> list[Tensor]:
        return [block[: self.count - k * BLOCK] for k, block in enumerate(self._blocks) if self.count > k * BLOCK]

    def inner(self, vector: Tensor) -> Tensor:
        """`Q v`, (m,), of a float64 vector (p,)."""
        total = torch.zeros(self.count, dtype=torch.float64, device=self._device)
        for start in range(0, self._size, COLUMNS):
            part = slice(start, start + COLUMNS)
            if self.count:
                total += torch.cat([block[:, part].double() @ vector[part] for block in self._parts()])
        return total

    def remove(self, vector: Tensor) -> Tensor:
        """Make the float64 `vector` orthogonal to all rows, in place; the coefficients taken out of it, (m,)."""
        taken = torch.zeros(self.count, dtype=torch.float64, device=self._device)
        for _ in range(2):
            found = self.inner(vector)
            for start in range(0, self._size, COLUMNS):
                part = slice(start, start + COLUMNS)
                for k, block in enumerate(self._parts()):
                    vector[part] -= found[k * BLOCK : k * BLOCK + len(block)] @ block[:, part].double()
            taken += found
        return taken

    def combine(self, coefficients: np.ndarray) -> Tensor:
        """`Sᵀ Q`, (k, p), of coefficients `S` (m, k)."""
        S = torch.as_tensor(coefficients, dtype=torch.float64, device=self._device)
        rows = torch.empty(S.shape[1], self._size, dtype=self._dtype, device=self._device)
        for start in range(0, self._size, COLUMNS):
            part = slice(start, start + COLUMNS)
            rows[:, part] = torch.as_tensor(
                sum(S[k * BLOCK : k * BLOCK + len(block)].T @ block[:, part].double() for k, block in enumerate(self._parts()))
            ).to(self._dtype)
        return rows


@dataclass
class _Candidate:
    vector: Tensor
    rho: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Ritz:
    """Ritz values, ascending, with what is known of their errors.

    Attributes
    ----------
    values : (m,) array
    residuals : (m,) array
        `‖H v − θ v‖`.
    coefficients : (m, m) array
        Of the Ritz vectors in the basis, as columns.
    rounding : float
        Size of the products' rounding errors in the basis: of the part of `B` that is not symmetric, and at least that of the dtype.
    """

    values: np.ndarray
    residuals: np.ndarray
    coefficients: np.ndarray
    rounding: float

    def bounds(self, which: str, widest: int = 12) -> np.ndarray:
        """Bounds on the errors of the values, (m,): the smaller of the residual and of `‖R‖²/gap`.

        `R` are the residuals of a group of up to `widest` neighbouring Ritz values, `gap` its distance to the next ones outside, less their
        residuals. The second bound takes it that there is no eigenvalue within the gap that no Ritz value stands for: none
        above the largest Ritz value if `which` is "largest", none below the smallest if it is "smallest", neither for "magnitude".

        Source: Mathias 1998 (quadratic residual bounds).
        """
        theta, r = self.values, self.residuals
        m = len(theta)
        best = r.copy()
        # An end of the spectrum that is not looked for may hide eigenvalues anywhere: no gap.
        below = np.concatenate([[np.inf if which == "largest" else -np.inf], theta[:-1] + r[:-1]])
        above = np.concatenate([theta[1:] - r[1:], [-np.inf if which == "smallest" else np.inf]])
        for width in range(1, min(widest, m - 1) + 1):
            squares = np.convolve(r**2, np.ones(width), "valid")
            gap = np.minimum(theta[: m - width + 1] - below[: m - width + 1], above[width - 1 :] - theta[width - 1 :])
            with np.errstate(divide="ignore", invalid="ignore"):
                quadratic = np.where(gap > 0, squares / gap, np.inf)
            for shift in range(width):
                np.minimum(best[shift : shift + len(quadratic)], quadratic, out=best[shift : shift + len(quadratic)])
        return best + self.rounding


class Krylov:
    """A growing Krylov space of `operator`.

    Parameters
    ----------
    operator : callable
        `v ↦ H v`, symmetric.
    size, dtype, device
        Of its vectors.
    draw : callable
        Gives random vectors, float64 (p,).
    block : int
        Number of random vectors to begin with.
    """

    def __init__(
        self,
        operator: Callable[[Tensor], Tensor],
        size: int,
        dtype: torch.dtype,
        device: torch.device,
        draw: Callable[[], Tensor],
        block: int = 1,
    ) -> None:
        self._operator, self._draw = operator, draw
        self._kind = size, dtype, device
        self.basis = Basis(*self._kind)
        self._B = np.zeros((0, 0))
        self._candidates = deque(_Candidate(draw(), np.zeros(0)) for _ in range(block))
        self._eps = float(torch.finfo(dtype).eps)

    def _scale(self) -> float:
        return float(np.abs(self._B).sum(axis=1).max(initial=0.0))

    def step(self) -> None:
        """One product, in a direction that is new; there must be one left."""
        vector, rho = self._next()
        m = self.basis.count
        grown = np.zeros((m + 1, m + 1))
        grown[:m, :m] = self._B
        grown[m, :m] = rho
        self.basis.append(vector)
        q = self.basis.row(m)
        image = self._operator(q).double()
        for other in self._candidates:
            # The row as it is stored, rounded, is what later vectors must be orthogonal to.
            share = float(other.vector @ q.double())
            other.vector -= share * q.double()
            other.rho = np.append(other.rho, 0.0)
            grown[m] += share * other.rho
        grown[:, m] += self.basis.remove(image).cpu().numpy()
        self._B = grown
        unit = np.zeros(m + 1)
        unit[m] = 1.0
        self._candidates.append(_Candidate(image, unit))

    def _next(self) -> tuple[Tensor, np.ndarray]:
        scale = self._scale()
        while self._candidates:
            candidate = self._candidates.popleft()
            started = float(candidate.vector.norm())
            if not candidate.rho.any():
                candidate.vector /= started
                started = 1.0
            self._B += np.outer(self.basis.remove(candidate.vector).cpu().numpy(), candidate.rho)
            norm = float(candidate.vector.norm())
            weight = float(np.linalg.norm(candidate.rho))
            if norm > self._eps * NOTHING * (scale / weight if weight else 1.0):
                return candidate.vector / norm, norm * candidate.rho
        self._candidates.append(_Candidate(self._draw(), np.zeros(self.basis.count)))
        return self._next()

    def ritz(self) -> Ritz:
        """Values, residuals and coefficients in the present basis."""
        B = (self._B + self._B.T) / 2
        theta, S = np.linalg.eigh(B)
        scale = float(np.abs(theta).max(initial=0.0))
        rounding = max(float(np.linalg.norm(self._B - self._B.T)) / 2, 16 * self._eps * scale)
        vectors = [c.vector for c in self._candidates]
        gram = np.array([[float(a @ b) for b in vectors] for a in vectors])
        shares = np.array([c.rho for c in self._candidates]) @ S
        residuals = np.sqrt(np.maximum(np.einsum("am,ab,bm->m", shares, gram, shares), 0.0))
        return Ritz(values=theta, residuals=residuals, coefficients=S, rounding=rounding)

    def restart(self, keep: np.ndarray) -> None:
        """Keep the span of the Ritz vectors numbered `keep` (ascending values) and the candidates; drop the rest."""
        found = self.ritz()
        S = found.coefficients[:, keep]
        rows = self.basis.combine(S)
        self.basis = Basis(*self._kind)
        for row in rows:
            self.basis.append(row)
        self._B = np.diag(found.values[keep])
        for candidate in self._candidates:
            candidate.rho = candidate.rho @ S
