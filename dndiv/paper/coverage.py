"""Which interval holds what it says: candidates judged on the artifact's own networks.

The networks of two arms in a cell are taken for all that there are: their effect is the truth.
From them n seeds are drawn again and again, pairs kept; an interval of 95 % should hold the truth
in 95 % of the draws. For an effect that is not there, treated values are scaled until the truth is
0: the lower end may lie above 0 in 2.5 % of the draws; and above the smallest effect of interest,
which is called reproduced, more rarely. Where two networks of 30
never learn, no interval can know of them from 10 seeds that all do. At the best learning rates the
networks of both runs of the starts that led are taken together; at those that are best after all
epochs, accuracy is the final one.
"""

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
import pandas as pd
from scipy import special

from dndiv.paper import claims, design, files, outcomes, tables
from dndiv.paper.effects import interval, of_ratio, ratio
from dndiv.paper.files import REFERENCE
from dndiv.paper.names import CELL
from dndiv.paper.report import INTEREST

RATES = ("usual", "best", "later")
SEEDS = (10, 20, 30, 50)
USED = "as used"  # as many seeds as the comparison itself has
DRAWS = 1000
FEWER_DRAWS, RESAMPLES = 60, 400  # of bootstraps, which are dear
SEED = 20240229
ROUNDING = 1e-12  # an interval that is a point holds itself

Bounds = tuple[np.ndarray, np.ndarray]


# Candidates: of treated and baseline values, [draws, seeds], the ends of the interval, [draws].
def chosen(t: np.ndarray, b: np.ndarray) -> Bounds:
    """The one that ``effects.effect`` has: the wider of t and its correction for skewness, on the
    logarithm of the ratio."""
    return of_ratio(*ratio(t, b))


def linear(t: np.ndarray, b: np.ndarray) -> Bounds:
    """The same of the ratio itself, whose ends may be impossible."""
    return interval(*ratio(t, b))


def delta(t: np.ndarray, b: np.ndarray) -> Bounds:
    """Student's t on the linearized ratio."""
    estimate, u = ratio(t, b)
    half = _t(b) * _error(u)
    return estimate - half, estimate + half


def log_ratio(t: np.ndarray, b: np.ndarray) -> Bounds:
    """Student's t on the logarithm of the ratio."""
    estimate, u = ratio(t, b)
    half = _t(b) * _error(u) / (1 + estimate)
    return (1 + estimate) * np.exp(-half) - 1, (1 + estimate) * np.exp(half) - 1


def fieller(t: np.ndarray, b: np.ndarray) -> Bounds:
    """All ratios that a paired t-test of t − ratio·b does not reject (Fieller 1954)."""
    n, q = b.shape[-1], _t(b)
    x, y = (v - v.mean(-1, keepdims=True) for v in (t, b))
    xx, xy, yy = ((v * w).sum(-1) * q**2 / n / (n - 1) for v, w in ((x, x), (x, y), (y, y)))
    mean_t, mean_b = t.mean(-1), b.mean(-1)
    square, linear = mean_b**2 - yy, mean_t * mean_b - xy
    root = np.sqrt(np.maximum(linear**2 - square * (mean_t**2 - xx), 0))
    bounded = square > 0
    square = np.where(bounded, square, 1)
    low, high = ((linear + sign * root) / square - 1 for sign in (-1, 1))
    return np.where(bounded, low, -np.inf), np.where(bounded, high, np.inf)


def percentile(t: np.ndarray, b: np.ndarray) -> Bounds:
    """Quantiles of the bootstrap."""
    return tuple(np.quantile(_resampled(t, b), [0.025, 0.975], axis=-1))


def bca(t: np.ndarray, b: np.ndarray) -> Bounds:
    """The bootstrap, bias-corrected and accelerated (Efron 1987)."""
    found, (estimate, u) = np.sort(_resampled(t, b)), ratio(t, b)
    below = (found < estimate[:, None]).mean(-1) + (found == estimate[:, None]).mean(-1) / 2
    bias = special.ndtri(np.clip(below, 1 / RESAMPLES, 1 - 1 / RESAMPLES))[:, None]
    cubes, squares = (u**3).sum(-1), (u**2).sum(-1)
    scale = np.where(squares > 0, 6 * squares**1.5, 1)
    z = bias + special.ndtri([0.025, 0.975])
    share = special.ndtr(bias + z / (1 - (cubes / scale)[:, None] * z))
    place = np.clip((share * RESAMPLES).astype(int), 0, RESAMPLES - 1)
    low, high = np.take_along_axis(found, place, -1).T
    return low, high


def _t(b):
    return special.stdtrit(b.shape[-1] - 1, 0.975)


def _error(u):
    return u.std(-1, ddof=1) * np.sqrt(u.shape[-1])


def _resampled(t, b):
    """The ratios of resampled seeds, less 1: [draws, resamples]."""
    rng, n = np.random.default_rng(SEED), b.shape[-1]
    often = rng.multinomial(n, np.full(n, 1 / n), RESAMPLES).T  # how often a seed is in a resample
    return t @ often / (b @ often) - 1


