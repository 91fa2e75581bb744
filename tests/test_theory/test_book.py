"""The book of derivations: all of the registry in three formats, set as mathematics, linked, escaped, whole or not there."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

import ptoq
from theory import registry
from theory.book import expressions, formulas, html, latex, layout, markdown, mathml, references, structure, symbols, tex, works
from theory.book.nodes import Fenced, Fraction, Letter, Number, Operator, Root, Row, Scripts, Table, row
from theory.book.writing import destination, write_book
from theory.errors import InvalidInput
from theory.formula import CheckResult, Failure
from theory.symbolic import notation

NAMES = registry.names()
PART = ("relu_gram", "spectral_filter", "loss_range_along_gradient")


@pytest.fixture(scope="module")
def book():
    return structure.build()


@pytest.fixture(scope="module")
def pages(book):
    return {"html": html.write(book), "latex": latex.write(book), "md": markdown.write(book)}


class Page(HTMLParser):
    """Anchors, links, and the text outside styles and code."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.text, self.code, self.open = [], [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [attributes["href"]] if tag == "a" else []
        if tag not in ("meta", "wbr", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "code"} & set(self.open):
            self.text.append(data)


# All of the registry


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_is_in_every_format(pages, book, name):
    section = book.by_name[name]
    assert f'<h3 id="{name}">' in pages["html"]
    assert rf"\label{{sec:{name}}}" in pages["latex"]
    assert f'<a id="{name}"></a>' in pages["md"]
    for write, page in ((html.prose, "html"), (latex.prose, "latex"), (markdown.prose, "md")):
        assert str(write(section.statement)) in pages[page]
        for step in section.steps:
            assert str(write(step.rule)) in pages[page]
    for step in section.steps:
        assert html.step(step) in pages["html"] and markdown.step(step) in pages["md"]
        assert all(line in pages["latex"] for line in latex.step(step))


def test_sections_keep_the_order_of_the_registry_within_chapters(book):
    position = {name: number for number, name in enumerate(NAMES)}
    for chapter in book.chapters:
        places = [position[section.name] for section in chapter.sections]
        assert places == sorted(places)
    assert sorted(position) == sorted(section.name for section in book.sections)


def test_chapters_are_the_modules_that_list_the_entries(book):
    by_chapter = {chapter.title: [s.name for s in chapter.sections] for chapter in book.chapters}
    assert by_chapter["The ReLU Gram function"][0] == "relu_gram"
    assert "Further results" not in by_chapter


def test_html_is_well_formed_and_every_link_resolves(pages):
    page = Page(pages["html"])
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    for link in page.links:
        assert link[1:] in page.ids if link.startswith("#") else link.startswith("https://arxiv.org/abs/"), link


def test_html_loads_nothing_and_runs_nothing(pages):
    assert not re.search(r"<(script|link|img|iframe|object)\b|\bsrc=|@import|url\(", pages["html"])


def test_every_formula_is_well_formed_mathml(pages):
    found = re.findall(r"<math.*?</math>", pages["html"], re.DOTALL)
    assert len(found) > 10 * len(NAMES)
    fixed = {"mfrac": 2, "mroot": 2, "msub": 2, "msup": 2, "munder": 2, "mover": 2, "msubsup": 3, "munderover": 3}
    for formula in set(found):
        for element in ElementTree.fromstring(formula).iter():
            assert len(element) == fixed.get(element.tag, len(element)), formula
            if element.tag in ("mi", "mn", "mo", "mtext"):
                assert element.text


def test_no_raw_symbol_names_leak_into_typeset_text(pages):
    text = "\n".join(Page(pages["html"]).text)
    assert not (found := re.search(r".*[A-Za-z)](_|\^)[A-Za-z0-9{(].*", text)), found
    spelt = (
        r"alpha|beta|gamma|delta|epsilon|eta|theta|kappa|lambda|mu|rho|sigma|phi|omega|Sum|Product|Integral|Subs|Derivative|Matrix|Limit"
    )
    for word in set(re.findall(r"<m[io][^>]*>([^<]*)<", pages["html"])):
        assert not re.fullmatch(rf".*_.*|.+\^.*|{spelt}", word), word


