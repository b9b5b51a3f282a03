"""What experiments are made of: which data, networks, learning rates and arms, and why; and what a
unit of work is. Which of it is computed, and of how many seeds, is in ``experiments.py``.

For another network, learning rate or arm, change a line here: what depends on it is computed anew,
and nothing else.
"""

from dataclasses import dataclass, field
from functools import partial

from dndiv.checks import choose, typed
from dndiv.paper.arms import Arm
from dndiv.paper.names import DATA_SETS, SERIES

# ----------------------------------------------------------------------------------- the networks
SETTINGS = {  # hidden layers; declared before any result, all reported
    "shallow": (16,),  # one hidden layer: the setting of the paper's introduction
    "tiny": (4, 4, 4),  # the narrowest: fan-in 4, where rows are far from orthogonal by chance
    "narrow": (8, 8, 8, 8, 8),
}
LEARNING_RATES = {"sgd": 0.01, "adam": 0.001}  # the usual ones, not tuned
MUON = "muon"  # competes with techniques, at a rate of its own
DROPOUT = "dropout"  # stands where a technique does in an arm; it is none
# of small data sets small ones: digits have 180 steps an epoch instead of 22
BATCH = {"MNIST": 64, "FashionMNIST": 64, "Digits": 8, "MNIST1D": 16}
PIXELS = 784  # of MNIST and Fashion-MNIST
# Beside the perceptrons, a small convolutional network on few images: two layers of 3×3 filters,
# each of which halves the sides of the image; mini-batches of 64
CONVOLUTIONAL, FILTERS, FEW_IMAGES, FEW_BATCH = "convolutional", (8, 16), 10_000, 64
# And networks in common use, on digits as small colour images
COMMON = ("perceptron", "cnn", "cnn_batch_norm", "resnet18", "transformer")
COMMON_DATA, FIRST_STEPS = "Digits", 10
EPOCHS = 5  # the paper's "first 5 epochs"
INIT_BATCH = 1024  # training images that data-aware initializations look at
HELD_OUT = 1000  # training images that are never trained on: diversity is measured on them
JACOBIANS = 16  # held-out inputs at which a network's Jacobian is taken
SHOWN = 3  # training images of every class, to be looked at
ENSEMBLE_UNITS = 32  # wider layers are not taken apart into members
PARTNER = 1_000_000  # seed + PARTNER is the second, independent draw that a draw is compared with
# Data sets do not share seeds: a draw that two of them had would be one piece of evidence, not two.
FIRST_SEED = {
    "none": 0,
    "MNIST": 0,
    "FashionMNIST": 100_000,
    "Digits": 200_000,
    "XOR": 300_000,
    "Parity3": 400_000,
    "MNIST1D": 500_000,
}
# No seed of an experiment was in the run that its number of seeds was planned from: the first after
# those of the first run, of the second, and of the third; those that confirm what led there; and
# those of rates that are chosen after all epochs
FRESH, AGAIN, ANEW, CONFIRMING, RETUNED = 10_000, 20_000, 30_000, 40_000, 46_000

PARITY_BITS = {"XOR": 2, "Parity3": 3}  # tiny problems with known bad minima
PARITIES = (("XOR", "1×2"), ("XOR", "1×3"), ("Parity3", "1×4"))
PARITY_STEPS = 2500  # full-batch steps, each of them an epoch
PARITY_LR = 0.1  # of SGD there
ESCAPE_EVERY = 50  # steps between two looks at whether a network has left its plateau
ESCAPE_EPOCHS = 3
ESCAPED = {"XOR": 1.0, "Parity3": 1.0}  # the accuracy of a network that has; elsewhere, this:
ESCAPED_IMAGES = 0.5

PENALTY_EVERY = 4  # steps; four times the strength at every fourth step costs a fourth
ANNEALED_EPOCHS = 2  # an annealed coefficient is 0 from here on
TUNING_SHARE = 6  # one in 6 training images is held out for tuning: 10,000 of 60,000
TUNING_SEED = 50_000  # of a data set, from here on: no test has them


