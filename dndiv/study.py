"""What is trained and measured: the frozen specification of a unit of work, and the rows that come of it.

A unit is computed on one thread, from its specification alone. Its result is kept under the hash of all that it
depends on, see ``experiment.py``; what a row holds is said in ``table.py``.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from dndiv import data, diversity, init, ladder, population
from dndiv.population import Optimizer, Population
from dndiv.table import PIXELS, SETTINGS, hidden_layers

OPTIMIZERS = {"sgd": Optimizer("sgd", lr=0.01), "adam": Optimizer("adam", lr=0.001)}
EPOCHS = 5                 # the paper's "first 5 epochs"
BATCH = {"MNIST": 64, "FashionMNIST": 64, "Digits": 8}  # digits: 180 steps an epoch instead of 22
INIT_BATCH = 1024          # training images that data-aware initializations look at
HELD_OUT = 1000            # images that diversity is measured on
ENSEMBLE_UNITS = 32        # wider layers are not taken apart into members
PARTNER = 1_000_000        # seed + PARTNER is the second, independent draw that a draw is compared with


def drawn(starts: Sequence[str], sizes: Sequence[int], inputs: Tensor, seed: int) -> list[torch.nn.Sequential]:
    """A network per arm, initialized from the same draw; arms that start alike share one."""
    made = {start: ladder.initialize_(population.network(sizes), start, inputs, population.draw_generator(seed))
            for start in dict.fromkeys(starts)}
    return [made[start] for start in starts]


def held_out_inputs(here: data.Dataset) -> tuple[Tensor, Tensor]:
    """Test images are held out of training, and serve as inputs of diversity measures; the same ones for all."""
    order = torch.randperm(len(here.x_test), generator=torch.Generator().manual_seed(0))[:HELD_OUT].to(here.x_test.device)
    return here.x_test[order], here.y_test[order]


def listed(values: Tensor) -> list:
    """``tolist`` with as many digits as the precision of the values has: 0.1 for the float32 next to it."""
    return values.cpu().numpy().astype(str).astype(float).tolist()


def _number(epoch: float) -> float:
    return int(epoch) if epoch == int(epoch) else round(epoch, 6)


CODE = (data, init, ladder, population, drawn, held_out_inputs, listed, _number)  # what the rows of a training depend on


@dataclass(frozen=True)
class Training:
    """Networks of several arms, trained from the same seeds: test accuracy and cross-entropy after every epoch."""

    data: str
    setting: str  # a name in SETTINGS, or "5×8" for five hidden layers of 8
    optimizer: str
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    epochs: int = EPOCHS

    code: ClassVar = CODE

    def __post_init__(self):
        choose("data set", self.data, data.NAMES)
        hidden_layers(self.setting)
        choose("optimizer", self.optimizer, OPTIMIZERS)
        check(self.arms, self.seeds, self.start)
        if self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, not {self.epochs}")

    def parameters(self) -> dict:
        """What the names stand for; part of the key under which the rows are kept."""
        return {"hidden": hidden_layers(self.setting), "optimizer": asdict(OPTIMIZERS[self.optimizer]),
                "batch": BATCH[self.data], "init_batch": INIT_BATCH, "data": data.checksum(self.data),
                "held_out": HELD_OUT, "ensemble_units": ENSEMBLE_UNITS}

    def start(self, arm: str) -> str:
        """The initialization of an arm."""
        return arm

    def dataset(self) -> data.Dataset:
        """What is trained on, and what is tested on."""
        return data.load(self.data)

    def hooks(self, here: data.Dataset) -> dict:
        """Arguments of the population, for techniques."""
        return {}

    def rows(self, device: str) -> list[tuple]:
        dataset = self.dataset()
        sizes = (dataset.x_train.shape[1], *hidden_layers(self.setting), len(dataset.classes))
        networks = []
        for seed in self.seeds:
            first = next(population.orders([seed], len(dataset.x_train)))[0, :INIT_BATCH]  # the first images seen
            inputs = dataset.x_train[first]
            networks.append(drawn([self.start(arm) for arm in self.arms], sizes, inputs, seed))
        here, batch = dataset.to(device), BATCH[self.data]
        trained = Population(networks, OPTIMIZERS[self.optimizer], device=device, **self.hooks(here))
        per_epoch = population.steps_per_epoch(len(here.x_train), batch)
        rows = []
        for step in population.train(trained, here.x_train, here.y_train, self.seeds, batch, self.epochs,
                                     self.pauses(per_epoch)):
            rows += self.measured(trained, here, step / per_epoch)
        return rows

    def pauses(self, per_epoch: int) -> tuple[int, ...]:
        """The steps to measure at, besides the start and the end of each epoch."""
        return ()

    def measured(self, trained: Population, here: data.Dataset, epoch: float) -> list[tuple]:
        accuracy, loss = trained.evaluate(here.x_test, here.y_test)
        return self.each(epoch, "", accuracy=accuracy, loss=loss)

    def each(self, epoch: float, layer: str, **measures: Tensor) -> list[tuple]:
        """A row per seed, arm and measure, of values [S, A]."""
        return [(self.data, self.setting, self.optimizer, arm, seed, layer, _number(epoch), measure, value)
                for measure, values in measures.items() for seed, line in zip(self.seeds, listed(values))
                for arm, value in zip(self.arms, line)]


@dataclass(frozen=True)
class Observation(Training):
    """Networks in training, and the diversity of their hidden neurons, measured on held-out inputs.

    Beside Training's rows, per hidden layer (layer 1, 2, …): the similarity of the weight rows (``similarity``, its
    maximum and signed mean), of the activations (``correlation``, its maximum and signed mean), ``effective_rank``,
    ``participation_ratio``, ``dead``, ``duplicates`` and ``constant``, shares or numbers of units, ``log_volume``
    (where units ≤ fan-in); and of the last hidden layer's neurons as an ensemble, on squared error: ``ensemble``,
    ``member``, ``ambiguity``. Over the runs of the unit, under its first seed: ``bias``, ``variance``, ``covariance``.
    After training, per unit (layer "2.7" for unit 7 of layer 2): ``lesion``, the test accuracy lost without it, and
    ``nearest``, its largest |correlation| with another unit of its layer.
    """

    observed: tuple[str, ...] = ()  # the arms whose diversity is measured; all, if none is named
    log_spaced: bool = True  # also at steps 1, 2, 4, … of the first epoch
    lesions: bool = True

    code: ClassVar = (*CODE, diversity)

    def __post_init__(self):
        super().__post_init__()
        for arm in self.observed:
            choose("observed arm", arm, self.arms)

    def pauses(self, per_epoch):
        return tuple(2 ** k for k in range(per_epoch.bit_length()) if 2 ** k < per_epoch) if self.log_spaced else ()

    def measured(self, trained, here, epoch):
        of, watched = self, trained
        if self.observed:
            of, watched = replace(self, arms=self.observed), trained.select([self.arms.index(a) for a in self.observed])
        if epoch == int(epoch):
            rows = Training.measured(self, trained, here, epoch)
        else:  # the others are not looked at
            rows = Training.measured(of, watched, here, epoch)
        return rows + of.diverse(watched, here, epoch)

    def diverse(self, trained, here, epoch):
        rows = []
        x, y = held_out_inputs(here)
        *hidden, _ = trained.forward(x.unsqueeze(0))
        hidden = [h.view(trained.seeds, trained.arms, *h.shape[1:]) for h in hidden]
        for layer, (w, h) in enumerate(zip(trained.weights, hidden), 1):
            similar, correlated = diversity.weight_similarity(w), diversity.activation_correlation(h)
            found = {"similarity": similar["mean"], "max_similarity": similar["max"], "cosine": similar["signed"],
                     "correlation": correlated["mean"], "max_correlation": correlated["max"],
                     "signed_correlation": correlated["signed"], "constant": correlated["left_out"],
                     "effective_rank": diversity.effective_rank(h),
                     "participation_ratio": diversity.participation_ratio(h), "dead": diversity.dead_fraction(h),
                     "duplicates": diversity.duplicate_fraction(h)}
            if w.shape[-2] <= w.shape[-1]:
                found["log_volume"] = diversity.log_volume(w)
            rows += self.each(epoch, str(layer), **found)
        if h.shape[2] <= ENSEMBLE_UNITS:
            target = torch.nn.functional.one_hot(y, len(here.classes)).T.to(h.dtype)
            members = diversity.ensemble_members(h, trained.weights[-1], trained.biases[-1])
            rows += self.each(epoch, str(len(hidden)), **diversity.ambiguity(members, target))
            if len(self.seeds) > 1:
                over_runs = [diversity.bias_variance_covariance(members[:, a], target) for a in range(trained.arms)]
                rows += [(self.data, self.setting, self.optimizer, arm, self.seeds[0], str(len(hidden)),
                          _number(epoch), measure, value.item()) for arm, found in zip(self.arms, over_runs)
                         for measure, value in found.items()]
        if self.lesions and epoch == self.epochs:
            rows += self.lesioned(trained, here, hidden)
        return rows

    def lesioned(self, trained, here, hidden):
        rows = []
        *activations, logits = trained.forward(here.x_test.unsqueeze(0))
        whole = population.correct(logits, here.y_test).double().mean(1)
        for l, (h, held_out) in enumerate(zip(activations, hidden)):
            nearest = diversity.nearest_similarity(held_out)
            for unit in range(h.shape[1]):
                kept = h[:, unit].clone()
                h[:, unit] = 0  # the layers behind it hear nothing of the unit
                without = population.correct(trained.onward(l, h)[-1], here.y_test).double().mean(1)
                h[:, unit] = kept
                lost = (whole - without).view(trained.seeds, trained.arms)
                rows += self.each(self.epochs, f"{l + 1}.{unit}", lesion=lost, nearest=nearest[..., unit])
        return rows


@dataclass(frozen=True)
class Portraits(Training):
    """What diverse and redundant neurons look like: weights and correlations of two networks of one hidden layer.

    Of all seeds, the ones whose units are least and most correlated after training are kept, ``weight`` with layer
    "1.7.300" for pixel 300 of unit 7; and ``pair``, the correlation of units 7 and 3 (layer "1.7.3"), for these two
    at the end, and for the first seed in the course of training.
    """

    code: ClassVar = (*CODE, diversity)

    def pauses(self, per_epoch):
        return tuple(step for step in (8, 64, 512) if step < per_epoch)

    def measured(self, trained, here, epoch):
        x = here.x_test[:HELD_OUT]
        h = trained.forward(x.unsqueeze(0))[0].view(trained.seeds, trained.arms, -1, len(x))
        correlation = diversity.correlation_matrix(h)[0][:, 0]  # of the first arm
        kept = {0}
        rows = super().measured(trained, here, epoch)
        if epoch == self.epochs:
            mean = diversity.activation_correlation(h[:, 0])["mean"].nan_to_num(1)
            chosen = int(mean.argmin()), int(mean.argmax())
            kept |= set(chosen)
            for s in chosen:
                rows += [(self.data, self.setting, self.optimizer, self.arms[0], self.seeds[s], f"1.{i}.{j}",
                          _number(epoch), "weight", w)
                         for i, row in enumerate(listed(trained.weights[0][s, 0])) for j, w in enumerate(row)]
        for s in sorted(kept):
            rows += [(self.data, self.setting, self.optimizer, self.arms[0], self.seeds[s], f"1.{i}.{j}",
                      _number(epoch), "pair", r)
                     for i, row in enumerate(listed(correlation[s])) for j, r in enumerate(row)]
        return rows


@dataclass(frozen=True)
class Directions:
    """Weights as they are drawn, without training: how similar the rows of a layer are, within and across draws.

    Per hidden layer, over its units: ``similarity``, the mean |cosine| of the pairs of its rows; ``max_similarity``;
    ``cosine``, their signed mean; ``across``, the mean |cosine| of each row with the same row of an independent
    draw; and, per unit, ``row_cosine``, that cosine itself for the layer's first row (its law is known where
    directions are isotropic and draws independent).
    """

    setting: str
    arms: tuple[str, ...]
    seeds: tuple[int, ...]

    code: ClassVar = (init, ladder, population)

    def __post_init__(self):
        choose("setting", self.setting, SETTINGS)
        check(self.arms, self.seeds)

    def parameters(self) -> dict:
        return {"hidden": SETTINGS[self.setting], "pixels": PIXELS, "partner": PARTNER}

    def rows(self, device: str) -> list[tuple]:
        sizes = (PIXELS, *SETTINGS[self.setting])  # hidden layers alone
        rows = []
        for seed in self.seeds:
            for arm in self.arms:
                pair = [ladder.initialize_(population.network(sizes), arm, None, population.draw_generator(s))
                        for s in (seed, seed + PARTNER)]
                for layer, (w, other) in enumerate(zip(*map(init.weights, pair)), 1):
                    w, other = (torch.nn.functional.normalize(x.double(), dim=1) for x in (w, other))
                    i, j = torch.triu_indices(len(w), len(w), offset=1)
                    within, across = (w @ w.T)[i, j], (w * other).sum(1)
                    values = {"similarity": within.abs().mean(), "max_similarity": within.abs().max(),
                              "cosine": within.mean(), "across": across.abs().mean(), "row_cosine": across[0]}
                    rows += [("none", self.setting, "none", arm, seed, layer, 0, measure, value.item())
                             for measure, value in values.items()]
        return rows


def choose(what: str, value: object, valid: Collection) -> None:
    """Refuse a value that is not among the valid ones."""
    if value not in valid:
        raise ValueError(f"unknown {what} {value!r}; choose one of {', '.join(valid)}")


def check(arms: tuple[str, ...], seeds: tuple[int, ...], start: Callable[[str], str] = str) -> None:
    """Refuse arms, whose initializations are ``start(arm)``, and seeds that are unknown, missing or repeated."""
    for arm in arms:
        choose("arm", start(arm), ladder.ARMS)
    if not arms or len(set(arms)) < len(arms):
        raise ValueError(f"arms must be one or more different names, not {arms}")
    if not seeds or min(seeds) < 0 or max(seeds) >= PARTNER or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be one or more different integers from 0 to {PARTNER - 1}, not {seeds}")
