"""The processes that train one network together, each on its share of every minibatch.

Gradients are summed by hand after the backward pass, not by `DistributedDataParallel`: its mean over processes is not the mean over
samples where shares differ in size, and its hooks would go off in a probe's own backward passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from theory.errors import InvalidInput

if TYPE_CHECKING:
    from accelerate import Accelerator

_KINDS = ("NO", "MULTI_CPU", "MULTI_GPU")


class Processes:
    """This process and the others; it is alone without an `accelerate.Accelerator`.

    Raises
    ------
    InvalidInput
        For an Accelerator that shards weights, is no plain data parallelism, or sets a precision, which is the recipe's to set.
    """

    def __init__(self, accelerator: Accelerator | None = None) -> None:
        self.index, self.count = 0, 1
        self._accelerator = accelerator
        if accelerator is not None:
            kind, precision = accelerator.distributed_type.value, accelerator.mixed_precision
            if kind not in _KINDS:
                raise InvalidInput(f"accelerator is of type {kind}; one of {', '.join(_KINDS)} is allowed")
            if precision != "no":
                raise InvalidInput(f"accelerator has mixed_precision={precision!r}; 'no' is allowed, with precision in the recipe")
            self.index, self.count = accelerator.process_index, accelerator.num_processes

    @property
    def main(self) -> bool:
        """Whether this process writes the files and reports progress."""
        return self.index == 0

    def share(self, samples: Tensor) -> Tensor:
        """This process's share of the samples, as even as can be."""
        return torch.tensor_split(samples, self.count)[self.index]

    def sum(self, values: list[float], device: torch.device) -> list[float]:
        """Sums over processes."""
        if self.count == 1:
            return values
        return list(self._reduced(torch.tensor(values, dtype=torch.float64, device=device)).tolist())

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its sum over processes, in one message a dtype."""
        if self.count == 1:
            return
        by_dtype: dict[torch.dtype, list[Tensor]] = {}
        for p in parameters:
            if p.grad is not None:
                by_dtype.setdefault(p.grad.dtype, []).append(p.grad)
        for gradients in by_dtype.values():
            summed = self._reduced(torch.cat([g.reshape(-1) for g in gradients]))
            for g, part in zip(gradients, torch.split(summed, [g.numel() for g in gradients]), strict=True):
                g.copy_(part.reshape(g.shape))

    def batch_norm(self) -> Any:
        """Context in which batch norm in training mode normalises by the moments of all processes' samples."""
        return nullcontext() if self.count == 1 else _SynchronisedBatchNorm()

    def gather(self, thing: Any) -> list[Any]:
        """Each process's `thing`, in every process."""
        if self.count == 1:
            return [thing]
        from accelerate.utils import gather_object

        return list(gather_object([thing]))

    def send(self, model: nn.Module) -> None:
        """Give all processes the main one's weights and buffers."""
        if self.count > 1:
            from accelerate.utils import broadcast

            with torch.no_grad():
                for tensor in [*model.parameters(), *model.buffers()]:
                    tensor.copy_(broadcast(tensor.detach().clone(memory_format=torch.contiguous_format)))

    def on_main(self, action: Callable[[], Any]) -> None:
        """Do what only the main process may; if it fails there, every process raises, and none waits for another."""
        failure: Exception | None = None
        if self.main:
            try:
                action()
            except Exception as error:
                if self.count == 1:
                    raise
                failure = error
        if self.count > 1:
            told = next((text for text in self.gather(None if failure is None else str(failure)) if text is not None), None)
            if failure is not None:
                raise failure
            if told is not None:
                raise RuntimeError(f"the main process failed: {told}")

    def _reduced(self, values: Tensor) -> Tensor:
        assert self._accelerator is not None
        return self._accelerator.reduce(values, reduction="sum")


class _SummedOverProcesses(torch.autograd.Function):
    """`Σ_p x_p`; every process's loss depends on every `x_p`, so that the gradient is a sum over processes as well."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        summed = x.detach().clone()
        torch.distributed.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        summed = gradients[0].clone()
        torch.distributed.all_reduce(summed)
        return summed


class _SynchronisedBatchNorm(TorchFunctionMode):
    """Batch norm over all processes' samples, wherever a module calls `batch_norm` in training mode.

    torch's own `SyncBatchNorm` runs on GPUs only, and would replace the network's layers.
    """

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        if func is nn.functional.batch_norm:
            return _batch_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not training:
        return nn.functional.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    x = input if input.dtype == torch.float64 else input.float()
    dims = [d for d in range(x.ndim) if d != 1]
    shape = [-1 if d == 1 else 1 for d in range(x.ndim)]
    sums = _SummedOverProcesses.apply(torch.cat([x.sum(dims), x.new_tensor([x.numel() // x.shape[1]])]))
    count = sums[-1].detach()
    mean = sums[:-1] / count
    centred = x - mean.reshape(shape)
    # From the common mean, not as a difference of squares, which would cancel.
    variance = _SummedOverProcesses.apply((centred**2).sum(dims)) / count
    with torch.no_grad():
        if running_mean is not None:
            running_mean.lerp_(mean.detach().to(running_mean.dtype), momentum)
        if running_var is not None:
            running_var.lerp_((variance.detach() * (count / (count - 1))).to(running_var.dtype), momentum)
    out = centred * torch.rsqrt(variance + eps).reshape(shape)
    if weight is not None:
        out = out * weight.reshape(shape)
    if bias is not None:
        out = out + bias.reshape(shape)
    return out.to(input.dtype)
