"""From tables to endpoints: what networks reached, how diverse they were, when they escaped.

Seeds are the unit of replication, and every comparison is within a cell: a data set, a setting and
an optimizer. The results have a row per cell, in the order of the table.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np
import pandas as pd

from dndiv.checks import choose
from dndiv.paper.arms import Arm
from dndiv.paper.design import ESCAPED, ESCAPED_IMAGES, MUON, activation, hidden_layers
from dndiv.paper.effects import (
    Effect,
    between,
    clustered,
    contributions,
    effect,
    holm,
    logrank,
    paired_shares,
    rank_correlation,
    spearman,
)
from dndiv.paper.names import CELL

EARLY = (1, 2, 3, 4, 5)  # the epochs that the 40 % are about
LEARNS = 0.2  # a network above this accuracy has learned: twice the chance of ten classes
# measures of diversity: +1 where more is more diverse, −1 where it is less
DIVERSITY = {"effective_rank": 1, "correlation": -1, "similarity": -1, "log_volume": 1, "dead": -1}


def wide(rows: pd.DataFrame, index: Sequence[str], columns: str) -> pd.DataFrame:
    """A row per cell and ``index``, a column per value of ``columns``, means of what is there."""
    return rows.pivot_table(index=[*CELL, *index], columns=columns, values="value", sort=False)


def _per_cell(frame: pd.DataFrame, rows: Callable[[pd.DataFrame], Iterable[dict]]) -> pd.DataFrame:
    """The rows that a function gives for the part of each cell, with the cell beside them."""
    return pd.DataFrame(
        [
            dict(zip(CELL, cell)) | row
            for cell, part in frame.groupby(level=CELL, sort=False)
            for row in rows(part)
        ]
    )


def technique_of(arms: pd.Series) -> pd.Series:
    """The technique of each arm, "" where it has none."""
    return arms.map({arm: Arm.parse(arm).technique for arm in arms.unique()})


# ----------------------------------------------------------------------------------- accuracy
def accuracy(table: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy: a row per cell, arm and seed, a column per epoch."""
    return wide(table[table.measure == "accuracy"], ["arm", "seed"], "epoch")


def early_accuracy(table: pd.DataFrame) -> pd.DataFrame:
    """The primary endpoint, mean test accuracy over epochs 1 to 5: a row per cell and seed, a
    column per arm."""
    return wide(table[(table.measure == "accuracy") & table.epoch.isin(EARLY)], ["seed"], "arm")


