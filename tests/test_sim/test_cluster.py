"""Sweeps sent to a Dask scheduler: the same record, whoever is killed meanwhile, and a clear word where there is no cluster."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sim.execution import execution
from sim.experiments import run_experiment
from sim.records import Cache
from theory.errors import InvalidInput

pytest.importorskip("distributed", reason="distributed is not installed: clusters are not tested")

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict]:
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    server = subprocess.Popen(
        [sys.executable, str(HERE / "cluster_server.py"), "2"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None and server.stdin is not None
    yield json.loads(server.stdout.readline())
    server.stdin.close()
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    server.stdout.close()


def start(folder: Path, address: str, *arguments: str) -> subprocess.Popen[str]:
    program = "import sys, ptoq, sim.cluster; sim.cluster.PATIENCE = 2; sys.exit(ptoq.main())"
    command = [sys.executable, "-c", program, "sim", "run", *arguments, "--cluster", address, "--out", str(folder / "out")]
    environment = {**os.environ, "PTOQ_CACHE": str(folder / "cache")}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder)


def test_the_same_record_though_a_worker_is_killed(cluster, tmp_path):
    process = start(tmp_path, cluster["address"], "ladder", "--profile", "smoke")
    deadline = time.monotonic() + 60
    while not list(tmp_path.rglob("cache/v1/*.json")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.005)
    os.kill(cluster["workers"][0], signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode in (0, 1), err
    assert "Traceback" not in err
    there = json.loads((tmp_path / "out" / "records" / "ladder.json").read_text())
    here = json.loads(json.dumps(run_experiment("ladder", "smoke", tmp_path / "here", cache=Cache(tmp_path / "other"))))
    for key in ("claims", "results", "config", "seeds"):
        assert there[key] == here[key]
    assert there["provenance"]["workers"] >= 1
    assert there["provenance"]["parts"] == here["provenance"]["parts"]


PROGRAM = """
import json, os, sys
from sweep_items import Part, killing, squared
from sim.execution import execution
from sim.records import Cache
from sim.sweep import sweep

os.environ["SWEEPING"] = "0"
function = globals()[sys.argv[2]]
with execution(cluster=sys.argv[1]) as here:
    if sys.argv[3:]:
        import sim.sweep
        sim.sweep.code_hash = lambda name: "another"
    print(json.dumps(sweep(function, [Part(number=n, seconds=0.02) for n in range(12)], Cache(), "test")))
"""


def sweep_there(cluster: dict, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PTOQ_CACHE": str(folder / "cache"), "PYTHONPATH": str(HERE), "SWEEPING": "0"}
    command = [sys.executable, "-c", PROGRAM, cluster["address"], *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_results_come_in_order_from_other_processes(cluster, tmp_path):
    done = sweep_there(cluster, tmp_path, "squared")
    found = json.loads(done.stdout)
    assert [part["square"] for part in found] == [n**2 for n in range(12)]
    assert len(list(tmp_path.rglob("v1/*.json"))) == 12
    assert all(psutil.Process(part["pid"]).ppid() != os.getpid() for part in found)


def test_workers_with_other_source_are_refused(cluster, tmp_path):
    done = sweep_there(cluster, tmp_path, "squared", "other source")
    last = done.stderr.strip().splitlines()[-1]
    assert "InvalidInput: the worker tcp://" in last
    assert "only ptoq" in last
    assert not list(tmp_path.rglob("v1/*.json"))


def test_a_cluster_that_does_not_answer_is_exit_code_2_and_nothing_is_written(tmp_path):
    with socket.socket() as nobody:
        # Bound, but nobody listens.
        nobody.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{nobody.getsockname()[1]}"
        process = start(tmp_path, address, "ladder", "--profile", "smoke")
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert address in err
    assert "did not answer within 2 s" in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_what_is_no_scheduler_is_refused(cluster, monkeypatch):
    """Something that listens and says nothing, as the scheduler's web page does; a worker (the first one is killed above)."""
    worker = cluster["addresses"][1]
    with (
        pytest.raises(InvalidInput, match="there is a Worker of a cluster; the address of its Scheduler is allowed"),
        execution(cluster=worker),
    ):
        pass
    monkeypatch.setattr("sim.cluster.PATIENCE", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(InvalidInput, match=r"did not answer within 0\.5 s"), execution(cluster=address):
            pass


@pytest.mark.parametrize("address", ["nonsense://x y", "tls://127.0.0.1:8786"])
def test_an_address_that_cannot_be_used_is_exit_code_2(tmp_path, address):
    process = start(tmp_path, address, "ladder", "--profile", "smoke")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert repr(address) in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())
