"""Many small networks trained at once, as stacked tensors.

A population is a grid of S seeds × A arms of multilayer perceptrons of one architecture. Layer l of
all of them is one tensor [S, A, out, in], so that a training step is a handful of batched products.
The arms of a seed see the same mini-batch: their first layer, where nearly all of the arithmetic
is, is one product per seed.

What makes it fast, as measured on two CPU cores (batch 64, 5 seeds × 13 arms): the backward pass is
written by hand (autograd costs half again as much); for SGD a gradient's product is accumulated
right into the weights; Adam is one fused update of a flat buffer that all parameters are views of;
activations are [units, batch], so that no layer needs a transposed copy. For 784–16–10 two thirds
of the time are then the first layer's two products, at the speed of large ones. In deep, narrow
networks the number of operations counts, some 5 µs each whatever their size: what a step needs is
kept, views included, and the biases of all layers are one block, with one gradient. Small products
do not gain from threads: run single-threaded populations of a few seeds side by side.

On a GPU the data are there as well, and where no technique acts the whole mini-batches replay one
CUDA graph. This is written by PyTorch's rules and emulated in tests; it has not yet run on a GPU.
Products are in full single precision there too: TF32 stays off, as is PyTorch's default.

A network learns the same, up to rounding, whatever else is in its population: nothing couples
members, and one that diverges fills only its own slices with non-finite numbers.
"""

import math
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dndiv import streams
from dndiv.checks import choose, typed

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,  # slope 0.01
    "tanh": nn.Tanh,
}
_FORWARD_ = {"relu": torch.relu_, "leaky_relu": F.leaky_relu_, "tanh": torch.tanh_}
# Each activation's gradient, in place of the gradient of its output, from the output itself.
_aten = torch.ops.aten
_BACKWARD_: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "relu": lambda g, h: _aten.threshold_backward.grad_input(g, h, 0, grad_input=g),
    "leaky_relu": lambda g, h: _aten.leaky_relu_backward.grad_input(g, h, 0.01, True, grad_input=g),
    "tanh": lambda g, h: _aten.tanh_backward.grad_input(g, h, grad_input=g),
}
WARM_UP = 3  # steps on a GPU before one is recorded, as PyTorch's notes on CUDA graphs have them
EVALUATION_BLOCK = 1000  # inputs evaluated at once: large products that still fit the cache
MOMENTUM = 0.95  # of Muon, Nesterov's
Noise = Callable[[int, Tensor], None]


@typed
@dataclass(frozen=True)
class Optimizer:
    """Plain SGD or Adam, with the update of ``torch.optim.SGD`` and ``torch.optim.Adam``; or Muon.

    "muon" is Adam, but for the weights of hidden layers, which move by ``torch.optim.Muon`` without
    weight decay, its step scaled to Adam's ("match_rms_adamw"), so that one rate serves both; in
    the precision of the weights, where that computes in bfloat16. Its momentum is not reset where a
    technique redraws units, as Adam's moments are.
    """

    name: str  # "sgd", "adam" or "muon"
    lr: float
    betas: tuple[float, float] = (0.9, 0.999)  # of Adam
    eps: float = 1e-8  # of Adam

    def __post_init__(self):
        choose("optimizer", self.name, ("sgd", "adam", "muon"))
        if not 0 < self.lr < float("inf"):
            raise ValueError(f"the learning rate must be positive, not {self.lr}")


