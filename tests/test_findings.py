"""The numbers in the notebooks' sentences, of made tables and against what they were made of."""

import math

import numpy as np
import pandas as pd
import pytest

from dndiv.paper import claims, design, figures, findings, outcomes
from dndiv.paper.names import CELL, COLUMNS


def frame(rows):
    return pd.DataFrame(rows, columns=COLUMNS)


def accuracies(arms, cell=("MNIST", "tiny", "sgd"), seeds=3):
    """Arms of a constant accuracy, but for a little that differs between seeds."""
    return [
        (*cell, arm, seed, "", epoch, "accuracy", value + 0.01 * seed)
        for arm, value in arms.items()
        for seed in range(seeds)
        for epoch in range(6)
    ]


def test_a_tally_counts_intervals_and_holm_s_p_values():
    found = pd.DataFrame(
        {
            "which": ["a", "a", "b", "b"],
            "estimate": [0.1, -0.2, 0.3, math.nan],
            "low": [0.05, -0.3, -0.1, math.nan],
            "high": [0.2, -0.1, 0.5, math.nan],
            "p_holm": [0.01, 0.04, 0.2, 0.001],
        }
    )
    t = findings.tally(found)
    assert (t.of, t.above, t.below, t.surely_above, t.surely_below) == (4, 1, 1, 1, 1)
    assert (t.median, t.smallest, t.largest) == (0.1, -0.2, 0.3)
    assert findings.top(found).which == "b"
    with_margin = findings.tally(found.assign(margin=0.1))
    assert (with_margin.above, with_margin.below) == (0, 0)
    back = findings.turned(found).iloc[1]
    assert (back.estimate, back.low, back.high) == (0.2, 0.1, 0.3)
    by = findings.tallies(found.drop(columns="p_holm"), "which")
    assert list(by) == ["a", "b"] and (by["a"].above, by["a"].surely_above) == (1, 0)


def test_widths_say_how_many_units_are_enough_and_how_many_are_used():
    rows = []
    for depth in (1, 3):
        for width, accuracy in ((2, 0.5), (8, 0.96), (32, 1.0)):
            network = ("MNIST", f"{depth}×{width}", "adam", "default", 0)
            for epoch in (0, 5):
                rows.append((*network, "", epoch, "accuracy", accuracy * epoch / 5))
                for layer in range(1, depth + 1):
                    for measure, value in (("effective_rank", width**0.5), ("dead", 0.1 / width)):
                        rows.append((*network, str(layer), epoch, measure, value))
    layers = findings.widths(frame(rows))
    assert set(layers.outcome) == {"test accuracy", "effective rank / width", "dead units"}
    summary = findings.width_summary(layers).loc["MNIST"]
    assert (summary.enough, summary.narrowest, summary.widest) == (8, 2, 32)
    assert summary.widest_uses == pytest.approx(100 * 32**-0.5)


def test_constant_units_are_left_out_of_the_mean_correlation():
    pairs = np.array([[1, 0.5, 0], [0.5, 1, 0], [0, 0, 0]])  # the last unit is constant
    assert findings.mean_correlation(pairs) == findings.mean_correlation(pairs.flatten()) == 0.5
    rows = [
        ("MNIST", "shallow", "adam", "default", 3, f"1.{i}.{j}", epoch, "pair", value * scale)
        for epoch, scale in ((0, 1), (8 / 100, -1.5), (1, 0.5))
        for (i, j), value in np.ndenumerate(np.where(np.eye(3), 1 / scale, 0.4))
    ]
    path = findings.correlation_paths(findings.first_pairs(frame(rows))).loc["MNIST"]
    assert (path.before, path.end) == pytest.approx((0.4, 0.2))
    assert findings.steps_per_epoch(frame(rows)) == {"MNIST": 100}


def test_the_ensemble_s_identity_and_what_cancels():
    values = {"ensemble": 0.6, "member": 1.0, "ambiguity": 0.4, "variance": 0.1}
    rows = [
        ("MNIST", "tiny", "sgd", "default", seed, "", 5, measure, value)
        for measure, value in values.items()
        for seed in range(1 if measure == "variance" else 4)
    ]
    [found] = findings.ensemble(frame(rows)).itertuples()
    assert (found.cancels, found.gap) == pytest.approx((0.4, 0), abs=1e-12)


def test_what_near_duplicates_cost_and_what_techniques_give_back():
    technique = "all_alike_1+reinitialize:dynamic"
    arms = {"default": 0.8, "half_alike_1": 0.79, "all_alike_1": 0.4, technique: 0.5}
    rows = accuracies(arms) + accuracies(arms, ("MNIST", "narrow", "sgd"))
    margins = {"early accuracy": 0.02, "final accuracy": 0.01, "epochs to target": 0.05}
    pairs = [("half_alike_1", "default"), (technique, "all_alike_1")]
    found = findings.costs(frame(rows), pairs, margins)
    by = findings.tallies(found, ["treated", "outcome"])
    half = [by["half_alike_1", outcome] for outcome in margins]
    assert [t.median for t in half] == pytest.approx([0.01 / 0.81, 0.01 / 0.81, 0])
    assert [t.above for t in half] == [0, 2, 0] and half[0].of == 2
    assert by[technique, "final accuracy"].median == pytest.approx(-0.1 / 0.41)
    back = findings.given_back(frame(rows), "all_alike_1")
    assert back.loc[technique].to_dict() == pytest.approx(
        {"early accuracy": 0.25, "final accuracy": 0.25}
    )
    assert findings.given_back(frame(rows), "default").empty


