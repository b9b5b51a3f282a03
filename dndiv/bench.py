"""What it costs to train many small networks: a population, other ways to do it, and the arithmetic alone.

Every method trains the same networks, 10 seeds × 10 arms, from the same weights on the same mini-batches of MNIST,
and may use all cores, but for the loops on one thread. They take turns, so that other work on the machine falls on all
of them, though it can slow those with threads or a single process more: measure on an idle machine. Median and range
of the repeats are reported, in microseconds per network and step. All but the first have the data in memory. The
floor is no method: the operations of a step's matrix products, at the rate of one large product.
"""

import itertools
import math
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec

import joblib
import matplotlib.pyplot as plt
import pandas as pd
import torch
from matplotlib.ticker import LogLocator

from dndiv import data, figures, population, provenance
from dndiv.experiment import EARLY_ARMS
from dndiv.methods import METHODS, Problem, loop, ours, square
from dndiv.population import Population
from dndiv.study import OPTIMIZERS, Observation
from dndiv.table import OPTIMIZERS as OPTIMIZER_TITLES
from dndiv.table import RESULTS, SETTINGS, atomically

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
REPEATS = 5  # after one that does not count
NETWORKS = {"784–16–10": ("shallow", "adam"), "784–4×3–10": ("tiny", "sgd"), "784–8×5–10": ("narrow", "sgd")}
GOALS = {"JAX": 1.3, "plain loop": 15, "DataLoader loop": 150}  # at least, as a multiple of ours
LOOPS = "plain loop, a process per core"
ONE_THREAD = ("DataLoader loop", "plain loop")  # their products are too small to share among threads
FLOOR_GOAL = 1.8  # ours at most, as a multiple of the floor, for 784–16–10
SWEEPS = {"networks": (1, 4, 16, 64, 256, 1024), "width": (4, 16, 64, 256), "depth": (1, 2, 4, 8), "batch": (8, 32, 128, 512)}


# --------------------------------------------------------------------------------------------------------- the clock
def _alone(method: Callable, problem: Problem, start: float) -> float:
    """In a process of its own: prepare, wait until ``start``, train; when it ended, NaN where it was not ready."""
    torch.set_num_threads(1)
    trainer = method(problem)
    next(trainer)
    if time.time() > start:
        return math.nan
    time.sleep(start - time.time())
    next(trainer)
    return time.time()


