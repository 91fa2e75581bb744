"""Experiments with sources of their own: what is shared, what is resumed, and verdicts on built cases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from realnets.experiments import flatness, pretraining_epochs, run_experiment, source_target, sources
from realnets.experiments.fine_tuned import FineTuned, common_loss, moved_at_loss
from realnets.experiments.intervals import above, below, ratio_below_one
from realnets.experiments.pools import LABELS, PICTURES, Pool, hash_of
from realnets.experiments.sources import Source, pretrain
from realnets.experiments.tasks import DIGITS
from realnets.experiments.watch import Watch
from realnets.train import Recipe, epoch_file
from sim.estimate import Estimate
from sim.records import Cache
from theory.errors import InvalidInput, NotConverged

SMALL = Source(model="small-cnn", pool=Pool(data="digits", size=8), n=24, recipe=Recipe(epochs=2, batch_size=8, lr=0.05))


class _Killed(BaseException):
    pass


def test_halves_of_a_pool_share_no_picture_and_are_all_of_it():
    whole = Pool(data="digits", size=8).load()
    halves = [Pool(data="digits", size=8, half=half).load() for half in (0, 1)]
    assert sorted(name for half in halves for name in half.names) == sorted(whole.names)


@pytest.mark.parametrize("change", [{"pictures": p} for p in PICTURES] + [{"labels": v} for v in LABELS] + [{"label_noise": 0.5}])
def test_a_changed_pool_differs_from_its_set_in_one_thing(change):
    before, after = Pool(data="digits", size=8).load(), Pool(data="digits", size=8, **change).load()
    same_pictures, same_labels = np.array_equal(before.images, after.images), np.array_equal(before.labels, after.labels)
    if change in ({"pictures": "as they are"}, {"labels": "given"}, {"pictures": "grey"}):  # digits are grey
        assert same_pictures and same_labels
    else:
        assert same_pictures == ("pictures" not in change)
        assert same_labels == ("pictures" in change)
    assert before.names == after.names


def test_larger_draws_hold_smaller_ones():
    pool = Pool(data="digits", size=8)
    assert pool.draw(30, 3).names[:10] == pool.draw(10, 3).names != pool.draw(10, 4).names
    with pytest.raises(InvalidInput, match=r"1798 pictures of digits were asked for; 1 to 1797 are allowed"):
        pool.draw(1798, 0)


def test_the_hash_of_pools_tells_labels_apart():
    pool = Pool(data="digits", size=8)
    assert hash_of([pool, pool]) == hash_of([pool]) != hash_of([replace(pool, labels="shuffled")])


@pytest.mark.parametrize(("field", "value"), [("half", 2), ("pictures", "red"), ("labels", "lost")])
def test_unknown_changes_are_refused(field, value):
    with pytest.raises(InvalidInput, match=f"{field} is {value!r}; one of"):
        Pool(data="digits", **{field: value})


def test_a_source_is_trained_once_and_goes_on_where_it_was_killed(tmp_path, monkeypatch):
    seen: list[int] = []
    whole = pretrain(SMALL, Cache(tmp_path / "whole"), "cpu", seen.append)
    assert sum(seen) == 48
    again = pretrain(SMALL, Cache(tmp_path / "whole"), "cpu", lambda _: pytest.fail("it was trained again"))
    assert again == whole

    def kill(pictures: int) -> None:
        seen.append(pictures)
        if sum(seen) > 30:
            raise _Killed

    seen.clear()
    with pytest.raises(_Killed):
        pretrain(SMALL, Cache(tmp_path / "killed"), "cpu", kill)
    resumed = pretrain(SMALL, Cache(tmp_path / "killed"), "cpu", lambda _: None)
    for epoch in range(3):
        one, other = (torch.load(epoch_file(p.folder, epoch), weights_only=True)["model"] for p in (whole, resumed))
        assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert not list(resumed.folder.glob("checkpoint*"))


def test_a_state_that_was_deleted_is_made_again(tmp_path):
    cache = Cache(tmp_path)
    lost = epoch_file(pretrain(SMALL, cache, "cpu", lambda _: None).folder, 1)
    before = torch.load(lost, weights_only=True)["model"]
    lost.unlink()
    pretrain(SMALL, cache, "cpu", lambda _: None)
    assert all(torch.equal(value, before[name]) for name, value in torch.load(lost, weights_only=True)["model"].items())


def test_a_source_is_not_trained_for_the_classifier_that_its_target_starts_from(tmp_path):
    """Else names of classes would matter: the symmetry that `source_target` tests."""
    from realnets import models

    folder = pretrain(SMALL, Cache(tmp_path), "cpu", lambda _: None).folder
    source = torch.load(epoch_file(folder, 0), weights_only=True)["model"]
    target = models.load("small-cnn", 10, weights=epoch_file(folder, 2), seed=SMALL.seed)
    assert not torch.equal(source["classifier.weight"], target.classifier.weight)
    assert sources._SEEDS_APART > 10**6


def test_a_source_of_another_network_is_refused():
    with pytest.raises(InvalidInput, match=r"a source of 'small-cnn' was given for a random start of 'small-cnn'"):
        FineTuned(model="small-cnn", target=SMALL.pool, n_train=8, n_test=8, start="random", source=SMALL, seed=0, recipe=SMALL.recipe)


def test_displacement_at_a_loss_is_read_between_epochs_in_the_logarithm():
    run = {"loss_by_epoch": [1.0, 0.01], "along": [{"displacement": d} for d in (0.0, 2.0, 4.0)]}
    assert moved_at_loss(run, 0.1) == pytest.approx(3.0)
    assert moved_at_loss(run, 2.0) == 2.0
    assert moved_at_loss(run, 0.001) == 4.0
    assert common_loss([run, {"loss_by_epoch": [0.5, 0.7]}]) == 0.5


def test_a_watch_keeps_what_was_measured_before_a_kill(tmp_path):
    path = tmp_path / "w.json"
    first = Watch(path, lambda model: {"x": 1.0 / 3}, frozenset({0, 2}))
    for step in range(3):
        first(step, torch.nn.Identity())
    second = Watch(path, lambda model: {"x": 5.0})
    second(2, torch.nn.Identity())
    second(3, torch.nn.Identity())
    assert second.rows() == [{"step": 0, "x": 1.0 / 3}, {"step": 2, "x": 5.0}, {"step": 3, "x": 5.0}]
    assert not path.exists()


def test_intervals_decide():
    sure, unsure = Estimate(0.2, 0.01, 4), Estimate(0.2, 0.2, 4)
    assert [above("", "", "", x, limit).verdict for x, limit in ((sure, 0.1), (unsure, 0.1), (sure, 0.3))] == [
        "held",
        "undecided",
        "failed",
    ]
    assert [below("", "", "", x, limit).verdict for x, limit in ((sure, 0.3), (unsure, 0.3), (sure, 0.1))] == [
        "held",
        "undecided",
        "failed",
    ]
    cases = {"held": [0.5, 0.6, 0.55], "undecided": [0.5, 3.0, 1.0], "failed": [2.0, 2.1, 2.3]}
    assert {ratio_below_one("", "", "", a, [1.0, 1.1, 1.2]).verdict: a for a in cases.values()} == cases
    assert ratio_below_one("", "", "", [-1.0, 1.0, 1.0], [1.0, 1.1, 1.2]).measured is None
    claim = ratio_below_one("", "", "", [1.0, 4.0], [2.0, 2.0])
    assert claim.measured == pytest.approx(1.0)


def test_the_best_place_of_a_row_is_chosen_by_the_other_rows():
    table = np.array([[0.0, 9.0, 0.0], [0.0, 0.0, 2.0], [0.0, 0.0, 2.0]])
    assert pretraining_epochs.best_of_others(table) == [2, 1, 1]


def _table(config, lead, moved):
    """Three seeds of each source; `lead` of the nearest and the permuted one over the others."""
    labels = ["random start", *(pool.label for pool in config.sources())]
    accuracy = {s: np.array([0.5, 0.51, 0.49]) + 0.01 * i + (lead if i == 1 else 0.0) for i, s in enumerate(labels)}
    permuted = replace(config.nearest, labels="permuted").label
    accuracy[permuted] = np.roll(accuracy[config.nearest.label], 1)
    return {"accuracy": accuracy, "moved_at_equal_loss": {s: moved(values.mean()) + np.zeros(3) for s, values in accuracy.items()}}


@pytest.mark.parametrize(
    ("lead", "moved", "verdicts"),
    [
        (0.3, lambda a: 2 - a, ["held"] * 7),
        (-0.3, lambda a: a, ["failed"] * 5 + ["held", "failed"]),
    ],
)
def test_verdicts_on_sources(lead, moved, verdicts):
    config = source_target.Config()
    found = [c.verdict for c in source_target._claims(config, config.targets[0], _table(config, lead, moved))]
    assert found == verdicts


def test_permuted_names_that_matter_are_found():
    config = source_target.Config()
    table = _table(config, 0.3, lambda a: 2 - a)
    permuted = replace(config.nearest, labels="permuted").label
    table["accuracy"][permuted] = table["accuracy"][config.nearest.label] - np.array([0.2, 0.2000001, 0.1999999])
    (claim,) = (c for c in source_target._claims(config, config.targets[0], table) if "permuted" in c.claim)
    assert claim.verdict == "failed"


def test_a_killed_minimum_ends_where_an_unkilled_one_does(tmp_path, monkeypatch):
    task = replace(
        DIGITS,
        n_source=30,
        n_train=16,
        n_test=16,
        pretraining=Recipe(epochs=1),
        recipe=Recipe(epochs=40, batch_size=8, lr=0.05, schedule="constant"),
    )
    little = flatness.Effort(eigenvalues=1, tol=0.3, products=8, directions=2, probes=3, steps=3, points=3)
    config = flatness.Config(tasks=(task,), level=1.0, effort=little, seeds=2)
    whole = flatness.run(config, Cache(tmp_path / "whole"))
    assert all(0 < c["epochs"] < 40 and c["train"]["loss"] <= 1.0 for c in whole["cells"])
    calls = 0
    real = flatness.evaluate

    def counting(*arguments):
        nonlocal calls
        calls += 1
        if calls == 3:
            raise _Killed
        return real(*arguments)

    monkeypatch.setattr(flatness, "evaluate", counting)
    with pytest.raises(_Killed):
        flatness.run(config, Cache(tmp_path / "killed"))
    resumed = flatness.run(config, Cache(tmp_path / "killed"))
    for results in (whole, resumed):
        results.pop("seconds")
        for cell in results["cells"]:
            cell.pop("seconds")
    assert resumed == whole


def test_a_level_that_is_never_reached_is_said(tmp_path):
    config = replace(flatness.Config.profile("smoke"), level=1e-9)
    with pytest.raises(NotConverged, match=r"the training loss is .* after 1 epochs; a higher level than 1e-09"):
        flatness.run(config, Cache(tmp_path))


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("flatness", {"model": "vit_b_16"}, "no convolutional network"),
        ("source_target", {"data": "nothing"}, "there is no data set 'nothing'"),
        ("kernel_prediction", {"data": "mnist"}, "made for one network and one target"),
    ],
)
def test_what_an_experiment_cannot_run_on_is_refused_before_it_starts(name, options, words, tmp_path):
    with pytest.raises(InvalidInput, match=words):
        run_experiment(name, "smoke", tmp_path / "records", cache=Cache(tmp_path / "cache"), **options)
    assert not (tmp_path / "records").exists()


@pytest.mark.parametrize("name", ["flatness", "source_target", "pretraining_epochs", "sample_size"])
def test_another_network_and_target_take_their_places(name):
    from realnets.experiments import experiment

    text = repr(experiment(name).Config.profile("quick").on("resnet20", "digits"))
    assert "resnet20" in text
    assert "digits" in text
    assert "small-cnn" not in text
