import os

import pytest

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
    from dndiv.paper import data, design, reproduce

    units = [design.Training("Digits", "tiny", "sgd", ("default",), (0,), epochs=1)]
    monkeypatch.setattr(design, "EXPERIMENTS", {"small": lambda preset, names: units})
    monkeypatch.setattr(reproduce, "EXPERIMENTS", design.EXPERIMENTS)
    monkeypatch.setattr(design, "PARTS", {})
    monkeypatch.setattr(data, "resolve", lambda names: (("Digits",), "EMBEDDED DIGITS IN USE"))
    return results
