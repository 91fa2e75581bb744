"""Figures by name, and the records they are drawn from."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from sim.records import read_record
from sim.terminal import OUT
from theory.errors import InvalidInput

_ROOT = Path(__file__).resolve().parent.parent
REFERENCE = (_ROOT / "sim" / "results", _ROOT / "realnets" / "results")
"""Where the records are that come with the package."""


_SIMULATED = (
    "ladder", "width_law", "pretraining_stage", "generalisation", "gram_concentration", "initialisation", "orthogonal_drift", "drift_size",
    "fresh_head", "guarantees", "population", "theorem_1", "theorem_2", "suppression", "along_gradient", "best_scale", "scale_plane",
    "breakdown", "phase_diagram", "forgetting", "chains", "bounds_against_error",
)  # fmt: skip
_REAL = (
    "sample_size", "flatness", "smoothness", "gradient_spectrum", "source_target", "pretraining_epochs", "kernel_prediction",
)  # fmt: skip


def modules() -> dict[str, ModuleType]:
    """Figure modules by name; each has `NAME`, `NEEDS` (its experiment) and `draw(record, folder)`."""
    return {name: import_module(f"paper_figs.{name}") for name in (*_SIMULATED, *_REAL)}


def _package(experiment: str) -> str:
    from sim.experiments import names

    return "sim" if experiment in names() else "realnets"


def find_record(experiment: str, folder: Path) -> tuple[dict[str, Any], Path]:
    """The record of `experiment` in `folder`, else the one that comes with the package, and its path.

    Raises
    ------
    InvalidInput
        If neither exists, or the one found is damaged or of another schema.
    """
    for place in (folder, *REFERENCE):
        path = place / f"{experiment}.json"
        if path.exists():
            return read_record(path), path
    elsewhere = "" if folder == OUT / "records" else f" --out {folder.parent}"
    raise InvalidInput(
        f"there is no record of {experiment!r} in {str(folder)!r}; make one with: ptoq {_package(experiment)} run {experiment}{elsewhere}"
    )


def draw_figures(names: Sequence[str], records: Path, out: Path, only: Collection[str] | None = None) -> list[tuple[str, Path, list[Path]]]:
    """Draw figures (all when `names` is empty): for each its name, the record used and the files written.

    `only` leaves out the figures of all other experiments.

    Raises
    ------
    InvalidInput
        For an unknown name, before anything is drawn.
    """
    known = modules()
    for name in names:
        if name not in known:
            raise InvalidInput(f"there is no figure {name!r}; {', '.join(known)} are allowed")
    wanted = [known[name] for name in names] or [m for m in known.values() if only is None or m.NEEDS in only]
    # All records first: a missing one leaves nothing half drawn.
    found = [(module, *find_record(module.NEEDS, records)) for module in wanted]
    drawn = []
    for module, record, path in found:
        try:
            drawn.append((module.NAME, path, module.draw(record, out)))
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
            raise InvalidInput(f"the record {str(path)!r} is damaged ({type(error).__name__}: {error}); run the experiment again") from None
    return drawn
