"""The bench: contenders in processes, what becomes of those that cannot or must not be timed, and the page written from the JSON.

No time is asserted.
"""

import copy
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import cost, environments, figure, harness, inputs, table
from benchmarks.accuracy import exact_entry, largest_errors
from benchmarks.harness import Comparison, Entrant, NotRun

DUMMY = str(Path(__file__).with_name("dummy.py"))


def entrant(variant, **more):
    return Entrant(name=variant, script=DUMMY, setting={"variant": variant}, **more)


def comparison(*entrants, **more):
    return Comparison(
        name="squares",
        title="Squares of numbers",
        task="squares",
        setting={"n": 3},
        data=lambda: {"x": np.arange(3.0)},
        entrants=(entrant("ours"), *entrants),
        tolerance={"squares": 1e-8},
        rounds=3,
        **more,
    )


def python_of(name):
    if name != "main":
        raise NotRun("its environment cannot be made: no index")
    return Path(sys.executable)


def run(*entrants, **more):
    said = []
    report = harness.run(comparison(*entrants, **more), python_of, said.append)
    assert len(said) == len(entrants) + 1
    return {c["name"]: c for c in report["contenders"]}, report


def test_rounds_are_paired():
    contenders, report = run(entrant("twice", target=2), entrant("thrice", target=3.5, most_rounds=2))
    # The dummy's k-th round takes k times as long: medians over rounds would not give the ratio of every round.
    assert contenders["ours"]["rounds"] == [1.0, 2.0, 3.0]
    assert contenders["twice"]["rounds"] == [2.0, 4.0, 6.0]
    assert contenders["twice"]["times_slower"] == {"median": 2, "quartile_1": 2, "quartile_3": 2, "min": 2, "max": 2, "n": 3}
    assert contenders["thrice"]["times_slower"]["n"] == 2 and contenders["thrice"]["times_slower"]["median"] == 3
    assert contenders["ours"]["notes"] == {"calls": ["ours"] * 3}
    assert contenders["ours"]["versions"] == {"dummy": "1.0"} and contenders["ours"]["peak_bytes"] > 0
    assert table.targets({"comparisons": [report]}) == (1, 1, 0)


@pytest.mark.parametrize(
    ("other", "status", "reason"),
    [
        (entrant("refuses"), "not run", "RuntimeError: no such device"),
        (entrant("dies", target=2), "not run", "its process ended (exit code 7"),
        (entrant("wrong"), "different", "squares differs by 2.5e-04 of its largest entry; 1.0e-08 is allowed"),
        (entrant("twice", environment="elsewhere", target=2), "not run", "its environment cannot be made: no index"),
        (Entrant(name="absent", script="no_such_file.py"), "not run", "its process ended (exit code 2"),
    ],
)
def test_who_cannot_take_part_is_named_with_the_reason(other, status, reason):
    contenders, report = run(other)
    assert contenders[other.name]["status"] == status and reason in contenders[other.name]["reason"]
    assert "seconds" not in contenders[other.name] and "times_slower" not in contenders[other.name]
    assert contenders["ours"]["status"] == "ran" and contenders["ours"]["seconds"]["n"] == 3
    whole = {"on_a_gpu": False, "comparisons": [report], "sizes": [], "cost": []}
    assert command.failed(whole) == (status == "different")
    assert f"| {other.name} | {status}: {contenders[other.name]['reason']} |" in table.markdown({**whole, "machine": MACHINE})
    assert table.targets(whole) == (0, 0, 1 if other.target else 0)


def test_ptoq_failing_is_a_failure():
    report = harness.run(
        Comparison(name="x", title="x", task="squares", setting={}, data=dict, entrants=(entrant("refuses"), entrant("twice"))),
        python_of,
        lambda text: None,
    )
    assert command.failed({"comparisons": [report], "sizes": [], "cost": []})


def test_a_target_holds_for_the_fastest_of_a_group():
    contenders, _ = run(
        entrant("thrice", target=2, group="g"), entrant("twice", target=2, group="g"), entrant("refuses", target=2, group="g")
    )
    assert [contenders[name]["target"] for name in ("thrice", "twice", "refuses")] == [None, 2, None]


