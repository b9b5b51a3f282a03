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
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec

import joblib
import matplotlib.pyplot as plt
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector

from dndiv import data, figures, population, provenance
from dndiv.experiment import EARLY_ARMS, SEEDS_PER_UNIT
from dndiv.population import Population
from dndiv.study import BATCH, OPTIMIZERS, Observation
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


@dataclass(frozen=True)
class Problem:
    """Networks to train for some steps: seeds × arms, each seed with its draws and its order of the data."""

    data: str = "MNIST"
    hidden: tuple[int, ...] = (16,)
    optimizer: str = "adam"
    seeds: tuple[int, ...] = tuple(range(10))
    arms: int = 10
    batch: int = BATCH["MNIST"]
    steps: int = 100

    @property
    def sizes(self) -> tuple[int, ...]:
        here = data.load(self.data)
        return (here.x_train.shape[1], *self.hidden, len(here.classes))

    def blocks(self, size: int) -> list["Problem"]:
        return [replace(self, seeds=self.seeds[k:k + size]) for k in range(0, len(self.seeds), size)]

    def operations(self) -> int:
        """Floating-point operations of the matrix products of one network's step: forward, upstream, gradients."""
        products = [i * o for i, o in zip(self.sizes, self.sizes[1:])]
        return 2 * self.batch * (3 * sum(products) - products[0])

    def networks(self) -> list[list[nn.Sequential]]:
        rows = []
        for seed in self.seeds:
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                rows.append([population.network(self.sizes) for _ in range(self.arms)])
        return rows

    def batches(self) -> Iterator[Tensor]:
        """Indices of mini-batches, [S, batch], without end; only whole ones."""
        here = data.load(self.data)
        for order in population.orders(self.seeds, len(here.x_train)):
            yield from (part for part in order.split(self.batch, 1) if part.shape[1] == self.batch)


# ------------------------------------------------------------------------------------------------------- the methods
# A method is a generator: it prepares, then trains ``problem.steps`` further steps per ``next``. It yields the
# parameters, one vector per network, seeds first. A problem is small; the data are loaded where it is worked on.
def _optimizer(problem: Problem, parameters, **options) -> torch.optim.Optimizer:
    kind = torch.optim.Adam if problem.optimizer == "adam" else torch.optim.SGD
    return kind(parameters, lr=OPTIMIZERS[problem.optimizer].lr, **options)


class Images(torch.utils.data.Dataset):
    """Images that are opened, transformed and handed out one by one, as torchvision's MNIST does."""

    def __init__(self, here: data.Dataset):
        from torchvision import transforms

        self.images = (here.x_train * here.std + here.mean).round().byte().view(-1, *here.shape)
        self.labels = here.y_train
        self.transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize((here.mean / 255,), (here.std / 255,))])

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        from PIL import Image

        return self.transform(Image.fromarray(self.images[i].numpy())), int(self.labels[i])


def loader(problem: Problem) -> Iterator[Tensor]:
    """One network, fed by a DataLoader from images that are transformed one by one (the first network alone)."""
    first = replace(problem, seeds=problem.seeds[:1])
    net = first.networks()[0][0]
    update = _optimizer(problem, net.parameters())
    images = Images(data.load(problem.data))
    order = (index[0].tolist() for index in first.batches())
    batches = iter(torch.utils.data.DataLoader(images, batch_sampler=order))
    while True:
        yield parameters_to_vector(net.parameters()).detach()[None]
        for x, y in itertools.islice(batches, problem.steps):
            update.zero_grad()
            F.cross_entropy(net(x.flatten(1)), y).backward()
            update.step()


def loop(problem: Problem) -> Iterator[Tensor]:
    """A plain loop, a network at a time, from data in memory."""
    here = data.load(problem.data)
    nets, batches = problem.networks(), problem.batches()
    updates = [[_optimizer(problem, net.parameters()) for net in row] for row in nets]
    while True:
        yield torch.stack([parameters_to_vector(net.parameters()).detach() for row in nets for net in row])
        chosen = list(itertools.islice(batches, problem.steps))
        for s, row in enumerate(nets):
            for net, update in zip(row, updates[s]):
                for index in chosen:
                    update.zero_grad()
                    F.cross_entropy(net(here.x_train[index[s]]), here.y_train[index[s]]).backward()
                    update.step()


