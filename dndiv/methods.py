"""Ways to train many small networks: a population, and what else one would do. ``bench.py`` measures them.

A method is a generator over a ``Problem``: it prepares, then trains ``problem.steps`` further steps per ``next``. It yields
the parameters, one vector per network, seeds first. All train the same networks, from the same weights on the same mini-batches.
A problem is small, and the data are loaded where it is worked on.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector

from dndiv import data, population
from dndiv.experiment import SEEDS_PER_UNIT
from dndiv.population import Population
from dndiv.study import BATCH, OPTIMIZERS


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


def square(problem: Problem) -> Iterator[None]:
    """No method: one large product, again and again."""
    a, b, c = (torch.randn(1024, 1024) for _ in range(3))
    while True:
        yield
        for _ in range(problem.steps):
            torch.mm(a, b, out=c)


METHODS: dict[str, Callable] = {"DataLoader loop": loader, "plain loop": loop, "torch.func.vmap": vmap,
                                "stacked, autograd": autograd, "JAX": jax_scan, "population": ours}
