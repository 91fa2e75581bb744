"""The registry is whole: every entry agrees with itself, every public formula has one, and the commands say so."""

from __future__ import annotations

import dataclasses
import inspect
import json
import pkgutil
import subprocess
import sys
import time

import mpmath as mp
import numpy as np
import pytest

import theory.symbolic
from theory import InvalidInput, commands, predict, relu_gram, transformed_labels
from theory.average import phase_diagram
from theory.chain import predict_chain
from theory.checking import check
from theory.formula import Domain, Entry, Evidence, Failure, Supplied, Tolerance
from theory.numeric import (
    average_case,
    chains,
    cross_entropy,
    degeneracy,
    drift,
    generalisation,
    gram_fluctuation,
    initialisation,
    joint,
    landscape,
    minibatch,
    optimisers,
    penalties,
    population,
    ruled_out,
    similarity,
    source_size,
    spectrum,
    sphere,
    stability,
    stages,
    symmetries,
    turning,
    vector_labels,
)
from theory.numeric.kernels import named, quadrature
from theory.registry import ALL, BOUNDS, ENTRIES, evidence_complaints, get, names, select
from theory.symbolic.algebra import verify


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.name)
def test_every_entry_agrees(entry):
    result = check(entry)
    assert result.passed, "\n".join(str(f) for f in result.failures)
    assert result.cases == entry.domain.cases
    assert result.steps >= 2
    assert result.max_error <= entry.tolerance.multiple * np.finfo(float).eps


def _public_functions(module):
    return {f for name, f in inspect.getmembers(module, inspect.isfunction) if f.__module__ == module.__name__ and not name.startswith("_")}


def _public_methods(kind):
    """Plain methods and class methods that the class itself defines, as they are reached through it."""
    return {getattr(kind, name) for name, f in vars(kind).items() if callable(getattr(kind, name)) and not name.startswith("_")}


def test_every_public_formula_is_bound():
    bound = {entry.twin for entry in ENTRIES}
    wanted = _public_functions(stages) | _public_functions(landscape) | _public_functions(spectrum)
    wanted |= {relu_gram, transformed_labels, predict, spectrum.GramSpectrum.apply, spectrum.GramSpectrum.check_step}
    wanted |= _public_functions(generalisation)
    # A curve's value is bound through `of`, which builds it.
    wanted |= _public_functions(turning) | _public_methods(turning.PretrainingCurve)
    wanted |= _public_functions(source_size) | _public_functions(sphere)
    wanted |= _public_functions(population) | _public_methods(population.PopulationTransfer)
    for module in (optimisers, penalties, stability, cross_entropy, minibatch):
        wanted |= _public_functions(module)
    wanted |= _public_functions(joint) | _public_functions(average_case) | _public_functions(ruled_out) | {predict_chain, phase_diagram}
    # `block` only picks a block; an average is built through `of` wherever it is used.
    wanted |= _public_functions(chains) - {chains.block}
    wanted |= _public_methods(average_case.TeacherAverage) - {average_case.TeacherAverage.of}
    for module in (degeneracy, drift, initialisation, similarity, symmetries, vector_labels):
        wanted |= _public_functions(module)
    # What a rank is read off; `degeneracy` puts it together.
    wanted -= {degeneracy.direction_of, degeneracy.opposite_pairs}
    # `gram_function` and `check_cross` compute nothing; one layer of the recursion is checked through `deep`.
    wanted |= _public_functions(named) - {named.gram_function, named.check_cross} | _public_functions(quadrature)
    wanted |= _public_functions(gram_fluctuation) - {gram_fluctuation.inner_products, gram_fluctuation.independent_neurons}
    assert len(wanted) >= 29
    assert not {f.__qualname__ for f in wanted - bound}


def test_twins_are_called_by_their_public_names():
    for entry in ENTRIES:
        module, _, name = entry.twin_name.partition(".numeric.")
        assert not name.split(".")[-1].startswith("_")
        assert module in ("theory", "theory.predict.predict", "theory.chain.predict_chain", "theory.average.phase_diagram")


