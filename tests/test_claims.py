"""Verdicts follow from the tables, and what is published follows from the verdicts."""

import dataclasses
import json
import math
import re

import numpy as np
import pandas as pd
import pytest
import yaml

from dndiv.paper import (
    answer,
    claims,
    design,
    details,
    experiments,
    files,
    names,
    outcomes,
    report,
    tables,
)
from dndiv.paper.names import ARCHIVED, COLUMNS, SERIES

REGISTERED = claims.load()
CELL = ("MNIST", "tiny", "sgd")


def frame(rows):
    return pd.DataFrame(rows, columns=COLUMNS)


def early(effect, control=0.0, n=10):
    """A table of one setting in which the decorrelated arm has a given effect, alike for all seeds
    but for noise."""
    rows = []
    for seed in range(n):
        base = 0.5 + 0.01 * (seed % 3)
        values = {
            "default": base,
            "equal_norms": base * (1 + effect) / (1 + control),
            "default_decorrelated": base * (1 - control),
            "decorrelated": base * (1 + effect) + 0.001 * (seed % 2),
        }
        for arm, value in values.items():
            rows += [(*CELL, arm, seed, "", epoch, "accuracy", value) for epoch in range(6)]
    return frame(rows)


def directions(similarity=0.0, across=1.0):
    rows = []
    for seed in range(30):
        noise = 0.01 * (seed % 5)
        for arm, less, other in (("default", 1, 1), ("default_decorrelated", similarity, across)):
            for measure, value in (
                ("similarity", (0.4 + noise) * less),
                ("across", (0.3 + noise) * other),
            ):
                rows.append(("none", "tiny", "none", arm, seed, "1", 0, measure, value))
    return frame(rows)


def judge(claim, table):
    [result] = claims.judge(claim, table)
    return result


@pytest.mark.parametrize(
    "low, high, published, expected",
    [
        (0.30, 0.50, 0.4, "reproduced"),
        (0.001, 0.40, 0.4, "reproduced"),
        (0.45, 0.60, 0.4, "reproduced"),
        (0.02, 0.39, 0.4, "reproduced, smaller"),
        (0.005, 0.39, 0.4, "not reproduced"),
        (-0.1, 0.1, 0.4, "not reproduced"),
        (-0.1, 0.4, 0.4, "undecided"),
        (-0.5, -0.2, 0.4, "the opposite"),
        (-0.01, 0.01, 0.4, "no practical effect"),
        (0.0, 0.0, None, "no practical effect"),
        (0.011, 0.1, None, "reproduced"),
        (0.001, 0.1, None, "undecided"),
        (0.001, 0.009, None, "no practical effect"),
        (-0.2, -0.011, None, "the opposite"),
        (-0.2, 0.0, None, "undecided"),
        (math.nan, math.nan, None, "undecided"),
        (math.nan, math.nan, 0.4, "undecided"),
    ],
)
def test_verdicts(low, high, published, expected):
    assert claims.verdict(low, high, 0.01, published) == expected


@pytest.mark.parametrize(
    "effect, control, verdict, carried_by",
    [
        (0.45, 0.05, "reproduced", "decorrelation"),
        (0.45, 0.0, "reproduced", "scale"),
        (0.2, 0.0, "reproduced, smaller", "scale"),
        (-0.1, 0.05, "the opposite", None),
        (0.0, 0.05, "no practical effect", None),
    ],
)
def test_the_verdict_on_the_40_percent_follows_the_table(effect, control, verdict, carried_by):
    result = judge("early-40", early(effect, control))
    assert (result.verdict, result.carried_by, result.n) == (verdict, carried_by, 10)
    assert result.estimate == pytest.approx(effect, abs=0.01)
    assert result.alone["He's scale"]["estimate"] == pytest.approx(control, abs=0.01)
    assert result.alone["default scale"]["estimate"] == pytest.approx(-control, abs=0.01)
    assert result.beside["learn"] == 1 and result.beside["p_learn"] == 1
    assert result.beside["among those that learn"]["estimate"] == pytest.approx(result.estimate)
    words = report.summary([result])
    assert words.startswith("**The 40 % during the first 5 epochs:** `early-40`, 1 setting: ")
    assert ("Reproduced, as a method: MNIST, tiny, SGD (+45" in words) == (effect == 0.45)
    up = int(control > 0)
    assert "**Decorrelation alone, He's scale**" in words and f"in {up} of 1 settings" in words
    assert (f"{verdict}, by scale" in report.as_text([result])) == (carried_by == "scale")


