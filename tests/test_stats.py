"""Effects, intervals and verdicts against SciPy called directly, closed forms and degenerate cases."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from dndiv import stats

RNG = np.random.default_rng(1)
BASE = RNG.uniform(0.3, 0.5, 30)
TREATED = BASE * 1.2 + RNG.normal(0, 0.02, 30)


def test_effect_is_the_ratio_of_means_with_a_paired_interval():
    found = stats.effect(TREATED, BASE)
    assert found.estimate == pytest.approx(TREATED.mean() / BASE.mean() - 1) and found.n == 30
    theirs = scipy_stats.bootstrap((TREATED, BASE), lambda t, b: t.mean() / b.mean() - 1, paired=True, vectorized=False,
                                   n_resamples=2000, method="BCa", rng=np.random.default_rng(7)).confidence_interval
    assert (found.low, found.high) == pytest.approx(theirs, abs=0.003)
    assert found.low < found.estimate < found.high and found.p < 0.001
    unpaired = stats.effect(TREATED, np.random.default_rng(0).permutation(BASE))
    assert unpaired.high - unpaired.low > 3 * (found.high - found.low)  # pairing is what makes it narrow


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(200):
        base = rng.gamma(4, 0.1, 30)
        found = stats.effect(1.1 * base + rng.normal(0, 0.05, 30), base)
        hits += found.low <= 0.1 <= found.high
    assert 0.88 <= hits / 200 <= 0.99


def test_the_p_value_of_few_seeds_is_the_exact_sign_flip_one():
    found = stats.effect([2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 1.0, 1.0, 1.0, 1.0])
    assert found.p == pytest.approx(2 / 2 ** 5)


@pytest.mark.parametrize("treated, baseline, expected", [
    ([0.5] * 4, [0.5] * 4, (0.0, 0.0, 0.0, 1.0)),       # nothing differs
    ([0.6] * 4, [0.5] * 4, (0.2, 0.2, 0.2, 0.125)),     # a constant effect: the interval is a point
    ([0.4, 0.8, 0.2], [0.2, 0.4, 0.1], (1, 1, 1, 0.25)),  # a constant ratio
])
def test_degenerate_samples_give_points_and_no_warning(treated, baseline, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = stats.effect(treated, baseline)
    assert (found.estimate, found.low, found.high, found.p) == pytest.approx(expected)


def test_one_seed_has_an_estimate_and_no_interval():
    found = stats.effect([0.6], [0.5])
    assert found.estimate == pytest.approx(0.2) and math.isnan(found.low) and math.isnan(found.p)
    assert stats.verdict(found.low, found.high, 0.4) == "undecided"


@pytest.mark.parametrize("treated, baseline, message", [
    ([1.0], [1.0, 2.0], "paired by seed"), ([], [], "paired by seed"), ([math.nan], [1.0], "must be finite"),
    ([1.0, 1.0], [0.0, 0.0], "positive mean, not 0"),
])
def test_effect_refuses_what_it_cannot_compare(treated, baseline, message):
    with pytest.raises(ValueError, match=message):
        stats.effect(treated, baseline)


def test_holm_against_the_textbook():
    # ordered 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1, made monotone (Holm 1979)
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.9, 0.8]) == pytest.approx([1, 1])
    assert stats.holm([0.02, math.nan]) == pytest.approx([0.02, math.nan], nan_ok=True)


@pytest.mark.parametrize("low, high, published, expected", [
    (0.30, 0.50, 0.4, "reproduced"), (0.45, 0.60, 0.4, "reproduced"), (0.01, 0.39, 0.4, "reproduced in part"),
    (-0.1, 0.1, 0.4, "not reproduced"), (0.0, 0.3, 0.4, "not reproduced"), (-0.1, 0.4, 0.4, "undecided"),
    (-0.5, -0.2, 0.4, "not reproduced"), (0.01, 0.1, None, "reproduced"), (-0.1, 0.1, None, "undecided"),
    (-0.2, 0.0, None, "not reproduced"), (math.nan, math.nan, None, "undecided"),
])
def test_verdicts(low, high, published, expected):
    assert stats.verdict(low, high, published) == expected


def make_table():
    rows = [("MNIST", setting, "sgd", arm, seed, "", epoch, "accuracy", 0.1 * epoch + 0.01 * seed + bonus)
            for setting in ("tiny", "shallow") for arm, bonus in (("a", 0.0), ("b", 0.1)) for seed in range(3)
            for epoch in range(7)]
    columns = ["data", "setting", "optimizer", "arm", "seed", "layer", "epoch", "measure", "value"]
    return pd.DataFrame(rows + [(*r[:7], "loss", 9.0) for r in rows], columns=columns)


def test_early_accuracy_is_the_mean_over_epochs_1_to_5_by_seed():
    early = stats.early_accuracy(make_table())
    assert early.loc[("MNIST", "tiny", "sgd", 2), "b"] == pytest.approx(0.3 + 0.02 + 0.1)
    assert list(early.index.get_level_values("setting").unique()) == ["tiny", "shallow"]  # the table's own order


def test_effects_have_a_row_per_cell_and_holm_within_a_pair():
    found = stats.effects(stats.early_accuracy(make_table()), [("b", "a"), ("a", "b")])
    assert len(found) == 4 and list(found.n) == [3] * 4
    assert found.estimate[0] == pytest.approx(0.41 / 0.31 - 1)
    assert found.p_holm[0] == pytest.approx(min(1, 2 * found.p[0]))
    with pytest.raises(ValueError, match="no arm 'c'; it has a, b"):
        stats.effects(stats.early_accuracy(make_table()), [("c", "a")])


# ------------------------------------------------------------------------------------- diversity and what it predicts
def test_between_groups_is_unpaired():
    rng = np.random.default_rng(2)
    a, b = rng.normal(1.2, 0.1, 12), rng.normal(1.0, 0.1, 10)
    found = stats.between(a, b)
    assert found.estimate == pytest.approx(a.mean() / b.mean() - 1) and found.n == 22
    theirs = scipy_stats.bootstrap((a, b), lambda x, y: x.mean() / y.mean() - 1, vectorized=False, n_resamples=2000,
                                   method="BCa", rng=np.random.default_rng(7)).confidence_interval
    assert (found.low, found.high) == pytest.approx(theirs, abs=0.01)
    assert math.isnan(stats.between([1.0], [1.0, 2.0]).low)
    with pytest.raises(ValueError, match="finite values"):
        stats.between([], [1.0])


def test_rank_correlation_equals_scipys_and_handles_ties_and_constants():
    rng = np.random.default_rng(3)
    x = rng.normal(size=40).round(1)
    y = (x + rng.normal(size=40)).round(1)
    expected = scipy_stats.spearmanr(x, y)
    for bootstrap in (True, False):
        found = stats.rank_correlation(x, y, bootstrap)
        assert (found.estimate, found.p) == pytest.approx((expected.statistic, expected.pvalue))
        assert found.low < found.estimate < found.high
    by_bootstrap, by_fisher = stats.rank_correlation(x, y), stats.rank_correlation(x, y, bootstrap=False)
    assert (by_bootstrap.low, by_bootstrap.high) == pytest.approx((by_fisher.low, by_fisher.high), abs=0.15)
    assert math.isnan(stats.rank_correlation([1.0] * 5, range(5)).estimate)
    assert math.isnan(stats.rank_correlation([1, 2, 3], [1, 2, 3]).estimate)


def observed(relation=1.0, seeds=12):
    """A table of two-layer networks whose accuracy follows their rank, and whose similar units are missed less."""
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(seeds):
        rank = 1 + 0.25 * seed
        for epoch in range(6):
            for layer in ("1", "2", "3"):
                rows.append(("MNIST", "tiny", "sgd", "default", seed, layer, epoch, "effective_rank", rank))
            rows.append(("MNIST", "tiny", "sgd", "default", seed, "", epoch, "accuracy", 0.5 + relation * 0.02 * rank * epoch))
        for unit in range(6):
            near = rng.uniform()
            rows += [("MNIST", "tiny", "sgd", "default", seed, f"1.{unit}", 5, "nearest", near),
                     ("MNIST", "tiny", "sgd", "default", seed, f"1.{unit}", 5, "lesion", 0.3 - 0.2 * near)]
    return pd.DataFrame(rows, columns=["data", "setting", "optimizer", "arm", "seed", "layer", "epoch", "measure", "value"])


@pytest.mark.parametrize("relation, sign", [(1.0, 1), (-1.0, -1)])
def test_thirds_and_predictions_follow_the_table(relation, sign):
    table = observed(relation)
    assert stats.network_diversity(table, "effective_rank").iloc[4, 0] == pytest.approx(2 / 4)  # a share of the width
    thirds = stats.thirds(table).set_index("outcome")
    accuracies = {rank: 0.5 + relation * 0.1 * rank for rank in 1 + 0.25 * np.arange(12)}
    values = list(accuracies.values())
    assert thirds.estimate["final accuracy"] == pytest.approx(np.mean(values[-4:]) / np.mean(values[:4]) - 1)
    assert np.sign(thirds.estimate["final accuracy"]) == sign and thirds.n["final accuracy"] == 8
    found = stats.predictions(table, measures=["effective_rank"], epochs=[1])
    assert found.estimate.tolist() == pytest.approx([sign, sign])
    with pytest.raises(ValueError, match="unknown measure 'rank'; choose one of effective_rank"):
        stats.network_diversity(table, "rank")


def test_epochs_to_a_target_count_from_training_and_end_with_the_last():
    accuracies = pd.DataFrame([[0.9, 0.2, 0.5, 0.9], [0.1, 0.1, 0.1, 0.1]], columns=[0.0, 0.5, 1.0, 2.0])
    assert stats.epochs_to(accuracies, 0.5).tolist() == [1.0, 2.0]


def test_the_lesion_test_finds_what_is_in_the_table():
    [found] = stats.lesions(observed()).itertuples()
    assert found.estimate == pytest.approx(-1) and found.n == 12 and found.p < 0.01