def test_latex_and_markdown_links_resolve(pages):
    labels = set(re.findall(r"\\label\{([^}]*)\}", pages["latex"]))
    assert set(re.findall(r"\\(?:ref\*?|pageref|hyperref)(?:\{|\[)([^]}]*)[]}]", pages["latex"])) <= labels
    targets = set(re.findall(r"\\hypertarget\{([^}]*)\}", pages["latex"]))
    assert set(re.findall(r"\\hyperlink\{([^}]*)\}", pages["latex"])) <= targets
    anchors = set(re.findall(r'<a id="([^"]*)">', pages["md"]))
    links = re.findall(r"\]\(([^)]*)\)", pages["md"])
    assert len(links) > 5 * len(NAMES)
    assert all(link[1:] in anchors or link.startswith("https://arxiv.org/abs/") for link in links)


def test_latex_is_ascii_with_balanced_braces_and_environments(pages):
    assert pages["latex"].isascii()
    bare = re.sub(r"\\[{}\\]", "", pages["latex"])
    assert bare.count("{") == bare.count("}")
    opened = re.findall(r"\\begin\{(\w+)\}", pages["latex"])
    assert sorted(opened) == sorted(re.findall(r"\\end\{(\w+)\}", pages["latex"]))
    assert pages["latex"].count(r"\left") - pages["latex"].count(r"\leftarrow") == len(re.findall(r"\\right(?!arrow)", pages["latex"]))


def test_markdown_mathematics_has_no_escapes_that_markdown_would_eat(pages):
    formulas_found = re.findall(r"\$\$(.*?)\$\$|(?<![\\$])\$([^$]+?)\$", pages["md"])
    assert len(formulas_found) > 10 * len(NAMES)
    for formula in (a or b for a, b in formulas_found):
        assert not re.search(r"\\[^A-Za-z]|[<>]|\n", formula), formula


def test_dollars_enclose_formulas_in_pairs(pages):
    for line in pages["md"].split("\n"):
        assert len(re.findall(r"(?<!\\)\$", line)) % 2 == 0, line


@pytest.mark.parametrize("program", ["pdflatex", "xelatex"])
def test_latex_compiles(pages, tmp_path, program):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed: the LaTeX book is not compiled with it")
    (tmp_path / "book.tex").write_text(pages["latex"], encoding="ascii")
    for _ in range(2):
        done = subprocess.run(
            [program, "-interaction=nonstopmode", "-halt-on-error", "book.tex"], cwd=tmp_path, capture_output=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    assert (tmp_path / "book.pdf").stat().st_size > 50_000
    log = (tmp_path / "book.log").read_text(encoding="utf-8", errors="replace")
    assert "Missing character" not in log
    # What sticks out of the margin by more than two ems was not broken.
    assert [width for width in map(float, re.findall(r"Overfull \\hbox \(([\d.]+)pt", log)) if width > 20] == []


def test_the_book_is_the_same_bytes_in_every_process(tmp_path):
    """Whatever the order in which Python hashes strings and SymPy meets its symbols."""
    code = "from theory.book.writing import write_book; [write_book(None, format) for format in ('html', 'latex', 'md')]"
    digests = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(ptoq.__file__).parent)}
        subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, env=environment)
        digests.append({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "ptoq-out").iterdir()})
    assert digests[0] == digests[1]
    assert sorted(digests[0]) == ["theory.html", "theory.md", "theory.tex"]


# What a section says


def test_a_section_holds_the_parts_of_its_entry(book):
    section = book.by_name["fine_tuning_displacement"]
    entry = registry.get("fine_tuning_displacement")
    assert section.twin == entry.twin_name
    assert section.definition == entry.definition_text
    assert section.tolerance == str(entry.tolerance)
    assert section.evidence.startswith(entry.evidence.kind)
    assert section.source[0] == ("arXiv 1909.12031, weights stay close", "Liu et al. 2019")
    assert not section.bound


@pytest.mark.skipif(not registry.BOUNDS, reason="the registry holds no bound")
def test_bounds_are_told_from_formulas(book, pages):
    bound = registry.BOUNDS[0]
    section = book.by_name[bound.name]
    assert section.bound and section.tolerance == "" and section.definition == bound.definition_text
    assert f"{len(registry.ENTRIES)} formulas and {len(registry.BOUNDS)} bounds" in pages["html"]
    with_delta = [b for b in registry.BOUNDS if b.delta is not None]
    assert [book.by_name[b.name].probability for b in with_delta] == [f"at least {1 - b.delta:g} for each case" for b in with_delta]