def test_all_settings_together_are_judged_as_well():
    table = pd.concat([early(0.2, 0.05), early(0.3, 0.05).assign(setting="narrow")])
    first, second, joint = claims.judge("early-40", table)
    assert joint.setting == claims.TOGETHER and joint.verdict == "reproduced, smaller"
    assert joint.estimate == pytest.approx((first.estimate + second.estimate) / 2)
    assert (joint.n, joint.carried_by, joint.p_holm) == (10, "decorrelation", joint.p)
    assert "All settings together: +25." in report.summary([first, second, joint])
    headline = "`early-40`, 2 settings: reproduced, smaller in 2"
    assert report.headline([first, second, joint], "early-40") == headline


def test_a_verdict_that_hangs_on_one_seed_is_fragile():
    table = early(0.2)
    apart = table.arm.eq("decorrelated") & table.seed.eq(0)
    table.loc[apart, "value"] *= 6  # without it, the effect is smaller than 40 %
    result = judge("early-40", table)
    assert (result.verdict, result.fragile) == ("undecided", True)
    text = report.as_text([result])
    assert "undecided †" in text and text.endswith(report.FOOTNOTE)
    solid = judge("early-40", early(0.2))
    assert not solid.fragile and report.FOOTNOTE not in report.as_markdown([solid])


def test_digits_decide_nothing_about_mnist():
    result = judge("early-40", early(0.45).assign(data="Digits"))
    assert (result.verdict, result.reason) == ("not tested", "embedded digits")


@pytest.mark.parametrize(
    "similarity, across, verdict",
    [
        (0.0, 1.0, "by construction"),
        (0.2, 1.0, "not reproduced"),  # less, but not gone
        (1.2, 1.0, "not reproduced"),
        (0.0, 2.0, "not reproduced"),  # draws that are all alike are not stochastic
    ],
)
def test_decorrelated_yet_stochastic_needs_both(similarity, across, verdict):
    result = judge("decorrelated-yet-stochastic", directions(similarity, across))
    assert result.verdict == verdict
    change = f"{100 * (across - 1):+.1f} %"
    assert report.reason(result) == f"similarity across draws {change} [{change}, {change}]"


@pytest.mark.parametrize("cost", [0.1, 0.0, -0.1])
def test_redundancy_costs_accuracy_and_time(cost):
    treated = REGISTERED["redundancy-costs"]["treated"]
    rows = []
    for seed in range(10):
        for arm, lost in (("default", 0), (treated, cost)):
            for epoch in range(6):
                value = (0.5 + 0.06 * epoch + 0.001 * (seed % 3)) * (1 - lost)
                rows.append((*CELL, arm, seed, "", epoch, "accuracy", value))
    found = {r.group: r for r in claims.judge("redundancy-costs", frame(rows))}
    assert list(found) == ["early accuracy", "final accuracy", "epochs to target"]
    expected = {0.1: "reproduced", 0.0: "no practical effect", -0.1: "the opposite"}[cost]
    assert {r.verdict for r in found.values()} == {expected}
    assert found["final accuracy"].estimate == pytest.approx(cost)
    assert found["epochs to target"].margin == 0.05 and found["early accuracy"].margin == 0.01
    assert not found["early accuracy"].reason  # to cost nothing is not to be off


