"""Whether a run agrees with the reference, whether the reference is stale, and how a run tells how
far it is."""

import json
import shutil

import pandas as pd
import pytest

from dndiv.paper import (
    agreement,
    claims,
    commands,
    data,
    design,
    experiments,
    files,
    report,
    run,
    tables,
)
from dndiv.paper.files import REFERENCE

SMALL = ("baselines", "escape")


@pytest.fixture
def both(tmp_path, monkeypatch):
    """A run of the paper preset and a reference, which are the same to begin with."""
    there = files.results(REFERENCE)
    first = {name: tables.read(name, REFERENCE)[:300] for name in SMALL}
    folders = {"paper": tmp_path / "paper", REFERENCE: tmp_path / REFERENCE}
    for folder in folders.values():
        (folder / "tables").mkdir(parents=True)
        for name in ("claims.json", "provenance.json"):
            shutil.copy(there / name, folder)
    monkeypatch.setattr(files, "results", folders.__getitem__)
    for preset in folders:
        for name, table in first.items():
            tables.write(table, name, preset)
    return folders


def test_a_run_that_is_the_same_agrees(both):
    said = agreement.agreement("paper")
    entries = json.loads((both["paper"] / "claims.json").read_text("utf8"))
    count = sum(entry["verdict"] != "not tested" for entry in entries)
    numbers = f"2 of 2 tables within 1e-9, {count} of {count} verdicts"
    assert said == f"Your run agrees with the reference: {numbers}."


@pytest.mark.parametrize("by, agrees", [(1e-11, True), (1e-6, False)])
def test_values_may_differ_by_as_much_as_processors_do(both, by, agrees):
    table = tables.read("escape", "paper")
    tables.write(table.assign(value=table.value + by), "escape", "paper")
    said = agreement.agreement("paper")
    assert ("2 of 2 tables" in said) == agrees
    assert ("escape: values differ by up to 1e-06" in said) != agrees


def test_what_differs_is_named_and_what_was_made_otherwise(both):
    tables.write(tables.read("escape", "paper")[1:], "escape", "paper")
    (both["paper"] / "tables" / "baselines.parquet").unlink()
    claims = json.loads((both["paper"] / "claims.json").read_text("utf8"))
    claims[0]["verdict"] = "the opposite"
    (both["paper"] / "claims.json").write_text(json.dumps(claims))
    facts = json.loads((both["paper"] / "provenance.json").read_text("utf8"))
    facts["versions"]["torch"] = "1.0"
    (both["paper"] / "provenance.json").write_text(json.dumps(facts))
    said = agreement.agreement("paper")
    assert said.startswith("Compared with the reference: 0 of 2 tables")
    assert "escape: other rows" in said and "baselines: other rows" in said
    assert "early-40, MNIST, shallow, SGD: the opposite, there no practical effect" in said
    assert "made otherwise: torch 1.0, there" in said and "numpy" not in said


def test_a_number_and_none_are_infinitely_far_apart():
    one = pd.Series([1.0, float("nan"), 2000.0])
    assert agreement.distance(one, one) == 0
    assert agreement.distance(one, pd.Series([1.0, 1.0, 2000.0])) == float("inf")
    assert agreement.distance(one, one + pd.Series([0.5, 0, 0])) == pytest.approx(0.5 / 1.5)
    assert agreement.distance(one[2:], one[2:] * 1.1) == pytest.approx(0.1 / 1.1)


def test_the_reference_is_stale_where_a_unit_would_be_computed_otherwise(both, monkeypatch):
    monkeypatch.setattr(data, "fetch", lambda name: pytest.fail("asks for the archives"))
    file = both[REFERENCE] / "provenance.json"
    facts = json.loads(file.read_text("utf8"))
    assert f"is current: its {len(experiments.EXPERIMENTS)} experiments" in agreement.standing()
    monkeypatch.setattr(design, "ESCAPE_EPOCHS", design.ESCAPE_EPOCHS + 1)
    assert "is stale: escape would be" in agreement.standing()
    facts["data"]["MNIST"] = "0" * 64
    file.write_text(json.dumps(facts))
    said = agreement.standing()
    assert "early" in said and "directions" not in said  # which draws weights alone
    for entry in facts["experiments"].values():
        del entry["keys"]
    file.write_text(json.dumps(facts))
    assert "not known" in agreement.standing()


