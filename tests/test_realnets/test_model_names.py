"""Networks by name: this project's own, torchvision's and timm's; classifiers, features and checkpoints of others."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torch import nn

from realnets import models
from realnets.models import classifier, libraries
from tests.helpers import assert_dtype_close
from theory.errors import InvalidInput

SMALL = ("small-cnn", "resnet20", "shufflenet_v2_x0_5", "torchvision/mobilenet_v3_small", "timm/test_convnext", "timm/test_resnet")


@pytest.fixture(scope="module")
def shufflenet(tmp_path_factory) -> tuple[Path, dict[str, torch.Tensor]]:
    """A checkpoint of a network with seven classes, and its state."""
    state = models.load("shufflenet_v2_x0_5", 7, start="random", seed=11).state_dict()
    path = tmp_path_factory.mktemp("weights") / "shufflenet.pt"
    torch.save(state, path)
    return path, state


def _pictures(n: int = 3, size: int = 64) -> torch.Tensor:
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(n))


@pytest.mark.parametrize("name", SMALL)
def test_outputs_are_the_classifiers_of_the_features(name):
    net = models.load(name, 5, start="random", seed=2)
    x = _pictures()
    _, head = models.head_of(net)
    with torch.no_grad():
        assert net(x).shape == (3, 5)
        assert torch.equal(net(x), head(models.features(net, x)))
    assert not net.training


def test_the_own_networks_say_their_features_themselves():
    x = _pictures(size=32)
    for name in ("small-cnn", "resnet20", "efficientnet-lite0"):
        net = models.load(name, 2, start="random")
        with torch.no_grad():
            assert torch.equal(net.features(x), models.features(net, x))


@pytest.mark.parametrize("name", SMALL)
def test_a_seed_fixes_a_network_and_the_global_stream_is_left_alone(name):
    before = torch.get_rng_state()
    first, again, other = (models.load(name, 4, start="random", seed=s).state_dict() for s in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[k], again[k]) for k in first)
    # Both the classifier and what lies below it.
    head = models.head_of(models.load(name, 4, start="random"))[0]
    weights = [k for k in first if k.endswith("weight") and first[k].ndim > 1]
    assert not torch.equal(first[f"{head}.weight"], other[f"{head}.weight"])
    assert not torch.equal(first[weights[0]], other[weights[0]])


def test_weights_of_the_small_networks_are_as_many_as_their_papers_say():
    assert sum(p.numel() for p in models.ResNet20(10).parameters()) == 269_722  # He et al., table 6: 0.27 million
    assert sum(p.numel() for n, p in models.SmallCNN().named_parameters() if not n.startswith("classifier")) == 60_688


@pytest.mark.parametrize("size", [8, 32, 60])
@pytest.mark.parametrize("name", ["small-cnn", "resnet20"])
def test_the_small_networks_take_pictures_of_any_size(name, size):
    assert models.load(name, 3, start="random")(_pictures(2, size)).shape == (2, 3)


def test_the_residual_shortcut_keeps_every_second_pixel_between_new_channels_of_zeros():
    block = models.small.BasicBlock(4, 8, 2)
    nn.init.zeros_(block.conv2.weight)  # the residual branch is then what batch norm makes of zeros: zeros
    x = _pictures(2, 6).abs().repeat(1, 2, 1, 1)[:, :4]
    y = block.eval()(x)
    assert torch.equal(y[:, 2:6], x[:, :, ::2, ::2])
    assert not y[:, :2].any() and not y[:, 6:].any()


def test_a_fresh_classifier_is_the_same_for_both_starts(shufflenet):
    path, state = shufflenet
    pretrained = models.load("shufflenet_v2_x0_5", 4, weights=path, seed=3)
    random = models.load("shufflenet_v2_x0_5", 4, start="random", seed=3)
    assert torch.equal(pretrained.fc.weight, random.fc.weight)
    assert torch.equal(pretrained.fc.bias, torch.zeros(4))
    assert torch.equal(pretrained.conv1[0].weight, state["conv1.0.weight"])
    assert not torch.equal(random.conv1[0].weight, state["conv1.0.weight"])


def test_a_kept_classifier_is_the_checkpoints_and_its_classes_must_agree(shufflenet):
    path, state = shufflenet
    kept = models.load("shufflenet_v2_x0_5", 7, weights=path, classifier="kept")
    assert all(torch.equal(kept.state_dict()[k], state[k]) for k in state)
    assert not torch.equal(models.load("shufflenet_v2_x0_5", 7, weights=path).fc.weight, state["fc.weight"])
    with pytest.raises(InvalidInput, match=r"outputs is 10, but the classifier of .*shufflenet\.pt has 7"):
        models.load("shufflenet_v2_x0_5", 10, weights=path, classifier="kept")
    with pytest.raises(InvalidInput, match="outputs is 10, but the classifier of the pretrained efficientnet-lite0 has 1000"):
        models.load("efficientnet-lite0", 10, classifier="kept")


def test_the_kept_classifier_of_the_bundled_network_is_imagenets():
    kept, whole = models.load("efficientnet-lite0", 1000, classifier="kept").state_dict(), models.imagenet().state_dict()
    assert all(torch.equal(kept[k], whole[k]) for k in whole)


def test_the_bundled_network_takes_a_checkpoint_of_its_own_with_other_classes(tmp_path):
    trained = models.build("random", 3, seed=9)
    torch.save({"model": trained.state_dict(), "epoch": 4}, tmp_path / "epoch4.pt")
    net = models.load("efficientnet-lite0", 8, weights=tmp_path / "epoch4.pt", seed=1)
    assert torch.equal(net.stem.conv.weight, trained.stem.conv.weight)
    assert torch.equal(net.classifier.weight, models.build("random", 8, seed=1).classifier.weight)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: {"state_dict": s, "epoch": 3},
        lambda s: {"model": s, "optimizer": {"lr": 0.1}},
        lambda s: {f"module.{k}": v for k, v in s.items()},
        lambda s: {"state_dict": {f"module._orig_mod.{k}": v for k, v in s.items()}},
        lambda s: {k: v for k, v in s.items() if not k.endswith("num_batches_tracked")},
    ],
)
def test_checkpoints_are_found_in_their_wrappings(shufflenet, tmp_path, wrap):
    _, state = shufflenet
    torch.save(wrap(state), tmp_path / "wrapped.pt")
    net = models.load("shufflenet_v2_x0_5", 7, weights=str(tmp_path / "wrapped.pt"), classifier="kept")
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("conv1.0.weight"), "lacks 1 of .* tensors of shufflenet_v2_x0_5: 'conv1.0.weight'"),
        (lambda s: [s.pop(k) for k in list(s) if k.startswith("stage2")], r"'stage2\..* and \d+ more"),
        (lambda s: s.update({"aux.weight": torch.zeros(2)}), r"holds 'aux.weight', which shufflenet_v2_x0_5 has not"),
        (lambda s: s.update({"conv1.0.weight": torch.zeros(2, 3)}), r"'conv1.0.weight' of shape \(2, 3\); \(24, 3, 3, 3\) is allowed"),
        (lambda s: s.update({"fc.weight": torch.zeros(7, 9)}), r"'fc.weight' of shape \(7, 9\); \(1000, 1024\) is allowed"),
        (lambda s: s.update({"fc.bias": torch.zeros(8)}), r"'fc.bias' of shape \(8,\); \(7,\) is allowed"),
        (lambda s: s["fc.bias"].fill_(torch.inf), "holds NaN or infinity in 'fc.bias'"),
        (lambda s: s.update(epoch=3), "holds a dict with 'epoch', a int; a dictionary of tensors, alone or under 'state_dict'"),
        (lambda s: s.clear(), "holds a dict with nothing"),
    ],
)
def test_a_checkpoint_that_does_not_match_says_where(shufflenet, tmp_path, change, words):
    state = {k: v.clone() for k, v in shufflenet[1].items()}
    change(state)
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(InvalidInput, match=words):
        models.load("shufflenet_v2_x0_5", 7, weights=tmp_path / "other.pt")


def test_missing_checkpoints_and_folders(tmp_path):
    with pytest.raises(InvalidInput, match=r"cannot read the weights .*gone\.pt': No such file"):
        models.load("resnet20", 2, weights=tmp_path / "gone.pt")
    with pytest.raises(InvalidInput, match=r"cannot read the weights .*Is a directory"):
        models.load("resnet20", 2, weights=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "settings", "words"),
    [
        (("resnet20", 2), {}, "'resnet20' has no pretrained weights of its own"),
        (("resnet20", 2), {"start": "random", "weights": "w.pt"}, r"weights='w\.pt' was given for a random start"),
        (("resnet20", 2), {"start": "random", "classifier": "kept"}, "classifier='kept' was given for a random start"),
        (("resnet20", 2), {"start": "random", "classifier": "old"}, "classifier is 'old'; one of 'fresh', 'kept'"),
        (("resnet20", True), {"start": "random"}, "outputs is True"),
        (("resnet20", 2), {"start": "random", "seed": 0.5}, r"seed is 0\.5"),
        (("resnet19", 2), {"start": "random"}, "torchvision has no network 'resnet19' for classification; 'resnet1"),
        (("fasterrcnn_resnet50_fpn", 2), {"start": "random"}, "no network 'fasterrcnn_resnet50_fpn' for classification"),
        (("timm/resnet19", 2), {"start": "random"}, "timm has no network 'resnet19'.* 'resnet1"),
        (("hub/resnet18", 2), {"start": "random"}, "no network 'hub/resnet18'; names like"),
        (("vit_b_16", 2), {"start": "random"}, "vit_b_16 is no convolutional network: it has MultiheadAttention"),
        (("squeezenet1_1", 2), {"start": "random"}, r"ends in the convolution 'classifier\.1' of unpooled maps"),
        (("timm/test_vit", 2), {"start": "random"}, "is no convolutional network: it has Attention"),
        (("timm/test_mambaout", 0), {"start": "random"}, "outputs is 0"),
    ],
)
def test_what_cannot_be_had_is_refused_with_the_reason(arguments, settings, words):
    with pytest.raises(InvalidInput, match=words):
        models.load(*arguments, **settings)


class _Two(nn.Module):
    """Ends in the sum of two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Conv2d(2, 2, 3))
        self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = self.body(x).mean(dim=(2, 3))
        return self.a(pooled) + self.b(pooled)