def test_every_symbolic_module_is_used_and_none_imports_numpy():
    derivations = {entry.derivation.__module__ for entry in (*ENTRIES, *BOUNDS)}
    modules = {f"theory.symbolic.{m.name}" for m in pkgutil.iter_modules(theory.symbolic.__path__)}
    assert modules - derivations == {"theory.symbolic.algebra", "theory.symbolic.notation"}
    for name in modules:
        source = inspect.getsource(sys.modules[name])
        assert "import numpy" not in source
        assert "array_api" not in source


def test_entries_are_complete():
    assert len(names()) == len(ENTRIES) + len(BOUNDS) == len(ALL)
    for entry in ALL:
        for text in (entry.title, entry.statement, entry.source, entry.domain.description, entry.definition_text):
            assert text.strip()


def test_cases_are_the_same_in_every_run_and_in_any_order():
    entry = get("displacement")
    assert list(entry.domain.drawn(entry.name)) == list(entry.domain.drawn(entry.name))
    assert next(entry.domain.drawn("a")) != next(entry.domain.drawn("b"))


def test_precision_of_mpmath_is_left_as_it_was():
    before = mp.mp.dps
    check(get("transfer_gain"))
    assert mp.mp.dps == before


# Evidence ------------------------------------------------------------------------------------------------------------


def test_declared_evidence_is_compared_with_supplied():
    declared = {e.name: e.evidence for e in ALL if e.evidence.from_outside}
    assert declared
    complete = {name: Supplied(kind=evidence.kind, where="sim.experiments.somewhere") for name, evidence in declared.items()}
    assert evidence_complaints(complete) == []
    first = next(iter(declared))
    missing = {name: item for name, item in complete.items() if name != first}
    assert [c.split()[0] for c in evidence_complaints(missing)] == [first]
    wrong = complete | {first: Supplied(kind="none", where="sim")}
    assert first in evidence_complaints(wrong)[0]
    assert "no_such_entry" in evidence_complaints(complete | {"no_such_entry": Supplied(kind="rate", where="sim.x")})[0]


def test_evidence_and_tolerance_reject_what_they_cannot_mean():
    with pytest.raises(InvalidInput, match="hearsay"):
        Evidence(kind="hearsay", detail="somebody said so")
    with pytest.raises(InvalidInput, match="detail"):
        Evidence(kind="none", detail=" ")
    with pytest.raises(InvalidInput, match="dtype"):
        Tolerance(kind="dtype", multiple=4)


# Commands ------------------------------------------------------------------------------------------------------------


def test_list_names_every_entry(capsys):
    assert commands.list_entries(False) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(names())
    assert commands.list_entries(True) == 0
    assert [item["name"] for item in json.loads(capsys.readouterr().out)] == list(names())


@pytest.mark.parametrize("name", names())
def test_show_tells_everything(name, capsys):
    assert commands.show(name, False) == 0
    out = capsys.readouterr().out
    entry = get(name)
    held = "Tolerance:" if isinstance(entry, Entry) else "Holds:"
    for word in ("Derivation", "Definition:", "Twin:", held, "Domain:", "Source:", "Evidence:", entry.twin_name, entry.title):
        assert word in out
    for number, step in enumerate(entry.derivation().steps, start=1):
        assert f"{number:>2}. {step.rule.split()[0]}" in out
    assert commands.show(name, True) == 0
    shown = json.loads(capsys.readouterr().out)
    assert len(shown["derivation"]) == len(entry.derivation().steps)


def test_check_prints_lines_and_a_verdict(capsys):
    assert commands.check(["loss", "residual_filter", "loss"], False) == 0
    out = capsys.readouterr().out
    assert "ok     loss" in out
    assert "all 2 agree" in out


def test_check_json_has_the_agreed_form(capsys):
    assert commands.check(["loss", "transfer_gain"], True) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["passed"] is True
    assert [r["name"] for r in report["results"]] == ["loss", "transfer_gain"]
    for r in report["results"]:
        assert set(r) == {"name", "passed", "evidence", "max_error", "seconds"}
        assert r["passed"] is True


def test_check_of_bounds_prints_examples_and_slack(capsys):
    assert commands.check(["kernel_change", "least_fit"], False, bounds=True, examples=30) == 0
    out = capsys.readouterr().out
    assert "30 cases" in out
    assert out.count("slack") == 2
    assert commands.check(["kernel_change"], True, bounds=True, examples=30) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result["cases"] >= 30
    assert 0 <= result["least_slack"] < 1