def hidden_layers(setting: str) -> tuple[int, ...]:
    """The hidden layers of a setting: a name in ``SETTINGS``, or "5×8" for five of 8; an activation
    may follow, as in "5×8 tanh"."""
    layers, _, _ = setting.partition(" ")
    if layers in SETTINGS:
        return SETTINGS[layers]
    depth, _, width = layers.partition("×")
    if not (depth.isdecimal() and width.isdecimal() and int(depth) and int(width)):
        raise ValueError(
            f"unknown setting {setting!r}; choose one of {', '.join(SETTINGS)}, "
            "or depth×width as in 5×8"
        )
    return (int(width),) * int(depth)


def activation(setting: str) -> str:
    """The activation of a setting's hidden layers: "relu", where none is named."""
    return setting.partition(" ")[2] or "relu"


def learning_rate(optimizer: str) -> tuple[str, float]:
    """The name and learning rate of an optimizer: "adam@0.01", or the usual rate of "adam"."""
    name, at, rate = optimizer.partition("@")
    choose("optimizer", name, (*LEARNING_RATES, MUON) if at else LEARNING_RATES)
    try:
        found = float(rate) if at else LEARNING_RATES[name]
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise ValueError(f"the learning rate of {optimizer!r} is no positive number")
    return name, found


# ----------------------------------------------------------------------------------- the units
def _bounded(given: dict) -> None:
    for arm in (Arm.parse(arm) if isinstance(arm, str) else arm for arm in given["arms"]):
        if arm.technique == DROPOUT and arm.schedule != "constant":
            raise ValueError(f"dropout has a constant share of units, not a schedule: {arm}")
        if arm.technique == DROPOUT and not 0 <= (arm.coefficient or 0) < 1:
            raise ValueError(f"dropout takes a share of units from 0 to below 1: {arm}")
    depth, _, width = given["setting"].partition(" ")[0].partition("×")
    if width and (len(depth) > 3 or len(width) > 4):
        raise ValueError(f"the setting {given['setting']!r:.99} is too large: at most 999×9999")


@partial(typed, check=_bounded)
@dataclass(frozen=True)
class Training:
    """Networks of several arms, trained from the same seeds, and what is recorded of them.

    arms are ``Arm`` values, or their texts. records: names in ``compute.RECORDS``, and looks: one
    in ``compute.LOOKS``, say what is measured and when, besides the start and the end of every
    epoch. observed: the arms whose diversity is measured; all, if none is named.
    """

    data: str
    setting: str  # a name in SETTINGS, "5×8", or "5×8 tanh"
    optimizer: str  # a name in LEARNING_RATES, or "sgd@0.1" for another rate
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    epochs: int = EPOCHS
    records: tuple[str, ...] = ("accuracy",)
    looks: str = "epochs"
    observed: tuple[Arm, ...] = ()
    tuned: bool = False  # tested on held-out training images, as what is tuned must be

    def __post_init__(self):
        choose("data set", self.data, DATA_SETS)
        hidden_layers(self.setting)
        learning_rate(self.optimizer)
        _set_arms(self, "arms", "observed")
        _check_arms(self.arms, self.seeds)
        for arm in self.observed:
            choose("observed arm", str(arm), [str(a) for a in self.arms])
        if self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, not {self.epochs}")
        from dndiv.paper import compute  # names of what loads torch, once, when a unit is made

        choose("activation", activation(self.setting), compute.population.ACTIVATIONS)
        choose("looks", self.looks, compute.LOOKS)
        for record in self.records:
            choose("record", record, compute.RECORDS)


@partial(typed, check=_bounded)
@dataclass(frozen=True)
class Parity:
    """The parity of 2 bits (XOR) or 3, by one hidden layer, in full batches of all inputs, ±1.

    Rectifier networks that can represent these functions get stuck on them (Swirszcz, Czarnecki &
    Pascanu 2017).
    """

    data: str
    setting: str
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    optimizer: str = field(default="sgd", init=False)

    def __post_init__(self):
        choose("parity problem", self.data, PARITY_BITS)
        hidden_layers(self.setting)
        _set_arms(self, "arms")
        _check_arms(self.arms, self.seeds)


