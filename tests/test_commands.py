"""The command line, the dependency rules, and the files that describe the environment."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import tomllib

import nbformat
import pandas as pd
import pytest
import yaml

from dndiv.paper import (
    commands,
    data,
    design,
    experiments,
    files,
    notebooks,
    report,
    reproduce,
    tables,
)
from dndiv.paper.files import ROOT
from dndiv.paper.names import COLUMNS, SERIES

CONDA_NAMES = {"torch": "pytorch"}


def requirements():
    """What the notebooks and their validation need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["project"]
    extras = project["optional-dependencies"]
    validation = [line for line in extras["test"] if line.startswith(("pytest", "nbval"))]
    needed = [*project["dependencies"], *extras["paper"], *extras["peers"], *validation]
    return project["requires-python"], needed


def test_environment_yml_has_the_names_and_bounds_of_pyproject():
    python, wanted = requirements()
    renamed = [re.sub(r"^[a-z-]+", lambda m: CONDA_NAMES.get(m[0], m[0]), line) for line in wanted]
    *conda, pip = yaml.safe_load((ROOT / "environment.yml").read_text("utf8"))["dependencies"]
    assert sorted([*conda, *pip["pip"]]) == sorted([f"python{python}", "pip", *renamed])


def test_the_lock_pins_every_dependency_by_hash():
    lock = (ROOT / "requirements.lock").read_text("utf8")
    blocks = re.split(r"\n(?=[a-z0-9])", lock)
    pinned = {block.split("==")[0]: block for block in blocks if "==" in block.splitlines()[0]}
    for line in requirements()[1]:
        name = re.match(r"[a-z0-9-]+", line)[0]
        assert name in pinned, name
    assert all("--hash=sha256:" in block for block in pinned.values())
    assert not re.search(r"https?://|file:", re.sub(r"#.*", "", lock))


def make_notebook(path, *sources, parameters='PRESET = "reference"\nDEVICE = "auto"'):
    book = nbformat.v4.new_notebook(
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        }
    )
    first = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    book.cells = [first, *map(nbformat.v4.new_code_cell, sources)]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(book, path)
    return path


@pytest.fixture
def here(results):
    return results


def test_a_notebook_is_executed_with_its_parameters_in_its_own_folder(here, tmp_path):
    source = make_notebook(
        tmp_path / "books" / "01_x.ipynb",
        "import os\nprint(PRESET, DEVICE, os.path.basename(os.getcwd()))",
    )
    assert commands.main(["notebook", str(source), "--preset", "smoke", "--device", "cpu"]) == 0
    executed = nbformat.read(here / "smoke" / "notebooks" / "01_x.ipynb", as_version=4)
    assert executed.cells[-1].outputs[0].text == "smoke cpu books\n"
    assert (
        json.loads((here / "smoke" / "provenance.json").read_text())["steps"]["01_x"]["seconds"] > 0
    )


def test_a_failing_notebook_names_notebook_cell_and_error_and_keeps_the_failed_copy(
    here, tmp_path, capsys
):
    source = make_notebook(tmp_path / "02_bad.ipynb", "x = 1", "x / 0")
    assert commands.main(["notebook", str(source), "--preset", "smoke"]) == 1
    said = capsys.readouterr().err
    assert re.search(r"02_bad\.ipynb: cell \d failed: ZeroDivisionError: division by zero", said)
    assert not (
        here / "smoke" / "notebooks" / "02_bad.ipynb"
    ).exists()  # or make would think it done
    failed = nbformat.read(here / "smoke" / "failed" / "02_bad.ipynb", as_version=4)
    assert any(
        o.output_type == "error" for c in failed.cells if c.cell_type == "code" for o in c.outputs
    )
    assert str(here / "smoke" / "failed" / "02_bad.ipynb") in said


def test_a_notebook_without_the_parameters_is_refused_before_it_runs(here, tmp_path, capsys):
    source = make_notebook(tmp_path / "03_x.ipynb", "1 / 0", parameters='PRESETS = "smoke"')
    assert commands.main(["notebook", str(source), "--preset", "smoke"]) == 1
    assert "has no parameter DEVICE, PRESET; it has PRESETS" in capsys.readouterr().err


