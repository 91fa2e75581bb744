"""Training: recipes, one loop for one or many processes, checkpoints, evaluation."""

from realnets.train.checkpoint import epoch_file
from realnets.train.divergence import TrainingDiverged
from realnets.train.evaluation import evaluate
from realnets.train.loop import train
from realnets.train.recipe import LOSSES, Recipe

__all__ = [
    # How, and the loop.
    "Recipe",
    "LOSSES",
    "train",
    "TrainingDiverged",
    # What it leaves.
    "evaluate",
    "epoch_file",
]