def _stacked(problem: Problem) -> list[Tensor]:
    """The networks' parameters, each [S, A, …]."""
    return [torch.stack(p).detach().unflatten(0, (len(problem.seeds), problem.arms))
            for p in zip(*[net.parameters() for row in problem.networks() for net in row])]


def _vectors(parameters: list[Tensor]) -> Tensor:
    return torch.cat([p.detach().flatten(2) for p in parameters], 2).flatten(0, 1)


def vmap(problem: Problem) -> Iterator[Tensor]:
    """torch.func: the gradient of one network's loss, vectorized over arms and over seeds."""
    here, parameters = data.load(problem.data), _stacked(problem)
    update = _optimizer(problem, parameters, fused=True)
    base = population.network(problem.sizes)
    names = [name for name, _ in base.named_parameters()]

    def loss(values, x, y):
        return F.cross_entropy(torch.func.functional_call(base, dict(zip(names, values)), (x,)), y)

    gradient = torch.vmap(torch.vmap(torch.func.grad(loss), (0, None, None)))
    batches = problem.batches()
    while True:
        yield _vectors(parameters)
        for index in itertools.islice(batches, problem.steps):
            for p, g in zip(parameters, gradient(tuple(parameters), here.x_train[index], here.y_train[index])):
                p.grad = g
            update.step()


def autograd(problem: Problem) -> Iterator[Tensor]:
    """Stacked products, a seed's arms as one in the first layer, differentiated by autograd."""
    here, parameters = data.load(problem.data), [p.requires_grad_() for p in _stacked(problem)]
    update = _optimizer(problem, parameters, fused=True)
    batches, S, N = problem.batches(), len(problem.seeds), len(problem.seeds) * problem.arms
    while True:
        yield _vectors(parameters)
        for index in itertools.islice(batches, problem.steps):
            h, rows = here.x_train[index].mT, S
            for w, b in zip(parameters[::2], parameters[1::2]):
                h = h if rows == S else h.relu()
                h = torch.baddbmm(b.reshape(rows, -1, 1), w.reshape(rows, -1, w.shape[-1]), h)
                h, rows = h.view(N, -1, problem.batch), N
            y = here.y_train[index].repeat_interleave(problem.arms, 0)
            update.zero_grad()
            (F.cross_entropy(h, y, reduction="sum") / problem.batch).backward()
            update.step()


def jax_scan(problem: Problem) -> Iterator[Tensor]:
    """JAX: vmap over arms and seeds, all steps in one lax.scan, compiled."""
    import jax
    from jax import numpy as jnp

    o, here = OPTIMIZERS[problem.optimizer], data.load(problem.data)
    images, labels = jnp.asarray(here.x_train.numpy()), jnp.asarray(here.y_train.numpy())

    def loss(layers, x, y):
        for k, (w, b) in enumerate(zip(layers[::2], layers[1::2])):
            x = (jax.nn.relu(x) if k else x) @ w.T + b
        return -jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], 1).mean()

    gradient = jax.vmap(jax.vmap(jax.grad(loss), (0, None, None)))

    def step(state, index, images, labels):
        values, m, v, t = state
        grads = gradient(values, images[index], labels[index])
        if problem.optimizer == "sgd":
            return ([p - o.lr * g for p, g in zip(values, grads)], m, v, t), None
        t, (one, two) = t + 1, o.betas
        m = [one * a + (1 - one) * g for a, g in zip(m, grads)]
        v = [two * a + (1 - two) * g * g for a, g in zip(v, grads)]
        values = [p - o.lr / (1 - one ** t) * a / (jnp.sqrt(b / (1 - two ** t)) + o.eps)
                  for p, a, b in zip(values, m, v)]
        return (values, m, v, t), None

    @partial(jax.jit, donate_argnums=0)
    def advance(state, indices, images, labels):
        return jax.lax.scan(lambda s, index: step(s, index, images, labels), state, indices)[0]

    values = [jnp.asarray(p.numpy()) for p in _stacked(problem)]
    zeros = [[jnp.zeros_like(p) for p in values] if problem.optimizer == "adam" else [] for _ in range(2)]
    state, batches = (values, *zeros, jnp.zeros(())), problem.batches()
    while True:
        yield _vectors([torch.from_numpy(jax.device_get(p).copy()) for p in state[0]])
        indices = torch.stack(list(itertools.islice(batches, problem.steps)))
        state = jax.block_until_ready(advance(state, jnp.asarray(indices.numpy()), images, labels))


