"""Computing units side by side, and the tables that they make."""

import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager

import joblib
import pandas as pd
import torch
from tqdm import tqdm

from dndiv.checks import choose
from dndiv.paper import cache, compute, data, design, provenance, tables
from dndiv.paper.design import Unit
from dndiv.paper.names import COLUMNS

# read by torch in every worker: with large pages for large tensors, mini-batches are gathered a
# fifth faster
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def table(name: str, preset: str, device: str = "auto", jobs: int | None = None) -> pd.DataFrame:
    """A table of a preset, computed where its units are not on disk yet; see ``tables.table``."""
    device, jobs = choose_device(device), _jobs(jobs)
    sets, notice = data.resolve(design.PRESETS[preset].data)
    if notice:
        warnings.warn(notice, stacklevel=2)
    experiment, _ = source(name)
    if todo := missing(experiment, preset, sets):
        _compute(experiment, todo, device, jobs)
    return assembled(name, preset, sets)


def source(name: str) -> tuple[str, Callable[[pd.DataFrame], pd.DataFrame]]:
    """The experiment that a table is of, and which of its rows."""
    return design.PARTS.get(name, (name, lambda rows: rows))


def assembled(name: str, preset: str, names: Sequence[str]) -> pd.DataFrame:
    """A table, from its units on disk."""
    experiment, part = source(name)
    units = design.units(experiment, preset, names)
    return part(pd.concat([cache.load(unit) for unit in units])).reset_index(drop=True)


def missing(experiment: str, preset: str, names: Sequence[str]) -> list[Unit]:
    """The units of an experiment that are not on disk."""
    return [u for u in design.units(experiment, preset, names) if not cache.holds(u)]


def all_missing(preset: str, names: Sequence[str]) -> list[Unit]:
    """Those of all experiments, as one queue, so that no process waits where one of them ends.

    The first experiments' units are the shortest: they come last.
    """
    units = (u for name in reversed(design.EXPERIMENTS) for u in missing(name, preset, names))
    return list(dict.fromkeys(units))


def compute_units(preset: str, todo: Sequence[Unit], device: str, jobs: int | None) -> None:
    """Compute units into the cache."""
    if todo:
        _compute(preset, todo, choose_device(device), _jobs(jobs))


def write(preset: str, names: Sequence[str], which: Sequence[str], jobs: int | None = None) -> None:
    """Write tables into results/<preset>/tables, side by side."""

    def one(name):
        tables.write(assembled(name, preset, names), name, preset)

    joblib.Parallel(_jobs(jobs))(joblib.delayed(one)(name) for name in which)


def cost(experiment: str, preset: str, names: Sequence[str]) -> dict:
    """What the units of an experiment on disk took: their number, seconds of all together, memory
    of the largest."""
    facts = [cache.facts(unit) for unit in design.units(experiment, preset, names)]
    return {
        "units": len(facts),
        "unit_seconds": round(sum(f["seconds"] for f in facts), 1),
        "peak_memory_mib": max(f["peak_memory_mib"] for f in facts),
    }


def _compute(label: str, todo: Sequence[Unit], device: str, jobs: int) -> None:
    started = time.perf_counter()
    with _workers(device, min(jobs, len(todo))) as (parallel, where):
        _say(f"{label}: computing {len(todo)} units on {where}")
        results = parallel(joblib.delayed(_run)(unit, device) for unit in todo)
        bar = tqdm(results, total=len(todo), desc=label, unit="unit", disable=None)
        for unit, frame, facts in bar:
            cache.keep(unit, frame, facts)
    _say(f"{label}: done in {time.perf_counter() - started:.0f} s")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def _workers(device: str, jobs: int):
    """(joblib's Parallel, where it runs): processes here, or the Dask cluster of DNDIV_CLUSTER."""
    # joblib replaces a worker whose memory has grown, as it does when it loads the next data set
    warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
    address = os.environ.get("DNDIV_CLUSTER", "")
    if not address:
        jobs = 1 if device == "cuda" else jobs  # one process keeps a GPU busy
        parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")
        yield parallel, f"{device}, {jobs} at a time"
        return
    with _client(address) as client, joblib.parallel_config(backend="dask"):
        # it takes the current client, and does again what a lost worker had
        workers = len(client.scheduler_info()["workers"])
        parallel = joblib.Parallel(return_as="generator_unordered")
        yield parallel, f"{device}, {workers} workers of {address}"


def _client(address: str):
    try:
        from distributed import Client
    except ImportError as error:
        raise RuntimeError(
            f"DNDIV_CLUSTER={address} needs Dask: pip install distributed"
        ) from error
    try:
        return Client(address, timeout=10)
    except (OSError, ValueError) as error:
        raise RuntimeError(
            f"there is no Dask scheduler at DNDIV_CLUSTER={address} ({error}); start one with "
            "`dask scheduler`, and workers with `dask worker` where this package is installed"
        ) from error


def _run(unit: Unit, device: str) -> tuple[Unit, pd.DataFrame, dict]:
    """One unit, on one thread whatever the machine has: sums are then always in one order."""
    threads, started = torch.get_num_threads(), time.perf_counter()
    torch.set_num_threads(1)
    try:
        frame = pd.DataFrame(compute.rows(unit, device), columns=COLUMNS)
    finally:
        torch.set_num_threads(threads)
    facts = {
        "unit": repr(unit),
        "seconds": time.perf_counter() - started,
        "device": device,
        "peak_memory_mib": provenance.peak_memory(),
        "versions": provenance.versions(),
    }
    return unit, frame, facts


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
