"""What surrounds the steps of a run: data that are read as they are needed, probes, kept epochs, progress, divergence, a full disk."""

from __future__ import annotations

import errno
import math
import os
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from realnets.models import read_state
from realnets.train import Recipe, TrainingDiverged, epoch_file, evaluate, train
from theory.errors import InvalidInput

RECIPE = Recipe(epochs=3, batch_size=5, lr=0.1, weight_decay=0.01, optimiser="adamw")


class _Pairs(Dataset):
    def __init__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self.x, self.y, self.read = x, y, 0

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        self.read += 1
        return self.x[index], int(self.y[index])


def _same(one: nn.Module, other: nn.Module) -> bool:
    state = other.state_dict()
    return all(torch.equal(value, state[name]) for name, value in one.state_dict().items())


@pytest.mark.parametrize("workers", [0, 1])
def test_a_data_set_that_is_read_gives_the_bits_of_the_same_tensors_in_memory(tiny, small_images, workers):
    x, y = small_images
    held, read = tiny(dropout=0.5), tiny(dropout=0.5)
    rows = train(held, x, y, RECIPE, seed=2)
    assert train(read, _Pairs(x, y), None, RECIPE, seed=2, workers=workers) == rows
    assert _same(read, held)
    assert evaluate(read, _Pairs(x, y), chunk=5) == evaluate(held, x, y, chunk=5)


def test_a_data_set_is_recognised_in_a_checkpoint(tiny, small_images, tmp_path):
    x, y = small_images
    rows = train(tiny(), _Pairs(x, y), None, RECIPE, checkpoint=tmp_path / "run.pt")
    assert train(tiny(), _Pairs(x, y), None, RECIPE, checkpoint=tmp_path / "run.pt") == rows
    for other in (_Pairs(x, 1 - y), _Pairs(x.flip(0), y), _Pairs(x[:10], y[:10])):
        with pytest.raises(InvalidInput, match="another run's: the data differs; delete it"):
            train(tiny(), other, None, RECIPE, checkpoint=tmp_path / "run.pt")


def test_a_resumed_epoch_reads_no_sample_of_its_past(tiny, small_images, tmp_path):
    recipe = replace(RECIPE, epochs=1, batch_norm="frozen")
    with pytest.raises(_Stop):
        train(tiny(), _Pairs(*small_images), None, recipe, checkpoint=tmp_path / "run.pt", checkpoint_steps=1, callback=_stop_at(1))
    again = _Pairs(*small_images)
    train(tiny(), again, None, recipe, checkpoint=tmp_path / "run.pt")
    assert again.read == 6 + 12 + 1  # the second of two steps; the hash; the first sample, for the order of the layers


class _Stop(Exception):
    pass


def _stop_at(step):
    def callback(now, model):
        if now == step:
            raise _Stop

    return callback


class _Endless(IterableDataset):
    def __iter__(self):
        return iter([])

    def __len__(self):
        return 4


@pytest.mark.parametrize(
    ("inputs", "targets", "words"),
    [
        (_Endless(), None, "_Endless and targets a NoneType; two tensors, or a data set"),
        (torch.zeros(4, 3, 6, 6), None, "Tensor and targets a NoneType"),
        ([(torch.zeros(3, 6, 6).double(), 0)], None, "a data set of 1 samples was given; at least 2"),
        ([torch.zeros(3, 6, 6).double()] * 4, None, r"a sample of the data set is no \(input, target\) but a Tensor"),
        (
            [(torch.zeros(3, 6, 6).double(), 0)] * 3 + [(torch.zeros(3, 6, 6).double(), 2)],
            None,
            "classes run from 0 to 2; 0 to 1 are allowed",
        ),
        ([(torch.zeros(3, 6, 6).double(), 0.5)] * 4, None, "float64.*int64"),
    ],
)
def test_data_that_do_not_fit(tiny, inputs, targets, words):
    with pytest.raises(InvalidInput, match=words):
        train(tiny(), inputs, targets, RECIPE)


def test_batch_norm_without_statistics_is_refused_before_training(small_images):
    net = nn.Sequential(nn.Conv2d(3, 4, 6), nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten(), nn.Linear(4, 2)).double()
    before = net[0].weight.clone()
    with pytest.raises(InvalidInput, match="the batch-norm layer '1' keeps no statistics"):
        train(net, *small_images, RECIPE)
    assert torch.equal(net[0].weight, before)