def network(sizes: Sequence[int], activation: str = "relu") -> nn.Sequential:
    """A plain multilayer perceptron: Linear layers of the given sizes, the activation between."""
    choose("activation", activation, ACTIVATIONS)
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"a network needs two or more positive layer sizes, not {tuple(sizes)}")
    layers: list[nn.Module] = []
    for inputs, outputs in zip(sizes, sizes[1:]):
        layers += [nn.Linear(inputs, outputs), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


class Techniques(Protocol):
    """What a population asks of techniques that act while it trains; see ``dosing.py``."""

    noisy: bool  # whether there is any ``noise``

    def gradients(
        self, trained: "Population", hidden: list[Tensor]
    ) -> Iterable[tuple[slice, Sequence[Tensor | None], Sequence[Tensor | None]]]:
        """The penalties of a step: the arms of each, and its gradients.

        hidden: the activations of the hidden layers, [S, A, units, batch]. Gradients are by
        weights[l] [S, arms, out, in] and by hidden[l] [S, arms, units, batch], of the penalty of
        each network; None where there is none.
        """
        ...

    def after_step(self, trained: "Population") -> None:
        """Changes ``trained.weights`` in place, after the update; called once before training, too,
        when ``trained.steps`` is 0, to see where the weights start."""
        ...

    def noise(self, l: int, h: Tensor) -> None:
        """Multiplies the activations of hidden layer l, [S, A, units, batch], in place, by what is
        drawn for this step; and their gradients by the same when called with them."""
        ...


class Population:
    """S × A networks that train together.

    Args:
        networks: S lists (one per seed) of A networks (one per arm), as made by ``network``, of
            equal sizes. Their weights are copied, and their dtype is the population's.
        optimizer: of all of them.
        activation: the name of the activation that the networks have.
        device: where to train.
        techniques: what acts on some arms in the course of a step, see ``Techniques``.

    ``weights[l]`` is [S, A, out, in] and ``biases[l]`` [S, A, out], views of one flat buffer of
    parameters: first the weights of all layers, then the biases of all layers.
    """

    def __init__(
        self,
        networks: Sequence[Sequence[nn.Sequential]],
        optimizer: Optimizer,
        activation: str = "relu",
        device: str | torch.device = "cpu",
        techniques: Techniques | None = None,
    ):
        choose("activation", activation, ACTIVATIONS)
        layers = [[_linear(net, activation) for net in row] for row in networks]
        if not layers or not layers[0]:
            raise ValueError("a population has one network at least: pass [[network(sizes)]]")
        self.seeds, self.arms = len(layers), len(layers[0])
        self.sizes = _sizes(layers[0][0])
        for row in layers:
            found = [_sizes(net) for net in row]
            if len(row) != self.arms or set(found) != {self.sizes}:
                raise ValueError(
                    f"all networks of a population have the same sizes, here {self.sizes}, and all "
                    f"seeds the same number of arms, here {self.arms}; got {found}"
                )
        self.optimizer, self.activation = optimizer, activation
        self.device, self.techniques = torch.device(device), techniques or None
        if self.techniques is not None and self.techniques.noisy and activation == "tanh":
            raise ValueError("tanh, whose slope is told by its output, takes no noise; choose relu")
        self.steps = 0
        self._parameters(layers)
        self._operands()
        if self.techniques is not None:
            self.techniques.after_step(self)

    def _parameters(self, layers: list[list[list[nn.Linear]]]) -> None:
        """The flat buffers of parameters, gradients and moments, and their views."""
        size = sum(o * i + o for i, o in zip(self.sizes, self.sizes[1:]))
        self._flat = torch.zeros(
            self.seeds * self.arms * size, device=self.device, dtype=layers[0][0][0].weight.dtype
        )
        self.weights, self.biases = self._views(self._flat)
        for l, (w, b) in enumerate(zip(self.weights, self.biases)):
            for s, row in enumerate(layers):
                for a, net in enumerate(row):
                    w[s, a].copy_(net[l].weight.detach())
                    b[s, a].copy_(net[l].bias.detach())
        # plain SGD needs no gradient buffer: its products go right into the weights
        self._direct = self.optimizer.name == "sgd"
        self._grad = self._flat if self._direct else torch.zeros_like(self._flat)
        self._grads = self._views(self._grad)
        self._state = [] if self._direct else [torch.zeros_like(self._flat) for _ in range(2)]
        muon = self.optimizer.name == "muon"
        self._momenta = [torch.zeros_like(w) for w in self.weights[:-1]] if muon else []
        self._step = torch.zeros((), dtype=torch.float32, device=self.device)

    def _operands(self) -> None:
        """What the products of a step take, made once."""

        def rows(parts):
            return [self._rows(l, p) for l, p in enumerate(parts)]

        self._w, self._b, self._targets = (
            rows(self.weights),
            rows(self.biases),
            rows(self._grads[0]),
        )
        self._turned = [w.transpose(1, 2) for w in self._w]
        self._all_biases = self._grad[-self.seeds * self.arms * sum(self.sizes[1:]) :]
        self._classes = torch.arange(self.sizes[-1], device=self.device).view(-1, 1)
        self._kept: dict[int, _Workspace] = {}  # by the size of the mini-batch

    def _views(self, flat: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        layers = list(zip(self.sizes[1:], self.sizes))
        shapes = [(self.seeds, self.arms, *s) for s in (*layers, *[(o,) for o, _ in layers])]
        parts = flat.split([math.prod(shape) for shape in shapes])
        views = [part.view(shape) for part, shape in zip(parts, shapes)]
        return views[: len(layers)], views[len(layers) :]

    def _rows(self, l: int, p: Tensor) -> Tensor:
        """Layer l's weights [S, A, out, in] as its product takes them, [S, A·out, in] for the first
        layer and [S·A, out, in] for the others; biases [S, A, out] likewise, with in = 1.
        """
        inputs = p.shape[3] if p.dim() == 4 else 1
        return p.view(self.seeds * (self.arms if l else 1), -1, inputs)

    def buffers(self, batch: int) -> tuple[Tensor, list[Tensor]]:
        """Room for a number per unit and input, [units of all, batch], and its views by layer,
        [S·A, units, batch]."""
        units = [self.seeds * self.arms * size for size in self.sizes[1:]]
        whole = self._flat.new_empty(sum(units), batch)
        return whole, [p.view(self.seeds * self.arms, -1, batch) for p in whole.split(units)]

    def moments(self) -> list[tuple[list[Tensor], list[Tensor]]]:
        """Adam's two moments in the form of (weights, biases), views; none for SGD."""
        return [self._views(state) for state in self._state]

    @property
    def parameters_per_network(self) -> int:
        """Weights and biases of one network."""
        return self._flat.numel() // (self.seeds * self.arms)

    def member(self, seed: int, arm: int) -> nn.Sequential:
        """A copy of one network, as a plain module."""
        net = network(self.sizes, self.activation).to(self._flat.dtype)
        linear = [m for m in net if isinstance(m, nn.Linear)]
        with torch.no_grad():
            for layer, w, b in zip(linear, self.weights, self.biases):
                layer.weight.copy_(w[seed, arm])
                layer.bias.copy_(b[seed, arm])
        return net

    def select(self, arms: Sequence[int]) -> "Population":
        """A copy of some arms, to look at: without techniques, its optimizer at the start."""
        chosen = [[self.member(s, a) for a in arms] for s in range(self.seeds)]
        return Population(chosen, self.optimizer, self.activation, self.device)

    @torch.no_grad()
    def forward(
        self, x: Tensor, out: list[Tensor] | None = None, noise: Noise | None = None
    ) -> list[Tensor]:
        """The outputs of all layers, hidden ones after the activation, each [S·A, units, batch].

        x: [S, batch, inputs], one mini-batch per seed, or [1, batch, inputs], the same for all.
        out: tensors to leave the outputs in. noise: what changes activations in place, a function
        of the layer and of them.
        """
        rows, batch, inputs = x.shape
        out = out or self.buffers(batch)[1]
        # one product per seed, of all units of its arms; or one altogether
        w, b = self._w[0].view(rows, -1, inputs), self._b[0].view(rows, -1, 1)
        torch.baddbmm(b, w, x.transpose(1, 2), out=out[0].view(rows, -1, batch))
        if len(out) > 1:
            self.onward(0, self._activated(0, out[0], noise), out[1:], noise)
        return out

    def _activated(self, l: int, h: Tensor, noise: Noise | None) -> Tensor:
        _FORWARD_[self.activation](h)
        if noise is not None:
            noise(l, h)
        return h

    @torch.no_grad()
    def onward(
        self, l: int, h: Tensor, out: list[Tensor] | None = None, noise: Noise | None = None
    ) -> list[Tensor]:
        """The outputs of the layers after l, from its activations h, [S·A, units, batch]."""
        out = out or self.buffers(h.shape[2])[1][l + 1 :]
        for k, (w, b) in enumerate(zip(self._w[l + 1 :], self._b[l + 1 :])):
            below = h if k == 0 else self._activated(l + k, out[k - 1], noise)
            torch.baddbmm(b, w, below, out=out[k])
        return out

    @torch.no_grad()
    def activations(self, x: Tensor, arms: slice) -> list[Tensor]:
        """The activations of the hidden layers of some arms on x [inputs, pixels], each
        [S, arms, units, inputs]."""
        found = [x.T]
        for w, b in zip(self.weights[:-1], self.biases):
            pre = w[:, arms] @ found[-1] + b[:, arms].unsqueeze(-1)
            found.append(_FORWARD_[self.activation](pre))
        return found[1:]

    @torch.no_grad()
    def step(self, x: Tensor, y: Tensor) -> None:
        """One update by the mean cross-entropy. x: [S, batch, inputs]; y: [S, batch], classes.

        Of each network, with h₀ = x and the activation f (not after the last layer):

            forward    z_l = W_l h_{l−1} + b_l,   h_l = f(z_l)
            backward   δ_L = softmax(z_L) − one-hot(y),   δ_{l−1} = f′(z_{l−1}) ⊙ W_lᵀ δ_l
            gradients  ∂W_l = δ_l h_{l−1}ᵀ / batch,   ∂b_l = Σ δ_l / batch

        and the gradients of penalties, by hidden activations and by weights, are added where those
        of the cross-entropy arise. A gradient is kept for Adam, or applied right away for SGD.
        """
        batch = x.shape[1]
        if batch not in self._kept:
            self._kept[batch] = _Workspace(self, batch)
        kept = self._kept[batch]
        noise = self._noise()
        *hidden, logits = self.forward(x, kept.outputs, noise)
        penalties = self._penalties(hidden)

        torch.softmax(logits, 1, out=kept.deltas[-1])
        torch.eq(y.view(self.seeds, 1, 1, batch), self._classes, out=kept.one_hot)  # as numbers
        kept.last_delta -= kept.one_hot
        beta, alpha = (1, -self.optimizer.lr / batch) if self._direct else (0, 1 / batch)
        for l in reversed(range(1, len(kept.deltas))):
            delta, h = kept.deltas[l], kept.turned[l - 1]
            below = torch.bmm(self._turned[l], delta, out=kept.deltas[l - 1])  # by the old weights
            self._targets[l].baddbmm_(delta, h, beta=beta, alpha=alpha)
            for arms, _, by_hidden in penalties:
                if by_hidden[l - 1] is not None:
                    kept.by_arm(below)[:, arms].add_(by_hidden[l - 1], alpha=batch)
            if noise is not None:
                noise(l - 1, below)
            _BACKWARD_[self.activation](below, hidden[l - 1])
        self._targets[0].baddbmm_(kept.first_delta, x, beta=beta, alpha=alpha)
        self._all_biases.addmv_(kept.all_deltas, kept.ones, beta=beta, alpha=alpha)
        for arms, by_weights, _ in penalties:
            for target, gradient in zip(self._grads[0], by_weights):
                if gradient is not None:
                    target[:, arms].add_(gradient, alpha=alpha * batch)

        if self._momenta:
            self._muon()
        elif not self._direct:
            self._adam()
        self.steps += 1
        if self.techniques is not None:
            self.techniques.after_step(self)

    def _noise(self) -> Noise | None:
        """What changes activations in training, where a technique does."""
        acting = self.techniques
        if acting is None or not acting.noisy:
            return None
        return lambda l, h: acting.noise(l, h.view(self.seeds, self.arms, *h.shape[1:]))

    def _penalties(self, hidden: list[Tensor]) -> list:
        """Per penalty of this step: its arms, and its gradients by weights and by hidden."""
        if self.techniques is None:
            return []
        by_arm = [h.view(self.seeds, self.arms, *h.shape[1:]) for h in hidden]
        return list(self.techniques.gradients(self, by_arm))

    def _adam(self) -> None:
        adam_(self.optimizer, self._flat, self._grad, self._state, self._step)

    def _muon(self) -> None:
        """Adam, then the hidden layers' weights as Muon moves them (Jordan et al. 2024), from where
        they were."""
        before = [w.clone() for w in self.weights[:-1]]
        self._adam()
        for w, old, gradient, momentum in zip(self.weights, before, self._grads[0], self._momenta):
            momentum.lerp_(gradient, 1 - MOMENTUM)
            update = orthogonalized(gradient.lerp(momentum, MOMENTUM))
            w.copy_(old.sub_(update, alpha=0.2 * max(w.shape[-2:]) ** 0.5 * self.optimizer.lr))

    @torch.no_grad()
    def evaluate(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """(accuracy, mean cross-entropy), each float64 [S, A], of x [inputs, pixels] and y
        [inputs].

        An input with non-finite outputs counts as wrong, so a network that has diverged is right
        nowhere; its cross-entropy is not finite.
        """
        right = torch.zeros(self.seeds * self.arms, dtype=torch.float64, device=self.device)
        loss = torch.zeros_like(right)
        for block, truth in zip(x.split(EVALUATION_BLOCK), y.split(EVALUATION_BLOCK)):
            logits = self.forward(block.unsqueeze(0))[-1]  # [S·A, classes, block]
            right += correct(logits, truth).sum(1)
            each = F.cross_entropy(logits, truth.expand(len(logits), -1), reduction="none")
            loss += each.sum(1, dtype=torch.float64)
        shape = (self.seeds, self.arms)
        return (right / len(x)).view(shape), (loss / len(x)).view(shape)


class _Workspace:
    """What a step with mini-batches of one size writes to, and the views its products take.

    outputs: of every layer, [S·A, units, batch], and turned, the same as [S·A, batch, units].
    deltas: the gradients of the sum of the cross-entropies by every layer's outputs before the
    activation, [S·A, units, batch]; all_deltas, the same as one, [units of all, batch];
    first_delta as [S, A·units, batch] and last_delta as [S, A, classes, batch].
    """

    def __init__(self, population: Population, batch: int):
        S, A = population.seeds, population.arms
        self.outputs = population.buffers(batch)[1]
        self.turned = [h.transpose(1, 2) for h in self.outputs]
        self.all_deltas, self.deltas = population.buffers(batch)
        self.by_arm = lambda values: values.view(S, A, -1, batch)
        self.first_delta = self.deltas[0].view(S, -1, batch)
        self.last_delta = self.by_arm(self.deltas[-1])
        self.one_hot = self.last_delta.new_empty(S, 1, population.sizes[-1], batch)
        self.ones = self.last_delta.new_ones(batch)


def adam_(
    o: Optimizer, parameters: Tensor, gradient: Tensor, moments: list[Tensor], step: Tensor
) -> None:
    """One update of ``torch.optim.Adam``, in place, of flat parameters and both moments; step: how
    many there were."""
    step += 1
    torch._fused_adam_(
        *([parameters], [gradient], moments[:1], moments[1:], [], [step]),
        lr=o.lr, beta1=o.betas[0], beta2=o.betas[1], weight_decay=0.0, eps=o.eps,
        amsgrad=False, maximize=False,
    )  # fmt: skip


def orthogonalized(gradient: Tensor) -> Tensor:
    """What Muon makes of a gradient, [..., out, in]: its singular values go through five steps of
    a quintic that takes them near 1."""
    tall = gradient.shape[-2] > gradient.shape[-1]
    x = gradient.mT if tall else gradient
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp_min(1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.mT if tall else x


def _linear(net: nn.Sequential, activation: str) -> list[nn.Linear]:
    """The linear layers of a network that has nothing else but the activation between them."""
    between, layers = ACTIVATIONS[activation](), [*net]
    kinds = [(nn.Linear, None), (type(between), getattr(between, "negative_slope", None))]
    found = [(type(m), getattr(m, "negative_slope", None)) for m in layers]
    if found != kinds * (len(net) // 2) + kinds[:1] or None in [m.bias for m in layers[::2]]:
        raise ValueError(
            f"a population takes networks as network(sizes, {activation!r}) makes them, linear "
            f"layers with biases and {between} between; not {net}"
        )
    return layers[::2]


def _sizes(linear: Sequence[nn.Linear]) -> tuple[int, ...]:
    return (linear[0].in_features, *(m.out_features for m in linear))


def correct(logits: Tensor, y: Tensor) -> Tensor:
    """Which inputs are classified rightly, [networks, inputs]: one with non-finite logits is not.

    logits: [networks, classes, inputs]; y: [inputs].
    """
    # max is 5 times as fast as argmax here
    return (logits.max(1).indices == y) & logits.sum(1).isfinite()


# ------------------------------------------------------------------------------------- training
def orders(seeds: Sequence[int], samples: int) -> Iterator[Tensor]:
    """Per epoch, the order in which each seed sees the samples, [S, samples], on the CPU."""
    generators = [streams.generator("order", seed) for seed in seeds]
    while True:
        yield torch.stack([torch.randperm(samples, generator=g) for g in generators])


def steps_per_epoch(samples: int, batch: int) -> int:
    """Mini-batches of an epoch; the last one may be smaller."""
    return -(-samples // batch)


def train(
    population: Population,
    x: Tensor,
    y: Tensor,
    seeds: Sequence[int],
    batch: int,
    epochs: int,
    pauses: Collection[int] = (),
) -> Iterator[int]:
    """Train for some epochs, and yield the number of steps done, for the caller to measure: 0
    (before training), the ``pauses``, and the end of each epoch.

    x: [samples, inputs]; y: [samples]. Each seed goes through all samples once per epoch in its own
    order.
    """
    if len(seeds) != population.seeds:
        raise ValueError(f"the population has {population.seeds} seeds, not {len(seeds)}")
    inputs, *_, classes = population.sizes
    least, most = (y.min().item(), y.max().item()) if len(y) else (0, -1)
    fit = x.dim() == 2 and x.shape[1] == inputs and y.shape == x.shape[:1] and batch >= 1
    if not fit or y.is_floating_point() or not 0 <= least <= most < classes:
        raise ValueError(
            f"x is [samples, {inputs}], y [samples], classes from 0 to {classes - 1}, and batch at "
            f"least 1; not {[*x.shape]}, {[*y.shape]} of {y.dtype} from {least} to {most}, {batch}"
        )
    S, samples, done = len(seeds), len(x), 0
    buffer = x.new_empty(S * batch, x.shape[1])

    def advance(index: Tensor, labels: Tensor) -> None:
        gathered = torch.index_select(x, 0, index.reshape(-1), out=buffer[: index.numel()])
        population.step(gathered.view(S, -1, x.shape[1]), labels)

    if _recordable(population):
        advance = _replaying(advance, population, (S, batch))
    yield done
    for _, order in zip(range(epochs), orders(seeds, samples)):
        order = order.to(x.device)
        labels = y[order]
        for start in range(0, samples, batch):
            advance(order[:, start : start + batch], labels[:, start : start + batch])
            done += 1
            if done in pauses and start + batch < samples:
                yield done
        yield done


# --------------------------------------------------------------------------------- CUDA graphs
def _recordable(population: Population) -> bool:
    """On a GPU, but for techniques, which ask the CPU as they go, and threads, which must not
    record side by side."""
    main = threading.current_thread() is threading.main_thread()
    return population.device.type == "cuda" and population.techniques is None and main


def _replaying(
    advance: Callable[[Tensor, Tensor], None], population: Population, shape: tuple[int, int]
) -> Callable:
    """``advance``, whose whole mini-batches replay a CUDA graph: to launch small kernels takes
    longer than they do."""
    # what the graph reads
    index, labels = torch.zeros(2, *shape, dtype=torch.long, device=population.device)
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
        # to record counts a step and does nothing, to replay does one and counts nothing
        population.steps = steps + 1

    return advance_or_replay


class _Graph:
    """Work on a GPU that is recorded once, and replayed. Libraries set themselves up in steps
    before it, on the same stream."""

    def __init__(self, device: torch.device):
        self.graph, self.stream = torch.cuda.CUDAGraph(), torch.cuda.Stream(device)

    def warm_up(self, work: Callable[[], None]) -> None:
        current = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            work()
        current.wait_stream(self.stream)

    def record(self, work: Callable[[], None]) -> None:
        graph = torch.cuda.graph(self.graph, stream=self.stream)
        with torch.cuda.device(self.stream.device), graph:
            work()

    def replay(self) -> None:
        with torch.cuda.device(self.stream.device):
            self.graph.replay()
