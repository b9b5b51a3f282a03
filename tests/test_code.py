"""The tracker of what depends on what: what is reached, and which edits make something stale."""

import ast
import functools
import json
import shutil
import subprocess
import sys

import pytest

from dndiv.paper import cache, code, design, files
from dndiv.paper.design import Training

ROOT = [("dndiv.paper.compute", "rows")]


PARSED = functools.cache(code.stripped)  # an edit leaves all other modules as they are


@pytest.fixture
def edited(tmp_path, monkeypatch):
    """A copy of the package with a text replaced in a module; the key of a unit is its own."""
    monkeypatch.setattr(code, "stripped", PARSED)
    shutil.copytree(
        files.ROOT / "dndiv", tmp_path / "dndiv", ignore=shutil.ignore_patterns("__pycache__")
    )
    monkeypatch.setattr(code, "ROOT", tmp_path)
    memories = (code._body, code._definitions, code._imports, code._read, cache._code)

    def forget():
        for memory in memories:
            memory.cache_clear()

    def edit(module, old, new):
        path = tmp_path / module
        text = path.read_text("utf8")
        assert text.count(old) >= 1, f"{module} has no {old!r}"
        path.write_text(text.replace(old, new, 1), "utf8")
        forget()

    forget()
    yield edit
    forget()


PLAIN = Training("Digits", "tiny", "sgd", ("default", "decorrelated"), (0,))
TREATED = Training("Digits", "tiny", "sgd", ("default", "default+log_volume:constant@0.1"), (0,))


@pytest.fixture(scope="module")
def keys():
    """Before any edit."""
    return {unit: cache.key(unit) for unit in (PLAIN, TREATED)}


@pytest.mark.parametrize(
    "module, old, new, unit",
    [
        # a helper of a helper, three modules away
        ("dndiv/init.py", "return rows / torch.linalg", "return 2 * rows / torch.linalg", PLAIN),
        ("dndiv/population.py", "return -(-samples // batch)", "return samples // batch", PLAIN),
        ("dndiv/paper/design.py", "INIT_BATCH = 1024", "INIT_BATCH = 512", PLAIN),
        ("dndiv/paper/design.py", '"Digits": 8', '"Digits": 16', PLAIN),
        ("dndiv/paper/design.py", '"sgd": 0.01', '"sgd": 0.02', PLAIN),
        (
            "dndiv/streams.py",
            '"order": lambda seed: 2 * seed + 1',
            '"order": lambda seed: seed',
            PLAIN,
        ),
        ("dndiv/penalties.py", "RIDGE = 1e-4", "RIDGE = 1e-5", TREATED),
        ("dndiv/paper/data.py", "x.sub_(mean).div_(std)", "x.sub_(mean)", PLAIN),
    ],
)
def test_an_edit_of_what_is_reached_makes_a_unit_stale(edited, keys, module, old, new, unit):
    before = keys[unit]
    edited(module, old, new)
    assert cache.key(unit) != before


@pytest.mark.parametrize(
    "module, old, new, unit",
    [
        # what is said in an error, a comment, a docstring, an annotation
        ("dndiv/paper/data.py", "is corrupt or truncated", "is damaged", PLAIN),
        # how archives are fetched, and coefficients read: what they are is in the key
        ("dndiv/paper/data.py", "TIMEOUT = 20", "TIMEOUT = 30", PLAIN),
        ("dndiv/paper/schema.py", "Number(0)", "Number(1)", TREATED),
        ("dndiv/population.py", "# one product per seed,", "# a product for each seed,", PLAIN),
        (
            "dndiv/init.py",
            "Set every bias that is trained",
            "Let every bias that is trained be",
            PLAIN,
        ),
        ("dndiv/population.py", "samples: int, batch: int) -> int", "samples, batch)", PLAIN),
        # what other units are about: other optimizers, starts, techniques, measures, a new setting
        ("dndiv/paper/design.py", '"adam": 0.001', '"adam": 0.002', PLAIN),
        ("dndiv/paper/starts.py", "argsort(1) < 15", "argsort(1) < 10", PLAIN),
        ("dndiv/penalties.py", "max(n * (n - 1), 1)", "max(n * n, 1)", PLAIN),
        ("dndiv/diversity.py", "CONSTANT = 1e-6", "CONSTANT = 1e-5", PLAIN),
        (
            "dndiv/paper/design.py",
            '"tiny": (4, 4, 4),',
            '"tiny": (4, 4, 4), "two": (12, 12),',
            PLAIN,
        ),
        ("dndiv/paper/claims.py", "if low > margin", "if low >= margin", PLAIN),
    ],
)
def test_other_edits_do_not(edited, keys, module, old, new, unit):
    before = keys[unit]
    edited(module, old, new)
    assert cache.key(unit) == before


