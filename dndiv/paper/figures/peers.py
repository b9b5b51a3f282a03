"""Pictures of starts at their own best learning rates (08_peers)."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from dndiv.paper import figures
from dndiv.paper.design import SETTINGS, TWINS
from dndiv.paper.figures import Panels, drawing, early, looks, mark, place_title, setting_title
from dndiv.paper.findings import start_title
from dndiv.paper.names import CELL, DATA, OPTIMIZERS, title


@drawing
def curves(
    values: pd.DataFrame, arms: list[str], optimizer: str, of: str = "early accuracy"
) -> plt.Figure:
    """Accuracy against the learning rate, a line per start: every small marker a network,
    lines their means, the largest marker a start's best rate.
    values: a row per cell, rate and seed, a column per start, as ``outcomes.by_rate`` gives. arms:
    those that are drawn. optimizer: whose rates are drawn. of: what they reach."""
    rows = 100 * values.xs(optimizer, level="optimizer", drop_level=False)[arms]
    table = rows.rename_axis(columns="arm").stack().rename("value").reset_index()
    panels = Panels(table, ["data"], ["setting"], 2.2, across=2)
    for ax, part, (name, setting) in panels:
        for k, (arm, look) in enumerate(looks(arms).items(), 1):
            of_arm = part[part.arm == arm]
            mean = of_arm.groupby("rate").value.mean()
            ax.plot(of_arm.rate, of_arm.value, **look | {"ls": "", "ms": 2.5, "alpha": 0.5})
            ax.plot(mean.index, mean, label=start_title(arm), ms=4, lw=1.5, **look)
            # where starts share their best rate, the smaller lie within the larger
            largest = {"ms": 8 + len(arms) - k, "mec": "white", "zorder": 2.5 + 0.01 * k}
            ax.plot(mean.idxmax(), mean.max(), **look | largest)
        ax.set_title(f"{title(name, DATA)}: {setting_title(setting)}")
        ax.set_xscale("log")
        rates = sorted(table.rate.unique())
        mark(ax.xaxis, rates[:: 1 if rates[0] > 1e-4 else 2])  # long texts, with no room for all
    count = table.groupby(["data", "setting", "rate", "arm"]).size()
    note = f"small markers: networks, {count.min()} to {count.max()} a rate; lines: their means"
    return panels.finish("learning rate", f"{of}, %", f"{note}; largest: the best rate")


@drawing
def robustness(table: pd.DataFrame, order: list[str], counts: pd.Series) -> plt.Figure:
    """How much the learning rate matters to a start: over how many decades of rates it is within
    5 % of the setting's best start, and how much of its own best accuracy is left where the rate is
    wrong; every point a setting, the bar their median.
    table: as ``findings.robustness`` gives. order: the starts, from top to bottom. counts: seeds by
    cell and rate."""
    outcomes = {
        "decades": (1, "decades of good rates"),
        "third": (100, "% left at a third or three times"),
        "tenth": (100, "% left at a tenth or ten times"),
    }
    figure, axes = figures.row(len(outcomes), 0.28 * len(order) + 1.2, sharey=True)
    for ax, (column, (unit, text)) in zip(axes, outcomes.items()):
        for y, arm in enumerate(order):
            of_arm = table[table.arm == arm].dropna(subset=column)
            spread = y + np.linspace(-0.25, 0.25, len(of_arm)) if len(of_arm) > 1 else [y]
            adam = of_arm.optimizer == "adam"
            for chosen, face, name in ((~adam, "white", "SGD"), (adam, "0.5", "Adam")):
                look = {"ls": "", "marker": "o", "ms": 4, "mfc": face, "mec": "0.4", "label": name}
                ax.plot(unit * of_arm[column][chosen], np.array(spread)[chosen], **look)
            ax.plot(
                [unit * of_arm[column].median()] * 2, [y - 0.38, y + 0.38], color="black", lw=2.5
            )
        ax.set_xlabel(text)
    axes[0].set_yticks(range(len(order)), [start_title(arm) for arm in order])
    axes[0].set_ylim(len(order) - 0.5, -0.5)
    note = f"every point a setting, {figures.span(counts)} a rate; bars: medians"
    figures.legend(figure, axes[:1], note)
    return figure


@drawing
def ranking(found: pd.DataFrame, order: list[str], of: str = "all data sets") -> plt.Figure:
    """Early accuracy against PyTorch's default, every start at its own best learning rate: the mean
    over all settings and over those of each optimizer, with 95 % intervals.
    found: as ``findings.by_optimizer`` gives. order: the starts, from top to bottom, by the mean of
    their ranks over settings. of: what the seeds are of."""
    entries, ratios = {arm: start_title(arm) for arm in order}, figures.log_ratios(found)

    def look(row):
        return "black", True, ""

    panels = figures.estimates(ratios, ["where"], "treated", entries, look, pitch=0.28)
    for ax, _, (where,) in panels:
        ax.set_title(where)
    note = f"{figures.seeds_text(found)} of {of}; from the best mean rank over settings downwards"
    return figures.finish_changes(panels, note)


@drawing
def beginnings(found: pd.DataFrame, arms: list[str], counts: pd.Series) -> plt.Figure:
    """How diverse units are before training, and what the start then reaches: every point a start
    at its best rate, filled with Adam; those of ``arms`` have a look of their own.
    found: as ``findings.beginnings`` gives. arms: at most six. counts: seeds by data set and
    setting."""
    of = looks(arms)
    panels = Panels(found, ["data"], ["setting"], 2.1, across=2, sharey=False)
    for ax, part, (name, setting) in panels:
        for row in part.itertuples():
            look = {"marker": "o", "ms": 4, "color": "0.7", "label": "other starts"}
            if row.arm in of:
                look = of[row.arm] | {"ms": 7, "label": start_title(row.arm), "zorder": 3}
            face = look["color"] if row.optimizer == "adam" else "white"
            ax.plot(row.effective_rank, 100 * row.share, **look | {"ls": "", "mfc": face})
        ax.set_title(f"{title(name, DATA)}: {setting_title(setting)}")
    return panels.finish(
        "effective rank / width, before training",
        "early accuracy, % of the best",
        f"filled: Adam, open: SGD; ranks: means of {figures.span(counts)}, accuracies of "
        f"{figures.span(found.n)}; every panel has its own scale of accuracy",
    )


@drawing
def twins(effects: pd.DataFrame) -> plt.Figure:
    """What decorrelated directions add to a start: its twin with the same norms and the same
    learning rate against it, in every setting, with 95 % intervals; colour tells the data set,
    filling the optimizer.
    effects: of the pairs of ``design.TWINS``, as ``outcomes.effects`` gives."""
    entries = {
        (twin, optimizer): f"{start_title(start)}, {title(optimizer, OPTIMIZERS)}"
        for start, twin in TWINS.items()
        for optimizer in dict.fromkeys(effects.optimizer)
        if (effects.treated == twin).any()
    }
    by, ratios = ["treated", "optimizer"], figures.log_ratios(effects)
    panels = figures.estimates(ratios, ["setting"], by, entries)
    for ax, _, (setting,) in panels:
        ax.set_title(setting_title(setting))
        for y in range(2, len(entries), 4):
            ax.axhspan(y - 0.5, y + 1.5, color="grey", alpha=0.08, lw=0)
    return figures.finish_changes(panels, figures.seeds_text(effects))


@drawing
def settings(
    found: dict[str, pd.DataFrame], published: float | None = None, of: str = "early accuracy"
) -> plt.Figure:
    """The change of accuracy in every setting: a row each, a panel per comparison, with 95 %
    intervals; dashed in the first, the published value, where one is given. What is far beyond is
    written.
    found: title to rows of ``outcomes.effects``. of: what changes."""
    table = pd.concat(found).reset_index(drop=True)
    there = figures.keys(table, CELL)
    order = itertools.product(DATA, OPTIMIZERS, dict.fromkeys([*SETTINGS, *table.setting]))
    entries = {(n, s, o): place_title(n, s, o) for n, o, s in order if (n, s, o) in there}
    if figures.narrow():  # in one line
        entries = {cell: _short(*cell) for cell in entries}
    ratios = {heading: figures.log_ratios(part) for heading, part in found.items()}
    panels = figures.cell_estimates(ratios, 0.27, entries)
    if published is not None:
        early.mark_published(panels.axes[0, :1], published)
    return figures.finish_changes(panels, figures.seeds_text(table), of)


def _short(name: str, setting: str, optimizer: str) -> str:
    """A cell in few letters."""
    return f"{title(name, DATA)}, {setting}, {title(optimizer, OPTIMIZERS)}"


@drawing
def probabilities(table: pd.DataFrame, counts: pd.Series) -> plt.Figure:
    """How probable it is, in %, that the start of a row has more early accuracy than that of a
    column, each at its own best learning rate: orange above 50, purple below.
    table: as ``findings.improvement`` gives, in the order of its rows. counts: seeds by cell."""
    percent, names = 100 * table, [start_title(arm) for arm in table]
    look = {"cmap": figures.DIVERGING, "vmin": 0, "vmax": 100, "fmt": ".0f"}
    heading = "% of seeds in which the start of the row is ahead of that of the column"
    heading = f"{heading}; {figures.span(counts)} a setting"
    maps = {heading: (percent, percent)}
    figure, [ax] = figures.heat_maps(maps, names, names, len(names), **look)
    ax.set_xticklabels(names, rotation=90 if figures.narrow() else 45, ha="center", size="x-small")
    ax.set_facecolor("0.9")
    return figure
