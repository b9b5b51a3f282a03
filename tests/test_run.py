"""Units on disk and their keys, tables from them, processes and clusters."""

import dataclasses
import os
import signal

import pandas as pd
import pytest
import torch

from dndiv.paper import cache, compute, design, files, registered, run, tables
from dndiv.paper.design import Parity, Training
from dndiv.paper.names import COLUMNS

TINY = dataclasses.replace(design.PRESETS["smoke"], direction_seeds=3)


@pytest.fixture
def small(results, monkeypatch):
    """An experiment of two units that takes a second: two settings, two arms, one epoch."""
    units = [
        Training("Digits", setting, "sgd", ("default", "decorrelated"), (0, 1), epochs=1)
        for setting in ("shallow", "tiny")
    ]
    monkeypatch.setitem(design.EXPERIMENTS, "small", lambda preset, names: units)
    monkeypatch.setitem(design.PRESETS, "smoke", TINY)
    return results


@pytest.mark.parametrize(
    "words, message",
    [
        (("late", "smoke"), "unknown table 'late'; choose one of directions, early"),
        (("early", "papr"), "unknown preset 'papr'; choose one of smoke, quick, paper, reference"),
        (("early", "smoke", "gpu"), "unknown device 'gpu'; choose one of auto, cpu, cuda"),
        (("early", "smoke", "cpu", 0), "whole number from 1, not '0'"),
    ],
)
def test_a_bad_request_is_refused_before_any_work(results, words, message):
    with pytest.raises(ValueError, match=message):
        tables.table(*words)
    assert not list(results.iterdir())


def test_two_tables_of_one_experiment_share_its_units(results, monkeypatch):
    units = [
        Training(
            "Digits",
            "tiny",
            "sgd",
            ("default", "he", "decorrelated"),
            (0,),
            epochs=1,
            observed=design.OBSERVED_ARMS,
            records=("accuracy", "diversity", "lesions"),
        )
    ]
    monkeypatch.setitem(design.EXPERIMENTS, "early", lambda preset, names: units)
    early = tables.table("early", "smoke", "cpu", jobs=1)
    monkeypatch.setattr(run, "_compute", lambda *a: pytest.fail("computed twice"))
    observed = tables.table("diversity", "smoke", "cpu", jobs=1)
    assert (
        set(early.measure) == {"accuracy", "loss"}
        and set(early.epoch) == {0, 1}
        and set(early.arm) == set(map(str, units[0].arms))
    )
    assert {"effective_rank", "lesion", "accuracy"} <= set(observed.measure) and set(
        observed.arm
    ) == set(design.OBSERVED_ARMS)


def test_nothing_is_computed_twice_and_an_interrupted_run_goes_on(small, monkeypatch):
    first = tables.table("small", "smoke", "cpu", jobs=1)
    assert list(first.columns) == COLUMNS and len(first) == 2 * 2 * 2 * 2 * 2
    units = sorted((small / "cache").glob("*.csv"))
    before = {path: path.read_bytes() for path in units}
    units[0].unlink()  # as if killed before it was finished
    ran = []
    compute_one = run._run
    monkeypatch.setattr(
        run, "_run", lambda unit, device: ran.append(unit) or compute_one(unit, device)
    )
    second = tables.table("small", "smoke", "cpu", jobs=1)
    assert len(ran) == 1
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    assert {path: path.read_bytes() for path in units} == before  # bit for bit
    tables.table("small", "smoke", "cpu", jobs=1)
    assert len(ran) == 1
    assert not list(small.rglob("*.part"))


def test_a_unit_that_fails_leaves_nothing_behind_but_the_finished_ones(small, monkeypatch):
    rows = compute.rows

    def fail(unit, device):
        if unit.setting == "tiny":
            raise RuntimeError("no more power")
        return rows(unit, device)

    monkeypatch.setattr(compute, "rows", fail)
    with pytest.raises(RuntimeError, match="no more power"):
        tables.table("small", "smoke", "cpu", jobs=1)
    assert len(list((small / "cache").glob("*.csv"))) == 1 and not list(small.rglob("*.part"))


def cut(path):
    path.write_bytes(path.read_bytes()[:-30])


def cut_at_a_line(path):
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-2]))


def only_a_header(path):
    path.write_text(path.read_text().splitlines(keepends=True)[0])


def flip_a_digit(path):
    text = path.read_text()
    at = text.rindex("0.")
    path.write_text(text[: at + 2] + str((int(text[at + 2]) + 1) % 10) + text[at + 3 :])


def another_unit(path):
    [other] = [p for p in path.parent.glob("*.csv") if p != path]
    path.write_bytes(other.read_bytes())


def no_record(path):
    path.with_suffix(".json").unlink()


@pytest.mark.parametrize(
    "damage",
    [cut, cut_at_a_line, only_a_header, flip_a_digit, another_unit, no_record]
    + [lambda path: path.write_text("")],
)
def test_a_damaged_unit_is_named_set_aside_and_computed_again(small, capsys, damage):
    before = tables.table("small", "smoke", "cpu", jobs=1)
    unit = sorted((small / "cache").glob("*.csv"))[0]
    damage(unit)
    capsys.readouterr()
    after = tables.table("small", "smoke", "cpu", jobs=1)
    said = capsys.readouterr().err
    assert (
        f"{unit} is damaged: it is {unit.stem}.damaged now" in said and "computing 1 units" in said
    )
    pd.testing.assert_frame_equal(before, after, check_exact=True)
    assert unit.with_suffix(".damaged").exists()


