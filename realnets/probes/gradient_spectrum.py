"""The gradient at each block's output, and its energy over the singular vectors of the block's weight matrix.

`L` is the mean loss over all `n` samples and `X` the output of a block for all of them, so that `‖∂L/∂X‖_F² = Σᵢ ‖∂L/∂xᵢ‖²`, where
each `∂L/∂xᵢ` is `1/n` of that sample's own. A block used several times in a pass counts all its outputs, stacked.

A block that is itself a linear or convolution layer has a weight matrix `W = Σᵢ σᵢ uᵢ vᵢᵀ`, out × in, or out × (in·kh·kw); `σ₁` is the
largest. The gradient is read on it in two ways:

activation gradient  `‖uᵢᵀ ∂L/∂X‖²`, summed over samples and positions, which split `‖∂L/∂X‖²` over the left singular vectors
weight gradient      `(uᵢᵀ (∂L/∂W) vᵢ)²`, where `uᵢᵀ (∂L/∂W) vᵢ = ∂L/∂σᵢ`: they are a part of `‖∂L/∂W‖²`, that on the modes themselves

A convolution in groups has a block-diagonal matrix; its modes are those of all groups together, in one order. Vectors of equal singular
values are not unique: only what is summed over all of them means something. A weight that several layers share has one gradient.

Source: Liu, Long, Wang and Jordan 2019 (1909.12031), who show the suppression of the gradient's principal components by pretraining.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from realnets import batchnorm
from realnets.probes.batches import Batches, Loss, batch_loss
from realnets.probes.borrowed import borrowed
from theory.errors import InvalidInput, TooLarge
from theory.numeric.solvers.plan import free_memory

SLICE = 2**22
"""Numbers of a gradient that are projected at once: 32 MiB in float64, beside what the backward pass holds."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ModeEnergy:
    """Energy of a gradient in each mode of a weight matrix, by descending singular value.

    Attributes
    ----------
    values : (r,) float64 array
    total : float
        What shares are of: at least the sum of `values`.
    dimensions : int ≥ r
        Of the space that `total` is the energy in.
    """

    values: np.ndarray
    total: float
    dimensions: int

    def count(self, leading: int | float) -> int:
        """Number of modes that `leading` means: an int in [1, r] itself; of a float in (0, 1], that share of the `r`, rounded up.

        Raises
        ------
        InvalidInput
            For anything else.
        """
        most = len(self.values)
        if isinstance(leading, int) and not isinstance(leading, bool) and 1 <= leading <= most:
            return leading
        if isinstance(leading, float) and 0 < leading <= 1:
            # In floats 0.07 · 100 is above 7, and 7 are meant.
            return max(1, math.ceil(round(leading * most, 9)))
        raise InvalidInput(f"leading is {leading!r}; a whole number in [1, {most}] or a share (float) in (0, 1] is allowed")

    def share(self, leading: int | float = 1) -> float | None:
        """Energy in the leading modes over `total`, in [0, 1]; `None` where there is no energy."""
        return float(self.values[: self.count(leading)].sum() / self.total) if self.total > 0 else None

    def isotropic_share(self, leading: int | float = 1) -> float:
        """Expectation of `share` for a gradient of random direction: the number of modes over `dimensions`."""
        return self.count(leading) / self.dimensions

    def relative_share(self, leading: int | float = 1) -> float | None:
        """`share` over `isotropic_share`: below 1 where the leading modes are suppressed, above where they are preferred."""
        share = self.share(leading)
        return None if share is None else share / self.isotropic_share(leading)


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerModes:
    """A layer's gradients on the `r` singular vectors of its weight matrix.

    Attributes
    ----------
    singular_values : (r,) float64 array
        `σᵢ`, descending.
    activation : ModeEnergy
        `‖uᵢᵀ ∂L/∂X‖²` of `‖∂L/∂X‖²`, in as many dimensions as the layer has outputs; they sum to it where `r` is that many.
    weight : ModeEnergy
        `(uᵢᵀ (∂L/∂W) vᵢ)²` of their own sum, in `r` dimensions.
    slopes : (r,) float64 array
        `uᵢᵀ (∂L/∂W) vᵢ = ∂L/∂σᵢ`.
    weight_norm : float
        `‖∂L/∂W‖_F`; its square is at least `weight.total`.
    """

    singular_values: np.ndarray
    activation: ModeEnergy
    weight: ModeEnergy
    slopes: np.ndarray
    weight_norm: float


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockGradient:
    """The gradient at one block.

    Attributes
    ----------
    norm : float
        `‖∂L/∂X‖_F`, over all samples and positions.
    modes : LayerModes, optional
        `None` for what has no weight matrix.
    why : str
        Why it has none; empty if it has one.
    """

    norm: float
    modes: LayerModes | None
    why: str


