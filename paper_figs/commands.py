"""Commands `ptoq figures` and `ptoq reproduce`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from sim.terminal import OUT, Backend, Profile, print_json, report, say


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
    """Run everything: experiments, figures and the verdict table."""

    profile: Profile = "quick"
    """How much to run: smoke (seconds), quick (minutes), standard (hours), full (a GPU's work)."""
    backend: Backend = "auto"
    """Array library."""
    out: Path = OUT
    """Folder for records/, figures/ and verdicts.json."""
    json: bool = False
    """Print the claims as JSON."""

    def run(self) -> int:
        """Run it; exit code 1 if a claim failed."""
        import time

        from paper_figs.figures import draw_figures
        from sim import verdicts
        from sim.experiments import names, run_experiment
        from sim.machine import matrix_product_rate
        from sim.records import write_json

        started = time.perf_counter()
        say(f"float32 matrix products: {matrix_product_rate():.0f} GFLOP/s (time budgets are for 60 and more)")
        records = []
        for name in names():
            begun = time.perf_counter()
            say(f"sim {name}, profile {self.profile} …")
            records.append(run_experiment(name, self.profile, self.out / "records", self.backend))
            say(f"sim {name}: {time.perf_counter() - begun:.0f} s, {self.out / 'records' / name}.json")
        for _, _, files in draw_figures([], self.out / "records", self.out / "figures"):
            say(f"figure {files[0]}")
        claims = verdicts.claims_of(records)
        write_json(self.out / "verdicts.json", {"counts": verdicts.counts(claims), "claims": claims})
        code = report(claims, self.json)
        say(f"all of it took {time.perf_counter() - started:.0f} s; everything is in {self.out}/")
        return code
