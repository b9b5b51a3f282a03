"""Many small networks trained at once, as stacked tensors.

A population is a grid of S seeds × A arms of multilayer perceptrons of one architecture. Layer l of all of them is
one tensor [S, A, out, in], so that a training step is a handful of batched products. The arms of a seed see the
same mini-batch: their first layer, where nearly all of the arithmetic is, is one product per seed.

What makes it fast, as measured on two CPU cores (batch 64, 5 seeds × 13 arms): the backward pass is written by hand
(autograd costs half again as much); for SGD a gradient's product is accumulated right into the weights; Adam is one
fused update of a flat buffer that all parameters are views of; activations are [units, batch], so that no layer
needs a transposed copy. For 784–16–10 two thirds of the time are then the first layer's two products, at the speed
of large ones. In deep, narrow networks the number of operations counts, some 5 µs each whatever their size: what a
step needs is kept, views included, and the biases of all layers are one block, with one gradient. Small products do
not gain from threads: run single-threaded populations of a few seeds side by side.

On a GPU the data are there as well, and where no technique acts the whole mini-batches replay one CUDA graph. This is
written by PyTorch's rules and emulated in tests; it has not yet run on a GPU. Products are in full single precision
there too: TF32 stays off, as is PyTorch's default.

A network learns the same, up to rounding, whatever else is in its population: nothing couples members, and one
that diverges fills only its own slices with non-finite numbers.
"""

import math
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,  # slope 0.01
    "tanh": nn.Tanh,
}
# Each activation's gradient, in place of the gradient of its output, from the output itself.
_BACKWARD_: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "relu": lambda grad, h: torch.ops.aten.threshold_backward.grad_input(grad, h, 0, grad_input=grad),
    "leaky_relu": lambda grad, h: torch.ops.aten.leaky_relu_backward.grad_input(grad, h, 0.01, True, grad_input=grad),
    "tanh": lambda grad, h: torch.ops.aten.tanh_backward.grad_input(grad, h, grad_input=grad),
}
_FORWARD_ = {"relu": torch.relu_, "leaky_relu": F.leaky_relu_, "tanh": torch.tanh_}
WARM_UP = 3  # steps on a GPU before one is recorded, as PyTorch's notes on CUDA graphs have them
EVALUATION_BLOCK = 1000  # inputs evaluated at once: large products that still fit the cache


@dataclass(frozen=True)
class Optimizer:
    """SGD (with momentum) or Adam, with the update of ``torch.optim.SGD`` and ``torch.optim.Adam``."""

    name: str  # "sgd" or "adam"
    lr: float
    momentum: float = 0.0  # of SGD
    betas: tuple[float, float] = (0.9, 0.999)  # of Adam
    eps: float = 1e-8  # of Adam

    def __post_init__(self):
        if self.name not in ("sgd", "adam"):
            raise ValueError(f"unknown optimizer {self.name!r}; choose sgd or adam")
        if not 0 < self.lr < float("inf"):
            raise ValueError(f"the learning rate must be positive, not {self.lr}")
        if not 0 <= self.momentum < 1 or (self.momentum and self.name == "adam"):
            raise ValueError(f"momentum is SGD's, in [0, 1), not {self.momentum} with {self.name}")


