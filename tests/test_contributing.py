"""The recipes of CONTRIBUTING.md, followed to the letter on a copy of the package."""

import re
import shutil
import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient

from dndiv.paper import books, notebooks
from dndiv.paper.files import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf8")
RECIPES = {part.split("\n")[0]: part for part in re.split(r"^### ", TEXT, flags=re.MULTILINE)[1:]}


def insertions(recipe):
    """(file, line to insert after, lines) of a recipe."""
    found, file = [], None
    pattern = (
        r"(?:[Ii]n `(?P<file>[^`]+)`)|(?:after `(?P<after>[^`]+)`:\n\n```python\n(?P<new>.*?)```)"
    )
    for match in re.finditer(pattern, recipe, flags=re.DOTALL):
        if match["file"]:
            file = match["file"]
        else:
            found.append((file, match["after"], match["new"]))
    return found


@pytest.fixture
def follow(tmp_path):
    """Follow a recipe on a copy, and run a program there."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "dndiv", tmp_path / "dndiv", ignore=ignored)
    for name in ("claims.yml", "assumptions.yml", "coefficients.yml"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "reference").symlink_to(ROOT / "results" / "reference")

    def followed(title, program):
        steps = insertions(RECIPES[title])
        assert steps and len({file for file, _, _ in steps}) <= 2
        assert sum(len(new.splitlines()) for _, _, new in steps) <= 20
        for file, after, new in steps:
            lines = (tmp_path / file).read_text("utf8").split("\n")
            assert lines.count(after) == 1, f"{file} has {after!r} {lines.count(after)} times"
            at = lines.index(after) + 1
            lines[at:at] = new.removesuffix("\n").split("\n")
            (tmp_path / file).write_text("\n".join(lines), "utf8")
        run = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stderr
        return run.stdout

    return followed


COMMON = """
import dataclasses, warnings
from dndiv.paper import cache, compute, design, outcomes, tables, experiments
from dndiv.paper.design import Training
from dndiv.paper.names import COLUMNS
import pandas as pd
def rows(*words, **more):
    unit = Training("Digits", *words, epochs=1, **more)
    return pd.DataFrame(compute.rows(unit, "cpu"), columns=COLUMNS)
"""


def test_a_new_start_is_trained_drawn_and_missing_from_no_picture(follow):
    said = follow(
        "A new start",
        COMMON
        + """
from dndiv.paper.figures import early
found = rows("tiny", "sgd", design.EARLY_ARMS, (0,))
assert "halved" in set(found.arm)
half, whole = (found[found.arm == a].value.to_numpy() for a in ("halved", "default"))
assert (half != whole).any()
early.curves(found, ("default", "halved"))
reference = outcomes.early_accuracy(tables.table("early", "reference"))  # it has no such arm
early.heatmap(reference, {a: a for a in design.EARLY_ARMS})
print("halved" in str(experiments.units("early", "paper", ("MNIST",))[0].arms))
""",
    )
    assert said == "True\n"


def test_a_new_technique_acts_by_its_own_gradient_and_can_be_tuned(follow):
    said = follow(
        "A new technique",
        COMMON
        + """
import torch, dndiv
from dndiv.techniques import TECHNIQUES
arms = ("default", "default+weight_sum:constant@10", "default+weight_cosine:constant@10")
found = rows("tiny", "sgd", arms, (0,), records=("accuracy", "layers"))
last = found[(found.epoch == 1) & (found.measure == "similarity")].groupby("arm").value.mean()
assert last.nunique() == 3
model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
diverse = dndiv.Reinforcement(model, torch.optim.SGD(model.parameters(), 0.1), "weight_sum", 1.0)
model(torch.randn(5, 4))
assert torch.allclose(diverse.penalty(), TECHNIQUES["weight_sum"].penalty(model[0].weight))
assert "default+weight_sum:dynamic@0.1" in design.candidates("dynamic")
try:
    [cache.key(u) for u in experiments.units("reinforcement", "smoke", ("Digits",))]
except ValueError as error:
    print(error)
""",
    )
    assert "coefficients.yml has no dynamic coefficient for tiny sgd" in said
    assert "tune it with `python -m dndiv tune`" in said


def test_a_new_measure_is_recorded(follow):
    follow(
        "A new measure of diversity",
        COMMON
        + """
found = rows("tiny", "sgd", ("default",), (0,), records=("accuracy", "diversity"))
shares = found[found.measure == "sparsity"].value
assert len(shares) == 6 and shares.between(0, 1).all() and shares.max() > 0
""",
    )


def test_a_new_setting_is_in_every_experiment(follow):
    follow(
        "A new setting",
        COMMON
        + """
for name in ("early", "baselines", "directions", "reinforcement"):
    assert "two" in {u.setting for u in experiments.units(name, "paper", ("MNIST",))}, name
assert set(rows("two", "adam", ("default",), (0,), records=("layers",)).layer) == {"1", "2"}
""",
    )


def test_a_new_notebook_answers_its_question(tmp_path, monkeypatch):
    recipe = RECIPES["A new notebook"].split("```python\n")[1].split("```")[0]
    assert len(recipe.splitlines()) <= 20
    book = nbformat.v4.new_notebook()
    for part in re.split(r"^# %%", recipe, flags=re.MULTILINE)[1:]:
        kind, _, text = part.partition("\n")
        if "[markdown]" in kind:
            cell = nbformat.v4.new_markdown_cell(re.sub(r"^# ?", "", text, flags=re.MULTILINE))
        else:
            cell = nbformat.v4.new_code_cell(text, metadata={"tags": kind.split()})
        book.cells.append(cell)
    source = tmp_path / "11_example.ipynb"
    nbformat.write(book, source)
    notebooks.refresh(source)
    book = nbformat.read(source, as_version=4)
    assert book.cells[0].source.startswith("# ") and "parameters" in book.cells[1].metadata.tags
    assert all(c.metadata.jupyter.source_hidden for c in book.cells[2:] if c.cell_type == "code")
    NotebookClient(book, kernel_name="python3").execute()
    nbformat.write(book, tmp_path / "executed.ipynb")
    monkeypatch.setattr(notebooks, "executed", lambda source, preset: tmp_path / "executed.ipynb")
    section = books._section(source, "reference", set())
    assert section.question == "How accurate is PyTorch's default after five epochs?"
    assert re.fullmatch(r"\d\d\.\d % in the mean over all settings\.", section.answer)
