"""Infinitely many samples at the edges: an eigenspace that is learnt at once, numbers that are not finite."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from theory import InvalidInput
from theory.numeric.population import PopulationTransfer, population_flow_error

TASK = PopulationTransfer(np.array([0.25, 0.125, 0.0]), np.array([1.0, 0.5, 0.2]), np.array([0.7, 0.9, 0.1]), np.array([0.6, 0.3, 0.1]))


@pytest.mark.parametrize("displacement", [False, True])
def test_an_eigenspace_learnt_in_one_step_has_a_base_of_its_own(displacement):
    task = TASK if not displacement else PopulationTransfer(*(a[:2] for a in (TASK.eigenvalues, TASK.source, TASK.target, TASK.cross)))
    curve = task.curve(1.0, 4.0, displacement=displacement)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bound, late = curve.turn_bound(), curve.late_trend()
    values = [curve(k) for k in range(60)]
    changes = np.sign(np.diff(values))
    changes = changes[changes != 0]
    assert int(np.sum(changes[1:] != changes[:-1])) <= bound.sign_changes
    assert len(curve.turns(59)) <= bound.turns
    assert late == changes[-1]


def test_infinite_numbers_of_samples_and_times_are_refused():
    for call, words in (
        (lambda: population_flow_error(np.ones(2), np.array([1.0, 0.0]), math.inf, 1.0), "samples is inf"),
        (lambda: population_flow_error(np.ones(2), np.array([1.0, 0.0]), 1.0, math.inf), "time is inf"),
    ):
        with pytest.raises(InvalidInput, match=words):
            call()
