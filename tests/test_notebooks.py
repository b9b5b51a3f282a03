"""The notebook sources: parameters, compared cells, outputs; and that a broken formula is
noticed."""

import ast
import json
import os
import shutil
import subprocess
import sys

import pytest

from dndiv.paper.files import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
BOOKS = {path.stem: json.loads(path.read_text("utf8")) for path in NOTEBOOKS}


def code_cells(book):
    return [cell for cell in book["cells"] if cell["cell_type"] == "code"]


def compared(cell):
    return "NBVAL_CHECK_OUTPUT" in "".join(cell["source"])


def test_there_are_notebooks_with_compared_cells():
    assert {"00_overview", "05_initialization", "06_early_epochs"} <= set(BOOKS)
    assert sum(compared(cell) for book in BOOKS.values() for cell in code_cells(book)) >= 4


@pytest.mark.parametrize("name", BOOKS)
def test_parameters_are_plain_and_named_alike(name):
    [cell] = [c for c in code_cells(BOOKS[name]) if "parameters" in c["metadata"].get("tags", [])]
    values = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse("".join(cell["source"])).body
    }
    assert values == {"PRESET": "reference", "DEVICE": "auto"}
    assert BOOKS[name]["metadata"]["kernelspec"]["name"] == "python3"


@pytest.mark.parametrize("name", BOOKS)
def test_compared_cells_were_executed_and_no_other_stores_output(name):
    for cell in code_cells(BOOKS[name]):
        if compared(
            cell
        ):  # nbval passes a compared cell that was never executed, whatever it prints
            assert cell["outputs"] and cell["execution_count"], "".join(cell["source"])
        else:
            assert not cell["outputs"], "".join(cell["source"])


@pytest.mark.parametrize("name", BOOKS)
def test_every_notebook_opens_with_its_question_and_has_text_between(name):
    first = "".join(BOOKS[name]["cells"][0]["source"])
    assert first.startswith("# ") and "**Question.**" in first
    assert "## In short" in "".join(BOOKS[name]["cells"][3]["source"])


def nbval(folder, notebook):
    """nbval on a notebook, with the ``dndiv`` of ``folder``."""
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--nbval-lax",
            "--nbval-current-env",
            str(folder / "notebooks" / notebook),
        ],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    "good, bad",
    [
        (None, None),  # the control: an unchanged copy passes
        ("directions(rows / norms) * (norms", "(directions(rows / norms) + 0.001) * (norms"),
        ("(rows - 2 * mirror @ (mirror.T @ rows))", "(rows - 2.1 * mirror @ (mirror.T @ rows))"),
    ],
)
def test_a_broken_formula_turns_nbval_red(tmp_path, good, bad):
    for part in ("dndiv", "notebooks", "results/reference"):
        shutil.copytree(
            ROOT / part,
            tmp_path / part,
            ignore=shutil.ignore_patterns("__pycache__", "*.pdf", "*.png"),
        )
    for part in ("claims.yml", "assumptions.yml", "coefficients.yml"):
        shutil.copy(ROOT / part, tmp_path / part)
    if good:
        module = tmp_path / "dndiv" / "init.py"
        source = module.read_text("utf8")
        assert source.count(good) == 1
        module.write_text(source.replace(good, bad), "utf8")
    result = nbval(tmp_path, "05_initialization.ipynb")
    assert result.returncode == (1 if good else 0), result.stdout
    assert ("failed" in result.stdout) == bool(good)
