"""What a run on many cores would wait for."""

import pytest

from dndiv.bench import scale
from dndiv.paper import cache, design, experiments, run
from dndiv.paper.design import Training


@pytest.fixture
def computed(results, monkeypatch):
    """Four units on disk, as all that a preset has; the first is the longest."""
    units = [Training("Digits", "tiny", "sgd", ("default",), (s,), epochs=1) for s in range(4)]
    monkeypatch.setattr(experiments, "EXPERIMENTS", {"small": lambda preset, names: units})
    monkeypatch.setattr(design, "PARTS", {})
    for unit in units:
        unit, rows, facts = run._run(unit, "cpu")
        cache.keep(unit, rows, facts | {"seconds": 0.5 if unit.seeds == (0,) else 0.25})
    return units


def test_a_queue_goes_to_the_core_that_is_first_free():
    assert scale.makespan([3, 1, 1, 1], 2) == 3 and scale.makespan([1, 1, 1, 3], 2) == 4
    assert scale.makespan([3, 1], 1) == 4 and scale.makespan([3, 1], 1000) == 3


def test_a_cluster_that_sleeps_gives_every_unit_back_and_counts_what_is_said(computed, monkeypatch):
    before, kept = [cache.load(unit) for unit in computed], []
    keep = cache.keep
    monkeypatch.setattr(cache, "keep", lambda unit, *more: [kept.append(unit), keep(unit, *more)])
    took = scale.slept(computed, 20, processes=1)
    assert sorted(kept, key=lambda unit: unit.seeds) == computed
    assert all(cache.load(unit).equals(rows) for unit, rows in zip(computed, before))
    assert 0.5 <= took["seconds"] < 60 and 0 < took["scheduler"] < 60 and 0 < took["client"] < 60
    assert took["messages"] >= 2 * len(computed) and took["bytes"] > 1024


def test_what_more_cores_do_not_shorten_is_said_in_order(computed, monkeypatch):
    took = {"seconds": 9.0, "client": 0.008, "scheduler": 0.016, "messages": 20, "bytes": 20480}
    monkeypatch.setattr(scale, "slept", lambda *of: took)
    found = scale.measure("smoke", (2, 100), 2)
    assert found["computed"] == {2: pytest.approx(0.75), 100: 0.5}
    steps = {"08_peers": {"seconds": 70.0}, "tables": {"seconds": 99.0}}
    said = scale.as_markdown(found, {"steps": steps})
    assert "| 2 | 1 s | 9 s |" in said and "| 100 | 0 s | – |" in said
    assert "the longest first: the longest notebook (70.0 s), the" in said
    assert "4 units take 1 s" in said and "On 2 cores or more" in said
    assert (
        "where units take 0.4 s or more in the mean (here 0.3 s)" in said
    )  # 100 cores, 4 ms of the scheduler each
    assert "4.0 ms and the client 2.0 ms, 5.0 messages of 1.0 KiB" in said


def test_units_that_are_missing_are_said_before_anything_is_measured(results):
    with pytest.raises(RuntimeError, match="make reproduce PRESET=smoke"):
        scale.units("smoke")