def test_what_is_handed_on_imported_late_or_loaded_when_asked_for_is_found(tmp_path):
    tree = code.stripped(
        "import dndiv\nfrom dndiv.paper import design as d, tables\n"
        "def f():\n    from dndiv.init import layers\n    return layers\n"
        "dndiv.decorrelated_\nd.SETTINGS\ntables.table\n"
    )
    assert set(code.mentioned(tree)) == {
        ("dndiv.init", "layers"),
        ("dndiv.init", "decorrelated_"),
        ("dndiv.paper.design", "SETTINGS"),
        ("dndiv.paper.tables", "table"),
    }


def test_an_unknown_name_is_an_error_and_not_an_empty_dependence():
    with pytest.raises(ValueError, match="dndiv.paper.compute defines no 'KIND'"):
        code.digest([("dndiv.paper.compute", "KIND")])


def test_the_walk_reaches_every_record_look_start_and_technique():
    reached = code.reached(ROOT)
    for name in (*design.EARLY_ARMS, *design.BASELINE_ARMS):
        assert f"'{name}'" in reached["dndiv.paper.starts", "STARTS"]
    assert ("dndiv.changes", "reinitialize_") in reached
    assert ("dndiv.diversity", "log_volume") in reached
    restricted = code.reached(ROOT, {"Training", "default", "sgd", "Digits", "tiny", "accuracy"})
    assert ("dndiv.changes", "reinitialize_") not in restricted
    assert len(restricted) < len(reached)


def test_comments_docstrings_and_what_is_raised_do_not_change_the_code_and_statements_do():
    def text(source):
        return ast.unparse(code.stripped(source))

    one = (
        'def f(x: int) -> int:\n    """Doc."""\n'
        '    if x: raise ValueError("bad")\n    return x + 1\n'
    )
    same = (
        '# why\ndef f(x):\n\n    if x:\n        raise ValueError(f"{x} is bad")\n'
        "    return (x + 1)\n"
    )
    assert text(one) == text(same) != text(one.replace("+ 1", "+ 2"))
    assert text(one) != text(one.replace("ValueError", "KeyError"))


# ---------------------------------------------------------------------------- who imports whom
LIBRARY = sorted(p.stem for p in (files.ROOT / "dndiv").glob("*.py") if p.stem != "__main__")


@pytest.mark.parametrize("module", LIBRARY)
def test_the_library_imports_nothing_of_the_paper(module):
    source = (files.ROOT / "dndiv" / f"{module}.py").read_text("utf8")
    imported = [target for target, _ in code._imported(ast.walk(code.stripped(source))).values()]
    assert not [t for t in imported if t.startswith(("dndiv.paper", "dndiv.bench"))]


def test_what_comes_after_tables_needs_no_torch():
    figures = sorted(p.stem for p in (files.ROOT / "dndiv/paper/figures").glob("[a-z]*.py"))
    names = (
        "answer arms claims code design effects names notebooks outcomes report reproduce tables"
    )
    modules = [*names.split(), *(f"figures.{name}" for name in figures)]
    program = f"""import importlib, sys
for name in {modules}:
    importlib.import_module(f"dndiv.paper.{{name}}")
    assert "torch" not in sys.modules, name"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_notebooks_that_train_nothing_need_no_torch():
    """What they import does not load it; nor does what they call, of which the shortest is run."""
    sources = {}
    for number in ("00", "01", "02", "06", "07", "08", "09"):
        [file] = (files.ROOT / "notebooks").glob(f"{number}_*.ipynb")
        cells = json.loads(file.read_text("utf8"))["cells"]
        text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
        imports = (
            n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Import | ast.ImportFrom)
        )
        sources[number] = text if number == "09" else "\n".join(map(ast.unparse, imports))
    program = f"""import sys
for number, source in {sources!r}.items():
    exec(source, {{"__name__": "__main__"}})
    assert "torch" not in sys.modules, number"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