def test_an_entry_without_some_parts_is_written_without_them(monkeypatch):
    class Bare:
        name, title, statement = "bare", "Bare", "a = b"
        derivation = staticmethod(registry.get("residual").derivation)

    monkeypatch.setattr(structure, "chosen", lambda names: (Bare(),))
    monkeypatch.setattr(references, "bibliography", lambda sources: ())
    page = html.write(structure.build())
    assert '<h3 id="bare">' in page
    for absent in ("In float64", "<dt>Domain", "<dt>Evidence", "<dt>Source", "<dt>Definition"):
        assert absent not in page


def test_steps_say_how_they_were_shown(book, pages):
    shown = [step.method for section in book.sections for step in section.steps]
    for method, words in structure.METHODS.items():
        assert pages["html"].count(f'<span class="how {method}">{words}</span>') == shown.count(method)
    assert f"{len(shown) - shown.count('numbers')} are shown symbolically" in book.introduction


def test_inequalities_are_written_as_such():
    x = sp.Symbol("x", nonnegative=True)
    step = notation.line(x, ("more", x + 1, "expand", "≤"))[0]
    assert "≤" in str(html.step(step))
    assert latex.step(step) == [r"x \le 1 + x"]


def test_the_verdict_of_a_check_is_in_the_book():
    def result(name, failures=()):
        return CheckResult(name=name, evidence="exact", max_error=0.0, steps=3, cases=4, seconds=0.1, failures=failures)

    checks = {name: result(name) for name in PART}
    checks["relu_gram"] = result("relu_gram", (Failure(part="twin", name="f", message="differs by 1 < 2 & more"),))
    checked = structure.build(PART, checks)
    assert checked.broken == ("relu_gram",)
    assert "2 of 3 passed" in checked.verdict
    page = html.write(checked)
    assert "differs by 1 &lt; 2 &amp; more" in page and "passed: 3 steps, 4 cases" in page
    assert "twin f: differs by" in latex.write(checked).replace("$", "") and "differs by $1 \\lt 2$" in markdown.write(checked)
    assert "ptoq theory check" in structure.build(PART).verdict


# References


def test_entries_build_on_the_results_that_occur_in_them(book):
    assert "residual_filter" in book.by_name["residual"].uses
    assert "residual" in book.by_name["residual_filter"].used_by
    assert "relu_gram" in book.by_name["relu_gram_near_parallel"].uses
    position = {name: number for number, name in enumerate(NAMES)}
    for section in book.sections:
        assert section.name not in section.uses
        assert all(section.name in book.by_name[other].used_by for other in section.uses)
        assert list(section.uses) == sorted(section.uses, key=position.__getitem__)


def test_declared_and_named_uses_count_even_forwards():
    chains = {name: registry.get(name).derivation() for name in ("stable_step", "transfer_gain", "negative_transfer")}
    plain = references.uses(chains, {}, {})
    assert plain["stable_step"] == () and plain["negative_transfer"] == ()
    declared = references.uses(chains, {"stable_step": ("negative_transfer", "no_entry")}, {"negative_transfer": "see `transfer_gain`"})
    assert declared["stable_step"] == ("negative_transfer",)
    assert declared["negative_transfer"] == ("transfer_gain",)


@pytest.mark.parametrize(
    ("source", "keys"),
    [
        ("Cho and Saul 2009, degree 0; Du et al. 2018 (arXiv 1810.02054), eq. (3)", ["Cho and Saul 2009", "Du et al. 2018"]),
        ("Kahan, How futile are mindless assessments of roundoff, 2006, section 12", ["Kahan 2006"]),
        ("arXiv 1909.12031, weights stay close", ["Liu et al. 2019"]),
        ("arXiv 2001.00001, a work not listed", ["arXiv 2001.00001"]),
        ("Golub, Heath and Wahba 1979", ["Golub, Heath and Wahba 1979"]),
        ("The sum of the steps' residuals; |1 − ηλ| ≤ 1", ["", ""]),
    ],
)
def test_sources_name_works(source, keys):
    assert [key for _, key in references.cited(source)] == keys
    assert "; ".join(piece for piece, _ in references.cited(source)) == source


def test_the_bibliography_holds_each_cited_work_once(book):
    keys = [work.key for work in book.works]
    assert keys == sorted(set(keys), key=str.casefold)
    assert set(keys) == {key for section in book.sections for _, key in section.source if key}
    assert all(book.cites(key) for key in keys)


def test_known_works_are_in_order_and_cited(book):
    keys = [work.key for work in works.KNOWN]
    assert keys == sorted(keys, key=str.casefold)
    assert set(keys) <= {work.key for work in book.works}


