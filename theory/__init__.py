"""The kernel theory of transfer: problems, schedules, outcomes and their closed forms. No training, no plots."""

__all__ = [
    # errors
    "InvalidInput",
    "NotConverged",
    "UnstableStep",
    # the contract
    "TransferProblem",
    "Schedule",
    "Trajectory",
    "TransferOutcome",
    "OutcomeGap",
    # prediction
    "GramBlocks",
    "predict",
    "relu_gram",
    "transformed_labels",
    # kernels of other nets
    "Kernel",
    "kernel",
    "both_layers",
    "deep",
]

from theory.errors import InvalidInput, NotConverged, UnstableStep
from theory.numeric.gram import relu_gram
from theory.numeric.kernels import Kernel, both_layers, deep, kernel
from theory.numeric.stages import transformed_labels
from theory.outcome import OutcomeGap, Trajectory, TransferOutcome
from theory.predict import GramBlocks, predict
from theory.problem import Schedule, TransferProblem
