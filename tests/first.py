"""Loaded by `make test` before anything else: jsonschema, which whatever reads notebooks loads,
then builds no grammars of addresses, which takes two seconds in every process."""

import os
import sys

import pytest

sys.modules.setdefault("rfc3987_syntax", None)


@pytest.hookimpl(tryfirst=True)
def pytest_xdist_auto_num_workers():
    """One more than there are cores: tests of clusters, and of what dies, wait."""
    return os.cpu_count() + 1