def test_tables_do_not_depend_on_the_number_of_processes(small):
    one = tables.table("small", "smoke", "cpu", jobs=1)
    for path in (small / "cache").iterdir():
        path.unlink()
    pd.testing.assert_frame_equal(
        one, tables.table("small", "smoke", "cpu", jobs=2), check_exact=True
    )


def test_written_tables_are_read_back_bit_for_bit_and_have_the_same_bytes(small, monkeypatch):
    frame = tables.table("small", "smoke", "cpu", jobs=1)
    frame.loc[0, "value"] = float("nan")
    tables.write(frame, "small", "smoke")
    content = tables.path("small", "smoke").read_bytes()
    pd.testing.assert_frame_equal(tables.read("small", "smoke"), frame, check_exact=True)
    monkeypatch.setattr(files.os, "getpid", lambda: 1)  # another process, another part file
    tables.write(frame, "small", "smoke")
    assert tables.path("small", "smoke").read_bytes() == content
    with pytest.raises(FileNotFoundError, match="make it with `make reproduce PRESET=quick`"):
        tables.read("small", "quick")


def test_the_key_of_a_unit_follows_what_it_computes(monkeypatch):
    unit = Training("Digits", "tiny", "sgd", ("default",), (0,))
    assert cache.key(Training("Digits", "tiny", "sgd", ("default",), (0,))) == cache.key(unit)
    changes = [{"setting": "3×4"}, {"setting": "narrow"}, {"seeds": (1,)}, {"arms": ("he",)},
               {"optimizer": "adam"}, {"epochs": 3}, {"looks": "quarters"}]  # fmt: skip
    keys = {cache.key(dataclasses.replace(unit, **change)) for change in changes} | {
        cache.key(unit)
    }
    monkeypatch.setattr(compute.data, "checksum", lambda name: "other images")
    keys.add(cache.key(unit))
    monkeypatch.setattr(cache, "_code", lambda kind, entries: "other code")
    keys.add(cache.key(unit))
    assert len(keys) == len(changes) + 3


def test_the_key_of_a_unit_follows_its_coefficients(monkeypatch):
    unit = Parity("XOR", "1×2", ("default", "default+log_volume:dynamic"), (0,))
    key = cache.key(unit)
    other = {"log_volume": {"dynamic": {"1×2 sgd": 0.123}}}
    monkeypatch.setattr(registered, "_read", lambda file: other)
    assert cache.key(unit) != key
    with pytest.raises(ValueError, match="coefficients.yml has no dynamic coefficient for 1×4 sgd"):
        cache.key(dataclasses.replace(unit, setting="1×4"))


@pytest.mark.parametrize("preset", design.PRESETS)
def test_every_unit_of_every_experiment_has_a_key_of_its_own(preset):
    units = [u for name in design.EXPERIMENTS for u in design.units(name, preset, ("Digits",))]
    assert len({cache.key(u) for u in units}) == len(set(units)) >= 10


def test_cuda_is_refused_where_there_is_none(results):
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="PyTorch sees no GPU here; choose auto or cpu"):
            tables.table("early", "smoke", "cuda")
    assert run.choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_cluster_makes_the_same_table_though_a_worker_is_killed(small, tmp_path, monkeypatch):
    from distributed import LocalCluster

    units = [
        Training("Digits", "tiny", "sgd", ("default", "decorrelated"), (s,), epochs=4)
        for s in range(6)
    ]
    monkeypatch.setitem(design.EXPERIMENTS, "small", lambda preset, names: units)
    expected = tables.table("small", "smoke", jobs=1)
    computed = sorted((small / "cache").glob("*.csv"))
    assert len(computed) == 6
    kept = {path.name: path.read_bytes() for path in computed}
    for path in computed:
        path.unlink()

    finished = []
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        worker_dashboard_address=None,
        host="127.0.0.1",
        protocol="tcp",
        local_directory=tmp_path,
    ) as cluster:
        monkeypatch.setenv("DNDIV_CLUSTER", cluster.scheduler_address)
        write = files.atomically

        def watched(path, save):
            write(path, save)
            if path.suffix == ".csv":
                finished.append(path.name)
                if len(finished) == 1:  # in the middle: five units are under way or waiting
                    victim = next(iter(cluster.workers.values()))
                    os.kill(victim.pid, signal.SIGKILL)

        monkeypatch.setattr(files, "atomically", watched)
        found = tables.table("small", "smoke")
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert sorted(finished) == sorted(kept)  # nothing lost, nothing twice
    assert all((small / "cache" / name).read_bytes() == content for name, content in kept.items())


def test_a_cluster_that_is_not_there_is_said_before_any_work(small, monkeypatch):
    monkeypatch.setenv("DNDIV_CLUSTER", "tcp://127.0.0.1:9")
    with pytest.raises(RuntimeError, match="no Dask scheduler at DNDIV_CLUSTER=tcp://127.0.0.1:9"):
        tables.table("small", "smoke")
    assert not list(small.iterdir())
