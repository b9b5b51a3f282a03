import os
import re
import shlex
import subprocess
import sys

import pytest

from dndiv.paper.files import ROOT

# figures are drawn without a screen
os.environ.setdefault("MPLBACKEND", "agg")


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A results folder of its own."""
    from dndiv.paper import files

    monkeypatch.setattr(files, "RESULTS", tmp_path)
    return tmp_path


@pytest.fixture
def small(results, monkeypatch):
    """Presets of one experiment that takes a second, on the embedded digits."""
    from dndiv.paper import data, design, experiments, reproduce, run

    units = [design.Training("Digits", "tiny", "sgd", ("default",), (0,), epochs=1)]
    monkeypatch.setattr(experiments, "EXPERIMENTS", {"small": lambda preset, names: units})
    monkeypatch.setattr(reproduce, "EXPERIMENTS", experiments.EXPERIMENTS)
    monkeypatch.setattr(design, "PARTS", {})
    monkeypatch.setattr(run.products, "rate", lambda *_: 50.0)
    monkeypatch.setattr(data, "resolve", lambda names: (("Digits",), "EMBEDDED DIGITS IN USE"))
    return results


@pytest.fixture(scope="session")
def pages(tmp_path_factory):
    """What the command of `make docs` writes."""
    [line] = re.findall(r"^docs: setup\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text("utf8"), re.M)
    words = shlex.split(line.replace("\\\n", " ").replace("$(PY)", sys.executable))
    folder = tmp_path_factory.mktemp("docs")
    words[words.index("build/docs")] = str(folder)
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and "Warn" not in done.stderr, done.stderr[-2000:]
    return folder
