"""Mixed precision: which is to be had where, and its casts and loss scale."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from theory.errors import InvalidInput

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}

LEAST_SCALE = 2.0**-16
"""A loss scale at which gradients that still overflow are not those of training that works."""


def check_precision(precision: str, device: torch.device, model: nn.Module) -> None:
    """`InvalidInput` with the reason where `precision` is not to be had.

    bf16 runs on every CPU, but is faster than float32 only on one with instructions for it.
    """
    if precision == "full":
        return
    dtypes = {p.dtype for p in model.parameters()}
    if dtypes - {torch.float32}:
        odd = next(iter(dtypes - {torch.float32}))
        raise InvalidInput(f"precision is {precision!r} and the network has weights in {odd}; 'full', or weights in float32, are allowed")
    if device.type == "cuda":
        if precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
            raise InvalidInput(f"precision is 'bf16', which {torch.cuda.get_device_name(device)} lacks; 'full' or 'fp16' is allowed")
    elif device.type != "cpu" or precision == "fp16":
        allowed = "'full' or 'bf16'" if device.type == "cpu" else "'full'"
        raise InvalidInput(f"precision is {precision!r} on {device.type}, which needs a CUDA device; {allowed} is allowed")


class Precision:
    """Casts of the forward pass, and the loss scale of fp16, whose gradients would underflow without it."""

    def __init__(self, precision: str, device: torch.device) -> None:
        self._dtype, self._device = _DTYPES.get(precision), device.type
        self.scaler = torch.amp.GradScaler(device.type) if precision == "fp16" else None

    def casts(self) -> Any:
        """Context of a forward pass."""
        return nullcontext() if self._dtype is None else torch.autocast(self._device, dtype=self._dtype)

    def outputs(self, outputs: Tensor) -> Tensor:
        """Outputs as the loss shall see them: it is computed in float32, or the network's own precision."""
        return outputs if self._dtype is None else outputs.float()

    def scaled(self, loss: Tensor) -> Tensor:
        """The loss to differentiate."""
        return loss if self.scaler is None else self.scaler.scale(loss)

    def step(self, optimiser: torch.optim.Optimizer) -> bool:
        """Make a step with the scaled loss's gradients; False where they overflow at the least scale."""
        if self.scaler is None:
            optimiser.step()
            return True
        self.scaler.step(optimiser)
        self.scaler.update()
        return self.scaler.get_scale() >= LEAST_SCALE

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {} if self.scaler is None else self.scaler.state_dict()

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        if self.scaler is not None:
            self.scaler.load_state_dict(state)
