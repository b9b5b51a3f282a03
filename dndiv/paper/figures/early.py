"""Pictures of the first epochs (06_early_epochs)."""

import math

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from scipy import stats as laws

from dndiv.paper import figures
from dndiv.paper.design import SETTINGS
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


def curves(table: pd.DataFrame, arms: tuple[str, ...]) -> plt.Figure:
    """Test accuracy by epoch: every seed thin, the mean thick with its 95 % interval.
    table: "early", its measure accuracy; a panel per cell. arms: a colour each."""
    rows = table[(table.measure == "accuracy") & table.arm.isin(arms)]
    panels = figures.cell_panels(rows, 2.7, sharey=True)
    for ax, part, _ in panels:
        for arm, color in zip(arms, sns.color_palette("colorblind", len(arms))):
            wide = part[part.arm == arm].pivot(index="epoch", columns="seed", values="value") * 100
            ax.plot(wide.index, wide, color=color, lw=0.4, alpha=0.3)
            mean, freedom = wide.mean(axis=1), max(wide.shape[1] - 1, 1)
            half = wide.sem(axis=1) * laws.t.ppf(0.975, freedom)
            ax.plot(mean.index, mean, "o-", ms=3, color=color, lw=2, label=title(arm, STARTS))
            ax.fill_between(mean.index, mean - half, mean + half, color=color, alpha=0.25, lw=0)
        ax.set(ylim=(0, 100), xticks=sorted(rows.epoch.unique()))
    seeds = figures.seeds_text(rows)
    note = f"each thin line a seed, thick the mean of {seeds} with its 95 % interval"
    return panels.finish("epoch", "test accuracy, %", title=note)


def forest(columns: dict[str, pd.DataFrame], published: float | None = None) -> plt.Figure:
    """Effects with intervals, a row per cell, a panel per comparison, on a common ratio axis.
    columns: title to data, setting, optimizer, estimate, low, high. published: a value to mark in
    the first panel."""
    found = {heading: ratios(effects) for heading, effects in columns.items()}
    panels, cells = figures.cell_estimates(found, zero=1.0), figures.keys(pd.concat(found), CELL)
    for ax, part, _ in panels:
        for y, ratio in enumerate(part.set_index(CELL).estimate.reindex(cells)):
            at = {"xy": (1.01, y), "xycoords": ("axes fraction", "data"), "va": "center"}
            ax.annotate(f"{100 * (ratio - 1):+.1f} %", **at, fontsize="small")
    ax = panels.axes[0, 0]
    ax.set_ylim(top=-1.1)  # room for what is published
    if published is not None:
        ax.axvline(1 + published, color="firebrick", ls="--", lw=1.2)
        at = {"xy": (1 + published, -0.7), "xytext": (4, 0), "textcoords": "offset points"}
        ax.annotate(f"the paper: {published:+.0%}", **at, color="firebrick", fontsize="small")
    return finish(panels, pd.concat(found))


def rungs(effects: pd.DataFrame, steps: dict[str, tuple[str, str]]) -> plt.Figure:
    """The effect of each step, a panel per setting, the data sets and optimizers side by side.
    effects: data, setting, optimizer, treated, baseline, estimate, low, high, n. steps: label to
    (treated, baseline)."""
    found, by = ratios(effects), ["treated", "baseline"]
    entries = {pair: label for label, pair in steps.items()}
    panels = figures.estimates(found, ["setting"], by, entries, 4.6, pitch=0.7, zero=1.0)
    for ax, part, (setting,) in panels:
        for y in range(1, len(steps), 2):
            ax.axhspan(y - 0.5, y + 0.5, color="grey", alpha=0.08, lw=0)
        heading = f"{figures.setting_title(setting)}, {figures.seeds_text(part)}"
        ax.set_title(heading, fontsize="medium")
    return finish(panels, found, title=None)


def ratios(effects: pd.DataFrame) -> pd.DataFrame:
    """Effects as ratios: 1.4 for 40 % more."""
    return effects.assign(**(1 + effects[figures.EFFECT]))


def finish(panels: figures.Panels, ratios: pd.DataFrame, **legend) -> plt.Figure:
    """A logarithmic axis, labelled as relative changes, wide enough for all ratios, but for the
    ends of intervals beyond a twelfth and twelvefold."""
    values = ratios[figures.EFFECT].stack().clip(1 / 12, 12)
    low, high = min(values.min(), 0.95) / 1.03, max(values.max(), 1.05) * 1.03
    ticks = {  # as many as the width takes
        1.6: [0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.4, 1.5],
        3.5: [0.4, 0.5, 0.6, 0.7, 0.85, 1, 1.2, 1.4, 1.7, 2, 2.5, 3],
        math.inf: [0.1, 0.2, 0.35, 0.5, 0.7, 1, 1.4, 2, 3, 4, 6, 10],
    }
    chosen = next(marks for width, marks in ticks.items() if high / low < width)
    for ax in panels.axes.flat:
        ax.set(xscale="log", xlim=(low, high))
        shown = [t for t in chosen if low <= t <= high]
        figures.mark(ax.xaxis, shown, lambda v: f"{100 * (v - 1):+.0f} %" if v != 1 else "0")
    return panels.finish("change of early accuracy (95 % interval)", **legend)


def heatmap(early: pd.DataFrame, arms: dict[str, str]) -> plt.Figure:
    """Mean early accuracy of every arm in every cell; colours compare the arms within a column.
    early: indexed by data, setting, optimizer and seed, a column per arm. arms: name to label, in
    the order of the rows; those that the table lacks are not shown."""
    mean = 100 * early.groupby(level=CELL, sort=False).mean().T
    mean = mean.loc[[arm for arm in arms if arm in mean.index]]
    mean = mean[sorted(mean.columns, key=lambda cell: list(SETTINGS).index(cell[1]))]
    relative = (mean - mean.min()) / (mean.max() - mean.min()).clip(lower=1e-9)
    figure, ax = plt.subplots(figsize=(1.05 * mean.shape[1] + 3, 0.36 * len(mean) + 2))
    labels, look = [arms[arm] for arm in mean.index], {"fmt": ".1f", "annot_kws": {"size": "small"}}
    columns = figures.cell_columns(mean.columns)
    figures.annotated(ax, relative, mean, labels, columns, cmap="viridis", cbar=False, **look)
    what = "Early accuracy, %: mean test accuracy of epochs 1 to 5 (brightest: best of the column)"
    seeds = early.groupby(level=CELL).size().min()
    ax.set_title(f"{what}, n = {seeds} seeds", fontsize="medium")
    return figure