CANDIDATES: dict[str, Callable[[np.ndarray, np.ndarray], Bounds]] = {
    "t, log ratio, corrected for skewness": chosen,
    "t, corrected for skewness": linear,
    "t, delta method": delta,
    "t, log ratio": log_ratio,
    "Fieller": fieller,
    "percentile bootstrap": percentile,
    "BCa bootstrap": bca,
}
BOOTSTRAPS = (percentile, bca)


def populations(
    read: Callable[[str], pd.DataFrame], rates: str
) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Treated and baseline values, [seeds], of every cell and pair of arms that claims compare at
    ``RATES``, where they are not all the same; and the seeds of a comparison."""
    of = {"usual": _at_usual, "best": _at_best, "later": _later}[rates]
    for values, pairs, used in of(read):
        for pair in pairs:
            for cell, (t, b) in outcomes.samples(values, pair):
                if len(t) >= SEEDS[0] // 2 and not np.array_equal(t, b):
                    yield t, b, used.get(cell, len(t))


def _at_best(read):
    """The starts that led against PyTorch's default, of both runs; seeds are those of the last."""
    both = [outcomes.rated(read(name)) for name in ("peers", "leaders")]
    used = outcomes.early_accuracy(both[1]).groupby(level=CELL).size()
    pairs = [(start, design.LEADERS[0]) for start in design.LEADERS[1:]]
    yield outcomes.early_accuracy(pd.concat(both)), pairs, used.to_dict()


def _later(read):
    """Those that train on against PyTorch's default, by final accuracy."""
    pairs = [(start, design.LASTING[0]) for start in design.LASTING[1:]]
    yield outcomes.final_accuracy(outcomes.rated(read("later"))), pairs, {}


def _at_usual(read):
    """What early-40 and early-help compare."""
    registered = claims.load()
    early, values = registered["early-40"], outcomes.early_accuracy(read("early"))
    yield values, [(early["treated"], early["baseline"]), *early["controls"].values()], {}
    values = outcomes.early_accuracy(read("reinforcement"))
    for arms in (design.TECHNIQUE_ARMS, design.HELD_ARMS):
        yield values, [(arm, arms[0]) for arm in arms[1:] if arm in values], {}


def judged(
    t: np.ndarray, b: np.ndarray, seeds: int, candidate: Callable, draws: int = DRAWS
) -> tuple[float, float, float]:
    """The share of draws of some seeds from a population whose interval holds the truth, and, where
    the truth is made 0, the shares that lie above it, and above ``INTEREST``."""
    picked = np.random.default_rng(SEED).integers(len(t), size=(draws, seeds))
    truth = t.mean() / b.mean() - 1
    low, high = candidate(t[picked], b[picked])
    holds = (low <= truth + ROUNDING) & (truth - ROUNDING <= high)
    null, _ = candidate((t / (1 + truth))[picked], b[picked])
    return holds.mean(), (null > ROUNDING).mean(), (null > INTEREST).mean()


def table(read: Callable[[str], pd.DataFrame]) -> pd.DataFrame:
    """The candidates on all populations, a row per candidate, kind of rates and number of seeds.

    read: gives a table by its name. Columns: rates, interval, seeds; coverage and worst_coverage,
    the mean over populations and the smallest; of draws without an effect, the mean and the largest
    share whose interval lies above 0 (false_above, worst_false_above) and above ``INTEREST``
    (false_reproduced, worst_false_reproduced); populations, their number.
    """
    rows, people_at = [], {rates: list(populations(read, rates)) for rates in RATES}
    if short := [rates for rates, people in people_at.items() if not people]:
        raise ValueError(
            f"no comparison at {', '.join(short)} rates has {SEEDS[0] // 2} seeds or more to draw "
            "from: simulate the coverage of the paper preset, or of the reference"
        )
    for (rates, people), (name, candidate) in product(people_at.items(), CANDIDATES.items()):
        draws = FEWER_DRAWS if candidate in BOOTSTRAPS else DRAWS
        for seeds in (*SEEDS, USED):
            found = [
                judged(t, b, used if seeds == USED else seeds, candidate, draws)
                for t, b, used in people
            ]
            covered, above, false = np.array(found).T
            rows.append(
                {
                    "rates": rates,
                    "interval": name,
                    "seeds": seeds,
                    "coverage": covered.mean(),
                    "worst_coverage": covered.min(),
                    "false_above": above.mean(),
                    "worst_false_above": above.max(),
                    "false_reproduced": false.mean(),
                    "worst_false_reproduced": false.max(),
                    "populations": len(people),
                }
            )
    return pd.DataFrame(rows)


def main(preset: str = REFERENCE) -> pd.DataFrame:
    """Judge the candidates on the tables of a preset and keep results/<preset>/coverage.csv."""
    found = table(lambda name: tables.read(name, preset))
    file = files.results(preset) / "coverage.csv"
    files.atomically(file, lambda part: found.to_csv(part, index=False, float_format="%.4f"))
    return found
