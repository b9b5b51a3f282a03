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


# ------------------------------------------------------------------------------------------------ techniques
def tuned(values):
    """A table "tuning" with given accuracies: (data, technique, schedule, coefficient) → accuracy."""
    rows = [(d, "tiny", "sgd", arm, seed, "", epoch, "accuracy", v + 0.001 * (seed - 1000))
            for (d, arm), v in values.items() for seed in (1000, 1001) for epoch in (0.5, 1)]
    return pd.DataFrame(rows, columns=["data", "setting", "optimizer", "arm", "seed", "layer", "epoch", "measure", "value"])


def test_coefficients_are_the_best_over_data_sets_and_the_smallest_of_equals():
    cosine, step = "default+weight_cosine:dynamic@", "default+orthogonal_step:constant@"
    table = tuned({("MNIST", "default"): 0.5, ("FashionMNIST", "default"): 0.4,
                   ("MNIST", cosine + "0.1"): 0.60, ("FashionMNIST", cosine + "0.1"): 0.40,    # +20 %, 0
                   ("MNIST", cosine + "10"): 0.50, ("FashionMNIST", cosine + "10"): 0.50,      # 0, +25 %: the better mean
                   ("MNIST", step + "0.01"): 0.45, ("FashionMNIST", step + "0.01"): 0.45,
                   ("MNIST", step + "1"): 0.45, ("FashionMNIST", step + "1"): 0.45})
    assert stats.choose_coefficients(table) == {"weight_cosine": {"dynamic": {"tiny sgd": 10.0}},
                                                "orthogonal_step": {"constant": {"tiny sgd": 0.01}}}
    ratios = stats.candidates(table).set_index(["technique", "coefficient"]).ratio
    assert ratios["weight_cosine", 0.1] == pytest.approx((0.6005 / 0.5005 + 0.4005 / 0.4005) / 2)


def escape_table(curves, name="MNIST"):
    """Accuracy of arms at epochs 0, 1, 2, …: (arm, seed) → values."""
    rows = [(name, "narrow", "sgd", arm, seed, "", epoch, "accuracy", value)
            for (arm, seed), values in curves.items() for epoch, value in enumerate(values)]
    return pd.DataFrame(rows, columns=["data", "setting", "optimizer", "arm", "seed", "layer", "epoch", "measure", "value"])


def test_escape_times_and_what_they_say():
    arm = "default+reinitialize:dynamic"
    table = pd.concat([escape_table({("default", 0): [.1, .1, .6, .7], ("default", 1): [.1, .1, .2, .3], ("default", 2): [.1, .6, .4, .6],
                                     (arm, 0): [.1, .6, .7, .7], (arm, 1): [.1, .2, .3, .5], (arm, 2): [.1, .1, .5, .6]}),
                       escape_table({("default", 0): [.5, .75, .75], (arm, 0): [.5, 1, 1]}, "XOR")])
    times = stats.escape_times(table)
    image = times.loc["MNIST"]
    assert image.xs("default", level="arm").time.tolist() == [2, 3, 1] and image.xs(arm, level="arm").time.tolist() == [1, 3, 2]
    assert image.xs("default", level="arm").escaped.tolist() == [True, False, True]
    assert times.loc["XOR"].time.tolist() == [2, 1] and times.loc["XOR"].escaped.tolist() == [False, True]  # its run is shorter
    found = stats.escapes(times).iloc[0]
    assert found.estimate == pytest.approx(0) and (found.earlier, found.later, found.rescued, found.stranded) == (1 / 3, 1 / 3, 1 / 3, 0)
    assert (found.escaped, found.baseline_escaped, found.gained, found.n) == (1, 2 / 3, 1, 3)


def test_a_faster_escape_is_found_and_agrees_with_a_direct_log_rank_test():
    rng = np.random.default_rng(3)
    time = {"default": rng.exponential(3, 60), "default+x:dynamic": rng.exponential(1.2, 60)}
    rows = [(a, s, min(t, 5.0), t < 5) for a, ts in time.items() for s, t in enumerate(ts)]
    times = pd.DataFrame(rows, columns=["arm", "seed", "time", "escaped"]).assign(data="MNIST", setting="narrow", optimizer="sgd")
    times = times.set_index(["data", "setting", "optimizer", "arm", "seed"])
    found = stats.escapes(times).iloc[0]
    mean = {a: np.minimum(t, 5).mean() for a, t in time.items()}
    assert found.estimate == pytest.approx(1 - mean["default+x:dynamic"] / mean["default"]) and found.low > 0
    # the log-rank statistic written out: observed against expected escapes at every time
    events = sorted(t for ts in time.values() for t in ts if t < 5)
    observed = expected = variance = 0.0
    for t in events:
        at_risk = [sum(ts >= t) for ts in time.values()]
        n, d = sum(at_risk), sum(sum(ts == t) for ts in time.values())
        observed += sum(time["default+x:dynamic"] == t)
        expected += d * at_risk[1] / n
        variance += d * at_risk[0] * at_risk[1] * (n - d) / (n * n * (n - 1)) if n > 1 else 0
    p = scipy_stats.chi2.sf((observed - expected) ** 2 / variance, 1)
    assert found.p_logrank == pytest.approx(p, rel=1e-6) and p < 0.001
    x, share = stats.survival(times.xs("default", level="arm").time, times.xs("default", level="arm").escaped)
    assert (x[0], share[0]) == (0, 1) and share[x <= 2][-1] == pytest.approx((time["default"] > 2).mean())


def test_nobody_escapes():
    never = np.full(4, 3.0), np.zeros(4, bool)
    assert math.isnan(stats.logrank(*never, *never))
