"""Commands `ptoq predict`, `ptoq sim list` and `ptoq sim run`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, subcommand

from sim.terminal import OUT, Backend, Profile, list_titles, print_json, progress_bar, report

if TYPE_CHECKING:
    import numpy as np

    from theory.outcome import TransferOutcome
    from theory.problem import TransferProblem


LONGEST = 1_000_000
"""Steps up to which `ptoq predict` looks for the best length of pretraining."""


@dataclass(frozen=True, kw_only=True)
class Predict:
    """Predict a transfer before any training.

    SOURCE and TARGET are .npz files with arrays X and y, .csv or .parquet tables of numbers with a label column, or bundled
    sets: digits, digits-parity, mnist, mnist-parity.
    """

    source: Positional[str]
    """Source data."""
    target: Positional[str]
    """Target data."""
    test: str | None = None
    """Labelled test points of the target. Without it, the target points that --max-target leaves out are used."""
    label: str = "y"
    """Label column of tables."""
    normalize: bool = False
    """Divide every input row by its norm."""
    source_steps: int | None = None
    """Gradient steps of pretraining; without it, to the end."""
    target_steps: int | None = None
    """Gradient steps of fine-tuning; without it, to the end."""
    source_lr: float | None = None
    """Step size of pretraining; without it, 1/λ_max."""
    target_lr: float | None = None
    """Step size of fine-tuning; without it, 1/λ_max."""
    momentum: float = 0.0
    """Momentum of both stages, in [0, 1)."""
    weight_decay: float = 0.0
    """Weight decay of both stages."""
    anchor: Literal["zero", "initial", "start"] = "zero"
    """What weight decay pulls towards: 0, the initial weights, or each stage's own start (L2-SP on the target)."""
    loss: Literal["squared", "cross-entropy"] = "squared"
    """Loss of both stages; cross-entropy needs both numbers of steps, and labels ±1 or probabilities."""
    kernel: str = "relu"
    """Kernel: relu, leaky_relu, erf, gelu, monomial (a square), arccos1 or arccos2."""
    init_scale: float = 1.0
    """Standard deviation of the first layer's initial weights; with relu at depth 1 it changes nothing."""
    depth: int = 1
    """Hidden layers, all trained."""
    trained_readout: bool = False
    """Train the output weights as well."""
    max_source: int | None = None
    """Use a random subset of at most this many source points."""
    max_target: int | None = None
    """Use a random subset of at most this many target points."""
    max_test: int | None = None
    """Use a random subset of at most this many test points."""
    seed: int = 0
    """Seed of the random subsets."""
    solver: Literal["auto", "eigh", "cholesky", "lanczos", "conjugate-gradients"] = "auto"
    """How to solve with the Gram matrices: eigh gives everything; cholesky (to the end) and lanczos (numbers of steps) take the memory of
    one matrix, conjugate-gradients of none. auto takes the first that fits in memory."""
    best_length: bool = False
    """Also search for the length of pretraining that serves best, up to a million steps."""
    certify: bool = False
    """Also prove the numbers: digits that rounding cannot have touched. Seconds for 200 points, a minute for 1000."""
    allow_unstable: bool = False
    """Allow step sizes above the largest stable one, 2/λ_max for plain gradient descent."""
    json: bool = False
    """Print JSON."""

    def run(self) -> int:
        """Print the outcome."""
        from sim.datasets import load, unit_rows
        from theory.certified import certify
        from theory.errors import InvalidInput, TooLarge
        from theory.numeric.kernels import Kernel
        from theory.numeric.kernels import kernel as kernel_of
        from theory.predict import GramBlocks, predict
        from theory.pretraining import pretraining_curves
        from theory.problem import Schedule, TransferProblem, labelled_set, whole

        schedule = Schedule(
            self.source_steps,
            self.target_steps,
            self.source_lr,
            self.target_lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            anchor=self.anchor,
            loss=self.loss,
            allow_unstable=self.allow_unstable,
        )
        kernel = replace(kernel_of(self.kernel, init_scale=self.init_scale), depth=self.depth, trained_readout=self.trained_readout)
        plain = replace(kernel, init_scale=1.0) == Kernel(activation=kernel_of("relu").activation)
        if self.certify and not plain:
            raise InvalidInput(
                f"--certify was given for the kernel {kernel.name}; --kernel relu at depth 1, readout not trained, is allowed"
            )
        whole(self.seed, "--seed")
        for name in ("max_source", "max_target", "max_test"):
            limit = getattr(self, name)
            if limit is not None and limit < 1:
                raise InvalidInput(f"--{name.replace('_', '-')} is {limit}; at least 1 is allowed")
        sets: dict[str, Any] = {}
        for name, where in (("source", self.source), ("target", self.target), ("test", self.test)):
            if where is not None:
                sets[name] = labelled_set(load(where, self.label), where)
        sets["source"], _ = self._subset(sets["source"], self.max_source, "source")
        sets["target"], rest = self._subset(sets["target"], self.max_target, "target")
        if "test" not in sets and rest is not None:
            sets["test"] = rest
        if "test" in sets:
            sets["test"], _ = self._subset(sets["test"], self.max_test, "test")
        if self.normalize:
            sets = {name: (unit_rows(X, f"{name} X"), y) for name, (X, y) in sets.items()}
        problem = TransferProblem(source=sets["source"], target=sets["target"], test=sets.get("test"))
        if self.best_length and self.solver not in ("auto", "eigh"):
            raise InvalidInput(f"--best-length was given with --solver {self.solver}; eigh, or auto, is allowed")
        solver = "eigh" if self.best_length else self.solver
        try:
            with progress_bar() as progress:
                outcome = predict(problem, schedule, kernel=kernel, solver=solver, progress=progress)
        except TooLarge as error:
            raise InvalidInput(f"{error} (--max-source, --max-target and --max-test take a random subset)") from None
        best = {}
        if self.best_length:
            curves = pretraining_curves(problem, schedule, gram=GramBlocks.of(problem, kernel))
            best = {name: curve.best(LONGEST) for name, curve in curves.items()}
        certificate = certify(problem, schedule) if self.certify else None
        if self.json:
            extra = ({"best_source_steps": best} if best else {}) | ({"certificate": certificate.to_dict()} if certificate else {})
            print_json({"problem": repr(problem), "kernel": kernel.name, **outcome.to_dict(), **extra})
            return 0
        if not plain:
            print(f"kernel: {kernel.name}, initial weights of scale {self.init_scale:g}")
        _print_outcome(problem, outcome, decayed=schedule.weight_decay > 0)
        for name, steps in best.items():
            print(f"best length of pretraining for the {name.replace('_', ' ')}: {_steps(steps)}")
        if certificate is not None:
            print(f"\n{certificate}")
        return 0

    def _subset(self, pair: Any, limit: int | None, name: str) -> tuple[Any, Any]:
        """A random subset of at most `limit` points, and the rest (`None` if there is none)."""
        from sim.rng import generator

        X, y = pair
        if limit is None or limit >= len(X):
            return pair, None
        order: np.ndarray = generator(f"command line {name}", self.seed).permutation(len(X))
        return (X[order[:limit]], y[order[:limit]]), (X[order[limit:]], y[order[limit:]])