def test_check_fails_only_where_asked_to_and_a_verdict_differs(here, monkeypatch, capsys):
    from dndiv.paper import claims

    monkeypatch.setattr(claims, "load", lambda known=claims.load(): {"early-40": known["early-40"]})
    reference = ROOT / "results" / "reference" / "tables"
    shutil.copytree(reference, here / "paper" / "tables")
    assert commands.main(["check", "--preset", "paper", "--strict"]) == 0
    assert (
        len(json.loads((here / "paper" / "claims.json").read_text("utf8"))) == 12 + 1
    )  # and all together
    frame = tables.read("early", "paper")
    frame.loc[frame.arm == "decorrelated", "value"] = 0.2
    tables.write(frame, "early", "paper")
    assert commands.main(["check", "--preset", "paper"]) == 0
    assert commands.main(["check", "--preset", "paper", "--strict"]) == 1
    assert "DIFFERS: early-40, MNIST, narrow, SGD: the opposite" in capsys.readouterr().err


def test_check_without_a_run_says_how_to_make_one(here, capsys):
    assert commands.main(["check", "--preset", "quick"]) == 1
    assert "make it with `make reproduce PRESET=quick`" in capsys.readouterr().err


def test_data_are_the_archives_if_none_is_named(monkeypatch, capsys):
    monkeypatch.setattr(data, "resolve", lambda names: (print(*names), ((), ""))[1])
    assert [commands.main(["data", *words]) for words in ([], ["Digits"])] == [0, 0]
    assert capsys.readouterr().out.splitlines() == ["MNIST FashionMNIST", "Digits"]


def test_a_notebook_may_be_named_and_an_unknown_one_is_refused(here, monkeypatch, capsys):
    found = []
    monkeypatch.setattr(notebooks, "execute", lambda source, *more: found.append(source) or 0)
    path = notebooks.FOLDER / "06_early_epochs.ipynb"
    for said in ("06_early_epochs", "06_early_epochs.ipynb", str(path)):
        assert commands.main(["notebook", said]) == 0
    assert found == [path] * 3
    for words in (["notebook", "nothere"], ["refresh", "nothere"]):
        assert commands.main(words) == 1
        assert "unknown notebook 'nothere'; choose one of 00_overview" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["run", "--preset", "papr"], ["run", "--device", "gpu"], ["chekc"], ["data", "mnist"]]
)
def test_unknown_words_are_refused_with_the_valid_ones(words, capsys):
    with pytest.raises(SystemExit):
        commands.main(words)
    assert "invalid choice" in capsys.readouterr().err


def test_run_writes_tables_and_provenance_and_says_when_digits_stand_in(small, capsys, monkeypatch):
    assert commands.main(["run", "--preset", "quick", "--jobs", "1"]) == 0
    assert "EMBEDDED DIGITS IN USE" in capsys.readouterr().err
    facts = json.loads((small / "quick" / "provenance.json").read_text("utf8"))
    assert facts["notice"].startswith("EMBEDDED") and set(facts["data"]) == {"Digits", SERIES}
    assert facts["experiments"]["small"]["units"] == 1 and "tables" in facts["steps"]
    assert len(tables.read("small", "quick")) == 4
    monkeypatch.setenv(tables.CURRENT, "quick")  # as in notebooks that `make reproduce` executes
    (small / "quick" / "state.json").unlink()
    shutil.rmtree(small / "cache")
    assert tables.table("small", "quick").equals(tables.read("small", "quick"))
    assert capsys.readouterr().err == "EMBEDDED DIGITS IN USE\n"  # nothing is computed


def test_what_is_current_is_kept_and_what_is_gone_or_changed_is_made_again(small, capsys):
    def run():
        made = reproduce.make_tables(reproduce.State("quick"), "cpu", 1)
        return made, "computing 1 units" in capsys.readouterr().err

    assert run() == (True, True)
    assert run() == (False, False)
    table = tables.path("small", "quick")
    content = table.read_bytes()
    for damage in (table.unlink, lambda: table.write_bytes(content[:-9])):
        damage()
        assert run() == (True, False)  # written anew from the units on disk
        assert table.read_bytes() == content
    for unit in (small / "cache").iterdir():
        unit.unlink()
    assert run() == (False, False)  # what the table was made of is not asked for
    (small / "quick" / "state.json").write_text("{")
    assert run() == (True, True) and table.read_bytes() == content


