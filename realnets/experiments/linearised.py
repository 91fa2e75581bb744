"""One network beside its linearisation: prediction, validity reading and real training; computed once and kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from realnets import data, models
from realnets.batchnorm import check_policy, prepare
from realnets.kernel_regime import descend, predict, valid_to, validity
from realnets.ntk import empirical_ntk, outputs
from theory.numeric.spectrum import GramSpectrum

STEP_SHARE = 0.5
"""Step size as a share of `1/λ_max`."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One start, one batch-norm policy, a number of steps."""

    start: str
    batch_norm: str
    steps: int

    def __post_init__(self) -> None:
        check_policy(self.batch_norm, self.start)

    @property
    def label(self) -> str:
        """Start and statistics, in words."""
        return f"{self.start}, batch norm {self.batch_norm}"


@dataclass(frozen=True, kw_only=True)
class Linearised:
    """Everything one cell depends on, beside the code and the pictures there are; the seed draws pictures, head and random start."""

    arm: Arm
    pictures: int
    groups: tuple[str, str]
    size: int
    seed: int


def lineariser(pool: data.Pictures, device: str) -> Callable[[Linearised, str, Callable[[int], Any]], dict[str, Any]]:
    """What computes one cell on pictures of `pool`."""

    def compute(spec: Linearised, key: str, progress: Callable[[int], Any]) -> dict[str, Any]:
        return _compute(spec, pool, device, progress)

    return compute


def _compute(spec: Linearised, pool: data.Pictures, device: str, progress: Callable[[int], Any]) -> dict[str, Any]:
    started = time.perf_counter()
    pictures = data.balanced(pool, spec.pictures, spec.seed)
    inputs = data.as_input(pictures.images, device)
    y = np.where(pictures.labels == 0, 1.0, -1.0)[:, None]
    model = models.build(spec.arm.start, 1, spec.seed).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    prepare(model, inputs, spec.arm.batch_norm)
    kernel, initial = empirical_ntk(model, inputs), outputs(model, inputs)
    kernel_seconds = time.perf_counter() - started
    spectrum = GramSpectrum.of(kernel)
    lr, steps = STEP_SHARE / spectrum.largest, spec.arm.steps
    predicted = predict(kernel, initial, y, lr, steps)
    readings = validity(model, inputs, kernel, y, lr, _reading_steps(steps))
    measured = descend(model, inputs, y, lr, steps, progress)
    return {
        "lr": lr,
        "largest": spectrum.largest,
        "smallest": spectrum.smallest,
        "initial_output_rms": float(np.sqrt((initial**2).mean())),
        "predicted": asdict(predicted),
        "measured": asdict(measured),
        "readings": [asdict(r) for r in readings],
        "valid_to": valid_to(readings),
        "kernel_seconds": kernel_seconds,
        "seconds": time.perf_counter() - started,
    }


def _reading_steps(steps: int) -> list[int]:
    """1 and 2, then steps a quarter apart, and the last."""
    chosen = [1]
    while chosen[-1] < steps:
        chosen.append(min(steps, max(chosen[-1] + 1, round(chosen[-1] * 1.25))))
    return chosen
