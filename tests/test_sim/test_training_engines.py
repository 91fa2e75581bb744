"""Every way to train a net gives one result: libraries, weight and sample space, tiles, batches; and what is recorded on the way."""

from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pytest

import ptoq
from sim import device, training
from sim.backend import Backend, resolve_backend
from sim.blocked import HostNets
from sim.blocks import sample_space_pays
from sim.descent import descend
from sim.device import DeviceNets
from sim.dynamics import BlockedNet, workers
from sim.networks import initial_net
from sim.training import simulate, simulate_seeds, simulate_stages
from tests.helpers import assert_dtype_close
from theory.errors import InvalidInput, NotConverged, UnstableStep

LABELS = {"scalar": None, "column": 1, "three": 3, "one-hot": 3}


def make_problem(labels="scalar", d=6, n=(14, 11, 9), seed=0):
    rng = np.random.default_rng(seed)
    c = LABELS[labels]

    def pair(rows):
        y = rng.standard_normal((rows, c) if c else rows)
        if labels == "one-hot":
            y = np.eye(c)[rng.integers(0, c, rows)]
        return rng.standard_normal((rows, d)) / d**0.5, y

    source, target, test = map(pair, n)
    return ptoq.TransferProblem(source=source, target=target, test=test)


def backend_called(name):
    if name == "strict-device1":
        xp = pytest.importorskip("array_api_strict")
        return Backend("strict", xp, xp.Device("device1"))
    if name == "torch":
        pytest.importorskip("torch")
    return resolve_backend(name)


@pytest.fixture(params=["torch", "strict-device1"])
def backend(request, monkeypatch):
    chosen = backend_called(request.param)
    monkeypatch.setattr(training, "resolve_backend", lambda name: resolve_backend("numpy") if name == "numpy" else chosen)
    return chosen


def assert_same_outcome(one, other, dtype):
    """Every field, in the dtype class of the training; arrays are NumPy's on every backend."""
    scale = max(1.0, *(abs(v) for v in other.scalars().values() if v is not None))
    as_dtype = np.dtype(dtype).type
    for item in fields(other):
        got, want = getattr(one, item.name), getattr(other, item.name)
        if item.name == "frozen":
            if want is not None:
                assert_same_outcome(got, want, "float64")
        elif item.name.startswith("trajectory"):
            assert got.steps == want.steps
            assert_dtype_close(as_dtype(got.loss), as_dtype(want.loss), 1, scale=scale)
            assert_dtype_close(as_dtype(got.displacement), as_dtype(want.displacement), 1, scale=scale)
            assert (got.source_loss is None) == (want.source_loss is None)
            if want.source_loss is not None:
                assert_dtype_close(as_dtype(got.source_loss), as_dtype(want.source_loss), 1, scale=scale)
        elif isinstance(want, np.ndarray):
            assert isinstance(got, np.ndarray), item.name
            assert got.dtype == want.dtype, item.name
            assert_dtype_close(got.astype(dtype), want.astype(dtype), 1, scale=scale)
        elif isinstance(want, float) and not isinstance(want, bool):
            assert_dtype_close(as_dtype(got), as_dtype(want), 1, scale=scale)
        else:
            assert got == want, item.name


STAGES = {"finite": ((0, 3, 12), 9), "to the end": ((0, 2, None), None), "beyond the end": ((1, 150, None), 5)}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("antisymmetric", [True, False])
@pytest.mark.parametrize("stages", STAGES)
def test_backends_give_the_outcomes_of_numpy(backend, dtype, labels, antisymmetric, stages):
    source_steps, target_steps = STAGES[stages]
    problem, schedule = make_problem(labels), ptoq.Schedule(target_steps=target_steps, snapshots=(1, 4, 8) if target_steps != 5 else ())
    options = {"width": 64, "antisymmetric": antisymmetric, "dtype": dtype, "rtol": 0.3, "seed": 3}
    expected = simulate_stages(problem, schedule, source_steps, backend="numpy", **options)
    found = simulate_stages(problem, schedule, source_steps, backend="auto", **options)
    for one, other in zip(found, expected, strict=True):
        assert_same_outcome(one, other, dtype)


