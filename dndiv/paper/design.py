"""The design of the experiments: which data, networks, arms and seeds, and why. All on this page.

An experiment is a function of a preset and of the data sets at hand. It gives *units*: frozen
specifications, each a block of seeds that is computed on its own (``compute.py``), single-threaded,
so that a table does not depend on how many processes made it. For another network, learning rate,
arm or number of seeds, change a line here: what depends on it is computed anew, and nothing else.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from dndiv.checks import choose, typed
from dndiv.paper.arms import Arm
from dndiv.paper.names import ARCHIVED, DATA_SETS, SERIES
from dndiv.paper.registered import rate as registered_rate

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


# --------------------------------------------------------------------------------- the presets
@dataclass(frozen=True)
class Preset:
    """How much is computed: data sets, numbers of seeds, and where techniques are tried.

    Where it is a dictionary, seeds are counted by setting: the shallow networks are dear and hardly
    differ, the deep ones are cheap and differ much.
    """

    data: tuple[str, ...]
    seeds: dict[str, int]  # of the initializations that decide claims
    default_seeds: dict[str, int]  # of PyTorch's default, whose diversity may foretell accuracy
    extension_seeds: int  # of those that go beyond the paper
    baseline_seeds: int  # of the other initializations
    width_seeds: int  # of networks of every width
    direction_seeds: int  # of drawn, untrained weights
    tuning_seeds: int  # of the coefficients' candidates, on every data set
    technique_seeds: dict[str, int]  # of the techniques that decide claims
    held_seeds: dict[str, int]  # of their norm-held twins
    variant_seeds: int  # of their other schedules and starts, on one data set in one setting
    intervention_seeds: dict[str, int]  # of networks half of whose units start alike
    escape_seeds: int  # of networks whose plateaus are timed
    # by ``PLACES``:
    rate_seeds: dict[str, int]  # of learning rates, on held-out inputs
    peer_seeds: dict[str, int]  # of starts at their best rates
    leader_seeds: dict[str, int]  # of those that led, once more
    lasting_seeds: dict[str, int]  # of those that train on
    later_seeds: dict[str, int]  # of these at the rates that are best then
    # on images, and on series, which are cheap:
    dose_seeds: tuple[int, int]  # of coefficients of techniques and their rivals, likewise
    rival_seeds: tuple[int, int]  # of techniques and their rivals
    later_rate_seeds: tuple[int, int]  # of those that train on, which choose rates
    map_seeds: int
    common_seeds: dict[str, int]  # of networks in common use, by name
    widths: tuple[int, ...] = WIDTHS
    lasting_epochs: int = LASTING_EPOCHS
    technique_settings: tuple[str, ...] = tuple(SETTINGS)
    parities: tuple[tuple[str, str], ...] = PARITIES
    peer_settings: tuple[str, ...] = PEER_SETTINGS
    map_depths: tuple[int, ...] = MAP_DEPTHS
    map_widths: tuple[int, ...] = MAP_WIDTHS
    convolved: tuple[str, ...] = CONVOLVED


def by_setting(shallow: int, deep: int) -> dict[str, int]:
    """Numbers of seeds: of settings with one hidden layer, and of those with more."""
    return {name: shallow if len(hidden) == 1 else deep for name, hidden in SETTINGS.items()}


PRESETS = {
    "smoke": Preset(
        ("Digits",), seeds=by_setting(3, 5), default_seeds=by_setting(3, 5), extension_seeds=2,
        baseline_seeds=2, width_seeds=2, direction_seeds=20, tuning_seeds=1,
        technique_seeds=by_setting(3, 4), held_seeds=by_setting(2, 2), variant_seeds=1,
        intervention_seeds=by_setting(2, 3), escape_seeds=10, rate_seeds=dict.fromkeys(PLACES, 1),
        peer_seeds=dict.fromkeys(PLACES, 2), leader_seeds=dict.fromkeys(PLACES, 2),
        lasting_seeds=dict.fromkeys(PLACES, 2), lasting_epochs=6, later_rate_seeds=(2, 0),
        later_seeds=dict.fromkeys(PLACES, 2) | {SERIES: 0},
        dose_seeds=(1, 1), rival_seeds=(2, 2), map_seeds=2,
        common_seeds=dict.fromkeys(COMMON[:2], 2),
        widths=(2, 8, 32), technique_settings=("tiny",), parities=PARITIES[:1],
        peer_settings=("tiny",), map_depths=(1, 3), map_widths=(4, 8), convolved=CONVOLVED[:5],
    ),
    "quick": Preset(
        ARCHIVED, seeds=by_setting(2, 4), default_seeds=by_setting(2, 4), extension_seeds=1,
        baseline_seeds=1, width_seeds=1, direction_seeds=50, tuning_seeds=1,
        technique_seeds=by_setting(2, 3), held_seeds=by_setting(2, 2), variant_seeds=1,
        intervention_seeds=by_setting(1, 2), escape_seeds=10, rate_seeds=dict.fromkeys(PLACES, 1),
        peer_seeds=dict.fromkeys(PLACES, 2), leader_seeds=dict.fromkeys(PLACES, 2),
        lasting_seeds=dict.fromkeys(PLACES, 2), later_rate_seeds=(2, 2),
        later_seeds=dict.fromkeys(PLACES, 2),
        dose_seeds=(1, 1), rival_seeds=(2, 2), map_seeds=2,
        common_seeds=dict.fromkeys(COMMON, 2),
        widths=(2, 8, 32), technique_settings=("tiny",), peer_settings=("tiny",),
        map_depths=(1, 3), map_widths=(4, 8), convolved=CONVOLVED[:5],
    ),
    "paper": Preset(
        ARCHIVED, seeds=by_setting(12, 70), default_seeds=by_setting(200, 300), extension_seeds=12,
        baseline_seeds=3, width_seeds=8, direction_seeds=200, tuning_seeds=3,
        technique_seeds=by_setting(8, 60), held_seeds=by_setting(5, 24), variant_seeds=3,
        intervention_seeds=by_setting(40, 300), escape_seeds=50,
        # tiny networks differ most from seed to seed; shallow ones hardly do, and are dear
        rate_seeds=dict.fromkeys(PLACES, 10) | {"shallow": 2, "tiny": 20, CONVOLUTIONAL: 5},
        peer_seeds=dict.fromkeys(PLACES, 10) | {"tiny": 20, CONVOLUTIONAL: 20, SERIES: 40},
        leader_seeds=dict.fromkeys(PLACES, 20) | {"shallow": 10, CONVOLUTIONAL: 60, SERIES: 40},
        lasting_seeds=dict.fromkeys(PLACES, 10) | {"shallow": 5, "tiny": 20, SERIES: 40},
        # of tiny networks of the default one in twenty or in fifty does not learn: 20 cannot tell
        later_rate_seeds=(20, 40),
        later_seeds=dict.fromkeys(PLACES, 40) | {"tiny": 100, SERIES: 100},
        dose_seeds=(5, 10), rival_seeds=(20, 100), map_seeds=8,
        common_seeds=dict.fromkeys(COMMON, 20) | {"resnet18": 10},
    ),
}  # fmt: skip


# ----------------------------------------------------------------------------- the experiments
SEEDS_PER_UNIT = 5  # weights, gradients and moments of 5 seeds × 13 arms fit the cache
SERIES_TOGETHER = 5  # times as many on series, whose networks have a twentieth of the inputs


def blocks(
    name: str, count: int, size: int = SEEDS_PER_UNIT, first: int = FRESH
) -> list[tuple[int, ...]]:
    """``count`` seeds of a data set from its ``first`` on, in blocks of at most ``size``; on series
    ``SERIES_TOGETHER`` times that."""
    size *= SERIES_TOGETHER if name == SERIES else 1
    seeds = range(FIRST_SEED[name] + first, FIRST_SEED[name] + first + count)
    return [tuple(seeds[k : k + size]) for k in range(0, count, size)]


def cells(names: Sequence[str], settings: Sequence[str] = ()) -> Iterator[tuple[str, str, str]]:
    """Every data set, setting (by default all in ``SETTINGS``) and optimizer."""
    for name in names:
        for setting in settings or SETTINGS:
            for optimizer in LEARNING_RATES:
                yield name, setting, optimizer


def directions(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """How similar the rows of a layer are as they are drawn, within a draw and across draws."""
    return [
        Directions(setting, DIRECTION_ARMS, block)
        for setting in SETTINGS
        for block in blocks("none", preset.direction_seeds, 25)
    ]


def early(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """The first epochs, which the 40 % are about, and the neurons of the observed arms.

    The first seeds have all arms, more those that decide claims, and the last the default alone,
    at the ends of epochs.
    """
    records = {"records": ("accuracy", "diversity", "lesions")}
    found: list[Unit] = []
    for cell in cells(names):
        every = min(preset.extension_seeds, preset.seeds[cell[1]])
        # arms, up to which seed, how many at once, whose neurons are looked at, and when
        groups = (
            (EARLY_ARMS, every, SEEDS_PER_UNIT, OBSERVED_ARMS, "powers of two"),
            (CLAIM_ARMS, preset.seeds[cell[1]], 2 * SEEDS_PER_UNIT, OBSERVED_ARMS, "powers of two"),
            (OBSERVED_ARMS[:1], preset.default_seeds[cell[1]], 5 * SEEDS_PER_UNIT, (), "epochs"),
        )
        done = 0
        for arms, upto, size, observed, looks in groups:
            for block in blocks(cell[0], upto - done, size, first=AGAIN + done):
                options = {"observed": observed, "looks": looks} | records
                found.append(Training(*cell, arms, block, **options))
            done = upto
    return found


def baselines(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """Initializations of the literature, each beside its norm-matched decorrelated twin."""
    return [
        Training(*cell, BASELINE_ARMS, block)
        for cell in cells(names)
        for block in blocks(cell[0], preset.baseline_seeds, first=AGAIN)
    ]


def redundancy(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """How many units the task needs, and how many are used: widths and depths."""
    options = {"records": ("accuracy", "diversity"), "observed": SIZED_ARMS[:1]}
    return [
        Training(name, f"{depth}×{width}", "adam", SIZED_ARMS if width <= 64 else SIZED_ARMS[:1],
                 block, **options)
        for width in reversed(preset.widths)
        for name in names
        for depth in DEPTHS
        for block in blocks(name, preset.width_seeds, first=AGAIN)
    ]  # fmt: skip


def intervention(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """What redundancy costs that is put there: units that start alike, against the same draw.

    The first seeds have all arms, the others those that decide the claim.
    """
    found: list[Unit] = []
    for name, setting, optimizer in cells(names, preset.technique_settings):
        cell, seeds = (name, setting, optimizer), preset.intervention_seeds[setting]
        every = min(preset.extension_seeds, seeds)
        for block in blocks(name, every, 10, first=AGAIN):
            found.append(Training(*cell, INTERVENTION_ARMS, block, looks="quarters"))
        for block in blocks(name, seeds - every, 25, first=AGAIN + every):
            found.append(Training(*cell, INTERVENTION_ARMS[:2], block, looks="quarters"))
    return found


def portraits(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """What diverse and redundant neurons look like: two networks of one hidden layer."""
    options = {"records": ("accuracy", "portraits"), "looks": "a few early"}
    count = min(20, preset.seeds["tiny"])
    return [
        Training(name, "shallow", "adam", ("default",), block, **options)
        for name in names
        for block in blocks(name, count, count)
    ]


def tuning(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """The coefficients' candidates: the epochs of the claim, by images held out of training.

    Constant coefficients are tuned in deep networks, where schedules may be compared.
    """
    options = {"records": ("accuracy in training",), "tuned": True}
    found: list[Unit] = []
    for name, setting, optimizer in cells(names, preset.technique_settings):
        deep = len(SETTINGS[setting]) > 1
        arms = ("default", *candidates("dynamic"), *(candidates("constant") if deep else ()))
        for block in blocks(name, preset.tuning_seeds, first=TUNING_SEED):
            found.append(Training(name, setting, optimizer, arms, block, **options))
    for name, setting in preset.parities:
        for block in blocks(name, 10 * preset.tuning_seeds, 10, first=TUNING_SEED):
            found.append(Parity(name, setting, ("default", *candidates("dynamic")), block))
    arms = ("default", *candidates("constant", GRID | RIVALS))
    for name, setting in rival_places(preset, names):
        seeds = blocks(name, preset.dose_seeds[name == SERIES], first=TUNING_SEED)
        for optimizer in LEARNING_RATES:
            at = f"{optimizer}@{registered_rate(name, setting, optimizer, 'default'):g}"
            found += [Training(name, setting, at, arms, block, **options) for block in seeds]
        for rate in RATES[MUON]:
            at = f"{MUON}@{rate:g}"
            found += [Training(name, setting, at, arms[:1], block, **options) for block in seeds]
    return found


def rival_places(preset: Preset, names: Sequence[str]) -> list[tuple[str, str]]:
    """The data sets and settings in which techniques compete: all on series, and the deep ones on
    archived images."""
    deep = [s for s in preset.technique_settings if len(SETTINGS[s]) > 1]
    images = [name for name in names if name in ARCHIVED]
    return [(SERIES, s) for s in preset.peer_settings] + [(n, s) for n in images for s in deep]


def reinforcement(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """The techniques in the first epochs, and their norm-held twins; their variants in the deepest
    setting of one data set."""
    records = ("accuracy", "layers")
    groups = ((TECHNIQUE_ARMS, preset.technique_seeds), (HELD_ARMS, preset.held_seeds))
    found: list[Unit] = [
        Training(*cell, arms, block, records=records)
        for arms, seeds in groups
        for cell in cells(names, preset.technique_settings)
        for block in blocks(cell[0], seeds[cell[1]], 10)
    ]
    return found + [
        Training(*cell, VARIANT_ARMS, block, records=records)
        for cell in cells(names[:1], preset.technique_settings[-1:])
        for block in blocks(cell[0], preset.variant_seeds, 10)
    ]


def escape(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """When networks leave their plateaus: images with SGD, and parity problems."""
    options = {"epochs": ESCAPE_EPOCHS, "records": ("plateau",), "looks": "every few steps"}
    found: list[Unit] = [
        Training(names[0], "narrow", "sgd", ESCAPE_ARMS, block, **options)
        for block in blocks(names[0], preset.escape_seeds, 10)
    ]
    return found + [
        Parity(name, setting, ESCAPE_ARMS, block)
        for name, setting in preset.parities
        for block in blocks(name, 2 * preset.escape_seeds, 50)
    ]


def peer_cells(preset: Preset, names: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """As ``cells``, of the settings and data sets on which starts compete."""
    return cells(dict.fromkeys((*names, SERIES)), preset.peer_settings)


def place(name: str, setting: str) -> str:
    """Which of ``PLACES`` a setting is on a data set."""
    return SERIES if name == SERIES else setting


def rates_of(cell: tuple[str, str, str]) -> tuple[float, ...]:
    """The grid of learning rates of a cell."""
    return RATES[cell[-1]] + ((FURTHER[cell],) if cell in FURTHER else ())


def rates(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """Learning rates of the starts that compete, all with the same budget, by inputs held out of
    training."""
    options = {"records": ("accuracy in training",), "tuned": True}
    found: list[Unit] = [
        Training(name, setting, f"{optimizer}@{rate:g}", PEERS, block, **options)
        for name, setting, optimizer in peer_cells(preset, names)
        for rate in rates_of((name, setting, optimizer))
        for block in blocks(
            name, preset.rate_seeds[place(name, setting)], 4 * SEEDS_PER_UNIT, TUNING_SEED
        )
    ]
    later = tuple(start for start in LEADERS if start not in CONVOLVED)
    return found + [
        Convolution(names[-1], f"{optimizer}@{rate:g}", starts, block, tuned=True)
        for starts in (preset.convolved, later)
        for optimizer in LEARNING_RATES
        for rate in RATES[optimizer]
        for block in blocks(names[-1], preset.rate_seeds[CONVOLUTIONAL], 1, first=TUNING_SEED)
    ]


def by_best_rate(
    name: str,
    setting: str,
    optimizer: str,
    starts: Sequence[str],
    twins: dict[str, str],
    later: bool = False,
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """An optimizer at every learning rate that rates.yml registers for some starts, with the starts
    that it is best for; and their norm-matched decorrelated ``twins``, at the same rates. later: at
    those that are best after the last epoch."""
    at: dict[float, list[str]] = {}
    for start in starts:
        rate = registered_rate(name, setting, optimizer, start, later)
        at.setdefault(rate, []).extend([start, *filter(None, [twins.get(start)])])
    for rate, arms in at.items():
        yield f"{optimizer}@{rate:g}", tuple(arms)


def peers(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """The starts that compete, each at its best rate, on fresh seeds."""
    return _at_best_rates(preset, names, PEERS, preset.peer_seeds, ANEW, TWINS)


def leaders(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """Those of them that led, and the method, on seeds that had no part in that."""
    return _at_best_rates(preset, names, LEADERS, preset.leader_seeds, CONFIRMING)


def lasting(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """Some of these, when training goes on at the same rates."""
    options = {"epochs": preset.lasting_epochs}
    return _at_best_rates(preset, names, LASTING, preset.lasting_seeds, CONFIRMING, **options)


def later_rates(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """Learning rates of these in networks of several layers, by inputs held out of training, after
    the last epoch."""
    options = {"epochs": preset.lasting_epochs, "records": ("accuracy in training",), "tuned": True}
    return [
        Training(*cell[:2], f"{cell[2]}@{rate:g}", LASTING, block, **options)
        for cell in later_cells(preset, names)
        for rate in later_rates_of(cell)
        for block in blocks(
            cell[0], preset.later_rate_seeds[cell[0] == SERIES], 2 * SEEDS_PER_UNIT, TUNING_SEED
        )
    ]


def later(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """The same, each at the rate that is best then, on seeds of their own."""
    return [
        Training(name, setting, at, arms, block, preset.lasting_epochs)
        for name, setting, optimizer in later_cells(preset, names)
        for at, arms in by_best_rate(name, setting, optimizer, LASTING, {}, later=True)
        for block in blocks(
            name, preset.later_seeds[place(name, setting)], 4 * SEEDS_PER_UNIT, RETUNED
        )
    ]


def later_cells(preset: Preset, names: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """As ``cells``, of those."""
    deep = [s for s in preset.technique_settings if len(SETTINGS[s]) > 1]
    return cells(dict.fromkeys((*names, SERIES)), deep)


def later_rates_of(cell: tuple[str, str, str]) -> tuple[float, ...]:
    """The grid of learning rates of a cell whose networks train on."""
    further = (LATER_FURTHER[cell],) if cell in LATER_FURTHER else ()
    return LATER_RATES[cell[-1]][cell[0] == SERIES] + further


def _at_best_rates(preset, names, starts, seeds, first, twins=None, epochs=EPOCHS) -> list[Unit]:
    return [
        Training(name, setting, at, arms, block, epochs)
        for name, setting, optimizer in peer_cells(preset, names)
        for at, arms in by_best_rate(name, setting, optimizer, starts, twins or {})
        for block in blocks(name, seeds[place(name, setting)], 4 * SEEDS_PER_UNIT, first)
    ]


def beginnings(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """How diverse the units of the starts that compete are before training and after an epoch: of
    the first of the peers' seeds. What optimizer follows makes no difference before it."""
    options = {"epochs": 1, "records": ("accuracy", "diversity")}
    return [
        Training(name, setting, optimizer, PEERS, block, **options)
        for name, setting, optimizer in peer_cells(preset, names)
        if optimizer == "sgd"
        for block in blocks(
            name, min(preset.peer_seeds[place(name, setting)], SEEDS_PER_UNIT), first=ANEW
        )
    ]