def test_outputs_that_are_not_one_matrix_are_refused(tiny, small_images):
    net = tiny()
    net.register_forward_hook(lambda m, i, out: {"out": out})
    with pytest.raises(InvalidInput, match=r"the network's output is a dict; a tensor of shape \(n, c\) is allowed"):
        train(net, *small_images, RECIPE)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"every": 0}, "every is 0; a whole number ≥ 1"),
        ({"checkpoint_steps": 0}, "checkpoint_steps is 0; a whole number ≥ 1, or None, is allowed"),
        ({"checkpoint_seconds": 0.0}, "checkpoint_seconds is 0.0"),
        ({"workers": -1}, "workers is -1; a whole number ≥ 0"),
    ],
)
def test_bad_options(tiny, small_images, options, words):
    with pytest.raises(InvalidInput, match=words):
        train(tiny(), *small_images, RECIPE, **options)


def test_a_callback_may_do_anything_to_the_model_and_changes_no_bit(tiny, small_images):
    x, y = small_images
    plain, probed = tiny(dropout=0.5), tiny(dropout=0.5)
    steps = []

    def probe(step: int, model: nn.Module) -> None:
        assert not any(m.training for m in model.modules())
        steps.append(step)
        model.train()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        torch.rand(3)
        with torch.no_grad():
            for p in model.parameters():
                p.zero_().requires_grad_(False)

    rows = train(plain, x, y, RECIPE)
    assert train(probed, x, y, RECIPE, callback=probe, every=4) == rows
    assert steps == [0, 4, 6]
    assert _same(probed, plain)


def test_callbacks_see_the_start_each_step_and_the_end(tiny, small_images):
    net, seen = tiny(), {}
    start = net.conv.weight.clone()
    train(net, *small_images, RECIPE, callback=lambda step, model: seen.update({step: model.conv.weight.detach().clone()}))
    assert list(seen) == list(range(7))
    assert torch.equal(seen[0], start) and torch.equal(seen[6], net.conv.weight)
    assert all(not torch.equal(seen[k], seen[k + 1]) for k in range(6))


@pytest.mark.parametrize("policy", ["frozen", "re-estimated"])
def test_kept_epochs_are_the_networks_that_shorter_runs_end_with_and_change_nothing(tiny, small_images, tmp_path, policy):
    recipe = replace(RECIPE, batch_norm=policy, schedule="constant")
    plain, kept = tiny(dropout=0.5), tiny(dropout=0.5)
    train(plain, *small_images, recipe)
    train(kept, *small_images, recipe, keep_epochs=tmp_path / "epochs")
    assert _same(kept, plain)
    assert sorted(p.name for p in (tmp_path / "epochs").iterdir()) == [f"epoch-000{k}.pt" for k in range(4)]
    for epoch in range(4):
        short, read = tiny(dropout=0.5), tiny(seed=5)
        train(short, *small_images, replace(recipe, epochs=epoch))
        read.load_state_dict(read_state(epoch_file(tmp_path / "epochs", epoch)))
        assert _same(read, short)


def test_a_bar_has_the_runs_pictures_and_starts_where_it_resumes(tiny, small_images, tmp_path, monkeypatch):
    made = []

    class _Bar:
        def __init__(self, **options):
            self.options, self.counts = options, []
            made.append(self)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def update(self, pictures):
            self.counts.append(pictures)

    monkeypatch.setattr("realnets.train.loop.tqdm", _Bar)
    with pytest.raises(_Stop):
        train(tiny(), *small_images, RECIPE, checkpoint=tmp_path / "run.pt", checkpoint_steps=1, callback=_stop_at(3))
    train(tiny(), *small_images, RECIPE, checkpoint=tmp_path / "run.pt", progress="training")
    assert made[0].options["total"] == 36 and made[0].options["initial"] == 18 and made[0].options["desc"] == "training"
    # None is tqdm's own word for: only on a terminal.
    assert made[0].options["disable"] is None and not made[0].options["leave"]
    assert made[0].counts == [6, 6, 6]


