"""Effects with intervals and tests: the statistics of numbers alone, one number a seed.

Seeds are few, and a network that never learns is far from all others. The intervals are those that
hold what they say there, by the simulation of ``coverage``: they have a closed form, so that the
same numbers give the same interval, and leaving a seed out is cheap.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, product
from math import comb

import numpy as np
from scipy import special

RESAMPLES = 9999  # sign flips or permutations, where all of them are more
RESAMPLING_SEED = 20210912  # fixed, so that the same table gives the same p-value


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

    def turned(self) -> "Effect":
        """The same with the other sign: how much less."""
        return Effect(0.0 - self.estimate, 0.0 - self.high, 0.0 - self.low, self.p, self.n)


def effect(treated: Sequence[float], baseline: Sequence[float], test: bool = True) -> Effect:
    """The relative effect of a treatment, paired by seed.

    treated, baseline: [seeds], finite, of the same seeds in the same order. The interval is
    ``interval``; p, left out without ``test``, is of sign flips: exact for few seeds.

    Raises ValueError for unequal lengths, no seeds, non-finite values, or a baseline whose mean is
    not positive.
    """
    t, b = np.asarray(treated, float), np.asarray(baseline, float)
    if t.shape != b.shape or t.ndim != 1 or not len(t):
        raise ValueError(
            f"treated and baseline are paired by seed: shapes {t.shape} and {b.shape} do not match"
        )
    estimate, u = ratio(t, b)
    low, high = of_ratio(estimate, u)
    p = _permuted(t - b, _flips(len(t))) if test and len(t) > 1 else np.nan
    return Effect(float(estimate), float(low), float(high), p, len(t))


def between(treated: Sequence[float], baseline: Sequence[float], test: bool = True) -> Effect:
    """The relative effect between groups of different seeds: ``effect`` unpaired; n counts both."""
    t, b = np.asarray(treated, float), np.asarray(baseline, float)
    if not (len(t) and len(b)):
        raise ValueError(f"both groups need finite values, not {t} and {b}")
    estimate = _quotient(t, b)[0] - 1
    parts = (t - t.mean()) / len(t), -(1 + estimate) * (b - b.mean()) / len(b)
    low, high = of_ratio(estimate, *(u / b.mean() for u in parts))
    test = test and min(len(t), len(b)) > 1
    p = _permuted(np.append(t, b), _splits(len(t), len(b))) if test else np.nan
    return Effect(float(estimate), float(low), float(high), p, len(t) + len(b))


def ratio(t: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ratio of means along the last axis, minus 1, and what each seed contributes to its error:
    (t − ratio·b) / mean(b) / seeds, linearized (delta method). ValueError as of ``effect``."""
    quotient = _quotient(t, b)
    errors = (t - quotient * b) / b.mean(-1, keepdims=True) / b.shape[-1]
    return quotient[..., 0] - 1, errors


def _quotient(t, b):
    """The ratio of means along the last axis, which is kept."""
    mean = b.mean(-1, keepdims=True)
    if not (np.isfinite(t).all() and np.isfinite(b).all()):
        raise ValueError("treated and baseline must be finite values")
    if not (mean > 0).all():
        raise ValueError(f"a relative effect needs a baseline with a positive mean, not {mean[0]}")
    return t.mean(-1, keepdims=True) / mean


