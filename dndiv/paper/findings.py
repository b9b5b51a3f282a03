"""The numbers in the notebooks' sentences and small tables, a section per notebook.

They follow from tables and outcomes alone; the words stand in the notebooks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dndiv.paper import design, outcomes
from dndiv.paper.arms import Arm
from dndiv.paper.design import GRID, TECHNIQUE_ARMS, VARIANTS, hidden_layers
from dndiv.paper.effects import holm
from dndiv.paper.names import CELL


@dataclass(frozen=True)
class Tally:
    """What a number of effects comes to: counts, and what their estimates are like."""

    of: int  # effects
    defined: int  # with an estimate
    above: int  # with an interval above zero
    below: int
    surely_above: int  # that differ from zero after Holm's correction, upwards
    surely_below: int
    median: float
    smallest: float
    largest: float


def tally(found: pd.DataFrame) -> Tally:
    """Of rows with estimate, low, high, and perhaps p_holm."""
    estimate = found.estimate
    sure = found.p_holm < 0.05 if "p_holm" in found else False
    masks = (
        *(estimate.notna(), found.low > 0, found.high < 0),
        *(sure & (estimate > 0), sure & (estimate < 0)),
    )
    counts = (int(mask.sum()) for mask in masks)
    return Tally(len(found), *counts, estimate.median(), estimate.min(), estimate.max())


def tallies(found: pd.DataFrame, by: str | list[str]) -> dict:
    """A tally for every value of a column or of some, in the order of the rows."""
    return {key: tally(part) for key, part in found.groupby(by, sort=False)}


def top(found: pd.DataFrame, by: str = "estimate") -> pd.Series:
    """The row with the largest value of a column."""
    return found.loc[found[by].idxmax()]


def in_percent(found: pd.DataFrame) -> pd.DataFrame:
    """The same rows, with estimates and intervals in per cent."""
    return found.assign(**{name: 100 * found[name] for name in ("estimate", "low", "high")})


# ---------------------------------------------------------------------------------- 00_overview
def sample_images(sets: Sequence, each: int) -> pd.DataFrame:
    """The first training images of every class of some data sets (``data.Dataset``).

    Columns: data, class, sample (from 0 to each − 1), pixel, value.
    """
    parts = []
    for d in sets:
        labels = d.y_train.numpy()
        for label, name in enumerate(d.classes):
            for k, i in enumerate(np.flatnonzero(labels == label)[:each]):
                image = {"value": d.x_train[i].tolist(), "data": d.name, "class": name, "sample": k}
                parts.append(pd.DataFrame(image).rename_axis("pixel").reset_index())
    return pd.concat(parts, ignore_index=True)


def image_summary(images: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation of each of the ``sample_images``."""
    return images.groupby(["data", "class", "sample"]).value.agg(["mean", "std"]).reset_index()


# -------------------------------------------------------------------------------- 01_redundancy
ENOUGH = 0.95  # of the best accuracy: a width that has it is enough
OUTCOMES = {
    "accuracy": "test accuracy",
    "effective_rank": "effective rank / width",
    "duplicates": "near-duplicate units",
    "dead": "dead units",
}


def widths(redundancy: pd.DataFrame) -> pd.DataFrame:
    """The end of training by width and depth, in per cent, means over the layers of a network.

    Columns: data, depth, width, seed, measure, value, outcome (the measure in words).
    """
    last = redundancy.epoch == redundancy.epoch.max()
    rows = redundancy[last & redundancy.measure.isin(OUTCOMES)]
    hidden = rows.setting.map(hidden_layers)
    rows = rows.assign(depth=hidden.map(len), width=hidden.str[0])
    shares = rows.value.where(rows.measure != "effective_rank", rows.value / rows.width)
    by = rows.assign(value=shares).groupby(
        ["data", "depth", "width", "seed", "measure"], sort=False
    )
    means = (100 * by.value.mean()).reset_index()
    return means.assign(outcome=means.measure.map(OUTCOMES))


