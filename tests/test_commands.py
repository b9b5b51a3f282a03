"""The command line, the dependency rules, and the files that describe the environment."""

import json
import re
import shutil
import subprocess
import sys
import tomllib

import nbformat
import pytest
import yaml

from dndiv import __main__ as commands
from dndiv import table
from dndiv.table import ROOT

CONDA_NAMES = {"torch": "pytorch"}


def requirements():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["project"]
    return project["requires-python"], project["dependencies"]


def test_environment_yml_has_the_names_and_bounds_of_pyproject():
    python, wanted = requirements()
    renamed = [re.sub(r"^[a-z-]+", lambda m: CONDA_NAMES.get(m[0], m[0]), line) for line in wanted]
    found = yaml.safe_load((ROOT / "environment.yml").read_text("utf8"))["dependencies"]
    assert sorted(found) == sorted([f"python{python}", *renamed])


def test_the_lock_pins_every_dependency_by_hash():
    lock = (ROOT / "requirements.lock").read_text("utf8")
    blocks = re.split(r"\n(?=[a-z0-9])", lock)
    pinned = {block.split("==")[0]: block for block in blocks if "==" in block.splitlines()[0]}
    for line in requirements()[1]:
        name = re.match(r"[a-z-]+", line)[0]
        assert name in pinned, name
    assert all("--hash=sha256:" in block for block in pinned.values())
    assert not re.search(r"https?://|file:", re.sub(r"#.*", "", lock))


def make_notebook(path, *sources, parameters='PRESET = "reference"\nDEVICE = "auto"'):
    book = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}})
    first = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    book.cells = [first, *map(nbformat.v4.new_code_cell, sources)]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(book, path)
    return path


@pytest.fixture
def here(tmp_path, monkeypatch, results):
    monkeypatch.setattr(commands, "RESULTS", results)
    return results


def test_a_notebook_is_executed_with_its_parameters_in_its_own_folder(here, tmp_path):
    source = make_notebook(tmp_path / "books" / "01_x.ipynb",
                           "import os\nfrom dndiv import claims\nprint(PRESET, DEVICE, os.path.basename(os.getcwd()))")
    assert commands.main(["notebook", str(source), "--preset", "smoke", "--device", "cpu"]) == 0
    executed = nbformat.read(here / "smoke" / "notebooks" / "01_x.ipynb", as_version=4)
    assert executed.cells[-1].outputs[0].text == "smoke cpu books\n"
    rule = (here / "smoke" / "notebooks" / "01_x.d").read_text()
    assert {"dndiv/claims.py", "dndiv/stats.py", "dndiv/table.py", "claims.yml"} <= set(rule.splitlines()[0].split()[1:])
    assert "dndiv/population.py" not in rule
    assert json.loads((here / "smoke" / "provenance.json").read_text())["steps"]["01_x"]["seconds"] > 0


def test_a_failing_notebook_names_notebook_cell_and_error_and_keeps_the_failed_copy(here, tmp_path, capsys):
    source = make_notebook(tmp_path / "02_bad.ipynb", "x = 1", "x / 0")
    assert commands.main(["notebook", str(source), "--preset", "smoke"]) == 1
    said = capsys.readouterr().err
    assert re.search(r"02_bad\.ipynb: cell \d failed: ZeroDivisionError: division by zero", said)
    assert not (here / "smoke" / "notebooks" / "02_bad.ipynb").exists()  # or make would think it done
    failed = nbformat.read(here / "smoke" / "failed" / "02_bad.ipynb", as_version=4)
    assert any(o.output_type == "error" for c in failed.cells if c.cell_type == "code" for o in c.outputs)
    assert str(here / "smoke" / "failed" / "02_bad.ipynb") in said


def test_a_notebook_without_the_parameters_is_refused_before_it_runs(here, tmp_path, capsys):
    source = make_notebook(tmp_path / "03_x.ipynb", "1 / 0", parameters='PRESETS = "smoke"')
    assert commands.main(["notebook", str(source), "--preset", "smoke"]) == 1
    assert "has no parameter DEVICE, PRESET; it has PRESETS" in capsys.readouterr().err


def test_check_fails_only_where_asked_to_and_a_verdict_differs(here, monkeypatch, capsys):
    from dndiv import claims

    monkeypatch.setattr(claims, "load", lambda known=claims.load(): {"early-40": known["early-40"]})
    reference = table.ROOT / "results" / "reference" / "tables"
    shutil.copytree(reference, here / "paper" / "tables")
    assert commands.main(["check", "--preset", "paper", "--strict"]) == 0
    assert len(json.loads((here / "paper" / "claims.json").read_text("utf8"))) == 12
    frame = table.read("early", "paper")
    frame.loc[frame.arm == "decorrelated", "value"] = 0.2
    table.write(frame, "early", "paper")
    assert commands.main(["check", "--preset", "paper"]) == 0
    assert commands.main(["check", "--preset", "paper", "--strict"]) == 1
    assert "DIFFERS: early-40, MNIST, narrow, SGD: not reproduced" in capsys.readouterr().err


def test_check_without_a_run_says_how_to_make_one(here, capsys):
    assert commands.main(["check", "--preset", "quick"]) == 1
    assert "make it with `make reproduce PRESET=quick`" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["run", "--preset", "papr"], ["run", "--device", "gpu"], ["chekc"], ["data", "mnist"]])
def test_unknown_words_are_refused_with_the_valid_ones(words, capsys):
    with pytest.raises(SystemExit):
        commands.main(words)
    assert "invalid choice" in capsys.readouterr().err


def test_run_writes_tables_and_provenance_and_says_when_digits_stand_in(here, monkeypatch, capsys):
    from dndiv import data, experiment

    units = [experiment.Training("Digits", "tiny", "sgd", ("default",), (0,), epochs=1)]
    monkeypatch.setattr(experiment, "EXPERIMENTS", {"small": lambda preset, names: units})
    monkeypatch.setattr(data, "resolve", lambda names: (("Digits",), "EMBEDDED DIGITS IN USE: no network"))
    with pytest.warns(UserWarning, match="EMBEDDED DIGITS"):
        assert commands.main(["run", "--preset", "quick", "--jobs", "1"]) == 0
    assert "EMBEDDED DIGITS IN USE" in capsys.readouterr().err
    facts = json.loads((here / "quick" / "provenance.json").read_text("utf8"))
    assert facts["notice"].startswith("EMBEDDED") and set(facts["data"]) == {"Digits"}
    assert facts["experiments"]["small"]["units"] == 1 and facts["steps"]["tables"]["seconds"] > 0
    assert (here / "quick" / "EMBEDDED_DIGITS").exists() and len(table.read("small", "quick")) == 4
    monkeypatch.setattr(data, "resolve", lambda names: (("Digits",), ""))
    assert commands.main(["run", "--preset", "quick", "--jobs", "1"]) == 0
    assert not (here / "quick" / "EMBEDDED_DIGITS").exists()


def test_make_refuses_an_unknown_preset_and_device():
    for words, message in ((["PRESET=papr"], "unknown PRESET 'papr'; choose paper, quick or smoke"),
                           (["DEVICE=gpu"], "unknown DEVICE 'gpu'; choose auto, cpu or cuda")):
        result = subprocess.run(["make", "-n", "reproduce", *words], cwd=ROOT, capture_output=True, text=True)
        assert result.returncode and message in result.stderr


def test_the_module_runs_as_a_command():
    result = subprocess.run([sys.executable, "-m", "dndiv", "--help"], capture_output=True, text=True)
    assert result.returncode == 0 and "notebook" in result.stdout
