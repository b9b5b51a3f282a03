"""Specifications, the cache by content, and a table against an independent training loop."""

import dataclasses
import os
import signal

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from dndiv import data, experiment, init, ladder, population, study, table
from dndiv.study import Directions, Observation, Training

TINY = experiment.Preset(("Digits",), seeds=3, extension_seeds=3, baseline_seeds=1, width_seeds=1, direction_seeds=3,
                         tuning_seeds=1, reinforced_seeds=1, variant_seeds=1, escape_seeds=1)


@pytest.fixture
def small(results, monkeypatch):
    """An experiment of two units that takes a second: two settings, two arms, one epoch."""
    units = [Training("Digits", setting, "sgd", ("default", "decorrelated"), (0, 1), epochs=1)
             for setting in ("shallow", "tiny")]
    monkeypatch.setitem(experiment.EXPERIMENTS, "small", lambda preset, names: units)
    monkeypatch.setitem(experiment.PRESETS, "smoke", TINY)
    return results


@pytest.mark.parametrize("change, message", [
    ({"data": "mnist"}, "unknown data set 'mnist'; choose one of MNIST"),
    ({"setting": "wide"}, "unknown setting 'wide'; choose one of shallow, tiny, narrow"),
    ({"optimizer": "SGD"}, "unknown optimizer 'SGD'; choose one of sgd, adam"),
    ({"arms": ("default", "decorelated")}, "unknown arm 'decorelated'; choose one of default"),
    ({"arms": ()}, "one or more different names"), ({"arms": ("he", "he")}, "one or more different names"),
    ({"seeds": ()}, "one or more different integers"), ({"seeds": (1, 1)}, "one or more different integers"),
    ({"seeds": (-1,)}, "integers from 0"), ({"epochs": 0}, "at least 1, not 0"),
])
def test_a_bad_specification_is_refused_with_the_valid_values(change, message):
    good = Training("Digits", "tiny", "sgd", ("default",), (0,))
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(good, **change)


@pytest.mark.parametrize("words, message", [
    (("late", "smoke"), "unknown table 'late'; choose one of directions, early"),
    (("early", "papr"), "unknown preset 'papr'; choose one of smoke, quick, paper, reference"),
    (("early", "smoke", "gpu"), "unknown device 'gpu'; choose one of auto, cpu, cuda"),
    (("early", "smoke", "cpu", 0), "whole number from 1, not '0'"),
])
def test_a_bad_request_is_refused_before_any_work(results, words, message):
    with pytest.raises(ValueError, match=message):
        experiment.table(*words)
    assert not list(results.iterdir())


def test_specifications_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Training("Digits", "tiny", "sgd", ("default",), (0,)).epochs = 3


@pytest.mark.parametrize("setting", table.SETTINGS)
@pytest.mark.parametrize("optimizer", table.OPTIMIZERS)
def test_the_table_agrees_with_an_independent_training_loop(setting, optimizer):
    digits, seed, arms = data.load("Digits"), 1, ("default", "decorrelated", "alive")
    rows = pd.DataFrame(Training("Digits", setting, optimizer, arms, (0, seed), epochs=2).rows("cpu"),
                        columns=table.COLUMNS)
    for arm in arms:
        sizes = (64, *table.SETTINGS[setting], 10)
        net = nn.Sequential(*[m for i, o in zip(sizes, sizes[1:]) for m in (nn.Linear(i, o), nn.ReLU())][:-1])
        epoch_orders = [o[0] for _, o in zip(range(2), population.orders([seed], 1437))]
        ladder.initialize_(net, arm, digits.x_train[epoch_orders[0][:1024]], population.draw_generator(seed))
        update = torch.optim.SGD(net.parameters(), 0.01) if optimizer == "sgd" else torch.optim.Adam(net.parameters(), 0.001)
        for epoch in range(3):
            if epoch:
                for index in epoch_orders[epoch - 1].split(8):
                    update.zero_grad()
                    nn.functional.cross_entropy(net(digits.x_train[index]), digits.y_train[index]).backward()
                    update.step()
            with torch.no_grad():
                logits = net(digits.x_test)
            expected = {"accuracy": (logits.argmax(1) == digits.y_test).float().mean().item(),
                        "loss": nn.functional.cross_entropy(logits, digits.y_test).item()}
            found = rows[(rows.arm == arm) & (rows.seed == seed) & (rows.epoch == epoch)].set_index("measure").value
            assert found.accuracy == pytest.approx(expected["accuracy"], abs=3 / 360)  # float32, and near-ties
            assert found.loss == pytest.approx(expected["loss"], rel=5e-3)