def test_check_of_bounds_refuses_formulas_and_nothing(capsys):
    with pytest.raises(InvalidInput, match="loss is no bound"):
        commands.check(["loss"], False, bounds=True)
    with pytest.raises(InvalidInput, match="examples is 0"):
        commands.check(["least_fit"], False, bounds=True, examples=0)
    assert capsys.readouterr().out == ""


def test_bounds_can_be_checked_without_hypothesis(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    assert commands.check(["least_fit"], False) == 0
    with pytest.raises(InvalidInput, match=r"ptoq\[testing\]"):
        commands.check(["least_fit"], False, bounds=True)


def test_check_reports_a_break_by_name(capsys, monkeypatch):
    entry = get("loss")
    broken = dataclasses.replace(entry, call=lambda twin, case: [2 * v for v in entry.call(twin, case)])
    monkeypatch.setattr("theory.registry.select", lambda wanted: (broken, get("residual_filter")))
    assert commands.check([], False) == 1
    out = capsys.readouterr().out
    assert "BROKEN loss" in out
    assert "twin theory.numeric.stages.loss" in out
    assert "1 of 2 broke: loss" in out
    assert commands.check([], True) == 1
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert report["passed"] is False
    assert [r["passed"] for r in report["results"]] == [False, True]
    assert "twin theory.numeric.stages.loss" in captured.err


def test_json_survives_an_error_that_is_not_finite(capsys, monkeypatch):
    entry = dataclasses.replace(get("loss"), call=lambda twin, case: [float("nan")])
    monkeypatch.setattr("theory.registry.select", lambda wanted: (entry,))
    assert commands.check([], True) == 1
    assert json.loads(capsys.readouterr().out)["results"][0]["max_error"] is None


@pytest.mark.parametrize("run", [lambda: commands.check(["displacment"], False), lambda: commands.show("displacment", True)])
def test_an_unknown_name_is_bad_input(run, capsys):
    with pytest.raises(InvalidInput, match="displacment") as raised:
        run()
    assert "did you mean displacement" in str(raised.value)
    assert "relu_gram" in str(raised.value)
    assert capsys.readouterr().out == ""


def test_select_keeps_order_and_drops_repeats():
    assert [e.name for e in select(["loss", "residual", "loss"])] == ["loss", "residual"]
    assert select([]) == ALL


# Imports and speed ---------------------------------------------------------------------------------------------------


def test_import_theory_and_commands_leave_sympy_out():
    code = "import sys, theory, theory.commands, theory.numeric, theory.formula; print(sorted({'sympy', 'mpmath'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_a_derivation_must_hang_together():
    entry = get("fine_tuning")
    chain = entry.derivation()
    opened = next(i for i, s in enumerate(chain.steps) if not s.opens)
    other = dataclasses.replace(chain.steps[opened], left=2 * chain.steps[opened].left, right=2 * chain.steps[opened].right)
    steps = (*chain.steps[:opened], other, *chain.steps[opened + 1 :])
    assert any("step before" in f.message for f in verify(dataclasses.replace(chain, steps=steps), "x"))
    unreached = dataclasses.replace(chain, results={"residual": 3 * chain.results["residual"]})
    assert any("no step ends" in f.message for f in verify(unreached, "x"))


def test_a_slow_entry_would_be_seen():
    started = time.perf_counter()
    result = check(get("gradient_norm"))
    assert 0 < result.seconds <= time.perf_counter() - started


def test_a_crash_in_any_part_is_reported_not_raised():
    def crash(*_):
        raise ZeroDivisionError("planted")

    entry = get("gradient_norm")
    for field, part in (("definition", "definition"), ("closed_form", "derivation"), ("twin", "twin"), ("derivation", "derivation")):
        result = check(dataclasses.replace(entry, **{field: crash}))
        assert any(f.part == part and "planted" in f.message for f in result.failures), field
    domain = Domain(description="none", draw=crash, cases=1)
    assert check(dataclasses.replace(entry, domain=domain)).failures[0].part == "domain"
    assert isinstance(entry, Entry)
    assert str(Failure(part="twin", name="f", message="m")) == "twin f: m"