def test_a_full_disk_is_an_error_that_names_the_file_and_loses_nothing(tiny, small_images, tmp_path, monkeypatch):
    whole, resumed = tiny(dropout=0.5), tiny(dropout=0.5)
    train(whole, *small_images, RECIPE)
    real, writes = os.fsync, [0]

    def full(handle: int) -> None:
        writes[0] += 1
        if writes[0] == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device.*run\.pt"):
        train(tiny(dropout=0.5), *small_images, RECIPE, checkpoint=tmp_path / "run.pt", checkpoint_steps=1)
    assert [p.name for p in tmp_path.iterdir()] == ["run.pt"]
    train(resumed, *small_images, RECIPE, checkpoint=tmp_path / "run.pt")
    assert _same(resumed, whole)


def _poison(where: str):
    """A network whose layer `where` yields NaN from its third call in training mode on."""

    def at(net: nn.Module) -> None:
        calls = [0]

        def hook(module: nn.Module, _, output: torch.Tensor) -> torch.Tensor:
            calls[0] += module.training
            return output * math.nan if calls[0] > 2 else output

        net.get_submodule(where).register_forward_hook(hook)

    return at


@pytest.mark.parametrize("layer", ["conv", "bn2", "classifier"])
def test_divergence_names_the_first_layer_whose_output_is_not_finite(tiny, small_images, tmp_path, layer):
    net = tiny()
    _poison(layer)(net)
    with pytest.raises(
        TrainingDiverged, match=rf"the loss is nan at step 2 \(epoch 1\): layer '{layer}' is the first with an output"
    ) as caught:
        train(net, *small_images, RECIPE, checkpoint=tmp_path / "run.pt", checkpoint_steps=1)
    assert (caught.value.step, caught.value.epoch, caught.value.layer) == (2, 1, layer)
    assert "holds the state after epoch 0" in str(caught.value)
    assert all(bool(torch.isfinite(p).all()) for p in net.parameters())


def test_divergence_says_when_the_inputs_are_not_finite(tiny, small_images):
    x = small_images[0].clone()
    x[7, 0, 0, 0] = math.inf
    with pytest.raises(TrainingDiverged, match=r"the loss is nan at step [01] \(epoch 0\): an input is not finite"):
        train(tiny(), x, small_images[1], replace(RECIPE, batch_norm="frozen"))


def test_divergence_says_when_a_target_is_not_finite_or_only_the_loss_is(tiny, small_images):
    recipe = replace(RECIPE, loss="squared", batch_norm="frozen")
    for value, words in ((math.nan, "a target is not finite"), (1e200, "every layer's output is finite, the loss of it is not")):
        targets = torch.zeros(12, 2, dtype=torch.float64)
        targets[3, 1] = value
        with pytest.raises(TrainingDiverged, match=words):
            train(tiny(), small_images[0], targets, recipe)


def test_divergence_names_the_layer_next_to_the_loss_whose_gradient_is_not_finite(tiny, small_images):
    net = tiny()
    net.depthwise.register_full_backward_hook(lambda m, gi, go: (gi[0] * math.nan,))
    before = net.conv.weight.clone()
    with pytest.raises(TrainingDiverged, match=r"a gradient is not finite at step 0 .*layer 'bn' is the first, going back") as caught:
        train(net, *small_images, RECIPE)
    assert caught.value.layer == "bn"
    assert torch.equal(net.conv.weight, before)


def test_a_run_that_blows_up_stops_with_words_and_a_checkpoint_within_the_epoch(tiny, small_images, tmp_path):
    recipe = Recipe(epochs=400, batch_size=5, lr=1e30, schedule="constant", batch_norm="frozen")
    with pytest.raises(TrainingDiverged, match=r"step \d+ .*try a smaller lr"):
        train(tiny(), *small_images, recipe, checkpoint=tmp_path / "run.pt", checkpoint_steps=1)
    kept = torch.load(tmp_path / "run.pt", weights_only=True)
    assert all(bool(torch.isfinite(v).all()) for v in kept["model"].values())


def test_probes_and_loaders_leave_the_callers_random_stream(tiny, small_images):
    before = torch.get_rng_state()
    train(tiny(dropout=0.5), _Pairs(*small_images), None, RECIPE, callback=lambda step, model: list(DataLoader(range(3))))
    assert torch.equal(torch.get_rng_state(), before)