def network(sizes: Sequence[int], activation: str = "relu") -> nn.Sequential:
    """A plain multilayer perceptron: Linear layers of the given sizes with the activation between them."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"unknown activation {activation!r}; choose one of {', '.join(ACTIVATIONS)}")
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"a network needs two or more positive layer sizes, not {tuple(sizes)}")
    layers: list[nn.Module] = []
    for inputs, outputs in zip(sizes, sizes[1:]):
        layers += [nn.Linear(inputs, outputs), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


# A technique sees some arms of the population in the middle of a step and adds to their gradients, or acts after the update.
# penalties(step) -> the penalties of this step (from 0), as their gradients, each with the arms that have it.
# gradients(weights, hidden) -> (by weights, by hidden), the gradients of a network's penalty, each of the shape of what it is by,
# weights[l] [S, arms, out, in] and hidden[l] [S, arms, units, batch], or None where there is none.
# after_step(population): changes population.weights in place.
Gradients = Callable[[list[Tensor], list[Tensor]], tuple[Sequence[Tensor | None], Sequence[Tensor | None]]]
Penalties = Callable[[int], Sequence[tuple[slice, Gradients]]]
AfterStep = Callable[["Population"], None]


class Population:
    """S × A networks that train together.

    Args:
        networks: S lists (one per seed) of A networks (one per arm), as made by ``network``, of equal sizes.
            Their weights are copied, and their dtype is the population's.
        optimizer: of all of them.
        activation: the name of the activation that the networks have.
        device: where to train.
        penalties, after_step: techniques, see above.

    ``weights[l]`` is [S, A, out, in] and ``biases[l]`` [S, A, out], views of one flat buffer of parameters: first the
    weights of all layers, then the biases of all layers.
    """

    def __init__(self, networks: Sequence[Sequence[nn.Sequential]], optimizer: Optimizer, activation: str = "relu",
                 device: str | torch.device = "cpu", penalties: Penalties | None = None,
                 after_step: AfterStep | None = None):
        if activation not in ACTIVATIONS:
            raise ValueError(f"unknown activation {activation!r}; choose one of {', '.join(ACTIVATIONS)}")
        self.seeds, self.arms = len(networks), len(networks[0])
        layers = [[[m for m in net if isinstance(m, nn.Linear)] for net in row] for row in networks]
        self.sizes = (layers[0][0][0].in_features, *(m.out_features for m in layers[0][0]))
        for row in layers:
            sizes = [(net[0].in_features, *(m.out_features for m in net)) for net in row]
            if len(row) != self.arms or set(sizes) != {self.sizes}:
                raise ValueError(f"all networks of a population have the same sizes, here {self.sizes}, "
                                 f"and all seeds the same number of arms, here {self.arms}; got {sizes}")
        self.optimizer, self.activation, self.device = optimizer, activation, torch.device(device)
        self.penalties, self.after_step = penalties, after_step
        self.steps = 0
        members = self.seeds * self.arms
        self._flat = torch.zeros(members * sum(o * i + o for i, o in zip(self.sizes, self.sizes[1:])), device=device,
                                 dtype=layers[0][0][0].weight.dtype)
        self.weights, self.biases = self._views(self._flat)
        for l, (w, b) in enumerate(zip(self.weights, self.biases)):
            w.copy_(torch.stack([torch.stack([net[l].weight.detach() for net in row]) for row in layers]))
            b.copy_(torch.stack([torch.stack([net[l].bias.detach() for net in row]) for row in layers]))
        # plain SGD needs no gradient buffer: its products go right into the weights
        self._direct = optimizer.name == "sgd" and not optimizer.momentum
        self._grad = self._flat if self._direct else torch.zeros_like(self._flat)
        self._grads = self._views(self._grad)
        if not self._direct:
            self._state = [torch.zeros_like(self._flat) for _ in range(2 if optimizer.name == "adam" else 1)]
            self._step = torch.zeros((), dtype=torch.float32, device=device)
        # what the products of a step take, made once
        self._w, self._b, self._targets = ([self._rows(l, p) for l, p in enumerate(parts)]
                                           for parts in (self.weights, self.biases, self._grads[0]))
        self._turned = [w.transpose(1, 2) for w in self._w]
        self._all_biases = self._grad[-members * sum(self.sizes[1:]):]
        self._classes = torch.arange(self.sizes[-1], device=device).view(-1, 1)
        self._kept: dict[int, tuple] = {}  # buffers of a step, by the size of the mini-batch

    def _views(self, flat: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        layers = list(zip(self.sizes[1:], self.sizes))
        shapes = [(self.seeds, self.arms, *shape) for shape in (*layers, *[(o,) for o, _ in layers])]
        views = [part.view(shape) for part, shape in zip(flat.split([math.prod(s) for s in shapes]), shapes)]
        return views[:len(layers)], views[len(layers):]

    def _rows(self, l: int, p: Tensor) -> Tensor:
        """Layer l's weights [S, A, out, in] as its product takes them, [S, A·out, in] for the first layer and
        [S·A, out, in] for the others; biases [S, A, out] likewise, with in = 1.
        """
        return p.view(self.seeds * (self.arms if l else 1), -1, p.shape[3] if p.dim() == 4 else 1)

    def _buffers(self, batch: int) -> tuple[Tensor, list[Tensor]]:
        """Room for a number per unit and input, [units of all, batch], and its views by layer, [S·A, units, batch]."""
        units = [self.seeds * self.arms * size for size in self.sizes[1:]]
        whole = self._flat.new_empty(sum(units), batch)
        return whole, [p.view(self.seeds * self.arms, -1, batch) for p in whole.split(units)]

    def _workspace(self, batch: int) -> tuple:
        """What a step with mini-batches of this size writes to, and the views that its products take."""
        (_, outputs), (all_deltas, deltas) = self._buffers(batch), self._buffers(batch)
        first, last = deltas[0].view(self.seeds, -1, batch), deltas[-1].view(self.seeds, self.arms, -1, batch)
        one_hot, ones = last.new_empty(last[:, :1].shape), last.new_ones(batch)
        return outputs, [h.transpose(1, 2) for h in outputs], deltas, all_deltas, first, last, one_hot, ones

    def moments(self) -> list[tuple[list[Tensor], list[Tensor]]]:
        """The optimizer's state in the form of (weights, biases), views; none for plain SGD."""
        return [] if self._direct else [self._views(state) for state in self._state]

    @property
    def parameters_per_network(self) -> int:
        return self._flat.numel() // (self.seeds * self.arms)

    def member(self, seed: int, arm: int) -> nn.Sequential:
        """A copy of one network, as a plain module."""
        net = network(self.sizes, self.activation).to(self._flat.dtype)
        with torch.no_grad():
            for layer, w, b in zip([m for m in net if isinstance(m, nn.Linear)], self.weights, self.biases):
                layer.weight.copy_(w[seed, arm])
                layer.bias.copy_(b[seed, arm])
        return net

    def select(self, arms: Sequence[int]) -> "Population":
        """A copy of some arms, to look at: without techniques, and with an optimizer that has done no step."""
        return Population([[self.member(s, a) for a in arms] for s in range(self.seeds)], self.optimizer, self.activation, self.device)

    @torch.no_grad()
    def forward(self, x: Tensor, out: list[Tensor] | None = None) -> list[Tensor]:
        """The outputs of all layers, hidden ones after the activation, each [S·A, units, batch].

        x: [S, batch, inputs], one mini-batch per seed, or [1, batch, inputs], the same for all. out: tensors to leave
        the outputs in.
        """
        rows, batch, inputs = x.shape
        out = out or self._buffers(batch)[1]
        # one product per seed, of all units of its arms; or one altogether
        torch.baddbmm(self._b[0].view(rows, -1, 1), self._w[0].view(rows, -1, inputs), x.transpose(1, 2),
                      out=out[0].view(rows, -1, batch))
        if len(out) > 1:
            self.onward(0, _FORWARD_[self.activation](out[0]), out[1:])
        return out

    @torch.no_grad()
    def onward(self, l: int, h: Tensor, out: list[Tensor] | None = None) -> list[Tensor]:
        """The outputs of the layers after l, from the activations h of layer l, [S·A, units, batch]."""
        out = out or self._buffers(h.shape[2])[1][l + 1:]
        for k, (w, b) in enumerate(zip(self._w[l + 1:], self._b[l + 1:])):
            torch.baddbmm(b, w, h if k == 0 else _FORWARD_[self.activation](out[k - 1]), out=out[k])
        return out

    @torch.no_grad()
    def activations(self, x: Tensor, arms: slice) -> list[Tensor]:
        """The activations of the hidden layers of some arms, each [S, arms, units, inputs], on x [inputs, pixels]."""
        found = [x.T]
        for w, b in zip(self.weights[:-1], self.biases):
            found.append(_FORWARD_[self.activation](w[:, arms] @ found[-1] + b[:, arms].unsqueeze(-1)))
        return found[1:]

    @torch.no_grad()
    def step(self, x: Tensor, y: Tensor) -> None:
        """One update by the mean cross-entropy. x: [S, batch, inputs]; y: [S, batch], classes."""
        S, batch = self.seeds, x.shape[1]
        if batch not in self._kept:
            self._kept[batch] = self._workspace(batch)
        outputs, turned, deltas, all_deltas, first, last, one_hot, ones = self._kept[batch]
        *hidden, logits = self.forward(x, outputs)
        extras = self._penalty_gradients(hidden)
        # deltas: the gradients of the sum of the cross-entropies, for the last layer softmax − one-hot
        torch.softmax(logits, 1, out=deltas[-1])
        last -= torch.eq(y.view(S, 1, 1, batch), self._classes, out=one_hot)  # as numbers, not bool
        # a gradient is kept, or applied right away
        beta, alpha = (1, -self.optimizer.lr / batch) if self._direct else (0, 1 / batch)
        for l in reversed(range(1, len(deltas))):
            upstream = torch.bmm(self._turned[l], deltas[l], out=deltas[l - 1])  # before the weights change
            self._targets[l].baddbmm_(deltas[l], turned[l - 1], beta=beta, alpha=alpha)
            for arms, _, extra in extras:
                if extra[l - 1] is not None:
                    upstream.view(S, self.arms, -1, batch)[:, arms].add_(extra[l - 1], alpha=batch)
            _BACKWARD_[self.activation](upstream, hidden[l - 1])
        self._targets[0].baddbmm_(first, x, beta=beta, alpha=alpha)
        self._all_biases.addmv_(all_deltas, ones, beta=beta, alpha=alpha)  # all biases at once
        for arms, extra, _ in extras:
            for target, g in zip(self._grads[0], extra):
                if g is not None:
                    target[:, arms].add_(g, alpha=alpha * batch)
        if not self._direct:
            self._update()
        self.steps += 1
        if self.after_step is not None:
            self.after_step(self)

    def _penalty_gradients(self, hidden: list[Tensor]) -> list[tuple[slice, Sequence, Sequence]]:
        """Per penalty of this step: its arms, and its gradients by their weights and by their hidden activations."""
        return [(arms, *gradients([w[:, arms] for w in self.weights],
                                  [h.view(self.seeds, self.arms, *h.shape[1:])[:, arms] for h in hidden]))
                for arms, gradients in (self.penalties(self.steps) if self.penalties else ())]

    def _update(self) -> None:
        o = self.optimizer
        if o.name == "adam":
            self._step += 1
            torch._fused_adam_([self._flat], [self._grad], [self._state[0]], [self._state[1]], [], [self._step],
                               lr=o.lr, beta1=o.betas[0], beta2=o.betas[1], weight_decay=0.0, eps=o.eps,
                               amsgrad=False, maximize=False)
        else:
            update = self._grad
            if o.momentum:
                update = self._state[0].mul_(o.momentum).add_(self._grad)
            self._flat.sub_(update, alpha=o.lr)

    @torch.no_grad()
    def evaluate(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """(accuracy, mean cross-entropy), each float64 [S, A], of x [inputs, pixels] and y [inputs].

        An input with non-finite outputs counts as wrong, so a network that has diverged is right nowhere; its
        cross-entropy is not finite.
        """
        right = torch.zeros(self.seeds * self.arms, dtype=torch.float64, device=self.device)
        loss = torch.zeros_like(right)
        for block, truth in zip(x.split(EVALUATION_BLOCK), y.split(EVALUATION_BLOCK)):
            logits = self.forward(block.unsqueeze(0))[-1]  # [S·A, classes, block]
            right += correct(logits, truth).sum(1)
            loss += F.cross_entropy(logits, truth.expand(len(logits), -1), reduction="none").sum(1, dtype=torch.float64)
        shape = (self.seeds, self.arms)
        return (right / len(x)).view(shape), (loss / len(x)).view(shape)


def correct(logits: Tensor, y: Tensor) -> Tensor:
    """Which inputs are classified rightly, [networks, inputs], of logits [networks, classes, inputs] and y [inputs].

    One with non-finite logits is not.
    """
    return (logits.max(1).indices == y) & logits.sum(1).isfinite()  # max is 5 times as fast as argmax here


def orders(seeds: Sequence[int], samples: int) -> Iterator[Tensor]:
    """Per epoch, the order in which each seed sees the samples, [S, samples]: fixed by the seed, on the CPU."""
    generators = [torch.Generator().manual_seed(_stream(seed, "order")) for seed in seeds]
    while True:
        yield torch.stack([torch.randperm(samples, generator=g) for g in generators])


def draw_generator(seed: int) -> torch.Generator:
    """The generator of a seed's base random draw."""
    return torch.Generator().manual_seed(_stream(seed, "draw"))


def _stream(seed: int, purpose: str) -> int:
    """Seeds of independent streams: the same seed for weights and order would tie the two together."""
    return 2 * seed + ("draw", "order").index(purpose)


def steps_per_epoch(samples: int, batch: int) -> int:
    """Mini-batches of an epoch; the last one may be smaller."""
    return -(-samples // batch)


def train(population: Population, x: Tensor, y: Tensor, seeds: Sequence[int], batch: int, epochs: int,
          pauses: Collection[int] = ()) -> Iterator[int]:
    """Train for some epochs; yields the number of steps done, for the caller to measure: 0 (before training), the
    ``pauses``, and the end of each epoch.

    x: [samples, inputs]; y: [samples]. Each seed goes through all samples once per epoch in its own order.
    """
    if len(seeds) != population.seeds:
        raise ValueError(f"the population has {population.seeds} seeds, not {len(seeds)}")
    S, samples, done = len(seeds), len(x), 0
    buffer = x.new_empty(S * batch, x.shape[1])

    def advance(index: Tensor, labels: Tensor) -> None:
        gathered = torch.index_select(x, 0, index.reshape(-1), out=buffer[:index.numel()])
        population.step(gathered.view(S, -1, x.shape[1]), labels)

    if _recordable(population):
        advance = _replaying(advance, population, (S, batch))
    yield done
    for _, order in zip(range(epochs), orders(seeds, samples)):
        order = order.to(x.device)
        labels = y[order]
        for start in range(0, samples, batch):
            advance(order[:, start:start + batch], labels[:, start:start + batch])
            done += 1
            if done in pauses and start + batch < samples:
                yield done
        yield done


def _recordable(population: Population) -> bool:
    """On a GPU, but for techniques, which ask the CPU as they go, and threads, which must not record side by side."""
    return population.device.type == "cuda" and population.penalties is None and population.after_step is None \
        and threading.current_thread() is threading.main_thread()


def _replaying(advance: Callable[[Tensor, Tensor], None], population: Population, shape: tuple[int, int]) -> Callable:
    """``advance``, whose whole mini-batches replay a CUDA graph: to launch small kernels takes longer than they do."""
    index, labels = torch.zeros(2, *shape, dtype=torch.long, device=population.device)  # what the graph reads
    graph, done = _Graph(population.device), 0

    def advance_or_replay(*given: Tensor) -> None:
        nonlocal done
        if given[0].shape != shape:  # the last of an epoch
            advance(*given)
            return
        index.copy_(given[0])
        labels.copy_(given[1])
        done += 1
        if done <= WARM_UP:
            graph.warm_up(lambda: advance(index, labels))
            return
        steps = population.steps
        if done == WARM_UP + 1:
            graph.record(lambda: advance(index, labels))
        graph.replay()
        population.steps = steps + 1  # to record counts a step and does nothing, to replay does one and counts nothing

    return advance_or_replay


class _Graph:
    """Work on a GPU that is recorded once, and replayed. Libraries set themselves up in steps before it, on the same stream."""

    def __init__(self, device: torch.device):
        self.graph, self.stream = torch.cuda.CUDAGraph(), torch.cuda.Stream(device)

    def warm_up(self, work: Callable[[], None]) -> None:
        current = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            work()
        current.wait_stream(self.stream)

    def record(self, work: Callable[[], None]) -> None:
        with torch.cuda.device(self.stream.device), torch.cuda.graph(self.graph, stream=self.stream):
            work()

    def replay(self) -> None:
        with torch.cuda.device(self.stream.device):
            self.graph.replay()
