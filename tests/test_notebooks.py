"""The notebook sources: parameters, compared cells, outputs; and that a broken formula is
noticed."""

import ast
import base64
import html
import json
import os
import re
import shutil
import subprocess
import sys

import nbconvert
import nbformat
import pytest

from dndiv.paper import figures, files, notebooks, pictures, report, tables
from dndiv.paper.files import ROOT

NOTEBOOKS = notebooks.sources()
BOOKS = {path.stem: json.loads(path.read_text("utf8")) for path in NOTEBOOKS}


def code_cells(book):
    return [cell for cell in book["cells"] if cell["cell_type"] == "code"]


def texts(cells):
    return ["".join(cell["source"]) for cell in cells]


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


@pytest.mark.parametrize("name", BOOKS)
def test_the_answer_comes_before_the_code(name):
    """Collapsed is all code but the parameters, what is compared, and what shows the library."""
    hidden = [c["metadata"].get("jupyter") == {"source_hidden": True} for c in BOOKS[name]["cells"]]
    for cell, collapsed in zip(BOOKS[name]["cells"], hidden):
        tags = set(cell["metadata"].get("tags", ()))
        seen = compared(cell) or tags & {"parameters", "shown"} or cell["cell_type"] == "markdown"
        assert collapsed == (not seen), "".join(cell["source"])
        if "shown" in tags:  # the library, and nothing of the paper's
            assert "figures." not in "".join(cell["source"])
            assert len(cell["source"]) <= 16
    assert all(
        hidden[k]
        for k, c in enumerate(BOOKS[name]["cells"][:5])
        if k > 1 and code_cells({"cells": [c]})
    )


@pytest.mark.parametrize("name", BOOKS)
def test_no_cell_is_long(name):
    assert max(len("".join(c["source"]).splitlines()) for c in code_cells(BOOKS[name])) <= 15


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
            "-rN",  # what fails is said once, in CI too
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
        ("directions(rows / norms) * (norms", "(directions(rows / norms) + 0.001) * (norms"),
        ("(rows - 2 * mirror @ (mirror.T @ rows))", "(rows - 2.1 * mirror @ (mirror.T @ rows))"),
    ],
)
def test_a_broken_formula_turns_nbval_red(tmp_path, good, bad):
    for part in ("dndiv", "notebooks", "results/reference"):
        shutil.copytree(
            ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__", "*.pdf")
        )
    for part in ("claims.yml", "assumptions.yml", "coefficients.yml"):
        shutil.copy(ROOT / part, tmp_path / part)
    module = tmp_path / "dndiv" / "init.py"
    source = module.read_text("utf8")
    assert source.count(good) == 1
    module.write_text(source.replace(good, bad), "utf8")
    with open(tmp_path / "dndiv" / "paper" / "figures" / "__init__.py", "a") as drawing:
        drawing.write("\n\ndef save(*_): ...\n")  # all would be drawn anew, and none is compared
    result = nbval(tmp_path, "05_initialization.ipynb")
    assert result.returncode == 1, result.stdout
    # what fails are numbers: with the formula as it is, the copy would pass
    failed, passed = re.search(r"(\d+) failed, (\d+) passed", result.stdout).groups()
    assert result.stdout.count("mismatch 'stdout'") == int(failed) < int(passed)


# -------------------------------------------------------------------- those of the reference run
def test_a_committed_copy_has_its_answer_before_any_code():
    """Wherever it is looked at: not every viewer collapses code."""
    for path in NOTEBOOKS:
        text = (files.results(files.REFERENCE) / "notebooks" / path.name).read_text("utf8")
        first, second, *_ = cells = json.loads(text)["cells"]
        assert second["cell_type"] == "markdown" and len(second["source"]) > 100, path.name
        assert "".join(second["source"]) == notebooks.answer(cells)
        assert "**Question.**" in "".join(first["source"])


def test_the_committed_copies_are_those_of_the_committed_tables():
    """A reference that knows the keys of its units was made with its notebooks."""
    folder = files.results(files.REFERENCE)
    facts = json.loads((folder / "provenance.json").read_text("utf8"))
    kept = sorted(path.name for path in (folder / "notebooks").glob("*.ipynb"))
    if not all("keys" in entry for entry in facts["experiments"].values()):
        assert kept == []  # nothing is there that nobody can vouch for
        return
    assert kept == [path.name for path in NOTEBOOKS]
    for path in NOTEBOOKS:
        text = (folder / "notebooks" / path.name).read_text("utf8")
        copy = json.loads(text)
        assert copy["metadata"]["dndiv"]["tables"] == tables.digest("reference")
        own = [c for c in code_cells(copy) if "injected-parameters" not in c["metadata"]["tags"]]
        assert texts(own) == texts(code_cells(BOOKS[path.stem]))
        outputs = [o for c in own for o in c["outputs"]]
        assert outputs and all(o["output_type"] != "error" for o in outputs)
        assert len(text) < 2e6


