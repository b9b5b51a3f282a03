"""Verdicts follow from the tables, and what is published follows from the verdicts."""

import json

import pandas as pd
import pytest
import yaml

from dndiv import claims, readme, stats, table

REGISTERED = claims.load()


def early(effect, control=0.0, name="MNIST", n=10):
    """A table of one setting in which the decorrelated arm has a given effect, alike for all seeds but for noise."""
    rows = []
    for seed in range(n):
        base = 0.5 + 0.01 * (seed % 3)
        for arm, value in (("default", base), ("equal_norms", base * (1 + effect) / (1 + control)),
                           ("default_decorrelated", base * (1 - control)),
                           ("decorrelated", base * (1 + effect) + 0.001 * (seed % 2))):
            rows += [(name, "tiny", "sgd", arm, seed, "", epoch, "accuracy", value) for epoch in range(6)]
    return pd.DataFrame(rows, columns=table.COLUMNS)


def directions(similarity=0.0, across=1.0):
    rows = []
    for seed in range(30):
        noise = 0.01 * (seed % 5)
        for arm, within, between in (("default", 0.4 + noise, 0.3 + noise),
                                     ("default_decorrelated", (0.4 + noise) * similarity, (0.3 + noise) * across)):
            rows += [("none", "tiny", "none", arm, seed, "1", 0, "similarity", within),
                     ("none", "tiny", "none", arm, seed, "1", 0, "across", between)]
    return pd.DataFrame(rows, columns=table.COLUMNS)


def judge(claim, frame):
    [result] = claims.evaluate(lambda name: frame, {claim: REGISTERED[claim]})
    return result


@pytest.mark.parametrize("effect, verdict", [(0.45, "reproduced"), (0.2, "reproduced in part"),
                                             (-0.1, "not reproduced")])
def test_the_verdict_on_the_40_percent_follows_the_table(effect, verdict):
    result = judge("early-40", early(effect, control=0.05))
    assert result["verdict"] == verdict and result["n"] == 10
    assert result["estimate"] == pytest.approx(effect, abs=0.01)
    assert result["alone"]["He's scale"]["estimate"] == pytest.approx(0.05, abs=0.01)
    assert result["alone"]["default scale"]["estimate"] == pytest.approx(-0.05, abs=0.01)


def test_digits_decide_nothing_about_mnist():
    result = judge("early-40", early(0.45, name="Digits"))
    assert (result["verdict"], result["reason"]) == ("not tested", "embedded digits")


@pytest.mark.parametrize("similarity, across, verdict", [
    (0.0, 1.0, "reproduced"), (1.2, 1.0, "not reproduced"),
    (0.0, 2.0, "not reproduced"),  # draws that are all alike are not stochastic
])
def test_decorrelated_yet_stochastic_needs_both(similarity, across, verdict):
    assert judge("decorrelated-yet-stochastic", directions(similarity, across))["verdict"] == verdict


@pytest.mark.parametrize("relation, verdict", [(1.0, "reproduced"), (-1.0, "not reproduced")])
@pytest.mark.parametrize("claim", ["redundancy-costs", "diversity-predicts"])
def test_claims_of_diversity_follow_the_table(claim, relation, verdict):
    rows = []
    for seed in range(12):
        noise = 0.001 * (seed % 3)
        for epoch in range(6):
            rows += [("MNIST", "tiny", "sgd", "default", seed, "1", epoch, "effective_rank", 1 + 0.2 * seed),
                     ("MNIST", "tiny", "sgd", "default", seed, "", epoch, "accuracy", 0.5 + relation * 0.02 * seed + noise)]
    frame = pd.DataFrame(rows, columns=table.COLUMNS)
    result = judge(claim, frame)
    assert (result["verdict"], result["setting"]) == (verdict, "MNIST, tiny, SGD")
    assert ("ρ = " in claims.as_text([result])) == (claim == "diversity-predicts")
    assert judge(claim, frame.assign(data="Digits"))["verdict"] == "not tested"


def test_a_claim_without_an_experiment_is_not_tested():
    result = judge("small-suffices", None)
    assert (result["verdict"], result["reason"]) == ("not tested", "no experiment yet")


def test_a_differing_verdict_is_found():
    claim = REGISTERED["early-40"] | {"expected": {"MNIST, tiny, SGD": "reproduced"}}
    same, other = (claims.evaluate(lambda name: early(effect), {"early-40": claim}) for effect in (0.45, 0.2))
    assert claims.differences(same) == []
    assert [r["verdict"] for r in claims.differences(other)] == ["reproduced in part"]