def test_what_learns_and_gains_is_as_of_two_parts():
    """With less work: without tests, or by what the verdict has beside it."""
    rows = []
    for setting, dead in (("tiny", 0.1), ("narrow", 0.4)):
        cell = ("MNIST", setting, "sgd")
        for arm in ("decorrelated", "default", "equal_norms", "default_decorrelated"):
            few = accuracies({arm: dead if arm == "default" else 0.6}, cell, seeds=3)
            rows += few + [row for row in accuracies({arm: 0.5}, cell, seeds=8) if row[4] > 2]
    known = outcomes.two_parts(frame(rows), "decorrelated", "default")
    assert known.baseline_learn.to_list() == [5 / 8, 1]
    found = outcomes.two_parts(frame(rows), "decorrelated", "default", test=False)
    assert found.p_learn.isna().all() and found.p.isna().all()
    same = [name for name in found if name not in ("p_learn", "p")]
    pd.testing.assert_frame_equal(found[same], known[same])
    judged = claims.in_cells(claims.judge("early-40", frame(rows)), figures.keys(known, CELL))
    pd.testing.assert_frame_equal(findings.two_parts(judged), known[[*findings.two_parts(judged)]])


def test_the_parts_of_what_diversity_predicts():
    cell, rows = ("MNIST", "tiny", "sgd", "default"), []
    for seed in range(8):
        rows.append((*cell, seed, "", 1, "accuracy", 0.1 * (seed * 3 % 8)))
        rows.append((*cell, seed, "", 5, "accuracy", 0.1 * seed))
        rows.append((*cell, seed, "1", 1, "effective_rank", 1 + 0.1 * seed))
        for unit, missed in enumerate((1, 2, 3, 4) if seed else (2, 1, 3, 4)):
            rows.append((*cell, seed, f"1.{unit}", 5, "nearest", 0.2 * unit))
            rows.append((*cell, seed, f"1.{unit}", 5, "lesion", 0.1 * missed))
    judged = claims.judge("diversity-predicts", frame(rows))
    found = findings.parts(claims.in_cells(judged, [cell[:3]]))
    assert [*found] == ["rank correlation", "beyond the accuracy reached", "lesion test"]
    assert [part.estimate.item() for part in found.values()] == pytest.approx([1, 1, -7.8 / 8])
    t = findings.tally(found["lesion test"])
    assert (t.above, t.below) == (0, 1)


def test_techniques_act_or_are_off_and_diversity_is_of_their_layers():
    arms = dict.fromkeys((*design.TECHNIQUE_ARMS, *design.HELD_ARMS), 0.5)
    arms |= {"default+weight_cosine:dynamic": 0.6, "default+weight_cosine:dynamic|held": 0.4}
    table = frame(accuracies(arms))
    layers = table.assign(measure="correlation", layer="1", value=0.3)
    layers.loc[layers.arm == "default+log_volume:dynamic", "value"] = 0.2
    undefined = layers.assign(layer="2", value=math.nan)  # counts as 1
    table = pd.concat([table, layers, undefined])
    effects = findings.technique_effects(table)
    assert effects.held.sum() == len(design.HELD_ARMS) - 1 and len(effects) == len(arms) - 2
    acting = findings.acting(effects).set_index(["technique", "held"]).estimate.to_dict()
    expected = {("weight_cosine", False): 0.1 / 0.51, ("weight_cosine", True): -0.1 / 0.51}
    assert acting == pytest.approx(expected)
    correlations = findings.correlations(table)
    assert set(correlations.arm) == set(design.TECHNIQUE_ARMS)
    [found] = findings.acting(findings.correlation_effects(correlations)).itertuples()
    assert found.treated == "default+log_volume:dynamic"
    assert found.estimate == pytest.approx(0.6 / 0.65 - 1)


def test_variants_are_compared_with_their_own_start():
    starts = {"default": 0.2, "decorrelated": 0.4, "simplex": 0.5}
    arms = dict.fromkeys(design.VARIANT_ARMS, 0.44) | starts
    arms |= dict.fromkeys(design.TECHNIQUE_ARMS[1:], 0.3)
    more = accuracies({"default": 0.9}, seeds=5)[-6:]  # a seed without variants
    found = findings.variants(frame(accuracies(arms, seeds=1) + more))
    assert len(found) == 5 * len(design.GRID) and set(found.n) == {1}
    changes = found.set_index("treated").estimate
    assert changes["default+weight_cosine:dynamic"] == pytest.approx(0.5)
    assert changes["decorrelated+weight_cosine:dynamic"] == pytest.approx(0.1)


