"""Small networks, trained from scratch in seconds to minutes: one for digits, and the ResNet-20 of the CIFAR experiments."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

_WIDTHS = (16, 32, 64)


class SmallCNN(nn.Module):
    """Four convolutions with batch norm, strides 1, 2, 2, 1; 60,688 weights before the classifier; any picture from 8 × 8 on.

    Parameters
    ----------
    outputs : int ≥ 1
        Of the linear classifier on the 64 pooled features.
    """

    def __init__(self, outputs: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width, stride in ((16, 1), (32, 2), (64, 2), (64, 1)):
            layers += [nn.Conv2d(channels, width, 3, stride, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, outputs)

    def features(self, x: Tensor) -> Tensor:
        """Pooled features, (n, 3, h, w) -> (n, 64)."""
        return self.layers(x).mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Outputs before any softmax, (n, 3, h, w) -> (n, outputs)."""
        return self.classifier(self.features(x))


class BasicBlock(nn.Module):
    """Two 3 × 3 convolutions plus the input; where the shape changes, every second pixel of it, with zeros as new channels.

    Source: He et al. 2015 (1512.03385), section 4.2, option A.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.added = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) -> (n, outputs, h/stride, w/stride)."""
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        shortcut = x[:, :, :: self.stride, :: self.stride]
        before = self.added // 2
        return functional.relu(y + functional.pad(shortcut, (0, 0, 0, 0, before, self.added - before)))


class ResNet20(nn.Module):
    """ResNet-20 for pictures of about 32 × 32: three stages of three blocks with 16, 32 and 64 channels, 0.27 million weights.

    Parameters
    ----------
    outputs : int ≥ 1
        Of the linear classifier on the 64 pooled features.

    Source: He et al. 2015 (1512.03385), section 4.2, n = 3.
    """

    def __init__(self, outputs: int = 10) -> None:
        super().__init__()
        channels = _WIDTHS[0]
        self.conv1 = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        stages: list[nn.Module] = []
        for stage, width in enumerate(_WIDTHS):
            blocks: list[nn.Module] = []
            for index in range(3):
                blocks.append(BasicBlock(channels, width, 2 if stage and not index else 1))
                channels = width
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.classifier = nn.Linear(channels, outputs)

    def features(self, x: Tensor) -> Tensor:
        """Pooled features, (n, 3, h, w) -> (n, 64)."""
        return self.stages(functional.relu(self.bn1(self.conv1(x)))).mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Outputs before any softmax, (n, 3, h, w) -> (n, outputs)."""
        return self.classifier(self.features(x))
