"""From tables to effects with intervals. Seeds are the unit of replication, and every comparison is within the seed."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from dndiv.table import CELL, hidden_layers

RESAMPLES = 9999
BOOTSTRAP_SEED = 20210912  # fixed, so that the same table gives the same interval


@dataclass(frozen=True)
class Effect:
    """Ratio of means over seeds, minus 1: +0.4 is 40 % more. low, high: 95 % interval; NaN where n < 2."""

    estimate: float
    low: float
    high: float
    p: float  # two-sided sign-flip permutation test of no difference
    n: int    # seeds


def effect(treated: Sequence[float], baseline: Sequence[float]) -> Effect:
    """The relative effect of a treatment, paired by seed.

    treated, baseline: [seeds], finite, of the same seeds in the same order. The interval is the BCa bootstrap over
    seeds (Efron 1987), both arms resampled together. Where BCa is undefined, because resampling hardly changes
    the statistic, it is the percentile interval: a point if all seeds agree.

    Raises ValueError for unequal lengths, no seeds, non-finite values, or a baseline whose mean is not positive.
    """
    t, b = np.asarray(treated, float), np.asarray(baseline, float)
    if t.shape != b.shape or t.ndim != 1 or not len(t):
        raise ValueError(f"treated and baseline are paired by seed: shapes {t.shape} and {b.shape} do not match")
    if not (np.isfinite(t).all() and np.isfinite(b).all()):
        raise ValueError("treated and baseline must be finite")
    if not b.mean() > 0:
        raise ValueError(f"a relative effect needs a baseline with a positive mean, not {b.mean()}")

    estimate, n = float(_ratio(t, b)), len(t)
    if n < 2:
        return Effect(estimate, np.nan, np.nan, np.nan, n)
    test = stats.permutation_test((t - b,), lambda x, axis=-1: x.mean(axis), permutation_type="samples",
                                  vectorized=True, n_resamples=RESAMPLES, rng=np.random.default_rng(BOOTSTRAP_SEED))
    return Effect(estimate, *_interval((t, b), _ratio, paired=True), float(test.pvalue), n)


def between(treated: Sequence[float], baseline: Sequence[float]) -> Effect:
    """The relative effect between two groups of different seeds, as ``effect`` but unpaired; n counts both groups."""
    t, b = np.asarray(treated, float), np.asarray(baseline, float)
    if min(len(t), len(b)) < 1 or not (np.isfinite(t).all() and np.isfinite(b).all()):
        raise ValueError(f"both groups need finite values, not {t} and {b}")
    if not b.mean() > 0:
        raise ValueError(f"a relative effect needs a baseline with a positive mean, not {b.mean()}")
    estimate, n = float(_ratio(t, b)), len(t) + len(b)
    if min(len(t), len(b)) < 2:
        return Effect(estimate, np.nan, np.nan, np.nan, n)
    test = stats.permutation_test((t, b), lambda x, y, axis=-1: x.mean(axis) - y.mean(axis), vectorized=True,
                                  n_resamples=RESAMPLES, rng=np.random.default_rng(BOOTSTRAP_SEED))
    return Effect(estimate, *_interval((t, b), _ratio, paired=False), float(test.pvalue), n)


def rank_correlation(x: Sequence[float], y: Sequence[float], bootstrap: bool = True) -> Effect:
    """Spearman's ρ over seeds with a 95 % interval; the p-value is of Student's t for ρ.

    The interval is the BCa bootstrap's; or, for curves of hundreds of them, Fisher's z with the variance 1.06/(n−3)
    (Fieller, Hartley & Pearson 1957). All NaN where it is undefined: fewer than four seeds, or all values of x or of y equal.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.shape != y.shape or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("a rank correlation needs finite values in pairs")
    if len(x) < 4 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Effect(np.nan, np.nan, np.nan, np.nan, len(x))
    found = stats.spearmanr(x, y)
    if bootstrap:
        low, high = _interval((x, y), _spearman, paired=True)
    else:
        z, half = np.arctanh(np.clip(found.statistic, -0.9999, 0.9999)), 1.96 * np.sqrt(1.06 / (len(x) - 3))
        low, high = np.tanh([z - half, z + half])
    return Effect(float(found.statistic), float(low), float(high), float(found.pvalue), len(x))


def _ratio(x, y, axis=-1):
    return x.mean(axis) / y.mean(axis) - 1


def _spearman(x, y, axis=-1):
    a, b = (stats.rankdata(v, axis=axis) for v in (x, y))
    a, b = (v - v.mean(axis, keepdims=True) for v in (a, b))
    scale = np.sqrt((a ** 2).sum(axis) * (b ** 2).sum(axis))
    return np.divide((a * b).sum(axis), scale, out=np.zeros_like(scale), where=scale > 0)