def test_choices_are_off_or_at_an_end_of_the_grid():
    low, *_, high = design.GRID["weight_cosine"]
    arms = {"default": 0.5, f"default+weight_cosine:constant@{low:g}": 0.6}
    arms |= {f"default+weight_cosine:constant@{high:g}": 0.4}
    arms |= {f"default+reinitialize:dynamic@{c}": 0.5 - c for c in (0.001, 0.01)}
    arms |= {f"default+weight_cosine:dynamic@{high:g}": 0.6}
    rows = accuracies(arms) + accuracies(arms, ("XOR", "1×2", "sgd"))
    doses = findings.doses(frame(rows))
    assert set(doses.setting) == {"tiny"} and doses.chosen.sum() == 2
    found = findings.choices(doses).T.to_dict()
    assert found["constant"] == {"choices": 1, "smallest": 1, "largest": 0, "off": 0}
    assert found["dynamic"] == {"choices": 2, "smallest": 0, "largest": 1, "off": 1}


def test_the_fate_of_networks_and_what_their_last_layer_is_like():
    cell, arm, rows = ("MNIST", "narrow", "sgd"), "default+reinitialize:dynamic", []
    for seed, escape in enumerate((2, 3, 9, 9)):  # 9: not within the run
        for epoch in range(5):
            value = 0.9 if epoch >= escape else 0.1
            rows += [(*cell, a, seed, "", epoch, "accuracy", value) for a in ("default", arm)]
            for measure, share in (("dead", 0.1 * seed), ("duplicates", 0.5)):
                for layer, scale in (("1", 0), ("2", 1)):
                    value = scale * share
                    rows.append((*cell, "default", seed, layer, epoch, measure, value))
    times = outcomes.escape_times(frame(rows))
    units = findings.plateau_units(frame(rows), times)
    assert units[units.seed == 1].groupby("epoch").escaped.all().tolist() == [0, 0, 0, 1, 1]
    fate = findings.fates(units)
    assert fate.loc["dead"].to_dict() == pytest.approx({"others": 0.25, "soon": 0.05})
    assert findings.fates(units[units.seed > 1]) is None


# ---------------------------------------------------------------------------- 07_where_it_holds
def map_rows(place, rates, value, seeds=4, signals=(0.0, 0.5, -1.0, 2.0)):
    """Rows of the table "where": early accuracy as ``value`` of an arm and a rate, but for a little
    that differs between seeds; and the same signals in all arms."""
    data, setting, optimizer = place
    rows = []
    for rate in rates:
        cell = (data, setting, f"{optimizer}@{rate:g}")
        for arm in design.MAP_ARMS:
            for seed in range(seeds):
                network = (*cell, arm, seed, "")
                for epoch in range(1, 6):
                    reached = value(arm, rate) * (1 + 0.001 * (-1) ** seed)
                    rows.append((*network, epoch, "accuracy", reached))
                for name, signal in zip(outcomes.SIGNALS, signals):
                    rows.append((*network, 0, name, signal))
    return rows


def test_the_map_has_its_axes_and_knows_what_is_clear():
    def value(arm, rate):
        return 0.3 if arm == design.FOUND and rate < 0.05 else 0.2

    where = frame(
        map_rows(("MNIST1D", "5×8", "sgd"), (0.1, 0.01), value)
        + map_rows(("MNIST1D", "2×4", "sgd"), (0.1, 0.01), value)
        + map_rows(("Digits", "2×8 tanh", "sgd"), (0.1, 0.01), value)
    )
    places = findings.effect_map(where)
    best = places[places.comparison == "the relayed start"]
    assert len(places) == len(findings.COMPARISONS) * 6
    assert list(best.depth) == [2, 2, 2, 2, 5, 5] and set(best.width) == {4, 8}
    assert best.sort_values(["depth", "width", "rate"]).index.equals(best.index)
    assert list(best.estimate) == pytest.approx([0.5, 0.0] * 3)
    assert list(best.log) == pytest.approx([math.log(1.5), 0.0] * 3)
    assert list(best.unclear) == [False, True] * 3
    assert dict(zip(best.slice, best.held_out)) == {
        "MNIST-1D, SGD, ReLU": False,
        "Digits (embedded), SGD, tanh": True,
    }
    assert set(best.log_rate.round(6)) == {0.0, 1.0}  # decades above the usual rate
    assert places[places.comparison == "decorrelation alone"].estimate.abs().max() < 1e-12


def test_each_at_its_best_rate_is_not_each_at_the_same():
    table = {design.FOUND: {0.01: 0.5, 0.1: 0.2}, "default": {0.01: 0.2, 0.1: 0.4}}

    def value(arm, rate):
        return table.get(arm, table["default"])[rate]

    where = frame(
        map_rows(("MNIST1D", "2×4", "sgd"), (0.01, 0.1), value)
        + map_rows(("MNIST1D", "2×4", "adam"), (0.01, 0.1), value)
    )
    found = findings.at_best_rates(where).set_index("comparison")
    assert len(found) == len(findings.COMPARISONS)  # of the whole map alone
    best = found.loc["the relayed start"]
    assert (best.treated_rate, best.baseline_rate) == (0.01, 0.1)
    assert best.estimate == pytest.approx(0.5 / 0.4 - 1) and not best.unclear
    assert found.loc["the method"].estimate == pytest.approx(0, abs=1e-12)


