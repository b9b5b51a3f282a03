"""Effects, intervals and tests against SciPy called directly, closed forms and degenerate cases."""

import math
import warnings

import numpy as np
import pytest
from scipy import stats as scipy_stats

from dndiv.paper import effects

RNG = np.random.default_rng(1)
BASE = RNG.uniform(0.3, 0.5, 30)
TREATED = BASE * 1.2 + RNG.normal(0, 0.02, 30)


def bootstrapped(samples, paired):
    """SciPy's interval of the ratio of means, of fewer and other resamples."""
    found = scipy_stats.bootstrap(
        samples,
        lambda t, b: t.mean() / b.mean() - 1,
        paired=paired,
        vectorized=False,
        n_resamples=2000,
        method="BCa",
        rng=np.random.default_rng(7),
    )
    return tuple(found.confidence_interval)


def test_effect_is_the_ratio_of_means_with_a_paired_interval():
    found = effects.effect(TREATED, BASE)
    assert found.estimate == pytest.approx(TREATED.mean() / BASE.mean() - 1) and found.n == 30
    theirs = bootstrapped((TREATED, BASE), paired=True)
    assert (found.low, found.high) == pytest.approx(theirs, abs=0.003)
    assert found.low < found.estimate < found.high and found.p < 0.001
    unpaired = effects.effect(TREATED, np.random.default_rng(0).permutation(BASE))
    # pairing is what makes it narrow
    assert unpaired.high - unpaired.low > 3 * (found.high - found.low)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(200):
        base = rng.gamma(4, 0.1, 30)
        found = effects.effect(1.1 * base + rng.normal(0, 0.05, 30), base)
        hits += found.low <= 0.1 <= found.high
    assert 0.88 <= hits / 200 <= 0.99


def test_the_p_value_of_few_seeds_is_the_exact_sign_flip_one():
    found = effects.effect([2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 1.0, 1.0, 1.0, 1.0])
    assert found.p == pytest.approx(2 / 2**5)


@pytest.mark.parametrize(
    "treated, baseline, expected",
    [
        ([0.5] * 4, [0.5] * 4, (0.0, 0.0, 0.0, 1.0)),  # nothing differs
        ([0.6] * 4, [0.5] * 4, (0.2, 0.2, 0.2, 0.125)),  # a constant effect: a point
        ([0.4, 0.8, 0.2], [0.2, 0.4, 0.1], (1, 1, 1, 0.25)),  # a constant ratio
    ],
)
def test_degenerate_samples_give_points_and_no_warning(treated, baseline, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = effects.effect(treated, baseline)
    assert (found.estimate, found.low, found.high, found.p) == pytest.approx(expected)


def test_one_seed_has_an_estimate_and_no_interval():
    found = effects.effect([0.6], [0.5])
    assert found.estimate == pytest.approx(0.2) and math.isnan(found.low) and math.isnan(found.p)


@pytest.mark.parametrize(
    "treated, baseline, message",
    [
        ([1.0], [1.0, 2.0], "paired by seed"),
        ([], [], "paired by seed"),
        ([math.nan], [1.0], "must be finite"),
        ([1.0, 1.0], [0.0, 0.0], "positive mean, not 0"),
    ],
)
def test_effect_refuses_what_it_cannot_compare(treated, baseline, message):
    with pytest.raises(ValueError, match=message):
        effects.effect(treated, baseline)


def test_between_groups_is_unpaired():
    rng = np.random.default_rng(2)
    a, b = rng.normal(1.2, 0.1, 12), rng.normal(1.0, 0.1, 10)
    found = effects.between(a, b)
    assert found.estimate == pytest.approx(a.mean() / b.mean() - 1) and found.n == 22
    theirs = bootstrapped((a, b), paired=False)
    assert (found.low, found.high) == pytest.approx(theirs, abs=0.01)
    assert math.isnan(effects.between([1.0], [1.0, 2.0]).low)
    with pytest.raises(ValueError, match="finite values"):
        effects.between([], [1.0])


def test_rank_correlation_equals_scipys_and_handles_ties_and_constants():
    rng = np.random.default_rng(3)
    x = rng.normal(size=40).round(1)
    y = (x + rng.normal(size=40)).round(1)
    expected = scipy_stats.spearmanr(x, y)
    by_bootstrap, by_fisher = (effects.rank_correlation(x, y, b) for b in (True, False))
    for found in (by_bootstrap, by_fisher):
        assert (found.estimate, found.p) == pytest.approx((expected.statistic, expected.pvalue))
        assert found.low < found.estimate < found.high
    theirs = by_fisher.low, by_fisher.high
    assert (by_bootstrap.low, by_bootstrap.high) == pytest.approx(theirs, abs=0.15)
    assert effects.spearman(x, y) == pytest.approx(expected.statistic)
    assert math.isnan(effects.rank_correlation([1.0] * 5, range(5)).estimate)
    assert math.isnan(effects.rank_correlation([1, 2, 3], [1, 2, 3]).estimate)


def test_a_mean_has_the_signed_rank_test_and_an_interval_from_two_values_on():
    values = np.random.default_rng(4).normal(0.5, 1, 20)
    found = effects.mean(values)
    assert (found.estimate, found.n) == (values.mean(), 20)
    assert found.low < values.mean() < found.high
    assert found.p == scipy_stats.wilcoxon(values).pvalue
    assert effects.mean([2.0]).estimate == 2 and math.isnan(effects.mean([2.0]).low)
    assert math.isnan(effects.mean([]).estimate) and math.isnan(effects.mean([0.0, 0.0]).p)


def test_holm_against_the_textbook():
    # ordered 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1, made monotone (Holm 1979)
    assert effects.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert effects.holm([0.9, 0.8]) == pytest.approx([1, 1])
    assert effects.holm([0.02, math.nan]) == pytest.approx([0.02, math.nan], nan_ok=True)
    assert effects.holm([]).shape == (0,)


def test_logrank_and_survival_against_their_definitions():
    rng = np.random.default_rng(3)
    slow, fast = rng.exponential(3, 60), rng.exponential(1.2, 60)
    # observed against expected escapes at every time
    observed = expected = variance = 0.0
    for t in sorted(t for t in (*slow, *fast) if t < 5):
        at_risk, n = (fast >= t).sum(), (slow >= t).sum() + (fast >= t).sum()
        observed += (fast == t).sum()
        expected += at_risk / n
        variance += at_risk * (n - at_risk) / n**2
    p = scipy_stats.chi2.sf((observed - expected) ** 2 / variance, 1)
    groups = [part for times in (fast, slow) for part in (np.minimum(times, 5), times < 5)]
    assert effects.logrank(*groups) == pytest.approx(p, rel=1e-6) and p < 0.001
    x, share = effects.survival(np.minimum(slow, 5), slow < 5)
    assert (x[0], share[0]) == (0, 1) and share[x <= 2][-1] == pytest.approx((slow > 2).mean())


def test_nobody_escapes():
    never = np.full(4, 3.0), np.zeros(4, bool)
    assert math.isnan(effects.logrank(*never, *never))
