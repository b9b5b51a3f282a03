"""``make reproduce``: what is missing or out of date is made, and nothing else.

Everything made has an entry in results/<preset>/state.json: the digest of all that it was made
from, and its own. What is not there, has been changed, or would be made from something else now, is
made again.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from dndiv.paper import code, files, notebooks, provenance, tables
from dndiv.paper.code import Name
from dndiv.paper.design import COMMON_DATA
from dndiv.paper.experiments import EXPERIMENTS, PRESETS, queue, source, table_names, units
from dndiv.paper.files import atomically
from dndiv.paper.names import SERIES

# how tables are made is known by the tables
MADE = ("dndiv.paper.tables", "table")
EXECUTED = ("dndiv.paper.notebooks", "execute")  # a copy depends on how it is executed, too
# and what a file says by its text, however it is checked
CHECKED = {("dndiv.paper.schema", name) for name in ("claims", "assumptions")}
FILES = {"CLAIMS": files.CLAIMS, "ASSUMPTIONS": files.ASSUMPTIONS, "COSTS": files.COSTS}
TWO = 2  # notebooks at a time, one thread each

Entry = tuple[str, Path, str]  # a name, a file, and the digest of all that it is made from


def reproduce(preset: str, device: str, jobs: int | None) -> int:
    """Tables, executed notebooks and verdicts of a preset into results/<preset>. Returns 0 or 1."""
    with files.alone(files.results(preset)):
        return _reproduce(preset, device, jobs)


def _reproduce(preset: str, device: str, jobs: int | None) -> int:
    state = State(preset)
    made = make_tables(state, device, jobs)
    sheets = state.sheets()
    drawn = state.figures() == "current"  # which of the notebooks has drawn one is not known
    books = [
        s for s in notebooks.sources() if not (drawn and state.holds(*_notebook(s, preset, sheets)))
    ]
    verdicts = _verdicts(preset, sheets)
    judge = not state.holds(*verdicts)
    if judge:  # before the notebooks, which speak of them
        words = [sys.executable, "-m", "dndiv", "check", "--preset", preset]
        check = subprocess.run(words, stdout=subprocess.PIPE, text=True)
        if check.returncode:
            return 1
    state.clear()
    if not all(_execute(books, state, sheets, device)):
        return 1
    state.forget()
    if judge:
        state.note(verdicts)
        print(check.stdout, end="")
    pages = _make_report(state)
    if made or books or judge or pages:
        print(f"Done: tables, figures, executed notebooks and verdicts are in {state.folder}.")
        print(_went(state.folder))
    else:
        count = len(notebooks.sources())
        print(f"Nothing to do: {state.folder} is up to date ({count} notebooks).")
    print(f"What came out is in {state.folder / 'report.html'}; open it in a browser.")
    return 0


def status(preset: str) -> int:
    """Print what of a preset is current, stale, damaged or missing, as ``reproduce`` judges it.

    Nothing is done, but that data are fetched. Returns 1 where something is to be made.
    """
    from dndiv.paper import cache, data

    state = State(preset)
    names, notice = data.resolve(PRESETS[preset].data)
    found = {e[0]: state.judge(*e) for e in (table_entry(n, preset, names) for n in table_names())}
    tables_wait = any(s != "current" for s in found.values())
    sheets = state.sheets()
    for entry in (*(_notebook(s, preset, sheets) for s in notebooks.sources()),
                  _verdicts(preset, sheets)):  # fmt: skip
        judged = state.judge(*entry)
        waits = judged == "current" and tables_wait
        found[entry[0]] = "current, if the tables come out the same" if waits else judged
    drawn = any(name.startswith("figures/") for name in state.entries)
    found["figures"] = state.figures() if drawn or not notebooks.sources() else "missing"
    print(f"{state.folder}, on {', '.join(data.DATA[n] for n in names)}")
    for name, judged in found.items():
        print(f"  {name:32} {judged}")
    count = Counter(map(cache.state, queue(preset, names)))
    print(f"  {'units':32} " + ", ".join(f"{n} {judged}" for judged, n in sorted(count.items())))
    if notice:
        files.say(notice)
    return 0 if set(found.values()) == {"current"} else 1


def table_entry(name: str, preset: str, names: Sequence[str]) -> Entry:
    """The entry of a table, on the data sets ``names``."""
    experiment, _ = source(name)
    return _table_entry(name, preset, {experiment: _unit_keys(experiment, preset, names)})


def _table_entry(name: str, preset: str, made_from: Mapping[str, str]) -> Entry:
    made = _digest(made_from[source(name)[0]], _parts())
    return f"tables/{name}", tables.path(name, preset), made


def _parts() -> str:
    """The digest of how tables are parts of experiments."""
    return code.digest([("dndiv.paper.design", "PARTS")])


def _recorded(preset: str) -> dict:
    """What a preset's provenance holds."""
    return files.known(files.results(preset) / "provenance.json")


def _alike(facts: Mapping, made_from: Mapping[str, str]) -> dict[str, dict]:
    """What a provenance has recorded of experiments whose units have these keys, by name."""
    found = facts.get("experiments")
    recorded = found.items() if isinstance(found, dict) else ()
    return {
        name: entry
        for name, entry in recorded
        if isinstance(entry, dict) and entry.get("keys") == made_from.get(name)
    }