def test_what_the_reference_has_is_taken_where_it_would_come_out_alike(small, capsys, monkeypatch):
    """And what is not computed here keeps what it is known to have taken."""
    monkeypatch.setattr(files, "results", lambda preset: small / preset)
    monkeypatch.setattr(data, "resolve", lambda names: (("Digits",), ""))
    assert commands.main(["run", "--preset", "smoke", "--jobs", "1"]) == 0
    (small / "smoke").rename(small / files.REFERENCE)
    content = tables.path("small", files.REFERENCE).read_bytes()
    shutil.rmtree(small / "cache")
    another = [design.Training("Digits", "tiny", "sgd", ("default",), (1,), epochs=1)]
    monkeypatch.setitem(experiments.EXPERIMENTS, "more", lambda preset, names: another)
    assert commands.main(["adopt"]) == 0
    assert (
        "1 tables; 1 of 2 are current. `make reproduce PRESET=smoke` makes"
        in capsys.readouterr().out
    )
    assert tables.path("small", "smoke").read_bytes() == content
    (small / "smoke" / "provenance.json").unlink()  # what is not known of a table is taken again
    assert commands.main(["adopt"]) == 0 and "1 tables; 1 of 2" in capsys.readouterr().out
    assert commands.main(["adopt"]) == 0 and "0 tables; 1 of 2" in capsys.readouterr().out
    assert commands.main(["run", "--preset", "smoke", "--jobs", "1"]) == 0
    assert "computing 1 units" in capsys.readouterr().err and len([*small.glob("cache/*.csv")]) == 1
    folders = (small / files.REFERENCE, small / "smoke")
    there, here = (json.loads((f / "provenance.json").read_text("utf8")) for f in folders)
    taken = here["experiments"]["small"]
    assert taken.pop("adopted")["commit"] == there["commit"]
    assert taken == there["experiments"]["small"] and "adopted" not in here["experiments"]["more"]
    shutil.rmtree(small / "smoke")
    other = [design.Training("Digits", "tiny", "sgd", ("default",), (0,), epochs=2)]
    monkeypatch.setitem(experiments.EXPERIMENTS, "small", lambda preset, names: other)
    assert (
        commands.main(["adopt"]) == 0 and "0 tables; 0 of 2 are current" in capsys.readouterr().out
    )
    tables.path("small", files.REFERENCE).write_bytes(content[:-9])
    assert commands.main(["adopt"]) == 1
    assert "are not those of its run; check it out again" in capsys.readouterr().err
    tables.path("small", files.REFERENCE).write_bytes(content)
    monkeypatch.setattr(data, "resolve", lambda names: (("Digits",), "DIGITS IN USE"))
    assert commands.main(["adopt"]) == 1
    assert "of other data than those here: DIGITS IN USE" in capsys.readouterr().err


def test_a_notebook_is_current_as_long_as_its_source_its_code_and_the_tables_are(here, tmp_path):
    source = make_notebook(
        tmp_path / "01_x.ipynb",
        "from dndiv.paper import claims, tables\nclaims.load()",
        "tables.table('early', PRESET)",
    )
    sheets = {"early": "1"}
    name, executed, made_from = reproduce._notebook(source, "smoke", sheets)
    assert name == "notebooks/01_x" and executed == here / "smoke" / "notebooks" / "01_x.ipynb"
    assert reproduce._notebook(source, "smoke", sheets)[2] == made_from
    assert reproduce._notebook(source, "smoke", {"early": "2"})[2] != made_from
    names = {("dndiv.paper.claims", "load"), reproduce.MADE}
    texts = reproduce._sources(names)
    assert (
        files.CLAIMS.read_text("utf8") in texts and files.ASSUMPTIONS.read_text("utf8") not in texts
    )
    assert not any(text.startswith(("dndiv.paper.compute:", "dndiv.population:")) for text in texts)
    book = nbformat.read(source, as_version=4)  # JupyterLab saves what it has shown
    book.cells[1].outputs, book.cells[1].execution_count = [nbformat.v4.new_output("stream")], 3
    nbformat.write(book, source)
    assert reproduce._notebook(source, "smoke", sheets)[2] == made_from
    make_notebook(source, "1 + 1")
    assert reproduce._notebook(source, "smoke", sheets)[2] != made_from


def test_a_notebook_that_is_edited_while_it_is_executed_is_executed_again(
    here, tmp_path, monkeypatch
):
    source = make_notebook(tmp_path / "01_x.ipynb", "1")
    state, copy = reproduce.State("smoke"), here / "smoke" / "notebooks" / "01_x.ipynb"

    def edited(words, **more):
        files.place(copy).write_bytes(source.read_bytes())
        make_notebook(source, "2")
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(reproduce.subprocess, "run", edited)
    assert reproduce._execute([source], state, {}, "cpu") == [True]
    assert state.judge(*reproduce._notebook(source, "smoke", {})) == "stale"