def test_an_environment_that_cannot_be_made_is_not_tried_twice(tmp_path, monkeypatch):
    (tmp_path / "nothing.txt").write_text(f"{tmp_path}/there-is-no-such-package.whl\n")
    monkeypatch.setattr(environments, "PEERS", tmp_path)
    said = []
    made = environments.PeerEnvironments(said.append, tmp_path / "peers")
    for _ in range(2):
        with pytest.raises(NotRun, match=r"its environment cannot be made: .*there-is-no-such-package"):
            made("nothing")
    assert len(said) == 1 and made("main") == Path(sys.executable)


def test_no_number_of_the_page_is_written_by_hand():
    """Every measured number in the JSON is scaled; every number of the page must follow, but for names, sizes and settings."""
    report = {
        "on_a_gpu": False,
        "machine": MACHINE,
        "comparisons": [
            {**run(entrant("twice", target=2))[1], "largest_error": {"ours": {"diagonal": 2.5e-16}, "twice": {"diagonal": 5e-9}}}
        ],
        "sizes": [SIZE],
        "cost": [AXIS],
    }
    page, other = table.markdown(report), table.markdown(scaled(report))
    kept = re.sub(r"(?<![\w.])[0-9.]+(e-?[0-9]+)?(?![\w.])", "#", page)
    assert kept == re.sub(r"(?<![\w.])[0-9.]+(e-?[0-9]+)?(?![\w.])", "#", other)
    changed = [(a, b) for a, b in zip(page.splitlines(), other.splitlines(), strict=True) if a != b]
    for text in ("| ours | ", "| twice | ", "| a wide net | ", "| step, width | "):
        assert any(a.startswith(text) for a, _ in changed), text
    assert "5.0e-09" in page and "2.5e-16" in page and "≥ 2: met" in page and "1.02 (1.01 to 1.03)" in page and "16 GiB: met" in page


def scaled(report):
    """A copy with every measured number larger by a tenth, in units that stay the same."""
    other = copy.deepcopy(report)
    for c in other["comparisons"][0]["contenders"]:
        for key in ("seconds", "times_slower"):
            if key in c:
                c[key] = {name: value * (1 if name == "n" else 1.1) for name, value in c[key].items()}
    other["sizes"][0] = {**SIZE, "seconds": 66.0, "peak_bytes": 6 << 30}
    other["cost"][0] = {**AXIS, "exponent": {"median": 1.12, "min": 1.11, "max": 1.13}}
    return other


def test_the_cost_figure_is_drawn_from_the_report(tmp_path):
    files = figure.draw({"cost": [AXIS, {**AXIS, "status": "not run", "reason": "x"}]}, tmp_path)
    assert {path.name for path in files} == {"cost.png", "cost.svg", "cost.csv"}
    lines = (tmp_path / "cost.csv").read_text().splitlines()
    assert lines[0] == "axis,width,seconds_median,seconds_min,seconds_max,stated"
    assert lines[1].startswith('"step, width",1024,0.5,0.4,0.6,') and len(lines) == 3
    assert figure.draw({"cost": []}, tmp_path / "empty") == []


def test_exponent_of_a_power_law():
    assert cost.exponent([2, 4, 8], [3 * 2**2.5, 3 * 4**2.5, 3 * 8**2.5]) == pytest.approx(2.5, abs=1e-12)


def test_errors_are_against_exact_values():
    X = inputs.gram_points(60, 7)["X"]
    value, unit = exact_entry(np.array([3.0, 4.0]), np.array([-8.0, 6.0]))
    assert value == 0 and unit == 25
    value, unit = exact_entry(np.array([1.0, 0.0]), np.array([2.0, 2.0]))
    assert float(value) == 2 * (3 / 8)  # x·z = 2, a quarter of a turn less than half a turn

    import ptoq

    H = ptoq.relu_gram(X)
    off = H.copy()
    off[0, 60 - 24] += 1e-6
    off[5, 5] -= 1e-9
    found = largest_errors(X, {"good": H, "off": off})
    # Exact class: the Gram function's own promise, 4 ulp of ‖x‖‖z‖/2, beside the inner product's rounding of d terms.
    assert all(error < (4 + 7) * np.finfo(float).eps for error in found["good"].values())
    size = float(X[0] @ X[0])
    assert found["off"]["nearly parallel or opposite"] == pytest.approx(1e-6 / (size / 2), rel=0.2)
    assert found["off"]["diagonal"] == pytest.approx(1e-9 / (float(X[5] @ X[5]) / 2), rel=1e-4)


