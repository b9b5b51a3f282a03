"""Pictures of redundant neurons, and of what they cost (01_redundancy)."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from dndiv.paper.figures import Panels, cell_estimates, mark, matrix, seeds_text, square
from dndiv.paper.findings import in_percent, mean_correlation
from dndiv.paper.names import DATA, title


def widths(table: pd.DataFrame) -> plt.Figure:
    """Outcomes against the width of the layers: every network a point, their means a line.
    Columns: data, depth, width, seed, outcome (accuracy, share of dimensions used, …), value in per
    cent. A row per data set, a column per outcome, a colour per depth."""
    panels = Panels(table, ["data"], ["outcome"], 3.6, 3, sharex=True, sharey="col")
    colors = dict(zip(sorted(table.depth.unique()), sns.color_palette("colorblind")))
    for ax, part, (name, outcome) in panels:
        for depth, group in part.groupby("depth"):
            ax.plot(group.width, group.value, "o", ms=3, alpha=0.5, color=colors[depth])
            mean = group.groupby("width").value.mean()
            label = f"{depth} hidden layer{'s' * (depth > 1)}"
            ax.plot(mean.index, mean, color=colors[depth], label=label)
        ax.set_xscale("log")
        ax.set_title(f"{title(name, DATA)}: {outcome}")
        mark(ax.xaxis, sorted(table.width.unique()))
    seeds = table.groupby(["data", "depth", "width"]).seed.nunique()
    note = f"each point a network, lines their means; n = {seeds.min()} to {seeds.max()} seeds"
    return panels.finish("units per hidden layer", "%", title=note)


def portraits(table: pd.DataFrame, name: str) -> plt.Figure:
    """Weight images and correlation matrices of a data set's most diverse and redundant network.
    table: "portraits", with the measures weight and pair of the diverse network, then of the
    redundant one, and accuracy of all."""
    here = table[table["data"] == name]
    weights, pairs, all_networks = (here[here.measure == m] for m in ("weight", "pair", "accuracy"))
    last = pairs[pairs.epoch == pairs.epoch.max()]
    figure = plt.figure(figsize=(11, 6.2))
    networks = zip(dict.fromkeys(weights.seed), ("diverse", "redundant"))
    for part, (seed, label) in zip(figure.subfigures(2, 1), networks):
        grid = square(last[last.seed == seed].value)
        left, right = part.subfigures(1, 2, width_ratios=[2.4, 1])
        which = f"the most {label} of {all_networks.seed.nunique()} networks (seed {seed})"
        heading = f"{title(name, DATA)}, {which}: incoming weights of its {len(grid)} units"
        left.suptitle(heading, fontsize="small")
        images = np.reshape(weights[weights.seed == seed].value, (len(grid), -1))
        for ax, image in zip(left.subplots(2, len(grid) // 2).flat, images):
            top = np.abs(image).max()
            ax.imshow(square(image), cmap="RdBu_r", vmin=-top, vmax=top)
            ax.set_axis_off()
        ax = right.subplots()
        r = mean_correlation(grid)
        ax.set_title(f"correlation of activations\nmean |r| {r:.2f}")
        right.colorbar(matrix(ax, grid), ax=ax, shrink=0.8)
    return figure


def costs(found: pd.DataFrame) -> plt.Figure:
    """What near duplicates cost: a row per cell, a panel per outcome; in the grey, costs that are
    too small to be of interest. found: of one arm, as ``findings.costs`` gives."""
    parts = dict(iter(found.groupby("outcome", sort=False)))
    titled = {f"{name}, {seeds_text(part)}": in_percent(part) for name, part in parts.items()}
    panels = cell_estimates(titled)
    for ax, part in zip(panels.axes[0], parts.values()):
        margin = 100 * part.margin.iloc[0]
        ax.axvspan(-margin, margin, color="grey", alpha=0.2, lw=0)
    return panels.finish("cost: accuracy lost, or more time, %\n(95 % interval)")
