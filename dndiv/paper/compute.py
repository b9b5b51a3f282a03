"""How a unit is computed: its networks are trained, and what is recorded of them becomes rows.

``rows(unit, device)`` depends on the specification alone (see ``design.py``); a row has the columns
``names.COLUMNS``.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from dndiv import diversity, init, population, streams
from dndiv.dosing import Dosing
from dndiv.paper import common, convolutions, data, design, registered
from dndiv.paper.arms import Arm, Place
from dndiv.paper.convolutions import Convolutions
from dndiv.paper.design import (
    Common,
    Convolution,
    Directions,
    Parity,
    Training,
    Unit,
    hidden_layers,
)
from dndiv.paper.starts import start_
from dndiv.population import Optimizer, Population
from dndiv.techniques import TECHNIQUES, Dose

Row = tuple  # as long as names.COLUMNS


def rows(unit: Unit, device: str) -> list[Row]:
    """What is recorded of a unit. device: "cpu" or "cuda".

    Arms whose technique is off are the arm without it: trained once, their rows are its rows.
    """
    trained = trained_once(unit)
    found = KINDS[type(unit).__name__](trained, device)
    for arm in unit.arms:
        if arm not in trained.arms:
            plain = str(_plain(arm))
            copied = [row for row in found if row[3] == plain and _of_every_arm(unit, row)]
            found += [(*row[:3], str(arm), *row[4:]) for row in copied]
    return found


def trained_once(unit: Unit) -> Unit:
    """The unit without the arms that are others of its arms, as their technique is off."""
    same = [arm for arm in _off(unit) if _plain(arm) in unit.arms]
    return dataclasses.replace(unit, arms=tuple(arm for arm in unit.arms if arm not in same))


def _off(unit: Unit) -> list[Arm]:
    if isinstance(unit, Directions):
        return []
    return [arm for arm in unit.arms if arm.technique and not coefficient(arm, unit)]


def _plain(arm: Arm) -> Arm:
    return Arm(arm.start, held=arm.held)


def _of_every_arm(unit: Unit, row: Row) -> bool:
    """Plateaus are described by the first arm: of the others accuracy alone is recorded."""
    return row[-2] == "accuracy" or getattr(unit, "records", ("plateau",)) != ("plateau",)


def each(unit: Unit, epoch: float, place: Place = Place(), **measures: Tensor) -> list[Row]:
    """A row per seed, arm and measure, of values [S, A]."""
    return [
        _row(unit, arm, seed, place, epoch, measure, value)
        for measure, values in measures.items()
        for seed, line in zip(unit.seeds, listed(values))
        for arm, value in zip(unit.arms, line)
    ]


def _row(unit, arm, seed, place, epoch, measure, value) -> Row:
    epoch = int(epoch) if epoch == int(epoch) else round(epoch, 6)
    return (
        *(unit.data, unit.setting, unit.optimizer),
        *(str(arm), seed, str(place), epoch, measure, value),
    )


def listed(values: Tensor) -> list:
    """``tolist`` with the digits of the values' precision: 0.1 for the float32 next to it."""
    return values.cpu().numpy().astype(str).astype(float).tolist()


# ------------------------------------------------------------------------------------- training
def networks(unit: Unit, sizes: Sequence[int], inputs: Callable[[int], Tensor]) -> list[list]:
    """Per seed, a network per arm, from the same draw; arms that start alike share one.

    inputs: what data-aware starts look at, by seed.
    """

    def started(start, seed):
        net = population.network(sizes, design.activation(unit.setting))
        return start_(net, start, inputs(seed), streams.generator("draw", seed))

    found = []
    for seed in unit.seeds:
        made = {start: started(start, seed) for start in dict.fromkeys(a.start for a in unit.arms)}
        found.append([made[arm.start] for arm in unit.arms])
    return found