def _interval(samples, statistic, paired) -> tuple[float, float]:
    """The 95 % BCa interval over seeds; where BCa is undefined, the percentile interval."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # scipy warns where BCa is undefined; that case is handled below
        result = stats.bootstrap(samples, statistic, paired=paired, vectorized=True, n_resamples=RESAMPLES,
                                 method="BCa", rng=np.random.default_rng(BOOTSTRAP_SEED))
    low, high = result.confidence_interval
    if not (np.isfinite(low) and np.isfinite(high)):
        low, high = np.quantile(result.bootstrap_distribution, [0.025, 0.975])
    return float(low), float(high)


def holm(pvalues: Sequence[float]) -> np.ndarray:
    """Holm's (1979) step-down adjustment of the p-values of one family; NaN stays NaN and is not counted."""
    p = np.asarray(pvalues, float)
    adjusted = np.full(p.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    if len(order):
        steps = p[order] * np.arange(len(order), 0, -1)
        adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def early_accuracy(table: pd.DataFrame) -> pd.DataFrame:
    """The primary endpoint: mean test accuracy over epochs 1 to 5, a row per data set, setting, optimizer and seed,
    a column per arm."""
    rows = table[(table.measure == "accuracy") & table.epoch.between(1, 5)]
    return rows.pivot_table(index=[*CELL, "seed"], columns="arm", values="value", aggfunc="mean", observed=True, sort=False)


def effects(values: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """The effect of each (treated, baseline) pair of arms in every cell (data set, setting, optimizer).

    values: rows indexed by data, setting, optimizer and seed, a column per arm, as ``early_accuracy`` gives.
    Columns of the result: the cell, treated, baseline, those of ``Effect``, and p_holm, adjusted over the cells
    of one pair.
    """
    known = set(values.columns)
    if unknown := [arm for pair in pairs for arm in pair if arm not in known]:
        raise ValueError(f"the table has no arm {unknown[0]!r}; it has {', '.join(sorted(known))}")
    blocks = []
    for treated, baseline in pairs:
        rows = []
        for cell, group in values.groupby(level=CELL, sort=False, observed=True):
            both = group[[treated, baseline]].dropna()
            found = effect(both[treated], both[baseline])
            rows.append(dict(zip(CELL, cell)) | {"treated": treated, "baseline": baseline} | vars(found))
        block = pd.DataFrame(rows)
        blocks.append(block.assign(p_holm=holm(block.p)))
    return pd.concat(blocks, ignore_index=True)


def verdict(low: float, high: float, published: float | None) -> str:
    """What an interval says of an effect with a published value, or, without one, of its direction alone."""
    if not low <= high:  # also where there is no interval, for want of seeds
        return "undecided"
    if published is None:
        return "reproduced" if low > 0 else "not reproduced" if high <= 0 else "undecided"
    if low > 0:
        return "reproduced" if high >= published else "reproduced in part"
    return "undecided" if high >= published else "not reproduced"


# measures of diversity, by the name of their rows: sign +1 where more is more diverse, −1 where it is less
DIVERSITY = {"effective_rank": 1, "correlation": -1, "similarity": -1, "log_volume": 1, "dead": -1}


def network_diversity(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    """A measure of diversity of whole networks: the mean over their hidden layers, larger being more diverse.

    Ranks are shares of the layer's width. Rows are indexed by data, setting, optimizer, arm and seed; a column per
    epoch. Layers where the measure is undefined (a layer without two varying units) count as not diverse at all.
    """
    if measure not in DIVERSITY:
        raise ValueError(f"unknown measure {measure!r}; choose one of {', '.join(DIVERSITY)}")
    rows = table[(table.measure == measure) & table.layer.str.isdecimal()]
    value = rows.value
    if measure == "effective_rank":
        value = value / [hidden_layers(s)[int(k) - 1] for s, k in zip(rows.setting, rows.layer)]
    if measure == "correlation":
        value = value.fillna(1.0)
    if measure == "log_volume":
        value = value.clip(lower=-50.0)  # −inf where rows are dependent; ranks are what is used of it
    signed = rows.assign(value=DIVERSITY[measure] * value)
    return signed.pivot_table(index=[*CELL, "arm", "seed"], columns="epoch", values="value", aggfunc="mean", sort=False)


def accuracy(table: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy, indexed by data, setting, optimizer, arm and seed; a column per epoch."""
    rows = table[table.measure == "accuracy"]
    return rows.pivot_table(index=[*CELL, "arm", "seed"], columns="epoch", values="value", sort=False)


def epochs_to(accuracies: pd.DataFrame, target: float) -> pd.Series:
    """The first epoch in training at which a network has reached the target; the last one where it never has."""
    accuracies = accuracies.loc[:, accuracies.columns > 0]
    reached = accuracies.ge(target)
    return reached.idxmax(axis=1).where(reached.any(axis=1), accuracies.columns.max()).astype(float)


def thirds(table: pd.DataFrame, arm: str = "default", measure: str = "effective_rank", epoch: float = 1) -> pd.DataFrame:
    """The most against the least diverse third of the seeds, by a measure at an epoch, in every cell.

    Rows: the cell, outcome (``final accuracy``, ``early accuracy``, and ``epochs to target``: to nine tenths of the
    cell's median final accuracy), and the columns of ``Effect``.
    """
    diversity, reached = (frame.xs(arm, level="arm") for frame in (network_diversity(table, measure), accuracy(table)))
    rows = []
    for cell, group in reached.groupby(level=CELL, sort=False):
        order = diversity.loc[group.index, epoch].sort_values(kind="stable").index
        size = max(len(order) // 3, 1)
        outcomes = {"final accuracy": group[group.columns.max()], "early accuracy": group[[1, 2, 3, 4, 5]].mean(axis=1),
                    "epochs to target": epochs_to(group, 0.9 * group[group.columns.max()].median())}
        for name, outcome in outcomes.items():
            found = between(outcome.loc[order[-size:]], outcome.loc[order[:size]])
            rows.append(dict(zip(CELL, cell)) | {"outcome": name} | vars(found))
    return pd.DataFrame(rows)


def predictions(table: pd.DataFrame, measures: Sequence[str] = tuple(DIVERSITY), arm: str = "default",
                epochs: Sequence[float] | None = None, bootstrap: bool = True) -> pd.DataFrame:
    """Rank correlation over seeds of diversity at an epoch with accuracy then (``now``) and at the end (``final``).

    bootstrap: as in ``rank_correlation``. Rows: the cell, measure, epoch, outcome, and the columns of ``Effect``.
    """
    reached = accuracy(table).xs(arm, level="arm")
    rows = []
    for measure in measures:
        diversity = network_diversity(table, measure).xs(arm, level="arm")
        for cell, group in diversity.groupby(level=CELL, sort=False):
            for epoch in group.columns if epochs is None else epochs:
                for outcome, when in (("now", epoch), ("final", reached.columns.max())):
                    found = rank_correlation(group[epoch], reached.loc[group.index, when], bootstrap)
                    rows.append(dict(zip(CELL, cell)) | {"measure": measure, "epoch": epoch, "outcome": outcome} | vars(found))
    return pd.DataFrame(rows)


def lesions(table: pd.DataFrame, arm: str = "default") -> pd.DataFrame:
    """The lesion test, per cell: the mean over networks of the rank correlation, over the units of a network, of the
    accuracy lost without a unit with its similarity to its nearest neighbour. n counts networks.

    Units that are constant have no neighbour and are left out, as are networks with fewer than four units left.
    """
    rows = table[(table.arm == arm) & table.measure.isin(["lesion", "nearest"])]
    units = rows.pivot_table(index=[*CELL, "seed", "layer"], columns="measure", values="value", sort=False).dropna()
    found = []
    for cell, group in units.groupby(level=CELL, sort=False):
        rho = np.asarray([_spearman(g.nearest.to_numpy(), g.lesion.to_numpy()) for _, g in group.groupby(level="seed")
                          if len(g) >= 4 and np.ptp(g.lesion) > 0])
        low = high = np.nan
        if len(rho) > 1:
            low, high = _interval((rho,), lambda x, axis=-1: x.mean(axis), paired=False)
        p = float(stats.wilcoxon(rho).pvalue) if len(rho) > 1 and np.any(rho) else np.nan
        found.append(dict(zip(CELL, cell)) | vars(Effect(float(rho.mean()) if len(rho) else np.nan, low, high, p, len(rho))))
    return pd.DataFrame(found)


def candidates(tuning: pd.DataFrame, baseline: str = "default") -> pd.DataFrame:
    """What every candidate coefficient does on held-out images, from the table "tuning".

    Arms are "default+technique:schedule@coefficient". Rows: setting, optimizer, technique, schedule, coefficient, and ratio: of
    the accuracy, averaged over what is recorded and over seeds, to the baseline's, in the mean over data sets.
    """
    mean = tuning[tuning.measure == "accuracy"].groupby([*CELL, "arm"], sort=False).value.mean().unstack("arm")
    ratios = mean.drop(columns=baseline).div(mean[baseline], axis=0).groupby(level=["setting", "optimizer"], sort=False).mean()
    long = ratios.stack().rename("ratio").reset_index()
    parts = long.arm.str.extract(r"^.*\+(?P<technique>.*):(?P<schedule>.*)@(?P<coefficient>.*)$")
    return pd.concat([long, parts.assign(coefficient=parts.coefficient.astype(float))], axis=1).drop(columns="arm")


def choose_coefficients(tuning: pd.DataFrame) -> dict:
    """The best candidate (the smallest of equals): technique → schedule → "setting optimizer" → coefficient."""
    chosen: dict = {}
    ranked = candidates(tuning).sort_values(["ratio", "coefficient"], ascending=[False, True], kind="stable")
    for row in ranked.drop_duplicates(["technique", "schedule", "setting", "optimizer"]).sort_index().itertuples():
        chosen.setdefault(row.technique, {}).setdefault(row.schedule, {})[f"{row.setting} {row.optimizer}"] = row.coefficient
    return chosen


TARGETS = {"XOR": 1.0, "Parity3": 1.0}  # the accuracy at which a network has escaped its plateau; elsewhere 0.5


def escape_times(table: pd.DataFrame) -> pd.DataFrame:
    """When each network first reaches the target accuracy: ``time``, in epochs, or the end of the run where it never
    does, and whether it has, ``escaped``; a row per cell, seed and arm, from the table "escape"."""
    curves = accuracy(table)
    targets = np.asarray([TARGETS.get(name, 0.5) for name in curves.index.get_level_values("data")])
    reached = curves.ge(targets, axis=0)  # NaN, where a problem is not looked at, is not reached
    end = curves.apply(lambda line: line.last_valid_index(), axis=1)
    escaped = reached.any(axis=1)
    return pd.DataFrame({"time": reached.idxmax(axis=1).where(escaped, end).astype(float), "escaped": escaped})


def escapes(times: pd.DataFrame, baseline: str = "default") -> pd.DataFrame:
    """How much faster each arm escapes than the baseline, per cell, seeds paired.

    The columns of ``Effect`` are of the restricted mean time (censored at the end of the run), turned so that +0.2 is a
    fifth less time. Beside them: p_logrank, p_holm over the arms of a cell; escaped and baseline_escaped, the shares of
    seeds; earlier, later, the shares of seeds that escape before and after the baseline; rescued, stranded, the
    shares that escape where the baseline does not, and the other way round; gained, the median time that the earlier gain.
    """
    rows = []
    for cell, group in times.groupby(level=CELL, sort=False):
        time, escaped = (group[column].droplevel(CELL).unstack("arm") for column in ("time", "escaped"))
        block = []
        for arm in [a for a in dict.fromkeys(group.index.get_level_values("arm")) if a != baseline]:
            # a baseline that is there from the start cannot be improved on
            found = effect(time[arm], time[baseline]) if time[baseline].any() else Effect(*[math.nan] * 4, len(time))
            faster = Effect(-found.estimate, -found.high, -found.low, found.p, found.n)
            gain = time[baseline] - time[arm]
            block.append(dict(zip(CELL, cell)) | {"arm": arm} | vars(faster) | {
                "p_logrank": logrank(time[arm], escaped[arm], time[baseline], escaped[baseline]),
                "escaped": escaped[arm].mean(), "baseline_escaped": escaped[baseline].mean(),
                "earlier": (gain > 0).mean(), "later": (gain < 0).mean(),
                "rescued": (escaped[arm] & ~escaped[baseline]).mean(), "stranded": (~escaped[arm] & escaped[baseline]).mean(),
                "gained": gain[gain > 0].median() if (gain > 0).any() else 0.0})
        block = pd.DataFrame(block)
        rows.append(block.assign(p_holm=holm(block.p_logrank)))
    return pd.concat(rows, ignore_index=True)


def logrank(time, escaped, other_time, other_escaped) -> float:
    """The p-value of the log-rank test of equal escape times, those that have not escaped being censored; NaN where
    none has."""
    if not (np.any(escaped) or np.any(other_escaped)):
        return float("nan")
    samples = [stats.CensoredData.right_censored(np.asarray(t, float), ~np.asarray(e, bool))
               for t, e in ((time, escaped), (other_time, other_escaped))]
    with np.errstate(all="ignore"):
        return float(stats.logrank(*samples).pvalue)


def survival(time: pd.Series, escaped: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """The Kaplan–Meier estimate of the share that has not escaped, from time 0: (times, shares), a step function."""
    sample = stats.CensoredData.right_censored(time.to_numpy(float), ~escaped.to_numpy(bool))
    found = stats.ecdf(sample).sf
    return np.concatenate([[0.0], found.quantiles]), np.concatenate([[1.0], found.probabilities])
