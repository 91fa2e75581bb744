"""The classifier of a network, its last linear layer, and the features below it, whatever library the network is from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from theory.errors import InvalidInput

# Weights of channels or places in a convolutional network, not attention of places to each other.
_GATES = ("SplitAttn", "SelectiveKernelAttn", "ChannelAttn", "SpatialAttn")


class PooledLinear(nn.Linear):
    """A linear layer on pooled maps, (n, inputs, 1, 1) or (n, inputs) -> (n, outputs), in place of a 1 × 1 convolution."""

    def forward(self, input: Tensor) -> Tensor:
        """Outputs, (n, outputs)."""
        return super().forward(input.flatten(1))


def head_of(model: nn.Module) -> tuple[str, nn.Linear]:
    """The classifier: name and module of the last linear layer in the order of `named_modules`.

    Raises
    ------
    InvalidInput
        If the model has no linear layer.
    """
    found = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.Linear)]
    if not found:
        raise InvalidInput(f"{type(model).__name__} has no linear layer; a network that ends in one is allowed")
    return found[-1]


def features(model: nn.Module, inputs: Tensor) -> Tensor:
    """What the classifier reads, (n, …) -> (n, features), in the mode that the model is in; gradients flow through it.

    With `name, head = head_of(model)`, the model's outputs are `head(features(model, inputs))`.

    Raises
    ------
    InvalidInput
        If the model's outputs are not those of its last linear layer, called once.
    """
    name, layer = head_of(model)
    seen = _passed(layer, lambda: model(inputs))
    _check_last(type(model).__name__, name, *seen)
    return seen[0][0][0].flatten(1)


def replace_head(model: nn.Module, name: str, layer: nn.Module) -> None:
    """Put `layer` in the place of the module called `name`, in place."""
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, layer)


def linear_head(model: nn.Module, what: str, size: int = 224) -> tuple[str, nn.Linear]:
    """The classifier of a convolutional network, checked; one that is a 1 × 1 convolution of pooled maps becomes the same linear layer.

    The check runs shapes alone through the network, so it costs milliseconds whatever the network.

    Parameters
    ----------
    what : str
        The network's name, for messages.
    size : int
        Pixels a side of a picture that it takes.

    Raises
    ------
    InvalidInput
        For a network with self-attention, with fewer than two convolutions, or whose outputs are not those of one last linear layer.
    """
    kinds = [type(layer).__name__ for layer in model.modules()]
    attention = next((k for k in kinds if "Attention" in k or ("Attn" in k and not k.endswith(_GATES))), None)
    if attention:
        raise InvalidInput(f"{what} is no convolutional network: it has {attention}; networks of convolutions are allowed")
    convolutions = sum(isinstance(layer, nn.Conv2d) for layer in model.modules())
    if convolutions < 2:
        raise InvalidInput(f"{what} is no convolutional network: it has {convolutions} convolutions; at least two are needed")
    name, layer = [(n, m) for n, m in model.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))][-1]
    if isinstance(layer, nn.Conv2d):
        calls = _shapes_through(model, layer, what, size)[0]
        pooled = len(calls) == 1 and tuple(calls[0][0].shape[2:]) == (1, 1) and layer.kernel_size == (1, 1) and layer.groups == 1
        if not pooled:
            raise InvalidInput(
                f"{what} ends in the convolution {name!r} of unpooled maps; a network that ends in a linear layer is allowed"
            )
        layer = _as_linear(layer)
        replace_head(model, name, layer)
    _check_last(what, name, *_shapes_through(model, layer, what, size))
    return name, layer


def _as_linear(layer: nn.Conv2d) -> PooledLinear:
    with torch.device("meta"):
        linear = PooledLinear(layer.in_channels, layer.out_channels, bias=layer.bias is not None)
    linear.weight = nn.Parameter(layer.weight.detach().flatten(1))
    if layer.bias is not None:
        linear.bias = nn.Parameter(layer.bias.detach())
    return linear


def _shapes_through(model: nn.Module, layer: nn.Module, what: str, size: int) -> tuple[list[tuple[Tensor, Tensor]], Any]:
    training = [m for m in model.modules() if m.training]
    state = {name: value.to("meta") for name, value in [*model.named_parameters(), *model.named_buffers()]}
    model.eval()
    try:
        with torch.no_grad():
            return _passed(layer, lambda: functional_call(model, state, (torch.empty(2, 3, size, size, device="meta"),)))
    except InvalidInput:
        raise
    except Exception as error:  # whatever a network of another kind of input makes of pictures
        raise InvalidInput(f"{what} takes no {size} × {size} pictures in three channels: {str(error).splitlines()[0]}") from None
    finally:
        for module in training:
            module.training = True


def _passed(layer: nn.Module, forward: Any) -> tuple[list[tuple[Tensor, Tensor]], Any]:
    """What went in and out of `layer` in each of its calls, and what came out at the end."""
    calls: list[tuple[Tensor, Tensor]] = []
    hook = layer.register_forward_hook(lambda _, arguments, output: calls.append((arguments[0], output)))
    try:
        return calls, forward()
    finally:
        hook.remove()


def _check_last(what: str, name: str, calls: list[tuple[Tensor, Tensor]], outputs: Any) -> None:
    if len(calls) != 1 or calls[0][1] is not outputs:
        raise InvalidInput(
            f"the outputs of {what} are not those of its last linear layer {name!r}, which was called {len(calls)} times; "
            "a network that ends in one linear layer is allowed"
        )
