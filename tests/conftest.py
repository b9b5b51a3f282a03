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