def test_the_index_leads_from_words_names_and_works_to_sections(book):
    terms = {(entry.term, entry.code): entry.names for entry in book.index}
    assert terms["residual", False][0] == "residual_filter"
    assert terms["fine_tuning", True] == ("fine_tuning",)
    assert "residual" in terms["Arora et al. 2019", False]
    assert {name for names in terms.values() for name in names} == set(NAMES)
    assert [e.term.casefold() for e in book.index] == sorted(e.term.casefold() for e in book.index)


# Symbols


def test_every_shared_symbol_has_a_meaning_and_stands_in_the_table(book):
    shared = {value for name, value in vars(notation).items() if isinstance(value, sp.Symbol) and value not in notation.TRANSPOSES}
    assert shared == set(notation.MEANINGS)
    used = {s.symbol for section in book.sections for s in section.symbols if s.meaning}
    assert [s.symbol for s in book.symbols] == [s for s in notation.MEANINGS if s in used]


def test_a_section_lists_each_symbol_of_its_derivation(book):
    for section in book.sections:
        listed = {s.symbol for s in section.symbols}
        for step in section.steps:
            for symbol in step.left.free_symbols | step.right.free_symbols:
                assert notation.TRANSPOSES.get(symbol, symbol) in listed


def test_a_meaning_holds_only_where_the_symbol_was_imported(book):
    # The r of the polar coordinates is not the r of a residual.
    meanings = {name: {s.symbol.name: s.meaning for s in book.by_name[name].symbols} for name in ("relu_gram", "gradient_energy")}
    assert meanings["relu_gram"]["r"] == notation.MEANINGS[notation.radius]
    assert meanings["gradient_energy"]["r"] == ""


@pytest.mark.parametrize(
    ("symbol", "words"),
    [
        (sp.Symbol("a", real=True), "real"),
        (sp.Symbol("a", positive=True), "positive"),
        (sp.Symbol("a", nonnegative=True), "not negative"),
        (sp.Symbol("n", integer=True, positive=True), "whole, positive"),
        (notation.k, "whole, not negative"),
        (notation.F_P, "matrix"),
        (notation.l_P, "column"),
        (notation.h_P, "row"),
    ],
)
def test_kinds_of_symbols(symbol, words):
    assert symbols.kind(symbol) == words


def test_conventions_are_the_page_itself(book):
    text = (Path(notation.__file__).parent.parent / "CONVENTIONS.md").read_text(encoding="utf-8")
    tables = [block for block in book.conventions if block.heads]
    assert sum(len(table.rows) for table in tables) == len(re.findall(r"^\|", text, re.MULTILINE)) - 2 * len(tables)
    assert all(len(cells) == len(table.heads) for table in tables for cells in table.rows)
    assert [block.heading for block in book.conventions if block.heading] == re.findall(r"^## (.*)$", text, re.MULTILINE)


# Formulas in plain text


