"""Commands `ptoq realnets list` and `ptoq realnets run`; torch is imported when one runs."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, subcommand

from sim.terminal import OUT, Device, Profile, list_titles, report


@dataclass(frozen=True, kw_only=True)
class RealnetsList:
    """List the experiments on real networks."""

    json: bool = False
    """Print JSON."""

    def run(self) -> int:
        """Print names and titles."""
        require_torch()
        from realnets.experiments import experiment, names

        list_titles({name: experiment(name).TITLE for name in names()}, self.json)
        return 0


@dataclass(frozen=True, kw_only=True)
class RealnetsRun:
    """Run one experiment on real networks, write its record and print its verdicts.

    An interrupted run goes on where it stopped.
    """

    name: Positional[str]
    """Name of the experiment; see: ptoq realnets list."""
    profile: Profile = "quick"
    """How much to run: smoke (seconds), quick (minutes), standard (hours), full (a GPU's work)."""
    device: Device = "auto"
    """Device; auto takes a CUDA device when there is one."""
    out: Path = OUT
    """Folder for the record, in its subfolder records/."""
    json: bool = False
    """Print the claims as JSON."""

    def run(self) -> int:
        """Run it; exit code 1 if a claim failed."""
        require_torch()
        from realnets.experiments import run_experiment
        from sim import verdicts

        record = run_experiment(self.name, self.profile, self.out / "records", self.device)
        return report(verdicts.claims_of([record]), self.json)


@dataclass(frozen=True)
class Realnets:
    """Experiments on real networks: list them, run one."""

    action: Annotated[RealnetsList, subcommand("list")] | Annotated[RealnetsRun, subcommand("run")]

    def run(self) -> int:
        """Pass on to the action."""
        return self.action.run()


def has_torch() -> bool:
    """Whether the extra `real` seems to be installed."""
    return importlib.util.find_spec("torch") is not None


def require_torch() -> None:
    """Raise `InvalidInput` with what to install unless torch is there."""
    from theory.errors import InvalidInput

    if not has_torch():
        raise InvalidInput("real networks need torch and the bundled weights and pictures: pip install 'ptoq[real]'")
