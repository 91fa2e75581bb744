from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Pictures are rendered once a session, into a folder of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PTOQ_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Small nets are slower on two threads, and two threads that wait for each other on busy cores take minutes for seconds."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class TinyNet(nn.Module):
    """Every kind of layer that the real network has, in 200 weights."""

    def __init__(self, outputs: int = 2, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.depthwise = nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False)
        self.bn2 = nn.BatchNorm2d(4)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(4, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.nn.functional.gelu(self.bn(self.conv(x)))
        x = torch.nn.functional.gelu(self.bn2(self.depthwise(x)))
        return self.classifier(self.dropout(x.mean(dim=(2, 3))))


def make_tiny(seed: int = 0, outputs: int = 2, dropout: float = 0.0, dtype: torch.dtype = torch.float64) -> TinyNet:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return TinyNet(outputs, dropout).to(dtype).eval()


@pytest.fixture
def tiny():
    return make_tiny


@pytest.fixture
def small_images() -> tuple[torch.Tensor, torch.Tensor]:
    """Twelve 6 × 6 pictures in float64, and classes 0 and 1."""
    stream = torch.Generator().manual_seed(7)
    return torch.randn(12, 3, 6, 6, dtype=torch.float64, generator=stream), torch.arange(12) % 2


def _explicit_jacobian(net: torch.nn.Module, x: torch.Tensor) -> np.ndarray:
    """(n·c, p) by torch.func, all pictures at once: another way to the same numbers."""
    weights = {k: v.detach() for k, v in net.named_parameters()}
    buffers = dict(net.named_buffers())
    parts = jacrev(lambda w: functional_call(net, (w, buffers), (x,)))(weights)
    return np.concatenate([part.reshape(len(x) * part.shape[1], -1).numpy() for part in parts.values()], axis=1)


@pytest.fixture
def explicit_jacobian():
    return _explicit_jacobian
