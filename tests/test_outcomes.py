"""Endpoints of made tables, against what the tables were made of."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from dndiv.paper import effects, outcomes
from dndiv.paper.names import COLUMNS


def rows_of(cell, arm, seed, measure, values, layer=""):
    """A row per epoch, from 0 on."""
    return [(*cell, arm, seed, layer, epoch, measure, v) for epoch, v in enumerate(values)]


def early_table():
    epochs = np.arange(7)
    rows = []
    for setting in ("tiny", "shallow"):
        for arm, bonus in (("a", 0.0), ("b", 0.1)):
            for seed in range(3):
                cell, values = ("MNIST", setting, "sgd"), 0.1 * epochs + 0.01 * seed + bonus
                rows += rows_of(cell, arm, seed, "accuracy", values)
                rows += rows_of(cell, arm, seed, "loss", [9.0] * 7)
    return pd.DataFrame(rows, columns=COLUMNS)


def test_early_accuracy_is_the_mean_over_epochs_1_to_5_by_seed():
    early = outcomes.early_accuracy(early_table())
    assert early.loc[("MNIST", "tiny", "sgd", 2), "b"] == pytest.approx(0.3 + 0.02 + 0.1)
    settings = early.index.get_level_values("setting").unique()
    assert list(settings) == ["tiny", "shallow"]  # the table's own order


def test_effects_have_a_row_per_cell_and_holm_within_a_pair():
    early = outcomes.early_accuracy(early_table())
    found = outcomes.effects(early, [("b", "a"), ("a", "b")])
    assert len(found) == 4 and list(found.n) == [3] * 4
    assert found.estimate[0] == pytest.approx(0.41 / 0.31 - 1)
    assert found.p_holm[0] == pytest.approx(min(1, 2 * found.p[0]))
    with pytest.raises(ValueError, match="no arm 'c'; it has a, b"):
        outcomes.effects(early, [("c", "a")])


def two_cells(seeds=(8, 5)):
    """Values of arms a and b in two cells of a data set, whose seeds are the same draws, and in one
    of another; the second cell has fewer of them."""
    rng, rows = np.random.default_rng(7), {}
    for data, setting, n in (("X", "tiny", seeds[0]), ("X", "narrow", seeds[1]), ("Y", "tiny", 6)):
        for seed in range(n):
            a, b = rng.uniform(0.4, 0.6), rng.uniform(0.3, 0.5)
            rows[data, setting, "sgd", seed] = {"a": a, "b": b}
    frame = pd.DataFrame.from_dict(rows, orient="index")
    return frame.rename_axis(["data", "setting", "optimizer", "seed"]).sort_index()


def test_the_joint_effect_counts_a_seed_of_a_data_set_once():
    values = two_cells()
    found = outcomes.jointly(values, ("a", "b"))
    sums, estimates = {}, []
    for cell in (("X", "tiny"), ("X", "narrow"), ("Y", "tiny")):
        part = values.loc[cell].droplevel("optimizer")
        theta = part.a.mean() / part.b.mean() - 1
        estimates.append(theta)
        for seed, row in part.iterrows():
            u = (row.a - (1 + theta) * row.b) / part.b.mean() / len(part) / 3
            sums[cell[0], seed] = sums.get((cell[0], seed), 0) + u
    x, y = (np.array([u for (data, _), u in sums.items() if data == d]) for d in "XY")
    error = np.sqrt((x**2).sum() * 8 / 7 + (y**2).sum() * 6 / 5)
    assert found.estimate == pytest.approx(np.mean(estimates)) and found.n == 8 + 6
    assert found.p == pytest.approx(2 * scipy_stats.t.sf(abs(found.estimate) / error, 5 - 1))
    half = scipy_stats.t.ppf(0.975, 4) * error
    assert max(found.high - found.estimate, found.estimate - found.low) >= half
    # cells that are copies of one tell no more than one
    one = values.query("data == 'X' and setting == 'tiny'")
    copies = pd.concat([one, one.rename({"tiny": "narrow"}, level="setting")])
    assert vars(outcomes.jointly(copies, ("a", "b"))) == pytest.approx(
        vars(outcomes.jointly(one, ("a", "b")))
    )
    joint = outcomes.jointly(one, ("a", "b"))  # of relative changes, whose mean has no logarithm
    alone = effects.interval(*effects.ratio(one.a.to_numpy(), one.b.to_numpy()))
    assert (joint.low, joint.high) == pytest.approx(alone)


def test_a_joint_correlation_of_too_few_seeds_has_no_interval():
    """Of four seeds a correlation is known, and without one of them it is not: an error of zero
    would be one of no seeds at all."""
    few, enough = two_cells((4, 4)).query("data == 'X'"), two_cells((8, 8)).query("data == 'X'")
    found = outcomes.jointly(few, ("a", "b"), effects.rank_correlation)
    each = [effects.rank_correlation(part.a, part.b).estimate for _, part in few.groupby("setting")]
    assert (
        found.estimate == pytest.approx(np.mean(each)) and np.isnan([found.low, found.high]).all()
    )
    found = outcomes.jointly(enough, ("a", "b"), effects.rank_correlation)
    assert found.low < found.estimate < found.high


def test_two_parts_are_whether_networks_learn_and_what_those_gain_that_do():
    cell, rows = ("MNIST", "narrow", "sgd"), []
    for seed in range(8):
        dead = seed < 3
        for arm, value in (("b", 0.1 if dead else 0.5 + 0.01 * seed), ("t", 0.55 + 0.01 * seed)):
            rows += rows_of(cell, arm, seed, "accuracy", [0.1] + [value] * 5)
    [found] = outcomes.two_parts(pd.DataFrame(rows, columns=COLUMNS), "t", "b").itertuples()
    assert (found.learn, found.baseline_learn) == (1, 5 / 8)
    assert found.p_learn == pytest.approx(2 * 0.5**3) and found.n == 5
    assert found.estimate == pytest.approx(0.05 / 0.55)


def test_an_intervention_has_three_outcomes_by_seed():
    cell, rows = ("MNIST", "tiny", "sgd"), []
    for arm, curve in (("default", [0, 0.4, 0.5, 0.5]), ("half", [0, 0.1, 0.2, 0.4])):
        for epoch, value in zip((0, 0.5, 1, 2), curve):
            rows.append((*cell, arm, 0, "", epoch, "accuracy", value))
    found = outcomes.intervened(pd.DataFrame(rows, columns=COLUMNS), "default")
    values = {name: frame.iloc[0].to_dict() for name, frame in found.items()}
    assert values == {
        "early accuracy": {"default": 0.5, "half": pytest.approx(0.3)},
        "final accuracy": {"default": 0.5, "half": 0.4},
        "epochs to target": {"default": 1, "half": 2},  # never: the end
    }


# ------------------------------------------------------------- diversity and what it predicts
def observed(relation=1.0, seeds=12):
    """Three-layer networks whose accuracy follows their rank, and whose similar units are missed
    less."""
    rng = np.random.default_rng(0)
    cell, rows = ("MNIST", "tiny", "sgd"), []
    for seed in range(seeds):
        rank = 1 + 0.25 * seed
        for layer in ("1", "2", "3"):
            rows += rows_of(cell, "default", seed, "effective_rank", [rank] * 6, layer)
        accuracies = 0.5 + relation * 0.02 * rank * np.arange(6)
        rows += rows_of(cell, "default", seed, "accuracy", accuracies)
        for unit in range(6):
            near = rng.uniform()
            for measure, value in (("nearest", near), ("lesion", 0.3 - 0.2 * near)):
                rows.append((*cell, "default", seed, f"1.{unit}", 5, measure, value))
    return pd.DataFrame(rows, columns=COLUMNS)


@pytest.mark.parametrize("relation, sign", [(1.0, 1), (-1.0, -1)])
def test_thirds_and_predictions_follow_the_table(relation, sign):
    table = observed(relation)
    shares = outcomes.network_diversity(table, "effective_rank")
    assert shares.iloc[4, 0] == pytest.approx(2 / 4)  # of the width
    thirds = outcomes.thirds(table).set_index("outcome")
    final = 0.5 + relation * 0.1 * (1 + 0.25 * np.arange(12))
    expected = final[-4:].mean() / final[:4].mean() - 1
    assert thirds.estimate["final accuracy"] == pytest.approx(expected)
    assert np.sign(thirds.estimate["final accuracy"]) == sign and thirds.n["final accuracy"] == 8
    found = outcomes.predictions(table, measures=["effective_rank"], epochs=[1])
    assert found.estimate.tolist() == pytest.approx([sign, sign])
    with pytest.raises(ValueError, match="unknown measure 'rank'; choose one of effective_rank"):
        outcomes.network_diversity(table, "rank")


def test_epochs_to_a_target_count_from_training_and_end_with_the_last():
    accuracies = pd.DataFrame(
        [[0.9, 0.2, 0.5, 0.9], [0.1, 0.1, 0.1, 0.1]], columns=[0.0, 0.5, 1.0, 2.0]
    )
    assert outcomes.epochs_to(accuracies, 0.5).tolist() == [1.0, 2.0]


def test_the_lesion_test_finds_what_is_in_the_table():
    found = outcomes.lesion_correlations(observed()).correlation
    assert found.mean() == pytest.approx(-1) and len(found) == 12


# ------------------------------------------------------------------------------------- tuning
def tuned(values):
    """A table "tuning" with given accuracies: (data, arm) → accuracy."""
    rows = [
        (name, "tiny", "sgd", arm, seed, "", epoch, "accuracy", value + 0.001 * (seed - 1000))
        for (name, arm), value in values.items()
        for seed in (1000, 1001)
        for epoch in (0.5, 1)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def test_coefficients_are_the_best_over_data_sets_and_the_smallest_of_equals():
    cosine, step = "default+weight_cosine:dynamic@", "default+orthogonal_step:constant@"
    arms = {
        "default": (0.5, 0.4),
        f"{cosine}0.1": (0.6, 0.4),  # +20 %, 0
        f"{cosine}10": (0.55, 0.5),  # +10 %, +25 %: the better mean
        f"{step}0.01": (0.55, 0.45),
        f"{step}1": (0.55, 0.45),
        f"{step.replace('constant', 'dynamic')}1": (0.4, 0.4),  # worse than none
        "default+log_volume:dynamic@1": (0.6, 0.4),  # +20 %, 0: not by two standard errors
    }
    names = ("MNIST", "FashionMNIST")
    table = tuned({(d, arm): v for arm, pair in arms.items() for d, v in zip(names, pair)})
    assert outcomes.choose_coefficients(table) == {
        "weight_cosine": {"dynamic": {"tiny sgd": 10.0}},
        "orthogonal_step": {"constant": {"tiny sgd": 0.01}, "dynamic": {"tiny sgd": 0}},
        "log_volume": {"dynamic": {"tiny sgd": 0}},
    }
    ratios = outcomes.candidates(table).set_index(["technique", "coefficient"]).ratio
    expected = (0.6005 / 0.5005 + 0.4005 / 0.4005) / 2
    assert ratios["weight_cosine", 0.1] == pytest.approx(expected)


# ------------------------------------------------------------------------------------- escape
ARM = "default+reinitialize:dynamic"


def escape_table(curves, name="MNIST"):
    """Accuracy of arms at epochs 0, 1, 2, …: arm → a list of values per seed."""
    rows = []
    for arm, lines in curves.items():
        for seed, values in enumerate(lines):
            rows += rows_of((name, "narrow", "sgd"), arm, seed, "accuracy", values)
    return pd.DataFrame(rows, columns=COLUMNS)


def test_escape_times_and_what_they_say():
    images = {
        "default": [[0.1, 0.1, 0.6, 0.7], [0.1, 0.1, 0.2, 0.3], [0.1, 0.6, 0.4, 0.6]],
        ARM: [[0.1, 0.6, 0.7, 0.7], [0.1, 0.2, 0.3, 0.5], [0.1, 0.1, 0.5, 0.6]],
    }
    parity = {"default": [[0.5, 0.75, 0.75]], ARM: [[0.5, 1, 1]]}
    table = pd.concat([escape_table(images), escape_table(parity, "XOR")])
    times = outcomes.escape_times(table)
    plain, treated = (times.loc["MNIST"].xs(arm, level="arm") for arm in ("default", ARM))
    assert plain.time.tolist() == [2, 3, 1] and treated.time.tolist() == [1, 3, 2]
    assert plain.escaped.tolist() == [True, False, True]
    xor = times.loc["XOR"]  # its run is shorter
    assert xor.time.tolist() == [2, 1] and xor.escaped.tolist() == [False, True]
    found = outcomes.escapes(times).iloc[0]
    assert found.estimate == pytest.approx(0)
    shares = found[["earlier", "later", "rescued", "stranded", "escaped", "baseline_escaped"]]
    assert shares.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0, 1, 2 / 3])
    assert found.n == 3


def test_a_faster_escape_is_found():
    rng = np.random.default_rng(3)
    drawn = {"default": rng.exponential(3, 60), "default+x:dynamic": rng.exponential(1.2, 60)}
    cell = ("MNIST", "narrow", "sgd")
    rows = [(*cell, a, s, min(t, 5), t < 5) for a, ts in drawn.items() for s, t in enumerate(ts)]
    index = ["data", "setting", "optimizer", "arm", "seed"]
    times = pd.DataFrame(rows, columns=[*index, "time", "escaped"]).set_index(index)
    found = outcomes.escapes(times).iloc[0]
    slow, fast = (np.minimum(t, 5) for t in drawn.values())
    assert found.estimate == pytest.approx(1 - fast.mean() / slow.mean()) and found.low > 0
    samples = (scipy_stats.CensoredData.right_censored(t, t == 5) for t in (fast, slow))
    assert found.p_logrank == pytest.approx(scipy_stats.logrank(*samples).pvalue)
    assert found.p_holm == found.p_logrank  # the one arm of its cell
