"""Products of the Hessian of the mean loss with vectors, exact, over chosen parameters.

`H v = Σ_b (n_b/n) ∂/∂W ⟨∂L_b/∂W, v⟩` with `L_b` the mean loss of batch `b` of `n_b` samples. The graph of each batch's gradient
is kept between products where the memory allows, which is estimated beforehand; a product is then one backward pass through it.
Elsewhere it is built anew for each product, one batch at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from realnets.probes.batches import Batches, Loss, batch_loss, chosen_parameters
from realnets.probes.borrowed import borrowed
from theory.errors import InvalidInput, TooLarge
from theory.numeric.solvers.plan import free_memory

SHARE = 0.5
"""Of the free memory that graphs and vectors may take unless told otherwise; a backward pass needs room beside what it has saved."""


class Hessian:
    """The Hessian as a linear map on flat vectors; made by `hessian_operator`, and valid within its block.

    Attributes
    ----------
    shapes : dict
        Shape of each parameter by name, in the order in which a flat vector holds them.
    size : int
        Number of weights `p`.
    dtype : torch.dtype
        Of the products: the parameters'.
    device : torch.device
    memory : int
        Bytes left for vectors.
    products : int
        Products taken so far.
    """

    def __init__(self, model: nn.Module, loss_fn: Loss, batches: Batches, parameters: dict[str, nn.Parameter], memory: int | None) -> None:
        self._model, self._loss, self._batches = model, loss_fn, batches
        self._weights = list(parameters.values())
        self._sizes = [w.numel() for w in self._weights]
        self.shapes = {name: tuple(w.shape) for name, w in parameters.items()}
        self.size = sum(self._sizes)
        self.device = self._weights[0].device
        self.dtype = self._weights[0].dtype
        for w in self._weights:
            self.dtype = torch.promote_types(self.dtype, w.dtype)
        self.products = 0
        self.memory = int(SHARE * free_memory(self._weights[0])) if memory is None else memory
        self._kept = self._keep()

    def __call__(self, vector: Tensor) -> Tensor:
        """`H v`: (p,) to (p,), of `dtype`.

        Raises
        ------
        InvalidInput
            If the product is not finite.
        """
        self.products += 1
        along = vector.to(self.dtype)
        if self._kept is None:
            total = torch.zeros(self.size, dtype=self.dtype, device=self.device)
            for gradient in self._gradients():
                total += self._through(gradient, along, keep=False)
        else:
            total = self._through(self._kept[0], along, keep=True)
            for gradient in self._kept[1:]:
                total += self._through(gradient, along, keep=True)
        # The sum is the cheaper look; it may also overflow where no entry does.
        if not math.isfinite(total.sum().item()) and not torch.isfinite(total).all():
            odd = next(
                name for name, part in zip(self.shapes, torch.split(total, self._sizes), strict=True) if not torch.isfinite(part).all()
            )
            raise InvalidInput(f"the Hessian-vector product is not finite at {odd!r}; a loss with finite second derivatives is allowed")
        return total

    def _through(self, gradient: Tensor, vector: Tensor, keep: bool) -> Tensor:
        if not gradient.requires_grad:
            return torch.zeros(self.size, dtype=self.dtype, device=self.device)
        found = torch.autograd.grad(gradient, self._weights, vector, retain_graph=keep, allow_unused=True)
        return torch.cat(
            [torch.zeros_like(w).reshape(-1) if part is None else part.reshape(-1) for part, w in zip(found, self._weights, strict=True)]
        )

    def _gradients(self) -> Iterator[Tensor]:
        samples = self._batches.samples
        for index, (inputs, labels) in enumerate(self._batches):
            yield self._gradient(inputs, labels, index, len(labels) / samples)

    def _gradient(self, inputs: Tensor, labels: Tensor, index: int, weight: float) -> Tensor:
        """`∂(weight · L_b)/∂W`, flat, with its graph: flat, because splitting the vector is then left to the backward pass."""
        with torch.enable_grad():
            loss = batch_loss(self._loss, self._model(inputs), labels, index)
            if not loss.requires_grad:
                return torch.zeros(self.size, dtype=self.dtype, device=self.device)
            found = torch.autograd.grad(weight * loss, self._weights, create_graph=True, allow_unused=True)
            parts = [torch.zeros_like(w) if part is None else part for part, w in zip(found, self._weights, strict=True)]
            # Parts may differ in dtype; `cat` takes the one that holds them all.
            return torch.cat([part.reshape(-1) for part in parts])

    def _keep(self) -> list[Tensor] | None:
        sizes = [len(labels) for _, labels in self._batches]
        inputs, labels = next(iter(self._batches))
        one = self._saved_bytes(inputs[:1], labels[:1])
        each = self._saved_bytes(inputs[:2], labels[:2]) - one if len(labels) > 1 else one
        # The gradient itself is kept too.
        fixed = max(0, one - each) + self.size * torch.finfo(self.dtype).bits // 8
        largest = fixed + each * max(sizes)
        if largest > self.memory:
            raise TooLarge(
                f"the gradient's graph of {max(sizes)} samples needs {mebibytes(largest)}, and {mebibytes(self.memory)} are allowed; "
                "smaller batches need less"
            )
        needed = sum(fixed + each * size for size in sizes)
        if needed > self.memory / 2:
            self.memory -= largest
            return None
        self.memory -= needed
        return list(self._gradients())

    def _saved_bytes(self, inputs: Tensor, labels: Tensor) -> int:
        """Bytes that the graph of these samples' gradient holds beside the parameters."""
        own = {tensor.data_ptr() for tensor in (*self._model.parameters(), *self._model.buffers())}
        saved: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            if tensor.data_ptr() not in own:
                saved[tensor.data_ptr()] = max(saved.get(tensor.data_ptr(), 0), tensor.numel() * tensor.element_size())
            # Detached: an output that its own node held would never be freed.
            return tensor.detach()

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            graph = self._gradient(inputs, labels, 0, 1.0)
        del graph
        return sum(saved.values())