def adopt() -> int:
    """Take the reference's tables that would come out alike here into results/<its preset>, as if
    they had been computed there: of a change, `make reproduce` then computes what it is about.
    Returns 0."""
    from dndiv.paper import data, run

    there = files.results(files.REFERENCE)
    facts = files.stored(there / "provenance.json")
    if facts.get("tables") != tables.digest(files.REFERENCE):
        raise ValueError(f"the tables in {there} are not those of its run; check it out again")
    state = State(facts["preset"])
    names, notice = data.resolve(PRESETS[state.preset].data)
    if notice:
        raise ValueError(f"the reference is of other data than those here: {notice}")
    made_from = keys(state.preset, names)
    entries = {name: _table_entry(name, state.preset, made_from) for name in table_names()}
    known = _alike(_recorded(state.preset), made_from)
    alike = _alike(facts, made_from) if facts.get("parts") == _parts() else {}
    taken = {
        name: entry
        for name, entry in entries.items()
        if (of := source(name)[0]) in alike and not (of in known and state.holds(*entry))
    }
    for _, file, _ in taken.values():
        atomically(file, partial(shutil.copyfile, there / "tables" / file.name))
    state.note(*taken.values())
    made = {"commit": facts["commit"], **facts["machine"], **facts["arithmetic"]}
    adopted = {of: {"adopted": made} | alike[of] for of, _ in map(source, taken)}
    _record(state, run.choose_device("auto"), None, notice, names, known | adopted)
    current = sum(state.holds(*entry) for entry in entries.values())
    print(
        f"Taken from the reference into {state.folder}: {len(taken)} tables; {current} of "
        f"{len(entries)} are current. `make reproduce PRESET={state.preset}` makes the others."
    )
    return 0


def make_tables(state: "State", device: str, jobs: int | None) -> bool:
    """Compute what is missing, and write the tables that it is in; whether there was anything."""
    from dndiv.paper import data, run

    preset = state.preset
    device = run.choose_device(device)
    names, notice = data.resolve(PRESETS[preset].data)
    for folder in (state.folder, files.RESULTS / "cache"):
        files.sweep(folder)
    made_from = keys(preset, names)
    entries = {name: _table_entry(name, preset, made_from) for name in table_names()}
    stale = {name: entry for name, entry in entries.items() if not state.holds(*entry)}
    recorded = _alike(_recorded(preset), made_from)
    todo = {*EXPERIMENTS} - {*recorded} | {of for of, _ in map(source, stale)}
    if not todo:
        return False
    files.say(notice or f"data: {', '.join(data.DATA[n] for n in names)}")
    run.compute_units(preset, run.all_missing(preset, names, todo), device, jobs)
    wrote = time.perf_counter()
    run.write(preset, names, list(stale), jobs)
    state.note(*stale.values())
    experiments = {
        name: run.cost(name, preset, names) | {"keys": made_from[name]}
        if name in todo
        else recorded[name]
        for name in EXPERIMENTS
    }
    took = {"step": "tables", "seconds": time.perf_counter() - wrote}
    _record(state, device, jobs, notice, names, experiments, **took)
    ready = Path(sys.prefix) / "ready"  # left by `make setup`
    if ready.exists():
        setup = float(ready.read_text().split()[0])
        provenance.record(state.folder, {}, step="setup", seconds=setup)
    return True


def _record(state, device, jobs, notice, names, experiments, **step) -> None:
    """Put what was made where into the provenance, and what experiments took."""
    from dndiv.paper import data, run

    sets = dict.fromkeys((*names, SERIES, COMMON_DATA))
    facts = {
        "preset": state.preset,
        "commit": provenance.commit(),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
        "arithmetic": run.arithmetic(jobs),
        "device": device,
        "notice": notice,
        "data": {name: data.checksum(name) for name in sets},
        "experiments": experiments,
        "parts": _parts(),
        "tables": tables.digest(state.preset),
    }
    provenance.record(state.folder, facts, **step)


def keys(
    preset: str, names: Sequence[str], checksums: Mapping[str, str] | None = None
) -> dict[str, str]:
    """By experiment, the digest of the keys of all its units, on the data sets ``names``.

    checksums: theirs, in place of those of the archives here.
    """
    return {name: _unit_keys(name, preset, names, checksums) for name in EXPERIMENTS}


def _unit_keys(experiment, preset, names, checksums=None) -> str:
    from dndiv.paper import cache

    return _digest([cache.key(unit, checksums) for unit in units(experiment, preset, names)])