def linear_places(rng, held_out, slope=0.5):
    """Places whose log effect is linear in the other start's cosine."""
    cosine = rng.uniform(0, 1, len(held_out))
    names = {n for of_set in findings.PREDICTORS.values() for n in of_set}
    places = pd.DataFrame({name: rng.normal(size=len(held_out)) for name in sorted(names)})
    places["dead"] = 0.0  # varies nowhere, and is left out
    places["slice"] = np.where(held_out, "a slice", "the map's own")
    return places.assign(other_cosine=cosine, log=slope * cosine - 0.1, held_out=held_out)


def test_a_regression_is_fitted_to_the_map_alone():
    rng, held_out = np.random.default_rng(0), np.arange(60) >= 40
    places = linear_places(rng, held_out)
    explained = findings.explained(places)
    of_signals = explained.loc["signals of the default"]
    assert of_signals.tolist() == pytest.approx([1, 1, 1])
    assert explained.loc["depth, width and learning rate", "the slices"] < 0.5
    other_way = places.assign(log=places.log.where(~held_out, -places.log))
    there = findings.explained(other_way).loc["signals of the default"]
    assert there["the map"] == pytest.approx(1) and there["the slices"] < 0


def test_r_squared_is_that_of_the_mean_where_it_is_zero():
    found = np.array([1.0, 2.0, 3.0])
    assert findings.r_squared(found, found) == 1
    assert findings.r_squared(found, np.full(3, 2.0)) == 0
    assert findings.r_squared(found, 4 - found) == -3
    assert math.isnan(findings.r_squared(np.ones(3), found))