@pytest.mark.parametrize("relation, verdict", [(1.0, "reproduced"), (-1.0, "the opposite")])
def test_what_diversity_foretells_follows_the_table(relation, verdict):
    rng, rows = np.random.default_rng(2), []
    for seed in range(40):
        early_on = rng.normal()
        for epoch in range(6):
            accuracy = 0.5 + 0.01 * (early_on if epoch < 2 else early_on + relation * seed)
            rows.append((*CELL, "default", seed, "1", epoch, "effective_rank", 1 + 0.05 * seed))
            rows.append((*CELL, "default", seed, "", epoch, "accuracy", accuracy))
        for unit in range(8):  # similar units are missed less, or more
            near = rng.uniform()
            for measure, value in (("nearest", near), ("lesion", -relation * near)):
                rows.append((*CELL, "default", seed, f"1.{unit}", 5, measure, value))
    table = frame(rows)
    results = claims.judge("diversity-predicts", table)
    groups = ["rank correlation", "beyond the accuracy reached", "lesion test"]
    assert [(r.group, r.verdict) for r in results] == [(g, verdict) for g in groups]
    assert {r.unit for r in results} == {"ρ"} and results[2].estimate == pytest.approx(relation)
    digits = claims.judge("diversity-predicts", table.assign(data="Digits"))
    assert {r.verdict for r in digits} == {"not tested"}


def test_a_claim_without_an_experiment_is_not_tested():
    result = judge("small-suffices", None)
    assert (result.verdict, result.reason) == ("not tested", "no experiment yet")
    assert "not tested (no experiment yet)" in report.as_markdown([result])


def test_a_differing_verdict_is_found():
    claim = REGISTERED["early-40"] | {"expected": {"MNIST, tiny, SGD": "reproduced, by scale"}}
    same, other = (claims.judge("early-40", early(effect), claim) for effect in (0.45, 0.2))
    assert claims.differences(same) == {}
    key = "early-40", "MNIST, tiny, SGD"
    assert claims.differences(other) == {
        key: ("reproduced, smaller, by scale", "reproduced, by scale")
    }
    line = "reproduced, smaller, by scale, registered in claims.yml: reproduced, by scale"
    assert report.differences(other) == [f"early-40, MNIST, tiny, SGD: {line}"]


def test_what_changed_between_an_earlier_record_and_now_is_listed():
    old = [
        {"claim": "early-40", "setting": "MNIST, tiny, SGD", "verdict": "reproduced in part"},
        {"claim": "gone", "setting": "", "verdict": "undecided"},
        {"claim": "small-suffices", "verdict": "not tested"},
    ]
    new = [judge("early-40", early(0.2)), judge("small-suffices", None)]
    assert report.changes(old, new) == [
        ("early-40", "MNIST, tiny, SGD", "reproduced in part", "reproduced, smaller, by scale"),
        ("gone", "–", "undecided", "–"),
    ]
    assert report.undecided(new) == (0, 0) and report.undecided(new[1:]) == (0, 0)


def test_one_seed_gives_a_table_with_null_and_no_verdict(tmp_path):
    judged = claims.judge("early-40", early(0.4, n=1))
    report.write(judged, tmp_path / "claims.json")
    [entry] = json.loads((tmp_path / "claims.json").read_text("utf8"))
    assert entry["low"] is None and entry["alone"]["He's scale"]["p"] is None
    [found] = report.read(tmp_path / "claims.json")
    assert repr(found) == repr(dataclasses.replace(judged[0], expected=None))  # NaN among it
    assert math.isnan(found.low) and found.verdict == "undecided"
    assert "undecided" in report.as_text([found]) and "undecided" in report.as_markdown([found])


def test_numbers_are_short_and_where_there_is_none_a_dash_stands():
    numbers = (math.nan, 0, 0.0123, 12.3, 2150)
    assert [*map(report.number, numbers)] == ["–", "0", "0.0123", "12.3", "2,150"]


def test_the_registry_has_the_seven_claims_and_the_published_number():
    assert [name for name in REGISTERED if not name.startswith("finding-")] == [
        *("early-40", "decorrelated-yet-stochastic", "redundancy-costs", "diversity-predicts"),
        *("early-help", "escape", "small-suffices"),
    ]
    published = {name: c["published"] for name, c in REGISTERED.items() if "published" in c}
    assert published == {"early-40": 0.4}


