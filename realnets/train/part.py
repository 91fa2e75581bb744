"""The part of a network that is trained, and the frozen part before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from realnets.batchnorm import layers as batch_norm_layers
from realnets.batchnorm import prepare, set_training
from realnets.models.classifier import head_of
from theory.errors import InvalidInput


@dataclass(frozen=True, kw_only=True)
class TrainedPart:
    """What of `model` is trained.

    Attributes
    ----------
    model : Module
    parameters : dict of str to Parameter
        Those trained, by name.
    frozen : tuple of Module
        Modules that stay in evaluation mode.
    layers : tuple of str
        Layers with weights, frozen or not, in the order of the forward pass.
    outputs : Tensor
        Of the forward pass that found the order of the layers.
    """

    model: nn.Module
    parameters: dict[str, nn.Parameter]
    frozen: tuple[nn.Module, ...]
    layers: tuple[str, ...]
    outputs: Tensor

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let only the trained parameters require a gradient within the block."""
        before = [(p, p.requires_grad) for p in self.model.parameters()]
        chosen = {id(p) for p in self.parameters.values()}
        try:
            for p, _ in before:
                p.requires_grad_(id(p) in chosen)
            yield
        finally:
            for p, required in before:
                p.requires_grad_(required)

    def set_training(self, policy: str) -> None:
        """Put the trained part in training mode, the frozen one in evaluation mode."""
        set_training(self.model, policy)
        for module in self.frozen:
            module.training = False

    def prepare(self, inputs: Iterator[Tensor], policy: str) -> None:
        """Put the network in evaluation mode, with the statistics that `policy` names in its trained part."""
        self.model.eval()
        fixed = {id(m) for m in self.frozen}
        prepare(_Seen(self.model, [m for m in batch_norm_layers(self.model) if id(m) not in fixed]), inputs, policy)


class _Seen(nn.Module):
    """A network as `prepare` shall see it: all of its outputs, but some of its layers only."""

    def __init__(self, whole: nn.Module, layers: list[Any]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self._whole = [whole]  # in a list, so that it is no submodule

    def forward(self, x: Tensor) -> Tensor:
        return self._whole[0](x)


def trained_part(model: nn.Module, trained: str | int, inputs: Tensor) -> TrainedPart:
    """The part of `model` that `trained` names, as in `Recipe`; the model is left in evaluation mode.

    Parameters
    ----------
    inputs : (n, …) tensor
        Of a forward pass that finds the order in which layers are called.

    Raises
    ------
    InvalidInput
        If the layer does not exist or is never called, nothing is left to train, or a batch-norm layer keeps no statistics.
    """
    batch_norm_layers(model)
    model.eval()
    calls, outputs = _first_calls(model, inputs)
    modules = dict(model.named_modules())
    at = {name: _position(name, calls) for name in modules}
    weighted = sorted((name for name, m in modules.items() if m._parameters), key=at.__getitem__)
    cut = _cut(model, trained, modules, calls, weighted, at)
    held = [name for name in weighted if at[name] < cut]
    kept = {id(p) for name in held for p in modules[name].parameters(recurse=False)}
    chosen = {name: p for name, p in model.named_parameters() if p.requires_grad and id(p) not in kept}
    if not chosen:
        raise InvalidInput(
            f"trained is {trained!r}, which leaves nothing to train: {len(held)} of {len(weighted)} layers with weights are frozen by it, "
            "and the rest by requires_grad; at least one trained parameter is needed"
        )
    last, fixed = max((at[name] for name in held), default=-1), {id(modules[name]) for name in held}
    frozen = []
    for name, module in modules.items():
        inside = {id(m) for m in module.modules() if m._parameters}
        # What has no weights, such as dropout, is frozen up to the last frozen layer: what follows belongs to the trained part.
        if inside <= fixed if inside else at[name] <= last:
            frozen.append(module)
    return TrainedPart(model=model, parameters=chosen, frozen=tuple(frozen), layers=tuple(weighted), outputs=outputs)


def _first_calls(model: nn.Module, inputs: Tensor) -> tuple[dict[str, int], Tensor]:
    """Modules by the order of their first call, and the outputs."""
    calls: dict[str, int] = {}

    def note(name: str) -> Callable[[nn.Module, Any], None]:
        def hook(_: nn.Module, __: Any) -> None:
            calls.setdefault(name, len(calls))

        return hook

    with ExitStack() as hooks, torch.no_grad():
        for name, module in model.named_modules():
            hooks.callback(module.register_forward_pre_hook(note(name)).remove)
        outputs = model(inputs)
    return calls, outputs


def _position(name: str, calls: dict[str, int]) -> int:
    """When the module was first called; one that never was, but whose weights may be used, counts as the module around it."""
    while name and name not in calls:
        name = name.rpartition(".")[0]
    return calls.get(name, 0)


def _cut(
    model: nn.Module, trained: str | int, modules: dict[str, nn.Module], calls: dict[str, int], weighted: list[str], at: dict[str, int]
) -> int:
    """Position of the first call that belongs to the trained part."""
    if trained == "all" or trained == 0:
        return 0
    if isinstance(trained, int):
        if trained >= len(weighted):
            raise InvalidInput(
                f"trained is {trained}, which leaves nothing to train: the network has {len(weighted)} layers with weights; "
                f"0 to {len(weighted) - 1} are allowed"
            )
        return at[weighted[trained]]
    name = head_of(model)[0] if trained == "head" else trained
    if not name or name not in modules:
        known = list(dict.fromkeys(n for n in [*(child for child, _ in model.named_children()), *weighted] if n))
        shown = ", ".join(known[:16]) + (", …" if len(known) > 16 else "")
        raise InvalidInput(f"trained is {trained!r}, and there is no such layer; 'all', 'head', {shown} are allowed")
    inside = [position for called, position in calls.items() if called == name or called.startswith(f"{name}.")]
    if not inside:
        raise InvalidInput(f"trained is {trained!r}, a layer that the network's forward pass never calls; one that it calls is allowed")
    return min(inside)