def test_all_contenders_of_the_bench_exist():
    from benchmarks.comparisons import COMPARISONS, ON_A_GPU

    for gpu in (False, True):
        for name, make in COMPARISONS.items():
            made = make(gpu)
            assert made.name == name and made.entrants[0].name == "ptoq"
            assert (made.entrants[0].script == "ours_gpu.py") == (gpu and name in ON_A_GPU)
            json.dumps({**made.setting, **{key: value for e in made.entrants for key, value in e.setting.items()}})
            for e in made.entrants:
                assert (harness.CONTENDERS / e.script).is_file()
                assert e.environment == "main" or (environments.PEERS / f"{e.environment}.txt").is_file()


@pytest.mark.parametrize("script", ["ours.py", pytest.param("ours_gpu.py", marks=pytest.mark.slow)])
def test_our_contenders_agree_with_the_definitions(script):
    """At small sizes, every task of ours; the GPU's through torch, on the CPU."""
    if script == "ours_gpu.py":
        pytest.importorskip("torch")
    step = {"n": 12, "d": 5, "width": 64, "lr": 0.1, "steps": 2, "checked_steps": 3, "backend": "torch", "product": 64}
    data = inputs.training_set(12, 5, 64, "float64")
    X, y, W, a = data.values()
    active = (X @ W.T > 0) * 1.0
    kernel = (X @ X.T) * (active @ active.T) / 64
    losses, weights = [], W.copy()
    for _ in range(3):
        gates = (X @ weights.T > 0) * a.T / 8
        residual = (gates * (X @ weights.T)).sum(axis=1, keepdims=True) - y
        losses.append(0.5 * float((residual**2).sum()))
        weights -= 0.1 * (gates * residual).T @ X
    angle = np.arccos(np.clip(X @ X.T, -1, 1))
    expected = {
        "gradient_step": {"losses": np.array(losses)},
        "gram": {"H": X @ X.T * (np.pi - angle) / (2 * np.pi)},
        "empirical_kernel": {"H": kernel},
    }
    setting = {"gradient_step": {**step, "sample_space": False}, "gram": step, "empirical_kernel": step}
    for task, arrays in expected.items():
        plan = Comparison(
            name=task,
            title=task,
            task=task,
            setting=setting[task],
            data=lambda: data,
            entrants=(Entrant(name="ptoq", script=script),),
            rounds=1,
        )
        outputs = {}
        report = harness.run(
            Comparison(**{**vars(plan), "finish": lambda data, found, seconds, out=outputs: out.update(found) or {}}),
            python_of,
            lambda text: None,
        )
        assert report["contenders"][0]["status"] == "ran", report
        # dtype class, against formulas that lose half the digits near the diagonal.
        assert harness.compare(outputs["ptoq"], arrays, dict.fromkeys(arrays, 4 * np.finfo(float).eps ** 0.5)) >= 0
    rate = Comparison(
        name="r", title="r", task="product_rate", setting=step, data=dict, entrants=(Entrant(name="ptoq", script=script),), rounds=1
    )
    assert harness.run(rate, python_of, lambda text: None)["contenders"][0]["notes"]["GFLOP/s"] > 0


MACHINE = {
    "processor": "a processor",
    "cores": 2,
    "memory_bytes": 8 << 30,
    "gpu": None,
    "blas": ["openblas 0.3"],
    "load_before": 0.25,
    "gflops": 100.0,
    "python": "3.11",
    "ptoq": "0.1",
    "commit": "0123456789abcdef",
    "dirty": True,
}
SIZE = {
    "name": "wide",
    "title": "a wide net",
    "setting": {},
    "limit_bytes": 16 << 30,
    "status": "ran",
    "seconds": 60.0,
    "peak_bytes": 5 << 30,
    "notes": {"loss": [2.0, 1.5]},
}
AXIS = {
    "name": "step, width",
    "vary": "width",
    "fixed": {"n": 16},
    "order": "m n d a step",
    "stated_exponent": 1,
    "status": "ran",
    "points": [
        {"size": 1024, "seconds": {"median": 0.5, "quartile_1": 0.4, "quartile_3": 0.6, "min": 0.4, "max": 0.6, "n": 3}},
        {"size": 2048, "seconds": {"median": 1.0, "quartile_1": 0.9, "quartile_3": 1.1, "min": 0.9, "max": 1.1, "n": 3}},
    ],
    "exponent": {"median": 1.02, "min": 1.01, "max": 1.03},
}
