"""What to train, and the tables that come of it.

A study is a frozen specification; it falls into units, blocks of seeds that are computed independently and single-
threaded, so that a table does not depend on how many processes made it. A unit's rows are kept on disk under the
hash of its specification, its data's checksum and the code that computes it (comments and docstrings excepted): a
killed run goes on where it stopped, and nothing is computed twice. What a table holds is said in ``table.py``.
"""

import ast
import hashlib
import inspect
import json
import os
import resource
import sys
import textwrap
import time
import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import joblib
import pandas as pd
import torch
from tqdm import tqdm

from dndiv import data, ladder, provenance
from dndiv import table as tables
from dndiv.reinforced import Escape, Parity, Reinforcing, Tuning
from dndiv.study import Directions, Observation, Portraits, Training, choose
from dndiv.table import ARCHIVED, COLUMNS, OPTIMIZERS, REFERENCE, RESULTS, SETTINGS, atomically

SEEDS_PER_UNIT = 5  # weights, gradients and moments of 5 seeds × 13 arms fit the cache
CLAIM_ARMS = ("default", "zero_bias", "he_scale", "equal_norms", "decorrelated", "default_decorrelated")
EARLY_ARMS = (*ladder.LADDER, "simplex", "simplex_standardized", "simplex_alive",
              "default_decorrelated", "default_simplex", "default_gram")
BASELINE_ARMS = tuple(f"{name}{twin}" for name in ladder.OTHERS for twin in ("", "_decorrelated"))
DIRECTION_ARMS = ("default", "default_decorrelated", "default_simplex", "default_gram", "he", "he_decorrelated")

# of each technique, on held-out images: a decade or so between candidates
GRID = {"negative_correlation": (1e-5, 1e-4, 1e-3, 1e-2), "weight_cosine": (0.01, 0.1, 1, 10),
        "activation_decorrelation": (0.001, 0.01, 0.1, 1), "log_volume": (0.001, 0.01, 0.1, 1),
        "orthogonal_step": (0.01, 0.1, 0.3, 1), "reinitialize": (0.001, 0.01, 0.05, 0.2)}
TUNING_ARMS = ("default", *(f"default+{name}:{schedule}@{c:g}" for name, grid in GRID.items()
                            for schedule in ("constant", "dynamic") for c in grid))
TUNING_SEED = 1000  # tuned on seeds from here on, which decide nothing else

# the techniques as the paper's title has them, dynamic; then other schedules and other starts, those of a technique side by side,
# as a population computes them together
REINFORCED_ARMS = ("default", *(f"default+{name}:dynamic" for name in GRID))
VARIANT_ARMS = ("decorrelated", "simplex", *(f"{start}+{name}:{schedule}" for name in GRID for start, schedule in (
    ("default", "constant"), ("default", "annealed"), ("decorrelated", "dynamic"), ("simplex", "dynamic"))))
ESCAPE_ARMS = (*REINFORCED_ARMS, "decorrelated", "simplex", "alive")
ESCAPE_EPOCHS = 3
PARITIES = (("XOR", "1×2"), ("XOR", "1×3"), ("Parity3", "1×4"))

OBSERVED_ARMS = ("default", "decorrelated")
WIDTHS, DEPTHS = (2, 4, 8, 16, 32, 64, 128, 256), (1, 3)

# read by torch in every worker: large pages for large tensors, mini-batches are then gathered a fifth faster
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

Unit = Training | Directions | Parity  # and what derives from them


# ------------------------------------------------------------------------------------------ presets and experiments
@dataclass(frozen=True)
class Preset:
    data: tuple[str, ...]
    seeds: int            # of the initializations that decide claims
    extension_seeds: int  # of those that go beyond the paper
    baseline_seeds: int   # of the other initializations
    width_seeds: int      # of networks of every width; two where they are wide and dear
    direction_seeds: int  # of drawn, untrained weights
    tuning_seeds: int     # of the coefficients' candidates
    reinforced_seeds: int # of the techniques that decide claims
    variant_seeds: int    # of their other schedules and starts, on one data set in one setting
    escape_seeds: int     # of networks whose plateaus are timed
    widths: tuple[int, ...] = WIDTHS
    technique_settings: tuple[str, ...] = tuple(SETTINGS)  # that techniques are tried in
    parities: tuple[tuple[str, str], ...] = PARITIES       # problems with known bad minima


