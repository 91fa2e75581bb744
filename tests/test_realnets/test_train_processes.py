"""Training by two processes on the CPU, through Accelerate and gloo, against training by one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from realnets.train import train
from tests.helpers import assert_dtype_close
from tests.test_realnets import runs_elsewhere
from tests.test_realnets.runs_elsewhere import TO_SHARE, data, net
from theory.errors import InvalidInput

pytest.importorskip("accelerate")

EXACT = [name for name in TO_SHARE if name != "bf16"]


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> tuple[Path, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {**os.environ, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    started = [
        subprocess.Popen(
            [sys.executable, runs_elsewhere.__file__, "one_of_two", str(folder)],
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank), "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    try:
        errors = [process.communicate(timeout=300)[1].decode() for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], "\n".join(errors)
    return folder, [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", EXACT)
def test_two_processes_give_the_result_of_one_within_float32_rounding(two, name):
    model = net()
    rows = train(model, *data(), TO_SHARE[name])
    for found in two[1]:
        assert found["count"] == 2
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                assert_dtype_close(found[name]["state"][key], value, 0.1, 1.0)
            else:
                assert torch.equal(found[name]["state"][key], value)
        losses = torch.tensor([row["loss"] for row in found[name]["rows"]]), torch.tensor([row["loss"] for row in rows])
        assert_dtype_close(*losses, 0.1, 1.0)
    start = net().state_dict()
    moved = max((value - start[key]).abs().max().item() for key, value in model.state_dict().items() if "running" not in key)
    assert moved > 100 * 0.1 * torch.finfo(torch.float32).eps ** 0.5


def test_a_mean_of_the_processes_means_would_not_pass():
    """The planted error: what plain data parallelism computes, the ragged shares' means with equal weights."""
    x, y = data()
    twin = net()
    shares = torch.tensor_split(torch.arange(13), 2)
    losses = [torch.nn.functional.cross_entropy(twin(x[s]), y[s]) for s in shares]
    whole = torch.nn.functional.cross_entropy(twin(x), y)
    wrong, right = (torch.autograd.grad(loss, twin.classifier.weight)[0] for loss in ((losses[0] + losses[1]) / 2, whole))
    with pytest.raises(AssertionError):
        assert_dtype_close(wrong, right, 0.1, 1.0)


def test_both_processes_hold_the_same_bits_also_in_bf16(two):
    first, second = two[1]
    for name in TO_SHARE:
        assert first[name]["rows"] == second[name]["rows"]
        assert all(torch.equal(value, second[name]["state"][key]) for key, value in first[name]["state"].items())


def test_the_main_process_alone_calls_back_and_writes(two):
    folder, (first, second) = two
    assert first["ragged"]["steps"] == [0, 3, 6, 9]
    assert second["ragged"]["steps"] == []
    assert sorted(p.name for p in folder.iterdir()) == ["0.pt", "1.pt", "run.pt"]


def test_an_error_in_the_main_process_ends_both_and_the_run_goes_on_from_its_checkpoint_with_the_same_bits(two):
    first, second = (found["resumed"] for found in two[1])
    assert first["said"] == "ValueError: enough"
    assert second["said"] == "RuntimeError: the main process failed: enough"
    for found in (first, second):
        assert all(torch.equal(value, found["resumed"][key]) for key, value in found["whole"].items())


def test_both_processes_say_where_one_of_them_diverged(two):
    for found in two[1]:
        assert "an input is not finite" in found["inputs"]
        assert "layer 'bn2' is the first with an output that is not finite" in found["layer"]


def test_a_checkpoint_of_two_processes_is_not_one_processs(two):
    with pytest.raises(InvalidInput, match="number of processes is 2 there and 1 here"):
        train(net(dropout=0.5), *data(), TO_SHARE["adamw"], checkpoint=two[0] / "run.pt")


class _Other:
    """An Accelerator as far as its kind is asked for."""

    process_index, num_processes, device = 0, 1, torch.device("cpu")

    def __init__(self, kind: str, mixed_precision: str) -> None:
        self.distributed_type = type("Kind", (), {"value": kind})
        self.mixed_precision = mixed_precision


@pytest.mark.parametrize(
    ("kind", "precision", "words"),
    [("FSDP", "no", "of type FSDP; one of NO, MULTI_CPU, MULTI_GPU"), ("NO", "fp16", "mixed_precision='fp16'; 'no' is allowed")],
)
def test_an_accelerator_of_another_kind_is_refused(kind, precision, words):
    with pytest.raises(InvalidInput, match=words):
        train(net(), *data(), TO_SHARE["ragged"], accelerator=_Other(kind, precision))


def test_more_processes_than_samples_a_part_are_refused():
    other = _Other("MULTI_CPU", "no")
    other.num_processes = 3
    with pytest.raises(InvalidInput, match="4 samples in 2 parts a step are too few for 3 processes"):
        train(net(), *data(), TO_SHARE["accumulated"], accelerator=other)
