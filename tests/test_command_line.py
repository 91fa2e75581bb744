"""The command line as a user meets it: exit codes, messages, JSON, nothing half-written."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import ptoq
from paper_figs.figures import modules
from tests.helpers import assert_dtype_close

SMALL = ["digits-parity", "mnist-parity", "--max-source", "40", "--max-target", "30", "--max-test", "50"]


def run(*arguments, cwd=None, env=None):
    return subprocess.run(
        [sys.executable, "-m", "ptoq", *arguments], capture_output=True, text=True, cwd=cwd, env={**os.environ, **(env or {})}, timeout=300
    )


def call(capsys, *arguments):
    """In this process: exit code, standard output, standard error."""
    try:
        code = ptoq.main(list(arguments))
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("predict",),
        ("theory",),
        ("theory", "list"),
        ("theory", "show"),
        ("theory", "check"),
        ("realnets",),
        ("realnets", "list"),
        ("realnets", "run"),
        ("sim",),
        ("sim", "list"),
        ("sim", "run"),
        ("figures",),
        ("reproduce",),
    ],
    ids=lambda c: " ".join(c) or "ptoq",
)
def test_every_command_has_help(capsys, command):
    code, out, _ = call(capsys, *command, "--help")
    assert code == 0
    assert "usage: ptoq" in out


def test_help_loads_no_heavy_library():
    """What makes `ptoq --help` slow is imports: none of these may be among them."""
    program = "import sys, ptoq\ntry: ptoq.main(['--help'])\nexcept SystemExit: pass\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    for name in ("torch", "cupy", "scipy", "sympy", "matplotlib", "pandas", "sklearn", "mlxtend"):
        assert name not in loaded


def test_predict_prints_what_predict_computes(capsys):
    code, out, _ = call(capsys, "predict", *SMALL, "--source-steps", "20", "--target-steps", "10", "--json")
    assert code == 0
    result = json.loads(out)
    assert result["source_steps"] == 20
    assert result["measured_gain"] == pytest.approx(1 - result["displacement"] / result["displacement_scratch"])
    code, text, _ = call(capsys, "predict", *SMALL, "--source-steps", "20", "--target-steps", "10", "--best-length")
    assert code == 0
    assert f"{result['displacement']:.5g}" in text
    assert f"gain: {100 * result['gain']:+.2f} %" in text
    assert text.count("best length of pretraining for the") == 3


def test_predict_takes_momentum_decay_and_cross_entropy(capsys):
    steps = ("--source-steps", "20", "--target-steps", "10")
    plain = json.loads(call(capsys, "predict", *SMALL, *steps, "--json")[1])
    for options in (("--momentum", "0.5"), ("--weight-decay", "0.5", "--anchor", "start"), ("--loss", "cross-entropy")):
        code, out, _ = call(capsys, "predict", *SMALL, *steps, *options, "--json")
        assert code == 0
        assert json.loads(out)["displacement"] != plain["displacement"]
    code, text, _ = call(capsys, "predict", *SMALL, *steps, "--weight-decay", "0.5")
    assert code == 0
    assert "distance the weights move: undefined, because decay towards zero shrinks W(0)" in text
    for options, message in (
        (("--momentum", "1"), "momentum is 1.0"),
        (("--weight-decay", "-1"), "weight_decay is -1.0"),
        (("--loss", "cross-entropy"), "source_steps is None"),
        (("--momentum", "0.5", "--best-length"), "momentum is 0.5; pretraining_curves"),
    ):
        code, out, err = call(capsys, "predict", *SMALL, *options)
        assert (code, out) == (2, "")
        assert message in err


def test_predict_takes_a_solver(capsys, monkeypatch):
    steps = ("--source-steps", "20", "--target-steps", "10")
    plain = json.loads(call(capsys, "predict", *SMALL, *steps, "--json")[1])
    assert plain["solver"] == "eigh"
    for solver in ("lanczos", "conjugate-gradients"):
        code, out, _ = call(capsys, "predict", *SMALL, *steps, "--solver", solver, "--json")
        assert code == 0
        result = json.loads(out)
        assert (result["solver"], result["source_rank"]) == (solver, None)
        assert_dtype_close(np.array(result["displacement"]), np.array(plain["displacement"]), 1, scale=1)
    code, text, _ = call(capsys, "predict", *SMALL, *steps, "--solver", "lanczos")
    assert code == 0
    assert "Gram rank not computed\n" in text
    assert "solved by lanczos: Lanczos does not tell the rank" in text
    monkeypatch.setattr(importlib.import_module("theory.predict"), "free_memory", lambda like: 1000)
    for options, message in (
        (("--solver", "cholesky", *steps), "'lanczos' is allowed for numbers of steps"),
        (("--solver", "lanczos", "--best-length"), "--best-length was given with --solver lanczos; eigh, or auto, is allowed"),
        ((), "would fit (--max-source, --max-target and --max-test take a random subset)"),
        (("--best-length",), "GiB by eigh; 0.0 GiB are free"),
    ):
        code, out, err = call(capsys, "predict", *SMALL, *options)
        assert (code, out) == (2, "")
        assert message in err


def test_predict_takes_other_kernels(capsys):
    relu = json.loads(call(capsys, "predict", *SMALL, "--json")[1])
    assert relu["kernel"] == "ReLU"
    assert json.loads(call(capsys, "predict", *SMALL, "--init-scale", "7", "--json")[1]) == relu
    gains = [relu["gain"]]
    for options in ((), ("--init-scale", "0.5"), ("--depth", "2"), ("--trained-readout",)):
        code, out, _ = call(capsys, "predict", *SMALL, "--kernel", "gelu", *options, "--json")
        assert code == 0
        gains.append(json.loads(out)["gain"])
    assert len(set(gains)) == 5
    code, text, _ = call(capsys, "predict", *SMALL, "--kernel", "erf", "--depth", "2", "--best-length")
    assert code == 0
    assert text.startswith("kernel: erf, 2 hidden layers, initial weights of scale 1\n")
    for options, message in (
        (("--kernel", "gleu"), "activation is 'gleu'; did you mean gelu?"),
        (("--kernel", "arccos0"), "no tangent kernel"),
        (("--depth", "0"), "depth is 0"),
        (("--kernel", "erf", "--certify"), "--certify was given for the kernel erf"),
    ):
        code, out, err = call(capsys, "predict", *SMALL, *options)
        assert (code, out) == (2, "")
        assert message in err


def test_predict_reads_files_and_agrees_with_the_library(capsys, tmp_path):
    rng = np.random.default_rng(0)
    X, Z = rng.standard_normal((20, 4)), rng.standard_normal((15, 4))
    np.savez(tmp_path / "p.npz", X=X, y=X[:, 0])
    np.savez(tmp_path / "q.npz", X=Z, y=Z[:, 0])
    code, out, _ = call(capsys, "predict", str(tmp_path / "p.npz"), str(tmp_path / "q.npz"), "--json", "--normalize")
    unit = [A / np.linalg.norm(A, axis=1, keepdims=True) for A in (X, Z)]
    expected = ptoq.predict(ptoq.TransferProblem(source=(unit[0], X[:, 0]), target=(unit[1], Z[:, 0])))
    assert code == 0
    assert json.loads(out)["gain"] == expected.gain


def npz(folder, name, **arrays):
    np.savez(folder / name, **arrays)
    return str(folder / name)


@pytest.fixture
def files(tmp_path):
    X = np.random.default_rng(0).standard_normal((5, 3))
    bad_X = X.copy()
    bad_X[1, 2] = np.nan
    zero = X.copy()
    zero[3] = 0
    y = X[:, 0]
    (tmp_path / "text.npz").write_text("no")
    (tmp_path / "t.csv").write_text("a,b,y\n1,2,3\n4,5,6\n")
    return {
        "good": npz(tmp_path, "good.npz", X=X, y=y),
        "nan": npz(tmp_path, "nan.npz", X=bad_X, y=y),
        "inf": npz(tmp_path, "inf.npz", X=X, y=y * np.inf),
        "short": npz(tmp_path, "short.npz", X=X, y=y[:4]),
        "narrow": npz(tmp_path, "narrow.npz", X=X[:, :2], y=y),
        "empty": npz(tmp_path, "empty.npz", X=X[:0], y=y[:0]),
        "zero": npz(tmp_path, "zero.npz", X=zero, y=y),
        "wide": npz(tmp_path, "wide.npz", X=X, y=np.ones((5, 2))),
        "text": str(tmp_path / "text.npz"),
        "csv": str(tmp_path / "t.csv"),
    }


@pytest.mark.parametrize(
    ("source", "target", "options", "message"),
    [
        ("nan", "good", (), "nan.npz X[1, 2] is nan; finite numbers are allowed"),
        ("good", "inf", (), "y[0] is"),
        ("good", "short", (), "has 5 inputs and 4 labels"),
        ("narrow", "good", (), "inputs have shape (n, 2) and target inputs (n, 3)"),
        ("empty", "good", (), "has shape (0, 3)"),
        ("zero", "good", (), "row 3 is all zeros"),
        ("wide", "good", (), "the numbers of outputs must be equal"),
        ("text", "good", (), "is not a readable .npz"),
        ("csv", "good", ("--label", "z"), "has no column 'z'; its columns are a, b, y"),
        ("good", "good", ("--source-steps", "-1"), "source_steps is -1; a whole number ≥ 0"),
        ("good", "good", ("--target-lr", "1e9"), "diverges; at most 2/λ_max"),
        ("good", "good", ("--source-lr", "nan"), "source_lr is nan"),
        ("good", "good", ("--max-source", "0"), "--max-source is 0; at least 1"),
        ("good", "good", ("--seed", "-3"), "--seed is -3"),
        ("good", "missing.npz", (), "cannot read 'missing.npz'"),
        ("good", "mnist", (), "must be equal"),
    ],
)
def test_bad_data_is_exit_code_2_with_the_value_and_what_is_allowed(capsys, files, source, target, options, message):
    code, out, err = call(capsys, "predict", files.get(source, source), files.get(target, target), *options)
    assert code == 2
    assert err.startswith("ptoq: ")
    assert message in err
    assert "Traceback" not in err
    assert out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("sim", "run", "gravity"),
        ("sim", "run", "ladder", "--profile", "tiny"),
        ("sim", "run", "ladder", "--backend", "tpu"),
        ("figures", "moon"),
        ("realnets", "run", "gravity"),
        ("realnets", "run", "sample_size", "--device", "tpu"),
        ("theory", "show", "gravity"),
        ("theory", "check", "loss", "gravity"),
        ("theory", "derive", "--format", "pdf"),
        ("theory", "check", "loss", "--bounds"),
        ("reproduce", "--profile", "smoke", "--device", "tpu"),
        ("reproduce", "--profile", "smoke", "--backend", "tpu"),
        ("dance",),
        ("predict", "digits"),
        ("predict", "digits", "mnist", "--source-steps", "many"),
        (),
    ],
    ids=" ".join,
)
def test_bad_commands_are_exit_code_2_and_write_nothing(capsys, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    code, _, err = call(capsys, *arguments)
    assert code == 2
    assert err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", [("sim", "run", "ladder"), ("reproduce",)], ids=" ".join)
def test_a_backend_that_is_absent_is_exit_code_2_and_says_how_to_get_it(capsys, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "cupy", None)
    code, out, err = call(capsys, *command, "--profile", "smoke", "--backend", "cupy")
    assert code == 2
    assert "CuPy is not installed; get it with: pip install 'ptoq[gpu]'" in err
    assert out == ""
    assert not list(tmp_path.iterdir())


def test_both_kinds_of_experiment_are_listed(capsys):
    for kind, name in (("sim", "ladder"), ("realnets", "sample_size")):
        code, out, _ = call(capsys, kind, "list", "--json")
        assert code == 0
        assert name in json.loads(out)
        code, out, _ = call(capsys, kind, "list")
        assert code == 0
        assert name in out


def test_without_torch_real_networks_say_what_to_install(capsys, monkeypatch):
    monkeypatch.setattr("realnets.commands._NEEDED", ("torch", "no_such_module"))
    code, out, err = call(capsys, "realnets", "list")
    assert code == 2
    assert "need no_such_module, which are not installed: pip install 'ptoq[real]'" in err
    assert out == ""


def test_theory_is_listed_shown_and_checked(capsys):
    code, out, _ = call(capsys, "theory", "list", "--json")
    names = [entry["name"] for entry in json.loads(out)]
    assert code == 0
    assert "forgetting" in names
    code, out, _ = call(capsys, "theory", "show", "forgetting")
    assert code == 0
    assert "Derivation" in out
    code, out, _ = call(capsys, "theory", "check", "loss", "displacement", "--json")
    checked = json.loads(out)
    assert code == 0
    assert checked["passed"]
    assert [r["name"] for r in checked["results"]] == ["loss", "displacement"]
    assert {"name", "passed", "evidence", "max_error", "seconds"} == set(checked["results"][0])


def test_a_folder_that_cannot_be_written_is_exit_code_2(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("")
    code, _, err = call(capsys, "sim", "run", "ladder", "--profile", "smoke", "--out", "taken")
    assert code == 2
    assert "cannot make the folder" in err


@pytest.mark.parametrize("jobs", ["0", "-1"])
def test_fewer_than_one_job_is_exit_code_2_and_nothing_is_written(capsys, tmp_path, monkeypatch, jobs):
    monkeypatch.chdir(tmp_path)
    code, _, err = call(capsys, "sim", "run", "ladder", "--profile", "smoke", "--jobs", jobs)
    assert code == 2
    assert f"jobs is {jobs}; a whole number of at least 1 is allowed" in err
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_exit_code_2_names_the_file_and_leaves_the_old_record(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("PTOQ_CACHE", str(tmp_path / "cache"))
    arguments = ("sim", "run", "orthogonal_drift", "--profile", "smoke", "--out", str(tmp_path))
    call(capsys, *arguments)
    record = tmp_path / "records" / "orthogonal_drift.json"
    old = record.read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("theory.files.os.fsync", full)
    code, _, err = call(capsys, *arguments)
    assert code == 2
    assert err == f"ptoq: cannot write the file (No space left on device): {record}\n"
    assert record.read_bytes() == old
    assert [p.name for p in record.parent.iterdir()] == [record.name]


@pytest.mark.parametrize(
    "content", ['{"schema": 1}', '{"schema": 1, "results": {}}', '{"schema": 1, "results": {"cells": [], "curves": {}}}', '{"schema": NaN}']
)
def test_a_damaged_record_is_exit_code_2_and_nothing_is_drawn(capsys, tmp_path, content):
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "ladder.json").write_text(content)
    code, _, err = call(capsys, "figures", "ladder", "--out", str(tmp_path))
    assert code == 2
    assert "run the experiment again" in err or "is not a record" in err
    assert not list(tmp_path.rglob("*.png"))


def test_a_missing_record_names_the_command_that_makes_it_there(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("paper_figs.figures.REFERENCE", ())
    code, _, err = call(capsys, "figures", "ladder", "--out", str(tmp_path))
    assert code == 2
    assert err.endswith(f"make one with: ptoq sim run ladder --out {tmp_path}\n")


def test_an_unforeseen_error_is_one_line_with_a_code_of_its_own(capsys, monkeypatch):
    monkeypatch.setattr("sim.commands.SimList.run", lambda self: 1 / 0)
    code, _, err = call(capsys, "sim", "list")
    assert code == 3
    assert "ZeroDivisionError" in err
    assert "Traceback" not in err


def test_an_interrupt_that_a_library_makes_an_error_of_is_still_one(capsys, monkeypatch):
    def interrupted(self):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("half a module") from None

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr("sim.commands.SimList.run", interrupted)
    code, _, err = call(capsys, "sim", "list")
    assert code == 130
    assert err.startswith("ptoq: interrupted; ")
    assert signal.getsignal(signal.SIGINT) is before


def test_out_of_memory_is_exit_code_2(capsys, monkeypatch):
    def full(self):
        raise MemoryError("Unable to allocate 3 GiB")

    monkeypatch.setattr("sim.commands.SimList.run", full)
    code, _, err = call(capsys, "sim", "list")
    assert code == 2
    assert err.startswith("ptoq: out of memory (Unable to allocate 3 GiB); ")


@pytest.mark.skipif(sys.platform != "linux", reason="ulimit -v binds on Linux alone")
def test_a_limit_on_memory_refuses_what_would_not_fit(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "large.npz", X=rng.standard_normal((20_000, 3)), y=rng.standard_normal(20_000))
    program = f"ulimit -v 3000000; exec {sys.executable} -m ptoq predict large.npz large.npz --solver cholesky"
    one = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, cwd=tmp_path, env=one, timeout=120, check=False)
    assert done.returncode == 2
    assert "GiB by cholesky" in done.stderr
    assert "points would fit" in done.stderr


def test_output_that_cannot_hold_every_letter_is_no_error(tmp_path):
    done = run("sim", "list", env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    done = run("theory", "show", "loss", env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0


def test_reproduce_at_smoke_size_writes_records_figures_and_verdicts(tmp_path):
    """Claims are meant for the sizes of the real profiles; at smoke size some fail, and the exit code says so."""
    done = run("reproduce", "--profile", "smoke", "--json", cwd=tmp_path, env={"PTOQ_CACHE": str(tmp_path / "cache")})
    counts = json.loads(done.stdout)["counts"]
    assert done.returncode == (1 if counts["failed"] else 0)
    assert sum(counts.values()) == len(json.loads((tmp_path / "ptoq-out" / "verdicts.json").read_text())["claims"])
    for name in ("ladder", "width_law", "pretraining_stage", "sample_size", "kernel_prediction"):
        assert (tmp_path / "ptoq-out" / "records" / f"{name}.json").exists()
        assert (tmp_path / "ptoq-out" / "figures" / f"{name}.png").exists()
    assert "report.html" in done.stderr
    assert (tmp_path / "ptoq-out" / "report.html").stat().st_size < 350_000 * len(modules())
    again = run("figures", "ladder", "--json", cwd=tmp_path)
    assert json.loads(again.stdout)[0]["figure"] == "ladder"


@pytest.mark.parametrize(("send", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_says_that_nothing_is_lost(tmp_path, send, code):
    environment = {**os.environ, "PTOQ_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "ptoq", "sim", "run", "width_law", "--profile", "quick"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment)
    deadline = time.monotonic() + 120
    while not list(Path(tmp_path).rglob("v1/*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(send)
    _, err = process.communicate(timeout=120)
    assert process.returncode == code
    assert err == "ptoq: interrupted; what an experiment had finished is kept, and the same command goes on from there\n"
    assert not list(tmp_path.rglob("width_law.json"))


def test_the_public_names_are_there():
    for name in ptoq.__all__:
        assert getattr(ptoq, name).__name__ == name
        assert name in dir(ptoq)
    assert ptoq.__version__
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = ptoq.nonsense


def test_the_example_in_the_docstring_holds():
    import doctest

    assert doctest.testmod(ptoq).failed == 0
