"""Units on disk and their keys, tables from them, processes and clusters."""

import dataclasses
import multiprocessing.forkserver
import os
import shutil
import signal
import socket
import subprocess
import sys

import pandas as pd
import pytest
import torch

from dndiv.paper import cache, compute, design, experiments, files, registered, run, tables
from dndiv.paper.design import Parity, Training
from dndiv.paper.files import REFERENCE
from dndiv.paper.names import COLUMNS

TINY = dataclasses.replace(experiments.PRESETS["smoke"], direction_seeds=3)


@pytest.fixture
def small(results, monkeypatch):
    """An experiment of two units that takes a second: two settings, two arms, one epoch."""
    units = [
        Training("Digits", setting, "sgd", ("default", "decorrelated"), (0, 1), epochs=1)
        for setting in ("shallow", "tiny")
    ]
    monkeypatch.setitem(experiments.EXPERIMENTS, "small", lambda preset, names: units)
    monkeypatch.setitem(experiments.PRESETS, "smoke", TINY)
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


def test_the_rows_of_some_measures_are_those_of_the_whole_table():
    whole = tables.table("escape", REFERENCE)
    some = tables.table("escape", REFERENCE, measures=["accuracy", "dead"])
    assert set(some.measure) == {"accuracy", "dead"}
    pd.testing.assert_frame_equal(some, whole[whole.measure.isin(["accuracy", "dead"])])


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
    monkeypatch.setitem(experiments.EXPERIMENTS, "early", lambda preset, names: units)
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
    monkeypatch.setattr(registered, "read", lambda file: other)
    assert cache.key(unit) != key
    with pytest.raises(ValueError, match="coefficients.yml has no dynamic coefficient for 1×4 sgd"):
        cache.key(dataclasses.replace(unit, setting="1×4"))


@pytest.mark.parametrize("preset", experiments.PRESETS)
def test_every_unit_of_every_experiment_has_a_key_of_its_own(preset):
    units = [
        u for name in experiments.EXPERIMENTS for u in experiments.units(name, preset, ("Digits",))
    ]
    assert len({cache.key(u) for u in units}) == len(set(units)) >= 10


def test_cuda_is_refused_where_there_is_none(results):
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="PyTorch sees no GPU here; choose auto or cpu"):
            tables.table("early", "smoke", "cuda")
    assert run.choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(scope="module")
def forks():
    """Processes that have loaded what schedulers and workers need before they start: each would
    take longer to load it than for all that it does here."""
    import dask
    import distributed  # noqa: F401, whose settings would go with the one that is set here

    multiprocessing.set_forkserver_preload(["distributed", "dndiv.paper.run"])
    multiprocessing.forkserver.ensure_running()
    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        yield multiprocessing.get_context("forkserver")


def local_cluster(folder, workers, **more):
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        worker_dashboard_address=None,
        local_directory=folder,
        **({"host": "127.0.0.1", "protocol": "tcp"} | more),
    )


def test_a_cluster_makes_the_same_table_though_a_worker_is_killed(
    forks, small, tmp_path, monkeypatch
):
    units = [
        Training("Digits", "tiny", "sgd", ("default", "decorrelated"), (s,), epochs=4)
        for s in range(6)
    ]
    monkeypatch.setitem(experiments.EXPERIMENTS, "small", lambda preset, names: units)
    expected = tables.table("small", "smoke", jobs=1)
    computed = sorted((small / "cache").glob("*.csv"))
    assert len(computed) == 6
    kept = {path.name: path.read_bytes() for path in computed}
    for path in computed:
        path.unlink()

    finished = []
    with local_cluster(tmp_path, 2) as cluster:
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
    monkeypatch.setenv("DNDIV_CLUSTER_WAIT", "1")
    with pytest.raises(RuntimeError, match="no Dask scheduler at DNDIV_CLUSTER=tcp://127.0.0.1:9"):
        tables.table("small", "smoke")
    assert not list(small.iterdir())


