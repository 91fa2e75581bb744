"""The gain from gradient energies alone: ends that are reached, what it decides, what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.helpers import assert_exact
from theory import InvalidInput
from theory.bounds.metric import gain_range
from theory.numeric.spectrum import GramSpectrum
from theory.numeric.stages import transfer_gain


def test_one_eigenvalue_leaves_no_room():
    low, high = gain_range(0.25, 1.0)
    assert low == high == 0.5


@pytest.mark.parametrize("slow_first", [False, True])
def test_both_ends_are_reached_by_labels_along_eigenvectors(slow_first):
    spectrum = GramSpectrum.of(np.diag([1.0, 16.0]))
    y, left = (np.eye(2)[0], 2 * np.eye(2)[1]) if slow_first else (np.eye(2)[1], 2 * np.eye(2)[0])
    end = gain_range(4.0, 16.0)[1 if slow_first else 0]
    assert_exact(end, transfer_gain(spectrum, y, left)[0], ulps=4)


def test_energies_decide_the_sign_of_the_gain_only_beyond_the_condition():
    assert gain_range(0.09, 10.0)[0] > 0
    assert gain_range(11.0, 10.0)[1] < 0
    low, high = gain_range(0.5, 10.0)
    assert low < 0 < high


def test_large_numbers_do_not_overflow():
    low, high = gain_range(1e300, 1e300)
    assert math.isfinite(low) and high == 0


@pytest.mark.parametrize(
    ("ratio", "condition", "name"), [(-1.0, 2.0, "energy_ratio"), (1.0, 0.5, "condition"), (math.nan, 2.0, "energy"), (1, True, "cond")]
)
def test_numbers_out_of_range_are_refused(ratio, condition, name):
    with pytest.raises(InvalidInput, match=name):
        gain_range(ratio, condition)
