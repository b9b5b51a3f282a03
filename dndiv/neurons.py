"""Pictures of neurons in training: how redundant they are, how their diversity moves, what it predicts.

As in ``figures``, each is a function of tables alone.
"""

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from dndiv import figures
from dndiv.table import CELL, TITLES

MEASURES = {"effective_rank": "effective rank / width", "correlation": "−|correlation| of activations",
            "similarity": "−|cosine| of weights", "log_volume": "log-volume of weights", "dead": "−dead units"}


def widths(table: pd.DataFrame) -> Figure:
    """Accuracy, share of dimensions used, near-duplicates and dead units against width, every seed a point.

    table: of the experiment "redundancy" at its last epoch, with columns data, depth, width, seed, outcome, value.
    """
    outcomes = list(dict.fromkeys(table.outcome))
    sets = list(dict.fromkeys(table["data"]))
    figure, axes = plt.subplots(len(sets), len(outcomes), figsize=(3.6 * len(outcomes), 3 * len(sets)), sharex=True,
                                sharey="col", squeeze=False)
    colors = dict(zip(sorted(table.depth.unique()), sns.color_palette("colorblind")))
    for line, name in zip(axes, sets):
        for ax, outcome in zip(line, outcomes):
            for depth, color in colors.items():
                part = table[(table["data"] == name) & (table.outcome == outcome) & (table.depth == depth)]
                ax.plot(part.width, part.value, "o", ms=3, alpha=0.5, color=color)
                mean = part.groupby("width").value.mean()
                ax.plot(mean.index, mean, color=color, label=f"{depth} hidden layer{'s' if depth > 1 else ''}")
            ax.set(xscale="log", title=f"{TITLES[name]}: {outcome}")
            ax.title.set_fontsize("small")
            ax.xaxis.set_major_locator(FixedLocator(sorted(table.width.unique())))
            ax.xaxis.set_minor_locator(NullLocator())
            ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    for ax in axes[-1]:
        ax.set_xlabel("units per hidden layer")
    for ax in axes[:, 0]:
        ax.set_ylabel("%")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False,
                  title=f"each point a network, lines their means; up to n = {table.seed.nunique()} seeds")
    return figure


def mean_correlation(pairs: np.ndarray) -> float:
    """Mean |correlation| off the diagonal of a matrix (or its values row by row), without units that are constant.

    Their rows are zero, the diagonal included; the measure leaves them out, and so does its picture.
    """
    units = math.isqrt(pairs.size)
    grid = pairs.reshape(units, units)
    varied = np.diag(grid) > 0
    return np.abs(grid[np.outer(varied, varied) & ~np.eye(units, dtype=bool)]).mean()


