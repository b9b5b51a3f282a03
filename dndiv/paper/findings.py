"""The numbers in the notebooks' sentences and small tables, a section per notebook.

They follow from tables and outcomes alone; the words stand in the notebooks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import special

from dndiv.paper import design, outcomes, registered
from dndiv.paper.arms import Arm
from dndiv.paper.design import (
    FOUND,
    GRID,
    HELD_ARMS,
    LEARNING_RATES,
    TECHNIQUE_ARMS,
    VARIANTS,
    hidden_layers,
)
from dndiv.paper.effects import Effect, between, effect, rank_correlation, spearman
from dndiv.paper.files import COSTS
from dndiv.paper.names import CELL, DATA, LABELS, OPTIMIZERS, SERIES, STARTS, title

if TYPE_CHECKING:  # it asks here
    from dndiv.paper.claims import Result


@dataclass(frozen=True)
class Tally:
    """What a number of effects comes to: counts, and what their estimates are like."""

    of: int  # effects
    above: int  # with an interval above zero, or above the margin
    below: int  # or below minus the margin
    surely_above: int  # that differ from zero after Holm's correction, upwards
    surely_below: int
    median: float
    smallest: float
    largest: float


def tally(found: pd.DataFrame) -> Tally:
    """Of rows with estimate, low, high, and perhaps p_holm and margin."""
    estimate, margin = found.estimate, found.get("margin", 0)
    sure = found.p_holm < 0.05 if "p_holm" in found else False
    masks = (
        *(found.low > margin, found.high < -margin),
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


def turned(found: pd.DataFrame) -> pd.DataFrame:
    """The same rows with the other sign: how much less."""
    # from 0, so that there is no −0
    return found.assign(estimate=0 - found.estimate, low=0 - found.high, high=0 - found.low)


def in_percent(found: pd.DataFrame) -> pd.DataFrame:
    """The same rows, with estimates and intervals in per cent."""
    return found.assign(**{name: 100 * found[name] for name in ("estimate", "low", "high")})


# ---------------------------------------------------------------------------------- 00_overview
def sample_images(portraits: pd.DataFrame) -> pd.DataFrame:
    """The training images of every class that are shown. Columns: data, class (its name), sample
    (from 0), pixel, value."""
    rows = portraits[portraits.measure == "pixel"]
    label, sample, pixel = rows.layer.str.split(".", expand=True).astype(int).to_numpy().T
    names = [str(LABELS.get(name, range(CLASSES))[k]) for name, k in zip(rows["data"], label)]
    shown = {"data": rows["data"], "class": names, "sample": sample, "pixel": pixel}
    return pd.DataFrame(shown | {"value": rows.value}).reset_index(drop=True)


def image_summary(images: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation of each of the ``sample_images``."""
    return images.groupby(["data", "class", "sample"]).value.agg(["mean", "std"]).reset_index()


def data_facts(portraits: pd.DataFrame) -> pd.DataFrame:
    """A row per data set: training and test (numbers of images), side, raw_mean, raw_std."""
    of = portraits[portraits.layer == ""].drop_duplicates(["data", "measure"])
    facts = of.pivot(index="data", columns="measure", values="value")
    first = (portraits.measure == "pixel") & portraits.layer.str.startswith("0.0.")
    side = portraits[first].groupby("data", sort=False).size().map(math.isqrt)
    return facts.loc[side.index].assign(side=side)


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


def costs(
    intervention: pd.DataFrame, pairs: Sequence[tuple[str, str]], margins: dict[str, float]
) -> pd.DataFrame:
    """What one arm costs against another in every cell: positive is lower accuracy, or more time.

    pairs: (treated, baseline). margins: the smallest cost of interest by outcome, those of
    ``outcomes.intervened``. Columns: outcome, margin, and those of ``outcomes.effects``.
    """
    parts = []
    for outcome, values in outcomes.intervened(intervention, "default").items():
        found = outcomes.effects(values, pairs)
        if outcome != "epochs to target":
            found = turned(found)
        parts.append(found.assign(outcome=outcome, margin=margins[outcome]))
    return pd.concat(parts, ignore_index=True)


def given_back(intervention: pd.DataFrame, start: str) -> pd.DataFrame:
    """Which share of the accuracy that a start costs its techniques give back, in the mean over
    cells: a row per arm with a technique, columns early accuracy and final accuracy; NaN where the
    start costs none."""
    found = outcomes.intervened(intervention, "default")
    del found["epochs to target"]
    cells = {name: v.groupby(level=CELL, sort=False).mean() for name, v in found.items()}
    means = pd.DataFrame({name: of_cells.dropna().mean() for name, of_cells in cells.items()})
    lost = means.loc["default"] - means.loc[start]
    gained = means[means.index.str.startswith(f"{start}+")] - means.loc[start]
    return gained / lost.where(lost > 0)


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


def parts(judged: Sequence[tuple[dict, "Result"]]) -> dict[str, pd.DataFrame]:
    """The three parts of what diversity predicts, by its verdicts in every cell, as
    ``claims.in_cells`` gives them: rows of the cell, a correlation with its interval, turned so
    that above zero is as claimed, p, n, and the margin.

    ``rank correlation`` of the effective rank after the first epoch with final accuracy; the same
    ``beyond the accuracy reached`` by then; and the ``lesion test``.
    """
    names = [*(f.name for f in fields(Effect)), "margin"]
    found: dict[str, list] = {}
    for cell, r in judged:
        found.setdefault(r.group, []).append(cell | {name: getattr(r, name) for name in names})
    return {part: pd.DataFrame(rows) for part, rows in found.items()}


