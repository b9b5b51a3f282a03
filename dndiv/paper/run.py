"""Computing units side by side, and the tables that they make."""

import itertools
import os
import re
import sys
import time
import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import joblib
import pandas as pd
import torch
from tqdm import tqdm

from dndiv.checks import choose
from dndiv.paper import (
    cache,
    cluster,
    compute,
    data,
    experiments,
    files,
    products,
    provenance,
    tables,
)
from dndiv.paper.design import Unit
from dndiv.paper.names import COLUMNS

# read by torch in every worker: with large pages for large tensors, mini-batches are gathered a
# fifth faster
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

SPEED_HOLDS = 20  # seconds for which a machine's speed is taken to be what was measured


def table(name: str, preset: str, device: str = "auto", jobs: int | None = None) -> pd.DataFrame:
    """A table of a preset: read where a run has left it and it is current, otherwise computed where
    its units are not on disk yet; see ``tables.table``."""
    from dndiv.paper import reproduce  # which computes by what is here

    device, jobs = choose_device(device), _jobs(jobs)
    sets, notice = data.resolve(experiments.PRESETS[preset].data)
    if notice:
        files.say(notice)  # no warning: whether a program stops at those is another's choice
    if reproduce.State(preset).holds(*reproduce.table_entry(name, preset, sets)):
        return tables.read(name, preset)
    experiment, _ = experiments.source(name)
    if todo := missing(experiment, preset, sets):
        _compute(experiment, todo, device, jobs)
    return assembled(name, preset, sets)


def assembled(name: str, preset: str, names: Sequence[str]) -> pd.DataFrame:
    """A table, from its units on disk."""
    return _joined(name, _kept(name, preset, names))


def _kept(name: str, preset: str, names: Sequence[str]) -> list[Path]:
    """Where the units of a table are."""
    return [
        cache.path(unit) for unit in experiments.units(experiments.source(name)[0], preset, names)
    ]


def _joined(name: str, kept: Sequence[Path]) -> pd.DataFrame:
    part = experiments.source(name)[1]
    return part(pd.concat(map(tables.load, kept))).reset_index(drop=True)


def missing(experiment: str, preset: str, names: Sequence[str]) -> list[Unit]:
    """The units of an experiment that are not on disk."""
    return [u for u in experiments.units(experiment, preset, names) if not cache.holds(u)]


def all_missing(preset: str, names: Sequence[str], which: Collection[str]) -> list[Unit]:
    """Those of several experiments, as one queue, so that no process waits where one ends."""
    return [unit for unit in experiments.queue(preset, names, which) if not cache.holds(unit)]


def compute_units(preset: str, todo: Sequence[Unit], device: str, jobs: int | None) -> None:
    """Compute units into the cache."""
    if todo:
        _compute(preset, todo, choose_device(device), _jobs(jobs))


def write(preset: str, names: Sequence[str], which: Sequence[str], jobs: int | None = None) -> None:
    """Write tables into results/<preset>/tables, side by side."""

    def one(name, kept):
        tables.write(_joined(name, kept), name, preset)

    # no worker has to make data sets, as the keys of units need them
    kept = {name: _kept(name, preset, names) for name in which}
    joblib.Parallel(_jobs(jobs))(itertools.starmap(joblib.delayed(one), kept.items()))


def cost(experiment: str, preset: str, names: Sequence[str]) -> dict:
    """What the units of an experiment on disk took, as ``_taken``; when, as intervals in which any
    of the timed_units, which know that, was computed; and memory of the largest. Units that are of
    an experiment before it, too, count there."""
    before = itertools.takewhile(lambda other: other != experiment, experiments.EXPERIMENTS)
    others = {unit for name in before for unit in experiments.units(name, preset, names)}
    units = [u for u in experiments.units(experiment, preset, names) if u not in others]
    facts = [cache.facts(unit) for unit in units]
    spans = [(f["started"], f["ended"]) for f in facts if "started" in f]
    return _taken(units, facts) | {
        "timed_units": len(spans),
        "spans": provenance.union(spans),
        "peak_memory_mib": max((f["peak_memory_mib"] for f in facts), default=0),
    }


def _taken(units: Sequence[Unit], facts: Sequence[dict]) -> dict:
    """The number of units, and their seconds; and, of those that know the machine's speed when they
    were computed, the seconds that their matrix products alone would take at it, and how many."""
    known = [(unit, f) for unit, f in zip(units, facts) if "gflops" in f]
    return {
        "units": len(facts),
        "unit_seconds": round(sum(f["seconds"] for f in facts), 1),
        "rated_units": len(known),
        "rated_seconds": round(sum(f["seconds"] for _, f in known), 1),
        "product_seconds": round(sum(2e-9 * products.macs(u) / f["gflops"] for u, f in known), 1),
    }