@partial(typed, check=_bounded)
@dataclass(frozen=True)
class Directions:
    """Weights as they are drawn, without training: hidden layers of a setting on 784 pixels."""

    setting: str
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    optimizer: str = field(default="none", init=False)
    data: str = field(default="none", init=False)

    def __post_init__(self):
        choose("setting", self.setting, SETTINGS)
        _set_arms(self, "arms")
        _check_arms(self.arms, self.seeds)


@typed
@dataclass(frozen=True)
class Convolution:
    """Small convolutional networks on ``FEW_IMAGES`` of a data set, drawn once; their accuracy and
    loss before training and after each epoch."""

    data: str
    optimizer: str
    arms: tuple[Arm, ...]  # starts
    seeds: tuple[int, ...]
    tuned: bool = False
    setting: str = field(default=CONVOLUTIONAL, init=False)

    def __post_init__(self):
        choose("data set of images", self.data, tuple(name for name in DATA_SETS if name != SERIES))
        if learning_rate(self.optimizer)[0] == MUON:
            raise ValueError(f"convolutional networks learn by SGD or Adam, not {self.optimizer!r}")
        _set_arms(self, "arms")
        _check_arms(self.arms, self.seeds)
        for arm in self.arms:
            if str(arm) != arm.start:
                raise ValueError(f"convolutional networks take starts alone, not the arm {arm}")


@typed
@dataclass(frozen=True)
class Common:
    """A network in common use, as it is made and as ``dndiv.decorrelate_(model, inputs=)`` leaves
    it: the mean loss of its first ``FIRST_STEPS`` steps, and its accuracy after an epoch."""

    setting: str  # a name in COMMON
    optimizer: str
    arms: tuple[Arm, ...]  # starts
    seeds: tuple[int, ...]
    data: str = field(default=COMMON_DATA, init=False)

    def __post_init__(self):
        choose("network", self.setting, COMMON)
        learning_rate(self.optimizer)
        _set_arms(self, "arms")
        _check_arms(self.arms, self.seeds)
        for arm in self.arms:
            choose("start of a network in common use", str(arm), COMMON_ARMS)


Unit = Training | Parity | Directions | Convolution | Common


def _set_arms(unit: Unit, *fields: str) -> None:
    """Texts of arms become arms."""
    for name in fields:
        arms = tuple(Arm.parse(a) if isinstance(a, str) else a for a in getattr(unit, name))
        object.__setattr__(unit, name, arms)


def _check_arms(arms: tuple[Arm, ...], seeds: tuple[int, ...]) -> None:
    """Refuse arms and seeds that are unknown, missing or repeated."""
    from dndiv.paper.starts import STARTS
    from dndiv.techniques import SCHEDULES, TECHNIQUES

    for arm in arms:
        choose("start", arm.start, STARTS)
        if arm.technique:
            choose("technique", arm.technique, (*TECHNIQUES, DROPOUT))
            choose("schedule", arm.schedule, SCHEDULES)
    if not arms or len(set(arms)) < len(arms):
        raise ValueError(f"arms must be one or more different ones, not {[*map(str, arms)]}")
    if not seeds or min(seeds) < 0 or max(seeds) >= PARTNER or len(set(seeds)) < len(seeds):
        raise ValueError(
            f"seeds must be one or more different integers from 0 to {PARTNER - 1}, not {seeds}"
        )


