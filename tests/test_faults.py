"""What must not break it: links and pipes in a stranger's results, damage, killed processes, full
disks, bad settings, edited files, and random input. Each is right, or a clear error."""

import ast
import contextlib
import copy
import dataclasses
import io
import json
import multiprocessing
import os
import platform
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import warnings
from functools import partial
from unittest import mock

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch import nn

import dndiv
from dndiv import diversity, population, techniques
from dndiv.paper import (
    arms,
    cache,
    code,
    commands,
    coverage,
    data,
    design,
    experiments,
    files,
    names,
    notebooks,
    provenance,
    report,
    reproduce,
    tables,
)
from dndiv.paper.files import ROOT


def notebook(path, *sources):
    book = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}}
    )
    tags = {"tags": ["parameters"]}
    first = nbformat.v4.new_code_cell('PRESET = ""\nDEVICE = ""', metadata=tags)
    book.cells = [first, *map(nbformat.v4.new_code_cell, sources)]
    nbformat.write(book, path)
    return path


def run(*words, **more):
    """A command in a process of its own."""
    words = [sys.executable, "-m", "dndiv", *words]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, **more)


def killed():
    """The id of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


# ----------------------------------------------------------------------- a stranger's results
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_links_in_a_results_folder_are_not_written_through(results, tmp_path_factory, link):
    folder = tmp_path_factory.mktemp("outside")
    names = (".provenance.lock", "failed/x.ipynb", "notebooks/x.ipynb", "provenance.json")
    for k, name in enumerate(names):
        (folder / str(k)).write_text("mine")
        planted = results / "smoke" / name
        planted.parent.mkdir(parents=True, exist_ok=True)
        link(folder / str(k), planted)
    source = notebook(folder / "x.ipynb", "1 + 1")
    assert commands.main(["notebook", str(source), "--preset", "smoke"]) == 0
    assert {(folder / str(k)).read_text() for k in range(len(names))} == {"mine"}
    assert (results / "smoke" / "notebooks" / "x.ipynb").stat().st_size > 100


@pytest.mark.parametrize("name", ["smoke", "smoke/tables", "cache"])
def test_a_folder_that_is_a_link_out_of_the_results_is_refused(
    small, tmp_path_factory, name, capsys
):
    outside = tmp_path_factory.mktemp("outside")
    (small / name).parent.mkdir(parents=True, exist_ok=True)
    (small / name).symlink_to(outside)
    assert commands.main(["run", "--preset", "smoke", "--jobs", "1"]) == 1
    said = capsys.readouterr().err
    assert f"{small / name} is a symbolic link, to {outside}" in said
    assert "set DNDIV_RESULTS" in said and not list(outside.iterdir())


@pytest.mark.parametrize("name", ["smoke/tables", "cache"])
def test_a_folder_that_is_a_link_within_the_results_is_refused_too(small, name, capsys):
    other = small / "reference"
    other.mkdir()
    part = other / f"x.{platform.node()}.{killed()}.part"
    part.write_text("half")
    (small / "smoke").mkdir()
    (small / name).symlink_to(other)
    assert commands.main(["run", "--preset", "smoke", "--jobs", "1"]) == 1
    assert f"{small / name} is a symbolic link, to {other}" in capsys.readouterr().err
    assert list(other.iterdir()) == [part]  # nothing is removed behind a link, either


@pytest.mark.parametrize("name", ["tables/x.parquet", "figures/x.png", "claims.json", "notebooks"])
@pytest.mark.parametrize("plant", ["link", "pipe"])
def test_no_link_or_pipe_becomes_part_of_the_reference(
    results, tmp_path_factory, monkeypatch, name, plant
):
    checkout = tmp_path_factory.mktemp("checkout")
    monkeypatch.setattr(files, "ROOT", checkout)
    (checkout / "precious").write_text("mine")
    planted = results / "paper" / name
    for folder in ("tables", "figures"):
        (results / "paper" / folder).mkdir(parents=True)
    (results / "paper" / "claims.json").write_text("[]")
    planted.unlink(missing_ok=True)
    planted.symlink_to(checkout / "precious") if plant == "link" else os.mkfifo(planted)
    with pytest.raises(ValueError, match=f"{planted} is a link, pipe or device, and is not copied"):
        report.promote()
    assert [file.name for file in checkout.iterdir()] == ["precious"]


def test_a_part_that_is_planted_as_a_link_is_replaced(results, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "precious"
    outside.write_text("mine")
    part = results / f"x.json.{platform.node()}.{os.getpid()}.part"
    part.symlink_to(outside)
    files.atomically(results / "x.json", lambda part: part.write_text("new"))
    assert outside.read_text() == "mine" and (results / "x.json").read_text() == "new"
    assert not part.is_symlink()


def test_pipes_in_a_results_folder_are_not_waited_for(small):
    assert commands.main(["run", "--preset", "smoke", "--jobs", "1"]) == 0
    folder = small / "smoke"
    [unit] = (small / "cache").glob("*.csv")
    os.mkfifo(tables.path("other", "smoke"))
    with pytest.raises(FileNotFoundError, match="there is no table"):
        tables.read("other", "smoke")
    for file in (folder / ".provenance.lock", folder / "provenance.json", folder / "state.json",
                 tables.path("small", "smoke"), unit, unit.with_suffix(".json")):  # fmt: skip
        file.unlink()
        os.mkfifo(file)
    assert commands.main(["run", "--preset", "smoke", "--jobs", "1"]) == 0
    assert len(tables.read("small", "smoke")) == 4


@pytest.mark.parametrize("name", ["state.json", "provenance.json"])
@pytest.mark.parametrize("content", [b"", b"[]", b'{"tables/small": 3, "steps": {}}', b"\xff{"])
def test_a_damaged_record_costs_no_more_than_what_it_said(small, name, content):
    words = ["run", "--preset", "smoke", "--jobs", "1"]
    assert commands.main(words) == 0
    before = tables.path("small", "smoke").read_bytes()
    (small / "smoke" / name).write_bytes(content)
    tables.path("small", "smoke").unlink()
    assert commands.main(words) == 0
    assert tables.path("small", "smoke").read_bytes() == before
    assert isinstance(json.loads((small / "smoke" / name).read_text()), dict)


def test_make_runs_nothing_of_a_results_folder(tmp_path):
    for name in ("notebooks/x.d", "x.d", "tables.stamp", "Makefile", "x.mk"):
        file = tmp_path / "smoke" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"$(shell touch {tmp_path}/ran)\n")
    more = {"cwd": ROOT, "env": os.environ | {"DNDIV_RESULTS": str(tmp_path)}}
    made = subprocess.run(["make", "help", "PRESET=smoke"], capture_output=True, **more)
    assert made.returncode == 0 and not (tmp_path / "ran").exists()


# --------------------------------------------------------------------- what is current, and is not
def judged(capsys):
    """(exit status, name → judgement) of the command."""
    capsys.readouterr()
    code = commands.main(["status", "--preset", "smoke"])
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()[1:]]
    return code, dict(lines)


def test_status_is_the_judgement_of_reproduce(small, capsys, monkeypatch):
    monkeypatch.setattr(reproduce.notebooks, "sources", list)
    table = tables.path("small", "smoke")
    claims = small / "smoke" / "claims.json"
    state = reproduce.State

    def make():
        reproduce.make_tables(state("smoke"), "cpu", 1)
        claims.write_text("[]")
        here = state("smoke")
        here.note(reproduce._verdicts("smoke", here.sheets()))

    assert judged(capsys) == (1, {"tables/small": "missing", "claims.json": "missing",
                                  "figures": "current", "units": "1 missing"})  # fmt: skip
    make()
    good = {"tables/small": "current", "claims.json": "current"}
    good |= {"figures": "current", "units": "1 current"}
    assert judged(capsys) == (0, good)
    table.write_bytes(table.read_bytes()[:-9])
    waits = "current, if the tables come out the same"
    assert judged(capsys) == (1, good | {"tables/small": "damaged", "claims.json": waits})
    make()
    assert judged(capsys) == (0, good)
    claims.unlink()
    assert judged(capsys) == (1, good | {"claims.json": "missing"})
    make()
    [unit] = (small / "cache").glob("*.csv")
    unit.write_text(unit.read_text()[:-1])
    assert judged(capsys) == (0, good | {"units": "1 damaged"}) and unit.exists()
    monkeypatch.setattr(cache, "_code", lambda *words: "other code")
    assert judged(capsys) == (1, {"tables/small": "stale", "claims.json": waits,
                                  "figures": "current", "units": "1 missing"})  # fmt: skip


def test_a_figure_that_is_gone_or_damaged_is_drawn_again(small, tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("books")
    draws = """from dndiv.paper import files