PRESETS = {
    "smoke": Preset(("Digits",), seeds=5, extension_seeds=5, baseline_seeds=2, width_seeds=2, direction_seeds=20,
                    tuning_seeds=1, reinforced_seeds=4, variant_seeds=1, escape_seeds=10, widths=(2, 8, 32),
                    technique_settings=("tiny",), parities=PARITIES[:1]),
    "quick": Preset(ARCHIVED, seeds=4, extension_seeds=1, baseline_seeds=1, width_seeds=1, direction_seeds=50,
                    tuning_seeds=1, reinforced_seeds=2, variant_seeds=1, escape_seeds=10,
                    technique_settings=("tiny",), widths=(2, 8, 32)),
    "paper": Preset(ARCHIVED, seeds=30, extension_seeds=15, baseline_seeds=5, width_seeds=5, direction_seeds=200,
                    tuning_seeds=2, reinforced_seeds=10, variant_seeds=3, escape_seeds=100),
}


def _trained(arms: tuple[str, ...], blocks: Sequence[tuple[int, ...]], names: Sequence[str], kind: type = Training, **options) -> list[Unit]:
    return [kind(name, setting, optimizer, arms, block, **options) for name in names for setting in SETTINGS
            for optimizer in OPTIMIZERS for block in blocks]


def _blocks(seeds: int, size: int = SEEDS_PER_UNIT, first: int = 0) -> list[tuple[int, ...]]:
    return [tuple(range(first + start, first + min(start + size, seeds))) for start in range(0, seeds, size)]


EXPERIMENTS = {
    "directions": lambda preset, names: [Directions(setting, DIRECTION_ARMS, block) for setting in SETTINGS
                                         for block in _blocks(preset.direction_seeds, 25)],
    "early": lambda preset, names: [
        *_trained(EARLY_ARMS, _blocks(preset.extension_seeds), names, Observation, observed=OBSERVED_ARMS),
        *_trained(CLAIM_ARMS, _blocks(preset.seeds - preset.extension_seeds, first=preset.extension_seeds), names, Observation,
                  observed=OBSERVED_ARMS)],
    "baselines": lambda preset, names: _trained(BASELINE_ARMS, _blocks(preset.baseline_seeds), names),
    "redundancy": lambda preset, names: [
        Observation(name, f"{depth}×{width}", "adam", ("default",), block, log_spaced=False, lesions=False)
        for width in reversed(preset.widths) for name in names for depth in DEPTHS
        for block in _blocks(preset.width_seeds if width <= 64 else min(2, preset.width_seeds))],
    "portraits": lambda preset, names: [Portraits(name, "shallow", "adam", ("default",), tuple(range(min(20, preset.seeds))))
                                        for name in names],
    "tuning": lambda preset, names: [
        *(Tuning(name, setting, optimizer, TUNING_ARMS, block) for name in names for setting in preset.technique_settings
          for optimizer in OPTIMIZERS for block in _blocks(preset.tuning_seeds, first=TUNING_SEED)),
        *(Parity(*problem, TUNING_ARMS, block) for problem in preset.parities
          for block in _blocks(10 * preset.tuning_seeds, 10, first=TUNING_SEED))],
    "reinforcement": lambda preset, names: [
        *(Reinforcing(name, setting, optimizer, REINFORCED_ARMS, block) for name in names for setting in preset.technique_settings
          for optimizer in OPTIMIZERS for block in _blocks(preset.reinforced_seeds, 10)),
        *(Reinforcing(names[0], preset.technique_settings[-1], optimizer, VARIANT_ARMS, block)  # the deepest
          for optimizer in OPTIMIZERS for block in _blocks(preset.variant_seeds, 10))],
    "escape": lambda preset, names: [
        *(Escape(names[0], "narrow", "sgd", ESCAPE_ARMS, block, epochs=ESCAPE_EPOCHS) for block in _blocks(preset.escape_seeds, 20)),
        *(Parity(*problem, ESCAPE_ARMS, block) for problem in preset.parities for block in _blocks(preset.escape_seeds, 50))],
}
# A table has all the rows of its experiment, but for these: their experiment, and which rows of it.
PARTS = {
    "early": ("early", lambda rows: rows[(rows.layer == "") & (rows.epoch % 1 == 0)]),
    "diversity": ("early", lambda rows: rows[rows.arm.isin(OBSERVED_ARMS)]),
}