def test_an_observation_measures_what_the_measures_do_and_trains_alike():
    unit = Observation("Digits", "tiny", "sgd", ("default", "decorrelated"), (0, 1), epochs=1)
    rows = pd.DataFrame(unit.rows("cpu"), columns=table.COLUMNS)
    plain = pd.DataFrame(Training("Digits", "tiny", "sgd", unit.arms, unit.seeds, epochs=1).rows("cpu"), columns=table.COLUMNS)
    both = rows.merge(plain.astype({"epoch": float}), on=table.COLUMNS[:-1])  # what is observed does not change what is learnt
    assert len(both) == len(plain) == 16 and (both.value_x == both.value_y).all()
    assert sorted(rows.epoch.unique()) == pytest.approx([0, *(2 ** k / 180 for k in range(8)), 1], abs=1e-6)

    # the same network trained alone, and its measures one by one with NumPy
    digits = data.load("Digits")
    net = ladder.initialize_(population.network((64, 4, 4, 4, 10)), "decorrelated", None, population.draw_generator(1))
    update = torch.optim.SGD(net.parameters(), 0.01)
    for index in next(population.orders([1], 1437))[0].split(8):
        update.zero_grad()
        nn.functional.cross_entropy(net(digits.x_train[index]), digits.y_train[index]).backward()
        update.step()
    with torch.no_grad():
        h = net[:4](digits.x_test)  # after the second hidden layer
        whole = (net(digits.x_test).argmax(1) == digits.y_test).double().mean().item()
        h[:, 3] = 0
        without = (net[4:](h).argmax(1) == digits.y_test).double().mean().item()
        h = net[:4](digits.x_test).double().numpy()
    last = rows[(rows.arm == "decorrelated") & (rows.seed == 1) & (rows.epoch == 1)].set_index(["layer", "measure"]).value
    assert last["2", "dead"] == (h == 0).all(0).mean()
    varied = h[:, h.std(0) > 1e-6]
    correlation = np.corrcoef(varied.T)[np.triu_indices(varied.shape[1], 1)]
    assert last["2", "correlation"] == pytest.approx(np.abs(correlation).mean(), abs=2e-3)
    singular = np.linalg.svd(varied - varied.mean(0), compute_uv=False)
    share = singular / singular.sum()
    assert last["2", "effective_rank"] == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-2)
    assert last["2.3", "lesion"] == pytest.approx(whole - without, abs=4 / 360)
    assert last["3", "ensemble"] == pytest.approx(last["3", "member"] - last["3", "ambiguity"], rel=1e-3)


def test_an_observation_of_some_arms_is_the_one_of_all_without_the_others():
    whole = Observation("Digits", "tiny", "sgd", ("default", "he", "decorrelated"), (0, 1), epochs=1)
    rows, part = (pd.DataFrame(u.rows("cpu"), columns=table.COLUMNS)
                  for u in (whole, dataclasses.replace(whole, observed=("default", "decorrelated"))))
    kept = rows[(rows.arm != "he") | ((rows.layer == "") & (rows.epoch % 1 == 0))]
    order = table.COLUMNS[:-1]
    expected, found = (t.sort_values(order).reset_index(drop=True) for t in (kept, part))
    pd.testing.assert_frame_equal(found, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="unknown observed arm 'alive'; choose one of default, he, decorrelated"):
        dataclasses.replace(whole, observed=("alive",))


def test_numbers_have_the_digits_of_their_precision_and_no_more():
    values = torch.tensor([0.1, 1 / 3, float("nan"), -float("inf")])
    assert study.listed(values)[:2] == [0.1, 0.33333334] and np.isnan(study.listed(values)[2])
    assert torch.equal(torch.tensor(study.listed(values[[0, 1, 3]])), values[[0, 1, 3]])  # to the last bit
    assert study.listed(values.double()[1:2]) == values.double()[1:2].tolist()


def test_two_tables_of_one_experiment_share_its_units(results, monkeypatch):
    units = [Observation("Digits", "tiny", "sgd", ("default", "he", "decorrelated"), (0,), epochs=1, observed=experiment.OBSERVED_ARMS)]
    monkeypatch.setitem(experiment.EXPERIMENTS, "early", lambda preset, names: units)
    early = experiment.table("early", "smoke", "cpu", jobs=1)
    monkeypatch.setattr(experiment, "_compute", lambda *a: pytest.fail("computed twice"))
    observed = experiment.table("diversity", "smoke", "cpu", jobs=1)
    assert set(early.measure) == {"accuracy", "loss"} and set(early.epoch) == {0, 1} and set(early.arm) == set(units[0].arms)
    assert {"effective_rank", "lesion", "accuracy"} <= set(observed.measure) and set(observed.arm) == set(experiment.OBSERVED_ARMS)