files.atomically(files.results(PRESET) / "figures" / "x.png", lambda part: part.write_text("x"))"""
    notebook(folder / "x.ipynb", draws)
    monkeypatch.setattr(notebooks, "FOLDER", folder)
    monkeypatch.setenv("DNDIV_RESULTS", str(small))  # of the kernel
    figure = small / "smoke" / "figures" / "x.png"

    run_of_others = subprocess.run

    def run(words, **more):
        if "check" in words:  # of claims that this run has no tables for
            return mock.Mock(returncode=0)
        if "notebook" not in words:
            return run_of_others(words, **more)
        return mock.Mock(returncode=notebooks.execute(folder / "x.ipynb", "smoke", "cpu"))

    monkeypatch.setattr(subprocess, "run", run)
    state = reproduce.State
    assert reproduce._execute([folder / "x.ipynb"], state("smoke"), {}, "cpu") == [True]
    assert state("smoke").figures() == "current" and figure.read_text() == "x"
    asked = []
    monkeypatch.setattr(reproduce, "_execute", lambda books, *more: asked.append(books) or [False])
    monkeypatch.setattr(reproduce.State, "sheets", lambda self: {})
    for change, judged, again in (
        (lambda: None, "current", []),
        (lambda: figure.write_text(""), "damaged", ["x"]),
        (lambda: figure.unlink(missing_ok=True), "missing", ["x"]),
    ):
        change()
        assert state("smoke").figures() == judged
        assert reproduce.reproduce("smoke", "cpu", 1) == 1
        assert [book.stem for book in asked.pop()] == again
        assert figure.exists() == (not again)  # or it would not be drawn


def test_what_provenance_has_lost_is_recorded_again(small):
    words = ["run", "--preset", "smoke", "--jobs", "1"]
    assert commands.main(words) == 0
    file = small / "smoke" / "provenance.json"
    for damage in ("{}", '{"steps": [], "experiments": []}', None):
        file.write_text(damage) if damage else file.unlink()
        assert commands.main(words) == 0
        found = json.loads(file.read_text())
        assert found["experiments"]["small"]["units"] == 1 and "tables" in found["steps"]


@pytest.mark.parametrize("name", ["claims.json", "provenance.json"])
@pytest.mark.parametrize("content", ["", "{}", '[{"x": 1}]', "[", "3"])
def test_a_damaged_file_of_a_run_is_named_with_the_remedy(results, capsys, name, content):
    for each, text in (("claims.json", "[]"), ("provenance.json", "{}"), (name, content)):
        (results / "smoke").mkdir(exist_ok=True)
        (results / "smoke" / each).write_text(text)
    if name == "provenance.json" and content == "{}":
        return  # it is whole, and says little
    assert commands.main(["report", "--preset", "smoke"]) == 1
    said = capsys.readouterr().err
    assert f"{results / 'smoke' / name} is damaged (" in said and "`make reproduce` makes" in said


def test_a_table_that_is_current_is_read_though_its_units_are_gone(small, monkeypatch):
    assert commands.main(["run", "--preset", "smoke", "--jobs", "1"]) == 0
    expected = tables.read("small", "smoke")
    shutil.rmtree(small / "cache")
    found = tables.table("small", "smoke", "cpu", jobs=1)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert not (small / "cache").exists()
    table = tables.path("small", "smoke")
    table.write_bytes(table.read_bytes()[:-9])  # not current: its units are computed
    again = tables.table("small", "smoke", "cpu", jobs=1)
    pd.testing.assert_frame_equal(again, expected, check_exact=True)
    assert (small / "cache").exists()


def test_what_killed_writers_have_left_in_results_is_removed(small):
    parts = [small / name / f"x.{platform.node()}.{killed()}.part" for name in ("smoke", "cache")]
    for part in parts:
        part.parent.mkdir()
        part.write_text("half")
    assert commands.main(["run", "--preset", "smoke", "--jobs", "1"]) == 0
    assert not any(part.exists() for part in parts)


# ----------------------------------------------------------------------------------- notebooks
@pytest.mark.parametrize(
    "cell, said",
    [
        ("exit()", "cell 3 ended the notebook by exit()"),
        ("import sys\nsys.exit(0)", "cell 3 ended the notebook by exit()"),
        ("import os\nos.kill(os.getpid(), 9)", "cell 3 failed: the kernel was killed"),
    ],
)
def test_a_notebook_that_ends_early_fails_and_names_the_cell(results, tmp_path, cell, said, capfd):
    source = notebook(tmp_path / "x.ipynb", "1 + 1", cell)
    assert commands.main(["notebook", str(source), "--preset", "smoke"]) == 1
    assert f"x.ipynb: {said}" in capfd.readouterr().err
    assert not (results / "smoke" / "notebooks" / "x.ipynb").exists()


def test_where_warnings_are_errors_the_notice_of_digits_and_a_notebook_are_none(
    small, tmp_path, monkeypatch, capsys
):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(tables.table("small", "smoke", "cpu", jobs=1)) == 4
    assert "EMBEDDED DIGITS IN USE" in capsys.readouterr().err
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    source = notebook(tmp_path / "x.ipynb", "import warnings\nwarnings.warn('of theirs')")
    assert commands.main(["notebook", str(source), "--preset", "smoke"]) == 0


# -------------------------------------------------------------------------------------- commit
def test_inside_another_repository_its_commit_is_not_recorded(tmp_path, monkeypatch):
    def git(*words):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True, capture_output=True)

    inner = tmp_path / "unpacked"
    inner.mkdir()
    git("init")
    git("-c", "user.name=x", "-c", "user.email=x", "commit", "--allow-empty", "-m", "theirs")
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    own = provenance.commit()
    assert len(own) == 40  # of a repository of its own
    monkeypatch.setattr(provenance, "ROOT", inner)
    assert provenance.commit() == "unknown"
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))  # as in a hook of theirs
    assert provenance.commit() == "unknown"


# ------------------------------------------------------------------ full disks, killed processes
@pytest.fixture
def six(small, monkeypatch):
    """Starts ``run`` of six units in a process of its own: (process, what it says)."""
    of = [design.Training("Digits", "tiny", "sgd", ("default",), (s,), epochs=2) for s in range(6)]
    for module in (experiments, reproduce):
        monkeypatch.setattr(module, "EXPERIMENTS", {"small": lambda preset, names: of})
    data.checksum("Digits")

    def start(folder, size=None):
        reading, writing = os.pipe()

        def child():
            torch.set_num_threads(1)
            sys.stdout = sys.stderr = os.fdopen(writing, "w", buffering=1)
            files.RESULTS = small / folder
            if size:  # files cannot grow beyond it: a full disk
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            os._exit(commands.main(["run", "--preset", "smoke", "--jobs", "1"]))

        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        os.close(writing)
        return process, os.fdopen(reading)

    return start


def content(folder):
    """The bytes of all units and tables below a folder; their parts come and go."""
    found = (f for kind in ("csv", "parquet") for f in folder.rglob(f"*.{kind}"))
    return {file.name: file.read_bytes() for file in found}


def test_a_full_disk_and_kills_lose_nothing_and_the_same_command_goes_on(small, six):
    def finish(started):
        process, said = started
        text = said.read()  # until the process has ended
        process.join()
        return process.exitcode, text

    assert finish(six("whole"))[0] == 0
    whole = content(small / "whole")
    assert len(whole) == 7
    code, said = finish(six("full", size=300))
    assert code == 1 and "Traceback" not in said and not content(small / "full")
    assert "dndiv: [Errno 27] File too large\nMake room or give leave there, or set DNDIV_" in said
    assert finish(six("full"))[0] == 0 and content(small / "full") == whole
    for seen in range(6):  # killed when so many units are there
        process, _ = six("killed")
        while process.is_alive() and len(content(small / "killed")) <= seen:
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert all(
            whole.get(name, text) == text for name, text in content(small / "killed").items()
        )
    code, said = finish(six("killed"))
    assert code == 0 and content(small / "killed") == whole, said
    assert not list(small.rglob("*.part")) and finish(six("killed")) == (0, "")


@pytest.mark.parametrize("module", ["pandas", "dndiv.paper.claims"])  # at the start, and later
def test_an_interrupt_is_no_traceback(tmp_path, module):
    """The module is one that interrupts while it is loaded, as Ctrl-C would."""
    (tmp_path / "sitecustomize.py").write_text(f"""import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