def test_a_network_without_one_last_linear_layer_is_refused():
    with pytest.raises(InvalidInput, match="the outputs of two are not those of its last linear layer 'b', which was called 1 times"):
        classifier.linear_head(_Two(), "two")
    with pytest.raises(InvalidInput, match="the outputs of _Two are not those"):
        models.features(_Two(), _pictures())
    with pytest.raises(InvalidInput, match="Conv2d has no linear layer"):
        models.head_of(nn.Conv2d(3, 2, 1))
    with pytest.raises(InvalidInput, match="mixer is no convolutional network: it has 1 convolutions"):
        classifier.linear_head(nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(2, 2)), "mixer")
    with pytest.raises(InvalidInput, match="grey takes no 224 × 224 pictures in three channels"):
        classifier.linear_head(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3), nn.Flatten(), nn.Linear(2, 2)), "grey")


def test_the_check_of_the_classifier_leaves_modes_and_statistics_alone():
    net = models.SmallCNN().train()
    net.layers[1].eval()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    classifier.linear_head(net, "net")
    assert [m.training for m in net.layers[:3]] == [True, False, True]
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


class _ConvHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 3))
        self.fc = nn.Conv2d(6, 5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.body(x).mean(dim=(2, 3), keepdim=True)).flatten(1)


def test_a_convolution_of_pooled_maps_becomes_the_same_linear_layer():
    net, x = _ConvHead(), _pictures(2, 9)
    before = net(x)
    name, head = classifier.linear_head(net, "net")
    assert (name, type(head), head.out_features) == ("fc", classifier.PooledLinear, 5)
    assert_dtype_close(net(x).detach(), before.detach(), 0.01, before.abs().max().item())
    assert models.features(net, x).shape == (2, 6)


