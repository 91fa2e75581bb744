"""The empirical tangent kernel of a network, and the network's linearisation round its present weights.

`K_ij = ⟨∂f(x_i)/∂W, ∂f(x_j)/∂W⟩`, exact, summed over all trainable weights in float64. The network is one fixed function of its
weights: it stands in evaluation mode, with the batch-norm statistics it was prepared with (see `realnets.batchnorm`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from theory.errors import InvalidInput
from theory.host_memory import free_host_memory

MEMORY = 1 << 30
"""Bytes of gradients held at a time unless told otherwise: 64 pictures' of EfficientNet-Lite0 in one block."""


def jacobian_rows(model: nn.Module, inputs: Tensor, start: int, stop: int) -> Tensor:
    """Gradients of each output of pictures `start … stop − 1`, one picture after the other.

    Returns
    -------
    ((stop − start) · c, p) tensor of the weights' dtype, `c` outputs, `p` trainable weights.
    """
    weights = _weights(model)
    rows: Tensor | None = None
    for index in range(start, stop):
        outputs = model(inputs[index : index + 1])[0]
        c = len(outputs)
        if rows is None:  # filled in place: a list of rows, stacked, would take twice the memory
            rows = torch.empty((stop - start) * c, sum(w.numel() for w in weights), dtype=weights[0].dtype, device=weights[0].device)
        for k in range(c):
            gradients = torch.autograd.grad(outputs[k], weights, retain_graph=k + 1 < c, allow_unused=True)
            parts = [torch.zeros_like(w).flatten() if g is None else g.flatten() for g, w in zip(gradients, weights, strict=True)]
            torch.cat(parts, out=rows[(index - start) * c + k])
    assert rows is not None
    return rows


def empirical_ntk(model: nn.Module, inputs: Tensor, *, memory: int = MEMORY, progress: Callable[[int], object] | None = None) -> np.ndarray:
    """Empirical tangent kernel of all outputs on `inputs`.

    Parameters
    ----------
    model : Module
        In evaluation mode.
    inputs : (n, …) tensor
    memory : int
        Bytes that gradients may take. Where they need more, pictures come in blocks, and gradients of later blocks are taken
        once for each earlier one.
    progress : callable, optional
        Called with the number of pictures whose gradients were taken.

    Returns
    -------
    (n·c, n·c) float64 array; row `i·c + k` belongs to output `k` of picture `i`.

    Raises
    ------
    InvalidInput
        If a part of the model is in training mode, no weight is trainable, or one picture's gradients exceed half of `memory`.

    Source: Jacot, Gabriel and Hongler 2018 (1806.07572), the definition.
    """
    _check_fixed(model)
    n = len(inputs)
    with torch.no_grad():
        c = model(inputs[:1]).shape[1]
    each = c * sum(w.numel() * w.element_size() for w in _weights(model))
    # Float64 copies of a slice of columns come on top, a small share.
    held = memory // each
    if held < n and held < 2:
        raise InvalidInput(f"memory is {memory / 2**20:.0f} MiB; at least {2 * each / 2**20:.0f} MiB are needed, two pictures' gradients")
    if min(n, held) * each > free_host_memory():
        raise InvalidInput(f"{n} pictures need {min(n, held) * each / 2**30:.1f} GiB of free memory; memory= takes less")
    size = n if held >= n else held // 2
    kernel = np.empty((n * c, n * c))
    for first in range(0, n, size):
        last = min(first + size, n)
        rows = jacobian_rows(model, inputs, first, last)
        _report(progress, last - first)
        kernel[first * c : last * c, first * c : last * c] = _inner(rows, rows)
        for other in range(last, n, size):
            end = min(other + size, n)
            block = _inner(rows, jacobian_rows(model, inputs, other, end))
            _report(progress, end - other)
            kernel[first * c : last * c, other * c : end * c] = block
            kernel[other * c : end * c, first * c : last * c] = block.T
    return kernel


def transposed_product(model: nn.Module, inputs: Tensor, coefficients: np.ndarray, chunk: int = 64) -> list[Tensor]:
    """`Jᵀα`, the direction in weight space that `coefficients` (n, c) name: one backward pass, no Jacobian.

    Returns
    -------
    list of tensors, one a trainable weight.
    """
    _check_fixed(model)
    weights = _weights(model)
    alpha = torch.as_tensor(coefficients, dtype=weights[0].dtype, device=weights[0].device)
    total = [torch.zeros_like(w) for w in weights]
    for x, a in zip(torch.split(inputs, chunk), torch.split(alpha, chunk), strict=True):
        outputs = model(x)
        if outputs.shape != a.shape:
            raise InvalidInput(f"coefficients have shape {tuple(alpha.shape)}; ({len(inputs)}, {outputs.shape[1]}) is allowed")
        for part, gradient in zip(total, torch.autograd.grad((outputs * a).sum(), weights, allow_unused=True), strict=True):
            if gradient is not None:
                part += gradient
    return total


@torch.no_grad()
def outputs_at(model: nn.Module, inputs: Tensor, step: Sequence[Tensor], chunk: int = 256) -> np.ndarray:
    """Outputs (n, c), float64, of the network moved by `step`; its weights are put back bit for bit."""
    weights = _weights(model)
    before = [w.detach().clone() for w in weights]
    try:
        for w, s in zip(weights, step, strict=True):
            w.add_(s)
        return outputs(model, inputs, chunk)
    finally:
        for w, b in zip(weights, before, strict=True):
            w.copy_(b)


@torch.no_grad()
def outputs(model: nn.Module, inputs: Tensor, chunk: int = 256) -> np.ndarray:
    """Outputs (n, c) as float64."""
    return torch.cat([model(x) for x in torch.split(inputs, chunk)]).double().cpu().numpy()


def _weights(model: nn.Module) -> list[nn.Parameter]:
    weights = [w for w in model.parameters() if w.requires_grad]
    if not weights:
        raise InvalidInput("the model has no trainable weight; at least one is needed")
    return weights


def _check_fixed(model: nn.Module) -> None:
    training = next((name or type(m).__name__ for name, m in model.named_modules() if m.training), None)
    if training is not None:
        raise InvalidInput(f"{training!r} is in training mode; a model in evaluation mode is allowed (realnets.batchnorm.prepare)")


def _inner(a: Tensor, b: Tensor, columns: int = 1 << 17) -> np.ndarray:
    """`a bᵀ` with the sum over columns in float64; at 128 Ki columns the copies are a few per cent of `a`."""
    total = torch.zeros(len(a), len(b), dtype=torch.float64, device=a.device)
    for index in range(math.ceil(a.shape[1] / columns)):
        part = slice(index * columns, (index + 1) * columns)
        left = a[:, part].double()
        total += left @ (left if a is b else b[:, part].double()).T
    return total.cpu().numpy()


def _report(progress: Callable[[int], object] | None, count: int) -> None:
    if progress is not None:
        progress(count)
