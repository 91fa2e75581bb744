"""Experiments at smoke size: records, claims, and that a killed run goes on to the same result."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from sim.estimate import Estimate, Exponent
from sim.experiments import PROFILES, experiment, names, run_experiment
from sim.experiments.claims import exponent_claim, gap_claim, sign_claim, z_claim
from sim.records import Cache, read_record
from tests.helpers import lasting
from theory.errors import InvalidInput


@pytest.mark.parametrize("name", names())
def test_smoke_writes_a_whole_record(name, tmp_path):
    record = run_experiment(name, "smoke", tmp_path / "records", cache=Cache(tmp_path / "cache"))
    assert read_record(tmp_path / "records" / f"{name}.json") == json.loads(json.dumps(record))
    assert record["claims"]
    assert {"schema", "experiment", "title", "profile", "config", "seeds", "provenance", "results"} <= set(record)
    for claim in record["claims"]:
        assert claim["verdict"] in ("held", "failed", "undecided")


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_well_formed(name, profile):
    config = experiment(name).Config.profile(profile)
    assert config.seeds >= (3 if profile == "smoke" else 8)
    if profile == "quick" and name == "width_law":
        assert len(config.widths) >= 5


def test_replicates_come_back_from_the_cache(tmp_path, monkeypatch):
    cache = Cache(tmp_path / "cache")
    first = run_experiment("width_law", "smoke", tmp_path / "a", cache=cache)
    monkeypatch.setattr("sim.experiments.replicates.simulate_stages", lambda *_, **__: pytest.fail("trained again"))
    again = run_experiment("width_law", "smoke", tmp_path / "b", cache=cache)
    assert lasting(again) == lasting(first)
    taken, nothing = first["provenance"], again["provenance"]
    assert nothing["parts"] == {"computed": 0, "cached": taken["parts"]["computed"]}
    assert nothing["work_seconds"] == taken["work_seconds"] > 0
    assert 10e6 < taken["peak_memory_bytes"] < 64e9


def test_a_killed_run_resumes_to_the_same_record(tmp_path):
    """SIGKILL at several moments; what is left is whole, and the next run ends as an unbroken one."""
    program = (
        "import sys; from pathlib import Path; from sim.experiments import run_experiment; "
        "run_experiment('ladder', 'smoke', Path(sys.argv[1]))"
    )
    environment = {**os.environ, "PTOQ_CACHE": str(tmp_path / "cache")}
    killed = 0
    for delay in (1.2, 1.6, 2.0, 2.4):
        process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "records")], env=environment)
        time.sleep(delay)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.wait()
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "records")], env=environment, check=True)
    broken = read_record(tmp_path / "records" / "ladder.json")
    whole = run_experiment("ladder", "smoke", tmp_path / "whole", cache=Cache(tmp_path / "other"))
    assert killed > 0
    for key in ("claims", "results", "config", "seeds"):
        assert broken[key] == json.loads(json.dumps(whole[key]))
    assert [p.name for p in (tmp_path / "records").iterdir()] == ["ladder.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gravity", "smoke"), r"there is no experiment 'gravity'; ladder, width_law, pretraining_stage, .*fresh_head.* are allowed"),
        (("ladder", "tiny"), "profile is 'tiny'; one of 'smoke', 'quick', 'standard', 'full'"),
        (("ladder", "smoke", "tpu"), "backend is 'tpu'; 'auto', 'numpy', 'cupy', 'torch' are allowed"),
    ],
)
def test_what_does_not_exist_is_refused_and_nothing_written(tmp_path, arguments, message):
    name, profile, *backend = arguments
    with pytest.raises(InvalidInput, match=message):
        run_experiment(name, profile, tmp_path / "records", *backend, cache=Cache(tmp_path / "cache"))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_refused_before_anything_runs(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="cannot make the folder"):
        run_experiment("ladder", "smoke", tmp_path / "file" / "records", cache=Cache(tmp_path / "cache"))


def test_claims_hold_fail_and_abstain():
    """The rules that decide verdicts, each shown to decide both ways."""
    z = lambda mean: z_claim("c", "w", "", Estimate(mean, 0.1, 1000), 1.0).verdict  # noqa: E731
    assert (z(1.3), z(1.6), z(0.4)) == ("held", "failed", "failed")
    gap = lambda mean: gap_claim("c", "w", "", Estimate(mean, 0.001, 8), 2.0, 0.02).verdict  # noqa: E731
    assert (gap(2.03), gap(2.05), gap(1.95)) == ("held", "failed", "failed")
    loose = lambda mean: gap_claim("c", "w", "", Estimate(mean, 0.01, 8), 2.0, 0.02).verdict  # noqa: E731
    assert (loose(2.01), loose(2.03), loose(1.95), loose(1.93)) == ("held", "undecided", "undecided", "failed")
    exact = lambda mean: gap_claim("c", "w", "", Estimate(mean, 0.0, 8), 2.0, 0.0).verdict  # noqa: E731
    assert (exact(2.0), exact(2.0000001)) == ("held", "failed")
    fit = Exponent(-0.5, 0.02, 1.0, 1.0, 40.0)
    assert exponent_claim("c", "w", fit, -0.5).verdict == "held"
    assert exponent_claim("c", "w", fit, -0.75).verdict == "failed"
    assert exponent_claim("c", "w", replace(fit, standard_error=0.2), -0.5).verdict == "undecided"
    assert exponent_claim("c", "w", replace(fit, standard_error=0.06), -0.5).verdict == "undecided"  # fits -0.75 as well
    assert exponent_claim("c", "w", None, -0.5).verdict == "undecided"
    sign = lambda mean, predicted: sign_claim("c", "w", "", Estimate(mean, 0.1, 1000), predicted).verdict  # noqa: E731
    assert (sign(1.0, 0.5), sign(1.0, -0.5), sign(0.1, 0.5), sign(-1.0, -0.5)) == ("held", "failed", "undecided", "held")
    assert z_claim("c", "w", "", Estimate(1.0, 0.0, 8), 2.0).to_dict()["value"] == "-inf"
