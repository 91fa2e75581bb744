"""Contenders in processes of their own, measured in interleaved rounds.

One contender works while the others sleep. A round measures each of them once, and ratios are taken round by round, so that a busy
machine slows both sides of a ratio. A contender that cannot run is reported with its reason; one whose numbers differ from the
first contender's is reported as different and never timed.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
CONTENDERS = Path(__file__).resolve().parent / "contenders"

# Seconds that idle worker threads of a contender just measured may go on spinning; nobody is measured meanwhile.
PAUSE = 0.05


class NotRun(Exception):
    """A contender cannot take part; the message says why."""


class Different(Exception):
    """A contender computes other numbers; the message says which."""


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """One contender in one comparison.

    Attributes
    ----------
    name : str
        As the table calls it.
    script : str
        File in `benchmarks/contenders`, or a path.
    task : str, optional
        Of its own, where it does other work that ptoq is held against; its numbers are not compared.
    environment : str
        "main", or the name of a peer's virtual environment.
    setting : mapping
        Added to the comparison's setting: the variant.
    target : float, optional
        So many times slower than the first contender it is to be at least.
    group : str, optional
        Of contenders that are forms of one: the target holds for the fastest of them.
    most_rounds : int, optional
        For work too slow to repeat in every round.
    compared : bool
        Whether its numbers must be ptoq's; otherwise the comparison's `finish` says how far off they are.
    """

    name: str
    script: str
    task: str | None = None
    environment: str = "main"
    setting: Mapping[str, Any] = field(default_factory=dict)
    target: float | None = None
    group: str | None = None
    most_rounds: int | None = None
    compared: bool = True


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Contenders that do the same work; the first one is ptoq.

    Attributes
    ----------
    name, title, note, task : str
    setting : mapping, JSON-ready
    data : callable
        Arrays that every contender starts from.
    entrants : tuple of Entrant
    tolerance : mapping
        Largest allowed `max |a − b| / max |b|` by array. A contender must give one of these arrays at least.
    rounds : int
    finish : callable, optional
        Takes the data, the checked arrays and the measured seconds by contender; returns what else the report says.
    """

    name: str
    title: str
    note: str = ""
    task: str
    setting: Mapping[str, Any]
    data: Callable[[], dict[str, np.ndarray]]
    entrants: tuple[Entrant, ...]
    tolerance: Mapping[str, float] = field(default_factory=dict)
    rounds: int = 15
    finish: Callable[[dict[str, np.ndarray], dict[str, dict[str, np.ndarray]], dict[str, list[float]]], dict[str, Any]] | None = None