def test_verdicts_of_the_reference_are_read_while_they_follow_from_it(both, monkeypatch):
    computed = []
    monkeypatch.setattr(claims, "evaluate", lambda read, which: computed.append(which) or [])
    assert report.verdicts(REFERENCE, "auto", "escape") == [] and len(computed) == 1  # who knows?
    kept = report.read(both[REFERENCE] / "claims.json")
    report.keep(kept, REFERENCE)
    steps = json.loads((both[REFERENCE] / "provenance.json").read_text("utf8"))["steps"]
    assert "" not in steps
    found = report.verdicts(REFERENCE, "auto", "escape", "early-40")
    assert [r.claim for r in found] == sorted((r.claim for r in found), reverse=True)
    assert found and {*found_names(found)} == {"escape", "early-40"} and len(computed) == 1
    assert found_names(report.verdicts(REFERENCE)) == found_names(kept)
    for change in ("tables", "claims", "rules"):
        with monkeypatch.context() as patched:
            if change == "tables":
                changed = tables.read("escape", REFERENCE)[1:]
                tables.write(changed, "escape", REFERENCE)
            elif change == "claims":
                registered = claims.load()
                registered["escape"]["margin"] *= 2
                patched.setattr(claims, "load", lambda: registered)
            else:
                patched.setattr(report.code, "digest", lambda *_, **__: "others")
            before = len(computed)
            assert report.verdicts(REFERENCE, "auto", "escape") == []
            assert len(computed) == before + 1
        report.keep(kept, REFERENCE)


def found_names(results):
    return [r.claim for r in results]


def test_check_says_it(both, monkeypatch, capsys):
    results = report.read(both["paper"] / "claims.json")
    monkeypatch.setattr(claims, "evaluate", lambda read: results)
    assert commands.main(["check", "--preset", REFERENCE]) == 0
    assert "The reference is current" in capsys.readouterr().out
    assert commands.main(["check", "--preset", "paper"]) == 0
    assert "Your run agrees with the reference" in capsys.readouterr().out


# ---------------------------------------------------------------------------- progress and time
def progress(monkeypatch, capsys, total, seconds_each):
    now = [0.0]
    monkeypatch.setattr(run.time, "perf_counter", lambda: now[0])

    def results():
        for k in range(total):
            now[0] += seconds_each
            yield k

    assert list(run._progress(results(), total, "x")) == list(range(total))
    return capsys.readouterr().err.splitlines()


def test_a_log_has_a_line_per_tenth_or_minute(monkeypatch, capsys):
    lines = progress(monkeypatch, capsys, 200, 1)
    assert len(lines) == 10 and lines[0] == "x: 20 of 200 units, 20 s, 3 min to go"
    assert lines[-1] == "x: 200 of 200 units, 3 min, 0 s to go"
    lines = progress(monkeypatch, capsys, 100, 25)  # 41 minutes: a tenth takes four
    assert len(lines) == 40 and lines[0] == "x: 3 of 100 units, 75 s, 40 min to go"
    assert len(progress(monkeypatch, capsys, 3, 1)) == 3


def test_time_on_the_clock_counts_what_ran_side_by_side_once_and_no_pause():
    facts = {"experiments": {"a": {}, "b": {"spans": [(5, 9), (0, 4)]}}}
    assert report._together(facts)["clock_seconds"] == 8
    facts["experiments"]["a"]["spans"] = [(1, 2), (3, 6), (100, 101)]
    assert report._together(facts)["clock_seconds"] == 9 + 1


def test_a_run_knows_its_arithmetic():
    facts = run.arithmetic(3)
    assert facts["processes"] == 3 and facts["threads_per_unit"] == 1
    assert facts["cpu_capability"] and facts["blas"]
