"""Ways to train many small networks: a population, and what else one would do.

A method is a generator over a ``Problem``: it prepares, then trains ``problem.steps`` further steps
per ``next``. It yields the parameters of all networks, weights and biases in turn, seeds first.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import joblib
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from dndiv import init, population, streams
from dndiv.paper import data, design, experiments, products
from dndiv.population import Optimizer, Population

CORES = joblib.cpu_count()  # that this process may use


@dataclass(frozen=True)
class Problem:
    """Networks to train for some steps: seeds × arms, a seed with its draws and order of data."""

    data: str = "MNIST"  # loaded where it is worked on, as problems are sent to processes
    hidden: tuple[int, ...] = (16,)
    optimizer: str = "adam"
    seeds: tuple[int, ...] = tuple(range(10))
    arms: int = 10
    batch: int = design.BATCH["MNIST"]
    steps: int = 100

    @property
    def sizes(self) -> tuple[int, ...]:
        here = data.load(self.data)
        return (here.x_train.shape[1], *self.hidden, len(here.classes))

    def operations(self) -> int:
        """Floating-point operations of the matrix products of one network's step, both ways."""
        return 2 * self.batch * products.both_ways(self.sizes)

    def torch_optimizer(self, parameters: Iterable[Tensor], **options) -> torch.optim.Optimizer:
        kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[self.optimizer]
        return kind(parameters, lr=design.LEARNING_RATES[self.optimizer], **options)

    def blocks(self, size: int) -> list["Problem"]:
        """The problem in parts of at most ``size`` seeds."""
        starts = range(0, len(self.seeds), size)
        return [replace(self, seeds=self.seeds[k : k + size]) for k in starts]

    def networks(self) -> list[list[nn.Sequential]]:
        """As PyTorch initializes them, a list of arms per seed."""
        draws = [streams.generator("draw", seed) for seed in self.seeds]
        nets = [[population.network(self.sizes) for _ in range(self.arms)] for _ in draws]
        return [[init.default_(net, draw) for net in row] for row, draw in zip(nets, draws)]

    def rounds(self) -> Iterator[tuple[Tensor, ...]]:
        """In an epoch, the next ``steps`` mini-batches: indices, each [S, batch]."""
        order = next(population.orders(self.seeds, len(data.load(self.data).x_train)))
        batches = order.split(self.batch, 1)
        return (batches[k : k + self.steps] for k in range(0, len(batches), self.steps))

    def population(self) -> tuple[Population, Iterator[int]]:
        """The networks as one, and an epoch of training that pauses every ``steps`` steps."""
        here, lr = data.load(self.data), design.LEARNING_RATES[self.optimizer]
        together = Population(self.networks(), Optimizer(self.optimizer, lr))
        given = together, here.x_train, here.y_train, self.seeds, self.batch
        return together, population.train(*given, 1, range(0, len(here.x_train), self.steps))


def _one_by_one(problem: Problem, batches: Callable) -> Iterator[list[Tensor]]:
    """A network at a time; ``batches(indices)`` are its mini-batches (x, y)."""
    nets = [(s, net) for s, row in enumerate(problem.networks()) for net in row]
    optimizers = [problem.torch_optimizer(net.parameters()) for _, net in nets]
    for indices in problem.rounds():
        yield [torch.stack(p) for p in zip(*(net.parameters() for _, net in nets))]
        for (s, net), optimizer in zip(nets, optimizers):
            for x, y in batches([index[s] for index in indices]):
                optimizer.zero_grad()
                F.cross_entropy(net(x.flatten(1)), y).backward()
                optimizer.step()


class Images(datasets.MNIST):
    """torchvision's MNIST, which opens and transforms images one by one, with those of ``here``."""

    def __init__(self, here: data.Dataset):
        pixels = (here.x_train * here.std + here.mean).round().byte()
        self.data, self.targets = pixels.view(-1, *here.shape), here.y_train
        steps = [transforms.ToTensor(), transforms.Normalize(here.mean / 255, here.std / 255)]
        super(datasets.MNIST, self).__init__("", transform=transforms.Compose(steps))


def loader(problem: Problem) -> Iterator[list[Tensor]]:
    """A loop over a DataLoader, of images that are transformed one by one."""
    here = Images(data.load(problem.data))
    return _one_by_one(problem, lambda of: DataLoader(here, batch_sampler=[i.tolist() for i in of]))


def loop(problem: Problem) -> Iterator[list[Tensor]]:
    """A plain loop, from data in memory."""
    here = data.load(problem.data)
    return _one_by_one(problem, lambda of: ((here.x_train[i], here.y_train[i]) for i in of))


