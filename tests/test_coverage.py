"""Intervals hold what they say, on made populations; the table is small and complete."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dndiv.paper import coverage, design, effects
from dndiv.paper.names import COLUMNS

RNG = np.random.default_rng(0)
BASE = RNG.gamma(20, 0.02, 40)
SKEWED = BASE * (1 + RNG.lognormal(-2, 1.2, 40))  # a few gain much


def test_the_chosen_interval_covers_where_the_percentile_bootstrap_does_not():
    shares = {
        name: coverage.judged(SKEWED, BASE, 10, coverage.CANDIDATES[name], 500)
        for name in ("t, log ratio, corrected for skewness", "percentile bootstrap")
    }
    (covers, false, worse), (misses, often, _) = shares.values()
    assert covers >= 0.9 > 0.87 > misses
    assert worse <= false <= 0.025 and often > false


def test_what_is_chosen_is_what_effects_have():
    low, high = coverage.chosen(SKEWED[None], BASE[None])
    found = effects.effect(SKEWED, BASE)
    assert (found.low, found.high) == pytest.approx((low[0], high[0]))


def test_candidates_against_independent_ones():
    t, b = SKEWED[:12], BASE[:12]
    ends = {name: np.ravel(f(t[None], b[None])) for name, f in coverage.CANDIDATES.items()}
    for ratio in 1 + ends["Fieller"]:  # just not rejected
        assert stats.ttest_1samp(t - ratio * b, 0).pvalue == pytest.approx(0.05)
    for name, method in (("percentile bootstrap", "percentile"), ("BCa bootstrap", "BCa")):
        theirs = stats.bootstrap(
            (t, b),
            lambda x, y, axis: x.mean(axis) / y.mean(axis) - 1,
            paired=True,
            vectorized=True,
            method=method,
            rng=np.random.default_rng(1),
        ).confidence_interval
        assert ends[name] == pytest.approx(tuple(theirs), abs=0.1 * np.ptp(theirs))
    middle = t.mean() / b.mean()
    low, high = 1 + ends["t, log ratio"]
    assert low * high == pytest.approx(middle**2)
    low, high = 1 + ends["t, delta method"]
    assert (low + high) / 2 == pytest.approx(middle)


def test_the_table_has_a_row_per_candidate_and_number_of_seeds(monkeypatch):
    monkeypatch.setattr(coverage, "DRAWS", 20)
    monkeypatch.setattr(coverage, "FEWER_DRAWS", 5)
    arms = ("default", "decorrelated", "equal_norms", "default_decorrelated")
    arms += ("default+log_volume:dynamic", "default+reinitialize:dynamic")
    values = dict(zip(arms, (BASE, SKEWED, BASE[::-1], BASE * 1.1, SKEWED, BASE)))
    led = dict.fromkeys(design.LEADERS, SKEWED) | {"default": BASE, "alive": BASE}
    # half of the seeds of the starts that led are of the first run
    parts = {"peers": range(20), "leaders": range(20, 40), "later": range(25)}

    def read(name):
        rows = [
            ("MNIST", "tiny", "sgd@0.1" if name in parts else "sgd", arm, seed, "")
            + (epoch, "accuracy", of_arm[seed])
            for arm, of_arm in (led if name in parts else values).items()
            for seed in parts.get(name, range(40))
            for epoch in range(6)
        ]
        return pd.DataFrame(rows, columns=COLUMNS)

    found = coverage.table(read)
    assert len(found) == 3 * len(coverage.CANDIDATES) * (len(coverage.SEEDS) + 1)
    # what equals its baseline tells nothing
    assert found.groupby("rates").populations.unique().map(list).to_dict() == {
        "usual": [4],
        "best": [4],
        "later": [3],
    }
    [(t, b, used), *_] = coverage.populations(read, "best")
    assert (len(t), len(b), used) == (40, 40, 20)  # of both runs; a comparison has the last's
    assert {len(t) for t, *_ in coverage.populations(read, "later")} == {25}
    assert (
        found.coverage.between(0, 1).all() and (found.worst_coverage <= found.coverage + 1e-9).all()
    )