class TestReference:
    """The committed results are consistent: verdicts with tables, registry with verdicts, README
    with all."""

    folder = files.ROOT / "results" / files.REFERENCE

    def table(self, name):
        return tables.read(name, files.REFERENCE)

    @property
    def committed(self):
        return report.read(self.folder / "claims.json")

    def test_verdicts_follow_from_the_committed_tables(self, tmp_path):
        found = claims.evaluate(self.table)
        report.write(found, tmp_path / "claims.json")
        ours, theirs = (
            json.loads((folder / "claims.json").read_text("utf8"))
            for folder in (tmp_path, self.folder)
        )
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs):
            numbers = ("estimate", "low", "high", "p")
            texts = [{k: v for k, v in r.items() if isinstance(v, str)} for r in (a, b)]
            assert texts[0] == texts[1]
            for name in numbers:
                assert a.get(name) == pytest.approx(b.get(name), abs=1e-6)
        assert not claims.differences(found)

    def test_the_registered_coefficients_are_what_the_tuning_chooses(self):
        registered = yaml.safe_load(files.COEFFICIENTS.read_text("utf8"))
        assert registered == outcomes.choose_coefficients(self.table("tuning"))

    def test_every_decided_verdict_is_registered(self):
        registered = {
            (name, where): verdict
            for name, claim in REGISTERED.items()
            for where, verdict in (claim.get("expected") or {}).items()
        }
        assert registered == claims.decided(self.committed)

    def test_every_setting_has_the_seeds_of_the_design(self):
        seeds = experiments.PRESETS["paper"].seeds
        early = [
            r for r in self.committed if r.claim == "early-40" and r.setting != claims.TOGETHER
        ]
        assert len(early) == 12
        assert all(r.n == seeds[r.setting.split(", ")[1]] for r in early)

    def test_readme_and_docs_are_generated_from_them(self):
        pages = [(files.ROOT / page).read_text("utf8") for page in report.PAGES]
        for text in pages:
            assert "<!-- begin " in text and report.generated(text, self.folder) == text
        for result in self.committed:  # and would notice
            assert sum(f"| `{result.claim}` |" in text for text in pages) == 1
        [text] = re.findall("<!-- begin claims -->.*<!-- end claims -->", pages[1], re.DOTALL)
        wrong = text.replace("undecided in", "reproduced in")
        assert wrong != text and report.generated(wrong, self.folder) == text
        with pytest.raises(
            ValueError, match="unknown generated part 'x'; choose one of lines, starts"
        ):
            report.generated("<!-- begin x --><!-- end x -->", self.folder)

    def test_the_tables_of_starts_count_by_the_margin_of_the_claims(self):
        of_starts = [
            r for r in self.committed if r.claim in ("finding-tuned-40", "finding-retuned")
        ]
        assert {r.margin for r in of_starts} == {report.INTEREST}

    def test_another_table_gives_other_words(self):
        results, of = self.committed, {}
        for name in {*answer.LINES, *answer.STARTS, *details.LINES}:
            of[name] = self.table(name)
        readme = (files.ROOT / "README.md").read_text("utf8")  # as it is of these
        [lines] = re.findall("<!-- begin lines -->\n(.*)\n<!-- end lines -->", readme, re.DOTALL)
        assert len(lines.splitlines()) == 5 and len(lines.split()) < 380
        assert "Should I use it?** Not as a rule" in lines
        assert "| images, one layer | 82 % to 94 % | PyTorch's default | " in readme

        def said(function, names, *first, **changed):
            return function(*first, *((of | changed)[name] for name in names))

        early, leaders = of["early"], of["leaders"]
        best = early.assign(value=early.value.mask(early.arm == "zero_bias", 0.99))
        words = said(details.lines, details.LINES, results, early=best)
        assert "13 starts (`relayed` is not among them) in 12 of 12" in words
        dead = early.assign(value=early.value.where(early.measure != "accuracy", 0.1))
        row = "| usual | MNIST, tiny, SGD | decorrelated | 100 % | 100 % | 1 |"
        assert row in details.dead(dead, leaders) and row not in details.dead(early, leaders)
        good = leaders.assign(value=leaders.value.mask(leaders.arm == "decorrelated", 0.99))
        words = said(answer.lines, answer.LINES, results, leaders=good)
        assert "Should I use it?** As a rule" in words
        flat = leaders.assign(value=0.5)  # no start is better than another
        assert "**" not in said(answer.starts, answer.STARTS, leaders=flat)

    def test_both_tables_that_judge_the_method_have_its_rates_and_other_seeds(self):
        """Or else they could not be taken together."""
        peers, leaders = self.table("peers"), self.table("leaders")
        pair = ["decorrelated", "default"]
        rates = [
            answer.rates_of(table[table.arm.isin(pair)]).set_index([*names.CELL, "arm"]).rate
            for table in (peers, leaders)
        ]
        pd.testing.assert_series_equal(*(rate.sort_index() for rate in rates))
        of_both = answer.of_both(peers, leaders)
        assert of_both.index.is_unique
        each = [answer.early_accuracy(table)[pair].dropna() for table in (peers, leaders)]
        assert len(of_both) == sum(map(len, each))
        counts = of_both.groupby(level=names.CELL).size()
        assert (counts == sum(part.groupby(level=names.CELL).size() for part in each)).all()

    def test_of_gains_that_scale_does_not_carry_it_is_said_whether_units_are_diverse(self):
        results, of = self.committed, [self.table(name) for name in answer.CLAIMED]
        said = answer.claimed(results, *of)
        assert "in 0 of the other 2 units become less correlated" in said
        alike = of[1].copy()  # all techniques decorrelate
        moved = (alike.measure == "correlation") & (alike.arm != "default")
        alike.loc[moved, "value"] *= 0.5
        said = answer.claimed(results, of[0], alike)
        assert "in 2 of the other 2 units become less correlated" in said

    def test_they_say_where_they_come_from_and_are_small(self):
        facts = json.loads((self.folder / "provenance.json").read_text("utf8"))
        assert facts["preset"] == "paper" and not facts["notice"]
        assert set(facts["data"]) == {*ARCHIVED, SERIES, "Digits"} and len(facts["commit"]) == 40
        assert facts["versions"]["torch"] and facts["machine"]["cores"]
        # or else every notebook would compute the verdicts anew
        assert facts["judged"] == report.judged("reference")
        assert sum(p.stat().st_size for p in self.folder.rglob("*") if p.is_file()) < 41e6