def test_a_second_run_waits_for_the_first_and_says_so(here, capsys):
    """And where the first is killed, it goes on."""
    program = (
        "import time; from dndiv.paper import files\n"
        f"with files.alone(files.Path({str(here / 'smoke')!r})):\n"
        "    print('in', flush=True); time.sleep(60)"
    )
    first = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert first.stdout.readline() == "in\n"
    threading.Timer(1.0, first.kill).start()
    with files.alone(here / "smoke"):
        assert first.wait() == -signal.SIGKILL
    assert "another run makes what is in" in capsys.readouterr().err
    with files.alone(here / "smoke"):
        assert not capsys.readouterr().err


def test_tuning_replaces_what_it_has_tried_and_keeps_the_rest(here, tmp_path, monkeypatch):
    file = tmp_path / "coefficients.yml"
    file.write_text("# why\nlog_volume:\n  dynamic:\n    tiny sgd: 0.5\n    narrow sgd: 7.0\n")
    rows = [
        ("Digits", "tiny", "sgd", arm, 0, "", 1, "accuracy", value)
        for arm, value in (
            ("default", 0.5),
            ("default+log_volume:dynamic@0.1", 0.6),
            ("default+log_volume:dynamic@1", 0.4),
        )
    ]
    tried = [
        ("Digits", "tiny", f"sgd@{rate}", start, 0, "", 1, "accuracy", value)
        for start, rate, value in (("he", 0.1, 0.6), ("he", 1, 0.4), ("lsuv", 0.1, 0.2))
    ]
    made = {
        name: pd.DataFrame(of, columns=COLUMNS)
        for name, of in (("tuning", rows), ("rates", tried), ("later_rates", tried[:2]))
    }
    best = tmp_path / "rates.yml"
    best.write_text("# how\nMNIST tiny sgd:\n  he: 0.3\nDigits tiny sgd:\n  he: 1\n  rai: 3\n")
    monkeypatch.setattr(commands, "COEFFICIENTS", file)
    monkeypatch.setattr(commands, "RATES", best)
    monkeypatch.setattr(tables, "table", lambda name, *words: made[name])
    before = file.read_text("utf8"), best.read_text("utf8")
    # a smaller preset adds what is not registered, and replaces nothing
    assert commands.main(["tune", "--preset", "smoke"]) == 0
    assert yaml.safe_load(file.read_text("utf8")) == yaml.safe_load(before[0])
    assert yaml.safe_load(best.read_text("utf8")) == {
        "MNIST tiny sgd": {"he": 0.3},
        "Digits tiny sgd": {"he": 1, "rai": 3, "lsuv": 0.1},
        "Digits tiny sgd later": {"he": 0.1},
    }
    best.write_text(before[1])
    assert commands.main(["tune"]) == 0
    assert file.read_text("utf8").startswith("# why\n")
    assert yaml.safe_load(file.read_text("utf8")) == {
        "log_volume": {"dynamic": {"tiny sgd": 0.1, "narrow sgd": 7.0}}
    }
    assert best.read_text("utf8").startswith("# how\n")
    assert yaml.safe_load(best.read_text("utf8")) == {
        "MNIST tiny sgd": {"he": 0.3},
        "Digits tiny sgd": {"he": 0.1, "rai": 3, "lsuv": 0.1},
        "Digits tiny sgd later": {"he": 0.1},
    }


def test_a_relative_folder_is_the_same_for_all_and_the_reference_is_the_checkout_s(tmp_path):
    program = (
        "import os; from dndiv.paper import files, tables; os.chdir('/');"
        "print(files.RESULTS, os.environ['DNDIV_RESULTS'], os.environ['DNDIV_DATA'],"
        "os.environ['DNDIV_DATA_SOURCE'], files.results('reference'), files.results('quick'))"
    )
    given = {"DNDIV_RESULTS": "out", "DNDIV_DATA": "kept", "DNDIV_DATA_SOURCE": "http://x/y"}
    said = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=os.environ | given,
                          capture_output=True, text=True).stdout.split()  # fmt: skip
    out = str(tmp_path / "out")
    assert said == [out, out, str(tmp_path / "kept"), "http://x/y",
                    str(ROOT / "results" / "reference"), f"{out}/quick"]  # fmt: skip


def test_a_damaged_table_is_named_with_the_remedy(here, capsys):
    for name in ("early", "directions", "intervention", "diversity", "reinforcement", "escape"):
        path = tables.path(name, "quick")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((ROOT / "results/reference/tables" / path.name).read_bytes()[:-100])
    assert commands.main(["check", "--preset", "quick"]) == 1
    said = capsys.readouterr().err
    assert "early.parquet is damaged" in said and "`make reproduce` makes it again" in said