def as_text(text):
    parts = []
    for span in formulas.read(text):
        parts.append(span.text if isinstance(span, (formulas.Prose, formulas.Code)) else f"${tex.formula(span)}$")
    return "".join(parts)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Residual after k steps", "Residual after $k$ steps"),
        ("a mode after a step", "a mode after a step"),
        ("residual a before, a − b after", "residual $a$ before, $a - b$ after"),
        ("y − u(k) = (I − ηH)^k y", r"$y - u (k) = (I - \eta H)^{k}  y$"),
        ("(1 − ηλᵢ)^{2k}", r"$(1 - \eta \lambda_{i})^{2 k}$"),
        ("√(yᵀH⁺y) and √λ", r"$\sqrt{y^{\top} H^{{+}} y}$ and $\sqrt{\lambda}$"),
        ("√κ(H) and √κ (1 + s)", r"$\sqrt{\kappa (H)}$ and $\sqrt{\kappa}  (1 + s)$"),
        ("rᵀHr", r"$r^{\top} H r$"),
        ("λ⁺_min and λ_max", r"$\lambda_{\min}^{{+}}$ and $\lambda_{\max}$"),
        ("H_Q⁻¹ỹ", r"$H_{Q}^{{-} 1} \tilde{y}$"),
        ("y_{P→Q}(k)", r"$y_{P \to Q} (k)$"),
        ("½‖u − y‖²", r"$\tfrac{1}{2} \lVert u - y\rVert ^{2}$"),
        ("Σ_{j<k} (1 − ηλ)^j", r"$\sum_{j \lt k}  (1 - \eta \lambda)^{j}$"),
        ("Σ_QQ is a matrix", r"$\Sigma_{Q Q}$ is a matrix"),
        ("∫₀ᵗ exp(−sλ) ds", r"$\int_{0}^{t}  \exp ({-} s \lambda)  d s$"),
        ("2 atan2(δ, σ)", r"$2  \thinspace \mathrm{atan2} (\delta , \sigma)$"),
        ("θ = 2 atan τ", r"$\theta = 2  \arctan  \tau$"),
        ("k-step, non-zero, 50-digit", "$k$-step, non-zero, 50-digit"),
        ("eq. (3) of 2019, lemma 5.3", "eq. (3) of 2019, lemma 5.3"),
        ("1e-9 to 0.3", r"$10^{{-} 9}$ to 0.3"),
        ("the rank of H, rank H = 2", r"the rank of $H$, $\mathrm{rank} \thinspace H = 2$"),
        ("x' and x_i'", r"$x^{\prime}$ and $x_{i}^{\prime}$"),
        ("i.i.d. draws, and `relu_gram`, `|w·x| ≤ R`", r"i.i.d. draws, and relu_gram, $\lvert w \cdot x\rvert  \le R$"),
        ("P(A | B)", r"$P (A \vert B)$"),
        ("(pseudo-inverse) of P, Q", "(pseudo-inverse) of $P$, $Q$"),
        ("source labels − F", "source labels $- F$"),
        ("at 60° and 5 %", "at 60° and 5 %"),
        ("B²/(AC), η q_k bc", r"$B^{2} / (A C)$, $\eta  q_{k}  b c$"),
        ("log(2ε/c²)/(2 log a)", r"$\log (2 \varepsilon / c^{2}) / (2  \log  a)$"),
        ("w ~ N(0, κ²I)", r"$w \sim N (0 , \kappa^{2} I)$"),
        ("m^{-1/2} Σ_r a_r", r"$m^{{-} 1 / 2}  \sum_{r}  a_{r}$"),
    ],
)
def test_formulas_are_found_in_prose(text, expected):
    assert re.sub(r" +", " ", as_text(text)) == re.sub(r" +", " ", expected)


@given(st.text(alphabet="ab AI.,;:()[]{}‖|_^√Σ∫½²₁ᵀᵢλη−-=≤·/'`~*!0123⟨⟩ỹ∂ exp max the\n", max_size=40))
def test_any_text_can_be_read_and_written(text):
    for span in formulas.read(text):
        if not isinstance(span, (formulas.Prose, formulas.Code)):
            ElementTree.fromstring(mathml.inline(span))
            written = re.sub(r"\\[{}]", "", tex.formula(span))
            assert written.isascii() and written.count("{") == written.count("}")
    html.prose(text), latex.prose(text), markdown.prose(text)


@given(st.lists(st.sampled_from(["a", "mode", "the", "net", "left", "out", "when", "falls"]), min_size=1).map(" ".join))
def test_prose_without_formulas_stays_as_it_is(text):
    assert "".join(getattr(span, "text", "?") for span in formulas.read(text)) == text or text.endswith("a")


# Expressions

