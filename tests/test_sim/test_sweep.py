"""Sweeps: the same results however they run, whole after a kill, and clear about what a worker did not survive."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from sim import processes
from sim.execution import current, execution, measured
from sim.records import Cache, write_json
from sim.sweep import sweep
from tests.test_sim.sweep_items import Part, failing, infinite, squared
from theory.errors import InvalidInput
from theory.threads import cores

HERE = Path(__file__).resolve().parent

PROGRAM = """
import json, os, sys
from pathlib import Path
from sweep_items import Part, failing, killing, squared, summed
from sim import processes
from sim.execution import execution, measured
from sim.records import Cache
from sim.sweep import sweep

os.environ["SWEEPING"] = str(os.getpid())
jobs, function, parts = int(sys.argv[1]), globals()[sys.argv[2]], [Part(**p) for p in json.loads(sys.argv[3])]
# Started at once, where a test is about workers.
processes.WORTHWHILE = float(sys.argv[4])
with execution(jobs=jobs), measured() as taken:
    found = sweep(function, parts, Cache(), "test")
print(json.dumps({"found": found, "own": os.getpid(), "workers": len(taken.workers), "computed": taken.computed, "cached": taken.cached,
                  "peak": taken.peak_memory(), "own_memory": taken.own_memory}))
"""


def start(folder: Path, jobs: int, function: str, parts: list[Part], worthwhile: float = 0.0) -> subprocess.Popen[str]:
    environment = {**os.environ, "PTOQ_CACHE": str(folder), "PYTHONPATH": str(HERE)}
    command = [sys.executable, "-c", PROGRAM, str(jobs), function, json.dumps([vars(p) for p in parts]), str(worthwhile)]
    # A group of its own, so that a signal to the group is what Ctrl-C in a terminal sends.
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder.parent, start_new_session=True
    )


def finish(process: subprocess.Popen[str]) -> dict:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return json.loads(out)


def stored(folder: Path) -> int:
    return len(list(folder.rglob("*.json")))


def wait_until(true, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


def values(result: list[dict], *names: str) -> list:
    return [[part[name] for name in names] for part in result]


def test_a_small_sweep_starts_no_process(tmp_path):
    parts = [Part(number=n) for n in range(6)]
    with execution(jobs=2), measured() as taken:
        found = sweep(squared, parts, Cache(tmp_path), "test")
    assert values(found, "square", "pid") == [[n**2, os.getpid()] for n in range(6)]
    assert taken.workers == {}
    assert (taken.computed, taken.cached) == (6, 0)
    with measured() as taken:
        assert sweep(squared, parts, Cache(tmp_path), "test") == found
    assert (taken.computed, taken.cached) == (0, 6)


def test_equal_items_are_computed_once_and_results_are_those_of_the_cache(tmp_path):
    cache = Cache(tmp_path)
    with measured() as taken:
        found = sweep(squared, [Part(number=2), Part(number=3), Part(number=2)], cache, "test")
    assert values(found, "square") == [[4], [9], [4]]
    assert taken.computed == 2
    assert stored(tmp_path) == 2
    with pytest.raises(ValueError, match="Out of range"):
        sweep(infinite, [Part(number=2)], cache, "test")


def test_results_are_bitwise_those_of_this_process_and_workers_take_one_thread(tmp_path):
    parts = [Part(number=n) for n in range(4)]
    apart = finish(start(tmp_path / "a", 3, "summed", parts))
    here = finish(start(tmp_path / "b", 3, "summed", parts, worthwhile=1e9))
    assert values(apart["found"], "values") == values(here["found"], "values")
    assert here["workers"] == 0
    assert apart["workers"] > 0
    # The first part shows whether workers are worth it; it has all the threads.
    most = min(3, cores())
    assert values(apart["found"], "threads") == [[most], [1], [1], [1]]
    assert values(here["found"], "threads") == [[most]] * 4
    assert apart["own_memory"] + apart["workers"] * 20e6 < apart["peak"] < apart["own_memory"] + apart["workers"] * 1e9
    assert here["peak"] == here["own_memory"]


def test_parts_are_kept_as_they_come_and_a_killed_sweep_goes_on(tmp_path):
    """SIGKILL of the process that sweeps: at most what is under way is lost, no worker outlives it, and no file is half written."""
    cache = tmp_path / "cache"
    parts = [Part(number=n, seconds=0.2) for n in range(14)]
    process = start(cache, 2, "squared", parts)
    wait_until(lambda: stored(cache) >= 4)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    left = stored(cache)
    assert 4 <= left < 14
    assert len(workers) >= 2
    wait_until(lambda: not any(w.is_running() and w.status() != psutil.STATUS_ZOMBIE for w in workers), 10)
    assert stored(cache) == left
    again = finish(start(cache, 2, "squared", parts))
    assert again["cached"] == left
    assert again["computed"] == 14 - left
    assert values(again["found"], "square") == [[n**2] for n in range(14)]


def test_a_killed_worker_is_made_up_for(tmp_path):
    deadly = tmp_path / "deadly"
    deadly.touch()
    parts = [Part(number=n, seconds=0.05, deadly=str(deadly) if n == 5 else "") for n in range(12)]
    found = finish(start(tmp_path / "cache", 2, "squared", parts))
    assert not deadly.exists()
    assert values(found["found"], "square") == [[n**2] for n in range(12)]
    assert found["computed"] == stored(tmp_path / "cache") == 12


def test_a_part_that_no_worker_survives_is_named_and_the_others_are_kept(tmp_path):
    process = start(tmp_path / "cache", 2, "killing", [Part(number=n, seconds=0.05) for n in range(8)])
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    last = err.strip().splitlines()[-1]
    assert last.startswith("ChildProcessError: the process that computed killing of Part(number=5")
    assert "memory" in last
    assert stored(tmp_path / "cache") >= 4


def test_an_error_in_a_worker_is_that_error_here(tmp_path):
    process = start(tmp_path / "cache", 2, "failing", [Part(number=n, seconds=0.05) for n in range(8)])
    _, err = process.communicate(timeout=120)
    assert "ArithmeticError: five" in err.strip().splitlines()[-1]
    with pytest.raises(ArithmeticError, match="five"):
        sweep(failing, [Part(number=5)], Cache(tmp_path / "other"), "test")


@pytest.mark.parametrize(("after", "send"), [(0, signal.SIGINT), (5, signal.SIGINT), (5, signal.SIGTERM)])
def test_interrupts_end_workers_at_once_and_leave_the_cache_sound(tmp_path, after, send):
    """Ctrl-C goes to the whole group, as in a terminal; while workers start, and in the midst of their work."""
    cache = tmp_path / "cache"
    parts = [Part(number=n, seconds=0.1 if n < 6 else 60) for n in range(9)]
    process = start(cache, 2, "squared", parts)
    wait_until(lambda: stored(cache) > after)
    workers = psutil.Process(process.pid).children(recursive=True)
    sent = time.monotonic()
    (os.killpg if send == signal.SIGINT else os.kill)(process.pid, send)
    _, err = process.communicate(timeout=30)
    assert time.monotonic() - sent < 30
    assert process.returncode == -send
    # The one traceback is that of the program above, which does not catch it: none of a worker.
    assert err.count("Traceback (most recent call last)") <= 1
    wait_until(lambda: not any(w.is_running() and w.status() != psutil.STATUS_ZOMBIE for w in workers), 10)
    for file in cache.rglob("*.json"):
        assert set(json.loads(file.read_text())) == {"key", "checksum", "result"}


@pytest.mark.parametrize("jobs", [0, -2, 1.5, True, "2"])
def test_other_numbers_of_jobs_are_refused(jobs):
    with pytest.raises(InvalidInput, match=r"jobs is .*; a whole number of at least 1"), execution(jobs=jobs):
        pass


def test_more_jobs_than_the_machine_bears_are_refused():
    with pytest.raises(InvalidInput, match=rf"jobs is 100000; at most {4 * cores()} is allowed here"), execution(jobs=100_000):
        pass


def test_no_more_workers_are_started_than_parts_are_left(tmp_path):
    cache = tmp_path / "cache"
    process = start(cache, 4, "squared", [Part(number=n, seconds=0 if n == 0 else 60) for n in range(3)])
    here = psutil.Process(process.pid)

    def workers() -> int:
        return sum("loky.process_executor" in " ".join(p.cmdline()) or "popen_loky" in " ".join(p.cmdline()) for p in here.children())

    wait_until(lambda: workers() >= 2)
    time.sleep(1)
    count = workers()
    process.terminate()
    process.communicate(timeout=30)
    assert count == 2


def test_executions_nest_and_end():
    outside = current()
    with execution(jobs=3):
        with execution(jobs=1):
            assert current().jobs == 1
        assert current().jobs == 3
    assert current() == outside
    with pytest.raises(InvalidInput, match="one of the two is allowed"), execution(jobs=2, cluster="tcp://127.0.0.1:1"):
        pass


def test_heavy_parts_are_not_left_for_last(monkeypatch):
    """And workers are started only where they save more than they cost."""
    from collections import deque

    from sim.work import Task

    def left(*weights: float) -> deque[Task]:
        return deque(Task(i, squared, Part(number=i), w, "", "numpy") for i, w in enumerate(weights))

    monkeypatch.setattr(processes, "_warm_until", 0.0)
    worthwhile = processes._worthwhile
    assert not worthwhile(left(100, 100), 2, 0.0, float("inf"))  # nothing is known yet
    assert worthwhile(left(100, 100), 2, 1.0, 1.0)
    assert not worthwhile(left(100), 2, 1.0, 1.0)
    assert not worthwhile(left(100, 100), 1, 1.0, 1.0)
    assert not worthwhile(left(1, 1), 2, 1.0, 1.0)
    seen: list[float] = []
    monkeypatch.setattr(processes, "_on_workers", lambda tasks, jobs, tick: iter(seen.extend(t.weight for t in tasks) or ()))
    monkeypatch.setattr(processes, "_worthwhile", lambda *_: True)
    list(processes.run(list(left(1, 3, 2)), 2, lambda: None))
    assert seen == [3, 2, 1]


def test_a_full_disk_is_an_error_that_names_the_file_and_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    write_json(path, {"old": 1})

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("theory.files.os.fsync", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_json(path, {"new": 2})
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(path)
    assert json.loads(path.read_text()) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]
    with pytest.raises(OSError, match="No space left on device"):
        sweep(squared, [Part(number=1)], Cache(tmp_path / "cache"), "test")
    assert not list((tmp_path / "cache").rglob("*.*"))