def final_accuracy(table: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy after the last epoch of all: likewise."""
    rows = table[table.measure == "accuracy"]
    return wide(rows[rows.epoch == rows.epoch.max()], ["seed"], "arm")


def later_by_rate(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy after the last epoch at every learning rate, from the table "later_rates". As of
    ``by_rate``."""
    rows = rated(table)
    last = (rows.measure == "accuracy") & (rows.epoch == rows.epoch.max())
    return wide(rows[last], ["rate", "seed"], "arm")


def later_rates(table: pd.DataFrame) -> pd.DataFrame:
    """The rate that is best by that. As of ``best_rates``."""
    return _best_rates(later_by_rate(table))


Sample = tuple[tuple[str, str, str], list[np.ndarray]]


def samples(values: pd.DataFrame, columns: Sequence[str]) -> Iterable[Sample]:
    """Each cell, with the values of the columns, [seeds] each, of the seeds that have them all."""
    for column in columns:
        if column not in values:
            known = ", ".join(map(str, sorted(values)))
            raise ValueError(f"the table has no arm {column!r}; it has {known}")
    both = values[[*columns]].dropna()
    for cell, part in both.groupby(level=CELL, sort=False):
        yield cell, [part[c].to_numpy(float) for c in columns]


def effects(values: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """The effect of each (treated, baseline) pair of arms in every cell.

    values: a row per cell and seed, a column per arm, as ``early_accuracy`` gives. Columns of the
    result: the cell, treated, baseline, those of ``Effect``, and p_holm, adjusted over the cells of
    a pair.
    """
    cells = [  # as ``samples``, but for all pairs at once
        (dict(zip(CELL, cell)), {arm: of_arm.to_numpy(float) for arm, of_arm in part.items()})
        for cell, part in values.groupby(level=CELL, sort=False)
    ]

    def rows(pair):
        if not {*pair} <= {*values}:
            [*samples(values, pair)]  # says which arm there is not
        names = dict(zip(("treated", "baseline"), pair))
        for cell, arms in cells:
            both = np.array([arms[arm] for arm in pair])
            both = both[:, ~np.isnan(both).any(axis=0)]
            if both.size:
                yield cell | names | vars(effect(*both))

    found = [pd.DataFrame(rows(pair)) for pair in pairs]
    return pd.concat([part.assign(p_holm=holm(part.p)) for part in found], ignore_index=True)


def units(
    values: pd.DataFrame, columns: Sequence[str], statistic: Callable[..., Effect] = effect
) -> tuple[float, list[np.ndarray], int]:
    """What ``jointly`` is made of: the estimate, what the units of each data set contribute to its
    error, and the number of seeds of the cell that has the fewest."""
    known = values[[*columns]].dropna()
    numbers, shares = known.to_numpy(float).T, np.zeros(len(known))
    defined, estimates, fewest = np.zeros(len(known), bool), [], []
    for rows in known.groupby(level=CELL, sort=False).indices.values():
        estimate, u = contributions(statistic, *numbers[:, rows])
        if np.isfinite(estimate):
            shares[rows], defined[rows] = u, True
            estimates.append(estimate)
            fewest.append(len(u))
    if not estimates:
        return np.nan, [], 0
    parts = pd.Series(shares, known.index)[defined].groupby(level=["data", "seed"], sort=False)
    sums = parts.sum(skipna=False) / len(estimates)  # too few seeds have no error
    by_data = [part.to_numpy() for _, part in sums.groupby(level="data", sort=False)]
    return float(np.mean(estimates)), by_data, min(fewest)


def jointly(
    values: pd.DataFrame, columns: Sequence[str], statistic: Callable[..., Effect] = effect
) -> Effect:
    """One effect over all cells: the mean over cells of the effect, or another statistic, of the
    columns, such as a (treated, baseline) pair of arms.

    values: a row per cell and seed. Cells of a data set have seeds in common, so that a data set's
    seed is the unit: what it contributes to the error is summed over its cells, which may differ in
    how many seeds they have. The interval is ``effects.interval`` with the degrees of freedom of
    the cell that has the fewest; p is of Student's t; n counts the units. Cells where the statistic
    is undefined are left out.
    """
    return clustered(*units(values, columns, statistic))


def two_parts(table: pd.DataFrame, treated: str, baseline: str, test: bool = True) -> pd.DataFrame:
    """Whether networks learn at all, and what those gain that learn with and without a treatment.

    Columns: the cell; learn and baseline_learn, the shares whose final accuracy is above
    ``LEARNS``, of seeds that have both arms; p_learn, of their equality (McNemar, exact); and those
    of ``Effect``: of early accuracy, among the seeds that learn in both arms. test: or without
    p-values.
    """
    final, early = final_accuracy(table), early_accuracy(table)
    pair, rows = [treated, baseline], []
    for cell, part in final[pair].dropna().groupby(level=CELL, sort=False):
        learns = part.gt(LEARNS)
        left = early.loc[learns.index[learns.all(axis=1)], pair]
        both = (left[treated], left[baseline])
        among = effect(*both, test=test) if len(left) else Effect(np.nan)
        shares = {"learn": learns[treated].mean(), "baseline_learn": learns[baseline].mean()}
        p = paired_shares(learns[treated], learns[baseline]) if test else np.nan
        rows.append(dict(zip(CELL, cell)) | shares | {"p_learn": p} | vars(among))
    return pd.DataFrame(rows)


def epochs_to(accuracies: pd.DataFrame, target: float) -> pd.Series:
    """The first epoch in training at which a network has reached the target; the last one where it
    never has."""
    accuracies = accuracies.loc[:, accuracies.columns > 0]
    reached = accuracies.ge(target)
    first = reached.idxmax(axis=1)
    return first.where(reached.any(axis=1), accuracies.columns.max()).astype(float)


def intervened(table: pd.DataFrame, baseline: str) -> dict[str, pd.DataFrame]:
    """Three outcomes of the table "intervention": each a row per cell and seed, a column per arm.

    ``early accuracy``, ``final accuracy``, and ``epochs to target``: the first look at nine tenths
    of the cell's median final accuracy of the baseline, or the end.
    """
    reached = accuracy(table)
    last = reached.columns.max()
    times = [
        epochs_to(part, 0.9 * part.xs(baseline, level="arm")[last].median())
        for _, part in reached.groupby(level=CELL, sort=False)
    ]
    return {
        "early accuracy": early_accuracy(table),
        "final accuracy": final_accuracy(table),
        "epochs to target": pd.concat(times).unstack("arm"),
    }


# ---------------------------------------------------------------------------------- diversity
def rank_shares(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the effective rank of hidden layers, as shares of the layer's width."""
    rows = table[(table.measure == "effective_rank") & table.layer.str.isdecimal()]
    layers = rows[["setting", "layer"]]
    known = layers.drop_duplicates()
    widths = [hidden_layers(s)[int(k) - 1] for s, k in known.itertuples(index=False)]
    of_rows = layers.merge(known.assign(width=widths), how="left").width  # in the order of the rows
    return rows.assign(value=rows.value / of_rows.to_numpy())


def network_diversity(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    """A measure of diversity of whole networks: the mean over their hidden layers, larger being
    more diverse.

    Ranks are shares of the layer's width. A row per cell, arm and seed, a column per epoch. Layers
    where the measure is undefined (without two varying units) count as not diverse at all.
    """
    choose("measure", measure, DIVERSITY)
    if measure == "effective_rank":
        rows = rank_shares(table)
    else:
        rows = table[(table.measure == measure) & table.layer.str.isdecimal()]
    value = rows.value
    if measure == "correlation":
        value = value.fillna(1.0)
    if measure == "log_volume":
        value = value.clip(lower=-50.0)  # −inf where rows depend; ranks are what is used of it
    return wide(rows.assign(value=DIVERSITY[measure] * value), ["arm", "seed"], "epoch")


def thirds(
    table: pd.DataFrame,
    arm: str = "default",
    measure: str = "effective_rank",
    epoch: float = 1,
    test: bool = True,
) -> pd.DataFrame:
    """The most against the least diverse third of the seeds, by a measure at an epoch.

    Columns: the cell, outcome (``final accuracy``, ``early accuracy``, and ``epochs to target``: to
    nine tenths of the cell's median final accuracy), and those of ``Effect``.
    """
    diversity = network_diversity(table, measure).xs(arm, level="arm")[epoch]

    def compare(reached):
        order = diversity.loc[reached.index].sort_values(kind="stable").index
        size = max(len(order) // 3, 1)
        final = reached[reached.columns.max()]
        outcomes = {
            "final accuracy": final,
            "early accuracy": reached[[*EARLY]].mean(axis=1),
            "epochs to target": epochs_to(reached, 0.9 * final.median()),
        }
        for name, outcome in outcomes.items():
            found = between(outcome.loc[order[-size:]], outcome.loc[order[:size]], test)
            yield {"outcome": name} | vars(found)

    return _per_cell(accuracy(table).xs(arm, level="arm"), compare)


def predictions(
    table: pd.DataFrame,
    measures: Sequence[str] = tuple(DIVERSITY),
    arm: str = "default",
    epochs: Sequence[float] | None = None,
) -> pd.DataFrame:
    """Rank correlation over seeds of diversity at an epoch with accuracy then (``now``) and at the
    end (``final``).

    epochs: all, if not given. Columns: the cell, measure, epoch, outcome, and those of ``Effect``.
    """
    reached = accuracy(table).xs(arm, level="arm")

    def correlate(measure, part):
        then = reached.loc[part.index]
        for epoch in part.columns if epochs is None else epochs:
            values = part[epoch].to_numpy()
            seen = ~np.isnan(values)  # within epochs some networks are not looked at
            for outcome, when in (("now", epoch), ("final", reached.columns.max())):
                found = rank_correlation(values[seen], then[when].to_numpy()[seen])
                yield {"measure": measure, "epoch": epoch, "outcome": outcome} | vars(found)

    blocks = [
        _per_cell(network_diversity(table, m).xs(arm, level="arm"), partial(correlate, m))
        for m in measures
    ]
    return pd.concat(blocks, ignore_index=True)


def foretold(table: pd.DataFrame, arm: str = "default") -> pd.DataFrame:
    """What diversity may foretell, a row per cell and seed: ``diversity``, the effective rank after
    the first epoch; ``reached``, the accuracy then; ``final``, the accuracy at the end."""
    curves = accuracy(table).xs(arm, level="arm")
    rank = network_diversity(table, "effective_rank").xs(arm, level="arm")[1]
    last = curves[curves.columns.max()]
    return pd.DataFrame({"diversity": rank, "reached": curves[1], "final": last})


def lesion_correlations(table: pd.DataFrame, arm: str = "default") -> pd.DataFrame:
    """The rank correlation, over the units of a network, of the accuracy lost without a unit with
    its similarity to its nearest neighbour: a row per cell and seed, the column ``correlation``.

    Units that are constant have no neighbour and are left out, as are networks with fewer than four
    units left, or without any lesion that differs.
    """
    rows = table[(table.arm == arm) & table.measure.isin(["lesion", "nearest"])]
    units = wide(rows, ["seed", "layer"], "measure").dropna()
    nearest, lesion = units.nearest.to_numpy(), units.lesion.to_numpy()
    networks = units.groupby(level=[*CELL, "seed"], sort=False)
    parts = ((network, networks.indices[network]) for network in networks.size().index)
    found = {
        network: spearman(nearest[part], lesion[part])
        for network, part in parts
        if len(part) >= 4 and np.ptp(lesion[part]) > 0
    }
    index = pd.MultiIndex.from_tuples(found, names=[*CELL, "seed"])
    return pd.DataFrame({"correlation": [*found.values()]}, index)


# ------------------------------------------------------------------------------------- tuning
ERRORS = 2  # standard errors by which a candidate must be better than none, or the choice is "off"


def candidates(tuning: pd.DataFrame, baseline: str = "default") -> pd.DataFrame:
    """What every candidate coefficient does on held-out images, from the table "tuning".

    Columns: setting, optimizer, ratio, error, technique, schedule, coefficient. The ratio is of the
    accuracy, averaged over what is recorded, to the baseline's mean on the data set; it and its
    standard error are over the seeds of all data sets.
    """
    rows = tuning[tuning.measure == "accuracy"]
    means = rows.groupby([*CELL, "seed", "arm"], sort=False).value.mean().unstack("arm")
    base = means[baseline].groupby(level=CELL).transform("mean")
    gains = means.drop(columns=baseline).sub(means[baseline], axis=0).div(base, axis=0)
    by = gains.groupby(level=["setting", "optimizer"], sort=False)
    long = pd.DataFrame({"ratio": 1 + by.mean().stack(), "error": by.sem().stack()}).reset_index()
    long = long.dropna(subset="ratio")
    arms = pd.DataFrame([vars(Arm.parse(arm)) for arm in long.arm], index=long.index)
    kept = ["technique", "schedule", "coefficient"]
    return pd.concat([long.drop(columns="arm"), arms[kept]], axis=1)


def best_candidates(tuning: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``candidates`` with the best ratio of a technique, schedule, setting and
    optimizer: of equals, the smallest coefficient. Where it is not better than the baseline by
    ``ERRORS`` standard errors, 0."""
    found = candidates(tuning)
    found["ratio"] = found.ratio.round(12)  # what is equal but for rounding is equal
    ranked = found.sort_values(["ratio", "coefficient"], ascending=[False, True], kind="stable")
    best = ranked.drop_duplicates(["technique", "schedule", "setting", "optimizer"]).sort_index()
    off = ~(best.ratio - 1 > ERRORS * best.error.fillna(0))
    return best.assign(coefficient=best.coefficient.mask(off, 0.0), ratio=best.ratio.mask(off, 1.0))


def choose_coefficients(tuning: pd.DataFrame) -> dict:
    """The best candidates: technique → schedule → "setting optimizer" → coefficient."""
    chosen: dict = {}
    for row in best_candidates(tuning).itertuples():
        of_schedule = chosen.setdefault(row.technique, {}).setdefault(row.schedule, {})
        of_schedule[f"{row.setting} {row.optimizer}"] = row.coefficient
    return chosen


# ----------------------------------------------------------------------- starts and their rates
def rated(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the learning rate in a column of its own, ``rate``, and without it in the
    optimizer's name."""
    parts = {name: name.partition("@") for name in table.optimizer.unique()}
    names, rates = ({name: part[k] for name, part in parts.items()} for k in (0, 2))
    rate = table.optimizer.map({name: float(text or "nan") for name, text in rates.items()})
    return table.assign(optimizer=table.optimizer.map(names), rate=rate.astype(float))


def by_rate(table: pd.DataFrame) -> pd.DataFrame:
    """Early accuracy at every learning rate, from the tables "rates" and "where": a row per cell,
    rate and seed, a column per arm."""
    rows = rated(table)
    return wide(
        rows[(rows.measure == "accuracy") & rows.epoch.isin(EARLY)], ["rate", "seed"], "arm"
    )


def best_rates(table: pd.DataFrame) -> pd.DataFrame:
    """The learning rate with the best early accuracy, the mean over seeds, of each start and cell;
    of equals, the smallest. Columns: the cell, arm, rate, accuracy; at_end, whether it is the first
    or last of the grid; and third and tenth, the share of that accuracy that is left at rates three
    and ten times as small or large, the worse of the two; NaN where the grid ends before."""
    return _best_rates(by_rate(table))


def _best_rates(values: pd.DataFrame) -> pd.DataFrame:
    means = values.groupby(level=[*CELL, "rate"], sort=False).mean()

    def rows(part):
        for arm, line in part.droplevel(CELL).sort_index().items():
            line = line.dropna()
            reached, k = line.to_numpy(), int(line.argmax())
            found = {"arm": arm, "rate": line.index[k], "accuracy": reached[k]}
            found["at_end"] = k in (0, len(line) - 1)
            for name, steps in (("third", 1), ("tenth", 2)):
                there = [j for j in (k - steps, k + steps) if 0 <= j < len(line)]
                whole = len(there) == 2
                found[name] = reached[there].min() / reached[k] if whole else np.nan
            yield found

    return _per_cell(means, rows)


def choose_rates(table: pd.DataFrame, later: bool = False) -> dict[str, dict[str, float]]:
    """The best rates, as rates.yml has them: "data setting optimizer" → start → learning rate.
    later: of the table "later_rates", and so of "data setting optimizer later"."""
    chosen: dict = {}
    best = later_rates if later else best_rates
    # one network at a time: not all are tried with the same starts
    found = [best(part) for _, part in table.groupby(["data", "setting"], sort=False)]
    for row in pd.concat(found).itertuples():
        cell = " ".join(getattr(row, name) for name in CELL) + " later" * later
        chosen.setdefault(cell, {})[row.arm] = float(row.rate)
    return chosen


def with_muon(table: pd.DataFrame) -> pd.DataFrame:
    """The table "rivals" without learning rates, PyTorch's default with Muon as an arm beside those
    with Adam."""
    rows = rated(table)
    muon = rows.optimizer == MUON
    arm = str(Arm("default", MUON, "constant"))
    return rows.assign(arm=rows.arm.mask(muon, arm), optimizer=rows.optimizer.mask(muon, "adam"))


GOOD = 0.95  # a rate is good where a network has this share of the best start's accuracy
DECADES = 0.5  # between two rates of the grid


def good_decades(table: pd.DataFrame) -> pd.DataFrame:
    """How wide the range of good learning rates is, from the table "rates", in decades: a row per
    cell and seed, a column per start. Good is an early accuracy within ``GOOD`` of the cell's best
    start at its best rate, by the means over seeds."""
    values = by_rate(table)
    best = values.groupby(level=[*CELL, "rate"], sort=False).mean().groupby(level=CELL).max()
    limit = GOOD * best.max(axis=1)
    good = values.ge(limit.reindex(values.index.droplevel(["rate", "seed"])).to_numpy(), axis=0)
    return good.groupby(level=[*CELL, "seed"], sort=False).sum() * DECADES


def against_the_best(values: pd.DataFrame, treated: str, others: Sequence[str]) -> pd.DataFrame:
    """Beside an arm, the best of the others in each cell, by the mean over its seeds: columns
    ``treated`` and ``best``."""
    parts = []
    for _, part in values[[treated, *others]].groupby(level=CELL, sort=False):
        parts.append(
            pd.DataFrame({"treated": part[treated], "best": part[part[[*others]].mean().idxmax()]})
        )
    return pd.concat(parts)


def mapped(table: pd.DataFrame, treated: str, baseline: str) -> pd.DataFrame:
    """The map, from the table "where": a row per cell and learning rate. Columns: the cell, rate,
    depth, width, activation, those of ``Effect`` (of early accuracy), and of the untrained networks
    of both arms, as means over seeds: ``dead``, ``cosine``, ``gain`` and ``spread``, with
    ``other_`` before those of the baseline."""
    signals = rated(table[table.measure.isin(SIGNALS)])
    before = signals.pivot_table(
        index=[*CELL, "rate"], columns=["arm", "measure"], values="value", sort=False
    )
    before = before.to_dict("index")
    rows = []
    values = by_rate(table)[[treated, baseline]].dropna()
    for place, part in values.groupby(level=[*CELL, "rate"], sort=False):
        found = effect(part[treated], part[baseline], test=False)
        hidden = hidden_layers(place[1])
        row = dict(zip([*CELL, "rate"], place)) | {"depth": len(hidden), "width": hidden[0]}
        row |= {"activation": activation(place[1])} | vars(found)
        for prefix, arm in (("", treated), ("other_", baseline)):
            row |= {prefix + name: before[place][arm, name] for name in SIGNALS}
        rows.append(row)
    return pd.DataFrame(rows)


SIGNALS = ("dead", "cosine", "gain", "spread")


# ------------------------------------------------------------------------------------- escape
def escape_times(table: pd.DataFrame) -> pd.DataFrame:
    """When each network leaves its plateau, from the table "escape": a row per cell, arm and seed.

    Columns: time, in epochs, of the first look at which it has the accuracy of one that has
    escaped, or the end of the run where it never does; and escaped, whether it does.
    """
    curves = accuracy(table)
    targets = [ESCAPED.get(name, ESCAPED_IMAGES) for name in curves.index.get_level_values("data")]
    reached = curves.ge(np.asarray(targets), axis=0)  # NaN, where there is no look, is not reached
    seen = curves.notna().to_numpy()[:, ::-1]  # from the last look to the first
    end = curves.columns.to_numpy()[seen.shape[1] - 1 - seen.argmax(1)]
    escaped = reached.any(axis=1)
    time = reached.idxmax(axis=1).where(escaped, end).astype(float)
    return pd.DataFrame({"time": time, "escaped": escaped})


def escapes(times: pd.DataFrame, baseline: str = "default") -> pd.DataFrame:
    """How much faster each arm escapes than the baseline, seeds paired; a row per cell and arm.

    The columns of ``Effect`` are of the restricted mean time (censored at the end of the run),
    turned so that +0.2 is a fifth less time. Beside them: p_logrank; escaped and baseline_escaped,
    the shares of seeds; earlier, later, the shares of seeds that escape before and after the
    baseline; rescued, stranded, the shares that escape where the baseline does not, and the other
    way round; p_holm, over the arms of a cell.
    """

    def compare(part):
        time, escaped = (part[c].droplevel(CELL).unstack("arm") for c in ("time", "escaped"))
        for arm in dict.fromkeys(part.index.get_level_values("arm")):
            if arm != baseline:
                pairs = (frame[name] for name in (arm, baseline) for frame in (time, escaped))
                yield {"arm": arm} | _faster(*pairs)

    found = _per_cell(times, compare)
    return found.assign(p_holm=found.groupby(CELL, sort=False).p_logrank.transform(holm))


def _faster(time, escaped, other_time, other_escaped) -> dict:
    """How much faster one arm is than another in a cell: a row of ``escapes``."""
    slower = Effect(np.nan, n=len(time))
    if other_time.any():  # one that is there from the start cannot be improved on
        slower = effect(time, other_time)
    gain = other_time - time
    return vars(slower.turned()) | {
        "p_logrank": logrank(time, escaped, other_time, other_escaped),
        "escaped": escaped.mean(),
        "baseline_escaped": other_escaped.mean(),
        "earlier": (gain > 0).mean(),
        "later": (gain < 0).mean(),
        "rescued": (escaped & ~other_escaped).mean(),
        "stranded": (~escaped & other_escaped).mean(),
    }
