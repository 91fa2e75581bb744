"""Training: one loop that reads top to bottom, and goes on after a kill as if there had been none.

Minibatch gradient descent with momentum, in the order that the seed and the epoch fix. SGD, not an adaptive method: the kernel
theory of displacement is about gradient descent, and Adam has no output-space kernel.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from realnets.batchnorm import POLICIES, prepare, set_training
from sim.rng import generator
from theory.errors import InvalidInput, NotConverged
from theory.files import write_atomically

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"cross-entropy": nn.functional.cross_entropy, "squared": nn.functional.mse_loss}
"""Mean losses over a batch: outputs (b, c) with classes (b,), or outputs with real targets of the same shape."""

_FORMAT = 1


class TrainingDiverged(NotConverged):
    """A loss or weight that is no finite number any more; the last checkpoint holds finite ones."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained.

    Parameters
    ----------
    epochs : int ≥ 0
    batch_size : int ≥ 2
    lr : float > 0
        Falls from this along half a cosine to zero at the last step.
    momentum : float in [0, 1)
    weight_decay : float ≥ 0
        Towards zero. Zero by default: decay moves weights for reasons of its own.
    loss : "cross-entropy" or "squared"
    batch_norm : "frozen" or "re-estimated"

    Raises
    ------
    InvalidInput
        For a value outside these ranges.
    """

    epochs: int = 10
    batch_size: int = 32
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 0.0
    loss: str = "cross-entropy"
    batch_norm: str = "re-estimated"

    def __post_init__(self) -> None:
        rules = {
            "epochs": (self.epochs >= 0, "≥ 0"),
            "batch_size": (self.batch_size >= 2, "≥ 2"),
            "lr": (0 < self.lr < math.inf, "finite and above 0"),
            "momentum": (0 <= self.momentum < 1, "in [0, 1)"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "finite and ≥ 0"),
            "loss": (self.loss in LOSSES, f"one of {', '.join(map(repr, LOSSES))}"),
            "batch_norm": (self.batch_norm in POLICIES, f"one of {', '.join(map(repr, POLICIES))}"),
        }
        for name, (good, allowed) in rules.items():
            if not good:
                raise InvalidInput(f"{name} is {getattr(self, name)!r}; {allowed} is allowed")


def train(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    recipe: Recipe,
    seed: int = 0,
    *,
    checkpoint: Path | None = None,
    metrics: Path | None = None,
    progress: Callable[[int], Any] | None = None,
) -> list[dict[str, float]]:
    """Train `model` in place; afterwards it is in evaluation mode with the statistics the recipe names.

    Parameters
    ----------
    inputs : (n, …) tensor
    targets : (n,) tensor of classes, or real targets of the outputs' shape
    seed : int ≥ 0
        Of the order of minibatches, and of dropout if the model has it.
    checkpoint : Path, optional
        Written after every epoch, and where an interrupted run goes on from: on a CPU with the same number of threads it
        ends with the same bits.
    metrics : Path, optional
        JSON lines, one an epoch: epoch, step, mean loss, learning rate.
    progress : callable, optional
        Called with the number of pictures after every step.

    Returns
    -------
    list of the metrics' rows.

    Raises
    ------
    InvalidInput
        For data that do not fit the model or the loss, or a checkpoint that is damaged or another run's.
    TrainingDiverged
        If the loss becomes NaN or infinite: the message names the step, and the last checkpoint is kept.
    """
    _check_data(model, inputs, targets, recipe)
    n, batch = len(inputs), min(recipe.batch_size, len(inputs))
    # A last batch too small to be normalised by itself joins the one before it.
    batches = max(1, n // batch)
    optimiser = torch.optim.SGD(model.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda k: (1 + math.cos(math.pi * k / max(1, recipe.epochs * batches))) / 2)
    identity = _identity(inputs, targets, recipe, seed)
    rows: list[dict[str, float]] = []
    with torch.random.fork_rng(devices=[inputs.device] if inputs.is_cuda else []):
        torch.manual_seed(seed)
        if checkpoint is not None and checkpoint.exists():
            rows = _resume(checkpoint, identity, model, optimiser, schedule)
            if progress is not None:
                progress(n * len(rows))
        _write_rows(metrics, rows)
        for epoch in range(len(rows), recipe.epochs):
            set_training(model, recipe.batch_norm)
            order = torch.from_numpy(generator("realnets.train", seed, epoch).permutation(n))
            total = 0.0
            for index, chosen in enumerate(torch.tensor_split(order, batches)):
                step = epoch * batches + index
                lr = float(optimiser.param_groups[0]["lr"])
                loss = LOSSES[recipe.loss](model(inputs[chosen]), targets[chosen])
                value = loss.item()
                if not math.isfinite(value):
                    raise TrainingDiverged(_diverged(f"the loss is {value} at step {step} (epoch {epoch})", lr, checkpoint, rows))
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                schedule.step()
                total += value * len(chosen)
                if progress is not None:
                    progress(len(chosen))
            if not all(bool(torch.isfinite(p).all()) for p in model.parameters()):
                raise TrainingDiverged(_diverged(f"a weight is not finite after step {step} (epoch {epoch})", lr, checkpoint, rows))
            rows.append({"epoch": epoch, "step": step + 1, "loss": total / n, "lr": lr})
            if checkpoint is not None:
                _save(checkpoint, identity, model, optimiser, schedule, rows)
            _write_rows(metrics, rows)
    prepare(model, inputs, recipe.batch_norm)
    return rows


@torch.no_grad()
def evaluate(model: nn.Module, inputs: Tensor, targets: Tensor, loss: str = "cross-entropy", chunk: int = 512) -> dict[str, float]:
    """Mean `loss` over a set and, for classes, the share that is right (`accuracy`); the model is left in evaluation mode."""
    model.eval()
    outputs = torch.cat([model(x) for x in torch.split(inputs, chunk)])
    result = {"loss": LOSSES[loss](outputs, targets).item()}
    if targets.dtype == torch.int64:
        result["accuracy"] = (outputs.argmax(dim=1) == targets).double().mean().item()
    return result


def _check_data(model: nn.Module, inputs: Tensor, targets: Tensor, recipe: Recipe) -> None:
    if len(inputs) != len(targets) or len(inputs) < 2:
        raise InvalidInput(f"{len(inputs)} inputs and {len(targets)} targets were given; equally many, at least 2, are allowed")
    model.eval()
    with torch.no_grad():
        outputs = model(inputs[:1])
    if recipe.loss == "cross-entropy":
        if targets.dtype != torch.int64 or targets.ndim != 1:
            raise InvalidInput(f"targets are {targets.dtype} of shape {tuple(targets.shape)}; classes, int64 of shape (n,), are allowed")
        low, high = int(targets.min()), int(targets.max())
        if low < 0 or high >= outputs.shape[1]:
            raise InvalidInput(
                f"classes run from {low} to {high}; 0 to {outputs.shape[1] - 1} are allowed, the network has {outputs.shape[1]} outputs"
            )
    elif targets.shape[1:] != outputs.shape[1:] or not targets.is_floating_point():
        raise InvalidInput(
            f"targets are {targets.dtype} of shape {tuple(targets.shape)}; real ones of shape (n, {outputs.shape[1]}) are allowed"
        )


def _identity(inputs: Tensor, targets: Tensor, recipe: Recipe, seed: int) -> str:
    """Hash of what must not change between a run and its continuation."""
    digest = hashlib.sha256(json.dumps([_FORMAT, asdict(recipe), seed, list(inputs.shape)], sort_keys=True).encode())
    for tensor in (inputs, targets):
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _save(path: Path, identity: str, model: nn.Module, optimiser: Any, schedule: Any, rows: list[dict[str, float]]) -> None:
    state = {
        "identity": identity,
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "schedule": {k: v for k, v in schedule.state_dict().items() if k != "lr_lambdas"},
        "random": torch.get_rng_state(),
        "rows": rows,
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(path, buffer.getvalue())


def _resume(path: Path, identity: str, model: nn.Module, optimiser: Any, schedule: Any) -> list[dict[str, float]]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["identity"] != identity:
            raise InvalidInput(f"the checkpoint {str(path)!r} is another run's (data, recipe or seed differ); delete it or name another")
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict({**state["schedule"], "lr_lambdas": [None]})
        torch.set_rng_state(state["random"])
        return list(state["rows"])
    except InvalidInput:
        raise
    except Exception as error:  # a damaged archive raises whatever its first bad byte leads to
        raise InvalidInput(f"the checkpoint {str(path)!r} is damaged: {str(error).splitlines()[0]}; delete it to begin again") from None


def _diverged(what: str, lr: float, checkpoint: Path | None, rows: list[dict[str, float]]) -> str:
    kept = (
        f"{str(checkpoint)!r} holds the state after epoch {len(rows) - 1}"
        if checkpoint is not None and rows
        else "there is no checkpoint yet"
    )
    return f"{what}, learning rate {lr:.3g}; {kept}; try a smaller lr"


def _write_rows(path: Path | None, rows: list[dict[str, float]]) -> None:
    """The whole file each time: it is small, and so never holds rows of epochs that a resumed run repeats."""
    if path is not None:
        write_atomically(path, "".join(json.dumps(row) + os.linesep for row in rows).encode())
