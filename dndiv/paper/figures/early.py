"""Pictures of the first epochs (06_early_epochs)."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from dndiv.paper import figures
from dndiv.paper.design import SETTINGS
from dndiv.paper.figures import drawing
from dndiv.paper.names import CELL, STARTS, title

RUNGS = {  # each step of the ladder: the arm, and the arm it is compared with
    "biases to zero": ("zero_bias", "default"),
    "scale to He's": ("he_scale", "zero_bias"),
    "equalize norms": ("equal_norms", "he_scale"),
    "decorrelate rows": ("decorrelated", "equal_norms"),
    "standardize units": ("standardized", "decorrelated"),
    "raise biases (alive)": ("alive", "standardized"),
}
DIRECTIONS = {  # directions alone: same draw, norms and biases on both sides
    "decorrelated, default scale": ("default_decorrelated", "default"),
    "Gram ascent, default scale": ("default_gram", "default"),
    "simplex, default scale": ("default_simplex", "default"),
    "decorrelated, He's scale": ("decorrelated", "equal_norms"),
    "simplex, He's scale": ("simplex", "equal_norms"),
    "simplex for decorrelated, standardized": ("simplex_standardized", "standardized"),
    "simplex for decorrelated, alive": ("simplex_alive", "alive"),
}


THIN = 12  # seeds that are drawn beside their mean


@drawing
def curves(table: pd.DataFrame, arms: tuple[str, ...]) -> plt.Figure:
    """Test accuracy by epoch: some seeds thin, the mean of all thick with its 95 % interval.
    table: "early", its measure accuracy; a panel per cell. arms: a line each."""
    rows = table[(table.measure == "accuracy") & table.arm.isin(arms)]
    rows = rows.assign(value=100 * rows.value)
    panels = figures.cell_panels(rows, 2, sharey=True)
    for ax, part, _ in panels:
        for arm, look in figures.looks(arms).items():
            of_arm = part[part.arm == arm]
            each = of_arm.pivot(index="epoch", columns="seed", values="value").iloc[:, :THIN]
            ax.plot(each.index, each, color=look["color"], lw=0.4, alpha=0.4)
            look = look | {"label": title(arm, STARTS), "ms": 4, "lw": 2}
            figures.mean_line(ax, of_arm, "epoch", look)
        ax.set(ylim=(0, 100), xticks=sorted(rows.epoch.unique()))
    note = f"thick: means of {figures.seeds_text(rows)} with 95 % intervals; thin: {THIN} of them"
    return panels.finish("epoch", "test accuracy, %", note)


@drawing
def forest(columns: dict[str, pd.DataFrame], published: float | None = None) -> plt.Figure:
    """Effects with intervals, a row per cell, a panel per comparison, on a common ratio axis.
    columns: title to data, setting, optimizer, estimate, low, high. published: a value to mark in
    the first panel."""
    found = {heading: figures.log_ratios(effects) for heading, effects in columns.items()}
    panels, cells = figures.cell_estimates(found), figures.keys(pd.concat(found), CELL)
    for ax, part, _ in panels:
        for y, log in enumerate(part.set_index(CELL).estimate.reindex(cells)):
            at = {"xy": (1.01, y), "xycoords": ("axes fraction", "data"), "va": "center"}
            ax.annotate(f"{100 * np.expm1(log):+.1f} %", **at, fontsize="small")
    if published is not None:
        mark_published(panels.axes[0, :1], published)
    return figures.finish_changes(panels)


def mark_published(axes: Sequence[plt.Axes], published: float) -> None:
    """A dashed line in panels of one scale, named in the first."""
    for ax in axes:
        ax.axvline(np.log1p(published), color="firebrick", ls="--", lw=1)
    axes[0].set_ylim(top=-1.2)  # room for its name
    look = {"color": "firebrick", "fontsize": "small", "ha": "center", "va": "top"}
    look["bbox"] = {"fc": "white", "ec": "none", "pad": 1}
    axes[0].text(np.log1p(published), -1.1, f"the paper: {100 * published:+.0f} %", **look)


@drawing
def rungs(effects: pd.DataFrame, steps: dict[str, tuple[str, str]]) -> plt.Figure:
    """The effect of each step, a panel per setting, the data sets and optimizers side by side.
    effects: data, setting, optimizer, treated, baseline, estimate, low, high, n. steps: label to
    (treated, baseline)."""
    entries = {pair: label for label, pair in steps.items()}
    found, by = figures.log_ratios(effects), ["treated", "baseline"]
    panels = figures.estimates(found, ["setting"], by, entries, pitch=0.6)
    for ax, part, (setting,) in panels:
        for y in range(1, len(steps), 2):
            ax.axhspan(y - 0.5, y + 0.5, color="grey", alpha=0.08, lw=0)
        ax.set_title(f"{figures.setting_title(setting)}, {figures.seeds_text(part)}")
    return figures.finish_changes(panels)


@drawing
def heatmap(early: pd.DataFrame, arms: dict[str, str]) -> plt.Figure:
    """Mean early accuracy of every arm in every cell; colours compare the arms within a column.
    early: indexed by data, setting, optimizer and seed, a column per arm. arms: name to label, in
    the order of the rows; those that the table lacks are not shown."""
    mean = 100 * early.groupby(level=CELL, sort=False).mean().T
    mean = mean.loc[[arm for arm in arms if arm in mean.index]]
    mean = mean[sorted(mean.columns, key=lambda cell: list(SETTINGS).index(cell[1]))]
    relative = (mean - mean.min()) / (mean.max() - mean.min()).clip(lower=1e-9)
    labels, columns = [arms[arm] for arm in mean.index], figures.cell_columns(mean.columns)
    seeds = early.groupby(level=CELL).size().min()
    heading = f"Early accuracy, %: mean test accuracy of epochs 1 to 5, n = {seeds} seeds"
    maps = {f"{heading} (darkest: best of the column)": (relative, mean)}
    return figures.heat_maps(maps, labels, columns, 4, fmt=".1f", cmap="YlOrBr")[0]
