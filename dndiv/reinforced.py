"""Populations that are trained with techniques, and what is measured of them: the units of those experiments.

An arm is the name of an initialization, or "initialization+technique:schedule"; with "@coefficient" behind it, or else with
the coefficient that ``coefficients.yml`` registers for the setting.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import ClassVar

import torch
import yaml
from torch import Tensor

from dndiv import diversity, population, reinforce, study
from dndiv.population import Population
from dndiv.reinforce import PENALTIES, STEPS, Technique
from dndiv.study import BATCH, INIT_BATCH, OPTIMIZERS, Training, check, drawn, held_out_inputs
from dndiv.table import COEFFICIENTS, hidden_layers

PENALTY_EVERY = 4        # steps; four times the strength at every fourth step costs a fourth
ANNEALED_EPOCHS = 2      # an annealed coefficient is 0 from here on
TUNING_SHARE = 6         # one in 6 training images is held out for tuning: 10,000 of 60,000
ESCAPE_EVERY = 50        # steps between two looks at whether a network has left its plateau
PARITY_STEPS = 2500      # full-batch steps on the parity problems, each of them an epoch
PARITY_LR = 0.1          # of SGD there


# ------------------------------------------------------------------------------------------------- on a population
class Reinforced:
    """Techniques on the arms of a population, each with its own coefficient and schedule.

    ``Population(..., **Reinforced(techniques, ...).hooks())``. What happens to a network does not depend on the others.

    Args:
        techniques: one per arm, or None. Neighbours of the same name are computed together.
        seeds: of the population; they fix the fresh weights that ``reinitialize`` draws.
        inputs: [samples, pixels], training images on which ``reinitialize`` looks for redundant units.
    """

    def __init__(self, techniques: Sequence[Technique | None], seeds: Sequence[int], inputs: Tensor):
        active = [t if t is not None and t.coefficient else None for t in techniques]
        self.groups, start = [], 0
        for technique, members in groupby(active, key=lambda t: t and t.name):
            members = list(members)
            if technique:
                self.groups.append((technique, slice(start, start + len(members)), members))
            start += len(members)
        self.inputs, self.steps = inputs, 0
        self._generators = [torch.Generator().manual_seed(reinforce.STREAM + seed) for seed in seeds]

    def hooks(self) -> dict:
        """The arguments of the population; none at all where every coefficient is 0."""
        found = [(members, (arms, self._gradients(name, members))) for name, arms, members in self.groups if name in PENALTIES]

        def penalties(step):
            return [penalty for members, penalty in found if any(t.due(step) for t in members)]

        return ({"penalties": penalties} if found else {}) | ({"after_step": self._after_step} if self.groups else {})

    def _coefficients(self, techniques: list[Technique], measured: Callable[[], Tensor]) -> Tensor:
        """Per network of a group and layer, [A, 1] or [S, A, layers], from a function that computes redundancies of that shape."""
        c = self.inputs.new_tensor([[t.at(self.steps) if t.due(self.steps) else 0.0] for t in techniques])
        dynamic = [[t.schedule == "dynamic"] for t in techniques]
        if not any(d for d, in dynamic):
            return c
        return c * torch.where(torch.tensor(dynamic, device=c.device), measured(), 1.0)

    def _gradients(self, name: str, members: list[Technique]) -> Callable:
        return lambda weights, hidden: reinforce.gradients(
            name, weights, hidden, lambda measured: self._coefficients(members, measured))

    def _after_step(self, trained: Population) -> None:
        self.steps = trained.steps
        draws = None
        for name, arms, members in self.groups:
            if name not in STEPS or not any(t.due(self.steps) for t in members):
                continue
            if name == "orthogonal_step":
                for same, rows in reinforce.by_shape([w[:, arms] for w in trained.weights[:-1]]):
                    c = self._coefficients(members, lambda: reinforce.redundancy(rows, True))
                    for k, moved in zip(same, reinforce.orthogonal_step_(rows, c.expand(rows.shape[:3])).unbind(2)):
                        trained.weights[k][:, arms] = moved
                continue
            if draws is None:  # every seed draws once for all, so that no network depends on the others
                draws = [torch.stack([torch.randn(w.shape[2:], generator=g) for g in self._generators]).to(w) for w in trained.weights]
            self._reinitialize(trained, arms, members, trained.activations(self.inputs, arms), draws)

    def _reinitialize(self, trained, arms, members, layers, draws):
        for l, h in enumerate(layers):
            parts = [trained.weights[l], trained.biases[l], trained.weights[l + 1]]
            w, b, out = (p[:, arms].flatten(0, 1).clone() for p in parts)
            mean = layers[l - 1].mean(-1).flatten(0, 1) if l else self.inputs.mean(0, keepdim=True)
            draw = draws[l].unsqueeze(1).expand(-1, len(members), -1, -1).flatten(0, 1)
            c = self._coefficients(members, lambda: reinforce.redundancy(h, False).unsqueeze(-1))[..., 0].expand(h.shape[:2]).flatten()
            redrawn = reinforce.reinitialize_(w, b, out, mean, h.flatten(0, 1), c, draw).view(h.shape[:3])
            for part, changed in zip(parts, (w, b, out)):
                part[:, arms] = changed.view_as(part[:, arms])
            for weights, biases in trained.moments():
                weights[l][:, arms].masked_fill_(redrawn.unsqueeze(-1), 0)
                biases[l][:, arms].masked_fill_(redrawn, 0)
                weights[l + 1][:, arms].masked_fill_(redrawn.unsqueeze(-2), 0)


# --------------------------------------------------------------------------------------------------------- the arms
@cache
def registered() -> dict:
    """The coefficients of ``coefficients.yml``: technique → schedule → "setting optimizer" → coefficient."""
    return yaml.safe_load(COEFFICIENTS.read_text("utf8"))


def parse(arm: str, setting: str, optimizer: str, annealed_over: int) -> tuple[str, Technique | None]:
    """(initialization, technique or None) of an arm. ValueError for what cannot be understood."""
    start, plus, rest = arm.partition("+")
    if not plus:
        return start, None
    text, _, given = rest.partition("@")
    name, _, schedule = text.partition(":")
    try:
        if given:
            coefficient = float(given)
        else:  # annealing starts from the constant coefficient
            coefficient = registered()[name]["constant" if schedule == "annealed" else schedule][f"{setting} {optimizer}"]
    except (KeyError, ValueError):
        raise ValueError(f"arm {arm!r}: {f'{given!r} is no coefficient' if given else f'{COEFFICIENTS.name} has none for {setting} {optimizer}'}; "
                         "an arm is initialization+technique:schedule, or …@coefficient") from None
    return start, Technique(name, coefficient, schedule, annealed_over, PENALTY_EVERY if name in PENALTIES else 0)


def _techniques(unit, per_epoch: int) -> list[Technique | None]:
    return [parse(arm, unit.setting, unit.optimizer, ANNEALED_EPOCHS * per_epoch)[1] for arm in unit.arms]


def _parameters(unit) -> dict:
    """Every coefficient that the arms stand for, and what else is fixed here."""
    return {"techniques": [t and dataclasses.astuple(t) for t in _techniques(unit, 1)], "annealed_epochs": ANNEALED_EPOCHS,
            "tuning_share": TUNING_SHARE, "escape_every": ESCAPE_EVERY}


# -------------------------------------------------------------------------------------------------------- the units
CODE = (*study.CODE, diversity, reinforce, Reinforced, parse, _techniques)


@dataclass(frozen=True)
class Reinforcing(Training):
    """Networks trained with techniques: after every epoch, beside Training's rows, per hidden layer ``similarity``,
    ``correlation``, ``effective_rank`` and ``dead``, on the same held-out inputs as Observation's."""

    code: ClassVar = CODE

    def __post_init__(self):
        super().__post_init__()
        _techniques(self, 1)

    def parameters(self):
        return super().parameters() | _parameters(self)

    def start(self, arm):
        return arm.partition("+")[0]

    def hooks(self, here):
        per_epoch = population.steps_per_epoch(len(here.x_train), BATCH[self.data])
        return Reinforced(_techniques(self, per_epoch), self.seeds, here.x_train[:INIT_BATCH]).hooks()

    def measured(self, trained, here, epoch):
        rows = super().measured(trained, here, epoch)
        x, _ = held_out_inputs(here)
        for layer, (w, h) in enumerate(zip(trained.weights, trained.forward(x.unsqueeze(0))[:-1]), 1):
            h = h.view(trained.seeds, trained.arms, *h.shape[1:])
            rows += self.each(epoch, str(layer), similarity=diversity.weight_similarity(w)["mean"],
                              correlation=diversity.activation_correlation(h)["mean"],
                              effective_rank=diversity.effective_rank(h), dead=diversity.dead_fraction(h))
        return rows