def ours(problem: Problem) -> Iterator[Tensor]:
    """A population, in blocks of seeds as experiments have them."""
    here, blocks = data.load(problem.data), []
    for block in problem.blocks(SEEDS_PER_UNIT):
        trained = Population(block.networks(), OPTIMIZERS[problem.optimizer])
        pauses = range(0, len(here.x_train), problem.steps)
        blocks.append((trained, population.train(trained, here.x_train, here.y_train, block.seeds, problem.batch, 1, pauses)))
    while True:
        for _, steps in blocks:
            next(steps)
        yield torch.cat([torch.cat([w.flatten(2) for pair in zip(p.weights, p.biases) for w in pair], 2).flatten(0, 1)
                         for p, _ in blocks])


def _square(problem: Problem) -> Iterator[None]:
    """No method: one large product, again and again."""
    a, b, c = (torch.randn(1024, 1024) for _ in range(3))
    while True:
        yield
        for _ in range(problem.steps):
            torch.mm(a, b, out=c)


METHODS: dict[str, Callable] = {"DataLoader loop": loader, "plain loop": loop, "torch.func.vmap": vmap,
                                "stacked, autograd": autograd, "JAX": jax_scan, "population": ours}


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
    rows, square = [], Problem(steps=10, seeds=tuple(range(CORES)))
    large = _square(square)
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
            found["population"] = together(ours, whole) / (len(whole.seeds) * whole.arms * whole.steps)
            rate = 2 * 1024**3 * square.steps * max(1 / _next(large, CORES), CORES / together(_square, square))
            found["floor"] = whole.operations() / rate
            rows += [(name, optimizer, m, repeat, 1e6 * seconds) for m, seconds in found.items() if repeat >= 0]
    return pd.DataFrame(rows, columns=["network", "optimizer", "method", "repeat", "microseconds"])


def sweeps(repeats: int = 3) -> pd.DataFrame:
    """The population's cost against number of networks, width, depth and batch; columns sweep, value, repeat, microseconds."""
    rows = []
    for repeat, (sweep, values) in itertools.product(range(repeats), SWEEPS.items()):
        for v in values:
            p = Problem(steps=20)
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
    return "\n".join([*lines, "", "; ".join(f"{k} {v}" for k, v in machine.items()) + "; " +
                      ", ".join(f"{k} {versions[k]}" for k in ("python", "torch", "numpy", "jax") if k in versions) + "."]) + "\n"


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
        for y, v in enumerate(median):
            ax.text(v * 1.3, y, f"{v:,.0f}" if v >= 100 else f"{v:.1f}", va="center", fontsize="small")
        ax.set(xscale="log", xlabel="µs per network and step", xlim=(5, 60_000),
               title=f"{name}, {OPTIMIZER_TITLES[found[found.network == name].optimizer.iloc[0]]}")
        ax.invert_yaxis() if name == names[0] else None
    labels = {"networks": "networks, 784–16–10", "width": "units, one hidden layer", "depth": "hidden layers of 8", "batch": "mini-batch, 784–16–10"}
    for ax, (sweep, label) in zip(bottom.subplots(1, len(labels)), labels.items()):
        part = swept[swept.sweep == sweep].groupby("value").microseconds
        ax.fill_between(part.median().index, part.min(), part.max(), alpha=0.3, lw=0, color="C3")
        ax.plot(part.median(), "o-", color="C3")
        ax.set_xscale("log", base=2)
        ax.set(yscale="log", xlabel=label, ylabel="µs per network and step")
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