def interval(
    estimate: np.ndarray, *parts: np.ndarray, fewest: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % interval of an estimate, from what independent units contribute to its error.

    parts: [..., units] of each group of units, with sum zero over units. On either side it is the
    wider of Student's t interval and of Hall's (1992), which corrects it for skewness: one network
    that never learns makes the side on which more of them would be wider. Degrees of freedom are
    those of ``fewest`` units, by default of the smallest group. NaN where that is less than two.
    """
    fewest = fewest or min(u.shape[-1] for u in parts)
    if fewest < 2:
        return np.full_like(estimate, np.nan), np.full_like(estimate, np.nan)
    squares, cubes = (sum((u**k).sum(-1) for u in parts) for k in (2, 3))
    skewness = np.divide(cubes, squares**1.5, out=np.zeros_like(squares), where=squares > 1e-200)
    skewness = np.where(np.abs(skewness) < 1e-6, 1e-6, skewness)
    t, error = special.stdtrit(fewest - 1, 0.975), _error(parts)

    def hall(x):
        return 3 / skewness * (np.cbrt(1 + skewness * (x - skewness / 6)) - 1)

    return (estimate - error * np.maximum(t, hall(t)), estimate + error * np.maximum(t, -hall(-t)))


def of_ratio(estimate: np.ndarray, *parts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``interval`` of a relative effect, that of the ratio's logarithm: both ends are possible, and
    the same whichever of the two is the baseline. Of a ratio that has none, of the ratio itself."""
    share = 1 + np.asarray(estimate)
    some = share > 0
    scale = np.where(some, share, 1)
    plain = interval(estimate, *parts)
    logs = interval(np.log(scale), *(u / scale[..., None] for u in parts))
    low, high = (np.where(some, np.expm1(of), at) for of, at in zip(logs, plain))
    return low, high


def _error(parts):
    """The standard error of an estimate, by what units contribute to it."""
    return np.sqrt(sum((u**2).sum(-1) * u.shape[-1] / (u.shape[-1] - 1) for u in parts))


def clustered(estimate: float, parts: Sequence[np.ndarray], fewest: int) -> Effect:
    """An effect with its ``interval`` by groups of units; p is of Student's t, n counts units."""
    [found] = _clustered(np.array([estimate], float), parts, fewest)
    return found


def _clustered(estimates: np.ndarray, parts: Sequence[np.ndarray], fewest: int) -> list[Effect]:
    """``clustered`` for several estimates; parts: [units], or a row for each of them."""
    n = sum(u.shape[-1] for u in parts)
    if fewest < 2:
        return [Effect(float(estimate), n=n) for estimate in estimates]
    low, high = interval(estimates, *parts, fewest=fewest)
    error = np.broadcast_to(_error(parts), estimates.shape)
    t = np.divide(estimates, error, out=np.zeros_like(estimates), where=error > 0)
    p = np.where(error > 0, 2 * special.stdtr(fewest - 1, -abs(t)), estimates == 0)
    return [Effect(*map(float, of), n=n) for of in zip(estimates, low, high, p)]


def clusters_without_each(
    estimate: float, parts: Sequence[np.ndarray], fewest: int
) -> Iterator[Effect]:
    """``clustered`` with each unit left out, by what it contributes."""
    for i, part in enumerate(parts):
        n = len(part)
        if n > 1:
            rest = _left(part) * n / (n - 1)
            left = [*parts[:i], rest - rest.mean(-1, keepdims=True), *parts[i + 1 :]]
            yield from _clustered(estimate - part * n / (n - 1), left, min(fewest, n - 1))


def contributions(statistic: Callable[..., Effect], *samples: np.ndarray):
    """The estimate of a statistic of samples paired by seed, and what each seed contributes to its
    error: linearized for ``effect``, by the jackknife for others, which of ``mean`` is simple."""
    if statistic is effect:
        return ratio(*samples)
    if statistic is mean:
        (values,) = samples
        mean_ = values.mean(-1, keepdims=True)
        return mean_[..., 0], (values - mean_) / values.shape[-1]
    estimate = statistic(*samples).estimate
    n = len(samples[0])
    if n < 2:
        return estimate, np.zeros(n)
    left = np.array([found.estimate for found in without_each(statistic, *samples)])
    return estimate, (left.mean() - left) * (n - 1) / n


def rank_correlation(
    x: Sequence[float], y: Sequence[float], given: Sequence[float] | None = None
) -> Effect:
    """Spearman's ρ over seeds, partial where a third variable is given.

    The interval is of Fisher's z with the variance (1 + ρ²/2)/(n − 3) of Bonett & Wright (2000) and
    Student's t; p is of Student's t for ρ. A given variable costs a degree of freedom. All NaN
    where it is undefined: fewer than four seeds, or all values of a variable equal.
    """
    variables = [np.asarray(v, float) for v in (x, y, given) if v is not None]
    n, costs = len(variables[0]), len(variables) - 2
    if any(v.shape != (n,) or not np.isfinite(v).all() for v in variables):
        raise ValueError("a rank correlation needs finite values in pairs")
    if n < 4 + costs or any(np.ptp(v) == 0 for v in variables):
        return Effect(np.nan, n=n)
    x, y, *others = map(_ranks, variables)
    rho = _correlation(x, y)
    if costs:
        of_x, of_y = (_correlation(v, others[0]) for v in (x, y))
        scale = np.sqrt((1 - of_x**2) * (1 - of_y**2))
        if scale < 1e-9:  # one of them has the order of what is given: nothing is left
            return Effect(np.nan, n=n)
        rho = (rho - of_x * of_y) / scale
    rho = float(np.clip(rho, -1, 1))
    free = n - 2 - costs
    half = special.stdtrit(free, 0.975) * np.sqrt((1 + rho**2 / 2) / (free - 1))
    low, high = np.tanh(np.arctanh(np.clip(rho, -0.9999, 0.9999)) + [-half, half])
    t = abs(rho) * np.sqrt(free / max(1 - rho**2, 1e-300))
    return Effect(rho, float(low), float(high), float(2 * special.stdtr(free, -t)), n)


def mean(values: Sequence[float], test: bool = True) -> Effect:
    """The mean with its ``interval``; the p-value is of Wilcoxon's signed ranks."""
    values = np.asarray(values, float)
    n = len(values)
    if not n:
        return Effect(np.nan)
    p = np.nan
    if test and n > 1 and values.any():
        from scipy import stats  # slow to import

        p = float(stats.wilcoxon(values).pvalue)
    estimate = values.mean()
    return Effect(float(estimate), *map(float, interval(estimate, (values - estimate) / n)), p, n)


def without_each(statistic: Callable[..., Effect], *samples: np.ndarray) -> list[Effect]:
    """The statistic of samples that are paired by seed, with each seed left out; of one seed,
    nothing is left. Those of ``effect`` and ``mean`` come at once, without p."""
    n = len(samples[0])
    if n < 2:
        return []
    left = [_left(sample) for sample in samples]
    if statistic not in (effect, mean):
        return [statistic(*sample) for sample in zip(*left)]
    estimates, u = contributions(statistic, *left)
    low, high = (of_ratio if statistic is effect else interval)(estimates, u)
    return [Effect(*map(float, of), n=n - 1) for of in zip(estimates, low, high)]


def _left(values: Sequence[float]) -> np.ndarray:
    """[n, n − 1]: n values without each of them."""
    n = len(values)
    return np.tile(np.asarray(values, float), (n, 1))[~np.eye(n, dtype=bool)].reshape(n, n - 1)


def paired_shares(treated: Sequence[bool], baseline: Sequence[bool]) -> float:
    """The p-value of equal shares of paired seeds: McNemar's test, exact. 1 where none differs."""
    from scipy import stats

    t, b = np.asarray(treated, bool), np.asarray(baseline, bool)
    more, less = int((t & ~b).sum()), int((b & ~t).sum())
    return float(stats.binomtest(more, more + less).pvalue) if more + less else 1.0


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's ρ of [values]; 0 where all values of x or of y are equal."""
    return _correlation(_ranks(x), _ranks(y))


def _correlation(a, b) -> float:
    """Of values whose mean is zero."""
    scale = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / scale) if scale > 0 else 0.0