def test_a_pretrained_network_of_a_library_with_such_a_convolution(tmp_path):
    import timm

    with torch.random.fork_rng():
        whole = timm.create_model("dla34", pretrained=False).eval()
    torch.save(whole.state_dict(), tmp_path / "dla34.pt")
    net, x = models.load("timm/dla34", 1000, weights=tmp_path / "dla34.pt", classifier="kept"), _pictures(2, 64)
    with torch.no_grad():
        assert_dtype_close(net(x), whole(x), 0.01, whole(x).abs().max().item())


@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "googlenet"])
def test_weights_of_torchvisions_hub_are_its_default_ones(tmp_path, monkeypatch, name):
    from torchvision.models import get_model, get_model_weights

    # The file that an earlier download would have left: the library's own code finds and reads it.
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with torch.random.fork_rng():
        state = get_model(name, weights=None, **({"init_weights": True} if name == "googlenet" else {})).state_dict()
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(state, folder / Path(get_model_weights(name).DEFAULT.url).name)
    net = models.load(name, 6, seed=4)
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items() if not k.startswith("fc."))
    assert torch.equal(net.fc.weight, models.load(name, 6, start="random", seed=4).fc.weight)
    # A file of the same weights gives the same network.
    local, x = models.load(name, 6, weights=folder / Path(get_model_weights(name).DEFAULT.url).name, seed=4), _pictures()
    with torch.no_grad():
        assert torch.equal(net(x), local(x))


