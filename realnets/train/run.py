"""A training run: its state, one step of it, and its way to and from a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from realnets import batchnorm
from realnets.probes.borrowed import borrowed
from realnets.train import checkpoint as files
from realnets.train import divergence
from realnets.train.divergence import Finding, TrainingDiverged
from realnets.train.part import TrainedPart
from realnets.train.precision import Precision
from realnets.train.processes import Processes
from realnets.train.recipe import LOSSES, Recipe
from realnets.train.samples import Samples
from sim.rng import generator
from theory.errors import InvalidInput


def steps_of(n: int, recipe: Recipe) -> int:
    """Steps in an epoch over `n` samples."""
    return max(1, n // min(recipe.batch_size, n))


def parts_of(size: int, recipe: Recipe) -> int:
    """Parts that a minibatch of `size` samples passes through the network in: each has two samples at least, as batch norm needs."""
    return max(1, min(recipe.accumulation, size // 2))


@dataclass(kw_only=True)
class Run:
    """A run and where it is: `epoch` whole epochs and `index` steps of the next are behind it, with the summed loss `total`."""

    part: TrainedPart
    recipe: Recipe
    seed: int
    samples: Samples
    device: torch.device
    processes: Processes
    optimiser: torch.optim.Optimizer
    precision: Precision
    checkpoint: Path | None
    identity: dict[str, Any]
    epoch: int = 0
    index: int = 0
    total: float = 0.0
    rows: list[dict[str, float]] = field(default_factory=list)
    saved: str | None = None

    @property
    def steps(self) -> int:
        """Steps in an epoch."""
        return steps_of(len(self.samples), self.recipe)

    @property
    def step(self) -> int:
        """Number of the next step."""
        return self.epoch * self.steps + self.index

    def order(self) -> tuple[Tensor, ...]:
        """Samples of each of this epoch's minibatches."""
        order = generator("realnets.train", self.seed, self.epoch).permutation(len(self.samples))
        return torch.tensor_split(torch.from_numpy(order), self.steps)

    def seen(self) -> int:
        """Pictures that passed through the network so far."""
        return self.epoch * len(self.samples) + (sum(map(len, self.order()[: self.index])) if self.index else 0)

    def minibatches(self) -> Iterator[tuple[tuple[Tensor, ...], Iterator[tuple[Tensor, Tensor]]]]:
        """The minibatches left in this epoch, in parts, and what reads this process's share of each part in turn."""
        left = [torch.tensor_split(m, parts_of(len(m), self.recipe)) for m in self.order()[self.index :]]
        read = self.samples.read([self.processes.share(p) for parts in left for p in parts])
        for parts in left:
            yield parts, read

    def make_step(self, parts: tuple[Tensor, ...], read: Iterator[tuple[Tensor, Tensor]], due: bool) -> bool:
        """One step of the optimiser; whether the main process finds a checkpoint due."""
        states, size = files.generator_states(self.device), sum(map(len, parts))
        shares: list[tuple[Tensor, Tensor]] = []
        summed = 0.0
        lr = self.recipe.learning_rate(self.step, self.steps * self.recipe.epochs)
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        self.optimiser.zero_grad(set_to_none=True)
        for _ in parts:
            x, y = next(read)
            shares.append((x, y))
            loss = LOSSES[self.recipe.loss](self.forward(x), y)
            self.precision.scaled(loss * (len(x) / size)).backward()  # type: ignore[no-untyped-call]
            summed += loss.item() * len(x)
        summed, asked = self.processes.sum([summed, float(due and self.processes.main)], self.device)
        if not math.isfinite(summed):
            self.stop(f"the loss is {summed / size}", self.examine(shares, states), lr)
        self.processes.sum_gradients(self.part.parameters.values())
        gradients = [p.grad for p in self.part.parameters.values() if p.grad is not None]
        if self.precision.scaler is None and not divergence.all_finite(gradients):
            self.stop("a gradient is not finite", divergence.in_gradients(self.part.parameters, self.part.layers), lr)
        if not self.precision.step(self.optimiser):
            self.stop("gradients overflow at every loss scale", divergence.in_gradients(self.part.parameters, self.part.layers), lr)
        if not divergence.all_finite(list(self.part.parameters.values())):
            self.stop("a weight is not finite", divergence.in_weights(self.part.parameters), lr, "after")
        self.total += summed
        self.index += 1
        return bool(asked)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs in training mode."""
        with self.precision.casts(), self.processes.batch_norm():
            outputs = self.part.model(x)
        return self.precision.outputs(outputs)

    def examine(self, shares: list[tuple[Tensor, Tensor]], states: dict[str, Tensor]) -> Finding:
        """Where a step first left the finite numbers, in any process."""
        files.set_generator_states(states, self.device)
        model = self.part.model
        found = divergence.in_forward(model, lambda: [self.forward(x) for x, _ in shares])
        if not all(divergence.finite(y) for _, y in shares):
            found = -1, "a target is not finite", None
        return min(self.processes.gather(found), key=lambda one: one[0])

    def stop(self, what: str, found: Finding, lr: float, when: str = "at") -> NoReturn:
        """Raise `TrainingDiverged`."""
        kept = "there is no checkpoint yet" if self.saved is None else f"{str(self.checkpoint)!r} holds the state after {self.saved}"
        message = f"{what} {when} step {self.step} (epoch {self.epoch}): {found[1]}; learning rate {lr:.3g}; {kept}; try a smaller lr"
        raise TrainingDiverged(message, step=self.step, epoch=self.epoch, layer=found[2])

    def end_epoch(self) -> None:
        """Add the epoch's row."""
        lr = self.recipe.learning_rate(self.step - 1, self.steps * self.recipe.epochs)
        row = {"epoch": self.epoch, "step": self.step, "loss": self.total / len(self.samples), "lr": lr}
        self.rows.append(row)
        self.epoch, self.index, self.total = self.epoch + 1, 0, 0.0

    def measure(self, callback: Callable[[int, nn.Module], Any]) -> None:
        """Let the main process's `callback` see the model, and put back all that it did to it."""

        def borrow() -> None:
            model = self.part.model
            with borrowed(model, weights=True):
                callback(self.step, model)

        self.processes.on_main(borrow)

    def prepare(self) -> None:
        """Put the network in evaluation mode with its statistics."""
        chunks = torch.chunk(torch.arange(len(self.samples)), -(-len(self.samples) // batchnorm.CHUNK))
        self.part.prepare((x for x, _ in self.samples.read(chunks)), self.recipe.batch_norm)

    def keep_epoch(self, folder: Path) -> None:
        """Keep the network as `train` would leave it now."""

        def keep() -> None:
            with borrowed(self.part.model):
                self.prepare()
                files.save_epoch(folder, self.epoch, self.part.model)

        self.processes.on_main(keep)

    def save(self) -> None:
        """Write the checkpoint."""
        state = {
            "model": self.part.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.precision.state(),
            "random": self.processes.gather(files.generator_states(self.device)),
            "at": [self.epoch, self.index, self.total],
            "rows": self.rows,
        }
        path = self.checkpoint
        assert path is not None
        self.processes.on_main(lambda: files.save(path, self.identity, state))
        self._note_saved()

    def resume(self) -> bool:
        """Go on from the checkpoint, if there is one."""
        if self.checkpoint is None or not self.checkpoint.exists():
            return False
        state = files.load(self.checkpoint, self.identity)
        try:
            self.part.model.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.precision.restore(state["scaler"])
            files.set_generator_states(state["random"][self.processes.index], self.device)
            (self.epoch, self.index, self.total), self.rows = state["at"], list(state["rows"])
        except Exception as error:
            reason = " ".join(str(error).split())
            raise InvalidInput(f"the checkpoint {str(self.checkpoint)!r} is damaged: {reason}; delete it to begin again") from None
        self._note_saved()
        return True

    def _note_saved(self) -> None:
        self.saved = f"step {self.step - 1}" if self.index else f"epoch {self.epoch - 1}"
