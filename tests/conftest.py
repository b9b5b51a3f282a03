import os

import pytest

# figures are drawn without a screen
os.environ.setdefault("MPLBACKEND", "agg")


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A results folder of its own."""
    from dndiv import experiment, table

    for module in (table, experiment):
        monkeypatch.setattr(module, "RESULTS", tmp_path)
    return tmp_path
