"""The presets and the experiments: how much of what is computed, which networks with which arms and
seeds. What they are made of is in ``design.py``.

An experiment is a function of a preset and of the data sets at hand. It gives *units*: frozen
specifications, each a block of seeds that is computed on its own (``compute.py``), single-threaded,
so that a table does not depend on how many processes made it. For another number of seeds, change a
line here: what depends on it is computed anew, and nothing else.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from dndiv.checks import choose
from dndiv.paper import design, registered
from dndiv.paper.design import (
    COMMON,
    CONVOLUTIONAL,
    CONVOLVED,
    EPOCHS,
    LEARNING_RATES,
    PARITIES,
    PLACES,
    SETTINGS,
    SIZED_ARMS,
    Common,
    Convolution,
    Directions,
    Parity,
    Training,
    Unit,
)
from dndiv.paper.names import ARCHIVED, SERIES


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
    widths: tuple[int, ...] = design.WIDTHS
    lasting_epochs: int = design.LASTING_EPOCHS
    technique_settings: tuple[str, ...] = tuple(SETTINGS)
    parities: tuple[tuple[str, str], ...] = PARITIES
    peer_settings: tuple[str, ...] = design.PEER_SETTINGS
    map_depths: tuple[int, ...] = design.MAP_DEPTHS
    map_widths: tuple[int, ...] = design.MAP_WIDTHS
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
    name: str, count: int, size: int = SEEDS_PER_UNIT, first: int = design.FRESH
) -> list[tuple[int, ...]]:
    """``count`` seeds of a data set from its ``first`` on, in blocks of at most ``size``; on series
    ``SERIES_TOGETHER`` times that."""
    size *= SERIES_TOGETHER if name == SERIES else 1
    seeds = range(design.FIRST_SEED[name] + first, design.FIRST_SEED[name] + first + count)
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
        Directions(setting, design.DIRECTION_ARMS, block)
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
            (design.EARLY_ARMS, every, SEEDS_PER_UNIT, design.OBSERVED_ARMS, "powers of two"),
            (
                design.CLAIM_ARMS,
                preset.seeds[cell[1]],
                2 * SEEDS_PER_UNIT,
                design.OBSERVED_ARMS,
                "powers of two",
            ),
            (
                design.OBSERVED_ARMS[:1],
                preset.default_seeds[cell[1]],
                5 * SEEDS_PER_UNIT,
                (),
                "epochs",
            ),
        )
        done = 0
        for arms, upto, size, observed, looks in groups:
            for block in blocks(cell[0], upto - done, size, first=design.AGAIN + done):
                options = {"observed": observed, "looks": looks} | records
                found.append(Training(*cell, arms, block, **options))
            done = upto
    return found


def baselines(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """Initializations of the literature, each beside its norm-matched decorrelated twin."""
    return [
        Training(*cell, design.BASELINE_ARMS, block)
        for cell in cells(names)
        for block in blocks(cell[0], preset.baseline_seeds, first=design.AGAIN)
    ]


def redundancy(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """How many units the task needs, and how many are used: widths and depths."""
    options = {"records": ("accuracy", "diversity"), "observed": SIZED_ARMS[:1]}
    return [
        Training(name, f"{depth}×{width}", "adam", SIZED_ARMS if width <= 64 else SIZED_ARMS[:1],
                 block, **options)
        for width in reversed(preset.widths)
        for name in names
        for depth in design.DEPTHS
        for block in blocks(name, preset.width_seeds, first=design.AGAIN)
    ]  # fmt: skip


def intervention(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """What redundancy costs that is put there: units that start alike, against the same draw.

    The first seeds have all arms, the others those that decide the claim.
    """
    found: list[Unit] = []
    for name, setting, optimizer in cells(names, preset.technique_settings):
        cell, seeds = (name, setting, optimizer), preset.intervention_seeds[setting]
        every = min(preset.extension_seeds, seeds)
        for block in blocks(name, every, 10, first=design.AGAIN):
            found.append(Training(*cell, design.INTERVENTION_ARMS, block, looks="quarters"))
        for block in blocks(name, seeds - every, 25, first=design.AGAIN + every):
            found.append(Training(*cell, design.INTERVENTION_ARMS[:2], block, looks="quarters"))
    return found


def portraits(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """What diverse and redundant neurons look like, two networks of one hidden layer, and what they
    see."""
    options = {"records": ("accuracy", "portraits", "images"), "looks": "a few early"}
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
    escaping = (names[0], *ESCAPING)  # of smaller presets the one place beyond those of techniques
    for name, setting, optimizer in dict.fromkeys(
        [*cells(names, preset.technique_settings), escaping]
    ):
        deep = len(SETTINGS[setting]) > 1
        arms = (
            "default",
            *design.candidates("dynamic"),
            *(design.candidates("constant") if deep else ()),
        )
        for block in blocks(name, preset.tuning_seeds, first=design.TUNING_SEED):
            found.append(Training(name, setting, optimizer, arms, block, **options))
    for name, setting in preset.parities:
        for block in blocks(name, 10 * preset.tuning_seeds, 10, first=design.TUNING_SEED):
            found.append(Parity(name, setting, ("default", *design.candidates("dynamic")), block))
    arms = ("default", *design.candidates("constant", design.GRID | design.RIVALS))
    for name, setting in rival_places(preset, names):
        seeds = blocks(name, preset.dose_seeds[name == SERIES], first=design.TUNING_SEED)
        for optimizer in LEARNING_RATES:
            at = f"{optimizer}@{registered.rate(name, setting, optimizer, 'default'):g}"
            found += [Training(name, setting, at, arms, block, **options) for block in seeds]
        for rate in design.RATES[design.MUON]:
            at = f"{design.MUON}@{rate:g}"
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
    groups = (
        (design.TECHNIQUE_ARMS, preset.technique_seeds),
        (design.HELD_ARMS, preset.held_seeds),
    )
    found: list[Unit] = [
        Training(*cell, arms, block, records=records)
        for arms, seeds in groups
        for cell in cells(names, preset.technique_settings)
        for block in blocks(cell[0], seeds[cell[1]], 10)
    ]
    return found + [
        Training(*cell, design.VARIANT_ARMS, block, records=records)
        for cell in cells(names[:1], preset.technique_settings[-1:])
        for block in blocks(cell[0], preset.variant_seeds, 10)
    ]


ESCAPING = ("narrow", "sgd")  # with the longest plateaus


def escape(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """When networks leave their plateaus: images with SGD, and parity problems."""
    options = {"epochs": design.ESCAPE_EPOCHS, "records": ("plateau",), "looks": "every few steps"}
    found: list[Unit] = [
        Training(names[0], *ESCAPING, design.ESCAPE_ARMS, block, **options)
        for block in blocks(names[0], preset.escape_seeds, 10)
    ]
    return found + [
        Parity(name, setting, design.ESCAPE_ARMS, block)
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
    return design.RATES[cell[-1]] + ((design.FURTHER[cell],) if cell in design.FURTHER else ())


def rates(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """Learning rates of the starts that compete, all with the same budget, by inputs held out of
    training."""
    options = {"records": ("accuracy in training",), "tuned": True}
    found: list[Unit] = [
        Training(name, setting, f"{optimizer}@{rate:g}", design.PEERS, block, **options)
        for name, setting, optimizer in peer_cells(preset, names)
        for rate in rates_of((name, setting, optimizer))
        for block in blocks(
            name, preset.rate_seeds[place(name, setting)], 4 * SEEDS_PER_UNIT, design.TUNING_SEED
        )
    ]
    later = tuple(start for start in design.LEADERS if start not in CONVOLVED)
    return found + [
        Convolution(names[-1], f"{optimizer}@{rate:g}", starts, block, tuned=True)
        for starts in (preset.convolved, later)
        for optimizer in LEARNING_RATES
        for rate in design.RATES[optimizer]
        for block in blocks(
            names[-1], preset.rate_seeds[CONVOLUTIONAL], 1, first=design.TUNING_SEED
        )
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
        rate = registered.rate(name, setting, optimizer, start, later)
        at.setdefault(rate, []).extend([start, *filter(None, [twins.get(start)])])
    for rate, arms in at.items():
        yield f"{optimizer}@{rate:g}", tuple(arms)


def peers(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """The starts that compete, each at its best rate, on fresh seeds."""
    return _at_best_rates(preset, names, design.PEERS, preset.peer_seeds, design.ANEW, design.TWINS)


def leaders(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """Those of them that led, and the method, on seeds that had no part in that."""
    return _at_best_rates(preset, names, design.LEADERS, preset.leader_seeds, design.CONFIRMING)


def lasting(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """Some of these, when training goes on at the same rates."""
    options = {"epochs": preset.lasting_epochs}
    return _at_best_rates(
        preset, names, design.LASTING, preset.lasting_seeds, design.CONFIRMING, **options
    )


def later_rates(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """Learning rates of these in networks of several layers, by inputs held out of training, after
    the last epoch."""
    options = {"epochs": preset.lasting_epochs, "records": ("accuracy in training",), "tuned": True}
    return [
        Training(*cell[:2], f"{cell[2]}@{rate:g}", design.LASTING, block, **options)
        for cell in later_cells(preset, names)
        for rate in later_rates_of(cell)
        for block in blocks(
            cell[0],
            preset.later_rate_seeds[cell[0] == SERIES],
            2 * SEEDS_PER_UNIT,
            design.TUNING_SEED,
        )
    ]


def later(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """The same, each at the rate that is best then, on seeds of their own."""
    return [
        Training(name, setting, at, arms, block, preset.lasting_epochs)
        for name, setting, optimizer in later_cells(preset, names)
        for at, arms in by_best_rate(name, setting, optimizer, design.LASTING, {}, later=True)
        for block in blocks(
            name, preset.later_seeds[place(name, setting)], 4 * SEEDS_PER_UNIT, design.RETUNED
        )
    ]


def later_cells(preset: Preset, names: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """As ``cells``, of those."""
    deep = [s for s in preset.technique_settings if len(SETTINGS[s]) > 1]
    return cells(dict.fromkeys((*names, SERIES)), deep)


def later_rates_of(cell: tuple[str, str, str]) -> tuple[float, ...]:
    """The grid of learning rates of a cell whose networks train on."""
    further = (design.LATER_FURTHER[cell],) if cell in design.LATER_FURTHER else ()
    return design.LATER_RATES[cell[-1]][cell[0] == SERIES] + further


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
        Training(name, setting, optimizer, design.PEERS, block, **options)
        for name, setting, optimizer in peer_cells(preset, names)
        if optimizer == "sgd"
        for block in blocks(
            name, min(preset.peer_seeds[place(name, setting)], SEEDS_PER_UNIT), first=design.ANEW
        )
    ]


def convolution(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """The same in a small convolutional network, on images."""
    return _convolved(names, preset.convolved, design.TWINS, preset.peer_seeds, design.ANEW)


def convolution_leaders(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """Those that led elsewhere, and the method, in the same network on other seeds."""
    return _convolved(names, design.LEADERS, {}, preset.leader_seeds, design.CONFIRMING)


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
        for optimizer in (*LEARNING_RATES, design.MUON):
            at = f"{optimizer}@{registered.rate(name, setting, optimizer, 'default'):g}"
            groups = (
                (design.RIVAL_ARMS[:1],)
                if optimizer == design.MUON
                else (design.RIVAL_ARMS, design.RIVAL_HELD_ARMS)
            )
            for arms in groups:
                for block in blocks(
                    name, preset.rival_seeds[name == SERIES], 4 * SEEDS_PER_UNIT, design.ANEW
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
        (name, f"{depth}×{design.SLICE_WIDTH}{activation}", optimizer)
        for depth in preset.map_depths
        for name, optimizer, activation in (
            (SERIES, "adam", ""),
            (SERIES, "sgd", " tanh"),
            (SERIES, "sgd", " leaky_relu"),
            *((name, "sgd", "") for name in names),
        )
    ]
    return [
        Training(name, setting, f"{optimizer}@{rate:g}", design.MAP_ARMS, block,
                 records=("accuracy", "signals"))
        for name, setting, optimizer in wholes + slices
        for rate in (design.RATES[optimizer][1:] if name == SERIES else design.RATES[optimizer][:4])
        for block in blocks(name, preset.map_seeds, 2 * SEEDS_PER_UNIT)
    ]  # fmt: skip


def common(preset: Preset, names: Sequence[str]) -> list[Unit]:
    """What one line does to networks in common use, at the usual learning rates."""
    return [
        Common(network, optimizer, design.COMMON_ARMS, block)
        for network, count in preset.common_seeds.items()
        for optimizer in LEARNING_RATES
        for block in blocks(design.COMMON_DATA, count)
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


def table_names() -> tuple[str, ...]:
    """The tables that there are."""
    parts = (name for name, (source, _) in design.PARTS.items() if source in EXPERIMENTS)
    return tuple(dict.fromkeys((*EXPERIMENTS, *parts)))


def source(table: str) -> tuple[str, Callable]:
    """The experiment that a table is of, and which of its rows."""
    return design.PARTS.get(table, (table, lambda rows: rows))


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
