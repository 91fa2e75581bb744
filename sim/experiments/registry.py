"""Experiments by name, and how one becomes a record."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

from sim.backend import preferred
from sim.execution import measured
from sim.experiments import (
    along_gradient,
    best_scale,
    bounds_against_error,
    breakdown,
    chains,
    drift_size,
    forgetting,
    fresh_head,
    generalisation,
    gram_concentration,
    guarantees,
    initialisation,
    ladder,
    orthogonal_drift,
    phase_diagram,
    population,
    pretraining_stage,
    scale_plane,
    suppression,
    theorem_1,
    theorem_2,
    width_law,
)
from sim.records import SCHEMA, Cache, provenance, write_json
from theory.errors import InvalidInput

PROFILES = ("smoke", "quick", "standard", "full")

_EXPERIMENTS: dict[str, ModuleType] = {
    module.NAME: module
    for module in (
        ladder,
        width_law,
        pretraining_stage,
        generalisation,
        gram_concentration,
        initialisation,
        orthogonal_drift,
        drift_size,
        fresh_head,
        guarantees,
        population,
        theorem_1,
        theorem_2,
        suppression,
        along_gradient,
        best_scale,
        scale_plane,
        breakdown,
        phase_diagram,
        forgetting,
        chains,
        bounds_against_error,
    )
}


def names() -> list[str]:
    """Names of all experiments, in the order `reproduce` runs them."""
    return list(_EXPERIMENTS)


def experiment(name: str) -> ModuleType:
    """The experiment called `name`; `InvalidInput` with the allowed names if there is none."""
    return chosen(name, _EXPERIMENTS)


def run_experiment(name: str, profile: str, folder: Path, backend: str = "auto", cache: Cache | None = None) -> dict[str, Any]:
    """Run one experiment and write its record to `folder/NAME.json`.

    Replicates finished by an earlier, interrupted run are taken from the cache.

    Returns
    -------
    The record.

    Raises
    ------
    InvalidInput
        For an unknown experiment, profile or backend, or a folder that cannot be written to; nothing is run then.
    """
    module = experiment(name)
    with preferred(backend) as chosen_backend:
        config = configured(module, profile)
        where = {"backend": chosen_backend.name, "device": chosen_backend.describe(), "dtype": config.dtype}
        return recorded(module, profile, config, folder, cache, where)


def chosen(name: str, experiments: Mapping[str, ModuleType]) -> ModuleType:
    """The module called `name`; `InvalidInput` with the allowed names if there is none."""
    if name not in experiments:
        raise InvalidInput(f"there is no experiment {name!r}; {', '.join(experiments)} are allowed")
    return experiments[name]


def configured(module: ModuleType, profile: str) -> Any:
    """The `Config` of a profile; `InvalidInput` with the allowed names if there is none."""
    if profile not in PROFILES:
        raise InvalidInput(f"profile is {profile!r}; one of {', '.join(map(repr, PROFILES))} is allowed")
    return module.Config.profile(profile)


def recorded(
    module: ModuleType, profile: str, config: Any, folder: Path, cache: Cache | None, where: Mapping[str, Any], **options: Any
) -> dict[str, Any]:
    """Run the experiment of `module` and write its record.

    Parameters
    ----------
    module : with `NAME`, `TITLE`, `Config.profile(profile)` and `run(config, cache, **options)`
    profile, config : the profile's name and what `configured` made of it
    folder : Path of the record
    cache : Cache, optional
    where : what the provenance says of backend, device, dtype and versions

    Raises
    ------
    InvalidInput
        For a folder that cannot be written to, before anything is run.
    """
    cache = cache or Cache()
    for place in (folder, cache.folder):
        check_writable(place)
    with measured() as taken:
        results = module.run(config, cache, **options)
    record = {
        "schema": SCHEMA,
        "experiment": module.NAME,
        "title": module.TITLE,
        "profile": profile,
        "config": asdict(config),
        "seeds": list(range(config.seeds)),
        "claims": results.pop("claims"),
        "provenance": provenance(
            **where,
            workers=taken.at_once(),
            parts={"computed": taken.computed, "cached": taken.cached},
            wall_seconds=taken.wall_seconds,
            work_seconds=results.pop("seconds"),
            peak_memory_bytes=taken.peak_memory(),
        ),
        "results": results,
    }
    write_json(folder / f"{module.NAME}.json", record)
    return record


def check_writable(folder: Path) -> None:
    """Make `folder`; `InvalidInput` if that fails, or nothing can be written to it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"cannot make the folder {str(folder)!r}: {error.strerror}") from None
    if not os.access(folder, os.W_OK):
        raise InvalidInput(f"cannot write to the folder {str(folder)!r}")
