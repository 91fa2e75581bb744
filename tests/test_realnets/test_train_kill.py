"""Runs that are really killed, by SIGKILL, in a process of their own."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.test_realnets import runs_elsewhere
from tests.test_realnets.runs_elsewhere import run_to_kill


def _killed(folder: Path, name: str, where: str) -> None:
    command = [sys.executable, runs_elsewhere.__file__, "killed", str(folder), name, where]
    died = subprocess.run(command, capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()


@pytest.mark.parametrize(("name", "where"), [("sgd", "step"), ("adamw", "step"), ("adamw", "write")])
def test_a_run_killed_within_an_epoch_ends_with_the_same_bits(tmp_path, name, where):
    _killed(tmp_path, name, where)
    assert torch.load(tmp_path / "run.pt", weights_only=True)["at"][:2] == [1, 1]
    rows, whole = run_to_kill(name, metrics=tmp_path / "whole.jsonl")
    seen = []
    again, resumed = run_to_kill(name, checkpoint=tmp_path / "run.pt", metrics=tmp_path / "run.jsonl", progress=seen.append)
    assert seen == [18, 4, 4, 5, 4, 4]
    assert again == rows
    assert (tmp_path / "run.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    expected = whole.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in resumed.state_dict().items())


def test_the_planted_error_of_a_lost_generator_state_would_be_seen(tmp_path):
    _killed(tmp_path, "sgd", "step")
    state = torch.load(tmp_path / "run.pt", weights_only=True)
    state["random"] = [{"cpu": torch.Generator().manual_seed(0).get_state()}]
    torch.save(state, tmp_path / "run.pt")
    assert run_to_kill("sgd", checkpoint=tmp_path / "run.pt")[0] != run_to_kill("sgd")[0]
