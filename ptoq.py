"""The public face of ptoq, and its command line.

>>> import numpy as np, ptoq
>>> rng = np.random.default_rng(0)
>>> X = rng.standard_normal((30, 5))
>>> problem = ptoq.TransferProblem(source=(X, X[:, 0]), target=(X[:20], X[:20, 0]))
>>> round(ptoq.predict(problem).gain, 6)  # the target lies in the source: nothing is left to learn
1.0
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

if TYPE_CHECKING:
    from sim.gram import relu_gram
    from sim.training import simulate
    from theory.average import average_case, phase_diagram
    from theory.bounds.generalisation import GeneralisationBound, generalisation_bound
    from theory.bounds.guarantee import Guarantee, guarantee, least_width
    from theory.bounds.transfer import ErrorBounds, KernelErrors, error_bounds
    from theory.certified.certificate import Certificate, certify
    from theory.chain import ChainOutcome, Stage, predict_chain
    from theory.errors import DoesNotApply, InvalidInput, NotConverged, UnstableStep
    from theory.first_order_drift import first_order_drift
    from theory.generalisation import Generalisation, generalisation
    from theory.numeric.kernels import Kernel, both_layers, deep, kernel
    from theory.numeric.stages import transformed_labels
    from theory.outcome import Trajectory, TransferOutcome
    from theory.predict import GramBlocks, predict
    from theory.pretraining import pretraining_curves
    from theory.problem import Schedule, TransferProblem
    from theory.random_start import random_start
    from theory.similarity import label_gains, mode_suppression

__all__ = [
    # the contract
    "TransferProblem",
    "Schedule",
    "TransferOutcome",
    "Trajectory",
    # the rungs of the ladder
    "predict",
    "simulate",
    # how long to pretrain
    "pretraining_curves",
    # chains of stages
    "Stage",
    "ChainOutcome",
    "predict_chain",
    # averages over teachers, and over random starts
    "average_case",
    "phase_diagram",
    "random_start",
    # which modes, which labels, how well
    "mode_suppression",
    "label_gains",
    "generalisation",
    "Generalisation",
    # what a net may do at most
    "guarantee",
    "least_width",
    "error_bounds",
    "generalisation_bound",
    "first_order_drift",
    "Guarantee",
    "KernelErrors",
    "ErrorBounds",
    "GeneralisationBound",
    # proven numbers
    "certify",
    "Certificate",
    # their parts
    "relu_gram",
    "transformed_labels",
    "GramBlocks",
    # kernels of other nets
    "kernel",
    "both_layers",
    "deep",
    "Kernel",
    # errors
    "InvalidInput",
    "UnstableStep",
    "NotConverged",
    "DoesNotApply",
]

# Where each name lives; imported when first asked for, so that `ptoq --help` does not wait for what it does not use.
_HOMES = {
    "TransferProblem": "theory.problem",
    "Schedule": "theory.problem",
    "TransferOutcome": "theory.outcome",
    "Trajectory": "theory.outcome",
    "predict": "theory.predict",
    "GramBlocks": "theory.predict",
    "simulate": "sim.training",
    "pretraining_curves": "theory.pretraining",
    "Stage": "theory.chain",
    "ChainOutcome": "theory.chain",
    "predict_chain": "theory.chain",
    "average_case": "theory.average",
    "phase_diagram": "theory.average",
    "random_start": "theory.random_start",
    "mode_suppression": "theory.similarity",
    "label_gains": "theory.similarity",
    "generalisation": "theory.generalisation",
    "Generalisation": "theory.generalisation",
    "first_order_drift": "theory.first_order_drift",
    "guarantee": "theory.bounds.guarantee",
    "least_width": "theory.bounds.guarantee",
    "error_bounds": "theory.bounds.transfer",
    "generalisation_bound": "theory.bounds.generalisation",
    "Guarantee": "theory.bounds.guarantee",
    "KernelErrors": "theory.bounds.transfer",
    "ErrorBounds": "theory.bounds.transfer",
    "GeneralisationBound": "theory.bounds.generalisation",
    "certify": "theory.certified.certificate",
    "Certificate": "theory.certified.certificate",
    "relu_gram": "sim.gram",
    "kernel": "theory.numeric.kernels",
    "both_layers": "theory.numeric.kernels",
    "deep": "theory.numeric.kernels",
    "Kernel": "theory.numeric.kernels",
    "transformed_labels": "theory.numeric.stages",
    "InvalidInput": "theory.errors",
    "UnstableStep": "theory.errors",
    "NotConverged": "theory.errors",
    "DoesNotApply": "theory.errors",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("ptoq")
    if name not in _HOMES:
        raise AttributeError(f"module 'ptoq' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES, "__version__"])


def _command_line(arguments: list[str] | None) -> Any:
    import tyro
    from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes, subcommand

    from paper_figs.commands import Figures, Reproduce
    from realnets.commands import Realnets
    from sim.commands import Predict, Sim
    from theory.commands import Theory

    commands = (
        Annotated[Predict, subcommand("predict")]
        | Annotated[Theory, subcommand("theory")]
        | Annotated[Sim, subcommand("sim")]
        | Annotated[Realnets, subcommand("realnets")]
        | Annotated[Figures, subcommand("figures")]
        | Annotated[Reproduce, subcommand("reproduce")]
    )
    description = "Will this pretrained network transfer, how far will its weights move, how fast, and how well?"
    return tyro.cli(commands, prog="ptoq", description=description, args=arguments, config=(OmitArgPrefixes, OmitSubcommandPrefixes))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0: fine; 1: a claim or formula failed; 2: bad input; 3: an error of ptoq's own; 130: interrupted; 143: terminated.
    """
    for stream in (sys.stdout, sys.stderr):
        # A pipe or terminal that cannot hold every letter is no reason to stop.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    stopped: list[int] = []
    try:
        with _stoppable(stopped):
            code = _run(arguments, stopped)
    except KeyboardInterrupt:
        code = None
    if code is not None:
        return code
    _fail("interrupted; what an experiment had finished is kept, and the same command goes on from there")
    return 143 if signal.SIGTERM in stopped else 130


@contextmanager
def _stoppable(stopped: list[int]) -> Iterator[None]:
    """Let SIGTERM, which a batch system sends when the time is over, end everything as Ctrl-C does; signals go into `stopped`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: object) -> None:
        stopped.append(number)
        raise KeyboardInterrupt

    # One that is ignored, as Ctrl-C is in the background of a shell, stays so.
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(arguments: list[str] | None, stopped: list[int]) -> int | None:
    """The exit code, or `None` where a signal ended it."""
    command = _command_line(arguments)
    try:
        return int(command.run())
    except Exception as error:
        # A library that was being imported, say, makes an error of its own of an interrupt.
        return None if stopped else _explained(error)


def _explained(error: Exception) -> int:
    """Say what went wrong, in one line, and return the exit code."""
    from theory.errors import InvalidInput, NotConverged

    if isinstance(error, (InvalidInput, NotConverged)):
        _fail(str(error))
    elif isinstance(error, BrokenPipeError):
        return 0
    elif isinstance(error, MemoryError):
        why = f" ({error})" if str(error) else ""
        _fail(f"out of memory{why}; what an experiment had finished is kept; fewer points or jobs need less")
    elif isinstance(error, OSError):
        _fail(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""))
    elif os.environ.get("PTOQ_DEBUG"):
        raise error
    else:
        _fail(f"this should not have happened; please report it ({type(error).__name__}: {error}; PTOQ_DEBUG=1 shows where)")
        return 3
    return 2


def _fail(message: str) -> None:
    print(f"ptoq: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
