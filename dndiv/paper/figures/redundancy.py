"""Pictures of redundant neurons, and of what they cost (01_redundancy)."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from dndiv.paper import figures
from dndiv.paper.figures import drawing, mark, square
from dndiv.paper.findings import in_percent, mean_correlation
from dndiv.paper.names import DATA, title


@drawing
def widths(table: pd.DataFrame) -> plt.Figure:
    """Outcomes against the width of the layers: every network a point, their means lines with 95 %
    intervals. A row per data set, a column per outcome, a line per depth.
    Columns: data, depth, width, seed, outcome (accuracy, share of dimensions used, …), value in per
    cent."""
    panels = figures.Panels(table, ["data"], ["outcome"], 2.4, across=2)
    looks = figures.looks(sorted(table.depth.unique()))
    for ax, part, (name, outcome) in panels:
        for depth, group in part.groupby("depth"):
            look = looks[depth]
            ax.plot(group.width, group.value, **look | {"ls": "", "ms": 2.5, "alpha": 0.5})
            label = f"{depth} hidden layer{'s' * (depth > 1)}"
            figures.mean_line(ax, group, "width", look | {"ms": 4, "label": label},
                              within=(0, 100))  # fmt: skip
        ax.set_xscale("log")
        ax.set_ylim(-4, 104)
        ax.set_title(f"{title(name, DATA)}: {outcome}")
        mark(ax.xaxis, sorted(table.width.unique()))
    seeds = table.groupby(["data", "depth", "width"]).seed.nunique()
    note = "small markers: networks; lines: their means, with 95 % intervals"
    return panels.finish("units per hidden layer", "%", f"{note}; {figures.span(seeds)}")


@drawing
def portraits(table: pd.DataFrame, name: str) -> plt.Figure:
    """Weight images and correlation matrices of a data set's most diverse and redundant network.
    table: "portraits", with the measures weight and pair of the diverse network, then of the
    redundant one, and accuracy of all."""
    here = table[table["data"] == name]
    weights, pairs, all_networks = (here[here.measure == m] for m in ("weight", "pair", "accuracy"))
    last = pairs[pairs.epoch == pairs.epoch.max()]
    networks = dict(zip(dict.fromkeys(weights.seed), ("diverse", "redundant")))
    if figures.narrow():
        ratios = {"height_ratios": [1, 0.85] * 2, "figsize": (figures.NARROW, 13.5)}
        figure, axes = plt.subplots(4, 1, **ratios)
    else:
        ratios = {"width_ratios": [2.3, 1], "figsize": (figures.WIDTH, 5.6)}
        figure, axes = plt.subplots(2, 2, **ratios)
    for (left, right), (seed, label) in zip(axes.reshape(2, 2), networks.items()):
        grid = square(last[last.seed == seed].value)
        images = np.reshape(weights[weights.seed == seed].value, (len(grid), -1))
        left.imshow(_mosaic(images), cmap=figures.DIVERGING, vmin=-1, vmax=1)
        left.set_axis_off()
        which = f"{title(name, DATA)}: the most {label} of {all_networks.seed.nunique()} networks"
        left.set_title(f"{which} (seed {seed})\nincoming weights of its {len(grid)} units")
        image = figures.matrix(right, grid)
        r = mean_correlation(grid)
        right.set_title(f"correlation of activations, mean |r| {r:.2f}")
    note = "correlation, or weight as a share of the unit's largest"
    figures.colorbar(figure, image, note, axes.flat)
    return figure


def _mosaic(images: np.ndarray) -> np.ndarray:
    """Images, a row each, beside each other in two lines, or on a telephone in four: each as a
    share of its largest value, with gaps between them."""
    tiles = [np.pad(square(i / np.abs(i).max()), 1, constant_values=np.nan) for i in images]
    lines = max(len(tiles) // 4, 1) if figures.narrow() else 2
    return np.concatenate([np.concatenate(line, 1) for line in np.array_split(tiles, lines)])


@drawing
def costs(found: pd.DataFrame) -> plt.Figure:
    """What near duplicates cost: a row per cell, a panel per outcome; in the grey, costs that are
    too small to be of interest. found: of one arm, as ``findings.costs`` gives."""
    parts = dict(iter(found.groupby("outcome", sort=False)))
    titled = {f"{n}, {figures.seeds_text(part)}": in_percent(part) for n, part in parts.items()}
    panels = figures.cell_estimates(titled)
    figures.shade(panels, [100 * part.margin.iloc[0] for part in parts.values()])
    return panels.finish("cost, %", above="accuracy lost, or more time; bars: 95 % intervals")
