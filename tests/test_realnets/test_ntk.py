from __future__ import annotations

import numpy as np
import pytest
import torch

from realnets import models, ntk
from tests.helpers import assert_dtype_close, assert_exact
from theory.errors import InvalidInput


@pytest.mark.parametrize("outputs", [1, 3])
def test_against_the_explicit_jacobian(tiny, small_images, explicit_jacobian, outputs):
    x, _ = small_images
    net = tiny(outputs=outputs)
    J = explicit_jacobian(net, x)
    K = ntk.empirical_ntk(net, x)
    assert K.dtype == np.float64
    scale = np.abs(J @ J.T).max()
    assert_dtype_close(K, J @ J.T, 1, scale)
    assert_exact(K, K.T.copy(), ulps=8, scale=scale)


def test_against_finite_differences(tiny, small_images):
    """No derivative code at all: outputs at weights moved by ±h along each coordinate."""
    x, _ = small_images
    net = tiny(outputs=1)
    h = np.finfo(float).eps ** (1 / 3)  # balances the third-order error of central differences against rounding
    columns = []
    for w in net.parameters():
        for i in range(w.numel()):
            unit = [torch.zeros_like(v) for v in net.parameters()]
            next(u for u, v in zip(unit, net.parameters(), strict=True) if v is w).view(-1)[i] = h
            columns.append((ntk.outputs_at(net, x, unit) - ntk.outputs_at(net, x, [-u for u in unit])) / (2 * h))
    J = np.concatenate(columns, axis=1)
    K = ntk.empirical_ntk(net, x)
    assert_dtype_close(K, J @ J.T, 1, np.abs(K).max())


@pytest.mark.parametrize("pictures_at_a_time", [2, 5, 7, 12])
def test_blocks_change_nothing_but_rounding(tiny, small_images, pictures_at_a_time):
    x, _ = small_images
    net = tiny(outputs=2)
    whole = ntk.empirical_ntk(net, x)
    each = 2 * 8 * sum(p.numel() for p in net.parameters())
    counted = []
    blocked = ntk.empirical_ntk(net, x, memory=pictures_at_a_time * each, progress=counted.append)
    assert_exact(blocked, whole, ulps=64, scale=np.abs(whole).max())
    assert sum(counted) >= len(x)


def test_columns_are_summed_in_float64():
    """Entries that float32 sums would lose: one large, many small."""
    rows = torch.full((2, 1 << 18), 2.0**-12)
    rows[:, 0] = 2.0**12
    assert ntk._inner(rows, rows)[0, 1] == 2.0**24 + ((1 << 18) - 1) * 2.0**-24


def test_frozen_weights_do_not_count(tiny, small_images):
    x, _ = small_images
    net = tiny(outputs=1)
    for w in net.parameters():
        w.requires_grad_(False)
    net.classifier.bias.requires_grad_(True)
    np.testing.assert_array_equal(ntk.empirical_ntk(net, x), np.ones((12, 12)))


def test_transposed_product_is_the_jacobians(tiny, small_images, explicit_jacobian):
    x, _ = small_images
    net = tiny(outputs=3)
    alpha = np.random.default_rng(0).normal(size=(12, 3))
    step = ntk.transposed_product(net, x, alpha, chunk=5)
    flat = torch.cat([s.flatten() for s in step]).numpy()
    expected = explicit_jacobian(net, x).T @ alpha.ravel()
    assert_dtype_close(flat, expected, 1, np.abs(expected).max())


def test_outputs_at_moves_and_puts_back(tiny, small_images):
    x, _ = small_images
    net, moved = tiny(seed=0), tiny(seed=1)
    before = [w.clone() for w in net.parameters()]
    step = [b.detach() - a.detach() for a, b in zip(net.parameters(), moved.parameters(), strict=True)]
    assert_exact(ntk.outputs_at(net, x, step), ntk.outputs(moved, x), ulps=1000, scale=1.0)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    with pytest.raises(RuntimeError):
        ntk.outputs_at(net, x[:, :2], step)  # fails inside: the weights come back all the same
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_of_the_real_network_in_float32():
    """Against float64 gradients of the same network: what single precision of the gradients costs."""
    net = models.build("pretrained", 1, seed=0)
    x = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    single = ntk.empirical_ntk(net, x)
    double = ntk.empirical_ntk(net.double(), x.double())
    assert_dtype_close(single.astype(np.float32), double.astype(np.float32), 1, double.max())
    assert np.linalg.eigvalsh(single)[0] > 0


def test_bad_input(tiny, small_images):
    x, _ = small_images
    net = tiny()
    with pytest.raises(InvalidInput, match=r"memory is 0 MiB; at least .* MiB are needed"):
        ntk.empirical_ntk(net, x, memory=1000)
    with pytest.raises(InvalidInput, match=r"coefficients have shape \(12, 5\)"):
        ntk.transposed_product(net, x, np.zeros((12, 5)))
    net.bn.train()
    with pytest.raises(InvalidInput, match=r"'bn' is in training mode.*prepare"):
        ntk.empirical_ntk(net, x)
    net.eval().requires_grad_(False)
    with pytest.raises(InvalidInput, match="no trainable weight"):
        ntk.empirical_ntk(net, x)