@pytest.fixture(scope="module")
def exporter():
    return nbconvert.HTMLExporter(template_name="classic")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_pictures_show_is_said_to_those_who_do_not_see_them(exporter, path):
    """In the metadata, which nbconvert's template "classic" reads, and below for all others."""
    copy = files.results(files.REFERENCE) / "notebooks" / path.name
    outputs = [cell["outputs"] for cell in code_cells(json.loads(copy.read_text("utf8")))]
    pairs = [pair for of in outputs for pair in zip(of, [*of[1:], {}])]
    shown = [(a, b["data"]["text/html"]) for a, b in pairs if "image/png" in a.get("data", ())]
    texts = [a["metadata"]["image/png"]["alt"] for a, _ in shown]
    assert ["".join(said) for _, said in shown] == list(map(figures.caption, texts))
    page, _ = exporter.from_filename(str(copy))
    found = [html.unescape(alt) for alt in re.findall(r'<img[^>]* alt="([^"]*)"', page)]
    assert found == texts and page.count("<img") == len(texts)


@pytest.fixture
def run(results, monkeypatch, tmp_path):
    """A finished paper run with one notebook, and a reference to be replaced."""
    monkeypatch.setattr(notebooks, "FOLDER", tmp_path / "books")
    monkeypatch.setattr(files, "ROOT", tmp_path)
    for folder in ("paper/figures", "paper/tables", "bench"):
        (results / folder).mkdir(parents=True)
    shutil.copy(ROOT / "results/reference/figures/init_gram.png", results / "paper/figures")
    shutil.copy(ROOT / "results/reference/tables/baselines.parquet", results / "paper/tables")
    for name in ("claims.json", "provenance.json"):
        shutil.copy(ROOT / "results/reference" / name, results / "paper")
    book = nbformat.v4.new_notebook(metadata=BOOKS["00_overview"]["metadata"])
    cells = [
        ('PRESET = "reference"\nDEVICE = "auto"', ["parameters"]),
        (f"from IPython.display import Image\nImage({str(FIGURE)!r}, width=300)", []),
    ]
    for source, tags in cells:
        book.cells.append(nbformat.v4.new_code_cell(source, metadata={"tags": tags}))
    (tmp_path / "books").mkdir()
    nbformat.write(book, tmp_path / "books" / "00_x.ipynb")
    assert notebooks.execute(tmp_path / "books" / "00_x.ipynb", "paper", "cpu") == 0
    return results


FIGURE = ROOT / "results/reference/bench/bench.png"


def test_promoting_keeps_the_notebooks_of_the_run_with_small_pictures(run, tmp_path):
    before = (run / "paper" / "notebooks" / "00_x.ipynb").read_text("utf8")
    report.promote()
    reference = tmp_path / "results" / "reference"
    text = (reference / "notebooks" / "00_x.ipynb").read_text("utf8")
    copy = json.loads(text)
    assert copy["metadata"]["dndiv"]["tables"] == tables.digest("paper")
    assert str(tmp_path) not in text.replace(str(FIGURE), "") and "papermill" not in text
    [picture] = [o["data"] for o in copy["cells"][-1]["outputs"]]
    assert base64.b64decode(picture["image/png"]) == pictures.small(FIGURE.read_bytes())
    assert len(text) <= len(before)
    figure = (run / "paper" / "figures" / "init_gram.png").read_bytes()
    assert (reference / "figures" / "init_gram.png").read_bytes() == pictures.small(figure)
    assert (reference / "bench").exists() and (reference / "claims.json").exists()


def test_promoting_says_which_verdicts_changed(run, tmp_path):
    """Against the reference that is replaced; the same run again changes nothing, nor do other
    words of a claim."""
    reference = tmp_path / "results" / "reference"
    (reference / "tables").mkdir(parents=True)
    entries = json.loads((run / "paper" / "claims.json").read_text("utf8"))
    entries = [e for e in entries if e["claim"] != "early-help"]
    place = next(e for e in entries if e.get("setting") == "MNIST, tiny, SGD")
    now, place["verdict"] = place["verdict"], "reproduced, smaller"
    (reference / "claims.json").write_text(json.dumps(entries), "utf8")
    for _ in range(2):
        report.promote()
        said = (reference / "verdicts_changed.md").read_text("utf8").splitlines()
        assert said[0] == "# Every verdict that changed"
        assert said[2].endswith("(../../CHANGELOG.md). `early-help` is new, and not listed.")
        claim = place["claim"]
        assert said[6:] == [f"| {claim} | MNIST, tiny, SGD | reproduced, smaller | {now} |"]
        kept = (reference / "claims.json").read_text("utf8")
        other = json.dumps([entry | {"sentence": "said otherwise"} for entry in json.loads(kept)])
        (reference / "claims.json").write_text(other, "utf8")


def test_a_run_whose_notebooks_are_of_other_tables_is_not_promoted(run, tmp_path):
    shutil.copy(ROOT / "results/reference/tables/intervention.parquet", run / "paper/tables")
    with pytest.raises(ValueError, match="00_x.ipynb is not there, or is of other tables"):
        report.promote()
    assert not (tmp_path / "results" / "reference").exists()