# --------------------------------------------------------------------------------- techniques
def reinforced(effects, n=10):
    """A table in which each technique has a given effect on early accuracy in two settings."""
    arms = {"default": 0.0, "default+log_volume:constant": 0.5}  # another schedule does not count
    arms |= {f"default+{name}:dynamic": effect for name, effect in effects.items()}
    rows = []
    for setting in ("tiny", "narrow"):
        for seed in range(n):
            for arm, effect in arms.items():
                change = effect[setting] if isinstance(effect, dict) else effect
                value = (0.4 + 0.01 * (seed % 4)) * (1 + change) + 0.0005 * (seed % 3)
                network = ("MNIST", setting, "sgd", arm, seed)
                rows += [(*network, "", epoch, "accuracy", value) for epoch in range(6)]
    return frame(rows)


def test_techniques_are_judged_in_every_setting_and_shown_as_one_line_each():
    table = reinforced({"log_volume": {"tiny": 0.1, "narrow": -0.1}, "reinitialize": 0.2})
    both = {"reproduced": 2}
    claim = REGISTERED["early-help"] | {"expected": {"log_volume": both, "reinitialize": both}}
    results = [r for r in claims.judge("early-help", table, claim) if r.setting != claims.TOGETHER]
    tiny, narrow = "MNIST, tiny, SGD", "MNIST, narrow, SGD"
    assert [(r.group, r.setting, r.verdict) for r in results] == [
        ("log_volume", tiny, "reproduced"),
        ("log_volume", narrow, "the opposite"),
        ("reinitialize", tiny, "reproduced"),
        ("reinitialize", narrow, "reproduced"),
    ]
    mixed = {"reproduced": 1, "the opposite": 1}
    assert claims.decided(results) == {
        ("early-help", "log_volume"): mixed,
        ("early-help", "reinitialize"): both,
    }
    first, second = report.rows(results)
    assert first[1] == "log-volume, 2 settings"
    assert first[3] == "median +0.0 %, from -10.0 % to +10.0 %"
    assert first[7] == "reproduced in 1; the opposite in 1" and second[7] == "reproduced in 2"
    # registered otherwise
    assert claims.differences(results) == {("early-help", "log_volume"): (mixed, both)}
    assert report.differences(results)[0].startswith("early-help, log-volume, 2 settings: ")
    fewer = [r for r in results if r.setting == tiny]
    assert not claims.differences(fewer)  # other settings than the registered are not compared
    digits = reinforced({"reinitialize": 0.2}).assign(data="Digits")
    digits = claims.judge("early-help", digits, claim)
    assert report.rows(digits)[0][7] == "not tested (embedded digits)"
    assert not claims.differences(digits)