@pytest.mark.parametrize("name", ["numpy", "torch", "strict-device1"])
@pytest.mark.parametrize("c", [1, 3])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_both_spaces_train_alike_and_as_the_definition(name, c, dtype):
    """n below and above d; displacement, watched outputs and weights in the middle of a run."""
    chosen = backend_called(name)
    for n, d in ((7, 12), (12, 7)):
        rng = np.random.default_rng(n)
        X, Z, y = (rng.standard_normal(shape).astype(dtype) for shape in ((n, d), (5, d), (n, c)))
        W, a = (x.astype(dtype) for x in initial_net(48, d, c, antisymmetric=False))
        expected_W, seen = W.astype(np.float64), {}
        for k in range(31):
            if k in (0, 4, 30):
                seen[k] = (
                    np.linalg.norm(expected_W - W),
                    np.maximum(Z @ expected_W.T, 0) @ a / 48**0.5,
                    expected_W.copy(),
                )
            activations = expected_W @ X.T
            residual = np.maximum(activations, 0).T @ a / 48**0.5 - y
            expected_W -= 0.03 * ((activations > 0) * (a @ residual.T)) @ X / 48**0.5
        for inside in (False, True):
            with workers(2) as run:
                if name == "numpy":
                    nets = HostNets(W[None].copy(), a[None], run, block=16, sample_space=inside)
                else:
                    on_device = (chosen.xp.asarray(x[None].copy(), device=chosen.device) for x in (W, a))
                    nets = DeviceNets(chosen, *on_device, tile=20, sample_space=inside)
                stage = nets.stage(X, y, 0.03, start=None, watch=[Z], keep=True)
                weights = {}

                def look(events, nets=nets, weights=weights):
                    host = nets.W if isinstance(nets.W, np.ndarray) else device.to_numpy(nets.W)
                    weights[events[0].step] = host[0].copy()

                (descent,) = descend(stage, lr=0.03, steps=30, threshold=0.0, rtol=1e-3, max_steps=100, record=(0, 4), on_record=look)
            assert type(stage).__name__ == ("SampleSpace" if inside else "WeightSpace")
            assert descent.steps == (0, 4, 30)
            for (k, (moved, outputs, there)), displacement, (watched,) in zip(
                seen.items(), descent.displacement, descent.watched, strict=True
            ):
                assert_dtype_close(np.dtype(dtype).type(displacement), np.dtype(dtype).type(moved), 1, scale=1 + moved)
                assert_dtype_close(watched.astype(dtype), outputs.astype(dtype), 1, scale=np.abs(outputs).max())
                assert_dtype_close(weights[k], there.astype(dtype), 1, scale=np.abs(there).max())


def test_sample_space_is_taken_where_samples_are_few_and_changes_nothing(monkeypatch):
    assert sample_space_pays(40, 200)
    assert not sample_space_pays(256, 128)
    problem = make_problem(d=200)
    schedule = ptoq.Schedule(7, 8, snapshots=(2,))
    inside = simulate(problem, schedule, width=96, dtype="float32")
    monkeypatch.setattr("sim.blocked.sample_space_pays", lambda n, d: False)
    assert_same_outcome(inside, simulate(problem, schedule, width=96, dtype="float32"), "float32")