def _execute(books: Sequence[Path], state: "State", sheets: dict, device: str) -> list[bool]:
    """Execute notebooks, two at a time, each in a process of its own; which of them went well."""

    def one(source):
        files.say(f"{source.stem} ({state.preset})")
        made = _notebook(source, state.preset, sheets)  # as it is now, whoever edits it meanwhile
        words = ["notebook", str(source), "--preset", state.preset, "--device", device]
        environment = os.environ | {"OMP_NUM_THREADS": "1", tables.CURRENT: state.preset}
        run = subprocess.run([sys.executable, "-m", "dndiv", *words], env=environment)
        if run.returncode == 0:
            there = sorted((state.folder / "figures").glob("*.*"))
            figures = [(f"figures/{f.name}", f, "") for f in there if f.suffix != ".part"]
            state.note(made, *figures)
        return run.returncode == 0

    with ThreadPoolExecutor(TWO) as side_by_side:  # the last take longest
        return list(side_by_side.map(one, reversed(books)))


def _notebook(source: Path, preset: str, sheets: dict) -> Entry:
    cells = json.loads(source.read_text("utf8"))["cells"]
    texts = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    names = [*code.mentioned(code.stripped("\n".join(texts))), EXECUTED]
    # without outputs, which JupyterLab stores wherever it is looked at
    said = [[c["cell_type"], "".join(c["source"]), c["metadata"].get("tags")] for c in cells]
    made_from = _digest(said, sheets, *_sources(names))
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
    files.say(f"report ({state.preset})")
    state.note(*((file.name, file, made_from) for file in page.make(state.preset)))
    return True


def _went(folder: Path) -> str:
    """Where the time went, in a sentence, by what a run has recorded."""
    facts = files.stored(folder / "provenance.json")
    spent = sorted(((e["unit_seconds"], n) for n, e in facts["experiments"].items()), reverse=True)
    total = sum(seconds for seconds, _ in spent)
    parts = ", ".join(f"{name} {100 * s / max(total, 1e-9):.0f} %" for s, name in spent)
    books = [s["seconds"] for n, s in facts["steps"].items() if n not in ("setup", "tables")]
    return (
        f"Where the time went: {total / 60:.1f} min of single-threaded work on tables ({parts}); "
        f"{sum(books) / 60:.1f} min on {len(books)} notebooks, {TWO} at a time."
    )


def _verdicts(preset: str, sheets: dict) -> Entry:
    names = [("dndiv.paper.claims", "evaluate"), ("dndiv.paper.report", "keep")]
    return "claims.json", files.results(preset) / "claims.json", _digest(sheets, *_sources(names))


def _sources(names: Iterable[Name]) -> list[str]:
    """The digest of the code that some names reach, and the texts of the files that it reads."""
    found = code.reached(names, stop={MADE, *CHECKED})
    read = [path.read_text("utf8") for name, path in FILES.items() if _mentions(found, name)]
    return [*(f"{module}:{name} {text}" for (module, name), text in sorted(found.items())), *read]


def _mentions(found: dict[Name, str], constant: str) -> bool:
    return ("dndiv.paper.files", constant) in found


def _content(file: Path) -> str:
    return hashlib.sha256(files.content(file)).hexdigest()


def _digest(*parts: object) -> str:
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


class State:
    """What a preset's folder holds, and what it was made from; kept in its state.json."""

    def __init__(self, preset: str):
        self.preset, self.folder = preset, files.results(preset)
        self.file = self.folder / "state.json"
        self.lock = threading.Lock()
        self.entries = {k: v for k, v in files.known(self.file).items() if isinstance(v, dict)}

    def sheets(self) -> dict[str, str | None]:
        """The digests of all tables' contents when they were made."""
        return {name: self.known(f"tables/{name}") for name in table_names()}

    def known(self, name: str) -> str | None:
        """The digest of a thing's content when it was made."""
        return self.entries.get(name, {}).get("sha256")

    def holds(self, name: str, file: Path, made_from: str) -> bool:
        """Whether a file is there as it was made, and would be made from the same now."""
        return self.judge(name, file, made_from) == "current"

    def judge(self, name: str, file: Path, made_from: str) -> str:
        """Of a file: "current", "missing", "stale", made from something else; or "damaged"."""
        if not file.exists():
            return "missing"
        if self.entries.get(name, {}).get("made_from") != made_from:
            return "stale"
        try:
            whole = self.known(name) == _content(file)
        except OSError:
            whole = False
        return "current" if whole else "damaged"

    def figures(self) -> str:
        """Of all figures that notebooks have drawn: "current", or what one of them is."""
        names = [name for name in self.entries if name.startswith("figures/")]
        found = {self.judge(name, self.folder / name, "") for name in names}
        return min(found - {"current"}, default="current")

    def clear(self) -> None:
        """Damaged figures go: those that are there are not drawn again."""
        for file in files.within(self.folder / "figures").glob("*.*"):
            if self.judge(f"figures/{file.name}", file, "") == "damaged":
                file.unlink()

    def forget(self) -> None:
        """Figures that are gone though all notebooks are executed: none draws them any more."""
        for name in [name for name in self.entries if name.startswith("figures/")]:
            if not (self.folder / name).exists():
                del self.entries[name]

    def note(self, *made: Entry) -> None:
        """Remember that files have just been made."""
        with self.lock:  # notebooks are executed side by side
            for name, file, made_from in made:
                self.entries[name] = {"made_from": made_from, "sha256": _content(file)}
            text = json.dumps(self.entries, indent=1, sort_keys=True) + "\n"
            atomically(self.file, lambda part: part.write_text(text, "utf8"))