def test_what_is_damaged_of_the_reference_is_checked_out_again(here, monkeypatch, tmp_path):
    monkeypatch.setattr(files, "ROOT", tmp_path)
    folder = files.results("reference")
    folder.mkdir(parents=True)
    (folder / "claims.json").write_text("[")
    with pytest.raises(ValueError, match="claims.json is damaged .*; check it out again"):
        report.read(folder / "claims.json")
    with pytest.raises(FileNotFoundError, match="check it out again"):
        tables.read("early", "reference")


def test_verdicts_are_shown_where_the_output_is_not_utf_8(monkeypatch):
    from dndiv.paper import claims

    known = report.read(files.results("reference") / "claims.json")
    monkeypatch.setattr(claims, "evaluate", lambda read: known)
    shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", shown)
    assert commands.main(["check", "--preset", "reference"]) == 0
    assert b"? fragile" in shown.buffer.getvalue()


def test_too_few_seeds_to_decide_contradict_nothing(here, capsys):
    """With fewer seeds the check fails where a verdict differs, and not where it is open."""
    for name in ("early", "directions", "intervention", "diversity", "reinforcement", "escape"):
        table = tables.read(name, "reference")
        first = table.groupby("data").seed.transform("min")
        tables.write(table[table.seed < first + 2], name, "quick")
    commands.main(["check", "--preset", "quick", "--strict"])
    assert "undecided, registered" not in capsys.readouterr().err


def test_an_interrupted_command_says_that_it_goes_on_and_a_full_disk_is_named(monkeypatch, capsys):
    def stop(error):
        def reproduce(*words):
            raise error

        monkeypatch.setattr(reproduce_module, "reproduce", reproduce)
        return commands.main(["reproduce", "--preset", "smoke"]), capsys.readouterr().err

    reproduce_module = reproduce
    assert stop(KeyboardInterrupt())[0] == 130
    code, said = stop(OSError(28, "No space left on device", "/x/y"))
    error, remedy = said.splitlines()
    assert code == 1 and error == "dndiv: [Errno 28] No space left on device: '/x/y'"
    assert remedy.startswith("Make room or give leave there, or set DNDIV_RESULTS")


def test_outside_a_checkout_the_commands_say_so(here, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(files, "CLAIMS", tmp_path / "claims.yml")
    assert commands.main(["run", "--preset", "smoke"]) == 1
    assert "the commands work in a checkout" in capsys.readouterr().err


def test_make_refuses_an_unknown_preset_and_device():
    for words, message in (
        (["preset=smoke"], "write PRESET=, DEVICE= and JOBS= in capitals"),
        (["PRESET=papr"], "unknown PRESET 'papr'; choose paper, quick or smoke"),
        (["DEVICE=gpu"], "unknown DEVICE 'gpu'; choose auto, cpu or cuda"),
    ):
        result = subprocess.run(
            ["make", "-n", "reproduce", *words], cwd=ROOT, capture_output=True, text=True
        )
        assert result.returncode and message in result.stderr


def test_the_module_runs_as_a_command():
    result = subprocess.run(
        [sys.executable, "-m", "dndiv", "--help"], capture_output=True, text=True
    )
    assert result.returncode == 0 and "notebook" in result.stdout


def test_a_copied_checkout_makes_an_environment_of_its_own(tmp_path):
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text("utf8"), "utf8")
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_text("")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "ready").write_text("9 seconds\n")

    def planned(place):
        (tmp_path / ".venv" / "place").write_text(f"{place}\n")
        run = subprocess.run(["make", "-n", "setup"], cwd=tmp_path, capture_output=True, text=True)
        return run.stdout

    assert "Nothing to be done" in planned(tmp_path)
    said = planned("/elsewhere")
    assert "rm -rf .venv" in said and said.index("rm -rf") < said.index("-m venv .venv")


def test_a_notebook_elsewhere_does_not_replace_the_one_of_its_name(tmp_path, capsys):
    copy = tmp_path / "05_initialization.ipynb"
    copy.write_text((notebooks.FOLDER / copy.name).read_text("utf8"), "utf8")
    assert commands.main(["notebook", str(copy), "--preset", "smoke"]) == 1
    assert "give it another name" in capsys.readouterr().err


def test_coverage_of_too_few_seeds_says_so(here, monkeypatch, capsys):
    monkeypatch.setattr("dndiv.paper.coverage.populations", lambda read, rates: iter(()))
    assert commands.main(["coverage", "--preset", "smoke"]) == 1
    assert "simulate the coverage of the paper preset" in capsys.readouterr().err
