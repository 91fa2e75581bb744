from __future__ import annotations

import subprocess

import numpy as np
import pytest

from benchmarks import curvature, environments


def test_wasserstein_is_the_mean_shift_over_the_span():
    eigenvalues = np.array([0.0, 1.0, 2.0, 4.0])
    assert curvature.wasserstein(eigenvalues, np.full(4, 0.25), eigenvalues) == 0
    moved = eigenvalues[::-1] + 0.5
    assert curvature.wasserstein(moved, np.full(4, 0.25), eigenvalues) == 0.5 / 4
    # All weight at 1: distances 1, 0, 1 and 3.
    assert curvature.wasserstein(np.array([1.0]), np.array([1.0]), eigenvalues) == (1 + 0 + 1 + 3) / 4 / 4


def test_an_environment_that_inherits_has_what_the_main_one_has(tmp_path, monkeypatch):
    (tmp_path / "heir.txt").write_text(f"{environments.INHERITS}\n")
    monkeypatch.setattr(environments, "PEERS", tmp_path)
    python = environments.PeerEnvironments(lambda _: None, tmp_path / "peers")("heir")
    where = subprocess.run([str(python), "-c", "import numpy; print(numpy.__file__)"], check=True, capture_output=True, text=True)
    assert where.stdout.strip() == np.__file__


def test_the_nets_are_what_their_titles_say():
    pytest.importorskip("torch")
    from benchmarks.curvature_nets import NETS, load, tanh_problem

    assert {name: sum(w.numel() for w in make().parameters()) for name, make in NETS.items()} == {"tanh": 1_893, "resnet20": 269_722}
    data = tanh_problem()
    net, x, y = load({"net": "tanh"}, data)
    assert (net(x).argmax(dim=1) == y).all() and not net.training
    assert len(data["eigenvalues"]) == 1_893 and (np.diff(data["eigenvalues"]) >= 0).all()
