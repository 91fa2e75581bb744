from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from realnets import train as training
from realnets.train import Recipe, TrainingDiverged, evaluate, train
from tests.helpers import assert_exact
from theory.errors import InvalidInput

RECIPE = Recipe(epochs=4, batch_size=5, lr=0.1, weight_decay=0.01)


class _Killed(BaseException):
    pass


def _kill_after(pictures: int):
    left = [pictures]

    def progress(count: int) -> None:
        left[0] -= count
        if left[0] < 0:
            raise _Killed

    return progress


@pytest.mark.parametrize("pictures", [3, 14, 30, 40])
def test_a_killed_run_ends_with_the_same_bits(tiny, small_images, tmp_path, pictures):
    x, y = small_images
    whole, killed, resumed = (tiny(dropout=0.5) for _ in range(3))
    rows = train(whole, x, y, RECIPE, seed=3, metrics=tmp_path / "whole.jsonl")
    where = {"checkpoint": tmp_path / "run.pt", "metrics": tmp_path / "run.jsonl"}
    with pytest.raises(_Killed):
        train(killed, x, y, RECIPE, seed=3, progress=_kill_after(pictures), **where)
    again = train(resumed, x, y, RECIPE, seed=3, **where)
    assert again == rows
    assert (tmp_path / "run.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    expected = whole.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.state_dict().items())


def test_a_finished_run_is_only_read_back(tiny, small_images, tmp_path):
    x, y = small_images
    rows = train(tiny(), x, y, RECIPE, checkpoint=tmp_path / "run.pt")
    net = tiny(seed=9)
    assert train(net, x, y, RECIPE, checkpoint=tmp_path / "run.pt", progress=_kill_after(len(x) * RECIPE.epochs)) == rows


def test_metrics_are_json_lines_and_the_loss_falls(tiny, small_images, tmp_path):
    x, y = small_images
    rows = train(tiny(), x, y, Recipe(epochs=30, batch_size=12, lr=0.2), metrics=tmp_path / "m.jsonl")
    read = [json.loads(line) for line in (tmp_path / "m.jsonl").read_text().splitlines()]
    assert read == rows
    assert [row["epoch"] for row in read] == list(range(30))
    assert read[-1]["loss"] < read[0]["loss"]
    assert read[0]["lr"] > read[-1]["lr"] > 0


def test_seeds_and_the_callers_random_stream(tiny, small_images):
    x, y = small_images
    nets = [tiny(dropout=0.5) for _ in range(3)]
    before = torch.get_rng_state()
    for net, seed in zip(nets, (1, 1, 2), strict=True):
        train(net, x, y, RECIPE, seed)
    assert torch.equal(torch.get_rng_state(), before)
    first, again, other = (n.conv.weight for n in nets)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_plain_steps_are_gradient_descent(tiny, small_images):
    x, y = small_images
    net, twin = tiny(), tiny()
    train(net, x, y, Recipe(epochs=1, batch_size=12, lr=0.1, momentum=0.0, batch_norm="frozen"))
    loss = torch.nn.functional.cross_entropy(twin(x), y)
    gradients = torch.autograd.grad(loss, list(twin.parameters()))
    for after, before, gradient in zip(net.parameters(), twin.parameters(), gradients, strict=True):
        assert_exact(after.detach(), (before - 0.1 * gradient).detach(), ulps=64, scale=1.0)


def test_a_loss_that_becomes_nan_names_the_step_and_keeps_the_last_good_checkpoint(tiny, small_images, tmp_path, monkeypatch):
    x, y = small_images
    calls = [0]

    def poisoned(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        calls[0] += 1
        return torch.nn.functional.cross_entropy(outputs, targets) * (math.nan if calls[0] == 6 else 1)

    good = tiny()
    train(good, x, y, RECIPE, checkpoint=tmp_path / "all.pt")
    monkeypatch.setitem(training.LOSSES, "cross-entropy", poisoned)
    with pytest.raises(
        TrainingDiverged, match=r"the loss is nan at step 5 \(epoch 2\).*run\.pt' holds the state after epoch 1; try a smaller lr"
    ):
        train(tiny(), x, y, RECIPE, checkpoint=tmp_path / "run.pt")
    kept = torch.load(tmp_path / "run.pt", weights_only=True)
    assert len(kept["rows"]) == 2
    assert all(bool(torch.isfinite(v).all()) for v in kept["model"].values())
    # With the loss as it should be, the run goes on from there to where it would have ended.
    monkeypatch.setitem(training.LOSSES, "cross-entropy", torch.nn.functional.cross_entropy)
    resumed = tiny()
    train(resumed, x, y, RECIPE, checkpoint=tmp_path / "run.pt")
    assert torch.equal(resumed.conv.weight, good.conv.weight)


def test_a_step_that_destroys_the_weights_never_reaches_the_checkpoint(tiny, small_images, tmp_path):
    x, y = small_images
    with pytest.raises(TrainingDiverged, match=r"not finite after step 0 \(epoch 0\).*no checkpoint yet"):
        train(tiny(), x, y, Recipe(epochs=2, batch_size=12, lr=1.7e308, momentum=0.0, weight_decay=1e3), checkpoint=tmp_path / "run.pt")
    assert not (tmp_path / "run.pt").exists()


def test_another_runs_checkpoint_is_refused_and_the_message_says_what_differs(tiny, small_images, tmp_path):
    x, y = small_images
    train(tiny(), x, y, RECIPE, checkpoint=tmp_path / "run.pt")
    for change, difference in (
        ({"seed": 1}, "seed is 0 there and 1 here"),
        ({"inputs": x + 1}, "the data differs"),
        (
            {"recipe": replace(RECIPE, epochs=5, optimiser="adamw")},
            "epochs is 4 there and 5 here, optimiser is 'sgd' there and 'adamw' here",
        ),
        ({"model": tiny(outputs=3)}, "the network differs"),
    ):
        arguments = {"model": tiny(), "inputs": x, "targets": y, "recipe": RECIPE, "seed": 0, **change}
        with pytest.raises(InvalidInput, match=rf"run\.pt' is another run's: {difference}; delete it or name another"):
            train(**arguments, checkpoint=tmp_path / "run.pt")


def test_a_damaged_checkpoint_is_refused_by_name(tiny, small_images, tmp_path):
    x, y = small_images
    train(tiny(), x, y, RECIPE, checkpoint=tmp_path / "run.pt")
    content = (tmp_path / "run.pt").read_bytes()
    (tmp_path / "run.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(InvalidInput, match=r"run\.pt' is damaged.*delete it to begin again"):
        train(tiny(), x, y, RECIPE, checkpoint=tmp_path / "run.pt")


@pytest.mark.parametrize("content", [{"model": {}}, [1, 2], {"format": 1, "run": {}}, {"format": 2}])
def test_a_file_that_is_no_checkpoint_of_a_run_is_refused(tiny, small_images, tmp_path, content):
    torch.save(content, tmp_path / "run.pt")
    with pytest.raises(InvalidInput, match=r"run\.pt' holds no training run that this version can go on with"):
        train(tiny(), *small_images, RECIPE, checkpoint=tmp_path / "run.pt")


def test_a_checkpoint_that_lacks_a_weight_is_refused(tiny, small_images, tmp_path):
    train(tiny(), *small_images, RECIPE, checkpoint=tmp_path / "run.pt")
    state = torch.load(tmp_path / "run.pt", weights_only=True)
    del state["model"]["conv.weight"]
    torch.save(state, tmp_path / "run.pt")
    with pytest.raises(InvalidInput, match=r"run\.pt' is damaged: .*conv\.weight"):
        train(tiny(), *small_images, RECIPE, checkpoint=tmp_path / "run.pt")


def test_a_checkpoint_is_written_within_an_epoch_after_so_many_seconds(tiny, small_images, tmp_path):
    at = []
    for seconds in (1e-9, 1e9, None):
        path = tmp_path / f"{seconds}.pt"

        def look(step, model, path=path):
            at.append(torch.load(path, weights_only=True)["at"][:2] if path.exists() else None)

        train(tiny(), *small_images, replace(RECIPE, epochs=2), checkpoint=path, checkpoint_seconds=seconds, callback=look)
    ends = [None, None, [1, 0], [1, 0], [2, 0]]
    assert at == [None, [0, 1], [1, 0], [1, 1], [2, 0], *ends, *ends]


@pytest.mark.parametrize(
    ("targets", "loss", "words"),
    [
        (torch.arange(12) % 3, "cross-entropy", "classes run from 0 to 2; 0 to 1 are allowed, the network has 2 outputs"),
        (torch.arange(12) - 1, "cross-entropy", "classes run from -1 to 10"),
        (torch.zeros(12), "cross-entropy", "torch.float32.*int64"),
        (torch.zeros(11, dtype=torch.int64), "cross-entropy", "12 inputs and 11 targets"),
        (torch.zeros(12, 3, dtype=torch.float64), "squared", r"\(12, 3\); real ones of shape \(n, 2\)"),
    ],
)
def test_targets_that_do_not_fit(tiny, small_images, targets, loss, words):
    with pytest.raises(InvalidInput, match=words):
        train(tiny(), small_images[0], targets, Recipe(loss=loss))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epochs": -1}, "epochs is -1; a whole number ≥ 0"),
        ({"batch_size": 2.5}, "batch_size is 2.5; a whole number ≥ 2"),
        ({"lr": math.nan}, "lr is nan"),
        ({"momentum": 1.0}, r"momentum is 1.0; in \[0, 1\)"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1"),
        ({"loss": "hinge"}, "'cross-entropy', 'squared'"),
        ({"batch_norm": "live"}, "'frozen', 're-estimated'"),
        ({"optimiser": "adam"}, "'sgd', 'adamw'"),
        ({"beta2": 1.0}, r"beta2 is 1.0; in \[0, 1\)"),
        ({"schedule": "linear"}, "'constant', 'cosine', 'step'"),
        ({"schedule": "step", "drops": (0.5, 1.0)}, r"drops is \(0.5, 1.0\); a tuple of shares in \(0, 1\)"),
        ({"drop": 0.0}, r"drop is 0.0; in \(0, 1\)"),
        ({"warmup_steps": -1}, "warmup_steps is -1"),
        ({"accumulation": 0}, "accumulation is 0; a whole number ≥ 1"),
        ({"precision": "fp8"}, "'full', 'bf16', 'fp16'"),
        ({"trained": -1}, "trained is -1; 'all', 'head', a layer's name or a whole number ≥ 0"),
        ({"trained": True}, "trained is True"),
    ],
)
def test_bad_recipes(change, words):
    with pytest.raises(InvalidInput, match=words):
        Recipe(**change)


def test_evaluate_in_ragged_chunks(tiny, small_images):
    x, y = small_images
    net = tiny()
    result = evaluate(net, x, y, chunk=5)
    outputs = net(x)
    assert result["accuracy"] == (outputs.argmax(1) == y).double().mean().item()
    assert_exact(np.float64(result["loss"]), torch.nn.functional.cross_entropy(outputs, y).item(), ulps=64, scale=1.0)