class Contender:
    """A running contender."""

    def __init__(self, python: Path, script: str | Path, folder: Path, timeout: float = 900) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._timeout = timeout
        environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(CONTENDERS)])
        environment["PYTHONWARNINGS"] = "ignore"
        self._process = subprocess.Popen(
            [str(python), str(CONTENDERS / script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=folder,
            env=environment,
            text=True,
            encoding="utf-8",
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def ask(self, **request: Any) -> dict[str, Any]:
        """The contender's answer; `NotRun` if it fails, dies or takes too long."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._lines.get(timeout=self._timeout)
        except queue.Empty:
            self._process.kill()
            raise NotRun(f"no answer within {self._timeout:g} s") from None
        except OSError:
            line = ""
        if not line:
            raise NotRun(f"its process ended ({self._last_words()})")
        answer: dict[str, Any] = json.loads(line)
        if not answer["ok"]:
            raise NotRun(answer["error"])
        return answer

    def _last_words(self) -> str:
        self._process.wait(timeout=10)
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return f"exit code {self._process.returncode}" + (f": {lines[-1][:300]}" if lines else "")

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join()
        self._process.stdout.close()
        self._log.close()


Environments = Callable[[str], Path]


def run(comparison: Comparison, python_of: Environments, say: Callable[[str], object], *, rounds: int | None = None) -> dict[str, Any]:
    """Measure `comparison`; the JSON-ready report.

    Parameters
    ----------
    python_of : callable
        The interpreter of an environment's name; raises `NotRun` where there is none.
    say : callable
        Takes progress lines.
    rounds : int, optional
        In place of the comparison's own number.
    """
    rounds = rounds or comparison.rounds
    reports: dict[str, dict[str, Any]] = {}
    seconds: dict[str, list[float]] = {}
    outputs: dict[str, dict[str, np.ndarray]] = {}
    contenders: dict[str, Contender] = {}
    first = comparison.entrants[0].name
    data = comparison.data()
    with tempfile.TemporaryDirectory(prefix="ptoq-bench-") as name:
        folder = Path(name)
        np.savez(folder / "inputs.npz", **data)
        try:
            for entrant in comparison.entrants:
                report = reports[entrant.name] = {"name": entrant.name, "target": entrant.target, "setting": dict(entrant.setting)}
                try:
                    contender = Contender(python_of(entrant.environment), entrant.script, folder)
                    contenders[entrant.name] = contender
                    setting = {**comparison.setting, **entrant.setting}
                    task = entrant.task or comparison.task
                    answer = contender.ask(do="prepare", task=task, setting=setting, data=str(folder / "inputs.npz"))
                    report |= {"versions": answer["versions"], "notes": answer["notes"]}
                    contender.ask(do="check", out=str(folder / "outputs.npz"))
                    with np.load(folder / "outputs.npz") as checked:
                        outputs[entrant.name] = dict(checked)
                    if entrant.name != first and first in outputs and entrant.task is None and entrant.compared:
                        report["differs_by"] = compare(outputs[entrant.name], outputs[first], comparison.tolerance)
                    report["status"], seconds[entrant.name] = "ran", []
                except (NotRun, Different) as error:
                    _drop(report, error, contenders, entrant.name)
                say(f"  {entrant.name}: {report.get('reason', 'ready')}")
            for number in range(rounds):
                for entrant in comparison.entrants:
                    if entrant.name not in contenders or (entrant.most_rounds is not None and number >= entrant.most_rounds):
                        continue
                    time.sleep(PAUSE)
                    try:
                        answer = contenders[entrant.name].ask(do="measure")
                    except NotRun as error:
                        _drop(reports[entrant.name], error, contenders, entrant.name)
                        seconds.pop(entrant.name)
                        continue
                    seconds[entrant.name].append(answer["seconds"])
                    reports[entrant.name] |= {"notes": answer["notes"], "peak_bytes": answer["peak_bytes"]}
        finally:
            for contender in contenders.values():
                contender.close()
    for key, values in seconds.items():
        reports[key] |= {"seconds": summary(values), "rounds": values}
        if key != first and first in seconds:
            reports[key]["times_slower"] = summary(ratios(values, seconds[first]))
    _keep_best_target(comparison.entrants, reports)
    more = comparison.finish(data, outputs, seconds) if comparison.finish is not None and first in seconds else {}
    return {
        "name": comparison.name,
        "title": comparison.title,
        "note": comparison.note,
        "setting": {**comparison.setting, "rounds": rounds},
        "contenders": list(reports.values()),
        **more,
    }


def _keep_best_target(entrants: tuple[Entrant, ...], reports: dict[str, dict[str, Any]]) -> None:
    groups: dict[str, list[dict[str, Any]]] = {}
    for entrant in entrants:
        if entrant.group is not None:
            groups.setdefault(entrant.group, []).append(reports[entrant.name])
    for group in groups.values():
        best = min(group, key=lambda report: report["seconds"]["median"] if "seconds" in report else float("inf"))
        for report in group:
            report["target"] = report["target"] if report is best else None


def _drop(report: dict[str, Any], error: Exception, contenders: dict[str, Contender], name: str) -> None:
    report |= {"status": "different" if isinstance(error, Different) else "not run", "reason": str(error)}
    contender = contenders.pop(name, None)
    if contender is not None:
        contender.close()


def compare(given: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray], tolerance: Mapping[str, float]) -> float:
    """The largest relative difference among the arrays named in `tolerance`; `Different` beyond it, or if `given` has none of them."""
    shared = [key for key in tolerance if key in given]
    if not shared:
        raise Different(f"it gave none of {', '.join(tolerance)}")
    worst = 0.0
    for key in shared:
        if given[key].shape != reference[key].shape:
            raise Different(f"{key} has shape {given[key].shape} in place of {reference[key].shape}")
        gap = float(np.max(np.abs(given[key] - reference[key])) / np.max(np.abs(reference[key])))
        if not gap <= tolerance[key]:
            raise Different(f"{key} differs by {gap:.1e} of its largest entry; {tolerance[key]:.1e} is allowed")
        worst = max(worst, gap)
    return worst


def ratios(values: list[float], reference: list[float]) -> list[float]:
    """Round by round, over the rounds that both took part in."""
    return [value / other for value, other in zip(values, reference, strict=False)]


def summary(values: list[float]) -> dict[str, float]:
    """Median, quartiles and range."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    return {"median": median, "quartile_1": low, "quartile_3": high, "min": min(values), "max": max(values), "n": len(values)}
