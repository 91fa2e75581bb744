"""Functions of a Gram matrix times vectors by Lanczos, for finite numbers of steps: no decomposition, one product a Lanczos step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import array_api_compat as compat
import numpy as np

from theory.arrays import Array, namespace, scalar
from theory.errors import InvalidInput, NotConverged
from theory.numeric.solvers.operators import Operator, Progress
from theory.numeric.spectrum import integral_filter, residual_filter

# Steps of descent whose Lanczos error is bounded by an explicit sum, where no closed form of it holds.
_LONGEST_SUM = 1 << 21


@dataclass(frozen=True, eq=False)
class Krylov:
    """`m` Lanczos steps from one vector: `H V = V T + β v eᵀ`, `V` orthonormal, `V e₁ = y/‖y‖`.

    Attributes
    ----------
    norm : float
        `‖y‖`.
    basis : (m, n) array
        Rows are the columns of `V`.
    values, vectors : (m,) and (m, m) NumPy arrays
        Eigenvalues of `T`, 0 below `n · eps` of the largest or of the largest entry of `H`, as in `GramSpectrum`; and its eigenvectors.
    beta : float
        `β`, 0 where the Krylov space is invariant.
    """

    norm: float
    basis: Array
    values: np.ndarray
    vectors: np.ndarray
    beta: float

    @property
    def steps(self) -> int:
        """`m`."""
        return len(self.values)

    def residual_error(self, lr: float, steps: int) -> tuple[float, float]:
        """Bound of `‖(I − ηH)^k y − ‖y‖ V (I − ηT)^k e₁‖`, and the rounding in its own evaluation.

        Parameters
        ----------
        lr : float
            `η ≤ 2/λ_max`.
        steps : int
            `k`.

        Notes
        -----
        The bound is for exact arithmetic: rounding of an eps of `λ_max` in `H`, which `k` steps enlarge up to `k` times where `H` has
        eigenvalues below `λ_max/k`, comes on top, as it does for an eigendecomposition.

        Lanczos's value obeys the recursion of descent but for a term `η β ‖y‖ g_j v`, `g_j = e_mᵀ(I − ηT)^j e₁`, which later steps do not
        enlarge: the error is at most `η β ‖y‖ Σ_{j<k} |g_j|`. `g_j` is 0 for `j < m − 1`, so `k` Lanczos steps are exact. For
        `η ≤ 1/λ_max` all `g_j` have one sign, that of a divided difference of `(1 − ηλ)^j`, and the sum is `|e_mᵀ φ_k(T) e₁|/η`.

        Source: own derivation; the term of closed form is the estimate of Saad, SIAM J. Numer. Anal. 29, 1992, theorem 5.1.
        """
        if self.beta == 0 or steps < self.steps:
            return 0.0, 0.0
        overlap = self.vectors[-1] * self.vectors[0]
        phi = np.asarray(integral_filter(self.values, lr, steps))
        floor = 4 * float(np.finfo(self.basis_dtype).eps) * self.beta * self.norm * float(np.abs(overlap * phi).sum())
        if lr * self.values.max() <= 1 + 1e-6:
            return self.beta * self.norm * abs(float(overlap @ phi)), floor
        if steps > _LONGEST_SUM:
            raise InvalidInput(
                f"{steps} steps at {lr:.6g}, above 1/λ_max = {1 / self.values.max():.6g}, were given to Lanczos; at most {_LONGEST_SUM} "
                "steps, or a step size of at most 1/λ_max, is allowed"
            )
        shrink, block = 1 - lr * self.values, 1 << 12
        powers = shrink[None, :] ** np.arange(block)[:, None]
        total = 0.0
        for start in range(self.steps - 1, steps, block):
            terms = np.abs(powers[: steps - start] @ (overlap * shrink**start))
            total += float(terms.sum())
            if terms.max() == 0:
                break
        return lr * self.beta * self.norm * total, floor

    @property
    def basis_dtype(self) -> np.dtype:
        """The precision that the basis is held in."""
        return np.dtype(np.float32 if self.basis.dtype == namespace(self.basis).float32 else np.float64)


def lanczos(
    operator: Operator,
    Y: Array,
    lr: float,
    steps: int,
    *,
    rtol: float | None = None,
    max_steps: int = 2000,
    progress: Progress | None = None,
) -> list[Krylov]:
    """Krylov spaces from each column of `Y` in which descent of up to `steps` steps of size `lr` is followed.

    Parameters
    ----------
    operator : Operator
        Of size `n`.
    Y : (n, c) array
    lr : float
        `η ≤ 2/λ_max`.
    steps : int
        `k`: the bound is for the longest run asked for, and holds for shorter ones.
    rtol : float, optional
        Largest relative error of residuals, and of outputs at any point `x` over `√K(x, x) ‖y‖/√(max K)`; `2⁻⁸ √eps` when absent.
    max_steps : int
        Lanczos steps after which it gives up.

    Raises
    ------
    NotConverged
        With the error reached.
    InvalidInput
        For a matrix that shows itself indefinite.

    Notes
    -----
    Coefficients `γ = φ_k(H) y` have an error `δ` with `‖δ‖ ≤ ηk e` and `‖Hδ‖ ≤ 2e`, `e` the bound of the residual: outputs `h(x)ᵀγ` and the
    displacement `‖γ‖_H` are therefore off by at most `√(K(x, x) · 2ηk) e` and `√(2ηk) e`. Every new vector is orthogonalised twice
    against all before it.

    Source: `Krylov.residual_error`; Parlett, *The Symmetric Eigenvalue Problem*, §6.9, for "twice is enough".
    """
    xp = namespace(operator.like, Y)
    eps = float(xp.finfo(Y.dtype).eps)
    rtol = 2.0**-8 * eps**0.5 if rtol is None else rtol
    top = scalar(xp.max(operator.diagonal()))
    amplified = max(1.0, math.sqrt(2 * lr * steps * top))
    runs = [_Run(Y[:, i], eps, top) for i in range(Y.shape[1])]
    found: list[Krylov | None] = [run.krylov() if run.done else None for run in runs]
    most = min(max_steps, operator.size)
    for m in range(1, most + 1):
        active = [i for i, run in enumerate(runs) if found[i] is None]
        if not active:
            break
        products = operator.times(xp.stack([runs[i].vector for i in active], axis=1))
        worst = 0.0
        for at, i in enumerate(active):
            runs[i].advance(products[:, at])
            # Each check decomposes T: at every step while that is cheap.
            if not (runs[i].done or m == operator.size or m > steps or m < 20 or m % 8 == 0 or m == most):
                continue
            krylov = runs[i].krylov()
            error, floor = krylov.residual_error(lr, steps)
            if m == operator.size or amplified * error <= rtol * krylov.norm or error <= floor:
                found[i] = krylov
            worst = max(worst, amplified * error / krylov.norm)
        if progress is not None and worst > 0:
            progress("Lanczos", min(1.0, max(0.0, math.log(worst) / math.log(rtol))))
        if m == most and any(k is None for k in found):
            raise NotConverged(
                f"Lanczos left a relative error of {worst:.3g} after {m} steps for {steps} steps of descent; {rtol:.3g} was asked for"
            )
    return [k for k in found if k is not None]


def largest_eigenvalue(operator: Operator, *, max_steps: int = 300, progress: Progress | None = None) -> float:
    """`λ_max` by Lanczos from a fixed random vector; 0 for a zero matrix.

    The residual `ρ` of the Ritz pair is at most `√eps λ_max`. The value is off by at most `ρ`, and by at most `ρ²` over the gap to the next
    eigenvalue.

    Raises
    ------
    NotConverged
        After `max_steps`.

    Source: Parlett, *The Symmetric Eigenvalue Problem*, theorem 11.7.1.
    """
    xp = namespace(operator.like)
    start = np.random.default_rng(0).standard_normal(operator.size)
    eps = float(xp.finfo(operator.like.dtype).eps)
    top = scalar(xp.max(operator.diagonal()))
    run = _Run(xp.asarray(start, dtype=operator.like.dtype, device=compat.device(operator.like)), eps, top)
    value = residual = 0.0
    most = min(max_steps, operator.size)
    for m in range(1, most + 1):
        run.advance(operator.times(run.vector[:, None])[:, 0])
        krylov = run.krylov()
        value, residual = float(krylov.values[-1]), krylov.beta * abs(float(krylov.vectors[-1, -1]))
        over = run.done or m == operator.size or residual <= eps**0.5 * value
        if progress is not None:
            share = 1.0 if over else 2 * math.log(max(residual / value, eps**0.5)) / math.log(eps) if 0 < residual < value else 0.0
            progress("largest eigenvalue", share)
        if over:
            return value
    raise NotConverged(
        f"λ_max = {value:.6g} has a residual of {residual:.3g} after {most} Lanczos steps; {eps**0.5 * value:.3g} was asked for"
    )


class _Run:
    """Lanczos from one vector, a product at a time; `top` is the largest entry of the matrix, next to whose eps all is rounding."""

    def __init__(self, y: Array, eps: float, top: float) -> None:
        xp = namespace(y)
        self.eps, self.top = eps, top
        self.norm = scalar(xp.linalg.vector_norm(y))
        self.done = self.norm == 0
        self.vector = y if self.done else y / self.norm
        self.basis = xp.zeros((8, y.shape[0]), dtype=y.dtype, device=compat.device(y))
        self.alphas: list[float] = []
        self.betas: list[float] = []

    def advance(self, product: Array) -> None:
        """One Lanczos step, `product` being `H` times `vector`."""
        xp = namespace(product)
        m = len(self.alphas)
        if m == self.basis.shape[0]:
            self.basis = xp.concat([self.basis, xp.zeros_like(self.basis)])
        self.basis[m, :] = self.vector
        self.alphas.append(scalar(xp.sum(self.vector * product)))
        V = self.basis[: m + 1, :]
        for _ in range(2):
            product = product - V.T @ (V @ product)
        beta = scalar(xp.linalg.vector_norm(product))
        # What is left of an invariant space is rounding of the product.
        self.done = beta <= 4 * self.eps * max(self.top, *map(abs, self.alphas)) or m + 1 == self.basis.shape[1]
        self.betas.append(0.0 if self.done else beta)
        if not self.done:
            self.vector = product / beta

    def krylov(self) -> Krylov:
        m = len(self.alphas)
        if m == 0:
            return Krylov(self.norm, self.basis[:1, :], np.zeros(1), np.eye(1), 0.0)
        T = np.diag(self.alphas) + np.diag(self.betas[: m - 1], 1) + np.diag(self.betas[: m - 1], -1)
        values, vectors = np.linalg.eigh(T)
        largest = max(self.top, abs(float(values[0])), abs(float(values[-1])))
        if values[0] < -(self.eps**0.5) * largest:
            raise InvalidInput(
                f"the Gram matrix is indefinite: λ_min is at most {values[0]:.3g}, with entries up to {self.top:.3g}; positive "
                "semi-definite is allowed"
            )
        # Rounding of a zero: taken for an eigenvalue, it would move the weights by the root of the number of steps.
        values = np.where(values > self.basis.shape[1] * self.eps * largest, values, 0.0)
        return Krylov(self.norm, self.basis[:m, :], values, vectors, self.betas[m - 1])


@dataclass(frozen=True, eq=False)
class Descent:
    """Descent from each column of `Y`, as Lanczos has it.

    Attributes
    ----------
    coefficients, residual : (n, c) arrays, at the last step asked for
    loss, displacement : tuples of float, at each step, summed over columns
    path : tuple of (n, c) arrays, coefficients at each step
    lanczos_steps : int, the most that a column took
    """

    coefficients: Array
    residual: Array
    loss: tuple[float, ...]
    displacement: tuple[float, ...]
    path: tuple[Array, ...]
    lanczos_steps: int


def descent(spaces: Sequence[Krylov], lr: float, steps: Sequence[int]) -> Descent:
    """`φ_k(H) Y`, `q_k(H) Y` at the last of `steps`, loss and displacement at each, from the Krylov spaces of the columns of `Y`."""
    xp = namespace(spaces[0].basis)

    def column(krylov: Krylov, values: np.ndarray) -> Array:
        """`‖y‖ V f(T) e₁`."""
        small = krylov.norm * (krylov.vectors @ (values * krylov.vectors[0]))
        return krylov.basis.T @ xp.asarray(small, dtype=krylov.basis.dtype, device=compat.device(krylov.basis))

    def total(k: int, moved: bool) -> float:
        out = 0.0
        for krylov in spaces:
            weight = (krylov.norm * krylov.vectors[0]) ** 2
            if moved:
                out += float(weight @ (np.asarray(integral_filter(krylov.values, lr, k)) ** 2 * krylov.values))
            else:
                out += float(weight @ np.asarray(residual_filter(krylov.values, lr, k)) ** 2)
        return out

    path = tuple(xp.stack([column(s, np.asarray(integral_filter(s.values, lr, k))) for s in spaces], axis=1) for k in steps)
    return Descent(
        coefficients=path[-1],
        residual=xp.stack([column(s, np.asarray(residual_filter(s.values, lr, steps[-1]))) for s in spaces], axis=1),
        loss=tuple(total(k, moved=False) / 2 for k in steps),
        displacement=tuple(math.sqrt(total(k, moved=True)) for k in steps),
        path=path,
        lanczos_steps=max(s.steps for s in spaces),
    )


def lanczos_apply(operator: Operator, Y: Array, lr: float, steps: int, **options: float) -> tuple[Array, Array]:
    """`q_k(H) Y` and `φ_k(H) Y` for `Y` (n,) or (n, c); options and errors as for `lanczos`."""
    columns = Y[:, None] if Y.ndim == 1 else Y
    found = descent(lanczos(operator, columns, lr, steps, **options), lr, (steps,))  # type: ignore[arg-type]
    out = found.residual, found.coefficients
    return (out[0][:, 0], out[1][:, 0]) if Y.ndim == 1 else out