# ------------------------------------------------------------------------------------- the arms
LADDER = (  # each differs from the one before in one thing, from the same draw
    "default", "zero_bias", "he_scale", "equal_norms", "decorrelated", "standardized", "alive",
)  # fmt: skip
# what decides the 40 %: the ladder up to decorrelation, and decorrelation at the default scale
CLAIM_ARMS = (*LADDER[:5], "default_decorrelated")
EARLY_ARMS = (
    *LADDER,
    *("simplex", "simplex_standardized", "simplex_alive"),
    *("default_decorrelated", "default_simplex", "default_gram"),
)
OBSERVED_ARMS = ("default", "decorrelated")  # whose neurons are looked at
OTHERS = ("glorot", "he", "orthogonal", "sparse", "lsuv", "standard_normal")  # of the literature
BASELINE_ARMS = tuple(f"{name}{twin}" for name in OTHERS for twin in ("", "_decorrelated"))
DIRECTION_ARMS = (
    *("default", "default_decorrelated", "default_simplex", "default_gram"),
    *("he", "he_decorrelated"),
)

# candidates for a technique's coefficient, on held-out images, about a decade apart; or none at all
# ("off", 0). At an end: reinitialize at its smallest redraws dead units alone
GRID = {
    "negative_correlation": (1e-7, 1e-6, 1e-5, 1e-4, 1e-3),
    "prediction_diversity": (0.1, 1, 10, 100, 1000, 10_000),
    "weight_cosine": (0.01, 0.1, 1, 10, 100, 1000, 10_000),
    "activation_decorrelation": (1e-5, 1e-4, 0.001, 0.01, 0.1),
    "log_volume": (0.001, 0.01, 0.1, 1, 10, 100),
    "orthogonal_step": (0.01, 0.03, 0.1, 0.3, 1),  # 1 is the most there is
    "reinitialize": (0.0001, 0.001, 0.01, 0.05, 0.2, 0.5),
}


