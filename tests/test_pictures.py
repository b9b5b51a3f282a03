"""Pictures as they are seen: as wide as a notebook, with letters that can be read, and lines that
can be told apart."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from dndiv.paper import design, figures, findings, outcomes
from dndiv.paper.figures import peers, sustainability, where
from dndiv.paper.names import CELL

PAGE, LETTERS, LINES = 1008, 8, 6  # pixels of a page and of the smallest letters; lines of a panel


@pytest.fixture(autouse=True)
def looks_as_in_notebooks():
    figures.style()
    yield
    plt.close("all")


def seen(figure) -> list[str]:
    """A figure as it is shown is drawn, and legible; returns all its texts."""
    figure.canvas.draw()
    pixels = plt.rcParams["figure.dpi"]
    assert figure.get_figwidth() * pixels <= PAGE
    texts = [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]
    small = {
        t.get_text(): t.get_fontsize() for t in texts if t.get_fontsize() * pixels / 72 < LETTERS
    }
    assert not small
    for ax in figure.axes:
        assert len(set(ax.get_legend_handles_labels()[1])) <= LINES
        for axis in (ax.xaxis, ax.yaxis):
            _apart(axis, figure.canvas.get_renderer())
    return [t.get_text() for t in texts]


def _apart(axis, renderer):
    """No label of an axis covers another; those on the slant have boxes that are too large."""
    shown = [t for t in axis.get_ticklabels() if t.get_text() and t.get_rotation() == 0]
    low, high = sorted(axis.get_view_interval())
    inside = [t for t in shown if low <= t.get_position()[axis.axis_name == "y"] <= high]
    boxes = [t.get_window_extent(renderer) for t in inside]
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other), [t.get_text() for t in inside]


def deuteranope(color) -> np.ndarray:
    """A colour, RGB, as it is seen without the second kind of cones (Viénot, Brettel &
    Mollon 1999)."""
    matrix = [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]]
    return (np.array(matrix) @ (np.array(to_rgb(color)) ** 2.2)).clip(0) ** (1 / 2.2)


def test_lines_are_told_apart_by_colour_dashes_and_marker():
    found = list(figures.looks(range(LINES)).values())
    for one, other in itertools.combinations(found, 2):
        assert one["marker"] != other["marker"]
        colors = [deuteranope(look["color"]) for look in (one, other)]
        assert np.abs(colors[0] - colors[1]).max() > 0.1 or one["ls"] != other["ls"]
    with pytest.raises(ValueError, match="at most 6 lines, not 7"):
        figures.looks(range(LINES + 1))


# ---------------------------------------------------------------------------- 07_where_it_holds
def places(depths=(1, 2, 3, 5, 8), widths=(4, 8, 16, 32), rates=(0.01, 0.03, 0.1, 0.3, 1)):
    """A made-up map: what a start gives grows with depth, and falls with the rate."""
    rows = []
    for name, depth, width, rate in itertools.product(findings.COMPARISONS, depths, widths, rates):
        log = 0.2 * depth * (-np.log10(rate)) - 0.3
        row = {"data": "MNIST1D", "setting": f"{depth}×{width}", "optimizer": "sgd", "rate": rate}
        row |= {"depth": depth, "width": width, "comparison": name, "log": log, "n": 8}
        row |= {"estimate": np.expm1(log), "low": np.expm1(log - 0.3), "high": np.expm1(log + 0.3)}
        row |= {f"other_{s}": log * k for k, s in enumerate(where.SIGNAL_TITLES)}
        row |= {"unclear": abs(log) < 0.3, "held_out": width == 8, "slice": f"slice {width}"}
        rows.append(row)
    return pd.DataFrame(rows)


def test_a_map_outlines_forty_percent_and_crosses_out_what_is_unclear():
    made = places()
    figure = where.maps(made, "comparison", "rate", "width", "units")
    texts = seen(figure)
    assert "40 % or more" in texts and "decorrelation alone\nhidden layers" in texts
    first = made[(made.comparison == "the relayed start") & (made.rate == 0.01)]
    ax = figure.axes[0]
    assert len(ax.lines[0].get_xdata()) == first.unclear.sum()
    # 0.4 d − 0.3 is 40 % or more from depth 2 on: a rectangle of 4 × 4, 16 sides
    assert len(ax.collections[0].get_segments()) == 16
    assert (
        len(
            where.maps(made[made.rate == 1], "comparison", "rate", "width", "u")
            .axes[0]
            .collections[0]
            .get_segments()
        )
        == 0
    )


@pytest.mark.parametrize("size", [{}, {"depths": (1, 3), "widths": (4, 8)}])
def test_the_pictures_of_the_map_are_legible(size):
    made = places(**size)
    best = made[made.comparison == "the relayed start"]
    seen(where.maps(made, "comparison", "rate", "width", "units"))
    figure = where.by_rate(best)
    assert "the paper: +40 %" in seen(figure)
    assert len(figure.axes) == best.width.nunique()
    seen(where.signals(best))
    figure = where.predictions(best, best.log.to_numpy())
    seen(figure)
    for ax, part in zip(figure.axes, (best[~best.held_out], best[best.held_out])):
        x, y = np.concatenate([line.get_xydata() for line in ax.lines[:-1]]).T
        assert x == pytest.approx(y) and len(x) == len(part)


# ------------------------------------------------------------------------------------- 08_peers
FULL = (("MNIST", "FashionMNIST", "MNIST1D"), design.PEER_SETTINGS)
SMOKE = (("Digits", "MNIST1D"), ("tiny",))


def values_of(names, settings, rates=None, seeds=3):
    """Made-up early accuracies: a row per cell and seed, a column per start and twin."""
    levels = [names, settings, ("sgd", "adam"), *([rates] if rates else []), range(seeds)]
    index = pd.MultiIndex.from_product(levels, names=[*CELL, *(["rate"] if rates else []), "seed"])
    starts = [*design.PEERS, *design.TWINS.values()]
    drawn = np.random.default_rng(0).uniform(0.1, 0.9, (len(index), len(starts)))
    return pd.DataFrame(drawn, index, starts)


@pytest.mark.parametrize("names, settings", [FULL, SMOKE])
def test_the_curves_show_every_seed_and_mark_the_best_rate(names, settings):
    values = values_of(names, settings, design.RATES["sgd"])
    arms = [*design.PEERS[:6]]
    figure = peers.curves(values, arms, "sgd")
    assert "PyTorch's default" in seen(figure)
    assert len(figure.axes) == len(names) * len(settings)
    every, mean, top = figure.axes[0].lines[:3]
    assert len(every.get_xdata()) == 3 * len(mean.get_xdata()) == 18
    assert top.get_ydata()[0] == max(mean.get_ydata())
    for k in range(len(names)):  # one scale per row
        row = figure.axes[k * len(settings) : (k + 1) * len(settings)]
        assert len({ax.get_ylim() for ax in row}) == 1


@pytest.mark.parametrize("names, settings", [FULL, SMOKE])
def test_the_pictures_of_peers_are_legible(names, settings):
    values, starts = values_of(names, settings), [*design.PEERS]
    others = [(start, "default") for start in starts[1:]]
    figure = peers.ranking(findings.by_optimizer(values, others), starts[1:])
    assert {"all settings", "SGD", "Adam", "looks-linear"} <= set(seen(figure))
    texts = seen(peers.probabilities(findings.improvement(values[starts])))
    assert "AnyInit" in texts and sum(text.isdecimal() for text in texts) == 17 * 16
    pairs = [(twin, start) for start, twin in design.TWINS.items()]
    assert "Glorot, Adam" in seen(peers.twins(outcomes.effects(values, pairs)))
    effects = outcomes.effects(values, [("decorrelated", "default")])
    texts = seen(peers.tuned({"usual": effects[:2], "at best": effects}, 0.4))
    assert "the paper: +40 %" in texts
    table = effects[CELL].assign(arm="he", decades=1.0, third=0.5, tenth=np.nan)
    assert "He" in seen(peers.robustness(table, ["he"]))


# ---------------------------------------------------------------------------- 09_sustainability
def sized(names, widths, seeds=3):
    """Made-up networks of both starts, more accurate the wider they are and the longer they
    train."""
    rows = []
    for name, depth, width, arm in itertools.product(names, (1, 3), widths, design.SIZED_ARMS):
        sizes = (findings.INPUTS[name], *[width] * depth, findings.CLASSES)
        for seed, epoch in itertools.product(range(seeds), range(1, 6)):
            row = {"data": name, "depth": depth, "width": width, "arm": arm, "seed": seed}
            row |= {"epoch": epoch, "accuracy": 1 - 1 / (1 + 0.3 * width * epoch) - 0.01 * seed}
            row |= {"parameters": findings.parameters(sizes)}
            row |= {"macs": 3.0 * findings.multiplications(sizes) * epoch * 1000}
            rows.append(row)
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    "names, widths", [(("MNIST", "FashionMNIST"), design.WIDTHS), (("Digits",), (2, 8, 32))]
)
def test_the_pictures_of_costs_are_legible(names, widths):
    networks = sized(names, widths)
    figure = sustainability.pareto(findings.means(networks))
    assert "relayed, 3 hidden layers" in seen(figure)
    assert len(figure.axes) == 2 * len(names)
    targets = [findings.to_target(networks, s).assign(panel=str(s)) for s in findings.TARGETS]
    figure = sustainability.to_target(pd.concat(targets))
    assert "multiply–accumulates" in seen(figure)
    hollow = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "white"]
    assert sum(len(line.get_xdata()) for line in hollow) > 0  # the narrowest never get there
