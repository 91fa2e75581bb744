"""Digits that installed packages ship: MNIST-5k and the UCI digits, dark on white like the emoji."""

from __future__ import annotations

import numpy as np
import torch

from realnets.data.lazy import check_size
from realnets.data.pictures import Pictures
from sim.datasets import digits_images, mnist_images


def mnist(size: int = 64) -> Pictures:
    """MNIST-5k digits, resized by area from 28 to `size` pixels, in three equal channels."""
    images, classes = mnist_images()
    return _digits(255 - images, classes, size, "MNIST, LeCun et al. 1998, CC BY-SA 3.0")


def digits(size: int = 32) -> Pictures:
    """UCI handwritten digits, enlarged from 8 to `size` pixels, in three equal channels."""
    images, classes = digits_images()
    return _digits(
        255 - images * (255 / 16), classes, size, "UCI Optical Recognition of Handwritten Digits, Alpaydin and Kaynak 1998, CC BY 4.0"
    )


def _digits(images: np.ndarray, classes: np.ndarray, size: int, source: str) -> Pictures:
    check_size(size)
    grey = torch.nn.functional.interpolate(torch.tensor(images)[:, None], size=(size, size), mode="bilinear", antialias=True)
    pixels = grey.round().clamp(0, 255).to(torch.uint8)[:, 0, :, :, None].expand(-1, -1, -1, 3).numpy()
    names = tuple(f"{i:04d}" for i in range(len(classes)))
    labels = np.asarray(classes, dtype=np.int64)
    return Pictures(images=pixels, labels=labels, classes=tuple("0123456789"), names=names, source=source)