RIVALS = {  # of the literature, likewise
    "orthoreg": (1e-4, 0.001, 0.01, 0.1, 1, 10),
    "soft_orthogonality": (1e-4, 0.001, 0.01, 0.1, 1),
    "srip": (1e-4, 0.001, 0.01, 0.1, 1),
    "mma": (0.001, 0.01, 0.1, 1, 10, 100),
    "redo": (1e-4, 0.01, 0.03, 0.1, 0.3),  # the smallest redraws dead units alone
    DROPOUT: (0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
}


def candidates(schedule: str, grids: dict[str, tuple[float, ...]] = GRID) -> tuple[str, ...]:
    """PyTorch's default with every technique at every candidate."""
    grid = ((technique, c) for technique, found in grids.items() for c in found)
    return tuple(f"default+{technique}:{schedule}@{c:g}" for technique, c in grid)


# the techniques as the paper's title has them, dynamic
TECHNIQUE_ARMS = ("default", *(f"default+{technique}:dynamic" for technique in GRID))
# what redraws units, drops them or looks at a network's outputs leaves norms to training
NORMS_LEFT = ("negative_correlation", "reinitialize", "redo", DROPOUT)
# those that move weights, with norms held, beside none with norms held: where an effect is gone
# then, it was scale
HELD_ARMS = ("default|held", *(f"default+{t}:dynamic|held" for t in GRID if t not in NORMS_LEFT))
# other schedules and starts; those of a technique side by side, as they are computed together
VARIANTS = (
    ("default", "constant"),
    ("default", "annealed"),
    ("decorrelated", "dynamic"),
    ("simplex", "dynamic"),
)
VARIANT_ARMS = (
    *("decorrelated", "simplex"),
    *(f"{start}+{technique}:{schedule}" for technique in GRID for start, schedule in VARIANTS),
)
ESCAPE_ARMS = (*TECHNIQUE_ARMS, "decorrelated", "simplex", "alive")
# redundancy by intervention: half or all of the units of every hidden layer near duplicates of one,
# but for noise of 1 % or 10 % of its norm; and whether a technique gives back what that costs
ALIKE_ARMS = ("half_alike_1", "half_alike_10", "all_alike_1", "all_alike_10")
INTERVENTION_ARMS = (
    *("default", *ALIKE_ARMS),
    *(f"all_alike_1+{technique}:dynamic" for technique in ("orthogonal_step", "reinitialize")),
)

# techniques and their rivals, constant, at the best learning rate of PyTorch's default
RIVAL_ARMS = ("default", *(f"default+{technique}:constant" for technique in GRID | RIVALS))
RIVAL_HELD_ARMS = (
    "default|held",
    *(f"default+{t}:constant|held" for t in GRID | RIVALS if t not in NORMS_LEFT),
)

WIDTHS, DEPTHS = (2, 4, 8, 16, 32, 64, 128, 256), (1, 3)
FOUND = "relayed"  # the start that a search has found, see notebook 08
SIZED_ARMS = ("default", FOUND)  # of the networks whose size is weighed; the wide ones, the first

# Starts that compete, each at its own best learning rate: those of the paper and of this artifact,
# and those of the literature
PEERS = (
    *("default", "equal_norms", "decorrelated", "simplex", "standardized", "alive", FOUND),
    *("he", "glorot", "orthogonal", "lsuv", "rai", "looks_linear", "deep_narrow"),
    *("rewired", "sinusoidal", "anyinit"),
)
# the same at the rate of the first, but for the directions: norm-matched and decorrelated
TWINS = {start: f"{start}_decorrelated" for start in ("default", "he", "glorot", "lsuv", "rai")}
PEER_SETTINGS = (*SETTINGS, "10×10")
# of the peers, what a convolutional network is tried with: those that lead, or are in wide use, and
# what ``dndiv.decorrelate_(model, inputs=)`` does
CONVOLVED = (
    *("default", "decorrelated", "standardized", FOUND, "balanced"),
    *("he", "glorot", "orthogonal", "lsuv", "looks_linear", "sinusoidal", "anyinit"),
)
# Of many starts the first is a lucky one, too: those that led, and the method, once more on seeds
# that had no part in that
LEADERS = ("default", "decorrelated", "looks_linear", "alive", FOUND, "deep_narrow")
# whether what they gain early is still there when training goes on
LASTING, LASTING_EPOCHS = ("default", "decorrelated", FOUND, "deep_narrow"), 20
# and whether it is where all have the rates that are best then: lower ones, on one grid for all
LATER_RATES = {  # on images, and on series
    "sgd": ((0.001, 0.003, 0.01, 0.03, 0.1), (0.01, 0.03, 0.1, 0.3, 1)),
    "adam": ((0.0001, 0.0003, 0.001, 0.003, 0.01), (0.0003, 0.001, 0.003, 0.01, 0.03)),
}
LATER_FURTHER = {("MNIST", "narrow", "sgd"): 0.3}  # as ``FURTHER``
COMMON_ARMS = ("default", "balanced")
PLACES = (*PEER_SETTINGS, CONVOLUTIONAL, SERIES)  # images in each setting, and series
RATES = {  # half a decade apart; wide enough that what is best has, mostly, worse on both sides
    "sgd": (0.003, 0.01, 0.03, 0.1, 0.3, 1),
    "adam": (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1),
    MUON: (0.001, 0.003, 0.01, 0.03, 0.1, 0.3),
}
FURTHER = {  # where a start was best at an end of it, all starts have one rate more there
    ("MNIST", "narrow", "adam"): 0.0001,
    ("FashionMNIST", "10×10", "adam"): 0.0001,
    (SERIES, "10×10", "sgd"): 3,
}

# The map: where a start helps, over depth, width and rate; all of it on series, which are cheap,
# slices of it elsewhere
MAP_ARMS = ("default", "equal_norms", "decorrelated", "simplex", "alive", FOUND)
MAP_DEPTHS, MAP_WIDTHS = (1, 2, 3, 5, 8), (4, 8, 16, 32)
SLICE_WIDTH = 8  # of the slices: other data, optimizers and activations


# ------------------------------------------------------------------------------------ the tables
# A table has all rows of the experiment of its name, but for these two, which share the units of
# one: what is known of all arms, and what is known of the observed ones.
PARTS = {
    "early": ("early", lambda rows: rows[(rows.layer == "") & (rows.epoch % 1 == 0)]),
    "diversity": ("early", lambda rows: rows[rows.arm.isin(OBSERVED_ARMS)]),
}
