"""Every way of training in the benchmark learns the same; no time is asserted."""

import re
from dataclasses import replace

import pandas as pd
import pytest
import torch

from dndiv.bench import measure
from dndiv.bench.methods import METHODS, Images, Problem
from dndiv.bench.report import SHOWN, as_markdown, picture
from dndiv.paper import data, design, files, findings

SMALL = Problem(data="Digits", hidden=(4, 4), seeds=(0, 1), arms=2, batch=8, steps=3)
REFERENCE = files.ROOT / "results" / files.REFERENCE / "bench"


def trained(method: str, problem: Problem) -> tuple[torch.Tensor, torch.Tensor]:
    """The parameters of all networks before training, and after two rounds."""
    trainer = METHODS[method][0](problem)
    before, _, after = (torch.cat([p.detach().flatten() for p in next(trainer)]) for _ in range(3))
    return before, after


@pytest.fixture(autouse=True)
def as_many_threads():
    """As before, though what is measured here sets their number."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def plain():
    """By the plain loop, of each optimizer."""
    return {o: trained("plain loop", replace(SMALL, optimizer=o)) for o in ("sgd", "adam")}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_what_the_plain_loop_does(plain, method, optimizer):
    start, expected = plain[optimizer]
    before, after = trained(method, replace(SMALL, optimizer=optimizer))
    assert not torch.equal(start, expected)
    torch.testing.assert_close(before, start)
    torch.testing.assert_close(after, expected, rtol=1e-3, atol=2e-5)


def test_operations_of_a_step_counted_product_by_product():
    p = Problem(data="Digits", hidden=(4, 3), batch=8)
    forward = 64 * 4 + 4 * 3 + 3 * 10
    assert p.operations() == 2 * 8 * (forward + forward + 4 * 3 + 3 * 10)


def test_the_images_of_the_data_loader_are_those_in_memory():
    here = data.load("Digits")
    x, y = Images(here)[5]
    torch.testing.assert_close(x.flatten(), here.x_train[5], rtol=0, atol=1e-5)
    assert y == here.y_train[5]


@pytest.mark.parametrize("processes, threads", [(1, 2), (2, 1)])
def test_a_cost_is_positive_whatever_it_runs_on(processes, threads):
    assert measure.cost(METHODS["population"][0], SMALL, processes, threads, wait=0.1) > 0


def test_looking_at_networks_has_a_cost_and_most_of_it_is_not_diversity():
    problem = replace(SMALL, hidden=(4, 4, 4), optimizer="sgd")
    alone, whole = measure.recording(1, problem)
    assert whole > 0 and alone < whole


def test_every_technique_has_a_cost_relative_to_none(monkeypatch):
    monkeypatch.setattr(measure, "Problem", lambda **given: replace(SMALL, **given))
    found = measure.techniques(repeats=2, steps=2)
    assert found.groupby("technique", sort=False).size().to_dict() == dict.fromkeys(design.GRID, 2)
    assert (found.ratio > 0).all()


def test_the_committed_costs_are_of_every_technique():
    costs = findings.technique_costs()
    assert [*costs.index] == [*design.GRID] and (costs["least"] <= costs["median"]).all()
    assert (costs["median"] <= costs["most"]).all() and (costs["most"] > 0.5).all()


def test_all_methods_are_measured_on_all_networks(monkeypatch):
    asked = []
    monkeypatch.setattr(measure, "cost", lambda method, problem, *on: asked.append(problem) or 1.0)
    monkeypatch.setattr(Problem, "sizes", (784, 16, 10))
    found = measure.measure(repeats=2)
    assert found.groupby(["network", "method"]).repeat.nunique().eq(2).all()
    assert set(found.method) == set(SHOWN) and set(found.network) == set(measure.NETWORKS)
    asked += [problem for _, _, problem in measure.SWEEPS]
    assert all(2 * p.steps * p.batch <= 60_000 for p in asked)  # an epoch, twice as what is timed


@pytest.mark.parametrize("jax, goal", [(80.0, "yes"), (50.0, "no")])
def test_the_table_has_every_method_and_says_which_goals_are_missed(jax, goal):
    rows = [
        (network, optimizer, m, repeat, (jax if m == "JAX" else 40.0) + repeat)
        for network, (_, optimizer) in measure.NETWORKS.items()
        for m in SHOWN
        for repeat in range(3)
    ]
    columns = ["network", "optimizer", "method", "repeat", "microseconds"]
    facts = {"memory_mib": 3000, "recording": (0.01, 0.03)}
    lines = as_markdown(pd.DataFrame(rows, columns=columns), facts).splitlines()
    assert all(sum(line.startswith(f"| {m} |") for line in lines) == 1 for m in SHOWN)
    assert [line for line in lines if "as fast as JAX" in line][0].endswith(f"| {goal} |")
    assert any(line.endswith("| 3,000 MiB, one population | no |") for line in lines)


def test_the_committed_table_follows_from_the_committed_measurements():
    text = (REFERENCE / "table.md").read_text("utf8")
    looks = re.search(r"\| ([\d.]+) %; with the accuracy on 10,000 images ([\d.]+) % \|", text)
    facts = {
        "memory_mib": int(re.search(r"\| ([\d,]+) MiB", text)[1].replace(",", "")),
        "recording": tuple(float(share) / 100 for share in looks.groups()),
    }
    made = as_markdown(pd.read_csv(REFERENCE / "bench.csv"), facts).splitlines()
    committed = text.splitlines()
    assert made[:-1] == committed[:-1]  # the last line says on what machine


def test_the_picture_shows_every_method_and_size():
    found, swept = (pd.read_csv(REFERENCE / f"{name}.csv") for name in ("bench", "sweeps"))
    *bars, networks, _, _, _ = picture(found, swept).axes
    assert (
        len(bars) == len(measure.NETWORKS) and [len(ax.patches) for ax in bars] == [len(SHOWN)] * 3
    )
    assert list(networks.lines[0].get_xdata()) == [1, 4, 16, 64, 256, 1024]
