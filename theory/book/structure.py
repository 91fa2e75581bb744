"""What the book holds, before any format: chapters of sections, the symbols they use, what they build on and cite, and an index.

Texts stay plain and equations stay SymPy; a writer reads the ones with `theory.book.formulas` and draws the others with
`theory.book.expressions`. An attribute that an entry lacks is left empty, and a writer leaves its place out.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from theory.book import references
from theory.book.conventions import Block, conventions
from theory.book.symbols import Symbol, shared_symbols, symbols_of
from theory.book.works import Work, alphabetical
from theory.formula import Bound, Chain, CheckResult, Entry, Expression, Failure, Method, Step, dotted_name

TITLE = "Transfer in the kernel regime"
SUBTITLE = "Every formula, derived step by step"

CHAPTERS = {
    "kernel": "The ReLU Gram function",
    "kernels": "Kernels of other activations, and of deep nets",
    "filters": "Filters of gradient descent and gradient flow",
    "stage": "One stage of training",
    "transfer": "Two stages: pretraining and fine-tuning",
    "similarity": "Suppressed modes, and the best relabelling of a source",
    "symmetries": "Symmetries and exact special cases",
    "pretraining": "How long to pretrain",
    "stage_theory": "What decides whether pretraining turns",
    "sphere": "Uniform inputs on the sphere",
    "population": "Infinitely many samples",
    "landscape": "The loss along the gradient",
    "optimisers": "Momentum, varying steps and minibatches",
    "penalties": "Weight decay in one stage",
    "penalised_transfer": "Weight decay in both stages",
    "cross_entropy": "The cross-entropy",
    "generalisation": "Generalisation and cross-validation",
    "chains": "Chains of stages, and joint training",
    "average": "Averages over teachers",
    "initialisation": "The random start",
    "random_start": "What a random start adds to theorem 1",
    "drift": "The drift from the frozen kernel",
    "ruled_out": "What the kernel theory rules out",
    "bounds_metric": "The two metrics of similarity",
    "bounds_run": "Bounds on a run whose kernel is near H",
    "bounds_chance": "Bounds over the random start",
    "enclosures": "Enclosures behind certified numbers",
}
"""Chapter titles by the module of `theory.entries` that lists the entries; another module's is read off its docstring."""

METHODS: Mapping[Method, str] = {
    "identity": "the same once abbreviations are written out",
    "expand": "multiplied out",
    "simplify": "simplified",
    "evaluate": "evaluated",
    "numbers": "checked at 50 digits only",
}
"""How a step was shown, beside its check at 50 digits."""

STATED = "stated: both sides are one expression"
"""For a step whose rule alone says something: what it equates is the same to SymPy before anything is shown."""


def how(step: Step) -> str:
    """How a step was shown, in words."""
    return STATED if step.left == step.right else METHODS[step.method]


