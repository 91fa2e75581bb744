"""Every comparison in one run: `python -m benchmarks`, or `make bench`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import cost, figure, harness, sizes, table
from benchmarks.comparisons import COMPARISONS, ON_A_GPU
from benchmarks.environments import PeerEnvironments
from benchmarks.machine import describe, gpu_name
from sim.records import write_json

SCHEMA = 1
PARTS = (*COMPARISONS, "sizes", "cost")


def main() -> int:
    """Run and write; 0: fine, 1: ptoq could not run or a contender computed other numbers, 2: bad arguments.

    A missed target and a peer that cannot be installed are results, not errors: the table says so.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, help="in place of each comparison's own number")
    parser.add_argument("--gpu", action="store_true", help="on a CUDA device: CuPy for ptoq, and the peers' GPU builds")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).with_name("results"), help="folder of bench.json, table.md and the figure"
    )
    parser.add_argument("--peers", type=Path, help="folder of the peers' environments; .venv-peers by default")
    options = parser.parse_args()
    if options.rounds is not None and options.rounds < 1:
        parser.error(f"--rounds is {options.rounds}; at least 1 is allowed")
    if options.gpu and gpu_name() is None:
        parser.error("--gpu was given and nvidia-smi finds no CUDA device")

    wanted = [part for part in options.only if not options.gpu or part in (*ON_A_GPU, "sizes")]
    results = Path(__file__).with_name("results")
    folder = options.out or (results / "gpu" if options.gpu else results)
    started = time.perf_counter()
    python_of = PeerEnvironments(_say, options.peers)
    report: dict[str, Any] = {"schema": SCHEMA, "machine": describe(), "on_a_gpu": options.gpu, "comparisons": [], "sizes": [], "cost": []}
    for name, comparison in COMPARISONS.items():
        if name in wanted:
            _say(name)
            report["comparisons"].append(harness.run(comparison(options.gpu), python_of, _say, rounds=options.rounds))
    if "cost" in wanted:
        _say("cost")
        report["cost"] = cost.measure(python_of, _say, rounds=options.rounds or cost.ROUNDS)
    if "sizes" in wanted:
        _say("sizes")
        report["sizes"] = sizes.measure(python_of, _say, options.gpu)
    report["seconds"] = time.perf_counter() - started

    write_json(folder / "bench.json", report)
    text = table.markdown(report)
    (folder / "table.md").write_text(text, encoding="utf-8")
    figure.draw(report, folder)
    sys.stdout.write(text)
    met, missed, unknown = table.targets(report)
    _say(f"{report['seconds'] / 60:.1f} minutes; targets: {met} met, {missed} missed, {unknown} not measured; in {folder}")
    return 1 if failed(report) else 0


def failed(report: dict[str, Any]) -> bool:
    """Whether ptoq did not run somewhere, or a contender's numbers differ."""
    groups = [comparison["contenders"] for comparison in report["comparisons"]]
    ours = [group[0] for group in groups] + report["sizes"] + report["cost"]
    return any(part["status"] != "ran" for part in ours) or any(c["status"] == "different" for group in groups for c in group)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
