"""``make reproduce``: what is missing or out of date is made, and nothing else.

Everything made has an entry in results/<preset>/state.json: the digest of all that it was made
from, and its own. What is not there, has been changed, or would be made from something else now, is
made again.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dndiv.paper import code, files, notebooks, provenance, tables
from dndiv.paper.code import Name
from dndiv.paper.design import EXPERIMENTS, PRESETS, table_names, units
from dndiv.paper.files import atomically

# how tables are made is known by the tables
MADE = ("dndiv.paper.tables", "table")
EXECUTED = ("dndiv.paper.notebooks", "execute")  # a copy depends on how it is executed, too
FILES = {"CLAIMS": files.CLAIMS, "ASSUMPTIONS": files.ASSUMPTIONS}
TWO = 2  # notebooks at a time, one thread each


def reproduce(preset: str, device: str, jobs: int | None) -> int:
    """Tables, executed notebooks and verdicts of a preset into results/<preset>. Returns 0 or 1."""
    state = State(preset)
    made = make_tables(state, device, jobs)
    sheets = {name: state.known(f"tables/{name}") for name in table_names()}
    books = [s for s in notebooks.sources() if not state.holds(*_notebook(s, preset, sheets))]
    if not all(_execute(books, state, sheets, device)):
        return 1
    verdicts = ("claims.json", files.results(preset) / "claims.json", _verdicts(sheets))
    judge = not state.holds(*verdicts)
    if judge:
        words = ["check", "--preset", preset]
        if subprocess.run([sys.executable, "-m", "dndiv", *words]).returncode:
            return 1
        state.note(*verdicts)
    pages = _make_report(state)
    if made or books or judge or pages:
        print(f"Done: tables, figures, executed notebooks and verdicts are in {state.folder}.")
        print(_went(state.folder))
    else:
        count = len(notebooks.sources())
        print(f"Nothing to do: {state.folder} is up to date ({count} notebooks).")
    print(f"What came out is in {state.folder / 'report.html'}; open it in a browser.")
    return 0


def make_tables(state: "State", device: str, jobs: int | None) -> bool:
    """Compute what is missing, and write the tables that it is in; whether there was anything."""
    from dndiv.paper import data, run

    preset = state.preset
    device = run.choose_device(device)
    names, notice = data.resolve(PRESETS[preset].data)
    parts = code.digest([("dndiv.paper.design", "PARTS")])
    made_from = keys(preset, names)
    stale = {}
    for name in table_names():
        experiment, _ = run.source(name)
        entry = (f"tables/{name}", tables.path(name, preset), _digest(made_from[experiment], parts))
        if not state.holds(*entry):
            stale[name] = entry
    todo = run.all_missing(preset, names) if stale else []
    if not stale:
        return False
    _say(notice or f"data: {', '.join(data.DATA[n] for n in names)}")
    run.compute_units(preset, todo, device, jobs)
    wrote = time.perf_counter()
    run.write(preset, names, list(stale), jobs)
    for entry in stale.values():
        state.note(*entry)
    experiments = {
        name: run.cost(name, preset, names) | {"keys": made_from[name]} for name in EXPERIMENTS
    }
    facts = {
        "preset": preset,
        "commit": provenance.commit(),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
        "arithmetic": run.arithmetic(jobs),
        "device": device,
        "notice": notice,
        "data": {name: data.checksum(name) for name in names},
        "experiments": experiments,
        "training": run.training(preset, names),
    }
    provenance.record(state.folder, facts, step="tables", seconds=time.perf_counter() - wrote)
    ready = Path(sys.prefix) / "ready"  # left by `make setup`
    if ready.exists():
        setup = float(ready.read_text().split()[0])
        provenance.record(state.folder, {}, step="setup", seconds=setup)
    return True


def keys(
    preset: str, names: Sequence[str], checksums: Mapping[str, str] | None = None
) -> dict[str, str]:
    """By experiment, the digest of the keys of all its units, on the data sets ``names``.

    checksums: theirs, in place of those of the archives here.
    """
    from dndiv.paper import cache

    def digest(experiment):
        return _digest([cache.key(unit, checksums) for unit in units(experiment, preset, names)])

    return {name: digest(name) for name in EXPERIMENTS}


def _execute(books: Iterable[Path], state: "State", sheets: dict, device: str) -> list[bool]:
    """Execute notebooks, two at a time, each in a process of its own; which of them went well."""

    def one(source):
        _say(f"{source.stem} ({state.preset})")
        words = ["notebook", str(source), "--preset", state.preset, "--device", device]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        run = subprocess.run([sys.executable, "-m", "dndiv", *words], env=environment)
        if run.returncode == 0:
            state.note(*_notebook(source, state.preset, sheets))
        return run.returncode == 0

    with ThreadPoolExecutor(TWO) as side_by_side:
        return list(side_by_side.map(one, books))


def _notebook(source: Path, preset: str, sheets: dict) -> tuple[str, Path, str]:
    """The entry of a notebook: its name, the executed file, and the digest of what it is from."""
    cells = json.loads(source.read_text("utf8"))["cells"]
    texts = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    names = [*code.mentioned(code.stripped("\n".join(texts))), EXECUTED]
    made_from = _digest(source.read_text("utf8"), sheets, *_sources(names))
    return f"notebooks/{source.stem}", notebooks.executed(source, preset), made_from


def _make_report(state: "State") -> bool:
    """Write the report, as a page and on paper, where it is not there as it would be made now;
    whether it was written."""
    from dndiv.paper import books, page

    made = {name: entry["sha256"] for name, entry in state.entries.items() if "report" not in name}
    pictures = [_content(file) for file in sorted((state.folder / "figures").glob("*.png"))]
    templates = [file.read_text("utf8") for file in sorted(page.TEMPLATES.iterdir())]
    words = [vars(section) for section in books.sections(state.preset)]
    sources = _sources([("dndiv.paper.page", "make")])
    made_from = _digest(made, pictures, templates, words, sources)
    both = [state.folder / f"report.{kind}" for kind in ("html", "pdf")]
    if all(state.holds(file.name, file, made_from) for file in both):
        return False
    _say(f"report ({state.preset})")
    for file in page.make(state.preset):
        state.note(file.name, file, made_from)
    return True


def _went(folder: Path) -> str:
    """Where the time went, in a sentence, by what a run has recorded."""
    facts = json.loads((folder / "provenance.json").read_text("utf8"))
    spent = sorted(((e["unit_seconds"], n) for n, e in facts["experiments"].items()), reverse=True)
    total = sum(seconds for seconds, _ in spent)
    parts = ", ".join(f"{name} {100 * s / max(total, 1e-9):.0f} %" for s, name in spent)
    books = [s["seconds"] for n, s in facts["steps"].items() if n not in ("setup", "tables")]
    return (
        f"Where the time went: {total / 60:.1f} min of single-threaded work on tables ({parts}); "
        f"{sum(books) / 60:.1f} min on {len(books)} notebooks, {TWO} at a time."
    )


def _verdicts(sheets: dict) -> str:
    names = [("dndiv.paper.claims", "evaluate"), ("dndiv.paper.report", "write")]
    return _digest(sheets, *_sources(names))


def _sources(names: Iterable[Name]) -> list[str]:
    """The digest of the code that some names reach, and the texts of the files that it reads."""
    found = code.reached(names, stop={MADE})
    read = [path.read_text("utf8") for name, path in FILES.items() if _mentions(found, name)]
    return [*(f"{module}:{name} {text}" for (module, name), text in sorted(found.items())), *read]


def _mentions(found: dict[Name, str], constant: str) -> bool:
    return ("dndiv.paper.files", constant) in found


def _content(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _digest(*parts: object) -> str:
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


class State:
    """What a preset's folder holds, and what it was made from; kept in its state.json."""

    def __init__(self, preset: str):
        self.preset, self.folder = preset, files.results(preset)
        self.file = self.folder / "state.json"
        try:
            self.entries = json.loads(self.file.read_text("utf8"))
        except (OSError, ValueError):
            self.entries = {}

    def known(self, name: str) -> str | None:
        """The digest of a thing's content when it was made."""
        return self.entries.get(name, {}).get("sha256")

    def holds(self, name: str, file: Path, made_from: str) -> bool:
        """Whether a file is there as it was made, and would be made from the same now."""
        if not file.exists() or self.entries.get(name, {}).get("made_from") != made_from:
            return False
        return self.known(name) == _content(file)

    def note(self, name: str, file: Path, made_from: str) -> None:
        """Remember that a file has just been made."""
        self.entries[name] = {"made_from": made_from, "sha256": _content(file)}
        text = json.dumps(self.entries, indent=1, sort_keys=True) + "\n"
        atomically(self.file, lambda part: part.write_text(text, "utf8"))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
