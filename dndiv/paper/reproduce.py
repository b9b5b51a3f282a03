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
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dndiv.paper import code, files, notebooks, provenance, tables
from dndiv.paper.code import Name
from dndiv.paper.design import EXPERIMENTS, PRESETS, table_names, units
from dndiv.paper.files import atomically

# how tables are made is known by the tables
MADE = ("dndiv.paper.tables", "table")
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
    if made or books or judge:
        print(f"Done: tables, figures, executed notebooks and verdicts are in {state.folder}.")
    else:
        count = len(notebooks.sources())
        print(f"Nothing to do: {state.folder} is up to date ({count} notebooks).")
    return 0


def make_tables(state: "State", device: str, jobs: int | None) -> bool:
    """Compute what is missing, and write the tables that it is in; whether there was anything."""
    from dndiv.paper import cache, data, run

    started, preset = time.perf_counter(), state.preset
    device = run.choose_device(device)
    names, notice = data.resolve(PRESETS[preset].data)
    parts = code.digest([("dndiv.paper.design", "PARTS")])
    keys = {name: [cache.key(u) for u in units(name, preset, names)] for name in EXPERIMENTS}
    stale = {}
    for name in table_names():
        experiment, _ = run.source(name)
        entry = (f"tables/{name}", tables.path(name, preset), _digest(keys[experiment], parts))
        if not state.holds(*entry):
            stale[name] = entry
    todo = run.all_missing(preset, names) if stale else []
    if not stale:
        return False
    _say(notice or f"data: {', '.join(data.DATA[n] for n in names)}")
    run.compute_units(preset, todo, device, jobs)
    run.write(preset, names, list(stale), jobs)
    for entry in stale.values():
        state.note(*entry)
    facts = {
        "preset": preset,
        "commit": provenance.commit(),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
        "device": device,
        "notice": notice,
        "data": {name: data.checksum(name) for name in names},
        "experiments": {name: run.cost(name, preset, names) for name in EXPERIMENTS},
    }
    step, seconds = "tables" if todo else None, time.perf_counter() - started
    provenance.record(state.folder, facts, step=step, seconds=seconds, add=True)
    ready = Path(sys.prefix) / "ready"  # left by `make setup`
    if ready.exists():
        setup = float(ready.read_text().split()[0])
        provenance.record(state.folder, {}, step="setup", seconds=setup)
    return True


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
    names = code.mentioned(code.stripped("\n".join(texts)))
    made_from = _digest(source.read_text("utf8"), sheets, *_sources(names))
    return f"notebooks/{source.stem}", notebooks.executed(source, preset), made_from


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
        return self.known(name) == hashlib.sha256(file.read_bytes()).hexdigest()

    def note(self, name: str, file: Path, made_from: str) -> None:
        """Remember that a file has just been made."""
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        self.entries[name] = {"made_from": made_from, "sha256": content}
        text = json.dumps(self.entries, indent=1, sort_keys=True) + "\n"
        atomically(self.file, lambda part: part.write_text(text, "utf8"))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