def test_portraits_show_the_least_and_the_most_correlated_network():
    unit = study.Portraits("Digits", "shallow", "adam", ("default",), tuple(range(4)), epochs=1)
    rows = pd.DataFrame(unit.rows("cpu"), columns=table.COLUMNS)
    last = rows[(rows.measure == "pair") & (rows.epoch == 1)]
    chosen = rows[rows.measure == "weight"].seed.unique()
    assert len(chosen) == 2 and len(rows[rows.measure == "weight"]) == 2 * 16 * 64
    assert {len(g) for _, g in last.groupby("seed")} == {256}
    assert set(last.seed) == {0, *chosen}
    least, most = (last[last.seed == s].value.abs().mean() for s in chosen)
    assert least < most


def test_directions_against_numpy_one_pair_at_a_time():
    rows = pd.DataFrame(Directions("tiny", ("default",), (5,)).rows("cpu"), columns=table.COLUMNS)
    nets = [init.default_(population.network((784, 4, 4, 4)), population.draw_generator(s))
            for s in (5, 5 + study.PARTNER)]
    w, other = (net[2].weight.detach().numpy().astype(float) for net in nets)

    def cosine(a, b):
        return a @ b / np.sqrt((a @ a) * (b @ b))

    pairs = [cosine(w[i], w[j]) for i in range(4) for j in range(i)]
    across = [cosine(w[i], other[i]) for i in range(4)]
    found = rows[rows.layer == 2].set_index("measure").value
    expected = {"similarity": np.mean(np.abs(pairs)), "max_similarity": np.max(np.abs(pairs)), "cosine": np.mean(pairs),
                "across": np.mean(np.abs(across)), "row_cosine": across[0]}
    assert found.to_dict() == pytest.approx(expected)


def test_nothing_is_computed_twice_and_an_interrupted_run_goes_on(small, monkeypatch):
    first = experiment.table("small", "smoke", "cpu", jobs=1)
    assert list(first.columns) == table.COLUMNS and len(first) == 2 * 2 * 2 * 2 * 2
    units = sorted((small / "cache").glob("*.csv"))
    before = {path: path.read_bytes() for path in units}
    units[0].unlink()  # as if killed before it was finished
    ran = []
    run = experiment._run
    monkeypatch.setattr(experiment, "_run", lambda unit, device: ran.append(unit) or run(unit, device))
    second = experiment.table("small", "smoke", "cpu", jobs=1)
    assert len(ran) == 1
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    assert {path: path.read_bytes() for path in units} == before  # bit for bit
    experiment.table("small", "smoke", "cpu", jobs=1)
    assert len(ran) == 1
    assert not list(small.rglob("*.part"))


def test_a_unit_that_fails_leaves_nothing_behind_but_the_finished_ones(small, monkeypatch):
    rows = Training.rows

    def fail(self, device):
        if self.setting == "tiny":
            raise RuntimeError("no more power")
        return rows(self, device)

    monkeypatch.setattr(Training, "rows", fail)
    monkeypatch.setattr(experiment, "_code", lambda kind: "the same")
    with pytest.raises(RuntimeError, match="no more power"):
        experiment.table("small", "smoke", "cpu", jobs=1)
    assert len(list((small / "cache").glob("*.csv"))) == 1 and not list(small.rglob("*.part"))


def test_tables_do_not_depend_on_the_number_of_processes(small):
    one = experiment.table("small", "smoke", "cpu", jobs=1)
    for path in (small / "cache").iterdir():
        path.unlink()
    pd.testing.assert_frame_equal(one, experiment.table("small", "smoke", "cpu", jobs=2), check_exact=True)


def test_written_tables_are_read_back_bit_for_bit_and_have_the_same_bytes(small, monkeypatch):
    frame = experiment.table("small", "smoke", "cpu", jobs=1)
    frame.loc[0, "value"] = float("nan")
    table.write(frame, "small", "smoke")
    content = table.path("small", "smoke").read_bytes()
    pd.testing.assert_frame_equal(table.read("small", "smoke"), frame, check_exact=True)
    monkeypatch.setattr(table.os, "getpid", lambda: 1)  # another process, another part file
    table.write(frame, "small", "smoke")
    assert table.path("small", "smoke").read_bytes() == content
    with pytest.raises(FileNotFoundError, match="make it with `make reproduce PRESET=quick`"):
        table.read("small", "quick")


