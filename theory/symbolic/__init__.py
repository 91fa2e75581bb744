"""Derivations in SymPy, one file a result: each a chain of named steps that are shown and evaluated."""

__all__ = [
    # language
    "algebra",
    "notation",
    # Gaussian expectations
    "relu_gram",
    "near_parallel",
    # gradient descent on a Gram matrix
    "filters",
    "flow",
    "eigenbasis",
    "stability",
    "residual",
    "displacement",
    "inverse_norm",
    "steps_to_loss",
    # two stages
    "gradient_energy",
    "transformed_labels",
    "fine_tuning",
    "forgetting",
    "gain",
    "best_scale",
    "pretraining",
    # landscape
    "smoothness",
]

from theory.symbolic import (
    algebra,
    best_scale,
    displacement,
    eigenbasis,
    filters,
    fine_tuning,
    flow,
    forgetting,
    gain,
    gradient_energy,
    inverse_norm,
    near_parallel,
    notation,
    pretraining,
    relu_gram,
    residual,
    smoothness,
    stability,
    steps_to_loss,
    transformed_labels,
)