@dataclass(frozen=True, kw_only=True, eq=False)
class GradientSpectrum:
    """Gradients by block.

    Attributes
    ----------
    blocks : dict of str to BlockGradient
        In the order of the model's modules, or as asked for.
    unused : tuple of str
        Layers that no forward pass called: they are left out.
    loss : float
        Mean loss over all samples.
    samples : int
    """

    blocks: dict[str, BlockGradient]
    unused: tuple[str, ...]
    loss: float
    samples: int


def gradient_spectrum(
    model: nn.Module,
    loss_fn: Loss,
    batches: Iterable[tuple[Tensor, Tensor]] | Batches,
    *,
    blocks: Iterable[str] | None = None,
    progress: Callable[[int], object] | None = None,
) -> GradientSpectrum:
    """Gradient norms `‖∂L/∂X‖_F` by block, and the gradient's energy over the singular vectors of weight matrices.

    Parameters
    ----------
    model : Module
        In evaluation mode with the batch-norm statistics that it holds (`realnets.batchnorm.prepare` sets them); given back as it was.
    loss_fn : callable
        `loss_fn(outputs, labels)`, the mean over a batch.
    batches : iterable of (inputs, labels)
        Possibly ragged: how samples are cut into batches does not matter.
    blocks : iterable of str, optional
        Names of modules, as in `named_modules`; by default every `Linear` and convolution layer that is used. For any other module,
        such as a residual block, the norm alone is measured. What follows a layer may change its output in place: the
        gradient is that at the output itself.
    progress : callable, optional
        Called with the number of samples after each batch.

    Raises
    ------
    InvalidInput
        For a block that does not exist, is not used, runs without gradients, or whose output is no tensor of real numbers; no layer at
        all; weights or gradients that are not finite; or a loss that is no finite scalar.
    TooLarge
        If singular vectors and gradients do not fit in free memory.

    Source: Liu et al. 2019 (1909.12031).
    """
    batchnorm.layers(model)
    found = _chosen(model, blocks)
    _check_memory(found)
    watched = {name: _Watched.of(name, module) for name, module in found.items()}
    data = Batches.of(batches, model)
    parts = []
    with borrowed(model), torch.inference_mode(False), ExitStack() as hooks:
        for p in model.parameters():
            if p.is_floating_point():
                p.requires_grad_(True)
        weights = [p for p in model.parameters() if p.requires_grad]
        starts: list[Tensor] = []
        for name, module in found.items():
            hooks.callback(module.register_forward_hook(_watch(watched[name], starts)).remove)
        for index, (inputs, labels) in enumerate(data):
            starts.clear()
            with torch.enable_grad():
                loss = batch_loss(loss_fn, model(inputs), labels, index)
            parts.append(len(labels) * loss.item())
            if loss.requires_grad:
                sources = [*weights, *starts]
                gradients = torch.autograd.grad(len(labels) / data.samples * loss, sources, allow_unused=True)
                by_weight = {w: g for w, g in zip(sources, gradients, strict=True) if g is not None}
                for one in watched.values():
                    one.add_weight_gradient(by_weight)
            if progress is not None:
                progress(len(labels))
    unused = tuple(name for name, one in watched.items() if not one.used)
    if unused and blocks is not None:
        raise InvalidInput(f"the block {unused[0]!r} is not used in a forward pass; one that is called is allowed")
    return GradientSpectrum(
        blocks={name: one.result() for name, one in watched.items() if one.used},
        unused=unused,
        loss=math.fsum(parts) / data.samples,
        samples=data.samples,
    )