def test_the_key_of_a_unit_follows_what_it_computes(monkeypatch):
    unit = Training("Digits", "tiny", "sgd", ("default",), (0,))
    key = experiment._path(unit).name
    assert experiment._path(Training("Digits", "tiny", "sgd", ("default",), (0,))).name == key
    others = [dataclasses.replace(unit, **change) for change in (
        {"setting": "3×4"}, {"seeds": (1,)}, {"arms": ("he",)}, {"optimizer": "adam"}, {"epochs": 3}, {"setting": "narrow"})]
    names = {experiment._path(u).name for u in others}
    monkeypatch.setitem(study.BATCH, "Digits", 16)
    names.add(experiment._path(unit).name)
    monkeypatch.setattr(experiment, "_code", lambda kind: "other code")
    names.add(experiment._path(unit).name)
    assert key not in names and len(names) == 8


def test_comments_and_docstrings_do_not_change_the_code_and_statements_do():
    code = 'def f(x):\n    """Doc."""\n    return x + 1\n'
    same = '# A comment.\ndef f(x):\n\n    """Other words."""\n    # why\n    return (x + 1)\n'
    assert experiment.stripped(code) == experiment.stripped(same) != experiment.stripped(code.replace("1", "2"))


@pytest.mark.parametrize("preset", experiment.PRESETS)
def test_every_unit_of_every_experiment_has_a_key_of_its_own(preset):
    units = [u for name in experiment.EXPERIMENTS for u in experiment.units(name, preset, ("Digits",))]
    assert len({experiment._path(u) for u in units}) == len(set(units)) >= 10


@pytest.mark.parametrize("preset, seeds", [("smoke", 5), ("quick", 4), ("paper", 30)])
def test_presets_cover_every_setting_with_their_seeds(preset, seeds):
    names = experiment.PRESETS[preset].data
    cells = {}
    for unit in experiment.units("early", preset, names):
        cells.setdefault((unit.data, unit.setting, unit.optimizer), []).extend(unit.seeds)
    assert len(cells) == len(names) * len(table.SETTINGS) * len(table.OPTIMIZERS)
    assert all(found == list(range(seeds)) for found in cells.values())


def test_what_draws_and_judges_needs_no_torch():
    import subprocess
    import sys

    code = "import sys, dndiv, dndiv.claims, dndiv.figures, dndiv.readme; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_cuda_is_refused_where_there_is_none(results):
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="PyTorch sees no GPU here; choose auto or cpu"):
            experiment.table("early", "smoke", "cuda")
    assert experiment.choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")


# ------------------------------------------------------------------------------------------------ beyond one machine
def test_a_cluster_makes_the_same_table_though_a_worker_is_killed(small, tmp_path, monkeypatch):
    from distributed import LocalCluster

    units = [Training("Digits", "tiny", "sgd", ("default", "decorrelated"), (s,), epochs=4) for s in range(6)]
    monkeypatch.setitem(experiment.EXPERIMENTS, "small", lambda preset, names: units)
    expected = experiment.table("small", "smoke", jobs=1)
    computed = sorted((small / "cache").glob("*.csv"))
    assert len(computed) == 6
    kept = {path.name: path.read_bytes() for path in computed}
    for path in computed:
        path.unlink()

    finished = []
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, worker_dashboard_address=None,
                      host="127.0.0.1", protocol="tcp", local_directory=tmp_path) as cluster:
        monkeypatch.setenv("DNDIV_CLUSTER", cluster.scheduler_address)
        write = experiment.atomically

        def watched(path, save):
            write(path, save)
            if path.suffix == ".csv":
                finished.append(path.name)
                if len(finished) == 1:  # in the middle: five units are under way or waiting
                    victim = next(iter(cluster.workers.values()))
                    os.kill(victim.pid, signal.SIGKILL)

        monkeypatch.setattr(experiment, "atomically", watched)
        found = experiment.table("small", "smoke")
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert sorted(finished) == sorted(kept)  # nothing lost, nothing twice
    assert all((small / "cache" / name).read_bytes() == content for name, content in kept.items())


def test_a_cluster_that_is_not_there_is_said_before_any_work(small, monkeypatch):
    monkeypatch.setenv("DNDIV_CLUSTER", "tcp://127.0.0.1:9")
    with pytest.raises(RuntimeError, match="no Dask scheduler at DNDIV_CLUSTER=tcp://127.0.0.1:9"):
        experiment.table("small", "smoke")
    assert not list(small.iterdir())