def foretold(observed: pd.DataFrame, measure: str, margin: float) -> dict[str, pd.DataFrame]:
    """The first two of ``parts`` for any measure of diversity; and what is left of the first
    ``beyond the share of dead units``, which lower most of them: a description."""
    first, dead = (
        outcomes.network_diversity(observed, name).xs("default", level="arm")[1]
        for name in (measure, "dead")
    )
    values = outcomes.foretold(observed).assign(diversity=first, dead=dead)
    given = {
        "rank correlation": (),
        "beyond the accuracy reached": ("reached",),
        "beyond the share of dead units": ("dead",),
    }

    def correlate(columns):
        for cell, arrays in outcomes.samples(values, columns):
            yield dict(zip(CELL, cell)) | vars(rank_correlation(*arrays)) | {"margin": margin}

    return {
        name: pd.DataFrame(correlate(["diversity", "final", *others]))
        for name, others in given.items()
    }


ENSEMBLE = ("ensemble", "member", "ambiguity", "bias", "variance", "covariance")


def ensemble(observed: pd.DataFrame) -> pd.DataFrame:
    """The neurons as an ensemble, at the end of training from PyTorch's default: a row per cell.

    Columns: those of ``ENSEMBLE`` that are there; cancels, the ambiguity's share of the members'
    error; gap, by which the identity member − ambiguity = ensemble fails, as a share of the largest
    error.
    """
    rows = _at_end(observed, ENSEMBLE)
    parts = rows.groupby([*CELL, "measure"], sort=False).value.mean().unstack("measure")
    parts = parts[[name for name in ENSEMBLE if name in parts]]
    gap = (parts.member - parts.ambiguity - parts.ensemble).abs() / parts.ensemble.max()
    return parts.assign(cancels=parts.ambiguity / parts.member, gap=gap)


def _at_end(observed, measures):
    last = (observed.arm == "default") & (observed.epoch == observed.epoch.max())
    return observed[last & observed.measure.isin(measures)]


# ----------------------------------------------------------------------------- 03_reinforcement
def technique_effects(reinforcement: pd.DataFrame) -> pd.DataFrame:
    """The effects of all techniques on early accuracy, and of their norm-held twins.

    Columns: those of ``outcomes.effects``; technique; held, whether norms are held on both sides.
    """
    values = outcomes.early_accuracy(reinforcement)
    pairs = [(arm, arms[0]) for arms in (TECHNIQUE_ARMS, HELD_ARMS) for arm in arms[1:]]
    found = outcomes.effects(values, [pair for pair in pairs if pair[0] in values])
    arms = found.treated.map(Arm.parse)
    return found.assign(technique=[a.technique for a in arms], held=[a.held for a in arms])


def acting(found: pd.DataFrame) -> pd.DataFrame:
    """The effects of techniques that do anything: one that is off equals none exactly."""
    return found[found[["estimate", "low", "high"]].fillna(0).ne(0).any(axis=1)]


def correlations(reinforcement: pd.DataFrame) -> pd.DataFrame:
    """Mean |correlation| by cell, arm, seed and epoch: the mean over layers, of which one without
    two varying units is wholly redundant. Without variants and norm-held twins."""
    shown = reinforcement.arm.isin(TECHNIQUE_ARMS) & (reinforcement.measure == "correlation")
    rows = reinforcement[shown].fillna({"value": 1.0})
    return rows.groupby([*CELL, "arm", "seed", "epoch"], sort=False).value.mean().reset_index()


def correlation_effects(correlations: pd.DataFrame) -> pd.DataFrame:
    """The effects of all techniques on the correlation after the first epoch.

    correlations: what ``correlations`` gives.
    """
    after = outcomes.wide(correlations[correlations.epoch == 1], ["seed"], "arm")
    return outcomes.effects(after, [(a, "default") for a in TECHNIQUE_ARMS[1:] if a in after])


def variants(reinforcement: pd.DataFrame) -> pd.DataFrame:
    """The effects of all techniques, by every schedule and from every start, each against the same
    start without one; of the seeds that have them all."""
    values = outcomes.early_accuracy(reinforcement)
    values = values.dropna(subset=[arm for arm in design.VARIANT_ARMS if arm in values])
    kinds = (*VARIANTS[:2], ("default", "dynamic"), *VARIANTS[2:])
    pairs = [(str(Arm(start, t, schedule)), start) for t in GRID for start, schedule in kinds]
    return outcomes.effects(values, [pair for pair in pairs if pair[0] in values])


LINE = ["schedule", "technique", "setting", "optimizer"]  # of candidates, of which one is chosen


def doses(tuning: pd.DataFrame) -> pd.DataFrame:
    """``outcomes.candidates`` but for parity problems, and whether each is chosen (none is, where
    it is off). tuning: the part of the table at the usual learning rates, or of the rivals."""
    best = outcomes.best_candidates(tuning)[[*LINE, "coefficient"]].assign(chosen=True)
    found = outcomes.candidates(tuning).merge(best, how="left")
    return found.assign(chosen=found.chosen.notna())[found.setting.isin(design.PEER_SETTINGS)]


def technique_costs() -> pd.DataFrame:
    """The time of a training step with a technique over that without, as `make bench` has last
    measured it: a row per technique, columns median, least, most and processor."""
    by = pd.read_csv(COSTS).groupby("technique", sort=False)
    found = by.ratio.agg(median="median", least="min", most="max")
    return found.assign(processor=by.processor.first())


