"""Effects, intervals and tests against SciPy called directly, closed forms and degenerate cases."""

import math
import warnings

import numpy as np
import pytest
from scipy import optimize
from scipy import stats as scipy_stats

from dndiv.paper import effects

RNG = np.random.default_rng(1)
BASE = RNG.uniform(0.3, 0.5, 30)
TREATED = BASE * 1.2 + RNG.normal(0, 0.02, 30)


def by_hand(values, estimate, scale=1.0):
    """The interval of a mean of values, around an estimate: Hall's (1992) third transformation
    inverted by a search, and Student's."""
    n, deviations = len(values), values - values.mean()
    s, q = values.std(ddof=1) / np.sqrt(n), scipy_stats.t.ppf(0.975, len(values) - 1)
    skew = (deviations**3).mean() / (deviations**2).mean() ** 1.5 / np.sqrt(n)

    def solved(x):
        def g(t):
            return t + skew * t**2 / 3 + skew**2 * t**3 / 27 + skew / 6 - x

        return optimize.brentq(g, -1e4, 1e4)

    ends = estimate - scale * s * max(q, solved(q)), estimate - scale * s * min(-q, solved(-q))
    return ends


def test_effect_is_the_ratio_of_means_with_a_paired_interval():
    found = effects.effect(TREATED, BASE)
    assert found.estimate == pytest.approx(TREATED.mean() / BASE.mean() - 1) and found.n == 30
    left = TREATED - (1 + found.estimate) * BASE
    logs = by_hand(left, math.log(1 + found.estimate), 1 / TREATED.mean())
    assert (found.low, found.high) == pytest.approx(np.expm1(logs))
    assert found.low < found.estimate < found.high and found.p < 0.001
    assert math.isnan(effects.effect(TREATED, BASE, test=False).p)
    unpaired = effects.effect(TREATED, np.random.default_rng(0).permutation(BASE))
    # pairing is what makes it narrow
    assert unpaired.high - unpaired.low > 3 * (found.high - found.low)
    turned = found.turned()
    assert (turned.low, turned.high) == (-found.high, -found.low)


def test_one_network_apart_makes_its_side_wider_and_the_other_no_narrower():
    left = np.array([0.0] * 9 + [1.0])
    found = effects.mean(left)
    half = scipy_stats.t.ppf(0.975, 9) * left.std(ddof=1) / np.sqrt(10)
    assert found.low == pytest.approx(0.1 - half) and found.high > 0.1 + 2 * half
    assert (found.low, found.high) == pytest.approx(by_hand(left, 0.1))


def test_an_interval_is_possible_and_the_same_the_other_way_round():
    learns, hardly = [0.9] * 10, [0.11] * 8 + [0.25] * 2  # two of ten have left chance
    for of in (effects.effect, effects.between):
        found, back = of(learns, hardly), of(hardly, learns)
        assert 0 < found.low < 4 < found.estimate < found.high
        assert -1 < back.low < back.high < 0
        inverse = [1 / (1 + v) - 1 for v in (found.high, found.low)]
        assert (back.low, back.high) == pytest.approx(inverse)
    left_out = effects.without_each(effects.effect, np.array(learns), np.array(hardly))
    assert left_out[3].low == pytest.approx(effects.effect(learns[1:], hardly[1:]).low)


def test_what_loses_all_or_more_has_an_interval_of_the_ratio_itself():
    found = effects.effect([0.0] * 4, [0.5, 0.6, 0.5, 0.4])
    assert (found.estimate, found.low, found.high) == (-1, -1, -1)
    found = effects.effect([-0.9, -0.8, -0.9, -0.7], [0.11, 0.1, 0.13, 0.25])
    assert found.low < found.estimate < -5


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
    welch = (a.var(ddof=1) / 12 + (a.mean() / b.mean()) ** 2 * b.var(ddof=1) / 10) ** 0.5
    half = scipy_stats.t.ppf(0.975, 9) * welch / b.mean()
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)
    assert math.isnan(effects.between([1.0], [1.0, 2.0]).low)
    with pytest.raises(ValueError, match="finite values"):
        effects.between([], [1.0])


@pytest.mark.parametrize("n, m", [(5, 3), (13, 4), (14, 11), (40, 30)])  # all of them, or drawn
def test_p_values_are_those_of_scipys_permutation_test(n, m):
    rng = np.random.default_rng(n)
    common = {"vectorized": True, "n_resamples": effects.RESAMPLES}

    def p(samples, kind, statistic):
        again = np.random.default_rng(effects.RESAMPLING_SEED)
        return scipy_stats.permutation_test(
            samples, statistic, permutation_type=kind, rng=again, **common
        ).pvalue

    for t in (rng.normal(3, 1, n), rng.integers(2, 5, n).astype(float)):  # and with ties
        b, other = rng.normal(2.8, 1, n).round(), rng.normal(2.6, 1, m).round(1)
        paired = p((t - b,), "samples", lambda x, axis: x.mean(axis))
        apart = p((t, other), "independent", lambda x, y, axis: x.mean(axis) - y.mean(axis))
        assert effects.effect(t, b).p == paired
        assert effects.between(t, other).p == apart