OTHERS = {  # what is different in the checkout of a worker
    "dndiv/paper/design.py": ('"sgd": 0.01', '"sgd": 0.02'),
    "coefficients.yml": ("narrow sgd: 100.0", "narrow sgd: 10.0"),
    "dndiv/paper/provenance.py": ("platform.python_version()", '"3.9.9"'),
}


def test_a_worker_that_would_compute_something_else_is_named_and_refused(
    small, tmp_path_factory, monkeypatch
):
    arms = ("default", "default+prediction_diversity:dynamic")
    units = [Training("Digits", "narrow", "sgd", arms, (0,), epochs=1)]
    monkeypatch.setitem(experiments.EXPERIMENTS, "small", lambda preset, names: units)
    other = tmp_path_factory.mktemp("other")
    without = shutil.ignore_patterns("__pycache__")
    shutil.copytree(files.ROOT / "dndiv", other / "dndiv", ignore=without)
    for name in ("coefficients.yml", "claims.yml", "assumptions.yml"):
        shutil.copy(files.ROOT / name, other)
    for name, change in OTHERS.items():
        text = (other / name).read_text("utf8")
        assert change[0] in text
        (other / name).write_text(text.replace(*change, 1), "utf8")
    with local_cluster(other, 0) as cluster:
        monkeypatch.setenv("DNDIV_CLUSTER", cluster.scheduler_address)
        words = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address]
        words += ["--nthreads", "1", "--no-dashboard", "--no-nanny", "--local-directory", other]
        here = os.environ | {"PYTHONPATH": str(other)}
        worker = subprocess.Popen(words, cwd=other, env=here, stderr=subprocess.DEVNULL)
        try:
            with pytest.raises(
                RuntimeError, match=r"the worker tcp://127\.0\.0\.1:\d+ is refused"
            ) as e:
                tables.table("small", "smoke")
        finally:
            worker.kill()
            worker.wait()
    for said in ("other code", "other coefficients", "python 3.9.9 in place of "):
        assert said in str(e.value)
    assert not (small / "cache").exists()


def test_a_cluster_without_workers_is_an_error_that_says_what_to_do(small, tmp_path, monkeypatch):
    monkeypatch.setenv("DNDIV_CLUSTER_WAIT", "4")  # less, and a busy machine's scheduler is lost
    with local_cluster(tmp_path, 0) as cluster:
        monkeypatch.setenv("DNDIV_CLUSTER", cluster.scheduler_address)
        with pytest.raises(RuntimeError, match="has had no worker for 4 s; start some with `dask"):
            tables.table("small", "smoke")
    monkeypatch.setenv("DNDIV_CLUSTER_WAIT", "soon")
    with pytest.raises(ValueError, match="DNDIV_CLUSTER_WAIT must be whole seconds from 1"):
        tables.table("small", "smoke")


def test_a_cluster_that_loses_all_workers_is_an_error_and_keeps_what_is_finished(
    forks, small, tmp_path, monkeypatch, capsys
):
    many = [Training("Digits", "tiny", "sgd", ("default",), (s,), epochs=4) for s in range(20)]
    monkeypatch.setitem(experiments.EXPERIMENTS, "small", lambda preset, names: many)
    monkeypatch.setenv("DNDIV_CLUSTER_WAIT", "5")
    keep = cache.keep
    with local_cluster(tmp_path, 1) as cluster:
        monkeypatch.setenv("DNDIV_CLUSTER", cluster.scheduler_address)

        def keep_and_lose(*words):
            keep(*words)
            cluster.scale(0)

        monkeypatch.setattr(cache, "keep", keep_and_lose)
        with pytest.raises(RuntimeError, match="has had no worker for 5 s"):
            tables.table("small", "smoke")
    said = capsys.readouterr().err
    assert "computing 20 units on cpu, 1 workers of tcp" in said and "\n0 workers of tcp" in said
    assert 1 <= len(list((small / "cache").glob("*.csv"))) < 20