@contextmanager
def hessian_operator(
    model: nn.Module,
    loss_fn: Loss,
    batches: Iterable[tuple[Tensor, Tensor]] | Batches,
    *,
    layers: Iterable[str] | None = None,
    memory: int | None = None,
) -> Iterator[Hessian]:
    """The Hessian of the mean loss over all samples, as a linear map, in evaluation mode; the model is given back as it was.

    Parameters
    ----------
    model : Module
    loss_fn : callable
        `loss_fn(outputs, labels)`, the mean over a batch.
    batches : iterable of (inputs, labels)
        Possibly ragged; the same samples in each pass.
    layers : iterable of str, optional
        Modules or parameters by name; by default all parameters that require a gradient.
    memory : int, optional
        Bytes that graphs and vectors may take; by default half of what is free.

    Raises
    ------
    InvalidInput
        For an unknown layer, no batch, or a loss that is no finite scalar.
    TooLarge
        If the graph of one batch does not fit.

    Source: Pearlmutter 1994, the product without the matrix.
    """
    if memory is not None and memory < 1:
        raise InvalidInput(f"memory is {memory}; a positive number of bytes is allowed")
    parameters = chosen_parameters(model, layers)
    with borrowed(model), torch.inference_mode(False):
        for p in model.parameters():
            p.requires_grad_(False)
        for p in parameters.values():
            p.requires_grad_(True)
        operator = Hessian(model, loss_fn, Batches.of(batches, model), parameters, memory)
        try:
            yield operator
        finally:
            # Graphs go now, also if the caller keeps the operator.
            operator._kept = []


def mebibytes(size: float) -> str:
    """`size` bytes in words."""
    return f"{size / 2**20:,.1f} MiB"
