"""Commands `ptoq figures` and `ptoq reproduce`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from realnets.commands import missing
from sim.terminal import OUT, Backend, Device, Profile, print_json, report, say


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Draw figures from records."""

    names: Positional[tuple[str, ...]] = ()
    """Names of figures; all when none is given."""
    out: Path = OUT
    """Folder; records are read from its subfolder records/ (else those that come with the package), figures written to figures/."""
    json: bool = False
    """Print what was written as JSON."""

    def run(self) -> int:
        """Draw them and print the files written."""
        from paper_figs.figures import draw_figures

        drawn = draw_figures(list(self.names), self.out / "records", self.out / "figures")
        if self.json:
            print_json([{"figure": name, "record": str(record), "files": [str(f) for f in files]} for name, record, files in drawn])
        else:
            for name, record, files in drawn:
                print(f"{name}: {', '.join(map(str, files))}  (from {record})")
        return 0


@dataclass(frozen=True, kw_only=True)
class Reproduce:
    """Run everything: the theory's check, simulations, real networks, figures and the report."""

    profile: Profile = "quick"
    """How much to run: smoke (seconds, too small to conclude), quick (minutes), standard (hours), full (a GPU's work)."""
    backend: Backend = "auto"
    """Array library of the simulations."""
    jobs: int | None = None
    """Cores of this machine for the simulations; without it, all. Results do not depend on it."""
    cluster: str | None = None
    """Address of a Dask scheduler, such as tcp://host:8786, whose workers simulate in place of this machine's cores."""
    device: Device = "auto"
    """Device of the real networks."""
    out: Path = OUT
    """Folder for records/, figures/, verdicts.json and report.html."""
    json: bool = False
    """Print the claims as JSON."""

    def run(self) -> int:
        """Run it; exit code 1 if a claim of this project or a formula failed. A claim of the paper that fails is a finding."""
        started = time.perf_counter()
        from paper_figs.figures import draw_figures
        from paper_figs.report import write_report
        from sim import verdicts
        from sim.execution import execution
        from sim.machine import matrix_product_rate
        from sim.records import write_json

        say(f"float32 matrix products: {matrix_product_rate():.0f} GFLOP/s (time budgets are for 60 and more)")
        experiments = self._experiments()
        with execution(jobs=self.jobs, cluster=self.cluster):
            formulas = _check_theory()
            records = [self._run(kind, name, run) for kind, name, run in experiments]
        drawn = draw_figures([], self.out / "records", self.out / "figures", only=[r["experiment"] for r in records])
        claims = verdicts.claims_of(records)
        write_json(self.out / "verdicts.json", {"counts": verdicts.counts(claims), "formulas": formulas, "claims": claims})
        write_report(self.out / "report.html", records, drawn, formulas)
        code = report(claims, self.json, findings=True)
        broken = [f["name"] for f in formulas if not f["passed"]]
        say(
            f"theory: {len(formulas) - len(broken)} of {len(formulas)} formulas and bounds hold"
            + "".join(f", {name} broke" for name in broken)
        )
        say(f"all of it took {time.perf_counter() - started:.0f} s; open {(self.out / 'report.html').resolve()}")
        return 1 if broken else code

    def _run(self, kind: str, name: str, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        begun = time.perf_counter()
        say(f"{kind} {name}, profile {self.profile} …")
        record = run()
        say(f"{kind} {name}: {time.perf_counter() - begun:.0f} s, {self.out / 'records' / name}.json")
        return record

    def _experiments(self) -> list[tuple[str, str, Callable[[], dict[str, Any]]]]:
        """Kind, name and runner of each experiment, in order; bad options are refused here, before anything runs."""
        from sim.backend import resolve_backend
        from sim.experiments import check_writable, names, run_experiment

        resolve_backend(self.backend)
        folder = self.out / "records"
        check_writable(folder)
        found: list[tuple[str, str, Callable[[], dict[str, Any]]]] = [
            ("sim", name, partial(run_experiment, name, self.profile, folder, self.backend)) for name in names()
        ]
        if missing():
            say(f"realnets: skipped, {', '.join(missing())} are not installed (pip install 'ptoq[real]')")
            return found
        from realnets import experiments

        experiments.resolve_device(self.device)
        return found + [
            ("realnets", name, partial(experiments.run_experiment, name, self.profile, folder, self.device)) for name in experiments.names()
        ]


def _check_theory() -> list[dict[str, Any]]:
    """Every formula's and bound's name, title, evidence and whether its check passed."""
    from theory import registry
    from theory.inequality import check_entry

    begun = time.perf_counter()
    say(f"theory: checking {len(registry.ENTRIES)} formulas and {len(registry.BOUNDS)} bounds …")
    found = []
    for entry in registry.ALL:
        result = check_entry(entry)
        for failure in result.failures:
            say(f"theory {entry.name}: {failure}")
        found.append({"name": entry.name, "title": entry.title, "evidence": entry.evidence.kind, "passed": result.passed})
    say(f"theory: {time.perf_counter() - begun:.0f} s")
    return found