def _layers(together: Population) -> list[Tensor]:
    return [p for pair in zip(together.weights, together.biases) for p in pair]


def _at_once(problem: Problem, gradients: Callable) -> Iterator[list[Tensor]]:
    """All networks by ``gradients(parameters, x, y)``, with x [S, batch, …] and y [S, batch]."""
    here, parameters = data.load(problem.data), _layers(problem.population()[0])
    optimizer = problem.torch_optimizer(parameters, fused=True)
    for batches in problem.rounds():
        yield parameters
        for index in batches:
            found = gradients(parameters, here.x_train[index], here.y_train[index])
            for p, gradient in zip(parameters, found):
                p.grad = gradient
            optimizer.step()


def vmap(problem: Problem) -> Iterator[list[Tensor]]:
    """torch.func: the gradient of one network's loss, vectorized over arms and over seeds."""
    net = population.network(problem.sizes)
    names = [name for name, _ in net.named_parameters()]

    def loss(values, x, y):
        return F.cross_entropy(torch.func.functional_call(net, dict(zip(names, values)), x), y)

    return _at_once(problem, torch.vmap(torch.vmap(torch.func.grad(loss), (0, None, None))))


def autograd(problem: Problem) -> Iterator[list[Tensor]]:
    """Stacked products, a seed's arms as one in the first layer, differentiated by autograd."""

    def gradients(parameters, x, y):
        parameters = [p.requires_grad_() for p in parameters]
        h, products = x.mT, len(x)
        for l, (w, b) in enumerate(zip(parameters[::2], parameters[1::2])):
            w, b = w.reshape(products, -1, w.shape[-1]), b.reshape(products, -1, 1)
            products = len(x) * problem.arms
            h = torch.baddbmm(b, w, h.relu() if l else h).view(products, -1, problem.batch)
        loss = F.cross_entropy(h, y.repeat_interleave(problem.arms, 0), reduction="sum")
        return torch.autograd.grad(loss / problem.batch, parameters)

    return _at_once(problem, gradients)


def jax_scan(problem: Problem) -> Iterator[list[Tensor]]:
    """JAX: vmap over arms and seeds, all steps in one lax.scan, compiled."""
    import jax.example_libraries.optimizers

    here, lr = data.load(problem.data), design.LEARNING_RATES[problem.optimizer]
    images = [jax.numpy.asarray(part.numpy()) for part in (here.x_train, here.y_train)]
    start, update, parameters = getattr(jax.example_libraries.optimizers, problem.optimizer)(lr)

    def loss(layers, x, y):
        for l, (w, b) in enumerate(zip(layers[::2], layers[1::2])):
            x = (jax.nn.relu(x) if l else x) @ w.T + b
        return -jax.numpy.take_along_axis(jax.nn.log_softmax(x), y[:, None], 1).mean()

    gradients = jax.vmap(jax.vmap(jax.grad(loss), (0, None, None)))

    @jax.jit(donate_argnums=0)
    def advance(state, numbers, indices, x, y):
        def step(state, of):
            number, index = of
            return update(number, gradients(parameters(state), x[index], y[index]), state), None

        return jax.lax.scan(step, state, (numbers, indices))[0]

    state = start([jax.numpy.asarray(p.numpy()) for p in _layers(problem.population()[0])])
    for k, batches in enumerate(problem.rounds()):
        yield [torch.from_numpy(jax.device_get(p).copy()) for p in parameters(state)]
        numbers = jax.numpy.arange(k * problem.steps, (k + 1) * problem.steps)
        state = advance(state, numbers, torch.stack(batches).numpy(), *images)


def populations(problem: Problem) -> Iterator[list[Tensor]]:
    """Populations, in blocks of seeds as experiments have them."""
    blocks = [block.population() for block in problem.blocks(experiments.SEEDS_PER_UNIT)]
    while True:
        for _, steps in blocks:
            next(steps)
        yield [torch.cat(p) for p in zip(*(_layers(together) for together, _ in blocks))]


# How, in how many processes, with how many threads, and how much of the problem is timed.
METHODS = {
    "DataLoader loop": (loader, 1, 1, {"seeds": (0,), "arms": 1, "steps": 25}),
    "plain loop": (loop, 1, 1, {"seeds": (0,), "steps": 40}),  # its products are too small to share
    "torch.func.vmap": (vmap, 1, CORES, {"steps": 8}),
    "stacked, autograd": (autograd, 1, CORES, {"steps": 30}),
    "JAX": (jax_scan, 1, CORES, {"steps": 50}),
    "population": (populations, CORES, 1, {}),
    "plain loop, a process per core": (loop, CORES, 1, {"seeds": tuple(range(CORES)), "arms": 5}),
}