def _training(unit: Training, device: str) -> list[Row]:
    dataset = parted(data.load(unit.data), unit.tuned)
    sizes = (dataset.x_train.shape[1], *hidden_layers(unit.setting), len(dataset.classes))

    def first_seen(seed):
        order = next(population.orders([seed], len(dataset.x_train)))[0]
        return dataset.x_train[order[: design.INIT_BATCH]]

    here, batch = dataset.to(device), design.BATCH[unit.data]
    per_epoch = population.steps_per_epoch(len(here.x_train), batch)
    trained = Population(
        networks(unit, sizes, cache(first_seen)),
        Optimizer(*design.learning_rate(unit.optimizer)),
        design.activation(unit.setting),
        device,
        techniques=_dosing(unit, per_epoch, here.x_train[: design.INIT_BATCH]),
    )
    looks = LOOKS[unit.looks](per_epoch, unit.epochs)
    course = (trained, here.x_train, here.y_train, unit.seeds, batch, unit.epochs, looks)
    found = []
    for step in population.train(*course):
        found += recorded(unit, trained, here, step / per_epoch)
    return found


def parted(whole: data.Dataset, tuned: bool = False) -> data.Dataset:
    """The data set with some training images held out, always the same: on ``HELD_OUT`` of them
    diversity is measured. What is tuned is tested on others, in place of the test images, and does
    not train on those either."""
    x, y = whole.x_train, whole.y_train
    pool = len(x) // design.TUNING_SHARE
    order = torch.randperm(len(x), generator=streams.generator("held out"))
    held, others, rest = order.tensor_split([min(design.HELD_OUT, pool // 2), pool])
    kept = rest if tuned else torch.cat([others, rest])
    parts = {"x_train": x[kept], "y_train": y[kept], "x_held": x[held], "y_held": y[held]}
    if tuned:
        parts |= {"x_test": x[others], "y_test": y[others]}
    return dataclasses.replace(whole, **parts)


# When networks are looked at, besides the start and the end of each epoch: steps, from the number
# of steps per epoch and of epochs.
LOOKS: dict[str, Callable[[int, int], Sequence[int]]] = {
    "epochs": lambda per_epoch, epochs: (),
    "powers of two": lambda per_epoch, epochs: [
        2**k for k in range(per_epoch.bit_length()) if 2**k < per_epoch
    ],
    "a few early": lambda per_epoch, epochs: [k for k in (8, 64, 512) if k < per_epoch],
    "quarters": lambda per_epoch, epochs: [per_epoch * k // 4 for k in (1, 2, 3)],
    "every few steps": lambda per_epoch, epochs: range(
        design.ESCAPE_EVERY, epochs * per_epoch, design.ESCAPE_EVERY
    ),
}


# ----------------------------------------------------------------------------------- techniques
def _dosing(unit: Training | Parity, per_epoch: int, inputs: Tensor) -> Dosing:
    held = [arm.held for arm in unit.arms]
    return Dosing(doses(unit, per_epoch), unit.seeds, inputs, held, dropout(unit))


def doses(unit: Training | Parity, per_epoch: int) -> list[Dose | None]:
    """The dose of each arm, None where it has no technique. Raises ValueError where no coefficient
    is given or registered."""
    return [
        _dose(arm, unit, per_epoch) if arm.technique not in ("", design.DROPOUT) else None
        for arm in unit.arms
    ]


def dropout(unit: Training | Parity) -> list[float]:
    """The share of units that each arm drops."""
    dropping = [arm.technique == design.DROPOUT for arm in unit.arms]
    return [coefficient(a, unit) if drops else 0.0 for a, drops in zip(unit.arms, dropping)]


def coefficient(arm: Arm, unit: Training | Parity) -> float:
    """The coefficient of an arm's technique: its own, or the registered one; annealing starts from
    the constant one."""
    if arm.coefficient is not None:
        return arm.coefficient
    schedule = "constant" if arm.schedule == "annealed" else arm.schedule
    return registered.coefficient(arm.technique, schedule, unit.setting, unit.optimizer)


def _dose(arm: Arm, unit: Training | Parity, per_epoch: int) -> Dose:
    every = design.PENALTY_EVERY if TECHNIQUES[arm.technique].penalty else 0
    annealed_over = design.ANNEALED_EPOCHS * per_epoch
    return Dose(arm.technique, coefficient(arm, unit), arm.schedule, annealed_over, every)


# ------------------------------------------------------------------------------ what is recorded
def recorded(unit: Training, trained: Population, here: data.Dataset, epoch: float) -> list[Row]:
    """The rows of one look at the networks of a unit.

    Between the ends of epochs, and for what is measured of neurons, only the observed arms count.
    """
    seen, watched = (unit, trained), (unit, trained)
    if unit.observed:
        chosen = [unit.arms.index(a) for a in unit.observed]
        watched = dataclasses.replace(unit, arms=unit.observed), trained.select(chosen)
    if epoch != int(epoch):
        seen = watched
    found = []
    for record in unit.records:
        of, networks = seen if record == "accuracy" else watched
        found += RECORDS[record](of, networks, here, epoch)
    return found


def _accuracy(unit, trained, here, epoch):
    accuracy, loss = trained.evaluate(here.x_test, here.y_test)
    return each(unit, epoch, accuracy=accuracy, loss=loss)


def _accuracy_in_training(unit, trained, here, epoch):
    """Of tuning: accuracy alone, and not before training."""
    if not epoch:
        return []
    return each(unit, epoch, accuracy=trained.evaluate(here.x_test, here.y_test)[0])


def _by_arm(trained: Population, values: Tensor) -> Tensor:
    """[S·A, …] as [S, A, …]."""
    return values.view(trained.seeds, trained.arms, *values.shape[1:])


def _diversity(unit, trained, here, epoch):
    """Per hidden layer (1, 2, …): similarity of weight rows, correlation of activations, rank, dead
    and duplicate units, log-volume where units ≤ fan-in. Of the last one's neurons as an ensemble,
    on squared error: ``ensemble``, ``member``, ``ambiguity``; and over the runs of the unit, under
    its first seed, ``bias``, ``variance``, ``covariance``."""
    found = []
    x, y = here.x_held, here.y_held
    *hidden, _ = trained.forward(x.unsqueeze(0))
    for layer, (w, h) in enumerate(zip(trained.weights, hidden), 1):
        h = _by_arm(trained, h)
        similar, correlated = diversity.weight_similarity(w), diversity.activation_correlation(h)
        measures = {
            "similarity": similar["mean"],
            "max_similarity": similar["max"],
            "cosine": similar["signed"],
            "correlation": correlated["mean"],
            "max_correlation": correlated["max"],
            "signed_correlation": correlated["signed"],
            "constant": correlated["left_out"],
            "effective_rank": diversity.effective_rank(h),
            "participation_ratio": diversity.participation_ratio(h),
            "dead": diversity.dead_fraction(h),
            "duplicates": diversity.duplicate_fraction(h),
        }
        if w.shape[-2] <= w.shape[-1]:
            measures["log_volume"] = diversity.log_volume(w)
        found += each(unit, epoch, Place(layer), **measures)
    if h.shape[2] <= design.ENSEMBLE_UNITS:
        target = F.one_hot(y, len(here.classes)).T.to(h.dtype)
        members = diversity.ensemble_members(h, trained.weights[-1], trained.biases[-1])
        found += each(unit, epoch, Place(layer), **diversity.ambiguity(members, target))
        for a, arm in enumerate(unit.arms if len(unit.seeds) > 1 else ()):
            over_runs = diversity.bias_variance_covariance(members[:, a], target)
            for measure, value in over_runs.items():
                row = (arm, unit.seeds[0], Place(layer), epoch, measure, value.item())
                found.append(_row(unit, *row))
    return found


def _lesions(unit, trained, here, epoch):
    """After training, per unit (place 2.7 for unit 7 of layer 2): ``lesion``, the test accuracy
    lost without it, and ``nearest``, its largest |correlation| with another unit of its layer."""
    if epoch != unit.epochs:
        return []

    def accuracy(logits):
        return population.correct(logits, here.y_test).double().mean(1)

    found = []
    *held_out, _ = trained.forward(here.x_held.unsqueeze(0))
    *activations, logits = trained.forward(here.x_test.unsqueeze(0))
    whole = accuracy(logits)
    for l, h in enumerate(activations):
        nearest = diversity.nearest_similarity(_by_arm(trained, held_out[l]))
        for k in range(h.shape[1]):
            kept = h[:, k].clone()
            h[:, k] = 0  # the layers behind it hear nothing of the unit
            lost = _by_arm(trained, whole - accuracy(trained.onward(l, h)[-1]))
            h[:, k] = kept
            measures = {"lesion": lost, "nearest": nearest[..., k]}
            found += each(unit, epoch, Place(l + 1, k), **measures)
    return found


def _portraits(unit, trained, here, epoch):
    """What neurons of one hidden layer look like, in the networks of the first arm whose units are
    least and most correlated in the end: ``weight`` (place 1.7.300 for pixel 300 of unit 7), and
    ``pair``, the correlation of two units (1.7.3); pairs also of the first seed at every look."""
    found, first = [], dataclasses.replace(unit, arms=unit.arms[:1])
    x = here.x_held
    h = _by_arm(trained, trained.forward(x.unsqueeze(0))[0])[:, 0]

    def add(measure, s, matrix):
        for i, row in enumerate(listed(matrix)):
            for j, value in enumerate(row):
                of = (first.arms[0], unit.seeds[s], Place(1, i, j), epoch, measure, value)
                found.append(_row(unit, *of))

    shown = {0}
    if epoch == unit.epochs:
        mean = diversity.activation_correlation(h)["mean"].nan_to_num(1)
        chosen = int(mean.argmin()), int(mean.argmax())
        shown |= set(chosen)
        for s in chosen:
            add("weight", s, trained.weights[0][s, 0])
    correlation = diversity.correlation_matrix(h)[0]
    for s in sorted(shown):
        add("pair", s, correlation[s])
    return found


def _images(unit, trained, here, epoch):
    """Of the data, under the first arm and seed, before training: the first training images of
    every class, as networks see them, ``pixel`` (place 3.1.300 for pixel 300 of image 1 of class
    3); and how many ``training`` and ``test`` images there are, and the ``raw_mean`` and
    ``raw_std`` that pixels were scaled by."""
    found: list[Row] = []
    if epoch:
        return found

    def add(measure, value, place=Place()):
        found.append(_row(unit, unit.arms[0], unit.seeds[0], place, epoch, measure, value))

    add("training", float(len(here.x_train) + len(here.x_held)))
    add("test", float(len(here.x_test)))
    add("raw_mean", here.mean)
    add("raw_std", here.std)
    for label in range(len(here.classes)):
        for k, image in enumerate(listed(here.x_train[here.y_train == label][: design.SHOWN])):
            for j, value in enumerate(image):
                add("pixel", value, Place(label, k, j))
    return found


def _layers(unit, trained, here, epoch):
    """Per hidden layer four measures of its diversity, of all arms."""
    found = []
    *hidden, _ = trained.forward(here.x_held.unsqueeze(0))
    for layer, (w, h) in enumerate(zip(trained.weights, hidden), 1):
        h = _by_arm(trained, h)
        measures = {
            "similarity": diversity.weight_similarity(w)["mean"],
            "correlation": diversity.activation_correlation(h)["mean"],
            "effective_rank": diversity.effective_rank(h),
            "dead": diversity.dead_fraction(h),
        }
        found += each(unit, epoch, Place(layer), **measures)
    return found


def _plateau(unit, trained, here, epoch):
    """Accuracy on held-out inputs; and of the first arm what a plateau is made of: ``loss``, and
    per hidden layer ``dead`` and ``duplicates``."""
    x, y = here.x_held, here.y_held
    *hidden, logits = trained.forward(x.unsqueeze(0))
    right = population.correct(logits, y).double().mean(1)
    first = _by_arm(trained, logits)[:, 0]
    loss = F.cross_entropy(first, y.expand(len(first), -1), reduction="none").mean(1)
    found = each(unit, epoch, accuracy=_by_arm(trained, right))
    found += each(unit, epoch, loss=loss.unsqueeze(1))
    for layer, h in enumerate(hidden, 1):
        h = _by_arm(trained, h)[:, :1]
        measures = {
            "dead": diversity.dead_fraction(h),
            "duplicates": diversity.duplicate_fraction(h),
        }
        found += each(unit, epoch, Place(layer), **measures)
    return found


def _signals(unit, trained, here, epoch):
    """Of untrained networks, what may foretell where a start helps, over held-out inputs: ``dead``,
    the share of hidden layers that are silent on all of them; ``cosine``, the mean cosine of two
    inputs' signals in the last hidden layer; ``gain``, the mean logarithm of the singular values of
    the logits by the inputs, where one below 1e-12 counts as that, so that lost dimensions lower
    it; and ``spread``, the logarithm of the largest less that mean."""
    if epoch:
        return []
    x = here.x_held[: design.JACOBIANS]
    *hidden, _ = trained.forward(here.x_held.unsqueeze(0))
    dead = torch.stack([~h.flatten(1).any(1) for h in hidden]).double().mean(0)
    signals = F.normalize(hidden[-1].double(), dim=1)  # [S·A, units, inputs]
    n = signals.shape[2]
    cosine = (signals.sum(2).square().sum(1) - signals.square().sum((1, 2))) / (n * (n - 1))
    logs = _singular_values(trained, x).clamp_min(1e-12).log()  # [S·A, inputs, classes]
    largest, gain = logs.amax(-1).mean(1), logs.mean((1, 2))
    measures = {"dead": dead, "cosine": cosine, "gain": gain, "spread": largest - gain}
    return each(unit, epoch, **{name: _by_arm(trained, v) for name, v in measures.items()})


def _singular_values(trained: Population, x: Tensor) -> Tensor:
    """Of the Jacobians of the logits by the inputs x, [S·A, inputs, classes]."""
    found = []
    for s in range(trained.seeds):
        for a in range(trained.arms):
            net = trained.member(s, a).to(x.device)
            jacobian = torch.func.vmap(torch.func.jacrev(net))(x).detach()
            found.append(torch.linalg.svdvals(jacobian.double()))
    return torch.stack(found)


RECORDS: dict[str, Callable] = {
    "accuracy": _accuracy,
    "accuracy in training": _accuracy_in_training,
    "diversity": _diversity,
    "lesions": _lesions,
    "portraits": _portraits,
    "images": _images,
    "layers": _layers,
    "plateau": _plateau,
    "signals": _signals,
}


# --------------------------------------------------------------------------------- other units
def _parity(unit: Parity, device: str) -> list[Row]:
    """``accuracy`` on all inputs at every ``ESCAPE_EVERY`` steps, and ``loss`` of the first arm."""
    bits = design.PARITY_BITS[unit.data]
    x = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * bits)  # [2^bits, bits]
    y = (x.prod(1) > 0).long()
    sizes = (bits, *hidden_layers(unit.setting), 2)
    nets = networks(unit, sizes, lambda seed: x)
    x, y = x.to(device), y.to(device)
    trained = Population(
        nets,
        Optimizer(unit.optimizer, design.PARITY_LR),
        device=device,
        techniques=_dosing(unit, design.PARITY_STEPS // 5, x),
    )
    inputs, classes = x.expand(len(unit.seeds), -1, -1).contiguous(), y.expand(len(unit.seeds), -1)
    found = []
    for step in range(design.PARITY_STEPS + 1):
        if step % design.ESCAPE_EVERY == 0:
            accuracy, loss = trained.evaluate(x, y)
            found += each(unit, step, accuracy=accuracy) + each(unit, step, loss=loss[:, :1])
        trained.step(inputs, classes)
    return found


def _directions(unit: Directions, device: str) -> list[Row]:
    """Per hidden layer, over its units: ``similarity``, the mean |cosine| of the pairs of rows;
    ``max_similarity``; ``cosine``, their signed mean; ``across``, the mean |cosine| of each row
    with the same row of an independent draw; and ``row_cosine``, that cosine itself for the first
    row, whose law is known where directions are isotropic and draws independent."""
    sizes = (design.PIXELS, *hidden_layers(unit.setting))  # hidden layers alone
    found = []
    for seed in unit.seeds:
        for arm in unit.arms:
            drawn = [streams.generator("draw", s) for s in (seed, seed + design.PARTNER)]
            nets = [start_(population.network(sizes), arm.start, None, g) for g in drawn]
            for layer, pair in enumerate(zip(*map(init.weights, nets)), 1):
                w, other = (F.normalize(x.double(), dim=1) for x in pair)
                i, j = torch.triu_indices(len(w), len(w), offset=1)
                within, across = (w @ w.T)[i, j], (w * other).sum(1)
                measures = {
                    "similarity": within.abs().mean(),
                    "max_similarity": within.abs().max(),
                    "cosine": within.mean(),
                    "across": across.abs().mean(),
                    "row_cosine": across[0],
                }
                for measure, value in measures.items():
                    row = (arm, seed, Place(layer), 0, measure, value.item())
                    found.append(_row(unit, *row))
    return found


def _convolution(unit: Convolution, device: str) -> list[Row]:
    """``accuracy`` and ``loss`` before training and at the end of every epoch."""
    whole = parted(data.load(unit.data), unit.tuned)
    few = dataclasses.replace(
        whole,
        x_train=whole.x_train[: design.FEW_IMAGES],
        y_train=whole.y_train[: design.FEW_IMAGES],
    )
    here, optimizer = few.to(device), Optimizer(*design.learning_rate(unit.optimizer))
    looks = (design.EPOCHS + 1, len(unit.seeds), len(unit.arms))
    accuracy, loss = torch.zeros(2, *looks, dtype=torch.float64)
    for s, seed in enumerate(unit.seeds):
        first = next(population.orders([seed], len(few.x_train)))[0][: design.INIT_BATCH]
        seen, nets = few.x_train[first].view(-1, 1, *few.shape), []
        for arm in unit.arms:
            net = convolutions.network(few.shape, design.FILTERS, len(few.classes))
            nets.append(start_(net, arm.start, seen, streams.generator("draw", seed)))
        trained = Convolutions(nets, few.shape, optimizer, device)
        course = convolutions.train(
            trained, here.x_train, here.y_train, seed, design.FEW_BATCH, design.EPOCHS
        )
        for epoch in course:
            accuracy[epoch, s], loss[epoch, s] = trained.evaluate(here.x_test, here.y_test)
    found = []
    for epoch in range(design.EPOCHS + 1):
        found += each(unit, epoch, accuracy=accuracy[epoch], loss=loss[epoch])
    return found


def _common(unit: Common, device: str) -> list[Row]:
    """``loss``, the mean over the first steps, after them; and ``accuracy`` after an epoch."""
    dataset, optimizer = data.load(unit.data), Optimizer(*design.learning_rate(unit.optimizer))
    per_epoch = common.steps_per_epoch(dataset)
    loss, accuracy = torch.zeros(2, len(unit.seeds), len(unit.arms), dtype=torch.float64)
    for s, seed in enumerate(unit.seeds):
        for a, arm in enumerate(unit.arms):
            course = common.steps(unit.setting, arm.start, seed, optimizer, dataset, device)
            nets, losses = zip(*itertools.islice(course, per_epoch))
            loss[s, a] = sum(losses[: design.FIRST_STEPS]) / design.FIRST_STEPS
            accuracy[s, a] = common.accuracy(nets[-1], dataset)
    found = each(unit, design.FIRST_STEPS / per_epoch, loss=loss)
    return found + each(unit, 1, accuracy=accuracy)


KINDS: dict[str, Callable[[Unit, str], list[Row]]] = {
    "Training": _training,
    "Parity": _parity,
    "Directions": _directions,
    "Convolution": _convolution,
    "Common": _common,
}
