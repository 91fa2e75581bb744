"""Training: one loop that reads top to bottom, and goes on after a kill as if there had been none.

Minibatches come in the order that the seed and the epoch fix; each is divided into parts, which save memory, and each part between the
processes, which save time. Neither changes the gradient: it is that of the mean over the minibatch's samples.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from tqdm import tqdm

from realnets.probes.borrowed import device_of
from realnets.train import checkpoint as files
from realnets.train.part import trained_part
from realnets.train.precision import Precision, check_precision
from realnets.train.processes import Processes
from realnets.train.recipe import Recipe, build_optimiser
from realnets.train.run import Run, parts_of, steps_of
from realnets.train.samples import samples_of
from sim.rng import generator
from theory.errors import InvalidInput
from theory.files import write_atomically

if TYPE_CHECKING:
    from accelerate import Accelerator


def train(
    model: nn.Module,
    inputs: Tensor | Dataset[Any],
    targets: Tensor | None,
    recipe: Recipe,
    seed: int = 0,
    *,
    checkpoint: Path | None = None,
    checkpoint_steps: int | None = None,
    checkpoint_seconds: float | None = 300.0,
    keep_epochs: Path | None = None,
    metrics: Path | None = None,
    progress: Callable[[int], Any] | str | None = None,
    callback: Callable[[int, nn.Module], Any] | None = None,
    every: int = 1,
    workers: int = 0,
    accelerator: Accelerator | None = None,
) -> list[dict[str, float]]:
    """Train `model` in place; afterwards it is in evaluation mode with the statistics the recipe names.

    Parameters
    ----------
    inputs : (n, …) tensor, or Dataset of (input, target) with a length
    targets : (n,) tensor of classes, or real targets of the outputs' shape; None with a Dataset
        A Dataset must give the same samples each time: no random augmentation.
    seed : int ≥ 0
        Of the order of minibatches, and of dropout if the model has it.
    checkpoint : Path, optional
        Written after every epoch, and where an interrupted run goes on from: on a CPU with the same number of threads it
        ends with the same bits.
    checkpoint_steps : int ≥ 1, checkpoint_seconds : float > 0, optional
        Written also within an epoch, after so many steps or seconds.
    keep_epochs : Path, optional
        Folder for the network at the start and after every epoch, in files that `epoch_file` names, with the statistics that the
        recipe names; where they are re-estimated this passes over the training set once more an epoch.
    metrics : Path, optional
        JSON lines, one an epoch: epoch, step, mean loss, learning rate.
    progress : callable or str, optional
        Called with the number of pictures after every step, and once with those of a resumed run's past. A string names a bar on the
        terminal, with pictures a second and the time left.
    callback : callable, optional
        `callback(step, model)` before step 0, `every`, 2·`every`, … and after the last, for measuring. It may do anything to the
        model, which it finds in evaluation mode with batch norm's running statistics (`realnets.batchnorm.prepare` sets others):
        the run is the same, bit for bit, with it or without. A resumed run calls it again from its checkpoint on.
    every : int ≥ 1
    workers : int ≥ 0
        Processes that read ahead from a Dataset.
    accelerator : accelerate.Accelerator, optional
        In each of several processes (started by `accelerate launch`, or `torchrun`), all of which call this with the same arguments
        and see the same files; weights are the main process's, which alone writes files and calls `progress` and `callback`.
        The result is that of one process up to rounding, batch norm's moments included; dropout draws in each process on its own.

    Returns
    -------
    list of the metrics' rows.

    Raises
    ------
    InvalidInput
        For data that do not fit the model or the loss, a layer that does not exist, nothing to train, a precision that is not to be
        had, or a checkpoint that is damaged or another run's.
    TrainingDiverged
        If the loss, a gradient or a weight becomes NaN or infinite: the message names step and layer, and the last checkpoint is kept.
    OSError
        If a file cannot be written: the one before it stays.
    """
    processes = Processes(accelerator)
    if accelerator is not None:
        model.to(accelerator.device)
    device = device_of(model)
    samples = samples_of(inputs, targets, device, workers)
    _check_options(checkpoint_steps, checkpoint_seconds, every, workers)
    _check_sizes(recipe, len(samples), processes.count)
    check_precision(recipe.precision, device, model)
    part = trained_part(model, recipe.trained, next(samples.read([torch.arange(1)]))[0])
    samples.fit(part.outputs, recipe.loss)
    run = Run(
        part=part,
        recipe=recipe,
        seed=seed,
        samples=samples,
        device=device,
        processes=processes,
        optimiser=build_optimiser(recipe, part.parameters.values()),
        precision=Precision(recipe.precision, device),
        checkpoint=checkpoint,
        identity=files.identity(model, samples.fingerprint(), recipe, seed, processes.count) if checkpoint is not None else {},
    )
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=[device] if device.type == "cuda" else []))
        stack.enter_context(part.alone())
        torch.manual_seed(seed if processes.main else int(generator("realnets.train.process", seed, processes.index).integers(2**63)))
        resumed = run.resume()
        processes.send(model)
        report = stack.enter_context(_reporting(progress if processes.main else None, recipe.epochs * len(samples), run.seen()))
        if keep_epochs is not None and not resumed:
            run.keep_epoch(keep_epochs)
        processes.on_main(lambda: _write_rows(metrics, run.rows))
        due = _Clock(checkpoint_steps, checkpoint_seconds)
        for _ in range(run.epoch, recipe.epochs):
            part.set_training(recipe.batch_norm)
            for parts, read in run.minibatches():
                if callback is not None and run.step % every == 0:
                    run.measure(callback)
                last = run.index == run.steps - 1
                asked = run.make_step(parts, read, due.is_due() and not last)
                report(sum(map(len, parts)))
                if asked and checkpoint is not None:
                    run.save()
                    due.restart()
            run.end_epoch()
            if keep_epochs is not None:
                run.keep_epoch(keep_epochs)
            if checkpoint is not None:
                run.save()
                due.restart()
            processes.on_main(lambda: _write_rows(metrics, run.rows))
        if callback is not None:
            run.measure(callback)
        run.prepare()
    return run.rows


class _Clock:
    """When a checkpoint within an epoch is due."""

    def __init__(self, steps: int | None, seconds: float | None) -> None:
        self._steps, self._seconds = steps, seconds
        self.restart()

    def restart(self) -> None:
        self._since, self._made = time.monotonic(), 0

    def is_due(self) -> bool:
        self._made += 1
        return (self._steps is not None and self._made >= self._steps) or (
            self._seconds is not None and time.monotonic() - self._since >= self._seconds
        )


@contextmanager
def _reporting(progress: Callable[[int], Any] | str | None, total: int, seen: int) -> Iterator[Callable[[int], Any]]:
    if isinstance(progress, str):
        with tqdm(total=total, initial=seen, desc=progress, unit="picture", disable=None, leave=False) as bar:
            yield bar.update
    elif progress is None:
        yield lambda pictures: None
    else:
        if seen:
            progress(seen)
        yield progress


def _write_rows(path: Path | None, rows: list[dict[str, float]]) -> None:
    """The whole file each time: it is small, and so never holds rows of epochs that a resumed run repeats."""
    if path is not None:
        write_atomically(path, "".join(json.dumps(row) + os.linesep for row in rows).encode())


def _check_options(steps: int | None, seconds: float | None, every: int, workers: int) -> None:
    rules = {
        "checkpoint_steps": (steps, steps is None or (isinstance(steps, int) and steps >= 1), "a whole number ≥ 1, or None,"),
        "checkpoint_seconds": (seconds, seconds is None or seconds > 0, "a number above 0, or None,"),
        "every": (every, isinstance(every, int) and every >= 1, "a whole number ≥ 1"),
        "workers": (workers, isinstance(workers, int) and workers >= 0, "a whole number ≥ 0"),
    }
    for name, (value, good, allowed) in rules.items():
        if not good:
            raise InvalidInput(f"{name} is {value!r}; {allowed} is allowed")


def _check_sizes(recipe: Recipe, n: int, processes: int) -> None:
    steps = steps_of(n, recipe) * recipe.epochs
    if steps and recipe.warmup_steps >= steps:
        raise InvalidInput(f"warmup_steps is {recipe.warmup_steps}; fewer than the {steps} steps of the run are allowed")
    size = n // steps_of(n, recipe)
    parts = parts_of(size, recipe)
    if size // parts < processes:
        raise InvalidInput(
            f"{size} samples in {parts} parts a step are too few for {processes} processes; a sample a part for each is needed"
        )