def test_weights_of_timms_hub(monkeypatch):
    import timm

    state = timm.create_model("test_resnet", pretrained=False).state_dict()
    asked = []
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", lambda model_id, *a, **k: (asked.append(model_id), state)[1])
    net = models.load("timm/test_resnet", 6)
    assert asked == ["timm/test_resnet.r160_in1k"]
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items() if not k.startswith("fc."))
    assert net.num_classes == 6


def test_without_the_internet_the_message_says_what_else_there_is(tmp_path, monkeypatch):
    def fail(*arguments: object, **settings: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", fail)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", fail)
    for name in ("resnet18", "timm/test_resnet"):
        with pytest.raises(InvalidInput, match=r"weights of '.*resnet.*' cannot be had: .*no route to host.*name a file.*random start"):
            models.load(name, 2)


@pytest.mark.parametrize("module", ["torchvision.models", "timm"])
def test_a_library_that_is_not_installed(monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InvalidInput, match=rf"{module.partition('.')[0]} cannot be imported .*pip install 'ptoq\[real\]'"):
        models.load("timm/resnet18" if module == "timm" else "resnet18", 2, start="random")


def test_files_that_torchvision_published_are_read_under_their_old_names(tmp_path):
    from torchvision.models import get_model

    with torch.random.fork_rng():
        googlenet = get_model("googlenet", weights=None, init_weights=True).state_dict()  # auxiliary classifiers included
        densenet = get_model("densenet121", weights=None).state_dict()
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", key): value for key, value in densenet.items()}
    assert set(old) != set(densenet)
    for name, state, saved in (("googlenet", googlenet, googlenet), ("densenet121", densenet, old)):
        torch.save(saved, tmp_path / name)
        net = models.load(name, 1000, weights=tmp_path / name, classifier="kept").state_dict()
        assert all(torch.equal(value, state[key]) for key, value in net.items())


def test_networks_with_auxiliary_classifiers_give_tensors_in_training_too():
    net = models.load("googlenet", 2, start="random").train()
    assert net(_pictures(2, 64)).shape == (2, 2)


def test_normalisation_is_that_of_the_pretraining():
    assert models.normalisation(models.load("small-cnn", 2, start="random")) == (libraries.IMAGENET_MEAN, libraries.IMAGENET_STD)
    assert models.normalisation(models.load("resnet18", 2, start="random")) == (libraries.IMAGENET_MEAN, libraries.IMAGENET_STD)
    assert models.normalisation(models.load("timm/test_resnet", 2, start="random")) == ((0.5,) * 3, (0.5,) * 3)