def table_names() -> tuple[str, ...]:
    """The tables that there are."""
    return tuple(dict.fromkeys((*EXPERIMENTS, *(name for name, (source, _) in PARTS.items() if source in EXPERIMENTS))))


def units(experiment: str, preset: str, names: Sequence[str]) -> list[Unit]:
    """The units of an experiment, on the data sets ``names``."""
    choose("experiment", experiment, EXPERIMENTS)
    choose("preset", preset, PRESETS)
    return EXPERIMENTS[experiment](PRESETS[preset], names)


# -------------------------------------------------------------------------------------------------------- the tables
def table(name: str, preset: str, device: str = "auto", jobs: int | None = None) -> pd.DataFrame:
    """A table, computed where its units are not on disk yet.

    Args:
        name: one in ``table_names()``. preset: a name in ``PRESETS``, or "reference".
        device: "auto", "cpu" or "cuda". jobs: processes; by default ``DNDIV_JOBS``, or one per core.
    """
    choose("table", name, table_names())
    choose("preset", preset, (*PRESETS, REFERENCE))
    if preset == REFERENCE:
        return tables.read(name, preset)
    experiment, part = PARTS.get(name, (name, lambda rows: rows))
    device, jobs = choose_device(device), _jobs(jobs)
    sets, notice = data.resolve(PRESETS[preset].data)
    if notice:
        warnings.warn(notice, stacklevel=2)
    if todo := missing(experiment, preset, sets):
        _compute(experiment, todo, device, jobs)
    return part(pd.concat([tables.load(_path(unit)) for unit in units(experiment, preset, sets)])).reset_index(drop=True)


def compute(preset: str, names: Sequence[str], device: str = "auto", jobs: int | None = None) -> None:
    """Compute what is missing of all experiments, as one queue, so that no process waits where one of them ends.

    The first experiments' units are the shortest: they come last.
    """
    if todo := [unit for experiment in reversed(EXPERIMENTS) for unit in missing(experiment, preset, names)]:
        _compute(preset, list(dict.fromkeys(todo)), choose_device(device), _jobs(jobs))


def write(preset: str, device: str = "auto", jobs: int | None = None) -> None:
    """Write all tables into results/<preset>/tables, side by side."""
    joblib.Parallel(_jobs(jobs))(joblib.delayed(_write)(name, preset, device) for name in reversed(table_names()))


def _write(name: str, preset: str, device: str) -> None:
    tables.write(table(name, preset, device, jobs=1), name, preset)


def missing(experiment: str, preset: str, names: Sequence[str]) -> list[Unit]:
    """The units of an experiment that are not on disk."""
    return [unit for unit in units(experiment, preset, names) if not _path(unit).exists()]


def cost(experiment: str, preset: str, names: Sequence[str]) -> dict:
    """What the units of an experiment on disk took: their number, seconds of all together, memory of the largest."""
    facts = [json.loads(_path(unit).with_suffix(".json").read_text()) for unit in units(experiment, preset, names)]
    return {"units": len(facts), "unit_seconds": round(sum(f["seconds"] for f in facts), 1),
            "peak_memory_mib": max(f["peak_memory_mib"] for f in facts)}


