"""Five common networks on small images, and what a start does to their first steps."""

from collections.abc import Callable, Iterator

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import dndiv
from dndiv import streams
from dndiv.checks import choose
from dndiv.paper import data, effects

BATCH = 32
RATES = {"sgd": (torch.optim.SGD, 0.01), "adam": (torch.optim.Adam, 0.001)}
HOW = {
    "as it is": lambda net, images: net,
    "balanced": lambda net, images: dndiv.decorrelate_(net, inputs=images),
}


class Transformer(nn.Module):
    """The rows of an image of 8×8 as tokens, two encoder layers, the mean of their outputs."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(24, 32)
        self.place = nn.Parameter(0.02 * torch.randn(8, 32))
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 2
        )
        self.head = nn.Linear(32, 10)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.embed(images.transpose(1, 2).flatten(2)) + self.place
        return self.head(self.encoder(tokens).mean(1))


def perceptron() -> nn.Module:
    hidden = [m for k in range(2) for m in (nn.Linear(32, 32), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 32), nn.ReLU(), *hidden, nn.Linear(32, 10))


def convolutional(norm: type[nn.Module] = nn.Identity) -> nn.Module:
    layers = [
        m
        for c, k in ((3, 16), (16, 32), (32, 32))
        for m in (nn.Conv2d(c, k, 3, padding=1), norm(k), nn.ReLU())
    ]
    return nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(512, 10))


def resnet() -> nn.Module:
    """ResNet-18 without its first pooling, which would leave nothing of small images."""
    from torchvision.models import resnet18  # seconds to load

    net = resnet18(num_classes=10)
    net.maxpool = nn.Identity()
    return net


NETWORKS = {
    "perceptron": perceptron,
    "CNN": convolutional,
    "CNN with batch norm": lambda: convolutional(nn.BatchNorm2d),
    "ResNet-18": resnet,
    "Transformer": Transformer,
}


def _images(flat: Tensor, shape: tuple[int, int]) -> Tensor:
    """Flat grey images as [images, 3, height, width]."""
    return flat.view(-1, 1, *shape).expand(-1, 3, -1, -1)


def _steps(name: str, how: str, seed: int, optimizer: str) -> Iterator[tuple[nn.Module, float]]:
    """(the network, its loss on the batch of the step), epoch by epoch, without end."""
    choose("network", name, NETWORKS)
    choose("start", how, HOW)
    digits = data.load("Digits")
    images = _images(digits.x_train, digits.shape)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = NETWORKS[name]()
    HOW[how](net, images[:256])
    kind, rate = RATES[optimizer]
    training = kind(net.parameters(), rate)
    generator = streams.generator("order", seed)
    while True:
        for chosen in torch.randperm(len(images), generator=generator).split(BATCH)[:-1]:
            loss = F.cross_entropy(net(images[chosen]), digits.y_train[chosen])
            training.zero_grad()
            loss.backward()
            training.step()
            yield net, loss.item()


def losses(name: str, how: str, seed: int, optimizer: str, steps: int) -> float:
    """The mean training loss of the first steps."""
    training = _steps(name, how, seed, optimizer)
    return sum(next(training)[1] for _ in range(steps)) / steps


def accuracy(name: str, how: str, seed: int, optimizer: str) -> float:
    """The test accuracy after the first epoch."""
    digits = data.load("Digits")
    training = _steps(name, how, seed, optimizer)
    for _ in range(len(digits.x_train) // BATCH):
        net, _ = next(training)
    with torch.no_grad():
        right = net.eval()(_images(digits.x_test, digits.shape)).argmax(1) == digits.y_test
    return right.double().mean().item()


def compared(value: Callable[[str, str, int], float], seeds: dict[str, int]) -> pd.DataFrame:
    """``value(network, how, seed)`` of balanced networks and of those as they are: the mean of
    each, and the relative effect with its interval, paired by seed. seeds: how many, by network."""
    rows = []
    for name, n in seeds.items():
        given, treated = (
            [value(name, how, seed) for seed in range(n)] for how in ("as it is", "balanced")
        )
        e = effects.effect(treated, given)
        rows.append((name, n, sum(given) / n, sum(treated) / n, e.estimate, e.low, e.high))
    columns = ["network", "n", "as it is", "decorrelate_", "effect", "low", "high"]
    return pd.DataFrame(rows, columns=columns)