class Interrupts:
    def find_spec(name, *more):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupts)
""")
    found = run("check", "--preset", "reference", env=os.environ | {"PYTHONPATH": f"{tmp_path}"})
    assert found.returncode == 130 and "Traceback" not in found.stderr and not found.stdout


def test_two_runs_at_once_make_the_same_tables(small, six):
    started = [six("both"), six("both"), six("alone")]
    for process, said in started:
        assert not [line for line in said if "dndiv: " in line]
        process.join()
    assert [process.exitcode for process, _ in started] == [0, 0, 0]
    assert content(small / "both") == content(small / "alone")


def test_a_full_disk_behind_the_output_is_an_error_and_a_closed_pipe_no_traceback():
    with open("/dev/full", "w") as full:
        says = "from dndiv.paper import commands; commands.report.__code__ = says.__code__"
        program = f"def says(args): print('x' * 10); return 0\n{says}\n"
        program += "import sys; sys.exit(commands.main(['report']))"
        words = [sys.executable, "-c", program]
        found = subprocess.run(words, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert found.returncode == 1
    assert found.stderr.startswith("dndiv: [Errno 28] No space left on device\nMake room or ")
    assert len(found.stderr.splitlines()) == 2
    reading, writing = os.pipe()
    os.close(reading)
    found = subprocess.run(words, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert "Traceback" not in found.stderr and "Exception ignored" not in found.stderr


# ------------------------------------------------------------------------------------- commands
@pytest.mark.parametrize(
    "error, lines",
    [
        (ValueError("one line"), ["dndiv: one line"]),
        (
            KeyError("x"),
            ["dndiv: KeyError: 'x'", "DNDIV_TRACEBACK=1 shows where; perhaps a mistake "],
        ),
        (
            MemoryError(),
            ["dndiv: MemoryError: ", "DNDIV_TRACEBACK=1 shows where; perhaps a mistake "],
        ),
        (
            RuntimeError("\n".join("abcdefgh")),
            ["dndiv: a", "b", "c … (DNDIV_TRACEBACK=1 shows all)"],
        ),
        (
            EOFError("Compressed file ended"),
            ["dndiv: EOFError: Compressed", "DNDIV_TRACEBACK=1 sh"],
        ),
        (RuntimeError(), ["dndiv: RuntimeError: "]),
    ],
)
def test_whatever_goes_wrong_is_said_in_three_lines(monkeypatch, capsys, error, lines):
    def fails(*words):
        raise error

    monkeypatch.setattr(reproduce, "reproduce", fails)
    words = ["reproduce", "--preset", "smoke"]
    assert commands.main(words) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == len(lines) <= 3 and all(map(str.startswith, said, lines))
    monkeypatch.setenv("DNDIV_TRACEBACK", "1")
    with pytest.raises(type(error)):
        commands.main(words)


def test_without_the_packages_of_the_paper_the_commands_say_what_to_do(tmp_path):
    (tmp_path / "pandas.py").write_text("raise ModuleNotFoundError(\"No module named 'pandas'\")")
    found = run("check", env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"})
    said = "dndiv: No module named 'pandas'; the commands need more than the library: `make setup`"
    assert found.returncode == 1 and found.stderr.startswith(said)
    assert len(found.stderr.splitlines()) == 1


@pytest.mark.parametrize("preset", ["%", "sm%", "paper quick", "", " "])
def test_make_refuses_what_is_no_preset(preset):
    words = ["make", "-n", "reproduce", f"PRESET={preset}"]
    made = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert made.returncode == 2 and f"unknown PRESET '{preset.strip()}" in made.stderr


@pytest.mark.parametrize(
    "user, said", [("0", "lab --allow-root notebooks"), ("7", "lab  notebooks")]
)
def test_make_lab_works_for_root_and_for_nobody_else_as_root(tmp_path, user, said):
    (tmp_path / "id").write_text(f"#!/bin/sh\necho {user}\n")
    (tmp_path / "id").chmod(0o755)
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    words = ["make", "-n", "lab"]
    made = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True)
    assert f"jupyter {said}" in made.stdout


WORDS = st.sampled_from(
    [
        "data",
        "run",
        "status",
        "check",
        "notebook",
        "refresh",
        "coverage",
        "--preset",
        "smoke",
        "quick",
    ]
    + ["paper", "reference", "--device", "cpu", "cuda", "auto", "--jobs", "0", "-1", "1e9", "x", ""]
    + ["--strict", "Digits", "MNIST", "--help", "-h", "--", "\0", "\udcff", "☃", "/", "/dev/null"]
    + ["/etc/passwd", "..", "nothing.ipynb", "--preset=", "--device=gpu", "--jobs=99"]
)


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@example(["run", "\x0c"])
@example(["run", "\n"])
@given(st.lists(st.one_of(WORDS, WORDS, st.text(max_size=4)), max_size=5))
def test_any_words_are_a_command_or_a_clear_error(results, words):
    """Commands are stopped where they would start to work; what they say until then counts."""
    out, err = io.StringIO(), io.StringIO()
    works = {"side_effect": RuntimeError("it works")}
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(data, "resolve", **works),
        mock.patch.object(coverage, "main", **works),
        mock.patch.object(tables, "read", **works),
        mock.patch.object(notebooks, "refresh", **works),
    ):
        try:
            code = commands.main(words)
        except SystemExit as error:  # of argparse
            code = error.code
    said = err.getvalue().rstrip("\n").split("\n")  # a word may hold what splitlines splits at
    assert code in (0, 1, 2) and "Traceback" not in err.getvalue()
    if code == 0:
        assert "-h" in words or any("--help".startswith(w) and len(w) > 2 for w in words)
    if code == 1:
        assert 1 <= len(said) <= 3 and said[0].startswith("dndiv: ") and "Error:" not in said[0]
    if code == 2:
        assert re.search("^python -m dndiv.*: error: ", err.getvalue(), re.MULTILINE)


# ------------------------------------------------------------------------------- specifications
NAMES = [
    *design.SETTINGS,
    "5×8",
    "0×8",
    "×",
    "3×",
    "-1×2",
    "²×2",
    *names.DATA_SETS,
    "XOR",
    "Parity3",
]
NAMES += [
    "sgd",
    "adam",
    "default",
    "decorrelated",
    "default+log_volume:dynamic@0.1",
    "default|held",
]
NAMES += ["default+log_volume", "a+b:c@d", "default|", "+:", "@", "default+log_volume:dynamic@", ""]
texts = st.one_of(st.sampled_from(NAMES), st.text(max_size=6))
counts = st.one_of(st.integers(-2, 4), st.sampled_from([10**6 - 1, 10**6, 2**70]))
tuples = lambda kind: st.lists(kind, max_size=3).map(tuple)  # noqa: E731


JUNK = [None, 5, -1, 1.5, float("nan"), "5", b"x", True, {}, set(), object(), int, lambda: 0]
JUNK += [range(3), [0, 1], ["default"], ("0",), (1.0,), (True,), (None,), np.arange(3), np.int64(2)]
JUNK += [torch.ones(2), arms.Arm("he"), (arms.Arm,), "99999999999×8", "8×99999999999", "9" * 5000]
junk = st.sampled_from(JUNK)
GOOD = {
    "data": "Digits",
    "setting": "tiny",
    "optimizer": "sgd",
    "arms": ("default",),
    "seeds": (0,),
}


def specified(kind, **words):
    """A unit and its key; None where it is refused by a ValueError of one line."""
    try:
        unit = kind(**words)
        with mock.patch.object(data, "checksum", lambda name: "x"):
            key = cache.key(unit)
    except ValueError as error:
        assert 10 < len(str(error)) < 6000 and len(str(error).splitlines()) == 1
        return None
    assert len(key) == 32 and hash(unit) == hash(dataclasses.replace(unit))
    return unit


@settings(max_examples=250, deadline=None)
@given(
    st.sampled_from([design.Training, design.Parity, design.Directions]),
    st.sampled_from(names.DATA_SETS) | texts, texts, texts, tuples(texts), tuples(counts), counts,
)  # fmt: skip
def test_any_specification_has_a_key_or_a_clear_error(
    kind, name, setting, optimizer, arms, seeds, n
):
    words = {"setting": setting, "arms": arms, "seeds": seeds}
    if kind is not design.Directions:
        words["data"] = name
    if kind is design.Training:
        words |= {"optimizer": optimizer, "epochs": n}
    unit = specified(kind, **words)
    assert unit is None or unit.seeds == seeds and (n >= 1 or kind is not design.Training)


@settings(max_examples=250, deadline=None)
@given(st.dictionaries(st.sampled_from([f.name for f in dataclasses.fields(design.Training)]), junk,
                       min_size=1, max_size=2))  # fmt: skip
def test_a_specification_of_wrong_types_is_refused_by_name(changed):
    unit = specified(design.Training, **GOOD | changed)
    if unit is None:
        return
    for name in ("arms", "seeds", "records", "observed"):
        assert isinstance(getattr(unit, name), tuple)
    assert {type(s) for s in unit.seeds} == {int} == {type(unit.epochs)}  # not NumPy's


@pytest.mark.parametrize(
    "changed, said",
    [
        ({"setting": 5}, "Training: setting must be a text, not 5"),
        ({"seeds": ("0",)}, "Training: seeds[0] must be a whole number, not '0'"),
        ({"seeds": (0, 1.0)}, "Training: seeds[1] must be a whole number, not 1.0"),
        ({"arms": None}, "Training: arms must be a list, each an arm, not None"),
        ({"epochs": "5"}, "Training: epochs must be a whole number, not '5'"),
        ({"epochs": True}, "Training: epochs must be a whole number, not True"),
        ({"arms": ("default+log_volume:dynamic@nan",)}, "must be a finite number or None, not nan"),
        ({"setting": "99999999999×8"}, "the setting '99999999999×8' is too large"),
    ],
)
def test_what_is_wrong_with_a_specification_is_said(changed, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        design.Training(**GOOD | changed)


def test_checks_of_types_are_no_part_of_a_key():
    checked = code.stripped("@partial(typed, check=f)\n@other\nclass A: pass")
    assert ast.unparse(checked) == ast.unparse(code.stripped("@other\nclass A: pass"))


# -------------------------------------------------------------------------------------- tensors
MEASURES = ("weight_similarity", "activation_correlation", "effective_rank", "participation_ratio")
MEASURES += ("dead_fraction", "duplicate_fraction", "log_volume", "nearest_similarity")
sizes = st.lists(st.integers(0, 5), min_size=0, max_size=4)
kinds = st.sampled_from([torch.float32, torch.float64, torch.float16, torch.int64, torch.complex64])


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(MEASURES),
    sizes,
    kinds,
    st.sampled_from(["drawn", "zero", "nan", "inf", "huge"]),
)
def test_any_tensor_is_measured_or_refused(measure, shape, kind, filled):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator)
    x = {"drawn": x, "zero": 0 * x, "nan": x / 0 * 0, "inf": x / 0, "huge": 1e30 * x}[filled].to(
        kind
    )
    before = x.clone()
    try:
        found = getattr(diversity, measure)(x)
    except (ValueError, TypeError) as error:
        assert str(error) and len(str(error).splitlines()) == 1
        return
    finally:
        assert torch.equal(x.nan_to_num(), before.nan_to_num()) or filled == "nan"
    for name, value in (found if isinstance(found, dict) else {"": found}).items():
        assert value.shape[: len(shape) - 2] == torch.Size(shape[:-2])
        if name != "left_out" and measure.endswith(("fraction", "similarity", "correlation")):
            assert ((value.double().abs() <= 1.001) | value.isnan()).all()
        if filled == "zero" and measure == "dead_fraction":
            assert (value == 1).all()


PENALTIES = ["weight_cosine", "activation_decorrelation", "log_volume"]
numbers = st.one_of(st.floats(), st.integers(-3, 3), st.just(1e-5))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(PENALTIES), st.lists(st.integers(1, 5), min_size=2, max_size=4),
       st.sampled_from(["drawn", "zero", "huge", "tiny"]))  # fmt: skip
def test_penalties_and_their_gradients_are_finite_on_finite_layers(name, shape, filled):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x *= {"drawn": 1.0, "zero": 0.0, "huge": 1e30, "tiny": 1e-30}[filled]
    technique = techniques.TECHNIQUES[name]
    value = technique.penalty(x)
    gradient = technique.gradient(x, lambda redundancy: redundancy())
    assert value.shape == x.shape[:-2] and gradient.shape == x.shape
    if filled == "drawn":
        assert value.isfinite().all() and gradient.isfinite().all()
    elif filled != "huge" or name == "weight_cosine":
        assert not value.isnan().any() and not gradient.isnan().any()


@settings(max_examples=150, deadline=None)
@given(
    texts | st.sampled_from([*techniques.TECHNIQUES]),
    numbers,
    st.sampled_from(["constant", "annealed", "dynamic", "dynamc", ""]),
    *[st.integers(-2, 9)] * 2,
)
def test_any_dose_has_a_finite_strength_or_is_refused(name, coefficient, schedule, over, every):
    try:
        dose = techniques.Dose(name, coefficient, schedule, over, every)
    except ValueError as error:
        assert len(str(error).splitlines()) == 1
        return
    strengths = [dose.at(step) for step in range(20)]
    assert all(0 <= s < float("inf") for s in strengths) or coefficient > 1e300
    assert dose.due(0) == (coefficient > 0)


# ------------------------------------------------------------------------- modules, with a batch
LAYERS = {
    "linear": lambda n: nn.LazyLinear(n), "conv": lambda n: nn.LazyConv2d(n, 3, padding=1),
    "depthwise": lambda n: nn.LazyConv2d(4, 1), "norm": lambda n: nn.LazyBatchNorm2d(),
    "relu": lambda n: nn.ReLU(), "tanh": lambda n: nn.Tanh(), "dropout": lambda n: nn.Dropout(0.5),
    "silent": lambda n: nn.Threshold(1e9, 0.0), "flat": lambda n: nn.Flatten(),
    "broken": lambda n: nn.Threshold(-1e9, float("nan")),
}  # fmt: skip
BATCHES = {
    "drawn": lambda x: x, "nan": lambda x: x * float("nan"), "one": lambda x: x[:1],
    "empty": lambda x: x[:0], "constant": torch.ones_like, "half": torch.Tensor.half,
    "list": lambda x: [x], "huge": lambda x: 1e30 * x, "flat": lambda x: x.flatten(),
    "double": torch.Tensor.double, "numbers": torch.Tensor.tolist, "whole": torch.Tensor.long,
}  # fmt: skip
STARTS = [dndiv.standardized_, dndiv.alive_, dndiv.relayed_, dndiv.balanced_, dndiv.lsuv_]


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(st.sampled_from([*LAYERS, "linear", "conv"]), st.integers(1, 6)),
             min_size=1, max_size=5),
    st.sampled_from([*BATCHES, "drawn", "drawn"]),
    st.sampled_from([dndiv.decorrelate_, dndiv.diagnose, *STARTS])
    | junk.map(lambda start: partial(dndiv.decorrelate_, start=start)),
)  # fmt: skip
def test_any_module_and_batch_is_started_whole_or_refused_and_as_it_was(kinds, batch, how):
    torch.manual_seed(0)
    x = torch.randn(12, 2, 4, 4)
    module = nn.Sequential(*(LAYERS[kind](n) for kind, n in kinds))
    with contextlib.suppress(RuntimeError, ValueError):  # parts that do not fit stay lazy
        module(x)
    x = BATCHES[batch](x)
    lazy = any(isinstance(p, nn.UninitializedParameter) for p in module.parameters())
    before = None if lazy else copy.deepcopy(module.state_dict())
    found = [_seen(m) for m in module.modules()]
    try:
        how(module, x)
    except (ValueError, TypeError, RuntimeError) as error:
        assert str(error)
        if not isinstance(error, ValueError) and not hasattr(how, "keywords"):
            with pytest.raises(type(error)):  # of a layer that cannot run on the batch
                copy.deepcopy(module)(x)
        if before is not None:
            assert all(same(v, before[k]) for k, v in module.state_dict().items())
    else:
        assert all(p.isfinite().all() for p in module.parameters())
    assert found == [_seen(m) for m in module.modules()]


def _seen(module):
    """What is to be as it was, whatever happens."""
    return module.training, len(module._forward_hooks), len(module._forward_pre_hooks)


def same(one, other):
    return torch.equal(one.nan_to_num(7), other.nan_to_num(7))


CALLS = {
    "Dose": lambda **w: techniques.Dose(**{"name": "log_volume", "coefficient": 0.1} | w),
    "Optimizer": lambda **w: population.Optimizer(**{"name": "sgd", "lr": 0.1} | w),
    "decorrelated_": lambda **w: dndiv.decorrelated_(**{"tensor": torch.randn(3, 4)} | w),
    "diagnose": lambda **w: dndiv.diagnose(**{"model": NET(), "inputs": torch.randn(9, 4)} | w),
    "decorrelate_": lambda **w: dndiv.decorrelate_(**{"module": NET()} | w),
    "log_volume": lambda **w: diversity.log_volume(**{"weights": torch.randn(3, 4)} | w),
}


def NET():
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))


def _reinforced(**words):
    net = NET()
    words = {"model": net, "optimizer": torch.optim.SGD(net.parameters(), 0.1),
             "technique": "log_volume", "coefficient": 0.1} | words  # fmt: skip
    dndiv.Reinforcement(**words).remove()


CALLS["Reinforcement"] = _reinforced
ARGUMENTS = {
    **dict.fromkeys(["Dose"], ["name", "coefficient", "schedule", "over", "every"]),
    "Optimizer": ["name", "lr", "betas", "eps"],
    "decorrelated_": ["tensor", "gain", "generator"],
    "diagnose": ["model", "inputs"],
    "decorrelate_": ["module", "inputs", "generator"],
    "log_volume": ["weights"],
    "Reinforcement": ["model", "optimizer", "technique", "coefficient", "schedule", "over", "every",
                      "layers", "seed"],
}  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([(call, word) for call, words in ARGUMENTS.items() for word in words]), junk)
def test_an_argument_of_a_wrong_type_is_refused_by_name(called, value):
    call, word = called
    if word == "layers" and callable(value):
        return  # whatever it does then is the user's
    try:
        CALLS[call](**{word: value})
    except ValueError as error:
        assert str(error) and len(str(error)) < 6000