@pytest.mark.parametrize("lost", [signal.SIGKILL, signal.SIGSTOP])  # gone, and silent
def test_a_cluster_whose_scheduler_is_lost_is_an_error_and_keeps_what_is_finished(
    forks, small, tmp_path_factory, monkeypatch, capfd, lost
):
    from distributed import Client

    many = [Training("Digits", "tiny", "sgd", ("default",), (s,), epochs=4) for s in range(20)]
    monkeypatch.setitem(experiments.EXPERIMENTS, "small", lambda preset, names: many)
    monkeypatch.setenv("DNDIV_CLUSTER_WAIT", "5")
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
    address, own = f"tcp://{host}:{port}", tmp_path_factory.mktemp("own")
    monkeypatch.setenv("DNDIV_CLUSTER", address)

    def start(role, *words):
        words = ["--no-dashboard", *words]
        command = f"from distributed.cli.dask_{role} import main; main({words})"
        process = forks.Process(target=exec, args=(command,))
        process.start()
        return process

    scheduler = start("scheduler", "--host", host, "--port", str(port))
    worker = start("worker", address, "--nthreads=1", "--no-nanny", f"--local-directory={own}")
    keep = cache.keep

    def keep_and_lose(*words):
        keep(*words)
        os.kill(scheduler.pid, lost)

    monkeypatch.setattr(cache, "keep", keep_and_lose)
    try:
        with Client(address, timeout=60) as client:
            client.wait_for_workers(1, timeout=60)
        with pytest.raises(
            RuntimeError, match=r"the scheduler at .* is lost \(\w+\); start it and"
        ):
            tables.table("small", "smoke")
    finally:
        for process in (worker, scheduler):
            process.kill()
            process.join()
    assert "Traceback" not in capfd.readouterr().err
    assert 1 <= len(list((small / "cache").glob("*.csv"))) < 20


def test_a_unit_that_kills_its_workers_is_an_error_that_says_so(
    forks, small, tmp_path, monkeypatch
):
    import dask

    keep = cache.keep
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        with local_cluster(tmp_path, 1) as cluster:
            monkeypatch.setenv("DNDIV_CLUSTER", cluster.scheduler_address)
            [worker] = cluster.workers.values()

            def keep_and_kill(*words):
                keep(*words)
                os.kill(worker.pid, signal.SIGKILL)

            monkeypatch.setattr(cache, "keep", keep_and_kill)
            with pytest.raises(RuntimeError, match="workers die of a unit, for want"):
                tables.table("small", "smoke")


def test_a_cluster_over_tls_needs_a_certificate(forks, small, tmp_path, monkeypatch):
    """One certificate for all, signed by itself."""
    import dask
    from distributed.security import Security

    key, cert = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout".split()  # noqa: SIM905
    subprocess.run(["openssl", *words, key, "-out", cert], check=True, capture_output=True)
    tls = {"distributed.comm.tls.ca-file": cert}
    for role in ("client", "worker", "scheduler"):
        tls |= {f"distributed.comm.tls.{role}.key": key, f"distributed.comm.tls.{role}.cert": cert}
    with dask.config.set(tls):
        more = {"security": Security(), "protocol": "tls"}
        with local_cluster(tmp_path, 1, **more) as cluster:
            assert cluster.scheduler_address.startswith("tls://")
            monkeypatch.setenv("DNDIV_CLUSTER", cluster.scheduler_address)
            table = tables.table("small", "smoke")
            assert len(table) == 32
            for unit in (small / "cache").iterdir():
                unit.unlink()
            monkeypatch.setenv("DNDIV_CLUSTER_WAIT", "1")
            with dask.config.set({"distributed.comm.tls.ca-file": None}):
                with pytest.raises(RuntimeError, match="no Dask scheduler at DNDIV_CLUSTER=tls"):
                    tables.table("small", "smoke")
