"""The numbers in the notebooks' sentences, of made tables and against what they were made of."""

import math

import numpy as np
import pandas as pd
import pytest

from dndiv.paper import design, findings, outcomes
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
    assert (t.of, t.defined, t.above, t.below, t.surely_above, t.surely_below) == (4, 3, 1, 1, 1, 1)
    assert (t.median, t.smallest, t.largest) == (0.1, -0.2, 0.3)
    assert findings.top(found).which == "b"
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
    assert findings.widest(layers).loc[3, "accuracy"] == pytest.approx(100)
    assert findings.deadest(layers)[1] == 2


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
    assert findings.runs_per_block(frame(rows)) == 4


def test_the_strongest_measure_is_the_one_of_the_largest_median_in_size():
    rows = [
        {
            "measure": m,
            "outcome": outcome,
            "epoch": e,
            "estimate": r,
            "low": r - 0.1,
            "high": r + 0.1,
        }
        for m, r in (("effective_rank", 0.3), ("dead", -0.5))
        for outcome in ("now", "final")
        for e in (0, 1, 5)
    ]
    summary = findings.moments(pd.DataFrame(rows))
    assert len(summary) == 6 and set(summary.of) == {1}
    best = findings.strongest(summary, "after epoch 1")
    assert (best.measure, best["median"], best.below) == ("dead", -0.5, 1)


def test_the_effects_of_techniques_are_one_family_and_diversity_is_of_their_layers():
    arms = dict.fromkeys(design.TECHNIQUE_ARMS, 0.5) | {design.TECHNIQUE_ARMS[1]: 0.6}
    table = frame(accuracies(arms))
    layers = table.assign(measure="correlation", layer="1", value=0.3)
    less = layers.arm == design.TECHNIQUE_ARMS[2]
    layers.loc[less, "value"] = 0.2
    undefined = layers.assign(layer="2", value=math.nan)  # counts as 1
    table = pd.concat([table, layers, undefined, layers.assign(measure="dead", value=0.25)])
    effects = findings.technique_effects(table)
    assert effects.estimate.tolist() == pytest.approx([0.1 / 0.51, *[0] * 5])
    assert effects.p_holm[0] == pytest.approx(min(1, 6 * effects.p[0]))
    correlations = findings.of_networks(table, "correlation")
    summary = findings.correlation_summary(correlations)
    assert summary.after.iloc[:3].tolist() == pytest.approx([0.65, 0.65, 0.6])
    assert summary.lower.tolist() == [0, 0, 1, *[0] * 4] and set(summary.of) == {1}
    diversity = findings.correlation_effects(correlations)
    assert diversity.estimate.tolist() == pytest.approx([0, 0.6 / 0.65 - 1, *[0] * 4])
    assert findings.dead_at_end(table).tolist() == [0.25] * 7
    assert -1 < findings.agreement(diversity, effects) < 1


def test_variants_are_compared_with_their_own_start():
    starts = {"default": 0.2, "decorrelated": 0.4, "simplex": 0.5}
    arms = dict.fromkeys(design.VARIANT_ARMS, 0.44) | starts
    arms |= dict.fromkeys(design.TECHNIQUE_ARMS[1:], 0.3)
    more = accuracies({"default": 0.9}, seeds=5)[-6:]  # a seed without variants
    values = findings.variant_accuracy(frame(accuracies(arms, seeds=1) + more))
    assert values.index.get_level_values("seed").tolist() == [0]
    grid = findings.variant_grid(values)
    assert [*grid.index] == [*design.GRID] and grid.shape == (6, 5)
    assert grid["default,\ndynamic"].tolist() == pytest.approx([0.5] * 6)
    assert grid["decorrelated,\ndynamic"].tolist() == pytest.approx([0.1] * 6)
    assert findings.start_medians(values).to_dict() == pytest.approx(starts)


def test_choices_at_the_ends_of_the_grid_are_counted():
    arms = {"default": 0.5}
    arms |= {f"default+weight_cosine:constant@{c}": 0.6 - c / 100 for c in (0.01, 0.1, 1, 10)}
    arms |= {f"default+reinitialize:dynamic@{c}": 0.5 + c for c in (0.001, 0.01, 0.05, 0.2)}
    rows = accuracies(arms) + accuracies(arms, ("XOR", "1×2", "sgd"))
    registered = {"weight_cosine": {"constant": {"tiny sgd": 0.01, "1×2 sgd": 0.1}}}
    found = findings.choices(frame(rows), registered)
    assert (found.smallest, found.largest, found.of_images) == (1, 1, 2)
    assert (found.as_registered, found.of) == (1, 4)
    doses = findings.largest_doses(findings.of_images(outcomes.candidates(frame(rows))))
    assert doses.to_dict() == pytest.approx({"weight_cosine": 0, "reinitialize": 0.2 / 0.51})


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
    assert findings.escaped_shares(times).iloc[0].tolist() == [0.5, 4]
    units = findings.plateau_units(frame(rows), times)
    assert units[units.seed == 1].groupby("epoch").escaped.all().tolist() == [0, 0, 0, 1, 1]
    fate = findings.fates(units)
    assert fate.loc["dead"].to_dict() == pytest.approx({"others": 0.25, "soon": 0.05})
    assert findings.fates(units[units.seed > 1]) is None
    found = outcomes.escapes(times)
    acting, starts = findings.techniques_and_starts(found)
    assert len(acting) == 1 and not len(starts)
    assert findings.usual_shares(acting).tolist() == [0, 0, 0, 0]
    assert findings.escape_table(found).unit.tolist() == ["epochs"]


def test_steps_multiply_to_the_whole_and_the_best_arm_wins():
    values = {arm: 0.3 + 0.05 * k for k, arm in enumerate(design.LADDER)}
    table = frame(accuracies(values) + accuracies({"default": 0.1}, seeds=4)[-6:])
    shown = findings.of_shared_seeds(table, ("default", "equal_norms", "decorrelated", "alive"))
    assert shown.seed.max() == 2
    gaps = findings.gaps(shown)
    assert gaps.iloc[0].tolist() == pytest.approx([0.05, 0.2, 0.3])
    early = outcomes.early_accuracy(table)
    steps = outcomes.effects(early, list(zip(design.LADDER[1:], design.LADDER)))
    whole = outcomes.effects(early, [("decorrelated", "default")])
    assert findings.product_error(steps, whole) < 1e-12
    typical = findings.typical_steps(steps)
    assert typical.index[0] == "zero_bias" and typical.iloc[0] == pytest.approx(0.05 / 0.31)
    baselines = dict.fromkeys(design.BASELINE_ARMS, 0.5) | {"he_decorrelated": 0.55}
    everything = findings.everything(table, frame(accuracies(baselines, seeds=2)))
    assert set(everything.index.get_level_values("seed")) == {0, 1}
    assert findings.best_arms(everything).to_dict() == {"alive": 1}
    twins = findings.twins(everything).set_index([*CELL, "treated"]).estimate
    assert twins[("MNIST", "tiny", "sgd", "he_decorrelated")] == pytest.approx(0.05 / 0.505)
    assert len(twins) == len(design.OTHERS) and (twins == 0).sum() == 5
