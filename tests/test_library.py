"""The library by itself: what it needs, on which systems it works."""

import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import dndiv
from dndiv.paper import provenance
from dndiv.paper.files import ROOT

USE = """
import importlib.util, pkgutil, torch, dndiv
assert not importlib.util.find_spec("scipy") and not importlib.util.find_spec("dndiv.paper")
for module in pkgutil.iter_modules(dndiv.__path__, "dndiv."):
    __import__(module.name)
for name in dndiv.__all__:
    getattr(dndiv, name)
model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))
x = torch.randn(50, 6)
dndiv.decorrelate_(model, inputs=x)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
diverse = dndiv.Reinforcement(model, optimizer, "activation_decorrelation", 0.1)
(model(x).square().mean() + diverse.penalty()).backward()
optimizer.step()
from dndiv.population import Optimizer, Population
Population([[model]], Optimizer("sgd", 0.1))
"""


def needed(package):
    """What installing a package brings here, itself included."""
    found = {normal(package)}
    for requirement in map(Requirement, metadata.requires(package) or ()):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            found |= needed(requirement.name)
    return found


def normal(package):
    return package.lower().replace("_", "-")


def test_it_works_where_there_is_nothing_but_torch_and_numpy(tmp_path):
    brought = needed("torch") | needed("numpy")
    for name, homes in metadata.packages_distributions().items():
        if brought & set(map(normal, homes)):
            for path in Path(sysconfig.get_path("purelib")).glob(f"{name}*"):
                if path.name.split(".")[0] == name:
                    (tmp_path / path.name).symlink_to(path)
    (tmp_path / "dndiv").mkdir()
    for path in [*(ROOT / "dndiv").glob("*.py"), ROOT / "dndiv" / "integrations"]:
        if path.name != "__main__.py":  # the artifact's
            (tmp_path / "dndiv" / path.name).symlink_to(path)
    done = subprocess.run(  # without site-packages
        [sys.executable, "-S", "-c", USE],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_importing_it_loads_nothing():
    program = "import sys, dndiv; sys.exit(len({'torch', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


# -------------------------------------------------------------------------------- its documentation
MODULES = [m.name for m in pkgutil.walk_packages(dndiv.__path__, "dndiv.")]
MODULES = [n for n in MODULES if not n.startswith(("dndiv.paper", "dndiv.bench", "dndiv.__main__"))]


def public(owner, home):
    """The public functions and classes that a module or class defines, and what those define."""
    for name, value in vars(owner).items():
        value = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        callable_ = (
            inspect.isroutine(value) or inspect.isclass(value) or isinstance(value, property)
        )
        if name.startswith("_") or not callable_ or getattr(value, "__module__", home) != home:
            continue
        yield f"{owner.__name__}.{name}", value
        if inspect.isclass(value):
            yield from public(value, home)


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_has_a_docstring(module):
    module = importlib.import_module(module)
    # what frameworks call is documented by them
    given = ("on_", "teardown", "initialize", "compute_loss", "state_dict", "load_state_dict")
    theirs = module.__name__.startswith("dndiv.integrations.")
    found = [
        name
        for name, value in public(module, module.__name__)
        if not inspect.getdoc(value) and not (theirs and name.split(".")[-1].startswith(given))
    ]
    assert module.__doc__ and not found


def test_the_reference_shows_every_name_of_the_library(pages):
    shown = (pages / "dndiv.html").read_text("utf8")
    for name, home in dndiv._HOME.items():
        assert f'id="{name}"' in shown, f"{home}.{name}"
    for name in dndiv._MODULES:
        assert (pages / "dndiv" / f"{name}.html").exists()
    assert 'id="Reinforcement.penalty"' in shown and r"\( U" not in shown.split("Arguments:")[0]
    assert {p.stem for p in (pages / "dndiv" / "integrations").iterdir()} == {
        "lightning", "skorch", "transformers"
    }  # fmt: skip


# ------------------------------------------------------------------------------------ other systems
WINDOWS = """
import sys, types, pathlib, json, subprocess
calls = []
sys.modules["fcntl"] = sys.modules["resource"] = None
sys.modules["msvcrt"] = types.SimpleNamespace(LK_LOCK=1, locking=lambda *given: calls.append(given))
from dndiv.paper import provenance
folder = pathlib.Path(sys.argv[1])
provenance.record(folder, {"a": 1}, step="one", seconds=2.0)
found = json.loads((folder / "provenance.json").read_text("utf8"))
assert found == {"a": 1, "steps": {"one": {"seconds": 2.0, "peak_memory_mib": 0}}}, found
assert [given[1:] for given in calls] == [(1, 1)], calls
"""


def test_what_windows_lacks_is_asked_for_where_it_can_be_done_without(tmp_path):
    posix = re.compile(r"^\s*(import|from) (fcntl|resource|pwd|grp|termios)\b", re.M)
    found = [p.name for p in (ROOT / "dndiv").rglob("*.py") if posix.search(p.read_text("utf8"))]
    assert sorted(found) == ["files.py", "provenance.py"]  # locks, and memory
    done = subprocess.run([sys.executable, "-c", WINDOWS, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("platform, unit", [("linux", 2**10), ("darwin", 2**20)])
def test_memory_is_counted_in_the_system_s_unit(monkeypatch, platform, unit):
    used = {provenance.resource.RUSAGE_SELF: 300 * unit + 5}
    used[provenance.resource.RUSAGE_CHILDREN] = 400 * unit
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(
        provenance.resource, "getrusage", lambda who: type("Usage", (), {"ru_maxrss": used[who]})
    )
    assert provenance.peak_memory() == 300 and provenance.peak_memory(children=True) == 400
