"""The clock: the methods in turn, a population by size, its memory, and what recording and
techniques cost."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from timeit import timeit

import joblib
import pandas as pd
import torch
from torch.nn import functional as F

from dndiv.bench.methods import CORES, METHODS, Problem, populations
from dndiv.paper import compute, data, design, provenance
from dndiv.paper.products import SIZE
from dndiv.population import steps_per_epoch
from dndiv.reinforcement import Reinforcement

NETWORKS = {
    "784–16–10": ("shallow", "adam"),
    "784–4×3–10": ("tiny", "sgd"),
    "784–8×5–10": ("narrow", "sgd"),
}
GRIDS = ((1, 1), (1, 4), (2, 8), (8, 8), (32, 8), (128, 8))  # seeds × arms
SWEEPS = [  # a population that differs in one thing, and its value
    *(("networks", s * a, Problem(seeds=tuple(range(s)), arms=a)) for s, a in GRIDS),
    *(("width", units, Problem(hidden=(units,))) for units in (4, 16, 64, 256)),
    *(("depth", layers, Problem(hidden=(8,) * layers)) for layers in (1, 2, 4, 8)),
    *(("batch", size, Problem(batch=size, steps=50)) for size in (8, 32, 128, 512)),
]


def _alone(method: Callable, problem: Problem, threads: int, start: float) -> tuple[float, float]:
    """Prepare, train uncounted, wait until ``start``, train: when it was ready, when it ended."""
    torch.set_num_threads(threads)
    trainer = method(problem)
    next(trainer)
    next(trainer)
    ready = time.time()
    time.sleep(max(0, start - ready))
    next(trainer)
    return ready, time.time()


def cost(method: Callable, problem: Problem, processes=CORES, threads=1, wait=1.0) -> float:
    """Microseconds per network and step, the seeds dealt out to processes that start together.

    They have ``wait`` seconds to get ready; where one was late, all begin anew, with twice as many.
    """
    parts = problem.blocks(-(-len(problem.seeds) // processes))
    start = time.time() + wait
    work = [joblib.delayed(_alone)(method, part, threads, start) for part in parts]
    ready, ends = zip(*joblib.Parallel(len(parts))(work))
    if len(parts) > 1 and max(ready) > start:
        return cost(method, problem, processes, threads, 2 * wait)
    seconds = max(ends) - max(start, *ready)
    return 1e6 * seconds / (len(problem.seeds) * problem.arms * problem.steps)


def _products(problem: Problem) -> Iterator[None]:
    """No method: one large product, again and again."""
    a, b, c = torch.randn(3, SIZE, SIZE)
    while True:
        yield
        for _ in range(problem.steps):
            torch.mm(a, b, out=c)


def measure(repeats: int = 5) -> pd.DataFrame:
    """All methods in turn: columns network, optimizer, method, repeat, microseconds."""
    rows, large = [], Problem(seeds=tuple(range(CORES)), arms=1, steps=10)
    for name, (setting, optimizer) in NETWORKS.items():
        whole = Problem(hidden=design.SETTINGS[setting], optimizer=optimizer)
        for repeat in range(repeats):
            for m, (method, processes, threads, part) in METHODS.items():
                found = cost(method, replace(whole, **part), processes, threads)
                rows.append((name, optimizer, m, repeat, found))
            floor = cost(_products, large) * whole.operations() / (2 * SIZE**3)
            rows.append((name, optimizer, "floor", repeat, floor))
    return pd.DataFrame(rows, columns=["network", "optimizer", "method", "repeat", "microseconds"])


def sweeps(repeats: int = 3) -> pd.DataFrame:
    """A population's cost by size: columns sweep, value, repeat, microseconds."""
    rows = []
    for repeat in range(repeats):
        for sweep, value, problem in SWEEPS:
            rows.append((sweep, value, repeat, cost(populations, problem)))
    return pd.DataFrame(rows, columns=["sweep", "value", "repeat", "microseconds"])


def memory() -> int:
    """MiB at most of this process, when it has trained 1,024 networks as one population."""
    _, steps = Problem(seeds=tuple(range(128)), arms=8, steps=10).population()
    next(steps)
    next(steps)
    return provenance.peak_memory()


def recording(
    repeats: int = 5, problem: Problem = Problem(hidden=design.SETTINGS["tiny"], optimizer="sgd")
) -> tuple[float, float]:
    """What it costs to look at 100 networks of three hidden layers once, on one thread.

    As shares of their epoch: the diversity alone, and with the accuracy on all test images.
    """
    torch.set_num_threads(1)
    here, arms = compute.parted(data.load(problem.data)), design.EARLY_ARMS[: problem.arms]
    records = ("accuracy", "diversity")
    unit = design.Training(problem.data, "tiny", "sgd", arms, problem.seeds, records=records)
    trained, steps = problem.population()
    next(steps)
    look = partial(compute.recorded, unit, trained, here, 1)
    works = partial(next, steps), look, partial(trained.evaluate, here.x_test, here.y_test)
    seconds = [[timeit(work, number=1) for work in works] for _ in range(repeats)]
    some, both, accuracy = pd.DataFrame(seconds).median()
    epoch = some * steps_per_epoch(len(here.x_train), problem.batch) / problem.steps
    return (both - accuracy) / epoch, both / epoch


def techniques(repeats: int = 5, steps: int = 50) -> pd.DataFrame:
    """A step of a plain training loop with each technique, dynamic, over one without, on one
    thread: columns technique, repeat, ratio."""
    torch.set_num_threads(1)
    rows = []
    for repeat in range(repeats):
        seconds = {name: _stepping(name, steps) for name in ("", *design.GRID)}
        rows += [(name, repeat, seconds[name] / seconds[""]) for name in design.GRID]
    return pd.DataFrame(rows, columns=["technique", "repeat", "ratio"])


def _stepping(technique: str, steps: int) -> float:
    """Seconds of steps of one narrow network, after some that are not counted."""
    problem = Problem(hidden=design.SETTINGS["narrow"], optimizer="sgd", seeds=(0,), arms=1)
    [[model]], here = problem.networks(), data.load(problem.data)
    optimizer = problem.torch_optimizer(model.parameters())
    # without one, the hooks and a coefficient of zero: nothing acts
    dose = (technique or "weight_cosine", 1e-3 if technique else 0.0)
    diverse = Reinforcement(model, optimizer, *dose, schedule="dynamic")
    x, y = here.x_train[: problem.batch], here.y_train[: problem.batch]

    def step():
        optimizer.zero_grad()
        (F.cross_entropy(model(x), y) + diverse.penalty()).backward()
        optimizer.step()

    timeit(step, number=5)
    return timeit(step, number=steps)