def width_summary(layers: pd.DataFrame) -> pd.DataFrame:
    """What ``widths`` says of one hidden layer, a row per data set.

    Columns: enough, the smallest width with ``ENOUGH`` of the best accuracy of any; narrowest and
    widest, and the shares of their dimensions, in per cent, that they use.
    """
    one = layers[layers.depth == 1]
    means = one.pivot_table(index=["data", "width"], columns="measure", values="value", sort=False)
    rows = {}
    for name, part in means.groupby(level="data", sort=False):
        part = part.droplevel("data").sort_index()
        rows[name] = {
            "enough": part.index[part.accuracy >= ENOUGH * part.accuracy.max()].min(),
            "narrowest": part.index[0],
            "narrowest_uses": part.effective_rank.iloc[0],
            "widest": part.index[-1],
            "widest_uses": part.effective_rank.iloc[-1],
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def widest(layers: pd.DataFrame) -> pd.DataFrame:
    """The largest width, means over data sets in per cent: a row per depth, a column a measure."""
    here = layers[layers.width == layers.width.max()]
    by_data = here.groupby(["data", "depth", "measure"]).value.mean()
    return by_data.groupby(["depth", "measure"]).mean().unstack("measure")


def deadest(layers: pd.DataFrame) -> tuple[int, int]:
    """Depth and width with the largest share of dead units."""
    dead = layers[layers.measure == "dead"]
    return dead.groupby(["depth", "width"]).value.mean().idxmax()


def portrait_accuracies(portraits: pd.DataFrame) -> pd.DataFrame:
    """Final accuracies, a row per data set.

    Columns: diverse and redundant, the two networks that are drawn; networks, the number of all;
    lowest and highest of them.
    """
    final = portraits[portraits.epoch == portraits.epoch.max()]
    rows = {}
    for name, here in final.groupby("data", sort=False):
        accuracy = here[here.measure == "accuracy"].set_index("seed").value
        drawn = here[here.measure == "weight"].seed.unique()
        rows[name] = {
            **dict(zip(("diverse", "redundant"), accuracy[drawn])),
            "networks": len(accuracy),
            "lowest": accuracy.min(),
            "highest": accuracy.max(),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def drawn_portraits(portraits: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The weights and correlations of the networks that are drawn, by data set."""
    drawn = portraits[portraits.measure.isin(["weight", "pair"])]
    return dict(iter(drawn.groupby("data", sort=False)))


# --------------------------------------------------------------------------------- 02_diversity
def last_layers(ranks: pd.DataFrame) -> pd.DataFrame:
    """The start and end of training in the last hidden layer, means over all else, from what
    ``outcomes.rank_shares`` gives: a row per setting and arm."""
    deepest = ranks.layer == ranks.setting.map(lambda s: str(len(hidden_layers(s))))
    index = ["setting", "arm"]
    means = ranks[deepest].pivot_table(index=index, columns="epoch", values="value", sort=False)
    return pd.DataFrame({"start": means[0], "end": means[ranks.epoch.max()]})


def mean_correlation(pairs: np.ndarray) -> float:
    """Mean |correlation| off the diagonal of a matrix (or its values row by row), without units
    that are constant.

    Their rows are zero, the diagonal included; the measure leaves them out.
    """
    values = np.asarray(pairs)
    grid = values.reshape(math.isqrt(values.size), -1)
    varied = np.diag(grid) > 0
    return np.abs(grid[np.outer(varied, varied) & ~np.eye(len(grid), dtype=bool)]).mean()


def first_pairs(portraits: pd.DataFrame) -> pd.DataFrame:
    """The rows of the correlation matrices of the first seed."""
    return portraits[(portraits.measure == "pair") & (portraits.seed == portraits.seed.min())]


def correlation_paths(pairs: pd.DataFrame) -> pd.DataFrame:
    """Mean |correlation| of a network's units: before training, at most, and at the end, a row per
    data set."""
    by = pairs.groupby(["data", "epoch"], sort=False).value.apply(mean_correlation)
    of_data = by.groupby(level="data", sort=False)
    return of_data.agg(before="first", most="max", end="last")


def steps_per_epoch(portraits: pd.DataFrame, first_look: int = 8) -> dict[str, int]:
    """Steps in an epoch of every data set, whose networks are first looked at after a few."""
    training = portraits[portraits.epoch > 0]
    return {name: round(first_look / e) for name, e in training.groupby("data").epoch.min().items()}


def moments(found: pd.DataFrame) -> pd.DataFrame:
    """How well each measure predicts final accuracy, and when: tallies of ``outcomes.predictions``,
    a row per measure and moment."""
    final = found[found.outcome == "final"]
    when = {"before training": 0, "after epoch 1": 1, "at the end": final.epoch.max()}
    return pd.DataFrame(
        {"measure": measure, "moment": moment, **vars(tally(part[part.epoch == epoch]))}
        for measure, part in final.groupby("measure", sort=False)
        for moment, epoch in when.items()
    )


def strongest(summary: pd.DataFrame, moment: str) -> pd.Series:
    """The row of ``moments`` of the measure with the largest median in size."""
    here = summary[summary.moment == moment]
    return here.loc[here["median"].abs().idxmax()]


def ensemble(observed: pd.DataFrame) -> pd.DataFrame:
    """The neurons as an ensemble, at the end of training from PyTorch's default: a row per cell.

    Columns: those of ensemble, member, ambiguity, bias, variance, covariance that are there;
    cancels, the ambiguity's share of the members' error; gap, by which the identity member −
    ambiguity = ensemble fails, as a share of the largest error.
    """
    names = ["ensemble", "member", "ambiguity", "bias", "variance", "covariance"]
    rows = _at_end(observed, names)
    parts = rows.groupby([*CELL, "measure"], sort=False).value.mean().unstack("measure")
    parts = parts[[name for name in names if name in parts]]
    gap = (parts.member - parts.ambiguity - parts.ensemble).abs() / parts.ensemble.max()
    return parts.assign(cancels=parts.ambiguity / parts.member, gap=gap)


def runs_per_block(observed: pd.DataFrame) -> int:
    """Over how many runs bias, variance and covariance are taken."""
    return observed.seed.nunique() // _at_end(observed, ["variance"]).seed.nunique()


def _at_end(observed, measures):
    last = (observed.arm == "default") & (observed.epoch == observed.epoch.max())
    return observed[last & observed.measure.isin(measures)]


# ----------------------------------------------------------------------------- 03_reinforcement
def _against_none(values):
    """The effects of all techniques that the values, a column per arm, are there of."""
    return outcomes.effects(values, [(a, "default") for a in TECHNIQUE_ARMS[1:] if a in values])


def technique_effects(reinforcement: pd.DataFrame) -> pd.DataFrame:
    """The effects of all techniques on early accuracy; Holm's correction is over all of them."""
    found = _against_none(outcomes.early_accuracy(reinforcement))
    return found.assign(p_holm=holm(found.p))


def of_networks(reinforcement: pd.DataFrame, measure: str) -> pd.DataFrame:
    """A measure of layers by cell, arm, seed and epoch: the mean over layers, of which one without
    two varying units is wholly redundant. Without variants of the techniques."""
    rows = _of_layers(reinforcement, measure)
    return rows.groupby([*CELL, "arm", "seed", "epoch"], sort=False).value.mean().reset_index()


def _of_layers(reinforcement, measure):
    shown = reinforcement.arm.isin(TECHNIQUE_ARMS) & (reinforcement.measure == measure)
    rows = reinforcement[shown]
    return rows.assign(value=rows.value.fillna(1.0))


def correlation_effects(correlations: pd.DataFrame) -> pd.DataFrame:
    """The effects of all techniques on the correlation after the first epoch.

    correlations: what ``of_networks`` gives.
    """
    after = outcomes.wide(correlations[correlations.epoch == 1], ["seed"], "arm")
    return _against_none(after)


def correlation_summary(correlations: pd.DataFrame) -> pd.DataFrame:
    """Mean |correlation| over all cells, a row per arm.

    Columns: after, the first epoch; end, of training; lower, the number of cells in which it is
    lower than without a technique after the first epoch; of, the number of cells.
    """
    means = outcomes.wide(correlations, ["epoch"], "arm")
    after, end = (
        means.xs(epoch, level="epoch") for epoch in (1, means.index.get_level_values("epoch").max())
    )
    lower = after.lt(after.default, axis=0).sum()
    return pd.DataFrame(
        {"after": after.mean(), "end": end.mean(), "lower": lower, "of": len(after)}
    )


def dead_at_end(reinforcement: pd.DataFrame) -> pd.Series:
    """The share of dead units at the end of training, mean over all layers, by arm."""
    return _mean_at_end(reinforcement, "dead")


def accuracy_at_end(reinforcement: pd.DataFrame) -> pd.Series:
    """Test accuracy at the end of training, mean over all networks, by arm; without variants."""
    return _mean_at_end(reinforcement, "accuracy")


def _mean_at_end(reinforcement, measure):
    rows = _of_layers(reinforcement, measure)
    return rows[rows.epoch == rows.epoch.max()].groupby("arm", sort=False).value.mean()


def agreement(diversity: pd.DataFrame, accuracy: pd.DataFrame) -> float:
    """The rank correlation of two kinds of effects, over the comparisons that they share."""
    both = diversity.merge(accuracy, on=[*CELL, "treated"])
    return both.estimate_x.corr(both.estimate_y, method="spearman")


def variant_accuracy(reinforcement: pd.DataFrame) -> pd.DataFrame:
    """Early accuracy of the seeds that have other schedules and starts too, a column per arm."""
    values = outcomes.early_accuracy(reinforcement)
    return values.dropna(subset=[arm for arm in design.VARIANT_ARMS if arm in values])


def variant_grid(values: pd.DataFrame) -> pd.DataFrame:
    """The median over cells of the change by a technique from the same start without one.

    values: what ``variant_accuracy`` gives. A row per technique, a column per start and schedule,
    of those that it has.
    """
    means = values.groupby(level=CELL, sort=False).mean()
    kinds = (*VARIANTS[:2], ("default", "dynamic"), *VARIANTS[2:])

    def change(start, technique, schedule):
        arm = str(Arm(start, technique, schedule))
        return (means[arm] / means[start] - 1).median() if arm in means else np.nan

    grid = pd.DataFrame(
        {
            f"{start},\n{schedule}": {name: change(start, name, schedule) for name in GRID}
            for start, schedule in kinds
        }
    )
    return grid.dropna(how="all").dropna(axis="columns", how="all")


def start_medians(values: pd.DataFrame) -> pd.Series:
    """The median over cells of the early accuracy without a technique, by start."""
    starts = [start for start in dict.fromkeys(start for start, _ in VARIANTS) if start in values]
    return values.groupby(level=CELL, sort=False).mean()[starts].median()


def of_images(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of settings of images: not those of parity problems."""
    return rows[rows.setting.isin(design.SETTINGS)]


def largest_doses(candidates: pd.DataFrame) -> pd.Series:
    """The median change of accuracy at the largest coefficient of the grid, by technique."""
    grids = candidates.groupby(["technique", "schedule"], sort=False).coefficient
    largest = candidates[candidates.coefficient == grids.transform("max")]
    return largest.groupby("technique", sort=False).ratio.median() - 1


@dataclass(frozen=True)
class Choices:
    """Where the chosen coefficients lie in the grid."""

    smallest: int  # of the choices for images, those at an end of the grid
    largest: int
    of_images: int
    as_registered: int  # of all choices
    of: int


def choices(tuning: pd.DataFrame, registered: dict) -> Choices:
    """What the table chooses. registered: as ``outcomes.choose_coefficients`` gives it."""
    best = outcomes.best_candidates(tuning)
    images = of_images(best)
    ends = [
        (c == min(GRID[t]), c == max(GRID[t])) for t, c in zip(images.technique, images.coefficient)
    ]
    same = [
        registered.get(r.technique, {}).get(r.schedule, {}).get(f"{r.setting} {r.optimizer}")
        == r.coefficient
        for r in best.itertuples()
    ]
    smallest, largest = map(sum, zip(*ends))
    return Choices(smallest, largest, len(ends), sum(same), len(same))


# ----------------------------------------------------------------------------- 04_local_minima
def techniques_and_starts(found: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of ``outcomes.escapes`` of arms with a technique, and of other starts."""
    acting = outcomes.technique_of(found.arm) != ""
    return found[acting], found[~acting]


def usual_shares(found: pd.DataFrame) -> pd.Series:
    """The medians of the shares of seeds: earlier, later, rescued, stranded."""
    return found[["earlier", "later", "rescued", "stranded"]].median()


def escaped_shares(times: pd.DataFrame) -> pd.DataFrame:
    """How many networks escape without a technique: share and networks, by data and setting."""
    plain = times.xs("default", level="arm")
    by = plain.groupby(level=["data", "setting"], sort=False).escaped
    return by.agg(share="mean", networks="size")


def plateau_units(escape: pd.DataFrame, times: pd.DataFrame) -> pd.DataFrame:
    """The rows of dead units and near-duplicates, with when their network escapes.

    Columns beside the table's: time and escapes, of the network in its run; and escaped, whether it
    already has at the row's epoch.
    """
    plain = times.xs("default", level="arm").rename(columns={"escaped": "escapes"}).reset_index()
    rows = escape[escape.measure.isin(["dead", "duplicates"])]
    rows = rows.merge(plain[["data", "setting", "seed", "time", "escapes"]])
    return rows.assign(escaped=rows.escapes & (rows.epoch >= rows.time))


def fates(units: pd.DataFrame) -> pd.DataFrame | None:
    """The last hidden layer after the first epoch: a row for dead and for duplicates.

    Columns: soon, the mean share in networks that escape sooner than the median, and others. None
    where there are not both.
    """
    first = units.epoch == units.epoch[units.epoch >= 1].min()
    last = units.layer == max(units.layer, key=int)
    soon = units.escapes & (units.time <= units.time.median())
    kind = soon.map({True: "soon", False: "others"})
    means = units[first & last].assign(kind=kind).groupby(["measure", "kind"]).value.mean()
    means = means.unstack("kind")
    return means if means.shape[1] == 2 else None


def escape_table(found: pd.DataFrame) -> pd.DataFrame:
    """``outcomes.escapes`` in short, with the unit of what is gained: steps or epochs."""
    shares = ["baseline_escaped", "escaped", "earlier", "later", "rescued", "stranded"]
    shown = found[["data", "setting", "arm", "n", *shares, "gained", "p_logrank", "p_holm"]]
    return shown.assign(
        unit=["steps" if name in design.ESCAPED else "epochs" for name in shown["data"]]
    )


# ------------------------------------------------------------------------------ 06_early_epochs
def of_shared_seeds(table: pd.DataFrame, arms: tuple[str, ...]) -> pd.DataFrame:
    """The rows of the accuracy of some arms, of the seeds that all of them have."""
    rows = table[(table.measure == "accuracy") & table.arm.isin(arms)]
    shared = set.intersection(*(set(part.seed) for _, part in rows.groupby("arm")))
    return rows[rows.seed.isin(shared)]


def gaps(shown: pd.DataFrame) -> pd.DataFrame:
    """How far mean accuracies are apart after the last epoch, a row per cell.

    Columns: directions, of decorrelated to equal norms; method, of decorrelated to the default;
    alive, of alive to the default.
    """
    last = shown[shown.epoch == shown.epoch.max()]
    ends = outcomes.wide(last, [], "arm")
    return pd.DataFrame(
        {
            "directions": ends.decorrelated - ends.equal_norms,
            "method": ends.decorrelated - ends.default,
            "alive": ends.alive - ends.default,
        }
    )


def typical_steps(steps: pd.DataFrame) -> pd.Series:
    """The geometric mean of each step of the ladder over all cells, the largest in size first, by
    treated arm."""
    ratios = (1 + steps.estimate).groupby(steps.treated, sort=False)
    means = ratios.apply(lambda r: r.prod() ** (1 / len(r)) - 1)
    return means.sort_values(key=abs, ascending=False)


def product_error(steps: pd.DataFrame, whole: pd.DataFrame) -> float:
    """By how much the steps up to decorrelation, multiplied, miss the effect of the whole."""
    up_to = design.LADDER[1 : design.LADDER.index("decorrelated") + 1]
    ratios = 1 + steps[steps.treated.isin(up_to)].set_index(CELL).estimate
    product = ratios.groupby(level=CELL).prod() - 1
    return (product - whole.set_index(CELL).estimate).abs().max()


def everything(early: pd.DataFrame, baselines: pd.DataFrame) -> pd.DataFrame:
    """Early accuracy of all arms and initializations of the literature, of the seeds that both
    tables have."""
    seeds = min(early.seed.nunique(), baselines.seed.nunique())
    both = pd.concat([early, baselines])
    return outcomes.early_accuracy(both[both.seed < seeds])


def best_arms(values: pd.DataFrame) -> pd.Series:
    """In how many cells each arm has the best mean, of the arms that have it in any."""
    return values.groupby(level=CELL, sort=False).mean().idxmax(axis=1).value_counts()


def twins(values: pd.DataFrame) -> pd.DataFrame:
    """The effects of decorrelating the initializations of the literature that are there."""
    pairs = zip(design.BASELINE_ARMS[1::2], design.BASELINE_ARMS[::2])
    return outcomes.effects(values, [pair for pair in pairs if pair[0] in values])


def cell_means(values: pd.DataFrame) -> pd.DataFrame:
    """What ``everything`` gives in means over seeds, a row per cell and arm: early_accuracy."""
    means = values.groupby(level=CELL, sort=False).mean().rename_axis(columns="arm")
    return means.stack().rename("early_accuracy").reset_index()