def test_a_technique_is_carried_by_what_is_left_while_norms_are_held():
    names = "log_volume", "weight_cosine", "reinitialize"
    table = reinforced(dict.fromkeys(names, 0.2))
    twins = reinforced({"log_volume": 0.1, "weight_cosine": 0.0})
    table = pd.concat([table, twins.assign(arm=twins.arm + "|held")])
    results = claims.judge("early-help", table)
    carried = {(r.group, r.carried_by, r.said) for r in results}  # in each setting, and together
    assert carried == {
        ("log_volume", "diversity", "reproduced"),
        ("weight_cosine", "scale", "reproduced, by scale"),
        ("reinitialize", None, "reproduced"),  # it has no twin
    }
    together = [r for r in results if r.setting == claims.TOGETHER]
    assert len(together) == 3 and all(r.p_holm >= r.p for r in together)
    assert report.rows(results)[2][7] == "reproduced, by scale in 2"


def test_a_technique_that_is_off_is_called_off():
    table = reinforced({"log_volume": 0.0})
    same = table[table.arm == "default"].assign(arm="default+log_volume:dynamic")
    table = pd.concat([table[table.arm == "default"], same])
    for r in claims.judge("early-help", table):
        assert (r.estimate, r.low, r.high, r.verdict) == (0, 0, 0, claims.OFF)
        assert r.reason == claims.OFF and not r.fragile


def test_what_is_written_of_techniques_can_be_read_again(tmp_path):
    claim = REGISTERED["early-help"] | {
        "expected": {"log_volume": {"reproduced": 1, "undecided": 1}}
    }
    results = claims.judge("early-help", reinforced({"log_volume": 0.1}), claim)
    report.write(results, tmp_path / "claims.json")
    for entry in json.loads((tmp_path / "claims.json").read_text("utf8"))[:2]:
        assert entry["expected"] == {"reproduced": 1, "undecided": 1}
        assert "reason" not in entry and entry["fragile"] is False
        assert "unit" not in entry and entry["published"] is None
    assert report.rows(report.read(tmp_path / "claims.json")) == report.rows(results)


def test_escape_is_judged_by_time_on_the_plateau():
    arms = {
        "default": 4,
        "default+reinitialize:dynamic": 0,
        "default+log_volume:dynamic": 6,
        "alive": -2,  # no technique
    }
    rows = []
    for arm, shift in arms.items():
        for seed in range(20):
            escape = 3 + seed % 3 + shift
            curve = np.where(np.arange(12) < escape, 0.1, 0.9)
            network = ("MNIST", "narrow", "sgd", arm, seed)
            rows += [(*network, "", epoch, "accuracy", v) for epoch, v in enumerate(curve)]
    table = frame(rows)
    results = claims.judge("escape", table)
    assert [(r.group, r.verdict) for r in results] == [
        ("reinitialize", "reproduced"),
        ("log_volume", "the opposite"),
    ]
    assert results[0].estimate == pytest.approx(4 / 8, abs=0.03)
    assert report.reason(results[0]).startswith("rescued 0 %, stranded 0 %, earlier 100 %, later ")
    headline = "`escape`, 2 techniques × 1 setting: reproduced in 1; the opposite in 1; rescued 0 %"
    assert report.headline(results, "escape") == f"{headline}, stranded 0 %"
    assert report.rows(results)[0][3].endswith("; rescued 0 %, stranded 0 %")
    for everywhere in (0.1, 0.9):  # nobody escapes; all have, from the start
        results = claims.judge("escape", table.assign(value=everywhere))
        assert {r.verdict for r in results} == {"undecided"}