def test_one_seed_gives_a_table_with_null_and_no_verdict(tmp_path):
    results = claims.evaluate(lambda name: early(0.4, n=1), {"early-40": REGISTERED["early-40"]})
    claims.write(results, tmp_path / "claims.json")
    [found] = json.loads((tmp_path / "claims.json").read_text("utf8"))
    assert found["low"] is None and found["verdict"] == "undecided"
    assert "undecided" in claims.as_text([found]) and "undecided" in claims.as_markdown([found])


@pytest.mark.parametrize("text, message", [
    ("x: {sentence: y, tabel: early}", r"claim 'x' has unknown keys \['tabel'\]"),
    ("x: {table: early, rule: early_accuracy}", "claim 'x' has no sentence"),
    ("x: {sentence: y, table: early, rule: guess}", "rule 'guess'; valid: early_accuracy, directions, thirds, prediction"),
])
def test_a_malformed_registry_is_refused(tmp_path, text, message):
    (tmp_path / "claims.yml").write_text(text)
    with pytest.raises(ValueError, match=message):
        claims.load(tmp_path / "claims.yml")


def test_the_registry_has_the_seven_claims_and_the_published_number():
    assert list(REGISTERED) == ["early-40", "decorrelated-yet-stochastic", "redundancy-costs", "diversity-predicts",
                                "early-help", "escape", "small-suffices"]
    assert {name: c["published"] for name, c in REGISTERED.items() if "published" in c} == {"early-40": 0.4}


class TestReference:
    """The committed results are consistent: verdicts with tables, registry with verdicts, README with all."""

    folder = table.ROOT / "results" / "reference"

    @property
    def committed(self):
        return json.loads((self.folder / "claims.json").read_text("utf8"))

    def test_verdicts_follow_from_the_committed_tables(self):
        found = claims.evaluate(lambda name: table.read(name, "reference"))
        assert len(found) == len(self.committed)
        for ours, theirs in zip(found, self.committed):
            assert ours["verdict"] == theirs["verdict"], ours
            for number in ("estimate", "low", "high", "p"):
                assert ours.get(number) == pytest.approx(theirs.get(number), abs=1e-6)

    def test_the_registered_coefficients_are_what_the_tuning_chooses(self):
        registered = yaml.safe_load(table.COEFFICIENTS.read_text("utf8"))
        assert registered == stats.choose_coefficients(table.read("tuning", "reference"))

    def test_every_decided_verdict_is_registered(self):
        decided = {(r["claim"], r.get("group", r["setting"])): r["verdict"] for r in claims.collapsed(self.committed)
                   if r["verdict"] != "not tested"}
        registered = {(name, setting): verdict for name, c in REGISTERED.items()
                      for setting, verdict in (c.get("expected") or {}).items()}
        assert registered == decided

    def test_every_setting_has_at_least_30_seeds(self):
        early = [r for r in self.committed if r["claim"] == "early-40"]
        assert len(early) == 12 and all(r["n"] >= 30 for r in early)

    def test_readme_is_generated_from_them(self):
        text = (table.ROOT / "README.md").read_text("utf8")
        assert readme.generated(text, self.folder) == text
        for result in self.committed:  # and would notice
            assert f"| {result['claim']} |" in text
        assert readme.generated(text.replace("| not reproduced |", "| reproduced |"), self.folder) == text

    def test_they_say_where_they_come_from_and_are_small(self):
        facts = json.loads((self.folder / "provenance.json").read_text("utf8"))
        assert facts["preset"] == "paper" and not facts["notice"] and set(facts["data"]) == set(table.ARCHIVED)
        assert len(facts["commit"]) == 40 and facts["versions"]["torch"] and facts["machine"]["cores"]
        assert sum(p.stat().st_size for p in self.folder.rglob("*") if p.is_file()) < 15e6


# ------------------------------------------------------------------------------------------------ techniques
def reinforced(effects, name="MNIST", n=10):
    """A table in which each technique has a given effect on early accuracy in two settings."""
    rows = []
    for setting in ("tiny", "narrow"):
        for seed in range(n):
            base = 0.4 + 0.01 * (seed % 4)
            for arm, effect in ({"default": 0.0, "default+log_volume:constant": 0.5}  # another schedule does not count
                                | {f"default+{t}:dynamic": e for t, e in effects.items()}).items():
                value = base * (1 + (effect[setting] if isinstance(effect, dict) else effect)) + 0.0005 * (seed % 3)
                rows += [(name, setting, "sgd", arm, seed, "", epoch, "accuracy", value) for epoch in range(6)]
    return pd.DataFrame(rows, columns=table.COLUMNS)