# ------------------------------------------------------------------------------------- 08_peers
def by_cell(columns, data=("MNIST",), seeds=4, optimizers=("sgd",)):
    """Values of arms, [cells, seeds] or numbers, indexed as early accuracy is."""
    index = pd.MultiIndex.from_product(
        [data, ["tiny"], optimizers, range(seeds)], names=[*CELL, "seed"]
    )
    return pd.DataFrame(
        {
            arm: np.ravel(np.broadcast_to(v, (len(index) // seeds, seeds)))
            for arm, v in columns.items()
        },
        index,
    )


def test_standings_count_who_is_first_and_who_is_surely_behind():
    wiggle = np.array([0.0, 0.01, 0.0, 0.01])
    values = by_cell(
        {
            "a": [0.8 + wiggle, 0.5 + wiggle],
            "b": [0.6 + wiggle, 0.6 + wiggle],
            "c": [0.7 + 0.3 * np.array([-1, 1, -1, 1]), 0.1 + wiggle],
        },
        data=("MNIST", "Digits"),
    )
    found = findings.standings(values)
    assert list(found.index) == ["a", "b", "c"]
    assert list(found["rank"]) == [1.5, 2.0, 2.5]
    assert list(found.best) == [1, 1, 0]
    assert list(found.behind) == [1, 1, 1]  # c, in the first cell, is not surely behind
    assert found.least["a"] == pytest.approx(0.505 / 0.605 - 1)


def test_leaders_stand_beside_themselves_on_fresh_seeds():
    def values(default, a, b):
        names = ("MNIST", "MNIST1D")
        return by_cell({"default": 0.5 * np.array(default), "a": a, "b": b}, names)

    before = values([[1.0], [1.0]], [[0.6], [0.6]], [[0.55], [0.7]]).assign(other=0.9)
    again = values([[1.0], [1.0]], [[0.55], [0.6]], [[0.6], [0.7]])
    found = findings.once_more(before, again)
    assert list(found.index) == ["b", "a", "default"]
    assert found[["best", "best_again"]].to_numpy().tolist() == [[1, 2], [1, 0], [0, 0]]
    # of the two, images alone
    assert found[["deep", "deep_again"]].to_numpy().tolist() == [[0, 1], [1, 0], [0, 0]]
    assert found["rank"].to_list() == [1.5, 1.5, 3] and found.rank_again.to_list() == [1, 2, 3]
    assert found["median"]["b"] == pytest.approx((0.1 + 0.4) / 2)
    assert found.median_again["a"] == pytest.approx((0.1 + 0.2) / 2)
    assert np.isnan(found.median_again["default"])


def test_diversity_before_training_stands_beside_what_starts_reach():
    ranks = {"a": (1.0, 4.0), "b": (2.0, 4.0), "c": (4.0, 4.0)}  # of a layer of 4, by epoch
    rows = [
        ("MNIST", "tiny", "sgd", arm, seed, layer, epoch, measure, value)
        for arm, of_arm in ranks.items()
        for seed in range(4)
        for layer in "123"
        for epoch, rank in enumerate(of_arm)
        for measure, value in (("effective_rank", rank), ("correlation", 1 / rank))
        + (("similarity", 0.25 * rank),)
    ]
    before = frame(rows)
    reached = by_cell({"a": [[0.4] * 4, [0.6] * 4], "b": 0.5, "c": 0.8}, optimizers=("sgd", "adam"))
    found = findings.beginnings(before, reached)
    assert found.groupby("arm").effective_rank.unique().map(list).to_dict() == {
        "a": [0.25],
        "b": [0.5],
        "c": [1.0],
    }
    assert found.share.to_list() == pytest.approx([0.5, 0.625, 1, 0.75, 0.625, 1])
    assert found.n.eq(len(reached) / 2).all()  # of two cells
    told = findings.told_at_start(found)
    assert told.effective_rank.to_list() == pytest.approx([1, 0.5])
    assert told.correlation.to_list() == pytest.approx([1, 0.5])  # less of it is more diverse
    assert told.similarity.to_list() == pytest.approx([-1, -0.5])
    [of_b] = findings.rank_of(before, "b").to_numpy().tolist()
    assert of_b == [0.5, 1.0]


def test_the_probability_of_improvement_is_that_of_seeds_within_cells():
    values = by_cell(
        {"a": [[1, 2, 3, 4], [1, 1, 1, 1]], "b": [[2, 2, 2, 2], [0, 0, 0, np.nan]]},
        data=("MNIST", "Digits"),
    )
    found = findings.improvement(values)
    assert found.loc["a", "b"] == pytest.approx((0.625 + 1) / 2)  # ½ of a tie and two of four; all
    assert found.loc["a", "b"] + found.loc["b", "a"] == pytest.approx(1)
    assert found.isna().to_numpy().tolist() == [[True, False], [False, True]]


def test_curves_choices_at_an_end_and_how_much_a_rate_matters():
    def value(arm, rate):
        peak = {"default": 1.0, "he": 0.03, "rai": 0.1, "glorot": 0.1}[arm]
        height = {"default": 0.8, "he": 0.7, "rai": 0.6, "glorot": 0.5}[arm]
        return height / (1 + abs(math.log10(rate / peak)))

    rows = [
        ("MNIST1D", "tiny", f"sgd@{rate:g}", arm, seed, "", epoch, "accuracy", value(arm, rate))
        for rate in design.RATES["sgd"]
        for arm in ("glorot", "default", "he", "rai")
        for seed in (0, 1)
        for epoch in range(1, 6)
    ]
    rates = frame(rows)
    best = outcomes.best_rates(rates)
    assert findings.curve_arms(best) == ["default", "he", "rai"]
    ends = findings.ends(best)
    assert ends[["arm", "end"]].to_numpy().tolist() == [["default", "highest"]]
    found = findings.robustness(rates, best).set_index("arm")
    assert found.decades.to_dict() == {"glorot": 0, "default": 0.5, "he": 0, "rai": 0}
    assert math.isnan(found.third["default"])  # its best is the last
    third = value("rai", 0.03) / value("rai", 0.1), value("rai", 0.3) / value("rai", 0.1)
    assert found.third["rai"] == pytest.approx(min(third))


def test_rates_are_chosen_for_each_network_among_the_starts_that_it_is_tried_with():
    def rows(setting, best):
        return [
            ("MNIST1D", setting, f"sgd@{rate:g}", arm, 0, "", epoch, "accuracy", 1 - abs(rate - at))
            for arm, at in best.items()
            for rate in (0.1, 0.3, 1)
            for epoch in range(1, 6)
        ]

    table = frame(rows("tiny", {"default": 0.3, "he": 1}) + rows("narrow", {"default": 0.1}))
    assert outcomes.choose_rates(table) == {
        "MNIST1D tiny sgd": {"default": 0.3, "he": 1.0},
        "MNIST1D narrow sgd": {"default": 0.1},
    }


def test_starts_are_compared_over_all_settings_and_by_optimizer():
    values = by_cell({"a": [[0.4] * 4, [0.3] * 4], "b": 0.2}, optimizers=("sgd", "adam"))
    found = findings.by_optimizer(values, [("a", "b")])
    assert list(found["where"]) == [findings.EVERYWHERE, "SGD", "Adam"]
    assert list(found.estimate) == pytest.approx([0.75, 1.0, 0.5])


def test_the_tuned_effect_stands_beside_the_untuned():
    early = frame(accuracies({"default": 0.2, "decorrelated": 0.3}))
    again = by_cell({"default": 0.4, "decorrelated": 0.4, design.FOUND: 0.5, "deep_narrow": 0.6})
    usual, *found = findings.tuned(early, again).values()
    assert usual.estimate[0] > 0.4
    assert [effects.estimate[0] for effects in found] == pytest.approx([0, 0.25, 0.5])


def test_what_lasts_is_told_from_what_passes():
    starts = dict.fromkeys(design.LASTING, 0.4)
    rows = []
    for setting in ("shallow", "tiny", "10×10"):
        for *place, epoch, measure, value in accuracies(starts, ("MNIST", setting, "sgd@0.1")):
            gain = 0.1 * (place[3] == "deep_narrow" and epoch < 5)
            rows.append((*place, epoch, measure, value + gain))
    found = findings.lasting(frame(rows)).set_index(["treated", "when"])
    early, late = (found.loc[("deep_narrow", when)] for when in ("early", "late"))
    kinds = ["images, one layer", "images, three or five layers", "images, ten layers, SGD"]
    assert [*early.network] == kinds
    assert early.estimate.between(0.18, 0.2).all() and (late.estimate == 0).all()
    assert (found.loc["relayed"].estimate == 0).all()


def test_rates_are_chosen_anew_after_the_last_epoch():
    lasts = {0.01: 0.6, 0.03: 0.7, 0.1: 0.5}  # of the default, by rate
    others = dict.fromkeys(design.LASTING[1:], 0.4)
    table = frame(
        [
            row
            for rate, value in lasts.items()
            for row in accuracies(
                {"default": value} | others, ("MNIST", "tiny", f"sgd@{rate}"), seeds=2
            )
        ]
    )
    # before the last epoch another rate leads, which does not count
    table.loc[(table.epoch < table.epoch.max()) & (table.optimizer == "sgd@0.1"), "value"] = 0.9
    chosen = findings.later_choices(table).set_index("arm").loc[["default", "deep_narrow"]]
    assert [*chosen.rate] == [0.03, 0.01]  # of equals, the smallest
    assert [*chosen.at_end] == [False, True]
    assert [*chosen.before] == [0.1, 0.01]  # as registered
    by_cell = outcomes.choose_rates(table, later=True)
    assert by_cell["MNIST tiny sgd later"] == dict(zip(chosen.index, chosen.rate)) | dict.fromkeys(
        others, 0.01
    )


def test_what_is_changed_at_rates_of_the_end_is_told_of_those_that_learn_too():
    rows = accuracies({"default": 0.6}, ("MNIST", "tiny", "sgd@0.03"), seeds=4)
    others = dict.fromkeys(design.LASTING[1:], 0.72)
    rows += accuracies(others, ("MNIST", "tiny", "sgd@0.01"), seeds=4)
    table = frame(rows)
    table.loc[(table.arm == "default") & (table.seed == 0), "value"] = 0.1  # never learns
    found = findings.retuned(table).set_index(["treated", "when"]).loc["deep_narrow"]
    means = (0.72 + 0.015) / ((0.1 + 0.61 + 0.62 + 0.63) / 4), 0.74 / 0.62
    assert [*found.estimate] == pytest.approx([m - 1 for m in means])
    assert [*found.dead] == [1, 1] and {*found.network} == {"images, tiny"}


def test_networks_in_common_use_stand_as_they_are_and_decorrelated():
    rows = [
        ("Digits", name, optimizer, arm, seed, "", 1, "accuracy", value + 0.01 * seed)
        for name in ("cnn", "resnet18")
        for optimizer in ("sgd", "adam")
        for arm, value in (("default", 0.5), ("balanced", 0.6 if name == "cnn" else 0.4))
        for seed in range(3)
    ]
    found = findings.common_effects(pd.DataFrame(rows, columns=COLUMNS), "accuracy")
    cells = [*zip(found.network, found.optimizer)]
    assert cells == [("cnn", "sgd"), ("cnn", "adam"), ("resnet18", "sgd"), ("resnet18", "adam")]
    assert found.default.tolist() == pytest.approx([0.51] * 4)
    assert found.balanced.tolist() == pytest.approx([0.61] * 2 + [0.41] * 2)
    assert found.estimate.tolist() == pytest.approx([0.61 / 0.51 - 1] * 2 + [0.41 / 0.51 - 1] * 2)


def test_rivals_stand_beside_their_norm_held_twins():
    arms = {
        "default": 0.5,
        "default+mma:constant": 0.6,
        "default+redo:constant": 0.55,
        "default+srip:constant": 0.5,  # off: the default's own rows
        "default|held": 0.5,
        "default+mma:constant|held": 0.45,
        "default+srip:constant|held": 0.5,
    }
    rows = [*accuracies(arms, ("MNIST", "tiny", "adam@0.01")),
            *accuracies(arms, ("MNIST1D", "tiny", "sgd@0.1")),
            *accuracies({"default": 0.4}, ("MNIST", "tiny", "muon@0.003"))]  # fmt: skip
    table = frame(rows)
    found = findings.rival_effects(table)
    cells = dict.fromkeys(zip(found.technique, found.treated, found.baseline, found.held))
    assert [*cells] == [
        ("srip", "default+srip:constant", "default", False),
        ("mma", "default+mma:constant", "default", False),
        ("redo", "default+redo:constant", "default", False),
        ("muon", "default+muon:constant", "default", False),
        ("srip", "default+srip:constant|held", "default|held", True),
        ("mma", "default+mma:constant|held", "default|held", True),
    ]
    summary = findings.rival_summary(table, found)
    assert summary.acts.to_dict() == {"srip": 0, "mma": 2, "redo": 2, "muon": 1}
    assert summary.of.to_dict() == {"srip": 2, "mma": 2, "redo": 2, "muon": 1}
    assert summary.above["mma"] == 2 and summary.below["muon"] == 1
    assert summary.whole["srip"] is None and summary.held["redo"] is None
    # seeds have 0.01 more than the one before: ratios of 0.61 to 0.51, 0.46 to 0.51
    assert summary.whole["mma"].estimate == pytest.approx(0.61 / 0.51 - 1, abs=2e-3)
    twin = summary.held["mma"]
    assert (twin.of, twin.above, twin.below) == (2, 0, 2)
    assert twin.median == pytest.approx(0.46 / 0.51 - 1, abs=2e-3)


def test_a_rate_that_few_seeds_have_chosen_stands_beside_the_usual_one():
    rivals = frame([*accuracies({"default": 0.4}, ("MNIST", "tiny", "adam@0.01")),
                    *accuracies({"default": 0.6}, ("MNIST", "narrow", "sgd@0.1")),
                    *accuracies({"default": 0.9}, ("MNIST", "tiny", "muon@0.01")),
                    *accuracies({"default": 0.5}, ("MNIST1D", "tiny", "adam@0.01"))])  # fmt: skip
    early = frame([*accuracies({"default": 0.5}, ("MNIST", "tiny", "adam")),
                   *accuracies({"default": 0.5}, ("MNIST", "narrow", "sgd"))])  # fmt: skip
    found = findings.chosen_rates(rivals, early).set_index(["data", "setting", "optimizer"])
    assert [*found.index] == [("MNIST", "tiny", "adam"), ("MNIST", "narrow", "sgd")]
    assert found.estimate.tolist() == pytest.approx([0.41 / 0.51 - 1, 0.61 / 0.51 - 1], abs=2e-3)
    assert found.high.iloc[0] < 0 < found.low.iloc[1]
    assert findings.chosen_rates(rivals[rivals.data == "MNIST1D"], early).empty


def test_twins_are_named_by_what_they_are_of():
    titles = [
        findings.start_title(arm) for arm in ("glorot_decorrelated", "rai_decorrelated", "he")
    ]
    assert titles == ["Glorot, decorrelated", "RAI, decorrelated", "He"]


# ---------------------------------------------------------------------------- 09_sustainability
def sized_rows(reached, data="MNIST", depth=1, seeds=3):
    """Rows of the table "redundancy": (arm, width) to the accuracy after each epoch."""
    return [
        (data, f"{depth}×{width}", "adam", arm, seed, "", epoch, "accuracy", value + 0.001 * seed)
        for (arm, width), values in reached.items()
        for seed in range(seeds)
        for epoch, value in enumerate((0.1, *values))
    ]


SIZED = {
    ("default", 2): (0.3, 0.4),
    ("default", 4): (0.5, 0.85),
    ("default", 16): (0.9, 0.9),
    (design.FOUND, 2): (0.6, 0.82),
    (design.FOUND, 4): (0.86, 0.88),
}


def test_costs_are_those_of_the_networks_and_data():
    from dndiv.paper import compute, data
    from dndiv.population import network

    rows = sized_rows({("default", 3): (0.5, 0.6)}, data="Digits", depth=2, seeds=1)
    found = findings.sized_networks(frame(rows)).set_index("epoch")
    net = network((64, 3, 3, 10))
    assert set(found.parameters) == {sum(p.numel() for p in net.parameters())}
    once = sum(layer.weight.numel() for layer in net if hasattr(layer, "weight"))
    assert found.macs[2] == 2 * found.macs[1] == 2 * 3 * once * findings.TRAINED_ON["Digits"]
    for name in data.EMBEDDED:
        images = compute.parted(data.load(name)).x_train
        assert images.shape == (findings.TRAINED_ON[name], findings.INPUTS[name])
    for name in ("MNIST", "FashionMNIST"):
        assert findings.INPUTS[name] == design.PIXELS
        assert findings.TRAINED_ON[name] == 60_000 - design.HELD_OUT


def test_the_front_is_what_no_cheaper_network_reaches():
    points = pd.DataFrame(
        {"cost": [1, 2, 2, 3, 4], "accuracy": [0.5, 0.4, 0.6, 0.6, 0.9]}, index=list("abcde")
    )
    assert list(findings.front(points[::-1], "cost").index) == ["a", "c", "e"]


def test_networks_reach_a_share_of_the_wide_one_s_accuracy():
    networks = findings.sized_networks(frame(sized_rows(SIZED)))
    assert findings.wide_accuracy(networks)["MNIST", 1] == pytest.approx(0.901)
    found = findings.to_target(networks, 0.9).set_index(["arm", "width", "seed"])  # 0.8109
    assert len(found) == 15
    first = found.xs(0, level="seed")
    assert first.reached.to_dict() == {size: size != ("default", 2) for size in SIZED}
    epochs = {("default", 2): 2, ("default", 4): 2, ("default", 16): 1}
    epochs |= {(design.FOUND, 2): 2, (design.FOUND, 4): 1}
    for (arm, width), count in epochs.items():
        once = 784 * width + width * 10
        assert first.macs[arm, width] == 3 * once * 59_000 * count


def test_the_smallest_network_that_does_and_surely():
    smallest = findings.smallest(findings.sized_networks(frame(sized_rows(SIZED))))
    found = smallest.set_index(["arm", "share"])
    assert found.width.to_dict() == {
        ("default", 0.9): 4, ("default", 0.95): 16, (design.FOUND, 0.9): 2, (design.FOUND, 0.95): 4
    }  # fmt: skip
    assert found.surely.equals(found.width)  # all seeds differ alike
    assert set(found.widest) == {16}
    assert found.parameters["default", 0.9] == 784 * 4 + 4 + 4 * 10 + 10
    assert found.wide_macs["default", 0.9] == 3 * (784 * 16 + 160) * 59_000 * 2
    # a width whose seeds differ is not surely enough
    rows = frame(sized_rows(SIZED))
    shaky = (rows.arm == design.FOUND) & rows.setting.eq("1×2")
    rows.loc[shaky, "value"] += 0.2 * (rows.seed[shaky] - 1)
    found = findings.smallest(findings.sized_networks(rows)).set_index(["arm", "share"])
    assert (found.width[design.FOUND, 0.9], found.surely[design.FOUND, 0.9]) == (2, 4)
    # and where none has it there is none
    poor = {size: v for size, v in SIZED.items() if size[0] == "default" or size[1] == 2}
    found = findings.smallest(findings.sized_networks(frame(sized_rows(poor))))
    assert math.isnan(found.set_index(["arm", "share"]).width[design.FOUND, 0.95])


def test_cases_are_counted_in_which_a_start_needs_fewer_units_or_more():
    rows = [
        *(("A", 1, "default", 0.9, 8), ("A", 1, "x", 0.9, 4), ("A", 3, "default", 0.9, 8)),
        *(("A", 3, "x", 0.9, 8), ("B", 1, "default", 0.9, 8), ("B", 1, "x", 0.9, np.nan)),
        *(("A", 1, "default", 0.95, np.nan), ("A", 1, "x", 0.95, np.nan)),
        *(("B", 1, "default", 0.95, np.nan), ("B", 1, "x", 0.95, 16)),
    ]
    found = pd.DataFrame(rows, columns=["data", "depth", "arm", "share", "width"])
    needed = findings.needed(found, "x")
    assert needed.loc[0.9].to_dict() == {"fewer": 1, "more": 1, "of": 3}
    assert needed.loc[0.95].to_dict() == {"fewer": 1, "more": 0, "of": 2}


def test_means_have_intervals_where_there_are_seeds():
    networks = findings.sized_networks(frame(sized_rows({("default", 2): (0.5,)}, seeds=2)))
    [found] = findings.means(networks).itertuples()
    assert (found.n, found.accuracy) == (2, pytest.approx(0.5005))
    assert found.high - found.accuracy == pytest.approx(12.706 * 0.0005, rel=1e-3)  # t of 1 degree
    [alone] = findings.means(networks[networks.seed == 0]).itertuples()
    assert math.isnan(alone.low)


def test_the_footprint_is_core_hours_times_watts():
    facts = {"units": 2, "unit_seconds": 1800.0}
    found = findings.footprint({"experiments": {"early": facts, "tuning": facts}})
    assert found.hours.to_dict() == {"early": 0.5, "tuning": 0.5, "all": 1.0}
    assert found.kwh["all"] == pytest.approx(findings.WATTS / 1000)
    assert not len(findings.footprint({}))


def test_how_many_have_escaped_is_counted_from_the_first_epoch_in_which_they_have():
    rows = [
        ("MNIST", "narrow", "sgd", arm, seed, "", epoch, "accuracy", value)
        for arm in ("default", "decorrelated")
        for seed, course in enumerate([(0.1, 0.6, 0.4), (0.1, 0.2, 0.5), (0.1, 0.2, 0.3)])
        for epoch, value in zip((0, 1, 2), course)
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    found = findings.escaped_by(table, ("MNIST", "narrow", "sgd"), 0.5)
    assert found == {1: pytest.approx(1 / 3), 2: pytest.approx(2 / 3)}
    assert findings.escaped_by(table, ("XOR", "1×2", "sgd"), 0.5) == {}


def test_deep_networks_on_images_are_told_from_others():
    cells = [
        ("MNIST", "tiny"),
        ("MNIST", "shallow"),
        ("MNIST1D", "tiny"),
        ("FashionMNIST", "10×10"),
    ]
    index = pd.MultiIndex.from_tuples([(*cell, "sgd", 0) for cell in cells], names=[*CELL, "seed"])
    found = findings.deep_images(pd.DataFrame({"he": 0.5}, index=index))
    assert [*found.index.droplevel(["optimizer", "seed"])] == [cells[0], cells[3]]