x, y = sp.symbols("x y", real=True)
n = sp.Symbol("n", integer=True, positive=True)
A, At = sp.symbols("A_QP A_QP^T", commutative=False)
f = sp.Function("f")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (sp.Symbol("gamma_k"), r"\gamma_{k}"),
        (sp.Symbol("H_QP", commutative=False), "H_{Q P}"),
        (At, r"A_{Q P}^{\top}"),
        (At * A - A * At, r"A_{Q P}^{\top}  A_{Q P} - A_{Q P}  A_{Q P}^{\top}"),
        ((1 - notation.eta * A) * At, r"(I - \eta  A_{Q P})  A_{Q P}^{\top}"),
        (A**-1, r"A_{Q P}^{{-} 1}"),
        (sp.Symbol("y~_Q"), r"{\tilde{y}}_{Q}"),
        (sp.Symbol("Sigma_1"), r"\Sigma_{1}"),
        (sp.Symbol("dSigma_1"), r"\mathrm{d} \Sigma_{1}"),
        (sp.Symbol("a_+"), "a_{{+}}"),
        (sp.Symbol("F_end"), r"F_{\mathrm{end}}"),
        (sp.Symbol("m2"), "m_{2}"),
        (sp.Symbol("|x|"), r"\lvert x\rvert "),
        (1 - x * y, "1 - x  y"),
        (n + 1, "n + 1"),
        (-x, "{-} x"),
        (-(x + y), "{-} x - y"),
        (sp.Rational(-1, 2) * x, r"{-} \frac{x}{2}"),
        (x / (x + y), r"\frac{x}{x + y}"),
        ((x + y) * y, r"y  (x + y)"),
        ((x + y) ** 2, r"(x + y)^{2}"),
        (x ** (y / 2), r"x^{y / 2}"),
        (sp.sqrt(x**2 + 1), r"\sqrt{1 + x^{2}}"),
        (sp.cbrt(n), r"\sqrt[3]{n}"),
        (2 ** sp.Symbol("z") * 3, r"3 \cdot 2^{z}"),
        (sp.exp(-x), r"\exp ({-} x)"),
        (sp.sin(x) ** 2, r"\sin^{2}  x"),
        (sp.log(x + y), r"\log (x + y)"),
        (sp.Abs(x), r"\lvert x\rvert "),
        (sp.Max(x, y), r"\max (x , y)"),
        (f(x, y), "f (x , y)"),
        (sp.erf(x), r"\mathrm{erf} (x)"),
        (sp.factorial(n), r"n \mathrm{!}"),
        (sp.binomial(n, 2), r"\left( \genfrac{}{}{0pt}{}{n}{2} \right)"),
        (sp.gamma(x), r"\Gamma (x)"),
        (sp.oo, r"\infty"),
        (sp.Sum(x**n, (n, 0, 5)), r"\sum\limits_{n = 0}^{5} x^{n}"),
        (sp.Product(x + n, (n, 1, 4)), r"\prod\limits_{n = 1}^{4} (n + x)"),
        (sp.Integral(x**2, (x, 0, sp.pi / 2)), r"\int_{0}^{\pi / 2} x^{2} \thinspace  \mathrm{d} x"),
        (sp.Integral(x * y, (x, 0, 1), (y, -1, 1)), None),
        (sp.Limit(1 / x, x, 0, "+"), r"\lim\limits_{x \to 0^{{+}}}  \frac{1}{x}"),
        (sp.Derivative(x**2, x), r"\frac{\mathrm{d}}{\mathrm{d} x}  x^{2}"),
        (sp.Derivative(x * y, (x, 2)), r"\frac{\partial^{2}}{\partial x^{2}}  (x  y)"),
        (notation.at(x**2, x, y / 2), r"\left. x^{2} \right\rvert _{x = y / 2}"),
        (sp.Piecewise((x, x > 0), (0, True)), None),
        (sp.ImmutableMatrix([[x, 0], [1, y]]), r"\left( \begin{array}{cc} x & 0 \\[3pt] 1 & y \end{array} \right)"),
        (sp.Eq(x, y), "x = y"),
        (sp.MatrixSymbol("M", 2, 2).T * sp.MatrixSymbol("M", 2, 2), r"M^{\top}  M"),
        (sp.Mul(sp.Integral(y, (y, 0, 1)), x, evaluate=False), r"x  \int_{0}^{1} y \thinspace  \mathrm{d} y"),
        (sp.Heaviside(x), r"\Theta (x)"),
        (sp.hyper((1,), (2,), x), None),
    ],
    ids=str,
)
def test_expressions_are_drawn(expression, expected):
    node = expressions.draw(expression)
    ElementTree.fromstring(mathml.display(node))
    written = tex.formula(node)
    assert written.isascii()
    if expected is not None:
        assert re.sub(" +", " ", written).startswith(re.sub(" +", " ", expected).rstrip())


def python(node):
    """A tree as a Python expression; what is not drawn as brackets gets none but those of fractions, powers and roots."""
    match node:
        case Number(text):
            return text
        case Letter(text):
            return text
        case Operator(text):
            return {"−": "-", "": "*", "·": "*"}.get(text, text)
        case Row(parts):
            return "".join(map(python, parts))
        case Fenced("(", inside, ")"):
            return f"({python(inside)})"
        case Scripts(base, None, sup):
            return f"{python(base)}**({python(sup)})"
        case Fraction(over, under):
            return f"(({python(over)})/({python(under)}))"
        case Root(inside, None):
            return f"({python(inside)})**0.5"
    raise AssertionError(node)


a, b, c = sp.symbols("a b c", positive=True)