def test_techniques_are_judged_in_every_setting_and_shown_as_one_line_each():
    frame = reinforced({"log_volume": {"tiny": 0.1, "narrow": -0.1}, "reinitialize": 0.2})
    registered = REGISTERED["early-help"] | {"expected": {"log_volume": "reproduced in 2", "reinitialize": "reproduced in 2"}}
    results = claims.evaluate(lambda name: frame, {"early-help": registered})
    assert [(r["group"], r["setting"], r["verdict"]) for r in results] == [
        ("log_volume", "MNIST, tiny, SGD", "reproduced"), ("log_volume", "MNIST, narrow, SGD", "not reproduced"),
        ("reinitialize", "MNIST, tiny, SGD", "reproduced"), ("reinitialize", "MNIST, narrow, SGD", "reproduced")]
    lines = claims.rows(results)
    assert len(lines) == 2 and lines[0][1] == "log volume, 2 settings" and "from -10" in lines[0][3]
    assert lines[0][7] == "reproduced in 1, not reproduced in 1" and lines[1][7] == "reproduced in 2"
    assert [d["group"] for d in claims.differences(results)] == ["log_volume"]  # registered otherwise
    fewer = [r for r in results if r["setting"] == "MNIST, tiny, SGD"]
    assert not claims.differences(fewer)  # other settings than the registered ones are not compared
    digits = claims.evaluate(lambda name: reinforced({"reinitialize": 0.2}, "Digits"), {"early-help": registered})
    assert claims.rows(digits)[0][7] == "not tested (embedded digits)" and not claims.differences(digits)


def test_escape_is_judged_by_time_on_the_plateau():
    def curve(start):
        return [0.1] * start + [0.9] * (12 - start)

    rows = [("MNIST", "narrow", "sgd", arm, seed, "", epoch, "accuracy", value)
            for arm, shift in (("default", 4), ("default+reinitialize:dynamic", 0), ("default+log_volume:dynamic", 6), ("alive", -2))
            for seed in range(20) for epoch, value in enumerate(curve(3 + seed % 3 + shift))]
    frame = pd.DataFrame(rows, columns=table.COLUMNS)
    results = claims.evaluate(lambda name: frame, {"escape": REGISTERED["escape"]})
    assert [(r["group"], r["verdict"]) for r in results] == [("reinitialize", "reproduced"), ("log_volume", "not reproduced")]
    assert results[0]["estimate"] == pytest.approx(4 / 8, abs=0.03) and "100 % of seeds earlier" in results[0]["reason"]
    assert claims.headline(results, "escape") == "`escape`, 2 techniques × 1 setting: reproduced in 1, not reproduced in 1"
    frame.value = 0.1  # nobody escapes: nothing can be said
    assert {r["verdict"] for r in claims.evaluate(lambda name: frame, {"escape": REGISTERED["escape"]})} == {"undecided"}
    frame.value = 0.9  # all have, from the start
    assert {r["verdict"] for r in claims.evaluate(lambda name: frame, {"escape": REGISTERED["escape"]})} == {"undecided"}


def test_the_numbers_in_the_assumptions_are_those_of_the_code():
    from dndiv import experiment, reinforce, reinforced, study

    here = {entry["choice"]: entry["here"] for entry in yaml.safe_load((table.ROOT / "assumptions.yml").read_text("utf8"))}
    paper, optimizers = experiment.PRESETS["paper"], study.OPTIMIZERS
    assert here["numbers of seeds"].startswith(f"{paper.seeds} for the initializations that decide claims")
    for part in (f"{paper.extension_seeds} for those that go beyond", f"{paper.reinforced_seeds} for techniques", f"{paper.escape_seeds} for escape times"):
        assert part in here["numbers of seeds"]
    every = reinforced.PENALTY_EVERY
    assert f"every {every}th step with {every} times" in here["how often a technique acts"]
    for name, text in (("orthogonal_step", "orthogonal steps"), ("reinitialize", "reinitialization")):
        assert f"{text} after every {reinforce.STEPS[name]}th" in here["how often a technique acts"]
    assert f"{study.HELD_OUT:,} held-out images, looked at every {reinforced.ESCAPE_EVERY} steps, within {experiment.ESCAPE_EPOCHS} epochs" \
        in here["when a network has left its plateau"]
    assert f"the first {study.INIT_BATCH:,} training images" in here["data-aware initializations"]
    assert here["optimizer, learning rate, batch"] == \
        f"SGD at {optimizers['sgd'].lr} and Adam at {optimizers['adam'].lr}, mini-batches of {study.BATCH['MNIST']}"
