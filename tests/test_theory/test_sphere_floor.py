"""What lies in high degrees of the sphere: the trace's share, and the floor of a sign teacher."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from tests.helpers import assert_dtype_close, assert_exact
from theory import InvalidInput
from theory.numeric.sphere import relu_eigenvalues, sign_floor, tangent_eigenvalues, trace_beyond, zonal_expansion


@pytest.mark.parametrize("dimension", [2, 3, 8])
def test_the_trace_beyond_a_degree_falls_to_nothing(dimension):
    values = [trace_beyond(dimension, last, 2.0) for last in (0, 1, 2, 8, 64, 512)]
    assert all(0 < later < earlier for earlier, later in pairwise(values))
    assert values[0] < 2
    # Like 1/last.
    assert 0.9 < 8 * values[-1] / values[-2] < 1.3


def test_the_floor_of_a_sign_teacher_at_known_dimensions():
    assert_exact(sign_floor(3), 0.25, ulps=4)
    assert_exact(sign_floor(2), 1 - 8 / math.pi**2, ulps=8)


@pytest.mark.parametrize("dimension", [2, 3, 5, 20])
def test_the_floor_is_what_the_expansion_leaves_in_degrees_without_an_eigenvalue(dimension):
    expansion, kept = zonal_expansion(np.sign, dimension, 6), tangent_eigenvalues(dimension, 6) > 0
    left = expansion.mean_square - float(np.sum(expansion.energies[kept]))
    assert_dtype_close(np.array(left), np.array(sign_floor(dimension)), 1e-3, scale=1.0)


def test_the_floor_rises_with_the_dimension_towards_its_limit():
    dimensions = (2, 3, 4, 10, 100, 1000)
    floors = [sign_floor(d) for d in dimensions]
    assert all(later > earlier for earlier, later in pairwise(floors))
    # 1 − 2/π − 1/(πd) + O(1/d²)
    assert abs((1 - 2 / math.pi - floors[-1]) * dimensions[-1] * math.pi - 1) < 2 / dimensions[-1]


def test_what_is_out_of_range_is_refused():
    with pytest.raises(InvalidInput, match="dimension is 1"):
        sign_floor(1)
    with pytest.raises(InvalidInput, match="norm is 0"):
        trace_beyond(3, 2, 0)
    for function in (trace_beyond, tangent_eigenvalues, relu_eigenvalues):
        with pytest.raises(InvalidInput, match="degree is -1"):
            function(3, -1)
