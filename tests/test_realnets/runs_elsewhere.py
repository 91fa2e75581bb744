"""What tests run in processes of their own, `python runs_elsewhere.py killed …` or `… one_of_two …`, and in theirs to compare."""

from __future__ import annotations

import os
import signal
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from realnets.train import Recipe, TrainingDiverged, train

# Both with dropout, and batch norm that is re-estimated; 13 samples, in steps of 5, 4 and 4.
TO_KILL = {
    "sgd": Recipe(epochs=3, batch_size=4, lr=0.1, weight_decay=0.01, schedule="step"),
    "adamw": Recipe(epochs=3, batch_size=4, lr=0.02, weight_decay=0.01, optimiser="adamw", accumulation=2, warmup_steps=7, trained="bn"),
}

# Two processes have shares of 3 and 2, 2 and 2; with accumulation of 2 and 1, 1 and 1 of each part.
TO_SHARE = {
    "ragged": Recipe(epochs=3, batch_size=4, lr=0.1, weight_decay=0.01),
    "accumulated": Recipe(epochs=3, batch_size=4, lr=0.1, accumulation=2, schedule="step"),
    "frozen": Recipe(epochs=3, batch_size=4, lr=0.1, batch_norm="frozen", trained="depthwise", warmup_steps=3),
    "adamw": Recipe(epochs=3, batch_size=4, lr=0.01, optimiser="adamw", schedule="constant"),
    "bf16": Recipe(epochs=1, batch_size=4, lr=0.01, precision="bf16", schedule="constant"),
}


def data() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(13, 3, 6, 6, generator=torch.Generator().manual_seed(1)), torch.arange(13) % 2


def net(seed: int = 0, dropout: float = 0.0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = OrderedDict(
            conv=nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False),
            bn=nn.BatchNorm2d(4),
            act=nn.GELU(),
            depthwise=nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False),
            bn2=nn.BatchNorm2d(4),
            act2=nn.GELU(),
            pool=nn.AdaptiveAvgPool2d(1),
            flat=nn.Flatten(),
            dropout=nn.Dropout(dropout),
            classifier=nn.Linear(4, 2),
        )
        return nn.Sequential(layers)


def run_to_kill(name: str, **options: Any) -> tuple[list[dict[str, float]], nn.Module]:
    model = net(dropout=0.3)
    return train(model, *data(), TO_KILL[name], seed=4, **options), model


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed(folder: str, name: str, where: str) -> None:
    """Dies in the fifth step, or while it writes the checkpoint after it."""
    steps, replace = [0], os.replace

    def progress(pictures: int) -> None:
        steps[0] += 1
        if where == "step" and steps[0] == 5:
            _die()

    def dying(old: str, new: str) -> None:
        if where == "write" and steps[0] == 5:
            _die()
        replace(old, new)

    os.replace = dying  # type: ignore[assignment]
    run_to_kill(name, checkpoint=Path(folder) / "run.pt", checkpoint_steps=1, metrics=Path(folder) / "run.jsonl", progress=progress)


def one_of_two(folder: str) -> None:
    """What each of the two processes runs; all of it, because starting them takes longer than training."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    index = accelerator.process_index
    found: dict[str, Any] = {"count": accelerator.num_processes}
    x, y = data()
    for name, recipe in TO_SHARE.items():
        model = net(seed=index)  # the main process's start counts
        steps: list[int] = []
        rows = train(model, x, y, recipe, accelerator=accelerator, callback=lambda step, _, steps=steps: steps.append(step), every=3)
        found[name] = {"state": model.state_dict(), "rows": rows, "steps": steps}
    found["resumed"] = _interrupted(Path(folder), accelerator)
    poisoned = x.clone()
    poisoned[6] = float("nan")  # one sample: in one process's share
    for name, inputs, model in (("inputs", poisoned, net()), ("layer", x, net())):
        if name == "layer" and index == 1:
            model.bn2.register_forward_hook(lambda m, i, out: out * float("inf") if m.training else out)
        try:
            train(model, inputs, y, TO_SHARE["ragged"], accelerator=accelerator)
        except TrainingDiverged as error:
            found[name] = str(error)
    torch.save(found, Path(folder) / f"{index}.pt")
    accelerator.end_training()


def _interrupted(folder: Path, accelerator: Any) -> dict[str, Any]:
    """A run with dropout that the main process's callback stops within an epoch, resumed; and the same run in one go."""
    recipe = TO_SHARE["adamw"]

    def stop(step: int, model: Any) -> None:
        if step == 5:
            raise ValueError("enough")

    try:
        train(net(), *data(), recipe, accelerator=accelerator)
        train(net(dropout=0.5), *data(), recipe, accelerator=accelerator, checkpoint=folder / "run.pt", checkpoint_steps=1, callback=stop)
    except (ValueError, RuntimeError) as error:
        said = f"{type(error).__name__}: {error}"
    resumed, whole = net(dropout=0.5), net(dropout=0.5)
    train(resumed, *data(), recipe, accelerator=accelerator, checkpoint=folder / "run.pt")
    train(whole, *data(), recipe, accelerator=accelerator)
    return {"said": said, "resumed": resumed.state_dict(), "whole": whole.state_dict()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"killed": killed, "one_of_two": one_of_two}[sys.argv[1]](*sys.argv[2:])