def arithmetic(jobs: int | None) -> dict[str, str | int]:
    """What the last bits of sums depend on, and the number of processes, which they do not."""
    blas = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
    return {
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "blas": blas[1] if blas else "unknown",
        "threads_per_unit": 1,
        "processes": _jobs(jobs),
    }


def _compute(label: str, todo: Sequence[Unit], device: str, jobs: int) -> None:
    started, address = time.perf_counter(), os.environ.get("DNDIV_CLUSTER", "")
    where = cluster.results(address, todo, device) if address else _here(todo, device, jobs)
    place = next(where)  # first of all it is said where they are computed
    files.say(f"{label}: computing {len(todo)} units on {place}")
    for unit, frame, facts in _progress(where, len(todo), label):
        cache.keep(unit, frame, facts)
    files.say(f"{label}: done in {time.perf_counter() - started:.0f} s")


def _progress(results: Iterable, total: int, label: str) -> Iterator:
    """Results as they come: with a bar on a terminal, in a log with a line per tenth or minute."""
    if sys.stderr.isatty():
        yield from tqdm(results, total=total, desc=label, unit="unit")
        return
    started = said = time.perf_counter()
    tenths = 0
    for done, result in enumerate(results, 1):
        yield result
        now = time.perf_counter()
        if done * 10 // total > tenths or now - said >= 60:
            said, tenths = now, done * 10 // total
            left = (now - started) * (total - done) / done
            spent, to_go = map(_span, (now - started, left))
            files.say(f"{label}: {done} of {total} units, {spent}, {to_go} to go")


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _here(todo: Sequence[Unit], device: str, jobs: int):
    """Where units are computed on this machine, then their results in any order."""
    # joblib replaces a worker whose memory has grown, as it does when it loads the next data set
    warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
    # nor that units are lost which were under way when the disk was full
    warnings.filterwarnings("ignore", message=".* tasks which were still being processed")
    jobs = _processes(todo, device, jobs)
    yield f"{device}, {jobs} at a time"
    parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")
    yield from parallel(joblib.delayed(_run)(unit, device) for unit in todo)


def _processes(todo: Sequence[Unit], device: str, jobs: int) -> int:
    return 1 if device == "cuda" else min(jobs, len(todo))  # one process keeps a GPU busy


def _run(unit: Unit, device: str) -> tuple[Unit, pd.DataFrame, dict]:
    """One unit, on one thread whatever the machine has: sums are then always in one order.

    Its seconds are those of the processor, which others on the machine do not lengthen; with a GPU,
    those of the clock. The speed of the machine, which they do change, is measured before, at most
    ``SPEED_HOLDS`` earlier.
    """
    speed = _speed(device, int(time.monotonic() // SPEED_HOLDS))
    threads, started = torch.get_num_threads(), time.time()
    clock = time.perf_counter if device == "cuda" else time.process_time
    worked = clock()
    torch.set_num_threads(1)
    try:
        frame = pd.DataFrame(compute.rows(unit, device), columns=COLUMNS)
    finally:
        torch.set_num_threads(threads)
    facts = {
        "unit": repr(unit),
        "seconds": clock() - worked,
        "gflops": speed,
        "started": started,
        "ended": time.time(),
        "device": device,
        "peak_memory_mib": provenance.peak_memory(),
        "versions": provenance.versions(),
    }
    return unit, frame, facts


@lru_cache(maxsize=1)
def _speed(device: str, now: int) -> float:
    """The speed of the machine, once for all units that this process computes ``now``."""
    return products.rate(device)


def choose_device(name: str) -> str:
    """ "cpu" or "cuda" for "auto", "cpu" or "cuda"; ValueError where it cannot be had."""
    choose("device", name, ("auto", "cpu", "cuda"))
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "device 'cuda' was asked for, but PyTorch sees no GPU here; choose auto or cpu"
        )
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def _jobs(asked: int | None) -> int:
    text = str(asked) if asked is not None else os.environ.get("DNDIV_JOBS", "")
    if not text:
        affinity = getattr(os, "sched_getaffinity", None)
        return len(affinity(0)) if affinity else os.cpu_count() or 1
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"jobs (JOBS, DNDIV_JOBS) must be a whole number from 1, not {text!r}")
    return int(text)
