"""The design: specifications that are refused where they are wrong, arms, places, presets."""

import dataclasses

import pytest

from dndiv.paper import design, experiments, registered
from dndiv.paper.arms import Arm, Place
from dndiv.paper.design import Convolution, Directions, Parity, Training
from dndiv.paper.names import OPTIMIZERS


@pytest.mark.parametrize(
    "text, arm",
    [
        ("he", Arm("he")),
        ("default+log_volume:dynamic", Arm("default", "log_volume", "dynamic")),
        ("default+weight_cosine:constant@0.1", Arm("default", "weight_cosine", "constant", 0.1)),
        ("simplex+reinitialize:annealed@1e-05", Arm("simplex", "reinitialize", "annealed", 1e-5)),
        ("default|held", Arm("default", held=True)),
        ("he+log_volume:dynamic@2|held", Arm("he", "log_volume", "dynamic", 2.0, held=True)),
    ],
)
def test_an_arm_is_the_same_as_value_and_as_text(text, arm):
    assert Arm.parse(text) == arm and str(arm) == text


@pytest.mark.parametrize(
    "text", ["", "+x:y", "a+", "a+x", "a+x:", "a+:y", "a+x:y@", "a+x:y@z", "a|", "a|kept"]
)
def test_what_is_no_arm_is_refused(text):
    with pytest.raises(ValueError, match="arm "):
        Arm.parse(text)


@pytest.mark.parametrize(
    "text, place",
    [("", Place()), ("2", Place(2)), ("2.0", Place(2, 0)), ("1.7.300", Place(1, 7, 300))],
)
def test_a_place_is_the_same_as_value_and_as_text(text, place):
    assert Place.parse(text) == place and str(place) == text


@pytest.mark.parametrize(
    "change, message",
    [
        ({"data": "mnist"}, "unknown data set 'mnist'; choose one of MNIST"),
        ({"setting": "wide"}, "unknown setting 'wide'; choose one of shallow, tiny, narrow"),
        ({"optimizer": "SGD"}, "unknown optimizer 'SGD'; choose one of sgd, adam"),
        (
            {"arms": ("default", "decorelated")},
            "unknown start 'decorelated'; choose one of default",
        ),
        ({"arms": ()}, "one or more different ones"),
        ({"arms": ("he", "he")}, "one or more different ones"),
        ({"seeds": ()}, "one or more different integers"),
        ({"seeds": (1, 1)}, "one or more different integers"),
        ({"seeds": (-1,)}, "integers from 0"),
        (
            {"arms": ("default+log_volume:linear",)},
            "unknown schedule 'linear'; choose one of constant",
        ),
        ({"arms": ("default+logvolume:dynamic",)}, "unknown technique 'logvolume'"),
        ({"arms": ("default+dropout:dynamic@0.1",)}, "a constant share of units"),
        ({"arms": ("default+dropout:constant@1",)}, "a share of units from 0 to below 1"),
        ({"observed": ("alive",)}, "unknown observed arm"),
        ({"looks": "often"}, "unknown looks 'often'; choose one of epochs"),
        ({"records": ("acuracy",)}, "unknown record 'acuracy'; choose one of accuracy"),
        ({"epochs": 0}, "at least 1, not 0"),
    ],
)
def test_a_bad_specification_is_refused_with_the_valid_values(change, message):
    good = Training("Digits", "tiny", "sgd", ("default",), (0,))
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(good, **change)