def _counted_by_place(paper):
    """What the assumptions say of seeds that differ by place."""
    leaders, lasting, later = paper.leader_seeds, paper.lasting_seeds, paper.later_seeds
    tried = paper.later_rate_seeds
    assert leaders["tiny"] == leaders["narrow"] == leaders["10×10"]
    assert lasting["narrow"] == lasting["10×10"]
    yield (
        f"{leaders['shallow']} in shallow, {leaders['convolutional']} in convolutional and "
        f"{leaders['narrow']} in the other networks on images and {leaders['MNIST1D']} on MNIST-1D "
        "for those that led"
    )
    yield (
        f"{lasting['shallow']} in shallow, {lasting['tiny']} in tiny and {lasting['narrow']} in "
        f"the other networks on images and {lasting['MNIST1D']} on MNIST-1D for training that goes "
        f"on for {design.LASTING_EPOCHS} epochs, and {later['tiny']} in tiny and "
        f"{later['narrow']} in narrow networks on images and {later['MNIST1D']} on MNIST-1D at the "
        f"rates that are best then, which {tried[0]} others on images and {tried[1]} on MNIST-1D "
        "have chosen"
    )
    first = min(experiments.SEEDS_PER_UNIT, *paper.peer_seeds.values())
    yield f"{first} for the diversity of starts before training"


def _further_rates():
    """And of the cells that have one rate more."""
    found = dict(design.FURTHER)
    low, adam = "with Adam on MNIST in narrow networks", "on Fashion-MNIST in ten layers of 10"
    rate = found.pop(("MNIST", "narrow", "adam"))
    assert rate == found.pop(("FashionMNIST", "10×10", "adam"))
    yield f"{rate:g} {low} and {adam}"
    yield f"{found.pop(('MNIST1D', '10×10', 'sgd')):g} with SGD on MNIST-1D in ten layers of 10"
    assert not found


def test_the_numbers_in_the_assumptions_are_those_of_the_code():
    from dndiv.techniques import TECHNIQUES

    entries = yaml.safe_load(files.ASSUMPTIONS.read_text("utf8"))
    here = {entry["choice"]: entry["here"] for entry in entries}
    paper, rates, every = experiments.PRESETS["paper"], design.LEARNING_RATES, design.PENALTY_EVERY
    for choice, part in (
        (
            "numbers of seeds",
            f"{paper.seeds['shallow']} in the shallow and {paper.seeds['narrow']} in the deep "
            "settings for the initializations that decide claims",
        ),
        ("numbers of seeds", f"{paper.extension_seeds} for those that go beyond"),
        *(
            ("numbers of seeds", f"{seeds['shallow']} and {seeds['narrow']} for {what}")
            for what, seeds in (
                ("techniques", paper.technique_seeds),
                ("their norm-held twins", paper.held_seeds),
                ("redundancy by intervention", paper.intervention_seeds),
            )
        ),
        ("numbers of seeds", f"{paper.escape_seeds} for escape times"),
        *(("numbers of seeds", part) for part in _counted_by_place(paper)),
        *(("learning rates of the starts that compete", part) for part in _further_rates()),
        ("how often a technique acts", f"every {every}th step with {every} times"),
        (
            "how often a technique acts",
            f"orthogonal steps after every {TECHNIQUES['orthogonal_step'].every}th, "
            f"reinitialization after every {TECHNIQUES['reinitialize'].every}th",
        ),
        (
            "when a network has left its plateau",
            f"{100 * design.ESCAPED_IMAGES:.0f} % accuracy on {design.HELD_OUT:,} held-out images, "
            f"looked at every {design.ESCAPE_EVERY} steps, within {design.ESCAPE_EPOCHS} epochs",
        ),
        ("data-aware initializations", f"the first {design.INIT_BATCH:,} training images"),
        (
            "optimizer, learning rate, batch",
            f"SGD at {rates['sgd']} and Adam at {rates['adam']}, "
            f"mini-batches of {design.BATCH['MNIST']}",
        ),
    ):
        assert part in here[choice]