def together(method: Callable, problem: Problem, ready: float = 0.5) -> float:
    """Seconds that ``problem.steps`` take, the seeds dealt out to single-threaded processes, one per core."""
    parts = problem.blocks(-(-len(problem.seeds) // CORES))
    start = time.time() + ready
    ends = joblib.Parallel(len(parts))(joblib.delayed(_alone)(method, part, start) for part in parts)
    return together(method, problem, 2 * ready) if any(map(math.isnan, ends)) else max(ends) - start


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _next(trainer: Iterator, threads: int = 1) -> float:
    torch.set_num_threads(threads)
    return _seconds(lambda: next(trainer))


def measure(repeats: int = REPEATS) -> pd.DataFrame:
    """All methods in turn on the three networks; columns network, optimizer, method, repeat, microseconds."""
    rows, products = [], Problem(steps=10, seeds=tuple(range(CORES)))
    large = square(products)
    next(large)
    for name, (setting, optimizer) in NETWORKS.items():
        whole = Problem(hidden=SETTINGS[setting], optimizer=optimizer)
        # fewer steps, or networks, where one is dear: it is the same for each
        todo = {"DataLoader loop": replace(whole, seeds=(0,), arms=1, steps=25), "plain loop": replace(whole, seeds=(0,), steps=40),
                "JAX": replace(whole, steps=50), "torch.func.vmap": replace(whole, steps=8), "stacked, autograd": replace(whole, steps=30)}
        trainers = {m: METHODS[m](todo.get(m, whole)) for m in METHODS if m != "population" and (m != "JAX" or find_spec("jax"))}
        for trainer in trainers.values():
            next(trainer)
        side = replace(whole, seeds=tuple(range(CORES)), arms=5, steps=100)
        for repeat in range(-1, repeats):
            found = {}
            for m, trainer in trainers.items():
                p = todo.get(m, whole)
                found[m] = _next(trainer, 1 if m in ONE_THREAD else CORES) / (len(p.seeds) * p.arms * p.steps)
            found[LOOPS] = together(loop, side) / (CORES * side.arms * side.steps)
            long = replace(whole, steps=300)  # its processes begin cold each time, which the others have behind them
            found["population"] = together(ours, long) / (len(long.seeds) * long.arms * long.steps)
            rate = 2 * 1024**3 * products.steps * max(1 / _next(large, CORES), CORES / together(square, products))
            found["floor"] = whole.operations() / rate
            rows += [(name, optimizer, m, repeat, 1e6 * seconds) for m, seconds in found.items() if repeat >= 0]
    return pd.DataFrame(rows, columns=["network", "optimizer", "method", "repeat", "microseconds"])


def sweeps(repeats: int = 3) -> pd.DataFrame:
    """The population's cost against number of networks, width, depth and batch; columns sweep, value, repeat, microseconds."""
    rows = []
    for repeat, (sweep, values) in itertools.product(range(repeats), SWEEPS.items()):
        for v in values:
            p = Problem(steps=60)
            if sweep == "networks":
                p = replace(p, arms=min(v, 8), seeds=tuple(range(max(1, v // 8))), steps=max(10, min(200, 2000 // v)))
            elif sweep == "batch":
                p = replace(p, batch=v)
            else:
                p = replace(p, hidden=(v,) if sweep == "width" else (8,) * v)
            rows.append((sweep, v, repeat, 1e6 * together(ours, p) / (len(p.seeds) * p.arms * p.steps)))
    return pd.DataFrame(rows, columns=["sweep", "value", "repeat", "microseconds"])


def memory() -> int:
    """MiB that a process needs at most to train 1,024 networks of 784–16–10 with Adam as one population."""
    p = Problem(seeds=tuple(range(128)), arms=8)
    here = data.load(p.data)
    trained = Population(p.networks(), OPTIMIZERS["adam"])
    next(itertools.islice(population.train(trained, here.x_train, here.y_train, p.seeds, p.batch, 1, (10,)), 1, None))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def recording() -> tuple[float, float]:
    """What one pause of 100 networks of three hidden layers costs, as shares of the epoch that trains them (one
    thread): the diversity measures alone, and with the accuracy on all test images."""
    here, threads = data.load("MNIST"), torch.get_num_threads()
    torch.set_num_threads(1)
    unit = Observation("MNIST", "tiny", "sgd", EARLY_ARMS[:10], tuple(range(10)))
    trained = Population(Problem(hidden=SETTINGS["tiny"]).networks(), OPTIMIZERS["sgd"])
    steps = population.train(trained, here.x_train, here.y_train, unit.seeds, 64, 1, range(0, 900, 100))
    next(steps)
    shares = []
    for _ in range(REPEATS):
        epoch = _next(steps) / 100 * population.steps_per_epoch(len(here.x_train), 64)
        whole, accuracy = (_seconds(f) for f in (lambda: unit.measured(trained, here, 1),
                                                 lambda: trained.evaluate(here.x_test, here.y_test)))
        shares.append(((whole - accuracy) / epoch, whole / epoch))
    torch.set_num_threads(threads)
    return tuple(map(statistics.median, zip(*shares)))


# ---------------------------------------------------------------------------------------------------------- the report
def as_markdown(found: pd.DataFrame, facts: dict) -> str:
    """The table of medians and ranges, what goals say, and what ran where."""
    by = found.groupby(["network", "method"], sort=False).microseconds
    median, low, high = by.median(), by.min(), by.max()
    optimizers = found.drop_duplicates("network").set_index("network").optimizer
    lines = ["µs per network and step, median (range); in brackets the multiple of the population's median.", "",
             "| method | " + " | ".join(f"{n}, {OPTIMIZER_TITLES[o]}" for n, o in optimizers.items()) + " |",
             "| --- |" + " ---: |" * len(optimizers)]
    for m in (*METHODS, LOOPS, "floor"):
        cells = [f"{median[n, m]:,.1f} ({low[n, m]:,.1f}–{high[n, m]:,.1f}) [{_down(median[n, m] / median[n, 'population'])}]"
                 if (n, m) in median else "not installed" if m == "JAX" else "–" for n in optimizers.index]
        lines.append(f"| {m} | " + " | ".join(cells) + " |")
    lines += ["", "| goal | measured | met |", "| --- | --- | --- |"]
    for m, least in GOALS.items():
        ratios = [median[n, m] / median[n, "population"] for n in optimizers.index if (n, m) in median]
        met = "not measured" if not ratios else "yes" if min(ratios) >= least else "no"
        lines.append(f"| {least} times as fast as {m} | {', '.join(map(_down, ratios)) or 'not installed'} | {met} |")
    first = optimizers.index[0]
    floor = median[first, "population"] / median[first, "floor"]
    lines.append(f"| at most {FLOOR_GOAL} times the floor, {first} | {math.ceil(100 * floor) / 100} | {'yes' if floor <= FLOOR_GOAL else 'no'} |")
    mib, (alone, whole) = facts["memory_mib"], facts["recording"]
    lines.append(f"| 1,024 networks of 784–16–10 train with Adam in 2 GiB | {mib:,} MiB, one population | {'yes' if mib < 2048 else 'no'} |")
    lines.append(f"| diversity of 100 networks × 3 layers below 10 % of their epoch | {100 * alone:.2f} %; with the accuracy on "
                 f"10,000 images {100 * whole:.2f} % | {'yes' if alone < 0.1 else 'no'} |")
    machine, versions = provenance.machine(), provenance.versions()
    if find_spec("jax"):
        versions["jax"] = version("jax")
    return "\n".join([*lines, "", f"Measured on {machine['cores']} cores of {machine['processor']} with {machine.get('memory_gib', '?')} GiB, "
                      + ", ".join(f"{k} {versions[k]}" for k in ("python", "torch", "numpy", "jax") if k in versions) + "."]) + "\n"


def _down(ratio: float) -> str:
    """Two decimals, never rounded up."""
    return f"{math.floor(100 * ratio) / 100:.2f}"


def picture(found: pd.DataFrame, swept: pd.DataFrame) -> plt.Figure:
    """Every method's cost on every network, and the population's against size."""
    figures.style()
    figure = plt.figure(figsize=(12, 7.5))
    top, bottom = figure.subfigures(2, 1)
    names, methods = list(dict.fromkeys(found.network)), [m for m in (*METHODS, LOOPS, "floor") if m in set(found.method)]
    for ax, name in zip(top.subplots(1, len(names), sharey=True, sharex=True), names):
        part = found[found.network == name].groupby("method").microseconds
        median, low, high = (f.reindex(methods) for f in (part.median(), part.min(), part.max()))
        colors = ["C3" if m == "population" else "C7" if m == "floor" else "C0" for m in methods]
        ax.barh(methods, median, color=colors, xerr=[median - low, high - median])
        for y, (v, end) in enumerate(zip(median, high)):
            ax.text(end * 1.2, y, f"{v:,.0f}" if v >= 100 else f"{v:.1f}", va="center", fontsize="small")
        ax.set(xscale="log", xlabel="µs per network and step", xlim=(2, 200_000),
               title=f"{name}, {OPTIMIZER_TITLES[found[found.network == name].optimizer.iloc[0]]}")
        ax.invert_yaxis() if name == names[0] else None
    labels = {"networks": "networks, 784–16–10", "width": "units, one hidden layer", "depth": "hidden layers of 8", "batch": "mini-batch, 784–16–10"}
    for ax, (sweep, label) in zip(bottom.subplots(1, len(labels)), labels.items()):
        part = swept[swept.sweep == sweep].groupby("value").microseconds
        ax.fill_between(part.median().index, part.min(), part.max(), alpha=0.3, lw=0, color="C3")
        ax.plot(part.median(), "o-", color="C3")
        ax.set(xscale="log", yscale="log", xlabel=label)
        ax.set_xticks(part.median().index, [f"{v:,}" for v in part.median().index])
        ax.set_xticks([], minor=True)
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:,.0f}")
        ax.yaxis.set_minor_formatter("")
        ax.set_ylabel("µs per network and step" if sweep == "networks" else "")
    bottom.suptitle("the population, Adam: against number of networks, width, depth and mini-batch (range of repeats)", fontsize="medium")
    return figure


def main() -> str:
    """Measure everything into results/bench, and return the table."""
    data.fetch("MNIST")  # without MNIST there is nothing to measure: the error says what to do
    found = measure()
    fresh = subprocess.run([sys.executable, "-c", "from dndiv import bench; print(bench.memory())"], capture_output=True, text=True, check=True)
    facts = {"memory_mib": int(fresh.stdout), "recording": recording()}
    swept = sweeps()
    text, folder = as_markdown(found, facts), RESULTS / "bench"
    for frame, name in ((found, "bench.csv"), (swept, "sweeps.csv")):
        atomically(folder / name, lambda part: frame.to_csv(part, index=False))
    atomically(folder / "table.md", lambda part: part.write_text(text, "utf8"))
    figure = picture(found, swept)
    for suffix in ("png", "pdf"):
        atomically(folder / f"bench.{suffix}", lambda part: figure.savefig(part, format=suffix))
    plt.close(figure)
    return text