def _is_layer(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or (isinstance(module, _ConvNd) and not isinstance(module, _ConvTransposeNd))


def _chosen(model: nn.Module, blocks: Iterable[str] | None) -> dict[str, nn.Module]:
    if blocks is None:
        found = {name: module for name, module in model.named_modules() if _is_layer(module)}
        if not found:
            raise InvalidInput(f"a {type(model).__name__} has no linear or convolution layer; at least one, or blocks=, is needed")
        return found
    named = dict(model.named_modules(remove_duplicate=False))
    wanted = [blocks] if isinstance(blocks, str) else list(blocks)
    if not wanted:
        raise InvalidInput("blocks is empty; at least one name is needed")
    for name in wanted:
        if name not in named:
            shown = ", ".join(list(named)[1:13]) + (", …" if len(named) > 13 else "")
            raise InvalidInput(f"there is no block {name!r}; {shown or repr('')} are allowed")
    return {name: named[name] for name in wanted}


def _groups(layer: nn.Module) -> int:
    return layer.groups if isinstance(layer, _ConvNd) else 1


def _check_memory(found: Mapping[str, nn.Module]) -> None:
    """Singular vectors in float64, left ones also in the model's type, gradients of weights, and one decomposition's work space."""
    need, largest, like = 0, 0, None
    for module in found.values():
        if _is_layer(module):
            w = module.weight
            assert isinstance(w, Tensor)
            like, groups = w, _groups(module)
            rows, columns = len(w) // groups, w[0].numel()
            rank = min(rows, columns)
            need += 8 * groups * (2 * rows * rank + columns * rank) + 12 * w.numel()
            largest = max(largest, 8 * (4 * rows * columns + 4 * rank**2))
    if like is not None and need + largest > (free := free_memory(like)):
        raise TooLarge(
            f"singular vectors and gradients of {len(found)} blocks need {(need + largest) / 2**30:.1f} GiB beside what the network's "
            f"passes take; {free / 2**30:.1f} GiB are free: choose fewer blocks"
        )


@dataclass(eq=False)
class _Modes:
    """Sums on the modes of one layer's weight (groups, out, in): `energy` of output gradients, and the weight's `gradient`."""

    weight: nn.Parameter
    U: Tensor
    sigma: Tensor
    Vh: Tensor
    energy: Tensor
    gradient: Tensor
    left: dict[torch.dtype, Tensor] = field(default_factory=dict)

    @staticmethod
    def of(name: str, module: nn.Module) -> _Modes | str:
        """Nothing summed yet; or in words why the module has no modes."""
        if not _is_layer(module):
            return f"a {type(module).__name__} has no weight matrix"
        w = module.weight
        if not isinstance(w, nn.Parameter):
            return "its weight is computed from other parameters"
        matrix = w.detach().reshape(_groups(module), len(w) // _groups(module), -1).double()
        if not torch.isfinite(matrix).all():
            raise InvalidInput(f"the weight of {name!r} holds NaN or infinity; finite weights are allowed")
        if not matrix.any():
            return "its weight is zero, and has no leading mode"
        U, sigma, Vh = torch.linalg.svd(matrix, full_matrices=False)
        return _Modes(w, U, sigma, Vh, torch.zeros_like(sigma), torch.zeros_like(matrix))

    def add(self, rows: Tensor) -> None:
        """Add the energy of some rows (·, outputs) of an output's gradient."""
        # Projected in their own type, if that is no half precision; squared in float64, because small gradients' squares underflow.
        dtype = torch.promote_types(rows.dtype, torch.float32)
        if dtype not in self.left:
            self.left[dtype] = self.U.to(dtype)
        groups, each, _ = self.U.shape
        modes = rows.to(dtype).reshape(-1, groups, each).transpose(0, 1) @ self.left[dtype]
        self.energy += modes.double().square_().sum(dim=1)

    def result(self, square: float) -> LayerModes:
        """What the sums say; `square` is the energy of all output gradients."""
        order = torch.argsort(self.sigma.flatten(), descending=True, stable=True)

        def ordered(values: Tensor) -> np.ndarray:
            array: np.ndarray = values.flatten()[order].cpu().numpy()
            array.setflags(write=False)
            return array

        slopes = ((self.U.transpose(1, 2) @ self.gradient) * self.Vh).sum(dim=2)
        energies, own = ordered(self.energy), ordered(slopes.square())
        return LayerModes(
            singular_values=ordered(self.sigma),
            # Rounding must not make a part larger than the whole.
            activation=ModeEnergy(values=energies, total=max(square, math.fsum(energies)), dimensions=self.U.shape[0] * self.U.shape[1]),
            weight=ModeEnergy(values=own, total=math.fsum(own), dimensions=len(own)),
            slopes=ordered(slopes),
            weight_norm=float(torch.linalg.vector_norm(self.gradient)),
        )


@dataclass(eq=False)
class _Watched:
    """One block, the energy `square` of its outputs' gradients so far, and `modes`, or why it has none."""

    name: str
    channel: int
    modes: _Modes | str
    square: float = 0.0
    used: bool = False

    @staticmethod
    def of(name: str, module: nn.Module) -> _Watched:
        return _Watched(name, -1 if isinstance(module, nn.Linear) else 1, _Modes.of(name, module))

    def add_output_gradient(self, gradient: Tensor) -> None:
        """Add the gradient at one output, the sum over all that uses it."""
        rows = gradient.detach().movedim(self.channel, -1).flatten(0, -2) if gradient.ndim > 1 else gradient.detach()[None]
        for part in torch.split(rows, max(1, SLICE // max(1, rows.shape[-1]))):
            self.square += float(part.double().square().sum())
            if isinstance(self.modes, _Modes):
                self.modes.add(part)

    def add_weight_gradient(self, by_weight: Mapping[Tensor, Tensor]) -> None:
        """Add one batch's gradient of the weight."""
        if isinstance(self.modes, _Modes) and self.modes.weight in by_weight:
            self.modes.gradient += by_weight[self.modes.weight].reshape(self.modes.gradient.shape)

    def result(self) -> BlockGradient:
        """What the sums say; `InvalidInput` if they are not finite."""
        modes = self.modes
        if not math.isfinite(self.square) or (isinstance(modes, _Modes) and not torch.isfinite(modes.gradient).all()):
            raise InvalidInput(f"the gradient at {self.name!r} is not finite; a loss with finite gradients is allowed")
        norm = math.sqrt(self.square)
        if isinstance(modes, str):
            return BlockGradient(norm=norm, modes=None, why=modes)
        return BlockGradient(norm=norm, modes=modes.result(self.square), why="")


def _watch(one: _Watched, starts: list[Tensor]) -> Callable[[nn.Module, tuple[Any, ...], Any], Tensor]:
    def hook(_module: nn.Module, _inputs: tuple[Any, ...], output: Any) -> Tensor:
        if not isinstance(output, Tensor) or not output.is_floating_point():
            what = f"a tensor of {output.dtype}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
            raise InvalidInput(f"the output of {one.name!r} is {what}; a tensor of real numbers is allowed")
        if not torch.is_grad_enabled():
            raise InvalidInput(
                f"the block {one.name!r} runs where gradients are off (torch.no_grad); one that is differentiated is allowed"
            )
        one.used = True
        if not output.requires_grad:
            # Nothing before this block has weights: the graph begins here. The copy may be changed in place, a leaf may not.
            start = output.detach().requires_grad_()
            starts.append(start)
            output = start.clone()
        elif output._is_view():
            # A hook on a view is lost when the view is changed in place, as a linear layer's output of three dimensions may be.
            output = output.clone()
        # A hook on the tensor, not on the module: it sees the gradient at this value also if an operation then changes it in place.
        output.register_hook(one.add_output_gradient)
        return output

    return hook