def convolution(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """The same in a small convolutional network, on images."""
    return _convolved(names, preset.convolved, TWINS, preset.peer_seeds, ANEW)


def convolution_leaders(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """Those that led elsewhere, and the method, in the same network on other seeds."""
    return _convolved(names, LEADERS, {}, preset.leader_seeds, CONFIRMING)


def _convolved(names, starts, twins, seeds, first) -> list[Unit]:
    return [
        Convolution(names[-1], at, arms, block)
        for optimizer in LEARNING_RATES
        for at, arms in by_best_rate(names[-1], CONVOLUTIONAL, optimizer, starts, twins)
        for block in blocks(names[-1], seeds[CONVOLUTIONAL], first=first)
    ]


def rivals(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """Techniques and their rivals, tuned, at the best learning rate of PyTorch's default, and their
    norm-held twins; and the default with Muon, at its own."""
    found: list[Unit] = []
    for name, setting in rival_places(preset, names):
        for optimizer in (*LEARNING_RATES, MUON):
            at = f"{optimizer}@{registered_rate(name, setting, optimizer, 'default'):g}"
            groups = (RIVAL_ARMS[:1],) if optimizer == MUON else (RIVAL_ARMS, RIVAL_HELD_ARMS)
            for arms in groups:
                for block in blocks(
                    name, preset.rival_seeds[name == SERIES], 4 * SEEDS_PER_UNIT, ANEW
                ):
                    found.append(Training(name, setting, at, arms, block))
    return found


def where(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """The map: the starts over depth, width and learning rate, on series with SGD; and slices of
    one width with Adam, with other activations, and on images."""
    wholes = [
        (SERIES, f"{depth}×{width}", "sgd")
        for depth in preset.map_depths
        for width in preset.map_widths
    ]
    slices = [
        (name, f"{depth}×{SLICE_WIDTH}{activation}", optimizer)
        for depth in preset.map_depths
        for name, optimizer, activation in (
            (SERIES, "adam", ""),
            (SERIES, "sgd", " tanh"),
            (SERIES, "sgd", " leaky_relu"),
            *((name, "sgd", "") for name in names),
        )
    ]
    return [
        Training(name, setting, f"{optimizer}@{rate:g}", MAP_ARMS, block,
                 records=("accuracy", "signals"))
        for name, setting, optimizer in wholes + slices
        for rate in (RATES[optimizer][1:] if name == SERIES else RATES[optimizer][:4])
        for block in blocks(name, preset.map_seeds, 2 * SEEDS_PER_UNIT)
    ]  # fmt: skip


def common(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """What one line does to networks in common use, at the usual learning rates."""
    return [
        Common(network, optimizer, COMMON_ARMS, block)
        for network, count in preset.common_seeds.items()
        for optimizer in LEARNING_RATES
        for block in blocks(COMMON_DATA, count)
    ]


EXPERIMENTS = {
    "directions": directions,
    "early": early,
    "baselines": baselines,
    "redundancy": redundancy,
    "intervention": intervention,
    "portraits": portraits,
    "tuning": tuning,
    "reinforcement": reinforcement,
    "escape": escape,
    "rates": rates,
    "peers": peers,
    "leaders": leaders,
    "lasting": lasting,
    "later_rates": later_rates,
    "later": later,
    "beginnings": beginnings,
    "convolution": convolution,
    "convolution_leaders": convolution_leaders,
    "rivals": rivals,
    "where": where,
    "common": common,
}
# A table has all rows of the experiment of its name, but for these two, which share the units of
# one: what is known of all arms, and what is known of the observed ones.
PARTS = {
    "early": ("early", lambda rows: rows[(rows.layer == "") & (rows.epoch % 1 == 0)]),
    "diversity": ("early", lambda rows: rows[rows.arm.isin(OBSERVED_ARMS)]),
}


def table_names() -> tuple[str, ...]:
    """The tables that there are."""
    parts = (name for name, (source, _) in PARTS.items() if source in EXPERIMENTS)
    return tuple(dict.fromkeys((*EXPERIMENTS, *parts)))


def source(table: str) -> tuple[str, Callable]:
    """The experiment that a table is of, and which of its rows."""
    return PARTS.get(table, (table, lambda rows: rows))


def units(experiment: str, preset: str, names: Sequence[str]) -> list[Unit]:
    """The units of an experiment, on the data sets ``names``."""
    choose("experiment", experiment, EXPERIMENTS)
    choose("preset", preset, PRESETS)
    return EXPERIMENTS[experiment](PRESETS[preset], names)


def queue(preset: str, names: Sequence[str], which: Collection[str] | None = None) -> list[Unit]:
    """The units of all experiments, or of some, each once, in the order in which they are given
    out: those of the first experiments are the shortest, and come last."""
    of = [name for name in reversed(EXPERIMENTS) if which is None or name in which]
    return list(dict.fromkeys(u for name in of for u in units(name, preset, names)))