def test_rank_correlation_equals_scipys_and_handles_ties_and_constants():
    rng = np.random.default_rng(3)
    x = rng.normal(size=40).round(1)
    y = (x + rng.normal(size=40)).round(1)
    found, expected = effects.rank_correlation(x, y), scipy_stats.spearmanr(x, y)
    assert (found.estimate, found.p) == pytest.approx((expected.statistic, expected.pvalue))
    rho = expected.statistic
    half = scipy_stats.t.ppf(0.975, 38) * np.sqrt((1 + rho**2 / 2) / 37)
    assert np.arctanh([found.low, found.high]) == pytest.approx(np.arctanh(rho) + [-half, half])
    assert effects.spearman(x, y) == pytest.approx(rho)
    assert math.isnan(effects.rank_correlation([1.0] * 5, range(5)).estimate)
    assert math.isnan(effects.rank_correlation([1, 2, 3], [1, 2, 3]).estimate)


def test_a_partial_rank_correlation_is_of_what_the_given_ranks_leave():
    rng = np.random.default_rng(5)
    given = rng.normal(size=50)
    x, y = given + rng.normal(size=50), given + rng.normal(size=50)
    of_given = np.column_stack([np.ones(50), scipy_stats.rankdata(given)])
    left = [
        r - of_given @ np.linalg.lstsq(of_given, r, rcond=None)[0]
        for r in map(scipy_stats.rankdata, (x, y))
    ]
    found, plain = effects.rank_correlation(x, y, given), effects.rank_correlation(x, y)
    assert found.estimate == pytest.approx(np.corrcoef(*left)[0, 1])
    assert abs(found.estimate) < plain.estimate and found.low < 0 < found.high
    assert math.isnan(effects.rank_correlation(x, y, 2 * x).estimate)  # nothing is left of x


def test_leaving_out_a_unit_of_a_mean_over_two_cells_is_computing_it_anew():
    rng = np.random.default_rng(6)
    groups = [rng.gamma(1, 1, n) for n in (6, 9)]

    def of(groups):
        parts = [effects.contributions(effects.mean, g) for g in groups]
        estimate = float(np.mean([e for e, _ in parts]))
        return effects.clustered(estimate, [u / 2 for _, u in parts], min(map(len, groups)))

    fast = [*effects.clusters_without_each(*_parts(groups))]
    slow = [
        of([np.delete(g, k) if i == j else g for j, g in enumerate(groups)])
        for i in (0, 1)
        for k in range(len(groups[i]))
    ]
    for a, b in zip(fast, slow, strict=True):
        assert (a.estimate, a.p, a.n) == pytest.approx((b.estimate, b.p, b.n))
        assert (a.low, a.high) == pytest.approx((b.low, b.high))


def _parts(groups):
    parts = [effects.contributions(effects.mean, g) for g in groups]
    return float(np.mean([e for e, _ in parts])), [u / 2 for _, u in parts], 6


def test_what_a_seed_contributes_to_a_mean_is_what_the_jackknife_says():
    values = np.random.default_rng(7).gamma(1, 1, 9)
    estimate, parts = effects.contributions(effects.mean, values)
    slow, by_jackknife = effects.contributions(lambda v: effects.Effect(v.mean()), values)
    assert estimate == slow and parts == pytest.approx(by_jackknife)


def test_the_shares_of_pairs_are_compared_by_those_that_differ():
    treated = [True] * 6 + [False] + [True] * 3
    baseline = [False] * 6 + [True] + [True] * 3
    # 6 of 7 one way: the binomial tail, by hand
    assert effects.paired_shares(treated, baseline) == pytest.approx(2 * (7 + 1) / 2**7)
    assert effects.paired_shares(baseline[7:], treated[7:]) == 1


def test_a_mean_has_the_signed_rank_test_and_an_interval_from_two_values_on():
    values = np.random.default_rng(4).normal(0.5, 1, 20)
    found = effects.mean(values)
    assert (found.estimate, found.n) == (values.mean(), 20)
    assert found.low < values.mean() < found.high
    assert found.p == scipy_stats.wilcoxon(values).pvalue
    for few in (values[:8], values[:7].round(), [1.0, 2.0, -2.0, 0.0, 3.0], [0.5] * 6):
        assert effects.mean(few).p == pytest.approx(scipy_stats.wilcoxon(few).pvalue)
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
    x, share, low, high = effects.survival(np.minimum(slow, 5), slow < 5)
    assert (x[0], share[0]) == (0, 1) and share[x <= 2][-1] == pytest.approx((slow > 2).mean())
    # Kalbfleisch & Prentice (1980): S to the power of exp(±1.96 σ), σ² by Greenwood
    gone = np.arange(1, 11)
    sigma = math.sqrt((1 / (60 - gone + 1) / (60 - gone)).sum()) / -math.log(50 / 60)
    ends = [(50 / 60) ** math.exp(side * 1.959964 * sigma) for side in (1, -1)]
    assert (share[10], low[10], high[10]) == pytest.approx((50 / 60, *ends), rel=1e-6)


def test_nobody_escapes():
    never = np.full(4, 3.0), np.zeros(4, bool)
    assert math.isnan(effects.logrank(*never, *never))
