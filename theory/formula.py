"""What an entry of the registry is made of: a derivation, a definition, a numeric twin, a domain and its evidence.

Nothing here computes. `theory.checking` compares the parts, `theory.registry` lists the entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal, get_args

from theory.errors import InvalidInput

Expression = Any
"""A SymPy expression or explicit matrix. Typed as `Any`, so that this module does not import SymPy."""

Case = Mapping[str, Any]
"""One admissible set of values: floats, whole numbers, `None` for "to the end", nested lists of floats."""

Values = list[Any]
"""Flat numbers: mpmath reals, floats, ints or bools, and `None` where a quantity is undefined."""

Method = Literal["identity", "expand", "simplify", "evaluate", "numbers"]
"""How a step is shown to hold for all values.

`identity`: both sides are the same expression once abbreviations are written out; `expand`: their difference multiplies out to
zero; `simplify`: it simplifies to zero; `evaluate`: integrals, sums, limits and derivatives are carried out first; `numbers`: not
shown symbolically, only checked at 50 digits.
"""

Relation = Literal["=", "≤"]
"""What a step says of its two sides. For `≤`, methods apply to right less left, which must come out as visibly not negative."""

EvidenceKind = Literal["exact", "monte-carlo", "rate", "frequency", "none"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One equality of a derivation, or one inequality.

    Attributes
    ----------
    rule : str
        What is used: the name of the definition, theorem or manipulation.
    left, right : expressions
        The two sides.
    method : Method
        How it is shown; every step is also evaluated at 50 digits.
    opens : bool
        Whether this step starts a new line; otherwise `left` is the step before's `right`.
    relation : "=" or "≤"
        The latter between numbers only.
    """

    rule: str
    left: Expression
    right: Expression
    method: Method = "simplify"
    opens: bool = False
    relation: Relation = "="


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A derivation: lines of equalities and inequalities, the abbreviations they use, and the results they end in.

    Attributes
    ----------
    title : str
    steps : tuple of Step
    results : mapping of str to expression
        Named closed forms; each is the right side of some step.
    where : mapping of symbol to expression
        Abbreviations, such as `H = F Fᵀ`; written out before a step is shown.
    ranges : mapping of symbol to a function of `Random`
        Admissible values for symbols whose range differs from the one `theory.symbolic.notation` gives them.
    """

    title: str
    steps: tuple[Step, ...]
    results: Mapping[str, Expression]
    where: Mapping[Expression, Expression] = field(default_factory=dict)
    ranges: Mapping[Expression, Callable[[Random], Any]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Domain:
    """Where a formula holds, and a sampler of admissible cases.

    Attributes
    ----------
    description : str
        The condition, in words and symbols.
    draw : function of (Random, int)
        The case of the given index; sweeps special cases (`k = 0`, the limit, singular matrices) by index.
    cases : int
        How many cases a check takes.
    """

    description: str
    draw: Callable[[Random, int], Case]
    cases: int

    def drawn(self, name: str) -> Iterator[Case]:
        """The cases for the entry `name`, the same in every run and whatever other entries are checked."""
        for index in range(self.cases):
            yield self.draw(Random(f"{name}/{index}"), index)


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How far the float64 twin may be from the 50-digit value.

    Attributes
    ----------
    kind : "exact" or "dtype"
        `exact`: within `multiple` ulps of the value. `dtype`: within `multiple · eps · scale(case)`.
    multiple : float
    scale : function of a case, for `dtype` only; one number, or one for each value
        Size of the value times the condition number of the problem: what an eps of error in the input, or in a backward
        stable factorisation, does to the output.
    scale_text : str
        The same as a formula.
    """

    kind: Literal["exact", "dtype"]
    multiple: float
    scale: Callable[[Case], float | list[float]] | None = None
    scale_text: str = ""

    def __post_init__(self) -> None:
        if (self.scale is None) != (self.kind == "exact") or bool(self.scale_text) != (self.kind == "dtype"):
            raise InvalidInput(f"tolerance {self.kind!r} was given scale={self.scale!r}; dtype needs a scale and its text, exact has none")

    def __str__(self) -> str:
        return f"exact: {self.multiple:g} ulp" if self.kind == "exact" else f"dtype: {self.multiple:g} · eps · {self.scale_text}"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What besides algebra speaks for an entry.

    Attributes
    ----------
    kind : EvidenceKind
        `exact`: the definition, run literally, equals the closed form (the check itself). `monte-carlo`: a z-test of a mean
        over finite nets. `rate`: the exponent of an error against width. `frequency`: how often a bound holds. `none`.
    detail : str
        What is compared with what; for `none` the reason why nothing is.
    """

    kind: EvidenceKind
    detail: str

    def __post_init__(self) -> None:
        if self.kind not in get_args(EvidenceKind):
            raise InvalidInput(f"evidence kind is {self.kind!r}; one of {', '.join(get_args(EvidenceKind))} is allowed")
        if not self.detail.strip():
            raise InvalidInput(f"evidence of kind {self.kind!r} has no detail; what is compared, or why nothing is, must be said")

    @property
    def from_outside(self) -> bool:
        """Whether a simulation or a real network has to supply it."""
        return self.kind in ("monte-carlo", "rate", "frequency")


@dataclass(frozen=True, kw_only=True)
class Supplied:
    """Evidence that `sim` or `realnets` supplies for an entry: its kind, and the dotted name of what produces it."""

    kind: EvidenceKind
    where: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A formula bound to everything that must agree with it.

    Attributes
    ----------
    name, title : str
    statement : str
        The formula, with the meaning of its symbols.
    derivation : function
        Builds the `Chain`.
    closed_form : function of (Chain, Case)
        The chain's results evaluated for a case, at the working precision of mpmath.
    twin : function
        The public float64 function that users call.
    call : function of (twin, Case)
        Calls the twin for a case and flattens what it returns.
    definition : function of a Case
        The quantity from first principles, at the working precision of mpmath; its docstring says how.
    tolerance, domain, evidence
    source : str
    """

    name: str
    title: str
    statement: str
    derivation: Callable[[], Chain]
    closed_form: Callable[[Chain, Case], Values]
    twin: Callable[..., Any]
    call: Callable[[Callable[..., Any], Case], Values]
    definition: Callable[[Case], Values]
    tolerance: Tolerance
    domain: Domain
    evidence: Evidence
    source: str

    @property
    def twin_name(self) -> str:
        """Dotted name of the twin."""
        return dotted_name(self.twin)

    @property
    def definition_text(self) -> str:
        """The definition's docstring, on one line."""
        return " ".join((self.definition.__doc__ or "").split())


