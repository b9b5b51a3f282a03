"""Every way of training in the benchmark learns the same; no time is asserted."""

import pandas as pd
import pytest
import torch

from dndiv import bench, table
from dndiv.bench import NETWORKS
from dndiv.methods import METHODS, Problem

SMALL = Problem(data="Digits", hidden=(4, 4), seeds=(0, 1), arms=2, batch=8, steps=3)


def trained(method, problem):
    trainer = METHODS[method](problem)
    before, *_, after = [next(trainer).clone() for _ in range(3)]
    return before, after


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("method", [m for m in METHODS if m != "plain loop"])
def test_every_method_learns_what_the_plain_loop_does(method, optimizer):
    problem = Problem(**vars(SMALL) | {"optimizer": optimizer})
    start, expected = trained("plain loop", problem)
    before, after = trained(method, problem)
    assert not torch.equal(start, expected)
    torch.testing.assert_close(before, start[:len(before)])
    torch.testing.assert_close(after, expected[:len(after)], rtol=1e-3, atol=2e-5)


def test_operations_of_a_step_counted_product_by_product():
    p = Problem(data="Digits", hidden=(4, 3), batch=8)
    forward = 64 * 4 + 4 * 3 + 3 * 10
    assert p.operations() == 2 * 8 * (forward + forward + 4 * 3 + 3 * 10)


@pytest.mark.parametrize("jax, goal", [(80.0, "yes"), (50.0, "no"), (None, "not measured")])
def test_the_table_has_every_method_and_says_which_goals_are_missed(jax, goal):
    rows = [(n, o, m, r, (jax if m == "JAX" else 40.0) + r) for n, (_, o) in NETWORKS.items()
            for m in (*METHODS, "floor") for r in range(3) if m != "JAX" or jax]
    found = pd.DataFrame(rows, columns=["network", "optimizer", "method", "repeat", "microseconds"])
    text = bench.as_markdown(found, {"memory_mib": 3000, "recording": (0.01, 0.03)})
    assert all(f"| {m} |" in text for m in (*METHODS, "floor"))
    assert [line for line in text.splitlines() if "as fast as JAX" in line][0].endswith(f"| {goal} |")
    assert "3,000 MiB, one population | no |" in text and ("not installed" in text) == (jax is None)


def test_the_committed_table_follows_from_the_committed_measurements():
    folder = table.RESULTS / "reference" / "bench"
    found = bench.as_markdown(pd.read_csv(folder / "bench.csv"), {"memory_mib": 1, "recording": (0.01, 0.03)})
    committed = (folder / "table.md").read_text("utf8").splitlines()
    rows = [line for line in found.splitlines() if line.split("|")[1:2] and line.split("|")[1].strip() in (*METHODS, bench.LOOPS, "floor")]
    assert len(rows) == len(METHODS) + 2 and set(rows) <= set(committed)