@pytest.mark.parametrize(
    "expression",
    [
        a - (b - c),
        sp.Mul(-1, a + b, evaluate=False) * c,
        sp.Add(a, sp.Mul(-1, b - c, evaluate=False), evaluate=False),
        (a + b) * (b - c) / (a * c),
        a ** (-b) * c,
        -a / (b * (c - a)),
        (a - b) ** 2 / 5 - c * (a - c),
        sp.sqrt(a + b) / c,
        (a / b) ** c,
        sp.Pow(-a, 3, evaluate=False) * b,
        a * (b - c) * -4,
        1 / (1 + 1 / (a + b)),
        (a * b) ** c,
        sp.Pow(sp.Pow(a, b, evaluate=False), c, evaluate=False),
        sp.Pow(sp.Rational(2, 3), c, evaluate=False) * a,
        a - b * (c - a) ** 2,
        sp.Rational(-3, 4) * (a - b),
        a ** (b / c - 1),
    ],
    ids=str,
)
def test_what_is_drawn_means_what_the_expression_does(expression):
    """Signs, brackets and the order of operations, read back by Python's grammar."""
    values = {a: 2.0, b: 3.0, c: 7.0}
    read_back = eval(python(expressions.draw(expression)), {symbol.name: value for symbol, value in values.items()})
    assert read_back == pytest.approx(float(expression.subs(values)), rel=1e-14)


def test_same_expression_same_drawing_whatever_the_order_of_construction():
    assert expressions.draw(x + y + 1) == expressions.draw(1 + y + x)
    assert expressions.draw(sp.Max(y, x)) == expressions.draw(sp.Max(x, y))


# Long lines


def pieces(node):
    yield node
    for field in ("parts", "rows", "base", "sub", "sup", "over", "under", "inside"):
        value = getattr(node, field, None)
        for item in value if isinstance(value, tuple) else (value,):
            for part in item if isinstance(item, tuple) else (item,):
                if part is not None and not isinstance(part, str):
                    yield from pieces(part)


def letters(node):
    return [part for part in pieces(node) if isinstance(part, (Letter, Number, Operator)) and part != layout.QUAD]


def test_what_fits_stays_on_one_line():
    node = expressions.draw(x + y)
    assert layout.fit(node, 40) is node


def test_long_sums_are_broken_before_operators_and_lose_nothing():
    terms = sp.symbols("a1:40")
    node = expressions.draw(sp.Add(*terms))
    broken = layout.fit(node, 20)
    assert isinstance(broken, Table) and broken.width <= 20 and len(broken.rows) > 3
    assert letters(broken) == letters(node)
    for (line,) in broken.rows[1:]:
        assert next(p for p in line.parts if p != layout.QUAD) == Operator("+", "sum")


def test_every_equation_of_the_registry_fits_and_loses_nothing(book):
    for section in book.sections:
        for step in section.steps:
            node = row(expressions.draw(step.left), Operator("=", "relation"), expressions.draw(step.right))
            broken = layout.fit(node, 38)
            assert letters(broken) == letters(node)
            assert broken.width < 50, (section.name, step.rule, broken.width)


# Escaping


HOSTILE = 'f < g & 5 % of $3 #1 {a} a\\b ~ "q" it\'s <script>alert(1)</script>'


def test_html_escapes():
    assert "<script>" not in html.prose(HOSTILE)
    assert "&lt;" in html.prose(HOSTILE) and "&amp;" in html.prose(HOSTILE)
    assert "<b>" not in html.prose("`<b>`") and "<b>" not in html.linked("arXiv 1909.12031 <b>")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50 % & #1_a", r"50 \% \& \#1\_a"),
        ("{x}$", r"\{x\}\$"),
        ("a\\b^~", r"a\textbackslash{}b\textasciicircum{}\textasciitilde{}"),
        ("<>|", r"\textless{}\textgreater{}\textbar{}"),
        ("Póczos, Mądry", r"P\'{o}czos, M\k{a}dry"),
        ("‖ỹ‖ ≤ η", r"\ensuremath{\Vert}\~{y}\ensuremath{\Vert} \ensuremath{\le} \ensuremath{\eta}"),
    ],
)
def test_latex_escapes(text, expected):
    assert tex.text(text) == expected


def test_latex_refuses_a_letter_it_cannot_spell():
    with pytest.raises(InvalidInput, match=r"'字' \(U\+5B57\) has no spelling in LaTeX here; allowed are"):
        tex.text("字")


