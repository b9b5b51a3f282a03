"""Effects with intervals and tests: the statistics of numbers alone, one number a seed."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

RESAMPLES = 9999
RESAMPLING_SEED = 20210912  # fixed, so that the same table gives the same interval


@dataclass(frozen=True)
class Effect:
    """A ratio of means over seeds, minus 1: +0.4 is 40 % more; or a correlation, or a mean of them.

    low, high: the 95 % interval. All but estimate and n are NaN where there are too few seeds.
    """

    estimate: float
    low: float = np.nan
    high: float = np.nan
    p: float = np.nan  # two-sided, of no difference
    n: int = 0  # seeds


def effect(treated: Sequence[float], baseline: Sequence[float]) -> Effect:
    """The relative effect of a treatment, paired by seed.

    treated, baseline: [seeds], finite, of the same seeds in the same order. The interval is the BCa
    bootstrap over seeds (Efron 1987), both arms resampled together; p is of sign flips.

    Raises ValueError for unequal lengths, no seeds, non-finite values, or a baseline whose mean is
    not positive.
    """
    t, b = np.asarray(treated, float), np.asarray(baseline, float)
    if t.shape != b.shape or t.ndim != 1 or not len(t):
        raise ValueError(
            f"treated and baseline are paired by seed: shapes {t.shape} and {b.shape} do not match"
        )
    if not (np.isfinite(t).all() and np.isfinite(b).all()):
        raise ValueError("treated and baseline must be finite")
    return _compared(t, b, paired=True)


def between(treated: Sequence[float], baseline: Sequence[float]) -> Effect:
    """The relative effect between groups of different seeds: ``effect`` unpaired; n counts both."""
    t, b = np.asarray(treated, float), np.asarray(baseline, float)
    if min(len(t), len(b)) < 1 or not (np.isfinite(t).all() and np.isfinite(b).all()):
        raise ValueError(f"both groups need finite values, not {t} and {b}")
    return _compared(t, b, paired=False)


def _compared(t, b, paired) -> Effect:
    if not b.mean() > 0:
        raise ValueError(f"a relative effect needs a baseline with a positive mean, not {b.mean()}")
    estimate, n = float(_ratio(t, b)), len(t) if paired else len(t) + len(b)
    if min(len(t), len(b)) < 2:
        return Effect(estimate, n=n)
    test = stats.permutation_test(
        (t - b,) if paired else (t, b),
        _mean if paired else _difference,
        permutation_type="samples" if paired else "independent",
        vectorized=True,
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(RESAMPLING_SEED),
    )
    return Effect(estimate, *_interval((t, b), _ratio, paired), float(test.pvalue), n)


def rank_correlation(x: Sequence[float], y: Sequence[float], bootstrap: bool = True) -> Effect:
    """Spearman's ρ over seeds with a 95 % interval; the p-value is of Student's t for ρ.

    The interval is the BCa bootstrap's; or, for curves of hundreds of them, Fisher's z with the
    variance 1.06/(n−3) (Fieller, Hartley & Pearson 1957). All NaN where it is undefined: fewer than
    four seeds, or all values of x or of y equal.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.shape != y.shape or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("a rank correlation needs finite values in pairs")
    if len(x) < 4 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Effect(np.nan, n=len(x))
    found = stats.spearmanr(x, y)
    if bootstrap:
        low, high = _interval((x, y), spearman, paired=True)
    else:
        z = np.arctanh(np.clip(found.statistic, -0.9999, 0.9999))
        half = 1.96 * np.sqrt(1.06 / (len(x) - 3))
        low, high = np.tanh([z - half, z + half])
    return Effect(float(found.statistic), float(low), float(high), float(found.pvalue), len(x))


def mean(values: Sequence[float]) -> Effect:
    """The mean with its BCa interval; the p-value is of Wilcoxon's signed ranks."""
    values = np.asarray(values, float)
    n = len(values)
    if n < 2:
        return Effect(float(values.mean()) if n else np.nan, n=n)
    p = float(stats.wilcoxon(values).pvalue) if values.any() else np.nan
    return Effect(float(values.mean()), *_interval((values,), _mean, paired=False), p, n)


def spearman(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
    """Spearman's ρ along an axis; 0 where all values of x or of y are equal."""
    a, b = (stats.rankdata(v, axis=axis) for v in (x, y))
    a, b = (v - v.mean(axis, keepdims=True) for v in (a, b))
    scale = np.sqrt((a**2).sum(axis) * (b**2).sum(axis))
    return np.divide((a * b).sum(axis), scale, out=np.zeros_like(scale), where=scale > 0)


def _ratio(x, y, axis=-1):
    return x.mean(axis) / y.mean(axis) - 1


def _difference(x, y, axis=-1):
    return x.mean(axis) - y.mean(axis)


def _mean(x, axis=-1):
    return x.mean(axis)


def _interval(samples, statistic, paired) -> tuple[float, float]:
    """The 95 % BCa interval over seeds.

    Where BCa is undefined, because resampling hardly changes the statistic, it is the percentile
    interval: a point if all seeds agree.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # scipy warns where BCa is undefined
        result = stats.bootstrap(
            samples,
            statistic,
            paired=paired,
            vectorized=True,
            n_resamples=RESAMPLES,
            method="BCa",
            rng=np.random.default_rng(RESAMPLING_SEED),
        )
    low, high = result.confidence_interval
    if not (np.isfinite(low) and np.isfinite(high)):
        low, high = np.quantile(result.bootstrap_distribution, [0.025, 0.975])
    return float(low), float(high)


def holm(pvalues: Sequence[float]) -> np.ndarray:
    """Holm's (1979) step-down adjustment of the p-values of one family.

    NaN stays NaN and is not counted.
    """
    p = np.asarray(pvalues, float)
    adjusted = np.full(p.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def logrank(time, escaped, other_time, other_escaped) -> float:
    """The p-value of the log-rank test of equal escape times; NaN where none has escaped.

    Those that have not escaped are censored at their time.
    """
    if not (np.any(escaped) or np.any(other_escaped)):
        return np.nan
    with np.errstate(all="ignore"):
        samples = _censored(time, escaped), _censored(other_time, other_escaped)
        return float(stats.logrank(*samples).pvalue)


def survival(time: Sequence[float], escaped: Sequence[bool]) -> tuple[np.ndarray, np.ndarray]:
    """The Kaplan–Meier estimate of the share that has not escaped, a step function from time 0.

    Returns (times, shares).
    """
    found = stats.ecdf(_censored(time, escaped)).sf
    return np.append(0.0, found.quantiles), np.append(1.0, found.probabilities)


def _censored(time, escaped) -> stats.CensoredData:
    return stats.CensoredData.right_censored(np.asarray(time, float), ~np.asarray(escaped, bool))
