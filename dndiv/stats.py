"""From tables to effects with intervals. Seeds are the unit of replication, and every comparison is within the seed."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from dndiv.table import CELL

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

    def ratio(x, y, axis=-1):
        return x.mean(axis) / y.mean(axis) - 1

    estimate, n = float(ratio(t, b)), len(t)
    if n < 2:
        return Effect(estimate, np.nan, np.nan, np.nan, n)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # scipy warns where BCa is undefined; that case is handled below
        result = stats.bootstrap((t, b), ratio, paired=True, vectorized=True, n_resamples=RESAMPLES,
                                 method="BCa", rng=np.random.default_rng(BOOTSTRAP_SEED))
    low, high = result.confidence_interval
    if not (np.isfinite(low) and np.isfinite(high)):
        low, high = np.quantile(result.bootstrap_distribution, [0.025, 0.975])
    test = stats.permutation_test((t - b,), lambda x, axis=-1: x.mean(axis), permutation_type="samples",
                                  vectorized=True, n_resamples=RESAMPLES, rng=np.random.default_rng(BOOTSTRAP_SEED))
    return Effect(estimate, float(low), float(high), float(test.pvalue), n)


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