_STOP = {
    "after", "about", "along", "among", "before", "between", "both", "each", "every", "from", "into", "mean", "over", "quantity", "that",
    "their", "them", "these", "they", "this", "what", "when",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Section:
    """One entry."""

    number: str
    name: str
    title: str
    bound: bool
    statement: str
    steps: tuple[Step, ...]
    results: tuple[tuple[str, Expression], ...]
    symbols: tuple[Symbol, ...]
    derivation: str
    definition: str
    twin: str
    tolerance: str
    probability: str
    domain: str
    evidence: str
    source: tuple[tuple[str, str], ...]
    """Pieces of the source with the key of the work each cites, or an empty key."""
    uses: tuple[str, ...]
    used_by: tuple[str, ...]
    check: CheckResult | None

    @property
    def failures(self) -> tuple[Failure, ...]:
        """What the check found broken."""
        return () if self.check is None else self.check.failures

    @property
    def abbreviations(self) -> tuple[Symbol, ...]:
        """The symbols that stand for an expression."""
        return tuple(s for s in self.symbols if s.value is not None)

    @property
    def verdict(self) -> str:
        """What the check found; empty without one."""
        if self.check is None:
            return ""
        counts = f"{_counted(self.check.steps, 'step', 'steps')}, {_counted(self.check.cases, 'case', 'cases')}"
        return f"passed: {counts}" if self.check.passed else f"broken: {counts}, {len(self.check.failures)} broke"


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """Entries of one subject."""

    number: int
    title: str
    sections: tuple[Section, ...]


@dataclass(frozen=True, kw_only=True)
class IndexTerm:
    """A term, whether it is a name of the program, and the names of the sections it stands in."""

    term: str
    code: bool
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Book:
    """All that a writer needs."""

    title: str
    subtitle: str
    version: str
    chapters: tuple[Chapter, ...]
    conventions: tuple[Block, ...]
    symbols: tuple[Symbol, ...]
    works: tuple[Work, ...]
    index: tuple[IndexTerm, ...]
    checked: bool

    @property
    def sections(self) -> tuple[Section, ...]:
        """Of all chapters, in order."""
        return tuple(section for chapter in self.chapters for section in chapter.sections)

    @property
    def by_name(self) -> Mapping[str, Section]:
        """Sections by the name of their entry."""
        return {section.name: section for section in self.sections}

    @property
    def broken(self) -> tuple[str, ...]:
        """Names of entries whose check failed."""
        return tuple(s.name for s in self.sections if s.check is not None and not s.check.passed)

    @property
    def introduction(self) -> str:
        """What the book is, in a sentence, with its counts."""
        bounds = sum(s.bound for s in self.sections)
        steps = [step for s in self.sections for step in s.steps]
        stated = sum(how(step) == STATED for step in steps)
        numeric = sum(how(step) == METHODS["numbers"] for step in steps)
        formulas = len(self.sections) - bounds
        what = _counted(formulas, "formula", "formulas") + (f" and {_counted(bounds, 'bound', 'bounds')}" if bounds else "")
        return (
            f"{what} of pretraining on P and fine-tuning on Q, in {_counted(len(steps), 'step', 'steps')}. Every step names its rule: "
            f"{len(steps) - numeric - stated} are shown symbolically, for all values, {numeric} are checked at 50 digits only, "
            f"and {stated} state their rule alone, because SymPy holds both sides for one expression. Every formula is held against its "
            "definition from first principles at 50 digits and against the float64 code for users, every bound against what it bounds."
        )

    @property
    def verdict(self) -> str:
        """What a check found, or how to run one."""
        if not self.checked:
            return "This book shows what is derived and checks nothing itself: run `ptoq theory check`, or write it with `--check`."
        passed = len(self.sections) - len(self.broken)
        broken = f" Broken: {', '.join(f'`{name}`' for name in self.broken)}." if self.broken else ""
        return f"Checked when written: {passed} of {len(self.sections)} passed.{broken}"

    def place(self, key: str) -> int:
        """Number of a work in the list of works."""
        return next(number for number, work in enumerate(self.works, start=1) if work.key == key)

    @staticmethod
    def anchor(key: str) -> str:
        """A work's key as part of a link."""
        return "-".join(re.findall(r"\w+", unicodedata.normalize("NFKD", key).encode("ascii", "ignore").decode().lower()))

    def cites(self, key: str) -> tuple[Section, ...]:
        """The sections that cite a work."""
        return tuple(s for s in self.sections if key in (k for _, k in s.source))


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def chosen(names: Sequence[str]) -> tuple[Entry | Bound, ...]:
    """Entries and bounds of these names in the order of the registry, all when none is named.

    Raises
    ------
    InvalidInput
        For an unknown name.
    """
    from theory import registry

    wanted = {item.name for item in registry.select(names)}
    return tuple(item for item in registry.select(()) if item.name in wanted)


def build(names: Sequence[str] = (), checks: Mapping[str, CheckResult] | None = None) -> Book:
    """The book of the named entries, of all when none is named.

    Parameters
    ----------
    checks : mapping of name to check result, optional
        What `ptoq theory check` found; without it the book says how to check.

    Raises
    ------
    InvalidInput
        For an unknown name.
    """
    items = chosen(names)
    # What builds on what is read off the whole registry, so that a part of the book links as the whole does.
    everything = chosen(())
    chains = {item.name: item.derivation() for item in everything}
    uses = references.uses(
        chains,
        {item.name: getattr(item, "uses", ()) for item in everything},
        {item.name: " ".join([item.statement, *(step.rule for step in chains[item.name].steps)]) for item in everything},
    )
    chapters = []
    for number, (title, members) in enumerate(_grouped(items).items(), start=1):
        sections = tuple(
            _section(f"{number}.{place}", item, chains[item.name], uses, (checks or {}).get(item.name))
            for place, item in enumerate(members, start=1)
        )
        chapters.append(Chapter(number=number, title=title, sections=sections))
    sections_of_all = [section for chapter in chapters for section in chapter.sections]
    return Book(
        title=TITLE,
        subtitle=SUBTITLE,
        version=version("ptoq"),
        chapters=tuple(chapters),
        conventions=conventions(),
        symbols=shared_symbols(section.symbols for section in sections_of_all),
        works=references.bibliography(item.source for item in items),
        index=_index(sections_of_all),
        checked=checks is not None,
    )


def _grouped(items: Iterable[Entry | Bound]) -> dict[str, list[Entry | Bound]]:
    """Entries by chapter title, chapters in the order of their first entry."""
    homes: dict[str, Any] = {}
    for name, module in list(sys.modules.items()):
        if name.startswith("theory.entries."):
            for listed in (*getattr(module, "ENTRIES", ()), *getattr(module, "BOUNDS", ())):
                homes.setdefault(listed.name, module)
    groups: dict[str, list[Entry | Bound]] = {}
    for item in items:
        groups.setdefault(_chapter_title(homes.get(item.name)), []).append(item)
    return groups


def _chapter_title(module: Any) -> str:
    if module is None:
        return "Further results"
    short = module.__name__.rpartition(".")[2]
    if short in CHAPTERS:
        return CHAPTERS[short]
    # "Entries of the loss along the gradient: …" is the chapter "The loss along the gradient".
    first = (module.__doc__ or short).strip().split("\n")[0]
    subject = re.sub(r"^(Entries|Bounds)( of| on|:)?\s+", "", first).split(":")[0].split(";")[0].rstrip(".")
    return subject[:1].upper() + subject[1:]


def _section(number: str, item: Any, chain: Chain, uses: Mapping[str, tuple[str, ...]], check: CheckResult | None) -> Section:
    domain = getattr(item, "domain", "")
    evidence = getattr(item, "evidence", None)
    delta = getattr(item, "delta", None)
    twin = getattr(item, "twin", None)
    return Section(
        number=number,
        name=item.name,
        title=item.title,
        bound=isinstance(item, Bound),
        statement=item.statement,
        steps=chain.steps,
        results=tuple(chain.results.items()),
        symbols=symbols_of(chain, item.derivation.__module__),
        derivation=item.derivation.__module__,
        definition=getattr(item, "definition_text", ""),
        twin="" if twin is None else dotted_name(twin),
        tolerance=str(getattr(item, "tolerance", "")),
        probability="" if delta is None else f"at least {1 - delta:g} for each case",
        domain=getattr(domain, "description", str(domain)),
        evidence="" if evidence is None else f"{evidence.kind}: {evidence.detail}",
        source=references.cited(item.source) if getattr(item, "source", "") else (),
        uses=uses[item.name],
        used_by=tuple(other for other, used in uses.items() if item.name in used),
        check=check,
    )


def _index(sections: Sequence[Section]) -> tuple[IndexTerm, ...]:
    """Words of titles, names of entries and twins, and cited works, each with its sections."""
    found: dict[tuple[str, bool], dict[str, None]] = {}
    for section in sections:
        terms = [(word.lower() if word[1:].islower() else word, False) for word in re.findall(r"[A-Za-z][A-Za-z'-]{3,}", section.title)]
        terms += [(section.name, True), (section.twin.rpartition(".")[2], True)]
        terms += [(key, False) for _, key in section.source]
        for term, code in terms:
            if term and term not in _STOP:
                found.setdefault((term, code), {})[section.name] = None
    ordered = sorted(found, key=lambda pair: (alphabetical(pair[0]).lstrip("_"), pair))
    return tuple(IndexTerm(term=term, code=code, names=tuple(found[term, code])) for term, code in ordered)