def _path(unit: Unit) -> Path:
    key = {"kind": type(unit).__name__, "unit": asdict(unit), "parameters": unit.parameters(), "code": _code(type(unit))}
    digest = hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()
    return RESULTS / "cache" / f"{digest[:32]}.csv"


@cache
def _code(kind: type) -> str:
    """The hash of the code that computes a unit, comments and docstrings excepted."""
    sources = [Path(part.__file__).read_text("utf8") if inspect.ismodule(part) else inspect.getsource(part) for part in kind.code]
    sources += [inspect.getsource(c) for c in kind.__mro__ if c is not object]
    return hashlib.sha256("\n".join(map(stripped, sources)).encode()).hexdigest()


def stripped(source: str) -> str:
    """Python source without comments, docstrings and layout."""
    tree = ast.parse(textwrap.dedent(source))  # a method is indented
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) \
                and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _compute(label, todo, device, jobs):
    started = time.perf_counter()
    with _workers(device, min(jobs, len(todo))) as (parallel, where):
        print(f"{label}: computing {len(todo)} units on {where}", file=sys.stderr, flush=True)
        results = parallel(joblib.delayed(_run)(unit, device) for unit in todo)
        for unit, frame, facts in tqdm(results, total=len(todo), desc=label, unit="unit", disable=None):
            path = _path(unit)  # its rows last: a unit with rows is whole
            atomically(path.with_suffix(".json"), lambda part: part.write_text(json.dumps(facts, indent=1)))
            atomically(path, lambda part: frame.to_csv(part, index=False))
    print(f"{label}: done in {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)


@contextmanager
def _workers(device: str, jobs: int):
    """(joblib's Parallel, where it runs): processes of this machine, or the Dask cluster of ``DNDIV_CLUSTER``."""
    # joblib replaces a worker whose memory has grown, as it does when it loads the next data set
    warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
    address = os.environ.get("DNDIV_CLUSTER", "")
    if not address:
        jobs = 1 if device == "cuda" else jobs  # one process keeps a GPU busy
        yield joblib.Parallel(n_jobs=jobs, return_as="generator_unordered"), f"{device}, {jobs} at a time"
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise RuntimeError(f"DNDIV_CLUSTER={address} needs Dask: pip install distributed") from error
    try:
        client = Client(address, timeout=10)
    except (OSError, ValueError) as error:
        raise RuntimeError(f"there is no Dask scheduler at DNDIV_CLUSTER={address} ({error}); start one with "
                           "`dask scheduler`, and workers with `dask worker` where this package is installed") from error
    with client, joblib.parallel_config(backend="dask"):  # which takes the current client, and does again what a lost worker had
        yield joblib.Parallel(return_as="generator_unordered"), f"{device}, {len(client.scheduler_info()['workers'])} workers of {address}"


def _run(unit: Unit, device: str) -> tuple[Unit, pd.DataFrame, dict]:
    """One unit, on one thread whatever the machine has: sums are then always made in the same order."""
    threads, started = torch.get_num_threads(), time.perf_counter()
    torch.set_num_threads(1)
    try:
        frame = pd.DataFrame(unit.rows(device), columns=COLUMNS)
    finally:
        torch.set_num_threads(threads)
    facts = {"unit": repr(unit), "seconds": time.perf_counter() - started, "device": device,
             "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
             "versions": provenance.versions()}
    return unit, frame, facts


def choose_device(name: str) -> str:
    """"cpu" or "cuda" for "auto", "cpu" or "cuda"; ValueError where it cannot be had."""
    choose("device", name, ("auto", "cpu", "cuda"))
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device 'cuda' was asked for, but PyTorch sees no GPU here; choose auto or cpu")
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def _jobs(asked: int | None) -> int:
    text = str(asked) if asked is not None else os.environ.get("DNDIV_JOBS", "")
    if not text:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"jobs (JOBS, DNDIV_JOBS) must be a whole number from 1, not {text!r}")
    return int(text)
