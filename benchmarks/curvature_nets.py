"""The nets whose curvature is measured, as arrays that every contender starts from; needs torch and SciPy only."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


def tanh_net() -> nn.Sequential:
    """20-32-32-5, 1,893 weights, float64."""
    return nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 5)).double()


class _Block(nn.Module):
    def __init__(self, planes_in: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(planes_in, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        if x.shape != y.shape:
            new = y.shape[1] - x.shape[1]
            x = nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, new // 2, new - new // 2))
        return torch.relu(x + y)


class ResNet20(nn.Module):
    """For 32 × 32 pictures of 10 classes, shortcuts without parameters (He et al. 2016, section 4.2); 269,722 weights, float32."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        widths = [16, 16, 16, 16, 32, 32, 32, 64, 64, 64]
        self.blocks = nn.Sequential(*(_Block(a, b, 1 if a == b else 2) for a, b in pairwise(widths)))
        self.classifier = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        return self.classifier(self.blocks(torch.relu(self.bn(self.conv(x)))).mean(dim=(2, 3)))


NETS: dict[str, Callable[[], nn.Module]] = {"tanh": tanh_net, "resnet20": ResNet20}


def tanh_problem() -> dict[str, np.ndarray]:
    """The net after it has learnt 256 random labels, and all eigenvalues of its dense Hessian, ascending."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = tanh_net()
        x, y = torch.randn(256, 20, dtype=torch.float64), torch.randint(0, 5, (256,))
    descent = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(300):
        descent.zero_grad()
        cross_entropy(net(x), y).backward()
        descent.step()
    product = _double_backward(net, x, y)
    H = np.stack([product(row) for row in np.eye(1893)])
    return {**_arrays(net, x, y), "eigenvalues": np.linalg.eigvalsh((H + H.T) / 2)}


def resnet_problem(pictures: int) -> dict[str, np.ndarray]:
    """A net after 30 steps on random pictures and labels, and its five largest eigenvalues, ascending, by ARPACK in float64."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    with torch.random.fork_rng():
        torch.manual_seed(0)
        net, x, y = ResNet20(), torch.randn(pictures, 3, 32, 32), torch.randint(0, 10, (pictures,))
    descent = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for _ in range(30):
        descent.zero_grad()
        cross_entropy(net(x), y).backward()
        descent.step()
    arrays = _arrays(net.eval(), x, y)
    double = ResNet20().double().eval()
    double.load_state_dict(net.state_dict())
    size = sum(w.numel() for w in double.parameters())
    operator = LinearOperator((size, size), matvec=_double_backward(double, x.double(), y), dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(size)
    return {**arrays, "eigenvalues": np.sort(eigsh(operator, 5, which="LA", tol=1e-6, v0=start, return_eigenvectors=False))}


def load(setting: dict[str, Any], data: dict[str, np.ndarray]) -> tuple[nn.Module, Tensor, Tensor]:
    """The net in evaluation mode, inputs and labels."""
    net = NETS[setting["net"]]()
    net.load_state_dict({key.removeprefix("state."): torch.from_numpy(value) for key, value in data.items() if key.startswith("state.")})
    return net.eval(), torch.from_numpy(data["x"]), torch.from_numpy(data["y"])


def _arrays(net: nn.Module, x: Tensor, y: Tensor) -> dict[str, np.ndarray]:
    return {**{f"state.{key}": value.numpy() for key, value in net.state_dict().items()}, "x": x.numpy(), "y": y.numpy()}


def _double_backward(net: nn.Module, x: Tensor, y: Tensor) -> Callable[[np.ndarray], np.ndarray]:
    weights = list(net.parameters())
    gradient = torch.autograd.grad(cross_entropy(net(x), y), weights, create_graph=True)

    def product(vector: np.ndarray) -> np.ndarray:
        parts = torch.split(torch.from_numpy(np.ascontiguousarray(vector)).ravel(), [w.numel() for w in weights])
        along = [part.view_as(w) for part, w in zip(parts, weights, strict=True)]
        found = torch.autograd.grad(gradient, weights, along, retain_graph=True)
        return torch.cat([part.reshape(-1) for part in found]).numpy()

    return product