def test_specifications_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Training("Digits", "tiny", "sgd", ("default",), (0,)).epochs = 3


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Parity("XOR4", "1×2", ("default",), (0,)), "unknown parity problem 'XOR4'"),
        (lambda: Directions("wide", ("default",), (0,)), "unknown setting 'wide'"),
        (lambda: experiments.units("late", "smoke", ()), "unknown experiment 'late'"),
        (lambda: experiments.units("early", "papr", ()), "unknown preset 'papr'"),
    ],
)
def test_other_names_are_refused_as_well(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("preset", experiments.PRESETS)
def test_presets_cover_every_setting_with_their_seeds_and_no_data_sets_share_one(preset):
    chosen = experiments.PRESETS[preset]
    cells, seeds = {}, {}
    for unit in experiments.units("early", preset, chosen.data):
        cells.setdefault((unit.data, unit.setting, unit.optimizer), []).extend(unit.seeds)
        seeds.setdefault(unit.data, set()).update(unit.seeds)
    assert len(cells) == len(chosen.data) * len(design.SETTINGS) * len(OPTIMIZERS)
    for (name, setting, _), found in cells.items():
        first = design.FIRST_SEED[name] + design.AGAIN
        assert found == list(range(first, first + chosen.default_seeds[setting]))
    assert sum(map(len, seeds.values())) == len(set.union(*seeds.values()))


def test_what_is_tuned_has_seeds_of_its_own_and_every_technique_its_candidates():
    names = experiments.PRESETS["paper"].data
    tuned = experiments.units("tuning", "paper", names)
    used = {s for n in ("early", "reinforcement", "escape", "intervention", "baselines")
            for u in experiments.units(n, "paper", names) for s in u.seeds}  # fmt: skip
    assert not used & {s for u in tuned for s in u.seeds}
    assert min(sum(len(u.seeds) for u in tuned if (u.setting, u.optimizer) == cell)
               for cell in {(u.setting, u.optimizer) for u in tuned}) >= 5  # fmt: skip
    arms = {(a.technique, a.coefficient) for u in tuned for a in u.arms if a.technique}
    grids = design.GRID | design.RIVALS
    assert arms == {(t, float(c)) for t, grid in grids.items() for c in grid}
    images = [u for u in tuned if isinstance(u, Training)]
    assert all(u.tuned and u.epochs == design.EPOCHS for u in images)


def test_convolutional_networks_are_tuned_on_seeds_of_their_own_and_have_their_twins():
    names = experiments.PRESETS["paper"].data
    tuned = [u for u in experiments.units("rates", "paper", names) if isinstance(u, Convolution)]
    judged, again = (
        experiments.units(name, "paper", names) for name in ("convolution", "convolution_leaders")
    )
    assert all(u.tuned for u in tuned) and not any(u.tuned for u in judged + again)
    seeds = [{s for u in units for s in u.seeds} for units in (tuned, judged, again)]
    assert sum(map(len, seeds)) == len(set.union(*seeds))
    rates = {(u.optimizer, str(a)) for u in tuned for a in u.arms}
    assert len(rates) == 12 * len({*design.CONVOLVED, *design.LEADERS})
    for unit in judged + again:
        plain = {str(a) for a in unit.arms} - {*design.TWINS.values()}
        assert {(unit.optimizer, a) for a in plain} <= rates
    for unit in judged:
        arms = {str(a) for a in unit.arms}
        assert {design.TWINS[a] for a in arms if a in design.TWINS} <= arms
    for optimizer in OPTIMIZERS:
        arms = [str(a) for u in again if u.optimizer.startswith(optimizer) for a in u.arms]
        assert {*arms} == {*design.LEADERS}


def test_where_a_choice_was_at_an_end_all_starts_have_one_rate_more():
    found: dict = {}
    for unit in experiments.units("rates", "paper", experiments.PRESETS["paper"].data):
        optimizer, rate = design.learning_rate(unit.optimizer)
        by_arm = found.setdefault((unit.data, unit.setting, optimizer), {})
        for arm in unit.arms:
            by_arm.setdefault(str(arm), set()).add(rate)
    for cell, by_arm in found.items():
        more = {design.FURTHER[cell]} if cell in design.FURTHER else set()
        assert all(rates == {*design.RATES[cell[-1]], *more} for rates in by_arm.values())
    assert {*design.FURTHER} <= {*found}


def test_the_grid_of_those_that_train_on_is_one_for_all_and_has_the_rates_of_before():
    names, tried = experiments.PRESETS["paper"].data, {}
    for unit in experiments.units("later_rates", "paper", names):
        optimizer, rate = design.learning_rate(unit.optimizer)
        assert unit.tuned and [*map(str, unit.arms)] == [*design.LASTING]
        cell = (unit.data, unit.setting, optimizer)
        tried.setdefault(cell, {}).setdefault(rate, []).extend(unit.seeds)
    assert len(tried) == 12 and {*design.LATER_FURTHER} <= {*tried}
    for cell, rates in tried.items():
        before = [registered.rate(*cell, start) for start in design.LASTING]
        assert {*before} <= {*rates} == {*experiments.later_rates_of(cell)}
        assert min(rates) < min(before)  # whoever trains on may want less
        assert len({*map(tuple, rates.values())}) == 1  # the same budget for all rates


def test_those_that_train_on_are_judged_at_their_rates_and_by_seeds_of_their_own():
    names, judged = experiments.PRESETS["paper"].data, {}
    for unit in experiments.units("later", "paper", names):
        optimizer, rate = design.learning_rate(unit.optimizer)
        cell = (unit.data, unit.setting, optimizer)
        for arm in map(str, unit.arms):
            assert not unit.tuned and rate == registered.rate(*cell, arm, later=True)
            judged.setdefault(cell, {}).setdefault(arm, []).extend(unit.seeds)
    others = ("rates", "peers", "leaders", "lasting", "later_rates")
    elsewhere = {s for t in others for u in experiments.units(t, "paper", names) for s in u.seeds}
    assert len(judged) == 12
    for arms in judged.values():
        assert {*arms} == {*design.LASTING} and len({*map(tuple, arms.values())}) == 1
        assert not elsewhere & {*arms["default"]}


def test_convolutional_networks_are_of_images_and_take_starts_alone():
    for of, words in (
        (("MNIST1D", "sgd", ("default",), (1,)), "data set of images"),
        (("Digits", "muon@0.01", ("default",), (1,)), "SGD or Adam, not 'muon@0.01'"),
        (("Digits", "sgd", ("default+redo:constant",), (1,)), "starts alone, not the arm default"),
    ):
        with pytest.raises(ValueError, match=words):
            Convolution(*of)