@pytest.mark.parametrize("labels", ["scalar", "three"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("stages", STAGES)
@pytest.mark.parametrize("where", ["numpy", "torch"])
def test_a_batch_of_seeds_is_each_seed_alone(labels, dtype, stages, where):
    backend_called(where)
    source_steps, target_steps = STAGES[stages]
    problem, schedule = make_problem(labels), ptoq.Schedule(target_steps=target_steps, snapshots=(1, 4))
    options = {"width": 32, "antisymmetric": False, "dtype": dtype, "rtol": 0.4, "backend": where}
    seeds = (5, 0, 2)
    together = simulate_seeds(problem, schedule, source_steps, seeds, **options)
    ends = set()
    for seed, outcomes in zip(seeds, together, strict=True):
        alone = simulate_stages(problem, schedule, source_steps, seed=seed, **options)
        for one, other in zip(outcomes, alone, strict=True):
            assert_same_outcome(one, other, dtype)
            ends.add((one.source_steps, one.target_steps))
    if None in source_steps:
        assert len(ends) > len(source_steps), "the seeds ended together: nothing was held"


@pytest.mark.parametrize("name", ["torch", "strict-device1"])
def test_the_host_looks_seldom_and_sees_the_step_of_the_end(name, monkeypatch):
    """Between two looks nothing is brought to the host, and what is computed in vain leaves no trace."""
    chosen = backend_called(name)
    problem = make_problem()
    X, y = problem.target
    W, a = (x[None] for x in initial_net(64, 6, 1))
    looks = []
    to_host = device.to_numpy
    monkeypatch.setattr(device, "to_numpy", lambda x: looks.append(x) or to_host(x))

    def train(look):
        monkeypatch.setattr(device, "LOOK", look)
        nets = DeviceNets(chosen, *(chosen.xp.asarray(x.copy(), device=chosen.device) for x in (W, a)))
        stage = nets.stage(X, y[:, None], 1.0, start=None, watch=(), keep=False)
        looks.clear()
        (found,) = descend(stage, lr=1.0, steps=None, threshold=0.01 * float(np.linalg.norm(y)), rtol=0.01, max_steps=10_000)
        return found, len(looks), to_host(nets.W)

    (every, often, exact), (seldom, few, held) = train(1), train(64)
    assert every.steps == seldom.steps
    assert every.steps[-1] % 64
    assert every.steps[-1] > 64
    assert every.loss == seldom.loss
    assert every.displacement == seldom.displacement
    assert np.array_equal(exact, held)
    assert few <= often / 20


@pytest.mark.parametrize("name", ["numpy", "torch", "strict-device1"])
def test_errors_name_the_same_step_on_every_backend(name, monkeypatch):
    chosen = backend_called(name)
    monkeypatch.setattr(training, "resolve_backend", lambda _: chosen)
    problem = make_problem()
    with pytest.raises(NotConverged, match=r"after 70 steps .*raise max_steps or rtol"):
        simulate(problem, width=64, max_steps=70, rtol=1e-6)
    X, y = problem.target
    steps = []
    for look in (1, 64):
        monkeypatch.setattr(device, "LOOK", look)
        W, a = (x[None] for x in initial_net(64, 6, 1))
        if name == "numpy":
            nets = HostNets(W.copy(), a, map)
        else:
            nets = DeviceNets(chosen, *(chosen.xp.asarray(x.copy(), device=chosen.device) for x in (W, a)))
        stage = nets.stage(X, y[:, None], 1e6, start=None, watch=(), keep=False)
        with np.errstate(over="ignore", invalid="ignore"), pytest.raises(UnstableStep, match="the outputs overflowed at step") as error:
            descend(stage, lr=1e6, steps=1000, threshold=0.0, rtol=1e-3, max_steps=1000)
        steps.append(str(error.value))
    assert steps[0] == steps[1]


def test_a_device_without_memory_takes_smaller_tiles_and_says_so(monkeypatch, caplog):
    torch = pytest.importorskip("torch")
    problem = make_problem()
    schedule = ptoq.Schedule(6, 5)
    expected = simulate(problem, schedule, width=64, backend="torch")
    original = device.relu_outputs

    def poor(most):
        def relu_outputs(Z, a):
            if Z.shape[1] > most:
                raise torch.OutOfMemoryError(f"{Z.shape[1]} neurons")
            return original(Z, a)

        monkeypatch.setattr(device, "relu_outputs", relu_outputs)

    poor(20)
    with caplog.at_level("WARNING"):
        assert_same_outcome(simulate(problem, schedule, width=64, backend="torch"), expected, "float64")
    assert "out of memory with 64 rows at once: going on with 32" in caplog.text
    assert "out of memory with 32 rows at once: going on with 16" in caplog.text
    poor(0)
    with pytest.raises(InvalidInput, match=r"cpu ran out of memory with 1 nets of width 64: they take about .* GiB are free"):
        simulate(problem, schedule, width=64, backend="torch")


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_what_does_not_fit_is_refused_with_the_numbers_and_what_barely_fits_is_recomputed(name, monkeypatch):
    chosen = backend_called(name)
    problem = make_problem()
    gib = 2**30
    scarce = SimpleNamespace(name=chosen.name, free_memory=lambda: gib)
    need = training.plan(problem, 2**20, 1, 8, None, scarce)
    assert need.need <= gib
    with pytest.raises(
        InvalidInput, match=r"width is 16777216: its weights take about .* GiB; 1.0 GiB are free, enough for a width of"
    ) as e:
        training.plan(problem, 2**24, 1, 8, None, scarce)
    fits = int(str(e.value).rpartition(" ")[2])
    assert training.plan(problem, fits, 1, 8, None, scarce).memory == "recompute"
    with pytest.raises(InvalidInput, match=f"3 nets of width {fits}"):
        training.plan(problem, fits, 3, 8, None, scarce)
    modes = [training.plan(problem, m, 1, 8, None, scarce).memory for m in np.linspace(2**18, fits, 60).astype(int).tolist()]
    wanted = ["byte", "bit", "recompute"] if name == "numpy" else ["byte", "recompute"]
    assert list(dict.fromkeys(modes)) == wanted


def test_memory_is_that_of_the_weights_held_at_once():
    """Measured by resident memory: three copies in the dtype of the training, of several nets four; drawing takes no more."""
    problem, plenty = make_problem(d=100), SimpleNamespace(name="numpy", free_memory=lambda: 2**50)
    for itemsize in (4, 8):
        for seeds, copies in ((1, 3), (5, 4)):
            need = training.plan(problem, 2**20, seeds, itemsize, "recompute", plenty).need
            assert need == seeds * 2**20 * (copies * itemsize * 100 + (8 + itemsize))


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("keep", [False, True])
def test_recomputed_pre_activations_change_nothing_on_a_device(backend, keep, gated):
    problem = make_problem("three")
    X, y = problem.target
    W, a = (x[None] for x in initial_net(64, 6, 3))
    elsewhere = initial_net(64, 6, 3, seed=9)[0][None] if gated else None

    def on_device(x):
        return None if x is None else backend.xp.asarray(x.copy(), device=backend.device)

    host = HostNets(W.copy(), a, map, gates=elsewhere)
    nets = DeviceNets(backend, on_device(W), on_device(a), gates=on_device(elsewhere), keep=keep, tile=24, sample_space=False)
    runs = []
    for each in (host, nets):
        stage = each.stage(X, y, 0.1, start=None, watch=[problem.test[0]], keep=False)
        runs.append(descend(stage, lr=0.1, steps=20, threshold=0.0, rtol=1e-3, max_steps=20, record=(0, 7))[0])
    one, other = runs
    assert_dtype_close(one.outputs, other.outputs, 1, scale=1.0)
    assert_dtype_close(np.array(one.displacement), np.array(other.displacement), 1, scale=1.0)
    assert_dtype_close(np.array([w for (w,) in one.watched]), np.array([w for (w,) in other.watched]), 1, scale=1.0)


def test_read_only_inputs_are_left_alone():
    problem = make_problem("three")
    frozen = [x.copy() for pair in (problem.source, problem.target, problem.test) for x in pair]
    for x in frozen:
        x.flags.writeable = False
    X_P, y_P, X_Q, y_Q, X_T, y_T = frozen
    locked = ptoq.TransferProblem(source=(X_P, y_P), target=(X_Q, y_Q), test=(X_T, y_T))
    schedule = ptoq.Schedule(3, 3)
    for name in ("numpy", "torch"):
        backend_called(name)
        assert simulate(locked, schedule, width=64, backend=name) == simulate(problem, schedule, width=64, backend=name)


def test_the_forgetting_curve_ends_in_the_outcome_and_is_the_shorter_runs():
    problem = make_problem()
    schedule = ptoq.Schedule(9, 12, snapshots=(3, 7))
    outcome = simulate(problem, schedule, width=64, antisymmetric=False)
    curve = dict(zip(outcome.trajectory.steps, outcome.trajectory.source_loss, strict=True))
    assert curve[0.0] == pytest.approx(outcome.source_loss_pretrained, rel=1e-12)
    assert curve[12.0] == outcome.source_loss
    for k in (3, 7):
        shorter = simulate(problem, replace(schedule, target_steps=k, snapshots=()), width=64, antisymmetric=False)
        assert_dtype_close(curve[float(k)], shorter.source_loss, 1, scale=shorter.source_loss)
    start = simulate(problem, replace(schedule, target_steps=0, snapshots=()), width=64, antisymmetric=False)
    assert_dtype_close(outcome.pretrained_target_outputs, start.target_outputs, 1, scale=1.0)
    assert outcome.trajectory_scratch.source_loss is None


def test_displacement_and_outputs_are_taken_in_the_pass_of_the_step(monkeypatch):
    """No second pass over the weights at a recorded step that is known beforehand."""
    W, a = initial_net(96, 6, 1)
    X, y = make_problem().target
    passes = []
    original = HostNets.each
    monkeypatch.setattr(HostNets, "each", lambda self, blocks, visit: passes.append(len(blocks)) or original(self, blocks, visit))
    BlockedNet(W, a, map, block=32).descend(X, y[:, None], lr=0.1, steps=10, record=range(10), watch=[X])
    assert passes == [3] * 11


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("c", [1, 3])
def test_an_antisymmetric_net_with_nothing_to_learn_is_at_its_end(backend, c, dtype):
    """Its outputs are rounding errors of zero: there is nothing to unlearn either, which no number of steps could."""
    rng = np.random.default_rng(0)
    for name in ("numpy", "auto"):
        for d, width in ((2, 1280), (70, 1280), (150, 32)):
            sets = [(rng.standard_normal((7, d)) / d**0.5, np.zeros((7, c))) for _ in range(2)]
            problem = ptoq.TransferProblem(source=sets[0], target=sets[1])
            for outcomes in simulate_seeds(
                problem, ptoq.Schedule(), (0, None), (0, 1), width=width, init_scale=0.1, backend=name, dtype=dtype, max_steps=50
            ):
                assert [(o.source_steps, o.target_steps, o.displacement) for o in outcomes] == [(0, 0, 0.0)] * 2


def test_outputs_that_are_really_there_are_unlearnt():
    rng = np.random.default_rng(0)
    X, Z = rng.standard_normal((2, 7, 20)) / 20**0.5
    problem = ptoq.TransferProblem(source=(X, rng.standard_normal(7)), target=(Z, np.zeros(7)))
    outcome = simulate(problem, ptoq.Schedule(5, None), width=256, rtol=0.01)
    assert outcome.target_steps > 0
    assert np.linalg.norm(outcome.target_outputs) <= 0.01 * np.linalg.norm(outcome.pretrained_target_outputs)
    assert outcome.trajectory_scratch.steps == (0.0,)


@pytest.mark.parametrize("name", ["numpy", "torch", "strict-device1"])
@pytest.mark.parametrize("inside", [False, True])
def test_an_overflow_within_one_step_is_seen(name, inside):
    """Weights go from finite to NaN, and pre-activations with them: outputs must not come out as those of a dead net."""
    chosen = backend_called(name)
    X, y = (x.astype(np.float32) for x in make_problem().target)
    W, a = (x[None].astype(np.float32) for x in initial_net(64, 6, 1))
    if name == "numpy":
        nets = HostNets(W.copy(), a, map, sample_space=inside)
    else:
        nets = DeviceNets(chosen, *(chosen.xp.asarray(x.copy(), device=chosen.device) for x in (W, a)), sample_space=inside)
    stage = nets.stage(X, y[:, None], 1e30, start=None, watch=(), keep=False)
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(UnstableStep, match="the outputs overflowed at step"):
        descend(stage, lr=1e30, steps=6, threshold=0.0, rtol=1e-3, max_steps=6)


@pytest.mark.parametrize("inside", [False, True])
def test_tiles_fit_the_set_at_hand_whatever_was_evaluated_before(monkeypatch, inside):
    """Few samples first: the tile that they allow would be too large for many, and for wide inputs."""
    monkeypatch.setattr(device, "TILE", 600)
    torch = backend_called("torch")
    problem = make_problem(d=60, n=(50, 2, 9))
    sizes = []
    original = device.in_tiles
    monkeypatch.setattr(device, "in_tiles", lambda m, size, visit: sizes.append(size) or original(m, size, visit))
    W, a = (torch.xp.asarray(x[None]) for x in initial_net(64, 60, 1))
    nets = DeviceNets(torch, W, a, sample_space=inside)
    nets.outputs(problem.target[0])
    stage = nets.stage(problem.source[0], problem.source[1][:, None], 0.1, start=None, watch=[problem.target[0]], keep=True)
    stage.observe()
    stage.sync()
    assert set(sizes) == {10}


def test_a_batch_needs_seeds():
    with pytest.raises(InvalidInput, match="seeds is empty"):
        simulate_seeds(make_problem(), ptoq.Schedule(1, 1), (1,), [], width=64)