@dataclass(frozen=True, kw_only=True)
class Bound:
    """An inequality with its derivation, what it bounds, and how both are drawn.

    Attributes
    ----------
    name, title : str
    statement : str
        The inequality, with the meaning of its symbols.
    derivation : function
        Builds the `Chain` that ends in the inequality, or in what is left of it once the cited theorems are used.
    twin : function
        The public function that evaluates the bound.
    pairs : function of (twin, Case)
        What is bounded, from first principles, each with its bound by the twin; its docstring says how. A case of a bound that holds
        with a probability has a `"seed"` besides what the domain draws.
    domain, evidence
    source : str
    delta : float, optional
        The probability with which a case may fail; `None` for what always holds.
    """

    name: str
    title: str
    statement: str
    derivation: Callable[[], Chain]
    twin: Callable[..., Any]
    pairs: Callable[[Callable[..., Any], Case], list[tuple[float, float]]]
    domain: Domain
    evidence: Evidence
    source: str
    delta: float | None = None

    @property
    def twin_name(self) -> str:
        """Dotted name of the twin."""
        return dotted_name(self.twin)

    @property
    def definition_text(self) -> str:
        """The docstring of `pairs`, on one line."""
        return " ".join((self.pairs.__doc__ or "").split())


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One part of an entry that broke: `derivation`, `twin`, `definition`, `bound` or `domain`, which one by name, and how."""

    part: str
    name: str
    message: str

    def __str__(self) -> str:
        return f"{self.part} {self.name}: {self.message}"


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """Outcome of checking one entry.

    Attributes
    ----------
    name : str
    evidence : str
        The declared kind.
    max_error : float
        Largest distance of twin and definition over the cases, in units of the value (tolerance `exact`) or of the
        tolerance's scale (`dtype`). For a bound, by what share the largest excess is above it: 0 where it holds.
    steps, cases : int
        Derivation steps and drawn cases that were checked.
    seconds : float
    failures : tuple of Failure
        Empty when everything agrees.
    slack : float, optional
        For a bound: least share of it that what it bounds leaves free; negative where one with a probability was exceeded.
    exceeded : int
        Cases in which a bound with a probability was.
    """

    name: str
    evidence: str
    max_error: float
    steps: int
    cases: int
    seconds: float
    failures: tuple[Failure, ...]
    slack: float | None = None
    exceeded: int = 0

    @property
    def passed(self) -> bool:
        """Whether nothing broke."""
        return not self.failures


def dotted_name(function: Callable[..., Any]) -> str:
    """`module.qualified_name` of a function or method."""
    return f"{function.__module__}.{getattr(function, '__qualname__', repr(function))}"
