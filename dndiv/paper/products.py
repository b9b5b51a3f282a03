"""What a unit's matrix products take, by its specification alone: their multiply–accumulates, and
so how long they would take at the rate of a large product. What a run needs beyond that, for small
matrices, activations, updates, techniques, starts and measures of diversity, is the rest."""

import math
import statistics
import time
from collections.abc import Sequence

import torch
from torch.utils.flop_counter import FlopCounterMode

from dndiv.paper import common, compute, data, design
from dndiv.paper.design import Common, Convolution, Parity, Training, Unit, hidden_layers
from dndiv.paper.findings import CLASSES, INPUTS, multiplications
from dndiv.paper.names import SERIES
from dndiv.population import Optimizer, steps_per_epoch

IMAGES = {  # for training and for tests
    "MNIST": (60_000, 10_000),
    "FashionMNIST": (60_000, 10_000),
    "Digits": (1437, 360),
    SERIES: (4000, 1000),
}
SIDES = {"MNIST": (28, 28), "FashionMNIST": (28, 28), "Digits": (8, 8)}
SIZE, REPEATS = 1024, 3  # of the large product, and how often it is measured


def rate(device: str = "cpu") -> float:
    """GF/s of a large float32 product on one thread, or on a GPU: the median of several. A tenth of
    a second on a CPU."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    a, b, c = torch.randn(3, SIZE, SIZE, device=device)
    clock = time.perf_counter if device == "cuda" else time.process_time  # as a unit's seconds
    seconds = []
    try:
        for _ in range(REPEATS):
            started = clock()
            torch.mm(a, b, out=c)
            c[0, 0].item()  # waits for a GPU
            seconds.append(clock() - started)
    finally:
        torch.set_num_threads(threads)
    return 2 * SIZE**3 / statistics.median(seconds) / 1e9


def macs(unit: Unit) -> int:
    """The multiply–accumulates of a unit's training, and of its networks' ways through the images
    that they are looked at with. Drawn weights, and Jacobians, count as none; nor does an arm whose
    technique is off, which is not trained."""
    unit = compute.trained_once(unit)
    if isinstance(unit, Training):
        return _training(unit)
    if isinstance(unit, Convolution):
        return _convolution(unit)
    if isinstance(unit, Common):
        return _common(unit)
    return _parity(unit) if isinstance(unit, Parity) else 0


def both_ways(sizes: Sequence[int]) -> int:
    """Of one input's way through layers and back: the gradients of a layer's weights and inputs
    take as much as its outputs; those of the first one's inputs are not needed."""
    return 3 * multiplications(sizes) - sizes[0] * sizes[1]


def _parity(unit: Parity) -> int:
    bits = design.PARITY_BITS[unit.data]
    sizes = (bits, *hidden_layers(unit.setting), 2)
    looks = design.PARITY_STEPS // design.ESCAPE_EVERY + 1
    steps = (design.PARITY_STEPS + 1) * both_ways(sizes)
    return len(unit.arms) * len(unit.seeds) * 2**bits * (steps + looks * multiplications(sizes))


def _training(unit: Training) -> int:
    sizes = (INPUTS[unit.data], *hidden_layers(unit.setting), CLASSES)
    trained_on, tested_on, held = _images(unit)
    per_epoch = steps_per_epoch(trained_on, design.BATCH[unit.data])
    pauses = compute.LOOKS[unit.looks](per_epoch, unit.epochs)
    between = sum(0 < k < unit.epochs * per_epoch and k % per_epoch > 0 for k in {*pauses})
    watched, ends = len(unit.observed or unit.arms), unit.epochs + 1
    ways = {  # inputs that go through all layers, of an arm's network, by what is recorded
        "accuracy": tested_on * (ends * len(unit.arms) + between * watched),
        "accuracy in training": tested_on * (ends - 1 + between) * watched,
        "lesions": (tested_on + held) * watched,
    }
    ways |= dict.fromkeys(("diversity", "layers", "plateau", "portraits"),
                          held * (ends + between) * watched)  # fmt: skip
    found = sum(ways.get(record, 0) for record in unit.records) * multiplications(sizes)
    if "lesions" in unit.records:  # without each unit, through the layers behind it
        behind = (sizes[l] * multiplications(sizes[l:]) for l in range(1, len(sizes) - 1))
        found += tested_on * watched * sum(behind)
    found += unit.epochs * trained_on * len(unit.arms) * both_ways(sizes)
    return len(unit.seeds) * found


def _convolution(unit: Convolution) -> int:
    first, second = design.FILTERS
    sides = SIDES[unit.data]
    half, quarter = (math.prod(-(-side // by) for side in sides) for by in (2, 4))
    entry = 9 * first * half
    forward = entry + 9 * first * second * quarter + second * quarter * CLASSES
    trained_on, tested_on, _ = _images(unit)
    trained = design.EPOCHS * min(trained_on, design.FEW_IMAGES) * (3 * forward - entry)
    tested = (design.EPOCHS + 1) * tested_on * forward
    return len(unit.arms) * len(unit.seeds) * (trained + tested)


def _common(unit: Common) -> int:
    """As PyTorch counts a step, and a way through test images."""
    dataset, optimizer = data.load(unit.data), Optimizer(*design.learning_rate(unit.optimizer))
    with FlopCounterMode(display=False) as step:
        start = design.COMMON_ARMS[0]
        net, _ = next(common.steps(unit.setting, start, 0, optimizer, dataset, "cpu"))
    with FlopCounterMode(display=False) as test:
        common.accuracy(net, dataset)
    flops = common.steps_per_epoch(dataset) * step.get_total_flops() + test.get_total_flops()
    return len(unit.arms) * len(unit.seeds) * flops // 2


def _images(unit: Training | Convolution) -> tuple[int, int, int]:
    """How many images a unit trains on, is tested on, and holds out: as ``compute.parted`` does."""
    training, test = IMAGES[unit.data]
    pool = training // design.TUNING_SHARE
    held = min(design.HELD_OUT, pool // 2)
    return (training - pool, pool - held, held) if unit.tuned else (training - held, test, held)
