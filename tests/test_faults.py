"""What must not break it: links and pipes in a stranger's results, damage, killed processes, full
disks, bad settings, edited files, and random input. Each is right, or a clear error."""

import json
import os
import platform
import shutil
import subprocess
import sys

import nbformat
import pandas as pd
import pytest

from dndiv.paper import cache, commands, files, provenance, reproduce, tables
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


# ----------------------------------------------------------------------- a stranger's results
@pytest.mark.parametrize("link", [os.symlink, os.link])
@pytest.mark.parametrize(
    "name", [".provenance.lock", "failed/x.ipynb", "notebooks/x.ipynb", "provenance.json"]
)
def test_links_in_a_results_folder_are_not_written_through(results, tmp_path_factory, link, name):
    outside = tmp_path_factory.mktemp("outside") / "precious"
    outside.write_text("mine")
    planted = results / "smoke" / name
    planted.parent.mkdir(parents=True)
    link(outside, planted)
    source = notebook(outside.with_name("x.ipynb"), "1 + 1")
    assert commands.main(["notebook", str(source), "--preset", "smoke"]) == 0
    assert outside.read_text() == "mine"
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
    assert f"{small / name} is a symbolic link out of {small}, to {outside}" in said
    assert "set DNDIV_RESULTS" in said and not list(outside.iterdir())


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
        here.note(*reproduce._verdicts("smoke", here.sheets()))

    assert judged(capsys) == (1, {"tables/small": "missing", "claims.json": "missing",
                                  "units": "1 missing"})  # fmt: skip
    make()
    good = {"tables/small": "current", "claims.json": "current", "units": "1 current"}
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
                                  "units": "1 missing"})  # fmt: skip


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
    killed = subprocess.Popen(["true"])
    killed.wait()
    parts = [small / name / f"x.{platform.node()}.{killed.pid}.part" for name in ("smoke", "cache")]
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