def test_markdown_escapes():
    assert markdown.plain("a_b*c <i> [d] `e` $5 # | \\") == r"a\_b\*c \<i\> \[d\] \`e\` \$5 \# \| \\"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed: hostile text is not compiled")
def test_hostile_text_compiles(tmp_path):
    page = latex.write(structure.build(("residual",)))
    page = page.replace(r"\statement{", r"\statement{" + latex.prose(HOSTILE) + " " + latex.code(HOSTILE), 1)
    (tmp_path / "book.tex").write_text(page, encoding="ascii")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "book.tex"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=120).returncode == 0


# Files and the command line


def call(capsys, *arguments):
    try:
        code = ptoq.main(["theory", "derive", *arguments])
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize(
    ("out", "format", "expected"),
    [
        (None, "html", "ptoq-out/theory.html"),
        ("book.html", "html", "book.html"),
        ("docs/book.latex", "latex", "docs/book.latex"),
        ("docs", "md", "docs/theory.md"),
        ("v1.2", "latex", "v1.2/theory.tex"),
    ],
)
def test_where_the_book_goes(tmp_path, monkeypatch, out, format, expected):
    monkeypatch.chdir(tmp_path)
    Path("v1.2").mkdir()
    assert destination(None if out is None else Path(out), format) == Path(expected)


def test_a_book_of_some_entries(tmp_path, capsys):
    code, out, err = call(capsys, *PART, "--format", "md", "--out", str(tmp_path / "part.md"))
    assert (code, out, err) == (0, f"{tmp_path / 'part.md'}\n", "")
    text = (tmp_path / "part.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f'<a id="{name}"></a>' in text] == [name for name in NAMES if name in PART]
    anchors = set(re.findall(r'<a id="([^"]*)">', text))
    assert all(link in anchors for link in re.findall(r"\]\(#([^)]*)\)", text))


def test_checked_when_asked(tmp_path, capsys):
    code, _, _ = call(capsys, "stable_step", "--check", "--out", str(tmp_path))
    assert code == 0
    assert "1 of 1 passed" in (tmp_path / "theory.html").read_text(encoding="utf-8")


def test_a_broken_check_is_told_and_written(tmp_path, capsys, monkeypatch):
    from theory import checking

    failure = Failure(part="twin", name="f", message="differs")
    passed = checking.check(registry.get("stable_step"))
    monkeypatch.setattr(checking, "check", lambda entry: replace(passed, failures=(failure,)))
    code, out, err = call(capsys, "stable_step", "--check", "--out", str(tmp_path))
    assert code == 1
    assert out == f"{tmp_path / 'theory.html'}\n"
    assert "stable_step: twin f: differs" in err
    assert "Broken" in (tmp_path / "theory.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("arguments", [("--format", "pdf"), ("relu_gran",)])
def test_bad_arguments_write_nothing(tmp_path, capsys, arguments):
    code, out, err = call(capsys, *arguments, "--out", str(tmp_path / "new" / "book.html"))
    assert code == 2
    assert ("html" in out + err) if arguments[0] == "--format" else ("relu_gran" in err and "did you mean relu_gram" in err)
    assert list(tmp_path.iterdir()) == []


def test_a_format_is_checked_for_callers_too(tmp_path):
    with pytest.raises(InvalidInput, match="format is 'pdf'; one of html, latex, md is allowed"):
        write_book(tmp_path, "pdf")


def test_a_folder_that_cannot_be_made_is_an_error_with_its_name(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    code, _, err = call(capsys, "residual", "--out", str(tmp_path / "file" / "book.html"))
    assert code == 2
    assert str(tmp_path / "file") in err


def test_the_old_book_survives_a_fault_while_writing(tmp_path, monkeypatch):
    path, _ = write_book(tmp_path, "md", ("residual",))
    before = path.read_bytes()

    def broken(source, target):
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr("theory.files.os.replace", broken)
    with pytest.raises(OSError, match="No space left"):
        write_book(tmp_path, "md", ("loss",))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_command_line_end_to_end(tmp_path):
    command = [sys.executable, "-m", "ptoq", "theory", "derive", "residual", "--format", "latex"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(ptoq.__file__).parent)},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ptoq-out/theory.tex\n", "")
    text = (tmp_path / "ptoq-out" / "theory.tex").read_text(encoding="ascii")
    assert text.startswith("% Written by ptoq") and text.endswith("\\end{document}\n")