@dataclass(frozen=True)
class Tuning(Reinforcing):
    """One epoch with the candidates of a coefficient: accuracy at its quarters, on images held out of the training set."""

    epochs: int = 1

    def dataset(self):
        whole = super().dataset()
        order = torch.randperm(len(whole.x_train), generator=torch.Generator().manual_seed(1))
        held, kept = order.split([len(order) // TUNING_SHARE, len(order) - len(order) // TUNING_SHARE])
        return dataclasses.replace(whole, x_train=whole.x_train[kept], y_train=whole.y_train[kept],
                                   x_test=whole.x_train[held], y_test=whole.y_train[held])

    def pauses(self, per_epoch):
        return tuple(per_epoch * k // 4 for k in (1, 2, 3))

    def measured(self, trained, here, epoch):
        return self.each(epoch, "", accuracy=trained.evaluate(here.x_test, here.y_test)[0]) if epoch else []


@dataclass(frozen=True)
class Escape(Reinforcing):
    """When networks leave their plateaus: accuracy on held-out inputs at every ``ESCAPE_EVERY`` steps.

    For the first arm also ``loss`` there, and per hidden layer ``dead`` and ``duplicates``: what a plateau is made of.
    """

    def pauses(self, per_epoch):
        return range(ESCAPE_EVERY, self.epochs * per_epoch, ESCAPE_EVERY)

    def measured(self, trained, here, epoch):
        x, y = held_out_inputs(here)
        *hidden, logits = trained.forward(x.unsqueeze(0))
        right = population.correct(logits, y).double().mean(1).view(trained.seeds, trained.arms)
        rows = self.each(epoch, "", accuracy=right)
        first = logits.view(trained.seeds, trained.arms, *logits.shape[1:])[:, 0]
        loss = torch.nn.functional.cross_entropy(first, y.expand(len(first), -1), reduction="none").mean(1)
        rows += self.each(epoch, "", loss=loss.unsqueeze(1))
        for layer, h in enumerate(hidden, 1):
            h = h.view(trained.seeds, trained.arms, *h.shape[1:])[:, :1]
            rows += self.each(epoch, str(layer), dead=diversity.dead_fraction(h), duplicates=diversity.duplicate_fraction(h))
        return rows


PARITIES = {"XOR": 2, "Parity3": 3}  # bits


@dataclass(frozen=True)
class Parity:
    """Tiny problems with known bad minima: the parity of 2 bits (XOR) or 3, by one hidden layer, in full batches.

    Rectifier networks that can represent these functions get stuck on them (Swirszcz, Czarnecki & Pascanu 2017). Inputs are ±1;
    ``accuracy`` on all inputs at every ``ESCAPE_EVERY`` steps, and ``loss`` of the first arm. An epoch is a step.
    """

    data: str
    setting: str
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    optimizer: str = "sgd"

    code: ClassVar = (*CODE, Training.each, Reinforcing.start)

    def __post_init__(self):
        if self.data not in PARITIES:
            raise ValueError(f"unknown parity problem {self.data!r}; choose one of {', '.join(PARITIES)}")
        hidden_layers(self.setting)
        check(self.arms, self.seeds, self.start)
        _techniques(self, 1)

    start = Reinforcing.start
    each = Training.each

    def parameters(self):
        return _parameters(self) | {"bits": PARITIES[self.data], "hidden": hidden_layers(self.setting), "steps": PARITY_STEPS,
                                    "optimizer": dataclasses.asdict(OPTIMIZERS[self.optimizer]) | {"lr": PARITY_LR}}

    def rows(self, device):
        bits = PARITIES[self.data]
        x = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * bits)  # [2^bits, bits]
        y = (x.prod(1) > 0).long()
        sizes = (bits, *hidden_layers(self.setting), 2)
        networks = [drawn([self.start(arm) for arm in self.arms], sizes, x, seed) for seed in self.seeds]
        optimizer = dataclasses.replace(OPTIMIZERS[self.optimizer], lr=PARITY_LR)
        x, y = x.to(device), y.to(device)
        hooks = Reinforced(_techniques(self, PARITY_STEPS // 5), self.seeds, x).hooks()
        trained = Population(networks, optimizer, device=device, **hooks)
        inputs, classes, rows = x.expand(len(self.seeds), -1, -1).contiguous(), y.expand(len(self.seeds), -1), []
        for step in range(PARITY_STEPS + 1):
            if step % ESCAPE_EVERY == 0:
                accuracy, loss = trained.evaluate(x, y)
                rows += self.each(step, "", accuracy=accuracy) + self.each(step, "", loss=loss[:, :1])
            trained.step(inputs, classes)
        return rows