@dataclass(frozen=True, kw_only=True)
class SimList:
    """List the simulation experiments."""

    json: bool = False
    """Print JSON."""

    def run(self) -> int:
        """Print names and titles."""
        from sim.experiments import experiment, names

        list_titles({name: experiment(name).TITLE for name in names()}, self.json)
        return 0


@dataclass(frozen=True, kw_only=True)
class SimRun:
    """Run one simulation experiment, write its record and print its verdicts.

    An interrupted run goes on where it stopped: finished parts are kept in $PTOQ_CACHE, or else in the user's cache folder.
    """

    name: Positional[str]
    """Name of the experiment; see: ptoq sim list."""
    profile: Profile = "quick"
    """How much to run: smoke (seconds, too small to conclude), quick (minutes), standard (hours), full (a GPU's work)."""
    backend: Backend = "auto"
    """Array library."""
    jobs: int | None = None
    """Cores of this machine to use; without it, all. Results do not depend on it."""
    cluster: str | None = None
    """Address of a Dask scheduler, such as tcp://host:8786: its workers compute, with the same ptoq, in place of this machine's cores."""
    out: Path = OUT
    """Folder for the record, in its subfolder records/."""
    json: bool = False
    """Print the claims as JSON."""

    def run(self) -> int:
        """Run it; exit code 1 if a claim failed."""
        from sim import verdicts
        from sim.execution import execution
        from sim.experiments import run_experiment

        with execution(jobs=self.jobs, cluster=self.cluster):
            record = run_experiment(self.name, self.profile, self.out / "records", self.backend)
        return report(verdicts.claims_of([record]), self.json)


