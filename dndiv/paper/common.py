"""Five networks in common use, on small colour images, and their first steps."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import dndiv
from dndiv import streams
from dndiv.paper import data
from dndiv.population import Optimizer

BATCH, SEEN = 32, 256  # images of a mini-batch, and those that a start looks at
CHANNELS = 3
OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
STARTS = {
    "default": lambda net, images: net,
    "balanced": lambda net, images: dndiv.decorrelate_(net, inputs=images),
}


class Transformer(nn.Module):
    """The rows of an image of 8×8 as tokens, two encoder layers, the mean of their outputs."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(24, 32)
        self.place = nn.Parameter(0.02 * torch.randn(8, 32))
        # no dropout, whose masks would be drawn beside the seed's streams
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
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
        for c, k in ((CHANNELS, 16), (16, 32), (32, 32))
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
    "cnn": convolutional,
    "cnn_batch_norm": lambda: convolutional(nn.BatchNorm2d),
    "resnet18": resnet,
    "transformer": Transformer,
}


def as_images(flat: Tensor, shape: tuple[int, int]) -> Tensor:
    """Flat grey images as [images, 3, height, width]."""
    return flat.view(-1, 1, *shape).expand(-1, CHANNELS, -1, -1)


def steps_per_epoch(dataset: data.Dataset) -> int:
    """Whole mini-batches alone: batch norm has no use for a small one."""
    return len(dataset.x_train) // BATCH


def steps(
    name: str, start: str, seed: int, optimizer: Optimizer, dataset: data.Dataset, device: str
) -> Iterator[tuple[nn.Module, float]]:
    """(the network, its loss on the batch of the step), epoch by epoch, without end."""
    images = as_images(dataset.x_train, dataset.shape)
    with torch.random.fork_rng():
        torch.manual_seed(streams.STREAMS["draw"](seed))
        net = NETWORKS[name]()
    STARTS[start](net, images[:SEEN])
    training = OPTIMIZERS[optimizer.name](net.to(device).parameters(), optimizer.lr)
    generator, per_epoch = streams.generator("order", seed), steps_per_epoch(dataset)
    while True:
        order = torch.randperm(len(images), generator=generator)
        for chosen in order.split(BATCH)[:per_epoch]:
            x, y = images[chosen].to(device), dataset.y_train[chosen].to(device)
            loss = F.cross_entropy(net(x), y)
            training.zero_grad()
            loss.backward()
            training.step()
            yield net, loss.item()


def accuracy(net: nn.Module, dataset: data.Dataset) -> float:
    """The share of test images that are classified rightly."""
    device = next(net.parameters()).device
    with torch.no_grad():
        found = net.eval()(as_images(dataset.x_test, dataset.shape).to(device)).argmax(1)
    return (found.cpu() == dataset.y_test).double().mean().item()