def portraits(table: pd.DataFrame, name: str) -> Figure:
    """The weight images and the correlation matrix of the least and of the most correlated network of a data set."""
    here = table[table["data"] == name]
    weights = here[here.measure == "weight"]
    figure = plt.figure(figsize=(11, 6.2))
    rows = figure.subfigures(2, 1)
    for part, seed, label in zip(rows, dict.fromkeys(weights.seed), ("diverse", "redundant")):
        images = weights[weights.seed == seed].value.to_numpy()
        pairs = here[(here.measure == "pair") & (here.seed == seed) & (here.epoch == here.epoch.max())].value.to_numpy()
        units = math.isqrt(len(pairs))
        side = math.isqrt(len(images) // units)
        left, right = part.subfigures(1, 2, width_ratios=[2.4, 1])
        off = mean_correlation(pairs)
        left.suptitle(f"{TITLES[name]}, the most {label} of {here[here.measure == 'accuracy'].seed.nunique()}"
                      f" networks (seed {seed}): incoming weights of its {units} units", fontsize="small")
        for ax, image in zip(left.subplots(2, units // 2).flat, images.reshape(units, side, side)):
            top = np.abs(image).max()
            ax.imshow(image, cmap="RdBu_r", vmin=-top, vmax=top)
            ax.set_axis_off()
        ax = right.subplots()
        shown = ax.imshow(pairs.reshape(units, units), cmap="RdBu_r", vmin=-1, vmax=1)
        ax.grid(False)
        ax.set(xticks=[], yticks=[])
        ax.set_title(f"correlation of activations\nmean |r| {off:.2f}", fontsize="small")
        right.colorbar(shown, ax=ax, shrink=0.8)
    return figure


def correlation_in_time(table: pd.DataFrame, steps_per_epoch: dict[str, int]) -> Figure:
    """The correlation matrix of one network's hidden units in the course of training, a row per data set."""
    sets = list(dict.fromkeys(table["data"]))
    pairs = table[(table.measure == "pair") & (table.seed == table.seed.min())]
    columns = max(pairs[pairs["data"] == name].epoch.nunique() for name in sets)
    figure, axes = plt.subplots(len(sets), columns, figsize=(1.9 * columns, 2.2 * len(sets)), squeeze=False)
    for line, name in zip(axes, sets):
        for ax, (epoch, part) in zip(line, pairs[pairs["data"] == name].groupby("epoch")):
            units = math.isqrt(len(part))
            grid = part.value.to_numpy().reshape(units, units)
            shown = ax.imshow(grid, cmap="RdBu_r", vmin=-1, vmax=1)
            off = mean_correlation(grid)
            ax.set_title(f"step {round(epoch * steps_per_epoch[name]):,}\nmean |r| {off:.2f}", fontsize="x-small")
            ax.grid(False)
            ax.set(xticks=[], yticks=[])
        line[0].set_ylabel(TITLES[name])
    figure.colorbar(shown, ax=axes, label="correlation", shrink=0.7)
    return figure


def trajectories(values: pd.DataFrame, label: str) -> Figure:
    """A measure per layer in the course of training: mean over seeds with its 95 % interval, a panel per setting and cell.

    values: columns data, setting, optimizer, arm, seed, layer, epoch, value. Solid and dashed lines tell the arms.
    """
    lines, settings = figures.cells(values), list(dict.fromkeys(values.setting))
    arms = dict(zip(dict.fromkeys(values.arm), ("-", ":", "--")))
    first = values[values.epoch > 0].epoch.min()
    figure, axes = plt.subplots(len(lines), len(settings), figsize=(4 * len(settings), 2.5 * len(lines)), sharex=True,
                                sharey=True, squeeze=False)
    depth = values.layer.astype(int).max()
    colors = sns.color_palette("viridis", depth)
    for axline, (name, optimizer) in zip(axes, lines):
        for ax, setting in zip(axline, settings):
            part = values[(values["data"] == name) & (values.optimizer == optimizer) & (values.setting == setting)]
            for (arm, layer), group in part.groupby(["arm", "layer"], sort=False):
                by = group.groupby("epoch").value
                mean, half = by.mean(), 1.96 * by.sem()
                x = mean.index.where(mean.index > 0, first / 2)
                ax.plot(x, mean, arms[arm], color=colors[int(layer) - 1], lw=1.3)
                ax.fill_between(x, mean - half, mean + half, color=colors[int(layer) - 1], alpha=0.15, lw=0)
            ax.set_title(f"{figures.cell_title(name, optimizer)}: {figures.setting_title(setting)}", fontsize="small")
            ax.set(xscale="log")
            ax.axvline(1, color="grey", lw=0.8)
        axline[0].set_ylabel(label)
    for ax in axes[-1]:
        ax.set_xlabel("epoch (leftmost: before training)")
    handles = [plt.Line2D([], [], color=colors[k], label=f"hidden layer {k + 1}") for k in range(depth)]
    handles += [plt.Line2D([], [], color="black", ls=style, label=figures.LABELS[arm]) for arm, style in arms.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=depth + len(arms), frameon=False, fontsize="small",
                  title=f"means of {figures.seeds_text(values)} with 95 % intervals; grey line: end of the first epoch")
    return figure


def prediction_curves(found: pd.DataFrame) -> Figure:
    """Rank correlation of diversity at an epoch with final accuracy, a line per measure; a panel per setting and cell."""
    lines, settings = figures.cells(found), list(dict.fromkeys(found.setting))
    figure, axes = plt.subplots(len(lines), len(settings), figsize=(4 * len(settings), 2.5 * len(lines)), sharex=True,
                                sharey=True, squeeze=False)
    first = found[found.epoch > 0].epoch.min()
    for axline, (name, optimizer) in zip(axes, lines):
        for ax, setting in zip(axline, settings):
            part = found[(found["data"] == name) & (found.optimizer == optimizer) & (found.setting == setting)]
            for (measure, label), color in zip(MEASURES.items(), sns.color_palette("colorblind")):
                line = part[part.measure == measure].sort_values("epoch")
                x = line.epoch.where(line.epoch > 0, first / 2)
                ax.plot(x, line.estimate, "-", color=color, label=label)
                if measure == "effective_rank":  # one band stays legible; the others are as wide
                    ax.fill_between(x, line.low, line.high, color=color, alpha=0.15, lw=0)
            ax.axhline(0, color="black", lw=1)
            ax.axvline(1, color="grey", lw=0.8)
            ax.set(xscale="log", ylim=(-1, 1))
            ax.set_title(f"{figures.cell_title(name, optimizer)}: {figures.setting_title(setting)}", fontsize="small")
        axline[0].set_ylabel("Spearman's ρ")
    for ax in axes[-1]:
        ax.set_xlabel("epoch (leftmost: before training)")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False, fontsize="small",
                  title=f"ρ > 0: more diverse networks end more accurate; n = {found.n.max()} seeds; band: 95 % interval of the effective rank's")
    return figure


def dots(panels: dict[str, pd.DataFrame], label: str, zero: float = 0.0) -> Figure:
    """Estimates with intervals on a linear axis, a row per cell and setting, a panel per comparison."""
    first = next(iter(panels.values()))
    rows = list(first[CELL].itertuples(index=False, name=None))
    figure, axes = plt.subplots(1, len(panels), figsize=(4 * len(panels) + 3, 0.42 * len(rows) + 1.4), sharey=True,
                                squeeze=False)
    for ax, (title, part) in zip(axes[0], panels.items()):
        ax.axvline(zero, color="black", lw=1)
        for y, found in enumerate(part.itertuples()):
            low, high = (found.estimate if math.isnan(v) else v for v in (found.low, found.high))
            ax.errorbar(found.estimate, y, xerr=[[max(found.estimate - low, 0)], [max(high - found.estimate, 0)]], fmt="o",
                        ms=5, capsize=2, lw=1.5, **figures.CELL_STYLE[found.data, found.optimizer])
        ax.set(title=title, xlabel=f"{label}\n(95 % interval)")
    axes[0][0].set_yticks(range(len(rows)), [f"{figures.cell_title(n, o)}: {figures.setting_title(s)}" for n, s, o in rows])
    axes[0][0].set_ylim(len(rows) - 0.5, -0.5)
    return figure