@dataclass(frozen=True)
class Sim:
    """Simulation experiments: list them, run one."""

    action: Annotated[SimList, subcommand("list")] | Annotated[SimRun, subcommand("run")]

    def run(self) -> int:
        """Pass on to the action."""
        return self.action.run()


def _steps(k: int | None) -> str:
    return "to the end" if k is None else f"{k} steps"


def _print_outcome(problem: TransferProblem, outcome: TransferOutcome, decayed: bool) -> None:
    assert problem.source is not None

    def row(name: str, pretrained: float | None, scratch: float | None, percent: bool = False) -> None:
        if pretrained is not None and scratch is not None:
            a, b = (f"{100 * v:.2f} %" if percent else f"{v:.5g}" for v in (pretrained, scratch))
            print(f"  {name:42s}{a:>12s}{b:>14s}")

    n_P, n_Q, d = len(problem.source[0]), len(problem.target[0]), problem.target[0].shape[1]
    n_T = "" if problem.test is None else f", {len(problem.test[0])} test points"
    print(f"{n_P} source points → {n_Q} target points, {d} inputs, {problem.n_outputs} output(s), {problem.label_kind} labels{n_T}")
    for name, steps, lr, rank, n in (
        ("source", outcome.source_steps, outcome.source_lr, outcome.source_rank, n_P),
        ("target", outcome.target_steps, outcome.target_lr, outcome.target_rank, n_Q),
    ):
        print(f"{name}: {_steps(steps)} at step size {lr:.4g}, Gram rank {'not computed' if rank is None else f'{rank} of {n}'}")
    if outcome.solver != "eigh":
        print(f"solved by {outcome.solver}" + (f": {outcome.solver_reason}" if outcome.solver_reason else ""))
    print()
    print(f"  {'':42s}{'pretrained':>12s}{'from scratch':>14s}")
    row("gradient energy before fine-tuning", outcome.gradient_energy, outcome.gradient_energy_scratch)
    row("distance the weights move", outcome.displacement, outcome.displacement_scratch)
    if outcome.displacement is None:
        print(f"  distance the weights move: undefined, because {outcome.displacement_reason}")
    row("target loss after fine-tuning", outcome.target_loss, outcome.target_loss_scratch)
    row("test error rate", outcome.test_error, outcome.test_error_scratch, percent=True)
    row("mean squared test error", outcome.test_mse, outcome.test_mse_scratch)
    print(f"\nforgetting: fine-tuning takes the source loss from {outcome.source_loss_pretrained:.5g} to {outcome.source_loss:.5g}")
    if outcome.gain is None:
        print(f"gain: undefined, because {outcome.gain_reason}")
    else:
        meaning = "transfer helps" if outcome.gain > 0 else "transfer hurts" if outcome.gain < 0 else "nothing transfers"
        how = "without decay, " if decayed else ""
        print(f"gain: {100 * outcome.gain:+.2f} % ({meaning}: the weights move by that share less, {how}fine-tuning to the end)")
    if not outcome.stable:
        print("warning: a step size is above the largest stable one; the numbers may describe a diverging run")