def _ranks(values):
    """Ranks less their mean, equals sharing the mean of theirs."""
    order = np.sort(values)
    first, last = (np.searchsorted(order, values, side) for side in ("left", "right"))
    return (first + last - len(order)) / 2


def _permuted(values, weights) -> float:
    """The two-sided p-value of the statistic that the first of ``weights`` @ ``values`` is, by all
    of them: those of ``_flips`` or ``_splits``."""
    found = weights @ values
    observed, null = found[0], found[1:]
    slack = 100 * np.finfo(float).eps * abs(observed)  # what is equal but for rounding is equal
    tail = min(np.sum(null <= observed + slack), np.sum(null >= observed - slack))
    drawn = len(null) == RESAMPLES  # and the values as they are count as one draw more
    return float(min(2 * (tail + drawn) / (len(null) + drawn), 1.0))


@lru_cache(maxsize=16)
def _flips(n: int) -> np.ndarray:
    """Weights, [1 + resamples, n], that make means of n values: as they are, then by all ways to
    turn their signs, or, where these are more than ``RESAMPLES``, by as many at random."""
    if 2**n <= RESAMPLES:
        signs = np.array([*product((1, -1), repeat=n)])
    else:
        signs = np.tile([1, -1], (RESAMPLES, n, 1))
        signs = np.random.default_rng(RESAMPLING_SEED).permuted(signs, axis=-1)[..., 0]
    return np.vstack([np.ones(n), signs]) / n


@lru_cache(maxsize=16)
def _splits(n: int, m: int) -> np.ndarray:
    """Weights, [1 + resamples, n + m], that make the difference of the means of two groups: of the
    first n and the last m, then of all others of these sizes, or of ``RESAMPLES`` at random."""
    if comb(n + m, n) <= RESAMPLES:
        firsts = [*combinations(range(n + m), n)]
    else:
        rng = np.random.default_rng(RESAMPLING_SEED)
        firsts = [rng.permutation(n + m)[:n] for _ in range(RESAMPLES)]
    chosen = np.array([range(n), *firsts])
    weights = np.full((len(chosen), n + m), -1 / m)
    np.put_along_axis(weights, chosen, 1 / n, axis=1)
    return weights


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
    from scipy import stats

    with np.errstate(all="ignore"):
        samples = _censored(time, escaped), _censored(other_time, other_escaped)
        return float(stats.logrank(*samples).pvalue)


def survival(time: Sequence[float], escaped: Sequence[bool]) -> tuple[np.ndarray, ...]:
    """The Kaplan–Meier estimate of the share that has not escaped, a step function from time 0,
    with 95 % intervals (Greenwood's error of the log of the negative log).

    Returns (times, shares, low ends, high ends).
    """
    from scipy import stats

    found = stats.ecdf(_censored(time, escaped)).sf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of shares of 0 or 1, which have no error
        ends = found.confidence_interval(method="log-log")
    shares = found.probabilities, ends.low.probabilities, ends.high.probabilities
    steps = (np.append(1.0, np.where(np.isnan(p), found.probabilities, p)) for p in shares)
    return np.append(0.0, found.quantiles), *steps


def _censored(time, escaped):
    from scipy import stats

    return stats.CensoredData.right_censored(np.asarray(time, float), ~np.asarray(escaped, bool))
