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
from dndiv.paper.design import ESCAPED, ESCAPED_IMAGES, hidden_layers
from dndiv.paper.effects import (
    Effect,
    between,
    effect,
    holm,
    logrank,
    mean,
    rank_correlation,
    spearman,
)
from dndiv.paper.names import CELL

EARLY = (1, 2, 3, 4, 5)  # the epochs that the 40 % are about
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
    return arms.map(lambda arm: Arm.parse(arm).technique)


# ----------------------------------------------------------------------------------- accuracy
def accuracy(table: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy: a row per cell, arm and seed, a column per epoch."""
    return wide(table[table.measure == "accuracy"], ["arm", "seed"], "epoch")


def early_accuracy(table: pd.DataFrame) -> pd.DataFrame:
    """The primary endpoint, mean test accuracy over epochs 1 to 5: a row per cell and seed, a
    column per arm."""
    return wide(table[(table.measure == "accuracy") & table.epoch.isin(EARLY)], ["seed"], "arm")


def effects(values: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """The effect of each (treated, baseline) pair of arms in every cell.

    values: a row per cell and seed, a column per arm, as ``early_accuracy`` gives. Columns of the
    result: the cell, treated, baseline, those of ``Effect``, and p_holm, adjusted over the cells of
    a pair.
    """
    for arm in (arm for pair in pairs for arm in pair):
        if arm not in values:
            known = ", ".join(sorted(values))
            raise ValueError(f"the table has no arm {arm!r}; it has {known}")
    return pd.concat([_pair(values, *pair) for pair in pairs], ignore_index=True)


def _pair(values, treated, baseline):
    def compare(part):
        both = part[[treated, baseline]].dropna()
        found = effect(both[treated], both[baseline])
        yield {"treated": treated, "baseline": baseline} | vars(found)

    found = _per_cell(values, compare)
    return found.assign(p_holm=holm(found.p))


def epochs_to(accuracies: pd.DataFrame, target: float) -> pd.Series:
    """The first epoch in training at which a network has reached the target; the last one where it
    never has."""
    accuracies = accuracies.loc[:, accuracies.columns > 0]
    reached = accuracies.ge(target)
    first = reached.idxmax(axis=1)
    return first.where(reached.any(axis=1), accuracies.columns.max()).astype(float)


# ---------------------------------------------------------------------------------- diversity
def rank_shares(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the effective rank of hidden layers, as shares of the layer's width."""
    rows = table[(table.measure == "effective_rank") & table.layer.str.isdecimal()]
    widths = [hidden_layers(s)[int(k) - 1] for s, k in zip(rows.setting, rows.layer)]
    return rows.assign(value=rows.value / widths)


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
    table: pd.DataFrame, arm: str = "default", measure: str = "effective_rank", epoch: float = 1
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
            found = between(outcome.loc[order[-size:]], outcome.loc[order[:size]])
            yield {"outcome": name} | vars(found)

    return _per_cell(accuracy(table).xs(arm, level="arm"), compare)


def predictions(
    table: pd.DataFrame,
    measures: Sequence[str] = tuple(DIVERSITY),
    arm: str = "default",
    epochs: Sequence[float] | None = None,
    bootstrap: bool = True,
) -> pd.DataFrame:
    """Rank correlation over seeds of diversity at an epoch with accuracy then (``now``) and at the
    end (``final``).

    epochs: all, if not given. bootstrap: as in ``rank_correlation``. Columns: the cell, measure,
    epoch, outcome, and those of ``Effect``.
    """
    reached = accuracy(table).xs(arm, level="arm")

    def correlate(measure, part):
        for epoch in part.columns if epochs is None else epochs:
            for outcome, when in (("now", epoch), ("final", reached.columns.max())):
                found = rank_correlation(part[epoch], reached.loc[part.index, when], bootstrap)
                yield {"measure": measure, "epoch": epoch, "outcome": outcome} | vars(found)

    blocks = [
        _per_cell(network_diversity(table, m).xs(arm, level="arm"), partial(correlate, m))
        for m in measures
    ]
    return pd.concat(blocks, ignore_index=True)


def lesions(table: pd.DataFrame, arm: str = "default") -> pd.DataFrame:
    """The lesion test: the mean over networks of the rank correlation, over the units of a network,
    of the accuracy lost without a unit with its similarity to its nearest neighbour.

    Columns: the cell, and those of ``Effect``; n counts networks. Units that are constant have no
    neighbour and are left out, as are networks with fewer than four units left.
    """
    rows = table[(table.arm == arm) & table.measure.isin(["lesion", "nearest"])]

    def correlate(part):
        networks = [units for _, units in part.groupby(level="seed")]
        yield vars(
            mean(
                [
                    spearman(units.nearest.to_numpy(), units.lesion.to_numpy())
                    for units in networks
                    if len(units) >= 4 and np.ptp(units.lesion) > 0
                ]
            )
        )

    return _per_cell(wide(rows, ["seed", "layer"], "measure").dropna(), correlate)


# ------------------------------------------------------------------------------------- tuning
def candidates(tuning: pd.DataFrame, baseline: str = "default") -> pd.DataFrame:
    """What every candidate coefficient does on held-out images, from the table "tuning".

    Columns: setting, optimizer, ratio, technique, schedule, coefficient. The ratio is of the
    accuracy, averaged over what is recorded and over seeds, to the baseline's, in the mean over
    data sets.
    """
    rows = tuning[tuning.measure == "accuracy"]
    means = rows.groupby([*CELL, "arm"], sort=False).value.mean().unstack("arm")
    ratios = means.drop(columns=baseline).div(means[baseline], axis=0)
    ratios = ratios.groupby(level=["setting", "optimizer"], sort=False).mean()
    long = ratios.stack().rename("ratio").reset_index()
    arms = pd.DataFrame([vars(Arm.parse(arm)) for arm in long.arm]).drop(columns="start")
    return pd.concat([long.drop(columns="arm"), arms], axis=1)


def best_candidates(tuning: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``candidates`` with the best ratio of a technique, schedule, setting and
    optimizer: of equals, the smallest coefficient."""
    ranked = candidates(tuning).sort_values(
        ["ratio", "coefficient"], ascending=[False, True], kind="stable"
    )
    return ranked.drop_duplicates(["technique", "schedule", "setting", "optimizer"]).sort_index()


def choose_coefficients(tuning: pd.DataFrame) -> dict:
    """The best candidates: technique → schedule → "setting optimizer" → coefficient."""
    chosen: dict = {}
    for row in best_candidates(tuning).itertuples():
        of_schedule = chosen.setdefault(row.technique, {}).setdefault(row.schedule, {})
        of_schedule[f"{row.setting} {row.optimizer}"] = row.coefficient
    return chosen


# ------------------------------------------------------------------------------------- escape
def escape_times(table: pd.DataFrame) -> pd.DataFrame:
    """When each network leaves its plateau, from the table "escape": a row per cell, arm and seed.

    Columns: time, in epochs, of the first look at which it has the accuracy of one that has
    escaped, or the end of the run where it never does; and escaped, whether it does.
    """
    curves = accuracy(table)
    targets = [ESCAPED.get(name, ESCAPED_IMAGES) for name in curves.index.get_level_values("data")]
    reached = curves.ge(np.asarray(targets), axis=0)  # NaN, where there is no look, is not reached
    end = curves.apply(lambda line: line.last_valid_index(), axis=1)
    escaped = reached.any(axis=1)
    time = reached.idxmax(axis=1).where(escaped, end).astype(float)
    return pd.DataFrame({"time": time, "escaped": escaped})


def escapes(times: pd.DataFrame, baseline: str = "default") -> pd.DataFrame:
    """How much faster each arm escapes than the baseline, seeds paired; a row per cell and arm.

    The columns of ``Effect`` are of the restricted mean time (censored at the end of the run),
    turned so that +0.2 is a fifth less time. Beside them: p_logrank; escaped and baseline_escaped,
    the shares of seeds; earlier, later, the shares of seeds that escape before and after the
    baseline; rescued, stranded, the shares that escape where the baseline does not, and the other
    way round; gained, the median time that the earlier gain; p_holm, over the arms of a cell.
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
    return vars(Effect(-slower.estimate, -slower.high, -slower.low, slower.p, slower.n)) | {
        "p_logrank": logrank(time, escaped, other_time, other_escaped),
        "escaped": escaped.mean(),
        "baseline_escaped": other_escaped.mean(),
        "earlier": (gain > 0).mean(),
        "later": (gain < 0).mean(),
        "rescued": (escaped & ~other_escaped).mean(),
        "stranded": (~escaped & other_escaped).mean(),
        "gained": gain[gain > 0].median() if (gain > 0).any() else 0.0,
    }
