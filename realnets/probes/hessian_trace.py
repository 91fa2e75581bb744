"""Trace of the Hessian of the mean loss, with a standard error that counts what its estimates share.

Random test vectors `ω` on the sphere of radius `√p`, of which the first `k` also make a sketch: `Q` spans `H ω₁ … H ω_k`, and with
`Π` the projection on its complement, rescaled to unit variance, `tr H = tr(QᵀHQ) + E[ωᵀ Π H Π ω]`. A test vector that is in the sketch
is judged by the sketch without it (XTrace); `k = 0` is Hutchinson's estimator. Products are spent where the sketch pays.

Source: Epperly, Tropp and Webber 2024 (2301.07825), XTrace; Hutchinson 1989; Meyer et al. 2021 (Hutch++).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from realnets.probes.batches import Batches, Loss
from realnets.probes.hvp import Hessian, hessian_operator
from sim.rng import generator
from theory.errors import InvalidInput

LEAST = 8
"""Products; fewer give no standard error worth the name."""


@dataclass(frozen=True, kw_only=True)
class HessianTrace:
    """`tr H = Σᵢ λᵢ`.

    Attributes
    ----------
    mean : float
        Unbiased estimate.
    standard_error : float
        Without the products' rounding; 0 where the trace was computed exactly.
    products : int
        Hessian-vector products used.
    sketched : int
        Test vectors `k` in the sketch.
    weights : int
        Number of chosen weights `p`; `mean/p` is the mean eigenvalue.
    """

    mean: float
    standard_error: float
    products: int
    sketched: int
    weights: int


def hessian_trace(
    model: nn.Module,
    loss_fn: Loss,
    batches: Iterable[tuple[Tensor, Tensor]] | Batches,
    products: int = 100,
    *,
    layers: Iterable[str] | None = None,
    seed: int = 0,
    memory: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> HessianTrace:
    """The trace of the Hessian of the mean loss over all samples, in evaluation mode.

    Parameters
    ----------
    model, loss_fn, batches, layers, memory
        As in `hessian_operator`. Memory limits the sketch, not the products.
    products : int
        Hessian-vector products to spend, at least 8. With as many as there are weights the diagonal is summed: exact.
    seed : int
        Of the test vectors.
    progress : callable, optional
        Called with 1 after each product.

    Raises
    ------
    InvalidInput
        For arguments outside these ranges, an unknown layer, or a loss or product that is not finite.
    TooLarge
        If the graph of one batch does not fit into the memory.
    """
    if products < LEAST:
        raise InvalidInput(f"products is {products}; at least {LEAST} are allowed")
    with hessian_operator(model, loss_fn, batches, layers=layers, memory=memory) as H:
        if products >= H.size:
            return _exact(H, progress)
        rng = generator("realnets.probes.hessian_trace", seed)
        p = H.size

        def test_vectors(count: int) -> Tensor:
            drawn = torch.as_tensor(rng.standard_normal((count, p))).T.to(H.device)
            return drawn * (math.sqrt(p) / torch.linalg.vector_norm(drawn, dim=0))

        def times(vectors: Tensor) -> Tensor:
            columns = torch.empty_like(vectors)
            for index in range(vectors.shape[1]):
                columns[:, index] = H(vectors[:, index])
                if progress is not None:
                    progress(1)
            return columns

        # Test vectors, their images, an orthonormal basis of these and its images, in float64, and room to work.
        largest = min(products // 2, H.memory // (6 * 8 * p))
        Omega = test_vectors(largest)
        Y = times(Omega)
        k, spanned = _sketch_size(Y, products, float(torch.finfo(H.dtype).eps))
        Q = torch.linalg.qr(Y[:, :k])[0]
        Z = times(Q)
        quadratic, W, B = (Omega * Y).sum(dim=0), Q.T @ Omega, Q.T @ Y
        del Omega
        for _ in range(products - k - largest):
            omega = test_vectors(1)
            image = times(omega)
            quadratic = torch.cat([quadratic, (omega * image).sum(dim=0)])
            W, B = torch.cat([W, Q.T @ omega], dim=1), torch.cat([B, Q.T @ image], dim=1)
        # Where the sketch leaves next to nothing, the vectors in it, judged by less than it, would only add their scatter.
        first = k if spanned else 0
        mean, error = exchangeable_mean(p, quadratic.cpu(), W.cpu(), B.cpu(), (Q.T @ Z).cpu(), first)
        return _result(H, mean, error, k)


def _exact(H: Hessian, progress: Callable[[int], object] | None) -> HessianTrace:
    unit = torch.zeros(H.size, dtype=H.dtype, device=H.device)
    entries = []
    for index in range(H.size):
        unit[index] = 1
        entries.append(float(H(unit)[index]))
        unit[index] = 0
        if progress is not None:
            progress(1)
    return _result(H, math.fsum(entries), 0.0, 0)


def _result(H: Hessian, mean: float, error: float, k: int) -> HessianTrace:
    return HessianTrace(mean=mean, standard_error=error, products=H.products, sketched=k, weights=H.size)


def _sketch_size(Y: Tensor, products: int, eps: float) -> tuple[int, bool]:
    """How many of the images `Y` (p, m) to make the sketch of, and whether it spans nearly all of the range of `H`.

    The variance that a sketch of `k` leaves is as `‖(1 − QQᵀ)H‖²`, estimated from the images that are not in it, and from each
    that is by leaving it out; `products − k` test vectors share it.
    """
    m = Y.shape[1]
    if m < 3:
        return 0, False
    scale = float(Y.abs().max())
    if scale == 0:
        return 0, False
    R = torch.linalg.qr(Y / scale)[1].cpu()
    sizes = torch.linalg.vector_norm(R, dim=0)
    exhausted = (R.diagonal().abs() <= 1000 * eps * sizes.max()).nonzero()
    if len(exhausted):
        return min(int(exhausted[0]), products - m - 3), True
    choices = {}
    for k in sorted({0, products // 8, products // 4, products // 2}):
        if k > m or 0 < k < 3:
            continue
        # Distances of the images from the span of those in the sketch: from its inverse where they belong to it themselves.
        inside = 1 / torch.linalg.vector_norm(torch.linalg.inv(R[:k, :k]), dim=1) ** 2 if k else torch.empty(0)
        outside = (R[k:, k:] ** 2).sum(dim=0)
        choices[k] = float(torch.cat([inside, outside]).mean()) / (products - k)
    return min(choices, key=lambda k: choices[k]), False


def exchangeable_mean(p: int, quadratic: Tensor, W: Tensor, B: Tensor, M: Tensor, first: int = 0) -> tuple[float, float]:
    """Mean of the test vectors' estimates, and its standard error.

    Parameters
    ----------
    p : int
        Number of weights.
    quadratic : (N,) tensor
        `ωᵀHω`.
    W, B : (k, N) tensors
        `QᵀΩ`, `QᵀHΩ`; the first `k` columns of `HΩ` span `Q`.
    M : (k, k) tensor
        `QᵀHQ`.
    first : int
        `k` to take the mean over vectors outside of the sketch only.

    The estimate `tᵢ` of a vector in the sketch depends on another one, `ω_j`, through `Q`. With `tᵢ⁽ʲ⁾` the estimate without `ω_j` in the
    sketch, `Cov(tᵢ, t_j) = E[(tᵢ − tᵢ⁽ʲ⁾)(t_j − t_j⁽ⁱ⁾)]`: the other products, as `E[(tᵢ − tr H)(t_j⁽ⁱ⁾ − tr H)]`, are 0, since `tᵢ` is
    unbiased given all vectors but `ωᵢ`, of which `t_j⁽ⁱ⁾` knows nothing. Estimates of vectors outside of the sketch covary with none. The
    error that is published with XTrace leaves the covariance out, and is too small.
    """
    k, N = W.shape
    M = (M + M.T) / 2
    trace = float(M.trace())

    def estimate(t: Tensor, left: int, y: Tensor, w2: Tensor, wb: Tensor, wMw: Tensor) -> Tensor:
        """`t + (p − left) ωᵀΠHΠω/‖Πω‖²`."""
        return t + (p - left) / (p - w2) * (y - 2 * wb + wMw)

    w, b, y = W[:, k:], B[:, k:], quadratic[k:]
    outside = estimate(torch.tensor(trace, dtype=w.dtype), k, y, (w * w).sum(dim=0), (w * b).sum(dim=0), (w * (M @ w)).sum(dim=0))
    if first == k:
        return float(outside.mean()), float(outside.std()) / math.sqrt(N - k)

    # s_i spans what Q loses without ω_i.
    S = torch.linalg.inv(B[:, :k]).T
    S = S / torch.linalg.vector_norm(S, dim=0)
    V, y = W[:, :k] - S * (S * W[:, :k]).sum(dim=0), quadratic[:k]
    SMS = S.T @ M @ S
    v2, vb, vMv = (V * V).sum(dim=0), (V * B[:, :k]).sum(dim=0), (V * (M @ V)).sum(dim=0)
    inside = estimate(trace - SMS.diagonal(), k - 1, y, v2, vb, vMv)

    # Without ω_j as well: Q loses u_ij too, the part of s_j at right angles to s_i. Row i, column j; the diagonal means nothing.
    C = S.T @ S
    off = 1 - torch.eye(k, dtype=C.dtype)
    length2 = torch.where(off > 0, 1 - C**2, 1.0)
    uv = (S.T @ V).T  # vᵢ is at right angles to sᵢ already; over the length
    uMv = (M @ V).T @ S - C * (S * (M @ V)).sum(dim=0)[:, None]
    uMu = (SMS.diagonal()[None, :] - 2 * C * SMS + C**2 * SMS.diagonal()[:, None]) / length2
    ub = B[:, :k].T @ S - C * (S * B[:, :k]).sum(dim=0)[:, None]
    uv2 = uv**2 / length2
    without = estimate(
        (trace - SMS.diagonal())[:, None] - uMu,
        k - 2,
        y[:, None],
        v2[:, None] - uv2,
        vb[:, None] - uv * ub / length2,
        vMv[:, None] - 2 * uv * uMv / length2 + uv2 * uMu,
    )
    change = (inside[:, None] - without) * off
    covariance = float((change * change.T).sum()) / (k * (k - 1))
    squares = k * float(inside.var()) + len(outside) * float((outside if len(outside) > 1 else inside).var())
    mean = float(torch.cat([inside, outside]).mean())
    return mean, math.sqrt(squares + k**2 * max(0.0, covariance)) / N