def choices(doses: pd.DataFrame) -> pd.DataFrame:
    """How many choices there are, are off, and are the smallest and the largest of the grid: a row
    per schedule. doses: what ``doses`` gives."""
    chosen = doses[doses.chosen]
    low, high = (
        chosen.coefficient == chosen.technique.map(GRID | design.RIVALS).map(end)
        for end in (min, max)
    )
    every = doses.drop_duplicates(LINE)
    parts = {"choices": every, "on": chosen, "smallest": chosen[low], "largest": chosen[high]}
    counts = {name: part.groupby("schedule", sort=False).size() for name, part in parts.items()}
    table = pd.DataFrame(counts).fillna(0).astype(int)
    return table.assign(off=table.choices - table.on).drop(columns="on")


# ----------------------------------------------------------------------------- 04_local_minima
def escaped_by(table: pd.DataFrame, cell: Sequence[str], target: float) -> dict[float, float]:
    """By epoch, the share of a cell's networks from PyTorch's default that have reached the target
    in the table "diversity"; empty where it has none of them."""
    every = outcomes.accuracy(table)
    here = every.index.droplevel("seed") == (*cell, "default")
    reached = every[here].cummax(axis=1).ge(target)
    whole = [epoch for epoch in reached if epoch >= 1 and epoch == int(epoch)]
    return reached[whole].mean().to_dict() if here.any() else {}


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

    Columns: soon, the mean share in networks that escape within the run, and others. None where
    there are not both.
    """
    first = units.epoch == units.epoch[units.epoch >= 1].min()
    last = units.layer == max(units.layer, key=int)
    kind = units.escapes.map({True: "soon", False: "others"})
    means = units[first & last].assign(kind=kind).groupby(["measure", "kind"]).value.mean()
    means = means.unstack("kind")
    return means if means.shape[1] == 2 else None


# ------------------------------------------------------------------------------ 06_early_epochs
def two_parts(judged: Sequence[tuple[dict, "Result"]]) -> pd.DataFrame:
    """What ``outcomes.two_parts`` has of the method, by what stands beside its verdict in every
    cell, as ``claims.in_cells`` gives them."""
    rows = [cell | r.beside | r.beside["among those that learn"] for cell, r in judged]
    return pd.DataFrame(rows).drop(columns="among those that learn")


# ---------------------------------------------------------------------------- 07_where_it_holds
COMPARISONS = {  # what the map is drawn of: treated, baseline
    "the relayed start": (FOUND, "default"),
    "the method": ("decorrelated", "default"),
    "decorrelation alone": ("decorrelated", "equal_norms"),
    "simplex": ("simplex", "default"),
}
ACTIVATIONS = {"relu": "ReLU", "leaky_relu": "leaky ReLU"}
GAIN = 0.1  # what the rule of thumb foretells more of, or less
PUBLISHED = 0.4  # the effect that the paper reports
KNOWN = ("log_rate", "log_depth", "log_width")  # of a network, before it is made
# of the effect, at step 0; those of the baseline have "other_" before them
OF_DEFAULT = tuple(f"other_{name}" for name in outcomes.SIGNALS)
PREDICTORS = {
    "depth, width and learning rate": KNOWN,
    "signals of the default": OF_DEFAULT,
    "signals of both starts": (*OF_DEFAULT, *outcomes.SIGNALS),
    "signals of the default, learning rate": (*OF_DEFAULT, KNOWN[0]),
    "signals of both starts, learning rate": (*OF_DEFAULT, *outcomes.SIGNALS, KNOWN[0]),
}


def effect_map(where: pd.DataFrame) -> pd.DataFrame:
    """The map of every comparison: the rows of ``outcomes.mapped``, in the order of the axes.

    Columns beside those: comparison; slice, the data set, optimizer and activation in words;
    held_out, as below; unclear, whether the interval holds zero, or there is none; ``log``, of the
    ratio 1 + estimate; and log_rate (over the optimizer's usual rate), log_depth, log_width.
    """
    parts = []
    for name, pair in COMPARISONS.items():
        places = outcomes.mapped(where[where.arm.isin(pair)], *pair).assign(comparison=name)
        parts.append(places.sort_values(["depth", "width", "rate"], kind="stable"))
    found = pd.concat(parts, ignore_index=True)
    names = {"data": DATA, "optimizer": OPTIMIZERS, "activation": ACTIVATIONS}
    words = [found[name].map(lambda v, of=titles: title(v, of)) for name, titles in names.items()]
    return found.assign(
        slice=words[0] + ", " + words[1] + ", " + words[2],
        held_out=held_out(found),
        unclear=~((found.low > 0) | (found.high < 0)),
        log=_log(found.estimate),
        log_rate=np.log10(found.rate / found.optimizer.map(LEARNING_RATES)),
        log_depth=np.log2(found.depth),
        log_width=np.log2(found.width),
    )


def _log(estimate: pd.Series) -> pd.Series:
    """log(1 + estimate), of a twelfth at least: networks that diverge have an accuracy of 0."""
    return np.log((1 + estimate).clip(lower=1 / 12))


def at_best_rates(where: pd.DataFrame) -> pd.DataFrame:
    """The comparisons on the whole map with each start at its own best rate of the grid, the one
    with the highest mean over the same seeds. Columns: the cell, comparison, treated_rate and
    baseline_rate, depth, width, activation, unclear, log, and those of ``Effect``."""
    rows = []
    values = outcomes.by_rate(where[where["data"] == SERIES])
    for cell, part in values.groupby(level=CELL, sort=False):
        hidden = hidden_layers(cell[1])
        place = dict(zip(CELL, cell)) | {"depth": len(hidden), "width": hidden[0]}
        place["activation"] = design.activation(cell[1])
        part = part.droplevel(CELL)
        for name, pair in COMPARISONS.items():
            both = part[[*pair]].dropna()
            rates = both.groupby(level="rate").mean().idxmax()
            samples = (of.xs(rates[arm], level="rate").to_numpy() for arm, of in both.items())
            found = effect(*samples, test=False)
            chosen = dict(zip(("treated_rate", "baseline_rate"), rates))
            rows.append(place | {"comparison": name} | chosen | vars(found))
    found = pd.DataFrame(rows)
    unclear = ~((found.low > 0) | (found.high < 0))
    return found.assign(unclear=unclear, log=_log(found.estimate))[~held_out(found)]


def predicted(places: pd.DataFrame, predictors: Sequence[str]) -> np.ndarray:
    """log(1 + effect) of all places of a comparison, by least squares on those that are not held
    out. Predictors that do not vary there are left out."""
    seen = places[~places.held_out]
    names = [n for n in predictors if seen[n].std() > 1e-12]
    scaled = (places[names] - seen[names].mean()) / seen[names].std()
    matrix = np.column_stack([np.ones(len(places)), scaled])
    fitted = ~places.held_out.to_numpy()
    return matrix @ np.linalg.lstsq(matrix[fitted], seen.log.to_numpy(), rcond=None)[0]


def r_squared(found: np.ndarray, foretold: np.ndarray) -> float:
    """The share of the variance that is foretold: below 0 where the mean alone would do better;
    NaN where nothing varies."""
    total = ((found - found.mean()) ** 2).sum()
    return float(1 - ((found - foretold) ** 2).sum() / total) if total > 0 else math.nan


def explained(places: pd.DataFrame) -> pd.DataFrame:
    """R² of every set of predictors: a row each, columns ``the map`` (which they are fitted to),
    ``the slices`` (which they are not), and each slice."""
    parts = {"the map": places[~places.held_out], "the slices": places[places.held_out]}
    parts |= dict(iter(parts["the slices"].groupby("slice", sort=False)))
    rows = {}
    for name, predictors in PREDICTORS.items():
        foretold = pd.Series(predicted(places, predictors), places.index)
        rows[name] = {
            where: r_squared(part.log.to_numpy(), foretold[part.index].to_numpy())
            for where, part in parts.items()
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def held_out(places: pd.DataFrame) -> pd.Series:
    """Which places of the map were not looked at when the rule of thumb was found: all but those of
    the whole map, on series with SGD and ReLU."""
    return ~((places.data == SERIES) & (places.optimizer == "sgd") & (places.activation == "relu"))


def thumb(table: pd.DataFrame, treated: str, baseline: str) -> pd.DataFrame:
    """The rule of thumb on the places of the map: ``treated`` raises early accuracy by more than
    ``GAIN`` where there are two or more hidden layers and the rate is not above the best of
    ``baseline`` there, and nowhere else. The rows of ``outcomes.mapped`` with ``foretold`` and
    ``right``, whether the estimate agrees."""
    places = outcomes.mapped(table, treated, baseline)
    means = outcomes.by_rate(table)[baseline].groupby(level=[*CELL, "rate"], sort=False).mean()
    best = means.groupby(level=CELL, sort=False).idxmax().map(lambda place: place[-1])
    limit = best.loc[pd.MultiIndex.from_frame(places[CELL])].to_numpy()
    foretold = (places.depth > 1) & (places.rate <= limit)
    return places.assign(foretold=foretold, right=foretold == (places.estimate > GAIN))


# ------------------------------------------------------------------------------------- 08_peers
CURVES = ("default", "decorrelated", FOUND, "he", "orthogonal")  # drawn, and the best other
EVERYWHERE = "all settings"


def start_title(arm: str) -> str:
    """A start in words; a decorrelated twin by the start that it is of."""
    plain = arm.removesuffix("_decorrelated")
    if arm == plain or arm in STARTS:
        return title(arm, STARTS)
    return f"{title(plain, STARTS)}, decorrelated"


def curve_arms(best: pd.DataFrame) -> list[str]:
    """The starts whose curves are drawn: those of ``CURVES`` that are there, and of the others the
    one that is best at its best rates, in the mean over cells of its share of the cell's highest
    accuracy. best: what ``outcomes.best_rates`` gives."""
    shares = best.accuracy / best.groupby(CELL, sort=False).accuracy.transform("max")
    means = shares.groupby(best.arm, sort=False).mean()
    shown = [arm for arm in CURVES if arm in means]
    return [*shown, *means.drop(shown).nlargest(1).index]


def ends(best: pd.DataFrame) -> pd.DataFrame:
    """The choices at an end of the grid of learning rates: the rows of ``outcomes.best_rates`` with
    ``end``, "lowest" or "highest"."""
    lowest = best.rate <= best.optimizer.map(lambda name: min(design.RATES[name]))
    return best.assign(end=np.where(lowest, "lowest", "highest"))[best.at_end]


def robustness(rates: pd.DataFrame, best: pd.DataFrame) -> pd.DataFrame:
    """How much a start's rate matters, a row per cell and start. Columns beside the cell and arm:
    decades, the width of the range of good rates, the mean over seeds; third and tenth, the shares
    of its best accuracy that are left at rates three and ten times as small or large."""
    decades = outcomes.good_decades(rates).groupby(level=CELL, sort=False).mean()
    long = decades.rename_axis(columns="arm").stack().rename("decades").reset_index()
    return long.merge(best[[*CELL, "arm", "third", "tenth"]])


def deep_images(reached: pd.DataFrame) -> pd.DataFrame:
    """The rows of networks on images with several hidden layers."""
    of = zip(*(reached.index.get_level_values(name) for name in ("data", "setting")))
    return reached[[data != SERIES and len(hidden_layers(setting)) > 1 for data, setting in of]]


def standings(values: pd.DataFrame) -> pd.DataFrame:
    """How starts stand at their best rates, best first: a row per start.

    values: a row per cell and seed, a column per start. Columns: rank, the mean over cells of the
    rank of its mean (1 is best); best, the cells in which it is first; behind, those in which the
    first is better with an interval above zero; least, the smallest ratio to the first, minus 1.
    """
    means = values.groupby(level=CELL, sort=False).mean()
    first = means.idxmax(axis=1)
    behind, ratios = [], []
    for cell, part in values.groupby(level=CELL, sort=False):
        samples = {arm: part[arm].to_numpy() for arm in part}
        of_first = samples.pop(first[cell])
        for arm, sample in samples.items():
            known = ~np.isnan(sample + of_first)
            found = effect(sample[known], of_first[known], test=False)
            ratios.append((arm, found.estimate))
            behind += [arm] * bool(found.high < 0)
    ratio = pd.DataFrame(ratios, columns=["arm", "ratio"]).groupby("arm").ratio.min()
    counted = {"best": first.value_counts(), "behind": pd.Series(behind, dtype=str).value_counts()}
    table = pd.DataFrame({"rank": means.rank(axis=1, ascending=False).mean()} | counted)
    table = table.fillna(0).assign(least=ratio.reindex(table.index).fillna(0.0))
    return table.sort_values("rank", kind="stable").astype({"best": int, "behind": int})


def once_more(before: pd.DataFrame, again: pd.DataFrame) -> pd.DataFrame:
    """How the starts of ``again`` stand among themselves on the seeds of ``before`` and on its own,
    which chose none of them: a row per start, best first by the fresh seeds.

    before, again: as of ``standings``. Columns, each once more with ``_again``: rank and best, as
    there; deep, the settings on images with several hidden layers in which it is first; median, its
    effect against PyTorch's default over settings.
    """
    parts = []
    for values in (before[again.columns], again):
        table, deep = standings(values), standings(deep_images(values))
        pairs = [(start, "default") for start in values if start != "default"]
        by = outcomes.effects(values, pairs).groupby("treated").estimate
        more = {"deep": deep.best, "median": by.median()}
        parts.append(table[["rank", "best"]].assign(**more))
    return parts[1].add_suffix("_again").join(parts[0])


def improvement(values: pd.DataFrame) -> pd.DataFrame:
    """The probability that the start of a row has a higher value than that of a column: the share
    of seeds, in the mean over cells, equals counting half. NaN on the diagonal."""
    table = {}
    for one in values:
        gain = values.rsub(values[one], axis=0).drop(columns=one)
        wins = ((gain > 0) + 0.5 * (gain == 0)).where(gain.notna())
        table[one] = wins.groupby(level=CELL, sort=False).mean().mean()
    return pd.DataFrame(table).T.reindex(index=values.columns, columns=values.columns)


def lasting(table: pd.DataFrame) -> pd.DataFrame:
    """What starts change against PyTorch's default in the first epochs, and after the last one.

    table: "lasting". Columns beside those of ``outcomes.effects``: when, "early" or "late"; and
    network, its kind in words.
    """
    at_best = outcomes.rated(table)
    values = {"early": outcomes.early_accuracy(at_best), "late": outcomes.final_accuracy(at_best)}
    found = _of_starts(values)
    return found.assign(network=kinds(found.set_index(CELL)))


def _of_starts(values: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The effects of those that train on, by what stands for ``when``."""
    pairs = [(start, "default") for start in design.LASTING[1:]]
    parts = {when: outcomes.effects(of, pairs) for when, of in values.items()}
    return pd.concat(parts, names=["when"]).reset_index("when")


DEEP = "images, three or five layers"


def kinds(values: pd.DataFrame) -> list[str]:
    """The kind of network of every row, by its cell."""
    return [_kind(*cell) for cell in zip(*(values.index.get_level_values(name) for name in CELL))]


@cache
def _kind(data: str, setting: str, optimizer: str) -> str:
    """In words. Apart are ten layers by optimizer: with SGD the default hardly learns, with Adam it
    does."""
    if setting == design.CONVOLUTIONAL:
        return f"a small CNN, {title(data, DATA)}"
    of, depth = title(data, DATA) if data == SERIES else "images", len(hidden_layers(setting))
    if depth == 10:
        return f"{of}, ten layers, {OPTIMIZERS[optimizer]}"
    return f"{of}, one layer" if depth == 1 else f"{of}, three or five layers"


def leading(before: pd.DataFrame, again: pd.DataFrame) -> pd.DataFrame:
    """By the kind of network, what the start that leads, and the method, change against PyTorch's
    default on seeds that had no part in the choice.

    before, again: as of ``standings``; the former ranks those of ``again`` that it has. Columns:
    network, the kind; first, the start that leads there; and those of ``outcomes.effects``.
    """
    parts, fresh = [], dict(list(again.groupby(kinds(again), sort=False)))
    for network, values in before.groupby(kinds(before), sort=False):
        others = [start for start in again if start != "default" and start in values]
        first = standings(values[others].dropna(axis=1, how="all")).index[0]
        pairs = [(start, "default") for start in dict.fromkeys((first, "decorrelated"))]
        found = outcomes.effects(fresh[network], pairs)
        parts.append(found.assign(network=network, first=first))
    return pd.concat(parts, ignore_index=True)


def lasting_without_ten(table: pd.DataFrame) -> dict[str, Effect]:
    """The change of accuracy after the last epoch against PyTorch's default, over all settings but
    ten layers, by start."""
    values = outcomes.final_accuracy(outcomes.rated(table))
    values = values[values.index.get_level_values("setting") != "10×10"]
    return {s: outcomes.jointly(values, (s, "default")) for s in reversed(design.LASTING[1:])}


def retuned(table: pd.DataFrame) -> pd.DataFrame:
    """What starts change against PyTorch's default after the last epoch, each at the rate that is
    best then.

    table: "later". Columns as of ``lasting``; when is "late"; or "learning", of the seeds whose
    networks learn with both starts; network is the kind of data and the setting; dead, the seeds
    whose default does not learn.
    """
    final = outcomes.final_accuracy(outcomes.rated(table))
    learning = final.where(final > outcomes.LEARNS)
    dead = learning.default.isna().groupby(level=CELL).sum().rename("dead")
    found = _of_starts({"late": final, "learning": learning}).join(dead, on=CELL)
    on = found["data"].map(lambda name: title(name, DATA) if name == SERIES else "images")
    return found.assign(network=on + ", " + found.setting)


def later_choices(table: pd.DataFrame) -> pd.DataFrame:
    """The rates that are best after the last epoch: the rows of ``outcomes.best_rates`` with
    before, those of the first epochs. table: "later_rates"."""
    best = outcomes.later_rates(table)
    cells = best[[*CELL, "arm"]].itertuples(index=False)
    return best.assign(before=[registered.rate(*cell) for cell in cells])


AT_START = ("effective_rank", "correlation", "similarity")  # of ``MEASURES``


def beginnings(before: pd.DataFrame, reached: pd.DataFrame) -> pd.DataFrame:
    """How diverse the units of starts are before training, and what the starts reach at their best
    rates: a row per cell and start.

    before: the table "beginnings". reached: early accuracies, as of ``standings``. Columns beside
    the cell and arm: ``AT_START``, means over seeds and hidden layers, larger being more diverse;
    share, the mean early accuracy as a share of that of the best start of the cell; and n, the
    seeds of the cell.
    """
    means = reached.groupby(level=CELL, sort=False).mean()
    shares = means.div(means.max(axis=1), axis=0).rename_axis(columns="arm").stack()
    by = ["data", "setting", "arm"]
    diverse = {
        measure: outcomes.network_diversity(before, measure)[0.0].groupby(level=by).mean()
        for measure in AT_START
    }
    counts = reached.groupby(level=CELL, sort=False).size().rename("n").reset_index()
    found = shares.rename("share").reset_index().merge(counts, on=CELL)
    return found.merge(pd.DataFrame(diverse).reset_index(), on=by)


def rank_of(before: pd.DataFrame, arm: str) -> pd.DataFrame:
    """The effective rank of a start's units as a share of the width, the mean over seeds: a row per
    setting on images with several hidden layers, a column per epoch. before: as above."""
    ranks = outcomes.network_diversity(before, "effective_rank").xs(arm, level="arm")
    return deep_images(ranks).groupby(level=["data", "setting"], sort=False).mean()


def least_diverse(found: pd.DataFrame) -> pd.Series:
    """The start whose units have the lowest effective rank before training, by cell, on images with
    several hidden layers. found: as ``beginnings`` gives."""
    ranks = found.set_index([*CELL, "arm"]).effective_rank.unstack("arm")
    return deep_images(ranks).idxmin(axis=1)


def told_at_start(found: pd.DataFrame) -> pd.DataFrame:
    """Spearman's ρ over starts of each measure before training with what is reached: a row per
    cell, a column per measure. found: as ``beginnings`` gives."""
    rows = {
        cell: {m: spearman(part[m].to_numpy(), part.share.to_numpy()) for m in AT_START}
        for cell, part in found.groupby(CELL, sort=False)
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(index=CELL)


def by_optimizer(values: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """The joint effect of pairs of starts over all cells, and over those of each optimizer.

    Columns: where (in words), treated, baseline, and those of ``Effect``.
    """
    names = values.index.get_level_values("optimizer")
    parts = {EVERYWHERE: values}
    parts |= {title(name, OPTIMIZERS): values[names == name] for name in dict.fromkeys(names)}
    return pd.DataFrame(
        {"where": where, "treated": pair[0], "baseline": pair[1]}
        | vars(outcomes.jointly(part, pair))
        for where, part in parts.items()
        for pair in pairs
    )


def rival_effects(rivals: pd.DataFrame) -> pd.DataFrame:
    """The effects on early accuracy of techniques, their rivals and Muon at the best learning rate,
    and of their norm-held twins.

    Columns: those of ``outcomes.effects``; technique; theirs, whether it is of the literature; and
    held, whether norms are held on both sides.
    """
    values = outcomes.early_accuracy(outcomes.with_muon(rivals))
    arms = {str(arm): arm for arm in map(Arm.parse, values) if arm.technique}
    ranks = [*GRID, *design.RIVALS, design.MUON]
    order = sorted(arms.values(), key=lambda arm: (arm.held, ranks.index(arm.technique)))
    pairs = [(str(arm), str(Arm("default", held=arm.held))) for arm in order]
    found = outcomes.effects(values, pairs)
    technique = found.treated.map(lambda arm: arms[arm].technique)
    held = found.treated.map(lambda arm: arms[arm].held)
    return found.assign(technique=technique, theirs=~technique.isin(GRID), held=held)


def rival_summary(rivals: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """What ``rival_effects`` has found, a row per technique, over all settings.

    Columns: acts, the settings in which it is not off, of how many; above and below, the intervals
    that are so of zero; whole, the joint ``Effect``, None where it acts nowhere; held, the
    ``Tally`` of its twins where it acts, None where it has none.
    """
    values = outcomes.early_accuracy(outcomes.with_muon(rivals))

    table = {}
    for technique, rows in found.groupby("technique", sort=False):
        plain, held = (rows[rows.held == kind] for kind in (False, True))
        t, pair = tally(plain), tuple(plain[["treated", "baseline"]].iloc[0])
        acts = len(acting(plain))
        table[technique] = {
            "acts": acts,
            **{name: getattr(t, name) for name in ("of", "above", "below")},
            "whole": outcomes.jointly(values, pair) if acts else None,
            "held": tally(acting(held)) if acts and len(held) else None,
        }
    return pd.DataFrame.from_dict(table, orient="index")


def chosen_rates(rivals: pd.DataFrame, early: pd.DataFrame) -> pd.DataFrame:
    """PyTorch's default at its best learning rate against the usual one, each on seeds that did not
    choose it: a row per cell that has both, and has them differ, with the columns of ``Effect``
    besides."""
    rows = outcomes.rated(rivals)
    rows = rows[rows.rate != rows.optimizer.map(LEARNING_RATES)]
    at_best = outcomes.early_accuracy(rows)["default"].dropna()
    usual = outcomes.early_accuracy(early)["default"].dropna()
    at_usual = dict(list(usual.groupby(level=CELL)))
    found = [
        dict(zip(CELL, cell)) | vars(between(part, at_usual[cell], test=False))
        for cell, part in at_best.groupby(level=CELL, sort=False)
        if cell in at_usual
    ]
    return pd.DataFrame(found, columns=[*CELL, *(f.name for f in fields(Effect))])


def tuned(early: pd.DataFrame, leaders: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The effect of the method at the usual learning rates, and with both sides at their own best;
    and those of two starts that led: rows of ``outcomes.effects`` by what is compared. early: the
    table. leaders: early accuracies."""
    usual, starts = outcomes.early_accuracy(early), ("decorrelated", FOUND, "deep_narrow")
    method, relayed, narrow = (outcomes.effects(leaders, [(s, "default")]) for s in starts)
    return {
        "the method, usual rates": outcomes.effects(usual, [("decorrelated", "default")]),
        "the method, best rates": method,
        "relayed, best rates": relayed,
        "deep-narrow, best rates": narrow,
    }


# ---------------------------------------------------------------------------- 09_sustainability
INPUTS = {"MNIST": 784, "FashionMNIST": 784, "Digits": 64, SERIES: 40}
TRAINED_ON = {"MNIST": 59_000, "FashionMNIST": 59_000, "Digits": 1318, SERIES: 3667}  # an epoch
CLASSES = 10
FORWARD_AND_BACKWARD = 3  # forward passes: the gradients of inputs and of weights are two more
TARGETS = (0.9, 0.95)  # shares of the wide network's accuracy
# Energy of a multiply–accumulate, in joules: assumptions, more than two decades apart. 3.7 pJ for a
# multiplication and 0.9 pJ for an addition of 32 bits at 45 nm, without any memory (Horowitz 2014,
# "Computing's energy problem"); the data sheet of a GPU, 400 W at 19.5 · 10¹² operations of 32 bits
# a second, of which two make one (NVIDIA A100); a core on small matrices, 10 W at 10¹⁰ a second.
JOULES = {"arithmetic alone": 4.6e-12, "a full GPU": 41e-12, "a processor's core": 1e-9}
# of a core with its share of memory and power supply, an assumption: 280 W for 64 cores is 4.4 W on
# the data sheet of a server's processor (AMD EPYC 7763), without either
WATTS = 10.0
CORE_HOUR = 3600.0


def multiplications(sizes: Sequence[int]) -> int:
    """Multiply–accumulates of one input's way through a network with these layers."""
    return sum(a * b for a, b in zip(sizes, sizes[1:]))


def parameters(sizes: Sequence[int]) -> int:
    """Weights and biases."""
    return multiplications(sizes) + sum(sizes[1:])


def sized_networks(redundancy: pd.DataFrame) -> pd.DataFrame:
    """What every network had reached after each epoch, and what it had cost by then.

    Columns: data, depth, width, arm, seed, epoch, accuracy, parameters, and macs, the
    multiply–accumulates of its training: those of an input's way through its layers, times
    ``FORWARD_AND_BACKWARD``, times what it was trained on. Evaluation is not counted.
    """
    rows = redundancy[(redundancy.measure == "accuracy") & (redundancy.epoch > 0)]
    hidden = rows.setting.map(hidden_layers)
    sizes = [(INPUTS[name], *layers, CLASSES) for name, layers in zip(rows["data"], hidden)]
    once = np.array([multiplications(of_one) for of_one in sizes], dtype=float)
    kept = rows[["data", "arm", "seed", "epoch"]].assign(
        depth=hidden.map(len),
        width=hidden.str[0],
        accuracy=rows.value,
        parameters=[parameters(of_one) for of_one in sizes],
        macs=FORWARD_AND_BACKWARD * once * rows["data"].map(TRAINED_ON) * rows.epoch,
    )
    return kept.reset_index(drop=True)


SIZE = ["data", "depth", "width"]


def means(networks: pd.DataFrame) -> pd.DataFrame:
    """The mean accuracy over seeds of every size, start and epoch. Columns: those of
    ``sized_networks`` but for the seed; low and high, the 95 % interval (Student's t, NaN of one
    seed); n."""
    by = networks.groupby([*SIZE, "arm", "epoch", "parameters", "macs"], sort=False).accuracy
    found = by.agg(accuracy="mean", error="sem", n="size").reset_index()
    half = found.error * special.stdtrit((found.n - 1).clip(lower=1), 0.975)
    return found.assign(low=found.accuracy - half, high=found.accuracy + half)


def front(points: pd.DataFrame, cost: str) -> pd.DataFrame:
    """The points that are on the Pareto front, cheapest first: no other has as much accuracy at the
    same or a lower cost, a column."""
    ranked = points.sort_values([cost, "accuracy"], ascending=[True, False], kind="stable")
    before = ranked.accuracy.cummax().shift(fill_value=-math.inf)
    return ranked[ranked.accuracy > before]


def wide_accuracy(networks: pd.DataFrame) -> pd.Series:
    """The mean final accuracy of the widest networks with PyTorch's default, by data and depth."""
    last = networks[(networks.epoch == networks.epoch.max()) & (networks.arm == "default")]
    widest = last.width == last.groupby(["data", "depth"]).width.transform("max")
    return last[widest].groupby(["data", "depth"], sort=False).accuracy.mean()


def to_target(networks: pd.DataFrame, share: float) -> pd.DataFrame:
    """What it costs every network to reach a share of the wide network's accuracy: a row each.

    Columns: data, depth, width, arm, seed, parameters, target; reached, whether it does within the
    run; macs, of training until the end of the first epoch in which it does, or of the whole run.
    """
    target = networks[["data", "depth"]].apply(tuple, axis=1).map(share * wide_accuracy(networks))
    there = networks.assign(target=target, reached=networks.accuracy >= target)
    # of each network the first epoch that is there, or else the last
    there["order"] = np.where(there.reached, there.epoch, math.inf)
    ranked = there.sort_values(["order", "epoch"], ascending=[True, False], kind="stable")
    found = ranked.drop_duplicates([*SIZE, "arm", "seed"]).sort_index()
    return found.drop(columns=["order", "epoch", "accuracy"])


def smallest(networks: pd.DataFrame) -> pd.DataFrame:
    """The smallest networks that have a share of the wide network's final accuracy, by data, depth,
    start and share of ``TARGETS``.

    Columns beside those: width, by the mean over seeds; surely, by the lower end of the interval of
    the ratio to the wide network, paired by seed; NaN where none has; parameters and macs (of the
    whole run) of the first, and widest, wide_parameters and wide_macs of the wide one.
    """
    last = networks[networks.epoch == networks.epoch.max()]
    rows = []
    for (name, depth), part in last.groupby(["data", "depth"], sort=False):
        base = part[part.arm == "default"]
        wide = base[base.width == base.width.max()].set_index("seed")
        for arm, of_arm in part.groupby("arm", sort=False):
            ratios = {}
            for width, of_width in of_arm.groupby("width"):
                both = wide.join(of_width.set_index("seed").accuracy.rename("small"), how="inner")
                if len(both):
                    ratios[width] = effect(both.small, both.accuracy, test=False)
            for share in TARGETS:
                enough = [w for w, e in ratios.items() if 1 + e.estimate >= share]
                surely = [w for w, e in ratios.items() if 1 + e.low >= share]
                row = {"data": name, "depth": depth, "arm": arm, "share": share}
                row |= {"width": min(enough, default=math.nan)}
                row |= {"surely": min(surely, default=math.nan), "widest": base.width.max()}
                chosen = of_arm[of_arm.width == row["width"]]
                for cost in ("parameters", "macs"):
                    row |= {cost: chosen[cost].max(), f"wide_{cost}": wide[cost].max()}
                rows.append(row)
    return pd.DataFrame(rows)


def needed(smallest: pd.DataFrame, start: str) -> pd.DataFrame:
    """In how many cases a start needs fewer units a layer than PyTorch's default, or more: a row
    per share of ``TARGETS``. Columns: fewer, more, of. One that never has the share needs more than
    all widths. smallest: what ``smallest`` gives.
    """
    widths = smallest.pivot(index=["data", "depth", "share"], columns="arm", values="width")
    both = widths[[start, "default"]].fillna(math.inf)
    parts = {"fewer": both[start] < both["default"], "more": both[start] > both["default"]}
    counts = pd.DataFrame(parts).groupby(level="share").sum()
    return counts.assign(of=both.groupby(level="share").size())


def footprint(provenance: dict) -> pd.DataFrame:
    """The artifact's own footprint, from provenance.json: a row per experiment, and one of all.

    Columns: units; hours, of one core; kwh, at ``WATTS`` a core. Empty where nothing is recorded.
    """
    rows = {
        name: {"units": e["units"], "hours": e["unit_seconds"] / CORE_HOUR}
        for name, e in provenance.get("experiments", {}).items()
    }
    if not rows:
        return pd.DataFrame(columns=["units", "hours", "kwh"])
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.loc["all"] = table.sum()
    return table.assign(kwh=table.hours * WATTS / 1000).astype({"units": int})


# ------------------------------------------------------------------------- use it in your net
def common_effects(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    """What ``dndiv.decorrelate_`` does to a measure of networks in common use: network, optimizer,
    seeds, the means as they are and decorrelated, and the relative effect with its interval."""
    values = outcomes.wide(table[table.measure == measure], ["seed"], "arm")
    means = values.groupby(level=CELL, sort=False).mean().reset_index()
    plain, treated = design.COMMON_ARMS
    found = outcomes.effects(values, [(treated, plain)]).merge(means, on=CELL)
    columns = ["setting", "optimizer", "n", plain, treated, "estimate", "low", "high"]
    return found[columns].rename(columns={"setting": "network"})
